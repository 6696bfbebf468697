//! Router advertisements of our own (RFC 4861 §6.2), and what our own hosts make of them.

use crate::host::{Host, NIC, PEER_MAC, ip};
use ethertab::time::{Duration, Instant};
use ethertab::wire::ndp::{self, NdpOption, PrefixInformation, RouterAdvertisement};
use ethertab::wire::{Icmpv6Message, MacAddr, NdpOptions};
use ethertab::{AddressOrigin, AdvertiseError, Autoconfiguration, Config, InterfaceConfig, Limits, Stack};
use ethertab_sim::packet::{ICMPV6, ip_frame, parse_ip};
use ethertab_sim::{Impairment, World};
use std::net::IpAddr;

const PREFIX: PrefixInformation = PrefixInformation {
    prefix_len: 64,
    on_link: true,
    autonomous: true,
    valid_lifetime: 86_400,
    preferred_lifetime: 14_400,
    prefix: std::net::Ipv6Addr::new(0xfd00, 0, 0, 9, 0, 0, 0, 0),
};

fn advertisement() -> RouterAdvertisement {
    RouterAdvertisement { current_hop_limit: 64, router_lifetime: 1_800, ..RouterAdvertisement::default() }
}

/// A host that advertises itself every 600 s at most.
fn router() -> Host {
    let mut host = Host::new();
    let options = [NdpOption::PrefixInformation(PREFIX), NdpOption::Mtu(1_500)];
    let interval = Duration::from_secs(600);
    host.stack.advertise_router(&mut host.pool, host.now, NIC, &advertisement(), &options, interval).unwrap();
    host
}

/// The router lifetimes among what was sent to all, with when in milliseconds.
fn advertised(sent: &[(Instant, Vec<u8>)]) -> Vec<(u64, u16)> {
    advertised_to("ff02::1", MacAddr([0x33, 0x33, 0, 0, 0, 1]), sent)
}

/// The router lifetimes among what was sent to this address and station.
fn advertised_to(address: &str, mac: MacAddr, sent: &[(Instant, Vec<u8>)]) -> Vec<(u64, u16)> {
    let lifetime = |frame: &[u8]| {
        let (IpAddr::V6(source), IpAddr::V6(destination), _, payload) = parse_ip(frame)? else { return None };
        match Icmpv6Message::parse(source, destination, payload).ok()? {
            Icmpv6Message::RouterAdvertisement { advertisement, options } if ip(address) == destination => {
                assert_eq!((frame[21], &frame[..6]), (255, &mac.0[..]));
                assert!(NdpOptions::new(options).any(|option| option == NdpOption::PrefixInformation(PREFIX)));
                Some(advertisement.router_lifetime)
            }
            _ => None,
        }
    };
    sent.iter().filter_map(|(at, frame)| Some((at.as_millis(), lifetime(frame)?))).collect()
}

/// A solicitation of a host that has no address yet, or has one.
fn solicit(host: &mut Host, source: &str) {
    let mut message = [0; 16];
    let (source, destination) = (source.parse().unwrap(), "ff02::2".parse().unwrap());
    let mac = (source != std::net::Ipv6Addr::UNSPECIFIED).then_some(PEER_MAC);
    let len = ndp::emit_router_solicitation(source, destination, &mut message, mac);
    let mac = MacAddr([0x33, 0x33, 0, 0, 0, 2]);
    host.receive(&ip_frame((PEER_MAC, mac), source.into(), destination.into(), ICMPV6, &message[..len]));
}

/// §6.2.4.
#[test]
fn advertisements_come_at_random_times_and_the_first_ones_soon() {
    let mut host = router();
    let sent = advertised(&host.pass(Duration::from_secs(20_000)));
    let gaps: Vec<u64> = sent.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert_eq!(sent[0], (0, 1_800));
    assert_eq!(gaps[..2], [16_000, 16_000]);
    assert!(gaps[2..].iter().all(|gap| (200_000..=600_000).contains(gap)), "{gaps:?}");
    assert!(gaps.len() > 30);
}

/// RFC 7772 §5.1: a host that says who it is is answered alone, within half a second; all hosts hear it if there are two at once.
#[test]
fn n1_who_asks_alone_is_answered_alone() {
    let mut host = router();
    host.pass(Duration::from_secs(100));
    let start = host.now.as_millis();
    solicit(&mut host, "fe80::2");
    solicit(&mut host, "fe80::2");
    let sent = host.pass(Duration::from_secs(3));
    assert!(advertised(&sent).is_empty());
    let alone = advertised_to("fe80::2", PEER_MAC, &sent);
    assert!(alone.len() == 1 && alone[0].0 - start <= 500 && alone[0].1 == 1_800, "{alone:?}");
    assert_eq!(host.neighbor(ip("fe80::2")).map(|found| found.0), Some(Some(PEER_MAC)));
    solicit(&mut host, "fe80::2");
    solicit(&mut host, "fe80::3");
    let sent = host.pass(Duration::from_secs(3));
    let counts = ["fe80::2", "fe80::3"].map(|address| advertised_to(address, PEER_MAC, &sent).len());
    assert_eq!((advertised(&sent).len(), counts), (1, [1, 0]));
}

/// §6.2.6: soon, to all, and at most every three seconds.
#[test]
fn n1_solicitations_are_answered_at_a_limited_rate() {
    let mut host = router();
    host.pass(Duration::from_secs(100));
    let mut sent = Vec::new();
    for _ in 0..100 {
        solicit(&mut host, "::");
        sent.extend(host.pass(Duration::from_millis(100)));
    }
    let times: Vec<u64> = advertised(&sent).iter().map(|(at, _)| *at).collect();
    assert!(times[0] <= 100_500, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 3_000), "{times:?}");
    assert!((3..=4).contains(&times.len()), "{times:?}");
}

/// §6.2.5.
#[test]
fn the_end_is_told_and_the_memory_given_back() {
    let mut host = router();
    host.pass(Duration::from_secs(1));
    host.stack.stop_advertising(&mut host.pool, host.now, NIC);
    let sent = advertised(&host.pass(Duration::from_secs(3_600)));
    assert_eq!(sent, [(1_000, 0)]);
    solicit(&mut host, "fe80::2");
    assert!(host.pass(Duration::from_secs(10)).is_empty());
    assert_eq!((host.pool.blocks_in_use(), host.stack.next_timeout()), (0, None));
}

#[test]
fn what_cannot_be_advertised_is_refused() {
    let mut host = Host::new();
    let mut advertise = |options: &[NdpOption<'_>], seconds: u64| {
        let interval = Duration::from_secs(seconds);
        host.stack.advertise_router(&mut host.pool, host.now, NIC, &advertisement(), options, interval)
    };
    assert_eq!(advertise(&[], 3), Err(AdvertiseError::BadInterval(Duration::from_secs(3))));
    assert_eq!(advertise(&[NdpOption::PrefixInformation(PREFIX); 40], 600), Err(AdvertiseError::TooLong(1_304)));
    assert_eq!(advertise(&[], 600), Ok(()));
}

/// A router and a host of ours: the host gets an address and its way out, and loses them when the router ends.
#[test]
fn our_hosts_configure_themselves_by_our_router() {
    let mut world = World::new(3);
    let router = world.host("router", &["fd00:0:0:9::1/64"]).unwrap();
    let mut stack = Stack::new(Config::new([5, 6]), Limits::small());
    let mut config = InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 9, 9]));
    config.autoconfiguration = Some(Autoconfiguration::default());
    let nic = stack.add_interface(world.now(), config).unwrap();
    let host = world.network_mut().add_host("host", stack);
    world.network_mut().attach(host, nic).unwrap();
    world.cable(router, host, Impairment::default()).unwrap();
    world.run_for(Duration::from_secs(10));
    let now = world.now();
    let (stack, pool) = world.stack_mut(router).unwrap();
    let options = [NdpOption::PrefixInformation(PREFIX)];
    stack.advertise_router(pool, now, NIC, &advertisement(), &options, Duration::from_secs(600)).unwrap();
    world.run_for(Duration::from_secs(3));
    let found = world.stack(host).unwrap();
    assert!(found.addresses().any(|entry| entry.origin == AddressOrigin::Advertised && entry.is_assigned()));
    let is_default = |route: &&ethertab::Route| route.destination.length == 0;
    assert_eq!(found.routes().filter(is_default).count(), 1);
    let now = world.now();
    let (stack, pool) = world.stack_mut(router).unwrap();
    stack.stop_advertising(pool, now, NIC);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.stack(host).unwrap().routes().filter(is_default).count(), 0);
}
