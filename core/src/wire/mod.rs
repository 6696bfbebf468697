//! Wire formats: one file a protocol, each with a plain struct that `parse` reads from bytes and `emit` writes.
//!
//! `parse` makes one length check, never panics and never reads past the end, whatever the bytes. It checks what the
//! format itself promises (versions, lengths, header checksums) and returns the bytes that follow the header, cut to
//! the length that the header names. `emit` writes into a buffer that the caller has made large enough.

pub mod arp;
pub mod dhcp;
pub mod dhcpv6;
pub mod dns;
pub mod ecn;
pub mod ethernet;
pub mod groups;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod ntp;
pub mod summary;
pub mod tcp;
pub mod tcp_options;
pub mod udp;

#[cfg(test)]
mod samples;

pub use arp::{ArpOperation, ArpPacket};
pub use ecn::Ecn;
pub use ethernet::{EthernetHeader, MacAddr, MacAddrParseError, VlanTag};
pub use icmpv4::Icmpv4Message;
pub use icmpv6::Icmpv6Message;
pub use ipv4::Ipv4Header;
pub use ipv6::{ExtensionError, Ipv6Header, UpperLayer};
pub use ndp::{
    AdvertisementFlags, NdpOption, NdpOptions, PrefixInformation, RouteInformation, RouterAdvertisement,
    RouterPreference,
};
pub use tcp::{TcpFlags, TcpHeader};
pub use tcp_options::{SackBlocks, TcpOptions, Timestamps};
pub use udp::UdpHeader;

use core::fmt;
use core::ops::Range;

/// Why bytes are not a message of the format asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end before the message does.
    Truncated,
    /// A length field contradicts the format or another length.
    BadLength,
    /// The version field is not that of the protocol.
    BadVersion,
    /// The checksum does not fit the bytes.
    BadChecksum,
    /// Another field has a value that the format does not allow, or that this stack does not speak.
    BadFormat,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the message is cut short",
            Self::BadLength => "a length field is wrong",
            Self::BadVersion => "the version is wrong",
            Self::BadChecksum => "the checksum is wrong",
            Self::BadFormat => "a field has a value that is not allowed",
        })
    }
}

impl core::error::Error for WireError {}

/// Protocol numbers: the protocol field of IPv4 and the next header field of IPv6 (IANA "Protocol Numbers").
pub mod protocol {
    /// IPv6 hop-by-hop options (RFC 8200 §4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: u8 = 1;
    /// IGMP (RFC 3376).
    pub const IGMP: u8 = 2;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// IPv6 routing header (RFC 8200 §4.4).
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header (RFC 8200 §4.5).
    pub const FRAGMENT: u8 = 44;
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// Nothing follows the IPv6 header (RFC 8200 §4.7).
    pub const NO_NEXT_HEADER: u8 = 59;
    /// IPv6 destination options (RFC 8200 §4.6).
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// The bytes of one field of a header. Field ranges are constants within the header, which lets the compiler drop the
/// bounds checks.
#[inline(always)]
fn array_at<const M: usize, const N: usize>(header: &[u8; N], field: Range<usize>) -> [u8; M] {
    let mut value = [0; M];
    value.copy_from_slice(&header[field]);
    value
}

#[inline(always)]
fn u16_at<const N: usize>(header: &[u8; N], field: Range<usize>) -> u16 {
    u16::from_be_bytes(array_at(header, field))
}

#[inline(always)]
fn u32_at<const N: usize>(header: &[u8; N], field: Range<usize>) -> u32 {
    u32::from_be_bytes(array_at(header, field))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the bytes as every format there is, and as what each names as its payload.
    fn parse_as_everything(bytes: &[u8]) {
        if let Ok((_, payload)) = EthernetHeader::parse(bytes) {
            parse_as_any_packet(payload);
        }
        parse_as_any_packet(bytes);
    }

    fn parse_as_any_packet(bytes: &[u8]) {
        let _ = ArpPacket::parse(bytes);
        if let Ok((_, payload)) = Ipv4Header::parse(bytes) {
            parse_as_any_message(payload);
        }
        if let Ok((header, payload)) = Ipv6Header::parse(bytes) {
            if let Ok(Icmpv6Message::RouterAdvertisement { options, .. }) =
                Icmpv6Message::parse(header.source, header.destination, payload)
            {
                NdpOptions::new(options).for_each(drop);
            }
            parse_as_any_message(payload);
        }
        parse_as_any_message(bytes);
    }

    fn parse_as_any_message(bytes: &[u8]) {
        let _ = Icmpv4Message::parse(bytes);
        let _ = UdpHeader::parse(bytes);
        if let Ok((_, options, _)) = TcpHeader::parse(bytes) {
            let mut out = [0; tcp_options::MAX_LEN];
            let parsed = TcpOptions::parse(options);
            let len = parsed.emit(&mut out);
            assert_eq!(TcpOptions::parse(&out[..len]).timestamps, parsed.timestamps);
        }
        assert!(NdpOptions::new(bytes).count() <= bytes.len() / 8);
        for next_header in [protocol::HOP_BY_HOP, protocol::ROUTING, protocol::FRAGMENT, protocol::DESTINATION_OPTIONS]
        {
            let _ = ipv6::skip_extension_headers(next_header, bytes);
        }
    }

    #[test]
    fn no_prefix_of_a_frame_makes_parsing_panic() {
        for frame in samples::ALL {
            for len in 0..=frame.len() {
                parse_as_everything(&frame[..len]);
            }
        }
    }

    #[test]
    fn no_byte_of_a_frame_makes_parsing_panic() {
        for frame in samples::ALL {
            let mut changed = [0; 128];
            let changed = &mut changed[..frame.len()];
            changed.copy_from_slice(frame);
            for at in 0..frame.len() {
                for value in 0..=u8::MAX {
                    changed[at] = value;
                    parse_as_everything(&changed[at.saturating_sub(20)..]);
                    parse_as_everything(changed);
                }
                changed[at] = frame[at];
            }
        }
    }

    #[test]
    fn random_bytes_do_not_make_parsing_panic() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut bytes = [0; 96];
        for _ in 0..100_000 {
            for chunk in bytes.as_chunks_mut::<8>().0 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *chunk = state.to_ne_bytes();
            }
            // Small numbers are likelier to be lengths and types that mean something.
            if state & 1 == 0 {
                bytes.iter_mut().for_each(|byte| *byte &= 0x4f);
            }
            parse_as_everything(&bytes[..state as usize % 97]);
        }
    }
}
