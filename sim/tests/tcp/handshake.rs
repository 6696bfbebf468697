//! Opening a connection.

use crate::peer::{HOST_PORT, PEER_PORT, everywhere, everywhere_with};
use ethertab::time::Duration;
use ethertab::{CloseReason, DropReason, Endpoint, ListenOptions, Prefix, State};
use ethertab_sim::packet::{ACK, RST, SYN, Segment, TCP, options_text};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[test]
fn t1_syns_back_off_from_one_second_and_the_last_go_without_options() {
    everywhere(|peer| {
        let handle = peer.connect();
        let first = peer.take().expect("the first SYN leaves at once");
        assert_eq!(options_text(&first.options), format!("mss {},option 4,option 8,wscale 0", peer.host_mss()));
        let mut earlier = vec![first.options];
        let mut waits = Vec::new();
        for repetition in 1..=6 {
            let begin = peer.now;
            let syn = loop {
                match peer.take() {
                    Some(segment) => break segment,
                    None => peer.pass_millis(100),
                }
            };
            waits.push(peer.now.since(begin).as_millis());
            assert_eq!(syn.flags, SYN);
            match repetition {
                1..=4 => assert!(!earlier.contains(&syn.options), "its timestamp is a new one"),
                _ => assert_eq!(syn.options.len(), 4, "the MSS alone is left"),
            }
            earlier.push(syn.options);
        }
        assert_eq!(waits[..4], [1_000, 2_000, 4_000, 8_000]);
        peer.pass_until_quiet();
        peer.expect_nothing();
        assert_eq!(peer.stack.connection_error(handle), Some(CloseReason::TimedOut));
    });
}

#[test]
fn t1_no_syn_follows_the_syn_ack() {
    everywhere(|peer| {
        let handle = peer.connect();
        peer.expect("S 0:0(0)");
        peer.wait_for("S 0:0(0)");
        peer.send("S. 0:0(0) ack 1 win 60000 <mss 1000>");
        peer.expect(". 1:1(0) ack 1");
        peer.pass(Duration::from_secs(600));
        peer.expect_nothing();
        assert_eq!(peer.state(handle), Some(State::Established));
    });
}

#[test]
fn t2_a_syn_ack_with_window_zero_then_silence_then_the_window_opens() {
    everywhere(|peer| {
        let handle = peer.connect();
        peer.expect("S 0:0(0)");
        peer.write(handle, 700);
        peer.send("S. 0:0(0) ack 1 win 0");
        peer.expect(". 1:1(0) ack 1");
        // Probes from below the window (RFC 9293 §3.8.6.1); the peer keeps silent.
        peer.wait_for(". 0:0(0) ack 1");
        peer.wait_for(". 0:0(0) ack 1");
        peer.send(". 1:1(0) ack 1 win 5000");
        // Without an MSS option segments are small (T8).
        let mss = if peer.is_ipv6() { 700 } else { 536 };
        let flags = if peer.is_ipv6() { "P." } else { "." };
        peer.expect(&format!("{flags} 1:{}({mss}) ack 1", 1 + mss));
    });
}

#[test]
fn a_listener_on_all_addresses_of_a_family_is_none_of_the_other() {
    everywhere(|peer| {
        let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        for address in all {
            let local = Endpoint { address: Some(address), port: HOST_PORT };
            let listener = peer.stack.listen(local, ListenOptions::default()).unwrap();
            peer.send("S 0:0(0)");
            let expected = if address.is_ipv6() == peer.is_ipv6() { SYN | ACK } else { RST | ACK };
            assert_eq!(peer.take().unwrap().flags, expected);
            peer.stack.close_listener(&mut peer.pool, peer.now, listener);
        }
    });
}

#[test]
fn a_listener_on_all_addresses_of_a_family_comes_before_one_on_all_of_both() {
    everywhere(|peer| {
        peer.listen();
        let any = if peer.is_ipv6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let local = Endpoint { address: Some(any), port: HOST_PORT };
        let listener = peer.stack.listen(local, ListenOptions::default()).unwrap();
        peer.send("S 0:0(0) win 60000 <mss 1000>");
        peer.expect("S. 0:0(0) ack 1");
        peer.send(". 1:1(0) ack 1 win 60000");
        assert_eq!(peer.accept(), None);
        assert!(peer.stack.accept(listener).is_some());
    });
}

#[test]
fn t4_a_syn_to_or_from_a_group_and_to_oneself_is_ignored() {
    everywhere(|peer| {
        peer.listen();
        let (host, groups): (_, &[&str]) = match peer.is_ipv6() {
            true => (peer.host_address(), &["ff02::1", "ff02::1:ff00:1"]),
            false => (peer.host_address(), &["255.255.255.255", "10.0.0.255", "224.0.0.1"]),
        };
        let syn = peer.segment("S 0:0(0)").to_bytes();
        for group in groups {
            let group: IpAddr = group.parse().unwrap();
            peer.send_from(peer.address(), group, TCP, &syn);
            peer.send_from(group, host, TCP, &syn);
        }
        // A land packet: from our own address and port.
        let land = Segment { source_port: HOST_PORT, destination_port: HOST_PORT, flags: SYN, ..Segment::default() };
        peer.send_from(host, host, TCP, &land.to_bytes());
        peer.expect_nothing();
        assert_eq!(peer.stack.connections().count(), 0);
        let ignored = peer.drops(DropReason::TcpNotUnicast) + peer.drops(DropReason::IpMartian);
        assert_eq!(ignored, 2 * groups.len() as u64 + 1);
    });
}

#[test]
fn t5_a_duplicate_syn_gets_the_syn_ack_again() {
    everywhere(|peer| {
        peer.listen();
        peer.send("S 0:0(0) <mss 1000>");
        peer.expect("S. 0:0(0) ack 1 <mss 1460>".replace("1460", &peer.host_mss().to_string()).as_str());
        peer.send("S 0:0(0) <mss 1000>");
        peer.expect("S. 0:0(0) ack 1");
        // And from ESTABLISHED on a challenge ACK (RFC 5961 §4).
        peer.send(". 1:1(0) ack 1");
        let handle = peer.accept().unwrap();
        peer.send("S 0:0(0) <mss 1000>");
        peer.expect(". 1:1(0) ack 1");
        assert_eq!(peer.state(handle), Some(State::Established));
    });
}

#[test]
fn t5_a_full_accept_queue_drops_the_ack_and_not_the_connection() {
    everywhere(|peer| {
        peer.listen_with_backlog(1);
        peer.send("S 0:0(0) <mss 1000>");
        peer.expect("S. 0:0(0) ack 1");
        // Another connection fills the queue meanwhile.
        let mut other = Segment { source_port: PEER_PORT + 1, flags: SYN, ..peer.segment("S 0:0(0)") };
        peer.send_segment(&other);
        let syn_ack = peer.take().unwrap();
        (other.flags, other.seq) = (ethertab_sim::packet::ACK, other.seq.wrapping_add(1));
        other.ack = syn_ack.seq.wrapping_add(1);
        peer.send_segment(&other);

        peer.send(". 1:1(0) ack 1");
        peer.send("P. 1:501(500) ack 1");
        peer.expect_nothing();
        assert_eq!(peer.drops(DropReason::TcpAcceptQueueFull), 2);
        peer.accept().expect("the one that filled the queue");
        // The SYN and ACK comes again, and what answers it completes the connection.
        peer.wait_for("S. 0:0(0) ack 1");
        peer.send("P. 1:501(500) ack 1");
        peer.expect(". 1:1(0) ack 501");
        let handle = peer.accept().expect("the one that was kept");
        assert_eq!(peer.read(handle, 1_000), Ok(500));
    });
}

#[test]
fn t6_the_window_of_a_syn_is_never_scaled() {
    everywhere_with(
        |tcp| (tcp.initial_receive_buffer, tcp.receive_buffer) = (1_000_000, 1_000_000),
        |peer| {
            peer.listen();
            // A window of 2,000 in a SYN that offers a scale of 3: 2,000 bytes, not 16,000.
            peer.send("S 0:0(0) win 2000 <mss 1000,wscale 3>");
            peer.expect(&format!("S. 0:0(0) ack 1 win 65535 <mss {},wscale 4>", peer.host_mss()));
            // From then on both are.
            peer.send(". 1:1(0) ack 1 win 250");
            let handle = peer.accept().unwrap();
            peer.write(handle, 5_000);
            peer.expect(". 1:1001(1000) ack 1 win 62500");
            peer.expect(". 1001:2001(1000) ack 1");
            peer.expect_nothing();
        },
    );
}

#[test]
fn t6_a_scale_above_14_counts_as_14() {
    everywhere(|peer| {
        peer.listen();
        peer.send("S 0:0(0) win 1000 <mss 1000,wscale 255>");
        peer.expect("S. 0:0(0) ack 1");
        peer.send(". 1:1(0) ack 1 win 1");
        let handle = peer.accept().unwrap();
        let info = peer.stack.connection_info(handle).unwrap();
        assert_eq!(info.send_window, 1 << 14);
    });
}

#[test]
fn t7_a_simultaneous_open() {
    everywhere(|peer| {
        let handle = peer.connect();
        peer.expect("S 0:0(0)");
        peer.send("S 0:0(0) win 60000 <mss 1000>");
        peer.expect("S. 0:0(0) ack 1");
        assert_eq!(peer.state(handle), Some(State::SynReceived));
        peer.send("S. 0:0(0) ack 1 win 60000 <mss 1000>");
        if peer.state(handle) != Some(State::Established) {
            peer.send(". 1:1(0) ack 1");
        }
        assert_eq!(peer.state(handle), Some(State::Established));
        peer.ignore();
        peer.write(handle, 100);
        peer.expect("P. 1:101(100) ack 1");
    });
}

#[test]
fn t7_data_and_a_fin_with_the_ack_of_the_syn_ack() {
    everywhere(|peer| {
        peer.listen();
        peer.send("S 0:0(0) <mss 1000>");
        peer.expect("S. 0:0(0) ack 1");
        peer.send("FP. 1:401(400) ack 1");
        peer.pass_millis(40);
        peer.expect(". 1:1(0) ack 402");
        let handle = peer.accept().unwrap();
        assert_eq!(peer.state(handle), Some(State::CloseWait));
        assert_eq!((peer.read(handle, 1_000), peer.read(handle, 1_000)), (Ok(400), Ok(0)));
        peer.close(handle);
        peer.expect("F. 1:1(0) ack 402");
        peer.send(". 402:402(0) ack 2");
        peer.assert_nothing_left();
    });
}

#[test]
fn t7_a_connection_that_is_closed_before_it_is_established() {
    everywhere(|peer| {
        let handle = peer.connect();
        peer.expect("S 0:0(0)");
        peer.write(handle, 300);
        peer.shutdown(handle);
        peer.expect_nothing();
        // What was queued goes out with the FIN once the peer has answered.
        peer.send("S. 0:0(0) ack 1 win 60000 <mss 1000>");
        peer.expect("FP. 1:301(300) ack 1");
        assert_eq!(peer.state(handle), Some(State::FinWait1));
    });
}

#[test]
fn t7_close_in_syn_sent_forgets_the_attempt() {
    everywhere(|peer| {
        let handle = peer.connect();
        peer.expect("S 0:0(0)");
        peer.close(handle);
        peer.send("S. 0:0(0) ack 1 win 60000 <mss 1000>");
        peer.expect("R 1:1(0)");
        peer.assert_nothing_left();
    });
}

#[test]
fn t8_without_an_mss_option_segments_are_small() {
    everywhere(|peer| {
        peer.listen();
        peer.send("S 0:0(0)");
        peer.expect("S. 0:0(0) ack 1");
        peer.send(". 1:1(0) ack 1");
        let handle = peer.accept().unwrap();
        let mss = if peer.is_ipv6() { 1_220 } else { 536 };
        peer.write(handle, 3_000);
        peer.expect(&format!(". 1:{}({mss}) ack 1", 1 + mss));
    });
}

#[test]
fn t8_an_absurd_mss_makes_no_storm_of_segments() {
    for option in ["mss 0", "mss 1", "0x0204", "0x020300", "0x02ff0000", "0x0200"] {
        everywhere(|peer| {
            peer.listen();
            peer.send(&format!("S 0:0(0) <{option}>"));
            peer.expect("S. 0:0(0) ack 1");
            peer.send(". 1:1(0) ack 1");
            let handle = peer.accept().unwrap();
            peer.write(handle, 5_000);
            let mut segments = 0;
            while peer.take().is_some() {
                segments += 1;
            }
            assert!((1..=10).contains(&segments), "{option}: {segments} segments of {:?}", peer.only_state());
            let mss = peer.stack.connection_info(handle).unwrap().mss;
            assert!(mss >= 88, "{option}: an MSS of {mss}");
        });
    }
}

#[test]
fn a_refusal_and_what_only_looks_like_one() {
    everywhere(|peer| {
        let handle = peer.connect();
        peer.expect("S 0:0(0)");
        // A blind reset, and one that acknowledges something else (RFC 9293 §3.10.7.3).
        peer.send("R 0:0(0)");
        peer.send("R. 0:0(0) ack 2");
        peer.expect_nothing();
        assert_eq!(peer.state(handle), Some(State::SynSent));
        // An ACK of something else is answered with a reset.
        peer.send("S. 0:0(0) ack 100");
        peer.expect("R 100:100(0)");
        peer.send("R. 0:0(0) ack 1");
        assert_eq!(peer.stack.connection_error(handle), Some(CloseReason::Refused));
        peer.close(handle);
        peer.assert_nothing_left();
    });
}

/// SYNs of the flood, in each of the places.
const FLOOD: u32 = 250_000;

#[test]
fn t3_a_syn_flood_disturbs_nobody() {
    everywhere(|peer| {
        let old = peer.establish();
        let everybody: IpAddr = if peer.is_ipv6() { "::" } else { "0.0.0.0" }.parse().unwrap();
        peer.stack.add_route(Prefix { address: everybody, length: 0 }, peer.address()).unwrap();
        let blocks = peer.pool.blocks_in_use();
        let destination = peer.host_address();
        for number in 0..FLOOD {
            let source: IpAddr = match destination {
                IpAddr::V4(_) => Ipv4Addr::from_bits(0xc612_0000 + number % 0x1_0000).into(),
                IpAddr::V6(_) => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number)).into(),
            };
            let syn = Segment {
                source_port: 1_024 + (number / 0x1_0000) as u16,
                destination_port: HOST_PORT,
                seq: number.wrapping_mul(0x9e37_79b1),
                flags: SYN,
                window: 1_024,
                ..Segment::default()
            };
            peer.send_from(source, destination, TCP, &syn.to_bytes());
            peer.ignore();
        }
        assert_eq!(peer.pool.blocks_in_use(), blocks, "memory is where it was");
        assert!(peer.stack.connections().count() < 100, "what is half-open is bounded");
        assert!(peer.stack.counters().tcp_cookies_sent > u64::from(FLOOD) / 2);

        // The old connection goes on.
        peer.send("P. 1:101(100) ack 1");
        assert_eq!(peer.read(old, 1_000), Ok(100));
        peer.ignore();

        // A real client connects, with all its options: MSS, SACK, timestamps and a scale of 7.
        let options = |value: u32, echo: u32| {
            let mut options = vec![1, 1, 8, 10];
            options.extend(value.to_be_bytes());
            options.extend(echo.to_be_bytes());
            options
        };
        let mut syn = Segment {
            source_port: 999,
            destination_port: HOST_PORT,
            seq: 5_000,
            flags: SYN,
            window: 60_000,
            ..Segment::default()
        };
        syn.options = [&[2, 4, 5, 180, 4, 2][..], &options(7, 0)[2..], &[1, 3, 3, 7]].concat();
        peer.send_segment(&syn);
        let answer = peer.take().expect("a SYN and ACK with a cookie");
        assert_eq!((answer.flags, answer.ack), (SYN | ACK, 5_001));
        let at = answer.options.windows(2).position(|pair| pair == [8, 10]).expect("timestamps") + 2;
        let value = u32::from_be_bytes(answer.options[at..at + 4].try_into().unwrap());
        let ack = Segment {
            seq: 5_001,
            ack: answer.seq.wrapping_add(1),
            flags: ACK,
            options: options(8, value),
            ..syn.clone()
        };
        peer.send_segment(&Segment { ack: ack.ack.wrapping_add(77), ..ack.clone() });
        assert_eq!(peer.take().expect("a reset").flags & RST, RST, "no cookie, no connection");
        peer.send_segment(&ack);
        let new = peer.accept().expect("the client is connected");
        let info = peer.stack.connection_info(new).unwrap();
        assert!(info.timestamps && info.sack && info.window_scales.is_some(), "{info:?}");
        assert_eq!(info.send_window, 60_000 << 7);
        assert_eq!(info.mss, if peer.is_ipv6() { 1_440 } else { 1_460 } - 12);
    });
}
