//! A window of a byte stream, kept in pool blocks.
//!
//! A byte with stream offset `n` (for TCP: its sequence number) sits at `n % BLOCK_SIZE` in the block of slot
//! `n / BLOCK_SIZE`, whatever segments brought it. Few slots are kept inline; a larger window keeps its
//! slots in one more block, so that an idle connection costs no block at all and any offset is found in
//! constant time. Offsets wrap at 2³².

use crate::checksum::{self, Sum};
use crate::copy::copy;
use crate::pool::{Account, BLOCK_SIZE, NO_BLOCK, Pool};

const BLOCK_SHIFT: u32 = BLOCK_SIZE.trailing_zeros();
/// Slots kept in the structure itself.
const INLINE_SLOTS: u32 = 8;
/// Slots in an index block.
const INDEXED_SLOTS: u32 = (BLOCK_SIZE / 4) as u32;

/// The largest window in bytes (about 4 MiB): its first and last byte must not share a slot of the index.
pub(crate) const MAX_WINDOW: u32 = (INDEXED_SLOTS - 1) * BLOCK_SIZE as u32;

#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    inline: [u32; INLINE_SLOTS as usize],
    /// The block that holds the slots once they are too many to be inline.
    index: u32,
    /// Data blocks in use.
    live: u32,
}

#[inline]
fn slot_of(offset: u32) -> u32 {
    offset >> BLOCK_SHIFT
}

#[inline]
fn place(offset: u32) -> usize {
    offset as usize % BLOCK_SIZE
}

/// Slots from that of `from` to that of `to`.
#[inline]
fn slots_between(from: u32, to: u32) -> u32 {
    slot_of(to).wrapping_sub(slot_of(from)) & (u32::MAX >> BLOCK_SHIFT)
}

impl Blocks {
    pub(crate) const EMPTY: Blocks = Blocks { inline: [NO_BLOCK; INLINE_SLOTS as usize], index: NO_BLOCK, live: 0 };

    /// Blocks held, the index included.
    pub(crate) fn held(&self) -> u32 {
        self.live + u32::from(self.index != NO_BLOCK)
    }

    #[inline]
    fn block_at(&self, pool: &Pool<'_>, offset: u32) -> u32 {
        let slot = slot_of(offset);
        if self.index == NO_BLOCK {
            self.inline[(slot % INLINE_SLOTS) as usize]
        } else {
            pool.word(self.index, (slot % INDEXED_SLOTS) as usize)
        }
    }

    /// The block for `offset`, taken from the pool if there is none yet. `base` is the lowest offset in
    /// use; `offset - base` is below [`MAX_WINDOW`]. None when no block is to be had.
    #[inline]
    fn ensure(&mut self, pool: &mut Pool<'_>, account: &mut Account, base: u32, offset: u32) -> Option<u32> {
        debug_assert!(offset.wrapping_sub(base) <= MAX_WINDOW);
        if self.index == NO_BLOCK && slots_between(base, offset) < INLINE_SLOTS {
            let block = &mut self.inline[(slot_of(offset) % INLINE_SLOTS) as usize];
            if *block == NO_BLOCK {
                *block = pool.allocate(account)?;
                self.live += 1;
            }
            return Some(*block);
        }
        self.ensure_indexed(pool, account, base, offset)
    }

    #[inline(never)]
    fn ensure_indexed(&mut self, pool: &mut Pool<'_>, account: &mut Account, base: u32, offset: u32) -> Option<u32> {
        if self.index == NO_BLOCK {
            self.move_to_index(pool, account, base)?;
        }
        let place = (slot_of(offset) % INDEXED_SLOTS) as usize;
        let block = pool.word(self.index, place);
        if block != NO_BLOCK {
            return Some(block);
        }
        let block = pool.allocate(account)?;
        pool.set_word(self.index, place, block);
        self.live += 1;
        Some(block)
    }

    fn move_to_index(&mut self, pool: &mut Pool<'_>, account: &mut Account, base: u32) -> Option<()> {
        let index = pool.allocate(account)?;
        pool.block_mut(index).fill(0xff); // every word is NO_BLOCK
        for i in 0..INLINE_SLOTS {
            let slot = slot_of(base).wrapping_add(i);
            let inline = &mut self.inline[(slot % INLINE_SLOTS) as usize];
            pool.set_word(index, (slot % INDEXED_SLOTS) as usize, *inline);
            *inline = NO_BLOCK;
        }
        self.index = index;
        Some(())
    }

    /// Copies `bytes` to `offset`; returns how many fitted before the blocks ran out.
    #[inline]
    pub(crate) fn write(
        &mut self,
        pool: &mut Pool<'_>,
        account: &mut Account,
        base: u32,
        offset: u32,
        bytes: &[u8],
    ) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset.wrapping_add(done as u32);
            let Some(block) = self.ensure(pool, account, base, at) else { break };
            let room = &mut pool.block_mut(block)[place(at)..];
            let rest = &bytes[done..];
            if let Some(room) = room.get_mut(..rest.len()) {
                copy(room, rest);
                return bytes.len();
            }
            room.copy_from_slice(&rest[..room.len()]);
            done += room.len();
        }
        done
    }

    /// Copies `bytes` to `offset` and sums them in the same pass; None if the blocks ran out (what was written
    /// then means nothing).
    #[inline]
    pub(crate) fn write_and_sum(
        &mut self,
        pool: &mut Pool<'_>,
        account: &mut Account,
        base: u32,
        offset: u32,
        bytes: &[u8],
    ) -> Option<Sum> {
        let block = self.ensure(pool, account, base, offset)?;
        let room = &mut pool.block_mut(block)[place(offset)..];
        if bytes.len() <= room.len() {
            return Some(checksum::copy_and_sum(&mut room[..bytes.len()], bytes));
        }
        let mut sum = Sum::new();
        let mut done = 0;
        while done < bytes.len() {
            let at = offset.wrapping_add(done as u32);
            let block = self.ensure(pool, account, base, at)?;
            let room = &mut pool.block_mut(block)[place(at)..];
            let len = room.len().min(bytes.len() - done);
            let part = checksum::copy_and_sum(&mut room[..len], &bytes[done..done + len]);
            if done % 2 == 0 {
                sum.add(part)
            } else {
                sum.add_at_odd(part)
            }
            done += len;
        }
        Some(sum)
    }

    /// Copies the bytes from `offset` on, all of which were written, to `out`.
    pub(crate) fn read(&self, pool: &Pool<'_>, offset: u32, out: &mut [u8]) {
        let bytes = self.slice(pool, offset, out.len());
        if bytes.len() == out.len() {
            return copy(out, bytes);
        }
        let mut done = 0;
        while done < out.len() {
            let bytes = self.slice(pool, offset.wrapping_add(done as u32), out.len() - done);
            if bytes.is_empty() {
                debug_assert!(false, "read of bytes that were never written");
                return;
            }
            out[done..done + bytes.len()].copy_from_slice(bytes);
            done += bytes.len();
        }
    }

    /// Copies the bytes from `offset` on, all of which were written, to `out`, and sums them in the same pass.
    #[inline]
    pub(crate) fn read_and_sum(&self, pool: &Pool<'_>, offset: u32, out: &mut [u8]) -> Sum {
        let bytes = self.slice(pool, offset, out.len());
        if bytes.len() == out.len() {
            return checksum::copy_and_sum(out, bytes);
        }
        let mut sum = Sum::new();
        let mut done = 0;
        while done < out.len() {
            let bytes = self.slice(pool, offset.wrapping_add(done as u32), out.len() - done);
            if bytes.is_empty() {
                debug_assert!(false, "read of bytes that were never written");
                return sum;
            }
            let part = checksum::copy_and_sum(&mut out[done..done + bytes.len()], bytes);
            if done % 2 == 0 {
                sum.add(part)
            } else {
                sum.add_at_odd(part)
            }
            done += bytes.len();
        }
        sum
    }

    /// Up to `max` bytes at `offset`, as far as they lie in one block; empty if nothing is there.
    #[inline]
    pub(crate) fn slice<'p>(&self, pool: &'p Pool<'_>, offset: u32, max: usize) -> &'p [u8] {
        let block = self.block_at(pool, offset);
        if block == NO_BLOCK {
            return &[];
        }
        let bytes = &pool.block(block)[place(offset)..];
        &bytes[..bytes.len().min(max)]
    }

    /// Room for up to `max` bytes at `offset`, as far as it lies in one block; empty if no block is to be had.
    pub(crate) fn slice_mut<'p>(
        &mut self,
        pool: &'p mut Pool<'_>,
        account: &mut Account,
        base: u32,
        offset: u32,
        max: usize,
    ) -> &'p mut [u8] {
        match self.ensure(pool, account, base, offset) {
            Some(block) => {
                let bytes = &mut pool.block_mut(block)[place(offset)..];
                let len = bytes.len().min(max);
                &mut bytes[..len]
            }
            None => &mut [],
        }
    }

    /// Up to `max` bytes at `offset` to change, as far as they lie in one block; empty if nothing is there.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(crate) fn written_mut<'p>(&self, pool: &'p mut Pool<'_>, offset: u32, max: usize) -> &'p mut [u8] {
        let block = self.block_at(pool, offset);
        if block == NO_BLOCK {
            return &mut [];
        }
        let bytes = &mut pool.block_mut(block)[place(offset)..];
        let len = bytes.len().min(max);
        &mut bytes[..len]
    }

    /// Whether there is a block for `offset` now, taken from the pool if need be; see [`Blocks`] for `base`.
    #[inline]
    pub(crate) fn reserve(&mut self, pool: &mut Pool<'_>, account: &mut Account, base: u32, offset: u32) -> bool {
        self.ensure(pool, account, base, offset).is_some()
    }

    /// Releases the blocks of the slots from that of `base`, the lowest in use, up to that of `to`, which stays.
    #[inline]
    pub(crate) fn release(&mut self, pool: &mut Pool<'_>, account: &mut Account, base: u32, to: u32) {
        self.release_beyond(pool, account, base, base, to);
    }

    /// Releases the blocks of the slots from that of `from` up to that of `to`, which stays; `base` is in the lowest
    /// slot in use.
    pub(crate) fn release_beyond(&mut self, pool: &mut Pool<'_>, account: &mut Account, base: u32, from: u32, to: u32) {
        let known = if self.index == NO_BLOCK { INLINE_SLOTS } else { INDEXED_SLOTS };
        let count = slots_between(from, to).min(known.saturating_sub(slots_between(base, from)));
        for i in 0..count {
            if self.live == 0 {
                return;
            }
            let slot = slot_of(from).wrapping_add(i);
            let block = if self.index == NO_BLOCK {
                core::mem::replace(&mut self.inline[(slot % INLINE_SLOTS) as usize], NO_BLOCK)
            } else {
                self.take_indexed(pool, slot)
            };
            if block != NO_BLOCK {
                pool.release(account, block);
                self.live -= 1;
            }
        }
    }

    #[inline(never)]
    fn take_indexed(&self, pool: &mut Pool<'_>, slot: u32) -> u32 {
        let place = (slot % INDEXED_SLOTS) as usize;
        let block = pool.word(self.index, place);
        pool.set_word(self.index, place, NO_BLOCK);
        block
    }

    /// Releases all blocks; the window held offsets `from..=to` at most.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(crate) fn release_all(&mut self, pool: &mut Pool<'_>, account: &mut Account, from: u32, to: u32) {
        if self.live == 1 && self.index == NO_BLOCK {
            // The usual case: little data, in the block that it begins in.
            let block = &mut self.inline[(slot_of(from) % INLINE_SLOTS) as usize];
            if *block != NO_BLOCK {
                pool.release(account, core::mem::replace(block, NO_BLOCK));
                self.live = 0;
                return;
            }
        }
        if self.live > 0 {
            self.release(pool, account, from, to.wrapping_add(BLOCK_SIZE as u32));
        }
        debug_assert_eq!(self.live, 0, "blocks outside the window");
        if self.index != NO_BLOCK {
            pool.release(account, self.index);
            self.index = NO_BLOCK;
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn a_window_slides_over_the_wrap_and_gives_every_block_back() {
        for (window, chunk) in [(20_000u32, 1_460usize), (300_000, 1_461), (MAX_WINDOW - 5_000, 60_001)] {
            let mut pool = Pool::new(1_100);
            let mut account = Account::new(1_100);
            let mut blocks = Blocks::EMPTY;
            let pattern: Vec<u8> = (0..chunk + 251).map(|i| (i % 251) as u8).collect();
            let start = u32::MAX - 100_000;
            let (mut base, mut end) = (start, start);
            for _ in 0..400 {
                while end.wrapping_sub(base) + chunk as u32 <= window {
                    let from = end.wrapping_sub(start) as usize % 251;
                    let bytes = &pattern[from..from + chunk];
                    let sum = blocks.write_and_sum(&mut pool, &mut account, base, end, bytes).unwrap();
                    assert_eq!(sum.finish(), checksum::sum(bytes).finish());
                    end = end.wrapping_add(chunk as u32);
                }
                let mut out = vec![0; chunk];
                let sum = blocks.read_and_sum(&pool, base, &mut out);
                let from = base.wrapping_sub(start) as usize % 251;
                assert_eq!(out, pattern[from..from + chunk]);
                assert_eq!(sum.finish(), checksum::sum(&out).finish());
                blocks.release(&mut pool, &mut account, base, base.wrapping_add(chunk as u32));
                base = base.wrapping_add(chunk as u32);
            }
            assert!(pool.peak_blocks() <= window as usize / BLOCK_SIZE + 3);
            blocks.release_all(&mut pool, &mut account, base, end);
            assert_eq!((pool.blocks_in_use(), account.used, blocks.held()), (0, 0, 0));
        }
    }
}
