//! Groups: which of them an interface listens to.

use core::net::{IpAddr, Ipv4Addr};

use super::Stack;
use super::neighbor_discovery::{ALL_NODES, ALL_ROUTERS};
use crate::event::InterfaceId;

/// The group of all hosts on a link (RFC 1112 §4).
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

impl Stack<'_> {
    /// Whether packets to a group are for this host if they come from the interface: the groups that each node has, or each router (RFC 4291
    /// §2.8).
    pub(super) fn is_member(&self, interface: InterfaceId, group: IpAddr) -> bool {
        match group {
            IpAddr::V4(group) => group == ALL_HOSTS,
            IpAddr::V6(ALL_NODES) => true,
            IpAddr::V6(ALL_ROUTERS) => {
                let is_router = |found: &super::interface::Interface| found.forwarding.ipv6 || found.advertiser.is_on();
                self.interfaces.get(u32::from(interface.0)).is_some_and(is_router)
            }
            IpAddr::V6(group) => self.is_solicited_node_of(interface, group),
        }
    }
}
