//! Two hosts, a bad cable between them, and a transfer in virtual time: what takes seconds in the world takes milliseconds
//! here, and the same seed gives the same frames, on every machine.

use std::error::Error;

use ethertab::time::{Duration, Instant};
use ethertab_sim::apps::Plan;
use ethertab_sim::{Impairment, World};

const BYTES: u64 = 5_000_000;

/// How a transfer went.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// From the first SYN until both ends have closed.
    took: Duration,
    /// Segments that the sender sent again.
    retransmits: u64,
    /// A hash over all frames, with their times.
    trace: u64,
}

fn transfer(seed: u64) -> Result<Outcome, Box<dyn Error>> {
    let mut world = World::new(seed);
    let sender = world.host("sender", &["10.0.0.1/24"])?;
    let receiver = world.host("receiver", &["10.0.0.2/24"])?;
    let latency = Impairment::latency(Duration::from_millis(40));
    world.cable(sender, receiver, Impairment { loss: 0.01, rate: Some(10_000_000), ..latency })?;

    // `Plan::receive` checks every byte against the pattern that `Plan::send` sends.
    let server = world.serve(receiver, 80, Plan::receive())?;
    let client = world.connect(sender, "10.0.0.2:80", Plan::send(BYTES))?;
    let well = world.run_until_true(Duration::from_secs(600), |world| {
        let ends = || world.accepted(server).iter().chain([&client]);
        ends().count() == 2 && ends().all(|end| world.conversation(*end).went_well())
    });
    if !well {
        return Err(world.to_string().into());
    }
    let retransmits = world.stack(sender)?.counters().tcp_retransmits;
    Ok(Outcome { took: world.now().since(Instant::ZERO), retransmits, trace: world.trace() })
}

fn main() -> Result<(), Box<dyn Error>> {
    for seed in 1..=3 {
        let outcome = transfer(seed)?;
        let seconds = outcome.took.as_micros() as f64 / 1e6;
        let goodput = BYTES as f64 * 8.0 / seconds / 1e6;
        println!(
            "seed {seed}: {BYTES} bytes in {seconds:.3} s, {goodput:.2} Mbit/s, {} segments sent again, trace {:016x}",
            outcome.retransmits, outcome.trace
        );
        assert_eq!(transfer(seed)?, outcome, "the same seed gives the same frames at the same times");
    }
    Ok(())
}
