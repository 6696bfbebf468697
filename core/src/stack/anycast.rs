//! The addresses that all routers of a network share: the subnet-router anycast addresses (RFC 4291 §2.6.1).
//!
//! Such an address is a network's prefix and nothing else. An interface that forwards has one for the network of each of its addresses, without anybody
//! saying so: it follows from the addresses, is claimed by nobody and so never asked for (RFC 4862 §5.4), and ends with forwarding or with the
//! address. A network of more than 104 bits has none, so that there is one group to listen to; on a link between two routers it would be the other's
//! address (RFC 6164 §5.1). What comes for it is taken as in Linux: ICMP and UDP are, and errors and echo replies leave from an address of the host's own;
//! TCP is not.

use core::net::{IpAddr, Ipv6Addr};

use super::Stack;
use super::neighbor_discovery::{ALL_ROUTERS, ALL_ROUTERS_OF_SITE};
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::time::{Duration, Instant};
use crate::wire::{AdvertisementFlags, MacAddr, ipv6};

/// RFC 4861 §10, MAX_ANYCAST_DELAY_TIME.
const MAX_ANYCAST_DELAY: Duration = Duration::from_secs(1);

/// An advertisement of an anycast address that is put off; for ever, if there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    due: Instant,
    target: Ipv6Addr,
    /// Who has asked.
    to: (Ipv6Addr, MacAddr),
}

impl Answer {
    pub(crate) const NONE: Answer = Answer {
        due: Instant::FAR_FUTURE,
        target: Ipv6Addr::UNSPECIFIED,
        to: (Ipv6Addr::UNSPECIFIED, MacAddr([0; 6])),
    };
}

/// Bits of the longest prefix that makes an anycast address.
const MAX_PREFIX: u8 = 104;
/// The group in which others ask for these addresses (RFC 4291 §2.7.1): the last 24 bits of all of them are 0.
const ANYCAST_GROUP: Ipv6Addr = ipv6::solicited_node_multicast(Ipv6Addr::UNSPECIFIED);

/// What a router listens to: the group of its anycast addresses, and of "the All-Routers multicast addresses" (RFC 4291 §2.8) those of the link and the site.
const ROUTER_GROUPS: [Ipv6Addr; 3] = [ANYCAST_GROUP, ALL_ROUTERS, ALL_ROUTERS_OF_SITE];

impl Stack<'_> {
    /// Whether this is the anycast address of a network that this host is a router of, for packets that come in by an interface.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn is_anycast(&self, interface: InterfaceId, address: Ipv6Addr) -> bool {
        // Most addresses are seen to be none without a look at ours.
        let [.., 0, 0, 0] = address.octets() else { return false };
        let is_of_any_link = !address.is_unicast_link_local();
        self.addresses.iter().any(|entry| {
            entry.prefix.length <= MAX_PREFIX
                && entry.prefix.network().address == IpAddr::V6(address)
                && entry.is_assigned()
                // Without a branch the loop is there once.
                && (entry.interface == interface) | is_of_any_link
                && self.forwards_ipv6(entry.interface)
        })
    }

    /// An interface forwards from now on, or no more. Without room for its groups, a switch that listens to reports may keep from it what is sent
    /// to them.
    pub(super) fn set_router_groups(&mut self, interface: InterfaceId, joins: bool) {
        for group in ROUTER_GROUPS {
            let _ = match joins {
                true => self.join_group(self.now, interface, IpAddr::V6(group)),
                false => self.leave_group(self.now, interface, IpAddr::V6(group)),
            };
        }
    }

    /// Answers a solicitation for an anycast address. RFC 4861 §7.2.7: "the sender should delay sending a response for a random time between 0 and
    /// MAX_ANYCAST_DELAY_TIME seconds", if others are asked as well. One answer waits; meanwhile others need not.
    pub(super) fn answer_for_anycast(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        target: Ipv6Addr,
        to: (Ipv6Addr, MacAddr),
        asks_others: bool,
    ) {
        let due = self.now + Duration::from_micros(self.neighbor_random.below(MAX_ANYCAST_DELAY.as_micros()));
        let answer = Answer { due, target, to };
        match self.interfaces.get_mut(u32::from(interface.0)) {
            Some(found) if asks_others && found.anycast_answer.due == Instant::FAR_FUTURE => {
                found.anycast_answer = answer;
                self.watch_interface(interface, due);
            }
            _ => self.send_anycast_answer(pool, interface, &answer),
        }
    }

    /// Sends the advertisement that is due; returns when to look again.
    pub(super) fn look_after_anycast(&mut self, pool: &mut Pool<'_>, interface: InterfaceId) -> Instant {
        let now = self.now;
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return Instant::FAR_FUTURE };
        let answer = found.anycast_answer;
        if answer.due <= now {
            found.anycast_answer.due = Instant::FAR_FUTURE;
            self.send_anycast_answer(pool, interface, &answer);
            return Instant::FAR_FUTURE;
        }
        answer.due
    }

    /// §7.2.7: "the Override flag in Neighbor Advertisements for an anycast address SHOULD always be set to 0". It is sent from an address of the
    /// host's own (§4.4: one that is "assigned to the interface").
    #[inline(never)] // Called from two places: one copy is enough.
    fn send_anycast_answer(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, answer: &Answer) {
        let Answer { target, to, .. } = *answer;
        // Forwarding may have been turned off.
        if self.is_anycast(interface, target)
            && let Some(IpAddr::V6(from)) = self.source_on(interface, IpAddr::V6(to.0))
        {
            let flags = AdvertisementFlags { router: true, solicited: !to.0.is_multicast(), override_: false };
            self.advertise_neighbor(pool, interface, target, from, to, flags);
        }
    }
}
