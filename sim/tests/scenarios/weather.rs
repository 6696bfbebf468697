//! What happens to frames on their way: the impairments of cables, how they change, and what a middlebox does.

use crate::dice::Dice;
use ethertab::time::{Duration, Instant};
use ethertab_sim::middlebox::{Merge, Mtu};
use ethertab_sim::{BurstLoss, Impairment, MiddleboxConfig, Queue};

/// The first link's impairments become others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) at: Instant,
    pub(crate) impairments: [Impairment; 2],
}

/// The impairments of all links.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) links: Vec<[Impairment; 2]>,
    pub(crate) changes: Vec<Change>,
    pub(crate) may_time_out: bool,
}

/// A connection attempt survives so many losses in a row (RFC 9293 §3.8.3, R2 for SYN segments).
const TRIES: i32 = 7;

impl Weather {
    pub(crate) fn new(dice: &mut Dice, links: usize) -> Weather {
        let mut all: Vec<_> = (0..links).map(|_| [calm(dice); 2]).collect();
        for link in &mut all {
            if dice.percent(15) {
                // Asymmetric links are common.
                link[1] = calm(dice);
            }
        }
        storm(dice, &mut all[0]);
        for link in all.iter_mut().skip(1).filter(|_| dice.percent(10)) {
            for side in link {
                side.loss = 0.01;
            }
        }
        let mut weather = Weather { links: all, changes: Vec::new(), may_time_out: false };
        weather.may_time_out = weather.is_bad();
        if dice.percent(15) {
            weather.black_out(dice);
        } else if dice.percent(10) {
            weather.turn(dice);
        }
        weather
    }

    /// Whether so much is lost that of some thousand connections one may time out.
    fn is_bad(&self) -> bool {
        let survives = |side: &Impairment| {
            let burst = side.burst_loss.map_or(0.0, |burst| burst.loss * burst.start / (burst.start + burst.stop));
            (1.0 - side.loss) * (1.0 - burst) * (1.0 - side.corrupt)
        };
        let there_and_back: f64 = self.links.iter().flatten().map(survives).product();
        // When there is little to send, a burst is left only by retransmissions, one timeout after the other.
        let long_burst = self.links.iter().flatten().any(|side| side.burst_loss.is_some_and(|burst| burst.stop < 0.5));
        (1.0 - there_and_back).powi(TRIES) > 1e-7 || long_burst
    }

    /// Whether nothing is lost or damaged, unless a queue is full.
    fn is_clear(&self) -> bool {
        let is_clear = |side: &Impairment| side.loss == 0.0 && side.corrupt == 0.0 && side.burst_loss.is_none();
        self.changes.is_empty() && self.links.iter().flatten().all(is_clear)
    }

    /// Nothing gets through for a while.
    fn black_out(&mut self, dice: &mut Dice) {
        let before = self.links[0];
        let dark = before.map(|side| Impairment { loss: 1.0, ..side });
        let begins = Instant::ZERO + dice.micros(1_000..=5_000_000);
        let lasts = dice.micros(100_000..=180_000_000);
        self.changes.push(Change { at: begins, impairments: dark });
        self.changes.push(Change { at: begins + lasts, impairments: before });
        // Long enough for the last of a handshake's tries.
        self.may_time_out |= lasts > Duration::from_secs(20);
    }

    /// The path becomes another one.
    fn turn(&mut self, dice: &mut Dice) {
        for _ in 0..dice.within(1..=5) {
            let mut impairments = [calm(dice); 2];
            storm(dice, &mut impairments);
            self.links.push(impairments);
            self.may_time_out |= self.is_bad();
            self.links.pop();
            self.changes.push(Change { at: Instant::ZERO + dice.micros(1_000..=20_000_000), impairments });
        }
        self.changes.sort_by_key(|change| change.at);
    }
}

/// A cable that is not more than a cable.
fn calm(dice: &mut Dice) -> Impairment {
    let queue = if dice.percent(80) { Queue::Frames(1_000) } else { Queue::Frames(dice.magnitude(8..=200) as u32) };
    Impairment {
        latency: if dice.percent(15) { Duration::ZERO } else { dice.micros(10..=150_000) },
        rate: dice.percent(50).then(|| dice.magnitude(500_000..=1_000_000_000)),
        queue,
        ..Impairment::PERFECT
    }
}

/// Adds one kind of trouble to a link, or several mild ones.
fn storm(dice: &mut Dice, link: &mut [Impairment; 2]) {
    let some = dice.fraction();
    let reorder_by = dice.micros(100..=100_000);
    let kind = dice.within(0..=11);
    // In one direction only in one of three cases: so acknowledgments alone are lost or late, or data alone.
    let spared = dice.percent(33).then(|| dice.index(2));
    for (_, side) in link.iter_mut().enumerate().filter(|(number, _)| Some(*number) != spared) {
        match kind {
            0 => {}
            1 | 2 => side.loss = some * 0.05,
            3 => side.loss = some * 0.30,
            4 => {
                let (start, stop) = (0.002 + some * 0.02, dice.one_of(&[0.05, 0.2, 0.5, 0.8]));
                side.burst_loss = Some(BurstLoss { start, stop, loss: 0.5 + some / 2.0 });
            }
            5 | 6 => (side.reorder, side.reorder_by) = (some * 0.4, reorder_by),
            7 => side.duplicate = some * 0.5,
            8 => side.corrupt = some * 0.10,
            9 => side.jitter = Duration::from_micros((side.latency.as_micros() as f64 * some) as u64),
            10 => {
                side.loss = some * 0.03;
                side.duplicate = some * 0.05;
                side.corrupt = some * 0.02;
                (side.reorder, side.reorder_by) = (some * 0.10, reorder_by);
                side.jitter = reorder_by;
            }
            _ => (side.rate, side.queue) = (Some(500_000 + (some * 2e7) as u64), Queue::Frames(10)),
        }
    }
}

/// A middlebox in one of four scenarios.
pub(crate) fn middlebox(dice: &mut Dice, weather: &mut Weather) -> Option<MiddleboxConfig> {
    let mut config = MiddleboxConfig::default();
    if !dice.percent(25) {
        return None;
    }
    // A firewall rewrites; one of the others comes with it at times.
    if dice.percent(40) {
        let small = dice.percent(20);
        config.shift = [dice.number() as u32, dice.number() as u32].map(|by| if small { by % 10_000 } else { by });
        config.shift_sack = dice.percent(50);
    }
    if dice.percent(40) {
        // Maximum segment size, window scale, SACK permitted, timestamps, Fast Open, AccECN, an experiment.
        const KINDS: [u8; 8] = [2, 3, 4, 8, 34, 172, 174, 254];
        config.strip_from_syn = KINDS.into_iter().filter(|_| dice.percent(30)).collect();
        if dice.percent(30) {
            config.strip_from_others = config.strip_from_syn.clone();
        }
    }
    config.clear_ecn = dice.percent(30);
    config.mark_one_in = if dice.percent(40) { dice.magnitude(2..=1_000) as u32 } else { 0 };
    match dice.within(0..=5) {
        0 => config.split = Some(dice.magnitude(100..=1_200) as u16),
        1 => {
            let (max, hold) = (dice.magnitude(1_460..=20_000) as u16, dice.micros(100..=10_000));
            config.merge = Some(Merge { max, hold });
        }
        2 => {
            config.mtu = Some(Mtu { bytes: dice.within(1_280..=1_500) as u16, tell: dice.percent(60) });
            // What it tells quotes segments as they came, whose numbers the sender knows.
        }
        3 if is_reliable(weather) => config.acknowledge = true,
        _ => {}
    }
    Some(config)
}

/// Whether nothing is lost, and nothing comes so late that a receiver may refuse it (RFC 7323 §5.3, RFC 2018 §8): what was
/// acknowledged too early would be gone.
fn is_reliable(weather: &Weather) -> bool {
    let keeps_all = |side: &Impairment| side.queue == Queue::Frames(1_000) && side.reorder == 0.0;
    weather.is_clear() && weather.links.iter().flatten().all(keeps_all)
}
