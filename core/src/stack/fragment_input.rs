//! Fragments that arrive: put together, the datagram enters IP input again (RFC 791 §3.2, RFC 1122 §3.3.2, RFC 8200 §4.5).

use core::mem;

use super::Stack;
use super::flow::link_of;
use super::ip_input::{Cast, Packet};
use super::nodes::Node;
use super::reassembly::{Added, DatagramKey, MAX_HEADERS, Reassembly};
use crate::checksum;
use crate::counters::DropReason;
use crate::pool::{Pool, Pressure};
use crate::storage::Storage;
use crate::time::Duration;
use crate::wire::{Ecn, ExtensionError, Ipv4Header, UpperLayer, WireError, ethernet, icmpv6, ipv6, protocol, tcp, udp};

/// How long fragments wait for each other. RFC 1122 §3.3.2 recommends one to two minutes, in which at today's rates identifications come again and
/// parts of different datagrams are put together (RFC 4963 §2): half a minute, as in Linux. RFC 8200 §4.5 wants a minute for IPv6.
const TIMEOUT_V4: Duration = Duration::from_secs(30);
const TIMEOUT_V6: Duration = Duration::from_secs(60);

/// The longest IPv4 datagram, and the longest payload of an IPv6 packet.
const MAX_LEN: usize = u16::MAX as usize;

/// A fragment, as both families have it.
struct Fragment<'a> {
    key: DatagramKey,
    offset: u16,
    more_fragments: bool,
    /// Everything before its part of the payload.
    headers: &'a [u8],
    /// Where in the headers the field is that names what the payload begins with.
    named_at: u16,
    payload: &'a [u8],
}

impl Stack<'_> {
    /// A fragment of an IPv4 datagram for us.
    #[cold]
    pub(super) fn fragment_v4(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, header: Ipv4Header) {
        let (headers, payload) = packet.whole.split_at(header.header_len);
        // As in Linux, what is no multiple of eight is cut off unless it is the last fragment.
        let len = if header.more_fragments { payload.len() & !7 } else { payload.len() };
        if headers.len() + usize::from(header.fragment_offset) + len > MAX_LEN {
            self.counters.drop(DropReason::IpFragmentMalformed);
            return;
        }
        let fragment = Fragment {
            key: self.datagram_key(packet, header.identification.into(), header.protocol),
            offset: header.fragment_offset,
            more_fragments: header.more_fragments,
            headers,
            named_at: 0,
            payload: &payload[..len],
        };
        self.fragment_input(pool, packet, &fragment);
    }

    /// A fragment of an IPv6 packet for us. `upper` begins with the fragment header.
    #[cold]
    pub(super) fn fragment_v6(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, upper: &UpperLayer<'_>) {
        let Ok((header, payload)) = ipv6::FragmentHeader::parse(upper.payload) else { return };
        let (headers, _) = packet.whole.split_at(packet.whole.len() - payload.len());
        let unfragmentable = headers.len() - ipv6::FRAGMENT_HEADER_LEN - ipv6::HEADER_LEN;
        // RFC 8200 §4.5: two lengths that cannot be are told to the sender.
        let problem = if header.more_fragments && payload.len() % 8 != 0 {
            Some((icmpv6::code::ERRONEOUS_HEADER_FIELD, PAYLOAD_LEN_AT))
        } else if unfragmentable + usize::from(header.offset) + payload.len() > MAX_LEN {
            let offset_field = headers.len() - ipv6::FRAGMENT_HEADER_LEN + 2;
            Some((icmpv6::code::ERRONEOUS_HEADER_FIELD, offset_field as u32))
        } else if header.offset == 0 && !has_whole_chain(header.next_header, payload) {
            Some((icmpv6::code::INCOMPLETE_HEADER_CHAIN, 0))
        } else {
            None
        };
        if let Some((code, pointer)) = problem {
            self.counters.drop(DropReason::IpFragmentMalformed);
            if packet.cast != Cast::Group {
                self.parameter_problem(pool, packet, code, pointer);
            }
            return;
        }
        let fragment = Fragment {
            key: self.datagram_key(packet, header.identification, 0),
            offset: header.offset,
            more_fragments: header.more_fragments,
            headers,
            named_at: upper.named_at as u16,
            payload,
        };
        self.fragment_input(pool, packet, &fragment);
    }

    fn datagram_key(&self, packet: &Packet<'_>, identification: u32, protocol: u8) -> DatagramKey {
        let link = link_of(packet.source, packet.interface);
        DatagramKey { source: packet.source, destination: packet.destination, identification, protocol, link }
    }

    fn fragment_input(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, fragment: &Fragment<'_>) {
        self.counters.fragments_received += 1;
        // Fragments of fragments are none that a host sends, and while a datagram is delivered there is no scratch.
        if fragment.payload.is_empty() || fragment.headers.len() > MAX_HEADERS || self.is_delivering_datagram() {
            self.counters.drop(DropReason::IpFragmentMalformed);
            return;
        }
        let known = self.reassembly.find(&self.hash_secret, &fragment.key);
        let Some(index) = known.or_else(|| self.begin_reassembly(pool, packet, fragment)) else {
            self.counters.drop(DropReason::IpReassemblyFull);
            return;
        };
        let place = (fragment.offset, fragment.more_fragments);
        let added = self.reassembly.add(pool, &mut self.account, index, place, fragment.payload);
        match added {
            Added::Duplicate => return self.counters.drop(DropReason::IpFragmentDuplicate),
            Added::Contradiction => return self.drop_reassembly(pool, index, DropReason::IpFragmentOverlap),
            Added::Full => return self.drop_reassembly(pool, index, DropReason::IpReassemblyFull),
            Added::Incomplete | Added::Complete => {}
        }
        if let Some(datagram) = self.reassembly.get_mut(index) {
            datagram.see(packet.ecn, packet.cast == Cast::Group);
            if fragment.offset == 0 {
                datagram.keep_headers(pool, fragment.headers, fragment.named_at, fragment.payload.len() as u16);
            }
        }
        if added == Added::Complete {
            self.deliver_reassembled(pool, packet, index);
            return;
        }
        while let Some(excess) = self.reassembly.excess(index) {
            self.drop_reassembly(pool, excess, DropReason::IpReassemblyFull);
        }
    }

    /// A place for the datagram of a fragment, where the oldest of others goes if need be.
    fn begin_reassembly(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, fragment: &Fragment<'_>) -> Option<u32> {
        // The last blocks are for what is in order and will be read.
        if pool.pressure(&self.account) == Pressure::Critical {
            return None;
        }
        if self.reassembly.is_full() {
            let oldest = self.reassembly.oldest_of_most()?;
            self.drop_reassembly(pool, oldest, DropReason::IpReassemblyFull);
        }
        let datagram = Reassembly::new(fragment.key, packet.interface);
        let index = self.reassembly.insert(&self.hash_secret, datagram)?;
        let timeout = if packet.source.is_ipv4() { TIMEOUT_V4 } else { TIMEOUT_V6 };
        self.deadlines.set_no_later(self.nodes.number(Node::Reassembly(index)), self.now + timeout);
        Some(index)
    }

    fn drop_reassembly(&mut self, pool: &mut Pool<'_>, index: u32, reason: DropReason) {
        self.counters.drop(reason);
        self.end_reassembly(pool, index);
    }

    fn end_reassembly(&mut self, pool: &mut Pool<'_>, index: u32) {
        self.deadlines.remove(self.nodes.number(Node::Reassembly(index)));
        self.reassembly.remove(&self.hash_secret, pool, &mut self.account, index);
    }

    /// Bytes of the longest datagram that there is room for.
    pub(super) fn longest_datagram(&self) -> usize {
        self.scratch.capacity().saturating_sub(ethernet::HEADER_LEN)
    }

    /// Whether what is being received was put together from fragments.
    pub(super) fn is_delivering_datagram(&self) -> bool {
        self.scratch.capacity() == 0
    }

    /// Puts the datagram together in the scratch, from where it enters IP input again. `packet` is the fragment that came last.
    fn deliver_reassembled(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, index: u32) {
        let Some(datagram) = self.reassembly.get(index) else { return };
        let (headers_len, payload_len) = (usize::from(datagram.headers_len), usize::from(datagram.end));
        let is_ipv4 = packet.source.is_ipv4();
        let keep = if is_ipv4 { headers_len } else { headers_len - ipv6::FRAGMENT_HEADER_LEN };
        let len = keep + payload_len;
        let is_too_long = if is_ipv4 { len > MAX_LEN } else { len - ipv6::HEADER_LEN > MAX_LEN };
        let ecn = match datagram.ecn() {
            Ok(ecn) if !is_too_long && len <= self.longest_datagram() => ecn,
            _ => return self.drop_reassembly(pool, index, DropReason::IpFragmentMalformed),
        };
        let cast = if datagram.is_to_group { Cast::Group } else { Cast::Unicast };
        let mut scratch = mem::replace(&mut self.scratch, Storage::borrowed(&mut []));
        scratch.grow_to(len.max(headers_len), 0);
        if is_ipv4 {
            datagram.read(pool, keep, payload_len, &mut scratch);
            whole_header_v4(&mut scratch[..keep], len as u16, ecn);
        } else {
            // The fragment header names what the payload begins with.
            datagram.read(pool, headers_len, 0, &mut scratch);
            let next_header = scratch[keep];
            let named_at = usize::from(datagram.named_at);
            datagram.read(pool, keep, payload_len, &mut scratch);
            scratch[named_at] = next_header;
            whole_header_v6(&mut scratch[..keep], (len - ipv6::HEADER_LEN) as u16, ecn);
        }
        self.counters.datagrams_reassembled += 1;
        self.end_reassembly(pool, index);
        let (interface, source_mac, meta) = (packet.interface, packet.source_mac, packet.meta);
        if is_ipv4 {
            self.ipv4_input(pool, interface, source_mac, cast, &scratch[..len], meta);
        } else {
            self.ipv6_input(pool, interface, source_mac, cast, &scratch[..len], meta);
        }
        // A clone of the stack does not copy it.
        scratch.truncate(0);
        self.scratch = scratch;
    }

    /// RFC 1122 §3.3.2, RFC 8200 §4.5: the sender is told, if the first fragment has come.
    pub(super) fn reassembly_timeout(&mut self, pool: &mut Pool<'_>, index: u32) {
        let mut quote = [0; icmpv6::MAX_ORIGINAL_LEN];
        let Some(datagram) = self.reassembly.get(index) else { return };
        let DatagramKey { source, destination, .. } = datagram.key;
        let (headers_len, first_len) = (usize::from(datagram.headers_len), usize::from(datagram.first_len));
        let (interface, is_to_group) = (datagram.interface, datagram.is_to_group);
        let len = datagram.read(pool, headers_len, first_len, &mut quote);
        self.drop_reassembly(pool, index, DropReason::IpReassemblyTimeout);
        if headers_len > 0 && !is_to_group && self.is_local_on(interface, destination) {
            self.reassembly_time_exceeded(pool, interface, (source, destination), &quote[..len]);
        }
    }
}

/// Offset of the payload length in the IPv6 header.
const PAYLOAD_LEN_AT: u32 = 4;

/// The header of a datagram in one piece in the place of its first fragment's.
fn whole_header_v4(header: &mut [u8], total_len: u16, ecn: Option<Ecn>) {
    header[1] |= ecn.map_or(0, |ecn| ecn as u8);
    header[2..4].copy_from_slice(&total_len.to_be_bytes());
    // No flags, no offset, and a new checksum.
    header[6..8].fill(0);
    header[10..12].fill(0);
    let sum = checksum::sum(header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// As [`whole_header_v4`]; the traffic class lies across the first two bytes.
fn whole_header_v6(header: &mut [u8], payload_len: u16, ecn: Option<Ecn>) {
    header[1] |= ecn.map_or(0, |ecn| (ecn as u8) << 4);
    header[4..6].copy_from_slice(&payload_len.to_be_bytes());
}

/// RFC 7112 §5: "When a host fragments an IPv6 datagram, it MUST include the entire IPv6 Header Chain in the First Fragment", the
/// upper-layer header with it. What else may be wrong with the chain is found when the datagram is complete.
fn has_whole_chain(next_header: u8, payload: &[u8]) -> bool {
    let upper = match ipv6::skip_extension_headers(next_header, payload) {
        Ok(upper) => upper,
        Err(ExtensionError::Malformed(WireError::Truncated)) => return false,
        Err(_) => return true,
    };
    let least = match upper.protocol {
        protocol::TCP => tcp::HEADER_LEN,
        protocol::UDP => udp::HEADER_LEN,
        protocol::ICMPV6 => icmpv6::HEADER_LEN,
        _ => 0,
    };
    upper.payload.len() >= least
}
