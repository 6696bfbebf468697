//! What was measured, and what it should have been.

use crate::contender::Contender;
use crate::ideal;
use crate::point::Point;
use crate::stats::Estimate;
use ethertab::Algorithm;
use serde_json::{Value, json};

/// Segments with timestamps carry 12 bytes less, which smoltcp does not send by default: less than this is no defeat.
const TIMESTAMPS: f64 = 0.985;
/// Losses, in tenths of a percent, up to which congestion control that halves its window for a loss has a law.
const LAWFUL: u32 = 20;

/// Goodput of one contender at one point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) point: Point,
    pub(crate) contender: Contender,
    pub(crate) goodput: Estimate,
}

/// Goodput of Linux at a named point, and of ours in runs of the same length.
#[derive(Clone, Debug)]
pub(crate) struct LinuxCell {
    pub(crate) name: &'static str,
    pub(crate) point: Point,
    pub(crate) goodput: Estimate,
    pub(crate) ours: Vec<(Contender, Estimate)>,
}

impl LinuxCell {
    pub(crate) fn of(&self, contender: Contender) -> Option<&Estimate> {
        self.ours.iter().find(|(other, _)| *other == contender).map(|(_, estimate)| estimate)
    }
}

/// How a controller behaves. Times in seconds, delays in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    pub(crate) contender: Contender,
    /// Number of flows, and Jain's index.
    pub(crate) fairness: Vec<(u64, Estimate)>,
    /// Jain's index of two flows whose segments are late by up to 0.1 ms at random, and the part of the line that they use.
    pub(crate) jittery: Estimate,
    pub(crate) used: Estimate,
    pub(crate) rtt_unfairness: Estimate,
    pub(crate) queue_median: Estimate,
    pub(crate) queue_95: Estimate,
    /// Infinite if it never happened.
    pub(crate) start_up: Estimate,
    pub(crate) recovery: Estimate,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) seeds: u64,
    pub(crate) cells: Vec<Cell>,
    pub(crate) behaviours: Vec<Behaviour>,
    pub(crate) linux: Vec<LinuxCell>,
    /// Why there is nothing of Linux.
    pub(crate) no_linux: Option<String>,
}

/// A bar, how many points were held against it, and those below.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) points: usize,
    pub(crate) below: Vec<String>,
}

impl Results {
    pub(crate) fn cell(&self, point: Point, contender: Contender) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.point == point && cell.contender == contender)
    }

    /// The bars, and where they are missed.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for contender in Contender::ours() {
            checks.push(self.bound(contender));
        }
        for theirs in Contender::all().into_iter().filter(|contender| contender.is_theirs()) {
            checks
                .extend(Algorithm::from_name(theirs.controller()).map(|ours| self.duel(Contender::Ours(ours), theirs)));
        }
        if !self.linux.is_empty() {
            checks.push(self.against_linux(Contender::Ours(Algorithm::Cubic)));
        }
        checks
    }

    fn bound(&self, contender: Contender) -> Check {
        let cells = self.cells.iter().filter(|cell| cell.contender == contender && cell.point.loss <= LAWFUL);
        let cells: Vec<_> = cells.collect();
        let below = cells.iter().filter(|cell| cell.goodput.median < 0.8 * cell.point.bound());
        let below = below.map(|cell| {
            let line = line(&cell.point, cell.goodput.median, cell.point.bound());
            match ideal::goodput(&cell.point, contender) {
                Some(ideal) => format!("{line}; its window alone: {:.2}", ideal / cell.point.bound()),
                None => line,
            }
        });
        let below = below.collect();
        Check {
            what: format!("{contender}: 0.8 of min(rate, buffer/RTT, 1.22 MSS/(RTT √p)), up to 2 % loss"),
            points: cells.len(),
            below,
        }
    }

    fn duel(&self, ours: Contender, theirs: Contender) -> Check {
        let pairs = self.cells.iter().filter(|cell| cell.contender == ours);
        let pairs: Vec<_> = pairs.filter_map(|cell| Some((cell, self.cell(cell.point, theirs)?))).collect();
        let below = pairs.iter().filter(|(our, their)| {
            our.goodput.median < TIMESTAMPS * their.goodput.median && our.goodput.high < their.goodput.low
        });
        let below = below.map(|(our, their)| line(&our.point, our.goodput.median, their.goodput.median)).collect();
        Check { what: format!("{ours}: not below {theirs}"), points: pairs.len(), below }
    }

    fn against_linux(&self, ours: Contender) -> Check {
        let pairs: Vec<_> = self.linux.iter().filter_map(|linux| Some((linux, linux.of(ours)?))).collect();
        let below = pairs.iter().filter(|(linux, our)| {
            // Above the law's losses at least as much, else at most a tenth less.
            let least = if linux.point.loss > LAWFUL { 1.0 } else { 0.9 };
            our.median < least * linux.goodput.median && our.high < linux.goodput.low
        });
        let below = below
            .map(|(linux, our)| format!("{}, {}", linux.name, line(&linux.point, our.median, linux.goodput.median)));
        let below = below.collect();
        Check {
            what: format!("{ours}: not more than a tenth below Linux CUBIC, nor below it over 2 % loss"),
            points: pairs.len(),
            below,
        }
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        let range = |estimate: &Estimate| json!([estimate.median, estimate.low, estimate.high]);
        let point = |point: &Point| {
            json!({
                "rtt_ms": point.rtt, "loss": point.probability(), "buffer_kib": point.buffer, "rate_mbit_s": point.rate,
            })
        };
        let cells = self.cells.iter().map(|cell| {
            json!({
                "point": point(&cell.point), "contender": cell.contender.to_string(),
                "bound_bit_s": cell.point.bound(), "goodput_bit_s": range(&cell.goodput),
            })
        });
        let linux = self.linux.iter().map(|cell| {
            json!({
                "name": cell.name, "point": point(&cell.point), "goodput_bit_s": range(&cell.goodput),
                "ours_bit_s": cell.ours.iter()
                    .map(|(contender, estimate)| (contender.to_string(), range(estimate)))
                    .collect::<serde_json::Map<_, _>>(),
            })
        });
        let behaviours = self.behaviours.iter().map(|behaviour| {
            let jain = behaviour.fairness.iter().map(|(flows, jain)| (flows.to_string(), range(jain)));
            json!({
                "contender": behaviour.contender.to_string(),
                "jain": jain.collect::<serde_json::Map<_, _>>(),
                "jain_2_with_jitter": range(&behaviour.jittery),
                "used_2_with_jitter": range(&behaviour.used),
                "rtt_unfairness": range(&behaviour.rtt_unfairness),
                "queue_delay_ms": range(&behaviour.queue_median),
                "queue_delay_95_ms": range(&behaviour.queue_95),
                "start_up_s": range(&behaviour.start_up),
                "recovery_s": range(&behaviour.recovery),
            })
        });
        json!({
            "seeds": self.seeds,
            "estimates": "median, and the bounds of its 95 % confidence interval",
            "grid": cells.collect::<Vec<_>>(),
            "behaviour": behaviours.collect::<Vec<_>>(),
            "linux": linux.collect::<Vec<_>>(),
        })
    }
}

fn line(point: &Point, goodput: f64, other: f64) -> String {
    let ratio = goodput / other;
    format!("{point}: {} of {} Mbit/s ({ratio:.2})", mbit(goodput), mbit(other))
}

/// Mbit/s with three digits that count.
pub(crate) fn mbit(bits: f64) -> String {
    let value = bits / 1e6;
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
