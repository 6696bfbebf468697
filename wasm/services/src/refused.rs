//! Arguments that cannot be, on their way to JavaScript.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ethertab::wire::dns::Name;
use js_sys::RangeError;

/// An error with a sentence for people.
#[cold]
#[inline(never)]
pub(crate) fn refused(message: &dyn Display) -> RangeError {
    RangeError::new(&message.to_string())
}

/// An address of either family from its text.
pub(crate) fn parse_address(text: &str) -> Result<IpAddr, RangeError> {
    text.parse().map_err(|_| refused(&format_args!("\"{text}\" is not an IPv4 or IPv6 address")))
}

/// An IPv4 address from its text.
pub(crate) fn parse_v4(text: &str) -> Result<Ipv4Addr, RangeError> {
    text.parse().map_err(|_| refused(&format_args!("\"{text}\" is not an IPv4 address")))
}

/// An IPv6 address from its text.
pub(crate) fn parse_v6(text: &str) -> Result<Ipv6Addr, RangeError> {
    text.parse().map_err(|_| refused(&format_args!("\"{text}\" is not an IPv6 address")))
}

/// Domain names from a text with blanks between.
pub(crate) fn domains(text: &str) -> Result<Vec<Name>, RangeError> {
    let domain = |text| Name::from_text(text).map_err(|_| refused(&format_args!("\"{text}\" is no domain name")));
    text.split_whitespace().map(domain).collect()
}
