//! UDP (RFC 768).

use crate::host::{Host, NIC, ip, pair};
use ethertab::time::Duration;
use ethertab::{BindError, DropReason, Endpoint, UdpHandle, UdpMeta, UdpOptions, UdpSendError};
use ethertab_sim::packet::{UDP, parse_ip, udp};
use std::net::SocketAddr;

#[test]
fn n7_a_datagram_that_is_too_long_is_an_error_and_the_longest_leaves() {
    for (ipv6, most, whole) in [(false, 65_507, 1_472), (true, 65_527, 1_452)] {
        for dont_fragment in [false, true] {
            let mut host = Host::with_neighbors();
            let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
            set_dont_fragment(&mut host, socket, dont_fragment);
            let meta = UdpMeta::to(SocketAddr::new(pair(ipv6).1, 7));
            let max = if dont_fragment { whole } else { most };
            for len in [max + 1, 70_000] {
                let sent = host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &vec![1; len]);
                assert_eq!(sent, Err(UdpSendError::TooLong { max }), "{len}");
            }
            assert!(host.take_all().is_empty());
            host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &vec![1; max]).unwrap();
            let sent: Vec<_> = host.take_all().iter().map(Vec::len).collect();
            assert_eq!(sent.len(), if dont_fragment { 1 } else { max.div_ceil(whole) });
            assert!(sent.iter().rev().skip(1).all(|&len| len > 1_500), "{sent:?}");
            assert_eq!(host.pool.blocks_in_use(), 0);
        }
        // What is known of the path counts.
        let mut host = Host::with_neighbors();
        let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
        set_dont_fragment(&mut host, socket, true);
        host.stack.set_path_mtu(host.now, pair(ipv6).1, 1_300);
        let meta = UdpMeta::to(SocketAddr::new(pair(ipv6).1, 7));
        let sent = host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &[1; 1_400]);
        assert_eq!(sent, Err(UdpSendError::TooLong { max: whole - 200 }));
    }
}

#[test]
fn n7_no_checksum_is_right_over_ipv4_and_wrong_over_ipv6() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
        let (ours, theirs) = pair(ipv6);
        let macs = (crate::host::PEER_MAC, crate::host::HOST_MAC);
        let mut frame = ethertab_sim::packet::ip_frame(macs, theirs, ours, UDP, &udp(9, 7, b"data"));
        let checksum = frame.len() - 6..frame.len() - 4;
        frame[checksum].fill(0);
        host.receive(&frame);
        let mut out = [0; 100];
        let received = host.stack.udp_recv(&mut host.pool, socket, &mut out).map(|(len, _)| len);
        assert_eq!(received, (!ipv6).then_some(4));
        assert_eq!(host.drops(DropReason::UdpChecksum), u64::from(ipv6));
    }
}

/// A sum that comes out as zero is sent as all ones: zero would say that there is none.
#[test]
fn n7_a_checksum_of_zero_is_never_sent() {
    let mut host = Host::with_neighbors();
    let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
    let mut all_ones = 0;
    for ipv6 in [false, true] {
        let meta = UdpMeta::to(SocketAddr::new(pair(ipv6).1, 7));
        for number in 0..=u16::MAX {
            host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &number.to_be_bytes()).unwrap();
            for frame in host.take_all() {
                let (_, _, _, datagram) = parse_ip(&frame).unwrap();
                assert_ne!(datagram[6..8], [0, 0], "{number}");
                all_ones += u32::from(datagram[6..8] == [0xff, 0xff]);
            }
        }
    }
    assert!(all_ones >= 2, "the case was met in both families");
}

#[test]
fn n7_a_port_is_taken_once_and_free_again_after_close() {
    let mut host = Host::with_neighbors();
    let (ours, _) = pair(false);
    let any = host.stack.bind_udp(Endpoint::any(7)).unwrap();
    assert_eq!(host.stack.bind_udp(Endpoint::any(7)), Err(BindError::AddressInUse(Endpoint::any(7))));
    // One address of the port may have an owner of its own, who comes first.
    let exact = host.stack.bind_udp(Endpoint { address: Some(ours), port: 7 }).unwrap();
    let mut out = [0; 10];
    for ipv6 in [false, true] {
        let (ours, theirs) = pair(ipv6);
        host.receive_ip(theirs, ours, UDP, &udp(9, 7, b"data"));
        let [to_any, to_exact] =
            [any, exact].map(|socket| host.stack.udp_recv(&mut host.pool, socket, &mut out).is_some());
        assert_eq!((to_any, to_exact), (ipv6, !ipv6));
    }
    host.stack.udp_close(&mut host.pool, any);
    assert!(host.stack.bind_udp(Endpoint::any(7)).is_ok());
}

#[test]
fn a_length_that_lies_is_dropped() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        host.stack.bind_udp(Endpoint::any(7)).unwrap();
        let (ours, theirs) = pair(ipv6);
        for len in [0, 1, 7, 13, 100, u16::MAX] {
            let mut datagram = udp(9, 7, b"data");
            datagram[4..6].copy_from_slice(&len.to_be_bytes());
            host.receive_ip(theirs, ours, UDP, &datagram);
        }
        assert_eq!(host.drops(DropReason::UdpMalformed), 6);
    }
}

/// RFC 2131 §4.1: a DHCP client broadcasts from 0.0.0.0, by an interface that has no address.
#[test]
fn a_host_without_an_address_can_broadcast() {
    let mut host = Host::new();
    host.stack.remove_address(crate::host::NIC, pair(false).0).unwrap();
    let socket = host.stack.bind_udp(Endpoint::any(68)).unwrap();
    let unspecified = "0.0.0.0".parse().unwrap();
    let mut meta = UdpMeta::to("255.255.255.255:67".parse().unwrap());
    let send =
        |host: &mut Host, meta: &UdpMeta| host.stack.udp_send(&mut host.pool, host.now, socket, meta, b"discover");
    meta.local = Some(unspecified);
    assert_eq!(send(&mut host, &meta), Err(UdpSendError::NoRoute(meta.remote.ip())), "no interface is given");
    meta.interface = Some(crate::host::NIC);
    assert_eq!(send(&mut host, &meta), Ok(()));
    let frames = host.take_all();
    assert_eq!(frames[0][..6], [0xff; 6]);
    assert_eq!(parse_ip(&frames[0]).map(|(source, destination, ..)| (source, destination)), {
        Some((unspecified, meta.remote.ip()))
    });
    meta.remote = "10.0.0.2:67".parse().unwrap();
    assert!(send(&mut host, &meta).is_err(), "it has no address to be answered at");
}

pub(crate) fn set_dont_fragment(host: &mut Host, socket: UdpHandle, dont_fragment: bool) {
    let mut options = host.stack.udp_options(socket).unwrap();
    options.dont_fragment = dont_fragment;
    host.stack.udp_set_options(socket, options);
}

#[test]
fn settings_are_in_what_is_sent_and_told_of_what_is_received() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
        let mut options = host.stack.udp_options(socket).unwrap();
        (options.hop_limit, options.multicast_hop_limit) = (9, 5);
        (options.traffic_class, options.checksum, options.broadcast) = (0xb8, false, false);
        host.stack.udp_set_options(socket, options);
        let group = if ipv6 { ip("ff02::99") } else { ip("224.0.0.99") };
        for (to, hops) in [(pair(ipv6).1, 9), (group, 5)] {
            let meta = UdpMeta::to(SocketAddr::new(to, 9));
            host.stack.udp_send(&mut host.pool, host.now, socket, &meta, b"data").unwrap();
            let frame = &host.take_all()[0][14..];
            let (hop_limit, class) =
                if ipv6 { (frame[7], frame[0] << 4 | frame[1] >> 4) } else { (frame[8], frame[1]) };
            assert_eq!((hop_limit, class), (hops, 0xb8));
            let checksum = if ipv6 { &frame[46..48] } else { &frame[26..28] };
            assert_eq!(checksum == [0, 0], !ipv6, "RFC 8200 §8.1");
        }
        for to in ["255.255.255.255", "10.0.0.255"] {
            let meta = UdpMeta::to(SocketAddr::new(ip(to), 9));
            let sent = host.stack.udp_send(&mut host.pool, host.now, socket, &meta, b"data");
            assert_eq!(sent, Err(UdpSendError::BroadcastProhibited));
        }
        let (ours, theirs) = pair(ipv6);
        host.receive_ip(theirs, ours, UDP, &udp(9, 7, b"data"));
        let (_, meta) = host.stack.udp_recv(&mut host.pool, socket, &mut [0; 10]).unwrap();
        assert_eq!((meta.hop_limit, meta.traffic_class), (if ipv6 { 255 } else { 64 }, 0));
        assert_eq!((meta.local, meta.interface), (Some(ours), Some(crate::host::NIC)));
    }
}

#[test]
fn a_connected_socket_hears_its_peer_only() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        let (ours, theirs) = pair(ipv6);
        let stranger = if ipv6 { ip("fd00::3") } else { ip("10.0.0.3") };
        let mut options = UdpOptions::default();
        options.share_port = true;
        let connected = host.stack.bind_udp_with(Endpoint::any(7), options).unwrap();
        let open = host.stack.bind_udp_with(Endpoint::any(7), options).unwrap();
        let peer = SocketAddr::new(theirs, 9);
        host.stack.udp_connect(connected, Some(peer)).unwrap();
        assert_eq!(host.stack.udp_peer(connected), Some(peer));
        assert_eq!(host.stack.udp_address(connected), Some(Endpoint { address: Some(ours), port: 7 }));
        let received = |host: &mut Host, from, port| {
            host.receive_ip(from, ours, UDP, &udp(port, 7, b"data"));
            [connected, open].map(|socket| host.stack.udp_recv(&mut host.pool, socket, &mut [0; 10]).is_some())
        };
        assert_eq!(received(&mut host, theirs, 9), [true, false]);
        assert_eq!(received(&mut host, theirs, 10), [false, true]);
        assert_eq!(received(&mut host, stranger, 9), [false, true]);
        host.stack.udp_connect(connected, None).unwrap();
        assert_eq!(host.stack.udp_address(connected), Some(Endpoint::any(7)));
        host.stack.udp_close(&mut host.pool, open);
        assert_eq!(received(&mut host, stranger, 9), [true, false]);
        for bad in [SocketAddr::new(theirs, 0), "255.255.255.255:9".parse().unwrap(), "[ff02::1]:9".parse().unwrap()] {
            assert_eq!(host.stack.udp_connect(connected, Some(bad)), Err(UdpSendError::BadAddress(bad)));
        }
    }
}

#[test]
fn n7_sockets_that_share_a_port_have_a_peer_each_and_groups_together() {
    let mut host = Host::with_neighbors();
    let mut options = UdpOptions::default();
    options.share_port = true;
    let sockets: Vec<_> = (0..16).map_while(|_| host.stack.bind_udp_with(Endpoint::any(7), options).ok()).collect();
    assert_eq!(sockets.len(), 16);
    for refused in [options, UdpOptions::default()] {
        assert!(host.stack.bind_udp_with(Endpoint::any(7), refused).is_err());
    }
    host.stack.udp_close(&mut host.pool, sockets[0]);
    assert_eq!(host.stack.bind_udp(Endpoint::any(7)), Err(BindError::AddressInUse(Endpoint::any(7))));
    let sockets = &sockets[1..];
    let (ours, theirs) = pair(false);
    let mut counts = vec![0; sockets.len()];
    for port in 1..=1_500 {
        let mut receivers = Vec::new();
        for _ in 0..2 {
            host.receive_ip(theirs, ours, UDP, &udp(port, 7, b"data"));
            let found =
                sockets.iter().map(|&socket| host.stack.udp_recv(&mut host.pool, socket, &mut [0; 10]).is_some());
            receivers.push(found.collect::<Vec<_>>());
        }
        assert_eq!(receivers[0], receivers[1]);
        assert_eq!(receivers[0].iter().filter(|&&got| got).count(), 1);
        receivers[0].iter().zip(&mut counts).for_each(|(&got, count)| *count += u32::from(got));
    }
    assert!(counts.iter().all(|&count| (40..200).contains(&count)), "{counts:?}");
    host.receive_ip(theirs, ip("255.255.255.255"), UDP, &udp(1, 7, b"all"));
    assert!(sockets.iter().all(|&socket| host.stack.udp_recv(&mut host.pool, socket, &mut [0; 10]).is_some()));
}

/// RFC 2131 §4.1: a DHCP server may send its offer to the address that it offers, which is nobody's yet. Only port 68 of a host without an address hears it.
#[test]
fn an_offer_is_heard_at_the_address_that_it_offers() {
    let (server, offered) = (ip("10.0.0.2"), ip("10.0.0.77"));
    let offer = |host: &mut Host, port: u16| {
        host.receive_ip(server, offered, UDP, &udp(67, port, b"have this one"));
    };
    let hears =
        |host: &mut Host, socket| host.stack.udp_recv(&mut host.pool, socket, &mut [0; 64]).map(|found| found.1);
    let mut host = Host::with_addresses(&["fd00::1/64"]);
    let client = host.stack.bind_udp(Endpoint::any(68)).unwrap();
    let other = host.stack.bind_udp(Endpoint::any(69)).unwrap();
    offer(&mut host, 68);
    let meta = hears(&mut host, client).expect("an offer");
    assert_eq!((meta.remote, meta.local, meta.interface), ((server, 67).into(), Some(offered), Some(NIC)));
    offer(&mut host, 69);
    assert!(hears(&mut host, other).is_none() && host.take_all().is_empty());
    // An address of its link does not help it out of it, one of a network does.
    host.stack.claim_ipv4_link_local(host.now, NIC).unwrap();
    host.pass(Duration::from_secs(20));
    assert!(host.stack.addresses().any(|entry| entry.is_assigned() && entry.prefix.address.is_ipv4()));
    offer(&mut host, 68);
    assert!(hears(&mut host, client).is_some());
    host.stack.add_address(host.now, NIC, "10.0.0.1/24".parse().unwrap()).unwrap();
    offer(&mut host, 68);
    assert!(hears(&mut host, client).is_none());
    // Nobody who listens is told of by an error.
    host.stack.remove_address(NIC, ip("10.0.0.1")).unwrap();
    host.stack.udp_close(&mut host.pool, client);
    host.take_all();
    offer(&mut host, 68);
    assert!(host.take_all().is_empty());
}
