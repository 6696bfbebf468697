//! Asking: questions that go on, at ever longer intervals, and what is known already (RFC 6762 §5.2 and §7).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cache::{CachedRecord, Kept, matches};
use super::records::{service_type, subtype_name};
use super::{List, MAX_MDNS_ADDRESSES, Mdns, MdnsError, QuestionId, TOP_BIT, questions, records};
use crate::time::{Duration, Instant};
use crate::wire::dns::{CLASS_IN, Header, Name, Question, RecordData, RecordType, Section, Writer};

/// RFC 6762 §5.2: a question is asked after so many milliseconds, at random; again after a second, and then after twice as
/// long each time, up to an hour.
const FIRST_DELAY: (u64, u64) = (20, 120);
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
const MAX_INTERVAL: Duration = Duration::from_secs(3_600);
/// Questions of a message.
const MAX_ASKED: usize = 16;

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// The records of a type that the name has.
    Records(RecordType),
    /// The addresses of the name.
    Addresses,
    /// Host, port and text of a service's instance, and the addresses of the host.
    Service,
}

/// A place for a question.
#[derive(Clone, Copy, Debug)]
pub struct MdnsQuestion {
    is_used: bool,
    pub(super) generation: u32,
    pub(super) has_news: bool,
    name: Name,
    interest: Interest,
    /// The host of a service, once that is known.
    target: Option<Name>,
    /// How often it was asked.
    asked: u32,
    next: Instant,
}

impl MdnsQuestion {
    /// An unused place, to fill a slice that is lent as storage.
    pub const EMPTY: MdnsQuestion = MdnsQuestion {
        is_used: false,
        generation: 0,
        has_news: false,
        name: Name::ROOT,
        interest: Interest::Addresses,
        target: None,
        asked: 0,
        next: Instant::FAR_FUTURE,
    };

    /// What has been asked is asked anew.
    pub(super) fn begin(&mut self, now: Instant) {
        (self.asked, self.next, self.target) = (0, now, None);
    }

    pub(super) fn end(&mut self) {
        (self.is_used, self.has_news) = (false, false);
    }

    /// Whether a record is of interest.
    fn wants(&self, name: &Name, kind: RecordType) -> bool {
        let is_address = matches!(kind, RecordType::A | RecordType::AAAA | RecordType::NSEC);
        self.is_used
            && match self.interest {
                Interest::Records(wanted) => matches(kind, wanted) && *name == self.name,
                Interest::Addresses => is_address && *name == self.name,
                Interest::Service => {
                    matches!(kind, RecordType::SRV | RecordType::TXT) && *name == self.name
                        || is_address && self.target == Some(*name)
                }
            }
    }

    /// The names and types to ask for.
    fn parts(&self) -> List<(Name, RecordType), 4> {
        let of = |name: Name, kinds: [RecordType; 2]| kinds.into_iter().map(move |kind| (name, kind));
        let addresses = [RecordType::A, RecordType::AAAA];
        match self.interest {
            Interest::Records(kind) => [(self.name, kind)].into_iter().collect(),
            Interest::Addresses => of(self.name, addresses).collect(),
            Interest::Service => of(self.name, [RecordType::SRV, RecordType::TXT])
                .chain(self.target.into_iter().flat_map(|target| of(target, addresses)))
                .collect(),
        }
    }

    /// It was asked, by us or another: when next.
    fn was_asked(&mut self, now: Instant) {
        self.next = now + FIRST_INTERVAL.backed_off(self.asked.min(16)).min(MAX_INTERVAL);
        self.asked += 1;
    }
}

/// A query that is being sent, perhaps as several messages (RFC 6762 §7.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asking {
    questions: List<(Name, RecordType, bool), MAX_ASKED>,
    /// The first record of the cache that was not yet written as known.
    rest: Option<usize>,
}

/// What is known of a service's instance.
#[derive(Clone, Copy, Debug)]
pub struct ServiceInfo {
    /// The host.
    pub host: Name,
    /// The TCP or UDP port.
    pub port: u16,
    /// The data of the TXT record, whose items [`items_of`](super::items_of) reads; none if it is not known yet.
    pub text: Option<RecordData>,
    /// The addresses that are known so far.
    pub addresses: List<IpAddr, MAX_MDNS_ADDRESSES>,
}

impl Mdns<'_> {
    /// Asks for the records of a type.
    ///
    /// # Errors
    /// [`MdnsError::Full`]
    pub fn ask(&mut self, now: Instant, name: &Name, kind: RecordType) -> Result<QuestionId, MdnsError> {
        self.begin_question(now, name, Interest::Records(kind))
    }

    /// Asks which instances there are of a type of service, such as `_http._tcp`, or of a subtype, such as `_printer._sub._http._tcp` (RFC 6763 §7.1):
    /// [`records`](Self::records) are PTR records.
    ///
    /// # Errors
    /// If that is no type, or too many questions are asked.
    pub fn browse(&mut self, now: Instant, service: &str) -> Result<QuestionId, MdnsError> {
        let name = match service.split_once("._sub.") {
            Some((subtype, service)) => subtype_name(subtype.as_bytes(), &service_type(service)?)?,
            None => service_type(service)?,
        };
        self.ask(now, &name, RecordType::PTR)
    }

    /// Asks where an instance of a service is: [`service`](Self::service) tells.
    ///
    /// # Errors
    /// [`MdnsError::Full`]
    pub fn resolve(&mut self, now: Instant, instance: &Name) -> Result<QuestionId, MdnsError> {
        self.begin_question(now, instance, Interest::Service)
    }

    /// Asks for the addresses of a host: [`addresses`](Self::addresses) tells.
    ///
    /// # Errors
    /// [`MdnsError::Full`]
    pub fn look_up(&mut self, now: Instant, host: &Name) -> Result<QuestionId, MdnsError> {
        self.begin_question(now, host, Interest::Addresses)
    }

    /// Asks no more.
    pub fn cancel(&mut self, id: QuestionId) {
        if let Some(index) = self.question_place(id) {
            self.questions[index].end();
        }
    }

    /// The records that are known and answer a question.
    pub fn records(&self, id: QuestionId) -> impl Iterator<Item = &CachedRecord> {
        let question = self.question_place(id).map(|index| &self.questions[index]);
        self.cache
            .iter()
            .filter(move |record| question.is_some_and(|question| question.wants(&record.name, record.kind)))
    }

    /// The addresses that answer a question.
    pub fn addresses(&self, id: QuestionId) -> List<IpAddr, MAX_MDNS_ADDRESSES> {
        self.records(id).filter_map(address_of).collect()
    }

    /// Where the service of [`resolve`](Self::resolve) is, once that is known.
    pub fn service(&self, id: QuestionId) -> Option<ServiceInfo> {
        let server = self.records(id).find(|record| record.kind == RecordType::SRV)?;
        let &[_, _, _, _, high, low, ..] = server.data.as_octets() else { return None };
        let text = self.records(id).find(|record| record.kind == RecordType::TXT).map(|record| record.data);
        let port = u16::from_be_bytes([high, low]);
        Some(ServiceInfo { host: server.data.name(RecordType::SRV)?, port, text, addresses: self.addresses(id) })
    }

    fn begin_question(&mut self, now: Instant, name: &Name, interest: Interest) -> Result<QuestionId, MdnsError> {
        let index = match self.questions.iter().position(|question| !question.is_used) {
            Some(index) => index,
            None => {
                self.questions.push(MdnsQuestion::EMPTY).map_err(|_| MdnsError::Full)?;
                self.questions.len() - 1
            }
        };
        let generation = self.questions[index].generation.wrapping_add(1);
        let next = self.after(now, FIRST_DELAY.0, FIRST_DELAY.1);
        let target = self.target_of(name);
        let mut question =
            MdnsQuestion { is_used: true, generation, has_news: false, name: *name, interest, target, asked: 0, next };
        question.has_news = self.cache.iter().any(|record| question.wants(&record.name, record.kind));
        self.questions[index] = question;
        Ok(QuestionId { index: index as u32, generation })
    }

    fn question_place(&self, id: QuestionId) -> Option<usize> {
        let question = self.questions.get(id.index as usize)?;
        (question.is_used && question.generation == id.generation).then_some(id.index as usize)
    }

    fn target_of(&self, instance: &Name) -> Option<Name> {
        self.cache.find(instance, RecordType::SRV).next()?.data.name(RecordType::SRV)
    }

    /// Takes what others tell.
    pub(super) fn handle_response(&mut self, now: Instant, message: &[u8], header: &Header) {
        for (section, record, data) in records(message, header) {
            if section == Section::Authority as usize {
                continue;
            }
            let Ok(data) = data else {
                self.counters.too_long += 1;
                continue;
            };
            self.look_for_conflict(now, &record, &data);
            self.note_told(now, &record, &data);
            let (name, kind) = (record.name, record.record_type);
            let questions = &self.questions;
            let is_wanted = |name: &Name, kind: RecordType| questions.iter().any(|question| question.wants(name, kind));
            let flush = record.class & TOP_BIT != 0;
            let kept = self.cache.keep(now, (&name, kind, record.ttl), &data, flush, &mut self.random, is_wanted);
            self.counters.evicted += u64::from(matches!(kept, Kept::NoRoom | Kept::Evicted));
            if matches!(kept, Kept::New | Kept::Evicted) {
                self.note_change(now, &name, kind);
            }
        }
    }

    /// What is known of a name has changed.
    fn note_change(&mut self, now: Instant, name: &Name, kind: RecordType) {
        let target = if kind == RecordType::SRV { self.target_of(name) } else { None };
        for question in self.questions.iter_mut().filter(|question| question.wants(name, kind)) {
            question.has_news = true;
            if kind == RecordType::SRV && question.interest == Interest::Service && question.target != target {
                question.target = target;
                // Its addresses are to be asked for, if they did not come along.
                question.next = now;
            }
        }
    }

    /// Forgets what has ended, and asks again for what is still wanted.
    pub(super) fn expire(&mut self, now: Instant) {
        let questions = &mut self.questions;
        self.cache.expire(now, |gone| {
            for question in questions.iter_mut().filter(|question| question.wants(&gone.name, gone.kind)) {
                question.has_news = true;
                if !matches!(question.interest, Interest::Records(_)) {
                    (question.asked, question.next) = (1, now);
                }
            }
        });
    }

    /// When there is something to ask or to forget.
    pub(super) fn query_timeout(&self) -> Option<Instant> {
        let asked = self.questions.iter().filter(|question| question.is_used).map(|question| question.next);
        let wanted = self.cache.iter().filter(|record| self.is_wanted(&record.name, record.kind));
        let known = wanted.map(|record| record.refresh_at.min(record.expires));
        let rest = self.asking.rest.map(|_| Instant::ZERO);
        asked.chain(known).chain(rest).min().filter(|due| *due != Instant::FAR_FUTURE)
    }

    fn is_wanted(&self, name: &Name, kind: RecordType) -> bool {
        self.questions.iter().any(|question| question.wants(name, kind))
    }

    /// RFC 6762 §7.3: another host has just asked what we are about to ask; the answer reaches us too, unless it knows what we do not.
    pub(super) fn note_questions(&mut self, now: Instant, message: &[u8], header: &Header) {
        for asked in questions(message, header).filter(|asked| asked.class == CLASS_IN) {
            let is_same = |question: &MdnsQuestion| {
                question.is_used
                    && question.interest == Interest::Records(asked.record_type)
                    && question.name == asked.name
                    && question.next.since(now) <= FIRST_INTERVAL
            };
            let Some(index) = self.questions.iter().position(is_same) else { continue };
            let knows_more = records(message, header).any(|(section, record, data)| {
                section == Section::Answer as usize
                    && record.name == asked.name
                    && data.is_ok_and(|data| {
                        let mut known = self.cache.find(&asked.name, record.record_type);
                        !known.any(|known| known.data.equals(record.record_type, &data))
                    })
            });
            if !knows_more {
                self.questions[index].was_asked(now);
                self.counters.suppressed += 1;
            }
        }
    }

    /// Writes the next message of questions that are due, with what is known of the answers.
    pub(super) fn write_queries(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out, Header::default())?;
        let first = match self.asking.rest.take() {
            Some(rest) => rest,
            None => {
                self.asking.questions = self.collect(now);
                for (name, kind, first) in self.asking.questions.iter() {
                    // RFC 6762 §5.4: who has just begun to ask takes the first answers for itself.
                    let class = if *first { CLASS_IN | TOP_BIT } else { CLASS_IN };
                    writer.compressed_question(&Question { name: *name, record_type: *kind, class });
                }
                0
            }
        };
        if self.asking.questions.is_empty() {
            return None;
        }
        for index in first..self.cache.len() {
            let Some(record) = self.cache.get(index) else { break };
            let is_asked =
                |(name, kind, _): &(Name, RecordType, bool)| matches(record.kind, *kind) && *name == record.name;
            let Some(ttl) = record.known_ttl(now).filter(|_| self.asking.questions.iter().any(is_asked)) else {
                continue;
            };
            let fields = (record.kind, CLASS_IN, ttl);
            if writer.compressed_record(Section::Answer, &record.name, fields, record.data.as_octets(), true) {
                continue;
            }
            if first == 0 || !writer.has_no_record() {
                // RFC 6762 §7.2: more known answers follow.
                writer.set_truncated();
                self.asking.rest = Some(index);
                break;
            }
        }
        self.counters.queries += 1;
        Some(writer.finish())
    }

    /// The questions to ask now: those whose time has come and whose answers are not known, and those about records that are wanted
    /// and soon end.
    fn collect(&mut self, now: Instant) -> List<(Name, RecordType, bool), MAX_ASKED> {
        let mut list: List<(Name, RecordType, bool), MAX_ASKED> = List::EMPTY;
        let mut add = |name: &Name, kind: RecordType, is_first: bool| {
            list.iter().any(|(other, of, _)| of == &kind && other == name) || list.push((*name, kind, is_first))
        };
        for index in 0..self.questions.len() {
            let question = self.questions[index];
            if !question.is_used || question.next > now {
                continue;
            }
            let is_browsing = matches!(question.interest, Interest::Records(_));
            let (mut is_asked, mut fits) = (false, true);
            for (name, kind) in question.parts() {
                if is_browsing || !self.is_known(&name, kind) {
                    fits &= add(&name, kind, question.asked == 0);
                    is_asked = true;
                }
            }
            let question = &mut self.questions[index];
            match (is_asked, fits) {
                (false, _) => question.next = Instant::FAR_FUTURE,
                (true, true) => question.was_asked(now),
                // With the next message.
                (true, false) => break,
            }
        }
        for index in 0..self.cache.len() {
            let Some(record) = self.cache.get(index).filter(|record| record.refresh_at <= now) else { continue };
            if self.is_wanted(&record.name, record.kind) && !add(&record.name, record.kind, false) {
                break;
            }
            if let Some(record) = self.cache.get_mut(index) {
                record.plan_refresh(&mut self.random);
            }
        }
        list
    }

    /// Whether the records of a name and type are known, or that there are none (RFC 6762 §6.1).
    fn is_known(&self, name: &Name, kind: RecordType) -> bool {
        let denies = |record: &CachedRecord| has_no_type(&record.data, kind);
        self.cache.find(name, kind).next().is_some() || self.cache.find(name, RecordType::NSEC).any(denies)
    }
}

/// Whether an NSEC record says that its name has no record of a type below 256.
fn has_no_type(data: &RecordData, kind: RecordType) -> bool {
    let Some(name) = data.name(RecordType::NSEC) else { return false };
    let [number, place] = kind.0.to_be_bytes();
    match data.as_octets().get(name.as_octets().len()..) {
        Some([0, len, bitmap @ ..]) if number == 0 && bitmap.len() == usize::from(*len) => {
            let octet = bitmap.get(usize::from(place / 8)).copied().unwrap_or(0);
            octet & 0x80 >> (place % 8) == 0
        }
        _ => false,
    }
}

fn address_of(record: &CachedRecord) -> Option<IpAddr> {
    let octets = record.data.as_octets();
    match record.kind {
        RecordType::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into()),
        RecordType::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()),
        _ => None,
    }
}
