//! Wire formats: one file a protocol, each with a plain struct that `parse` reads from bytes and `emit` writes.
//!
//! `parse` makes one length check, never panics and never reads past the end, whatever the bytes. It checks what the
//! format itself promises (versions, lengths, header checksums) and returns the bytes that follow the header, cut to
//! the length that the header names. `emit` writes into a buffer that the caller has made large enough.

pub mod arp;
pub mod ethernet;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod tcp;
pub mod tcp_options;
pub mod udp;

pub use arp::{ArpOperation, ArpPacket};
pub use ethernet::{EthernetHeader, MacAddr, MacAddrParseError};
pub use icmpv4::Icmpv4Message;
pub use icmpv6::{AdvertisementFlags, Icmpv6Message, NdpOption, NdpOptions, PrefixInformation};
pub use ipv4::Ipv4Header;
pub use ipv6::{ExtensionError, Ipv6Header};
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
