//! Randomness from one seed: every cable, switch and mutator has a stream of its own, so that what one of them draws
//! never changes what another one sees.

use rand_core::Rng;
use rand_pcg::Pcg32;
use siphasher::sip::SipHasher13;

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(Pcg32);

/// The probability of an event as a threshold over 32 random bits: the same on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The chance `probability`, which the caller has checked to lie in 0.0..=1.0.
    pub(crate) fn new(probability: f64) -> Self {
        // The cast saturates, and sends NaN to 0.
        Chance((probability * 4_294_967_296.0).round() as u64)
    }

    pub(crate) fn is_never(self) -> bool {
        self.0 == 0
    }
}

impl Random {
    /// The stream with this number among those of `seed`.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // Streams that start at the same state are correlated: each gets a state of its own too.
        let state = SipHasher13::new_with_keys(seed, 0).hash(&stream.to_le_bytes());
        Random(Pcg32::new(state, stream))
    }

    #[inline(never)] // Drawn at many places, and only for what is impaired.
    pub(crate) fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    /// Whether an event of this chance happens. One that never happens draws nothing.
    pub(crate) fn happens(&mut self, chance: Chance) -> bool {
        !chance.is_never() && u64::from(self.next_u32()) < chance.0
    }

    /// A number from 0 to `bound` - 1, or 0 if `bound` is 0. The bias is below 2^-32 per value and does not matter here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into something of `len` elements; 0 if it has none.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_a_seed_differ_and_repeat() {
        let mut a = Random::new(1, 1);
        let mut b = Random::new(1, 2);
        let mut again = Random::new(1, 1);
        let first: Vec<u32> = (0..8).map(|_| a.next_u32()).collect();
        assert_ne!(first, (0..8).map(|_| b.next_u32()).collect::<Vec<_>>());
        assert_eq!(first, (0..8).map(|_| again.next_u32()).collect::<Vec<_>>());
    }

    #[test]
    fn a_chance_of_one_always_happens_and_of_zero_never() {
        let mut random = Random::new(7, 0);
        assert!((0..1000).all(|_| random.happens(Chance::new(1.0))));
        assert!((0..1000).all(|_| !random.happens(Chance::new(0.0))));
        let quarter = (0..100_000).filter(|_| random.happens(Chance::new(0.25))).count();
        assert!((24_500..25_500).contains(&quarter), "{quarter}");
    }

    #[test]
    fn below_stays_below() {
        let mut random = Random::new(7, 0);
        assert!((0..1000).all(|_| random.below(3) < 3));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.index(1), 0);
    }
}
