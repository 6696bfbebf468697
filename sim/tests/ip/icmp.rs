//! ICMP errors: when they are sent and when not (RFC 1122 §3.2.2, RFC 4443 §2.4); martians.

use crate::host::{HOST_MAC, Host, PEER_MAC, ip, pair};
use crate::udp::set_dont_fragment;
use ethertab::time::Duration;
use ethertab::wire::MacAddr;
use ethertab::{
    CloseReason, ConnectOptions, DropReason, Endpoint, PingOutcome, PingTarget, UdpError, UdpHandle, UdpMeta,
    UdpSendError,
};
use ethertab_sim::mutate::repair_checksums;
use ethertab_sim::packet::{ICMP, ICMPV6, TCP, UDP, icmp, ip_frame, udp};
use std::net::SocketAddr;

/// A datagram to a port that nobody has, as a frame.
fn to_closed_port(ipv6: bool) -> Vec<u8> {
    let (ours, theirs) = pair(ipv6);
    ip_frame((PEER_MAC, HOST_MAC), theirs, ours, UDP, &udp(7, 9_999, b"nobody"))
}

#[test]
fn a_datagram_to_a_closed_port_is_answered_with_what_it_was() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        let frame = to_closed_port(ipv6);
        host.receive(&frame);
        let packets = host.take_packets();
        let [(to, protocol, error)] = &packets[..] else { panic!("{packets:?}") };
        let (expected, kind) = if ipv6 { (ICMPV6, [1, 4]) } else { (ICMP, [3, 3]) };
        assert_eq!((*to, *protocol, &error[..2]), (pair(ipv6).1, expected, &kind[..]));
        assert_eq!(error[8..], frame[14..], "the packet is quoted");
    }
}

#[test]
fn n3_no_error_about_an_error_a_fragment_or_a_group() {
    let mut host = Host::with_neighbors();
    for ipv6 in [false, true] {
        let (ours, theirs) = pair(ipv6);
        let (protocol, kinds): (u8, &[u8]) =
            if ipv6 { (ICMPV6, &[1, 2, 3, 4, 100, 127]) } else { (ICMP, &[3, 4, 5, 11, 12]) };
        // Errors about what we never sent.
        for kind in kinds {
            host.receive_ip(theirs, ours, protocol, &icmp(*kind, 0, 0, &to_closed_port(ipv6)[14..]));
        }
        // Over IPv6 also if it is wrong behind which headers the error comes: an option that asks for an answer.
        if ipv6 {
            let mut error = ip_frame((PEER_MAC, HOST_MAC), theirs, ours, protocol, &icmp(1, 0, 0, &[0; 48]));
            error.splice(54..54, [ICMPV6, 0, 0x9e, 4, 0, 0, 0, 0]);
            error[20] = 60;
            error[19] += 8;
            host.receive(&error);
        }
        // To groups, in the IP header or below it.
        let groups: &[&str] = if ipv6 { &["ff02::1"] } else { &["255.255.255.255", "10.0.0.255", "224.0.0.1"] };
        for group in groups {
            host.receive_ip(theirs, ip(group), UDP, &udp(7, 9_999, b"nobody"));
            host.receive_ip(theirs, ip(group), 200, b"no such protocol");
        }
        let mut broadcast = to_closed_port(ipv6);
        broadcast[..6].copy_from_slice(&MacAddr::BROADCAST.0);
        host.receive(&broadcast);
    }
    // From what is not one host.
    for source in ["0.0.0.0", "10.0.0.255", "224.0.0.9", "127.0.0.1"] {
        host.receive_ip(ip(source), ip("10.0.0.1"), UDP, &udp(7, 9_999, b"nobody"));
    }
    // A fragment that is not the first.
    let mut fragment = to_closed_port(false);
    fragment[14 + 7] = 5;
    repair_checksums(&mut fragment);
    host.receive(&fragment);
    assert_eq!(host.take_packets(), []);
}

#[test]
fn n3_errors_are_limited_in_rate_and_pings_are_not() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        let frame = to_closed_port(ipv6);
        let mut errors = 0;
        for _ in 0..500 {
            host.receive(&frame);
            errors += host.take_packets().len();
        }
        assert_eq!(errors, 50);
        host.pass(Duration::from_millis(10));
        for _ in 0..500 {
            host.receive(&frame);
            errors += host.take_packets().len();
        }
        assert_eq!(errors, 60, "one more for each millisecond");
        assert_eq!(host.drops(DropReason::IcmpRateLimited), 940);
        let (ours, theirs) = pair(ipv6);
        for _ in 0..500 {
            host.receive_ping(theirs, ours);
            assert_eq!(host.take_packets().len(), 1);
        }
    }
}

#[test]
fn pings_to_groups_are_answered_over_ipv6_only() {
    let mut host = Host::with_neighbors();
    for group in ["255.255.255.255", "10.0.0.255", "224.0.0.1"] {
        host.receive_ping(ip("10.0.0.2"), ip(group));
    }
    assert!(host.take_packets().is_empty(), "RFC 1122 §3.2.2.6: smurf");
    host.receive_ping(ip("fd00::2"), ip("ff02::1"));
    assert_eq!(host.take_packets().len(), 1, "RFC 4443 §4.2");
}

#[test]
fn n6_martians_are_dropped_and_counted() {
    let mut host = Host::with_neighbors();
    let pairs = [
        // Loopback, this network, class E, groups, and our own address, as a source.
        ("127.0.0.1", "10.0.0.1"),
        ("0.0.0.0", "10.0.0.1"),
        ("0.1.2.3", "10.0.0.1"),
        ("240.0.0.1", "10.0.0.1"),
        ("255.255.255.255", "10.0.0.1"),
        ("224.0.0.1", "10.0.0.1"),
        ("10.0.0.255", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        // And as destinations.
        ("10.0.0.2", "127.0.0.1"),
        ("10.0.0.2", "0.0.0.0"),
        ("::1", "fd00::1"),
        ("::ffff:10.0.0.2", "fd00::1"),
        ("ff02::1", "fd00::1"),
        ("::", "fd00::1"),
        ("fd00::1", "fd00::1"),
        ("fd00::2", "::1"),
        ("fd00::2", "::"),
        ("fd00::2", "::ffff:10.0.0.1"),
    ];
    for (number, (source, destination)) in pairs.into_iter().enumerate() {
        host.receive_ping(ip(source), ip(destination));
        host.receive_ip(ip(source), ip(destination), TCP, &[0; 20]);
        assert_eq!(host.drops(DropReason::IpMartian), 2 * number as u64 + 2, "{source} to {destination}");
    }
    assert!(host.take_all().is_empty());
}

/// What has been reported to a socket.
fn udp_error(host: &mut Host, socket: UdpHandle) -> Option<UdpError> {
    host.stack.udp_error(&mut host.pool, socket, &mut []).map(|(_, error)| error)
}

/// A host with a UDP socket that has sent a datagram from port 7 to the neighbour's port 9; the packet that it was.
fn after_sending(ipv6: bool) -> (Host, UdpHandle, Vec<u8>) {
    let mut host = Host::with_neighbors();
    let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
    let meta = UdpMeta::to(SocketAddr::new(pair(ipv6).1, 9));
    host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &[7; 1_000]).unwrap();
    let packet = host.take_all()[0][14..].to_vec();
    (host, socket, packet)
}

#[test]
fn n3_errors_reach_the_socket_that_they_are_about() {
    let unreachable_v4 = (0..16).filter(|&code| code != 4).map(|code| (3, code));
    let kinds_v4: Vec<_> = unreachable_v4.chain([(11, 0), (11, 1), (12, 0), (12, 1)]).collect();
    let kinds_v6: Vec<_> = (0..=6).map(|code| (1, code)).chain([(3, 0), (3, 1), (4, 0), (4, 1), (4, 2)]).collect();
    for (ipv6, kinds) in [(false, kinds_v4), (true, kinds_v6)] {
        for (kind, code) in kinds {
            let (mut host, socket, sent) = after_sending(ipv6);
            let (ours, theirs) = pair(ipv6);
            let protocol = if ipv6 { ICMPV6 } else { ICMP };
            let mut tell = |quote: &[u8], rest| {
                host.receive_ip(theirs, ours, protocol, &icmp(kind, code, rest, quote));
                udp_error(&mut host, socket)
            };
            let header_len = if ipv6 { 40 } else { 20 };
            // As little as every sender quotes (RFC 792), and as much as there is.
            for len in [header_len + 8, sent.len()] {
                let error = tell(&sent[..len], 0).unwrap();
                assert_eq!((error.remote, error.mtu), (SocketAddr::new(theirs, 9), None));
                assert_eq!((error.report.kind, error.report.code, error.report.reporter), (kind, code, theirs));
                let is_refusal = (kind, code) == if ipv6 { (1, 4) } else { (3, 3) };
                assert_eq!(error.report.reason == CloseReason::Refused, is_refusal);
            }
            // Too little, about another's datagram, and about none of ours.
            assert_eq!(tell(&sent[..header_len + 7], 0), None);
            for at in [header_len + 1, header_len - 1 - if ipv6 { 16 } else { 4 }, 0] {
                let mut other = sent.clone();
                other[at] ^= 0x40;
                assert_eq!(tell(&other, 0), None, "byte {at}");
            }
            // RFC 4884 §4: an extension follows 128 bytes of it, and a length that ends before the ports do is no quote.
            let extended = [&sent[..128], &[0x20, 0, 0, 0, 0, 8, 1, 1]].concat();
            let (at, unit) = if ipv6 { (24, 8) } else { (16, 4) };
            let has_length = kind != 4 && (!ipv6 || kind != 2);
            assert!(tell(&extended, (128 / unit) << at).is_some());
            assert_eq!(tell(&extended, 1 << at).is_none(), has_length);
            assert!(host.take_all().is_empty());
        }
    }
}

#[test]
fn n3_an_error_that_quotes_an_error_leads_nowhere() {
    for ipv6 in [false, true] {
        let (mut host, socket, sent) = after_sending(ipv6);
        let (ours, theirs) = pair(ipv6);
        let (protocol, kind) = if ipv6 { (ICMPV6, 1) } else { (ICMP, 3) };
        let mut quote = sent;
        for _ in 0..5 {
            let error = ip_frame((HOST_MAC, PEER_MAC), ours, theirs, protocol, &icmp(kind, 3, 0, &quote));
            quote = error[14..].to_vec();
            host.receive_ip(theirs, ours, protocol, &icmp(kind, 3, 0, &quote));
        }
        assert_eq!((udp_error(&mut host, socket), host.drops(DropReason::IcmpIgnored)), (None, 5));
        assert!(host.take_all().is_empty());
    }
}

/// N3, T46: "If a node receives a Packet Too Big message reporting a next-hop MTU that is less than the IPv6 minimum link MTU, it must
/// discard it" (RFC 8201 §4).
#[test]
fn n3_no_path_of_ipv6_takes_less_than_1280_bytes() {
    let (mut host, socket, sent) = after_sending(true);
    let (ours, theirs) = pair(true);
    for mtu in [0, 600, 1_279] {
        host.receive_ip(theirs, ours, ICMPV6, &icmp(2, 0, mtu, &sent));
    }
    assert_eq!((udp_error(&mut host, socket), host.drops(DropReason::IcmpIgnored)), (None, 3));
}

/// RFC 1349 §5.1 for answers, RFC 1812 §4.3.2.5 for errors.
#[test]
fn icmp_has_the_type_of_service_of_what_was_asked_or_precedence() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        let (ours, theirs) = pair(ipv6);
        let (protocol, kind) = if ipv6 { (ICMPV6, 128) } else { (ICMP, 8) };
        let mut ping = ip_frame((PEER_MAC, HOST_MAC), theirs, ours, protocol, &icmp(kind, 0, 1, b"ping"));
        // Expedited forwarding, and a mark that is nobody's answer's.
        let class = 0xb8 | 3;
        if ipv6 {
            (ping[14], ping[15]) = (0x60 | class >> 4, class << 4);
        } else {
            ping[15] = class;
            repair_checksums(&mut ping);
        }
        host.receive(&ping);
        host.receive(&to_closed_port(ipv6));
        let class_of = |frame: &Vec<u8>| if ipv6 { frame[14] << 4 | frame[15] >> 4 } else { frame[15] };
        let sent: Vec<u8> = host.take_all().iter().map(class_of).collect();
        assert_eq!(sent, [0xb8, if ipv6 { 0 } else { 0xc0 }]);
    }
}

#[test]
fn a_datagram_that_was_too_big_tells_the_path_to_those_that_follow() {
    for (ipv6, reported, mtu) in [(false, 1_000, 1_000), (false, 100, 552), (true, 1_300, 1_300), (true, 1_280, 1_280)]
    {
        let (mut host, socket, sent) = after_sending(ipv6);
        let (ours, theirs) = pair(ipv6);
        let (protocol, kind, code) = if ipv6 { (ICMPV6, 2, 0) } else { (ICMP, 3, 4) };
        host.receive_ip(theirs, ours, protocol, &icmp(kind, code, reported, &sent));
        assert_eq!(udp_error(&mut host, socket).unwrap().mtu, Some(reported as u16));
        let meta = UdpMeta::to(SocketAddr::new(theirs, 9));
        let mut send = |dont_fragment, len| {
            set_dont_fragment(&mut host, socket, dont_fragment);
            let sent = host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &vec![7; len]);
            sent.map(|()| host.take_all().iter().map(|frame| frame.len() - 14).collect::<Vec<_>>())
        };
        let max = mtu - 8 - if ipv6 { 40 } else { 20 };
        assert_eq!(send(true, max + 1), Err(UdpSendError::TooLong { max }));
        assert_eq!(send(true, max), Ok(vec![mtu]));
        let fragments = send(false, max + 1).unwrap();
        assert_eq!(fragments.len(), 2);
        assert!(fragments.iter().all(|len| *len <= mtu));
    }
}

#[test]
fn errors_about_pings_end_them() {
    for ipv6 in [false, true] {
        let (ours, theirs) = pair(ipv6);
        let protocol = if ipv6 { ICMPV6 } else { ICMP };
        let reporter = theirs;
        let cases = [
            ((3, 1), (1, 3), PingOutcome::Unreachable { code: 1, reporter }),
            ((11, 0), (3, 0), PingOutcome::TimeExceeded { reporter }),
            ((12, 0), (4, 0), PingOutcome::ParameterProblem { reporter }),
            ((3, 4), (2, 0), PingOutcome::TooBig { mtu: 1_300 }),
        ];
        for (kind_v4, kind_v6, expected) in cases {
            let mut host = Host::with_neighbors();
            let target = PingTarget { hop_limit: 3, ..theirs.into() };
            let wait = Duration::from_secs(1);
            let [ping, other] = [target, theirs.into()]
                .map(|target| host.stack.ping(&mut host.pool, host.now, target, 1_400, wait).unwrap());
            let sent = host.take_all();
            assert_eq!(sent[0][if ipv6 { 21 } else { 22 }], 3, "the hop limit");
            let (kind, code) = if ipv6 { kind_v6 } else { kind_v4 };
            host.receive_ip(theirs, ours, protocol, &icmp(kind, code, 1_300, &sent[0][14..]));
            assert_eq!(host.stack.ping_result(ping), Some(expected));
            assert_eq!(host.stack.ping_result(other), None);
        }
    }
}

#[test]
fn options_of_ipv4_are_stepped_over_and_source_routes_refused() {
    // RFC 1122 §3.2.1.8, RFC 7126. The pointer of a problem is that of the byte that makes no sense.
    type Judged = Result<(), Option<u8>>;
    let cases: [([u8; 8], Judged); 8] = [
        ([1, 1, 1, 1, 1, 1, 1, 0], Ok(())),
        ([7, 7, 4, 0, 0, 0, 0, 0], Ok(())),
        ([148, 4, 0, 0, 0, 0, 0, 0], Ok(())),
        ([99, 8, 9, 9, 9, 9, 9, 9], Ok(())),
        ([131, 7, 4, 10, 0, 0, 3, 0], Err(None)),
        ([1, 137, 7, 4, 10, 0, 0, 3], Err(None)),
        ([7, 1, 0, 0, 0, 0, 0, 0], Err(Some(21))),
        ([1, 1, 1, 1, 1, 7, 9, 0], Err(Some(26))),
    ];
    for (options, expected) in cases {
        let mut host = Host::with_neighbors();
        let mut frame = to_closed_port(false);
        frame.splice(34..34, options);
        frame[14] = 0x47;
        frame[17] += 8;
        repair_checksums(&mut frame);
        host.receive(&frame);
        let answers = host.take_packets();
        match expected {
            Ok(()) => assert_eq!(answers[0].2[..2], [3, 3], "{options:?}"),
            Err(None) => assert!(answers.is_empty(), "{options:?}"),
            Err(Some(pointer)) => assert_eq!((&answers[0].2[..2], answers[0].2[4]), (&[12, 0][..], pointer)),
        }
        assert_eq!(host.drops(DropReason::IpOptions), u64::from(expected.is_err()));
    }
}

#[test]
fn n4_unknown_options_are_treated_as_their_upper_bits_say() {
    // RFC 8200 §4.2, in each header that has options: 12 cases, to one and to all.
    const ROUTING: [u8; 8] = [60, 0, 4, 0, 0, 0, 0, 0];
    for (place, first) in [(0, 0), (0, 60), (8, 43)] {
        for bits in 0..4u8 {
            for to_group in [false, true] {
                let mut host = Host::with_neighbors();
                let (ours, theirs) = pair(true);
                let destination = if to_group { ip("ff02::1") } else { ours };
                let options = [ICMPV6, 0, bits << 6 | 0x1e, 4, 0, 0, 0, 0];
                let ping = ip_frame((PEER_MAC, HOST_MAC), theirs, destination, ICMPV6, &icmp(128, 0, 1, b"ping"));
                let mut frame = ping;
                frame.splice(54..54, [&ROUTING[..place], &options].concat());
                frame[20] = first;
                frame[19] += place as u8 + 8;
                host.receive(&frame);
                let answers: Vec<_> = host.take_packets().into_iter().map(|(_, _, answer)| answer).collect();
                match (bits, to_group) {
                    (0, _) => assert_eq!(answers[0][..2], [129, 0]),
                    (2, _) | (3, false) => {
                        assert_eq!(answers[0][..2], [4, 2]);
                        assert_eq!(answers[0][4..8], (40 + place as u32 + 2).to_be_bytes());
                        assert_eq!(answers[0][8..], frame[14..]);
                    }
                    _ => assert!(answers.is_empty(), "{bits} {to_group} {answers:?}"),
                }
            }
        }
    }
}

#[test]
fn n4_problems_point_at_what_names_the_header() {
    // RFC 4443 §3.4, behind any chain of headers that are known; a chain that is too long ends in silence.
    for count in 0..=9 {
        let mut host = Host::with_neighbors();
        let (ours, theirs) = pair(true);
        let mut chain = Vec::new();
        for number in 1..=count {
            let next = if number == count { 200 } else { 60 };
            chain.extend([next, 0, 1, 4, 0, 0, 0, 0]);
        }
        host.receive_ip(theirs, ours, if count == 0 { 200 } else { 60 }, &[&chain[..], b"what is it"].concat());
        let answers = host.take_packets();
        if count > 8 {
            assert!(answers.is_empty());
            continue;
        }
        let pointer = if count == 0 { 6 } else { 40 + 8 * (count - 1) };
        assert_eq!((&answers[0].2[..2], &answers[0].2[4..8]), (&[4, 1][..], &(pointer as u32).to_be_bytes()[..]));
    }
    // RFC 5095 §3: a routing header of type 0 that has somewhere to go is unknown.
    let mut host = Host::with_neighbors();
    let (ours, theirs) = pair(true);
    let route = [&[59, 2, 0, 1, 0, 0, 0, 0][..], &[0xfd; 16]].concat();
    host.receive_ip(theirs, ours, 43, &route);
    let answers = host.take_packets();
    assert_eq!((&answers[0].2[..2], &answers[0].2[4..8]), (&[4, 0][..], &42u32.to_be_bytes()[..]));
}

#[test]
fn flows_have_labels() {
    // RFC 6437 §3: one for all packets of a flow, another for others.
    let mut host = Host::with_neighbors();
    let to = pair(true).1;
    let [a, b] = [7, 8].map(|port| host.stack.bind_udp(Endpoint::any(port)).unwrap());
    let mut labels = Vec::new();
    for (socket, port) in [(a, 9), (a, 9), (a, 10), (b, 9)] {
        let meta = UdpMeta::to(SocketAddr::new(to, port));
        host.stack.udp_send(&mut host.pool, host.now, socket, &meta, b"data").unwrap();
        labels.push(host.take_all()[0][14..18].to_vec());
    }
    for remote in [80, 81] {
        host.stack.connect(host.now, SocketAddr::new(to, remote), ConnectOptions::default()).unwrap();
        let syn = host.take_all()[0][14..18].to_vec();
        host.pass(Duration::from_millis(900));
        let again = host.pass(Duration::from_millis(200));
        assert_eq!(again[0].1[14..18], syn[..]);
        host.pass(Duration::from_secs(200));
        labels.push(syn);
    }
    assert_eq!(labels[0], labels[1]);
    labels.remove(0);
    assert!(labels.iter().all(|label| label[0] == 0x60 && label[1..] != [0, 0, 0]));
    for (number, label) in labels.iter().enumerate() {
        assert!(!labels[..number].contains(label), "{labels:?}");
    }
}
