//! Multicast DNS for a driver's interface: core's state machine on UDP port 5353, and the groups that it listens to.

use std::fmt;

use ethertab::services::mdns::{GROUP_V4, GROUP_V6, MAX_MDNS_ADDRESSES, MDNS_PORT};
use ethertab::services::{List, Mdns, MdnsConfig, MdnsMemory};
use ethertab::time::Instant;
use ethertab::{
    AddressState, BindError, Endpoint, GroupError, InterfaceId, Pool, Prefix, Stack, UdpHandle, UdpMeta, UdpOptions,
};

/// Octets of the longest message that is read (RFC 6762 §17), and of the longest that is sent on Ethernet without fragments.
const MAX_MESSAGE: usize = 9_000;
const MAX_SENT: usize = 1_452;

/// Why multicast DNS could not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MdnsStartError {
    /// UDP port 5353 is taken by a socket that does not share it.
    Bind(BindError),
    /// The interface cannot listen to the groups.
    Group(GroupError),
}

impl fmt::Display for MdnsStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MdnsStartError::Bind(error) => error.fmt(f),
            MdnsStartError::Group(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MdnsStartError {}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct MulticastDns {
    pub(crate) mdns: Mdns<'static>,
    interface: InterfaceId,
    socket: UdpHandle,
}

impl MulticastDns {
    pub(crate) fn new(
        stack: &mut Stack<'_>,
        now: Instant,
        interface: InterfaceId,
        config: MdnsConfig,
        memory: MdnsMemory<'static>,
    ) -> Result<Self, MdnsStartError> {
        let mut options = UdpOptions::default();
        // RFC 6762 §11: "All Multicast DNS responses (including responses sent via unicast) SHOULD be sent with IP TTL set to 255."
        (options.hop_limit, options.multicast_hop_limit) = (255, 255);
        options.share_port = true;
        let socket = stack.bind_udp_with(Endpoint::any(MDNS_PORT), options).map_err(MdnsStartError::Bind)?;
        for group in [GROUP_V4.into(), GROUP_V6.into()] {
            stack.join_group(now, interface, group).map_err(MdnsStartError::Group)?;
        }
        Ok(MulticastDns { mdns: Mdns::new(config, memory), interface, socket })
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.mdns.next_timeout()
    }

    /// Takes what has arrived and sends what is due.
    pub(crate) fn run(&mut self, stack: &mut Stack<'_>, pool: &mut Pool<'_>, now: Instant) {
        self.mdns.set_addresses(now, self.addresses(stack));
        let (mut message, mut out) = ([0; MAX_MESSAGE], [0; MAX_SENT]);
        while let Some((len, meta)) = stack.udp_recv(pool, self.socket, &mut message) {
            let Some(local) = meta.local.filter(|_| meta.interface == Some(self.interface)) else { continue };
            if let Some(len) = self.mdns.handle(now, meta.remote, local, &message[..len], &mut out) {
                self.send(stack, pool, now, UdpMeta::to(meta.remote), &out[..len]);
            }
        }
        while let Some(len) = self.mdns.transmit(now, &mut out) {
            for group in self.mdns.groups() {
                self.send(stack, pool, now, UdpMeta::to(group), &out[..len]);
            }
        }
    }

    /// A message that the stack cannot send is lost like others, and what matters is told again.
    fn send(&self, stack: &mut Stack<'_>, pool: &mut Pool<'_>, now: Instant, mut meta: UdpMeta, message: &[u8]) {
        meta.interface = Some(self.interface);
        let _ = stack.udp_send(pool, now, self.socket, &meta, message);
    }

    /// The addresses that are certain to be ours.
    fn addresses(&self, stack: &Stack<'_>) -> List<Prefix, MAX_MDNS_ADDRESSES> {
        let own = stack.addresses().filter(|entry| entry.interface == self.interface);
        let certain = own.filter(|entry| matches!(entry.state, AddressState::Preferred | AddressState::Deprecated));
        certain.map(|entry| entry.prefix).collect()
    }
}
