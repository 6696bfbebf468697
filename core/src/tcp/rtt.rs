//! Round-trip time and retransmission timeout (RFC 6298).

use crate::config::TcpConfig;
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};

/// RFC 6298 §5.7: "the RTO MUST be re-initialized to 3 seconds when data transmission begins".
const AFTER_REPEATED_HANDSHAKE: Duration = Duration::from_secs(3);

/// The smallest round trip is that of the last five minutes, as in Linux: the path may have changed before.
const MIN_RTT_WINDOW: u32 = 300;

/// Estimates in microseconds. What is measured are segments that were sent once (Karn's algorithm, RFC 6298 §3), or the
/// echoes of timestamps.
#[derive(Clone, Debug)]
pub(crate) struct RttEstimator {
    /// Eight times SRTT, 0 before the first measurement.
    srtt_8: u32,
    /// Four times the smoothed deviation: what RFC 6298 adds to SRTT.
    deviation_4: u32,
    /// The largest of these in this round trip, and not below the least timeout.
    largest: u32,
    /// What is added to SRTT. It grows at once and shrinks once in a round trip: with measurements by every ACK, RTTVAR would
    /// forget much faster than the RFC meant it to (RFC 7323 appendix G).
    variation: u32,
    /// The round trip ends when this is acknowledged.
    round_end: Seq,
    /// How often the timeout was doubled since the last measurement (RFC 6298 §5.5).
    backoff: u8,
    /// The handshake was sent twice, so that nothing is known of the path but that it may be slow.
    handshake_repeated: bool,
    /// When the SYN was sent, if once only.
    syn_sent: Option<Instant>,
    /// The smallest round trip, `u32::MAX` before the first measurement.
    min: u32,
    /// When it was measured, in seconds.
    min_at: u32,
}

impl RttEstimator {
    pub(crate) const NEW: RttEstimator = RttEstimator {
        srtt_8: 0,
        deviation_4: 0,
        largest: 0,
        variation: 0,
        round_end: Seq(0),
        backoff: 0,
        handshake_repeated: false,
        syn_sent: None,
        min: u32::MAX,
        min_at: 0,
    };

    /// The smoothed round-trip time, once measured.
    pub(crate) fn srtt(&self) -> Option<Duration> {
        (self.srtt_8 != 0).then(|| Duration::from_micros(u64::from(self.srtt_micros())))
    }

    /// The smoothed round-trip time in microseconds, 0 before the first measurement.
    #[inline]
    pub(crate) fn srtt_micros(&self) -> u32 {
        self.srtt_8 >> 3
    }

    /// The smallest round-trip time of the last minutes in microseconds, `u32::MAX` before the first measurement.
    #[inline]
    pub(crate) fn min_rtt(&self) -> u32 {
        self.min
    }

    /// The variation of the round-trip time.
    pub(crate) fn rttvar(&self) -> Duration {
        Duration::from_micros(u64::from(self.deviation_4 >> 2))
    }

    /// The retransmission timeout: SRTT and its variation, which is at least `min_rto`, backed off, at most `max_rto`.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(crate) fn rto(&self, config: &TcpConfig) -> Duration {
        let timeout = self.timeout(config).backed_off(u32::from(self.backoff));
        let is_first = self.srtt_8 == 0 && self.backoff == 0;
        let slop = if is_first { Duration::ZERO } else { config.manner.rexmit_slop() };
        (timeout + slop).min(config.max_rto)
    }

    /// The same without back-off.
    #[inline]
    pub(crate) fn timeout(&self, config: &TcpConfig) -> Duration {
        let timeout = match self.srtt() {
            None if self.handshake_repeated => config.initial_rto.max(AFTER_REPEATED_HANDSHAKE),
            None => config.initial_rto,
            Some(srtt) => srtt + Duration::from_micros(u64::from(self.variation)).max(config.min_rto),
        };
        timeout.min(config.max_rto)
    }

    /// RFC 6298 §5.5: the timer expired, the timeout doubles.
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
        self.syn_sent = None;
    }

    /// RFC 6069 §5.1: takes back one doubling; false if there is none.
    pub(crate) fn revert_back_off(&mut self) -> bool {
        let backed_off = self.backoff > 0;
        self.backoff -= u8::from(backed_off);
        backed_off
    }

    /// The handshake is over; `repeated` if its timer expired in between (RFC 6298 §5.7).
    pub(crate) fn established(&mut self, repeated: bool) {
        self.backoff = 0;
        self.handshake_repeated = repeated;
    }

    /// The SYN is sent for the first time.
    pub(crate) fn syn_sent(&mut self, now: Instant) {
        self.syn_sent = Some(now);
    }

    /// The SYN is acknowledged. False if it was sent again: then only timestamps can tell the round trip.
    pub(crate) fn syn_acknowledged(&mut self, now: Instant, config: &TcpConfig, flight: (Seq, Seq)) -> bool {
        let Some(sent) = self.syn_sent.take() else { return false };
        let rtt = now.since(sent);
        self.measured(now, config, flight, (rtt, rtt));
        true
    }

    /// RFC 6298 §2.2 and §2.3, as Linux has them. Of the segments that an ACK has measured, the first time is the round trip of the
    /// first, delayed acknowledgment included, and the other that of the last; `flight` is from SND.UNA to SND.NXT. A round trip of 0 µs
    /// counts as 1 µs, so that "measured" can be told. Only a measurement ends the back-off (Karn): on a path that has become slower,
    /// nothing would ever be measured otherwise.
    #[inline]
    pub(crate) fn measured(
        &mut self,
        now: Instant,
        config: &TcpConfig,
        (una, nxt): (Seq, Seq),
        (rtt, newest): (Duration, Duration),
    ) {
        self.backoff = 0;
        let limit = |rtt: Duration| rtt.as_micros().clamp(1, u64::from(u32::MAX) / 16) as u32;
        let (rtt, newest) = (limit(rtt), limit(newest));
        let seconds = now.as_secs() as u32;
        if newest <= self.min || seconds.wrapping_sub(self.min_at) > MIN_RTT_WINDOW {
            (self.min, self.min_at) = (newest, seconds);
        }
        let least = limit(config.min_rto);
        if self.srtt_8 == 0 {
            self.srtt_8 = rtt << 3;
            self.deviation_4 = rtt << 1;
            self.variation = self.deviation_4.max(least);
            (self.largest, self.round_end) = (self.variation, nxt);
            return;
        }
        let srtt = self.srtt_8 >> 3;
        self.srtt_8 = (self.srtt_8 - srtt + rtt).max(8);
        let smoothed = self.deviation_4 >> 2;
        let deviation = srtt.abs_diff(rtt);
        // A round trip that has become shorter is no reason to wait longer.
        let growth = deviation.saturating_sub(smoothed) >> if rtt < srtt { 3 } else { 0 };
        self.deviation_4 = self.deviation_4 - smoothed.saturating_sub(deviation) + growth;
        self.largest = self.largest.max(self.deviation_4);
        self.variation = self.variation.max(self.largest);
        if una > self.round_end {
            self.variation -= (self.variation - self.largest) >> 2;
            (self.largest, self.round_end) = (least, nxt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_timeout_follows_rfc_6298() {
        let config = TcpConfig::default();
        let mut rtt = RttEstimator::NEW;
        assert_eq!(rtt.rto(&config), ms(1_000), "§2.1");
        let measured = |rtt: &mut RttEstimator, una: u32, millis| {
            rtt.measured(Instant::ZERO, &config, (Seq(una), Seq(una + 10)), (ms(millis), ms(millis)));
            rtt.rto(&config)
        };
        assert_eq!(measured(&mut rtt, 0, 400), ms(400 + 4 * 200), "§2.2");
        for _ in 0..100 {
            assert_eq!(measured(&mut rtt, 5, 400), ms(1_200), "within a round trip nothing is forgotten");
        }
        let after = [11, 22, 33].map(|una| measured(&mut rtt, una, 400));
        let expected = [1_200_000, 1_050_000, 937_500].map(Duration::from_micros);
        assert_eq!(after, expected, "a quarter of the difference for each of those after");
        for una in 4..40 {
            measured(&mut rtt, 11 * una, 400);
        }
        assert!(rtt.rto(&config) <= ms(601), "the variation dies out, the floor stays");
        rtt.back_off();
        rtt.back_off();
        assert!(rtt.rto(&config) >= ms(2_396), "§5.5");
        for _ in 0..200 {
            rtt.back_off();
        }
        assert_eq!(rtt.rto(&config), config.max_rto);
    }

    #[test]
    fn a_repeated_syn_is_not_measured() {
        let mut rtt = RttEstimator::NEW;
        rtt.syn_sent(Instant::ZERO);
        rtt.back_off();
        let config = TcpConfig::default();
        assert!(!rtt.syn_acknowledged(Instant::from_millis(5_000), &config, (Seq(0), Seq(1))));
        assert_eq!(rtt.srtt(), None);
        rtt.syn_sent(Instant::from_millis(6_000));
        assert!(rtt.syn_acknowledged(Instant::from_millis(6_030), &config, (Seq(0), Seq(1))));
        assert_eq!(rtt.srtt(), Some(ms(30)));
    }

    #[test]
    fn the_smallest_round_trip_is_forgotten_after_minutes() {
        let mut rtt = RttEstimator::NEW;
        for (at, measured, expected) in [(0, 20, 20), (200, 50, 20), (299, 30, 20), (301, 40, 40), (302, 35, 35)] {
            let config = TcpConfig::default();
            rtt.measured(Instant::from_secs(at), &config, (Seq(0), Seq(1)), (ms(measured), ms(measured)));
            assert_eq!(rtt.min_rtt(), expected * 1_000);
        }
    }
}
