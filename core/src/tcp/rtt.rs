//! Round-trip time and retransmission timeout (RFC 6298).

use crate::config::TcpConfig;
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};

/// RFC 6298 §5.7: "the RTO MUST be re-initialized to 3 seconds when data transmission begins".
const AFTER_REPEATED_HANDSHAKE: Duration = Duration::from_secs(3);

/// Smoothed estimates in microseconds, and the segment being timed.
///
/// One segment is timed at a time, and none that was sent twice (Karn's algorithm, RFC 6298 §3).
#[derive(Clone, Debug)]
pub(crate) struct RttEstimator {
    /// 0 before the first measurement.
    srtt: u32,
    rttvar: u32,
    /// How often the timeout was doubled since the last measurement (RFC 6298 §5.5).
    backoff: u8,
    /// The handshake was sent twice, so that nothing is known of the path but that it may be slow.
    handshake_repeated: bool,
    timed: Option<(Seq, Instant)>,
}

impl RttEstimator {
    pub(crate) fn new() -> Self {
        RttEstimator { srtt: 0, rttvar: 0, backoff: 0, handshake_repeated: false, timed: None }
    }

    /// The smoothed round-trip time, once measured.
    pub(crate) fn srtt(&self) -> Option<Duration> {
        (self.srtt != 0).then(|| Duration::from_micros(u64::from(self.srtt)))
    }

    /// The variation of the round-trip time.
    pub(crate) fn rttvar(&self) -> Duration {
        Duration::from_micros(u64::from(self.rttvar))
    }

    /// The retransmission timeout: `SRTT + max(4·RTTVAR, min_rto)`, backed off, at most `max_rto`.
    #[inline]
    pub(crate) fn rto(&self, config: &TcpConfig) -> Duration {
        let base = match self.srtt() {
            None if self.handshake_repeated => config.initial_rto.max(AFTER_REPEATED_HANDSHAKE),
            None => config.initial_rto,
            Some(srtt) => srtt + Duration::from_micros(4 * u64::from(self.rttvar)).max(config.min_rto),
        };
        base.min(config.max_rto).backed_off(u32::from(self.backoff)).min(config.max_rto)
    }

    /// RFC 6298 §5.5: the timer expired, the timeout doubles.
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
        self.timed = None;
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

    /// A segment that ends at `end` is sent for the first time.
    #[inline]
    pub(crate) fn sent(&mut self, end: Seq, now: Instant) {
        if self.timed.is_none() {
            self.timed = Some((end, now));
        }
    }

    /// Something is sent again: no acknowledgment tells any more which transmission it is about.
    pub(crate) fn retransmitted(&mut self) {
        self.timed = None;
    }

    /// Everything below `ack` is acknowledged. False if nothing was being timed, since something was sent again: then only
    /// timestamps can tell the round trip.
    #[inline]
    pub(crate) fn acknowledged(&mut self, ack: Seq, now: Instant) -> bool {
        let Some((end, sent)) = self.timed else { return false };
        if ack >= end {
            self.timed = None;
            self.measured(now.since(sent));
        }
        true
    }

    /// RFC 6298 §2.2 and §2.3. A round trip of 0 µs counts as 1 µs, so that "measured" can be told. Only a measurement
    /// ends the back-off (Karn): on a path that has become slower, nothing would ever be measured otherwise.
    #[inline]
    pub(crate) fn measured(&mut self, rtt: Duration) {
        self.backoff = 0;
        let rtt = rtt.as_micros().clamp(1, u64::from(u32::MAX) / 8) as u32;
        if self.srtt == 0 {
            self.srtt = rtt;
            self.rttvar = rtt / 2;
        } else {
            let deviation = self.srtt.abs_diff(rtt);
            self.rttvar = self.rttvar - self.rttvar / 4 + deviation / 4;
            self.srtt = (self.srtt - self.srtt / 8 + rtt / 8).max(1);
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
        let mut rtt = RttEstimator::new();
        assert_eq!(rtt.rto(&config), ms(1_000), "§2.1");
        rtt.measured(ms(400));
        assert_eq!(rtt.rto(&config), ms(400 + 4 * 200), "§2.2");
        for _ in 0..100 {
            rtt.measured(ms(400));
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
    fn a_retransmitted_segment_is_not_measured() {
        let mut rtt = RttEstimator::new();
        rtt.sent(Seq(100), Instant::ZERO);
        rtt.retransmitted();
        rtt.acknowledged(Seq(100), Instant::from_millis(5_000));
        assert_eq!(rtt.srtt(), None);
        rtt.sent(Seq(200), Instant::from_millis(6_000));
        rtt.acknowledged(Seq(150), Instant::from_millis(6_010));
        assert_eq!(rtt.srtt(), None);
        rtt.acknowledged(Seq(200), Instant::from_millis(6_030));
        assert_eq!(rtt.srtt(), Some(ms(30)));
    }
}
