//! The draft's example test cases, on a simulated path.

use super::*;
use crate::tcp::congestion::path::{Flow, MSS, Path};
use crate::tcp::congestion::{Algorithm, Controller, Variant};
use crate::time::Duration;

fn path(megabits: u64, rtt: u64, buffer: u64) -> Path {
    Path { rate: megabits * 125_000, rtt: Duration::from_millis(rtt), buffer, loses_each: 0 }
}

fn bbr(controller: &Controller) -> &Bbr {
    match &controller.variant {
        Variant::Bbr(bbr) => bbr,
        other => panic!("{other:?}"),
    }
}

/// Runs until `done`, at most for `limit`; returns how long that took.
fn run_until(flow: &mut Flow, path: &Path, limit: Duration, done: impl Fn(&Bbr) -> bool) -> Option<Duration> {
    let begin = flow.now;
    while flow.now < begin + limit {
        flow.run(path, Duration::from_millis(1));
        if done(bbr(&flow.controller)) {
            return Some(flow.now.since(begin));
        }
    }
    None
}

fn within(value: u32, percent: u64, wanted: u64) -> bool {
    u64::from(value).abs_diff(wanted) * 100 <= wanted * percent
}

#[test]
fn startup_ends_when_the_bandwidth_plateaus_and_drain_when_the_queue_is_empty() {
    let path = path(100, 40, 4_000_000);
    let mut flow = Flow::new(Algorithm::Bbr);
    let second = Duration::from_secs(1);
    let startup = run_until(&mut flow, &path, second, |bbr| bbr.state == State::Drain).expect("Startup ends");
    assert!(startup < Duration::from_millis(600), "{startup}");
    let model = &bbr(&flow.controller).model;
    assert!(model.full_bw_reached && within(model.max_bw(), 2, path.rate), "{}", model.max_bw());
    assert!(model.min_rtt < 40_500, "{}", model.min_rtt);
    let drain = run_until(&mut flow, &path, second, |bbr| bbr.state != State::Drain).expect("Drain ends");
    assert!(drain < Duration::from_millis(200), "{drain}");
    assert!(bbr(&flow.controller).state.is_probe_bw());
}

#[test]
fn probing_goes_round_the_cycle_and_finds_new_bandwidth() {
    let mut path = path(10, 40, 4_000_000);
    let mut flow = Flow::new(Algorithm::Bbr);
    flow.run(&path, Duration::from_secs(2));
    let second = Duration::from_secs(4);
    for state in [State::Cruise, State::Refill, State::Up, State::Down] {
        assert!(run_until(&mut flow, &path, second, |bbr| bbr.state == state).is_some(), "{state:?}");
    }
    path.rate *= 4;
    flow.run(&path, Duration::from_secs(12));
    let found = bbr(&flow.controller).model.max_bw();
    assert!(within(found, 5, path.rate), "{found} of {}", path.rate);
    path.rate /= 8;
    flow.run(&path, Duration::from_secs(12));
    let found = bbr(&flow.controller).model.max_bw();
    assert!(within(found, 5, path.rate), "{found} of {}", path.rate);
}

#[test]
fn the_round_trip_is_probed_every_ten_seconds_and_follows_a_longer_path() {
    let mut path = path(10, 40, 4_000_000);
    let mut flow = Flow::new(Algorithm::Bbr);
    flow.run(&path, Duration::from_secs(5));
    path.rtt = Duration::from_millis(60);
    let limit = Duration::from_secs(12);
    assert!(run_until(&mut flow, &path, limit, |bbr| bbr.state == State::ProbeRtt).is_some());
    assert!(flow.controller.cwnd() <= bbr(&flow.controller).probe_rtt_cwnd);
    let lasted = run_until(&mut flow, &path, limit, |bbr| bbr.state != State::ProbeRtt).expect("ProbeRTT ends");
    assert!((Duration::from_millis(200)..Duration::from_millis(500)).contains(&lasted), "{lasted}");
    assert_eq!(bbr(&flow.controller).state, State::Cruise);
    assert!(within(bbr(&flow.controller).model.min_rtt, 3, 60_000));
}

#[test]
fn losses_end_startup_and_bound_what_is_in_flight() {
    // A queue of a tenth of the path: doubling overflows it long before three rounds have passed.
    let path = path(100, 40, 50_000);
    let mut flow = Flow::new(Algorithm::Bbr);
    flow.run(&path, Duration::from_secs(3));
    let model = &bbr(&flow.controller).model;
    assert!(model.full_bw_reached);
    let pipe = path.rate * 40 / 1_000 + path.buffer;
    assert!(u64::from(model.inflight_longterm) <= pipe * 11 / 10, "{} of {pipe}", model.inflight_longterm);
    let outcome = flow.run(&path, Duration::from_secs(20));
    let used = outcome.delivered * u64::from(MSS) * 100 / (path.rate * 20);
    assert!(used >= 80, "{used} % {outcome:?}");
    assert!(outcome.lost * 50 < outcome.delivered, "{outcome:?}");
}

#[test]
fn one_percent_of_loss_changes_little() {
    let path = Path { loses_each: 100, ..path(10, 40, 100_000) };
    let mut flow = Flow::new(Algorithm::Bbr);
    flow.run(&path, Duration::from_secs(5));
    let outcome = flow.run(&path, Duration::from_secs(20));
    let used = outcome.delivered * u64::from(MSS) * 100 / (path.rate * 20);
    assert!(used >= 85, "{used} % {outcome:?}");
}

#[test]
fn flows_probe_at_different_times() {
    let waits: Vec<_> = (0..20)
        .map(|seed| {
            let mut bbr = Bbr::new(seed * 977, 10_000);
            bbr.begin_cycle(0);
            bbr.bw_probe_wait
        })
        .collect();
    assert!(waits.iter().all(|wait| (2_000..3_000).contains(wait)));
    assert!(waits.windows(2).any(|pair| pair[0].abs_diff(pair[1]) > 100), "{waits:?}");
}

#[test]
fn a_spurious_loss_is_forgotten() {
    let path = path(10, 40, 4_000_000);
    let mut flow = Flow::new(Algorithm::Bbr);
    flow.run(&path, Duration::from_secs(4));
    let before = *bbr(&flow.controller);
    let cwnd = flow.controller.cwnd();
    flow.controller.timeout(MSS, Seq(0), 0, false);
    assert_eq!(flow.controller.cwnd(), MSS);
    flow.controller.undo();
    let after = bbr(&flow.controller);
    assert_eq!(flow.controller.cwnd(), cwnd);
    assert_eq!((after.state, after.model.bw()), (before.state, before.model.bw()));
}
