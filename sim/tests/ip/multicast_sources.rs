//! Groups of UDP sockets with source filters (N8: RFC 3376 §3 and §5, RFC 3810 §4 and §6, RFC 4604, RFC 4607).

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip};
use crate::multicast::{host, query_sources, reports};
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{DropReason, Endpoint, GroupError, Limits, SourceFilter, UdpHandle, UdpMeta, UdpOptions};
use ethertab_sim::packet::{UDP, ip_frame, udp};
use std::net::{IpAddr, SocketAddr};

const IS_IN: u8 = 1;
const TO_IN: u8 = 3;
const TO_EX: u8 = 4;
const ALLOW: u8 = 5;
const BLOCK: u8 = 6;

/// A group, a source-specific one and four senders.
fn names(ipv6: bool) -> (IpAddr, IpAddr, [IpAddr; 4]) {
    match ipv6 {
        false => (ip("239.1.1.1"), ip("232.1.1.1"), ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"].map(ip)),
        true => (ip("ff05::1"), ip("ff35::1"), ["fd00::2", "fd00::3", "fd00::4", "fd00::5"].map(ip)),
    }
}

fn shared(host: &mut Host, port: u16) -> UdpHandle {
    let mut options = UdpOptions::default();
    options.share_port = true;
    host.stack.bind_udp_with(Endpoint::any(port), options).unwrap()
}

fn set(host: &mut Host, socket: UdpHandle, group: IpAddr, filter: SourceFilter) -> Result<(), GroupError> {
    host.stack.udp_set_filter(host.now, socket, NIC, group, &filter)
}

fn only(sources: &[IpAddr]) -> SourceFilter {
    SourceFilter::only(sources).unwrap()
}

fn all_but(sources: &[IpAddr]) -> SourceFilter {
    SourceFilter::all_but(sources).unwrap()
}

/// A datagram to a group.
fn send(host: &mut Host, source: IpAddr, group: IpAddr, port: u16) {
    host.receive(&ip_frame((PEER_MAC, MacAddr::for_multicast(group)), source, group, UDP, &udp(9, port, b"hello")));
}

/// From whom a socket has received.
fn heard(host: &mut Host, socket: UdpHandle) -> Vec<IpAddr> {
    let mut out = [0; 100];
    std::iter::from_fn(|| host.stack.udp_recv(&mut host.pool, socket, &mut out).map(|(_, meta)| meta.remote.ip()))
        .collect()
}

/// The records of the reports that a change makes: each is told twice, the same both times.
fn told(host: &mut Host) -> Vec<(u8, IpAddr, Vec<IpAddr>)> {
    let told = reports(host, Duration::from_secs(30));
    assert!(told.len() == 2 && told[0].0 == 0 && told[1].0 <= 1_000 && told[0].2 == told[1].2, "{told:?}");
    told[0].2.clone()
}

#[test]
fn n8_each_socket_hears_whom_it_listens_to() {
    for ipv6 in [false, true] {
        let mut host = host();
        let (group, _, from) = names(ipv6);
        let sockets = [0; 4].map(|_| shared(&mut host, 5_000));
        let [some, others, all, none] = sockets;
        set(&mut host, some, group, only(&from[..2])).unwrap();
        set(&mut host, others, group, all_but(&from[1..3])).unwrap();
        set(&mut host, all, group, SourceFilter::ALL).unwrap();
        for source in from {
            send(&mut host, source, group, 5_000);
        }
        assert_eq!(heard(&mut host, some), from[..2]);
        assert_eq!(heard(&mut host, others), [from[0], from[3]]);
        assert_eq!(heard(&mut host, all), from);
        assert!(heard(&mut host, none).is_empty(), "it has not joined");
        // For the whole host: whoever has not said otherwise hears all.
        host.stack.join_group(host.now, NIC, group).unwrap();
        send(&mut host, from[2], group, 5_000);
        assert_eq!(sockets.map(|socket| heard(&mut host, socket).len()), [0, 0, 1, 1]);
        // A socket that is closed listens no more, and with the last one the interface does not.
        host.stack.leave_group(host.now, NIC, group).unwrap();
        for socket in [some, others, all] {
            host.stack.udp_close(&mut host.pool, socket);
        }
        send(&mut host, from[0], group, 5_000);
        assert_eq!((heard(&mut host, none).len(), host.drops(DropReason::IpNotForUs)), (0, 1));
        host.stack.udp_close(&mut host.pool, none);
        host.pass(Duration::from_secs(30));
        assert_eq!((host.pool.blocks_in_use(), host.stack.next_timeout()), (0, None));
    }
}

#[test]
fn n8_a_source_that_nobody_listens_to_is_counted() {
    let mut host = host();
    let (group, _, from) = names(false);
    let socket = shared(&mut host, 5_000);
    set(&mut host, socket, group, only(&from[..1])).unwrap();
    send(&mut host, from[1], group, 5_000);
    send(&mut host, from[0], group, 5_001);
    assert_eq!(host.drops(DropReason::UdpSourceFiltered), 1);
    assert_eq!(host.drops(DropReason::UdpNoSocket), 1);
    assert!(heard(&mut host, socket).is_empty());
}

/// RFC 3376 §5.1, RFC 3810 §6.1: the table of what is told of each change.
#[test]
fn n8_changes_of_sources_are_told() {
    for ipv6 in [false, true] {
        let mut host = host();
        let (group, _, [a, b, c, d]) = names(ipv6);
        let socket = shared(&mut host, 5_000);
        let steps = [
            (only(&[a, b]), vec![(ALLOW, vec![a, b])]),
            (only(&[b, c, d]), vec![(ALLOW, vec![c, d]), (BLOCK, vec![a])]),
            (all_but(&[a]), vec![(TO_EX, vec![a])]),
            (all_but(&[b]), vec![(ALLOW, vec![a]), (BLOCK, vec![b])]),
            (only(&[a]), vec![(TO_IN, vec![a])]),
            (SourceFilter::NONE, vec![(BLOCK, vec![a])]),
            (SourceFilter::ALL, vec![(TO_EX, vec![])]),
            (SourceFilter::NONE, vec![(TO_IN, vec![])]),
        ];
        for (filter, records) in steps {
            set(&mut host, socket, group, filter).unwrap();
            assert_eq!(host.stack.udp_filter(socket, NIC, group), filter);
            assert_eq!(host.stack.interface_filter(NIC, group), filter);
            let expected: Vec<_> = records.into_iter().map(|(kind, sources)| (kind, group, sources)).collect();
            assert_eq!(told(&mut host), expected, "{filter:?}");
        }
        assert_eq!(set(&mut host, socket, group, SourceFilter::NONE), Err(GroupError::NotMember(group)));
        assert_eq!(host.stack.next_timeout(), None);
    }
}

/// RFC 3376 §3.2: the interface listens to what any of the sockets does, and only changes of that are told.
#[test]
fn n8_the_interface_listens_for_all_sockets() {
    let mut host = host();
    let (group, _, [a, b, c, d]) = names(false);
    let [one, two] = [0; 2].map(|_| shared(&mut host, 5_000));
    set(&mut host, one, group, only(&[a, b])).unwrap();
    told(&mut host);
    set(&mut host, two, group, only(&[b, c])).unwrap();
    assert_eq!(told(&mut host), [(ALLOW, group, vec![c])]);
    set(&mut host, two, group, all_but(&[a, d])).unwrap();
    assert_eq!(told(&mut host), [(TO_EX, group, vec![d])]);
    set(&mut host, one, group, only(&[a])).unwrap();
    assert!(reports(&mut host, Duration::from_secs(30)).is_empty(), "nothing has changed");
    host.stack.udp_close(&mut host.pool, two);
    assert_eq!(told(&mut host), [(TO_IN, group, vec![a])]);
    // What one host wants is not two reports: a change before the last one was told again is told with it.
    set(&mut host, one, group, only(&[b])).unwrap();
    let first = reports(&mut host, Duration::ZERO);
    assert_eq!(first[0].2, [(ALLOW, group, vec![b]), (BLOCK, group, vec![a])]);
    set(&mut host, one, group, only(&[b, c])).unwrap();
    assert_eq!(told(&mut host), [(ALLOW, group, vec![b, c]), (BLOCK, group, vec![a])]);
}

/// RFC 3376 §5.2: an answer is about the sources that were asked for.
#[test]
fn n8_questions_about_sources_are_answered() {
    for ipv6 in [false, true] {
        let mut host = host();
        let (group, _, [a, b, c, d]) = names(ipv6);
        let socket = shared(&mut host, 5_000);
        set(&mut host, socket, group, only(&[a, b])).unwrap();
        told(&mut host);
        let mut ask = |filter: Option<SourceFilter>, asked: &[&[IpAddr]]| {
            if let Some(filter) = filter {
                set(&mut host, socket, group, filter).unwrap();
                told(&mut host);
            }
            asked.iter().for_each(|sources| query_sources(&mut host, group, sources, 10));
            let answers = reports(&mut host, Duration::from_secs(30));
            assert!(answers.len() <= 1 && answers.iter().all(|answer| answer.0 <= 1_000), "{answers:?}");
            answers.into_iter().next().map(|answer| answer.2)
        };
        assert_eq!(ask(None, &[&[b, c]]), Some(vec![(IS_IN, group, vec![b])]));
        assert_eq!(ask(None, &[&[c, d]]), None);
        assert_eq!(ask(None, &[&[b], &[a, c]]), Some(vec![(IS_IN, group, vec![a, b])]));
        assert_eq!(ask(None, &[&[b], &[]]), Some(vec![(IS_IN, group, vec![a, b])]));
        assert_eq!(ask(None, &[&[], &[b]]), Some(vec![(IS_IN, group, vec![a, b])]));
        assert_eq!(ask(Some(all_but(&[b])), &[&[b, c]]), Some(vec![(IS_IN, group, vec![c])]));
    }
}

/// RFC 4604 §2, RFC 4607 §4: such groups have sources, and older versions of the protocols are not for them.
#[test]
fn n8_source_specific_groups_want_sources() {
    for ipv6 in [false, true] {
        let mut host = host();
        let (_, group, from) = names(ipv6);
        let socket = shared(&mut host, 5_000);
        for filter in [SourceFilter::ALL, all_but(&from)] {
            assert_eq!(set(&mut host, socket, group, filter), Err(GroupError::SourcesNeeded(group)));
        }
        assert_eq!(host.stack.join_group(host.now, NIC, group), Err(GroupError::SourcesNeeded(group)));
        set(&mut host, socket, group, only(&from[..1])).unwrap();
        assert_eq!(told(&mut host), [(ALLOW, group, vec![from[0]])]);
        crate::multicast::query(&mut host, ipv6, 1, None, 100);
        let answers = reports(&mut host, Duration::from_secs(30));
        assert!(answers.iter().all(|answer| answer.2[0].1 != group), "{answers:?}");
        set(&mut host, socket, group, SourceFilter::NONE).unwrap();
        assert!(reports(&mut host, Duration::from_secs(30)).is_empty());
    }
}

#[test]
fn n8_memberships_are_bounded_and_end_with_the_interface() {
    let mut host = host();
    let (group, specific, from) = names(false);
    let many: Vec<_> = (1..=11).map(|last| IpAddr::from([10, 0, 1, last])).collect();
    assert_eq!(SourceFilter::only(&many), Err(GroupError::TooManySources));
    let [one, two] = [0; 2].map(|_| shared(&mut host, 5_000));
    // Together the sockets want more sources than an interface asks for one by one: it asks for all, and the filters hold.
    set(&mut host, one, group, only(&many[..10])).unwrap();
    set(&mut host, two, group, only(&many[10..])).unwrap();
    assert_eq!(host.stack.interface_filter(NIC, group), SourceFilter::ALL);
    set(&mut host, one, specific, only(&many[..10])).unwrap();
    assert_eq!(set(&mut host, two, specific, only(&many[10..])), Err(GroupError::TooManySources));
    assert_eq!(set(&mut host, one, group, only(&[ip("fd00::2")])), Err(GroupError::BadSource(ip("fd00::2"))));
    assert_eq!(set(&mut host, one, from[0], SourceFilter::ALL), Err(GroupError::NotMulticast(from[0])));
    let closed = shared(&mut host, 5_000);
    host.stack.udp_close(&mut host.pool, closed);
    assert_eq!(set(&mut host, closed, group, SourceFilter::ALL), Err(GroupError::NoSuchSocket));
    let limits = Limits::small();
    let last = (0..limits.groups).map(|number| {
        let group = IpAddr::from([239, 9, 9, number as u8]);
        set(&mut host, one, group, SourceFilter::ALL)
    });
    assert_eq!(last.last().unwrap(), Err(GroupError::LimitReached), "groups");
    for number in 0..limits.memberships {
        let socket = host.stack.bind_udp(Endpoint::any(6_000 + number as u16));
        let Ok(socket) = socket else { break };
        if set(&mut host, socket, group, SourceFilter::ALL) == Err(GroupError::LimitReached) {
            break;
        }
        assert!(number + 1 < limits.memberships, "memberships");
    }
    host.stack.remove_interface(&mut host.pool, host.now, NIC).unwrap();
    assert_eq!(host.stack.groups().count(), 0);
    assert_eq!(host.stack.udp_filter(one, NIC, group), SourceFilter::NONE);
}

/// RFC 1112 §6.1: "a copy of the datagram must be looped back for local delivery", unless the sender has said that it wants none.
#[test]
fn n8_what_is_sent_to_a_group_is_heard_here_too() {
    for ipv6 in [false, true] {
        let mut host = host();
        let (group, _, from) = names(ipv6);
        let ours = ip(if ipv6 { "fd00::1" } else { "10.0.0.1" });
        let [member, other] = [0; 2].map(|_| shared(&mut host, 5_000));
        let sender = host.stack.bind_udp(Endpoint::any(9)).unwrap();
        set(&mut host, member, group, all_but(&from)).unwrap();
        set(&mut host, other, group, only(&from)).unwrap();
        let mut meta = UdpMeta::to(SocketAddr::new(group, 5_000));
        meta.interface = Some(NIC);
        let data = vec![7; 3_000];
        host.stack.udp_send(&mut host.pool, host.now, sender, &meta, &data).unwrap();
        let mut out = vec![0; 4_000];
        let (len, meta_in) = host.stack.udp_recv(&mut host.pool, member, &mut out).unwrap();
        assert_eq!((&out[..len], meta_in.remote, meta_in.hop_limit), (&data[..], SocketAddr::new(ours, 9), 1));
        assert_eq!((meta_in.local, meta_in.interface), (Some(group), Some(NIC)));
        assert!(heard(&mut host, other).is_empty());
        let mut options = UdpOptions::default();
        (options.multicast_loop, options.multicast_hop_limit) = (false, 7);
        host.stack.udp_set_options(sender, options);
        host.take_all();
        host.stack.udp_send(&mut host.pool, host.now, sender, &meta, b"not for us").unwrap();
        assert!(heard(&mut host, member).is_empty());
        let sent = host.take_all();
        assert_eq!(sent.iter().map(|frame| if ipv6 { frame[21] } else { frame[22] }).collect::<Vec<_>>(), [7]);
        assert_eq!(MacAddr(sent[0][..6].try_into().unwrap()), MacAddr::for_multicast(group));
    }
}

#[test]
fn n8_a_socket_on_the_address_of_a_group() {
    let mut host = host();
    let (group, _, from) = names(false);
    let socket = host.stack.bind_udp(Endpoint { address: Some(group), port: 5_000 }).unwrap();
    set(&mut host, socket, group, SourceFilter::ALL).unwrap();
    set(&mut host, socket, ip("239.1.1.2"), SourceFilter::ALL).unwrap();
    send(&mut host, from[0], group, 5_000);
    send(&mut host, from[0], ip("239.1.1.2"), 5_000);
    host.receive(&ip_frame((PEER_MAC, HOST_MAC), from[0], ip("10.0.0.1"), UDP, &udp(9, 5_000, b"hello")));
    assert_eq!(heard(&mut host, socket), from[..1]);
    // What it sends is from an address of the host's.
    host.take_all();
    let mut meta = UdpMeta::to(SocketAddr::new(group, 5_000));
    meta.interface = Some(NIC);
    host.stack.udp_send(&mut host.pool, host.now, socket, &meta, b"from us").unwrap();
    assert_eq!(host.take_all()[0][26..30], [10, 0, 0, 1]);
    assert_eq!(heard(&mut host, socket), [ip("10.0.0.1")]);
    assert!(host.now > Instant::ZERO);
}
