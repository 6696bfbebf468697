//! The build tool of the repository: `cargo xtask setup | build | demo | test | bench | lint`.
//!
//! Every command sets up what it needs, so that a fresh clone has nothing to prepare. [`setup`] holds what comes from
//! outside (the WebAssembly target, npm and Debian packages), [`build`] the pipeline from Rust to the npm package,
//! [`suites`] the table of test suites. A step of theirs runs through [`step`], which shows progress, tells the time it
//! took, and skips it while its inputs have not changed.

mod build;
mod c_compiler;
mod counts;
mod grid;
mod licenses;
mod lint;
mod process;
mod setup;
mod step;
mod suites;
mod toolchain;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use crate::step::Steps;

/// What every command needs to know of its surroundings.
#[derive(Debug)]
pub(crate) struct Project {
    /// The repository's top folder.
    root: PathBuf,
    /// `CI=true`: packages are installed, and nothing may be skipped.
    ci: bool,
    /// Debian packages may be installed.
    install: bool,
    /// Runs commands and reports on them.
    steps: Steps,
}

impl Project {
    fn new(options: &Options) -> Result<Self> {
        let root =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?.to_path_buf();
        let ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
        let steps = Steps::new(&root)?;
        Ok(Self { root, ci, install: options.install || ci, steps })
    }
}

/// The build tool of ethertab.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Options {
    /// Install missing Debian packages (needs root; CI=true implies it)
    #[arg(long, global = true)]
    install: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Get what the build and the tests need: the wasm target, npm packages, Debian packages
    Setup,
    /// Build the wasm engine, the npm package, the page and the Linux guest
    Build {
        /// Only these parts, with what they depend on
        parts: Vec<build::Part>,
    },
    /// Set up, build, and serve the page until Ctrl-C
    Demo {
        /// The port on 127.0.0.1
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
    /// Set up, then run every test suite, or those named
    Test {
        /// Suites to run; all of them when none is named
        suites: Vec<String>,
        /// Only what fits into three minutes
        #[arg(long)]
        quick: bool,
        /// Name the suites and run nothing
        #[arg(long)]
        list: bool,
        #[command(flatten)]
        seeds: suites::Seeds,
    },
    /// Set up, build, and measure
    Bench {
        /// Only the figures whose names begin with this, as in `wasm.bulk`; `grid` compares congestion controllers instead, `flood`
        /// counts what hostile segments cost, and `forward` the packets that a stack forwards
        prefix: Option<String>,
        /// Where to write the figures as JSON [default: .build/bench.json, .build/grid.json]
        #[arg(long)]
        json: Option<PathBuf>,
        #[command(flatten)]
        grid: grid::GridOptions,
    },
    /// Check formatting, clippy, Biome and the TypeScript types
    Lint,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Project::new(&cli.options).and_then(|project| match cli.command {
        Command::Setup => setup::everything(&project).map(|()| ExitCode::SUCCESS),
        Command::Build { parts } => build::parts(&project, &parts).map(|()| ExitCode::SUCCESS),
        Command::Demo { port } => build::demo(&project, port),
        Command::Test { list: true, .. } => {
            suites::list();
            Ok(ExitCode::SUCCESS)
        }
        Command::Test { suites, quick, seeds, .. } => suites::run(&project, &suites, quick, seeds),
        Command::Bench { prefix: Some(name), json, grid } if name == "grid" => grid::bench(&project, json, &grid),
        Command::Bench { prefix: Some(name), .. } if name == "flood" => grid::flood(&project),
        Command::Bench { prefix: Some(name), json, .. } if name == "forward" => grid::forward(&project, json),
        Command::Bench { prefix, json, .. } => build::bench(&project, prefix.as_deref(), json),
        Command::Lint => lint::run(&project),
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
