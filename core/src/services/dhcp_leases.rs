//! The lease table of the DHCP server: who has which address, and which address comes next.
//!
//! One entry an address, sorted by address. An entry stays after its lease has ended, so that the client finds its old
//! address again (RFC 2131 §4.3.1), until the address is needed for another client.

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use super::Text;
use crate::storage::Storage;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;

/// What a server knows a client by: the client identifier (option 61), else its hardware address (RFC 2131 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId {
    octets: [u8; 255],
    len: u8,
    hardware: bool,
}

impl ClientId {
    const NOBODY: ClientId = ClientId { octets: [0; 255], len: 0, hardware: false };

    /// A client that sends this identifier; `None` unless it has 1 to 255 octets.
    pub fn from_identifier(identifier: &[u8]) -> Option<Self> {
        let len = u8::try_from(identifier.len()).ok().filter(|len| *len > 0)?;
        let mut octets = [0; 255];
        octets[..identifier.len()].copy_from_slice(identifier);
        Some(ClientId { octets, len, hardware: false })
    }

    /// A client that sends no identifier.
    pub fn from_hardware(mac: MacAddr) -> Self {
        let mut octets = [0; 255];
        octets[..6].copy_from_slice(&mac.0);
        ClientId { octets, len: 6, hardware: true }
    }

    /// The client identifier, `None` if the client sent none.
    pub fn identifier(&self) -> Option<&[u8]> {
        (!self.hardware && self.len > 0).then(|| &self.octets[..usize::from(self.len)])
    }
}

/// What has become of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Reserved for a client by configuration, and not in use.
    Reserved,
    /// Offered to a client; reserved for it until `expires`.
    Offered,
    /// Granted until `expires`.
    Bound,
    /// Given back by the client.
    Released,
    /// Somebody else has the address, as a client or the stack noticed; nobody gets it until `expires`.
    Declined,
    /// An offer or a lease that has run out.
    Expired,
}

/// An address and who has or had it.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The hardware address of the client, all zero if there never was one.
    pub mac: MacAddr,
    /// What the server knows the client by.
    pub client: ClientId,
    /// The name that the client gave itself (option 12), or that was configured for it.
    pub hostname: Text<63>,
    /// When the offer, lease or quarantine ends; [`Instant::FAR_FUTURE`] for an infinite lease.
    pub expires: Instant,
    /// The client that the configuration keeps this address for.
    pub reserved_for: Option<MacAddr>,
    pub(super) stored_state: LeaseState,
    /// Not yet reported by `poll_event`.
    pub(super) changed: bool,
}

impl Lease {
    /// An unused entry, to fill a slice that is lent as storage.
    pub const EMPTY: Lease = Lease {
        address: Ipv4Addr::UNSPECIFIED,
        mac: MacAddr([0; 6]),
        client: ClientId::NOBODY,
        hostname: Text::EMPTY,
        expires: Instant::ZERO,
        reserved_for: None,
        stored_state: LeaseState::Released,
        changed: false,
    };

    /// What has become of the lease at `now`.
    pub fn state(&self, now: Instant) -> LeaseState {
        match self.stored_state {
            LeaseState::Offered | LeaseState::Bound | LeaseState::Declined if self.expires <= now => {
                LeaseState::Expired
            }
            state => state,
        }
    }

    /// Whether nobody has a claim on the address at `now` other than by having had it before.
    fn is_free(&self, now: Instant) -> bool {
        matches!(self.state(now), LeaseState::Reserved | LeaseState::Released | LeaseState::Expired)
    }

    /// Whether `client` with hardware address `mac` may have this address at `now`.
    pub(super) fn is_available_to(&self, client: &ClientId, mac: MacAddr, now: Instant) -> bool {
        match self.reserved_for {
            Some(owner) if owner != mac => false,
            Some(_) => self.state(now) != LeaseState::Declined,
            None => self.is_free(now) || (self.client == *client && self.state(now) != LeaseState::Declined),
        }
    }

    /// Makes the entry that of `client`, in `state` until `expires`.
    pub(super) fn assign(&mut self, client: &ClientId, mac: MacAddr, state: LeaseState, expires: Instant) {
        if self.client != *client || self.mac != mac {
            if self.reserved_for.is_none() {
                self.hostname = Text::EMPTY;
            }
            self.client = *client;
            self.mac = mac;
        }
        self.stored_state = state;
        self.expires = expires;
    }
}

/// All leases, sorted by address.
#[derive(Debug)]
pub(super) struct LeaseTable<'m> {
    entries: Storage<'m, Lease>,
}

#[cfg(feature = "alloc")]
impl Clone for LeaseTable<'_> {
    fn clone(&self) -> Self {
        LeaseTable { entries: self.entries.clone() }
    }
}

impl<'m> LeaseTable<'m> {
    pub(super) fn new(entries: Storage<'m, Lease>) -> Self {
        LeaseTable { entries }
    }

    pub(super) fn entries(&self) -> &[Lease] {
        &self.entries
    }

    pub(super) fn entries_mut(&mut self) -> &mut [Lease] {
        &mut self.entries
    }

    /// The entry of `address`.
    pub(super) fn find(&self, address: Ipv4Addr) -> Option<usize> {
        self.entries.binary_search_by_key(&address, |lease| lease.address).ok()
    }

    /// The address reserved for `mac`, else the one that `client` has or had. A declined address is nobody's.
    pub(super) fn of_client(&self, client: &ClientId, mac: MacAddr, now: Instant) -> Option<usize> {
        let usable = |lease: &Lease| lease.state(now) != LeaseState::Declined;
        let reserved = |lease: &Lease| lease.reserved_for == Some(mac) && usable(lease);
        let dynamic = |lease: &Lease| lease.reserved_for.is_none() && lease.client == *client && usable(lease);
        let mut entries = self.entries.iter();
        entries.position(reserved).or_else(|| self.entries.iter().position(dynamic))
    }

    /// The entry of `address`, made if there is none. When the storage is full, the entry whose lease ended longest ago
    /// is given up for it; `None` if there is no such entry.
    pub(super) fn entry(&mut self, address: Ipv4Addr, now: Instant) -> Option<usize> {
        let at = match self.entries.binary_search_by_key(&address, |lease| lease.address) {
            Ok(index) => return Some(index),
            Err(at) => at,
        };
        let free = match self.entries.push(Lease::EMPTY) {
            Ok(()) => self.entries.len() - 1,
            Err(_) => self.longest_free(now, &|_| true)?,
        };
        // What lies between the free place and that of the new entry moves by one.
        let at = if free < at {
            self.entries.copy_within(free + 1..at, free);
            at - 1
        } else {
            self.entries.copy_within(at..free, at + 1);
            at
        };
        self.entries[at] = Lease { address, ..Lease::EMPTY };
        Some(at)
    }

    /// An address of the pool for a new client: the lowest that never was leased, else the one free for longest.
    pub(super) fn next_address(
        &self,
        pool: &RangeInclusive<Ipv4Addr>,
        usable: impl Fn(Ipv4Addr) -> bool,
        now: Instant,
    ) -> Option<Ipv4Addr> {
        if self.entries.len() < self.entries.capacity() {
            let mut known = self.entries.partition_point(|lease| lease.address < *pool.start());
            // Ends: a step either passes a known entry or one of the few addresses that the configuration excludes.
            for candidate in u32::from(*pool.start())..=u32::from(*pool.end()) {
                let address = Ipv4Addr::from(candidate);
                if self.entries.get(known).is_some_and(|lease| lease.address == address) {
                    known += 1;
                } else if usable(address) {
                    return Some(address);
                }
            }
        }
        let index = self.longest_free(now, &|lease| pool.contains(&lease.address) && usable(lease.address))?;
        Some(self.entries[index].address)
    }

    fn longest_free(&self, now: Instant, wanted: &dyn Fn(&Lease) -> bool) -> Option<usize> {
        let free = |lease: &Lease| lease.reserved_for.is_none() && lease.is_free(now) && wanted(lease);
        let candidates = self.entries.iter().enumerate().filter(|(_, lease)| free(lease));
        candidates.min_by_key(|(_, lease)| lease.expires).map(|(index, _)| index)
    }
}
