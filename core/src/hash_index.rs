//! An open-addressing hash index from keys that live elsewhere to node numbers.
//!
//! The caller hashes with a keyed function ([`crate::random`]) and compares keys itself; the index holds
//! hashes and numbers only. Linear probing at a load of at most two thirds (the buckets of a long probe share a cache line or two, and a small table
//! more of them), deletion by shifting back.

use crate::storage::{Array, Storage};

const EMPTY: u32 = u32::MAX;

/// A hash and the node that it leads to.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    hash: u32,
    node: u32,
}

impl Bucket {
    /// A place that holds nothing, for memory that the caller lends.
    pub const EMPTY: Bucket = Bucket { hash: 0, node: EMPTY };
}

/// How many buckets an index for `entries` entries needs.
#[inline(never)] // Each table asks once, and the answer takes long code.
pub(crate) const fn buckets_for(entries: usize) -> usize {
    let wanted = if entries < 4 { 8 } else { entries + entries / 2 };
    wanted.next_power_of_two()
}

#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(crate) struct HashIndex<'m> {
    buckets: Array<'m, Bucket>,
    mask: usize,
}

impl<'m> HashIndex<'m> {
    /// An index for `entries` entries; the storage must have room for [`buckets_for`] that many.
    pub(crate) fn new(buckets: Storage<'m, Bucket>, entries: usize) -> Self {
        let len = buckets_for(entries);
        HashIndex { buckets: buckets.filled(len, Bucket::EMPTY), mask: len - 1 }
    }

    /// Stands for an index before there is one; must not be used.
    pub(crate) fn nothing() -> Self {
        HashIndex { buckets: Storage::borrowed(&mut []).filled(0, Bucket::EMPTY), mask: 0 }
    }

    /// The node with this hash for which `matches` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u32, matches: impl FnMut(u32) -> bool) -> Option<u32> {
        self.locate(hash, matches).map(|(_, node)| node)
    }

    /// Adds a node. The owners' limits keep the load below two thirds, so that a free bucket always exists.
    pub(crate) fn insert(&mut self, hash: u32, node: u32) {
        let mut position = hash as usize & self.mask;
        while self.buckets[position].node != EMPTY {
            position = (position + 1) & self.mask;
        }
        self.buckets[position] = Bucket { hash, node };
    }

    /// Puts a node with the same hash in the place of another.
    pub(crate) fn replace(&mut self, hash: u32, node: u32, successor: u32) {
        if let Some((position, _)) = self.locate(hash, |found| found == node) {
            self.buckets[position].node = successor;
        }
    }

    /// Removes a node.
    pub(crate) fn remove(&mut self, hash: u32, node: u32) {
        let Some((mut hole, _)) = self.locate(hash, |found| found == node) else { return };
        let mut position = hole;
        loop {
            position = (position + 1) & self.mask;
            let bucket = self.buckets[position];
            if bucket.node == EMPTY {
                break;
            }
            // Shift back what would no longer be found past the hole.
            let home = bucket.hash as usize & self.mask;
            let distance_from_home = position.wrapping_sub(home) & self.mask;
            let distance_from_hole = position.wrapping_sub(hole) & self.mask;
            if distance_from_home >= distance_from_hole {
                self.buckets[hole] = bucket;
                hole = position;
            }
        }
        self.buckets[hole] = Bucket::EMPTY;
    }

    /// Where the node with this hash for which `matches` holds is, and its number.
    #[inline]
    fn locate(&self, hash: u32, mut matches: impl FnMut(u32) -> bool) -> Option<(usize, u32)> {
        let mut position = (hash as usize).wrapping_sub(1);
        loop {
            let node = self.probe(hash, &mut position);
            if node == EMPTY {
                return None;
            }
            if matches(node) {
                return Some((position, node));
            }
        }
    }

    /// Moves on to the next bucket with this hash; returns its node, or `EMPTY` if there is no more.
    #[inline(never)] // The loop once, and not at every place that compares keys in its own way.
    fn probe(&self, hash: u32, position: &mut usize) -> u32 {
        loop {
            *position = position.wrapping_add(1) & self.mask;
            let bucket = self.buckets[*position];
            if bucket.node == EMPTY || bucket.hash == hash {
                return bucket.node;
            }
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::random::{Generator, Use};
    use alloc::collections::BTreeMap;

    #[test]
    fn agrees_with_a_map_under_random_insertions_and_removals() {
        let mut random = Generator::new([5, 6], Use::HashTables);
        let mut index = HashIndex::new(Storage::with_capacity(buckets_for(64)), 64);
        let mut model: BTreeMap<u32, u32> = BTreeMap::new(); // node → hash
        for _ in 0..20_000 {
            let node = random.next_u32() % 64;
            let successor = random.next_u32() % 64;
            match model.remove(&node) {
                Some(hash) if random.next_u32().is_multiple_of(2) && !model.contains_key(&successor) => {
                    index.replace(hash, node, successor);
                    model.insert(successor, hash);
                }
                Some(hash) => index.remove(hash, node),
                None => {
                    let hash = random.next_u32() % 16 * 7; // many collisions
                    index.insert(hash, node);
                    model.insert(node, hash);
                }
            }
            for (&node, &hash) in &model {
                assert_eq!(index.find(hash, |candidate| candidate == node), Some(node));
            }
        }
    }
}
