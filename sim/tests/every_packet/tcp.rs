//! TCP with all its options, over both families: those of RFC 9293, RFC 7323 and RFC 2018, Fast Open (34, and as an experiment 254) and
//! AccECN (174).

use ethertab::time::Duration;
use ethertab::{ConnectOptions, EcnMode, TcpConfig};
use ethertab_sim::apps::{Finish, Plan};
use ethertab_sim::world::HostOptions;
use ethertab_sim::{Capture, Direction, Impairment, World};

/// What [`connections`] makes the stacks send.
pub(crate) const CONNECTIONS: &[&str] = &[
    "tcp option 1",
    "tcp option 2",
    "tcp option 3",
    "tcp option 4",
    "tcp option 5",
    "tcp option 8",
    "tcp option 34",
    "tcp option 174",
    "tcp option 254",
];

pub(crate) fn connections(capture: &mut Capture) {
    let mut tcp = TcpConfig::default();
    tcp.ecn_request = EcnMode::Accurate;
    tcp.fast_open.all_listeners = true;
    for remote in ["10.0.0.2:9000", "[fd00::2]:9000"] {
        let mut world = World::new(1);
        let options = HostOptions { tcp, ..HostOptions::default() };
        let a = world.host_with("a", &["10.0.0.1/24", "fd00::1/64"], options.clone()).unwrap();
        let b = world.host_with("b", &["10.0.0.2/24", "fd00::2/64"], options).unwrap();
        let impairment = Impairment {
            loss: 0.03,
            duplicate: 0.02,
            reorder: 0.02,
            reorder_by: Duration::from_millis(3),
            ..Impairment::latency(Duration::from_millis(10))
        };
        world.cable(a, b, impairment).unwrap();
        let watched = world.capture(&[a, b]).unwrap();
        let server = world.serve(b, 9_000, Plan { send: 100_000, ..Plan::receive() }).unwrap();
        for plan in [Plan::send(200_000), Plan { finish: Finish::Abort, ..Plan::send(1_000) }] {
            world.connect(a, remote, plan).unwrap();
            world.run_for(Duration::from_secs(60));
        }
        // Fast Open: asked for, then used (RFC 7413).
        for _ in 0..2 {
            let now = world.now();
            let (stack, pool) = world.stack_mut(a).unwrap();
            let fast_open = ConnectOptions { fast_open: true, ..ConnectOptions::default() };
            let connection = stack.connect(now, remote.parse().unwrap(), fast_open).unwrap();
            stack.send(pool, now, connection, b"data").unwrap();
            world.run_for(Duration::from_secs(10));
            let now = world.now();
            let (stack, pool) = world.stack_mut(a).unwrap();
            stack.close(pool, now, connection);
            world.run_for(Duration::from_secs(10));
        }
        // A port that nobody listens at.
        world.connect(a, &remote.replace("9000", "9001"), Plan::send(1)).unwrap();
        world.run_for(Duration::from_secs(200));
        assert!(!world.accepted(server).is_empty(), "{world}");
        let frames = world.network().capture(watched).expect("it was just begun");
        for packet in frames.packets().filter(|packet| packet.direction == Direction::Out) {
            capture.record(packet.time, 0, Direction::Out, packet.bytes);
        }
    }
}
