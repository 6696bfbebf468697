//! Interfaces and their addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Stack;
use super::addresses::{AddressOptions, AddressOrigin};
use super::interface::Interface;
use super::nodes::Node;
use crate::address::{Prefix, is_link_local, scope_id};
use crate::config::{InterfaceConfig, Medium};
use crate::counters::DropReason;
use crate::error_text::{About, ErrorText, errors_with_text};
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::storage::Storage;
use crate::time::Instant;
use crate::wire::{MacAddr, ipv6};

/// The least MTU that IPv4 works with well (RFC 791 §3.2: every host takes 576).
const MIN_MTU: u16 = 576;

/// Why a configuration call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The MTU is below 576 bytes, or below the 1,280 of IPv6 where an IPv6 address was to be added.
    MtuTooSmall(u16),
    /// The VLAN's id is reserved (IEEE 802.1Q table 9-2), or the parent has that VLAN already.
    BadVlanId(u16),
    /// The interface's own address is a group address.
    MacNotUnicast(MacAddr),
    /// The address cannot be a host's: unspecified, multicast or broadcast.
    AddressNotUnicast(IpAddr),
    /// There is no such interface.
    NoSuchInterface(InterfaceId),
    /// There is no such address or route.
    NotFound(Prefix),
    /// The address or route is there already.
    Exists(Prefix),
    /// The gateway is not in any network of an interface.
    GatewayNotOnLink(IpAddr),
    /// The gateway is link-local, and which link is meant cannot be told.
    Scope(ScopeError),
    /// The gateway's family is not that of the destination.
    FamilyMismatch(IpAddr),
    /// The limit is reached; its name in [`Limits`](crate::Limits).
    LimitReached(&'static str),
}

impl ConfigError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            // The two are MIN_MTU and IPV6_MIN_MTU.
            ConfigError::MtuTooSmall(mtu) => {
                ErrorText::number("an MTU of {} bytes is too small: at least 68, and 1280 for IPv6", mtu as u32)
            }
            ConfigError::BadVlanId(id) => {
                ErrorText::number("{} is not the id of a VLAN (1 to 4094), or is taken", id as u32)
            }
            ConfigError::MacNotUnicast(mac) => {
                ErrorText::about("{} is a group address, not a station's", About::Mac(mac))
            }
            ConfigError::AddressNotUnicast(address) => {
                ErrorText::address("{} cannot be the address of a host", address)
            }
            ConfigError::NoSuchInterface(interface) => {
                ErrorText::number("there is no interface {}", interface.0 as u32)
            }
            ConfigError::NotFound(prefix) => ErrorText::prefix("{} is not configured", prefix),
            ConfigError::Exists(prefix) => ErrorText::prefix("{} is configured already", prefix),
            ConfigError::GatewayNotOnLink(gateway) => {
                ErrorText::address("the gateway {} is in no network of an interface", gateway)
            }
            ConfigError::Scope(error) => error.text(),
            ConfigError::FamilyMismatch(gateway) => {
                ErrorText::address("the gateway {} is of another family than the destination", gateway)
            }
            ConfigError::LimitReached(limit) => ErrorText::about("the limit `{}` is reached", About::Word(limit)),
        }
    }
}

errors_with_text!(ConfigError);

/// Why a link-local IPv6 address names nobody (RFC 4007 §6): the same address on another link is another host.
///
/// The scope id of a [`SocketAddrV6`](core::net::SocketAddrV6) says which link is meant: the number of the interface plus
/// one, as if it were the interface's index; 0 stands for the only one that has IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScopeError {
    /// There are several interfaces with IPv6, and no scope id says which is meant.
    Missing(Ipv6Addr),
    /// No interface has this scope id.
    Unknown(u32),
}

impl ScopeError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            ScopeError::Missing(address) => ErrorText::address(
                "{} is link-local, and this host has several links: a scope id has to say which is meant",
                IpAddr::V6(address),
            ),
            ScopeError::Unknown(scope) => ErrorText::number("the scope id {} is that of no interface", scope),
        }
    }
}

errors_with_text!(ScopeError);

impl Stack<'_> {
    /// Adds an interface. IPv6 gets its link-local address (RFC 4291 §2.5.6, from the MAC address, or without one as RFC 7217 says)
    /// where the MTU allows IPv6; the loopback interface gets `127.0.0.1/8` and `::1`.
    ///
    /// # Errors
    /// If the MTU, the MAC address or the VLAN's id cannot be, the VLAN's parent is no Ethernet interface, there is a loopback interface
    /// already, or a limit is reached.
    pub fn add_interface(&mut self, now: Instant, mut config: InterfaceConfig) -> Result<InterfaceId, ConfigError> {
        self.advance_clock(now);
        match config.medium {
            Medium::Ethernet if !config.mac.is_unicast() => return Err(ConfigError::MacNotUnicast(config.mac)),
            Medium::Ethernet | Medium::Ip => {}
            Medium::Vlan { parent, id } => {
                let found = self.interfaces.get(u32::from(parent.0)).filter(|found| found.is_ethernet());
                let found = found.ok_or(ConfigError::NoSuchInterface(parent))?;
                (config.mac, config.mtu) = (found.config.mac, config.mtu.min(found.config.mtu));
                if !(1..=4_094).contains(&id) || self.vlan(parent, id).is_some() {
                    return Err(ConfigError::BadVlanId(id));
                }
            }
            Medium::Loopback => {
                config.mtu = config.mtu.min(self.longest_datagram().min(u16::MAX.into()) as u16);
            }
        }
        if config.mtu < MIN_MTU {
            return Err(ConfigError::MtuTooSmall(config.mtu));
        }
        let key =
            self.interfaces.insert(Interface::new(config)).map_err(|_| ConfigError::LimitReached("interfaces"))?;
        let id = InterfaceId(key.index as u8);
        if let Err(error) = self.add_first_addresses(id, &config) {
            remove_all(&mut self.addresses, |entry| entry.interface == id);
            self.forget_groups(id);
            self.forget_routes(id);
            self.interfaces.remove(key.index);
            return Err(error);
        }
        match config.medium {
            Medium::Ethernet | Medium::Ip => {}
            Medium::Vlan { parent, .. } => self.count_vlans(parent),
            Medium::Loopback => {
                self.loopback = Some(id);
                self.invalidate_paths();
            }
        }
        self.begin_autoconfiguration(id);
        Ok(id)
    }

    /// The addresses that an interface has by itself.
    fn add_first_addresses(&mut self, id: InterfaceId, config: &InterfaceConfig) -> Result<(), ConfigError> {
        if config.medium == Medium::Loopback {
            self.add_address(self.now, id, Prefix { address: IpAddr::V4(Ipv4Addr::LOCALHOST), length: 8 })?;
        }
        if config.mtu < IPV6_MIN_MTU {
            return Ok(());
        }
        let (address, length) = match config.medium {
            Medium::Loopback => (Ipv6Addr::LOCALHOST, 128),
            Medium::Ip => (self.stable_link_local(id), 64),
            Medium::Ethernet | Medium::Vlan { .. } => (ipv6::link_local(config.mac), 64),
        };
        let options = AddressOptions { origin: AddressOrigin::LinkLocal, ..AddressOptions::default() };
        self.add_address_with(self.now, id, Prefix { address: IpAddr::V6(address), length }, options)
    }

    /// Notes how many VLANs there are on an interface.
    fn count_vlans(&mut self, parent: InterfaceId) {
        let is_of = |config: &InterfaceConfig| matches!(config.medium, Medium::Vlan { parent: of, .. } if of == parent);
        let count = self.interfaces().filter(|(_, config)| is_of(config)).count();
        if let Some(found) = self.interfaces.get_mut(u32::from(parent.0)) {
            found.vlans = count as u8;
        }
    }

    /// Removes an interface with its VLANs, addresses, routes and neighbours and with the packets that wait to leave through it.
    ///
    /// As in Linux, connections go on if there is another route from their local address; others time out, also if their
    /// local address was the interface's, and listeners stay. Pings under way time out. The interface's number is given to
    /// the next one that is [added](Self::add_interface).
    pub fn remove_interface(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        interface: InterfaceId,
    ) -> Result<(), ConfigError> {
        self.advance_clock(now);
        let Some(found) = self.interfaces.get(u32::from(interface.0)) else {
            return Err(ConfigError::NoSuchInterface(interface));
        };
        let medium = found.config.medium;
        if found.vlans > 0 {
            for index in 0..self.interfaces.capacity() as u32 {
                let medium = self.interfaces.get(index).map(|found| found.config.medium);
                if matches!(medium, Some(Medium::Vlan { parent, .. }) if parent == interface) {
                    self.remove_interface(pool, now, InterfaceId(index as u8))?;
                }
            }
        }
        if medium == Medium::Loopback {
            self.loopback = None;
        }
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return Ok(()) };
        found.advertiser.clear(pool, &mut self.account);
        for _ in 0..found.clear_control(pool, &mut self.account) {
            self.counters.drop(DropReason::NoInterface);
        }
        remove_all(&mut self.addresses, |entry| entry.interface == interface);
        self.forget_advertised_names(interface);
        self.forget_groups(interface);
        self.forget_routes(interface);
        // Sockets that were parked there are ready from now on, perhaps on this very interface's list, which is why the
        // list comes last.
        self.forget_neighbors(pool, interface);
        let Some(mut ready) = self.interfaces.get(u32::from(interface.0)).map(|found| found.ready) else {
            return Ok(());
        };
        self.interfaces.remove(u32::from(interface.0));
        self.deadlines.remove(self.nodes.number(Node::Interface(u32::from(interface.0))));
        if let Medium::Vlan { parent, .. } = medium {
            self.count_vlans(parent);
        }
        while let Some(number) = self.links.pop_front(&mut ready) {
            match self.nodes.node(number) {
                Node::Connection(index) => self.schedule_connection(index),
                Node::HalfOpen(index) => self.schedule_half_open(index),
                Node::Udp(index) => self.schedule_udp(pool, index),
                Node::TimeWait(_)
                | Node::Neighbor(_)
                | Node::Listener(_)
                | Node::Ping(_)
                | Node::Raw(_)
                | Node::Route(_)
                | Node::Reassembly(_)
                | Node::Interface(_)
                | Node::PendingFlow(_)
                | Node::Group(_)
                | Node::NatTimer
                | Node::TimeWaitTimer => {}
            }
        }
        Ok(())
    }

    /// An interface from whose list a socket can look for its path when that of its old path was removed: any will do.
    pub(super) fn any_interface(&self) -> Option<InterfaceId> {
        self.interfaces.iter().next().map(|(index, _)| InterfaceId(index as u8))
    }

    /// The interfaces with their configuration.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceId, &InterfaceConfig)> {
        self.interfaces.iter().map(|(index, interface)| (InterfaceId(index as u8), &interface.config))
    }

    /// Bytes that [`transmit`](Self::transmit) may need for a frame of this interface.
    pub fn frame_capacity(&self, interface: InterfaceId) -> usize {
        self.interfaces.get(u32::from(interface.0)).map_or(0, Interface::frame_capacity)
    }

    pub(super) fn mtu(&self, interface: InterfaceId) -> u16 {
        self.interfaces.get(u32::from(interface.0)).map_or(MIN_MTU, |found| found.config.mtu)
    }

    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn mac(&self, interface: InterfaceId) -> MacAddr {
        self.interfaces.get(u32::from(interface.0)).map_or(MacAddr([0; 6]), |found| found.config.mac)
    }

    /// The link that `remote` is on if its address is link-local: what its scope id says, else that of our link-local
    /// address `local`, else the only one there is.
    pub(super) fn link_to(&self, remote: SocketAddr, local: Option<IpAddr>) -> Result<Option<InterfaceId>, ScopeError> {
        let SocketAddr::V6(remote) = remote else { return Ok(None) };
        match remote.scope_id() {
            _ if !is_link_scope(*remote.ip()) => Ok(None),
            0 if remote.ip().is_multicast() => Ok(None),
            0 => {
                let local = local.filter(|local| is_link_local(*local));
                let mut link = None;
                for entry in self.addresses.iter() {
                    let is_meant = match local {
                        Some(local) => entry.prefix.address == local,
                        None => {
                            entry.is_assigned()
                                && entry.prefix.address.is_ipv6()
                                && Some(entry.interface) != self.loopback
                        }
                    };
                    if is_meant && link.is_some_and(|link| link != entry.interface) {
                        return Err(ScopeError::Missing(*remote.ip()));
                    }
                    if is_meant {
                        link = Some(entry.interface);
                    }
                }
                Ok(link)
            }
            scope => {
                let mut known = self.interfaces().map(|(interface, _)| interface);
                let named = known.find(|interface| scope_id(Some(*interface)) == scope);
                named.map(Some).ok_or(ScopeError::Unknown(scope))
            }
        }
    }
}

/// Removes an entry; the last one takes its place.
pub(super) fn swap_remove<T>(entries: &mut Storage<'_, T>, place: usize) {
    let last = entries.len() - 1;
    entries.swap(place, last);
    entries.truncate(last);
}

/// Removes the entries for which `goes` holds.
fn remove_all<T>(entries: &mut Storage<'_, T>, goes: impl Fn(&T) -> bool) {
    while let Some(place) = entries.iter().position(&goes) {
        swap_remove(entries, place);
    }
}

/// RFC 8200 §5.
pub(super) const IPV6_MIN_MTU: u16 = 1280;

/// Whether the destination is more than one station.
pub(super) fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_broadcast() || address.is_multicast(),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

/// Whether the address, or the group, is known on one link only.
pub(super) fn is_link_scope(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local() || (address.segments()[0] & 0xff0f) == 0xff02
}
