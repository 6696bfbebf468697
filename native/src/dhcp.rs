//! DHCP for a driver's interface: core's client on UDP port 68, and what it finds out in the stack's tables.

use std::net::IpAddr;

use ethertab::services::{DhcpClient, DhcpClientConfig, DhcpClientEvent, DhcpClientState, DhcpLease, DhcpRoute, List};
use ethertab::time::Instant;
use ethertab::wire::dhcp::CLIENT_PORT;
use ethertab::{
    AddressOptions, AddressOrigin, AddressState, BindError, DuplicateDetection, Endpoint, InterfaceId, Pool, Prefix,
    Route, RouteOrigin, Stack, UdpHandle, UdpMeta,
};

/// Octets of the longest datagram that is read; what the client says it takes fits.
const MAX_MESSAGE: usize = 1_500;

/// What the stack was given because of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Configured {
    address: Prefix,
    routes: List<DhcpRoute, { ethertab::services::MAX_ROUTES }>,
}

impl From<&DhcpLease> for Configured {
    fn from(lease: &DhcpLease) -> Self {
        let address = Prefix { address: IpAddr::V4(lease.address), length: lease.prefix_len };
        Configured { address, routes: lease.routes }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Dhcp {
    client: DhcpClient,
    interface: InterfaceId,
    socket: UdpHandle,
    configured: Option<Configured>,
    /// The lease was given back, and the message that says so is about to leave from its address.
    is_leaving: bool,
}

impl Dhcp {
    pub(crate) fn new(
        stack: &mut Stack<'_>,
        now: Instant,
        interface: InterfaceId,
        config: DhcpClientConfig,
    ) -> Result<Self, BindError> {
        let socket = stack.bind_udp(Endpoint::any(CLIENT_PORT))?;
        let client = DhcpClient::new(now, config);
        Ok(Dhcp { client, interface, socket, configured: None, is_leaving: false })
    }

    pub(crate) fn client(&self) -> &DhcpClient {
        &self.client
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if self.is_leaving { Some(Instant::ZERO) } else { self.client.next_timeout() }
    }

    pub(crate) fn release(&mut self, now: Instant) {
        self.client.release(now);
    }

    /// Takes what has arrived, does what is due, sends, and changes the stack's addresses and routes.
    pub(crate) fn run(&mut self, stack: &mut Stack<'_>, pool: &mut Pool<'_>, now: Instant) {
        if self.is_leaving {
            self.is_leaving = false;
            self.configure(stack, now, None);
        }
        let mut buf = [0; MAX_MESSAGE];
        while let Some((len, meta)) = stack.udp_recv(pool, self.socket, &mut buf) {
            if meta.interface == Some(self.interface) {
                self.client.handle(now, &buf[..len]);
            }
        }
        if self.client.next_timeout().is_some_and(|due| due <= now) {
            self.client.handle_timeout(now);
        }
        while let Some(event) = self.client.poll_event() {
            self.react(stack, now, event);
        }
        self.look_for_conflicts(stack, now);
        while let Some(event) = self.client.poll_event() {
            self.react(stack, now, event);
        }
        while let Some(sent) = self.client.transmit(now, &mut buf) {
            let mut meta = UdpMeta::to(sent.destination.into());
            meta.local = Some(sent.source.into());
            meta.interface = Some(self.interface);
            // A message that the stack cannot send is lost like others, and comes again.
            let _ = stack.udp_send(pool, now, self.socket, &meta, &buf[..sent.len]);
        }
    }

    fn react(&mut self, stack: &mut Stack<'_>, now: Instant, event: DhcpClientEvent) {
        match event {
            DhcpClientEvent::Check(_) => {
                let unchecked = self.client.unchecked().map(|lease| Configured { routes: List::EMPTY, ..lease.into() });
                self.configure(stack, now, unchecked);
            }
            DhcpClientEvent::Bound(_) | DhcpClientEvent::Renewed(_) => {
                let lease = self.client.lease().map(Configured::from);
                self.configure(stack, now, lease);
            }
            DhcpClientEvent::Lost(_) if self.client.state() == DhcpClientState::Stopped => self.is_leaving = true,
            DhcpClientEvent::Lost(_) => self.configure(stack, now, None),
            _ => {}
        }
    }

    /// Tells the client what the stack has found out about the address: RFC 5227 §2.1.1 before it is used, §2.4 later.
    fn look_for_conflicts(&mut self, stack: &mut Stack<'_>, now: Instant) {
        let Some(Configured { address, .. }) = self.configured else { return };
        let state = stack.addresses().find(|entry| entry.prefix == address).map(|entry| entry.state);
        match state {
            Some(AddressState::Duplicate) | None => {
                self.configure(stack, now, None);
                self.client.address_is_taken(now);
            }
            Some(AddressState::Tentative) => {}
            Some(_) => self.client.address_is_free(now),
        }
    }

    /// Replaces what the stack was given. What the stack refuses, such as a router outside the subnet, is left out.
    fn configure(&mut self, stack: &mut Stack<'_>, now: Instant, wanted: Option<Configured>) {
        let old = self.configured;
        if old == wanted {
            return;
        }
        for route in old.iter().flat_map(|old| old.routes.iter()) {
            let _ = stack.unset_route(&self.route(route));
        }
        let (old, new) = (old.map(|old| old.address), wanted.map(|wanted| wanted.address));
        if old != new {
            if let Some(old) = old {
                let _ = stack.remove_address(self.interface, old.address);
            }
            if let Some(new) = new {
                let mut options = AddressOptions::default();
                options.origin = AddressOrigin::Dhcp;
                options.detection = Some(match self.client.state() {
                    DhcpClientState::Checking => DuplicateDetection::Full,
                    _ => DuplicateDetection::Optimistic,
                });
                let _ = stack.add_address_with(now, self.interface, new, options);
            }
        }
        for route in wanted.iter().flat_map(|wanted| wanted.routes.iter()) {
            let _ = stack.set_route(self.route(route));
        }
        self.configured = wanted;
    }

    /// RFC 3442: a router of 0.0.0.0 means that the network is on the link.
    fn route(&self, told: &DhcpRoute) -> Route {
        let mut route = match told.router.is_unspecified() {
            true => Route::on_link(self.interface, told.destination),
            false => Route::via(self.interface, told.destination, told.router.into()),
        };
        route.origin = RouteOrigin::Dhcp;
        route
    }
}
