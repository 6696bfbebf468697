//! A million damaged frames, made from recorded conversations, into a host in every stage of its connections: nothing
//! panics, no memory is kept, and a connection that the frames do not belong to goes on as if nothing were.

use ethertab::time::Duration;
use ethertab::{FrameMeta, InterfaceId};
use ethertab_sim::apps::{ConversationId, Finish, Plan, Reading};
use ethertab_sim::world::HostOptions;
use ethertab_sim::{Direction, HostId, Impairment, Mutator, World};

/// Frames in all. They are spread over the stages of the conversations.
const FRAMES: usize = 1_000_000;

struct Scene {
    world: World,
    target: HostId,
    /// A connection between the target and a host of which the damaged frames know nothing.
    bystanders: [ConversationId; 2],
}

/// A host under attack, one whose conversations with it are recorded, and a bystander far away in the address space.
fn scene(seed: u64) -> Scene {
    let mut world = World::new(seed);
    let switch = world.switch("switch");
    let mut host = |name: &str, addresses: &[&str]| {
        let host = world.host_with(name, addresses, HostOptions::default()).unwrap();
        world.cable(host, switch, Impairment::latency(Duration::from_millis(2))).unwrap();
        host
    };
    let peer = host("peer", &["10.0.0.1/8", "fd00::1/64"]);
    let target = host("target", &["10.0.0.2/8", "fd00::2/64"]);
    let bystander = host("bystander", &["10.171.93.214/8", "fd00::a5a5:5a5a:c3c3:3c3c/64"]);

    world.serve(target, 9, Plan { finish: Finish::Stay, ..Plan::echo() }).unwrap();
    let far =
        world.connect(bystander, "10.0.0.2:9", Plan { finish: Finish::Stay, expect: Some(1), ..Plan::send(40_000) });
    let near =
        world.connect(bystander, "[fd00::2]:9", Plan { finish: Finish::Stay, expect: Some(1), ..Plan::send(40_000) });
    world.run_for(Duration::from_secs(20));

    let slow = Reading::Paced { bytes: 700, every: Duration::from_millis(3) };
    world.serve(target, 80, Plan { send: 30_000, ..Plan::receive() }).unwrap();
    world.serve(target, 81, Plan { reading: slow, ..Plan::receive() }).unwrap();
    world.serve(target, 82, Plan { reading: Reading::Never, finish: Finish::Stay, ..Plan::receive() }).unwrap();
    world.serve(target, 83, Plan { send: 5_000, finish: Finish::Close, ..Plan::receive() }).unwrap();
    for address in ["10.0.0.2", "[fd00::2]"] {
        for port in [80, 81, 82, 83, 84] {
            world.connect(peer, &format!("{address}:{port}"), Plan::send(60_000)).unwrap();
        }
    }
    for address in ["10.0.0.1:80", "[fd00::1]:80", "10.0.0.1:99", "10.0.0.5:80"] {
        world.serve(peer, 80, Plan::echo()).ok();
        world.connect(target, address, Plan::send(20_000)).unwrap();
    }
    Scene { world, target, bystanders: [far.unwrap(), near.unwrap()] }
}

/// The frames that arrive at the target in the recorded conversations.
fn corpus() -> Vec<Vec<u8>> {
    let Scene { mut world, target, .. } = scene(1);
    let capture = world.capture(&[target]).unwrap();
    world.run_for(Duration::from_secs(40));
    let packets = world.network().capture(capture).unwrap().packets();
    packets.filter(|packet| packet.direction == Direction::In).map(|packet| packet.bytes.to_vec()).collect()
}

#[test]
fn a_million_damaged_frames_do_no_harm() {
    let corpus = corpus();
    assert!(corpus.len() > 300, "{} frames recorded", corpus.len());
    // The recorded conversations with the same seed: the damaged frames fit the connections they meet.
    let mut stages = Vec::new();
    let mut recorded = scene(1);
    for millis in [0, 1, 3, 5, 8, 13, 30, 100, 500, 5_000] {
        recorded.world.run_for(Duration::from_millis(millis));
        stages.push(recorded.world.clone());
    }
    let mut mutator = Mutator::new(7);
    let mut frame = Vec::new();
    let per_stage = FRAMES / stages.len();
    let (mut most_blocks, quota) = (0, ethertab::Limits::small().pool_blocks);
    for (stage, mut world) in stages.into_iter().enumerate() {
        for number in 0..per_stage {
            let original = &corpus[(number * 7 + stage) % corpus.len()];
            let other = &corpus[(number * 13 + 5) % corpus.len()];
            mutator.mutate(original, other, &mut frame);
            let now = world.now();
            let (stack, pool) = world.stack_mut(recorded.target).unwrap();
            stack.receive(pool, now, InterfaceId(0), &frame, FrameMeta::received(frame.len()));
            if number % 16 == 0 {
                world.settle();
            }
            if number % 512 == 0 {
                world.run_for(Duration::from_micros(300));
            }
            most_blocks = most_blocks.max(world.stack(recorded.target).unwrap().blocks_in_use());
        }
        assert!(!world.is_stuck(), "stage {stage}: {world}");
        assert!(most_blocks <= quota, "stage {stage}: {most_blocks} blocks");
        check_bystanders(world, stage, &recorded);
    }
}

/// The bystanders' connections are still there, still work, and at the end nothing is left of anything.
fn check_bystanders(mut world: World, stage: usize, scene: &Scene) {
    world.run_for(Duration::from_secs(5));
    for id in scene.bystanders {
        let conversation = world.conversation(id);
        assert_eq!((conversation.received, conversation.mismatch), (40_000, None), "stage {stage}: {world}");
        let (host, handle) = (conversation.host, conversation.handle.unwrap());
        let now = world.now();
        let (stack, pool) = world.stack_mut(host).unwrap();
        stack.send(pool, now, handle, &[0; 1_000]).unwrap();
        world.run_for(Duration::from_secs(5));
        assert_eq!(world.conversation(id).received, 41_000, "stage {stage}: {world}");
    }
    let hosts: Vec<HostId> = world.network().hosts().map(|(host, _)| host).collect();
    for host in hosts {
        let now = world.now();
        let (stack, pool) = world.stack_mut(host).unwrap();
        let handles: Vec<_> = stack.connections().filter_map(|info| info.handle).collect();
        handles.into_iter().for_each(|handle| stack.abort(pool, now, handle));
    }
    world.run_for(Duration::from_secs(1_000));
    assert_eq!(world.network().pool().blocks_in_use(), 0, "stage {stage}: {world}");
}
