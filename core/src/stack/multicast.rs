//! Groups: which of them an interface listens to, for the host and for its UDP sockets (RFC 3376 §2 and §3, RFC 3810 §3 and §4).
//!
//! What an interface listens to is merged from what was joined for the whole host and what the sockets' filters want; how routers are told is in
//! [`group_reports`](super::group_reports). A socket that has joined a group receives what its own filter allows; one that has not receives what is sent
//! to groups that the host has joined, or that every node has.

use core::net::{IpAddr, Ipv4Addr};

use super::Stack;
use super::group_querier::Listeners;
use super::group_reports::Pending;
use super::interface::Interface;
use super::neighbor_discovery::{ALL_NODES, ALL_ROUTERS};
use super::nodes::Node;
use super::source_filter::{MAX_SOURCES, SourceFilter, is_source_specific};
use crate::address::words;
use crate::error_text::{ErrorText, errors_with_text};
use crate::event::{InterfaceId, UdpHandle};
use crate::hash_index::{Bucket, HashIndex};
use crate::slab::{Slab, Slot};
use crate::storage::Storage;
use crate::time::Instant;
use crate::wire::ipv6;

/// The group of all hosts on a link (RFC 1112 §4).
pub(super) const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// Why a group is not joined or left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupError {
    /// There is no such interface.
    NoSuchInterface(InterfaceId),
    /// The socket is closed.
    NoSuchSocket,
    /// The address is that of a host.
    NotMulticast(IpAddr),
    /// A source is not the address of a host, or not of the group's family.
    BadSource(IpAddr),
    /// More sources than a filter can have.
    TooManySources,
    /// The group is for source-specific multicast: its sources must be named (RFC 4604 §2).
    SourcesNeeded(IpAddr),
    /// [`Limits::groups`](crate::Limits::groups) or [`Limits::memberships`](crate::Limits::memberships) is reached.
    LimitReached,
    /// The group was not joined.
    NotMember(IpAddr),
}

impl GroupError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            GroupError::NoSuchInterface(interface) => ErrorText::number("there is no interface {}", interface.0 as u32),
            GroupError::NoSuchSocket => ErrorText::plain("the socket is closed"),
            GroupError::NotMulticast(address) => ErrorText::address("{} is no group", address),
            GroupError::BadSource(address) => ErrorText::address("{} is no source for the group", address),
            GroupError::TooManySources => ErrorText::number("a filter has at most {} sources", MAX_SOURCES as u32),
            GroupError::SourcesNeeded(group) => ErrorText::address("{} is joined with the sources to listen to", group),
            GroupError::LimitReached => ErrorText::plain("the limit `groups` or `memberships` is reached"),
            GroupError::NotMember(group) => ErrorText::address("the group {} was not joined", group),
        }
    }
}

errors_with_text!(GroupError);

/// A group that an interface listens to, or has listened to until lately.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) interface: InterfaceId,
    pub(super) address: IpAddr,
    /// How often it was joined for the whole host.
    joins: u16,
    /// What the interface listens to: nothing while its end is still being told.
    pub(super) filter: SourceFilter,
    /// What routers are still to be told.
    pub(super) pending: Pending,
    /// What others listen to.
    pub(super) listeners: Listeners,
}

/// What a UDP socket listens to of a group.
#[derive(Clone, Debug)]
pub struct Membership {
    socket: u32,
    /// The group's index.
    group: u32,
    filter: SourceFilter,
}

/// A table whose entries are found by a hash in constant time.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct HashedTable<'m, T> {
    pub(super) entries: Slab<'m, T>,
    index: HashIndex<'m>,
}

impl<'m, T> HashedTable<'m, T> {
    pub(super) fn new(entries: Storage<'m, Slot<T>>, buckets: Storage<'m, Bucket>, capacity: usize) -> Self {
        HashedTable { entries: Slab::new(entries, capacity), index: HashIndex::new(buckets, capacity) }
    }

    fn find(&self, hash: u32, is_it: impl Fn(&T) -> bool) -> Option<u32> {
        self.index.find(hash, |index| self.entries.get(index).is_some_and(&is_it))
    }

    fn insert(&mut self, hash: u32, entry: T) -> Result<u32, GroupError> {
        let key = self.entries.insert(entry).map_err(|_| GroupError::LimitReached)?;
        self.index.insert(hash, key.index);
        Ok(key.index)
    }

    fn remove(&mut self, hash: u32, index: u32) {
        self.index.remove(hash, index);
        self.entries.remove(index);
    }
}

impl Stack<'_> {
    /// Has an interface listen to a group, whatever the source, for the whole host: each UDP socket that has not joined the group itself
    /// receives what is sent to it. Routers are told. Calls are counted: each wants a [`leave_group`](Self::leave_group).
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn join_group(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) -> Result<(), GroupError> {
        self.advance_clock(now);
        self.check_group(interface, group, &SourceFilter::ALL)?;
        self.join(interface, group)
    }

    /// Joins a group, for which there is room.
    pub(super) fn join(&mut self, interface: InterfaceId, group: IpAddr) -> Result<(), GroupError> {
        let index = self.group_entry(interface, group)?;
        if let Some(entry) = self.groups.entries.get_mut(index) {
            entry.joins = entry.joins.saturating_add(1);
        }
        self.merge_filters(index);
        Ok(())
    }

    /// Ends what [`join_group`](Self::join_group) has begun; with the last one, routers are told.
    ///
    /// # Errors
    /// [`GroupError::NotMember`].
    pub fn leave_group(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) -> Result<(), GroupError> {
        self.advance_clock(now);
        let index = self.find_group(interface, group).ok_or(GroupError::NotMember(group))?;
        let Some(entry) = self.groups.entries.get_mut(index).filter(|entry| entry.joins > 0) else {
            return Err(GroupError::NotMember(group));
        };
        entry.joins -= 1;
        self.merge_filters(index);
        Ok(())
    }

    /// Says what a UDP socket listens to of a group on an interface (RFC 3376 §2, `IPMulticastListen`; RFC 3678 §4.2): from all sources, from some
    /// or from all but some, instead of what it listened to before. [`SourceFilter::NONE`] leaves the group, as closing the socket does. Routers are
    /// told of what changes for the interface.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn udp_set_filter(
        &mut self,
        now: Instant,
        socket: UdpHandle,
        interface: InterfaceId,
        group: IpAddr,
        filter: &SourceFilter,
    ) -> Result<(), GroupError> {
        self.advance_clock(now);
        let UdpHandle(key) = socket;
        self.udp_sockets.lookup(key).ok_or(GroupError::NoSuchSocket)?;
        let known = self.find_group(interface, group);
        let member = known.and_then(|index| Some((index, self.find_membership(key.index, index)?)));
        let index = match member {
            Some((index, member)) if filter.is_none() => {
                self.end_membership(member);
                index
            }
            None if filter.is_none() => return Err(GroupError::NotMember(group)),
            Some((index, member)) => {
                self.check_group(interface, group, filter)?;
                if let Some(entry) = self.memberships.entries.get_mut(member) {
                    entry.filter = *filter;
                }
                index
            }
            None => {
                self.check_group(interface, group, filter)?;
                if self.memberships.entries.is_full() {
                    return Err(GroupError::LimitReached);
                }
                let index = self.group_entry(interface, group)?;
                let hash = self.membership_hash(key.index, index);
                self.memberships.insert(hash, Membership { socket: key.index, group: index, filter: *filter })?;
                if let Some(found) = self.udp_sockets.get_mut(key.index) {
                    found.memberships += 1;
                }
                index
            }
        };
        self.merge_filters(index);
        Ok(())
    }

    /// What a UDP socket listens to of a group on an interface; [`SourceFilter::NONE`] if it has not joined it.
    pub fn udp_filter(&self, socket: UdpHandle, interface: InterfaceId, group: IpAddr) -> SourceFilter {
        let UdpHandle(key) = socket;
        let index = self.udp_sockets.lookup(key).and_then(|_| self.find_group(interface, group));
        let member = index.and_then(|index| self.find_membership(key.index, index));
        member.and_then(|member| self.memberships.entries.get(member)).map_or(SourceFilter::NONE, |found| found.filter)
    }

    /// The groups that were joined, those of the host's own IPv6 addresses (RFC 4291 §2.7.1) among them.
    pub fn groups(&self) -> impl Iterator<Item = (InterfaceId, IpAddr)> {
        let joined = self.groups.entries.iter().filter(|(_, entry)| !entry.filter.is_none());
        joined.map(|(_, entry)| (entry.interface, entry.address))
    }

    /// Whether a group can be joined with such a filter.
    fn check_group(&self, interface: InterfaceId, group: IpAddr, filter: &SourceFilter) -> Result<(), GroupError> {
        if !group.is_multicast() {
            return Err(GroupError::NotMulticast(group));
        }
        if let Some(source) = filter.sources().find(|source| source.is_ipv4() != group.is_ipv4()) {
            return Err(GroupError::BadSource(source));
        }
        // RFC 4604 §2: "a non-source-specific request to receive multicast traffic sent to an SSM destination address" is an error; so is one that would
        // make the interface ask for all.
        if is_source_specific(group) && self.interface_filter(interface, group).merged(filter).is_exclude {
            return Err(match filter.is_exclude {
                true => GroupError::SourcesNeeded(group),
                false => GroupError::TooManySources,
            });
        }
        // The rest is for the groups of the host's own addresses.
        let limit = self.groups.entries.capacity() - self.addresses.capacity();
        let joined = self.groups().filter(|&(interface, group)| !self.is_group_of_address(interface, group)).count();
        if joined >= limit && !self.is_joined(interface, group) {
            return Err(GroupError::LimitReached);
        }
        Ok(())
    }

    /// The entry of a group, which is new if need be.
    pub(super) fn group_entry(&mut self, interface: InterfaceId, group: IpAddr) -> Result<u32, GroupError> {
        if self.interfaces.get(u32::from(interface.0)).is_none() {
            return Err(GroupError::NoSuchInterface(interface));
        }
        if let Some(index) = self.find_group(interface, group) {
            return Ok(index);
        }
        // One that is only still being told of, or that only others listen to, makes room.
        if self.groups.entries.is_full() {
            let left = self.groups.entries.iter().find(|(_, entry)| entry.filter.is_none()).map(|(index, _)| index);
            left.into_iter().for_each(|index| self.forget_group(index));
        }
        let hash = self.group_hash(interface, group);
        let (filter, pending, listeners) = (SourceFilter::NONE, Pending::NOTHING, Listeners::NONE);
        self.groups.insert(hash, Group { interface, address: group, joins: 0, filter, pending, listeners })
    }

    /// What the interface listens to of a group follows from who has joined it.
    fn merge_filters(&mut self, index: u32) {
        let Some(entry) = self.groups.entries.get(index) else { return };
        let of_host = if entry.joins > 0 { SourceFilter::ALL } else { SourceFilter::NONE };
        let members = self.memberships.entries.iter().filter(|(_, member)| member.group == index);
        let filter = members.fold(of_host, |merged, (_, member)| merged.merged(&member.filter));
        self.group_changes(index, filter);
    }

    /// Whether packets to a group are for this host if they come from the interface.
    pub(super) fn is_member(&self, interface: InterfaceId, group: IpAddr) -> bool {
        self.is_group_of_node(interface, group) || self.is_joined(interface, group)
    }

    /// Whether each node has the group, or each router and this is one (RFC 4291 §2.8).
    fn is_group_of_node(&self, interface: InterfaceId, group: IpAddr) -> bool {
        let is_router = |found: &Interface| found.forwarding.ipv6 || found.advertiser.is_on();
        match group {
            IpAddr::V4(ALL_HOSTS) | IpAddr::V6(ALL_NODES) => true,
            IpAddr::V6(ALL_ROUTERS) => self.interfaces.get(u32::from(interface.0)).is_some_and(is_router),
            _ => false,
        }
    }

    fn is_joined(&self, interface: InterfaceId, group: IpAddr) -> bool {
        let entry = self.find_group(interface, group).and_then(|index| self.groups.entries.get(index));
        entry.is_some_and(|entry| !entry.filter.is_none())
    }

    /// What an interface listens to of a group: what routers are told (RFC 3376 §3.2).
    pub fn interface_filter(&self, interface: InterfaceId, group: IpAddr) -> SourceFilter {
        let entry = self.find_group(interface, group).and_then(|index| self.groups.entries.get(index));
        entry.map_or(SourceFilter::NONE, |entry| entry.filter)
    }

    /// Whether a UDP socket listens to what `source` sends to a group.
    pub(super) fn listens_to(&self, socket: u32, interface: InterfaceId, group: IpAddr, source: IpAddr) -> bool {
        let index = self.find_group(interface, group);
        let member = index.and_then(|index| self.memberships.entries.get(self.find_membership(socket, index)?));
        match member {
            Some(member) => member.filter.allows(source),
            None => {
                let of_host =
                    index.and_then(|index| self.groups.entries.get(index)).is_some_and(|entry| entry.joins > 0);
                of_host || self.is_group_of_node(interface, group)
            }
        }
    }

    /// Whether it is the solicited-node group of an address of the interface's.
    fn is_group_of_address(&self, interface: InterfaceId, group: IpAddr) -> bool {
        self.addresses.iter().filter(|own| own.interface == interface).any(|own| match own.prefix.address {
            IpAddr::V6(address) => group == IpAddr::V6(ipv6::solicited_node_multicast(address)),
            IpAddr::V4(_) => false,
        })
    }

    fn group_hash(&self, interface: InterfaceId, group: IpAddr) -> u32 {
        let [a, b] = words(group);
        self.hash_secret.hash(&[u64::from(interface.0), a, b])
    }

    fn membership_hash(&self, socket: u32, group: u32) -> u32 {
        self.hash_secret.hash(&[u64::from(socket), u64::from(group)])
    }

    pub(super) fn find_group(&self, interface: InterfaceId, group: IpAddr) -> Option<u32> {
        let is_it = |entry: &Group| entry.address == group && entry.interface == interface;
        self.groups.find(self.group_hash(interface, group), is_it)
    }

    fn find_membership(&self, socket: u32, group: u32) -> Option<u32> {
        let is_it = |member: &Membership| member.socket == socket && member.group == group;
        self.memberships.find(self.membership_hash(socket, group), is_it)
    }

    pub(super) fn forget_group(&mut self, index: u32) {
        let Some(&Group { interface, address, .. }) = self.groups.entries.get(index) else { return };
        let hash = self.group_hash(interface, address);
        self.groups.remove(hash, index);
        self.deadlines.remove(self.nodes.number(Node::Group(index)));
    }

    fn end_membership(&mut self, member: u32) {
        let Some(&Membership { socket, group, .. }) = self.memberships.entries.get(member) else { return };
        let hash = self.membership_hash(socket, group);
        self.memberships.remove(hash, member);
        if let Some(found) = self.udp_sockets.get_mut(socket) {
            found.memberships -= 1;
        }
    }

    /// Ends the memberships for which `ends` holds; what the interfaces listen to follows.
    fn end_memberships(&mut self, ends: impl Fn(&Membership) -> bool) {
        for member in 0..self.memberships.entries.capacity() as u32 {
            let found = self.memberships.entries.get(member).filter(|found| ends(found));
            if let Some(group) = found.map(|found| found.group) {
                self.end_membership(member);
                self.merge_filters(group);
            }
        }
    }

    /// A socket that is about to close leaves its groups.
    pub(super) fn leave_all_groups(&mut self, socket: u32) {
        if self.udp_sockets.get(socket).is_some_and(|found| found.memberships > 0) {
            self.end_memberships(|member| member.socket == socket);
        }
    }

    /// Forgets the groups of an interface that goes.
    pub(super) fn forget_groups(&mut self, interface: InterfaceId) {
        for index in 0..self.groups.entries.capacity() as u32 {
            if self.groups.entries.get(index).is_some_and(|entry| entry.interface == interface) {
                self.end_memberships(|member| member.group == index);
                self.forget_group(index);
            }
        }
    }
}
