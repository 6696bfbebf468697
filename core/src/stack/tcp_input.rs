//! Finding who a TCP segment is for, and what follows from what it did there.

use super::flow::Flow;
use super::interface::ControlKind;
use super::ip_input::{Cast, Packet};
use super::nodes::Node;
use super::path::Path;
use super::transmit::path_headers;
use super::{ChecksumState, Stack};
use crate::address::{Endpoint, is_unicast};
use crate::checksum::{self, Sum};
use crate::counters::DropReason;
use crate::event::Signals;
use crate::pool::Pool;
use crate::tcp::connection::{Connection, Outcome, State};
use crate::tcp::input::{self, Predicted};
use crate::tcp::isn::initial_sequence;
use crate::tcp::listener::HalfOpen;
use crate::tcp::output::Bare;
use crate::tcp::seq::Seq;
use crate::tcp::time_wait::{TimeWait, Verdict};
use crate::tcp::timers::Timer;
use crate::tcp::{Context, Segment};
use crate::time::Instant;
use crate::wire::{TcpFlags, TcpHeader, TcpOptions, protocol};

impl Stack<'_> {
    pub(super) fn tcp_input(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) {
        let Ok((header, options, payload)) = TcpHeader::parse(packet.payload) else {
            self.counters.drop(DropReason::TcpMalformed);
            return;
        };
        // RFC 9293 §3.9.2.3: "MUST be silently discarded".
        if packet.cast != Cast::Unicast || !is_unicast(packet.source) {
            self.counters.drop(DropReason::TcpNotUnicast);
            return;
        }
        let flow = Flow {
            local: packet.destination,
            remote: packet.source,
            local_port: header.destination_port,
            remote_port: header.source_port,
        };
        let segment = Segment::new(&header, options, payload);
        let (found, hash) = match self.last_hit_for(&flow) {
            Some((node, hash)) => (Some(node), hash),
            None => {
                let hash = self.flow_hash(&flow);
                let number = self.find_flow(hash, &flow);
                self.last_hit = number.unwrap_or(self.last_hit);
                (number.map(|number| self.nodes.node(number)), hash)
            }
        };
        if let Some(Node::Connection(index)) = found {
            return self.segment_for_connection(pool, packet, index, &segment);
        }
        if !has_valid_checksum(packet) {
            self.counters.drop(DropReason::TcpChecksum);
            return;
        }
        match found {
            Some(Node::HalfOpen(index)) => self.segment_for_half_open(pool, index, &segment),
            Some(Node::TimeWait(index)) => self.segment_for_time_wait(pool, packet, index, &segment),
            _ => self.segment_without_connection(pool, packet, &flow, hash, &segment),
        }
    }

    /// What the last segment was for, or what has come into being since, if this one is for it too; and the flow's hash.
    #[inline]
    fn last_hit_for(&self, flow: &Flow) -> Option<(Node, u32)> {
        let node = self.nodes.node(self.last_hit);
        match node {
            Node::Connection(index) => self
                .connections
                .get(index)
                .filter(|found| found.flow == *flow && found.in_flows)
                .map(|found| (node, found.flow_hash)),
            Node::HalfOpen(index) => {
                self.half_open.get(index).filter(|found| found.flow == *flow).map(|found| (node, found.flow_hash))
            }
            _ => None,
        }
    }

    pub(super) fn flow_hash(&self, flow: &Flow) -> u32 {
        self.hash_secret.hash(&flow.words())
    }

    pub(super) fn find_flow(&self, hash: u32, flow: &Flow) -> Option<u32> {
        self.flows.find(hash, |number| match self.nodes.node(number) {
            Node::Connection(index) => self.connections.get(index).is_some_and(|found| found.flow == *flow),
            Node::HalfOpen(index) => self.half_open.get(index).is_some_and(|found| found.flow == *flow),
            Node::TimeWait(index) => self.time_wait.get(index).is_some_and(|found| found.flow == *flow),
            _ => false,
        })
    }

    /// The connection (not half-open, not in TIME-WAIT) of a flow.
    pub(super) fn find_connection(&self, flow: &Flow) -> Option<u32> {
        match self.nodes.node(self.find_flow(self.flow_hash(flow), flow)?) {
            Node::Connection(index) => Some(index),
            _ => None,
        }
    }

    fn segment_for_connection(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, index: u32, segment: &Segment<'_>) {
        let holders = self.connections.len();
        let Some(connection) = self.connections.get_mut(index) else { return };
        let verified = packet.meta.checksum == ChecksumState::Verified;
        if !verified && input::is_predicted(connection, segment) {
            let header_len = packet.payload.len() - segment.payload.len();
            let mut sum = pseudo_sum(packet);
            sum.add(checksum::sum(&packet.payload[..header_len]));
            let mut context =
                Context { now: self.now, pool, account: &mut self.account, counters: &mut self.counters, holders };
            match input::predicted(connection, &mut context, segment, sum) {
                Predicted::Done(outcome) => return self.finish(pool, index, outcome),
                Predicted::BadChecksum => {
                    self.counters.drop(DropReason::TcpChecksum);
                    return;
                }
                Predicted::NoMemory => {}
            }
        }
        if !has_valid_checksum(packet) {
            self.counters.drop(DropReason::TcpChecksum);
            return;
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
        let holders = self.connections.len();
        let Some(connection) = self.connections.get_mut(index) else { return };
        let mut context = Context {
            now: self.now,
            pool: &mut *pool,
            account: &mut self.account,
            counters: &mut self.counters,
            holders,
        };
        let outcome = work(connection, &mut context);
        self.finish(pool, index, outcome);
    }

    /// What follows after a connection has worked: events, timers, output, and its end.
    fn finish(&mut self, pool: &mut Pool<'_>, index: u32, outcome: Outcome) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let number = self.nodes.number(Node::Connection(index));
        let deadline = connection.timers.next();
        if deadline < Instant::FAR_FUTURE {
            self.deadlines.set_no_later(number, deadline);
        }
        if !outcome.signals.is_empty() {
            connection.signals |= outcome.signals;
            if !connection.orphaned && connection.listener.is_none() {
                self.event_links.push_back(&mut self.events, number);
            }
        }
        if let Some(seq) = outcome.reset {
            self.send_reset(pool, index, seq);
        }
        if outcome.output {
            self.schedule_connection(index);
        }
        self.after_state_change(pool, index);
    }

    /// Puts the connection on its interface's list, unless it is there or waits for a neighbour.
    pub(super) fn schedule_connection(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        if connection.parked.is_none()
            && let Some(interface) = self.interfaces.get_mut(u32::from(connection.path.interface.0))
        {
            self.links.push_back(&mut interface.ready, self.nodes.number(Node::Connection(index)));
        }
    }

    pub(super) fn schedule_half_open(&mut self, index: u32) {
        let Some(half_open) = self.half_open.get(index) else { return };
        if half_open.parked.is_none()
            && let Some(interface) = self.interfaces.get_mut(u32::from(half_open.path.interface.0))
        {
            self.links.push_back(&mut interface.ready, self.nodes.number(Node::HalfOpen(index)));
        }
    }

    /// A connection that is over leaves the table of flows; one that nobody holds is removed.
    pub(super) fn after_state_change(&mut self, pool: &mut Pool<'_>, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        match connection.state {
            State::TimeWait => self.enter_time_wait(pool, index),
            State::Closed => {
                self.leave_flows(index);
                self.leave_lists(index);
            }
            _ => return,
        }
        let Some(connection) = self.connections.get(index) else { return };
        if let Some(listener) = connection.listener {
            // It ended before anybody accepted it.
            if connection.state == State::Closed {
                self.leave_accept_queue(listener, index);
                self.remove_connection(pool, index);
            }
        } else if connection.orphaned {
            self.remove_connection(pool, index);
        }
    }

    /// Takes a connection out of the table of flows.
    fn leave_flows(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index)
            && connection.in_flows
        {
            connection.in_flows = false;
            self.flows.remove(connection.flow_hash, self.nodes.number(Node::Connection(index)));
        }
    }

    /// Takes a connection off the lists of those that want to send.
    fn leave_lists(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let number = self.nodes.number(Node::Connection(index));
        let (parked, interface) = (connection.parked.take(), connection.path.interface);
        self.unlink(number, parked, interface);
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
        self.leave_lists(index);
        self.leave_flows(index);
        let number = self.nodes.number(Node::Connection(index));
        self.event_links.remove(&mut self.events, number);
        self.deadlines.remove(number);
        let holders = self.connections.len();
        let Some(connection) = self.connections.get_mut(index) else { return };
        let mut context =
            Context { now: self.now, pool, account: &mut self.account, counters: &mut self.counters, holders };
        connection.release(&mut context);
        self.connections.remove(index);
    }

    pub(super) fn connection_timeout(&mut self, pool: &mut Pool<'_>, index: u32) {
        let now = self.now;
        // Each timer once: one that is set anew for this very instant has its turn in the next call.
        for _ in Timer::ALL {
            let expired = self.connections.get_mut(index).and_then(|connection| connection.timers.pop_expired(now));
            let Some(timer) = expired else { break };
            self.with_connection(pool, index, |connection, context| connection.timer_expired(context, timer));
        }
        if let Some(connection) = self.connections.get(index) {
            let deadline = connection.timers.next();
            if deadline < Instant::FAR_FUTURE {
                self.deadlines.set_no_later(self.nodes.number(Node::Connection(index)), deadline);
            }
        }
    }

    /// The next hop of a connection does not answer, or there is none.
    pub(super) fn next_hop_failed(&mut self, pool: &mut Pool<'_>, index: u32) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.parked = None;
        }
        self.with_connection(pool, index, |connection, context| connection.next_hop_unreachable(context));
    }

    /// RFC 9293 §3.5.2 and §3.10.5: `<SEQ=seq><CTL=RST>`, with an ACK where the peer's sequence number is known.
    pub(super) fn send_reset(&mut self, pool: &mut Pool<'_>, index: u32, seq: Seq) {
        let Some(connection) = self.connections.get(index) else { return };
        let bare = match connection.peer_known {
            true => Bare {
                flow: connection.flow,
                seq,
                ack: connection.rcv_nxt(),
                flags: TcpFlags::RST | TcpFlags::ACK,
                window: 0,
            },
            false => Bare { flow: connection.flow, seq, ack: Seq(0), flags: TcpFlags::RST, window: 0 },
        };
        self.send_bare(pool, &bare);
    }

    fn send_bare(&mut self, pool: &mut Pool<'_>, bare: &Bare) {
        if bare.flags.contains(TcpFlags::RST) {
            self.counters.tcp_resets_sent += 1;
        }
        let addresses = (bare.flow.local, bare.flow.remote);
        let bytes = bare.build();
        self.queue_packet(pool, None, ControlKind::Tcp, addresses, protocol::TCP, [&bytes, &[]]);
    }

    // Half-open connections.

    /// RFC 9293 §3.10.7.1 and §3.10.7.2: no connection; perhaps a listener.
    fn segment_without_connection(
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
        let exact = Endpoint { address: Some(flow.local), port: flow.local_port };
        self.find_listener_exact(exact).or_else(|| self.find_listener_exact(Endpoint::any(flow.local_port)))
    }

    /// The listener on exactly this address and port.
    pub(super) fn find_listener_exact(&self, local: Endpoint) -> Option<u32> {
        let hash = self.port_hash(protocol::TCP, local);
        let number = self.ports.find(hash, |number| match self.nodes.node(number) {
            Node::Listener(index) => self.listeners.get(index).is_some_and(|found| found.local == local),
            _ => false,
        })?;
        match self.nodes.node(number) {
            Node::Listener(index) => Some(index),
            _ => None,
        }
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
        let options = TcpOptions::parse(segment.options);
        let config = listener.config;
        let mut half_open = HalfOpen {
            flow: *flow,
            flow_hash,
            listener: key,
            path: Path::through(packet.interface),
            parked: None,
            irs: segment.seq,
            iss: initial_sequence(&self.sequence_secret, flow, self.now),
            window: segment.window,
            mss: options.mss,
            window_scale: options.window_scale,
            advertised_mss: advertised_mss as u16,
            retransmits: 0,
            repeated: false,
            deadline: Instant::FAR_FUTURE,
            syn_ack_due: true,
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
    fn begin_above(&mut self, flow: &Flow, flow_hash: u32, used: Seq) {
        if let Some(number) = self.find_flow(flow_hash, flow)
            && let Node::HalfOpen(index) = self.nodes.node(number)
            && let Some(half_open) = self.half_open.get_mut(index)
        {
            half_open.iss = half_open.iss.max(used + u32::from(u16::MAX));
        }
    }

    /// RFC 9293 §3.10.7.4 for SYN-RECEIVED, as far as a half-open connection can tell.
    fn segment_for_half_open(&mut self, pool: &mut Pool<'_>, index: u32, segment: &Segment<'_>) {
        let Some(half_open) = self.half_open.get_mut(index) else { return };
        let expected = half_open.irs + 1;
        if segment.has(TcpFlags::RST) {
            if segment.seq == expected {
                self.remove_half_open(index);
            } else {
                self.counters.drop(DropReason::TcpChallenged);
            }
            return;
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
        self.complete_handshake(pool, index, segment);
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
        self.remove_half_open(half_open_index);
        let Ok(key) = self.connections.insert(connection) else { return };
        let number = self.nodes.number(Node::Connection(key.index));
        self.flows.insert(flow_hash, number);
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

    pub(super) fn remove_half_open(&mut self, index: u32) {
        let number = self.nodes.number(Node::HalfOpen(index));
        let Some(half_open) = self.half_open.get(index) else { return };
        let (parked, interface, flow_hash) = (half_open.parked, half_open.path.interface, half_open.flow_hash);
        if let Some(listener) = self.listeners.lookup_mut(half_open.listener) {
            listener.half_open -= 1;
        }
        self.unlink(number, parked, interface);
        self.deadlines.remove(number);
        self.flows.remove(flow_hash, number);
        self.half_open.remove(index);
    }

    // TIME-WAIT.

    /// Moves a connection to the table of those in TIME-WAIT. If that is full, the oldest makes room.
    fn enter_time_wait(&mut self, pool: &mut Pool<'_>, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if !connection.in_flows {
            return; // it is there already
        }
        let window = connection.rcv_edge.since(connection.rcv_nxt()) >> connection.rcv_scale;
        let flow_hash = connection.flow_hash;
        let entry = TimeWait {
            flow: connection.flow,
            flow_hash,
            snd_nxt: connection.snd_nxt,
            rcv_nxt: connection.rcv_nxt(),
            window: window.min(u32::from(u16::MAX)) as u16,
            deadline: self.now + self.config.tcp.time_wait,
        };
        connection.acks = Default::default();
        // The table answers for the connection from now on, beginning with the ACK of the peer's FIN.
        self.acknowledge_last_segment(pool, index, &entry);
        self.leave_flows(index);
        self.leave_lists(index);
        self.deadlines.remove(self.nodes.number(Node::Connection(index)));
        if self.time_wait.is_full() {
            self.counters.time_wait_evicted += 1;
            self.remove_oldest_time_wait();
        }
        if let Ok(key) = self.time_wait.insert(entry) {
            let number = self.nodes.number(Node::TimeWait(key.index));
            self.flows.insert(flow_hash, number);
            self.links.push_back(&mut self.time_wait_queue, number);
            self.arm_time_wait_timer();
        }
    }

    /// Queues the ACK with which a connection enters TIME-WAIT, with the headers that it has at hand.
    fn acknowledge_last_segment(&mut self, pool: &mut Pool<'_>, index: u32, entry: &TimeWait) {
        let ack = entry.acknowledgment();
        let path = match self.connections.get(index) {
            Some(connection) if connection.path.is_valid(self.generation) => &connection.path,
            _ => return self.send_bare(pool, &ack),
        };
        let (interface, (frame, len)) = (path.interface, path.frame(&ack.header()));
        self.queue_control(pool, interface, ControlKind::TcpFrame, &[&frame[..len]]);
    }

    fn arm_time_wait_timer(&mut self) {
        if let Some(oldest) = self.time_wait_queue.head()
            && let Node::TimeWait(index) = self.nodes.node(oldest)
            && let Some(entry) = self.time_wait.get(index)
        {
            self.deadlines.set_no_later(self.nodes.number(Node::TimeWaitTimer), entry.deadline);
        }
    }

    fn remove_oldest_time_wait(&mut self) {
        if let Some(oldest) = self.time_wait_queue.head()
            && let Node::TimeWait(index) = self.nodes.node(oldest)
        {
            self.remove_time_wait(index);
        }
    }

    fn remove_time_wait(&mut self, index: u32) {
        let number = self.nodes.number(Node::TimeWait(index));
        self.links.remove(&mut self.time_wait_queue, number);
        if let Some(entry) = self.time_wait.get(index) {
            self.flows.remove(entry.flow_hash, number);
            self.time_wait.remove(index);
        }
    }

    pub(super) fn time_wait_timeout(&mut self) {
        for _ in 0..super::TIMEOUTS_PER_CALL {
            let Some(oldest) = self.time_wait_queue.head() else { return };
            let Node::TimeWait(index) = self.nodes.node(oldest) else { return };
            if self.time_wait.get(index).is_some_and(|entry| entry.deadline > self.now) {
                break;
            }
            self.remove_time_wait(index);
        }
        self.arm_time_wait_timer();
    }

    fn segment_for_time_wait(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, index: u32, segment: &Segment<'_>) {
        let Some(entry) = self.time_wait.get_mut(index) else { return };
        match entry.segment_arrives(segment) {
            Verdict::Ignore => {}
            Verdict::Remove => self.remove_time_wait(index),
            Verdict::Acknowledge => {
                self.counters.drop(DropReason::TcpNotAcceptable);
                let bare = entry.acknowledgment();
                self.send_bare(pool, &bare);
            }
            Verdict::Restart => {
                entry.deadline = self.now + self.config.tcp.time_wait;
                let bare = entry.acknowledgment();
                self.send_bare(pool, &bare);
                let number = self.nodes.number(Node::TimeWait(index));
                self.links.remove(&mut self.time_wait_queue, number);
                self.links.push_back(&mut self.time_wait_queue, number);
            }
            Verdict::Reopen => {
                let (flow, flow_hash, used) = (entry.flow, entry.flow_hash, entry.snd_nxt);
                self.remove_time_wait(index);
                self.segment_without_connection(pool, packet, &flow, flow_hash, segment);
                self.begin_above(&flow, flow_hash, used);
            }
        }
    }
}

/// The sum of a segment's pseudo-header.
#[inline]
fn pseudo_sum(packet: &Packet<'_>) -> Sum {
    checksum::pseudo_header(packet.source, packet.destination, protocol::TCP, packet.payload.len() as u32)
}

fn has_valid_checksum(packet: &Packet<'_>) -> bool {
    if packet.meta.checksum == ChecksumState::Verified {
        return true;
    }
    let mut sum = pseudo_sum(packet);
    sum.add_bytes(packet.payload);
    sum.is_valid()
}
