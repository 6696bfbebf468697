//! The table of network address translation: mappings of inside endpoints to ports of the outside address, the flows that use them, and the inside
//! hosts that hold them. Everything is found by a keyed hash; flows wait for their end in one queue for each time that they may be idle, so that
//! nothing is ever scanned for a packet.

use core::net::Ipv4Addr;

use crate::hash_index::{Bucket, HashIndex};
use crate::links::{Link, Links, List};
use crate::random::Generator;
use crate::slab::{Slab, Slot};
use crate::storage::Storage;
use crate::time::{Duration, Instant};

/// An address and a port, or the identifier of ICMP queries.
pub(super) type Socket4 = (Ipv4Addr, u16);

/// Flows are moved to the end of their queue once in this time, however many packets they have.
const GRAIN: Duration = Duration::from_secs(1);

/// How long a flow may be idle depends on what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    Udp,
    Icmp,
    /// Between handshake and end.
    TcpEstablished,
    TcpTransitory,
}

pub(super) const CLASSES: usize = 4;

/// A mapping of an inside endpoint to a port outside (RFC 4787 §4.1: endpoint-independent).
#[derive(Clone, Debug)]
pub struct NatMapping {
    pub(super) protocol: u8,
    pub(super) inside: Socket4,
    pub(super) outside_port: u16,
    /// It was set by the user, and stays without flows.
    pub(super) is_fixed: bool,
    pub(super) flows: u32,
}

/// A flow: a mapping and whom it talks to.
#[derive(Clone, Debug)]
pub struct NatFlow {
    pub(super) mapping: u32,
    host: u32,
    pub(super) remote: Socket4,
    pub(super) class: Class,
    /// What was seen of a TCP connection.
    pub(super) seen: u8,
    /// When it was put at the end of its queue.
    pub(super) queued: Instant,
}

/// An inside host with flows.
#[derive(Clone, Debug)]
pub struct NatHost {
    address: Ipv4Addr,
    flows: u32,
}

/// Hosts that so many flows may be of.
pub(crate) const fn hosts_for(flows: usize) -> usize {
    if flows == 0 { 0 } else { flows / 8 + 8 }
}

/// Entries of the index: a flow and a mapping are found from both sides.
pub(crate) const fn keys_for(flows: usize) -> usize {
    4 * flows + hosts_for(flows)
}

/// The memory of the table.
#[derive(Debug)]
pub(super) struct NatMemory<'m> {
    pub(super) flows: Storage<'m, Slot<NatFlow>>,
    pub(super) mappings: Storage<'m, Slot<NatMapping>>,
    pub(super) hosts: Storage<'m, Slot<NatHost>>,
    pub(super) links: Storage<'m, Link>,
    pub(super) buckets: Storage<'m, Bucket>,
}

/// See the [module](self).
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct NatTable<'m> {
    flows: Slab<'m, NatFlow>,
    mappings: Slab<'m, NatMapping>,
    hosts: Slab<'m, NatHost>,
    index: HashIndex<'m>,
    links: Links<'m>,
    /// The memory of both, until they are used.
    untouched: Option<(Storage<'m, Bucket>, Storage<'m, Link>)>,
    queues: [List; CLASSES],
    /// Most flows, which is also how many mappings there are at most.
    limit: usize,
}

/// What a key of the index is of: part of what is hashed.
#[derive(Clone, Copy)]
enum Key {
    FlowInside,
    FlowOutside,
    MappingInside,
    MappingOutside,
    Host,
}

#[inline(never)] // Called from many places: one copy is enough.
fn hash(secret: &Generator, key: Key, protocol: u8, a: Socket4, b: Socket4) -> u32 {
    let addresses = u64::from(a.0.to_bits()) << 32 | u64::from(b.0.to_bits());
    let ports = u64::from(a.1) << 16 | u64::from(b.1);
    secret.hash(&[addresses, (key as u64 + 1) << 40 | u64::from(protocol) << 32 | ports])
}

const NOBODY: Socket4 = (Ipv4Addr::UNSPECIFIED, 0);

/// A port outside: the address is always the same.
fn outside(port: u16) -> Socket4 {
    (Ipv4Addr::UNSPECIFIED, port)
}

impl<'m> NatTable<'m> {
    /// A table for so many flows. Its index is touched when it is first [used](Self::prepare).
    pub(super) fn new(memory: NatMemory<'m>, limit: usize) -> Self {
        NatTable {
            flows: Slab::new(memory.flows, limit),
            mappings: Slab::new(memory.mappings, limit),
            hosts: Slab::new(memory.hosts, hosts_for(limit)),
            index: HashIndex::nothing(),
            links: Links::new(Storage::borrowed(&mut []), 0),
            untouched: Some((memory.buckets, memory.links)),
            queues: [List::default(); CLASSES],
            limit,
        }
    }

    /// Makes the table ready for use.
    pub(super) fn prepare(&mut self) {
        if let Some((buckets, links)) = self.untouched.take() {
            self.index = HashIndex::new(buckets, keys_for(self.limit));
            self.links = Links::new(links, self.limit);
        }
    }

    // Numbers of the index: flows twice, mappings twice, hosts.

    fn mapping_number(&self, mapping: u32, is_outside: bool) -> u32 {
        2 * (self.limit as u32 + mapping) + u32::from(is_outside)
    }

    fn host_number(&self, host: u32) -> u32 {
        4 * self.limit as u32 + host
    }

    /// The flow from an inside endpoint to a remote one.
    pub(super) fn find_from_inside(
        &self,
        secret: &Generator,
        protocol: u8,
        inside: Socket4,
        to: Socket4,
    ) -> Option<u32> {
        let hash = hash(secret, Key::FlowInside, protocol, inside, to);
        let is_it = |flow: &NatFlow, mapping: &NatMapping| flow.remote == to && mapping.inside == inside;
        self.find_flow(hash, protocol, is_it)
    }

    /// The flow from a remote endpoint to a port outside.
    pub(super) fn find_from_outside(&self, secret: &Generator, protocol: u8, port: u16, from: Socket4) -> Option<u32> {
        let hash = hash(secret, Key::FlowOutside, protocol, outside(port), from);
        let is_it = |flow: &NatFlow, mapping: &NatMapping| flow.remote == from && mapping.outside_port == port;
        self.find_flow(hash, protocol, is_it)
    }

    fn find_flow(&self, hash: u32, protocol: u8, is_it: impl Fn(&NatFlow, &NatMapping) -> bool) -> Option<u32> {
        let matches = |number: u32| {
            let flow = self.flows.get(number / 2).filter(|_| (number as usize) < 2 * self.limit);
            let found = flow.and_then(|flow| Some((flow, self.mappings.get(flow.mapping)?)));
            found.is_some_and(|(flow, mapping)| mapping.protocol == protocol && is_it(flow, mapping))
        };
        self.index.find(hash, matches).map(|number| number / 2)
    }

    /// The mapping of an inside endpoint.
    pub(super) fn mapping_of(&self, secret: &Generator, protocol: u8, inside: Socket4) -> Option<u32> {
        let hash = hash(secret, Key::MappingInside, protocol, inside, NOBODY);
        self.find_mapping(hash, |mapping| mapping.protocol == protocol && mapping.inside == inside)
    }

    /// The mapping that has a port outside.
    pub(super) fn mapping_at(&self, secret: &Generator, protocol: u8, port: u16) -> Option<u32> {
        let hash = hash(secret, Key::MappingOutside, protocol, outside(port), NOBODY);
        self.find_mapping(hash, |mapping| mapping.protocol == protocol && mapping.outside_port == port)
    }

    fn find_mapping(&self, hash: u32, is_it: impl Fn(&NatMapping) -> bool) -> Option<u32> {
        let first = 2 * self.limit as u32;
        let index = |number: u32| number.checked_sub(first).map(|number| number / 2);
        let matches = |number| index(number).and_then(|place| self.mappings.get(place)).is_some_and(&is_it);
        self.index.find(hash, matches).and_then(index)
    }

    pub(super) fn mapping(&self, mapping: u32) -> Option<&NatMapping> {
        self.mappings.get(mapping)
    }

    pub(super) fn flow(&self, flow: u32) -> Option<(&NatFlow, &NatMapping)> {
        let flow = self.flows.get(flow)?;
        Some((flow, self.mappings.get(flow.mapping)?))
    }

    pub(super) fn flow_mut(&mut self, flow: u32) -> Option<&mut NatFlow> {
        self.flows.get_mut(flow)
    }

    /// All flows; for listings.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&NatFlow, &NatMapping)> {
        self.flows.iter().filter_map(|(_, flow)| Some((flow, self.mappings.get(flow.mapping)?)))
    }

    pub(super) fn is_full(&self) -> bool {
        self.flows.is_full()
    }

    /// Adds a mapping; none if the table is full.
    pub(super) fn add_mapping(&mut self, secret: &Generator, mapping: NatMapping) -> Option<u32> {
        let (protocol, inside, port) = (mapping.protocol, mapping.inside, mapping.outside_port);
        let index = self.mappings.insert(mapping).ok()?.index;
        let hashes = [
            hash(secret, Key::MappingInside, protocol, inside, NOBODY),
            hash(secret, Key::MappingOutside, protocol, outside(port), NOBODY),
        ];
        for (hash, is_outside) in hashes.into_iter().zip([false, true]) {
            self.index.insert(hash, self.mapping_number(index, is_outside));
        }
        Some(index)
    }

    /// Removes a mapping that no flow has.
    pub(super) fn remove_mapping(&mut self, secret: &Generator, index: u32) {
        let Some(mapping) = self.mappings.get(index) else { return };
        let (protocol, inside, port) = (mapping.protocol, mapping.inside, mapping.outside_port);
        let hashes = [
            hash(secret, Key::MappingInside, protocol, inside, NOBODY),
            hash(secret, Key::MappingOutside, protocol, outside(port), NOBODY),
        ];
        for (hash, is_outside) in hashes.into_iter().zip([false, true]) {
            self.index.remove(hash, self.mapping_number(index, is_outside));
        }
        self.mappings.remove(index);
    }

    /// The entry of an inside host, a new one if need be.
    fn host(&mut self, secret: &Generator, address: Ipv4Addr) -> Option<u32> {
        let hash = hash(secret, Key::Host, 0, (address, 0), NOBODY);
        let first = self.host_number(0);
        let index = |number: u32| number.checked_sub(first);
        let is_it =
            |number| index(number).and_then(|place| self.hosts.get(place)).is_some_and(|host| host.address == address);
        if let Some(number) = self.index.find(hash, is_it) {
            return index(number);
        }
        let host = self.hosts.insert(NatHost { address, flows: 0 }).ok()?.index;
        self.index.insert(hash, first + host);
        Some(host)
    }

    /// Adds a flow of a mapping; none if the table is full or the inside host has `per_host` of them.
    pub(super) fn add_flow(
        &mut self,
        secret: &Generator,
        mapping: u32,
        remote: Socket4,
        per_host: u32,
        now: Instant,
    ) -> Option<u32> {
        let found = self.mappings.get(mapping)?;
        let (protocol, inside, port) = (found.protocol, found.inside, found.outside_port);
        if self.flows.is_full() {
            return None;
        }
        let host = self.host(secret, inside.0)?;
        if self.hosts.get(host)?.flows >= per_host {
            self.release_host(secret, host, 0);
            return None;
        }
        // Where it belongs is said by the first packet, which is about to be seen.
        let flow = NatFlow { mapping, host, remote, class: Class::TcpTransitory, seen: 0, queued: now };
        let index = self.flows.insert(flow).ok()?.index;
        self.hosts.get_mut(host)?.flows += 1;
        self.mappings.get_mut(mapping)?.flows += 1;
        self.index.insert(hash(secret, Key::FlowInside, protocol, inside, remote), 2 * index);
        self.index.insert(hash(secret, Key::FlowOutside, protocol, outside(port), remote), 2 * index + 1);
        self.links.push_back(&mut self.queues[Class::TcpTransitory as usize], index);
        Some(index)
    }

    fn release_host(&mut self, secret: &Generator, host: u32, flows: u32) {
        let Some(found) = self.hosts.get_mut(host) else { return };
        found.flows -= flows;
        if found.flows == 0 {
            let hash = hash(secret, Key::Host, 0, (found.address, 0), NOBODY);
            self.index.remove(hash, self.host_number(host));
            self.hosts.remove(host);
        }
    }

    /// Removes a flow, and its mapping with the last one.
    pub(super) fn remove_flow(&mut self, secret: &Generator, index: u32) {
        let Some((flow, mapping)) = self.flow(index) else { return };
        let (protocol, inside, port) = (mapping.protocol, mapping.inside, mapping.outside_port);
        let NatFlow { mapping, host, remote, class, .. } = *flow;
        self.index.remove(hash(secret, Key::FlowInside, protocol, inside, remote), 2 * index);
        self.index.remove(hash(secret, Key::FlowOutside, protocol, outside(port), remote), 2 * index + 1);
        self.links.remove(&mut self.queues[class as usize], index);
        self.flows.remove(index);
        self.release_host(secret, host, 1);
        if let Some(found) = self.mappings.get_mut(mapping) {
            found.flows -= 1;
            if found.flows == 0 && !found.is_fixed {
                self.remove_mapping(secret, mapping);
            }
        }
    }

    /// A flow was used: its time begins anew, in the queue of `class`.
    #[inline]
    pub(super) fn refresh(&mut self, index: u32, class: Class, now: Instant) {
        let Some(flow) = self.flows.get_mut(index) else { return };
        let old = flow.class;
        if old == class && now.since(flow.queued) < GRAIN {
            return;
        }
        flow.class = class;
        flow.queued = now;
        self.links.remove(&mut self.queues[old as usize], index);
        self.links.push_back(&mut self.queues[class as usize], index);
    }

    /// The flow of a class that was used least recently, and when that was.
    pub(super) fn oldest(&self, class: usize) -> Option<(u32, Instant)> {
        let index = self.queues[class].head()?;
        Some((index, self.flows.get(index)?.queued))
    }

    /// Mappings that the user has set.
    pub(super) fn fixed(&self) -> impl Iterator<Item = (u32, &NatMapping)> {
        self.mappings.iter().filter(|(_, mapping)| mapping.is_fixed)
    }
}
