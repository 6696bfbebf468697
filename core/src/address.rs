//! Addresses with prefixes, and socket endpoints.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::str::FromStr;

use crate::error_text::ErrorText;
use crate::event::InterfaceId;

/// An address and the length of its network prefix, as in `10.0.2.2/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The address; host bits may be set.
    pub address: IpAddr,
    /// Bits of the network part: 0 to 32 or 0 to 128.
    pub length: u8,
}

/// What is wrong with the text or the length of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParsePrefixError {
    /// There is no `/`.
    MissingLength,
    /// The part before the `/` is no IPv4 or IPv6 address.
    BadAddress,
    /// The part after the `/` is no number from 0 to 32 (IPv4) or 128 (IPv6).
    BadLength,
}

impl fmt::Display for ParsePrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParsePrefixError::MissingLength => "a prefix needs a length, as in 10.0.2.2/24",
            ParsePrefixError::BadAddress => "the part before the / is not an IPv4 or IPv6 address",
            ParsePrefixError::BadLength => "the prefix length is 0 to 32 for IPv4 and 0 to 128 for IPv6",
        })
    }
}

impl core::error::Error for ParsePrefixError {}

impl Prefix {
    /// A prefix; the length must suit the address family.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, ParsePrefixError> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if length > longest {
            return Err(ParsePrefixError::BadLength);
        }
        Ok(Prefix { address, length })
    }

    /// The prefix that holds one address only.
    pub fn host(address: IpAddr) -> Self {
        Prefix { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Whether `address` lies in the network.
    #[inline(never)] // Many places ask, none for every packet.
    pub fn contains(&self, address: IpAddr) -> bool {
        let common = match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros(),
            (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros(),
            _ => return false,
        };
        common >= self.length.into()
    }

    /// The directed broadcast address; none for IPv6, /31 (RFC 3021) and /32.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) if self.length < 31 => {
                Some(Ipv4Addr::from_bits(address.to_bits() | (u32::MAX >> self.length)))
            }
            _ => None,
        }
    }

    /// The network itself: the prefix with its host bits cleared.
    #[inline(never)] // Many places ask, none for every packet.
    pub fn network(&self) -> Prefix {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        };
        Prefix { address, length: self.length }
    }
}

impl FromStr for Prefix {
    type Err = ParsePrefixError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, length) = text.split_once('/').ok_or(ParsePrefixError::MissingLength)?;
        let address = address.parse().map_err(|_| ParsePrefixError::BadAddress)?;
        Prefix::new(address, length.parse().map_err(|_| ParsePrefixError::BadLength)?)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A local address and port; no address stands for every address of both families, and for listeners the unspecified one of a family for
/// every address of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// One of the host's addresses, or none for any.
    pub address: Option<IpAddr>,
    /// The port; 0 asks for an ephemeral one.
    pub port: u16,
}

impl Endpoint {
    /// A port on every address.
    pub const fn any(port: u16) -> Self {
        Endpoint { address: None, port }
    }

    /// Whether it stands for every address of a family, that of `address` among them.
    pub(crate) fn is_any_of(self, address: IpAddr) -> bool {
        self.address.is_none_or(|any| any.is_unspecified() && any.is_ipv4() == address.is_ipv4())
    }

    /// What errors say of one that is taken.
    pub(crate) fn in_use(self) -> ErrorText {
        match self.address {
            Some(address) => ErrorText::endpoint("{} is in use", SocketAddr::new(address, self.port)),
            None => ErrorText::number("port {} is in use", self.port as u32),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let ip = address.ip();
        Endpoint { address: (!ip.is_unspecified()).then_some(ip), port: address.port() }
    }
}

/// An address as 128 bits, IPv4 in the v4-mapped form.
#[inline(never)] // As `Prefix::contains`.
pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => 0xffff_0000_0000 | u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// What these are the bits of.
#[inline(never)] // As `Prefix::contains`: WebAssembly has no instruction for another order of bytes.
pub(crate) fn of_bits(bits: u128) -> IpAddr {
    Ipv6Addr::from_bits(bits).to_canonical()
}

/// Whether the address is an IPv6 one for a single link, fe80::/10 (RFC 4291 §2.5.6).
#[inline]
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The scope id that stands for a link: the interface's number plus one; 0 for none.
pub(crate) fn scope_id(link: Option<InterfaceId>) -> u32 {
    link.map_or(0, |interface| u32::from(interface.0) + 1)
}

/// An address and a port, and, if the address is link-local, the scope id of its link.
#[inline(never)] // As `Prefix::contains`.
pub(crate) fn with_scope(address: IpAddr, port: u16, link: Option<InterfaceId>) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, scope_id(link)).into(),
        _ => SocketAddr::new(address, port),
    }
}

/// An address as words for a keyed function, the same on every machine: its octets in little-endian order, which is what
/// most machines read without reversing them.
#[inline]
pub(crate) fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(address) => [0, u64::from(u32::from_le_bytes(address.octets())) << 32 | 0xffff_0000],
        IpAddr::V6(address) => {
            let bits = u128::from_le_bytes(address.octets());
            [bits as u64, (bits >> 64) as u64]
        }
    }
}

/// Whether the address can be a host's own: neither multicast nor broadcast nor unspecified.
#[inline(never)] // Called from many places: one copy is enough.
pub(crate) fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_multicast() && !address.is_broadcast() && !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_multicast() && !address.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_contain_what_they_should() {
        let cases = [
            ("10.0.2.2/24", "10.0.2.255", true),
            ("10.0.2.2/24", "10.0.3.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("fd00::2/64", "fd00::ffff:1", true),
            ("fd00::2/64", "fd00:0:0:1::1", false),
            ("::/0", "fe80::1", true),
            ("::/0", "10.0.0.1", false),
        ];
        for (prefix, address, expected) in cases {
            let contained = prefix.parse::<Prefix>().unwrap().contains(address.parse().unwrap());
            assert_eq!(contained, expected, "{address} in {prefix}");
        }
    }

    #[test]
    fn bad_prefixes_say_what_is_wrong() {
        assert_eq!("10.0.0.1".parse::<Prefix>(), Err(ParsePrefixError::MissingLength));
        assert_eq!("10.0.0.1/33".parse::<Prefix>(), Err(ParsePrefixError::BadLength));
        assert_eq!("ten/8".parse::<Prefix>(), Err(ParsePrefixError::BadAddress));
    }
}
