//! Which address of ours speaks to a destination, and which of several destinations is tried first (RFC 6724).

use core::cmp::Ordering;
use core::net::{IpAddr, Ipv6Addr};

use super::Stack;
use super::addresses::{AddressOrigin, AddressState, InterfaceAddress};
use crate::address::bits;
use crate::event::InterfaceId;

/// The default policy table (RFC 6724 §2.1): prefix, its length, precedence and label.
const POLICY: [(Ipv6Addr, u32, u8, u8); 9] = [
    (Ipv6Addr::LOCALHOST, 128, 50, 0),
    (Ipv6Addr::UNSPECIFIED, 0, 40, 1),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 35, 4),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 30, 2),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5, 5),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 3, 13),
    (Ipv6Addr::UNSPECIFIED, 96, 1, 3),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 1, 11),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 1, 12),
];

/// Precedence and label of an address: those of the longest prefix in the table.
fn policy(address: IpAddr) -> (u8, u8) {
    let matching = POLICY.iter().filter(|(prefix, len, ..)| common_bits(prefix.to_bits(), bits(address)) >= *len);
    matching.max_by_key(|(_, len, ..)| *len).map_or((40, 1), |(.., precedence, label)| (*precedence, *label))
}

fn common_bits(a: u128, b: u128) -> u32 {
    (a ^ b).leading_zeros()
}

/// The scope of an address, with those of IPv4 mapped to them (RFC 4291 §2.7, RFC 6724 §3.1, §3.2).
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

/// How well an address of ours suits a destination that is reached through a router, if one is given: the greatest is the best (RFC 6724 §5). The interface
/// is given (rule 5), and there are no home addresses (rule 4).
fn fitness(entry: &InterfaceAddress, destination: IpAddr, router: Option<IpAddr>) -> impl Ord + use<> {
    let source = entry.prefix.address;
    let (ours, theirs) = (scope(source), scope(destination));
    // Rule 2: the smallest scope that is large enough, else the largest.
    let by_scope = if ours >= theirs { (1, u8::MAX - ours) } else { (0, ours) };
    (
        source == destination,
        by_scope,
        entry.state != AddressState::Deprecated,
        // RFC 4429 §3.1: an optimistic address is used like a deprecated one if there is another.
        entry.state != AddressState::Optimistic,
        // Rule 5.5: not an address of a prefix that another router advertises, which may drop what comes from it (RFC 8028 §3).
        router.is_none_or(|router| entry.advertisers.may_include(router)),
        policy(source).1 == policy(destination).1,
        entry.origin == AddressOrigin::Temporary,
        // Rule 8. §2.2: no more than the source address's prefix counts.
        common_bits(bits(source), bits(destination)).min(prefix_bits(entry)),
    )
}

/// Bits of an entry's prefix among the 128 of [`bits`].
fn prefix_bits(entry: &InterfaceAddress) -> u32 {
    u32::from(entry.prefix.length) + if entry.prefix.address.is_ipv4() { 96 } else { 0 }
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
        let first = candidates.next()?;
        // Mostly there is only one, and nothing to compare.
        let mut best = (first, None);
        for entry in candidates {
            let so_far = best.1.unwrap_or_else(|| fitness(best.0, destination, router));
            let fitness = fitness(entry, destination, router);
            best = if fitness > so_far { (entry, Some(fitness)) } else { (best.0, Some(so_far)) };
        }
        Some(best.0.prefix.address)
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
                if self.compare_destinations(destinations[place], destinations[place - 1]) != Ordering::Less {
                    break;
                }
                destinations.swap(place, place - 1);
            }
        }
    }

    /// Which destination is tried first.
    fn compare_destinations(&mut self, a: IpAddr, b: IpAddr) -> Ordering {
        let (a, b) = (self.candidate(a), self.candidate(b));
        let rules = |candidate: &Candidate| {
            let Candidate { destination, source } = *candidate;
            let state = source.map(|entry| entry.state);
            let precedence = policy(destination).0;
            (
                // Rule 1: those that cannot be reached come last.
                source.is_none(),
                // Rule 2: matching scope.
                source.is_none_or(|entry| scope(entry.prefix.address) != scope(destination)),
                // Rule 3: deprecated sources.
                state == Some(AddressState::Deprecated),
                // Rule 5: matching label.
                source.is_none_or(|entry| policy(entry.prefix.address).1 != policy(destination).1),
                // Rule 6: precedence.
                u8::MAX - precedence,
                // Rule 8: the smaller scope.
                scope(destination),
            )
        };
        // Rule 9, for one family only.
        let common = |candidate: &Candidate| {
            let of = |entry: InterfaceAddress| {
                common_bits(bits(entry.prefix.address), bits(candidate.destination)).min(prefix_bits(&entry))
            };
            candidate.source.map_or(0, of)
        };
        rules(&a).cmp(&rules(&b)).then_with(|| match a.destination.is_ipv4() == b.destination.is_ipv4() {
            true => common(&b).cmp(&common(&a)),
            false => Ordering::Equal,
        })
    }

    fn candidate(&mut self, destination: IpAddr) -> Candidate {
        let hop = self.route(destination);
        let place = hop.and_then(|hop| self.place_of(hop.interface, hop.source));
        Candidate { destination, source: place.map(|place| self.addresses[place]) }
    }
}

/// A destination, and the address of ours that would speak to it; none if there is no way.
#[derive(Clone, Copy)]
struct Candidate {
    destination: IpAddr,
    source: Option<InterfaceAddress>,
}
