//! Services that a network needs: addresses by DHCP, names by DNS with or without a server, the time by NTP, for those who give and those who ask; and how long a datagram may be.
//!
//! Like the rest of the crate they do no I/O: a message and the time go in, an answer comes out in the caller's buffer.
//! Whoever owns the sockets carries the messages. Tables have the capacity they are given at
//! construction; a message costs a few passes over a table at most.

pub mod dhcp_client;
pub mod dhcp_config;
pub mod dhcp_leases;
pub mod dhcp_reply;
pub mod dhcp_server;
pub mod dhcpv6_client;
pub mod dhcpv6_server;
pub mod dns_relay;
pub mod dns_server;
pub mod dplpmtud;
mod list;
pub mod mdns;
pub mod ntp;
pub mod resolver;

pub use dhcp_client::{
    DhcpClient, DhcpClientConfig, DhcpClientCounters, DhcpClientEvent, DhcpClientState, DhcpLease, DhcpRoute,
    DhcpTransmit, MAX_ROUTES,
};
pub use dhcp_config::{CustomOption, DhcpConfig, DhcpConfigError, MAX_CUSTOM_OPTIONS, MAX_DNS_SERVERS};
pub use dhcp_leases::{ClientId, Lease, LeaseState};
pub use dhcp_reply::DhcpReply;
pub use dhcp_server::{DhcpCounters, DhcpServer, LeaseEvent, StaticLeaseError};
pub use dns_server::{
    AddNameError, Answer, DnsAction, DnsConfig, DnsCounters, DnsEntry, DnsServer, PendingQuestion, QueryId,
    UnknownNames,
};
pub use dplpmtud::{Dplpmtud, DplpmtudConfig, DplpmtudState};
pub use list::List;
pub use mdns::{Mdns, MdnsConfig, MdnsEvent, MdnsMemory};
pub use resolver::{Outcome, Resolver, ResolverConfig};

use core::fmt;

/// A short text kept in place, of at most `N` octets (`N` ≤ 255) and always valid UTF-8.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    octets: [u8; N],
    len: u8,
}

impl<const N: usize> Text<N> {
    /// No text.
    pub const EMPTY: Self = Text { octets: [0; N], len: 0 };

    /// A copy of `text`, or `None` if it is longer than `N` octets.
    pub fn new(text: &str) -> Option<Self> {
        let len = u8::try_from(text.len()).ok()?;
        let mut copy = Self::EMPTY;
        copy.octets.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        copy.len = len;
        Some(copy)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Always valid: the only constructor copies a whole `str`.
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The octets of the text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
