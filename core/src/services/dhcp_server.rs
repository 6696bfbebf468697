//! A DHCP server for one subnet (RFC 2131, RFC 2132), with the client identifiers of RFC 4361 and RFC 6842.
//!
//! [`DhcpServer::handle`] takes a client's message and the time and writes the answer, if one is due, into the caller's
//! buffer; the [`DhcpReply`] says where it goes. The server keeps no timer: leases run out by comparison with `now`.
//! There is one lease table of a fixed size. An active lease is never given up for another client, so that a flood of
//! invented clients can exhaust the free addresses for the short time of an offer and nothing else.

use core::net::{Ipv4Addr, SocketAddrV4};
use core::ops::RangeInclusive;

use super::Text;
use super::dhcp_leases::{ClientId, Lease, LeaseState, LeaseTable};
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::dhcp::{
    CLIENT_PORT, FLAG_BROADCAST, Header, Message, MessageType, Op, SERVER_PORT, Writer, option,
};
use crate::wire::ethernet::MacAddr;

/// How many name servers a server can announce.
pub const MAX_DNS_SERVERS: usize = 4;

/// A message that every client takes without saying so: 576 octets of IP datagram (RFC 2131 §2) less IP and UDP headers.
const DEFAULT_MESSAGE_LEN: usize = 576 - IP_UDP_LEN;
const IP_UDP_LEN: usize = 28;
/// A shorter lease than this is not granted, whatever the client asks for.
const MIN_LEASE: Duration = Duration::from_secs(60);
/// The lease time that means for ever (RFC 2131 §3.3).
const INFINITE_SECS: u32 = u32::MAX;

/// What a server gives its clients.
#[derive(Clone, Debug)]
pub struct DhcpConfig {
    /// The server's own address in the subnet.
    pub server: Ipv4Addr,
    /// Length of the subnet's prefix, 8 to 30 bits.
    pub prefix_len: u8,
    /// The addresses to lease, all in the subnet. Those of the server, the router and the name servers are left out.
    pub pool: RangeInclusive<Ipv4Addr>,
    /// The router to announce.
    pub router: Option<Ipv4Addr>,
    /// The name servers to announce, most preferred first.
    pub dns_servers: [Option<Ipv4Addr>; MAX_DNS_SERVERS],
    /// The domain of unqualified names, empty for none.
    pub domain: Text<253>,
    /// The MTU to announce, in octets, at least 68.
    pub mtu: Option<u16>,
    /// The usual and longest lease; clients may ask for a shorter one. `u32::MAX` seconds or more is for ever.
    pub lease_time: Duration,
    /// How long an offered address waits for its client.
    pub offer_time: Duration,
    /// How long an address is set aside after a client found it in use.
    pub decline_time: Duration,
    /// Whether this is the subnet's only server. It then answers clients that it doesn't know: an address that is free
    /// is granted (so that leases outlive a restart of the server), another is refused at once. A server that is not
    /// authoritative stays silent to them (RFC 2131 §4.3.2).
    pub authoritative: bool,
}

impl DhcpConfig {
    /// A server at `server` that leases `pool`, is the router and the name server and announces nothing else: leases of a
    /// day, offers of 10 s, a quarantine of 10 min, authoritative.
    pub fn new(server: Ipv4Addr, prefix_len: u8, pool: RangeInclusive<Ipv4Addr>) -> Self {
        let mut dns_servers = [None; MAX_DNS_SERVERS];
        dns_servers[0] = Some(server);
        DhcpConfig {
            server,
            prefix_len,
            pool,
            router: Some(server),
            dns_servers,
            domain: Text::EMPTY,
            mtu: None,
            lease_time: Duration::from_secs(24 * 60 * 60),
            offer_time: Duration::from_secs(10),
            decline_time: Duration::from_secs(10 * 60),
            authoritative: true,
        }
    }

    fn validate(&self) -> Result<(), DhcpConfigError> {
        if !(8..=30).contains(&self.prefix_len) {
            return Err(DhcpConfigError::PrefixLen(self.prefix_len));
        }
        if !self.is_host(self.server) {
            return Err(DhcpConfigError::Server(self.server));
        }
        if self.pool.is_empty() {
            return Err(DhcpConfigError::EmptyPool);
        }
        for end in [*self.pool.start(), *self.pool.end()] {
            if !self.is_host(end) {
                return Err(DhcpConfigError::Pool(end));
            }
        }
        if self.mtu.is_some_and(|mtu| mtu < 68) {
            return Err(DhcpConfigError::Mtu(self.mtu.unwrap_or(0)));
        }
        if self.lease_time < MIN_LEASE {
            return Err(DhcpConfigError::LeaseTime(self.lease_time));
        }
        Ok(())
    }

    fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from(
            u32::MAX
                .checked_shl(32 - u32::from(self.prefix_len))
                .unwrap_or(0),
        )
    }

    fn broadcast(&self) -> Ipv4Addr {
        self.server | !self.mask()
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        address & self.mask() == self.server & self.mask()
    }

    /// Whether `address` can be a host's in the subnet.
    fn is_host(&self, address: Ipv4Addr) -> bool {
        self.contains(address)
            && address & !self.mask() != Ipv4Addr::UNSPECIFIED
            && address != self.broadcast()
    }

    /// Whether `address` has no other use in the network that the configuration tells of.
    fn is_usable(&self, address: Ipv4Addr) -> bool {
        self.is_host(address)
            && address != self.server
            && Some(address) != self.router
            && !self.dns_servers.contains(&Some(address))
    }
}

/// What is wrong with a [`DhcpConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DhcpConfigError {
    /// The prefix is not 8 to 30 bits long.
    PrefixLen(u8),
    /// The server's address is the subnet's own or its broadcast address.
    Server(Ipv4Addr),
    /// The pool ends before it begins.
    EmptyPool,
    /// This end of the pool is not a host's address in the subnet.
    Pool(Ipv4Addr),
    /// The MTU is below 68, the least of IPv4.
    Mtu(u16),
    /// The lease is shorter than a minute.
    LeaseTime(Duration),
}

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

/// Where an answer goes. It is sent from port 67 of the server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhcpReply {
    /// Address and port: the client, a relay, or 255.255.255.255.
    pub destination: SocketAddrV4,
    /// The hardware address to send to without asking by ARP, since the client does not answer yet (RFC 2131 §4.1).
    /// `None`: find the next hop as for any datagram.
    pub link_destination: Option<MacAddr>,
    /// Octets of the message in the caller's buffer.
    pub len: usize,
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
struct Request<'a> {
    message: Message<'a>,
    client: ClientId,
    mac: MacAddr,
    server_id: Option<Ipv4Addr>,
    requested: Option<Ipv4Addr>,
}

/// The server.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub struct DhcpServer<'m> {
    config: DhcpConfig,
    leases: LeaseTable<'m>,
    counters: DhcpCounters,
    /// Some entry may be marked as changed.
    has_events: bool,
}

impl<'m> DhcpServer<'m> {
    /// A server with room for `leases.capacity()` addresses: leased, remembered, reserved and declined.
    pub fn new(config: DhcpConfig, leases: Storage<'m, Lease>) -> Result<Self, DhcpConfigError> {
        config.validate()?;
        let leases = LeaseTable::new(leases);
        Ok(DhcpServer {
            config,
            leases,
            counters: DhcpCounters::default(),
            has_events: false,
        })
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
        if let Some(other) = self
            .leases
            .entries()
            .iter()
            .find(|lease| lease.reserved_for == Some(mac))
            && other.address != address
        {
            return Err(StaticLeaseError::Duplicate(other.address));
        }
        let index = self
            .leases
            .entry(address, now)
            .ok_or(StaticLeaseError::Full)?;
        let lease = &mut self.leases.entries_mut()[index];
        let theirs = match lease.reserved_for {
            Some(owner) => owner == mac,
            None => {
                lease.mac == mac
                    || !matches!(lease.state(now), LeaseState::Bound | LeaseState::Offered)
            }
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
        let request = match self.read(message) {
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
            MessageType::Offer | MessageType::Ack | MessageType::Nak => {
                Verdict::Drop(Drop::NotForServers)
            }
        };
        let reply = match verdict {
            Verdict::Silence => return None,
            Verdict::Drop(reason) => {
                self.count(reason);
                return None;
            }
            Verdict::Nak => self.write_nak(&request, out),
            Verdict::Lease(kind, index) => {
                self.write_lease(&request, kind, &self.leases.entries()[index], out)
            }
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
        let Some(lease) = self
            .leases
            .entries_mut()
            .iter_mut()
            .find(|lease| lease.changed)
        else {
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

    fn read<'a>(&self, message: &'a [u8]) -> Result<Request<'a>, Drop> {
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
        Ok(Request {
            message,
            client,
            mac,
            server_id,
            requested,
        })
    }

    /// RFC 2131 §4.3.1: the client's present address, else its former one, else the one it asks for, else a new one.
    fn discover(&mut self, now: Instant, request: &Request<'_>) -> Verdict {
        let known = self.leases.of_client(&request.client, request.mac, now);
        let known = known
            .filter(|index| self.may_have(now, request, self.leases.entries()[*index].address));
        let requested = || {
            request
                .requested
                .filter(|address| self.may_have(now, request, *address))
        };
        let address = known
            .map(|index| self.leases.entries()[index].address)
            .or_else(requested)
            .or_else(|| {
                let config = &self.config;
                self.leases.next_address(
                    config.pool.clone(),
                    |address| config.is_usable(address),
                    now,
                )
            });
        let Some(index) = address.and_then(|address| self.leases.entry(address, now)) else {
            return Verdict::Drop(Drop::PoolExhausted);
        };
        let lease = &mut self.leases.entries_mut()[index];
        // A client that asks anew keeps the lease that it has.
        if lease.client != request.client || lease.state(now) != LeaseState::Bound {
            lease.assign(
                &request.client,
                request.mac,
                LeaseState::Offered,
                now + self.config.offer_time,
            );
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
        let known = self
            .leases
            .of_client(&request.client, request.mac, now)
            .is_some();
        // "If the DHCP server has no record of this client, then it MUST remain silent": other servers may know it.
        if !known && !self.config.authoritative {
            return Verdict::Drop(Drop::UnknownClient);
        }
        self.grant_or_nak(now, request, address)
    }

    fn grant_or_nak(&mut self, now: Instant, request: &Request<'_>, address: Ipv4Addr) -> Verdict {
        // A client has one address: the one known here, if there is one.
        let known = self.leases.of_client(&request.client, request.mac, now);
        if known.is_some_and(|index| self.leases.entries()[index].address != address) {
            return Verdict::Nak;
        }
        if !self.may_have(now, request, address) {
            return Verdict::Nak;
        }
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
        if request
            .server_id
            .is_some_and(|server| server != self.config.server)
        {
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
        if request
            .server_id
            .is_some_and(|server| server != self.config.server)
        {
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
        match self
            .leases
            .find(address)
            .map(|index| &self.leases.entries()[index])
        {
            Some(lease) if lease.reserved_for.is_some() => {
                lease.is_available_to(&request.client, request.mac, now)
            }
            Some(lease) => {
                self.config.pool.contains(&address)
                    && lease.is_available_to(&request.client, request.mac, now)
            }
            None => self.config.pool.contains(&address),
        }
    }

    /// The lease of `address` if this client has it or has been offered it.
    fn held_by(&self, now: Instant, request: &Request<'_>, address: Ipv4Addr) -> Option<usize> {
        let index = self.leases.find(address)?;
        let lease = &self.leases.entries()[index];
        let active = matches!(lease.state(now), LeaseState::Bound | LeaseState::Offered);
        (active && lease.client == request.client).then_some(index)
    }

    fn withdraw_offer(&mut self, now: Instant, request: &Request<'_>) {
        if let Some(index) = self.leases.of_client(&request.client, request.mac, now) {
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

    /// What the client asks for, within what the configuration allows, in seconds.
    fn lease_secs(&self, request: &Request<'_>) -> u32 {
        let longest = u32::try_from(self.config.lease_time.as_secs()).unwrap_or(INFINITE_SECS);
        match request.message.u32_option(option::LEASE_TIME) {
            Some(wanted) => wanted.clamp(MIN_LEASE.as_secs() as u32, longest),
            None => longest,
        }
    }

    /// OFFER or ACK for a lease.
    fn write_lease(
        &self,
        request: &Request<'_>,
        kind: MessageType,
        lease: &Lease,
        out: &mut [u8],
    ) -> Option<DhcpReply> {
        let message = &request.message;
        // RFC 2131 §4.3.1, table 3. A `ciaddr` that is not the leased address, in SELECTING, means nothing.
        let has_address = kind == MessageType::Ack && message.ciaddr() == lease.address;
        let ciaddr = if has_address {
            lease.address
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        let header = Header {
            ciaddr,
            yiaddr: lease.address,
            ..request.reply_header()
        };
        let mut writer = Writer::new(request.room(out), &header, kind)?;
        let secs = self.lease_secs(request);
        writer.option(option::SERVER_ID, &self.config.server.octets());
        writer.option(option::LEASE_TIME, &secs.to_be_bytes());
        if secs != INFINITE_SECS {
            // RFC 2131 §4.4.5: T1 is half of the lease, T2 seven eighths.
            writer.option(option::RENEWAL_TIME, &(secs / 2).to_be_bytes());
            writer.option(option::REBINDING_TIME, &(secs - secs / 8).to_be_bytes());
        }
        request.echo_client_id(&mut writer);
        let hostname = if lease.reserved_for.is_some() {
            lease.hostname
        } else {
            Text::EMPTY
        };
        self.write_options(request, hostname.as_str(), &mut writer);
        let len = writer.finish();

        // RFC 2131 §4.1.
        let (destination, link_destination) = if !message.giaddr().is_unspecified() {
            (SocketAddrV4::new(message.giaddr(), SERVER_PORT), None)
        } else if has_address {
            (SocketAddrV4::new(lease.address, CLIENT_PORT), None)
        } else if message.broadcast() {
            (SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT), None)
        } else {
            (
                SocketAddrV4::new(lease.address, CLIENT_PORT),
                Some(request.mac),
            )
        };
        Some(DhcpReply {
            destination,
            link_destination,
            len,
        })
    }

    /// ACK to an INFORM: no address and no times (RFC 2131 §4.3.5), to `ciaddr`.
    fn write_parameters(&self, request: &Request<'_>, out: &mut [u8]) -> Option<DhcpReply> {
        let ciaddr = request.message.ciaddr();
        let header = Header {
            ciaddr,
            ..request.reply_header()
        };
        let mut writer = Writer::new(request.room(out), &header, MessageType::Ack)?;
        writer.option(option::SERVER_ID, &self.config.server.octets());
        request.echo_client_id(&mut writer);
        let reserved = self
            .leases
            .entries()
            .iter()
            .find(|lease| lease.reserved_for == Some(request.mac));
        self.write_options(
            request,
            reserved.map_or("", |lease| lease.hostname.as_str()),
            &mut writer,
        );
        let destination = SocketAddrV4::new(ciaddr, CLIENT_PORT);
        Some(DhcpReply {
            destination,
            link_destination: None,
            len: writer.finish(),
        })
    }

    fn write_nak(&self, request: &Request<'_>, out: &mut [u8]) -> Option<DhcpReply> {
        let giaddr = request.message.giaddr();
        let mut header = request.reply_header();
        let destination = if giaddr.is_unspecified() {
            // RFC 2131 §4.1: "In all cases, when 'giaddr' is zero, the server broadcasts any DHCPNAK messages".
            SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT)
        } else {
            // RFC 2131 §4.3.2: the broadcast bit makes the relay broadcast, since the client may have a wrong address.
            header.flags = FLAG_BROADCAST;
            SocketAddrV4::new(giaddr, SERVER_PORT)
        };
        let mut writer = Writer::new(request.room(out), &header, MessageType::Nak)?;
        writer.option(option::SERVER_ID, &self.config.server.octets());
        request.echo_client_id(&mut writer);
        writer.option(option::MESSAGE, b"address not available");
        Some(DhcpReply {
            destination,
            link_destination: None,
            len: writer.finish(),
        })
    }

    /// The network's parameters: those that the client lists, in its order, or all if it has no list. The mask goes first
    /// (RFC 2132 §3.3), and the MTU goes even if unlisted: a host that doesn't know it loses its large packets.
    fn write_options(&self, request: &Request<'_>, hostname: &str, writer: &mut Writer<'_>) {
        const ALL: [u8; 6] = [
            option::ROUTER,
            option::DNS_SERVERS,
            option::DOMAIN_NAME,
            option::HOST_NAME,
            option::BROADCAST_ADDRESS,
            option::INTERFACE_MTU,
        ];
        let lists = request
            .message
            .options()
            .filter(|(code, _)| *code == option::PARAMETER_LIST);
        let listed = lists.clone().flat_map(|(_, codes)| codes).copied();
        let rest: &[u8] = if lists.count() == 0 {
            &ALL
        } else {
            &[option::INTERFACE_MTU]
        };
        let mut written = 0u32;
        for code in core::iter::once(option::SUBNET_MASK)
            .chain(listed)
            .chain(rest.iter().copied())
        {
            // Every code that the server knows is below 32; each is written once however often it is listed.
            let bit = 1u32.checked_shl(code.into()).unwrap_or(0);
            if written & bit == 0 {
                written |= bit;
                self.write_option(code, hostname, writer);
            }
        }
    }

    /// Writes an option if the configuration has a value for it and the answer has room.
    fn write_option(&self, code: u8, hostname: &str, writer: &mut Writer<'_>) {
        let config = &self.config;
        match code {
            option::SUBNET_MASK => _ = writer.option(code, &config.mask().octets()),
            option::BROADCAST_ADDRESS => _ = writer.option(code, &config.broadcast().octets()),
            option::ROUTER => {
                _ = config
                    .router
                    .map(|router| writer.option(code, &router.octets()))
            }
            option::INTERFACE_MTU => {
                _ = config
                    .mtu
                    .map(|mtu| writer.option(code, &mtu.to_be_bytes()))
            }
            option::DOMAIN_NAME if !config.domain.is_empty() => {
                writer.option(code, config.domain.as_str().as_bytes());
            }
            option::HOST_NAME if !hostname.is_empty() => {
                _ = writer.option(code, hostname.as_bytes())
            }
            option::DNS_SERVERS => {
                let mut octets = [0; 4 * MAX_DNS_SERVERS];
                let mut len = 0;
                for server in config.dns_servers.iter().flatten() {
                    octets[len..len + 4].copy_from_slice(&server.octets());
                    len += 4;
                }
                if len > 0 {
                    writer.option(code, &octets[..len]);
                }
            }
            _ => {}
        }
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
        let plain = text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.'));
        if plain { Text::new(text) } else { None }
    }

    /// The fixed part that every answer has (RFC 2131 §4.3.1, table 3).
    fn reply_header(&self) -> Header {
        let (htype, hardware) = self.message.hardware();
        Header {
            op: Op::Reply,
            htype,
            hlen: hardware.len() as u8,
            xid: self.message.xid(),
            secs: 0,
            flags: self.message.flags() & FLAG_BROADCAST,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: self.message.giaddr(),
            chaddr: self.message.chaddr(),
        }
    }

    /// As much of `out` as the client takes. Option 57 counts the IP and UDP headers and is at least 576.
    fn room<'o>(&self, out: &'o mut [u8]) -> &'o mut [u8] {
        let wanted = self
            .message
            .u16_option(option::MAX_MESSAGE_SIZE)
            .map_or(0, usize::from);
        let limit = wanted
            .saturating_sub(IP_UDP_LEN)
            .max(DEFAULT_MESSAGE_LEN)
            .min(out.len());
        &mut out[..limit]
    }

    /// RFC 6842 §3: the server returns the identifier that the client sent.
    fn echo_client_id(&self, writer: &mut Writer<'_>) {
        if let Some(identifier) = self.message.option(option::CLIENT_ID) {
            writer.option(option::CLIENT_ID, identifier);
        }
    }
}

/// Whether `mac` can be the address of one network card.
fn is_client_mac(mac: MacAddr) -> bool {
    mac.is_unicast() && mac != MacAddr([0; 6])
}
