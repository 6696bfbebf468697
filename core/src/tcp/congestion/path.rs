//! A path for the tests of controllers: one flow through a bottleneck with a queue that drops what does not fit. Segments arrive in
//! order, each is acknowledged, and a lost one is noticed when the next one is acknowledged.

use std::collections::VecDeque;

use super::{AckSample, Algorithm, Cause, Controller, Sent};
use crate::config::TcpConfig;
use crate::tcp::pacing::Pacing;
use crate::tcp::rate::{Newest, Rate, Stamp, clock};
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};

pub(super) const MSS: u32 = 1_000;

pub(super) struct Path {
    /// Bytes a second of the bottleneck.
    pub(super) rate: u64,
    /// The round trip without the queue.
    pub(super) rtt: Duration,
    /// Bytes that the queue holds.
    pub(super) buffer: u64,
    /// Of so many segments one is lost besides, 0 for none.
    pub(super) loses_each: u64,
}

struct Segment {
    sent: Instant,
    stamp: Stamp,
    /// When its acknowledgment arrives, if it is not lost.
    acked: Option<Instant>,
}

/// What came of a flow.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) delivered: u64,
    pub(super) lost: u64,
    /// The queueing delay, averaged over segments.
    pub(super) queueing: Duration,
}

/// A flow that always has something to send.
pub(super) struct Flow {
    pub(super) controller: Controller,
    pub(super) now: Instant,
    rates: Rate,
    pacing: Pacing,
    flight: VecDeque<Segment>,
    /// When the bottleneck has sent what it holds, in nanoseconds.
    busy_until: u64,
    nxt: u64,
    recovery_until: Option<u64>,
    limited: bool,
    srtt: Duration,
}

impl Flow {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let config = TcpConfig { congestion: algorithm, ..TcpConfig::default() };
        let mut controller = Controller::NEW;
        controller.begin(&config, MSS, 10, Seq(7));
        Flow {
            controller,
            now: Instant::from_secs(1),
            rates: Rate::NEW,
            pacing: Pacing::NEW,
            flight: VecDeque::new(),
            busy_until: 0,
            nxt: 0,
            recovery_until: None,
            limited: false,
            srtt: Duration::ZERO,
        }
    }

    fn bytes_in_flight(&self) -> u32 {
        self.flight.len() as u32 * MSS
    }

    fn seq(&self, segment: u64) -> Seq {
        Seq((segment * u64::from(MSS)) as u32 + 7)
    }

    /// Lets `span` pass.
    pub(super) fn run(&mut self, path: &Path, span: Duration) -> Outcome {
        let end = self.now + span;
        let mut outcome = Outcome { delivered: 0, lost: 0, queueing: Duration::ZERO };
        let mut queueing = 0;
        while self.now < end {
            let paced = self.send(path);
            let acked = self.flight.iter().find_map(|segment| segment.acked);
            // Without any acknowledgment to come, the retransmission timer ends the wait.
            let timeout = self.flight.front().map(|segment| segment.sent + self.srtt + Duration::from_millis(200));
            let Some(next) = [paced, acked.or(timeout)].into_iter().flatten().min() else { break };
            self.now = self.now.max(next);
            if acked.is_none() && timeout == Some(next) {
                outcome.lost += self.flight.len() as u64;
                self.flight.clear();
                self.controller.timeout(MSS, self.seq(self.nxt), 0, self.recovery_until.is_some());
                continue;
            }
            while let Some(at) = self.flight.iter().find_map(|segment| segment.acked)
                && at <= self.now
            {
                let (delay, lost) = self.acknowledge(path);
                outcome.delivered += 1;
                outcome.lost += lost;
                queueing += delay.as_micros();
            }
        }
        outcome.queueing = Duration::from_micros(queueing / outcome.delivered.max(1));
        outcome
    }

    /// Sends what cwnd and pacing allow; returns when pacing allows more.
    fn send(&mut self, path: &Path) -> Option<Instant> {
        loop {
            let (una, nxt) = (self.seq(self.nxt - self.flight.len() as u64), self.seq(self.nxt));
            if self.bytes_in_flight() + MSS > self.controller.cwnd() {
                self.controller.held_back(nxt, self.bytes_in_flight());
                self.limited = true;
                return None;
            }
            if let Some(rate) = self.controller.pacing_rate() {
                if let Some(at) = self.pacing.delayed_until(self.now, rate, MSS) {
                    return Some(at);
                }
                self.pacing.sent(self.now, rate, MSS, MSS);
            }
            let nanos = self.now.as_micros() * 1_000;
            let waiting = self.busy_until.saturating_sub(nanos) * path.rate / 1_000_000_000;
            let lost =
                waiting + u64::from(MSS) > path.buffer || (path.loses_each > 0 && self.nxt % path.loses_each == 99);
            let stamp = self.rates.on_sent(self.now, self.bytes_in_flight(), MSS);
            let acked = (!lost).then(|| {
                self.busy_until = self.busy_until.max(nanos) + u64::from(MSS) * 1_000_000_000 / path.rate;
                Instant::from_micros(self.busy_until.div_ceil(1_000)) + path.rtt
            });
            self.flight.push_back(Segment { sent: self.now, stamp, acked });
            self.nxt += 1;
            let flight = self.bytes_in_flight();
            let sent = Sent { now: self.now, mss: MSS, una, nxt: self.seq(self.nxt), outstanding: flight, flight };
            self.controller.sent(sent, || Duration::from_secs(1));
        }
    }

    /// The first acknowledgment under way arrives: returns its queueing delay and how many segments turn out lost.
    fn acknowledge(&mut self, path: &Path) -> (Duration, u64) {
        let mut lost = 0;
        let segment = loop {
            match self.flight.pop_front() {
                Some(segment) if segment.acked.is_none() => {
                    lost += 1;
                    self.rates.on_lost(MSS);
                    self.controller.segment_lost(self.now, &self.rates, segment.stamp, MSS);
                }
                Some(segment) => break segment,
                None => unreachable!("an acknowledgment of nothing"),
            }
        };
        let mut newest = Newest::default();
        self.rates.on_delivered(&mut newest, self.now, segment.stamp, clock(segment.sent), MSS);
        let una = self.nxt - self.flight.len() as u64;
        if lost > 0 && self.recovery_until.is_none() {
            let ssthresh = self.controller.reduce(MSS, Cause::Loss);
            if !self.controller.owns_recovery() {
                self.controller.set_cwnd(ssthresh);
            }
            self.recovery_until = Some(self.nxt);
        } else if self.recovery_until.is_some_and(|until| una >= until) {
            self.recovery_until = None;
            self.controller.recovered(MSS);
        }
        let rtt = self.now.since(segment.sent);
        self.srtt = if self.srtt == Duration::ZERO {
            rtt
        } else {
            Duration::from_micros((self.srtt.as_micros() * 7 + rtt.as_micros()) / 8)
        };
        self.controller.acknowledged(&AckSample {
            now: self.now,
            mss: MSS,
            una: self.seq(una),
            nxt: self.seq(self.nxt),
            acked: MSS,
            delivered: MSS,
            lost: lost as u32 * MSS,
            flight: self.bytes_in_flight(),
            rtt: Some(rtt),
            srtt: self.srtt,
            rate: self.rates.sample(newest, 0),
            in_recovery: self.recovery_until.is_some(),
        });
        (Duration::from_micros(rtt.as_micros().saturating_sub(path.rtt.as_micros())), lost)
    }
}

mod tests {
    use super::*;

    fn path(megabits: u64, rtt: u64, buffer: u64) -> Path {
        Path { rate: megabits * 125_000, rtt: Duration::from_millis(rtt), buffer, loses_each: 0 }
    }

    /// Share of the bottleneck used in `secs` after `warm_up` seconds, and what came of it.
    fn utilisation(algorithm: Algorithm, path: &Path, warm_up: u64, secs: u64) -> (f64, Outcome) {
        let mut flow = Flow::new(algorithm);
        flow.run(path, Duration::from_secs(warm_up));
        let outcome = flow.run(path, Duration::from_secs(secs));
        (outcome.delivered as f64 * f64::from(MSS) / (path.rate * secs) as f64, outcome)
    }

    #[test]
    fn each_algorithm_fills_the_path() {
        for algorithm in [Algorithm::NewReno, Algorithm::Cubic, Algorithm::Bbr] {
            for (megabits, rtt) in [(10, 1), (10, 10), (10, 100), (10, 300), (100, 1), (100, 10), (100, 100)] {
                let path = path(megabits, rtt, (megabits * 125 * rtt).max(64_000));
                let (used, outcome) = utilisation(algorithm, &path, 20, 30);
                assert!(used > 0.9, "{algorithm:?} uses {used:.2} of {megabits} Mbit/s x {rtt} ms: {outcome:?}");
            }
        }
    }

    #[test]
    fn bbr_keeps_a_deep_queue_short_that_cubic_fills() {
        let path = path(10, 40, 1_000_000);
        let (_, cubic) = utilisation(Algorithm::Cubic, &path, 20, 30);
        let (_, bbr) = utilisation(Algorithm::Bbr, &path, 20, 30);
        assert!(bbr.queueing < Duration::from_millis(20), "{bbr:?}");
        assert!(cubic.queueing > Duration::from_millis(200), "{cubic:?}");
    }

    #[test]
    fn each_algorithm_starts_within_a_second() {
        for algorithm in [Algorithm::NewReno, Algorithm::Cubic, Algorithm::Bbr] {
            let path = path(100, 50, 1_250_000);
            let mut flow = Flow::new(algorithm);
            let mut took = 0;
            while flow.run(&path, Duration::from_millis(50)).delivered * u64::from(MSS) * 20 < path.rate * 9 / 10 {
                took += 50;
                assert!(took < 1_000, "{algorithm:?}");
            }
        }
    }
}
