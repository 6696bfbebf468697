//! ICMPv6 (RFC 4443). Of the messages of neighbour discovery, options and emission are in [`ndp`](super::ndp).

use super::ndp::{AdvertisementFlags, RouterAdvertisement};
use super::{WireError, protocol, u16_at, u32_at};
use crate::checksum;
use core::net::{IpAddr, Ipv6Addr};

/// Bytes before the data of an echo message or the quoted packet of an error.
pub const HEADER_LEN: usize = 8;

/// Bytes of the offending packet that an error quotes at most: the error fits in the minimum MTU (RFC 4443 §2.4 (c)).
pub const MAX_ORIGINAL_LEN: usize = 1280 - super::ipv6::HEADER_LEN - HEADER_LEN;

mod field {
    use core::ops::Range;
    pub(super) const KIND: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: Range<usize> = 2..4;
    pub(super) const REST: Range<usize> = 4..8;
    pub(super) const ORIGINAL_LEN: usize = 4;
    pub(super) const IDENTIFIER: Range<usize> = 4..6;
    pub(super) const SEQUENCE: Range<usize> = 6..8;
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
    /// Redirect.
    pub const REDIRECT: u8 = 137;
}

/// Codes of the error messages.
pub mod code {
    /// Destination unreachable: no route.
    pub const NO_ROUTE: u8 = 0;
    /// Destination unreachable: forbidden by a filter.
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 1;
    /// Destination unreachable: the source address is known on its link only.
    pub const BEYOND_SCOPE: u8 = 2;
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
    /// Parameter problem: a first fragment without the whole chain of headers (RFC 7112 §6).
    pub const INCOMPLETE_HEADER_CHAIN: u8 = 3;
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
        /// For [`NdpOptions`](super::NdpOptions).
        options: &'a [u8],
    },
    /// A router tells hosts how to use the link (RFC 4861 §4.2).
    RouterAdvertisement {
        /// What it says besides its options.
        advertisement: RouterAdvertisement,
        /// For [`NdpOptions`](super::NdpOptions).
        options: &'a [u8],
    },
    /// Asks for the link-layer address of `target` (RFC 4861 §4.3).
    NeighborSolicitation {
        /// Whose address is asked for.
        target: Ipv6Addr,
        /// For [`NdpOptions`](super::NdpOptions).
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
        /// For [`NdpOptions`](super::NdpOptions).
        options: &'a [u8],
    },
    /// Packets for a destination had better go to another neighbour (RFC 4861 §4.5).
    Redirect {
        /// That neighbour: a router, or the destination itself.
        target: Ipv6Addr,
        /// The destination.
        destination: Ipv6Addr,
        /// For [`NdpOptions`](super::NdpOptions).
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
    /// header. That the hop limit of neighbour discovery is [`NDP_HOP_LIMIT`](super::ndp::NDP_HOP_LIMIT) is left to the caller.
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
        // RFC 4884 §4.4 and §4.5: extensions follow what is quoted, if its length is told.
        let original = super::icmpv4::quoted(body, usize::from(header[field::ORIGINAL_LEN]) * 8);
        Ok(match header[field::KIND] {
            kind::ECHO_REQUEST => Self::EchoRequest { identifier, sequence, data: body },
            kind::ECHO_REPLY => Self::EchoReply { identifier, sequence, data: body },
            kind::DESTINATION_UNREACHABLE => Self::DestinationUnreachable { code, original },
            kind::PACKET_TOO_BIG => Self::PacketTooBig { mtu: rest, original: body },
            kind::TIME_EXCEEDED => Self::TimeExceeded { code, original },
            kind::PARAMETER_PROBLEM => Self::ParameterProblem { code, pointer: rest, original: body },
            kind::ROUTER_SOLICITATION => Self::RouterSolicitation { options: body },
            kind::ROUTER_ADVERTISEMENT => {
                let (timers, options) = body.split_first_chunk::<8>().ok_or(WireError::Truncated)?;
                Self::RouterAdvertisement { advertisement: RouterAdvertisement::read(rest, timers), options }
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
            kind::REDIRECT => {
                let (target, rest) = body.split_first_chunk::<16>().ok_or(WireError::Truncated)?;
                let (destination, options) = rest.split_first_chunk::<16>().ok_or(WireError::Truncated)?;
                Self::Redirect { target: Ipv6Addr::from(*target), destination: Ipv6Addr::from(*destination), options }
            }
            kind => Self::Other { kind, code },
        })
    }
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

/// Writes a message's header, without its checksum, and what follows it; returns the length.
pub(super) fn emit_body(out: &mut [u8], kind: u8, code: u8, rest_of_header: u32, pieces: &[&[u8]]) -> usize {
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
pub(super) fn seal(source: Ipv6Addr, destination: Ipv6Addr, out: &mut [u8], len: usize) -> usize {
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
    fn damage_and_other_addresses_are_noticed() {
        let bytes = &samples::ECHO_REQUEST_V6[54..];
        let parsed = Icmpv6Message::parse(address("fd00::3"), address("fd00::15"), bytes);
        assert_eq!(parsed, Err(WireError::BadChecksum));
        let parsed = Icmpv6Message::parse(address("fd00::2"), address("fd00::15"), &bytes[..7]);
        assert_eq!(parsed, Err(WireError::Truncated));
    }
}
