//! Routes: where packets for a destination go.
//!
//! One [table](PrefixTrie) leads from prefixes of both families to lists of entries: routes, the networks of our addresses (RFC 1122
//! §3.3.1.1: what is on the link), the addresses themselves, and the directed broadcast addresses. So one lookup tells what an address is to this host.
//! Among several routes to one prefix, the one with the lowest metric and then the highest preference (RFC 4191 §2.1) comes first; one whose
//! gateway does not answer is passed over as long as another matches (RFC 4861 §6.3.6, RFC 4191 §3.2).

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Stack;
use super::addresses::InterfaceAddress;
use super::addressing::{ConfigError, is_group};
use super::memory::NO_PREFIX;
use super::neighbor::{Neighbor, NeighborState};
use super::nodes::Node;
use super::prefix_trie::{NONE, PrefixTrie, TrieNode};
use crate::address::{Prefix, is_link_local};
use crate::config::Limits;
use crate::event::InterfaceId;
use crate::slab::{Slab, Slot};
use crate::storage::Storage;
use crate::time::{Duration, Instant};
pub use crate::wire::ndp::RouterPreference;

/// How often a gateway that does not answer is asked again while another stands in for it (RFC 4191 §3.5: "no more than once per
/// minute").
const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// Who has made a route, and so looks after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteOrigin {
    /// The network of an address of ours.
    Connected,
    /// The user.
    #[default]
    Static,
    /// A router advertisement (RFC 4861 §6.3.4, RFC 4191 §3.1).
    Advertised,
    /// A redirect (RFC 4861 §8.3, RFC 1122 §3.2.2.2).
    Redirected,
    /// A DHCP server (RFC 2132 §3.5, RFC 3442).
    Dhcp,
}

/// Where packets for a network go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The network that the route leads to.
    pub destination: Prefix,
    /// The neighbour that forwards; none if the network's hosts are neighbours themselves.
    pub gateway: Option<IpAddr>,
    /// The interface through which it leads.
    pub interface: InterfaceId,
    /// Of several routes to one network, the one with the lowest metric is used: 0 unless said otherwise.
    pub metric: u32,
    /// Decides between equal metrics.
    pub preference: RouterPreference,
    /// Who looks after it.
    pub origin: RouteOrigin,
    /// When it ends by itself; [`Instant::FAR_FUTURE`] for never.
    pub expires: Instant,
}

impl Route {
    /// A place that holds nothing, for memory that the caller lends.
    pub const EMPTY: Self = Route::on_link(InterfaceId(0), NO_PREFIX);

    /// A route through a gateway on this interface.
    pub const fn via(interface: InterfaceId, destination: Prefix, gateway: IpAddr) -> Self {
        Route { gateway: Some(gateway), ..Route::on_link(interface, destination) }
    }

    /// A route to hosts that are neighbours on this interface.
    pub const fn on_link(interface: InterfaceId, destination: Prefix) -> Self {
        Route {
            destination,
            gateway: None,
            interface,
            metric: 0,
            preference: RouterPreference::Medium,
            origin: RouteOrigin::Static,
            expires: Instant::FAR_FUTURE,
        }
    }

    /// Whether both lead the same way to the same network, whatever else they say.
    fn is_same_way(&self, other: &Route) -> bool {
        (self.destination, self.gateway, self.interface) == (other.destination, other.gateway, other.interface)
    }
}

/// What an entry of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// An address of ours.
    Local,
    /// The directed broadcast address of a network of ours.
    Broadcast,
    /// A network of ours.
    Connected,
    /// One that was added.
    Added,
}

/// An entry of the table of routes.
#[derive(Clone, Debug)]
pub struct RouteEntry {
    kind: Kind,
    route: Route,
    /// The next entry of the same prefix.
    next: u32,
}

impl RouteEntry {
    /// What decides between entries of one prefix: the least goes first.
    fn rank(&self) -> (Kind, u32, core::cmp::Reverse<RouterPreference>) {
        (self.kind, self.route.metric, core::cmp::Reverse(self.route.preference))
    }
}

/// The table.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct RouteTable<'m> {
    trie: PrefixTrie<'m>,
    entries: Slab<'m, RouteEntry>,
    /// How many were added, and may be.
    added: usize,
    limit: usize,
}

/// Entries that so many routes and addresses need: an address is one, as are its network and its directed broadcast address.
pub(crate) const fn entries_for(limits: &Limits) -> usize {
    limits.routes + 3 * limits.addresses
}

impl<'m> RouteTable<'m> {
    pub(super) fn new(
        nodes: Storage<'m, TrieNode>,
        entries: Storage<'m, Slot<RouteEntry>>,
        limits: &Limits,
    ) -> RouteTable<'m> {
        let entries = Slab::new(entries, entries_for(limits));
        RouteTable { trie: PrefixTrie::new(nodes), entries, added: 0, limit: limits.routes }
    }

    /// The entries of a prefix, the best first.
    fn entries_at(&self, node: Option<u32>) -> impl Iterator<Item = (u32, &RouteEntry)> {
        let first = node.map_or(NONE, |node| self.trie.value(node));
        let with_number = |number: u32| self.entries.get(number).map(|entry| (number, entry));
        core::iter::successors(with_number(first), move |(_, entry)| with_number(entry.next))
    }

    /// The entries of all prefixes that have an address: those of the longest first, of each the best first.
    fn matching(&self, address: IpAddr) -> impl Iterator<Item = &RouteEntry> {
        let nodes = core::iter::successors(self.trie.longest(address), |node| self.trie.shorter(*node));
        nodes.flat_map(|node| self.entries_at(Some(node))).map(|(_, entry)| entry)
    }

    /// The entries of the longest prefix that has an address: what is ours is among them, whatever shorter prefixes there are.
    fn at_longest(&self, address: IpAddr) -> impl Iterator<Item = &RouteEntry> {
        self.entries_at(self.trie.longest(address)).map(|(_, entry)| entry)
    }

    /// Adds an entry, after those of its prefix that rank before it or as it does.
    fn insert(&mut self, kind: Kind, route: Route) -> Option<u32> {
        let entry = RouteEntry { kind, route, next: NONE };
        let rank = entry.rank();
        let node = self.trie.find(route.destination);
        let before =
            self.entries_at(node).take_while(|(_, found)| found.rank() <= rank).last().map(|(number, _)| number);
        let index = self.entries.insert(entry).ok()?.index;
        let next = match before.and_then(|before| self.entries.get_mut(before)) {
            Some(before) => core::mem::replace(&mut before.next, index),
            None => {
                let first = node.map_or(NONE, |node| self.trie.value(node));
                if !self.trie.set(route.destination, index) {
                    self.entries.remove(index);
                    return None;
                }
                first
            }
        };
        self.added += usize::from(kind == Kind::Added);
        self.entries.get_mut(index)?.next = next;
        Some(index)
    }

    fn remove(&mut self, index: u32) {
        let Some(entry) = self.entries.get(index) else { return };
        let (kind, destination, next) = (entry.kind, entry.route.destination, entry.next);
        let before = self.entries_at(self.trie.find(destination)).find(|(_, found)| found.next == index);
        match before.map(|(number, _)| number).and_then(|before| self.entries.get_mut(before)) {
            Some(before) => before.next = next,
            None if next == NONE => self.trie.remove(destination),
            None => drop(self.trie.set(destination, next)),
        }
        self.added -= usize::from(kind == Kind::Added);
        self.entries.remove(index);
    }

    /// The first entry of this prefix for which `is_it` holds.
    fn find(&self, destination: Prefix, is_it: impl Fn(&RouteEntry) -> bool) -> Option<u32> {
        let mut entries = self.entries_at(self.trie.find(destination));
        entries.find(|(_, entry)| is_it(entry)).map(|(number, _)| number)
    }
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
    /// tells, unless it is link-local and there are several links. A destination may have several gateways: those that answer are used in the order in which
    /// they were added, if they have one [metric](Route::metric).
    pub fn add_route(&mut self, destination: Prefix, gateway: IpAddr) -> Result<(), ConfigError> {
        if destination.address.is_ipv4() != gateway.is_ipv4() {
            return Err(ConfigError::FamilyMismatch(gateway));
        }
        let interface = self.interface_of_gateway(gateway)?;
        self.add_route_on(interface, destination, gateway)
    }

    /// The interface on which a gateway is a neighbour, as its address tells.
    ///
    /// # Errors
    /// If it is no neighbour, or link-local and there are several links.
    pub fn interface_of_gateway(&self, gateway: IpAddr) -> Result<InterfaceId, ConfigError> {
        let link = self.link_to(SocketAddr::new(gateway, 0), None).map_err(ConfigError::Scope)?;
        link.or_else(|| self.link_of_neighbor(gateway)).ok_or(ConfigError::GatewayNotOnLink(gateway))
    }

    /// Adds a route to `destination` through `gateway`, which is a neighbour on this interface.
    pub fn add_route_on(
        &mut self,
        interface: InterfaceId,
        destination: Prefix,
        gateway: IpAddr,
    ) -> Result<(), ConfigError> {
        let route = Route { destination: destination.network(), ..Route::via(interface, destination, gateway) };
        if self.routes.find(route.destination, |entry| entry.route.is_same_way(&route)).is_some() {
            return Err(ConfigError::Exists(route.destination));
        }
        self.set_route(route)
    }

    /// Adds a route, or changes the one that leads the same way (destination, gateway and interface) to what this one says.
    ///
    /// # Errors
    /// If the gateway is of another family than the destination or no neighbour, there is no such interface, or [`Limits::routes`] is
    /// reached.
    pub fn set_route(&mut self, mut route: Route) -> Result<(), ConfigError> {
        route.destination = route.destination.network();
        if let Some(gateway) = route.gateway
            && gateway.is_ipv4() != route.destination.address.is_ipv4()
        {
            return Err(ConfigError::FamilyMismatch(gateway));
        }
        if self.interfaces.get(u32::from(route.interface.0)).is_none() {
            return Err(ConfigError::NoSuchInterface(route.interface));
        }
        if let Some(gateway) = route.gateway.filter(|gateway| !self.is_on_link(route.interface, *gateway)) {
            return Err(ConfigError::GatewayNotOnLink(gateway));
        }
        let is_same = |entry: &RouteEntry| entry.kind == Kind::Added && entry.route.is_same_way(&route);
        let known = self.routes.find(route.destination, is_same);
        let index = match known.and_then(|known| Some((known, self.routes.entries.get_mut(known)?))) {
            // What is only confirmed stays in its place.
            Some((known, entry))
                if (entry.route.metric, entry.route.preference) == (route.metric, route.preference) =>
            {
                entry.route = route;
                known
            }
            known => {
                if let Some((known, _)) = known {
                    self.forget_route(known);
                }
                let full = ConfigError::LimitReached("routes");
                if self.routes.added == self.routes.limit {
                    return Err(full);
                }
                self.invalidate_paths();
                self.routes.insert(Kind::Added, route).ok_or(full)?
            }
        };
        self.watch_route(index, route.expires);
        Ok(())
    }

    /// Whether somebody has set the route that leads the same way: what routers tell does not change it.
    pub(super) fn is_set_by_hand(&self, route: &Route) -> bool {
        let is_set = |entry: &RouteEntry| {
            let is_told = matches!(entry.route.origin, RouteOrigin::Advertised | RouteOrigin::Redirected);
            entry.kind == Kind::Added && entry.route.is_same_way(route) && !is_told
        };
        self.routes.find(route.destination.network(), is_set).is_some()
    }

    fn watch_route(&mut self, index: u32, expires: Instant) {
        if expires < Instant::FAR_FUTURE {
            self.deadlines.set_no_later(self.nodes.number(Node::Route(index)), expires);
        }
    }

    /// Removes all routes to `destination` that were added.
    pub fn remove_route(&mut self, destination: Prefix) -> Result<(), ConfigError> {
        self.remove_routes(destination, |_| true)
    }

    /// Removes the route that leads the same way (destination, gateway and interface) as this one.
    pub fn unset_route(&mut self, route: &Route) -> Result<(), ConfigError> {
        let route = Route { destination: route.destination.network(), ..*route };
        self.remove_routes(route.destination, |found| found.is_same_way(&route))
    }

    fn remove_routes(&mut self, destination: Prefix, goes: impl Fn(&Route) -> bool) -> Result<(), ConfigError> {
        let destination = destination.network();
        let goes = |entry: &RouteEntry| entry.kind == Kind::Added && goes(&entry.route);
        let mut result = Err(ConfigError::NotFound(destination));
        while let Some(index) = self.routes.find(destination, goes) {
            self.forget_route(index);
            self.invalidate_paths();
            result = Ok(());
        }
        result
    }

    fn forget_route(&mut self, index: u32) {
        self.routes.remove(index);
        self.deadlines.remove(self.nodes.number(Node::Route(index)));
    }

    /// A route's time is over, if it was not prolonged since.
    pub(super) fn route_timeout(&mut self, index: u32) {
        let Some(entry) = self.routes.entries.get(index) else { return };
        if entry.route.expires > self.now {
            return self.watch_route(index, entry.route.expires);
        }
        self.forget_route(index);
        self.invalidate_paths();
    }

    /// All routes: those that were added, and the networks of the addresses.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        let is_route = |entry: &&RouteEntry| matches!(entry.kind, Kind::Connected | Kind::Added);
        self.routes.entries.iter().map(|(_, entry)| entry).filter(is_route).map(|entry| &entry.route)
    }

    /// Enters an address into the table, with its directed broadcast address and, if its neighbours are `on_link`, its network. To be taken out
    /// by [`withdraw_address`](Self::withdraw_address).
    pub(super) fn enter_address(&mut self, interface: InterfaceId, prefix: Prefix, on_link: bool) {
        let is_looped = self.is_loopback(interface);
        for (kind, route) in address_entries(interface, prefix, is_looped).into_iter().flatten() {
            if kind != Kind::Connected || on_link {
                let entered = self.routes.insert(kind, route);
                debug_assert!(entered.is_some(), "the table has room for as many addresses as there may be");
            }
        }
        self.invalidate_paths();
    }

    /// Takes an address out of the table.
    pub(super) fn withdraw_address(&mut self, interface: InterfaceId, prefix: Prefix) {
        let is_looped = self.is_loopback(interface);
        for (kind, route) in address_entries(interface, prefix, is_looped).into_iter().flatten() {
            let is_it = |entry: &RouteEntry| entry.kind == kind && entry.route.is_same_way(&route);
            if let Some(index) = self.routes.find(route.destination, is_it) {
                self.routes.remove(index);
            }
        }
        self.invalidate_paths();
    }

    /// Removes all that leads through an interface.
    pub(super) fn forget_routes(&mut self, interface: InterfaceId) {
        for index in 0..self.routes.entries.capacity() as u32 {
            if self.routes.entries.get(index).is_some_and(|entry| entry.route.interface == interface) {
                self.forget_route(index);
            }
        }
        self.invalidate_paths();
    }

    /// Whether the address is one of ours.
    #[inline(never)] // Called from many places, none of them for every packet.
    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        self.routes.at_longest(address).any(|entry| entry.kind == Kind::Local)
    }

    /// Whether the address is one of this interface's.
    pub(super) fn is_own(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.routes.at_longest(address).any(|entry| entry.kind == Kind::Local && entry.route.interface == interface)
    }

    /// Whether the address is one of ours that packets from this interface may be for: any, but a link-local one only if
    /// it is the interface's own (RFC 4007 §6).
    pub(super) fn is_local_on(&self, interface: InterfaceId, address: IpAddr) -> bool {
        if is_link_local(address) { self.is_own(interface, address) } else { self.is_local(address) }
    }

    /// Whether the address is the directed broadcast address of a network of ours.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn is_directed_broadcast(&self, address: Ipv4Addr) -> bool {
        self.routes.at_longest(IpAddr::V4(address)).any(|entry| entry.kind == Kind::Broadcast)
    }

    /// Whether `address` is a neighbour on this interface.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn is_on_link(&self, interface: InterfaceId, address: IpAddr) -> bool {
        let is_it = |entry: &RouteEntry| entry.route.gateway.is_none() && entry.route.interface == interface;
        self.routes.matching(address).any(is_it)
    }

    /// Whether a route to the longest prefix that has an address leads through this interface.
    pub(super) fn leads_through(&self, interface: InterfaceId, address: IpAddr) -> bool {
        let mut longest = None;
        let is_longest = |entry: &&RouteEntry| {
            let length = entry.route.destination.length;
            *longest.get_or_insert(length) == length
        };
        self.routes.matching(address).take_while(is_longest).any(|entry| entry.route.interface == interface)
    }

    /// The interface on which `address` is a neighbour.
    fn link_of_neighbor(&self, address: IpAddr) -> Option<InterfaceId> {
        let mut matching = self.routes.matching(address);
        matching.find(|entry| entry.route.gateway.is_none()).map(|entry| entry.route.interface)
    }

    /// Where packets for `destination` go: through `link` if it is given, else wherever the routes say.
    #[inline]
    pub(super) fn hop_to(&mut self, link: Option<InterfaceId>, destination: IpAddr) -> Option<NextHop> {
        match link {
            Some(interface) => self.next_hop_on(interface, destination),
            None => self.route(destination),
        }
    }

    /// Where packets for `destination` go. The last answer is kept: a connection asks more than once while it begins.
    pub(super) fn route(&mut self, destination: IpAddr) -> Option<NextHop> {
        if let Some((generation, address, hop)) = self.last_route
            && generation == self.generation
            && address == destination
        {
            return Some(hop);
        }
        if let Some(hop) = self.loop_to(destination) {
            return Some(hop);
        }
        let (interface, address) = if is_group(destination) {
            // Without being told an interface, the first that has an address of the family.
            let mut addresses = self.addresses.iter();
            let is_usable = |entry: &&InterfaceAddress| {
                entry.is_assigned()
                    && entry.prefix.address.is_ipv4() == destination.is_ipv4()
                    && Some(entry.interface) != self.loopback
            };
            let entry = addresses.find(is_usable)?;
            (entry.interface, destination)
        } else {
            self.way_to(destination, None)?
        };
        let hop = NextHop { interface, address, source: self.source_through(interface, destination, address)? };
        self.last_route = Some((self.generation, destination, hop));
        Some(hop)
    }

    /// Where packets for `destination` go that have to leave through `interface`.
    pub(super) fn next_hop_on(&mut self, interface: InterfaceId, destination: IpAddr) -> Option<NextHop> {
        if let Some(hop) = self.loop_to(destination) {
            return Some(hop);
        }
        let address = match is_group(destination) {
            true => destination,
            false => self.way_to(destination, Some(interface))?.1,
        };
        Some(NextHop { interface, address, source: self.source_through(interface, destination, address)? })
    }

    /// The interface and the neighbour through which an address is reached, by the routes of this interface if one is given.
    pub(super) fn way_to(&mut self, destination: IpAddr, on: Option<InterfaceId>) -> Option<(InterfaceId, IpAddr)> {
        let mut silent: Option<Silent> = None;
        let mut found = None;
        for RouteEntry { route, .. } in self.routes.matching(destination) {
            if on.is_some_and(|on| on != route.interface) {
                continue;
            }
            // RFC 4191 §3.2 lets routes to shorter prefixes stand in, too; but not for those that somebody has set (RFC 1812 §5.2.4.3).
            if silent.as_ref().is_some_and(|silent| silent.is_binding && silent.length > route.destination.length) {
                break;
            }
            let address = route.gateway.unwrap_or(destination);
            let neighbor = self.neighbors.find(&self.hash_secret, route.interface, address);
            match neighbor.and_then(|number| Some((number, self.neighbors.get(number)?))) {
                Some((neighbor, Neighbor { has_failed: true, last_solicit: asked, .. })) if route.gateway.is_some() => {
                    // RFC 4861 §6.3.6: "When no routers on the list are known to be reachable or probably reachable, routers SHOULD be
                    // selected in a round-robin fashion": the one that was asked least recently.
                    if silent.as_ref().is_none_or(|silent| *asked < silent.asked) {
                        let (hop, asked, length) = ((route.interface, address), *asked, route.destination.length);
                        let is_binding = route.origin != RouteOrigin::Advertised;
                        silent = Some(Silent { hop, neighbor, asked, length, is_binding });
                    }
                }
                _ => {
                    found = Some((route.interface, address));
                    break;
                }
            }
        }
        let Some(silent) = silent else { return found };
        if found.is_some() && silent.asked.is_none_or(|asked| self.now.since(asked) >= PROBE_INTERVAL) {
            self.ask_again(silent.neighbor);
        }
        found.or(Some(silent.hop))
    }

    /// Has a gateway asked that did not answer, while another stands in for it: it is used again when it answers.
    #[cold]
    fn ask_again(&mut self, neighbor: u32) {
        let Some(found) = self.neighbors.get_mut(neighbor) else { return };
        if found.state == NeighborState::Failed {
            found.state = NeighborState::Incomplete;
            found.solicits = 0;
            found.deadline = self.now;
            self.deadlines.set_no_later(self.nodes.number(Node::Neighbor(neighbor)), self.now);
        }
    }
}

/// A gateway that did not answer when it was asked last.
struct Silent {
    hop: (InterfaceId, IpAddr),
    neighbor: u32,
    asked: Option<Instant>,
    /// Bits of the prefix that it leads to.
    length: u8,
    /// Whether no route to a shorter prefix may stand in.
    is_binding: bool,
}

/// What an address is in the table. Of the loopback interface's, the whole network is this host (RFC 1122 §3.2.1.3 (g)).
fn address_entries(interface: InterfaceId, prefix: Prefix, is_looped: bool) -> [Option<(Kind, Route)>; 3] {
    let route =
        |destination: Prefix| Route { origin: RouteOrigin::Connected, ..Route::on_link(interface, destination) };
    if is_looped {
        return [Some((Kind::Local, route(prefix.network()))), None, None];
    }
    let broadcast = prefix.broadcast().map(|address| route(Prefix::host(IpAddr::V4(address))));
    [
        Some((Kind::Local, route(Prefix::host(prefix.address)))),
        Some((Kind::Connected, route(prefix.network()))),
        broadcast.map(|route| (Kind::Broadcast, route)),
    ]
}
