//! The router's side of groups (N8: RFC 3376 §6 and §7.3, RFC 3810 §7 and §8.3, RFC 2236 §3, RFC 2710 §4).

use crate::host::{Host, NIC, PEER_MAC, ip};
use crate::multicast::{host, query};
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{Endpoint, Limits, SourceFilter};
use ethertab_sim::packet::{ICMPV6, icmp, ip_frame};
use ethertab_sim::{Impairment, World};
use std::net::IpAddr;

const IGMP: u8 = 2;

/// A router that asks, and the time in milliseconds since when.
fn router() -> (Host, u64) {
    let mut host = host();
    host.stack.set_group_querier(host.now, NIC, true).unwrap();
    let begun = host.now.as_millis();
    (host, begun)
}

/// The queries among what was sent: when in milliseconds, about which group, and the time for answers in milliseconds.
fn queries(sent: &[(Instant, Vec<u8>)]) -> Vec<(u64, IpAddr, u64)> {
    let read = |frame: &[u8]| {
        let (destination, message, ttl) = match frame[14] >> 4 {
            4 if frame[23] == IGMP => {
                (IpAddr::from(<[u8; 4]>::try_from(&frame[30..34]).unwrap()), &frame[38..], frame[22])
            }
            6 if frame[20] == 0 => {
                assert_eq!(frame[22..24], [0xfe, 0x80], "from the link-local address");
                (IpAddr::from(<[u8; 16]>::try_from(&frame[38..54]).unwrap()), &frame[62..], frame[21])
            }
            _ => return None,
        };
        let (group, millis, rest) = match message[0] {
            0x11 => {
                (IpAddr::from(<[u8; 4]>::try_from(&message[4..8]).unwrap()), u64::from(message[1]) * 100, &message[8..])
            }
            130 => (
                IpAddr::from(<[u8; 16]>::try_from(&message[8..24]).unwrap()),
                u64::from(u16::from_be_bytes([message[4], message[5]])),
                &message[24..],
            ),
            _ => return None,
        };
        assert_eq!((ttl, rest), (1, &[2, 125, 0, 0][..]));
        let all = if group.is_ipv4() { ip("224.0.0.1") } else { ip("ff02::1") };
        assert_eq!(destination, if group.is_unspecified() { all } else { group });
        assert_eq!(frame[..6], MacAddr::for_multicast(destination).0);
        Some((group, millis))
    };
    let read = sent.iter().filter_map(|(at, frame)| read(frame).map(|(group, millis)| (at.as_millis(), group, millis)));
    read.collect()
}

/// An IGMP message, or one of MLD from its type on, of the neighbour to a group.
fn tell(host: &mut Host, to: &str, message: &[u8]) {
    let mac = MacAddr::for_multicast(ip(to));
    if ip(to).is_ipv4() {
        let mut message = message.to_vec();
        message[2..4].fill(0);
        let words = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let sum: u32 = words.sum();
        message[2..4].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
        return host.receive(&ip_frame((PEER_MAC, mac), ip("10.0.0.2"), ip(to), IGMP, &message));
    }
    let rest = u32::from_be_bytes(message[4..8].try_into().unwrap());
    let message = icmp(message[0], 0, rest, &message[8..]);
    let inner = ip_frame((PEER_MAC, mac), ip("fe80::2"), ip(to), ICMPV6, &message);
    let mut frame = [&inner[..54], &[58, 0, 5, 2, 0, 0, 1, 0], &inner[54..]].concat();
    (frame[20], frame[21]) = (0, 1);
    frame[18..20].copy_from_slice(&((message.len() + 8) as u16).to_be_bytes());
    host.receive(&frame);
}

fn octets(address: &str) -> Vec<u8> {
    match ip(address) {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A report of the newest version with one record.
fn record(host: &mut Host, kind: u8, group: &str, sources: &[&str]) {
    let (to, first) = if ip(group).is_ipv4() { ("224.0.0.22", 0x22) } else { ("ff02::16", 143) };
    let mut message = vec![first, 0, 0, 0, 0, 0, 0, 1, kind, 0, 0, sources.len() as u8];
    message.extend(octets(group));
    sources.iter().for_each(|source| message.extend(octets(source)));
    tell(host, to, &message);
}

fn simple(host: &mut Host, to: &str, kind: u8, group: &str) {
    let rest = if ip(group).is_ipv4() { 3 } else { 7 };
    tell(host, to, &[&[kind][..], &vec![0; rest], &octets(group)].concat());
}

fn listeners(host: &Host) -> Vec<IpAddr> {
    host.stack.group_listeners().map(|(_, group)| group).collect()
}

/// RFC 3376 §8.2, §8.6 and §8.7, RFC 3810 §9.
#[test]
fn n8_everybody_is_asked_now_and_then() {
    let (mut host, begun) = router();
    let asked = queries(&host.pass(Duration::from_secs(300)));
    for all in ["0.0.0.0", "::"].map(ip) {
        let of_all = asked.iter().filter(|query| query.1 == all);
        let times: Vec<_> = of_all.map(|(at, _, millis)| (at - begun, *millis)).collect();
        assert_eq!(times, [0, 31_250, 156_250, 281_250].map(|at| (at, 10_000)));
    }
    host.stack.set_group_querier(host.now, NIC, false).unwrap();
    assert!(queries(&host.pass(Duration::from_secs(600))).is_empty());
    simple(&mut host, "239.1.1.1", 0x16, "239.1.1.1");
    assert!(listeners(&host).is_empty());
    assert_eq!((host.pool.blocks_in_use(), host.stack.next_timeout()), (0, None));
}

/// RFC 3376 §6.4 and §7.3, RFC 3810 §7.4 and §8.3: reports of all versions count, for 260 seconds.
#[test]
fn n8_reports_of_all_versions_are_heard() {
    for (to, kind, group) in
        [("239.1.1.1", 0x12, "239.1.1.1"), ("239.1.1.1", 0x16, "239.1.1.1"), ("ff05::1", 131, "ff05::1")]
    {
        let (mut host, _) = router();
        simple(&mut host, to, kind, group);
        host.pass(Duration::from_millis(259_999));
        assert_eq!(listeners(&host), [ip(group)], "{kind}");
        host.pass(Duration::from_millis(1));
        assert!(listeners(&host).is_empty(), "{kind}");
    }
    for (group, source) in [("239.1.1.1", "10.0.0.9"), ("ff05::1", "fd00::9")] {
        for (kind, sources, is_joined) in [
            (1, vec![source], true),
            (2, vec![], true),
            (3, vec![source], true),
            (4, vec![source], true),
            (5, vec![source], true),
            (1, vec![], false),
            (3, vec![], false),
            (6, vec![source], false),
        ] {
            let (mut host, _) = router();
            record(&mut host, kind, group, &sources);
            assert_eq!(listeners(&host), if is_joined { vec![ip(group)] } else { vec![] }, "{kind}");
        }
    }
    // What every node listens to is not worth a word, and what is no group is none.
    let (mut host, _) = router();
    record(&mut host, 4, "224.0.0.1", &[]);
    record(&mut host, 4, "10.0.0.9", &[]);
    tell(&mut host, "224.0.0.22", &[0x22, 0, 0, 0, 0, 0, 0, 9, 4, 0, 0, 200, 239, 1, 1, 1]);
    assert!(listeners(&host).is_empty());
}

/// RFC 3376 §6.4.2, RFC 2236 §3: who leaves may have been the last: the others are asked twice.
#[test]
fn n8_the_others_are_asked_when_somebody_leaves() {
    for (group, leave_to, leave) in [("239.1.1.1", "224.0.0.2", 0x17), ("ff05::1", "ff02::2", 132)] {
        for (by_record, somebody_stays) in [(false, false), (true, false), (true, true)] {
            let (mut host, _) = router();
            record(&mut host, 4, group, &[]);
            host.pass(Duration::from_secs(40));
            let left = host.now.as_millis();
            match by_record {
                false => simple(&mut host, leave_to, leave, group),
                true => record(&mut host, 3, group, &[]),
            }
            let mut asked = queries(&host.pass(Duration::from_millis(1_500)));
            if somebody_stays {
                record(&mut host, 2, group, &[]);
            }
            asked.extend(queries(&host.pass(Duration::from_millis(500))));
            assert_eq!(asked, [(left, ip(group), 1_000), (left + 1_000, ip(group), 1_000)]);
            assert_eq!(listeners(&host).len(), usize::from(somebody_stays));
        }
    }
}

/// RFC 3376 §6.6.2, RFC 3810 §7.6.2: the router with the lowest address asks.
#[test]
fn n8_of_several_routers_one_asks() {
    // The neighbour has 10.0.0.2, which is higher than ours, and fe80::2, which is lower.
    let (mut host, _) = router();
    host.pass(Duration::from_secs(100));
    query(&mut host, false, 3, None, 100);
    query(&mut host, true, 2, None, 100);
    let heard = host.now.as_millis();
    record(&mut host, 4, "ff05::1", &[]);
    let of_v6 = |sent: &[(Instant, Vec<u8>)]| -> Vec<u64> {
        queries(sent).iter().filter(|query| query.1.is_ipv6()).map(|query| query.0).collect()
    };
    let sent = host.pass(Duration::from_secs(100));
    assert!(queries(&sent).iter().any(|query| query.1.is_ipv4()) && of_v6(&sent).is_empty());
    // It listens all the same, and leaves the questions to the other (§6.4.2).
    assert_eq!(listeners(&host), [ip("ff05::1")]);
    record(&mut host, 3, "ff05::1", &[]);
    let mut sent = host.pass(Duration::from_secs(60));
    sent.extend(host.pass(Duration::from_secs(200)));
    assert_eq!(of_v6(&sent)[0], heard + 255_000, "the other was not heard for long");
}

#[test]
fn n8_groups_of_others_are_bounded_and_go_after_our_own() {
    let (mut host, _) = router();
    let limits = Limits::small();
    for number in 0..1_000u16 {
        let [high, low] = number.to_be_bytes();
        record(&mut host, 4, &format!("239.1.{high}.{low}"), &[]);
    }
    assert!(listeners(&host).len() <= limits.groups + limits.addresses);
    for number in 0..limits.groups {
        host.stack.join_group(host.now, NIC, IpAddr::from([239, 9, 9, number as u8])).unwrap();
    }
    let joined = host.stack.groups().filter(|(_, group)| group.is_ipv4()).count();
    assert_eq!(joined, limits.groups);
    host.pass(Duration::from_secs(261));
    assert!(listeners(&host).is_empty());
}

/// A router and a host of ours.
#[test]
fn our_hosts_answer_our_router() {
    let mut world = World::new(3);
    let router = world.host("router", &["10.0.0.1/24", "fd00::1/64"]).unwrap();
    let host = world.host("host", &["10.0.0.2/24", "fd00::2/64"]).unwrap();
    world.cable(router, host, Impairment::default()).unwrap();
    world.run_for(Duration::from_secs(5));
    let groups = ["239.1.1.1", "ff05::1"].map(ip);
    let now = world.now();
    let (stack, _) = world.stack_mut(host).unwrap();
    let socket = stack.bind_udp(Endpoint::any(5_000)).unwrap();
    for group in groups {
        stack.udp_set_filter(now, socket, NIC, group, &SourceFilter::ALL).unwrap();
    }
    // What was told before the router asked is told again.
    world.run_for(Duration::from_secs(60));
    let now = world.now();
    world.stack_mut(router).unwrap().0.set_group_querier(now, NIC, true).unwrap();
    let heard = |world: &World| {
        let stack = world.stack(router).unwrap();
        groups.map(|group| stack.group_listeners().any(|(_, heard)| heard == group))
    };
    world.run_for(Duration::from_secs(11));
    assert_eq!(heard(&world), [true, true]);
    world.run_for(Duration::from_secs(600));
    assert_eq!(heard(&world), [true, true]);
    let (stack, pool) = world.stack_mut(host).unwrap();
    stack.udp_close(pool, socket);
    world.run_for(Duration::from_secs(3));
    assert_eq!(heard(&world), [false, false]);
}
