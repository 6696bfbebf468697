//! Benchmarks that are native programs of their own: `cargo xtask bench grid`, congestion controllers on a grid of paths, and
//! `cargo xtask bench flood`, what a hostile peer's segments cost, and `cargo xtask bench forward`, packets forwarded.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::Project;
use crate::build;
use crate::toolchain::cargo;

/// What of the grid is measured.
#[derive(Debug, Args)]
pub(crate) struct GridOptions {
    /// grid: only a few points, for the shape, and nothing written to docs
    #[arg(long)]
    quick: bool,
    /// grid: runs for each point [default: 20]
    #[arg(long)]
    seeds: Option<u64>,
    /// grid: only this part; nothing is written to docs then
    #[arg(long, value_parser = ["grid", "behaviour", "linux"])]
    part: Option<String>,
}

/// Builds the program, and lets it measure: the page `docs/GRID.md`, its figures, and the same as JSON.
pub(crate) fn bench(project: &Project, json: Option<PathBuf>, options: &GridOptions) -> Result<ExitCode> {
    let json = std::path::absolute(json.unwrap_or_else(|| PathBuf::from(".build/grid.json")))?;
    let mut program = program(project, "ethertab-bench-grid");
    program.arg("--json").arg(json);
    if options.quick {
        program.arg("--quick");
    }
    if let Some(part) = &options.part {
        program.args(["--part", part]);
    }
    if let Some(seeds) = options.seeds {
        program.args(["--seeds", &seeds.to_string()]);
    }
    if !options.quick && options.part.is_none() {
        program.args(["--docs", "docs"]);
    }
    run(program)
}

/// `cargo xtask bench flood`: the instructions that a hostile peer's segments cost, by the program `xtask/bench/flood` under valgrind.
pub(crate) fn flood(project: &Project) -> Result<ExitCode> {
    run(program(project, "ethertab-bench-flood"))
}

/// `cargo xtask bench forward`: packets a second that a stack forwards and translates, by the program `xtask/bench/forward`: natively with
/// Linux beside it, then in WebAssembly.
pub(crate) fn forward(project: &Project, json: Option<PathBuf>) -> Result<ExitCode> {
    let native = run(program(project, "ethertab-bench-forward"))?;
    let wasm = build::programs(project, Some("wasm.forward."), json)?;
    Ok(if native == ExitCode::SUCCESS { wasm } else { native })
}

/// A program of the workspace `xtask/bench` that runs natively.
fn program(project: &Project, package: &str) -> Command {
    let mut program = Command::new(cargo());
    program
        .current_dir(&project.root)
        // Beside the other benchmark programs, with which it shares no dependencies.
        .env("CARGO_TARGET_DIR", project.root.join(".build/bench/target/grid"))
        .args(["run", "--release", "--quiet", "--locked", "--manifest-path", "xtask/bench/Cargo.toml"])
        .args(["--package", package, "--"]);
    program
}

/// It takes over the terminal, for its progress and its tables.
fn run(mut program: Command) -> Result<ExitCode> {
    let status = program.status().context("cannot start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
