//! The send buffer: what the application has written and the peer has not acknowledged.

use crate::blocks::{Blocks, MAX_WINDOW};
use crate::checksum::Sum;
use crate::pool::{Account, BLOCK_SIZE, Pool};
use crate::tcp::seq::Seq;

/// Bytes `start..end` of the stream, in pool blocks at their sequence numbers.
#[derive(Clone, Debug)]
pub(crate) struct SendBuffer {
    blocks: Blocks,
    start: Seq,
    end: Seq,
    limit: u32,
}

impl SendBuffer {
    pub(crate) const EMPTY: SendBuffer = SendBuffer { blocks: Blocks::EMPTY, start: Seq(0), end: Seq(0), limit: 1 };

    /// The first byte of the empty buffer will have the sequence number `start`.
    pub(crate) fn begin(&mut self, start: Seq, limit: u32) {
        (self.start, self.end) = (start, start);
        self.set_limit(limit);
    }

    /// The sequence number after the last byte written.
    #[inline]
    pub(crate) fn end(&self) -> Seq {
        self.end
    }

    /// Bytes in the buffer.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.end - self.start
    }

    /// Bytes that may still be written.
    #[inline]
    pub(crate) fn room(&self) -> u32 {
        self.limit.saturating_sub(self.len())
    }

    /// Bytes that still go into the block at the end.
    pub(crate) fn room_in_last_block(&self) -> usize {
        match self.len() {
            0 => 0,
            _ => self.end.0.wrapping_neg() as usize % BLOCK_SIZE,
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Changes the limit; what is there already stays.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit.clamp(1, MAX_WINDOW);
    }

    /// Blocks held.
    pub(crate) fn held(&self) -> u32 {
        self.blocks.held()
    }

    /// Appends what fits of `bytes`; returns how many did.
    pub(crate) fn write(&mut self, pool: &mut Pool<'_>, account: &mut Account, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room() as usize);
        let written = self.blocks.write(pool, account, self.start.0, self.end.0, &bytes[..count]);
        self.end += written as u32;
        written
    }

    /// Lends contiguous room at the end to `fill`, which returns how many bytes it wrote.
    pub(crate) fn write_with(
        &mut self,
        pool: &mut Pool<'_>,
        account: &mut Account,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> usize {
        let room = self.room() as usize;
        if room == 0 {
            return 0;
        }
        let slice = self.blocks.slice_mut(pool, account, self.start.0, self.end.0, room);
        let offered = slice.len();
        let written = fill(slice).min(offered);
        self.end += written as u32;
        if self.len() == 0 {
            self.blocks.release_all(pool, account, self.start.0, self.end.0);
        }
        written
    }

    /// Copies the bytes from `from` on into `out` and sums them.
    #[inline]
    pub(crate) fn read_and_sum(&self, pool: &Pool<'_>, from: Seq, out: &mut [u8]) -> Sum {
        debug_assert!(from >= self.start && from + out.len() as u32 <= self.end);
        self.blocks.read_and_sum(pool, from.0, out)
    }

    /// Everything below `ack` has been acknowledged.
    #[inline]
    pub(crate) fn acknowledge(&mut self, pool: &mut Pool<'_>, account: &mut Account, ack: Seq) {
        let ack = ack.min(self.end);
        if ack <= self.start {
            return;
        }
        if ack == self.end {
            self.blocks.release_all(pool, account, self.start.0, self.end.0);
        } else {
            self.blocks.release(pool, account, self.start.0, ack.0);
        }
        self.start = ack;
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        self.blocks.release_all(pool, account, self.start.0, self.end.0);
        self.start = self.end;
    }
}
