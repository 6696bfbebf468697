//! Loss: fast retransmit, NewReno, the retransmission timer.

use crate::peer::{Peer, everywhere};
use ethertab::time::Duration;
use ethertab::{CongestionState, ConnectionHandle};

/// A connection with ten segments of 1,000 bytes in flight and more queued, and a round trip of 50 ms measured.
fn ten_in_flight(peer: &mut Peer) -> ConnectionHandle {
    let handle = peer.establish();
    peer.write(handle, 100_000);
    for at in (1..10_001).step_by(1_000) {
        peer.expect(&format!(". {at}:{}(1000) ack 1", at + 1_000));
    }
    peer.expect_nothing();
    peer.pass_millis(50);
    handle
}

fn congestion_state(peer: &Peer, handle: ConnectionHandle) -> CongestionState {
    peer.stack.connection_info(handle).unwrap().congestion_state
}

/// The segments that the stack sends now, as starts of their data.
fn taken(peer: &mut Peer) -> Vec<u32> {
    let zero = peer.host_zero();
    std::iter::from_fn(|| peer.take()).map(|segment| segment.seq.wrapping_sub(zero)).collect()
}

/// The peer takes what comes but for `lost`, which says for each transmission whether it is lost, and acknowledges each
/// segment. Returns how many milliseconds the rest of the transfer took.
fn finish(peer: &mut Peer, handle: ConnectionHandle, mut lost: impl FnMut(u32, u32) -> bool) -> u64 {
    let begin = peer.now;
    let mut arrived = std::collections::BTreeMap::from([(0u32, 1u32)]);
    let mut transmissions = std::collections::BTreeMap::new();
    let mut next = 1;
    let zero = peer.host_zero();
    while peer.stack.unacknowledged_bytes(handle) > 0 {
        assert!(peer.now.since(begin) < Duration::from_secs(1_000), "no end at {next}");
        let mut acks = Vec::new();
        while let Some(segment) = peer.take() {
            let seq = segment.seq.wrapping_sub(zero);
            let count = transmissions.entry(seq).or_insert(0);
            *count += 1;
            if segment.payload.is_empty() || lost(seq, *count) {
                continue;
            }
            arrived.insert(seq, seq + segment.payload.len() as u32);
            while let Some((_, end)) = arrived.range(..=next).next_back().filter(|(_, end)| **end > next) {
                next = *end;
            }
            acks.push(format!(". 1:1(0) ack {next}"));
        }
        if acks.is_empty() {
            // Nothing to answer: the stack's timers are what goes on.
            let due = peer.stack.next_timeout().expect("something is outstanding, so a timer runs");
            peer.pass(due.since(peer.now));
        } else {
            peer.pass_millis(50);
            for ack in acks {
                peer.send(&ack);
            }
        }
    }
    peer.now.since(begin).as_millis()
}

#[test]
fn t40_three_duplicates_retransmit_one_segment_at_once() {
    everywhere(|peer| {
        let handle = ten_in_flight(peer);
        // The first of ten is lost; nine arrive and are answered.
        peer.send(". 1:1(0) ack 1");
        peer.send(". 1:1(0) ack 1");
        assert_eq!(congestion_state(peer, handle), CongestionState::Disorder);
        // Limited transmit (RFC 3042): each of the two may bring out one new segment.
        assert!(taken(peer).iter().all(|seq| *seq >= 10_001));
        peer.send(". 1:1(0) ack 1");
        assert_eq!(taken(peer).first(), Some(&1), "the lost one comes first");
        let info = peer.stack.connection_info(handle).unwrap();
        assert_eq!((info.congestion_state, info.retransmits), (CongestionState::Recovery, 1));
        assert_eq!(info.ssthresh, 7_000, "RFC 9438 §4.6: seven tenths of the window");
        for _ in 0..6 {
            peer.send(". 1:1(0) ack 1");
        }
        assert!(taken(peer).iter().all(|seq| *seq >= 10_001), "no second retransmission of it");
        assert!(finish(peer, handle, |_, _| false) < 2_000);
    });
}

#[test]
fn t40_segments_of_a_window_are_lost() {
    let windows: [(&str, &[u32]); 5] = [
        ("two", &[3_001, 7_001]),
        ("half", &[1, 2_001, 4_001, 6_001, 8_001]),
        ("the first half", &[1, 1_001, 2_001, 3_001, 4_001]),
        ("all but the last", &[1, 1_001, 2_001, 3_001, 4_001, 5_001, 6_001, 7_001, 8_001]),
        ("ten", &[1, 1_001, 2_001, 3_001, 4_001, 5_001, 6_001, 7_001, 8_001, 9_001]),
    ];
    for (name, lost) in windows {
        everywhere(|peer| {
            let handle = peer.establish();
            peer.write(handle, 100_000);
            let millis = finish(peer, handle, |seq, count| count == 1 && lost.contains(&seq));
            let info = peer.stack.connection_info(handle).unwrap();
            // One timeout at most, and a round trip for each hole (NewReno).
            assert!(millis < 4_000, "{name}: {millis} ms");
            assert!(info.retransmits <= 20, "{name}: {} retransmissions", info.retransmits);
            assert_eq!(info.congestion_state, CongestionState::Open, "{name}");
        });
    }
}

#[test]
fn t40_the_last_segment_and_its_retransmission_are_lost() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 100_000);
        let millis = finish(peer, handle, |seq, count| seq == 99_001 && count < 4);
        let info = peer.stack.connection_info(handle).unwrap();
        assert_eq!(info.retransmits, 3);
        // Three timeouts, each twice as long as the one before: about 250, 500 and 1,000 ms.
        assert!((1_000..6_000).contains(&millis), "{millis} ms");
    });
}

#[test]
fn t40_a_retransmission_is_lost_as_well() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 60_000);
        let millis = finish(peer, handle, |seq, count| seq == 5_001 && count < 3);
        assert!(millis < 5_000, "{millis} ms");
    });
}

#[test]
fn t40_everything_is_lost_for_three_minutes_and_then_back() {
    everywhere(|peer| {
        let handle = ten_in_flight(peer);
        let end = peer.now + Duration::from_secs(180);
        let mut sent = 0;
        while peer.now < end {
            peer.pass(Duration::from_secs(1));
            sent += taken(peer).len();
        }
        assert!((7..=12).contains(&sent), "{sent} retransmissions in three minutes");
        let millis = finish(peer, handle, |_, _| false);
        assert!(millis < 125_000, "the next try is at most two minutes away: {millis} ms");
        let info = peer.stack.connection_info(handle).unwrap();
        assert_eq!(info.backoff, 0);
    });
}

#[test]
fn t41_a_partial_ack_retransmits_the_next_hole() {
    everywhere(|peer| {
        let handle = ten_in_flight(peer);
        // 1 and 5,001 are lost.
        for _ in 0..8 {
            peer.send(". 1:1(0) ack 1");
        }
        assert_eq!(taken(peer).iter().filter(|seq| **seq == 1).count(), 1);
        peer.pass_millis(50);
        peer.send(". 1:1(0) ack 5001");
        assert_eq!(taken(peer).first(), Some(&5_001));
        assert_eq!(congestion_state(peer, handle), CongestionState::Recovery);
        peer.pass_millis(50);
        let outstanding = peer.stack.connection_info(handle).unwrap().bytes_sent + 1;
        peer.send(&format!(". 1:1(0) ack {outstanding}"));
        assert_eq!(congestion_state(peer, handle), CongestionState::Open);
    });
}

#[test]
fn t41_a_timeout_sends_everything_again_in_slow_start() {
    everywhere(|peer| {
        let handle = ten_in_flight(peer);
        peer.wait_for(". 1:1001(1000) ack 1");
        peer.expect_nothing();
        let info = peer.stack.connection_info(handle).unwrap();
        assert_eq!((info.cwnd, info.congestion_state), (1_000, CongestionState::Loss));
        peer.send(". 1:1(0) ack 1001");
        // RFC 5682 §2.1 step 2b: new data first, and a duplicate of the ACK shows that the loss was real.
        assert_eq!(taken(peer), [10_001, 11_001]);
        peer.send(". 1:1(0) ack 1001");
        assert_eq!(taken(peer), [1_001]);
        // The ACK of the original flight: nothing more of it goes out again.
        peer.send(". 1:1(0) ack 10001");
        assert!(taken(peer).iter().all(|seq| *seq >= 10_001));
    });
}

/// RFC 6298 §5: backed off, not measured from what was sent twice (Karn), bounded.
#[test]
fn t40_the_timer_doubles_up_to_two_minutes() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 500);
        peer.expect("P. 1:501(500) ack 1");
        let waits: Vec<u64> = (0..14).map(|_| peer.wait_for("P. 1:501(500) ack 1")).collect();
        for pair in waits.windows(2) {
            assert!(pair[1] == 120_000 || (pair[1] as i64 - 2 * pair[0] as i64).abs() <= 1, "{waits:?}");
        }
        assert!(waits[0] >= 200 && waits[13] == 120_000, "{waits:?}");
        let rtt = peer.stack.connection_info(handle).unwrap().srtt;
        peer.send(". 1:1(0) ack 501");
        assert_eq!(peer.stack.connection_info(handle).unwrap().srtt, rtt, "Karn");
    });
}

#[test]
fn t42_loss_of_half_of_the_acknowledgments_stops_nothing() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 100_000);
        let zero = peer.host_zero();
        let (mut next, mut number) = (1, 0);
        let begin = peer.now;
        while peer.stack.unacknowledged_bytes(handle) > 0 {
            let mut any = false;
            while let Some(segment) = peer.take() {
                if segment.seq.wrapping_sub(zero) == next {
                    next += segment.payload.len() as u32;
                }
                any = true;
                number += 1;
                if number % 2 == 0 {
                    peer.send(&format!(". 1:1(0) ack {next}"));
                }
            }
            if !any {
                peer.pass_millis(50);
            }
        }
        assert!(peer.now.since(begin) < Duration::from_secs(3));
    });
}

/// A next hop that does not answer says nothing about the network behind it.
#[test]
fn t40_a_next_hop_that_fails_is_no_congestion() {
    for in_flight in [false, true] {
        everywhere(|peer| {
            let handle = peer.establish();
            let window = |peer: &Peer| {
                let info = peer.stack.connection_info(handle).unwrap();
                (info.cwnd, info.ssthresh)
            };
            let before = window(peer);
            if in_flight {
                peer.write(handle, 1_000);
                peer.expect("P. 1:1001(1000) ack 1");
            }
            peer.forget_neighbor();
            peer.write(handle, 1_000);
            peer.pass(Duration::from_secs(20));
            assert!(peer.stack.counters().tcp_timeouts > 1);
            assert_eq!(window(peer), before);
            peer.ignore();
            peer.remember_neighbor();
            peer.pass(Duration::from_secs(60));
            let first = peer.take().expect("the data");
            assert_eq!((first.seq.wrapping_sub(peer.host_zero()), first.payload.len()), (1, 1_000));
        });
    }
}
