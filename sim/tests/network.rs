//! The network as a mover of frames, seen from external ports: cables, switches, unplugging, loops, bounds.

use ethertab::time::{Duration, Instant};
use ethertab_sim::network::MAX_FRAME_LEN;
use ethertab_sim::{
    CaptureConfig, CaptureInterface, Direction, Impairment, LinkType, Network, NetworkError, PortId, SwitchConfig,
    SwitchId,
};

const BROADCAST: u8 = 0xff;

fn network() -> Network {
    Network::new(1, 16)
}

/// A frame between stations named by a byte; 0xff is everybody.
fn frame(to: u8, from: u8, number: u8) -> Vec<u8> {
    let station = |name: u8| {
        if name == BROADCAST { [0xff; 6] } else { [2, 0, 0, 0, 0, name] }
    };
    [&station(to)[..], &station(from), &[0x88, 0xb5], &[number; 46]].concat()
}

fn settle(network: &mut Network, now: Instant) {
    for _ in 0..1_000 {
        if !network.advance(now) {
            return;
        }
    }
    panic!("the network does not come to rest");
}

/// The numbers of the frames that have arrived at a port.
fn arrived(network: &mut Network, port: PortId, now: Instant) -> Vec<u8> {
    settle(network, now);
    let mut numbers = Vec::new();
    network.drain(port, now, |frame, meta| {
        assert_eq!(frame.len(), meta.len);
        numbers.push(frame[20]);
        true
    });
    numbers
}

/// External ports, each plugged into the switch.
fn around(network: &mut Network, switch: SwitchId, count: usize) -> Vec<PortId> {
    (0..count)
        .map(|number| {
            let port = network.add_port(&format!("station {number}"));
            network.plug(port, switch).unwrap();
            port
        })
        .collect()
}

const T0: Instant = Instant::ZERO;

#[test]
fn frames_cross_a_perfect_cable_at_once() {
    let mut network = network();
    let (a, b) = (network.add_port("a"), network.add_port("b"));
    network.plug(a, b).unwrap();
    for number in 0..3 {
        assert!(network.inject(a, T0, &frame(2, 1, number)));
    }
    settle(&mut network, T0);
    assert_eq!(network.poll_port(), Some(b));
    assert_eq!(network.poll_port(), None);
    assert_eq!(arrived(&mut network, b, T0), [0, 1, 2]);
    assert_eq!(arrived(&mut network, a, T0), []);
    assert_eq!(network.port_counters(b).unwrap().frames_in, 3);
    assert_eq!(network.next_timeout(), None);
}

#[test]
fn a_driver_may_stop_in_the_middle() {
    let mut network = network();
    let (a, b) = (network.add_port("a"), network.add_port("b"));
    network.plug(a, b).unwrap();
    for number in 0..3 {
        network.inject(a, T0, &frame(2, 1, number));
    }
    let mut buf = [0; MAX_FRAME_LEN];
    assert_eq!(network.take(b, T0, &mut buf), Some(60));
    assert_eq!(buf[20], 0);
    assert_eq!(network.take(b, T0, &mut buf[..30]), Some(30));
    assert_eq!(arrived(&mut network, b, T0), [2]);
    assert_eq!(network.take(b, T0, &mut buf), None);
}

#[test]
fn a_late_frame_wakes_the_network_when_it_arrives() {
    let mut network = network();
    let (a, b) = (network.add_port("a"), network.add_port("b"));
    let cable = network.plug(a, b).unwrap();
    network.impair(cable, Impairment::latency(Duration::from_millis(5))).unwrap();
    network.inject(a, Instant::from_millis(10), &frame(2, 1, 7));
    settle(&mut network, Instant::from_millis(10));
    assert_eq!(network.next_timeout(), Some(Instant::from_millis(15)));
    assert_eq!(arrived(&mut network, b, Instant::from_micros(14_999)), []);
    assert_eq!(network.poll_port(), None);
    settle(&mut network, Instant::from_millis(15));
    assert_eq!(network.poll_port(), Some(b));
    assert_eq!(arrived(&mut network, b, Instant::from_millis(15)), [7]);
}

#[test]
fn a_switch_floods_until_it_knows_and_never_echoes() {
    let mut network = network();
    let switch = network.add_switch("switch", SwitchConfig::default());
    let ports = around(&mut network, switch, 3);
    network.inject(ports[0], T0, &frame(BROADCAST, 1, 10));
    assert_eq!(arrived(&mut network, ports[0], T0), []);
    assert_eq!(arrived(&mut network, ports[1], T0), [10]);
    assert_eq!(arrived(&mut network, ports[2], T0), [10]);
    network.inject(ports[1], T0, &frame(1, 2, 11));
    network.inject(ports[2], T0, &frame(2, 3, 12));
    assert_eq!(arrived(&mut network, ports[0], T0), [11]);
    assert_eq!(arrived(&mut network, ports[1], T0), [12]);
    assert_eq!(arrived(&mut network, ports[2], T0), []);
}

#[test]
fn a_station_that_is_unplugged_is_looked_for_again() {
    let mut network = network();
    let switch = network.add_switch("switch", SwitchConfig::default());
    let ports = around(&mut network, switch, 3);
    network.inject(ports[0], T0, &frame(BROADCAST, 1, 10));
    settle(&mut network, T0);
    network.unplug(ports[0]);
    assert!(!network.inject(ports[0], T0, &frame(BROADCAST, 1, 11)));
    network.inject(ports[1], T0, &frame(1, 2, 12));
    assert_eq!(arrived(&mut network, ports[2], T0), [10, 12]);
    network.plug(ports[0], switch).unwrap();
    network.inject(ports[1], T0, &frame(1, 2, 13));
    assert_eq!(arrived(&mut network, ports[0], T0), [13]);
}

#[test]
fn a_loop_of_cables_comes_to_rest() {
    let mut network = network();
    let one = network.add_switch("one", SwitchConfig::default());
    let two = network.add_switch("two", SwitchConfig::default());
    for _ in 0..3 {
        network.plug(one, two).unwrap();
    }
    network.plug(one, one).unwrap();
    let ports = around(&mut network, one, 2);
    network.inject(ports[0], T0, &frame(BROADCAST, 1, 1));
    network.inject(ports[1], T0, &frame(1, 2, 2));
    settle(&mut network, T0);
    let counters = *network.switch(one).unwrap().counters();
    assert!(counters.loop_dropped + counters.storm_dropped > 0);
}

#[test]
fn the_same_seed_gives_the_same_frames_and_a_clone_goes_on_the_same() {
    let run = |seed: u64, fork_at: u64| {
        let mut network = Network::new(seed, 16);
        network.start_trace();
        let switch = network.add_switch("switch", SwitchConfig::default());
        let ports = around(&mut network, switch, 4);
        let impairment = Impairment {
            jitter: Duration::from_millis(2),
            loss: 0.1,
            duplicate: 0.1,
            corrupt: 0.1,
            reorder: 0.1,
            rate: Some(1_000_000),
            ..Impairment::latency(Duration::from_millis(3))
        };
        for port in &ports {
            let (cable, _) = network.cable_at(*port).unwrap();
            network.impair(cable, impairment).unwrap();
        }
        for step in 0..500 {
            if step == fork_at {
                network = network.clone();
            }
            let now = Instant::from_micros(step * 400);
            let number = step as u8 % 4;
            network.inject(ports[usize::from(number)], now, &frame((number + 1) % 4, number, step as u8));
            ports.iter().for_each(|port| drop(arrived(&mut network, *port, now)));
        }
        network.trace()
    };
    assert_eq!(run(1, 1_000), run(1, 250));
    assert_ne!(run(1, 1_000), run(2, 1_000));
}

#[test]
fn a_port_that_nobody_drains_holds_a_bounded_number_of_frames() {
    let mut network = network();
    let (a, b) = (network.add_port("a"), network.add_port("b"));
    let (cable, _) = (network.plug(a, b).unwrap(), ());
    let accepted = (0..5_000).filter(|_| network.inject(a, T0, &[1; 1_514])).count();
    assert!((600..800).contains(&accepted), "{accepted}");
    let lane = network.cable(cable).unwrap().lane(ethertab_sim::Side::A);
    assert_eq!(lane.counters().overflowed, 5_000 - accepted as u64);
    assert_eq!(network.drain(b, T0, |_, _| true), accepted);
    assert!(network.inject(a, T0, &[1; 1_514]));
}

#[test]
fn captures_see_both_directions_of_the_ports_they_watch() {
    let mut network = network();
    let (a, b) = (network.add_port("a"), network.add_port("b"));
    network.plug(a, b).unwrap();
    let capture = network.add_capture(CaptureConfig::default());
    network.watch(capture, a).unwrap();
    network.watch(capture, a).unwrap();
    network.inject(a, Instant::from_micros(5), &frame(2, 1, 1));
    network.inject(b, Instant::from_micros(6), &frame(1, 2, 2));
    arrived(&mut network, a, Instant::from_micros(7));
    let seen: Vec<_> = network
        .capture(capture)
        .unwrap()
        .packets()
        .map(|packet| (packet.time.as_micros(), packet.direction, packet.bytes[20]))
        .collect();
    assert_eq!(seen, [(5, Direction::Out, 1), (7, Direction::In, 2)]);
    let interfaces = network.capture(capture).unwrap().interfaces();
    assert_eq!(interfaces, [CaptureInterface { name: "a".into(), link: LinkType::Ethernet }]);
    network.unwatch(capture, a);
    network.inject(a, Instant::from_micros(8), &frame(2, 1, 3));
    assert_eq!(network.remove_capture(capture).unwrap().seen(), 2);
}

#[test]
fn what_cannot_be_plugged_says_why() {
    let mut network = network();
    let (a, b, c) = (network.add_port("a"), network.add_port("b"), network.add_port("c"));
    assert_eq!(network.plug(a, a), Err(NetworkError::SamePort(a)));
    let cable = network.plug(a, b).unwrap();
    assert_eq!(network.plug(c, b), Err(NetworkError::AlreadyPlugged(b)));
    let wrong = Impairment { loss: 2.0, ..Impairment::PERFECT };
    assert!(matches!(network.impair(cable, wrong), Err(NetworkError::Impairment(_))));
    network.remove_port(b);
    assert_eq!(network.plug(b, c), Err(NetworkError::NotFound));
    assert_eq!(network.impair(cable, Impairment::PERFECT), Err(NetworkError::NotFound));
    network.plug(a, c).unwrap();
    assert!(!network.inject(b, T0, &frame(1, 2, 3)));
    assert!(!network.inject(a, T0, &vec![0; MAX_FRAME_LEN + 1]));
}
