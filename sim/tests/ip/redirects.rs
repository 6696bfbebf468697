//! ICMP redirects that a host receives over IPv4 (RFC 1122 §3.2.2.2).

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip};
use ethertab::time::Duration;
use ethertab::wire::MacAddr;
use ethertab::{DropReason, Endpoint, Forwarding, RouteOrigin, UdpMeta};
use ethertab_sim::packet::{ICMP, UDP, icmp, ip_frame, udp};

const FAR: &str = "192.0.2.1";
const ROUTER: &str = "10.0.0.2";
const NEARER: &str = "10.0.0.3";
const NEARER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);

/// A host with a router, and another one that it knows of.
fn host() -> Host {
    let mut host = Host::with_neighbors();
    host.stack.add_neighbor(&mut host.pool, NIC, ip(NEARER), NEARER_MAC).unwrap();
    host.stack.add_route("0.0.0.0/0".parse().unwrap(), ip(ROUTER)).unwrap();
    host
}

/// A redirect from `from` about what we have sent to `to` from `source`.
fn redirect(host: &mut Host, from: &str, code: u8, gateway: &str, (source, to): (&str, &str)) {
    let original = ip_frame((HOST_MAC, PEER_MAC), ip(source), ip(to), UDP, &udp(1, 2, b"hello"));
    let std::net::IpAddr::V4(gateway) = ip(gateway) else { unreachable!() };
    let message = icmp(5, code, gateway.to_bits(), &original[14..42]);
    host.receive(&ip_frame((PEER_MAC, HOST_MAC), ip(from), ip("10.0.0.1"), ICMP, &message));
}

/// The station that a datagram to an address is sent to.
fn station(host: &mut Host, to: &str) -> MacAddr {
    let socket = host.stack.bind_udp(Endpoint::any(0)).unwrap();
    host.stack.udp_send(&mut host.pool, host.now, socket, &UdpMeta::to((ip(to), 7).into()), &[1]).unwrap();
    let frames = host.take_all();
    host.stack.udp_close(&mut host.pool, socket);
    MacAddr(frames[0][..6].try_into().unwrap())
}

#[test]
fn n3_the_router_in_use_says_who_is_nearer() {
    for code in 0..=3 {
        let mut host = host();
        assert_eq!(station(&mut host, FAR), PEER_MAC);
        redirect(&mut host, ROUTER, code, NEARER, ("10.0.0.1", FAR));
        assert_eq!(host.stack.counters().redirects_received, 1);
        // A redirect for a network is one for the host.
        assert_eq!((station(&mut host, FAR), station(&mut host, "192.0.2.2")), (NEARER_MAC, PEER_MAC));
        // From now on the other is the router for it.
        redirect(&mut host, ROUTER, 1, ROUTER, ("10.0.0.1", FAR));
        assert_eq!(station(&mut host, FAR), NEARER_MAC);
        host.pass(Duration::from_secs(600));
        assert_eq!(station(&mut host, FAR), PEER_MAC, "it is forgotten");
        assert!(host.stack.routes().all(|route| route.origin != RouteOrigin::Redirected));
    }
}

#[test]
fn n3_redirects_that_cannot_be_right_are_refused() {
    let ours = "10.0.0.1";
    for (what, from, code, gateway, quoted) in [
        ("not the router", NEARER, 1, NEARER, (ours, FAR)),
        ("a gateway elsewhere", ROUTER, 1, "10.9.0.3", (ours, FAR)),
        ("the host itself", ROUTER, 1, ours, (ours, FAR)),
        ("a broadcast address", ROUTER, 1, "255.255.255.255", (ours, FAR)),
        ("a group", ROUTER, 1, "224.0.0.1", (ours, FAR)),
        ("a packet of another's", ROUTER, 1, NEARER, (NEARER, FAR)),
        ("a packet that needs no router", ROUTER, 1, NEARER, (ours, "10.0.0.9")),
        ("no such code", ROUTER, 4, NEARER, (ours, FAR)),
    ] {
        let mut host = host();
        redirect(&mut host, from, code, gateway, quoted);
        assert_eq!(station(&mut host, FAR), PEER_MAC, "{what}");
        assert!(host.stack.routes().all(|route| route.origin != RouteOrigin::Redirected), "{what}");
        assert_eq!(host.drops(DropReason::IcmpIgnored), 1, "{what}");
    }
    // A router knows its ways otherwise.
    let mut host = host();
    host.stack.set_forwarding(NIC, Forwarding::on()).unwrap();
    redirect(&mut host, ROUTER, 1, NEARER, (ours, FAR));
    assert_eq!(station(&mut host, FAR), PEER_MAC);
}
