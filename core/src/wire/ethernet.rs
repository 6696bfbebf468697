//! Ethernet II frames (IEEE 802.3 §3, RFC 894): addresses and the 14-byte header. The frame check sequence is the
//! port's business and never part of a frame here.

use super::{WireError, array_at, u16_at};
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// Length of the header in bytes, without VLAN tags.
pub const HEADER_LEN: usize = 14;

mod field {
    use core::ops::Range;
    pub(super) const DESTINATION: Range<usize> = 0..6;
    pub(super) const SOURCE: Range<usize> = 6..12;
    pub(super) const ETHERTYPE: Range<usize> = 12..14;
}

/// Values of [`EthernetHeader::ethertype`] (IANA "IEEE 802 Numbers").
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// An 802.1Q tag follows.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// A 48-bit Ethernet address, in the order in which it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff, every station.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether this addresses a group of stations. Broadcast counts as one.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this addresses every station.
    #[inline]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether this addresses one station.
    #[inline]
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast()
    }

    /// The group address that carries an IP multicast address (RFC 1112 §6.4, RFC 2464 §7).
    pub const fn for_multicast(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let [_, b, c, d] = address.octets();
                Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
            }
            IpAddr::V6(address) => {
                let [.., a, b, c, d] = address.octets();
                Self([0x33, 0x33, a, b, c, d])
            }
        }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not six pairs of hexadecimal digits joined by `:` or by `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddrParseError;

impl fmt::Display for MacAddrParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an Ethernet address has the form aa:bb:cc:dd:ee:ff")
    }
}

impl core::error::Error for MacAddrParseError {}

impl FromStr for MacAddr {
    type Err = MacAddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let separator = match text.as_bytes().get(2) {
            Some(b'-') => '-',
            _ => ':',
        };
        let mut pairs = text.split(separator);
        let mut octets = [0; 6];
        for octet in &mut octets {
            let pair = pairs.next().ok_or(MacAddrParseError)?;
            // from_str_radix alone would take "+5".
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(MacAddrParseError);
            }
            *octet = u8::from_str_radix(pair, 16).map_err(|_| MacAddrParseError)?;
        }
        match pairs.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(MacAddrParseError),
        }
    }
}

/// The header of an Ethernet II frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetHeader {
    /// The station or group that the frame is for.
    pub destination: MacAddr,
    /// The station that sent it.
    pub source: MacAddr,
    /// What the payload is, see [`ethertype`]. Below 1,536 it is the length of an 802.3 frame.
    pub ethertype: u16,
}

impl EthernetHeader {
    /// Reads the header; the rest is the payload, with the padding of short frames.
    ///
    /// # Errors
    /// [`WireError::Truncated`] below 14 bytes.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (header, payload) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(WireError::Truncated)?;
        let parsed = Self {
            destination: MacAddr(array_at(header, field::DESTINATION)),
            source: MacAddr(array_at(header, field::SOURCE)),
            ethertype: u16_at(header, field::ETHERTYPE),
        };
        Ok((parsed, payload))
    }

    /// Writes the header to the start of `out`, at least [`HEADER_LEN`] bytes.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) {
        debug_assert!(out.len() >= HEADER_LEN);
        let out = &mut out[..HEADER_LEN];
        out[field::DESTINATION].copy_from_slice(&self.destination.0);
        out[field::SOURCE].copy_from_slice(&self.source.0);
        out[field::ETHERTYPE].copy_from_slice(&self.ethertype.to_be_bytes());
    }
}
