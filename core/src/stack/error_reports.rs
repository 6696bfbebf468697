//! What routers and peers have reported about connections by ICMP, kept for a while for their users.

use core::net::IpAddr;

use super::Stack;
use super::icmp::Problem;
use super::ip_input::Packet;
use crate::event::ConnectionHandle;
use crate::slab::Key;
use crate::tcp::connection::CloseReason;

/// Reports that a stack keeps, of all connections; the oldest make room for new ones.
const KEPT: usize = 8;

/// An ICMP error about a connection that was believed (RFC 5927 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorReport {
    /// What it means.
    pub reason: CloseReason,
    /// Type and code of the message, of ICMP or of ICMPv6 as the address family says.
    pub kind: u8,
    /// See `kind`.
    pub code: u8,
    /// Who has sent it: a router, or the peer.
    pub reporter: IpAddr,
}

impl ErrorReport {
    /// What the ICMP message in `packet` says, which means `problem`.
    pub(super) fn of(problem: Problem, packet: &Packet<'_>) -> Option<Self> {
        let [kind, code, ..] = *packet.payload else { return None };
        Some(ErrorReport { reason: problem.reason(), kind, code, reporter: packet.source })
    }
}

/// The latest reports, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct ErrorReports([Option<(Key, ErrorReport)>; KEPT]);

impl ErrorReports {
    pub(super) fn push(&mut self, socket: Key, report: ErrorReport) {
        let free = self.0.iter().position(Option::is_none);
        if free.is_none() {
            self.0.rotate_left(1);
        }
        self.0[free.unwrap_or(KEPT - 1)] = Some((socket, report));
    }

    fn take(&mut self, socket: Key) -> Option<ErrorReport> {
        let place = self.0.iter().position(|kept| kept.is_some_and(|(key, _)| key == socket))?;
        let taken = self.0[place].take();
        self.0[place..].rotate_left(1);
        taken.map(|(_, report)| report)
    }
}

impl Stack<'_> {
    /// Takes the oldest report that is kept about the connection. A stack keeps the last eight about all of its connections.
    pub fn take_error_report(&mut self, handle: ConnectionHandle) -> Option<ErrorReport> {
        self.held_connection(handle)?;
        self.error_reports.take(handle.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_and_each_connection_has_its_own() {
        let mut reports = ErrorReports::default();
        let key = |index| Key { index, generation: 1 };
        let report = |code| ErrorReport {
            reason: CloseReason::Unreachable { code },
            kind: 3,
            code,
            reporter: IpAddr::from([192, 0, 2, 1]),
        };
        for code in 0..9 {
            reports.push(key(u32::from(code) % 2), report(code));
        }
        let mut codes = |index| core::iter::from_fn(|| reports.take(key(index))).map(|report| report.code).sum::<u8>();
        assert_eq!((codes(0), codes(1), codes(2)), (2 + 4 + 6 + 8, 1 + 3 + 5 + 7, 0));
        assert!(reports.0.iter().all(Option::is_none));
        reports.push(key(0), report(1));
        assert_eq!(reports.take(key(0)), Some(report(1)));
    }
}
