//! Sequence numbers: 32 bits that wrap (RFC 9293 §3.4).

use core::cmp::Ordering;
use core::ops::{Add, AddAssign, Sub};

/// A sequence number. Comparison is modular: `a < b` when `b` is less than 2³¹ ahead of `a`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    /// How far `self` is ahead of `earlier`; 0 if it is behind.
    #[inline]
    pub(crate) fn since(self, earlier: Seq) -> u32 {
        if self > earlier { self.0.wrapping_sub(earlier.0) } else { 0 }
    }

    #[inline]
    pub(crate) fn min(self, other: Seq) -> Seq {
        if self < other { self } else { other }
    }

    #[inline]
    pub(crate) fn max(self, other: Seq) -> Seq {
        if self > other { self } else { other }
    }
}

/// How far `seq` is ahead of `other`, or behind it (RFC 9293 §3.4).
#[inline]
fn ahead(seq: &Seq, other: &Seq) -> i32 {
    seq.0.wrapping_sub(other.0) as i32
}

impl PartialOrd for Seq {
    #[inline]
    fn partial_cmp(&self, other: &Seq) -> Option<Ordering> {
        Some(ahead(self, other).cmp(&0))
    }

    // Each is one subtraction and one comparison, which compilers do not find behind `partial_cmp`.
    #[inline]
    fn lt(&self, other: &Seq) -> bool {
        ahead(self, other) < 0
    }

    #[inline]
    fn le(&self, other: &Seq) -> bool {
        ahead(self, other) <= 0
    }

    #[inline]
    fn gt(&self, other: &Seq) -> bool {
        ahead(self, other) > 0
    }

    #[inline]
    fn ge(&self, other: &Seq) -> bool {
        ahead(self, other) >= 0
    }
}

impl Add<u32> for Seq {
    type Output = Seq;
    #[inline]
    fn add(self, count: u32) -> Seq {
        Seq(self.0.wrapping_add(count))
    }
}

impl AddAssign<u32> for Seq {
    #[inline]
    fn add_assign(&mut self, count: u32) {
        *self = *self + count;
    }
}

impl Sub<u32> for Seq {
    type Output = Seq;
    #[inline]
    fn sub(self, count: u32) -> Seq {
        Seq(self.0.wrapping_sub(count))
    }
}

/// The distance from `earlier` to `self`, modulo 2³².
impl Sub<Seq> for Seq {
    type Output = u32;
    #[inline]
    fn sub(self, earlier: Seq) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        let before = Seq(u32::MAX - 5);
        let after = before + 10;
        assert_eq!(after, Seq(4));
        assert!(before < after);
        assert_eq!(after - before, 10);
        assert_eq!((after.since(before), before.since(after)), (10, 0));
        assert_eq!((before.min(after), before.max(after)), (before, after));
    }
}
