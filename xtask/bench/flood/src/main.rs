//! `cargo xtask bench flood`: the instructions that a segment of a hostile peer costs, counted by callgrind, against how much is
//! outstanding or out of order.
//!
//! [`attack`] has the floods, [`victim`] the connection that they meet. Only [`Victim::under_attack`](victim::Victim::under_attack) is counted: a frame
//! is received, and timers that are due expire; what the stack sends for it is taken out uncounted. The program runs itself
//! under valgrind, once for each figure.

mod attack;
mod victim;

use anyhow::{Context as _, bail};
use attack::Attack;
use clap::{Parser, ValueEnum as _};
use std::process::Command;

/// Segments outstanding, or out of order. A connection has at most 4,096 outstanding, and lists at most 508 ranges that are out of order.
const SIZES: [u32; 4] = [10, 100, 1_000, 4_096];

/// Measures what floods cost.
#[derive(Debug, Parser)]
struct Options {
    /// Only runs this attack, and says of how many segments it consisted
    #[arg(long, requires = "size")]
    attack: Option<Attack>,
    /// Segments outstanding or out of order
    #[arg(long)]
    size: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let (Some(attack), Some(size)) = (options.attack, options.size) {
        println!("{}", attack::run(attack, size)?);
        return Ok(());
    }
    println!("| instructions a segment | {} |", SIZES.map(|size| size.to_string()).join(" | "));
    println!("|---|{}", "---|".repeat(SIZES.len()));
    for attack in Attack::value_variants() {
        let figures: Result<Vec<String>, _> =
            SIZES.iter().map(|&size| count(*attack, size).map(|figure| figure.to_string())).collect();
        println!("| {} | {} |", attack.description(), figures?.join(" | "));
    }
    Ok(())
}

/// The mean number of instructions for each segment of the attack.
fn count(attack: Attack, size: u32) -> anyhow::Result<u64> {
    let name = attack.to_possible_value().context("an attack has a name")?.get_name().to_owned();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*under_attack*"])
        .arg(std::env::current_exe()?)
        .args(["--attack", &name, "--size", &size.to_string()])
        .output()
        .context("cannot start valgrind")?;
    let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    let (Some((_, collected)), Ok(segments)) = (collected, text.trim().parse::<u64>()) else {
        bail!("{name} with {size} came to no end:\n{text}{log}");
    };
    Ok(collected.trim().parse::<u64>()? / segments.max(1))
}
