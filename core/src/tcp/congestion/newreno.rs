//! Reno's congestion control (RFC 5681) with appropriate byte counting (RFC 3465).

use super::{Acknowledged, initial_cwnd};

/// RFC 3465 §2.2 limits growth to L segments for each acknowledgment. Merged acknowledgments starve slow start
/// with L = 2; 8 still bounds what an ACK splitter or a stretch ACK can do.
const BYTE_COUNTING_LIMIT: u32 = 8;

#[derive(Clone, Debug)]
pub(crate) struct NewReno {
    cwnd: u32,
    ssthresh: u32,
    /// Bytes acknowledged in congestion avoidance since cwnd grew last.
    counted: u32,
}

impl NewReno {
    pub(crate) fn new(mss: u32, initial_window: u8) -> Self {
        NewReno { cwnd: initial_cwnd(mss, initial_window), ssthresh: u32::MAX, counted: 0 }
    }

    #[inline]
    pub(crate) fn cwnd(&self) -> u32 {
        self.cwnd
    }

    pub(crate) fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    #[inline]
    pub(crate) fn acknowledged(&mut self, mss: u32, acknowledged: Acknowledged) {
        // RFC 7661 §4: a window that was not used was not tested and does not grow.
        if !acknowledged.cwnd_limited {
            return;
        }
        let mut bytes = acknowledged.bytes;
        if self.cwnd < self.ssthresh {
            // Slow start: RFC 5681 §3.1, RFC 3465 §2.2.
            let growth = bytes.min(BYTE_COUNTING_LIMIT * mss).min(self.ssthresh - self.cwnd);
            self.cwnd = self.cwnd.saturating_add(growth);
            bytes -= growth.min(bytes);
            if self.cwnd < self.ssthresh {
                return;
            }
        }
        // Congestion avoidance: RFC 3465 §2.1, one segment for each window acknowledged.
        self.counted = self.counted.saturating_add(bytes.min(BYTE_COUNTING_LIMIT * mss));
        if self.counted >= self.cwnd {
            self.counted -= self.cwnd;
            self.cwnd = self.cwnd.saturating_add(mss);
        }
    }

    /// RFC 5681 §3.2 step 2; the window is not inflated, since the segments that have left the network are taken
    /// off the flight instead.
    pub(crate) fn loss(&mut self, mss: u32, flight: u32) {
        self.ssthresh = (flight / 2).max(2 * mss);
        self.cwnd = self.ssthresh;
        self.counted = 0;
    }

    /// RFC 6582 §3.2 step 3, full acknowledgment, option (1): no burst follows recovery.
    pub(crate) fn recovered(&mut self, mss: u32, flight: u32) {
        self.cwnd = self.ssthresh.min(flight.max(mss) + mss);
    }

    /// RFC 5681 §3.1, equation 4 and the loss window.
    pub(crate) fn timeout(&mut self, mss: u32, flight: u32, again: bool) {
        if !again {
            self.ssthresh = (flight / 2).max(2 * mss);
        }
        self.cwnd = mss;
        self.counted = 0;
    }

    pub(crate) fn idle(&mut self, mss: u32, initial_window: u8) {
        self.cwnd = self.cwnd.min(initial_cwnd(mss, initial_window));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn ack(newreno: &mut NewReno, bytes: u32) {
        newreno.acknowledged(1_000, Acknowledged { now: Instant::ZERO, bytes, cwnd_limited: true });
    }

    #[test]
    fn slow_start_doubles_and_avoidance_adds_one_segment_a_window() {
        let mut newreno = NewReno::new(1_000, 10);
        assert_eq!(newreno.cwnd(), 10_000);
        for _ in 0..10 {
            ack(&mut newreno, 1_000);
        }
        assert_eq!(newreno.cwnd(), 20_000);
        newreno.loss(1_000, 20_000);
        assert_eq!((newreno.cwnd(), newreno.ssthresh()), (10_000, 10_000));
        for _ in 0..10 {
            ack(&mut newreno, 1_000);
        }
        assert_eq!(newreno.cwnd(), 11_000);
    }

    #[test]
    fn splitting_an_acknowledgment_gains_nothing() {
        let mut whole = NewReno::new(1_000, 10);
        let mut split = whole.clone();
        ack(&mut whole, 2_000);
        for _ in 0..20 {
            ack(&mut split, 100);
        }
        assert_eq!(whole.cwnd(), split.cwnd());
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut newreno = NewReno::new(1_000, 10);
        newreno.acknowledged(1_000, Acknowledged { now: Instant::ZERO, bytes: 9_000, cwnd_limited: false });
        assert_eq!(newreno.cwnd(), 10_000);
    }

    #[test]
    fn a_second_timeout_keeps_the_threshold_of_the_first() {
        let mut newreno = NewReno::new(1_000, 10);
        newreno.timeout(1_000, 40_000, false);
        newreno.timeout(1_000, 1_000, true);
        assert_eq!((newreno.cwnd(), newreno.ssthresh()), (1_000, 20_000));
    }

    #[test]
    fn the_initial_window_is_bounded_for_large_segments() {
        assert_eq!(initial_cwnd(1_460, 10), 14_600);
        assert_eq!(initial_cwnd(8_960, 10), 17_920);
        assert_eq!(initial_cwnd(536, 10), 5_360);
    }
}
