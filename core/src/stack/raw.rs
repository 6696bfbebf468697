//! Raw sockets: IP packets of a protocol that the stack does not have or the application wants to see (RFC 3542 §3, `SOCK_RAW`), and whole
//! frames of an interface (`AF_PACKET`).
//!
//! Each of them is shown each packet, so there are few ([`Limits::raw_sockets`](crate::Limits::raw_sockets)); without any, a packet costs one
//! comparison. What they send waits with the packets that no socket owns, each kind with its quota.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::Stack;
use super::addressing::{ScopeError, is_group};
use super::interface::ControlKind;
use super::ip_input::Packet;
use super::nodes::Node;
use super::routes::NextHop;
use super::transmit::{IpHead, max_payload, packet_destination};
use super::udp::{INTERFACE_KEY, decode_interface, encode_interface, traffic_class};
use crate::address::is_unicast;
use crate::checksum;
use crate::config::Medium;
use crate::counters::DropReason;
use crate::event::{InterfaceId, RawHandle, Signals};
use crate::pool::{Pool, Pressure};
use crate::record_queue::RecordQueue;
use crate::slab::{Slab, Slot};
use crate::storage::Storage;
use crate::time::Instant;
use crate::wire::ethernet::ethertype;
use crate::wire::{EthernetHeader, ethernet, ipv4, ipv6, protocol};

/// Bytes that wait in a socket to be read.
const QUEUE_BYTES: u32 = 256 * 1024;
/// What precedes a packet in the queue: the interface, whether it went out, and where its payload begins.
const RECEIVE_HEADER: usize = INTERFACE_KEY + 3;

/// What a raw socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawKind {
    /// IPv4 packets of this protocol that are for this host: fragments put together, options left in the header.
    Ipv4(u8),
    /// IPv6 packets whose extension headers end in this protocol. The checksum of ICMPv6 (58) is put into what is sent (RFC 3542 §3.1).
    Ipv6(u8),
    /// Frames as they pass an interface's port, those to other stations too; on an interface without link headers, IP packets.
    Frames {
        /// Only those of this EtherType; that of a tagged frame is 0x8100.
        ethertype: Option<u16>,
        /// Only those that have these bytes.
        pattern: Option<FramePattern>,
        /// Those that this host sends, too.
        outgoing: bool,
    },
}

/// Bytes that a frame has at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePattern {
    /// Where they begin, in bytes from the start of the frame.
    pub offset: u16,
    /// Eight bytes as a number in network order; a frame that is too short has zeros there.
    pub value: u64,
    /// The bits that count.
    pub mask: u64,
}

impl FramePattern {
    fn is_in(&self, frame: &[u8]) -> bool {
        let mut bytes = [0; 8];
        let there = frame.get(usize::from(self.offset)..).unwrap_or(&[]);
        let len = there.len().min(bytes.len());
        bytes[..len].copy_from_slice(&there[..len]);
        (u64::from_be_bytes(bytes) ^ self.value) & self.mask == 0
    }
}

/// How a raw socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawOptions {
    /// What it is for.
    pub kind: RawKind,
    /// Only what comes in by this interface and, of frames, goes out; and where what is sent leaves, if it is not said for each.
    pub interface: Option<InterfaceId>,
    /// IP packets are read and sent with their headers (`IP_HDRINCL`). Of those to send, the length and IPv4's checksum are filled in, and a
    /// source address and identification that are 0. Off by default.
    pub header_included: bool,
}

impl RawOptions {
    /// For all interfaces, without headers.
    pub const fn new(kind: RawKind) -> Self {
        RawOptions { kind, interface: None, header_included: false }
    }
}

/// Where a packet comes from or goes to. Frames have no addresses here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawMeta {
    /// The source address. In one to send, None for what the routes say.
    pub source: Option<IpAddr>,
    /// The destination address. In one to send with its header, what is there counts.
    pub destination: Option<IpAddr>,
    /// The interface that it came in or went out by (none if that was removed meanwhile), or is to leave by.
    pub interface: Option<InterfaceId>,
    /// TTL or hop limit; in one to send, 0 for the stack's.
    pub hop_limit: u8,
    /// TOS or traffic class.
    pub traffic_class: u8,
    /// Whether this host has sent it.
    pub outgoing: bool,
}

impl RawMeta {
    /// To an address, from wherever the routes say.
    pub const fn to(destination: IpAddr) -> Self {
        RawMeta {
            source: None,
            destination: Some(destination),
            interface: None,
            hop_limit: 0,
            traffic_class: 0,
            outgoing: false,
        }
    }
}

/// Why a raw socket was not opened, or a packet not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawError {
    /// As many sockets are open as [`Limits::raw_sockets`](crate::Limits::raw_sockets) allows.
    TooManySockets,
    /// The handle's socket is closed.
    NotFound,
    /// There is no such interface, or none was named to send a frame by.
    NoInterface,
    /// There is no route to the address.
    NoRoute(IpAddr),
    /// Not an address to send to, or the source is not ours, or they are not of the socket's family.
    BadAddress,
    /// The destination is link-local, and which link is meant cannot be told.
    Scope(ScopeError),
    /// It does not begin with the header that it has to have.
    Malformed,
    /// It is longer than any can be, or than the interface takes of one with its header.
    TooLong {
        /// The most that can be sent, in bytes.
        max: usize,
    },
    /// The interface's queue, or the pool, is full; try again after the next transmissions.
    QueueFull,
}

impl fmt::Display for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RawError::TooManySockets => f.write_str("the limit on raw sockets is reached"),
            RawError::NotFound => f.write_str("the socket is closed"),
            RawError::NoInterface => f.write_str("there is no such interface, or none is named"),
            RawError::NoRoute(address) => write!(f, "no route to {address}"),
            RawError::BadAddress => f.write_str("not an address to send to, or to send from"),
            RawError::Scope(error) => error.fmt(f),
            RawError::Malformed => f.write_str("the header is missing or makes no sense"),
            RawError::TooLong { max } => write!(f, "the packet is too long: at most {max} bytes"),
            RawError::QueueFull => f.write_str("the send queue is full"),
        }
    }
}

impl core::error::Error for RawError {}

/// A raw socket.
#[derive(Clone, Debug)]
pub struct RawSocket {
    options: RawOptions,
    receive: RecordQueue,
    pub(super) signals: Signals,
}

/// The raw sockets, and how many of them want packets and frames.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct RawSockets<'m> {
    pub(super) sockets: Slab<'m, RawSocket>,
    pub(super) want_packets: u16,
    pub(super) want_frames: u16,
}

impl<'m> RawSockets<'m> {
    pub(super) fn new(sockets: Storage<'m, Slot<RawSocket>>, limit: usize) -> Self {
        RawSockets { sockets: Slab::new(sockets, limit), want_packets: 0, want_frames: 0 }
    }

    fn count(&mut self, kind: RawKind) -> &mut u16 {
        if matches!(kind, RawKind::Frames { .. }) { &mut self.want_frames } else { &mut self.want_packets }
    }
}

impl Stack<'_> {
    /// Opens a raw socket. The event [`Event::Raw`](crate::Event::Raw) tells that something has come.
    ///
    /// # Errors
    /// [`RawError::TooManySockets`], [`RawError::NoInterface`].
    pub fn open_raw(&mut self, options: RawOptions) -> Result<RawHandle, RawError> {
        if options.interface.is_some_and(|interface| self.interfaces.get(u32::from(interface.0)).is_none()) {
            return Err(RawError::NoInterface);
        }
        let socket = RawSocket { options, receive: RecordQueue::new(QUEUE_BYTES), signals: Signals::NONE };
        let key = self.raw.sockets.insert(socket).map_err(|_| RawError::TooManySockets)?;
        *self.raw.count(options.kind) += 1;
        Ok(RawHandle(key))
    }

    /// Closes a raw socket; what was not read is dropped.
    pub fn close_raw(&mut self, pool: &mut Pool<'_>, socket: RawHandle) {
        let Some(found) = self.raw.sockets.lookup_mut(socket.0) else { return };
        found.receive.clear(pool, &mut self.account);
        let kind = found.options.kind;
        self.event_links.remove(&mut self.events, self.nodes.number(Node::Raw(socket.0.index)));
        self.raw.sockets.remove(socket.0.index);
        *self.raw.count(kind) -= 1;
    }

    /// Takes the next packet or frame into `out`; what does not fit is cut off. None if there is none.
    pub fn raw_recv(&mut self, pool: &mut Pool<'_>, socket: RawHandle, out: &mut [u8]) -> Option<(usize, RawMeta)> {
        let found = self.raw.sockets.lookup_mut(socket.0)?;
        found.receive.front_len()?;
        let mut head = [0; RECEIVE_HEADER + ipv6::HEADER_LEN];
        found.receive.peek(pool, 0, &mut head);
        let (prefix, header) = head.split_at(RECEIVE_HEADER);
        let [a, b, c, d, e, outgoing, f, g] = *prefix.first_chunk()?;
        let skip = if found.options.header_included { 0 } else { usize::from(u16::from_be_bytes([f, g])) };
        let len = found.receive.peek(pool, RECEIVE_HEADER + skip, out);
        let is_frame = matches!(found.options.kind, RawKind::Frames { .. });
        found.receive.pop(pool, &mut self.account);
        let interface = decode_interface([a, b, c, d, e]);
        let interface = self.interfaces.lookup(interface).map(|_| InterfaceId(interface.index as u8));
        let mut meta = RawMeta { interface, outgoing: outgoing != 0, ..RawMeta::default() };
        if !is_frame {
            meta.source = packet_source(header);
            meta.destination = packet_destination(header);
            meta.hop_limit = header[if header[0] >> 4 == 4 { 8 } else { 7 }];
            meta.traffic_class = traffic_class(header);
        }
        Some((len, meta))
    }

    /// Queues a packet, or a frame with its Ethernet header. It leaves with the next calls of [`transmit`](Self::transmit).
    ///
    /// # Errors
    /// See [`RawError`].
    pub fn raw_send(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        socket: RawHandle,
        meta: &RawMeta,
        data: &[u8],
    ) -> Result<(), RawError> {
        self.advance_clock(now);
        let options = self.raw.sockets.lookup(socket.0).ok_or(RawError::NotFound)?.options;
        let interface = meta.interface.or(options.interface);
        match options.kind {
            RawKind::Frames { .. } => self.send_frame(pool, interface.ok_or(RawError::NoInterface)?, data),
            RawKind::Ipv4(_) | RawKind::Ipv6(_) if options.header_included => {
                self.send_packet(pool, interface, matches!(options.kind, RawKind::Ipv4(_)), data)
            }
            RawKind::Ipv4(protocol) | RawKind::Ipv6(protocol) => {
                let is_ipv4 = matches!(options.kind, RawKind::Ipv4(_));
                let destination = meta.destination.filter(|to| to.is_ipv4() == is_ipv4).ok_or(RawError::BadAddress)?;
                let hop = self.raw_hop(interface, destination)?;
                let source = meta.source.unwrap_or(hop.source);
                if source.is_ipv4() != is_ipv4 || !self.is_local_on(hop.interface, source) {
                    return Err(RawError::BadAddress);
                }
                let max = max_payload(destination);
                if data.len() > max {
                    return Err(RawError::TooLong { max });
                }
                let head = IpHead {
                    source,
                    destination,
                    protocol,
                    hop_limit: meta.hop_limit,
                    traffic_class: meta.traffic_class,
                    is_whole: false,
                };
                let (header, header_len) = self.ip_header(hop.interface, &head, data, data.len());
                let header = &header[..header_len];
                match data.split_first_chunk::<4>() {
                    // RFC 3542 §3.1: "the kernel will calculate and insert the ICMPv6 checksum for ICMPv6 raw sockets".
                    Some((&[kind, code, ..], rest)) if !is_ipv4 && protocol == protocol::ICMPV6 => {
                        let mut sum = checksum::pseudo_header(source, destination, protocol, data.len() as u32);
                        sum.add_bytes(&[kind, code, 0, 0]);
                        sum.add_bytes(rest);
                        let [a, b] = sum.finish().to_be_bytes();
                        self.queue_raw(pool, hop.interface, ControlKind::Datagram, &[header, &[kind, code, a, b], rest])
                    }
                    _ => self.queue_raw(pool, hop.interface, ControlKind::Datagram, &[header, data]),
                }
            }
        }
    }

    /// Sends a packet that has its header.
    fn send_packet(
        &mut self,
        pool: &mut Pool<'_>,
        interface: Option<InterfaceId>,
        is_ipv4: bool,
        data: &[u8],
    ) -> Result<(), RawError> {
        let least = if is_ipv4 { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
        let first = data.first().copied().unwrap_or(0);
        let header_len = if is_ipv4 { usize::from(first & 0x0f) * 4 } else { least };
        if first >> 4 != if is_ipv4 { 4 } else { 6 } || header_len < least || header_len > data.len() {
            return Err(RawError::Malformed);
        }
        let destination = packet_destination(data).ok_or(RawError::Malformed)?;
        let hop = self.raw_hop(interface, destination)?;
        let max = match self.is_loopback(hop.interface) {
            true => self.longest_datagram(),
            false => usize::from(self.mtu(hop.interface)),
        };
        let max = max.min(u16::MAX.into());
        if data.len() > max {
            return Err(RawError::TooLong { max });
        }
        let (header, payload) = data.split_at(header_len);
        let mut out = [0; 60];
        let out = &mut out[..header_len];
        out.copy_from_slice(header);
        let is_unspecified = packet_source(header).is_some_and(|source| source.is_unspecified());
        match hop.source {
            IpAddr::V4(source) => {
                out[2..4].copy_from_slice(&(data.len() as u16).to_be_bytes());
                if is_unspecified {
                    out[12..16].copy_from_slice(&source.octets());
                }
                if out[4..6] == [0, 0] {
                    let identification = self.identifications.next_v4(hop.source, destination, header[9]);
                    out[4..6].copy_from_slice(&identification.to_be_bytes());
                }
                out[10..12].fill(0);
                let sum = checksum::sum(out).finish();
                out[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            IpAddr::V6(source) => {
                out[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
                if is_unspecified {
                    out[8..24].copy_from_slice(&source.octets());
                }
            }
        }
        self.queue_raw(pool, hop.interface, ControlKind::Datagram, &[out, payload])
    }

    /// Sends a frame as it is; on an interface without link headers, an IP packet.
    fn send_frame(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, data: &[u8]) -> Result<(), RawError> {
        let found = self.interfaces.get(u32::from(interface.0)).ok_or(RawError::NoInterface)?;
        let (link, max): (&[u8], _) = match found.has_stations() {
            true => (&[], ethernet::HEADER_LEN + usize::from(found.config.mtu)),
            // It is taken off where packets leave.
            false => (&[0; ethernet::HEADER_LEN], usize::from(found.config.mtu)),
        };
        if link.len() + data.len() < ethernet::HEADER_LEN || data.is_empty() {
            return Err(RawError::Malformed);
        }
        if data.len() > max {
            return Err(RawError::TooLong { max });
        }
        self.queue_raw(pool, interface, ControlKind::Frame, &[link, data])
    }

    fn raw_hop(&mut self, interface: Option<InterfaceId>, destination: IpAddr) -> Result<NextHop, RawError> {
        if !is_unicast(destination) && !is_group(destination) || self.cannot_loop_to(destination) {
            return Err(RawError::BadAddress);
        }
        let link = match interface {
            Some(interface) => Some(interface),
            None => self.link_to(SocketAddr::new(destination, 0), None).map_err(RawError::Scope)?,
        };
        self.hop_to(link, destination).ok_or(RawError::NoRoute(destination))
    }

    fn queue_raw(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        kind: ControlKind,
        parts: &[&[u8]],
    ) -> Result<(), RawError> {
        let found = self.interfaces.get_mut(u32::from(interface.0)).ok_or(RawError::NoInterface)?;
        let queued = found.queue_control(pool, &mut self.account, kind, parts);
        if queued { Ok(()) } else { Err(RawError::QueueFull) }
    }

    /// Shows raw sockets a packet for this host; returns whether one of them has its protocol.
    #[cold]
    pub(super) fn raw_input(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, protocol: u8) -> bool {
        let wanted = if packet.source.is_ipv4() { RawKind::Ipv4(protocol) } else { RawKind::Ipv6(protocol) };
        let skip = packet.whole.len() - packet.payload.len();
        self.show(pool, packet.interface, (packet.whole, skip), false, |kind| kind == wanted)
    }

    /// Shows raw sockets a frame.
    #[cold]
    pub(super) fn raw_frame(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, frame: &[u8], is_sent: bool) {
        let medium = self.interfaces.get(u32::from(interface.0)).map(|found| found.config.medium);
        let kind_of = match medium {
            Some(Medium::Ip | Medium::Loopback) => match frame.first().map(|first| first >> 4) {
                Some(4) => ethertype::IPV4,
                _ => ethertype::IPV6,
            },
            _ => EthernetHeader::parse(frame).map_or(0, |(header, _)| header.ethertype),
        };
        self.show(pool, interface, (frame, 0), is_sent, |kind| match kind {
            RawKind::Frames { ethertype, pattern, outgoing } => {
                (outgoing || !is_sent)
                    && ethertype.is_none_or(|wanted| wanted == kind_of)
                    && pattern.is_none_or(|pattern| pattern.is_in(frame))
            }
            _ => false,
        });
    }

    /// Copies a packet, or a frame, for the sockets that want it; returns whether there are any.
    fn show(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        (bytes, skip): (&[u8], usize),
        is_sent: bool,
        wants: impl Fn(RawKind) -> bool,
    ) -> bool {
        let Some(key) = self.interfaces.key(u32::from(interface.0)) else { return false };
        let mut any = false;
        for index in 0..self.raw.sockets.capacity() as u32 {
            let Some(socket) = self.raw.sockets.get_mut(index) else { continue };
            let RawOptions { kind, interface: only, .. } = socket.options;
            if !wants(kind) || only.is_some_and(|only| only != interface) {
                continue;
            }
            any = true;
            let mut prefix = [u8::from(is_sent); RECEIVE_HEADER];
            prefix[..INTERFACE_KEY].copy_from_slice(&encode_interface(key));
            prefix[INTERFACE_KEY + 1..].copy_from_slice(&(skip as u16).to_be_bytes());
            // Who only looks on does not take the last of the memory.
            let has_room = pool.pressure(&self.account) != Pressure::Critical;
            if has_room && socket.receive.push(pool, &mut self.account, 0, &[&prefix, bytes]) {
                socket.signals |= Signals::READABLE;
                self.notify(Node::Raw(index));
            } else {
                self.counters.drop(DropReason::RawQueueFull);
            }
        }
        any
    }
}

/// The source address of an IP packet.
fn packet_source(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => packet.get(12..)?.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        _ => packet.get(8..)?.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
    }
}
