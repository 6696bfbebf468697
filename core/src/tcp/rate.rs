//! Delivery rate estimation (draft-ietf-ccwg-bbr, "Delivery Rate Samples").
//!
//! Each segment takes a [`Stamp`] along when it is sent: how much had been delivered by then, and when. When it is delivered in its
//! turn, the difference is what the network delivered meanwhile. Bytes are counted modulo 2^32, times are the low 32 bits
//! of microseconds ([`clock`]): both only ever serve as differences over one round trip.

use crate::time::{Duration, Instant};

/// The clock of stamps and segment records: the low 32 bits of microseconds.
#[inline]
pub(crate) fn clock(now: Instant) -> u32 {
    now.as_micros() as u32
}

/// What a segment remembers of the moment at which it was sent (the draft's per-packet state, "P.").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Bytes that had been delivered.
    delivered: u32,
    /// When they were.
    delivered_at: u32,
    /// When the first segment of the flight was sent that the sample spans.
    first_sent: u32,
    /// Low bit: whether the application was what limited the sender. The next 15 bits: bytes in flight with the segment, in
    /// units of 256. The high half: bytes that had been lost, in units of 64, modulo 2^16.
    packed: u32,
}

impl Stamp {
    pub(crate) const ZERO: Stamp = Stamp { delivered: 0, delivered_at: 0, first_sent: 0, packed: 0 };

    /// The stamp as a segment record holds it.
    #[inline]
    pub(crate) fn words(self) -> [u32; 4] {
        [self.delivered, self.delivered_at, self.first_sent, self.packed]
    }

    /// The stamp that [`words`](Stamp::words) has taken apart.
    #[inline]
    pub(crate) fn from_words([delivered, delivered_at, first_sent, packed]: [u32; 4]) -> Self {
        Stamp { delivered, delivered_at, first_sent, packed }
    }

    pub(crate) fn is_app_limited(self) -> bool {
        self.packed & 1 != 0
    }

    /// Bytes in flight just after the segment was sent, itself included.
    pub(crate) fn in_flight(self) -> u32 {
        (self.packed >> 1 & 0x7fff) << 8
    }
}

/// A connection's counts of what was delivered and lost (the draft's per-connection state, "C.").
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    delivered: u32,
    delivered_at: u32,
    first_sent: u32,
    lost: u32,
    /// The bubble of an application that had nothing to send ends when `delivered` passes this.
    app_limited_until: Option<u32>,
    /// The last sample, for listings.
    last: Sample,
}

/// A sample in the making: the newest of the segments that one ACK has delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Newest {
    /// Its stamp and when it was sent.
    found: Option<(Stamp, u32)>,
}

/// What the network delivered between two moments about a round trip apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Bytes delivered.
    pub(crate) delivered: u32,
    /// The time that took: the longer of the times over which they were sent and acknowledged.
    pub(crate) interval: Duration,
    /// Bytes delivered in all, modulo 2^32, when the newest of the segments was sent.
    pub(crate) prior_delivered: u32,
    /// Bytes in flight when it was sent, itself included.
    pub(crate) tx_in_flight: u32,
    /// Bytes found lost since then.
    pub(crate) lost: u32,
    /// Whether the application was what limited the sender.
    pub(crate) is_app_limited: bool,
}

impl Sample {
    const NONE: Sample = Sample {
        delivered: 0,
        interval: Duration::ZERO,
        prior_delivered: 0,
        tx_in_flight: 0,
        lost: 0,
        is_app_limited: false,
    };

    /// Bytes a second.
    pub(crate) fn rate(&self) -> u64 {
        match self.interval.as_micros() {
            0 => 0,
            micros => u64::from(self.delivered) * 1_000_000 / micros,
        }
    }

    /// Whether its rate is at least that of `other`, which may have no interval.
    fn is_as_fast_as(&self, other: &Sample) -> bool {
        u64::from(self.delivered) * other.interval.as_micros() >= u64::from(other.delivered) * self.interval.as_micros()
    }
}

impl Rate {
    pub(crate) const NEW: Rate =
        Rate { delivered: 0, delivered_at: 0, first_sent: 0, lost: 0, app_limited_until: None, last: Sample::NONE };

    /// The last sample with an interval.
    pub(crate) fn last(&self) -> &Sample {
        &self.last
    }

    /// A segment of `len` bytes is sent while `flight` others are in flight; the stamp is its own until it is sent again.
    #[inline]
    pub(crate) fn on_sent(&mut self, now: Instant, flight: u32, len: u32) -> Stamp {
        if flight == 0 {
            // Nothing was on its way: the time before is no time of delivery.
            self.first_sent = clock(now);
            self.delivered_at = clock(now);
        }
        let in_flight = ((flight + len) >> 8).min(0x7fff);
        let lost = self.lost >> 6 & 0xffff;
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            packed: lost << 16 | in_flight << 1 | u32::from(self.app_limited_until.is_some()),
        }
    }

    /// The application has nothing more to send, the window is not full and nothing waits to be sent again.
    #[inline]
    pub(crate) fn on_app_limited(&mut self, flight: u32) {
        self.app_limited_until = Some(self.delivered.wrapping_add(flight));
    }

    /// Of a segment sent at `sent` ([`clock`]), `bytes` were newly delivered, cumulatively or selectively. Called for each that one ACK
    /// delivers, in any order, before [`sample`](Rate::sample).
    #[inline]
    pub(crate) fn on_delivered(&mut self, newest: &mut Newest, now: Instant, stamp: Stamp, sent: u32, bytes: u32) {
        self.delivered = self.delivered.wrapping_add(bytes);
        self.delivered_at = clock(now);
        if newest.found.is_none_or(|(_, other)| sent.wrapping_sub(other) as i32 >= 0) {
            newest.found = Some((stamp, sent));
        }
    }

    /// `bytes` were found lost.
    #[inline]
    pub(crate) fn on_lost(&mut self, bytes: u32) {
        self.lost = self.lost.wrapping_add(bytes);
    }

    /// Bytes found lost since the segment with this stamp was sent.
    pub(crate) fn lost_since(&self, stamp: Stamp) -> u32 {
        u32::from(((self.lost >> 6) as u16).wrapping_sub((stamp.packed >> 16) as u16)) << 6
    }

    /// The sample of one ACK, once all that it delivered is counted. None if it delivered nothing, or if the interval is
    /// shorter than `min_rtt`: an ACK of what was retransmitted may be the original's, and would promise too much.
    #[inline]
    pub(crate) fn sample(&mut self, newest: Newest, min_rtt: u32) -> Option<Sample> {
        let (stamp, sent) = newest.found?;
        if self.app_limited_until.is_some_and(|until| self.delivered.wrapping_sub(until) as i32 > 0) {
            self.app_limited_until = None;
        }
        self.first_sent = sent;
        let send_elapsed = sent.wrapping_sub(stamp.first_sent);
        let ack_elapsed = self.delivered_at.wrapping_sub(stamp.delivered_at);
        let interval = send_elapsed.max(ack_elapsed);
        if interval < min_rtt || interval == 0 {
            return None;
        }
        let sample = Sample {
            delivered: self.delivered.wrapping_sub(stamp.delivered),
            interval: Duration::from_micros(u64::from(interval)),
            prior_delivered: stamp.delivered,
            tx_in_flight: stamp.in_flight(),
            lost: self.lost_since(stamp),
            is_app_limited: stamp.is_app_limited(),
        };
        // As Linux lists it: a sample that the application limited counts if it shows more than is known.
        if !sample.is_app_limited || sample.is_as_fast_as(&self.last) {
            self.last = sample;
        }
        Some(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends segments of 1,000 bytes 1 ms apart; they arrive after `rtt` ms.
    fn paced(rate: &mut Rate, start: u64, count: u64, rtt: u64) -> Vec<Sample> {
        let mut stamps = Vec::new();
        let mut samples = Vec::new();
        for tick in start..start + count + rtt {
            let now = Instant::from_millis(tick);
            if tick >= start + rtt {
                let (stamp, sent) = stamps[(tick - start - rtt) as usize];
                let mut newest = Newest::default();
                rate.on_delivered(&mut newest, now, stamp, sent, 1_000);
                samples.extend(rate.sample(newest, 0));
            }
            if tick < start + count {
                let flight = 1_000 * (tick - start).min(rtt) as u32;
                stamps.push((rate.on_sent(now, flight, 1_000), clock(now)));
            }
        }
        samples
    }

    #[test]
    fn the_rate_of_delivery_is_that_of_the_network() {
        let mut rate = Rate::NEW;
        let samples = paced(&mut rate, 5, 100, 20);
        for sample in &samples[25..] {
            assert_eq!((sample.rate(), sample.interval), (1_000_000, Duration::from_millis(20)));
        }
        assert_eq!(samples.last().map(|sample| sample.lost), Some(0));
        assert_eq!(rate.delivered, 100_000);
    }

    #[test]
    fn counters_and_clock_wrap() {
        let before = u64::from(u32::MAX) / 1_000 - 10;
        let mut rate = Rate { delivered: u32::MAX - 20_000, lost: u32::MAX - 100, ..Rate::NEW };
        for sample in &paced(&mut rate, before, 100, 20)[25..] {
            assert_eq!(sample.rate(), 1_000_000);
        }
        let stamp = rate.on_sent(Instant::ZERO, 0, 1_000);
        rate.on_lost(6_400);
        assert_eq!(rate.lost_since(stamp), 6_400);
    }

    #[test]
    fn the_time_before_a_flight_does_not_count() {
        let mut rate = Rate::NEW;
        paced(&mut rate, 0, 10, 5);
        let samples = paced(&mut rate, 10_000, 10, 5);
        assert!(samples.iter().all(|sample| sample.interval <= Duration::from_millis(10)), "{samples:?}");
    }

    #[test]
    fn an_application_that_was_the_limit_is_noted_until_that_is_delivered() {
        let mut rate = Rate::NEW;
        let first = rate.on_sent(Instant::ZERO, 0, 1_000);
        rate.on_app_limited(1_000);
        let second = rate.on_sent(Instant::from_millis(1), 1_000, 1_000);
        assert!(!first.is_app_limited() && second.is_app_limited());
        assert_eq!(second.in_flight(), 1_792, "in units of 256 bytes");
        for (at, stamp, limited) in [(10, first, false), (11, second, true)] {
            let mut newest = Newest::default();
            rate.on_delivered(
                &mut newest,
                Instant::from_millis(at),
                stamp,
                clock(Instant::from_millis(at - 10)),
                1_000,
            );
            assert_eq!(rate.sample(newest, 0).map(|sample| sample.is_app_limited), Some(limited));
        }
        assert!(!rate.on_sent(Instant::from_millis(12), 0, 1_000).is_app_limited());
    }
}
