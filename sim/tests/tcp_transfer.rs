//! TCP between two hosts of a world: transfers over bad cables, and every way in which a connection ends.

use ethertab::time::{Duration, Instant};
use ethertab::{CloseReason, Limits, TcpConfig};
use ethertab_sim::apps::{Finish, Plan, Reading};
use ethertab_sim::world::HostOptions;
use ethertab_sim::{BurstLoss, HostId, Impairment, Queue, World};

const V4: (&str, &str, &str) = ("10.0.0.1/24", "10.0.0.2/24", "10.0.0.2:80");
const V6: (&str, &str, &str) = ("fd00::1/64", "fd00::2/64", "[fd00::2]:80");

/// Two hosts and a cable.
fn pair(seed: u64, family: (&str, &str, &str), impairment: Impairment) -> (World, HostId, HostId) {
    let mut world = World::new(seed);
    let a = world.host("a", &[family.0]).unwrap();
    let b = world.host("b", &[family.1]).unwrap();
    world.cable(a, b, impairment).unwrap();
    (world, a, b)
}

fn wan() -> Impairment {
    Impairment::latency(Duration::from_millis(20))
}

/// After everything is over, TIME-WAIT included, no block may be in use and no connection be left.
fn assert_memory_returned(world: &mut World, hosts: &[HostId]) {
    world.run_for(Duration::from_secs(600));
    for host in hosts {
        let stack = world.stack(*host).unwrap();
        assert_eq!(stack.connections().count(), 0, "{world}");
        assert_eq!(stack.blocks_in_use(), 0, "{world}");
    }
    assert_eq!(world.network().pool().blocks_in_use(), 0, "{world}");
}

/// Sends `bytes` from a to b and as many back, and checks all of them.
fn transfer_both_ways(seed: u64, family: (&str, &str, &str), bytes: u64, impairment: Impairment) -> World {
    let (mut world, a, b) = pair(seed, family, impairment);
    let server = world.serve(b, 80, Plan { send: bytes, pattern: 2, ..Plan::receive() }).unwrap();
    let client = world.connect(a, family.2, Plan { expect: Some(2), ..Plan::send(bytes) }).unwrap();
    let over = world.run_until_true(Duration::from_secs(3_600), |world| {
        let server_over = world.accepted(server).first().is_some_and(|end| world.conversation(*end).is_over());
        server_over && world.conversation(client).is_over()
    });
    assert!(over, "{world}");
    let accepted = world.conversation(world.accepted(server)[0]).clone();
    assert!(world.conversation(client).went_well() && accepted.went_well(), "{world}");
    assert_eq!((accepted.received, world.conversation(client).received), (bytes, bytes), "{world}");
    assert_memory_returned(&mut world, &[a, b]);
    world
}

#[test]
fn a_transfer_over_a_perfect_cable() {
    for family in [V4, V6] {
        transfer_both_ways(1, family, 4_000_000, Impairment::PERFECT);
    }
}

#[test]
fn a_transfer_with_latency_and_a_rate() {
    for family in [V4, V6] {
        transfer_both_ways(2, family, 1_000_000, Impairment { rate: Some(10_000_000), ..wan() });
    }
}

#[test]
fn a_transfer_over_loss() {
    for seed in 0..10 {
        for family in [V4, V6] {
            transfer_both_ways(seed, family, 200_000, Impairment { loss: 0.05, ..wan() });
        }
    }
}

#[test]
fn a_transfer_over_burst_loss() {
    let burst_loss = Some(BurstLoss { start: 0.01, stop: 0.2, loss: 0.9 });
    for seed in 0..5 {
        transfer_both_ways(seed, V4, 200_000, Impairment { burst_loss, ..wan() });
    }
}

#[test]
fn a_transfer_over_reordering() {
    for seed in 0..5 {
        let reorder_by = Duration::from_millis(3);
        transfer_both_ways(seed, V4, 500_000, Impairment { reorder: 0.1, reorder_by, rate: Some(50_000_000), ..wan() });
    }
}

#[test]
fn a_transfer_over_duplicates() {
    for seed in 0..5 {
        transfer_both_ways(seed, V6, 500_000, Impairment { duplicate: 0.3, ..wan() });
    }
}

#[test]
fn a_transfer_over_corruption() {
    for seed in 0..5 {
        for family in [V4, V6] {
            transfer_both_ways(seed, family, 300_000, Impairment { corrupt: 0.03, ..wan() });
        }
    }
}

#[test]
fn a_transfer_over_everything_at_once() {
    let everything = Impairment {
        jitter: Duration::from_millis(5),
        loss: 0.02,
        duplicate: 0.02,
        corrupt: 0.02,
        reorder: 0.05,
        rate: Some(20_000_000),
        queue: Queue::Frames(50),
        ..wan()
    };
    for seed in 0..10 {
        for family in [V4, V6] {
            transfer_both_ways(seed, family, 200_000, everything);
        }
    }
}

#[test]
fn a_small_queue_drops_and_the_transfer_goes_on_at_a_good_rate() {
    let narrow = Impairment { rate: Some(8_000_000), queue: Queue::Frames(20), ..wan() };
    let (mut world, a, b) = pair(3, V4, narrow);
    let server = world.serve(b, 80, Plan::receive()).unwrap();
    world.connect(a, V4.2, Plan::send(2_000_000)).unwrap();
    let over = world.run_until_true(Duration::from_secs(60), |world| {
        world.accepted(server).first().is_some_and(|end| world.conversation(*end).peer_finished)
    });
    // 2 MB at 8 Mbit/s take 2 s; loss recovery may cost as much again, twice.
    assert!(over && world.now() < Instant::from_secs(6), "{world}");
}

/// P1: the receive ring of a virtual machine's network card holds eight frames and drops the rest silently.
#[test]
fn p1_a_ring_of_eight_frames_and_the_transfer_goes_on_at_a_good_rate() {
    for family in [V4, V6] {
        let ring = Impairment {
            rate: Some(100_000_000),
            queue: Queue::Frames(8),
            ..Impairment::latency(Duration::from_micros(200))
        };
        let (mut world, a, b) = pair(13, family, ring);
        let server = world.serve(b, 80, Plan::receive()).unwrap();
        let client = world.connect(a, family.2, Plan::send(10_000_000)).unwrap();
        let over = world.run_until_true(Duration::from_secs(60), |world| {
            world.accepted(server).first().is_some_and(|end| world.conversation(*end).peer_finished)
        });
        // 10 MB at 100 Mbit/s take 0.8 s.
        assert!(over && world.now() < Instant::from_secs(3), "{world}");
        assert!(world.stack(a).unwrap().counters().tcp_retransmits > 0, "the ring never overflowed");
        world.run_for(Duration::from_secs(5));
        assert!(world.conversation(client).went_well(), "{world}");
        assert_memory_returned(&mut world, &[a, b]);
    }
}

/// P2: a machine that is paused in the middle of a transfer, for as long as retries last.
#[test]
fn p2_a_paused_machine_goes_on_where_it_was() {
    for minutes in [1, 5, 10] {
        let (mut world, a, b) = pair(14, V4, Impairment { rate: Some(10_000_000), ..wan() });
        let server = world.serve(b, 80, Plan::receive()).unwrap();
        world.connect(a, V4.2, Plan::send(3_000_000)).unwrap();
        world.run_for(Duration::from_millis(500));
        let port = world.network().host_ports(b).next().unwrap();
        world.network_mut().unplug(port);
        world.run_for(Duration::from_secs(minutes * 60));
        world.cable(a, b, wan()).unwrap();
        world.run_for(Duration::from_secs(180));
        assert!(world.conversation(world.accepted(server)[0]).went_well(), "after {minutes} min: {world}");
        assert_memory_returned(&mut world, &[a, b]);
    }
}

#[test]
fn the_cable_is_cut_for_a_minute_and_the_transfer_survives() {
    let (mut world, a, b) = pair(4, V4, Impairment { rate: Some(10_000_000), ..wan() });
    let server = world.serve(b, 80, Plan::receive()).unwrap();
    let client = world.connect(a, V4.2, Plan::send(5_000_000)).unwrap();
    world.run_for(Duration::from_secs(1));
    let port = world.network().host_ports(a).next().unwrap();
    world.network_mut().unplug(port);
    world.run_for(Duration::from_secs(60));
    assert!(!world.conversation(client).is_over(), "{world}");
    world.cable(a, b, Impairment { rate: Some(10_000_000), ..wan() }).unwrap();
    world.run_for(Duration::from_secs(180));
    assert!(world.conversation(world.accepted(server)[0]).went_well(), "{world}");
}

#[test]
fn an_echo_server_gives_back_every_byte() {
    for (seed, family) in [(1, V4), (2, V6)] {
        let (mut world, a, b) = pair(seed, family, Impairment { loss: 0.01, ..wan() });
        world.serve(b, 80, Plan::echo()).unwrap();
        let client = world.connect(a, family.2, Plan { expect: Some(1), ..Plan::send(300_000) }).unwrap();
        world.run_for(Duration::from_secs(120));
        assert!(world.conversation(client).went_well(), "{world}");
        assert_eq!(world.conversation(client).received, 300_000);
        assert_memory_returned(&mut world, &[a, b]);
    }
}

/// T11: after a half-close the other direction goes on, for hours.
#[test]
fn a_half_closed_connection_carries_data_hours_later() {
    let (mut world, a, b) = pair(5, V4, wan());
    let late = Reading::From(Instant::from_secs(3 * 3_600));
    let server = world.serve(b, 80, Plan { send: 100_000, pattern: 2, reading: late, ..Plan::receive() }).unwrap();
    let plan = Plan { expect: Some(2), reading: late, ..Plan::send(10_000) };
    let client = world.connect(a, V4.2, plan).unwrap();
    world.run_for(Duration::from_secs(3_600));
    let accepted = world.accepted(server)[0];
    assert!(world.conversation(client).finished && !world.conversation(accepted).is_over(), "{world}");
    world.run_for(Duration::from_secs(3 * 3_600));
    assert!(world.conversation(client).went_well() && world.conversation(accepted).went_well(), "{world}");
    assert_eq!(world.conversation(client).received, 100_000);
    assert_memory_returned(&mut world, &[a, b]);
}

/// T7: both ends close at the same time.
#[test]
fn both_ends_close_at_once() {
    for (seed, loss) in [(1, 0.0), (2, 0.2), (3, 0.2), (4, 0.2), (5, 0.4)] {
        let (mut world, a, b) = pair(seed, V4, wan());
        let server = world.serve(b, 80, Plan { finish: Finish::Stay, ..Plan::receive() }).unwrap();
        let client = world.connect(a, V4.2, Plan { finish: Finish::Stay, ..Plan::send(1_000) }).unwrap();
        world.run_for(Duration::from_secs(5));
        let (cable, _) = world.network().cable_at(world.network().host_ports(a).next().unwrap()).unwrap();
        world.network_mut().impair(cable, Impairment { loss, ..wan() }).unwrap();
        let now = world.now();
        for end in [client, world.accepted(server)[0]] {
            let (host, handle) = (world.conversation(end).host, world.conversation(end).handle.unwrap());
            let (stack, pool) = world.stack_mut(host).unwrap();
            stack.close(pool, now, handle);
        }
        assert_memory_returned(&mut world, &[a, b]);
    }
}

/// A reader that stops closes the window; probes keep the connection alive until it reads again.
#[test]
fn a_closed_window_opens_again() {
    for (seed, loss) in [(1, 0.0), (2, 0.1), (3, 0.1)] {
        let (mut world, a, b) = pair(seed, V4, Impairment { loss, ..wan() });
        let late = Reading::From(Instant::from_secs(100));
        let server = world.serve(b, 80, Plan { reading: late, ..Plan::receive() }).unwrap();
        let client = world.connect(a, V4.2, Plan::send(1_000_000)).unwrap();
        world.run_for(Duration::from_secs(90));
        let stalled = world.conversation(client).sent;
        assert!(stalled < 1_000_000, "{world}");
        world.run_for(Duration::from_secs(300));
        assert!(world.conversation(world.accepted(server)[0]).went_well(), "{world}");
        assert_memory_returned(&mut world, &[a, b]);
    }
}

#[test]
fn a_slow_reader_gets_everything() {
    let (mut world, a, b) = pair(6, V6, wan());
    let slow = Reading::Paced { bytes: 1_000, every: Duration::from_millis(5) };
    let server = world.serve(b, 80, Plan { reading: slow, ..Plan::receive() }).unwrap();
    world.connect(a, V6.2, Plan::send(400_000)).unwrap();
    world.run_for(Duration::from_secs(30));
    assert!(world.conversation(world.accepted(server)[0]).went_well(), "{world}");
    assert_memory_returned(&mut world, &[a, b]);
}

#[test]
fn a_connection_to_a_closed_port_is_refused_at_once() {
    for family in [V4, V6] {
        let (mut world, a, b) = pair(7, family, wan());
        let client = world.connect(a, family.2, Plan::send(1_000)).unwrap();
        world.run_for(Duration::from_millis(500));
        assert_eq!(world.conversation(client).reason, Some(CloseReason::Refused), "{world}");
        assert_memory_returned(&mut world, &[a, b]);
    }
}

/// T9: a host that does not answer, and one whose address nobody has, end the attempt with an error.
#[test]
fn a_connection_to_a_dead_host_times_out() {
    for (family, nobody) in [(V4, "10.0.0.77:80"), (V6, "[fd00::77]:80")] {
        let (mut world, a, b) = pair(8, family, wan());
        let unresolved = world.connect(a, nobody, Plan::send(1_000)).unwrap();
        world.run_for(Duration::from_secs(300));
        assert!(world.conversation(unresolved).reason.is_some(), "{world}");
        assert!(!world.conversation(unresolved).connected, "{world}");

        let known = world.connect(a, family.2, Plan::send(1_000)).unwrap();
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.conversation(known).reason, Some(CloseReason::Refused), "{world}");
        let port = world.network().host_ports(b).next().unwrap();
        world.network_mut().unplug(port);
        let silent = world.connect(a, family.2, Plan::send(1_000)).unwrap();
        world.run_for(Duration::from_secs(300));
        assert!(world.conversation(silent).reason.is_some(), "{world}");
        assert_memory_returned(&mut world, &[a]);
    }
}

/// T9: a peer that dies with data outstanding.
#[test]
fn a_peer_that_dies_ends_the_connection_with_an_error() {
    let (mut world, a, b) = pair(9, V4, Impairment { rate: Some(5_000_000), ..wan() });
    world.serve(b, 80, Plan::receive()).unwrap();
    let client = world.connect(a, V4.2, Plan::send(5_000_000)).unwrap();
    world.run_for(Duration::from_secs(1));
    let port = world.network().host_ports(b).next().unwrap();
    world.network_mut().unplug(port);
    world.run_for(Duration::from_secs(3_600));
    assert!(
        matches!(world.conversation(client).reason, Some(CloseReason::TimedOut | CloseReason::Unreachable { .. })),
        "{world}"
    );
    assert_memory_returned(&mut world, &[a]);
}

#[test]
fn an_abort_is_a_reset_for_the_peer() {
    let (mut world, a, b) = pair(10, V4, wan());
    let stay = Plan { finish: Finish::Stay, ..Plan::receive() };
    let server = world.serve(b, 80, stay).unwrap();
    let client = world.connect(a, V4.2, Plan { send: 100, ..stay }).unwrap();
    world.run_for(Duration::from_secs(2));
    let handle = world.conversation(client).handle.unwrap();
    let now = world.now();
    let (stack, pool) = world.stack_mut(a).unwrap();
    stack.abort(pool, now, handle);
    world.run_for(Duration::from_secs(2));
    let accepted = world.conversation(world.accepted(server)[0]);
    assert_eq!(accepted.reason, Some(CloseReason::Reset), "{world}");
    assert_memory_returned(&mut world, &[a, b]);
}

/// T11, RFC 2525 §2.17: closing with unread data resets, and the peer learns it.
#[test]
fn closing_with_unread_data_resets_the_peer() {
    let (mut world, a, b) = pair(11, V4, wan());
    let deaf = Plan { reading: Reading::Never, finish: Finish::Stay, ..Plan::send(0) };
    let server = world.serve(b, 80, deaf).unwrap();
    let client = world.connect(a, V4.2, Plan { finish: Finish::Stay, ..Plan::send(1_000) }).unwrap();
    world.run_for(Duration::from_secs(2));
    let handle = world.conversation(world.accepted(server)[0]).handle.unwrap();
    let now = world.now();
    let (stack, pool) = world.stack_mut(b).unwrap();
    stack.close(pool, now, handle);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.conversation(client).reason, Some(CloseReason::Reset), "{world}");
    assert_memory_returned(&mut world, &[a, b]);
}

/// Thousands of connections, 50 at a time, leave nothing behind.
#[test]
fn churn_returns_all_memory() {
    let mut world = World::new(12);
    let options = || HostOptions { limits: Limits::default(), ..HostOptions::default() };
    let a = world.host_with("a", &[V4.0], options()).unwrap();
    let b = world.host_with("b", &[V4.1], options()).unwrap();
    let lossy = Impairment { loss: 0.01, ..Impairment::latency(Duration::from_millis(1)) };
    world.cable(a, b, lossy).unwrap();
    let server = world.serve(b, 80, Plan::echo()).unwrap();
    let mut clients = Vec::new();
    for round in 0..40 {
        for number in 0..50 {
            let plan = Plan { expect: Some(1), ..Plan::send(round * number % 3_000) };
            clients.push(world.connect(a, V4.2, plan).unwrap());
        }
        world.run_for(Duration::from_secs(5));
    }
    world.run_for(Duration::from_secs(60));
    let failed = clients.iter().filter(|client| !world.conversation(**client).went_well()).count();
    assert_eq!((failed, world.accepted(server).len()), (0, 2_000), "{world}");
    assert_memory_returned(&mut world, &[a, b]);
}

#[test]
fn a_buffer_of_fixed_size_is_kept_full_by_a_user_who_writes_when_told() {
    const BUFFER: u32 = 256 * 1024;
    const BYTES: u64 = 20_000_000;
    let mut world = World::new(1);
    let mut tcp = TcpConfig::default();
    (tcp.send_buffer, tcp.receive_buffer, tcp.buffer_tuning) = (BUFFER, BUFFER, false);
    let options = || HostOptions { tcp, ..HostOptions::default() };
    let a = world.host_with("a", &[V4.0], options()).unwrap();
    let b = world.host_with("b", &[V4.1], options()).unwrap();
    let cable = Impairment { rate: Some(25_000_000), ..Impairment::latency(Duration::from_millis(50)) };
    world.cable(a, b, cable).unwrap();
    world.serve(b, 80, Plan::receive()).unwrap();
    let client = world.connect(a, V4.2, Plan::send(BYTES)).unwrap();
    assert!(world.run_until_true(Duration::from_secs(60), |world| world.conversation(client).is_over()), "{world}");
    let seconds = world.now().since(Instant::ZERO).as_micros() as f64 / 1e6;
    let share = BYTES as f64 / seconds / (f64::from(BUFFER) / 0.1);
    assert!(share > 0.85, "{share:.2} of the buffer in a round trip");
}
