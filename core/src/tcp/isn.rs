//! Initial sequence numbers (RFC 6528 §3): `ISN = M + F(flow, secret)`; and where the clock of timestamps begins.

use crate::random::Generator;
use crate::stack::flow::Flow;
use crate::tcp::seq::Seq;
use crate::time::Instant;

/// The initial sequence number of a flow: a 4-microsecond clock (RFC 9293 §3.4.1) offset by a keyed function of
/// the flow, so that numbers of one flow go up and those of another cannot be guessed.
pub(crate) fn initial_sequence(secret: &Generator, flow: &Flow, now: Instant) -> Seq {
    let clock = (now.as_micros() / 4) as u32;
    Seq(clock.wrapping_add(flow.prf(secret) as u32))
}

/// How far a flow's timestamps are ahead of our clock, in milliseconds (RFC 7323 §7.1): the other half of the function. Like
/// sequence numbers, those of a flow's next connection go on where the last one's were (RFC 6191 §2).
pub(crate) fn timestamp_offset(secret: &Generator, flow: &Flow) -> u32 {
    (flow.prf(secret) >> 32) as u32
}
