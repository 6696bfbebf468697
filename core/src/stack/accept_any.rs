//! TCP flows and UDP datagrams to any address: how a stack stands in for everybody whom the hosts on a link want to reach.
//!
//! With [`Stack::set_any_address`] a SYN to an address that is nobody's on this host is not answered: it becomes a pending flow, which an
//! [event](crate::Event::Flow) tells. The application finds out whether the real peer can be reached, and then accepts (the handshake completes, and the
//! connection waits in the accept queue of a listener), refuses (the peer gets a reset) or says that it is unreachable (by ICMP). UDP has no handshake:
//! datagrams to such addresses go to one socket of the application's, which answers in the name of whom they were for.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::Stack;
use super::addressing::ConfigError;
use super::flow::Flow;
use super::forward::is_routable;
use super::ip_input::Packet;
use super::nodes::Node;
use super::tcp_input::{flow_of, has_valid_checksum};
use super::transmit::IpHead;
use super::udp::UdpMeta;
use crate::address::is_unicast;
use crate::counters::DropReason;
use crate::event::{FlowHandle, InterfaceId, ListenerHandle, UdpHandle};
use crate::hash_index::{Bucket, HashIndex};
use crate::pool::Pool;
use crate::random::Generator;
use crate::slab::{Slab, Slot};
use crate::storage::Storage;
use crate::tcp::Segment;
use crate::tcp::cookies::SynCookies;
use crate::tcp::output::Bare;
use crate::time::{Duration, Instant};
use crate::wire::{Ecn, Ipv4Header, Ipv6Header, MacAddr, TcpFlags, TcpHeader, UdpHeader};
use crate::wire::{icmpv4, icmpv6, ipv6, protocol, udp};

/// Bytes that are kept of a SYN: the longest headers of IPv4 and TCP.
const KEPT: usize = 60 + 60;

/// Bytes of a datagram that an ICMP error quotes.
const QUOTED: usize = 512;

/// Counters of pending flows by source; sources of one hash share one.
const SOURCES: usize = 64;

/// How an interface takes flows to addresses that are nobody's on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnyAddress {
    /// Whose settings the connections have, and in whose accept queue they wait once their handshake is over. The port that it listens on does not matter.
    pub listener: ListenerHandle,
    /// Flows of one source that may be pending: 64.
    pub per_source: u16,
    /// How long a flow may be pending: 30 s.
    pub timeout: Duration,
    /// The UDP socket, if any, that gets the datagrams to addresses which are nobody's on this host: their [`UdpMeta::local`] and
    /// [`UdpMeta::local_port`] say whom they are for, and with these it may answer in their name. What comes in fragments
    /// is not among them.
    pub datagrams: Option<UdpHandle>,
}

impl AnyAddress {
    /// With the usual limits.
    pub const fn through(listener: ListenerHandle) -> Self {
        AnyAddress { listener, per_source: 64, timeout: Duration::from_secs(30), datagrams: None }
    }
}

/// A flow that waits for a decision.
#[derive(Clone, Debug)]
pub struct PendingFlow {
    flow: Flow,
    flow_hash: u32,
    interface: InterfaceId,
    ecn: Ecn,
    /// The SYN's beginning, and where in it TCP's header is.
    packet: [u8; KEPT],
    len: u8,
    header_len: u8,
}

/// A flow that waits for a decision, as the application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingFlowInfo {
    /// Whom the peer wants to reach.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
    /// The interface that it came in by.
    pub interface: InterfaceId,
}

/// Why a flow leads nowhere, for the peer to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowUnreachable {
    /// There is no route to the network (RFC 792, RFC 4443 §3.1).
    Network,
    /// The host does not answer.
    Host,
    /// Nobody has the port.
    Port,
    /// It is not allowed.
    Prohibited,
}

/// Why a flow was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowError {
    /// It is not pending any more: decided on, given up by the peer, or timed out.
    NotFound,
    /// There is no listener, or its queues are full. The flow stays pending.
    ListenerBusy,
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FlowError::NotFound => "the flow is not pending any more",
            FlowError::ListenerBusy => "there is no listener, or its queues are full",
        })
    }
}

impl core::error::Error for FlowError {}

/// The pending flows.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct PendingFlows<'m> {
    flows: Slab<'m, PendingFlow>,
    index: HashIndex<'m>,
    by_source: [u16; SOURCES],
}

impl<'m> PendingFlows<'m> {
    pub(super) fn new(flows: Storage<'m, Slot<PendingFlow>>, buckets: Storage<'m, Bucket>, limit: usize) -> Self {
        PendingFlows { flows: Slab::new(flows, limit), index: HashIndex::new(buckets, limit), by_source: [0; SOURCES] }
    }

    fn find(&self, hash: u32, flow: &Flow) -> Option<u32> {
        self.index.find(hash, |index| self.flows.get(index).is_some_and(|found| found.flow == *flow))
    }

    pub(super) fn key(&self, index: u32) -> Option<FlowHandle> {
        self.flows.key(index).map(FlowHandle)
    }

    fn source_count(&mut self, secret: &Generator, source: IpAddr) -> &mut u16 {
        let [a, b] = crate::address::words(source);
        &mut self.by_source[secret.hash(&[a, b, SOURCES as u64]) as usize % SOURCES]
    }

    fn remove(&mut self, secret: &Generator, index: u32) {
        let Some(found) = self.flows.get(index) else { return };
        let (hash, source) = (found.flow_hash, found.flow.remote);
        self.index.remove(hash, index);
        self.flows.remove(index);
        *self.source_count(secret, source) -= 1;
    }
}

/// What follows a packet's IP header, unless it is a fragment: its protocol, and the packet's ECN field and payload.
fn upper_of(whole: &[u8]) -> Option<(u8, Ecn, &[u8])> {
    if whole.first()? >> 4 == 4 {
        let (header, payload) = Ipv4Header::parse(whole).ok()?;
        (!header.is_fragment()).then_some((header.protocol, Ecn::of_traffic_class(header.dscp_ecn), payload))
    } else {
        let (header, payload) = Ipv6Header::parse(whole).ok()?;
        Some((header.next_header, Ecn::of_traffic_class(header.traffic_class), payload))
    }
}

impl Stack<'_> {
    /// Takes TCP flows that come in by this interface to addresses which are nobody's on this host, or takes none.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn set_any_address(&mut self, interface: InterfaceId, any: Option<AnyAddress>) -> Result<(), ConfigError> {
        let found = self.interfaces.get_mut(u32::from(interface.0)).ok_or(ConfigError::NoSuchInterface(interface))?;
        found.any_address = any;
        self.invalidate_paths();
        Ok(())
    }

    /// Whether connections from addresses that are not ours may use this interface.
    pub(super) fn takes_any_address(&self, interface: InterfaceId) -> bool {
        self.interfaces.get(u32::from(interface.0)).is_some_and(|found| found.any_address.is_some())
    }

    /// A flow that is pending.
    pub fn pending_flow(&self, handle: FlowHandle) -> Option<PendingFlowInfo> {
        let found = self.pending_flows.flows.lookup(handle.0)?;
        let (local, remote) = (found.flow.local_address(), found.flow.remote_address());
        Some(PendingFlowInfo { local, remote, interface: found.interface })
    }

    /// Lets the handshake of a flow go on. The connection comes out of the listener's accept queue, with the addresses of the flow.
    ///
    /// # Errors
    /// If the flow is not pending any more, or the listener has no room for it.
    pub fn accept_flow(&mut self, pool: &mut Pool<'_>, now: Instant, handle: FlowHandle) -> Result<(), FlowError> {
        self.advance_clock(now);
        let pending = self.pending_flows.flows.lookup(handle.0).ok_or(FlowError::NotFound)?.clone();
        let found = self.interfaces.get(u32::from(pending.interface.0)).and_then(|found| found.any_address);
        let listener = found.and_then(|any| self.listeners.lookup(any.listener.0));
        // A cookie would be answered as if nobody had asked for it.
        let is_busy = listener.is_none_or(|listener| {
            listener.queued >= listener.backlog
                || listener.half_open > listener.backlog
                || listener.config.syn_cookies == SynCookies::Always
        });
        let Some(any) = found.filter(|_| !is_busy && !self.half_open.is_full()) else {
            return Err(FlowError::ListenerBusy);
        };
        self.forget_pending(handle.0.index);
        let bytes = &pending.packet[usize::from(pending.header_len)..usize::from(pending.len)];
        let Ok((header, options, _)) = TcpHeader::parse(bytes) else { return Err(FlowError::NotFound) };
        let segment = Segment::new(pending.ecn, &header, options, &[], 0);
        let addresses = (pending.flow.remote, pending.flow.local);
        let packet = Packet::passing(pending.interface, MacAddr([0; 6]), addresses, 0, &[]);
        let flow = (&pending.flow, pending.flow_hash);
        self.connection_request(pool, &packet, flow, any.listener.0.index, &segment, None);
        Ok(())
    }

    /// Answers a flow with a reset, as a host does on whose port nobody listens.
    ///
    /// # Errors
    /// If the flow is not pending any more.
    pub fn refuse_flow(&mut self, pool: &mut Pool<'_>, now: Instant, handle: FlowHandle) -> Result<(), FlowError> {
        self.advance_clock(now);
        let pending = self.pending_flows.flows.lookup(handle.0).ok_or(FlowError::NotFound)?.clone();
        self.forget_pending(handle.0.index);
        let bytes = &pending.packet[usize::from(pending.header_len)..usize::from(pending.len)];
        let Ok((header, options, _)) = TcpHeader::parse(bytes) else { return Err(FlowError::NotFound) };
        let segment = Segment::new(pending.ecn, &header, options, &[], 0);
        self.send_bare(pool, &Bare::reset_for(pending.flow, &segment));
        Ok(())
    }

    /// Tells the peer of a flow by ICMP why it leads nowhere: that the port is unreachable, in the name of the host; the rest, in our own.
    ///
    /// # Errors
    /// If the flow is not pending any more.
    pub fn flow_unreachable(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        handle: FlowHandle,
        reason: FlowUnreachable,
    ) -> Result<(), FlowError> {
        self.advance_clock(now);
        let pending = self.pending_flows.flows.lookup(handle.0).ok_or(FlowError::NotFound)?.clone();
        self.forget_pending(handle.0.index);
        let Flow { local, remote, .. } = pending.flow;
        let whole = &pending.packet[..usize::from(pending.len)];
        let packet = Packet::passing(pending.interface, MacAddr([0; 6]), (remote, local), 0, whole);
        self.report_unreachable(pool, &packet, reason);
        Ok(())
    }

    /// Tells who has sent a datagram that [`AnyAddress::datagrams`] got why it leads nowhere, as [`flow_unreachable`](Self::flow_unreachable) does.
    /// What came without its interface, or for no given address, is let go.
    pub fn datagram_unreachable(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        meta: &UdpMeta,
        data: &[u8],
        reason: FlowUnreachable,
    ) {
        self.advance_clock(now);
        let (Some(interface), Some(local)) = (meta.interface, meta.local) else { return };
        let remote = meta.remote.ip();
        if remote.is_ipv4() != local.is_ipv4() || self.interfaces.get(u32::from(interface.0)).is_none() {
            return;
        }
        // The beginning of the packet as it came, but for its options.
        let len = udp::HEADER_LEN + data.len().min(QUOTED);
        let mut bytes = [0; ipv6::HEADER_LEN + udp::HEADER_LEN + QUOTED];
        let (source_port, destination_port) = (meta.remote.port(), meta.local_port);
        let length = (udp::HEADER_LEN + data.len()) as u16;
        let mut payload = [0; udp::HEADER_LEN + QUOTED];
        UdpHeader { source_port, destination_port, length, checksum: 0 }.emit(&mut payload);
        payload[udp::HEADER_LEN..len].copy_from_slice(&data[..len - udp::HEADER_LEN]);
        let head = IpHead {
            hop_limit: meta.hop_limit,
            traffic_class: meta.traffic_class,
            ..IpHead::new(remote, local, protocol::UDP)
        };
        let (header, header_len) = self.ip_header(interface, &head, &payload[..len], usize::from(length));
        bytes[..header_len].copy_from_slice(&header[..header_len]);
        bytes[header_len..header_len + len].copy_from_slice(&payload[..len]);
        let whole = &bytes[..header_len + len];
        let packet = Packet::passing(interface, MacAddr([0; 6]), (remote, local), 0, whole);
        self.report_unreachable(pool, &packet, reason);
    }

    fn report_unreachable(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, reason: FlowUnreachable) {
        let (v4, v6) = match reason {
            FlowUnreachable::Network => (icmpv4::code::NETWORK_UNREACHABLE, icmpv6::code::NO_ROUTE),
            FlowUnreachable::Host => (icmpv4::code::HOST_UNREACHABLE, icmpv6::code::ADDRESS_UNREACHABLE),
            FlowUnreachable::Port => (icmpv4::code::PORT_UNREACHABLE, icmpv6::code::PORT_UNREACHABLE),
            FlowUnreachable::Prohibited => {
                (icmpv4::code::ADMINISTRATIVELY_PROHIBITED, icmpv6::code::ADMINISTRATIVELY_PROHIBITED)
            }
        };
        let (kind, code) = match packet.source.is_ipv4() {
            true => (icmpv4::kind::DESTINATION_UNREACHABLE, v4),
            false => (icmpv6::kind::DESTINATION_UNREACHABLE, v6),
        };
        let source = match reason {
            FlowUnreachable::Port => Some(packet.destination),
            _ => self.source_on(packet.interface, packet.source),
        };
        if let Some(source) = source {
            self.send_error_from(pool, packet, source, kind, code, 0);
        }
    }

    fn forget_pending(&mut self, index: u32) {
        let number = self.nodes.number(Node::PendingFlow(index));
        self.event_links.remove(&mut self.events, number);
        self.deadlines.remove(number);
        self.pending_flows.remove(&self.hash_secret, index);
    }

    /// Nobody has decided on a flow in time.
    pub(super) fn pending_flow_timeout(&mut self, index: u32) {
        self.forget_pending(index);
    }

    /// Whether a UDP socket may send by this interface in the name of anybody.
    pub(super) fn answers_for_any(&self, interface: InterfaceId, socket: UdpHandle) -> bool {
        let any = self.interfaces.get(u32::from(interface.0)).and_then(|found| found.any_address);
        any.is_some_and(|any| any.datagrams == Some(socket))
    }

    /// A packet for an address that is nobody's here. True if it is of a protocol for which an application of ours is asked.
    pub(super) fn any_address_input(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) -> bool {
        let any = self.interfaces.get(u32::from(packet.interface.0)).and_then(|found| found.any_address);
        let Some((any, (upper, ecn, payload))) = any.zip(upper_of(packet.whole)) else { return false };
        if !is_routable(packet.destination) || !is_unicast(packet.source) {
            return false;
        }
        let packet = Packet { ecn, payload, ..*packet };
        match (upper, any.datagrams) {
            (protocol::TCP, _) => self.any_segment(pool, &packet, &any),
            (protocol::UDP, Some(socket)) => self.udp_to_any(pool, &packet, socket),
            _ => return false,
        }
        true
    }

    /// A segment for an address that is nobody's here.
    fn any_segment(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, any: &AnyAddress) {
        let Ok((header, options, data)) = TcpHeader::parse(packet.payload) else {
            self.counters.drop(DropReason::TcpMalformed);
            return;
        };
        let flow = flow_of(packet, &header);
        let hash = self.flow_hash(&flow);
        if self.find_flow(hash, &flow).is_some() {
            self.tcp_input(pool, packet);
            return;
        }
        if !has_valid_checksum(packet) {
            self.counters.drop(DropReason::TcpChecksum);
            return;
        }
        let known = self.pending_flows.find(hash, &flow);
        let segment = Segment::new(packet.ecn, &header, options, data, 0);
        let is_request = segment.has(TcpFlags::SYN) && !segment.has(TcpFlags::ACK);
        match known {
            Some(known) if segment.has(TcpFlags::RST) => self.forget_pending(known),
            // The application knows already.
            Some(_) => self.counters.drop(DropReason::FlowPending),
            None if segment.has(TcpFlags::RST) => self.counters.drop(DropReason::TcpNoSocket),
            None if is_request => self.ask_about_flow(packet, (flow, hash), any),
            None => {
                self.counters.drop(DropReason::TcpNoSocket);
                self.send_bare(pool, &Bare::reset_for(flow, &segment));
            }
        }
    }

    /// A new flow: the application is asked, unless too many wait already.
    fn ask_about_flow(&mut self, packet: &Packet<'_>, (flow, flow_hash): (Flow, u32), any: &AnyAddress) {
        if *self.pending_flows.source_count(&self.hash_secret, flow.remote) >= any.per_source {
            self.counters.drop(DropReason::FlowTableFull);
            return;
        }
        let mut kept = [0; KEPT];
        let len = packet.whole.len().min(KEPT);
        kept[..len].copy_from_slice(&packet.whole[..len]);
        let deadline = self.now + any.timeout;
        let pending = PendingFlow {
            flow,
            flow_hash,
            interface: packet.interface,
            ecn: packet.ecn,
            packet: kept,
            len: len as u8,
            header_len: (packet.whole.len() - packet.payload.len()) as u8,
        };
        let Ok(key) = self.pending_flows.flows.insert(pending) else {
            self.counters.drop(DropReason::FlowTableFull);
            return;
        };
        *self.pending_flows.source_count(&self.hash_secret, flow.remote) += 1;
        self.pending_flows.index.insert(flow_hash, key.index);
        self.deadlines.set_no_later(self.nodes.number(Node::PendingFlow(key.index)), deadline);
        self.notify(Node::PendingFlow(key.index));
    }
}
