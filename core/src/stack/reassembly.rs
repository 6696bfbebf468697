//! Datagrams that are being put together from fragments, and how much of the memory each sender may pin with them.
//!
//! What a datagram holds lies in one window of pool blocks: a bitmap of the units of eight bytes that have come, the headers
//! of the first fragment, then the payload at its offset. So a fragment costs the same wherever it belongs and however
//! many came before it, and there is no list of holes to grow (CVE-2018-5391).
//!
//! Fragments can be sent in anybody's name. Senders are therefore told apart by a keyed hash: those of one share of the table hold
//! half of its memory at most, and where room is needed, the oldest datagram of the share that holds most goes.

use core::net::IpAddr;
use core::ops::Range;

use crate::address::{scope_id, words};
use crate::blocks::Blocks;
use crate::config::Limits;
use crate::event::InterfaceId;
use crate::hash_index::HashIndex;
use crate::links::{Links, List};
use crate::pool::{Account, BLOCK_SIZE, Pool};
use crate::random::Generator;
use crate::slab::Slab;
use crate::wire::Ecn;

/// Bytes of the bitmap: a bit for each eight bytes of the longest datagram.
const BITMAP_LEN: usize = 1_024;
/// Where in the window the first fragment's headers are.
const HEADERS_AT: u32 = BITMAP_LEN as u32;
/// The longest headers that are kept, in bytes: any of IPv4, and a few extension headers of IPv6.
pub(super) const MAX_HEADERS: usize = 512;
/// Where in the window the payload is.
const PAYLOAD_AT: u32 = HEADERS_AT + MAX_HEADERS as u32;

/// Shares that senders are spread over.
const SHARES: usize = 16;

/// What tells the fragments of one datagram from those of another (RFC 791 §2.3, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DatagramKey {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) identification: u32,
    /// IPv4's protocol; 0 for IPv6, whose fragments are told apart without.
    pub(super) protocol: u8,
    /// The link that a link-local source is on.
    pub(super) link: Option<InterfaceId>,
}

impl DatagramKey {
    fn hash(&self, secret: &Generator) -> u32 {
        let ([a, b], [c, d]) = (words(self.source), words(self.destination));
        let rest =
            u64::from(self.identification) << 32 | u64::from(scope_id(self.link)) << 8 | u64::from(self.protocol);
        secret.hash(&[a, b, c, d, rest])
    }

    /// The share of the sender.
    fn share(&self, secret: &Generator) -> u8 {
        (secret.hash(&words(self.source)) as usize % SHARES) as u8
    }
}

/// A datagram of which something has come.
#[derive(Clone, Debug)]
pub struct Reassembly {
    pub(super) key: DatagramKey,
    share: u8,
    blocks: Blocks,
    /// Units of eight bytes that have come; the last one may be shorter.
    units: u16,
    /// Where the payload that has come ends.
    pub(super) end: u16,
    /// Whether the payload ends there.
    is_end_known: bool,
    /// Length of the first fragment's headers; 0 until it comes.
    pub(super) headers_len: u16,
    /// Where in the headers the field is that names what the payload begins with.
    pub(super) named_at: u16,
    /// Length of the first fragment's payload.
    pub(super) first_len: u16,
    /// The ECN codepoints that were seen, a bit for each.
    codepoints: u8,
    /// The interface that the first to come came in by.
    pub(super) interface: InterfaceId,
    /// Whether one of them was sent to a group.
    pub(super) is_to_group: bool,
}

/// What a fragment has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// There are still gaps.
    Incomplete,
    /// The datagram is complete.
    Complete,
    /// All of it was there already, byte for byte.
    Duplicate,
    /// It contradicts what was there, in bytes or in length: the datagram is to be dropped.
    Contradiction,
    /// No memory.
    Full,
}

impl Reassembly {
    pub(super) fn new(key: DatagramKey, interface: InterfaceId) -> Self {
        Reassembly {
            key,
            share: 0,
            blocks: Blocks::EMPTY,
            units: 0,
            end: 0,
            is_end_known: false,
            headers_len: 0,
            named_at: 0,
            first_len: 0,
            codepoints: 0,
            interface,
            is_to_group: false,
        }
    }

    /// Adds the payload of a fragment, `payload.len() + offset` being 65,535 at most, and a multiple of eight unless it is the last.
    fn add(
        &mut self,
        pool: &mut Pool<'_>,
        account: &mut Account,
        offset: u16,
        more_fragments: bool,
        payload: &[u8],
    ) -> Added {
        let end = offset + payload.len() as u16;
        let is_longer = end > self.end;
        // A datagram has one end, and nothing lies beyond it.
        if (self.is_end_known && (is_longer || !more_fragments && end != self.end))
            || (!more_fragments && end < self.end)
        {
            return Added::Contradiction;
        }
        if self.blocks.held() == 0 {
            if !self.blocks.reserve(pool, account, 0, 0) {
                return Added::Full;
            }
            self.blocks.written_mut(pool, 0, BITMAP_LEN).fill(0);
        }
        let units = usize::from(offset / 8)..usize::from(end).div_ceil(8);
        match count_set(self.blocks.written_mut(pool, 0, BITMAP_LEN), units.clone(), false) {
            0 => {}
            // RFC 8200 §4.5: "an implementation may choose to detect this case and drop exact duplicate fragments while
            // keeping the other fragments belonging to the same packet".
            set if set == units.len() && self.holds(pool, offset, payload) => return Added::Duplicate,
            // RFC 5722 §3, also in IPv4, as in Linux.
            _ => return Added::Contradiction,
        }
        let written = self.blocks.write(pool, account, 0, PAYLOAD_AT + u32::from(offset), payload);
        if written < payload.len() {
            return Added::Full;
        }
        count_set(self.blocks.written_mut(pool, 0, BITMAP_LEN), units.clone(), true);
        self.units += units.len() as u16;
        self.end = self.end.max(end);
        self.is_end_known |= !more_fragments;
        let is_complete = self.is_end_known && usize::from(self.units) == usize::from(self.end).div_ceil(8);
        if is_complete { Added::Complete } else { Added::Incomplete }
    }

    /// Whether what has come at `offset` is what comes again.
    fn holds(&self, pool: &Pool<'_>, offset: u16, payload: &[u8]) -> bool {
        let mut at = PAYLOAD_AT + u32::from(offset);
        let mut rest = payload;
        while !rest.is_empty() {
            let bytes = self.blocks.slice(pool, at, rest.len());
            if bytes.is_empty() || !rest.starts_with(bytes) {
                return false;
            }
            at += bytes.len() as u32;
            rest = &rest[bytes.len()..];
        }
        true
    }

    /// Keeps the headers of the first fragment, [`MAX_HEADERS`] bytes at most, which lie in a block that is there.
    pub(super) fn keep_headers(&mut self, pool: &mut Pool<'_>, headers: &[u8], named_at: u16, first_len: u16) {
        let room = self.blocks.written_mut(pool, HEADERS_AT, headers.len());
        room.copy_from_slice(&headers[..room.len()]);
        self.headers_len = room.len() as u16;
        (self.named_at, self.first_len) = (named_at, first_len);
    }

    /// Copies the headers to `out` and as much of the payload behind their first `keep` bytes as fits; returns the length of it all.
    pub(super) fn read(&self, pool: &Pool<'_>, keep: usize, payload_len: usize, out: &mut [u8]) -> usize {
        let keep = keep.min(out.len());
        let end = (keep + payload_len).min(out.len());
        self.blocks.read(pool, HEADERS_AT, &mut out[..keep]);
        self.blocks.read(pool, PAYLOAD_AT, &mut out[keep..end]);
        end
    }

    pub(super) fn see(&mut self, ecn: Ecn, is_to_group: bool) {
        self.codepoints |= 1 << ecn as u8;
        self.is_to_group |= is_to_group;
    }

    /// The ECN codepoint of the whole if it is not that of the first fragment (RFC 3168 §5.3); an error if ECN-capable fragments
    /// and others do not go together.
    pub(super) fn ecn(&self) -> Result<Option<Ecn>, ()> {
        const NOT_ECT: u8 = 1 << Ecn::NotEct as u8;
        const CE: u8 = 1 << Ecn::Ce as u8;
        match self.codepoints {
            NOT_ECT => Ok(None),
            mixed if mixed & NOT_ECT != 0 => Err(()),
            marked if marked & CE != 0 => Ok(Some(Ecn::Ce)),
            _ => Ok(None),
        }
    }
}

/// How many bits of `units` are set; sets all of them then, if asked to.
#[inline(never)] // The loop is compiled into long code of vectors.
fn count_set(bitmap: &mut [u8], units: Range<usize>, sets: bool) -> usize {
    let mut count = 0;
    for (place, mask) in masks(units) {
        count += (bitmap[place] & mask).count_ones() as usize;
        bitmap[place] |= if sets { mask } else { 0 };
    }
    count
}

/// The bytes of a bitmap that `units` have bits in, each with these bits.
fn masks(units: Range<usize>) -> impl Iterator<Item = (usize, u8)> {
    let (first, last) = (units.start / 8, units.end / 8);
    // Shifted once, outside the loop: with a shift for each byte, a build for WebAssembly's vectors counted bits that were not set.
    let (from, to) = (0xff << (units.start % 8), (1 << (units.end % 8)) - 1);
    (first..units.end.div_ceil(8)).map(move |place| {
        let below = if place == first { from } else { 0xff };
        let above = if place == last { to } else { 0xff };
        (place, below & above)
    })
}

/// What the datagrams of some senders hold.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// The oldest first.
    datagrams: List,
    blocks: u32,
}

/// All of them.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct ReassemblyTable<'m> {
    datagrams: Slab<'m, Reassembly>,
    index: HashIndex<'m>,
    links: Links<'m>,
    shares: [Share; SHARES],
    blocks: u32,
    max_blocks: u32,
}

impl<'m> ReassemblyTable<'m> {
    pub(super) fn new(
        datagrams: Slab<'m, Reassembly>,
        index: HashIndex<'m>,
        links: Links<'m>,
        limits: &Limits,
    ) -> Self {
        let max_blocks = (limits.reassembly_bytes / BLOCK_SIZE) as u32;
        ReassemblyTable { datagrams, index, links, shares: [Share::default(); SHARES], blocks: 0, max_blocks }
    }

    pub(super) fn get(&self, index: u32) -> Option<&Reassembly> {
        self.datagrams.get(index)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Reassembly> {
        self.datagrams.get_mut(index)
    }

    pub(super) fn is_full(&self) -> bool {
        self.datagrams.is_full()
    }

    pub(super) fn find(&self, secret: &Generator, key: &DatagramKey) -> Option<u32> {
        self.index.find(key.hash(secret), |index| self.get(index).is_some_and(|found| found.key == *key))
    }

    pub(super) fn insert(&mut self, secret: &Generator, mut datagram: Reassembly) -> Option<u32> {
        let (hash, share) = (datagram.key.hash(secret), datagram.key.share(secret));
        datagram.share = share;
        let index = self.datagrams.insert(datagram).ok()?.index;
        self.index.insert(hash, index);
        self.links.push_back(&mut self.shares[usize::from(share)].datagrams, index);
        Some(index)
    }

    /// Adds to a datagram the payload of a fragment; see [`Reassembly::add`].
    pub(super) fn add(
        &mut self,
        pool: &mut Pool<'_>,
        account: &mut Account,
        index: u32,
        (offset, more_fragments): (u16, bool),
        payload: &[u8],
    ) -> Added {
        let Some(datagram) = self.datagrams.get_mut(index) else { return Added::Full };
        let before = datagram.blocks.held();
        let added = datagram.add(pool, account, offset, more_fragments, payload);
        let taken = datagram.blocks.held() - before;
        self.shares[usize::from(datagram.share)].blocks += taken;
        self.blocks += taken;
        added
    }

    /// Removes a datagram and gives its blocks back.
    pub(super) fn remove(&mut self, secret: &Generator, pool: &mut Pool<'_>, account: &mut Account, index: u32) {
        let Some(datagram) = self.datagrams.get_mut(index) else { return };
        let (held, share, hash) = (datagram.blocks.held(), usize::from(datagram.share), datagram.key.hash(secret));
        datagram.blocks.release_all(pool, account, 0, PAYLOAD_AT + u32::from(u16::MAX));
        self.index.remove(hash, index);
        self.links.remove(&mut self.shares[share].datagrams, index);
        self.shares[share].blocks -= held;
        self.blocks -= held;
        self.datagrams.remove(index);
    }

    /// The datagram that has to go because there is more memory in use than there may be, after `index` has grown: the oldest of
    /// its sender's share if that holds more than half, or else of the share that holds most.
    pub(super) fn excess(&self, index: u32) -> Option<u32> {
        let own = self.get(index).map(|datagram| &self.shares[usize::from(datagram.share)]);
        match own {
            Some(own) if own.blocks > self.max_blocks / 2 => own.datagrams.head(),
            _ if self.blocks > self.max_blocks => self.oldest_of_most(),
            _ => None,
        }
    }

    /// The oldest datagram of the share that holds most.
    pub(super) fn oldest_of_most(&self) -> Option<u32> {
        self.shares.iter().max_by_key(|share| share.blocks)?.datagrams.head()
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    fn datagram() -> Reassembly {
        let source = IpAddr::from([192, 0, 2, 1]);
        let destination = IpAddr::from([192, 0, 2, 2]);
        Reassembly::new(
            DatagramKey { source, destination, identification: 1, protocol: 17, link: None },
            InterfaceId(0),
        )
    }

    #[test]
    fn bits_of_a_range_are_set_and_counted() {
        for (start, end) in [(0, 1), (0, 8), (7, 9), (3, 5), (0, 8_192), (8_191, 8_192), (5, 5)] {
            let mut bitmap = [0; BITMAP_LEN];
            assert_eq!(count_set(&mut bitmap, start..end, true), 0);
            assert_eq!(count_set(&mut bitmap, start..end, false), end - start);
            assert_eq!(count_set(&mut bitmap, 0..8_192, false), end - start);
            let bit = |unit: usize| bitmap[unit / 8] >> (unit % 8) & 1 == 1;
            assert!((0..8_192).all(|unit| bit(unit) == (start..end).contains(&unit)));
        }
    }

    #[test]
    fn the_longest_datagram_comes_together_from_behind_in_units_of_eight() {
        let (mut pool, mut account) = (Pool::new(32), Account::new(32));
        let mut datagram = datagram();
        for unit in (0..8_192u16).rev() {
            let (offset, last) = (unit * 8, unit == 8_191);
            let payload = [unit as u8; 8];
            let payload = &payload[..if last { 7 } else { 8 }];
            let added = datagram.add(&mut pool, &mut account, offset, !last, payload);
            assert_eq!(added, if unit == 0 { Added::Complete } else { Added::Incomplete });
        }
        let mut out = alloc::vec![0; 65_535];
        assert_eq!(datagram.read(&pool, 0, 65_535, &mut out), 65_535);
        assert!(out.iter().enumerate().all(|(place, &byte)| byte == (place / 8) as u8));
        datagram.blocks.release_all(&mut pool, &mut account, 0, PAYLOAD_AT + 65_535);
        assert_eq!(pool.blocks_in_use(), 0);
    }

    #[test]
    fn n2_what_contradicts_is_told_from_what_comes_twice() {
        let (mut pool, mut account) = (Pool::new(32), Account::new(32));
        let mut add = |datagram: &mut Reassembly, offset, more, len: usize| {
            datagram.add(&mut pool, &mut account, offset, more, &[1; 64][..len])
        };
        let mut first = datagram();
        assert_eq!(add(&mut first, 16, true, 16), Added::Incomplete);
        for (offset, len) in [(16, 16), (16, 8), (24, 8)] {
            assert_eq!(add(&mut first, offset, true, len), Added::Duplicate);
        }
        for (offset, len) in [(8, 16), (24, 16), (8, 32), (0, 64)] {
            assert_eq!(add(&mut first, offset, true, len), Added::Contradiction);
        }
        assert_eq!(add(&mut first, 8, false, 8), Added::Contradiction, "an end before what has come");
        assert_eq!(add(&mut first, 32, false, 3), Added::Incomplete);
        assert_eq!(add(&mut first, 32, false, 3), Added::Duplicate);
        assert_eq!(add(&mut first, 32, false, 2), Added::Contradiction, "another end");
        assert_eq!(add(&mut first, 40, true, 8), Added::Contradiction, "beyond the end");
        assert_eq!(add(&mut first, 0, true, 16), Added::Complete);
    }

    #[test]
    fn ecn_of_the_whole() {
        let ecn = |seen: &[Ecn]| {
            let mut datagram = datagram();
            seen.iter().for_each(|&codepoint| datagram.see(codepoint, false));
            datagram.ecn()
        };
        assert_eq!(ecn(&[Ecn::NotEct, Ecn::NotEct]), Ok(None));
        assert_eq!(ecn(&[Ecn::Ect0, Ecn::Ect0]), Ok(None));
        assert_eq!(ecn(&[Ecn::Ect0, Ecn::Ce]), Ok(Some(Ecn::Ce)));
        assert_eq!(ecn(&[Ecn::NotEct, Ecn::Ce]), Err(()));
        assert_eq!(ecn(&[Ecn::NotEct, Ecn::Ect1]), Err(()));
    }
}
