//! What is left of a connection in TIME-WAIT: enough to answer old segments (RFC 9293 §3.3.2).

use crate::config::TcpConfig;
use crate::stack::flow::Flow;
use crate::tcp::Segment;
use crate::tcp::challenge::ChallengeLimit;
use crate::tcp::output::Bare;
use crate::tcp::seq::Seq;
use crate::tcp::timestamps::{self, TimestampState};
use crate::time::Instant;
use crate::wire::{TcpFlags, TcpOptions};

/// A connection in TIME-WAIT.
#[derive(Clone, Debug)]
pub struct TimeWait {
    pub(crate) flow: Flow,
    /// The flow's hash in its stack's table.
    pub(crate) flow_hash: u32,
    pub(crate) snd_nxt: Seq,
    pub(crate) rcv_nxt: Seq,
    /// The window field of our last segment.
    pub(crate) window: u16,
    pub(crate) timestamps: TimestampState,
    pub(crate) deadline: Instant,
    pub(crate) challenges: ChallengeLimit,
}

/// What to do about a segment for a connection in TIME-WAIT.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// Nothing.
    Ignore,
    /// Acknowledge, without starting the wait again.
    Acknowledge,
    /// Start the wait again, since the peer is still there; acknowledge if so told.
    Restart { acknowledge: bool },
    /// The connection is over at once.
    Remove,
    /// A new connection with a higher sequence number: let the listener see the segment.
    Reopen,
}

impl TimeWait {
    /// RFC 9293 §3.10.7.4, for TIME-WAIT.
    pub(crate) fn segment_arrives(&mut self, segment: &Segment<'_>, now: Instant, config: &TcpConfig) -> Verdict {
        let timestamps = TcpOptions::timestamps_of(segment.options).filter(|_| self.timestamps.agreed);
        let tsval = timestamps.map(|timestamps| timestamps.value);
        let is_old = tsval.is_some_and(|tsval| self.timestamps.is_old_duplicate(now, tsval));
        if segment.has(TcpFlags::RST) {
            // RFC 9293 and RFC 5961 §3.2 let the exact one close the connection.
            return if segment.seq == self.rcv_nxt && !config.rfc1337 { Verdict::Remove } else { Verdict::Ignore };
        }
        if segment.has(TcpFlags::SYN | TcpFlags::FIN) && !config.manner.takes_syn_fin(false) {
            return Verdict::Ignore;
        }
        if !segment.has(TcpFlags::ACK) {
            // RFC 9293 §3.6.1 (RFC 1122 §4.2.2.13): accepted if beyond what the old connection has used; RFC 6191 §2: also if
            // its timestamp is.
            let is_later = tsval.is_some_and(|tsval| timestamps::is_older(self.timestamps.recent, tsval));
            let is_new = !is_old && (segment.seq > self.rcv_nxt || is_later);
            return match segment.has(TcpFlags::SYN) {
                true if is_new => Verdict::Reopen,
                // It may be an old duplicate, which does not prolong the wait.
                true if config.manner.ways().answers_in_time_wait
                    && self.challenges.allows(now, config.challenge_interval) =>
                {
                    Verdict::Acknowledge
                }
                _ => Verdict::Ignore,
            };
        }
        if let Some(tsval) = tsval.filter(|_| !is_old) {
            self.timestamps.received(now, segment.seq, tsval);
        }
        // As in Linux, also what carries data or a FIN is always answered: it takes part in no storm of acknowledgments.
        let is_expected = segment.seq == self.rcv_nxt && segment.len() == 0 && !is_old;
        let is_limited = segment.len() == 0 || segment.has(TcpFlags::SYN);
        let acknowledge = !is_expected && (!is_limited || self.challenges.allows(now, config.challenge_interval));
        Verdict::Restart { acknowledge }
    }

    /// The acknowledgment that answers an old segment.
    pub(crate) fn acknowledgment(&self, now: Instant) -> Bare {
        let (seq, ack, timestamps) = (self.snd_nxt, self.rcv_nxt, self.timestamps.option(now));
        Bare { flow: self.flow, seq, ack, flags: TcpFlags::ACK, window: self.window, timestamps }
    }
}
