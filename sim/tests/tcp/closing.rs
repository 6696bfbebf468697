//! Closing a connection, and how every connection ends some day.

use crate::peer::{Peer, everywhere, everywhere_with};
use ethertab::time::Duration;
use ethertab::{CloseReason, DropReason, KeepAlive, RecvError, State};

/// Both close at once; the four orders in which FIN and ACK can cross.
#[test]
fn t7_simultaneous_close_in_four_orders() {
    let orders: [&[&str]; 4] = [
        // The FIN first, which does not acknowledge ours, then the ACK.
        &["F. 1:1(0) ack 1", ". 2:2(0) ack 2"],
        // The ACK first.
        &[". 1:1(0) ack 2", "F. 1:1(0) ack 2"],
        // Both in one.
        &["F. 1:1(0) ack 2"],
        // The FIN twice, since our ACK of it was lost.
        &["F. 1:1(0) ack 1", "F. 1:1(0) ack 1", ". 2:2(0) ack 2"],
    ];
    for order in orders {
        everywhere(|peer| {
            let handle = peer.establish();
            peer.shutdown(handle);
            peer.expect("F. 1:1(0) ack 1");
            for segment in order {
                peer.send(segment);
            }
            let mut last = None;
            while let Some(segment) = peer.take() {
                last = Some(segment);
            }
            let last = last.expect("the FIN is acknowledged");
            assert_eq!(last.ack, peer.segment("F. 2:2(0)").seq);
            assert_eq!(peer.state(handle), Some(State::TimeWait), "{order:?}");
            assert_eq!(peer.read(handle, 10), Ok(0));
            peer.close(handle);
            peer.assert_nothing_left();
        });
    }
}

#[test]
fn t9_a_half_open_connection_ends_after_its_retries() {
    everywhere(|peer| {
        peer.listen();
        peer.send("S 0:0(0) <mss 1000>");
        peer.expect("S. 0:0(0) ack 1");
        for wait in [1_000, 2_000, 4_000, 8_000, 16_000] {
            assert_eq!(peer.wait_for("S. 0:0(0) ack 1"), wait);
        }
        assert_eq!(peer.only_state(), Some(State::SynReceived));
        peer.assert_nothing_left();
        peer.expect_nothing();
    });
}

#[test]
fn t9_a_peer_that_dies_with_data_outstanding() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.write(handle, 500);
        peer.expect("P. 1:501(500) ack 1");
        let mut tries = 0;
        while peer.stack.connection_error(handle).is_none() {
            peer.wait_for("P. 1:501(500) ack 1");
            tries += 1;
            // The time of 15 retransmissions from the first on has room for one more when the round trip is 0.
            if tries == 16 {
                peer.pass(Duration::from_secs(200));
            }
        }
        assert_eq!((tries - 1, peer.stack.connection_error(handle)), (15, Some(CloseReason::TimedOut)));
        assert_eq!(peer.read(handle, 10), Err(RecvError::Closed(CloseReason::TimedOut)));
        peer.close(handle);
        peer.assert_nothing_left();
    });
}

#[test]
fn t9_a_peer_that_dies_with_a_fin_outstanding() {
    for peer_closed_first in [false, true] {
        everywhere(|peer| {
            let handle = peer.establish();
            if peer_closed_first {
                peer.send("F. 1:1(0) ack 1");
                peer.ignore();
            }
            peer.close(handle);
            let expected = if peer_closed_first { State::LastAck } else { State::FinWait1 };
            assert_eq!(peer.only_state(), Some(expected));
            let begin = peer.now;
            peer.assert_nothing_left();
            let lasted = peer.now.since(begin).as_secs();
            assert!((60..1_000).contains(&lasted), "{lasted} s in {expected}");
        });
    }
}

#[test]
fn t9_a_peer_that_dies_with_its_window_closed() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send(". 1:1(0) ack 1 win 0");
        peer.write(handle, 500);
        peer.expect_nothing();
        peer.pass_until_quiet();
        assert_eq!(peer.stack.connection_error(handle), Some(CloseReason::TimedOut));
        peer.close(handle);
        peer.assert_nothing_left();
    });
}

#[test]
fn t9_fin_wait_2_after_close_ends_and_after_shutdown_does_not() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.shutdown(handle);
        peer.expect("F. 1:1(0) ack 1");
        peer.send(". 1:1(0) ack 2");
        peer.pass(Duration::from_secs(24 * 3_600));
        assert_eq!(peer.state(handle), Some(State::FinWait2), "T11: a half-close lasts");
        peer.close(handle);
        peer.pass(Duration::from_secs(59));
        assert_eq!(peer.only_state(), Some(State::FinWait2));
        peer.pass(Duration::from_secs(2));
        assert_eq!(peer.only_state(), None);
        peer.assert_nothing_left();
    });
}

#[test]
fn t9_keep_alive_finds_a_dead_peer_and_spares_a_live_one() {
    let configure = |tcp: &mut ethertab::TcpConfig| {
        let (idle, interval) = (Duration::from_secs(100), Duration::from_secs(10));
        tcp.keep_alive = Some(KeepAlive { idle, interval, probes: 3 });
    };
    everywhere_with(configure, |peer| {
        let handle = peer.establish();
        for _ in 0..3 {
            assert_eq!(peer.wait_for(". 0:0(0) ack 1") / 1_000, 100);
            peer.send(". 1:1(0) ack 1");
        }
        assert_eq!(peer.wait_for(". 0:0(0) ack 1") / 1_000, 100);
        assert_eq!(peer.wait_for(". 0:0(0) ack 1") / 1_000, 10);
        assert_eq!(peer.wait_for(". 0:0(0) ack 1") / 1_000, 10);
        assert_eq!(peer.wait_for("R. 1:1(0) ack 1") / 1_000, 10);
        assert_eq!(peer.stack.connection_error(handle), Some(CloseReason::TimedOut));
    });
}

#[test]
fn t9_unread_data_survives_the_fin_and_time_wait() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send("P. 1:801(800) ack 1");
        peer.shutdown(handle);
        peer.ignore();
        peer.send("F. 801:801(0) ack 2");
        assert_eq!(peer.state(handle), Some(State::TimeWait));
        peer.pass(Duration::from_secs(3_600));
        assert_eq!((peer.read(handle, 1_000), peer.read(handle, 1_000)), (Ok(800), Ok(0)));
        peer.close(handle);
        peer.assert_nothing_left();
    });
}

/// A connection in TIME-WAIT: the next sequence number of the peer is 2, ours too.
fn time_wait(peer: &mut Peer) {
    let handle = peer.establish();
    peer.close(handle);
    peer.expect("F. 1:1(0) ack 1");
    peer.send("F. 1:1(0) ack 2");
    peer.expect(". 2:2(0) ack 2");
    assert_eq!(peer.only_state(), Some(State::TimeWait));
}

/// The user lets go between the peer's FIN and the ACK of it.
#[test]
fn t10_a_connection_closed_before_its_last_ack_has_left_is_in_time_wait_all_the_same() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.shutdown(handle);
        peer.expect("F. 1:1(0) ack 1");
        peer.send(". 1:1(0) ack 2");
        peer.deliver("F. 1:1(0) ack 2");
        assert_eq!(peer.only_state(), Some(State::TimeWait));
        peer.close(handle);
        peer.expect(". 2:2(0) ack 2");
        peer.expect_nothing();
        assert_eq!(peer.only_state(), Some(State::TimeWait));
        peer.send("F. 1:1(0) ack 2");
        peer.expect(". 2:2(0) ack 2");
        peer.assert_nothing_left();
    });
}

/// Nobody answers for the peer's address when its FIN is to be acknowledged.
#[test]
fn t10_time_wait_does_not_depend_on_the_next_hop() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.close(handle);
        peer.expect("F. 1:1(0) ack 1");
        peer.send(". 1:1(0) ack 2");
        peer.forget_neighbor();
        peer.send("F. 1:1(0) ack 2");
        assert_eq!(peer.only_state(), Some(State::TimeWait));
        peer.pass(Duration::from_secs(10));
        assert_eq!(peer.only_state(), Some(State::TimeWait));
        peer.ignore();
        peer.remember_neighbor();
        peer.send("F. 1:1(0) ack 2");
        peer.expect(". 2:2(0) ack 2");
        peer.assert_nothing_left();
    });
}

#[test]
fn t10_only_the_exact_reset_ends_time_wait() {
    everywhere(|peer| {
        time_wait(peer);
        for other in ["R 1:1(0)", "R 3:3(0)", "R 60001:60001(0)"] {
            peer.send(other);
            assert_eq!(peer.only_state(), Some(State::TimeWait), "{other}");
        }
        peer.expect_nothing();
        peer.send("R 2:2(0)");
        assert_eq!(peer.only_state(), None);
        peer.expect_nothing();
        peer.assert_nothing_left();
    });
}

#[test]
fn t10_time_wait_answers_old_segments_and_starts_again() {
    everywhere(|peer| {
        time_wait(peer);
        peer.pass(Duration::from_secs(40));
        peer.send("F. 1:1(0) ack 2");
        peer.expect(". 2:2(0) ack 2");
        peer.pass(Duration::from_secs(40));
        assert_eq!(peer.only_state(), Some(State::TimeWait), "the wait began again");
        // An old segment is answered: the peer is still there.
        peer.send(". 1:1(0) ack 1");
        peer.expect(". 2:2(0) ack 2");
        peer.pass(Duration::from_secs(40));
        // What is not old is no reason to talk.
        peer.send(". 2:2(0) ack 2");
        peer.expect_nothing();
        peer.pass(Duration::from_secs(59));
        assert_eq!(peer.only_state(), Some(State::TimeWait));
        peer.pass(Duration::from_secs(2));
        assert_eq!(peer.only_state(), None);
    });
}

#[test]
fn t10_a_new_connection_may_take_the_place_of_one_in_time_wait() {
    everywhere(|peer| {
        time_wait(peer);
        // Not with an old sequence number (RFC 9293 §3.6.1).
        peer.send("S 1:1(0) <mss 1000>");
        peer.expect(". 2:2(0) ack 2");
        peer.send("S 100000:100000(0) <mss 1000>");
        let syn_ack = peer.take().expect("a SYN and ACK");
        assert_eq!(syn_ack.ack, peer.segment("S 100001:100001(0)").seq);
        assert_eq!(peer.only_state(), Some(State::SynReceived));
    });
}

#[test]
fn t11_close_with_unread_data_is_a_reset() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send("P. 1:501(500) ack 1");
        peer.expect(". 1:1(0) ack 501");
        peer.close(handle);
        peer.expect("R. 1:1(0) ack 501");
        peer.assert_nothing_left();
    });
}

#[test]
fn t11_data_after_close_is_a_reset() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.close(handle);
        peer.expect("F. 1:1(0) ack 1");
        peer.send("P. 1:501(500) ack 2");
        let reset = peer.take().expect("a reset");
        assert_eq!(reset.flags & ethertab_sim::packet::RST, ethertab_sim::packet::RST);
        assert_eq!(peer.drops(DropReason::TcpDataAfterClose), 1);
        peer.assert_nothing_left();
    });
}

#[test]
fn t11_half_closed_connections_carry_data_hours_later() {
    everywhere(|peer| {
        // The peer has closed.
        let handle = peer.establish();
        peer.send("F. 1:1(0) ack 1");
        peer.expect(". 1:1(0) ack 2");
        peer.pass(Duration::from_secs(10 * 3_600));
        peer.write(handle, 900);
        peer.expect("P. 1:901(900) ack 2");
        peer.send(". 2:2(0) ack 901");
        peer.shutdown(handle);
        peer.expect("F. 901:901(0) ack 2");
        peer.send(". 2:2(0) ack 902");
        assert_eq!(peer.stack.connection_error(handle), Some(CloseReason::Finished));
        peer.close(handle);
        peer.assert_nothing_left();
    });
    everywhere(|peer| {
        // We have.
        let handle = peer.establish();
        peer.shutdown(handle);
        peer.expect("F. 1:1(0) ack 1");
        peer.send(". 1:1(0) ack 2");
        peer.pass(Duration::from_secs(10 * 3_600));
        peer.send("P. 1:901(900) ack 2");
        assert_eq!(peer.read(handle, 1_000), Ok(900));
        peer.send("F. 901:901(0) ack 2");
        assert_eq!((peer.read(handle, 1), peer.state(handle)), (Ok(0), Some(State::TimeWait)));
        peer.close(handle);
        peer.assert_nothing_left();
    });
}

#[test]
fn t25_a_fin_that_comes_before_the_data() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send("F. 1001:1001(0) ack 1");
        peer.expect(". 1:1(0) ack 1");
        assert_eq!(peer.state(handle), Some(State::Established));
        peer.send(". 501:1001(500) ack 1");
        peer.expect(". 1:1(0) ack 1");
        peer.send(". 1:501(500) ack 1");
        peer.expect(". 1:1(0) ack 1002");
        assert_eq!(peer.state(handle), Some(State::CloseWait));
        assert_eq!((peer.read(handle, 2_000), peer.read(handle, 1)), (Ok(1_000), Ok(0)));
    });
}

#[test]
fn t25_a_fin_beyond_the_right_window_edge_has_not_come() {
    everywhere_with(
        |tcp| tcp.receive_buffer = 2_000,
        |peer| {
            let handle = peer.establish();
            // 2,100 bytes into a window of 2,000: the last 100 and the FIN are cut off.
            peer.send("F. 1001:2101(1100) ack 1");
            peer.send(". 1:1001(1000) ack 1");
            assert_eq!(peer.state(handle), Some(State::Established));
            assert_eq!(peer.read(handle, 3_000), Ok(2_000));
            peer.ignore();
            peer.send("F. 2001:2101(100) ack 1");
            peer.pass_millis(40);
            peer.expect(". 1:1(0) ack 2102");
            assert_eq!(peer.state(handle), Some(State::CloseWait));
        },
    );
}

#[test]
fn t25_data_after_the_fin_is_ignored() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send("FP. 1:101(100) ack 1");
        peer.pass_millis(40);
        peer.expect(". 1:1(0) ack 102");
        peer.send("P. 102:302(200) ack 1");
        peer.expect(". 1:1(0) ack 102");
        assert_eq!((peer.read(handle, 1_000), peer.read(handle, 1_000)), (Ok(100), Ok(0)));
    });
    everywhere(|peer| {
        // The data is there first, beyond a FIN that comes later.
        let handle = peer.establish();
        peer.send("P. 501:801(300) ack 1");
        peer.send("F. 401:501(100) ack 1");
        peer.send("P. 1:401(400) ack 1");
        peer.ignore();
        assert_eq!(peer.read(handle, 2_000).map(|count| count >= 500), Ok(true));
        peer.send("R 502:502(0)");
        peer.pass_millis(1);
        peer.close(handle);
        peer.assert_nothing_left();
    });
}

#[test]
fn t25_urgent_data_is_delivered_in_line() {
    everywhere(|peer| {
        let handle = peer.establish();
        let mut segment = peer.segment("UP. 1:101(100) ack 1");
        for pointer in [1, 50, 100, 101, u16::MAX] {
            segment.urgent = pointer;
            peer.send_segment(&segment);
        }
        assert_eq!(peer.read(handle, 1_000), Ok(100));
    });
}
