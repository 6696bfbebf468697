//! Multicast DNS (RFC 6762) and service discovery by it (RFC 6763): names that end in `.local`, without a server.
//!
//! An [`Mdns`] is one host on one link. It claims a name and answers for it ([`Mdns::set_addresses`]), tells of services
//! ([`Mdns::register`]), and asks for what others have: [`Mdns::browse`] finds the instances of a type of service, [`Mdns::resolve`] where
//! one is, [`Mdns::look_up`] the addresses of a name, [`Mdns::ask`] records of any type. Questions go on, at ever longer
//! intervals, until they are [cancelled](Mdns::cancel); [`Mdns::poll_event`] tells when there is something new.
//!
//! What comes to UDP port 5353 goes to [`Mdns::handle`], what [`Mdns::transmit`] writes is sent from there to
//! [both groups](Mdns::groups), with a TTL or hop limit of 255 (RFC 6762 §11). A message reaches both families at once, so
//! that all the state is one, and a host that asks by both is answered once.
//!
//! Memory is given at construction ([`MdnsMemory`]); a message costs as many passes over these tables as it has records.

mod cache;
mod claims;
mod querier;
mod records;
mod responder;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cache::Cache;
pub use cache::CachedRecord;
use querier::Asking;
pub use querier::{MdnsQuestion, ServiceInfo};
use records::Party;
pub use records::{OwnRecord, ServiceEntry};

use super::{List, Text};
use crate::address::Prefix;
use crate::random::{Generator, Use};
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::dns::{CLASS_IN, DnsError, HEADER_LEN, Header, MAX_DATA_LEN, MAX_LABEL_LEN, Name, Record, RecordData};

/// UDP port of all messages.
pub const MDNS_PORT: u16 = 5353;
/// The IPv4 group.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The IPv6 group.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// The most addresses that a host has on the link.
pub const MAX_MDNS_ADDRESSES: usize = 8;

/// The most subtypes of a service.
pub const MAX_SUBTYPES: usize = 4;

/// RFC 6762 §10.2 and §18.12: in a record, that it replaces what was known; in a question, that the answer may be unicast.
const TOP_BIT: u16 = 0x8000;
/// Records of a message that are looked at: all that fit an Ethernet frame have more octets each.
const MAX_RECORDS: usize = 128;

/// How a host behaves.
#[derive(Clone, Copy, Debug)]
pub struct MdnsConfig {
    /// Seeds delays, which keep hosts from talking at once.
    pub seed: [u64; 2],
    /// The name that the host wants, without `.local`; `host` if it is empty. If another has it, a number is appended.
    pub hostname: Text<MAX_LABEL_LEN>,
}

/// The tables of an [`Mdns`].
#[derive(Debug)]
pub struct MdnsMemory<'m> {
    /// Services told of at a time.
    pub services: Storage<'m, ServiceEntry>,
    /// Records of this host: three for each of its addresses, one more, and for each service five and its subtypes.
    pub own: Storage<'m, OwnRecord>,
    /// Questions at a time.
    pub questions: Storage<'m, MdnsQuestion>,
    /// Records of others that are remembered.
    pub cache: Storage<'m, CachedRecord>,
}

#[cfg(feature = "alloc")]
impl MdnsMemory<'static> {
    /// Tables for so many services, questions and records of others.
    pub fn with_capacity(services: usize, questions: usize, cache: usize) -> Self {
        MdnsMemory {
            services: Storage::with_capacity(services),
            own: Storage::with_capacity(3 * MAX_MDNS_ADDRESSES + 1 + (5 + MAX_SUBTYPES) * services),
            questions: Storage::with_capacity(questions),
            cache: Storage::with_capacity(cache),
        }
    }
}

/// A service to tell of.
#[derive(Clone, Copy, Debug)]
pub struct ServiceConfig<'a> {
    /// The name that people see, at most 63 octets of UTF-8: `Tom's files`. If another has it, a number is appended.
    pub instance: &'a str,
    /// The type: `_http._tcp` (RFC 6763 §7).
    pub service: &'a str,
    /// Subtypes of it, which some browse for (RFC 6763 §7.1): `_printer`. [`MAX_SUBTYPES`] at most.
    pub subtypes: &'a [&'a str],
    /// The TCP or UDP port.
    pub port: u16,
    /// What else clients should know, as the data of a TXT record (RFC 6763 §6): [`text_of`] makes it.
    pub text: &'a [u8],
}

/// Names a service of ours; never again another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceId {
    index: u16,
    generation: u32,
}

/// Names a question; never again another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuestionId {
    index: u32,
    generation: u32,
}

/// Why a service was not registered, or a question not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MdnsError {
    /// No domain name, or a text that is too long.
    Name(DnsError),
    /// The type of service is not of the form `_name._tcp` or `_name._udp`.
    ServiceType,
    /// The table is full.
    Full,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MdnsEvent {
    /// The host has its name, perhaps another one than it wanted: [`Mdns::hostname`] tells.
    Named,
    /// A service has its name and is told of: [`Mdns::instance`].
    Registered(ServiceId),
    /// There is more, less or other that answers a question.
    Answers(QuestionId),
}

/// Messages sent, received and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MdnsCounters {
    /// Probes sent.
    pub probes: u64,
    /// Questions sent, probes not counted.
    pub queries: u64,
    /// Responses sent to the groups.
    pub responses: u64,
    /// Responses sent to one host.
    pub unicast_responses: u64,
    /// Answers left out since the asking host has them, or another has just told them.
    pub suppressed: u64,
    /// Names that another host has too.
    pub conflicts: u64,
    /// Messages from this host itself.
    pub own: u64,
    /// Messages that cannot be read, or are no queries and responses.
    pub malformed: u64,
    /// Responses from another port, and what was sent to this host alone from beyond the link (RFC 6762 §11).
    pub not_local: u64,
    /// Records whose data is too long to be kept.
    pub too_long: u64,
    /// Records that were forgotten before their time, or not kept, since there was no room.
    pub evicted: u64,
}

/// See the [module](self).
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub struct Mdns<'m> {
    random: Generator,
    addresses: List<Prefix, MAX_MDNS_ADDRESSES>,
    host: Party,
    services: Storage<'m, ServiceEntry>,
    own: Storage<'m, OwnRecord>,
    questions: Storage<'m, MdnsQuestion>,
    cache: Cache<'m>,
    asking: Asking,
    /// Conflicts in a row and the last one, for RFC 6762 §8.1.
    conflicts: (u32, Instant),
    counters: MdnsCounters,
}

impl<'m> Mdns<'m> {
    /// A host that says nothing until it has [addresses](Self::set_addresses).
    pub fn new(config: MdnsConfig, memory: MdnsMemory<'m>) -> Self {
        let unnamed = Text::new("host").filter(|_| config.hostname.is_empty());
        Mdns {
            random: Generator::new(config.seed, Use::Mdns),
            addresses: List::EMPTY,
            host: Party::new(unnamed.unwrap_or(config.hostname)),
            services: memory.services,
            own: memory.own,
            questions: memory.questions,
            cache: Cache::new(memory.cache),
            asking: Asking::default(),
            conflicts: (0, Instant::ZERO),
            counters: MdnsCounters::default(),
        }
    }

    /// The groups that messages go to: those of the families that the host has an address of.
    pub fn groups(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let has = |v4: bool| self.addresses.iter().any(|prefix| prefix.address.is_ipv4() == v4);
        let v4 = has(true).then_some(SocketAddr::new(GROUP_V4.into(), MDNS_PORT));
        let v6 = has(false).then_some(SocketAddr::new(GROUP_V6.into(), MDNS_PORT));
        v4.into_iter().chain(v6)
    }

    /// What was sent and received.
    pub fn counters(&self) -> &MdnsCounters {
        &self.counters
    }

    /// Takes a message that came from `from` to `to`, a group or this host. An answer that goes to `from` alone is written into `out`; the
    /// result is how many octets it has.
    pub fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: IpAddr,
        message: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let source = from.ip().to_canonical();
        if self.addresses.iter().any(|prefix| prefix.address == source) {
            self.counters.own += 1;
            return None;
        }
        // RFC 6762 §18.3 and §18.11: other operations and codes are ignored.
        let Some(header) = Header::read(message).ok().filter(|header| header.opcode == 0 && header.rcode == 0) else {
            self.counters.malformed += 1;
            return None;
        };
        if from.port() == 0 || !is_readable(message, &header) {
            self.counters.malformed += 1;
            return None;
        }
        let is_unicast = !to.to_canonical().is_multicast();
        let is_on_link = self.is_on_link(source);
        match header.response {
            // RFC 6762 §6 and §11.
            true if from.port() != MDNS_PORT || is_unicast && !is_on_link => self.counters.not_local += 1,
            true => self.handle_response(now, message, &header),
            false if (from.port() != MDNS_PORT || is_unicast) && !is_on_link => self.counters.not_local += 1,
            false => return self.handle_query(now, from, is_unicast, message, &header, out),
        }
        None
    }

    /// The next message to send to the [groups](Self::groups) at this time, if there is one: how many octets of `out` it has. `out` is as long as a
    /// message may be on this link: 1,452 octets on Ethernet. To be called until there is nothing, when
    /// [`next_timeout`](Self::next_timeout) has come and after each other call.
    pub fn transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        if self.addresses.is_empty() {
            return None;
        }
        self.expire(now);
        self.advance_claims(now);
        match self.write_response(now, out).or_else(|| self.write_probes(now, out)) {
            Some(len) => Some(len),
            None => self.write_queries(now, out),
        }
    }

    /// When to call [`transmit`](Self::transmit) at the latest; `None` if nothing is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.addresses.is_empty() {
            return None;
        }
        let parties = core::iter::once(&self.host).chain(self.services.iter().map(|service| &service.party));
        let claims = parties.filter_map(|party| party.claim.due());
        let answers = self.own.iter().filter_map(OwnRecord::due);
        claims.chain(answers).chain(self.query_timeout()).min()
    }

    /// What has happened since the last call.
    pub fn poll_event(&mut self) -> Option<MdnsEvent> {
        if core::mem::take(&mut self.host.has_news) {
            return Some(MdnsEvent::Named);
        }
        for (index, service) in self.services.iter_mut().enumerate() {
            if core::mem::take(&mut service.party.has_news) {
                let id = ServiceId { index: index as u16, generation: service.generation };
                return Some(MdnsEvent::Registered(id));
            }
        }
        let (index, question) = self.questions.iter_mut().enumerate().find(|(_, question)| question.has_news)?;
        question.has_news = false;
        Some(MdnsEvent::Answers(QuestionId { index: index as u32, generation: question.generation }))
    }

    /// RFC 6762 §11: whether the sender is on this link by its address.
    fn is_on_link(&self, address: IpAddr) -> bool {
        let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        is_link_local || self.addresses.iter().any(|prefix| prefix.contains(address))
    }

    /// A time between these two from now on, in milliseconds.
    fn after(&mut self, now: Instant, least: u64, most: u64) -> Instant {
        now + Duration::from_micros(least * 1_000 + self.random.below((most - least) * 1_000 + 1))
    }
}

/// Whether all of a message can be read. What reads it again need not expect otherwise.
fn is_readable(message: &[u8], header: &Header) -> bool {
    let mut at = HEADER_LEN;
    for _ in 0..header.counts[0] {
        match crate::wire::dns::Question::read(message, at) {
            Ok((_, next)) => at = next,
            Err(_) => return false,
        }
    }
    let records: u32 = header.counts[1..].iter().map(|count| u32::from(*count)).sum();
    (0..records).all(|_| match Record::read(message, at) {
        Ok((_, next)) => {
            at = next;
            true
        }
        Err(_) => false,
    })
}

/// The questions of a message.
fn questions<'a>(message: &'a [u8], header: &Header) -> impl Iterator<Item = crate::wire::dns::Question> + use<'a> {
    let mut at = HEADER_LEN;
    (0..header.counts[0]).map_while(move |_| {
        let (question, next) = crate::wire::dns::Question::read(message, at).ok()?;
        at = next;
        Some(question)
    })
}

/// The records of class IN of a message's sections, as many as are looked at, with the number of their section and their data.
fn records<'a>(
    message: &'a [u8],
    header: &Header,
) -> impl Iterator<Item = (usize, Record<'a>, Result<RecordData, DnsError>)> + use<'a> {
    let mut at = HEADER_LEN;
    for _ in 0..header.counts[0] {
        at = crate::wire::dns::Question::read(message, at).map_or(message.len(), |(_, next)| next);
    }
    let [_, answers, authority, additional] = header.counts.map(usize::from);
    let all = (0..answers + authority + additional).map_while(move |number| {
        let (record, next) = Record::read(message, at).ok()?;
        at = next;
        let section = 1 + usize::from(number >= answers) + usize::from(number >= answers + authority);
        Some((section, record))
    });
    let of_class = all.take(MAX_RECORDS).filter(|(_, record)| record.class & !TOP_BIT == CLASS_IN);
    of_class.map(move |(section, record)| (section, record, RecordData::read(message, &record)))
}

/// The data of a TXT record: each item, `key=value` or a key alone, after an octet with its length (RFC 6763 §6). Without items, one of
/// no octets (§6.1).
///
/// # Errors
/// If an item is longer than 255 octets, or all are longer than is kept.
pub fn text_of<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Result<RecordData, DnsError> {
    let mut octets = [0; MAX_DATA_LEN];
    let mut len = 0;
    for item in items {
        let length = u8::try_from(item.len()).map_err(|_| DnsError::DataTooLong(item.len()))?;
        let end = len + 1 + item.len();
        let place = octets.get_mut(len..end).ok_or(DnsError::DataTooLong(end))?;
        place[0] = length;
        place[1..].copy_from_slice(item);
        len = end;
    }
    RecordData::new(&[&octets[..len.max(1)]])
}

/// The items of a TXT record's data, empty ones left out (RFC 6763 §6.1).
pub fn items_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    let all = core::iter::from_fn(move || {
        let (len, tail) = rest.split_first()?;
        let (item, after) = tail.split_at_checked(usize::from(*len)).unwrap_or((tail, &[]));
        rest = after;
        Some(item)
    });
    all.filter(|item| !item.is_empty())
}

/// `local`, the domain of all names here (RFC 6762 §3).
fn local() -> Name {
    Name::from_text("local").unwrap_or(Name::ROOT)
}
