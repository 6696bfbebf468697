//! Groups: which of them an interface listens to, and how routers are told: IGMP (RFC 2236, RFC 3376) and multicast listener discovery (RFC
//! 2710, RFC 3810), the host's side.
//!
//! A group is listened to whatever the source. Each group has a timer of its own, and what is due at once goes in one report.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Stack;
use super::interface::{ControlKind, Interface};
use super::ip_input::Packet;
use super::neighbor_discovery::{ALL_NODES, ALL_ROUTERS};
use super::nodes::Node;
use crate::address::words;
use crate::checksum;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::hash_index::{Bucket, HashIndex};
use crate::pool::Pool;
use crate::slab::{Slab, Slot};
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::ethernet::ethertype;
use crate::wire::groups::{self, GroupQuery, RecordKind, kind};
use crate::wire::{EthernetHeader, Ipv6Header, MacAddr, ethernet, ipv4, ipv6, protocol};

/// The group of all hosts on a link (RFC 1112 §4), and of all routers.
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_ROUTERS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// Where reports of IGMP version 3 go (RFC 3376 §4.2.14), and those of MLD version 2 (RFC 3810 §5.2.14).
const REPORTS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
const REPORTS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// RFC 3376 §8.1 and RFC 3810 §9.1: how often a change is told, unless a querier says otherwise.
const ROBUSTNESS: u8 = 2;
/// Unsolicited Report Interval: RFC 3376 §8.11 and RFC 3810 §9.11, and of the older versions (RFC 2236 §8.10, RFC 2710 §7.10).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const OLD_REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Older Version Querier Present Timeout (RFC 3376 §8.12): twice the query interval of 125 s, and 10 s.
const OLDER_QUERIER_TIMEOUT: Duration = Duration::from_secs(260);
/// Router alert, with a value of zero: IPv4's option (RFC 2113), and a hop-by-hop header with IPv6's (RFC 2711), which is followed by ICMPv6.
const ROUTER_ALERT_V4: [u8; 4] = [0x94, 4, 0, 0];
const ROUTER_ALERT_V6: [u8; 8] = [protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
/// Bytes of a report at most: with the headers it fits in any MTU.
const MAX_REPORT: usize = 508;
const MAX_HEADERS: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN + ROUTER_ALERT_V6.len();

/// Why a group is not joined or left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupError {
    /// There is no such interface.
    NoSuchInterface(InterfaceId),
    /// The address is that of a host.
    NotMulticast(IpAddr),
    /// [`Limits::groups`](crate::Limits::groups) is reached.
    LimitReached,
    /// The group was not joined.
    NotMember(IpAddr),
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupError::NoSuchInterface(interface) => write!(f, "there is no interface {}", interface.0),
            GroupError::NotMulticast(address) => write!(f, "{address} is no group"),
            GroupError::LimitReached => f.write_str("the limit `groups` is reached"),
            GroupError::NotMember(group) => write!(f, "the group {group} was not joined"),
        }
    }
}

impl core::error::Error for GroupError {}

/// A group that an interface listens to, or has listened to until lately.
#[derive(Clone, Debug)]
pub struct Group {
    interface: InterfaceId,
    address: IpAddr,
    /// How often it was joined; 0 while its end is still being told.
    joins: u16,
    /// How often the last change is still to be told.
    left: u8,
    /// When the next report is due.
    due: Instant,
}

/// All groups of a stack, found by interface and address in constant time.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct GroupTable<'m> {
    entries: Slab<'m, Group>,
    index: HashIndex<'m>,
}

impl<'m> GroupTable<'m> {
    pub(super) fn new(entries: Storage<'m, Slot<Group>>, buckets: Storage<'m, Bucket>, capacity: usize) -> Self {
        GroupTable { entries: Slab::new(entries, capacity), index: HashIndex::new(buckets, capacity) }
    }
}

/// Which queriers an interface has heard, for one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Querier {
    robustness: u8,
    /// Until when queriers of version 1, and of version 2 of IGMP, count as present.
    older_until: [Instant; 2],
}

impl Querier {
    pub(crate) const NONE: Querier = Querier { robustness: ROBUSTNESS, older_until: [Instant::ZERO; 2] };

    /// The version to speak, if the newest is `newest` (RFC 3376 §7.2.1, RFC 3810 §8.2.1).
    fn version(&self, now: Instant, newest: u8) -> u8 {
        match self.older_until {
            [first, _] if first > now => 1,
            [_, second] if second > now => 2,
            _ => newest,
        }
    }
}

/// The newest version of the family's protocol.
fn newest_version(is_ipv4: bool) -> u8 {
    if is_ipv4 { 3 } else { 2 }
}

impl Stack<'_> {
    /// Has an interface listen to a group, whatever the source, and tells the routers. Calls are counted: each wants a
    /// [`leave_group`](Self::leave_group).
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn join_group(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) -> Result<(), GroupError> {
        self.advance_clock(now);
        if !group.is_multicast() {
            return Err(GroupError::NotMulticast(group));
        }
        // The rest is for the groups of the host's own addresses.
        let limit = self.groups.entries.capacity() - self.addresses.capacity();
        let joined = self.groups().filter(|&(interface, group)| !self.is_group_of_address(interface, group)).count();
        if joined >= limit && !self.is_joined(interface, group) {
            return Err(GroupError::LimitReached);
        }
        self.join(interface, group)
    }

    /// Joins a group, for which there is room.
    pub(super) fn join(&mut self, interface: InterfaceId, group: IpAddr) -> Result<(), GroupError> {
        let Some(robustness) = self.querier(interface, group.is_ipv4()).map(|querier| querier.robustness) else {
            return Err(GroupError::NoSuchInterface(interface));
        };
        let known = self.find_group(interface, group);
        let index = match known {
            Some(index) => index,
            None => {
                // One that is only still being told of makes room.
                if self.groups.entries.is_full() {
                    let left = self.groups.entries.iter().find(|(_, entry)| entry.joins == 0).map(|(index, _)| index);
                    left.into_iter().for_each(|index| self.forget_group(index));
                }
                let entry = Group { interface, address: group, joins: 0, left: 0, due: Instant::FAR_FUTURE };
                let key = self.groups.entries.insert(entry).map_err(|_| GroupError::LimitReached)?;
                self.groups.index.insert(self.group_hash(interface, group), key.index);
                key.index
            }
        };
        let Some(entry) = self.groups.entries.get_mut(index) else { return Err(GroupError::LimitReached) };
        entry.joins = entry.joins.saturating_add(1);
        if entry.joins == 1 {
            entry.left = robustness;
            self.report_at(index, self.now);
        }
        Ok(())
    }

    /// Ends what [`join_group`](Self::join_group) has begun; with the last one, routers are told.
    ///
    /// # Errors
    /// [`GroupError::NotMember`].
    pub fn leave_group(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) -> Result<(), GroupError> {
        self.advance_clock(now);
        let robustness = self.querier(interface, group.is_ipv4()).map_or(ROBUSTNESS, |querier| querier.robustness);
        let index = self.find_group(interface, group).ok_or(GroupError::NotMember(group))?;
        let Some(entry) = self.groups.entries.get_mut(index).filter(|entry| entry.joins > 0) else {
            return Err(GroupError::NotMember(group));
        };
        entry.joins -= 1;
        if entry.joins == 0 {
            entry.left = robustness;
            self.report_at(index, self.now);
        }
        Ok(())
    }

    /// The groups that were joined, those of the host's own IPv6 addresses (RFC 4291 §2.7.1) among them.
    pub fn groups(&self) -> impl Iterator<Item = (InterfaceId, IpAddr)> {
        let joined = self.groups.entries.iter().filter(|(_, entry)| entry.joins > 0);
        joined.map(|(_, entry)| (entry.interface, entry.address))
    }

    /// Whether packets to a group are for this host if they come from the interface: the groups that each node has, or each router (RFC 4291
    /// §2.8), and those that were joined.
    pub(super) fn is_member(&self, interface: InterfaceId, group: IpAddr) -> bool {
        let is_router = |found: &Interface| found.forwarding.ipv6 || found.advertiser.is_on();
        match group {
            IpAddr::V4(ALL_HOSTS) | IpAddr::V6(ALL_NODES) => true,
            IpAddr::V6(ALL_ROUTERS) if self.interfaces.get(u32::from(interface.0)).is_some_and(is_router) => true,
            _ => self.is_joined(interface, group),
        }
    }

    fn is_joined(&self, interface: InterfaceId, group: IpAddr) -> bool {
        let entry = self.find_group(interface, group).and_then(|index| self.groups.entries.get(index));
        entry.is_some_and(|entry| entry.joins > 0)
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

    fn find_group(&self, interface: InterfaceId, group: IpAddr) -> Option<u32> {
        let is_it = |index| {
            let entry: Option<&Group> = self.groups.entries.get(index);
            entry.is_some_and(|entry| entry.address == group && entry.interface == interface)
        };
        self.groups.index.find(self.group_hash(interface, group), is_it)
    }

    fn forget_group(&mut self, index: u32) {
        let Some(Group { interface, address, .. }) = self.groups.entries.get(index).cloned() else { return };
        self.groups.index.remove(self.group_hash(interface, address), index);
        self.groups.entries.remove(index);
        self.deadlines.remove(self.nodes.number(Node::Group(index)));
    }

    /// Forgets the groups of an interface that goes.
    pub(super) fn forget_groups(&mut self, interface: InterfaceId) {
        for index in 0..self.groups.entries.capacity() as u32 {
            if self.groups.entries.get(index).is_some_and(|entry| entry.interface == interface) {
                self.forget_group(index);
            }
        }
    }

    fn querier(&mut self, interface: InterfaceId, is_ipv4: bool) -> Option<&mut Querier> {
        Some(&mut self.interfaces.get_mut(u32::from(interface.0))?.queriers[usize::from(is_ipv4)])
    }

    fn version(&mut self, interface: InterfaceId, is_ipv4: bool) -> u8 {
        let (now, newest) = (self.now, newest_version(is_ipv4));
        self.querier(interface, is_ipv4).map_or(newest, |querier| querier.version(now, newest))
    }

    fn report_at(&mut self, index: u32, at: Instant) {
        if let Some(entry) = self.groups.entries.get_mut(index) {
            entry.due = at;
            self.deadlines.set_no_later(self.nodes.number(Node::Group(index)), at);
        }
    }

    /// A group's report is due, and with it those of others of its interface and family that are due as well (RFC 3376 §5.1, §5.2).
    pub(super) fn group_timeout(&mut self, pool: &mut Pool<'_>, index: u32) {
        let Some(first) = self.groups.entries.get(index).cloned() else { return };
        if first.due > self.now {
            return self.report_at(index, first.due);
        }
        let (interface, is_ipv4) = (first.interface, first.address.is_ipv4());
        let version = self.version(interface, is_ipv4);
        if version < newest_version(is_ipv4) {
            self.report_simply(pool, &first, version);
            return self.reported(index, true);
        }
        let mut message = [0; MAX_REPORT];
        let (mut len, mut records) = (groups::REPORT_LEN, 0);
        for index in 0..self.groups.entries.capacity() as u32 {
            let Some(entry) = self.groups.entries.get(index) else { continue };
            let fits = len + groups::record_len(is_ipv4) <= MAX_REPORT;
            if entry.due > self.now || (entry.interface, entry.address.is_ipv4()) != (interface, is_ipv4) || !fits {
                continue;
            }
            if is_reported(entry.address) {
                let kind = match (entry.joins, entry.left) {
                    (0, _) => RecordKind::ToInclude,
                    (_, 0) => RecordKind::IsExclude,
                    _ => RecordKind::ToExclude,
                };
                len += groups::emit_record(&mut message[len..], kind, entry.address);
                records += 1;
            }
            self.reported(index, false);
        }
        if records > 0 {
            groups::emit_report_header(&mut message, is_ipv4, records);
            let to = if is_ipv4 { IpAddr::V4(REPORTS_V4) } else { IpAddr::V6(REPORTS_V6) };
            self.send_report(pool, interface, to, &mut message[..len]);
        }
    }

    /// A report or leave of an older version (RFC 2236 §3, RFC 2710 §4).
    fn report_simply(&mut self, pool: &mut Pool<'_>, group: &Group, version: u8) {
        if !is_reported(group.address) {
            return;
        }
        let (kind, to) = match (group.address, group.joins, version) {
            // Version 1 of IGMP has no leave.
            (IpAddr::V4(_), 0, 1) => return,
            (IpAddr::V4(_), 0, _) => (kind::IGMP_LEAVE, IpAddr::V4(ALL_ROUTERS_V4)),
            (IpAddr::V4(_), _, 1) => (kind::IGMP_REPORT_V1, group.address),
            (IpAddr::V4(_), ..) => (kind::IGMP_REPORT_V2, group.address),
            (IpAddr::V6(_), 0, _) => (kind::MLD_DONE, IpAddr::V6(ALL_ROUTERS)),
            (IpAddr::V6(_), ..) => (kind::MLD_REPORT_V1, group.address),
        };
        let mut message = [0; groups::MLD_LEN];
        let len = groups::emit_simple(&mut message, kind, group.address);
        self.send_report(pool, group.interface, to, &mut message[..len]);
    }

    /// A group was reported: perhaps to be told again after a random time, since reports get lost.
    fn reported(&mut self, index: u32, simply: bool) {
        let Some(entry) = self.groups.entries.get_mut(index) else { return };
        entry.due = Instant::FAR_FUTURE;
        // A leave of an older version is said once.
        entry.left = if simply && entry.joins == 0 { 0 } else { entry.left.saturating_sub(1) };
        let (left, joins) = (entry.left, entry.joins);
        if left > 0 {
            let most = if simply { OLD_REPORT_INTERVAL } else { REPORT_INTERVAL };
            let wait = Duration::from_micros(self.neighbor_random.below(most.as_micros()));
            self.report_at(index, self.now + wait);
        } else if joins == 0 {
            self.forget_group(index);
        }
    }

    /// Sends a message that routers look at, whomever it is for (RFC 2113, RFC 2711).
    fn send_report(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, to: IpAddr, message: &mut [u8]) {
        let found = self.interfaces.get(u32::from(interface.0));
        if !found.is_some_and(|found| found.config.reports_groups) {
            return;
        }
        let source = self.source_on(interface, to);
        let mut headers = [0; MAX_HEADERS];
        let at = ethernet::HEADER_LEN;
        let (ethertype, len) = match to {
            IpAddr::V4(to) => {
                let sum = checksum::sum(message).finish();
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                // RFC 3376 §4.2.13: without an address yet, from 0.0.0.0.
                let source = match source {
                    Some(IpAddr::V4(source)) => source,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                let len = ipv4::HEADER_LEN + ROUTER_ALERT_V4.len();
                let header = &mut headers[at..at + len];
                let [high, low] = ((len + message.len()) as u16).to_be_bytes();
                // RFC 3376 §4: "a Type of Service value of 0xc0", a TTL of 1, and an identification of no meaning with DF set.
                header[..12].copy_from_slice(&[0x46, 0xc0, high, low, 0, 0, 0x40, 0, 1, protocol::IGMP, 0, 0]);
                header[12..16].copy_from_slice(&source.octets());
                header[16..20].copy_from_slice(&to.octets());
                header[20..].copy_from_slice(&ROUTER_ALERT_V4);
                let sum = checksum::sum(header).finish();
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                (ethertype::IPV4, len)
            }
            IpAddr::V6(to) => {
                // RFC 3810 §5: from the link-local address, or from none while that is not sure (RFC 3590).
                let source = match source {
                    Some(IpAddr::V6(source)) if source.is_unicast_link_local() => source,
                    _ => Ipv6Addr::UNSPECIFIED,
                };
                let source =
                    if self.is_sure_of(interface, IpAddr::V6(source)) { source } else { Ipv6Addr::UNSPECIFIED };
                let (from, len) = (IpAddr::V6(source), message.len());
                let mut sum = checksum::pseudo_header(from, IpAddr::V6(to), protocol::ICMPV6, len as u32);
                sum.add_bytes(message);
                message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
                let header = Ipv6Header {
                    traffic_class: 0,
                    flow_label: 0,
                    payload_len: (ROUTER_ALERT_V6.len() + len) as u16,
                    next_header: protocol::HOP_BY_HOP,
                    hop_limit: 1,
                    source,
                    destination: to,
                };
                header.emit(&mut headers[at..]);
                headers[at + ipv6::HEADER_LEN..].copy_from_slice(&ROUTER_ALERT_V6);
                (ethertype::IPV6, ipv6::HEADER_LEN + ROUTER_ALERT_V6.len())
            }
        };
        let link = EthernetHeader { destination: MacAddr::for_multicast(to), source: self.mac(interface), ethertype };
        link.emit(&mut headers);
        self.queue_control(pool, interface, ControlKind::Neighbor, &[&headers[..at + len], message]);
    }

    pub(super) fn igmp_input(&mut self, packet: &Packet<'_>) {
        match GroupQuery::parse_igmp(packet.payload) {
            Ok(query) => self.group_query(packet, &query),
            Err(crate::wire::WireError::BadFormat) => self.group_report(packet),
            Err(_) => self.counters.drop(DropReason::GroupMessageInvalid),
        }
    }

    /// An MLD message, whose sum is right.
    pub(super) fn mld_input(&mut self, packet: &Packet<'_>, kind: u8) {
        // RFC 3810 §6.2: what comes from no link-local address, has not a hop limit of 1, or no router alert, is dropped.
        let is_from_link = matches!(packet.source, IpAddr::V6(source) if source.is_unicast_link_local());
        let has_options = packet.whole.get(6) == Some(&protocol::HOP_BY_HOP);
        if !is_from_link || packet.hop_limit != 1 || !has_options {
            self.counters.drop(DropReason::GroupMessageInvalid);
        } else if kind != kind::MLD_QUERY {
            self.group_report(packet);
        } else if let Ok(query) = GroupQuery::parse_mld(packet.payload) {
            self.group_query(packet, &query);
        } else {
            self.counters.drop(DropReason::GroupMessageInvalid);
        }
    }

    /// RFC 3376 §5.2 and RFC 3810 §6.2: each group answers after a random time of its own if older versions are spoken (RFC 2236 §3), else all
    /// in one report.
    fn group_query(&mut self, packet: &Packet<'_>, query: &GroupQuery) {
        let (interface, now) = (packet.interface, self.now);
        let is_ipv4 = packet.source.is_ipv4();
        // RFC 3376 §9.1: a general query goes to all hosts, one about a group to that.
        let is_to_all = matches!(packet.destination, IpAddr::V4(ALL_HOSTS) | IpAddr::V6(ALL_NODES));
        if !packet.destination.is_multicast() || (query.group.is_none() && !is_to_all) {
            self.counters.drop(DropReason::GroupMessageInvalid);
            return;
        }
        let Some(querier) = self.querier(interface, is_ipv4) else { return };
        if query.version < newest_version(is_ipv4) {
            querier.older_until[usize::from(query.version - 1)] = now + OLDER_QUERIER_TIMEOUT;
        } else if query.robustness > 0 {
            querier.robustness = query.robustness;
        }
        let is_newest = querier.version(now, newest_version(is_ipv4)) == newest_version(is_ipv4);
        let most = query.max_response.as_micros();
        let common = now + Duration::from_micros(self.neighbor_random.below(most));
        for index in 0..self.groups.entries.capacity() as u32 {
            let Some(entry) = self.groups.entries.get(index) else { continue };
            let is_asked = query.group.is_none_or(|group| group == entry.address);
            if entry.interface != interface || entry.address.is_ipv4() != is_ipv4 || !is_asked || entry.joins == 0 {
                continue;
            }
            let due = entry.due;
            let at = match is_newest {
                true => common,
                false => now + Duration::from_micros(self.neighbor_random.below(most)),
            };
            // An answer that is due before that answers this question, too.
            if at < due {
                self.report_at(index, at);
            }
        }
    }

    /// RFC 2236 §3 and RFC 2710 §4: with older versions, one report of a group is enough, whoever sends it.
    fn group_report(&mut self, packet: &Packet<'_>) {
        let is_ipv4 = packet.source.is_ipv4();
        let group = groups::reported_group(packet.payload, is_ipv4);
        let version = self.version(packet.interface, is_ipv4);
        let index = group.and_then(|group| self.find_group(packet.interface, group));
        let entry = index.and_then(|index| self.groups.entries.get_mut(index));
        match entry.filter(|entry| entry.joins > 0 && entry.left == 0 && version < newest_version(is_ipv4)) {
            Some(entry) => entry.due = Instant::FAR_FUTURE,
            None => self.counters.drop(DropReason::IcmpIgnored),
        }
    }
}

/// RFC 2236 §6, RFC 2710 §5: the group of all nodes is never reported, nor are those of smaller scope than the link.
fn is_reported(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group != ALL_HOSTS,
        IpAddr::V6(group) => group != ALL_NODES && group.octets()[1] & 0x0f > 1,
    }
}
