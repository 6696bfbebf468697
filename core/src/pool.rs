//! The pool: fixed-size blocks that hold everything which grows with traffic.
//!
//! A [`Pool`] is separate from the [`Stack`](crate::Stack) and lent to its calls, so that many stacks share one; each stack
//! has an account with a quota. Free blocks are reused last in, first out, and a block that was
//! never used was never touched.

use crate::storage::Storage;

/// Size of a block in bytes.
pub const BLOCK_SIZE: usize = 4096;

/// The bytes of a block.
type Block = [u8; BLOCK_SIZE];

/// No block.
pub(crate) const NO_BLOCK: u32 = u32::MAX;

/// Fixed-size blocks, shared by any number of stacks.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub struct Pool<'m> {
    blocks: Storage<'m, Block>,
    next_free: Storage<'m, u32>,
    free: u32,
    total: u32,
    used: u32,
    #[cfg(debug_assertions)]
    looks: core::cell::Cell<u64>,
}

/// What one stack takes from the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) used: u32,
    pub(crate) quota: u32,
    /// Allocations refused because the quota or the pool was exhausted.
    pub(crate) refused: u64,
}

impl Account {
    pub(crate) fn new(quota: u32) -> Self {
        Account { used: 0, quota, refused: 0 }
    }
}

/// How scarce blocks are for one account: by its quota or in the whole pool, whichever is nearer its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// Everybody takes what they like.
    None,
    /// More than three quarters are in use: growth stops for who holds twice a fair share, and what can be sent again
    /// later is not kept.
    High,
    /// More than seven eighths are in use: the rest is for data in order and for control, which make progress
    /// possible.
    Critical,
}

impl<'m> Pool<'m> {
    /// A pool of `blocks` blocks, allocated now and touched when first used.
    #[cfg(feature = "alloc")]
    pub fn new(blocks: usize) -> Pool<'static> {
        Pool::from_storage(Storage::with_capacity(blocks), Storage::with_capacity(blocks))
    }

    /// A pool in memory of the caller's: [`BLOCK_SIZE`] bytes and one link for each block.
    pub fn borrowed(bytes: &'m mut [u8], links: &'m mut [u32]) -> Self {
        Pool::from_storage(Storage::borrowed(bytes.as_chunks_mut().0), Storage::borrowed(links))
    }

    fn from_storage(blocks: Storage<'m, Block>, next_free: Storage<'m, u32>) -> Self {
        let total = blocks.capacity().min(next_free.capacity()) as u32;
        Pool {
            blocks,
            next_free,
            free: NO_BLOCK,
            total,
            used: 0,
            #[cfg(debug_assertions)]
            looks: core::cell::Cell::new(0),
        }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.total as usize
    }

    /// Blocks in use now.
    pub fn blocks_in_use(&self) -> usize {
        self.used as usize
    }

    /// The most blocks that were ever in use at once.
    pub fn peak_blocks(&self) -> usize {
        // A block is used for the first time only when there is no other.
        self.next_free.len()
    }

    /// How often blocks were looked into: what hostile segments cost, which tests bound. Debug builds alone count it.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    pub fn looks(&self) -> u64 {
        self.looks.get()
    }

    #[inline(always)]
    fn count_look(&self) {
        #[cfg(debug_assertions)]
        self.looks.set(self.looks.get() + 1);
    }

    /// How scarce blocks are for `account`.
    #[inline]
    pub(crate) fn pressure(&self, account: &Account) -> Pressure {
        let level = |used: u32, total: u32| match total - total.min(used) {
            free if free < total / 8 => Pressure::Critical,
            free if free < total / 4 => Pressure::High,
            _ => Pressure::None,
        };
        level(account.used, account.quota).max(level(self.used, self.total))
    }

    /// Whether blocks are scarce at all.
    #[inline]
    pub(crate) fn is_under_pressure(&self, account: &Account) -> bool {
        let is_scarce = |used: u32, total: u32| total - total.min(used) < total / 4;
        is_scarce(account.used, account.quota) || is_scarce(self.used, self.total)
    }

    /// Blocks that the sender of a connection may take more, if it holds `held` and there are `holders` connections.
    pub(crate) fn send_allowance(&self, account: &Account, held: u32, holders: usize) -> u32 {
        let free = |used: u32, total: u32| (total - total / 8).saturating_sub(used);
        let left = free(account.used, account.quota).min(free(self.used, self.total));
        match self.pressure(account) {
            Pressure::None => left,
            Pressure::High if self.has_fair_share(account, held, holders) => left.min(1),
            Pressure::High | Pressure::Critical => 0,
        }
    }

    /// Whether who holds `held` blocks, one of `holders`, has no more than twice a fair share.
    #[inline]
    pub(crate) fn has_fair_share(&self, account: &Account, held: u32, holders: usize) -> bool {
        let total = u64::from(account.quota.min(self.total));
        u64::from(held) * (holders.max(1) as u64) < 2 * total
    }

    /// Takes a block; its contents are whatever they were.
    #[inline]
    pub(crate) fn allocate(&mut self, account: &mut Account) -> Option<u32> {
        let block = self.take(account);
        (block != NO_BLOCK).then_some(block)
    }

    /// The same, or `NO_BLOCK`: one number is returned in a register.
    #[inline(never)] // Called from many places.
    fn take(&mut self, account: &mut Account) -> u32 {
        if account.used >= account.quota {
            account.refused += 1;
            return NO_BLOCK;
        }
        let block = self.free;
        match self.next_free.entry(block) {
            Some(&next) => self.free = next,
            // There is no block `NO_BLOCK`.
            None => return self.allocate_unused(account),
        }
        account.used += 1;
        self.used += 1;
        block
    }

    /// Takes a block that was never used.
    #[cold]
    #[inline(never)]
    fn allocate_unused(&mut self, account: &mut Account) -> u32 {
        let block = self.next_free.len();
        if block >= self.blocks() {
            account.refused += 1;
            return NO_BLOCK;
        }
        self.next_free.grow_to(block + 1, NO_BLOCK);
        self.blocks.grow_to(block + 1, [0; BLOCK_SIZE]);
        account.used += 1;
        self.used += 1;
        block as u32
    }

    /// Gives a block back to the account that took it.
    #[inline(never)] // Called from many places.
    pub(crate) fn release(&mut self, account: &mut Account, block: u32) {
        debug_assert!(account.used > 0 && self.used > 0);
        if let Some(next) = self.next_free.entry_mut(block) {
            *next = core::mem::replace(&mut self.free, block);
        }
        account.used -= 1;
        self.used -= 1;
    }

    #[inline]
    pub(crate) fn block(&self, block: u32) -> &Block {
        self.count_look();
        &self.blocks[block as usize]
    }

    #[inline]
    pub(crate) fn block_mut(&mut self, block: u32) -> &mut Block {
        self.count_look();
        &mut self.blocks[block as usize]
    }

    /// The `n`th little-endian word of a block that holds words.
    #[inline]
    pub(crate) fn word(&self, block: u32, n: usize) -> u32 {
        let words = self.block(block).as_chunks().0;
        u32::from_le_bytes(words[n])
    }

    /// Sets the `n`th little-endian word of a block that holds words.
    #[inline]
    pub(crate) fn set_word(&mut self, block: u32, n: usize, value: u32) {
        let words = self.block_mut(block).as_chunks_mut().0;
        words[n] = value.to_le_bytes();
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_with_the_quota_or_the_pool_and_stops_the_greedy_first() {
        let mut pool = Pool::new(64);
        let mut a = Account::new(32);
        let b = Account::new(1_000);
        for _ in 0..25 {
            pool.allocate(&mut a).unwrap();
        }
        assert_eq!((pool.pressure(&a), pool.pressure(&b)), (Pressure::High, Pressure::None));
        assert_eq!(pool.send_allowance(&a, 1, 10), 1, "twice a fair share is six blocks");
        assert_eq!(pool.send_allowance(&a, 7, 10), 0);
        for _ in 0..4 {
            pool.allocate(&mut a).unwrap();
        }
        assert_eq!((pool.pressure(&a), pool.send_allowance(&a, 0, 10)), (Pressure::Critical, 0));
    }

    #[test]
    fn quota_and_pool_bound_what_is_taken_and_the_last_freed_block_comes_first() {
        let mut pool = Pool::new(3);
        let mut a = Account::new(2);
        let mut b = Account::new(10);
        let first = pool.allocate(&mut a).unwrap();
        let second = pool.allocate(&mut a).unwrap();
        assert_eq!(pool.allocate(&mut a), None, "the quota is 2");
        pool.allocate(&mut b).unwrap();
        assert_eq!(pool.allocate(&mut b), None, "the pool has 3");
        pool.release(&mut a, first);
        pool.release(&mut a, second);
        assert_eq!(pool.allocate(&mut b), Some(second));
        assert_eq!((a.used, a.refused, b.used, b.refused), (0, 1, 2, 1));
        assert_eq!((pool.blocks_in_use(), pool.peak_blocks()), (2, 3));
    }
}
