//! ICMP and ICMPv6 (RFC 792, RFC 1122 §3.2.2, RFC 4443): echo, errors in and out.

use core::net::{IpAddr, Ipv6Addr};

use super::addressing::IPV6_MIN_MTU;
use super::error_reports::ErrorReport;
use super::flow::{Flow, link_of};
use super::interface::ControlKind;
use super::ip_input::{Cast, Packet};
use super::nodes::Node;
use super::transmit::IpHead;
use super::{FrameMeta, Stack};
use crate::address::is_unicast;
use crate::checksum::{self, Sum};
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::tcp::pmtu::reported_mtu;
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};
use crate::wire::{
    AdvertisementFlags, Ecn, Icmpv4Message, Icmpv6Message, MacAddr, NdpOptions, WireError, icmpv4, icmpv6, ipv4, ipv6,
    ndp, protocol,
};

/// IPv4's precedence 6 (RFC 791 §3.1).
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// A token bucket that keeps the rate of ICMP errors down (RFC 4443 §2.4 (f)): 1,000 a second, 50 at once, as in Linux.
#[derive(Clone, Debug)]
pub(super) struct TokenBucket {
    tokens: u64,
    filled: Instant,
}

impl TokenBucket {
    const PER_SECOND: u64 = 1_000;
    const BURST: u64 = 50;
    /// Microseconds in which one token comes in.
    const INTERVAL: u64 = 1_000_000 / Self::PER_SECOND;

    pub(super) fn new() -> Self {
        TokenBucket { tokens: Self::BURST, filled: Instant::ZERO }
    }

    fn take(&mut self, now: Instant) -> bool {
        let gained = now.since(self.filled).as_micros() / Self::INTERVAL;
        if gained > 0 {
            self.tokens = (self.tokens + gained).min(Self::BURST);
            self.filled += Duration::from_micros(gained * Self::INTERVAL);
        }
        let allowed = self.tokens > 0;
        self.tokens -= u64::from(allowed);
        allowed
    }
}

/// Why something cannot be reached, in the codes of RFC 792's destination unreachable, for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Unreachable(u8),
    /// The path's MTU in bytes.
    TooBig(u16),
    /// TTL or hop limit used up on the way, or fragments that did not come together.
    TimeExceeded {
        in_transit: bool,
    },
    /// The other end did not like a header of ours: in IPv6 perhaps the one that TCP is.
    Parameter {
        next_header: bool,
    },
}

/// The packet that an error quotes.
pub(super) struct Quoted<'a> {
    pub(super) protocol: u8,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// What follows the IP header: at least 8 bytes.
    payload: &'a [u8],
}

impl Quoted<'_> {
    /// The flow of a packet of ours that TCP or UDP has sent, which an error is about that came by an interface.
    pub(super) fn flow(&self, interface: InterfaceId) -> Option<Flow> {
        let &[a, b, c, d, ..] = self.payload.first_chunk::<8>()?;
        Some(Flow {
            local: self.source,
            remote: self.destination,
            local_port: u16::from_be_bytes([a, b]),
            remote_port: u16::from_be_bytes([c, d]),
            link: link_of(self.destination, interface),
        })
    }
}

/// What an ICMP error quotes, if the message is one.
pub(super) fn quoted(message: &[u8], is_ipv4: bool) -> Option<Quoted<'_>> {
    let (header, original) = message.split_first_chunk::<8>()?;
    match (is_ipv4, header[0]) {
        (
            true,
            icmpv4::kind::DESTINATION_UNREACHABLE | icmpv4::kind::TIME_EXCEEDED | icmpv4::kind::PARAMETER_PROBLEM,
        ) => quoted_v4(original),
        // RFC 4443 §2.1: errors have the types below 128.
        (false, ..128) => quoted_v6(original),
        _ => None,
    }
}

impl Stack<'_> {
    pub(super) fn icmpv4_input(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) {
        let message = match Icmpv4Message::parse(packet.payload) {
            Ok(message) => message,
            Err(error) => return self.bad_icmp(error),
        };
        match message {
            Icmpv4Message::EchoRequest { identifier, sequence, data } => {
                self.echo_request(pool, packet, icmpv4::kind::ECHO_REPLY, identifier, sequence, data);
            }
            Icmpv4Message::EchoReply { identifier, sequence, data } => {
                self.echo_reply(packet, identifier, sequence, data);
            }
            Icmpv4Message::DestinationUnreachable { code, next_hop_mtu, original }
                if code <= icmpv4::code::PRECEDENCE_CUTOFF =>
            {
                let problem = match code {
                    icmpv4::code::FRAGMENTATION_NEEDED => {
                        Problem::TooBig(reported_mtu(next_hop_mtu, total_len(original)))
                    }
                    _ => Problem::Unreachable(code),
                };
                self.icmp_error(pool, packet, problem, quoted_v4(original));
            }
            Icmpv4Message::TimeExceeded { code, original } => {
                let in_transit = code == icmpv4::code::TTL_EXCEEDED;
                self.icmp_error(pool, packet, Problem::TimeExceeded { in_transit }, quoted_v4(original));
            }
            Icmpv4Message::ParameterProblem { original, .. } => {
                self.icmp_error(pool, packet, Problem::Parameter { next_header: false }, quoted_v4(original));
            }
            Icmpv4Message::Redirect { code, gateway, original } => {
                self.redirected_v4(packet, code, gateway, quoted_v4(original));
            }
            // Source quench (RFC 6633) among them.
            _ => self.counters.drop(DropReason::IcmpIgnored),
        }
    }

    pub(super) fn icmpv6_input(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination) else { return };
        let message = match Icmpv6Message::parse(source, destination, packet.payload) {
            Ok(message) => message,
            Err(error) => return self.bad_icmp(error),
        };
        match message {
            Icmpv6Message::EchoRequest { identifier, sequence, data } => {
                self.echo_request(pool, packet, icmpv6::kind::ECHO_REPLY, identifier, sequence, data);
            }
            Icmpv6Message::EchoReply { identifier, sequence, data } => {
                self.echo_reply(packet, identifier, sequence, data);
            }
            Icmpv6Message::NeighborSolicitation { target, options } => {
                if self.is_valid_discovery(packet, target, options) {
                    self.neighbor_solicitation(pool, packet, (source, destination), target, options);
                }
            }
            Icmpv6Message::NeighborAdvertisement { router, solicited, override_, target, options } => {
                // RFC 4861 §7.1.2: an advertisement to a group is never solicited.
                let contradicts = solicited && destination.is_multicast();
                if contradicts {
                    self.counters.drop(DropReason::NeighborDiscoveryInvalid);
                } else if self.is_valid_discovery(packet, target, options) {
                    let flags = AdvertisementFlags { router, solicited, override_ };
                    self.neighbor_advertisement(pool, packet.interface, target, flags, options);
                }
            }
            // RFC 2710 §3, RFC 3810 §5.
            Icmpv6Message::Other { kind: kind @ (130..=132 | 143), .. } => self.mld_input(packet, kind),
            Icmpv6Message::RouterSolicitation { options } => {
                if self.is_valid_discovery(packet, source, options) {
                    self.router_solicitation(pool, packet, options);
                }
            }
            Icmpv6Message::RouterAdvertisement { advertisement, options } => {
                if self.is_valid_discovery(packet, source, options) {
                    self.router_advertisement(pool, packet, source, &advertisement, options);
                }
            }
            Icmpv6Message::Redirect { target, destination, options } => {
                if self.is_valid_discovery(packet, target, options) {
                    self.redirected_v6(pool, packet, target, destination, options);
                }
            }
            Icmpv6Message::DestinationUnreachable { code, original } => {
                let problem = Problem::Unreachable(unreachable_code_v4(code));
                self.icmp_error(pool, packet, problem, quoted_v6(original));
            }
            // RFC 8201 §4: "If a node receives a Packet Too Big message reporting a next-hop MTU that is less than the IPv6 minimum link
            // MTU, it must discard it."
            Icmpv6Message::PacketTooBig { mtu, original } if mtu >= u32::from(IPV6_MIN_MTU) => {
                let mtu = mtu.min(u32::from(u16::MAX)) as u16;
                self.icmp_error(pool, packet, Problem::TooBig(mtu), quoted_v6(original));
            }
            Icmpv6Message::TimeExceeded { code, original } => {
                let in_transit = code == icmpv6::code::HOP_LIMIT_EXCEEDED;
                self.icmp_error(pool, packet, Problem::TimeExceeded { in_transit }, quoted_v6(original));
            }
            Icmpv6Message::ParameterProblem { code, original, .. } => {
                let next_header = code == icmpv6::code::UNRECOGNIZED_NEXT_HEADER;
                self.icmp_error(pool, packet, Problem::Parameter { next_header }, quoted_v6(original));
            }
            _ => self.counters.drop(DropReason::IcmpIgnored),
        }
    }

    /// Whether one more message may be sent that nobody has asked for.
    pub(super) fn take_icmp_token(&mut self) -> bool {
        let allowed = self.icmp_bucket.take(self.now);
        if !allowed {
            self.counters.drop(DropReason::IcmpRateLimited);
        }
        allowed
    }

    fn bad_icmp(&mut self, error: WireError) {
        self.counters.drop(match error {
            WireError::BadChecksum => DropReason::IcmpChecksum,
            _ => DropReason::IcmpMalformed,
        });
    }

    /// RFC 4861 §6.1.2, §7.1.1, §7.1.2 and §8.1, the checks that all these messages share.
    fn is_valid_discovery(&mut self, packet: &Packet<'_>, target: Ipv6Addr, options: &[u8]) -> bool {
        let code = packet.payload.get(1).copied().unwrap_or(0);
        let options = NdpOptions::new(options);
        // RFC 6980 §5: "Nodes MUST silently ignore the following Neighbor Discovery [...] messages if the packets carrying them include an
        // IPv6 Fragmentation Header", that of a packet in one piece among them.
        let (header, rest) = packet.whole.split_at(ipv6::HEADER_LEN);
        let is_atomic_fragment =
            ipv6::skip_extension_headers(header[6], rest).is_ok_and(|upper| upper.is_atomic_fragment);
        // Without stations there is nothing to ask a neighbour for; routers may still advertise.
        let kind = packet.payload.first().copied().unwrap_or(0);
        let is_for_stations = kind >= icmpv6::kind::NEIGHBOR_SOLICITATION;
        let valid = packet.hop_limit == ndp::NDP_HOP_LIMIT
            && (!is_for_stations || self.has_stations(packet.interface))
            && !self.is_delivering_datagram()
            && !is_atomic_fragment
            && code == 0
            && !target.is_multicast()
            && options.are_well_formed()
            && (!packet.source.is_unspecified() || options.source_link_layer_address().is_none());
        if !valid {
            self.counters.drop(DropReason::NeighborDiscoveryInvalid);
        }
        valid
    }

    /// RFC 1122 §3.2.2.6, RFC 4443 §4.2. Requests to a broadcast address are not answered (smurf attacks); those to an
    /// IPv6 group are, from an address of the interface.
    fn echo_request(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        reply_kind: u8,
        identifier: u16,
        sequence: u16,
        data: &[u8],
    ) {
        let is_answered = packet.cast == Cast::Unicast || packet.destination.is_ipv6();
        let source = self.answering_address(packet).filter(|_| is_answered && is_unicast(packet.source));
        let Some(source) = source else {
            self.counters.drop(DropReason::IcmpIgnored);
            return;
        };
        let header = echo_header(source, packet.source, reply_kind, identifier, sequence, data);
        // RFC 1349 §5.1: "An ICMP reply message is sent with the same value in the TOS field as was used in the corresponding ICMP request".
        let traffic_class = dscp(packet.whole);
        let head = IpHead { traffic_class, ..IpHead::new(source, packet.source, icmp_protocol(source)) };
        self.queue_packet(pool, Some(packet.interface), ControlKind::Icmp, &head, [&header, data]);
    }

    /// An error about a packet that we are said to have sent.
    fn icmp_error(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, problem: Problem, quoted: Option<Quoted<'_>>) {
        let handled = match quoted {
            Some(quoted)
                if packet.cast == Cast::Unicast
                    && (self.is_local(quoted.source) || quoted.source == packet.destination) =>
            {
                self.error_about(pool, packet, problem, &quoted)
            }
            _ => false,
        };
        if !handled {
            self.counters.drop(DropReason::IcmpIgnored);
        }
    }

    fn error_about(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, problem: Problem, quoted: &Quoted<'_>) -> bool {
        let Some(flow) = quoted.flow(packet.interface) else { return false };
        let Some(&[a, _, _, _, e, f, g, h]) = quoted.payload.first_chunk::<8>() else { return false };
        match quoted.protocol {
            protocol::TCP => {
                let sequence = Seq(u32::from_be_bytes([e, f, g, h]));
                self.tcp_problem(pool, packet, &flow, sequence, problem)
            }
            protocol::UDP => self.udp_problem(pool, &flow, problem, packet, quoted.payload),
            // Of ICMP only what we ask is looked into: an error that quotes an error leads nowhere.
            protocol::ICMP if a == icmpv4::kind::ECHO_REQUEST => {
                self.ping_problem(packet, quoted, [e, f, g, h], problem)
            }
            protocol::ICMPV6 if a == icmpv6::kind::ECHO_REQUEST => {
                self.ping_problem(packet, quoted, [e, f, g, h], problem)
            }
            _ => false,
        }
    }

    /// Learns the MTU of the path to whom a datagram was sent. Less than what Linux believes makes fragments too small to be worth sending.
    pub(super) fn learn_path_mtu(&mut self, destination: IpAddr, mtu: u16) {
        let least = if destination.is_ipv4() { 552 } else { IPV6_MIN_MTU };
        self.set_path_mtu(self.now, destination, mtu.max(least));
    }

    /// An error about a segment of ours that began at `sequence`.
    fn tcp_problem(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        flow: &Flow,
        sequence: Seq,
        problem: Problem,
    ) -> bool {
        let Some(number) = self.find_flow(self.flow_hash(flow), flow) else { return false };
        let index = match self.nodes.node(number) {
            Node::Connection(index) => index,
            Node::HalfOpen(index) => return self.half_open_problem(index, sequence, problem),
            _ => return false,
        };
        let key = self.connections.key(index);
        let mut handled = false;
        let mut learned = None;
        self.with_connection(pool, index, |connection, context| {
            let outcome = match problem {
                Problem::TooBig(mtu) => connection.packet_too_big(context, sequence, mtu),
                _ => connection.icmp_error(context, sequence, problem),
            };
            handled = outcome.is_some();
            if matches!(problem, Problem::TooBig(_)) && handled {
                learned = Some(connection.path_mtu.mtu());
            }
            outcome.unwrap_or_default()
        });
        if let Some(mtu) = learned {
            self.set_path_mtu(self.now, flow.remote, mtu);
        } else if let (true, Some(key), Some(report)) = (handled, key, ErrorReport::of(problem, packet)) {
            self.error_reports.push(key, report);
        }
        handled
    }

    /// Nobody was told of a half-open connection yet, so that it ends in silence (as in Linux).
    fn half_open_problem(&mut self, index: u32, sequence: Seq, problem: Problem) -> bool {
        let Some(half_open) = self.half_open.get(index).filter(|found| found.iss == sequence) else { return false };
        if problem.ends_half_open(half_open.flow.is_ipv4()) {
            self.remove_half_open(index);
        }
        true
    }

    /// Tells the sender that nobody has the port (RFC 1122 §3.2.2.1, RFC 4443 §3.1 code 4).
    pub(super) fn port_unreachable(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) {
        let (kind, code) = match packet.destination {
            IpAddr::V4(_) => (icmpv4::kind::DESTINATION_UNREACHABLE, icmpv4::code::PORT_UNREACHABLE),
            IpAddr::V6(_) => (icmpv6::kind::DESTINATION_UNREACHABLE, icmpv6::code::PORT_UNREACHABLE),
        };
        self.send_error(pool, packet, kind, code, 0);
    }

    /// Tells the sender that we don't speak the protocol (RFC 1122 §3.2.2.1).
    pub(super) fn protocol_unreachable(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) {
        let (kind, code) = (icmpv4::kind::DESTINATION_UNREACHABLE, icmpv4::code::PROTOCOL_UNREACHABLE);
        self.send_error(pool, packet, kind, code, 0);
    }

    /// Tells the sender which byte of the IPv4 header makes no sense (RFC 1122 §3.2.2.5).
    pub(super) fn parameter_problem_v4(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, pointer: u8) {
        self.send_error(pool, packet, icmpv4::kind::PARAMETER_PROBLEM, 0, u32::from(pointer) << 24);
    }

    /// RFC 4443 §3.4.
    pub(super) fn parameter_problem(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, code: u8, pointer: u32) {
        if let Some(source) = self.answering_address(packet) {
            let kind = icmpv6::kind::PARAMETER_PROBLEM;
            self.send_error_from(pool, packet, source, kind, code, pointer);
        }
    }

    /// Tells the sender of fragments that they did not come together in time; `quote` is the first of them.
    pub(super) fn reassembly_time_exceeded(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        (source, destination): (IpAddr, IpAddr),
        quote: &[u8],
    ) {
        let packet = Packet {
            interface,
            source_mac: MacAddr([0; 6]),
            source,
            destination,
            cast: Cast::Unicast,
            hop_limit: 0,
            ecn: Ecn::NotEct,
            whole: quote,
            payload: &[],
            meta: FrameMeta::default(),
        };
        let (kind, code) = match destination {
            IpAddr::V4(_) => (icmpv4::kind::TIME_EXCEEDED, icmpv4::code::REASSEMBLY_TIME_EXCEEDED),
            IpAddr::V6(_) => (icmpv6::kind::TIME_EXCEEDED, icmpv6::code::REASSEMBLY_TIME_EXCEEDED),
        };
        self.send_error(pool, &packet, kind, code, 0);
    }

    /// The address that answers a packet: the one that it was for, or one of the interface's if others have that too (RFC 4443 §2.2).
    #[inline(never)] // Called from three places: one copy is enough.
    fn answering_address(&self, packet: &Packet<'_>) -> Option<IpAddr> {
        match packet.cast {
            Cast::Unicast => Some(packet.destination),
            Cast::Anycast | Cast::Group => self.source_on(packet.interface, packet.source),
        }
    }

    fn send_error(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, kind: u8, code: u8, rest: u32) {
        // RFC 1122 §3.2.2: never about a packet to a group, nor from what is not one host.
        if packet.cast != Cast::Group
            && let Some(source) = self.answering_address(packet)
        {
            self.send_error_from(pool, packet, source, kind, code, rest);
        }
    }

    pub(super) fn send_error_from(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        source: IpAddr,
        kind: u8,
        code: u8,
        rest: u32,
    ) {
        if !is_unicast(packet.source) || !may_be_reported(packet.whole) || !self.take_icmp_token() {
            return;
        }
        let mut message = [0; icmpv6::error_len(usize::MAX)];
        let len = match (source, packet.source) {
            (IpAddr::V4(_), _) => icmpv4::emit_error(&mut message, kind, code, rest, packet.whole),
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                icmpv6::emit_error(from, to, &mut message, kind, code, rest, packet.whole)
            }
            _ => return,
        };
        // RFC 1812 §4.3.2.5: errors "SHOULD have their IP Precedence field set to the value 6 or 7", as in Linux.
        let traffic_class = if source.is_ipv4() { INTERNETWORK_CONTROL } else { 0 };
        let head = IpHead { traffic_class, ..IpHead::new(source, packet.source, icmp_protocol(source)) };
        self.queue_packet(pool, Some(packet.interface), ControlKind::Icmp, &head, [&message[..len], &[]]);
    }
}

/// RFC 1122 §3.2.2, RFC 4443 §2.4 (e): no error is about an ICMP error or a redirect, nor about a fragment that is not the first.
fn may_be_reported(packet: &[u8]) -> bool {
    let is_error_v4 = |kind: &u8| matches!(kind, 3..=5 | 11 | 12);
    match packet.first().map(|first| first >> 4) {
        Some(4) => quoted_v4(packet).is_some_and(|quoted| {
            quoted.protocol != protocol::ICMP || !quoted.payload.first().is_some_and(is_error_v4)
        }),
        _ => quoted_v6(packet).is_none_or(|quoted| {
            let kind = quoted.payload.first().copied().unwrap_or(0);
            quoted.protocol != protocol::ICMPV6 || (kind >= 128 && kind != icmpv6::kind::REDIRECT)
        }),
    }
}

pub(super) fn icmp_protocol(address: IpAddr) -> u8 {
    if address.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 }
}

/// The header of an echo message, its checksum over `data` too.
pub(super) fn echo_header(
    source: IpAddr,
    destination: IpAddr,
    kind: u8,
    identifier: u16,
    sequence: u16,
    data: &[u8],
) -> [u8; icmpv4::HEADER_LEN] {
    let ([i0, i1], [s0, s1]) = (identifier.to_be_bytes(), sequence.to_be_bytes());
    let mut header = [kind, 0, 0, 0, i0, i1, s0, s1];
    let mut sum = match source {
        IpAddr::V4(_) => Sum::new(),
        IpAddr::V6(_) => {
            let len = (header.len() + data.len()) as u32;
            checksum::pseudo_header(source, destination, protocol::ICMPV6, len)
        }
    };
    sum.add_bytes(&header);
    sum.add_bytes(data);
    header[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    header
}

/// RFC 4443 §3.1's codes as RFC 792's.
fn unreachable_code_v4(code: u8) -> u8 {
    match code {
        icmpv6::code::NO_ROUTE => icmpv4::code::NETWORK_UNREACHABLE,
        icmpv6::code::ADMINISTRATIVELY_PROHIBITED | icmpv6::code::POLICY_FAILED | icmpv6::code::ROUTE_REJECTED => {
            icmpv4::code::ADMINISTRATIVELY_PROHIBITED
        }
        icmpv6::code::PORT_UNREACHABLE => icmpv4::code::PORT_UNREACHABLE,
        _ => icmpv4::code::HOST_UNREACHABLE,
    }
}

/// TOS or traffic class of a packet, without ECN.
fn dscp(packet: &[u8]) -> u8 {
    let byte = match packet {
        [first, second, ..] if first >> 4 == 4 => *second,
        [first, second, ..] => first << 4 | second >> 4,
        _ => 0,
    };
    byte & 0xfc
}

/// The total length of a quoted IPv4 packet.
fn total_len(original: &[u8]) -> u16 {
    original.get(2..4).map_or(0, |field| u16::from_be_bytes([field[0], field[1]]))
}

/// The quoted packet is cut short, so its lengths and checksum are not checked.
fn quoted_v4(original: &[u8]) -> Option<Quoted<'_>> {
    let header = original.first_chunk::<{ ipv4::HEADER_LEN }>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let is_first_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    if header[0] >> 4 != 4 || header_len < ipv4::HEADER_LEN || !is_first_fragment {
        return None;
    }
    Some(Quoted {
        protocol: header[9],
        source: IpAddr::from([header[12], header[13], header[14], header[15]]),
        destination: IpAddr::from([header[16], header[17], header[18], header[19]]),
        payload: original.get(header_len..)?,
    })
}

fn quoted_v6(original: &[u8]) -> Option<Quoted<'_>> {
    let header = original.first_chunk::<{ ipv6::HEADER_LEN }>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let source: [u8; 16] = header[8..24].try_into().ok()?;
    let destination: [u8; 16] = header[24..40].try_into().ok()?;
    // What the extension headers say was judged where the packet was for.
    let (mut protocol, mut payload) = (header[6], &original[ipv6::HEADER_LEN..]);
    for _ in 0..ipv6::MAX_EXTENSION_HEADERS {
        let len = match protocol {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                (usize::from(*payload.get(1)?) + 1) * 8
            }
            // A first fragment has the upper layer's header.
            protocol::FRAGMENT if ipv6::FragmentHeader::parse(payload).is_ok_and(|(header, _)| header.offset == 0) => {
                ipv6::FRAGMENT_HEADER_LEN
            }
            protocol::FRAGMENT => return None,
            _ => break,
        };
        protocol = payload[0];
        payload = payload.get(len..)?;
    }
    Some(Quoted { protocol, source: IpAddr::from(source), destination: IpAddr::from(destination), payload })
}
