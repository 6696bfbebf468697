//! Buffers that grow with the path: the receive window by what the user reads in a round trip ("dynamic right-sizing", as Linux
//! does it), the send buffer by the congestion window.

use crate::pool::{Account, Pool};
use crate::tcp::connection::Connection;
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};

/// What the user has read since when.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveTuning {
    since: Instant,
    from: Seq,
    /// Bytes read in the round trip before, or the peer's initial window to begin with.
    space: u32,
    /// The round trip by the echoes in what arrives, in milliseconds; 0 if they do not tell.
    round_trip: u32,
}

impl ReceiveTuning {
    pub(crate) const NEW: ReceiveTuning = ReceiveTuning { since: Instant::ZERO, from: Seq(0), space: 1, round_trip: 0 };

    pub(crate) fn new(now: Instant, from: Seq, initial_window: u32) -> Self {
        ReceiveTuning { since: now, from, space: initial_window.max(1), round_trip: 0 }
    }
}

impl Connection {
    /// Data has come with this TSecr: how long ago what it echoes was sent.
    #[inline]
    pub(crate) fn measure_receive_round_trip(&mut self, now: Instant, echo: Option<u32>) {
        let Some(echo) = echo.filter(|&echo| self.timestamps.agreed && echo != 0) else { return };
        let ticks = self.timestamps.value(now).wrapping_sub(echo);
        // One tick may be next to nothing: then the round trip of the handshake says more.
        if !(2..i32::MAX as u32).contains(&ticks) {
            return;
        }
        // A peer with nothing to send makes long ones: the least counts, and the average where it stays above.
        let smoothed = self.tuning.round_trip;
        self.tuning.round_trip =
            if smoothed == 0 { ticks } else { ticks.min(smoothed - smoothed / 8 + ticks.div_ceil(8)) };
    }

    fn receive_round_trip(&self) -> Option<Duration> {
        match self.tuning.round_trip {
            0 => self.rtt.srtt(),
            millis => Some(Duration::from_millis(u64::from(millis))),
        }
    }

    /// The receiver's estimate of the round trip, if it has one.
    pub(crate) fn receive_rtt(&self) -> Option<Duration> {
        (self.tuning.round_trip != 0).then(|| Duration::from_millis(u64::from(self.tuning.round_trip)))
    }

    /// Bytes that the user has read in a round trip.
    pub(crate) fn receive_space(&self) -> u32 {
        self.tuning.space
    }

    /// Whether what can be read is worth telling the user (`SO_RCVLOWAT`).
    #[inline]
    pub(crate) fn has_enough_to_read(&self) -> bool {
        let readable = self.receive.readable();
        readable >= self.config.receive_low_water || readable + self.acks.segment_size >= self.receive.limit()
    }

    /// The user has read: once in a round trip, the buffer is fitted to what arrives in one. Twice as much for losses, more
    /// where the rate grows, as in slow start.
    pub(crate) fn tune_receive_buffer(&mut self, now: Instant, pool: &Pool<'_>, account: &Account) {
        let Some(round_trip) = self.receive_round_trip().filter(|_| self.config.buffer_tuning) else { return };
        if now.since(self.tuning.since) < round_trip {
            return;
        }
        let read = self.receive.next() - self.receive.readable();
        let copied = read - self.tuning.from;
        let space = self.tuning.space;
        if copied > space {
            let window = 2 * u64::from(copied) + 16 * u64::from(self.advertised_mss);
            let growth = window * u64::from(copied - space) / u64::from(space);
            let wanted = (window + 2 * growth).min(u64::from(self.config.receive_limit())) as u32;
            if wanted > self.receive.limit() && !pool.is_under_pressure(account) {
                self.receive.set_limit(wanted);
            }
            self.tuning.space = copied;
        }
        (self.tuning.since, self.tuning.from) = (now, read);
    }

    /// Whether a user who waits for room is told: of a third of the buffer, as in Linux, since waking them for every segment
    /// would be a waste. Of a sixteenth already where all that is queued was sent and the windows would take more: until the user
    /// writes, the path is idle.
    pub(crate) fn has_room_to_tell(&self) -> bool {
        let starves = self.send.end() <= self.snd_nxt
            && self.usable_window() > 0
            && self.outstanding() + self.mss <= self.congestion.cwnd();
        let limit = self.send.limit();
        self.writable() >= if starves { (limit / 16).max(self.mss).min(limit / 3) } else { limit / 3 }
    }

    /// The send buffer holds two congestion windows: one in flight, one to come.
    #[inline]
    pub(crate) fn tune_send_buffer(&mut self) {
        let wanted = self.congestion.cwnd().saturating_mul(2).min(self.config.send_buffer);
        if wanted > self.send.limit() && self.config.buffer_tuning {
            self.send.set_limit(wanted);
        }
    }
}
