//! Sending: windows, silly windows, probes.

use crate::peer::{everywhere, everywhere_with};
use ethertab::time::Duration;
use ethertab::{CloseReason, Event, Signals, State, UnusedWindow};

#[test]
fn t27_a_window_that_closes_with_data_in_flight() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 20_000);
        for at in (1..10_001).step_by(1_000) {
            peer.expect(&format!(". {at}:{}(1000) ack 1", at + 1_000));
        }
        peer.expect_nothing();
        // Nothing beyond the new edge is sent again; what is at SND.UNA is (RFC 9293 §3.8.6).
        peer.send(". 1:1(0) ack 3001 win 0");
        peer.expect_nothing();
        peer.wait_for(". 3001:4001(1000) ack 1");
        peer.expect_nothing();
        peer.send(". 1:1(0) ack 4001 win 0");
        peer.wait_for(". 4001:5001(1000) ack 1");
        assert_eq!(peer.state(handle), Some(State::Established));
        // It opens again, and everything arrives.
        peer.send(". 1:1(0) ack 5001 win 60000");
        let mut acked = 5_001;
        for _ in 0..200 {
            while let Some(segment) = peer.take() {
                let seq = segment.seq.wrapping_sub(peer.host_zero());
                if seq == acked {
                    acked += segment.payload.len() as u32;
                }
            }
            peer.send(&format!(". 1:1(0) ack {acked} win 60000"));
            if acked == 20_001 {
                break;
            }
            if peer.is_silent() {
                peer.pass_millis(100);
            }
        }
        assert_eq!((acked, peer.stack.unacknowledged_bytes(handle)), (20_001, 0));
    });
}

#[test]
fn t27_a_lost_window_update_and_hours_of_zero_windows() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send(". 1:1(0) ack 1 win 0");
        peer.write(handle, 5_000);
        peer.expect_nothing();
        // As long as the peer answers its window may stay closed; probes become rare, but never cease.
        let mut gaps = Vec::new();
        for _ in 0..100 {
            gaps.push(peer.wait_for(". 0:0(0) ack 1"));
            peer.send(". 1:1(0) ack 1 win 0");
        }
        assert!(gaps.windows(2).all(|pair| pair[1] >= pair[0]), "{gaps:?}");
        assert_eq!(gaps.last(), Some(&120_000));
        assert_eq!(peer.state(handle), Some(State::Established));
        // The update is lost: the answer to the next probe has the window.
        peer.wait_for(". 0:0(0) ack 1");
        peer.send(". 1:1(0) ack 1 win 5000");
        peer.expect(". 1:1001(1000) ack 1");
    });
}

#[test]
fn t27_probes_of_a_closed_window_that_nobody_answers_end_the_connection() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send(". 1:1(0) ack 1 win 0");
        peer.write(handle, 5_000);
        let begin = peer.now;
        let mut probes = 0;
        while peer.stack.connection_error(handle).is_none() {
            peer.pass(Duration::from_secs(1));
            while peer.take().is_some() {
                probes += 1;
            }
        }
        assert_eq!((probes, peer.stack.connection_error(handle)), (15, Some(CloseReason::TimedOut)));
        let minutes = peer.now.since(begin).as_secs() / 60;
        assert!((10..=30).contains(&minutes), "{minutes} min");
    });
}

#[test]
fn t27_a_peer_that_acknowledges_ahead_gains_nothing() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 100_000);
        let sent = peer.stack.connection_info(handle).unwrap().bytes_sent;
        let cwnd = peer.stack.connection_info(handle).unwrap().cwnd;
        peer.ignore();
        for ahead in 1..50 {
            peer.send(&format!(". 1:1(0) ack {}", sent + 1 + ahead * 1_000));
        }
        let info = peer.stack.connection_info(handle).unwrap();
        assert_eq!((info.cwnd, info.bytes_sent), (cwnd, sent));
    });
}

#[test]
fn t27_a_peer_that_splits_its_acknowledgments_gains_nothing() {
    let cwnd_after = |step: u32| {
        let result = std::cell::Cell::new(0);
        everywhere(|peer| {
            let handle = peer.establish();
            peer.write(handle, 200_000);
            peer.ignore();
            for ack in (1..=10_001).step_by(step as usize).skip(1) {
                peer.send(&format!(". 1:1(0) ack {ack}"));
            }
            result.set(peer.stack.connection_info(handle).unwrap().cwnd);
        });
        result.get()
    };
    let (whole, split) = (cwnd_after(1_000), cwnd_after(10));
    assert!(split <= whole && whole == 20_000, "{split} after splitting, {whole} otherwise");
}

#[test]
fn t43_a_window_of_a_few_bytes_is_not_filled_at_once() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send(". 1:1(0) ack 1 win 100");
        peer.write(handle, 5_000);
        // Small for a window that was 60,000 once: only the override timer sends into it (RFC 9293 §3.8.6.2.1).
        peer.expect_nothing();
        let waited = peer.wait_for(". 1:101(100) ack 1");
        assert!((100..=1_000).contains(&waited), "{waited} ms");
        peer.send(". 1:1(0) ack 101 win 2000");
        peer.expect(". 101:1101(1000) ack 1");
        peer.expect(". 1101:2101(1000) ack 1");
    });
}

#[test]
fn nagle_holds_back_the_second_small_segment() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 10);
        peer.expect("P. 1:11(10) ack 1");
        peer.write(handle, 10);
        peer.write(handle, 10);
        peer.expect_nothing();
        peer.send(". 1:1(0) ack 11");
        peer.expect("P. 11:31(20) ack 1");
        // Without it each goes out at once.
        peer.stack.set_nodelay(handle, true).unwrap();
        peer.write(handle, 10);
        peer.expect("P. 31:41(10) ack 1");
        peer.write(handle, 10);
        peer.expect("P. 41:51(10) ack 1");
        // A FIN takes what is left with it.
        peer.stack.set_nodelay(handle, false).unwrap();
        peer.write(handle, 10);
        peer.expect_nothing();
        peer.shutdown(handle);
        peer.expect("FP. 51:61(10) ack 1");
    });
}

#[test]
fn the_initial_window_is_ten_segments_and_doubles_each_round_trip() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 100_000);
        for (first, count) in [(1, 10), (10_001, 20), (30_001, 40)] {
            for number in 0..count {
                let at = first + number * 1_000;
                peer.expect(&format!(". {at}:{}(1000) ack 1", at + 1_000));
            }
            peer.expect_nothing();
            peer.pass_millis(50);
            let texts: Vec<_> =
                (1..=count / 2).map(|number| format!(". 1:1(0) ack {}", first + number * 2_000)).collect();
            peer.send_batch(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_connection_that_was_idle_begins_slowly_again_if_its_window_decays() {
    everywhere_with(
        |tcp| (tcp.initial_window, tcp.unused_window) = (4, UnusedWindow::Decays),
        |peer| {
            let handle = peer.establish();
            peer.write(handle, 12_000);
            let mut acked = 4_001;
            while acked <= 12_001 {
                peer.ignore();
                peer.send(&format!(". 1:1(0) ack {acked}"));
                acked += 4_000;
            }
            peer.ignore();
            peer.pass(Duration::from_secs(10));
            peer.write(handle, 20_000);
            for number in 0..4 {
                let at = 12_001 + number * 1_000;
                peer.expect(&format!(". {at}:{}(1000) ack 1", at + 1_000));
            }
            peer.expect_nothing();
        },
    );
}

#[test]
fn a_user_who_waits_for_room_is_told_at_a_third_or_when_the_path_is_idle() {
    let writable = |peer: &mut crate::peer::Peer, handle| {
        let mut told = false;
        while let Some(event) = peer.stack.poll_event() {
            told |= matches!(event, Event::Connection(found, signals) if found == handle && signals.contains(Signals::WRITABLE));
        }
        told
    };
    everywhere_with(
        |tcp| (tcp.send_buffer, tcp.initial_send_buffer) = (8_000, 8_000),
        |peer| {
            let handle = peer.establish();
            peer.send(". 1:1(0) ack 1 win 4000");
            assert_eq!(peer.write(handle, 10_000), 8_000);
            writable(peer, handle);
            // There is still something to send.
            peer.send(". 1:1(0) ack 2001 win 2000");
            assert!(!writable(peer, handle));
            peer.send(". 1:1(0) ack 3001 win 5000");
            assert!(writable(peer, handle));
            // Now everything has left, and both windows have room: for a path of more than 8,000 bytes each one counts.
            assert_eq!(peer.write(handle, 10_000), 3_000);
            peer.send(". 1:1(0) ack 3001 win 60000");
            peer.send(". 1:1(0) ack 3501 win 60000");
            assert!(!writable(peer, handle));
            peer.send(". 1:1(0) ack 4001 win 60000");
            assert!(writable(peer, handle));
        },
    );
}
