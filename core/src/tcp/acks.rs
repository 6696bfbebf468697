//! When to acknowledge, and with how many ACKs (RFC 9293 §3.8.6.3, RFC 5681 §4.2, RFC 1122 §4.2.3.2), as Linux does it: at once
//! while a peer may be in slow start, later for a user who answers what arrives; never more than one full segment is
//! held back.

use crate::tcp::connection::Connection;
use crate::tcp::recovery::DUPLICATE_THRESHOLD;
use crate::tcp::seq::Seq;
use crate::tcp::timers::Timer;
use crate::tcp::{Context, Segment};
use crate::time::{Duration, Instant};
use crate::wire::TcpFlags;

/// ACKs that are sent at once to a peer that may be in slow start.
const MAX_QUICK: u32 = 16;

/// An ACK waits no longer for its company (RFC 1122 §4.2.3.2: less than 500 ms).
const MAX_WAIT: Duration = Duration::from_millis(200);

/// The longest that an ACK waits for those of the same burst; out-of-order segments share one also for at most a twentieth of a
/// round trip.
const MAX_COMPRESSION: Duration = Duration::from_millis(1);

/// The segment size that is taken for the peer's before it has sent one.
const UNKNOWN_SEGMENT: u32 = 536;

/// What we owe the peer in acknowledgments.
#[derive(Clone, Debug)]
pub(crate) struct OwedAcks {
    /// An ACK is due with the next transmission.
    pub(crate) now: bool,
    /// It has our FIN again, if that is outstanding.
    pub(crate) with_fin: bool,
    /// Data has come since the last ACK.
    scheduled: bool,
    /// Out-of-order arrivals that are owed an ACK of their own (RFC 5681 §4.2).
    pub(crate) duplicates: u32,
    /// ACKs that are still sent at once.
    quick: u8,
    /// The user answers what arrives, so that ACKs can wait for the answers.
    pub(crate) interactive: bool,
    /// Segments since the last ACK that look like the end of what the peer's user has written, at most 2.
    pushed: u8,
    /// The payload of the last segment that was smaller than the peer's largest.
    last_size: u16,
    /// The largest payload received: an estimate of the peer's segment size.
    pub(crate) segment_size: u32,
    /// How long an ACK waits, from the intervals between arrivals; zero before the first.
    wait: Duration,
    /// When data came last.
    pub(crate) last_data: Instant,
    /// RCV.NXT when `at_once` was 0.
    stuck_at: Seq,
    /// ACKs of out-of-order segments that were sent one by one since RCV.NXT has not moved.
    at_once: u8,
    /// Out-of-order segments whose ACK waits for more of them.
    compressed: u8,
}

impl OwedAcks {
    pub(crate) const NONE: OwedAcks = OwedAcks {
        now: false,
        with_fin: false,
        scheduled: false,
        duplicates: 0,
        quick: 0,
        interactive: false,
        pushed: 0,
        last_size: 0,
        segment_size: UNKNOWN_SEGMENT,
        wait: Duration::ZERO,
        last_data: Instant::ZERO,
        stuck_at: Seq(0),
        at_once: 0,
        compressed: 0,
    };

    /// Nothing is owed any more.
    pub(crate) fn forget(&mut self) {
        (self.now, self.scheduled, self.duplicates) = (false, false, 0);
    }

    /// How long an ACK waits for company now; zero before data has come.
    pub(crate) fn wait(&self) -> Duration {
        self.wait
    }

    /// Updates the estimate of the peer's segment size. A smaller one is believed when two segments in a row have it.
    #[inline]
    fn measure_segment(&mut self, segment: &Segment<'_>, advertised_mss: u16) {
        let size = segment.unit();
        let has_push = segment.has(TcpFlags::PSH);
        if size >= self.segment_size {
            self.segment_size = size.min(u32::from(advertised_mss));
            self.pushed = self.pushed.max(u8::from(has_push));
            return;
        }
        // What is not the last of a write is a full segment, if the peer keeps to Nagle's algorithm.
        let with_options = size + segment.options.len() as u32;
        if with_options >= UNKNOWN_SEGMENT || (with_options >= 88 && !has_push && !segment.has(TcpFlags::FIN)) {
            if u32::from(self.last_size) == size {
                self.segment_size = size;
                return;
            }
            self.last_size = size as u16;
        }
        self.pushed = (self.pushed + 1).min(2);
    }
}

impl Connection {
    /// The acknowledgment is due now, not later.
    pub(crate) fn ack_now(&mut self) {
        self.acks.now = true;
    }

    /// The next ACKs are sent at once: the peer may be in slow start, or has lost ACKs of ours.
    pub(crate) fn ack_quickly(&mut self) {
        let window = self.promised_window();
        let count = (window / (2 * self.acks.segment_size)).clamp(2, MAX_QUICK);
        self.acks.quick = self.acks.quick.max(count as u8);
    }

    /// The same, and the user does not seem to answer what arrives.
    pub(crate) fn leave_interactive_mode(&mut self) {
        self.ack_quickly();
        self.acks.interactive = false;
        self.acks.wait = self.config.delayed_ack;
    }

    /// Congestion was seen: the peer's window may be small, and the next two ACKs are sent at once.
    pub(crate) fn ack_next_two(&mut self) {
        self.acks.quick = self.acks.quick.max(2);
        self.acks.interactive = false;
        self.acks.wait = self.config.delayed_ack;
    }

    /// A segment with data was accepted, in order or not; `echo` is its TSecr.
    #[inline]
    pub(crate) fn data_arrived(&mut self, now: Instant, segment: &Segment<'_>, echo: Option<u32>) {
        self.measure_receive_round_trip(now, echo);
        self.acks.scheduled = true;
        self.acks.measure_segment(segment, self.advertised_mss);
        let least = self.config.delayed_ack;
        let interval = now.since(self.acks.last_data);
        let half = Duration::from_micros(self.acks.wait.as_micros() / 2);
        if self.acks.wait == Duration::ZERO {
            self.ack_quickly();
            self.acks.wait = least;
        } else if interval.as_micros() <= least.as_micros() / 2 {
            self.acks.wait = half + Duration::from_micros(least.as_micros() / 2);
        } else if interval < self.acks.wait {
            self.acks.wait = (half + interval).min(self.rtt.rto(&self.config));
        } else if interval > self.rtt.rto(&self.config) {
            // The peer may not have restarted its window.
            self.ack_quickly();
        }
        self.acks.last_data = now;
    }

    /// RCV.NXT has moved on: acknowledges now or sets the timer.
    #[inline]
    pub(crate) fn acknowledge_in_order(&mut self, now: Instant) {
        // RFC 5681 §4.2: "an ACK SHOULD be generated for at least every second full-sized segment".
        let more_than_a_segment = self.rcv_nxt() - self.timestamps.last_ack_sent > self.acks.segment_size;
        if more_than_a_segment || (self.acks.quick > 0 && !self.acks.interactive) {
            self.acks.now = true;
        } else {
            self.delay_ack(now);
        }
    }

    /// The peer closes with this segment: a user who answers does so by closing too, and the ACK can go with our FIN.
    pub(crate) fn expect_answer_to_fin(&mut self) {
        if self.state.may_send() && self.config.manner.ways().fin_is_data {
            self.acks.interactive = true;
        }
    }

    /// The peer's FIN was reached while our side is open: it is acknowledged as data is.
    pub(crate) fn acknowledge_fin(&mut self, now: Instant) {
        self.expect_answer_to_fin();
        self.receive.forget_duplicate();
        // A peer that is stopped by a closed window would send its FIN again and again.
        if self.acks.wait == Duration::ZERO || !self.config.manner.ways().fin_is_data || self.receive.room() == 0 {
            self.acks.now = true;
        } else {
            self.acks.scheduled = true;
            self.acknowledge_in_order(now);
        }
    }

    /// The peer has sent more than the window took: an ACK would only close that, unless the user reads soon. It is not put off where
    /// even twice the buffer would not have taken it.
    #[cold]
    pub(crate) fn wait_for_reading(&mut self, now: Instant) {
        self.acks.now = self.receive.readable() > self.receive.limit().saturating_mul(2);
        if !self.acks.now {
            self.delay_ack(now);
        }
    }

    fn delay_ack(&mut self, now: Instant) {
        let least = self.config.delayed_ack;
        let mut wait = self.acks.wait.max(least);
        if wait > least {
            // No longer than a round trip: by then the peer waits for it.
            let round_trip = self.rtt.srtt().map_or(MAX_WAIT, |srtt| srtt.max(least));
            wait = wait.min(round_trip).min(MAX_WAIT.max(least));
        }
        let at = now + wait;
        match self.timers.get(Timer::DelayedAck) {
            Some(due) if due <= now + Duration::from_micros(wait.as_micros() / 4) => self.acks.now = true,
            Some(due) if due <= at => {}
            _ => self.timers.set(Timer::DelayedAck, at),
        }
    }

    /// A challenge ACK that waits for a moment, so that the ACK of what comes in the same burst makes it needless: Linux sends none
    /// here. Where challenges are not limited, they do not wait either, as in FreeBSD.
    #[cold]
    pub(crate) fn challenge_soon(&mut self, context: &mut Context<'_, '_>) {
        self.challenge(context);
        if self.config.challenge_interval > Duration::ZERO && core::mem::take(&mut self.acks.now) {
            self.ack_by(context.now + MAX_COMPRESSION);
        }
    }

    /// The ACK has waited for long enough.
    pub(crate) fn delayed_ack_timeout(&mut self) {
        if self.acks.scheduled && self.acks.compressed == 0 {
            // No answer came, or no second segment: the next ACK waits longer for one, but not for the user.
            self.acks.wait = match self.acks.interactive {
                true => self.config.delayed_ack,
                false => (self.acks.wait + self.acks.wait).min(self.rtt.rto(&self.config)),
            };
            self.acks.interactive = false;
        }
        self.ack_now();
    }

    /// A segment out of order is owed an acknowledgment of its own (RFC 5681 §4.2). While nothing can be sent, no more
    /// of them add up than tell the peer of the loss. With SACK one ACK can tell of many: after as many as mean loss, they
    /// share ACKs for a while.
    pub(crate) fn owe_duplicate_ack(&mut self, now: Instant) {
        let acks = &mut self.acks;
        let stuck_at = self.receive.next();
        if acks.stuck_at != stuck_at {
            (acks.stuck_at, acks.at_once) = (stuck_at, 0);
        }
        let shares = self.sack
            && u32::from(acks.at_once) >= DUPLICATE_THRESHOLD
            && acks.compressed < self.config.compressed_acks;
        if !shares {
            acks.at_once = acks.at_once.saturating_add(1);
            if self.parked.is_none() || acks.duplicates < DUPLICATE_THRESHOLD {
                acks.duplicates = acks.duplicates.saturating_add(1);
            }
            return;
        }
        acks.compressed += 1;
        let round_trip = self.rtt.srtt().unwrap_or(MAX_COMPRESSION);
        self.ack_by(now + Duration::from_micros(round_trip.as_micros() / 20).min(MAX_COMPRESSION));
    }

    /// The ACK waits no longer than until then.
    fn ack_by(&mut self, at: Instant) {
        if self.timers.get(Timer::DelayedAck).is_none_or(|due| due > at) {
            self.timers.set(Timer::DelayedAck, at);
        }
    }

    /// The user has read all there was: whether the peer, who may wait for it, is acknowledged at once.
    pub(crate) fn acknowledge_reading(&mut self) {
        let waits_for_ack = self.acks.pushed > 1 || (self.acks.pushed == 1 && !self.acks.interactive);
        if self.acks.scheduled && waits_for_ack && self.receive.readable() == 0 && !self.receive.has_gap() {
            self.acks.now = true;
        }
    }

    /// A segment with ACK leaves.
    #[inline]
    pub(crate) fn ack_sent(&mut self) {
        self.timestamps.last_ack_sent = self.rcv_nxt();
        if self.acks.scheduled && self.acks.quick > 0 {
            self.acks.quick -= 1;
            if self.acks.quick == 0 {
                self.acks.wait = self.config.delayed_ack;
            }
        }
        (self.acks.now, self.acks.scheduled, self.acks.with_fin) = (false, false, false);
        (self.acks.pushed, self.acks.compressed) = (0, 0);
        self.timers.stop(Timer::DelayedAck);
    }

    /// Data leaves: if it answers what came just now, further ACKs can wait for further answers.
    #[inline]
    pub(crate) fn data_sent(&mut self, now: Instant) {
        self.acks.interactive |= now.since(self.acks.last_data) < self.acks.wait;
    }

    /// `TCP_QUICKACK`: whether ACKs need not wait for answers of the user. An ACK that waits is sent.
    pub(crate) fn set_quick_ack(&mut self, quick: bool) {
        self.acks.interactive = !quick;
        self.acks.now |= quick && self.acks.scheduled;
    }
}
