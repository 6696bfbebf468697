//! T46: a router on the way has a smaller MTU, and says so or does not.

use std::cell::Cell;

use ethertab::time::Duration;
use ethertab_sim::apps::Plan;
use ethertab_sim::middlebox::Mtu;
use ethertab_sim::{HostId, Impairment, MiddleboxConfig, World};

const BYTES: u64 = 500_000;

/// Two hosts with such a router between them.
fn pair(mtu: u16, tell: bool) -> (World, HostId, HostId) {
    let mut world = World::new(46);
    let a = world.host("a", &["10.0.0.1/24", "fd00::1/64"]).unwrap();
    let b = world.host("b", &["10.0.0.2/24", "fd00::2/64"]).unwrap();
    let router = MiddleboxConfig { mtu: Some(Mtu { bytes: mtu, tell }), ..MiddleboxConfig::default() };
    let [near, far] = world.middlebox("router", router);
    world.cable(a, near, Impairment::latency(Duration::from_millis(5))).unwrap();
    world.cable(far, b, Impairment::latency(Duration::from_millis(5))).unwrap();
    world.serve(b, 80, Plan::receive()).unwrap();
    (world, a, b)
}

/// Transfers `BYTES`; returns how long it took and the segment size that was used before the end.
fn transfer(world: &mut World, from: HostId, to: &str, limit: Duration) -> (Duration, u32) {
    let begin = world.now();
    let id = world.connect(from, to, Plan::send(BYTES)).unwrap();
    let mss = Cell::new(0);
    let done = world.run_until_true(limit, |world| {
        let open = world.stack(from).unwrap().connections().find(|info| info.bytes_sent > 0);
        mss.set(open.map_or(mss.get(), |info| info.mss));
        world.conversation(id).reason.is_some()
    });
    assert!(done, "{world}");
    (world.now().since(begin), mss.get())
}

#[test]
fn a_router_that_tells_costs_a_round_trip() {
    for (to, mss) in [("10.0.0.2:80", 1_300 - 52), ("[fd00::2]:80", 1_300 - 72)] {
        let (mut world, a, _) = pair(1_300, true);
        let (took, used) = transfer(&mut world, a, to, Duration::from_secs(60));
        assert_eq!(used, mss);
        assert!(took < Duration::from_secs(2), "{took}");
        // The next connection begins with what the first has learned.
        let before = world.stack(a).unwrap().counters().tcp_retransmits;
        transfer(&mut world, a, to, Duration::from_secs(60));
        assert_eq!(world.stack(a).unwrap().counters().tcp_retransmits, before);
    }
}

#[test]
fn a_black_hole_is_found_and_measured() {
    for (to, headers) in [("10.0.0.2:80", 52), ("[fd00::2]:80", 72)] {
        let (mut world, a, _) = pair(1_400, false);
        let (took, mss) = transfer(&mut world, a, to, Duration::from_secs(120));
        assert!(took < Duration::from_secs(20), "{took}");
        assert!(mss + headers > 1_280 && mss + headers <= 1_400, "probes have found {mss} of {}", 1_400 - headers);
    }
}
