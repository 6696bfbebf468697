//! How long a connection waits for a peer that does not answer: retransmissions (R1 and R2 of RFC 9293 §3.8.3), zero-window
//! probes (§3.8.6.1), keep-alive (§3.8.4) and the user's own limit (RFC 5482).
//!
//! As in Linux, retransmissions are limited by time and not by their number: `retries` stands for the time that so many would
//! take with the least timeout, counted from the first. A path with a long round trip has as much time then as any other.

use crate::tcp::Context;
use crate::tcp::connection::{CloseReason, Connection, Outcome, Probe, Reset, State};
use crate::tcp::timers::Timer;
use crate::time::{Duration, Instant};

/// The timeout that `retries` are counted with.
const MODEL_RTO: Duration = Duration::from_millis(200);

/// How long `retries` retransmissions, and the wait after the last, take from the first one on.
fn time_of(retries: u8, max_rto: Duration) -> Duration {
    let mut total = MODEL_RTO.min(max_rto);
    for shift in 1..=u32::from(retries) {
        total = total + MODEL_RTO.backed_off(shift).min(max_rto);
    }
    total
}

impl Connection {
    /// A timer ends the connection; if the network has said why nothing was heard, that is the reason.
    pub(crate) fn timed_out(&mut self, context: &mut Context<'_, '_>) -> Outcome {
        let reason = self.soft_error.unwrap_or(CloseReason::TimedOut);
        self.end(context, reason)
    }

    /// Whether the retransmission timer, which has expired, was the last to be waited for.
    pub(crate) fn is_out_of_patience(&self, now: Instant) -> bool {
        let elapsed = now.since(self.unanswered_since);
        if !self.state.is_synchronized() {
            let retries = match self.state {
                State::SynReceived => self.config.syn_ack_retries,
                _ => self.config.syn_retries.saturating_add(self.config.linear_syn_timeouts),
            };
            let has_waited = |limit| self.timeouts > 0 && elapsed >= limit;
            return self.timeouts >= retries || self.config.user_timeout.is_some_and(has_waited);
        }
        if self.timeouts == 0 {
            return false;
        }
        let user_timeout = self.config.user_timeout;
        if self.snd_wnd == 0 && !self.orphaned {
            // RFC 1122 §4.2.2.17: a peer that answers while its window is closed is alive, with data in flight too. What the
            // user says holds in any case.
            let limit = Duration::from_micros(2 * self.config.max_rto.as_micros());
            return user_timeout.is_some_and(|limit| elapsed >= limit)
                || (elapsed >= limit && now.since(self.last_received) >= limit);
        }
        elapsed >= user_timeout.unwrap_or_else(|| time_of(self.retries(), self.config.max_rto))
    }

    /// R1 (RFC 9293 §3.8.3): the path is to be doubted.
    pub(crate) fn doubts_path(&self, now: Instant) -> bool {
        self.timeouts > 0 && now.since(self.unanswered_since) >= time_of(self.config.retries1, self.config.max_rto)
    }

    /// R2, in retransmissions.
    fn retries(&self) -> u8 {
        match (self.orphaned, self.soft_error) {
            (false, _) => self.config.retries,
            // The network has said that something is wrong, and nobody waits.
            (true, Some(_)) if self.rtt.rto(&self.config) >= self.config.max_rto => 0,
            (true, _) => self.config.orphan_retries,
        }
    }

    /// When a timer expires that would do so at `at`: not after the user's patience.
    pub(crate) fn within_patience(&self, now: Instant, at: Instant) -> Instant {
        match self.config.user_timeout {
            Some(limit) if self.timeouts > 0 || self.persist_shift > 0 => {
                at.min((self.unanswered_since + limit).max(now))
            }
            _ => at,
        }
    }

    pub(crate) fn persist_timeout(&mut self, context: &mut Context<'_, '_>) -> Outcome {
        if self.persist_shift == 0 {
            self.unanswered_since = context.now;
        } else if let Some(limit) = self.config.user_timeout
            && context.now.since(self.unanswered_since) >= limit
        {
            return self.timed_out(context);
        }
        // RFC 9293 §3.8.6.1: a peer that answers may keep its window closed for as long as it likes, but not after
        // our user has gone.
        let used = if self.orphaned { self.persist_shift } else { self.unanswered_probes };
        if used >= self.retries() {
            return self.timed_out(context);
        }
        self.persist_shift = self.persist_shift.saturating_add(1);
        self.probe = if self.usable_window() > 0 {
            Probe::Data
        } else {
            self.unanswered_probes = self.unanswered_probes.saturating_add(1);
            Probe::Empty
        };
        self.arm_persist(context.now);
        Outcome::default().output()
    }

    #[inline]
    pub(crate) fn arm_persist(&mut self, now: Instant) {
        let rto = self.rtt.rto(&self.config);
        let wait = rto.backed_off(u32::from(self.persist_shift)).min(self.config.max_rto);
        self.timers.set(Timer::Persist, self.within_patience(now, now + wait));
    }

    pub(crate) fn keep_alive_timeout(&mut self, context: &mut Context<'_, '_>) -> Outcome {
        let Some(keep_alive) = self.config.keep_alive else { return Outcome::default() };
        if !self.state.is_synchronized() || self.state == State::TimeWait {
            return Outcome::default();
        }
        if self.outstanding() > 0 || self.has_unsent() {
            // The retransmission and persist timers watch over the peer meanwhile.
            self.timers.set(Timer::KeepAlive, context.now + keep_alive.idle);
            return Outcome::default();
        }
        let idle_until = self.last_received + keep_alive.idle;
        if idle_until > context.now {
            self.timers.set(Timer::KeepAlive, idle_until);
            return Outcome::default();
        }
        let is_over = match self.config.user_timeout {
            Some(limit) => self.unanswered_probes > 0 && context.now.since(self.last_received) >= limit,
            None => self.unanswered_probes >= keep_alive.probes,
        };
        if is_over {
            // A peer that is alive after all learns it.
            return Outcome { reset: Some(Reset::Ours), ..self.timed_out(context) };
        }
        self.unanswered_probes = self.unanswered_probes.saturating_add(1);
        self.probe = Probe::Empty;
        self.timers.set(Timer::KeepAlive, context.now + keep_alive.interval);
        Outcome::default().output()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_retries_is_that_of_linux() {
        let max = Duration::from_secs(120);
        assert_eq!(time_of(0, max), Duration::from_millis(200));
        assert_eq!(time_of(3, max), Duration::from_millis(3_000));
        assert_eq!(time_of(15, max), Duration::from_millis(924_600), "RFC 1122 §4.2.3.5: at least 100 seconds");
    }
}
