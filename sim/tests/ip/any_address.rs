//! Flows to addresses that are nobody's on the host, about which its application decides.

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip, pair};
use ethertab::time::Duration;
use ethertab::{
    AnyAddress, DropReason, Endpoint, Event, FlowError, FlowHandle, FlowUnreachable, ListenOptions, ListenerHandle,
    RecvError, UdpMeta, UdpSendError,
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

#[test]
fn datagrams_to_anybody_go_to_one_socket_which_answers_in_their_name() {
    for is_ipv6 in [false, true] {
        let (mut host, listener) = host();
        let socket = host.stack.bind_udp(Endpoint::any(9)).unwrap();
        let other = host.stack.bind_udp(Endpoint::any(10)).unwrap();
        let mut any = AnyAddress::through(listener);
        any.datagrams = Some(socket);
        host.stack.set_any_address(NIC, Some(any)).unwrap();
        let (_, peer) = pair(is_ipv6);
        let datagram = packet::udp(5_000, 53, b"who");
        let frame = packet::ip_frame((PEER_MAC, HOST_MAC), peer, far(is_ipv6), UDP, &datagram);
        host.receive(&frame);
        let mut out = [0; 16];
        let (len, meta) = host.stack.udp_recv(&mut host.pool, socket, &mut out).unwrap();
        assert_eq!(&out[..len], b"who");
        let remote = SocketAddr::new(peer, 5_000);
        assert_eq!((meta.remote, meta.local, meta.local_port), (remote, Some(far(is_ipv6)), 53));

        host.stack.udp_send(&mut host.pool, host.now, socket, &meta, b"me").unwrap();
        let frames = host.take_all();
        let (source, destination, protocol, payload) = parse_ip(&frames[0]).unwrap();
        assert_eq!((source, destination, protocol), (far(is_ipv6), peer, UDP));
        assert_eq!((&payload[..4], &payload[8..]), (&[0, 53, 0x13, 0x88][..], &b"me"[..]));
        // Nobody else may do so, and not with another port of its own either.
        let refused = Err(UdpSendError::BadAddress(remote));
        assert_eq!(host.stack.udp_send(&mut host.pool, host.now, other, &meta, b"me"), refused);
        let mut guise = UdpMeta::to(remote);
        guise.local_port = 53;
        assert_eq!(host.stack.udp_send(&mut host.pool, host.now, other, &guise, b"me"), refused);

        host.stack.datagram_unreachable(&mut host.pool, host.now, &meta, b"who", FlowUnreachable::Port);
        let frames = host.take_all();
        let (source, destination, protocol, payload) = parse_ip(&frames[0]).unwrap();
        // The name of whom it was for, and the datagram as it came.
        assert_eq!((source, destination, protocol), (far(is_ipv6), peer, if is_ipv6 { ICMPV6 } else { ICMP }));
        assert_eq!(payload[..2], if is_ipv6 { [1, 4] } else { [3, 3] });
        let quoted = &payload[8 + if is_ipv6 { 40 } else { 20 }..];
        assert_eq!((&quoted[..6], &quoted[8..]), (&datagram[..6], &b"who"[..]));

        // A damaged one is dropped, and one for a socket that has gone.
        let mut damaged = frame.clone();
        *damaged.last_mut().unwrap() ^= 1;
        host.receive(&damaged);
        assert_eq!(host.stack.counters().drops(DropReason::UdpChecksum), 1);
        host.stack.udp_close(&mut host.pool, socket);
        host.receive(&frame);
        assert_eq!(host.stack.counters().drops(DropReason::UdpNoSocket), 1);
    }
}
