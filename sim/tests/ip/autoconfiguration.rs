//! What a host makes of router advertisements (RFC 4861 §6.3, RFC 4862, RFC 4191, RFC 7217, RFC 7559, RFC 8106, RFC 8981) and of redirects.

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip};
use ethertab::AddressState::{Deprecated, Duplicate, Preferred};
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::wire::ndp::{
    self, NdpOption, PrefixInformation, RouteInformation, RouterAdvertisement, RouterPreference,
};
use ethertab::{
    AddressOrigin, Autoconfiguration, Config, DropReason, DuplicateDetection, Endpoint, Event, InterfaceAddress,
    InterfaceConfig, InterfaceIdentifiers, Limits, Pool, Prefix, RouteOrigin, Stack, UdpMeta,
};
use ethertab_sim::packet::{ICMPV6, UDP, icmp, ip_frame, parse_ip};
use std::net::{IpAddr, Ipv6Addr};

const ROUTER: &str = "fe80::1";
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
const HOUR: u32 = 3_600;

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A host that configures itself, and has done nothing yet.
fn host_with(configuration: Autoconfiguration, seed: [u64; 2]) -> Host {
    let mut stack = Stack::new(Config::new(seed), Limits::small());
    let mut config = InterfaceConfig::ethernet(HOST_MAC);
    config.detection = DuplicateDetection::Off;
    config.reports_groups = false;
    config.autoconfiguration = Some(configuration);
    stack.add_interface(Instant::ZERO, config).unwrap();
    Host { stack, pool: Pool::new(256), now: Instant::ZERO }
}

fn host() -> Host {
    host_with(Autoconfiguration::default(), [1, 2])
}

fn base() -> RouterAdvertisement {
    RouterAdvertisement { router_lifetime: 1_800, ..RouterAdvertisement::default() }
}

fn prefix(prefix: &str, valid: u32, preferred: u32) -> PrefixInformation {
    PrefixInformation {
        prefix_len: 64,
        on_link: true,
        autonomous: true,
        valid_lifetime: valid,
        preferred_lifetime: preferred,
        prefix: v6(prefix),
    }
}

fn advertise_from(host: &mut Host, router: &str, advertisement: &RouterAdvertisement, options: &[NdpOption<'_>]) {
    let mut message = [0; 600];
    let all_nodes = v6("ff02::1");
    let len =
        ndp::emit_router_advertisement(v6(router), all_nodes, &mut message, advertisement, options.iter().copied());
    host.receive(&ip_frame((PEER_MAC, ALL_NODES_MAC), ip(router), all_nodes.into(), ICMPV6, &message[..len]));
}

fn advertise(host: &mut Host, advertisement: &RouterAdvertisement, options: &[NdpOption<'_>]) {
    advertise_from(host, ROUTER, advertisement, options);
}

fn advertise_prefix(host: &mut Host, information: PrefixInformation) {
    advertise(host, &base(), &[NdpOption::PrefixInformation(information)]);
}

/// The host's addresses of a prefix.
fn made(host: &Host, network: &str) -> Vec<InterfaceAddress> {
    let network: Prefix = network.parse().unwrap();
    host.stack.addresses().filter(|entry| network.contains(entry.prefix.address)).copied().collect()
}

/// Whether packets to an address go to the router, or to the address itself; None if nowhere.
fn way(host: &mut Host, to: &str) -> Option<IpAddr> {
    let socket = host.stack.bind_udp(Endpoint::any(0)).unwrap();
    let sent = host.stack.udp_send(&mut host.pool, host.now, socket, &UdpMeta::to((ip(to), 9).into()), b"x");
    let frames = host.take_all();
    host.stack.udp_close(&mut host.pool, socket);
    sent.ok()?;
    let asked = frames
        .iter()
        .find(|frame| frame[54] == 135)
        .map(|frame| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[62..78]).unwrap()));
    let told =
        frames.iter().any(|frame| parse_ip(frame).is_some_and(|found| found.2 == UDP) && frame[..6] == PEER_MAC.0);
    asked.map(IpAddr::V6).or(told.then_some(ip(ROUTER)))
}

/// RFC 7559 §2: with exponential back-off, up to an hour, until a router answers.
#[test]
fn routers_are_asked_for_ever_less_often() {
    let mut host = host();
    let sent = host.pass(Duration::from_secs(40_000));
    let asked: Vec<u64> = sent.iter().filter(|(_, frame)| frame[54] == 133).map(|(at, _)| at.as_millis()).collect();
    assert!(asked[0] <= 1_000, "{asked:?}");
    for (place, pair) in asked.windows(2).enumerate() {
        let usual = (4_000_u64 << place.min(20)).min(3_600_000) as f64;
        let gap = (pair[1] - pair[0]) as f64;
        // Each interval is within a tenth of twice the one before it.
        assert!(gap > usual * 0.5 && gap < usual * 2.0 && gap <= 3_960_000.0, "{place}: {gap} {usual}");
    }
    assert!(asked.len() > 15);
    let (_, frame) = sent.iter().find(|(_, frame)| frame[54] == 133).unwrap();
    assert_eq!((frame[..6].to_vec(), frame[21]), (vec![0x33, 0x33, 0, 0, 0, 2], 255));
    assert_eq!(frame[62..70], [1, 1, 2, 0, 0, 0, 0, 1], "the sender's station");
    advertise(&mut host, &base(), &[]);
    assert!(!host.pass(Duration::from_secs(10_000)).iter().any(|(_, frame)| frame[54] == 133));
}

#[test]
fn n5_an_advertisement_gives_addresses_routes_and_settings() {
    let mut host = host();
    host.pass(Duration::from_secs(2));
    while host.stack.poll_event().is_some() {}
    let server = v6("2001:db8::53").octets();
    let route = RouteInformation {
        prefix_len: 48,
        preference: RouterPreference::High,
        lifetime: 600,
        prefix: v6("2001:db8:9::"),
    };
    let advertisement = RouterAdvertisement {
        current_hop_limit: 33,
        managed: true,
        other_config: true,
        reachable_time: 10_000,
        ..base()
    };
    advertise(
        &mut host,
        &advertisement,
        &[
            NdpOption::SourceLinkLayerAddress(PEER_MAC),
            NdpOption::Mtu(1_400),
            NdpOption::PrefixInformation(prefix("2001:db8:1::", HOUR, HOUR / 2)),
            NdpOption::RouteInformation(route),
            NdpOption::RecursiveDnsServers { lifetime: 600, servers: &[server] },
            NdpOption::DnsSearchList { lifetime: 600, domains: b"\x03lan\x07example\0\x04home\0\0\0" },
        ],
    );
    assert!(matches!(host.stack.poll_event(), Some(Event::Interface(NIC, _))));
    let address = made(&host, "2001:db8:1::/64");
    assert_eq!((address.len(), address[0].state, address[0].origin), (1, Preferred, AddressOrigin::Advertised));
    let link = host.stack.advertised_link(NIC).unwrap();
    assert_eq!((link.hop_limit, link.mtu, link.managed, link.other_config), (33, 1_400, true, true));
    let servers: Vec<_> = host.stack.advertised_dns_servers().map(|server| server.address).collect();
    assert_eq!(servers, [v6("2001:db8::53")]);
    let domains: Vec<_> = host.stack.advertised_domains().map(|domain| domain.name().to_vec()).collect();
    assert_eq!(domains, [b"\x03lan\x07example\0".to_vec(), b"\x04home\0".to_vec()]);
    // Its station is known already.
    assert_eq!(way(&mut host, "2001:db8:ffff::1"), Some(ip(ROUTER)));
    assert_eq!(way(&mut host, "2001:db8:9::1"), Some(ip(ROUTER)));
    assert_eq!(way(&mut host, "2001:db8:1::99"), Some(ip("2001:db8:1::99")), "a neighbour");
    // The hop limit counts, and so does the MTU.
    let socket = host.stack.bind_udp(Endpoint::any(0)).unwrap();
    let to = UdpMeta::to((ip("2001:db8:ffff::1"), 9).into());
    host.stack.udp_send(&mut host.pool, host.now, socket, &to, &[0; 1_452]).unwrap();
    let frames = host.take_all();
    assert!(frames.iter().all(|frame| frame[21] == 33 && frame.len() <= 1_414), "hop limit and MTU");
    assert_eq!(frames.len(), 2, "in fragments");
    // What is not renewed ends.
    host.pass(Duration::from_secs(601));
    assert_eq!((host.stack.advertised_dns_servers().count(), host.stack.advertised_domains().count()), (0, 0));
    host.pass(Duration::from_secs(1_200));
    assert_eq!(way(&mut host, "2001:db8:ffff::1"), None, "the router's time is over");
    assert_eq!(made(&host, "2001:db8:1::/64")[0].state, Deprecated);
    host.pass(Duration::from_secs(1_800));
    assert!(made(&host, "2001:db8:1::/64").is_empty());
    assert_eq!(way(&mut host, "2001:db8:1::99"), None);
}

#[test]
fn n5_a_prefix_is_on_the_link_or_for_addresses_only_if_it_says_so() {
    let mut host = host();
    advertise_prefix(&mut host, PrefixInformation { on_link: false, ..prefix("2001:db8:1::", HOUR, HOUR) });
    assert_eq!(way(&mut host, "2001:db8:1::99"), Some(ip(ROUTER)), "through the router");
    assert_eq!(made(&host, "2001:db8:1::/64").len(), 1);
    advertise_prefix(&mut host, PrefixInformation { autonomous: false, ..prefix("2001:db8:2::", HOUR, HOUR) });
    assert_eq!(way(&mut host, "2001:db8:2::99"), Some(ip("2001:db8:2::99")));
    assert!(made(&host, "2001:db8:2::/64").is_empty());
    // RFC 4862 §5.5.3 (b), (c) and (d).
    advertise_prefix(&mut host, prefix("fe80::", HOUR, HOUR));
    assert_eq!(made(&host, "fe80::/64").len(), 1, "the one that it always has");
    for refused in [
        prefix("2001:db8:3::", HOUR, 2 * HOUR),
        prefix("2001:db8:3::", 0, 0),
        PrefixInformation { prefix_len: 63, ..prefix("2001:db8:3::", HOUR, HOUR) },
    ] {
        advertise_prefix(&mut host, refused);
        assert!(made(&host, "2001:db8:3::/64").is_empty(), "{refused:?}");
    }
    // No end of prefixes makes no end of addresses.
    for number in 0x100..0x200_u16 {
        advertise_prefix(&mut host, prefix(&format!("2001:db8:{number:x}::"), HOUR, HOUR));
    }
    assert!(host.stack.addresses().count() <= Limits::small().addresses);
}

/// RFC 4862 §5.5.3 (e).
#[test]
fn n5_two_hours_are_the_least_that_a_long_lifetime_can_be_cut_to() {
    let cases = [
        (24 * HOUR, 600, 2 * HOUR),
        (24 * HOUR, 3 * HOUR, 3 * HOUR),
        (HOUR, 600, HOUR),
        (HOUR, HOUR + 600, HOUR + 600),
        (24 * HOUR, 0, 2 * HOUR),
    ];
    for (before, told, expected) in cases {
        let mut host = host();
        advertise_prefix(&mut host, prefix("2001:db8:1::", before, before));
        advertise_prefix(&mut host, prefix("2001:db8:1::", told, 0));
        let entry = made(&host, "2001:db8:1::/64")[0];
        assert_eq!(entry.valid_until, Instant::from_secs(u64::from(expected)), "{before} {told}");
        host.pass(Duration::from_secs(1));
        assert_eq!(made(&host, "2001:db8:1::/64")[0].state, Deprecated, "what is preferred may be ended at once");
    }
}

#[test]
fn n1_advertisements_and_redirects_from_elsewhere_are_refused() {
    let mut host = host();
    let mut message = [0; 600];
    let all_nodes = v6("ff02::1");
    for (source, hop_limit, code) in [("2001:db8::1", 255, 0), (ROUTER, 254, 0), (ROUTER, 255, 1)] {
        let options = [NdpOption::PrefixInformation(prefix("2001:db8:1::", HOUR, HOUR))];
        let len = ndp::emit_router_advertisement(v6(source), all_nodes, &mut message, &base(), options.into_iter());
        message[1] = code;
        message[2..4].fill(0);
        let body = [&message[4..8], &message[8..len]].concat();
        let sealed = icmp(134, code, u32::from_be_bytes(body[..4].try_into().unwrap()), &body[4..]);
        let mut frame = ip_frame((PEER_MAC, ALL_NODES_MAC), ip(source), all_nodes.into(), ICMPV6, &sealed);
        frame[14 + 7] = hop_limit;
        host.receive(&frame);
    }
    assert_eq!(host.drops(DropReason::NeighborDiscoveryInvalid), 3);
    assert_eq!(host.stack.routes().filter(|route| route.origin == RouteOrigin::Advertised).count(), 0);
    assert!(made(&host, "2001:db8:1::/64").is_empty());
}

/// RFC 4191 §2.1, and RFC 4861 §6.3.6 for routers that do not answer.
#[test]
fn the_preferred_router_is_used_and_one_that_ends_is_not() {
    let mut host = host();
    let high = RouterAdvertisement { preference: RouterPreference::High, ..base() };
    let option = [NdpOption::PrefixInformation(prefix("2001:db8:1::", HOUR, HOUR))];
    advertise_from(&mut host, "fe80::a", &base(), &option);
    assert_eq!(way(&mut host, "2001:db8:ffff::1"), Some(ip("fe80::a")));
    advertise_from(&mut host, "fe80::b", &high, &option);
    assert_eq!(way(&mut host, "2001:db8:ffff::2"), Some(ip("fe80::b")));
    // It says that it is none any more.
    advertise_from(&mut host, "fe80::b", &RouterAdvertisement { router_lifetime: 0, ..high }, &[]);
    host.pass(Duration::from_secs(5));
    assert_eq!(way(&mut host, "2001:db8:ffff::3"), Some(ip("fe80::a")));
}

/// N5: what somebody has set is not for routers to change or end.
#[test]
fn n5_advertisements_leave_the_users_routes_alone() {
    let mut host = host();
    host.stack.add_route_on(NIC, "::/0".parse().unwrap(), ip("fe80::a")).unwrap();
    for lifetime in [600, 0] {
        advertise_from(&mut host, "fe80::a", &RouterAdvertisement { router_lifetime: lifetime, ..base() }, &[]);
        let defaults: Vec<_> = host.stack.routes().filter(|route| route.destination.length == 0).collect();
        assert_eq!(defaults.len(), 1);
        assert_eq!((defaults[0].origin, defaults[0].expires), (RouteOrigin::Static, Instant::FAR_FUTURE));
    }
}

/// RFC 4861 §7.3.3: a neighbour that says it is no router is none.
#[test]
fn a_router_that_becomes_a_host_is_not_used_any_more() {
    let mut host = host();
    let options =
        [NdpOption::SourceLinkLayerAddress(PEER_MAC), NdpOption::PrefixInformation(prefix("2001:db8:1::", HOUR, HOUR))];
    advertise(&mut host, &base(), &options);
    assert_eq!(way(&mut host, "2001:db8:ffff::1"), Some(ip(ROUTER)));
    let body = [&v6(ROUTER).octets()[..], &[2, 1], &PEER_MAC.0].concat();
    host.receive(&ip_frame(
        (PEER_MAC, ALL_NODES_MAC),
        ip(ROUTER),
        ip("ff02::1"),
        ICMPV6,
        &icmp(136, 0, 0x2000_0000, &body),
    ));
    assert_eq!(way(&mut host, "2001:db8:ffff::1"), None);
}

/// RFC 7217: the same in the same network, another in another, and nothing of the station's address in it.
#[test]
fn stable_addresses_are_stable_and_temporary_ones_are_not() {
    let identifier = |seed: [u64; 2], network: &str, configuration: Autoconfiguration| {
        let mut host = host_with(configuration, seed);
        advertise_prefix(&mut host, prefix(network, HOUR, HOUR));
        let IpAddr::V6(address) = made(&host, &format!("{network}/64"))[0].prefix.address else { unreachable!() };
        address.to_bits() as u64
    };
    let stable = Autoconfiguration::default();
    let first = identifier([1, 2], "2001:db8:1::", stable);
    assert_eq!(first, identifier([1, 2], "2001:db8:1::", stable));
    assert_ne!(first, identifier([1, 2], "2001:db8:2::", stable));
    assert_ne!(first, identifier([1, 3], "2001:db8:1::", stable));
    let mut eui64 = Autoconfiguration::default();
    eui64.identifiers = InterfaceIdentifiers::Eui64;
    assert_eq!(identifier([1, 2], "2001:db8:1::", eui64), 0x0000_00ff_fe00_0001);
    // RFC 8981: a new one each day, before the last is deprecated; never more than a few at once.
    let mut temporary = Autoconfiguration::default();
    temporary.temporary = true;
    let mut host = host_with(temporary, [1, 2]);
    let mut seen = Vec::new();
    for _ in 0..7 * 24 {
        advertise_prefix(&mut host, prefix("2001:db8:1::", 30 * 24 * HOUR, 7 * 24 * HOUR));
        host.pass(Duration::from_secs(3_600));
        let all = made(&host, "2001:db8:1::/64");
        let temporary: Vec<_> = all.iter().filter(|entry| entry.origin == AddressOrigin::Temporary).collect();
        assert!(temporary.iter().any(|entry| entry.state == Preferred), "{:?}", host.now);
        assert!(temporary.len() <= 5 && all.len() == temporary.len() + 1, "{}", temporary.len());
        for entry in temporary {
            if !seen.contains(&entry.prefix) {
                seen.push(entry.prefix);
            }
        }
    }
    assert!((7..=13).contains(&seen.len()), "{} in a week", seen.len());
}

/// RFC 8981 §3.4: an advertisement prolongs temporary addresses, too, until a day has passed less what sets hosts apart. Routers whose prefixes
/// are theirs for a short time only advertise them so.
#[test]
fn temporary_addresses_are_prolonged_with_their_prefix() {
    let mut temporary = Autoconfiguration::default();
    temporary.temporary = true;
    let mut host = host_with(temporary, [1, 2]);
    let mut seen = Vec::new();
    let mut days = Vec::new();
    for _ in 0..3 * 24 * 6 {
        advertise_prefix(&mut host, prefix("2001:db8:1::", HOUR, HOUR / 2));
        host.pass(Duration::from_secs(600));
        let all = made(&host, "2001:db8:1::/64");
        let temporary = all.iter().filter(|entry| entry.origin == AddressOrigin::Temporary);
        let preferred: Vec<_> = temporary.filter(|entry| entry.state == Preferred).map(|entry| entry.prefix).collect();
        assert!(!preferred.is_empty(), "{:?}", host.now);
        for prefix in preferred {
            if !seen.contains(&prefix) {
                seen.push(prefix);
                days.push(host.now);
            }
        }
    }
    let apart: Vec<_> = days.windows(2).map(|pair| pair[1].since(pair[0]).as_secs() / 3_600).collect();
    assert!(seen.len() >= 3 && apart.iter().all(|hours| (14..=24).contains(hours)), "{apart:?}");
    // What a router does not advertise any more is not preferred any more.
    host.pass(Duration::from_secs(1_801));
    assert!(made(&host, "2001:db8:1::/64").iter().all(|entry| entry.state != Preferred));
}

/// RFC 7217 §6: another is tried when somebody has the address.
#[test]
fn n1_a_made_address_that_somebody_has_is_replaced() {
    let mut stack = Stack::new(Config::new([1, 2]), Limits::small());
    let mut config = InterfaceConfig::ethernet(HOST_MAC);
    config.detection = DuplicateDetection::Full;
    config.reports_groups = false;
    config.autoconfiguration = Some(Autoconfiguration::default());
    stack.add_interface(Instant::ZERO, config).unwrap();
    let mut host = Host { stack, pool: Pool::new(256), now: Instant::ZERO };
    host.pass(Duration::from_secs(3));
    advertise_prefix(&mut host, prefix("2001:db8:1::", HOUR, HOUR));
    let mut tried = Vec::new();
    for _ in 0..6 {
        let Some(entry) = made(&host, "2001:db8:1::/64").into_iter().find(|entry| entry.state != Duplicate) else {
            break;
        };
        let IpAddr::V6(address) = entry.prefix.address else { unreachable!() };
        tried.push(address);
        let body = [&address.octets()[..], &[2, 1], &PEER_MAC.0].concat();
        let taken = icmp(136, 0, 0x2000_0000, &body);
        host.receive(&ip_frame((PEER_MAC, ALL_NODES_MAC), address.into(), ip("ff02::1"), ICMPV6, &taken));
    }
    assert_eq!(tried.len(), 4, "the first, and three more: {tried:?}");
}

/// RFC 4861 §8.
#[test]
fn n1_a_redirect_counts_if_it_is_of_the_router_in_use() {
    let mut host = host();
    advertise(&mut host, &base(), &[NdpOption::PrefixInformation(prefix("2001:db8:1::", HOUR, HOUR))]);
    let about = "2001:db8:ffff::1";
    let redirect = |host: &mut Host, from: &str, target: &str| {
        let own = host.stack.addresses().next().unwrap().prefix.address;
        let mut message = [0; 400];
        let IpAddr::V6(to) = own else { unreachable!() };
        let len = ndp::emit_redirect(v6(from), to, &mut message, (v6(target), v6(about)), Some(PEER_MAC), &[0; 64]);
        host.receive(&ip_frame((PEER_MAC, HOST_MAC), ip(from), own, ICMPV6, &message[..len]));
    };
    for (from, target) in [("fe80::bad", "fe80::2"), (ROUTER, "2001:db8:1::2"), (ROUTER, "ff02::2")] {
        redirect(&mut host, from, target);
        assert_eq!(way(&mut host, about), Some(ip(ROUTER)), "{from} {target}");
        host.pass(Duration::from_secs(10));
    }
    redirect(&mut host, ROUTER, "fe80::2");
    assert_eq!(host.neighbor(ip("fe80::2")).map(|found| found.0), Some(Some(PEER_MAC)));
    let redirected = host.stack.routes().find(|route| route.origin == RouteOrigin::Redirected).unwrap();
    assert_eq!((redirected.gateway, redirected.destination.length), (Some(ip("fe80::2")), 128));
}

/// RFC 6724 §5, rule 5.5: from an address of a prefix that the router which is used advertises.
#[test]
fn n5_the_source_is_of_a_prefix_that_the_router_in_use_advertises() {
    let mut host = host();
    let other = "fe80::2";
    let about = ["2001:db8:a::1", "2001:db8:b::1"];
    for (router, network, route) in [(ROUTER, "fd00:0:0:a::", about[0]), (other, "fd00:0:0:b::", about[1])] {
        let route =
            RouteInformation { prefix_len: 64, preference: RouterPreference::High, lifetime: HOUR, prefix: v6(route) };
        let options = [NdpOption::PrefixInformation(prefix(network, HOUR, HOUR)), NdpOption::RouteInformation(route)];
        advertise_from(&mut host, router, &base(), &options);
    }
    let source = |host: &mut Host, to: &str| {
        let socket = host.stack.bind_udp(Endpoint::any(0)).unwrap();
        host.stack.udp_connect(socket, Some((ip(to), 7).into())).unwrap();
        let local = host.stack.udp_address(socket).unwrap().address.unwrap();
        host.stack.udp_close(&mut host.pool, socket);
        local
    };
    let [first, second] = ["fd00:0:0:a::/64", "fd00:0:0:b::/64"].map(|network| made(&host, network)[0].prefix.address);
    assert_eq!(about.map(|to| source(&mut host, to)), [first, second]);
    // A prefix of both routers is as good by either, and rule 8 decides.
    advertise_from(&mut host, other, &base(), &[NdpOption::PrefixInformation(prefix("fd00:0:0:a::", HOUR, HOUR))]);
    assert_eq!(source(&mut host, about[0]), first);
}
