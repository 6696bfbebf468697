//! A million damaged frames, made from recorded conversations, into a host in every stage of its connections: nothing
//! panics, no memory is kept, a connection that the frames do not belong to goes on as if nothing were, and every reason
//! to drop something was met.
//!
//! Every run prints its seed; `ETHERTAB_SEED=7 cargo test -p ethertab-sim --test bad_input` replays the run with seed 7.

mod overload;
mod scene;

use ethertab::time::Duration;
use ethertab::{CloseReason, DropReason, FrameMeta, InterfaceId, State};
use ethertab_sim::{Direction, HostId, Mutator, World};
use scene::Scene;
use std::collections::{BTreeMap, HashSet};

/// Frames in all. They are spread over the stages of the conversations.
const FRAMES: usize = 1_000_000;

/// The frames that arrive at the target in the recorded conversations.
fn corpus(seed: u64) -> Vec<Vec<u8>> {
    let Scene { mut world, target, .. } = Scene::new(seed);
    let capture = world.capture(&[target]).unwrap();
    world.run_for(Duration::from_secs(40));
    let packets = world.network().capture(capture).unwrap().packets();
    packets.filter(|packet| packet.direction == Direction::In).map(|packet| packet.bytes.to_vec()).collect()
}

/// What a frame is, as far as the mix of the corpus matters: family, protocol, and the type of ICMP messages.
fn kind(frame: &[u8]) -> (u16, u8, u8) {
    let ethertype = u16::from_be_bytes([frame[12], frame[13]]);
    let (protocol, message) = match ethertype {
        0x0800 => (frame[23], frame[34]),
        0x86dd => (frame[20], frame[54]),
        _ => return (ethertype, 0, 0),
    };
    let is_icmp = protocol == 1 || protocol == 58;
    (ethertype, protocol, if is_icmp { message } else { 0 })
}

/// The recorded frames so that each kind has its share, however much of the conversations is bulk data.
fn balanced(corpus: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut kinds: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
    for frame in corpus {
        kinds.entry(kind(&frame)).or_default().push(frame);
    }
    let expected: &[(u16, u8, u8)] = &[
        (0x0806, 0, 0),
        (0x0800, 1, 0),
        (0x0800, 1, 3),
        (0x0800, 1, 8),
        (0x0800, 6, 0),
        (0x0800, 17, 0),
        (0x86dd, 6, 0),
        (0x86dd, 17, 0),
        (0x86dd, 58, 1),
        (0x86dd, 58, 128),
        (0x86dd, 58, 129),
        (0x86dd, 58, 135),
        (0x86dd, 58, 136),
    ];
    for kind in expected {
        assert!(kinds.contains_key(kind), "nothing recorded of kind {kind:x?}: {:x?}", kinds.keys());
    }
    let most = kinds.values().map(Vec::len).max().unwrap_or(0);
    let mut frames = Vec::new();
    for (kind, recorded) in kinds {
        // TCP has the most states to get wrong, and keeps half of the frames.
        let share = if kind.1 == 6 { most } else { (most / 6).max(recorded.len().min(most / 3)) };
        frames.extend(recorded.into_iter().cycle().take(share));
    }
    frames
}

#[test]
fn a_million_damaged_frames_do_no_harm() {
    let seed = std::env::var("ETHERTAB_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}: ETHERTAB_SEED={seed} replays it");
    let corpus = balanced(corpus(seed));
    assert!(corpus.len() > 1_000, "{} frames recorded", corpus.len());

    // The recorded conversations with the same seed: the damaged frames fit the connections they meet.
    let mut recorded = Scene::new(seed);
    let (mut stages, mut states) = (Vec::new(), HashSet::new());
    for step in 0..5_000 {
        let target = recorded.world.stack(recorded.target).unwrap();
        let now: Vec<State> = target.connections().map(|info| info.state).collect();
        if now.iter().any(|state| !states.contains(state)) || [30, 100, 500, 4_999].contains(&step) {
            stages.push(recorded.world.clone());
        }
        states.extend(now);
        recorded.world.run_for(Duration::from_millis(1));
    }
    for state in scene::STATES {
        assert!(states.contains(&state), "no connection is in {state} at any stage; they are in {states:?}");
    }

    let mut mutator = Mutator::new(seed);
    let mut drops = BTreeMap::new();
    let per_stage = FRAMES / stages.len();
    for (stage, mut world) in stages.into_iter().enumerate() {
        attack(&mut world, recorded.target, &corpus, &mut mutator, per_stage, stage);
        assert!(!world.is_stuck(), "stage {stage}: {world}");
        for (reason, count) in world.stack(recorded.target).unwrap().counters().drops_by_reason() {
            *drops.entry(reason).or_insert(0) += count;
        }
        check_bystanders(world, stage, &recorded);
    }
    for (reason, count) in overload::drops(seed) {
        *drops.entry(reason).or_insert(0) += count;
    }
    println!("{drops:?}");
    let never: Vec<_> = DropReason::ALL.iter().filter(|(_, name)| drops.get(name) == Some(&0)).collect();
    assert!(never.is_empty(), "nothing was ever dropped for {never:?}");
}

/// Damaged frames into the target, while its own traffic goes on.
fn attack(world: &mut World, target: HostId, corpus: &[Vec<u8>], mutator: &mut Mutator, frames: usize, stage: usize) {
    let mut frame = Vec::new();
    let quota = ethertab::Limits::small().pool_blocks;
    for number in 0..frames {
        let original = &corpus[(number * 7 + stage) % corpus.len()];
        let other = &corpus[(number * 13 + 5) % corpus.len()];
        mutator.mutate(original, other, &mut frame);
        let now = world.now();
        let (stack, pool) = world.stack_mut(target).unwrap();
        stack.receive(pool, now, InterfaceId(0), &frame, FrameMeta::received(frame.len()));
        assert!(stack.blocks_in_use() <= quota, "stage {stage}: more blocks than the quota");
        if number % 16 == 0 {
            world.settle();
        }
        if number % 512 == 0 {
            world.run_for(Duration::from_micros(300));
        }
    }
}

/// The bystanders' connections are still there, finish with the right bytes, and at the end nothing is left of anything.
fn check_bystanders(mut world: World, stage: usize, scene: &Scene) {
    world.run_for(Duration::from_secs(5));
    for id in scene.bystanders {
        let conversation = world.conversation(id);
        let (host, handle) = (conversation.host, conversation.handle.expect("an open connection"));
        assert_eq!((conversation.received, conversation.mismatch), (40_000, None), "stage {stage}: {world}");
        let now = world.now();
        let (stack, pool) = world.stack_mut(host).unwrap();
        let mut more = [0; 1_000];
        ethertab_sim::apps::fill_pattern(1, 40_000, &mut more);
        stack.send(pool, now, handle, &more).unwrap();
        world.run_for(Duration::from_secs(5));
        let conversation = world.conversation(id);
        assert_eq!((conversation.received, conversation.mismatch), (41_000, None), "stage {stage}: {world}");
        let now = world.now();
        world.stack_mut(host).unwrap().0.shutdown(now, handle).unwrap();
        world.run_for(Duration::from_secs(5));
        let conversation = world.conversation(id);
        assert!(conversation.peer_finished, "stage {stage}: {world}");
        assert_eq!(conversation.reason, Some(CloseReason::Finished), "stage {stage}: {world}");
    }
    let hosts: Vec<HostId> = world.network().hosts().map(|(host, _)| host).collect();
    for host in hosts {
        let now = world.now();
        let (stack, pool) = world.stack_mut(host).unwrap();
        stack.close_all(pool, now);
    }
    world.run_for(Duration::from_secs(1_000));
    assert_eq!(world.network().pool().blocks_in_use(), 0, "stage {stage}: {world}");
}
