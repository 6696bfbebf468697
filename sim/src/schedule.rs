//! What is due when: one entry for each host (its next timeout) and for each direction of a cable (its next arrival), in
//! an indexed binary heap, so that an entry moves without being searched for.

use crate::cable::Side;
use ethertab::time::Instant;

/// Who is to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The host at this index.
    Host(u32),
    /// The frames sent from this side of the cable at this index.
    Lane(u32, Side),
}

impl Wake {
    fn slot(self) -> usize {
        match self {
            Wake::Host(index) => index as usize * 3,
            Wake::Lane(index, Side::A) => index as usize * 3 + 1,
            Wake::Lane(index, Side::B) => index as usize * 3 + 2,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    heap: Vec<(Instant, Wake)>,
    /// Where in the heap each slot's entry is, plus one; 0 if it has none.
    position: Vec<usize>,
}

impl Schedule {
    /// The earliest time.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|(time, _)| *time)
    }

    /// Sets, moves or removes an entry.
    pub(crate) fn set(&mut self, wake: Wake, time: Option<Instant>) {
        let slot = wake.slot();
        if slot >= self.position.len() {
            if time.is_none() {
                return;
            }
            self.position.resize(slot + 1, 0);
        }
        match (self.position[slot], time) {
            (0, None) => {}
            (0, Some(time)) => {
                self.heap.push((time, wake));
                self.settle(self.heap.len() - 1);
            }
            (position, Some(time)) => {
                if self.heap[position - 1].0 != time {
                    self.heap[position - 1].0 = time;
                    self.settle(position - 1);
                }
            }
            (position, None) => self.remove(position - 1),
        }
    }

    /// Takes out the earliest entry if it is due. Of those due at the same time the order depends on nothing but who
    /// they are.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Wake> {
        let &(time, wake) = self.heap.first()?;
        if time > now {
            return None;
        }
        self.remove(0);
        Some(wake)
    }

    fn remove(&mut self, at: usize) {
        self.position[self.heap[at].1.slot()] = 0;
        self.heap.swap_remove(at);
        if at < self.heap.len() {
            self.settle(at);
        }
    }

    /// Moves the entry at `at` up or down to where it belongs.
    fn settle(&mut self, mut at: usize) {
        while at > 0 && self.key(at) < self.key((at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        loop {
            let mut least = at;
            for child in [at * 2 + 1, at * 2 + 2] {
                if child < self.heap.len() && self.key(child) < self.key(least) {
                    least = child;
                }
            }
            if least == at {
                break;
            }
            self.swap(at, least);
            at = least;
        }
        self.position[self.heap[at].1.slot()] = at + 1;
    }

    fn key(&self, at: usize) -> (Instant, usize) {
        let (time, wake) = self.heap[at];
        (time, wake.slot())
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.position[self.heap[a].1.slot()] = a + 1;
        self.position[self.heap[b].1.slot()] = b + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::collections::BTreeMap;

    #[test]
    fn it_agrees_with_a_sorted_map() {
        let mut schedule = Schedule::default();
        let mut model: BTreeMap<usize, u64> = BTreeMap::new();
        let mut random = Random::new(3, 0);
        for _ in 0..20_000 {
            let index = random.below(20) as u32;
            let wake = match random.below(3) {
                0 => Wake::Host(index),
                1 => Wake::Lane(index, Side::A),
                _ => Wake::Lane(index, Side::B),
            };
            if random.below(4) == 0 {
                schedule.set(wake, None);
                model.remove(&wake.slot());
            } else {
                let time = random.below(50);
                schedule.set(wake, Some(Instant::from_micros(time)));
                model.insert(wake.slot(), time);
            }
            let earliest = model.iter().map(|(slot, time)| (*time, *slot)).min();
            assert_eq!(schedule.next().map(Instant::as_micros), earliest.map(|(time, _)| time));
            if random.below(8) == 0 {
                let now = random.below(50);
                let due = earliest.filter(|(time, _)| *time <= now).map(|(_, slot)| slot);
                assert_eq!(schedule.pop_due(Instant::from_micros(now)).map(Wake::slot), due);
                due.map(|slot| model.remove(&slot));
            }
        }
    }
}
