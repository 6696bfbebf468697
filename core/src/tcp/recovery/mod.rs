//! Loss recovery: the states of RFC 5681 and RFC 6582 over the scoreboard, with proportional rate reduction (RFC 9937),
//! and what takes them back when nothing was lost: Eifel (RFC 3522, RFC 4015), DSACK (RFC 3708) and F-RTO (RFC 5682).
//!
//! An ACK is first [noted](crate::tcp::scoreboard), then [`Connection::recover`] decides: RACK (or, without SACK, duplicate acknowledgments) marks
//! what is lost, the state follows, the congestion window is set, and [`Resend`] says what `output` may send again. The order of
//! these steps, and the counting in whole segments, are those of Linux: a segment that is not full takes the place of a full one
//! in the window.

mod tail_loss;
mod timeout;
mod undo;

use crate::tcp::congestion::{AckSample, Cause};
use crate::tcp::connection::Connection;
use crate::tcp::ecn::EcnMode;
use crate::tcp::rack::Rack;
use crate::tcp::rate::{Newest, clock};
use crate::tcp::scoreboard::{AckNews, micros};
use crate::tcp::seq::Seq;
use crate::tcp::timers::Timer;
use crate::tcp::timestamps::is_older;
use crate::tcp::{Context, Segment};
use crate::time::Duration;
use crate::wire::SackBlocks;

/// Duplicate acknowledgments that mean loss as long as no reordering was seen (RFC 5681 §3.2).
pub(crate) const DUPLICATE_THRESHOLD: u32 = 3;

/// The state of loss recovery, as in Linux's `ca_state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CongestionState {
    /// Nothing suspicious.
    #[default]
    Open,
    /// Segments have arrived out of order, or twice, without telling of a loss.
    Disorder,
    /// The congestion window is reduced, but not for a loss that is being repaired.
    Reduction,
    /// Fast recovery.
    Recovery,
    /// After a retransmission timeout.
    Loss,
}

/// What may be sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Resend {
    /// Nothing until the next ACK.
    Nothing,
    /// What is lost.
    #[default]
    Lost,
    /// New data first, to find out whether the timeout was spurious (RFC 5682 §2.1 step 2b); if there is none, what is lost.
    NewFirst,
}

/// Proportional rate reduction (RFC 9937 §6), in segments.
#[derive(Clone, Copy, Debug)]
struct RateReduction {
    /// RecoverFS: the window before, as Linux has it.
    prior_cwnd: u32,
    delivered: u32,
    sent: u32,
}

/// What one connection knows of its losses beyond the segment records.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    state: CongestionState,
    pub(crate) resend: Resend,
    /// The timeout may be spurious: what is acknowledged now tells (RFC 5682).
    frto: bool,
    /// The reduction can be taken back if it proves needless: it was for a loss only.
    may_restore: bool,
    /// Recovery ends when this is acknowledged (RecoveryPoint); SND.NXT as it began.
    pub(crate) high_seq: Seq,
    /// SND.UNA when the present recovery began, as long as it may prove needless.
    pub(crate) undo_marker: Option<Seq>,
    /// Retransmissions since then that no DSACK has reported as duplicates; -1 if there were none.
    pub(crate) undo_retransmits: i32,
    /// SND.NXT when losses proved to be none in the midst of a recovery.
    undone_to: Seq,
    /// TSval of the first of them (RFC 3522 §3.2 RetransmitTS).
    resent_at: Option<u32>,
    reduction: RateReduction,
    /// SND.NXT when a tail loss probe was sent, until its fate is known (RFC 8985 §7.4 TLP.end_seq).
    pub(crate) probe_end: Option<Seq>,
    /// The probe sent something again (TLP.is_retrans).
    probe_resent: bool,
    /// New data has left since the probe timer was set.
    pub(crate) tail_unwatched: bool,
    /// The next transmission is a tail loss probe.
    pub(crate) probe_due: bool,
    /// The end of the highest segment SACKed; means nothing while none is.
    pub(crate) highest_sacked: Seq,
    pub(crate) rack: Rack,
    /// Segments by which one may be overtaken without being lost.
    reordering: u16,
    reordering_events: u16,
    pub(crate) dsack_segments: u32,
    /// Segments marked lost by the ACK that is being processed, and whether one of them had been sent again.
    pub(crate) newly_lost: u32,
    pub(crate) resent_lost: bool,
    /// How far the first of the records that wait, longer than the path allows by now, was sent again.
    pub(crate) resent_to: Seq,
}

impl Recovery {
    pub(crate) const NEW: Recovery = Recovery {
        state: CongestionState::Open,
        resend: Resend::Lost,
        frto: false,
        may_restore: false,
        high_seq: Seq(0),
        undo_marker: None,
        undone_to: Seq(0),
        undo_retransmits: 0,
        resent_at: None,
        reduction: RateReduction { prior_cwnd: 0, delivered: 0, sent: 0 },
        probe_end: None,
        probe_resent: false,
        tail_unwatched: false,
        probe_due: false,
        highest_sacked: Seq(0),
        rack: Rack::NEW,
        reordering: 0,
        reordering_events: 0,
        dsack_segments: 0,
        newly_lost: 0,
        resent_lost: false,
        resent_to: Seq(0),
    };

    /// The connection begins.
    pub(crate) fn begin(&mut self, iss: Seq, reordering: u8) {
        (self.high_seq, self.undone_to, self.highest_sacked, self.resent_to) = (iss, iss, iss, iss);
        self.reordering = u16::from(reordering);
    }

    #[inline]
    pub(crate) fn state(&self) -> CongestionState {
        self.state
    }

    /// Whether proportional rate reduction is under way.
    #[inline]
    pub(crate) fn is_reducing(&self) -> bool {
        matches!(self.state, CongestionState::Reduction | CongestionState::Recovery)
    }

    /// Segments by which one may be overtaken without being lost.
    #[inline]
    pub(crate) fn reordering(&self) -> u32 {
        u32::from(self.reordering)
    }

    #[inline]
    pub(crate) fn reordering_seen(&self) -> bool {
        self.reordering_events > 0
    }

    /// How often segments were seen to arrive out of order.
    pub(crate) fn reordering_events(&self) -> u32 {
        u32::from(self.reordering_events)
    }

    pub(crate) fn saw_reordering(&mut self, segments: u32) {
        self.reordering = self.reordering.max(segments.min(u32::from(u16::MAX)) as u16);
        self.reordering_events = self.reordering_events.saturating_add(1);
    }

    /// A segment goes out, new or again, while the rate is being reduced.
    #[inline]
    pub(crate) fn sent(&mut self) {
        if self.is_reducing() {
            self.reduction.sent += 1;
        }
    }

    /// A piece of a lost segment goes out again; `value` is its TSval.
    pub(crate) fn resent_piece(&mut self, value: u32) {
        self.resent_at.get_or_insert(value);
    }

    /// A lost segment has gone out again.
    pub(crate) fn resent(&mut self) {
        self.sent();
        self.undo_retransmits = self.undo_retransmits.max(0) + 1;
    }

    /// A tail loss probe has left, by sending something again or not; SND.NXT is `nxt`.
    pub(crate) fn probed(&mut self, nxt: Seq, resent: bool) {
        self.probe_due = false;
        self.probe_end = Some(nxt);
        self.probe_resent = resent;
    }
}

impl Connection {
    /// The congestion window in segments.
    pub(super) fn cwnd_segments(&self) -> u32 {
        (self.congestion.cwnd() / self.mss).max(1)
    }

    /// Whether a timestamp's echo is older than what went out at `sent`, on the clock of records.
    pub(crate) fn is_echo_before(&self, context: &Context<'_, '_>, echo: u32, sent: u32) -> bool {
        let age = Duration::from_micros(u64::from(clock(context.now).wrapping_sub(sent)));
        is_older(echo, self.timestamps.value(context.now - age))
    }

    /// Whether the state is such that only SACK blocks, marks and duplicates could change it.
    #[inline]
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.recovery.state == CongestionState::Open
            && self.recovery.probe_end.is_none()
            && self.ecn.mode != EcnMode::Accurate
    }

    /// Whether every outstanding segment was sent once and is in flight, to a peer that would tell otherwise. An ACK of more,
    /// without SACK blocks and marks, then is the [usual one](Self::usual_ack).
    #[inline]
    pub(crate) fn all_is_fresh(&self) -> bool {
        self.sack && self.timeouts == 0 && self.records.are_fresh()
    }

    /// The usual ACK has come, and has moved SND.UNA on: of an [undisturbed](Self::is_undisturbed) connection of which
    /// [all is fresh](Self::all_is_fresh), without SACK blocks and marks. What [`ack_arrived`](Self::ack_arrived) does, as far as there is
    /// something to do.
    #[inline(never)] // Within its caller the compiler would take it for cold.
    pub(super) fn usual_ack(&mut self, context: &mut Context<'_, '_>) {
        if self.orphaned && self.fin_seq().is_some_and(|fin| self.snd_una > fin) {
            // Nothing more is sent, and nobody can ask: there is nothing to learn for.
            self.figures.delivered = self.figures.delivered.wrapping_add(self.records.len());
            self.records.clear(context.pool, context.account);
        }
        let now = clock(context.now);
        // Fresh segments were sent in their order, so that the last is the newest.
        let Some(first) = self.records.pop(context.pool, context.account, self.snd_una) else {
            return self.set_loss_timer(context);
        };
        let (mut last, mut delivered, mut bytes) = (first, 1, u32::from(first.len));
        while !self.records.is_empty()
            && let Some(record) = self.records.pop_next(context.pool, context.account, self.snd_una)
        {
            delivered += 1;
            bytes += u32::from(record.len);
            last = record;
        }
        self.figures.delivered = self.figures.delivered.wrapping_add(delivered);
        self.recovery.rack.delivered(now, &last, 0);
        let mut newest = Newest::default();
        self.rate.on_delivered(&mut newest, context.now, last.stamp, last.sent, bytes);
        let (longest, rtt) = (micros(now.wrapping_sub(first.sent)), micros(now.wrapping_sub(last.sent)));
        self.rtt.measured(context.now, &self.config, (self.snd_una, self.snd_nxt), (longest, rtt));
        self.recovery.rack.update_reordering_window(self.snd_una, self.snd_nxt);
        self.set_loss_timer(context);
        let sample = self.ack_sample(context, delivered, newest, Some(rtt));
        self.tell_controller(&sample);
    }

    /// What the controller is told of an ACK that has delivered so many segments, in order.
    #[inline]
    fn ack_sample(
        &mut self,
        context: &Context<'_, '_>,
        segments: u32,
        newest: Newest,
        rtt: Option<Duration>,
    ) -> AckSample {
        let delivered = segments * self.mss;
        AckSample {
            now: context.now,
            mss: self.mss,
            una: self.snd_una,
            nxt: self.snd_nxt,
            acked: delivered,
            delivered,
            lost: 0,
            flight: self.in_flight(),
            rtt,
            srtt: micros(self.rtt.srtt_micros()),
            rate: self.rate.sample(newest, self.rtt.min_rtt()),
            in_recovery: false,
        }
    }

    #[inline]
    fn tell_controller(&mut self, sample: &AckSample) {
        self.congestion.acknowledged(sample);
        if self.congestion.holds_back() {
            self.rate.on_app_limited(sample.flight);
        }
    }

    /// An ACK has come; what it says of SND.UNA and the window is done. `news` were readied before.
    pub(crate) fn ack_arrived(
        &mut self,
        context: &mut Context<'_, '_>,
        segment: &Segment<'_>,
        sacks: &SackBlocks,
        news: &mut AckNews,
    ) {
        let ack = segment.ack;
        if self.sack && !sacks.is_empty() {
            self.note_sacks(context, ack, sacks, news);
        }
        if ack < self.snd_una {
            // It is old, but its SACK blocks may tell something new.
            if !sacks.is_empty() && self.sack {
                self.alert(context, news, false);
            }
            return;
        }
        if self.snd_una > news.una_before {
            self.note_cumulative(context, news);
        }
        // Not what ends the handshake, whose flags mean something else, nor what may be older than the ACK before.
        let tells_marks = news.una_before != self.iss && (news.advanced || news.delivered > 0 || self.ecn.is_newer);
        if self.ecn.mode == EcnMode::Accurate && tells_marks {
            let bytes = self.snd_una - news.una_before;
            let (flags, options) = (segment.flags, segment.options);
            news.marked = self.ecn.accurate.acknowledged(flags, options, news.delivered, bytes, self.mss);
        }
        self.recover(context, news);
    }

    /// What follows from the news of an ACK.
    fn recover(&mut self, context: &mut Context<'_, '_>, news: &mut AckNews) {
        let measured = self.measure(context, news);
        // RFC 6298 §5.3, also where only a part of a segment is acknowledged.
        let mut restart_timer = news.advanced || (measured && news.sacked && self.head_is_older(context, news));
        if news.delivered > 0 {
            self.recovery.rack.update_reordering_window(self.snd_una, self.snd_nxt);
        }
        if let Some(end) = self.recovery.probe_end {
            self.judge_probe(context, news, end);
        }
        self.recovery.newly_lost = 0;
        let is_duplicate = !news.advanced && !news.no_duplicate && !self.records.is_empty();
        if self.records.is_empty() && !news.advanced {
            // Nothing was outstanding that a mark could be on.
            news.marked = 0;
        }
        if is_duplicate || news.sacked || news.dsack || news.marked > 0 || self.recovery.state != CongestionState::Open
        {
            restart_timer &= self.alert(context, news, is_duplicate && !news.dsack);
        }
        if restart_timer || self.outstanding() == 0 {
            self.set_loss_timer(context);
        }
        self.control_congestion(context, news);
    }

    /// Tells the congestion controller, and reduces the rate in proportion to what was delivered.
    fn control_congestion(&mut self, context: &mut Context<'_, '_>, news: &mut AckNews) {
        let lost = self.recovery.newly_lost;
        if news.delivered == 0 && lost == 0 {
            return;
        }
        let is_reducing = self.recovery.is_reducing();
        let mut sample = self.ack_sample(context, news.delivered, news.newest, news.rtt);
        sample.lost = lost * self.mss;
        sample.in_recovery = is_reducing;
        // Data delivered out of order lets the window grow only where that is usual (Linux's `tcp_may_raise_cwnd`).
        if news.acked == 0 && self.recovery.reordering() <= u32::from(self.config.reordering) {
            sample.acked = 0;
        }
        if is_reducing && !self.congestion.owns_recovery() {
            self.reduce_rate(news.delivered, lost, news.advanced);
        }
        self.tell_controller(&sample);
    }

    /// RFC 9937 §6.2 for one ACK.
    fn reduce_rate(&mut self, delivered: u32, lost: u32, advanced: bool) {
        let reduction = &mut self.recovery.reduction;
        if delivered == 0 || reduction.prior_cwnd == 0 {
            return;
        }
        let ssthresh = i64::from(self.congestion.ssthresh() / self.mss);
        let in_flight = i64::from(self.records.in_flight());
        reduction.delivered += delivered;
        let (total, sent) = (i64::from(reduction.delivered), i64::from(reduction.sent));
        let mut send = if in_flight > ssthresh {
            let prior = i64::from(reduction.prior_cwnd);
            (ssthresh * total + prior - 1) / prior - sent
        } else {
            // "SafeACK": progress without further losses.
            let safe = i64::from(advanced && lost == 0);
            let limit = (total - sent).max(i64::from(delivered)) + safe;
            limit.min(ssthresh - in_flight)
        };
        // "Force a fast retransmit upon entering recovery", and at a partial acknowledgment without SACK (RFC 6582 §3.2 step 3).
        send = send.max(i64::from(sent == 0 || (!self.sack && advanced && lost > 0)));
        let cwnd = (in_flight + send).max(1) as u32;
        self.congestion.set_cwnd(cwnd * self.mss);
    }

    /// Looks into an ACK that may tell of losses (Linux's `tcp_fastretrans_alert`). False if a timer was set meanwhile which
    /// the usual ones must not replace.
    fn alert(&mut self, context: &mut Context<'_, '_>, news: &mut AckNews, is_duplicate: bool) -> bool {
        self.recovery.resend = Resend::Nothing;
        // A window that was reduced for a mark, too, stays so.
        self.recovery.may_restore &= news.marked == 0;
        if self.records.is_empty() {
            self.records.sacked = 0;
        }
        if self.has_reneged(context, news) {
            return false;
        }
        if self.recovery.state == CongestionState::Open {
            self.recovery.resent_at = None;
        } else if self.snd_una >= self.recovery.high_seq && !self.leave_recovery(context, news) {
            return true;
        }
        match self.recovery.state {
            CongestionState::Recovery => {
                if !news.advanced {
                    if !self.sack && is_duplicate {
                        self.add_guess(news);
                    }
                } else if self.undo_partially(context, news) {
                    return true;
                }
                if self.undo_by_dsack() {
                    self.try_to_open(context, news);
                }
                let timers_free = self.identify_losses(context, news.advanced);
                if self.recovery.state != CongestionState::Recovery {
                    if self.records.lost() == 0 {
                        return timers_free;
                    }
                    self.enter_recovery(news.marked > 0);
                }
                self.recovery.resend = Resend::Lost;
                timers_free
            }
            CongestionState::Loss => {
                self.process_loss(context, news, is_duplicate);
                self.recovery.resent_lost = false;
                let timers_free = self.identify_losses(context, news.advanced);
                // Goes on if the loss was undone, or if what was sent again is lost too.
                if self.recovery.state != CongestionState::Open && !self.recovery.resent_lost {
                    return timers_free;
                }
                self.suspect(context, news, is_duplicate, timers_free)
            }
            _ => self.suspect(context, news, is_duplicate, true),
        }
    }

    /// Outside recovery: whether it begins.
    fn suspect(
        &mut self,
        context: &mut Context<'_, '_>,
        news: &mut AckNews,
        is_duplicate: bool,
        timers_free: bool,
    ) -> bool {
        if !self.sack {
            if news.advanced {
                self.records.sacked = 0;
            }
            if is_duplicate {
                self.add_guess(news);
            }
        }
        if self.recovery.state <= CongestionState::Disorder {
            self.undo_by_dsack();
        }
        let timers_free = self.identify_losses(context, news.advanced) && timers_free;
        if self.records.lost() == 0 {
            self.try_to_open(context, news);
        } else if self.path_mtu.is_probing() && self.mtu_probe_lost(context) {
            return false;
        } else {
            self.enter_recovery(news.marked > 0);
            self.recovery.resend = Resend::Lost;
        }
        timers_free
    }

    /// The ACK ends where something was SACKed before: the peer has dropped it again (RFC 2018 §8). It is given some time to show that
    /// the network merely reordered ACKs.
    fn has_reneged(&mut self, context: &Context<'_, '_>, news: &AckNews) -> bool {
        if !news.advanced || !self.sack {
            return false;
        }
        let Some(number) = self.records.first() else { return false };
        if !self.records.get(context.pool, number).is_sacked() {
            return false;
        }
        let patience = Duration::from_micros(u64::from(self.rtt.srtt_micros() / 2)).max(Duration::from_millis(10));
        self.timers.set(Timer::Retransmit, context.now + patience);
        true
    }

    /// Everything outstanding when the state was entered is acknowledged. False if that is all that the ACK means.
    fn leave_recovery(&mut self, context: &Context<'_, '_>, news: &AckNews) -> bool {
        match self.recovery.state {
            CongestionState::Reduction if self.snd_una != self.recovery.high_seq => {
                self.end_reduction();
                self.recovery.state = CongestionState::Open;
            }
            CongestionState::Recovery => {
                if !self.sack {
                    self.records.sacked = 0;
                }
                if self.undo_recovery(context, news) {
                    return false;
                }
                self.end_reduction();
            }
            _ => {}
        }
        true
    }

    /// Marks what is lost. False if the reordering timer was set.
    fn identify_losses(&mut self, context: &mut Context<'_, '_>, advanced: bool) -> bool {
        let Some(first) = self.records.first() else { return true };
        if self.sack {
            return !self.detect_losses_after_ack(context);
        }
        // RFC 5681 §3.2, and RFC 6582 §3.2 step 3 for a partial acknowledgment: the next hole begins at SND.UNA.
        let is_lost = match self.recovery.state {
            CongestionState::Recovery => advanced,
            CongestionState::Loss => false,
            _ => u32::from(self.records.sacked) >= self.recovery.reordering(),
        };
        if is_lost && !self.records.get(context.pool, first).is_lost() {
            self.lose(context, first);
        }
        true
    }

    fn enter_recovery(&mut self, is_marked: bool) {
        self.mark_undo();
        if self.recovery.is_reducing() {
            self.recovery.may_restore = false;
        } else {
            self.recovery.may_restore = !is_marked;
            self.begin_reduction(Cause::Loss);
        }
        self.recovery.state = CongestionState::Recovery;
    }

    /// Begins to reduce the window, once for each window of data.
    fn begin_reduction(&mut self, cause: Cause) {
        self.recovery.high_seq = self.snd_nxt;
        self.recovery.probe_end = None;
        self.recovery.reduction = RateReduction { prior_cwnd: self.cwnd_segments(), delivered: 0, sent: 0 };
        self.congestion.reduce(self.mss, cause);
        self.ecn.reduced();
    }

    fn end_reduction(&mut self) {
        let is_due = self.recovery.state == CongestionState::Reduction || self.recovery.undo_marker.is_some();
        if is_due && !self.congestion.owns_recovery() && self.congestion.ssthresh() < u32::MAX {
            self.congestion.recovered(self.mss);
        }
    }

    fn try_to_open(&mut self, context: &Context<'_, '_>, news: &AckNews) {
        if !self.is_any_resent(context) {
            self.recovery.resent_at = None;
        }
        if news.marked > 0 && self.recovery.state < CongestionState::Reduction {
            // RFC 3168 §6.1.2: as after a loss, once for each window of data.
            self.recovery.undo_marker = None;
            self.begin_reduction(Cause::Ecn { alternative: self.config.alternative_backoff });
            self.recovery.state = CongestionState::Reduction;
        }
        if self.recovery.state != CongestionState::Reduction {
            self.keep_open(context);
        }
    }

    fn keep_open(&mut self, context: &Context<'_, '_>) {
        let is_clean = self.records.sacked == 0 && self.records.lost() == 0 && !self.is_any_resent(context);
        let state = if is_clean { CongestionState::Open } else { CongestionState::Disorder };
        if state != self.recovery.state {
            self.recovery.state = state;
            self.recovery.high_seq = self.snd_nxt;
        }
    }

    /// Whether a retransmission may still make a duplicate.
    fn is_any_resent(&self, context: &Context<'_, '_>) -> bool {
        let is_first = |number| self.records.get(context.pool, number).was_resent();
        self.records.resent() > 0 || self.records.first().is_some_and(is_first)
    }
}
