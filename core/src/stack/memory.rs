//! The memory of a stack: given once, by one allocation for each table or by the caller.

use core::fmt;

use crate::address::Prefix;
use crate::config::Limits;
use crate::deadlines::Deadline;
use crate::hash_index::{Bucket, buckets_for};
use crate::links::Link;
use crate::slab::Slot;
use crate::stack::addressing::{InterfaceAddress, Route};
use crate::stack::interface::Interface;
use crate::stack::neighbor::Neighbor;
use crate::stack::nodes::Nodes;
use crate::stack::ping::Ping;
use crate::stack::udp::UdpSocket;
use crate::storage::Storage;
use crate::tcp::connection::Connection;
use crate::tcp::listener::{HalfOpen, Listener};
use crate::tcp::time_wait::TimeWait;

/// The tables of a stack. [`StackMemory::allocate`] makes them; without an allocator the caller lends slices, filled with
/// each type's `EMPTY` constant, of at least the lengths that [`TableSizes`] names.
#[derive(Debug)]
pub struct StackMemory<'m> {
    /// One for each of `Limits::interfaces`.
    pub interfaces: Storage<'m, Slot<Interface>>,
    /// One for each of `Limits::addresses`.
    pub addresses: Storage<'m, InterfaceAddress>,
    /// One for each of `Limits::routes`.
    pub routes: Storage<'m, Route>,
    /// One for each of `Limits::neighbors`.
    pub neighbors: Storage<'m, Slot<Neighbor>>,
    /// [`TableSizes::neighbor_buckets`].
    pub neighbor_buckets: Storage<'m, Bucket>,
    /// One for each of `Limits::neighbors`.
    pub neighbor_links: Storage<'m, Link>,
    /// One for each of `Limits::connections`.
    pub connections: Storage<'m, Slot<Connection>>,
    /// One for each of `Limits::syn_queue`.
    pub half_open: Storage<'m, Slot<HalfOpen>>,
    /// One for each of `Limits::time_wait`.
    pub time_wait: Storage<'m, Slot<TimeWait>>,
    /// [`TableSizes::flow_buckets`].
    pub flow_buckets: Storage<'m, Bucket>,
    /// One for each of `Limits::listeners`.
    pub listeners: Storage<'m, Slot<Listener>>,
    /// One for each of `Limits::udp_sockets`.
    pub udp_sockets: Storage<'m, Slot<UdpSocket>>,
    /// [`TableSizes::port_buckets`].
    pub port_buckets: Storage<'m, Bucket>,
    /// One for each of `Limits::pings`.
    pub pings: Storage<'m, Slot<Ping>>,
    /// [`TableSizes::nodes`].
    pub links: Storage<'m, Link>,
    /// [`TableSizes::nodes`].
    pub event_links: Storage<'m, Link>,
    /// [`TableSizes::nodes`].
    pub deadlines: Storage<'m, Deadline>,
    /// [`TableSizes::nodes`].
    pub deadline_positions: Storage<'m, u32>,
}

/// The lengths of the tables that are not simply a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSizes {
    /// Nodes: everything that can be on a list or have a deadline.
    pub nodes: usize,
    /// Buckets of the table of flows.
    pub flow_buckets: usize,
    /// Buckets of the table of listeners and UDP sockets.
    pub port_buckets: usize,
    /// Buckets of the table of neighbours.
    pub neighbor_buckets: usize,
}

impl TableSizes {
    /// The lengths for these limits.
    pub const fn of(limits: &Limits) -> Self {
        TableSizes {
            nodes: Nodes::new(limits).count(),
            flow_buckets: buckets_for(limits.connections + limits.syn_queue + limits.time_wait),
            port_buckets: buckets_for(limits.listeners + limits.udp_sockets),
            neighbor_buckets: buckets_for(limits.neighbors),
        }
    }
}

/// A table that the caller lent is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryTooSmall {
    /// Which.
    pub table: &'static str,
    /// Entries needed.
    pub needed: usize,
    /// Entries lent.
    pub given: usize,
}

impl fmt::Display for MemoryTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the table `{}` has {} entries and needs {}", self.table, self.given, self.needed)
    }
}

impl core::error::Error for MemoryTooSmall {}

impl<'m> StackMemory<'m> {
    /// Allocates what the limits ask for; what is not used is not touched.
    #[cfg(feature = "alloc")]
    pub fn allocate(limits: &Limits) -> Self {
        let sizes = TableSizes::of(limits);
        StackMemory {
            interfaces: Storage::with_capacity(limits.interfaces),
            addresses: Storage::with_capacity(limits.addresses),
            routes: Storage::with_capacity(limits.routes),
            neighbors: Storage::with_capacity(limits.neighbors),
            neighbor_buckets: Storage::with_capacity(sizes.neighbor_buckets),
            neighbor_links: Storage::with_capacity(limits.neighbors),
            connections: Storage::with_capacity(limits.connections),
            half_open: Storage::with_capacity(limits.syn_queue),
            time_wait: Storage::with_capacity(limits.time_wait),
            flow_buckets: Storage::with_capacity(sizes.flow_buckets),
            listeners: Storage::with_capacity(limits.listeners),
            udp_sockets: Storage::with_capacity(limits.udp_sockets),
            port_buckets: Storage::with_capacity(sizes.port_buckets),
            pings: Storage::with_capacity(limits.pings),
            links: Storage::with_capacity(sizes.nodes),
            event_links: Storage::with_capacity(sizes.nodes),
            deadlines: Storage::with_capacity(sizes.nodes),
            deadline_positions: Storage::with_capacity(sizes.nodes),
        }
    }

    pub(crate) fn check(&self, limits: &Limits) -> Result<(), MemoryTooSmall> {
        let sizes = TableSizes::of(limits);
        let tables = [
            ("interfaces", limits.interfaces, self.interfaces.capacity()),
            ("addresses", limits.addresses, self.addresses.capacity()),
            ("routes", limits.routes, self.routes.capacity()),
            ("neighbors", limits.neighbors, self.neighbors.capacity()),
            ("neighbor_buckets", sizes.neighbor_buckets, self.neighbor_buckets.capacity()),
            ("neighbor_links", limits.neighbors, self.neighbor_links.capacity()),
            ("connections", limits.connections, self.connections.capacity()),
            ("half_open", limits.syn_queue, self.half_open.capacity()),
            ("time_wait", limits.time_wait, self.time_wait.capacity()),
            ("flow_buckets", sizes.flow_buckets, self.flow_buckets.capacity()),
            ("listeners", limits.listeners, self.listeners.capacity()),
            ("udp_sockets", limits.udp_sockets, self.udp_sockets.capacity()),
            ("port_buckets", sizes.port_buckets, self.port_buckets.capacity()),
            ("pings", limits.pings, self.pings.capacity()),
            ("links", sizes.nodes, self.links.capacity()),
            ("event_links", sizes.nodes, self.event_links.capacity()),
            ("deadlines", sizes.nodes, self.deadlines.capacity()),
            ("deadline_positions", sizes.nodes, self.deadline_positions.capacity()),
        ];
        match tables.into_iter().find(|(_, needed, given)| given < needed) {
            Some((table, needed, given)) => Err(MemoryTooSmall { table, needed, given }),
            None => Ok(()),
        }
    }
}

/// A prefix that stands for nothing yet.
pub(crate) const NO_PREFIX: Prefix =
    Prefix { address: core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), length: 0 };
