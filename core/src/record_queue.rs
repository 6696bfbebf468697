//! A bounded first-in, first-out queue of records (packets, datagrams) in pool blocks.

use crate::blocks::{Blocks, MAX_WINDOW};
use crate::pool::{Account, BLOCK_SIZE, Pool};

/// Bytes of the word that precedes each record: its length, and in the upper eight bits its tag.
const WORD: u32 = 4;
const TAG_SHIFT: u32 = 24;

/// A tag and a length in one word.
#[derive(Clone, Copy, Debug)]
struct Front(u32);

impl Front {
    fn len(self) -> usize {
        (self.0 & ((1 << TAG_SHIFT) - 1)) as usize
    }

    fn tag(self) -> u8 {
        (self.0 >> TAG_SHIFT) as u8
    }
}

#[derive(Clone, Debug)]
pub(crate) struct RecordQueue {
    blocks: Blocks,
    head: u32,
    tail: u32,
    records: u32,
    /// The word of the first record.
    front: Front,
    /// How much of the first record's packet was sent in fragments, and under which identification.
    pub(crate) progress: (u16, u32),
    max_bytes: u32,
}

impl RecordQueue {
    /// A queue that holds at most `max_bytes` bytes of records.
    pub(crate) fn new(max_bytes: u32) -> Self {
        let max_bytes = max_bytes.min(MAX_WINDOW);
        RecordQueue {
            blocks: Blocks::EMPTY,
            head: 0,
            tail: 0,
            records: 0,
            front: Front(0),
            progress: (0, 0),
            max_bytes,
        }
    }

    /// The same queue with another limit.
    pub(crate) fn with_limit(self, max_bytes: u32) -> Self {
        RecordQueue { max_bytes: max_bytes.min(MAX_WINDOW), ..self }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.records as usize
    }

    /// Bytes in the queue, record lengths included.
    pub(crate) fn bytes(&self) -> u32 {
        self.tail.wrapping_sub(self.head)
    }

    /// Appends one record made of `parts`; false, and nothing changed, if it does not fit.
    pub(crate) fn push(&mut self, pool: &mut Pool<'_>, account: &mut Account, tag: u8, parts: &[&[u8]]) -> bool {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let room = self.max_bytes.saturating_sub(self.bytes());
        if len as u64 + u64::from(WORD) > u64::from(room) {
            return false;
        }
        let front = Front(u32::from(tag) << TAG_SHIFT | len as u32);
        let word = front.0.to_le_bytes();
        let mut at = self.tail;
        for part in core::iter::once(&word[..]).chain(parts.iter().copied()) {
            let written = self.blocks.write(pool, account, self.head, at, part);
            at = at.wrapping_add(written as u32);
            if written < part.len() {
                self.give_back_after(pool, account, at);
                return false;
            }
        }
        self.tail = at;
        if self.records == 0 {
            self.front = front;
        }
        self.records += 1;
        true
    }

    /// The length in bytes of the first record.
    pub(crate) fn front_len(&self) -> Option<usize> {
        (!self.is_empty()).then_some(self.front.len())
    }

    /// The tag of the first record.
    pub(crate) fn front_tag(&self) -> Option<u8> {
        (!self.is_empty()).then_some(self.front.tag())
    }

    /// Copies the first record's bytes from `skip` on into `out`, as many as fit; returns how many.
    #[inline]
    pub(crate) fn peek(&self, pool: &Pool<'_>, skip: usize, out: &mut [u8]) -> usize {
        let Some(len) = self.front_len() else { return 0 };
        let count = len.saturating_sub(skip).min(out.len());
        self.blocks.read(pool, self.head.wrapping_add(WORD + skip as u32), &mut out[..count]);
        count
    }

    /// Drops the first record.
    pub(crate) fn pop(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        let Some(len) = self.front_len() else { return };
        self.progress = (0, 0);
        let next = self.head.wrapping_add(WORD + len as u32);
        self.blocks.release(pool, account, self.head, next);
        self.head = next;
        self.records -= 1;
        if self.records == 0 {
            self.clear(pool, account);
            return;
        }
        let mut word = [0; WORD as usize];
        self.blocks.read(pool, self.head, &mut word);
        self.front = Front(u32::from_le_bytes(word));
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        self.blocks.release_all(pool, account, self.head, self.tail);
        (self.head, self.tail, self.records) = (0, 0, 0);
        self.progress = (0, 0);
    }

    /// Releases the blocks that a record which did not fit took beyond the tail.
    fn give_back_after(&mut self, pool: &mut Pool<'_>, account: &mut Account, end: u32) {
        if self.records == 0 {
            self.blocks.release_all(pool, account, self.head, end);
            return;
        }
        const BLOCK: u32 = BLOCK_SIZE as u32;
        let first_beyond = self.tail.wrapping_add(BLOCK - 1) & !(BLOCK - 1);
        if end.wrapping_sub(self.tail) > first_beyond.wrapping_sub(self.tail) {
            self.blocks.release_beyond(pool, account, self.head, first_beyond, end.wrapping_add(BLOCK));
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn records_come_out_as_they_went_in_and_blocks_are_given_back() {
        let mut pool = Pool::new(64);
        let mut account = Account::new(64);
        let mut queue = RecordQueue::new(100_000);
        let mut pushed = 0u32;
        let mut popped = 0u32;
        for round in 0..2_000u32 {
            let record = vec![pushed as u8; (round * 31 % 3_000) as usize];
            if queue.push(&mut pool, &mut account, 7, &[&record[..record.len() / 2], &record[record.len() / 2..]]) {
                assert_eq!(record.len() as u32, round * 31 % 3_000);
                pushed += 1;
            }
            if round % 3 == 0 && !queue.is_empty() {
                let len = queue.front_len().unwrap();
                let mut out = vec![0xee; len];
                assert_eq!(queue.peek(&pool, 0, &mut out), len);
                assert!(out.iter().all(|&byte| byte == popped as u8));
                queue.pop(&mut pool, &mut account);
                popped += 1;
            }
            assert_eq!(queue.len() as u32, pushed - popped);
        }
        queue.clear(&mut pool, &mut account);
        assert_eq!(pool.blocks_in_use(), 0);
    }

    #[test]
    fn a_record_that_does_not_fit_leaves_nothing_behind() {
        let mut pool = Pool::new(2);
        let mut account = Account::new(2);
        let mut queue = RecordQueue::new(1_000_000);
        assert!(queue.push(&mut pool, &mut account, 7, &[&[1; 100]]));
        assert!(!queue.push(&mut pool, &mut account, 7, &[&[2; 9_000]]));
        assert_eq!(pool.blocks_in_use(), 1);
        queue.pop(&mut pool, &mut account);
        assert!(!queue.push(&mut pool, &mut account, 7, &[&[2; 9_000]]));
        assert_eq!(pool.blocks_in_use(), 0);
    }
}
