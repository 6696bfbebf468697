//! How much of the congestion window is used, and what becomes of one that is not.
//!
//! A window that was not used was not tested and does not grow (RFC 5681 §3.1, RFC 7661 §4); what counts as used is as in
//! Linux. What an unused window is worth later is [`UnusedWindow`]'s choice.

use super::{Window, initial_cwnd};
use crate::tcp::congestion::AckSample;
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};

/// What becomes of a congestion window that the application does not use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnusedWindow {
    /// RFC 7661: it is kept for five minutes, but a loss reduces it to half of what was really used.
    #[default]
    Validated,
    /// RFC 2861 and RFC 5681 §4.1, as Linux has them: it halves for each retransmission timeout of silence, down to the initial
    /// window, and shrinks towards what is used otherwise.
    Decays,
    /// It is kept, as with Linux's `tcp_slow_start_after_idle=0`.
    Kept,
}

/// RFC 7661 §4.4.3: how long a window is kept that is not validated (the NVP).
const NON_VALIDATED_PERIOD: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    policy: UnusedWindow,
    /// In segments, for what the window falls back to.
    initial_window: u8,
    /// Within the last window of data, cwnd was what held the sender back.
    limited: bool,
    /// Less than half of the window was used, `unvalidated_since` (RFC 7661 §4.2).
    unvalidated: bool,
    /// The most bytes outstanding in that window of data, each segment counted as a full one.
    most: u32,
    /// SND.NXT when that was noted; it holds until this is acknowledged.
    until: Seq,
    /// Validated: pipeACK (RFC 7661 §4.2), the most bytes acknowledged in a round trip, in this sampling period. Decays: the
    /// most bytes outstanding since cwnd was full.
    peak: u32,
    /// The same in the sampling period before.
    prior_peak: u32,
    /// When the period began, or cwnd was full last: milliseconds, modulo 2^32.
    since: u32,
    /// Since when the window is not validated, in the same unit.
    unvalidated_since: u32,
}

impl Usage {
    pub(super) const fn new(policy: UnusedWindow, initial_window: u8, iss: Seq) -> Self {
        Usage {
            policy,
            initial_window,
            limited: false,
            unvalidated: false,
            most: 0,
            until: iss,
            peak: 0,
            prior_peak: 0,
            since: 0,
            unvalidated_since: 0,
        }
    }

    /// Nothing was sent yet.
    pub(super) fn begin(&mut self, policy: UnusedWindow, initial_window: u8, iss: Seq) {
        (self.policy, self.initial_window, self.until) = (policy, initial_window, iss);
    }

    pub(super) fn initial_cwnd(&self, mss: u32) -> u32 {
        initial_cwnd(mss, self.initial_window)
    }

    /// New data was sent; `full` if cwnd has no room for another segment.
    #[inline]
    pub(super) fn sent(&mut self, una: Seq, nxt: Seq, outstanding: u32, full: bool) {
        if full || una >= self.until || (!self.limited && outstanding > self.most) {
            (self.limited, self.most, self.until) = (full, outstanding, nxt);
        }
    }

    #[inline]
    pub(super) fn held_back(&mut self, nxt: Seq, outstanding: u32) {
        (self.limited, self.most, self.until) = (true, outstanding, nxt);
    }

    /// Whether the window may grow. Half of it used is enough in slow start: the application may have the rest
    /// ready next time.
    #[inline]
    pub(super) fn may_grow(&self, window: &Window) -> bool {
        self.limited || (window.in_slow_start() && window.cwnd < 2 * self.most)
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limited
    }

    pub(super) fn decays(&self) -> bool {
        self.policy == UnusedWindow::Decays
    }

    /// RFC 2861 §3.2: after a retransmission timeout during which cwnd was never full, it moves half-way to what was used.
    pub(super) fn decay(&mut self, window: &mut Window, mss: u32, now: Instant, rto: Duration) {
        let now = millis(now);
        if self.may_grow(window) {
            (self.peak, self.since) = (0, now);
            return;
        }
        self.peak = self.peak.max(self.most);
        if now.wrapping_sub(self.since) >= rto.as_millis() as u32 {
            let used = self.peak.max(self.initial_cwnd(mss));
            if used < window.cwnd {
                window.ssthresh = window.remembered_ssthresh();
                window.cwnd = used + (window.cwnd - used) / 2;
            }
            (self.peak, self.since) = (0, now);
        }
    }

    /// An ACK has come: once a window of data is acknowledged, what it held was acknowledged in about a round trip.
    #[inline]
    pub(super) fn acknowledged(&mut self, window: &mut Window, sample: &AckSample) {
        if self.policy == UnusedWindow::Validated && sample.una >= self.until && sample.acked > 0 {
            self.validate(window, sample);
        }
    }

    fn validate(&mut self, window: &mut Window, sample: &AckSample) {
        let now = millis(sample.now);
        // RFC 7661 §4.3: the pipeACK sampling period.
        let period = (3 * sample.srtt.as_millis()).max(1_000) as u32;
        if now.wrapping_sub(self.since) > period {
            (self.prior_peak, self.peak, self.since) = (self.peak, 0, now);
        }
        self.peak = self.peak.max(self.most);
        let was_unvalidated = self.unvalidated;
        self.unvalidated = !self.is_validated(window);
        if !was_unvalidated {
            self.unvalidated_since = now;
        } else if self.unvalidated
            && now.wrapping_sub(self.unvalidated_since) >= NON_VALIDATED_PERIOD.as_millis() as u32
        {
            self.unvalidated_since = now;
            self.give_up_half(window, sample.mss);
        }
    }

    /// RFC 7661 §4.2: whether at least half of the window was used of late.
    fn is_validated(&self, window: &Window) -> bool {
        let pipe = self.peak.max(self.prior_peak);
        // 0 as long as nothing was measured.
        pipe == 0 || pipe >= window.cwnd / 2
    }

    /// RFC 7661 §4.4.3.
    fn give_up_half(&self, window: &mut Window, mss: u32) {
        window.ssthresh = window.remembered_ssthresh();
        window.cwnd = (window.cwnd / 2).max(self.initial_cwnd(mss)).min(window.cwnd);
    }

    /// The window that a reduction starts from: RFC 7661 §4.4.1 takes what was used if that was less than half.
    pub(super) fn tested(&self, window: &Window) -> u32 {
        if self.policy != UnusedWindow::Validated || self.is_validated(window) {
            return window.cwnd;
        }
        self.peak.max(self.prior_peak).max(self.most).min(window.cwnd)
    }

    /// Nothing was sent for `idle`, and now something will be.
    pub(super) fn resumes(
        &mut self,
        window: &mut Window,
        mss: u32,
        now: Instant,
        idle: Duration,
        rto: impl FnOnce() -> Duration,
    ) {
        match self.policy {
            UnusedWindow::Kept => {}
            UnusedWindow::Validated => {
                for _ in 0..(idle.as_micros() / NON_VALIDATED_PERIOD.as_micros()).min(32) {
                    self.give_up_half(window, mss);
                }
            }
            UnusedWindow::Decays => {
                let rto = rto();
                if idle <= rto {
                    return;
                }
                let restart = self.initial_cwnd(mss).min(window.cwnd);
                let periods = idle.as_micros().saturating_sub(1) / rto.as_micros().max(1);
                window.ssthresh = window.remembered_ssthresh();
                window.cwnd = (window.cwnd >> periods.min(31)).max(restart);
                (self.peak, self.since) = (0, millis(now));
            }
        }
    }
}

/// The clock of what lasts longer than a round trip: milliseconds, modulo 2^32.
#[inline]
pub(super) fn millis(now: Instant) -> u32 {
    now.as_millis() as u32
}

#[cfg(test)]
mod tests {
    use super::super::tests::ack;
    use super::*;

    const MSS: u32 = 1_000;

    fn window(cwnd: u32) -> Window {
        Window { cwnd, ..Window::new(cwnd) }
    }

    #[test]
    fn half_a_window_used_lets_slow_start_go_on() {
        let mut usage = Usage::new(UnusedWindow::Kept, 10, Seq(0));
        usage.sent(Seq(0), Seq(9_000), Seq(9_000) - Seq(0), false);
        assert!(usage.may_grow(&window(16_000)));
        assert!(!usage.may_grow(&window(18_000)));
        assert!(!usage.may_grow(&Window { ssthresh: 9_000, ..window(10_000) }), "not in congestion avoidance");
        usage.held_back(Seq(9_000), 9_000);
        assert!(usage.may_grow(&Window { ssthresh: 9_000, ..window(10_000) }));
    }

    #[test]
    fn silence_halves_a_window_that_decays_for_each_timeout() {
        let idle = |millis: u64| {
            let (mut usage, mut window) = (Usage::new(UnusedWindow::Decays, 10, Seq(0)), window(100_000));
            let rto = Duration::from_millis(300);
            usage.resumes(&mut window, MSS, Instant::ZERO, Duration::from_millis(millis), || rto);
            (window.cwnd, window.ssthresh)
        };
        assert_eq!(idle(300), (100_000, u32::MAX));
        assert_eq!(idle(301), (50_000, u32::MAX));
        assert_eq!(idle(601).0, 25_000);
        assert_eq!(idle(100_000).0, 10_000, "the initial window");
    }

    #[test]
    fn what_is_hardly_used_shrinks_towards_its_use_or_keeps_until_it_is_lost() {
        let mut small = window(100_000);
        let mut usage = Usage::new(UnusedWindow::Decays, 10, Seq(0));
        usage.sent(Seq(0), Seq(20_000), Seq(20_000) - Seq(0), false);
        usage.decay(&mut small, MSS, Instant::from_millis(400), Duration::from_millis(300));
        assert_eq!(small.cwnd, 60_000);

        let mut kept = window(100_000);
        let mut usage = Usage::new(UnusedWindow::Validated, 10, Seq(0));
        assert_eq!(usage.tested(&kept), 100_000, "nothing is known yet");
        for second in 0..3 {
            usage.sent(
                Seq(20_000 * second),
                Seq(20_000 * (second + 1)),
                Seq(20_000 * (second + 1)) - Seq(20_000 * second),
                false,
            );
            let now = Instant::from_secs(u64::from(second));
            usage.acknowledged(&mut kept, &AckSample { now, una: Seq(20_000 * (second + 1)), ..ack(20_000) });
        }
        assert_eq!((kept.cwnd, usage.tested(&kept)), (100_000, 20_000));
    }

    #[test]
    fn five_minutes_without_validation_halve_the_window() {
        let (mut usage, mut window) = (Usage::new(UnusedWindow::Validated, 10, Seq(0)), window(100_000));
        for second in 0..=300 {
            usage.sent(
                Seq(1_000 * second),
                Seq(1_000 * (second + 1)),
                Seq(1_000 * (second + 1)) - Seq(1_000 * second),
                false,
            );
            let now = Instant::from_secs(u64::from(second));
            usage.acknowledged(&mut window, &AckSample { now, una: Seq(1_000 * (second + 1)), ..ack(1_000) });
        }
        assert_eq!(window.cwnd, 50_000);
        usage.resumes(&mut window, MSS, Instant::ZERO, Duration::from_secs(601), || Duration::from_secs(1));
        assert_eq!(window.cwnd, 12_500);
    }
}
