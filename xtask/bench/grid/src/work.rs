//! Spreads independent runs over the processors, and shows how far it is.

use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does `job` for each of `inputs`; the results are in the order of the inputs.
pub(crate) fn spread<I: Sync, R: Send>(
    what: &str,
    inputs: &[I],
    job: impl Fn(&I) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let style = ProgressStyle::with_template("{prefix:12} {wide_bar} {pos}/{len} runs, {eta} left")?;
    let bar = ProgressBar::new(inputs.len() as u64).with_style(style).with_prefix(what.to_owned());
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let worker = || -> anyhow::Result<()> {
        while let Some((index, input)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            inputs.get(index).map(|input| (index, input))
        } {
            let result = job(input)?;
            results.lock().map_err(|_| anyhow::anyhow!("another worker panicked"))?.push((index, result));
            bar.inc(1);
        }
        Ok(())
    };
    let workers = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a run panicked"))?)
    })?;
    bar.finish_and_clear();
    let mut results = results.into_inner().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
