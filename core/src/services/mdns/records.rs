//! What this host tells of: its addresses and services as records, and when each is to be told.

use core::net::{IpAddr, SocketAddr};

use super::claims::Claim;
use super::{MAX_SUBTYPES, Mdns, MdnsError, ServiceConfig, ServiceId, local};
use crate::services::{List, Text};
use crate::time::{Duration, Instant};
use crate::wire::dns::{DnsError, MAX_LABEL_LEN, Name, RecordData, RecordType};

/// RFC 6762 §10: TTLs of records with a host's name, and of others, in seconds.
const HOST_TTL: u32 = 120;
const OTHER_TTL: u32 = 4_500;

/// Who claims a name: the host, or one of its services.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party {
    /// The name that is wanted.
    pub(super) label: Text<MAX_LABEL_LEN>,
    /// The number that is appended to it from 2 on.
    pub(super) number: u32,
    pub(super) claim: Claim,
    pub(super) has_news: bool,
}

impl Party {
    pub(super) fn new(label: Text<MAX_LABEL_LEN>) -> Self {
        Party { label, number: 1, claim: Claim::Idle, has_news: false }
    }

    /// The label with its number between `before` and `after`: `printer-2`, `Printer (2)` (RFC 6762 §9, RFC 6763 App. D).
    fn numbered(&self, before: &str, after: &str) -> Label {
        let mut label = Label { octets: [0; MAX_LABEL_LEN], len: 0 };
        if self.number == 1 {
            label.append(self.label.as_bytes());
            return label;
        }
        let mut digits = [0; 10];
        let mut at = digits.len();
        let mut number = self.number;
        while number > 0 {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        let room = MAX_LABEL_LEN - before.len() - after.len() - (digits.len() - at);
        let text = self.label.as_str();
        let cut = (0..=room.min(text.len())).rev().find(|cut| text.is_char_boundary(*cut)).unwrap_or(0);
        label.append(&text.as_bytes()[..cut]);
        label.append(before.as_bytes());
        label.append(&digits[at..]);
        label.append(after.as_bytes());
        label
    }
}

/// A label in the making.
struct Label {
    octets: [u8; MAX_LABEL_LEN],
    len: usize,
}

impl Label {
    fn append(&mut self, octets: &[u8]) {
        if let Some(place) = self.octets.get_mut(self.len..self.len + octets.len()) {
            place.copy_from_slice(octets);
            self.len += octets.len();
        }
    }

    fn below(&self, parent: &Name) -> Name {
        // Labels are checked when they are given, together with their parents.
        Name::child(&self.octets[..self.len], parent).unwrap_or(Name::ROOT)
    }
}

/// A place for a service of this host.
#[derive(Clone, Copy, Debug)]
pub struct ServiceEntry {
    pub(super) is_used: bool,
    pub(super) generation: u32,
    pub(super) party: Party,
    /// `_http._tcp.local`.
    pub(super) kind: Name,
    pub(super) subtypes: List<Text<MAX_LABEL_LEN>, MAX_SUBTYPES>,
    pub(super) port: u16,
    pub(super) text: RecordData,
}

impl ServiceEntry {
    /// An unused place, to fill a slice that is lent as storage.
    pub const EMPTY: ServiceEntry = ServiceEntry {
        is_used: false,
        generation: 0,
        party: Party { label: Text::EMPTY, number: 1, claim: Claim::Idle, has_news: false },
        kind: Name::ROOT,
        subtypes: List::EMPTY,
        port: 0,
        text: RecordData::EMPTY,
    };
}

/// Which record; its data follows from the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The address of the host's name.
    Address(IpAddr),
    /// The host's name for an address.
    Reverse(IpAddr),
    /// Which types the host's name has.
    HostTypes,
    /// An instance of a type of service (RFC 6763 §4.1).
    Instance(u16),
    /// The same of one of its subtypes (RFC 6763 §7.1).
    Subtype(u16, u8),
    /// A type of service that there is (RFC 6763 §9).
    Type(u16),
    /// Host and port of an instance.
    Server(u16),
    /// The text of an instance.
    Text(u16),
    /// Which types an instance's name has.
    InstanceTypes(u16),
}

impl What {
    /// The service that the record is about.
    pub(super) fn service(self) -> Option<u16> {
        match self {
            What::Address(_) | What::Reverse(_) | What::HostTypes => None,
            What::Instance(index)
            | What::Subtype(index, _)
            | What::Type(index)
            | What::Server(index)
            | What::Text(index)
            | What::InstanceTypes(index) => Some(index),
        }
    }

    /// RFC 6762 §2: whether only one host may have records of this name and type.
    pub(super) fn is_unique(self) -> bool {
        !matches!(self, What::Instance(_) | What::Subtype(..) | What::Type(_))
    }

    /// Whether the record is claimed by probing. Addresses are unique by duplicate address detection, so that their reverse names need
    /// no claim; NSEC records only say what others say.
    pub(super) fn is_claimed(self) -> bool {
        matches!(self, What::Address(_) | What::Server(_) | What::Text(_))
    }

    pub(super) fn kind(self) -> RecordType {
        match self {
            What::Address(IpAddr::V4(_)) => RecordType::A,
            What::Address(IpAddr::V6(_)) => RecordType::AAAA,
            What::Reverse(_) | What::Instance(_) | What::Subtype(..) | What::Type(_) => RecordType::PTR,
            What::Server(_) => RecordType::SRV,
            What::Text(_) => RecordType::TXT,
            What::HostTypes | What::InstanceTypes(_) => RecordType::NSEC,
        }
    }

    /// Seconds.
    pub(super) fn ttl(self) -> u32 {
        match self {
            What::Instance(_) | What::Subtype(..) | What::Type(_) | What::Text(_) | What::InstanceTypes(_) => OTHER_TTL,
            _ => HOST_TTL,
        }
    }
}

/// When a record is to be told to all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: Instant,
    /// The only one who has asked: then what it knows is left out (RFC 6762 §7.2).
    pub(super) by: Option<SocketAddr>,
}

/// What the message at hand, read or written, has to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    No,
    /// To be told to all.
    ByAll,
    /// To be in the message that is written next.
    ByOne,
    /// In the message as an answer.
    Told,
    /// In the message as an additional record.
    Along,
}

/// A place for a record of this host.
#[derive(Clone, Copy, Debug)]
pub struct OwnRecord {
    pub(super) what: What,
    pub(super) due: Option<Due>,
    /// When all were told last.
    pub(super) told: Option<Instant>,
    /// It is told with a TTL of 0, and then forgotten (RFC 6762 §10.1).
    pub(super) is_leaving: bool,
    pub(super) wanted: Wanted,
}

impl OwnRecord {
    /// An unused place, to fill a slice that is lent as storage.
    pub const EMPTY: OwnRecord = OwnRecord::new(What::HostTypes);

    const fn new(what: What) -> Self {
        OwnRecord { what, due: None, told: None, is_leaving: false, wanted: Wanted::No }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due.map(|due| due.at)
    }

    /// RFC 6762 §5.4: whether all were told within a quarter of the TTL, so that one need not be told in front of all.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        let quarter = Duration::from_secs(u64::from(self.what.ttl()) / 4);
        self.told.is_some_and(|told| now.since(told) < quarter)
    }

    /// Plans to tell the record, unless that is planned already for earlier.
    pub(super) fn plan(&mut self, at: Instant, by: Option<SocketAddr>) {
        self.due = Some(match self.due {
            Some(due) => Due { at: due.at.min(at), by: due.by.filter(|asked| by == Some(*asked)) },
            None => Due { at, by },
        });
    }
}

impl Mdns<'_> {
    /// The host's name, as it is claimed at present.
    pub fn hostname(&self) -> Name {
        self.host.numbered("-", "").below(&local())
    }

    /// The name of a service's instance, as it is claimed at present; `None` if the service is no longer there.
    pub fn instance(&self, id: ServiceId) -> Option<Name> {
        self.service_place(id).map(|index| self.instance_name(index as u16))
    }

    /// Tells of a service once its name is certain to be free, and until [`unregister`](Self::unregister). The host needs an
    /// address for it to be reached.
    ///
    /// # Errors
    /// If the name or text is too long, the type not one, or the table full.
    pub fn register(&mut self, now: Instant, service: &ServiceConfig<'_>) -> Result<ServiceId, MdnsError> {
        let kind = service_type(service.service)?;
        let label = Text::new(service.instance).ok_or(MdnsError::Name(DnsError::Label(service.instance.len())))?;
        // The longest label that a number can make of it fits as well.
        Name::child(&[b'x'; MAX_LABEL_LEN], &kind).map_err(MdnsError::Name)?;
        Name::child(service.instance.as_bytes(), &kind).map_err(MdnsError::Name)?;
        let mut subtypes = List::EMPTY;
        for subtype in service.subtypes {
            subtype_name(subtype.as_bytes(), &kind)?;
            let subtype = Text::new(subtype).ok_or(MdnsError::Name(DnsError::Label(subtype.len())))?;
            if !subtypes.push(subtype) {
                return Err(MdnsError::Full);
            }
        }
        let text = if service.text.is_empty() { &[0][..] } else { service.text };
        let text = RecordData::new(&[text]).map_err(MdnsError::Name)?;
        let index = match self.services.iter().position(|service| !service.is_used) {
            Some(index) => index,
            None => {
                self.services.push(ServiceEntry::EMPTY).map_err(|_| MdnsError::Full)?;
                self.services.len() - 1
            }
        };
        let number = u16::try_from(index).map_err(|_| MdnsError::Full)?;
        let before = self.own.len();
        let whats = [
            What::Instance(number),
            What::Type(number),
            What::Server(number),
            What::Text(number),
            What::InstanceTypes(number),
        ];
        let of_subtypes = (0..subtypes.len() as u8).map(|subtype| What::Subtype(number, subtype));
        for what in whats.into_iter().chain(of_subtypes) {
            if self.own.push(OwnRecord::new(what)).is_err() {
                self.own.truncate(before);
                return Err(MdnsError::Full);
            }
        }
        let generation = self.services[index].generation.wrapping_add(1);
        let party = Party::new(label);
        self.services[index] =
            ServiceEntry { is_used: true, generation, party, kind, subtypes, port: service.port, text };
        if !self.addresses.is_empty() {
            self.begin_claim(now, Some(number));
        }
        Ok(ServiceId { index: number, generation })
    }

    /// Changes the text of a service and tells it (RFC 6762 §8.4).
    ///
    /// # Errors
    /// If the text is too long. Nothing happens if the service is no longer there.
    pub fn set_text(&mut self, now: Instant, id: ServiceId, text: &[u8]) -> Result<(), MdnsError> {
        let text = RecordData::new(&[if text.is_empty() { &[0][..] } else { text }]).map_err(MdnsError::Name)?;
        if let Some(index) = self.service_place(id) {
            self.services[index].text = text;
            if self.services[index].party.claim.is_held() {
                self.services[index].party.claim = Claim::announce(now);
            }
        }
        Ok(())
    }

    /// Tells of a service no longer, and that it is gone.
    pub fn unregister(&mut self, now: Instant, id: ServiceId) {
        if let Some(index) = self.service_place(id) {
            self.leave(now, Some(index as u16));
        }
    }

    /// Tells that the host and its services are gone, as [`transmit`](Self::transmit) does next; nothing is answered any more.
    pub fn shut_down(&mut self, now: Instant) {
        for index in 0..self.services.len() {
            if self.services[index].is_used {
                self.leave(now, Some(index as u16));
            }
        }
        self.leave(now, None);
        for question in self.questions.iter_mut() {
            question.end();
        }
    }

    /// The records of a party are told to be gone, if they were told to be there.
    fn leave(&mut self, now: Instant, party: Option<u16>) {
        let was_told = self.party(party).claim.is_held();
        for record in self.own.iter_mut().filter(|record| record.what.service() == party) {
            record.is_leaving = true;
            record.due = None;
            record.plan(now, None);
        }
        self.party_mut(party).claim = Claim::Idle;
        if !was_told {
            self.forget(|record| record.what.service() == party);
        }
    }

    /// Forgets records, and services whose last record it was.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&OwnRecord) -> bool) {
        let mut kept = 0;
        for index in 0..self.own.len() {
            let record = self.own[index];
            if !is_gone(&record) {
                self.own[kept] = record;
                kept += 1;
            }
        }
        self.own.truncate(kept);
        for index in 0..self.services.len() {
            let is_there = self.own.iter().any(|record| record.what.service() == Some(index as u16));
            if !is_there {
                self.services[index].is_used = false;
                self.services[index].party.has_news = false;
            }
        }
    }

    /// Adds the records of an address; false if there is no room.
    pub(super) fn add_address_records(&mut self, address: IpAddr) -> bool {
        let whats = [What::Address(address), What::Reverse(address), What::HostTypes];
        whats.into_iter().all(|what| match self.own.iter_mut().find(|record| record.what == what) {
            Some(record) => {
                record.is_leaving = false;
                true
            }
            None => self.own.push(OwnRecord::new(what)).is_ok(),
        })
    }

    fn service_place(&self, id: ServiceId) -> Option<usize> {
        let index = usize::from(id.index);
        let service = self.services.get(index)?;
        let is_it = service.is_used && service.generation == id.generation;
        let is_leaving = |record: &OwnRecord| record.is_leaving && record.what.service() == Some(id.index);
        (is_it && !self.own.iter().any(is_leaving)).then_some(index)
    }

    pub(super) fn party(&self, party: Option<u16>) -> &Party {
        match party.and_then(|index| self.services.get(usize::from(index))) {
            Some(service) => &service.party,
            None => &self.host,
        }
    }

    pub(super) fn party_mut(&mut self, party: Option<u16>) -> &mut Party {
        match party.and_then(|index| self.services.get_mut(usize::from(index))) {
            Some(service) => &mut service.party,
            None => &mut self.host,
        }
    }

    fn instance_name(&self, index: u16) -> Name {
        let service = &self.services[usize::from(index)];
        service.party.numbered(" (", ")").below(&service.kind)
    }

    /// The name that a party claims.
    pub(super) fn claimed_name(&self, party: Option<u16>) -> Name {
        party.map_or_else(|| self.hostname(), |index| self.instance_name(index))
    }

    pub(super) fn name_of(&self, what: What) -> Name {
        match what {
            What::Address(_) | What::HostTypes => self.hostname(),
            What::Reverse(address) => Name::reverse(address),
            What::Instance(index) => self.services[usize::from(index)].kind,
            What::Subtype(index, number) => {
                let service = &self.services[usize::from(index)];
                let subtype = service.subtypes.iter().nth(usize::from(number)).map_or(&[][..], Text::as_bytes);
                // It was checked when it was given.
                subtype_name(subtype, &service.kind).unwrap_or(Name::ROOT)
            }
            What::Type(_) => service_types(),
            What::Server(index) | What::Text(index) | What::InstanceTypes(index) => self.instance_name(index),
        }
    }

    pub(super) fn data_of(&self, what: What) -> RecordData {
        let data = match what {
            What::Address(IpAddr::V4(address)) => RecordData::new(&[&address.octets()]),
            What::Address(IpAddr::V6(address)) => RecordData::new(&[&address.octets()]),
            What::Reverse(_) => RecordData::new(&[self.hostname().as_octets()]),
            What::Instance(index) | What::Subtype(index, _) => {
                RecordData::new(&[self.instance_name(index).as_octets()])
            }
            What::Type(index) => RecordData::new(&[self.services[usize::from(index)].kind.as_octets()]),
            What::Server(index) => {
                // Priority and weight 0, port, target (RFC 2782).
                let [high, low] = self.services[usize::from(index)].port.to_be_bytes();
                RecordData::new(&[&[0, 0, 0, 0, high, low], self.hostname().as_octets()])
            }
            What::Text(index) => Ok(self.services[usize::from(index)].text),
            What::HostTypes | What::InstanceTypes(_) => self.types_of(what),
        };
        // All but the text, which was checked, are short.
        data.unwrap_or(RecordData::EMPTY)
    }

    /// RFC 6762 §6.1: the name itself, and one window of a bitmap.
    fn types_of(&self, what: What) -> Result<RecordData, DnsError> {
        let mut bitmap = [0; 5];
        for record in self.own.iter().filter(|record| record.what.service() == what.service() && !record.is_leaving) {
            if record.what.is_claimed() {
                let kind = record.what.kind().0;
                bitmap[usize::from(kind / 8)] |= 0x80 >> (kind % 8);
            }
        }
        let len = bitmap.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
        RecordData::new(&[self.name_of(what).as_octets(), &[0, len as u8], &bitmap[..len]])
    }

    /// Two services of a type tell of it by one record.
    pub(super) fn is_repeated(&self, what: What) -> bool {
        let What::Type(index) = what else { return false };
        let kind = &self.services[usize::from(index)].kind;
        self.own.iter().any(|other| match other.what {
            What::Type(number) => {
                number != index
                    && (number < index || self.is_leaving(what))
                    && !other.is_leaving
                    && self.services[usize::from(number)].kind == *kind
            }
            _ => false,
        })
    }

    fn is_leaving(&self, what: What) -> bool {
        self.own.iter().any(|record| record.what == what && record.is_leaving)
    }
}

/// `_services._dns-sd._udp.local` (RFC 6763 §9).
fn service_types() -> Name {
    Name::from_text("_services._dns-sd._udp.local").unwrap_or(Name::ROOT)
}

/// `_printer._sub._http._tcp.local` (RFC 6763 §7.1).
pub(super) fn subtype_name(subtype: &[u8], kind: &Name) -> Result<Name, MdnsError> {
    let parent = Name::child(b"_sub", kind);
    parent.and_then(|parent| Name::child(subtype, &parent)).map_err(MdnsError::Name)
}

/// `_http._tcp` as a name below `local` (RFC 6763 §7: two labels with underscores, the first of at most 15 characters after its own).
pub(super) fn service_type(text: &str) -> Result<Name, MdnsError> {
    let name = Name::from_text(text).map_err(MdnsError::Name)?;
    let mut labels = name.labels();
    let is_type = match (labels.next(), labels.next(), labels.next()) {
        (Some([b'_', rest @ ..]), Some(transport), None) => {
            (1..=15).contains(&rest.len())
                && (transport.eq_ignore_ascii_case(b"_tcp") || transport.eq_ignore_ascii_case(b"_udp"))
        }
        _ => false,
    };
    if !is_type {
        return Err(MdnsError::ServiceType);
    }
    name.within(&local()).map_err(MdnsError::Name)
}
