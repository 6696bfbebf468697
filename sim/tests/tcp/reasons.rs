//! Why connections end: each reason can occur, and listings, events and calls all say the same (T9).

use crate::peer::{Peer, everywhere, everywhere_with};
use ethertab::time::Duration;
use ethertab::{CloseReason, ConnectionHandle, RecvError, SendError, State};
use ethertab_sim::packet::{ICMP, ICMPV6, icmp};

fn assert_ended(peer: &mut Peer, handle: ConnectionHandle, reason: CloseReason) {
    let info = peer.stack.connection_info(handle).expect("still held");
    assert_eq!((info.state, info.reason), (State::Closed, Some(reason)));
    assert_eq!(peer.stack.connection_error(handle), Some(reason));
    assert_eq!(peer.read(handle, 1), Err(RecvError::Closed(reason)));
    let sent = peer.stack.send(&mut peer.pool, peer.now, handle, b"x");
    assert_eq!(sent, Err(SendError::Closed(reason)));
    assert!(peer.stack.connections().any(|info| info.handle == Some(handle) && info.reason == Some(reason)));
}

/// What a router says of the packet that the stack has sent last.
fn report(peer: &mut Peer, (kind, code): (u8, u8), (kind_v6, code_v6): (u8, u8)) {
    let frame = peer.take_frame().expect("a packet to report");
    let (protocol, kind, code) = if peer.is_ipv6() { (ICMPV6, kind_v6, code_v6) } else { (ICMP, kind, code) };
    peer.send_ip(protocol, &icmp(kind, code, 0, &frame[14..]));
}

#[test]
fn t9_refused() {
    everywhere(|peer| {
        let handle = peer.connect();
        peer.expect("S 0:0(0)");
        peer.send("R. 0:0(0) ack 1");
        assert_ended(peer, handle, CloseReason::Refused);
    });
}

#[test]
fn t9_refused_says_icmp() {
    everywhere(|peer| {
        let handle = peer.connect();
        report(peer, (3, 3), (1, 4));
        assert_ended(peer, handle, CloseReason::Refused);
    });
}

#[test]
fn t9_unreachable_with_the_code_and_who_said_so() {
    everywhere(|peer| {
        for (v4, v6) in [(0, 0), (1, 3), (13, 1)] {
            let handle = peer.connect();
            report(peer, (3, v4), (1, v6));
            let reason = CloseReason::Unreachable { code: v4 };
            assert_ended(peer, handle, reason);
            let report = peer.stack.take_error_report(handle).expect("a report");
            let (kind, code) = if peer.is_ipv6() { (1, v6) } else { (3, v4) };
            assert_eq!((report.reason, report.kind, report.code), (reason, kind, code));
            assert_eq!(report.reporter, peer.address());
            assert_eq!(peer.stack.take_error_report(handle), None);
            peer.close(handle);
        }
    });
}

#[test]
fn t9_hop_limit_and_parameter_problem() {
    everywhere(|peer| {
        let handle = peer.connect();
        report(peer, (11, 0), (3, 0));
        assert_ended(peer, handle, CloseReason::HopLimitExceeded);
        peer.close(handle);
        let handle = peer.connect();
        report(peer, (12, 0), (4, 0));
        assert_ended(peer, handle, CloseReason::ParameterProblem);
    });
}

#[test]
fn t9_reset() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send("R 1:1(0)");
        assert_ended(peer, handle, CloseReason::Reset);
    });
}

#[test]
fn t9_timed_out_and_what_the_network_said_meanwhile() {
    everywhere_with(
        |tcp| tcp.user_timeout = Some(Duration::from_secs(5)),
        |peer| {
            let handle = peer.establish();
            peer.write(handle, 100);
            peer.pass(Duration::from_secs(20));
            assert_ended(peer, handle, CloseReason::TimedOut);
        },
    );
    everywhere_with(
        |tcp| tcp.user_timeout = Some(Duration::from_secs(5)),
        |peer| {
            let handle = peer.establish();
            peer.write(handle, 100);
            report(peer, (3, 1), (1, 3));
            let reason = CloseReason::Unreachable { code: 1 };
            let info = peer.stack.connection_info(handle).unwrap();
            assert_eq!((info.state, info.reason, info.soft_error), (State::Established, None, Some(reason)));
            peer.pass(Duration::from_secs(20));
            assert_ended(peer, handle, reason);
        },
    );
}

#[test]
fn t9_aborted_by_us() {
    everywhere(|peer| {
        let handle = peer.establish();
        // Nobody reads or writes any more: data that comes now is refused, and the connection ends by our will.
        peer.stack.shutdown_read(handle).unwrap();
        peer.shutdown(handle);
        peer.expect("F. 1:1(0) ack 1");
        peer.send("P. 1:101(100) ack 2");
        peer.expect("R 2:2(0)");
        let info = peer.stack.connection_info(handle).unwrap();
        assert_eq!((info.state, info.reason), (State::Closed, Some(CloseReason::Aborted)));
        // A user who aborts lets go of the handle at the same time.
        let handle = peer.connect();
        peer.ignore();
        peer.stack.abort(&mut peer.pool, peer.now, handle);
        assert_eq!(peer.stack.connection_info(handle), None);
        assert_eq!(peer.read(handle, 1), Err(RecvError::NotFound));
    });
}

#[test]
fn t9_finished_is_no_error() {
    everywhere(|peer| {
        let handle = peer.establish();
        peer.send("F. 1:1(0) ack 1");
        peer.ignore();
        peer.shutdown(handle);
        peer.ignore();
        peer.send(". 2:2(0) ack 2");
        let info = peer.stack.connection_info(handle).unwrap();
        assert_eq!((info.state, info.reason), (State::Closed, Some(CloseReason::Finished)));
        assert_eq!(peer.read(handle, 1), Ok(0));
    });
}
