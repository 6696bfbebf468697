//! Segment records: what is known of each segment that was sent and is not acknowledged cumulatively.
//!
//! The records form a ring in the order of their sequence numbers; a record's number counts from the first ever made. A few
//! are kept inline, so that requests and answers take no block; more live in pool blocks, and are given back when
//! everything is acknowledged. When no record is to be had the window counts as full: the inline ones are always there
//! for an empty ring, so that the connection goes on.
//!
//! A record is in one of four conditions, and its links serve a different purpose in each:
//!
//! - *fresh*: in flight, never sent again and not lost. Fresh records were sent in the order of their sequence numbers, so that the ring
//!   itself is their order in time, which RACK needs (RFC 8985 §6.2); a cursor tells where they begin.
//! - *resent*: lost once and in flight again, in a list by the time of that.
//! - *lost* and waiting to be sent again, in a list by sequence number.
//! - *SACKed*. Its link skips what is known to be SACKed behind it, and is shortened whenever it is followed, so that blocks
//!   which come again and again (RFC 2018 §4) cost next to nothing.
//!
//! A SACK block that covers a record in part does not change it, and nothing ever splits one: what is longer than the
//! path has come to allow is sent again in pieces.

use crate::blocks::Blocks;
use crate::pool::{Account, BLOCK_SIZE, Pool};
use crate::tcp::rate::Stamp;
use crate::tcp::seq::Seq;

/// The most segments outstanding: more than the largest window of full segments holds on Ethernet.
pub(crate) const MAX_RECORDS: u32 = 4_096;

/// Records kept in the structure itself.
const INLINE: usize = 2;

const RECORD_LEN: usize = 32;
const PER_BLOCK: u32 = (BLOCK_SIZE / RECORD_LEN) as u32;

/// A link is the low bits of a record's number, unambiguous among those in use.
const LINK_MASK: u32 = 2 * MAX_RECORDS - 1;
const NO_LINK: u16 = u16::MAX;

/// What has happened to a segment.
mod flag {
    /// The peer has it, says a SACK block.
    pub(super) const SACKED: u8 = 1;
    /// Its last transmission but one, or its last, is lost.
    pub(super) const LOST: u8 = 2;
    /// It was sent again, and that transmission is in flight.
    pub(super) const RESENT: u8 = 4;
    /// It was sent more than once.
    pub(super) const EVER_RESENT: u8 = 8;
    /// It carried PSH.
    pub(super) const PUSHED: u8 = 16;
    /// What stays, whatever becomes of it.
    pub(super) const HISTORY: u8 = EVER_RESENT | PUSHED;
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The sequence number after its last byte, or after its FIN.
    pub(crate) end: Seq,
    /// When it was sent last ([`rate::clock`](crate::tcp::rate::clock)).
    pub(crate) sent: u32,
    /// The sequence numbers that it takes.
    pub(crate) len: u16,
    flags: u8,
    next: u16,
    previous: u16,
    /// What was known of the delivery rate when it was sent last.
    pub(crate) stamp: Stamp,
}

impl Record {
    const NONE: Record = Record { end: Seq(0), sent: 0, len: 0, flags: 0, next: 0, previous: 0, stamp: Stamp::ZERO };

    #[inline]
    pub(crate) fn start(&self) -> Seq {
        self.end - u32::from(self.len)
    }

    #[inline]
    pub(crate) fn is_sacked(&self) -> bool {
        self.flags & flag::SACKED != 0
    }

    /// Marked lost, whether it was sent again since or not.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.flags & flag::LOST != 0
    }

    /// Sent again, and that transmission is neither delivered nor lost.
    #[inline]
    pub(crate) fn is_resent(&self) -> bool {
        self.flags & flag::RESENT != 0
    }

    /// Sent more than once.
    #[inline]
    pub(crate) fn was_resent(&self) -> bool {
        self.flags & flag::EVER_RESENT != 0
    }

    /// It carried PSH, which it also has when it is sent again.
    pub(crate) fn is_pushed(&self) -> bool {
        self.flags & flag::PUSHED != 0
    }

    #[inline]
    fn is_waiting(&self) -> bool {
        self.flags & (flag::LOST | flag::RESENT) == flag::LOST
    }

    #[inline]
    pub(crate) fn is_fresh(&self) -> bool {
        self.flags & (flag::SACKED | flag::LOST | flag::RESENT) == 0
    }

    #[inline]
    fn from_bytes(bytes: &[u8; RECORD_LEN]) -> Self {
        let word = |n: usize| u32::from_le_bytes([bytes[n * 4], bytes[n * 4 + 1], bytes[n * 4 + 2], bytes[n * 4 + 3]]);
        let (links, rest) = (word(2), word(3));
        Record {
            end: Seq(word(0)),
            sent: word(1),
            next: links as u16,
            previous: (links >> 16) as u16,
            len: rest as u16,
            flags: (rest >> 16) as u8,
            stamp: Stamp::from_words([word(4), word(5), word(6), word(7)]),
        }
    }

    #[inline]
    fn to_bytes(self) -> [u8; RECORD_LEN] {
        let links = u32::from(self.previous) << 16 | u32::from(self.next);
        let rest = u32::from(self.flags) << 16 | u32::from(self.len);
        let [a, b, c, d] = self.stamp.words();
        let mut bytes = [0; RECORD_LEN];
        for (place, word) in [self.end.0, self.sent, links, rest, a, b, c, d].into_iter().enumerate() {
            bytes[place * 4..place * 4 + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// A list through the records' links.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u16,
    last: u16,
}

impl List {
    const EMPTY: List = List { first: NO_LINK, last: NO_LINK };
}

/// Which list.
#[derive(Clone, Copy)]
enum Queue {
    /// Resent records, by the time of that.
    Resent,
    /// Lost records that wait to be sent again, by sequence number.
    Waiting,
}

/// What became of a record that was to be marked lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkedLost {
    /// It is known to be lost or delivered.
    No,
    /// It is lost.
    Yes,
    /// It was lost before, was sent again and is lost again.
    Again,
}

/// All records of a connection, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    inline: [Record; INLINE],
    blocks: Blocks,
    in_blocks: bool,
    /// The number of the first.
    head: u32,
    len: u16,
    lost: u16,
    resent: u16,
    /// Segments that were sent more than once.
    repeated: u16,
    /// Segments that the peer has beyond a gap: those SACKed, or, without SACK, those that duplicate acknowledgments make
    /// likely.
    pub(crate) sacked: u16,
    lists: [List; 2],
    /// Where a record was put last into the middle of the list of those that wait.
    hint: u16,
    /// No record below this number is fresh.
    fresh: u32,
}

impl Records {
    pub(crate) const EMPTY: Records = Records {
        inline: [Record::NONE; INLINE],
        blocks: Blocks::EMPTY,
        in_blocks: false,
        head: 0,
        len: 0,
        lost: 0,
        resent: 0,
        repeated: 0,
        sacked: 0,
        lists: [List::EMPTY; 2],
        hint: NO_LINK,
        fresh: 0,
    };

    /// Segments outstanding (Linux's `packets_out`).
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        u32::from(self.len)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Segments marked lost and not delivered, sent again or not (Linux's `lost_out`).
    #[inline]
    pub(crate) fn lost(&self) -> u32 {
        u32::from(self.lost)
    }

    /// Segments sent again whose last transmission is in flight (Linux's `retrans_out`).
    #[inline]
    pub(crate) fn resent(&self) -> u32 {
        u32::from(self.resent)
    }

    /// Segments in the network (RFC 6675 §4's pipe): every transmission that is neither delivered nor lost.
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        (self.len() + self.resent()).saturating_sub(u32::from(self.sacked) + self.lost())
    }

    /// Whether every segment is in flight and was sent once.
    #[inline]
    pub(crate) fn are_fresh(&self) -> bool {
        self.lost | self.resent | self.repeated | self.sacked == 0
    }

    /// The numbers of all records.
    #[inline]
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        let head = self.head;
        (0..self.len()).map(move |place| head.wrapping_add(place))
    }

    /// The number of the first record, if there is one.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        (self.len > 0).then_some(self.head)
    }

    /// The number of the last record, if there is one.
    #[inline]
    pub(crate) fn last(&self) -> Option<u32> {
        (self.len > 0).then(|| self.end() - 1)
    }

    #[inline]
    fn end(&self) -> u32 {
        self.head.wrapping_add(self.len())
    }

    /// Whether `number` is that of a record.
    #[inline]
    pub(crate) fn contains(&self, number: u32) -> bool {
        number.wrapping_sub(self.head) < self.len()
    }

    #[inline(never)] // Called from many places; of the usual ways only `pop` and `push` touch records.
    pub(crate) fn get(&self, pool: &Pool<'_>, number: u32) -> Record {
        self.read(pool, number)
    }

    #[inline]
    fn read(&self, pool: &Pool<'_>, number: u32) -> Record {
        debug_assert!(self.contains(number));
        if !self.in_blocks {
            return self.inline[number as usize % INLINE];
        }
        let bytes = self.blocks.slice(pool, offset(number), RECORD_LEN);
        bytes.first_chunk().map_or(Record::NONE, Record::from_bytes)
    }

    #[inline(never)] // As `get`.
    fn set(&mut self, pool: &mut Pool<'_>, number: u32, record: &Record) {
        self.write(pool, number, record);
    }

    #[inline]
    fn write(&mut self, pool: &mut Pool<'_>, number: u32, record: &Record) {
        if !self.in_blocks {
            self.inline[number as usize % INLINE] = *record;
        } else if let Some(bytes) = self.blocks.written_mut(pool, offset(number), RECORD_LEN).first_chunk_mut() {
            *bytes = record.to_bytes();
        }
    }

    /// Whether there is a record for one more segment. Where blocks are scarce, data needs them more: no block is taken then.
    #[inline]
    pub(crate) fn reserve(&mut self, pool: &mut Pool<'_>, account: &mut Account) -> bool {
        if !self.in_blocks {
            return usize::from(self.len) < INLINE || self.move_to_blocks(pool, account);
        }
        if self.len() >= MAX_RECORDS {
            return false;
        }
        // The block of the last record has room for this one, or it begins a block.
        !self.end().is_multiple_of(PER_BLOCK)
            || (!pool.is_under_pressure(account)
                && self.blocks.reserve(pool, account, offset(self.head), offset(self.end())))
    }

    #[inline(never)]
    fn move_to_blocks(&mut self, pool: &mut Pool<'_>, account: &mut Account) -> bool {
        let base = offset(self.head);
        if pool.is_under_pressure(account) {
            return false;
        }
        if !self.blocks.reserve(pool, account, base, base)
            || !self.blocks.reserve(pool, account, base, offset(self.end()))
        {
            self.blocks.release_all(pool, account, base, offset(self.end()));
            return false;
        }
        let kept = self.inline;
        self.in_blocks = true;
        for number in self.numbers() {
            self.set(pool, number, &kept[number as usize % INLINE]);
        }
        true
    }

    /// Adds the record of a new segment, for which [`reserve`](Self::reserve) has found room.
    #[inline]
    pub(crate) fn push(&mut self, pool: &mut Pool<'_>, end: Seq, len: u32, pushed: bool, sent: u32, stamp: Stamp) {
        let flags = if pushed { flag::PUSHED } else { 0 };
        let record = Record { end, sent, len: len as u16, flags, next: NO_LINK, previous: NO_LINK, stamp };
        let number = self.end();
        self.len += 1;
        self.write(pool, number, &record);
    }

    /// Takes off the first record if it ends at `una` or before.
    #[inline(never)] // One copy is enough where several are taken.
    pub(crate) fn pop_next(&mut self, pool: &mut Pool<'_>, account: &mut Account, una: Seq) -> Option<Record> {
        self.pop(pool, account, una)
    }

    /// The same within the caller.
    #[inline(always)] // A record that is returned is copied twice.
    pub(crate) fn pop(&mut self, pool: &mut Pool<'_>, account: &mut Account, una: Seq) -> Option<Record> {
        let number = self.first()?;
        let record = self.read(pool, number);
        if record.end > una {
            return None;
        }
        self.leave(pool, number, &record);
        self.repeated -= u16::from(record.was_resent());
        self.head = number.wrapping_add(1);
        self.len -= 1;
        if self.fresh == number {
            self.fresh = self.head;
        }
        if self.in_blocks {
            if self.len == 0 {
                self.blocks.release_all(pool, account, offset(number), offset(self.head));
                self.in_blocks = false;
            } else if self.head.is_multiple_of(PER_BLOCK) {
                self.blocks.release(pool, account, offset(number), offset(self.head));
            }
        }
        Some(record)
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        if self.in_blocks {
            self.blocks.release_all(pool, account, offset(self.head), offset(self.end()));
            self.in_blocks = false;
        }
        (self.len, self.lost, self.resent, self.repeated, self.sacked) = (0, 0, 0, 0, 0);
        (self.lists, self.hint, self.fresh) = ([List::EMPTY; 2], NO_LINK, self.head);
    }

    /// Takes the record off its list and out of the counts.
    #[inline]
    fn leave(&mut self, pool: &mut Pool<'_>, number: u32, record: &Record) {
        if !record.is_fresh() {
            self.leave_list(pool, number, record);
        }
    }

    #[inline(never)] // Off the way of what is acknowledged in order.
    fn leave_list(&mut self, pool: &mut Pool<'_>, number: u32, record: &Record) {
        if record.is_sacked() {
            self.sacked -= 1;
            self.resent -= u16::from(record.is_resent());
            return;
        }
        if record.is_resent() {
            self.resent -= 1;
            self.unlink(pool, Queue::Resent, number, record);
        }
        if record.is_lost() {
            self.lost -= 1;
            if record.is_waiting() {
                self.unlink(pool, Queue::Waiting, number, record);
            }
        }
    }

    /// The number of the first record that ends beyond `seq`; that after the last if none does.
    pub(crate) fn find(&self, pool: &Pool<'_>, seq: Seq) -> u32 {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.get(pool, self.head.wrapping_add(middle)).end <= seq { low = middle + 1 } else { high = middle }
        }
        self.head.wrapping_add(low)
    }

    /// The first record from `number` on that is not SACKed; the number after the last if there is none.
    pub(crate) fn skip_sacked(&mut self, pool: &mut Pool<'_>, number: u32) -> u32 {
        let mut at = number;
        let mut steps = 0;
        while self.contains(at) {
            let record = self.get(pool, at);
            if !record.is_sacked() {
                break;
            }
            at = self.number(record.next);
            steps += 1;
        }
        // The way just gone is shortened for the next who comes.
        let mut behind = number;
        for _ in 1..steps {
            let mut record = self.get(pool, behind);
            let next = self.number(record.next);
            record.next = link(at);
            self.set(pool, behind, &record);
            behind = next;
        }
        at
    }

    /// The peer has the segment. Returns the record as it was; it must not be SACKed.
    pub(crate) fn mark_sacked(&mut self, pool: &mut Pool<'_>, number: u32) -> Record {
        let before = self.get(pool, number);
        debug_assert!(!before.is_sacked());
        self.leave(pool, number, &before);
        self.sacked += 1;
        let mut flags = before.flags & flag::HISTORY | flag::SACKED;
        if before.is_resent() && !before.is_lost() {
            // It was not lost after all: the original has arrived, and what was sent again is still in flight.
            flags |= flag::RESENT;
            self.resent += 1;
        }
        self.set(pool, number, &Record { flags, next: link(number.wrapping_add(1)), ..before });
        before
    }

    /// The peer has had the segment twice: what was sent again has left the network.
    pub(crate) fn mark_duplicate(&mut self, pool: &mut Pool<'_>, number: u32) {
        let record = self.get(pool, number);
        if !record.is_resent() {
            return;
        }
        self.resent -= 1;
        if !record.is_sacked() {
            self.unlink(pool, Queue::Resent, number, &record);
            if record.is_lost() {
                self.lost -= 1;
            }
        }
        self.set(pool, number, &Record { flags: record.flags & !(flag::RESENT | flag::LOST), ..record });
    }

    /// The last transmission of the segment is lost.
    pub(crate) fn mark_lost(&mut self, pool: &mut Pool<'_>, number: u32) -> MarkedLost {
        let before = self.get(pool, number);
        if before.is_sacked() || before.is_waiting() {
            return MarkedLost::No;
        }
        self.leave(pool, number, &before);
        self.lost += 1;
        let flags = before.flags & flag::HISTORY | flag::LOST;
        self.set(pool, number, &Record { flags, ..before });
        self.link_waiting(pool, number);
        if before.is_resent() { MarkedLost::Again } else { MarkedLost::Yes }
    }

    /// The first of the records that wait to be sent again.
    #[inline]
    pub(crate) fn next_waiting(&self) -> Option<u32> {
        match self.lists[Queue::Waiting as usize].first {
            NO_LINK => None,
            first => Some(self.number(first)),
        }
    }

    /// The record that waited was sent again.
    pub(crate) fn mark_resent(&mut self, pool: &mut Pool<'_>, number: u32, sent: u32, stamp: Stamp) {
        let record = self.get(pool, number);
        debug_assert!(record.is_waiting());
        self.unlink(pool, Queue::Waiting, number, &record);
        self.resent += 1;
        self.repeated += u16::from(!record.was_resent());
        let flags = record.flags | flag::RESENT | flag::EVER_RESENT;
        self.set(pool, number, &Record { flags, sent, stamp, ..record });
        self.link_after(pool, Queue::Resent, self.lists[Queue::Resent as usize].last, number);
    }

    /// The last record was sent again as a probe, which does not count as being in flight.
    pub(crate) fn mark_probed(&mut self, pool: &mut Pool<'_>, number: u32, sent: u32, stamp: Stamp) {
        let record = self.get(pool, number);
        self.repeated += u16::from(!record.was_resent());
        self.set(pool, number, &Record { flags: record.flags | flag::EVER_RESENT, sent, stamp, ..record });
    }

    /// The fresh record sent first, and its number.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(crate) fn first_fresh(&mut self, pool: &Pool<'_>) -> Option<(u32, Record)> {
        while self.contains(self.fresh) {
            let record = self.get(pool, self.fresh);
            if record.is_fresh() {
                return Some((self.fresh, record));
            }
            self.fresh = self.fresh.wrapping_add(1);
        }
        None
    }

    /// The resent record whose last transmission is the oldest, and its number.
    #[inline]
    pub(crate) fn first_resent(&self, pool: &Pool<'_>) -> Option<(u32, Record)> {
        match self.lists[Queue::Resent as usize].first {
            NO_LINK => None,
            first => {
                let number = self.number(first);
                Some((number, self.get(pool, number)))
            }
        }
    }

    /// Nothing is lost after all.
    pub(crate) fn forget_losses(&mut self, pool: &mut Pool<'_>) {
        self.change_all(pool, |record| {
            if record.is_lost() {
                record.flags &= !flag::LOST;
            }
        });
        self.lost = 0;
        self.lists[Queue::Waiting as usize] = List::EMPTY;
        self.hint = NO_LINK;
    }

    /// The peer has dropped what it had SACKed (RFC 2018 §8).
    pub(crate) fn forget_sacks(&mut self, pool: &mut Pool<'_>) {
        self.change_all(pool, |record| record.flags &= !flag::SACKED);
        self.sacked = 0;
    }

    fn change_all(&mut self, pool: &mut Pool<'_>, change: impl Fn(&mut Record)) {
        for number in self.numbers() {
            let mut record = self.get(pool, number);
            change(&mut record);
            self.set(pool, number, &record);
        }
        self.fresh = self.head;
    }

    #[inline]
    fn number(&self, link: u16) -> u32 {
        self.head.wrapping_add(u32::from(link).wrapping_sub(self.head) & LINK_MASK)
    }

    /// Puts a record into its place among those that wait. Losses are found upwards, so that this is nearly always the end
    /// of the list, or the place behind the one that was found before.
    fn link_waiting(&mut self, pool: &mut Pool<'_>, number: u32) {
        let List { first, last } = self.lists[Queue::Waiting as usize];
        let place = |link: u16, records: &Self| records.number(link).wrapping_sub(records.head);
        let own = number.wrapping_sub(self.head);
        if last == NO_LINK || place(last, self) < own {
            return self.link_after(pool, Queue::Waiting, last, number);
        }
        if place(first, self) > own {
            self.link_after(pool, Queue::Waiting, NO_LINK, number);
        } else {
            let hint = self.hint;
            let mut after = if hint != NO_LINK && place(hint, self) < own { hint } else { first };
            loop {
                let next = self.get(pool, self.number(after)).next;
                if next == NO_LINK || place(next, self) > own {
                    break;
                }
                after = next;
            }
            self.link_after(pool, Queue::Waiting, after, number);
        }
        self.hint = link(number);
    }

    /// Puts a record into a list, behind `after`, or at the front.
    fn link_after(&mut self, pool: &mut Pool<'_>, queue: Queue, after: u16, number: u32) {
        let own = link(number);
        let next = match after {
            NO_LINK => core::mem::replace(&mut self.lists[queue as usize].first, own),
            _ => self.change(pool, after, |record| core::mem::replace(&mut record.next, own)),
        };
        match next {
            NO_LINK => self.lists[queue as usize].last = own,
            _ => self.change(pool, next, |record| record.previous = own),
        }
        self.change(pool, own, |record| (record.previous, record.next) = (after, next));
    }

    fn unlink(&mut self, pool: &mut Pool<'_>, queue: Queue, number: u32, record: &Record) {
        let Record { previous, next, .. } = *record;
        match previous {
            NO_LINK => self.lists[queue as usize].first = next,
            _ => self.change(pool, previous, |record| record.next = next),
        }
        match next {
            NO_LINK => self.lists[queue as usize].last = previous,
            _ => self.change(pool, next, |record| record.previous = previous),
        }
        if self.hint == link(number) {
            self.hint = NO_LINK;
        }
    }

    #[inline]
    fn change<R>(&mut self, pool: &mut Pool<'_>, link: u16, change: impl FnOnce(&mut Record) -> R) -> R {
        let number = self.number(link);
        let mut record = self.get(pool, number);
        let result = change(&mut record);
        self.set(pool, number, &record);
        result
    }
}

/// Where a record lies in the blocks.
#[inline]
fn offset(number: u32) -> u32 {
    number.wrapping_mul(RECORD_LEN as u32)
}

#[inline]
fn link(number: u32) -> u16 {
    (number & LINK_MASK) as u16
}

#[cfg(all(test, feature = "alloc"))]
mod tests;
