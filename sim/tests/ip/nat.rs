//! Address translation (RFC 4787, RFC 5382, RFC 5508, RFC 7857): inside hosts on link 0, the others on link 1, all played by the test.
//!
//! Where each requirement is tested, or why there is nothing to test:
//!
//! | RFC 4787 (UDP) | |
//! |---|---|
//! | REQ-1 endpoint-independent mapping, REQ-3 ports not shared and their range kept, REQ-4 parity kept | `a_mapping_is_of_the_inside_endpoint_and_keeps_what_it_can_of_the_port` |
//! | REQ-2 one outside address a host | there is one in all; flows end with it: `what_has_no_ports_and_flows_of_another_address_end_here` |
//! | REQ-5 two minutes at least, REQ-6 refreshed from inside | `a_flow_ends_five_minutes_after_its_last_packet_from_inside` |
//! | REQ-7 inside and outside networks that are the same | the application gives the inside its addresses, and is told of the outside's |
//! | REQ-8 filtering | `strangers_come_in_only_where_that_was_asked_for`; address-dependent filtering is not offered |
//! | REQ-9 hairpinning, with the external source | `inside_hosts_reach_each_other_by_what_is_known_outside` |
//! | REQ-10 application gateways off | there are none |
//! | REQ-11 the same behaviour whatever conflicts | `conflicts_and_icmp_change_nothing_of_a_mapping` |
//! | REQ-12 no ICMP message ends a mapping | `conflicts_and_icmp_change_nothing_of_a_mapping` |
//! | REQ-13 "fragmentation needed" for what is too long with DF | `what_is_too_long_for_the_outside_is_reported_to_its_sender` |
//! | REQ-14 fragments, in any order | `n2_fragments_are_translated_both_ways` |
//!
//! | RFC 5382 (TCP) | |
//! |---|---|
//! | REQ-1 endpoint-independent mapping, REQ-7 ports not shared | `conflicts_and_icmp_change_nothing_of_a_mapping` |
//! | REQ-2 all valid sequences, simultaneous open among them | `n3_a_syn_from_outside_waits_for_one_from_inside` |
//! | REQ-3 filtering | `strangers_come_in_only_where_that_was_asked_for` |
//! | REQ-4 silence of six seconds after an unsolicited SYN | `n3_a_syn_from_outside_waits_for_one_from_inside` |
//! | REQ-5 two hours and four minutes, four minutes | `tcp_connections_last_as_their_state_says` |
//! | REQ-6 application gateways | there are none |
//! | REQ-8 hairpinning | `forwarded_ports_let_everybody_in_until_they_are_taken_back` |
//! | REQ-9 destination unreachable is translated | `n3_errors_are_translated_with_what_they_quote` |
//! | REQ-10 no ICMP message ends a mapping or connection | `conflicts_and_icmp_change_nothing_of_a_mapping` |
//!
//! | RFC 5508 (ICMP) | |
//! |---|---|
//! | REQ-1 queries from inside, REQ-2 60 s | `pings_of_two_hosts_with_one_identifier_are_told_apart` |
//! | REQ-3 errors with a wrong checksum, REQ-6 errors neither refresh nor end a session | `conflicts_and_icmp_change_nothing_of_a_mapping` |
//! | REQ-4 errors from outside, REQ-5 errors from inside | `n3_errors_are_translated_with_what_they_quote` |
//! | REQ-7 hairpinned errors | `n3_errors_about_inside_hosts_packets_to_each_other_find_back` |
//! | REQ-8 no room is reported | `s4_a_host_has_so_many_flows_and_the_table_too` |
//! | REQ-9 a policy which messages are sent where | optional; there is none |
//! | REQ-10 destination unreachable and time exceeded of our own | `the_error_about_a_next_hop_that_does_not_answer_reaches_the_inside_host`, `what_is_too_long_for_the_outside_is_reported_to_its_sender` |
//! | REQ-11 other ICMP messages | dropped: `what_has_no_ports_and_flows_of_another_address_end_here` |

use crate::forward::{Router, from_host, nic, only_error, ours, station, with_header};
use crate::host::ip;
use ethertab::time::Duration;
use ethertab::{
    ConnectError, ConnectOptions, DropReason, Endpoint, ListenOptions, NatConfig, NatFiltering, NatProtocol,
    PortForward, PortForwardError, ReversePath,
};
use ethertab_sim::mutate::repair_checksums;
use ethertab_sim::packet::{self, ACK, FIN, ICMP, RST, SYN, Segment, TCP, UDP, parse_ip};
use std::net::{SocketAddr, SocketAddrV4};

const INSIDE: [&str; 2] = ["10.0.0.2", "10.0.0.3"];
const REMOTE: [&str; 2] = ["10.1.0.2", "10.1.0.3"];
const OUTSIDE: &str = "10.1.0.1";

fn router() -> Router {
    let mut router = Router::new(&[1_500, 1_500]);
    router.stack.set_nat(Some(NatConfig::outside(nic(1)))).unwrap();
    router
}

fn configured(change: impl Fn(&mut NatConfig)) -> Router {
    let mut router = Router::new(&[1_500, 1_500]);
    let mut config = NatConfig::outside(nic(1));
    change(&mut config);
    router.stack.set_nat(Some(config)).unwrap();
    router
}

/// An IP packet, taken apart: addresses, ports (or type and identifier of ICMP), and what follows.
#[derive(Debug, PartialEq)]
struct Seen {
    from: String,
    to: String,
    rest: Vec<u8>,
}

/// The only packet that leaves on a link, whose checksums must be right.
fn only(router: &mut Router, link: u8) -> Seen {
    let mut sent = router.take(link);
    assert_eq!(sent.len(), 1, "on link {link}: {:?}", router.stack.counters());
    let frame = sent.remove(0);
    let mut repaired = frame.clone();
    repair_checksums(&mut repaired);
    assert!(repaired == frame, "checksums: {frame:x?} and {repaired:x?}");
    assert_eq!(frame[22], 63, "a hop less");
    let (from, to, protocol, payload) = parse_ip(&frame).unwrap();
    let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    match protocol {
        ICMP => Seen { from: from.to_string(), to: format!("{to}#{}", port(4)), rest: payload[6..].to_vec() },
        _ => Seen { from: format!("{from}:{}", port(0)), to: format!("{to}:{}", port(2)), rest: payload[8..].to_vec() },
    }
}

fn udp(router: &mut Router, link: u8, from: (&str, u16), to: (&str, u16), data: &[u8]) {
    let frame = from_host(link, ip(from.0), ip(to.0), UDP, &packet::udp(from.1, to.1, data));
    router.receive(link, &with_header(frame, 64, 0));
}

fn tcp(router: &mut Router, link: u8, from: (&str, u16), to: (&str, u16), flags: u16) {
    let segment = Segment { source_port: from.1, destination_port: to.1, flags, window: 1_000, ..Segment::default() };
    router.receive(link, &from_host(link, ip(from.0), ip(to.0), TCP, &segment.to_bytes()));
}

/// Lets time pass; what is sent meanwhile waits to be taken.
fn wait(router: &mut Router, span: Duration) {
    router.now += span;
    router.stack.handle_timeout(&mut router.pool, router.now);
}

fn nothing(router: &mut Router) {
    assert_eq!((router.take(0).len(), router.take(1).len()), (0, 0));
}

#[test]
fn a_datagram_leaves_with_our_address_and_its_answer_finds_back() {
    let mut router = router();
    for round in 0..3 {
        udp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[0], 7), b"question");
        let seen = only(&mut router, 1);
        assert_eq!((&*seen.from, &*seen.to, &*seen.rest), ("10.1.0.1:5000", "10.1.0.2:7", &b"question"[..]));
        udp(&mut router, 1, (REMOTE[0], 7), (OUTSIDE, 5_000), b"answer");
        let seen = only(&mut router, 0);
        assert_eq!((&*seen.from, &*seen.to, &*seen.rest), ("10.1.0.2:7", "10.0.0.2:5000", &b"answer"[..]), "{round}");
    }
    let flows: Vec<_> = router.stack.nat_flows().collect();
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].protocol, NatProtocol::Udp);
    let ends = [flows[0].inside, flows[0].outside, flows[0].remote].map(|end| end.to_string());
    assert_eq!(ends, ["10.0.0.2:5000", "10.1.0.1:5000", "10.1.0.2:7"]);
    assert_eq!(router.pool.blocks_in_use(), 0);
}

/// RFC 768: a checksum of zero stays, and one that becomes zero is sent as all ones.
#[test]
fn datagrams_without_a_checksum_stay_without_and_no_other_gets_none() {
    let mut router = router();
    let mut frame = from_host(0, ip(INSIDE[0]), ip(REMOTE[0]), UDP, &packet::udp(5_000, 7, b"data"));
    frame[40..42].fill(0);
    router.receive(0, &frame);
    assert_eq!(router.take(1)[0][40..42], [0, 0]);
    for value in 0..=u16::MAX {
        let data = value.to_be_bytes();
        let frame = from_host(0, ip(INSIDE[0]), ip(REMOTE[0]), UDP, &packet::udp(5_000, 7, &data));
        router.receive(0, &frame);
        let sent = router.take(1).remove(0);
        assert_ne!(sent[40..42], [0, 0], "data {value:#x}");
    }
}

/// RFC 4787 REQ-1 to REQ-4, RFC 5382 REQ-1.
#[test]
fn a_mapping_is_of_the_inside_endpoint_and_keeps_what_it_can_of_the_port() {
    let mut router = router();
    for (remote, port) in [(REMOTE[0], 7), (REMOTE[0], 8), (REMOTE[1], 7)] {
        udp(&mut router, 0, (INSIDE[0], 5_000), (remote, port), b"data");
        assert_eq!(only(&mut router, 1).from, "10.1.0.1:5000", "whoever it sends to");
    }
    for (port, least, most) in [(5_000u16, 1_024, 65_535), (5_001, 1_024, 65_535), (123, 1, 1_023), (500, 1, 1_023)] {
        udp(&mut router, 0, (INSIDE[0], port), (REMOTE[0], 9), b"data");
        only(&mut router, 1);
        udp(&mut router, 0, (INSIDE[1], port), (REMOTE[0], 9), b"data");
        let seen = only(&mut router, 1);
        let given: u16 = seen.from.rsplit(':').next().unwrap().parse().unwrap();
        assert!(given != port && given % 2 == port % 2 && (least..=most).contains(&given), "{port}: {given}");
        udp(&mut router, 1, (REMOTE[0], 9), (OUTSIDE, given), b"back");
        assert_eq!(only(&mut router, 0).to, format!("10.0.0.3:{port}"));
    }
    // TCP's ports are others.
    tcp(&mut router, 0, (INSIDE[1], 5_000), (REMOTE[0], 80), SYN);
    assert_eq!(only(&mut router, 1).from, "10.1.0.1:5000");
    // Nor is one taken that a socket of ours has.
    router.stack.bind_udp(Endpoint::any(6_000)).unwrap();
    udp(&mut router, 0, (INSIDE[0], 6_000), (REMOTE[0], 9), b"data");
    assert_ne!(only(&mut router, 1).from, "10.1.0.1:6000");
}

/// RFC 4787 §5.
#[test]
fn strangers_come_in_only_where_that_was_asked_for() {
    for filtering in [NatFiltering::AddressAndPortDependent, NatFiltering::EndpointIndependent] {
        let mut router = configured(|config| config.filtering = filtering);
        udp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[0], 7), b"data");
        only(&mut router, 1);
        for (remote, port) in [(REMOTE[0], 8), (REMOTE[1], 7)] {
            udp(&mut router, 1, (remote, port), (OUTSIDE, 5_000), b"hello");
            if filtering == NatFiltering::EndpointIndependent {
                assert_eq!(only(&mut router, 0).to, "10.0.0.2:5000");
            } else {
                nothing(&mut router);
            }
        }
        // RFC 5382 REQ-3.
        tcp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[0], 80), SYN);
        only(&mut router, 1);
        tcp(&mut router, 1, (REMOTE[1], 80), (OUTSIDE, 5_000), ACK);
        assert_eq!(router.take(0).len(), usize::from(filtering == NatFiltering::EndpointIndependent));
        let filtered = router.drops(DropReason::NatFiltered);
        assert_eq!(filtered, if filtering == NatFiltering::EndpointIndependent { 0 } else { 3 });
        // To an inside address itself nothing comes in, mapping or not.
        udp(&mut router, 1, (REMOTE[0], 7), (INSIDE[0], 5_000), b"hello");
        nothing(&mut router);
        assert_eq!(router.drops(DropReason::NatFiltered), filtered + 1);
        // A port without a mapping is our own.
        udp(&mut router, 1, (REMOTE[0], 7), (OUTSIDE, 5_001), b"hello");
        assert_eq!(router.drops(DropReason::UdpNoSocket), 1);
    }
}

/// RFC 4787 REQ-9: with the external address and port as the source.
#[test]
fn inside_hosts_reach_each_other_by_what_is_known_outside() {
    let mut router = configured(|config| config.filtering = NatFiltering::EndpointIndependent);
    udp(&mut router, 0, (INSIDE[1], 6_000), (REMOTE[0], 7), b"a mapping");
    only(&mut router, 1);
    udp(&mut router, 0, (INSIDE[0], 5_000), (OUTSIDE, 6_000), b"hello");
    let seen = only(&mut router, 0);
    assert_eq!((&*seen.from, &*seen.to), ("10.1.0.1:5000", "10.0.0.3:6000"));
    let frame = packet::ip_frame(
        (station(0, 3), ours(0)),
        ip(INSIDE[1]),
        ip(OUTSIDE),
        UDP,
        &packet::udp(6_000, 5_000, b"hello yourself"),
    );
    router.receive(0, &with_header(frame, 64, 0));
    let seen = only(&mut router, 0);
    assert_eq!((&*seen.from, &*seen.to), ("10.1.0.1:6000", "10.0.0.2:5000"));
}

/// RFC 5508 REQ-7: what one inside host says of another's packet goes back as if both were outside.
#[test]
fn n3_errors_about_inside_hosts_packets_to_each_other_find_back() {
    let mut router = configured(|config| config.filtering = NatFiltering::EndpointIndependent);
    udp(&mut router, 0, (INSIDE[1], 6_000), (REMOTE[0], 7), b"a mapping");
    only(&mut router, 1);
    let hello = from_host(0, ip(INSIDE[0]), ip(OUTSIDE), UDP, &packet::udp(5_000, 6_000, b"hello"));
    router.receive(0, &hello);
    let delivered = router.take(0).remove(0);
    let error = packet::icmp(3, 3, 0, &delivered[14..]);
    let frame = packet::ip_frame((station(0, 3), ours(0)), ip(INSIDE[1]), ip(OUTSIDE), ICMP, &error);
    router.receive(0, &frame);
    let sent = router.take(0);
    let mut repaired = sent[0].clone();
    repair_checksums(&mut repaired);
    assert!(repaired == sent[0], "its checksums");
    let (source, ..) = parse_ip(&sent[0]).unwrap();
    let (to, kind, code, _, quoted) = only_error(&sent);
    assert_eq!((source, to, kind, code), (ip(OUTSIDE), ip(INSIDE[0]), 3, 3));
    assert_eq!(quoted, with_header(hello, 63, 0x4000)[14..].to_vec());
}

/// RFC 4787 REQ-5 and REQ-6.
#[test]
fn a_flow_ends_five_minutes_after_its_last_packet_from_inside() {
    let mut router = router();
    udp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[0], 7), b"data");
    only(&mut router, 1);
    router.pass(Duration::from_secs(200));
    udp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[0], 7), b"data");
    only(&mut router, 1);
    for step in 0..7 {
        router.pass(Duration::from_secs(50));
        udp(&mut router, 1, (REMOTE[0], 7), (OUTSIDE, 5_000), b"data");
        assert_eq!(router.take(0).len(), usize::from(step < 6), "after {} s", (step + 1) * 50);
    }
    assert_eq!(router.stack.nat_flows().count(), 0);
    assert_eq!(router.drops(DropReason::UdpNoSocket), 1);
}

/// RFC 5382 REQ-5, RFC 7857 §2: how long what was seen of a connection may be idle.
#[test]
fn tcp_connections_last_as_their_state_says() {
    const OUT: u8 = 0;
    const IN: u8 = 1;
    let handshake = [(OUT, SYN), (IN, SYN | ACK), (OUT, ACK)];
    let cases: [(&[(u8, u16)], u64); 8] = [
        (&[], 240),
        (&[(IN, RST | ACK)], 240),
        (&handshake[1..2], 240),
        (&handshake[1..], 7_440),
        (&[(IN, SYN | ACK), (OUT, ACK), (OUT, FIN | ACK), (IN, ACK)], 7_440),
        (&[(IN, SYN | ACK), (OUT, ACK), (OUT, FIN | ACK), (IN, FIN | ACK)], 240),
        (&[(IN, SYN | ACK), (OUT, ACK), (IN, RST)], 240),
        (&[(IN, SYN | ACK), (OUT, ACK), (IN, RST), (OUT, ACK), (IN, ACK)], 7_440),
    ];
    for (segments, seconds) in cases {
        let mut router = router();
        for (direction, flags) in [(OUT, SYN)].into_iter().chain(segments.iter().copied()) {
            if direction == OUT {
                tcp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[0], 80), flags);
                assert_eq!(only(&mut router, 1).from, "10.1.0.1:5000");
            } else {
                // The hop limit of the helper's packets is 64.
                tcp(&mut router, 1, (REMOTE[0], 80), (OUTSIDE, 5_000), flags);
                assert_eq!(only(&mut router, 0).to, "10.0.0.2:5000");
            }
        }
        assert_eq!(router.stack.nat_flows().all(|flow| flow.is_established), seconds > 240);
        router.pass(Duration::from_secs(seconds));
        assert_eq!(router.stack.nat_flows().count(), 1, "{segments:?}");
        router.pass(Duration::from_secs(2));
        assert_eq!(router.stack.nat_flows().count(), 0, "{segments:?}");
    }
}

/// RFC 5508 REQ-1 and REQ-2.
#[test]
fn pings_of_two_hosts_with_one_identifier_are_told_apart() {
    let mut router = router();
    let mut given = Vec::new();
    for (number, inside) in [(2, INSIDE[0]), (3, INSIDE[1])] {
        let echo = packet::icmp(8, 0, 77 << 16 | 1, b"data");
        let frame = packet::ip_frame((station(0, number), ours(0)), ip(inside), ip(REMOTE[0]), ICMP, &echo);
        router.receive(0, &with_header(frame, 64, 0));
        let seen = only(&mut router, 1);
        assert_eq!(seen.from, OUTSIDE);
        given.push(seen.to.rsplit('#').next().unwrap().parse::<u32>().unwrap());
    }
    assert_eq!(given[0], 77);
    assert_ne!(given[1], 77);
    for (identifier, inside) in given.iter().zip(INSIDE) {
        let reply = packet::icmp(0, 0, identifier << 16 | 1, b"data");
        router.receive(1, &with_header(from_host(1, ip(REMOTE[0]), ip(OUTSIDE), ICMP, &reply), 64, 0));
        assert_eq!(only(&mut router, 0).to, format!("{inside}#77"));
    }
    router.pass(Duration::from_secs(62));
    assert_eq!(router.stack.nat_flows().count(), 0);
    // Our own address can be pinged all the same, from both sides.
    for (link, from) in [(0, INSIDE[0]), (1, REMOTE[0])] {
        router.receive(link, &from_host(link, ip(from), ip(OUTSIDE), ICMP, &packet::icmp(8, 0, 1, b"data")));
        assert_eq!(router.take(link).len(), 1);
    }
}

/// An ICMP error quotes what its receiver has sent, and not what became of it on the way (RFC 5508 REQ-4 and REQ-5).
#[test]
fn n3_errors_are_translated_with_what_they_quote() {
    let mut router = router();
    let datagram = from_host(0, ip(INSIDE[0]), ip(REMOTE[0]), UDP, &packet::udp(5_001, 7, b"question"));
    let other = from_host(0, ip(INSIDE[1]), ip(REMOTE[0]), UDP, &packet::udp(5_001, 7, b"question"));
    router.receive(0, &datagram);
    router.take(1);
    router.receive(0, &other);
    let sent = router.take(1).remove(0);
    // A router on the way answers, and then somebody who only guesses.
    let error = packet::icmp(11, 0, 0, &sent[14..]);
    router.receive(1, &from_host(1, ip(REMOTE[1]), ip(OUTSIDE), ICMP, &error));
    let sent_in = router.take(0);
    let mut repaired = sent_in[0].clone();
    repair_checksums(&mut repaired);
    assert!(repaired == sent_in[0], "its checksums");
    let (to, kind, code, _, quoted) = only_error(&sent_in);
    assert_eq!((to, kind, code), (ip(INSIDE[1]), 11, 0));
    let mut expected = with_header(other, 63, 0x4000);
    expected.drain(..14);
    assert_eq!(quoted, expected, "the inner checksums too");
    let guess = packet::icmp(3, 3, 0, &with_header(datagram, 63, 0)[14..]);
    router.receive(1, &from_host(1, ip(REMOTE[1]), ip(OUTSIDE), ICMP, &guess));
    nothing(&mut router);

    // The other way: the inside host does not want the answer.
    let back = from_host(1, ip(REMOTE[0]), ip(OUTSIDE), UDP, &packet::udp(7, 5_001, b"answer"));
    router.receive(1, &back);
    let delivered = router.take(0).remove(0);
    let error = packet::icmp(3, 3, 0, &delivered[14..]);
    router.receive(0, &from_host(0, ip(INSIDE[0]), ip(REMOTE[0]), ICMP, &error));
    let sent_out = router.take(1);
    let (source, ..) = parse_ip(&sent_out[0]).unwrap();
    let (to, kind, code, _, quoted) = only_error(&sent_out);
    assert_eq!((source, to, kind, code), (ip(OUTSIDE), ip(REMOTE[0]), 3, 3));
    assert_eq!(quoted, with_header(back, 63, 0x4000)[14..].to_vec());
}

#[test]
fn forwarded_ports_let_everybody_in_until_they_are_taken_back() {
    let mut router = router();
    let inside: SocketAddrV4 = "10.0.0.2:8080".parse().unwrap();
    let forward = PortForward { protocol: NatProtocol::Tcp, outside_port: 80, inside };
    router.stack.forward_port(forward).unwrap();
    assert_eq!(router.stack.forward_port(forward), Err(PortForwardError::PortInUse(80)));
    assert_eq!(router.stack.port_forwards().collect::<Vec<_>>(), [forward]);
    for remote in REMOTE {
        tcp(&mut router, 1, (remote, 5_000), (OUTSIDE, 80), SYN);
        assert_eq!(only(&mut router, 0).to, "10.0.0.2:8080");
        tcp(&mut router, 0, (INSIDE[0], 8_080), (remote, 5_000), SYN | ACK);
        assert_eq!(only(&mut router, 1).from, "10.1.0.1:80");
    }
    // From inside, too.
    let frame = packet::ip_frame(
        (station(0, 3), ours(0)),
        ip(INSIDE[1]),
        ip(OUTSIDE),
        TCP,
        &Segment { source_port: 7_000, destination_port: 80, flags: SYN, ..Segment::default() }.to_bytes(),
    );
    router.receive(0, &frame);
    let seen = only(&mut router, 0);
    assert_eq!((&*seen.from, &*seen.to), ("10.1.0.1:7000", "10.0.0.2:8080"));
    router.stack.unforward_port(NatProtocol::Tcp, 80).unwrap();
    assert_eq!(router.stack.unforward_port(NatProtocol::Tcp, 80), Err(PortForwardError::NotFound(80)));
    // The connection that the hairpin made has an end of its own.
    tcp(&mut router, 1, (REMOTE[0], 5_000), (OUTSIDE, 80), ACK);
    assert_eq!(router.take(0).len(), 0);
    assert_eq!(router.take(1).len(), 1, "a reset of our own");
}

/// Fragments are put together before they are translated (RFC 4787 REQ-14), and taken apart again behind it.
#[test]
fn n2_fragments_are_translated_both_ways() {
    let mut router = router();
    let data: Vec<u8> = (0..4_000u32).map(|at| at as u8).collect();
    for (link, other, from, to, seen_from, seen_to, backwards) in [
        (0, 1, (INSIDE[0], 5_000), (REMOTE[0], 7), OUTSIDE, REMOTE[0], false),
        (1, 0, (REMOTE[0], 7), (OUTSIDE, 5_000), REMOTE[0], INSIDE[0], false),
        (0, 1, (INSIDE[0], 5_000), (REMOTE[0], 7), OUTSIDE, REMOTE[0], true),
        (1, 0, (REMOTE[0], 7), (OUTSIDE, 5_000), REMOTE[0], INSIDE[0], true),
    ] {
        let whole = from_host(link, ip(from.0), ip(to.0), UDP, &packet::udp(from.1, to.1, &data));
        let mut parts = packet::fragments(&whole, 7, 1_480);
        if backwards {
            parts.reverse();
        }
        parts.iter().for_each(|part| router.receive(link, part));
        let mut together = Vec::new();
        for frame in router.take(other) {
            let (source, destination, _, part) = parse_ip(&frame).unwrap();
            assert_eq!((source, destination), (ip(seen_from), ip(seen_to)));
            together.extend(part.to_vec());
        }
        assert_eq!(together[8..], data, "from link {link}");
    }
}

/// S4: one host cannot take what the others need, and a flood costs no more than the table.
#[test]
fn s4_a_host_has_so_many_flows_and_the_table_too() {
    let mut router = configured(|config| config.flows_per_host = Some(10));
    for port in 0..20 {
        udp(&mut router, 0, (INSIDE[0], 5_000 + port), (REMOTE[0], 7), b"data");
    }
    assert_eq!(router.take(1).len(), 10);
    assert_eq!(router.drops(DropReason::NatTableFull), 10);
    // RFC 5508 REQ-8.
    let told = router.take(0);
    assert_eq!(told.len(), 10);
    let (to, kind, code, ..) = only_error(&told[..1]);
    assert_eq!((to, kind, code), (ip(INSIDE[0]), 3, 13));
    udp(&mut router, 0, (INSIDE[1], 5_000), (REMOTE[0], 7), b"data");
    assert_eq!(router.take(1).len(), 1);
    // SYNs make room for each other; connections that are open stay.
    let mut router = configured(|config| config.flows_per_host = Some(u32::MAX));
    tcp(&mut router, 0, (INSIDE[0], 80), (REMOTE[0], 80), SYN);
    tcp(&mut router, 1, (REMOTE[0], 80), (OUTSIDE, 80), SYN | ACK);
    tcp(&mut router, 0, (INSIDE[0], 80), (REMOTE[0], 80), ACK);
    let limit = ethertab::Limits::default().nat_flows as u32;
    for number in 0..2 * limit {
        tcp(&mut router, 0, (INSIDE[0], 1_024 + (number % 60_000) as u16), (REMOTE[1], 80), SYN);
        router.take(1);
    }
    assert_eq!(router.stack.nat_flows().count(), limit as usize);
    assert_eq!(router.stack.counters().nat_evicted, u64::from(limit + 1));
    assert_eq!(router.stack.nat_flows().filter(|flow| flow.is_established).count(), 1);
    router.pass(Duration::from_secs(8_000));
    assert_eq!(router.stack.nat_flows().count(), 0);
}

#[test]
fn what_has_no_ports_and_flows_of_another_address_end_here() {
    let mut router = router();
    router.receive(0, &from_host(0, ip(INSIDE[0]), ip(REMOTE[0]), 47, &[0; 40]));
    // RFC 5508 REQ-11: a timestamp request (13).
    router.receive(0, &from_host(0, ip(INSIDE[0]), ip(REMOTE[0]), ICMP, &packet::icmp(13, 0, 0, &[0; 12])));
    assert_eq!(router.drops(DropReason::NatUntranslatable), 2);
    nothing(&mut router);
    udp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[0], 7), b"data");
    only(&mut router, 1);
    router.stack.remove_address(nic(1), ip(OUTSIDE)).unwrap();
    router.stack.add_address(router.now, nic(1), "10.1.0.9/24".parse().unwrap()).unwrap();
    router.pass(Duration::from_secs(1));
    udp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[0], 7), b"data");
    assert_eq!(only(&mut router, 1).from, "10.1.0.9:5000");
    assert_eq!(router.stack.nat_flows().count(), 1);
    router.stack.set_nat(None).unwrap();
    assert_eq!(router.stack.nat_flows().count(), 0);
    let mut forwarding = router.stack.forwarding(nic(0)).unwrap();
    forwarding.reverse_path = ReversePath::Loose;
    router.stack.set_forwarding(nic(0), forwarding).unwrap();
    udp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[0], 7), b"data");
    assert_eq!(only(&mut router, 1).from, "10.0.0.2:5000");
}

/// The error that we make ourselves about a translated packet is about what its sender has sent.
#[test]
fn the_error_about_a_next_hop_that_does_not_answer_reaches_the_inside_host() {
    let mut router = router();
    let frame = from_host(0, ip(INSIDE[0]), ip("10.1.0.77"), UDP, &packet::udp(5_000, 7, b"data"));
    router.receive(0, &frame);
    while router.drops(DropReason::NeighborUnreachable) == 0 {
        router.take(1);
        router.now = router.stack.next_timeout().expect("an answer is waited for");
        router.stack.handle_timeout(&mut router.pool, router.now);
    }
    let (to, kind, code, _, quoted) = only_error(&router.take(0));
    assert_eq!((to, kind, code), (ip(INSIDE[0]), 3, 1));
    assert_eq!(quoted, with_header(frame, 63, 0x4000)[14..]);
}

/// The outside address is the router's own, too.
#[test]
fn ports_of_mappings_and_of_the_routers_own_sockets_do_not_clash() {
    let mut router = router();
    // Ports are chosen around those of mappings.
    tcp(&mut router, 0, (INSIDE[0], 60_000), (REMOTE[0], 80), SYN);
    assert_eq!(only(&mut router, 1).from, "10.1.0.1:60000");
    let options = || ConnectOptions { ports: Some((60_000, 60_001)), ..ConnectOptions::default() };
    let to = SocketAddr::new(ip(REMOTE[1]), 80);
    let now = router.now;
    let connection = router.stack.connect(now, to, options()).unwrap();
    let local = router.stack.connections().find(|info| info.handle == Some(connection)).map(|info| info.local.port());
    assert_eq!(local, Some(60_001));
    assert_eq!(router.stack.connect(now, to, options()), Err(ConnectError::PortsExhausted));
    router.take(1);

    // A port that is asked for is given, and what is not of the mapping's flows is for its socket.
    udp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[0], 7), b"question");
    assert_eq!(only(&mut router, 1).from, "10.1.0.1:5000");
    let socket = router.stack.bind_udp(Endpoint::any(5_000)).unwrap();
    udp(&mut router, 1, (REMOTE[1], 7), (OUTSIDE, 5_000), b"ours");
    let mut buf = [0; 10];
    let (len, _) = router.stack.udp_recv(&mut router.pool, socket, &mut buf).expect("a datagram");
    assert_eq!(&buf[..len], b"ours");
    udp(&mut router, 1, (REMOTE[0], 7), (OUTSIDE, 5_000), b"answer");
    assert_eq!(only(&mut router, 0).to, "10.0.0.2:5000");
    assert_eq!(router.stack.udp_recv(&mut router.pool, socket, &mut buf), None);
}

/// RFC 4787 REQ-11 and REQ-12, RFC 5382 REQ-1, REQ-7 and REQ-10, RFC 5508 REQ-3 and REQ-6.
#[test]
fn conflicts_and_icmp_change_nothing_of_a_mapping() {
    let mut router = router();
    // Two hosts want one port: both have one for all whom they talk to, and nobody shares it.
    let mut given = Vec::new();
    for inside in INSIDE {
        let mut ports: Vec<String> = Vec::new();
        for (remote, port) in [(REMOTE[0], 80), (REMOTE[0], 81), (REMOTE[1], 80)] {
            tcp(&mut router, 0, (inside, 5_000), (remote, port), SYN);
            ports.push(only(&mut router, 1).from);
        }
        ports.dedup();
        assert_eq!(ports.len(), 1, "{inside}: {ports:?}");
        given.append(&mut ports);
    }
    assert!(given[0] != given[1], "{given:?}");
    for (inside, outside) in INSIDE.into_iter().zip(&given) {
        let port: u16 = outside.rsplit(':').next().unwrap().parse().unwrap();
        tcp(&mut router, 1, (REMOTE[1], 80), (OUTSIDE, port), SYN | ACK);
        assert_eq!(only(&mut router, 0).to, format!("{inside}:5000"));
        tcp(&mut router, 1, (REMOTE[1], 81), (OUTSIDE, port), ACK);
        nothing(&mut router);
    }
    // Errors of all kinds come in and go on, and the flow stays what it was and ends when it would have.
    let datagram = from_host(0, ip(INSIDE[0]), ip(REMOTE[0]), UDP, &packet::udp(6_000, 7, b"question"));
    router.receive(0, &datagram);
    let sent = router.take(1).remove(0);
    let flows = router.stack.nat_flows().count();
    for (kind, code) in [(3, 0), (3, 1), (3, 2), (3, 3), (3, 13), (11, 0), (11, 1), (12, 0), (4, 0)] {
        router.pass(Duration::from_secs(30));
        let error = from_host(1, ip(REMOTE[1]), ip(OUTSIDE), ICMP, &packet::icmp(kind, code, 0, &sent[14..]));
        // Source quench goes nowhere (RFC 6633).
        router.receive(1, &error);
        assert_eq!(router.take(0).len(), usize::from(kind != 4), "{kind} {code}");
        let mut damaged = error;
        damaged[50] ^= 1;
        router.receive(1, &damaged);
        nothing(&mut router);
    }
    assert_eq!(router.drops(DropReason::IcmpChecksum), 9);
    assert!(router.stack.nat_flows().any(|flow| flow.protocol == NatProtocol::Udp));
    assert!(router.stack.nat_flows().count() < flows, "only half-open connections have ended");
    router.pass(Duration::from_secs(32));
    assert_eq!(router.stack.nat_flows().count(), 0, "five minutes after the datagram");
}

/// RFC 4787 REQ-13, RFC 5508 REQ-10: the quoted packet is as its sender has sent it.
#[test]
fn what_is_too_long_for_the_outside_is_reported_to_its_sender() {
    let mut router = Router::new(&[1_500, 1_280]);
    router.stack.set_nat(Some(NatConfig::outside(nic(1)))).unwrap();
    let frame = from_host(0, ip(INSIDE[0]), ip(REMOTE[0]), UDP, &packet::udp(5_000, 7, &[1; 1_400]));
    router.receive(0, &with_header(frame.clone(), 64, 0x4000));
    assert_eq!(router.take(1).len(), 0);
    let (to, kind, code, mtu, quoted) = only_error(&router.take(0));
    assert_eq!((to, kind, code, mtu), (ip(INSIDE[0]), 3, 4, 1_280));
    assert_eq!(quoted[12..28], with_header(frame.clone(), 64, 0x4000)[26..42], "addresses and ports");
    router.receive(0, &with_header(frame.clone(), 1, 0));
    let (to, kind, code, ..) = only_error(&router.take(0));
    assert_eq!((to, kind, code), (ip(INSIDE[0]), 11, 0));
    // Without DF it goes on in pieces.
    router.receive(0, &with_header(frame, 64, 0));
    assert_eq!(router.take(1).len(), 2);
}

/// RFC 5382 REQ-2 and REQ-4.
#[test]
fn n3_a_syn_from_outside_waits_for_one_from_inside() {
    // The port of a mapping that others have, and one that nobody has.
    for outside_port in [5_000, 5_001] {
        let mut router = router();
        tcp(&mut router, 0, (INSIDE[0], 5_000), (REMOTE[1], 80), SYN);
        only(&mut router, 1);
        // Again it is no other one.
        for _ in 0..2 {
            tcp(&mut router, 1, (REMOTE[0], 80), (OUTSIDE, outside_port), SYN);
            wait(&mut router, Duration::from_millis(2_990));
            nothing(&mut router);
        }
        wait(&mut router, Duration::from_millis(30));
        let sent = router.take(1);
        let (source, ..) = parse_ip(&sent[0]).unwrap();
        let (to, kind, code, _, quoted) = only_error(&sent);
        assert_eq!((source, to, kind, code), (ip(OUTSIDE), ip(REMOTE[0]), 3, 3));
        let [high, low] = outside_port.to_be_bytes();
        assert_eq!(quoted[20..24], [0, 80, high, low]);

        // Both open at the same time.
        tcp(&mut router, 1, (REMOTE[0], 80), (OUTSIDE, outside_port), SYN);
        wait(&mut router, Duration::from_secs(3));
        tcp(&mut router, 0, (INSIDE[0], outside_port), (REMOTE[0], 80), SYN);
        assert_eq!(only(&mut router, 1).from, format!("10.1.0.1:{outside_port}"));
        wait(&mut router, Duration::from_secs(10));
        nothing(&mut router);
        for (flags, answer) in [(SYN, SYN | ACK), (SYN | ACK, ACK), (ACK, FIN | ACK), (FIN | ACK, ACK)] {
            tcp(&mut router, 1, (REMOTE[0], 80), (OUTSIDE, outside_port), flags);
            assert_eq!(only(&mut router, 0).to, format!("10.0.0.2:{outside_port}"));
            tcp(&mut router, 0, (INSIDE[0], outside_port), (REMOTE[0], 80), answer);
            only(&mut router, 1);
        }
    }
    // Those of one source are limited (REQ-4a: the others are dropped), and what the router listens to is its own.
    let mut router = router();
    for port in 1_000..1_100 {
        tcp(&mut router, 1, (REMOTE[0], 80), (OUTSIDE, port), SYN);
    }
    assert_eq!((router.drops(DropReason::NatFiltered), router.drops(DropReason::FlowTableFull)), (16, 84));
    wait(&mut router, Duration::from_secs(7));
    assert_eq!(router.take(1).len(), 16);
    let listener = router.stack.listen(Endpoint::any(22), ListenOptions::default());
    assert!(listener.is_ok());
    tcp(&mut router, 1, (REMOTE[0], 80), (OUTSIDE, 22), SYN);
    assert_eq!(router.take(1).len(), 1, "its SYN-ACK");
}
