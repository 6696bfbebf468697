//! RACK: losses told by time (RFC 8985 §6), with the habits of Linux where the RFC leaves them free.
//!
//! Once a segment is delivered, whatever was sent long enough before it and is not delivered is lost. "Long enough" is a
//! round trip, and after signs of reordering a window on top of it, which grows when the peer reports duplicates.

use crate::tcp::Context;
use crate::tcp::connection::Connection;
use crate::tcp::rate::clock;
use crate::tcp::records::{MarkedLost, Record};
use crate::tcp::recovery::CongestionState;
use crate::tcp::seq::Seq;
use crate::tcp::timers::Timer;
use crate::time::Duration;

/// RFC 8985 §6.2 step 4: a window widened for a DSACK narrows again after this many recoveries without one.
pub(crate) const PERSISTENT_RECOVERIES: u8 = 16;

/// Records looked at for the exact time of the reordering timer; behind them its upper bound is as good.
const EXACT: u32 = 32;

/// Added to the reordering timer, as Linux does: timers have a grain.
const TIMER_SLACK: Duration = Duration::from_millis(2);

/// The segment sent last among those delivered, and the reordering window.
#[derive(Clone, Debug)]
pub(crate) struct Rack {
    /// When it was sent, on the clock of records (RACK.xmit_ts), and where it ended (RACK.end_seq). None if nothing was delivered since
    /// the connection was idle.
    newest: Option<(u32, Seq)>,
    /// Its round trip in microseconds.
    rtt: u32,
    /// Something was delivered since losses were looked for.
    pub(crate) advanced: bool,
    /// The reordering window in quarters of the smallest round trip, less one.
    extra_steps: u8,
    /// Recoveries for which the window stays as wide as it is.
    pub(crate) persist: u8,
    /// The peer has reported a duplicate that reordering may explain.
    pub(crate) duplicate_seen: bool,
    /// The window is not widened again before this is acknowledged.
    round_end: Seq,
}

/// Whether a segment was sent after another (RFC 8985 §6.2 step 2).
#[inline]
fn is_sent_after(sent: u32, end: Seq, other_sent: u32, other_end: Seq) -> bool {
    match sent.wrapping_sub(other_sent) as i32 {
        0 => end > other_end,
        difference => difference > 0,
    }
}

impl Rack {
    pub(crate) const NEW: Rack = Rack {
        newest: None,
        rtt: 0,
        advanced: false,
        extra_steps: 0,
        persist: 0,
        duplicate_seen: false,
        round_end: Seq(0),
    };

    /// Nothing was outstanding for a while: what was delivered before says nothing, and its time may have wrapped.
    #[inline]
    pub(crate) fn restart(&mut self) {
        self.newest = None;
    }

    /// RFC 8985 §6.2 step 2: a segment was delivered; the record is as it was before.
    #[inline]
    pub(crate) fn delivered(&mut self, now: u32, record: &Record, min_rtt: u32) {
        let rtt = now.wrapping_sub(record.sent);
        // "Ignore the packet if any of its data has been retransmitted and [...] the round trip is smaller than the minimum":
        // the original must have arrived.
        if record.was_resent() && rtt < min_rtt {
            return;
        }
        self.advanced = true;
        self.rtt = rtt;
        if self.newest.is_none_or(|(sent, end)| is_sent_after(record.sent, record.end, sent, end)) {
            self.newest = Some((record.sent, record.end));
        }
    }

    /// RFC 8985 §6.2 step 4, for an ACK that has delivered something.
    pub(crate) fn update_reordering_window(&mut self, una: Seq, nxt: Seq) {
        if core::mem::take(&mut self.duplicate_seen) && una >= self.round_end {
            self.extra_steps = self.extra_steps.saturating_add(1);
            self.round_end = nxt;
            self.persist = PERSISTENT_RECOVERIES;
        } else if self.persist == 0 {
            self.extra_steps = 0;
        }
        // Keeps the comparison within half the sequence space.
        self.round_end = self.round_end.max(una);
    }
}

impl Connection {
    /// The reordering window in microseconds (RFC 8985 §6.2 step 4).
    fn reordering_window(&self) -> u32 {
        let recovery = &self.recovery;
        if !recovery.reordering_seen() {
            // "If no reordering has been observed, RACK [...] marks at once when entering recovery by the threshold."
            let by_threshold = u32::from(self.records.sacked) >= recovery.reordering() && self.config.rack_threshold;
            if recovery.state() >= CongestionState::Recovery || by_threshold {
                return 0;
            }
        }
        let steps = 1 + u32::from(recovery.rack.extra_steps);
        (self.rtt.min_rtt() / 4).saturating_mul(steps).min(self.rtt.srtt_micros())
    }

    /// Marks what is lost (RFC 8985 §6.2 step 5); returns how long it takes until more may be.
    pub(crate) fn detect_losses(&mut self, context: &mut Context<'_, '_>) -> Option<Duration> {
        let (newest_sent, newest_end) = self.recovery.rack.newest?;
        let now = clock(context.now);
        let patience = i64::from(self.recovery.rack.rtt) + i64::from(self.reordering_window());
        // How long a segment may still take, if it was sent before the newest that was delivered.
        let wait_for = |record: &Record| {
            is_sent_after(newest_sent, newest_end, record.sent, record.end)
                .then(|| patience - i64::from(now.wrapping_sub(record.sent)))
        };
        let longest = patience - i64::from(now.wrapping_sub(newest_sent));
        let mut wait = 0;
        while let Some((number, record)) = self.records.first_resent(context.pool) {
            match wait_for(&record) {
                // What has left at this very instant cannot be late.
                _ if record.sent == now => break,
                Some(rest) if rest <= 0 => self.lose(context, number),
                Some(_) => {
                    wait = longest;
                    break;
                }
                None => break,
            }
        }
        while let Some((number, record)) = self.records.first_fresh(context.pool) {
            match wait_for(&record) {
                Some(rest) if rest <= 0 => self.lose(context, number),
                Some(rest) => {
                    wait = wait.max(rest);
                    break;
                }
                None => break,
            }
        }
        if wait > 0 && wait < longest {
            wait = self.longest_wait(context, wait, longest, wait_for);
        }
        (wait > 0).then(|| Duration::from_micros(wait as u64))
    }

    /// The longest of the times that the fresh records behind the first may take, at most `longest`.
    fn longest_wait(
        &mut self,
        context: &Context<'_, '_>,
        first: i64,
        longest: i64,
        wait_for: impl Fn(&Record) -> Option<i64>,
    ) -> i64 {
        let Some((number, _)) = self.records.first_fresh(context.pool) else { return longest };
        let mut wait = first;
        for place in 1..EXACT {
            let number = number.wrapping_add(place);
            if !self.records.contains(number) {
                return wait;
            }
            let record = self.records.get(context.pool, number);
            if !record.is_fresh() {
                continue;
            }
            match wait_for(&record) {
                Some(rest) => wait = wait.max(rest),
                None => return wait,
            }
        }
        longest
    }

    /// Looks for losses after an ACK; true if the reordering timer runs now instead of the others.
    pub(crate) fn detect_losses_after_ack(&mut self, context: &mut Context<'_, '_>) -> bool {
        if !core::mem::take(&mut self.recovery.rack.advanced) {
            return false;
        }
        match self.detect_losses(context) {
            Some(wait) => {
                self.timers.stop(Timer::TailLoss);
                self.timers.set_first(Timer::Reordering, context.now + wait + TIMER_SLACK);
                true
            }
            None => false,
        }
    }

    /// After a timeout, what was sent less than a round trip ago may still arrive (Linux's `tcp_timeout_mark_lost`).
    pub(crate) fn lose_what_is_late(&mut self, context: &mut Context<'_, '_>) {
        let now = clock(context.now);
        let rtt = self.recovery.rack.rtt;
        let is_late = |record: &Record| now.wrapping_sub(record.sent) >= rtt;
        while let Some((number, record)) = self.records.first_resent(context.pool)
            && is_late(&record)
        {
            self.lose(context, number);
        }
        while let Some((number, record)) = self.records.first_fresh(context.pool)
            && is_late(&record)
        {
            self.lose(context, number);
        }
    }

    /// Marks a record lost.
    pub(crate) fn lose(&mut self, context: &mut Context<'_, '_>, number: u32) {
        let marked = self.records.mark_lost(context.pool, number);
        if marked != MarkedLost::No {
            self.recovery.newly_lost += 1;
            self.recovery.resent_lost |= marked == MarkedLost::Again;
            let record = self.records.get(context.pool, number);
            let len = u32::from(record.len);
            self.rate.on_lost(len);
            self.congestion.segment_lost(context.now, &self.rate, record.stamp, len);
        }
    }
}
