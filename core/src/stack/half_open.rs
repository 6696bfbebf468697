//! Connection requests: SYNs for listeners, and the half-open connections that they make (RFC 9293 §3.10.7.2, and
//! §3.10.7.4 for SYN-RECEIVED).

use super::Stack;
use super::flow::Flow;
use super::ip_input::Packet;
use super::nodes::Node;
use super::path::Path;
use super::transmit::path_headers;
use crate::address::Endpoint;
use crate::counters::DropReason;
use crate::event::Signals;
use crate::pool::Pool;
use crate::tcp::Segment;
use crate::tcp::challenge::ChallengeLimit;
use crate::tcp::connection::PeerSyn;
use crate::tcp::input;
use crate::tcp::isn::{initial_sequence, timestamp_offset};
use crate::tcp::listener::HalfOpen;
use crate::tcp::output::Bare;
use crate::tcp::seq::Seq;
use crate::time::Instant;
use crate::wire::{TcpFlags, protocol};

impl Stack<'_> {
    /// RFC 9293 §3.10.7.1 and §3.10.7.2: no connection; perhaps a listener.
    pub(super) fn segment_without_connection(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        flow: &Flow,
        flow_hash: u32,
        segment: &Segment<'_>,
    ) {
        if segment.has(TcpFlags::RST) {
            self.counters.drop(DropReason::TcpNoSocket);
            return;
        }
        let is_request = segment.has(TcpFlags::SYN) && !segment.has(TcpFlags::ACK);
        match self.find_listener(flow) {
            Some(_) if is_request && segment.has(TcpFlags::FIN) => {
                self.counters.drop(DropReason::TcpBadFlags);
            }
            Some(listener) if is_request => self.connection_request(packet, (flow, flow_hash), listener, segment),
            Some(_) if !segment.has(TcpFlags::ACK) => self.counters.drop(DropReason::TcpBadFlags),
            _ => {
                self.counters.drop(DropReason::TcpNoSocket);
                self.send_bare(pool, &Bare::reset_for(*flow, segment));
            }
        }
    }

    fn find_listener(&self, flow: &Flow) -> Option<u32> {
        let hash = self.port_hash(protocol::TCP, Endpoint::any(flow.local_port));
        let mut on_any_address = None;
        let exact = self.ports.find(hash, |number| {
            let Some((index, local)) = self.listener_of(number) else { return false };
            if local == Endpoint::any(flow.local_port) {
                on_any_address = Some(index);
            }
            local == Endpoint { address: Some(flow.local), port: flow.local_port }
        });
        exact.and_then(|number| Some(self.listener_of(number)?.0)).or(on_any_address)
    }

    /// A listener's index and where it listens.
    #[inline]
    fn listener_of(&self, number: u32) -> Option<(u32, Endpoint)> {
        match self.nodes.node(number) {
            Node::Listener(index) => self.listeners.get(index).map(|found| (index, found.local)),
            _ => None,
        }
    }

    /// The listener on exactly this address and port.
    pub(super) fn find_listener_exact(&self, local: Endpoint) -> Option<u32> {
        let hash = self.port_hash(protocol::TCP, local);
        let is_it = |number| self.listener_of(number).is_some_and(|(_, found)| found == local);
        self.listener_of(self.ports.find(hash, is_it)?).map(|(index, _)| index)
    }

    /// A SYN for a listener.
    fn connection_request(
        &mut self,
        packet: &Packet<'_>,
        (flow, flow_hash): (&Flow, u32),
        listener_index: u32,
        segment: &Segment<'_>,
    ) {
        let Some(key) = self.listeners.key(listener_index) else { return };
        let Some(listener) = self.listeners.get_mut(listener_index) else { return };
        if listener.queued >= listener.backlog {
            self.counters.drop(DropReason::TcpAcceptQueueFull);
            return;
        }
        let advertised_mss = self
            .interfaces
            .get(u32::from(packet.interface.0))
            .map_or(0, |found| u32::from(found.config.mtu) - path_headers(&flow.remote));
        let config = listener.config;
        let mut half_open = HalfOpen {
            flow: *flow,
            flow_hash,
            listener: key,
            path: Path::through(packet.interface),
            parked: None,
            iss: initial_sequence(&self.sequence_secret, flow, self.now),
            peer: PeerSyn::new(segment, &config),
            timestamp_offset: timestamp_offset(&self.sequence_secret, flow),
            advertised_mss: advertised_mss as u16,
            retransmits: 0,
            repeated: false,
            deadline: Instant::FAR_FUTURE,
            syn_ack_due: true,
            challenges: ChallengeLimit::new(),
        };
        half_open.restart_timer(self.now, &config);
        let deadline = half_open.deadline;
        match self.half_open.insert(half_open) {
            Ok(half_open) => {
                listener.half_open += 1;
                let number = self.nodes.number(Node::HalfOpen(half_open.index));
                self.flows.insert(flow_hash, number);
                self.last_hit = number;
                self.deadlines.set_no_later(number, deadline);
                self.schedule_half_open(half_open.index);
            }
            Err(_) => self.counters.drop(DropReason::TcpSynQueueFull),
        }
    }

    /// RFC 9293 §3.6.1: a connection that takes the place of one in TIME-WAIT begins above the sequence numbers which that
    /// one has used.
    pub(super) fn begin_above(&mut self, flow: &Flow, flow_hash: u32, used: Seq) {
        if let Some(number) = self.find_flow(flow_hash, flow)
            && let Node::HalfOpen(index) = self.nodes.node(number)
            && let Some(half_open) = self.half_open.get_mut(index)
        {
            half_open.iss = half_open.iss.max(used + u32::from(u16::MAX));
        }
    }

    /// RFC 9293 §3.10.7.4 for SYN-RECEIVED, as far as a half-open connection can tell.
    pub(super) fn segment_for_half_open(&mut self, pool: &mut Pool<'_>, index: u32, segment: &Segment<'_>) {
        let Some(half_open) = self.half_open.get_mut(index) else { return };
        let expected = half_open.peer.seq + 1;
        if segment.has(TcpFlags::RST) {
            if segment.seq == expected {
                return self.remove_half_open(index);
            }
            let Some(listener) = self.listeners.lookup(half_open.listener) else { return };
            if segment.seq - expected >= half_open.receive_window(&listener.config) {
                self.counters.drop(DropReason::TcpNotAcceptable);
                return;
            }
            // RFC 5961 §3.2: a reset elsewhere in the window may be a guess.
            self.counters.drop(DropReason::TcpChallenged);
            return self.challenge_half_open(pool, index);
        }
        if segment.has(TcpFlags::SYN) {
            // The same SYN again, or one that needs a challenge: both get the SYN and ACK once more. What is then
            // acknowledged cannot be told (Karn).
            half_open.repeated = true;
            half_open.syn_ack_due = true;
            self.schedule_half_open(index);
            return;
        }
        if !segment.has(TcpFlags::ACK) {
            self.counters.drop(DropReason::TcpBadFlags);
            return;
        }
        if segment.ack != half_open.iss + 1 {
            self.counters.drop(DropReason::TcpBadAck);
            let bare = Bare::reset_for(half_open.flow, segment);
            self.send_bare(pool, &bare);
            return;
        }
        if half_open.is_old_duplicate(segment) {
            self.counters.drop(DropReason::TcpOldTimestamp);
            return self.challenge_half_open(pool, index);
        }
        self.complete_handshake(pool, index, segment);
    }

    fn challenge_half_open(&mut self, pool: &mut Pool<'_>, index: u32) {
        if let Some(half_open) = self.half_open.get_mut(index)
            && let Some(listener) = self.listeners.lookup(half_open.listener)
            && half_open.challenges.allows(self.now, listener.config.challenge_interval)
        {
            self.counters.tcp_challenge_acks += 1;
            let ack = half_open.challenge_ack(self.now, &listener.config);
            self.send_bare(pool, &ack);
        }
    }

    /// The peer has acknowledged our SYN: the half-open connection becomes a full one, which processes the segment.
    fn complete_handshake(&mut self, pool: &mut Pool<'_>, half_open_index: u32, segment: &Segment<'_>) {
        let Some(half_open) = self.half_open.get(half_open_index) else { return };
        let listener_index = half_open.listener.index;
        let Some(listener) = self.listeners.lookup(half_open.listener) else {
            self.remove_half_open(half_open_index);
            return;
        };
        if listener.queued >= listener.backlog || self.connections.is_full() {
            // The ACK is dropped, not the connection: the SYN and ACK will be sent again.
            self.counters.drop(DropReason::TcpAcceptQueueFull);
            return;
        }
        let mut connection = half_open.promote(self.now, listener.config);
        connection.listener = Some(listener_index);
        let flow_hash = connection.flow_hash;
        let Ok(key) = self.connections.insert(connection) else { return };
        let number = self.nodes.number(Node::Connection(key.index));
        self.flows.replace(flow_hash, self.nodes.number(Node::HalfOpen(half_open_index)), number);
        self.forget_half_open(half_open_index);
        self.last_hit = number;
        if let Some(listener) = self.listeners.get_mut(listener_index) {
            self.event_links.push_back(&mut listener.accept_queue, number);
            listener.queued += 1;
            listener.signals |= Signals::ACCEPTABLE;
        }
        self.notify(Node::Listener(listener_index));
        self.with_connection(pool, key.index, |connection, context| {
            input::segment_arrives(connection, context, segment)
        });
    }

    pub(super) fn half_open_timeout(&mut self, index: u32) {
        let now = self.now;
        let Some(half_open) = self.half_open.get_mut(index) else { return };
        let number = self.nodes.number(Node::HalfOpen(index));
        if half_open.deadline > now {
            self.deadlines.set_no_later(number, half_open.deadline);
            return;
        }
        let config = self.listeners.lookup(half_open.listener).map(|listener| listener.config);
        let Some(config) = config.filter(|config| half_open.retransmits < config.syn_ack_retries) else {
            self.remove_half_open(index);
            return;
        };
        half_open.retransmits += 1;
        half_open.syn_ack_due = true;
        half_open.restart_timer(now, &config);
        self.deadlines.set_no_later(number, half_open.deadline);
        self.schedule_half_open(index);
    }

    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn remove_half_open(&mut self, index: u32) {
        let Some(half_open) = self.half_open.get(index) else { return };
        self.flows.remove(half_open.flow_hash, self.nodes.number(Node::HalfOpen(index)));
        self.forget_half_open(index);
    }

    /// Removes a half-open connection to which the table of flows does not lead any more.
    fn forget_half_open(&mut self, index: u32) {
        let Some(half_open) = self.half_open.get(index) else { return };
        let number = self.nodes.number(Node::HalfOpen(index));
        let (parked, interface) = (half_open.parked, half_open.path.interface);
        if let Some(listener) = self.listeners.lookup_mut(half_open.listener) {
            listener.half_open -= 1;
        }
        self.unlink(number, parked, interface);
        self.deadlines.remove(number);
        self.half_open.remove(index);
    }
}
