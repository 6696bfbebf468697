//! BBR's model of the path ("Updating Network Path Model Parameters"): bandwidth, round trip, aggregation, rounds, and how much
//! data it seems to bear in the short and in the long term.

use super::{BETA, percent, rate_of, saturate};
use crate::tcp::congestion::AckSample;
use crate::tcp::rate::clock;
use crate::time::{Duration, Instant};

/// BBR.MinRTTFilterLen, which is also the interval between ProbeRTT states, in milliseconds.
const MIN_RTT_FILTER: u32 = 10_000;
/// BBR.ExtraAckedFilterLen is ten rounds: two slots of five.
const EXTRA_ACKED_ROUNDS: u8 = 5;
/// Rounds without a quarter more bandwidth after which the pipe is full.
const FULL_BW_ROUNDS: u8 = 3;

#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    /// BBR.max_bw_filter: the best rate of the last ProbeBW cycle and of this one.
    max_bw: [u32; 2],
    /// BBR.bw_shortterm, `u32::MAX` for infinite; so are the next two.
    pub(super) bw_shortterm: u32,
    pub(super) inflight_shortterm: u32,
    pub(super) inflight_longterm: u32,
    bw_latest: u32,
    pub(super) inflight_latest: u32,
    /// Microseconds, `u32::MAX` before the first.
    pub(super) min_rtt: u32,
    min_rtt_stamp: u32,
    /// C.delivered.
    pub(super) delivered: u32,
    next_round_delivered: u32,
    loss_round_delivered: u32,
    full_bw: u32,
    /// BBR.extra_acked_filter: the last five rounds and those before.
    extra_acked: [u32; 2],
    extra_acked_start: u32,
    extra_acked_delivered: u32,
    extra_acked_rounds: u8,
    /// Modulo 256: it is only compared over a few rounds.
    pub(super) round_count: u8,
    full_bw_count: u8,
    pub(super) full_bw_now: bool,
    pub(super) full_bw_reached: bool,
    pub(super) round_start: bool,
    pub(super) loss_round_start: bool,
    pub(super) is_loss_in_round: bool,
}

/// Whether count `a` is at or after count `b`.
fn reached(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

impl Model {
    pub(super) fn new() -> Self {
        Model {
            max_bw: [0; 2],
            bw_shortterm: u32::MAX,
            inflight_shortterm: u32::MAX,
            inflight_longterm: u32::MAX,
            bw_latest: 0,
            inflight_latest: 0,
            min_rtt: u32::MAX,
            min_rtt_stamp: 0,
            delivered: 0,
            next_round_delivered: 0,
            loss_round_delivered: 0,
            full_bw: 0,
            extra_acked: [0; 2],
            extra_acked_start: 0,
            extra_acked_delivered: 0,
            extra_acked_rounds: 0,
            round_count: 0,
            full_bw_count: 0,
            full_bw_now: false,
            full_bw_reached: false,
            round_start: false,
            loss_round_start: false,
            is_loss_in_round: false,
        }
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.min_rtt_stamp = now.as_millis() as u32;
        self.extra_acked_start = clock(now);
    }

    /// BBR.max_bw.
    pub(super) fn max_bw(&self) -> u32 {
        self.max_bw[0].max(self.max_bw[1])
    }

    pub(super) fn has_rtt(&self) -> bool {
        self.min_rtt != u32::MAX
    }

    /// `gain` percent of the bandwidth-delay product.
    pub(super) fn bdp(&self, gain: u32) -> u32 {
        if !self.has_rtt() {
            return 0;
        }
        saturate(u64::from(self.bw()) * u64::from(self.min_rtt) / 1_000_000 * u64::from(gain) / 100)
    }

    // "Updating the Model Upon Packet Loss"

    /// UpdateLatestDeliverySignals().
    pub(super) fn update_latest_delivery_signals(&mut self, sample: &AckSample) {
        self.loss_round_start = false;
        let Some(rate) = sample.rate else {
            self.delivered = self.delivered.wrapping_add(sample.delivered);
            return;
        };
        self.delivered = rate.prior_delivered.wrapping_add(rate.delivered);
        self.bw_latest = self.bw_latest.max(rate_of(sample));
        self.inflight_latest = self.inflight_latest.max(rate.delivered);
        if reached(rate.prior_delivered, self.loss_round_delivered) {
            self.begin_loss_round();
            self.loss_round_start = true;
        }
    }

    /// AdvanceLatestDeliverySignals().
    pub(super) fn advance_latest_delivery_signals(&mut self, sample: &AckSample) {
        if self.loss_round_start
            && let Some(rate) = sample.rate
        {
            self.bw_latest = rate_of(sample);
            self.inflight_latest = rate.delivered;
        }
    }

    /// ResetCongestionSignals().
    pub(super) fn reset_congestion_signals(&mut self) {
        self.is_loss_in_round = false;
        self.bw_latest = 0;
        self.inflight_latest = 0;
    }

    pub(super) fn begin_loss_round(&mut self) {
        self.loss_round_delivered = self.delivered;
    }

    /// InitLowerBounds() and LossLowerBounds().
    pub(super) fn adapt_shortterm(&mut self, cwnd: u32) {
        if self.bw_shortterm == u32::MAX {
            self.bw_shortterm = self.max_bw();
        }
        if self.inflight_shortterm == u32::MAX {
            self.inflight_shortterm = cwnd;
        }
        self.bw_shortterm = self.bw_latest.max(percent(self.bw_shortterm, BETA));
        self.inflight_shortterm = self.inflight_latest.max(percent(self.inflight_shortterm, BETA));
    }

    /// ResetShortTermModel().
    pub(super) fn reset_shortterm(&mut self) {
        self.bw_shortterm = u32::MAX;
        self.inflight_shortterm = u32::MAX;
    }

    /// BBR.bw: BoundBWForModel().
    pub(super) fn bw(&self) -> u32 {
        self.max_bw().min(self.bw_shortterm)
    }

    /// Takes back what a spurious loss has taught: HandleSpuriousLossDetection().
    pub(super) fn undo(&mut self, bw_shortterm: u32, inflight_shortterm: u32, inflight_longterm: u32) {
        self.is_loss_in_round = false;
        self.reset_full_bw(0);
        self.bw_shortterm = self.bw_shortterm.max(bw_shortterm);
        self.inflight_shortterm = self.inflight_shortterm.max(inflight_shortterm);
        self.inflight_longterm = self.inflight_longterm.max(inflight_longterm);
    }

    // "BBR.round_count" and "Updating the BBR.max_bw Max Filter"

    pub(super) fn start_round(&mut self) {
        self.next_round_delivered = self.delivered;
    }

    /// UpdateMaxBw() with UpdateRound(). Returns whether a round begins.
    pub(super) fn update_max_bw(&mut self, sample: &AckSample) -> bool {
        self.round_start = false;
        let Some(rate) = sample.rate else { return false };
        if reached(rate.prior_delivered, self.next_round_delivered) {
            self.start_round();
            self.round_count = self.round_count.wrapping_add(1);
            self.round_start = true;
        }
        let bw = rate_of(sample);
        if bw >= self.max_bw() || !rate.is_app_limited {
            self.max_bw[1] = self.max_bw[1].max(bw);
        }
        self.round_start
    }

    /// AdvanceMaxBwFilter(); a cycle without samples leaves the filter as it is.
    pub(super) fn advance_max_bw_filter(&mut self) {
        if self.max_bw[1] != 0 {
            self.max_bw = [self.max_bw[1], 0];
        }
    }

    // "Exiting Acceleration Based on Bandwidth Plateau"

    /// ResetFullBW() with a new baseline.
    pub(super) fn reset_full_bw(&mut self, baseline: u32) {
        self.full_bw = baseline;
        self.full_bw_count = 0;
        self.full_bw_now = false;
    }

    /// CheckFullBWReached().
    pub(super) fn check_full_bw_reached(&mut self, sample: &AckSample) {
        let Some(rate) = sample.rate else { return };
        if self.full_bw_now || !self.round_start || rate.is_app_limited {
            return;
        }
        let bw = rate_of(sample);
        if u64::from(bw) * 4 >= u64::from(self.full_bw) * 5 {
            self.reset_full_bw(bw);
            return;
        }
        self.full_bw_count += 1;
        self.full_bw_now = self.full_bw_count >= FULL_BW_ROUNDS;
        self.full_bw_reached |= self.full_bw_now;
    }

    // "BBR.min_rtt Min Filter"

    pub(super) fn is_min_rtt_expired(&self, now: u32) -> bool {
        self.has_rtt() && now.wrapping_sub(self.min_rtt_stamp) > MIN_RTT_FILTER
    }

    pub(super) fn update_min_rtt(&mut self, rtt: Duration, now: u32, expired: bool) {
        let rtt = rtt.as_micros().clamp(1, u64::from(u32::MAX - 1)) as u32;
        if rtt < self.min_rtt || expired {
            self.min_rtt = rtt;
            self.min_rtt_stamp = now;
        }
    }

    pub(super) fn schedule_probe_rtt(&mut self, now: u32) {
        self.min_rtt_stamp = now;
    }

    // "BBR.extra_acked"

    pub(super) fn extra_acked(&self) -> u32 {
        self.extra_acked[0].max(self.extra_acked[1])
    }

    pub(super) fn restart_ack_aggregation(&mut self, now: Instant) {
        self.extra_acked_start = clock(now);
    }

    /// UpdateACKAggregation().
    pub(super) fn update_ack_aggregation(&mut self, sample: &AckSample, cwnd: u32) {
        if self.round_start {
            self.extra_acked_rounds += 1;
            let slot = if self.full_bw_reached { EXTRA_ACKED_ROUNDS } else { 1 };
            if self.extra_acked_rounds >= slot {
                self.extra_acked_rounds = 0;
                self.extra_acked = [0, self.extra_acked[0]];
            }
        }
        let interval = clock(sample.now).wrapping_sub(self.extra_acked_start);
        let mut expected = saturate(u64::from(self.bw()) * u64::from(interval) / 1_000_000);
        if self.extra_acked_delivered <= expected {
            self.extra_acked_delivered = 0;
            self.extra_acked_start = clock(sample.now);
            expected = 0;
        }
        self.extra_acked_delivered = self.extra_acked_delivered.saturating_add(sample.delivered);
        let extra = self.extra_acked_delivered.saturating_sub(expected).min(cwnd);
        self.extra_acked[0] = self.extra_acked[0].max(extra);
    }
}
