//! After a retransmission timeout: what is lost, and whether the timeout was spurious (F-RTO, RFC 5682).

use super::{CongestionState, Resend};
use crate::tcp::Context;
use crate::tcp::connection::Connection;
use crate::tcp::scoreboard::AckNews;
use crate::tcp::timers::Timer;

impl Connection {
    /// After a timeout (Linux's `tcp_process_loss`; RFC 5682 §3.1, the version with SACK, and §2.1).
    pub(super) fn process_loss(&mut self, context: &mut Context<'_, '_>, news: &mut AckNews, is_duplicate: bool) {
        let recovered = self.snd_una >= self.recovery.high_seq;
        if news.advanced && self.undo_loss(context, news, false) {
            return;
        }
        if self.recovery.frto {
            // "A timeout is spurious if not all data are lost": what was never sent again has arrived.
            if news.original && self.undo_loss(context, news, true) {
                return;
            }
            if self.snd_nxt > self.recovery.high_seq {
                // Step 3a: the loss was real.
                self.recovery.frto &= !(news.sacked || is_duplicate);
            } else if news.advanced && !recovered {
                self.recovery.high_seq = self.snd_nxt;
                // Step 2b.
                if self.send.end() > self.snd_nxt && self.usable_window() > 0 {
                    self.recovery.resend = Resend::NewFirst;
                    return;
                }
                self.recovery.frto = false;
            }
        }
        if recovered {
            self.undo_recovery(context, news);
            return;
        }
        if !self.sack {
            if self.snd_nxt > self.recovery.high_seq && is_duplicate {
                // What was sent new in step 2b has arrived.
                self.add_guess(news);
            } else if news.advanced {
                self.records.sacked = 0;
            }
        }
        self.recovery.resend = Resend::Lost;
    }

    /// The new data of [`Resend::NewFirst`] did not go: the usual way is taken.
    pub(crate) fn no_new_data(&mut self) {
        if self.snd_nxt > self.recovery.high_seq {
            self.recovery.resend = Resend::Nothing;
        } else {
            self.recovery.frto = false;
            self.recovery.resend = Resend::Lost;
        }
    }

    /// The retransmission timer expired (RFC 5681 §3.1, RFC 6298 §5.4; Linux's `tcp_enter_loss`).
    pub(crate) fn enter_loss(&mut self, context: &mut Context<'_, '_>) {
        let state = self.recovery.state;
        let is_new = state < CongestionState::Recovery;
        self.recovery.resent_to = self.snd_una;
        self.lose_after_timeout(context);
        let reduces = state <= CongestionState::Disorder
            || self.recovery.high_seq <= self.snd_una
            || (state == CongestionState::Loss && !self.loss_timeout);
        if reduces {
            self.mark_undo();
            self.recovery.may_restore = true;
        }
        self.congestion.timeout(self.mss, self.snd_nxt, self.in_flight(), !reduces);
        if state <= CongestionState::Disorder && self.records.sacked >= u16::from(self.config.reordering) {
            // Waiting for more duplicates was in vain.
            self.recovery.reordering = self.recovery.reordering.min(u16::from(self.config.reordering));
        }
        self.recovery.state = CongestionState::Loss;
        self.recovery.high_seq = self.snd_nxt;
        self.recovery.probe_end = None;
        self.recovery.resend = Resend::Lost;
        self.recovery.frto = self.config.frto && (is_new || self.timeouts > 0);
        self.loss_timeout = true;
        self.ecn.reduced();
    }

    fn lose_after_timeout(&mut self, context: &mut Context<'_, '_>) {
        self.timers.stop(Timer::TailLoss);
        self.timers.stop(Timer::Reordering);
        let Some(first) = self.records.first() else { return };
        if self.records.get(context.pool, first).is_sacked() {
            // RFC 2018 §8: "the data receiver [...] has reneged": nothing that it SACKed counts.
            self.records.forget_sacks(context.pool);
            self.lose_all(context);
            return;
        }
        if !self.sack {
            self.records.sacked = 0;
            self.lose_all(context);
            return;
        }
        self.lose(context, first);
        self.lose_what_is_late(context);
    }

    /// Everything outstanding that the peer has not SACKed is to be sent again.
    fn lose_all(&mut self, context: &mut Context<'_, '_>) {
        for number in self.records.numbers() {
            self.lose(context, number);
        }
    }

    /// Segments longer than `len` were dropped, but not for congestion: they are sent again without a change of window
    /// (Linux's `tcp_simple_retransmit`).
    pub(crate) fn resend_longer(&mut self, context: &mut Context<'_, '_>, len: u32) {
        for number in self.records.numbers() {
            if u32::from(self.records.get(context.pool, number).len) > len {
                self.lose(context, number);
            }
        }
        if self.records.lost() == 0 {
            return;
        }
        self.recovery.resend = Resend::Lost;
        if self.recovery.state != CongestionState::Loss {
            self.recovery.high_seq = self.snd_nxt;
            self.recovery.undo_marker = None;
            self.recovery.may_restore = false;
            self.recovery.state = CongestionState::Loss;
        }
    }
}
