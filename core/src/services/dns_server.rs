//! A DNS server for a gateway (RFC 1035, RFC 2308, RFC 3596, RFC 6891).
//!
//! It answers A, AAAA and PTR from a table of names and addresses, in which `*.lab.test` stands for all names below `lab.test` that
//! are not there themselves (RFC 4592). What the table does not have of a [zone](DnsConfig::zones) does not exist.
//!
//! A question about another name becomes an event: [`DnsServer::handle`] returns [`DnsAction::Ask`], the application looks at
//! [`DnsServer::question`], finds the answer in its own time and gives it to [`DnsServer::answer`], which says whom to send it to; or it
//! asks another server, and gives [`DnsServer::relay`] what that says. Questions wait in a slab of a fixed size, for a limited time,
//! and no client takes more than half of it.

use core::net::{IpAddr, SocketAddr};

use super::List;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::dns::{
    CLASS_ANY, CLASS_IN, DnsError, EDNS_DO, Edns, HEADER_LEN, Header, Name, OPT_LEN, Owner, Question, Rcode,
    RecordData, RecordType, Section, UDP_LIMIT, Writer,
};

/// The highest TTL (RFC 2181 §8), in seconds.
const MAX_TTL: u32 = i32::MAX as u32;
/// `nobody.invalid` in wire form.
const NOBODY: &[u8] = b"\x06nobody\x07invalid\x00";

/// The most zones that a server knows all names of.
pub const MAX_ZONES: usize = 8;

/// What to do with a question about a name that the table doesn't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownNames {
    /// Ask the application.
    Ask,
    /// Answer that there is no such name.
    NxDomain,
    /// Answer that this server is not for them.
    Refuse,
}

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// TTL of answers from the table, in seconds.
    pub ttl: u32,
    /// How long clients may remember that a name or type does not exist, in seconds.
    pub negative_ttl: u32,
    /// Domains of which the table has all names: whatever else is asked for in them does not exist.
    pub zones: List<Name, MAX_ZONES>,
    /// What to do with other names that the table doesn't have.
    pub unknown: UnknownNames,
    /// How long a question waits for the application.
    pub patience: Duration,
    /// The longest UDP message that the server takes and sends, in octets, at least 512.
    pub udp_size: u16,
}

impl Default for DnsConfig {
    /// A TTL of a minute, negative 10 s; asks the application, for at most 10 s; UDP messages of 1,232 octets, which
    /// cross every IPv6 link unfragmented.
    fn default() -> Self {
        DnsConfig {
            ttl: 60,
            negative_ttl: 10,
            zones: List::EMPTY,
            unknown: UnknownNames::Ask,
            patience: Duration::from_secs(10),
            udp_size: 1232,
        }
    }
}

/// A name and one of its addresses.
#[derive(Clone, Copy, Debug)]
pub struct DnsEntry {
    /// The name.
    pub name: Name,
    /// The address.
    pub address: IpAddr,
}

impl DnsEntry {
    /// An unused entry, to fill a slice that is lent as storage.
    pub const EMPTY: DnsEntry = DnsEntry { name: Name::ROOT, address: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED) };
}

/// A place for a question that waits for the application.
#[derive(Clone, Copy, Debug)]
pub struct PendingQuestion {
    state: Option<(Query, SocketAddr)>,
    expires: Instant,
    generation: u32,
}

impl PendingQuestion {
    /// An unused place, to fill a slice that is lent as storage.
    pub const EMPTY: PendingQuestion = PendingQuestion { state: None, expires: Instant::ZERO, generation: 0 };
}

/// Names a question that waits for the application; never again another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueryId {
    index: u32,
    generation: u32,
}

/// What a message calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsAction {
    /// Send the first so many octets of the buffer to the client.
    Reply(usize),
    /// The application is to answer this question with [`DnsServer::answer`].
    Ask(QueryId),
    /// Nothing.
    Ignore,
}

/// What the application answers.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// The name exists and has these addresses; those of the type asked for are sent. None of that type means that the
    /// name has no such record.
    Addresses {
        /// Addresses of both families, in any order.
        addresses: &'a [IpAddr],
        /// Time to live in seconds.
        ttl: u32,
    },
    /// The address asked about (PTR) has this name.
    Pointer {
        /// The name.
        name: &'a Name,
        /// Time to live in seconds.
        ttl: u32,
    },
    /// The name has these records of the type asked for; none means that it has no such record.
    Records {
        /// The data of each, with names written out.
        data: &'a [RecordData],
        /// Time to live in seconds.
        ttl: u32,
    },
    /// There is no such name.
    NxDomain,
    /// The answer could not be found.
    ServFail,
    /// The application does not want to answer.
    Refused,
}

/// Why a name was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddNameError {
    /// No domain name.
    Name(DnsError),
    /// No room in the table.
    Full,
}

/// Messages received, answered and dropped, each with its reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsCounters {
    /// Answers from the table.
    pub from_table: u64,
    /// Questions given to the application.
    pub asked: u64,
    /// Answers of the application sent.
    pub from_application: u64,
    /// Answers cut short by the client's or the buffer's size.
    pub truncated: u64,
    /// Repetitions of a question that waits already.
    pub duplicates: u64,
    /// Questions that waited in vain.
    pub expired: u64,
    /// Questions refused since too many wait.
    pub overloaded: u64,
    /// Queries with an error in their form, answered so where the header could be read.
    pub malformed: u64,
    /// Messages that are responses, or come from port 0.
    pub responses: u64,
    /// Operations other than a query.
    pub not_implemented: u64,
    /// Questions refused by class, type or configuration.
    pub refused: u64,
    /// The buffer was too short even for the question.
    pub no_room: u64,
}

/// A checked query: what is needed to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) header: Header,
    question: Question,
    pub(super) edns: Option<Edns>,
    transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Datagram,
    Stream,
}

/// A response to write.
#[derive(Clone, Copy)]
struct Response<'a> {
    rcode: Rcode,
    authoritative: bool,
    records: Records<'a>,
}

#[derive(Clone, Copy)]
enum Records<'a> {
    None,
    Addresses(&'a [IpAddr], u32),
    /// From the table, those with the name of the question.
    Table,
    Pointer(&'a Name, u32),
    Data(&'a [RecordData], u32),
    /// None, and the SOA of this zone says for how long (RFC 2308 §3). The table has no zones: the name itself stands for
    /// one if it exists, the name above it if not.
    Negative(Owner),
}

/// The server.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub struct DnsServer<'m> {
    config: DnsConfig,
    table: Storage<'m, DnsEntry>,
    /// Some entry of the table is a wildcard.
    has_wildcards: bool,
    pending: Storage<'m, PendingQuestion>,
    counters: DnsCounters,
}

impl<'m> DnsServer<'m> {
    /// A server with room for `table.capacity()` addresses of names and `pending.capacity()` questions that wait.
    pub fn new(config: DnsConfig, table: Storage<'m, DnsEntry>, pending: Storage<'m, PendingQuestion>) -> Self {
        DnsServer { config, table, has_wildcards: false, pending, counters: DnsCounters::default() }
    }

    /// Adds an address of `name`, which may have more. The first name added for an address is the one that reverse lookups
    /// find. A name that begins with `*.` stands for all that are below and not in the table (RFC 4592).
    pub fn add(&mut self, name: &str, address: IpAddr) -> Result<(), AddNameError> {
        let name = Name::from_text(name).map_err(AddNameError::Name)?;
        if self.table.iter().any(|entry| entry.address == address && entry.name == name) {
            return Ok(());
        }
        self.table.push(DnsEntry { name, address }).map_err(|_| AddNameError::Full)?;
        self.has_wildcards |= is_wildcard(&name);
        Ok(())
    }

    /// Removes `name` with all its addresses and says how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let Ok(name) = Name::from_text(name) else {
            return 0;
        };
        let mut kept = 0;
        for index in 0..self.table.len() {
            if self.table[index].name != name {
                self.table[kept] = self.table[index];
                kept += 1;
            }
        }
        let removed = self.table.len() - kept;
        self.table.truncate(kept);
        removed
    }

    /// The names and addresses, in the order in which they were added.
    pub fn entries(&self) -> &[DnsEntry] {
        &self.table
    }

    /// What the server has received, answered and dropped.
    pub fn counters(&self) -> &DnsCounters {
        &self.counters
    }

    /// Takes a message that came to UDP port 53 from `from`. `out` needs 512 octets, and `config.udp_size` for clients with
    /// EDNS to profit.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, message: &[u8], out: &mut [u8]) -> DnsAction {
        self.handle_over(Transport::Datagram, now, from, message, out)
    }

    /// Takes a message from a TCP connection with `from`, without its length prefix (RFC 1035 §4.2.2). The answer may fill
    /// all of `out`.
    pub fn handle_stream(&mut self, now: Instant, from: SocketAddr, message: &[u8], out: &mut [u8]) -> DnsAction {
        self.handle_over(Transport::Stream, now, from, message, out)
    }

    /// The name and type of a question that waits; `None` once it is answered or has expired.
    pub fn question(&self, id: QueryId) -> Option<(&Name, RecordType)> {
        let (query, _) = self.place(id)?.state.as_ref()?;
        Some((&query.question.name, query.question.record_type))
    }

    /// Answers a question that waits: writes the message into `out` and says where to send how many octets of it. `None`
    /// if the question is no longer there or `out` is too short for it.
    pub fn answer(&mut self, id: QueryId, answer: Answer<'_>, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let (query, from) = self.take_pending(id)?;
        let kind = query.question.record_type;
        let (rcode, records) = match answer {
            Answer::Addresses { addresses, ttl } if addresses.iter().any(|address| answers(kind, address)) => {
                (Rcode::NoError, Records::Addresses(addresses, ttl))
            }
            Answer::Pointer { name, ttl } if matches!(kind, RecordType::PTR | RecordType::ANY) => {
                (Rcode::NoError, Records::Pointer(name, ttl))
            }
            // No record is of the type ANY.
            Answer::Records { data, ttl } if !data.is_empty() && kind != RecordType::ANY => {
                (Rcode::NoError, Records::Data(data, ttl))
            }
            Answer::Addresses { .. } | Answer::Pointer { .. } | Answer::Records { .. } => {
                (Rcode::NoError, Records::Negative(Owner::Question))
            }
            Answer::NxDomain => (Rcode::NxDomain, Records::Negative(Owner::ParentOfQuestion)),
            Answer::ServFail => (Rcode::ServFail, Records::None),
            Answer::Refused => (Rcode::Refused, Records::None),
        };
        let len = self.write(&query, Response { rcode, authoritative: false, records }, out)?;
        self.counters.from_application += 1;
        Some((from, len))
    }

    fn handle_over(
        &mut self,
        transport: Transport,
        now: Instant,
        from: SocketAddr,
        message: &[u8],
        out: &mut [u8],
    ) -> DnsAction {
        self.expire(now);
        let Ok(header) = Header::read(message) else {
            self.counters.malformed += 1;
            return DnsAction::Ignore;
        };
        // Answering a response could make two servers talk for ever; port 0 cannot be answered.
        if header.response || from.port() == 0 {
            self.counters.responses += 1;
            return DnsAction::Ignore;
        }
        if header.opcode != 0 {
            self.counters.not_implemented += 1;
            return self.reply_without_question(&header, Rcode::NotImp, out);
        }
        let Some(query) = read_query(message, header, transport) else {
            self.counters.malformed += 1;
            return self.reply_without_question(&header, Rcode::FormErr, out);
        };
        let response = match self.look_up(&query) {
            Some(response) => response,
            None => match self.enqueue(now, from, &query) {
                Enqueued::At(id) => return DnsAction::Ask(id),
                Enqueued::Duplicate => return DnsAction::Ignore,
                Enqueued::Full => Response { rcode: Rcode::ServFail, authoritative: false, records: Records::None },
            },
        };
        match self.write(&query, response, out) {
            Some(len) => DnsAction::Reply(len),
            None => DnsAction::Ignore,
        }
    }

    /// What the server itself knows to answer; `None` if the application is to be asked.
    fn look_up(&mut self, query: &Query) -> Option<Response<'static>> {
        let Question { name, record_type, class } = query.question;
        let own = |rcode, records| Some(Response { rcode, authoritative: true, records });
        let error = |rcode| Some(Response { rcode, authoritative: false, records: Records::None });
        if query.edns.is_some_and(|edns| edns.version != 0) {
            self.counters.malformed += 1;
            return error(Rcode::BadVers);
        }
        // 249 to 254 are transactions and zone transfers (RFC 6895 §3.1), nothing that one can look up.
        if !matches!(class, CLASS_IN | CLASS_ANY)
            || (249..=254).contains(&record_type.0)
            || record_type == RecordType::OPT
        {
            self.counters.refused += 1;
            return error(Rcode::Refused);
        }
        let reverse = name.reverse_address();
        let source = self.source_of(&name);
        let (mut exists, mut has_type) = (false, false);
        for entry in self.table.iter() {
            if entry.name == source {
                exists = true;
                has_type |= answers(record_type, &entry.address);
            } else if Some(entry.address) == reverse && !is_wildcard(&entry.name) {
                exists = true;
                has_type |= matches!(record_type, RecordType::PTR | RecordType::ANY);
            }
        }
        if exists {
            self.counters.from_table += 1;
            let records = if has_type { Records::Table } else { Records::Negative(Owner::Question) };
            return own(Rcode::NoError, records);
        }
        let zones = self.config.zones.iter().filter(|zone| name.is_within(zone));
        if let Some(zone) = zones.max_by_key(|zone| zone.as_octets().len()) {
            let apex = name.as_octets().len() - zone.as_octets().len();
            let negative = Records::Negative(Owner::SuffixOfQuestion(apex as u8));
            // RFC 8020: a name with names below it exists, and so does the zone's own.
            let exists = apex == 0 || self.table.iter().any(|entry| entry.name.is_within(&name));
            self.counters.from_table += 1;
            return own(if exists { Rcode::NoError } else { Rcode::NxDomain }, negative);
        }
        match self.config.unknown {
            UnknownNames::Ask => None,
            UnknownNames::NxDomain => {
                self.counters.from_table += 1;
                // RFC 8020: a name with names below it exists.
                if self.table.iter().any(|entry| entry.name.is_within(&name)) {
                    own(Rcode::NoError, Records::Negative(Owner::Question))
                } else {
                    own(Rcode::NxDomain, Records::Negative(Owner::ParentOfQuestion))
                }
            }
            UnknownNames::Refuse => {
                self.counters.refused += 1;
                error(Rcode::Refused)
            }
        }
    }

    /// The name in the table whose entries answer for `name`: itself, or the wildcard at its closest encloser, the longest name above
    /// it that exists (RFC 4592 §3.3.1).
    fn source_of(&self, name: &Name) -> Name {
        if !self.has_wildcards {
            return *name;
        }
        let mut closest = 0;
        for entry in self.table.iter() {
            if entry.name == *name {
                return *name;
            }
            closest = closest.max(entry.name.common_labels(name));
        }
        let is_source = |entry: &&DnsEntry| {
            is_wildcard(&entry.name)
                && entry.name.labels().count() == closest + 1
                && entry.name.common_labels(name) == closest
        };
        // RFC 4592 §2.2.2: a name that has others below it exists, and no wildcard answers for it.
        let exists = closest == name.labels().count();
        self.table.iter().find(is_source).filter(|_| !exists).map_or(*name, |entry| entry.name)
    }

    /// Makes a question wait for the application.
    fn enqueue(&mut self, now: Instant, from: SocketAddr, query: &Query) -> Enqueued {
        let mut of_client = 0;
        let mut free = None;
        for (index, place) in self.pending.iter().enumerate() {
            match &place.state {
                Some((waiting, client))
                    if *client == from
                        && waiting.header.id == query.header.id
                        && waiting.question == query.question =>
                {
                    self.counters.duplicates += 1;
                    return Enqueued::Duplicate;
                }
                Some((_, client)) => of_client += usize::from(client.ip() == from.ip()),
                None => free = free.or(Some(index)),
            }
        }
        let quota = self.pending.capacity().div_ceil(2);
        if of_client >= quota {
            self.counters.overloaded += 1;
            return Enqueued::Full;
        }
        if free.is_none() && self.pending.push(PendingQuestion::EMPTY).is_ok() {
            free = Some(self.pending.len() - 1);
        }
        let Some((index, id)) = free.and_then(|index| Some((index, u32::try_from(index).ok()?))) else {
            self.counters.overloaded += 1;
            return Enqueued::Full;
        };
        let place = &mut self.pending[index];
        place.state = Some((*query, from));
        place.expires = now + self.config.patience;
        place.generation = place.generation.wrapping_add(1);
        self.counters.asked += 1;
        Enqueued::At(QueryId { index: id, generation: place.generation })
    }

    /// Forgets the questions that have waited too long. Their clients ask again.
    fn expire(&mut self, now: Instant) {
        for place in self.pending.iter_mut().filter(|place| place.state.is_some() && place.expires <= now) {
            place.state = None;
            self.counters.expired += 1;
        }
    }

    fn place(&self, id: QueryId) -> Option<&PendingQuestion> {
        let place = self.pending.get(usize::try_from(id.index).ok()?)?;
        (place.generation == id.generation).then_some(place)
    }

    pub(super) fn pending_question(&self, id: QueryId) -> Option<&Question> {
        self.place(id)?.state.as_ref().map(|(query, _)| &query.question)
    }

    /// A question that waited waits no longer.
    pub(super) fn take_pending(&mut self, id: QueryId) -> Option<(Query, SocketAddr)> {
        let index = usize::try_from(id.index).ok()?;
        self.place(id)?;
        self.pending[index].state.take()
    }

    pub(super) fn udp_size(&self) -> u16 {
        self.config.udp_size.max(UDP_LIMIT as u16)
    }

    pub(super) fn count_relayed(&mut self, was_cut: bool) {
        self.counters.from_application += 1;
        self.counters.truncated += u64::from(was_cut);
    }

    /// The most octets that a client takes, of a buffer of `room`.
    pub(super) fn limit_for(&self, query: &Query, room: usize) -> usize {
        let limit = match (query.transport, query.edns) {
            (Transport::Stream, _) => room,
            (Transport::Datagram, None) => UDP_LIMIT,
            // RFC 6891 §6.2.3: values below 512 are taken as 512.
            (Transport::Datagram, Some(edns)) => usize::from(edns.udp_size.min(self.config.udp_size)).max(UDP_LIMIT),
        };
        limit.min(room).min(usize::from(u16::MAX))
    }

    fn write(&mut self, query: &Query, response: Response<'_>, out: &mut [u8]) -> Option<usize> {
        let len = self.try_write(query, response, out);
        if len.is_none() {
            self.counters.no_room += 1;
        }
        len
    }

    fn try_write(&mut self, query: &Query, response: Response<'_>, out: &mut [u8]) -> Option<usize> {
        let limit = self.limit_for(query, out.len());
        let rcode = response.rcode as u8;
        let header =
            Header { authoritative: response.authoritative, rcode: rcode & 0xf, ..response_header(&query.header) };
        let mut writer = Writer::new(&mut out[..limit], header)?;
        writer.reserve(if query.edns.is_some() { OPT_LEN } else { 0 });
        if !writer.question(&query.question) {
            return None;
        }
        if !self.write_records(query, response.records, &mut writer) {
            self.counters.truncated += 1;
        }
        if let Some(edns) = query.edns {
            writer.reserve(0);
            writer.edns(Edns {
                udp_size: self.udp_size(),
                extended_rcode: rcode >> 4,
                version: 0,
                // RFC 3225 §3: DO is copied; the other bits are reserved.
                flags: edns.flags & EDNS_DO,
            });
        }
        Some(writer.finish())
    }

    /// Writes the answers, or the SOA of a negative answer; false if not all of them fitted.
    fn write_records(&self, query: &Query, records: Records<'_>, writer: &mut Writer<'_>) -> bool {
        let Question { name, record_type, .. } = query.question;
        match records {
            Records::None => true,
            Records::Addresses(addresses, ttl) => {
                addresses.iter().all(|address| put_address(writer, record_type, address, ttl))
            }
            Records::Pointer(target, ttl) => put_pointer(writer, target, ttl),
            Records::Data(data, ttl) => data.iter().all(|data| {
                let ttl = ttl.min(MAX_TTL);
                writer.record(Section::Answer, Owner::Question, record_type, CLASS_IN, ttl, &[data.as_octets()])
            }),
            Records::Table => {
                let ttl = self.config.ttl;
                let source = self.source_of(&name);
                let mut of_name = self.table.iter().filter(|entry| entry.name == source);
                if !of_name.all(|entry| put_address(writer, record_type, &entry.address, ttl)) {
                    return false;
                }
                if !matches!(record_type, RecordType::PTR | RecordType::ANY) {
                    return true;
                }
                let reverse = name.reverse_address();
                let has_address = |entry: &&DnsEntry| Some(entry.address) == reverse && !is_wildcard(&entry.name);
                let pointer = self.table.iter().find(has_address);
                pointer.is_none_or(|entry| put_pointer(writer, &entry.name, ttl))
            }
            Records::Negative(zone) => {
                let ttl = self.config.negative_ttl.min(MAX_TTL);
                let octets = ttl.to_be_bytes();
                // MNAME, RNAME, SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM. RFC 6303 §3 proposes the mailbox.
                let serial = 1u32.to_be_bytes();
                let data: [&[u8]; 7] = [NOBODY, NOBODY, &serial, &octets, &octets, &octets, &octets];
                writer.record(Section::Authority, zone, RecordType::SOA, CLASS_IN, ttl, &data)
            }
        }
    }

    fn reply_without_question(&mut self, query: &Header, rcode: Rcode, out: &mut [u8]) -> DnsAction {
        let header = Header { rcode: rcode as u8, ..response_header(query) };
        match out.get_mut(..HEADER_LEN).and_then(|out| Writer::new(out, header)) {
            Some(writer) => DnsAction::Reply(writer.finish()),
            None => {
                self.counters.no_room += 1;
                DnsAction::Ignore
            }
        }
    }
}

/// RFC 4592 §2.1.1: the first label is an asterisk alone.
fn is_wildcard(name: &Name) -> bool {
    name.labels().next() == Some(b"*")
}

enum Enqueued {
    At(QueryId),
    Duplicate,
    Full,
}

/// `None`: a query with an error in its form.
fn read_query(message: &[u8], header: Header, transport: Transport) -> Option<Query> {
    // RFC 9619: a query has exactly one question.
    if header.counts[0] != 1 {
        return None;
    }
    let (question, after) = Question::read(message, HEADER_LEN).ok()?;
    let edns = Edns::find(message, &header, after).ok()?;
    Some(Query { header, question, edns, transport })
}

/// The header of the response to a query: its ID, opcode, RD and CD (RFC 4035 §3.2.2); recursion is what the
/// application does.
fn response_header(query: &Header) -> Header {
    Header { response: true, recursion_available: true, authoritative: false, truncated: false, rcode: 0, ..*query }
}

/// Whether a question of type `kind` is answered by a record for `address`.
fn answers(kind: RecordType, address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => matches!(kind, RecordType::A | RecordType::ANY),
        IpAddr::V6(_) => matches!(kind, RecordType::AAAA | RecordType::ANY),
    }
}

/// Writes an address if it answers a question of type `kind`; false if it did not fit.
#[inline(never)] // Once, for the table and for the application's answers.
fn put_address(writer: &mut Writer<'_>, kind: RecordType, address: &IpAddr, ttl: u32) -> bool {
    let mut put = |record_type, octets: &[u8]| {
        writer.record(Section::Answer, Owner::Question, record_type, CLASS_IN, ttl.min(MAX_TTL), &[octets])
    };
    match address {
        _ if !answers(kind, address) => true,
        IpAddr::V4(address) => put(RecordType::A, &address.octets()),
        IpAddr::V6(address) => put(RecordType::AAAA, &address.octets()),
    }
}

fn put_pointer(writer: &mut Writer<'_>, target: &Name, ttl: u32) -> bool {
    writer.record(Section::Answer, Owner::Question, RecordType::PTR, CLASS_IN, ttl.min(MAX_TTL), &[target.as_octets()])
}
