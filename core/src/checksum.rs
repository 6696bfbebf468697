//! The Internet checksum (RFC 1071).
//!
//! A [`Sum`] is the ones' complement sum of some bytes before the final inversion. Sums are kept in the machine's own
//! byte order and as wide as it allows; the byte order is put right once, in [`Sum::finish`] (RFC 1071 §2 (B)). Sums
//! of pieces can be added, so that a payload summed once can be put under any header.

use core::net::IpAddr;

/// Bytes taken by one step of the bulk loop.
const BLOCK: usize = 64;

/// A ones' complement sum in progress.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    #[inline]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds data that starts at an even offset. An odd length is padded with a zero byte, so only the last piece of
    /// a message may be odd.
    #[inline]
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

/// The sum of `bytes`, padded with a zero byte when their length is odd.
#[inline]
pub fn sum(bytes: &[u8]) -> Sum {
    let mut sum = Sum::new();
    sum.add_bytes(bytes);
    sum
}

/// Copies `src` to `dst`, which must have the same length, and returns the sum of the bytes.
#[inline]
pub fn copy_and_sum(dst: &mut [u8], src: &[u8]) -> Sum {
    dst.copy_from_slice(src);
    sum(src)
}

/// The sum of the pseudo-header that TCP, UDP and ICMPv6 checksums cover (RFC 9293 §3.1, RFC 768, RFC 8200 §8.1).
///
/// `length` is that of the upper-layer header and data in bytes. Both addresses must be of one family.
#[inline]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: u32) -> Sum {
    debug_assert_eq!(
        source.is_ipv4(),
        destination.is_ipv4(),
        "addresses of two families"
    );
    let mut sum = Sum(u64::from(u16::from(protocol).to_be()));
    sum.add_u32(length);
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => sum.add_bytes(&address.octets()),
            IpAddr::V6(address) => sum.add_bytes(&address.octets()),
        }
    }
    sum
}

/// The bulk of the work, in a shape that compilers turn into vector code: 32-bit words into 64-bit lanes.
fn sum_blocks(blocks: &[[u8; BLOCK]]) -> u64 {
    let mut lanes = [0u64; BLOCK / 4];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    // Each lane is below 2^32 times the number of blocks: no sum of a slice in memory overflows.
    lanes.iter().sum()
}

/// Less than a block: words, then what is left of one.
#[inline]
fn sum_tail(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<4>();
    let mut sum: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        sum += u64::from(u32::from_ne_bytes(last));
    }
    sum
}
