//! Which way packets go: longest prefix, metric, preference, and gateways that do not answer.

use crate::host::{HOST_MAC, Host, NIC, ip};
use crate::neighbors::asks_for;
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{ConfigError, Endpoint, Prefix, Route, RouteOrigin, RouterPreference, UdpMeta};
use ethertab_sim::packet::{ICMPV6, arp, ethernet, icmp, ip_frame, parse_ip};
use std::net::IpAddr;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// The station of the neighbour whose address ends in this number.
fn station(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, number])
}

fn gateway(is_ipv6: bool, number: u8) -> IpAddr {
    if is_ipv6 { ip(&format!("fd00::{number:x}")) } else { ip(&format!("10.0.0.{number}")) }
}

/// A host with neighbours that are known for ever.
fn host_with_gateways() -> Host {
    let mut host = Host::new();
    for number in 10..20 {
        for is_ipv6 in [false, true] {
            host.stack.add_neighbor(&mut host.pool, NIC, gateway(is_ipv6, number), station(number)).unwrap();
        }
    }
    host
}

/// The last number of the station that a datagram for this address goes to; none if it waits, or goes nowhere.
fn way(host: &mut Host, to: IpAddr) -> Option<u8> {
    let socket = host.stack.bind_udp(Endpoint::any(0)).unwrap();
    let sent = host.stack.udp_send(&mut host.pool, host.now, socket, &UdpMeta::to((to, 7).into()), b"data");
    let frames = host.take_all();
    host.stack.udp_close(&mut host.pool, socket);
    sent.ok()?;
    frames.iter().find(|frame| parse_ip(frame).is_some_and(|(_, found, ..)| found == to)).map(|frame| frame[5])
}

#[test]
fn the_longest_prefix_goes_first_whatever_the_order_and_the_metric() {
    let mut host = host_with_gateways();
    let all = [
        ("0.0.0.0/0", 10),
        ("192.0.2.0/24", 12),
        ("192.0.0.0/16", 11),
        ("192.0.2.128/25", 13),
        ("192.0.2.200/32", 14),
        ("::/0", 15),
        ("2001:db8:0:8000::/49", 17),
        ("2001:db8::/32", 16),
    ];
    for (destination, number) in all {
        let is_ipv6 = destination.contains(':');
        let mut route = Route::via(NIC, prefix(destination), gateway(is_ipv6, number));
        route.metric = u32::from(number);
        host.stack.set_route(route).unwrap();
    }
    let cases = [
        ("8.8.8.8", 10),
        ("192.0.3.1", 11),
        ("192.0.2.1", 12),
        ("192.0.2.129", 13),
        ("192.0.2.200", 14),
        ("2002::1", 15),
        ("2001:db8::1", 16),
        ("2001:db8:0:8000::1", 17),
        ("10.0.0.18", 18),
        ("fd00::13", 19),
    ];
    for (to, number) in cases {
        assert_eq!(way(&mut host, ip(to)), Some(number), "{to}");
    }
    // Two networks and the link-local one besides.
    assert_eq!(host.stack.routes().filter(|route| route.origin == RouteOrigin::Connected).count(), 3);
    host.stack.remove_route(prefix("192.0.2.128/25")).unwrap();
    assert_eq!(way(&mut host, ip("192.0.2.129")), Some(12));
    host.stack.remove_route(prefix("0.0.0.0/0")).unwrap();
    assert_eq!(way(&mut host, ip("8.8.8.8")), None);
    assert_eq!(host.stack.remove_route(prefix("10.0.0.0/24")), Err(ConfigError::NotFound(prefix("10.0.0.0/24"))));
}

#[test]
fn metrics_and_then_preferences_decide_between_routes_to_one_prefix() {
    for is_ipv6 in [false, true] {
        let mut host = host_with_gateways();
        let (everywhere, away) = if is_ipv6 { ("::/0", "2001:db8::1") } else { ("0.0.0.0/0", "192.0.2.1") };
        let mut set = |number: u8, metric, preference| {
            let mut route = Route::via(NIC, prefix(everywhere), gateway(is_ipv6, number));
            route.metric = metric;
            route.preference = preference;
            host.stack.set_route(route).unwrap();
            way(&mut host, ip(away))
        };
        assert_eq!(set(10, 5, RouterPreference::Low), Some(10));
        assert_eq!(set(11, 5, RouterPreference::Medium), Some(11));
        assert_eq!(set(12, 6, RouterPreference::High), Some(11));
        assert_eq!(set(13, 5, RouterPreference::High), Some(13));
        assert_eq!(set(14, 5, RouterPreference::High), Some(13), "the first of equal ones stays");
        assert_eq!(set(13, 5, RouterPreference::High), Some(13), "also if it is told again");
        assert_eq!(set(13, 7, RouterPreference::High), Some(14));
        let route = Route::via(NIC, prefix(everywhere), gateway(is_ipv6, 14));
        host.stack.unset_route(&route).unwrap();
        assert_eq!(way(&mut host, ip(away)), Some(11));
        host.stack.remove_route(prefix(everywhere)).unwrap();
        assert_eq!(way(&mut host, ip(away)), None);
    }
}

#[test]
fn routes_end_with_their_lifetime_and_not_before() {
    let mut host = host_with_gateways();
    let mut route = Route::via(NIC, prefix("::/0"), gateway(true, 10));
    route.origin = RouteOrigin::Advertised;
    route.expires = Instant::from_secs(30);
    host.stack.set_route(route).unwrap();
    route.expires = Instant::from_secs(60);
    host.stack.set_route(route).unwrap();
    host.pass(Duration::from_secs(59));
    assert_eq!(way(&mut host, ip("2001:db8::1")), Some(10));
    host.pass(Duration::from_secs(1));
    assert_eq!(way(&mut host, ip("2001:db8::1")), None);
}

#[test]
fn as_many_routes_as_the_limit_says_whatever_the_addresses() {
    let mut host = host_with_gateways();
    let limit = ethertab::Limits::small().routes;
    for number in 0..limit {
        host.stack.add_route(prefix(&format!("192.0.{number}.0/24")), gateway(false, 10)).unwrap();
    }
    let full = Err(ConfigError::LimitReached("routes"));
    assert_eq!(host.stack.add_route(prefix("198.51.100.0/24"), gateway(false, 10)), full);
    host.stack.remove_route(prefix("192.0.0.0/24")).unwrap();
    host.stack.add_route(prefix("198.51.100.0/24"), gateway(false, 10)).unwrap();
    assert_eq!(
        host.stack.add_route(prefix("198.51.100.0/24"), gateway(false, 10)),
        Err(ConfigError::Exists(prefix("198.51.100.0/24")))
    );
}

/// RFC 3021: no broadcast address, two hosts.
#[test]
fn the_two_hosts_of_a_31_bit_prefix_reach_each_other() {
    let mut host = Host::new();
    for (ours, theirs) in [("192.0.2.0/31", "192.0.2.1"), ("192.0.2.3/31", "192.0.2.2")] {
        host.stack.add_address(host.now, NIC, prefix(ours)).unwrap();
        host.stack.add_neighbor(&mut host.pool, NIC, ip(theirs), station(31)).unwrap();
        host.take_all();
        assert_eq!(way(&mut host, ip(theirs)), Some(31));
    }
}

/// The neighbour whose address ends in this number tells its station.
fn answer(host: &mut Host, is_ipv6: bool, number: u8) {
    let mac = station(number);
    let frame = match (gateway(is_ipv6, number), is_ipv6) {
        (IpAddr::V4(address), _) => {
            ethernet(HOST_MAC, mac, 0x0806, &arp(2, (mac, address.octets()), (HOST_MAC, [10, 0, 0, 1])))
        }
        (IpAddr::V6(address), _) => {
            let data = [&address.octets()[..], &[2, 1], &mac.0].concat();
            let message = icmp(136, 0, 0xe000_0000, &data);
            ip_frame((mac, HOST_MAC), IpAddr::V6(address), ip("fd00::1"), ICMPV6, &message)
        }
    };
    host.receive(&frame);
}

/// RFC 4861 §6.3.6, RFC 4191 §3.2 and §3.5.
#[test]
fn a_gateway_that_does_not_answer_is_passed_over_and_asked_again() {
    for is_ipv6 in [false, true] {
        let mut host = Host::new();
        let (everywhere, away) = if is_ipv6 { ("::/0", "2001:db8::1") } else { ("0.0.0.0/0", "192.0.2.1") };
        for number in [10, 11] {
            host.stack.add_route(prefix(everywhere), gateway(is_ipv6, number)).unwrap();
        }
        // Nobody answers: they take turns.
        assert_eq!(way(&mut host, ip(away)), None);
        host.pass(Duration::from_secs(4));
        assert_eq!(way(&mut host, ip(away)), None);
        answer(&mut host, is_ipv6, 11);
        host.take_all();
        assert_eq!(way(&mut host, ip(away)), Some(11), "IPv6: {is_ipv6}");
        // The first is asked again, no more than once a minute, and used as soon as it answers.
        let mut asked = Vec::new();
        while asked.len() < 6 {
            let sent = host.pass(Duration::from_secs(1));
            let requests = sent.iter().filter(|(_, frame)| asks_for(frame, gateway(is_ipv6, 10)));
            asked.extend(requests.map(|(at, _)| at.as_millis() / 1_000));
            answer(&mut host, is_ipv6, 11);
            assert_eq!(way(&mut host, ip(away)), Some(11), "IPv6: {is_ipv6}");
            assert!(host.now < Instant::from_secs(300), "asked at {asked:?}");
        }
        assert!(asked[3] - asked[0] >= 60 && asked[3] - asked[2] >= 58, "{asked:?}");
        answer(&mut host, is_ipv6, 10);
        assert_eq!(way(&mut host, ip(away)), Some(10), "IPv6: {is_ipv6}");
    }
}

/// Routes that somebody has set are not left for shorter ones (RFC 1812 §5.2.4.3); those of advertisements are (RFC 4191 §3.2).
#[test]
fn only_advertised_routes_are_left_for_shorter_prefixes() {
    for (origin, expected) in [(RouteOrigin::Static, None), (RouteOrigin::Advertised, Some(12))] {
        let mut host = Host::new();
        host.stack.add_neighbor(&mut host.pool, NIC, gateway(true, 12), station(12)).unwrap();
        host.stack.add_route(prefix("::/0"), gateway(true, 12)).unwrap();
        let mut route = Route::via(NIC, prefix("2001:db8::/32"), gateway(true, 10));
        route.origin = origin;
        host.stack.set_route(route).unwrap();
        assert_eq!(way(&mut host, ip("2001:db8::1")), None);
        host.pass(Duration::from_secs(4));
        assert_eq!(way(&mut host, ip("2001:db8::1")), expected);
    }
}
