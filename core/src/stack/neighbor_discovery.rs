//! Neighbour discovery (RFC 4861 §7): solicitations and advertisements in and out.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Stack;
use super::interface::ControlKind;
use super::ip_input::Packet;
use super::neighbor::NeighborState;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::wire::ethernet::ethertype;
use crate::wire::{
    AdvertisementFlags, ArpOperation, ArpPacket, EthernetHeader, Ipv6Header, MacAddr, NdpOptions, ethernet, ipv6, ndp,
    protocol,
};

impl Stack<'_> {
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
        let mac = NdpOptions::new(options).target_link_layer_address();
        if mac.is_some_and(|mac| !mac.is_unicast()) {
            self.counters.drop(DropReason::NeighborDiscoveryInvalid);
            return;
        }
        let Some(entry) = self.neighbors.find(&self.hash_secret, interface, IpAddr::V6(target)) else { return };
        let Some(neighbor) = self.neighbors.get(entry) else { return };
        let is_new = mac.is_some_and(|mac| mac != neighbor.mac);
        let mac = match neighbor.state {
            NeighborState::Permanent | NeighborState::Failed => return,
            // "If the link layer has addresses and no Target Link-Layer Address option is included, the receiving node SHOULD
            // silently discard the received advertisement."
            NeighborState::Incomplete => match mac {
                Some(mac) => mac,
                None => return,
            },
            // "If the Override flag is clear and the supplied link-layer address differs [...]: If the state of the entry is
            // REACHABLE, set it to STALE, but do not update the entry in any other way", else ignore the advertisement.
            _ if is_new && !flags.override_ => return self.neighbor_is_doubted(entry),
            _ => mac.unwrap_or(neighbor.mac),
        };
        if flags.solicited {
            self.confirm_neighbor(entry, mac, NeighborState::Reachable);
        } else if is_new {
            self.confirm_neighbor(entry, mac, NeighborState::Stale);
        }
        if let Some(neighbor) = self.neighbors.get_mut(entry) {
            neighbor.is_router = flags.router;
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

    pub(super) fn send_ndp(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        to: MacAddr,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        message: &[u8],
    ) {
        let mut headers = [0; ethernet::HEADER_LEN + ipv6::HEADER_LEN];
        let link = EthernetHeader { destination: to, source: self.mac(interface), ethertype: ethertype::IPV6 };
        link.emit(&mut headers);
        let header = Ipv6Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: message.len() as u16,
            next_header: protocol::ICMPV6,
            hop_limit: ndp::NDP_HOP_LIMIT,
            source,
            destination,
        };
        header.emit(&mut headers[ethernet::HEADER_LEN..]);
        self.queue_control(pool, interface, ControlKind::Neighbor, &[&headers, message]);
    }
}

/// The group of all hosts on a link (RFC 1112 §4).
pub(super) const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// The group of all IPv6 nodes on a link (RFC 4291 §2.7.1).
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
