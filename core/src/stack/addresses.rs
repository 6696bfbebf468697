//! Addresses: their states and lifetimes (RFC 4862 §5.5.4), and how they are claimed: duplicate address detection (RFC 4862 §5.4, RFC
//! 4429, RFC 7527) and its like in IPv4 (RFC 5227).
//!
//! An address is in the table of routes only while it is assigned: what asks there whether an address is ours need not know of states.

use core::net::{IpAddr, Ipv6Addr};

use super::Stack;
use super::addressing::{ConfigError, IPV6_MIN_MTU, swap_remove};
use super::memory::NO_PREFIX;
use super::nodes::Node;
use crate::address::{Prefix, is_link_local, is_unicast};
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::time::{Duration, Instant};
use crate::wire::{Ipv6Header, ipv6, protocol};

/// RFC 4861 §10: the most that the first packet of an interface is put off, so that not all hosts speak at once when a link comes up;
/// also RFC 5227 §1.1's PROBE_WAIT.
pub(super) const MAX_DELAY: Duration = Duration::from_secs(1);
/// RFC 5227 §1.1.
const PROBE_NUM: u8 = 3;
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
const ANNOUNCE_NUM: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// DupAddrDetectTransmits (RFC 4862 §5.1).
const DUP_ADDR_DETECT_TRANSMITS: u8 = 1;

/// What an address may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressState {
    /// Others are being asked whether they have it; it is not used yet.
    Tentative,
    /// Others are being asked, and meanwhile it is used so that no harm comes of it (RFC 4429).
    Optimistic,
    /// Used.
    #[default]
    Preferred,
    /// Used for what goes on, and by who asks for it, but not chosen for anything new (RFC 4862 §2).
    Deprecated,
    /// Somebody else has it; it is not used.
    Duplicate,
}

impl AddressState {
    /// Whether packets to it are accepted.
    pub fn is_assigned(self) -> bool {
        !matches!(self, AddressState::Tentative | AddressState::Duplicate)
    }

    /// Whether somebody else may turn out to have it.
    pub(super) fn is_unsure(self) -> bool {
        matches!(self, AddressState::Tentative | AddressState::Optimistic)
    }
}

/// Who has given an interface an address, and so looks after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressOrigin {
    /// The user.
    #[default]
    Static,
    /// The link-local address that each interface has by itself, of IPv4 too (RFC 3927) if that was asked for.
    LinkLocal,
    /// Made of an advertised prefix (RFC 4862 §5.5).
    Advertised,
    /// Made of an advertised prefix for a day, so that the host is not recognized by it (RFC 8981).
    Temporary,
    /// A DHCP server.
    Dhcp,
}

/// How others are asked whether they have an address before it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DuplicateDetection {
    /// Not at all: the address is announced.
    Off,
    /// While it is in use already (RFC 4429 for IPv6; IPv4 addresses are announced and defended, as in Linux).
    #[default]
    Optimistic,
    /// Before it is used, for one to two seconds in IPv6 (RFC 4862 §5.4) and four to seven in IPv4 (RFC 5227 §2.1).
    Full,
}

/// What else there is to say of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressOptions {
    /// When it becomes deprecated; [`Instant::FAR_FUTURE`] for never.
    pub preferred_until: Instant,
    /// When it is removed; [`Instant::FAR_FUTURE`] for never.
    pub valid_until: Instant,
    /// How others are asked for it; None for as the interface says.
    pub detection: Option<DuplicateDetection>,
    /// Whether all addresses of its prefix are neighbours.
    pub on_link: bool,
    /// Who looks after it.
    pub origin: AddressOrigin,
}

impl Default for AddressOptions {
    fn default() -> Self {
        AddressOptions {
            preferred_until: Instant::FAR_FUTURE,
            valid_until: Instant::FAR_FUTURE,
            detection: None,
            on_link: true,
            origin: AddressOrigin::Static,
        }
    }
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterfaceAddress {
    /// The interface.
    pub interface: InterfaceId,
    /// The address and its network.
    pub prefix: Prefix,
    /// What it may be used for.
    pub state: AddressState,
    /// Who has given it.
    pub origin: AddressOrigin,
    /// When it becomes deprecated; [`Instant::FAR_FUTURE`] for never.
    pub preferred_until: Instant,
    /// When it is removed; [`Instant::FAR_FUTURE`] for never.
    pub valid_until: Instant,
    pub(super) on_link: bool,
    /// Who advertises its prefix.
    pub(super) advertisers: Advertisers,
    pub(super) made: Instant,
    pub(super) claim: Claim,
}

impl InterfaceAddress {
    /// A place that holds nothing, for memory that the caller lends.
    pub const EMPTY: Self = InterfaceAddress {
        interface: InterfaceId(0),
        prefix: NO_PREFIX,
        state: AddressState::Tentative,
        origin: AddressOrigin::Static,
        preferred_until: Instant::FAR_FUTURE,
        valid_until: Instant::FAR_FUTURE,
        on_link: false,
        advertisers: Advertisers::None,
        made: Instant::ZERO,
        claim: Claim { step: Step::Done, due: Instant::FAR_FUTURE, nonce: [0; 6], defended: None, conflicts: 0 },
    };

    /// Whether packets to it are accepted.
    pub fn is_assigned(&self) -> bool {
        self.state.is_assigned()
    }

    /// When something is to be done about it.
    fn due(&self) -> Instant {
        let deprecation =
            if self.state == AddressState::Preferred { self.preferred_until } else { Instant::FAR_FUTURE };
        self.claim.due.min(deprecation).min(self.valid_until)
    }
}

/// The routers that advertise an address's prefix, as far as that matters (RFC 6724 §5, rule 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advertisers {
    None,
    One(Ipv6Addr),
    Several,
}

impl Advertisers {
    /// With one more.
    pub(super) fn with(self, router: Ipv6Addr) -> Self {
        match self {
            Advertisers::None => Advertisers::One(router),
            Advertisers::One(known) if known == router => self,
            Advertisers::One(_) | Advertisers::Several => Advertisers::Several,
        }
    }

    /// Whether it is not only another router.
    pub(super) fn may_include(self, router: IpAddr) -> bool {
        !matches!(self, Advertisers::One(known) if IpAddr::V6(known) != router)
    }
}

/// How far an address has been claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) step: Step,
    /// When the step is due.
    pub(super) due: Instant,
    /// What tells our own probe, looped back, from another's (RFC 7527 §4.1).
    pub(super) nonce: [u8; 6],
    /// When the address was defended last (RFC 5227 §2.4).
    pub(super) defended: Option<Instant>,
    /// Addresses that were tried before this one and turned out to be another's.
    pub(super) conflicts: u8,
}

/// What comes next in claiming an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many more probes.
    Probe(u8),
    /// Nobody has answered by then: it is ours.
    Assign,
    /// So many more announcements.
    Announce(u8),
    /// Nothing.
    Done,
}

impl Stack<'_> {
    /// Adds an address to an interface, and has it announced to the neighbours or first asked for, as the interface's
    /// [`detection`](crate::InterfaceConfig::detection) says.
    pub fn add_address(&mut self, now: Instant, interface: InterfaceId, prefix: Prefix) -> Result<(), ConfigError> {
        self.add_address_with(now, interface, prefix, AddressOptions::default())
    }

    /// The same, with lifetimes and all else that there is to say.
    ///
    /// # Errors
    /// If the address cannot be a host's or is there already, there is no such interface, or [`Limits::addresses`](crate::Limits::addresses)
    /// is reached.
    pub fn add_address_with(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        prefix: Prefix,
        options: AddressOptions,
    ) -> Result<(), ConfigError> {
        self.advance_clock(now);
        let address = prefix.address;
        if !is_unicast(address) || address.is_loopback() && !self.is_loopback(interface) {
            return Err(ConfigError::AddressNotUnicast(address));
        }
        // RFC 4007 §6: a link-local address may be ours on several links.
        let is_it = |entry: &InterfaceAddress| {
            entry.prefix.address == address && (entry.interface == interface || !is_link_local(address))
        };
        if self.addresses.iter().any(is_it) {
            return Err(ConfigError::Exists(prefix));
        }
        let Some(found) = self.interfaces.get(u32::from(interface.0)) else {
            return Err(ConfigError::NoSuchInterface(interface));
        };
        if address.is_ipv6() && found.config.mtu < IPV6_MIN_MTU {
            return Err(ConfigError::MtuTooSmall(found.config.mtu));
        }
        let detection = options.detection.unwrap_or(found.config.detection);
        let (state, step) = match (detection, address) {
            // There is nobody to ask, and nobody who asks.
            _ if !found.has_stations() => (AddressState::Preferred, Step::Done),
            (DuplicateDetection::Off, _) => (AddressState::Preferred, Step::Announce(1)),
            (DuplicateDetection::Optimistic, IpAddr::V4(_)) => (AddressState::Preferred, Step::Announce(ANNOUNCE_NUM)),
            (DuplicateDetection::Optimistic, IpAddr::V6(_)) => {
                (AddressState::Optimistic, Step::Probe(DUP_ADDR_DETECT_TRANSMITS))
            }
            (DuplicateDetection::Full, IpAddr::V4(_)) => (AddressState::Tentative, Step::Probe(PROBE_NUM)),
            (DuplicateDetection::Full, IpAddr::V6(_)) => {
                (AddressState::Tentative, Step::Probe(DUP_ADDR_DETECT_TRANSMITS))
            }
        };
        let delay = match state {
            AddressState::Tentative => self.neighbor_random.below(MAX_DELAY.as_micros()),
            _ => 0,
        };
        let [a, b, c, d, e, f, ..] = self.neighbor_random.next_u64().to_be_bytes();
        let entry = InterfaceAddress {
            interface,
            prefix,
            state,
            origin: options.origin,
            preferred_until: options.preferred_until,
            valid_until: options.valid_until,
            on_link: options.on_link,
            advertisers: Advertisers::None,
            made: self.now,
            claim: Claim {
                step,
                due: self.now + Duration::from_micros(delay),
                nonce: [a, b, c, d, e, f],
                defended: None,
                conflicts: 0,
            },
        };
        self.addresses.push(entry).map_err(|_| ConfigError::LimitReached("addresses"))?;
        // RFC 4862 §5.4.2: before anybody is asked for it. There is room for the groups of all addresses.
        if let Some(group) = self.solicited_node_group(interface, address) {
            let joined = self.join(interface, group);
            debug_assert!(joined.is_ok(), "{joined:?}");
        }
        if entry.is_assigned() {
            self.enter_address(interface, prefix, options.on_link);
        }
        self.addresses_changed(interface);
        self.watch_address(&entry);
        Ok(())
    }

    /// The group in which others ask for an IPv6 address of the interface (RFC 4291 §2.7.1), where they do.
    fn solicited_node_group(&self, interface: InterfaceId, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V6(v6) if self.has_stations(interface) => Some(IpAddr::V6(ipv6::solicited_node_multicast(v6))),
            _ => None,
        }
    }

    /// Changes when an address becomes deprecated and when it is removed.
    pub fn set_address_lifetimes(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        address: IpAddr,
        preferred_until: Instant,
        valid_until: Instant,
    ) -> Result<(), ConfigError> {
        self.advance_clock(now);
        let place = self.place_of(interface, address).ok_or(ConfigError::NotFound(Prefix::host(address)))?;
        self.prolong_address(place, preferred_until, valid_until);
        Ok(())
    }

    pub(super) fn prolong_address(&mut self, place: usize, preferred_until: Instant, valid_until: Instant) {
        let entry = &mut self.addresses[place];
        entry.preferred_until = preferred_until;
        entry.valid_until = valid_until;
        if entry.state == AddressState::Deprecated && preferred_until > self.now {
            entry.state = AddressState::Preferred;
            let interface = entry.interface;
            self.addresses_changed(interface);
            self.invalidate_paths();
        }
        let entry = self.addresses[place];
        self.watch_address(&entry);
    }

    /// Removes an address. Connections that use it are left to time out.
    pub fn remove_address(&mut self, interface: InterfaceId, address: IpAddr) -> Result<(), ConfigError> {
        let place = self.place_of(interface, address).ok_or(ConfigError::NotFound(Prefix::host(address)))?;
        self.forget_address(place);
        Ok(())
    }

    pub(super) fn forget_address(&mut self, place: usize) {
        let InterfaceAddress { interface, prefix, state, .. } = self.addresses[place];
        swap_remove(&mut self.addresses, place);
        if let Some(group) = self.solicited_node_group(interface, prefix.address) {
            let left = self.leave_group(self.now, interface, group);
            debug_assert!(left.is_ok(), "{left:?}");
        }
        if state.is_assigned() {
            self.withdraw_address(interface, prefix);
        }
        self.addresses_changed(interface);
    }

    /// All addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &InterfaceAddress> {
        self.addresses.iter()
    }

    /// Where an address of an interface is in the table, whatever its state.
    pub(super) fn place_of(&self, interface: InterfaceId, address: IpAddr) -> Option<usize> {
        self.addresses.iter().position(|entry| entry.interface == interface && entry.prefix.address == address)
    }

    /// Whether a packet from an address of ours may be of the node that has it: an advertisement that ends our claim to it comes from the
    /// address itself.
    #[cold]
    pub(super) fn may_be_anothers(&self, header: &Ipv6Header) -> bool {
        let is_it = |entry: &InterfaceAddress| {
            entry.prefix.address == IpAddr::V6(header.source) && entry.state == AddressState::Optimistic
        };
        header.next_header == protocol::ICMPV6 && self.addresses.iter().any(is_it)
    }

    /// Tells the user that the addresses of an interface, or what else is known of its network, have changed.
    pub(super) fn addresses_changed(&mut self, interface: InterfaceId) {
        self.notify(Node::Interface(u32::from(interface.0)));
    }

    pub(super) fn watch_address(&mut self, entry: &InterfaceAddress) {
        let due = entry.due();
        if due <= self.now
            && let Some(found) = self.interfaces.get_mut(u32::from(entry.interface.0))
        {
            found.claims_due = true;
        }
        self.watch_interface(entry.interface, due);
    }

    pub(super) fn watch_interface(&mut self, interface: InterfaceId, due: Instant) {
        if due < Instant::FAR_FUTURE {
            self.deadlines.set_no_later(self.nodes.number(Node::Interface(u32::from(interface.0))), due);
        }
    }

    /// Does what is due for an interface and its addresses, of which there are few.
    pub(super) fn look_after_interface(&mut self, pool: &mut Pool<'_>, interface: InterfaceId) {
        if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
            found.claims_due = false;
        }
        let mut next = self.look_after_routers(pool, interface).min(self.look_after_advertiser(pool, interface));
        next = next.min(self.look_after_asking(pool, interface)).min(self.look_after_anycast(pool, interface));
        let mut place = 0;
        while let Some(entry) = self.addresses.get(place) {
            if entry.interface != interface {
                place += 1;
                continue;
            }
            if entry.valid_until <= self.now {
                self.forget_address(place);
                continue;
            }
            if entry.claim.due <= self.now {
                self.claim(pool, place);
            }
            let entry = &mut self.addresses[place];
            if entry.state == AddressState::Preferred && entry.preferred_until <= self.now {
                entry.state = AddressState::Deprecated;
                self.invalidate_paths();
                self.addresses_changed(interface);
            }
            next = next.min(self.addresses[place].due());
            place += 1;
        }
        self.watch_interface(interface, next);
    }

    /// Takes the next step in claiming an address.
    fn claim(&mut self, pool: &mut Pool<'_>, place: usize) {
        let InterfaceAddress { interface, prefix, claim, .. } = self.addresses[place];
        let is_v4 = prefix.address.is_ipv4();
        let retrans_timer = self.link_times(interface).retrans_timer;
        let (step, wait) = match claim.step {
            Step::Probe(left) => {
                self.send_probe(pool, interface, prefix.address, claim.nonce);
                match (left, is_v4) {
                    (0 | 1, false) => (Step::Assign, retrans_timer),
                    (0 | 1, true) => (Step::Assign, ANNOUNCE_WAIT),
                    (_, false) => (Step::Probe(left - 1), retrans_timer),
                    (_, true) => {
                        let spread = PROBE_MAX.as_micros() - PROBE_MIN.as_micros();
                        let wait = PROBE_MIN + Duration::from_micros(self.neighbor_random.below(spread));
                        (Step::Probe(left - 1), wait)
                    }
                }
            }
            Step::Assign => {
                self.assign_address(place);
                (Step::Announce(if is_v4 { ANNOUNCE_NUM } else { 1 }), Duration::ZERO)
            }
            Step::Announce(left) => {
                self.send_announcement(pool, interface, prefix.address);
                if left > 1 { (Step::Announce(left - 1), ANNOUNCE_INTERVAL) } else { (Step::Done, Duration::ZERO) }
            }
            Step::Done => (Step::Done, Duration::ZERO),
        };
        let due = if step == Step::Done { Instant::FAR_FUTURE } else { self.now + wait };
        let claim = &mut self.addresses[place].claim;
        (claim.step, claim.due) = (step, due);
        // At once after it was assigned.
        if due <= self.now {
            self.claim(pool, place);
        }
    }

    /// Nobody else has the address.
    fn assign_address(&mut self, place: usize) {
        let entry = &mut self.addresses[place];
        let was_assigned = entry.is_assigned();
        entry.state = AddressState::Preferred;
        let InterfaceAddress { interface, prefix, on_link, .. } = *entry;
        if was_assigned {
            self.invalidate_paths();
        } else {
            self.enter_address(interface, prefix, on_link);
        }
        self.addresses_changed(interface);
    }

    /// Somebody else has the address, or claims it at the same time.
    #[cold]
    pub(super) fn address_is_duplicate(&mut self, place: usize) {
        let entry = &mut self.addresses[place];
        let was_assigned = entry.is_assigned();
        entry.state = AddressState::Duplicate;
        entry.claim.step = Step::Done;
        entry.claim.due = Instant::FAR_FUTURE;
        let InterfaceAddress { interface, prefix, origin, .. } = *entry;
        if was_assigned {
            self.withdraw_address(interface, prefix);
        }
        self.counters.address_conflicts += 1;
        self.addresses_changed(interface);
        if origin == AddressOrigin::LinkLocal && prefix.address.is_ipv4() {
            return self.replace_link_local(place);
        }
        self.replace_address(place);
    }

    /// Another station has sent ARP from an address of ours. RFC 5227 §2.4 (b) and (c): "it MAY elect to attempt to defend its address by
    /// recording the time that the conflicting ARP packet was received, and then broadcasting one single ARP Announcement", and no more than one in
    /// DEFEND_INTERVAL. Who has to keep an address goes on; one that was only picked is given up at the second conflict.
    #[cold]
    pub(super) fn defend_address(&mut self, pool: &mut Pool<'_>, place: usize) {
        let InterfaceAddress { interface, prefix, origin, claim, .. } = self.addresses[place];
        let was_lately = claim.defended.is_some_and(|last| self.now.since(last) < DEFEND_INTERVAL);
        match (was_lately, origin) {
            (false, _) => {
                self.addresses[place].claim.defended = Some(self.now);
                self.counters.address_conflicts += 1;
                self.send_announcement(pool, interface, prefix.address);
            }
            (true, AddressOrigin::LinkLocal) => self.address_is_duplicate(place),
            (true, _) => {}
        }
    }
}
