//! The pool: fixed-size blocks that hold everything which grows with traffic.
//!
//! A [`Pool`] is separate from the [`Stack`](crate::Stack) and lent to its calls, so that many stacks share one; each stack
//! has an account with a quota. Free blocks are reused last in, first out, and a block that was
//! never used was never touched.

use crate::storage::Storage;

/// Size of a block in bytes.
pub const BLOCK_SIZE: usize = 4096;

/// No block.
pub(crate) const NO_BLOCK: u32 = u32::MAX;

/// Fixed-size blocks, shared by any number of stacks.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub struct Pool<'m> {
    bytes: Storage<'m, u8>,
    next_free: Storage<'m, u32>,
    free: u32,
    used: u32,
    peak: u32,
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

    /// More than three quarters of the quota are in use: what can be sent again later is not kept.
    pub(crate) fn under_pressure(&self) -> bool {
        self.used > self.quota - self.quota / 4
    }

    /// Whether a holder of `held` blocks, one of `holders`, may take more: under pressure nobody goes beyond twice a
    /// fair share of the quota.
    pub(crate) fn may_grow(&self, held: u32, holders: usize) -> bool {
        !self.under_pressure() || u64::from(held) * (holders.max(1) as u64) < 2 * u64::from(self.quota)
    }
}

impl<'m> Pool<'m> {
    /// A pool of `blocks` blocks, allocated now and touched when first used.
    #[cfg(feature = "alloc")]
    pub fn new(blocks: usize) -> Pool<'static> {
        Pool::from_storage(Storage::with_capacity(blocks * BLOCK_SIZE), Storage::with_capacity(blocks))
    }

    /// A pool in memory of the caller's: [`BLOCK_SIZE`] bytes and one link for each block.
    pub fn borrowed(bytes: &'m mut [u8], links: &'m mut [u32]) -> Self {
        Pool::from_storage(Storage::borrowed(bytes), Storage::borrowed(links))
    }

    fn from_storage(bytes: Storage<'m, u8>, next_free: Storage<'m, u32>) -> Self {
        Pool { bytes, next_free, free: NO_BLOCK, used: 0, peak: 0 }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        (self.bytes.capacity() / BLOCK_SIZE).min(self.next_free.capacity())
    }

    /// Blocks in use now.
    pub fn blocks_in_use(&self) -> usize {
        self.used as usize
    }

    /// The most blocks that were ever in use at once.
    pub fn peak_blocks(&self) -> usize {
        self.peak as usize
    }

    /// Takes a block; its contents are whatever they were.
    pub(crate) fn allocate(&mut self, account: &mut Account) -> Option<u32> {
        if account.used >= account.quota {
            account.refused += 1;
            return None;
        }
        let block = if self.free != NO_BLOCK {
            let block = self.free;
            self.free = self.next_free[block as usize];
            block
        } else {
            let block = self.next_free.len();
            if block >= self.blocks() {
                account.refused += 1;
                return None;
            }
            self.next_free.grow_to(block + 1, NO_BLOCK);
            self.bytes.grow_to((block + 1) * BLOCK_SIZE, 0);
            block as u32
        };
        account.used += 1;
        self.used += 1;
        self.peak = self.peak.max(self.used);
        Some(block)
    }

    /// Gives a block back to the account that took it.
    pub(crate) fn release(&mut self, account: &mut Account, block: u32) {
        debug_assert!(account.used > 0 && self.used > 0);
        self.next_free[block as usize] = self.free;
        self.free = block;
        account.used -= 1;
        self.used -= 1;
    }

    #[inline]
    pub(crate) fn block(&self, block: u32) -> &[u8] {
        let start = block as usize * BLOCK_SIZE;
        &self.bytes[start..start + BLOCK_SIZE]
    }

    #[inline]
    pub(crate) fn block_mut(&mut self, block: u32) -> &mut [u8] {
        let start = block as usize * BLOCK_SIZE;
        &mut self.bytes[start..start + BLOCK_SIZE]
    }

    /// The `n`th little-endian word of a block that holds words.
    #[inline]
    pub(crate) fn word(&self, block: u32, n: usize) -> u32 {
        let start = block as usize * BLOCK_SIZE + n * 4;
        let bytes = &self.bytes[start..start + 4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// Sets the `n`th little-endian word of a block that holds words.
    #[inline]
    pub(crate) fn set_word(&mut self, block: u32, n: usize, value: u32) {
        let start = block as usize * BLOCK_SIZE + n * 4;
        self.bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

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
