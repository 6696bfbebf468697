//! Where the trace gets its records from: a connection before and after it has worked, and each segment that leaves.
//!
//! All of it is out of the way of a stack without a trace.

use super::Stack;
use super::flow::Flow;
use crate::event::ConnectionHandle;
use crate::tcp::Segment;
use crate::tcp::connection::{Connection, State};
use crate::tcp::output::Kind;
use crate::tcp::recovery::CongestionState;
use crate::tcp::seq::Seq;
use crate::tcp::timers::{Timer, Timers};
use crate::trace::{Arrived, SendReason, TraceEvent, TraceRecord};
use crate::wire::{TcpFlags, TcpHeader};

/// What the trace tells the changes of.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    state: State,
    cwnd: u32,
    ssthresh: u32,
    recovery: CongestionState,
    lost: u32,
    snd_una: Seq,
    rcv_nxt: Seq,
    timers: Timers,
}

impl Before {
    fn of(connection: &Connection) -> Self {
        Before {
            state: connection.state,
            cwnd: connection.congestion.cwnd(),
            ssthresh: connection.congestion.ssthresh(),
            recovery: connection.recovery.state(),
            lost: connection.records.lost(),
            snd_una: connection.snd_una,
            rcv_nxt: connection.rcv_nxt(),
            timers: connection.timers.clone(),
        }
    }
}

impl Stack<'_> {
    /// The next record of the trace, the oldest first.
    pub fn poll_trace(&mut self) -> Option<TraceRecord> {
        self.trace.pop()
    }

    /// Records that made room for newer ones before they were polled.
    pub fn trace_lost(&self) -> u64 {
        self.trace.lost()
    }

    /// A connection is about to work: the trace remembers how it stands.
    #[inline]
    pub(super) fn trace_before(&mut self, index: u32) {
        if self.trace.is_on() {
            self.remember(index);
        }
    }

    #[cold]
    #[inline(never)]
    fn remember(&mut self, index: u32) {
        self.trace.before = self.connections.get(index).map(Before::of);
    }

    /// A segment is about to be processed by its connection.
    #[cold]
    pub(super) fn trace_arrival(&mut self, segment: &Segment<'_>) {
        let (seq, ack, len) = (segment.seq.0, segment.ack.0, segment.payload.len() as u32);
        self.trace.arrived = Some(Arrived { seq, ack, len, flags: segment.flags });
    }

    /// The connection has worked.
    #[inline]
    pub(super) fn trace_changes(&mut self, index: u32) {
        if self.trace.is_on() {
            self.compare(index);
        }
    }

    #[cold]
    #[inline(never)]
    fn compare(&mut self, index: u32) {
        let Some(before) = self.trace.before.take() else { return };
        let Some(connection) = self.connections.get(index) else { return };
        let now = Before::of(connection);
        let flow = connection.flow;
        if let Some(Arrived { seq, ack, len, flags }) = self.trace.arrived.take() {
            let acknowledged = now.snd_una.since(before.snd_una);
            // RCV.NXT means nothing before the peer's SYN.
            let in_order = if before.state == State::SynSent { 0 } else { now.rcv_nxt.since(before.rcv_nxt) };
            self.trace_event(Some(index), &flow, TraceEvent::Received { seq, ack, len, flags, acknowledged, in_order });
        }
        if now.state != before.state {
            self.trace_event(Some(index), &flow, TraceEvent::State { from: before.state, to: now.state });
        }
        if now.lost > before.lost {
            self.trace_event(Some(index), &flow, TraceEvent::Lost { segments: now.lost - before.lost });
        }
        if now.recovery != before.recovery {
            self.trace_event(Some(index), &flow, TraceEvent::Recovery { from: before.recovery, to: now.recovery });
        }
        // Nothing else raises the threshold.
        if now.ssthresh > before.ssthresh && now.state == before.state {
            self.trace_event(Some(index), &flow, TraceEvent::Undone);
        }
        if (now.cwnd, now.ssthresh) != (before.cwnd, before.ssthresh) {
            self.trace_event(Some(index), &flow, TraceEvent::Window { cwnd: now.cwnd, ssthresh: now.ssthresh });
        }
        for timer in Timer::ALL {
            let at = now.timers.deadline(timer);
            if let Some(at) = at.filter(|_| at != before.timers.deadline(timer)) {
                self.trace_event(Some(index), &flow, TraceEvent::TimerSet { timer, at });
            }
        }
    }

    /// A connection has come into being.
    #[cold]
    pub(super) fn trace_new(&mut self, index: u32, from: State) {
        if let Some(connection) = self.connections.get(index) {
            let (flow, to) = (connection.flow, connection.state);
            self.trace_event(Some(index), &flow, TraceEvent::State { from, to });
        }
    }

    #[cold]
    pub(super) fn trace_fired(&mut self, index: u32, timer: Timer) {
        if let Some(connection) = self.connections.get(index) {
            let flow = connection.flow;
            self.trace_event(Some(index), &flow, TraceEvent::TimerFired { timer });
        }
    }

    /// A segment of a connection leaves.
    #[cold]
    pub(super) fn trace_sent(&mut self, index: u32, kind: Kind, segment: &[u8]) {
        let Some(connection) = self.connections.get(index) else { return };
        let reason = match kind {
            Kind::Syn => SendReason::Handshake,
            Kind::New if connection.path_mtu.is_probing() && segment.len() as u32 > connection.mss + 60 => {
                SendReason::MtuProbe
            }
            Kind::New => SendReason::NewData,
            Kind::Retransmission if connection.recovery.state() == CongestionState::Loss => SendReason::Timeout,
            Kind::Retransmission => SendReason::FastRetransmit,
            Kind::TailProbe => SendReason::TailLossProbe,
            Kind::Probe => SendReason::Probe,
            Kind::Ack => SendReason::Ack,
            Kind::DuplicateAck => SendReason::DuplicateAck,
        };
        let flow = connection.flow;
        self.trace_segment(Some(index), &flow, reason, segment);
    }

    /// A segment that no connection owns leaves, or is queued to.
    #[cold]
    pub(super) fn trace_segment(&mut self, index: Option<u32>, flow: &Flow, reason: SendReason, segment: &[u8]) {
        if let Ok((header, _, payload)) = TcpHeader::parse(segment) {
            let (seq, len, flags) = (header.sequence, payload.len() as u32, header.flags);
            let reason = if flags.contains(TcpFlags::RST) { SendReason::Reset } else { reason };
            self.trace_event(index, flow, TraceEvent::Sent { reason, seq, len, flags });
        }
    }

    fn trace_event(&mut self, index: Option<u32>, flow: &Flow, event: TraceEvent) {
        let connection = index.and_then(|index| self.connections.key(index)).map(ConnectionHandle);
        let Flow { local_port, remote_port, .. } = *flow;
        self.trace.push(TraceRecord { time: self.now, connection, local_port, remote_port, event });
    }
}
