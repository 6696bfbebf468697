//! Claiming names: probing, announcing, and what to do when another has the name (RFC 6762 §8 and §9).

use core::cmp::Ordering;

use super::{List, MAX_MDNS_ADDRESSES, Mdns, TOP_BIT, records};
use crate::address::Prefix;
use crate::time::{Duration, Instant};
use crate::wire::dns::{CLASS_IN, Header, Question, Record, RecordData, RecordType, Section, Writer};

/// RFC 6762 §8.1: three probes, a quarter of a second apart, the first after as long at most.
const PROBES: u8 = 3;
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// RFC 6762 §8.3: two announcements, a second apart.
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1);
/// RFC 6762 §8.2: who loses to another that probes waits so long.
const DEFER: Duration = Duration::from_secs(1);
/// RFC 6762 §8.1: after so many conflicts, none more than ten seconds after the one before, five seconds between attempts.
const MANY_CONFLICTS: u32 = 15;
const CONFLICT_WINDOW: Duration = Duration::from_secs(10);
const CONFLICT_PAUSE: Duration = Duration::from_secs(5);

/// How far the claim to a name has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// No address to claim it with.
    Idle,
    /// So many probes were sent.
    Probing { sent: u8, due: Instant },
    /// Nobody has objected; so many announcements were sent.
    Announcing { sent: u8, due: Instant },
    /// It is ours, and all were told.
    Held,
}

impl Claim {
    /// Tells all from now on.
    pub(super) fn announce(now: Instant) -> Claim {
        Claim::Announcing { sent: 0, due: now }
    }

    /// Whether questions about it are answered.
    pub(super) fn is_held(self) -> bool {
        matches!(self, Claim::Announcing { .. } | Claim::Held)
    }

    pub(super) fn due(self) -> Option<Instant> {
        match self {
            Claim::Probing { due, .. } | Claim::Announcing { due, .. } => Some(due),
            Claim::Idle | Claim::Held => None,
        }
    }
}

impl Mdns<'_> {
    /// Says which addresses the host has on the link, with the lengths of their prefixes. The first ones begin the claim to the host's
    /// name and those of its services; with none, the host falls silent. What has changed is told (RFC 6762 §8.4).
    pub fn set_addresses(&mut self, now: Instant, addresses: List<Prefix, MAX_MDNS_ADDRESSES>) {
        let before = core::mem::replace(&mut self.addresses, addresses);
        if before == addresses {
            return;
        }
        let is_gone = |what: records::What| match what {
            records::What::Address(address) | records::What::Reverse(address) => {
                !addresses.iter().any(|prefix| prefix.address == address)
            }
            records::What::HostTypes => addresses.is_empty(),
            _ => false,
        };
        if addresses.is_empty() {
            // Nothing can be sent any more, not even this.
            self.forget(|record| is_gone(record.what));
            self.host.claim = Claim::Idle;
            for service in self.services.iter_mut() {
                service.party.claim = Claim::Idle;
            }
            self.cache.clear();
            return;
        }
        for record in self.own.iter_mut().filter(|record| is_gone(record.what)) {
            record.is_leaving = true;
            record.plan(now, None);
        }
        // RFC 6762 leaves it open how many addresses a host tells of; those beyond the limit are not told.
        let _ = addresses.iter().all(|prefix| self.add_address_records(prefix.address));
        if self.host.claim.is_held() {
            self.host.claim = Claim::announce(now);
        } else if before.is_empty() {
            self.begin_claim(now, None);
            for index in 0..self.services.len() {
                if self.services[index].is_used {
                    self.begin_claim(now, Some(index as u16));
                }
            }
        }
    }

    /// Claims all names anew, as after the link was down or has come to another network (RFC 6762 §8). What was known of others is
    /// forgotten.
    pub fn restart(&mut self, now: Instant) {
        let addresses = core::mem::replace(&mut self.addresses, List::EMPTY);
        self.cache.clear();
        for record in self.own.iter_mut() {
            record.due = None;
        }
        self.set_addresses(now, addresses);
        for question in self.questions.iter_mut() {
            question.begin(now);
        }
    }

    pub(super) fn begin_claim(&mut self, now: Instant, party: Option<u16>) {
        let due = self.after(now, 0, PROBE_INTERVAL.as_millis());
        self.party_mut(party).claim = Claim::Probing { sent: 0, due };
    }

    /// The host and its services.
    fn parties(&self) -> impl Iterator<Item = Option<u16>> + use<> {
        core::iter::once(None).chain((0..self.services.len() as u16).map(Some))
    }

    /// Goes on with the claims that are due, but for what is to be sent for them.
    pub(super) fn advance_claims(&mut self, now: Instant) {
        for party in self.parties() {
            let host_is_held = self.host.claim.is_held();
            let host_due = self.host.claim.due();
            let claimant = self.party_mut(party);
            if let Claim::Probing { sent: PROBES, due } = claimant.claim
                && due <= now
            {
                if party.is_some() && !host_is_held {
                    // Its SRV record has the host's name, which is not certain yet.
                    let due = host_due.unwrap_or(now).max(now + Duration::from_millis(1));
                    claimant.claim = Claim::Probing { sent: PROBES, due };
                    continue;
                }
                claimant.claim = Claim::announce(now);
                claimant.has_news = true;
                if party.is_none() {
                    self.announce_services(now);
                }
            }
            if let Claim::Announcing { sent, due } = self.party(party).claim
                && due <= now
            {
                for record in self.own.iter_mut().filter(|record| record.what.service() == party) {
                    record.plan(now, None);
                }
                self.party_mut(party).claim = match sent + 1 {
                    ANNOUNCEMENTS => Claim::Held,
                    sent => Claim::Announcing { sent, due: now + ANNOUNCE_INTERVAL },
                };
            }
        }
    }

    /// The host has another name, which the SRV records of its services have in them.
    fn announce_services(&mut self, now: Instant) {
        for service in self.services.iter_mut().filter(|service| service.party.claim.is_held()) {
            service.party.claim = Claim::announce(now);
        }
    }

    /// Writes a message with the probes that are due: questions for any record of the names, and in the authority section what we mean
    /// to have (RFC 6762 §8.2).
    pub(super) fn write_probes(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let is_due = |claim| matches!(claim, Claim::Probing { sent, due } if sent < PROBES && due <= now);
        let room = out.len();
        let mut writer = Writer::new(out, Header::default())?;
        // As many as fit without compression.
        let (mut octets, mut last) = (0, None);
        for party in self.parties().filter(|party| is_due(self.party(*party).claim)) {
            let name = self.claimed_name(party);
            let own = self.own.iter().filter(|record| record.what.service() == party && record.what.is_claimed());
            let data: usize = own.map(|record| 270 + self.data_of(record.what).as_octets().len()).sum();
            octets += 270 + data;
            if last.is_some() && octets > room {
                break;
            }
            // RFC 6762 §8.1: the answers may be unicast.
            let class = CLASS_IN | TOP_BIT;
            writer.compressed_question(&Question { name, record_type: RecordType::ANY, class });
            last = Some(party);
        }
        let last = last?;
        for party in self.parties().filter(|party| is_due(self.party(*party).claim)) {
            let name = self.claimed_name(party);
            for record in self.own.iter().filter(|record| record.what.service() == party && record.what.is_claimed()) {
                let data = self.data_of(record.what);
                let fields = (record.what.kind(), CLASS_IN, record.what.ttl());
                writer.compressed_record(Section::Authority, &name, fields, data.as_octets(), true);
            }
            if party == last {
                break;
            }
        }
        for party in self.parties() {
            if let Claim::Probing { sent, .. } = self.party(party).claim
                && is_due(self.party(party).claim)
            {
                self.party_mut(party).claim = Claim::Probing { sent: sent + 1, due: now + PROBE_INTERVAL };
            }
            if party == last {
                break;
            }
        }
        self.counters.probes += 1;
        Some(writer.finish())
    }

    /// Somebody probes: if for a name that we are probing for too, the later data wins, and who has lost waits a second (RFC 6762
    /// §8.2).
    pub(super) fn break_ties(&mut self, now: Instant, message: &[u8], header: &Header) {
        for party in self.parties() {
            if matches!(self.party(party).claim, Claim::Probing { .. })
                && self.compare_probes(party, message, header) == Ordering::Less
            {
                self.party_mut(party).claim = Claim::Probing { sent: 0, due: now + DEFER };
            }
        }
    }

    /// How our proposed records compare with those of a probe for the same name: in the order of type and data, one by one.
    fn compare_probes(&self, party: Option<u16>, message: &[u8], header: &Header) -> Ordering {
        let name = self.claimed_name(party);
        let key = |kind: RecordType, data: RecordData| (kind.0, data);
        let compare = |a: &(u16, RecordData), b: &(u16, RecordData)| {
            a.0.cmp(&b.0).then_with(|| a.1.as_octets().cmp(b.1.as_octets()))
        };
        let is_after = |item: &(u16, RecordData), last: &Option<(u16, RecordData)>| {
            last.as_ref().is_none_or(|last| compare(item, last) == Ordering::Greater)
        };
        let mut last = None;
        loop {
            let own = self.own.iter().filter(|record| record.what.service() == party && record.what.is_claimed());
            let ours = own
                .map(|record| key(record.what.kind(), self.data_of(record.what)))
                .filter(|item| is_after(item, &last))
                .min_by(compare);
            let theirs = records(message, header)
                .filter(|(section, record, _)| *section == Section::Authority as usize && record.name == name)
                .filter_map(|(_, record, data)| Some(key(record.record_type, data.ok()?)))
                .filter(|item| is_after(item, &last))
                .min_by(compare);
            match (ours, theirs) {
                // Nothing of theirs is about this name.
                (_, None) if last.is_none() => return Ordering::Greater,
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
                (Some(ours), Some(theirs)) => match compare(&ours, &theirs) {
                    Ordering::Equal => last = Some(ours),
                    unequal => return unequal,
                },
            }
        }
    }

    /// Another host tells of a record. If it has a name of ours with other data, the name is another's, or to be claimed again (RFC 6762
    /// §8.1 and §9).
    pub(super) fn look_for_conflict(&mut self, now: Instant, record: &Record<'_>, data: &RecordData) {
        if record.ttl == 0 || record.record_type == RecordType::NSEC {
            return;
        }
        for party in self.parties() {
            let claim = self.party(party).claim;
            if claim == Claim::Idle || self.claimed_name(party) != record.name {
                continue;
            }
            let kind = record.record_type;
            let own = self.own.iter().filter(|own| own.what.service() == party && own.what.is_claimed());
            let mut of_kind = own.filter(|own| own.what.kind() == kind).peekable();
            let has_kind = of_kind.peek().is_some();
            if of_kind.any(|own| self.data_of(own.what).equals(kind, data)) {
                continue;
            }
            match claim {
                Claim::Probing { .. } => {
                    self.counters.conflicts += 1;
                    self.rename(now, party);
                }
                // What we tell again settles whose it is: the other does the same.
                _ if has_kind => {
                    self.counters.conflicts += 1;
                    self.begin_claim(now, party);
                }
                _ => {}
            }
        }
    }

    fn rename(&mut self, now: Instant, party: Option<u16>) {
        let (count, last) = self.conflicts;
        let is_new = now.since(last) > CONFLICT_WINDOW;
        self.conflicts = (if is_new { 1 } else { count.saturating_add(1) }, now);
        let claimant = self.party_mut(party);
        claimant.number = claimant.number.saturating_add(1);
        self.begin_claim(now, party);
        if self.conflicts.0 >= MANY_CONFLICTS {
            self.party_mut(party).claim = Claim::Probing { sent: 0, due: now + CONFLICT_PAUSE };
        }
    }
}
