//! ICMP errors: when they are sent and when not (RFC 1122 §3.2.2, RFC 4443 §2.4); martians.

use crate::host::{HOST_MAC, Host, PEER_MAC, ip, pair};
use ethertab::DropReason;
use ethertab::time::Duration;
use ethertab::wire::MacAddr;
use ethertab_sim::mutate::repair_checksums;
use ethertab_sim::packet::{ICMP, ICMPV6, TCP, UDP, icmp, ip_frame, udp};

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
