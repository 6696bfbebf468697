//! Merging segments that follow each other, as offloading cards and accelerators do.

use super::Merge;
use super::segment::{Parsed, option};
use crate::cable::Side;
use crate::packet::{ACK, FIN, PSH};
use ethertab::time::Instant;

/// Segments that wait for the one behind them, one for each flow.
#[derive(Clone, Debug, Default)]
pub(super) struct Merger {
    held: Vec<Held>,
}

#[derive(Clone, Debug)]
struct Held {
    from: Side,
    parsed: Parsed,
    until: Instant,
}

impl Merger {
    /// Takes a segment; returns those that go on now, in their order.
    pub(super) fn offer(&mut self, now: Instant, from: Side, parsed: Parsed, merge: Merge) -> Vec<Parsed> {
        let mut ready = Vec::new();
        if let Some(index) = self.held.iter().position(|held| is_same_flow(&held.parsed, &parsed)) {
            if can_merge(&self.held[index].parsed, &parsed, merge.max) {
                let held = &mut self.held[index].parsed.segment;
                held.payload.extend_from_slice(&parsed.segment.payload);
                held.flags |= parsed.segment.flags;
                (held.ack, held.window) = (parsed.segment.ack, parsed.segment.window);
                held.options.clone_from(&parsed.segment.options);
                if parsed.segment.flags & FIN != 0 {
                    ready.push(self.held.remove(index).parsed);
                }
                return ready;
            }
            ready.push(self.held.remove(index).parsed);
        }
        let mergeable = parsed.segment.flags & !PSH == ACK && !parsed.segment.payload.is_empty();
        if mergeable {
            self.held.push(Held { from, parsed, until: now + merge.hold });
        } else {
            ready.push(parsed);
        }
        ready
    }

    /// When the first segment has waited long enough.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.until).min()
    }

    /// A segment that has waited long enough, and the side that it came from.
    pub(super) fn expired(&mut self, now: Instant) -> Option<(Side, Parsed)> {
        let index = self.held.iter().position(|held| held.until <= now)?;
        let held = self.held.remove(index);
        Some((held.from, held.parsed))
    }
}

fn is_same_flow(a: &Parsed, b: &Parsed) -> bool {
    let ends = |parsed: &Parsed| {
        (parsed.source, parsed.segment.source_port, parsed.destination, parsed.segment.destination_port)
    };
    ends(a) == ends(b)
}

/// Whether `next` goes on where `held` ends, and says the like in its options.
fn can_merge(held: &Parsed, next: &Parsed, max: u16) -> bool {
    let (first, second) = (&held.segment, &next.segment);
    let kinds = |options: &[u8]| option::each(options).map(|(_, kind, _)| kind).collect::<Vec<_>>();
    first.seq.wrapping_add(first.payload.len() as u32) == second.seq
        && second.flags & !(PSH | FIN) == ACK
        && !second.payload.is_empty()
        && first.payload.len() + second.payload.len() <= usize::from(max)
        && kinds(&first.options) == kinds(&second.options)
        && !kinds(&second.options).contains(&option::SACK)
        // What is sent again may carry less than was acknowledged before.
        && second.ack.wrapping_sub(first.ack) < 1 << 31
}
