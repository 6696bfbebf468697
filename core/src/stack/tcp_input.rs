//! Finding who a TCP segment is for, and what follows from what it did there.

use super::flow::{Flow, link_of};
use super::interface::{ControlKind, Interface};
use super::ip_input::{Cast, Packet};
use super::nodes::Node;
use super::path::Path;
use super::transmit::IpHead;
use super::{ChecksumState, Stack};
use crate::address::is_unicast;
use crate::checksum::{self, Sum};
use crate::counters::DropReason;
use crate::links::Links;
use crate::pool::Pool;
use crate::slab::Slab;
use crate::tcp::connection::{CloseReason, Connection, Outcome, Reset, State};
use crate::tcp::fast_open::Role;
use crate::tcp::input::{self, Predicted};
use crate::tcp::output::Bare;
use crate::tcp::receive_window;
use crate::tcp::seq::Seq;
use crate::tcp::timers::Timer;
use crate::tcp::{Context, Segment};
use crate::trace::SendReason;
use crate::wire::tcp::MAX_HEADER_LEN;
use crate::wire::{TcpFlags, TcpHeader, protocol};

impl Stack<'_> {
    pub(super) fn tcp_input(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) {
        let Ok((header, options, payload)) = TcpHeader::parse(packet.payload) else {
            self.counters.drop(DropReason::TcpMalformed);
            return;
        };
        // RFC 9293 §3.9.2.3: "MUST be silently discarded".
        if packet.cast != Cast::Unicast {
            self.counters.drop(DropReason::TcpNotUnicast);
            return;
        }
        let segment = Segment::new(packet.ecn, &header, options, payload, packet.meta.segment_size);
        let hit = self.last_hit_for(packet, &header);
        if let Some(index) = hit.or_else(|| self.segment_for_another(pool, packet, &header, &segment)) {
            self.segment_for_connection(pool, packet, index, &segment);
        }
    }

    /// A segment that is not for the connection which the last segment of such ports was for. Returns the one that it is for, if any.
    #[inline(never)] // Out of the way of the usual segment.
    fn segment_for_another(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        header: &TcpHeader,
        segment: &Segment<'_>,
    ) -> Option<u32> {
        // The same; no connection has such an address.
        if !is_unicast(packet.source) {
            self.counters.drop(DropReason::TcpNotUnicast);
            return None;
        }
        let flow = flow_of(packet, header);
        let (found, hash) = match self.last_half_open(&flow) {
            Some((node, hash)) => (Some(node), hash),
            None => self.look_up(&flow),
        };
        if let Some(Node::Connection(index)) = found {
            return Some(index);
        }
        self.segment_for_others(pool, packet, found, (&flow, hash), segment);
        None
    }

    /// What a flow belongs to, and its hash.
    fn look_up(&mut self, flow: &Flow) -> (Option<Node>, u32) {
        let hash = self.flow_hash(flow);
        let number = self.find_flow(hash, flow);
        if let Some(number) = number {
            self.last_hits.set(flow, number);
        }
        (number.map(|number| self.nodes.node(number)), hash)
    }

    /// A segment that is for no connection, or for one that is beginning or over.
    fn segment_for_others(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        found: Option<Node>,
        flow: (&Flow, u32),
        segment: &Segment<'_>,
    ) {
        if !has_valid_checksum(packet) {
            self.counters.drop(DropReason::TcpChecksum);
            return;
        }
        match found {
            Some(Node::HalfOpen(index)) => self.segment_for_half_open(pool, index, segment),
            Some(Node::TimeWait(index)) => self.segment_for_time_wait(pool, packet, index, segment),
            _ => self.segment_without_connection(pool, packet, flow, segment, None),
        }
    }

    /// The connection that the last segment of such ports was for, or that has come into being since, if this one is for it too.
    #[inline]
    fn last_hit_for(&self, packet: &Packet<'_>, header: &TcpHeader) -> Option<u32> {
        let number = self.last_hits.get(header.destination_port, header.source_port);
        let Node::Connection(index) = self.nodes.node(number) else { return None };
        let connection = self.connections.get(index)?;
        let flow = &connection.flow;
        let is_same = flow.local_port == header.destination_port
            && flow.remote_port == header.source_port
            && flow.remote == packet.source
            && flow.local == packet.destination
            // Addresses that are the same have a link both or neither.
            && flow.link.is_none_or(|link| link == packet.interface);
        (is_same && connection.in_flows).then_some(index)
    }

    /// The same of half-open connections, with the flow's hash.
    fn last_half_open(&self, flow: &Flow) -> Option<(Node, u32)> {
        let node = self.nodes.node(self.last_hits.get(flow.local_port, flow.remote_port));
        let Node::HalfOpen(index) = node else { return None };
        self.half_open.get(index).filter(|found| found.flow == *flow).map(|found| (node, found.flow_hash))
    }

    pub(super) fn flow_hash(&self, flow: &Flow) -> u32 {
        flow.hash(&self.hash_secret)
    }

    pub(super) fn find_flow(&self, hash: u32, flow: &Flow) -> Option<u32> {
        self.flows.find(hash, |number| {
            let found = match self.nodes.node(number) {
                Node::Connection(index) => self.connections.get(index).map(|found| &found.flow),
                Node::HalfOpen(index) => self.half_open.get(index).map(|found| &found.flow),
                Node::TimeWait(index) => {
                    // One whose time is over may not have left yet.
                    self.time_wait.get(index).filter(|found| found.deadline > self.now).map(|found| &found.flow)
                }
                _ => None,
            };
            found == Some(flow)
        })
    }

    fn segment_for_connection(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, index: u32, segment: &Segment<'_>) {
        self.trace_before(index);
        let holders = self.connections.len();
        let Some(connection) = self.connections.get_mut(index) else { return };
        let verified = packet.meta.checksum == ChecksumState::Verified;
        if !verified && let Some(prediction) = input::prediction(connection, segment) {
            let header_len = packet.payload.len() - segment.payload.len();
            let mut sum = connection.path.pseudo_sum(packet.payload.len()).unwrap_or_else(|| pseudo_sum(packet));
            sum.add(checksum::sum_header(&packet.payload[..header_len]));
            let mut context = Context {
                now: self.now,
                pool,
                account: &mut self.account,
                counters: &mut self.counters,
                fast_open: &mut self.fast_open_cookies,
                holders,
            };
            let mut outcome = Outcome::default();
            match input::predicted(connection, &mut context, segment, &prediction, sum, &mut outcome) {
                Predicted::Done => {
                    if self.trace.is_on() {
                        self.trace_arrival(segment);
                    }
                    self.trace_changes(index);
                    return self.finish(pool, index, &outcome);
                }
                Predicted::BadChecksum => {
                    self.counters.drop(DropReason::TcpChecksum);
                    return;
                }
                Predicted::NoMemory => {}
            }
        }
        self.segment_in_full(pool, packet, index, segment);
    }

    /// A segment that was not predicted.
    #[inline(never)] // Out of the way of the usual segment.
    fn segment_in_full(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, index: u32, segment: &Segment<'_>) {
        if has_valid_checksum(packet) {
            self.deliver(pool, index, segment);
        } else {
            self.counters.drop(DropReason::TcpChecksum);
        }
    }

    /// Lets a connection process a segment in full.
    pub(super) fn deliver(&mut self, pool: &mut Pool<'_>, index: u32, segment: &Segment<'_>) {
        if self.trace.is_on() {
            self.trace_arrival(segment);
        }
        self.with_connection(pool, index, |connection, context| input::segment_arrives(connection, context, segment));
    }

    /// Lets a connection work, then does what follows from it.
    pub(super) fn with_connection(
        &mut self,
        pool: &mut Pool<'_>,
        index: u32,
        work: impl FnOnce(&mut Connection, &mut Context<'_, '_>) -> Outcome,
    ) {
        self.trace_before(index);
        let holders = self.connections.len();
        let Some(connection) = self.connections.get_mut(index) else { return };
        let mut context = Context {
            now: self.now,
            pool: &mut *pool,
            account: &mut self.account,
            counters: &mut self.counters,
            fast_open: &mut self.fast_open_cookies,
            holders,
        };
        let outcome = work(connection, &mut context);
        self.has_worked(pool, index, &outcome);
    }

    /// What follows after a connection has worked.
    #[inline(never)] // Called from many places: one copy is enough.
    fn has_worked(&mut self, pool: &mut Pool<'_>, index: u32, outcome: &Outcome) {
        self.trace_changes(index);
        self.finish(pool, index, outcome);
    }

    /// Events, timers, output, and the end of a connection that has worked.
    #[inline(always)] // The way of the usual segment has a copy.
    fn finish(&mut self, pool: &mut Pool<'_>, index: u32, outcome: &Outcome) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let number = self.nodes.number(Node::Connection(index));
        if let Some(deadline) = connection.timers.take_earlier() {
            self.deadlines.set_no_later(number, deadline);
        }
        if !outcome.signals.is_empty() {
            connection.signals |= outcome.signals;
            if !connection.orphaned && connection.listener.is_none() {
                self.event_links.push_back(&mut self.events, number);
            }
        }
        let goes_on = connection.state == State::Established && connection.fast_open.pending.is_none();
        if outcome.output && !queue_up(connection, number, &mut self.interfaces, &mut self.links) {
            self.schedule_elsewhere(index);
        }
        if !goes_on || outcome.reset.is_some() {
            self.finish_change(pool, index, outcome.reset);
        }
    }

    /// The same where more may have changed than what there is to send and to read.
    #[inline(never)] // Out of the way of the usual segment.
    fn finish_change(&mut self, pool: &mut Pool<'_>, index: u32, reset: Option<Reset>) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let is_over = matches!(connection.state, State::TimeWait | State::Closed);
        if connection.state != State::SynReceived
            && let Some(listener) = connection.fast_open.pending.take()
            && let Some(listener) = self.listeners.get_mut(listener)
        {
            listener.fast_open.ended(self.now, connection.reason == Some(CloseReason::Reset));
        }
        if let Some(reset) = reset {
            self.send_reset(pool, index, reset);
        }
        if is_over {
            self.connection_over(pool, index);
        }
    }

    /// Puts the connection on its interface's list, unless it is there or waits for a neighbour.
    pub(super) fn schedule_connection(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        if !queue_up(connection, self.nodes.number(Node::Connection(index)), &mut self.interfaces, &mut self.links) {
            self.schedule_elsewhere(index);
        }
    }

    /// The interface of the connection's path was removed. Another one's turn finds the new path; without any, the
    /// connection waits like one whose next hop does not answer.
    #[cold]
    pub(super) fn schedule_elsewhere(&mut self, index: u32) {
        let other = self.any_interface();
        let Some(connection) = self.connections.get_mut(index) else { return };
        if let Some(other) = other {
            connection.path = Path::through(other);
            self.schedule_connection(index);
        } else if connection.state != State::Closed && !connection.timers.is_set(Timer::Retransmit) {
            connection.restart_retransmit_timer(self.now);
            self.watch_timers(index);
        }
    }

    /// The timers of a connection may have changed: it is woken in time for them.
    pub(super) fn watch_timers(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index)
            && let Some(deadline) = connection.timers.take_earlier()
        {
            self.deadlines.set_no_later(self.nodes.number(Node::Connection(index)), deadline);
        }
    }

    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn schedule_half_open(&mut self, index: u32) {
        let other = self.any_interface();
        let Some(half_open) = self.half_open.get_mut(index) else { return };
        if half_open.parked.is_some() {
            return;
        }
        if self.interfaces.get(u32::from(half_open.path.interface.0)).is_none()
            && let Some(other) = other
        {
            half_open.path = Path::through(other);
        }
        // Without any interface its retransmission timer asks again.
        if let Some(interface) = self.interfaces.get_mut(u32::from(half_open.path.interface.0)) {
            self.links.push_back(&mut interface.ready, self.nodes.number(Node::HalfOpen(index)));
        }
    }

    /// A connection that is over leaves the table of flows, in TIME-WAIT after its last ACK has left; one that nobody holds
    /// is removed.
    pub(super) fn connection_over(&mut self, pool: &mut Pool<'_>, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        let (state, orphaned, listener) = (connection.state, connection.orphaned, connection.listener);
        let may_have_data = connection.fast_open.role == Role::Server || connection.receive.readable() > 0;
        if state == State::TimeWait {
            if self.links.is_linked(self.nodes.number(Node::Connection(index))) {
                return;
            }
            self.enter_time_wait(index);
        }
        match listener {
            // It ended before anybody accepted it, who still gets what was acknowledged, as in Linux.
            Some(listener) if state == State::Closed && !may_have_data => {
                self.leave_accept_queue(listener, index);
                self.remove_connection(pool, index);
            }
            None if orphaned => self.remove_connection(pool, index),
            _ if state == State::Closed => {
                self.leave_tables(index);
            }
            _ => {}
        }
    }

    /// Takes a connection out of the table of flows, and off the lists of those that want to send; its node.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn leave_tables(&mut self, index: u32) -> Option<u32> {
        let connection = self.connections.get_mut(index)?;
        let number = self.nodes.number(Node::Connection(index));
        let (parked, interface) = (connection.parked.take(), connection.path.interface);
        if core::mem::take(&mut connection.in_flows) {
            self.flows.remove(connection.flow_hash, number);
        }
        if self.links.is_linked(number) {
            self.unlink(number, parked, interface);
        }
        Some(number)
    }

    fn leave_accept_queue(&mut self, listener: u32, index: u32) {
        let number = self.nodes.number(Node::Connection(index));
        if let Some(listener) = self.listeners.get_mut(listener) {
            self.event_links.remove(&mut listener.accept_queue, number);
            listener.queued -= 1;
        }
        if let Some(connection) = self.connections.get_mut(index) {
            connection.listener = None;
        }
    }

    /// Removes a connection with all that it holds. It must be in no accept queue.
    pub(super) fn remove_connection(&mut self, pool: &mut Pool<'_>, index: u32) {
        let Some(number) = self.leave_tables(index) else { return };
        if self.event_links.is_linked(number) {
            self.event_links.remove(&mut self.events, number);
        }
        let holders = self.connections.len();
        let Some(connection) = self.connections.get_mut(index) else { return };
        let mut context = Context {
            now: self.now,
            pool,
            account: &mut self.account,
            counters: &mut self.counters,
            fast_open: &mut self.fast_open_cookies,
            holders,
        };
        connection.release(&mut context);
        self.connections.remove(index);
    }

    pub(super) fn connection_timeout(&mut self, pool: &mut Pool<'_>, index: u32) {
        let now = self.now;
        // Each timer once: one that is set anew for this very instant has its turn in the next call.
        for _ in Timer::ALL {
            let expired = self.connections.get_mut(index).and_then(|connection| connection.timers.pop_expired(now));
            let Some(timer) = expired else { break };
            if self.trace.is_on() {
                self.trace_fired(index, timer);
            }
            self.with_connection(pool, index, |connection, context| connection.timer_expired(context, timer));
            if timer == Timer::Retransmit && self.connections.get(index).is_some_and(|found| found.doubts_path(now)) {
                self.doubt_next_hop(index);
            }
        }
        self.watch_timers(index);
    }

    /// The next hop of a connection does not answer, or there is none.
    pub(super) fn next_hop_failed(&mut self, pool: &mut Pool<'_>, index: u32) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.parked = None;
        }
        self.with_connection(pool, index, |connection, context| connection.next_hop_unreachable(context));
    }

    pub(super) fn send_reset(&mut self, pool: &mut Pool<'_>, index: u32, reset: Reset) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let (seq, ack, flags, window) = match reset {
            Reset::Answer(seq) => (seq, Seq(0), TcpFlags::RST, 0),
            Reset::Ours if connection.peer_known => {
                let window = if connection.config.manner.ways().resets_tell_window {
                    receive_window::advertise(connection)
                } else {
                    0
                };
                (connection.snd_nxt, connection.rcv_nxt(), TcpFlags::RST | TcpFlags::ACK, window)
            }
            Reset::Ours => (connection.snd_nxt, Seq(0), TcpFlags::RST, 0),
        };
        let timestamps = connection.timestamps.option(self.now).filter(|_| flags.contains(TcpFlags::ACK));
        let bare = Bare { flow: connection.flow, seq, ack, flags, window, timestamps };
        self.send_bare(pool, &bare);
    }

    pub(super) fn send_bare(&mut self, pool: &mut Pool<'_>, bare: &Bare) {
        if bare.flags.contains(TcpFlags::RST) {
            self.counters.tcp_resets_sent += 1;
        }
        let mut bytes = [0; Bare::MAX_LEN];
        let len = bare.build(&mut bytes);
        if self.trace.is_on() {
            self.trace_segment(None, &bare.flow, SendReason::Ack, &bytes[..len]);
        }
        let head = IpHead::new(bare.flow.local, bare.flow.remote, protocol::TCP);
        self.queue_packet(pool, bare.flow.link, ControlKind::Tcp, &head, [&bytes[..len], &[]]);
    }
}

/// Puts a connection on its interface's list, unless it is there or waits for a neighbour. False if there is no such interface.
#[inline]
pub(super) fn queue_up(
    connection: &Connection,
    number: u32,
    interfaces: &mut Slab<'_, Interface>,
    links: &mut Links<'_>,
) -> bool {
    if connection.parked.is_some() {
        return true;
    }
    let Some(interface) = interfaces.get_mut(u32::from(connection.path.interface.0)) else { return false };
    links.push_back(&mut interface.ready, number);
    true
}

/// The sum of a segment's pseudo-header.
#[inline]
fn pseudo_sum(packet: &Packet<'_>) -> Sum {
    checksum::pseudo_header(packet.source, packet.destination, protocol::TCP, packet.payload.len() as u32)
}

pub(super) fn has_valid_checksum(packet: &Packet<'_>) -> bool {
    if packet.meta.checksum == ChecksumState::Verified {
        return true;
    }
    let mut sum = pseudo_sum(packet);
    match packet.payload.len() {
        ..=MAX_HEADER_LEN => sum.add(checksum::sum_header(packet.payload)),
        _ => sum.add_bytes(packet.payload),
    }
    sum.is_valid()
}

/// The flow that a segment to us is of.
#[inline]
pub(super) fn flow_of(packet: &Packet<'_>, header: &TcpHeader) -> Flow {
    Flow {
        local: packet.destination,
        remote: packet.source,
        local_port: header.destination_port,
        remote_port: header.source_port,
        link: link_of(packet.source, packet.interface),
    }
}
