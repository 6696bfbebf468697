//! What servers have answered, for as long as they allow (RFC 1035 §7.4, RFC 2308).

use super::answer::Known;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::dns::{Name, RecordType};

/// RFC 8767 §4 and RFC 2308 §5 advise days and hours at most.
const MAX_TTL: u32 = 86_400;
const MAX_NEGATIVE_TTL: u32 = 3 * 3_600;

/// A place for an answer.
#[derive(Clone, Copy, Debug)]
pub struct CacheEntry {
    name: Name,
    kind: RecordType,
    known: Known,
    expires: Instant,
}

impl CacheEntry {
    /// An unused place, to fill a slice that is lent as storage.
    pub const EMPTY: CacheEntry =
        CacheEntry { name: Name::ROOT, kind: RecordType::A, known: Known::NoData, expires: Instant::ZERO };
}

#[derive(Debug)]
pub(super) struct Cache<'m>(Storage<'m, CacheEntry>);

#[cfg(feature = "alloc")]
impl Clone for Cache<'_> {
    fn clone(&self) -> Self {
        Cache(self.0.clone())
    }
}

impl<'m> Cache<'m> {
    pub(super) fn new(entries: Storage<'m, CacheEntry>) -> Self {
        Cache(entries)
    }

    pub(super) fn find(&self, now: Instant, name: &Name, kind: RecordType) -> Option<Known> {
        let entry = self.0.iter().find(|entry| entry.kind == kind && entry.expires > now && entry.name == *name)?;
        Some(entry.known)
    }

    /// Keeps an answer. The entry that ends first gives way if there is no room.
    pub(super) fn keep(&mut self, now: Instant, name: &Name, kind: RecordType, known: Known, ttl: u32) {
        let most = if matches!(known, Known::NoData | Known::NxDomain) { MAX_NEGATIVE_TTL } else { MAX_TTL };
        let expires = now + Duration::from_secs(ttl.min(most).into());
        let entry = CacheEntry { name: *name, kind, known, expires };
        if ttl == 0 {
            return;
        }
        let same = self.0.iter().position(|entry| entry.kind == kind && entry.name == *name);
        match same {
            Some(place) => self.0[place] = entry,
            None => {
                if let Err(entry) = self.0.push(entry)
                    && let Some(first) = self.0.iter_mut().min_by_key(|entry| entry.expires)
                {
                    *first = entry;
                }
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.truncate(0);
    }
}
