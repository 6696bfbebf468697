//! What becomes of each thing that refers to an interface when that is removed.

use crate::lab::{assert_all_blocks_come_back, at, close, host, ip, nic, open};
use ethertab::time::{Duration, Instant};
use ethertab::{
    CloseReason, ConfigError, ConnectOptions, DropReason, Endpoint, FrameMeta, PingOutcome, Prefix, State, UdpMeta,
};
use ethertab_sim::apps::Plan;
use ethertab_sim::{HostId, Impairment, NetworkError, SwitchId, World};

const A: [&str; 2] = ["10.0.0.1/24", "fd00::1/64"];
const B: [&str; 2] = ["10.0.0.2/24", "fd00::2/64"];
const B_ADDRESSES: [&str; 2] = ["10.0.0.2", "fd00::2"];
const B_SERVER: [&str; 2] = ["10.0.0.2:80", "[fd00::2]:80"];

/// Two hosts with an interface each on a switch.
fn pair() -> (World, HostId, HostId, SwitchId) {
    let mut world = World::new(1);
    let switch = world.switch("switch");
    let (a, b) = (host(&mut world, "a", 1), host(&mut world, "b", 2));
    open(&mut world, a, switch, 1, &A, lan());
    open(&mut world, b, switch, 2, &B, lan());
    world.settle();
    (world, a, b, switch)
}

/// 3 MB take more than a second.
fn lan() -> Impairment {
    Impairment { rate: Some(20_000_000), ..Impairment::latency(Duration::from_millis(5)) }
}

#[test]
fn everything_of_the_interface_goes_and_its_number_is_free() {
    let (mut world, a, b, switch) = pair();
    let now = world.now();
    {
        let (stack, pool) = world.stack_mut(a).unwrap();
        stack.add_route("10.9.0.0/16".parse().unwrap(), ip("10.0.0.254")).unwrap();
        stack.add_neighbor(pool, nic(0), ip("10.0.0.2"), ethertab::wire::MacAddr([2, 0, 0, 1, 0, 2])).unwrap();
    }
    close(&mut world, a, nic(0));
    let (stack, pool) = world.stack_mut(a).unwrap();
    assert_eq!(stack.interfaces().count() + stack.addresses().count() + stack.routes().count(), 0);
    assert_eq!(stack.neighbors().count(), 0);
    // What names it afterwards is told so, or counted.
    let mut buf = [0; 2_000];
    assert_eq!((stack.frame_capacity(nic(0)), stack.wants_transmit(nic(0))), (0, false));
    assert_eq!(stack.transmit(pool, now, nic(0), &mut buf), None);
    stack.receive(pool, now, nic(0), &buf[..64], FrameMeta::received(64));
    assert_eq!(stack.counters().drops(DropReason::NoInterface), 1);
    let gone = Err(ConfigError::NoSuchInterface(nic(0)));
    assert_eq!(stack.remove_interface(pool, now, nic(0)), gone);
    assert_eq!(stack.add_address(now, nic(0), A[0].parse().unwrap()), gone);
    assert_eq!(world.network_mut().remove_interface(a, nic(0)), Err(NetworkError::NotFound));
    assert_eq!(world.network().host_ports(a).count(), 0);

    let (again, _) = open(&mut world, a, switch, 1, &A, lan());
    assert_eq!(again, nic(0));
    let server = world.serve(b, 80, Plan::receive()).unwrap();
    for remote in B_SERVER {
        world.connect(a, remote, Plan::send(10_000)).unwrap();
    }
    world.run_for(Duration::from_secs(5));
    assert!(world.accepted(server).iter().all(|end| world.conversation(*end).went_well()), "{world}");
    assert_eq!(world.accepted(server).len(), 2);
}

/// As in Linux after `ip link del`: the connection says nothing and waits; with its address back, it goes on.
#[test]
fn a_connection_goes_on_when_its_address_is_back_in_time() {
    for remote in B_SERVER {
        let (mut world, a, b, switch) = pair();
        let server = world.serve(b, 80, Plan::receive()).unwrap();
        let client = world.connect(a, remote, Plan::send(3_000_000)).unwrap();
        world.run_for(Duration::from_millis(100));
        assert!(world.conversation(client).sent > 0 && !world.conversation(client).finished);
        close(&mut world, a, nic(0));
        let sent = world.stack(a).unwrap().counters().frames_sent;
        world.run_for(Duration::from_secs(20));
        assert_eq!(world.stack(a).unwrap().counters().frames_sent, sent);
        assert_eq!(world.conversation(client).reason, None);
        // In between the number is that of another interface, from which the peer could be reached, but not from the
        // connection's address: only the new addresses are asked for and announced, the IPv4 one twice, and
        // the group that goes with the IPv6 one is reported.
        let (_, port) = open(&mut world, a, switch, 3, &["10.0.0.77/24", "fd00::77/64"], lan());
        world.run_for(Duration::from_secs(20));
        assert_eq!(world.network().port_counters(port).unwrap().frames_out, 9);
        assert_eq!(world.conversation(client).reason, None);
        close(&mut world, a, nic(0));
        open(&mut world, a, switch, 1, &A, lan());
        world.run_for(Duration::from_secs(100));
        assert!(world.conversation(client).went_well(), "{world}");
        let end = world.conversation(world.accepted(server)[0]);
        assert_eq!((end.went_well(), end.received), (true, 3_000_000), "{world}");
        assert_all_blocks_come_back(&mut world, &[a, b]);
    }
}

#[test]
fn a_connection_without_any_interface_left_times_out() {
    for remote in B_SERVER {
        let (mut world, a, b, _) = pair();
        world.serve(b, 80, Plan::receive()).unwrap();
        let sending = world.connect(a, remote, Plan::send(3_000_000)).unwrap();
        world.run_for(Duration::from_millis(100));
        // One that has nothing under way at that moment, and is given something afterwards.
        let now = world.now();
        let quiet = world.stack_mut(a).unwrap().0.connect(now, at(remote), ConnectOptions::default()).unwrap();
        world.run_for(Duration::from_secs(1));
        let asking = world.stack_mut(a).unwrap().0.connect(now, at(remote), ConnectOptions::default()).unwrap();
        close(&mut world, a, nic(0));
        let now = world.now();
        let (stack, pool) = world.stack_mut(a).unwrap();
        assert_eq!(stack.send(pool, now, quiet, b"into the void"), Ok(13));
        assert!(stack.connect(now, at(remote), ConnectOptions::default()).is_err());
        world.run_for(Duration::from_secs(3_600));
        assert!(!world.is_stuck());
        assert_eq!(world.conversation(sending).reason, Some(CloseReason::TimedOut));
        let stack = world.stack(a).unwrap();
        assert_eq!(stack.connection_error(quiet), Some(CloseReason::TimedOut));
        assert!(stack.connection_error(asking).is_some());
        assert_eq!(stack.next_timeout(), None);
        assert_all_blocks_come_back(&mut world, &[a, b]);
    }
}

/// A host with two interfaces on one network: what has an address of the one that stays goes on through that.
#[test]
fn a_connection_takes_the_other_way_if_its_address_stays() {
    let (mut world, a, b, switch) = pair();
    open(&mut world, a, switch, 3, &["10.0.0.130/25", "fd00::1:0:0:3/80"], lan());
    open(&mut world, b, switch, 4, &["10.0.0.140/24", "fd00::1:0:0:4/64"], lan());
    let server = world.serve(b, 80, Plan::receive()).unwrap();
    let mut handles = Vec::new();
    for (local, remote) in [("10.0.0.1", "10.0.0.140:80"), ("fd00::1", "[fd00::1:0:0:4]:80")] {
        let now = world.now();
        let local = Some(Endpoint { address: Some(ip(local)), port: 0 });
        let options = ConnectOptions { local, ..ConnectOptions::default() };
        handles.push(world.stack_mut(a).unwrap().0.connect(now, at(remote), options).unwrap());
    }
    world.run_for(Duration::from_millis(200));
    let counters = |world: &World| -> Vec<u64> {
        let ports: Vec<_> = world.network().host_ports(a).collect();
        ports.iter().map(|port| world.network().port_counters(*port).unwrap().frames_out).collect()
    };
    let before = counters(&world);
    assert!(before[1] >= 4, "the longer prefix is that of the second interface");
    close(&mut world, a, nic(1));
    for handle in handles {
        let now = world.now();
        let (stack, pool) = world.stack_mut(a).unwrap();
        assert_eq!(stack.send(pool, now, handle, &[0; 5_000]), Ok(5_000));
        world.run_for(Duration::from_secs(5));
        assert_eq!(world.stack(a).unwrap().unacknowledged_bytes(handle), 0, "{world}");
    }
    assert!(counters(&world)[0] > before[0]);
    assert_eq!(world.accepted(server).len(), 2);
}

/// Requests to us, whose answers wait for a neighbour or have been sent, are given up after their retries.
#[test]
fn half_open_connections_are_given_up() {
    for remote in B_SERVER {
        for wait in [6, 16, 26] {
            let (mut world, a, b, _) = pair();
            world.serve(b, 80, Plan::receive()).unwrap();
            world.connect(a, remote, Plan::send(1_000)).unwrap();
            // The request arrives, and its answer waits or is on its way.
            world.run_for(Duration::from_millis(wait));
            let half_open = |world: &World| world.stack(b).unwrap().connections().count();
            let begun = half_open(&world);
            close(&mut world, b, nic(0));
            world.run_for(Duration::from_secs(300));
            assert!(begun <= 1 && half_open(&world) == 0, "{begun} after {wait} ms: {world}");
            assert!(!world.is_stuck());
            assert_all_blocks_come_back(&mut world, &[a, b]);
        }
    }
}

#[test]
fn what_waits_for_a_neighbour_or_for_its_turn_is_dropped_and_counted() {
    for address in B_ADDRESSES {
        let (mut world, a, b, _) = pair();
        let now = world.now();
        let (stack, pool) = world.stack_mut(a).unwrap();
        let socket = stack.bind_udp(Endpoint::any(7)).unwrap();
        let meta = UdpMeta::to((ip(address), 7).into());
        stack.udp_send(pool, now, socket, &meta, &[1; 1_000]).unwrap();
        let ping = stack.ping(pool, now, ip(address), 8, Duration::from_secs(5)).unwrap();
        world.settle();
        // Two wait for the neighbour's answer by now, and two have not been looked at.
        let (stack, pool) = world.stack_mut(a).unwrap();
        stack.udp_send(pool, now, socket, &meta, &[2; 1_000]).unwrap();
        stack.ping(pool, now, ip(address), 8, Duration::from_secs(5)).unwrap();
        assert!(pool.blocks_in_use() > 0);
        stack.remove_interface(pool, now, nic(0)).unwrap();
        assert_eq!(pool.blocks_in_use(), 0);
        assert_eq!(stack.counters().drops(DropReason::NoInterface), 4);
        world.run_for(Duration::from_secs(10));
        let (stack, _) = world.stack_mut(a).unwrap();
        assert_eq!(stack.ping_result(ping), Some(PingOutcome::TimedOut));
        assert_all_blocks_come_back(&mut world, &[a, b]);
    }
}

#[test]
fn datagrams_never_reach_the_successor_of_their_interface() {
    for address in B_ADDRESSES {
        let (mut world, a, b, switch) = pair();
        open(&mut world, a, switch, 3, &["10.0.1.1/24", "fd00:1::1/64"], lan());
        world.run_for(Duration::from_secs(1));
        let now = world.now();
        let (stack, pool) = world.stack_mut(a).unwrap();
        let socket = stack.bind_udp(Endpoint::any(7)).unwrap();
        let elsewhere = if ip(address).is_ipv4() { ip("10.0.1.9") } else { ip("fd00:1::9") };
        // For the interface that stays, for the one that goes, and for the first one again.
        for (number, to) in [elsewhere, ip(address), elsewhere].into_iter().enumerate() {
            stack.udp_send(pool, now, socket, &UdpMeta::to((to, 7).into()), &[number as u8; 100]).unwrap();
        }
        stack.remove_interface(pool, now, nic(0)).unwrap();
        let config = ethertab::InterfaceConfig::ethernet(ethertab::wire::MacAddr([2, 0, 0, 1, 0, 1]));
        assert_eq!(stack.add_interface(now, config), Ok(nic(0)));
        for prefix in A {
            stack.add_address(now, nic(0), prefix.parse::<Prefix>().unwrap()).unwrap();
        }
        let mut buf = [0; 1_514];
        let mut asked = 0;
        while let Some(meta) = stack.transmit(pool, now, nic(1), &mut buf) {
            assert!(!buf[..meta.len].windows(4).any(|bytes| bytes == [1; 4]));
            asked += 1;
        }
        assert!(asked > 0, "the other interface's datagrams went on");
        while let Some(meta) = stack.transmit(pool, now, nic(0), &mut buf) {
            assert!(!buf[..meta.len].windows(50).any(|bytes| bytes == [1; 50]), "sent by the successor");
        }
        assert_eq!(stack.counters().drops(DropReason::NoInterface), 1);
        assert_all_blocks_come_back(&mut world, &[a, b]);
    }
}

#[test]
fn a_datagram_from_an_interface_that_is_gone_names_none() {
    let (mut world, a, b, switch) = pair();
    let socket = world.stack_mut(b).unwrap().0.bind_udp(Endpoint::any(7)).unwrap();
    let now = world.now();
    for address in B_ADDRESSES {
        let (stack, pool) = world.stack_mut(a).unwrap();
        let from = stack.bind_udp(Endpoint::any(0)).unwrap();
        stack.udp_send(pool, now, from, &UdpMeta::to((ip(address), 7).into()), b"data").unwrap();
    }
    world.run_for(Duration::from_secs(1));
    let (stack, pool) = world.stack_mut(b).unwrap();
    let mut out = [0; 10];
    let (_, meta) = stack.udp_recv(pool, socket, &mut out).unwrap();
    assert_eq!(meta.interface, Some(nic(0)));
    close(&mut world, b, nic(0));
    open(&mut world, b, switch, 2, &B, lan());
    let (stack, pool) = world.stack_mut(b).unwrap();
    let (len, meta) = stack.udp_recv(pool, socket, &mut out).unwrap();
    assert_eq!((&out[..len], meta.interface), (&b"data"[..], None));
}

#[test]
fn listeners_stay_and_serve_the_address_when_it_is_back() {
    let (mut world, a, b, switch) = pair();
    let now = Instant::ZERO;
    let (stack, _) = world.stack_mut(b).unwrap();
    let exact = Endpoint { address: Some(ip("10.0.0.2")), port: 81 };
    let listener = stack.listen(exact, Default::default()).unwrap();
    close(&mut world, b, nic(0));
    open(&mut world, b, switch, 9, &B, lan());
    let (stack, _) = world.stack_mut(a).unwrap();
    let client = stack.connect(now, at("10.0.0.2:81"), ConnectOptions::default()).unwrap();
    world.run_for(Duration::from_secs(1));
    let state = world.stack(a).unwrap().connections().find(|info| info.handle == Some(client)).map(|info| info.state);
    assert_eq!(state, Some(State::Established));
    assert!(world.stack_mut(b).unwrap().0.accept(listener).is_some());
}

#[test]
fn a_capture_goes_on_when_an_interface_is_opened_again() {
    let (mut world, a, _, switch) = pair();
    let capture = world.capture(&[a]).unwrap();
    for round in 0..5 {
        close(&mut world, a, nic(0));
        let (_, port) = open(&mut world, a, switch, 1, &A, lan());
        world.network_mut().watch(capture, port).unwrap();
        let before = world.network().capture(capture).unwrap().seen();
        world.run_for(Duration::from_secs(1));
        let seen = world.network().capture(capture).unwrap();
        assert!(seen.seen() > before, "the announcements of round {round}");
        assert!(seen.interfaces().iter().map(|port| &port.name).eq(["a"]));
    }
}
