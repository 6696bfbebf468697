//! ARP and neighbour discovery (RFC 826, RFC 4861).

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip, pair};
use ethertab::time::Duration;
use ethertab::wire::MacAddr;
use ethertab::{ConnectOptions, DropReason, Endpoint, InterfaceConfig, InterfaceId, NeighborState, UdpMeta};
use ethertab_sim::packet::{ICMPV6, UDP, arp, ethernet, fragment, fragments, icmp, ip_frame, parse_ip};
use std::net::{IpAddr, Ipv6Addr};

const ARP: u16 = 0x0806;
const NOBODY: MacAddr = MacAddr([0; 6]);

/// An ARP packet, or a neighbour advertisement, in which `mac` claims to have `address`.
fn claim(address: IpAddr, mac: MacAddr, to: IpAddr) -> Vec<u8> {
    match (address, to) {
        (IpAddr::V4(address), IpAddr::V4(to)) => {
            ethernet(HOST_MAC, mac, ARP, &arp(2, (mac, address.octets()), (HOST_MAC, to.octets())))
        }
        (IpAddr::V6(address), to) => {
            // Solicited, override; the target and its link-layer address.
            let data = [&address.octets()[..], &[2, 1], &mac.0].concat();
            ip_frame((mac, HOST_MAC), IpAddr::V6(address), to, ICMPV6, &icmp(136, 0, 0x6000_0000, &data))
        }
        _ => unreachable!("one family"),
    }
}

/// Whether a frame asks for the station of an address: an ARP request or a neighbour solicitation.
pub(crate) fn asks_for(frame: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            frame[12..14] == ARP.to_be_bytes() && frame[21] == 1 && frame[38..42] == address.octets()
        }
        IpAddr::V6(address) => frame[12..14] == [0x86, 0xdd] && frame[54] == 135 && frame[62..78] == address.octets(),
    }
}

/// Sends a datagram from a socket of its own, which is closed once the datagram has left it.
fn send_datagram(host: &mut Host, to: IpAddr, len: usize) -> Vec<Vec<u8>> {
    let socket = host.stack.bind_udp(Endpoint::any(0)).unwrap();
    let data = vec![1; len];
    host.stack.udp_send(&mut host.pool, host.now, socket, &UdpMeta::to((to, 7).into()), &data).unwrap();
    let sent = host.take_all();
    host.stack.udp_close(&mut host.pool, socket);
    sent
}

/// The datagrams among some frames, as lengths of their data.
fn datagrams(frames: &[Vec<u8>]) -> Vec<usize> {
    let parsed = frames.iter().filter_map(|frame| parse_ip(frame));
    parsed.filter(|(_, _, protocol, _)| *protocol == UDP).map(|(_, _, _, payload)| payload.len() - 8).collect()
}

#[test]
fn n1_one_request_a_second_three_in_all() {
    for (ipv6, silent) in [(false, ip("10.0.0.9")), (true, ip("fd00::9"))] {
        let mut host = Host::new();
        let mut asked = Vec::new();
        for step in 0..50 {
            // However much is sent to it.
            let mut sent = if step < 29 { send_datagram(&mut host, silent, 10) } else { Vec::new() };
            asked.extend(sent.drain(..).filter(|frame| asks_for(frame, silent)).map(|_| host.now.as_millis()));
            let later = host.pass(Duration::from_millis(100));
            asked.extend(later.into_iter().filter(|(_, frame)| asks_for(frame, silent)).map(|(at, _)| at.as_millis()));
        }
        assert_eq!(asked, [0, 1_000, 2_000], "IPv6: {ipv6}");
        assert_eq!(host.neighbor(silent).map(|found| found.1), Some(NeighborState::Failed));
        assert_eq!(host.pool.blocks_in_use(), 0, "what waited was dropped");
        assert!(host.drops(DropReason::NeighborUnreachable) > 0);
    }
}

#[test]
fn n1_the_first_packets_wait_and_leave_in_order() {
    for ipv6 in [false, true] {
        let mut host = Host::new();
        let (ours, theirs) = pair(ipv6);
        for len in [100, 200, 300] {
            assert_eq!(datagrams(&send_datagram(&mut host, theirs, len)), []);
        }
        host.receive(&claim(theirs, PEER_MAC, ours));
        assert_eq!(datagrams(&host.take_all()), [100, 200, 300]);
        assert_eq!(host.neighbor(theirs), Some((Some(PEER_MAC), NeighborState::Reachable)));
        assert_eq!(host.pool.blocks_in_use(), 0);
    }
}

/// RFC 1122 §2.3.2.2: at least the latest packet is kept, whatever its length.
#[test]
fn n1_the_largest_datagram_waits_and_older_ones_make_room() {
    for ipv6 in [false, true] {
        for mtu in [1_500, 4_000, 9_000, 65_535] {
            let mut host = Host::with_mtu(mtu);
            let (ours, theirs) = pair(ipv6);
            let largest = usize::from(mtu) - if ipv6 { 48 } else { 28 };
            for len in [10, largest, largest - 1] {
                assert_eq!(datagrams(&send_datagram(&mut host, theirs, len)), []);
            }
            // The next ones are sent while the first ones wait for their turn, and still come after them.
            host.receive(&claim(theirs, PEER_MAC, ours));
            let sent = datagrams(&send_datagram(&mut host, theirs, 20));
            match mtu {
                1_500 | 4_000 => assert_eq!(sent, [10, largest, largest - 1, 20]),
                _ => assert_eq!(sent, [largest - 1, 20]),
            }
            let dropped = host.drops(DropReason::NeighborQueueFull);
            assert_eq!((dropped, host.pool.blocks_in_use()), (4 - sent.len() as u64, 0));
        }
    }
}

/// A neighbour answers, nobody takes frames for its interface, and a connection that comes over from another interface finds
/// that it has gone.
#[test]
fn n1_packets_go_with_the_neighbor_that_fails_before_their_turn() {
    let mut host = Host::new();
    let (ours, theirs, nic) = (ip("10.0.0.1"), ip("10.0.0.140"), InterfaceId(1));
    let mut buf = [0; 1_514];
    let config = InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 0, 3]));
    host.stack.add_interface(host.now, config).unwrap();
    host.stack.add_address(host.now, nic, "10.0.0.130/25".parse().unwrap()).unwrap();
    let socket = host.stack.bind_udp(Endpoint::any(0)).unwrap();
    let mut meta = UdpMeta::to((theirs, 7).into());
    meta.interface = Some(NIC);
    host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &[1; 100]).unwrap();
    host.take_all();
    host.receive(&claim(theirs, PEER_MAC, ours));
    host.now += Duration::from_secs(45);
    host.stack.handle_timeout(&mut host.pool, host.now);
    let local = Some(Endpoint { address: Some(ours), port: 0 });
    let options = ConnectOptions { local, ..ConnectOptions::default() };
    host.stack.connect(host.now, (theirs, 80).into(), options).unwrap();
    host.stack.remove_address(nic, ip("10.0.0.130")).unwrap();
    while host.stack.transmit(&mut host.pool, host.now, nic, &mut buf).is_some() {}
    for seconds in [5, 1, 1, 1, 1, 3, 9] {
        assert_ne!(host.neighbor(theirs).map(|found| found.1), Some(NeighborState::Failed));
        host.now += Duration::from_secs(seconds);
        host.stack.handle_timeout(&mut host.pool, host.now);
    }
    assert_eq!(host.neighbor(theirs).map(|found| found.1), Some(NeighborState::Failed));
    assert_eq!(host.drops(DropReason::NeighborUnreachable), 1);
    assert_eq!(datagrams(&host.take_all()), []);
    // Its place in the line is free for the next packets.
    host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &[1; 200]).unwrap();
    host.take_all();
    host.receive(&claim(theirs, PEER_MAC, ours));
    assert_eq!(datagrams(&host.take_all()), [200]);
}

#[test]
fn n1_a_dead_neighbor_does_not_starve_others() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        let (_, alive) = pair(ipv6);
        let dead = if ipv6 { ip("fd00::dead") } else { ip("10.0.0.99") };
        for _ in 0..1_000 {
            send_datagram(&mut host, dead, 1_000);
            assert_eq!(datagrams(&send_datagram(&mut host, alive, 20)), [20]);
        }
        assert!(host.pool.blocks_in_use() <= 4, "{} blocks wait", host.pool.blocks_in_use());
        assert!(host.drops(DropReason::NeighborQueueFull) > 900);
    }
}

#[test]
fn n1_active_entries_are_not_evicted() {
    let mut host = Host::new();
    let (ours, theirs) = pair(false);
    send_datagram(&mut host, theirs, 10);
    host.receive(&claim(theirs, PEER_MAC, ours));
    host.take_all();
    // Requests from the whole network, as a scan makes them, push one another out and not the one in use.
    for number in 3..=254 {
        let mac = MacAddr([2, 0, 0, 0, 1, number]);
        let request = arp(1, (mac, [10, 0, 0, number]), (NOBODY, [10, 0, 0, 1]));
        host.receive(&ethernet(MacAddr::BROADCAST, mac, ARP, &request));
        host.take_all();
    }
    assert_eq!(host.neighbor(theirs), Some((Some(PEER_MAC), NeighborState::Reachable)));
}

#[test]
fn n1_claims_from_outside_the_network_and_for_our_own_address_are_refused() {
    let attacker = MacAddr([2, 6, 6, 6, 6, 6]);
    let mut host = Host::new();
    for address in ["192.0.2.1", "10.0.1.1", "10.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        host.receive(&claim(ip(address), attacker, ip("10.0.0.1")));
        assert_eq!(host.neighbor(ip(address)), None, "{address}");
    }
    assert_eq!(host.drops(DropReason::ArpSpoofed), 6);
    // An advertisement makes no entry at all (RFC 4861 §7.2.5), from wherever it comes.
    for address in ["fd00::9", "2001:db8::1"] {
        host.receive(&claim(ip(address), attacker, ip("fd00::1")));
        assert_eq!(host.neighbor(ip(address)), None, "{address}");
    }
    // A group's address is nobody's station, and zeros are not either.
    for station in [MacAddr([3, 0, 0, 0, 0, 1]), MacAddr([0; 6])] {
        host.receive(&claim(ip("10.0.0.2"), station, ip("10.0.0.1")));
        assert_eq!(host.neighbor(ip("10.0.0.2")), None);
    }
    // All that is said to it: 10.0.0.1 is ours (RFC 5227 §2.4).
    let sent = host.take_all();
    assert_eq!((sent.len(), &sent[0][28..32], &sent[0][38..42]), (1, &[10, 0, 0, 1][..], &[10, 0, 0, 1][..]));
}

#[test]
fn n1_an_entry_is_asked_again_and_forgotten_when_nobody_answers() {
    for ipv6 in [false, true] {
        let mut host = Host::new();
        let (ours, theirs) = pair(ipv6);
        send_datagram(&mut host, theirs, 10);
        host.receive(&claim(theirs, PEER_MAC, ours));
        host.take_all();
        // RFC 4861 §6.3.2: up to one and a half times 30 s.
        host.pass(Duration::from_secs(45));
        assert_eq!(host.neighbor(theirs), Some((Some(PEER_MAC), NeighborState::Stale)));
        // Used, it is believed, and for five seconds not even asked.
        assert_eq!(datagrams(&send_datagram(&mut host, theirs, 10)), [10]);
        assert_eq!(host.neighbor(theirs).map(|found| found.1), Some(NeighborState::Delay));
        let used = host.now;
        let questions: Vec<_> = host
            .pass(Duration::from_secs(30))
            .into_iter()
            .filter(|(_, frame)| asks_for(frame, theirs))
            .map(|(at, frame)| (at.since(used).as_secs(), frame[..6] == PEER_MAC.0))
            .collect();
        // It is asked itself, then all are, ever less often (RFC 7048 §3).
        let expected = [(5, true), (6, true), (7, true), (8, false), (9, false), (12, false)];
        assert_eq!(questions, expected, "IPv6: {ipv6}");
        assert_eq!(host.neighbor(theirs), Some((None, NeighborState::Failed)));
        // A new station, as after a change of the network card.
        let other = MacAddr([2, 0, 0, 0, 0, 77]);
        send_datagram(&mut host, theirs, 10);
        host.receive(&claim(theirs, other, ours));
        assert_eq!(host.neighbor(theirs), Some((Some(other), NeighborState::Reachable)));
    }
}

#[test]
fn n1_duplicate_address_detection_is_answered() {
    let mut host = Host::new();
    // RFC 5227 §2.1.1: a probe has no sender address.
    let probe = arp(1, (PEER_MAC, [0; 4]), (NOBODY, [10, 0, 0, 1]));
    host.receive(&ethernet(MacAddr::BROADCAST, PEER_MAC, ARP, &probe));
    let reply = host.take_all().pop().expect("a reply");
    assert_eq!((&reply[..6], &reply[28..32], reply[21]), (&PEER_MAC.0[..], &[10, 0, 0, 1][..], 2));
    // RFC 4862 §5.4.3: the answer to an unspecified source goes to all nodes, unsolicited.
    let target: Ipv6Addr = "fd00::1".parse().unwrap();
    let group = ip("ff02::1:ff00:1");
    host.receive_ip(ip("::"), group, ICMPV6, &icmp(135, 0, 0, &target.octets()));
    let packets = host.take_packets();
    let (to, _, advertisement) = packets.first().expect("an advertisement");
    assert_eq!((*to, advertisement[0], advertisement[4] & 0x40), (ip("ff02::1"), 136, 0));
    assert_eq!(host.stack.neighbors().count(), 0, "a probe tells nothing");
}

/// RFC 4861 §7.1.1, the last two checks: what nobody in duplicate address detection sends.
#[test]
fn n1_an_unspecified_source_asks_a_solicited_node_group_and_tells_no_station() {
    let target: Ipv6Addr = "fd00::1".parse().unwrap();
    let option = [&[1, 1][..], &PEER_MAC.0].concat();
    let mut host = Host::new();
    let cases = [("ff02::1:ff00:1", &[][..], true), ("ff02::1", &[], false), ("ff02::1:ff00:1", &option, false)];
    for (to, option, valid) in cases {
        let before = host.drops(DropReason::NeighborDiscoveryInvalid);
        host.receive_ip(ip("::"), ip(to), ICMPV6, &icmp(135, 0, 0, &[&target.octets()[..], option].concat()));
        assert_eq!(host.take_packets().len(), usize::from(valid), "{to} {option:?}");
        assert_eq!(host.drops(DropReason::NeighborDiscoveryInvalid) - before, u64::from(!valid), "{to} {option:?}");
    }
    // Somebody with an address may ask everybody.
    host.receive_ip(ip("fd00::2"), ip("ff02::1"), ICMPV6, &icmp(135, 0, 0, &target.octets()));
    assert_eq!(host.take_packets().len(), 1);
}

#[test]
fn n1_discovery_from_beyond_the_link_is_ignored() {
    let target: Ipv6Addr = "fd00::1".parse().unwrap();
    let mut host = Host::new();
    let solicitation = icmp(135, 0, 0, &[&target.octets()[..], &[1, 1], &PEER_MAC.0].concat());
    let mut frame = ip_frame((PEER_MAC, HOST_MAC), ip("fd00::2"), ip("fd00::1"), ICMPV6, &solicitation);
    for hop_limit in [0, 1, 64, 254] {
        frame[14 + 7] = hop_limit;
        host.receive(&frame);
    }
    assert_eq!(host.drops(DropReason::NeighborDiscoveryInvalid), 4);
    assert!(host.take_all().is_empty());
    frame[14 + 7] = 255;
    host.receive(&frame);
    assert_eq!(host.take_packets().len(), 1);
}

/// RFC 6980 §5: neither in fragments nor with the fragment header of a packet in one piece (N2).
#[test]
fn n1_discovery_in_fragments_is_ignored() {
    let target: Ipv6Addr = "fd00::1".parse().unwrap();
    let mut host = Host::new();
    let solicitation = icmp(135, 0, 0, &[&target.octets()[..], &[1, 1], &PEER_MAC.0].concat());
    let mut frame = ip_frame((PEER_MAC, HOST_MAC), ip("fd00::2"), ip("fd00::1"), ICMPV6, &solicitation);
    frame[14 + 7] = 255;
    host.receive(&fragment(&frame, 1, (0, solicitation.len()), false));
    for part in fragments(&frame, 2, 16) {
        host.receive(&part);
    }
    assert_eq!(host.drops(DropReason::NeighborDiscoveryInvalid), 2);
    assert!(host.take_all().is_empty());
}
