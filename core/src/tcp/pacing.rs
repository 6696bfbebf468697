//! Pacing: when the next segment may leave, so that a window does not leave as one burst.
//!
//! As with Linux's earliest departure times, each segment moves the time of the next by its length at the pacing rate. Segments leave
//! ahead of that time by up to a quantum, a millisecond's worth, so that fast connections still send batches and need a timer
//! for each quantum only (draft-ietf-ccwg-bbr, "Send Quantum").

use crate::time::{Duration, Instant};

/// The quantum in nanoseconds.
const QUANTUM: u64 = 1_000_000;
/// Nanoseconds by which a timer may be late without cost to the rate: twice what browsers make of a millisecond when one timer sets the
/// next.
const LATENESS: u64 = 8_000_000;
/// The least quantum in segments, for slow connections.
const LEAST_SEGMENTS: u64 = 2;

/// What paces a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacing {
    /// Nanoseconds of the clock at which all that was sent would have left at the pacing rate.
    next: u64,
}

impl Pacing {
    pub(crate) const NEW: Pacing = Pacing { next: 0 };

    /// When a segment of `mss` bytes may leave at `rate` bytes a second: None for now, else the time to ask again.
    #[inline]
    pub(crate) fn delayed_until(&self, now: Instant, rate: u32, mss: u32) -> Option<Instant> {
        let quantum = quantum(rate, mss);
        let ahead = self.next.saturating_sub(nanos(now));
        // Rounded up, so that no timer fires too early to send.
        (ahead > quantum).then(|| now + Duration::from_micros(ahead.div_ceil(1_000)))
    }

    /// A segment of `len` bytes leaves.
    #[inline]
    pub(crate) fn sent(&mut self, now: Instant, rate: u32, mss: u32, len: u32) {
        // A timer that was late may be caught up with, time in which there was nothing to send may not.
        let (now, quantum) = (nanos(now), quantum(rate, mss));
        if now.saturating_sub(self.next) > quantum.max(LATENESS) {
            self.next = now.saturating_sub(quantum);
        }
        self.next += time_of(u64::from(len), rate);
    }
}

/// The rate at which a window leaves if the algorithm does not ask for another, in bytes a second, as Linux computes it: twice the
/// window in a round trip in the first half of slow start, 1.2 times afterwards.
pub(crate) fn usual_rate(cwnd: u32, ssthresh: u32, outstanding: u32, srtt: Duration) -> u64 {
    let percent = if cwnd < ssthresh / 2 { 200 } else { 120 };
    u64::from(cwnd.max(outstanding)) * (1_000_000 / 100) * percent / srtt.as_micros().max(1)
}

fn quantum(rate: u32, mss: u32) -> u64 {
    QUANTUM.max(time_of(LEAST_SEGMENTS * u64::from(mss), rate))
}

/// Nanoseconds that `bytes` take at `rate`.
fn time_of(bytes: u64, rate: u32) -> u64 {
    bytes * 1_000_000_000 / u64::from(rate.max(1))
}

fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends segments of `mss` bytes for a second, waiting as told plus `late` µs; returns bytes, wakings and the largest burst.
    fn second(rate: u32, mss: u32, late: u64) -> (u64, u32, u64) {
        let (mut pacing, mut now) = (Pacing::NEW, Instant::from_secs(5));
        let (mut bytes, mut wakings, mut burst, mut largest) = (0, 0, 0, 0);
        while now < Instant::from_secs(6) {
            match pacing.delayed_until(now, rate, mss) {
                None => {
                    pacing.sent(now, rate, mss, mss);
                    burst += u64::from(mss);
                    largest = largest.max(burst);
                    bytes += u64::from(mss);
                }
                Some(at) => {
                    now = at + Duration::from_micros(late);
                    wakings += 1;
                    burst = 0;
                }
            }
        }
        (bytes, wakings, largest)
    }

    #[test]
    fn the_rate_is_kept_with_one_timer_a_quantum() {
        for rate in [10_000, 125_000, 1_250_000, 125_000_000, 1_250_000_000] {
            let (bytes, wakings, largest) = second(rate, 1_460, 0);
            let quantum = u64::from(rate / 1_000).max(2 * 1_460);
            assert!(bytes.abs_diff(u64::from(rate)) <= 4 * quantum, "{bytes} of {rate}");
            assert!(wakings <= 1_001, "{wakings} at {rate}");
            assert!(largest <= 2 * quantum + 2 * 1_460, "bursts of {largest} at {rate}");
        }
    }

    #[test]
    fn timers_that_are_late_cost_no_rate() {
        for late in [900, 2_500, 7_000] {
            let (bytes, ..) = second(1_250_000, 1_460, late);
            assert!(bytes.abs_diff(1_250_000) < 15_000, "{bytes} with timers {late} µs late");
        }
    }

    #[test]
    fn idle_time_is_no_credit() {
        let mut pacing = Pacing::NEW;
        let now = Instant::from_secs(100);
        let mut sent = 0;
        while pacing.delayed_until(now, 1_000_000, 1_000).is_none() {
            pacing.sent(now, 1_000_000, 1_000, 1_000);
            sent += 1_000;
        }
        assert!(sent <= 5_000, "{sent}");
    }
}
