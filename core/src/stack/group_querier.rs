//! The router's side of groups: who on an interface's network listens to what (RFC 3376 §6, RFC 3810 §7, and of the older versions RFC 2236 §3, RFC 2710 §4), as far as
//! switches that snoop need a router which asks, and an application wants to know. Sources are not kept: a group is listened to or not.
//!
//! A group that others listen to is an entry of the same table as our own groups, which go before when that is full.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Stack;
use super::group_reports::{ROBUSTNESS, is_reported};
use super::ip_input::Packet;
use super::multicast::{ALL_HOSTS, GroupError};
use super::neighbor_discovery::ALL_NODES;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::time::{Duration, Instant};
use crate::wire::groups::{self, Report};

/// RFC 3376 §8.2 and §8.3, RFC 3810 §9.2 and §9.3: how often everybody is asked, and in which time there are answers.
const QUERY_INTERVAL: Duration = Duration::from_secs(125);
const QUERY_RESPONSE_INTERVAL: Duration = Duration::from_secs(10);
/// §8.6 and §8.7: a querier that begins asks so often, at this interval.
const STARTUP_QUERY_COUNT: u8 = ROBUSTNESS;
const STARTUP_QUERY_INTERVAL: Duration = Duration::from_micros(QUERY_INTERVAL.as_micros() / 4);
/// §8.4: how long a group is believed to be listened to.
const GROUP_MEMBERSHIP_INTERVAL: Duration = Duration::from_secs(2 * 125 + 10);
/// §8.5: after this time without a query of the one that asks, others ask.
const OTHER_QUERIER_PRESENT_INTERVAL: Duration = Duration::from_secs(2 * 125 + 5);
/// §8.8 and §8.9: who leaves a group may have been the last, so that the others are asked so often.
const LAST_MEMBER_QUERY_INTERVAL: Duration = Duration::from_secs(1);
const LAST_MEMBER_QUERY_COUNT: u8 = ROBUSTNESS;

/// An interface's part in it, for one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    /// When everybody is asked next; [`Instant::FAR_FUTURE`] if nobody is.
    next: Instant,
    /// Queries of the beginning that are left.
    startup: u8,
    /// Until when another router asks.
    other_until: Instant,
}

impl Asking {
    pub(crate) const OFF: Asking = Asking { next: Instant::FAR_FUTURE, startup: 0, other_until: Instant::ZERO };
}

/// What was heard of a group from others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listeners {
    /// Until when it counts as listened to; zero if it does not.
    pub(super) until: Instant,
    /// Questions whether anybody still does that are left, and when the next is due.
    queries: u8,
    query_due: Instant,
}

impl Listeners {
    pub(super) const NONE: Listeners = Listeners { until: Instant::ZERO, queries: 0, query_due: Instant::FAR_FUTURE };

    pub(super) fn due(&self) -> Instant {
        let end = if self.until > Instant::ZERO { self.until } else { Instant::FAR_FUTURE };
        self.query_due.min(end)
    }
}

impl Stack<'_> {
    /// Has an interface ask its network which groups are listened to, in both families, as a router does (RFC 3376 §6.1, RFC 3810 §7.1), or not any more. While another router
    /// with a lower address asks, it only listens to the answers (§6.6.2). Off by default.
    ///
    /// # Errors
    /// [`GroupError::NoSuchInterface`].
    pub fn set_group_querier(&mut self, now: Instant, interface: InterfaceId, is_on: bool) -> Result<(), GroupError> {
        self.advance_clock(now);
        let now = self.now;
        let found = self.interfaces.get_mut(u32::from(interface.0)).ok_or(GroupError::NoSuchInterface(interface))?;
        found.asking = [match is_on {
            true => Asking { next: now, startup: STARTUP_QUERY_COUNT, other_until: Instant::ZERO },
            false => Asking::OFF,
        }; 2];
        self.watch_interface(interface, if is_on { now } else { Instant::FAR_FUTURE });
        Ok(())
    }

    /// The groups that others are known to listen to, on interfaces that [ask](Self::set_group_querier) for them.
    pub fn group_listeners(&self) -> impl Iterator<Item = (InterfaceId, IpAddr)> {
        let heard = self.groups.entries.iter().filter(|(_, entry)| entry.listeners.until > self.now);
        heard.map(|(_, entry)| (entry.interface, entry.address))
    }

    /// Whether an interface listens to all reports, whatever the group.
    pub(super) fn is_group_querier(&self, interface: InterfaceId) -> bool {
        let found = self.interfaces.get(u32::from(interface.0));
        found.is_some_and(|found| found.asking[0].next < Instant::FAR_FUTURE)
    }

    /// Whether a message about groups is for us although the group that it was sent to is not.
    pub(super) fn hears_reports(&self, interface: InterfaceId, group: IpAddr) -> bool {
        group.is_multicast() && self.is_group_querier(interface)
    }

    /// Asks everybody if it is time; returns when to look again.
    pub(super) fn look_after_asking(&mut self, pool: &mut Pool<'_>, interface: InterfaceId) -> Instant {
        let now = self.now;
        let mut next = Instant::FAR_FUTURE;
        for is_ipv4 in [false, true] {
            let Some(found) = self.interfaces.get(u32::from(interface.0)) else { return next };
            let mut asking = found.asking[usize::from(is_ipv4)];
            if asking.next <= now {
                let is_asked = self.send_query(pool, interface, is_ipv4, None);
                asking.next = match (is_asked, asking.startup) {
                    // Without an address to ask from there is one soon.
                    (false, _) => now + LAST_MEMBER_QUERY_INTERVAL,
                    (true, 0 | 1) => now + QUERY_INTERVAL,
                    (true, _) => now + STARTUP_QUERY_INTERVAL,
                };
                asking.startup -= u8::from(is_asked && asking.startup > 0);
            }
            next = next.min(asking.next);
            if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
                found.asking[usize::from(is_ipv4)] = asking;
            }
        }
        next
    }

    /// Asks who listens to a group, or to any; false without an address to ask from.
    fn send_query(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        is_ipv4: bool,
        group: Option<IpAddr>,
    ) -> bool {
        let all = if is_ipv4 { IpAddr::V4(ALL_HOSTS) } else { IpAddr::V6(ALL_NODES) };
        let Some(source) = self.query_source(interface, all) else { return false };
        let max_response = group.map_or(QUERY_RESPONSE_INTERVAL, |_| LAST_MEMBER_QUERY_INTERVAL);
        let mut message = [0; groups::QUERY_LEN];
        let none = if is_ipv4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let interval = QUERY_INTERVAL.as_millis() / 1_000;
        let len = groups::emit_query(&mut message, group.unwrap_or(none), max_response, ROBUSTNESS, interval as u8);
        self.send_group_message(pool, interface, Some(source), group.unwrap_or(all), &mut message[..len]);
        true
    }

    /// The address that queries are from: of IPv6 the link-local one (RFC 3810 §5.1.14), once it is sure.
    fn query_source(&self, interface: InterfaceId, all: IpAddr) -> Option<IpAddr> {
        let source = self.source_on(interface, all)?;
        (source.is_ipv4() || self.is_sure_of(interface, source)).then_some(source)
    }

    /// RFC 3376 §6.6.2, RFC 3810 §7.6.2: of several routers the one with the lowest address asks.
    pub(super) fn other_querier(&mut self, packet: &Packet<'_>) {
        let all = if packet.source.is_ipv4() { IpAddr::V4(ALL_HOSTS) } else { IpAddr::V6(ALL_NODES) };
        let ours = self.query_source(packet.interface, all);
        let now = self.now;
        let Some(found) = self.interfaces.get_mut(u32::from(packet.interface.0)) else { return };
        let asking = &mut found.asking[usize::from(packet.source.is_ipv4())];
        // A switch that asks from no address is no router (RFC 4541 §2.1.1).
        let is_elected = !packet.source.is_unspecified() && ours.is_some_and(|ours| packet.source < ours);
        if asking.next < Instant::FAR_FUTURE && is_elected {
            asking.startup = 0;
            asking.other_until = now + OTHER_QUERIER_PRESENT_INTERVAL;
            asking.next = asking.other_until;
        }
    }

    /// Somebody on the network of an interface that asks has told what he listens to (RFC 3376 §6.4, §7.3; RFC 3810 §7.4, §8.3).
    pub(super) fn listeners_report(&mut self, packet: &Packet<'_>) {
        let (interface, now) = (packet.interface, self.now);
        for Report { group, is_joined } in groups::reports(packet.payload, packet.source.is_ipv4()) {
            if !group.is_multicast() || !is_reported(group) {
                continue;
            }
            if is_joined {
                if let Ok(index) = self.group_entry(interface, group)
                    && let Some(entry) = self.groups.entries.get_mut(index)
                {
                    entry.listeners = Listeners { until: now + GROUP_MEMBERSHIP_INTERVAL, ..entry.listeners };
                    self.watch_group(index);
                }
                continue;
            }
            let asking = self.interfaces.get(u32::from(interface.0)).map(|found| found.asking);
            let is_other = asking.is_some_and(|asking| asking[usize::from(group.is_ipv4())].other_until > now);
            let Some(index) = self.find_group(interface, group).filter(|_| !is_other) else { continue };
            let Some(entry) = self.groups.entries.get_mut(index) else { continue };
            let listeners = &mut entry.listeners;
            // Who is asked already is not asked anew.
            if listeners.until > now && listeners.queries == 0 {
                let last =
                    Duration::from_micros(LAST_MEMBER_QUERY_INTERVAL.as_micros() * u64::from(LAST_MEMBER_QUERY_COUNT));
                listeners.until = listeners.until.min(now + last);
                (listeners.queries, listeners.query_due) = (LAST_MEMBER_QUERY_COUNT, now);
                self.watch_group(index);
            }
        }
    }

    /// Asks about a group, or forgets who has listened to it, if it is time.
    pub(super) fn look_after_listeners(&mut self, pool: &mut Pool<'_>, index: u32) {
        let now = self.now;
        let Some(entry) = self.groups.entries.get_mut(index) else { return };
        let listeners = &mut entry.listeners;
        if listeners.until <= now {
            *listeners = Listeners::NONE;
        }
        if listeners.query_due <= now {
            listeners.queries -= 1;
            listeners.query_due =
                if listeners.queries > 0 { now + LAST_MEMBER_QUERY_INTERVAL } else { Instant::FAR_FUTURE };
            let (interface, group) = (entry.interface, entry.address);
            self.send_query(pool, interface, group.is_ipv4(), Some(group));
        }
    }
}
