//! Node numbers: one numbering of everything that can be on a list, have a deadline or be found by a hash.

use super::routes::entries_for;
use crate::config::Limits;

/// Where each table's entries begin in the numbering.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nodes {
    half_open: u32,
    time_wait: u32,
    neighbors: u32,
    listeners: u32,
    udp_sockets: u32,
    pings: u32,
    raw_sockets: u32,
    routes: u32,
    reassemblies: u32,
    interfaces: u32,
    pending_flows: u32,
    groups: u32,
    time_wait_timer: u32,
}

/// A node number taken apart: the table and the index in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Connection(u32),
    HalfOpen(u32),
    TimeWait(u32),
    Neighbor(u32),
    Listener(u32),
    Udp(u32),
    Ping(u32),
    Raw(u32),
    /// An entry of the table of routes.
    Route(u32),
    /// A datagram of which fragments have come.
    Reassembly(u32),
    /// An interface: its addresses, and what routers say of its network.
    Interface(u32),
    /// A flow about which an application decides.
    PendingFlow(u32),
    /// A group that an interface listens to.
    Group(u32),
    /// The timer of the flows whose addresses are translated.
    NatTimer,
    /// The timer of the oldest connection in TIME-WAIT.
    TimeWaitTimer,
}

impl Nodes {
    pub(crate) const fn new(limits: &Limits) -> Self {
        let half_open = limits.connections as u32;
        let time_wait = half_open + limits.syn_queue as u32;
        let neighbors = time_wait + limits.time_wait as u32;
        let listeners = neighbors + limits.neighbors as u32;
        let udp_sockets = listeners + limits.listeners as u32;
        let pings = udp_sockets + limits.udp_sockets as u32;
        let raw_sockets = pings + limits.pings as u32;
        let routes = raw_sockets + limits.raw_sockets as u32;
        let reassemblies = routes + entries_for(limits) as u32;
        let interfaces = reassemblies + limits.reassemblies as u32;
        // The timer of translation comes before this one.
        let pending_flows = interfaces + limits.interfaces as u32;
        let groups = pending_flows + limits.pending_flows as u32;
        let time_wait_timer = groups + limits.all_groups() as u32 + 1;
        Nodes {
            half_open,
            time_wait,
            neighbors,
            listeners,
            udp_sockets,
            pings,
            raw_sockets,
            routes,
            reassemblies,
            interfaces,
            pending_flows,
            groups,
            time_wait_timer,
        }
    }

    pub(crate) const fn count(&self) -> usize {
        self.time_wait_timer as usize + 1
    }

    #[inline]
    pub(crate) fn number(&self, node: Node) -> u32 {
        match node {
            Node::Connection(index) => index,
            Node::HalfOpen(index) => self.half_open + index,
            Node::TimeWait(index) => self.time_wait + index,
            Node::Neighbor(index) => self.neighbors + index,
            Node::Listener(index) => self.listeners + index,
            Node::Udp(index) => self.udp_sockets + index,
            Node::Ping(index) => self.pings + index,
            Node::Raw(index) => self.raw_sockets + index,
            Node::Route(index) => self.routes + index,
            Node::Reassembly(index) => self.reassemblies + index,
            Node::Interface(index) => self.interfaces + index,
            Node::PendingFlow(index) => self.pending_flows + index,
            Node::Group(index) => self.groups + index,
            Node::NatTimer => self.time_wait_timer - 1,
            Node::TimeWaitTimer => self.time_wait_timer,
        }
    }

    #[inline]
    pub(crate) fn node(&self, number: u32) -> Node {
        match number {
            n if n < self.half_open => Node::Connection(n),
            n if n < self.time_wait => Node::HalfOpen(n - self.half_open),
            n if n < self.neighbors => Node::TimeWait(n - self.time_wait),
            n if n < self.listeners => Node::Neighbor(n - self.neighbors),
            n if n < self.udp_sockets => Node::Listener(n - self.listeners),
            n if n < self.pings => Node::Udp(n - self.udp_sockets),
            n if n < self.raw_sockets => Node::Ping(n - self.pings),
            n if n < self.routes => Node::Raw(n - self.raw_sockets),
            n if n < self.reassemblies => Node::Route(n - self.routes),
            n if n < self.interfaces => Node::Reassembly(n - self.reassemblies),
            n if n < self.pending_flows => Node::Interface(n - self.interfaces),
            n if n < self.groups => Node::PendingFlow(n - self.pending_flows),
            n if n < self.time_wait_timer - 1 => Node::Group(n - self.groups),
            n if n < self.time_wait_timer => Node::NatTimer,
            _ => Node::TimeWaitTimer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_nodes_correspond() {
        let nodes = Nodes::new(&Limits::small());
        for number in 0..nodes.count() as u32 {
            assert_eq!(nodes.number(nodes.node(number)), number);
        }
        assert_eq!(nodes.node(nodes.count() as u32 - 1), Node::TimeWaitTimer);
    }
}
