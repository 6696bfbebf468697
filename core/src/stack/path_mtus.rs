//! The MTUs of paths on which a router had to say so (RFC 1191 §3, RFC 8201 §4), by destination.
//!
//! A report that a connection believes is remembered for ten minutes (RFC 1191 §6.3, RFC 8201 §5.3) and serves all
//! connections to that host, new ones too; then their segments get larger again. What a destination's keyed hash leads to is a set of four entries, of which the one
//! that was used least recently makes room.

use core::net::{IpAddr, Ipv4Addr};

use super::Stack;
use crate::address::words;
use crate::event::InterfaceId;
use crate::random::Generator;
use crate::storage::Storage;
use crate::time::{Duration, Instant};

/// Entries that a destination may be in.
const WAYS: usize = 4;

/// How long a report counts: as in Linux, and as the RFCs recommend.
const LIFETIME: Duration = Duration::from_secs(600);

/// The MTU of the path to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    destination: IpAddr,
    /// In bytes; 0 in an entry that is free.
    mtu: u16,
    learned: Instant,
    used: Instant,
}

impl PathMtu {
    /// A free entry.
    pub const EMPTY: PathMtu =
        PathMtu { destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED), mtu: 0, learned: Instant::ZERO, used: Instant::ZERO };

    fn is_of(&self, destination: IpAddr, now: Instant) -> bool {
        self.mtu != 0 && self.destination == destination && now.since(self.learned) < LIFETIME
    }
}

/// The table.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(super) struct PathMtus<'m> {
    /// None of them touched before the first report.
    entries: Storage<'m, PathMtu>,
    /// When the first of them ends, or sooner.
    expiry: Instant,
}

impl<'m> PathMtus<'m> {
    pub(super) fn new(entries: Storage<'m, PathMtu>) -> Self {
        PathMtus { entries, expiry: Instant::FAR_FUTURE }
    }

    /// Whether what was known of a path may have ended.
    #[inline]
    pub(super) fn is_outdated(&self, now: Instant) -> bool {
        now >= self.expiry
    }

    /// The entries that `destination` may be in.
    fn set(&mut self, secret: &Generator, destination: IpAddr) -> &mut [PathMtu] {
        let sets = self.entries.len().div_ceil(WAYS);
        if sets == 0 {
            return &mut [];
        }
        let first = secret.hash(&words(destination)) as usize % sets * WAYS;
        let end = (first + WAYS).min(self.entries.len());
        &mut self.entries[first..end]
    }

    fn find(&mut self, secret: &Generator, destination: IpAddr, now: Instant) -> Option<u16> {
        let found = self.set(secret, destination).iter_mut().find(|entry| entry.is_of(destination, now))?;
        found.used = now;
        Some(found.mtu)
    }

    fn remember(&mut self, secret: &Generator, destination: IpAddr, mtu: u16, now: Instant) {
        self.entries.grow_to(self.entries.capacity(), PathMtu::EMPTY);
        let set = self.set(secret, destination);
        let known = set.iter().position(|entry| entry.is_of(destination, now));
        let oldest = (0..set.len()).min_by_key(|&place| set[place].used);
        if let Some(place) = known.or(oldest) {
            set[place] = PathMtu { destination, mtu, learned: now, used: now };
            self.expiry = self.expiry.min(now + LIFETIME);
        }
    }

    /// Finds out when the next entry ends.
    fn expire(&mut self, now: Instant) {
        let known = self.entries.iter().filter(|entry| entry.mtu != 0);
        let ends = known.map(|entry| entry.learned + LIFETIME).filter(|&end| end > now);
        self.expiry = ends.min().unwrap_or(Instant::FAR_FUTURE);
    }
}

impl Stack<'_> {
    /// Notes the MTU of the path to a host, in bytes, as a router that had to drop a packet would report it, or as somebody who
    /// knows the route does. It counts for ten minutes, as far as the interface's MTU allows.
    pub fn set_path_mtu(&mut self, now: Instant, destination: IpAddr, mtu: u16) {
        self.advance_clock(now);
        self.path_mtus.remember(&self.hash_secret, destination, mtu, self.now);
        // Each connection finds its path anew, and with it the MTU.
        self.invalidate_paths();
    }

    /// Reports that no longer count: open connections find their paths anew, too.
    #[cold]
    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn expire_path_mtus(&mut self) {
        self.path_mtus.expire(self.now);
        self.invalidate_paths();
    }

    /// The MTU of the path to a host through an interface.
    pub(super) fn path_mtu(&mut self, interface: InterfaceId, destination: IpAddr) -> u16 {
        let most = match destination {
            IpAddr::V4(_) => self.mtu(interface),
            // RFC 4861 §6.3.4: what a router says of the link counts for IPv6.
            IpAddr::V6(_) => self.advertised_link(interface).map_or(1_280, |link| link.mtu),
        };
        // RFC 791 §3.2 and RFC 8200 §5: every path takes so much.
        let least = if destination.is_ipv4() { 68 } else { 1_280 };
        self.path_mtus.find(&self.hash_secret, destination, self.now).map_or(most, |mtu| mtu.max(least).min(most))
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::random::Use;

    fn host(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn reports_count_for_ten_minutes_and_the_least_used_makes_room() {
        let secret = Generator::new([1, 2], Use::HashTables);
        let mut table = PathMtus::new(Storage::with_capacity(WAYS));
        let second = Instant::from_secs;
        assert_eq!(table.find(&secret, host(1), second(0)), None);
        for last in 1..=4 {
            table.remember(&secret, host(last), 1_000 + u16::from(last), second(u64::from(last)));
        }
        assert_eq!(table.find(&secret, host(1), second(10)), Some(1_001));
        table.remember(&secret, host(5), 1_005, second(11));
        assert_eq!(table.find(&secret, host(2), second(12)), None, "the second host's entry was the least used");
        assert_eq!(table.find(&secret, host(1), second(601)), None);
        assert_eq!(table.find(&secret, host(5), second(610)), Some(1_005));
    }

    #[test]
    fn the_table_knows_when_a_report_ends() {
        let secret = Generator::new([1, 2], Use::HashTables);
        let mut table = PathMtus::new(Storage::with_capacity(WAYS));
        let second = Instant::from_secs;
        assert!(!table.is_outdated(second(1_000_000)));
        table.remember(&secret, host(1), 1_000, second(1));
        table.remember(&secret, host(2), 1_000, second(2));
        assert!(!table.is_outdated(second(600)));
        assert!(table.is_outdated(second(601)));
        table.expire(second(601));
        assert!(!table.is_outdated(second(601)));
        assert!(table.is_outdated(second(602)));
        table.expire(second(602));
        assert!(!table.is_outdated(second(1_000_000)));
    }

    #[test]
    fn without_room_nothing_is_remembered() {
        let secret = Generator::new([1, 2], Use::HashTables);
        let mut table = PathMtus::new(Storage::with_capacity(0));
        table.remember(&secret, host(1), 1_000, Instant::ZERO);
        assert_eq!(table.find(&secret, host(1), Instant::ZERO), None);
    }
}
