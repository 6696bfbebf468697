//! Timestamps (RFC 7323): the clock, what is echoed, protection against wrapped sequence numbers, and round trips.

use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};
use crate::wire::Timestamps;

/// RFC 7323 §5.5: TS.Recent says nothing after 24 days without a segment, since the peer's clock may have wrapped.
const OUTDATED: Duration = Duration::from_secs(24 * 24 * 60 * 60);

/// TSval's clock: one tick a millisecond (RFC 7323 §5.4), ahead of ours by `offset`, which differs for each flow and cannot be
/// guessed (RFC 7323 §7.1).
#[inline]
pub(crate) fn clock(now: Instant, offset: u32) -> u32 {
    (now.as_millis() as u32).wrapping_add(offset)
}

/// Whether `value` is older than `recent` on a clock that wraps.
#[inline]
pub(crate) fn is_older(value: u32, recent: u32) -> bool {
    (value.wrapping_sub(recent) as i32) < 0
}

/// What a connection knows of both sides' timestamps.
#[derive(Clone, Debug)]
pub(crate) struct TimestampState {
    /// Our SYN offers timestamps; once the peer's has come, whether both do (RFC 7323 §3.2).
    pub(crate) agreed: bool,
    /// How far TSval's clock is ahead of ours, in milliseconds.
    offset: u32,
    /// TS.Recent (RFC 7323 §4.3); 0 is no protection, since some hosts have 0 in their SYN and a clock afterwards.
    pub(crate) recent: u32,
    /// When TS.Recent was received.
    recent_at: Instant,
    /// Last.ACK.sent (RFC 7323 §4.3).
    pub(crate) last_ack_sent: Seq,
}

impl TimestampState {
    pub(crate) const fn new(offered: bool, offset: u32, now: Instant) -> Self {
        TimestampState { agreed: offered, offset, recent: 0, recent_at: now, last_ack_sent: Seq(0) }
    }

    /// Takes over what the peer's SYN says: its sequence number, and TSval if it offers timestamps.
    pub(crate) fn peer_syn(&mut self, now: Instant, irs: Seq, tsval: Option<u32>) {
        self.agreed &= tsval.is_some();
        self.recent = tsval.unwrap_or(0);
        self.recent_at = now;
        self.last_ack_sent = irs + 1;
    }

    /// TSval of what is sent now.
    #[inline]
    pub(crate) fn value(&self, now: Instant) -> u32 {
        clock(now, self.offset)
    }

    /// The option of a segment that is sent now.
    #[inline]
    pub(crate) fn option(&self, now: Instant) -> Option<Timestamps> {
        self.agreed.then(|| Timestamps { value: self.value(now), echo: self.recent })
    }

    /// PAWS (RFC 7323 §5.3 R1): whether a segment with this TSval is an old duplicate.
    pub(crate) fn is_old_duplicate(&self, now: Instant, tsval: u32) -> bool {
        is_older(tsval, self.recent) && self.recent != 0 && now.since(self.recent_at) < OUTDATED
    }

    /// RFC 7323 §4.3 (2), for a segment that PAWS and the check of its sequence number have let pass.
    #[inline]
    pub(crate) fn received(&mut self, now: Instant, seq: Seq, tsval: u32) {
        let is_newer = !is_older(tsval, self.recent) || now.since(self.recent_at) >= OUTDATED || self.recent == 0;
        if seq <= self.last_ack_sent && is_newer {
            self.recent = tsval;
            self.recent_at = now;
        }
    }

    /// The round trip that TSecr of an acknowledgment of new data tells of (RFC 7323 §4.1), at least one tick. None for an
    /// echo of nothing, or of what was never sent.
    pub(crate) fn round_trip(&self, now: Instant, echo: u32) -> Option<Duration> {
        let ticks = self.value(now).wrapping_sub(echo);
        (echo != 0 && ticks <= i32::MAX as u32).then(|| Duration::from_millis(u64::from(ticks.max(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received_at(now: Instant, tsval: u32) -> TimestampState {
        let mut state = TimestampState::new(true, 7, now);
        state.peer_syn(now, Seq(99), Some(tsval));
        state
    }

    #[test]
    fn an_older_value_is_refused_also_across_the_wrap() {
        let now = Instant::from_millis(5);
        for recent in [1_000, 1, u32::MAX, 0x8000_0000] {
            let state = received_at(now, recent);
            assert!(state.is_old_duplicate(now, recent.wrapping_sub(1)));
            assert!(!state.is_old_duplicate(now, recent));
            assert!(!state.is_old_duplicate(now, recent.wrapping_add(1)));
        }
    }

    #[test]
    fn after_24_days_any_value_is_believed() {
        let begin = Instant::from_millis(5);
        let mut state = received_at(begin, 1_000);
        let day = Duration::from_secs(86_400);
        let later = (0..24).fold(begin, |at, _| at + day);
        assert!(state.is_old_duplicate(later - Duration::from_millis(1), 10));
        assert!(!state.is_old_duplicate(later, 10));
        state.received(later, Seq(100), 10);
        assert_eq!(state.recent, 10);
    }

    #[test]
    fn what_lies_beyond_the_last_ack_sent_is_not_echoed() {
        let now = Instant::from_millis(5);
        let mut state = received_at(now, 1_000);
        state.received(now, Seq(101), 1_005);
        assert_eq!(state.recent, 1_000, "RFC 7323 §4.3: a gap may lie before it");
        state.received(now, Seq(100), 1_004);
        assert_eq!(state.recent, 1_004);
        state.received(now, Seq(100), 1_003);
        assert_eq!(state.recent, 1_004);
    }

    #[test]
    fn round_trips_are_told_by_echoes_of_what_was_sent() {
        let state = received_at(Instant::from_millis(5), 1);
        let now = Instant::from_millis(500);
        assert_eq!(state.round_trip(now, clock(Instant::from_millis(470), 7)), Some(Duration::from_millis(30)));
        assert_eq!(state.round_trip(now, clock(now, 7)), Some(Duration::from_millis(1)));
        assert_eq!(state.round_trip(now, clock(now, 7) + 1), None);
        assert_eq!(state.round_trip(now, 0), None);
    }
}
