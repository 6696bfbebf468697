//! ICMP for IPv4 (RFC 792).

use super::{WireError, array_at, u16_at};
use crate::checksum;
use core::net::Ipv4Addr;

/// Bytes before the data of an echo message or the quoted datagram of an error.
pub const HEADER_LEN: usize = 8;

/// Bytes of the offending datagram that an error quotes at most: the error fits in 576 bytes (RFC 1812 §4.3.2.3).
pub const MAX_ORIGINAL_LEN: usize = 576 - super::ipv4::HEADER_LEN - HEADER_LEN;

mod field {
    use core::ops::Range;
    pub(super) const KIND: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: Range<usize> = 2..4;
    pub(super) const REST: Range<usize> = 4..8;
    pub(super) const IDENTIFIER: Range<usize> = 4..6;
    pub(super) const SEQUENCE: Range<usize> = 6..8;
    pub(super) const POINTER: usize = 4;
    pub(super) const ORIGINAL_LEN: usize = 5;
    pub(super) const NEXT_HOP_MTU: Range<usize> = 6..8;
}

/// Message types.
pub mod kind {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// Codes of the error messages.
pub mod code {
    /// Destination unreachable: the network.
    pub const NETWORK_UNREACHABLE: u8 = 0;
    /// Destination unreachable: the host.
    pub const HOST_UNREACHABLE: u8 = 1;
    /// Destination unreachable: the protocol is not spoken there.
    pub const PROTOCOL_UNREACHABLE: u8 = 2;
    /// Destination unreachable: nobody listens at the port.
    pub const PORT_UNREACHABLE: u8 = 3;
    /// Destination unreachable: too big for the next hop and not to be fragmented (RFC 1191 §4).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Destination unreachable: the network is not open to this host.
    pub const NETWORK_PROHIBITED: u8 = 9;
    /// Destination unreachable: the host is not open to this one.
    pub const HOST_PROHIBITED: u8 = 10;
    /// Destination unreachable: forbidden by a filter (RFC 1812 §5.2.7.1).
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 13;
    /// Destination unreachable: the precedence is too low (RFC 1812 §5.2.7.1), the last code there is.
    pub const PRECEDENCE_CUTOFF: u8 = 15;
    /// Redirect: for this host.
    pub const REDIRECT_HOST: u8 = 1;
    /// Time exceeded: no hops left.
    pub const TTL_EXCEEDED: u8 = 0;
    /// Time exceeded: fragments are missing.
    pub const REASSEMBLY_TIME_EXCEEDED: u8 = 1;
}

/// An ICMP message. `original` is the start of the datagram that an error is about, from its IPv4 header on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Icmpv4Message<'a> {
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
    /// A datagram could not be delivered.
    DestinationUnreachable {
        /// Why, see [`code`].
        code: u8,
        /// With code 4 the MTU of the next hop in bytes (RFC 1191 §4); 0 from routers that don't tell.
        next_hop_mtu: u16,
        /// The datagram.
        original: &'a [u8],
    },
    /// A datagram, or a fragment of it, took too long.
    TimeExceeded {
        /// Which, see [`code`].
        code: u8,
        /// The datagram.
        original: &'a [u8],
    },
    /// A field of a datagram's header makes no sense.
    ParameterProblem {
        /// 0 when `pointer` counts.
        code: u8,
        /// Offset of the field in the datagram.
        pointer: u8,
        /// The datagram.
        original: &'a [u8],
    },
    /// Another router is nearer to the destination.
    Redirect {
        /// 0 for the network, 1 for the host.
        code: u8,
        /// The other router.
        gateway: Ipv4Addr,
        /// The datagram.
        original: &'a [u8],
    },
    /// Any other message.
    Other {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

impl<'a> Icmpv4Message<'a> {
    /// Reads a message: all the bytes of an IPv4 payload.
    ///
    /// # Errors
    /// [`WireError::Truncated`] below 8 bytes, [`WireError::BadChecksum`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, body) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(WireError::Truncated)?;
        if !checksum::sum(bytes).is_valid() {
            return Err(WireError::BadChecksum);
        }
        let code = header[field::CODE];
        let identifier = u16_at(header, field::IDENTIFIER);
        let sequence = u16_at(header, field::SEQUENCE);
        // RFC 4884 §4.1: extensions follow what is quoted, if its length is told.
        let original = quoted(body, usize::from(header[field::ORIGINAL_LEN]) * 4);
        Ok(match header[field::KIND] {
            kind::ECHO_REQUEST => Self::EchoRequest { identifier, sequence, data: body },
            kind::ECHO_REPLY => Self::EchoReply { identifier, sequence, data: body },
            kind::DESTINATION_UNREACHABLE => {
                let next_hop_mtu = u16_at(header, field::NEXT_HOP_MTU);
                Self::DestinationUnreachable { code, next_hop_mtu, original }
            }
            kind::TIME_EXCEEDED => Self::TimeExceeded { code, original },
            kind::PARAMETER_PROBLEM => Self::ParameterProblem { code, pointer: header[field::POINTER], original },
            kind::REDIRECT => {
                let gateway = Ipv4Addr::from(array_at::<4, _>(header, field::REST));
                Self::Redirect { code, gateway, original: body }
            }
            kind => Self::Other { kind, code },
        })
    }
}

/// What an error quotes, without the extensions behind it (RFC 4884 §4): `len` bytes, or all if 0, as in messages without.
pub(super) fn quoted(body: &[u8], len: usize) -> &[u8] {
    if len == 0 { body } else { &body[..len.min(body.len())] }
}

/// Bytes of an echo message with `data_len` bytes of data.
#[inline]
pub const fn echo_len(data_len: usize) -> usize {
    HEADER_LEN + data_len
}

/// Bytes of an error about a datagram of `original_len` bytes: it quotes [`MAX_ORIGINAL_LEN`] at most.
#[inline]
pub const fn error_len(original_len: usize) -> usize {
    if original_len < MAX_ORIGINAL_LEN { HEADER_LEN + original_len } else { HEADER_LEN + MAX_ORIGINAL_LEN }
}

/// Writes an echo request, or a reply, and returns its length. `out` must hold [`echo_len`] bytes.
pub fn emit_echo(out: &mut [u8], reply: bool, identifier: u16, sequence: u16, data: &[u8]) -> usize {
    let kind = if reply { kind::ECHO_REPLY } else { kind::ECHO_REQUEST };
    emit(out, kind, 0, u32::from(identifier) << 16 | u32::from(sequence), data)
}

/// Writes an error about the datagram `original`, cut to [`MAX_ORIGINAL_LEN`], and returns the message's length.
///
/// `rest_of_header` is the field after the checksum: the next hop's MTU, or a pointer in its upper byte. `out` must
/// hold [`error_len`] bytes.
pub fn emit_error(out: &mut [u8], kind: u8, code: u8, rest_of_header: u32, original: &[u8]) -> usize {
    let quoted = &original[..original.len().min(MAX_ORIGINAL_LEN)];
    emit(out, kind, code, rest_of_header, quoted)
}

fn emit(out: &mut [u8], kind: u8, code: u8, rest_of_header: u32, body: &[u8]) -> usize {
    let len = HEADER_LEN + body.len();
    debug_assert!(out.len() >= len);
    let out = &mut out[..len];
    out[field::KIND] = kind;
    out[field::CODE] = code;
    out[field::CHECKSUM].copy_from_slice(&[0, 0]);
    out[field::REST].copy_from_slice(&rest_of_header.to_be_bytes());
    out[HEADER_LEN..].copy_from_slice(body);
    let checksum = checksum::sum(out).finish();
    out[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    len
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn recorded_echoes_parse_and_are_emitted_the_same() {
        let data = &b"ethertab"[..];
        let request = Icmpv4Message::EchoRequest { identifier: 7, sequence: 3, data };
        assert_eq!(Icmpv4Message::parse(&samples::ECHO_REQUEST[34..]), Ok(request));
        let reply = Icmpv4Message::EchoReply { identifier: 7, sequence: 3, data };
        assert_eq!(Icmpv4Message::parse(&samples::ECHO_REPLY[34..]), Ok(reply));
        for (is_reply, sample) in [(false, samples::ECHO_REQUEST), (true, samples::ECHO_REPLY)] {
            let mut out = [0xee; 20];
            let len = emit_echo(&mut out, is_reply, 7, 3, data);
            assert_eq!(len, echo_len(data.len()));
            assert_eq!(out[..len], sample[34..]);
        }
    }

    #[test]
    fn a_recorded_error_parses_and_is_emitted_the_same() {
        let original = &samples::UDP[14..];
        let code = code::PORT_UNREACHABLE;
        let expected = Icmpv4Message::DestinationUnreachable { code, next_hop_mtu: 0, original };
        assert_eq!(Icmpv4Message::parse(&samples::PORT_UNREACHABLE[34..]), Ok(expected));
        let mut out = [0xee; 60];
        let len = emit_error(&mut out, kind::DESTINATION_UNREACHABLE, code, 0, original);
        assert_eq!(len, error_len(original.len()));
        assert_eq!(out[..len], samples::PORT_UNREACHABLE[34..]);
    }

    #[test]
    fn each_error_has_its_fields() {
        let message = |kind, code, rest, expected: Icmpv4Message<'_>| {
            let mut out = [0; 12];
            emit_error(&mut out, kind, code, rest, b"orig");
            assert_eq!(Icmpv4Message::parse(&out), Ok(expected));
        };
        let original = &b"orig"[..];
        let next_hop_mtu = 1280;
        message(3, 4, 1280, Icmpv4Message::DestinationUnreachable { code: 4, next_hop_mtu, original });
        message(11, 1, 0, Icmpv4Message::TimeExceeded { code: 1, original });
        message(12, 0, 9 << 24, Icmpv4Message::ParameterProblem { code: 0, pointer: 9, original });
        let gateway = Ipv4Addr::new(10, 0, 2, 1);
        message(5, 1, gateway.to_bits(), Icmpv4Message::Redirect { code: 1, gateway, original });
        message(13, 2, 0, Icmpv4Message::Other { kind: 13, code: 2 });
    }

    #[test]
    fn long_datagrams_are_quoted_in_part() {
        let mut out = [0; 576];
        assert_eq!(emit_error(&mut out, 3, 3, 0, &[0x45; 1500]), 556);
        assert_eq!(error_len(1500), 556);
        assert!(Icmpv4Message::parse(&out[..556]).is_ok());
    }

    #[test]
    fn damage_and_truncation_are_noticed() {
        let mut message = samples::ECHO_REQUEST;
        message[40] ^= 0x10;
        assert_eq!(Icmpv4Message::parse(&message[34..]), Err(WireError::BadChecksum));
        assert_eq!(Icmpv4Message::parse(&message[34..41]), Err(WireError::Truncated));
    }
}
