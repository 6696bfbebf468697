//! What routers tell a host of its network (RFC 4861 §6.3), and the addresses that it makes of it (RFC 4862 §5.5, RFC 7217, RFC 8981).
//!
//! Routers, routes and prefixes on the link are entries of the table of routes, where they end by themselves. Addresses end in the table of
//! addresses; DNS servers and search domains have a table each.

use core::net::{IpAddr, Ipv6Addr};

use super::Stack;
use super::addresses::{AddressOptions, AddressOrigin, AddressState, MAX_DELAY};
use super::interface::Interface;
use super::ip_input::Packet;
use super::neighbor::NeighborState;
use super::neighbor_discovery::ALL_ROUTERS;
use super::routes::{Route, RouteOrigin};
use crate::address::{Prefix, bits};
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::random::Generator;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::ndp::{self, RouterPreference};
use crate::wire::{MacAddr, NdpOption, NdpOptions, PrefixInformation, RouteInformation, RouterAdvertisement, ipv6};

/// Of routes to one destination, those that somebody has set come before those that routers advertise (as in Linux).
const ADVERTISED_METRIC: u32 = 1024;
/// RFC 4862 §5.5.3 (e).
const TWO_HOURS: Duration = Duration::from_secs(2 * 60 * 60);
/// RFC 7559 §2: the first interval between solicitations, and the longest.
const IRT: Duration = Duration::from_secs(4);
const MRT: Duration = Duration::from_secs(3600);
/// RFC 8981 §3.8.
const TEMP_VALID_LIFETIME: Duration = Duration::from_secs(2 * 86_400);
const TEMP_PREFERRED_LIFETIME: Duration = Duration::from_secs(86_400);
/// RFC 8981 §3.8: "REGEN_ADVANCE" is 2 + (TEMP_IDGEN_RETRIES * DupAddrDetectTransmits * RetransTimer / 1000) seconds.
const REGEN_ADVANCE: Duration = Duration::from_secs(5);
/// RFC 7217 §7's IDGEN_RETRIES and RFC 8981 §3.8's TEMP_IDGEN_RETRIES.
const IDENTIFIER_RETRIES: u8 = 3;
/// Addresses that a network's routers may make an interface have (Linux's `max_addresses`).
const MAX_ADVERTISED_ADDRESSES: usize = 16;
/// RFC 8200 §5.
const IPV6_MIN_MTU: u32 = 1280;
/// Bounds of what routers may ask for, in milliseconds: RFC 4861 §6.2.1's for the first, and Linux's least for the other.
const MAX_REACHABLE_TIME: u32 = 3_600_000;
const MIN_RETRANS_TIMER: u32 = 10;

/// How an interface gets addresses by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Autoconfiguration {
    /// What the lower half of an address is made of.
    pub identifiers: InterfaceIdentifiers,
    /// Whether each prefix gives a temporary address, too, which is changed every day and used for what the host begins (RFC 8981).
    pub temporary: bool,
}

impl Default for Autoconfiguration {
    fn default() -> Self {
        Autoconfiguration { identifiers: InterfaceIdentifiers::Stable, temporary: false }
    }
}

/// What the lower 64 bits of an address are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterfaceIdentifiers {
    /// A secret and the prefix, so that a host has the same address whenever it is in the same network, and cannot be followed from one network to
    /// another (RFC 7217). The secret is made of [`Config::seed`](crate::Config::seed).
    #[default]
    Stable,
    /// The interface's Ethernet address (RFC 4291 appendix A).
    Eui64,
}

/// What routers have told of an interface's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdvertisedLink {
    /// The hop limit to send with; 0 if no router has said.
    pub hop_limit: u8,
    /// The largest IPv6 packet in bytes; the interface's if no router has said.
    pub mtu: u16,
    /// Addresses come from DHCPv6 (RFC 4861 §4.2, the M flag).
    pub managed: bool,
    /// Other settings come from DHCPv6 (the O flag).
    pub other_config: bool,
    /// Whether a router was heard of at all.
    pub has_router: bool,
}

/// A DNS server that a router has advertised (RFC 8106 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertisedDnsServer {
    /// On which interface.
    pub interface: InterfaceId,
    /// The server.
    pub address: Ipv6Addr,
    /// When it may not be used any more; [`Instant::FAR_FUTURE`] for never.
    pub expires: Instant,
}

impl AdvertisedDnsServer {
    /// A place that holds nothing, for memory that the caller lends.
    pub const EMPTY: Self =
        AdvertisedDnsServer { interface: InterfaceId(0), address: Ipv6Addr::UNSPECIFIED, expires: Instant::ZERO };
}

/// A domain to search for names in, as a router has advertised it (RFC 8106 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertisedDomain {
    /// On which interface.
    pub interface: InterfaceId,
    /// When it may not be used any more; [`Instant::FAR_FUTURE`] for never.
    pub expires: Instant,
    len: u8,
    name: [u8; 255],
}

impl AdvertisedDomain {
    /// A place that holds nothing, for memory that the caller lends.
    pub const EMPTY: Self =
        AdvertisedDomain { interface: InterfaceId(0), expires: Instant::ZERO, len: 0, name: [0; 255] };

    /// The name in the format of RFC 1035 §3.1, the empty label at its end included.
    pub fn name(&self) -> &[u8] {
        &self.name[..usize::from(self.len)]
    }
}

/// An interface's part in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routers {
    pub(crate) link: AdvertisedLink,
    /// When routers are asked next, and how long after the question before that.
    next_solicitation: Instant,
    interval: Duration,
}

impl Routers {
    pub(crate) const fn new(mtu: u16) -> Self {
        let link = AdvertisedLink { hop_limit: 0, mtu, managed: false, other_config: false, has_router: false };
        Routers { link, next_solicitation: Instant::FAR_FUTURE, interval: Duration::ZERO }
    }
}

impl Stack<'_> {
    /// What routers have told of an interface's network; None if there is no such interface.
    pub fn advertised_link(&self, interface: InterfaceId) -> Option<AdvertisedLink> {
        self.interfaces.get(u32::from(interface.0)).map(|found| found.routers.link)
    }

    /// Whether the interface is a router's, which does not configure itself (RFC 4861 §6.2.7) and says so.
    pub(super) fn forwards_ipv6(&self, interface: InterfaceId) -> bool {
        self.interfaces.get(u32::from(interface.0)).is_some_and(|found| found.forwarding.ipv6)
    }

    /// The TTL or hop limit to send with, where nothing else is said: in IPv6 what routers say (RFC 4861 §6.3.2, CurHopLimit).
    pub(super) fn hop_limit(&self, interface: InterfaceId, destination: IpAddr) -> u8 {
        let advertised = match destination {
            IpAddr::V4(_) => 0,
            IpAddr::V6(_) => {
                self.interfaces.get(u32::from(interface.0)).map_or(0, |found| found.routers.link.hop_limit)
            }
        };
        if advertised == 0 { self.config.hop_limit } else { advertised }
    }

    /// The DNS servers that routers have advertised (RFC 8106), in the order in which they came.
    pub fn advertised_dns_servers(&self) -> impl Iterator<Item = &AdvertisedDnsServer> {
        self.dns_servers.iter().filter(|server| server.expires > self.now)
    }

    /// The search domains that routers have advertised.
    pub fn advertised_domains(&self) -> impl Iterator<Item = &AdvertisedDomain> {
        self.search_domains.iter().filter(|domain| domain.expires > self.now)
    }

    /// Lets an interface begin to ask for routers (RFC 4861 §6.3.7).
    pub(super) fn begin_autoconfiguration(&mut self, interface: InterfaceId) {
        let delay = Duration::from_micros(self.neighbor_random.below(MAX_DELAY.as_micros()));
        let due = self.now + delay;
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return };
        if found.config.autoconfiguration.is_some() && u32::from(found.config.mtu) >= IPV6_MIN_MTU {
            found.routers.next_solicitation = due;
            self.watch_interface(interface, due);
        }
    }

    /// Asks routers if it is time, and gets new temporary addresses; returns when to look again.
    pub(super) fn look_after_routers(&mut self, pool: &mut Pool<'_>, interface: InterfaceId) -> Instant {
        let now = self.now;
        let Some(found) = self.interfaces.get(u32::from(interface.0)) else { return Instant::FAR_FUTURE };
        if found.config.autoconfiguration.is_none() {
            return Instant::FAR_FUTURE;
        }
        if found.routers.next_solicitation <= now {
            self.solicit_routers(pool, interface);
        }
        let regeneration = self.regenerate_temporary(interface);
        self.forget_expired_names();
        let mut next = regeneration;
        self.dns_servers.iter().for_each(|server| next = next.min(server.expires));
        self.search_domains.iter().for_each(|domain| next = next.min(domain.expires));
        let solicitation = self
            .interfaces
            .get(u32::from(interface.0))
            .map_or(Instant::FAR_FUTURE, |found| found.routers.next_solicitation);
        next.min(solicitation)
    }

    /// RFC 4861 §6.3.7, for as long and as often as RFC 7559 says.
    fn solicit_routers(&mut self, pool: &mut Pool<'_>, interface: InterfaceId) {
        let mac = self.mac(interface);
        let destination = ALL_ROUTERS;
        // From an address that may not be ours, nothing is told of it (RFC 4429 §3.2).
        let source = match self.source_on(interface, IpAddr::V6(destination)) {
            Some(IpAddr::V6(source)) if self.is_sure_of(interface, IpAddr::V6(source)) => source,
            _ => Ipv6Addr::UNSPECIFIED,
        };
        let mut message = [0; 16];
        let len =
            ndp::emit_router_solicitation(source, destination, &mut message, (!source.is_unspecified()).then_some(mac));
        self.send_ndp(
            pool,
            interface,
            MacAddr::for_multicast(IpAddr::V6(destination)),
            source,
            destination,
            &message[..len],
        );
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return };
        // RFC 9915 §15: RT = 2 * RTprev + RAND * RTprev, RAND between -0.1 and 0.1; for the first, IRT + RAND * IRT.
        let base = match found.routers.interval {
            Duration::ZERO => IRT,
            previous => (previous + previous).min(MRT),
        };
        let spread = base.as_micros() / 5;
        let interval = Duration::from_micros(base.as_micros() - spread / 2 + self.neighbor_random.below(spread));
        found.routers.interval = interval;
        found.routers.next_solicitation = self.now + interval;
    }

    /// RFC 4861 §6.3.4, after the checks of §6.1.2.
    pub(super) fn router_advertisement(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        router: Ipv6Addr,
        advertisement: &RouterAdvertisement,
        options: &[u8],
    ) {
        let (interface, now) = (packet.interface, self.now);
        let is_wanted = |found: &&mut Interface| found.config.autoconfiguration.is_some() && !found.forwarding.ipv6;
        let found = self.interfaces.get_mut(u32::from(interface.0)).filter(is_wanted);
        let Some(found) = found.filter(|_| router.is_unicast_link_local()) else {
            self.counters.drop(DropReason::NeighborDiscoveryInvalid);
            return;
        };
        let before = found.routers.link;
        let link = &mut found.routers.link;
        link.has_router = true;
        (link.managed, link.other_config) = (advertisement.managed, advertisement.other_config);
        if advertisement.current_hop_limit != 0 {
            link.hop_limit = advertisement.current_hop_limit;
        }
        if advertisement.router_lifetime > 0 {
            // §6.3.7: "the host MUST desist from sending additional solicitations on that interface".
            found.routers.next_solicitation = Instant::FAR_FUTURE;
        }
        let reachable = Duration::from_millis(u64::from(advertisement.reachable_time));
        if (1..=MAX_REACHABLE_TIME).contains(&advertisement.reachable_time)
            && reachable != found.times.base_reachable_time
        {
            found.times.base_reachable_time = reachable;
            found.times.draw(now, &mut self.neighbor_random);
        }
        if advertisement.retransmit_timer != 0 {
            let retransmit = advertisement.retransmit_timer.clamp(MIN_RETRANS_TIMER, MAX_REACHABLE_TIME);
            found.times.retrans_timer = Duration::from_millis(u64::from(retransmit));
        }
        let everywhere = Prefix { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), length: 0 };
        let lifetime = u32::from(advertisement.router_lifetime);
        self.advertised_route(interface, everywhere, Some(router), advertisement.preference, lifetime);
        for option in NdpOptions::new(options) {
            match option {
                NdpOption::SourceLinkLayerAddress(mac) if mac.is_unicast() => {
                    self.router_has_told_its_station(pool, interface, router, mac);
                }
                NdpOption::Mtu(mtu) => self.advertised_mtu(interface, mtu),
                NdpOption::PrefixInformation(prefix) => self.advertised_prefix(interface, router, &prefix),
                NdpOption::RouteInformation(RouteInformation { prefix_len, preference, lifetime, prefix }) => {
                    let destination = Prefix { address: IpAddr::V6(prefix), length: prefix_len };
                    self.advertised_route(interface, destination, Some(router), preference, lifetime);
                }
                NdpOption::RecursiveDnsServers { lifetime, servers } => {
                    for server in servers {
                        self.advertised_dns_server(interface, Ipv6Addr::from(*server), lifetime);
                    }
                }
                NdpOption::DnsSearchList { lifetime, domains } => self.advertised_search(interface, domains, lifetime),
                _ => {}
            }
        }
        let after = self.interfaces.get(u32::from(interface.0)).map(|found| found.routers.link);
        if after.is_some_and(|after| after != before) {
            self.addresses_changed(interface);
            self.invalidate_paths();
        }
        self.watch_interface(interface, now);
    }

    /// "If the advertisement contains a Source Link-Layer Address option, the link-layer address SHOULD be recorded in the Neighbor Cache
    /// entry for the router [...] and the IsRouter flag in the Neighbor Cache entry MUST be set to TRUE."
    fn router_has_told_its_station(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        router: Ipv6Addr,
        mac: MacAddr,
    ) {
        let address = IpAddr::V6(router);
        let known = self.neighbors.find(&self.hash_secret, interface, address);
        self.learn(pool, interface, address, mac, known, NeighborState::Stale, true);
        let entry = self.neighbors.find(&self.hash_secret, interface, address);
        if let Some(neighbor) = entry.and_then(|entry| self.neighbors.get_mut(entry)) {
            neighbor.is_router = true;
        }
    }

    /// N5: "hosts SHOULD copy the option's value into LinkMTU so long as the value is greater than or equal to the minimum link MTU and does
    /// not exceed the maximum LinkMTU value specified in the link-type-specific document".
    fn advertised_mtu(&mut self, interface: InterfaceId, mtu: u32) {
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return };
        if mtu >= IPV6_MIN_MTU && mtu <= u32::from(found.config.mtu) {
            found.routers.link.mtu = mtu as u16;
        }
    }

    /// A route that a router offers, for so many seconds; through itself, or to neighbours.
    fn advertised_route(
        &mut self,
        interface: InterfaceId,
        destination: Prefix,
        gateway: Option<Ipv6Addr>,
        preference: RouterPreference,
        lifetime: u32,
    ) {
        let route = Route {
            destination,
            gateway: gateway.map(IpAddr::V6),
            interface,
            metric: ADVERTISED_METRIC,
            preference,
            origin: RouteOrigin::Advertised,
            expires: until(self.now, lifetime),
        };
        if self.is_set_by_hand(&route) {
            return;
        }
        // Without room the route is not there, as in any full table; one that is withdrawn may never have been.
        let changed = if lifetime == 0 { self.unset_route(&route).is_ok() } else { self.set_route(route).is_ok() };
        if changed && lifetime == 0 {
            self.addresses_changed(interface);
        }
    }

    /// RFC 4861 §6.3.4 for prefixes on the link, which others are not (N5), and RFC 4862 §5.5.3 for addresses.
    fn advertised_prefix(&mut self, interface: InterfaceId, router: Ipv6Addr, information: &PrefixInformation) {
        let prefix = Prefix { address: IpAddr::V6(information.prefix), length: information.prefix_len }.network();
        let IpAddr::V6(network) = prefix.address else { return };
        // "(b) If the prefix is the link-local prefix, silently ignore", and a group's is no host's.
        if network.is_unicast_link_local() || network.is_multicast() {
            return;
        }
        if information.on_link {
            self.advertised_route(interface, prefix, None, RouterPreference::Medium, information.valid_lifetime);
        }
        // (c)
        if !information.autonomous || information.preferred_lifetime > information.valid_lifetime {
            return;
        }
        let preferred_until = until(self.now, information.preferred_lifetime);
        let valid_until = until(self.now, information.valid_lifetime);
        let mut known = false;
        for place in 0..self.addresses.len() {
            let entry = self.addresses[place];
            if entry.interface != interface || entry.prefix.network() != prefix {
                continue;
            }
            match entry.origin {
                AddressOrigin::Advertised => {
                    known = true;
                    self.prolong_advertised(place, preferred_until, valid_until);
                }
                // RFC 8981 §3.4: never beyond a temporary address's own time.
                AddressOrigin::Temporary => {
                    let preferred_until = preferred_until.min(entry.made + longest_preferred(entry.prefix.address));
                    let valid_until = valid_until.min(entry.made + TEMP_VALID_LIFETIME);
                    self.prolong_advertised(place, preferred_until, valid_until);
                }
                _ => {}
            }
        }
        // (d): "the prefix advertised is not equal to the prefix of an address configured by stateless autoconfiguration already in the list [...]
        // and if the Valid Lifetime is not 0"; the identifier has 64 bits.
        if !known && information.valid_lifetime != 0 && information.prefix_len == 64 {
            self.make_address(interface, prefix, AddressOrigin::Advertised, (preferred_until, valid_until), 0);
            self.make_temporary(interface, prefix, (preferred_until, valid_until), 0);
        }
        let of_prefix =
            |entry: &&mut super::InterfaceAddress| entry.interface == interface && entry.prefix.network() == prefix;
        for entry in self.addresses.iter_mut().filter(of_prefix) {
            entry.advertisers = entry.advertisers.with(router);
        }
    }

    /// RFC 4862 §5.5.3 (e): nobody can end an address at once by an advertisement that is not authenticated (N5).
    fn prolong_advertised(&mut self, place: usize, preferred_until: Instant, valid_until: Instant) {
        let entry = self.addresses[place];
        let two_hours = self.now + TWO_HOURS;
        let valid_until = if valid_until > two_hours || valid_until > entry.valid_until {
            valid_until
        } else if entry.valid_until <= two_hours {
            entry.valid_until
        } else {
            two_hours
        };
        self.prolong_address(place, preferred_until, valid_until);
    }

    /// Makes an address of an advertised prefix of 64 bits.
    fn make_address(
        &mut self,
        interface: InterfaceId,
        prefix: Prefix,
        origin: AddressOrigin,
        (mut preferred_until, valid_until): (Instant, Instant),
        conflicts: u8,
    ) {
        let (IpAddr::V6(network), mac) = (prefix.address, self.mac(interface)) else { return };
        let is_advertised =
            |origin: AddressOrigin| matches!(origin, AddressOrigin::Advertised | AddressOrigin::Temporary);
        let mut made =
            self.addresses.iter().filter(|entry| entry.interface == interface && is_advertised(entry.origin));
        if made.nth(MAX_ADVERTISED_ADDRESSES - 1).is_some() {
            return;
        }
        let config = self.interfaces.get(u32::from(interface.0)).and_then(|found| found.config.autoconfiguration);
        let identifiers = config.unwrap_or_default().identifiers;
        let identifier = match (origin, identifiers) {
            (AddressOrigin::Temporary, _) => random_identifier(&mut self.neighbor_random),
            (_, InterfaceIdentifiers::Eui64) => ipv6::link_local(mac).to_bits() as u64,
            (_, InterfaceIdentifiers::Stable) => stable_identifier(&self.address_secret, network, mac, conflicts),
        };
        let address = IpAddr::V6(with_identifier(network, identifier));
        if origin == AddressOrigin::Temporary {
            preferred_until = preferred_until.min(self.now + longest_preferred(address));
        }
        let options = AddressOptions { preferred_until, valid_until, detection: None, on_link: false, origin };
        if self.add_address_with(self.now, interface, Prefix { address, length: 64 }, options).is_ok()
            && let Some(place) = self.place_of(interface, address)
        {
            self.addresses[place].claim.conflicts = conflicts;
        }
    }

    /// RFC 8981 §3.4: a temporary address for a prefix, if the interface wants any and the prefix is preferred for long enough.
    fn make_temporary(&mut self, interface: InterfaceId, prefix: Prefix, lifetimes: (Instant, Instant), conflicts: u8) {
        let config = self.interfaces.get(u32::from(interface.0)).and_then(|found| found.config.autoconfiguration);
        if !config.is_some_and(|config| config.temporary) {
            return;
        }
        // "A temporary address is created only if this calculated preferred lifetime is greater than REGEN_ADVANCE", which its own time is.
        if lifetimes.0.since(self.now) > REGEN_ADVANCE {
            let valid_until = lifetimes.1.min(self.now + TEMP_VALID_LIFETIME);
            self.make_address(interface, prefix, AddressOrigin::Temporary, (lifetimes.0, valid_until), conflicts);
        }
    }

    /// RFC 8981 §3.6: shortly before the temporary address of a prefix becomes deprecated there is another; returns when to look again.
    fn regenerate_temporary(&mut self, interface: InterfaceId) -> Instant {
        let mut next = Instant::FAR_FUTURE;
        for place in 0..self.addresses.len() {
            let entry = self.addresses[place];
            if entry.interface != interface || entry.origin != AddressOrigin::Advertised {
                continue;
            }
            let network = entry.prefix.network();
            let mut until = None;
            for other in self.addresses.iter() {
                let is_fresh = other.origin == AddressOrigin::Temporary
                    && other.interface == interface
                    && other.prefix.network() == network
                    && other.state != AddressState::Duplicate;
                if is_fresh {
                    until = until.max(Some(other.preferred_until));
                }
            }
            let Some(due) = until.map(|until| Instant::ZERO + until.since(Instant::ZERO + REGEN_ADVANCE)) else {
                continue;
            };
            if due <= self.now && entry.preferred_until > due + REGEN_ADVANCE {
                self.make_temporary(interface, network, (entry.preferred_until, entry.valid_until), 0);
                next = next.min(self.now + REGEN_ADVANCE);
            } else if due > self.now {
                next = next.min(due);
            }
        }
        next
    }

    /// An address that was made of a prefix is another's: there are more to try (RFC 7217 §6, RFC 8981 §3.4).
    pub(super) fn replace_address(&mut self, place: usize) {
        let entry = self.addresses[place];
        let (lifetimes, conflicts) = ((entry.preferred_until, entry.valid_until), entry.claim.conflicts + 1);
        let is_made = matches!(entry.origin, AddressOrigin::Advertised | AddressOrigin::Temporary);
        if !is_made || conflicts > IDENTIFIER_RETRIES {
            return;
        }
        let config = self.interfaces.get(u32::from(entry.interface.0)).and_then(|found| found.config.autoconfiguration);
        let is_fixed = config.is_none_or(|config| config.identifiers == InterfaceIdentifiers::Eui64);
        if entry.origin == AddressOrigin::Temporary || !is_fixed {
            self.make_address(entry.interface, entry.prefix.network(), entry.origin, lifetimes, conflicts);
        }
    }

    fn advertised_dns_server(&mut self, interface: InterfaceId, address: Ipv6Addr, lifetime: u32) {
        self.forget_expired_names();
        let expires = until(self.now, lifetime);
        let known = self.dns_servers.iter().position(|found| found.address == address && found.interface == interface);
        let changed = match known {
            Some(place) if lifetime == 0 => {
                remove_in_order(&mut self.dns_servers, place);
                true
            }
            Some(place) => {
                self.dns_servers[place].expires = expires;
                false
            }
            // RFC 8106 §5.3.1: what there is no room for is not used.
            None => lifetime != 0 && self.dns_servers.push(AdvertisedDnsServer { interface, address, expires }).is_ok(),
        };
        if changed {
            self.addresses_changed(interface);
        }
    }

    fn advertised_search(&mut self, interface: InterfaceId, mut domains: &[u8], lifetime: u32) {
        self.forget_expired_names();
        let expires = until(self.now, lifetime);
        while let Some(len) = name_len(domains) {
            let (name, rest) = domains.split_at(len);
            domains = rest;
            let known =
                self.search_domains.iter().position(|found| found.name() == name && found.interface == interface);
            let changed = match known {
                Some(place) if lifetime == 0 => {
                    remove_in_order(&mut self.search_domains, place);
                    true
                }
                Some(place) => {
                    self.search_domains[place].expires = expires;
                    false
                }
                None => {
                    let mut domain = AdvertisedDomain { interface, expires, len: len as u8, name: [0; 255] };
                    domain.name[..len].copy_from_slice(name);
                    lifetime != 0 && self.search_domains.push(domain).is_ok()
                }
            };
            if changed {
                self.addresses_changed(interface);
            }
        }
    }

    #[inline(never)] // Called from many places: one copy is enough.
    fn forget_expired_names(&mut self) {
        let now = self.now;
        while let Some(place) = self.dns_servers.iter().position(|server| server.expires <= now) {
            let interface = self.dns_servers[place].interface;
            remove_in_order(&mut self.dns_servers, place);
            self.addresses_changed(interface);
        }
        while let Some(place) = self.search_domains.iter().position(|domain| domain.expires <= now) {
            let interface = self.search_domains[place].interface;
            remove_in_order(&mut self.search_domains, place);
            self.addresses_changed(interface);
        }
    }

    /// Forgets what routers have told of an interface's network, but for routes and addresses.
    pub(super) fn forget_advertised_names(&mut self, interface: InterfaceId) {
        while let Some(place) = self.dns_servers.iter().position(|server| server.interface == interface) {
            remove_in_order(&mut self.dns_servers, place);
        }
        while let Some(place) = self.search_domains.iter().position(|domain| domain.interface == interface) {
            remove_in_order(&mut self.search_domains, place);
        }
    }

    /// RFC 4861 §7.3.3: "If a node changes from a router to a host, [...] remove that router from the Default Router List".
    pub(super) fn router_is_none_any_more(&mut self, interface: InterfaceId, address: IpAddr) {
        let is_through = |route: &&Route| {
            route.gateway == Some(address) && route.interface == interface && route.origin == RouteOrigin::Advertised
        };
        loop {
            let route = self.routes().find(is_through).copied();
            let Some(Ok(())) = route.map(|route| self.unset_route(&route)) else { break };
        }
        self.addresses_changed(interface);
    }
}

/// When a lifetime in seconds from now is over; all ones is never (RFC 4861 §4.6.2).
fn until(now: Instant, lifetime: u32) -> Instant {
    if lifetime == u32::MAX { Instant::FAR_FUTURE } else { now + Duration::from_secs(u64::from(lifetime)) }
}

/// Removes an entry; the others keep their order.
fn remove_in_order<T>(entries: &mut Storage<'_, T>, place: usize) {
    let last = entries.len() - 1;
    (place..last).for_each(|place| entries.swap(place, place + 1));
    entries.truncate(last);
}

/// Length of the name that bytes begin with, if it is one, and not the empty one that fills an option up.
fn name_len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0;
    loop {
        let label = usize::from(*bytes.get(len)?);
        len += 1 + label;
        match label {
            0 => return (1 < len && len <= 255).then_some(len),
            1..=63 => {}
            _ => return None,
        }
    }
}

impl Stack<'_> {
    /// The link-local address of an interface that has no address of its own to make one of.
    pub(super) fn stable_link_local(&self, interface: InterfaceId) -> Ipv6Addr {
        let network = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
        let station = MacAddr([0, 0, 0, 0, 0, interface.0]);
        with_identifier(network, stable_identifier(&self.address_secret, network, station, 0))
    }
}

/// The address with this interface identifier in a network of 64 bits.
#[inline(never)] // Called from two places: one copy is enough.
fn with_identifier(network: Ipv6Addr, identifier: u64) -> Ipv6Addr {
    let mut octets = network.octets();
    octets[8..].copy_from_slice(&identifier.to_be_bytes());
    Ipv6Addr::from(octets)
}

/// How long a temporary address may be preferred (RFC 8981 §3.4): TEMP_PREFERRED_LIFETIME without DESYNC_FACTOR, which is at most 0.4 of it, and here is made of
/// the address itself, as random, so that not all hosts change theirs at once.
fn longest_preferred(address: IpAddr) -> Duration {
    let longest = TEMP_PREFERRED_LIFETIME.as_micros();
    Duration::from_micros(longest - bits(address) as u64 % (longest / 5 * 2))
}

/// RFC 7217 §5: RID = F(Prefix, Net_Iface, Network_ID, DAD_Counter, secret_key).
fn stable_identifier(secret: &Generator, prefix: Ipv6Addr, mac: MacAddr, counter: u8) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    let interface = u64::from_be_bytes([counter, 0, a, b, c, d, e, f]);
    let network = (prefix.to_bits() >> 64) as u64;
    let mut identifier = secret.prf(&[network, interface, 0]);
    // "The resulting Interface Identifier SHOULD be compared against the reserved IPv6 Interface Identifiers".
    for attempt in 1..=u64::from(IDENTIFIER_RETRIES) {
        if is_free(identifier) {
            break;
        }
        identifier = secret.prf(&[network, interface, attempt]);
    }
    identifier
}

/// RFC 8981 §3.3.1.
fn random_identifier(random: &mut Generator) -> u64 {
    let mut identifier = random.next_u64();
    for _ in 0..IDENTIFIER_RETRIES {
        if is_free(identifier) {
            break;
        }
        identifier = random.next_u64();
    }
    identifier
}

/// Whether an interface identifier is not reserved (RFC 5453).
fn is_free(identifier: u64) -> bool {
    identifier != 0
        && identifier >> 24 != 0x02_005e_fffe
        && !(0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff).contains(&identifier)
}

#[cfg(test)]
mod tests {
    use super::is_free;

    /// The ranges of IANA's registry of reserved IPv6 interface identifiers (RFC 5453): the subnet-router anycast address (RFC 4291), Ethernet's block of which one is
    /// Proxy Mobile IPv6's (RFC 6543), and the subnet anycast addresses (RFC 2526); and what lies beside them.
    #[test]
    fn reserved_identifiers_are_not_free() {
        let reserved = [
            0x0000_0000_0000_0000..=0x0000_0000_0000_0000,
            0x0200_5eff_fe00_0000..=0x0200_5eff_feff_ffff,
            0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff_u64,
        ];
        for range in reserved {
            let (first, last) = (*range.start(), *range.end());
            let middle = first + (last - first) / 2;
            assert!(![first, middle, last].into_iter().any(is_free), "{range:x?}");
            assert!(is_free(first.wrapping_sub(1)) && is_free(last + 1), "{range:x?}");
        }
        assert!(!is_free(0x0200_5eff_fe00_5213), "RFC 6543");
    }
}
