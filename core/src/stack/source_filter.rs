//! Which sources of a group are listened to (RFC 3376 §3, RFC 3810 §4; RFC 9776 and RFC 9777 say the same).

use core::net::IpAddr;

use super::multicast::GroupError;
use crate::address::{bits, is_unicast, of_bits};

/// Sources that a filter has at most, as in Linux (`igmp_max_msf`).
pub const MAX_SOURCES: usize = 10;

/// Sources as the numbers of [`bits`], in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceList {
    len: u8,
    /// Zeros from `len` on.
    sources: [u128; MAX_SOURCES],
}

impl SourceList {
    pub(crate) const EMPTY: SourceList = SourceList { len: 0, sources: [0; MAX_SOURCES] };

    pub(crate) fn as_slice(&self) -> &[u128] {
        &self.sources[..usize::from(self.len)]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline(never)] // As `insert`.
    fn contains(&self, source: u128) -> bool {
        self.as_slice().binary_search(&source).is_ok()
    }

    /// Adds a source; false if there is no room.
    #[inline(never)] // Searching is long code, and called from many places.
    pub(crate) fn insert(&mut self, source: u128) -> bool {
        let len = usize::from(self.len);
        match self.as_slice().binary_search(&source) {
            Ok(_) => true,
            Err(_) if len == MAX_SOURCES => false,
            Err(place) => {
                self.sources[place..=len].rotate_right(1);
                self.sources[place] = source;
                self.len += 1;
                true
            }
        }
    }

    /// Those of the sources that a filter listens to, or if not `allowed`, the others.
    pub(crate) fn filtered(&self, filter: &SourceFilter, allowed: bool) -> SourceList {
        let mut kept = SourceList::EMPTY;
        for &source in self.as_slice() {
            if filter.allows_bits(source) == allowed {
                kept.insert(source);
            }
        }
        kept
    }
}

/// Which sources of a group are listened to: some, or all but some (RFC 3376 §2: the filter mode INCLUDE or EXCLUDE, and the source
/// list).
///
/// ```
/// use ethertab::SourceFilter;
/// let filter = SourceFilter::only(&["192.0.2.1".parse()?, "192.0.2.2".parse()?])?;
/// assert!(filter.allows("192.0.2.1".parse()?) && !filter.allows("192.0.2.3".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFilter {
    pub(crate) is_exclude: bool,
    pub(crate) list: SourceList,
}

impl SourceFilter {
    /// All sources are listened to: EXCLUDE without a source.
    pub const ALL: SourceFilter = SourceFilter { is_exclude: true, list: SourceList::EMPTY };
    /// No source is listened to, which is the same as not to be a member: INCLUDE without a source.
    pub const NONE: SourceFilter = SourceFilter { is_exclude: false, list: SourceList::EMPTY };

    /// Only these sources are listened to (INCLUDE).
    ///
    /// # Errors
    /// [`GroupError::TooManySources`] if there are more than [`MAX_SOURCES`], and [`GroupError::BadSource`].
    pub fn only(sources: &[IpAddr]) -> Result<Self, GroupError> {
        SourceFilter::NONE.with(sources)
    }

    /// All but these sources are listened to (EXCLUDE).
    ///
    /// # Errors
    /// As [`only`](Self::only).
    pub fn all_but(sources: &[IpAddr]) -> Result<Self, GroupError> {
        SourceFilter::ALL.with(sources)
    }

    fn with(mut self, sources: &[IpAddr]) -> Result<Self, GroupError> {
        for &source in sources {
            if !is_unicast(source) {
                return Err(GroupError::BadSource(source));
            }
            if !self.list.insert(bits(source)) {
                return Err(GroupError::TooManySources);
            }
        }
        Ok(self)
    }

    /// Whether no source is listened to.
    pub fn is_none(&self) -> bool {
        !self.is_exclude && self.list.is_empty()
    }

    /// Whether the filter is all but its sources, and not only they.
    pub fn is_exclude(&self) -> bool {
        self.is_exclude
    }

    /// Its sources.
    pub fn sources(&self) -> impl Iterator<Item = IpAddr> {
        self.list.as_slice().iter().map(|&source| of_bits(source))
    }

    /// Whether packets from `source` are listened to.
    pub fn allows(&self, source: IpAddr) -> bool {
        self.allows_bits(bits(source))
    }

    pub(crate) fn allows_bits(&self, source: u128) -> bool {
        self.list.contains(source) != self.is_exclude
    }

    /// What listens to all that one of two filters listens to (RFC 3376 §3.2). What is more than a list can hold is asked for as a
    /// whole: the sockets' own filters still hold.
    pub(crate) fn merged(&self, other: &SourceFilter) -> SourceFilter {
        let (exclude, second) = if self.is_exclude { (self, other) } else { (other, self) };
        if exclude.is_exclude {
            // "the intersection of the source lists [...] with EXCLUDE mode, minus those source addresses that appear in any of the [...]
            // INCLUDE" ones.
            return SourceFilter { is_exclude: true, list: exclude.list.filtered(second, false) };
        }
        let mut union = *exclude;
        let fits = second.list.as_slice().iter().all(|&source| union.list.insert(source));
        if fits { union } else { SourceFilter::ALL }
    }
}

/// The addresses that are for source-specific multicast (RFC 4607 §1): 232.0.0.0/8, and ff30::/32 of all scopes.
pub(super) fn is_source_specific(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets()[0] == 232,
        IpAddr::V6(group) => matches!(group.segments(), [first, 0, ..] if first & 0xfff0 == 0xff30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(sources: &[u8]) -> Vec<IpAddr> {
        sources.iter().map(|&last| IpAddr::from([192, 0, 2, last])).collect()
    }

    fn only(sources: &[u8]) -> SourceFilter {
        SourceFilter::only(&list(sources)).unwrap()
    }

    fn all_but(sources: &[u8]) -> SourceFilter {
        SourceFilter::all_but(&list(sources)).unwrap()
    }

    /// RFC 3376 §3.2, with its examples.
    #[test]
    fn filters_merge() {
        let merge = |filters: &[SourceFilter]| filters.iter().fold(SourceFilter::NONE, |all, next| all.merged(next));
        let from = [all_but(&[1, 2, 3, 4]), all_but(&[2, 3, 4, 5]), only(&[4, 5, 6])];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            assert_eq!(merge(&order.map(|place| from[place])), all_but(&[2, 3]));
        }
        assert_eq!(merge(&[only(&[1, 2, 3]), only(&[2, 3, 4]), only(&[5, 6])]), only(&[1, 2, 3, 4, 5, 6]));
        assert_eq!(merge(&[only(&[1]), SourceFilter::ALL]), SourceFilter::ALL);
        let many: Vec<u8> = (1..=10).collect();
        assert_eq!(merge(&[only(&many), only(&[11])]), SourceFilter::ALL, "more than a list holds");
        assert_eq!(SourceFilter::only(&list(&[&many[..], &[11]].concat())), Err(GroupError::TooManySources));
        assert!(SourceFilter::only(&["239.0.0.1".parse().unwrap()]).is_err());
    }

    #[test]
    fn source_specific_groups_are_known() {
        let is = |text: &str| is_source_specific(text.parse().unwrap());
        assert!(is("232.1.2.3") && is("ff3e::8000:1") && is("ff32::1"));
        assert!(!is("233.1.2.3") && !is("ff3e:20:2001:db8::1") && !is("ff1e::1"));
    }
}
