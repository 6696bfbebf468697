//! Fragments that arrive (RFC 791 §3.2, RFC 8200 §4.5): N2.

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip, pair};
use ethertab::time::Duration;
use ethertab::{BLOCK_SIZE, DropReason, Endpoint, Limits, UdpHandle};
use ethertab_sim::packet::{ICMP, ICMPV6, UDP, fragment, fragments, ip_frame, udp};
use std::net::IpAddr;

/// Numbers that look random (Marsaglia's xorshift).
struct Random(u32);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % end
    }
}

/// A datagram for port 7 in one piece, as a frame.
fn datagram(ipv6: bool, len: usize) -> Vec<u8> {
    datagram_from(pair(ipv6).1, len)
}

fn datagram_from(source: IpAddr, len: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..len).map(|place| (place * 7 / 3) as u8).collect();
    ip_frame((PEER_MAC, HOST_MAC), source, pair(source.is_ipv6()).0, UDP, &udp(9, 7, &data))
}

fn host() -> (Host, UdpHandle) {
    let mut host = Host::with_neighbors();
    let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
    (host, socket)
}

/// Lengths of the datagrams that the socket has received, with the bytes that were sent.
fn received(host: &mut Host, socket: UdpHandle) -> Vec<usize> {
    let mut out = vec![0; 65_536];
    std::iter::from_fn(|| {
        let (len, _) = host.stack.udp_recv(&mut host.pool, socket, &mut out)?;
        assert!(out[..len].iter().enumerate().all(|(place, &byte)| byte == (place * 7 / 3) as u8));
        Some(len)
    })
    .collect()
}

#[test]
fn n2_fragments_come_together_in_any_order() {
    let mut random = Random(1);
    for ipv6 in [false, true] {
        for (len, size) in [(9, 8), (1_473, 1_480), (5_000, 1_480), (5_000, 8), (65_507, 1_480), (65_507, 24)] {
            let (mut host, socket) = host();
            let mut parts = fragments(&datagram(ipv6, len), 1, size);
            for order in 0..4 {
                match order {
                    0 => {}
                    1 => parts.reverse(),
                    _ => (1..parts.len()).for_each(|place| parts.swap(place, random.below(place + 1))),
                }
                // Every third comes twice.
                for (number, part) in parts.iter().enumerate() {
                    host.receive(part);
                    if number % 3 == 0 && number + 1 < parts.len() {
                        host.receive(part);
                    }
                }
                assert_eq!(received(&mut host, socket), [len], "order {order}");
                let twice = parts.len().div_ceil(3) - usize::from(parts.len() % 3 == 1);
                assert_eq!(host.drops(DropReason::IpFragmentDuplicate), (order + 1) * twice as u64);
                assert_eq!(host.pool.blocks_in_use(), 0);
            }
        }
    }
}

#[test]
fn n2_fragments_of_many_datagrams_are_told_apart() {
    for ipv6 in [false, true] {
        let (mut host, socket) = host();
        let datagrams: Vec<_> = (0..10).map(|id| fragments(&datagram(ipv6, 3_000 + id as usize), id, 1_000)).collect();
        for place in 0..4 {
            for parts in &datagrams {
                host.receive(&parts[place]);
            }
        }
        assert_eq!(received(&mut host, socket), (3_000..3_010).collect::<Vec<_>>());
    }
}

#[test]
fn n2_overlaps_drop_all() {
    for ipv6 in [false, true] {
        let whole = datagram(ipv6, 3_000);
        // What comes after the first 1,000 bytes, and covers some of them again.
        for (offset, len, more) in [(992, 1_000, true), (0, 2_000, true), (8, 1_000, true), (504, 504, false)] {
            let (mut host, socket) = host();
            host.receive(&fragment(&whole, 1, (0, 1_000), true));
            host.receive(&fragment(&whole, 1, (offset, len), more));
            assert_eq!(host.drops(DropReason::IpFragmentOverlap), 1, "{offset} {len} {more}");
            assert_eq!(host.pool.blocks_in_use(), 0);
            // The rest does not come together with anything, and nobody is told (RFC 8200 §4.5).
            host.receive(&fragment(&whole, 1, (1_000, 3_000), false));
            assert_eq!(received(&mut host, socket), []);
            assert_eq!(host.drops(DropReason::IpReassemblyTimeout), 0);
            assert!(host.pass(Duration::from_secs(100)).is_empty());
            assert_eq!(host.drops(DropReason::IpReassemblyTimeout), 1);
        }
    }
}

/// RFC 8200 §4.5 lets only exact duplicates pass for what the network has doubled: the same place with other bytes is an overlap.
#[test]
fn n2_the_same_place_with_other_bytes_is_an_overlap() {
    for ipv6 in [false, true] {
        let whole = datagram(ipv6, 6_000);
        let mut forged = whole.clone();
        *forged.last_mut().unwrap() ^= 1;
        // The forged byte is the last one.
        for (len, is_overlap) in [(1_000, false), (6_000, true)] {
            let (mut host, socket) = host();
            host.receive(&fragment(&whole, 1, (1_000, 6_000), false));
            host.receive(&fragment(&forged, 1, (4_000, len), !is_overlap));
            assert_eq!(host.drops(DropReason::IpFragmentOverlap), u64::from(is_overlap), "{len} bytes");
            host.receive(&fragment(&whole, 1, (0, 1_000), true));
            assert_eq!(received(&mut host, socket).len(), usize::from(!is_overlap), "{len} bytes");
        }
    }
}

#[test]
fn n2_a_datagram_that_stays_incomplete_is_reported_if_its_first_fragment_came() {
    for (ipv6, seconds) in [(false, 30), (true, 60)] {
        let whole = datagram(ipv6, 3_000);
        let first = fragment(&whole, 1, (0, 1_400), true);
        let last = fragment(&whole, 1, (2_800, 1_400), false);
        for has_first in [false, true] {
            let (mut host, _) = host();
            if has_first {
                host.receive(&first);
                host.pass(Duration::from_secs(10));
            }
            host.receive(&last);
            let begun = if has_first { 10 } else { 0 };
            assert!(host.pass(Duration::from_millis((seconds - begun) * 1_000 - 1)).is_empty());
            let sent = host.pass(Duration::from_millis(1));
            assert_eq!(sent.len(), usize::from(has_first));
            assert_eq!((host.drops(DropReason::IpReassemblyTimeout), host.pool.blocks_in_use()), (1, 0));
            if let [(_, frame)] = &sent[..] {
                let (_, to, protocol, error) = ethertab_sim::packet::parse_ip(frame).unwrap();
                let (expected, kind, quoted) = if ipv6 { (ICMPV6, [3, 1], 1_232) } else { (ICMP, [11, 1], 548) };
                assert_eq!((to, protocol, &error[..2]), (pair(ipv6).1, expected, &kind[..]));
                assert_eq!(error[8..], first[14..14 + quoted]);
            }
        }
    }
}

#[test]
fn n2_nothing_is_longer_than_65_535_bytes() {
    for ipv6 in [false, true] {
        let (mut host, _) = host();
        let whole = datagram(ipv6, 1_000);
        // The last byte would be the first that is too much.
        let offset = 65_528;
        let max = if ipv6 { 7 } else { 0 };
        for len in [max + 1, 100] {
            let mut part = fragment(&whole, 1, (0, len), false);
            set_offset(&mut part, offset);
            host.receive(&part);
            let errors = host.take_packets();
            assert_eq!(errors.len(), usize::from(ipv6));
            for (_, _, error) in errors {
                // RFC 8200 §4.5: parameter problem, code 0, at the fragment offset.
                assert_eq!(error[..2], [4, 0]);
                assert_eq!(error[4..8], 42u32.to_be_bytes());
            }
        }
        assert_eq!((host.drops(DropReason::IpFragmentMalformed), host.pool.blocks_in_use()), (2, 0));
    }
}

/// Puts a fragment elsewhere.
fn set_offset(part: &mut [u8], offset: u16) {
    if part[12] == 0x86 {
        part[56..58].copy_from_slice(&offset.to_be_bytes());
    } else {
        part[20..22].copy_from_slice(&(offset / 8).to_be_bytes());
        ethertab_sim::mutate::repair_checksums(part);
    }
}

#[test]
fn n2_a_spoofed_flood_pins_no_more_than_its_share() {
    for ipv6 in [false, true] {
        let limits = Limits::small();
        let (mut host, socket) = host();
        let mut random = Random(7);
        let mut stranger = || match ipv6 {
            false => IpAddr::from([192, 0, random.below(256) as u8, 1 + random.below(200) as u8]),
            true => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, random.below(65_536) as u16, 1]),
        };
        for id in 0..2_000 {
            // Each is the end of a datagram of 64 KB that will never come.
            let mut part = fragment(&datagram_from(stranger(), 64), id, (0, 64), true);
            set_offset(&mut part, 65_000 & !7);
            if !ipv6 {
                part[20] |= 0x20;
                ethertab_sim::mutate::repair_checksums(&mut part);
            }
            host.receive(&part);
            assert!(host.pool.blocks_in_use() * BLOCK_SIZE <= limits.reassembly_bytes + 3 * BLOCK_SIZE);
        }
        assert!(host.drops(DropReason::IpReassemblyFull) > 1_900);
        for part in fragments(&datagram(ipv6, 20_000), 1, 1_480) {
            host.receive(&part);
        }
        assert_eq!(received(&mut host, socket), [20_000]);
        host.pass(Duration::from_secs(61));
        assert_eq!(host.pool.blocks_in_use(), 0);
    }
}

#[test]
fn n2_one_sender_cannot_push_out_what_another_has_begun() {
    for ipv6 in [false, true] {
        let (mut host, socket) = host();
        let parts = fragments(&datagram(ipv6, 3_000), 1, 1_480);
        host.receive(&parts[0]);
        let greedy = if ipv6 { ip("fd00::9") } else { ip("10.0.0.9") };
        for id in 0..1_000 {
            for part in &fragments(&datagram_from(greedy, 60_000), id, 1_480)[1..4] {
                host.receive(part);
            }
        }
        assert!(
            host.stack.blocks_in_use() as usize * BLOCK_SIZE <= Limits::small().reassembly_bytes / 2 + 3 * BLOCK_SIZE
        );
        parts[1..].iter().for_each(|part| host.receive(part));
        assert_eq!(received(&mut host, socket), [3_000]);
    }
}

#[test]
fn n2_atomic_fragments_are_whole_packets() {
    // RFC 6946 §4: "in isolation from any other packets/fragments", be it of the same identification.
    let (mut host, socket) = host();
    let parts = fragments(&datagram(true, 3_000), 1, 1_480);
    host.receive(&parts[0]);
    host.receive(&fragment(&datagram(true, 100), 1, (0, 1_000), false));
    assert_eq!(received(&mut host, socket), [100]);
    parts[1..].iter().for_each(|part| host.receive(part));
    assert_eq!(received(&mut host, socket), [3_000]);
    assert_eq!(host.stack.counters().datagrams_reassembled, 1);
}

#[test]
fn n2_the_first_fragment_has_all_headers() {
    // RFC 7112 §5; its length and that of IPv6 fragments in the middle are told to the sender.
    let (mut host, socket) = host();
    let whole = datagram(true, 3_000);
    let mut options = whole.clone();
    options[20] = 60;
    options.splice(54..54, [UDP, 0, 1, 4, 0, 0, 0, 0]);
    let cases = [
        // Half of the UDP header does not come in units of eight, but an options header does.
        (fragment(&options, 1, (0, 8), true), [4, 3], 0u32),
        (fragment(&whole, 1, (0, 1_001), true), [4, 0], 4),
        (fragment(&whole, 1, (1_000, 7), true), [4, 0], 4),
    ];
    for (part, kind, pointer) in cases {
        host.receive(&part);
        let errors = host.take_packets();
        let [(_, ICMPV6, error)] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!((&error[..2], &error[4..8]), (&kind[..], &pointer.to_be_bytes()[..]));
        assert_eq!(error[8..], part[14..]);
    }
    assert_eq!((host.drops(DropReason::IpFragmentMalformed), host.pool.blocks_in_use()), (3, 0));
    // With the UDP header it is as good as any.
    host.receive(&fragment(&whole, 1, (0, 8), true));
    host.receive(&fragment(&whole, 1, (8, 3_000), false));
    assert_eq!(received(&mut host, socket), [3_000]);
}

#[test]
fn headers_of_the_first_fragment_are_those_of_the_datagram() {
    // RFC 8200 §4.5: whatever the others say comes next.
    let (mut host, socket) = host();
    let mut parts = fragments(&datagram(true, 3_000), 1, 1_480);
    parts[1][54] = 6;
    parts.iter().for_each(|part| host.receive(part));
    assert_eq!(received(&mut host, socket), [3_000]);
    // IPv4 tells fragments of different protocols apart (RFC 791 §2.3), and options of the first are kept.
    let mut parts = fragments(&datagram(false, 3_000), 1, 1_480);
    parts[1][23] = 6;
    ethertab_sim::mutate::repair_checksums(&mut parts[1]);
    parts.iter().for_each(|part| host.receive(part));
    assert_eq!(received(&mut host, socket), []);
}

#[test]
fn marks_of_fragments_are_the_datagrams() {
    // RFC 3168 §5.3; what is mixed with fragments that are not ECN-capable is dropped, as in Linux.
    for ipv6 in [false, true] {
        for (marks, expected) in [([2, 3, 2], 1), ([0, 3, 0], 0), ([0, 0, 2], 0), ([1, 1, 1], 1)] {
            let (mut host, socket) = host();
            for (mut part, mark) in fragments(&datagram(ipv6, 3_000), 1, 1_480).into_iter().zip(marks) {
                part[15] |= if ipv6 { mark << 4 } else { mark };
                if !ipv6 {
                    let sum = !u16::from_be_bytes([part[24], part[25]]) as u32 + u32::from(mark);
                    part[24..26].copy_from_slice(&(!((sum & 0xffff) as u16 + (sum >> 16) as u16)).to_be_bytes());
                }
                host.receive(&part);
            }
            assert_eq!(received(&mut host, socket).len(), expected, "{marks:?}");
            assert_eq!(host.drops(DropReason::IpFragmentMalformed), 1 - expected as u64);
        }
    }
}

#[test]
fn fragments_of_fragments_are_dropped() {
    let (mut host, socket) = host();
    let inner = fragment(&datagram(true, 3_000), 1, (0, 1_480), true);
    fragments(&inner, 2, 400).iter().for_each(|part| host.receive(part));
    assert_eq!((host.drops(DropReason::IpFragmentMalformed), host.pool.blocks_in_use()), (1, 0));
    assert_eq!(received(&mut host, socket), []);
}

#[test]
fn what_no_limit_allows_is_dropped() {
    let mut limits = Limits::small();
    limits.reassemblies = 0;
    let mut host = Host::with_limits(limits);
    host.receive(&fragment(&datagram(false, 3_000), 1, (0, 1_480), true));
    assert_eq!((host.drops(DropReason::IpReassemblyFull), host.pool.blocks_in_use()), (1, 0));
    limits = Limits::small();
    limits.reassembly_size = 2_000;
    let mut host = Host::with_limits(limits);
    host.stack.bind_udp(Endpoint::any(7)).unwrap();
    for len in [1_972, 1_973] {
        fragments(&datagram(false, len), 1, 1_480).iter().for_each(|part| host.receive(part));
    }
    assert_eq!(host.stack.counters().datagrams_reassembled, 1);
    assert_eq!(host.drops(DropReason::IpFragmentMalformed), 1);
}

#[test]
fn an_interface_that_goes_takes_no_datagram_with_it() {
    let (mut host, _) = host();
    host.receive(&fragment(&datagram(false, 3_000), 1, (0, 1_480), true));
    host.stack.remove_interface(&mut host.pool, host.now, NIC).unwrap();
    let end = host.now + Duration::from_secs(31);
    host.stack.handle_timeout(&mut host.pool, end);
    assert_eq!((host.drops(DropReason::IpReassemblyTimeout), host.pool.blocks_in_use()), (1, 0));
}

/// Two hosts side by side: what one sends, the other receives.
fn deliver(frames: &[Vec<u8>], to: &mut Host) {
    for frame in frames {
        let mut frame = frame.clone();
        for (mac, address) in [(0, HOST_MAC), (6, PEER_MAC)] {
            frame[mac..mac + 6].copy_from_slice(&address.0);
        }
        to.receive(&frame);
    }
}

#[test]
fn pings_of_every_length_are_answered() {
    for ipv6 in [false, true] {
        let (ours, theirs) = pair(ipv6);
        for len in [0, 1, 1_452, 1_453, 1_472, 1_473, 2_960, 8_000, 65_507] {
            let mut host = Host::with_neighbors();
            let mut request = ip_frame((PEER_MAC, HOST_MAC), theirs, ours, UDP, &udp(0, 0, &vec![7; len]));
            let (at, protocol, kinds) = if ipv6 { (54, ICMPV6, [128, 129]) } else { (34, ICMP, [8, 0]) };
            // The frame of an ICMP message, by way of that of a datagram of the same length.
            request[if ipv6 { 20 } else { 23 }] = protocol;
            request[at..at + 8].copy_from_slice(&[kinds[0], 0, 0, 0, 0, 1, 0, 2]);
            ethertab_sim::mutate::repair_checksums(&mut request);
            fragments(&request, 3, 1_440).iter().for_each(|part| host.receive(part));
            // Another host puts the answer together, and says so.
            let mut other = Host::with_addresses(&["10.0.0.2/24", "fd00::2/64"]);
            let answer = host.take_all();
            let room = if ipv6 { 1_448 } else { 1_480 };
            let parts = if len + 8 <= 1_500 - (at - 14) { 1 } else { (len + 8).div_ceil(room) };
            assert_eq!(answer.len(), parts, "{len}");
            deliver(&answer, &mut other);
            assert_eq!(other.stack.counters().datagrams_reassembled, u64::from(parts > 1));
            assert_eq!(other.drops(DropReason::IcmpChecksum) + other.drops(DropReason::IpFragmentMalformed), 0);
            assert_eq!(other.drops(DropReason::IcmpIgnored), 1, "an answer to what was never asked");
        }
    }
}

#[test]
fn a_long_datagram_waits_for_its_neighbor_as_a_whole() {
    for ipv6 in [false, true] {
        let mut host = Host::new();
        let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
        let meta = ethertab::UdpMeta::to(std::net::SocketAddr::new(pair(ipv6).1, 7));
        host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &[1; 20_000]).unwrap();
        let asked = host.take_all();
        assert_eq!(asked.len(), 1, "who has it?");
        host.stack.add_neighbor(&mut host.pool, NIC, pair(ipv6).1, PEER_MAC).unwrap();
        let sent = host.take_all();
        assert_eq!(sent.len(), 20_008usize.div_ceil(if ipv6 { 1_448 } else { 1_480 }));
        let identification = if ipv6 { 58..62 } else { 18..20 };
        assert!(sent.iter().all(|frame| frame[identification.clone()] == sent[0][identification.clone()]));
        let mut other = Host::with_addresses(&["10.0.0.2/24", "fd00::2/64"]);
        deliver(&sent, &mut other);
        assert_eq!(other.stack.counters().datagrams_reassembled, 1);
        assert_eq!(other.drops(DropReason::UdpNoSocket), 1);
        assert_eq!((host.pool.blocks_in_use(), host.stack.counters().fragments_sent), (0, sent.len() as u64));
    }
}

#[test]
fn fragments_are_as_long_as_the_path_takes() {
    for (ipv6, mtu) in [(false, 1_300), (false, 576), (true, 1_300), (true, 1_280)] {
        let mut host = Host::with_neighbors();
        let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
        let to = pair(ipv6).1;
        host.stack.set_path_mtu(host.now, to, mtu);
        let meta = ethertab::UdpMeta::to(std::net::SocketAddr::new(to, 7));
        host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &[1; 4_000]).unwrap();
        let sent = host.take_all();
        let longest = sent.iter().map(|frame| frame.len() - 14).max().unwrap();
        assert!((mtu as usize - 8..=mtu as usize).contains(&longest), "{longest} of {mtu}");
        // Each datagram has an identification of its own.
        host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &[1; 4_000]).unwrap();
        let again = host.take_all();
        let identification = if ipv6 { 58..62 } else { 18..20 };
        assert_ne!(sent[0][identification.clone()], again[0][identification]);
    }
}
