//! A router between links, whose hosts the test plays frame by frame (RFC 1812, RFC 8200, RFC 4861 §8).

use crate::host::ip;
use ethertab::time::{Duration, Instant};
use ethertab::wire::{Ipv4Header, MacAddr};
use ethertab::{
    Config, DropReason, Forwarding, FrameMeta, InterfaceConfig, InterfaceId, Limits, Pool, ReversePath, Stack,
};
use ethertab_sim::mutate::repair_checksums;
use ethertab_sim::packet::{self, ICMP, ICMPV6, UDP, parse_ip};
use std::net::IpAddr;

pub(crate) fn nic(number: u8) -> InterfaceId {
    InterfaceId(number)
}

/// The router's station on a link.
pub(crate) fn ours(link: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, link])
}

/// A host's station: its number on its link.
pub(crate) fn station(link: u8, host: u8) -> MacAddr {
    MacAddr([2, 0, 0, 1, link, host])
}

/// A host's address.
pub(crate) fn address(is_ipv6: bool, link: u8, host: u8) -> IpAddr {
    if is_ipv6 { ip(&format!("fd0{link}::{host:x}")) } else { ip(&format!("10.{link}.0.{host}")) }
}

/// A router with a link on each interface, on which hosts 2 and 3 are known; its own number is 1.
pub(crate) struct Router {
    pub(crate) stack: Stack<'static>,
    pub(crate) pool: Pool<'static>,
    pub(crate) now: Instant,
}

impl Router {
    pub(crate) fn new(mtus: &[u16]) -> Router {
        let mut stack = Stack::new(Config::new([1, 2]), Limits::default());
        let mut pool = Pool::new(1_024);
        for (link, mtu) in (0..).zip(mtus) {
            let mut config = InterfaceConfig::ethernet(ours(link));
            config.mtu = *mtu;
            stack.add_interface(Instant::ZERO, config).unwrap();
            stack.set_forwarding(nic(link), Forwarding::on()).unwrap();
            for (is_ipv6, length) in [(false, 24), (true, 64)] {
                if is_ipv6 && *mtu < 1_280 {
                    continue;
                }
                let prefix = ethertab::Prefix::new(address(is_ipv6, link, 1), length).unwrap();
                stack.add_address(Instant::ZERO, nic(link), prefix).unwrap();
                for host in [2, 3] {
                    let known = address(is_ipv6, link, host);
                    stack.add_neighbor(&mut pool, nic(link), known, station(link, host)).unwrap();
                }
            }
        }
        let mut router = Router { stack, pool, now: Instant::ZERO };
        router.pass(Duration::from_secs(5));
        router
    }

    pub(crate) fn receive(&mut self, link: u8, frame: &[u8]) {
        self.stack.receive(&mut self.pool, self.now, nic(link), frame, FrameMeta::received(frame.len()));
    }

    /// What leaves on a link now.
    pub(crate) fn take(&mut self, link: u8) -> Vec<Vec<u8>> {
        let mut buf = vec![0; self.stack.frame_capacity(nic(link))];
        std::iter::from_fn(|| {
            let meta = self.stack.transmit(&mut self.pool, self.now, nic(link), &mut buf)?;
            Some(buf[..meta.len].to_vec())
        })
        .collect()
    }

    /// Lets time pass; nobody looks at what leaves meanwhile.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            for link in 0..self.stack.interfaces().count() as u8 {
                self.take(link);
            }
            let Some(due) = self.stack.next_timeout().filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.stack.handle_timeout(&mut self.pool, self.now);
        }
        self.now = end;
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.stack.counters().drops(reason)
    }
}

/// A frame from host 2 of a link, for the router to send on.
pub(crate) fn from_host(link: u8, source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    packet::ip_frame((station(link, 2), ours(link)), source, destination, protocol, payload)
}

/// Sets the hop limit, and the flags and offset of an IPv4 packet.
pub(crate) fn with_header(mut frame: Vec<u8>, hop_limit: u8, flags: u16) -> Vec<u8> {
    if frame[14] >> 4 == 4 {
        frame[14 + 8] = hop_limit;
        frame[14 + 6..14 + 8].copy_from_slice(&flags.to_be_bytes());
        repair_checksums(&mut frame);
    } else {
        frame[14 + 7] = hop_limit;
    }
    frame
}

/// ICMP's type, code and the rest of the header, and what it quotes, of the only frame that leaves; and to whom.
pub(crate) fn only_error(frames: &[Vec<u8>]) -> (IpAddr, u8, u8, u32, Vec<u8>) {
    assert_eq!(frames.len(), 1, "{frames:x?}");
    let (_, to, protocol, message) = parse_ip(&frames[0]).expect("an IP packet");
    assert!(protocol == ICMP || protocol == ICMPV6);
    let rest = u32::from_be_bytes([message[4], message[5], message[6], message[7]]);
    (to, message[0], message[1], rest, message[8..].to_vec())
}

#[test]
fn packets_go_on_with_one_hop_less_and_nothing_else_changed() {
    for is_ipv6 in [false, true] {
        let mut router = Router::new(&[1_500, 1_500]);
        let (from, to) = (address(is_ipv6, 0, 2), address(is_ipv6, 1, 3));
        for (hops, len) in [(64, 0), (2, 1), (255, 1_400)] {
            let frame = from_host(0, from, to, UDP, &packet::udp(5_000, 7, &vec![7; len]));
            let frame = with_header(frame, hops, 0x4000);
            router.receive(0, &frame);
            let sent = router.take(1);
            let mut expected = with_header(frame, hops - 1, 0x4000);
            expected[..6].copy_from_slice(&station(1, 3).0);
            expected[6..12].copy_from_slice(&ours(1).0);
            assert_eq!(sent, [expected], "the checksum too");
            assert!(router.take(0).is_empty());
        }
        assert_eq!(router.stack.counters().forwarded, 3);
        assert_eq!(router.pool.blocks_in_use(), 0);
    }
}

#[test]
fn who_does_not_forward_counts_what_is_not_for_it() {
    for is_ipv6 in [false, true] {
        let mut router = Router::new(&[1_500, 1_500]);
        let frame = from_host(0, address(is_ipv6, 0, 2), address(is_ipv6, 1, 2), UDP, &packet::udp(1, 2, b"data"));
        router.stack.set_forwarding(nic(1), Forwarding::default()).unwrap();
        router.receive(0, &frame);
        let (_, kind, code, ..) = only_error(&router.take(0));
        assert_eq!((kind, code), if is_ipv6 { (1, 1) } else { (3, 13) }, "administratively prohibited");
        assert_eq!(router.drops(DropReason::ForwardProhibited), 1);
        router.stack.set_forwarding(nic(0), Forwarding::default()).unwrap();
        router.receive(0, &frame);
        assert_eq!(router.drops(DropReason::IpNotForUs), 1);
        assert!(router.take(0).is_empty() && router.take(1).is_empty());
    }
}

#[test]
fn the_last_hop_is_told_to_the_sender() {
    for is_ipv6 in [false, true] {
        for hops in [0, 1] {
            let mut router = Router::new(&[1_500, 1_500]);
            let (from, to) = (address(is_ipv6, 0, 2), address(is_ipv6, 1, 3));
            let frame = with_header(from_host(0, from, to, UDP, &packet::udp(5_000, 7, b"data")), hops, 0);
            router.receive(0, &frame);
            assert!(router.take(1).is_empty());
            let (told, kind, code, _, quoted) = only_error(&router.take(0));
            assert_eq!((told, kind, code), (from, if is_ipv6 { 3 } else { 11 }, 0));
            assert_eq!(quoted, frame[14..], "as it was received");
            assert_eq!(router.drops(DropReason::HopLimitExceeded), 1);
        }
    }
}

#[test]
fn n3_no_error_is_about_an_error_or_a_later_fragment() {
    for is_ipv6 in [false, true] {
        let mut router = Router::new(&[1_500, 1_500]);
        let (from, to) = (address(is_ipv6, 0, 2), address(is_ipv6, 1, 3));
        let (protocol, kind) = if is_ipv6 { (ICMPV6, 1) } else { (ICMP, 3) };
        let error = from_host(0, from, to, protocol, &packet::icmp(kind, 3, 0, &[0x45; 40]));
        router.receive(0, &with_header(error, 1, 0));
        if !is_ipv6 {
            let fragment = from_host(0, from, to, UDP, &[0; 64]);
            router.receive(0, &with_header(fragment, 1, 0x0010));
        }
        assert!(router.take(0).is_empty());
        assert_eq!(router.drops(DropReason::HopLimitExceeded), if is_ipv6 { 1 } else { 2 });
        // An echo request is no error.
        let echo = from_host(0, from, to, protocol, &packet::icmp(if is_ipv6 { 128 } else { 8 }, 0, 7, b"data"));
        router.receive(0, &with_header(echo, 1, 0));
        only_error(&router.take(0));
    }
}

#[test]
fn without_a_route_the_network_and_without_an_answer_the_host_is_unreachable() {
    for is_ipv6 in [false, true] {
        let mut router = Router::new(&[1_500, 1_500]);
        let from = address(is_ipv6, 0, 2);
        let nowhere = if is_ipv6 { ip("2001:db8::1") } else { ip("192.0.2.1") };
        router.receive(0, &from_host(0, from, nowhere, UDP, &packet::udp(5_000, 7, b"data")));
        let (told, kind, code, ..) = only_error(&router.take(0));
        assert_eq!((told, kind, code), (from, if is_ipv6 { 1 } else { 3 }, 0));
        let silent = address(is_ipv6, 1, 9);
        let frame = from_host(0, from, silent, UDP, &packet::udp(5_000, 7, &[7; 100]));
        router.receive(0, &frame);
        assert_eq!(router.take(1).len(), 1, "it is asked for");
        router.now += Duration::from_millis(999);
        while router.take(0).is_empty() {
            router.now = router.stack.next_timeout().expect("an answer is waited for");
            router.stack.handle_timeout(&mut router.pool, router.now);
            router.take(1);
            assert!(router.now < Instant::from_secs(20));
            if router.drops(DropReason::NeighborUnreachable) > 0 {
                break;
            }
        }
        let (told, kind, code, _, quoted) = only_error(&router.take(0));
        assert_eq!((told, kind, code), (from, if is_ipv6 { 1 } else { 3 }, if is_ipv6 { 3 } else { 1 }));
        assert_eq!(quoted[40..], with_header(frame, 63, 0x4000)[54..], "but for the hop that was taken off");
        assert_eq!(router.pool.blocks_in_use(), 0);
    }
}

#[test]
fn packets_that_are_too_big_are_reported_with_the_mtu_that_they_must_fit() {
    for is_ipv6 in [false, true] {
        let mut router = Router::new(&[9_000, 1_400]);
        let (from, to) = (address(is_ipv6, 0, 2), address(is_ipv6, 1, 3));
        let headers = if is_ipv6 { 48 } else { 28 };
        for (len, fits) in [(1_400, true), (1_401, false)] {
            let frame = from_host(0, from, to, UDP, &packet::udp(5_000, 7, &vec![7; len - headers]));
            router.receive(0, &frame);
            assert_eq!(router.take(1).len(), usize::from(fits));
        }
        let (told, kind, code, mtu, _) = only_error(&router.take(0));
        assert_eq!((told, kind, code, mtu), if is_ipv6 { (from, 2, 0, 1_400) } else { (from, 3, 4, 1_400) });
        assert_eq!(router.drops(DropReason::PacketTooBig), 1);
    }
}

/// RFC 791 §3.2, also of what is a fragment already, and with options of which only some are copied.
#[test]
fn ipv4_packets_that_may_be_are_fragmented() {
    for (options, copied) in [(&[][..], &[][..]), (&[7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0], &[0x94, 4, 0, 0])] {
        for first_offset in [0u16, 100] {
            let mut router = Router::new(&[1_500, 600]);
            let data: Vec<u8> = (0..1_203u32).map(|at| (at * 7) as u8).collect();
            // A protocol without a checksum that could be repaired.
            let mut frame = from_host(0, address(false, 0, 2), address(false, 1, 3), 253, &data);
            frame.splice(34..34, options.iter().copied());
            frame[14] = 0x45 + (options.len() / 4) as u8;
            let total = (20 + options.len() + data.len()) as u16;
            frame[16..18].copy_from_slice(&total.to_be_bytes());
            frame[18..20].copy_from_slice(&0xabcdu16.to_be_bytes());
            let flags = if first_offset == 0 { 0 } else { 0x2000 | first_offset };
            let frame = with_header(frame, 64, flags);
            router.receive(0, &frame);
            let mut at = usize::from(first_offset) * 8;
            let mut together: Vec<u8> = Vec::new();
            let sent = router.take(1);
            assert_eq!(sent.len(), 3);
            for (number, fragment) in sent.iter().enumerate() {
                let (header, payload) = Ipv4Header::parse(&fragment[14..]).expect("a header with its checksum");
                assert_eq!((header.identification, header.ttl, header.total_len <= 600), (0xabcd, 63, true));
                assert_eq!(usize::from(header.fragment_offset), at);
                assert_eq!(header.more_fragments, number < 2 || first_offset > 0);
                let expected = if number == 0 { options } else { copied };
                assert_eq!(&fragment[34..14 + header.header_len], expected);
                at += payload.len();
                together.extend(payload);
            }
            assert!(together == data);
        }
    }
}

#[test]
fn n6_what_must_not_be_forwarded_is_not() {
    let cases = [
        ("10.0.0.2", "169.254.7.7", DropReason::ForwardScope),
        ("169.254.7.7", "10.1.0.3", DropReason::ForwardScope),
        ("10.0.0.2", "240.0.0.1", DropReason::ForwardScope),
        ("10.0.0.2", "224.0.1.7", DropReason::ForwardScope),
        ("127.0.0.1", "10.1.0.3", DropReason::IpMartian),
        ("0.0.0.0", "10.1.0.3", DropReason::IpMartian),
        ("10.0.0.255", "10.1.0.3", DropReason::IpMartian),
        ("240.0.0.1", "10.1.0.3", DropReason::IpMartian),
        ("10.1.0.3", "10.1.0.2", DropReason::ReversePath),
        ("192.0.2.1", "10.1.0.3", DropReason::ReversePath),
        ("fd00::2", "fe80::7", DropReason::ForwardScope),
        ("fe80::7", "fd01::3", DropReason::ForwardScope),
        ("fd00::2", "ff0e::7", DropReason::ForwardScope),
        ("::1", "fd01::3", DropReason::IpMartian),
        ("fd01::3", "fd01::2", DropReason::ReversePath),
    ];
    for (source, destination, reason) in cases {
        let mut router = Router::new(&[1_500, 1_500]);
        router.stack.add_neighbor(&mut router.pool, nic(0), ip("fe80::7"), station(0, 2)).unwrap();
        router.receive(0, &from_host(0, ip(source), ip(destination), UDP, &packet::udp(1, 7, b"data")));
        assert_eq!(router.drops(reason), 1, "{source} to {destination}: {:?}", router.stack.counters());
        assert!(router.take(1).is_empty());
        let told = router.take(0);
        // RFC 4443 §3.1 code 2.
        assert_eq!(told.len(), usize::from(source == "fe80::7"), "{source} to {destination}");
        if let [told] = &told[..] {
            assert_eq!(parse_ip(told).map(|(.., message)| (message[0], message[1])), Some((1, 2)));
        }
    }
    // A frame to a group is no reason to forward what is in it (RFC 1812 §5.3.4).
    let mut router = Router::new(&[1_500, 1_500]);
    let mut frame = from_host(0, ip("10.0.0.2"), ip("10.1.0.3"), UDP, &packet::udp(1, 7, b"data"));
    frame[..6].fill(0xff);
    router.receive(0, &frame);
    assert!(router.take(1).is_empty());
    assert_eq!(router.drops(DropReason::IpNotForUs), 1);
}

/// RFC 3704 §2.2 to §2.4.
#[test]
fn the_check_of_sources_is_as_strict_as_said() {
    for (check, strange, known) in
        [(ReversePath::Off, true, true), (ReversePath::Loose, false, true), (ReversePath::Strict, false, false)]
    {
        let mut router = Router::new(&[1_500, 1_500]);
        let mut forwarding = Forwarding::on();
        forwarding.reverse_path = check;
        router.stack.set_forwarding(nic(0), forwarding).unwrap();
        for (source, passes) in [("192.0.2.1", strange), ("10.1.0.9", known), ("10.0.0.2", true)] {
            router.receive(0, &from_host(0, ip(source), ip("10.1.0.3"), UDP, &packet::udp(1, 7, b"data")));
            assert_eq!(router.take(1).len(), usize::from(passes), "{check:?} of {source}");
        }
    }
}

/// RFC 7126 §4.3 and §4.4: whoever wants to say by which way a packet goes is refused by those that it passes, too.
#[test]
fn n6_source_routes_do_not_pass_and_malformed_options_are_reported() {
    for (options, passes, is_reported) in [
        (&[1, 1, 1, 0][..], true, false),
        (&[148, 4, 0, 0], true, false),
        (&[131, 3, 4, 0], false, false),
        (&[137, 3, 4, 0], false, false),
        (&[7, 1, 0, 0], false, true),
    ] {
        let mut router = Router::new(&[1_500, 1_500]);
        let mut frame = from_host(0, ip("10.0.0.2"), ip("10.1.0.2"), UDP, &packet::udp(1, 7, b"data"));
        frame.splice(34..34, options.iter().copied());
        frame[14] += 1;
        frame[17] += 4;
        repair_checksums(&mut frame);
        router.receive(0, &frame);
        assert_eq!(router.take(1).len(), usize::from(passes), "{options:?}");
        let told = router.take(0);
        assert_eq!(told.len(), usize::from(is_reported), "{options:?}");
        if is_reported {
            let (to, kind, code, pointer, _) = only_error(&told);
            assert_eq!((to, kind, code, pointer), (ip("10.0.0.2"), 12, 0, 21 << 24));
        }
    }
}

/// RFC 1812 §5.2.7.2, RFC 4861 §8.2.
#[test]
fn hosts_are_redirected_to_who_is_nearer_and_not_too_often() {
    for is_ipv6 in [false, true] {
        let mut router = Router::new(&[1_500]);
        let from = address(is_ipv6, 0, 2);
        let (network, away, gateway) = match is_ipv6 {
            true => ("2001:db8::/32", "2001:db8::1", ip("fe80::3")),
            false => ("192.0.2.0/24", "192.0.2.1", address(false, 0, 3)),
        };
        router.stack.add_neighbor(&mut router.pool, nic(0), gateway, station(0, 3)).unwrap();
        router.stack.add_route_on(nic(0), network.parse().unwrap(), gateway).unwrap();
        let frame = from_host(0, from, ip(away), UDP, &packet::udp(5_000, 7, b"data"));
        for (wait, redirected) in [(0, true), (500, false), (600, true)] {
            router.now += Duration::from_millis(wait);
            router.receive(0, &frame);
            let sent = router.take(0);
            assert_eq!(sent.len(), 1 + usize::from(redirected), "it is forwarded all the same");
            let redirects: Vec<_> =
                sent.iter().filter_map(|frame| parse_ip(frame)).filter(|(_, to, ..)| *to == from).collect();
            if let [(source, _, _, message)] = redirects[..] {
                let told = match is_ipv6 {
                    true => {
                        assert!(matches!(source, IpAddr::V6(source) if source.is_unicast_link_local()));
                        (message[0], message[1], &message[8..24])
                    }
                    false => (message[0], message[1], &message[4..8]),
                };
                let octets = match gateway {
                    IpAddr::V4(gateway) => gateway.octets().to_vec(),
                    IpAddr::V6(gateway) => gateway.octets().to_vec(),
                };
                assert_eq!(told, (if is_ipv6 { 137 } else { 5 }, u8::from(!is_ipv6), &octets[..]));
            }
        }
    }
}

/// S4: a queue that nobody empties is bounded, and the router's own packets get through.
#[test]
fn s4_a_flood_of_packets_to_forward_fills_its_queue_and_no_more() {
    let mut router = Router::new(&[1_500, 1_500]);
    let frame = from_host(0, ip("10.0.0.2"), ip("10.1.0.3"), UDP, &packet::udp(1, 7, &[7; 1_400]));
    for _ in 0..2_000 {
        router.receive(0, &frame);
    }
    assert!(router.drops(DropReason::ForwardQueueFull) > 1_000);
    assert!(router.pool.blocks_in_use() <= 260, "{}", router.pool.blocks_in_use());
    let ping = from_host(1, ip("10.1.0.2"), ip("10.1.0.1"), ICMP, &packet::icmp(8, 0, 7, b"data"));
    router.receive(1, &ping);
    let sent = router.take(1);
    let answer = sent.iter().position(|frame| parse_ip(frame).is_some_and(|(_, to, ..)| to == ip("10.1.0.2")));
    assert!(answer.is_some_and(|place| place < 2), "{answer:?}");
    assert_eq!(router.pool.blocks_in_use(), 0);
}

/// RFC 4291 §2.5.5.2: an IPv4-mapped address is no packet's; the way of the IPv4 packets that it looks like is not its own.
#[test]
fn packets_with_mapped_addresses_do_not_take_the_way_of_ipv4() {
    let mut router = Router::new(&[1_500, 576]);
    let (from, to) = (address(false, 0, 2), address(false, 1, 3));
    router.receive(0, &from_host(0, from, to, UDP, &packet::udp(5_000, 7, b"data")));
    assert_eq!(router.take(1).len(), 1);
    let mapped = |address| match address {
        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
        IpAddr::V6(_) => unreachable!("IPv4"),
    };
    for len in [4, 1_000] {
        router.receive(0, &from_host(0, mapped(from), mapped(to), UDP, &packet::udp(5_000, 7, &vec![0; len])));
        assert_eq!((router.take(0), router.take(1)), (vec![], vec![]));
    }
    assert_eq!(router.drops(DropReason::IpMartian), 2);
}

/// What goes to clients behind another router passes one whose interface has no address, too.
#[test]
fn datagrams_to_clients_of_dhcp_pass_an_interface_without_an_address() {
    let mut router = Router::new(&[1_500, 1_500]);
    let (from, to) = (address(false, 0, 2), address(false, 1, 3));
    router.stack.remove_address(nic(0), address(false, 0, 1)).unwrap();
    let mut forwarding = Forwarding::on();
    forwarding.reverse_path = ReversePath::Off;
    router.stack.set_forwarding(nic(0), forwarding).unwrap();
    for port in [67, 68, 69] {
        router.receive(0, &from_host(0, from, to, UDP, &packet::udp(67, port, b"renewed")));
        assert_eq!(router.take(1).len(), 1, "{port}");
    }
}
