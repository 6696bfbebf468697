//! The trace of a stack says what happened, and says the same whenever the same happens.

use ethertab::time::Duration;
use ethertab::trace::{SendReason, TraceEvent, TraceRecord};
use ethertab::{CongestionState, Limits, State};
use ethertab_sim::apps::Plan;
use ethertab_sim::capture::Direction;
use ethertab_sim::packet::{Segment, TCP, parse_ip};
use ethertab_sim::world::HostOptions;
use ethertab_sim::{Impairment, World};

/// Each segment on the wire: when, its sequence number, bytes of payload, flags.
type Wire = Vec<(u64, u32, u32, u16)>;

/// A lossy transfer: the trace of the sender, and the segments that left it.
fn lossy_transfer(seed: u64) -> (Vec<TraceRecord>, Wire) {
    let mut world = World::new(seed);
    let mut limits = Limits::small();
    limits.trace = 100_000;
    let a = world.host_with("a", &["10.0.0.1/24"], HostOptions { limits, ..HostOptions::default() }).unwrap();
    let b = world.host("b", &["10.0.0.2/24"]).unwrap();
    world.cable(a, b, Impairment { loss: 0.03, ..Impairment::latency(Duration::from_millis(10)) }).unwrap();
    let capture = world.capture(&[a]).unwrap();
    world.serve(b, 80, Plan::receive()).unwrap();
    world.connect(a, "10.0.0.2:80", Plan::send(400_000)).unwrap();
    world.run_for(Duration::from_secs(200));
    let wire = world
        .network()
        .capture(capture)
        .unwrap()
        .packets()
        .filter(|packet| packet.direction == Direction::Out)
        .filter_map(|packet| {
            let (_, _, protocol, bytes) = parse_ip(packet.bytes)?;
            let segment = Segment::parse(bytes).filter(|_| protocol == TCP)?;
            Some((packet.time.as_micros(), segment.seq, segment.payload.len() as u32, segment.flags))
        })
        .collect();
    let (stack, _) = world.stack_mut(a).unwrap();
    let records = std::iter::from_fn(|| stack.poll_trace()).collect();
    assert_eq!(stack.trace_lost(), 0);
    (records, wire)
}

#[test]
fn a_lossy_transfer_has_the_same_trace_for_the_same_seed() {
    let (first, _) = lossy_transfer(5);
    assert!(first == lossy_transfer(5).0);
    assert!(first != lossy_transfer(6).0);
}

#[test]
fn segments_in_the_trace_are_those_on_the_wire() {
    let (records, wire) = lossy_transfer(7);
    let sent: Wire = records
        .iter()
        .filter_map(|record| match record.event {
            TraceEvent::Sent { seq, len, flags, .. } => Some((record.time.as_micros(), seq, len, flags.0)),
            _ => None,
        })
        .collect();
    assert_eq!(sent, wire);
}

#[test]
fn the_trace_tells_a_connection_from_its_begin_to_its_end() {
    let (records, _) = lossy_transfer(8);
    let states: Vec<State> = records
        .iter()
        .filter_map(|record| match record.event {
            TraceEvent::State { to, .. } => Some(to),
            _ => None,
        })
        .collect();
    use State::{Established, FinWait1, FinWait2, SynSent, TimeWait};
    assert_eq!(states, [SynSent, Established, FinWait1, FinWait2, TimeWait]);
    let count = |is_it: &dyn Fn(TraceEvent) -> bool| records.iter().filter(|record| is_it(record.event)).count();
    let reason = |wanted| count(&|event| matches!(event, TraceEvent::Sent { reason, .. } if reason == wanted));
    assert_eq!((reason(SendReason::Handshake), reason(SendReason::Reset)), (1, 0));
    assert!(reason(SendReason::NewData) >= 400_000 / 1_460);
    assert!(reason(SendReason::FastRetransmit) > 0);
    assert!(count(&|event| matches!(event, TraceEvent::Lost { .. })) > 0);
    let recovers = |event| matches!(event, TraceEvent::Recovery { to: CongestionState::Recovery, .. });
    assert!(count(&recovers) > 0);
    let acknowledged: u64 = records
        .iter()
        .map(|record| match record.event {
            TraceEvent::Received { acknowledged, .. } => u64::from(acknowledged),
            _ => 0,
        })
        .sum();
    // SYN and FIN count.
    assert_eq!(acknowledged, 400_002);
}
