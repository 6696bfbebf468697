//! Reno's congestion control (RFC 5681) with appropriate byte counting (RFC 3465).

use super::{AckSample, Window};

/// RFC 3465 §2.2 limits growth to L segments for each acknowledgment. Merged acknowledgments starve slow start
/// with L = 2; 8 still bounds what an ACK splitter or a stretch ACK can do.
const BYTE_COUNTING_LIMIT: u32 = 8;

#[derive(Clone, Debug, Default)]
pub(super) struct NewReno {
    /// Bytes acknowledged in congestion avoidance since cwnd grew last.
    counted: u32,
}

impl NewReno {
    #[inline]
    pub(super) fn acknowledged(&mut self, window: &mut Window, sample: &AckSample, limited: bool) {
        if !limited || sample.in_recovery {
            return;
        }
        let mut bytes = sample.acked.min(BYTE_COUNTING_LIMIT * sample.mss);
        if window.in_slow_start() {
            // RFC 5681 §3.1, RFC 3465 §2.2.
            bytes = slow_start(window, bytes);
            if bytes == 0 {
                return;
            }
        }
        // Congestion avoidance: RFC 3465 §2.1, one segment for each window acknowledged.
        self.counted = self.counted.saturating_add(bytes);
        if self.counted >= window.cwnd {
            self.counted -= window.cwnd;
            window.cwnd = window.cwnd.saturating_add(sample.mss);
        }
    }

    /// RFC 5681 §3.1, equation 4. Half of cwnd, as in Linux: a window that grows and stays only where it is used is the flight
    /// size that the equation means (RFC 7661 §4.4).
    pub(super) fn threshold(&mut self, window: &Window) -> u32 {
        self.counted = 0;
        window.cwnd / 2
    }
}

/// Grows the window by `bytes` up to the threshold; what is left counts in congestion avoidance.
#[inline]
pub(super) fn slow_start(window: &mut Window, bytes: u32) -> u32 {
    let growth = bytes.min(window.ssthresh - window.cwnd);
    window.cwnd = window.cwnd.saturating_add(growth);
    bytes - growth
}

#[cfg(test)]
mod tests {
    use super::super::tests::ack;
    use super::*;

    const WINDOW: Window = Window { cwnd: 10_000, ssthresh: u32::MAX, prior_cwnd: 0, prior_ssthresh: 0 };

    #[test]
    fn slow_start_doubles_and_avoidance_adds_one_segment_a_window() {
        let (mut newreno, mut window) = (NewReno::default(), WINDOW);
        for _ in 0..10 {
            newreno.acknowledged(&mut window, &ack(1_000), true);
        }
        assert_eq!(window.cwnd, 20_000);
        window.ssthresh = newreno.threshold(&window);
        window.cwnd = window.ssthresh;
        assert_eq!(window.cwnd, 10_000);
        for _ in 0..10 {
            newreno.acknowledged(&mut window, &ack(1_000), true);
        }
        assert_eq!(window.cwnd, 11_000);
    }

    #[test]
    fn splitting_an_acknowledgment_gains_nothing() {
        let (mut newreno, mut whole) = (NewReno::default(), WINDOW);
        let mut split = whole;
        newreno.acknowledged(&mut whole, &ack(2_000), true);
        for _ in 0..20 {
            newreno.acknowledged(&mut split, &ack(100), true);
        }
        assert_eq!(whole.cwnd, split.cwnd);
    }
}
