//! `cargo xtask bench grid`: goodput against round trip, loss, buffer and rate, for each congestion controller of ours and of
//! smoltcp, in virtual time over the same cables; fairness, queueing delay, start and recovery of the controllers; and Linux to
//! Linux through the same cable in real time.
//!
//! [`path`] is the network, [`host`] what a stack has to offer ([`ours`], [`theirs`]), [`point`] a point of the grid, [`behaviour`]
//! the other experiments, [`ideal`] what a window alone would reach, [`linux`] the real one; [`results`] holds what came of them against the bars, [`report`] and [`plot`]
//! write it down.

mod behaviour;
mod contender;
mod host;
mod ideal;
#[cfg(target_os = "linux")]
mod linux;
mod ours;
mod path;
mod plot;
mod point;
mod report;
mod results;
mod stats;
mod theirs;
mod work;

use crate::contender::Contender;
use crate::point::Point;
use crate::results::{Behaviour, Cell, Results};
use crate::stats::estimate;
use clap::{Parser, ValueEnum};
use ethertab::time::Duration;
use std::fs;
use std::path::PathBuf;

/// Runs where nothing is lost at random, so that seeds change nothing but the start.
const SEEDS_WITHOUT_LOSS: u64 = 2;
/// Runs at each point of Linux, which take real time.
#[cfg(target_os = "linux")]
const LINUX_RUNS: u64 = 5;
/// Flows whose fairness is measured.
const FLOWS: [u64; 3] = [2, 8, 32];
/// What their segments are late by at random, where that is wanted.
const JITTER: Duration = Duration::from_micros(100);

/// Measures congestion controllers.
#[derive(Debug, Parser)]
struct Options {
    /// Only a few points, for the shape, in two minutes; nothing is written unless told where
    #[arg(long)]
    quick: bool,
    /// Runs for each point, each with a seed of its own [default: 20, with --quick 3]
    #[arg(long)]
    seeds: Option<u64>,
    /// Only this part
    #[arg(long)]
    part: Vec<Part>,
    /// Only this point, and the loss in percent: as in `100,10,0.1,256` for 100 Mbit/s, 10 ms, 0.1 % and 256 KiB
    #[arg(long, value_name = "MBIT,MS,LOSS,KIB")]
    point: Vec<Point>,
    /// Writes the figures as JSON into this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes GRID.md and grid/*.svg into this folder
    #[arg(long)]
    docs: Option<PathBuf>,
}

/// The parts of the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Goodput at all points.
    Grid,
    /// Fairness, queue delay, start, recovery.
    Behaviour,
    /// Linux to Linux.
    Linux,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let wanted = |part| options.part.is_empty() || options.part.contains(&part);
    let seeds = options.seeds.unwrap_or(if options.quick { 3 } else { 20 }).max(1);
    let mut results = Results { seeds, ..Results::default() };
    if wanted(Part::Grid) {
        let all = if options.point.is_empty() { Point::all(options.quick) } else { options.point.clone() };
        results.cells = grid(&all, seeds)?;
    }
    if wanted(Part::Behaviour) {
        results.behaviours = behaviours(seeds.min(if options.quick { 1 } else { 10 }))?;
    }
    if wanted(Part::Linux) && !options.quick {
        linux(&mut results, &options.point)?;
    }
    let page = report::markdown(&results)?;
    println!("{page}");
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&results.to_json())? + "\n")?;
    }
    if let Some(folder) = &options.docs {
        fs::write(folder.join("GRID.md"), page)?;
        plot::figures(&results, &folder.join("grid"))?;
    }
    Ok(())
}

fn grid(points: &[Point], seeds: u64) -> anyhow::Result<Vec<Cell>> {
    let seeds = |point: &Point| 0..if point.loss == 0 { seeds.min(SEEDS_WITHOUT_LOSS) } else { seeds };
    let cells = points.iter().flat_map(|point| Contender::all().into_iter().map(move |contender| (*point, contender)));
    let cells: Vec<_> = cells.collect();
    let runs: Vec<_> =
        cells.iter().flat_map(|(point, contender)| seeds(point).map(move |seed| (*point, *contender, seed))).collect();
    let goodputs = work::spread("grid", &runs, |(point, contender, seed)| point.goodput(*contender, *seed))?;
    let mut goodputs = goodputs.into_iter();
    let cells = cells.into_iter().map(|(point, contender)| {
        let values: Vec<f64> = seeds(&point).filter_map(|_| goodputs.next()).collect();
        Cell { point, contender, goodput: estimate(&values) }
    });
    Ok(cells.collect())
}

fn behaviours(seeds: u64) -> anyhow::Result<Vec<Behaviour>> {
    let runs: Vec<_> =
        Contender::all().into_iter().flat_map(|contender| (0..seeds).map(move |seed| (contender, seed))).collect();
    let measured = work::spread("behaviour", &runs, |&(contender, seed)| {
        let mut values = Vec::new();
        for flows in FLOWS {
            values.push(behaviour::fairness(contender, flows, seed, Duration::ZERO)?[0]);
        }
        values.extend(behaviour::fairness(contender, 2, seed, JITTER)?);
        values.push(behaviour::rtt_unfairness(contender, seed)?);
        values.extend(behaviour::queue_delay(contender, seed)?);
        values.push(behaviour::start_up(contender, seed)?.unwrap_or(f64::INFINITY));
        values.push(behaviour::recovery(contender, seed)?.unwrap_or(f64::INFINITY));
        Ok(values)
    })?;
    let all = Contender::all().into_iter().zip(measured.chunks(seeds as usize));
    let all = all.map(|(contender, runs)| {
        let column = |index: usize| estimate(&runs.iter().map(|values| values[index]).collect::<Vec<_>>());
        let [jittery, used, rtt_unfairness, queue_median, queue_95, start_up, recovery] =
            [3, 4, 5, 6, 7, 8, 9].map(column);
        let fairness = FLOWS.into_iter().enumerate().map(|(index, flows)| (flows, column(index))).collect();
        Behaviour { contender, fairness, jittery, used, rtt_unfairness, queue_median, queue_95, start_up, recovery }
    });
    Ok(all.collect())
}

#[cfg(target_os = "linux")]
fn linux(results: &mut Results, only: &[Point]) -> anyhow::Result<()> {
    use indicatif::ProgressIterator as _;
    if let Some(reason) = linux::missing() {
        eprintln!("Linux to Linux is left out: {reason}");
        results.no_linux = Some(reason.to_owned());
        return Ok(());
    }
    let points: Vec<(&str, Point)> = match only {
        [] => linux::POINTS.to_vec(),
        only => only.iter().map(|point| ("", *point)).collect(),
    };
    for (name, point) in points.into_iter().progress() {
        let values: Result<Vec<f64>, _> = (0..LINUX_RUNS).map(|seed| linux::goodput(&point, seed)).collect();
        let goodput = estimate(&values?);
        let ours =
            Contender::ours().into_iter().map(|contender| Ok((contender, early(&point, contender, results.seeds)?)));
        let ours = ours.collect::<anyhow::Result<_>>()?;
        results.linux.push(results::LinuxCell { name, point, goodput, ours });
    }
    Ok(())
}

/// What ours reaches in a run that is as short as Linux's.
#[cfg(target_os = "linux")]
fn early(point: &Point, contender: Contender, seeds: u64) -> anyhow::Result<stats::Estimate> {
    let seeds: Vec<u64> = (0..if point.loss == 0 { seeds.min(SEEDS_WITHOUT_LOSS) } else { seeds }).collect();
    let values = work::spread("linux", &seeds, |seed| point.early_goodput(contender, *seed, linux::SECONDS))?;
    Ok(estimate(&values))
}

#[cfg(not(target_os = "linux"))]
fn linux(results: &mut Results, _: &[Point]) -> anyhow::Result<()> {
    results.no_linux = Some("this is not Linux".to_owned());
    Ok(())
}
