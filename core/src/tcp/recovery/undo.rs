//! Recoveries that prove needless are taken back: by timestamps (Eifel, RFC 3522 and RFC 4015), by DSACK (RFC 3708), and by what
//! F-RTO has found (RFC 5682).

use super::CongestionState;
use crate::tcp::Context;
use crate::tcp::connection::Connection;
use crate::tcp::rack::PERSISTENT_RECOVERIES;
use crate::tcp::scoreboard::AckNews;
use crate::tcp::timestamps::is_older;

impl Connection {
    /// The recovery that begins may prove needless.
    pub(super) fn mark_undo(&mut self) {
        self.recovery.undo_marker = Some(self.snd_una);
        let probes = u32::from(self.recovery.probe_end.is_some() && self.recovery.probe_resent);
        self.recovery.undo_retransmits = match self.records.resent() + probes {
            0 => -1,
            count => count as i32,
        };
    }

    /// Whether the ACK shows that the original of the first retransmission has arrived (RFC 3522 §3.2).
    fn was_delayed(&self, news: &AckNews) -> bool {
        match self.recovery.resent_at {
            Some(value) => news.echo.is_some_and(|echo| echo != 0 && is_older(echo, value)),
            // Nothing was sent again yet, and SND.UNA moves on nevertheless.
            None => self.sack || self.snd_una < self.recovery.high_seq,
        }
    }

    /// Whether the present recovery was needless.
    fn may_undo(&self, news: &AckNews) -> bool {
        self.recovery.undo_marker.is_some() && (self.recovery.undo_retransmits == 0 || self.was_delayed(news))
    }

    /// Nothing is lost after all, and the window is as it was (RFC 4015 §3.2).
    fn undo_losses(&mut self, context: &mut Context<'_, '_>) {
        self.records.forget_losses(context.pool);
        self.restore_window();
    }

    fn restore_window(&mut self) {
        if self.recovery.may_restore {
            self.congestion.undo();
            self.ecn.restored();
        }
        self.recovery.undo_marker = None;
        // Losses are looked for again.
        self.recovery.rack.advanced = true;
    }

    /// The recovery is over: was it needless? True if the state is held until more is acknowledged.
    pub(super) fn undo_recovery(&mut self, context: &Context<'_, '_>, news: &AckNews) -> bool {
        if self.may_undo(news) {
            self.restore_window();
        } else {
            self.recovery.rack.persist = self.recovery.rack.persist.saturating_sub(1);
        }
        if self.holds_state(context) {
            return true;
        }
        self.recovery.state = CongestionState::Open;
        false
    }

    /// RFC 6582 §4: without SACK, duplicates of what was sent again needlessly must not start another recovery.
    fn holds_state(&mut self, context: &Context<'_, '_>) -> bool {
        if self.sack || self.snd_una != self.recovery.high_seq {
            return false;
        }
        if !self.is_any_resent(context) {
            self.recovery.resent_at = None;
        }
        true
    }

    /// The hole was filled by a segment that was late, not lost. True if there are retransmissions to wait for.
    pub(super) fn undo_partially(&mut self, context: &mut Context<'_, '_>, news: &AckNews) -> bool {
        // Once for each window of data: it looks at all of that, and a peer may say whatever it likes.
        let is_due = self.recovery.undo_marker.is_some() && self.snd_una >= self.recovery.undone_to;
        if !is_due || !self.was_delayed(news) {
            return false;
        }
        if self.sack {
            self.note_reordering(news.una_before);
        }
        if self.records.resent() > 0 {
            return true;
        }
        if !self.is_any_resent(context) {
            self.recovery.resent_at = None;
        }
        self.recovery.undone_to = self.snd_nxt;
        self.undo_losses(context);
        self.keep_open(context);
        false
    }

    /// All that was sent again was reported as a duplicate (RFC 3708).
    pub(super) fn undo_by_dsack(&mut self) -> bool {
        if self.recovery.undo_marker.is_none() || self.recovery.undo_retransmits != 0 {
            return false;
        }
        self.recovery.rack.persist = (self.recovery.rack.persist + 1).min(PERSISTENT_RECOVERIES);
        self.restore_window();
        true
    }

    /// Undoes a timeout that was spurious.
    pub(super) fn undo_loss(&mut self, context: &mut Context<'_, '_>, news: &AckNews, by_frto: bool) -> bool {
        if !by_frto && !self.may_undo(news) {
            return false;
        }
        self.undo_losses(context);
        self.timeouts = 0;
        if self.holds_state(context) {
            return true;
        }
        if by_frto || self.sack {
            self.recovery.state = CongestionState::Open;
        }
        true
    }
}
