//! BBR version 3 (draft-ietf-ccwg-bbr): the sending rate and the data in flight follow a model of the path instead of losses.
//!
//! This file is the state machine and the control parameters, [`model`] what they are computed from. Names and steps are the
//! draft's, whose sections are quoted. Gains and shares are in percent, rates in bytes a second, sizes in bytes. Everything is kept
//! modulo 2^32: counts of bytes, microseconds of round trips, milliseconds of longer times.
//!
//! ECN is treated as the draft leaves it open: a mark counts as a loss in the round, so that the short-term model adapts.

mod model;
#[cfg(test)]
mod tests;

use super::usage::millis;
use super::{AckSample, Window};
use crate::tcp::rate::{Rate, Stamp};
use crate::tcp::seq::Seq;
use crate::time::Instant;
use model::Model;

/// BBR.LossThresh.
const LOSS_THRESHOLD: u32 = 2;
/// BBR.Beta.
const BETA: u32 = 70;
/// BBR.Headroom.
const HEADROOM: u32 = 15;
/// BBR.PacingMarginPercent.
const PACING_MARGIN: u32 = 1;
/// BBRStartupFullLossCnt.
const STARTUP_LOSSES: u8 = 6;
/// BBR.MinPipeCwnd, in segments.
const MIN_PIPE: u32 = 4;
/// BBR.ProbeRTTDuration in milliseconds.
const PROBE_RTT_DURATION: u32 = 200;

/// "State Machine".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Startup,
    Drain,
    Down,
    Cruise,
    Refill,
    Up,
    ProbeRtt,
}

impl State {
    /// BBR.pacing_gain: "Summary of Control Behavior in the State Machine".
    fn pacing_gain(self) -> u32 {
        match self {
            State::Startup => 277,
            State::Drain => 50,
            State::Down => 90,
            State::Cruise | State::Refill | State::ProbeRtt => 100,
            State::Up => 125,
        }
    }

    /// BBR.cwnd_gain, in the same table.
    fn cwnd_gain(self) -> u32 {
        match self {
            State::Up => 225,
            State::ProbeRtt => 50,
            _ => 200,
        }
    }

    fn is_probe_bw(self) -> bool {
        matches!(self, State::Down | State::Cruise | State::Refill | State::Up)
    }

    fn is_probing(self) -> bool {
        matches!(self, State::Startup | State::Refill | State::Up)
    }
}

/// BBR.ack_phase: what the data was sent for that is being acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckPhase {
    Init,
    Refilling,
    ProbeStarting,
    ProbeFeedback,
    ProbeStopping,
}

/// "Saving State Upon Loss Recovery".
#[derive(Clone, Copy, Debug, Default)]
struct Undo {
    /// The state that the losses have ended.
    state: Option<State>,
    bw_shortterm: u32,
    inflight_shortterm: u32,
    inflight_longterm: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bbr {
    model: Model,
    state: State,
    ack_phase: AckPhase,
    /// A round trip was measured, and the rate set after it.
    started: bool,
    /// In fast recovery.
    in_recovery: bool,
    /// After a timeout.
    in_loss: bool,
    is_bw_probe_sample: bool,
    prev_probe_too_high: bool,
    prev_probe_precautionary: bool,
    idle_restart: bool,
    probe_rtt_reached: bool,
    probe_rtt_round_done: bool,
    bw_probe_up_rounds: u8,
    rounds_since_probe_up: u8,
    /// ACKs that told of losses in this round, as far as they matter.
    loss_events: u8,
    drain_start_round: u8,
    /// BBR.bw_probe_wait in milliseconds.
    bw_probe_wait: u16,
    pacing_rate: u32,
    cycle_stamp: u32,
    probe_up_acked_per_inc: u32,
    bw_probe_up_acked: u32,
    probe_rtt_cwnd: u32,
    /// When ProbeRTT may end, while `probe_rtt_reached`: its window has been reached.
    probe_rtt_done: u32,
    /// While `in_loss`: recovery is over when this is acknowledged.
    loss_end: Seq,
    undo: Undo,
    /// State of a xorshift generator, never 0.
    random: u32,
}

/// What the steps of one ACK share.
struct Ack<'a> {
    sample: &'a AckSample,
    now: u32,
    /// C.is_cwnd_limited.
    limited: bool,
}

impl Bbr {
    /// "Initialization". `seed` decides when bandwidth is probed.
    pub(super) fn new(seed: u32, initial_cwnd: u32) -> Self {
        Bbr {
            model: Model::new(),
            state: State::Startup,
            ack_phase: AckPhase::Init,
            started: false,
            in_recovery: false,
            in_loss: false,
            is_bw_probe_sample: false,
            prev_probe_too_high: false,
            prev_probe_precautionary: false,
            idle_restart: false,
            probe_rtt_reached: false,
            probe_rtt_round_done: false,
            bw_probe_up_rounds: 0,
            rounds_since_probe_up: 0,
            loss_events: 0,
            drain_start_round: 0,
            bw_probe_wait: 0,
            // InitPacingRate() for a round trip of 1 ms.
            pacing_rate: initial_cwnd.saturating_mul(2_770),
            cycle_stamp: 0,
            probe_up_acked_per_inc: u32::MAX,
            bw_probe_up_acked: 0,
            probe_rtt_cwnd: initial_cwnd,
            probe_rtt_done: 0,
            loss_end: Seq(seed),
            undo: Undo::default(),
            random: seed | 1,
        }
    }

    pub(super) fn bandwidth(&self) -> u32 {
        self.model.bw()
    }

    pub(super) fn pacing_rate(&self) -> u32 {
        self.pacing_rate
    }

    /// "Per-ACK Steps".
    pub(super) fn acknowledged(&mut self, window: &mut Window, sample: &AckSample, initial_cwnd: u32, limited: bool) {
        let ack = Ack { sample, now: millis(sample.now), limited };
        // "Modulating cwnd in Loss Recovery": leaving it.
        if (self.in_loss && sample.una >= self.loss_end) || (self.in_recovery && !sample.in_recovery) {
            (self.in_loss, self.in_recovery) = (false, false);
            self.restore_cwnd(window);
        }
        self.start(&ack, initial_cwnd);
        self.model.update_latest_delivery_signals(sample);
        self.update_congestion_signals(window, &ack);
        self.model.update_ack_aggregation(sample, window.cwnd);
        self.model.check_full_bw_reached(sample);
        self.check_startup_done(&ack);
        self.check_drain_done(&ack);
        self.update_probe_bw_cycle_phase(window, &ack);
        let expired = self.update_min_rtt(&ack);
        self.check_probe_rtt(window, &ack, expired);
        self.model.advance_latest_delivery_signals(sample);
        self.set_pacing_rate_with_gain(self.state.pacing_gain());
        self.set_cwnd(window, sample, initial_cwnd);
    }

    /// Whether less is sent than could be, so that rates tell nothing of the path: HandleProbeRTT(), MarkConnectionAppLimited().
    pub(super) fn holds_back(&self) -> bool {
        self.state == State::ProbeRtt
    }

    /// "Pacing Rate", InitPacingRate(), once a round trip is known.
    fn start(&mut self, ack: &Ack<'_>, initial_cwnd: u32) {
        let srtt = ack.sample.srtt.as_micros();
        if self.started || srtt == 0 {
            return;
        }
        self.started = true;
        self.model.start(ack.sample.now);
        self.cycle_stamp = ack.now;
        let nominal = u64::from(initial_cwnd) * 1_000_000 / srtt;
        self.pacing_rate = saturate(nominal * u64::from(State::Startup.pacing_gain()) / 100);
    }

    /// "Restarting From Idle", HandleRestartFromIdle().
    pub(super) fn resumes(&mut self, window: &mut Window, now: Instant) {
        self.idle_restart = true;
        self.model.restart_ack_aggregation(now);
        if self.state.is_probe_bw() {
            self.set_pacing_rate_with_gain(100);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done(window, millis(now));
        }
    }

    // "Startup"

    fn check_startup_done(&mut self, ack: &Ack<'_>) {
        self.check_startup_high_loss(ack);
        if self.state == State::Startup && self.model.full_bw_reached {
            self.state = State::Drain;
            self.drain_start_round = self.model.round_count;
        }
    }

    /// "Exiting Startup Based on Packet Loss".
    fn check_startup_high_loss(&mut self, ack: &Ack<'_>) {
        if self.model.full_bw_reached {
            return;
        }
        self.loss_events = self.loss_events.saturating_add(u8::from(ack.sample.lost > 0));
        if !self.model.loss_round_start {
            return;
        }
        let is_too_high = ack.sample.rate.is_some_and(|rate| too_high(rate.lost, rate.tx_in_flight));
        if self.in_recovery && self.loss_events >= STARTUP_LOSSES && is_too_high {
            self.undo.state = Some(State::Startup);
            self.model.full_bw_reached = true;
            self.model.inflight_longterm = self.model.bdp(100).max(self.model.inflight_latest);
        }
        self.loss_events = 0;
    }

    fn enter_startup(&mut self) {
        self.state = State::Startup;
    }

    // "Drain"

    fn check_drain_done(&mut self, ack: &Ack<'_>) {
        let rounds = self.model.round_count.wrapping_sub(self.drain_start_round);
        if self.state == State::Drain && (ack.sample.flight <= self.inflight(100, ack.sample.mss) || rounds > 3) {
            self.begin_cycle(ack.now);
        }
    }

    // "ProbeBW"

    /// StartProbeBW_DOWN().
    fn begin_cycle(&mut self, now: u32) {
        self.model.reset_congestion_signals();
        self.probe_up_acked_per_inc = u32::MAX;
        // PickProbeWait(): between two and three seconds, or as many round trips as Reno would take.
        self.rounds_since_probe_up = (self.next_random() & 1) as u8;
        self.bw_probe_wait = 2_000 + (self.next_random() % 1_000) as u16;
        self.cycle_stamp = now;
        self.ack_phase = AckPhase::ProbeStopping;
        self.model.start_round();
        self.state = State::Down;
    }

    fn start_refill(&mut self) {
        self.model.reset_shortterm();
        self.bw_probe_up_rounds = 0;
        self.bw_probe_up_acked = 0;
        self.prev_probe_precautionary = false;
        self.ack_phase = AckPhase::Refilling;
        self.model.start_round();
        self.state = State::Refill;
    }

    fn start_up(&mut self, window: &Window, ack: &Ack<'_>) {
        self.ack_phase = AckPhase::ProbeStarting;
        self.model.start_round();
        self.model.reset_full_bw(rate_of(ack.sample));
        self.state = State::Up;
        self.raise_inflight_longterm_slope(window, ack.sample.mss);
    }

    /// "ProbeBW Algorithm Details".
    fn update_probe_bw_cycle_phase(&mut self, window: &Window, ack: &Ack<'_>) {
        if !self.model.full_bw_reached || self.adapt_longterm_model(window, ack) || !self.state.is_probe_bw() {
            return;
        }
        let state = self.state;
        match state {
            State::Down | State::Cruise if self.is_time_to_probe_bw(window, ack) => self.start_refill(),
            State::Down if self.is_time_to_cruise(ack) => self.state = State::Cruise,
            // After one round of REFILL, start UP.
            State::Refill if self.model.round_start => {
                self.is_bw_probe_sample = true;
                self.start_up(window, ack);
            }
            State::Up if self.is_time_to_go_down(window, ack) => {
                self.prev_probe_too_high = false;
                self.begin_cycle(ack.now);
            }
            _ => {}
        }
    }

    /// "Time Scale for Bandwidth Probing".
    fn is_time_to_probe_bw(&self, window: &Window, ack: &Ack<'_>) -> bool {
        let reno_rounds = (self.target_inflight(window) / ack.sample.mss).min(63);
        ack.now.wrapping_sub(self.cycle_stamp) > u32::from(self.bw_probe_wait)
            || u32::from(self.rounds_since_probe_up) >= reno_rounds
    }

    fn is_time_to_cruise(&self, ack: &Ack<'_>) -> bool {
        let flight = ack.sample.flight;
        flight <= self.inflight_with_headroom(ack.sample.mss) && flight <= self.inflight(100, ack.sample.mss)
    }

    fn is_time_to_go_down(&mut self, window: &Window, ack: &Ack<'_>) -> bool {
        let longterm = self.model.inflight_longterm;
        if self.prev_probe_too_high && ack.sample.flight >= longterm {
            self.prev_probe_precautionary = true;
            return true;
        }
        if ack.limited && window.cwnd >= longterm {
            // Bandwidth is limited by inflight_longterm.
            self.model.reset_full_bw(rate_of(ack.sample));
            return false;
        }
        self.model.full_bw_now
    }

    /// Returns whether it has decided on a state. A loss rate that is too high was dealt with when the losses were found.
    fn adapt_longterm_model(&mut self, window: &Window, ack: &Ack<'_>) -> bool {
        let sample = ack.sample;
        if self.ack_phase == AckPhase::ProbeStarting && self.model.round_start {
            self.ack_phase = AckPhase::ProbeFeedback;
        }
        if self.ack_phase == AckPhase::ProbeStopping && self.model.round_start {
            self.is_bw_probe_sample = false;
            self.ack_phase = AckPhase::Init;
            if self.state.is_probe_bw() {
                if sample.rate.is_some_and(|rate| !rate.is_app_limited) {
                    self.model.advance_max_bw_filter();
                }
                if self.prev_probe_precautionary && !self.prev_probe_too_high {
                    self.start_refill();
                    return true;
                }
            }
        }
        let Some(rate) = sample.rate else { return false };
        if too_high(rate.lost, rate.tx_in_flight) || self.model.inflight_longterm == u32::MAX {
            return false;
        }
        self.model.inflight_longterm = self.model.inflight_longterm.max(rate.tx_in_flight);
        if self.state == State::Up {
            self.probe_inflight_longterm_upward(window, ack);
        }
        false
    }

    fn probe_inflight_longterm_upward(&mut self, window: &Window, ack: &Ack<'_>) {
        if !ack.limited || window.cwnd < self.model.inflight_longterm {
            return;
        }
        self.bw_probe_up_acked = self.bw_probe_up_acked.saturating_add(ack.sample.delivered);
        let increments = self.bw_probe_up_acked / self.probe_up_acked_per_inc;
        self.bw_probe_up_acked -= increments * self.probe_up_acked_per_inc;
        let raised = increments.saturating_mul(ack.sample.mss);
        self.model.inflight_longterm = self.model.inflight_longterm.saturating_add(raised);
        if self.model.round_start {
            self.raise_inflight_longterm_slope(window, ack.sample.mss);
        }
    }

    fn raise_inflight_longterm_slope(&mut self, window: &Window, mss: u32) {
        self.probe_up_acked_per_inc = (window.cwnd >> self.bw_probe_up_rounds).max(mss);
        self.bw_probe_up_rounds = (self.bw_probe_up_rounds + 1).min(30);
    }

    /// TargetInflight().
    fn target_inflight(&self, window: &Window) -> u32 {
        self.model.bdp(100).min(window.cwnd)
    }

    fn inflight_with_headroom(&self, mss: u32) -> u32 {
        let longterm = self.model.inflight_longterm;
        if longterm == u32::MAX {
            return u32::MAX;
        }
        let headroom = percent(longterm, HEADROOM).max(mss);
        longterm.saturating_sub(headroom).max(MIN_PIPE * mss)
    }

    // "ProbeRTT Logic"

    /// Returns whether the estimate had expired.
    fn update_min_rtt(&mut self, ack: &Ack<'_>) -> bool {
        let expired = self.model.is_min_rtt_expired(ack.now);
        if expired && self.state != State::ProbeRtt {
            // SaveProbeRTTCwnd(): from the estimate that is about to be replaced.
            self.probe_rtt_cwnd = self.model.bdp(State::ProbeRtt.cwnd_gain()).max(MIN_PIPE * ack.sample.mss);
        }
        if let Some(rtt) = ack.sample.rtt {
            self.model.update_min_rtt(rtt, ack.now, expired);
        }
        expired
    }

    fn check_probe_rtt(&mut self, window: &mut Window, ack: &Ack<'_>, expired: bool) {
        if self.state != State::ProbeRtt && expired && !self.idle_restart {
            self.save_cwnd(window);
            self.state = State::ProbeRtt;
            self.probe_rtt_reached = false;
            self.ack_phase = AckPhase::ProbeStopping;
            self.model.start_round();
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt(window, ack);
        }
        if ack.sample.delivered > 0 {
            self.idle_restart = false;
        }
    }

    fn handle_probe_rtt(&mut self, window: &mut Window, ack: &Ack<'_>) {
        if self.probe_rtt_reached {
            self.probe_rtt_round_done |= self.model.round_start;
            if self.probe_rtt_round_done {
                self.check_probe_rtt_done(window, ack.now);
            }
        } else if ack.sample.flight <= self.probe_rtt_cwnd {
            self.probe_rtt_done = ack.now.wrapping_add(PROBE_RTT_DURATION);
            (self.probe_rtt_reached, self.probe_rtt_round_done) = (true, false);
            self.model.start_round();
        }
    }

    fn check_probe_rtt_done(&mut self, window: &mut Window, now: u32) {
        if !self.probe_rtt_reached || now.wrapping_sub(self.probe_rtt_done) as i32 <= 0 {
            return;
        }
        self.model.schedule_probe_rtt(now);
        self.restore_cwnd(window);
        // ExitProbeRTT()
        self.model.reset_shortterm();
        if self.model.full_bw_reached {
            self.begin_cycle(now);
            self.state = State::Cruise;
        } else {
            self.enter_startup();
        }
    }

    // "Updating the Model Upon Packet Loss"

    fn update_congestion_signals(&mut self, window: &Window, ack: &Ack<'_>) {
        if self.model.update_max_bw(ack.sample) {
            self.rounds_since_probe_up = self.rounds_since_probe_up.saturating_add(1);
        }
        if self.model.loss_round_start {
            // AdaptLowerBoundsFromCongestion()
            if !self.state.is_probing() && self.model.is_loss_in_round {
                self.model.adapt_shortterm(window.cwnd);
            }
            self.model.is_loss_in_round = false;
        }
    }

    fn note_loss(&mut self, window: &mut Window) {
        if !self.model.is_loss_in_round {
            self.model.begin_loss_round();
            self.save_state_upon_loss(window);
        }
        self.model.is_loss_in_round = true;
    }

    /// "Per-Loss Steps", HandleLostPacket(): a segment of `size` bytes was found lost, and is counted in `rate`.
    pub(super) fn segment_lost(&mut self, window: &mut Window, rate: &Rate, stamp: Stamp, size: u32, now: Instant) {
        self.note_loss(window);
        if !self.is_bw_probe_sample {
            return;
        }
        let (tx_in_flight, lost) = (stamp.in_flight(), rate.lost_since(stamp));
        if !too_high(lost, tx_in_flight) {
            return;
        }
        // InflightAtLoss(): up to which part of the segment the loss rate was still low enough.
        let before = tx_in_flight.saturating_sub(size);
        let lost_before = lost.saturating_sub(size);
        let prefix = percent(before, LOSS_THRESHOLD).saturating_sub(lost_before) * 100 / (100 - LOSS_THRESHOLD);
        // HandleInflightTooHigh()
        self.prev_probe_too_high = true;
        self.is_bw_probe_sample = false;
        if !stamp.is_app_limited() {
            self.model.inflight_longterm = (before + prefix).max(percent(self.target_inflight(window), BETA));
        }
        if self.state == State::Up {
            self.undo.state = Some(State::Up);
            self.begin_cycle(millis(now));
        }
    }

    /// Fast recovery begins.
    pub(super) fn enter_recovery(&mut self, window: &mut Window) {
        self.note_loss(window);
        self.in_recovery = true;
    }

    /// A congestion mark was echoed.
    pub(super) fn marked(&mut self, window: &mut Window) {
        self.note_loss(window);
    }

    /// OnEnterRTO().
    pub(super) fn timeout(&mut self, window: &mut Window, nxt: Seq) {
        self.save_state_upon_loss(window);
        (self.in_recovery, self.in_loss, self.loss_end) = (false, true, nxt);
    }

    /// "Updating the Model Upon Detecting a Spurious Loss Recovery".
    pub(super) fn undo(&mut self, window: &mut Window) {
        (self.in_recovery, self.in_loss) = (false, false);
        self.restore_cwnd(window);
        let undo = self.undo;
        self.model.undo(undo.bw_shortterm, undo.inflight_shortterm, undo.inflight_longterm);
        match undo.state {
            Some(State::Startup) if self.state != State::Startup => {
                self.model.full_bw_reached = false;
                if self.state != State::ProbeRtt {
                    self.enter_startup();
                }
            }
            Some(State::Up) if !matches!(self.state, State::Up | State::ProbeRtt) => self.start_refill(),
            _ => {}
        }
        self.undo.state = None;
    }

    fn save_state_upon_loss(&mut self, window: &mut Window) {
        self.save_cwnd(window);
        self.undo = Undo {
            state: None,
            bw_shortterm: self.model.bw_shortterm,
            inflight_shortterm: self.model.inflight_shortterm,
            inflight_longterm: self.model.inflight_longterm,
        };
    }

    fn save_cwnd(&self, window: &mut Window) {
        let in_recovery = self.in_recovery || self.in_loss || self.state == State::ProbeRtt;
        window.prior_cwnd = if in_recovery { window.prior_cwnd.max(window.cwnd) } else { window.cwnd };
    }

    fn restore_cwnd(&self, window: &mut Window) {
        window.cwnd = window.cwnd.max(window.prior_cwnd);
    }

    // "Updating Control Parameters"

    /// SetPacingRateWithGain().
    fn set_pacing_rate_with_gain(&mut self, gain: u32) {
        let rate = u64::from(self.model.bw()) * u64::from(gain * (100 - PACING_MARGIN)) / 10_000;
        if self.model.full_bw_reached || rate > u64::from(self.pacing_rate) {
            self.pacing_rate = saturate(rate).max(1);
        }
    }

    /// "Congestion Window", Inflight() with QuantizationBudget().
    fn inflight(&self, gain: u32, mss: u32) -> u32 {
        self.quantized(self.model.bdp(gain), mss)
    }

    fn quantized(&self, inflight: u32, mss: u32) -> u32 {
        // SetSendQuantum(), UpdateOffloadBudget()
        let quantum = (self.pacing_rate / 1_000).min(0xffff).max(2 * mss);
        let inflight = inflight.max(3 * quantum).max(MIN_PIPE * mss);
        if self.state == State::Up { inflight.saturating_add(2 * mss) } else { inflight }
    }

    /// "cwnd Adjustment Mechanism".
    fn set_cwnd(&self, window: &mut Window, sample: &AckSample, initial_cwnd: u32) {
        let mss = sample.mss;
        let max_inflight = if self.model.has_rtt() {
            let inflight = self.model.bdp(self.state.cwnd_gain()).saturating_add(self.model.extra_acked());
            self.quantized(inflight, mss)
        } else {
            initial_cwnd
        };
        let grown = window.cwnd.saturating_add(sample.delivered);
        if self.model.full_bw_reached {
            window.cwnd = grown.min(max_inflight);
        } else if window.cwnd < max_inflight || self.model.delivered < initial_cwnd {
            window.cwnd = grown;
        }
        // BoundCwndForProbeRTT(), BoundCwndForModel()
        let cap = match self.state {
            State::Startup | State::Drain => u32::MAX,
            State::Down | State::Refill | State::Up => self.model.inflight_longterm,
            State::Cruise => self.inflight_with_headroom(mss),
            State::ProbeRtt => self.inflight_with_headroom(mss).min(self.probe_rtt_cwnd),
        };
        window.cwnd = window.cwnd.min(cap.min(self.model.inflight_shortterm)).max(MIN_PIPE * mss);
    }

    fn next_random(&mut self) -> u32 {
        // xorshift32: mixing flows needs no more.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }
}

/// IsInflightTooHigh(). Without SACK the counts come from recovery's estimates, and the same rule serves.
fn too_high(lost: u32, in_flight: u32) -> bool {
    lost > percent(in_flight, LOSS_THRESHOLD)
}

fn rate_of(sample: &AckSample) -> u32 {
    sample.rate.map_or(0, |rate| saturate(rate.rate()))
}

fn percent(value: u32, percent: u32) -> u32 {
    (u64::from(value) * u64::from(percent) / 100) as u32
}

fn saturate(value: u64) -> u32 {
    value.min(u64::from(u32::MAX)) as u32
}
