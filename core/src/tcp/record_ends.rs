//! Where the user's records end in what is not sent yet (`MSG_EOR`): no segment reaches across such a place.

use crate::pool::{Account, BLOCK_SIZE, NO_BLOCK, Pool};
use crate::tcp::seq::Seq;

/// Ends that a block holds.
const PER_BLOCK: u16 = (BLOCK_SIZE / 4) as u16;

/// The ends in ascending order: the first is kept here, those behind it in a ring in a pool block.
#[derive(Clone, Debug)]
pub(crate) struct RecordEnds {
    first: Seq,
    block: u32,
    /// Where the second is in the ring.
    head: u16,
    len: u16,
}

impl RecordEnds {
    pub(crate) const NONE: RecordEnds = RecordEnds { first: Seq(0), block: NO_BLOCK, head: 0, len: 0 };

    /// The next end.
    #[inline]
    pub(crate) fn first(&self) -> Option<Seq> {
        (self.len > 0).then_some(self.first)
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is room for one more; takes a block for it if need be.
    pub(crate) fn reserve(&mut self, pool: &mut Pool<'_>, account: &mut Account) -> bool {
        if self.len > 0 && self.block == NO_BLOCK {
            self.block = pool.allocate(account).unwrap_or(NO_BLOCK);
        }
        self.len == 0 || (self.block != NO_BLOCK && self.len <= PER_BLOCK)
    }

    /// A record ends at `end`, behind all others; there is [room](RecordEnds::reserve) for it.
    pub(crate) fn push(&mut self, pool: &mut Pool<'_>, end: Seq) {
        if self.len == 0 {
            self.first = end;
        } else if self.block != NO_BLOCK {
            pool.set_word(self.block, usize::from((self.head + self.len - 1) % PER_BLOCK), end.0);
        } else {
            return;
        }
        self.len += 1;
    }

    /// All up to `nxt` was sent.
    #[inline]
    pub(crate) fn sent(&mut self, pool: &mut Pool<'_>, account: &mut Account, nxt: Seq) {
        while self.len > 0 && self.first <= nxt {
            self.pop(pool, account);
        }
    }

    #[cold]
    fn pop(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        if self.len == 1 {
            return self.clear(pool, account);
        }
        self.first = Seq(pool.word(self.block, usize::from(self.head)));
        self.head = (self.head + 1) % PER_BLOCK;
        self.len -= 1;
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        if self.block != NO_BLOCK {
            pool.release(account, self.block);
        }
        *self = RecordEnds::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_come_back_in_order_and_their_block_is_given_back() {
        let mut pool = Pool::new(1);
        let mut account = Account::new(1);
        let mut ends = RecordEnds::NONE;
        let mut next = u32::MAX - 10;
        let mut sent = next;
        for round in 0..3_000 {
            next = next.wrapping_add(7);
            assert!(ends.reserve(&mut pool, &mut account));
            ends.push(&mut pool, Seq(next));
            if round % 2 == 0 {
                sent = sent.wrapping_add(7);
                ends.sent(&mut pool, &mut account, Seq(sent));
            }
            if round == 1_000 {
                sent = next.wrapping_sub(3);
                ends.sent(&mut pool, &mut account, Seq(sent));
                assert_eq!(ends.first(), Some(Seq(next)));
                sent = next;
                ends.sent(&mut pool, &mut account, Seq(sent));
                assert_eq!((ends.first(), pool.blocks_in_use()), (None, 0));
            }
        }
        assert_eq!(ends.first(), Some(Seq(sent.wrapping_add(7))));
    }

    #[test]
    fn a_full_block_has_no_room() {
        let mut pool = Pool::new(1);
        let mut account = Account::new(1);
        let mut ends = RecordEnds::NONE;
        for end in 0..=u32::from(PER_BLOCK) {
            assert!(ends.reserve(&mut pool, &mut account));
            ends.push(&mut pool, Seq(end));
        }
        assert!(!ends.reserve(&mut pool, &mut account));
        ends.sent(&mut pool, &mut account, Seq(0));
        assert!(ends.reserve(&mut pool, &mut account));
    }
}
