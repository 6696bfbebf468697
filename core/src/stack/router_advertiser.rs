//! Router advertisements of our own (RFC 4861 §6.2): what the interface's network is told, unasked and asked.
//!
//! The message is made once, when advertising begins, and kept in the pool; what changes is when it is sent, and at the end its lifetime.

use core::net::{IpAddr, Ipv6Addr};

use super::Stack;
use super::ip_input::Packet;
use super::neighbor::NeighborState;
use super::neighbor_discovery::ALL_NODES;
use crate::address::is_link_local;
use crate::counters::DropReason;
use crate::error_text::{ErrorText, errors_with_text};
use crate::event::InterfaceId;
use crate::pool::{Account, Pool};
use crate::record_queue::RecordQueue;
use crate::time::{Duration, Instant};
use crate::wire::{MacAddr, NdpOption, NdpOptions, RouterAdvertisement, icmpv6, ipv6, ndp};

/// RFC 4861 §10.
const MAX_INITIAL_RTR_ADVERT_INTERVAL: Duration = Duration::from_secs(16);
const MAX_INITIAL_RTR_ADVERTISEMENTS: u8 = 3;
const MIN_DELAY_BETWEEN_RAS: Duration = Duration::from_secs(3);
const MAX_RA_DELAY_TIME: Duration = Duration::from_millis(500);
/// RFC 4861 §6.2.1: MaxRtrAdvInterval is between 4 and 1800 s.
const INTERVALS: core::ops::RangeInclusive<Duration> = Duration::from_secs(4)..=Duration::from_secs(1_800);
/// Bytes of a message at most: it fits in the minimum MTU.
const MAX_MESSAGE: usize = 1_280 - ipv6::HEADER_LEN;

/// Why advertising does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdvertiseError {
    /// There is no such interface, or it has no IPv6.
    NoSuchInterface(InterfaceId),
    /// The options have more bytes than a packet of the minimum MTU has room for.
    TooLong(usize),
    /// The longest interval is not between 4 and 1800 seconds.
    BadInterval(Duration),
    /// The pool has no block left.
    NoMemory,
}

impl AdvertiseError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            AdvertiseError::NoSuchInterface(interface) => {
                ErrorText::number("there is no interface {} with IPv6", interface.0 as u32)
            }
            AdvertiseError::TooLong(len) => {
                ErrorText::number("a router advertisement of {} bytes does not fit in the minimum MTU", len as u32)
            }
            AdvertiseError::BadInterval(interval) => {
                ErrorText::number("the longest interval is 4 to 1800 seconds, not {} ms", interval.as_millis() as u32)
            }
            AdvertiseError::NoMemory => ErrorText::plain("the pool has no block left"),
        }
    }
}

errors_with_text!(AdvertiseError);

/// An interface's part in it.
#[derive(Clone, Debug)]
pub(crate) struct Advertiser {
    /// The message, if there is one.
    message: RecordQueue,
    max_interval: Duration,
    next: Instant,
    /// How many were sent, as far as that counts.
    sent: u8,
    last: Option<Instant>,
    /// The host that is answered by itself, and when.
    asked: Option<(Ipv6Addr, MacAddr, Instant)>,
}

impl Advertiser {
    pub(crate) fn new() -> Self {
        Advertiser {
            message: RecordQueue::new(MAX_MESSAGE as u32 + 64),
            max_interval: Duration::ZERO,
            next: Instant::FAR_FUTURE,
            sent: 0,
            last: None,
            asked: None,
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.message.is_empty()
    }

    pub(crate) fn clear(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        self.message.clear(pool, account);
        self.next = Instant::FAR_FUTURE;
        self.asked = None;
    }
}

impl Stack<'_> {
    /// Begins to advertise this host as a router on an interface, or as none if the lifetime is 0, with prefixes, DNS servers and what else
    /// the options say; the interface's station is added. Hosts that ask are answered, at most every three seconds (RFC 4861 §6.2.6); otherwise
    /// an advertisement comes after at least a third of `max_interval` and at most all of it (600 s are usual).
    /// What was advertised before is replaced. Whether packets are forwarded is another matter.
    ///
    /// # Errors
    /// See [`AdvertiseError`].
    pub fn advertise_router(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        interface: InterfaceId,
        advertisement: &RouterAdvertisement,
        options: &[NdpOption<'_>],
        max_interval: Duration,
    ) -> Result<(), AdvertiseError> {
        self.advance_clock(now);
        let own = NdpOption::SourceLinkLayerAddress(self.mac(interface));
        let Some(source) = self.link_local_of(interface) else {
            return Err(AdvertiseError::NoSuchInterface(interface));
        };
        if !INTERVALS.contains(&max_interval) {
            return Err(AdvertiseError::BadInterval(max_interval));
        }
        let all = || core::iter::once(own).chain(options.iter().copied());
        let len = icmpv6::HEADER_LEN + 8 + all().map(|option| option.wire_len()).sum::<usize>();
        let mut message = [0; MAX_MESSAGE];
        if len > MAX_MESSAGE {
            return Err(AdvertiseError::TooLong(len));
        }
        let len = ndp::emit_router_advertisement(source, ALL_NODES, &mut message, advertisement, all());
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else {
            return Err(AdvertiseError::NoSuchInterface(interface));
        };
        let advertiser = &mut found.advertiser;
        advertiser.clear(pool, &mut self.account);
        if !advertiser.message.push(pool, &mut self.account, 0, &[&message[..len]]) {
            return Err(AdvertiseError::NoMemory);
        }
        advertiser.max_interval = max_interval;
        advertiser.sent = 0;
        self.advertise_at(interface, self.now);
        Ok(())
    }

    /// Ends that, and says so: a last advertisement has a lifetime of zero (RFC 4861 §6.2.5).
    pub fn stop_advertising(&mut self, pool: &mut Pool<'_>, now: Instant, interface: InterfaceId) {
        self.advance_clock(now);
        self.send_advertisement(pool, interface, None, true);
        if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
            found.advertiser.clear(pool, &mut self.account);
        }
    }

    fn link_local_of(&self, interface: InterfaceId) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|entry| match entry.prefix.address {
            IpAddr::V6(v6) if entry.interface == interface && is_link_local(entry.prefix.address) => Some(v6),
            _ => None,
        })
    }

    fn advertise_at(&mut self, interface: InterfaceId, at: Instant) {
        if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
            found.advertiser.next = at;
            self.watch_interface(interface, at);
        }
    }

    /// Sends an advertisement if it is time; returns when the next one is due.
    pub(super) fn look_after_advertiser(&mut self, pool: &mut Pool<'_>, interface: InterfaceId) -> Instant {
        let now = self.now;
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return Instant::FAR_FUTURE };
        if let Some((host, mac, _)) = found.advertiser.asked.take_if(|(.., due)| *due <= now) {
            self.send_advertisement(pool, interface, Some((host, mac)), false);
        }
        let Some(found) = self.interfaces.get(u32::from(interface.0)) else { return Instant::FAR_FUTURE };
        let answer = found.advertiser.asked.map_or(Instant::FAR_FUTURE, |(.., due)| due);
        if found.advertiser.next > self.now {
            return found.advertiser.next.min(answer);
        }
        self.send_advertisement(pool, interface, None, false);
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return Instant::FAR_FUTURE };
        let advertiser = &mut found.advertiser;
        // RFC 4861 §6.2.4: "a uniformly distributed random value between the interface's configured MinRtrAdvInterval and
        // MaxRtrAdvInterval", and for the first few at most MAX_INITIAL_RTR_ADVERT_INTERVAL.
        let most = advertiser.max_interval.as_micros();
        let interval = Duration::from_micros(most / 3 + self.neighbor_random.below(most - most / 3));
        advertiser.sent = advertiser.sent.saturating_add(1);
        let is_initial = advertiser.sent < MAX_INITIAL_RTR_ADVERTISEMENTS;
        advertiser.last = Some(self.now);
        advertiser.next = self.now + if is_initial { interval.min(MAX_INITIAL_RTR_ADVERT_INTERVAL) } else { interval };
        advertiser.next.min(answer)
    }

    /// Sends what is advertised to one host, or to all.
    fn send_advertisement(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        to: Option<(Ipv6Addr, MacAddr)>,
        is_last: bool,
    ) {
        let mut message = [0; MAX_MESSAGE];
        let source = self.link_local_of(interface);
        let found = self.interfaces.get(u32::from(interface.0)).filter(|found| found.advertiser.is_on());
        let (Some(source), Some(found)) = (source, found) else { return };
        let len = found.advertiser.message.peek(pool, 0, &mut message);
        let (to, mac) = to.unwrap_or((ALL_NODES, MacAddr::for_multicast(IpAddr::V6(ALL_NODES))));
        ndp::readdress_router_advertisement(source, to, &mut message[..len], is_last);
        self.send_ndp(pool, interface, mac, source, to, &message[..len]);
    }

    /// RFC 4861 §6.2.6, after the checks of §6.1.1: the answer comes after a random delay. It goes to the host alone, as RFC 7772 §5.1 asks for so that others can
    /// sleep on, if the host says who it is and no other has asked at the same time; else to all, and no more often than every three seconds.
    pub(super) fn router_solicitation(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, options: &[u8]) {
        let interface = packet.interface;
        let Some(found) = self.interfaces.get(u32::from(interface.0)).filter(|found| found.advertiser.is_on()) else {
            self.counters.drop(DropReason::IcmpIgnored);
            return;
        };
        let delay = Duration::from_micros(self.neighbor_random.below(MAX_RA_DELAY_TIME.as_micros()));
        let earliest = found.advertiser.last.map_or(self.now, |last| last + MIN_DELAY_BETWEEN_RAS);
        let due = self.now + delay;
        let mac = NdpOptions::new(options).source_link_layer_address().filter(|mac| mac.is_unicast());
        let alone = match (packet.source, mac) {
            (IpAddr::V6(host), Some(mac)) if self.is_on_link(interface, packet.source) => Some((host, mac)),
            _ => None,
        };
        let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) else { return };
        match (alone, found.advertiser.asked) {
            (Some((host, _)), Some((other, ..))) if host == other => {}
            // All are told soon anyway.
            (Some(_), _) if found.advertiser.next <= due => {}
            (Some((host, mac)), None) => {
                found.advertiser.asked = Some((host, mac, due));
                self.watch_interface(interface, due);
            }
            _ if due.max(earliest) < found.advertiser.next => self.advertise_at(interface, due.max(earliest)),
            _ => {}
        }
        // "the router [...] SHOULD create a new Neighbor Cache entry, set the link-layer address, and set the entry's reachability state to STALE".
        if let Some((_, mac)) = alone {
            let known = self.neighbors.find(&self.hash_secret, interface, packet.source);
            self.learn(pool, interface, packet.source, mac, known, NeighborState::Stale, true);
        }
    }
}
