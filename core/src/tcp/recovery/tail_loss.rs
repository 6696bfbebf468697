//! Timers that look for losses before that of retransmission does: tail loss probes (RFC 8985 §7) and RACK's reordering timer.
//!
//! In Linux the three are one timer. Here each has its own, and that of retransmission is put off as long as one of the others
//! comes first.

use super::{CongestionState, Resend};
use crate::tcp::Context;
use crate::tcp::congestion::Cause;
use crate::tcp::connection::Connection;
use crate::tcp::rate::clock;
use crate::tcp::scoreboard::AckNews;
use crate::tcp::seq::Seq;
use crate::tcp::timers::Timer;
use crate::time::{Duration, Instant};

/// A timer whose time has passed already expires after this, as in Linux.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

impl Connection {
    /// RFC 8985 §7.4: what became of the tail loss probe.
    pub(super) fn judge_probe(&mut self, context: &mut Context<'_, '_>, news: &AckNews, end: Seq) {
        if self.snd_una < end {
            return;
        }
        let repeats = !news.advanced && !news.no_duplicate && !news.sacked;
        if !self.recovery.probe_resent || news.dsack_of_probe || (self.snd_una == end && repeats) {
            // New data was acknowledged, or original and probe have both arrived.
            self.recovery.probe_end = None;
        } else if self.snd_una > end {
            context.counters.tcp_loss_probe_recoveries += 1;
            // The probe has repaired a loss, which the congestion window must answer.
            self.begin_reduction(Cause::Loss);
            self.recovery.state = CongestionState::Reduction;
            self.end_reduction();
            self.keep_open(context);
        }
    }

    /// The reordering timer expired (RFC 8985 §6.2 step 5).
    pub(crate) fn reordering_timeout(&mut self, context: &mut Context<'_, '_>) {
        self.recovery.newly_lost = 0;
        let before = self.records.in_flight();
        self.detect_losses(context);
        self.timers.set(Timer::Retransmit, self.head_timeout(context).max(context.now + TIMER_GRAIN));
        if before == self.records.in_flight() {
            return;
        }
        if self.recovery.state != CongestionState::Recovery {
            self.enter_recovery(false);
            if !self.congestion.owns_recovery() {
                self.reduce_rate(1, self.recovery.newly_lost, false);
            }
        }
        self.recovery.resend = Resend::Lost;
    }

    /// The probe timer expired (RFC 8985 §7.3); one probe at a time.
    pub(crate) fn probe_timeout(&mut self, context: &Context<'_, '_>) {
        self.recovery.probe_due = self.recovery.probe_end.is_none() && !self.records.is_empty();
        self.timers.set(Timer::Retransmit, self.head_timeout(context).max(context.now + TIMER_GRAIN));
    }

    /// An ACK has let the connection go on: the probe timer, or that of retransmission, starts anew.
    pub(super) fn set_loss_timer(&mut self, context: &Context<'_, '_>) {
        let was_watching = self.timers.is_set(Timer::TailLoss) || self.timers.is_set(Timer::Reordering);
        self.timers.stop(Timer::Reordering);
        self.timers.stop(Timer::TailLoss);
        if self.outstanding() == 0 {
            self.timers.stop(Timer::Retransmit);
            return;
        }
        self.restart_retransmit_timer(context.now);
        let until = context.now + self.rtt.rto(&self.config);
        if !self.set_probe_timer(context, until) && was_watching {
            // The time that the other timers took counts.
            self.timers.set(Timer::Retransmit, self.head_timeout(context).max(context.now + TIMER_GRAIN));
        }
    }

    /// When the first outstanding segment is overdue.
    pub(crate) fn head_timeout(&self, context: &Context<'_, '_>) -> Instant {
        let rto = self.rtt.rto(&self.config);
        let Some(number) = self.records.first() else { return context.now + rto };
        let sent = self.records.get(context.pool, number).sent;
        let age = Duration::from_micros(u64::from(clock(context.now).wrapping_sub(sent)));
        context.now - age + rto
    }

    /// The last of several segments has left: the probe timer starts for them.
    #[inline(never)] // Called from two places: one copy is enough.
    pub(crate) fn watch_tail(&mut self, context: &Context<'_, '_>) {
        let until = match self.timers.get(Timer::Retransmit) {
            // The only one outstanding has just left, and the timer was set for it.
            Some(until) if self.records.len() == 1 => until,
            _ => self.head_timeout(context),
        };
        self.set_probe_timer(context, until);
    }

    /// Sets the tail loss probe (RFC 8985 §7.2), at `until` at the latest; false where none is due.
    fn set_probe_timer(&mut self, context: &Context<'_, '_>, until: Instant) -> bool {
        let state = self.recovery.state;
        let is_quiet = matches!(state, CongestionState::Open | CongestionState::Reduction);
        if !self.config.tail_loss_probe || !self.sack || !is_quiet || self.records.is_empty() {
            return false;
        }
        let wait = match self.rtt.srtt() {
            // "If there is a single segment in flight", its ACK may be delayed.
            Some(srtt) if self.records.len() == 1 => srtt + srtt + self.config.min_rto,
            Some(srtt) => srtt + srtt + Duration::from_millis(2),
            None => self.config.initial_rto,
        };
        let at = context.now + wait;
        self.timers.set_first(Timer::TailLoss, if until > context.now { at.min(until) } else { at });
        true
    }
}
