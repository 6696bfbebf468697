//! What goodput does not tell of a controller: whether it shares, how long it makes others wait, how it starts and recovers.

use crate::contender::Contender;
use crate::path::{Flow, Path};
use crate::stats::{jain, quantile};
use ethertab::time::{Duration, Instant};
use ethertab_sim::{Impairment, Queue};

/// Bytes of send and of receive buffer.
const BUFFER: u32 = 4 * 1_024 * 1_024;
/// Bit/s of the bottleneck.
const RATE: u64 = 100_000_000;

/// A path of 100 Mbit/s with a queue of so many round trips' worth.
fn path(seed: u64, rtt_millis: u64, queue: f64, flows: &[Flow]) -> anyhow::Result<Path> {
    jittery_path(seed, rtt_millis, queue, Duration::ZERO, flows)
}

fn jittery_path(seed: u64, rtt_millis: u64, queue: f64, jitter: Duration, flows: &[Flow]) -> anyhow::Result<Path> {
    let bytes = (RATE / 8 * rtt_millis / 1_000) as f64 * queue;
    let latency = Duration::from_micros(rtt_millis * 500);
    let queue = Queue::Bytes(bytes as u32);
    Path::new(seed, Impairment { rate: Some(RATE), queue, jitter, ..Impairment::latency(latency) }, flows)
}

fn flow(contender: Contender, starts: Instant) -> Flow {
    Flow { contender, buffer: BUFFER, starts, access: Duration::ZERO }
}

/// Times at which flows start, within the first second: the seed's only effect where nothing is lost at random.
fn start(seed: u64, flow: u64) -> Instant {
    let mixed = (seed << 8 | flow).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Instant::from_micros(mixed % 1_000_000)
}

/// Bit/s of each flow between two times, in seconds.
fn goodputs(path: &mut Path, flows: usize, from: u64, to: u64) -> Vec<f64> {
    path.run_until(Instant::from_secs(from));
    let before: Vec<u64> = (0..flows).map(|flow| path.received(flow)).collect();
    path.run_until(Instant::from_secs(to));
    (0..flows).map(|flow| (path.received(flow) - before[flow]) as f64 * 8.0 / (to - from) as f64).collect()
}

/// Jain's index of `flows` flows with a round trip of 40 ms over one bottleneck, over 40 s after 20 s to find their shares; and the part
/// of its rate that they have together. `jitter` keeps queues from dropping the same flow's frames again and again, as they do where nothing
/// is random.
pub(crate) fn fairness(contender: Contender, flows: u64, seed: u64, jitter: Duration) -> anyhow::Result<[f64; 2]> {
    let all: Vec<Flow> = (0..flows).map(|number| flow(contender, start(seed, number))).collect();
    let mut path = jittery_path(seed, 40, 1.0, jitter, &all)?;
    let shares = goodputs(&mut path, all.len(), 20, 60);
    Ok([jain(&shares), shares.iter().sum::<f64>() / RATE as f64])
}

/// How many times as much the flow with 20 ms gets as one with 80 ms.
pub(crate) fn rtt_unfairness(contender: Contender, seed: u64) -> anyhow::Result<f64> {
    let near = flow(contender, start(seed, 0));
    let far = Flow { access: Duration::from_millis(30), ..flow(contender, start(seed, 1)) };
    let mut path = path(seed, 20, 2.0, &[near, far])?;
    let shares = goodputs(&mut path, 2, 20, 60);
    Ok(shares[0] / shares[1].max(1.0))
}

/// Milliseconds that data waits in a queue of four round trips of 40 ms: the median, and what one frame in 20 exceeds.
pub(crate) fn queue_delay(contender: Contender, seed: u64) -> anyhow::Result<[f64; 2]> {
    let mut path = path(seed, 40, 4.0, &[flow(contender, start(seed, 0))])?;
    path.run_until(Instant::from_secs(10));
    path.delays = Some(Vec::new());
    path.run_until(Instant::from_secs(40));
    let mut delays: Vec<f64> =
        path.delays.take().unwrap_or_default().iter().map(|micros| f64::from(*micros) / 1e3).collect();
    delays.sort_by(f64::total_cmp);
    Ok([quantile(&delays, 0.5), quantile(&delays, 0.95)])
}

/// Seconds from the SYN until a round trip of 100 ms brings nine tenths of 100 Mbit/s; `None` if that takes over a minute.
pub(crate) fn start_up(contender: Contender, seed: u64) -> anyhow::Result<Option<f64>> {
    let begins = start(seed, 0);
    let mut path = path(seed, 100, 1.0, &[flow(contender, begins)])?;
    path.run_until(begins);
    let rate = 0.9 * RATE as f64 * PAYLOAD;
    // Most need a second or two: a minute is simulated only for those that do not.
    for time in [3, 57].map(Duration::from_secs) {
        let windows = windows(&mut path, Duration::from_millis(100), time);
        if let Some((end, _)) = windows.into_iter().find(|(_, goodput)| *goodput >= rate) {
            return Ok(Some(end.since(begins).as_micros() as f64 / 1e6));
        }
    }
    Ok(None)
}

/// Seconds from the loss of ten segments in a row until ten round trips of 40 ms begin each of which brings nine tenths of what
/// they did before; `None` if that is over 20 s. The window is the buffer's, 512 KiB: the path and its queue hold more.
pub(crate) fn recovery(contender: Contender, seed: u64) -> anyhow::Result<Option<f64>> {
    let begins = start(seed, 0);
    let mut path = path(seed, 40, 1.0, &[Flow { buffer: 512 * 1_024, ..flow(contender, begins) }])?;
    path.run_until(Instant::from_secs(10));
    let before = path.received(0);
    path.run_until(Instant::from_secs(12));
    let rate = (path.received(0) - before) as f64 * 8.0 / 2.0;
    path.drop_next = 10;
    let lost = path.now();
    let windows = windows(&mut path, Duration::from_millis(40), Duration::from_secs(20));
    let is_back = |stretch: &[(Instant, f64)]| stretch.iter().all(|(_, goodput)| *goodput >= 0.9 * rate);
    // Later dips, such as BBR's probes of the round trip, are not the loss's.
    let back = windows.windows(STABLE).find(|stretch| is_back(stretch));
    Ok(back.map(|stretch| stretch[0].0.since(lost).as_micros() as f64 / 1e6))
}

/// Windows of goodput, 5 ms apart, in ten round trips of 40 ms.
const STABLE: usize = 80;

/// The part of the rate that is payload, of a segment with timestamps.
const PAYLOAD: f64 = 1_448.0 / 1_514.0;

/// Lets `time` pass. Bit/s in each `span` of it, and when the span ended; spans begin 5 ms apart.
fn windows(path: &mut Path, span: Duration, time: Duration) -> Vec<(Instant, f64)> {
    let step = Duration::from_millis(5);
    let steps = (span.as_micros() / step.as_micros()) as usize;
    let mut received = vec![path.received(0)];
    let mut windows = Vec::new();
    for _ in 0..time.as_micros() / step.as_micros() {
        let now = path.now() + step;
        path.run_until(now);
        received.push(path.received(0));
        if let [first, .., last] = received[received.len().saturating_sub(steps + 1)..]
            && received.len() > steps
        {
            windows.push((now, (last - first) as f64 * 8e6 / span.as_micros() as f64));
        }
    }
    windows
}
