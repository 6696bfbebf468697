//! Addresses: how they are claimed (RFC 4862 §5.4, RFC 4429, RFC 7527, RFC 5227), their lifetimes, and which is used (RFC 6724).

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip};
use ethertab::AddressState::{Deprecated, Duplicate, Optimistic, Preferred, Tentative};
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{AddressOptions, AddressState, DuplicateDetection, Event, Prefix};
use ethertab_sim::packet::{ICMPV6, arp, ethernet, icmp, ip_frame};
use std::net::{IpAddr, Ipv6Addr};

const NEW_V4: &str = "10.0.0.50/24";
const NEW_V6: &str = "fd00::50/64";
const ARP: u16 = 0x0806;
const NOBODY: MacAddr = MacAddr([0; 6]);

/// A host to which an address is being added.
fn adding(prefix: &str, detection: DuplicateDetection) -> Host {
    let mut host = Host::new();
    while host.stack.poll_event().is_some() {}
    let mut options = AddressOptions::default();
    options.detection = Some(detection);
    add(&mut host, prefix, options);
    host
}

fn add(host: &mut Host, prefix: &str, options: AddressOptions) {
    host.stack.add_address_with(host.now, NIC, prefix.parse().unwrap(), options).unwrap();
}

fn address(prefix: &str) -> IpAddr {
    prefix.parse::<Prefix>().unwrap().address
}

fn state(host: &Host, prefix: &str) -> Option<AddressState> {
    host.stack.addresses().find(|entry| entry.prefix.address == address(prefix)).map(|entry| entry.state)
}

/// What a frame does in claiming an address: its name, if it is of that.
fn kind(frame: &[u8], prefix: &str) -> Option<&'static str> {
    match address(prefix) {
        IpAddr::V4(v4) if frame[12..14] == ARP.to_be_bytes() && frame[38..42] == v4.octets() => {
            assert_eq!((&frame[..6], frame[21]), (&[0xff; 6][..], 1), "a request to everybody");
            Some(if frame[28..32] == [0; 4] { "probe" } else { "announce" })
        }
        IpAddr::V6(v6) if frame.len() >= 78 && frame[62..78] == v6.octets() => match frame[54] {
            135 => {
                assert_eq!((&frame[22..38], &frame[78..80]), (&[0; 16][..], &[14, 1][..]), "from nobody, with a nonce");
                Some("probe")
            }
            136 => Some("announce"),
            _ => None,
        },
        _ => None,
    }
}

/// What the host does to claim the address in a while, and when, in milliseconds.
fn claims(host: &mut Host, prefix: &str, span: Duration) -> Vec<(u64, &'static str)> {
    let start = host.now;
    let sent = host.pass(span);
    sent.iter().filter_map(|(at, frame)| Some((at.since(start).as_millis(), kind(frame, prefix)?))).collect()
}

/// RFC 5227 §2.1.1 and §2.3: three probes, one to two seconds apart, and two seconds after the last two announcements.
#[test]
fn an_ipv4_address_is_asked_for_before_it_is_used() {
    let mut host = adding(NEW_V4, DuplicateDetection::Full);
    let claims = claims(&mut host, NEW_V4, Duration::from_secs(12));
    let kinds: Vec<_> = claims.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(kinds, ["probe", "probe", "probe", "announce", "announce"]);
    let times: Vec<_> = claims.iter().map(|(at, _)| *at).collect();
    assert!(times[0] < 1_000, "{times:?}");
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[..2].iter().all(|gap| (1_000..=2_000).contains(gap)), "{gaps:?}");
    assert_eq!(gaps[2..], [2_000, 2_000]);
    assert_eq!(state(&host, NEW_V4), Some(Preferred));
}

/// RFC 4862 §5.4.2: one solicitation, and RetransTimer later the address is ours.
#[test]
fn an_ipv6_address_is_asked_for_before_it_is_used() {
    let mut host = adding(NEW_V6, DuplicateDetection::Full);
    assert_eq!(state(&host, NEW_V6), Some(Tentative));
    // Not answered for, and not used, before that.
    host.receive_ping(ip("fd00::2"), ip("fd00::50"));
    let claims = claims(&mut host, NEW_V6, Duration::from_secs(3));
    assert!(claims[0].0 < 1_000, "{claims:?}");
    assert_eq!((claims[0].1, claims[1]), ("probe", (claims[0].0 + 1_000, "announce")));
    assert_eq!((claims.len(), state(&host, NEW_V6)), (2, Some(Preferred)));
    assert_eq!(host.stack.poll_event(), Some(Event::Interface(NIC, ethertab::Signals::CHANGED)));
    assert_eq!(host.stack.poll_event(), None);
}

/// Somebody else's probe, and an answer, each say that the address is taken; our own probe that comes back does not (RFC 7527).
#[test]
fn n1_an_address_that_somebody_else_has_is_not_used() {
    let v4 = [10, 0, 0, 50];
    let v6: [u8; 16] = "fd00::50".parse::<Ipv6Addr>().unwrap().octets();
    let solicited_node = ip("ff02::1:ff00:50");
    let to_group = MacAddr([0x33, 0x33, 0xff, 0, 0, 0x50]);
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let evidence: [(&str, Vec<u8>); 5] = [
        (NEW_V4, ethernet(MacAddr::BROADCAST, PEER_MAC, ARP, &arp(1, (PEER_MAC, [0; 4]), (NOBODY, v4)))),
        (NEW_V4, ethernet(HOST_MAC, PEER_MAC, ARP, &arp(2, (PEER_MAC, v4), (HOST_MAC, [0; 4])))),
        (NEW_V4, ethernet(MacAddr::BROADCAST, PEER_MAC, ARP, &arp(1, (PEER_MAC, v4), (NOBODY, v4)))),
        (
            NEW_V6,
            ip_frame(
                (PEER_MAC, to_group),
                ip("::"),
                solicited_node,
                ICMPV6,
                &icmp(135, 0, 0, &[&v6[..], &nonce].concat()),
            ),
        ),
        (
            NEW_V6,
            ip_frame(
                (PEER_MAC, MacAddr([0x33, 0x33, 0, 0, 0, 1])),
                ip("fd00::50"),
                ip("ff02::1"),
                ICMPV6,
                &icmp(136, 0, 0x2000_0000, &[&v6[..], &[2, 1], &PEER_MAC.0].concat()),
            ),
        ),
    ];
    for detection in [DuplicateDetection::Full, DuplicateDetection::Optimistic] {
        for (prefix, frame) in &evidence {
            if *prefix == NEW_V4 && detection == DuplicateDetection::Optimistic {
                continue;
            }
            let mut host = adding(prefix, detection);
            let expected = if detection == DuplicateDetection::Full { Tentative } else { Optimistic };
            assert_eq!(state(&host, prefix), Some(expected));
            let probes: Vec<_> = host.pass(Duration::from_millis(999));
            // What the network loops back is nobody else's.
            for (_, probe) in probes.iter().filter(|(_, frame)| kind(frame, prefix) == Some("probe")) {
                host.receive(probe);
            }
            assert_eq!(state(&host, prefix), Some(expected), "{prefix} {detection:?}");
            host.receive(frame);
            assert_eq!(state(&host, prefix), Some(Duplicate), "{prefix} {detection:?}");
            assert_eq!(host.stack.counters().address_conflicts, 1);
            assert_eq!(claims(&mut host, prefix, Duration::from_secs(20)), []);
            host.receive_ping(if prefix.contains(':') { ip("fd00::2") } else { ip("10.0.0.2") }, address(prefix));
            assert!(host.take_packets().is_empty(), "it is not answered for");
        }
    }
}

/// RFC 4429 §3.3: used at once, but nobody is made to forget whose it was.
#[test]
fn an_optimistic_address_is_used_with_care() {
    let mut host = adding(NEW_V6, DuplicateDetection::Optimistic);
    assert_eq!(claims(&mut host, NEW_V6, Duration::ZERO), [(0, "probe")]);
    let target: [u8; 16] = "fd00::50".parse::<Ipv6Addr>().unwrap().octets();
    let question = icmp(135, 0, 0, &[&target[..], &[1, 1], &PEER_MAC.0].concat());
    for (override_, after) in [(0, Duration::from_secs(1)), (0x20, Duration::ZERO)] {
        host.receive_ip(ip("fd00::2"), ip("fd00::50"), ICMPV6, &question);
        let (_, _, answer) =
            host.take_packets().into_iter().find(|(_, _, message)| message[0] == 136).expect("an answer");
        assert_eq!(answer[4] & 0x60, 0x40 | override_);
        host.pass(after);
    }
    assert_eq!(state(&host, NEW_V6), Some(Preferred));
}

/// RFC 5227 §2.4 (c): one announcement in ten seconds, whatever comes.
#[test]
fn n1_an_address_is_defended_at_a_limited_rate() {
    let mut host = adding(NEW_V4, DuplicateDetection::Off);
    host.pass(Duration::from_secs(1));
    let attacker = MacAddr([2, 6, 6, 6, 6, 6]);
    let claim = ethernet(HOST_MAC, attacker, ARP, &arp(2, (attacker, [10, 0, 0, 50]), (HOST_MAC, [10, 0, 0, 1])));
    let mut defences = Vec::new();
    for second in 0..25 {
        for _ in 0..10 {
            host.receive(&claim);
        }
        defences.extend(claims(&mut host, NEW_V4, Duration::from_secs(1)).iter().map(|_| second));
    }
    assert_eq!(defences, [0, 10, 20]);
    assert_eq!(state(&host, NEW_V4), Some(Preferred));
    assert_eq!(host.neighbor(ip("10.0.0.50")), None);
}

#[test]
fn addresses_are_deprecated_and_removed_when_their_time_comes() {
    for prefix in [NEW_V4, NEW_V6] {
        let mut host = Host::new();
        let mut options = AddressOptions::default();
        options.preferred_until = Instant::from_secs(100);
        options.valid_until = Instant::from_secs(200);
        add(&mut host, prefix, options);
        host.pass(Duration::from_millis(99_999));
        assert_eq!(state(&host, prefix), Some(Preferred));
        host.pass(Duration::from_millis(1));
        assert_eq!(state(&host, prefix), Some(Deprecated));
        host.stack
            .set_address_lifetimes(host.now, NIC, address(prefix), Instant::from_secs(150), Instant::from_secs(160))
            .unwrap();
        assert_eq!(state(&host, prefix), Some(Preferred));
        host.pass(Duration::from_secs(50));
        assert_eq!(state(&host, prefix), Some(Deprecated));
        // It still answers.
        let peer = if prefix.contains(':') { ip("fd00::2") } else { ip("10.0.0.2") };
        host.stack.add_neighbor(&mut host.pool, NIC, peer, PEER_MAC).unwrap();
        host.receive_ping(peer, address(prefix));
        assert_eq!(host.take_packets().len(), 1);
        host.pass(Duration::from_secs(10));
        assert_eq!(state(&host, prefix), None);
        host.receive_ping(peer, address(prefix));
        assert!(host.take_packets().is_empty());
        // Routers hear twice that nobody listens to the address's group any more.
        host.pass(Duration::from_secs(10));
        assert_eq!(host.stack.next_timeout(), None, "nothing is left to do");
    }
}

/// A host with these addresses; one with a trailing `!` is deprecated. Routes lead everywhere.
fn host_with(addresses: &[&str]) -> Host {
    let mut host = Host::new();
    for address in ["10.0.0.1", "fd00::1"] {
        host.stack.remove_address(NIC, ip(address)).unwrap();
    }
    let link_local = host.stack.addresses().next().map(|entry| entry.prefix.address);
    host.stack.remove_address(NIC, link_local.unwrap()).unwrap();
    for text in addresses {
        let mut options = AddressOptions::default();
        if text.ends_with('!') {
            options.preferred_until = Instant::from_micros(1);
        }
        options.detection = Some(DuplicateDetection::Off);
        add(&mut host, text.trim_end_matches('!'), options);
    }
    for everywhere in ["0.0.0.0/0", "::/0"] {
        host.stack.set_route(ethertab::Route::on_link(NIC, everywhere.parse().unwrap())).unwrap();
    }
    host.pass(Duration::from_secs(5));
    host
}

/// The examples of RFC 6724 §10.1, as far as an interface decides them.
#[test]
fn n5_the_source_is_chosen_as_rfc_6724_says() {
    let cases: [(&str, &[&str], &str); 8] = [
        ("2001:db8:1::1", &["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:3::1"),
        ("ff05::1", &["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:3::1"),
        ("2001:db8:1::1", &["2001:db8:1::1/64!", "2001:db8:2::1/64"], "2001:db8:2::1"),
        ("fe80::2", &["fe80::1/64!", "2001:db8:1::1/64"], "fe80::1"),
        ("2001:db8:1::1", &["2001:db8:1::2/64", "2001:db8:3::2/64"], "2001:db8:1::2"),
        (
            "2002:c633:6401::1",
            &["2002:c633:6401:0:d5e3:7953:13eb:22e8/64", "2001:db8:1::2/64"],
            "2002:c633:6401:0:d5e3:7953:13eb:22e8",
        ),
        ("2001:db8:1::1", &["fd11::1/64", "2001:db8:ffff::2/64"], "2001:db8:ffff::2"),
        ("10.1.0.9", &["192.0.2.1/24", "10.1.0.1/24", "169.254.1.1/16"], "10.1.0.1"),
    ];
    for (to, addresses, expected) in cases {
        let mut host = host_with(addresses);
        // The destination is not the host's own, or nothing would leave.
        let to = if addresses.iter().any(|text| text.starts_with(&format!("{to}/"))) { "2001:db8:1::9" } else { to };
        let socket = host.stack.bind_udp(ethertab::Endpoint::any(9)).unwrap();
        if !to.starts_with("ff") {
            host.stack.add_neighbor(&mut host.pool, NIC, ip(to), PEER_MAC).unwrap();
        }
        let meta = ethertab::UdpMeta::to((ip(to), 9).into());
        host.stack.udp_send(&mut host.pool, host.now, socket, &meta, b"x").unwrap();
        let sent = host.take_all();
        let source = sent.iter().find_map(|frame| ethertab_sim::packet::parse_ip(frame)).expect("a datagram").0;
        assert_eq!(source, ip(expected), "to {to} from {addresses:?}");
    }
}

/// The examples of RFC 6724 §10.2.
#[test]
fn destinations_are_ordered_as_rfc_6724_says() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["2001:db8:1::2/64", "fe80::1/64", "169.254.13.78/16"], &["2001:db8:1::1", "198.51.100.121"]),
        (&["fe80::1/64", "198.51.100.117/24"], &["198.51.100.121", "2001:db8:1::1"]),
        (&["2001:db8:1::2/64", "fe80::1/64", "10.1.2.4/24"], &["2001:db8:1::1", "10.1.2.3"]),
        (&["2001:db8:1::2/64", "fe80::2/64"], &["fe80::1", "2001:db8:1::1"]),
        (&["2001:db8:1::2/64", "2001:db8:3f44::2/64", "fe80::2/64"], &["2001:db8:1::1", "2001:db8:3ffe::1"]),
        (&["2002:c633:6401::2/64", "fe80::2/64"], &["2002:c633:6401::1", "2001:db8:1::1"]),
        (&["fd11::2/64", "10.1.2.4/24"], &["10.1.2.3", "2001:db8:1::1"]),
    ];
    for (addresses, expected) in cases {
        let mut host = host_with(addresses);
        let expected: Vec<IpAddr> = expected.iter().map(|text| ip(text)).collect();
        for turned in [false, true] {
            let mut destinations = expected.clone();
            if turned {
                destinations.reverse();
            }
            host.stack.sort_destinations(&mut destinations);
            assert_eq!(destinations, expected, "from {addresses:?}");
        }
    }
}
