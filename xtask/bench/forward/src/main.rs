//! `cargo xtask bench forward`: how many packets a second a stack forwards from one interface to another, as they are or with their addresses
//! translated, for flows that take turns.
//!
//! The packets are UDP's in the shortest Ethernet frames (60 bytes without the check sequence). Each is received in a batch of 32 and leaves with the next
//! calls of `transmit`; making the frames is not measured. Seconds are of CPU time.

use ethertab::memory::{Bucket, Link, NatFlow, NatMapping, Slot};
use ethertab::time::Instant;
use ethertab::wire::MacAddr;
use ethertab::{
    Config, Forwarding, FrameMeta, InterfaceConfig, InterfaceId, Limits, NatConfig, Pool, Stack, TableSizes,
};
use ethertab_sim::packet::{self, UDP};
use std::net::IpAddr;
use std::time::Duration;

const IN: InterfaceId = InterfaceId(0);
const OUT: InterfaceId = InterfaceId(1);
const OURS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);

/// Frames received before the stack is asked what it sends.
const BATCH: usize = 32;
/// The fewest packets between two looks at the clock.
const ROUND: usize = 10_000;
/// How long each figure is measured at least.
const SPAN: Duration = Duration::from_secs(1);
/// The most flows.
const MOST: usize = 100_000;

fn main() {
    println!("| 60-byte frames | flows | packets/s |");
    println!("|---|---|---|");
    for (name, is_ipv6, is_translated, flows) in [
        ("IPv4", false, false, 1),
        ("IPv4", false, false, MOST),
        ("IPv6", true, false, 1),
        ("IPv6", true, false, MOST),
        ("IPv4, translated", false, true, 1),
        ("IPv4, translated", false, true, 1_000),
        ("IPv4, translated", false, true, MOST),
    ] {
        println!("| {name} | {flows} | {} |", measure(is_ipv6, is_translated, flows));
    }
    let sizes = TableSizes::of(&limits());
    let flow = size_of::<Slot<NatFlow>>() + size_of::<Slot<NatMapping>>() + size_of::<Link>();
    let memory = MOST * flow + sizes.nat_buckets * size_of::<Bucket>();
    println!("\nA table of {MOST} flows: {} bytes for each.", memory / MOST);
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.nat_flows = MOST;
    limits
}

/// The time that this program has had a processor: other work on the machine does not count.
fn cpu_time() -> Duration {
    // The first field is in nanoseconds.
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells");
    Duration::from_nanos(stat.split(' ').next().and_then(|field| field.parse().ok()).expect("a number"))
}

/// Packets a second of CPU time.
fn measure(is_ipv6: bool, is_translated: bool, flows: usize) -> u64 {
    let now = Instant::from_secs(10);
    let (mut stack, mut pool) = router(now);
    if is_translated {
        let mut config = NatConfig::outside(OUT);
        config.flows_per_host = Some(u32::MAX);
        stack.set_nat(Some(config)).expect("an interface");
    }
    let frames: Vec<Vec<u8>> = (0..flows.max(ROUND)).map(|number| frame(is_ipv6, number % flows)).collect();
    let mut buf = vec![0; stack.frame_capacity(OUT)];
    let (mut sent, mut begun) = (0u64, cpu_time());
    let mut is_warm = false;
    loop {
        for batch in frames.chunks(BATCH) {
            for frame in batch {
                stack.receive(&mut pool, now, IN, frame, FrameMeta::received(frame.len()));
            }
            while stack.transmit(&mut pool, now, OUT, &mut buf).is_some() {
                sent += 1;
            }
        }
        // In the first round the flows are made.
        if !is_warm {
            assert_eq!(sent, frames.len() as u64, "all are forwarded");
            (is_warm, sent, begun) = (true, 0, cpu_time());
        } else if cpu_time() - begun >= SPAN {
            return (sent as f64 / (cpu_time() - begun).as_secs_f64()) as u64;
        }
    }
}

fn address(is_ipv6: bool, net: u8, host: u8) -> IpAddr {
    match is_ipv6 {
        true => IpAddr::from([0xfd, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]),
        false => IpAddr::from([10, net, 0, host]),
    }
}

/// A router with a neighbour on each link.
fn router(now: Instant) -> (Stack<'static>, Pool<'static>) {
    let (mut stack, mut pool) = (Stack::new(Config::new([1, 2]), limits()), Pool::new(1_024));
    for (id, mac) in [IN, OUT].into_iter().zip(OURS) {
        stack.add_interface(Instant::ZERO, InterfaceConfig::ethernet(mac)).expect("room for two interfaces");
        stack.set_forwarding(id, Forwarding::on()).expect("an interface");
        for (is_ipv6, length) in [(false, 24), (true, 64)] {
            let prefix = ethertab::Prefix::new(address(is_ipv6, id.0, 1), length).expect("a length that fits");
            stack.add_address(Instant::ZERO, id, prefix).expect("room for the addresses");
            stack.add_neighbor(&mut pool, id, address(is_ipv6, id.0, 2), THEIRS).expect("room for the neighbours");
        }
    }
    // What the addresses give rise to.
    let mut buf = vec![0; stack.frame_capacity(OUT)];
    loop {
        for id in [IN, OUT] {
            while stack.transmit(&mut pool, now, id, &mut buf).is_some() {}
        }
        if stack.next_timeout().is_none_or(|due| due > now) {
            return (stack, pool);
        }
        stack.handle_timeout(&mut pool, now);
    }
}

/// A frame of this flow.
fn frame(is_ipv6: bool, number: usize) -> Vec<u8> {
    let ports = ((1_024 + number % 50_000) as u16, (7 + number / 50_000) as u16);
    let payload = packet::udp(ports.0, ports.1, &[0; 18]);
    packet::ip_frame((THEIRS, OURS[0]), address(is_ipv6, 0, 2), address(is_ipv6, 1, 2), UDP, &payload)
}
