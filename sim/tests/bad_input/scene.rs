//! The conversations that are recorded, and attacked with what was recorded of them.

use ethertab::time::Duration;
use ethertab::{ConnectOptions, Endpoint, State, UdpHandle, UdpMeta};
use ethertab_sim::apps::{ConversationId, Finish, Plan, Reading};
use ethertab_sim::{HostId, Impairment, World};

/// The states in which the target has connections at one stage or another.
pub(crate) const STATES: [State; 10] = [
    State::SynSent,
    State::SynReceived,
    State::Established,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::Closing,
    State::LastAck,
    State::TimeWait,
    State::Closed,
];

/// A host under attack, one whose conversations with it are recorded, and a bystander far away in the address space.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) target: HostId,
    /// Connections between the target and the bystander, of which the damaged frames know nothing.
    pub(crate) bystanders: [ConversationId; 2],
}

impl Scene {
    /// The hosts, with the bystanders' connections open and everything else about to begin.
    pub(crate) fn new(seed: u64) -> Scene {
        let mut world = World::new(seed);
        let switch = world.switch("switch");
        let mut host = |name: &str, addresses: &[&str]| {
            let host = world.host(name, addresses).unwrap();
            world.cable(host, switch, Impairment::latency(Duration::from_millis(2))).unwrap();
            host
        };
        let peer = host("peer", &["10.0.0.1/8", "fd00::1/64"]);
        let target = host("target", &["10.0.0.2/8", "fd00::2/64"]);
        let newcomer = host("newcomer", &["10.0.0.3/8", "fd00::3/64"]);
        let bystander = host("bystander", &["10.171.93.214/8", "fd00::a5a5:5a5a:c3c3:3c3c/64"]);

        let stay = Plan { finish: Finish::Stay, expect: Some(1), ..Plan::send(40_000) };
        world.serve(target, 9, Plan::echo()).unwrap();
        let bystanders = ["10.0.0.2:9", "[fd00::2]:9"].map(|remote| world.connect(bystander, remote, stay).unwrap());
        let plan = Plan { finish: Finish::Stay, ..Plan::send(0) };
        let server = world.serve(peer, 87, plan).unwrap();
        let crossing = ["10.0.0.1:87", "[fd00::1]:87"].map(|remote| world.connect(target, remote, plan).unwrap());
        world.run_for(Duration::from_secs(20));

        // Both ends close in the same moment, so that their FINs cross.
        for id in crossing.into_iter().chain(world.accepted(server).to_vec()) {
            let (host, handle) = (world.conversation(id).host, world.conversation(id).handle.unwrap());
            let now = world.now();
            world.stack_mut(host).unwrap().0.shutdown(now, handle).unwrap();
        }
        begin_tcp(&mut world, peer, target);
        begin_datagrams(&mut world, peer, target);
        // Not heard of before, so that each asks for the other's station.
        let now = world.now();
        for address in ["10.0.0.2", "fd00::2"] {
            let (stack, pool) = world.stack_mut(newcomer).unwrap();
            stack.ping(pool, now, address.parse::<std::net::IpAddr>().unwrap(), 56, Duration::from_secs(5)).unwrap();
        }
        Scene { world, target, bystanders }
    }
}

/// Connections to and from the target that finish in every way, and some that do not.
fn begin_tcp(world: &mut World, peer: HostId, target: HostId) {
    let slow = Reading::Paced { bytes: 700, every: Duration::from_millis(3) };
    let servers = [
        (80, Plan { send: 30_000, ..Plan::receive() }),
        (81, Plan { reading: slow, ..Plan::receive() }),
        (82, Plan { reading: Reading::Never, finish: Finish::Stay, ..Plan::receive() }),
        (83, Plan { send: 5_000, finish: Finish::Close, ..Plan::receive() }),
        // Says at once that it will send nothing, and reads to the end.
        (85, Plan { finish: Finish::Shutdown, ..Plan::send(0) }),
        // Never closes its side.
        (86, Plan { finish: Finish::Stay, ..Plan::receive() }),
    ];
    for (port, plan) in servers {
        world.serve(target, port, plan).unwrap();
    }
    world.serve(peer, 80, Plan::echo()).unwrap();
    world.serve(peer, 88, Plan { finish: Finish::Stay, ..Plan::receive() }).unwrap();
    for address in ["10.0.0.2", "[fd00::2]"] {
        for port in [80, 81, 82, 83, 84, 85, 86] {
            world.connect(peer, &format!("{address}:{port}"), Plan::send(60_000)).unwrap();
        }
    }
    let remotes = ["10.0.0.1:80", "[fd00::1]:80", "10.0.0.1:99", "10.0.0.5:80", "[fd00::5]:80"];
    for remote in remotes {
        world.connect(target, remote, Plan::send(20_000)).unwrap();
    }
    for remote in ["10.0.0.1:88", "[fd00::1]:88"] {
        world.connect(target, remote, Plan::send(0)).unwrap();
    }
    // Refused, and kept by a user who does not ask.
    let (now, nobody) = (world.now(), "10.0.0.1:98".parse().unwrap());
    world.stack_mut(target).unwrap().0.connect(now, nobody, ConnectOptions::default()).unwrap();
}

/// UDP both ways, to ports that nobody has too, queries and requests of the usual services, and pings.
fn begin_datagrams(world: &mut World, peer: HostId, target: HostId) {
    let now = world.now();
    let open = |world: &mut World, host: HostId, port: u16| -> UdpHandle {
        world.stack_mut(host).unwrap().0.bind_udp(Endpoint::any(port)).unwrap()
    };
    for port in [53, 67, 7_000] {
        open(world, target, port);
    }
    let from = open(world, peer, 7_001);
    let ours = open(world, target, 7_002);
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04shop\x04test\0\0\x01\0\x01";
    let mut discover = vec![0; 240];
    discover[..4].copy_from_slice(&[1, 1, 6, 0]);
    discover[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    discover[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    discover.extend([53, 1, 1, 55, 4, 1, 3, 6, 15, 12, 2, b'v', b'm', 255]);
    for (number, address) in ["10.0.0.2", "fd00::2"].into_iter().enumerate() {
        let datagrams: [(u16, &[u8]); 5] =
            [(53, query), (67, &discover), (7_000, &[7; 1_200]), (7_000, &[]), (9_999, b"nobody")];
        let (stack, pool) = world.stack_mut(peer).unwrap();
        for (port, data) in datagrams {
            let meta = UdpMeta::to((address.parse::<std::net::IpAddr>().unwrap(), port).into());
            stack.udp_send(pool, now, from, &meta, data).unwrap();
        }
        for len in [0, 56, 1_400] {
            stack.ping(pool, now, address.parse::<std::net::IpAddr>().unwrap(), len, Duration::from_secs(5)).unwrap();
        }
        // The answer to this is an error about a datagram of the target's.
        let back = ["10.0.0.1", "fd00::1"][number].parse::<std::net::IpAddr>().unwrap();
        let (stack, pool) = world.stack_mut(target).unwrap();
        for data in [&[1; 40][..], &[2; 900]] {
            stack.udp_send(pool, now, ours, &UdpMeta::to((back, 9_998).into()), data).unwrap();
        }
        stack.ping(pool, now, back, 100, Duration::from_secs(5)).unwrap();
    }
}
