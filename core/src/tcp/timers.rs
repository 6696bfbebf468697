//! A connection's timers: one slot each, so that setting one never overwrites another.

use crate::time::Instant;

/// What a connection waits for. Of several that are due at once, the first in this order comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Timer {
    /// Segments that may only be late, not lost (RFC 8985 §6.2 step 5).
    Reordering,
    /// A probe for the loss of the last segments (RFC 8985 §7).
    TailLoss,
    /// Retransmission of the oldest unacknowledged segment (RFC 6298 §5), the SYN included.
    Retransmit,
    /// Probe of a closed window, or override of the sender's silly-window avoidance (RFC 9293 §3.8.6).
    Persist,
    /// An ACK that waits for company (RFC 9293 §3.8.6.3).
    DelayedAck,
    /// Probe of an idle connection (RFC 9293 §3.8.4).
    KeepAlive,
    /// The user's limit on connecting.
    Connect,
    /// The peer's FIN does not come after `close`.
    FinWait2,
    /// The user could not write for want of memory, and no acknowledgment will tell when to try again.
    Memory,
    /// The next segment may leave at the pacing rate.
    Pacing,
}

impl Timer {
    /// All of them, each at the place of its number.
    pub const ALL: [Timer; 10] = [
        Timer::Reordering,
        Timer::TailLoss,
        Timer::Retransmit,
        Timer::Persist,
        Timer::DelayedAck,
        Timer::KeepAlive,
        Timer::Connect,
        Timer::FinWait2,
        Timer::Memory,
        Timer::Pacing,
    ];
}

/// The deadlines of all timers.
#[derive(Clone, Debug)]
pub(crate) struct Timers {
    deadlines: [Instant; Timer::ALL.len()],
    /// Not after the earliest of them. A timer that is stopped or put off leaves it behind, until it has passed.
    earliest: Instant,
    /// It is earlier than what [`take_earlier`](Timers::take_earlier) has told last.
    is_earlier: bool,
}

impl Timers {
    pub(crate) const NONE: Timers =
        Timers { deadlines: [Instant::FAR_FUTURE; Timer::ALL.len()], earliest: Instant::FAR_FUTURE, is_earlier: false };

    #[inline]
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.deadlines[timer as usize] = at;
        if at < self.earliest {
            (self.earliest, self.is_earlier) = (at, true);
        }
    }

    /// Sets a timer that comes before that of retransmission, which is put off if need be.
    #[inline]
    pub(crate) fn set_first(&mut self, timer: Timer, at: Instant) {
        self.set(timer, at);
        let retransmit = &mut self.deadlines[Timer::Retransmit as usize];
        *retransmit = (*retransmit).max(at);
    }

    #[inline]
    pub(crate) fn stop(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = Instant::FAR_FUTURE;
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Timers::NONE;
    }

    #[inline]
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.deadlines[timer as usize] != Instant::FAR_FUTURE
    }

    /// When the timer expires, if it is set.
    pub(crate) fn deadline(&self, timer: Timer) -> Option<Instant> {
        Some(self.deadlines[timer as usize]).filter(|&at| at != Instant::FAR_FUTURE)
    }

    /// When the timer expires, if it is set.
    #[inline]
    pub(crate) fn get(&self, timer: Timer) -> Option<Instant> {
        Some(self.deadlines[timer as usize]).filter(|_| self.is_set(timer))
    }

    /// A time before which no timer expires, if it has come nearer since this was asked last: otherwise who waits for it wakes
    /// early enough.
    #[inline]
    pub(crate) fn take_earlier(&mut self) -> Option<Instant> {
        core::mem::take(&mut self.is_earlier).then_some(self.earliest)
    }

    /// Stops and returns a timer that is due.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = Timer::ALL.into_iter().find(|&timer| self.deadlines[timer as usize] <= now);
        if let Some(timer) = timer {
            self.stop(timer);
        }
        self.earliest = self.deadlines.iter().copied().fold(Instant::FAR_FUTURE, Ord::min);
        self.is_earlier = self.earliest != Instant::FAR_FUTURE;
        timer
    }
}
