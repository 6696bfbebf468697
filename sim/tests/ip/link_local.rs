//! IPv4 link-local addresses (RFC 3927).

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC};
use ethertab::AddressState::{Preferred, Tentative};
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{AddressOrigin, Config, ConfigError, InterfaceConfig, Limits, Pool, Stack};
use ethertab_sim::packet::{arp, ethernet};
use ethertab_sim::{Impairment, World};
use std::net::{IpAddr, Ipv4Addr};

const ARP: u16 = 0x0806;

/// A host without an address that claims one.
fn host(seed: u64) -> Host {
    let mut stack = Stack::new(Config::new([seed, 2]), Limits::small());
    stack.add_interface(Instant::ZERO, InterfaceConfig::ethernet(HOST_MAC)).unwrap();
    stack.claim_ipv4_link_local(Instant::ZERO, NIC).unwrap();
    Host { stack, pool: Pool::new(256), now: Instant::ZERO }
}

fn address(host: &Host) -> (Ipv4Addr, ethertab::AddressState) {
    let own: Vec<_> = host.stack.addresses().filter(|own| own.prefix.address.is_ipv4()).collect();
    let [own] = own[..] else { panic!("{own:?}") };
    let IpAddr::V4(address) = own.prefix.address else { panic!("{own:?}") };
    assert!(address.is_link_local() && !matches!(address.octets()[2], 0 | 255), "{address}");
    assert_eq!((own.prefix.length, own.origin), (16, AddressOrigin::LinkLocal));
    (address, own.state)
}

/// Senders, targets and times in milliseconds of the ARP requests that a host sends.
fn asked(sent: &[(Instant, Vec<u8>)]) -> Vec<(u64, Ipv4Addr, Ipv4Addr)> {
    let ip = |frame: &[u8], at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
    let requests = sent.iter().filter(|(_, frame)| frame[12..14] == [8, 6] && frame[20..22] == [0, 1]);
    requests.map(|(at, frame)| (at.as_millis(), ip(frame, 28), ip(frame, 38))).collect()
}

/// Another station says that it has the address.
fn claim(host: &mut Host, address: Ipv4Addr) {
    let packet = arp(1, (PEER_MAC, address.octets()), (MacAddr([0; 6]), address.octets()));
    host.receive(&ethernet(MacAddr::BROADCAST, PEER_MAC, ARP, &packet));
}

/// RFC 3927 §2.2.1 and §2.4: three probes, then two announcements.
#[test]
fn n1_a_link_local_address_is_asked_for_and_announced() {
    let mut host = host(1);
    let (ours, state) = address(&host);
    assert_eq!(state, Tentative);
    let asked = asked(&host.pass(Duration::from_secs(30)));
    let kinds: Vec<_> = asked.iter().map(|(_, sender, target)| (*sender, *target)).collect();
    let (probe, announcement) = ((Ipv4Addr::UNSPECIFIED, ours), (ours, ours));
    assert_eq!(kinds, [probe, probe, probe, announcement, announcement]);
    let gaps: Vec<u64> = asked.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(asked[0].0 <= 1_000 && gaps[..2].iter().all(|gap| (1_000..=2_000).contains(gap)), "{asked:?}");
    assert_eq!(gaps[2..], [2_000, 2_000]);
    assert_eq!(address(&host), (ours, Preferred));
    // §2.1: the same station tries the same address again, whatever the seed.
    assert_eq!(address(&self::host(9)).0, ours);
    assert_eq!(
        host.stack.claim_ipv4_link_local(host.now, NIC),
        Err(ConfigError::Exists(format!("{ours}/16").parse().unwrap()))
    );
}

/// §2.2.1: another address if that one is taken, and after ten conflicts one a minute only (§9).
#[test]
fn n1_conflicts_lead_to_other_addresses_at_a_limited_rate() {
    let mut host = host(1);
    let mut tried = Vec::new();
    for _ in 0..10 {
        let (candidate, state) = address(&host);
        assert!(!tried.contains(&candidate) && state == Tentative, "{tried:?}");
        tried.push(candidate);
        host.pass(Duration::from_secs(1));
        claim(&mut host, candidate);
    }
    assert_eq!(host.stack.counters().address_conflicts, 10);
    let begun = host.now.as_millis();
    let asked = asked(&host.pass(Duration::from_secs(120)));
    assert!(asked[0].0 - begun >= 60_000, "{asked:?}");
    assert_eq!(address(&host).1, Preferred);
}

/// §2.5 (b): defended once in ten seconds; at the second conflict it is given up for another one.
#[test]
fn n1_a_link_local_address_is_defended_once() {
    let mut host = host(1);
    host.pass(Duration::from_secs(30));
    let (ours, _) = address(&host);
    claim(&mut host, ours);
    assert_eq!(asked(&host.pass(Duration::from_secs(9))).len(), 1);
    assert_eq!(address(&host), (ours, Preferred));
    claim(&mut host, ours);
    let (next, state) = address(&host);
    assert!(next != ours && state == Tentative);
    host.pass(Duration::from_secs(30));
    assert_eq!(address(&host), (next, Preferred));
    host.stack.remove_address(NIC, next.into()).unwrap();
    host.pass(Duration::from_secs(30));
    assert!(host.stack.addresses().all(|own| own.prefix.address.is_ipv6()));
    assert_eq!(host.stack.next_timeout(), None);
}

/// Two hosts that nobody gives an address reach each other.
#[test]
fn hosts_without_a_server_reach_each_other() {
    let mut world = World::new(3);
    let hosts = ["a", "b"].map(|name| world.host(name, &[]).unwrap());
    world.cable(hosts[0], hosts[1], Impairment::default()).unwrap();
    for host in hosts {
        let now = world.now();
        world.stack_mut(host).unwrap().0.claim_ipv4_link_local(now, NIC).unwrap();
    }
    world.run_for(Duration::from_secs(10));
    let found = world.stack(hosts[1]).unwrap();
    let there = found.addresses().map(|own| own.prefix.address).find(IpAddr::is_ipv4).unwrap();
    let now = world.now();
    let (stack, pool) = world.stack_mut(hosts[0]).unwrap();
    let ping = stack.ping(pool, now, there, 56, Duration::from_secs(5)).unwrap();
    world.run_for(Duration::from_secs(1));
    let outcome = world.stack_mut(hosts[0]).unwrap().0.ping_result(ping);
    assert!(matches!(outcome, Some(ethertab::PingOutcome::Reply { .. })), "{outcome:?}");
}
