//! Packets made and read by hand for tests: a codec of its own, so that a mistake in the stack's does not cancel itself out.
//!
//! TCP segments have a text form, that of packetdrill: flags, sequence numbers, `ack`, `win` and options.
//!
//! ```
//! use ethertab_sim::packet::{Notation, SYN, ACK};
//!
//! let syn_ack: Notation = "S. 0:0(0) ack 1 win 65535 <mss 1460,wscale 7>".parse()?;
//! assert_eq!((syn_ack.flags, syn_ack.ack, syn_ack.window), (SYN | ACK, Some(1), Some(65535)));
//! # Ok::<(), String>(())
//! ```

use crate::mutate::repair_checksums;
use ethertab::wire::MacAddr;
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::str::FromStr;

/// Protocol numbers.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMPv6.
pub const ICMPV6: u8 = 58;

/// The flags of a segment.
pub const FIN: u16 = 0x01;
/// Synchronize.
pub const SYN: u16 = 0x02;
/// Reset.
pub const RST: u16 = 0x04;
/// Push.
pub const PSH: u16 = 0x08;
/// The acknowledgment field counts.
pub const ACK: u16 = 0x10;
/// The urgent pointer counts.
pub const URG: u16 = 0x20;
/// The congestion window was reduced (RFC 3168).
pub const CWR: u16 = 0x80;
/// All nine, of which the highest is RFC 9768's AE.
const ALL_FLAGS: u16 = 0x1ff;

/// The flags as letters; `.` stands for ACK.
const LETTERS: [(u16, char); 6] = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (PSH, 'P'), (URG, 'U'), (ACK, '.')];

const ETHERNET: usize = 14;

/// An Ethernet II frame.
pub fn ethernet(destination: MacAddr, source: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination.0[..], &source.0, &ethertype.to_be_bytes(), payload].concat()
}

/// What an IP header says beside addresses, protocol and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpFields {
    /// TOS or traffic class.
    pub tos: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Flow label of IPv6.
    pub flow_label: u32,
}

/// An IP header before `len` bytes of a protocol. The checksum of IPv4 is zero.
///
/// # Panics
/// If the addresses are not of one family.
pub fn ip_header(source: IpAddr, destination: IpAddr, fields: IpFields, protocol: u8, len: usize) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [high, low] = (20 + len as u16).to_be_bytes();
            // No identification, Don't Fragment.
            let mut header = vec![0x45, fields.tos, high, low, 0, 0, 0x40, 0, fields.hop_limit, protocol, 0, 0];
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let first = 6 << 28 | u32::from(fields.tos) << 20 | fields.flow_label & 0xf_ffff;
            let mut header = first.to_be_bytes().to_vec();
            header.extend((len as u16).to_be_bytes());
            header.extend([protocol, fields.hop_limit]);
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
        _ => panic!("{source} and {destination} are not of one family"),
    }
}

/// A frame with an IP packet that carries `payload`. The checksums of IPv4, TCP, UDP and ICMP are put in.
///
/// # Panics
/// If the addresses are not of one family.
pub fn ip_frame(
    macs: (MacAddr, MacAddr),
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    // Neighbour discovery has to come from the link (RFC 4861 §6.1), and the rest does not mind.
    let hop_limit = if source.is_ipv4() { 64 } else { 255 };
    let fields = IpFields { tos: 0, hop_limit, flow_label: 0 };
    ip_frame_with(macs, source, destination, fields, protocol, payload)
}

/// The same with these fields in the IP header.
///
/// # Panics
/// If the addresses are not of one family.
pub fn ip_frame_with(
    macs: (MacAddr, MacAddr),
    source: IpAddr,
    destination: IpAddr,
    fields: IpFields,
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let ethertype = if source.is_ipv4() { 0x0800 } else { 0x86dd };
    let header = ip_header(source, destination, fields, protocol, payload.len());
    let mut frame = ethernet(macs.1, macs.0, ethertype, &[&header[..], payload].concat());
    repair_checksums(&mut frame);
    frame
}

/// A UDP datagram; [`ip_frame`] puts the checksum in.
pub fn udp(source_port: u16, destination_port: u16, data: &[u8]) -> Vec<u8> {
    let len = 8 + data.len() as u16;
    let mut out = Vec::new();
    for field in [source_port, destination_port, len, 0] {
        out.extend(field.to_be_bytes());
    }
    out.extend(data);
    out
}

/// An ICMP or ICMPv6 message; [`ip_frame`] puts the checksum in.
pub fn icmp(kind: u8, code: u8, rest: u32, data: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0][..], &rest.to_be_bytes(), data].concat()
}

/// An ARP packet for IPv4 over Ethernet: operation 1 asks, 2 answers.
pub fn arp(operation: u16, sender: (MacAddr, [u8; 4]), target: (MacAddr, [u8; 4])) -> Vec<u8> {
    let mut out = vec![0, 1, 8, 0, 6, 4];
    out.extend(operation.to_be_bytes());
    for (mac, ip) in [sender, target] {
        out.extend(mac.0);
        out.extend(ip);
    }
    out
}

/// A fragment of the packet in a frame: `len` bytes, as far as there are so many, at `offset` of what follows an IP header
/// without options or extensions.
pub fn fragment(frame: &[u8], identification: u32, (offset, len): (usize, usize), more: bool) -> Vec<u8> {
    let is_ipv6 = frame[12] == 0x86;
    let (headers, payload) = frame.split_at(ETHERNET + if is_ipv6 { 40 } else { 20 });
    let part = &payload[offset.min(payload.len())..(offset + len).min(payload.len())];
    let mut out = headers.to_vec();
    if is_ipv6 {
        out[18..20].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
        let next_header = std::mem::replace(&mut out[20], 44);
        out.extend([next_header, 0]);
        out.extend((offset as u16 | u16::from(more)).to_be_bytes());
        out.extend(identification.to_be_bytes());
    } else {
        out[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        out[18..20].copy_from_slice(&(identification as u16).to_be_bytes());
        out[20..22].copy_from_slice(&((offset / 8) as u16 | (u16::from(more) << 13)).to_be_bytes());
    }
    out.extend(part);
    // Of the IPv4 header only: the transport's checksum is the whole datagram's.
    crate::mutate::repair_ip_checksum(&mut out);
    out
}

/// The packet in a frame as fragments with `size` bytes of payload each, a multiple of eight.
pub fn fragments(frame: &[u8], identification: u32, size: usize) -> Vec<Vec<u8>> {
    let len = frame.len() - ETHERNET - if frame[12] == 0x86 { 40 } else { 20 };
    let offsets = (0..len).step_by(size);
    offsets.map(|offset| fragment(frame, identification, (offset, size), offset + size < len)).collect()
}

/// The protocol and payload of the IP packet in a frame, and its addresses.
pub fn parse_ip(frame: &[u8]) -> Option<(IpAddr, IpAddr, u8, &[u8])> {
    let packet = frame.get(ETHERNET..)?;
    match frame.get(12..ETHERNET)? {
        [0x08, 0x00] => {
            let header = packet.first_chunk::<20>()?;
            let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let payload = packet.get(usize::from(header[0] & 15) * 4..len)?;
            let [source, destination] =
                [12, 16].map(|at| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]));
            Some((source, destination, header[9], payload))
        }
        [0x86, 0xdd] => {
            let header = packet.first_chunk::<40>()?;
            let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
            let source: [u8; 16] = header[8..24].try_into().ok()?;
            let destination: [u8; 16] = header[24..40].try_into().ok()?;
            Some((source.into(), destination.into(), header[6], packet.get(40..40 + len)?))
        }
        _ => None,
    }
}

/// A TCP segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// All nine flags, from [`FIN`] on.
    pub flags: u16,
    /// The window field.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// The options' bytes, without the padding that makes them a multiple of four.
    pub options: Vec<u8>,
    /// The data.
    pub payload: Vec<u8>,
}

impl Segment {
    /// The segment's bytes, with a checksum of zero: [`ip_frame`] puts it in.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len().next_multiple_of(4);
        let mut out = Vec::with_capacity(header_len + self.payload.len());
        out.extend(self.source_port.to_be_bytes());
        out.extend(self.destination_port.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.extend(((header_len as u16 / 4) << 12 | self.flags & ALL_FLAGS).to_be_bytes());
        out.extend(self.window.to_be_bytes());
        out.extend([0, 0]);
        out.extend(self.urgent.to_be_bytes());
        out.extend(&self.options);
        out.resize(header_len, 0);
        out.extend(&self.payload);
        out
    }

    /// Reads a segment; its checksum is not looked at.
    pub fn parse(bytes: &[u8]) -> Option<Segment> {
        let header = bytes.first_chunk::<20>()?;
        let u16_at = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) << 16 | u32::from(u16_at(at + 2));
        let header_len = usize::from(header[12] >> 4) * 4;
        Some(Segment {
            source_port: u16_at(0),
            destination_port: u16_at(2),
            seq: u32_at(4),
            ack: u32_at(8),
            flags: u16_at(12) & ALL_FLAGS,
            window: u16_at(14),
            urgent: u16_at(18),
            options: bytes.get(20..header_len)?.to_vec(),
            payload: bytes.get(header_len..)?.to_vec(),
        })
    }

    /// The segment as text, with sequence and acknowledgment numbers relative to these.
    pub fn relative_to(&self, seq: u32, ack: u32) -> String {
        let (seq, len) = (self.seq.wrapping_sub(seq), self.payload.len() as u32);
        let mut text = String::new();
        text.extend(LETTERS.iter().filter(|(flag, _)| self.flags & flag != 0).map(|(_, letter)| letter));
        let end = seq.wrapping_add(len);
        let write = write!(text, " {seq}:{end}({len})").and_then(|()| match self.flags & ACK {
            0 => Ok(()),
            _ => write!(text, " ack {}", self.ack.wrapping_sub(ack)),
        });
        let options = options_text(&self.options);
        write
            .and_then(|()| write!(text, " win {}", self.window))
            .and_then(|()| if options.is_empty() { Ok(()) } else { write!(text, " <{options}>") })
            .map_or_else(|fmt::Error| String::new(), |()| text)
    }
}

/// The options that have a name in [`Notation`], as there; the rest by number. Padding does not count.
pub fn options_text(mut options: &[u8]) -> String {
    let mut names = Vec::new();
    while let [kind, rest @ ..] = options {
        let len = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(rest.first().copied().unwrap_or(0)).max(2),
        };
        match (kind, rest) {
            (1, _) => {}
            (2, [4, high, low, ..]) => names.push(format!("mss {}", u16::from_be_bytes([*high, *low]))),
            (3, [3, shift, ..]) => names.push(format!("wscale {shift}")),
            _ => names.push(format!("option {kind}")),
        }
        options = options.get(len..).unwrap_or(&[]);
    }
    names.join(",")
}

/// A segment in the notation of packetdrill: `P. 1:1001(1000) ack 1 win 65535 <mss 1460,wscale 7>`. `win` and the options
/// may be left out; options are `mss`, `wscale` and, for anything else, bytes in hexadecimal (`0x0204`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notation {
    /// Flags.
    pub flags: u16,
    /// Relative sequence number.
    pub seq: u32,
    /// Bytes of payload.
    pub len: u32,
    /// Relative acknowledgment number.
    pub ack: Option<u32>,
    /// The window field.
    pub window: Option<u16>,
    /// The options' bytes.
    pub options: Option<Vec<u8>>,
}

impl FromStr for Notation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a segment");
        let (main, options) = match text.split_once('<') {
            Some((main, options)) => (main, Some(options.strip_suffix('>').ok_or_else(wrong)?)),
            None => (text, None),
        };
        let mut words = main.split_whitespace();
        let letters = words.next().ok_or_else(wrong)?;
        let mut flags = 0;
        for letter in letters.chars().filter(|letter| *letter != '-') {
            flags |= LETTERS.iter().find(|(_, name)| *name == letter).ok_or_else(wrong)?.0;
        }
        let (seq, rest) = words.next().and_then(|range| range.split_once(':')).ok_or_else(wrong)?;
        let (_, len) = rest.split_once('(').ok_or_else(wrong)?;
        let seq = seq.parse().map_err(|_| wrong())?;
        let len = len.trim_end_matches(')').parse().map_err(|_| wrong())?;
        let (mut ack, mut window) = (None, None);
        while let Some(word) = words.next() {
            let number: u32 = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
            match word {
                "ack" => ack = Some(number),
                "win" => window = Some(u16::try_from(number).map_err(|_| wrong())?),
                _ => return Err(wrong()),
            }
        }
        let options = options.map(|options| parse_options(options).ok_or_else(wrong)).transpose()?;
        Ok(Notation { flags, seq, len, ack, window, options })
    }
}

fn parse_options(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option.split_once(' ') {
            Some(("mss", value)) => {
                out.extend([2, 4]);
                out.extend(value.parse::<u16>().ok()?.to_be_bytes());
            }
            Some(("wscale", value)) => out.extend([3, 3, value.parse().ok()?]),
            _ => {
                let digits = option.strip_prefix("0x")?;
                for at in (0..digits.len()).step_by(2) {
                    out.push(u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?);
                }
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_survives_its_text() {
        for text in ["S 0:0(0) win 65535 <mss 1460,wscale 7>", "FP. 1:1001(1000) ack 1 win 0", "R 7:7(0) win 0"] {
            let notation: Notation = text.parse().unwrap();
            let segment = Segment {
                seq: notation.seq.wrapping_sub(5),
                ack: notation.ack.unwrap_or(0).wrapping_add(9),
                flags: notation.flags,
                window: notation.window.unwrap(),
                options: notation.options.clone().unwrap_or_default(),
                payload: vec![1; notation.len as usize],
                ..Segment::default()
            };
            let parsed = Segment::parse(&segment.to_bytes()).unwrap();
            assert_eq!(parsed.relative_to(5u32.wrapping_neg(), 9), text);
        }
        assert!("X 0:0(0)".parse::<Notation>().is_err() && "S".parse::<Notation>().is_err());
        assert!("S 0:0(0) <mss>".parse::<Notation>().is_err());
    }

    #[test]
    fn a_frame_says_what_was_put_in() {
        for (a, b) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let (a, b): (IpAddr, IpAddr) = (a.parse().unwrap(), b.parse().unwrap());
            let datagram = udp(53, 68, b"data");
            let frame = ip_frame((MacAddr([2; 6]), MacAddr([4; 6])), a, b, UDP, &datagram);
            let (source, destination, protocol, payload) = parse_ip(&frame).unwrap();
            assert_eq!((source, destination, protocol), (a, b, UDP));
            assert_eq!((&payload[..6], &payload[8..]), (&datagram[..6], &b"data"[..]));
        }
    }
}
