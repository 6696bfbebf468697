//! Which address of ours speaks to a destination, and which of several destinations is tried first (RFC 6724).

use core::net::{IpAddr, Ipv6Addr};

use super::Stack;
use super::addresses::{AddressOrigin, AddressState, InterfaceAddress};
use crate::address::{Prefix, bits};
use crate::event::InterfaceId;

/// The default policy table (RFC 6724 §2.1): prefix, precedence and label, the longest prefixes first.
static POLICY: [(Prefix, u8, u8); 9] = [
    (v6_prefix([0, 0, 0, 0, 0, 0, 0, 1], 128), 50, 0),
    (v6_prefix([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), 35, 4),
    (v6_prefix([0; 8], 96), 1, 3),
    (v6_prefix([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), 5, 5),
    (v6_prefix([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), 30, 2),
    (v6_prefix([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16), 1, 12),
    (v6_prefix([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), 1, 11),
    (v6_prefix([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), 3, 13),
    (v6_prefix([0; 8], 0), 40, 1),
];

const fn v6_prefix([a, b, c, d, e, f, g, h]: [u16; 8], length: u8) -> Prefix {
    Prefix { address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), length }
}

/// Precedence and label of an address: those of the longest prefix in the table.
#[inline(never)]
fn policy(address: IpAddr) -> (u8, u8) {
    let address = IpAddr::V6(Ipv6Addr::from_bits(bits(address)));
    let matching = POLICY.iter().find(|(prefix, ..)| prefix.contains(address));
    matching.map_or((40, 1), |(_, precedence, label)| (*precedence, *label))
}

/// How many leading bits a source address has in common with a destination (RFC 6724 §2.2): no more than its prefix has.
fn common_bits(source: &Prefix, destination: IpAddr) -> u8 {
    let common = (bits(source.address) ^ bits(destination)).leading_zeros() as u8;
    common.min(source.length + if source.address.is_ipv4() { 96 } else { 0 })
}

/// The scope of an address, with those of IPv4 mapped to them (RFC 4291 §2.7, RFC 6724 §3.1, §3.2).
#[inline(never)]
fn scope(address: IpAddr) -> u8 {
    const LINK_LOCAL: u8 = 2;
    const SITE_LOCAL: u8 = 5;
    const GLOBAL: u8 = 14;
    match address {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() => LINK_LOCAL,
        IpAddr::V4(_) => GLOBAL,
        IpAddr::V6(v6) if v6.is_multicast() => v6.octets()[1] & 0x0f,
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unicast_link_local() => LINK_LOCAL,
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfec0 => SITE_LOCAL,
        IpAddr::V6(_) => GLOBAL,
    }
}

/// How well an address of ours suits a destination that is reached through a router, if one is given: the greatest is the best (RFC 6724 §5).
/// Each rule is a byte, the first the highest. The interface is given (rule 5), and there are no home addresses (rule 4).
#[inline(never)]
fn fitness(entry: &InterfaceAddress, destination: IpAddr, router: Option<IpAddr>) -> u64 {
    let source = entry.prefix.address;
    let (ours, theirs) = (scope(source), scope(destination));
    u64::from_be_bytes([
        (source == destination).into(),
        // Rule 2: the smallest scope that is large enough, else the largest. Scopes have four bits.
        if ours >= theirs { u8::MAX - ours } else { ours },
        (entry.state != AddressState::Deprecated).into(),
        // RFC 4429 §3.1: an optimistic address is used like a deprecated one if there is another.
        (entry.state != AddressState::Optimistic).into(),
        // Rule 5.5: not an address of a prefix that another router advertises, which may drop what comes from it (RFC 8028 §3).
        router.is_none_or(|router| entry.advertisers.may_include(router)).into(),
        (policy(source).1 == policy(destination).1).into(),
        (entry.origin == AddressOrigin::Temporary).into(),
        // Rule 8.
        common_bits(&entry.prefix, destination),
    ])
}

impl Stack<'_> {
    /// The address of the interface's for packets to `destination` (RFC 6724 §5); the first that was added, of several that suit
    /// it as well.
    pub(super) fn source_on(&self, interface: InterfaceId, destination: IpAddr) -> Option<IpAddr> {
        self.source_through(interface, destination, destination)
    }

    /// The same for packets that go by `next_hop`.
    pub(super) fn source_through(
        &self,
        interface: InterfaceId,
        destination: IpAddr,
        next_hop: IpAddr,
    ) -> Option<IpAddr> {
        let router = (next_hop != destination).then_some(next_hop);
        let is_candidate = |entry: &&InterfaceAddress| {
            entry.interface == interface
                && entry.is_assigned()
                && entry.prefix.address.is_ipv4() == destination.is_ipv4()
        };
        let mut candidates = self.addresses.iter().filter(is_candidate);
        let mut best = candidates.next()?;
        // Mostly there is only one, and nothing to compare.
        let mut best_fitness = None;
        for entry in candidates {
            let so_far = best_fitness.unwrap_or_else(|| fitness(best, destination, router));
            let fitness = fitness(entry, destination, router);
            best_fitness = Some(so_far.max(fitness));
            if fitness > so_far {
                best = entry;
            }
        }
        Some(best.prefix.address)
    }

    /// Whether nobody else can have this address of the interface's.
    pub(super) fn is_sure_of(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.place_of(interface, address).is_some_and(|place| !self.addresses[place].state.is_unsure())
    }

    /// Puts the addresses of one host into the order in which they are to be tried (RFC 6724 §6), as a resolver does with its answers.
    /// Those that are alike stay in their order.
    pub fn sort_destinations(&mut self, destinations: &mut [IpAddr]) {
        // Insertion sort: stable, without memory, and there are few.
        for end in 1..destinations.len() {
            for place in (1..=end).rev() {
                if !self.is_tried_before(destinations[place], destinations[place - 1]) {
                    break;
                }
                destinations.swap(place, place - 1);
            }
        }
    }

    fn is_tried_before(&mut self, a: IpAddr, b: IpAddr) -> bool {
        let ((a_rank, a_common), (b_rank, b_common)) = (self.rank(a), self.rank(b));
        // Rule 9, for one family only.
        a_rank < b_rank || (a_rank == b_rank && a.is_ipv4() == b.is_ipv4() && a_common > b_common)
    }

    /// Where rules 1 to 8 put a destination, each a byte, the first the highest, the least to be tried first; and how many bits it has in common
    /// with the address of ours that would speak to it.
    #[inline(never)]
    fn rank(&mut self, destination: IpAddr) -> (u64, u8) {
        let hop = self.route(destination);
        let place = hop.and_then(|hop| self.place_of(hop.interface, hop.source));
        let source = place.map(|place| &self.addresses[place]);
        let (precedence, label) = policy(destination);
        let scope_of = scope(destination);
        let rank = u64::from_be_bytes([
            0,
            0,
            // Rule 1: those that cannot be reached come last.
            source.is_none().into(),
            // Rule 2: matching scope.
            source.is_none_or(|entry| scope(entry.prefix.address) != scope_of).into(),
            // Rule 3: deprecated sources.
            source.is_some_and(|entry| entry.state == AddressState::Deprecated).into(),
            // Rule 5: matching label.
            source.is_none_or(|entry| policy(entry.prefix.address).1 != label).into(),
            // Rule 6: precedence.
            u8::MAX - precedence,
            // Rule 8: the smaller scope.
            scope_of,
        ]);
        (rank, source.map_or(0, |entry| common_bits(&entry.prefix, destination)))
    }
}
