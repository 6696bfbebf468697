//! T46: a router on the way has a smaller MTU, and says so or does not.

use std::cell::Cell;
use std::net::SocketAddr;

use ethertab::services::{Dplpmtud, DplpmtudConfig, DplpmtudState};
use ethertab::time::Duration;
use ethertab::{Endpoint, UdpMeta};
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

/// RFC 8899: an application finds out what a path carries by probes that the other end acknowledges with their length. Returns the
/// search, and after how long it was complete.
fn probed(router: u16, tell: bool, to: &str) -> (Dplpmtud, Duration) {
    let (mut world, a, b) = pair(router, tell);
    let to: SocketAddr = to.parse().unwrap();
    let (ours, _) = world.stack_mut(a).unwrap();
    let client = ours.bind_udp(Endpoint::any(0)).unwrap();
    let mut options = ours.udp_options(client).unwrap();
    options.probe = true;
    ours.udp_set_options(client, options);
    let server = world.stack_mut(b).unwrap().0.bind_udp(Endpoint::any(to.port())).unwrap();
    let mut config = DplpmtudConfig::new(to.is_ipv4(), 1_500);
    config.probe_timeout = Duration::from_secs(1);
    let mut search = Dplpmtud::new(world.now(), config);
    let begin = world.now();
    while search.state() != DplpmtudState::SearchComplete {
        let now = world.now();
        assert!(now.since(begin) < Duration::from_secs(60), "{search:?}");
        let mut buf = [0; 2_000];
        let (stack, pool) = world.stack_mut(b).unwrap();
        while let Some((len, meta)) = stack.udp_recv(pool, server, &mut buf) {
            stack.udp_send(pool, now, server, &meta, &(len as u16).to_be_bytes()).unwrap();
        }
        let (stack, pool) = world.stack_mut(a).unwrap();
        while stack.udp_recv(pool, client, &mut buf).is_some() {
            search.acknowledged(now, u16::from_be_bytes([buf[0], buf[1]]));
        }
        while let Some((_, error)) = stack.udp_error(pool, client, &mut []) {
            search.too_big(now, error.mtu.expect("nothing else is reported"));
        }
        search.handle_timeout(now);
        if let Some(size) = search.transmit(now) {
            stack.udp_send(pool, now, client, &UdpMeta::to(to), &vec![0; size.into()]).unwrap();
        }
        assert_eq!(stack.counters().fragments_sent, 0, "probes leave in one piece");
        world.run_for(Duration::from_millis(5));
    }
    (search, world.now().since(begin))
}

#[test]
fn datagrams_find_a_path_that_tells_in_a_few_round_trips_and_one_that_does_not_by_probing() {
    for (to, headers) in [("10.0.0.2:7", 28), ("[fd00::2]:7", 48)] {
        let (search, took) = probed(1_500, true, to);
        assert_eq!(search.size(), 1_500 - headers);
        assert!(took < Duration::from_millis(120), "{took}");
        let (search, took) = probed(1_400, true, to);
        assert_eq!(search.size(), 1_400 - headers);
        assert!(took < Duration::from_millis(160), "{took}");
        let (search, took) = probed(1_400, false, to);
        assert!((1_393 - headers..=1_400 - headers).contains(&search.size()), "{search:?}");
        assert!(took < Duration::from_secs(20), "{took}");
    }
}
