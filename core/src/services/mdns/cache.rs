//! Records of others, for as long as their TTLs allow (RFC 6762 §10).

use crate::random::Generator;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::dns::{Name, RecordData, RecordType};

/// RFC 6762 §10.1 and §10.2: what is said to be gone, or replaced, is forgotten a second later, so that others can object.
const GRACE: Duration = Duration::from_secs(1);
/// RFC 6762 §5.2: when to ask again, in percent of the TTL.
const REFRESHES: [u64; 4] = [80, 85, 90, 95];
/// The highest TTL that is believed, in seconds: a day.
const MAX_TTL: u32 = 86_400;

/// A record of another host.
#[derive(Clone, Copy, Debug)]
pub struct CachedRecord {
    pub(super) name: Name,
    pub(super) kind: RecordType,
    pub(super) data: RecordData,
    /// Seconds.
    ttl: u32,
    received: Instant,
    pub(super) expires: Instant,
    /// Refreshes asked for so far.
    refreshes: u8,
    /// When to ask again, if somebody wants the record.
    pub(super) refresh_at: Instant,
}

impl CachedRecord {
    /// An unused place, to fill a slice that is lent as storage.
    pub const EMPTY: CachedRecord = CachedRecord {
        name: Name::ROOT,
        kind: RecordType::A,
        data: RecordData::EMPTY,
        ttl: 0,
        received: Instant::ZERO,
        expires: Instant::ZERO,
        refreshes: 0,
        refresh_at: Instant::FAR_FUTURE,
    };

    /// The owner.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The type.
    pub fn record_type(&self) -> RecordType {
        self.kind
    }

    /// The data.
    pub fn data(&self) -> &RecordData {
        &self.data
    }

    /// When it ends, if it is not told again.
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// RFC 6762 §7.1: the rest of the TTL in seconds, if it is more than half of it, so that the answer need not be told.
    pub(super) fn known_ttl(&self, now: Instant) -> Option<u32> {
        let left = self.expires.since(now).as_secs() as u32;
        (left > self.ttl / 2).then_some(left)
    }

    /// Sets the time of the next refresh, at a random point of 2 % of the TTL (RFC 6762 §5.2).
    pub(super) fn plan_refresh(&mut self, random: &mut Generator) {
        let ttl = u64::from(self.ttl) * 1_000_000;
        self.refresh_at = match REFRESHES.get(usize::from(self.refreshes)) {
            Some(percent) => self.received + Duration::from_micros(ttl / 100 * percent + random.below(ttl / 50 + 1)),
            None => Instant::FAR_FUTURE,
        };
        self.refreshes = self.refreshes.saturating_add(1);
    }
}

/// What a record was to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Not there before.
    New,
    /// There already, and told again or taken back.
    Known,
    /// There is no room for it.
    NoRoom,
    /// It took the place of another.
    Evicted,
}

#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct Cache<'m>(Storage<'m, CachedRecord>);

impl<'m> Cache<'m> {
    pub(super) fn new(entries: Storage<'m, CachedRecord>) -> Self {
        Cache(entries)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &CachedRecord> {
        self.0.iter()
    }

    pub(super) fn get(&self, index: usize) -> Option<&CachedRecord> {
        self.0.get(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut CachedRecord> {
        self.0.get_mut(index)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The records of a name and type.
    pub(super) fn find<'a>(&'a self, name: &'a Name, kind: RecordType) -> impl Iterator<Item = &'a CachedRecord> {
        let is_it = move |record: &&CachedRecord| matches(record.kind, kind) && record.name == *name;
        self.0.iter().filter(is_it)
    }

    /// Takes a record. With `flush`, others of its name and type are older than a second and end (RFC 6762 §10.2). `is_wanted` says
    /// which records answer a question: those give way last.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        (name, kind, ttl): (&Name, RecordType, u32),
        data: &RecordData,
        flush: bool,
        random: &mut Generator,
        is_wanted: impl Fn(&Name, RecordType) -> bool,
    ) -> Kept {
        let mut same = None;
        for (index, record) in self.0.iter_mut().enumerate() {
            if record.kind != kind || record.name != *name {
                continue;
            }
            if record.data.equals(kind, data) {
                same = Some(index);
            } else if flush && now.since(record.received) > GRACE {
                record.expires = record.expires.min(now + GRACE);
            }
        }
        if ttl == 0 {
            if let Some(index) = same {
                self.0[index].expires = self.0[index].expires.min(now + GRACE);
                self.0[index].refresh_at = Instant::FAR_FUTURE;
            }
            return Kept::Known;
        }
        let ttl = ttl.min(MAX_TTL);
        let expires = now + Duration::from_secs(ttl.into());
        let mut record = CachedRecord {
            name: *name,
            kind,
            data: *data,
            ttl,
            received: now,
            expires,
            refreshes: 0,
            refresh_at: Instant::FAR_FUTURE,
        };
        record.plan_refresh(random);
        if let Some(index) = same {
            self.0[index] = record;
            return Kept::Known;
        }
        let Err(record) = self.0.push(record) else { return Kept::New };
        // What nobody asks for goes first, and of that what ends first.
        let worst = self.0.iter_mut().min_by_key(|old| (is_wanted(&old.name, old.kind), old.expires));
        match worst {
            Some(old) if is_wanted(name, kind) || !is_wanted(&old.name, old.kind) => {
                *old = record;
                Kept::Evicted
            }
            _ => Kept::NoRoom,
        }
    }

    /// Forgets what has ended and tells of each.
    pub(super) fn expire(&mut self, now: Instant, mut gone: impl FnMut(&CachedRecord)) {
        let mut index = 0;
        while index < self.0.len() {
            if self.0[index].expires > now {
                index += 1;
                continue;
            }
            gone(&self.0[index]);
            let last = self.0.len() - 1;
            self.0.swap(index, last);
            self.0.truncate(last);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.truncate(0);
    }
}

/// Whether a record of one type answers a question for another.
pub(super) fn matches(kind: RecordType, wanted: RecordType) -> bool {
    kind == wanted || wanted == RecordType::ANY
}
