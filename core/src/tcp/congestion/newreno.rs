//! Reno's congestion control (RFC 5681) with appropriate byte counting (RFC 3465).

use super::{AckSample, Cause, Window, grow, slow_start};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NewReno {
    /// Bytes acknowledged in congestion avoidance since cwnd grew last.
    counted: u32,
}

impl NewReno {
    /// `bytes` of the sample count for growth.
    #[inline]
    pub(super) fn acknowledged(&mut self, window: &mut Window, sample: &AckSample, bytes: u32) {
        let mut bytes = bytes;
        if window.in_slow_start() {
            // RFC 5681 §3.1, RFC 3465 §2.2.
            bytes = slow_start(window, bytes);
            if bytes == 0 {
                return;
            }
        }
        // Congestion avoidance: RFC 3465 §2.1, one segment for each window acknowledged.
        let per_segment = window.cwnd;
        grow(window, &mut self.counted, per_segment, bytes, sample.mss);
    }

    /// RFC 5681 §3.1, equation 4. Half of cwnd, as in Linux: a window that grows and stays only where it is used is the flight
    /// size that the equation means (RFC 7661 §4.4).
    pub(super) fn threshold(&mut self, cwnd: u32, mss: u32, cause: Cause) -> u32 {
        self.counted = 0;
        let segments = cwnd / mss;
        match cause {
            // RFC 8511 §3.
            Cause::Ecn { alternative: true } => segments * 4 / 5 * mss,
            _ => segments / 2 * mss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::ack;
    use super::*;

    #[test]
    fn slow_start_doubles_and_avoidance_adds_one_segment_a_window() {
        let (mut newreno, mut window) = (NewReno::default(), Window::new(10_000));
        for _ in 0..10 {
            newreno.acknowledged(&mut window, &ack(1_000), 1_000);
        }
        assert_eq!(window.cwnd, 20_000);
        window.ssthresh = newreno.threshold(window.cwnd, 1_000, Cause::Loss);
        window.cwnd = window.ssthresh;
        assert_eq!(window.cwnd, 10_000);
        for _ in 0..10 {
            newreno.acknowledged(&mut window, &ack(1_000), 1_000);
        }
        assert_eq!(window.cwnd, 11_000);
    }

    #[test]
    fn splitting_an_acknowledgment_gains_nothing() {
        let (mut newreno, mut whole) = (NewReno::default(), Window::new(10_000));
        let mut split = whole;
        newreno.acknowledged(&mut whole, &ack(2_000), 2_000);
        for _ in 0..20 {
            newreno.acknowledged(&mut split, &ack(100), 100);
        }
        assert_eq!(whole.cwnd, split.cwnd);
    }
}
