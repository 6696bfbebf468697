//! Groups: how routers are told of them (N8: RFC 2236, RFC 3376, RFC 2710, RFC 3810).

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip};
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{Config, DropReason, DuplicateDetection, GroupError, InterfaceConfig, Limits, Pool, Stack};
use ethertab_sim::packet::{ICMPV6, icmp, ip_frame};
use std::net::IpAddr;

const GROUPS: [[&str; 3]; 2] = [["239.1.1.1", "239.1.1.2", "239.1.1.3"], ["ff05::1", "ff05::2", "ff05::3"]];

/// A host that reports its groups, and has told those of its addresses.
pub(crate) fn host() -> Host {
    let mut stack = Stack::new(Config::new([1, 2]), Limits::small());
    let mut config = InterfaceConfig::ethernet(HOST_MAC);
    config.detection = DuplicateDetection::Off;
    stack.add_interface(Instant::ZERO, config).unwrap();
    for prefix in ["10.0.0.1/24", "fd00::1/64"] {
        stack.add_address(Instant::ZERO, NIC, prefix.parse().unwrap()).unwrap();
    }
    let mut host = Host { stack, pool: Pool::new(256), now: Instant::ZERO };
    host.pass(Duration::from_secs(30));
    host
}

/// A record of a report: its type, 0 for older versions, the group and the sources.
type Record = (u8, IpAddr, Vec<IpAddr>);

/// The address at the beginning.
fn address(bytes: &[u8], ipv6: bool) -> IpAddr {
    match ipv6 {
        false => IpAddr::from(<[u8; 4]>::try_from(&bytes[..4]).unwrap()),
        true => IpAddr::from(<[u8; 16]>::try_from(&bytes[..16]).unwrap()),
    }
}

/// The records of a report of the newest version.
fn records(message: &[u8], ipv6: bool) -> Vec<Record> {
    let len = if ipv6 { 16 } else { 4 };
    let mut rest = &message[8..];
    let records = (0..u16::from_be_bytes([message[6], message[7]])).map(|_| {
        let count = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let sources = rest[4 + len..][..count * len].chunks(len).map(|source| address(source, ipv6)).collect();
        let record = (rest[0], address(&rest[4..], ipv6), sources);
        rest = &rest[4 + len + count * len..];
        record
    });
    let records = records.collect();
    assert!(rest.is_empty());
    records
}

/// What a frame says of groups: its type and its records.
fn report(frame: &[u8]) -> Option<(u8, Vec<Record>)> {
    match frame[14] >> 4 {
        4 if frame[23] == 2 => {
            let header_len = usize::from(frame[14] & 15) * 4;
            assert_eq!((header_len, &frame[34..38], frame[22]), (24, &[0x94, 4, 0, 0][..], 1), "router alert, TTL");
            let message = &frame[14 + header_len..];
            let records = match message[0] {
                0x22 => records(message, false),
                _ => vec![(0, address(&message[4..], false), vec![])],
            };
            Some((message[0], records))
        }
        6 if frame[20] == 0 => {
            assert_eq!((&frame[54..62], frame[21]), (&[58, 0, 5, 2, 0, 0, 1, 0][..], 1), "router alert, hop limit");
            let message = &frame[62..];
            let records = match message[0] {
                143 => records(message, true),
                _ => vec![(0, address(&message[8..], true), vec![])],
            };
            Some((message[0], records))
        }
        _ => None,
    }
}

/// When a report came, its type, and its records.
type Report = (u64, u8, Vec<Record>);

/// The reports that leave in a while, with their times in milliseconds from now.
pub(crate) fn reports(host: &mut Host, span: Duration) -> Vec<Report> {
    let start = host.now;
    let sent = host.pass(span);
    let found = sent.iter().filter_map(|(at, frame)| Some((at.since(start).as_millis(), report(frame)?)));
    found.map(|(at, (kind, records))| (at, kind, records)).collect()
}

pub(crate) fn query(host: &mut Host, ipv6: bool, version: u8, group: Option<&str>, tenths: u8) {
    ask(host, ipv6, version, group.map(ip), &[], tenths);
}

/// A question of the newest version about some sources of a group.
pub(crate) fn query_sources(host: &mut Host, group: IpAddr, sources: &[IpAddr], tenths: u8) {
    ask(host, group.is_ipv6(), if group.is_ipv6() { 2 } else { 3 }, Some(group), sources, tenths);
}

fn ask(host: &mut Host, ipv6: bool, version: u8, group: Option<IpAddr>, sources: &[IpAddr], tenths: u8) {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut body = group.map_or(vec![0; if ipv6 { 16 } else { 4 }], octets);
    if version == if ipv6 { 2 } else { 3 } {
        body.extend([2, 125, 0, sources.len() as u8]);
        sources.iter().for_each(|source| body.extend(octets(*source)));
    }
    if ipv6 {
        let to = group.unwrap_or(ip("ff02::1"));
        let message = icmp(130, 0, (u32::from(tenths) * 100) << 16, &body);
        let inner = ip_frame((PEER_MAC, MacAddr([0x33, 0x33, 0, 0, 0, 1])), ip("fe80::2"), to, ICMPV6, &message);
        // With a hop-by-hop header that has a router alert, and a hop limit of 1.
        let mut frame = [&inner[..54], &[58, 0, 5, 2, 0, 0, 1, 0], &inner[54..]].concat();
        (frame[20], frame[21]) = (0, 1);
        frame[18..20].copy_from_slice(&((message.len() + 8) as u16).to_be_bytes());
        host.receive(&frame);
    } else {
        let to = group.unwrap_or(ip("224.0.0.1"));
        let mut message = [&[0x11, if version == 1 { 0 } else { tenths }, 0, 0], &body[..]].concat();
        let words = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let sum: u32 = words.sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        host.receive(&ip_frame((PEER_MAC, MacAddr([1, 0, 0x5e, 0, 0, 1])), ip("10.0.0.2"), to, 2, &message));
    }
}

#[test]
fn n8_a_join_and_a_leave_are_told_twice() {
    for ipv6 in [false, true] {
        let mut host = host();
        let (group, kind) = (ip(GROUPS[usize::from(ipv6)][0]), if ipv6 { 143 } else { 0x22 });
        host.stack.join_group(host.now, NIC, group).unwrap();
        host.stack.join_group(host.now, NIC, group).unwrap();
        let told = reports(&mut host, Duration::from_secs(30));
        assert_eq!(
            told.iter().map(|told| (told.1, told.2.clone())).collect::<Vec<_>>(),
            [(kind, vec![(4, group, vec![])]), (kind, vec![(4, group, vec![])])]
        );
        assert_eq!(told[0].0, 0);
        assert!(told[1].0 <= 1_000, "{told:?}");
        host.stack.leave_group(host.now, NIC, group).unwrap();
        assert!(reports(&mut host, Duration::from_secs(30)).is_empty(), "somebody else listens");
        host.stack.leave_group(host.now, NIC, group).unwrap();
        let told = reports(&mut host, Duration::from_secs(30));
        assert_eq!(
            told.iter().map(|told| told.2.clone()).collect::<Vec<_>>(),
            [vec![(3, group, vec![])], vec![(3, group, vec![])]]
        );
        assert_eq!(host.stack.leave_group(host.now, NIC, group), Err(GroupError::NotMember(group)));
        assert_eq!((host.pool.blocks_in_use(), host.stack.next_timeout()), (0, None));
    }
}

/// RFC 3376 §5.2, RFC 3810 §6.2: all in one report, at a random time; of one group, if that is asked for.
#[test]
fn n8_queries_are_answered_in_time() {
    for ipv6 in [false, true] {
        let mut host = host();
        let groups = GROUPS[usize::from(ipv6)].map(ip);
        groups.iter().for_each(|group| host.stack.join_group(host.now, NIC, *group).unwrap());
        host.pass(Duration::from_secs(30));
        let newest = if ipv6 { 2 } else { 3 };
        query(&mut host, ipv6, newest, None, 100);
        let told = reports(&mut host, Duration::from_secs(20));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].0 < 10_000);
        for group in groups {
            assert!(told[0].2.contains(&(2, group, vec![])), "{told:?}");
        }
        query(&mut host, ipv6, newest, Some(GROUPS[usize::from(ipv6)][1]), 10);
        let told = reports(&mut host, Duration::from_secs(20));
        assert_eq!((told.len(), &told[0].2), (1, &vec![(2, groups[1], vec![])]));
        assert!(told[0].0 < 1_000);
    }
}

/// N8: with an older querier each group has its own time, and a report of another host is enough.
#[test]
fn n8_older_queriers_are_answered_in_their_version() {
    for (ipv6, version, report_kind, leave_kind) in
        [(false, 1, 0x12, None), (false, 2, 0x16, Some(0x17)), (true, 1, 131, Some(132))]
    {
        let mut host = host();
        let groups = GROUPS[usize::from(ipv6)].map(ip);
        groups.iter().for_each(|group| host.stack.join_group(host.now, NIC, *group).unwrap());
        host.pass(Duration::from_secs(30));
        query(&mut host, ipv6, version, None, 100);
        let mut told = reports(&mut host, Duration::from_secs(20));
        told.retain(|(.., records)| groups.contains(&records[0].1));
        assert!(told.iter().all(|(at, kind, _)| *at < 10_000 && *kind == report_kind), "{told:?}");
        let mut times: Vec<_> = told.iter().map(|told| told.0).collect();
        times.dedup();
        assert_eq!(times.len(), 3, "each at its own time: {told:?}");
        host.stack.leave_group(host.now, NIC, groups[0]).unwrap();
        let left: Vec<_> = reports(&mut host, Duration::from_secs(20)).iter().map(|told| told.1).collect();
        assert_eq!(left, leave_kind.into_iter().collect::<Vec<_>>());
        // When no such querier was heard for long, the newest version is spoken again (RFC 3376 §8.12).
        host.pass(Duration::from_secs(260));
        host.stack.leave_group(host.now, NIC, groups[1]).unwrap();
        assert_eq!(reports(&mut host, Duration::from_secs(20))[0].1, if ipv6 { 143 } else { 0x22 });
    }
}

#[test]
fn n8_queries_from_elsewhere_are_refused_and_groups_are_bounded() {
    let mut host = host();
    let body = [0; 20];
    let message = icmp(130, 0, 1_000 << 16, &body);
    // Without a router alert, with a hop limit of 255.
    host.receive(&ip_frame(
        (PEER_MAC, MacAddr([0x33, 0x33, 0, 0, 0, 1])),
        ip("fe80::2"),
        ip("ff02::1"),
        ICMPV6,
        &message,
    ));
    assert_eq!(host.drops(DropReason::GroupMessageInvalid), 1);
    assert!(reports(&mut host, Duration::from_secs(20)).is_empty());
    let groups = Limits::small().groups;
    for number in 0..groups {
        host.stack.join_group(host.now, NIC, IpAddr::from([239, 9, 9, number as u8])).unwrap();
    }
    assert_eq!(host.stack.join_group(host.now, NIC, ip("239.9.9.200")), Err(GroupError::LimitReached));
    assert_eq!(host.stack.join_group(host.now, NIC, ip("10.0.0.9")), Err(GroupError::NotMulticast(ip("10.0.0.9"))));
    // There is room for the groups of the host's addresses all the same.
    for number in 2..6 {
        host.stack.add_address(host.now, NIC, format!("fd00::{number}:{number}/64").parse().unwrap()).unwrap();
    }
}
