//! Packets as scripts speak of them, on top of the codec of `packet`, which shares nothing with the stack's.

use ethertab::wire::MacAddr;
use std::net::{IpAddr, Ipv6Addr};

use super::options::{self, TcpOption};
use crate::mutate::{repair_checksums, repair_ip_checksum};
use crate::packet::{self, ICMP, ICMPV6, IpFields, TCP, UDP, ethernet, icmp, udp};

pub(super) use crate::packet::{ACK, CWR, FIN, PSH, SYN};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

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
        let (protocol, body) = match &self.payload {
            Payload::Tcp(segment) => (TCP, segment.to_bytes()),
            Payload::Udp(datagram) => (UDP, udp(datagram.source_port, datagram.destination_port, &datagram.data)),
            Payload::Icmp(message) => {
                let protocol = if self.source.is_ipv4() { ICMP } else { ICMPV6 };
                (protocol, icmp(message.kind, message.code, message.rest, &message.data))
            }
        };
        let fields = IpFields { tos: self.tos, hop_limit: self.hop_limit, flow_label: self.flow_label };
        let macs = (MacAddr([0; 6]), MacAddr([0; 6]));
        packet::ip_frame_with(macs, self.source, self.destination, fields, protocol, &body).split_off(ETHERNET)
    }

    /// Reads an Ethernet frame that the stack has sent. None for what scripts do not speak of: ARP, neighbour discovery,
    /// group membership.
    ///
    /// # Errors
    /// Says what is wrong with the packet: a length, a checksum, an option.
    pub(super) fn from_frame(frame: &[u8]) -> Result<Option<Packet>, &'static str> {
        let (ethertype, bytes) = (frame.get(12..14).ok_or("a frame without a header")?, &frame[ETHERNET..]);
        let mut repaired = frame.to_vec();
        repair_checksums(&mut repaired);
        if repaired != frame {
            return Err("a bad checksum of IPv4, TCP, UDP or ICMP");
        }
        match ethertype {
            [0x08, 0x00] => Packet::from_v4(bytes),
            [0x86, 0xdd] => Packet::from_v6(bytes),
            _ => Ok(None),
        }
    }

    fn from_v4(bytes: &[u8]) -> Result<Option<Packet>, &'static str> {
        let header = bytes.first_chunk::<20>().ok_or("an IPv4 header that is cut short")?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] != 0x45 {
            return Err("an IPv4 header with options or of another version");
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
        let segment = packet::Segment {
            source_port: self.source_port,
            destination_port: self.destination_port,
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            urgent: self.urgent,
            options: options::emit(&self.options),
            payload: self.data.clone(),
        };
        segment.to_bytes()
    }

    fn parse(bytes: &[u8]) -> Option<Segment> {
        let segment = packet::Segment::parse(bytes)?;
        Some(Segment {
            source_port: segment.source_port,
            destination_port: segment.destination_port,
            seq: segment.seq,
            ack: segment.ack,
            flags: segment.flags,
            window: segment.window,
            urgent: segment.urgent,
            options: options::parse(&segment.options)?,
            data: segment.payload,
        })
    }

    pub(super) fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }
}

impl Datagram {
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
    fn parse(bytes: &[u8]) -> Option<Message> {
        let [kind, code, _, _, a, b, c, d, data @ ..] = bytes else { return None };
        Some(Message { kind: *kind, code: *code, rest: u32::from_be_bytes([*a, *b, *c, *d]), data: data.to_vec() })
    }
}

/// A frame around an IP packet.
pub(super) fn ethernet_frame(destination: MacAddr, source: MacAddr, is_ipv4: bool, packet: &[u8]) -> Vec<u8> {
    ethernet(destination, source, if is_ipv4 { 0x0800 } else { 0x86dd }, packet)
}

/// An IP header from one address to another, before `body_len` bytes of a protocol.
pub(super) fn ip_header((source, destination): (IpAddr, IpAddr), protocol: u8, body_len: usize) -> Vec<u8> {
    let fields = IpFields { tos: 0, hop_limit: HOP_LIMIT, flow_label: 0 };
    let mut frame = ethernet_frame(
        MacAddr([0; 6]),
        MacAddr([0; 6]),
        source.is_ipv4(),
        &packet::ip_header(source, destination, fields, protocol, body_len),
    );
    repair_ip_checksum(&mut frame);
    frame.split_off(ETHERNET)
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
