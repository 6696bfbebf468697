//! What a scenario draws from its seed.

use ethertab::time::Duration;
use rand_core::Rng;
use rand_pcg::Pcg32;
use std::ops::RangeInclusive;

/// A stream of random choices.
#[derive(Debug)]
pub(crate) struct Dice(Pcg32);

impl Dice {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // Neighbouring seeds would start alike.
        Dice(Pcg32::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), stream))
    }

    pub(crate) fn number(&mut self) -> u64 {
        u64::from(self.0.next_u32()) | u64::from(self.0.next_u32()) << 32
    }

    /// Uniform.
    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.number() % (range.end() - range.start() + 1)
    }

    /// An index into something of `len` elements.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.within(0..=len as u64 - 1) as usize
    }

    /// As likely between 1 and 10 as between 10 and 100.
    pub(crate) fn magnitude(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = ((*range.start() as f64).ln(), (*range.end() as f64).ln());
        let value = (low + (high - low) * self.fraction()).exp().round() as u64;
        value.clamp(*range.start(), *range.end())
    }

    pub(crate) fn micros(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_micros(self.magnitude(range))
    }

    /// From 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.within(1..=100) <= percent
    }

    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())].clone()
    }
}
