//! From the frame to the protocol: Ethernet, IPv4 and IPv6 input (RFC 1122 §3.2.1, RFC 8200).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::addresses::AddressOrigin;
use super::{FrameMeta, Stack};
use crate::address::Endpoint;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::time::Instant;
use crate::wire::ethernet::ethertype;
use crate::wire::{
    Ecn, EthernetHeader, ExtensionError, Ipv4Header, Ipv6Header, MacAddr, WireError, dhcp, icmpv6, ipv4, ipv6, protocol,
};

/// To whom a packet was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    /// To an address of ours, in a frame to our station.
    Unicast,
    /// To an address of ours that other hosts have too: answered from another, and not for TCP.
    Anycast,
    /// To a group or by a group frame: never answered with an error or a reset.
    Group,
}

/// A packet on its way up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) interface: InterfaceId,
    pub(super) source_mac: MacAddr,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) cast: Cast,
    /// TTL or hop limit.
    pub(super) hop_limit: u8,
    pub(super) ecn: Ecn,
    /// The packet from its IP header on, for quotation in an ICMP error.
    pub(super) whole: &'a [u8],
    /// What the IP header is followed by.
    pub(super) payload: &'a [u8],
    pub(super) meta: FrameMeta,
}

impl<'a> Packet<'a> {
    /// A packet that is not for us.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn passing(
        interface: InterfaceId,
        source_mac: MacAddr,
        (source, destination): (IpAddr, IpAddr),
        hop_limit: u8,
        whole: &'a [u8],
    ) -> Self {
        Packet {
            interface,
            source_mac,
            source,
            destination,
            cast: Cast::Unicast,
            hop_limit,
            ecn: Ecn::NotEct,
            whole,
            payload: &[],
            meta: FrameMeta::default(),
        }
    }
}

impl Stack<'_> {
    /// A frame has arrived on `interface`. Afterwards there may be something to [`transmit`](Self::transmit) and events
    /// to [`poll`](Self::poll_event); a batch of frames may be delivered before either.
    pub fn receive(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        interface: InterfaceId,
        frame: &[u8],
        meta: FrameMeta,
    ) {
        self.advance_clock(now);
        self.counters.frames_received += 1;
        self.counters.bytes_received += frame.len() as u64;
        if self.raw.want_frames > 0 {
            self.raw_frame(pool, interface, frame, false);
        }
        let Some(found) = self.interfaces.get(u32::from(interface.0)) else {
            self.counters.drop(DropReason::NoInterface);
            return;
        };
        if !found.is_ethernet() {
            return self.packet_input(pool, interface, found.config.medium, frame, meta);
        }
        let Ok((link, mut payload)) = EthernetHeader::parse(frame) else {
            self.counters.drop(DropReason::FrameMalformed);
            return;
        };
        let to_us = link.destination == found.config.mac;
        if !to_us && !link.destination.is_multicast() {
            self.counters.drop(DropReason::FrameNotForUs);
            return;
        }
        if link.source.is_multicast() {
            self.counters.drop(DropReason::FrameMalformed);
            return;
        }
        let cast = if to_us { Cast::Unicast } else { Cast::Group };
        let (mut interface, mut ethertype) = (interface, link.ethertype);
        if ethertype == ethertype::VLAN {
            let Some(untagged) = self.untag(interface, payload) else { return };
            (interface, ethertype, payload) = untagged;
        }
        match ethertype {
            ethertype::IPV4 => self.ipv4_input(pool, interface, link.source, cast, payload, meta),
            ethertype::IPV6 => self.ipv6_input(pool, interface, link.source, cast, payload, meta),
            ethertype::ARP => self.arp_input(pool, interface, payload),
            _ => self.counters.drop(DropReason::EtherTypeUnknown),
        }
    }

    pub(super) fn ipv4_input(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        source_mac: MacAddr,
        link_cast: Cast,
        bytes: &[u8],
        meta: FrameMeta,
    ) {
        let (header, payload) = match Ipv4Header::parse(bytes) {
            Ok(parsed) => parsed,
            Err(WireError::BadChecksum) => {
                self.counters.drop(DropReason::IpChecksum);
                return;
            }
            Err(_) => {
                self.counters.drop(DropReason::IpMalformed);
                return;
            }
        };
        let cast = match self.cast_v4(interface, header, link_cast) {
            Ok(cast) => cast,
            Err(DropReason::IpNotForUs) if self.may_be_offer(interface, header.protocol, payload) => Cast::Group,
            Err(reason) => {
                if reason == DropReason::IpNotForUs && link_cast == Cast::Unicast {
                    let whole = &bytes[..usize::from(header.total_len)];
                    let addresses = (IpAddr::V4(header.source), IpAddr::V4(header.destination));
                    return self.forward(pool, &Packet::passing(interface, source_mac, addresses, header.ttl, whole));
                }
                self.counters.drop(reason);
                return;
            }
        };
        let packet = Packet {
            interface,
            source_mac,
            source: IpAddr::V4(header.source),
            destination: IpAddr::V4(header.destination),
            cast,
            hop_limit: header.ttl,
            ecn: Ecn::of_traffic_class(header.dscp_ecn),
            whole: &bytes[..usize::from(header.total_len).min(bytes.len())],
            payload,
            meta,
        };
        if header.header_len > ipv4::HEADER_LEN && !self.are_options_fine(pool, &packet, header) {
            return;
        }
        if header.is_fragment() {
            return self.fragment_v4(pool, &packet, header);
        }
        if self.nat.is_on() && cast == Cast::Unicast && self.nat_inbound(pool, &packet) {
            return;
        }
        let is_shown = self.raw.want_packets > 0 && self.raw_input(pool, &packet, header.protocol);
        match header.protocol {
            protocol::TCP => self.tcp_input(pool, &packet),
            protocol::UDP => self.udp_input(pool, &packet),
            protocol::ICMP => self.icmpv4_input(pool, &packet),
            protocol::IGMP => self.igmp_input(&packet),
            _ if is_shown => {}
            _ => {
                self.counters.drop(DropReason::ProtocolUnknown);
                self.protocol_unreachable(pool, &packet);
            }
        }
    }

    /// RFC 1122 §3.2.1.8: options are stepped over. Source routes are refused without a word (RFC 7126 §4.3 and §4.4), as in Linux.
    #[cold]
    fn are_options_fine(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, header: Ipv4Header) -> bool {
        let options = &packet.whole[ipv4::HEADER_LEN..header.header_len];
        let Err(error) = ipv4::check_options(options) else { return true };
        self.counters.drop(DropReason::IpOptions);
        // RFC 1122 §3.2.2: nothing is said about a fragment other than the first.
        if let ipv4::OptionError::Malformed { at } = error
            && header.fragment_offset == 0
        {
            self.parameter_problem_v4(pool, packet, (ipv4::HEADER_LEN + at) as u8);
        }
        false
    }

    /// To whom a packet was sent, if it is for us and its addresses can be. The header is passed as a copy, so that it need not be in
    /// memory where nothing is looked up.
    #[inline]
    fn cast_v4(&mut self, interface: InterfaceId, header: Ipv4Header, link_cast: Cast) -> Result<Cast, DropReason> {
        if (self.generation, header.source, header.destination) == self.last_to_us_v4 {
            return Ok(link_cast);
        }
        self.look_up_cast_v4(interface, header, link_cast)
    }

    #[inline(never)] // Mostly it is as with the packet before.
    fn look_up_cast_v4(
        &mut self,
        interface: InterfaceId,
        header: Ipv4Header,
        link_cast: Cast,
    ) -> Result<Cast, DropReason> {
        let (source, destination) = (IpAddr::V4(header.source), IpAddr::V4(header.destination));
        if self.kept_way(interface, source, destination).is_some() {
            return Err(DropReason::IpNotForUs);
        }
        let checked = (self.generation, header.source, header.destination);
        let is_looped = self.loopback == Some(interface);
        if !is_looped && self.is_martian_v4(&header) {
            return Err(DropReason::IpMartian);
        }
        if self.is_local(destination) {
            // What may come from this host may not come from others.
            if !is_looped {
                self.last_to_us_v4 = checked;
            }
            return Ok(link_cast);
        }
        let is_to_group = header.destination.is_broadcast()
            || self.is_member(interface, destination)
            || self.is_directed_broadcast(header.destination)
            || (header.protocol == protocol::IGMP && self.hears_reports(interface, destination));
        if is_to_group { Ok(Cast::Group) } else { Err(DropReason::IpNotForUs) }
    }

    /// Whether a packet for another address may be of a DHCP server that offers us this address and sends to it at once, as passt does whatever the
    /// client says (RFC 2131 §4.1: "if the broadcast bit is not set [...], the server unicasts DHCPOFFER and DHCPACK messages to the client's hardware
    /// address and 'yiaddr' address"): while the interface has no address but a link-local one, and a client runs here.
    #[inline]
    fn may_be_offer(&self, interface: InterfaceId, protocol: u8, payload: &[u8]) -> bool {
        protocol == protocol::UDP
            && payload.get(2..4) == Some(&dhcp::CLIENT_PORT.to_be_bytes())
            && self.find_udp_exact(Endpoint::any(dhcp::CLIENT_PORT)).is_some()
            && !self.addresses.iter().any(|entry| {
                entry.interface == interface
                    && entry.prefix.address.is_ipv4()
                    && entry.is_assigned()
                    && entry.origin != AddressOrigin::LinkLocal
            })
    }

    /// RFC 1122 §3.2.1.3: sources that cannot be, and the loopback network. An unspecified source is let through to
    /// broadcasts only: DHCP clients have no address yet.
    fn is_martian_v4(&self, header: &Ipv4Header) -> bool {
        let (source, destination) = (header.source, header.destination);
        source.is_loopback()
            || source.is_multicast()
            || is_class_e(source)
            || (source.octets()[0] == 0 && !(source.is_unspecified() && destination.is_broadcast()))
            || destination.is_loopback()
            || destination.octets()[0] == 0
            || self.is_local(IpAddr::V4(source))
            || self.is_directed_broadcast(source)
    }

    pub(super) fn ipv6_input(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        source_mac: MacAddr,
        link_cast: Cast,
        bytes: &[u8],
        meta: FrameMeta,
    ) {
        let Ok((header, payload)) = Ipv6Header::parse(bytes) else {
            self.counters.drop(DropReason::IpMalformed);
            return;
        };
        let destination = IpAddr::V6(header.destination);
        let cast = match self.cast_v6(interface, &header, link_cast) {
            Ok(cast) => cast,
            Err(reason) => {
                if reason == DropReason::IpNotForUs && link_cast == Cast::Unicast {
                    let whole = &bytes[..ipv6::HEADER_LEN + payload.len()];
                    let addresses = (IpAddr::V6(header.source), destination);
                    let packet = Packet::passing(interface, source_mac, addresses, header.hop_limit, whole);
                    return self.forward(pool, &packet);
                }
                self.counters.drop(reason);
                return;
            }
        };
        let whole = &bytes[..(ipv6::HEADER_LEN + usize::from(header.payload_len)).min(bytes.len())];
        let mut packet = Packet {
            interface,
            source_mac,
            source: IpAddr::V6(header.source),
            destination,
            cast,
            hop_limit: header.hop_limit,
            ecn: Ecn::of_traffic_class(header.traffic_class),
            whole,
            payload,
            meta,
        };
        let upper = match ipv6::skip_extension_headers(header.next_header, payload) {
            Ok(found) => found,
            Err(error) => {
                self.counters.drop(DropReason::IpExtension);
                if let ExtensionError::ParameterProblem { code, pointer, answer_multicast } = error
                    && (cast != Cast::Group || answer_multicast)
                {
                    self.parameter_problem(pool, &packet, code, pointer);
                }
                return;
            }
        };
        packet.payload = upper.payload;
        let is_shown = self.raw.want_packets > 0 && self.raw_input(pool, &packet, upper.protocol);
        match upper.protocol {
            protocol::TCP => self.tcp_input(pool, &packet),
            protocol::UDP => self.udp_input(pool, &packet),
            protocol::ICMPV6 => self.icmpv6_input(pool, &packet),
            protocol::FRAGMENT => self.fragment_v6(pool, &packet, &upper),
            protocol::NO_NEXT_HEADER => {}
            _ if is_shown => {}
            _ => {
                self.counters.drop(DropReason::ProtocolUnknown);
                if cast == Cast::Group {
                    return; // RFC 4443 §2.4 (e.3)
                }
                // RFC 4443 §3.4: the pointer is that of the next header field which names it.
                let (code, pointer) = (icmpv6::code::UNRECOGNIZED_NEXT_HEADER, upper.named_at as u32);
                self.parameter_problem(pool, &packet, code, pointer);
            }
        }
    }

    /// To whom a packet was sent, if it is for us and its addresses can be.
    fn cast_v6(&mut self, interface: InterfaceId, header: &Ipv6Header, link_cast: Cast) -> Result<Cast, DropReason> {
        let checked = (self.generation, interface, header.source, header.destination);
        if checked == self.last_to_us_v6 {
            return Ok(link_cast);
        }
        let destination = IpAddr::V6(header.destination);
        if self.kept_way(interface, IpAddr::V6(header.source), destination).is_some() {
            return Err(DropReason::IpNotForUs);
        }
        let is_looped = self.loopback == Some(interface);
        if !is_looped && self.is_martian_v6(header) {
            return Err(DropReason::IpMartian);
        }
        if self.is_local_on(interface, destination) {
            // What may come from this host may not come from others, and of ICMPv6 more may come (`may_be_anothers`).
            if !is_looped && header.next_header != protocol::ICMPV6 {
                self.last_to_us_v6 = checked;
            }
            return Ok(link_cast);
        }
        let is_to_group = self.is_member(interface, destination)
            || (header.next_header == protocol::HOP_BY_HOP && self.hears_reports(interface, destination));
        if is_to_group {
            return Ok(Cast::Group);
        }
        match link_cast {
            _ if !self.is_anycast(interface, header.destination) => Err(DropReason::IpNotForUs),
            Cast::Unicast => Ok(Cast::Anycast),
            cast => Ok(cast),
        }
    }

    /// RFC 4291 §2.5.2, §2.5.3, §2.5.5.2 and §2.7: addresses that are never a packet's source or destination.
    fn is_martian_v6(&self, header: &Ipv6Header) -> bool {
        let (source, destination) = (header.source, header.destination);
        let never = |address: Ipv6Addr| address.is_loopback() || address.to_ipv4_mapped().is_some();
        never(source)
            || never(destination)
            || source.is_multicast()
            || destination.is_unspecified()
            || (source.is_unspecified() && !destination.is_multicast())
            || (self.is_local(IpAddr::V6(source)) && !self.may_be_anothers(header))
    }
}

/// 240.0.0.0/4, reserved (RFC 1112 §4), the limited broadcast address included.
fn is_class_e(address: Ipv4Addr) -> bool {
    address.octets()[0] >= 240
}
