//! The receive buffer: bytes in order that the application has not read, and ranges beyond a gap.

use crate::blocks::{Blocks, MAX_WINDOW};
use crate::checksum::Sum;
use crate::pool::{Account, BLOCK_SIZE, NO_BLOCK, Pool};
use crate::tcp::seq::Seq;
use crate::wire::SackBlocks;

/// Out-of-order ranges that a connection keeps: what fits into one block, beside [`RECENT`] of them a second time.
const MAX_RANGES: usize = BLOCK_SIZE / 8 - RECENT;

/// Ranges whose order of arrival is known: as many as a SACK option holds.
const RECENT: usize = SackBlocks::MAX;

/// Bytes that the buffer takes beyond its limit, since a scaled window can only be announced in whole units.
pub(crate) const ROUNDING_SLACK: u32 = 16 * 1024;

/// What became of a segment's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// `next` moved on, by the payload and what it joined up with.
    InOrder,
    /// Kept beyond a gap.
    OutOfOrder,
    /// All of it was there already.
    Duplicate,
    /// No room in the list of ranges.
    TooManyRanges,
    /// No pool block.
    NoMemory,
}

/// Bytes `read..next` in order, and ranges above `next`, in pool blocks at their sequence numbers.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveBuffer {
    blocks: Blocks,
    read: Seq,
    next: Seq,
    /// No block lies beyond this or `next`, whichever is higher.
    highest: Seq,
    limit: u32,
    /// The block that lists the out-of-order ranges, sorted and disjoint, as pairs of sequence numbers.
    ranges_block: u32,
    ranges: u16,
    /// How many ranges are listed a second time at the end of that block, the one that grew last first (RFC 2018 §4).
    recent: u8,
    /// What has come a second time and was not reported yet (RFC 2883 §4), if it is not empty.
    duplicate: (Seq, Seq),
}

impl ReceiveBuffer {
    pub(crate) const EMPTY: ReceiveBuffer = ReceiveBuffer {
        blocks: Blocks::EMPTY,
        read: Seq(0),
        next: Seq(0),
        highest: Seq(0),
        limit: 1,
        ranges_block: NO_BLOCK,
        ranges: 0,
        recent: 0,
        duplicate: (Seq(0), Seq(0)),
    };

    /// The empty buffer expects the byte with sequence number `next` first.
    pub(crate) fn begin(&mut self, next: Seq, limit: u32) {
        (self.read, self.next, self.highest, self.duplicate) = (next, next, next, (next, next));
        self.set_limit(limit);
    }

    /// RCV.NXT as far as data goes (a FIN counts one more).
    #[inline]
    pub(crate) fn next(&self) -> Seq {
        self.next
    }

    /// The end of what came out of order, while there is a gap.
    pub(crate) fn highest(&self) -> Seq {
        self.highest
    }

    /// Bytes that can be read.
    #[inline]
    pub(crate) fn readable(&self) -> u32 {
        self.next - self.read
    }

    /// Bytes beyond `next` that the buffer has room for: the window.
    #[inline]
    pub(crate) fn room(&self) -> u32 {
        self.limit.saturating_sub(self.readable())
    }

    /// The end of what blocks can be found for, which is never less than the window.
    pub(crate) fn farthest(&self) -> Seq {
        self.read + MAX_WINDOW
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Changes the limit; what is there already, and what was promised, stays.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit.clamp(1, MAX_WINDOW - ROUNDING_SLACK);
    }

    /// Blocks held, the list of ranges included.
    pub(crate) fn held(&self) -> u32 {
        self.blocks.held() + u32::from(self.ranges_block != NO_BLOCK)
    }

    /// Whether there is data beyond a gap.
    #[inline]
    pub(crate) fn has_gap(&self) -> bool {
        self.ranges != 0
    }

    /// Copies the payload that starts at `next` into the buffer and sums it, without accepting it yet: no received
    /// byte is overwritten and nothing changes until [`accept`](Self::accept). None if there is no block.
    #[inline]
    pub(crate) fn copy_next(&mut self, pool: &mut Pool<'_>, account: &mut Account, payload: &[u8]) -> Option<Sum> {
        // Not the limit, which may be lower than when the window was promised.
        debug_assert!(!self.has_gap() && self.readable() + payload.len() as u32 <= MAX_WINDOW);
        self.blocks.write_and_sum(pool, account, self.read.0, self.next.0, payload)
    }

    /// Accepts `len` bytes that [`copy_next`](Self::copy_next) has put in place.
    #[inline]
    pub(crate) fn accept(&mut self, len: u32) {
        self.next += len;
        self.highest = self.highest.max(self.next);
    }

    /// Gives back the blocks that a refused [`copy_next`](Self::copy_next) of `len` bytes may have taken.
    #[cold]
    pub(crate) fn refuse(&mut self, pool: &mut Pool<'_>, account: &mut Account, len: u32) {
        self.highest = self.highest.max(self.next + len);
        self.release_beyond_next(pool, account);
    }

    /// Releases the blocks that hold nothing below `next`.
    #[inline]
    fn release_beyond_next(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        if self.readable() == 0 {
            self.blocks.release_all(pool, account, self.read.0, self.highest.0);
        } else {
            let first = Seq((self.next - 1).0 | (BLOCK_SIZE as u32 - 1)) + 1;
            let end = self.highest + BLOCK_SIZE as u32;
            if end > first {
                self.blocks.release_beyond(pool, account, self.read.0, first.0, end.0);
            }
        }
        self.highest = self.next;
    }

    /// Places a payload that lies within the window and does not begin below `next`.
    pub(crate) fn insert(&mut self, pool: &mut Pool<'_>, account: &mut Account, seq: Seq, payload: &[u8]) -> Placement {
        let end = seq + payload.len() as u32;
        debug_assert!(seq >= self.next && end <= self.farthest());
        self.highest = self.highest.max(end);
        if seq == self.next {
            let written = self.write_new(pool, account, seq, payload);
            self.next += written;
            if self.ranges > 0 {
                self.join_ranges(pool, account);
            }
            return if written == 0 && !payload.is_empty() { Placement::NoMemory } else { Placement::InOrder };
        }
        if self.ranges_block == NO_BLOCK {
            match pool.allocate(account) {
                Some(block) => self.ranges_block = block,
                None => return Placement::NoMemory,
            }
        }
        let placement = self.insert_beyond_gap(pool, account, seq, end, payload);
        self.drop_unused_list(pool, account);
        placement
    }

    fn insert_beyond_gap(
        &mut self,
        pool: &mut Pool<'_>,
        account: &mut Account,
        seq: Seq,
        end: Seq,
        payload: &[u8],
    ) -> Placement {
        // The ranges first..last touch or overlap seq..end.
        let first = self.partition(pool, |_, range_end| range_end < seq);
        let last = self.partition(pool, |range_start, _| range_start <= end);
        if last == first {
            if usize::from(self.ranges) == MAX_RANGES {
                return Placement::TooManyRanges;
            }
            let written = self.blocks.write(pool, account, self.read.0, seq.0, payload) as u32;
            if written == 0 {
                return Placement::NoMemory;
            }
            self.open_place(pool, first);
            self.set_range(pool, first, seq, seq + written);
            self.remember(pool, seq, seq + written);
            return Placement::OutOfOrder;
        }
        let (first_start, first_end) = self.range(pool, first);
        if first_start <= seq && first_end >= end {
            self.came_again(seq, end);
            self.remember(pool, first_start, first_end);
            return Placement::Duplicate;
        }
        if first_start < seq && first_end > seq {
            self.came_again(seq, first_end);
        }
        for place in first..last {
            let (start, range_end) = self.range(pool, place);
            if start >= seq {
                self.came_again_too(start, range_end.min(end));
            }
        }
        let merged_end = self.range(pool, last - 1).1.max(end);
        // What was received first stays: only the gaps are written.
        let written_end = self.write_gaps(pool, account, seq, payload, first, last);
        if written_end < end {
            // What was written stays unlisted; its blocks go when the window passes them.
            return Placement::NoMemory;
        }
        self.set_range(pool, first, first_start.min(seq), merged_end);
        self.remember(pool, first_start.min(seq), merged_end);
        self.close_places(pool, first + 1, last);
        Placement::OutOfOrder
    }

    /// Writes the parts of `payload` that no listed range covers; returns how far it got.
    fn write_gaps(
        &mut self,
        pool: &mut Pool<'_>,
        account: &mut Account,
        seq: Seq,
        payload: &[u8],
        first: usize,
        last: usize,
    ) -> Seq {
        let end = seq + payload.len() as u32;
        let mut at = seq;
        for place in first..=last {
            let (start, range_end) = if place < last { self.range(pool, place) } else { (end, end) };
            if at < start {
                let gap_end = start.min(end);
                let bytes = &payload[(at - seq) as usize..(gap_end - seq) as usize];
                let written = self.blocks.write(pool, account, self.read.0, at.0, bytes) as u32;
                if written < gap_end - at {
                    return at + written;
                }
            }
            at = at.max(range_end);
        }
        end
    }

    /// Writes a payload at `next`, sparing what lies in ranges already; returns how many bytes count.
    fn write_new(&mut self, pool: &mut Pool<'_>, account: &mut Account, seq: Seq, payload: &[u8]) -> u32 {
        if self.ranges == 0 {
            return self.blocks.write(pool, account, self.read.0, seq.0, payload) as u32;
        }
        let end = seq + payload.len() as u32;
        let last = self.partition(pool, |range_start, _| range_start <= end);
        self.write_gaps(pool, account, seq, payload, 0, last) - seq
    }

    /// Moves `next` over the ranges that it has reached.
    fn join_ranges(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        let segment_end = self.next;
        let reached = self.partition(pool, |range_start, _| range_start <= segment_end);
        if reached > 0 {
            for place in 0..reached {
                let (start, end) = self.range(pool, place);
                self.came_again_too(start, end.min(segment_end));
            }
            self.next = self.next.max(self.range(pool, reached - 1).1);
            debug_assert!(self.next <= self.highest);
            self.close_places(pool, 0, reached);
            self.forget_recent_between(pool, self.read, self.next);
            self.drop_unused_list(pool, account);
        }
    }

    /// The range `start..end` has grown or come into being: it is listed first in the SACK option, before those of which it
    /// has become a part.
    fn remember(&mut self, pool: &mut Pool<'_>, start: Seq, end: Seq) {
        self.forget_recent_between(pool, start, end);
        let count = usize::from(self.recent).min(RECENT - 1);
        let at = MAX_RANGES * 8;
        pool.block_mut(self.ranges_block).copy_within(at..at + count * 8, at + 8);
        self.set_range(pool, MAX_RANGES, start, end);
        self.recent = count as u8 + 1;
    }

    /// Takes the ranges that begin within `start..end` off the list of recent ones.
    fn forget_recent_between(&mut self, pool: &mut Pool<'_>, start: Seq, end: Seq) {
        let mut kept = 0;
        for place in MAX_RANGES..MAX_RANGES + usize::from(self.recent) {
            let range = self.range(pool, place);
            if range.0 < start || range.0 >= end {
                self.set_range(pool, MAX_RANGES + kept, range.0, range.1);
                kept += 1;
            }
        }
        self.recent = kept as u8;
    }

    /// RFC 2883 §4: `start..end` was received before.
    pub(crate) fn came_again(&mut self, start: Seq, end: Seq) {
        self.duplicate = (start, end);
    }

    /// The same, of data that the segment has beside what it repeats already: one block can tell of adjacent data only.
    fn came_again_too(&mut self, start: Seq, end: Seq) {
        if end <= start {
            return;
        }
        match self.duplicate {
            (from, to) if from == to => self.duplicate = (start, end),
            (from, to) if start <= to && end >= from => self.duplicate = (from.min(start), to.max(end)),
            _ => {}
        }
    }

    /// Whether there is something to say in a SACK option.
    #[inline]
    pub(crate) fn has_sack_blocks(&self) -> bool {
        self.ranges != 0 || self.duplicate.0 != self.duplicate.1
    }

    /// What has come twice needs no report.
    pub(crate) fn forget_duplicate(&mut self) {
        self.duplicate.1 = self.duplicate.0;
    }

    /// Blocks that there are for a SACK option.
    pub(crate) fn sack_block_count(&self, with_duplicate: bool) -> usize {
        usize::from(self.recent) + usize::from(with_duplicate && self.duplicate.0 != self.duplicate.1)
    }

    /// The first `room` blocks of the SACK option of a segment that is sent now (RFC 2018 §4, RFC 2883 §4): what came twice,
    /// which is reported once, then the range that grew last, then those before it. A range that reaches to the peer's FIN
    /// includes that.
    pub(crate) fn sack_blocks(
        &mut self,
        pool: &Pool<'_>,
        room: usize,
        with_duplicate: bool,
        fin: Option<Seq>,
    ) -> SackBlocks {
        let mut blocks = SackBlocks::new();
        let (start, end) = self.duplicate;
        if start != end && with_duplicate && room > 0 {
            blocks.push(start.0, end.0);
        }
        if room > 0 || !with_duplicate {
            self.duplicate = (start, start);
        }
        for place in (MAX_RANGES..MAX_RANGES + usize::from(self.recent)).take(room - blocks.len()) {
            let (start, end) = self.range(pool, place);
            blocks.push(start.0, (end + u32::from(fin == Some(end))).0);
        }
        blocks
    }

    /// Copies bytes in order to `out`; returns how many.
    pub(crate) fn read(&mut self, pool: &mut Pool<'_>, account: &mut Account, out: &mut [u8]) -> usize {
        let count = out.len().min(self.readable() as usize);
        self.blocks.read(pool, self.read.0, &mut out[..count]);
        self.consume(pool, account, count as u32);
        count
    }

    /// Bytes in order from `skip` on, as far as they lie in one block.
    pub(crate) fn peek<'p>(&self, pool: &'p Pool<'_>, skip: u32) -> &'p [u8] {
        let left = self.readable().saturating_sub(skip);
        if left == 0 {
            return &[];
        }
        self.blocks.slice(pool, (self.read + skip).0, left as usize)
    }

    /// The application has taken `count` bytes.
    #[inline]
    pub(crate) fn consume(&mut self, pool: &mut Pool<'_>, account: &mut Account, count: u32) {
        debug_assert!(count <= self.readable());
        let to = self.read + count;
        if to == self.next && !self.has_gap() {
            self.blocks.release_all(pool, account, self.read.0, self.highest.0);
            self.highest = self.next;
        } else {
            self.blocks.release(pool, account, self.read.0, to.0);
        }
        self.read = to;
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        self.ranges = 0;
        self.recent = 0;
        self.drop_unused_list(pool, account);
        self.blocks.release_all(pool, account, self.read.0, self.highest.0);
        self.read = self.next;
        self.highest = self.next;
    }

    /// Drops what lies beyond the gap (allowed, as RFC 2018 §8 says of SACKed data: it will be sent again).
    pub(crate) fn forget_out_of_order(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        self.ranges = 0;
        self.recent = 0;
        self.drop_unused_list(pool, account);
        self.release_beyond_next(pool, account);
    }

    #[inline]
    fn drop_unused_list(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        if self.ranges == 0 && self.ranges_block != NO_BLOCK {
            pool.release(account, self.ranges_block);
            self.ranges_block = NO_BLOCK;
        }
    }

    /// The number of leading ranges for which `before` holds (it holds for a prefix of the sorted list).
    fn partition(&self, pool: &Pool<'_>, before: impl Fn(Seq, Seq) -> bool) -> usize {
        let (mut low, mut high) = (0, usize::from(self.ranges));
        while low < high {
            let middle = (low + high) / 2;
            let (start, end) = self.range(pool, middle);
            if before(start, end) { low = middle + 1 } else { high = middle }
        }
        low
    }

    #[inline]
    fn range(&self, pool: &Pool<'_>, place: usize) -> (Seq, Seq) {
        (Seq(pool.word(self.ranges_block, place * 2)), Seq(pool.word(self.ranges_block, place * 2 + 1)))
    }

    #[inline]
    fn set_range(&mut self, pool: &mut Pool<'_>, place: usize, start: Seq, end: Seq) {
        pool.set_word(self.ranges_block, place * 2, start.0);
        pool.set_word(self.ranges_block, place * 2 + 1, end.0);
    }

    /// Makes room in the list for one range at `place`.
    fn open_place(&mut self, pool: &mut Pool<'_>, place: usize) {
        let used = usize::from(self.ranges) * 8;
        pool.block_mut(self.ranges_block).copy_within(place * 8..used, place * 8 + 8);
        self.ranges += 1;
    }

    /// Removes the ranges `from..to` from the list.
    fn close_places(&mut self, pool: &mut Pool<'_>, from: usize, to: usize) {
        if to > from {
            let used = usize::from(self.ranges) * 8;
            pool.block_mut(self.ranges_block).copy_within(to * 8..used, from * 8);
            self.ranges -= (to - from) as u16;
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::random::{Generator, Use};
    use alloc::vec;
    use alloc::vec::Vec;

    fn empty(next: Seq, limit: u32) -> ReceiveBuffer {
        let mut buffer = ReceiveBuffer::EMPTY;
        buffer.begin(next, limit);
        buffer
    }

    #[test]
    fn what_was_promised_before_the_limit_fell_is_taken() {
        let (mut pool, mut account) = (Pool::new(64), Account::new(64));
        let mut buffer = empty(Seq(1_000), 60_000);
        buffer.set_limit(1_000);
        let payload = vec![7; 20_000];
        assert!(buffer.copy_next(&mut pool, &mut account, &payload).is_some());
        buffer.accept(20_000);
        assert_eq!(buffer.insert(&mut pool, &mut account, Seq(21_000), &payload), Placement::InOrder);
        assert_eq!((buffer.readable(), buffer.room()), (40_000, 0));
    }

    /// Random overlapping segments in random order arrive as the stream that was sent, and all blocks come back.
    #[test]
    fn any_order_and_overlap_gives_the_stream() {
        for seed in 0..300u64 {
            let mut random = Generator::new([seed, 9], Use::HashTables);
            let mut pool = Pool::new(64);
            let mut account = Account::new(64);
            let start = Seq(u32::MAX - random.next_u32() % 60_000);
            let stream: Vec<u8> = (0..60_000u32).map(|i| (i * 7 % 253) as u8).collect();
            let mut buffer = empty(start, 30_000);
            let mut received = Vec::new();
            let mut steps = 0;
            while received.len() < stream.len() {
                steps += 1;
                assert!(steps < 100_000, "seed {seed}: no progress");
                let next = (buffer.next() - start) as usize;
                let window_end = (next + buffer.room() as usize).min(stream.len());
                let choice = random.next_u32() as usize;
                let from = if choice.is_multiple_of(4) { next } else { next + choice / 4 % (window_end - next + 1) };
                let to = (from + random.next_u32() as usize % 3_000).min(window_end);
                buffer.insert(&mut pool, &mut account, start + from as u32, &stream[from..to]);
                if choice.is_multiple_of(3) {
                    let mut out = vec![0; random.next_u32() as usize % 9_000];
                    let count = buffer.read(&mut pool, &mut account, &mut out);
                    received.extend_from_slice(&out[..count]);
                }
                if choice.is_multiple_of(97) {
                    buffer.forget_out_of_order(&mut pool, &mut account);
                }
            }
            assert!(received == stream, "seed {seed}: the stream differs");
            assert_eq!((pool.blocks_in_use(), buffer.held()), (0, 0), "seed {seed}");
        }
    }

    #[test]
    fn one_byte_ranges_are_bounded_and_given_back() {
        let mut pool = Pool::new(64);
        let mut account = Account::new(64);
        let mut buffer = empty(Seq(0), 60_000);
        let placed = (0..2_000u32)
            .map(|i| buffer.insert(&mut pool, &mut account, Seq(1 + i * 2), &[1]))
            .filter(|placement| *placement == Placement::OutOfOrder)
            .count();
        assert_eq!(placed, MAX_RANGES);
        buffer.clear(&mut pool, &mut account);
        assert_eq!(pool.blocks_in_use(), 0);
    }
}
