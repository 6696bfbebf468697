//! IPv4 link-local addresses (RFC 3927): an address for a link on which nobody gives any.
//!
//! It is claimed as RFC 5227 says, which has the same times (§2.2.1), and defended once in ten seconds (§2.5 (b)); when it is another's, the next is tried. That no
//! packet with such an address is forwarded (§2.7) is [`forward`](super::forward)'s.

use core::net::{IpAddr, Ipv4Addr};

use super::Stack;
use super::addresses::{AddressOptions, AddressOrigin, DuplicateDetection};
use super::addressing::ConfigError;
use crate::address::Prefix;
use crate::event::InterfaceId;
use crate::random::{Generator, Use};
use crate::time::{Duration, Instant};
use crate::wire::MacAddr;

/// RFC 3927 §9: after this many conflicts a host tries one address in RATE_LIMIT_INTERVAL.
const MAX_CONFLICTS: u8 = 10;
const RATE_LIMIT_INTERVAL: Duration = Duration::from_secs(60);
/// §2.1: "the first 256 and last 256 addresses in the 169.254/16 prefix are reserved".
const FIRST: u32 = u32::from_be_bytes([169, 254, 1, 0]);
const COUNT: u64 = 65_536 - 512;

/// The address that a station tries after so many conflicts (§2.1: "the pseudo-random number generator SHOULD be seeded using a value derived from this" MAC address, so
/// that a host mostly has the same address again).
fn candidate(mac: MacAddr, conflicts: u8) -> Prefix {
    let [a, b, c, d, e, f] = mac.0;
    let mut random = Generator::new([u64::from_be_bytes([0, 0, a, b, c, d, e, f]), 0], Use::StableAddresses);
    let mut number = 0;
    for _ in 0..=conflicts {
        number = random.below(COUNT) as u32;
    }
    Prefix { address: IpAddr::V4(Ipv4Addr::from_bits(FIRST + number)), length: 16 }
}

impl Stack<'_> {
    /// Has an interface claim an IPv4 link-local address, and another one as often as somebody else has it (RFC 3927). For as long as the interface has no other: §1.9
    /// wants an address that is valid beyond the link to be used instead, and [`remove_address`](Self::remove_address) then ends this one. The event
    /// [`Event::Interface`](crate::Event::Interface) says when it is assigned, after four to seven seconds.
    ///
    /// # Errors
    /// As [`add_address`](Self::add_address).
    pub fn claim_ipv4_link_local(&mut self, now: Instant, interface: InterfaceId) -> Result<(), ConfigError> {
        self.advance_clock(now);
        self.try_link_local(interface, 0)
    }

    fn try_link_local(&mut self, interface: InterfaceId, conflicts: u8) -> Result<(), ConfigError> {
        let prefix = candidate(self.mac(interface), conflicts);
        let options = AddressOptions {
            detection: Some(DuplicateDetection::Full),
            origin: AddressOrigin::LinkLocal,
            ..AddressOptions::default()
        };
        self.add_address_with(self.now, interface, prefix, options)?;
        if let Some(place) = self.place_of(interface, prefix.address) {
            let claim = &mut self.addresses[place].claim;
            claim.conflicts = conflicts;
            if conflicts >= MAX_CONFLICTS {
                claim.due = claim.due.max(self.now + RATE_LIMIT_INTERVAL);
            }
        }
        Ok(())
    }

    /// The address at `place` is another's (§2.2.1: "it MUST select a new pseudo-random" one).
    pub(super) fn replace_link_local(&mut self, place: usize) {
        let entry = self.addresses[place];
        let conflicts = entry.claim.conflicts.checked_add(1).unwrap_or(MAX_CONFLICTS);
        self.forget_address(place);
        // There is room: that of the one which has gone. One that the user has added is there already.
        (conflicts..=conflicts.saturating_add(1))
            .any(|conflicts| self.try_link_local(entry.interface, conflicts).is_ok());
    }
}
