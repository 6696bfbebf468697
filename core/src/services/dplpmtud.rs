//! Path MTU discovery by a datagram application (DPLPMTUD, RFC 8899): the longest datagram that the path carries is found by probes that
//! the other end acknowledges, also where routers drop what is too long without a word.
//!
//! Whoever owns the UDP socket sends the probes, from a socket with [`probe`](crate::UdpOptions::probe), and tells which were acknowledged and what
//! ICMP has reported. [`transmit`](Dplpmtud::transmit) says when a probe is due and how long it is; what is in it, and how the
//! other end answers, is the application's (RFC 8899 §4.1). All sizes are bytes of UDP payload.

use crate::time::{Duration, Instant};
use crate::wire::{ipv4, ipv6, udp};

/// Probes of one size that may be lost until it counts as too long (RFC 8899 §5.1.2).
const MAX_PROBES: u8 = 3;
/// BASE_PLPMTU (RFC 8899 §5.1.2).
const BASE_PLPMTU: u16 = 1_200;
/// What every IPv4 host takes, less the headers (RFC 791 §3.1: 576 bytes): below, datagrams may be fragmented.
const MIN_PLPMTU_V4: u16 = 548;
/// A range that is smaller is not worth a probe.
const THRESHOLD: u16 = 8;

/// How the search goes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DplpmtudConfig {
    /// MIN_PLPMTU: used when not even `base` arrives.
    pub min: u16,
    /// BASE_PLPMTU: 1,200 bytes, which arrive on most paths.
    pub base: u16,
    /// MAX_PLPMTU: what the interface takes, or less if the application has no use for more.
    pub max: u16,
    /// Bytes of the IP and UDP headers, by which reports of routers are larger.
    pub headers: u16,
    /// PROBE_TIMER: how long a probe is waited for; 15 seconds (RFC 8899 §5.1.1), at least 1, and better several round trips if they are known.
    pub probe_timeout: Duration,
    /// PMTU_RAISE_TIMER: when a longer size is tried again; 600 seconds.
    pub raise_interval: Duration,
    /// CONFIRMATION_TIMER: how often the size that was found is probed. 60 seconds; None for an application that notices itself that long
    /// datagrams are lost ([`Dplpmtud::black_hole`]).
    pub confirmation_interval: Option<Duration>,
}

impl DplpmtudConfig {
    /// For a path of one family through an interface with this MTU.
    pub const fn new(is_ipv4: bool, mtu: u16) -> Self {
        let ip = if is_ipv4 { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
        let headers = (ip + udp::HEADER_LEN) as u16;
        let max = mtu.saturating_sub(headers);
        let base = if max < BASE_PLPMTU { max } else { BASE_PLPMTU };
        let min = if is_ipv4 && MIN_PLPMTU_V4 < base { MIN_PLPMTU_V4 } else { base };
        DplpmtudConfig {
            min,
            base,
            max,
            headers,
            probe_timeout: Duration::from_secs(15),
            raise_interval: Duration::from_secs(600),
            confirmation_interval: Some(Duration::from_secs(60)),
        }
    }
}

/// The phases of RFC 8899 §5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DplpmtudState {
    /// Whether datagrams of `base` bytes arrive is being found out.
    Base,
    /// Longer ones are tried.
    Searching,
    /// The longest size is known.
    SearchComplete,
    /// Not even `base` arrives.
    Error,
}

/// The search on one path.
#[derive(Clone, Debug)]
pub struct Dplpmtud {
    config: DplpmtudConfig,
    state: DplpmtudState,
    /// PLPMTU: datagrams of this size arrive, as far as is known.
    plpmtu: u16,
    /// Longer ones have no chance.
    high: u16,
    /// The next probe is as long as that: most paths carry what the interface does, and reports are mostly right.
    is_high_next: bool,
    /// The size of the probe under way.
    probe: Option<u16>,
    /// PROBE_COUNT: probes of that size that were lost.
    lost: u8,
    /// When the next probe is due, or the one under way counts as lost.
    due: Instant,
    raise_at: Instant,
}

impl Dplpmtud {
    /// Begins with `base`, whose probe is due at once.
    pub fn new(now: Instant, config: DplpmtudConfig) -> Self {
        Dplpmtud {
            config,
            state: DplpmtudState::Base,
            plpmtu: config.base,
            high: config.max,
            is_high_next: true,
            probe: None,
            lost: 0,
            due: now,
            raise_at: Instant::FAR_FUTURE,
        }
    }

    /// The longest datagram to send, in bytes.
    pub fn size(&self) -> u16 {
        self.plpmtu
    }

    /// How far the search is.
    pub fn state(&self) -> DplpmtudState {
        self.state
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and [`transmit`](Self::transmit) next.
    pub fn next_timeout(&self) -> Option<Instant> {
        Some(self.due.min(self.raise_at)).filter(|due| *due < Instant::FAR_FUTURE)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.due <= now
            && let Some(size) = self.probe.take()
        {
            // RFC 8899 §5.3.1: "Each time the PROBE_TIMER expires, the PROBE_COUNT is incremented, the PROBE_TIMER is reinitialized, and a new
            // probe of the same size or any other size (determined by the search algorithm) can be sent."
            self.lost += 1;
            self.due = now;
            if self.lost >= MAX_PROBES {
                self.failed(now, size);
            }
        }
        if self.raise_at <= now {
            self.raise_at = Instant::FAR_FUTURE;
            self.is_high_next = true;
            self.high = self.config.max;
            self.search(now);
        }
    }

    /// The size of a probe that is to be sent now, if one is due. Whoever calls sends it.
    pub fn transmit(&mut self, now: Instant) -> Option<u16> {
        if self.probe.is_some() || self.due > now {
            return None;
        }
        let size = match self.state {
            DplpmtudState::Base | DplpmtudState::Error => self.config.base,
            DplpmtudState::SearchComplete => self.plpmtu,
            DplpmtudState::Searching if self.is_high_next => self.high,
            DplpmtudState::Searching => self.plpmtu + (self.high - self.plpmtu).div_ceil(2),
        };
        self.probe = Some(size);
        self.due = now + self.config.probe_timeout;
        Some(size)
    }

    /// The other end has received a probe of this size. What was given up already counts, too.
    pub fn acknowledged(&mut self, now: Instant, size: u16) {
        if self.probe != Some(size) && !(self.plpmtu < size && size <= self.high) {
            return;
        }
        self.probe = None;
        self.lost = 0;
        match self.state {
            DplpmtudState::Base | DplpmtudState::Error => {
                self.plpmtu = size;
                self.search(now);
            }
            DplpmtudState::Searching => {
                self.plpmtu = self.plpmtu.max(size);
                self.go_on(now);
            }
            DplpmtudState::SearchComplete => {
                self.plpmtu = self.plpmtu.max(size);
                self.confirm_later(now);
            }
        }
    }

    /// A router has reported the MTU of its next link, in bytes ([`UdpError::mtu`](crate::UdpError::mtu), which is about a datagram of the socket's:
    /// RFC 8899 §4.6.1). RFC 8899 §4.6.2: such reports "MUST NOT be used directly to set the PLPMTU": the size is probed next.
    pub fn too_big(&mut self, now: Instant, mtu: u16) {
        let size = mtu.saturating_sub(self.config.headers);
        let probed = self.probe.unwrap_or(0).max(self.plpmtu);
        // RFC 8899 §4.6.2: about more than was sent, or below MIN_PLPMTU: "ought to be discarded without further processing".
        if size >= probed && size != self.plpmtu || size < self.config.min {
            return;
        }
        (self.probe, self.lost) = (None, 0);
        self.high = size;
        self.is_high_next = true;
        if size < self.config.base {
            self.is_in_error(now);
        } else if size < self.plpmtu {
            self.return_to_base(now);
        } else {
            self.search(now);
        }
    }

    /// Long datagrams do not arrive any more, as the application has found out (RFC 8899 §4.3).
    pub fn black_hole(&mut self, now: Instant) {
        self.high = self.plpmtu.saturating_sub(1).max(self.config.base);
        self.is_high_next = false;
        self.return_to_base(now);
    }

    /// The present size does not arrive: that of the base is used, and confirmed (RFC 8899 §4.3).
    fn return_to_base(&mut self, now: Instant) {
        self.state = DplpmtudState::Base;
        self.plpmtu = self.config.base;
        (self.probe, self.lost, self.due, self.raise_at) = (None, 0, now, Instant::FAR_FUTURE);
    }

    fn is_in_error(&mut self, now: Instant) {
        self.state = DplpmtudState::Error;
        self.plpmtu = self.config.min;
        self.high = self.config.max;
        self.is_high_next = true;
        self.raise_at = Instant::FAR_FUTURE;
        // The base is probed again, at the pace of the PROBE_TIMER.
        self.due = now + self.config.probe_timeout;
    }

    /// As many probes of a size were lost as may be. RFC 8899 §5.3.1 has the search end here, and §5.3.2 leaves the algorithm open: as in
    /// Linux's SCTP, smaller ones are tried, until the range is too small, and each size has a count of its own.
    fn failed(&mut self, now: Instant, size: u16) {
        self.lost = 0;
        match self.state {
            DplpmtudState::Base | DplpmtudState::Error => self.is_in_error(now),
            DplpmtudState::SearchComplete => self.black_hole(now),
            DplpmtudState::Searching => {
                self.high = size - 1;
                self.is_high_next = false;
                self.go_on(now);
            }
        }
    }

    /// Looks for more than is known to arrive.
    fn search(&mut self, now: Instant) {
        self.state = DplpmtudState::Searching;
        (self.probe, self.lost) = (None, 0);
        self.go_on(now);
    }

    /// The next probe of the search is due at once, unless the rest is not worth it.
    fn go_on(&mut self, now: Instant) {
        self.due = now;
        let rest = self.high.saturating_sub(self.plpmtu);
        if rest == 0 || rest < THRESHOLD && !self.is_high_next {
            self.state = DplpmtudState::SearchComplete;
            let may_rise = self.plpmtu < self.config.max;
            self.raise_at = if may_rise { now + self.config.raise_interval } else { Instant::FAR_FUTURE };
            self.confirm_later(now);
        }
    }

    fn confirm_later(&mut self, now: Instant) {
        self.due = self.config.confirmation_interval.map_or(Instant::FAR_FUTURE, |interval| now + interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Lets the search run on a path that carries `carries` bytes for so long; returns the sizes that were probed.
    fn run(search: &mut Dplpmtud, now: &mut Instant, carries: u16, span: Duration) -> Vec<u16> {
        let end = *now + span;
        let mut probed = Vec::new();
        loop {
            search.handle_timeout(*now);
            while let Some(size) = search.transmit(*now) {
                probed.push(size);
                if size <= carries {
                    search.acknowledged(*now, size);
                }
            }
            match search.next_timeout() {
                Some(due) if due <= end => *now = (*now).max(due),
                _ => break,
            }
        }
        *now = end;
        probed
    }

    fn search(is_ipv4: bool) -> Dplpmtud {
        Dplpmtud::new(Instant::ZERO, DplpmtudConfig::new(is_ipv4, 1_500))
    }

    #[test]
    fn what_the_interface_takes_is_found_with_two_probes() {
        for (is_ipv4, max) in [(true, 1_472), (false, 1_452)] {
            let (mut search, mut now) = (search(is_ipv4), Instant::ZERO);
            assert_eq!(run(&mut search, &mut now, 9_000, Duration::ZERO), [1_200, max]);
            assert_eq!((search.size(), search.state()), (max, DplpmtudState::SearchComplete));
            // And confirmed from time to time.
            assert_eq!(run(&mut search, &mut now, 9_000, Duration::from_secs(125)), [max, max]);
        }
    }

    #[test]
    fn every_size_between_is_found_within_the_threshold() {
        for carries in 1_200..=1_472 {
            let (mut search, mut now) = (search(true), Instant::ZERO);
            run(&mut search, &mut now, carries, Duration::from_secs(500));
            assert_eq!(search.state(), DplpmtudState::SearchComplete);
            assert!(search.size() <= carries && search.size() + THRESHOLD > carries, "{carries}: {}", search.size());
        }
    }

    #[test]
    fn a_path_that_gets_narrower_or_wider_is_followed() {
        let (mut search, mut now) = (search(true), Instant::ZERO);
        run(&mut search, &mut now, 1_472, Duration::from_secs(1));
        assert_eq!(search.size(), 1_472);
        run(&mut search, &mut now, 1_300, Duration::from_secs(400));
        assert!((1_293..=1_300).contains(&search.size()), "{}", search.size());
        run(&mut search, &mut now, 600, Duration::from_secs(300));
        assert_eq!((search.size(), search.state()), (548, DplpmtudState::Error));
        run(&mut search, &mut now, 1_472, Duration::from_secs(60));
        assert_eq!((search.size(), search.state()), (1_472, DplpmtudState::SearchComplete));
        run(&mut search, &mut now, 1_300, Duration::from_secs(400));
        // PMTU_RAISE_TIMER.
        run(&mut search, &mut now, 1_472, Duration::from_secs(601));
        assert_eq!(search.size(), 1_472);
    }

    #[test]
    fn one_lost_probe_says_nothing() {
        let mut search = search(true);
        let mut now = Instant::ZERO;
        assert_eq!(search.transmit(now), Some(1_200));
        for _ in 0..2 {
            now = search.next_timeout().unwrap();
            search.handle_timeout(now);
            assert_eq!((search.transmit(now), search.state()), (Some(1_200), DplpmtudState::Base));
        }
        search.acknowledged(now, 1_200);
        assert_eq!(search.state(), DplpmtudState::Searching);
    }

    /// RFC 8899 §4.6.2.
    #[test]
    fn reports_shorten_the_search_and_those_that_cannot_be_are_ignored() {
        let mut search = search(true);
        let now = Instant::ZERO;
        assert_eq!(search.transmit(now), Some(1_200));
        search.acknowledged(now, 1_200);
        assert_eq!(search.transmit(now), Some(1_472));
        for mtu in [1_501, 9_000, 500, 0, 65_535] {
            search.too_big(now, mtu);
            assert_eq!((search.state(), search.size()), (DplpmtudState::Searching, 1_200));
        }
        search.too_big(now, 1_400);
        assert_eq!(search.transmit(now), Some(1_372));
        search.acknowledged(now, 1_372);
        assert_eq!((search.size(), search.state()), (1_372, DplpmtudState::SearchComplete));
        // Narrower than what is used: back to the base, and what was reported next.
        search.too_big(now, 1_328);
        assert_eq!((search.size(), search.state()), (1_200, DplpmtudState::Base));
        assert_eq!(search.transmit(now), Some(1_200));
        search.acknowledged(now, 1_200);
        assert_eq!(search.transmit(now), Some(1_300));
        search.too_big(now, 1_000);
        assert_eq!((search.size(), search.state()), (548, DplpmtudState::Error));
    }

    #[test]
    fn acknowledgments_of_what_was_never_sent_change_nothing() {
        let mut search = search(true);
        for size in [0, 1, 1_199, 1_473, u16::MAX] {
            search.acknowledged(Instant::ZERO, size);
            assert_eq!((search.size(), search.state()), (1_200, DplpmtudState::Base));
        }
    }
}
