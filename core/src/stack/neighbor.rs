//! The neighbour table: which station has which address (RFC 826, RFC 4861 §5.1).
//!
//! This file is the table and its states. What is sent and received for it is in [`resolution`](super::resolution).

use core::net::IpAddr;

use crate::address::words;
use crate::event::InterfaceId;
use crate::hash_index::{Bucket, HashIndex};
use crate::links::{Links, List};
use crate::pool::{Account, Pool};
use crate::random::Generator;
use crate::record_queue::RecordQueue;
use crate::slab::{Key, Slab, Slot};
use crate::storage::Storage;
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};
use crate::wire::MacAddr;

/// How long a confirmed entry is believed without asking again, on average (RFC 4861 §10, REACHABLE_TIME).
pub(crate) const REACHABLE_TIME: Duration = Duration::from_secs(30);
/// Time between two requests for one address (RFC 1122 §2.3.2.1: at most one a second; RFC 4861 §10, RETRANS_TIMER).
pub(crate) const RETRANS_TIMER: Duration = Duration::from_secs(1);
/// Requests to all until an address is given up, and to a known station until it is not believed to be there any more (RFC 4861
/// §10, MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT).
pub(crate) const MAX_SOLICIT: u8 = 3;
/// How long an entry that is used again waits for other proof before it is asked (RFC 4861 §10).
pub(crate) const DELAY_FIRST_PROBE_TIME: Duration = Duration::from_secs(5);
/// RFC 7048 §3: "with exponential back-off [...] BACKOFF_MULTIPLE" is 3.
const BACKOFF_MULTIPLE: u64 = 3;
/// Entries that are looked at for one to make room.
const EVICTION_TRIES: usize = 32;
/// Bytes of packets that wait for one neighbour, if there are several.
const PENDING_BYTES: usize = 8 * 1024;
/// Bytes of a single packet that waits, however large it is, and of what the queue needs besides.
const PENDING_PACKET: u32 = 65_535 + 64;

/// The state of an entry (RFC 4861 §7.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeighborState {
    /// Asked; no answer yet.
    Incomplete,
    /// Confirmed lately.
    Reachable,
    /// Known, not confirmed lately; nobody has used it since.
    Stale,
    /// Used again; what is sent may show by itself that it is there, so that it is not asked for five seconds.
    Delay,
    /// Being asked itself.
    Probe,
    /// Does not answer when it is asked itself. It is still used while all are asked who has the address (RFC 7048 §3).
    Unreachable,
    /// Nobody has answered.
    Failed,
    /// Set by the user, never asked and never removed.
    Permanent,
}

/// The connection that found its path through a neighbour last, and where it stood. What it has achieved since is asked for when the
/// entry's timer runs out: "forward progress" (RFC 4861 §7.3.1) costs no packet anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeighborUser {
    pub(crate) connection: Key,
    /// Its SND.UNA and RCV.NXT.
    pub(crate) progress: (Seq, Seq),
}

/// An entry of the neighbour table.
#[derive(Clone, Debug)]
pub struct Neighbor {
    pub(crate) interface: InterfaceId,
    pub(crate) address: IpAddr,
    pub(crate) mac: MacAddr,
    pub(crate) state: NeighborState,
    /// It has said that it is a router (RFC 4861 §5.1, IsRouter).
    pub(crate) is_router: bool,
    /// Requests sent since the state was entered.
    pub(crate) solicits: u8,
    pub(crate) user: Option<NeighborUser>,
    pub(crate) last_solicit: Option<Instant>,
    /// It did not answer, and was not heard of since: a router that is avoided (RFC 4861 §6.3.6).
    pub(crate) has_failed: bool,
    /// When the state's timer runs out; [`Instant::FAR_FUTURE`] if it has none.
    pub(crate) deadline: Instant,
    /// IP packets that wait for the address, or for their turn once it is known.
    pub(crate) pending: RecordQueue,
    /// Sockets that wait for the address.
    pub(crate) parked: List,
}

impl Neighbor {
    /// Whether frames can be sent to it.
    pub(crate) fn is_usable(&self) -> bool {
        !matches!(self.state, NeighborState::Incomplete | NeighborState::Failed)
    }

    /// Whether a request is under way.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self.state, NeighborState::Incomplete | NeighborState::Probe | NeighborState::Unreachable)
    }

    /// How long the answer to a request is waited for that was just sent (RFC 7048 §3 for all but the usual).
    pub(crate) fn patience(&self, retrans_timer: Duration) -> Duration {
        match self.state {
            NeighborState::Unreachable => {
                let factor = BACKOFF_MULTIPLE.pow(u32::from(self.solicits.saturating_sub(1).min(MAX_SOLICIT)));
                Duration::from_micros(retrans_timer.as_micros().saturating_mul(factor))
            }
            _ => retrans_timer,
        }
    }

    /// Whether nobody would miss the entry: an active one is not evicted for a new one, nor one with which something waits.
    fn is_evictable(&self) -> bool {
        let is_inactive = matches!(self.state, NeighborState::Stale | NeighborState::Failed);
        is_inactive && self.parked.is_empty() && self.pending.is_empty()
    }

    /// Keeps an IP packet. RFC 1122 §2.3.2.2: "The link layer SHOULD save (rather than discard) at least one (the latest)
    /// packet of each set of packets destined to the same unresolved IP address", so older ones make room. Returns how many
    /// packets were dropped. When memory is scarce, a packet that is longer than the usual limit is not kept.
    pub(crate) fn keep_pending(&mut self, pool: &mut Pool<'_>, account: &mut Account, packet: &[&[u8]]) -> usize {
        let len: usize = packet.iter().map(|part| part.len()).sum();
        if len > PENDING_BYTES && pool.is_under_pressure(account) {
            return 1;
        }
        let mut dropped = 0;
        while !self.pending.is_empty() && self.pending.bytes() as usize + len > PENDING_BYTES {
            self.pending.pop(pool, account);
            dropped += 1;
        }
        let kept = self.pending.push(pool, account, 0, packet);
        dropped + usize::from(!kept)
    }
}

/// All neighbours of a stack, found by interface and address in constant time.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(crate) struct NeighborTable<'m> {
    entries: Slab<'m, Neighbor>,
    index: HashIndex<'m>,
    /// Entries in the order in which they were last looked up or confirmed.
    used: List,
    links: Links<'m>,
    /// The entry found last, compared before hashing.
    last_hit: u32,
}

impl<'m> NeighborTable<'m> {
    pub(crate) fn new(
        entries: Storage<'m, Slot<Neighbor>>,
        buckets: Storage<'m, Bucket>,
        links: Links<'m>,
        capacity: usize,
    ) -> Self {
        NeighborTable {
            entries: Slab::new(entries, capacity),
            index: HashIndex::new(buckets, capacity),
            used: List::default(),
            links,
            last_hit: 0,
        }
    }

    fn hash(secret: &Generator, interface: InterfaceId, address: IpAddr) -> u32 {
        let [a, b] = words(address);
        secret.hash(&[u64::from(interface.0), a, b])
    }

    pub(crate) fn find(&mut self, secret: &Generator, interface: InterfaceId, address: IpAddr) -> Option<u32> {
        let entries = &self.entries;
        let is_it =
            |entry| entries.get(entry).is_some_and(|found| found.address == address && found.interface == interface);
        if !is_it(self.last_hit) {
            self.last_hit = self.index.find(Self::hash(secret, interface, address), is_it)?;
        }
        Some(self.last_hit)
    }

    /// The entry that [`find`](Self::find) has found last.
    pub(crate) fn last_found(&mut self) -> Option<&mut Neighbor> {
        self.entries.get_mut(self.last_hit)
    }

    /// Adds an entry, if need be in the place of the least recently used inactive one, whose memory is released. None
    /// if there is none among the oldest.
    pub(crate) fn insert(
        &mut self,
        secret: &Generator,
        pool: &mut Pool<'_>,
        account: &mut Account,
        interface: InterfaceId,
        address: IpAddr,
        state: NeighborState,
    ) -> Option<u32> {
        if self.entries.is_full() {
            let inactive = self.oldest_evictable()?;
            self.remove(secret, pool, account, inactive);
        }
        let neighbor = Neighbor {
            interface,
            address,
            mac: MacAddr([0; 6]),
            state,
            is_router: false,
            solicits: 0,
            user: None,
            last_solicit: None,
            has_failed: false,
            deadline: Instant::FAR_FUTURE,
            pending: RecordQueue::new(PENDING_PACKET),
            parked: List::default(),
        };
        let key = self.entries.insert(neighbor).ok()?;
        self.index.insert(Self::hash(secret, interface, address), key.index);
        self.links.push_back(&mut self.used, key.index);
        Some(key.index)
    }

    /// The least recently used entry that may go. Those before it in the order, of which a call looks at a few, count
    /// as used from now on.
    fn oldest_evictable(&mut self) -> Option<u32> {
        for _ in 0..EVICTION_TRIES {
            let oldest = self.used.head()?;
            if self.entries.get(oldest)?.is_evictable() {
                return Some(oldest);
            }
            self.touch(oldest);
        }
        None
    }

    /// Removes an entry that nobody is parked on.
    pub(crate) fn remove(&mut self, secret: &Generator, pool: &mut Pool<'_>, account: &mut Account, entry: u32) {
        self.links.remove(&mut self.used, entry);
        if let Some(neighbor) = self.entries.get_mut(entry) {
            debug_assert!(neighbor.parked.is_empty());
            neighbor.pending.clear(pool, account);
            self.index.remove(Self::hash(secret, neighbor.interface, neighbor.address), entry);
            self.entries.remove(entry);
        }
    }

    /// The entry was used: it becomes the last to be evicted.
    pub(crate) fn touch(&mut self, entry: u32) {
        if self.used.tail() == Some(entry) {
            return;
        }
        self.links.remove(&mut self.used, entry);
        self.links.push_back(&mut self.used, entry);
    }

    /// Entries are numbered from 0 to this, exclusively.
    pub(crate) fn capacity(&self) -> u32 {
        self.entries.capacity() as u32
    }

    pub(crate) fn get(&self, entry: u32) -> Option<&Neighbor> {
        self.entries.get(entry)
    }

    pub(crate) fn get_mut(&mut self, entry: u32) -> Option<&mut Neighbor> {
        self.entries.get_mut(entry)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Neighbor> {
        self.entries.iter().map(|(_, neighbor)| neighbor)
    }
}
