//! What a connection has counted and what it has spent its time on: figures for listings, as `ss -ti` shows them (RFC 4898 has
//! most of them by other names). They decide nothing.

use crate::tcp::Segment;
use crate::tcp::connection::{Connection, State};
use crate::time::{Duration, Instant};

/// The figures of one connection. Segments of both directions are counted as they were on the wire, modulo 2^32.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) segments_received: u32,
    pub(crate) data_segments_received: u32,
    pub(crate) segments_sent: u32,
    pub(crate) data_segments_sent: u32,
    /// Payload bytes sent again.
    pub(crate) bytes_retransmitted: u64,
    /// Segments that the peer has, our SYN included.
    pub(crate) delivered: u32,
    /// Segments with data that arrived out of order.
    pub(crate) out_of_order: u32,
    /// Retransmission timeouts, in all and without those that followed another before any progress.
    pub(crate) timeouts: u16,
    pub(crate) timeout_recoveries: u16,
    /// Milliseconds from each first timeout until there was progress again.
    pub(crate) timeout_millis: u32,
    /// The peer opened the connection.
    pub(crate) is_passive: bool,
    pub(crate) busy: BusyTimes,
}

impl Figures {
    pub(crate) const NEW: Figures = Figures {
        segments_received: 0,
        data_segments_received: 0,
        segments_sent: 0,
        data_segments_sent: 0,
        bytes_retransmitted: 0,
        delivered: 0,
        out_of_order: 0,
        timeouts: 0,
        timeout_recoveries: 0,
        timeout_millis: 0,
        is_passive: false,
        busy: BusyTimes::NEW,
    };

    /// A segment has come.
    #[inline]
    pub(crate) fn received(&mut self, segment: &Segment<'_>) {
        let count = segment.count();
        self.segments_received = self.segments_received.wrapping_add(count);
        if !segment.payload.is_empty() {
            self.data_segments_received = self.data_segments_received.wrapping_add(count);
        }
    }

    /// A segment with `len` bytes of payload leaves.
    #[inline]
    pub(crate) fn sent(&mut self, len: u32) {
        self.segments_sent = self.segments_sent.wrapping_add(1);
        self.data_segments_sent = self.data_segments_sent.wrapping_add(u32::from(len > 0));
    }

    /// The retransmission timer has expired; `again` if it did so before, without progress in between.
    pub(crate) fn timed_out(&mut self, again: bool) {
        self.timeouts = self.timeouts.saturating_add(1);
        self.timeout_recoveries = self.timeout_recoveries.saturating_add(u16::from(!again));
    }
}

/// What data on its way waits for, in ascending order of what there is to learn from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Busy {
    /// There is none.
    #[default]
    Idle,
    /// The network.
    Network,
    /// The peer's window.
    PeerWindow,
    /// Room in the send buffer, which is smaller than the congestion window.
    SendBuffer,
}

/// Milliseconds spent in each of the kinds of [`Busy`] but the first (Linux's `tcp_chrono`).
#[derive(Clone, Debug)]
pub(crate) struct BusyTimes {
    spent: [u32; 3],
    since: u32,
    now: Busy,
}

impl BusyTimes {
    const NEW: BusyTimes = BusyTimes { spent: [0; 3], since: 0, now: Busy::Idle };

    fn set(&mut self, now: Instant, next: Busy) {
        let millis = now.as_millis() as u32;
        if let Some(spent) = (self.now as usize).checked_sub(1).and_then(|place| self.spent.get_mut(place)) {
            *spent = spent.saturating_add(millis.wrapping_sub(self.since));
        }
        (self.now, self.since) = (next, millis);
    }

    /// Data waits for something, which counts if nothing does that says more.
    #[inline]
    pub(crate) fn start(&mut self, now: Instant, kind: Busy) {
        if kind > self.now {
            self.set(now, kind);
        }
    }

    /// It does not wait for that any more, but is still on its way.
    #[inline]
    pub(crate) fn stop(&mut self, now: Instant, kind: Busy) {
        if kind == self.now {
            self.set(now, Busy::Network);
        }
    }

    /// All has arrived.
    #[inline]
    pub(crate) fn idle(&mut self, now: Instant) {
        if self.now != Busy::Idle {
            self.set(now, Busy::Idle);
        }
    }

    /// The times with data on its way, of these with the peer's window in its way, and with the send buffer.
    pub(crate) fn totals(&self, now: Instant) -> [Duration; 3] {
        let mut times = self.clone();
        times.set(now, Busy::Idle);
        let [network, window, buffer] = times.spent.map(|millis| Duration::from_millis(u64::from(millis)));
        [network + window + buffer, window, buffer]
    }
}

impl Connection {
    /// Nothing more is sent for now: notes what data waits for.
    #[inline]
    pub(crate) fn note_limits(&mut self, now: Instant) {
        let has_unsent = self.send.end() > self.snd_nxt;
        if has_unsent || self.wants_room || self.figures.busy.now == Busy::PeerWindow {
            self.note_limit(now);
        }
    }

    fn note_limit(&mut self, now: Instant) {
        let unsent = self.send.end().since(self.snd_nxt);
        if unsent > 0 && self.state.is_synchronized() {
            let in_flight = self.records.in_flight();
            let window_is_full = in_flight > 0 && (in_flight + 1) * self.mss > self.congestion.cwnd();
            if !window_is_full && self.usable_window() < unsent.min(self.mss) {
                return self.figures.busy.start(now, Busy::PeerWindow);
            }
        } else if self.wants_room
            && matches!(self.state, State::Established | State::CloseWait)
            && self.outstanding() > 0
            && !self.congestion.is_limited()
        {
            return self.figures.busy.start(now, Busy::SendBuffer);
        }
        self.figures.busy.stop(now, Busy::PeerWindow);
    }

    /// Timeouts have ended with progress: the time that they took.
    #[cold]
    pub(crate) fn note_recovered(&mut self, now: Instant) {
        let millis = now.since(self.unanswered_since).as_millis();
        self.figures.timeout_millis =
            self.figures.timeout_millis.saturating_add(millis.min(u64::from(u32::MAX)) as u32);
    }

    /// Bytes acknowledged; as in Linux, our FIN counts, and our SYN if we have opened the connection.
    pub(crate) fn bytes_acknowledged(&self) -> u64 {
        let syn = u64::from(!self.figures.is_passive && self.snd_nxt != self.iss);
        (self.bytes_sent + syn + u64::from(self.fin_sent())).saturating_sub(u64::from(self.outstanding()))
    }

    /// Time from first timeouts to progress, that of the present one included.
    pub(crate) fn timeout_time(&self, now: Instant) -> Duration {
        let present = if self.timeouts > 0 { now.since(self.unanswered_since) } else { Duration::ZERO };
        Duration::from_millis(u64::from(self.figures.timeout_millis)) + present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_telling_limit_counts() {
        let mut times = BusyTimes::NEW;
        let at = Instant::from_millis;
        times.start(at(10), Busy::Network);
        times.start(at(20), Busy::PeerWindow);
        times.start(at(30), Busy::Network);
        times.stop(at(40), Busy::SendBuffer);
        times.stop(at(50), Busy::PeerWindow);
        times.start(at(70), Busy::SendBuffer);
        let millis = |times: &BusyTimes, now| times.totals(at(now)).map(|time| time.as_millis());
        assert_eq!(millis(&times, 75), [65, 30, 5]);
        times.idle(at(80));
        assert_eq!(millis(&times, 1_000), [70, 30, 10]);
    }
}
