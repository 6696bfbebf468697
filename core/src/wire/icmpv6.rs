//! ICMPv6 (RFC 4443) with the messages of neighbour discovery (RFC 4861).

use super::{MacAddr, WireError, array_at, protocol, u16_at, u32_at};
use crate::checksum;
use core::net::{IpAddr, Ipv6Addr};

/// Bytes before the data of an echo message or the quoted packet of an error.
pub const HEADER_LEN: usize = 8;

/// Bytes of the offending packet that an error quotes at most: the error fits in the minimum MTU (RFC 4443 §2.4 (c)).
pub const MAX_ORIGINAL_LEN: usize = 1280 - super::ipv6::HEADER_LEN - HEADER_LEN;

/// The hop limit that neighbour discovery sends with and insists on (RFC 4861 §7.1): nothing from off the link has it.
pub const NDP_HOP_LIMIT: u8 = 255;

mod field {
    use core::ops::Range;
    pub(super) const KIND: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: Range<usize> = 2..4;
    pub(super) const REST: Range<usize> = 4..8;
    pub(super) const IDENTIFIER: Range<usize> = 4..6;
    pub(super) const SEQUENCE: Range<usize> = 6..8;
    // Router advertisement.
    pub(super) const CURRENT_HOP_LIMIT: usize = 4;
    pub(super) const ROUTER_FLAGS: usize = 5;
    pub(super) const ROUTER_LIFETIME: Range<usize> = 6..8;
}

/// Message types.
pub mod kind {
    /// Destination unreachable.
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
}

/// Codes of the error messages.
pub mod code {
    /// Destination unreachable: no route.
    pub const NO_ROUTE: u8 = 0;
    /// Destination unreachable: forbidden by a filter.
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 1;
    /// Destination unreachable: the address.
    pub const ADDRESS_UNREACHABLE: u8 = 3;
    /// Destination unreachable: nobody listens at the port.
    pub const PORT_UNREACHABLE: u8 = 4;
    /// Destination unreachable: the source address is not allowed (RFC 4443 §3.1).
    pub const POLICY_FAILED: u8 = 5;
    /// Destination unreachable: the route rejects traffic (RFC 4443 §3.1).
    pub const ROUTE_REJECTED: u8 = 6;
    /// Time exceeded: no hops left.
    pub const HOP_LIMIT_EXCEEDED: u8 = 0;
    /// Time exceeded: fragments are missing.
    pub const REASSEMBLY_TIME_EXCEEDED: u8 = 1;
    /// Parameter problem: a field of a header makes no sense.
    pub const ERRONEOUS_HEADER_FIELD: u8 = 0;
    /// Parameter problem: a next header type that is not spoken.
    pub const UNRECOGNIZED_NEXT_HEADER: u8 = 1;
    /// Parameter problem: an option that is not known.
    pub const UNRECOGNIZED_OPTION: u8 = 2;
}

/// An ICMPv6 message. `original` is the start of the packet that an error is about, from its IPv6 header on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Icmpv6Message<'a> {
    /// Asks for the same data back.
    EchoRequest {
        /// Names the asking program.
        identifier: u16,
        /// Counts the requests.
        sequence: u16,
        /// To be sent back.
        data: &'a [u8],
    },
    /// Answers an echo request with what it had.
    EchoReply {
        /// As in the request.
        identifier: u16,
        /// As in the request.
        sequence: u16,
        /// As in the request.
        data: &'a [u8],
    },
    /// A packet could not be delivered.
    DestinationUnreachable {
        /// Why, see [`code`].
        code: u8,
        /// The packet.
        original: &'a [u8],
    },
    /// A packet does not fit the next link.
    PacketTooBig {
        /// The MTU of that link in bytes.
        mtu: u32,
        /// The packet.
        original: &'a [u8],
    },
    /// A packet, or a fragment of it, took too long.
    TimeExceeded {
        /// Which, see [`code`].
        code: u8,
        /// The packet.
        original: &'a [u8],
    },
    /// A field of a packet's headers makes no sense.
    ParameterProblem {
        /// Which kind, see [`code`].
        code: u8,
        /// Offset of the field in the packet.
        pointer: u32,
        /// The packet.
        original: &'a [u8],
    },
    /// Asks routers to advertise now (RFC 4861 §4.1).
    RouterSolicitation {
        /// For [`NdpOptions`].
        options: &'a [u8],
    },
    /// A router tells hosts how to use the link (RFC 4861 §4.2).
    RouterAdvertisement {
        /// The hop limit to send with; 0 when the router leaves it open.
        current_hop_limit: u8,
        /// Addresses come from DHCPv6.
        managed: bool,
        /// Other settings come from DHCPv6.
        other_config: bool,
        /// Seconds for which the router is a default router; 0 when it is none.
        router_lifetime: u16,
        /// Milliseconds for which a neighbour counts as reachable; 0 when left open.
        reachable_time: u32,
        /// Milliseconds between solicitations; 0 when left open.
        retransmit_timer: u32,
        /// For [`NdpOptions`].
        options: &'a [u8],
    },
    /// Asks for the link-layer address of `target` (RFC 4861 §4.3).
    NeighborSolicitation {
        /// Whose address is asked for.
        target: Ipv6Addr,
        /// For [`NdpOptions`].
        options: &'a [u8],
    },
    /// Tells the link-layer address of `target` (RFC 4861 §4.4).
    NeighborAdvertisement {
        /// The sender is a router.
        router: bool,
        /// Answers a solicitation: confirms that the neighbour is reachable.
        solicited: bool,
        /// Replaces a link-layer address known before.
        override_: bool,
        /// Whose address is told.
        target: Ipv6Addr,
        /// For [`NdpOptions`].
        options: &'a [u8],
    },
    /// Any other message.
    Other {
        /// Its type. Below 128 it is an error.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

impl<'a> Icmpv6Message<'a> {
    /// Reads a message: all the bytes after the IPv6 header and its extensions. The addresses are those of the IPv6
    /// header. That the hop limit of neighbour discovery is [`NDP_HOP_LIMIT`] is left to the caller.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when the bytes end before the fields of the message do, [`WireError::BadChecksum`].
    pub fn parse(source: Ipv6Addr, destination: Ipv6Addr, bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, body) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(WireError::Truncated)?;
        let mut sum = pseudo_header(source, destination, bytes.len());
        sum.add_bytes(bytes);
        if !sum.is_valid() {
            return Err(WireError::BadChecksum);
        }
        let code = header[field::CODE];
        let identifier = u16_at(header, field::IDENTIFIER);
        let sequence = u16_at(header, field::SEQUENCE);
        let rest = u32_at(header, field::REST);
        Ok(match header[field::KIND] {
            kind::ECHO_REQUEST => Self::EchoRequest { identifier, sequence, data: body },
            kind::ECHO_REPLY => Self::EchoReply { identifier, sequence, data: body },
            kind::DESTINATION_UNREACHABLE => Self::DestinationUnreachable { code, original: body },
            kind::PACKET_TOO_BIG => Self::PacketTooBig { mtu: rest, original: body },
            kind::TIME_EXCEEDED => Self::TimeExceeded { code, original: body },
            kind::PARAMETER_PROBLEM => Self::ParameterProblem { code, pointer: rest, original: body },
            kind::ROUTER_SOLICITATION => Self::RouterSolicitation { options: body },
            kind::ROUTER_ADVERTISEMENT => {
                let (timers, options) = body.split_first_chunk::<8>().ok_or(WireError::Truncated)?;
                let flags = header[field::ROUTER_FLAGS];
                Self::RouterAdvertisement {
                    current_hop_limit: header[field::CURRENT_HOP_LIMIT],
                    managed: flags & 0x80 != 0,
                    other_config: flags & 0x40 != 0,
                    router_lifetime: u16_at(header, field::ROUTER_LIFETIME),
                    reachable_time: u32_at(timers, 0..4),
                    retransmit_timer: u32_at(timers, 4..8),
                    options,
                }
            }
            kind::NEIGHBOR_SOLICITATION => {
                let (target, options) = body.split_first_chunk::<16>().ok_or(WireError::Truncated)?;
                Self::NeighborSolicitation { target: Ipv6Addr::from(*target), options }
            }
            kind::NEIGHBOR_ADVERTISEMENT => {
                let (target, options) = body.split_first_chunk::<16>().ok_or(WireError::Truncated)?;
                let flags = AdvertisementFlags::from_bits(rest);
                Self::NeighborAdvertisement {
                    router: flags.router,
                    solicited: flags.solicited,
                    override_: flags.override_,
                    target: Ipv6Addr::from(*target),
                    options,
                }
            }
            kind => Self::Other { kind, code },
        })
    }
}

/// The flags of a neighbour advertisement to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdvertisementFlags {
    /// The sender is a router.
    pub router: bool,
    /// Answers a solicitation.
    pub solicited: bool,
    /// Replaces a link-layer address known before.
    pub override_: bool,
}

impl AdvertisementFlags {
    const ROUTER: u32 = 1 << 31;
    const SOLICITED: u32 = 1 << 30;
    const OVERRIDE: u32 = 1 << 29;

    const fn from_bits(bits: u32) -> Self {
        Self {
            router: bits & Self::ROUTER != 0,
            solicited: bits & Self::SOLICITED != 0,
            override_: bits & Self::OVERRIDE != 0,
        }
    }

    const fn bits(self) -> u32 {
        (self.router as u32) << 31 | (self.solicited as u32) << 30 | (self.override_ as u32) << 29
    }
}

/// A prefix information option (RFC 4861 §4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixInformation {
    /// Leading bits of `prefix` that count, 0 to 128.
    pub prefix_len: u8,
    /// Addresses of the prefix are on the link.
    pub on_link: bool,
    /// Hosts may make addresses of the prefix for themselves (RFC 4862).
    pub autonomous: bool,
    /// Seconds for which the prefix is valid; all ones for ever.
    pub valid_lifetime: u32,
    /// Seconds for which its addresses are preferred; all ones for ever.
    pub preferred_lifetime: u32,
    /// The prefix; bits after its length have no meaning.
    pub prefix: Ipv6Addr,
}

/// One option of a neighbour discovery message (RFC 4861 §4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NdpOption<'a> {
    /// The sender's Ethernet address.
    SourceLinkLayerAddress(MacAddr),
    /// The target's Ethernet address.
    TargetLinkLayerAddress(MacAddr),
    /// A prefix of the link.
    PrefixInformation(PrefixInformation),
    /// The MTU of the link in bytes.
    Mtu(u32),
    /// Any other option, or one of these with a length that is not its own.
    Other {
        /// Its type.
        kind: u8,
        /// What follows its length.
        body: &'a [u8],
    },
}

mod option_kind {
    pub(super) const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
    pub(super) const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
    pub(super) const PREFIX_INFORMATION: u8 = 3;
    pub(super) const MTU: u8 = 5;
}

/// Bytes of a link-layer address option.
const LINK_LAYER_ADDRESS_LEN: usize = 8;

/// Goes through the options of a neighbour discovery message; stops at a length of zero or beyond the end.
#[derive(Clone, Copy, Debug)]
pub struct NdpOptions<'a> {
    rest: &'a [u8],
}

impl<'a> NdpOptions<'a> {
    /// Starts at the first of `options`.
    #[inline]
    pub const fn new(options: &'a [u8]) -> Self {
        Self { rest: options }
    }

    /// Whether every option has a length and they fill the bytes. A message where they don't must be discarded
    /// (RFC 4861 §7.1.1).
    pub fn are_well_formed(mut self) -> bool {
        while self.next().is_some() {}
        self.rest.is_empty()
    }

    /// The first source link-layer address.
    pub fn source_link_layer_address(mut self) -> Option<MacAddr> {
        self.find_map(|option| match option {
            NdpOption::SourceLinkLayerAddress(mac) => Some(mac),
            _ => None,
        })
    }

    /// The first target link-layer address.
    pub fn target_link_layer_address(mut self) -> Option<MacAddr> {
        self.find_map(|option| match option {
            NdpOption::TargetLinkLayerAddress(mac) => Some(mac),
            _ => None,
        })
    }
}

impl<'a> Iterator for NdpOptions<'a> {
    type Item = NdpOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, units, ..] = *self.rest else {
            return None;
        };
        let (option, after) = self.rest.split_at_checked(usize::from(units) * 8)?;
        // No units: the option does not even hold its own length.
        let [_, _, body @ ..] = option else {
            return None;
        };
        self.rest = after;
        Some(parse_option(kind, body))
    }
}

fn parse_option(kind: u8, body: &[u8]) -> NdpOption<'_> {
    match kind {
        option_kind::SOURCE_LINK_LAYER_ADDRESS => {
            if let Ok(mac) = body.try_into() {
                return NdpOption::SourceLinkLayerAddress(MacAddr(mac));
            }
        }
        option_kind::TARGET_LINK_LAYER_ADDRESS => {
            if let Ok(mac) = body.try_into() {
                return NdpOption::TargetLinkLayerAddress(MacAddr(mac));
            }
        }
        option_kind::PREFIX_INFORMATION => {
            if let Ok(body) = <&[u8; 30]>::try_from(body) {
                return NdpOption::PrefixInformation(PrefixInformation {
                    prefix_len: body[0].min(128),
                    on_link: body[1] & 0x80 != 0,
                    autonomous: body[1] & 0x40 != 0,
                    valid_lifetime: u32_at(body, 2..6),
                    preferred_lifetime: u32_at(body, 6..10),
                    prefix: Ipv6Addr::from(array_at::<16, _>(body, 14..30)),
                });
            }
        }
        option_kind::MTU => {
            if let Ok(body) = <&[u8; 6]>::try_from(body) {
                return NdpOption::Mtu(u32_at(body, 2..6));
            }
        }
        _ => {}
    }
    NdpOption::Other { kind, body }
}

/// Bytes of an echo message with `data_len` bytes of data.
#[inline]
pub const fn echo_len(data_len: usize) -> usize {
    HEADER_LEN + data_len
}

/// Bytes of an error about a packet of `original_len` bytes: it quotes [`MAX_ORIGINAL_LEN`] at most.
#[inline]
pub const fn error_len(original_len: usize) -> usize {
    if original_len < MAX_ORIGINAL_LEN { HEADER_LEN + original_len } else { HEADER_LEN + MAX_ORIGINAL_LEN }
}

/// Bytes of a neighbour solicitation or advertisement at most: with a link-layer address.
pub const NEIGHBOR_LEN: usize = HEADER_LEN + 16 + LINK_LAYER_ADDRESS_LEN;

/// Writes an echo request, or a reply, and returns its length. `out` must hold [`echo_len`] bytes.
pub fn emit_echo(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    reply: bool,
    identifier: u16,
    sequence: u16,
    data: &[u8],
) -> usize {
    let kind = if reply { kind::ECHO_REPLY } else { kind::ECHO_REQUEST };
    let rest = u32::from(identifier) << 16 | u32::from(sequence);
    let len = emit_body(out, kind, 0, rest, &[data]);
    seal(source, destination, out, len)
}

/// Writes an error about the packet `original`, cut to [`MAX_ORIGINAL_LEN`], and returns the message's length.
///
/// `rest_of_header` is the field after the checksum: an MTU or a pointer. `out` must hold [`error_len`] bytes.
pub fn emit_error(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    kind: u8,
    code: u8,
    rest_of_header: u32,
    original: &[u8],
) -> usize {
    let quoted = &original[..original.len().min(MAX_ORIGINAL_LEN)];
    let len = emit_body(out, kind, code, rest_of_header, &[quoted]);
    seal(source, destination, out, len)
}

/// Writes a router solicitation and returns its length. The source address is unspecified without `source_mac`
/// (RFC 4861 §4.1). `out` must hold 16 bytes.
pub fn emit_router_solicitation(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    source_mac: Option<MacAddr>,
) -> usize {
    let mut option = [0; LINK_LAYER_ADDRESS_LEN];
    let option = link_layer_address(&mut option, option_kind::SOURCE_LINK_LAYER_ADDRESS, source_mac);
    let len = emit_body(out, kind::ROUTER_SOLICITATION, 0, 0, &[option]);
    seal(source, destination, out, len)
}

/// Writes a neighbour solicitation for `target` and returns its length. `source_mac` is left out when the source
/// address is unspecified (RFC 4861 §4.3). `out` must hold [`NEIGHBOR_LEN`] bytes.
pub fn emit_neighbor_solicitation(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    target: Ipv6Addr,
    source_mac: Option<MacAddr>,
) -> usize {
    let mut option = [0; LINK_LAYER_ADDRESS_LEN];
    let option = link_layer_address(&mut option, option_kind::SOURCE_LINK_LAYER_ADDRESS, source_mac);
    let len = emit_body(out, kind::NEIGHBOR_SOLICITATION, 0, 0, &[&target.octets(), option]);
    seal(source, destination, out, len)
}

/// Writes a neighbour advertisement for `target` and returns its length. `out` must hold [`NEIGHBOR_LEN`] bytes.
pub fn emit_neighbor_advertisement(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    flags: AdvertisementFlags,
    target: Ipv6Addr,
    target_mac: Option<MacAddr>,
) -> usize {
    let mut option = [0; LINK_LAYER_ADDRESS_LEN];
    let option = link_layer_address(&mut option, option_kind::TARGET_LINK_LAYER_ADDRESS, target_mac);
    let len = emit_body(out, kind::NEIGHBOR_ADVERTISEMENT, 0, flags.bits(), &[&target.octets(), option]);
    seal(source, destination, out, len)
}

/// Writes a link-layer address option into `buffer`, or nothing without an address.
fn link_layer_address(buffer: &mut [u8; LINK_LAYER_ADDRESS_LEN], kind: u8, mac: Option<MacAddr>) -> &[u8] {
    let Some(MacAddr([a, b, c, d, e, f])) = mac else {
        return &[];
    };
    *buffer = [kind, 1, a, b, c, d, e, f];
    buffer
}

fn emit_body(out: &mut [u8], kind: u8, code: u8, rest_of_header: u32, pieces: &[&[u8]]) -> usize {
    out[field::KIND] = kind;
    out[field::CODE] = code;
    out[field::CHECKSUM].copy_from_slice(&[0, 0]);
    out[field::REST].copy_from_slice(&rest_of_header.to_be_bytes());
    let mut len = HEADER_LEN;
    for piece in pieces {
        out[len..len + piece.len()].copy_from_slice(piece);
        len += piece.len();
    }
    len
}

/// Stores the checksum of the message in the first `len` bytes of `out`; returns `len`.
fn seal(source: Ipv6Addr, destination: Ipv6Addr, out: &mut [u8], len: usize) -> usize {
    let mut sum = pseudo_header(source, destination, len);
    sum.add_bytes(&out[..len]);
    out[field::CHECKSUM].copy_from_slice(&sum.finish().to_be_bytes());
    len
}

fn pseudo_header(source: Ipv6Addr, destination: Ipv6Addr, len: usize) -> checksum::Sum {
    checksum::pseudo_header(IpAddr::V6(source), IpAddr::V6(destination), protocol::ICMPV6, len as u32)
}

#[cfg(test)]
mod tests {
    use super::super::{Ipv6Header, samples};
    use super::*;

    const MAC_A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0a]);
    const MAC_B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0b]);

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn parse(frame: &[u8]) -> Result<Icmpv6Message<'_>, WireError> {
        let (header, payload) = Ipv6Header::parse(&frame[14..])?;
        Icmpv6Message::parse(header.source, header.destination, payload)
    }

    #[test]
    fn a_recorded_echo_parses_and_is_emitted_the_same() {
        let data = &b"ethertab"[..];
        let expected = Icmpv6Message::EchoRequest { identifier: 7, sequence: 3, data };
        assert_eq!(parse(&samples::ECHO_REQUEST_V6), Ok(expected));
        let mut out = [0xee; 20];
        let len = emit_echo(address("fd00::2"), address("fd00::15"), &mut out, false, 7, 3, data);
        assert_eq!(len, echo_len(data.len()));
        assert_eq!(out[..len], samples::ECHO_REQUEST_V6[54..]);
    }

    #[test]
    fn a_recorded_neighbor_solicitation_parses_and_is_emitted_the_same() {
        let target = address("fd00::15");
        let Ok(Icmpv6Message::NeighborSolicitation { target: asked, options }) = parse(&samples::NEIGHBOR_SOLICITATION)
        else {
            panic!("not a solicitation")
        };
        assert_eq!(asked, target);
        assert_eq!(NdpOptions::new(options).source_link_layer_address(), Some(MAC_A));
        assert!(NdpOptions::new(options).are_well_formed());
        let group = super::super::ipv6::solicited_node_multicast(target);
        let mut out = [0xee; NEIGHBOR_LEN];
        let len = emit_neighbor_solicitation(address("fd00::2"), group, &mut out, target, Some(MAC_A));
        assert_eq!(out[..len], samples::NEIGHBOR_SOLICITATION[54..]);
        assert_eq!(emit_neighbor_solicitation(Ipv6Addr::UNSPECIFIED, group, &mut out, target, None), 24);
    }

    #[test]
    fn a_recorded_neighbor_advertisement_parses_and_is_emitted_the_same() {
        let target = address("fd00::15");
        let message = parse(&samples::NEIGHBOR_ADVERTISEMENT).unwrap();
        let options = &samples::NEIGHBOR_ADVERTISEMENT[78..];
        let expected =
            Icmpv6Message::NeighborAdvertisement { router: false, solicited: true, override_: true, target, options };
        assert_eq!(message, expected);
        assert_eq!(NdpOptions::new(options).target_link_layer_address(), Some(MAC_B));
        let flags = AdvertisementFlags { router: false, solicited: true, override_: true };
        let mut out = [0xee; NEIGHBOR_LEN];
        let len = emit_neighbor_advertisement(target, address("fd00::2"), &mut out, flags, target, Some(MAC_B));
        assert_eq!(out[..len], samples::NEIGHBOR_ADVERTISEMENT[54..]);
    }

    #[test]
    fn a_recorded_router_solicitation_parses_and_is_emitted_the_same() {
        let options = &samples::ROUTER_SOLICITATION[62..];
        assert_eq!(parse(&samples::ROUTER_SOLICITATION), Ok(Icmpv6Message::RouterSolicitation { options }));
        let mut out = [0xee; 16];
        let source = super::super::ipv6::link_local(MAC_A);
        let len = emit_router_solicitation(source, address("ff02::2"), &mut out, Some(MAC_A));
        assert_eq!(out[..len], samples::ROUTER_SOLICITATION[54..]);
    }

    #[test]
    fn a_recorded_error_parses_and_is_emitted_the_same() {
        let original = &samples::UDP_V6[14..];
        let code = code::PORT_UNREACHABLE;
        let expected = Icmpv6Message::DestinationUnreachable { code, original };
        assert_eq!(parse(&samples::PORT_UNREACHABLE_V6), Ok(expected));
        let mut out = [0xee; 64];
        let kind = kind::DESTINATION_UNREACHABLE;
        let len = emit_error(address("fd00::15"), address("fd00::2"), &mut out, kind, code, 0, original);
        assert_eq!(len, error_len(original.len()));
        assert_eq!(out[..len], samples::PORT_UNREACHABLE_V6[54..]);
    }

    #[test]
    fn each_error_has_its_fields() {
        let (source, destination) = (address("fd00::1"), address("fd00::2"));
        let message = |kind, code, rest, expected: Icmpv6Message<'_>| {
            let mut out = [0; 12];
            emit_error(source, destination, &mut out, kind, code, rest, b"orig");
            assert_eq!(Icmpv6Message::parse(source, destination, &out), Ok(expected));
        };
        let original = &b"orig"[..];
        message(2, 0, 1280, Icmpv6Message::PacketTooBig { mtu: 1280, original });
        message(3, 1, 0, Icmpv6Message::TimeExceeded { code: 1, original });
        message(4, 2, 70_000, Icmpv6Message::ParameterProblem { code: 2, pointer: 70_000, original });
        message(100, 7, 0, Icmpv6Message::Other { kind: 100, code: 7 });
        assert_eq!(error_len(1500), 1240);
    }

    #[test]
    fn a_router_advertisement_has_its_fields_and_options() {
        let (source, destination) = (address("fe80::1"), address("ff02::1"));
        let mut body = [0; 8 + 8 + 8 + 32];
        body[..8].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x03, 0xe8]);
        body[8..16].copy_from_slice(&[1, 1, 2, 0, 0, 0, 0, 0x0a]);
        body[16..24].copy_from_slice(&[5, 1, 0, 0, 0, 0, 0x05, 0x78]);
        body[24..40].copy_from_slice(&[3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x07, 0x08, 0, 0, 0, 0]);
        body[40..56].copy_from_slice(&address("fd00::").octets());
        let mut out = [0; 64];
        let len = emit_body(&mut out, kind::ROUTER_ADVERTISEMENT, 0, 0x4080_0708, &[&body]);
        seal(source, destination, &mut out, len);
        let message = Icmpv6Message::parse(source, destination, &out).unwrap();
        let options = &body[8..];
        let expected = Icmpv6Message::RouterAdvertisement {
            current_hop_limit: 64,
            managed: true,
            other_config: false,
            router_lifetime: 1800,
            reachable_time: 30_000,
            retransmit_timer: 1000,
            options,
        };
        assert_eq!(message, expected);
        let prefix = PrefixInformation {
            prefix_len: 64,
            on_link: true,
            autonomous: true,
            valid_lifetime: 3600,
            preferred_lifetime: 1800,
            prefix: address("fd00::"),
        };
        assert!(NdpOptions::new(options).eq([
            NdpOption::SourceLinkLayerAddress(MAC_A),
            NdpOption::Mtu(1400),
            NdpOption::PrefixInformation(prefix),
        ]));
    }

    #[test]
    fn options_end_at_a_length_of_zero_or_beyond_the_end() {
        for tail in [&[9, 0, 1, 1, 1, 1, 1, 1][..], &[9, 2, 1, 1, 1, 1, 1, 1], &[9]] {
            let bytes = [&[9, 1, 1, 2, 3, 4, 5, 6], tail].concat();
            let mut options = NdpOptions::new(&bytes);
            assert!(!options.are_well_formed());
            assert_eq!(options.next(), Some(NdpOption::Other { kind: 9, body: &[1, 2, 3, 4, 5, 6] }));
            assert_eq!(options.next(), None);
            assert_eq!(options.next(), None);
        }
    }

    #[test]
    fn damage_and_other_addresses_are_noticed() {
        let bytes = &samples::ECHO_REQUEST_V6[54..];
        let parsed = Icmpv6Message::parse(address("fd00::3"), address("fd00::15"), bytes);
        assert_eq!(parsed, Err(WireError::BadChecksum));
        let parsed = Icmpv6Message::parse(address("fd00::2"), address("fd00::15"), &bytes[..7]);
        assert_eq!(parsed, Err(WireError::Truncated));
    }
}
