//! Worlds in which a stack is the router between two subnets, or translates the addresses of one of them.

use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    Config, Forwarding, FrameMeta, InterfaceConfig, InterfaceId, Limits, NatConfig, NatProtocol, PingOutcome, Pool,
    PortForward, Stack, TableSizes,
};
use ethertab_sim::apps::Plan;
use ethertab_sim::packet::{self, UDP};
use ethertab_sim::{HostId, Impairment, World};
use std::mem::size_of;
use std::net::IpAddr;

const LEFT: InterfaceId = InterfaceId(0);
const RIGHT: InterfaceId = InterfaceId(1);

/// Two hosts and the router between them, whose right-hand link has an MTU of its own and loses a little.
struct Scene {
    world: World,
    left: HostId,
    router: HostId,
    right: HostId,
}

fn scene(seed: u64, mtu: u16, has_route_back: bool) -> Scene {
    let mut world = World::new(seed);
    let left = world.host("left", &["10.0.0.2/24", "fd00::2/64"]).unwrap();
    let right = world.host("right", &["10.1.0.2/24", "fd01::2/64"]).unwrap();
    let router = world.host("router", &["10.0.0.1/24", "fd00::1/64"]).unwrap();
    let now = world.now();
    let stack = world.stack_mut(router).unwrap().0;
    let mut interface = InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 9, 9]));
    interface.mtu = mtu;
    assert_eq!(stack.add_interface(now, interface), Ok(RIGHT));
    for prefix in ["10.1.0.1/24", "fd01::1/64"] {
        stack.add_address(now, RIGHT, prefix.parse().unwrap()).unwrap();
    }
    for interface in [LEFT, RIGHT] {
        stack.set_forwarding(interface, Forwarding::on()).unwrap();
    }
    let port = world.network_mut().attach(router, RIGHT).unwrap();
    world.cable(left, router, Impairment::latency(Duration::from_millis(1))).unwrap();
    let lossy = Impairment { loss: 0.005, ..Impairment::latency(Duration::from_millis(5)) };
    world.cable(port, right, lossy).unwrap();
    let mut routes = vec![(left, "0.0.0.0/0", "10.0.0.1"), (left, "::/0", "fd00::1")];
    if has_route_back {
        routes.extend([(right, "0.0.0.0/0", "10.1.0.1"), (right, "::/0", "fd01::1")]);
    }
    for (host, prefix, gateway) in routes {
        let stack = world.stack_mut(host).unwrap().0;
        stack.add_route(prefix.parse().unwrap(), gateway.parse().unwrap()).unwrap();
    }
    world.run_for(Duration::from_secs(3));
    Scene { world, left, router, right }
}

#[test]
fn two_subnets_talk_through_a_stack_also_with_a_smaller_mtu_between_them() {
    for (seed, mtu) in [(1, 1_500), (2, 1_300)] {
        println!("seed {seed}");
        let Scene { mut world, left, router, right } = scene(seed, mtu, true);
        let server = world.serve(right, 80, Plan::echo()).unwrap();
        let ids = ["10.1.0.2:80", "[fd01::2]:80"].map(|to| world.connect(left, to, Plan::send(300_000)).unwrap());
        let now = world.now();
        let pings: Vec<_> = ["10.1.0.2", "fd01::2"]
            .into_iter()
            .map(|to| {
                let to: IpAddr = to.parse().unwrap();
                let (stack, pool) = world.stack_mut(left).unwrap();
                stack.ping(pool, now, to, 56, Duration::from_secs(5)).unwrap()
            })
            .collect();
        world.run_for(Duration::from_secs(60));
        for id in ids {
            assert!(world.conversation(id).went_well(), "{world}");
        }
        assert_eq!(world.accepted(server).len(), 2);
        for ping in pings {
            let outcome = world.stack_mut(left).unwrap().0.ping_result(ping);
            assert!(matches!(outcome, Some(PingOutcome::Reply { .. })), "{outcome:?}");
        }
        let counters = world.stack(router).unwrap().counters();
        assert!(counters.forwarded > 800, "{}", counters.forwarded);
    }
}

#[test]
fn hosts_behind_translation_reach_out_and_a_forwarded_port_lets_in() {
    let Scene { mut world, left, router, right } = scene(3, 1_500, false);
    let stack = world.stack_mut(router).unwrap().0;
    stack.set_nat(Some(NatConfig::outside(RIGHT))).unwrap();
    let inside = "10.0.0.2:8080".parse().unwrap();
    stack.forward_port(PortForward { protocol: NatProtocol::Tcp, outside_port: 80, inside }).unwrap();
    let outer = world.serve(right, 80, Plan::echo()).unwrap();
    let inner = world.serve(left, 8_080, Plan::echo()).unwrap();
    let out = (0..5).map(|_| world.connect(left, "10.1.0.2:80", Plan::send(50_000)).unwrap()).collect::<Vec<_>>();
    let back = world.connect(right, "10.1.0.1:80", Plan::send(50_000)).unwrap();
    // Itself, by what is known of it outside.
    let hairpin = world.connect(left, "10.1.0.1:80", Plan::send(50_000)).unwrap();
    world.run_for(Duration::from_secs(60));
    for id in out.into_iter().chain([back, hairpin]) {
        assert!(world.conversation(id).went_well(), "{world}");
    }
    assert_eq!((world.accepted(outer).len(), world.accepted(inner).len()), (5, 2));
    let is_router = |remote: IpAddr| remote == IpAddr::from([10, 1, 0, 1]);
    let remotes: Vec<IpAddr> = world.stack(right).unwrap().connections().map(|info| info.remote.ip()).collect();
    assert!(remotes.into_iter().all(is_router), "the right-hand host has only seen the router");
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.stack(router).unwrap().nat_flows().count(), 0);
}

/// A hundred thousand flows: what each costs, and that a packet finds its own among them.
#[test]
fn a_hundred_thousand_flows_are_translated() {
    const FLOWS: u32 = 100_000;
    let mut limits = Limits::small();
    limits.nat_flows = FLOWS as usize;
    let sizes = TableSizes::of(&limits);
    let memory = FLOWS as usize * (size_of_flow() + size_of_mapping() + size_of::<ethertab::memory::Link>())
        + sizes.nat_buckets * size_of::<ethertab::memory::Bucket>();
    println!("{} bytes for each flow with a mapping of its own", memory / FLOWS as usize);
    let (mut stack, mut pool) = (Stack::new(Config::new([1, 2]), limits), Pool::new(64));
    let (ours, theirs) = ([MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])], MacAddr([2, 0, 0, 0, 0, 3]));
    for (number, prefix, neighbor) in [(0, "10.0.0.1/8", "10.0.0.2"), (1, "192.0.2.1/24", "192.0.2.2")] {
        let id = stack.add_interface(Instant::ZERO, InterfaceConfig::ethernet(ours[number])).unwrap();
        stack.add_address(Instant::ZERO, id, prefix.parse().unwrap()).unwrap();
        stack.set_forwarding(id, Forwarding::on()).unwrap();
        stack.add_neighbor(&mut pool, id, neighbor.parse().unwrap(), theirs).unwrap();
    }
    let now = Instant::from_secs(10);
    while stack.next_timeout().is_some_and(|due| due <= now) {
        stack.handle_timeout(&mut pool, now);
    }
    let mut config = NatConfig::outside(RIGHT);
    config.flows_per_host = Some(FLOWS);
    stack.set_nat(Some(config)).unwrap();
    let (inside, remote) = (IpAddr::from([10, 0, 0, 2]), IpAddr::from([192, 0, 2, 2]));
    let mut buf = [0; 1_514];
    let mut pass = |stack: &mut Stack<'static>, number: u32| {
        // Some of the same endpoint, each to another port.
        let ports = ((1_024 + number % 50_000) as u16, (7 + number / 50_000) as u16);
        let frame = packet::ip_frame((theirs, ours[0]), inside, remote, UDP, &packet::udp(ports.0, ports.1, b"data"));
        stack.receive(&mut pool, now, LEFT, &frame, FrameMeta::received(frame.len()));
        while stack.transmit(&mut pool, now, RIGHT, &mut buf).is_some() {}
    };
    for number in 0..FLOWS {
        pass(&mut stack, number);
    }
    assert_eq!(stack.nat_flows().count(), FLOWS as usize);
    let before = stack.counters().forwarded;
    for number in (0..FLOWS).step_by(7) {
        pass(&mut stack, number);
    }
    assert_eq!(stack.counters().forwarded - before, u64::from(FLOWS.div_ceil(7)));
    assert_eq!(stack.nat_flows().count(), FLOWS as usize, "each has found its own");
}

fn size_of_flow() -> usize {
    size_of::<ethertab::memory::Slot<ethertab::memory::NatFlow>>()
}

fn size_of_mapping() -> usize {
    size_of::<ethertab::memory::Slot<ethertab::memory::NatMapping>>()
}
