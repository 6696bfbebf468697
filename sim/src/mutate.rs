//! Damages frames the way an attacker or a broken peer would: single fields, lengths, bytes, cut, extended, spliced. In most
//! results the checksums are put right again, so that the damage gets past the first check and deep into the stack.

use crate::random::Random;

/// What was done to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Damage {
    /// Up to eight random bits flipped.
    Bits,
    /// A run of bytes replaced by random ones or by one value.
    Bytes,
    /// A header field replaced by a value that tends to hurt.
    Field,
    /// Cut short.
    Truncate,
    /// Bytes added at the end.
    Extend,
    /// Bytes put in or taken out in the middle.
    Shift,
    /// The head of this frame, the tail of another one.
    Splice,
}

/// A frame mutator; the same seed and the same frames give the same results.
#[derive(Clone, Debug)]
pub struct Mutator {
    random: Random,
}

/// Where the headers of a frame begin, as far as it has any.
#[derive(Clone, Copy, Debug)]
struct Layout {
    network: usize,
    version: Version,
    transport: Option<(usize, u8)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Four,
    Six,
    Other,
}

const ETHERNET: usize = 14;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Offset and length of the fields worth attacking, from the start of their header.
const ETHERNET_FIELDS: &[(usize, usize)] = &[(0, 6), (6, 6), (12, 2)];
const ARP_FIELDS: &[(usize, usize)] = &[(0, 2), (2, 2), (4, 1), (5, 1), (6, 2), (8, 6), (14, 4), (18, 6), (24, 4)];
const IPV4_FIELDS: &[(usize, usize)] =
    &[(0, 1), (1, 1), (2, 2), (4, 2), (6, 2), (8, 1), (9, 1), (10, 2), (12, 4), (16, 4), (20, 4)];
const IPV6_FIELDS: &[(usize, usize)] = &[(0, 4), (4, 2), (6, 1), (7, 1), (8, 16), (24, 16), (40, 2)];
const TCP_FIELDS: &[(usize, usize)] = &[
    (0, 2),
    (2, 2),
    (4, 4),
    (8, 4),
    (12, 1),
    (13, 1),
    (14, 2),
    (16, 2),
    (18, 2),
    (20, 1),
    (21, 1),
    (22, 2),
    (24, 4),
    (28, 4),
    (32, 4),
];
const UDP_FIELDS: &[(usize, usize)] = &[(0, 2), (2, 2), (4, 2), (6, 2)];
const ICMP_FIELDS: &[(usize, usize)] =
    &[(0, 1), (1, 1), (2, 2), (4, 4), (8, 1), (8, 16), (10, 2), (24, 1), (25, 1), (26, 6), (28, 4)];

impl Mutator {
    /// A mutator whose choices depend on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Mutator { random: Random::new(seed, 0) }
    }

    /// Puts a damaged copy of `frame` into `out`; `other` lends its tail for splicing. In seven of eight results the
    /// checksums are right, as far as the lengths in the headers let them be. Returns what was done.
    pub fn mutate(&mut self, frame: &[u8], other: &[u8], out: &mut Vec<u8>) -> Damage {
        out.clear();
        out.extend_from_slice(frame);
        let damage = match self.random.below(16) {
            0 | 1 => self.flip_bits(out),
            2 | 3 => self.replace_bytes(out),
            4..=10 => self.replace_field(out),
            11 => self.truncate(out),
            12 => self.extend(out),
            13 => self.shift(out),
            _ => self.splice(out, other),
        };
        // Damage that changes the length is mostly noticed at once unless the length fields follow it.
        if self.random.below(2) == 0 {
            repair_lengths(out);
        }
        if self.random.below(8) != 0 {
            repair_checksums(out);
        }
        damage
    }

    fn flip_bits(&mut self, out: &mut [u8]) -> Damage {
        for _ in 0..=self.random.below(8) {
            let bit = self.random.index(out.len() * 8);
            if let Some(byte) = out.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Damage::Bits
    }

    fn replace_bytes(&mut self, out: &mut [u8]) -> Damage {
        let start = self.random.index(out.len());
        let len = 1 + self.random.index((out.len() - start).min(32));
        let value = match self.random.below(4) {
            0 => Some(0x00),
            1 => Some(0xff),
            2 => Some(0x01),
            _ => None,
        };
        for byte in out.iter_mut().skip(start).take(len) {
            *byte = value.unwrap_or_else(|| self.random.next_u32() as u8);
        }
        Damage::Bytes
    }

    fn replace_field(&mut self, out: &mut [u8]) -> Damage {
        let layout = layout(out);
        let (header, fields) = match (layout, self.random.below(8)) {
            (Some(Layout { transport: Some((at, TCP)), .. }), 0..=4) => (at, TCP_FIELDS),
            (Some(Layout { transport: Some((at, UDP)), .. }), 0..=4) => (at, UDP_FIELDS),
            (Some(Layout { transport: Some((at, ICMP | ICMPV6)), .. }), 0..=4) => (at, ICMP_FIELDS),
            (Some(Layout { network, version: Version::Four, .. }), 1..=6) => (network, IPV4_FIELDS),
            (Some(Layout { network, version: Version::Six, .. }), 1..=6) => (network, IPV6_FIELDS),
            (Some(Layout { network, version: Version::Other, .. }), 1..=6) => (network, ARP_FIELDS),
            _ => (0, ETHERNET_FIELDS),
        };
        let (offset, len) = fields[self.random.index(fields.len())];
        if let Some(field) = out.get_mut(header + offset..header + offset + len) {
            self.hurt(field);
        }
        Damage::Field
    }

    /// Gives a field (big-endian) a value at or near an edge, near its old one, or any value.
    fn hurt(&mut self, field: &mut [u8]) {
        match self.random.below(8) {
            0 => field.fill(0),
            1 => field.fill(0xff),
            2 => {
                field.fill(0);
                field[field.len() - 1] = 1;
            }
            3 => {
                field.fill(0);
                field[0] = 0x80;
            }
            4 => add(field, 1),
            5 => add(field, -1),
            6 => {
                let distance = self.random.below(65_536) as i64 - 32_768;
                add(field, distance);
            }
            _ => field.fill_with(|| self.random.next_u32() as u8),
        }
    }

    fn truncate(&mut self, out: &mut Vec<u8>) -> Damage {
        out.truncate(self.random.index(out.len()));
        Damage::Truncate
    }

    fn extend(&mut self, out: &mut Vec<u8>) -> Damage {
        for _ in 0..=self.random.below(64) {
            out.push(self.random.next_u32() as u8);
        }
        Damage::Extend
    }

    fn shift(&mut self, out: &mut Vec<u8>) -> Damage {
        let at = self.random.index(out.len());
        let len = 1 + self.random.index(8);
        if self.random.below(2) == 0 {
            let end = (at + len).min(out.len());
            out.drain(at..end);
        } else {
            let value = self.random.next_u32() as u8;
            out.splice(at..at, std::iter::repeat_n(value, len));
        }
        Damage::Shift
    }

    fn splice(&mut self, out: &mut Vec<u8>, other: &[u8]) -> Damage {
        // At header boundaries most often: that joins the headers of one packet to those of another.
        const BOUNDARIES: [usize; 5] = [6, 12, ETHERNET, 34, 54];
        let cut = |random: &mut Random, len: usize| match random.below(4) {
            0 => random.index(len),
            _ => BOUNDARIES[random.index(BOUNDARIES.len())].min(len),
        };
        let at = cut(&mut self.random, out.len());
        let from = if self.random.below(2) == 0 { at.min(other.len()) } else { cut(&mut self.random, other.len()) };
        out.truncate(at);
        out.extend_from_slice(&other[from..]);
        Damage::Splice
    }
}

/// Adds to a big-endian number of any length, wrapping.
fn add(field: &mut [u8], distance: i64) {
    let mut carry = distance;
    for byte in field.iter_mut().rev() {
        let sum = i64::from(*byte) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

fn layout(frame: &[u8]) -> Option<Layout> {
    let ethertype = frame.get(12..14)?;
    let network = ETHERNET;
    let ip = frame.get(network..)?;
    let (version, transport) = match (ethertype, ip) {
        ([0x08, 0x00], [first, ..]) => {
            let header = usize::from(first & 0x0f) * 4;
            let protocol = ip.get(9).copied();
            (Version::Four, protocol.filter(|_| header >= 20).map(|protocol| (network + header, protocol)))
        }
        ([0x86, 0xdd], _) => (Version::Six, ip.get(6).map(|protocol| (network + 40, *protocol))),
        _ => (Version::Other, None),
    };
    Some(Layout { network, version, transport: transport.filter(|(at, _)| *at < frame.len()) })
}

/// Makes the IP and UDP length fields say how long the frame is.
pub fn repair_lengths(frame: &mut [u8]) {
    let Some(Layout { network, version, transport }) = layout(frame) else {
        return;
    };
    let len = frame.len() - network;
    match version {
        Version::Four => put_u16(frame, network + 2, len as u16),
        Version::Six => put_u16(frame, network + 4, len.saturating_sub(40) as u16),
        Version::Other => {}
    }
    if let Some((at, UDP)) = transport {
        put_u16(frame, at + 4, (frame.len() - at) as u16);
    }
}

/// Makes the checksum of an IPv4 header without options right.
pub(crate) fn repair_ip_checksum(frame: &mut [u8]) {
    if get_u16(frame, 12) == 0x0800 {
        put_checksum(frame, ETHERNET..ETHERNET + 20, ETHERNET + 10, 0);
    }
}

/// Makes the checksums of IPv4, TCP, UDP and ICMP right, as far as the lengths in the headers fit the frame.
pub fn repair_checksums(frame: &mut [u8]) {
    let Some(Layout { network, version, transport }) = layout(frame) else {
        return;
    };
    let (end, addresses) = match version {
        Version::Four => {
            let header_end = transport.map_or(network + 20, |(at, _)| at);
            put_checksum(frame, network..header_end, network + 10, 0);
            (network + usize::from(get_u16(frame, network + 2)), network + 12..network + 20)
        }
        Version::Six => (network + 40 + usize::from(get_u16(frame, network + 4)), network + 8..network + 40),
        Version::Other => return,
    };
    let Some((at, protocol)) = transport else {
        return;
    };
    let end = end.min(frame.len());
    let (Some(addresses), Some(len)) = (frame.get(addresses), end.checked_sub(at)) else {
        return;
    };
    // RFC 9293 §3.1, RFC 8200 §8.1: addresses, protocol and length; the same sum for both versions of IP.
    let pseudo_header = sum(addresses) + u64::from(protocol) + len as u64;
    match (protocol, version) {
        (TCP, _) => put_checksum(frame, at..end, at + 16, pseudo_header),
        (UDP, _) => {
            put_checksum(frame, at..end, at + 6, pseudo_header);
            // RFC 768: a checksum of zero is sent as all ones, since zero means that there is none.
            if get_u16(frame, at + 6) == 0 && at + 8 <= end {
                put_u16(frame, at + 6, 0xffff);
            }
        }
        (ICMP, Version::Four) => put_checksum(frame, at..end, at + 2, 0),
        (ICMPV6, Version::Six) => put_checksum(frame, at..end, at + 2, pseudo_header),
        _ => {}
    }
}

fn put_checksum(frame: &mut [u8], range: std::ops::Range<usize>, at: usize, initial: u64) {
    if at + 2 > range.end || range.end > frame.len() {
        return;
    }
    put_u16(frame, at, 0);
    let mut sum = initial + sum(&frame[range]);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    put_u16(frame, at, !(sum as u16));
}

/// RFC 1071, before folding.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum()
}

fn get_u16(frame: &[u8], at: usize) -> u16 {
    frame.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn put_u16(frame: &mut [u8], at: usize, value: u16) {
    if let Some(field) = frame.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// A TCP segment over IPv4 with checksums computed elsewhere: RFC 1071 by hand in Python.
    const TCP_FRAME: [u8; 58] = [
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, // Ethernet
        0x45, 0, 0, 44, 0, 1, 0x40, 0, 64, 6, 0x26, 0xc9, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
        0x04, 0xd2, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0x20, 0, 0x5f, 0x01, 0, 0, 2, 4, 5, 0xb4, // TCP
    ];

    #[test]
    fn repaired_checksums_are_right() {
        let mut frame = TCP_FRAME;
        frame[24] = 0xaa;
        frame[50] = 0xbb;
        repair_checksums(&mut frame);
        assert_eq!(frame, TCP_FRAME);
    }

    #[test]
    fn checksums_verify_for_every_protocol() {
        for (ethertype, protocol) in
            [(0x0800, TCP), (0x0800, UDP), (0x0800, ICMP), (0x86dd, TCP), (0x86dd, UDP), (0x86dd, ICMPV6)]
        {
            let ip = if ethertype == 0x0800 { 20 } else { 40 };
            let mut frame: Vec<u8> = (0..ETHERNET + ip + 33).map(|at| at as u8).collect();
            put_u16(&mut frame, 12, ethertype);
            frame[14] = if ip == 20 { 0x45 } else { 0x60 };
            frame[14 + if ip == 20 { 9 } else { 6 }] = protocol;
            repair_lengths(&mut frame);
            repair_checksums(&mut frame);
            let addresses = if ip == 20 { 26..34 } else { 22..54 };
            let pseudo_header = match protocol {
                ICMP => 0,
                _ => sum(&frame[addresses]) + u64::from(protocol) + 33,
            };
            let total = pseudo_header + sum(&frame[ETHERNET + ip..]);
            assert_eq!(total % 0xffff, 0, "{ethertype:#x} {protocol}");
        }
    }

    #[test]
    fn all_kinds_of_damage_happen_and_repeat_with_the_seed() {
        let run = |seed| {
            let mut mutator = Mutator::new(seed);
            let mut out = Vec::new();
            (0..2_000)
                .map(|_| (mutator.mutate(&TCP_FRAME, &[7; 90], &mut out), out.clone()))
                .collect::<Vec<(Damage, Vec<u8>)>>()
        };
        let results = run(1);
        assert_eq!(results, run(1));
        assert_ne!(results, run(2));
        assert_eq!(results.iter().map(|(damage, _)| *damage).collect::<HashSet<_>>().len(), 7);
        let changed = results.iter().filter(|(_, frame)| frame[..] != TCP_FRAME).count();
        assert!(changed > 1_600, "{changed}");
    }

    #[test]
    fn any_bytes_can_be_mutated() {
        let mut mutator = Mutator::new(3);
        let (mut frame, mut out) = (Vec::new(), Vec::new());
        for round in 0..20_000 {
            mutator.mutate(&frame, &TCP_FRAME, &mut out);
            std::mem::swap(&mut frame, &mut out);
            if round % 100 == 0 {
                frame = TCP_FRAME[..round / 100 % 59].to_vec();
            }
            frame.truncate(2_000);
        }
    }

    #[test]
    fn numbers_of_any_length_wrap() {
        let mut field = [0xff, 0xff, 0xff];
        add(&mut field, 2);
        assert_eq!(field, [0, 0, 1]);
        add(&mut field, -3);
        assert_eq!(field, [0xff, 0xff, 0xfe]);
    }
}
