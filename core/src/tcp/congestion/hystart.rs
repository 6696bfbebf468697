//! The end of slow start before it overflows the path's queue, told by growing round trips.

use super::{AckSample, Window};
use crate::tcp::rate::clock;
use crate::tcp::seq::Seq;

/// How CUBIC finds out that slow start has filled the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlowStartExit {
    /// HyStart++ (RFC 9406): growing round trips lead to a slower slow start, which ends after five rounds.
    #[default]
    HyStartPlusPlus,
    /// HyStart as Linux has it: a longer round trip, or a train of ACKs as long as half of one, ends slow start at once.
    HyStart,
    /// Only a loss ends slow start.
    Loss,
}

/// RFC 9406 §4.3: N_RTT_SAMPLE, CSS_GROWTH_DIVISOR, CSS_ROUNDS.
const SAMPLES: u8 = 8;
const GROWTH_DIVISOR: u32 = 4;
const CONSERVATIVE_ROUNDS: u8 = 5;

/// Linux: with fewer segments there is nothing to be learned.
const LOW_WINDOW: u32 = 16;
/// Linux: ACKs of one train follow each other within this time, in microseconds.
const TRAIN_GAP: u32 = 2_000;

/// A round begins when the data is acknowledged that was outstanding when the last one began. Round trips are in
/// microseconds, `u32::MAX` if there was none.
#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    method: SlowStartExit,
    /// Slow start was left once: it is not watched again.
    done: bool,
    /// Samples in this round, as far as they matter.
    samples: u8,
    /// Rounds left of conservative slow start, 0 outside it.
    conservative: u8,
    round_end: Seq,
    round_min: u32,
    last_round_min: u32,
    /// The shortest round trip of the round that led to conservative slow start.
    baseline: u32,
    /// When the round began and its train of ACKs was still whole.
    round_start: u32,
    last_ack: u32,
}

impl HyStart {
    pub(super) const fn new(method: SlowStartExit, nxt: Seq) -> Self {
        HyStart {
            method,
            done: false,
            samples: 0,
            conservative: 0,
            round_end: nxt,
            round_min: u32::MAX,
            last_round_min: u32::MAX,
            baseline: u32::MAX,
            round_start: 0,
            last_ack: 0,
        }
    }

    /// Nothing was sent yet.
    pub(super) fn begin(&mut self, method: SlowStartExit, nxt: Seq) {
        (self.method, self.round_end) = (method, nxt);
    }

    /// A timeout: slow start begins anew. RFC 9406 §4.3 watches the first one only, Linux each.
    pub(super) fn restart(&mut self, nxt: Seq) {
        *self = HyStart { done: self.method != SlowStartExit::HyStart, ..HyStart::new(self.method, nxt) };
    }

    /// An ACK in slow start with a round trip of `rtt`; `min_rtt` is the shortest ever. May lower the threshold to cwnd. Returns
    /// what part of the acknowledged bytes the window grows by: one in so many.
    #[inline]
    pub(super) fn acknowledged(&mut self, window: &mut Window, sample: &AckSample, rtt: u32, min_rtt: u32) -> u32 {
        if self.done {
            return 1;
        }
        match self.method {
            SlowStartExit::HyStartPlusPlus => self.plus_plus(window, sample, rtt),
            SlowStartExit::HyStart => self.classic(window, sample, rtt, min_rtt),
            SlowStartExit::Loss => 1,
        }
    }

    /// RFC 9406 §4.2.
    fn plus_plus(&mut self, window: &mut Window, sample: &AckSample, rtt: u32) -> u32 {
        if sample.una > self.round_end {
            self.begin_round(sample);
            if self.conservative > 0 {
                self.conservative -= 1;
                if self.conservative == 0 {
                    self.done = true;
                    window.ssthresh = window.cwnd;
                    return 1;
                }
            }
        }
        self.measure(rtt);
        if self.samples >= SAMPLES {
            if self.conservative > 0 {
                // The longer round trips were a passing matter.
                if self.round_min < self.baseline {
                    self.conservative = 0;
                }
            } else if self.last_round_min != u32::MAX
                && self.round_min >= self.last_round_min.saturating_add(threshold(self.last_round_min))
            {
                self.baseline = self.round_min;
                self.conservative = CONSERVATIVE_ROUNDS;
            }
        }
        if self.conservative > 0 { GROWTH_DIVISOR } else { 1 }
    }

    fn classic(&mut self, window: &mut Window, sample: &AckSample, rtt: u32, min_rtt: u32) -> u32 {
        let now = clock(sample.now);
        if sample.una > self.round_end {
            self.begin_round(sample);
            (self.round_start, self.last_ack) = (now, now);
        }
        if window.cwnd < LOW_WINDOW * sample.mss {
            return 1;
        }
        let mut found = false;
        if now.wrapping_sub(self.last_ack) <= TRAIN_GAP {
            self.last_ack = now;
            found = now.wrapping_sub(self.round_start) > min_rtt / 2;
        }
        let enough = self.samples >= SAMPLES;
        self.measure(rtt);
        found |= enough && self.round_min > min_rtt.saturating_add(threshold(min_rtt));
        if found {
            self.done = true;
            window.ssthresh = window.cwnd;
        }
        1
    }

    fn begin_round(&mut self, sample: &AckSample) {
        self.last_round_min = self.round_min;
        self.round_min = u32::MAX;
        self.samples = 0;
        self.round_end = sample.nxt;
    }

    fn measure(&mut self, rtt: u32) {
        self.round_min = self.round_min.min(rtt);
        self.samples = self.samples.saturating_add(1);
    }
}

/// RFC 9406 §4.3: how much longer a round trip must be to tell of a queue.
fn threshold(rtt: u32) -> u32 {
    (rtt / 8).clamp(4_000, 16_000)
}

#[cfg(test)]
mod tests {
    use super::super::tests::ack;
    use super::*;
    use crate::time::Instant;

    const MSS: u32 = 1_000;

    /// A round of `count` ACKs of two segments each with a round trip of `rtt` ms; returns the divisors of growth.
    fn round(hystart: &mut HyStart, window: &mut Window, una: &mut u32, count: u32, rtt: u32) -> Vec<u32> {
        let nxt = Seq(*una + window.cwnd);
        (0..count)
            .map(|_| {
                *una += 2 * MSS;
                let sample = AckSample { now: Instant::ZERO, una: Seq(*una), nxt, ..ack(2 * MSS) };
                hystart.acknowledged(window, &sample, rtt * 1_000, 100_000)
            })
            .collect()
    }

    #[test]
    fn longer_round_trips_lead_to_conservative_slow_start_and_to_its_end_after_five_rounds() {
        let mut window = Window::new(20 * MSS);
        let mut hystart = HyStart::new(SlowStartExit::HyStartPlusPlus, Seq(0));
        let mut una = 0;
        assert_eq!(round(&mut hystart, &mut window, &mut una, 10, 100), [1; 10]);
        assert_eq!(round(&mut hystart, &mut window, &mut una, 10, 111), [1; 10], "below the threshold of 12.5 ms");
        let grown = round(&mut hystart, &mut window, &mut una, 10, 130);
        assert_eq!(grown, [1, 1, 1, 1, 1, 1, 1, 4, 4, 4], "with the eighth sample");
        for _ in 0..4 {
            assert_eq!(round(&mut hystart, &mut window, &mut una, 10, 140), [4; 10]);
        }
        assert_eq!(window.ssthresh, u32::MAX);
        round(&mut hystart, &mut window, &mut una, 10, 140);
        assert_eq!(window.ssthresh, window.cwnd);
    }

    #[test]
    fn slow_start_resumes_when_round_trips_are_short_again() {
        let mut window = Window::new(20 * MSS);
        let mut hystart = HyStart::new(SlowStartExit::HyStartPlusPlus, Seq(0));
        let mut una = 0;
        round(&mut hystart, &mut window, &mut una, 10, 100);
        round(&mut hystart, &mut window, &mut una, 10, 130);
        let resumed = round(&mut hystart, &mut window, &mut una, 10, 105);
        assert_eq!(resumed, [4, 4, 4, 4, 4, 4, 4, 1, 1, 1]);
    }

    #[test]
    fn linuxs_hystart_ends_slow_start_with_the_ninth_long_round_trip() {
        let mut window = Window::new(20 * MSS);
        let mut hystart = HyStart::new(SlowStartExit::HyStart, Seq(0));
        let mut una = 0;
        round(&mut hystart, &mut window, &mut una, 8, 130);
        assert_eq!(window.ssthresh, u32::MAX);
        round(&mut hystart, &mut window, &mut una, 1, 130);
        assert_eq!(window.ssthresh, window.cwnd);
    }
}
