//! The TCP header (RFC 9293 §3.1). Its options are in [`tcp_options`](super::tcp_options).

use super::{WireError, u16_at, u32_at};
use crate::checksum::Sum;
use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign};

/// Length in bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// Length in bytes of a header with all the options that its data offset can span.
pub const MAX_HEADER_LEN: usize = 60;

/// Offset of the checksum in the header.
pub const CHECKSUM_OFFSET: usize = field::CHECKSUM.start;

mod field {
    use core::ops::Range;
    pub(super) const SOURCE_PORT: Range<usize> = 0..2;
    pub(super) const DESTINATION_PORT: Range<usize> = 2..4;
    pub(super) const SEQUENCE: Range<usize> = 4..8;
    pub(super) const ACKNOWLEDGMENT: Range<usize> = 8..12;
    pub(super) const OFFSET_FLAGS: Range<usize> = 12..14;
    pub(super) const WINDOW: Range<usize> = 14..16;
    pub(super) const CHECKSUM: Range<usize> = 16..18;
    pub(super) const URGENT: Range<usize> = 18..20;
}

/// A set of control bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    /// No bits.
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(0x001);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x002);
    /// Reset the connection.
    pub const RST: Self = Self(0x004);
    /// Push.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgment field counts.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x020);
    /// ECN echo (RFC 3168 §6.1).
    pub const ECE: Self = Self(0x040);
    /// Congestion window reduced (RFC 3168 §6.1).
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN (RFC 9768 §3.1).
    pub const AE: Self = Self(0x100);

    const NAMES: [(Self, &'static str); 9] = [
        (Self::FIN, "FIN"),
        (Self::SYN, "SYN"),
        (Self::RST, "RST"),
        (Self::PSH, "PSH"),
        (Self::ACK, "ACK"),
        (Self::URG, "URG"),
        (Self::ECE, "ECE"),
        (Self::CWR, "CWR"),
        (Self::AE, "AE"),
    ];

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of both.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits that are not in `other`.
    #[inline]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no bit is set.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;
    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for TcpFlags {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl BitAnd for TcpFlags {
    type Output = Self;
    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Display for TcpFlags {
    /// `SYN|ACK`, or `-` for no bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        if separator.is_empty() { f.write_str("-") } else { Ok(()) }
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A TCP header without its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpHeader {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Sequence number of the first byte of payload, or of the SYN.
    pub sequence: u32,
    /// The next sequence number that the sender expects, when ACK is set.
    pub acknowledgment: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// The window as sent, before scaling.
    pub window: u16,
    /// The urgent pointer, when URG is set.
    pub urgent: u16,
    /// Bytes of header with options: 20 to 60, a multiple of 4.
    pub header_len: usize,
}

impl TcpHeader {
    /// Reads the header and returns the bytes of its options and the payload. The checksum is left to the caller, who
    /// knows the addresses.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when the segment ends before its header does, [`WireError::BadLength`] for a data
    /// offset below 20 bytes.
    #[inline]
    pub fn parse(segment: &[u8]) -> Result<(Self, &[u8], &[u8]), WireError> {
        let (header, rest) = segment.split_first_chunk::<HEADER_LEN>().ok_or(WireError::Truncated)?;
        let offset_flags = u16_at(header, field::OFFSET_FLAGS);
        let header_len = usize::from(offset_flags >> 12) * 4;
        let options_len = header_len.checked_sub(HEADER_LEN).ok_or(WireError::BadLength)?;
        let (options, payload) = rest.split_at_checked(options_len).ok_or(WireError::Truncated)?;
        let parsed = Self {
            source_port: u16_at(header, field::SOURCE_PORT),
            destination_port: u16_at(header, field::DESTINATION_PORT),
            sequence: u32_at(header, field::SEQUENCE),
            acknowledgment: u32_at(header, field::ACKNOWLEDGMENT),
            flags: TcpFlags(offset_flags & 0x1ff),
            window: u16_at(header, field::WINDOW),
            urgent: u16_at(header, field::URGENT),
            header_len,
        };
        Ok((parsed, options, payload))
    }

    /// Writes the 20 bytes without options to the start of `out`, the checksum as zero. The options follow at
    /// [`HEADER_LEN`] and are the caller's to write, up to `header_len`.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) {
        debug_assert!(out.len() >= HEADER_LEN);
        debug_assert!((HEADER_LEN..=MAX_HEADER_LEN).contains(&self.header_len) && self.header_len.is_multiple_of(4));
        let out = &mut out[..HEADER_LEN];
        out[field::SOURCE_PORT].copy_from_slice(&self.source_port.to_be_bytes());
        out[field::DESTINATION_PORT].copy_from_slice(&self.destination_port.to_be_bytes());
        out[field::SEQUENCE].copy_from_slice(&self.sequence.to_be_bytes());
        out[field::ACKNOWLEDGMENT].copy_from_slice(&self.acknowledgment.to_be_bytes());
        out[field::OFFSET_FLAGS].copy_from_slice(&self.offset_flags().to_be_bytes());
        out[field::WINDOW].copy_from_slice(&self.window.to_be_bytes());
        out[field::CHECKSUM].copy_from_slice(&[0, 0]);
        out[field::URGENT].copy_from_slice(&self.urgent.to_be_bytes());
    }

    /// The sum of what [`emit`](Self::emit) writes, from the fields: a processor waits where it reads as a whole what has just been written
    /// in parts.
    #[inline]
    pub(crate) fn sum(&self) -> Sum {
        let mut sum = Sum::new();
        sum.add_u32(u32::from(self.source_port) << 16 | u32::from(self.destination_port));
        sum.add_u32(self.sequence);
        sum.add_u32(self.acknowledgment);
        sum.add_u16(self.offset_flags());
        sum.add_u16(self.window);
        sum.add_u16(self.urgent);
        sum
    }

    /// The data offset in 32-bit words, and the control bits.
    #[inline]
    fn offset_flags(&self) -> u16 {
        (self.header_len as u16 / 4) << 12 | self.flags.0 & 0x1ff
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::checksum;
    use std::format;

    #[test]
    fn a_recorded_segment_parses_and_is_emitted_the_same() {
        let segment = &samples::TCP_DATA[34..];
        let (header, options, payload) = TcpHeader::parse(segment).unwrap();
        let expected = TcpHeader {
            source_port: 54954,
            destination_port: 8080,
            sequence: 2_580_501_048,
            acknowledgment: 3_665_111_511,
            flags: TcpFlags::PSH | TcpFlags::ACK,
            window: 63,
            urgent: 0,
            header_len: 32,
        };
        assert_eq!(header, expected);
        assert_eq!((options, payload), (&segment[20..32], &b"GET"[..]));
        let mut out = [0xee; HEADER_LEN];
        header.emit(&mut out);
        assert_eq!(out[..CHECKSUM_OFFSET], segment[..CHECKSUM_OFFSET]);
        assert_eq!(out[CHECKSUM_OFFSET..], [0; 4]);
        assert_eq!(header.sum().finish(), checksum::sum(&out).finish());
    }

    #[test]
    fn every_flag_keeps_its_place_beside_the_data_offset() {
        let (header, ..) = TcpHeader::parse(&samples::TCP_SYN[34..]).unwrap();
        for bit in 0..9 {
            let flags = TcpFlags(1 << bit);
            let mut out = [0; MAX_HEADER_LEN];
            TcpHeader { flags, header_len: 60, ..header }.emit(&mut out);
            let (parsed, options, payload) = TcpHeader::parse(&out).unwrap();
            assert_eq!((parsed.flags, parsed.header_len, options.len(), payload.len()), (flags, 60, 40, 0));
        }
    }

    #[test]
    fn the_data_offset_is_checked() {
        let mut segment = [0; 40];
        segment.copy_from_slice(&samples::TCP_SYN[34..]);
        segment[12] = 0x40;
        assert_eq!(TcpHeader::parse(&segment), Err(WireError::BadLength));
        segment[12] = 0xb0;
        assert_eq!(TcpHeader::parse(&segment), Err(WireError::Truncated));
        assert_eq!(TcpHeader::parse(&segment[..19]), Err(WireError::Truncated));
    }

    #[test]
    fn flags_are_a_set_with_names() {
        let syn_ack = TcpFlags::SYN | TcpFlags::ACK;
        assert!(syn_ack.contains(TcpFlags::SYN) && !syn_ack.contains(TcpFlags::SYN | TcpFlags::FIN));
        assert!(syn_ack.intersects(TcpFlags::SYN | TcpFlags::FIN) && !syn_ack.intersects(TcpFlags::RST));
        assert_eq!(syn_ack.difference(TcpFlags::SYN), TcpFlags::ACK);
        assert_eq!(format!("{syn_ack:?} {}", TcpFlags::NONE), "SYN|ACK -");
        assert_eq!(format!("{}", TcpFlags(0x1ff)), "FIN|SYN|RST|PSH|ACK|URG|ECE|CWR|AE");
    }
}
