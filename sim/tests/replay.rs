//! The same seed gives the same bytes, and a clone of a running world goes on exactly as the original does.

use ethertab::time::{Duration, Instant};
use ethertab_sim::apps::{Plan, Reading};
use ethertab_sim::{Impairment, World};

/// Four hosts around a switch, bad cables, and connections in all directions.
fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    let switch = world.switch("switch");
    let bad = Impairment {
        jitter: Duration::from_millis(3),
        loss: 0.02,
        duplicate: 0.01,
        corrupt: 0.01,
        reorder: 0.05,
        rate: Some(20_000_000),
        ..Impairment::latency(Duration::from_millis(5))
    };
    let hosts: Vec<_> = (1..=4)
        .map(|number| {
            let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
            let host = world.host(&format!("host {number}"), &[&addresses[0], &addresses[1]]).unwrap();
            world.cable(host, switch, bad).unwrap();
            host
        })
        .collect();
    let slow = Reading::Paced { bytes: 5_000, every: Duration::from_millis(20) };
    for (host, plan) in hosts.iter().zip([Plan::receive(), Plan::echo(), Plan { reading: slow, ..Plan::receive() }]) {
        world.serve(*host, 80, plan).unwrap();
    }
    for (number, from) in hosts.iter().enumerate() {
        for to in (0..3).filter(|to| *to != number) {
            let remote = if to % 2 == 0 { format!("10.0.0.{}:80", to + 1) } else { format!("[fd00::{}]:80", to + 1) };
            world.connect(*from, &remote, Plan::send(500_000)).unwrap();
        }
    }
    world
}

const END: Instant = Instant::from_secs(30);

#[test]
fn a_run_repeats_byte_for_byte() {
    let run = |seed| {
        let mut world = world(seed);
        world.run_until(END);
        world.trace()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_clone_of_a_running_world_replays_byte_for_byte() {
    let mut original = world(3);
    let mut at = Instant::ZERO;
    let mut clones = Vec::new();
    for millis in [1, 17, 40, 60, 250, 3_000] {
        at += Duration::from_millis(millis);
        original.run_until(at);
        clones.push(original.clone());
    }
    let in_the_middle = clones.iter().filter(|clone| clone.network().pool().blocks_in_use() > 10).count();
    assert!(in_the_middle >= 3, "{in_the_middle} of the forks are in the middle of transfers");
    original.run_until(END);
    let counters = original.network().hosts().map(|(host, _)| original.stack(host).unwrap().counters());
    assert!(counters.map(|counters| counters.tcp_retransmits).sum::<u64>() > 50, "the cables lose frames");
    for mut clone in clones {
        let forked = clone.now();
        clone.run_until(END);
        assert_eq!(clone.trace(), original.trace(), "forked at {forked}: {clone}");
        assert_eq!(clone.to_string(), original.to_string());
        for (host, name) in original.network().hosts() {
            assert_eq!(clone.stack(host).unwrap().counters(), original.stack(host).unwrap().counters(), "{name}");
        }
    }
}

/// Every moment of a transfer can be gone back to, over either family alone.
#[test]
fn a_transfer_can_be_forked_at_every_moment() {
    for (a, b, remote) in [("10.0.0.1/24", "10.0.0.2/24", "10.0.0.2:80"), ("fd00::1/64", "fd00::2/64", "[fd00::2]:80")]
    {
        let mut original = World::new(6);
        let (a, b) = (original.host("a", &[a]).unwrap(), original.host("b", &[b]).unwrap());
        let bad = Impairment { loss: 0.05, reorder: 0.05, ..Impairment::latency(Duration::from_millis(10)) };
        original.cable(a, b, bad).unwrap();
        original.serve(b, 80, Plan::echo()).unwrap();
        let client = original.connect(a, remote, Plan { expect: Some(1), ..Plan::send(60_000) }).unwrap();
        let mut forks = Vec::new();
        for _ in 0..100 {
            original.run_for(Duration::from_millis(7));
            forks.push(original.clone());
        }
        original.run_until(END);
        assert!(original.conversation(client).went_well(), "{original}");
        for mut fork in forks {
            let forked = fork.now();
            fork.run_until(END);
            assert_eq!(fork.trace(), original.trace(), "forked at {forked}: {fork}");
        }
    }
}

#[test]
fn a_clone_and_its_original_do_not_share_anything() {
    let mut original = world(4);
    original.run_for(Duration::from_millis(200));
    let mut clone = original.clone();
    let before = original.trace();
    clone.run_until(END);
    assert_eq!(original.trace(), before);
    original.run_until(END);
    assert_eq!(original.trace(), clone.trace());
}

#[test]
fn steps_do_the_same_as_one_long_run() {
    let mut stepped = world(5);
    while stepped.next_event().is_some_and(|time| time <= END) && stepped.step() {}
    let mut whole = world(5);
    whole.run_until(stepped.now());
    assert_eq!(stepped.trace(), whole.trace());
}
