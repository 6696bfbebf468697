//! DHCPv6 for a driver's interface: core's client on UDP port 546, and the address that it is granted in the stack's table.

use std::net::IpAddr;

use ethertab::services::dhcpv6_client::{Dhcpv6Client, Dhcpv6ClientConfig, Dhcpv6ClientEvent, Granted};
use ethertab::time::Instant;
use ethertab::wire::dhcpv6::{CLIENT_PORT, SERVER_PORT, SERVERS};
use ethertab::{
    AddressOptions, AddressOrigin, AddressState, BindError, DuplicateDetection, Endpoint, InterfaceId, Pool, Prefix,
    Stack, UdpHandle, UdpMeta,
};

/// Octets of the longest datagram that is read.
const MAX_MESSAGE: usize = 1_500;

/// When a DHCPv6 client begins, and what it asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dhcpv6Start {
    /// At once, for what its configuration says.
    #[default]
    Now,
    /// When a router advertises that addresses (M), or other parameters only (O), come from DHCPv6 (RFC 4861 §4.2).
    AsAdvertised,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Dhcpv6 {
    client: Option<Dhcpv6Client>,
    config: Dhcpv6ClientConfig,
    start: Dhcpv6Start,
    interface: InterfaceId,
    socket: UdpHandle,
    /// The address that the stack was given because of the lease.
    configured: Option<Granted>,
}

impl Dhcpv6 {
    pub(crate) fn new(
        stack: &mut Stack<'_>,
        now: Instant,
        interface: InterfaceId,
        config: Dhcpv6ClientConfig,
        start: Dhcpv6Start,
    ) -> Result<Self, BindError> {
        let socket = stack.bind_udp(Endpoint::any(CLIENT_PORT))?;
        let client = (start == Dhcpv6Start::Now).then(|| Dhcpv6Client::new(now, config));
        Ok(Dhcpv6 { client, config, start, interface, socket, configured: None })
    }

    pub(crate) fn client(&self) -> Option<&Dhcpv6Client> {
        self.client.as_ref()
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.client.as_ref()?.next_timeout()
    }

    pub(crate) fn release(&mut self, now: Instant) {
        self.start = Dhcpv6Start::Now;
        if let Some(client) = &mut self.client {
            client.release(now);
        }
    }

    /// Takes what has arrived, does what is due, sends, and changes the stack's address.
    pub(crate) fn run(&mut self, stack: &mut Stack<'_>, pool: &mut Pool<'_>, now: Instant) {
        self.follow_routers(stack, now);
        let mut buf = [0; MAX_MESSAGE];
        while let Some((len, meta)) = stack.udp_recv(pool, self.socket, &mut buf) {
            if let Some(client) = self.client.as_mut().filter(|_| meta.interface == Some(self.interface)) {
                client.handle(now, &buf[..len]);
            }
        }
        let Some(client) = &mut self.client else { return };
        client.handle_timeout(now);
        // RFC 9915 §18.2.10.1: duplicate address detection for what was granted, and DECLINE for what another has.
        if let Some(granted) = self.configured
            && find(stack, self.interface, granted).is_none_or(|state| state == AddressState::Duplicate)
            && granted.valid_until > now
        {
            client.address_is_taken(now);
        }
        let mut is_changed = false;
        while let Some(event) = client.poll_event() {
            is_changed |= event != Dhcpv6ClientEvent::Informed;
        }
        if is_changed {
            let granted = client.lease().and_then(|lease| lease.address);
            self.configure(stack, now, granted);
        }
        let Some(client) = &mut self.client else { return };
        while let Some(len) = client.transmit(now, &mut buf) {
            let mut meta = UdpMeta::to((SERVERS, SERVER_PORT).into());
            meta.interface = Some(self.interface);
            // A message that the stack cannot send, since it has no link-local address yet, is lost like others, and comes again.
            let _ = stack.udp_send(pool, now, self.socket, &meta, &buf[..len]);
        }
    }

    /// Begins what routers say. RFC 9915 §4.1: M makes O redundant; a client that has begun goes on when they say it no more.
    fn follow_routers(&mut self, stack: &Stack<'_>, now: Instant) {
        let Some(link) = stack.advertised_link(self.interface).filter(|_| self.start == Dhcpv6Start::AsAdvertised)
        else {
            return;
        };
        let is_stateful = self.client.is_some() && self.config.address;
        if link.managed && !is_stateful || link.other_config && self.client.is_none() {
            self.config.address = link.managed;
            self.client = Some(Dhcpv6Client::new(now, self.config));
        }
    }

    /// Replaces the address that the stack was given, or its lifetimes. An address says nothing about what else is on the link
    /// (RFC 9915 §18.2.10.1).
    fn configure(&mut self, stack: &mut Stack<'_>, now: Instant, wanted: Option<Granted>) {
        let old = core::mem::replace(&mut self.configured, wanted);
        let address = |granted: Granted| granted.address;
        if old.map(address) == wanted.map(address) {
            if let Some(new) = wanted {
                let _ = stack.set_address_lifetimes(
                    now,
                    self.interface,
                    new.address.into(),
                    new.preferred_until,
                    new.valid_until,
                );
            }
            return;
        }
        if let Some(old) = old {
            let _ = stack.remove_address(self.interface, old.address.into());
        }
        if let Some(new) = wanted {
            let mut options = AddressOptions::default();
            options.origin = AddressOrigin::Dhcp;
            options.on_link = false;
            options.detection = Some(DuplicateDetection::Full);
            (options.preferred_until, options.valid_until) = (new.preferred_until, new.valid_until);
            let prefix = Prefix { address: IpAddr::V6(new.address), length: new.length };
            let _ = stack.add_address_with(now, self.interface, prefix, options);
        }
    }
}

/// How far the stack is with the address.
fn find(stack: &Stack<'_>, interface: InterfaceId, granted: Granted) -> Option<AddressState> {
    let is_it = |entry: &&ethertab::InterfaceAddress| {
        entry.interface == interface && entry.prefix.address == IpAddr::V6(granted.address)
    };
    stack.addresses().find(is_it).map(|entry| entry.state)
}
