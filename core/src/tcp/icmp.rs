//! What ICMP errors mean to a connection (RFC 1122 §4.2.3.9, RFC 5461, RFC 5927, RFC 6069).

use crate::stack::icmp::Problem;
use crate::tcp::Context;
use crate::tcp::connection::{CloseReason, Connection, Outcome, State};
use crate::tcp::seq::Seq;
use crate::tcp::timers::Timer;
use crate::wire::icmpv4::code;

impl Problem {
    /// What the user is told, if the problem is one that ends connections.
    pub(crate) fn reason(self) -> CloseReason {
        match self {
            Problem::Unreachable(code::PORT_UNREACHABLE) => CloseReason::Refused,
            Problem::Unreachable(code) => CloseReason::Unreachable { code },
            Problem::TooBig(_) => CloseReason::Unreachable { code: code::FRAGMENTATION_NEEDED },
            Problem::TimeExceeded { .. } => CloseReason::HopLimitExceeded,
            Problem::Parameter { .. } => CloseReason::ParameterProblem,
        }
    }

    /// Whether a half-open connection is given up for it: Linux's choice, which over IPv4 takes reports about hosts and
    /// networks, over IPv6 those that RFC 4443 means to be final.
    pub(crate) fn ends_half_open(self, is_ipv4: bool) -> bool {
        match self {
            Problem::Unreachable(code::NETWORK_UNREACHABLE | code::HOST_UNREACHABLE) | Problem::TimeExceeded { .. } => {
                is_ipv4
            }
            Problem::Unreachable(code::PORT_UNREACHABLE | code::ADMINISTRATIVELY_PROHIBITED) => !is_ipv4,
            Problem::Parameter { .. } => true,
            _ => false,
        }
    }
}

impl Connection {
    /// An error about a segment of ours that began at `sequence`; None if it is none that can be believed. An attempt to
    /// connect ends with it. What is open goes on (RFC 1122 §4.2.3.9, RFC 5461 §2.2): the reason is kept for the timer that may
    /// give up later.
    pub(crate) fn icmp_error(
        &mut self,
        context: &mut Context<'_, '_>,
        sequence: Seq,
        problem: Problem,
    ) -> Option<Outcome> {
        // RFC 5927 §4.1: only about what is in flight. As in Linux, that may also be an ACK, which takes no place.
        if sequence < self.snd_una || sequence > self.snd_nxt || self.state == State::Closed {
            return None;
        }
        if !self.state.is_synchronized() && self.config.manner.ends_attempt(problem) {
            return (sequence < self.snd_nxt).then(|| self.end(context, problem.reason()));
        }
        self.soft_error = Some(problem.reason());
        if let Problem::Unreachable(code::NETWORK_UNREACHABLE | code::HOST_UNREACHABLE) = problem
            && sequence == self.snd_una
        {
            self.revert_back_off();
        }
        Some(Outcome::default())
    }

    /// RFC 6069 §5.1: the retransmission was not lost to congestion, so that its timer need not have been backed off. The
    /// timer was set when the segment was sent, from which its new deadline follows.
    fn revert_back_off(&mut self) {
        let Some(deadline) = self.timers.deadline(Timer::Retransmit).filter(|_| self.timeouts > 0) else { return };
        let sent = deadline - self.rtt.rto(&self.config);
        if self.rtt.revert_back_off() {
            // One that has passed expires when the stack looks at its deadlines next.
            self.timers.set(Timer::Retransmit, sent + self.rtt.rto(&self.config));
        }
    }
}
