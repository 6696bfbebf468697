//! What a DHCP server has granted: the address with its times, and the parameters of the network.

use core::net::{IpAddr, Ipv4Addr};

use crate::address::{Prefix, is_unicast};
use crate::random::Generator;
use crate::services::{List, Text};
use crate::time::{Duration, Instant};
use crate::wire::dhcp::{Message, option};

/// The most routes that a lease has.
pub const MAX_ROUTES: usize = 16;
/// The most servers of a kind that a lease has.
pub const MAX_SERVERS: usize = 4;

/// The lease time that means for ever (RFC 2131 §3.3).
const INFINITE_SECS: u32 = u32::MAX;
/// The soonest renewal. Some servers grant leases of seconds, a hostile one of none: neither makes a client ask more often.
const MIN_RENEWAL: Duration = Duration::from_secs(1);
/// Less than this is no MTU of IPv4 (RFC 791 §3.2).
const MIN_MTU: u16 = 68;

/// A route that a DHCP server tells (RFC 3442).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhcpRoute {
    /// The network that the route leads to.
    pub destination: Prefix,
    /// The router; unspecified if the network is on the link itself.
    pub router: Ipv4Addr,
}

/// What a DHCP server has granted: the address with its times, and the parameters of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhcpLease {
    /// The address.
    pub address: Ipv4Addr,
    /// Length of the subnet's prefix.
    pub prefix_len: u8,
    /// The server (option 54).
    pub server: Ipv4Addr,
    /// Routes, those to the default routers among them: of RFC 3442 if the server has sent such, else of option 3.
    pub routes: List<DhcpRoute, MAX_ROUTES>,
    /// Name servers, most preferred first.
    pub dns_servers: List<Ipv4Addr, MAX_SERVERS>,
    /// Time servers, most preferred first.
    pub ntp_servers: List<Ipv4Addr, MAX_SERVERS>,
    /// The domain of unqualified names, empty for none.
    pub domain: Text<253>,
    /// The name that the server gives this host, empty for none.
    pub hostname: Text<63>,
    /// The MTU of the link.
    pub mtu: Option<u16>,
    /// T1: when the client asks its server to extend the lease.
    pub renew_at: Instant,
    /// T2: when it asks all servers.
    pub rebind_at: Instant,
    /// When the lease ends; [`Instant::FAR_FUTURE`] for never.
    pub expires: Instant,
}

impl DhcpLease {
    /// What an OFFER or ACK gives from `now` on, or `None` if no host could use it.
    pub(super) fn read(message: &Message<'_>, now: Instant, random: &mut Generator) -> Option<DhcpLease> {
        let address = message.yiaddr();
        let server = message.address_option(option::SERVER_ID)?;
        let prefix_len = prefix_len(message, address)?;
        let subnet = Prefix { address: IpAddr::V4(address), length: prefix_len };
        if !is_host(address) || !is_host(server) || subnet.broadcast() == Some(address) {
            return None;
        }
        if prefix_len < 31 && subnet.network().address == subnet.address {
            return None;
        }
        let (renew_at, rebind_at, expires) = times(message, now, random)?;
        let mtu = message.u16_option(option::INTERFACE_MTU).filter(|mtu| *mtu >= MIN_MTU);
        Some(DhcpLease {
            address,
            prefix_len,
            server,
            routes: routes(message),
            dns_servers: addresses(message, option::DNS_SERVERS),
            ntp_servers: addresses(message, option::NTP_SERVERS),
            domain: text(message, option::DOMAIN_NAME),
            hostname: text(message, option::HOST_NAME),
            mtu,
            renew_at,
            rebind_at,
            expires,
        })
    }

    /// The parameters that an ACK to INFORM has; without times, since it grants nothing (RFC 2131 §4.4.3).
    pub(super) fn read_parameters(message: &Message<'_>, address: Ipv4Addr) -> Option<DhcpLease> {
        Some(DhcpLease {
            address,
            prefix_len: prefix_len(message, address)?,
            server: message.address_option(option::SERVER_ID)?,
            routes: routes(message),
            dns_servers: addresses(message, option::DNS_SERVERS),
            ntp_servers: addresses(message, option::NTP_SERVERS),
            domain: text(message, option::DOMAIN_NAME),
            hostname: text(message, option::HOST_NAME),
            mtu: message.u16_option(option::INTERFACE_MTU).filter(|mtu| *mtu >= MIN_MTU),
            renew_at: Instant::FAR_FUTURE,
            rebind_at: Instant::FAR_FUTURE,
            expires: Instant::FAR_FUTURE,
        })
    }
}

fn is_host(address: Ipv4Addr) -> bool {
    is_unicast(IpAddr::V4(address)) && !address.is_loopback() && address.octets()[0] != 0 && address.octets()[0] < 240
}

/// The subnet mask; without one, that of the address's class (RFC 950 appendix I). `None` for what is no mask.
fn prefix_len(message: &Message<'_>, address: Ipv4Addr) -> Option<u8> {
    let Some(value) = message.option(option::SUBNET_MASK) else {
        return Some(match address.octets()[0] {
            0..128 => 8,
            128..192 => 16,
            _ => 24,
        });
    };
    let mask = u32::from_be_bytes(value.try_into().ok()?);
    let len = mask.leading_ones();
    let is_mask = len > 0 && mask.checked_shl(len).unwrap_or(0) == 0;
    is_mask.then_some(len as u8)
}

/// T1, T2 and the end of the lease. `None` without a lease time (RFC 2131 §4.3.1, table 3: MUST).
fn times(message: &Message<'_>, now: Instant, random: &mut Generator) -> Option<(Instant, Instant, Instant)> {
    let lease = match message.u32_option(option::LEASE_TIME)? {
        INFINITE_SECS => return Some((Instant::FAR_FUTURE, Instant::FAR_FUTURE, Instant::FAR_FUTURE)),
        secs => Duration::from_secs(secs.into()),
    };
    let told = |code| message.u32_option(code).map(|secs| Duration::from_secs(secs.into()));
    let (t1, t2) = match (told(option::RENEWAL_TIME), told(option::REBINDING_TIME)) {
        (Some(t1), Some(t2)) if t1 <= t2 && t2 <= lease => (t1, t2),
        _ => {
            // RFC 2131 §4.4.5: by default 0.5 and 0.875 of the lease, and "times T1 and T2 SHOULD be chosen with some random
            // 'fuzz' around a fixed value, to avoid synchronization of client reacquisition".
            let lease = lease.as_micros();
            let fuzz = random.next_u64() % (lease / 64 + 1);
            (Duration::from_micros(lease / 2 - fuzz), Duration::from_micros(lease / 8 * 7 - fuzz))
        }
    };
    let t1 = t1.max(MIN_RENEWAL);
    Some((now + t1, now + t1.max(t2), now + lease.max(t1)))
}

/// The addresses in an option, of all its instances; those that are no host's are left out.
fn addresses<const N: usize>(message: &Message<'_>, code: u8) -> List<Ipv4Addr, N> {
    let mut list = List::EMPTY;
    for (_, value) in message.options().filter(|(found, _)| *found == code) {
        for octets in value.as_chunks::<4>().0 {
            let address = Ipv4Addr::from(*octets);
            if is_host(address) && !list.contains(&address) {
                list.push(address);
            }
        }
    }
    list
}

/// The text in an option: visible ASCII without blanks, else none. Some servers end it with zeros (RFC 2132 §2).
fn text<const N: usize>(message: &Message<'_>, code: u8) -> Text<N> {
    let value = message.option(code).unwrap_or_default();
    let text = core::str::from_utf8(value).unwrap_or_default().trim_end_matches('\0');
    if text.bytes().all(|octet| octet.is_ascii_graphic()) {
        Text::new(text).unwrap_or(Text::EMPTY)
    } else {
        Text::EMPTY
    }
}

/// RFC 3442: "If the DHCP server returns both a Classless Static Routes option and a Router option, the DHCP client MUST ignore
/// the Router option."
fn routes(message: &Message<'_>) -> List<DhcpRoute, MAX_ROUTES> {
    let mut octets = [0; 255];
    let len = message.gather(option::CLASSLESS_ROUTES, &mut octets);
    let mut routes = List::EMPTY;
    let mut rest = &octets[..len];
    while let Some(route) = take_route(&mut rest) {
        routes.push(route);
    }
    if len == 0 {
        let everywhere = Prefix { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 };
        for router in addresses::<MAX_SERVERS>(message, option::ROUTER).iter() {
            routes.push(DhcpRoute { destination: everywhere, router: *router });
        }
    }
    routes
}

/// RFC 3442: the width of the mask, the significant octets of the network, the router.
fn take_route(rest: &mut &[u8]) -> Option<DhcpRoute> {
    let (&length, after) = rest.split_first().filter(|(length, _)| **length <= 32)?;
    let (network, after) = after.split_at_checked(usize::from(length.div_ceil(8)))?;
    let (router, after) = after.split_first_chunk::<4>()?;
    let mut octets = [0; 4];
    octets[..network.len()].copy_from_slice(network);
    let destination = Prefix { address: Ipv4Addr::from(octets).into(), length };
    *rest = after;
    // "after deriving a subnet number and subnet mask from each destination descriptor, the DHCP client MUST zero any bits
    // in the subnet number where the corresponding bit in the mask is zero."
    Some(DhcpRoute { destination: destination.network(), router: Ipv4Addr::from(*router) })
}
