//! Segments that lie: from an attacker who guesses, or a peer that is wrong.

use crate::peer::{PEER_PORT, everywhere, everywhere_with};
use ethertab::time::Duration;
use ethertab::{CloseReason, DropReason, State};
use ethertab_sim::packet::{ICMP, ICMPV6, TCP, icmp};

/// In which one challenge is sent (`TcpConfig::challenge_interval`).
const HALF_A_SECOND: Duration = Duration::from_millis(500);

#[test]
fn t21_an_ack_of_what_was_never_sent_gets_an_ack_and_removes_nothing() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 500);
        peer.expect("P. 1:501(500) ack 1");
        for ack in [502, 100_000, 2_000_000_000] {
            peer.send(&format!(". 1:1(0) ack {ack}"));
            assert_eq!(peer.wait_for(". 501:501(0) ack 1"), 1, "with what comes in the same burst");
            // Its data is not taken either (RFC 9293 §3.10.7.4: "drop the segment"); there is one answer in half a second.
            peer.send(&format!("P. 1:101(100) ack {ack}"));
            peer.expect_nothing();
            peer.pass(HALF_A_SECOND);
            peer.ignore();
        }
        assert_eq!(peer.stack.readable_bytes(handle), 0);
        assert_eq!(peer.stack.unacknowledged_bytes(handle), 500);
        peer.wait_for("P. 1:501(500) ack 1");
    });
}

#[test]
fn t21_an_ack_older_than_any_window_is_not_believed() {
    everywhere(|peer| {
        let handle = peer.establish();
        for _ in 0..20 {
            let sent = peer.stack.connection_info(handle).unwrap().bytes_sent;
            peer.write(handle, 5_000);
            peer.ignore();
            peer.send(&format!(". 1:1(0) ack {}", sent + 5_001));
        }
        // RFC 5961 §5: SND.UNA - MAX.SND.WND is as old as it may be.
        peer.send("P. 1:101(100) ack 41000");
        peer.wait_for(". 100001:100001(0) ack 101");
        peer.send("P. 101:201(100) ack 39000");
        peer.expect(". 100001:100001(0) ack 101");
        assert_eq!((peer.drops(DropReason::TcpBadAck), peer.read(handle, 1_000)), (1, Ok(100)));
    });
}

#[test]
fn t22_new_data_with_an_old_ack_is_accepted() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 500);
        peer.expect("P. 1:501(500) ack 1");
        peer.send(". 101:101(0) ack 501");
        peer.send("P. 1:101(100) ack 1");
        peer.wait_for(". 501:501(0) ack 101");
        assert_eq!(peer.read(handle, 1_000), Ok(100));
        assert_eq!(peer.stack.unacknowledged_bytes(handle), 0);
    });
}

#[test]
fn t23_a_reset_in_the_window_is_challenged_and_outside_ignored() {
    everywhere(|peer| {
        let handle = peer.establish();
        for inside in ["R 2:2(0)", "R 60000:60000(0)", "R. 500:500(0) ack 1"] {
            peer.send(inside);
            peer.expect(". 1:1(0) ack 1");
            peer.pass(HALF_A_SECOND);
        }
        for outside in ["R 0:0(0)", "R 60002:60002(0)", "R 3000000000:3000000000(0)"] {
            peer.send(outside);
            peer.expect_nothing();
        }
        assert_eq!(peer.state(handle), Some(State::Established));
        peer.send("R 1:1(0)");
        assert_eq!(peer.stack.connection_error(handle), Some(CloseReason::Reset));
        peer.close(handle);
        peer.assert_nothing_left();
    });
}

#[test]
fn t23_a_syn_is_challenged_wherever_it_is() {
    everywhere(|peer| {
        let handle = peer.establish();
        for seq in [0, 1, 30_000, 2_000_000_000] {
            peer.send(&format!("S {seq}:{seq}(0) <mss 1000>"));
            peer.expect(". 1:1(0) ack 1");
            peer.pass(HALF_A_SECOND);
        }
        peer.send("S. 0:0(0) ack 1 <mss 1000>");
        peer.expect(". 1:1(0) ack 1");
        assert_eq!(peer.state(handle), Some(State::Established));
    });
}

/// RFC 5961 §3.2, in SYN-RECEIVED.
#[test]
fn t23_a_reset_for_a_half_open_connection_is_challenged_too() {
    everywhere_with(
        |tcp| tcp.receive_buffer = 200_000,
        |peer| {
            peer.listen();
            peer.send("S 0:0(0) win 60000 <mss 1000,wscale 7>");
            peer.expect("S. 0:0(0) ack 1 win 65535");
            for (segment, answer) in [
                ("R 2:2(0)", Some(". 1:1(0) ack 1 win 16383")),
                ("R 65535:65535(0)", Some(". 1:1(0) ack 1 win 16383")),
                ("R 65536:65536(0)", None),
                ("R 0:0(0)", None),
            ] {
                peer.send(segment);
                match answer {
                    Some(answer) => peer.expect(answer),
                    None => peer.expect_nothing(),
                }
                peer.pass(HALF_A_SECOND);
                peer.ignore();
            }
            assert_eq!((peer.drops(DropReason::TcpChallenged), peer.drops(DropReason::TcpNotAcceptable)), (2, 2));
            let answers = (0..100)
                .filter(|_| {
                    peer.send("R 2:2(0)");
                    peer.take().is_some()
                })
                .count();
            assert_eq!(answers, 1, "one in half a second");
            assert_eq!(peer.stack.counters().tcp_challenge_acks, 3);
            peer.send(". 1:1(0) ack 1");
            peer.accept().expect("the connection came about");
        },
    );
}

/// CVE-2016-5696: a counter that connections share tells an attacker about the connections of others.
#[test]
fn t23_challenges_are_limited_for_each_connection() {
    everywhere(|peer| {
        let handle = peer.establish();
        let mut answers = 0;
        for _ in 0..1_000 {
            peer.send("R 100:100(0)");
            answers += u32::from(peer.take().is_some());
        }
        assert_eq!(answers, 1);
        // Another connection is challenged as if nothing had been.
        let mut other = peer.segment("S 0:0(0) <mss 1000>");
        other.source_port = PEER_PORT + 1;
        peer.send_segment(&other);
        let syn_ack = peer.take().unwrap();
        let mut ack = peer.segment(". 1:1(0)");
        (ack.source_port, ack.ack) = (PEER_PORT + 1, syn_ack.seq.wrapping_add(1));
        peer.send_segment(&ack);
        peer.accept().expect("the second connection");
        let mut reset = peer.segment("R 100:100(0)");
        reset.source_port = PEER_PORT + 1;
        peer.send_segment(&reset);
        assert!(peer.take().is_some(), "the limit is not the first connection's");
        peer.pass(HALF_A_SECOND);
        peer.send("R 100:100(0)");
        peer.expect(". 1:1(0) ack 1");
        assert_eq!(peer.state(handle), Some(State::Established));
    });
}

#[test]
fn t23_data_outside_the_window_is_answered_and_not_taken() {
    everywhere(|peer| {
        let handle = peer.establish();
        for place in ["P. 60001:60101(100)", "P. 2000000000:2000000100(100)", "P. 4294967000:4294967100(100)"] {
            peer.send(&format!("{place} ack 1"));
            peer.expect(". 1:1(0) ack 1");
        }
        assert_eq!((peer.drops(DropReason::TcpNotAcceptable), peer.stack.readable_bytes(handle)), (3, 0));
        assert_eq!(peer.pool.blocks_in_use(), 0);
    });
}

/// Flags that no sane sender combines, in every state that a segment can be sent to.
#[test]
fn any_flags_in_any_state_do_no_harm() {
    for flags in ["-", "F", "U", "P", "SF", "SR", "FR.", "SFRPU.", "FPU", "SF."] {
        for state in 0..5 {
            everywhere(|peer| {
                let handle = match state {
                    0 => {
                        peer.listen();
                        None
                    }
                    1 => Some(peer.connect()),
                    2 => {
                        peer.listen();
                        peer.send("S 0:0(0) <mss 1000>");
                        None
                    }
                    3 => Some(peer.establish()),
                    _ => {
                        let handle = peer.establish();
                        peer.shutdown(handle);
                        Some(handle)
                    }
                };
                peer.ignore();
                for at in [0, 1, 2, 60_000] {
                    peer.send(&format!("{flags} {at}:{}(10)", at + 10));
                    peer.send(&format!("{flags} {at}:{at}(0)"));
                }
                assert!(peer.stack.counters().frames_received >= 8);
                if let Some(handle) = handle {
                    peer.close(handle);
                }
                let listener = peer.listener;
                if let Some(listener) = listener {
                    peer.stack.close_listener(&mut peer.pool, peer.now, listener);
                }
                peer.assert_nothing_left();
            });
        }
    }
}

/// RFC 5927: an ICMP error counts if it is about data in flight, ends attempts to connect only, and shrinks segments no
/// further than every link carries.
#[test]
fn n3_icmp_errors_are_checked_before_they_touch_a_connection() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 900);
        let data = peer.take_frame().expect("the data");
        let (protocol, unreachable, too_big) = match peer.is_ipv6() {
            true => (ICMPV6, (1, 4, 0), (2, 0, 1_280)),
            false => (ICMP, (3, 3, 0), (3, 4, 600)),
        };
        let about = |(kind, code, rest): (u8, u8, u32), packet: &[u8]| icmp(kind, code, rest, packet);
        // A port unreachable, even a right one, ends no established connection.
        peer.send_ip(protocol, &about(unreachable, &data[14..]));
        assert_eq!(peer.state(handle), Some(State::Established));
        assert_eq!(peer.drops(DropReason::IcmpIgnored), 0, "it was about data in flight");
        // Forged: a sequence number that is not in flight.
        let mut forged = data.clone();
        let seq = if peer.is_ipv6() { 14 + 40 + 4 } else { 14 + 20 + 4 };
        forged[seq] ^= 0x40;
        peer.send_ip(protocol, &about(too_big, &forged[14..]));
        assert_eq!(peer.drops(DropReason::IcmpIgnored), 1);
        assert_eq!(peer.stack.connection_info(handle).unwrap().mss, 1_000);
        // About nothing, or cut short.
        for len in [0, 1, 20, 27, 40, 47] {
            peer.send_ip(protocol, &about(unreachable, &data[14..14 + len]));
        }
        assert_eq!(peer.state(handle), Some(State::Established));
        peer.expect_nothing();
        // A right one about the path's MTU makes segments smaller, and they go out again at once.
        peer.send_ip(protocol, &about(too_big, &data[14..]));
        let mss = peer.stack.connection_info(handle).unwrap().mss;
        if peer.is_ipv6() {
            assert_eq!(mss, 1_000, "1,280 bytes carry it");
        } else {
            assert_eq!(mss, 560);
            peer.expect(". 1:561(560) ack 1");
        }
        // And one that lies about it shrinks them to what every link carries, not to nothing.
        peer.send_ip(protocol, &about((too_big.0, too_big.1, 68), &data[14..]));
        assert!(peer.stack.connection_info(handle).unwrap().mss >= 512);
    });
}

#[test]
fn n3_icmp_ends_an_attempt_to_connect() {
    everywhere(|peer| {
        let handle = peer.connect();
        let syn = peer.take_frame().expect("the SYN");
        let (protocol, kind, code) = if peer.is_ipv6() { (ICMPV6, 1, 4) } else { (ICMP, 3, 3) };
        peer.send_ip(protocol, &icmp(kind, code, 0, &syn[14..]));
        assert_eq!(peer.stack.connection_error(handle), Some(CloseReason::Refused));
        peer.close(handle);
        peer.assert_nothing_left();
    });
}

#[test]
fn n3_a_nested_error_does_not_recurse() {
    everywhere(|peer| {
        let (protocol, kind) = if peer.is_ipv6() { (ICMPV6, 1) } else { (ICMP, 3) };
        let mut message = Vec::new();
        for _ in 0..8 {
            let (source, destination) = (peer.host_address(), peer.address());
            let macs = (ethertab::wire::MacAddr([2; 6]), ethertab::wire::MacAddr([2; 6]));
            let quoted = ethertab_sim::packet::ip_frame(macs, source, destination, protocol, &message);
            message = icmp(kind, 1, 0, &quoted[14..]);
        }
        peer.send_ip(protocol, &message);
        peer.expect_nothing();
        assert_eq!(peer.drops(DropReason::IcmpIgnored), 1);
    });
}

#[test]
fn a_wrong_checksum_changes_nothing() {
    everywhere(|peer| {
        let handle = peer.establish();
        let segment = peer.segment("P. 1:501(500) ack 1").to_bytes();
        let (source, destination) = (peer.address(), peer.host_address());
        let macs = (ethertab::wire::MacAddr([2, 0, 0, 0, 0, 2]), ethertab::wire::MacAddr([2, 0, 0, 0, 0, 1]));
        let whole = ethertab_sim::packet::ip_frame(macs, source, destination, TCP, &segment);
        for place in (whole.len() - segment.len())..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            peer.send_frame(&damaged);
        }
        assert_eq!(peer.stack.readable_bytes(handle), 0);
        assert_eq!(peer.pool.blocks_in_use(), 0, "{} bad sums", peer.drops(DropReason::TcpChecksum));
        peer.ignore();
        peer.send("P. 1:501(500) ack 1");
        assert_eq!(peer.read(handle, 1_000), Ok(500));
    });
}
