//! The stack: one host with interfaces, addresses and sockets, driven from outside.
//!
//! The driver delivers the frames that have arrived with [`Stack::receive`], calls [`Stack::handle_timeout`] when
//! [`Stack::next_timeout`] is due, then takes frames with [`Stack::transmit`] until there is none, then events with
//! [`Stack::poll_event`] until there is none. Calls about sockets change state and never send by themselves: after
//! them comes [`Stack::transmit`] again.
//!
//! Each concern of the stack is a file that adds its methods to [`Stack`]: [`addressing`] (interfaces), [`addresses`], `selection` (which
//! of them is used), [`autoconfiguration`],
//! [`router_advertiser`], [`multicast`], [`routes`], [`forward`], [`nat`] (over `nat_table`, with `nat_unsolicited`), [`accept_any`] (with `accept_any_udp`), `resolution` (over the [`neighbor`] table, by `arp` and `neighbor_discovery`), `ip_input`, `fragment_input`,
//! `media` (what is not plain Ethernet), `transmit`, `fragment_output`, `icmp`, [`udp`], [`ping`], [`raw`], `tcp_input` (finding connections, and what follows from what they did), `half_open` (connection
//! requests), `time_wait`, `tcp_sockets` (the calls of the user, whose errors are in `tcp_errors`) and [`info`] (listings).

pub(crate) mod accept_any;
mod accept_any_udp;
pub(crate) mod addresses;
pub(crate) mod addressing;
pub(crate) mod anycast;
mod arp;
pub(crate) mod autoconfiguration;
mod error_reports;
pub(crate) mod flow;
pub(crate) mod forward;
mod fragment_input;
mod fragment_output;
mod group_querier;
mod group_reports;
mod half_open;
pub(crate) mod icmp;
pub(crate) mod info;
pub(crate) mod interface;
mod ip_input;
mod link_local;
mod media;
pub(crate) mod memory;
pub(crate) mod multicast;
pub(crate) mod nat;
pub(crate) mod nat_table;
mod nat_unsolicited;
pub(crate) mod neighbor;
mod neighbor_discovery;
mod nodes;
pub(crate) mod path;
pub(crate) mod path_mtus;
pub(crate) mod ping;
pub(crate) mod prefix_trie;
pub(crate) mod raw;
pub(crate) mod reassembly;
mod redirects;
mod resolution;
pub(crate) mod router_advertiser;
pub(crate) mod routes;
mod selection;
pub(crate) mod source_filter;
mod tcp_errors;
mod tcp_input;
mod tcp_settings;
pub(crate) mod tcp_sockets;
mod time_wait;
pub(crate) mod tracing;
mod transmit;
pub(crate) mod udp;
mod udp_errors;
pub(crate) mod udp_options;

pub use error_reports::ErrorReport;
pub use tcp_errors::{ConnectError, ListenError, RecvError, SendError, SocketError};
pub use tcp_sockets::{ConnectOptions, ListenOptions, SendFlags};
pub use udp_errors::UdpError;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Config, Limits, TcpConfig};
use crate::counters::Counters;
use crate::deadlines::Deadlines;
use crate::event::{ConnectionHandle, Event, InterfaceId, ListenerHandle, PingHandle, RawHandle, Signals, UdpHandle};
use crate::hash_index::HashIndex;
use crate::links::{Links, List};
use crate::pool::{Account, Pool};
use crate::random::{Generator, Use};
use crate::slab::Slab;
use crate::storage::Storage;
use crate::tcp::connection::Connection;
use crate::tcp::fast_open::{CookieCache, FastOpenKeys};
use crate::tcp::listener::{HalfOpen, Listener};
use crate::tcp::time_wait::TimeWait;
use crate::time::Instant;
use crate::trace::Trace;
use accept_any::PendingFlows;
use addresses::InterfaceAddress;
use autoconfiguration::{AdvertisedDnsServer, AdvertisedDomain};
use error_reports::ErrorReports;
use flow::LastHits;
use forward::Ways;
use fragment_output::Identifications;
use icmp::TokenBucket;
use interface::Interface;
use memory::{MemoryTooSmall, StackMemory};
use multicast::{Group, HashedTable, Membership};
use nat::Nat;
use nat_table::NatMemory;
use neighbor::NeighborTable;
use nodes::{Node, Nodes};
use path::LastPath;
use path_mtus::PathMtus;
use ping::Ping;
use raw::RawSockets;
use reassembly::ReassemblyTable;
use routes::{NextHop, RouteTable};
use udp::UdpSocket;

/// What is known about a frame besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameMeta {
    /// Length in bytes, the Ethernet header (with its tag) included, if the interface has one, and no frame check sequence.
    pub len: usize,
    /// Payload bytes of each segment if the frame stands for several (segmentation offload); 0 if it is one packet.
    pub segment_size: u16,
    /// What is known about the transport checksum.
    pub checksum: ChecksumState,
    /// Ties a frame to its events in the trace; 0 for none.
    pub trace: u32,
}

/// What is known about a frame's transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChecksumState {
    /// It is in the frame, to be verified by the receiver.
    #[default]
    Present,
    /// It was verified already, by hardware or by a copy within one machine.
    Verified,
}

impl FrameMeta {
    /// A frame of `len` bytes from a wire.
    pub const fn received(len: usize) -> Self {
        FrameMeta { len, segment_size: 0, checksum: ChecksumState::Present, trace: 0 }
    }
}

/// One host with its interfaces, addresses and sockets; the [crate's documentation](crate) shows how to drive it.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub struct Stack<'m> {
    config: Config,
    /// The latest time that the stack was told.
    now: Instant,
    account: Account,
    nodes: Nodes,
    /// Changes whenever routes, addresses or neighbours do: cached paths of another generation are void.
    generation: u32,

    interfaces: Slab<'m, Interface>,
    /// The loopback interface, if there is one.
    loopback: Option<InterfaceId>,
    addresses: Storage<'m, InterfaceAddress>,
    groups: HashedTable<'m, Group>,
    memberships: HashedTable<'m, Membership>,
    dns_servers: Storage<'m, AdvertisedDnsServer>,
    search_domains: Storage<'m, AdvertisedDomain>,
    routes: RouteTable<'m>,
    /// Source and destination of the last IPv4 packet to one of our addresses, and under which generation they passed the
    /// checks: the next packet mostly has the same.
    last_to_us_v4: (u32, Ipv4Addr, Ipv4Addr),
    /// The same of IPv6, with the interface that it came from: a link-local address is ours on its own link only.
    last_to_us_v6: (u32, InterfaceId, Ipv6Addr, Ipv6Addr),
    /// The last answer of `route`, and under which generation it was given.
    last_route: Option<(u32, IpAddr, NextHop)>,
    ways: Ways,
    nat: Nat<'m>,
    pending_flows: PendingFlows<'m>,
    /// The last answer of `path_for`.
    last_path: Option<LastPath>,
    neighbors: NeighborTable<'m>,

    connections: Slab<'m, Connection>,
    half_open: Slab<'m, HalfOpen>,
    time_wait: Slab<'m, TimeWait>,
    /// Connections in TIME-WAIT, the oldest first.
    time_wait_queue: List,
    /// Connections, half-open ones and those in TIME-WAIT by their flow.
    flows: HashIndex<'m>,
    /// The nodes that segments were for lately.
    last_hits: LastHits,
    listeners: Slab<'m, Listener>,
    udp_sockets: Slab<'m, UdpSocket>,
    /// Listeners and UDP sockets by local address and port.
    ports: HashIndex<'m>,
    pings: Slab<'m, Ping>,
    raw: RawSockets<'m>,
    path_mtus: PathMtus<'m>,
    reassembly: ReassemblyTable<'m>,
    /// Room for the longest datagram, to put one together in. While that is delivered, it is not here.
    scratch: Storage<'m, u8>,
    error_reports: ErrorReports,
    trace: Trace<'m>,

    /// Lists of the interfaces (ready sockets), neighbours (parked sockets) and TIME-WAIT. A socket is ready or parked,
    /// never both; `unlink` tells the two apart.
    links: Links<'m>,
    /// Lists of sockets with events and of accept queues. A connection is on one of the two: until it is accepted, its
    /// user has no handle for it, and it reports nothing.
    event_links: Links<'m>,
    events: List,
    deadlines: Deadlines<'m>,

    sequence_secret: Generator,
    cookie_secret: Generator,
    fast_open_keys: FastOpenKeys,
    fast_open_cookies: CookieCache,
    port_random: Generator,
    /// Ports that connections have moved on so far (RFC 6056 §3.3.3, `next_ephemeral`).
    port_offset: u32,
    hash_secret: Generator,
    identifier_random: Generator,
    identifications: Identifications,
    neighbor_random: Generator,
    address_secret: Generator,
    icmp_bucket: TokenBucket,
    counters: Counters,
}

/// Nodes whose deadlines one call of [`Stack::handle_timeout`] looks at.
const TIMEOUTS_PER_CALL: usize = 64;

#[cfg(feature = "alloc")]
impl Stack<'static> {
    /// A stack whose memory is allocated now, all of it.
    pub fn new(config: Config, limits: Limits) -> Self {
        Stack::in_memory(config, limits, StackMemory::allocate(&limits))
    }
}

impl<'m> Stack<'m> {
    /// A stack in memory that the caller lends; see [`StackMemory`] for the sizes.
    pub fn with_memory(config: Config, limits: Limits, memory: StackMemory<'m>) -> Result<Self, MemoryTooSmall> {
        memory.check(&limits)?;
        Ok(Stack::in_memory(config, limits, memory))
    }

    /// A stack in memory that is large enough.
    fn in_memory(config: Config, limits: Limits, memory: StackMemory<'m>) -> Self {
        let nodes = Nodes::new(&limits);
        let nat = NatMemory {
            flows: memory.nat_flows,
            mappings: memory.nat_mappings,
            hosts: memory.nat_hosts,
            links: memory.nat_links,
            buckets: memory.nat_buckets,
        };
        let seed = config.seed;
        Stack {
            now: Instant::ZERO,
            account: Account::new(limits.pool_blocks),
            nodes,
            generation: 1,
            interfaces: Slab::new(memory.interfaces, limits.interfaces),
            loopback: None,
            addresses: memory.addresses,
            groups: HashedTable::new(memory.groups, memory.group_buckets, limits.all_groups()),
            memberships: HashedTable::new(memory.memberships, memory.membership_buckets, limits.memberships),
            dns_servers: memory.dns_servers,
            search_domains: memory.search_domains,
            routes: RouteTable::new(memory.route_nodes, memory.routes, &limits),
            last_to_us_v4: (0, Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED),
            last_to_us_v6: (0, InterfaceId(0), Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
            last_route: None,
            ways: Ways::default(),
            nat: Nat::new(nat, limits.nat_flows),
            pending_flows: PendingFlows::new(memory.pending_flows, memory.pending_flow_buckets, &limits),
            last_path: None,
            neighbors: NeighborTable::new(
                memory.neighbors,
                memory.neighbor_buckets,
                Links::new(memory.neighbor_links, limits.neighbors),
                limits.neighbors,
            ),
            connections: Slab::new(memory.connections, limits.connections),
            half_open: Slab::new(memory.half_open, limits.syn_queue),
            time_wait: Slab::new(memory.time_wait, limits.time_wait),
            time_wait_queue: List::default(),
            flows: HashIndex::new(memory.flow_buckets, limits.connections + limits.syn_queue + limits.time_wait),
            last_hits: LastHits::default(),
            listeners: Slab::new(memory.listeners, limits.listeners),
            udp_sockets: Slab::new(memory.udp_sockets, limits.udp_sockets),
            ports: HashIndex::new(memory.port_buckets, limits.listeners + limits.udp_sockets),
            pings: Slab::new(memory.pings, limits.pings),
            raw: RawSockets::new(memory.raw_sockets, limits.raw_sockets),
            path_mtus: PathMtus::new(memory.path_mtus),
            reassembly: ReassemblyTable::new(
                Slab::new(memory.reassemblies, limits.reassemblies),
                HashIndex::new(memory.reassembly_buckets, limits.reassemblies),
                Links::new(memory.reassembly_links, limits.reassemblies),
                &limits,
            ),
            scratch: memory.scratch,
            error_reports: ErrorReports::default(),
            trace: Trace::new(memory.trace),
            links: Links::new(memory.links, nodes.count()),
            event_links: Links::new(memory.event_links, nodes.count()),
            events: List::default(),
            deadlines: Deadlines::new(memory.deadlines, memory.deadline_positions, nodes.count()),
            sequence_secret: Generator::new(seed, Use::InitialSequence),
            cookie_secret: Generator::new(seed, Use::SynCookies),
            fast_open_keys: FastOpenKeys::new(&mut Generator::new(seed, Use::FastOpen)),
            fast_open_cookies: CookieCache::new(),
            port_random: Generator::new(seed, Use::EphemeralPorts),
            port_offset: 0,
            hash_secret: Generator::new(seed, Use::HashTables),
            identifier_random: Generator::new(seed, Use::Identifiers),
            neighbor_random: Generator::new(seed, Use::Neighbors),
            address_secret: Generator::new(seed, Use::StableAddresses),
            identifications: Identifications::new(seed),
            icmp_bucket: TokenBucket::new(),
            counters: Counters::default(),
            config,
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Pool blocks that the stack holds.
    pub fn blocks_in_use(&self) -> u32 {
        self.account.used
    }

    /// The configuration that the stack was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Changes [`Config::tcp`]: the defaults of connections and listeners that are made from now on, and what TIME-WAIT goes by.
    pub fn set_tcp_config(&mut self, tcp: TcpConfig) {
        self.config.tcp = tcp;
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next. May be too early, is never too late.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.wants_loop() { Some(self.now) } else { self.deadlines.next() }
    }

    /// Does what is due at `now`: retransmissions, probes, expiries, and packets from this host to itself. Frames that have arrived by then are delivered
    /// first. A call does a bounded amount of work; if more is due, [`next_timeout`](Self::next_timeout) still says so.
    pub fn handle_timeout(&mut self, pool: &mut Pool<'_>, now: Instant) {
        self.advance_clock(now);
        for _ in 0..TIMEOUTS_PER_CALL {
            let Some(number) = self.deadlines.pop_expired(self.now) else { break };
            match self.nodes.node(number) {
                Node::Connection(index) => self.connection_timeout(pool, index),
                Node::HalfOpen(index) => self.half_open_timeout(index),
                Node::TimeWaitTimer => self.time_wait_timeout(),
                Node::NatTimer => self.nat_timeout(),
                Node::PendingFlow(index) => self.pending_flow_timeout(pool, index),
                Node::Neighbor(entry) => self.neighbor_timeout(pool, entry),
                Node::Ping(index) => self.ping_timeout(index),
                Node::Route(index) => self.route_timeout(index),
                Node::Reassembly(index) => self.reassembly_timeout(pool, index),
                Node::Interface(index) => self.look_after_interface(pool, InterfaceId(index as u8)),
                Node::Group(index) => self.group_timeout(pool, index),
                Node::TimeWait(_) | Node::Listener(_) | Node::Udp(_) | Node::Raw(_) => {}
            }
        }
        if let Some(interface) = self.loopback.filter(|_| self.wants_loop()) {
            self.loop_packets(pool, interface);
        }
    }

    /// The next socket that needs attention, with everything that happened to it since it was returned last.
    pub fn poll_event(&mut self) -> Option<Event> {
        while let Some(number) = self.event_links.pop_front(&mut self.events) {
            let event = match self.nodes.node(number) {
                Node::Connection(index) => self.connections.key(index).and_then(|key| {
                    let signals = core::mem::take(&mut self.connections.get_mut(index)?.signals);
                    Some((signals, Event::Connection(ConnectionHandle(key), signals)))
                }),
                Node::Listener(index) => self.listeners.key(index).and_then(|key| {
                    let signals = core::mem::take(&mut self.listeners.get_mut(index)?.signals);
                    Some((signals, Event::Listener(ListenerHandle(key), signals)))
                }),
                Node::Udp(index) => self.udp_sockets.key(index).and_then(|key| {
                    let signals = core::mem::take(&mut self.udp_sockets.get_mut(index)?.signals);
                    Some((signals, Event::Udp(UdpHandle(key), signals)))
                }),
                Node::Raw(index) => self.raw.sockets.key(index).and_then(|key| {
                    let signals = core::mem::take(&mut self.raw.sockets.get_mut(index)?.signals);
                    Some((signals, Event::Raw(RawHandle(key), signals)))
                }),
                Node::Ping(index) => {
                    self.pings.key(index).map(|key| (Signals::CLOSED, Event::Ping(PingHandle(key), Signals::CLOSED)))
                }
                Node::Interface(index) => self
                    .interfaces
                    .get(index)
                    .map(|_| (Signals::CHANGED, Event::Interface(InterfaceId(index as u8), Signals::CHANGED))),
                Node::PendingFlow(index) => {
                    self.pending_flows.key(index).map(|handle| (Signals::ACCEPTABLE, Event::Flow(handle)))
                }
                Node::HalfOpen(_)
                | Node::TimeWait(_)
                | Node::Neighbor(_)
                | Node::Route(_)
                | Node::Reassembly(_)
                | Node::NatTimer
                | Node::Group(_)
                | Node::TimeWaitTimer => None,
            };
            if let Some((signals, event)) = event
                && !signals.is_empty()
            {
                return Some(event);
            }
        }
        None
    }

    /// Whether [`transmit`](Self::transmit) may have a frame for this interface.
    pub fn wants_transmit(&self, interface: InterfaceId) -> bool {
        let Some(found) = self.interfaces.get(u32::from(interface.0)) else { return false };
        if found.is_plain() { found.wants_transmit() } else { self.wants_wrapped(interface) }
    }

    /// A time that goes backwards is clamped: for the stack it stands still.
    #[inline]
    fn advance_clock(&mut self, now: Instant) {
        if now > self.now {
            self.now = now;
            if self.path_mtus.is_outdated(now) {
                self.expire_path_mtus();
            }
        }
    }

    /// Puts a node on the list of events.
    #[inline(never)] // Called from many places: one copy is enough.
    fn notify(&mut self, node: Node) {
        self.event_links.push_back(&mut self.events, self.nodes.number(node));
    }

    /// Makes cached paths void.
    fn invalidate_paths(&mut self) {
        self.generation = self.generation.wrapping_add(1).max(1);
    }
}
