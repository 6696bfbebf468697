//! What a DHCP server is told: its subnet, its pool, the parameters it announces and its times.

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use super::{List, Text};
use crate::time::Duration;
use crate::wire::dhcp::option;

/// How many name servers a server can announce.
pub const MAX_DNS_SERVERS: usize = 4;
/// A shorter lease than this is not granted, whatever the client asks for.
pub(super) const MIN_LEASE: Duration = Duration::from_secs(60);

/// How many options a server can announce by number.
pub const MAX_CUSTOM_OPTIONS: usize = 16;

/// An option by number, for what a [`DhcpConfig`] has no field for, or has otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomOption {
    /// The option's code (RFC 2132 and IANA's list).
    pub code: u8,
    octets: [u8; 255],
    len: u8,
}

impl CustomOption {
    /// An option with this value; `None` for what no server may set at will (addresses asked for, lease times, the kind of message
    /// and what belongs to client or relay), and for a value that is empty or longer than 255 octets.
    pub fn new(code: u8, value: &[u8]) -> Option<Self> {
        let is_fixed = matches!(
            code,
            option::PAD
                | option::END
                | option::REQUESTED_ADDRESS..=option::PARAMETER_LIST
                | option::MAX_MESSAGE_SIZE..=option::REBINDING_TIME
                | option::CLIENT_ID
                | option::RAPID_COMMIT
                | option::RELAY_AGENT
        );
        let len = u8::try_from(value.len()).ok().filter(|len| *len > 0 && !is_fixed)?;
        let mut octets = [0; 255];
        octets[..value.len()].copy_from_slice(value);
        Some(CustomOption { code, octets, len })
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

/// What a server gives its clients.
#[derive(Clone, Debug)]
pub struct DhcpConfig {
    /// The server's own address in the subnet.
    pub server: Ipv4Addr,
    /// Length of the subnet's prefix, 8 to 30 bits.
    pub prefix_len: u8,
    /// The addresses to lease, all in the subnet. Those of the server, the router and the name servers are left out.
    pub pool: RangeInclusive<Ipv4Addr>,
    /// The router to announce.
    pub router: Option<Ipv4Addr>,
    /// The name servers to announce, most preferred first.
    pub dns_servers: [Option<Ipv4Addr>; MAX_DNS_SERVERS],
    /// The domain of unqualified names, empty for none.
    pub domain: Text<253>,
    /// The MTU to announce, in octets, at least 68.
    pub mtu: Option<u16>,
    /// Options by number. One that there is a field for takes its place.
    pub options: List<CustomOption, MAX_CUSTOM_OPTIONS>,
    /// Whether a client that wants it is granted an address at once (RFC 4039), as is right where no other server is.
    pub rapid_commit: bool,
    /// The usual and longest lease; clients may ask for a shorter one. `u32::MAX` seconds or more is for ever.
    pub lease_time: Duration,
    /// How long an offered address waits for its client.
    pub offer_time: Duration,
    /// How long an address is set aside after a client found it in use.
    pub decline_time: Duration,
    /// Whether this is the subnet's only server. It then answers clients that it doesn't know: an address that is free
    /// is granted (so that leases outlive a restart of the server), another is refused at once. A server that is not
    /// authoritative stays silent to them (RFC 2131 §4.3.2).
    pub authoritative: bool,
}

impl DhcpConfig {
    /// A server at `server` that leases `pool`, is the router and the name server and announces nothing else: leases of a
    /// day, offers of 10 s, a quarantine of 10 min, authoritative.
    pub fn new(server: Ipv4Addr, prefix_len: u8, pool: RangeInclusive<Ipv4Addr>) -> Self {
        let mut dns_servers = [None; MAX_DNS_SERVERS];
        dns_servers[0] = Some(server);
        DhcpConfig {
            server,
            prefix_len,
            pool,
            router: Some(server),
            dns_servers,
            domain: Text::EMPTY,
            mtu: None,
            options: List::EMPTY,
            rapid_commit: false,
            lease_time: Duration::from_secs(24 * 60 * 60),
            offer_time: Duration::from_secs(10),
            decline_time: Duration::from_secs(10 * 60),
            authoritative: true,
        }
    }

    pub(super) fn validate(&self) -> Result<(), DhcpConfigError> {
        if !(8..=30).contains(&self.prefix_len) {
            return Err(DhcpConfigError::PrefixLen(self.prefix_len));
        }
        if !self.is_host(self.server) {
            return Err(DhcpConfigError::Server(self.server));
        }
        if self.pool.is_empty() {
            return Err(DhcpConfigError::EmptyPool);
        }
        for end in [*self.pool.start(), *self.pool.end()] {
            if !self.is_host(end) {
                return Err(DhcpConfigError::Pool(end));
            }
        }
        if self.mtu.is_some_and(|mtu| mtu < 68) {
            return Err(DhcpConfigError::Mtu(self.mtu.unwrap_or(0)));
        }
        if self.lease_time < MIN_LEASE {
            return Err(DhcpConfigError::LeaseTime(self.lease_time));
        }
        Ok(())
    }

    pub(super) fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.prefix_len)).unwrap_or(0))
    }

    pub(super) fn broadcast(&self) -> Ipv4Addr {
        self.server | !self.mask()
    }

    pub(super) fn contains(&self, address: Ipv4Addr) -> bool {
        address & self.mask() == self.server & self.mask()
    }

    /// Whether `address` can be a host's in the subnet.
    pub(super) fn is_host(&self, address: Ipv4Addr) -> bool {
        self.contains(address) && address & !self.mask() != Ipv4Addr::UNSPECIFIED && address != self.broadcast()
    }

    /// Whether `address` has no other use in the network that the configuration tells of.
    pub(super) fn is_usable(&self, address: Ipv4Addr) -> bool {
        self.is_host(address)
            && address != self.server
            && Some(address) != self.router
            && !self.dns_servers.contains(&Some(address))
    }
}

/// What is wrong with a [`DhcpConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DhcpConfigError {
    /// The prefix is not 8 to 30 bits long.
    PrefixLen(u8),
    /// The server's address is the subnet's own or its broadcast address.
    Server(Ipv4Addr),
    /// The pool ends before it begins.
    EmptyPool,
    /// This end of the pool is not a host's address in the subnet.
    Pool(Ipv4Addr),
    /// The MTU is below 68, the least of IPv4.
    Mtu(u16),
    /// The lease is shorter than a minute.
    LeaseTime(Duration),
}
