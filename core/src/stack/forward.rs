//! Forwarding: packets for others that arrive on one interface leave through another (RFC 1812 §5, RFC 8200 §3, RFC 4861 §8.2).
//!
//! Off until [`Stack::set_forwarding`] turns it on, for each interface; a packet is forwarded between two that forward. It is copied twice: its bytes from
//! `receive` into the queue of the interface that it leaves by, with the headers that it leaves with, and from there into the frame. The last ways are kept,
//! so that a flow's packets need no lookup while nothing changes.

use core::net::{IpAddr, Ipv4Addr};

use super::Stack;
use super::addressing::ConfigError;
use super::ip_input::Packet;
use super::resolution::Resolution;
use crate::address::{is_link_local, is_unicast, words};
use crate::checksum;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::{Pool, Pressure};
use crate::time::{Duration, Instant};
use crate::wire::ethernet::ethertype;
use crate::wire::{EthernetHeader, MacAddr, ethernet, icmpv4, icmpv6, ipv4, ipv6, ndp};

/// Bytes of forwarded packets that may wait on one interface, and when memory is scarce.
pub(super) const FORWARD_BYTES: u32 = 1024 * 1024;
const SCARCE_BYTES: u32 = 64 * 1024;

/// Bytes that forwarding may change: the longest IPv4 header and what comes first behind it,
/// and, for translation, what an ICMP error quotes: the same again.
const HEAD: usize = 60 + 8 + 60 + 24;

/// Ways that are kept.
const WAYS: usize = 16;

/// Least time between two redirects that one way gives rise to (RFC 1812 §5.2.7.2, RFC 4861 §8.2: rate-limited).
const REDIRECT_INTERVAL: Duration = Duration::from_secs(1);

/// How the source of a packet to forward is checked (RFC 3704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReversePath {
    /// Not at all.
    Off,
    /// Some route must lead to it (RFC 3704 §2.4).
    Loose,
    /// A route to its longest prefix must lead through the interface that the packet came in by (RFC 3704 §2.2; with several
    /// routes to it any of them, §2.3).
    #[default]
    Strict,
}

/// What an interface does with packets that are for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forwarding {
    /// IPv4 packets are forwarded; off by default.
    pub ipv4: bool,
    /// IPv6 packets are forwarded; off by default.
    pub ipv6: bool,
    /// How sources are checked of packets that come in by this interface.
    pub reverse_path: ReversePath,
    /// Tells hosts on its link of a better first hop (RFC 792, RFC 4861 §8.2).
    pub redirects: bool,
}

impl Forwarding {
    /// Both families, with redirects and the strict check of sources.
    pub const fn on() -> Self {
        Forwarding { ipv4: true, ipv6: true, reverse_path: ReversePath::Strict, redirects: true }
    }

    fn has(&self, is_ipv4: bool) -> bool {
        if is_ipv4 { self.ipv4 } else { self.ipv6 }
    }
}

/// Where packets from one host to another go that came in by an interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// What it was found under.
    generation: u32,
    from: InterfaceId,
    /// Source and destination.
    key: WayKey,
    is_ipv4: bool,
    to: InterfaceId,
    hop: IpAddr,
    /// None while the neighbour is asked: such a way is not kept.
    station: Option<MacAddr>,
    mtu: u16,
    /// The source had better send to the next hop itself.
    is_detour: bool,
    /// When it was told.
    redirected: Option<Instant>,
}

/// Source and destination as words, which are hashed and compared faster than addresses.
type WayKey = [[u64; 2]; 2];

/// The last ways.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways([Option<Way>; WAYS]);

impl Ways {
    fn place([[a, b], [c, d]]: &WayKey) -> usize {
        let mixed = (a ^ b).wrapping_mul(3) ^ (c ^ d);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize % WAYS
    }
}

/// A packet on its way through: the copy of its beginning that changes, and the rest of it.
pub(super) struct Transit<'a> {
    /// As it came in, but for the destination if that was translated.
    pub(super) packet: Packet<'a>,
    head: [u8; HEAD],
    head_len: usize,
    header_len: usize,
    is_translated: bool,
}

impl<'a> Transit<'a> {
    pub(super) fn new(packet: &Packet<'a>) -> Self {
        let mut head = [0; HEAD];
        let head_len = packet.whole.len().min(HEAD);
        head[..head_len].copy_from_slice(&packet.whole[..head_len]);
        let is_ipv4 = packet.destination.is_ipv4();
        let header_len = if is_ipv4 { usize::from(head[0] & 0x0f) * 4 } else { ipv6::HEADER_LEN };
        Transit { packet: *packet, head, head_len, header_len, is_translated: false }
    }

    /// The beginning of the packet as it leaves.
    pub(super) fn head_mut(&mut self) -> &mut [u8] {
        &mut self.head[..self.head_len]
    }

    /// The head has another destination now.
    pub(super) fn translated_to(&mut self, destination: Ipv4Addr) {
        self.packet.destination = IpAddr::V4(destination);
        self.is_translated = true;
    }

    /// What follows the bytes of the head.
    fn rest(&self) -> &'a [u8] {
        &self.packet.whole[self.head_len..]
    }

    /// RFC 1812 §5.3.1, with the checksum as RFC 1624 §3 says; RFC 8200 §3.
    fn decrement_hop_limit(&mut self) {
        let head = &mut self.head;
        if self.packet.destination.is_ipv4() {
            let old = u16::from_be_bytes([head[8], head[9]]);
            head[8] -= 1;
            let sum = u16::from_be_bytes([head[10], head[11]]);
            head[10..12].copy_from_slice(&checksum::changed(sum, old, old - 0x100).to_be_bytes());
        } else {
            head[7] -= 1;
        }
    }
}

impl Stack<'_> {
    /// Says what an interface does with packets that are for others.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn set_forwarding(&mut self, interface: InterfaceId, forwarding: Forwarding) -> Result<(), ConfigError> {
        let found = self.interfaces.get_mut(u32::from(interface.0)).ok_or(ConfigError::NoSuchInterface(interface))?;
        let was_ipv6 = core::mem::replace(&mut found.forwarding, forwarding).ipv6;
        if was_ipv6 != forwarding.ipv6 {
            self.set_router_groups(interface, forwarding.ipv6);
        }
        self.invalidate_paths();
        Ok(())
    }

    /// What an interface does with packets that are for others.
    pub fn forwarding(&self, interface: InterfaceId) -> Option<Forwarding> {
        self.interfaces.get(u32::from(interface.0)).map(|found| found.forwarding)
    }

    /// A packet that is not for us, in a frame that was: its way, or its end.
    pub(super) fn forward(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) {
        if self.takes_any_address(packet.interface) && self.any_address_input(pool, packet) {
            return;
        }
        let forwards = self.forwarding(packet.interface).is_some_and(|found| found.has(packet.destination.is_ipv4()));
        if !forwards {
            self.counters.drop(DropReason::IpNotForUs);
            return;
        }
        if packet.whole[0] & 0x0f > 5 && packet.destination.is_ipv4() && !self.may_options_pass(pool, packet) {
            return;
        }
        self.pass_on(pool, Transit::new(packet));
    }

    /// Options go on as they are, but for source routes (RFC 7126 §4.3 and §4.4); those that cannot be are reported (RFC 1812 §5.2.4.1).
    #[cold]
    fn may_options_pass(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) -> bool {
        let header_len = usize::from(packet.whole[0] & 0x0f) * 4;
        let Err(error) = ipv4::check_options(&packet.whole[ipv4::HEADER_LEN..header_len]) else { return true };
        self.counters.drop(DropReason::IpOptions);
        if let ipv4::OptionError::Malformed { at } = error {
            let pointer = ((ipv4::HEADER_LEN + at) as u32) << 24;
            self.transit_error(pool, packet, (icmpv4::kind::PARAMETER_PROBLEM, 0), pointer);
        }
        false
    }

    /// Sends a packet on.
    pub(super) fn pass_on(&mut self, pool: &mut Pool<'_>, mut transit: Transit<'_>) {
        let packet = &transit.packet;
        let Some(way) = self.way_of(pool, packet) else { return };
        // RFC 1812 §5.3.1, RFC 4443 §3.3.
        if packet.hop_limit <= 1 {
            let errors = (icmpv4::kind::TIME_EXCEEDED, icmpv4::code::TTL_EXCEEDED);
            let errors_v6 = (icmpv6::kind::TIME_EXCEEDED, icmpv6::code::HOP_LIMIT_EXCEEDED);
            return self.not_forwarded(pool, packet, DropReason::HopLimitExceeded, errors, errors_v6, 0);
        }
        if way.is_detour && !transit.is_translated {
            self.redirect(pool, packet, &way);
        }
        if self.nat.is_on() && packet.destination.is_ipv4() {
            if !transit.is_translated && !self.may_enter(way.from, way.to) {
                self.counters.drop(DropReason::NatFiltered);
                return;
            }
            if self.is_translated(way.from, way.to) && !self.nat_outbound(pool, &mut transit) {
                return;
            }
        }
        transit.decrement_hop_limit();
        if transit.packet.whole.len() > usize::from(way.mtu) {
            return self.pass_on_large(pool, &transit, &way);
        }
        let rest = transit.rest();
        self.queue_forwarded(pool, &way, [&transit.head[..transit.head_len], rest, &[]]);
    }

    /// The way of a packet, the last ones without a lookup. None if it ends here.
    fn way_of(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) -> Option<Way> {
        let Packet { interface, source, destination, .. } = *packet;
        if let Some(way) = self.kept_way(interface, source, destination) {
            return Some(*way);
        }
        let way = self.find_way(pool, packet)?;
        // With the address of the next hop unknown, each packet asks for it.
        if way.station.is_some() {
            self.ways.0[Ways::place(&way.key)] = Some(way);
        }
        Some(way)
    }

    /// The way of packets like those that have gone on lately, if nothing has changed since: then they are not for us either.
    #[inline(never)] // Called from three places: one copy is enough.
    pub(super) fn kept_way(&self, from: InterfaceId, source: IpAddr, destination: IpAddr) -> Option<&Way> {
        let key = [words(source), words(destination)];
        let way = self.ways.0[Ways::place(&key)].as_ref()?;
        // An IPv4 address and the IPv6 address that it is mapped to are the same words.
        let is_same = way.from == from && way.key == key && way.is_ipv4 == destination.is_ipv4();
        (is_same && way.generation == self.generation).then_some(way)
    }

    #[cold]
    fn find_way(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) -> Option<Way> {
        let Packet { interface: from, source, destination, .. } = *packet;
        let is_ipv4 = destination.is_ipv4();
        let unreachable =
            |v4, v6| ((icmpv4::kind::DESTINATION_UNREACHABLE, v4), (icmpv6::kind::DESTINATION_UNREACHABLE, v6));
        // RFC 3927 §7 and RFC 4291 §2.5.6: link-local addresses are never forwarded. Groups are not routed here.
        if is_local_scope(source) || is_local_scope(destination) || !is_unicast(source) || !is_routable(destination) {
            let (v4, v6) = unreachable(icmpv4::code::NETWORK_UNREACHABLE, icmpv6::code::BEYOND_SCOPE);
            if is_ipv4 || !is_link_local(source) || is_local_scope(destination) {
                self.counters.drop(DropReason::ForwardScope);
            } else {
                self.not_forwarded(pool, packet, DropReason::ForwardScope, v4, v6, 0);
            }
            return None;
        }
        if !self.is_source_plausible(from, source) {
            self.counters.drop(DropReason::ReversePath);
            return None;
        }
        let Some((to, hop)) = self.way_to(destination, None) else {
            // RFC 1812 §5.2.7.1, RFC 4443 §3.1 code 0.
            let (v4, v6) = unreachable(icmpv4::code::NETWORK_UNREACHABLE, icmpv6::code::NO_ROUTE);
            self.not_forwarded(pool, packet, DropReason::NoRoute, v4, v6, 0);
            return None;
        };
        let allowed = self.forwarding(to).is_some_and(|found| found.has(is_ipv4));
        if !allowed {
            let (v4, v6) =
                unreachable(icmpv4::code::ADMINISTRATIVELY_PROHIBITED, icmpv6::code::ADMINISTRATIVELY_PROHIBITED);
            self.not_forwarded(pool, packet, DropReason::ForwardProhibited, v4, v6, 0);
            return None;
        }
        let station = match self.resolve(pool, to, hop) {
            Resolution::Ready(mac) => Some(mac),
            Resolution::Pending(_) => None,
            Resolution::TableFull => {
                self.counters.drop(DropReason::NeighborTableFull);
                return None;
            }
        };
        let is_detour = to == from
            && self.forwarding(from).is_some_and(|found| found.redirects)
            && self.is_on_link(from, source)
            // RFC 4861 §8.2: the target is the destination, or a router by its link-local address.
            && (is_ipv4 || hop == destination || is_link_local(hop));
        let (generation, mtu) = (self.generation, self.mtu(to));
        let key = [words(source), words(destination)];
        Some(Way { generation, from, key, is_ipv4, to, hop, station, mtu, is_detour, redirected: None })
    }

    /// RFC 3704 §2, RFC 1812 §5.3.8.
    fn is_source_plausible(&mut self, from: InterfaceId, source: IpAddr) -> bool {
        match self.forwarding(from).map(|found| found.reverse_path) {
            Some(ReversePath::Off) => true,
            Some(ReversePath::Loose) => self.way_to(source, None).is_some(),
            Some(ReversePath::Strict) => self.leads_through(from, source),
            None => false,
        }
    }

    /// Queues a packet on the interface that it leaves by, or has it wait for its next hop.
    fn queue_forwarded(&mut self, pool: &mut Pool<'_>, way: &Way, parts: [&[u8]; 3]) {
        let Some(station) = way.station else {
            if let Resolution::Pending(entry) = self.resolve(pool, way.to, way.hop) {
                self.counters.forwarded += 1;
                self.wait_for_neighbor(pool, entry, &parts);
            }
            return;
        };
        let ethertype = if way.is_ipv4 { ethertype::IPV4 } else { ethertype::IPV6 };
        let mut link = [0; ethernet::HEADER_LEN];
        let is_scarce = pool.pressure(&self.account) != Pressure::None;
        let Some(found) = self.interfaces.get_mut(u32::from(way.to.0)) else { return };
        EthernetHeader { destination: station, source: found.config.mac, ethertype }.emit(&mut link);
        // Who forwards keeps memory free for those who hold connections.
        let has_room = !is_scarce || found.forward.bytes() < SCARCE_BYTES;
        if has_room && found.forward.push(pool, &mut self.account, 0, &[&link, parts[0], parts[1], parts[2]]) {
            self.counters.forwarded += 1;
        } else {
            self.counters.drop(DropReason::ForwardQueueFull);
        }
    }

    /// A packet that is longer than its next link takes: RFC 1812 §5.2.7.1 and §4.2.2.7, RFC 4443 §3.2.
    #[cold]
    fn pass_on_large(&mut self, pool: &mut Pool<'_>, transit: &Transit<'_>, way: &Way) {
        const DONT_FRAGMENT: u8 = 0x40;
        if way.is_ipv4 && transit.head[6] & DONT_FRAGMENT == 0 {
            return self.pass_on_in_fragments(pool, transit, way);
        }
        let errors = (icmpv4::kind::DESTINATION_UNREACHABLE, icmpv4::code::FRAGMENTATION_NEEDED);
        let errors_v6 = (icmpv6::kind::PACKET_TOO_BIG, 0);
        let mtu = u32::from(way.mtu);
        self.not_forwarded(pool, &transit.packet, DropReason::PacketTooBig, errors, errors_v6, mtu);
    }

    /// RFC 791 §3.2, "An Example Fragmentation Procedure".
    fn pass_on_in_fragments(&mut self, pool: &mut Pool<'_>, transit: &Transit<'_>, way: &Way) {
        const MORE_FRAGMENTS: u16 = 0x2000;
        let mut header = [0; 60];
        let mut header_len = transit.header_len;
        header[..header_len].copy_from_slice(&transit.head[..header_len]);
        let (first, rest) = (&transit.head[header_len..transit.head_len], transit.rest());
        let total = first.len() + rest.len();
        let field = u16::from_be_bytes([header[6], header[7]]);
        let mut at = 0;
        while at < total {
            let room = (usize::from(way.mtu) - header_len) & !7;
            let end = if total - at <= usize::from(way.mtu) - header_len { total } else { at + room };
            let more = if end < total { MORE_FRAGMENTS } else { field & MORE_FRAGMENTS };
            // The offset counts in units of 8 bytes.
            let place = (field & !MORE_FRAGMENTS).wrapping_add((at / 8) as u16) | more;
            header[0] = 0x40 | (header_len / 4) as u8;
            header[2..4].copy_from_slice(&((header_len + end - at) as u16).to_be_bytes());
            header[6..8].copy_from_slice(&place.to_be_bytes());
            header[10..12].fill(0);
            let sum = checksum::sum(&header[..header_len]).finish();
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            let in_first = &first[at.min(first.len())..end.min(first.len())];
            let in_rest = &rest[at.max(first.len()) - first.len()..end.max(first.len()) - first.len()];
            self.queue_forwarded(pool, way, [&header[..header_len], in_first, in_rest]);
            if at == 0 {
                header_len = keep_copied_options(&mut header, header_len);
            }
            at = end;
        }
    }

    /// Tells a host on the link of a first hop that is nearer to where it sends (RFC 1812 §5.2.7.2, RFC 4861 §8.2).
    #[cold]
    fn redirect(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, way: &Way) {
        let now = self.now;
        let Some(kept) = self.ways.0[Ways::place(&way.key)].as_mut().filter(|_| way.station.is_some()) else { return };
        if kept.redirected.is_some_and(|told| now.since(told) < REDIRECT_INTERVAL) {
            return;
        }
        kept.redirected = Some(now);
        match (way.hop, packet.source, packet.destination) {
            (IpAddr::V4(gateway), ..) => {
                let code = icmpv4::code::REDIRECT_HOST;
                self.transit_error(pool, packet, (icmpv4::kind::REDIRECT, code), gateway.to_bits());
            }
            (IpAddr::V6(target), IpAddr::V6(to), IpAddr::V6(about)) => {
                // RFC 4861 §4.5: from the link-local address of the interface.
                let from = ipv6::link_local(self.mac(way.from));
                if !self.take_icmp_token() {
                    return;
                }
                let mut message = [0; ndp::redirect_len(usize::MAX)];
                let len = ndp::emit_redirect(from, to, &mut message, (target, about), way.station, packet.whole);
                self.send_ndp(pool, way.from, packet.source_mac, from, to, &message[..len]);
            }
            _ => {}
        }
    }

    /// Counts a packet that ends here, and tells its sender so.
    #[cold]
    fn not_forwarded(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        reason: DropReason,
        error: (u8, u8),
        error_v6: (u8, u8),
        rest: u32,
    ) {
        self.counters.drop(reason);
        let error = if packet.destination.is_ipv4() { error } else { error_v6 };
        self.transit_error(pool, packet, error, rest);
    }

    /// An error about a packet that is not for us, from the address of the interface that it came in by (RFC 1812 §4.3.2.4).
    pub(super) fn transit_error(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        (kind, code): (u8, u8),
        rest: u32,
    ) {
        if let Some(source) = self.source_on(packet.interface, packet.source) {
            self.send_error_from(pool, packet, source, kind, code, rest);
        }
    }

    /// The next hop of a packet did not answer: its sender is told, unless that is this host (RFC 1812 §5.2.7.1, RFC 4443 §3.1
    /// code 3). `quote` is the beginning of the packet.
    #[cold]
    pub(super) fn next_hop_unreachable(&mut self, pool: &mut Pool<'_>, quote: &mut [u8]) {
        if self.nat.is_on() && quote.first().is_some_and(|first| first >> 4 == 4) {
            self.nat_undo(quote);
        }
        let Some((source, destination)) = addresses_of(quote).filter(|(source, _)| !self.is_local(*source)) else {
            return;
        };
        let Some((interface, _)) = self.way_to(source, None) else { return };
        let packet = Packet::passing(interface, MacAddr([0; 6]), (source, destination), 0, quote);
        let error = match source {
            IpAddr::V4(_) => (icmpv4::kind::DESTINATION_UNREACHABLE, icmpv4::code::HOST_UNREACHABLE),
            IpAddr::V6(_) => (icmpv6::kind::DESTINATION_UNREACHABLE, icmpv6::code::ADDRESS_UNREACHABLE),
        };
        self.transit_error(pool, &packet, error, 0);
    }
}

/// Leaves of the options those that go into every fragment (RFC 791 §3.1, the copied flag); returns the header's new length.
fn keep_copied_options(header: &mut [u8; 60], header_len: usize) -> usize {
    const COPIED: u8 = 0x80;
    let options = *header;
    let (mut from, mut to) = (ipv4::HEADER_LEN, ipv4::HEADER_LEN);
    while from < header_len {
        let len = match (options[from], options.get(from + 1)) {
            (0, _) => break,
            (1, _) => 1,
            (_, Some(&len)) if len >= 2 && from + usize::from(len) <= header_len => usize::from(len),
            _ => break,
        };
        if options[from] & COPIED != 0 {
            header[to..to + len].copy_from_slice(&options[from..from + len]);
            to += len;
        }
        from += len;
    }
    let end = to.next_multiple_of(4);
    header[to..end].fill(0);
    end
}

/// Source and destination of a packet that begins with these bytes.
fn addresses_of(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    if packet.first()? >> 4 == 4 {
        let addresses = packet.get(12..20)?.as_chunks::<4>().0;
        Some((IpAddr::from(addresses[0]), IpAddr::from(addresses[1])))
    } else {
        let addresses = packet.get(8..40)?.as_chunks::<16>().0;
        Some((IpAddr::from(addresses[0]), IpAddr::from(addresses[1])))
    }
}

/// Whether an address is known on its link only: 169.254.0.0/16 (RFC 3927) or fe80::/10.
fn is_local_scope(address: IpAddr) -> bool {
    is_link_local(address) || matches!(address, IpAddr::V4(address) if address.is_link_local())
}

/// Whether packets for an address may go on: to one host, of a class that is in use (RFC 1812 §5.3.7).
pub(super) fn is_routable(address: IpAddr) -> bool {
    is_unicast(address) && !matches!(address, IpAddr::V4(address) if address.octets()[0] >= 240)
}
