//! Flows to addresses that are nobody's on the host, about which its application decides.

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip, pair};
use ethertab::time::Duration;
use ethertab::wire::MacAddr;
use ethertab::{
    AnyAddress, DropReason, Endpoint, Event, FlowError, FlowHandle, FlowProtocol, FlowUnreachable, ListenOptions,
    ListenerHandle, RecvError, Signals, UdpMeta,
};
use ethertab_sim::packet::{self, ACK, ICMP, ICMPV6, RST, SYN, Segment, TCP, UDP, parse_ip};
use std::net::{IpAddr, SocketAddr};

/// Somebody far away.
fn far(is_ipv6: bool) -> IpAddr {
    if is_ipv6 { ip("2001:db8::80") } else { ip("192.0.2.80") }
}

/// A host that takes all flows of its link.
fn host() -> (Host, ListenerHandle) {
    let mut host = Host::with_neighbors();
    let listener = host.stack.listen(Endpoint::any(9), ListenOptions::default()).unwrap();
    host.stack.set_any_address(NIC, Some(AnyAddress::through(listener))).unwrap();
    (host, listener)
}

fn segment(port: u16, flags: u16, seq: u32, ack: u32, payload: &[u8]) -> Segment {
    Segment {
        source_port: port,
        destination_port: 80,
        flags,
        seq,
        ack,
        window: 5_000,
        payload: payload.to_vec(),
        ..Segment::default()
    }
}

fn receive(host: &mut Host, is_ipv6: bool, segment: &Segment) {
    let (_, peer) = pair(is_ipv6);
    let frame = packet::ip_frame((PEER_MAC, HOST_MAC), peer, far(is_ipv6), TCP, &segment.to_bytes());
    host.receive(&frame);
}

/// The segments that the host sends in the name of whoever is far away.
fn answers(host: &mut Host, is_ipv6: bool) -> Vec<Segment> {
    let frames = host.take_all();
    let parsed = frames.iter().filter_map(|frame| parse_ip(frame));
    parsed
        .map(|(source, destination, protocol, payload)| {
            assert_eq!((source, destination, protocol), (far(is_ipv6), pair(is_ipv6).1, TCP));
            Segment::parse(payload).unwrap()
        })
        .collect()
}

fn flows(host: &mut Host) -> Vec<FlowHandle> {
    let events = std::iter::from_fn(|| host.stack.poll_event());
    events
        .filter_map(|event| match event {
            Event::Flow(handle) => Some(handle),
            _ => None,
        })
        .collect()
}

#[test]
fn the_handshake_waits_for_the_application_and_then_completes() {
    for is_ipv6 in [false, true] {
        let (mut host, listener) = host();
        receive(&mut host, is_ipv6, &segment(5_000, SYN, 100, 0, &[]));
        assert_eq!(answers(&mut host, is_ipv6).len(), 0);
        let pending = flows(&mut host);
        assert_eq!(pending.len(), 1);
        let info = host.stack.pending_flow(pending[0]).unwrap();
        let remote = SocketAddr::new(pair(is_ipv6).1, 5_000);
        assert_eq!((info.local, info.remote, info.interface), (SocketAddr::new(far(is_ipv6), 80), remote, NIC));
        // The peer does not know that it is being looked after.
        for _ in 0..3 {
            receive(&mut host, is_ipv6, &segment(5_000, SYN, 100, 0, &[]));
        }
        assert_eq!((answers(&mut host, is_ipv6).len(), flows(&mut host).len()), (0, 0));
        assert_eq!(host.drops(DropReason::FlowPending), 3);

        host.stack.accept_flow(&mut host.pool, host.now, pending[0]).unwrap();
        assert_eq!(host.stack.accept_flow(&mut host.pool, host.now, pending[0]), Err(FlowError::NotFound));
        let syn_ack = answers(&mut host, is_ipv6).remove(0);
        assert_eq!((syn_ack.flags, syn_ack.ack), (SYN | ACK, 101));
        receive(&mut host, is_ipv6, &segment(5_000, ACK, 101, syn_ack.seq + 1, b"hello"));
        let connection = host.stack.accept(listener).expect("a connection");
        let mut buf = [0; 10];
        assert_eq!(host.stack.recv(&mut host.pool, host.now, connection, &mut buf), Ok(5));
        host.stack.send(&mut host.pool, host.now, connection, b"hello yourself").unwrap();
        let sent = answers(&mut host, is_ipv6);
        assert_eq!(sent.last().map(|segment| &segment.payload[..]), Some(&b"hello yourself"[..]));
        let infos: Vec<_> = host.stack.connections().map(|info| (info.local, info.remote)).collect();
        assert_eq!(infos, [(info.local, info.remote)]);
        assert_eq!(host.stack.recv(&mut host.pool, host.now, connection, &mut buf), Err(RecvError::WouldBlock));
        // What belongs to nobody is reset, as by any host.
        receive(&mut host, is_ipv6, &segment(5_001, ACK, 7, 9, &[]));
        let reset = answers(&mut host, is_ipv6);
        assert_eq!(reset.iter().find(|segment| segment.flags & RST != 0).map(|segment| segment.seq), Some(9));
    }
}

#[test]
fn a_refused_flow_is_reset_and_an_unreachable_one_reported() {
    let reasons = [
        (FlowUnreachable::Network, 0, 0),
        (FlowUnreachable::Host, 1, 3),
        (FlowUnreachable::Port, 3, 4),
        (FlowUnreachable::Prohibited, 13, 1),
    ];
    for is_ipv6 in [false, true] {
        let (mut host, _) = host();
        receive(&mut host, is_ipv6, &segment(5_000, SYN, 100, 0, &[]));
        let pending = flows(&mut host).remove(0);
        host.stack.refuse_flow(&mut host.pool, host.now, pending).unwrap();
        let reset = answers(&mut host, is_ipv6).remove(0);
        assert_eq!((reset.flags, reset.ack), (RST | ACK, 101));
        for (reason, v4, v6) in reasons {
            let syn = segment(5_000, SYN, 100, 0, &[]);
            receive(&mut host, is_ipv6, &syn);
            let pending = flows(&mut host).remove(0);
            host.stack.flow_unreachable(&mut host.pool, host.now, pending, reason).unwrap();
            let frames = host.take_all();
            let (source, to, protocol, message) = parse_ip(&frames[0]).unwrap();
            let (ours, peer) = pair(is_ipv6);
            let from = if reason == FlowUnreachable::Port { far(is_ipv6) } else { ours };
            assert_eq!((source, to, protocol), (from, peer, if is_ipv6 { ICMPV6 } else { ICMP }));
            assert_eq!((message[0], message[1]), if is_ipv6 { (1, v6) } else { (3, v4) });
            let quoted = if is_ipv6 { 40 } else { 20 };
            assert_eq!(message[8 + quoted..12 + quoted], syn.to_bytes()[..4]);
        }
        assert_eq!(host.pool.blocks_in_use(), 0);
    }
}

/// S4: pending flows are limited, in all and for each source, and end by themselves.
#[test]
fn s4_pending_flows_are_limited_and_do_not_stay() {
    let (mut host, listener) = host();
    let mut any = AnyAddress::through(listener);
    any.per_source = 10;
    host.stack.set_any_address(NIC, Some(any)).unwrap();
    for port in 0..20 {
        receive(&mut host, false, &segment(5_000 + port, SYN, 1, 0, &[]));
    }
    assert_eq!((flows(&mut host).len(), host.drops(DropReason::FlowTableFull)), (10, 10));
    for number in 0..100u8 {
        let source = IpAddr::from([10, 0, 0, 100 + number % 100]);
        let syn = segment(7_000, SYN, 1, 0, &[]);
        host.receive(&packet::ip_frame((PEER_MAC, HOST_MAC), source, far(false), TCP, &syn.to_bytes()));
    }
    let limit = ethertab::Limits::small().pending_flows;
    let pending = flows(&mut host);
    assert_eq!(pending.len(), limit - 10);
    host.pass(Duration::from_secs(31));
    assert_eq!(host.stack.accept_flow(&mut host.pool, host.now, pending[0]), Err(FlowError::NotFound));
    for port in 0..10 {
        receive(&mut host, false, &segment(5_000 + port, SYN, 1, 0, &[]));
    }
    assert_eq!(flows(&mut host).len(), 10, "there is room again");
}

#[test]
fn a_peer_that_gives_up_ends_its_flow_and_bad_segments_begin_none() {
    let (mut host, listener) = host();
    receive(&mut host, false, &segment(5_000, SYN, 100, 0, &[]));
    let pending = flows(&mut host).remove(0);
    receive(&mut host, false, &segment(5_000, RST, 101, 0, &[]));
    assert_eq!(host.stack.refuse_flow(&mut host.pool, host.now, pending), Err(FlowError::NotFound));
    let (_, peer) = pair(false);
    let syn = segment(5_000, SYN, 100, 0, &[]).to_bytes();
    let mut frame = packet::ip_frame((PEER_MAC, HOST_MAC), peer, far(false), TCP, &syn);
    frame[40] ^= 1;
    host.receive(&frame);
    assert_eq!((flows(&mut host).len(), host.drops(DropReason::TcpChecksum)), (0, 1));
    for nobody in ["224.0.0.5", "240.0.0.1", "127.0.0.1"] {
        host.receive(&packet::ip_frame((PEER_MAC, HOST_MAC), peer, ip(nobody), TCP, &syn));
    }
    assert_eq!((flows(&mut host).len(), host.take_all().len()), (0, 0));
    // Flows to the host itself are none of these, and without a listener there is no connection.
    host.receive_ip(peer, ip("10.0.0.1"), TCP, &syn);
    assert_eq!(flows(&mut host).len(), 0);
    receive(&mut host, false, &segment(5_000, SYN, 100, 0, &[]));
    let pending = flows(&mut host).remove(0);
    host.stack.close_listener(&mut host.pool, host.now, listener);
    assert_eq!(host.stack.accept_flow(&mut host.pool, host.now, pending), Err(FlowError::ListenerBusy));
    host.stack.set_any_address(NIC, None).unwrap();
    let before = host.drops(DropReason::IpNotForUs);
    receive(&mut host, false, &segment(6_000, SYN, 100, 0, &[]));
    assert_eq!((flows(&mut host).len(), host.drops(DropReason::IpNotForUs)), (0, before + 1));
}

/// A datagram to somebody far away.
fn receive_datagram(host: &mut Host, is_ipv6: bool, source_port: u16, data: &[u8]) {
    let (_, peer) = pair(is_ipv6);
    let payload = packet::udp(source_port, 53, data);
    host.receive(&packet::ip_frame((PEER_MAC, HOST_MAC), peer, far(is_ipv6), UDP, &payload));
}

#[test]
fn the_first_datagram_waits_for_the_application_and_begins_its_socket() {
    for is_ipv6 in [false, true] {
        let (mut host, _) = host();
        // A socket of the host's own for the port is not meant.
        let own = host.stack.bind_udp(Endpoint::any(53)).unwrap();
        for data in [&b"first"[..], b"second"] {
            receive_datagram(&mut host, is_ipv6, 5_000, data);
        }
        let pending = flows(&mut host);
        assert_eq!((pending.len(), host.take_all().len()), (1, 0));
        let (ours, remote) = (SocketAddr::new(far(is_ipv6), 53), SocketAddr::new(pair(is_ipv6).1, 5_000));
        let info = host.stack.pending_flow(pending[0]).unwrap();
        assert_eq!((info.protocol, info.local, info.remote, info.interface), (FlowProtocol::Udp, ours, remote, NIC));

        let socket = host.stack.accept_flow(&mut host.pool, host.now, pending[0]).unwrap().expect("a socket");
        let again = host.stack.accept_flow(&mut host.pool, host.now, pending[0]);
        assert_eq!(again, Err(FlowError::NotFound));
        assert_eq!(host.stack.poll_event(), Some(Event::Udp(socket, Signals::READABLE)));
        receive_datagram(&mut host, is_ipv6, 5_000, b"third");
        let mut buf = [0; 100];
        for data in [&b"first"[..], b"second", b"third"] {
            let (len, meta) = host.stack.udp_recv(&mut host.pool, socket, &mut buf).expect("a datagram");
            assert_eq!((&buf[..len], meta.remote, meta.local), (data, remote, Some(far(is_ipv6))));
        }
        assert_eq!(host.stack.udp_recv(&mut host.pool, own, &mut buf), None);
        // Answers are from whom the peer has asked.
        host.stack.udp_send(&mut host.pool, host.now, socket, &UdpMeta::to(remote), b"answer").unwrap();
        let frames = host.take_all();
        let (source, to, protocol, payload) = parse_ip(&frames[0]).unwrap();
        assert_eq!((source, to, protocol, &payload[8..]), (far(is_ipv6), pair(is_ipv6).1, UDP, &b"answer"[..]));
        // Another flow of the same peer is another question, and so is this one once its socket is closed.
        receive_datagram(&mut host, is_ipv6, 5_001, b"");
        assert_eq!(flows(&mut host).len(), 1);
        host.stack.udp_close(&mut host.pool, socket);
        receive_datagram(&mut host, is_ipv6, 5_000, b"");
        assert_eq!(flows(&mut host).len(), 1);
        host.pass(Duration::from_secs(31));
        assert_eq!(host.pool.blocks_in_use(), 0);
    }
}

#[test]
fn a_datagram_that_is_refused_is_answered_by_icmp() {
    let reasons = [
        (None, 3, 4),
        (Some(FlowUnreachable::Network), 0, 0),
        (Some(FlowUnreachable::Host), 1, 3),
        (Some(FlowUnreachable::Port), 3, 4),
        (Some(FlowUnreachable::Prohibited), 13, 1),
    ];
    for is_ipv6 in [false, true] {
        let (mut host, _) = host();
        for (reason, v4, v6) in reasons {
            let data: Vec<u8> = (0..200).collect();
            receive_datagram(&mut host, is_ipv6, 5_000, &data);
            let pending = flows(&mut host).remove(0);
            match reason {
                Some(reason) => host.stack.flow_unreachable(&mut host.pool, host.now, pending, reason).unwrap(),
                None => host.stack.refuse_flow(&mut host.pool, host.now, pending).unwrap(),
            }
            let frames = host.take_all();
            let (source, to, protocol, message) = parse_ip(&frames[0]).unwrap();
            let (ours, peer) = pair(is_ipv6);
            let is_port = reason.is_none_or(|reason| reason == FlowUnreachable::Port);
            let from = if is_port { far(is_ipv6) } else { ours };
            assert_eq!((source, to, protocol), (from, peer, if is_ipv6 { ICMPV6 } else { ICMP }));
            assert_eq!((message[0], message[1]), if is_ipv6 { (1, v6) } else { (3, v4) });
            let quoted = if is_ipv6 { 40 } else { 20 };
            assert_eq!(message[8 + quoted + 8..], data, "all of it fits");
        }
        assert_eq!(host.pool.blocks_in_use(), 0);
    }
}

#[test]
fn what_comes_in_fragments_is_a_datagram_too() {
    for is_ipv6 in [false, true] {
        let (mut host, _) = host();
        let (_, peer) = pair(is_ipv6);
        let data: Vec<u8> = (0..3_000u16).map(|at| at as u8).collect();
        let datagram = packet::udp(5_000, 53, &data);
        let whole = packet::ip_frame((PEER_MAC, HOST_MAC), peer, far(is_ipv6), UDP, &datagram);
        packet::fragments(&whole, 1, 1_400).iter().for_each(|part| host.receive(part));
        let pending = flows(&mut host);
        let socket = host.stack.accept_flow(&mut host.pool, host.now, pending[0]).unwrap().expect("a socket");
        let mut out = vec![0; 4_000];
        let (len, _) = host.stack.udp_recv(&mut host.pool, socket, &mut out).expect("a datagram");
        assert_eq!(out[..len], data);
        host.stack.udp_close(&mut host.pool, socket);
        assert_eq!(host.pool.blocks_in_use(), 0);
    }
}

/// S4: datagrams and flows that wait are limited, and what one of them keeps.
#[test]
fn s4_pending_datagrams_are_limited_and_do_not_stay() {
    let (mut host, _) = host();
    for port in 0..100 {
        receive_datagram(&mut host, false, 5_000 + port, b"?");
    }
    let limit = ethertab::Limits::small().pending_flows;
    assert_eq!(flows(&mut host).len(), limit);
    assert_eq!(host.drops(DropReason::FlowTableFull), 100 - limit as u64);
    for _ in 0..100 {
        receive_datagram(&mut host, false, 5_000, &[0; 1_400]);
    }
    assert!(host.drops(DropReason::UdpQueueFull) > 50, "{}", host.drops(DropReason::UdpQueueFull));
    host.pass(Duration::from_secs(31));
    assert_eq!(host.pool.blocks_in_use(), 0);
    let (_, peer) = pair(false);
    let mut frame = packet::ip_frame((PEER_MAC, HOST_MAC), peer, far(false), UDP, &packet::udp(5_000, 53, b"damaged"));
    frame[45] ^= 1;
    host.receive(&frame);
    assert_eq!((flows(&mut host).len(), host.drops(DropReason::UdpChecksum)), (0, 1));
}

/// ICMP errors about what was sent in the name of somebody far away come to that address.
#[test]
fn errors_about_accepted_flows_reach_their_sockets() {
    for is_ipv6 in [false, true] {
        let (mut host, listener) = host();
        receive_datagram(&mut host, is_ipv6, 5_000, b"?");
        let pending = flows(&mut host).remove(0);
        let socket = host.stack.accept_flow(&mut host.pool, host.now, pending).unwrap().expect("a socket");
        let remote = SocketAddr::new(pair(is_ipv6).1, 5_000);
        host.stack.udp_send(&mut host.pool, host.now, socket, &UdpMeta::to(remote), b"answer").unwrap();
        let sent = host.take_all().remove(0);
        let (kind, code) = if is_ipv6 { (1, 4) } else { (3, 3) };
        let protocol = if is_ipv6 { ICMPV6 } else { ICMP };
        let error = |sent: &[u8]| {
            let message = packet::icmp(kind, code, 0, &sent[14..]);
            packet::ip_frame((PEER_MAC, HOST_MAC), pair(is_ipv6).1, far(is_ipv6), protocol, &message)
        };
        host.receive(&error(&sent));
        let mut quoted = [0; 10];
        let (len, told) = host.stack.udp_error(&mut host.pool, socket, &mut quoted).expect("an error");
        assert_eq!((told.remote, &quoted[..len]), (remote, &b"answer"[..]));

        receive(&mut host, is_ipv6, &segment(6_000, SYN, 100, 0, &[]));
        let pending = flows(&mut host).remove(0);
        host.stack.accept_flow(&mut host.pool, host.now, pending).unwrap();
        let syn_ack = answers(&mut host, is_ipv6).remove(0);
        receive(&mut host, is_ipv6, &segment(6_000, ACK, 101, syn_ack.seq + 1, &[]));
        let connection = host.stack.accept(listener).expect("a connection");
        host.stack.send(&mut host.pool, host.now, connection, &[7; 1_000]).unwrap();
        let sent = host.take_all().pop().unwrap();
        host.receive(&error(&sent));
        assert!(host.stack.take_error_report(connection).is_some(), "it goes on, and can be asked");
        // About a flow of nobody's, it is for nobody here.
        let before = host.drops(DropReason::IpNotForUs);
        let mut other = sent.clone();
        let ports = if is_ipv6 { 54 } else { 34 };
        other[ports..ports + 2].copy_from_slice(&9_999u16.to_be_bytes());
        host.receive(&error(&other));
        assert_eq!(host.drops(DropReason::IpNotForUs), before + 1);
    }
}

/// N1: a client that asks whether somebody has its address must not hear that we have (RFC 5227 §2.1.1, RFC 4862 §5.4).
#[test]
fn n1_who_stands_in_for_everybody_answers_for_no_address_but_its_own() {
    let (mut host, _) = host();
    let nobody = MacAddr([0; 6]);
    for (sender, target) in [([0; 4], [10, 0, 0, 77]), ([10, 0, 0, 2], [192, 0, 2, 1])] {
        let question = packet::arp(1, (PEER_MAC, sender), (nobody, target));
        host.receive(&packet::ethernet(MacAddr::BROADCAST, PEER_MAC, 0x0806, &question));
    }
    for (source, target) in [("::", "fd00::77"), ("fd00::2", "2001:db8::1")] {
        let IpAddr::V6(target) = ip(target) else { panic!("an IPv6 address") };
        host.receive_ip(ip(source), ip("ff02::1"), ICMPV6, &packet::icmp(135, 0, 0, &target.octets()));
    }
    assert_eq!(host.take_all().len(), 0);
    // Its own it has.
    let question = packet::arp(1, (PEER_MAC, [10, 0, 0, 2]), (nobody, [10, 0, 0, 1]));
    host.receive(&packet::ethernet(MacAddr::BROADCAST, PEER_MAC, 0x0806, &question));
    assert_eq!(host.take_all().len(), 1);
}
