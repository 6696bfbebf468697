//! The Internet checksum (RFC 1071).
//!
//! A [`Sum`] is the ones' complement sum of some bytes before the final inversion. Sums are kept in the machine's own
//! byte order and as wide as it allows; the byte order is put right once, in [`Sum::finish`] (RFC 1071 §2 (B)). Sums
//! of pieces can be added, so that a payload summed once can be put under any header.

use core::net::IpAddr;

use crate::copy::copy;

/// Bytes taken by one step of the bulk loops.
const BLOCK: usize = 32;

/// Sums of one block's 64-bit words, side by side.
type Lanes = [u64; BLOCK / 8];

/// A ones' complement sum in progress.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

/// The sum of what does not change, folded to be kept.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Part(u16);

impl Part {
    /// The sum of nothing.
    pub(crate) const ZERO: Part = Part(0);
}

impl From<Sum> for Part {
    fn from(sum: Sum) -> Self {
        Part(sum.fold())
    }
}

impl From<Part> for Sum {
    #[inline]
    fn from(part: Part) -> Self {
        Sum(u64::from(part.0))
    }
}

impl Sum {
    /// The sum of nothing.
    #[inline]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds data that starts at an even offset. An odd length is padded with a zero byte, so only the last piece of
    /// a message may be odd.
    #[inline(never)] // Called from many places: one copy is enough.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        let (blocks, tail) = bytes.as_chunks::<BLOCK>();
        if !blocks.is_empty() {
            self.add_wide(sum_blocks(blocks));
        }
        self.add_wide(sum_tail(tail));
    }

    /// Adds a 16-bit field of a header.
    #[inline]
    pub fn add_u16(&mut self, value: u16) {
        self.add_wide(u64::from(value.to_be()));
    }

    /// Adds a 32-bit field of a header that starts at an even offset.
    #[inline]
    pub fn add_u32(&mut self, value: u32) {
        self.add_wide(u64::from(value.to_be()));
    }

    /// Adds the sum of data that starts at an even offset.
    #[inline]
    pub fn add(&mut self, other: Self) {
        self.add_wide(other.0);
    }

    /// Adds the sum of data that starts at an odd offset: its bytes change places (RFC 1071 §2 (B)).
    #[inline]
    pub fn add_at_odd(&mut self, other: Self) {
        self.add_wide(u64::from(other.fold().swap_bytes()));
    }

    /// Takes the sum of data that starts at an even offset out again: in ones' complement, adds its inverse.
    #[inline]
    pub fn remove(&mut self, other: Self) {
        self.add_wide(u64::from(!other.fold()));
    }

    /// The checksum: the inverted sum, to be stored with [`u16::to_be_bytes`].
    #[inline]
    pub fn finish(self) -> u16 {
        u16::from_be(!self.fold())
    }

    /// Whether a sum that includes the stored checksum is that of an intact message: all ones.
    #[inline]
    pub fn is_valid(self) -> bool {
        self.fold() == u16::MAX
    }

    /// Ones' complement addition: 2^64 is 1 modulo 2^16 - 1, so that a carry out of the top comes back at the bottom.
    #[inline]
    fn add_wide(&mut self, value: u64) {
        let (sum, carry) = self.0.overflowing_add(value);
        self.0 = sum + u64::from(carry);
    }

    /// The sum in 16 bits, in the machine's byte order.
    #[inline]
    fn fold(self) -> u16 {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum as u16
    }
}

/// What a checksum becomes when a 16-bit word that it covers changes (RFC 1624 §3, equation 3).
#[inline]
pub fn changed(checksum: u16, old: u16, new: u16) -> u16 {
    let mut sum = Sum::new();
    for word in [!checksum, !old, new] {
        sum.add_u16(word);
    }
    sum.finish()
}

/// The sum of `bytes`, padded with a zero byte when their length is odd.
#[inline]
pub fn sum(bytes: &[u8]) -> Sum {
    let mut sum = Sum::new();
    sum.add_bytes(bytes);
    sum
}

/// The sum of a header: as [`sum`], in less code, for few bytes in whole 32-bit words.
#[inline(never)] // What every packet needs several times stays small.
pub(crate) fn sum_header(header: &[u8]) -> Sum {
    // IPv4 without options: no loop.
    if let Some((words, [])) = header.split_first_chunk::<20>() {
        let [a, b, c, d, e] = core::array::from_fn(|n| u64::from(u32_ne(words, n * 4)));
        return Sum(a + b + c + d + e);
    }
    // Nor for a segment with timestamps.
    let Some((block, rest)) = header.split_first_chunk() else { return Sum(sum_tail(header)) };
    let mut lanes = Lanes::default();
    add_block(&mut lanes, block);
    let sum = lanes.iter().sum();
    Sum(if rest.is_empty() { sum } else { sum + sum_tail(rest) })
}

/// Copies `src` to `dst` in one pass with the sum of the bytes, padded with a zero byte when their number is odd.
///
/// # Panics
/// When the lengths differ.
#[inline]
pub fn copy_and_sum(dst: &mut [u8], src: &[u8]) -> Sum {
    assert!(dst.len() == src.len(), "source and destination differ in length");
    let (src_blocks, src_tail) = src.as_chunks::<BLOCK>();
    let (dst_blocks, dst_tail) = dst.as_chunks_mut::<BLOCK>();
    let mut sum = Sum::new();
    if !src_tail.is_empty() {
        copy(dst_tail, src_tail);
        sum = Sum(sum_tail(src_tail));
    }
    if !src_blocks.is_empty() {
        sum.add_wide(copy_and_sum_blocks(dst_blocks, src_blocks));
    }
    sum
}

/// The sum of the pseudo-header that TCP, UDP and ICMPv6 checksums cover (RFC 9293 §3.1, RFC 768, RFC 8200 §8.1).
///
/// `length` is that of the upper-layer header and data in bytes. Both addresses must be of one family.
#[inline(never)] // Called from many places, by connections only when their path is new.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: u32) -> Sum {
    debug_assert_eq!(source.is_ipv4(), destination.is_ipv4(), "addresses of two families");
    let mut sum = Sum(u64::from(u16::from(protocol).to_be()));
    sum.add_u32(length);
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => sum.add_wide(u32::from_ne_bytes(address.octets()).into()),
            IpAddr::V6(address) => {
                let octets = address.octets();
                octets.as_chunks().0.iter().for_each(|word| sum.add_wide(u64::from_ne_bytes(*word)));
            }
        }
    }
    sum
}

/// The bulk of the work, in a shape that compilers turn into vector code: 32-bit words into 64-bit lanes. It stays out
/// of line so that the code does not depend on what the caller looks like.
#[inline(never)]
fn sum_blocks(blocks: &[[u8; BLOCK]]) -> u64 {
    let mut lanes = Lanes::default();
    for block in blocks {
        add_block(&mut lanes, block);
    }
    lanes.iter().sum()
}

/// As [`sum_blocks`], with a copy: one pass over the source instead of two.
#[inline(never)]
fn copy_and_sum_blocks(dst: &mut [[u8; BLOCK]], src: &[[u8; BLOCK]]) -> u64 {
    let mut lanes = Lanes::default();
    for (to, from) in dst.iter_mut().zip(src) {
        *to = *from;
        add_block(&mut lanes, from);
    }
    lanes.iter().sum()
}

/// A lane grows by less than 2^33 a block, so that the four together overflow after 2^29 blocks: 16 GiB.
#[inline(always)]
fn add_block(lanes: &mut Lanes, block: &[u8; BLOCK]) {
    for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
        let word = u64::from_ne_bytes(*word);
        *lane += (word & 0xffff_ffff) + (word >> 32);
    }
}

#[inline]
fn u32_ne(bytes: &[u8; 20], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Few bytes: words, then what is left of one.
#[inline]
fn sum_tail(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<4>();
    let mut sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        sum += u64::from(u32::from_ne_bytes(last));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1624 §4: "the correct result" where an earlier RFC had all ones.
    #[test]
    fn a_changed_word_changes_the_checksum_as_computing_it_anew_would() {
        assert_eq!(changed(0xdd2f, 0x5555, 0x3285), 0x0000);
        let mut words = [0x4500, 0x0054, 0x0000, 0x4000, 0x4001, 0x0000, 0x0a00, 0x0001, 0xc0a8, 0x0001u16];
        let sum_of = |words: &[u16]| {
            let mut sum = Sum::new();
            words.iter().for_each(|word| sum.add_u16(*word));
            sum
        };
        for (place, new) in [(4, 0x3f01), (6, 0xffff), (7, 0x0000), (9, 0x1234)] {
            let (before, old) = (sum_of(&words).finish(), words[place]);
            words[place] = new;
            let expected = sum_of(&words).finish();
            assert_eq!(changed(before, old, new), expected);
            let mut by_sums = sum_of(&[!before, new]);
            by_sums.remove(sum_of(&[old]));
            assert_eq!(by_sums.finish(), expected);
        }
    }

    /// RFC 1071 §4.1, word by word.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    struct Generator(u64);

    impl Generator {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, limit: usize) -> usize {
            (self.next() % limit as u64) as usize
        }
    }

    fn random_bytes<const N: usize>(generator: &mut Generator) -> [u8; N] {
        core::array::from_fn(|_| generator.next() as u8)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.finish(), !0xddf2);
    }

    #[test]
    fn sums_and_copies_equal_the_reference_at_any_length_and_offset() {
        let mut generator = Generator(0x9e37_79b9_7f4a_7c15);
        let bytes = random_bytes::<2048>(&mut generator);
        for round in 0..4000 {
            let start = generator.below(65);
            let len = if round < 400 { round } else { generator.below(2048 - 64) };
            let bytes = &bytes[start..(start + len).min(2048)];
            assert_eq!(sum(bytes).finish(), reference(bytes), "{} bytes at {start}", bytes.len());
            let mut copy = [0; 2048];
            let to = generator.below(8).min(2048 - bytes.len());
            let copied = copy_and_sum(&mut copy[to..to + bytes.len()], bytes);
            assert_eq!(copied.finish(), reference(bytes));
            assert_eq!(&copy[to..to + bytes.len()], bytes);
            assert!(copy[..to].iter().chain(&copy[to + bytes.len()..]).all(|byte| *byte == 0));
        }
    }

    #[test]
    fn pieces_join_at_even_and_at_odd_offsets() {
        let mut generator = Generator(7);
        let bytes = random_bytes::<512>(&mut generator);
        for _ in 0..4000 {
            let len = generator.below(513);
            let at = generator.below(len + 1);
            let (first, second) = bytes[..len].split_at(at);
            let mut joined = sum(first);
            if at.is_multiple_of(2) {
                joined.add(sum(second))
            } else {
                joined.add_at_odd(sum(second))
            }
            assert_eq!(joined.finish(), reference(&bytes[..len]), "{len} bytes split at {at}");
        }
    }

    #[test]
    fn carries_are_not_lost_in_all_ones() {
        let ones = [0xff; 4096];
        for len in 0..=4096 {
            assert_eq!(sum(&ones[..len]).finish(), reference(&ones[..len]), "{len} bytes");
        }
        let mut full = Sum(u64::MAX);
        full.add(Sum(u64::MAX));
        assert_eq!(full.finish(), 0);
        full.add_u16(1);
        assert_eq!(full.finish(), !1);
        full.add_at_odd(Sum(u64::MAX));
        assert_eq!(full.finish(), !1);
    }

    #[test]
    fn fields_count_as_their_bytes_do() {
        let mut fields = Sum::new();
        fields.add_u16(0x1234);
        fields.add_u32(0xdead_beef);
        assert_eq!(fields.finish(), reference(&[0x12, 0x34, 0xde, 0xad, 0xbe, 0xef]));
    }

    #[test]
    fn a_stored_checksum_makes_the_sum_valid_and_a_flipped_bit_does_not() {
        let mut bytes = random_bytes::<64>(&mut Generator(3));
        bytes[10..12].fill(0);
        let checksum = sum(&bytes).finish();
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        assert!(sum(&bytes).is_valid());
        for bit in 0..64 * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!sum(&bytes).is_valid(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(!sum(&[0; 20]).is_valid());
    }

    #[test]
    fn pseudo_headers_are_those_of_the_rfcs() {
        let v4 = pseudo_header([10, 0, 2, 2].into(), [10, 0, 2, 15].into(), 6, 1000);
        assert_eq!(v4.finish(), reference(&[10, 0, 2, 2, 10, 0, 2, 15, 0, 6, 0x03, 0xe8]));

        let (source, destination) = ([0xfd; 16], [0x20; 16]);
        let v6 = pseudo_header(source.into(), destination.into(), 58, 0x0001_0002);
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&source);
        bytes[16..32].copy_from_slice(&destination);
        bytes[32..].copy_from_slice(&[0, 1, 0, 2, 0, 0, 0, 58]);
        assert_eq!(v6.finish(), reference(&bytes));
    }
}
