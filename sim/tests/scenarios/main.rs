//! Scenarios: from each seed a network (hosts, switches, cables, a middlebox), weather (loss, bursts, reordering, black-outs...)
//! and applications that send, read slowly, half-close and abort. Whatever comes together, this must hold:
//!
//! - the bytes that arrive are the bytes that were sent;
//! - every connection ends, and as its applications and the weather let it;
//! - on the wire nothing is sent again that was acknowledged, nothing beyond the window that was offered, and no window
//!   shrinks ([`observer`]);
//! - when all is over, all memory is back;
//! - the same seed gives the same frames, byte for byte.
//!
//! `ETHERTAB_SEEDS=n` runs so many seeds, `ETHERTAB_SEED=n` that one alone and shows what it is made of
//! (`cargo xtask test scenarios --seeds n`, `--seed n`); `ETHERTAB_PCAPNG=file` keeps a capture of it.

mod dice;
mod hosts;
mod observer;
mod rules;
mod run;
mod scenario;
mod scene;
mod talks;
mod weather;

use run::Report;
use scenario::Scenario;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;

/// Seeds if none are asked for.
const SEEDS: u64 = 2_000;
/// The same with `ETHERTAB_QUICK`.
const QUICK_SEEDS: u64 = 240;
/// Tests that share the seeds, to run side by side.
const CHUNKS: u64 = 8;
/// One seed in so many runs twice.
const REPEATED: u64 = 16;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// Runs a seed; says what is wrong if something is.
fn run(seed: u64) -> Result<Report, String> {
    let once = || panic::catch_unwind(|| run::run(&Scenario::new(seed))).unwrap_or_else(|_| Err("it panicked".into()));
    let report = once()?;
    if seed.is_multiple_of(REPEATED) && once()?.trace != report.trace {
        return Err("the second run had other frames than the first".into());
    }
    Ok(report)
}

fn run_chunk(chunk: u64) {
    if let Some(seed) = number("ETHERTAB_SEED") {
        if chunk == 0 {
            run_alone(seed);
        }
        return;
    }
    let quick = env::var_os("ETHERTAB_QUICK").is_some();
    let seeds = number("ETHERTAB_SEEDS").unwrap_or(if quick { QUICK_SEEDS } else { SEEDS });
    let (mut sum, mut failed) = (Report::default(), Vec::new());
    for seed in (chunk..seeds).step_by(CHUNKS as usize) {
        match run(seed) {
            Ok(report) => sum += report,
            Err(error) => {
                println!("seed {seed}: {error}\n  to replay: cargo xtask test scenarios --seed {seed}");
                failed.push(seed);
            }
        }
    }
    println!("{sum}");
    // Where the weather excuses a connection that fails, the others still must not.
    assert!(sum.talks < 500 || sum.complete * 100 > sum.talks * 75, "{sum}");
    assert!(failed.is_empty(), "{} seeds failed: {failed:?}", failed.len());
}

fn run_alone(seed: u64) {
    let scenario = Scenario::new(seed);
    println!("{scenario}");
    let file = env::var_os("ETHERTAB_PCAPNG").map(PathBuf::from);
    match panic::catch_unwind(AssertUnwindSafe(|| run::run_captured(&scenario, file.as_deref()))) {
        Ok(Ok(report)) => println!("{report}"),
        Ok(Err(error)) => panic!("seed {seed}: {error}"),
        Err(panic) => panic::resume_unwind(panic),
    }
}

macro_rules! chunks {
    ($($name:ident: $chunk:literal;)*) => {$(
        #[test]
        fn $name() {
            run_chunk($chunk);
        }
    )*};
}

chunks! {
    seeds_0_modulo_8: 0;
    seeds_1_modulo_8: 1;
    seeds_2_modulo_8: 2;
    seeds_3_modulo_8: 3;
    seeds_4_modulo_8: 4;
    seeds_5_modulo_8: 5;
    seeds_6_modulo_8: 6;
    seeds_7_modulo_8: 7;
}
