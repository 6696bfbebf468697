//! Answering: who is told what, when, and what need not be told (RFC 6762 §5.4, §6 and §7).

use core::net::SocketAddr;

use super::records::{OwnRecord, Wanted, What};
use super::{MDNS_PORT, Mdns, TOP_BIT, questions, records};
use crate::time::{Duration, Instant};
use crate::wire::dns::{CLASS_ANY, CLASS_IN, Header, Name, Question, Record, RecordData, RecordType, Section, Writer};

/// RFC 6762 §6: how long the answer to a question waits that others may have to answer too, in milliseconds.
const SHARED_DELAY: (u64, u64) = (20, 120);
/// RFC 6762 §7.2: the same where more known answers are to come.
const TRUNCATED_DELAY: (u64, u64) = (400, 500);
/// RFC 6762 §6: a record is told to all at most once a second; to defend a name, four times.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);
const LEAST_DEFENCE_INTERVAL: Duration = Duration::from_millis(250);
/// RFC 6762 §6.7: the longest TTL that a resolver of ordinary DNS is told, in seconds.
const LEGACY_TTL: u32 = 10;
/// Questions of a message that are answered.
const MAX_QUESTIONS: usize = 64;

/// To whom a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// A host that speaks multicast DNS.
    Usual,
    /// A resolver that takes the answer for one of ordinary DNS (RFC 6762 §6.7).
    Legacy,
}

impl Mdns<'_> {
    /// Plans the answers to a query, or writes those that go to the asking host alone.
    pub(super) fn handle_query(
        &mut self,
        now: Instant,
        from: SocketAddr,
        is_unicast: bool,
        message: &[u8],
        header: &Header,
        out: &mut [u8],
    ) -> Option<usize> {
        let is_legacy = from.port() != MDNS_PORT;
        let is_probe = header.counts[Section::Authority as usize] > 0;
        for record in self.own.iter_mut() {
            record.wanted = Wanted::No;
        }
        for question in questions(message, header).take(MAX_QUESTIONS) {
            let class = question.class & !TOP_BIT;
            if class == CLASS_IN || class == CLASS_ANY {
                let to_one = is_legacy || is_unicast || question.class & TOP_BIT != 0 && !header.truncated;
                self.want(now, &question, to_one, is_legacy || is_unicast);
            }
        }
        self.leave_out_known(from, message, header);
        if is_probe {
            self.break_ties(now, message, header);
        } else if !is_legacy && !is_unicast && !header.truncated {
            self.note_questions(now, message, header);
        }
        self.plan_answers(now, from, header.truncated, is_probe);
        let reader = if is_legacy { Reader::Legacy } else { Reader::Usual };
        self.write_unicast(reader, message, header, out)
    }

    /// Marks the records that answer a question. What all were not told of late is told to all, unless `always` one.
    fn want(&mut self, now: Instant, question: &Question, to_one: bool, always: bool) {
        let (mut is_ours, mut is_answered, mut types) = (false, false, None);
        for index in 0..self.own.len() {
            let record = self.own[index];
            let is_held = self.party(record.what.service()).claim.is_held();
            if record.is_leaving || !is_held || self.name_of(record.what) != question.name {
                continue;
            }
            is_ours |= record.what.is_unique();
            if record.what.kind() == RecordType::NSEC {
                types = Some(index);
            } else if matches!(question.record_type, RecordType::ANY) || record.what.kind() == question.record_type {
                is_answered = true;
                self.mark(now, index, to_one, always);
            }
        }
        // RFC 6762 §6.1: a name that is ours has no such record.
        if let Some(index) = types.filter(|_| is_ours && !is_answered) {
            self.mark(now, index, to_one, always);
        }
    }

    fn mark(&mut self, now: Instant, index: usize, to_one: bool, always: bool) {
        if self.is_repeated(self.own[index].what) {
            return;
        }
        let record = &mut self.own[index];
        // RFC 6762 §5.4
        let to_one = to_one && (always || record.is_fresh(now));
        if record.wanted != Wanted::ByAll {
            record.wanted = if to_one { Wanted::ByOne } else { Wanted::ByAll };
        }
    }

    /// RFC 6762 §7.1 and §7.2: what the asking host knows, for at least half of the TTL to come, is not told, also if the question came
    /// with an earlier message.
    fn leave_out_known(&mut self, from: SocketAddr, message: &[u8], header: &Header) {
        for (section, record, data) in records(message, header) {
            let (Section::Answer, Ok(data)) = (section_of(section), data) else { continue };
            if let Some(index) =
                self.find_own(&record, &data).filter(|index| record.ttl >= self.own[*index].what.ttl() / 2)
            {
                let own = &mut self.own[index];
                let was_wanted = core::mem::replace(&mut own.wanted, Wanted::No) != Wanted::No;
                let was_planned = own.due.is_some_and(|due| due.by == Some(from)) && !own.is_leaving;
                if was_planned {
                    own.due = None;
                }
                self.counters.suppressed += u64::from(was_wanted || was_planned);
            }
        }
    }

    /// The record of ours with the same name, type and data.
    fn find_own(&self, record: &Record<'_>, data: &RecordData) -> Option<usize> {
        let is_it = |own: &OwnRecord| {
            own.what.kind() == record.record_type
                && self.data_of(own.what).equals(record.record_type, data)
                && self.name_of(own.what) == record.name
                && !self.is_repeated(own.what)
        };
        self.own.iter().position(is_it)
    }

    /// Plans what is marked for all.
    fn plan_answers(&mut self, now: Instant, from: SocketAddr, is_truncated: bool, is_probe: bool) {
        let mut wanted = self.own.iter().filter(|record| record.wanted == Wanted::ByAll);
        let others_may_answer = wanted.any(|record| !record.what.is_unique());
        let at = match (is_truncated, is_probe) {
            (true, _) => self.after(now, TRUNCATED_DELAY.0, TRUNCATED_DELAY.1),
            // RFC 6762 §6: only we can answer, or must at once.
            (_, true) => now,
            _ if !others_may_answer => now,
            _ => self.after(now, SHARED_DELAY.0, SHARED_DELAY.1),
        };
        let least = if is_probe { LEAST_DEFENCE_INTERVAL } else { LEAST_INTERVAL };
        for record in self.own.iter_mut().filter(|record| record.wanted == Wanted::ByAll) {
            let earliest = record.told.map_or(at, |told| told + least);
            record.plan(at.max(earliest), Some(from));
            record.wanted = Wanted::No;
        }
    }

    /// Writes what is marked for the asking host alone.
    fn write_unicast(&mut self, reader: Reader, message: &[u8], query: &Header, out: &mut [u8]) -> Option<usize> {
        if !self.own.iter().any(|record| record.wanted == Wanted::ByOne) {
            return None;
        }
        let mut header = response_header();
        if reader == Reader::Legacy {
            (header.id, header.recursion_desired) = (query.id, query.recursion_desired);
        }
        let mut writer = Writer::new(out, header)?;
        if reader == Reader::Legacy {
            // RFC 6762 §6.7: "It MUST repeat the query ID and the question given in the query message."
            for question in questions(message, query).take(MAX_QUESTIONS) {
                writer.compressed_question(&Question { class: question.class & !TOP_BIT, ..question });
            }
        }
        if !self.write_marked(&mut writer, reader) && reader == Reader::Legacy {
            writer.set_truncated();
        }
        self.counters.unicast_responses += 1;
        Some(writer.finish())
    }

    /// Writes the next message with what is due to be told to all.
    pub(super) fn write_response(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let mut is_any = false;
        for index in 0..self.own.len() {
            let is_due = self.own[index].due().is_some_and(|due| due <= now);
            let is_told = is_due && !self.is_repeated(self.own[index].what);
            let record = &mut self.own[index];
            if is_due && !is_told {
                record.due = None;
            }
            record.wanted = if is_told { Wanted::ByOne } else { Wanted::No };
            is_any |= is_told;
        }
        if !is_any {
            self.forget(|record| record.is_leaving && record.due.is_none());
            return None;
        }
        let mut writer = Writer::new(out, response_header())?;
        self.write_marked(&mut writer, Reader::Usual);
        let is_empty = writer.has_no_record();
        for record in self.own.iter_mut() {
            // What does not fit an empty message will never do.
            if record.wanted == Wanted::Told || is_empty && record.wanted == Wanted::ByOne {
                (record.due, record.told) = (None, Some(now));
            }
        }
        self.forget(|record| record.is_leaving && record.due.is_none());
        if is_empty {
            return None;
        }
        self.counters.responses += 1;
        Some(writer.finish())
    }

    /// Writes the marked records as answers, those that go with them as additional records, and marks all as told. False if an answer does
    /// not fit.
    fn write_marked(&mut self, writer: &mut Writer<'_>, reader: Reader) -> bool {
        let mut fits = true;
        for index in 0..self.own.len() {
            if self.own[index].wanted == Wanted::ByOne {
                match self.write_own(writer, Section::Answer, index, reader) {
                    true => self.own[index].wanted = Wanted::Told,
                    false => fits = false,
                }
            }
        }
        for index in 0..self.own.len() {
            let record = self.own[index];
            let is_wanted = fits && record.wanted == Wanted::No && !record.is_leaving && self.goes_along(record.what);
            if is_wanted && self.write_own(writer, Section::Additional, index, reader) {
                self.own[index].wanted = Wanted::Along;
            }
        }
        for record in self.own.iter_mut().filter(|record| record.wanted == Wanted::Along) {
            record.wanted = Wanted::Told;
        }
        fits
    }

    /// RFC 6763 §12, RFC 6762 §6.1 and §6.2: whether a record is additional to what is told.
    fn goes_along(&self, what: What) -> bool {
        let is_held = self.party(what.service()).claim.is_held();
        let mut told = self.own.iter().filter(|record| record.wanted == Wanted::Told && !record.is_leaving);
        is_held
            && told.any(|record| match (record.what, what) {
                (What::Instance(of) | What::Subtype(of, _), What::Server(index) | What::Text(index)) => of == index,
                (What::Instance(_) | What::Subtype(..) | What::Server(_), What::Address(_)) => true,
                (What::Address(_), What::Address(_) | What::HostTypes) => true,
                (What::Server(of), What::InstanceTypes(index)) => of == index,
                _ => false,
            })
    }

    fn write_own(&self, writer: &mut Writer<'_>, section: Section, index: usize, reader: Reader) -> bool {
        let record = &self.own[index];
        let what = record.what;
        let (name, data): (Name, RecordData) = (self.name_of(what), self.data_of(what));
        let ttl = if record.is_leaving { 0 } else { what.ttl() };
        let (class, ttl) = match reader {
            Reader::Usual if what.is_unique() => (CLASS_IN | TOP_BIT, ttl),
            Reader::Usual => (CLASS_IN, ttl),
            Reader::Legacy => (CLASS_IN, ttl.min(LEGACY_TTL)),
        };
        let compress_srv = reader == Reader::Usual;
        writer.compressed_record(section, &name, (what.kind(), class, ttl), data.as_octets(), compress_srv)
    }

    /// Another host tells of a record that we have too. What it has told need not be told by us (RFC 6762 §7.4), unless it ends sooner
    /// than ours does (§6.6).
    pub(super) fn note_told(&mut self, now: Instant, record: &Record<'_>, data: &RecordData) {
        let Some(index) = self.find_own(record, data) else { return };
        let is_held = self.party(self.own[index].what.service()).claim.is_held();
        let own = &mut self.own[index];
        if own.is_leaving || !is_held {
            return;
        }
        if record.ttl < own.what.ttl() / 2 {
            own.plan(now, None);
        } else if record.ttl >= own.what.ttl() && own.due.is_some_and(|due| due.by.is_some()) {
            (own.due, own.told) = (None, Some(now));
            self.counters.suppressed += 1;
        }
    }
}

/// RFC 6762 §18: an answer of whom it concerns.
fn response_header() -> Header {
    Header { response: true, authoritative: true, ..Header::default() }
}

fn section_of(number: usize) -> Section {
    match number {
        1 => Section::Answer,
        2 => Section::Authority,
        _ => Section::Additional,
    }
}
