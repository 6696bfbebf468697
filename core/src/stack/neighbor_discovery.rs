//! Neighbour discovery (RFC 4861 §7): solicitations and advertisements in and out.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Stack;
use super::addresses::AddressState;
use super::interface::ControlKind;
use super::ip_input::Packet;
use super::neighbor::NeighborState;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::wire::ethernet::ethertype;
use crate::wire::{
    AdvertisementFlags, EthernetHeader, Ipv6Header, MacAddr, NdpOption, NdpOptions, ethernet, ipv6, ndp, protocol,
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
        let place = self.place_of(interface, IpAddr::V6(target));
        let entry = place.map(|place| &self.addresses[place]);
        let state = entry.map_or(AddressState::Preferred, |entry| entry.state);
        if let (Some(place), Some(entry)) = (place, entry)
            && source.is_unspecified()
            && state.is_unsure()
        {
            // RFC 4862 §5.4.3: another node asks for the same address, unless it is our own question that has come back (RFC 7527 §4.2).
            if NdpOptions::new(options).nonce() != Some(entry.claim.nonce) {
                self.address_is_duplicate(place);
            }
            return;
        }
        if !state.is_assigned() || place.is_none() && !self.is_anycast(interface, target) {
            self.counters.drop(DropReason::IpNotForUs);
            return;
        }
        // RFC 4429 §3.3: nobody is to forget another's station for an address that may not be ours.
        let override_ = state != AddressState::Optimistic;
        let router = self.forwards_ipv6(interface);
        let mut to = (ALL_NODES, MacAddr::for_multicast(IpAddr::V6(ALL_NODES)));
        let solicited = !source.is_unspecified();
        if solicited {
            let address = IpAddr::V6(source);
            let mac = NdpOptions::new(options).source_link_layer_address();
            if !self.is_on_link(interface, address) || mac.is_some_and(|mac| !mac.is_unicast()) {
                self.counters.drop(DropReason::NeighborDiscoveryInvalid);
                return;
            }
            if let Some(mac) = mac {
                let known = self.neighbors.find(&self.hash_secret, interface, address);
                self.learn(pool, interface, address, mac, known, NeighborState::Stale, true);
            }
            to = (source, mac.unwrap_or(packet.source_mac));
        }
        if place.is_none() {
            return self.answer_for_anycast(pool, interface, target, to, destination.is_multicast());
        }
        let flags = AdvertisementFlags { router, solicited, override_ };
        self.advertise_neighbor(pool, interface, target, target, to, flags);
    }

    /// RFC 4861 §7.2.5, after the checks of §7.1.2.
    pub(super) fn neighbor_advertisement(
        &mut self,
        pool: &mut Pool<'_>,
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
        if let Some(place) = self.place_of(interface, IpAddr::V6(target)) {
            // RFC 4862 §5.4.4; what is ours for certain is not given up. Our own advertisement may have come back.
            if self.addresses[place].state.is_unsure() && mac != Some(self.mac(interface)) {
                self.address_is_duplicate(place);
            }
            return;
        }
        let address = IpAddr::V6(target);
        let Some(entry) = self.neighbors.find(&self.hash_secret, interface, address) else {
            // RFC 9131 §6.1.1: a router keeps what it is told, since packets to the new address are about to come; "the receiving router SHOULD create a
            // new entry [...] and set its reachability state to STALE". For a host there "is no need to create an entry".
            if let Some(mac) = mac.filter(|_| self.forwards_ipv6(interface) && self.is_on_link(interface, address)) {
                self.learn(pool, interface, address, mac, None, NeighborState::Stale, true);
            }
            return;
        };
        let Some(neighbor) = self.neighbors.get(entry) else { return };
        let is_new = mac.is_some_and(|mac| mac != neighbor.mac || !neighbor.is_usable());
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
            let was_router = core::mem::replace(&mut neighbor.is_router, flags.router);
            if was_router && !flags.router {
                self.router_is_none_any_more(interface, IpAddr::V6(target));
            }
        }
    }

    /// Says where an address is to be found.
    pub(super) fn advertise_neighbor(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        target: Ipv6Addr,
        source: Ipv6Addr,
        (destination, to): (Ipv6Addr, MacAddr),
        flags: AdvertisementFlags,
    ) {
        let mac = self.mac(interface);
        let mut message = [0; ndp::NEIGHBOR_LEN];
        let len = ndp::emit_neighbor_advertisement(source, destination, &mut message, flags, target, Some(mac));
        self.send_ndp(pool, interface, to, source, destination, &message[..len]);
    }

    /// Asks whether somebody else has an address that is not ours yet (RFC 5227 §2.1.1, RFC 4862 §5.4.2).
    pub(super) fn send_probe(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, address: IpAddr, nonce: [u8; 6]) {
        match address {
            IpAddr::V4(address) => self.ask_arp(pool, interface, Ipv4Addr::UNSPECIFIED, address, MacAddr::BROADCAST),
            IpAddr::V6(address) => {
                let group = ipv6::solicited_node_multicast(address);
                let mut message = [0; ndp::NEIGHBOR_LEN];
                let option = Some(NdpOption::Nonce(nonce));
                let source = Ipv6Addr::UNSPECIFIED;
                let len = ndp::emit_neighbor_solicitation(source, group, &mut message, address, option);
                let mac = MacAddr::for_multicast(IpAddr::V6(group));
                self.send_ndp(pool, interface, mac, source, group, &message[..len]);
            }
        }
    }

    /// Tells the neighbours of an address of ours (RFC 5227 §2.3, RFC 4861 §7.2.6).
    pub(super) fn send_announcement(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.ask_arp(pool, interface, address, address, MacAddr::BROADCAST),
            IpAddr::V6(address) => {
                let router = self.forwards_ipv6(interface);
                let flags = AdvertisementFlags { router, solicited: false, override_: true };
                let everybody = (ALL_NODES, MacAddr::for_multicast(IpAddr::V6(ALL_NODES)));
                self.advertise_neighbor(pool, interface, address, address, everybody, flags);
            }
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

/// The group of all IPv6 routers on a link (RFC 4291 §2.7.1).
pub(super) const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// The group of all IPv6 routers of a site (RFC 4291 §2.7.1).
pub(super) const ALL_ROUTERS_OF_SITE: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 2);
/// The group of all IPv6 nodes on a link (RFC 4291 §2.7.1).
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
