//! How routers are told of groups: IGMP (RFC 2236, RFC 3376) and multicast listener discovery (RFC 2710, RFC 3810), the host's side. RFC
//! 9776 and RFC 9777, which replace the newest versions' documents, say the same.
//!
//! Each group has a timer of its own, for changes that are still to be told and for answers to routers; what is due at once goes in one report.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Stack;
use super::interface::ControlKind;
use super::ip_input::Packet;
use super::multicast::{ALL_HOSTS, Group};
use super::neighbor_discovery::{ALL_NODES, ALL_ROUTERS};
use super::nodes::Node;
use super::source_filter::{SourceFilter, SourceList, is_source_specific};
use crate::checksum;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::time::{Duration, Instant};
use crate::wire::ethernet::ethertype;
use crate::wire::groups::{self, GroupQuery, RecordKind, kind};
use crate::wire::{EthernetHeader, Ipv6Header, MacAddr, ethernet, ipv4, ipv6, protocol};

/// The group of all routers on a link.
const ALL_ROUTERS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// Where reports of IGMP version 3 go (RFC 3376 §4.2.14), and those of MLD version 2 (RFC 3810 §5.2.14).
const REPORTS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
const REPORTS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// RFC 3376 §8.1 and RFC 3810 §9.1: how often a change is told, unless a querier says otherwise.
pub(super) const ROBUSTNESS: u8 = 2;
/// Unsolicited Report Interval: RFC 3376 §8.11 and RFC 3810 §9.11, and of the older versions (RFC 2236 §8.10, RFC 2710 §7.10).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const OLD_REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Older Version Querier Present Timeout (RFC 3376 §8.12): twice the query interval of 125 s, and 10 s.
const OLDER_QUERIER_TIMEOUT: Duration = Duration::from_secs(260);
/// Router alert, with a value of zero: IPv4's option (RFC 2113), and a hop-by-hop header with IPv6's (RFC 2711), which is followed by ICMPv6.
const ROUTER_ALERT_V4: [u8; 4] = [0x94, 4, 0, 0];
const ROUTER_ALERT_V6: [u8; 8] = [protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
/// Bytes of a report at most: what is in the newest version's about one group fits, and with the headers that fits in any MTU, since IPv4's
/// addresses are shorter.
const MAX_REPORT: usize = 1_024;
const MAX_REPORT_V4: usize = 508;
const MAX_HEADERS: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN + ROUTER_ALERT_V6.len();

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

/// What routers are still to be told of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// How often changes are still to be told, and when next.
    left: u8,
    change_due: Instant,
    /// Whether all of the filter is told, and not only what has changed of its sources.
    whole: bool,
    /// The sources that have changed.
    changed: SourceList,
    /// When a router is answered.
    answer_due: Instant,
    /// The sources that it has asked for; none for all of the filter.
    asked: SourceList,
}

impl Pending {
    pub(super) const NOTHING: Pending = Pending {
        left: 0,
        change_due: Instant::FAR_FUTURE,
        whole: false,
        changed: SourceList::EMPTY,
        answer_due: Instant::FAR_FUTURE,
        asked: SourceList::EMPTY,
    };

    fn due(&self) -> Instant {
        self.change_due.min(self.answer_due)
    }
}

/// A report of the newest version that is being made.
struct Report {
    message: [u8; MAX_REPORT],
    len: usize,
    records: u16,
}

impl Report {
    fn push(&mut self, kind: RecordKind, group: IpAddr, sources: &SourceList) {
        self.len += groups::emit_record(&mut self.message[self.len..], kind, group, sources.as_slice());
        self.records += 1;
    }

    /// Adds what is due of a group.
    fn push_due(&mut self, group: &Group, now: Instant) {
        let Group { address, filter, pending, .. } = group;
        let is_change_due = pending.change_due <= now;
        if is_change_due && pending.whole {
            let kind = if filter.is_exclude { RecordKind::ToExclude } else { RecordKind::ToInclude };
            return self.push(kind, *address, &filter.list);
        }
        if is_change_due {
            // RFC 3376 §5.1: what is listened to now decides, and not how the source has changed.
            for (kind, allowed) in [(RecordKind::Allow, true), (RecordKind::Block, false)] {
                let sources = pending.changed.filtered(filter, allowed);
                if !sources.is_empty() {
                    self.push(kind, *address, &sources);
                }
            }
        }
        if pending.answer_due > now || filter.is_none() {
            return;
        }
        if pending.asked.is_empty() {
            let kind = if filter.is_exclude { RecordKind::IsExclude } else { RecordKind::IsInclude };
            return self.push(kind, *address, &filter.list);
        }
        // §5.2: of the sources that were asked for, those that are listened to.
        let sources = pending.asked.filtered(filter, true);
        if !sources.is_empty() {
            self.push(RecordKind::IsInclude, *address, &sources);
        }
    }
}

impl Stack<'_> {
    fn querier(&mut self, interface: InterfaceId, is_ipv4: bool) -> Option<&mut Querier> {
        Some(&mut self.interfaces.get_mut(u32::from(interface.0))?.queriers[usize::from(is_ipv4)])
    }

    fn version(&mut self, interface: InterfaceId, is_ipv4: bool) -> u8 {
        let (now, newest) = (self.now, newest_version(is_ipv4));
        self.querier(interface, is_ipv4).map_or(newest, |querier| querier.version(now, newest))
    }

    /// What an interface listens to of a group is from now on this; if that is a change, routers are told (RFC 3376 §5.1, RFC 3810 §6.1).
    pub(super) fn group_changes(&mut self, index: u32, filter: SourceFilter) {
        let now = self.now;
        let Some(entry) = self.groups.entries.get(index) else { return };
        let robustness = self
            .interfaces
            .get(u32::from(entry.interface.0))
            .map_or(ROBUSTNESS, |found| found.queriers[usize::from(entry.address.is_ipv4())].robustness);
        let Some(entry) = self.groups.entries.get_mut(index) else { return };
        let before = core::mem::replace(&mut entry.filter, filter);
        if before == filter {
            return;
        }
        let pending = &mut entry.pending;
        if pending.left == 0 {
            (pending.whole, pending.changed) = (false, SourceList::EMPTY);
        }
        // Also if the list of changes is too long.
        pending.whole |= before.is_exclude != filter.is_exclude;
        for (one, other) in [(&before, &filter), (&filter, &before)] {
            for &source in one.list.as_slice() {
                let is_change = !other.list.as_slice().contains(&source);
                pending.whole |= is_change && !pending.changed.insert(source);
            }
        }
        pending.left = robustness;
        pending.change_due = now;
        self.watch_group(index);
    }

    pub(super) fn watch_group(&mut self, index: u32) {
        let due = |entry: &Group| entry.pending.due().min(entry.listeners.due());
        let due = self.groups.entries.get(index).map_or(Instant::FAR_FUTURE, due);
        if due < Instant::FAR_FUTURE {
            self.deadlines.set_no_later(self.nodes.number(Node::Group(index)), due);
        }
    }

    /// A group's report is due, and with it those of others of its interface and family that are due as well (RFC 3376 §5.1, §5.2).
    pub(super) fn group_timeout(&mut self, pool: &mut Pool<'_>, index: u32) {
        let now = self.now;
        self.look_after_listeners(pool, index);
        let Some(&Group { interface, address, filter, pending, .. }) = self.groups.entries.get(index) else { return };
        if pending.due() > now {
            return self.keep_group(index);
        }
        let is_ipv4 = address.is_ipv4();
        let version = self.version(interface, is_ipv4);
        if version < newest_version(is_ipv4) {
            self.report_simply(pool, interface, address, !filter.is_none(), version);
            return self.reported(index, true);
        }
        let mut report = Report { message: [0; MAX_REPORT], len: groups::REPORT_LEN, records: 0 };
        let (room, longest) = match is_ipv4 {
            true => (MAX_REPORT_V4, groups::MAX_RECORDS_V4),
            false => (MAX_REPORT, groups::MAX_RECORDS_V6),
        };
        for index in 0..self.groups.entries.capacity() as u32 {
            let Some(entry) = self.groups.entries.get(index) else { continue };
            let is_of_report = (entry.interface, entry.address.is_ipv4()) == (interface, is_ipv4);
            if !is_of_report || entry.pending.due() > now {
                continue;
            }
            if report.len + longest > room {
                self.watch_group(index);
                continue;
            }
            if is_reported(entry.address) {
                report.push_due(entry, now);
            }
            self.reported(index, false);
        }
        if report.records > 0 {
            groups::emit_report_header(&mut report.message, is_ipv4, report.records);
            let to = if is_ipv4 { IpAddr::V4(REPORTS_V4) } else { IpAddr::V6(REPORTS_V6) };
            self.send_report(pool, interface, to, &mut report.message[..report.len]);
        }
    }

    /// A report or leave of an older version (RFC 2236 §3, RFC 2710 §4). They know no sources, so that RFC 4604 §2 forbids them for groups that have
    /// to have some.
    fn report_simply(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        group: IpAddr,
        is_joined: bool,
        version: u8,
    ) {
        if !is_reported(group) || is_source_specific(group) {
            return;
        }
        let (kind, to) = match (group, is_joined, version) {
            // Version 1 of IGMP has no leave.
            (IpAddr::V4(_), false, 1) => return,
            (IpAddr::V4(_), false, _) => (kind::IGMP_LEAVE, IpAddr::V4(ALL_ROUTERS_V4)),
            (IpAddr::V4(_), _, 1) => (kind::IGMP_REPORT_V1, group),
            (IpAddr::V4(_), ..) => (kind::IGMP_REPORT_V2, group),
            (IpAddr::V6(_), false, _) => (kind::MLD_DONE, IpAddr::V6(ALL_ROUTERS)),
            (IpAddr::V6(_), ..) => (kind::MLD_REPORT_V1, group),
        };
        let mut message = [0; groups::MLD_LEN];
        let len = groups::emit_simple(&mut message, kind, group);
        self.send_report(pool, interface, to, &mut message[..len]);
    }

    /// What was due of a group was reported: changes perhaps to be told again after a random time, since reports get lost.
    fn reported(&mut self, index: u32, simply: bool) {
        let now = self.now;
        let most = if simply { OLD_REPORT_INTERVAL } else { REPORT_INTERVAL };
        let Some(entry) = self.groups.entries.get_mut(index) else { return };
        let is_joined = !entry.filter.is_none();
        let pending = &mut entry.pending;
        if pending.answer_due <= now {
            (pending.answer_due, pending.asked) = (Instant::FAR_FUTURE, SourceList::EMPTY);
        }
        if pending.change_due <= now {
            // A leave of an older version is said once.
            pending.left = if simply && !is_joined { 0 } else { pending.left.saturating_sub(1) };
            let wait = Duration::from_micros(self.neighbor_random.below(most.as_micros()));
            pending.change_due = if pending.left > 0 { now + wait } else { Instant::FAR_FUTURE };
        }
        self.keep_group(index);
    }

    /// Forgets a group about which nothing is left to tell or to know.
    fn keep_group(&mut self, index: u32) {
        let Some(entry) = self.groups.entries.get(index) else { return };
        let is_over = entry.filter.is_none() && entry.pending.left == 0 && entry.listeners.until <= self.now;
        match is_over {
            true => self.forget_group(index),
            false => self.watch_group(index),
        }
    }

    /// Sends a message that routers look at, whomever it is for (RFC 2113, RFC 2711).
    fn send_report(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, to: IpAddr, message: &mut [u8]) {
        let found = self.interfaces.get(u32::from(interface.0));
        if found.is_some_and(|found| found.config.reports_groups) {
            let source = self.source_on(interface, to);
            self.send_group_message(pool, interface, source, to, message);
        }
    }

    /// Sends a report or a query.
    pub(super) fn send_group_message(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        source: Option<IpAddr>,
        to: IpAddr,
        message: &mut [u8],
    ) {
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
    fn group_query(&mut self, packet: &Packet<'_>, query: &GroupQuery<'_>) {
        let (interface, now) = (packet.interface, self.now);
        let is_ipv4 = packet.source.is_ipv4();
        // RFC 3376 §9.1: a general query goes to all hosts, one about a group to that.
        let is_to_all = matches!(packet.destination, IpAddr::V4(ALL_HOSTS) | IpAddr::V6(ALL_NODES));
        if !packet.destination.is_multicast() || (query.group.is_none() && !is_to_all) {
            self.counters.drop(DropReason::GroupMessageInvalid);
            return;
        }
        self.other_querier(packet);
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
            let Some(entry) = self.groups.entries.get_mut(index) else { continue };
            let is_asked = query.group.is_none_or(|group| group == entry.address);
            let is_here = entry.interface == interface && entry.address.is_ipv4() == is_ipv4;
            if !is_here || !is_asked || entry.filter.is_none() {
                continue;
            }
            let at = match is_newest {
                true => common,
                false => now + Duration::from_micros(self.neighbor_random.below(most)),
            };
            let pending = &mut entry.pending;
            // An answer that is due before that answers this question, too. If both are about some sources, it is about all of them; a list that is too long
            // is answered with all there is to tell.
            let answers_all = pending.answer_due < Instant::FAR_FUTURE && pending.asked.is_empty();
            let fits = query.sources().all(|source| pending.asked.insert(source));
            if answers_all || !fits || query.sources().next().is_none() {
                pending.asked = SourceList::EMPTY;
            }
            pending.answer_due = pending.answer_due.min(at);
            self.watch_group(index);
        }
    }

    /// RFC 2236 §3 and RFC 2710 §4: with older versions, one report of a group is enough, whoever sends it.
    fn group_report(&mut self, packet: &Packet<'_>) {
        let is_ipv4 = packet.source.is_ipv4();
        if self.is_group_querier(packet.interface) {
            self.listeners_report(packet);
        }
        let group = groups::reported_group(packet.payload, is_ipv4);
        let version = self.version(packet.interface, is_ipv4);
        let index = group.and_then(|group| self.find_group(packet.interface, group));
        let entry = index.and_then(|index| self.groups.entries.get_mut(index));
        match entry.filter(|_| version < newest_version(is_ipv4)) {
            Some(entry) => entry.pending.answer_due = Instant::FAR_FUTURE,
            None => self.counters.drop(DropReason::IcmpIgnored),
        }
    }
}

/// RFC 2236 §6, RFC 2710 §5: the group of all nodes is never reported, nor are those of smaller scope than the link.
pub(super) fn is_reported(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group != ALL_HOSTS,
        IpAddr::V6(group) => group != ALL_NODES && group.octets()[1] & 0x0f > 1,
    }
}
