//! Redirects: a router says who is nearer to a destination (RFC 1122 §3.2.2.2, RFC 4861 §8). What a host believes of it is a route to that destination alone,
//! for a while.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Stack;
use super::icmp::Quoted;
use super::ip_input::{Cast, Packet};
use super::neighbor::NeighborState;
use super::routes::{Route, RouteOrigin};
use crate::address::{Prefix, is_unicast};
use crate::counters::DropReason;
use crate::pool::Pool;
use crate::time::Duration;
use crate::wire::NdpOptions;

/// How long a host believes a redirect, for which RFC 4861 has no limit.
const REDIRECT_LIFETIME: Duration = Duration::from_secs(600);

impl Stack<'_> {
    /// RFC 1122 §3.2.2.2. Redirects for a network count for the host, since a host cannot know the network's mask.
    #[cold]
    pub(super) fn redirected_v4(
        &mut self,
        packet: &Packet<'_>,
        code: u8,
        gateway: Ipv4Addr,
        quoted: Option<Quoted<'_>>,
    ) {
        let is_broadcast = self.is_directed_broadcast(gateway);
        let (interface, gateway) = (packet.interface, IpAddr::V4(gateway));
        let is_host = self.interfaces.get(u32::from(interface.0)).is_some_and(|found| !found.forwarding.ipv4);
        // Discarded "if the new gateway address it specifies is not on the same connected (sub-) net through which the Redirect arrived".
        let is_near = is_unicast(gateway) && !is_broadcast && self.is_on_link(interface, gateway);
        let quoted = quoted.filter(|quoted| self.is_local(quoted.source) && packet.cast == Cast::Unicast);
        match quoted {
            Some(quoted)
                if is_host && is_near && code <= 3 && self.is_redirected(packet, quoted.destination, gateway) =>
            {
                self.counters.redirects_received += 1;
            }
            _ => self.counters.drop(DropReason::IcmpIgnored),
        }
    }

    /// RFC 4861 §8.3, after the checks of §8.1 that a host can make of the message alone.
    pub(super) fn redirected_v6(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        target: Ipv6Addr,
        destination: Ipv6Addr,
        options: &[u8],
    ) {
        let interface = packet.interface;
        let (to, target) = (IpAddr::V6(destination), IpAddr::V6(target));
        // §8.1: the target is "a link-local address (when redirected to a router)" or the destination.
        let is_router = matches!(target, IpAddr::V6(target) if target.is_unicast_link_local());
        // A router finds its routes elsewhere (§8.2).
        let is_host = !self.forwards_ipv6(interface);
        if !is_host || !(is_router || target == to) || !self.is_redirected(packet, to, target) {
            self.counters.drop(DropReason::NeighborDiscoveryInvalid);
            return;
        }
        self.counters.redirects_received += 1;
        if let Some(mac) = NdpOptions::new(options).target_link_layer_address().filter(|mac| mac.is_unicast()) {
            let known = self.neighbors.find(&self.hash_secret, interface, target);
            self.learn(pool, interface, target, mac, known, NeighborState::Stale, true);
            let entry = self.neighbors.find(&self.hash_secret, interface, target);
            if let Some(neighbor) = entry.and_then(|entry| self.neighbors.get_mut(entry)) {
                // "If the Target Address is not the same as the Destination Address, the host MUST set IsRouter to TRUE for the target."
                neighbor.is_router |= target != to;
            }
        }
    }

    /// Packets to a destination go by `target` from now on, if "the source of the Redirect is [...] the current first-hop gateway for the
    /// specified destination" (RFC 1122 §3.2.2.2, RFC 4861 §8.1). Without room for the route, they go on as they did.
    fn is_redirected(&mut self, packet: &Packet<'_>, to: IpAddr, target: IpAddr) -> bool {
        let interface = packet.interface;
        let is_of_router = self.way_to(to, None) == Some((interface, packet.source));
        if !is_of_router || to.is_multicast() || self.is_local(target) {
            return false;
        }
        let route = Route {
            gateway: (target != to).then_some(target),
            origin: RouteOrigin::Redirected,
            expires: self.now + REDIRECT_LIFETIME,
            ..Route::on_link(interface, Prefix::host(to))
        };
        if !self.is_set_by_hand(&route) && self.set_route(route).is_ok() {
            self.invalidate_paths();
        }
        true
    }
}
