//! The points of the grid, and what can be expected at each.

use crate::contender::Contender;
use crate::path::{Flow, Path};
use ethertab::time::{Duration, Instant};
use ethertab_sim::{Impairment, Queue};
use std::fmt;
use std::str::FromStr;

/// Round trips, in milliseconds.
pub(crate) const RTTS: [u64; 4] = [1, 10, 100, 300];
/// Losses each way, in tenths of a percent.
pub(crate) const LOSSES: [u32; 7] = [0, 1, 10, 20, 50, 100, 200];
/// Buffers, in KiB.
pub(crate) const BUFFERS: [u32; 3] = [32, 256, 4_096];
/// Rates, in Mbit/s.
pub(crate) const RATES: [u64; 3] = [10, 100, 1_000];

/// Payload bytes of a full segment.
const MSS: f64 = 1_460.0;
/// Bytes after which a run ends, if it has lasted long enough.
const VOLUME: u64 = 100_000_000;
/// Virtual seconds of a run, at least and at most.
const MIN_SECONDS: f64 = 2.0;
const MAX_SECONDS: f64 = 120.0;
/// Parts of the least time, after each of which a run may end.
const STEPS: u64 = 30;
/// Round trips of a run, at least.
const MIN_ROUND_TRIPS: f64 = 60.0;

/// A path, and the buffers at its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Milliseconds.
    pub(crate) rtt: u64,
    /// Each way, in tenths of a percent.
    pub(crate) loss: u32,
    /// KiB, each of sender's and receiver's.
    pub(crate) buffer: u32,
    /// Mbit/s.
    pub(crate) rate: u64,
}

impl Point {
    /// All points, or a few that give the shape.
    pub(crate) fn all(quick: bool) -> Vec<Point> {
        let mut points = Vec::new();
        for rate in RATES {
            for buffer in BUFFERS {
                for rtt in RTTS {
                    points.extend(LOSSES.map(|loss| Point { rtt, loss, buffer, rate }));
                }
            }
        }
        if quick {
            points.retain(|point| point.rate == 100 && point.buffer != 32 && point.rtt > 1 && point.loss != 1);
        }
        points
    }

    /// The probability that a frame is lost.
    pub(crate) fn probability(&self) -> f64 {
        f64::from(self.loss) / 1_000.0
    }

    fn rtt_seconds(&self) -> f64 {
        self.rtt as f64 / 1_000.0
    }

    /// Bit/s that the path allows: the rate, a window of the buffer's size in each round trip, and the law of Mathis and others
    /// for congestion control that halves its window for a loss.
    pub(crate) fn bound(&self) -> f64 {
        let buffer = f64::from(self.buffer) * 1_024.0 * 8.0 / self.rtt_seconds();
        let law = 1.22 * MSS * 8.0 / (self.rtt_seconds() * self.probability().sqrt());
        (self.rate as f64 * 1e6).min(buffer).min(law)
    }

    /// What the cable does, in both directions. The queue holds a round trip's worth, but at least 32 frames and at most 4 MiB.
    pub(crate) fn impairment(&self) -> Impairment {
        let queue = (self.rate * 1_000_000 / 8 * self.rtt / 1_000).clamp(32 * 1_514, 4 * 1_024 * 1_024);
        Impairment {
            latency: Duration::from_micros(self.rtt * 500),
            loss: self.probability(),
            rate: Some(self.rate * 1_000_000),
            queue: Queue::Bytes(queue as u32),
            ..Impairment::PERFECT
        }
    }

    /// How long a run lasts at least, and at most.
    fn duration(&self) -> (Duration, Duration) {
        let span = |seconds: f64| Duration::from_micros((seconds * 1e6) as u64);
        let least = MIN_SECONDS.max(MIN_ROUND_TRIPS * self.rtt_seconds());
        (span(least), span(MAX_SECONDS.max(least)))
    }

    /// Goodput in bit/s over the last two thirds of the first `seconds` of a connection.
    pub(crate) fn early_goodput(&self, contender: Contender, seed: u64, seconds: u64) -> anyhow::Result<f64> {
        let flow = Flow { contender, buffer: self.buffer * 1_024, starts: Instant::ZERO, access: Duration::ZERO };
        let mut path = Path::new(seed, self.impairment(), &[flow])?;
        path.run_until(Instant::from_millis(seconds * 1_000 / 3));
        let before = path.received(0);
        path.run_until(Instant::from_secs(seconds));
        Ok((path.received(0) - before) as f64 * 8.0 / (seconds as f64 * 2.0 / 3.0))
    }

    /// Goodput in bit/s over the last two thirds of a run: the start of a connection is measured elsewhere.
    pub(crate) fn goodput(&self, contender: Contender, seed: u64) -> anyhow::Result<f64> {
        let flow = Flow { contender, buffer: self.buffer * 1_024, starts: Instant::ZERO, access: Duration::ZERO };
        let mut path = Path::new(seed, self.impairment(), &[flow])?;
        let (least, most) = self.duration();
        // Bytes received after each step: where the first third ends is known when the run does.
        let step = Duration::from_micros(least.as_micros() / STEPS);
        let mut received = vec![0];
        let mut now = Instant::ZERO;
        while now < Instant::ZERO + least || (now < Instant::ZERO + most && path.received(0) < VOLUME) {
            now += step;
            path.run_until(now);
            received.push(path.received(0));
        }
        let (steps, first) = (received.len() - 1, received.len() / 3);
        let bytes = received[steps] - received[first];
        Ok(bytes as f64 * 8e6 / (step.as_micros() * (steps - first) as u64) as f64)
    }
}

impl FromStr for Point {
    type Err = String;

    /// Mbit/s, ms, %, KiB: `100,10,0.1,256`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a point: Mbit/s,ms,%,KiB");
        let fields: Vec<f64> = text.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        match fields[..] {
            [rate, rtt, loss, buffer] if rate >= 1.0 && rtt >= 1.0 && (0.0..100.0).contains(&loss) && buffer >= 1.0 => {
                let loss = (loss * 10.0).round() as u32;
                Ok(Point { rtt: rtt as u64, loss, buffer: buffer as u32, rate: rate as u64 })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { rtt, loss, buffer, rate } = self;
        write!(f, "{rate} Mbit/s, {rtt} ms, {} %, {buffer} KiB", f64::from(*loss) / 10.0)
    }
}
