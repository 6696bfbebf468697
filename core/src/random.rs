//! Randomness, seeded once: one keyed generator for each use, so that what one of them reveals says
//! nothing about another (RFC 6528 §3, RFC 6056 §3.3.3, RFC 7739 §5).

use siphasher::sip::{SipHasher13, SipHasher24};

/// A keyed pseudorandom function and the counter-mode generator on top of it.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    key: (u64, u64),
    counter: u64,
}

/// What a generator is for; part of its key.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Use {
    InitialSequence = 1,
    EphemeralPorts = 2,
    HashTables = 3,
    Identifiers = 4,
    SynCookies = 5,
    FastOpen = 6,
    Neighbors = 7,
    Fragments = 8,
    StableAddresses = 9,
    DhcpClient = 32,
    Resolver = 33,
    Ntp = 34,
    Dhcpv6Client = 35,
    Dhcpv6Server = 36,
    Mdns = 37,
}

impl Generator {
    /// The generator for one use, derived from the stack's 128-bit seed.
    pub(crate) fn new(seed: [u64; 2], purpose: Use) -> Self {
        let derive = |part: u64| {
            let words = [purpose as u64, part];
            SipHasher24::new_with_keys(seed[0], seed[1]).hash(to_bytes(&words).as_flattened())
        };
        Generator { key: (derive(0), derive(1)), counter: 0 }
    }

    /// The next 64 random bits.
    #[inline(never)] // As `prf_of_bytes`.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        self.prf(&[self.counter])
    }

    /// The next 32 random bits.
    pub(crate) fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A random number below `limit`, as evenly as 64 bits allow; 0 if there is none.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(limit)) >> 64) as u64
    }

    /// The keyed function itself (SipHash-2-4): for values that must not be guessed.
    pub(crate) fn prf<const WORDS: usize>(&self, words: &[u64; WORDS]) -> u64 {
        self.prf_of_bytes(to_bytes(words).as_flattened())
    }

    #[inline(never)] // Once, and not for each number of words.
    fn prf_of_bytes(&self, bytes: &[u8]) -> u64 {
        SipHasher24::new_with_keys(self.key.0, self.key.1).hash(bytes)
    }

    /// The keyed function for hash tables (SipHash-1-3): fast, and enough against flooding.
    pub(crate) fn hash<const WORDS: usize>(&self, words: &[u64; WORDS]) -> u32 {
        self.hash_of_bytes(to_bytes(words).as_flattened())
    }

    #[inline(never)] // Once, and not for each number of words.
    fn hash_of_bytes(&self, bytes: &[u8]) -> u32 {
        (SipHasher13::new_with_keys(self.key.0, self.key.1).hash(bytes) >> 32) as u32
    }
}

fn to_bytes<const WORDS: usize>(words: &[u64; WORDS]) -> [[u8; 8]; WORDS] {
    words.map(u64::to_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_and_seeds_are_independent() {
        let mut a = Generator::new([1, 2], Use::InitialSequence);
        let mut b = Generator::new([1, 2], Use::EphemeralPorts);
        let mut c = Generator::new([1, 3], Use::InitialSequence);
        let first = a.next_u64();
        assert_ne!(first, b.next_u64());
        assert_ne!(first, c.next_u64());
        assert_ne!(first, a.next_u64());
        assert_eq!(first, Generator::new([1, 2], Use::InitialSequence).next_u64());
    }
}
