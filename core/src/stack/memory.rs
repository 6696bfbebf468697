//! The memory of a stack: given once, by one allocation for each table or by the caller.

use core::fmt;

use crate::address::Prefix;
use crate::config::Limits;
use crate::deadlines::Deadline;
use crate::hash_index::{Bucket, buckets_for};
use crate::links::Link;
use crate::slab::Slot;
use crate::stack::accept_any::{PendingFlow, flow_keys_for};
use crate::stack::addresses::InterfaceAddress;
use crate::stack::autoconfiguration::{AdvertisedDnsServer, AdvertisedDomain};
use crate::stack::interface::Interface;
use crate::stack::multicast::{Group, Membership};
use crate::stack::nat_table::{NatFlow, NatHost, NatMapping, hosts_for, keys_for};
use crate::stack::neighbor::Neighbor;
use crate::stack::nodes::Nodes;
use crate::stack::path_mtus::PathMtu;
use crate::stack::ping::Ping;
use crate::stack::prefix_trie::{TrieNode, nodes_for};
use crate::stack::raw::RawSocket;
use crate::stack::reassembly::Reassembly;
use crate::stack::routes::{RouteEntry, entries_for};
use crate::stack::udp::UdpSocket;
use crate::storage::Storage;
use crate::tcp::connection::Connection;
use crate::tcp::listener::{HalfOpen, Listener};
use crate::tcp::time_wait::TimeWait;
use crate::trace::TraceRecord;
use crate::wire::ethernet;

/// The tables of a stack. [`StackMemory::allocate`] makes them; without an allocator [`Tables::lend`] lends arrays, or the
/// caller slices of its own, filled with each type's `EMPTY` constant, of the lengths that [`TableSizes`] names.
#[derive(Debug)]
pub struct StackMemory<'m> {
    /// One for each of `Limits::interfaces`.
    pub interfaces: Storage<'m, Slot<Interface>>,
    /// One for each of `Limits::addresses`.
    pub addresses: Storage<'m, InterfaceAddress>,
    /// One for each of `Limits::groups` and `Limits::addresses`.
    pub groups: Storage<'m, Slot<Group>>,
    /// [`TableSizes::group_buckets`].
    pub group_buckets: Storage<'m, Bucket>,
    /// One for each of `Limits::memberships`.
    pub memberships: Storage<'m, Slot<Membership>>,
    /// [`TableSizes::membership_buckets`].
    pub membership_buckets: Storage<'m, Bucket>,
    /// One for each of `Limits::dns_servers`.
    pub dns_servers: Storage<'m, AdvertisedDnsServer>,
    /// One for each of `Limits::search_domains`.
    pub search_domains: Storage<'m, AdvertisedDomain>,
    /// [`TableSizes::routes`].
    pub routes: Storage<'m, Slot<RouteEntry>>,
    /// [`TableSizes::route_nodes`].
    pub route_nodes: Storage<'m, TrieNode>,
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
    /// One for each of `Limits::raw_sockets`.
    pub raw_sockets: Storage<'m, Slot<RawSocket>>,
    /// One for each of `Limits::path_mtus`.
    pub path_mtus: Storage<'m, PathMtu>,
    /// One for each of `Limits::reassemblies`.
    pub reassemblies: Storage<'m, Slot<Reassembly>>,
    /// [`TableSizes::reassembly_buckets`].
    pub reassembly_buckets: Storage<'m, Bucket>,
    /// One for each of `Limits::reassemblies`.
    pub reassembly_links: Storage<'m, Link>,
    /// [`TableSizes::scratch`].
    pub scratch: Storage<'m, u8>,
    /// One for each of `Limits::pending_flows`.
    pub pending_flows: Storage<'m, Slot<PendingFlow>>,
    /// [`TableSizes::pending_flow_buckets`].
    pub pending_flow_buckets: Storage<'m, Bucket>,
    /// One for each of `Limits::nat_flows`.
    pub nat_flows: Storage<'m, Slot<NatFlow>>,
    /// One for each of `Limits::nat_flows`.
    pub nat_mappings: Storage<'m, Slot<NatMapping>>,
    /// [`TableSizes::nat_hosts`].
    pub nat_hosts: Storage<'m, Slot<NatHost>>,
    /// One for each of `Limits::nat_flows`.
    pub nat_links: Storage<'m, Link>,
    /// [`TableSizes::nat_buckets`].
    pub nat_buckets: Storage<'m, Bucket>,
    /// One for each of `Limits::trace`.
    pub trace: Storage<'m, TraceRecord>,
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
    /// Entries of the table of routes, those of the addresses too.
    pub routes: usize,
    /// Nodes of the trie that finds them.
    pub route_nodes: usize,
    /// Nodes: everything that can be on a list or have a deadline.
    pub nodes: usize,
    /// Buckets of the table of flows.
    pub flow_buckets: usize,
    /// Buckets of the table of listeners and UDP sockets.
    pub port_buckets: usize,
    /// Buckets of the table of groups.
    pub group_buckets: usize,
    /// Buckets of the table of sockets' memberships.
    pub membership_buckets: usize,
    /// Buckets of the table of neighbours.
    pub neighbor_buckets: usize,
    /// Buckets of the table of pending flows.
    pub pending_flow_buckets: usize,
    /// Inside hosts of address translation.
    pub nat_hosts: usize,
    /// Buckets of its table.
    pub nat_buckets: usize,
    /// Buckets of the table of datagrams that are put together.
    pub reassembly_buckets: usize,
    /// Bytes to put one together in, or to make a frame in.
    pub scratch: usize,
}

impl TableSizes {
    /// The lengths for these limits.
    pub const fn of(limits: &Limits) -> Self {
        TableSizes {
            routes: entries_for(limits),
            route_nodes: nodes_for(entries_for(limits)),
            nodes: Nodes::new(limits).count(),
            flow_buckets: buckets_for(limits.connections + limits.syn_queue + limits.time_wait),
            port_buckets: buckets_for(limits.listeners + limits.udp_sockets),
            group_buckets: buckets_for(limits.all_groups()),
            membership_buckets: buckets_for(limits.memberships),
            neighbor_buckets: buckets_for(limits.neighbors),
            pending_flow_buckets: buckets_for(flow_keys_for(limits.pending_flows, limits.udp_sockets)),
            nat_hosts: hosts_for(limits.nat_flows),
            nat_buckets: buckets_for(keys_for(limits.nat_flows)),
            reassembly_buckets: buckets_for(limits.reassemblies),
            scratch: ethernet::HEADER_LEN + limits.reassembly_size,
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
            groups: Storage::with_capacity(limits.all_groups()),
            group_buckets: Storage::with_capacity(sizes.group_buckets),
            memberships: Storage::with_capacity(limits.memberships),
            membership_buckets: Storage::with_capacity(sizes.membership_buckets),
            dns_servers: Storage::with_capacity(limits.dns_servers),
            search_domains: Storage::with_capacity(limits.search_domains),
            routes: Storage::with_capacity(sizes.routes),
            route_nodes: Storage::with_capacity(sizes.route_nodes),
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
            raw_sockets: Storage::with_capacity(limits.raw_sockets),
            path_mtus: Storage::with_capacity(limits.path_mtus),
            reassemblies: Storage::with_capacity(limits.reassemblies),
            reassembly_buckets: Storage::with_capacity(sizes.reassembly_buckets),
            reassembly_links: Storage::with_capacity(limits.reassemblies),
            scratch: Storage::with_capacity(sizes.scratch),
            pending_flows: Storage::with_capacity(limits.pending_flows),
            pending_flow_buckets: Storage::with_capacity(sizes.pending_flow_buckets),
            nat_flows: Storage::with_capacity(limits.nat_flows),
            nat_mappings: Storage::with_capacity(limits.nat_flows),
            nat_hosts: Storage::with_capacity(sizes.nat_hosts),
            nat_links: Storage::with_capacity(limits.nat_flows),
            nat_buckets: Storage::with_capacity(sizes.nat_buckets),
            trace: Storage::with_capacity(limits.trace),
            links: Storage::with_capacity(sizes.nodes),
            event_links: Storage::with_capacity(sizes.nodes),
            deadlines: Storage::with_capacity(sizes.nodes),
            deadline_positions: Storage::with_capacity(sizes.nodes),
        }
    }

    pub(crate) fn check(&self, limits: &Limits) -> Result<(), MemoryTooSmall> {
        let sizes = TableSizes::of(limits);
        let mut result = Ok(());
        need(&mut result, "interfaces", limits.interfaces, self.interfaces.capacity());
        need(&mut result, "addresses", limits.addresses, self.addresses.capacity());
        need(&mut result, "groups", limits.all_groups(), self.groups.capacity());
        need(&mut result, "group_buckets", sizes.group_buckets, self.group_buckets.capacity());
        need(&mut result, "memberships", limits.memberships, self.memberships.capacity());
        need(&mut result, "membership_buckets", sizes.membership_buckets, self.membership_buckets.capacity());
        need(&mut result, "dns_servers", limits.dns_servers, self.dns_servers.capacity());
        need(&mut result, "search_domains", limits.search_domains, self.search_domains.capacity());
        need(&mut result, "routes", sizes.routes, self.routes.capacity());
        need(&mut result, "route_nodes", sizes.route_nodes, self.route_nodes.capacity());
        need(&mut result, "neighbors", limits.neighbors, self.neighbors.capacity());
        need(&mut result, "neighbor_buckets", sizes.neighbor_buckets, self.neighbor_buckets.capacity());
        need(&mut result, "neighbor_links", limits.neighbors, self.neighbor_links.capacity());
        need(&mut result, "connections", limits.connections, self.connections.capacity());
        need(&mut result, "half_open", limits.syn_queue, self.half_open.capacity());
        need(&mut result, "time_wait", limits.time_wait, self.time_wait.capacity());
        need(&mut result, "flow_buckets", sizes.flow_buckets, self.flow_buckets.capacity());
        need(&mut result, "listeners", limits.listeners, self.listeners.capacity());
        need(&mut result, "udp_sockets", limits.udp_sockets, self.udp_sockets.capacity());
        need(&mut result, "port_buckets", sizes.port_buckets, self.port_buckets.capacity());
        need(&mut result, "pings", limits.pings, self.pings.capacity());
        need(&mut result, "raw_sockets", limits.raw_sockets, self.raw_sockets.capacity());
        need(&mut result, "path_mtus", limits.path_mtus, self.path_mtus.capacity());
        need(&mut result, "reassemblies", limits.reassemblies, self.reassemblies.capacity());
        need(&mut result, "reassembly_buckets", sizes.reassembly_buckets, self.reassembly_buckets.capacity());
        need(&mut result, "reassembly_links", limits.reassemblies, self.reassembly_links.capacity());
        need(&mut result, "scratch", sizes.scratch, self.scratch.capacity());
        need(&mut result, "pending_flows", limits.pending_flows, self.pending_flows.capacity());
        need(&mut result, "pending_flow_buckets", sizes.pending_flow_buckets, self.pending_flow_buckets.capacity());
        need(&mut result, "nat_flows", limits.nat_flows, self.nat_flows.capacity());
        need(&mut result, "nat_mappings", limits.nat_flows, self.nat_mappings.capacity());
        need(&mut result, "nat_hosts", sizes.nat_hosts, self.nat_hosts.capacity());
        need(&mut result, "nat_links", limits.nat_flows, self.nat_links.capacity());
        need(&mut result, "nat_buckets", sizes.nat_buckets, self.nat_buckets.capacity());
        need(&mut result, "trace", limits.trace, self.trace.capacity());
        need(&mut result, "links", sizes.nodes, self.links.capacity());
        need(&mut result, "event_links", sizes.nodes, self.event_links.capacity());
        need(&mut result, "deadlines", sizes.nodes, self.deadlines.capacity());
        need(&mut result, "deadline_positions", sizes.nodes, self.deadline_positions.capacity());
        result
    }
}

/// Notes that a table is too small, if it is and no other was.
#[inline(never)] // One comparison for every table there is.
fn need(result: &mut Result<(), MemoryTooSmall>, table: &'static str, needed: usize, given: usize) {
    if given < needed && result.is_ok() {
        *result = Err(MemoryTooSmall { table, needed, given });
    }
}

/// A stack's tables as arrays, for a program without an allocator: in a `static`, or in a variable of `main`.
///
/// They hold `CONNECTIONS` connections, as many half-open ones and as many in TIME-WAIT, and `OTHERS` of each other thing
/// (interfaces, addresses, DNS servers and search domains, routes, neighbours, listeners, UDP and raw sockets, echo requests). The other two lengths follow from
/// these by [`nodes`] and [`buckets`], which are parameters because an array's length cannot be computed from another
/// parameter; the compiler checks them.
///
/// ```
/// use ethertab::memory::{Tables, buckets, nodes};
/// use ethertab::{BLOCK_SIZE, Config, Pool, Stack};
///
/// const CONNECTIONS: usize = 4;
/// const OTHERS: usize = 3;
///
/// let mut tables = Tables::<CONNECTIONS, OTHERS, { nodes(CONNECTIONS, OTHERS) }, { buckets(CONNECTIONS, OTHERS) }>::new();
/// let (mut bytes, mut links) = ([0; 16 * BLOCK_SIZE], [0; 16]);
/// let pool = Pool::borrowed(&mut bytes, &mut links);
/// let limits = tables.limits(pool.blocks() as u32);
/// let stack = Stack::with_memory(Config::new([1, 2]), limits, tables.lend())?;
/// # assert_eq!((limits.connections, limits.listeners, stack.blocks_in_use()), (4, 3, 0));
/// # Ok::<(), ethertab::MemoryTooSmall>(())
/// ```
#[derive(Debug)]
pub struct Tables<const CONNECTIONS: usize, const OTHERS: usize, const NODES: usize, const BUCKETS: usize> {
    interfaces: [Slot<Interface>; OTHERS],
    addresses: [InterfaceAddress; OTHERS],
    groups: [[Slot<Group>; OTHERS]; 2],
    group_buckets: [Bucket; BUCKETS],
    memberships: [Slot<Membership>; OTHERS],
    membership_buckets: [Bucket; BUCKETS],
    dns_servers: [AdvertisedDnsServer; OTHERS],
    search_domains: [AdvertisedDomain; OTHERS],
    routes: [[Slot<RouteEntry>; ROUTES]; OTHERS],
    route_nodes: [[TrieNode; nodes_for(ROUTES)]; OTHERS],
    neighbors: [Slot<Neighbor>; OTHERS],
    neighbor_buckets: [Bucket; BUCKETS],
    neighbor_links: [Link; OTHERS],
    connections: [Slot<Connection>; CONNECTIONS],
    half_open: [Slot<HalfOpen>; CONNECTIONS],
    time_wait: [Slot<TimeWait>; CONNECTIONS],
    flow_buckets: [Bucket; BUCKETS],
    listeners: [Slot<Listener>; OTHERS],
    udp_sockets: [Slot<UdpSocket>; OTHERS],
    port_buckets: [Bucket; BUCKETS],
    pings: [Slot<Ping>; OTHERS],
    raw_sockets: [Slot<RawSocket>; OTHERS],
    path_mtus: [PathMtu; OTHERS],
    reassemblies: [Slot<Reassembly>; OTHERS],
    reassembly_buckets: [Bucket; BUCKETS],
    reassembly_links: [Link; OTHERS],
    scratch: [u8; ethernet::HEADER_LEN + SCRATCH],
    /// Without flows, two indexes of none.
    pending_flow_buckets: [Bucket; buckets_for(0)],
    nat_buckets: [Bucket; buckets_for(0)],
    links: [Link; NODES],
    event_links: [Link; NODES],
    deadlines: [Deadline; NODES],
    deadline_positions: [u32; NODES],
}

/// Entries of the table of routes for each route and address that there can be.
const ROUTES: usize = entries_for(&limits_of(0, 1, 0));

/// The longest datagram, in bytes, that a stack with [`Tables`] puts together from fragments.
const SCRATCH: usize = 4_096;

/// The `NODES` of [`Tables`] with so many connections and other things.
pub const fn nodes(connections: usize, others: usize) -> usize {
    TableSizes::of(&limits_of(connections, others, 0)).nodes
}

/// The `BUCKETS` of [`Tables`] with so many connections and other things.
pub const fn buckets(connections: usize, others: usize) -> usize {
    let sizes = TableSizes::of(&limits_of(connections, others, 0));
    let most = if sizes.flow_buckets > sizes.port_buckets { sizes.flow_buckets } else { sizes.port_buckets };
    // There are as many datagrams as neighbours.
    if most > sizes.neighbor_buckets { most } else { sizes.neighbor_buckets }
}

const fn limits_of(connections: usize, others: usize, pool_blocks: u32) -> Limits {
    Limits {
        interfaces: others,
        addresses: others,
        groups: others,
        memberships: others,
        dns_servers: others,
        search_domains: others,
        routes: others,
        neighbors: others,
        connections,
        listeners: others,
        syn_queue: connections,
        time_wait: connections,
        udp_sockets: others,
        pings: others,
        raw_sockets: others,
        path_mtus: others,
        reassemblies: others,
        reassembly_bytes: 16 * SCRATCH,
        reassembly_size: SCRATCH,
        pending_flows: 0,
        nat_flows: 0,
        trace: 0,
        pool_blocks,
    }
}

impl<const CONNECTIONS: usize, const OTHERS: usize, const NODES: usize, const BUCKETS: usize>
    Tables<CONNECTIONS, OTHERS, NODES, BUCKETS>
{
    /// Empty tables.
    pub const fn new() -> Self {
        const {
            assert!(NODES == nodes(CONNECTIONS, OTHERS), "NODES is not what `nodes` says");
            assert!(BUCKETS == buckets(CONNECTIONS, OTHERS), "BUCKETS is not what `buckets` says");
        }
        Tables {
            interfaces: [const { Slot::EMPTY }; OTHERS],
            addresses: [InterfaceAddress::EMPTY; OTHERS],
            groups: [const { [const { Slot::EMPTY }; OTHERS] }; 2],
            group_buckets: [Bucket::EMPTY; BUCKETS],
            memberships: [const { Slot::EMPTY }; OTHERS],
            membership_buckets: [Bucket::EMPTY; BUCKETS],
            dns_servers: [AdvertisedDnsServer::EMPTY; OTHERS],
            search_domains: [AdvertisedDomain::EMPTY; OTHERS],
            routes: [const { [const { Slot::EMPTY }; ROUTES] }; OTHERS],
            route_nodes: [[TrieNode::EMPTY; nodes_for(ROUTES)]; OTHERS],
            neighbors: [const { Slot::EMPTY }; OTHERS],
            neighbor_buckets: [Bucket::EMPTY; BUCKETS],
            neighbor_links: [Link::UNLINKED; OTHERS],
            connections: [const { Slot::EMPTY }; CONNECTIONS],
            half_open: [const { Slot::EMPTY }; CONNECTIONS],
            time_wait: [const { Slot::EMPTY }; CONNECTIONS],
            flow_buckets: [Bucket::EMPTY; BUCKETS],
            listeners: [const { Slot::EMPTY }; OTHERS],
            udp_sockets: [const { Slot::EMPTY }; OTHERS],
            port_buckets: [Bucket::EMPTY; BUCKETS],
            pings: [const { Slot::EMPTY }; OTHERS],
            raw_sockets: [const { Slot::EMPTY }; OTHERS],
            path_mtus: [PathMtu::EMPTY; OTHERS],
            reassemblies: [const { Slot::EMPTY }; OTHERS],
            reassembly_buckets: [Bucket::EMPTY; BUCKETS],
            reassembly_links: [Link::UNLINKED; OTHERS],
            scratch: [0; ethernet::HEADER_LEN + SCRATCH],
            pending_flow_buckets: [Bucket::EMPTY; buckets_for(0)],
            nat_buckets: [Bucket::EMPTY; buckets_for(0)],
            links: [Link::UNLINKED; NODES],
            event_links: [Link::UNLINKED; NODES],
            deadlines: [Deadline::EMPTY; NODES],
            deadline_positions: [0; NODES],
        }
    }

    /// The limits that these tables are made for, with a quota of pool blocks.
    pub const fn limits(&self, pool_blocks: u32) -> Limits {
        limits_of(CONNECTIONS, OTHERS, pool_blocks)
    }

    /// Lends the tables to a stack.
    pub fn lend(&mut self) -> StackMemory<'_> {
        StackMemory {
            interfaces: Storage::borrowed(&mut self.interfaces),
            addresses: Storage::borrowed(&mut self.addresses),
            groups: Storage::borrowed(self.groups.as_flattened_mut()),
            group_buckets: Storage::borrowed(&mut self.group_buckets),
            memberships: Storage::borrowed(&mut self.memberships),
            membership_buckets: Storage::borrowed(&mut self.membership_buckets),
            dns_servers: Storage::borrowed(&mut self.dns_servers),
            search_domains: Storage::borrowed(&mut self.search_domains),
            routes: Storage::borrowed(self.routes.as_flattened_mut()),
            route_nodes: Storage::borrowed(self.route_nodes.as_flattened_mut()),
            neighbors: Storage::borrowed(&mut self.neighbors),
            neighbor_buckets: Storage::borrowed(&mut self.neighbor_buckets),
            neighbor_links: Storage::borrowed(&mut self.neighbor_links),
            connections: Storage::borrowed(&mut self.connections),
            half_open: Storage::borrowed(&mut self.half_open),
            time_wait: Storage::borrowed(&mut self.time_wait),
            flow_buckets: Storage::borrowed(&mut self.flow_buckets),
            listeners: Storage::borrowed(&mut self.listeners),
            udp_sockets: Storage::borrowed(&mut self.udp_sockets),
            port_buckets: Storage::borrowed(&mut self.port_buckets),
            pings: Storage::borrowed(&mut self.pings),
            raw_sockets: Storage::borrowed(&mut self.raw_sockets),
            path_mtus: Storage::borrowed(&mut self.path_mtus),
            reassemblies: Storage::borrowed(&mut self.reassemblies),
            reassembly_buckets: Storage::borrowed(&mut self.reassembly_buckets),
            reassembly_links: Storage::borrowed(&mut self.reassembly_links),
            scratch: Storage::borrowed(&mut self.scratch),
            pending_flows: Storage::borrowed(&mut []),
            pending_flow_buckets: Storage::borrowed(&mut self.pending_flow_buckets),
            nat_flows: Storage::borrowed(&mut []),
            nat_mappings: Storage::borrowed(&mut []),
            nat_hosts: Storage::borrowed(&mut []),
            nat_links: Storage::borrowed(&mut []),
            nat_buckets: Storage::borrowed(&mut self.nat_buckets),
            trace: Storage::borrowed(&mut []),
            links: Storage::borrowed(&mut self.links),
            event_links: Storage::borrowed(&mut self.event_links),
            deadlines: Storage::borrowed(&mut self.deadlines),
            deadline_positions: Storage::borrowed(&mut self.deadline_positions),
        }
    }
}

impl<const CONNECTIONS: usize, const OTHERS: usize, const NODES: usize, const BUCKETS: usize> Default
    for Tables<CONNECTIONS, OTHERS, NODES, BUCKETS>
{
    fn default() -> Self {
        Tables::new()
    }
}

/// A prefix that stands for nothing yet.
pub(crate) const NO_PREFIX: Prefix =
    Prefix { address: core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), length: 0 };
