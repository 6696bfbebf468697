//! What a router sends on, says about what it cannot send on, and translates.

use crate::{Host, ip, nic, ours, theirs};
use ethertab::time::Duration;
use ethertab::{Forwarding, InterfaceConfig, NatConfig};
use ethertab_sim::Capture;
use ethertab_sim::mutate::repair_checksums;
use ethertab_sim::packet::{self, ACK, ICMP, ICMPV6, SYN, Segment, TCP, UDP, icmp, ip_frame, udp};

/// What [`router`] makes the stack send.
pub(crate) const ROUTER: &[&str] = &[
    "icmp 3/0",
    "icmp 3/1",
    "icmp 3/4",
    "icmp 3/13",
    "icmp 5/1",
    "icmp 11/0",
    "icmpv6 1/0",
    "icmpv6 1/1",
    "icmpv6 1/2",
    "icmpv6 1/3",
    "icmpv6 2/0",
    "icmpv6 3/0",
    "icmpv6 137/0",
    "ipv4 offset above 0",
    "nd option 4",
];

/// What [`translator`] makes it send besides.
pub(crate) const TRANSLATOR: &[&str] = &["icmp 3/3", "icmp 8/0"];

/// A router between links 0, with hosts, 1, with a smaller MTU, and 2, to which nothing is forwarded.
fn new_router() -> Host {
    let mut host = Host::new();
    for (link, mtu) in [(0, 1_500), (1, 1_280), (2, 1_500)] {
        let mut config = InterfaceConfig::ethernet(ours(link));
        config.mtu = mtu;
        host.add_link(config);
        if link < 2 {
            host.stack.set_forwarding(nic(link), Forwarding::on()).unwrap();
        }
    }
    host
}

fn from_host(link: u8, source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ip_frame((theirs(link), ours(link)), ip(source), ip(destination), protocol, payload)
}

pub(crate) fn router(capture: &mut Capture) {
    let mut host = new_router();
    host.pass(capture, Duration::from_secs(10));
    host.stack.add_route_on(nic(0), "192.0.2.0/24".parse().unwrap(), ip("10.0.0.3")).unwrap();
    host.stack.add_route_on(nic(0), "2001:db8::/32".parse().unwrap(), ip("fe80::3")).unwrap();
    for address in ["10.0.0.3", "fe80::3"] {
        host.stack.add_neighbor(&mut host.pool, nic(0), ip(address), theirs(9)).unwrap();
    }
    // A host that is there, one that is not, a network where nothing goes, one that nobody knows, and one that another router is nearer to.
    let destinations = [
        ["10.1.0.2", "fd01::2"],
        ["10.1.0.9", "fd01::9"],
        ["10.2.0.2", "fd02::2"],
        ["203.0.113.1", "2001:dba::1"],
        ["192.0.2.1", "2001:db8::1"],
    ];
    for [v4, v6] in destinations {
        for (source, destination) in [("10.0.0.2", v4), ("fd00::2", v6)] {
            for len in [10, 1_400] {
                host.receive(capture, 0, &from_host(0, source, destination, UDP, &udp(5_000, 7, &vec![7; len])));
            }
        }
    }
    // The last hop.
    let mut last = from_host(0, "10.0.0.2", "10.1.0.2", UDP, &udp(5_000, 7, b"data"));
    last[22] = 1;
    repair_checksums(&mut last);
    host.receive(capture, 0, &last);
    let mut last = from_host(0, "fd00::2", "fd01::2", UDP, &udp(5_000, 7, b"data"));
    last[21] = 1;
    host.receive(capture, 0, &last);
    // A packet that is too long, and may be fragmented or not.
    for flags in [0, 0x4000_u16] {
        let mut long = from_host(0, "10.0.0.2", "10.1.0.2", UDP, &udp(5_000, 7, &[7; 1_400]));
        long[20..22].copy_from_slice(&flags.to_be_bytes());
        repair_checksums(&mut long);
        host.receive(capture, 0, &long);
    }
    // From an address that has no meaning beyond its link.
    host.receive(capture, 0, &from_host(0, "fe80::2", "fd01::2", UDP, &udp(5_000, 7, b"data")));
    host.pass(capture, Duration::from_secs(10));
}

pub(crate) fn translator(capture: &mut Capture) {
    let mut host = new_router();
    host.stack.set_nat(Some(NatConfig::outside(nic(1)))).unwrap();
    host.pass(capture, Duration::from_secs(10));
    let (inside, outside, remote) = ("10.0.0.2", "10.1.0.1", "10.1.0.2");
    for flags in [SYN, ACK] {
        let segment = |source_port, destination_port, flags| {
            Segment { source_port, destination_port, flags, window: 1_000, ..Segment::default() }.to_bytes()
        };
        host.receive(capture, 0, &from_host(0, inside, remote, TCP, &segment(5_000, 9_000, flags)));
        host.receive(capture, 1, &from_host(1, remote, outside, TCP, &segment(9_000, 5_000, flags | ACK)));
    }
    for data in [&b""[..], b"odd", &[7; 600]] {
        host.receive(capture, 0, &from_host(0, inside, remote, UDP, &udp(5_000, 7, data)));
        host.receive(capture, 1, &from_host(1, remote, outside, UDP, &udp(7, 5_000, data)));
    }
    // In fragments, which are put together first; and a ping and its answer.
    let long = from_host(0, inside, remote, UDP, &udp(5_000, 7, &[7; 3_000]));
    for part in packet::fragments(&long, 9, 1_200) {
        host.receive(capture, 0, &part);
    }
    host.receive(capture, 0, &from_host(0, inside, remote, ICMP, &icmp(8, 0, 0x0007_0001, b"data")));
    host.receive(capture, 1, &from_host(1, remote, outside, ICMP, &icmp(0, 0, 0x0007_0001, b"data")));
    // An error that quotes what was translated.
    let mut quoted = from_host(1, outside, remote, UDP, &udp(5_000, 7, b""))[14..].to_vec();
    quoted.truncate(28);
    host.receive(capture, 1, &from_host(1, remote, outside, ICMP, &icmp(3, 3, 0, &quoted)));
    // IPv6 goes through as it is.
    host.receive(capture, 0, &from_host(0, "fd00::2", "fd01::2", ICMPV6, &icmp(128, 0, 1, b"data")));
}
