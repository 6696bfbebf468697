//! The trace: what TCP does, as typed records in a bounded ring.
//!
//! Off by default ([`Limits::trace`](crate::Limits::trace) is 0), and then it costs a branch for each segment. When on,
//! [`Stack::poll_trace`](crate::Stack::poll_trace) drains it; what is not drained in time makes room for what is newer, and is counted.
//! A run with the same seeds has the same trace.

use crate::event::ConnectionHandle;
use crate::stack::tracing::Before;
use crate::storage::Storage;
use crate::tcp::connection::State;
use crate::tcp::recovery::CongestionState;
pub use crate::tcp::timers::Timer;
use crate::time::Instant;
use crate::wire::TcpFlags;

/// One entry of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceRecord {
    /// When it happened.
    pub time: Instant,
    /// The connection; none for segments that belong to no full one: of a handshake that is half done, of TIME-WAIT, or resets
    /// in answer to strangers. Its user may have let go of it.
    pub connection: Option<ConnectionHandle>,
    /// Our port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// What happened.
    pub event: TraceEvent,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceEvent {
    /// A segment left.
    Sent {
        /// Why.
        reason: SendReason,
        /// SEG.SEQ.
        seq: u32,
        /// Bytes of payload.
        len: u32,
        /// Its flags.
        flags: TcpFlags,
    },
    /// A segment came and was processed.
    Received {
        /// SEG.SEQ.
        seq: u32,
        /// SEG.ACK, if the flags say so.
        ack: u32,
        /// Bytes of payload.
        len: u32,
        /// Its flags.
        flags: TcpFlags,
        /// How far SND.UNA moved: bytes, SYN and FIN included.
        acknowledged: u32,
        /// How far RCV.NXT moved.
        in_order: u32,
    },
    /// The connection changed its state; a new one comes from CLOSED or LISTEN.
    State {
        /// The state before.
        from: State,
        /// The state now.
        to: State,
    },
    /// A timer runs.
    TimerSet {
        /// Which.
        timer: Timer,
        /// When it expires.
        at: Instant,
    },
    /// A timer has expired.
    TimerFired {
        /// Which.
        timer: Timer,
    },
    /// The congestion window, or the threshold of slow start, has changed.
    Window {
        /// cwnd in bytes.
        cwnd: u32,
        /// ssthresh in bytes; `u32::MAX` before the first loss.
        ssthresh: u32,
    },
    /// Loss recovery changed its state.
    Recovery {
        /// The state before.
        from: CongestionState,
        /// The state now.
        to: CongestionState,
    },
    /// So many more segments are believed lost.
    Lost {
        /// Segments.
        segments: u32,
    },
    /// A reduction of the congestion window was taken back: nothing had been lost.
    Undone,
}

/// Why a segment was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendReason {
    /// It is part of the handshake.
    Handshake,
    /// Data, or a FIN, for the first time.
    NewData,
    /// New data that tries a larger segment size (RFC 4821).
    MtuProbe,
    /// Acknowledgments told of a loss.
    FastRetransmit,
    /// The retransmission timer did.
    Timeout,
    /// A tail loss probe that sends something again (RFC 8985 §7).
    TailLossProbe,
    /// A probe of a closed window or of a silent peer.
    Probe,
    /// An acknowledgment without data.
    Ack,
    /// One that repeats the last, since something came out of order or again.
    DuplicateAck,
    /// A reset.
    Reset,
}

/// What a segment was, for the record that is made after it has been processed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) len: u32,
    pub(crate) flags: TcpFlags,
}

/// The ring.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(crate) struct Trace<'m> {
    records: Storage<'m, TraceRecord>,
    first: usize,
    len: usize,
    /// There is room for records.
    is_on: bool,
    lost: u64,
    /// The segment under way.
    pub(crate) arrived: Option<Arrived>,
    /// How the connection that works now stood before.
    pub(crate) before: Option<Before>,
}

impl<'m> Trace<'m> {
    pub(crate) fn new(records: Storage<'m, TraceRecord>) -> Self {
        let is_on = records.capacity() > 0;
        Trace { records, is_on, first: 0, len: 0, lost: 0, arrived: None, before: None }
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Adds a record; the oldest makes room.
    pub(crate) fn push(&mut self, record: TraceRecord) {
        let capacity = self.records.capacity();
        if capacity == 0 {
            return;
        }
        if self.len == capacity {
            self.first = (self.first + 1) % capacity;
            self.len -= 1;
            self.lost += 1;
        }
        let place = (self.first + self.len) % capacity;
        match self.records.get_mut(place) {
            Some(old) => *old = record,
            // The ring has not been around yet: places are touched in order.
            None => drop(self.records.push(record)),
        }
        self.len += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<TraceRecord> {
        let record = *self.records.get(self.first).filter(|_| self.len > 0)?;
        self.first = (self.first + 1) % self.records.capacity();
        self.len -= 1;
        Some(record)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

impl TraceRecord {
    /// A free place.
    pub const EMPTY: TraceRecord =
        TraceRecord { time: Instant::ZERO, connection: None, local_port: 0, remote_port: 0, event: TraceEvent::Undone };
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    fn record(second: u64) -> TraceRecord {
        TraceRecord { time: Instant::from_secs(second), ..TraceRecord::EMPTY }
    }

    #[test]
    fn the_oldest_makes_room_and_is_counted() {
        let mut trace = Trace::new(Storage::with_capacity(3));
        for second in 0..5 {
            trace.push(record(second));
        }
        assert_eq!((trace.pop(), trace.lost()), (Some(record(2)), 2));
        trace.push(record(5));
        assert_eq!(
            [trace.pop(), trace.pop(), trace.pop(), trace.pop()],
            [Some(record(3)), Some(record(4)), Some(record(5)), None]
        );
    }

    #[test]
    fn without_room_it_is_off() {
        let mut trace = Trace::new(Storage::with_capacity(0));
        trace.push(record(0));
        assert_eq!((trace.is_on(), trace.pop(), trace.lost()), (false, None, 0));
    }
}
