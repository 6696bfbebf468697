//! Initial sequence numbers (RFC 6528 §3): `ISN = M + F(flow, secret)`.

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
