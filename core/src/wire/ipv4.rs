//! The IPv4 header (RFC 791 §3.1).

use super::{WireError, array_at, u16_at};
use crate::checksum;
use core::net::Ipv4Addr;

/// Length in bytes of a header without options, the only kind that [`Ipv4Header::emit`] writes.
pub const HEADER_LEN: usize = 20;

mod field {
    use core::ops::Range;
    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const DSCP_ECN: usize = 1;
    pub(super) const TOTAL_LEN: Range<usize> = 2..4;
    pub(super) const IDENTIFICATION: Range<usize> = 4..6;
    pub(super) const FRAGMENT: Range<usize> = 6..8;
    pub(super) const TTL: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const CHECKSUM: Range<usize> = 10..12;
    pub(super) const SOURCE: Range<usize> = 12..16;
    pub(super) const DESTINATION: Range<usize> = 16..20;
}

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// An IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// DSCP in the upper six bits (RFC 2474), ECN in the lower two (RFC 3168).
    pub dscp_ecn: u8,
    /// Bytes of header and payload.
    pub total_len: u16,
    /// Tells the fragments of one datagram from those of another.
    pub identification: u16,
    /// Routers may not fragment the datagram.
    pub dont_fragment: bool,
    /// This is a fragment and not the last.
    pub more_fragments: bool,
    /// Where the payload belongs in the datagram: bytes, a multiple of 8 up to 65,528.
    pub fragment_offset: u16,
    /// Hops left.
    pub ttl: u8,
    /// What the payload is, see [`protocol`](super::protocol).
    pub protocol: u8,
    /// The sender.
    pub source: Ipv4Addr,
    /// The receiver.
    pub destination: Ipv4Addr,
    /// Bytes of header with its options, 20 to 60.
    pub header_len: usize,
}

impl Ipv4Header {
    /// Reads and verifies the header, steps over its options, and returns the payload cut to the total length, which
    /// takes the padding of short Ethernet frames off.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when the bytes end before the header or the total length does,
    /// [`WireError::BadVersion`], [`WireError::BadLength`] for a header length below 20 or above the total length,
    /// [`WireError::BadChecksum`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(WireError::Truncated)?;
        if header[field::VERSION_IHL] >> 4 != 4 {
            return Err(WireError::BadVersion);
        }
        let header_len = usize::from(header[field::VERSION_IHL] & 0x0f) * 4;
        let total_len = u16_at(header, field::TOTAL_LEN);
        if header_len < HEADER_LEN || usize::from(total_len) < header_len {
            return Err(WireError::BadLength);
        }
        let datagram = bytes.get(..usize::from(total_len)).ok_or(WireError::Truncated)?;
        let (whole, payload) = datagram.split_at(header_len);
        if !checksum::sum_header(whole).is_valid() {
            return Err(WireError::BadChecksum);
        }
        let fragment = u16_at(header, field::FRAGMENT);
        let parsed = Self {
            dscp_ecn: header[field::DSCP_ECN],
            total_len,
            identification: u16_at(header, field::IDENTIFICATION),
            dont_fragment: fragment & DONT_FRAGMENT != 0,
            more_fragments: fragment & MORE_FRAGMENTS != 0,
            fragment_offset: (fragment & FRAGMENT_OFFSET) * 8,
            ttl: header[field::TTL],
            protocol: header[field::PROTOCOL],
            source: Ipv4Addr::from(array_at::<4, _>(header, field::SOURCE)),
            destination: Ipv4Addr::from(array_at::<4, _>(header, field::DESTINATION)),
            header_len,
        };
        Ok((parsed, payload))
    }

    /// Whether the payload is only a part of the datagram's.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// Writes a header without options and with its checksum to the start of `out`, at least [`HEADER_LEN`] bytes.
    /// `header_len` must be [`HEADER_LEN`].
    #[inline]
    pub fn emit(&self, out: &mut [u8]) {
        debug_assert!(out.len() >= HEADER_LEN);
        debug_assert_eq!(self.header_len, HEADER_LEN, "options are not written");
        debug_assert!(self.fragment_offset.is_multiple_of(8));
        let out = &mut out[..HEADER_LEN];
        let mut fragment = self.fragment_offset / 8;
        if self.dont_fragment {
            fragment |= DONT_FRAGMENT;
        }
        if self.more_fragments {
            fragment |= MORE_FRAGMENTS;
        }
        out[field::VERSION_IHL] = 0x45;
        out[field::DSCP_ECN] = self.dscp_ecn;
        out[field::TOTAL_LEN].copy_from_slice(&self.total_len.to_be_bytes());
        out[field::IDENTIFICATION].copy_from_slice(&self.identification.to_be_bytes());
        out[field::FRAGMENT].copy_from_slice(&fragment.to_be_bytes());
        out[field::TTL] = self.ttl;
        out[field::PROTOCOL] = self.protocol;
        out[field::CHECKSUM].copy_from_slice(&[0, 0]);
        out[field::SOURCE].copy_from_slice(&self.source.octets());
        out[field::DESTINATION].copy_from_slice(&self.destination.octets());
        let checksum = checksum::sum(out).finish();
        out[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// What is wrong with the options of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// A length that cannot be.
    Malformed {
        /// Where in the options.
        at: usize,
    },
    /// A loose or strict source route (RFC 791 §3.1): the sender wants to say where the packet goes.
    SourceRoute,
}

/// Goes through the options of a header; those that are not known mean nothing.
///
/// # Errors
/// See [`OptionError`].
pub fn check_options(options: &[u8]) -> Result<(), OptionError> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        at += match kind {
            END => return Ok(()),
            NO_OPERATION => 1,
            _ => match options.get(at + 1) {
                Some(&len) if len >= 2 && at + usize::from(len) <= options.len() => usize::from(len),
                Some(_) => return Err(OptionError::Malformed { at: at + 1 }),
                None => return Err(OptionError::Malformed { at }),
            },
        };
        if matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE) {
            return Err(OptionError::SourceRoute);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{protocol, samples};
    use super::*;

    /// Changes a byte of the recorded header and repairs the checksum.
    fn changed(at: usize, value: u8) -> [u8; 60] {
        let mut datagram = [0; 60];
        datagram.copy_from_slice(&samples::TCP_SYN[14..]);
        datagram[at] = value;
        datagram[field::CHECKSUM].fill(0);
        let header_len = usize::from(datagram[0] & 0x0f) * 4;
        let checksum = checksum::sum(&datagram[..header_len]).finish();
        datagram[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        datagram
    }

    #[test]
    fn a_recorded_header_parses_and_is_emitted_the_same() {
        let (header, payload) = Ipv4Header::parse(&samples::TCP_SYN[14..]).unwrap();
        let expected = Ipv4Header {
            dscp_ecn: 0,
            total_len: 60,
            identification: 0xbcb6,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: protocol::TCP,
            source: Ipv4Addr::new(10, 0, 2, 2),
            destination: Ipv4Addr::new(10, 0, 2, 15),
            header_len: 20,
        };
        assert_eq!(header, expected);
        assert_eq!(payload, &samples::TCP_SYN[34..]);
        let mut out = [0xee; HEADER_LEN];
        header.emit(&mut out);
        assert_eq!(out, samples::TCP_SYN[14..34]);
    }

    #[test]
    fn ethernet_padding_is_no_payload() {
        let mut frame = [0x55; 64];
        frame[..36].copy_from_slice(&samples::ECHO_REQUEST[14..]);
        let (_, payload) = Ipv4Header::parse(&frame).unwrap();
        assert_eq!(payload, &samples::ECHO_REQUEST[34..]);
    }

    #[test]
    fn options_are_stepped_over_and_checked() {
        let datagram = changed(0, 0x47);
        let (header, payload) = Ipv4Header::parse(&datagram).unwrap();
        assert_eq!((header.header_len, payload), (28, &datagram[28..]));
        let mut damaged = datagram;
        damaged[24] ^= 1;
        assert_eq!(Ipv4Header::parse(&damaged), Err(WireError::BadChecksum));
    }

    #[test]
    fn options_are_gone_through_to_their_end() {
        let malformed = |at| Err(OptionError::Malformed { at });
        for (options, expected) in [
            (&[][..], Ok(())),
            (&[1, 1, 1, 0], Ok(())),
            (&[0, 9, 9, 9], Ok(())),
            (&[7, 4, 4, 0], Ok(())),
            (&[148, 4, 0, 0], Ok(())),
            (&[1, 131, 3, 4], Err(OptionError::SourceRoute)),
            (&[137, 3, 4, 0], Err(OptionError::SourceRoute)),
            (&[7, 1, 0, 0], malformed(1)),
            (&[1, 7, 4, 0], malformed(2)),
            (&[1, 1, 1, 7], malformed(3)),
        ] {
            assert_eq!(check_options(options), expected, "{options:?}");
        }
    }

    #[test]
    fn what_the_header_promises_is_checked() {
        assert_eq!(Ipv4Header::parse(&changed(0, 0x65)), Err(WireError::BadVersion));
        assert_eq!(Ipv4Header::parse(&changed(0, 0x44)), Err(WireError::BadLength));
        assert_eq!(Ipv4Header::parse(&changed(3, 19)), Err(WireError::BadLength));
        assert_eq!(Ipv4Header::parse(&changed(3, 61)), Err(WireError::Truncated));
        assert_eq!(Ipv4Header::parse(&changed(3, 20)).unwrap().1, &[]);
        let mut damaged = changed(8, 64);
        damaged[8] = 63;
        assert_eq!(Ipv4Header::parse(&damaged), Err(WireError::BadChecksum));
    }

    #[test]
    fn fragments_are_recognized_and_round_trip() {
        for (byte, more, is_fragment) in
            [(0x20, true, true), (0x40, false, false), (0x01, false, true), (0x00, false, false)]
        {
            let datagram = changed(6, byte);
            let (header, _) = Ipv4Header::parse(&datagram).unwrap();
            assert_eq!((header.more_fragments, header.is_fragment()), (more, is_fragment));
            let mut out = [0; HEADER_LEN];
            header.emit(&mut out);
            assert_eq!(out, datagram[..HEADER_LEN]);
        }
        assert_eq!(Ipv4Header::parse(&changed(6, 0x1f)).unwrap().0.fragment_offset, 0x1f00 * 8);
    }
}
