//! Neighbour unreachability detection (N1): what advertisements change (RFC 4861 §7.2.5, appendix C), and what others know of a
//! neighbour (§7.3.1, RFC 1122 §3.3.1.4).

use crate::host::{HOST_MAC, Host, NIC, PEER_MAC, ip};
use ethertab::NeighborState::{Delay, Failed, Incomplete, Probe, Reachable, Stale, Unreachable};
use ethertab::time::Duration;
use ethertab::wire::MacAddr;
use ethertab::{
    ConnectOptions, ConnectionHandle, DropReason, Endpoint, Forwarding, ListenOptions, NeighborState, UdpMeta,
};
use ethertab_sim::packet::{ICMPV6, icmp, ip_frame};
use ethertab_sim::{CableId, HostId, Impairment, World};
use std::net::IpAddr;

const THEIRS: &str = "fd00::2";
const OTHER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x77]);

const SOLICITED: u32 = 1 << 30;
const OVERRIDE: u32 = 1 << 29;

/// An advertisement of the neighbour's address with these flags, and this station if any.
fn advertise(host: &mut Host, flags: u32, mac: Option<MacAddr>) {
    let option = mac.map_or(vec![], |mac| [&[2, 1][..], &mac.0].concat());
    let target: [u8; 16] = match ip(THEIRS) {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(_) => unreachable!(),
    };
    let message = icmp(136, 0, flags, &[&target[..], &option].concat());
    host.receive(&ip_frame((PEER_MAC, HOST_MAC), ip(THEIRS), ip("fd00::1"), ICMPV6, &message));
}

fn use_neighbor(host: &mut Host) {
    let socket = host.stack.bind_udp(Endpoint::any(0)).unwrap();
    host.stack.udp_send(&mut host.pool, host.now, socket, &UdpMeta::to((ip(THEIRS), 7).into()), &[1]).unwrap();
    host.take_all();
    host.stack.udp_close(&mut host.pool, socket);
}

/// A host whose entry for the neighbour is in this state, with [`PEER_MAC`] if it is known.
fn host_in(state: NeighborState) -> Host {
    let mut host = Host::new();
    use_neighbor(&mut host);
    if state == Failed {
        host.pass(Duration::from_secs(3));
    }
    if !matches!(state, Incomplete | Failed) {
        advertise(&mut host, SOLICITED, Some(PEER_MAC));
    }
    if !matches!(state, Incomplete | Failed | Reachable) {
        host.pass(Duration::from_secs(45));
    }
    if matches!(state, Delay | Probe | Unreachable) {
        use_neighbor(&mut host);
    }
    match state {
        Probe => drop(host.pass(Duration::from_secs(5))),
        Unreachable => drop(host.pass(Duration::from_secs(8))),
        _ => {}
    }
    assert_eq!(host.neighbor(ip(THEIRS)).map(|found| found.1), Some(state));
    host
}

/// The rows of appendix C about advertisements.
#[test]
fn n1_advertisements_change_what_rfc_4861_says() {
    let same = Some(PEER_MAC);
    let other = Some(OTHER_MAC);
    let known = [Reachable, Stale, Delay, Probe, Unreachable];
    for state in known {
        let unchanged = (same, state);
        let doubted = (same, if state == Reachable { Stale } else { state });
        let cases = [
            (0, None, unchanged),
            (0, same, unchanged),
            (OVERRIDE, same, unchanged),
            (OVERRIDE, None, unchanged),
            (0, other, doubted),
            (SOLICITED, other, doubted),
            (SOLICITED, None, (same, Reachable)),
            (SOLICITED, same, (same, Reachable)),
            (SOLICITED | OVERRIDE, same, (same, Reachable)),
            (SOLICITED | OVERRIDE, other, (other, Reachable)),
            (OVERRIDE, other, (other, Stale)),
            // A group is nobody's station, whatever the flags.
            (SOLICITED | OVERRIDE, Some(MacAddr([3, 0, 0, 0, 0, 1])), unchanged),
        ];
        for (flags, mac, expected) in cases {
            let mut host = host_in(state);
            advertise(&mut host, flags, mac);
            assert_eq!(host.neighbor(ip(THEIRS)), Some(expected), "{state:?} {flags:#x} {mac:?}");
        }
    }
    for (flags, mac, expected) in [
        (SOLICITED | OVERRIDE, None, (None, Incomplete)),
        (0, other, (other, Stale)),
        (OVERRIDE, other, (other, Stale)),
        (SOLICITED, other, (other, Reachable)),
    ] {
        let mut host = host_in(Incomplete);
        advertise(&mut host, flags, mac);
        assert_eq!(host.neighbor(ip(THEIRS)), Some(expected), "incomplete, {flags:#x} {mac:?}");
    }
    // The station that it had before it failed counts as any other.
    let mut host = host_in(Reachable);
    for _ in 0..4 {
        host.stack.ping(&mut host.pool, host.now, ip(THEIRS), 8, Duration::from_secs(1)).unwrap();
        host.pass(Duration::from_secs(40));
    }
    host.stack.ping(&mut host.pool, host.now, ip(THEIRS), 8, Duration::from_secs(1)).unwrap();
    host.take_all();
    assert_eq!(host.neighbor(ip(THEIRS)), Some((None, Incomplete)));
    advertise(&mut host, 0, same);
    assert_eq!(host.neighbor(ip(THEIRS)).map(|(mac, _)| mac), Some(same));
    let mut host = host_in(Failed);
    advertise(&mut host, SOLICITED | OVERRIDE, other);
    assert_eq!(host.neighbor(ip(THEIRS)), Some((None, Failed)), "nobody asks any more");
}

#[test]
fn n1_a_solicitation_tells_the_station_and_proves_nothing() {
    for (state, mac, expected) in [
        (Reachable, PEER_MAC, Reachable),
        (Reachable, OTHER_MAC, Stale),
        (Delay, PEER_MAC, Delay),
        (Probe, OTHER_MAC, Stale),
        (Incomplete, PEER_MAC, Stale),
        (Failed, PEER_MAC, Stale),
    ] {
        let mut host = host_in(state);
        let target: [u8; 16] = "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let message = icmp(135, 0, 0, &[&target[..], &[1, 1], &mac.0].concat());
        host.receive(&ip_frame((mac, HOST_MAC), ip(THEIRS), ip("fd00::1"), ICMPV6, &message));
        assert_eq!(host.neighbor(ip(THEIRS)), Some((Some(mac), expected)), "{state:?} {mac}");
        assert_eq!(host.drops(DropReason::NeighborDiscoveryInvalid), 0);
    }
}

/// Two hosts with a connection: the world, the hosts, the connection of the first, and the cable.
fn connected(ipv6: bool) -> (World, [HostId; 2], ConnectionHandle, CableId) {
    let mut world = World::new(7);
    let (ours, theirs) = if ipv6 { ("fd00::1/64", "fd00::2/64") } else { ("10.0.0.1/24", "10.0.0.2/24") };
    let a = world.host("a", &[ours]).unwrap();
    let b = world.host("b", &[theirs]).unwrap();
    let cable = world.cable(a, b, Impairment::default()).unwrap();
    // The announcements of the addresses, which prove nothing either.
    world.run_for(Duration::from_secs(1));
    world.stack_mut(b).unwrap().0.listen(Endpoint::any(80), ListenOptions::default()).unwrap();
    let remote = (ip(theirs.split('/').next().unwrap()), 80).into();
    let now = world.now();
    let connection = world.stack_mut(a).unwrap().0.connect(now, remote, ConnectOptions::default()).unwrap();
    world.run_for(Duration::from_secs(1));
    (world, [a, b], connection, cable)
}

/// The state of the neighbour to which a connection or datagrams go, not of its link-local address.
fn state_at(world: &World, host: HostId) -> Option<NeighborState> {
    let is_meant =
        |address: IpAddr| matches!(address.to_string().as_str(), "10.0.0.1" | "10.0.0.2" | "fd00::1" | "fd00::2");
    world.stack(host).unwrap().neighbors().find(|(_, address, ..)| is_meant(*address)).map(|found| found.3)
}

/// RFC 4861 §7.3.1: "forward progress" of TCP says that the neighbour is there, both to the sender and to the receiver.
#[test]
fn n1_a_connection_that_makes_progress_confirms_its_neighbor() {
    for ipv6 in [false, true] {
        let (mut world, [a, b], connection, _) = connected(ipv6);
        for second in 0..180 {
            let now = world.now();
            let (stack, pool) = world.stack_mut(a).unwrap();
            stack.send(pool, now, connection, b"still there?").unwrap();
            world.run_for(Duration::from_secs(1));
            for host in [a, b] {
                let state = state_at(&world, host);
                assert!(!matches!(state, Some(Probe | Unreachable | Failed)), "{second} s: {state:?}, IPv6: {ipv6}");
            }
        }
        // Idle, it is forgotten; and the first data after that are proof enough.
        world.run_for(Duration::from_secs(60));
        assert_eq!(state_at(&world, a), Some(Stale));
        let now = world.now();
        let (stack, pool) = world.stack_mut(a).unwrap();
        stack.send(pool, now, connection, b"x").unwrap();
        world.run_for(Duration::from_secs(1));
        assert_eq!(state_at(&world, a), Some(Delay));
        world.run_for(Duration::from_secs(5));
        assert_eq!(state_at(&world, a), Some(Reachable));
    }
}

/// RFC 1122 §3.3.1.4: a retransmission that nobody answers is bad news of the next hop, long before its time has run out.
#[test]
fn n1_timeouts_of_a_connection_make_its_neighbor_doubtful() {
    for ipv6 in [false, true] {
        let (mut world, [a, _], connection, cable) = connected(ipv6);
        assert_eq!(state_at(&world, a), Some(Reachable));
        let broken = Impairment { loss: 1.0, ..Impairment::default() };
        world.network_mut().impair(cable, broken).unwrap();
        let now = world.now();
        let (stack, pool) = world.stack_mut(a).unwrap();
        stack.send(pool, now, connection, b"anybody there?").unwrap();
        let asked = world.run_until_true(Duration::from_secs(14), |world| state_at(world, a) == Some(Probe));
        assert!(asked, "{:?}, IPv6: {ipv6}", state_at(&world, a));
    }
}

/// Datagrams prove nothing: their receiver has to be asked, and answers.
#[test]
fn n1_datagrams_have_their_neighbor_asked() {
    let (mut world, [a, _], ..) = connected(false);
    let mut seen = Vec::new();
    let socket = world.stack_mut(a).unwrap().0.bind_udp(Endpoint::any(0)).unwrap();
    for _ in 0..600 {
        let now = world.now();
        let (stack, pool) = world.stack_mut(a).unwrap();
        stack.udp_send(pool, now, socket, &UdpMeta::to((ip("10.0.0.2"), 9).into()), &[0]).unwrap();
        world.run_for(Duration::from_millis(100));
        let state = state_at(&world, a).unwrap();
        if seen.last() != Some(&state) {
            seen.push(state);
        }
    }
    // An answer comes within the same instant as the question, so that nobody sees the state between them.
    assert_eq!(seen[..4], [Reachable, Stale, Delay, Reachable]);
}

/// RFC 9131 §6.1.1: a router keeps what a host tells it unasked; a host does not.
#[test]
fn n1_routers_keep_unsolicited_advertisements() {
    for forwards in [false, true] {
        let mut host = Host::new();
        if forwards {
            host.stack.set_forwarding(NIC, Forwarding::on()).unwrap();
        }
        advertise(&mut host, OVERRIDE, None);
        assert_eq!(host.neighbor(ip(THEIRS)), None);
        advertise(&mut host, OVERRIDE, Some(PEER_MAC));
        assert_eq!(host.neighbor(ip(THEIRS)), forwards.then_some((Some(PEER_MAC), Stale)));
        // Not what is not on the link (N1), and no more than the table holds.
        let before = host.stack.neighbors().count();
        let far = icmp(136, 0, OVERRIDE, &[&[0xfd, 0xff][..], &[0; 13], &[9, 2, 1], &PEER_MAC.0].concat());
        host.receive(&ip_frame((PEER_MAC, HOST_MAC), ip(THEIRS), ip("fd00::1"), ICMPV6, &far));
        assert_eq!(host.stack.neighbors().count(), before);
    }
}

/// RFC 4861 §7.3.1: what an application says counts as an answer.
#[test]
fn n1_applications_confirm_that_a_neighbour_is_there() {
    let peer = (ip(THEIRS), 7).into();
    for state in [Stale, Delay, Probe, Unreachable, Reachable] {
        let mut host = host_in(state);
        host.take_all();
        host.stack.confirm_reachability(host.now, peer);
        assert_eq!(host.neighbor(ip(THEIRS)), Some((Some(PEER_MAC), Reachable)), "{state:?}");
        // For as long as it is confirmed, nobody is asked.
        let sent: usize = (0..20)
            .map(|_| {
                let sent = host.pass(Duration::from_secs(5)).len();
                host.stack.confirm_reachability(host.now, peer);
                sent
            })
            .sum();
        assert_eq!((sent, host.neighbor(ip(THEIRS)).unwrap().1), (0, Reachable), "{state:?}");
    }
    for state in [Incomplete, Failed] {
        let mut host = host_in(state);
        host.stack.confirm_reachability(host.now, peer);
        assert_eq!(host.neighbor(ip(THEIRS)).unwrap().1, state, "there is nothing to confirm");
    }
}
