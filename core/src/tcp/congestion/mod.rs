//! Congestion control: variants of one enum behind one interface.
//!
//! A [`Controller`] owns `cwnd` and `ssthresh`, both in bytes, and what every algorithm needs: how much of the window was
//! [used](Usage), and what a reduction that proves needless is taken back to. Each algorithm is a file of its own
//! and a variant of [`Variant`]. Loss detection, and what may be sent while the window is being reduced
//! (proportional rate reduction), are [`recovery`](crate::tcp::recovery)'s; BBR decides that for itself.
//!
//! One [`AckSample`] for each ACK says what it has told of the network. Between ACKs, [`reduce`](Controller::reduce) begins a
//! reduction, [`recovered`](Controller::recovered) ends it, [`timeout`](Controller::timeout) is the end of hope, and
//! [`undo`](Controller::undo) takes the last reduction back.

mod bbr;
mod cubic;
mod hystart;
mod newreno;
#[cfg(test)]
mod path;
mod usage;

pub use hystart::SlowStartExit;
pub use usage::UnusedWindow;

use bbr::Bbr;
use cubic::Cubic;
use newreno::NewReno;
use usage::Usage;

use crate::config::TcpConfig;

use crate::tcp::rate::{self, Rate, Stamp};
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};

/// A congestion control algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Reno's slow start and congestion avoidance (RFC 5681) with byte counting (RFC 3465).
    NewReno,
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// BBR version 3 (draft-ietf-ccwg-bbr), which paces what it sends.
    Bbr,
    /// None: the peer's window is the only limit, and losses change nothing. Only to show what congestion control is for; never on
    /// a network that others use.
    Unlimited,
}

impl Algorithm {
    /// The name under which Linux's `TCP_CONGESTION` knows the algorithm.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::NewReno => "reno",
            Algorithm::Cubic => "cubic",
            Algorithm::Bbr => "bbr",
            Algorithm::Unlimited => "unlimited",
        }
    }

    /// The algorithm of a name that [`name`](Algorithm::name) returns.
    pub fn from_name(name: &str) -> Option<Self> {
        [Algorithm::NewReno, Algorithm::Cubic, Algorithm::Bbr, Algorithm::Unlimited]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// Why the window is reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A segment was lost.
    Loss,
    /// The peer echoed a congestion mark (RFC 3168 §6.1.2).
    Ecn {
        /// With the smaller reduction of RFC 8511.
        alternative: bool,
    },
}

/// What one ACK tells a controller. Sizes are in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AckSample {
    /// When it arrived.
    pub(crate) now: Instant,
    /// The size of a full segment.
    pub(crate) mss: u32,
    /// SND.UNA after it: rounds are counted by it and SND.NXT.
    pub(crate) una: Seq,
    /// SND.NXT.
    pub(crate) nxt: Seq,
    /// Newly acknowledged cumulatively.
    pub(crate) acked: u32,
    /// Newly delivered, cumulatively or selectively; each byte once.
    pub(crate) delivered: u32,
    /// Newly marked lost.
    pub(crate) lost: u32,
    /// In the network now.
    pub(crate) flight: u32,
    /// The round trip that this ACK has measured.
    pub(crate) rtt: Option<Duration>,
    /// The smoothed round-trip time, zero before the first measurement.
    pub(crate) srtt: Duration,
    /// How fast the network delivered.
    pub(crate) rate: Option<rate::Sample>,
    /// In fast recovery, or reducing the window after a congestion mark: Reno's and CUBIC's windows do not grow then, and are
    /// set by proportional rate reduction.
    pub(crate) in_recovery: bool,
}

/// What is on its way once new data was sent; sizes are in bytes, each segment counted as a full one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) now: Instant,
    /// The size of a full segment.
    pub(crate) mss: u32,
    /// SND.UNA and SND.NXT.
    pub(crate) una: Seq,
    pub(crate) nxt: Seq,
    /// Not acknowledged.
    pub(crate) outstanding: u32,
    /// Of this, in the network.
    pub(crate) flight: u32,
}

/// A congestion controller.
#[derive(Clone, Debug)]
pub(crate) struct Controller {
    window: Window,
    usage: Usage,
    /// Segments by which one acknowledgment may let the window grow, 0 for no limit (RFC 3465 §2.2).
    growth_limit: u8,
    variant: Variant,
}

/// The window of every algorithm, in bytes.
#[derive(Clone, Copy, Debug)]
struct Window {
    cwnd: u32,
    /// `u32::MAX` before the first reduction.
    ssthresh: u32,
    /// Both as they were before the last reduction, for [`Controller::undo`].
    prior_cwnd: u32,
    prior_ssthresh: u32,
}

impl Window {
    const fn new(cwnd: u32) -> Self {
        Window { cwnd, ssthresh: u32::MAX, prior_cwnd: 0, prior_ssthresh: 0 }
    }

    #[inline]
    fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// What is known of the path even if the window was not used for a while (RFC 7661 §4.4.3, Linux's
    /// `tcp_current_ssthresh`).
    fn remembered_ssthresh(&self) -> u32 {
        self.ssthresh.max(self.cwnd / 4 * 3)
    }
}

#[derive(Clone, Debug)]
enum Variant {
    NewReno(NewReno),
    Cubic(Cubic),
    Bbr(Bbr),
    Unlimited,
}

impl Variant {
    fn new(config: &TcpConfig, nxt: Seq, initial_cwnd: u32) -> Self {
        match config.congestion {
            Algorithm::NewReno => Variant::NewReno(NewReno::default()),
            Algorithm::Cubic => Variant::Cubic(Cubic::new(config.slow_start_exit, nxt)),
            // The initial sequence number is random, and as good as another seed.
            Algorithm::Bbr => Variant::Bbr(Bbr::new(nxt.0, initial_cwnd)),
            Algorithm::Unlimited => Variant::Unlimited,
        }
    }
}

impl Controller {
    /// A controller that is still to [begin](Self::begin).
    pub(crate) const NEW: Controller = Controller {
        window: Window::new(0),
        usage: Usage::new(UnusedWindow::Validated, 0, Seq(0)),
        growth_limit: 0,
        variant: Variant::Cubic(Cubic::new(SlowStartExit::HyStartPlusPlus, Seq(0))),
    };

    /// Nothing was sent yet: the initial state (RFC 6928 §2: `initial_window` segments, at most 14,600 bytes or two segments).
    pub(crate) fn begin(&mut self, config: &TcpConfig, mss: u32, initial_window: u8, nxt: Seq) {
        self.window.cwnd = initial_cwnd(mss, initial_window);
        self.usage.begin(config.unused_window, config.initial_window, nxt);
        self.growth_limit = growth_limit(config);
        match (&mut self.variant, config.congestion) {
            (Variant::Cubic(cubic), Algorithm::Cubic) => cubic.begin(config.slow_start_exit, nxt),
            _ => self.variant = Variant::new(config, nxt, self.window.cwnd),
        }
    }

    /// The algorithm in use.
    pub(crate) fn algorithm(&self) -> Algorithm {
        match &self.variant {
            Variant::NewReno(_) => Algorithm::NewReno,
            Variant::Cubic(_) => Algorithm::Cubic,
            Variant::Bbr(_) => Algorithm::Bbr,
            Variant::Unlimited => Algorithm::Unlimited,
        }
    }

    /// Goes on as `config` now says, with another algorithm perhaps, from the same window.
    pub(crate) fn configure(&mut self, config: &TcpConfig, nxt: Seq) {
        self.growth_limit = growth_limit(config);
        if config.congestion != self.algorithm() {
            self.variant = Variant::new(config, nxt, self.window.cwnd);
        }
    }

    /// The congestion window in bytes.
    #[inline]
    pub(crate) fn cwnd(&self) -> u32 {
        match &self.variant {
            Variant::Unlimited => u32::MAX / 2,
            _ => self.window.cwnd,
        }
    }

    /// Sets the congestion window: proportional rate reduction does, in bytes.
    pub(crate) fn set_cwnd(&mut self, cwnd: u32) {
        self.window.cwnd = cwnd;
    }

    /// Segments get smaller, from `before` to `after` bytes: the windows stay the same in segments.
    pub(crate) fn segments_shrink(&mut self, before: u32, after: u32) {
        let shrunk = |bytes: u32| (u64::from(bytes) * u64::from(after) / u64::from(before.max(1))) as u32;
        self.window.cwnd = shrunk(self.window.cwnd).max(after);
        if self.window.ssthresh != u32::MAX {
            self.window.ssthresh = shrunk(self.window.ssthresh);
        }
    }

    /// The slow start threshold in bytes, `u32::MAX` before the first loss.
    pub(crate) fn ssthresh(&self) -> u32 {
        self.window.ssthresh
    }

    /// Whether the algorithm sets its window in recovery too, so that nobody else may (BBR).
    pub(crate) fn owns_recovery(&self) -> bool {
        matches!(self.variant, Variant::Bbr(_) | Variant::Unlimited)
    }

    /// How fast to send, in bytes a second, if the algorithm asks for pacing.
    #[inline]
    pub(crate) fn pacing_rate(&self) -> Option<u32> {
        match &self.variant {
            Variant::Bbr(bbr) => Some(bbr.pacing_rate()),
            _ => None,
        }
    }

    /// The bottleneck's bytes a second, if the algorithm estimates it.
    pub(crate) fn bandwidth(&self) -> Option<u32> {
        match &self.variant {
            Variant::Bbr(bbr) => Some(bbr.bandwidth()),
            _ => None,
        }
    }

    /// Whether the algorithm sends less than it could for the moment, so that delivery rates tell nothing of the path: they count as
    /// limited by the application.
    pub(crate) fn holds_back(&self) -> bool {
        matches!(&self.variant, Variant::Bbr(bbr) if bbr.holds_back())
    }

    /// Whether the window was what held data back of late, or counts as that.
    pub(crate) fn is_limited(&self) -> bool {
        self.usage.may_grow(&self.window)
    }

    /// New data was sent. `rto` is only asked for if it matters.
    #[inline]
    pub(crate) fn sent(&mut self, sent: Sent, rto: impl FnOnce() -> Duration) {
        let is_full = self.window.cwnd.saturating_sub(sent.flight) < sent.mss;
        self.usage.sent(sent.una, sent.nxt, sent.outstanding, is_full);
        if self.usage.decays() && !self.owns_recovery() {
            self.usage.decay(&mut self.window, sent.mss, sent.now, rto());
        }
    }

    /// The window, and nothing else, keeps data from being sent.
    #[inline]
    pub(crate) fn held_back(&mut self, nxt: Seq, outstanding: u32) {
        self.usage.held_back(nxt, outstanding);
    }

    /// Data is about to be sent, nothing is outstanding, and nothing was sent for `idle` (RFC 5681 §4.1, RFC 7661 §4.4).
    #[inline]
    pub(crate) fn resumes(&mut self, mss: u32, now: Instant, idle: Duration, rto: impl FnOnce() -> Duration) {
        match &mut self.variant {
            Variant::Bbr(bbr) => return bbr.resumes(&mut self.window, now),
            Variant::Cubic(cubic) => cubic.resumes(now, idle),
            Variant::NewReno(_) | Variant::Unlimited => {}
        }
        self.usage.resumes(&mut self.window, mss, now, idle, rto);
    }

    /// An ACK has told something: called for each that acknowledged, delivered or lost anything.
    #[inline]
    pub(crate) fn acknowledged(&mut self, sample: &AckSample) {
        if let Variant::Bbr(bbr) = &mut self.variant {
            let initial_cwnd = self.usage.initial_cwnd(sample.mss);
            return bbr.acknowledged(&mut self.window, sample, initial_cwnd, self.usage.is_limited());
        }
        self.usage.acknowledged(&mut self.window, sample);
        // In Disorder nothing is acknowledged that could clock growth; later all that was delivered meanwhile must not burst.
        let may_grow = !sample.in_recovery && sample.acked > 0 && self.usage.may_grow(&self.window);
        let bytes = match self.growth_limit {
            0 => sample.delivered,
            limit => sample.delivered.min(u32::from(limit) * sample.mss),
        };
        match &mut self.variant {
            Variant::NewReno(newreno) if may_grow => newreno.acknowledged(&mut self.window, sample, bytes),
            Variant::NewReno(_) | Variant::Bbr(_) | Variant::Unlimited => {}
            Variant::Cubic(cubic) => cubic.acknowledged(&mut self.window, sample, bytes, may_grow),
        }
    }

    /// A segment of `size` bytes was found lost, and is counted in `rate`; `stamp` is from when it was sent.
    pub(crate) fn segment_lost(&mut self, now: Instant, rate: &Rate, stamp: Stamp, size: u32) {
        if let Variant::Bbr(bbr) = &mut self.variant {
            bbr.segment_lost(&mut self.window, rate, stamp, size, now);
        }
    }

    /// Begins a reduction: fast recovery, or the response to a congestion mark; at most once for each window of data.
    /// Returns the new `ssthresh`, to which proportional rate reduction brings cwnd.
    pub(crate) fn reduce(&mut self, mss: u32, cause: Cause) -> u32 {
        if let Variant::Bbr(bbr) = &mut self.variant {
            match cause {
                Cause::Loss => bbr.enter_recovery(&mut self.window),
                Cause::Ecn { .. } => bbr.marked(&mut self.window),
            }
            return self.window.ssthresh;
        }
        self.remember();
        self.lower_threshold(mss, cause);
        self.window.ssthresh
    }

    /// The reduction is over: what was outstanding when it began is acknowledged.
    pub(crate) fn recovered(&mut self, mss: u32) {
        if !self.owns_recovery() {
            // RFC 9937 §6.2; for NewReno, RFC 6582 §3.2 step 3, option (2).
            self.window.cwnd = self.window.ssthresh.max(mss);
        }
    }

    /// The retransmission timer expired; `flight` is in the network according to the scoreboard, what is lost not
    /// counted. `again` if the window was reduced before for the same window of data: the threshold stays then.
    pub(crate) fn timeout(&mut self, mss: u32, nxt: Seq, flight: u32, again: bool) {
        if let Variant::Bbr(bbr) = &mut self.variant {
            bbr.timeout(&mut self.window, nxt);
        } else if !again {
            self.remember();
            self.lower_threshold(mss, Cause::Loss);
        }
        // RFC 5681 §3.1: the loss window is one segment.
        self.window.cwnd = flight + mss;
        if let Variant::Cubic(cubic) = &mut self.variant {
            cubic.timeout(nxt);
        }
    }

    /// The last reduction was for a loss that was none (RFC 4015 §3.3, Linux's `tcp_undo_cwnd_reduction`).
    pub(crate) fn undo(&mut self) {
        if let Variant::Bbr(bbr) = &mut self.variant {
            return bbr.undo(&mut self.window);
        }
        self.window.cwnd = self.window.cwnd.max(self.window.prior_cwnd);
        self.window.ssthresh = self.window.ssthresh.max(self.window.prior_ssthresh);
        if let Variant::Cubic(cubic) = &mut self.variant {
            cubic.undo();
        }
    }

    /// Nothing could be sent for a while, for another reason than congestion: what is known of the path may be old.
    pub(crate) fn restart(&mut self, mss: u32) {
        self.window.cwnd = self.window.cwnd.min(self.usage.initial_cwnd(mss));
    }

    fn remember(&mut self) {
        self.window.prior_cwnd = self.window.cwnd;
        self.window.prior_ssthresh = self.window.remembered_ssthresh();
    }

    fn lower_threshold(&mut self, mss: u32, cause: Cause) {
        let tested = self.usage.tested(&self.window);
        let ssthresh = match &mut self.variant {
            Variant::NewReno(newreno) => newreno.threshold(tested, mss, cause),
            Variant::Cubic(cubic) => cubic.threshold(tested, mss, cause),
            Variant::Bbr(_) | Variant::Unlimited => return,
        };
        self.window.ssthresh = ssthresh.max(2 * mss);
    }
}

/// RFC 9406 §4.3: "L = infinity if paced, L = 8 if non-paced".
fn growth_limit(config: &TcpConfig) -> u8 {
    if config.max_pacing_rate.is_some() { 0 } else { config.growth_limit }
}

/// Slow start: grows the window by `bytes` up to the threshold. Returns what is left for congestion avoidance.
#[inline]
fn slow_start(window: &mut Window, bytes: u32) -> u32 {
    let growth = bytes.min(window.ssthresh - window.cwnd);
    window.cwnd = window.cwnd.saturating_add(growth);
    bytes - growth
}

/// Congestion avoidance: grows the window by a segment for each `per_segment` bytes that are acknowledged, `counted` having been
/// so before.
#[inline]
fn grow(window: &mut Window, counted: &mut u32, per_segment: u32, bytes: u32, mss: u32) {
    if *counted >= per_segment {
        // What was counted when a segment took more counts for one, no more.
        *counted = 0;
        window.cwnd = window.cwnd.saturating_add(mss);
    }
    *counted = counted.saturating_add(bytes);
    if *counted >= per_segment {
        let segments = *counted / per_segment.max(1);
        *counted -= segments * per_segment;
        window.cwnd = window.cwnd.saturating_add(segments.saturating_mul(mss));
    }
}

/// RFC 6928 §2, equation 1.
fn initial_cwnd(mss: u32, initial_window: u8) -> u32 {
    let segments = u32::from(initial_window.max(1));
    (segments * mss).min((segments * 1_460).max(2 * mss))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn ack(bytes: u32) -> AckSample {
        AckSample {
            now: Instant::ZERO,
            mss: 1_000,
            una: Seq(0),
            nxt: Seq(0),
            acked: bytes,
            delivered: bytes,
            lost: 0,
            flight: 0,
            rtt: None,
            srtt: Duration::ZERO,
            rate: None,
            in_recovery: false,
        }
    }

    #[test]
    fn the_initial_window_is_bounded_for_large_segments() {
        assert_eq!(initial_cwnd(1_460, 10), 14_600);
        assert_eq!(initial_cwnd(8_960, 10), 17_920);
        assert_eq!(initial_cwnd(536, 10), 5_360);
    }

    fn controller(congestion: Algorithm) -> Controller {
        let mut controller = Controller::NEW;
        controller.begin(&TcpConfig { congestion, ..TcpConfig::default() }, 1_000, 10, Seq(0));
        controller
    }

    fn sent(controller: &mut Controller, bytes: u32) {
        let (una, nxt) = (Seq(0), Seq(bytes));
        let sent = Sent { now: Instant::ZERO, mss: 1_000, una, nxt, outstanding: bytes, flight: bytes };
        controller.sent(sent, || Duration::from_secs(1));
    }

    #[test]
    fn a_second_timeout_keeps_the_threshold_of_the_first() {
        let mut controller = controller(Algorithm::NewReno);
        controller.window.cwnd = 40_000;
        controller.timeout(1_000, Seq(0), 0, false);
        controller.timeout(1_000, Seq(0), 0, true);
        assert_eq!((controller.cwnd(), controller.ssthresh()), (1_000, 20_000));
        controller.undo();
        assert_eq!((controller.cwnd(), controller.ssthresh()), (40_000, u32::MAX));
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        for algorithm in [Algorithm::NewReno, Algorithm::Cubic] {
            let mut controller = controller(algorithm);
            sent(&mut controller, 4_000);
            controller.acknowledged(&ack(4_000));
            assert_eq!(controller.cwnd(), 10_000);
        }
    }

    #[test]
    fn a_window_that_was_used_to_the_last_segment_grows() {
        for algorithm in [Algorithm::NewReno, Algorithm::Cubic] {
            let mut controller = controller(algorithm);
            sent(&mut controller, 10_000);
            controller.acknowledged(&ack(2_000));
            assert_eq!(controller.cwnd(), 12_000);
        }
    }

    #[test]
    fn one_acknowledgment_grows_the_window_by_eight_segments_at_most() {
        let mut controller = controller(Algorithm::Cubic);
        sent(&mut controller, 10_000);
        controller.acknowledged(&ack(10_000));
        assert_eq!(controller.cwnd(), 18_000);
    }

    #[test]
    fn another_algorithm_goes_on_from_the_same_window() {
        let mut controller = controller(Algorithm::Cubic);
        sent(&mut controller, 10_000);
        controller.acknowledged(&ack(5_000));
        let config = TcpConfig { congestion: Algorithm::NewReno, ..TcpConfig::default() };
        controller.configure(&config, Seq(10_000));
        assert_eq!((controller.algorithm().name(), controller.cwnd()), ("reno", 15_000));
    }

    #[test]
    fn names_lead_back_to_algorithms() {
        for name in ["reno", "cubic", "bbr"] {
            assert_eq!(Algorithm::from_name(name).map(Algorithm::name), Some(name));
        }
        assert_eq!(Algorithm::from_name("vegas"), None);
    }
}
