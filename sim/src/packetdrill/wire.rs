//! Packets as bytes: a codec that shares nothing with the stack's, so that a mistake there does not cancel itself out.

use ethertab::wire::MacAddr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::options::{self, TcpOption};

/// FIN.
pub(super) const FIN: u16 = 0x001;
/// SYN.
pub(super) const SYN: u16 = 0x002;
/// PSH.
pub(super) const PSH: u16 = 0x008;
/// ACK.
pub(super) const ACK: u16 = 0x010;

/// CWR.
pub(super) const CWR: u16 = 0x080;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// TTL and hop limit of what scripts send.
const HOP_LIMIT: u8 = 64;

/// An IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// TOS or traffic class.
    pub(super) tos: u8,
    /// TTL or hop limit.
    pub(super) hop_limit: u8,
    pub(super) flow_label: u32,
    pub(super) payload: Payload,
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    Tcp(Segment),
    Udp(Datagram),
    Icmp(Message),
}

/// A TCP segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// All nine, from FIN to AE (RFC 9768 §3.1).
    pub(super) flags: u16,
    pub(super) window: u16,
    pub(super) urgent: u16,
    pub(super) options: Vec<TcpOption>,
    pub(super) data: Vec<u8>,
}

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) data: Vec<u8>,
}

/// An ICMP or ICMPv6 message, whichever the addresses say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) code: u8,
    /// The four bytes behind the checksum.
    pub(super) rest: u32,
    pub(super) data: Vec<u8>,
}

impl Packet {
    pub(super) fn new(source: IpAddr, destination: IpAddr, payload: Payload) -> Self {
        Packet { source, destination, tos: 0, hop_limit: HOP_LIMIT, flow_label: 0, payload }
    }

    /// The packet's bytes from the IP header on, with its checksums.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (protocol, mut body, checksum_at) = match &self.payload {
            Payload::Tcp(segment) => (TCP, segment.to_bytes(), 16),
            Payload::Udp(datagram) => (UDP, datagram.to_bytes(), 6),
            Payload::Icmp(message) if self.source.is_ipv4() => (ICMP, message.to_bytes(), 2),
            Payload::Icmp(message) => (ICMPV6, message.to_bytes(), 2),
        };
        let mut sum = !checksum(self.pseudo_header(protocol, body.len()), &body);
        sum = match (protocol, !sum) {
            // RFC 768: a sum of zero is sent as all ones.
            (UDP, 0) => 0xffff,
            (_, sum) => sum,
        };
        body[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        let fields = (self.tos, self.hop_limit, self.flow_label);
        [ip_header_with((self.source, self.destination), fields, protocol, body.len()), body].concat()
    }

    fn pseudo_header(&self, protocol: u8, len: usize) -> u32 {
        if protocol == ICMP {
            return 0;
        }
        let mut bytes = Vec::new();
        match (self.source, self.destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
            }
            (source, destination) => {
                bytes.extend(v4(source).octets());
                bytes.extend(v4(destination).octets());
            }
        }
        bytes.extend((len as u32).to_be_bytes());
        bytes.extend([0, 0, 0, protocol]);
        ones_sum(0, &bytes)
    }

    /// Reads an Ethernet frame that the stack has sent. None for what scripts do not speak of: ARP, neighbour discovery,
    /// group membership.
    ///
    /// # Errors
    /// Says what is wrong with the packet: a length, a checksum, an option.
    pub(super) fn from_frame(frame: &[u8]) -> Result<Option<Packet>, &'static str> {
        let (ethertype, bytes) = (frame.get(12..14).ok_or("a frame without a header")?, &frame[14..]);
        match ethertype {
            [0x08, 0x00] => Packet::from_v4(bytes),
            [0x86, 0xdd] => Packet::from_v6(bytes),
            _ => Ok(None),
        }
    }

    fn from_v4(bytes: &[u8]) -> Result<Option<Packet>, &'static str> {
        let header = bytes.first_chunk::<20>().ok_or("an IPv4 header that is cut short")?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] != 0x45 || checksum(0, header) != 0 {
            return Err("an IPv4 header with options, of another version or with a bad checksum");
        }
        let address = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let body = bytes.get(20..len).ok_or("an IPv4 packet with a bad length")?;
        let (source, destination) = (address(12), address(16));
        Packet { tos: header[1], hop_limit: header[8], ..Packet::shell(source, destination) }.with_body(header[9], body)
    }

    fn from_v6(bytes: &[u8]) -> Result<Option<Packet>, &'static str> {
        let header = bytes.first_chunk::<40>().ok_or("an IPv6 header that is cut short")?;
        let first = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let address = |at: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&header[at..at + 16]);
            IpAddr::from(Ipv6Addr::from(octets))
        };
        if first >> 28 != 6 {
            return Err("an IPv6 header of another version");
        }
        let body = bytes.get(40..40 + len).ok_or("an IPv6 packet with a bad length")?;
        let packet = Packet {
            tos: (first >> 20) as u8,
            hop_limit: header[7],
            flow_label: first & 0xf_ffff,
            ..Packet::shell(address(8), address(24))
        };
        packet.with_body(header[6], body)
    }

    fn shell(source: IpAddr, destination: IpAddr) -> Packet {
        Packet::new(
            source,
            destination,
            Payload::Udp(Datagram { source_port: 0, destination_port: 0, data: Vec::new() }),
        )
    }

    fn with_body(mut self, protocol: u8, body: &[u8]) -> Result<Option<Packet>, &'static str> {
        let is_summed = matches!(protocol, ICMP | TCP | UDP | ICMPV6);
        if is_summed && checksum(self.pseudo_header(protocol, body.len()), body) != 0 {
            return Err("a bad TCP, UDP or ICMP checksum");
        }
        self.payload = match protocol {
            TCP => Payload::Tcp(Segment::parse(body).ok_or("a malformed TCP header or option")?),
            UDP => Payload::Udp(Datagram::parse(body).ok_or("a malformed UDP header")?),
            // Neighbour discovery and group membership (RFC 4861, RFC 3810).
            ICMPV6 if matches!(body.first(), Some(130..=137 | 143)) => return Ok(None),
            ICMP | ICMPV6 => Payload::Icmp(Message::parse(body).ok_or("an ICMP message that is cut short")?),
            _ => return Ok(None),
        };
        Ok(Some(self))
    }

    /// Bytes of payload: of the segment, the datagram or the message.
    pub(super) fn payload_len(&self) -> usize {
        match &self.payload {
            Payload::Tcp(segment) => segment.data.len(),
            Payload::Udp(datagram) => datagram.data.len(),
            Payload::Icmp(message) => message.data.len(),
        }
    }
}

impl Segment {
    /// The segment's bytes with a checksum of zero.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let options = options::emit(&self.options);
        let mut out = Vec::with_capacity(20 + options.len() + self.data.len());
        out.extend(self.source_port.to_be_bytes());
        out.extend(self.destination_port.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.extend([((5 + options.len() / 4) as u8) << 4 | (self.flags >> 8) as u8 & 1, self.flags as u8]);
        out.extend(self.window.to_be_bytes());
        out.extend([0, 0]);
        out.extend(self.urgent.to_be_bytes());
        out.extend(options);
        out.extend(&self.data);
        out
    }

    fn parse(bytes: &[u8]) -> Option<Segment> {
        let header = bytes.first_chunk::<20>()?;
        let u16_at = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) << 16 | u32::from(u16_at(at + 2));
        let header_len = usize::from(header[12] >> 4) * 4;
        Some(Segment {
            source_port: u16_at(0),
            destination_port: u16_at(2),
            seq: u32_at(4),
            ack: u32_at(8),
            flags: u16_at(12) & 0x1ff,
            window: u16_at(14),
            urgent: u16_at(18),
            options: options::parse(bytes.get(20..header_len)?)?,
            data: bytes.get(header_len..)?.to_vec(),
        })
    }

    pub(super) fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }
}

impl Datagram {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for field in [self.source_port, self.destination_port, 8 + self.data.len() as u16, 0] {
            out.extend(field.to_be_bytes());
        }
        out.extend(&self.data);
        out
    }

    fn parse(bytes: &[u8]) -> Option<Datagram> {
        let header = bytes.first_chunk::<8>()?;
        let u16_at = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if usize::from(u16_at(4)) != bytes.len() {
            return None;
        }
        Some(Datagram { source_port: u16_at(0), destination_port: u16_at(2), data: bytes[8..].to_vec() })
    }
}

impl Message {
    fn to_bytes(&self) -> Vec<u8> {
        [&[self.kind, self.code, 0, 0][..], &self.rest.to_be_bytes(), &self.data].concat()
    }

    fn parse(bytes: &[u8]) -> Option<Message> {
        let [kind, code, _, _, a, b, c, d, data @ ..] = bytes else { return None };
        Some(Message { kind: *kind, code: *code, rest: u32::from_be_bytes([*a, *b, *c, *d]), data: data.to_vec() })
    }
}

/// A frame around an IP packet.
pub(super) fn ethernet_frame(destination: MacAddr, source: MacAddr, is_ipv4: bool, packet: &[u8]) -> Vec<u8> {
    let ethertype: u16 = if is_ipv4 { 0x0800 } else { 0x86dd };
    [&destination.0[..], &source.0, &ethertype.to_be_bytes(), packet].concat()
}

/// An IP header from one address to another, before `body_len` bytes of a protocol.
pub(super) fn ip_header(addresses: (IpAddr, IpAddr), protocol: u8, body_len: usize) -> Vec<u8> {
    ip_header_with(addresses, (0, HOP_LIMIT, 0), protocol, body_len)
}

/// The same with these TOS, TTL and flow label.
fn ip_header_with(
    (source, destination): (IpAddr, IpAddr),
    (tos, hop_limit, flow_label): (u8, u8, u32),
    protocol: u8,
    body_len: usize,
) -> Vec<u8> {
    if let (IpAddr::V6(source), IpAddr::V6(destination)) = (source, destination) {
        let first = 6 << 28 | u32::from(tos) << 20 | (flow_label & 0xf_ffff);
        let mut out = first.to_be_bytes().to_vec();
        out.extend((body_len as u16).to_be_bytes());
        out.extend([protocol, hop_limit]);
        out.extend(source.octets());
        out.extend(destination.octets());
        return out;
    }
    let mut out = vec![0x45, tos];
    out.extend((20 + body_len as u16).to_be_bytes());
    // No identification, Don't Fragment.
    out.extend([0, 0, 0x40, 0, hop_limit, protocol, 0, 0]);
    out.extend(v4(source).octets());
    out.extend(v4(destination).octets());
    let sum = checksum(0, &out);
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    out
}

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        // Only a pair of one family is ever built.
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

/// The sum of RFC 1071, not yet folded.
fn ones_sum(start: u32, bytes: &[u8]) -> u32 {
    bytes.chunks(2).fold(start, |sum, pair| {
        let word = u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum + word
    })
}

fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = ones_sum(start, bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Segment {
        Segment {
            source_port: 8080,
            destination_port: 50_000,
            seq: 1,
            ack: u32::MAX,
            flags: ACK | PSH | 0x100,
            window: 7,
            urgent: 3,
            options: vec![TcpOption::Nop, TcpOption::Mss(1000), TcpOption::Eol],
            data: b"odd".to_vec(),
        }
    }

    #[test]
    fn packets_of_both_families_survive_the_wire() {
        let macs = (MacAddr([2; 6]), MacAddr([4; 6]));
        for (a, b) in [("192.0.2.1", "192.168.0.1"), ("2001:db8::1", "fd00::1")] {
            for payload in [
                Payload::Tcp(Segment { options: vec![TcpOption::Mss(1000)], ..segment() }),
                Payload::Udp(Datagram { source_port: 1, destination_port: 2, data: vec![1; 9] }),
                Payload::Icmp(Message { kind: 3, code: 4, rest: 1200, data: vec![2; 28] }),
            ] {
                let mut packet = Packet::new(a.parse().unwrap(), b.parse().unwrap(), payload);
                packet.tos = 3;
                let frame = ethernet_frame(macs.0, macs.1, packet.source.is_ipv4(), &packet.to_bytes());
                assert_eq!(Packet::from_frame(&frame), Ok(Some(packet)));
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let packet = Packet::new(
            "192.0.2.1".parse().unwrap(),
            "192.168.0.1".parse().unwrap(),
            Payload::Tcp(Segment { options: vec![], ..segment() }),
        );
        let frame = ethernet_frame(MacAddr([2; 6]), MacAddr([4; 6]), true, &packet.to_bytes());
        for at in 14..frame.len() {
            let mut bad = frame.clone();
            bad[at] ^= 1;
            assert!(Packet::from_frame(&bad).is_err(), "byte {at}");
        }
    }
}
