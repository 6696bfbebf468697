//! UDP sockets (RFC 768, RFC 1122 §4.1).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Stack;
use super::addressing::ScopeError;
use super::flow::Flow;
use super::fragment_output::Owner;
use super::ip_input::{Cast, Packet};
use super::nodes::Node;
use super::routes::NextHop;
use super::transmit::{IpHead, max_payload};
use super::udp_errors::ERROR_BYTES;
use super::udp_options::UdpOptions;
use crate::address::{Endpoint, bits, with_scope};
use crate::checksum;
use crate::counters::DropReason;
use crate::error_text::{ErrorText, errors_with_text};
use crate::event::{InterfaceId, Signals, UdpHandle};
use crate::pool::Pool;
use crate::record_queue::RecordQueue;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::{MacAddr, UdpHeader, ipv4, ipv6, protocol, udp};

/// Bytes of datagrams that wait in a socket, in each direction.
pub(super) const QUEUE_BYTES: u32 = 256 * 1024;

/// The dynamic ports (RFC 6335 §6).
pub(super) const EPHEMERAL_PORTS: core::ops::RangeInclusive<u16> = 49_152..=65_535;

/// A UDP socket.
#[derive(Clone, Debug)]
pub struct UdpSocket {
    /// The address and port that its datagrams are for; the address is that of the connection, if there is one.
    pub(super) local: Endpoint,
    /// The address that it was bound to.
    pub(super) bound: Option<IpAddr>,
    /// The peer that it is connected to.
    pub(super) peer: Option<SocketAddr>,
    pub(super) options: UdpOptions,
    /// Groups that it has joined.
    pub(super) memberships: u16,
    /// The flow to any address that it was made of by accepting; such a socket is in the table of those flows and not in that of ports.
    pub(super) flow: Option<Flow>,
    receive: RecordQueue,
    /// IP packets that wait to be sent, each after a header of `SEND_HEADER` bytes.
    pub(super) send: RecordQueue,
    /// The interface on whose list the socket is.
    interface: InterfaceId,
    /// What ICMP has reported.
    pub(super) errors: RecordQueue,
    pub(super) signals: Signals,
}

impl UdpSocket {
    pub(super) fn new(local: Endpoint, options: UdpOptions) -> Self {
        UdpSocket {
            local,
            bound: local.address,
            peer: None,
            options,
            memberships: 0,
            flow: None,
            receive: RecordQueue::new(QUEUE_BYTES),
            send: RecordQueue::new(QUEUE_BYTES),
            interface: InterfaceId(0),
            errors: RecordQueue::new(ERROR_BYTES),
            signals: Signals::NONE,
        }
    }

    /// The socket of a flow to any address, with the datagrams that have come.
    pub(super) fn of_flow(flow: &Flow, datagrams: RecordQueue) -> Self {
        let local = Endpoint { address: Some(flow.local), port: flow.local_port };
        UdpSocket {
            peer: Some(flow.remote_address()),
            flow: Some(*flow),
            signals: if datagrams.is_empty() { Signals::NONE } else { Signals::READABLE },
            receive: datagrams.with_limit(QUEUE_BYTES),
            ..UdpSocket::new(local, UdpOptions::default())
        }
    }
}

/// Where a datagram comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpMeta {
    /// The other end. The scope id of a link-local address says by which interface it is reached; a received datagram's
    /// can be answered as it is.
    pub remote: SocketAddr,
    /// Our address: the one it was sent to, or is to be sent from. The unspecified address is one to broadcast from by a given
    /// interface that has none yet (DHCP, RFC 2131 §4.1).
    pub local: Option<IpAddr>,
    /// The interface that it came in by (none if that was removed meanwhile), or is to leave by, which goes before the
    /// scope id of `remote`; needed for broadcasts and groups on a host with several.
    pub interface: Option<InterfaceId>,
    /// TTL or hop limit that a received datagram came with; means nothing for one to send.
    pub hop_limit: u8,
    /// TOS or traffic class that a received datagram came with; means nothing for one to send.
    pub traffic_class: u8,
    /// The station to send to, for a peer that has no address yet and so cannot be asked for it (RFC 2131 §4.1).
    pub link: Option<MacAddr>,
}

impl UdpMeta {
    /// To `remote`, from wherever the routes say.
    pub const fn to(remote: SocketAddr) -> Self {
        UdpMeta { remote, local: None, interface: None, hop_limit: 0, traffic_class: 0, link: None }
    }
}

/// Why a port could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindError {
    /// Another socket has the address and port.
    AddressInUse(Endpoint),
    /// The address is not one of ours.
    AddressNotAvailable(IpAddr),
    /// All ephemeral ports are taken.
    PortsExhausted,
    /// As many sockets are open as the limit allows.
    TooManySockets,
}

impl BindError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            BindError::AddressInUse(endpoint) => endpoint.in_use(),
            BindError::AddressNotAvailable(address) => ErrorText::address("{} is not an address of this host", address),
            BindError::PortsExhausted => ErrorText::plain("all ephemeral ports are in use"),
            BindError::TooManySockets => ErrorText::plain("the limit on sockets is reached"),
        }
    }
}

errors_with_text!(BindError);

/// Why a datagram was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UdpSendError {
    /// The handle's socket is closed.
    NotFound,
    /// The datagram is longer than any can be, or than the path takes if it [must not be fragmented](crate::UdpOptions::dont_fragment).
    TooLong {
        /// The most that can be sent, in bytes.
        max: usize,
    },
    /// There is no route to the address.
    NoRoute(IpAddr),
    /// The socket's queue, or the pool, is full; try again after the next transmissions.
    QueueFull,
    /// The destination port is 0, or the source address is not ours or not one of the interface's.
    BadAddress(SocketAddr),
    /// The destination is link-local, and which link is meant cannot be told.
    Scope(ScopeError),
    /// The socket must not send to broadcast addresses ([`UdpOptions::broadcast`]).
    BroadcastProhibited,
}

impl UdpSendError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            UdpSendError::NotFound => ErrorText::plain("the socket is closed"),
            UdpSendError::TooLong { max } => {
                ErrorText::number("the datagram is too long: at most {} bytes", max as u32)
            }
            UdpSendError::NoRoute(address) => ErrorText::address("no route to {}", address),
            UdpSendError::QueueFull => ErrorText::plain("the send queue is full"),
            UdpSendError::BadAddress(address) => {
                ErrorText::endpoint("cannot send to {}: no host, or our own without a loopback interface", address)
            }
            UdpSendError::Scope(error) => error.text(),
            UdpSendError::BroadcastProhibited => ErrorText::plain("the socket must not send to broadcast addresses"),
        }
    }
}

errors_with_text!(UdpSendError);

/// What precedes a received datagram in the queue: addresses and ports of both ends, hop limit and traffic class, and the interface.
pub(super) const RECEIVE_HEADER: usize = 38 + INTERFACE_KEY;
/// What precedes a packet to send: the interface, and whether and where to a station is given.
pub(super) const SEND_HEADER: usize = INTERFACE_KEY + 7;
/// An interface in those headers: its number, and the generation that tells it from a later one of the same number.
pub(super) const INTERFACE_KEY: usize = 5;

pub(super) fn encode_interface(key: Key) -> [u8; INTERFACE_KEY] {
    let [a, b, c, d] = key.generation.to_le_bytes();
    [key.index as u8, a, b, c, d]
}

pub(super) fn decode_interface(bytes: [u8; INTERFACE_KEY]) -> Key {
    let [index, a, b, c, d] = bytes;
    Key { index: u32::from(index), generation: u32::from_le_bytes([a, b, c, d]) }
}

pub(super) fn encode_received(packet: &Packet<'_>, interface: Key, header: &UdpHeader) -> [u8; RECEIVE_HEADER] {
    let mut out = [0; RECEIVE_HEADER];
    out[..16].copy_from_slice(&bits(packet.source).to_be_bytes());
    out[16..18].copy_from_slice(&header.source_port.to_be_bytes());
    out[18..34].copy_from_slice(&bits(packet.destination).to_be_bytes());
    out[34..36].copy_from_slice(&header.destination_port.to_be_bytes());
    out[36..38].copy_from_slice(&[packet.hop_limit, traffic_class(packet.whole)]);
    out[38..].copy_from_slice(&encode_interface(interface));
    out
}

/// The TOS or traffic class of an IP packet.
pub(super) fn traffic_class(packet: &[u8]) -> u8 {
    match *packet {
        [first, second, ..] if first >> 4 == 6 => first << 4 | second >> 4,
        [_, second, ..] => second,
        _ => 0,
    }
}

/// Where a datagram came from and to which address, and the interface that it came in by.
fn decode_received(header: &[u8; RECEIVE_HEADER]) -> (UdpMeta, Key) {
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        Ipv6Addr::from(octets).to_canonical()
    };
    let port = u16::from_be_bytes([header[16], header[17]]);
    let mut interface = [0; INTERFACE_KEY];
    interface.copy_from_slice(&header[38..]);
    let (hop_limit, traffic_class) = (header[36], header[37]);
    let meta = UdpMeta {
        local: Some(address(18)),
        hop_limit,
        traffic_class,
        ..UdpMeta::to(SocketAddr::new(address(0), port))
    };
    (meta, decode_interface(interface))
}

/// The station that a packet to send is for, if it is given.
fn station(prefix: &[u8; SEND_HEADER]) -> Option<MacAddr> {
    let [_, _, _, _, _, has_link, mac @ ..] = *prefix;
    (has_link == 1).then_some(MacAddr(mac))
}

impl Stack<'_> {
    /// Opens a UDP socket on a port, on one address or on all; on that of a group it receives only what is sent to the group. Port 0 takes an
    /// ephemeral one.
    pub fn bind_udp(&mut self, local: Endpoint) -> Result<UdpHandle, BindError> {
        self.bind_udp_with(local, UdpOptions::default())
    }

    /// [`bind_udp`](Self::bind_udp) with other settings than the usual ones.
    pub fn bind_udp_with(&mut self, local: Endpoint, options: UdpOptions) -> Result<UdpHandle, BindError> {
        if let Some(address) = local.address
            && !self.is_local(address)
            && !address.is_multicast()
        {
            return Err(BindError::AddressNotAvailable(address));
        }
        if self.udp_sockets.is_full() {
            return Err(BindError::TooManySockets);
        }
        let local = match local.port {
            0 => self.ephemeral_udp_port(local.address)?,
            _ => local,
        };
        self.check_udp_port(local, &options)?;
        let socket = UdpSocket::new(local, options);
        let key = self.udp_sockets.insert(socket).map_err(|_| BindError::TooManySockets)?;
        let hash = self.port_hash(protocol::UDP, local);
        self.ports.insert(hash, self.nodes.number(Node::Udp(key.index)));
        Ok(UdpHandle(key))
    }

    /// RFC 6056 §3.3.1: a random port, then the next ones until one is free.
    fn ephemeral_udp_port(&mut self, address: Option<IpAddr>) -> Result<Endpoint, BindError> {
        let count = EPHEMERAL_PORTS.len() as u32;
        let start = self.port_random.next_u32() % count;
        (0..count)
            .map(|i| Endpoint { address, port: EPHEMERAL_PORTS.start() + ((start + i) % count) as u16 })
            .find(|&candidate| {
                self.find_udp_exact(candidate).is_none() && !self.is_mapped(protocol::UDP, address, candidate.port)
            })
            .ok_or(BindError::PortsExhausted)
    }

    /// The address and port of a socket.
    pub fn udp_address(&self, socket: UdpHandle) -> Option<Endpoint> {
        self.udp_sockets.lookup(socket.0).map(|socket| socket.local)
    }

    /// Queues a datagram. It leaves with the next calls of [`transmit`](Self::transmit).
    pub fn udp_send(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        socket: UdpHandle,
        meta: &UdpMeta,
        data: &[u8],
    ) -> Result<(), UdpSendError> {
        self.advance_clock(now);
        let found = self.udp_sockets.lookup(socket.0).ok_or(UdpSendError::NotFound)?;
        let (local, options, flow) = (found.local, found.options, found.flow);
        // A group's address is never a source.
        let bound = local.address.filter(|address| !address.is_multicast());
        let destination = meta.remote.ip();
        if !options.broadcast && self.is_broadcast(destination) {
            return Err(UdpSendError::BroadcastProhibited);
        }
        if meta.remote.port() == 0 || destination.is_unspecified() || self.cannot_loop_to(destination) {
            return Err(UdpSendError::BadAddress(meta.remote));
        }
        let interface = match meta.interface {
            Some(interface) => Some(interface),
            None => self.link_to(meta.remote, meta.local.or(bound)).map_err(UdpSendError::Scope)?,
        };
        // RFC 1122 §3.2.1.3 (a): the unspecified address is a source only while a host finds out its own.
        let unnumbered = meta.local.filter(|local| {
            local.is_unspecified() && destination == IpAddr::V4(Ipv4Addr::BROADCAST) && meta.interface.is_some()
        });
        let link = meta.link.or(unnumbered.map(|_| MacAddr::BROADCAST));
        let hop = match interface {
            Some(interface) => self.next_hop_on(interface, destination).or_else(|| {
                // A given station needs no route.
                let source = unnumbered.or_else(|| self.source_on(interface, destination))?;
                link.map(|_| NextHop { interface, address: destination, source })
            }),
            None => self.route(destination),
        };
        let hop = hop.ok_or(UdpSendError::NoRoute(destination))?;
        let source = meta.local.or(bound).unwrap_or(hop.source);
        let in_flow = flow.is_some_and(|flow| flow.local == source) && self.takes_any_address(hop.interface);
        // RFC 4291 allows an anycast address as a source: who has asked it expects the answer from it.
        let ours = unnumbered.is_some()
            || in_flow
            || self.is_local_on(hop.interface, source)
            || matches!(source, IpAddr::V6(source) if self.is_anycast(hop.interface, source));
        if !ours || source.is_ipv4() != destination.is_ipv4() {
            return Err(UdpSendError::BadAddress(meta.remote));
        }
        let path_headers = udp::HEADER_LEN + if source.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
        let max = match (options.probe, options.dont_fragment) {
            (true, _) => usize::from(self.mtu(hop.interface)) - path_headers,
            (false, true) => usize::from(self.path_mtu(hop.interface, destination)) - path_headers,
            (false, false) => max_payload(destination) - udp::HEADER_LEN,
        };
        if data.len() > max {
            return Err(UdpSendError::TooLong { max });
        }

        let len = udp::HEADER_LEN + data.len();
        let mut udp_header = [0; udp::HEADER_LEN];
        let header = UdpHeader {
            source_port: local.port,
            destination_port: meta.remote.port(),
            length: len as u16,
            checksum: 0,
        };
        header.emit(&mut udp_header);
        if options.checksum || source.is_ipv6() {
            let mut sum = checksum::pseudo_header(source, destination, protocol::UDP, len as u32);
            sum.add_bytes(&udp_header);
            sum.add_bytes(data);
            // RFC 768: a sum of zero is sent as all ones, since zero means that there is none.
            let checksum = match sum.finish() {
                0 => 0xffff,
                checksum => checksum,
            };
            udp_header[udp::CHECKSUM_OFFSET..udp::CHECKSUM_OFFSET + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        let hop_limit = if destination.is_multicast() { options.multicast_hop_limit } else { options.hop_limit };
        let traffic_class = options.traffic_class;
        let is_whole = options.probe;
        let head = IpHead { hop_limit, traffic_class, is_whole, ..IpHead::new(source, destination, protocol::UDP) };
        let (ip_header, ip_len) = self.ip_header(hop.interface, &head, &udp_header, len);

        let mut prefix = [0; SEND_HEADER];
        let interface = self.interfaces.key(u32::from(hop.interface.0)).ok_or(UdpSendError::NoRoute(destination))?;
        prefix[..INTERFACE_KEY].copy_from_slice(&encode_interface(interface));
        if let Some(MacAddr(mac)) = link {
            prefix[INTERFACE_KEY] = 1;
            prefix[INTERFACE_KEY + 1..].copy_from_slice(&mac);
        }
        let found = self.udp_sockets.lookup_mut(socket.0).ok_or(UdpSendError::NotFound)?;
        let was_empty = found.send.is_empty();
        if !found.send.push(pool, &mut self.account, 0, &[&prefix, &ip_header[..ip_len], &udp_header, data]) {
            return Err(UdpSendError::QueueFull);
        }
        if was_empty {
            self.schedule_udp(pool, socket.0.index);
        }
        if destination.is_multicast() && options.multicast_loop && self.is_member(hop.interface, destination) {
            let mac = self.mac(hop.interface);
            let ip_header = &ip_header[..ip_len];
            let mut packet = Packet::passing(hop.interface, mac, (source, destination), hop_limit, ip_header);
            packet.cast = Cast::Group;
            self.udp_deliver_to_all(pool, &packet, &header, data);
        }
        Ok(())
    }

    /// Puts the socket on the list of the interface that its next packet is for. Packets for interfaces that were removed
    /// are dropped on the way.
    pub(super) fn schedule_udp(&mut self, pool: &mut Pool<'_>, index: u32) {
        let number = self.nodes.number(Node::Udp(index));
        let Some(socket) = self.udp_sockets.get_mut(index) else { return };
        while !socket.send.is_empty() {
            let mut interface = [0; INTERFACE_KEY];
            socket.send.peek(pool, 0, &mut interface);
            let key = decode_interface(interface);
            if let Some(found) = self.interfaces.lookup_mut(key) {
                socket.interface = InterfaceId(key.index as u8);
                self.links.push_back(&mut found.ready, number);
                return;
            }
            socket.send.pop(pool, &mut self.account);
            self.counters.drop(DropReason::NoInterface);
        }
    }

    /// Takes a socket's next packet into `out`: its station, if given, and length. None if there is none for this
    /// interface; the socket is then where it belongs.
    pub(super) fn pop_udp(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        number: u32,
        index: u32,
        out: &mut [u8],
    ) -> Option<(Option<MacAddr>, usize)> {
        let mut prefix = [0; SEND_HEADER];
        let is_here = self.udp_sockets.get(index).is_some_and(|socket| {
            socket.send.peek(pool, 0, &mut prefix);
            socket.interface == interface
        });
        let taken = if is_here { self.take_packet(pool, interface, Owner::Udp(index), out) } else { None };
        // To the end of this list, to another interface's, or off.
        if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
            self.links.remove(&mut found.ready, number);
        }
        self.schedule_udp(pool, index);
        taken.map(|len| (station(&prefix), len))
    }

    /// Whether the socket's next packet has the station that it is for.
    pub(super) fn udp_sends_to_station(&self, pool: &Pool<'_>, index: u32) -> bool {
        let mut prefix = [0; SEND_HEADER];
        self.udp_sockets.get(index).is_some_and(|socket| {
            socket.send.peek(pool, 0, &mut prefix);
            station(&prefix).is_some()
        })
    }

    /// Whether the socket's datagrams leave in one piece whatever is known of the path.
    pub(super) fn udp_probes(&self, index: u32) -> bool {
        self.udp_sockets.get(index).is_some_and(|socket| socket.options.probe)
    }

    /// Takes the next datagram into `out`; what does not fit is cut off. None if there is none.
    pub fn udp_recv(&mut self, pool: &mut Pool<'_>, socket: UdpHandle, out: &mut [u8]) -> Option<(usize, UdpMeta)> {
        let socket = self.udp_sockets.lookup_mut(socket.0)?;
        if socket.receive.is_empty() {
            return None;
        }
        let mut header = [0; RECEIVE_HEADER];
        socket.receive.peek(pool, 0, &mut header);
        let len = socket.receive.peek(pool, RECEIVE_HEADER, out);
        socket.receive.pop(pool, &mut self.account);
        let (mut meta, interface) = decode_received(&header);
        meta.interface = self.interfaces.lookup(interface).map(|_| InterfaceId(interface.index as u8));
        meta.remote = with_scope(meta.remote.ip(), meta.remote.port(), meta.interface);
        Some((len, meta))
    }

    /// Closes a socket; what it has queued is dropped, and the groups that it has joined are left.
    pub fn udp_close(&mut self, pool: &mut Pool<'_>, socket: UdpHandle) {
        let Some(found) = self.udp_sockets.lookup_mut(socket.0) else { return };
        found.receive.clear(pool, &mut self.account);
        found.send.clear(pool, &mut self.account);
        found.errors.clear(pool, &mut self.account);
        let (local, interface) = (found.local, found.interface);
        let number = self.nodes.number(Node::Udp(socket.0.index));
        self.unlink(number, None, interface);
        self.event_links.remove(&mut self.events, number);
        self.leave_all_groups(socket.0.index);
        if !self.forget_udp_flow(socket.0.index) {
            let hash = self.port_hash(protocol::UDP, local);
            self.ports.remove(hash, number);
        }
        self.udp_sockets.remove(socket.0.index);
    }

    pub(super) fn udp_input(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) {
        let Some((header, data)) = self.udp_checked(packet) else { return };
        let local = Endpoint { address: Some(packet.destination), port: header.destination_port };
        let remote = self.udp_remote(packet.interface, packet.source, header.source_port);
        if packet.cast == Cast::Group && self.udp_deliver_to_all(pool, packet, &header, data) {
            return;
        }
        match (packet.cast, self.find_udp(local, remote)) {
            (Cast::Group, Some(_)) => self.counters.drop(DropReason::UdpSourceFiltered),
            (_, Some(index)) => self.udp_deliver(pool, packet, &header, data, index),
            (_, None) => {
                self.counters.drop(DropReason::UdpNoSocket);
                self.port_unreachable(pool, packet);
            }
        }
    }

    pub(super) fn udp_checked<'a>(&mut self, packet: &Packet<'a>) -> Option<(UdpHeader, &'a [u8])> {
        let Ok((header, data)) = UdpHeader::parse(packet.payload) else {
            self.counters.drop(DropReason::UdpMalformed);
            return None;
        };
        if !self.udp_checksum_is_right(packet, &header) {
            self.counters.drop(DropReason::UdpChecksum);
            return None;
        }
        Some((header, data))
    }

    /// Delivers a datagram to all sockets that listen to the group or broadcast address it was sent to; false if there is none.
    fn udp_deliver_to_all(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        header: &UdpHeader,
        data: &[u8],
    ) -> bool {
        let local = Endpoint { address: Some(packet.destination), port: header.destination_port };
        let remote = self.udp_remote(packet.interface, packet.source, header.source_port);
        let (all, count) = self.find_all_udp(local, remote, packet.interface);
        for &index in &all[..count] {
            self.udp_deliver(pool, packet, header, data, index);
        }
        count > 0
    }

    pub(super) fn udp_deliver(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        header: &UdpHeader,
        data: &[u8],
        index: u32,
    ) {
        let Some(interface) = self.interfaces.key(u32::from(packet.interface.0)) else { return };
        let Some(socket) = self.udp_sockets.get_mut(index) else { return };
        if !socket.receive.push(pool, &mut self.account, 0, &[&encode_received(packet, interface, header), data]) {
            self.counters.drop(DropReason::UdpQueueFull);
            return;
        }
        socket.signals |= Signals::READABLE;
        self.notify(Node::Udp(index));
    }

    fn udp_checksum_is_right(&self, packet: &Packet<'_>, header: &UdpHeader) -> bool {
        if header.checksum == 0 {
            // RFC 768: none was made; RFC 8200 §8.1 forbids that over IPv6.
            return packet.source.is_ipv4();
        }
        let len = usize::from(header.length);
        let mut sum =
            checksum::pseudo_header(packet.source, packet.destination, protocol::UDP, u32::from(header.length));
        sum.add_bytes(&packet.payload[..len.min(packet.payload.len())]);
        sum.is_valid()
    }

    /// The socket bound to exactly this address and port.
    pub(super) fn find_udp_exact(&self, local: Endpoint) -> Option<u32> {
        let hash = self.port_hash(protocol::UDP, local);
        let number = self.ports.find(hash, |number| match self.nodes.node(number) {
            Node::Udp(index) => self.udp_sockets.get(index).is_some_and(|socket| socket.local == local),
            _ => false,
        })?;
        match self.nodes.node(number) {
            Node::Udp(index) => Some(index),
            _ => None,
        }
    }

    /// Where in the table of ports to look. Sockets on one port of several addresses share the hash; there are at most
    /// as many as the host has addresses.
    pub(super) fn port_hash(&self, protocol: u8, local: Endpoint) -> u32 {
        let spread = (u32::from(protocol) << 16 | u32::from(local.port)).wrapping_mul(0x9e37_79b1);
        spread ^ spread >> 15
    }
}
