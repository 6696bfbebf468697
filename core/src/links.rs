//! Intrusive doubly linked lists over node numbers: constant-time insertion and removal, no memory of their own.

use crate::storage::{Array, Storage};

/// No node.
pub(crate) const NONE: u32 = u32::MAX;

/// The neighbours of a node in the list that it is on. A node is on one list at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    next: u32,
    previous: u32,
}

impl Link {
    /// A node that is on no list.
    pub const UNLINKED: Link = Link { next: UNLINKED, previous: UNLINKED };
}

/// Marks a node that is on no list (as `NONE` marks the end of one).
const UNLINKED: u32 = u32::MAX - 1;

/// First and last node of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> Self {
        List { head: NONE, tail: NONE }
    }
}

impl List {
    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    pub(crate) fn tail(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }

    pub(crate) fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }
}

/// The links of all nodes.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(crate) struct Links<'m> {
    links: Array<'m, Link>,
}

impl<'m> Links<'m> {
    /// Links for nodes `0..nodes`; the storage must have room for them.
    pub(crate) fn new(links: Storage<'m, Link>, nodes: usize) -> Self {
        Links { links: links.filled(nodes, Link::UNLINKED) }
    }

    #[inline]
    pub(crate) fn is_linked(&self, node: u32) -> bool {
        self.links[node as usize].next != UNLINKED
    }

    /// Appends `node` unless it is on a list already.
    #[inline(never)] // Called from many places.
    pub(crate) fn push_back(&mut self, list: &mut List, node: u32) {
        if self.is_linked(node) {
            return;
        }
        self.links[node as usize] = Link { next: NONE, previous: list.tail };
        match list.tail {
            NONE => list.head = node,
            tail => self.links[tail as usize].next = node,
        }
        list.tail = node;
    }

    /// Puts `node` first, unless it is on a list already.
    pub(crate) fn push_front(&mut self, list: &mut List, node: u32) {
        if self.is_linked(node) {
            return;
        }
        self.links[node as usize] = Link { next: list.head, previous: NONE };
        match list.head {
            NONE => list.tail = node,
            head => self.links[head as usize].previous = node,
        }
        list.head = node;
    }

    /// Takes the first node off the list.
    #[inline]
    pub(crate) fn pop_front(&mut self, list: &mut List) -> Option<u32> {
        let head = list.head()?;
        if list.tail == head {
            *list = List::default();
            self.links[head as usize] = Link::UNLINKED;
        } else {
            self.remove(list, head);
        }
        Some(head)
    }

    /// Takes `node` off `list`, on which it must be; a node on no list is left alone.
    #[inline(never)] // Called from many places.
    pub(crate) fn remove(&mut self, list: &mut List, node: u32) {
        let Link { next, previous } = self.links[node as usize];
        if next == UNLINKED {
            return;
        }
        match previous {
            NONE => list.head = next,
            previous => self.links[previous as usize].next = next,
        }
        match next {
            NONE => list.tail = previous,
            next => self.links[next as usize].previous = previous,
        }
        self.links[node as usize] = Link::UNLINKED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_leave_from_anywhere() {
        let mut memory = [Link::UNLINKED; 4];
        let mut links = Links::new(Storage::borrowed(&mut memory), 4);
        let mut list = List::default();
        links.push_front(&mut list, 0);
        links.push_front(&mut list, 2);
        for node in [3, 1] {
            links.push_back(&mut list, node);
        }
        links.push_back(&mut list, 0); // already there
        links.push_front(&mut list, 1); // this too
        links.remove(&mut list, 3);
        links.remove(&mut list, 3);
        assert_eq!(links.pop_front(&mut list), Some(2));
        links.remove(&mut list, 1);
        assert_eq!(links.pop_front(&mut list), Some(0));
        assert_eq!(links.pop_front(&mut list), None);
        assert!(list.is_empty());
    }
}
