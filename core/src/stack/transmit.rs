//! What leaves: sockets in turn, and the packets that no socket owns.

use core::net::IpAddr;

use super::interface::{ControlKind, TURN_BYTES};
use super::nodes::Node;
use super::path::{Hop, Path};
use super::resolution::Resolution;
use super::{FrameMeta, Stack};
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::tcp::connection::State;
use crate::tcp::{Context, output};
use crate::time::Instant;
use crate::wire::ethernet::ethertype;
use crate::wire::{EthernetHeader, Ipv4Header, Ipv6Header, ethernet, ipv4, ipv6};

/// What became of a socket's turn.
enum Turn {
    /// A frame of this length is in the buffer.
    Frame(usize),
    /// Nothing to send now, or not able to; the socket is off the list.
    Nothing,
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
        if buf.len() < self.frame_capacity(interface) {
            debug_assert!(false, "the buffer is smaller than frame_capacity");
            return None;
        }
        if found.announcements > 0 {
            self.announce_addresses(pool, interface);
        }
        // Ends, since each turn without a frame takes a socket off the list or a packet out of a queue.
        loop {
            let found = self.interfaces.get_mut(u32::from(interface.0))?;
            let head = found.ready.head();
            let control_first = found.control_first || head.is_none();
            if found.has_control() && control_first {
                found.control_first = false;
                if let Some(len) = self.transmit_control(pool, interface, buf) {
                    return Some(self.sent(len));
                }
                continue;
            }
            found.control_first = true;
            let number = head?;
            let turn = match self.nodes.node(number) {
                Node::Connection(index) => self.transmit_connection(pool, interface, number, index, buf),
                Node::HalfOpen(index) => self.transmit_half_open(pool, interface, number, index, buf),
                Node::Udp(index) => self.transmit_udp(pool, interface, number, index, buf),
                Node::TimeWait(_) | Node::Neighbor(_) | Node::Listener(_) | Node::Ping(_) | Node::TimeWaitTimer => {
                    self.leave_ready(interface, number);
                    Turn::Nothing
                }
            };
            if let Turn::Frame(len) = turn {
                self.end_turn_if_used(interface, number, len);
                return Some(self.sent(len));
            }
        }
    }

    fn sent(&mut self, len: usize) -> FrameMeta {
        self.counters.frames_sent += 1;
        self.counters.bytes_sent += len as u64;
        FrameMeta::received(len)
    }

    fn leave_ready(&mut self, interface: InterfaceId, number: u32) {
        if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
            if found.ready.head() == Some(number) {
                found.turn_used = 0;
            }
            self.links.remove(&mut found.ready, number);
        }
    }

    /// After 64 KiB the next socket has its turn.
    fn end_turn_if_used(&mut self, interface: InterfaceId, number: u32, len: usize) {
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return };
        found.turn_used += len as u32;
        if found.turn_used >= TURN_BYTES && found.ready.head() == Some(number) {
            found.turn_used = 0;
            self.links.remove(&mut found.ready, number);
            self.links.push_back(&mut found.ready, number);
        }
    }

    fn transmit_connection(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        number: u32,
        index: u32,
        buf: &mut [u8],
    ) -> Turn {
        let Some(connection) = self.connections.get_mut(index) else {
            self.leave_ready(interface, number);
            return Turn::Nothing;
        };
        if connection.state == State::Closed {
            self.leave_ready(interface, number);
            return Turn::Nothing;
        }
        if !connection.path.is_valid(self.generation) && !self.find_path(pool, interface, number, index) {
            return Turn::Nothing;
        }
        let holders = self.connections.len();
        let Some(connection) = self.connections.get_mut(index) else { return Turn::Nothing };
        let header_len = connection.path.header_len();
        let mut context =
            Context { now: self.now, pool, account: &mut self.account, counters: &mut self.counters, holders };
        let built = output::build(connection, &mut context, &mut buf[header_len..]);
        let deadline = connection.timers.next();
        let len = built.map(|built| connection.path.finish(buf, built.len, built.sum));
        if deadline < Instant::FAR_FUTURE {
            self.deadlines.set_no_later(number, deadline);
        }
        match len {
            Some(len) => Turn::Frame(len),
            None => {
                self.leave_ready(interface, number);
                Turn::Nothing
            }
        }
    }

    /// Finds the connection's path anew; false if it has to wait or has moved to another interface.
    fn find_path(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, number: u32, index: u32) -> bool {
        let Some(connection) = self.connections.get(index) else { return false };
        let flow = connection.flow;
        match self.path_for(pool, flow.local, flow.remote) {
            PathSearch::Found(path) => {
                let mss = u32::from(self.mtu(path.interface)) - path_headers(&flow.remote);
                let moved = path.interface != interface;
                if let Some(connection) = self.connections.get_mut(index) {
                    connection.limit_mss(mss);
                    connection.path = path;
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
                    connection.parked = Some(entry);
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

    fn transmit_half_open(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        number: u32,
        index: u32,
        buf: &mut [u8],
    ) -> Turn {
        self.leave_ready(interface, number);
        let Some(half_open) = self.half_open.get(index) else { return Turn::Nothing };
        let flow = half_open.flow;
        let Some(listener) = self.listeners.lookup(half_open.listener) else { return Turn::Nothing };
        let config = listener.config;
        if !half_open.syn_ack_due {
            return Turn::Nothing;
        }
        let path = match half_open.path.is_valid(self.generation) {
            true => half_open.path.clone(),
            false => match self.path_for(pool, flow.local, flow.remote) {
                PathSearch::Found(path) => path,
                PathSearch::Wait(entry) => {
                    if let Some(half_open) = self.half_open.get_mut(index) {
                        half_open.parked = Some(entry);
                    }
                    self.park(entry, number);
                    return Turn::Nothing;
                }
                PathSearch::None => {
                    self.counters.drop(DropReason::NoRoute);
                    return Turn::Nothing;
                }
            },
        };
        let mss = u32::from(self.mtu(path.interface)) - path_headers(&flow.remote);
        let Some(half_open) = self.half_open.get_mut(index) else { return Turn::Nothing };
        half_open.advertised_mss = half_open.advertised_mss.min(mss as u16);
        if path.interface != interface {
            // The SYN has come in elsewhere than the route leads back.
            half_open.path = path;
            self.schedule_half_open(index);
            return Turn::Nothing;
        }
        let built = output::build_syn_ack(half_open, config.receive_buffer, &mut buf[path.header_len()..]);
        let len = path.finish(buf, built.len, built.sum);
        half_open.path = path;
        half_open.sent(self.now, &config);
        let deadline = half_open.deadline;
        if half_open.retransmits > 0 {
            self.counters.tcp_retransmits += 1;
        }
        self.deadlines.set_no_later(number, deadline);
        Turn::Frame(len)
    }

    fn transmit_udp(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        number: u32,
        index: u32,
        buf: &mut [u8],
    ) -> Turn {
        let Some((link, len)) = self.pop_udp(pool, interface, number, index, &mut buf[ethernet::HEADER_LEN..]) else {
            return Turn::Nothing;
        };
        let frame = match link {
            Some(destination) => {
                self.write_link_header(interface, destination, buf);
                Some(len + ethernet::HEADER_LEN)
            }
            None => self.address_packet(pool, interface, buf, len),
        };
        frame.map_or(Turn::Nothing, Turn::Frame)
    }

    /// The first packet that no socket owns.
    fn transmit_control(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, buf: &mut [u8]) -> Option<usize> {
        let found = self.interfaces.get_mut(u32::from(interface.0))?;
        let at = ethernet::HEADER_LEN;
        let (kind, len) = found.pop_control(pool, &mut self.account, &mut buf[at..])?;
        if len == 0 {
            self.counters.drop(DropReason::PacketTooBig);
            return None;
        }
        if kind.is_frame() {
            buf.copy_within(at..at + len, 0);
            return Some(len);
        }
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
                self.wait_for_neighbor(pool, entry, packet);
                None
            }
            Resolution::TableFull => {
                self.counters.drop(DropReason::NeighborTableFull);
                None
            }
        }
    }

    fn write_link_header(&self, interface: InterfaceId, destination: crate::wire::MacAddr, buf: &mut [u8]) {
        let is_ipv4 = buf[ethernet::HEADER_LEN] >> 4 == 4;
        let ethertype = if is_ipv4 { ethertype::IPV4 } else { ethertype::IPV6 };
        EthernetHeader { destination, source: self.mac(interface), ethertype }.emit(buf);
    }

    /// The path from `local` to `remote`, which are of one family.
    fn path_for(&mut self, pool: &mut Pool<'_>, local: IpAddr, remote: IpAddr) -> PathSearch {
        // An address that was removed is nobody's to send from.
        let Some(hop) = self.route(remote).filter(|_| self.is_local(local)) else { return PathSearch::None };
        match self.resolve(pool, hop.interface, hop.address) {
            Resolution::Ready(destination_mac) => {
                let hop = Hop { interface: hop.interface, source_mac: self.mac(hop.interface), destination_mac };
                PathSearch::Found(Path::new(self.generation, &hop, local, remote, self.config.hop_limit))
            }
            Resolution::Pending(entry) => PathSearch::Wait(entry),
            Resolution::TableFull => {
                self.counters.drop(DropReason::NeighborTableFull);
                PathSearch::None
            }
        }
    }

    /// Queues a packet that no socket owns; counted if there is no room.
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
        addresses: (IpAddr, IpAddr),
        protocol: u8,
        payload: [&[u8]; 2],
    ) {
        let (source, destination) = addresses;
        let interface = match interface {
            Some(interface) => interface,
            None => match self.route(destination).filter(|_| self.is_local(source)) {
                Some(hop) => hop.interface,
                None => {
                    self.counters.drop(DropReason::NoRoute);
                    return;
                }
            },
        };
        let payload_len = payload[0].len() + payload[1].len();
        let mut header = [0; ipv6::HEADER_LEN];
        let header_len = emit_ip_header(&mut header, source, destination, protocol, payload_len, self.config.hop_limit);
        if header_len + payload_len > usize::from(self.mtu(interface)) {
            self.counters.drop(DropReason::PacketTooBig);
            return;
        }
        self.queue_control(pool, interface, kind, &[&header[..header_len], payload[0], payload[1]]);
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

/// Writes the IP header of a packet that is never fragmented; returns the header's length.
pub(super) fn emit_ip_header(
    out: &mut [u8],
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload_len: usize,
    hop_limit: u8,
) -> usize {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header {
                dscp_ecn: 0,
                total_len: (ipv4::HEADER_LEN + payload_len) as u16,
                identification: 0,
                dont_fragment: true,
                more_fragments: false,
                fragment_offset: 0,
                ttl: hop_limit,
                protocol,
                source,
                destination,
                header_len: ipv4::HEADER_LEN,
            };
            header.emit(out);
            ipv4::HEADER_LEN
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                traffic_class: 0,
                flow_label: 0,
                payload_len: payload_len as u16,
                next_header: protocol,
                hop_limit,
                source,
                destination,
            };
            header.emit(out);
            ipv6::HEADER_LEN
        }
        _ => {
            debug_assert!(false, "source and destination are of one family");
            0
        }
    }
}

/// The destination address of an IP packet of ours.
fn packet_destination(packet: &[u8]) -> Option<IpAddr> {
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
