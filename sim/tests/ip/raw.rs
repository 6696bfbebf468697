//! Raw sockets of IP packets (RFC 3542 §3) and of frames.

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip, pair};
use ethertab::time::Instant;
use ethertab::wire::MacAddr;
use ethertab::{
    DropReason, Event, FrameMeta, FramePattern, InterfaceConfig, InterfaceId, RawError, RawHandle, RawKind, RawMeta,
    RawOptions, Signals,
};
use ethertab_sim::packet::{self, ICMP, ICMPV6, UDP, icmp, ip_frame, parse_ip, udp};

/// OSPF: a protocol that the stack does not have.
const OSPF: u8 = 89;

fn open(host: &mut Host, kind: RawKind, header_included: bool) -> RawHandle {
    let mut options = RawOptions::new(kind);
    options.header_included = header_included;
    host.stack.open_raw(options).unwrap()
}

fn kind(ipv6: bool, protocol: u8) -> RawKind {
    if ipv6 { RawKind::Ipv6(protocol) } else { RawKind::Ipv4(protocol) }
}

fn on_nic() -> RawMeta {
    let mut meta = RawMeta::default();
    meta.interface = Some(NIC);
    meta
}

fn recv(host: &mut Host, socket: RawHandle) -> Option<(Vec<u8>, RawMeta)> {
    let mut out = vec![0; 70_000];
    let (len, meta) = host.stack.raw_recv(&mut host.pool, socket, &mut out)?;
    Some((out[..len].to_vec(), meta))
}

fn send(host: &mut Host, socket: RawHandle, meta: &RawMeta, data: &[u8]) -> Result<(), RawError> {
    host.stack.raw_send(&mut host.pool, host.now, socket, meta, data)
}

#[test]
fn a_protocol_that_a_raw_socket_has_is_received_and_not_refused() {
    for ipv6 in [false, true] {
        let (ours, theirs) = pair(ipv6);
        let mut host = Host::with_neighbors();
        host.receive_ip(theirs, ours, OSPF, b"hello");
        assert_eq!(host.take_all().len(), 1, "an error");
        let plain = open(&mut host, kind(ipv6, OSPF), false);
        let whole = open(&mut host, kind(ipv6, OSPF), true);
        let other_family = open(&mut host, kind(!ipv6, OSPF), false);
        host.receive_ip(theirs, ours, OSPF, b"hello");
        assert!(host.take_all().is_empty());
        let events: Vec<_> = std::iter::from_fn(|| host.stack.poll_event()).collect();
        assert!(events.contains(&Event::Raw(plain, Signals::READABLE)), "{events:?}");
        let (data, meta) = recv(&mut host, plain).unwrap();
        assert_eq!((data.as_slice(), meta.source, meta.destination), (&b"hello"[..], Some(theirs), Some(ours)));
        assert_eq!((meta.interface, meta.hop_limit), (Some(NIC), if ipv6 { 255 } else { 64 }));
        let (data, _) = recv(&mut host, whole).unwrap();
        let frame = ip_frame((PEER_MAC, HOST_MAC), theirs, ours, OSPF, b"hello");
        assert_eq!(data, frame[14..]);
        assert_eq!(recv(&mut host, other_family), None);
        // What the stack has itself is shown as well, and answered; a datagram is put together first.
        let echo = open(&mut host, kind(ipv6, if ipv6 { ICMPV6 } else { ICMP }), false);
        let message = icmp(if ipv6 { 128 } else { 8 }, 0, 1, &[5; 3_000]);
        let frame = ip_frame((PEER_MAC, HOST_MAC), theirs, ours, if ipv6 { ICMPV6 } else { ICMP }, &message);
        packet::fragments(&frame, 7, 1_280).iter().for_each(|fragment| host.receive(fragment));
        assert_eq!(recv(&mut host, echo).unwrap().0.len(), 3_008);
        assert_eq!(host.take_all().len(), 3, "the answer, in fragments");
        for socket in [plain, whole, other_family, echo] {
            host.stack.close_raw(&mut host.pool, socket);
        }
        host.receive_ip(theirs, ours, OSPF, b"hello");
        assert_eq!(host.take_all().len(), 1);
        assert_eq!((recv(&mut host, plain), host.pool.blocks_in_use()), (None, 0));
    }
}

#[test]
fn what_a_raw_socket_sends_has_the_headers_it_asks_for() {
    for ipv6 in [false, true] {
        let (ours, theirs) = pair(ipv6);
        let mut host = Host::with_neighbors();
        let socket = open(&mut host, kind(ipv6, OSPF), false);
        let mut meta = RawMeta::to(theirs);
        (meta.hop_limit, meta.traffic_class) = (1, 0xc0);
        send(&mut host, socket, &meta, b"hello").unwrap();
        let frame = host.take_all().remove(0);
        assert_eq!(parse_ip(&frame), Some((ours, theirs, OSPF, &b"hello"[..])));
        let (hops, class) = if ipv6 { (frame[21], frame[14] << 4 | frame[15] >> 4) } else { (frame[22], frame[15]) };
        assert_eq!((hops, class), (1, 0xc0));
        // The longest that there can be leaves in fragments.
        let max = if ipv6 { 65_535 } else { 65_515 };
        send(&mut host, socket, &meta, &vec![1; max]).unwrap();
        assert!(host.take_all().len() > 40);
        assert_eq!(send(&mut host, socket, &meta, &vec![1; max + 1]), Err(RawError::TooLong { max }));
        for bad in [pair(!ipv6).1, ours, if ipv6 { ip("::") } else { ip("0.0.0.0") }] {
            assert_eq!(send(&mut host, socket, &RawMeta::to(bad), b""), Err(RawError::BadAddress));
        }
        meta.source = Some(theirs);
        assert_eq!(send(&mut host, socket, &meta, b""), Err(RawError::BadAddress));
        let stranger = if ipv6 { ip("2001:db8::1") } else { ip("192.0.2.1") };
        assert_eq!(send(&mut host, socket, &RawMeta::to(stranger), b""), Err(RawError::NoRoute(stranger)));
        // The header of the application's own, with what it leaves open filled in.
        let socket = open(&mut host, kind(ipv6, OSPF), true);
        let mut packet = ip_frame((HOST_MAC, PEER_MAC), ours, theirs, 253, b"own header")[14..].to_vec();
        let expected = packet.clone();
        if ipv6 {
            packet[4..6].fill(0);
            packet[8..24].fill(0);
        } else {
            packet[2..4].fill(0);
            packet[10..16].fill(0);
        }
        send(&mut host, socket, &RawMeta::default(), &packet).unwrap();
        let mut sent = host.take_all().remove(0)[14..].to_vec();
        assert!(parse_ip(&[&[0; 12][..], if ipv6 { &[0x86, 0xdd] } else { &[8, 0] }, &sent].concat()).is_some());
        if !ipv6 {
            // An identification that is new each time, and so the checksum.
            sent[4..6].copy_from_slice(&expected[4..6]);
            sent[10..12].copy_from_slice(&expected[10..12]);
        }
        assert_eq!(sent, expected);
        let long = [&packet[..], &[0; 1_500]].concat();
        assert_eq!(send(&mut host, socket, &RawMeta::default(), &long), Err(RawError::TooLong { max: 1_500 }));
        for len in [0, 1, 19, if ipv6 { 39 } else { 10 }] {
            assert_eq!(send(&mut host, socket, &RawMeta::default(), &packet[..len]), Err(RawError::Malformed));
        }
        packet[0] ^= 0x20;
        assert_eq!(send(&mut host, socket, &RawMeta::default(), &packet), Err(RawError::Malformed));
    }
}

/// RFC 3542 §3.1.
#[test]
fn the_checksum_of_icmpv6_is_put_in() {
    let (ours, theirs) = pair(true);
    let mut host = Host::with_neighbors();
    let socket = open(&mut host, RawKind::Ipv6(ICMPV6), false);
    let message = icmp(128, 0, 7, b"echo");
    send(&mut host, socket, &RawMeta::to(theirs), &message).unwrap();
    let expected = ip_frame((HOST_MAC, PEER_MAC), ours, theirs, ICMPV6, &message);
    let frames = host.take_all();
    assert_eq!(frames[0][54..], expected[54..]);
}

/// S4: who does not read has a bounded queue, and the host goes on.
#[test]
fn s4_a_raw_socket_that_nobody_reads_is_bounded() {
    let (ours, theirs) = pair(false);
    let mut host = Host::with_neighbors();
    let all = RawKind::Frames { ethertype: None, pattern: None, outgoing: true };
    for kind in [RawKind::Ipv4(OSPF), all] {
        let socket = open(&mut host, kind, false);
        for _ in 0..1_000 {
            host.receive_ip(theirs, ours, OSPF, &[1; 1_400]);
        }
        assert!(host.drops(DropReason::RawQueueFull) > 500);
        assert!(host.pool.blocks_in_use() <= 100, "{}", host.pool.blocks_in_use());
        host.receive_ping(theirs, ours);
        assert!(!host.take_all().is_empty());
        host.stack.close_raw(&mut host.pool, socket);
        assert_eq!(host.pool.blocks_in_use(), 0);
    }
    for _ in 0..4 {
        open(&mut host, all, false);
    }
    assert_eq!(host.stack.open_raw(RawOptions::new(all)), Err(RawError::TooManySockets));
    let socket = RawHandle::from_bits(0);
    let mut frame = vec![0; 60];
    frame[..6].fill(0xff);
    let meta = on_nic();
    let queued = (0..1_000).take_while(|_| send(&mut host, socket, &meta, &frame).is_ok()).count();
    assert!(queued <= 64, "{queued}");
    assert_eq!(host.take_all().len(), queued);
}

#[test]
fn frames_are_seen_as_they_pass_by_type_and_by_pattern() {
    let (ours, theirs) = pair(false);
    let mut host = Host::with_neighbors();
    let frames = |ethertype, pattern, outgoing| RawKind::Frames { ethertype, pattern, outgoing };
    let all = open(&mut host, frames(None, None, true), false);
    let arp = open(&mut host, frames(Some(0x0806), None, false), false);
    // UDP to port 9 over IPv4 without options: the protocol at 23, the port at 36.
    let port = FramePattern { offset: 36, value: 9 << 48, mask: 0xffff << 48 };
    let udp_to_9 = open(&mut host, frames(Some(0x0800), Some(port), false), false);
    let elsewhere = ip_frame((PEER_MAC, PEER_MAC), theirs, ip("10.0.0.3"), UDP, &udp(1, 9, b"for another"));
    let to_8 = ip_frame((PEER_MAC, HOST_MAC), theirs, ours, UDP, &udp(1, 8, b"for us"));
    let question = packet::arp(1, (PEER_MAC, [10, 0, 0, 2]), (HOST_MAC, [10, 0, 0, 1]));
    let question = packet::ethernet(MacAddr::BROADCAST, PEER_MAC, 0x0806, &question);
    let short = &elsewhere[..20];
    for frame in [&elsewhere[..], &to_8, &question, short] {
        host.receive(frame);
    }
    let answers = host.take_all();
    assert_eq!(answers.len(), 2, "port unreachable, and an answer to ARP");
    let mut seen = Vec::new();
    while let Some((frame, meta)) = recv(&mut host, all) {
        assert_eq!((meta.interface, meta.source), (Some(NIC), None));
        seen.push((frame, meta.outgoing));
    }
    let incoming = [&elsewhere[..], &to_8, &question, short].map(|frame| (frame.to_vec(), false));
    let outgoing = answers.into_iter().map(|frame| (frame, true));
    assert_eq!(seen, incoming.into_iter().chain(outgoing).collect::<Vec<_>>());
    assert_eq!(recv(&mut host, arp).map(|(frame, _)| frame), Some(question));
    assert_eq!(recv(&mut host, udp_to_9).map(|(frame, _)| frame), Some(elsewhere));
    assert_eq!((recv(&mut host, arp), recv(&mut host, udp_to_9)), (None, None));
    // Sent as they are.
    let frame = packet::ethernet(PEER_MAC, HOST_MAC, 0x88b5, b"experimental");
    assert_eq!(send(&mut host, arp, &RawMeta::default(), &frame), Err(RawError::NoInterface));
    let meta = on_nic();
    send(&mut host, arp, &meta, &frame).unwrap();
    assert_eq!(host.take_all(), [frame]);
    assert_eq!(send(&mut host, arp, &meta, &[0; 13]), Err(RawError::Malformed));
    assert_eq!(send(&mut host, arp, &meta, &[0; 1_515]), Err(RawError::TooLong { max: 1_514 }));
    let mut options = RawOptions::new(RawKind::Ipv4(1));
    options.interface = Some(InterfaceId(9));
    assert_eq!(host.stack.open_raw(options), Err(RawError::NoInterface));
}

#[test]
fn on_an_interface_without_link_headers_frames_are_ip_packets() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        let tun = host.stack.add_interface(Instant::ZERO, InterfaceConfig::ip()).unwrap();
        let prefix = if ipv6 { "fd09::1/64" } else { "10.9.0.1/24" };
        host.stack.add_address(Instant::ZERO, tun, prefix.parse().unwrap()).unwrap();
        let ethertype = Some(if ipv6 { 0x86dd } else { 0x0800 });
        let mut options = RawOptions::new(RawKind::Frames { ethertype, pattern: None, outgoing: true });
        options.interface = Some(tun);
        let socket = host.stack.open_raw(options).unwrap();
        let (ours, theirs) = if ipv6 { (ip("fd09::1"), ip("fd09::2")) } else { (ip("10.9.0.1"), ip("10.9.0.2")) };
        let message = icmp(if ipv6 { 128 } else { 8 }, 0, 1, b"echo");
        let frame = ip_frame((PEER_MAC, HOST_MAC), theirs, ours, if ipv6 { ICMPV6 } else { ICMP }, &message);
        let packet = &frame[14..];
        host.stack.receive(&mut host.pool, host.now, tun, packet, FrameMeta::received(packet.len()));
        assert_eq!(recv(&mut host, socket).map(|(seen, _)| seen).as_deref(), Some(packet));
        send(&mut host, socket, &RawMeta::default(), packet).unwrap();
        let mut buf = vec![0; host.stack.frame_capacity(tun)];
        let mut sent = std::iter::from_fn(|| {
            let meta = host.stack.transmit(&mut host.pool, host.now, tun, &mut buf)?;
            Some(buf[..meta.len].to_vec())
        });
        let sent: Vec<_> = sent.by_ref().collect();
        assert!(sent.len() == 2 && sent.iter().any(|sent| sent == packet), "the answer and the packet");
        assert_eq!(std::iter::from_fn(|| recv(&mut host, socket)).count(), 2);
    }
}
