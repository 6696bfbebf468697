//! Address resolution over the neighbour table, and what becomes of its entries: neighbour unreachability detection (RFC 4861
//! §7.3, RFC 7048), which is the same for both families. The packets are in [`arp`](super::arp) and
//! [`neighbor_discovery`](super::neighbor_discovery).

use core::net::{IpAddr, SocketAddr};

use super::Stack;
use super::addressing::{ConfigError, is_group};
use super::interface::{Interface, LinkTimes};
use super::media::NO_STATION;
use super::neighbor::{DELAY_FIRST_PROBE_TIME, MAX_SOLICIT, NeighborState, NeighborUser, REACHABLE_TIME};
use super::nodes::Node;
use crate::address::is_unicast;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::time::{Duration, Instant};
use crate::wire::{MacAddr, NdpOption, icmpv6, ipv6, ndp};

/// How often the time that neighbours are believed is drawn (Linux's; RFC 4861 §6.3.4: at least every few hours).
const REDRAW_INTERVAL: Duration = Duration::from_secs(300);
/// Sockets that one call takes off a neighbour's list.
const UNPARKED_PER_CALL: usize = 64;

/// The answer to "which station has this address?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    Ready(MacAddr),
    /// Asked; wait on this entry.
    Pending(u32),
    /// The table is full of active entries.
    TableFull,
}

impl Stack<'_> {
    /// Adds a neighbour by hand. The entry is never asked about and never removed.
    pub fn add_neighbor(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        address: IpAddr,
        mac: MacAddr,
    ) -> Result<(), ConfigError> {
        if self.interfaces.get(u32::from(interface.0)).is_none() {
            return Err(ConfigError::NoSuchInterface(interface));
        }
        if !is_unicast(address) {
            return Err(ConfigError::AddressNotUnicast(address));
        }
        if !mac.is_unicast() {
            return Err(ConfigError::MacNotUnicast(mac));
        }
        let entry = self
            .neighbor_entry(pool, interface, address, NeighborState::Permanent)
            .ok_or(ConfigError::LimitReached("neighbors"))?;
        self.confirm_neighbor(entry, mac, NeighborState::Permanent);
        Ok(())
    }

    /// The neighbour table.
    pub fn neighbors(&self) -> impl Iterator<Item = (InterfaceId, IpAddr, Option<MacAddr>, NeighborState)> {
        self.neighbors.iter().map(|neighbor| {
            let mac = neighbor.is_usable().then_some(neighbor.mac);
            (neighbor.interface, neighbor.address, mac, neighbor.state)
        })
    }

    /// Finds the station of a next hop, asking if need be.
    pub(super) fn resolve(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, address: IpAddr) -> Resolution {
        if is_group(address) {
            return Resolution::Ready(MacAddr::for_multicast(address));
        }
        if let IpAddr::V4(v4) = address
            && self.is_directed_broadcast(v4)
        {
            return Resolution::Ready(MacAddr::BROADCAST);
        }
        if !self.has_stations(interface) {
            return Resolution::Ready(NO_STATION);
        }
        let Some(entry) = self.neighbor_entry(pool, interface, address, NeighborState::Failed) else {
            return Resolution::TableFull;
        };
        self.neighbors.touch(entry);
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return Resolution::TableFull };
        match neighbor.state {
            NeighborState::Incomplete => return Resolution::Pending(entry),
            NeighborState::Failed => {
                neighbor.state = NeighborState::Incomplete;
                neighbor.solicits = 0;
                // One request a second at most, also over several attempts.
                let last = neighbor.last_solicit;
                let earliest = last.map_or(self.now, |last| last + self.link_times(interface).retrans_timer);
                if earliest > self.now {
                    self.set_neighbor_deadline(entry, earliest);
                } else {
                    self.solicit(pool, entry);
                }
                return Resolution::Pending(entry);
            }
            // RFC 4861 §7.3.3: "the first time a node sends a packet to a neighbor whose entry is STALE, the sender changes the
            // state to DELAY".
            NeighborState::Stale => {
                let mac = neighbor.mac;
                neighbor.state = NeighborState::Delay;
                neighbor.user = None;
                self.set_neighbor_deadline(entry, self.now + DELAY_FIRST_PROBE_TIME);
                return Resolution::Ready(mac);
            }
            NeighborState::Reachable
            | NeighborState::Delay
            | NeighborState::Probe
            | NeighborState::Unreachable
            | NeighborState::Permanent => {}
        }
        Resolution::Ready(neighbor.mac)
    }

    /// Whether neighbours on an interface are stations with addresses of their own.
    pub(super) fn has_stations(&self, interface: InterfaceId) -> bool {
        self.interfaces.get(u32::from(interface.0)).is_some_and(Interface::has_stations)
    }

    fn neighbor_entry(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        address: IpAddr,
        initial: NeighborState,
    ) -> Option<u32> {
        self.neighbors
            .find(&self.hash_secret, interface, address)
            .or_else(|| self.neighbors.insert(&self.hash_secret, pool, &mut self.account, interface, address, initial))
    }

    fn set_neighbor_deadline(&mut self, entry: u32, at: Instant) {
        if let Some(neighbor) = self.neighbors.get_mut(entry) {
            neighbor.deadline = at;
            if at < Instant::FAR_FUTURE {
                self.deadlines.set_no_later(self.nodes.number(Node::Neighbor(entry)), at);
            }
        }
    }

    /// Sends a request for the entry's address: to the known station in PROBE, else to all.
    fn solicit(&mut self, pool: &mut Pool<'_>, entry: u32) {
        let now = self.now;
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        neighbor.solicits = neighbor.solicits.saturating_add(1);
        neighbor.last_solicit = Some(now);
        let (interface, address) = (neighbor.interface, neighbor.address);
        let known = (neighbor.state == NeighborState::Probe).then_some(neighbor.mac);
        let retrans_timer = self.link_times(interface).retrans_timer;
        let patience = self.neighbors.get(entry).map_or(retrans_timer, |neighbor| neighbor.patience(retrans_timer));
        self.set_neighbor_deadline(entry, now + patience);
        let source_mac = self.mac(interface);
        match (address, self.source_on(interface, address)) {
            (IpAddr::V4(target_ip), Some(IpAddr::V4(sender_ip))) => {
                self.ask_arp(pool, interface, sender_ip, target_ip, known.unwrap_or(MacAddr::BROADCAST));
            }
            (IpAddr::V6(target), Some(IpAddr::V6(source))) => {
                let group = ipv6::solicited_node_multicast(target);
                let (destination, mac) = match known {
                    Some(mac) => (target, mac),
                    None => (group, MacAddr::for_multicast(IpAddr::V6(group))),
                };
                let mut message = [0; ndp::NEIGHBOR_LEN];
                // RFC 4429 §3.2: from an address that may not be ours, nothing is told that others would believe.
                let is_sure = self.is_sure_of(interface, IpAddr::V6(source));
                let option = is_sure.then_some(NdpOption::SourceLinkLayerAddress(source_mac));
                let len = ndp::emit_neighbor_solicitation(source, destination, &mut message, target, option);
                self.send_ndp(pool, interface, mac, source, destination, &message[..len]);
            }
            _ => {}
        }
    }

    /// How long entries of an interface are believed, and when requests are repeated.
    pub(super) fn link_times(&self, interface: InterfaceId) -> LinkTimes {
        self.interfaces.get(u32::from(interface.0)).map_or(LinkTimes::DEFAULT, |found| found.times)
    }

    /// A neighbour has told its station. `may_add` if it is about to be needed.
    #[expect(clippy::too_many_arguments, reason = "the fields of one observation")]
    pub(super) fn learn(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        address: IpAddr,
        mac: MacAddr,
        known: Option<u32>,
        state: NeighborState,
        may_add: bool,
    ) {
        let entry = match known {
            Some(entry) => entry,
            None if may_add => match self.neighbor_entry(pool, interface, address, NeighborState::Stale) {
                Some(entry) => entry,
                None => {
                    self.counters.drop(DropReason::NeighborTableFull);
                    return;
                }
            },
            None => return,
        };
        let Some(neighbor) = self.neighbors.get(entry) else { return };
        let unchanged = neighbor.is_usable() && neighbor.mac == mac && state != NeighborState::Reachable;
        if neighbor.state != NeighborState::Permanent && !unchanged {
            self.confirm_neighbor(entry, mac, state);
        }
    }

    /// The station of a neighbour is known: what waited for it can go.
    pub(super) fn confirm_neighbor(&mut self, entry: u32, mac: MacAddr, state: NeighborState) {
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        let moved = neighbor.mac != mac || !neighbor.is_usable();
        let (interface, was_stale) = (neighbor.interface, neighbor.state == NeighborState::Stale);
        neighbor.mac = mac;
        neighbor.state = state;
        neighbor.has_failed = false;
        neighbor.solicits = 0;
        let deadline = match state {
            NeighborState::Reachable => self.now + self.reachable_time(interface),
            _ => Instant::FAR_FUTURE,
        };
        self.set_neighbor_deadline(entry, deadline);
        // Whoever uses one that is stale has to pass `resolve`.
        if moved || (state == NeighborState::Stale && !was_stale) {
            self.invalidate_paths();
        }
        self.release_pending(entry, interface);
        self.unpark(entry);
    }

    /// The packets that waited for a neighbour have the next turn on its interface, before what was sent after them.
    fn release_pending(&mut self, entry: u32, interface: InterfaceId) {
        let Some(neighbor) = self.neighbors.get(entry) else { return };
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return };
        if !neighbor.pending.is_empty() {
            found.turn_used = 0;
            self.links.push_front(&mut found.ready, self.nodes.number(Node::Neighbor(entry)));
        }
    }

    /// Keeps an IP packet until the neighbour answers.
    pub(super) fn wait_for_neighbor(&mut self, pool: &mut Pool<'_>, entry: u32, packet: &[&[u8]]) {
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        for _ in 0..neighbor.keep_pending(pool, &mut self.account, packet) {
            self.counters.drop(DropReason::NeighborQueueFull);
        }
    }

    /// Puts sockets that waited for a neighbour back on their interface's list, some at a time.
    fn unpark(&mut self, entry: u32) {
        for _ in 0..UNPARKED_PER_CALL {
            let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
            let Some(number) = self.links.pop_front(&mut neighbor.parked) else { return };
            self.unparked(number);
        }
        let now = self.now;
        if self.neighbors.get(entry).is_some_and(|neighbor| !neighbor.parked.is_empty()) {
            self.deadlines.set_no_later(self.nodes.number(Node::Neighbor(entry)), now);
        }
    }

    fn unparked(&mut self, number: u32) {
        match self.nodes.node(number) {
            Node::Connection(index) => {
                if let Some(connection) = self.connections.get_mut(index) {
                    connection.parked = None;
                    self.schedule_connection(index);
                }
            }
            Node::HalfOpen(index) => {
                if let Some(half_open) = self.half_open.get_mut(index) {
                    half_open.parked = None;
                    self.schedule_half_open(index);
                }
            }
            _ => {}
        }
    }

    pub(super) fn neighbor_timeout(&mut self, pool: &mut Pool<'_>, entry: u32) {
        let now = self.now;
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        let is_usable = neighbor.is_usable();
        if !neighbor.parked.is_empty() && (is_usable || neighbor.state == NeighborState::Failed) {
            if is_usable { self.unpark(entry) } else { self.fail_parked(pool, entry) }
        }
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        if neighbor.deadline > now {
            let deadline = neighbor.deadline;
            self.set_neighbor_deadline(entry, deadline);
            return;
        }
        match neighbor.state {
            NeighborState::Incomplete | NeighborState::Probe | NeighborState::Unreachable
                if neighbor.solicits < MAX_SOLICIT =>
            {
                self.solicit(pool, entry);
            }
            // RFC 7048 §3: the station may have changed, so that all are asked before the neighbour is given up.
            NeighborState::Probe => {
                neighbor.state = NeighborState::Unreachable;
                neighbor.has_failed = true;
                neighbor.solicits = 0;
                self.solicit(pool, entry);
                // There may be another way.
                self.invalidate_paths();
            }
            NeighborState::Incomplete | NeighborState::Unreachable => self.fail_neighbor(pool, entry),
            NeighborState::Reachable | NeighborState::Delay => self.confirmation_is_missed(pool, entry),
            NeighborState::Stale | NeighborState::Failed | NeighborState::Permanent => {}
        }
    }

    /// Nothing was heard of a neighbour for REACHABLE_TIME, or for DELAY_FIRST_PROBE_TIME after it was used again. What its last
    /// user has achieved meanwhile counts (RFC 4861 §7.3.1).
    fn confirmation_is_missed(&mut self, pool: &mut Pool<'_>, entry: u32) {
        let Some(neighbor) = self.neighbors.get(entry) else { return };
        let reachable_time = self.link_times(neighbor.interface).reachable_time;
        let user = neighbor.user.and_then(|user| Some((user, self.connections.lookup(user.connection)?)));
        let confirmed = user.and_then(|(user, connection)| {
            let progress = connection.progress();
            let until = connection.last_received + reachable_time;
            (progress != user.progress && until > self.now).then_some((NeighborUser { progress, ..user }, until))
        });
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        if let Some((user, until)) = confirmed {
            neighbor.user = Some(user);
            neighbor.state = NeighborState::Reachable;
            self.set_neighbor_deadline(entry, until);
        } else if neighbor.state == NeighborState::Delay {
            neighbor.state = NeighborState::Probe;
            neighbor.solicits = 0;
            self.solicit(pool, entry);
        } else {
            self.neighbor_is_doubted(entry);
        }
    }

    /// A neighbour that was reachable is no longer believed to be. Whoever still uses it finds that out through `resolve`.
    pub(super) fn neighbor_is_doubted(&mut self, entry: u32) {
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        if neighbor.state == NeighborState::Reachable {
            neighbor.state = NeighborState::Stale;
            neighbor.deadline = Instant::FAR_FUTURE;
            self.invalidate_paths();
        }
    }

    /// The application knows that a peer answers what it sends, by UDP or else: the next hop on the way to it need not be asked whether it is there (RFC 4861
    /// §7.3.1, Linux's `MSG_CONFIRM`). TCP says so by itself.
    pub fn confirm_reachability(&mut self, now: Instant, peer: SocketAddr) {
        self.advance_clock(now);
        let Ok(link) = self.link_to(peer, None) else { return };
        let Some(hop) = self.hop_to(link, peer.ip()) else { return };
        let entry = self.neighbors.find(&self.hash_secret, hop.interface, hop.address);
        let neighbor = entry.and_then(|entry| self.neighbors.get(entry));
        if let (Some(entry), Some(neighbor)) = (entry, neighbor)
            && neighbor.is_usable()
            && neighbor.state != NeighborState::Permanent
        {
            self.confirm_neighbor(entry, neighbor.mac, NeighborState::Reachable);
        }
    }

    /// A connection has found its path through the neighbour that was looked up last.
    pub(super) fn note_neighbor_user(&mut self, index: u32) {
        let (Some(key), Some(connection)) = (self.connections.key(index), self.connections.get(index)) else { return };
        if let Some(neighbor) = self.neighbors.last_found() {
            neighbor.user = Some(NeighborUser { connection: key, progress: connection.progress() });
        }
    }

    /// The peer of a connection does not answer. "When [...] the number of transmissions [...] reaches or exceeds threshold R1, pass
    /// negative advice (see Section 3.3.1.4 of [RFC 1122]) to the IP layer, to trigger dead-gateway diagnosis" (RFC 9293 §3.8.3).
    #[cold]
    pub(super) fn doubt_next_hop(&mut self, index: u32) {
        let Some(flow) = self.connections.get(index).map(|connection| connection.flow) else { return };
        let Some(hop) = self.hop_to(flow.link, flow.remote) else { return };
        if let Some(entry) = self.neighbors.find(&self.hash_secret, hop.interface, hop.address) {
            self.neighbor_is_doubted(entry);
        }
    }

    /// How long a neighbour that was confirmed is believed; drawn anew now and then (RFC 4861 §6.3.4, as often as in Linux).
    fn reachable_time(&mut self, interface: InterfaceId) -> Duration {
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return REACHABLE_TIME };
        if found.times.drawn_at.is_none_or(|drawn| self.now.since(drawn) >= REDRAW_INTERVAL) {
            found.times.draw(self.now, &mut self.neighbor_random);
        }
        found.times.reachable_time
    }

    fn fail_neighbor(&mut self, pool: &mut Pool<'_>, entry: u32) {
        let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
        neighbor.state = NeighborState::Failed;
        neighbor.has_failed = true;
        neighbor.deadline = Instant::FAR_FUTURE;
        // It may have been confirmed, and failed again before the packets had their turn.
        if let Some(found) = self.interfaces.get_mut(u32::from(neighbor.interface.0)) {
            self.links.remove(&mut found.ready, self.nodes.number(Node::Neighbor(entry)));
        }
        self.invalidate_paths();
        self.fail_pending(pool, entry);
        self.fail_parked(pool, entry);
    }

    /// Drops the packets that waited for a neighbour; the senders of those that we forward are told.
    fn fail_pending(&mut self, pool: &mut Pool<'_>, entry: u32) {
        let mut quote = [0; icmpv6::MAX_ORIGINAL_LEN];
        while let Some(neighbor) = self.neighbors.get_mut(entry).filter(|neighbor| !neighbor.pending.is_empty()) {
            let len = neighbor.pending.peek(pool, 0, &mut quote);
            neighbor.pending.pop(pool, &mut self.account);
            self.counters.drop(DropReason::NeighborUnreachable);
            self.next_hop_unreachable(pool, &mut quote[..len]);
        }
    }

    /// Tells sockets that waited for a neighbour that it does not answer, some at a time.
    fn fail_parked(&mut self, pool: &mut Pool<'_>, entry: u32) {
        for _ in 0..UNPARKED_PER_CALL {
            let Some(neighbor) = self.neighbors.get_mut(entry) else { return };
            let Some(number) = self.links.pop_front(&mut neighbor.parked) else { return };
            match self.nodes.node(number) {
                Node::Connection(index) => self.next_hop_failed(pool, index),
                Node::HalfOpen(index) => {
                    // Its retransmission timer asks again.
                    if let Some(half_open) = self.half_open.get_mut(index) {
                        half_open.parked = None;
                    }
                }
                _ => {}
            }
        }
        let now = self.now;
        self.deadlines.set_no_later(self.nodes.number(Node::Neighbor(entry)), now);
    }

    /// Forgets all neighbours on an interface. What waited for them is dropped; the sockets look for another way.
    pub(super) fn forget_neighbors(&mut self, pool: &mut Pool<'_>, interface: InterfaceId) {
        for entry in 0..self.neighbors.capacity() {
            while let Some(neighbor) = self.neighbors.get_mut(entry).filter(|found| found.interface == interface) {
                if let Some(number) = self.links.pop_front(&mut neighbor.parked) {
                    self.unparked(number);
                    continue;
                }
                for _ in 0..neighbor.pending.len() {
                    self.counters.drop(DropReason::NoInterface);
                }
                self.deadlines.remove(self.nodes.number(Node::Neighbor(entry)));
                self.neighbors.remove(&self.hash_secret, pool, &mut self.account, entry);
            }
        }
    }

    /// Parks a node on a neighbour's list. It must be on no list.
    #[inline]
    pub(super) fn park(&mut self, entry: u32, number: u32) {
        if let Some(neighbor) = self.neighbors.get_mut(entry) {
            self.links.push_back(&mut neighbor.parked, number);
        }
    }

    /// Takes a node off the list that it is on: a neighbour's if it is parked, else its interface's.
    #[inline]
    pub(super) fn unlink(&mut self, number: u32, parked: Option<u32>, interface: InterfaceId) {
        match parked {
            Some(entry) => {
                if let Some(neighbor) = self.neighbors.get_mut(entry) {
                    self.links.remove(&mut neighbor.parked, number);
                }
            }
            None => {
                if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
                    self.links.remove(&mut found.ready, number);
                }
            }
        }
    }
}
