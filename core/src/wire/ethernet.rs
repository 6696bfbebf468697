//! Ethernet II frames (IEEE 802.3 §3, RFC 894): addresses and the 14-byte header. The frame check sequence is the
//! port's business and never part of a frame here.

use super::{WireError, array_at, u16_at};
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// Length of the header in bytes, without VLAN tags.
pub const HEADER_LEN: usize = 14;

/// Length of an 802.1Q tag in bytes: its EtherType's place is behind the addresses, and the frame's own follows it.
pub const TAG_LEN: usize = 4;

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

    /// Whether this addresses one station: no group, and not the address of zeros, which no station has.
    #[inline]
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
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
        let (header, payload) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(WireError::Truncated)?;
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

/// What an IEEE 802.1Q tag (§9.6) says, which lies between the header's addresses and its EtherType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// The VLAN, 1 to 4,094; 0 if the tag says nothing but the priority.
    pub id: u16,
    /// The priority code point, 0 to 7.
    pub priority: u8,
    /// Whether the frame may be dropped before others.
    pub drop_eligible: bool,
}

impl VlanTag {
    /// Reads the rest of a tag whose EtherType was that of the frame; then comes the EtherType of what was tagged, and that.
    ///
    /// # Errors
    /// [`WireError::Truncated`] below 4 bytes, [`WireError::BadFormat`] for the id 4,095, which is reserved.
    pub fn parse(bytes: &[u8]) -> Result<(Self, u16, &[u8]), WireError> {
        let (&[a, b, c, d], payload) = bytes.split_first_chunk().ok_or(WireError::Truncated)?;
        let tag = Self { id: u16::from_be_bytes([a & 0x0f, b]), priority: a >> 5, drop_eligible: a & 0x10 != 0 };
        if tag.id == 0x0fff {
            return Err(WireError::BadFormat);
        }
        Ok((tag, u16::from_be_bytes([c, d]), payload))
    }

    /// Tags the frame that lies [`TAG_LEN`] bytes from the start of `out`: it begins at the start afterwards.
    pub fn insert(&self, out: &mut [u8]) {
        debug_assert!(out.len() >= HEADER_LEN + TAG_LEN);
        let [a, b] = (u16::from(self.priority) << 13 | u16::from(self.drop_eligible) << 12 | self.id).to_be_bytes();
        let [c, d] = ethertype::VLAN.to_be_bytes();
        out.copy_within(TAG_LEN..TAG_LEN + field::ETHERTYPE.start, 0);
        out[field::ETHERTYPE.start..field::ETHERTYPE.start + TAG_LEN].copy_from_slice(&[c, d, a, b]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::string::ToString;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0a]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0b]);

    #[test]
    fn a_recorded_frame_parses_and_is_emitted_the_same() {
        let (header, payload) = EthernetHeader::parse(&samples::TCP_SYN).unwrap();
        assert_eq!(header, EthernetHeader { destination: B, source: A, ethertype: ethertype::IPV4 });
        assert_eq!(payload, &samples::TCP_SYN[HEADER_LEN..]);
        let mut out = [0; HEADER_LEN];
        header.emit(&mut out);
        assert_eq!(out, samples::TCP_SYN[..HEADER_LEN]);
        assert_eq!(EthernetHeader::parse(&out[..13]), Err(WireError::Truncated));
    }

    #[test]
    fn addresses_are_read_and_written_as_text() {
        assert_eq!(A.to_string(), "02:00:00:00:00:0a");
        assert_eq!("02:00:00:00:00:0A".parse(), Ok(A));
        assert_eq!("02-00-00-00-00-0b".parse(), Ok(B));
        for text in [
            "",
            "02",
            "02:00:00:00:00",
            "02:00:00:00:00:0a:",
            "02:00:00-00:00:0a",
            "2:0:0:0:0:a",
            "+2:00:00:00:00:0a",
            "02:00:00:00:00:0g",
            "éé:00:00:00:00:0a",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(MacAddrParseError), "{text:?}");
        }
    }

    #[test]
    fn a_tag_goes_in_and_comes_out() {
        for tag in [
            VlanTag { id: 0, priority: 7, drop_eligible: false },
            VlanTag { id: 1, priority: 0, drop_eligible: true },
            VlanTag { id: 4_094, priority: 5, drop_eligible: true },
        ] {
            let mut frame = [0; samples::TCP_SYN.len() + TAG_LEN];
            frame[TAG_LEN..].copy_from_slice(&samples::TCP_SYN);
            tag.insert(&mut frame);
            let (header, payload) = EthernetHeader::parse(&frame).unwrap();
            assert_eq!(header, EthernetHeader { destination: B, source: A, ethertype: ethertype::VLAN });
            assert_eq!(VlanTag::parse(payload), Ok((tag, ethertype::IPV4, &samples::TCP_SYN[HEADER_LEN..])));
        }
        assert_eq!(VlanTag::parse(&[0, 1, 8]), Err(WireError::Truncated));
        assert_eq!(VlanTag::parse(&[0xff, 0xff, 8, 0]), Err(WireError::BadFormat));
    }

    #[test]
    fn groups_are_told_from_stations() {
        assert!(A.is_unicast() && !A.is_multicast() && !A.is_broadcast());
        assert!(
            MacAddr::BROADCAST.is_broadcast() && MacAddr::BROADCAST.is_multicast() && !MacAddr::BROADCAST.is_unicast()
        );
        let v4 = MacAddr::for_multicast(Ipv4Addr::new(224, 129, 2, 3).into());
        assert_eq!(v4, MacAddr([0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]));
        let v6 = MacAddr::for_multicast("ff02::1:ff00:15".parse::<Ipv6Addr>().unwrap().into());
        assert_eq!(v6.0, samples::NEIGHBOR_SOLICITATION[..6]);
        assert!(v4.is_multicast() && v6.is_multicast());
    }
}
