//! CUBIC (RFC 9438) in integers.
//!
//! The curve `W(t) = C·(t - K)³ + W_max` is computed in whole segments and milliseconds: `C` = 0.4 segments/s³ makes it
//! `2·(t - K)³ / 5·10⁹`. The window then grows by a segment for so many bytes acknowledged as reach the curve within a round trip, as in
//! Linux, whose windows ours equal segment for segment but for the Reno-friendly region, where ours follow RFC 9438 §4.3 over short round
//! trips too. The clock is milliseconds modulo 2^32; `t` is held at [`MAX_TIME`], long before that wraps.

use super::hystart::{HyStart, SlowStartExit};
use super::usage::millis;
use super::{AckSample, Cause, Window, grow, slow_start};
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};

/// `t` in milliseconds beyond which the curve is taken for infinite: its cube still fits 64 bits.
const MAX_TIME: u32 = 1 << 20;
/// How long the rate of growth is used at most before it is computed again, in milliseconds, if the window stays: as long as in Linux, but
/// no more than a third of a round trip, or short ones would hardly grow.
const REFRESH: u32 = 32;
/// Before the first loss the window grows by a segment for so many acknowledged, or faster.
const UNKNOWN_PATH: u32 = 20;
/// RFC 9438 §4.6: β_cubic = 0.7, in 1,024ths.
const BETA: u32 = 717;

/// Sizes are in segments unless bytes are named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cubic {
    curve: Curve,
    /// The curve before the last reduction (RFC 9438 §4.9.2).
    undo: Curve,
    /// Segments to be acknowledged for each that the window grows by.
    per_segment: u32,
    /// When and for which window that was computed.
    computed_at: u32,
    computed_for: u32,
    /// Bytes acknowledged since the window grew last.
    counted: u32,
    /// Bytes acknowledged since Reno's window grew last.
    reno_counted: u32,
    /// The shortest round trip, in microseconds, 0 before the first.
    min_rtt: u32,
    hystart: HyStart,
}

#[derive(Clone, Copy, Debug)]
struct Curve {
    /// The window before the last reduction, 0 if there was none since the last timeout.
    w_max: u32,
    /// Where the plateau lies: W_max, or the window when the epoch began if that was larger.
    origin: u32,
    /// When the plateau is reached, in milliseconds of the epoch.
    k: u32,
    /// When the epoch began, in milliseconds of the clock; none before the first acknowledgment in congestion avoidance.
    start: Option<u32>,
    /// Reno's window had it begun the epoch with ours (W_est).
    w_est: u32,
}

impl Curve {
    const NONE: Curve = Curve { w_max: 0, origin: 0, k: 0, start: None, w_est: 0 };
}

impl Cubic {
    pub(super) const fn new(exit: SlowStartExit, nxt: Seq) -> Self {
        Cubic {
            curve: Curve::NONE,
            undo: Curve::NONE,
            per_segment: 0,
            computed_at: 0,
            computed_for: 0,
            counted: 0,
            reno_counted: 0,
            min_rtt: 0,
            hystart: HyStart::new(exit, nxt),
        }
    }

    /// Nothing was sent yet.
    pub(super) fn begin(&mut self, exit: SlowStartExit, nxt: Seq) {
        self.hystart.begin(exit, nxt);
    }

    /// `bytes` of the sample count for growth, if `may_grow`.
    #[inline]
    pub(super) fn acknowledged(&mut self, window: &mut Window, sample: &AckSample, bytes: u32, may_grow: bool) {
        let mut divisor = 1;
        if let Some(rtt) = sample.rtt {
            divisor = self.measured(window, sample, rtt);
        }
        if !may_grow {
            return;
        }
        let mut bytes = bytes;
        if window.in_slow_start() {
            bytes = slow_start(window, bytes / divisor);
            if bytes == 0 {
                return;
            }
        }
        let (cwnd, prior) = (window.cwnd / sample.mss, window.prior_cwnd / sample.mss);
        self.update(cwnd, prior, sample.mss, millis(sample.now), bytes);
        grow(window, &mut self.counted, self.per_segment.saturating_mul(sample.mss), bytes, sample.mss);
    }

    fn measured(&mut self, window: &mut Window, sample: &AckSample, rtt: Duration) -> u32 {
        // Right after recovery round trips tell of the queue that it has left.
        if self.curve.start.is_some_and(|start| millis(sample.now).wrapping_sub(start) < 1_000) {
            return 1;
        }
        let rtt = rtt.as_micros().clamp(1, u64::from(u32::MAX)) as u32;
        if self.min_rtt == 0 || rtt < self.min_rtt {
            self.min_rtt = rtt;
        }
        if window.in_slow_start() { self.hystart.acknowledged(window, sample, rtt, self.min_rtt) } else { 1 }
    }

    /// RFC 9438 §4.2 to §4.5: computes how many segments must be acknowledged for one of growth; `prior` is the window before the
    /// last reduction.
    fn update(&mut self, cwnd: u32, prior: u32, mss: u32, now: u32, bytes: u32) {
        self.reno_counted = self.reno_counted.saturating_add(bytes);
        let fresh = now.wrapping_sub(self.computed_at);
        if self.curve.start.is_some() && self.computed_for == cwnd && fresh < REFRESH.min(self.min_rtt / 3_000) {
            return;
        }
        if self.curve.start.is_none() || fresh != 0 {
            (self.computed_at, self.computed_for) = (now, cwnd);
            if self.curve.start.is_none() {
                self.curve.begin(cwnd, now);
                self.reno_counted = bytes;
            }
            // RFC 9438 §4.2: where the curve will be in a round trip.
            let target = self.curve.at(now, self.min_rtt / 1_000);
            self.per_segment = match target.saturating_sub(cwnd) {
                0 => cwnd.saturating_mul(100),
                gap => cwnd / gap,
            };
            if self.curve.w_max == 0 {
                self.per_segment = self.per_segment.min(UNKNOWN_PATH);
            }
        }
        // RFC 9438 §4.3, the Reno-friendly region: a window acknowledged is worth 3·(1 - β)/(1 + β) segments, that is 8/15; a whole one
        // once W_est has reached the window of the last reduction.
        loop {
            let step = if self.curve.w_est >= prior { cwnd } else { cwnd * 15 / 8 }.max(1).saturating_mul(mss);
            if self.reno_counted <= step {
                break;
            }
            self.reno_counted -= step;
            self.curve.w_est += 1;
        }
        if let gap @ 1.. = self.curve.w_est.saturating_sub(cwnd) {
            self.per_segment = self.per_segment.min(cwnd / gap);
        }
        // RFC 9438 §4.4: no more than half as much again in a round trip.
        self.per_segment = self.per_segment.max(2);
    }

    /// RFC 9438 §4.6 and, for fast convergence, §4.7; `cwnd` in bytes. Returns the threshold in bytes.
    pub(super) fn threshold(&mut self, cwnd: u32, mss: u32, cause: Cause) -> u32 {
        let cwnd = cwnd / mss;
        self.undo = self.curve;
        let w_max = if cwnd < self.curve.w_max { cwnd * (1_024 + BETA) / 2_048 } else { cwnd };
        self.curve = Curve { w_max, ..Curve::NONE };
        match cause {
            // RFC 8511 §3: a mark tells of a shorter queue than a loss does.
            Cause::Ecn { alternative: true } => cwnd * 17 / 20 * mss,
            _ => cwnd * BETA / 1_024 * mss,
        }
    }

    /// RFC 9438 §4.8: after a timeout the path is unknown again.
    pub(super) fn timeout(&mut self, nxt: Seq) {
        self.curve = Curve::NONE;
        (self.per_segment, self.computed_for, self.counted, self.min_rtt) = (0, 0, 0, 0);
        self.hystart.restart(nxt);
    }

    /// RFC 9438 §4.9.2: the reduction was for nothing.
    pub(super) fn undo(&mut self) {
        self.curve = self.undo;
    }

    /// RFC 9438 §5.8: time in which nothing was sent is none in which the window was tested.
    pub(super) fn resumes(&mut self, now: Instant, idle: Duration) {
        if let Some(start) = &mut self.curve.start {
            let age = millis(now).wrapping_sub(*start);
            *start = start.wrapping_add(age.min(idle.as_millis().min(u64::from(u32::MAX)) as u32));
        }
    }
}

impl Curve {
    fn begin(&mut self, cwnd: u32, now: u32) {
        self.start = Some(now);
        self.w_est = cwnd;
        self.origin = self.w_max.max(cwnd);
        // RFC 9438 §4.2, equation 2: K = ∛((W_max - cwnd) / C), here in milliseconds.
        self.k = cube_root(u64::from(self.origin - cwnd) * 2_500_000_000);
    }

    /// Equation 1 of RFC 9438 §4.2 `ahead` milliseconds after `now`.
    fn at(&mut self, now: u32, ahead: u32) -> u32 {
        let start = self.start.unwrap_or(now);
        let age = now.wrapping_sub(start);
        if age > MAX_TIME {
            self.start = Some(now.wrapping_sub(MAX_TIME));
        }
        let t = age.min(MAX_TIME).saturating_add(ahead).min(MAX_TIME);
        let offset = u64::from(t.abs_diff(self.k));
        let change = (2 * offset * offset * offset / 5_000_000_000) as u32;
        if t < self.k { self.origin.saturating_sub(change) } else { self.origin.saturating_add(change) }
    }
}

/// The cube root, rounded down.
fn cube_root(value: u64) -> u32 {
    let mut root = 0u64;
    for bit in (0..21).rev() {
        let candidate = root | 1 << bit;
        if candidate * candidate * candidate <= value {
            root = candidate;
        }
    }
    root as u32
}

#[cfg(test)]
mod tests {
    use super::super::tests::ack;
    use super::*;

    const MSS: u32 = 1_000;

    #[test]
    fn cube_roots_are_exact() {
        for root in [0u64, 1, 2, 9, 10, 1_000, 49_000, 2_097_151] {
            let cube = root * root * root;
            assert_eq!(u64::from(cube_root(cube)), root);
            assert_eq!(u64::from(cube_root(cube + 3 * root * root)), root);
            assert_eq!(u64::from(cube_root(cube.saturating_sub(1))), root.saturating_sub(1));
        }
    }

    #[test]
    fn the_curve_is_that_of_rfc_9438() {
        for (w_max, beta) in [(10, 0.7), (100, 0.7), (700, 0.7), (3_000, 0.5), (47_000, 0.7)] {
            let cwnd = (f64::from(w_max) * beta) as u32;
            let mut curve = Curve { w_max, ..Curve::NONE };
            // The clock wraps within the first second.
            let begin = u32::MAX - 500;
            curve.begin(cwnd, begin);
            let k = (f64::from(w_max - cwnd) / 0.4).cbrt();
            assert!((f64::from(curve.k) / 1_000.0 - k).abs() <= 0.001, "K {} of {k}", curve.k);
            for millis in (0..120_000).step_by(250) {
                let exact = 0.4 * (f64::from(millis) / 1_000.0 - k).powi(3) + f64::from(w_max);
                let ours = f64::from(curve.at(begin.wrapping_add(millis), 0));
                assert!((ours - exact).abs() <= 1.0 + exact / 1_000.0, "at {millis} ms: {ours}, not {exact}");
            }
        }
    }

    #[test]
    fn an_epoch_that_outlasts_the_clock_stays_at_its_end() {
        let mut curve = Curve { w_max: 100, ..Curve::NONE };
        curve.begin(70, 7);
        let mut last = 0;
        let mut now = 7u32;
        for _ in 0..100 {
            now = now.wrapping_add(100_000_000);
            let target = curve.at(now, 0);
            assert!(target >= last, "{target} after {last}");
            last = target;
        }
    }

    /// Round trips of `rtt` ms in which every segment of the window is acknowledged; returns the window in segments after each.
    fn rounds(cubic: &mut Cubic, window: &mut Window, now: &mut u64, rtt: u64, count: usize) -> Vec<u32> {
        (0..count)
            .map(|_| {
                let segments = window.cwnd / MSS;
                for segment in 0..segments {
                    let at =
                        Instant::from_micros(*now * 1_000 + u64::from(segment) * rtt * 1_000 / u64::from(segments));
                    let rtt = Some(Duration::from_millis(rtt));
                    cubic.acknowledged(window, &AckSample { now: at, rtt, ..ack(MSS) }, MSS, true);
                }
                *now += rtt;
                window.cwnd / MSS
            })
            .collect()
    }

    #[test]
    fn the_window_follows_the_curve_to_the_plateau_and_beyond() {
        let mut cubic = Cubic::new(SlowStartExit::Loss, Seq(0));
        let mut window = Window::new(1_000 * MSS);
        window.ssthresh = cubic.threshold(window.cwnd, MSS, Cause::Loss);
        window.cwnd = window.ssthresh;
        assert_eq!(window.cwnd, 700 * MSS);
        let mut now = 5_000;
        let windows = rounds(&mut cubic, &mut window, &mut now, 100, 200);
        let k = (300.0f64 / 0.4).cbrt();
        for (round, &ours) in windows.iter().enumerate() {
            // The window lags behind the target of a round trip ahead by about that round trip.
            let t = (round + 1) as f64 / 10.0;
            let exact = 0.4 * (t - k).powi(3) + 1_000.0;
            assert!((f64::from(ours) - exact).abs() < 0.04 * exact, "after {t} s: {ours}, not {exact}");
        }
    }

    /// A window of so many segments has just been reduced.
    fn reduced(segments: u32) -> (Cubic, Window) {
        let mut cubic = Cubic::new(SlowStartExit::Loss, Seq(0));
        let mut window = Window { prior_cwnd: segments * MSS, ..Window::new(segments * MSS) };
        window.ssthresh = cubic.threshold(window.cwnd, MSS, Cause::Loss);
        window.cwnd = window.ssthresh;
        (cubic, window)
    }

    #[test]
    fn short_round_trips_grow_as_fast_as_reno_would() {
        for (segments, rtt) in [(40, 5), (10, 1), (8, 10)] {
            let (mut cubic, mut window) = reduced(segments);
            // §4.3: 8/15 segments a round trip up to where the window was.
            let lost = segments - window.cwnd / MSS;
            let count = lost as usize * 15 / 8;
            let grown = rounds(&mut cubic, &mut window, &mut 0, rtt, count + 2);
            assert!((segments - 1..=segments + 1).contains(&grown[count]), "{segments} segments: {grown:?}");
        }
    }

    #[test]
    fn beyond_its_last_window_a_short_path_gets_a_segment_a_round_trip() {
        let (mut cubic, mut window) = reduced(10);
        let grown = rounds(&mut cubic, &mut window, &mut 0, 1, 60);
        let reached = grown.iter().position(|&segments| segments >= 10).expect("the window is reached again");
        assert_eq!(
            grown[reached + 40] - grown[reached],
            40,
            "§4.3: α is 1 once W_est has reached cwnd_prior: {grown:?}"
        );
    }

    #[test]
    fn a_flow_that_loses_below_its_plateau_makes_room() {
        let mut cubic = Cubic::new(SlowStartExit::Loss, Seq(0));
        cubic.threshold(100 * MSS, MSS, Cause::Loss);
        assert_eq!(cubic.curve.w_max, 100);
        cubic.threshold(80 * MSS, MSS, Cause::Loss);
        assert_eq!(cubic.curve.w_max, 68, "§4.7: 80·(1 + β)/2");
        cubic.undo();
        assert_eq!(cubic.curve.w_max, 100, "§4.9.2");
    }

    #[test]
    fn a_mark_reduces_less_than_a_loss_only_if_told_so() {
        let mut cubic = Cubic::new(SlowStartExit::Loss, Seq(0));
        assert_eq!(cubic.threshold(100 * MSS, MSS, Cause::Ecn { alternative: false }), 70 * MSS);
        assert_eq!(cubic.threshold(100 * MSS, MSS, Cause::Ecn { alternative: true }), 85 * MSS);
    }

    #[test]
    fn idle_time_is_no_time_of_the_curve() {
        let mut cubic = Cubic::new(SlowStartExit::Loss, Seq(0));
        cubic.curve = Curve { w_max: 100, ..Curve::NONE };
        cubic.curve.begin(70, 1_000);
        cubic.resumes(Instant::from_secs(100), Duration::from_secs(90));
        assert_eq!(cubic.curve.start, Some(91_000));
        cubic.resumes(Instant::from_secs(100), Duration::from_secs(90));
        assert_eq!(cubic.curve.start, Some(100_000), "never in the future");
    }
}
