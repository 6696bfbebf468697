//! The results as a page of Markdown.

use crate::contender::Contender;
use crate::point::{BUFFERS, LOSSES, Point, RATES, RTTS};
use crate::results::{Results, mbit};
use crate::stats::Estimate;
use std::fmt::Write as _;

/// What stands before the figures.
const INTRODUCTION: &str = "\
# Congestion controllers on a grid of paths

    cargo xtask bench grid             this page and its figures (about 15 minutes on two processors)
    cargo xtask bench grid --quick     a few points, printed only (two minutes)

Two hosts send over one cable of `ethertab-sim` in virtual time, ours with each of its controllers and smoltcp 0.14 with Reno and
with CUBIC, on the same cables with the same seeds. Loss is random, each way. The queue in front of the cable holds a round
trip's worth, at least 32 frames and at most 4 MiB; both ends have send and receive buffers of the size given, and
applications that never let them wait. Goodput counts what the receiving application reads in the last two thirds of a run,
which lasts until 100 MB are carried, at least 60 round trips and 2 s, at most 120 s of virtual time. A value is the
median over the seeds, with the 95 % confidence interval of the median by order statistics. Where nothing is lost at random, seeds
make no difference and two are run. The program is [`xtask/bench/grid`](../xtask/bench/grid).
";

/// What keeps the figures below their bars.
const REASONS: &str = "\
Where the law meets the rate, their minimum is more than a window reaches that is halved for a loss: it oscillates, and what waits in the
queue while it is above the path's content does not make good what it lacks below. What stands last in a line is what such a window would
reach without anything else: whole segments (of seven, three remain, as in Linux), a round trip to repair a loss, no timeouts, nothing
lost on the way back (`ideal.rs`). The rest is timeouts of at least 200 ms, which are two hundred round trips of a millisecond. They come where a
retransmission is lost and nothing tells: with buffers of 32 KiB, which are 22 segments, all there is was sent already and lies behind the hole, and
with larger ones the window may be spent on a few segments whose one ACK (those out of order share them, as in Linux) is lost too. Tails are
not probed in recovery (RFC 8985 §7.2). Linux is further below at such points: `--part linux --point 10,10,2,256` measures it.";

/// What the shares of two flows depend on.
const SHARES: &str = "\
Two flows of CUBIC are long in coming to equal shares: the first has the path when the second starts, and with windows of hundreds of
segments it is seconds until the next loss lets both move. Where nothing is random, a full queue also drops the same flow's segments again and
again (Floyd and Jacobson's phase effects): segments that are late by up to 0.1 ms at random, as on any real path, share better. How much of
the line two such flows use stands beside that: flows that leave it idle share well, too.";

pub(crate) fn markdown(results: &Results) -> anyhow::Result<String> {
    let mut page = String::from(INTRODUCTION);
    writeln!(page, "\nThese figures are of {} seeds a point.", results.seeds)?;
    checks(&mut page, results)?;
    behaviours(&mut page, results)?;
    linux(&mut page, results)?;
    grid(&mut page, results)?;
    Ok(page)
}

fn checks(page: &mut String, results: &Results) -> anyhow::Result<()> {
    writeln!(page, "\n## Bars\n")?;
    for check in results.checks() {
        let reached = check.points - check.below.len();
        writeln!(page, "- {}: {reached} of {} points.", check.what, check.points)?;
        for line in &check.below {
            writeln!(page, "  - below: {line}")?;
        }
    }
    if results.checks().iter().any(|check| !check.below.is_empty()) {
        writeln!(page, "\n{REASONS}")?;
    }
    writeln!(
        page,
        "\nsmoltcp sends no timestamps by default, so that its full segments carry 0.8 % more: 1.5 % less is no defeat, nor is a"
    )?;
    writeln!(page, "difference within both intervals.")?;
    Ok(())
}

fn behaviours(page: &mut String, results: &Results) -> anyhow::Result<()> {
    if results.behaviours.is_empty() {
        return Ok(());
    }
    writeln!(page, "\n## Sharing, waiting, starting, recovering\n")?;
    writeln!(
        page,
        "A bottleneck of 100 Mbit/s and buffers of 4 MiB. Jain's index (1: all have the same) of flows with 40 ms over 40 s, a"
    )?;
    writeln!(
        page,
        "round trip's worth of queue; RTT-unfairness: how many times as much a flow with 20 ms gets as one with 80 ms; queue delay of a"
    )?;
    writeln!(
        page,
        "flow with 40 ms in a queue of four round trips; start: from the SYN until a round trip of 100 ms brings nine tenths of the rate;"
    )?;
    writeln!(
        page,
        "recovery: from the loss of ten segments in a row until ten round trips of 40 ms begin each of which brings nine tenths of what they did\nbefore, with a window of 512 KiB.\n"
    )?;
    let flows: Vec<_> = results.behaviours[0].fairness.iter().map(|(flows, _)| flows).collect();
    let jain: String = flows.iter().map(|flows| format!(" Jain, {flows} flows |")).collect();
    writeln!(
        page,
        "| controller |{jain} 2 with jitter | of the line | RTT-unfairness | queue delay, median | 95 % | start | recovery |"
    )?;
    writeln!(page, "|---|{}---|---|---|---|---|---|---|", "---|".repeat(flows.len()))?;
    for behaviour in &results.behaviours {
        write!(page, "| {} |", behaviour.contender)?;
        for (_, jain) in &behaviour.fairness {
            write!(page, " {} |", range(jain, |value| format!("{value:.3}")))?;
        }
        let seconds = |value: f64| if value.is_finite() { format!("{value:.2} s") } else { "never".to_owned() };
        let millis = |value: f64| format!("{value:.1} ms");
        write!(page, " {} |", range(&behaviour.jittery, |value| format!("{value:.3}")))?;
        write!(page, " {} |", range(&behaviour.used, |value| format!("{:.1} %", 100.0 * value)))?;
        write!(page, " {} |", range(&behaviour.rtt_unfairness, |value| format!("{value:.2}")))?;
        write!(page, " {} | {} |", range(&behaviour.queue_median, millis), range(&behaviour.queue_95, millis))?;
        writeln!(page, " {} | {} |", range(&behaviour.start_up, seconds), range(&behaviour.recovery, seconds))?;
    }
    writeln!(page, "\n{SHARES}")?;
    Ok(())
}

fn linux(page: &mut String, results: &Results) -> anyhow::Result<()> {
    writeln!(page, "\n## Linux to Linux\n")?;
    if results.linux.is_empty() {
        let reason = results.no_linux.as_deref().unwrap_or("it was left out");
        writeln!(page, "Not measured: {reason}.")?;
        return Ok(());
    }
    writeln!(
        page,
        "Two network namespaces, a TAP device in each, and the same cable between them in real time: Linux's CUBIC, runs of 9 s of"
    )?;
    writeln!(
        page,
        "which the last 6 s count, five of them. Ours in virtual time, over as long and with all seeds: with losses at 100 ms and more the first\nslow start counts for much in so short a run, which the grid below leaves out. Mbit/s.\n"
    )?;
    let ours = Contender::ours();
    let names: String = ours.iter().map(|contender| format!(" {contender} |")).collect();
    writeln!(page, "| point | path | Linux CUBIC |{names}")?;
    writeln!(page, "|---|---|---|{}", "---|".repeat(ours.len()))?;
    for cell in &results.linux {
        write!(page, "| {} | {} | {} |", cell.name, cell.point, range(&cell.goodput, mbit))?;
        for contender in &ours {
            match cell.of(*contender) {
                Some(our) => write!(page, " {} |", range(our, mbit))?,
                None => write!(page, " |")?,
            }
        }
        writeln!(page)?;
    }
    Ok(())
}

fn grid(page: &mut String, results: &Results) -> anyhow::Result<()> {
    writeln!(page, "\n## The grid\n\nMbit/s.")?;
    let contenders = Contender::all();
    for rate in RATES {
        if !results.cells.iter().any(|cell| cell.point.rate == rate) {
            continue;
        }
        writeln!(page, "\n### {rate} Mbit/s\n\n![Goodput against loss at {rate} Mbit/s](grid/{rate}-mbit.svg)")?;
        for buffer in BUFFERS {
            let names: String = contenders.iter().map(|contender| format!(" {contender} |")).collect();
            let mut table = format!("\nBuffers of {buffer} KiB:\n\n| RTT | loss | bound |{names}\n");
            writeln!(table, "|---|---|---|{}", "---|".repeat(contenders.len()))?;
            let mut any = false;
            for (rtt, loss) in RTTS.into_iter().flat_map(|rtt| LOSSES.map(|loss| (rtt, loss))) {
                let point = Point { rtt, loss, buffer, rate };
                if results.cell(point, contenders[0]).is_none() {
                    continue;
                }
                any = true;
                write!(table, "| {rtt} ms | {} % | {} |", f64::from(loss) / 10.0, mbit(point.bound()))?;
                for contender in &contenders {
                    let cell = results.cell(point, *contender);
                    write!(table, " {} |", cell.map_or(String::new(), |cell| range(&cell.goodput, mbit)))?;
                }
                writeln!(table)?;
            }
            if any {
                page.push_str(&table);
            }
        }
    }
    Ok(())
}

/// A median with its interval, if that has a width.
fn range(estimate: &Estimate, text: impl Fn(f64) -> String) -> String {
    let [median, low, high] = [estimate.median, estimate.low, estimate.high].map(text);
    if low == high { median } else { format!("{median} ({low}–{high})") }
}
