//! Applications: who talks to whom, how much, how fast, and how it ends.

use crate::dice::Dice;
use ethertab::time::{Duration, Instant};
use ethertab_sim::apps::{Finish, Plan, Reading, Writing};

/// One connection and the applications at its ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    /// The host that connects.
    pub(crate) from: usize,
    /// The host that listens.
    pub(crate) to: usize,
    pub(crate) ipv6: bool,
    pub(crate) begins: Instant,
    pub(crate) client: Plan,
    pub(crate) server: Plan,
    /// When one end resets it, if it is still there, and whether that is the client.
    pub(crate) abort: Option<(Instant, bool)>,
}

impl Talk {
    /// Whether both ends read what the other sends, to the end.
    pub(crate) fn is_polite(&self) -> bool {
        let is_polite = |plan: &Plan| matches!(plan.finish, Finish::Shutdown | Finish::AfterPeer);
        self.abort.is_none() && is_polite(&self.client) && is_polite(&self.server)
    }

    /// The time that the applications themselves wait, at most.
    pub(crate) fn waits(&self) -> Duration {
        let waits = |plan: &Plan, reads: u64| {
            let reading = match plan.reading {
                Reading::Paced { bytes, every } => every.as_micros() * (reads / bytes as u64 + 1),
                Reading::From(time) => time.as_micros(),
                Reading::AtOnce | Reading::Never => 0,
            };
            let writing = match plan.writing {
                Writing::Paced { bytes, every } => every.as_micros() * (plan.send / bytes as u64 + 1),
                Writing::AtOnce => 0,
            };
            reading + writing
        };
        let echoed = if self.server.echo { self.client.send } else { 0 };
        let client = waits(&self.client, self.server.send + echoed);
        Duration::from_micros(client + waits(&self.server, self.client.send))
    }
}

pub(crate) fn talks(dice: &mut Dice, hosts: usize) -> Vec<Talk> {
    let count = dice.magnitude(1..=12);
    (0..count).map(|number| talk(dice, hosts, number)).collect()
}

fn talk(dice: &mut Dice, hosts: usize, number: u64) -> Talk {
    let from = dice.index(hosts);
    let to = (from + 1 + dice.index(hosts - 1)) % hosts;
    let begins = if dice.percent(60) { Instant::ZERO } else { Instant::from_micros(dice.within(0..=3_000_000)) };
    // Each direction of each connection has a pattern of its own: bytes that went astray are noticed.
    let (there, back) = (number * 2 + 1, number * 2 + 2);
    let (sent, returned) = match dice.within(0..=3) {
        0 => (size(dice), 0),
        1 => (0, size(dice)),
        2 => (size(dice), size(dice)),
        _ => (size(dice).min(500_000), 0),
    };
    let echo = returned == 0 && dice.percent(40);
    let (expected, returns) = if echo { (there, sent) } else { (back, returned) };
    let mut client = plan(dice, (there, sent), (expected, returns));
    let mut server = Plan { echo, ..plan(dice, (back, returned), (there, sent)) };
    if echo || dice.percent(30) {
        // A half-closed connection over which the rest goes one way.
        server.finish = Finish::AfterPeer;
    }
    if dice.percent(15) {
        let rude = dice.one_of(&[Finish::Close, Finish::Abort]);
        if dice.percent(50) { client.finish = rude } else { server.finish = rude }
    }
    let abort = dice.percent(8).then(|| (begins + dice.micros(1_000..=10_000_000), dice.percent(50)));
    Talk { from, to, ipv6: dice.percent(50), begins, client, server, abort }
}

fn size(dice: &mut Dice) -> u64 {
    match dice.within(0..=9) {
        0 => 0,
        1..=3 => dice.magnitude(1..=3_000),
        4..=8 => dice.magnitude(3_000..=300_000),
        _ => dice.magnitude(300_000..=3_000_000),
    }
}

/// An end that sends `sent` bytes of one pattern and is to receive as many of another.
fn plan(dice: &mut Dice, (pattern, sent): (u64, u64), (expected, received): (u64, u64)) -> Plan {
    // About two hundred turns at most, or a scenario would last for hours.
    let turn = |dice: &mut Dice, bytes: u64| dice.magnitude(bytes / 200 + 1..=bytes / 2 + 20) as usize;
    let reading = match dice.within(0..=9) {
        0..=6 => Reading::AtOnce,
        7 | 8 => Reading::Paced { bytes: turn(dice, received), every: dice.micros(1_000..=200_000) },
        _ => Reading::From(Instant::from_micros(dice.within(0..=20_000_000))),
    };
    let writing = match dice.within(0..=9) {
        0..=6 => Writing::AtOnce,
        _ => Writing::Paced { bytes: turn(dice, sent), every: dice.micros(500..=300_000) },
    };
    Plan { pattern, expect: Some(expected), reading, writing, ..Plan::send(sent) }
}
