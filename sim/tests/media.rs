//! What interfaces there are besides Ethernet ports with the usual MTU: IP packets without a link header, VLANs (IEEE 802.1Q), the loopback
//! interface, and MTUs from 576 to 65,535 bytes (RFC 791 §3.2, RFC 8200 §5).

use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    BindError, Config, ConfigError, ConnectError, ConnectOptions, DropReason, Endpoint, FrameMeta, InterfaceConfig,
    InterfaceId, Limits, PingOutcome, Pool, Stack, UdpMeta, UdpSendError,
};
use ethertab_sim::apps::Plan;
use ethertab_sim::packet::{self, ICMP, ICMPV6, UDP, parse_ip, udp};
use ethertab_sim::world::HostOptions;
use ethertab_sim::{HostId, Impairment, World};
use std::net::IpAddr;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn with_mtu(mut config: InterfaceConfig, mtu: u16) -> InterfaceConfig {
    config.mtu = mtu;
    config
}

/// Transfers this much both ways.
fn transfer(world: &mut World, from: HostId, to: HostId, remote: &str, bytes: u64) {
    let server = world.serve(to, 80, Plan { send: bytes, pattern: 2, ..Plan::receive() }).unwrap();
    let client = world.connect(from, remote, Plan { expect: Some(2), ..Plan::send(bytes) }).unwrap();
    let over = world.run_until_true(Duration::from_secs(600), |world| {
        let accepted = world.accepted(server).first();
        accepted.is_some_and(|end| world.conversation(*end).is_over()) && world.conversation(client).is_over()
    });
    assert!(over, "{world}");
    let accepted = world.conversation(world.accepted(server)[0]).clone();
    assert!(world.conversation(client).went_well() && accepted.went_well(), "{world}");
    assert_eq!((accepted.received, world.conversation(client).received), (bytes, bytes), "{world}");
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.network().pool().blocks_in_use(), 0, "{world}");
}

/// How a ping ends.
fn ping(world: &mut World, host: HostId, to: &str, len: usize) -> Option<PingOutcome> {
    let now = world.now();
    let (stack, pool) = world.stack_mut(host).unwrap();
    let handle = stack.ping(pool, now, ip(to), len, Duration::from_secs(2)).unwrap();
    world.run_for(Duration::from_secs(3));
    world.stack_mut(host).unwrap().0.ping_result(handle)
}

/// A host without any interface.
fn bare_host(world: &mut World, name: &str) -> HostId {
    let seed = world.now().as_micros() + name.len() as u64;
    let stack = Stack::new(Config::new([seed, u64::from(name.as_bytes()[0])]), Limits::small());
    world.network_mut().add_host(name, stack)
}

/// Two hosts joined by IP interfaces.
fn tunnel(seed: u64, mtu: u16, impairment: Impairment) -> (World, HostId, HostId) {
    let mut world = World::new(seed);
    let (a, b) = (bare_host(&mut world, "a"), bare_host(&mut world, "b"));
    let config = with_mtu(InterfaceConfig::ip(), mtu);
    world.interface(a, config, &["10.8.0.1/24", "fd08::1/64"]).unwrap();
    world.interface(b, config, &["10.8.0.2/24", "fd08::2/64"]).unwrap();
    world.cable(a, b, impairment).unwrap();
    (world, a, b)
}

#[test]
fn ip_packets_without_a_link_header_carry_everything_and_nobody_is_asked_for() {
    for remote in ["10.8.0.2:80", "[fd08::2]:80"] {
        for impairment in
            [Impairment::PERFECT, Impairment { loss: 0.02, ..Impairment::latency(Duration::from_millis(5)) }]
        {
            let (mut world, a, b) = tunnel(1, 1_500, impairment);
            let capture = world.capture(&[a]).unwrap();
            transfer(&mut world, a, b, remote, 200_000);
            let packets: Vec<_> = world.network().capture(capture).unwrap().packets().collect();
            assert!(packets.iter().all(|packet| matches!(packet.bytes[0] >> 4, 4 | 6)), "no link header, no ARP");
            assert!(packets.iter().any(|packet| packet.bytes.len() == 1_500));
            let asked = packets.iter().filter(|packet| packet.bytes[0] >> 4 == 6 && packet.bytes[40] == 135);
            assert_eq!(asked.count(), 0, "no neighbour discovery");
            assert_eq!(world.stack(a).unwrap().neighbors().count(), 0);
        }
    }
    let (mut world, a, _) = tunnel(2, 1_500, Impairment::PERFECT);
    for (to, len) in [("10.8.0.2", 0), ("fd08::2", 0), ("10.8.0.2", 65_507), ("fd08::2", 65_507)] {
        let outcome = ping(&mut world, a, to, len);
        assert!(matches!(outcome, Some(PingOutcome::Reply { len: back, .. }) if back == len), "{to}: {outcome:?}");
    }
}

#[test]
fn what_is_no_ip_packet_is_dropped_by_an_ip_interface() {
    let mut stack = Stack::new(Config::new([1, 2]), Limits::small());
    let mut pool = Pool::new(16);
    let nic = stack.add_interface(Instant::ZERO, InterfaceConfig::ip()).unwrap();
    stack.add_address(Instant::ZERO, nic, "10.8.0.1/24".parse().unwrap()).unwrap();
    let frame = packet::arp(1, (PEER_MAC, [10, 8, 0, 2]), (MAC, [10, 8, 0, 1]));
    for bytes in [&[][..], &[0x50; 40], &frame] {
        stack.receive(&mut pool, Instant::ZERO, nic, bytes, FrameMeta::received(bytes.len()));
    }
    assert_eq!(stack.counters().drops(DropReason::FrameMalformed), 3);
    // The link-local address is stable, and of this interface and stack alone (RFC 7217).
    let own = |seed, count: u8| {
        let mut stack = Stack::new(Config::new([seed, 2]), Limits::small());
        (0..count).for_each(|_| assert!(stack.add_interface(Instant::ZERO, InterfaceConfig::ip()).is_ok()));
        stack.addresses().map(|entry| entry.prefix.address).collect::<Vec<_>>()
    };
    assert_eq!(own(1, 2), own(1, 2));
    let all: std::collections::HashSet<_> = own(1, 2).into_iter().chain(own(3, 1)).collect();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|address| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())));
}

/// A host with the loopback interface and an Ethernet interface without a cable.
fn looped(seed: u64) -> (World, HostId) {
    let mut world = World::new(seed);
    let host = world.host("host", &["10.0.0.1/24", "fd00::1/64"]).unwrap();
    world.interface(host, InterfaceConfig::loopback(), &[]).unwrap();
    world.run_for(Duration::from_secs(5));
    (world, host)
}

#[test]
fn a_host_talks_to_itself_and_no_frame_leaves_it() {
    for remote in ["127.0.0.1:80", "127.1.2.3:80", "[::1]:80", "10.0.0.1:80", "[fd00::1]:80"] {
        let (mut world, host) = looped(3);
        let before = world.stack(host).unwrap().counters().clone();
        transfer(&mut world, host, host, remote, 1_000_000);
        let counters = world.stack(host).unwrap().counters();
        assert_eq!((counters.frames_sent, counters.frames_received), (before.frames_sent, before.frames_received));
        // Segments fill the largest packets: fewer than one for each 10 KB, acknowledgments among them.
        assert!((32..200).contains(&counters.packets_looped), "{remote}: {}", counters.packets_looped);
        assert_eq!(counters.drops_by_reason().map(|(_, count)| count).sum::<u64>(), 0);
    }
}

#[test]
fn pings_and_datagrams_of_every_length_come_back() {
    let (mut world, host) = looped(4);
    for to in ["127.0.0.1", "127.255.255.254", "::1", "10.0.0.1", "fd00::1"] {
        for len in [0, 1, 1_472, 65_507] {
            let outcome = ping(&mut world, host, to, len);
            assert!(matches!(outcome, Some(PingOutcome::Reply { len: back, .. }) if back == len), "{to}: {outcome:?}");
        }
        let now = world.now();
        let (stack, pool) = world.stack_mut(host).unwrap();
        let (server, client) = (stack.bind_udp(Endpoint::any(7)).unwrap(), stack.bind_udp(Endpoint::any(8)).unwrap());
        let longest = vec![7; if ip(to).is_ipv4() { 65_507 } else { 65_527 }];
        let meta = UdpMeta::to((ip(to), 7).into());
        stack.udp_send(pool, now, client, &meta, &longest).unwrap();
        world.settle();
        let (stack, pool) = world.stack_mut(host).unwrap();
        let mut out = vec![0; 65_535];
        let (len, meta) = stack.udp_recv(pool, server, &mut out).expect("a datagram");
        assert_eq!((&out[..len], meta.local), (&longest[..], Some(ip(to))));
        stack.udp_close(pool, server);
        // An answer to what nobody listens to comes back, too.
        let refused = UdpMeta::to((ip(to), 9).into());
        stack.udp_send(pool, now, client, &refused, b"anybody?").unwrap();
        world.settle();
        let (stack, pool) = world.stack_mut(host).unwrap();
        assert!(stack.udp_error(pool, client, &mut []).is_some(), "{to}");
        stack.udp_close(pool, client);
        assert_eq!(stack.blocks_in_use(), 0);
    }
}

/// RFC 1122 §3.2.1.3 (g): loopback addresses never appear outside a host.
#[test]
fn n6_loopback_addresses_neither_leave_nor_enter() {
    let (mut world, host) = looped(5);
    let now = world.now();
    let (stack, pool) = world.stack_mut(host).unwrap();
    let nic = InterfaceId(0);
    stack.add_route("0.0.0.0/0".parse().unwrap(), ip("10.0.0.2")).unwrap();
    stack.add_neighbor(pool, nic, ip("10.0.0.2"), PEER_MAC).unwrap();
    let socket = stack.bind_udp(Endpoint::any(7)).unwrap();
    // What has passed on the inside, twice, is still refused from outside.
    for _ in 0..2 {
        stack.udp_send(pool, now, socket, &UdpMeta::to("127.0.0.1:7".parse().unwrap()), b"mine").unwrap();
        stack.handle_timeout(pool, now);
        assert!(stack.udp_recv(pool, socket, &mut [0; 9]).is_some());
        for (source, destination) in [("127.0.0.1", "127.0.0.1"), ("10.0.0.2", "127.0.0.1"), ("10.0.0.1", "10.0.0.1")] {
            let macs = (PEER_MAC, MacAddr([2, 0, 0, 0, 0, 1]));
            let frame = packet::ip_frame(macs, ip(source), ip(destination), UDP, &udp(7, 7, b"forged"));
            let before = stack.counters().drops(DropReason::IpMartian);
            stack.receive(pool, now, nic, &frame, FrameMeta::received(frame.len()));
            assert_eq!(stack.counters().drops(DropReason::IpMartian), before + 1, "{source} to {destination}");
        }
        assert!(stack.udp_recv(pool, socket, &mut [0; 9]).is_none());
    }
    // Nothing is given to it from outside, and nothing taken.
    let frame = [0x45; 40];
    stack.receive(pool, now, InterfaceId(1), &frame, FrameMeta::received(40));
    assert_eq!(stack.counters().drops(DropReason::NoInterface), 1);
    stack.udp_send(pool, now, socket, &UdpMeta::to("127.0.0.1:7".parse().unwrap()), b"mine").unwrap();
    let mut buf = vec![0; 70_000];
    assert!(!stack.wants_transmit(InterfaceId(1)) && stack.transmit(pool, now, InterfaceId(1), &mut buf).is_none());
    // Without the interface there is no way to them.
    stack.remove_interface(pool, now, InterfaceId(1)).unwrap();
    for to in ["127.0.0.1:7", "[::1]:7", "10.0.0.1:7"] {
        let to = to.parse().unwrap();
        let sent = stack.udp_send(pool, now, socket, &UdpMeta::to(to), b"mine");
        assert_eq!(sent, Err(UdpSendError::BadAddress(to)));
        assert_eq!(stack.connect(now, to, ConnectOptions::default()), Err(ConnectError::BadAddress(to)));
    }
    let local = Endpoint { address: Some(ip("127.0.0.1")), port: 1 };
    assert_eq!(stack.bind_udp(local), Err(BindError::AddressNotAvailable(ip("127.0.0.1"))));
    assert_eq!(stack.next_timeout().filter(|due| *due <= now), None);
}

/// S4: each call passes a bounded number of packets, whatever waits.
#[test]
fn s4_a_call_loops_a_bounded_number_of_packets() {
    let (mut world, host) = looped(6);
    let now = world.now();
    let (stack, pool) = world.stack_mut(host).unwrap();
    let socket = stack.bind_udp(Endpoint::any(7)).unwrap();
    for _ in 0..200 {
        stack.udp_send(pool, now, socket, &UdpMeta::to("127.0.0.1:7".parse().unwrap()), b"more").unwrap();
    }
    let mut received = 0;
    for calls in 1.. {
        stack.handle_timeout(pool, now);
        while stack.udp_recv(pool, socket, &mut [0; 9]).is_some() {
            received += 1;
        }
        if received == 200 {
            assert!(calls >= 4, "{calls}");
            break;
        }
        assert_eq!(stack.next_timeout(), Some(now), "there is more");
    }
    assert_eq!(stack.counters().packets_looped, 200);
    assert_eq!(
        stack.add_interface(now, InterfaceConfig::loopback()),
        Err(ConfigError::Exists("127.0.0.1/8".parse().unwrap())),
        "one is enough"
    );
    assert_eq!(stack.interfaces().count(), 2);
}

/// A host with VLANs 5 and 7 on its only port, whose frames the test sees.
struct Tagged {
    stack: Stack<'static>,
    pool: Pool<'static>,
}

impl Tagged {
    fn new() -> Tagged {
        let mut stack = Stack::new(Config::new([1, 2]), Limits::small());
        let nic = stack.add_interface(Instant::ZERO, InterfaceConfig::ethernet(MAC)).unwrap();
        stack.add_address(Instant::ZERO, nic, "10.0.0.1/24".parse().unwrap()).unwrap();
        for (id, address, address_v6) in [(5, "10.5.0.1/24", "fd05::1/64"), (7, "10.7.0.1/24", "fd07::1/64")] {
            let vlan = stack.add_interface(Instant::ZERO, InterfaceConfig::vlan(nic, id)).unwrap();
            stack.add_address(Instant::ZERO, vlan, address.parse().unwrap()).unwrap();
            stack.add_address(Instant::ZERO, vlan, address_v6.parse().unwrap()).unwrap();
        }
        let mut host = Tagged { stack, pool: Pool::new(64) };
        host.take();
        host
    }

    fn receive(&mut self, frame: &[u8]) {
        let meta = FrameMeta::received(frame.len());
        self.stack.receive(&mut self.pool, Instant::ZERO, InterfaceId(0), frame, meta);
    }

    /// What the host sends: the VLAN's id, if there is a tag, and the frame without it.
    fn take(&mut self) -> Vec<(Option<u16>, Vec<u8>)> {
        let mut buf = vec![0; self.stack.frame_capacity(InterfaceId(0))];
        let mut frames = Vec::new();
        while let Some(meta) = self.stack.transmit(&mut self.pool, Instant::ZERO, InterfaceId(0), &mut buf) {
            let frame = &buf[..meta.len];
            frames.push(match frame[12..14] {
                [0x81, 0] => {
                    let id = u16::from_be_bytes([frame[14], frame[15]]);
                    (Some(id), [&frame[..12], &frame[16..]].concat())
                }
                _ => (None, frame.to_vec()),
            });
        }
        frames
    }
}

/// The frame with this tag control information (IEEE 802.1Q §9.6).
fn tag(frame: &[u8], tci: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0], &tci.to_be_bytes(), &frame[12..]].concat()
}

#[test]
fn vlans_on_one_port_are_links_of_their_own() {
    for ipv6 in [false, true] {
        let mut host = Tagged::new();
        for (id, index) in [(5, 1), (7, 2)] {
            let (ours, theirs) = match ipv6 {
                true => (ip(&format!("fd0{id}::1")), ip(&format!("fd0{id}::2"))),
                false => (ip(&format!("10.{id}.0.1")), ip(&format!("10.{id}.0.2"))),
            };
            let (protocol, kind) = if ipv6 { (ICMPV6, 128) } else { (ICMP, 8) };
            let echo = packet::icmp(kind, 0, 1, b"are you there");
            let frame = packet::ip_frame((PEER_MAC, MAC), theirs, ours, protocol, &echo);
            // The priority means nothing to a host.
            host.receive(&tag(&frame, 0xf000 | id));
            let asked = host.take();
            assert_eq!(asked.len(), 1);
            assert_eq!(asked[0].0, Some(id), "it asks in the VLAN that the request came from");
            host.stack.add_neighbor(&mut host.pool, InterfaceId(index), theirs, PEER_MAC).unwrap();
            let answer = host.take();
            assert_eq!(answer.len(), 1);
            assert_eq!(answer[0].0, Some(id));
            let (source, destination, ..) = parse_ip(&answer[0].1).unwrap();
            assert_eq!((source, destination), (ours, theirs));
        }
        let unknown =
            packet::ip_frame((PEER_MAC, MAC), ip("10.0.0.2"), ip("10.0.0.1"), ICMP, &[8, 0, 0, 0, 0, 0, 0, 0]);
        for (tci, reason) in [(6, DropReason::VlanUnknown), (0x0fff, DropReason::FrameMalformed)] {
            host.receive(&tag(&unknown, tci));
            assert_eq!(host.stack.counters().drops(reason), 1);
        }
        host.receive(&tag(&unknown, 6)[..15]);
        assert_eq!(host.stack.counters().drops(DropReason::FrameMalformed), 2);
        // A tag within a tag (IEEE 802.1ad) is not for a host.
        host.receive(&tag(&tag(&unknown, 5), 5));
        assert_eq!(host.stack.counters().drops(DropReason::EtherTypeUnknown), 1);
        assert!(host.take().is_empty());
        // A tag that has the priority only counts as none.
        host.receive(&tag(&unknown, 0xa000));
        host.stack.add_neighbor(&mut host.pool, InterfaceId(0), ip("10.0.0.2"), PEER_MAC).unwrap();
        assert!(host.take().iter().all(|(id, _)| id.is_none()));
    }
}

#[test]
fn what_cannot_be_a_vlan_is_refused_and_a_parent_takes_its_vlans_along() {
    let mut host = Tagged::new();
    let (stack, pool) = (&mut host.stack, &mut host.pool);
    let now = Instant::ZERO;
    for id in [0, 4_095, 5] {
        let refused = stack.add_interface(now, InterfaceConfig::vlan(InterfaceId(0), id));
        assert_eq!(refused, Err(ConfigError::BadVlanId(id)));
    }
    for parent in [InterfaceId(1), InterfaceId(9)] {
        let refused = stack.add_interface(now, InterfaceConfig::vlan(parent, 9));
        assert_eq!(refused, Err(ConfigError::NoSuchInterface(parent)));
    }
    assert_eq!(stack.frame_capacity(InterfaceId(0)), 1_518);
    stack.remove_interface(pool, now, InterfaceId(2)).unwrap();
    assert_eq!(stack.frame_capacity(InterfaceId(0)), 1_518);
    stack.remove_interface(pool, now, InterfaceId(0)).unwrap();
    assert_eq!((stack.interfaces().count(), stack.addresses().count(), stack.routes().count()), (0, 0, 0));
    let nic = stack.add_interface(now, InterfaceConfig::ethernet(MAC)).unwrap();
    assert_eq!(stack.frame_capacity(nic), 1_514);
}

#[test]
fn bulk_data_in_two_vlans_at_once_shares_the_port() {
    let mut world = World::new(8);
    let a = world.host("a", &[]).unwrap();
    let b = world.host("b", &[]).unwrap();
    world.cable(a, b, Impairment { rate: Some(50_000_000), ..Impairment::latency(Duration::from_millis(2)) }).unwrap();
    for (host, last) in [(a, 1), (b, 2)] {
        for (id, v4, v6) in [(5, "10.5.0", "fd05::"), (7, "10.7.0", "fd07::")] {
            let config = InterfaceConfig::vlan(InterfaceId(0), id);
            world.interface(host, config, &[&format!("{v4}.{last}/24"), &format!("{v6}{last}/64")]).unwrap();
        }
    }
    let capture = world.capture(&[a]).unwrap();
    let server = world.serve(b, 80, Plan::receive()).unwrap();
    for remote in ["10.5.0.2:80", "[fd05::2]:80", "10.7.0.2:80", "[fd07::2]:80"] {
        world.connect(a, remote, Plan::send(500_000)).unwrap();
    }
    world.run_for(Duration::from_secs(30));
    assert_eq!(world.accepted(server).len(), 4);
    for end in world.accepted(server) {
        assert!(world.conversation(*end).went_well(), "{world}");
    }
    let capture = world.network().capture(capture).unwrap();
    assert!(
        capture.packets().filter(|packet| packet.bytes.len() > 1_000).all(|packet| packet.bytes[12..14] == [0x81, 0])
    );
    assert!(capture.packets().any(|packet| packet.bytes.len() == 1_518), "the whole MTU is used");
}

/// The MSS that the first SYN to `remote` announces, and the longest frame of a transfer to it.
fn announced(mtu: u16, remote: &str, bytes: u64) -> (u16, usize) {
    let mut world = World::new(9);
    let options = HostOptions { mtu, ..HostOptions::default() };
    let v4_only = mtu < 1_280;
    let [ours, theirs] = [["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]];
    let count = if v4_only { 1 } else { 2 };
    let a = world.host_with("a", &ours[..count], options.clone()).unwrap();
    let b = world.host_with("b", &theirs[..count], options).unwrap();
    world.cable(a, b, Impairment::latency(Duration::from_millis(1))).unwrap();
    let capture = world.capture(&[a]).unwrap();
    transfer(&mut world, a, b, remote, bytes);
    let frames: Vec<_> = world.network().capture(capture).unwrap().packets().collect();
    let syn = frames.iter().find_map(|packet| match parse_ip(packet.bytes) {
        Some((_, _, 6, segment)) if segment[13] == 2 => Some(u16::from_be_bytes([segment[22], segment[23]])),
        _ => None,
    });
    (syn.unwrap(), frames.iter().map(|packet| packet.original_len as usize).max().unwrap())
}

#[test]
fn every_mtu_from_576_to_65535_bytes_is_used_to_the_full() {
    for mtu in [576, 1_279, 1_280, 1_500, 9_000, 16_384, 65_535] {
        let (mss, longest) = announced(mtu, "10.0.0.2:80", 3_000_000);
        assert_eq!((mss, longest), (mtu - 40, 14 + usize::from(mtu)));
        if mtu >= 1_280 {
            let (mss, longest) = announced(mtu, "[fd00::2]:80", 3_000_000);
            assert_eq!((mss, longest), (mtu - 60, 14 + usize::from(mtu)));
        }
    }
}

/// RFC 8200 §5: "IPv6 requires that every link in the Internet have an MTU of 1280 octets or greater".
#[test]
fn below_1280_bytes_there_is_no_ipv6() {
    for (mtu, has_v6) in [(576, false), (1_279, false), (1_280, true)] {
        for medium in [InterfaceConfig::ethernet(MAC), InterfaceConfig::ip(), InterfaceConfig::loopback()] {
            let mut stack = Stack::new(Config::new([1, 2]), Limits::small());
            let config = with_mtu(medium, mtu);
            let nic = stack.add_interface(Instant::ZERO, config).unwrap();
            assert_eq!(stack.addresses().any(|entry| entry.prefix.address.is_ipv6()), has_v6, "{mtu}");
            let added = stack.add_address(Instant::ZERO, nic, "fd00::1/64".parse().unwrap());
            assert_eq!(added.err(), (!has_v6).then_some(ConfigError::MtuTooSmall(mtu)));
            assert!(stack.add_address(Instant::ZERO, nic, "10.0.0.1/24".parse().unwrap()).is_ok());
        }
    }
    let mut stack = Stack::new(Config::new([1, 2]), Limits::small());
    for config in [InterfaceConfig::ethernet(MAC), InterfaceConfig::ip()] {
        let config = with_mtu(config, 575);
        assert_eq!(stack.add_interface(Instant::ZERO, config), Err(ConfigError::MtuTooSmall(575)));
    }
    assert_eq!(stack.interfaces().count(), 0);
}
