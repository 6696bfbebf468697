//! The UDP header (RFC 768).

use super::{WireError, u16_at};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Offset of the checksum in the header.
pub const CHECKSUM_OFFSET: usize = field::CHECKSUM.start;

mod field {
    use core::ops::Range;
    pub(super) const SOURCE_PORT: Range<usize> = 0..2;
    pub(super) const DESTINATION_PORT: Range<usize> = 2..4;
    pub(super) const LENGTH: Range<usize> = 4..6;
    pub(super) const CHECKSUM: Range<usize> = 6..8;
}

/// A UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    /// The sender's port; 0 when no answer is wanted.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Bytes of header and payload.
    pub length: u16,
    /// The checksum as sent: 0 means none, which IPv6 does not allow (RFC 8200 §8.1). A sum of 0 is sent as 0xffff.
    pub checksum: u16,
}

impl UdpHeader {
    /// Reads the header and returns the payload cut to its length. The checksum is left to the caller, who knows the
    /// addresses; it covers the first `length` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when the bytes end before the header or the length does, [`WireError::BadLength`] for
    /// a length below 8.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(WireError::Truncated)?;
        let length = u16_at(header, field::LENGTH);
        let payload_len = usize::from(length).checked_sub(HEADER_LEN).ok_or(WireError::BadLength)?;
        let payload = rest.get(..payload_len).ok_or(WireError::Truncated)?;
        let parsed = Self {
            source_port: u16_at(header, field::SOURCE_PORT),
            destination_port: u16_at(header, field::DESTINATION_PORT),
            length,
            checksum: u16_at(header, field::CHECKSUM),
        };
        Ok((parsed, payload))
    }

    /// Writes the header to the start of `out`, at least [`HEADER_LEN`] bytes, the checksum as it is given.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) {
        debug_assert!(out.len() >= HEADER_LEN);
        let out = &mut out[..HEADER_LEN];
        out[field::SOURCE_PORT].copy_from_slice(&self.source_port.to_be_bytes());
        out[field::DESTINATION_PORT].copy_from_slice(&self.destination_port.to_be_bytes());
        out[field::LENGTH].copy_from_slice(&self.length.to_be_bytes());
        out[field::CHECKSUM].copy_from_slice(&self.checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_recorded_datagram_parses_and_is_emitted_the_same() {
        let (header, payload) = UdpHeader::parse(&samples::UDP[34..]).unwrap();
        let expected = UdpHeader { source_port: 57030, destination_port: 9, length: 12, checksum: 0x182e };
        assert_eq!((header, payload), (expected, &b"udp!"[..]));
        let mut out = [0xee; HEADER_LEN];
        header.emit(&mut out);
        assert_eq!(out, samples::UDP[34..42]);
    }

    #[test]
    fn the_payload_ends_where_the_length_says() {
        let mut datagram = [0; 12];
        datagram.copy_from_slice(&samples::UDP[34..]);
        datagram[5] = 10;
        assert_eq!(UdpHeader::parse(&datagram).unwrap().1, b"ud");
        datagram[5] = 8;
        assert_eq!(UdpHeader::parse(&datagram).unwrap().1, b"");
        datagram[5] = 7;
        assert_eq!(UdpHeader::parse(&datagram), Err(WireError::BadLength));
        datagram[5] = 13;
        assert_eq!(UdpHeader::parse(&datagram), Err(WireError::Truncated));
        assert_eq!(UdpHeader::parse(&datagram[..7]), Err(WireError::Truncated));
    }
}
