//! A DHCP server for one subnet (RFC 2131, RFC 2132), with the client identifiers of RFC 4361 and RFC 6842.
//!
//! [`DhcpServer::handle`] takes a client's message and the time and writes the answer, if one is due, into the caller's
//! buffer; the [`DhcpReply`] says where it goes. The server keeps no timer: leases run out by comparison with `now`.
//! There is one lease table of a fixed size. An active lease is never given up for another client, so that a flood of
//! invented clients can exhaust the free addresses for the short time of an offer and nothing else.

use core::net::Ipv4Addr;

use super::Text;
use super::dhcp_config::{DhcpConfig, DhcpConfigError};
use super::dhcp_leases::{ClientId, Lease, LeaseState, LeaseTable};
use super::dhcp_reply::{DhcpReply, INFINITE_SECS};
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::dhcp::{Message, MessageType, Op, option};
use crate::wire::ethernet::MacAddr;

/// Why a static lease was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StaticLeaseError {
    /// The address is not a host's in the subnet, or it is the server's, the router's or a name server's.
    Address(Ipv4Addr),
    /// The address is leased to another client now, or reserved for another.
    InUse(Ipv4Addr),
    /// This client has another address reserved.
    Duplicate(Ipv4Addr),
    /// Not the address of one network card.
    Mac(MacAddr),
    /// No room in the lease table.
    Full,
}

/// A change of a lease that [`DhcpServer::poll_event`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The address was granted to a client that did not have it. Renewals are not reported.
    Granted(Ipv4Addr),
    /// The client gave the address back.
    Released(Ipv4Addr),
    /// The address turned out to be in use by somebody else.
    Declined(Ipv4Addr),
}

/// Messages received, sent and dropped, each with its reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DhcpCounters {
    /// Offers sent.
    pub offers: u64,
    /// Leases granted or extended, and INFORM answered.
    pub acks: u64,
    /// Refusals sent.
    pub naks: u64,
    /// Leases given back.
    pub releases: u64,
    /// Addresses that a client found in use.
    pub declines: u64,
    /// No DHCP message, or options that contradict each other.
    pub malformed: u64,
    /// A message that only servers send.
    pub not_for_servers: u64,
    /// No Ethernet client with an address of its own.
    pub bad_hardware: u64,
    /// From a relay or a client of another subnet.
    pub other_subnet: u64,
    /// Meant for another server.
    pub other_server: u64,
    /// From a client without a lease here.
    pub unknown_client: u64,
    /// No address left.
    pub pool_exhausted: u64,
    /// The caller's buffer was too short for the answer.
    pub no_room: u64,
}

/// Why a message gets no answer; each is a counter.
enum Drop {
    NotForServers,
    Malformed,
    BadHardware,
    OtherSubnet,
    OtherServer,
    UnknownClient,
    PoolExhausted,
}

/// The outcome of a message.
enum Verdict {
    /// Answer with an OFFER or ACK for the lease at this index.
    Lease(MessageType, usize),
    /// Answer INFORM: parameters without a lease.
    Parameters,
    Nak,
    /// Done, and nothing to answer.
    Silence,
    Drop(Drop),
}

/// Who sent a message and what it says of the address.
pub(super) struct Request<'a> {
    pub(super) message: Message<'a>,
    client: ClientId,
    pub(super) mac: MacAddr,
    server_id: Option<Ipv4Addr>,
    requested: Option<Ipv4Addr>,
    /// The lease that the client has or had, if one is known.
    known: Option<usize>,
}

/// The server.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub struct DhcpServer<'m> {
    pub(super) config: DhcpConfig,
    pub(super) leases: LeaseTable<'m>,
    counters: DhcpCounters,
    /// Some entry may be marked as changed.
    has_events: bool,
}

impl<'m> DhcpServer<'m> {
    /// A server with room for `leases.capacity()` addresses: leased, remembered, reserved and declined.
    pub fn new(config: DhcpConfig, leases: Storage<'m, Lease>) -> Result<Self, DhcpConfigError> {
        config.validate()?;
        let leases = LeaseTable::new(leases);
        Ok(DhcpServer { config, leases, counters: DhcpCounters::default(), has_events: false })
    }

    /// Keeps `address`, inside or outside the pool, for the client with hardware address `mac`, and tells it `hostname`
    /// unless that is empty. Nobody else gets the address.
    pub fn reserve(
        &mut self,
        now: Instant,
        mac: MacAddr,
        address: Ipv4Addr,
        hostname: Text<63>,
    ) -> Result<(), StaticLeaseError> {
        if !is_client_mac(mac) {
            return Err(StaticLeaseError::Mac(mac));
        }
        if !self.config.is_usable(address) {
            return Err(StaticLeaseError::Address(address));
        }
        if let Some(other) = self.leases.entries().iter().find(|lease| lease.reserved_for == Some(mac))
            && other.address != address
        {
            return Err(StaticLeaseError::Duplicate(other.address));
        }
        let index = self.leases.entry(address, now).ok_or(StaticLeaseError::Full)?;
        let lease = &mut self.leases.entries_mut()[index];
        let theirs = match lease.reserved_for {
            Some(owner) => owner == mac,
            None => lease.mac == mac || !matches!(lease.state(now), LeaseState::Bound | LeaseState::Offered),
        };
        if !theirs {
            return Err(StaticLeaseError::InUse(address));
        }
        lease.reserved_for = Some(mac);
        lease.hostname = hostname;
        if lease.mac != mac {
            lease.mac = mac;
            lease.client = ClientId::from_hardware(mac);
        }
        if matches!(lease.state(now), LeaseState::Released | LeaseState::Expired) {
            lease.stored_state = LeaseState::Reserved;
        }
        Ok(())
    }

    /// Takes up a lease that this server, or the one before it, has granted, so that it survives a restart (S2): what
    /// [`leases`](Self::leases) told of it. `remaining` is the time that is left of it, zero for one that has ended, whose client
    /// finds its address again if nobody else needs it.
    ///
    /// Returns false, and changes nothing, if the address is not one to lease any more, has another client, or there is no room.
    pub fn restore(
        &mut self,
        now: Instant,
        address: Ipv4Addr,
        mac: MacAddr,
        client: ClientId,
        hostname: Text<63>,
        remaining: Option<Duration>,
    ) -> bool {
        let known = self.leases.find(address).map(|index| &self.leases.entries()[index]);
        let leased_here =
            self.config.pool.contains(&address) || known.is_some_and(|lease| lease.reserved_for == Some(mac));
        let is_free = known.is_none_or(|lease| lease.is_available_to(&client, mac, now));
        if !(leased_here && is_free && is_client_mac(mac) && self.config.is_usable(address)) {
            return false;
        }
        let Some(index) = self.leases.entry(address, now) else { return false };
        let lease = &mut self.leases.entries_mut()[index];
        lease.assign(&client, mac, LeaseState::Bound, remaining.map_or(Instant::FAR_FUTURE, |left| now + left));
        if lease.reserved_for.is_none() {
            lease.hostname = hostname;
        }
        true
    }

    /// Tells the server that somebody uses `address` who has no lease of it, as seen on the network. It is set aside like a
    /// declined one, unless a client has it leased.
    pub fn set_aside(&mut self, now: Instant, address: Ipv4Addr) {
        if self.config.pool.contains(&address)
            && self.config.is_usable(address)
            && let Some(index) = self.leases.entry(address, now)
            && self.leases.entries()[index].state(now) != LeaseState::Bound
        {
            self.quarantine(index, now);
        }
    }

    /// Takes a message that came to UDP port 67 and writes the answer into `out`, which should have 1,472 octets (the
    /// most that a client's message size can ask for on Ethernet), and needs 300.
    ///
    /// `None` means that no answer is due; the counters tell why.
    pub fn handle(&mut self, now: Instant, message: &[u8], out: &mut [u8]) -> Option<DhcpReply> {
        let request = match self.read(now, message) {
            Ok(request) => request,
            Err(reason) => {
                self.count(reason);
                return None;
            }
        };
        let verdict = match request.message.kind() {
            MessageType::Discover => self.discover(now, &request),
            MessageType::Request => self.request(now, &request),
            MessageType::Decline => self.decline(now, &request),
            MessageType::Release => self.release(now, &request),
            MessageType::Inform => self.inform(&request),
            MessageType::Offer | MessageType::Ack | MessageType::Nak => Verdict::Drop(Drop::NotForServers),
        };
        let reply = match verdict {
            Verdict::Silence => return None,
            Verdict::Drop(reason) => {
                self.count(reason);
                return None;
            }
            Verdict::Nak => self.write_nak(&request, out),
            Verdict::Lease(kind, index) => self.write_lease(&request, kind, &self.leases.entries()[index], out),
            Verdict::Parameters => self.write_parameters(&request, out),
        };
        match (&reply, verdict) {
            (None, _) => self.counters.no_room += 1,
            (_, Verdict::Nak) => self.counters.naks += 1,
            (_, Verdict::Lease(MessageType::Offer, _)) => self.counters.offers += 1,
            _ => self.counters.acks += 1,
        }
        reply
    }

    /// All addresses that the server remembers, by address. [`Lease::state`] says what has become of each.
    pub fn leases(&self) -> &[Lease] {
        self.leases.entries()
    }

    /// The next change of a lease since the last call. Two changes of one lease are reported as the last of them.
    pub fn poll_event(&mut self) -> Option<LeaseEvent> {
        if !self.has_events {
            return None;
        }
        let Some(lease) = self.leases.entries_mut().iter_mut().find(|lease| lease.changed) else {
            self.has_events = false;
            return None;
        };
        lease.changed = false;
        Some(match lease.stored_state {
            LeaseState::Bound => LeaseEvent::Granted(lease.address),
            LeaseState::Declined => LeaseEvent::Declined(lease.address),
            // Released, and perhaps offered to the next client since.
            _ => LeaseEvent::Released(lease.address),
        })
    }

    /// What the server has received, sent and dropped.
    pub fn counters(&self) -> &DhcpCounters {
        &self.counters
    }

    /// What the server gives its clients.
    pub fn config(&self) -> &DhcpConfig {
        &self.config
    }

    fn read<'a>(&self, now: Instant, message: &'a [u8]) -> Result<Request<'a>, Drop> {
        let message = match Message::parse(message) {
            Ok(message) if message.op() == Op::Request => message,
            Ok(_) => return Err(Drop::NotForServers),
            Err(_) => return Err(Drop::Malformed),
        };
        let (1, &[a, b, c, d, e, f]) = message.hardware() else {
            return Err(Drop::BadHardware);
        };
        let mac = MacAddr([a, b, c, d, e, f]);
        if !is_client_mac(mac) {
            return Err(Drop::BadHardware);
        }
        // RFC 2131 §4.3.1: the subnet is the relay's; this server has one only.
        let giaddr = message.giaddr();
        if !giaddr.is_unspecified() && !self.config.is_host(giaddr) {
            return Err(Drop::OtherSubnet);
        }
        let client = match message.option(option::CLIENT_ID) {
            // RFC 2132 §9.14: at least two octets. What is shorter tells nobody apart.
            Some(identifier) if identifier.len() >= 2 => {
                ClientId::from_identifier(identifier).ok_or(Drop::Malformed)?
            }
            _ => ClientId::from_hardware(mac),
        };
        let server_id = message.address_option(option::SERVER_ID);
        let requested = message.address_option(option::REQUESTED_ADDRESS);
        let known = self.leases.of_client(&client, mac, now);
        Ok(Request { message, client, mac, server_id, requested, known })
    }

    /// RFC 2131 §4.3.1: the client's present address, else its former one, else the one it asks for, else a new one.
    fn discover(&mut self, now: Instant, request: &Request<'_>) -> Verdict {
        let known = request.known.map(|index| self.leases.entries()[index].address);
        let config = &self.config;
        let address =
            [known, request.requested].into_iter().flatten().find(|address| self.may_have(now, request, *address));
        let address =
            address.or_else(|| self.leases.next_address(&config.pool, |address| config.is_usable(address), now));
        let Some(index) = address.and_then(|address| self.leases.entry(address, now)) else {
            return Verdict::Drop(Drop::PoolExhausted);
        };
        let lease = &mut self.leases.entries_mut()[index];
        // A client that asks anew keeps the lease that it has.
        if lease.client != request.client || lease.state(now) != LeaseState::Bound {
            lease.assign(&request.client, request.mac, LeaseState::Offered, now + self.config.offer_time);
        }
        // RFC 4039 §3.1.
        if self.config.rapid_commit
            && request.message.option(option::RAPID_COMMIT).is_some()
            && let Some(address) = self.leases.entries().get(index).map(|lease| lease.address)
        {
            return self.grant(now, request, address);
        }
        Verdict::Lease(MessageType::Offer, index)
    }

    /// RFC 2131 §4.3.2: which of the four kinds of REQUEST it is shows in what is filled in.
    fn request(&mut self, now: Instant, request: &Request<'_>) -> Verdict {
        let ciaddr = request.message.ciaddr();
        match (request.server_id, request.requested) {
            // SELECTING another server's offer: ours is declined.
            (Some(server), _) if server != self.config.server => {
                self.withdraw_offer(now, request);
                Verdict::Drop(Drop::OtherServer)
            }
            // SELECTING our offer.
            (Some(_), Some(address)) => self.grant_or_nak(now, request, address),
            (Some(_), None) => Verdict::Drop(Drop::Malformed),
            // RENEWING or REBINDING. Whether by unicast or broadcast, the answer is the same.
            (None, _) if !ciaddr.is_unspecified() => self.confirm(now, request, ciaddr),
            // INIT-REBOOT.
            (None, Some(address)) => self.confirm(now, request, address),
            (None, None) => Verdict::Drop(Drop::Malformed),
        }
    }

    /// Answers a client that believes it has `address`.
    fn confirm(&mut self, now: Instant, request: &Request<'_>, address: Ipv4Addr) -> Verdict {
        // RFC 2131 §4.3.2: "Server SHOULD send a DHCPNAK message to the client if the 'requested IP address' is
        // incorrect, or is on the wrong network." Any server of the network can tell the latter.
        if !self.config.contains(address) {
            return Verdict::Nak;
        }
        // "If the DHCP server has no record of this client, then it MUST remain silent": other servers may know it.
        if request.known.is_none() && !self.config.authoritative {
            return Verdict::Drop(Drop::UnknownClient);
        }
        self.grant_or_nak(now, request, address)
    }

    fn grant_or_nak(&mut self, now: Instant, request: &Request<'_>, address: Ipv4Addr) -> Verdict {
        // A client has one address: the one known here, if there is one.
        if request.known.is_some_and(|index| self.leases.entries()[index].address != address) {
            return Verdict::Nak;
        }
        if !self.may_have(now, request, address) {
            return Verdict::Nak;
        }
        self.grant(now, request, address)
    }

    fn grant(&mut self, now: Instant, request: &Request<'_>, address: Ipv4Addr) -> Verdict {
        let Some(index) = self.leases.entry(address, now) else {
            return Verdict::Nak;
        };
        let expires = match self.lease_secs(request) {
            INFINITE_SECS => Instant::FAR_FUTURE,
            secs => now + Duration::from_secs(secs.into()),
        };
        let lease = &mut self.leases.entries_mut()[index];
        let renewed = lease.client == request.client && lease.state(now) == LeaseState::Bound;
        lease.assign(&request.client, request.mac, LeaseState::Bound, expires);
        if let Some(name) = request.hostname()
            && lease.reserved_for.is_none()
        {
            lease.hostname = name;
        }
        if !renewed {
            self.mark_changed(index);
        }
        Verdict::Lease(MessageType::Ack, index)
    }

    /// RFC 2131 §4.3.3.
    fn decline(&mut self, now: Instant, request: &Request<'_>) -> Verdict {
        if request.server_id.is_some_and(|server| server != self.config.server) {
            return Verdict::Drop(Drop::OtherServer);
        }
        let Some(address) = request.requested else {
            return Verdict::Drop(Drop::Malformed);
        };
        // Only the client that was given the address can decline it; else anybody could set aside the whole pool.
        let Some(index) = self.held_by(now, request, address) else {
            return Verdict::Drop(Drop::UnknownClient);
        };
        self.counters.declines += 1;
        self.quarantine(index, now);
        Verdict::Silence
    }

    /// RFC 2131 §4.3.4.
    fn release(&mut self, now: Instant, request: &Request<'_>) -> Verdict {
        if request.server_id.is_some_and(|server| server != self.config.server) {
            return Verdict::Drop(Drop::OtherServer);
        }
        let Some(index) = self.held_by(now, request, request.message.ciaddr()) else {
            return Verdict::Drop(Drop::UnknownClient);
        };
        self.counters.releases += 1;
        let lease = &mut self.leases.entries_mut()[index];
        lease.stored_state = LeaseState::Released;
        lease.expires = now;
        self.mark_changed(index);
        Verdict::Silence
    }

    /// RFC 2131 §4.3.5. The answer goes to `ciaddr`, which therefore must be a host's here.
    fn inform(&self, request: &Request<'_>) -> Verdict {
        if self.config.is_host(request.message.ciaddr()) {
            Verdict::Parameters
        } else {
            Verdict::Drop(Drop::OtherSubnet)
        }
    }

    /// Whether the configuration and the other leases let the client have `address`.
    fn may_have(&self, now: Instant, request: &Request<'_>, address: Ipv4Addr) -> bool {
        if !self.config.is_usable(address) {
            return false;
        }
        let lease = self.leases.find(address).map(|index| &self.leases.entries()[index]);
        let leased_here =
            self.config.pool.contains(&address) || lease.is_some_and(|lease| lease.reserved_for.is_some());
        leased_here && lease.is_none_or(|lease| lease.is_available_to(&request.client, request.mac, now))
    }

    /// The lease of `address` if this client has it or has been offered it.
    fn held_by(&self, now: Instant, request: &Request<'_>, address: Ipv4Addr) -> Option<usize> {
        let index = self.leases.find(address)?;
        let lease = &self.leases.entries()[index];
        let active = matches!(lease.state(now), LeaseState::Bound | LeaseState::Offered);
        (active && lease.client == request.client).then_some(index)
    }

    fn withdraw_offer(&mut self, now: Instant, request: &Request<'_>) {
        if let Some(index) = request.known {
            let lease = &mut self.leases.entries_mut()[index];
            if lease.client == request.client && lease.state(now) == LeaseState::Offered {
                lease.stored_state = LeaseState::Released;
                lease.expires = now;
            }
        }
    }

    fn quarantine(&mut self, index: usize, now: Instant) {
        let lease = &mut self.leases.entries_mut()[index];
        lease.stored_state = LeaseState::Declined;
        lease.expires = now + self.config.decline_time;
        self.mark_changed(index);
    }

    fn mark_changed(&mut self, index: usize) {
        self.leases.entries_mut()[index].changed = true;
        self.has_events = true;
    }

    fn count(&mut self, reason: Drop) {
        let counters = &mut self.counters;
        *match reason {
            Drop::NotForServers => &mut counters.not_for_servers,
            Drop::Malformed => &mut counters.malformed,
            Drop::BadHardware => &mut counters.bad_hardware,
            Drop::OtherSubnet => &mut counters.other_subnet,
            Drop::OtherServer => &mut counters.other_server,
            Drop::UnknownClient => &mut counters.unknown_client,
            Drop::PoolExhausted => &mut counters.pool_exhausted,
        } += 1;
    }
}

impl Request<'_> {
    /// The name that the client gives itself, if it is one: letters, digits, hyphens and dots, at most 63 octets.
    fn hostname(&self) -> Option<Text<63>> {
        let text = core::str::from_utf8(self.message.option(option::HOST_NAME)?).ok()?;
        // RFC 2132 §2: "Options containing NVT ASCII data SHOULD NOT include a trailing NULL".
        let text = text.trim_end_matches('\0');
        let plain = text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.'));
        if plain { Text::new(text) } else { None }
    }
}

/// Whether `mac` can be the address of one network card.
fn is_client_mac(mac: MacAddr) -> bool {
    mac.is_unicast()
}
