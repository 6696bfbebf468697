//! Initial sequence numbers (RFC 6528 §3): `ISN = M + F(flow, secret)`; and where the clock of timestamps begins.

use crate::random::Generator;
use crate::stack::flow::Flow;
use crate::tcp::seq::Seq;
use crate::time::Instant;

/// Where the numbers of a flow's next connection begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    /// A 4-microsecond clock (RFC 9293 §3.4.1) offset by a keyed function of the flow, so that numbers of one flow go up and those
    /// of another cannot be guessed.
    pub(crate) sequence: Seq,
    /// How far the flow's timestamps are ahead of our clock, in milliseconds (RFC 7323 §7.1): the other half of the function. Like
    /// sequence numbers, those of a flow's next connection go on where the last one's were (RFC 6191 §2).
    pub(crate) timestamp_offset: u32,
}

impl Beginning {
    pub(crate) fn of(flow: &Flow, secret: &Generator, now: Instant) -> Self {
        let function = flow.prf(secret);
        let clock = (now.as_micros() / 4) as u32;
        Beginning { sequence: Seq(clock.wrapping_add(function as u32)), timestamp_offset: (function >> 32) as u32 }
    }
}
