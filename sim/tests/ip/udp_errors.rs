//! The queue of ICMP errors that each UDP socket has (RFC 1122 §4.1.3.3).

use crate::host::{Host, ip, pair};
use ethertab::{DropReason, Endpoint, Event, Signals, UdpHandle, UdpMeta};
use ethertab_sim::packet::{ICMP, ICMPV6, icmp};
use std::net::SocketAddr;

/// Sends a datagram to the neighbour's port; the packet that it is.
fn send(host: &mut Host, socket: UdpHandle, ipv6: bool, port: u16, data: &[u8]) -> Vec<u8> {
    let meta = UdpMeta::to(SocketAddr::new(pair(ipv6).1, port));
    host.stack.udp_send(&mut host.pool, host.now, socket, &meta, data).unwrap();
    host.take_all()[0][14..].to_vec()
}

fn refuse(host: &mut Host, ipv6: bool, quote: &[u8]) {
    let (ours, _) = pair(ipv6);
    let (protocol, kind, code, router) =
        if ipv6 { (ICMPV6, 1, 4, ip("fd00::99")) } else { (ICMP, 3, 3, ip("10.0.0.99")) };
    host.receive_ip(router, ours, protocol, &icmp(kind, code, 0, quote));
}

#[test]
fn a_report_tells_which_datagram_it_is_about() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
        for (port, data) in [(9, &b"first"[..]), (10, b""), (11, &[3; 1_000])] {
            let packet = send(&mut host, socket, ipv6, port, data);
            refuse(&mut host, ipv6, &packet);
        }
        let events = std::iter::from_fn(|| host.stack.poll_event());
        assert_eq!(events.filter(|event| *event == Event::Udp(socket, Signals::ERROR)).count(), 1, "merged into one");
        let mut quoted = [0; 600];
        for (port, expected) in [(9, &b"first"[..]), (10, b""), (11, &[3; 512])] {
            let (len, error) = host.stack.udp_error(&mut host.pool, socket, &mut quoted).unwrap();
            assert_eq!((error.remote, &quoted[..len]), (SocketAddr::new(pair(ipv6).1, port), expected));
            assert_eq!(error.report.reporter, if ipv6 { ip("fd00::99") } else { ip("10.0.0.99") });
        }
        assert_eq!(host.stack.udp_error(&mut host.pool, socket, &mut quoted), None);
        assert_eq!(host.pool.blocks_in_use(), 0);
    }
}

/// S4: a socket whose user never asks has a bounded queue, and takes nothing from the others.
#[test]
fn s4_errors_that_nobody_reads_cost_a_bounded_memory_and_no_other_sockets_theirs() {
    for ipv6 in [false, true] {
        let mut host = Host::with_neighbors();
        let deaf = host.stack.bind_udp(Endpoint::any(7)).unwrap();
        let other = host.stack.bind_udp(Endpoint::any(8)).unwrap();
        let packet = send(&mut host, other, ipv6, 9, b"mine");
        refuse(&mut host, ipv6, &packet);
        let packet = send(&mut host, deaf, ipv6, 9, &[1; 400]);
        for _ in 0..1_000 {
            refuse(&mut host, ipv6, &packet);
        }
        assert!(host.drops(DropReason::UdpQueueFull) > 900);
        assert!(host.pool.blocks_in_use() <= 3, "{}", host.pool.blocks_in_use());
        let mut quoted = [0; 9];
        let (len, _) = host.stack.udp_error(&mut host.pool, other, &mut quoted).unwrap();
        assert_eq!(&quoted[..len], b"mine");
        host.stack.udp_close(&mut host.pool, deaf);
        assert_eq!(host.pool.blocks_in_use(), 0);
        assert_eq!(host.stack.udp_error(&mut host.pool, deaf, &mut quoted), None);
    }
}
