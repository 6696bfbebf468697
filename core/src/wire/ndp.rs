//! Neighbour discovery (RFC 4861): the messages that are made of ICMPv6 and their options.
//!
//! The messages are read by [`Icmpv6Message`](super::Icmpv6Message), which leaves their options to [`NdpOptions`].

use super::icmpv6::{HEADER_LEN, emit_body, kind, seal};
use super::{MacAddr, array_at, u32_at};
use core::net::Ipv6Addr;

/// The hop limit that neighbour discovery sends with and insists on (RFC 4861 §7.1): nothing from off the link has it.
pub const NDP_HOP_LIMIT: u8 = 255;

/// The flags of a neighbour advertisement to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdvertisementFlags {
    /// The sender is a router.
    pub router: bool,
    /// Answers a solicitation.
    pub solicited: bool,
    /// Replaces a link-layer address known before.
    pub override_: bool,
}

impl AdvertisementFlags {
    const ROUTER: u32 = 1 << 31;
    const SOLICITED: u32 = 1 << 30;
    const OVERRIDE: u32 = 1 << 29;

    pub(super) const fn from_bits(bits: u32) -> Self {
        Self {
            router: bits & Self::ROUTER != 0,
            solicited: bits & Self::SOLICITED != 0,
            override_: bits & Self::OVERRIDE != 0,
        }
    }

    pub(super) const fn bits(self) -> u32 {
        (self.router as u32) << 31 | (self.solicited as u32) << 30 | (self.override_ as u32) << 29
    }
}

/// What a router advertisement says besides its options (RFC 4861 §4.2, RFC 4191 §2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The hop limit to send with; 0 when the router leaves it open.
    pub current_hop_limit: u8,
    /// Addresses come from DHCPv6.
    pub managed: bool,
    /// Other settings come from DHCPv6.
    pub other_config: bool,
    /// How this default router compares with others.
    pub preference: RouterPreference,
    /// Seconds for which the router is a default router; 0 when it is none.
    pub router_lifetime: u16,
    /// Milliseconds for which a neighbour counts as reachable; 0 when left open.
    pub reachable_time: u32,
    /// Milliseconds between solicitations; 0 when left open.
    pub retransmit_timer: u32,
}

impl RouterAdvertisement {
    /// Reads the header's last four bytes and the eight bytes after it.
    pub(super) fn read(rest: u32, timers: &[u8; 8]) -> Self {
        let [current_hop_limit, flags, _, _] = rest.to_be_bytes();
        Self {
            current_hop_limit,
            managed: flags & 0x80 != 0,
            other_config: flags & 0x40 != 0,
            // RFC 4191 §2.2: "If the Router Lifetime is zero, the preference value ... MUST be ignored by the receiver", and a
            // reserved one counts as medium.
            preference: RouterPreference::of_flags(flags).unwrap_or_default(),
            router_lifetime: rest as u16,
            reachable_time: u32_at(timers, 0..4),
            retransmit_timer: u32_at(timers, 4..8),
        }
    }

    fn rest(&self) -> u32 {
        let flags = u8::from(self.managed) << 7 | u8::from(self.other_config) << 6 | self.preference.flags();
        let [a, b] = self.router_lifetime.to_be_bytes();
        u32::from_be_bytes([self.current_hop_limit, flags, a, b])
    }
}

/// How a router compares with others for the same destinations (RFC 4191 §2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouterPreference {
    /// Only if there is no other.
    Low,
    /// The usual.
    #[default]
    Medium,
    /// Before others.
    High,
}

impl RouterPreference {
    /// The two bits below the upper three of a byte of flags; None for the reserved value.
    fn of_flags(flags: u8) -> Option<Self> {
        match flags >> 3 & 3 {
            0b00 => Some(RouterPreference::Medium),
            0b01 => Some(RouterPreference::High),
            0b11 => Some(RouterPreference::Low),
            _ => None,
        }
    }

    fn flags(self) -> u8 {
        match self {
            RouterPreference::Medium => 0,
            RouterPreference::High => 0b01 << 3,
            RouterPreference::Low => 0b11 << 3,
        }
    }
}

/// A prefix information option (RFC 4861 §4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixInformation {
    /// Leading bits of `prefix` that count, 0 to 128.
    pub prefix_len: u8,
    /// Addresses of the prefix are on the link.
    pub on_link: bool,
    /// Hosts may make addresses of the prefix for themselves (RFC 4862).
    pub autonomous: bool,
    /// Seconds for which the prefix is valid; all ones for ever.
    pub valid_lifetime: u32,
    /// Seconds for which its addresses are preferred; all ones for ever.
    pub preferred_lifetime: u32,
    /// The prefix; bits after its length have no meaning.
    pub prefix: Ipv6Addr,
}

/// A route information option (RFC 4191 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteInformation {
    /// Leading bits of `prefix` that count, 0 to 128.
    pub prefix_len: u8,
    /// How the router compares with others for these destinations.
    pub preference: RouterPreference,
    /// Seconds for which the route is valid; all ones for ever.
    pub lifetime: u32,
    /// The destinations; bits after the length have no meaning.
    pub prefix: Ipv6Addr,
}

/// One option of a neighbour discovery message (RFC 4861 §4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NdpOption<'a> {
    /// The sender's Ethernet address.
    SourceLinkLayerAddress(MacAddr),
    /// The target's Ethernet address.
    TargetLinkLayerAddress(MacAddr),
    /// A prefix of the link.
    PrefixInformation(PrefixInformation),
    /// The MTU of the link in bytes.
    Mtu(u32),
    /// What makes a solicitation in duplicate address detection one's own (RFC 3971 §5.3.2, RFC 7527 §4).
    Nonce([u8; 6]),
    /// A route through the router.
    RouteInformation(RouteInformation),
    /// Recursive DNS servers (RFC 8106 §5.1).
    RecursiveDnsServers {
        /// Seconds for which they may be used; 0 for no longer, all ones for ever.
        lifetime: u32,
        /// Their addresses, at least one.
        servers: &'a [[u8; 16]],
    },
    /// Domains to search for names in (RFC 8106 §5.2).
    DnsSearchList {
        /// Seconds for which they may be used; 0 for no longer, all ones for ever.
        lifetime: u32,
        /// Names in the format of RFC 1035 §3.1, without compression, and zeros after the last.
        domains: &'a [u8],
    },
    /// Any other option, or one of these with a length that is not its own.
    Other {
        /// Its type.
        kind: u8,
        /// What follows its length.
        body: &'a [u8],
    },
}

mod option_kind {
    pub(super) const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
    pub(super) const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
    pub(super) const PREFIX_INFORMATION: u8 = 3;
    pub(super) const REDIRECTED_HEADER: u8 = 4;
    pub(super) const MTU: u8 = 5;
    pub(super) const NONCE: u8 = 14;
    pub(super) const ROUTE_INFORMATION: u8 = 24;
    pub(super) const RECURSIVE_DNS_SERVER: u8 = 25;
    pub(super) const DNS_SEARCH_LIST: u8 = 31;
}

/// Bytes of a link-layer address option, and of a nonce of six bytes.
const SHORT_OPTION_LEN: usize = 8;

/// Goes through the options of a neighbour discovery message; stops at a length of zero or beyond the end.
#[derive(Clone, Copy, Debug)]
pub struct NdpOptions<'a> {
    rest: &'a [u8],
}

impl<'a> NdpOptions<'a> {
    /// Starts at the first of `options`.
    #[inline]
    pub const fn new(options: &'a [u8]) -> Self {
        Self { rest: options }
    }

    /// Whether every option has a length and they fill the bytes. A message where they don't must be discarded
    /// (RFC 4861 §7.1.1).
    pub fn are_well_formed(mut self) -> bool {
        while self.next().is_some() {}
        self.rest.is_empty()
    }

    /// The first source link-layer address.
    pub fn source_link_layer_address(mut self) -> Option<MacAddr> {
        self.find_map(|option| match option {
            NdpOption::SourceLinkLayerAddress(mac) => Some(mac),
            _ => None,
        })
    }

    /// The first nonce of six bytes.
    pub fn nonce(mut self) -> Option<[u8; 6]> {
        self.find_map(|option| match option {
            NdpOption::Nonce(nonce) => Some(nonce),
            _ => None,
        })
    }

    /// The first target link-layer address.
    pub fn target_link_layer_address(mut self) -> Option<MacAddr> {
        self.find_map(|option| match option {
            NdpOption::TargetLinkLayerAddress(mac) => Some(mac),
            _ => None,
        })
    }
}

impl<'a> Iterator for NdpOptions<'a> {
    type Item = NdpOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, units, ..] = *self.rest else {
            return None;
        };
        let (option, after) = self.rest.split_at_checked(usize::from(units) * 8)?;
        // No units: the option does not even hold its own length.
        let [_, _, body @ ..] = option else {
            return None;
        };
        self.rest = after;
        Some(parse_option(kind, body))
    }
}

fn parse_option(kind: u8, body: &[u8]) -> NdpOption<'_> {
    match kind {
        option_kind::SOURCE_LINK_LAYER_ADDRESS => {
            if let Ok(mac) = body.try_into() {
                return NdpOption::SourceLinkLayerAddress(MacAddr(mac));
            }
        }
        option_kind::TARGET_LINK_LAYER_ADDRESS => {
            if let Ok(mac) = body.try_into() {
                return NdpOption::TargetLinkLayerAddress(MacAddr(mac));
            }
        }
        option_kind::PREFIX_INFORMATION => {
            if let Ok(body) = <&[u8; 30]>::try_from(body) {
                return NdpOption::PrefixInformation(PrefixInformation {
                    prefix_len: body[0].min(128),
                    on_link: body[1] & 0x80 != 0,
                    autonomous: body[1] & 0x40 != 0,
                    valid_lifetime: u32_at(body, 2..6),
                    preferred_lifetime: u32_at(body, 6..10),
                    prefix: Ipv6Addr::from(array_at::<16, _>(body, 14..30)),
                });
            }
        }
        option_kind::MTU => {
            if let Ok(body) = <&[u8; 6]>::try_from(body) {
                return NdpOption::Mtu(u32_at(body, 2..6));
            }
        }
        option_kind::NONCE => {
            if let Ok(nonce) = body.try_into() {
                return NdpOption::Nonce(nonce);
            }
        }
        option_kind::ROUTE_INFORMATION => {
            if let Some(route) = parse_route(body) {
                return NdpOption::RouteInformation(route);
            }
        }
        option_kind::RECURSIVE_DNS_SERVER => {
            // RFC 8106 §5.3.1: "the Length field ... is greater than or equal to the minimum value (3)", and odd.
            if let Some((fixed, rest)) = body.split_first_chunk::<6>()
                && let (servers @ [_, ..], []) = rest.as_chunks::<16>()
            {
                return NdpOption::RecursiveDnsServers { lifetime: u32_at(fixed, 2..6), servers };
            }
        }
        option_kind::DNS_SEARCH_LIST => {
            if let Some((fixed, domains @ [_, ..])) = body.split_first_chunk::<6>() {
                return NdpOption::DnsSearchList { lifetime: u32_at(fixed, 2..6), domains };
            }
        }
        _ => {}
    }
    NdpOption::Other { kind, body }
}

/// RFC 4191 §2.3: the prefix has as many bytes as it needs, in steps of eight, and an option with a reserved preference is ignored.
fn parse_route(body: &[u8]) -> Option<RouteInformation> {
    let (fixed, bytes) = body.split_first_chunk::<6>()?;
    let (prefix_len, preference) = (fixed[0], RouterPreference::of_flags(fixed[1])?);
    if prefix_len > 128 || bytes.len() > 16 || usize::from(prefix_len.div_ceil(8)) > bytes.len() {
        return None;
    }
    let mut prefix = [0; 16];
    prefix[..bytes.len()].copy_from_slice(bytes);
    Some(RouteInformation { prefix_len, preference, lifetime: u32_at(fixed, 2..6), prefix: Ipv6Addr::from(prefix) })
}

impl NdpOption<'_> {
    /// Bytes that the option has on the wire: a multiple of eight.
    pub fn wire_len(&self) -> usize {
        let body = match self {
            NdpOption::SourceLinkLayerAddress(_)
            | NdpOption::TargetLinkLayerAddress(_)
            | NdpOption::Mtu(_)
            | NdpOption::Nonce(_) => 6,
            NdpOption::PrefixInformation(_) => 30,
            NdpOption::RouteInformation(route) => match route.prefix_len {
                0 => 6,
                1..=64 => 14,
                _ => 22,
            },
            NdpOption::RecursiveDnsServers { servers, .. } => 6 + 16 * servers.len(),
            NdpOption::DnsSearchList { domains, .. } => 6 + domains.len(),
            NdpOption::Other { body, .. } => body.len(),
        };
        (2 + body).next_multiple_of(8)
    }

    /// Writes the option to the start of `out`, which must hold [`wire_len`](Self::wire_len) bytes, and returns that.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let len = self.wire_len();
        let out = &mut out[..len];
        out.fill(0);
        let mut rest_of_prefix = [0; 24];
        let octets;
        // What all but unknown options have: six bytes, then perhaps more.
        let (kind, fixed, rest): (u8, [u8; 6], &[u8]) = match *self {
            NdpOption::SourceLinkLayerAddress(mac) => (option_kind::SOURCE_LINK_LAYER_ADDRESS, mac.0, &[]),
            NdpOption::TargetLinkLayerAddress(mac) => (option_kind::TARGET_LINK_LAYER_ADDRESS, mac.0, &[]),
            NdpOption::PrefixInformation(prefix) => {
                let flags = u8::from(prefix.on_link) << 7 | u8::from(prefix.autonomous) << 6;
                rest_of_prefix[..4].copy_from_slice(&prefix.preferred_lifetime.to_be_bytes());
                rest_of_prefix[8..].copy_from_slice(&prefix.prefix.octets());
                let fixed = two_and_number(prefix.prefix_len, flags, prefix.valid_lifetime);
                (option_kind::PREFIX_INFORMATION, fixed, &rest_of_prefix)
            }
            NdpOption::Mtu(mtu) => (option_kind::MTU, two_and_number(0, 0, mtu), &[]),
            NdpOption::Nonce(nonce) => (option_kind::NONCE, nonce, &[]),
            NdpOption::RouteInformation(route) => {
                octets = route.prefix.octets();
                let fixed = two_and_number(route.prefix_len, route.preference.flags(), route.lifetime);
                (option_kind::ROUTE_INFORMATION, fixed, &octets[..len - 8])
            }
            NdpOption::RecursiveDnsServers { lifetime, servers } => {
                (option_kind::RECURSIVE_DNS_SERVER, two_and_number(0, 0, lifetime), servers.as_flattened())
            }
            NdpOption::DnsSearchList { lifetime, domains } => {
                (option_kind::DNS_SEARCH_LIST, two_and_number(0, 0, lifetime), domains)
            }
            NdpOption::Other { kind, body } => {
                (out[0], out[1]) = (kind, (len / 8) as u8);
                out[2..2 + body.len()].copy_from_slice(body);
                return len;
            }
        };
        (out[0], out[1]) = (kind, (len / 8) as u8);
        out[2..8].copy_from_slice(&fixed);
        out[8..8 + rest.len()].copy_from_slice(rest);
        len
    }
}

fn two_and_number(first: u8, second: u8, number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [first, second, a, b, c, d]
}

/// Bytes of a neighbour solicitation or advertisement at most: with a link-layer address or a nonce.
pub const NEIGHBOR_LEN: usize = HEADER_LEN + 16 + SHORT_OPTION_LEN;

/// Writes a router solicitation and returns its length. The source address is unspecified without `source_mac`
/// (RFC 4861 §4.1). `out` must hold 16 bytes.
pub fn emit_router_solicitation(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    source_mac: Option<MacAddr>,
) -> usize {
    let option = source_mac.map(NdpOption::SourceLinkLayerAddress);
    emit_with_option(source, destination, out, (kind::ROUTER_SOLICITATION, 0), &[], option)
}

/// Writes a router advertisement with these options and returns its length. `out` must hold 16 bytes and what
/// [`NdpOption::wire_len`] says of each option.
pub fn emit_router_advertisement<'a>(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    advertisement: &RouterAdvertisement,
    options: impl Iterator<Item = NdpOption<'a>>,
) -> usize {
    let (reachable, retransmit) = (advertisement.reachable_time, advertisement.retransmit_timer);
    let timers = (u64::from(reachable) << 32 | u64::from(retransmit)).to_be_bytes();
    let mut len = emit_body(out, kind::ROUTER_ADVERTISEMENT, 0, advertisement.rest(), &[&timers]);
    for option in options {
        len += option.emit(&mut out[len..]);
    }
    seal(source, destination, out, len)
}

/// Addresses a router advertisement to somebody else, and has its lifetime be over if `ends` (RFC 4861 §6.2.5).
pub fn readdress_router_advertisement(source: Ipv6Addr, destination: Ipv6Addr, message: &mut [u8], ends: bool) {
    if message.len() >= HEADER_LEN {
        if ends {
            message[6..8].fill(0);
        }
        // The checksum, which is summed again.
        message[2..4].fill(0);
        seal(source, destination, message, message.len());
    }
}

/// Writes a neighbour solicitation for `target` and returns its length. Its option is the source link-layer address, which is
/// left out when the source address is unspecified (RFC 4861 §4.3), or then a nonce (RFC 7527 §4.1). `out` must hold
/// [`NEIGHBOR_LEN`] bytes.
pub fn emit_neighbor_solicitation(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    target: Ipv6Addr,
    option: Option<NdpOption<'_>>,
) -> usize {
    emit_with_option(source, destination, out, (kind::NEIGHBOR_SOLICITATION, 0), &target.octets(), option)
}

/// Writes a neighbour advertisement for `target` and returns its length. `out` must hold [`NEIGHBOR_LEN`] bytes.
pub fn emit_neighbor_advertisement(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    flags: AdvertisementFlags,
    target: Ipv6Addr,
    target_mac: Option<MacAddr>,
) -> usize {
    let option = target_mac.map(NdpOption::TargetLinkLayerAddress);
    let kind = (kind::NEIGHBOR_ADVERTISEMENT, flags.bits());
    emit_with_option(source, destination, out, kind, &target.octets(), option)
}

/// Bytes of a redirect about a packet of `original_len` bytes: with the target's link-layer address, and of the packet as much as
/// the minimum MTU has room for (RFC 4861 §4.5).
pub const fn redirect_len(original_len: usize) -> usize {
    const FIXED: usize = HEADER_LEN + 32 + 2 * SHORT_OPTION_LEN;
    let room = 1280 - super::ipv6::HEADER_LEN - FIXED;
    FIXED + if original_len < room { original_len & !7 } else { room }
}

/// Writes a redirect: packets for `about` had better go to `target` at once. It quotes the packet `original` and returns the message's
/// length. `out` must hold [`redirect_len`] bytes.
pub fn emit_redirect(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    (target, about): (Ipv6Addr, Ipv6Addr),
    target_mac: Option<MacAddr>,
    original: &[u8],
) -> usize {
    let mut len = emit_body(out, kind::REDIRECT, 0, 0, &[&target.octets(), &about.octets()]);
    if let Some(mac) = target_mac {
        len += NdpOption::TargetLinkLayerAddress(mac).emit(&mut out[len..]);
    }
    let quoted = redirect_len(original.len()) - redirect_len(0);
    out[len..len + SHORT_OPTION_LEN].fill(0);
    out[len] = option_kind::REDIRECTED_HEADER;
    out[len + 1] = (1 + quoted / 8) as u8;
    len += SHORT_OPTION_LEN;
    out[len..len + quoted].copy_from_slice(&original[..quoted]);
    seal(source, destination, out, len + quoted)
}

fn emit_with_option(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    (kind, rest): (u8, u32),
    body: &[u8],
    option: Option<NdpOption<'_>>,
) -> usize {
    let mut len = emit_body(out, kind, 0, rest, &[body]);
    if let Some(option) = option {
        len += option.emit(&mut out[len..]);
    }
    seal(source, destination, out, len)
}

#[cfg(test)]
mod tests {
    use super::super::{Icmpv6Message, Ipv6Header, WireError, samples};
    use super::*;

    const MAC_A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0a]);
    const MAC_B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0b]);

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn parse(frame: &[u8]) -> Result<Icmpv6Message<'_>, WireError> {
        let (header, payload) = Ipv6Header::parse(&frame[14..])?;
        Icmpv6Message::parse(header.source, header.destination, payload)
    }

    #[test]
    fn a_recorded_neighbor_solicitation_parses_and_is_emitted_the_same() {
        let target = address("fd00::15");
        let Ok(Icmpv6Message::NeighborSolicitation { target: asked, options }) = parse(&samples::NEIGHBOR_SOLICITATION)
        else {
            panic!("not a solicitation")
        };
        assert_eq!(asked, target);
        assert_eq!(NdpOptions::new(options).source_link_layer_address(), Some(MAC_A));
        assert!(NdpOptions::new(options).are_well_formed());
        let group = super::super::ipv6::solicited_node_multicast(target);
        let mut out = [0xee; NEIGHBOR_LEN];
        let len = emit_neighbor_solicitation(
            address("fd00::2"),
            group,
            &mut out,
            target,
            Some(NdpOption::SourceLinkLayerAddress(MAC_A)),
        );
        assert_eq!(out[..len], samples::NEIGHBOR_SOLICITATION[54..]);
        assert_eq!(emit_neighbor_solicitation(Ipv6Addr::UNSPECIFIED, group, &mut out, target, None), 24);
    }

    #[test]
    fn a_recorded_neighbor_advertisement_parses_and_is_emitted_the_same() {
        let target = address("fd00::15");
        let message = parse(&samples::NEIGHBOR_ADVERTISEMENT).unwrap();
        let options = &samples::NEIGHBOR_ADVERTISEMENT[78..];
        let expected =
            Icmpv6Message::NeighborAdvertisement { router: false, solicited: true, override_: true, target, options };
        assert_eq!(message, expected);
        assert_eq!(NdpOptions::new(options).target_link_layer_address(), Some(MAC_B));
        let flags = AdvertisementFlags { router: false, solicited: true, override_: true };
        let mut out = [0xee; NEIGHBOR_LEN];
        let len = emit_neighbor_advertisement(target, address("fd00::2"), &mut out, flags, target, Some(MAC_B));
        assert_eq!(out[..len], samples::NEIGHBOR_ADVERTISEMENT[54..]);
    }

    #[test]
    fn a_recorded_router_solicitation_parses_and_is_emitted_the_same() {
        let options = &samples::ROUTER_SOLICITATION[62..];
        assert_eq!(parse(&samples::ROUTER_SOLICITATION), Ok(Icmpv6Message::RouterSolicitation { options }));
        let mut out = [0xee; 16];
        let source = super::super::ipv6::link_local(MAC_A);
        let len = emit_router_solicitation(source, address("ff02::2"), &mut out, Some(MAC_A));
        assert_eq!(out[..len], samples::ROUTER_SOLICITATION[54..]);
    }

    /// The bytes are those of RFC 4861 §4.2, §4.6, RFC 4191 §2 and RFC 8106 §5 by hand.
    #[test]
    fn a_router_advertisement_has_its_fields_and_options() {
        let (source, destination) = (address("fe80::1"), address("ff02::1"));
        let prefix = PrefixInformation {
            prefix_len: 64,
            on_link: true,
            autonomous: true,
            valid_lifetime: 3600,
            preferred_lifetime: 1800,
            prefix: address("fd00::"),
        };
        let route = RouteInformation {
            prefix_len: 48,
            preference: RouterPreference::Low,
            lifetime: 600,
            prefix: address("2001:db8:1::"),
        };
        let server = address("fd00::53").octets();
        let expected: [(NdpOption<'_>, &[&[u8]]); 6] = [
            (NdpOption::SourceLinkLayerAddress(MAC_A), &[&[1, 1, 2, 0, 0, 0, 0, 0x0a]]),
            (NdpOption::Mtu(1400), &[&[5, 1, 0, 0, 0, 0, 0x05, 0x78]]),
            (
                NdpOption::PrefixInformation(prefix),
                &[&[3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x07, 0x08, 0, 0, 0, 0], &address("fd00::").octets()],
            ),
            (
                NdpOption::RouteInformation(route),
                &[&[24, 2, 48, 0x18, 0, 0, 0x02, 0x58], &[0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0]],
            ),
            (
                NdpOption::RecursiveDnsServers { lifetime: 600, servers: &[server] },
                &[&[25, 3, 0, 0, 0, 0, 0x02, 0x58], &server],
            ),
            (
                NdpOption::DnsSearchList { lifetime: 600, domains: b"\x03lan\0\0\0\0" },
                &[&[31, 2, 0, 0, 0, 0, 0x02, 0x58], b"\x03lan\0\0\0\0"],
            ),
        ];
        let advertisement = RouterAdvertisement {
            current_hop_limit: 64,
            managed: true,
            other_config: false,
            preference: RouterPreference::High,
            router_lifetime: 1800,
            reachable_time: 30_000,
            retransmit_timer: 1000,
        };
        let mut out = [0xee; 200];
        let options = expected.iter().map(|(option, _)| *option);
        let len = emit_router_advertisement(source, destination, &mut out, &advertisement, options.clone());
        let bytes: Vec<u8> = expected.iter().flat_map(|(_, pieces)| pieces.concat()).collect();
        assert_eq!(out[4..16], [64, 0x88, 0x07, 0x08, 0, 0, 0x75, 0x30, 0, 0, 0x03, 0xe8]);
        assert_eq!(out[16..len], bytes);
        let message = Icmpv6Message::parse(source, destination, &out[..len]);
        assert_eq!(message, Ok(Icmpv6Message::RouterAdvertisement { advertisement, options: &bytes }));
        assert!(NdpOptions::new(&bytes).eq(options));
    }

    #[test]
    fn a_redirect_quotes_what_the_minimum_mtu_has_room_for() {
        let (source, destination) = (address("fe80::1"), address("fe80::2"));
        let (target, about) = (address("fe80::3"), address("2001:db8::1"));
        for original_len in [0, 7, 8, 48, 1_183, 1_184, 1_500] {
            let original = vec![0x60; original_len];
            let mut out = [0xee; 1240];
            let len = emit_redirect(source, destination, &mut out, (target, about), Some(MAC_B), &original);
            assert_eq!(len, redirect_len(original_len));
            assert!(len <= 1240 && original_len.min(1_184) - (len - 56) < 8, "{original_len}: {len}");
            let Ok(Icmpv6Message::Redirect { target: t, destination: d, options }) =
                Icmpv6Message::parse(source, destination, &out[..len])
            else {
                panic!("not a redirect")
            };
            assert_eq!((t, d, NdpOptions::new(options).target_link_layer_address()), (target, about, Some(MAC_B)));
            assert!(NdpOptions::new(options).are_well_formed());
        }
    }

    #[test]
    fn options_with_lengths_that_are_not_theirs_are_others() {
        let cases: [&[u8]; 5] = [
            &[24, 1, 64, 0, 0, 0, 0, 1],                        // A /64 without its bytes.
            &[24, 1, 0, 0x10, 0, 0, 0, 1],                      // The reserved preference.
            &[25, 1, 0, 0, 0, 0, 0, 1],                         // No server.
            &[25, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], // Half a server.
            &[31, 1, 0, 0, 0, 0, 0, 1],                         // No domain.
        ];
        for bytes in cases {
            let option = NdpOptions::new(bytes).next();
            assert!(matches!(option, Some(NdpOption::Other { .. })), "{bytes:?}: {option:?}");
        }
    }

    #[test]
    fn options_end_at_a_length_of_zero_or_beyond_the_end() {
        for tail in [&[9, 0, 1, 1, 1, 1, 1, 1][..], &[9, 2, 1, 1, 1, 1, 1, 1], &[9]] {
            let bytes = [&[9, 1, 1, 2, 3, 4, 5, 6], tail].concat();
            let mut options = NdpOptions::new(&bytes);
            assert!(!options.are_well_formed());
            assert_eq!(options.next(), Some(NdpOption::Other { kind: 9, body: &[1, 2, 3, 4, 5, 6] }));
            assert_eq!(options.next(), None);
            assert_eq!(options.next(), None);
        }
    }
}
