//! What is left of a connection in TIME-WAIT: enough to answer old segments (RFC 9293 §3.3.2).

use crate::stack::flow::Flow;
use crate::tcp::Segment;
use crate::tcp::output::Bare;
use crate::tcp::seq::Seq;
use crate::time::Instant;
use crate::wire::TcpFlags;

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
    pub(crate) deadline: Instant,
}

/// What to do about a segment for a connection in TIME-WAIT.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// Nothing.
    Ignore,
    /// Acknowledge, without starting the wait again.
    Acknowledge,
    /// Acknowledge and start the wait again: the peer has not seen our last ACK.
    Restart,
    /// The connection is over at once.
    Remove,
    /// A new connection with a higher sequence number: let the listener see the segment.
    Reopen,
}

impl TimeWait {
    /// RFC 9293 §3.10.7.4, for TIME-WAIT.
    pub(crate) fn segment_arrives(&self, segment: &Segment<'_>) -> Verdict {
        if segment.has(TcpFlags::RST) {
            // RFC 1337 proposes to ignore it; RFC 9293 and RFC 5961 §3.2 let the exact one close the connection.
            return if segment.seq == self.rcv_nxt { Verdict::Remove } else { Verdict::Ignore };
        }
        if segment.has(TcpFlags::SYN) && !segment.has(TcpFlags::ACK) && segment.seq > self.rcv_nxt {
            // RFC 9293 §3.6.1 (RFC 1122 §4.2.2.13): accepted if beyond what the old connection has used.
            return Verdict::Reopen;
        }
        if segment.has(TcpFlags::FIN) && segment.seq + segment.len() == self.rcv_nxt {
            return Verdict::Restart;
        }
        if segment.seq == self.rcv_nxt && segment.len() == 0 { Verdict::Ignore } else { Verdict::Acknowledge }
    }

    /// The acknowledgment that answers an old segment.
    pub(crate) fn acknowledgment(&self) -> Bare {
        Bare { flow: self.flow, seq: self.snd_nxt, ack: self.rcv_nxt, flags: TcpFlags::ACK, window: self.window }
    }
}
