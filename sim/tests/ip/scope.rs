//! Link-local IPv6 addresses on a host with several interfaces (RFC 4007 §6): the same address on two links is two hosts.

use crate::host::ip;
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    Config, ConfigError, ConnectError, ConnectOptions, Endpoint, FrameMeta, InterfaceConfig, InterfaceId, Limits,
    ListenOptions, PingError, PingOutcome, PingTarget, Pool, ScopeError, Stack, UdpMeta, UdpSendError,
};
use ethertab_sim::packet::{self, ACK, ICMPV6, SYN, Segment, TCP, UDP, parse_ip};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Who has this address on each link.
const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x99]);

fn nic(number: u8) -> InterfaceId {
    InterfaceId(number)
}

fn mac(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, number])
}

/// The host's own link-local address on a link, made from its station's (RFC 4291 appendix A).
fn own(number: u8) -> IpAddr {
    ip(&format!("fe80::ff:fe00:1{number:02x}"))
}

fn remote(scope: u32) -> SocketAddr {
    SocketAddrV6::new(PEER, 80, 0, scope).into()
}

/// A host with a link on each interface, and a neighbour of the same address and station on each.
struct Router {
    stack: Stack<'static>,
    pool: Pool<'static>,
}

impl Router {
    fn new(links: u8) -> Router {
        let mut stack = Stack::new(Config::new([1, 2]), Limits::default());
        let mut pool = Pool::new(64);
        for number in 0..links {
            assert_eq!(stack.add_interface(Instant::ZERO, InterfaceConfig::ethernet(mac(number))), Ok(nic(number)));
            stack.add_neighbor(&mut pool, nic(number), PEER.into(), PEER_MAC).unwrap();
        }
        let mut router = Router { stack, pool };
        (0..links).for_each(|number| drop(router.take(number)));
        router
    }

    /// What the host sends on a link: source, destination and payload of the packets.
    fn take(&mut self, number: u8) -> Vec<(IpAddr, IpAddr, Vec<u8>)> {
        let mut buf = [0; 1_514];
        std::iter::from_fn(|| {
            let meta = self.stack.transmit(&mut self.pool, Instant::ZERO, nic(number), &mut buf)?;
            let (source, destination, _, payload) = parse_ip(&buf[..meta.len]).expect("an IP packet");
            Some((source, destination, payload.to_vec()))
        })
        .collect()
    }

    /// A packet from the neighbour on a link to an address of the host's.
    fn receive(&mut self, number: u8, to: IpAddr, protocol: u8, payload: &[u8]) {
        let frame = packet::ip_frame((PEER_MAC, mac(number)), PEER.into(), to, protocol, payload);
        self.stack.receive(&mut self.pool, Instant::ZERO, nic(number), &frame, FrameMeta::received(frame.len()));
    }
}

#[test]
fn without_a_scope_id_the_only_link_is_meant_and_of_several_none() {
    for links in [1, 2] {
        let mut host = Router::new(links);
        let missing = ScopeError::Missing(PEER);
        let connected = host.stack.connect(Instant::ZERO, remote(0), ConnectOptions::default());
        let socket = host.stack.bind_udp(Endpoint::any(0)).unwrap();
        let sent = host.stack.udp_send(&mut host.pool, Instant::ZERO, socket, &UdpMeta::to(remote(0)), b"data");
        let pinged = host.stack.ping(&mut host.pool, Instant::ZERO, IpAddr::V6(PEER), 8, Duration::from_secs(1));
        if links == 1 {
            assert!(connected.is_ok() && sent.is_ok() && pinged.is_ok());
            assert_eq!(host.take(0).len(), 3);
        } else {
            assert_eq!(connected, Err(ConnectError::Scope(missing)));
            assert_eq!(sent, Err(UdpSendError::Scope(missing)));
            assert_eq!(pinged, Err(PingError::Scope(missing)));
            assert_eq!(host.take(0).len() + host.take(1).len(), 0);
        }
        let nowhere = host.stack.connect(Instant::ZERO, remote(9), ConnectOptions::default());
        assert_eq!(nowhere, Err(ConnectError::Scope(ScopeError::Unknown(9))));
        // Only link-local addresses have a scope to tell.
        let global = SocketAddrV6::new("2001:db8::1".parse().unwrap(), 80, 0, 9);
        let nowhere = host.stack.connect(Instant::ZERO, global.into(), ConnectOptions::default());
        assert_eq!(nowhere, Err(ConnectError::NoRoute(IpAddr::V6(*global.ip()))));
    }
}

#[test]
fn the_scope_id_chooses_the_link() {
    let mut host = Router::new(3);
    for number in [2, 0, 1] {
        let to = remote(u32::from(number) + 1);
        let connection = host.stack.connect(Instant::ZERO, to, ConnectOptions::default()).unwrap();
        let socket = host.stack.bind_udp(Endpoint::any(0)).unwrap();
        host.stack.udp_send(&mut host.pool, Instant::ZERO, socket, &UdpMeta::to(to), b"data").unwrap();
        let target = PingTarget { interface: Some(nic(number)), ..IpAddr::from(PEER).into() };
        host.stack.ping(&mut host.pool, Instant::ZERO, target, 8, Duration::from_secs(1)).unwrap();
        for other in 0..3 {
            let sent = host.take(other);
            assert_eq!(sent.len(), if other == number { 3 } else { 0 }, "link {other} of {number}");
            assert!(sent.iter().all(|(source, ..)| *source == own(number)));
        }
        let infos: Vec<_> = host.stack.connections().filter(|info| info.handle == Some(connection)).collect();
        assert_eq!((infos[0].remote, infos.len()), (to, 1), "the listing tells the link");
    }
}

#[test]
fn a_local_link_local_address_names_its_link() {
    let mut host = Router::new(2);
    let local = Some(Endpoint { address: Some(own(1)), port: 0 });
    let options = ConnectOptions { local, ..ConnectOptions::default() };
    host.stack.connect(Instant::ZERO, remote(0), options).unwrap();
    let socket = host.stack.bind_udp(Endpoint { address: Some(own(1)), port: 7 }).unwrap();
    host.stack.udp_send(&mut host.pool, Instant::ZERO, socket, &UdpMeta::to(remote(0)), b"data").unwrap();
    assert_eq!((host.take(0).len(), host.take(1).len()), (0, 2));
    // It is no address of the other link.
    let connected = host.stack.connect(Instant::ZERO, remote(1), options);
    assert_eq!(connected, Err(ConnectError::AddressNotAvailable(own(1))));
    let sent = host.stack.udp_send(&mut host.pool, Instant::ZERO, socket, &UdpMeta::to(remote(1)), b"data");
    assert_eq!(sent, Err(UdpSendError::BadAddress(remote(1))));
    host.receive(0, own(1), UDP, &packet::udp(9, 7, b"astray"));
    assert!(host.stack.udp_recv(&mut host.pool, socket, &mut [0; 10]).is_none());
}

/// Two peers of one address and port, each on its link, to the same port of an address that both reach.
#[test]
fn a_listener_answers_on_the_link_that_the_request_came_by() {
    let mut host = Router::new(2);
    let shared = ip("2001:db8::1");
    host.stack.add_address(Instant::ZERO, nic(0), "2001:db8::1/64".parse().unwrap()).unwrap();
    host.take(0);
    let listener = host.stack.listen(Endpoint::any(80), ListenOptions::default()).unwrap();
    for number in [1, 0] {
        let syn = Segment { source_port: 5_000, destination_port: 80, flags: SYN, window: 1_000, ..Segment::default() };
        host.receive(number, shared, TCP, &syn.to_bytes());
        assert_eq!(host.take(1 - number).len(), 0);
        let answers = host.take(number);
        let syn_ack = Segment::parse(&answers[0].2).unwrap();
        let ack = Segment { seq: 1, ack: syn_ack.seq + 1, flags: ACK, ..syn };
        host.receive(number, shared, TCP, &ack.to_bytes());
        let accepted = host.stack.accept(listener).unwrap();
        host.stack.send(&mut host.pool, Instant::ZERO, accepted, b"hello").unwrap();
        assert_eq!((host.take(1 - number).len(), host.take(number).len()), (0, 1));
    }
    assert_eq!(host.stack.connections().count(), 2);
    let remotes: Vec<_> = host.stack.connections().map(|info| info.remote).collect();
    for scope in [1, 2] {
        assert!(remotes.contains(&SocketAddrV6::new(PEER, 5_000, 0, scope).into()), "{remotes:?}");
    }
}

#[test]
fn a_received_datagram_tells_its_link_and_can_be_answered_as_it_is() {
    let mut host = Router::new(2);
    let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
    for number in [1, 0] {
        host.receive(number, own(number), UDP, &packet::udp(80, 7, b"question"));
        let (_, meta) = host.stack.udp_recv(&mut host.pool, socket, &mut [0; 10]).unwrap();
        assert_eq!((meta.interface, meta.remote), (Some(nic(number)), remote(u32::from(number) + 1)));
        host.stack.udp_send(&mut host.pool, Instant::ZERO, socket, &UdpMeta::to(meta.remote), b"answer").unwrap();
        assert_eq!((host.take(1 - number).len(), host.take(number).len()), (0, 1));
    }
}

#[test]
fn a_link_local_gateway_of_several_links_is_named_by_its_interface() {
    let (away, there) = ("2001:db8::/32".parse().unwrap(), SocketAddr::new(ip("2001:db8::1"), 80));
    let mut host = Router::new(1);
    host.stack.add_route(away, PEER.into()).unwrap();
    let mut host = Router::new(3);
    assert_eq!(host.stack.add_route(away, PEER.into()), Err(ConfigError::Scope(ScopeError::Missing(PEER))));
    let gone = Err(ConfigError::NoSuchInterface(nic(3)));
    assert_eq!(host.stack.add_route_on(nic(3), away, PEER.into()), gone);
    let stranger = ip("10.0.0.1");
    assert_eq!(
        host.stack.add_route_on(nic(1), "10.1.0.0/16".parse().unwrap(), stranger),
        Err(ConfigError::GatewayNotOnLink(stranger))
    );
    host.stack.add_route_on(nic(1), away, PEER.into()).unwrap();
    host.stack.connect(Instant::ZERO, there, ConnectOptions::default()).unwrap();
    assert_eq!((host.take(0).len(), host.take(1).len(), host.take(2).len()), (0, 1, 0));
}

#[test]
fn an_echo_reply_from_another_link_is_not_the_one_that_was_asked_for() {
    let mut host = Router::new(2);
    let target = PingTarget { interface: Some(nic(1)), ..IpAddr::from(PEER).into() };
    let ping = host.stack.ping(&mut host.pool, Instant::ZERO, target, 8, Duration::from_secs(1)).unwrap();
    let (_, _, request) = host.take(1).remove(0);
    let header = u32::from_be_bytes([request[4], request[5], request[6], request[7]]);
    let reply = packet::icmp(129, 0, header, &request[8..]);
    host.receive(0, own(0), ICMPV6, &reply);
    assert_eq!(host.stack.ping_result(ping), None);
    host.receive(1, own(1), ICMPV6, &reply);
    assert!(matches!(host.stack.ping_result(ping), Some(PingOutcome::Reply { .. })));
}

#[test]
fn what_was_for_us_on_one_link_is_not_on_another_nor_when_the_address_is_gone() {
    let mut host = Router::new(2);
    let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
    let datagram = packet::udp(80, 7, b"data");
    let arrives = |host: &mut Router, link: u8| {
        host.receive(link, own(0), UDP, &datagram);
        let mut buf = [0; 16];
        host.stack.udp_recv(&mut host.pool, socket, &mut buf).is_some()
    };
    assert!(arrives(&mut host, 0) && arrives(&mut host, 0));
    assert!(!arrives(&mut host, 1));
    assert!(arrives(&mut host, 0));
    host.stack.remove_address(nic(0), own(0)).unwrap();
    assert!(!arrives(&mut host, 0));
}
