//! Flows to any address: how a stack stands in for everybody whom the hosts on a link want to reach.
//!
//! With [`Stack::set_any_address`] a SYN to an address that is nobody's on this host is not answered: it becomes a pending flow, which an
//! [event](crate::Event::Flow) tells. The application finds out whether the real peer can be reached, and then accepts (the handshake completes, and the
//! connection waits in the accept queue of a listener), refuses (the peer gets a reset) or says that it is unreachable (by ICMP). So does the first
//! datagram of a UDP flow, which is accepted as a socket: `accept_any_udp`.

use core::net::{IpAddr, SocketAddr};

use super::Stack;
use super::addressing::ConfigError;
use super::flow::Flow;
use super::forward::is_routable;
use super::ip_input::Packet;
use super::nodes::Node;
use super::tcp_input::{flow_of, has_valid_checksum};
use super::udp::RECEIVE_HEADER;
use crate::address::is_unicast;
use crate::config::Limits;
use crate::counters::DropReason;
use crate::error_text::{ErrorText, errors_with_text};
use crate::event::{FlowHandle, InterfaceId, ListenerHandle, UdpHandle};
use crate::hash_index::{Bucket, HashIndex};
use crate::pool::Pool;
use crate::random::Generator;
use crate::record_queue::RecordQueue;
use crate::slab::{Slab, Slot};
use crate::storage::Storage;
use crate::tcp::Segment;
use crate::tcp::cookies::SynCookies;
use crate::tcp::output::Bare;
use crate::time::{Duration, Instant};
use crate::wire::{Ecn, Ipv4Header, Ipv6Header, MacAddr, TcpFlags, TcpHeader, icmpv4, icmpv6, protocol, udp};

/// Bytes that are kept of a SYN: the longest headers of IPv4 and TCP.
const KEPT: usize = 60 + 60;

/// Bytes of datagrams that a pending flow keeps: room for the longest one.
const PENDING_BYTES: u32 = 66 * 1024;

/// Counters of pending flows by source; sources of one hash share one.
const SOURCES: usize = 64;

/// What a flow is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowProtocol {
    /// A connection that is asked for.
    Tcp,
    /// Datagrams.
    Udp,
}

/// How an interface takes flows to addresses that are nobody's on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnyAddress {
    /// Whose settings the connections have, and in whose accept queue they wait once their handshake is over. The port that it listens on does not matter.
    pub listener: ListenerHandle,
    /// Whether UDP flows are taken too, as they are by default.
    pub udp: bool,
    /// Flows of one source that may be pending: 64.
    pub per_source: u16,
    /// How long a flow may be pending: 30 s.
    pub timeout: Duration,
}

impl AnyAddress {
    /// With the usual limits.
    pub const fn through(listener: ListenerHandle) -> Self {
        AnyAddress { listener, udp: true, per_source: 64, timeout: Duration::from_secs(30) }
    }
}

/// A flow that waits for a decision.
#[derive(Clone, Debug)]
pub struct PendingFlow {
    pub(super) protocol: FlowProtocol,
    pub(super) flow: Flow,
    pub(super) flow_hash: u32,
    interface: InterfaceId,
    ecn: Ecn,
    /// The first packet's beginning, and where in it the header of TCP or UDP is.
    packet: [u8; KEPT],
    len: u8,
    header_len: u8,
    /// Whether nobody is asked, since translation has let nobody have it: it is answered when its time is over (RFC 5382 REQ-4).
    is_unsolicited: bool,
    /// What has come of it so far, of UDP.
    pub(super) datagrams: RecordQueue,
}

/// A flow that waits for a decision, as the application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingFlowInfo {
    /// What it is of.
    pub protocol: FlowProtocol,
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
    /// As many UDP sockets are open as the limit allows. The flow stays pending.
    TooManySockets,
}

impl FlowError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            FlowError::NotFound => ErrorText::plain("the flow is not pending any more"),
            FlowError::ListenerBusy => ErrorText::plain("there is no listener, or its queues are full"),
            FlowError::TooManySockets => ErrorText::plain("the limit on sockets is reached"),
        }
    }
}

errors_with_text!(FlowError);

/// Entries of the index: pending flows, and the sockets of UDP flows that were accepted.
pub(crate) const fn flow_keys_for(pending_flows: usize, udp_sockets: usize) -> usize {
    if pending_flows == 0 { 0 } else { pending_flows + udp_sockets }
}

/// The pending flows.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct PendingFlows<'m> {
    pub(super) flows: Slab<'m, PendingFlow>,
    /// Pending flows by their indexes, then sockets by theirs.
    pub(super) index: HashIndex<'m>,
    /// Most pending flows: the number of the first socket.
    pub(super) limit: u32,
    by_source: [u16; SOURCES],
}

impl<'m> PendingFlows<'m> {
    pub(super) fn new(flows: Storage<'m, Slot<PendingFlow>>, buckets: Storage<'m, Bucket>, limits: &Limits) -> Self {
        PendingFlows {
            flows: Slab::new(flows, limits.pending_flows),
            index: HashIndex::new(buckets, flow_keys_for(limits.pending_flows, limits.udp_sockets)),
            limit: limits.pending_flows as u32,
            by_source: [0; SOURCES],
        }
    }

    pub(super) fn find(&self, protocol: FlowProtocol, hash: u32, flow: &Flow) -> Option<u32> {
        let is_it = |found: &PendingFlow| found.protocol == protocol && found.flow == *flow;
        self.index.find(hash, |number| self.flows.get(number).is_some_and(is_it))
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

/// The protocol right behind a packet's IP header, with the ECN field and the payload. Fragments are a protocol of their own, as in IPv6.
fn upper_of(whole: &[u8]) -> Option<(u8, Ecn, &[u8])> {
    if whole.first()? >> 4 == 4 {
        let (header, payload) = Ipv4Header::parse(whole).ok()?;
        let upper = if header.is_fragment() { protocol::FRAGMENT } else { header.protocol };
        Some((upper, Ecn::of_traffic_class(header.dscp_ecn), payload))
    } else {
        let (header, payload) = Ipv6Header::parse(whole).ok()?;
        Some((header.next_header, Ecn::of_traffic_class(header.traffic_class), payload))
    }
}

impl Stack<'_> {
    /// Takes flows of TCP and UDP that come in by this interface to addresses which are nobody's on this host, or takes none.
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
        Some(PendingFlowInfo { protocol: found.protocol, local, remote, interface: found.interface })
    }

    /// Takes a flow. TCP's handshake goes on, and the connection comes out of the listener's accept queue, with the addresses of the flow. Of
    /// UDP it makes a socket, which is returned: it has the flow's addresses, is connected to the peer, has the datagrams that have come, and gets
    /// those of the flow until it is [closed](Self::udp_close).
    ///
    /// # Errors
    /// If the flow is not pending any more, or there is no room for it.
    pub fn accept_flow(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        handle: FlowHandle,
    ) -> Result<Option<UdpHandle>, FlowError> {
        self.advance_clock(now);
        let pending = self.pending_flows.flows.lookup(handle.0).ok_or(FlowError::NotFound)?.clone();
        if pending.protocol == FlowProtocol::Udp {
            return self.accept_datagrams(pool, handle.0.index).map(Some);
        }
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
        self.forget_pending(pool, handle.0.index);
        let bytes = &pending.packet[usize::from(pending.header_len)..usize::from(pending.len)];
        let Ok((header, options, _)) = TcpHeader::parse(bytes) else { return Err(FlowError::NotFound) };
        let segment = Segment::new(pending.ecn, &header, options, &[], 0);
        let addresses = (pending.flow.remote, pending.flow.local);
        let packet = Packet::passing(pending.interface, MacAddr([0; 6]), addresses, 0, &[]);
        let flow = (&pending.flow, pending.flow_hash);
        self.connection_request(pool, &packet, flow, any.listener.0.index, &segment, None);
        Ok(None)
    }

    /// Answers a flow as a host does on whose port nobody listens: TCP with a reset, UDP by ICMP.
    ///
    /// # Errors
    /// If the flow is not pending any more.
    pub fn refuse_flow(&mut self, pool: &mut Pool<'_>, now: Instant, handle: FlowHandle) -> Result<(), FlowError> {
        self.advance_clock(now);
        let pending = self.pending_flows.flows.lookup(handle.0).ok_or(FlowError::NotFound)?.clone();
        if pending.protocol == FlowProtocol::Udp {
            return self.flow_unreachable(pool, now, handle, FlowUnreachable::Port);
        }
        self.forget_pending(pool, handle.0.index);
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
        let (quote, quote_len) = quote_of(pool, &pending);
        self.forget_pending(pool, handle.0.index);
        let (v4, v6) = match reason {
            FlowUnreachable::Network => (icmpv4::code::NETWORK_UNREACHABLE, icmpv6::code::NO_ROUTE),
            FlowUnreachable::Host => (icmpv4::code::HOST_UNREACHABLE, icmpv6::code::ADDRESS_UNREACHABLE),
            FlowUnreachable::Port => (icmpv4::code::PORT_UNREACHABLE, icmpv6::code::PORT_UNREACHABLE),
            FlowUnreachable::Prohibited => {
                (icmpv4::code::ADMINISTRATIVELY_PROHIBITED, icmpv6::code::ADMINISTRATIVELY_PROHIBITED)
            }
        };
        let (kind, code) = match pending.flow.is_ipv4() {
            true => (icmpv4::kind::DESTINATION_UNREACHABLE, v4),
            false => (icmpv6::kind::DESTINATION_UNREACHABLE, v6),
        };
        let Flow { local, remote, .. } = pending.flow;
        let source = match reason {
            FlowUnreachable::Port => Some(local),
            _ => self.source_on(pending.interface, remote),
        };
        if let Some(source) = source {
            let whole = &quote[..quote_len];
            let packet = Packet::passing(pending.interface, MacAddr([0; 6]), (remote, local), 0, whole);
            self.send_error_from(pool, &packet, source, kind, code, 0);
        }
        Ok(())
    }

    /// Nobody has decided on a flow in time, or nobody was asked.
    pub(super) fn pending_flow_timeout(&mut self, pool: &mut Pool<'_>, index: u32) {
        let is_unsolicited = self.pending_flows.flows.get(index).is_some_and(|found| found.is_unsolicited);
        let Some(handle) = self.pending_flows.key(index).filter(|_| is_unsolicited) else {
            return self.forget_pending(pool, index);
        };
        // RFC 5382 REQ-4: "the NAT SHOULD send an ICMP Port Unreachable error (Type 3, Code 3) for the original SYN".
        _ = self.flow_unreachable(pool, self.now, handle, FlowUnreachable::Port);
    }

    pub(super) fn forget_pending(&mut self, pool: &mut Pool<'_>, index: u32) {
        if let Some(found) = self.pending_flows.flows.get_mut(index) {
            found.datagrams.clear(pool, &mut self.account);
        }
        let number = self.nodes.number(Node::PendingFlow(index));
        self.event_links.remove(&mut self.events, number);
        self.deadlines.remove(number);
        self.pending_flows.remove(&self.hash_secret, index);
    }

    /// A packet for an address that is nobody's here. True if it belongs to a flow about which an application of ours is asked, or was.
    pub(super) fn any_address_input(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) -> bool {
        let any = self.interfaces.get(u32::from(packet.interface.0)).and_then(|found| found.any_address);
        let Some((any, (upper, ecn, payload))) = any.zip(upper_of(packet.whole)) else { return false };
        if !is_routable(packet.destination) || !is_unicast(packet.source) {
            return false;
        }
        let packet = Packet { ecn, payload, ..*packet };
        match upper {
            protocol::TCP => self.any_address_segment(pool, &packet, &any),
            protocol::UDP if any.udp => self.any_address_datagram(pool, &packet, &any),
            protocol::FRAGMENT if any.udp => return self.any_address_fragment(pool, &packet),
            protocol::ICMP | protocol::ICMPV6 => return self.any_address_error(pool, &packet),
            _ => return false,
        }
        true
    }

    fn any_address_segment(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, any: &AnyAddress) {
        let Ok((header, options, data)) = TcpHeader::parse(packet.payload) else {
            self.counters.drop(DropReason::TcpMalformed);
            return;
        };
        let flow = flow_of(packet, &header);
        let hash = self.flow_hash(&flow);
        if self.find_flow(hash, &flow).is_some() {
            return self.tcp_input(pool, packet);
        }
        if !has_valid_checksum(packet) {
            self.counters.drop(DropReason::TcpChecksum);
            return;
        }
        let known = self.pending_flows.find(FlowProtocol::Tcp, hash, &flow);
        let segment = Segment::new(packet.ecn, &header, options, data, 0);
        let is_request = segment.has(TcpFlags::SYN) && !segment.has(TcpFlags::ACK);
        match known {
            Some(known) if segment.has(TcpFlags::RST) => self.forget_pending(pool, known),
            // The application knows already.
            Some(_) => self.counters.drop(DropReason::FlowPending),
            None if segment.has(TcpFlags::RST) => self.counters.drop(DropReason::TcpNoSocket),
            None if is_request => {
                self.ask_about_flow(packet, FlowProtocol::Tcp, (flow, hash), any);
            }
            None => {
                self.counters.drop(DropReason::TcpNoSocket);
                self.send_bare(pool, &Bare::reset_for(flow, &segment));
            }
        }
    }

    /// A new flow: the application is asked, unless too many wait already. Returns the flow's index.
    pub(super) fn ask_about_flow(
        &mut self,
        packet: &Packet<'_>,
        protocol: FlowProtocol,
        (flow, flow_hash): (Flow, u32),
        any: &AnyAddress,
    ) -> Option<u32> {
        let index = self.hold_flow(packet, protocol, (flow, flow_hash), (any.per_source, any.timeout), false)?;
        self.notify(Node::PendingFlow(index));
        Some(index)
    }

    /// Keeps what a flow begins with for a time, unless its source has `per_source` pending ones or the table is full.
    pub(super) fn hold_flow(
        &mut self,
        packet: &Packet<'_>,
        protocol: FlowProtocol,
        (flow, flow_hash): (Flow, u32),
        (per_source, timeout): (u16, Duration),
        is_unsolicited: bool,
    ) -> Option<u32> {
        if *self.pending_flows.source_count(&self.hash_secret, flow.remote) >= per_source {
            self.counters.drop(DropReason::FlowTableFull);
            return None;
        }
        let mut kept = [0; KEPT];
        let len = packet.whole.len().min(KEPT);
        kept[..len].copy_from_slice(&packet.whole[..len]);
        let deadline = self.now + timeout;
        let pending = PendingFlow {
            protocol,
            flow,
            flow_hash,
            interface: packet.interface,
            ecn: packet.ecn,
            packet: kept,
            len: len as u8,
            header_len: (packet.whole.len() - packet.payload.len()) as u8,
            is_unsolicited,
            datagrams: RecordQueue::new(PENDING_BYTES),
        };
        let Ok(key) = self.pending_flows.flows.insert(pending) else {
            self.counters.drop(DropReason::FlowTableFull);
            return None;
        };
        *self.pending_flows.source_count(&self.hash_secret, flow.remote) += 1;
        self.pending_flows.index.insert(flow_hash, key.index);
        self.deadlines.set_no_later(self.nodes.number(Node::PendingFlow(key.index)), deadline);
        Some(key.index)
    }
}

/// What an error about a flow quotes: of a datagram as much as IPv6 wants (RFC 4443 §2.4 (c)).
fn quote_of(pool: &Pool<'_>, pending: &PendingFlow) -> ([u8; icmpv6::MAX_ORIGINAL_LEN], usize) {
    let mut quote = [0; icmpv6::MAX_ORIGINAL_LEN];
    let len = match pending.protocol {
        FlowProtocol::Tcp => usize::from(pending.len),
        FlowProtocol::Udp => usize::from(pending.header_len) + udp::HEADER_LEN,
    };
    quote[..len].copy_from_slice(&pending.packet[..len]);
    let rest = pending.datagrams.peek(pool, RECEIVE_HEADER, &mut quote[len..]);
    (quote, len + rest)
}
