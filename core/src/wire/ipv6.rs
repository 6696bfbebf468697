//! The IPv6 header and its extension headers (RFC 8200), and addresses made from others (RFC 4291).

use super::{MacAddr, WireError, array_at, protocol, u16_at, u32_at};
use core::fmt;
use core::net::Ipv6Addr;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 40;

/// Extension headers that [`skip_extension_headers`] steps over in one packet. RFC 8200 names three kinds that each
/// come once, destination options twice; RFC 8504 §5.3 lets a host set a limit.
pub const MAX_EXTENSION_HEADERS: usize = 8;

mod field {
    use core::ops::Range;
    pub(super) const VERSION_CLASS_LABEL: Range<usize> = 0..4;
    pub(super) const PAYLOAD_LEN: Range<usize> = 4..6;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SOURCE: Range<usize> = 8..24;
    pub(super) const DESTINATION: Range<usize> = 24..40;
}

/// An IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header {
    /// DSCP in the upper six bits (RFC 2474), ECN in the lower two (RFC 3168).
    pub traffic_class: u8,
    /// 20 bits that name a flow (RFC 6437).
    pub flow_label: u32,
    /// Bytes after this header, extension headers included.
    pub payload_len: u16,
    /// What follows, see [`protocol`].
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// The sender.
    pub source: Ipv6Addr,
    /// The receiver.
    pub destination: Ipv6Addr,
}

impl Ipv6Header {
    /// Reads the header and returns what follows, cut to the payload length.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when the bytes end before the header or the payload length does,
    /// [`WireError::BadVersion`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(WireError::Truncated)?;
        let first = u32_at(header, field::VERSION_CLASS_LABEL);
        if first >> 28 != 6 {
            return Err(WireError::BadVersion);
        }
        let payload_len = u16_at(header, field::PAYLOAD_LEN);
        let payload = rest.get(..usize::from(payload_len)).ok_or(WireError::Truncated)?;
        let parsed = Self {
            traffic_class: (first >> 20) as u8,
            flow_label: first & 0x000f_ffff,
            payload_len,
            next_header: header[field::NEXT_HEADER],
            hop_limit: header[field::HOP_LIMIT],
            source: Ipv6Addr::from(array_at::<16, _>(header, field::SOURCE)),
            destination: Ipv6Addr::from(array_at::<16, _>(header, field::DESTINATION)),
        };
        Ok((parsed, payload))
    }

    /// Writes the header to the start of `out`, at least [`HEADER_LEN`] bytes.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) {
        debug_assert!(out.len() >= HEADER_LEN);
        debug_assert!(self.flow_label <= 0x000f_ffff);
        let out = &mut out[..HEADER_LEN];
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000f_ffff;
        out[field::VERSION_CLASS_LABEL].copy_from_slice(&first.to_be_bytes());
        out[field::PAYLOAD_LEN].copy_from_slice(&self.payload_len.to_be_bytes());
        out[field::NEXT_HEADER] = self.next_header;
        out[field::HOP_LIMIT] = self.hop_limit;
        out[field::SOURCE].copy_from_slice(&self.source.octets());
        out[field::DESTINATION].copy_from_slice(&self.destination.octets());
    }
}

/// The group that the owner of `address` listens to for neighbour solicitations (RFC 4291 §2.7.1).
pub const fn solicited_node_multicast(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a as u16, (b as u16) << 8 | c as u16)
}

/// The link-local address with the modified EUI-64 interface identifier of `mac` (RFC 4291 §2.5.6, appendix A).
pub const fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        ((a ^ 0x02) as u16) << 8 | b as u16,
        (c as u16) << 8 | 0xff,
        0xfe00 | d as u16,
        (e as u16) << 8 | f as u16,
    )
}

/// Why a packet with extension headers goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtensionError {
    /// A header is cut short or there are more than [`MAX_EXTENSION_HEADERS`]. Discard the packet.
    Malformed(WireError),
    /// An option that we don't know asks for a silent discard (RFC 8200 §4.2, bits 01).
    Discard,
    /// Discard the packet and answer with an ICMPv6 Parameter Problem.
    ParameterProblem {
        /// The code of the message, see [`icmpv6::code`](super::icmpv6::code).
        code: u8,
        /// Offset of the offending byte from the start of the IPv6 header.
        pointer: u32,
        /// Whether to answer even if the packet was sent to a group (RFC 8200 §4.2, bits 10).
        answer_multicast: bool,
    },
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed extension header: {error}"),
            Self::Discard => f.write_str("an unknown option asks for a discard"),
            Self::ParameterProblem { code, pointer, .. } => {
                write!(f, "unknown extension (code {code}) at byte {pointer}")
            }
        }
    }
}

impl core::error::Error for ExtensionError {}

/// What an IPv6 packet carries behind its extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer<'a> {
    /// Which protocol, see [`protocol`]; [`protocol::FRAGMENT`] for a part of a packet.
    pub protocol: u8,
    /// Its bytes. Those of a fragment begin with the fragment header, since what follows it need not be a header.
    pub payload: &'a [u8],
    /// Offset from the start of the IPv6 header of the field that names the protocol.
    pub named_at: usize,
    /// Whether a fragment header was stepped over: that of a packet in one piece (RFC 6946), which is no fragment.
    pub is_atomic_fragment: bool,
}

/// Steps over hop-by-hop options, destination options, and routing headers that have been served. `next_header` and
/// `payload` are those of the IPv6 header.
///
/// # Errors
/// See [`ExtensionError`].
#[inline]
pub fn skip_extension_headers(next_header: u8, payload: &[u8]) -> Result<UpperLayer<'_>, ExtensionError> {
    match next_header {
        protocol::TCP | protocol::UDP | protocol::ICMPV6 => {
            Ok(UpperLayer { protocol: next_header, payload, named_at: field::NEXT_HEADER, is_atomic_fragment: false })
        }
        _ => walk_extension_headers(next_header, payload),
    }
}

fn walk_extension_headers(first_header: u8, payload: &[u8]) -> Result<UpperLayer<'_>, ExtensionError> {
    let mut found =
        UpperLayer { protocol: first_header, payload, named_at: field::NEXT_HEADER, is_atomic_fragment: false };
    let mut at = 0;
    for count in 0..=MAX_EXTENSION_HEADERS {
        let rest = &payload[at..];
        found.payload = rest;
        let is_known = matches!(
            found.protocol,
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT | protocol::DESTINATION_OPTIONS
        );
        if !is_known {
            return Ok(found);
        }
        if found.protocol == protocol::HOP_BY_HOP && count > 0 {
            // RFC 8200 §4.1: hop-by-hop options come only right after the IPv6 header.
            return Err(problem(super::icmpv6::code::UNRECOGNIZED_NEXT_HEADER, found.named_at));
        }
        let start = rest.first_chunk::<8>().ok_or(ExtensionError::Malformed(WireError::Truncated))?;
        let len = match found.protocol {
            protocol::FRAGMENT => FRAGMENT_HEADER_LEN,
            _ => (usize::from(start[1]) + 1) * 8,
        };
        let header = rest.get(..len).ok_or(ExtensionError::Malformed(WireError::Truncated))?;
        match found.protocol {
            protocol::FRAGMENT => {
                // Offset in the upper 13 bits, the M flag in the lowest; both clear: RFC 6946 §4.
                if u16_at(start, 2..4) & 0xfff9 != 0 {
                    return Ok(found);
                }
                found.is_atomic_fragment = true;
            }
            protocol::ROUTING => {
                // RFC 8200 §4.4: an unknown routing type is ignored with no segments left, refused otherwise; type 0 is
                // treated as unknown (RFC 5095 §3).
                if start[3] != 0 {
                    return Err(problem(super::icmpv6::code::ERRONEOUS_HEADER_FIELD, HEADER_LEN + at + 2));
                }
            }
            _ => check_options(&header[2..], HEADER_LEN + at + 2)?,
        }
        found.protocol = start[0];
        found.named_at = HEADER_LEN + at;
        at += len;
    }
    Err(ExtensionError::Malformed(WireError::BadFormat))
}

/// Length of the fragment header in bytes.
pub const FRAGMENT_HEADER_LEN: usize = 8;

/// The fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentHeader {
    /// What the packet's fragmentable part begins with, see [`protocol`].
    pub next_header: u8,
    /// Where the payload belongs in the fragmentable part: bytes, a multiple of 8 up to 65,528.
    pub offset: u16,
    /// This is not the last fragment.
    pub more_fragments: bool,
    /// Tells the fragments of one packet from those of another.
    pub identification: u32,
}

impl FragmentHeader {
    /// Reads the header and returns what follows.
    ///
    /// # Errors
    /// [`WireError::Truncated`] below 8 bytes.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (header, rest) = bytes.split_first_chunk::<FRAGMENT_HEADER_LEN>().ok_or(WireError::Truncated)?;
        let place = u16_at(header, 2..4);
        let parsed = Self {
            next_header: header[0],
            offset: place & !7,
            more_fragments: place & 1 != 0,
            identification: u32_at(header, 4..8),
        };
        Ok((parsed, rest))
    }

    /// Writes the header to the start of `out`, at least [`FRAGMENT_HEADER_LEN`] bytes.
    pub fn emit(&self, out: &mut [u8]) {
        debug_assert!(self.offset.is_multiple_of(8));
        let place = self.offset | u16::from(self.more_fragments);
        out[..2].copy_from_slice(&[self.next_header, 0]);
        out[2..4].copy_from_slice(&place.to_be_bytes());
        out[4..8].copy_from_slice(&self.identification.to_be_bytes());
    }
}

/// Goes through the options of a hop-by-hop or destination options header that start at `offset` in the packet.
fn check_options(options: &[u8], offset: usize) -> Result<(), ExtensionError> {
    const PAD1: u8 = 0;
    const PADN: u8 = 1;
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        if kind == PAD1 {
            at += 1;
            continue;
        }
        let len = *options.get(at + 1).ok_or(ExtensionError::Malformed(WireError::Truncated))?;
        if kind != PADN {
            let code = super::icmpv6::code::UNRECOGNIZED_OPTION;
            let pointer = (offset + at) as u32;
            match kind >> 6 {
                0b00 => {}
                0b01 => return Err(ExtensionError::Discard),
                action => {
                    let answer_multicast = action == 0b10;
                    return Err(ExtensionError::ParameterProblem { code, pointer, answer_multicast });
                }
            }
        }
        at += 2 + usize::from(len);
    }
    if at == options.len() { Ok(()) } else { Err(ExtensionError::Malformed(WireError::BadLength)) }
}

fn problem(code: u8, pointer: usize) -> ExtensionError {
    ExtensionError::ParameterProblem { code, pointer: pointer as u32, answer_multicast: false }
}

#[cfg(test)]
mod tests {
    use super::super::{icmpv6, samples};
    use super::*;

    #[test]
    fn a_recorded_header_parses_and_is_emitted_the_same() {
        let (header, payload) = Ipv6Header::parse(&samples::ECHO_REQUEST_V6[14..]).unwrap();
        let expected = Ipv6Header {
            traffic_class: 0,
            flow_label: 0x4a28e,
            payload_len: 16,
            next_header: protocol::ICMPV6,
            hop_limit: 64,
            source: "fd00::2".parse().unwrap(),
            destination: "fd00::15".parse().unwrap(),
        };
        assert_eq!(header, expected);
        assert_eq!(payload, &samples::ECHO_REQUEST_V6[54..]);
        let mut out = [0xee; HEADER_LEN];
        header.emit(&mut out);
        assert_eq!(out, samples::ECHO_REQUEST_V6[14..54]);
        let marked = Ipv6Header { traffic_class: 0xa5, ..header };
        marked.emit(&mut out);
        assert_eq!(Ipv6Header::parse(&[&out[..], &[0; 20]].concat()).unwrap().0, marked);
    }

    #[test]
    fn version_and_length_are_checked() {
        let mut packet = samples::ECHO_REQUEST_V6;
        packet[14] = 0x40;
        assert_eq!(Ipv6Header::parse(&packet[14..]), Err(WireError::BadVersion));
        assert_eq!(Ipv6Header::parse(&samples::ECHO_REQUEST_V6[14..69]), Err(WireError::Truncated));
        assert_eq!(Ipv6Header::parse(&samples::ECHO_REQUEST_V6[14..53]), Err(WireError::Truncated));
    }

    #[test]
    fn addresses_made_from_others() {
        let mac = MacAddr([2, 0, 0, 0, 0, 0x0a]);
        assert_eq!(link_local(mac), "fe80::ff:fe00:a".parse::<Ipv6Addr>().unwrap());
        let group = solicited_node_multicast("2001:db8::1:800e:8c6c".parse().unwrap());
        assert_eq!(group, "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn a_recorded_router_alert_is_stepped_over() {
        let (header, payload) = Ipv6Header::parse(&samples::MLD_REPORT[14..]).unwrap();
        let expected = UpperLayer {
            protocol: protocol::ICMPV6,
            payload: &payload[8..],
            named_at: HEADER_LEN,
            is_atomic_fragment: false,
        };
        assert_eq!(skip_extension_headers(header.next_header, payload), Ok(expected));
    }

    #[test]
    fn a_fragment_is_reported_and_an_atomic_one_is_none() {
        let atomic = [protocol::UDP, 0, 0, 0, 1, 2, 3, 4, 0xaa];
        let found = skip_extension_headers(protocol::FRAGMENT, &atomic).unwrap();
        assert_eq!((found.protocol, found.payload, found.is_atomic_fragment), (protocol::UDP, &atomic[8..], true));
        for (high, low) in [(0, 1), (1, 0), (0, 8)] {
            let fragment = [protocol::UDP, 0, high, low, 1, 2, 3, 4, 0xaa];
            let found = skip_extension_headers(protocol::FRAGMENT, &fragment).unwrap();
            assert_eq!((found.protocol, found.payload), (protocol::FRAGMENT, &fragment[..]));
            let (header, rest) = FragmentHeader::parse(found.payload).unwrap();
            assert_eq!(
                (header.offset, header.more_fragments),
                (u16::from(high) << 8 | u16::from(low & 8), low & 1 != 0)
            );
            assert_eq!((header.next_header, header.identification, rest), (protocol::UDP, 0x0102_0304, &[0xaa][..]));
            let mut out = [0xee; FRAGMENT_HEADER_LEN];
            header.emit(&mut out);
            assert_eq!(out, fragment[..FRAGMENT_HEADER_LEN]);
        }
    }

    #[test]
    fn unknown_options_ask_for_what_their_upper_bits_say() {
        let with_option = |kind: u8| {
            let header = [protocol::TCP, 0, 0, kind, 1, 0xee, 1, 0];
            skip_extension_headers(protocol::DESTINATION_OPTIONS, &header).map(|found| found.protocol)
        };
        let answer = |answer_multicast| {
            let code = icmpv6::code::UNRECOGNIZED_OPTION;
            Err(ExtensionError::ParameterProblem { code, pointer: 43, answer_multicast })
        };
        assert_eq!(with_option(0x3e), Ok(protocol::TCP));
        assert_eq!(with_option(0x7e), Err(ExtensionError::Discard));
        assert_eq!(with_option(0x9e), answer(true));
        assert_eq!(with_option(0xde), answer(false));
    }

    #[test]
    fn options_must_end_with_their_header() {
        let overlong = [protocol::TCP, 0, 1, 5, 0, 0, 0, 0];
        let expected = Err(ExtensionError::Malformed(WireError::BadLength));
        assert_eq!(skip_extension_headers(protocol::DESTINATION_OPTIONS, &overlong), expected);
    }

    #[test]
    fn routing_headers_pass_only_when_served() {
        let served = [protocol::TCP, 0, 4, 0, 0, 0, 0, 0];
        let found = skip_extension_headers(protocol::ROUTING, &served).map(|found| (found.protocol, found.payload));
        assert_eq!(found, Ok((protocol::TCP, &[][..])));
        let pending = [protocol::TCP, 0, 4, 1, 0, 0, 0, 0];
        let code = icmpv6::code::ERRONEOUS_HEADER_FIELD;
        let expected = Err(ExtensionError::ParameterProblem { code, pointer: 42, answer_multicast: false });
        assert_eq!(skip_extension_headers(protocol::ROUTING, &pending), expected);
    }

    #[test]
    fn hop_by_hop_options_come_first_or_not_at_all() {
        let chain = [protocol::HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0, protocol::TCP, 0, 1, 4, 0, 0, 0, 0];
        let code = icmpv6::code::UNRECOGNIZED_NEXT_HEADER;
        let expected = Err(ExtensionError::ParameterProblem { code, pointer: 40, answer_multicast: false });
        assert_eq!(skip_extension_headers(protocol::DESTINATION_OPTIONS, &chain), expected);
    }

    #[test]
    fn a_chain_without_end_is_refused() {
        let header = [protocol::DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0];
        let chain = [header; 100];
        let expected = Err(ExtensionError::Malformed(WireError::BadFormat));
        assert_eq!(skip_extension_headers(protocol::DESTINATION_OPTIONS, chain.as_flattened()), expected);
    }
}
