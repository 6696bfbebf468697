//! The states of a connection (RFC 9293 §3.3.2), and why it ends.

use core::fmt;

use crate::error_text::ErrorText;

/// The states of a connection (RFC 9293 §3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waiting for a connection request. Only listeners are in it.
    Listen,
    /// A connection request was sent.
    SynSent,
    /// Requests were sent and received; the acknowledgment of ours is missing.
    SynReceived,
    /// Open both ways.
    Established,
    /// We have closed; the FIN is not acknowledged.
    FinWait1,
    /// We have closed; waiting for the peer's FIN.
    FinWait2,
    /// The peer has closed; waiting for our user to.
    CloseWait,
    /// Both have closed at once; our FIN is not acknowledged.
    Closing,
    /// The peer has closed, then we; our FIN is not acknowledged.
    LastAck,
    /// Waiting until no old segment can arrive.
    TimeWait,
    /// No connection.
    Closed,
}

impl State {
    /// Whether both sides know each other's sequence numbers (RFC 9293 §3.5.2, group 3).
    pub fn is_synchronized(self) -> bool {
        !matches!(self, State::Listen | State::SynSent | State::SynReceived | State::Closed)
    }

    /// Whether the user may still send: neither closed nor shut down.
    pub(crate) fn may_send(self) -> bool {
        matches!(self, State::SynSent | State::SynReceived | State::Established | State::CloseWait)
    }

    /// Whether the peer may still send.
    pub(crate) fn may_receive(self) -> bool {
        matches!(self, State::SynSent | State::SynReceived | State::Established | State::FinWait1 | State::FinWait2)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Listen => "LISTEN",
            State::SynSent => "SYN-SENT",
            State::SynReceived => "SYN-RECEIVED",
            State::Established => "ESTABLISHED",
            State::FinWait1 => "FIN-WAIT-1",
            State::FinWait2 => "FIN-WAIT-2",
            State::CloseWait => "CLOSE-WAIT",
            State::Closing => "CLOSING",
            State::LastAck => "LAST-ACK",
            State::TimeWait => "TIME-WAIT",
            State::Closed => "CLOSED",
        })
    }
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both sides have closed, in order.
    Finished,
    /// The peer answered the connection request with a reset, or said that nobody listens at the port (ICMP).
    Refused,
    /// The peer has reset the connection.
    Reset,
    /// The peer did not answer for as long as the configuration allows.
    TimedOut,
    /// The network said that the peer cannot be reached: ICMP's destination unreachable.
    Unreachable {
        /// The code of RFC 792 and RFC 1812 §5.2.7.1 (1: host, 4: a segment was too large, 13: prohibited); over IPv6 the
        /// code there that means the same.
        code: u8,
    },
    /// The network said that the hop limit was used up on the way: ICMP's time exceeded.
    HopLimitExceeded,
    /// The peer, or a router, said that a header of ours makes no sense: ICMP's parameter problem.
    ParameterProblem,
    /// Our side has aborted it.
    Aborted,
}

impl CloseReason {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            CloseReason::Finished => ErrorText::plain("closed by both sides"),
            CloseReason::Refused => ErrorText::plain("connection refused"),
            CloseReason::Reset => ErrorText::plain("connection reset by peer"),
            CloseReason::TimedOut => ErrorText::plain("connection timed out"),
            CloseReason::Unreachable { code } => ErrorText::number("destination unreachable (code {})", code as u32),
            CloseReason::HopLimitExceeded => ErrorText::plain("hop limit exceeded"),
            CloseReason::ParameterProblem => ErrorText::plain("parameter problem"),
            CloseReason::Aborted => ErrorText::plain("connection aborted"),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}
