//! Happy Eyeballs (RFC 8305): which of a host's addresses to try when, so that a family that does not work costs a quarter of a
//! second and not a timeout.
//!
//! Addresses come in by family as they are resolved, each in the order of RFC 6724. [`HappyEyeballs::poll`] tells which to try now;
//! attempts that have begun go on, the first that succeeds wins, and the caller ends the others.

use core::net::IpAddr;

use super::MAX_ADDRESSES;
use crate::services::List;
use crate::time::{Duration, Instant};

/// RFC 8305 §8, Resolution Delay: how long IPv4 waits for IPv6 addresses.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// RFC 8305 §8, Connection Attempt Delay: recommended.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Begin to connect to this address, then ask again.
    Begin(IpAddr),
    /// Nothing until then, or until something is told.
    Wait(Option<Instant>),
    /// All addresses have failed.
    Exhausted,
}

/// Addresses of a family and how many of them were tried.
#[derive(Clone, Copy, Debug)]
struct Family {
    /// `None` until it is known which there are.
    addresses: Option<List<IpAddr, MAX_ADDRESSES>>,
    tried: usize,
}

impl Family {
    const UNKNOWN: Family = Family { addresses: None, tried: 0 };

    fn next(&self) -> Option<IpAddr> {
        self.addresses.as_ref()?.iter().nth(self.tried).copied()
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct HappyEyeballs {
    v4: Family,
    v6: Family,
    /// Until when IPv4 waits for IPv6.
    resolution_due: Option<Instant>,
    /// When the next attempt may begin though the others have not failed.
    next_attempt: Instant,
    under_way: usize,
    /// The family of the last attempt.
    last_was_v6: bool,
}

impl HappyEyeballs {
    /// A connection of which no address is known yet.
    pub fn new(now: Instant) -> Self {
        HappyEyeballs {
            v4: Family::UNKNOWN,
            v6: Family::UNKNOWN,
            resolution_due: None,
            next_attempt: now,
            under_way: 0,
            last_was_v6: false,
        }
    }

    /// The IPv4 addresses are known; none if there are none.
    pub fn v4_resolved(&mut self, now: Instant, addresses: List<IpAddr, MAX_ADDRESSES>) {
        self.v4.addresses = Some(addresses);
        if self.v6.addresses.is_none() {
            self.resolution_due = Some(now + RESOLUTION_DELAY);
        }
    }

    /// The IPv6 addresses are known; none if there are none.
    pub fn v6_resolved(&mut self, addresses: List<IpAddr, MAX_ADDRESSES>) {
        self.v6.addresses = Some(addresses);
        self.resolution_due = None;
    }

    /// An attempt has failed: the next one may begin at once.
    pub fn failed(&mut self, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.next_attempt = now;
    }

    /// What to do now.
    pub fn poll(&mut self, now: Instant) -> Attempt {
        // §3: "If a positive A response is received first ... the client SHOULD wait a short time for the AAAA response".
        if let Some(due) = self.resolution_due.filter(|due| now < *due)
            && self.under_way == 0
        {
            return Attempt::Wait(Some(due));
        }
        // §4: families take turns, IPv6 first.
        let (first, second) = if self.last_was_v6 { (&self.v4, &self.v6) } else { (&self.v6, &self.v4) };
        let Some(address) = first.next().or_else(|| second.next()) else {
            let all_known = self.v4.addresses.is_some() && self.v6.addresses.is_some();
            return if all_known && self.under_way == 0 { Attempt::Exhausted } else { Attempt::Wait(None) };
        };
        if now < self.next_attempt && self.under_way > 0 {
            return Attempt::Wait(Some(self.next_attempt));
        }
        self.last_was_v6 = address.is_ipv6();
        let family = if address.is_ipv6() { &mut self.v6 } else { &mut self.v4 };
        family.tried += 1;
        self.under_way += 1;
        self.next_attempt = now + ATTEMPT_DELAY;
        Attempt::Begin(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> List<IpAddr, MAX_ADDRESSES> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// What is begun until there is nothing to do but wait.
    fn begun(eyeballs: &mut HappyEyeballs, now: Instant) -> (Vec<String>, Attempt) {
        let mut begun = Vec::new();
        loop {
            match eyeballs.poll(now) {
                Attempt::Begin(address) => begun.push(address.to_string()),
                other => return (begun, other),
            }
        }
    }

    #[test]
    fn families_take_turns_a_quarter_of_a_second_apart() {
        let mut eyeballs = HappyEyeballs::new(at(0));
        eyeballs.v6_resolved(list(&["fd00::1", "fd00::2"]));
        eyeballs.v4_resolved(at(0), list(&["10.0.0.1", "10.0.0.2"]));
        let expected = ["fd00::1", "10.0.0.1", "fd00::2", "10.0.0.2"];
        for (step, expected) in expected.into_iter().enumerate() {
            let now = at(250 * step as u64);
            let next = if step < 3 { Some(now + ATTEMPT_DELAY) } else { None };
            assert_eq!(begun(&mut eyeballs, now), (vec![expected.to_owned()], Attempt::Wait(next)));
        }
        for _ in 0..4 {
            eyeballs.failed(at(2_000));
        }
        assert_eq!(eyeballs.poll(at(2_000)), Attempt::Exhausted);
    }

    #[test]
    fn ipv4_waits_a_little_for_ipv6() {
        let mut eyeballs = HappyEyeballs::new(at(0));
        assert_eq!(eyeballs.poll(at(0)), Attempt::Wait(None));
        eyeballs.v4_resolved(at(10), list(&["10.0.0.1"]));
        assert_eq!(eyeballs.poll(at(10)), Attempt::Wait(Some(at(60))));
        let mut late = eyeballs.clone();
        assert_eq!(late.poll(at(60)), Attempt::Begin("10.0.0.1".parse().unwrap()));
        late.v6_resolved(list(&["fd00::1"]));
        assert_eq!(late.poll(at(70)), Attempt::Wait(Some(at(310))));
        assert_eq!(late.poll(at(310)), Attempt::Begin("fd00::1".parse().unwrap()));

        eyeballs.v6_resolved(list(&["fd00::1"]));
        assert_eq!(eyeballs.poll(at(20)), Attempt::Begin("fd00::1".parse().unwrap()));
    }

    #[test]
    fn a_failure_brings_the_next_attempt_forward() {
        let mut eyeballs = HappyEyeballs::new(at(0));
        eyeballs.v6_resolved(list(&["fd00::1"]));
        eyeballs.v4_resolved(at(0), list(&["10.0.0.1"]));
        assert_eq!(begun(&mut eyeballs, at(0)).0, ["fd00::1"]);
        eyeballs.failed(at(5));
        assert_eq!(begun(&mut eyeballs, at(5)).0, ["10.0.0.1"]);
        eyeballs.failed(at(6));
        assert_eq!(eyeballs.poll(at(6)), Attempt::Exhausted);
    }
}
