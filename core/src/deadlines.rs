//! An indexed binary heap of deadlines: one entry a node at most.
//!
//! An entry is moved only when its deadline gets earlier. A deadline that moved later or went away, with its owner perhaps, is
//! put right when the entry expires, so that a timer which is restarted by every segment costs nothing, and a connection that
//! takes the place of one which is over finds an entry there.

use crate::storage::{Array, Storage};
use crate::time::Instant;

const ABSENT: u32 = u32::MAX;

/// A deadline and the node that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    at: Instant,
    node: u32,
}

impl Deadline {
    /// A place that holds nothing, for memory that the caller lends.
    pub const EMPTY: Deadline = Deadline { at: Instant::FAR_FUTURE, node: ABSENT };
}

#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(crate) struct Deadlines<'m> {
    heap: Storage<'m, Deadline>,
    /// Where in the heap each node's entry is.
    positions: Array<'m, u32>,
}

impl<'m> Deadlines<'m> {
    /// Deadlines for nodes `0..nodes`; both storages must have room for them.
    pub(crate) fn new(heap: Storage<'m, Deadline>, positions: Storage<'m, u32>, nodes: usize) -> Self {
        Deadlines { heap, positions: positions.filled(nodes, ABSENT) }
    }

    /// The earliest entry's time.
    #[inline]
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.at)
    }

    /// Makes sure that `node` is woken no later than `at`.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(crate) fn set_no_later(&mut self, node: u32, at: Instant) {
        let position = self.positions[node as usize];
        if position == ABSENT {
            let position = self.heap.len();
            if self.heap.push(Deadline { at, node }).is_ok() {
                self.positions[node as usize] = position as u32;
                self.sift_up(position);
            }
        } else if at < self.heap[position as usize].at {
            self.heap[position as usize].at = at;
            self.sift_up(position as usize);
        }
    }

    /// Forgets the node's entry.
    #[inline(never)] // As `set_no_later`.
    pub(crate) fn remove(&mut self, node: u32) {
        let position = self.positions[node as usize];
        if position != ABSENT {
            self.remove_at(position as usize);
        }
    }

    /// Takes off and returns a node whose entry is due at `now`.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<u32> {
        let first = *self.heap.first()?;
        if first.at > now {
            return None;
        }
        self.remove_at(0);
        Some(first.node)
    }

    fn remove_at(&mut self, position: usize) {
        let last = self.heap.len() - 1;
        self.positions[self.heap[position].node as usize] = ABSENT;
        if position != last {
            self.heap[position] = self.heap[last];
            self.positions[self.heap[position].node as usize] = position as u32;
        }
        self.heap.truncate(last);
        if position < last {
            self.sift_up(position);
            self.sift_down(position);
        }
    }

    #[inline]
    fn sift_up(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / 2;
            if self.heap[parent].at <= self.heap[position].at {
                return;
            }
            self.swap(parent, position);
            position = parent;
        }
    }

    fn sift_down(&mut self, mut position: usize) {
        loop {
            let left = 2 * position + 1;
            let Some(left_entry) = self.heap.get(left) else { return };
            let smaller = match self.heap.get(left + 1) {
                Some(right_entry) if right_entry.at < left_entry.at => left + 1,
                _ => left,
            };
            if self.heap[position].at <= self.heap[smaller].at {
                return;
            }
            self.swap(position, smaller);
            position = smaller;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.positions[self.heap[a].node as usize] = a as u32;
        self.positions[self.heap[b].node as usize] = b as u32;
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn entries_leave_in_order_and_only_move_earlier() {
        let mut deadlines = Deadlines::new(Storage::with_capacity(50), Storage::with_capacity(50), 50);
        for node in 0..50u32 {
            deadlines.set_no_later(node, Instant::from_micros(u64::from(node * 37 % 50) + 100));
        }
        deadlines.set_no_later(7, Instant::from_micros(1));
        deadlines.set_no_later(7, Instant::from_micros(1_000));
        deadlines.remove(8);
        assert_eq!(deadlines.next(), Some(Instant::from_micros(1)));
        assert_eq!(deadlines.pop_expired(Instant::from_micros(50)), Some(7));
        assert_eq!(deadlines.pop_expired(Instant::from_micros(50)), None);
        let rest: Vec<u32> = core::iter::from_fn(|| deadlines.pop_expired(Instant::FAR_FUTURE)).collect();
        assert_eq!(rest.len(), 48);
        assert!(rest.is_sorted_by_key(|node| node * 37 % 50));
    }
}
