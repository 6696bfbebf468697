//! What leaves: sockets in turn, and the packets that no socket owns.

use core::net::IpAddr;

use super::flow::Flow;
use super::fragment_output::Owner;
use super::interface::{ControlKind, TURN_BYTES};
use super::nodes::Node;
use super::path::{Hop, LastPath, Marks, Path};
use super::resolution::Resolution;
use super::{FrameMeta, Stack};
use crate::config::TcpConfig;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::tcp::connection::State;
use crate::tcp::{Context, output};
use crate::time::Instant;
use crate::trace::SendReason;
use crate::wire::ethernet::ethertype;
use crate::wire::{EthernetHeader, Ipv4Header, Ipv6Header, ethernet, ipv4, ipv6, protocol};

/// A socket's turn to send: which it is, and what a frame of it goes through.
struct Turn<'t, 'p> {
    pool: &'t mut Pool<'p>,
    interface: InterfaceId,
    /// The socket's node number, and its index in its own table.
    number: u32,
    index: u32,
    buf: &'t mut [u8],
}

impl Stack<'_> {
    /// Writes the next frame to send on `interface` into `buf` (at least [`frame_capacity`](Self::frame_capacity) bytes), or
    /// returns None when there is none now. To be called until it does.
    pub fn transmit(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        interface: InterfaceId,
        buf: &mut [u8],
    ) -> Option<FrameMeta> {
        self.advance_clock(now);
        let found = self.interfaces.get(u32::from(interface.0))?;
        if buf.len() < found.frame_capacity() {
            debug_assert!(false, "the buffer is smaller than frame_capacity");
            return None;
        }
        let len = match found.is_plain() {
            // Mostly the last call of a driver's loop ends here.
            true if !found.wants_transmit() => return None,
            true => self.next_frame(pool, interface, buf)?,
            false => self.next_wrapped_frame(pool, interface, buf)?,
        };
        self.counters.frames_sent += 1;
        self.counters.bytes_sent += len as u64;
        if self.raw.want_frames > 0 {
            self.raw_frame(pool, interface, &buf[..len], true);
        }
        Some(FrameMeta::received(len))
    }

    /// The length of an interface's next frame, which is in `buf` with an Ethernet header.
    pub(super) fn next_frame(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, buf: &mut [u8]) -> Option<usize> {
        let found = self.interfaces.get(u32::from(interface.0)).filter(|found| found.wants_transmit())?;
        if found.claims_due {
            self.look_after_interface(pool, interface);
        }
        // Ends, since each turn without a frame takes a socket off the list or a packet out of a queue.
        loop {
            let found = self.interfaces.get_mut(u32::from(interface.0))?;
            let head = found.ready.head();
            let control = found.has_control() && (found.control_first || head.is_none());
            found.control_first = !control;
            let frame = if control {
                self.transmit_control(pool, interface, buf)
            } else {
                self.transmit_socket(pool, interface, head?, buf)
            };
            if frame.is_some() {
                return frame;
            }
        }
    }

    /// The next frame of the socket that is first on the list. Without a frame, the socket is off the list.
    fn transmit_socket(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        number: u32,
        buf: &mut [u8],
    ) -> Option<usize> {
        let turn = |index, pool, buf| Turn { pool, interface, number, index, buf };
        match self.nodes.node(number) {
            Node::Connection(index) => self.transmit_connection(turn(index, pool, buf)),
            Node::HalfOpen(index) => self.transmit_half_open(turn(index, pool, buf)),
            Node::Udp(index) => self.transmit_udp(turn(index, pool, buf)),
            Node::Neighbor(index) => self.transmit_pending(turn(index, pool, buf)),
            Node::TimeWait(_)
            | Node::Listener(_)
            | Node::Ping(_)
            | Node::Raw(_)
            | Node::Route(_)
            | Node::Reassembly(_)
            | Node::Interface(_)
            | Node::PendingFlow(_)
            | Node::Group(_)
            | Node::NatTimer
            | Node::TimeWaitTimer => {
                self.leave_ready(interface, number);
                None
            }
        }
    }

    fn leave_ready(&mut self, interface: InterfaceId, number: u32) {
        if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
            if found.ready.head() == Some(number) {
                found.turn_used = 0;
                self.links.pop_front(&mut found.ready);
            } else {
                self.links.remove(&mut found.ready, number);
            }
        }
    }

    /// After 64 KiB the next socket has its turn.
    #[inline]
    fn end_turn_if_used(&mut self, interface: InterfaceId, number: u32, len: usize) {
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return };
        found.turn_used += len as u32;
        if found.turn_used >= TURN_BYTES {
            found.turn_used = 0;
            self.links.remove(&mut found.ready, number);
            self.links.push_back(&mut found.ready, number);
        }
    }

    fn transmit_connection(&mut self, turn: Turn<'_, '_>) -> Option<usize> {
        let Turn { pool, interface, number, index, buf } = turn;
        let holders = self.connections.len();
        let is_path_valid = self.connections.get(index).is_some_and(|found| found.path.is_valid(self.generation));
        if !is_path_valid && !self.find_path(pool, interface, number, index) {
            return None;
        }
        self.trace_before(index);
        let connection = self.connections.get_mut(index)?;
        let header_len = connection.path.header_len();
        let mut context = Context {
            now: self.now,
            pool,
            account: &mut self.account,
            counters: &mut self.counters,
            fast_open: &mut self.fast_open_cookies,
            holders,
        };
        let built = output::build(connection, &mut context, &mut buf[header_len..]);
        if let Some(deadline) = connection.timers.take_earlier() {
            self.deadlines.set_no_later(number, deadline);
        }
        let more = built.is_some_and(|built| built.more);
        let len = built.map(|built| connection.path.finish(buf, built.len, built.sum, built.ecn));
        if !connection.config.path_mtu_discovery {
            connection.path.identify(buf, self.identifier_random.next_u32() as u16);
        }
        let state = connection.state;
        if self.trace.is_on()
            && let (Some(built), Some(len)) = (built, len)
        {
            self.trace_sent(index, built.kind, &buf[header_len..len]);
        }
        self.trace_changes(index);
        match len {
            Some(len) if more => self.end_turn_if_used(interface, number, len),
            // With its last frame the socket leaves the list, so that nobody asks it in vain.
            _ => {
                self.leave_ready(interface, number);
                if state == State::TimeWait {
                    self.connection_over(pool, index);
                }
            }
        }
        len
    }

    /// Finds the connection's path anew; false if it has to wait or has moved to another interface.
    fn find_path(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, number: u32, index: u32) -> bool {
        let Some(connection) = self.connections.get(index) else {
            self.leave_ready(interface, number);
            return false;
        };
        let (flow, marks) =
            (connection.flow, Marks::new(&connection.config, self.hop_limit(interface, connection.flow.remote)));
        match self.path_for(pool, &flow, marks, Some(index)) {
            PathSearch::Found(path) => {
                let mtu = self.path_mtu(path.interface, flow.remote);
                let moved = path.interface != interface;
                if let Some(connection) = self.connections.get_mut(index) {
                    connection.set_path_mtu(mtu);
                    connection.path = path;
                    connection.next_hop_failed = false;
                }
                if moved {
                    self.leave_ready(interface, number);
                    self.schedule_connection(index);
                }
                !moved
            }
            PathSearch::Wait(entry) => {
                self.leave_ready(interface, number);
                if let Some(connection) = self.connections.get_mut(index) {
                    connection.park(entry);
                }
                self.park(entry, number);
                false
            }
            PathSearch::None => {
                self.leave_ready(interface, number);
                self.counters.drop(DropReason::NoRoute);
                self.next_hop_failed(pool, index);
                false
            }
        }
    }

    fn transmit_half_open(&mut self, turn: Turn<'_, '_>) -> Option<usize> {
        let Turn { pool, interface, number, index, buf } = turn;
        self.leave_ready(interface, number);
        let half_open = self.half_open.get(index)?;
        let (flow, generation) = (half_open.flow, self.generation);
        if !half_open.syn_ack_due {
            return None;
        }
        if !half_open.path.is_valid(generation) {
            let hop_limit = self.hop_limit(interface, flow.remote);
            let marks = Marks::new(&self.listeners.lookup(half_open.listener)?.config, hop_limit);
            match self.path_for(pool, &flow, marks, None) {
                PathSearch::Found(path) => self.half_open.get_mut(index)?.path = path,
                PathSearch::Wait(entry) => {
                    self.half_open.get_mut(index)?.parked = Some(entry);
                    self.park(entry, number);
                    return None;
                }
                PathSearch::None => {
                    self.counters.drop(DropReason::NoRoute);
                    return None;
                }
            }
        }
        let half_open = self.half_open.get_mut(index)?;
        let config = &self.listeners.lookup(half_open.listener)?.config;
        let way_out = half_open.path.interface;
        if way_out != interface {
            // The SYN has come in elsewhere than the route leads back.
            self.schedule_half_open(index);
            return None;
        }
        let mtu = self.interfaces.get(u32::from(way_out.0))?.config.mtu;
        half_open.advertised_mss = half_open.advertised_mss.min(mtu - path_headers(&flow.remote) as u16);
        let header_len = half_open.path.header_len();
        let built = output::build_syn_ack(half_open, self.now, config, &mut buf[header_len..]);
        half_open.sent(self.now, config);
        self.counters.tcp_retransmits += u64::from(half_open.retransmits > 0);
        let len = half_open.path.finish(buf, built.len, built.sum, built.ecn);
        if self.trace.is_on() {
            self.trace_segment(None, &flow, SendReason::Handshake, &buf[header_len..len]);
        }
        Some(len)
    }

    fn transmit_udp(&mut self, turn: Turn<'_, '_>) -> Option<usize> {
        let Turn { pool, interface, number, index, buf } = turn;
        let (link, len) = self.pop_udp(pool, interface, number, index, &mut buf[ethernet::HEADER_LEN..])?;
        match link {
            Some(destination) => {
                self.write_link_header(interface, destination, buf);
                Some(len + ethernet::HEADER_LEN)
            }
            None => self.address_packet(pool, interface, buf, len),
        }
    }

    /// The first packet that has waited for a neighbour, whose station is known by now.
    fn transmit_pending(&mut self, turn: Turn<'_, '_>) -> Option<usize> {
        let Turn { pool, interface, number, index, buf } = turn;
        let taken = self.take_packet(pool, interface, Owner::Neighbor(index), &mut buf[ethernet::HEADER_LEN..]);
        let len = taken.map(|len| ethernet::HEADER_LEN + len);
        let waiting = self.neighbors.get(index).filter(|neighbor| !neighbor.pending.is_empty());
        match (waiting, len) {
            (Some(_), Some(len)) => self.end_turn_if_used(interface, number, len),
            (Some(_), None) => {}
            (None, _) => self.leave_ready(interface, number),
        }
        let mac = self.neighbors.get(index)?.mac;
        self.write_link_header(interface, mac, buf);
        len
    }

    /// The first packet that no socket owns.
    fn transmit_control(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, buf: &mut [u8]) -> Option<usize> {
        let found = self.interfaces.get_mut(u32::from(interface.0))?;
        if found.is_forward_next() {
            let len = found.forward.peek(pool, 0, buf);
            found.forward.pop(pool, &mut self.account);
            return Some(len);
        }
        if found.first_control()?.is_frame() {
            let len = found.control.peek(pool, 0, buf);
            found.drop_control(pool, &mut self.account);
            return Some(len);
        }
        let len = self.take_packet(pool, interface, Owner::Interface(interface), &mut buf[ethernet::HEADER_LEN..])?;
        self.address_packet(pool, interface, buf, len)
    }

    /// Writes the Ethernet header of the IP packet that lies behind it in `buf`; None if the packet has to wait for its
    /// next hop or has none.
    fn address_packet(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        buf: &mut [u8],
        len: usize,
    ) -> Option<usize> {
        let at = ethernet::HEADER_LEN;
        let packet = &buf[at..at + len];
        let destination = packet_destination(packet)?;
        let Some(hop) = self.next_hop_on(interface, destination) else {
            self.counters.drop(DropReason::NoRoute);
            return None;
        };
        match self.resolve(pool, interface, hop.address) {
            Resolution::Ready(mac) => {
                self.write_link_header(interface, mac, buf);
                Some(at + len)
            }
            Resolution::Pending(entry) => {
                self.wait_for_neighbor(pool, entry, &[packet]);
                None
            }
            Resolution::TableFull => {
                self.counters.drop(DropReason::NeighborTableFull);
                None
            }
        }
    }

    #[inline(never)] // Called from many places: one copy is enough.
    fn write_link_header(&self, interface: InterfaceId, destination: crate::wire::MacAddr, buf: &mut [u8]) {
        let is_ipv4 = buf[ethernet::HEADER_LEN] >> 4 == 4;
        let ethertype = if is_ipv4 { ethertype::IPV4 } else { ethertype::IPV6 };
        EthernetHeader { destination, source: self.mac(interface), ethertype }.emit(buf);
    }

    /// The path of a flow with these marks.
    fn path_for(&mut self, pool: &mut Pool<'_>, flow: &Flow, marks: Marks, connection: Option<u32>) -> PathSearch {
        if let Some(path) = self.last_path.as_ref().and_then(|last| last.find(self.generation, flow, marks)) {
            return PathSearch::Found(self.labelled(path.clone(), flow));
        }
        // An address that was removed is nobody's to send from.
        let hop = self.hop_to(flow.link, flow.remote);
        let hop = hop.filter(|hop| self.is_local(flow.local) || self.takes_any_address(hop.interface));
        let Some(hop) = hop else { return PathSearch::None };
        match self.resolve(pool, hop.interface, hop.address) {
            Resolution::Ready(destination_mac) => {
                if let Some(index) = connection {
                    self.note_neighbor_user(index);
                }
                let source_mac = self.mac(hop.interface);
                let hop = Hop { interface: hop.interface, source_mac, destination_mac, marks };
                let path = Path::new(self.generation, &hop, flow.local, flow.remote);
                self.last_path = Some(LastPath::new(flow, marks, &path));
                PathSearch::Found(self.labelled(path, flow))
            }
            Resolution::Pending(entry) => PathSearch::Wait(entry),
            Resolution::TableFull => {
                self.counters.drop(DropReason::NeighborTableFull);
                PathSearch::None
            }
        }
    }

    /// The path with the flow's label, if it is one over IPv6.
    fn labelled(&self, mut path: Path, flow: &Flow) -> Path {
        if !flow.is_ipv4() {
            let ports = u32::from(flow.local_port) << 16 | u32::from(flow.remote_port);
            path.set_flow_label(self.identifications.flow_label(flow.local, flow.remote, protocol::TCP, ports));
        }
        path
    }

    /// Queues a packet that no socket owns; counted if there is no room.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn queue_control(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        kind: ControlKind,
        parts: &[&[u8]],
    ) {
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return };
        if !found.queue_control(pool, &mut self.account, kind, parts) {
            self.counters.drop(DropReason::ControlQueueFull);
        }
    }

    /// Queues an IP packet that no socket owns, with its header written here, on the interface that `interface` or the
    /// routes name. `payload` is in two parts.
    pub(super) fn queue_packet(
        &mut self,
        pool: &mut Pool<'_>,
        interface: Option<InterfaceId>,
        kind: ControlKind,
        head: &IpHead,
        payload: [&[u8]; 2],
    ) {
        let IpHead { source, destination, .. } = *head;
        let interface = match interface {
            Some(interface) => interface,
            None => match self.route(destination) {
                Some(hop) if self.is_local(source) || self.takes_any_address(hop.interface) => hop.interface,
                _ => {
                    self.counters.drop(DropReason::NoRoute);
                    return;
                }
            },
        };
        let payload_len = payload[0].len() + payload[1].len();
        if payload_len > max_payload(destination) {
            self.counters.drop(DropReason::PacketTooBig);
            return;
        }
        let (header, header_len) = self.ip_header(interface, head, payload[0], payload_len);
        self.queue_control(pool, interface, kind, &[&header[..header_len], payload[0], payload[1]]);
    }

    /// The IP header of a packet whose payload has `payload_len` bytes and begins with `start`, and the header's length.
    pub(super) fn ip_header(
        &mut self,
        interface: InterfaceId,
        head: &IpHead,
        start: &[u8],
        payload_len: usize,
    ) -> ([u8; ipv6::HEADER_LEN], usize) {
        let IpHead { protocol, traffic_class, .. } = *head;
        let hop_limit = match head.hop_limit {
            0 => self.hop_limit(interface, head.destination),
            given => given,
        };
        let mut out = [0; ipv6::HEADER_LEN];
        let len = match (head.source, head.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let total_len = ipv4::HEADER_LEN + payload_len;
                let fits = head.is_whole || total_len <= usize::from(self.path_mtu(interface, head.destination));
                // RFC 6864 §4.1: the identification of a datagram that is never fragmented means nothing.
                let identification = match fits {
                    true => 0,
                    false => self.identifications.next_v4(head.source, head.destination, protocol),
                };
                let header = Ipv4Header {
                    dscp_ecn: traffic_class,
                    total_len: total_len as u16,
                    identification,
                    dont_fragment: fits,
                    more_fragments: false,
                    fragment_offset: 0,
                    ttl: hop_limit,
                    protocol,
                    source,
                    destination,
                    header_len: ipv4::HEADER_LEN,
                };
                header.emit(&mut out);
                ipv4::HEADER_LEN
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    traffic_class,
                    flow_label: self.identifications.flow_label(
                        head.source,
                        head.destination,
                        protocol,
                        ports(protocol, start),
                    ),
                    payload_len: payload_len as u16,
                    next_header: protocol,
                    hop_limit,
                    source,
                    destination,
                };
                header.emit(&mut out);
                ipv6::HEADER_LEN
            }
            _ => {
                debug_assert!(false, "source and destination are of one family");
                0
            }
        };
        (out, len)
    }
}

enum PathSearch {
    Found(Path),
    Wait(u32),
    None,
}

/// Bytes of the IP and TCP headers without options.
pub(super) fn path_headers(address: &IpAddr) -> u32 {
    let ip = if address.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
    (ip + crate::wire::tcp::HEADER_LEN) as u32
}

/// The MSS that our SYN announces to `remote` (RFC 9293 §3.7.1): what the interface's MTU has room for.
pub(super) fn advertised_mss(mtu: u16, remote: &IpAddr, config: &TcpConfig) -> u16 {
    let most = mtu - path_headers(remote) as u16;
    config.bound_mss(config.advertised_mss.map_or(most, |mss| mss.min(most)))
}

/// The longest payload of an IP packet to an address, in bytes.
pub(super) fn max_payload(destination: IpAddr) -> usize {
    usize::from(u16::MAX) - if destination.is_ipv4() { ipv4::HEADER_LEN } else { 0 }
}

/// What the IP header of a packet says that is not a connection's.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpHead {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    /// 0 for the stack's.
    pub(super) hop_limit: u8,
    pub(super) traffic_class: u8,
    /// It is never fragmented, whatever is known of the path.
    pub(super) is_whole: bool,
}

impl IpHead {
    /// As most packets have it.
    pub(super) const fn new(source: IpAddr, destination: IpAddr, protocol: u8) -> Self {
        IpHead { source, destination, protocol, hop_limit: 0, traffic_class: 0, is_whole: false }
    }
}

/// Both ports of a packet that begins with these bytes, if its protocol has ports.
fn ports(protocol: u8, start: &[u8]) -> u32 {
    match (protocol, start.first_chunk()) {
        (protocol::TCP | protocol::UDP, Some(ports)) => u32::from_be_bytes(*ports),
        _ => 0,
    }
}

/// The destination address of an IP packet of ours.
pub(super) fn packet_destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => {
            let octets: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some(IpAddr::from(octets))
        }
        _ => {
            let octets: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some(IpAddr::from(octets))
        }
    }
}
