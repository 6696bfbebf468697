//! What a host says for itself: addresses, neighbours, groups, echoes, errors, fragments, VLANs.

use crate::{Host, ip, nic, ours, theirs};
use ethertab::time::Duration;
use ethertab::wire::{MacAddr, NdpOption, PrefixInformation, RouterAdvertisement};
use ethertab::{Autoconfiguration, DuplicateDetection, Endpoint, InterfaceConfig, InterfaceId, UdpMeta};
use ethertab_sim::Capture;
use ethertab_sim::packet::{self, ICMP, ICMPV6, UDP, icmp, ip_frame, udp};
use std::net::{IpAddr, SocketAddr};

/// What [`host`] makes the stack send.
pub(crate) const HOST: &[&str] = &[
    "arp 1",
    "arp 2",
    "icmp 0/0",
    "icmp 3/2",
    "icmp 3/3",
    "icmp 8/0",
    "icmp 11/1",
    "icmp 12/0",
    "icmpv6 1/4",
    "icmpv6 3/1",
    "icmpv6 4/0",
    "icmpv6 4/1",
    "icmpv6 4/2",
    "icmpv6 4/3",
    "icmpv6 128/0",
    "icmpv6 129/0",
    "icmpv6 133/0",
    "icmpv6 134/0",
    "icmpv6 135/0",
    "icmpv6 136/0",
    "ipv4 offset above 0",
    "ipv6 offset above 0",
    "nd option 1",
    "nd option 2",
    "nd option 3",
    "nd option 5",
    "nd option 14",
    "nd option 25",
    "nd option 31",
    "udp without a checksum",
    "vlan 5",
];

/// What [`groups`] makes it send.
pub(crate) const GROUPS: &[&str] = &[
    "icmpv6 130/0",
    "icmpv6 131/0",
    "icmpv6 132/0",
    "icmpv6 143/0",
    "igmp 0x11",
    "igmp 0x12",
    "igmp 0x16",
    "igmp 0x17",
    "igmp 0x22",
    "router alert 0",
];

const BOTH: [bool; 2] = [false, true];

/// The stack's and the neighbour's address on link 0.
fn pair(is_ipv6: bool) -> (IpAddr, IpAddr) {
    if is_ipv6 { (ip("fd00::1"), ip("fd00::2")) } else { (ip("10.0.0.1"), ip("10.0.0.2")) }
}

fn frame(is_ipv6: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (to, from) = pair(is_ipv6);
    ip_frame((theirs(0), ours(0)), from, to, protocol, payload)
}

/// Puts a header between an IPv6 header and what follows.
fn with_header(mut frame: Vec<u8>, number: u8, header: &[u8]) -> Vec<u8> {
    frame.splice(54..54, header.iter().copied());
    frame[20] = number;
    let len = (frame.len() - 54) as u16;
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    frame
}

pub(crate) fn host(capture: &mut Capture) {
    let mut host = Host::new();
    let mut config = InterfaceConfig::ethernet(ours(0));
    // Probes, announcements, questions for routers.
    config.detection = DuplicateDetection::Full;
    config.autoconfiguration = Some(Autoconfiguration::default());
    host.add_link(config);
    host.pass(capture, Duration::from_secs(20));
    neighbors(&mut host, capture);
    echoes(&mut host, capture);
    errors(&mut host, capture);
    datagrams(&mut host, capture);
    advertisements(&mut host, capture);
    vlan(&mut host, capture);
    host.pass(capture, Duration::from_secs(100));
}

fn neighbors(host: &mut Host, capture: &mut Capture) {
    let asker = (theirs(0), [10, 0, 0, 2]);
    let body = packet::arp(1, asker, (MacAddr([0; 6]), [10, 0, 0, 1]));
    host.receive(capture, 0, &packet::ethernet(MacAddr::BROADCAST, theirs(0), 0x0806, &body));
    let IpAddr::V6(target) = ip("fd00::1") else { return };
    for (source, to, option) in
        [("fd00::2", "fd00::1", [&[1, 1][..], &theirs(0).0].concat()), ("::", "ff02::1:ff00:1", Vec::new())]
    {
        let body = icmp(135, 0, 0, &[&target.octets()[..], &option].concat());
        let mut question = ip_frame((theirs(0), ours(0)), ip(source), ip(to), ICMPV6, &body);
        question[21] = 255;
        host.receive(capture, 0, &question);
    }
}

fn echoes(host: &mut Host, capture: &mut Capture) {
    for is_ipv6 in BOTH {
        let (protocol, kind) = if is_ipv6 { (ICMPV6, 128) } else { (ICMP, 8) };
        for len in [0, 56, 4_000] {
            let request = frame(is_ipv6, protocol, &icmp(kind, 0, 1, &vec![7; len]));
            for part in packet::fragments(&request, 1, 1_440) {
                host.receive(capture, 0, if len > 1_440 { &part } else { &request });
            }
            // To one who is known, and to one who is asked for.
            for to in if is_ipv6 { ["fd00::2", "fd00::9"] } else { ["10.0.0.2", "10.0.0.9"] } {
                host.stack.ping(&mut host.pool, host.now, ip(to), len, Duration::from_secs(2)).unwrap();
                host.pass(capture, Duration::from_secs(5));
            }
        }
    }
}

fn errors(host: &mut Host, capture: &mut Capture) {
    for is_ipv6 in BOTH {
        host.receive(capture, 0, &frame(is_ipv6, UDP, &udp(9, 9_999, b"nobody")));
        host.receive(capture, 0, &frame(is_ipv6, UDP, &udp(9, 9_999, &[7; 1_400])));
        host.receive(capture, 0, &frame(is_ipv6, 253, &[7; 40]));
        // The first of some fragments, which then time out.
        let long = frame(is_ipv6, UDP, &udp(9, 7, &[7; 2_000]));
        host.receive(capture, 0, &packet::fragment(&long, 2, (0, 1_000), true));
    }
    // An option with a length that cannot be.
    let mut malformed = frame(false, UDP, &udp(9, 7, b""));
    malformed.splice(34..34, [7, 1, 0, 0]);
    malformed[14] = 0x46;
    malformed[17] += 4;
    ethertab_sim::mutate::repair_checksums(&mut malformed);
    host.receive(capture, 0, &malformed);
    let plain = frame(true, UDP, &udp(9, 7, b"data"));
    // A routing header that is not served, and an option that nobody knows.
    host.receive(capture, 0, &with_header(plain.clone(), 43, &[UDP, 0, 4, 1, 0, 0, 0, 0]));
    host.receive(capture, 0, &with_header(plain.clone(), 60, &[UDP, 0, 0x9e, 4, 0, 0, 0, 0]));
    // The first fragment without the whole of the header chain.
    host.receive(capture, 0, &with_header(plain[..58].to_vec(), 44, &[UDP, 0, 0, 1, 0, 0, 0, 3]));
    host.receive(capture, 0, &packet::fragment(&frame(true, 60, &[UDP, 3, 1, 4, 0, 0, 0, 0]), 4, (0, 8), true));
    host.pass(capture, Duration::from_secs(61));
}

fn datagrams(host: &mut Host, capture: &mut Capture) {
    let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
    for is_ipv6 in BOTH {
        for len in [0, 1, 1_200, 8_000] {
            let to = SocketAddr::new(pair(is_ipv6).1, 7);
            host.stack.udp_send(&mut host.pool, host.now, socket, &UdpMeta::to(to), &vec![7; len]).unwrap();
            host.take(capture);
        }
    }
    let mut options = host.stack.udp_options(socket).unwrap();
    options.checksum = false;
    host.stack.udp_set_options(socket, options);
    let to = SocketAddr::new(pair(false).1, 7);
    host.stack.udp_send(&mut host.pool, host.now, socket, &UdpMeta::to(to), b"data").unwrap();
    host.take(capture);
}

fn advertisements(host: &mut Host, capture: &mut Capture) {
    let IpAddr::V6(prefix) = ip("2001:db8::") else { return };
    let prefix = PrefixInformation {
        prefix_len: 64,
        on_link: true,
        autonomous: true,
        valid_lifetime: 7_200,
        preferred_lifetime: 3_600,
        prefix,
    };
    let server = prefix.prefix.octets();
    let options = [
        NdpOption::PrefixInformation(prefix),
        NdpOption::Mtu(1_400),
        NdpOption::RecursiveDnsServers { lifetime: 600, servers: &[server] },
        NdpOption::DnsSearchList { lifetime: 600, domains: b"\x03lab\x04test\0\0\0\0\0\0\0" },
    ];
    let advertisement = RouterAdvertisement { router_lifetime: 1_800, ..RouterAdvertisement::default() };
    let interval = Duration::from_secs(600);
    host.stack.advertise_router(&mut host.pool, host.now, nic(0), &advertisement, &options, interval).unwrap();
    host.pass(capture, Duration::from_secs(60));
    host.stack.stop_advertising(&mut host.pool, host.now, nic(0));
    host.take(capture);
}

fn vlan(host: &mut Host, capture: &mut Capture) {
    let link = host.add_link(InterfaceConfig::vlan(InterfaceId(0), 5));
    for to in [format!("10.{link}.0.2"), format!("fd0{link}::2"), format!("10.{link}.0.9")] {
        host.stack.ping(&mut host.pool, host.now, ip(&to), 56, Duration::from_secs(2)).unwrap();
        host.pass(capture, Duration::from_secs(5));
    }
}

/// A query of a version that is older than ours, without which the newest is spoken.
fn query(is_ipv6: bool, version: u8) -> Vec<u8> {
    if is_ipv6 {
        let to = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
        let message = icmp(130, 0, 1_000 << 16, &[0; 16]);
        let plain = ip_frame((theirs(0), to), ip("fe80::2"), ip("ff02::1"), ICMPV6, &message);
        let mut frame = with_header(plain, 0, &[ICMPV6, 0, 5, 2, 0, 0, 1, 0]);
        frame[21] = 1;
        frame
    } else {
        let to = MacAddr([1, 0, 0x5e, 0, 0, 1]);
        let mut message = vec![0x11, if version == 1 { 0 } else { 10 }, 0, 0, 0, 0, 0, 0];
        let sum = !u16::from_be_bytes([message[0], message[1]]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = ip_frame((theirs(0), to), ip("10.0.0.2"), ip("224.0.0.1"), 2, &message);
        frame[22] = 1;
        ethertab_sim::mutate::repair_checksums(&mut frame);
        frame
    }
}

pub(crate) fn groups(capture: &mut Capture) {
    let mut host = Host::new();
    host.add_link(InterfaceConfig::ethernet(ours(0)));
    for older in [None, Some(2), Some(1)] {
        for (is_ipv6, group) in [(false, ip("239.1.2.3")), (true, ip("ff05::1:3"))] {
            if let Some(version) = older {
                host.receive(capture, 0, &query(is_ipv6, version));
            }
            host.stack.join_group(host.now, nic(0), group).unwrap();
            host.pass(capture, Duration::from_secs(30));
            host.stack.leave_group(host.now, nic(0), group).unwrap();
            host.pass(capture, Duration::from_secs(30));
        }
    }
    // What a router asks.
    let mut router = Host::new();
    router.add_link(InterfaceConfig::ethernet(ours(0)));
    router.stack.set_group_querier(router.now, nic(0), true).unwrap();
    router.pass(capture, Duration::from_secs(300));
}
