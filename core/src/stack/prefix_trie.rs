//! Longest-prefix match: a path-compressed binary trie (a Patricia tree) in fixed memory.
//!
//! A node stands for a prefix, and its two children for longer ones that begin with it and go on with a zero or a one. Prefixes in between that
//! nobody has entered have no node, so that n prefixes need at most 2n - 1 of them and a lookup passes no more of them than the address has
//! bits, in a table of random prefixes about the logarithm of their number. Both families share the memory, each with a root of its own.

use core::net::IpAddr;

use crate::address::Prefix;
use crate::storage::Storage;

/// No node, or nothing entered.
pub(crate) const NONE: u32 = u32::MAX;

/// A node of the trie.
#[derive(Clone, Copy, Debug)]
pub struct TrieNode {
    /// The prefix, its bits from the top; zeros follow.
    bits: u128,
    length: u8,
    /// What the owner has entered for the prefix, or [`NONE`] for a node that only branches.
    value: u32,
    children: [u32; 2],
    /// In a node that is free, the next one.
    parent: u32,
}

impl TrieNode {
    /// A place that holds nothing, for memory that the caller lends.
    pub const EMPTY: TrieNode = TrieNode { bits: 0, length: 0, value: NONE, children: [NONE; 2], parent: NONE };

    fn has(&self, bits: u128) -> bool {
        common(self.bits, bits) >= self.length
    }

    /// The child that an address with these bits is below. The node's prefix is not a whole address.
    fn side(&self, bits: u128) -> usize {
        side(bits, self.length)
    }
}

/// Leading bits that two addresses share.
fn common(a: u128, b: u128) -> u8 {
    (a ^ b).leading_zeros() as u8
}

fn side(bits: u128, at: u8) -> usize {
    (bits >> (127 - u32::from(at)) & 1) as usize
}

/// An address's bits from the top, and how many it has.
fn key(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// Prefixes of both families, each with a number of its owner's.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(crate) struct PrefixTrie<'m> {
    nodes: Storage<'m, TrieNode>,
    free: u32,
    /// IPv4's and IPv6's.
    roots: [u32; 2],
}

/// How many nodes so many prefixes need.
pub(crate) const fn nodes_for(prefixes: usize) -> usize {
    2 * prefixes
}

impl<'m> PrefixTrie<'m> {
    /// A trie in this memory, which has [`nodes_for`] as many prefixes as there will be.
    pub(crate) fn new(nodes: Storage<'m, TrieNode>) -> Self {
        PrefixTrie { nodes, free: NONE, roots: [NONE; 2] }
    }

    /// The node of the longest prefix that was entered and has `address`. Shorter ones follow from [`shorter`](Self::shorter).
    #[inline(never)] // Called from many places: one copy is enough.
    pub(crate) fn longest(&self, address: IpAddr) -> Option<u32> {
        let (bits, width) = key(address);
        let (mut at, mut longest) = (self.roots[usize::from(width == 128)], None);
        while let Some(node) = self.nodes.get(at as usize).filter(|node| node.has(bits)) {
            longest = if node.value == NONE { longest } else { Some(at) };
            if node.length == width {
                break;
            }
            at = node.children[node.side(bits)];
        }
        longest
    }

    /// The next shorter prefix that was entered and has what the node's prefix has.
    pub(crate) fn shorter(&self, node: u32) -> Option<u32> {
        let mut at = self.nodes.get(node as usize)?.parent;
        while let Some(node) = self.nodes.get(at as usize) {
            if node.value != NONE {
                return Some(at);
            }
            at = node.parent;
        }
        None
    }

    /// What was entered at a node.
    pub(crate) fn value(&self, node: u32) -> u32 {
        self.nodes.get(node as usize).map_or(NONE, |node| node.value)
    }

    /// The node of exactly this prefix, if it was entered.
    pub(crate) fn find(&self, prefix: Prefix) -> Option<u32> {
        let (bits, width) = key(prefix.network().address);
        let mut at = self.roots[usize::from(width == 128)];
        while let Some(node) = self.nodes.get(at as usize).filter(|node| node.has(bits)) {
            if node.length >= prefix.length {
                return (node.length == prefix.length && node.value != NONE).then_some(at);
            }
            at = node.children[node.side(bits)];
        }
        None
    }

    /// Enters a number for a prefix, in the place of the one that was there. False if the memory is used up.
    pub(crate) fn set(&mut self, prefix: Prefix, value: u32) -> bool {
        let (bits, width) = key(prefix.network().address);
        let root = usize::from(width == 128);
        let length = prefix.length;
        let (mut at, mut parent) = (self.roots[root], NONE);
        while let Some(node) = self.nodes.get(at as usize).copied() {
            let shared = common(node.bits, bits).min(node.length).min(length);
            if shared < node.length {
                return self.insert_above(root, at, shared, TrieNode { bits, length, value, ..TrieNode::EMPTY });
            }
            if node.length == length {
                self.nodes[at as usize].value = value;
                return true;
            }
            parent = at;
            at = node.children[node.side(bits)];
        }
        let Some(new) = self.take(TrieNode { bits, length, value, parent, ..TrieNode::EMPTY }) else { return false };
        self.replace_child(root, parent, NONE, bits, new);
        true
    }

    /// Puts a prefix above the node `below`, with which it shares fewer bits than that has: as its parent, or as its sibling below
    /// a node that only branches.
    fn insert_above(&mut self, root: usize, below: u32, shared: u8, new: TrieNode) -> bool {
        let TrieNode { bits, parent, .. } = self.nodes[below as usize];
        let Some(entered) = self.take(new) else { return false };
        let top = if shared == new.length {
            entered
        } else {
            let mask = u128::MAX.checked_shl(128 - u32::from(shared)).unwrap_or(0);
            let Some(branch) = self.take(TrieNode { bits: bits & mask, length: shared, ..TrieNode::EMPTY }) else {
                self.give_back(entered);
                return false;
            };
            self.nodes[branch as usize].children[side(new.bits, shared)] = entered;
            self.nodes[entered as usize].parent = branch;
            branch
        };
        self.nodes[top as usize].parent = parent;
        self.nodes[top as usize].children[side(bits, shared)] = below;
        self.nodes[below as usize].parent = top;
        self.replace_child(root, parent, below, bits, top);
        true
    }

    /// Removes what was entered for a prefix.
    pub(crate) fn remove(&mut self, prefix: Prefix) {
        let Some(found) = self.find(prefix) else { return };
        self.nodes[found as usize].value = NONE;
        let root = usize::from(prefix.address.is_ipv6());
        self.tidy(root, found);
    }

    /// Takes out a node that nothing is entered at and that does not branch, and its parent if that is why it branched.
    fn tidy(&mut self, root: usize, node: u32) {
        let TrieNode { value, children, parent, bits, .. } = self.nodes[node as usize];
        let only = match children {
            [a, b] if value == NONE && (a == NONE || b == NONE) => a.min(b),
            _ => return,
        };
        if let Some(child) = self.nodes.get_mut(only as usize) {
            child.parent = parent;
        }
        self.replace_child(root, parent, node, bits, only);
        self.give_back(node);
        if parent != NONE && only == NONE {
            self.tidy(root, parent);
        }
    }

    /// Puts `new` where `old` was below `parent`, or at the root.
    fn replace_child(&mut self, root: usize, parent: u32, old: u32, bits: u128, new: u32) {
        match self.nodes.get_mut(parent as usize) {
            Some(parent) => {
                let side = parent.side(bits);
                debug_assert_eq!(parent.children[side], old);
                parent.children[side] = new;
            }
            None => self.roots[root] = new,
        }
    }

    fn take(&mut self, node: TrieNode) -> Option<u32> {
        match self.free {
            NONE => {
                self.nodes.push(node).ok()?;
                Some(self.nodes.len() as u32 - 1)
            }
            free => {
                self.free = self.nodes[free as usize].parent;
                self.nodes[free as usize] = node;
                Some(free)
            }
        }
    }

    fn give_back(&mut self, node: u32) {
        self.nodes[node as usize] = TrieNode { parent: self.free, ..TrieNode::EMPTY };
        self.free = node;
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::random::{Generator, Use};
    use alloc::vec::Vec;

    /// A prefix among few, so that they often contain each other, and an address that often is in one.
    fn draw(random: &mut Generator, is_ipv6: bool) -> Prefix {
        let bits = random.next_u64();
        // Sparse bits: zeros are as likely to run on as random ones.
        let bits = bits & random.next_u64() & (random.next_u64() | 0xff00_ff00_ff00_ff00);
        let (address, width) = match is_ipv6 {
            true => (IpAddr::from((u128::from(bits) << 64 | u128::from(bits & 3)).to_be_bytes()), 128),
            false => (IpAddr::from(((bits >> 32) as u32).to_be_bytes()), 32),
        };
        let length = random.next_u32() % (width + 1);
        Prefix { address, length: if random.next_u32().is_multiple_of(4) { width as u8 } else { length as u8 } }
    }

    #[test]
    fn agrees_with_a_list_under_random_insertions_removals_and_lookups() {
        for seed in 0..20 {
            let mut random = Generator::new([seed, 3], Use::HashTables);
            let mut trie = PrefixTrie::new(Storage::with_capacity(nodes_for(200)));
            let mut model: Vec<(Prefix, u32)> = Vec::new();
            for step in 0..4_000u32 {
                let is_ipv6 = random.next_u32().is_multiple_of(2);
                let mut prefix = draw(&mut random, is_ipv6).network();
                // Half of the steps fill the table, the other half empty it.
                let removes = random.next_u32() % 8 < if step % 2_000 < 1_000 { 2 } else { 6 };
                if removes && !model.is_empty() {
                    prefix = model[random.next_u32() as usize % model.len()].0;
                    model.retain(|(found, _)| *found != prefix);
                    trie.remove(prefix);
                } else if model.len() < 200 {
                    model.retain(|(found, _)| *found != prefix);
                    model.push((prefix, step));
                    assert!(trie.set(prefix, step), "there is room for as many as were asked for, seed {seed}");
                }
                let address = draw(&mut random, is_ipv6).address;
                let mut expected: Vec<_> = model.iter().filter(|(prefix, _)| prefix.contains(address)).collect();
                expected.sort_by_key(|(prefix, _)| core::cmp::Reverse(prefix.length));
                let found = core::iter::successors(trie.longest(address), |node| trie.shorter(*node));
                let found: Vec<u32> = found.map(|node| trie.value(node)).collect();
                assert_eq!(found, expected.iter().map(|(_, value)| *value).collect::<Vec<_>>(), "seed {seed}");
                let exact = trie.find(prefix).map(|node| trie.value(node));
                assert_eq!(exact, model.iter().find(|(found, _)| *found == prefix).map(|found| found.1));
            }
            for (prefix, _) in model {
                trie.remove(prefix);
            }
            assert_eq!(trie.roots, [NONE; 2]);
        }
    }

    #[test]
    fn a_lookup_passes_few_nodes_however_many_prefixes_there_are() {
        let mut random = Generator::new([1, 2], Use::HashTables);
        let mut trie = PrefixTrie::new(Storage::with_capacity(nodes_for(100_000)));
        for value in 0..100_000 {
            let address = IpAddr::from(random.next_u32().to_be_bytes());
            assert!(trie.set(Prefix { address, length: 24 }, value));
        }
        let depth = |address| {
            let node = trie.longest(address)?;
            let above = core::iter::successors(Some(node), |at| Some(trie.nodes.get(*at as usize)?.parent));
            Some(above.take_while(|at| *at != NONE).count())
        };
        let depths: Vec<_> = (0..20_000).filter_map(|_| depth(IpAddr::from(random.next_u32().to_be_bytes()))).collect();
        assert!(depths.len() > 50 && depths.iter().all(|depth| *depth <= 25), "each node has a bit more: {depths:?}");
        assert!(depths.iter().sum::<usize>() < depths.len() * 20, "the logarithm of 100,000 is 17: {depths:?}");
    }
}
