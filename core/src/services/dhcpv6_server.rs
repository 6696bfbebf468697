//! A DHCPv6 server for one link (RFC 9915 §18.3): addresses from a pool, and parameters for those who have addresses already.
//!
//! [`Dhcpv6Server::handle`] takes a client's message and the time and writes the answer, if one is due. As the [DHCPv4
//! server](super::dhcp_server) it keeps no timer, has one table of a fixed size, and never gives an active lease up for another client.
//! An address is chosen by a keyed hash of the client's DUID, so that clients are not numbered one after the other (RFC 7824 §3) and
//! find the same address again. Prefixes are not delegated, and there is neither server unicast nor IA_TA (RFC 9915 §25).

use core::net::Ipv6Addr;
use core::ops::RangeInclusive;

use super::List;
use super::dhcpv6_client::MAX_DHCPV6_NAMES;
use crate::address::Prefix;
use crate::random::{Generator, Use};
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::dhcpv6::{
    Association, Duid, INFINITY, Lifetimes, Message, MessageType, Options, SERVERS, Writer, option, status,
};
use crate::wire::dns::Name;
use crate::wire::ethernet::MacAddr;

/// What a server gives its clients.
#[derive(Clone, Copy, Debug)]
pub struct Dhcpv6Config {
    /// The server's station, of which its DUID is made.
    pub mac: MacAddr,
    /// Seeds the choice of addresses.
    pub seed: [u64; 2],
    /// The link's prefix: an address outside is not one of this link (CONFIRM).
    pub prefix: Prefix,
    /// The addresses to lease, if any; without them the server gives parameters only.
    pub pool: Option<(Ipv6Addr, Ipv6Addr)>,
    /// How long an address should be used for new connections.
    pub preferred: Duration,
    /// How long an address may be used.
    pub valid: Duration,
    /// How long an address is set aside after a client found it in use.
    pub decline_time: Duration,
    /// Name servers to announce.
    pub dns_servers: List<Ipv6Addr, MAX_DHCPV6_NAMES>,
    /// Domains of short names.
    pub search: List<Name, MAX_DHCPV6_NAMES>,
    /// How much the server wants to be chosen where there are several; 255 at once.
    pub preference: u8,
    /// Whether a client that wants it is granted an address at once.
    pub rapid_commit: bool,
}

impl Dhcpv6Config {
    /// A server for a link, which gives parameters only: lifetimes of 12 and 24 hours, a quarantine of ten minutes, rapid commit.
    pub fn new(mac: MacAddr, seed: [u64; 2], prefix: Prefix) -> Self {
        Dhcpv6Config {
            mac,
            seed,
            prefix,
            pool: None,
            preferred: Duration::from_secs(12 * 3_600),
            valid: Duration::from_secs(24 * 3_600),
            decline_time: Duration::from_secs(600),
            dns_servers: List::EMPTY,
            search: List::EMPTY,
            preference: 0,
            rapid_commit: true,
        }
    }
}

/// What has become of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dhcpv6LeaseState {
    /// Granted until it `expires`.
    Bound,
    /// Given back, or run out; its client finds it again if nobody else needs the entry.
    Ended,
    /// Somebody else has the address, as a client noticed; nobody gets it until it `expires`.
    Declined,
}

/// An address and who has or had it.
#[derive(Clone, Copy, Debug)]
pub struct Dhcpv6ServerLease {
    /// The address.
    pub address: Ipv6Addr,
    /// The client.
    pub client: Duid,
    /// The number of its association: a client may have several.
    pub iaid: u32,
    /// When the lease or quarantine ends.
    pub expires: Instant,
    is_declined: bool,
}

impl Dhcpv6ServerLease {
    /// An unused entry, to fill a slice that is lent as storage.
    pub const EMPTY: Self = Dhcpv6ServerLease {
        address: Ipv6Addr::UNSPECIFIED,
        client: Duid::EMPTY,
        iaid: 0,
        expires: Instant::ZERO,
        is_declined: false,
    };

    /// What has become of the address at `now`.
    pub fn state(&self, now: Instant) -> Dhcpv6LeaseState {
        match self.is_declined {
            _ if self.expires <= now => Dhcpv6LeaseState::Ended,
            true => Dhcpv6LeaseState::Declined,
            false => Dhcpv6LeaseState::Bound,
        }
    }
}

/// Messages received, sent and dropped, each with its reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dhcpv6Counters {
    /// Offers sent.
    pub advertisements: u64,
    /// Answers sent.
    pub replies: u64,
    /// Addresses given back.
    pub releases: u64,
    /// Addresses that a client found in use.
    pub declines: u64,
    /// No DHCPv6 message, or one without what it must have (§16).
    pub malformed: u64,
    /// A message that only servers send.
    pub not_for_servers: u64,
    /// Meant for another server.
    pub other_server: u64,
    /// Sent to a unicast address, which no client may any more.
    pub unicast: u64,
    /// There was no address to give.
    pub pool_exhausted: u64,
    /// The caller's buffer was too short for the answer.
    pub no_room: u64,
}

/// See the [module](self).
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub struct Dhcpv6Server<'m> {
    config: Dhcpv6Config,
    duid: Duid,
    hash: Generator,
    leases: Storage<'m, Dhcpv6ServerLease>,
    counters: Dhcpv6Counters,
}

impl<'m> Dhcpv6Server<'m> {
    /// A server with room for as many addresses: leased, remembered and declined.
    pub fn new(config: Dhcpv6Config, leases: Storage<'m, Dhcpv6ServerLease>) -> Self {
        let hash = Generator::new(config.seed, Use::Dhcpv6Server);
        let duid = Duid::of_station(config.mac);
        Dhcpv6Server { config, duid, hash, leases, counters: Dhcpv6Counters::default() }
    }

    /// All addresses that the server remembers.
    pub fn leases(&self) -> &[Dhcpv6ServerLease] {
        &self.leases
    }

    /// What the server has received, sent and dropped.
    pub fn counters(&self) -> &Dhcpv6Counters {
        &self.counters
    }

    /// Takes up a lease that was granted before a restart; false if it cannot be.
    pub fn restore(&mut self, lease: Dhcpv6ServerLease) -> bool {
        let is_known = self.leases.iter().any(|known| known.address == lease.address);
        !is_known && self.pool().is_some_and(|pool| pool.contains(&lease.address)) && self.leases.push(lease).is_ok()
    }

    /// Takes a message that came to port 547 of `to` and writes the answer into `out`, which should have 1,232 octets. It goes back to
    /// where the message came from, port 546.
    pub fn handle(&mut self, now: Instant, to: Ipv6Addr, message: &[u8], out: &mut [u8]) -> Option<usize> {
        let Some(message) = Message::parse(message) else {
            self.counters.malformed += 1;
            return None;
        };
        if to != SERVERS {
            self.counters.unicast += 1;
            return None;
        }
        let client = message.duid(option::CLIENT_ID);
        let server = message.options().find(option::SERVER_ID);
        // §16: which messages must name a client and a server, and which must not.
        let (needs_client, names_server) = match message.kind() {
            MessageType::Solicit | MessageType::Confirm | MessageType::Rebind => (true, Some(false)),
            MessageType::Request | MessageType::Renew | MessageType::Release | MessageType::Decline => {
                (true, Some(true))
            }
            MessageType::InformationRequest => (false, None),
            MessageType::Advertise | MessageType::Reply => {
                self.counters.not_for_servers += 1;
                return None;
            }
        };
        let has_association = message.options().any(|(code, _)| matches!(code, option::IA_NA | option::IA_PD));
        let is_malformed = (needs_client && client.is_none())
            || names_server.is_some_and(|must| must != server.is_some())
            || (message.kind() == MessageType::InformationRequest && has_association);
        if is_malformed {
            self.counters.malformed += 1;
            return None;
        }
        if server.is_some_and(|server| server != self.duid.as_octets()) {
            self.counters.other_server += 1;
            return None;
        }
        let answer = self.answer(now, &message, client.unwrap_or(Duid::EMPTY), out)?;
        match answer {
            (_, None) => {
                self.counters.no_room += 1;
                None
            }
            (kind, len) => {
                match kind {
                    MessageType::Advertise => self.counters.advertisements += 1,
                    _ => self.counters.replies += 1,
                }
                len
            }
        }
    }

    /// The kind of the answer and its length, unless it did not fit; `None` if none is due.
    fn answer(
        &mut self,
        now: Instant,
        message: &Message<'_>,
        client: Duid,
        out: &mut [u8],
    ) -> Option<(MessageType, Option<usize>)> {
        let asked = message.kind();
        let at_once = self.config.rapid_commit && message.options().find(option::RAPID_COMMIT).is_some();
        let kind = match asked {
            MessageType::Solicit if !at_once => MessageType::Advertise,
            _ => MessageType::Reply,
        };
        // §18.3.3: "If the server does not find any addresses in any of the IAs sent by the client [...], the server MUST NOT send a reply".
        if asked == MessageType::Confirm && addresses(message).next().is_none() {
            return None;
        }
        let mut writer = Writer::new(out, kind, message.xid());
        if client != Duid::EMPTY {
            writer.option(option::CLIENT_ID, &[client.as_octets()]);
        }
        writer.option(option::SERVER_ID, &[self.duid.as_octets()]);
        match asked {
            MessageType::Confirm => {
                let on_link = addresses(message).all(|address| self.config.prefix.contains(address.into()));
                writer.status(if on_link { status::SUCCESS } else { status::NOT_ON_LINK });
            }
            MessageType::Release | MessageType::Decline => {
                writer.status(status::SUCCESS);
                // §18.3.7, §18.3.8: "For each IA [...] for which the server has no binding information".
                for (code, association) in associations(message) {
                    if code == option::IA_PD || self.binding(now, client, association.iaid).is_none() {
                        let open = writer.begin_association(code, association.iaid, 0, 0);
                        writer.status(status::NO_BINDING);
                        writer.end(open);
                    }
                }
                self.give_up(now, message, client);
            }
            MessageType::InformationRequest => self.write_parameters(message, &mut writer),
            _ => {
                if kind == MessageType::Advertise && self.config.preference > 0 {
                    writer.option(option::PREFERENCE, &[&[self.config.preference]]);
                }
                if asked == MessageType::Solicit && at_once {
                    writer.option(option::RAPID_COMMIT, &[]);
                }
                for (code, association) in associations(message) {
                    self.write_association(now, (asked, kind), client, code, &association, &mut writer);
                }
                self.write_parameters(message, &mut writer);
            }
        }
        Some((kind, writer.finish()))
    }

    /// §18.3.1 to §18.3.5: what becomes of one association of the client's.
    fn write_association(
        &mut self,
        now: Instant,
        (asked, kind): (MessageType, MessageType),
        client: Duid,
        code: u16,
        association: &Association<'_>,
        writer: &mut Writer<'_>,
    ) {
        let extends = matches!(asked, MessageType::Renew | MessageType::Rebind);
        let (preferred, valid) = (seconds(self.config.preferred), seconds(self.config.valid));
        let open = writer.begin_association(code, association.iaid, preferred / 2, preferred / 5 * 4);
        if code == option::IA_PD {
            writer.status(status::NO_PREFIX_AVAIL);
            writer.end(open);
            return;
        }
        // §18.3.2: "If the server finds that the prefix on one or more IP addresses [...] is not appropriate for the link to which the client is
        // connected, the server MUST return the IA to the client with a Status Code option with the value NotOnLink."
        let is_on_link = |address: Ipv6Addr| self.config.prefix.contains(address.into());
        if asked == MessageType::Request && !addresses_in(association.options).all(is_on_link) {
            writer.status(status::NOT_ON_LINK);
            writer.end(open);
            return;
        }
        let hint = addresses_in(association.options).next();
        let known = self.leases.iter().position(|lease| {
            lease.client == client
                && lease.iaid == association.iaid
                && (lease.state(now) == Dhcpv6LeaseState::Bound || !extends)
                && !lease.is_declined
        });
        let place = match known {
            Some(place) => Some(place),
            // An offer reserves nothing, so that inventing clients costs nobody else an address.
            None if extends => None,
            None => self.place_for(now, client, association.iaid, hint),
        };
        match place {
            Some(place) => {
                let address = self.leases[place].address;
                if kind == MessageType::Reply {
                    let expires = if valid == INFINITY { Instant::FAR_FUTURE } else { now + self.config.valid };
                    self.leases[place] =
                        Dhcpv6ServerLease { address, client, iaid: association.iaid, expires, is_declined: false };
                }
                writer.lifetimes(&Lifetimes { address, length: 128, preferred, valid });
                // §18.3.4: what the client has that is not its own ends at once.
                for other in addresses_in(association.options).filter(|other| extends && *other != address).take(4) {
                    writer.lifetimes(&Lifetimes { address: other, length: 128, preferred: 0, valid: 0 });
                }
            }
            None if extends => writer.status(status::NO_BINDING),
            None => {
                self.counters.pool_exhausted += 1;
                writer.status(status::NO_ADDRS_AVAIL);
            }
        }
        writer.end(open);
    }

    /// The place of what a client has for one of its associations.
    fn binding(&self, now: Instant, client: Duid, iaid: u32) -> Option<usize> {
        let is_it = |lease: &Dhcpv6ServerLease| {
            lease.client == client && lease.iaid == iaid && lease.state(now) == Dhcpv6LeaseState::Bound
        };
        self.leases.iter().position(is_it)
    }

    fn pool(&self) -> Option<RangeInclusive<Ipv6Addr>> {
        self.config.pool.map(|(first, last)| first..=last).filter(|pool| !pool.is_empty())
    }

    /// An entry with an address for a new association: the one that the client would like if it is free, else one by hash.
    fn place_for(&mut self, now: Instant, client: Duid, iaid: u32, hint: Option<Ipv6Addr>) -> Option<usize> {
        let pool = self.pool()?;
        let (first, last) = (pool.start().to_bits(), pool.end().to_bits());
        let count = (last - first).saturating_add(1);
        let mut words = [0; 18];
        words[0] = u64::from(iaid);
        for (word, octets) in words[1..].iter_mut().zip(client.as_octets().chunks(8)) {
            *word = octets.iter().fold(1, |value, octet| value << 8 | u64::from(*octet));
        }
        let start = u128::from(self.hash.prf(&words)) % count;
        let table = self.leases.capacity() as u128;
        let by_hash = (0..count.min(table + 1)).map(|step| Ipv6Addr::from_bits(first + (start + step) % count));
        let mut candidates = hint.filter(|hint| pool.contains(hint)).into_iter().chain(by_hash);
        let address = candidates.find(|address| {
            self.leases
                .iter()
                .find(|lease| lease.address == *address)
                .is_none_or(|lease| lease.state(now) == Dhcpv6LeaseState::Ended)
        })?;
        if let Some(place) = self.leases.iter().position(|lease| lease.address == address) {
            return Some(place);
        }
        let entry = Dhcpv6ServerLease { address, ..Dhcpv6ServerLease::EMPTY };
        if self.leases.push(entry).is_ok() {
            return Some(self.leases.len() - 1);
        }
        // The one that ended longest ago is given up.
        let ended = self.leases.iter().enumerate().filter(|(_, lease)| lease.state(now) == Dhcpv6LeaseState::Ended);
        let (place, _) = ended.min_by_key(|(_, lease)| lease.expires)?;
        self.leases[place] = entry;
        Some(place)
    }

    /// RELEASE and DECLINE, of addresses that the client has.
    fn give_up(&mut self, now: Instant, message: &Message<'_>, client: Duid) {
        for address in addresses(message) {
            let Some(lease) = self.leases.iter_mut().find(|lease| lease.address == address && lease.client == client)
            else {
                continue;
            };
            if lease.state(now) != Dhcpv6LeaseState::Bound {
                continue;
            }
            if message.kind() == MessageType::Decline {
                self.counters.declines += 1;
                lease.is_declined = true;
                lease.expires = now + self.config.decline_time;
            } else {
                self.counters.releases += 1;
                lease.expires = now;
            }
        }
    }

    /// What the client asks for, or all if it does not say.
    fn write_parameters(&self, message: &Message<'_>, writer: &mut Writer<'_>) {
        let list = message.options().find(option::OPTION_REQUEST);
        let wants = |code: u16| list.is_none_or(|list| list.as_chunks::<2>().0.contains(&code.to_be_bytes()));
        let Dhcpv6Config { dns_servers, search, .. } = &self.config;
        if wants(option::DNS_SERVERS) && !dns_servers.is_empty() {
            let mut octets = [0; 16 * MAX_DHCPV6_NAMES];
            for (place, server) in octets.as_chunks_mut::<16>().0.iter_mut().zip(dns_servers.iter()) {
                *place = server.octets();
            }
            writer.option(option::DNS_SERVERS, &[&octets[..16 * dns_servers.len()]]);
        }
        if wants(option::DOMAIN_LIST) && !search.is_empty() {
            let mut parts: [&[u8]; MAX_DHCPV6_NAMES] = [&[]; MAX_DHCPV6_NAMES];
            for (part, name) in parts.iter_mut().zip(search.iter()) {
                *part = name.as_octets();
            }
            writer.option(option::DOMAIN_LIST, &parts);
        }
    }
}

/// A message's IA_NA and IA_PD options.
fn associations<'a>(message: &Message<'a>) -> impl Iterator<Item = (u16, Association<'a>)> {
    let of_code = message.options().filter(|(code, _)| matches!(*code, option::IA_NA | option::IA_PD));
    of_code.filter_map(|(code, value)| Some((code, Association::parse(value)?)))
}

/// The addresses in all of a message's IA_NA options.
fn addresses(message: &Message<'_>) -> impl Iterator<Item = Ipv6Addr> {
    let of_addresses = associations(message).filter(|(code, _)| *code == option::IA_NA);
    of_addresses.flat_map(|(_, association)| addresses_in(association.options))
}

fn addresses_in(options: Options<'_>) -> impl Iterator<Item = Ipv6Addr> {
    options
        .filter(|(code, _)| *code == option::IA_ADDRESS)
        .filter_map(|(_, value)| Lifetimes::parse_address(value))
        .map(|lifetimes| lifetimes.address)
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(INFINITY)
}
