//! Routes: where packets for a destination go.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Stack;
use super::addressing::{ConfigError, InterfaceAddress, is_group, swap_remove};
use super::memory::NO_PREFIX;
use crate::address::Prefix;
use crate::event::InterfaceId;

/// A route through a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network that the route leads to.
    pub destination: Prefix,
    /// The neighbour that forwards.
    pub gateway: IpAddr,
    /// The interface on which the gateway is.
    pub interface: InterfaceId,
}

impl Route {
    /// A place that holds nothing, for memory that the caller lends.
    pub const EMPTY: Self =
        Route { destination: NO_PREFIX, gateway: IpAddr::V4(Ipv4Addr::UNSPECIFIED), interface: InterfaceId(0) };
}

/// Where packets for a destination go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NextHop {
    pub(crate) interface: InterfaceId,
    pub(crate) address: IpAddr,
    /// The source address to use.
    pub(crate) source: IpAddr,
}

impl Stack<'_> {
    /// Adds a route to `destination` through `gateway`, which is a neighbour on one of the interfaces; which one, its address
    /// tells, unless it is link-local and there are several links.
    pub fn add_route(&mut self, destination: Prefix, gateway: IpAddr) -> Result<(), ConfigError> {
        check_family(destination, gateway)?;
        let link = self.link_to(SocketAddr::new(gateway, 0), None).map_err(ConfigError::Scope)?;
        let interface = link.or_else(|| self.on_link(gateway).map(|entry| entry.interface));
        self.add_route_on(interface.ok_or(ConfigError::GatewayNotOnLink(gateway))?, destination, gateway)
    }

    /// Adds a route to `destination` through `gateway`, which is a neighbour on this interface.
    pub fn add_route_on(
        &mut self,
        interface: InterfaceId,
        destination: Prefix,
        gateway: IpAddr,
    ) -> Result<(), ConfigError> {
        check_family(destination, gateway)?;
        let destination = destination.network();
        if self.routes.iter().any(|route| route.destination == destination) {
            return Err(ConfigError::Exists(destination));
        }
        if self.interfaces.get(u32::from(interface.0)).is_none() {
            return Err(ConfigError::NoSuchInterface(interface));
        }
        if !self.is_on_link(interface, gateway) {
            return Err(ConfigError::GatewayNotOnLink(gateway));
        }
        self.routes.push(Route { destination, gateway, interface }).map_err(|_| ConfigError::LimitReached("routes"))?;
        self.invalidate_paths();
        Ok(())
    }

    /// Removes the route to `destination`.
    pub fn remove_route(&mut self, destination: Prefix) -> Result<(), ConfigError> {
        let destination = destination.network();
        let place = self
            .routes
            .iter()
            .position(|route| route.destination == destination)
            .ok_or(ConfigError::NotFound(destination))?;
        swap_remove(&mut self.routes, place);
        self.invalidate_paths();
        Ok(())
    }

    /// All routes through gateways.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Where packets for `destination` go: through `link` if it is given, else wherever the routes say.
    #[inline]
    pub(super) fn hop_to(&mut self, link: Option<InterfaceId>, destination: IpAddr) -> Option<NextHop> {
        match link {
            Some(interface) => self.next_hop_on(interface, destination),
            None => self.route(destination),
        }
    }

    /// The address of ours with the longest prefix that has `address` as a neighbour.
    pub(super) fn on_link(&self, address: IpAddr) -> Option<&InterfaceAddress> {
        self.addresses.iter().filter(|entry| entry.prefix.contains(address)).max_by_key(|entry| entry.prefix.length)
    }

    /// Whether `address` is a neighbour on this interface.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn is_on_link(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.addresses.iter().any(|entry| entry.interface == interface && entry.prefix.contains(address))
    }

    /// Where packets for `destination` go. The last answer is kept: a connection asks more than once while it begins.
    pub(super) fn route(&mut self, destination: IpAddr) -> Option<NextHop> {
        if let Some((generation, address, hop)) = self.last_route
            && generation == self.generation
            && address == destination
        {
            return Some(hop);
        }
        let hop = self.find_route(destination)?;
        self.last_route = Some((self.generation, destination, hop));
        Some(hop)
    }

    /// The longest matching prefix of the interfaces' networks and the routes.
    fn find_route(&self, destination: IpAddr) -> Option<NextHop> {
        if is_group(destination) {
            // Without being told an interface, the first that has an address of the family.
            let entry = self.addresses.iter().find(|entry| entry.prefix.address.is_ipv4() == destination.is_ipv4())?;
            return self.next_hop_on(entry.interface, destination);
        }
        let direct = self.on_link(destination);
        let via = self
            .routes
            .iter()
            .filter(|route| route.destination.contains(destination))
            .max_by_key(|route| route.destination.length);
        match (direct, via) {
            (Some(entry), via) if via.is_none_or(|route| route.destination.length <= entry.prefix.length) => {
                Some(NextHop {
                    interface: entry.interface,
                    address: destination,
                    source: self.source_on(entry.interface, destination)?,
                })
            }
            (_, Some(route)) => Some(NextHop {
                interface: route.interface,
                address: route.gateway,
                source: self.source_on(route.interface, destination)?,
            }),
            _ => None,
        }
    }

    /// Where packets for `destination` go that have to leave through `interface`.
    pub(super) fn next_hop_on(&self, interface: InterfaceId, destination: IpAddr) -> Option<NextHop> {
        let source = self.source_on(interface, destination)?;
        if is_group(destination) || self.is_on_link(interface, destination) {
            return Some(NextHop { interface, address: destination, source });
        }
        if let IpAddr::V4(address) = destination
            && self.is_directed_broadcast(address)
        {
            return Some(NextHop { interface, address: destination, source });
        }
        let route = self
            .routes
            .iter()
            .filter(|route| route.interface == interface && route.destination.contains(destination))
            .max_by_key(|route| route.destination.length)?;
        Some(NextHop { interface, address: route.gateway, source })
    }
}

/// A gateway forwards packets of its own family.
fn check_family(destination: Prefix, gateway: IpAddr) -> Result<(), ConfigError> {
    match destination.address.is_ipv4() == gateway.is_ipv4() {
        true => Ok(()),
        false => Err(ConfigError::FamilyMismatch(gateway)),
    }
}
