//! Address resolution: ARP (RFC 826) and neighbour discovery (RFC 4861 §7.2) over the neighbour table.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Stack;
use super::addressing::{ConfigError, is_group};
use super::interface::ControlKind;
use super::ip_input::Packet;
use super::neighbor::{MAX_SOLICIT, Neighbor, NeighborState, REACHABLE_TIME, RETRANS_TIMER};
use super::nodes::Node;
use crate::address::is_unicast;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::time::Instant;
use crate::wire::ethernet::ethertype;
use crate::wire::{
    AdvertisementFlags, ArpOperation, ArpPacket, EthernetHeader, Ipv6Header, MacAddr, NdpOption, NdpOptions, arp,
    ethernet, ipv6, ndp, protocol,
};

/// Sockets that one call takes off a neighbour's list.
const UNPARKED_PER_CALL: usize = 64;

/// The answer to "which station has this address?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    Ready(MacAddr),
    /// Asked; wait on this entry.
    Pending(u32),
    /// The table is full of active entries.
    TableFull,
}

const NDP_FRAME: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN + ndp::NEIGHBOR_LEN;

impl Stack<'_> {
    /// Adds a neighbour by hand. The entry is never asked about and never removed.
    pub fn add_neighbor(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        address: IpAddr,
        mac: MacAddr,
    ) -> Result<(), ConfigError> {
        if self.interfaces.get(u32::from(interface.0)).is_none() {
            return Err(ConfigError::NoSuchInterface(interface));
        }
        if !is_unicast(address) {
            return Err(ConfigError::AddressNotUnicast(address));
        }
        if !mac.is_unicast() {
            return Err(ConfigError::MacNotUnicast(mac));
        }
        let entry = self
            .neighbor_entry(pool, interface, address, NeighborState::Permanent)
            .ok_or(ConfigError::LimitReached("neighbors"))?;
        self.confirm_neighbor(entry, mac, NeighborState::Permanent);
        Ok(())
    }

    /// The neighbour table.
    pub fn neighbors(&self) -> impl Iterator<Item = (InterfaceId, IpAddr, Option<MacAddr>, NeighborState)> {
        self.neighbors.iter().map(|neighbor| {
            let mac = neighbor.is_usable().then_some(neighbor.mac);
            (neighbor.interface, neighbor.address, mac, neighbor.state)
        })
    }

    /// Finds the station of a next hop, asking if need be.
    pub(super) fn resolve(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, address: IpAddr) -> Resolution {
        if is_group(address) {
            return Resolution::Ready(MacAddr::for_multicast(address));
        }
        if let IpAddr::V4(v4) = address
            && self.is_directed_broadcast(v4)
        {
            return Resolution::Ready(MacAddr::BROADCAST);
        }
        let Some(entry) = self.neighbor_entry(pool, interface, address, NeighborState::Failed) else {
            return Resolution::TableFull;
        };
        self.neighbors.touch(entry);
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return Resolution::TableFull };
        match neighbor.state {
            NeighborState::Incomplete => return Resolution::Pending(entry),
            NeighborState::Failed => {
                neighbor.state = NeighborState::Incomplete;
                neighbor.solicits = 0;
                // One request a second at most, also over several attempts.
                let earliest = neighbor.last_solicit.map_or(self.now, |last| last + RETRANS_TIMER);
                if earliest > self.now {
                    self.set_neighbor_deadline(entry, earliest);
                } else {
                    self.solicit(pool, entry);
                }
                return Resolution::Pending(entry);
            }
            NeighborState::Stale => {
                let mac = neighbor.mac;
                neighbor.state = NeighborState::Probe;
                neighbor.solicits = 0;
                self.solicit(pool, entry);
                return Resolution::Ready(mac);
            }
            NeighborState::Reachable | NeighborState::Probe | NeighborState::Permanent => {}
        }
        Resolution::Ready(neighbor.mac)
    }

    fn neighbor_entry(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        address: IpAddr,
        initial: NeighborState,
    ) -> Option<u32> {
        self.neighbors
            .find(&self.hash_secret, interface, address)
            .or_else(|| self.neighbors.insert(&self.hash_secret, pool, &mut self.account, interface, address, initial))
    }

    fn set_neighbor_deadline(&mut self, entry: u32, at: Instant) {
        if let Some(neighbor) = self.neighbors.get_mut(entry) {
            neighbor.deadline = at;
            if at < Instant::FAR_FUTURE {
                self.deadlines.set_no_later(self.nodes.number(Node::Neighbor(entry)), at);
            }
        }
    }

    /// Sends a request for the entry's address: to the known station in PROBE, else to all.
    fn solicit(&mut self, pool: &mut Pool<'_>, entry: u32) {
        let now = self.now;
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        neighbor.solicits = neighbor.solicits.saturating_add(1);
        neighbor.last_solicit = Some(now);
        let (interface, address) = (neighbor.interface, neighbor.address);
        let known = (neighbor.state == NeighborState::Probe).then_some(neighbor.mac);
        self.set_neighbor_deadline(entry, now + RETRANS_TIMER);
        let source_mac = self.mac(interface);
        match (address, self.source_on(interface, address)) {
            (IpAddr::V4(target_ip), Some(IpAddr::V4(sender_ip))) => {
                let packet = ArpPacket {
                    operation: ArpOperation::Request,
                    sender_mac: source_mac,
                    sender_ip,
                    target_mac: MacAddr([0; 6]),
                    target_ip,
                };
                self.send_arp(pool, interface, known.unwrap_or(MacAddr::BROADCAST), &packet);
            }
            (IpAddr::V6(target), Some(IpAddr::V6(source))) => {
                let group = ipv6::solicited_node_multicast(target);
                let (destination, mac) = match known {
                    Some(mac) => (target, mac),
                    None => (group, MacAddr::for_multicast(IpAddr::V6(group))),
                };
                let mut message = [0; ndp::NEIGHBOR_LEN];
                let option = Some(NdpOption::SourceLinkLayerAddress(source_mac));
                let len = ndp::emit_neighbor_solicitation(source, destination, &mut message, target, option);
                self.send_ndp(pool, interface, mac, source, destination, &message[..len]);
            }
            _ => {}
        }
    }

    fn send_arp(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, to: MacAddr, packet: &ArpPacket) {
        let mut frame = [0; ethernet::HEADER_LEN + arp::LEN];
        let header = EthernetHeader { destination: to, source: self.mac(interface), ethertype: ethertype::ARP };
        header.emit(&mut frame);
        packet.emit(&mut frame[ethernet::HEADER_LEN..]);
        self.queue_control(pool, interface, ControlKind::Neighbor, &[&frame]);
    }

    fn send_ndp(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        to: MacAddr,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        message: &[u8],
    ) {
        let mut frame = [0; NDP_FRAME];
        let link = EthernetHeader { destination: to, source: self.mac(interface), ethertype: ethertype::IPV6 };
        link.emit(&mut frame);
        let header = Ipv6Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: message.len() as u16,
            next_header: protocol::ICMPV6,
            hop_limit: ndp::NDP_HOP_LIMIT,
            source,
            destination,
        };
        header.emit(&mut frame[ethernet::HEADER_LEN..]);
        let at = ethernet::HEADER_LEN + ipv6::HEADER_LEN;
        frame[at..at + message.len()].copy_from_slice(message);
        self.queue_control(pool, interface, ControlKind::Neighbor, &[&frame[..at + message.len()]]);
    }

    /// Tells the neighbours of addresses that were added (RFC 5227 §3, RFC 4861 §7.2.6).
    pub(super) fn announce_addresses(&mut self, pool: &mut Pool<'_>, interface: InterfaceId) {
        for place in 0..self.addresses.len() {
            let entry = self.addresses[place];
            if entry.interface != interface || !entry.announce {
                continue;
            }
            self.addresses[place].announce = false;
            let mac = self.mac(interface);
            match entry.prefix.address {
                IpAddr::V4(address) => {
                    let packet = ArpPacket {
                        operation: ArpOperation::Request,
                        sender_mac: mac,
                        sender_ip: address,
                        target_mac: MacAddr([0; 6]),
                        target_ip: address,
                    };
                    self.send_arp(pool, interface, MacAddr::BROADCAST, &packet);
                }
                IpAddr::V6(address) => {
                    let flags = AdvertisementFlags { router: false, solicited: false, override_: true };
                    self.advertise_neighbor(pool, interface, address, ALL_NODES, None, flags);
                }
            }
        }
        if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
            found.announcements = 0;
        }
    }

    fn advertise_neighbor(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        target: Ipv6Addr,
        destination: Ipv6Addr,
        to: Option<MacAddr>,
        flags: AdvertisementFlags,
    ) {
        let mac = self.mac(interface);
        let mut message = [0; ndp::NEIGHBOR_LEN];
        let len = ndp::emit_neighbor_advertisement(target, destination, &mut message, flags, target, Some(mac));
        let to = to.unwrap_or(MacAddr::for_multicast(IpAddr::V6(destination)));
        self.send_ndp(pool, interface, to, target, destination, &message[..len]);
    }

    /// RFC 826 "Packet Reception", with the checks that keep strangers from changing the table.
    pub(super) fn arp_input(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, bytes: &[u8]) {
        let Ok(packet) = ArpPacket::parse(bytes) else {
            self.counters.drop(DropReason::ArpMalformed);
            return;
        };
        let sender = IpAddr::V4(packet.sender_ip);
        let is_probe = packet.sender_ip.is_unspecified();
        let is_ours = self
            .addresses
            .iter()
            .any(|entry| entry.interface == interface && entry.prefix.address == IpAddr::V4(packet.target_ip));
        let is_conflict = self.is_local(sender);
        if !packet.sender_mac.is_unicast()
            || is_conflict
            || (!is_probe && (!is_unicast(sender) || !self.is_on_link(interface, sender)))
        {
            self.counters.drop(DropReason::ArpSpoofed);
            return;
        }
        if !is_probe {
            let known = self.neighbors.find(&self.hash_secret, interface, sender);
            // An answer to a request of ours confirms; anything else only tells.
            let asked = known.and_then(|entry| self.neighbors.get(entry)).is_some_and(Neighbor::is_asked);
            let answers_us = packet.operation == ArpOperation::Reply && is_ours && asked;
            let state = if answers_us { NeighborState::Reachable } else { NeighborState::Stale };
            self.learn(pool, interface, sender, packet.sender_mac, known, state, is_ours);
        }
        if packet.operation == ArpOperation::Request && is_ours {
            let reply = ArpPacket {
                operation: ArpOperation::Reply,
                sender_mac: self.mac(interface),
                sender_ip: packet.target_ip,
                target_mac: packet.sender_mac,
                target_ip: packet.sender_ip,
            };
            self.send_arp(pool, interface, packet.sender_mac, &reply);
        }
    }

    /// RFC 4861 §7.2.3, after the checks of §7.1.1 that it shares with advertisements. The source is unspecified in duplicate
    /// address detection.
    pub(super) fn neighbor_solicitation(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        (source, destination): (Ipv6Addr, Ipv6Addr),
        target: Ipv6Addr,
        options: &[u8],
    ) {
        let interface = packet.interface;
        // §7.1.1: "If the IP source address is the unspecified address, the IP destination address is a solicited-node
        // multicast address." Such a group is made of the last 24 bits of an address, its own among them.
        if source.is_unspecified() && destination != ipv6::solicited_node_multicast(destination) {
            self.counters.drop(DropReason::NeighborDiscoveryInvalid);
            return;
        }
        let is_ours = self
            .addresses
            .iter()
            .any(|entry| entry.interface == interface && entry.prefix.address == IpAddr::V6(target));
        if !is_ours {
            self.counters.drop(DropReason::IpNotForUs);
            return;
        }
        if source.is_unspecified() {
            let flags = AdvertisementFlags { router: false, solicited: false, override_: true };
            self.advertise_neighbor(pool, interface, target, ALL_NODES, None, flags);
            return;
        }
        let address = IpAddr::V6(source);
        if !self.is_on_link(interface, address) {
            self.counters.drop(DropReason::NeighborDiscoveryInvalid);
            return;
        }
        let mac = NdpOptions::new(options).source_link_layer_address();
        if let Some(mac) = mac {
            if !mac.is_unicast() {
                self.counters.drop(DropReason::NeighborDiscoveryInvalid);
                return;
            }
            let known = self.neighbors.find(&self.hash_secret, interface, address);
            self.learn(pool, interface, address, mac, known, NeighborState::Stale, true);
        }
        let flags = AdvertisementFlags { router: false, solicited: true, override_: true };
        self.advertise_neighbor(pool, interface, target, source, Some(mac.unwrap_or(packet.source_mac)), flags);
    }

    /// RFC 4861 §7.2.5, after the checks of §7.1.2: never makes an entry.
    pub(super) fn neighbor_advertisement(
        &mut self,
        interface: InterfaceId,
        target: Ipv6Addr,
        flags: AdvertisementFlags,
        options: &[u8],
    ) {
        let address = IpAddr::V6(target);
        let Some(entry) = self.neighbors.find(&self.hash_secret, interface, address) else { return };
        let Some(neighbor) = self.neighbors.get(entry) else { return };
        let mac = NdpOptions::new(options).target_link_layer_address().filter(|mac| mac.is_unicast());
        let state = if flags.solicited { NeighborState::Reachable } else { NeighborState::Stale };
        match neighbor.state {
            NeighborState::Permanent | NeighborState::Failed => {}
            NeighborState::Incomplete => {
                if let Some(mac) = mac {
                    self.confirm_neighbor(entry, mac, state);
                }
            }
            NeighborState::Reachable | NeighborState::Stale | NeighborState::Probe => {
                let changes = mac.is_some_and(|mac| mac != neighbor.mac);
                if changes && !flags.override_ {
                    if neighbor.state == NeighborState::Reachable {
                        let mac = neighbor.mac;
                        self.confirm_neighbor(entry, mac, NeighborState::Stale);
                    }
                    return;
                }
                let mac = mac.unwrap_or(neighbor.mac);
                if changes || flags.solicited {
                    self.confirm_neighbor(entry, mac, state);
                }
            }
        }
    }

    /// A neighbour has told its station. `may_add` if it is about to be needed.
    #[expect(clippy::too_many_arguments, reason = "the fields of one observation")]
    fn learn(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        address: IpAddr,
        mac: MacAddr,
        known: Option<u32>,
        state: NeighborState,
        may_add: bool,
    ) {
        let entry = match known {
            Some(entry) => entry,
            None if may_add => match self.neighbor_entry(pool, interface, address, NeighborState::Stale) {
                Some(entry) => entry,
                None => {
                    self.counters.drop(DropReason::NeighborTableFull);
                    return;
                }
            },
            None => return,
        };
        let Some(neighbor) = self.neighbors.get(entry) else { return };
        let unchanged = neighbor.is_usable() && neighbor.mac == mac && state != NeighborState::Reachable;
        if neighbor.state != NeighborState::Permanent && !unchanged {
            self.confirm_neighbor(entry, mac, state);
        }
    }

    /// The station of a neighbour is known: what waited for it can go.
    fn confirm_neighbor(&mut self, entry: u32, mac: MacAddr, state: NeighborState) {
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        let moved = neighbor.mac != mac || !neighbor.is_usable();
        let (interface, was_stale) = (neighbor.interface, neighbor.state == NeighborState::Stale);
        neighbor.mac = mac;
        neighbor.state = state;
        neighbor.has_failed = false;
        neighbor.solicits = 0;
        let deadline = match state {
            NeighborState::Reachable => self.now + REACHABLE_TIME,
            _ => Instant::FAR_FUTURE,
        };
        self.set_neighbor_deadline(entry, deadline);
        if moved || !was_stale {
            self.invalidate_paths();
        }
        self.release_pending(entry, interface);
        self.unpark(entry);
    }

    /// The packets that waited for a neighbour have the next turn on its interface, before what was sent after them.
    fn release_pending(&mut self, entry: u32, interface: InterfaceId) {
        let Some(neighbor) = self.neighbors.get(entry) else { return };
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return };
        if !neighbor.pending.is_empty() {
            found.turn_used = 0;
            self.links.push_front(&mut found.ready, self.nodes.number(Node::Neighbor(entry)));
        }
    }

    /// Keeps an IP packet until the neighbour answers.
    pub(super) fn wait_for_neighbor(&mut self, pool: &mut Pool<'_>, entry: u32, packet: &[u8]) {
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        for _ in 0..neighbor.keep_pending(pool, &mut self.account, packet) {
            self.counters.drop(DropReason::NeighborQueueFull);
        }
    }

    /// Puts sockets that waited for a neighbour back on their interface's list, some at a time.
    fn unpark(&mut self, entry: u32) {
        for _ in 0..UNPARKED_PER_CALL {
            let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
            let Some(number) = self.links.pop_front(&mut neighbor.parked) else { return };
            self.unparked(number);
        }
        let now = self.now;
        if self.neighbors.get(entry).is_some_and(|neighbor| !neighbor.parked.is_empty()) {
            self.deadlines.set_no_later(self.nodes.number(Node::Neighbor(entry)), now);
        }
    }

    fn unparked(&mut self, number: u32) {
        match self.nodes.node(number) {
            Node::Connection(index) => {
                if let Some(connection) = self.connections.get_mut(index) {
                    connection.parked = None;
                    self.schedule_connection(index);
                }
            }
            Node::HalfOpen(index) => {
                if let Some(half_open) = self.half_open.get_mut(index) {
                    half_open.parked = None;
                    self.schedule_half_open(index);
                }
            }
            _ => {}
        }
    }

    pub(super) fn neighbor_timeout(&mut self, pool: &mut Pool<'_>, entry: u32) {
        let now = self.now;
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        let is_usable = neighbor.is_usable();
        if !neighbor.parked.is_empty() && (is_usable || neighbor.state == NeighborState::Failed) {
            if is_usable { self.unpark(entry) } else { self.fail_parked(pool, entry) }
        }
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        if neighbor.deadline > now {
            let deadline = neighbor.deadline;
            self.set_neighbor_deadline(entry, deadline);
            return;
        }
        match neighbor.state {
            NeighborState::Incomplete | NeighborState::Probe if neighbor.solicits < MAX_SOLICIT => {
                self.solicit(pool, entry);
            }
            NeighborState::Incomplete | NeighborState::Probe => self.fail_neighbor(pool, entry),
            NeighborState::Reachable => {
                neighbor.state = NeighborState::Stale;
                neighbor.deadline = Instant::FAR_FUTURE;
                // Whoever still uses it asks again through `resolve`.
                self.invalidate_paths();
            }
            NeighborState::Stale | NeighborState::Failed | NeighborState::Permanent => {}
        }
    }

    fn fail_neighbor(&mut self, pool: &mut Pool<'_>, entry: u32) {
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        neighbor.state = NeighborState::Failed;
        neighbor.has_failed = true;
        neighbor.deadline = Instant::FAR_FUTURE;
        for _ in 0..neighbor.pending.len() {
            self.counters.drop(DropReason::NeighborUnreachable);
        }
        neighbor.pending.clear(pool, &mut self.account);
        // It may have been confirmed, and failed again before the packets had their turn.
        if let Some(found) = self.interfaces.get_mut(u32::from(neighbor.interface.0)) {
            self.links.remove(&mut found.ready, self.nodes.number(Node::Neighbor(entry)));
        }
        self.invalidate_paths();
        self.fail_parked(pool, entry);
    }

    /// Tells sockets that waited for a neighbour that it does not answer, some at a time.
    fn fail_parked(&mut self, pool: &mut Pool<'_>, entry: u32) {
        for _ in 0..UNPARKED_PER_CALL {
            let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
            let Some(number) = self.links.pop_front(&mut neighbor.parked) else { return };
            match self.nodes.node(number) {
                Node::Connection(index) => self.next_hop_failed(pool, index),
                Node::HalfOpen(index) => {
                    // Its retransmission timer asks again.
                    if let Some(half_open) = self.half_open.get_mut(index) {
                        half_open.parked = None;
                    }
                }
                _ => {}
            }
        }
        let now = self.now;
        self.deadlines.set_no_later(self.nodes.number(Node::Neighbor(entry)), now);
    }

    /// Forgets all neighbours on an interface. What waited for them is dropped; the sockets look for another way.
    pub(super) fn forget_neighbors(&mut self, pool: &mut Pool<'_>, interface: InterfaceId) {
        for entry in 0..self.neighbors.capacity() {
            while let Some(neighbor) = self.neighbors.get_mut(entry).filter(|found| found.interface == interface) {
                if let Some(number) = self.links.pop_front(&mut neighbor.parked) {
                    self.unparked(number);
                    continue;
                }
                for _ in 0..neighbor.pending.len() {
                    self.counters.drop(DropReason::NoInterface);
                }
                self.deadlines.remove(self.nodes.number(Node::Neighbor(entry)));
                self.neighbors.remove(&self.hash_secret, pool, &mut self.account, entry);
            }
        }
    }

    /// Parks a node on a neighbour's list. It must be on no list.
    #[inline]
    pub(super) fn park(&mut self, entry: u32, number: u32) {
        if let Some(neighbor) = self.neighbors.get_mut(entry) {
            self.links.push_back(&mut neighbor.parked, number);
        }
    }

    /// Takes a node off the list that it is on: a neighbour's if it is parked, else its interface's.
    #[inline]
    pub(super) fn unlink(&mut self, number: u32, parked: Option<u32>, interface: InterfaceId) {
        match parked {
            Some(entry) => {
                if let Some(neighbor) = self.neighbors.get_mut(entry) {
                    self.links.remove(&mut neighbor.parked, number);
                }
            }
            None => {
                if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
                    self.links.remove(&mut found.ready, number);
                }
            }
        }
    }
}

/// The group of all hosts on a link (RFC 1112 §4).
pub(super) const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// The group of all IPv6 nodes on a link (RFC 4291 §2.7.1).
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
