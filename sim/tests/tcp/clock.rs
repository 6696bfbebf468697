//! Clocks that jump, stand still, go backwards or tick once a minute (P2).

use crate::peer::everywhere;
use ethertab::time::{Duration, Instant};
use ethertab::{CloseReason, State};

#[test]
fn p2_a_clock_that_jumps_by_hours_with_data_outstanding() {
    for hours in [1, 24, 24 * 30] {
        everywhere(|peer| {
            let handle = peer.establish();
            peer.write(handle, 2_000);
            peer.expect(". 1:1001(1000) ack 1");
            peer.expect("P. 1001:2001(1000) ack 1");
            // The machine slept: all timers are due at once, and fire once.
            peer.now += Duration::from_secs(hours * 3_600);
            peer.pass_millis(1);
            peer.expect(". 1:1001(1000) ack 1");
            peer.expect_nothing();
            assert_eq!(peer.state(handle), Some(State::Established));
            peer.send(". 1:1(0) ack 2001");
            // What was measured across the jump does not count (Karn): the next loss is noticed in time.
            peer.write(handle, 500);
            peer.expect("P. 2001:2501(500) ack 1");
            assert!(peer.wait_for("P. 2001:2501(500) ack 1") <= 3_000);
        });
    }
}

#[test]
fn p2_an_idle_connection_survives_a_month() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.now += Duration::from_secs(30 * 24 * 3_600);
        peer.pass_millis(1);
        peer.expect_nothing();
        peer.send("P. 1:501(500) ack 1");
        peer.expect(". 1:1(0) ack 501");
        assert_eq!(peer.read(handle, 1_000), Ok(500));
        peer.write(handle, 500);
        peer.expect("P. 1:501(500) ack 501");
    });
}

#[test]
fn p2_a_clock_that_goes_backwards_stands_still() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.pass(Duration::from_secs(100));
        let late = peer.now;
        peer.write(handle, 500);
        peer.expect("P. 1:501(500) ack 1");
        for early in [Instant::ZERO, Instant::from_secs(1)] {
            peer.now = early;
            peer.stack.handle_timeout(&mut peer.pool, early);
            peer.send("P. 1:101(100) ack 1");
            peer.ignore();
        }
        assert!(peer.stack.next_timeout().is_some_and(|due| due > late), "no timer is in the past");
        peer.now = late;
        assert!((100..=2_000).contains(&peer.wait_for("P. 1:501(500) ack 101")));
        assert_eq!(peer.read(handle, 100), Ok(100));
    });
}

/// A tab in the background gets one timer a minute; what arrives still wakes it.
#[test]
fn p2_one_timer_a_minute() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 60_000);
        let zero = peer.host_zero();
        let (mut next, mut lost, mut minutes) = (1, 0, 0);
        while peer.stack.unacknowledged_bytes(handle) > 0 {
            let mut acks = Vec::new();
            while let Some(segment) = peer.take() {
                lost += 1;
                // One in seventeen is lost, and what follows it is not kept.
                if lost % 17 != 0 && segment.seq.wrapping_sub(zero) == next {
                    next += segment.payload.len() as u32;
                }
                acks.push(format!(". 1:1(0) ack {next}"));
            }
            peer.now += Duration::from_millis(50);
            if acks.is_empty() {
                peer.now += Duration::from_secs(60);
                peer.pass_millis(0);
                minutes += 1;
                assert!(minutes < 15, "at {next}");
            }
            for ack in acks {
                peer.send(&ack);
            }
        }
        peer.close(handle);
        peer.ignore();
        peer.send(". 1:1(0) ack 60002");
        peer.send("F. 1:1(0) ack 60002");
        assert_eq!(peer.only_state(), Some(State::TimeWait));
    });
}

#[test]
fn the_user_timeout_counts_from_the_first_retransmission() {
    everywhere(|peer| {
        let handle = peer.establish();
        let mut config = peer.stack.connection_config(handle).unwrap();
        config.user_timeout = Some(Duration::from_secs(5));
        peer.stack.set_connection_config(peer.now, handle, &config).unwrap();
        peer.pass(Duration::from_secs(60));
        assert_eq!(peer.state(handle), Some(State::Established), "nothing was outstanding");
        peer.write(handle, 500);
        peer.expect("P. 1:501(500) ack 1");
        peer.wait_for("P. 1:501(500) ack 1");
        peer.pass(Duration::from_millis(4_900));
        assert_eq!(peer.state(handle), Some(State::Established));
        peer.pass(Duration::from_millis(200));
        assert_eq!(peer.stack.connection_error(handle), Some(CloseReason::TimedOut));
    });
}
