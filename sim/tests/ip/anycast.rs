//! The anycast addresses of routers (RFC 4291 §2.6.1), and the identifiers that no address of a host has (RFC 5453).

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip};
use crate::multicast;
use ethertab::time::Duration;
use ethertab::wire::MacAddr;
use ethertab::{ConfigError, DropReason, Endpoint, Forwarding, InterfaceId, Prefix, UdpMeta};
use ethertab_sim::packet::{ICMPV6, TCP, UDP, fragments, icmp, ip_frame, parse_ip, udp};
use std::net::{IpAddr, Ipv6Addr};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// A host that knows its neighbour fd00::2, and forwards.
fn router() -> Host {
    let mut host = Host::with_neighbors();
    forward(&mut host, Forwarding::on());
    host
}

fn forward(host: &mut Host, forwarding: Forwarding) {
    host.stack.set_forwarding(NIC, forwarding).unwrap();
}

/// A solicitation for an address, to it or to its group. Who has no address yet asks for one that it wants.
fn ask(host: &mut Host, source: &str, target: &str, to_group: bool) {
    let (source, target) = (ip(source), ip(target));
    let IpAddr::V6(address) = target else { unreachable!("IPv6") };
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let (mac, destination) = match to_group {
        true => (MacAddr([0x33, 0x33, 0xff, a, b, c]), IpAddr::V6(group)),
        false => (HOST_MAC, target),
    };
    let option = if source.is_unspecified() { vec![] } else { [&[1, 1][..], &PEER_MAC.0].concat() };
    let message = icmp(SOLICITATION, 0, 0, &[&address.octets()[..], &option].concat());
    host.receive(&ip_frame((PEER_MAC, mac), source, destination, ICMPV6, &message));
}

/// Source, destination, flags and when in milliseconds of the advertisements for an address that leave in a while.
fn advertisements(host: &mut Host, target: &str, span: Duration) -> Vec<(IpAddr, IpAddr, u8, u64)> {
    let IpAddr::V6(target) = ip(target) else { unreachable!("IPv6") };
    let start = host.now;
    let sent = host.pass(span);
    let told = |(at, frame): &(ethertab::time::Instant, Vec<u8>)| {
        let (source, destination, protocol, message) = parse_ip(frame)?;
        let is_it = protocol == ICMPV6 && message[0] == ADVERTISEMENT && message[8..24] == target.octets();
        is_it.then(|| {
            assert_eq!(message[24..32], [2, 1, 2, 0, 0, 0, 0, 1], "with our station");
            (source, destination, message[4] >> 5, at.since(start).as_millis())
        })
    };
    sent.iter().filter_map(told).collect()
}

/// Source and type of the ICMPv6 messages that the host sends now.
fn messages(host: &mut Host) -> Vec<(IpAddr, u8)> {
    let frames = host.take_all();
    let parsed = frames.iter().filter_map(|frame| parse_ip(frame));
    parsed
        .filter(|(_, _, protocol, _)| *protocol == ICMPV6)
        .map(|(source, _, _, message)| (source, message[0]))
        .collect()
}

/// RFC 4861 §7.2.7: after a random time of up to a second, and without the override flag, so that hosts keep the router that answered first.
#[test]
fn a_router_answers_for_the_address_of_its_network_after_a_while() {
    let mut times = Vec::new();
    let mut host = router();
    for _ in 0..20 {
        ask(&mut host, "fd00::2", "fd00::", true);
        let told = advertisements(&mut host, "fd00::", Duration::from_secs(2));
        let [(source, destination, flags, at)] = told[..] else { panic!("{told:?}") };
        assert_eq!((source, destination), (ip("fd00::1"), ip("fd00::2")), "from an address of its own");
        assert_eq!(flags, 0b110, "router, solicited, no override");
        times.push(at);
    }
    assert!(times.iter().all(|at| *at <= 1_000), "{times:?}");
    assert!(times.iter().any(|at| *at > 500) && times.iter().any(|at| *at < 500), "{times:?}");
}

/// Who asks this router alone, as a host does that checks whether it still answers, need not wait.
#[test]
fn a_router_that_is_asked_alone_answers_at_once() {
    let mut host = router();
    ask(&mut host, "fd00::2", "fd00::", false);
    let told = advertisements(&mut host, "fd00::", Duration::ZERO);
    assert_eq!(told, [(ip("fd00::1"), ip("fd00::2"), 0b110, 0)]);
}

/// However many ask, each gets an answer; one of them waits.
#[test]
fn many_that_ask_are_all_answered() {
    let mut host = router();
    let asking: Vec<String> = (2..50).map(|number| format!("fd00::{number:x}")).collect();
    for source in &asking {
        ask(&mut host, source, "fd00::", true);
    }
    let told = advertisements(&mut host, "fd00::", Duration::from_secs(2));
    let mut answered: Vec<_> = told.iter().map(|(_, destination, ..)| *destination).collect();
    answered.sort();
    assert_eq!(answered, asking.iter().map(|source| ip(source)).collect::<Vec<_>>());
}

/// The address is nobody's alone: who wants to have it is told that it is taken, and the router keeps it.
#[test]
fn who_claims_the_address_of_the_network_is_told() {
    let mut host = router();
    ask(&mut host, "::", "fd00::", true);
    let told = advertisements(&mut host, "fd00::", Duration::from_secs(2));
    assert_eq!(told.iter().map(|told| (told.1, told.2)).collect::<Vec<_>>(), [(ip("ff02::1"), 0b100)]);
    host.receive_ping(ip("fd00::2"), ip("fd00::"));
    assert_eq!(messages(&mut host), [(ip("fd00::1"), 129)]);
    assert_eq!(host.stack.counters().address_conflicts, 0);
}

/// It is never asked for by us: RFC 4862 §5.4, "Duplicate Address Detection MUST NOT be performed on anycast addresses".
#[test]
fn a_router_does_not_ask_whether_the_address_is_free() {
    let mut host = router();
    host.stack.add_address(host.now, NIC, "fd00:1::1/64".parse().unwrap()).unwrap();
    for (_, frame) in host.pass(Duration::from_secs(10)) {
        let is_question =
            frame[54] == SOLICITATION && frame[62..78] == "fd00:1::".parse::<Ipv6Addr>().unwrap().octets();
        assert!(!is_question);
    }
}

/// RFC 4443 §2.2: the source of what is said about a packet for it is an address of the host's own.
#[test]
fn what_is_sent_to_it_is_answered_from_an_address_of_the_routers_own() {
    let mut host = router();
    let (theirs, shared) = (ip("fd00::2"), ip("fd00::"));
    host.receive_ping(theirs, shared);
    assert_eq!(messages(&mut host), [(ip("fd00::1"), 129)]);
    // In fragments.
    let echo = ip_frame((PEER_MAC, HOST_MAC), theirs, shared, ICMPV6, &icmp(128, 0, 1, &[7; 2_000]));
    for frame in fragments(&echo, 9, 1_280) {
        host.receive(&frame);
    }
    let sent = host.take_all();
    assert_eq!(sent.len(), 2, "an answer in two fragments");
    assert!(sent.iter().all(|frame| frame[22..38] == "fd00::1".parse::<Ipv6Addr>().unwrap().octets()));
    // A port that nobody has, as traceroute wants it, and a protocol that nobody speaks.
    host.receive_ip(theirs, shared, UDP, &udp(9, 33_434, b"who is there"));
    host.receive_ip(theirs, shared, 200, b"what");
    assert_eq!(messages(&mut host), [(ip("fd00::1"), 1), (ip("fd00::1"), 4)]);
}

/// As in Linux: a connection would be with whichever router gets the next segment.
#[test]
fn nobody_connects_to_it() {
    let mut host = router();
    host.stack.listen(Endpoint::any(80), Default::default()).unwrap();
    let mut syn = [0; 20];
    syn[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
    (syn[12], syn[13]) = (0x50, 2);
    host.receive_ip(ip("fd00::2"), ip("fd00::"), TCP, &syn);
    assert_eq!((host.take_all().len(), host.drops(DropReason::TcpNotUnicast)), (0, 1));
}

/// A server on every address answers from the one that was asked: who has asked expects that.
#[test]
fn datagrams_to_it_are_received_and_answered_from_it() {
    let mut host = router();
    let socket = host.stack.bind_udp(Endpoint::any(53)).unwrap();
    host.receive_ip(ip("fd00::2"), ip("fd00::"), UDP, &udp(9_000, 53, b"who is it?"));
    let mut data = [0; 64];
    let (len, meta) = host.stack.udp_recv(&mut host.pool, socket, &mut data).unwrap();
    assert_eq!((&data[..len], meta.local), (&b"who is it?"[..], Some(ip("fd00::"))));
    let mut answer = UdpMeta::to(meta.remote);
    answer.local = meta.local;
    host.stack.udp_send(&mut host.pool, host.now, socket, &answer, b"me").unwrap();
    let sent = host.take_all();
    let (source, destination, ..) = parse_ip(&sent[0]).unwrap();
    assert_eq!((source, destination), (ip("fd00::"), ip("fd00::2")));
}

#[test]
fn it_is_there_for_as_long_as_the_interface_forwards_ipv6_and_has_the_network() {
    let answers = |host: &mut Host, address: &str| {
        host.receive_ping(ip("fd00::2"), ip(address));
        !messages(host).is_empty()
    };
    let is_joined = |host: &Host, group: &str| !host.stack.interface_filter(NIC, ip(group)).is_none();
    let (network, group) = ("fd00::", "ff02::1:ff00:0");
    let mut host = Host::with_neighbors();
    assert!(!answers(&mut host, network) && !is_joined(&host, group), "of a host it is nothing");
    let mut forwarding = Forwarding::on();
    forwarding.ipv6 = false;
    forward(&mut host, forwarding);
    assert!(!answers(&mut host, network) && !is_joined(&host, group), "nor of a router of IPv4");
    for _ in 0..2 {
        forward(&mut host, Forwarding::on());
        assert!(answers(&mut host, network) && is_joined(&host, group));
    }
    // Another network, added while it forwards.
    let second: Prefix = "fd00:1::abcd:1:1/96".parse().unwrap();
    host.stack.add_address(host.now, NIC, second).unwrap();
    assert!(answers(&mut host, "fd00:1::abcd:0:0"));
    host.stack.remove_address(NIC, second.address).unwrap();
    host.receive_ping(ip("fd00::2"), ip("fd00:1::abcd:0:0"));
    assert_eq!(messages(&mut host), [(ip("fd00::1"), 1)], "nobody leads there");
    assert!(answers(&mut host, network) && is_joined(&host, group));
    forward(&mut host, Forwarding::default());
    assert!(!answers(&mut host, network) && !is_joined(&host, group));
}

/// An answer that waits is not sent by a host that has stopped to be a router.
#[test]
fn who_stops_forwarding_does_not_answer_any_more() {
    let mut host = router();
    ask(&mut host, "fd00::2", "fd00::", true);
    forward(&mut host, Forwarding::default());
    assert_eq!(advertisements(&mut host, "fd00::", Duration::from_secs(2)), []);
    assert_eq!(
        host.stack.set_forwarding(InterfaceId(9), Forwarding::on()),
        Err(ConfigError::NoSuchInterface(InterfaceId(9)))
    );
}

/// RFC 6164 §5.1 "Routers MUST disable Subnet-Router anycast for the prefix when /127 prefixes are used": the address is the other router's.
#[test]
fn a_link_between_two_routers_has_none() {
    for (prefix, network) in
        [("fd00:2::1/127", "fd00:2::"), ("fd00:2::1/128", "fd00:2::1"), ("fd00:2::3/128", "fd00:2::2")]
    {
        let mut host = router();
        host.stack.add_address(host.now, NIC, prefix.parse().unwrap()).unwrap();
        host.take_all();
        ask(&mut host, "fd00::2", network, true);
        let told = advertisements(&mut host, network, Duration::from_secs(2));
        let is_own = prefix.starts_with(&format!("{network}/"));
        assert_eq!(told.len(), usize::from(is_own), "{prefix}");
    }
}

/// RFC 4291 §2.6.1: "packets sent to the Subnet-Router anycast address will be delivered to one router on the subnet": from wherever they come, but a link-local one
/// is that of its link only.
#[test]
fn hosts_of_other_networks_reach_it() {
    let mut host = router();
    let other =
        host.stack.add_interface(host.now, ethertab::InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 0, 9]))).unwrap();
    host.stack.add_address(host.now, other, "fd00:5::1/64".parse().unwrap()).unwrap();
    host.receive_ping(ip("fd00::2"), ip("fd00:5::"));
    assert_eq!(messages(&mut host), [(ip("fd00::1"), 1)], "the other interface does not forward");
    host.stack.set_forwarding(other, Forwarding::on()).unwrap();
    host.receive_ping(ip("fd00::2"), ip("fd00:5::"));
    assert_eq!(messages(&mut host), [(ip("fd00::1"), 129)]);
}

/// RFC 4291 §2.8: a router has the groups of all routers; RFC 3810 §6: switches are told of them, and that they end.
#[test]
fn a_router_tells_of_its_groups() {
    let groups = ["ff02::2", "ff02::1:ff00:0", "ff05::2"].map(ip);
    let mut host = multicast::host();
    for (forwarding, kind) in [(Forwarding::on(), 4), (Forwarding::default(), 3)] {
        forward(&mut host, forwarding);
        let told = multicast::reports(&mut host, Duration::from_secs(20));
        let mut changed: Vec<_> =
            told.iter().flat_map(|(_, _, records)| records).map(|record| (record.0, record.1)).collect();
        changed.sort();
        changed.dedup();
        assert_eq!(changed, groups.map(|group| (kind, group)));
    }
}
