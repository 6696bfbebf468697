//! Network address and port translation for IPv4 (RFC 4787, RFC 5382, RFC 5508, RFC 7857): hosts behind this one share the address of one interface.
//!
//! A mapping is of an inside endpoint, whoever it talks to (endpoint-independent); hairpinning lets inside hosts reach each other by it. What comes
//! in fragments is put together first, so that every packet has its ports. IPv6 is never translated.

use core::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use super::Stack;
use super::addressing::ConfigError;
use super::flow::Flow;
use super::forward::Transit;
use super::ip_input::Packet;
use super::nat_table::{CLASSES, Class, NatMapping, NatMemory, NatTable, Socket4};
use super::nodes::Node;
use crate::address::Endpoint;
use crate::checksum::{self, Sum};
use crate::counters::DropReason;
use crate::error_text::{ErrorText, errors_with_text};
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::time::{Duration, Instant};
use crate::wire::{Ipv4Header, icmpv4, ipv4, protocol};

/// Ports that are tried at random for a mapping that cannot keep the inside's.
const PORT_TRIES: usize = 64;
/// Flows that one call lets end.
const EXPIRED_PER_CALL: usize = 64;
/// Added to how long a flow may be idle: the time of its last packet is known that exactly.
const GRAIN: Duration = Duration::from_secs(1);

/// Whose packets come in by a mapping (RFC 4787 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatFiltering {
    /// Those from an address and port that the inside endpoint has sent to, as with Linux.
    #[default]
    AddressAndPortDependent,
    /// Anybody's (RFC 4787 REQ-8: where transparency matters most).
    EndpointIndependent,
}

/// How the addresses of inside hosts are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatConfig {
    /// The interface whose first IPv4 address stands for all hosts behind the others.
    pub outside: InterfaceId,
    /// Whose packets come in by a mapping.
    pub filtering: NatFiltering,
    /// Flows that one inside host may have at once: a quarter of [`Limits::nat_flows`](crate::Limits::nat_flows) unless said otherwise.
    pub flows_per_host: Option<u32>,
    /// How long a UDP flow may be idle outwards: 5 minutes (RFC 4787 REQ-5: no less than two).
    pub udp_timeout: Duration,
    /// How long an ICMP query waits for answers: 60 s (RFC 5508 REQ-1).
    pub icmp_timeout: Duration,
    /// How long an established TCP connection may be idle: 2 hours 4 minutes (RFC 5382 REQ-5).
    pub tcp_timeout: Duration,
    /// The same of one that is being opened, or is closed: 4 minutes (RFC 5382 REQ-5).
    pub tcp_transitory_timeout: Duration,
}

impl NatConfig {
    /// Translation to the address of this interface.
    pub const fn outside(interface: InterfaceId) -> Self {
        NatConfig {
            outside: interface,
            filtering: NatFiltering::AddressAndPortDependent,
            flows_per_host: None,
            udp_timeout: Duration::from_secs(300),
            icmp_timeout: Duration::from_secs(60),
            tcp_timeout: Duration::from_secs(7_440),
            tcp_transitory_timeout: Duration::from_secs(240),
        }
    }

    fn timeout(&self, class: usize) -> Duration {
        [self.udp_timeout, self.icmp_timeout, self.tcp_timeout, self.tcp_transitory_timeout][class] + GRAIN
    }
}

/// A protocol whose ports are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NatProtocol {
    /// ICMP queries, by their identifier.
    Icmp = protocol::ICMP,
    /// TCP.
    Tcp = protocol::TCP,
    /// UDP.
    Udp = protocol::UDP,
}

impl NatProtocol {
    fn of(number: u8) -> Option<Self> {
        match number {
            protocol::ICMP => Some(NatProtocol::Icmp),
            protocol::TCP => Some(NatProtocol::Tcp),
            protocol::UDP => Some(NatProtocol::Udp),
            _ => None,
        }
    }
}

/// A port outside that leads to an inside endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortForward {
    /// TCP or UDP.
    pub protocol: NatProtocol,
    /// The port of the outside address.
    pub outside_port: u16,
    /// Where it leads.
    pub inside: SocketAddrV4,
}

/// A flow that is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatFlowInfo {
    /// Its protocol.
    pub protocol: NatProtocol,
    /// The host behind this one, with its port, or with the identifier of an ICMP query.
    pub inside: SocketAddrV4,
    /// What the remote one sees of it.
    pub outside: SocketAddrV4,
    /// Whom it talks to; port 0 of an ICMP query.
    pub remote: SocketAddrV4,
    /// Whether it is a TCP connection between its handshake and its end.
    pub is_established: bool,
    /// For how long it was idle, to about a second.
    pub idle: Duration,
}

/// Why a port could not be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortForwardError {
    /// The port leads somewhere already, or the protocol has no ports.
    PortInUse(u16),
    /// The table is full.
    LimitReached,
    /// No such port is forwarded.
    NotFound(u16),
}

impl PortForwardError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            PortForwardError::PortInUse(port) => ErrorText::number("port {} is in use", port as u32),
            PortForwardError::LimitReached => ErrorText::plain("the limit `nat_flows` is reached"),
            PortForwardError::NotFound(port) => ErrorText::number("port {} is not forwarded", port as u32),
        }
    }
}

errors_with_text!(PortForwardError);

/// What a stack knows of translation.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct Nat<'m> {
    table: NatTable<'m>,
    config: Option<NatConfig>,
    /// The outside address, and what it was found under.
    address: Ipv4Addr,
    generation: u32,
    limit: usize,
}

impl<'m> Nat<'m> {
    pub(super) fn new(memory: NatMemory<'m>, limit: usize) -> Self {
        let table = NatTable::new(memory, limit);
        Nat { table, config: None, address: Ipv4Addr::UNSPECIFIED, generation: 0, limit }
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.config.is_some()
    }
}

/// The bits of [`NatFlow::seen`](super::nat_table::NatFlow): acknowledging segments and the end of the stream, in each direction, and a reset.
mod seen {
    pub(super) const ACK: [u8; 2] = [1, 2];
    pub(super) const FIN: [u8; 2] = [4, 8];
    pub(super) const RESET: u8 = 16;
}

/// The direction of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Out = 0,
    In = 1,
}

/// What translation reads of a packet.
#[derive(Clone, Copy, Debug)]
struct Summary {
    protocol: u8,
    source: Socket4,
    destination: Socket4,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// TCP with its flags, UDP, an ICMP query from who asks or to who has asked.
    Flow { flags: u8 },
    /// An ICMP error.
    Error,
}

/// Which end of a packet is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

const TCP_FIN: u8 = 1;
const TCP_SYN: u8 = 2;
const TCP_RST: u8 = 4;
const TCP_ACK: u8 = 16;

/// Whether a segment asks for a connection.
fn is_syn(flags: u8) -> bool {
    flags & (TCP_SYN | TCP_ACK | TCP_RST) == TCP_SYN
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Reads a packet, or one that an error quotes; a fragment that is not the first has no ports. ICMP queries have their identifier as the port of who asks, and 0 as the other's.
fn summary(packet: &[u8]) -> Option<Summary> {
    let header = packet.first_chunk::<{ ipv4::HEADER_LEN }>()?;
    let payload = packet.get(usize::from(header[0] & 0x0f) * 4..)?;
    if u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0 {
        return None;
    }
    let addresses = header[12..].as_chunks::<4>().0;
    let (from, to) = (Ipv4Addr::from(addresses[0]), Ipv4Addr::from(addresses[1]));
    let (ports, kind) = match header[9] {
        protocol::TCP => {
            let flags = payload.get(13).copied().unwrap_or(0);
            ((u16_at(payload, 0)?, u16_at(payload, 2)?), Kind::Flow { flags })
        }
        protocol::UDP => ((u16_at(payload, 0)?, u16_at(payload, 2)?), Kind::Flow { flags: 0 }),
        protocol::ICMP => match *payload.first()? {
            icmpv4::kind::ECHO_REQUEST => ((u16_at(payload, 4)?, 0), Kind::Flow { flags: 0 }),
            icmpv4::kind::ECHO_REPLY => ((0, u16_at(payload, 4)?), Kind::Flow { flags: 0 }),
            icmpv4::kind::DESTINATION_UNREACHABLE | icmpv4::kind::TIME_EXCEEDED | icmpv4::kind::PARAMETER_PROBLEM => {
                ((0, 0), Kind::Error)
            }
            _ => return None,
        },
        _ => return None,
    };
    Some(Summary { protocol: header[9], source: (from, ports.0), destination: (to, ports.1), kind })
}

/// Replaces a checksum by what it becomes with a part that it covers changed (RFC 1624 §3).
fn adjust(bytes: &mut [u8], at: usize, old: Sum, new: Sum) -> u16 {
    let mut sum = Sum::new();
    sum.add_u16(!u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    sum.remove(old);
    sum.add(new);
    let checksum = sum.finish();
    bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    checksum
}

/// Puts another address, and port if there is one, into a packet, as far as its bytes reach.
fn rewrite(packet: &mut [u8], end: End, to: Socket4, has_port: bool) {
    let at = if end == End::Source { 12 } else { 16 };
    let (mut old, mut new) = (checksum::sum(&packet[at..at + 4]), checksum::sum(&to.0.octets()));
    packet[at..at + 4].copy_from_slice(&to.0.octets());
    adjust(packet, 10, old, new);
    let begin = usize::from(packet[0] & 0x0f) * 4;
    // Where the port is and the checksum, which covers the addresses too except with ICMP.
    let side = if end == End::Source { 0 } else { 2 };
    let (port_at, checksum_at) = match packet[9] {
        protocol::TCP => (side, 16),
        protocol::UDP => (side, 6),
        _ => {
            (old, new) = (Sum::new(), Sum::new());
            (4, 2)
        }
    };
    let payload = &mut packet[begin..];
    if has_port {
        old.add(checksum::sum(&payload[port_at..port_at + 2]));
        new.add_u16(to.1);
        payload[port_at..port_at + 2].copy_from_slice(&to.1.to_be_bytes());
    }
    let is_udp = checksum_at == 6;
    if !has_port && checksum_at == 2 || payload.len() < checksum_at + 2 {
        return;
    }
    // RFC 768: zero means that there is none, and one of zero is sent as all ones.
    if is_udp && payload[6..8] == [0, 0] {
        return;
    }
    if adjust(payload, checksum_at, old, new) == 0 && is_udp {
        payload[6..8].fill(0xff);
    }
}

/// Rewrites the packet that an ICMP error quotes, and the error's checksum with it (RFC 5508 §4.2, REQ-4 and REQ-5).
fn rewrite_quoted(packet: &mut [u8], end: End, to: Socket4) {
    let begin = usize::from(packet[0] & 0x0f) * 4;
    let message = &mut packet[begin..];
    let old = checksum::sum(&message[icmpv4::HEADER_LEN..]);
    rewrite(&mut message[icmpv4::HEADER_LEN..], end, to, true);
    let new = checksum::sum(&message[icmpv4::HEADER_LEN..]);
    adjust(message, 2, old, new);
}

impl Stack<'_> {
    /// Translates addresses from now on as said, or not at all. Flows so far are forgotten, ports that were forwarded are not.
    ///
    /// # Errors
    /// If there is no such interface, or [`Limits::nat_flows`](crate::Limits::nat_flows) is 0.
    pub fn set_nat(&mut self, config: Option<NatConfig>) -> Result<(), ConfigError> {
        if let Some(config) = config {
            if self.interfaces.get(u32::from(config.outside.0)).is_none() {
                return Err(ConfigError::NoSuchInterface(config.outside));
            }
            if self.nat.limit == 0 {
                return Err(ConfigError::LimitReached("nat_flows"));
            }
        }
        if self.nat.is_on() {
            self.forget_nat_flows(|_| true);
        }
        self.nat.table.prepare();
        self.nat.config = config;
        self.invalidate_paths();
        Ok(())
    }

    /// How addresses are translated.
    pub fn nat(&self) -> Option<&NatConfig> {
        self.nat.config.as_ref()
    }

    /// The flows that are translated.
    pub fn nat_flows(&self) -> impl Iterator<Item = NatFlowInfo> {
        self.nat.table.iter().filter_map(|(flow, mapping)| {
            let socket = |(address, port)| SocketAddrV4::new(address, port);
            Some(NatFlowInfo {
                protocol: NatProtocol::of(mapping.protocol)?,
                inside: socket(mapping.inside),
                outside: socket((self.nat.address, mapping.outside_port)),
                remote: socket(flow.remote),
                is_established: flow.class == Class::TcpEstablished,
                idle: self.now.since(flow.queued),
            })
        })
    }

    /// Lets a port of the outside address lead to an inside endpoint, while addresses are translated.
    ///
    /// # Errors
    /// If the port leads somewhere else, or the table is full.
    pub fn forward_port(&mut self, forward: PortForward) -> Result<(), PortForwardError> {
        let PortForward { protocol, outside_port, inside } = forward;
        if self.nat.limit == 0 {
            return Err(PortForwardError::LimitReached);
        }
        self.nat.table.prepare();
        let number = protocol as u8;
        let taken = self.nat.table.mapping_at(&self.hash_secret, number, outside_port).is_some();
        if taken || protocol == NatProtocol::Icmp {
            return Err(PortForwardError::PortInUse(outside_port));
        }
        let inside = (*inside.ip(), inside.port());
        let mapping = NatMapping { protocol: number, inside, outside_port, is_fixed: true, flows: 0 };
        self.nat.table.add_mapping(&self.hash_secret, mapping).ok_or(PortForwardError::LimitReached)?;
        Ok(())
    }

    /// Takes back what [`forward_port`](Self::forward_port) has said, and ends the flows that came of it.
    ///
    /// # Errors
    /// If there is no such port.
    pub fn unforward_port(&mut self, protocol: NatProtocol, outside_port: u16) -> Result<(), PortForwardError> {
        let is_it = |mapping: &NatMapping| {
            mapping.is_fixed && mapping.protocol == protocol as u8 && mapping.outside_port == outside_port
        };
        let found = self.nat.table.fixed().find(|(_, mapping)| is_it(mapping)).map(|(index, _)| index);
        let index = found.ok_or(PortForwardError::NotFound(outside_port))?;
        self.forget_nat_flows(is_it);
        self.nat.table.remove_mapping(&self.hash_secret, index);
        Ok(())
    }

    /// The ports that are forwarded.
    pub fn port_forwards(&self) -> impl Iterator<Item = PortForward> {
        self.nat.table.fixed().filter_map(|(_, mapping)| {
            let inside = SocketAddrV4::new(mapping.inside.0, mapping.inside.1);
            Some(PortForward {
                protocol: NatProtocol::of(mapping.protocol)?,
                outside_port: mapping.outside_port,
                inside,
            })
        })
    }

    fn forget_nat_flows(&mut self, goes: impl Fn(&NatMapping) -> bool) {
        for index in 0..self.nat.limit as u32 {
            if self.nat.table.flow(index).is_some_and(|(_, mapping)| goes(mapping)) {
                self.nat.table.remove_flow(&self.hash_secret, index);
            }
        }
    }

    /// The outside address: the first of the interface. With another one, flows so far are worth nothing (RFC 4787 REQ-2 pairs a host with one address).
    fn nat_address(&mut self) -> Ipv4Addr {
        if self.nat.generation != self.generation {
            self.nat.generation = self.generation;
            let outside = self.nat.config.map(|config| config.outside);
            let mut addresses = self.addresses.iter().filter(|entry| Some(entry.interface) == outside);
            let address = addresses.find_map(|entry| match entry.prefix.address {
                IpAddr::V4(address) if self.is_local(entry.prefix.address) => Some(address),
                _ => None,
            });
            let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
            if address != self.nat.address {
                self.nat.address = address;
                self.forget_nat_flows(|_| true);
            }
        }
        self.nat.address
    }

    /// Whether packets between two interfaces are translated on their way out.
    pub(super) fn is_translated(&self, from: InterfaceId, to: InterfaceId) -> bool {
        self.nat.config.is_some_and(|config| config.outside == to && from != to)
    }

    /// Whether packets that were not translated may go on between two interfaces: those that come from outside may not go in.
    pub(super) fn may_enter(&self, from: InterfaceId, to: InterfaceId) -> bool {
        self.nat.config.is_none_or(|config| config.outside != from || from == to)
    }

    /// A packet for one of our addresses: if it belongs to an inside host it goes there, and true is returned.
    pub(super) fn nat_inbound(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) -> bool {
        let address = self.nat_address();
        if packet.destination != IpAddr::V4(address) {
            return false;
        }
        let Some(summary) = summary(packet.whole) else { return false };
        let Kind::Flow { flags } = summary.kind else { return self.nat_error_inbound(pool, packet) };
        let Summary { protocol, source, destination: (_, port), .. } = summary;
        let mut transit = Transit::new(packet);
        let mut from = source;
        let comes_from_inside = self.nat.config.is_some_and(|config| config.outside != packet.interface);
        if comes_from_inside {
            // RFC 4787 REQ-9: a host behind us reaches another, or itself, by what is known of it outside, and is seen as it is seen outside.
            if self.nat.table.mapping_at(&self.hash_secret, protocol, port).is_none() {
                return false;
            }
            let Some(outside_port) = self.nat_flow_out(protocol, source, (address, port), flags) else { return true };
            from = (address, outside_port);
            rewrite(transit.head_mut(), End::Source, from, true);
        }
        let inside = self.nat_flow_in(protocol, port, from, flags);
        if is_syn(flags)
            && !comes_from_inside
            && (inside == Err(DropReason::NatFiltered)
                || inside == Ok(None) && !self.is_bound_here(protocol, port, source))
        {
            self.nat_unsolicited(packet);
            return true;
        }
        let inside = match inside {
            Ok(Some(inside)) => inside,
            Ok(None) => return false,
            Err(reason) => {
                self.counters.drop(reason);
                return true;
            }
        };
        rewrite(transit.head_mut(), End::Destination, inside, true);
        transit.translated_to(inside.0);
        self.pass_on(pool, transit);
        true
    }

    /// The inside endpoint of a packet from outside, if it may come in. None if it is not for anybody behind us.
    fn nat_flow_in(
        &mut self,
        protocol: u8,
        port: u16,
        from: Socket4,
        flags: u8,
    ) -> Result<Option<Socket4>, DropReason> {
        let found = self.nat.table.find_from_outside(&self.hash_secret, protocol, port, from);
        let flow = match found {
            Some(flow) => flow,
            None => {
                let Some(mapping) = self.nat.table.mapping_at(&self.hash_secret, protocol, port) else {
                    return Ok(None);
                };
                match self.nat_new_flow_in(mapping, from)? {
                    Some(flow) => flow,
                    None => return Ok(None),
                }
            }
        };
        let inside = self.nat.table.flow(flow).map(|(_, mapping)| mapping.inside);
        self.nat_used(flow, Direction::In, protocol, flags);
        Ok(inside)
    }

    /// A new flow from outside by a mapping; none if a socket of ours has the port too, and it is meant for that.
    #[cold]
    fn nat_new_flow_in(&mut self, mapping: u32, from: Socket4) -> Result<Option<u32>, DropReason> {
        let found = self.nat.table.mapping(mapping).ok_or(DropReason::NatFiltered)?;
        if !found.is_fixed && self.is_bound_here(found.protocol, found.outside_port, from) {
            return Ok(None);
        }
        let is_open = self.nat.config.is_some_and(|config| config.filtering == NatFiltering::EndpointIndependent);
        let (protocol, inside) = (found.protocol, found.inside);
        // Who reaches one endpoint by two ports must not be two flows that look the same inside.
        let is_ambiguous = self.nat.table.find_from_inside(&self.hash_secret, protocol, inside, from).is_some();
        if is_ambiguous || !(is_open || found.is_fixed) {
            return Err(DropReason::NatFiltered);
        }
        self.nat_add_flow(mapping, from).map(Some).ok_or(DropReason::NatTableFull)
    }

    /// A packet from inside on its way out; false if it ends here.
    pub(super) fn nat_outbound(&mut self, pool: &mut Pool<'_>, transit: &mut Transit<'_>) -> bool {
        let address = self.nat_address();
        let packet = transit.packet;
        if let Ok((header, payload)) = Ipv4Header::parse(packet.whole)
            && header.is_fragment()
        {
            // Only the first one has ports: they go on when they have come together.
            self.fragment_v4(pool, &Packet { payload, ..packet }, header);
            return false;
        }
        let translated = match summary(packet.whole) {
            _ if address.is_unspecified() => Err(DropReason::NoRoute),
            Some(Summary { kind: Kind::Flow { flags }, protocol, source, destination }) => {
                match self.nat_flow_out(protocol, source, destination, flags) {
                    Some(port) => {
                        if is_syn(flags) {
                            self.nat_solicited(pool, (address, port), destination);
                        }
                        rewrite(transit.head_mut(), End::Source, (address, port), true);
                        Ok(())
                    }
                    // RFC 5508 REQ-8: "the NAT device SHOULD send an ICMP destination unreachable message, with a code of 13 [...] to
                    // the sender, and drop the original packet".
                    None => {
                        let error = (icmpv4::kind::DESTINATION_UNREACHABLE, icmpv4::code::ADMINISTRATIVELY_PROHIBITED);
                        self.transit_error(pool, &packet, error, 0);
                        return false;
                    }
                }
            }
            Some(Summary { kind: Kind::Error, .. }) => self.nat_error_outbound(transit, address),
            None => Err(DropReason::NatUntranslatable),
        };
        if let Err(reason) = translated {
            self.counters.drop(reason);
        }
        translated.is_ok()
    }

    /// The port outside of a flow from inside, which is made if need be; none, and counted, if there can be none.
    fn nat_flow_out(&mut self, protocol: u8, inside: Socket4, to: Socket4, flags: u8) -> Option<u16> {
        let found = self.nat.table.find_from_inside(&self.hash_secret, protocol, inside, to);
        let Some(flow) = found.or_else(|| self.nat_new_flow_out(protocol, inside, to)) else {
            self.counters.drop(DropReason::NatTableFull);
            return None;
        };
        self.nat_used(flow, Direction::Out, protocol, flags);
        self.nat.table.flow(flow).map(|(_, mapping)| mapping.outside_port)
    }

    #[cold]
    fn nat_new_flow_out(&mut self, protocol: u8, inside: Socket4, to: Socket4) -> Option<u32> {
        if let Some(mapping) = self.nat.table.mapping_of(&self.hash_secret, protocol, inside) {
            return self.nat_add_flow(mapping, to);
        }
        self.nat_make_room();
        let outside_port = self.nat_port(protocol, inside.1, to)?;
        let mapping = NatMapping { protocol, inside, outside_port, is_fixed: false, flows: 0 };
        let mapping = self.nat.table.add_mapping(&self.hash_secret, mapping)?;
        let flow = self.nat_add_flow(mapping, to);
        if flow.is_none() {
            self.nat.table.remove_mapping(&self.hash_secret, mapping);
        }
        flow
    }

    fn nat_add_flow(&mut self, mapping: u32, remote: Socket4) -> Option<u32> {
        self.nat_make_room();
        let config = self.nat.config?;
        let per_host = config.flows_per_host.unwrap_or((self.nat.limit as u32 / 4).max(1));
        self.nat.table.add_flow(&self.hash_secret, mapping, remote, per_host, self.now)
    }

    /// When the table is full, the oldest flow makes room that is of a TCP connection which is not open, or of an ICMP query.
    fn nat_make_room(&mut self) {
        if self.nat.table.is_full() {
            let classes = [Class::TcpTransitory as usize, Class::Icmp as usize];
            if let Some((flow, _)) = classes.into_iter().find_map(|class| self.nat.table.oldest(class)) {
                self.nat.table.remove_flow(&self.hash_secret, flow);
                self.counters.nat_evicted += 1;
            }
        }
    }

    /// A port for a mapping: the inside's own if it is free, else one of its parity (RFC 4787 REQ-4) and its range (REQ-3: below 1,024 or not).
    fn nat_port(&mut self, protocol: u8, wanted: u16, to: Socket4) -> Option<u16> {
        if self.is_nat_port_free(protocol, wanted, to) {
            return Some(wanted);
        }
        let (first, count) = if wanted < 1_024 { (0, 1_024) } else { (1_024, 64_512) };
        (0..PORT_TRIES).find_map(|_| {
            let port = (first + self.port_random.below(count) as u16) & !1 | wanted & 1;
            self.is_nat_port_free(protocol, port, to).then_some(port)
        })
    }

    /// Whether a mapping has a port of an address, or of any: then it is not one for a socket of ours.
    pub(super) fn is_mapped(&self, protocol: u8, local: Option<IpAddr>, port: u16) -> bool {
        self.nat.is_on()
            && local.is_none_or(|local| local == IpAddr::V4(self.nat.address))
            && self.nat.table.mapping_at(&self.hash_secret, protocol, port).is_some()
    }

    /// Whether a socket of ours takes packets from a remote endpoint to a port of the outside address.
    fn is_bound_here(&self, protocol: u8, port: u16, to: Socket4) -> bool {
        let local = IpAddr::V4(self.nat.address);
        let endpoints = [Endpoint::any(port), Endpoint { address: Some(local), port }];
        match protocol {
            protocol::TCP => {
                let (remote, remote_port) = (IpAddr::V4(to.0), to.1);
                let flow = Flow { local, remote, local_port: port, remote_port, link: None };
                endpoints.into_iter().any(|endpoint| self.find_listener_exact(endpoint).is_some())
                    || self.find_flow(self.flow_hash(&flow), &flow).is_some()
            }
            protocol::UDP => endpoints.into_iter().any(|endpoint| self.find_udp_exact(endpoint).is_some()),
            _ => false,
        }
    }

    /// Whether nobody has the port of the outside address, our own sockets among them.
    fn is_nat_port_free(&self, protocol: u8, port: u16, to: Socket4) -> bool {
        // An ICMP identifier may be 0, a port may not.
        let can_be = port != 0 || protocol == protocol::ICMP;
        let is_mapped = self.nat.table.mapping_at(&self.hash_secret, protocol, port).is_some();
        can_be && !is_mapped && !self.is_bound_here(protocol, port, to)
    }

    /// A packet of a flow has passed: what it is by now, and its time.
    #[inline]
    fn nat_used(&mut self, index: u32, direction: Direction, protocol: u8, flags: u8) {
        let now = self.now;
        let Some(flow) = self.nat.table.flow_mut(index) else { return };
        let class = match protocol {
            // RFC 4787 REQ-6: packets from outside do not prolong a flow.
            protocol::UDP | protocol::ICMP if direction == Direction::In && flow.seen != 0 => return,
            protocol::UDP => Class::Udp,
            protocol::ICMP => Class::Icmp,
            _ => track(&mut flow.seen, direction, flags),
        };
        flow.seen |= u8::from(protocol != protocol::TCP);
        self.nat.table.refresh(index, class, now);
        if let Some(config) = self.nat.config {
            let due = now + config.timeout(class as usize);
            self.deadlines.set_no_later(self.nodes.number(Node::NatTimer), due);
        }
    }

    /// Ends the flows that were idle for too long.
    pub(super) fn nat_timeout(&mut self) {
        let Some(config) = self.nat.config else { return };
        let mut next = Instant::FAR_FUTURE;
        let mut left = EXPIRED_PER_CALL;
        for class in 0..CLASSES {
            while let Some((flow, used)) = self.nat.table.oldest(class) {
                let due = used + config.timeout(class);
                if due > self.now || left == 0 {
                    next = next.min(due);
                    break;
                }
                left -= 1;
                self.nat.table.remove_flow(&self.hash_secret, flow);
            }
        }
        if next < Instant::FAR_FUTURE {
            self.deadlines.set_no_later(self.nodes.number(Node::NatTimer), next);
        }
    }

    /// An ICMP error about a packet that has left with our address: it goes to the inside host that has sent it (RFC 5508 REQ-4).
    fn nat_error_inbound(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) -> bool {
        let begin = usize::from(packet.whole[0] & 0x0f) * 4;
        let Some(quoted) = packet.whole.get(begin + icmpv4::HEADER_LEN..).and_then(summary) else { return false };
        let Summary { protocol, source: (from, port), mut destination, kind: Kind::Flow { .. } } = quoted else {
            return false;
        };
        let address = self.nat.address;
        if from != address {
            return false;
        }
        // RFC 5508 REQ-7: "All NAT devices [...] MUST support the traversal of hairpinned ICMP Error messages": what one inside host says of
        // another's packet is about the endpoints that are known outside.
        let comes_from_inside = self.nat.config.is_some_and(|config| config.outside != packet.interface);
        let hairpinned = match comes_from_inside {
            true => self.nat.table.mapping_of(&self.hash_secret, protocol, destination),
            false => None,
        };
        let outside_port =
            hairpinned.and_then(|mapping| self.nat.table.mapping(mapping)).map(|found| found.outside_port);
        if let Some(port) = outside_port {
            destination = (address, port);
        }
        let found = self.nat.table.find_from_outside(&self.hash_secret, protocol, port, destination);
        let Some((_, mapping)) = found.and_then(|flow| self.nat.table.flow(flow)) else { return false };
        let inside = mapping.inside;
        // RFC 5508 REQ-3.
        if !checksum::sum(&packet.whole[begin..]).is_valid() {
            self.counters.drop(DropReason::IcmpChecksum);
            return true;
        }
        let mut transit = Transit::new(packet);
        if outside_port.is_some() {
            rewrite_quoted(transit.head_mut(), End::Destination, destination);
            rewrite(transit.head_mut(), End::Source, (address, 0), false);
        }
        rewrite_quoted(transit.head_mut(), End::Source, inside);
        rewrite(transit.head_mut(), End::Destination, inside, false);
        transit.translated_to(inside.0);
        self.pass_on(pool, transit);
        true
    }

    /// An ICMP error from inside about a packet that has come in (RFC 5508 REQ-5): from whomever it is, our address is what is seen outside.
    fn nat_error_outbound(&mut self, transit: &mut Transit<'_>, address: Ipv4Addr) -> Result<(), DropReason> {
        let whole = transit.packet.whole;
        let begin = usize::from(whole[0] & 0x0f) * 4;
        let quoted = whole.get(begin + icmpv4::HEADER_LEN..).and_then(summary).ok_or(DropReason::NatUntranslatable)?;
        let Summary { protocol, source, destination: inside, .. } = quoted;
        let found = self.nat.table.find_from_inside(&self.hash_secret, protocol, inside, source);
        let (_, mapping) = found.and_then(|flow| self.nat.table.flow(flow)).ok_or(DropReason::NatUntranslatable)?;
        let outside_port = mapping.outside_port;
        rewrite_quoted(transit.head_mut(), End::Destination, (address, outside_port));
        rewrite(transit.head_mut(), End::Source, (address, 0), false);
        Ok(())
    }

    /// Gives a translated packet, or the beginning of one, the endpoint again that its sender knows.
    #[cold]
    pub(super) fn nat_undo(&mut self, packet: &mut [u8]) {
        let address = self.nat_address();
        let Some(Summary { protocol, source, destination, kind: Kind::Flow { .. } }) = summary(packet) else { return };
        let (table, secret) = (&self.nat.table, &self.hash_secret);
        if source.0 == address {
            let found = table.find_from_outside(secret, protocol, source.1, destination);
            if let Some((_, mapping)) = found.and_then(|flow| table.flow(flow)) {
                rewrite(packet, End::Source, mapping.inside, true);
            }
        } else {
            let found = table.find_from_inside(secret, protocol, destination, source);
            if let Some((_, mapping)) = found.and_then(|flow| table.flow(flow)) {
                rewrite(packet, End::Destination, (address, mapping.outside_port), true);
            }
        }
    }
}

/// What a TCP connection is after a segment in this direction (RFC 5382 §5, RFC 7857 §2).
fn track(seen: &mut u8, direction: Direction, flags: u8) -> Class {
    let side = direction as usize;
    if flags & TCP_RST != 0 {
        // RFC 7857 §2.2: the connection may go on, if the reset was not believed.
        *seen |= seen::RESET;
    } else {
        // RFC 7857 §2.3: the same ports are used again.
        if is_syn(flags) {
            *seen = 0;
        }
        *seen &= !seen::RESET;
        *seen |= if flags & TCP_ACK != 0 { seen::ACK[side] } else { 0 };
        *seen |= if flags & TCP_FIN != 0 { seen::FIN[side] } else { 0 };
    }
    let has_both = |bits: [u8; 2]| *seen & (bits[0] | bits[1]) == bits[0] | bits[1];
    match has_both(seen::ACK) && !has_both(seen::FIN) && *seen & seen::RESET == 0 {
        true => Class::TcpEstablished,
        false => Class::TcpTransitory,
    }
}
