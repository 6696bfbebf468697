//! What a DHCP server is told: its subnet, its pool, the parameters it announces and its times.

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use super::Text;
use crate::time::Duration;

/// How many name servers a server can announce.
pub const MAX_DNS_SERVERS: usize = 4;
/// A shorter lease than this is not granted, whatever the client asks for.
pub(super) const MIN_LEASE: Duration = Duration::from_secs(60);

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
