//! Runs a scenario to its end, and looks after everything that happens.

use crate::observer::Observer;
use crate::rules;
use crate::scenario::Scenario;
use crate::scene::Scene;
use ethertab::time::{Duration, Instant};
use ethertab_sim::apps::Conversation;
use std::fmt;
use std::ops::AddAssign;
use std::path::Path;

/// Longer than any connection waits before it gives up: the last retransmission, then a peer's.
const PATIENCE: Duration = Duration::from_secs(2 * 3_600);
/// The same where nothing may time out: a few timeouts in a row, whose last is at most two minutes.
const USUAL_PATIENCE: Duration = Duration::from_secs(400);
/// The time after which nothing of a connection may be left: retries, keep-alive, TIME-WAIT.
const AFTERMATH: Duration = Duration::from_secs(4 * 3_600);
/// Steps from one look at the applications to the next.
const STEPS: u32 = 64;
/// Steps after which a world does too much.
const MAX_STEPS: u32 = 3_000_000;

/// What a scenario was like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) scenarios: u64,
    pub(crate) talks: u64,
    /// Talks in which all bytes arrived both ways.
    pub(crate) complete: u64,
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    pub(crate) retransmits: u64,
    pub(crate) trace: u64,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Report) {
        self.scenarios += other.scenarios;
        self.talks += other.talks;
        self.complete += other.complete;
        self.bytes += other.bytes;
        self.segments += other.segments;
        self.retransmits += other.retransmits;
        self.trace ^= other.trace;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { scenarios, talks, complete, bytes, segments, retransmits, trace } = self;
        write!(
            f,
            "{scenarios} scenarios, {complete} of {talks} connections complete, {bytes} bytes in {segments} segments, "
        )?;
        write!(f, "{retransmits} retransmissions, trace {trace:016x}")
    }
}

pub(crate) fn run(scenario: &Scenario) -> Result<Report, String> {
    let mut scene = Scene::new(scenario).map_err(|error| error.to_string())?;
    let mut observer = Observer::new(&scene.world, scene.capture, false);
    run_scene(scenario, &mut scene, &mut observer)
}

/// The same, with a capture of all that the hosts sent and received in this file, if one is named.
pub(crate) fn run_captured(scenario: &Scenario, file: Option<&Path>) -> Result<Report, String> {
    let mut scene = Scene::new(scenario).map_err(|error| error.to_string())?;
    let mut observer = Observer::new(&scene.world, scene.capture, file.is_some());
    let result = run_scene(scenario, &mut scene, &mut observer);
    if let (Some(file), Some(capture)) = (file, scene.world.network().capture(scene.capture)) {
        let bytes = capture.to_pcapng(std::time::Duration::ZERO).map_err(|error| error.to_string())?;
        std::fs::write(file, bytes).map_err(|error| error.to_string())?;
    }
    result
}

fn run_scene(scenario: &Scenario, scene: &mut Scene, observer: &mut Observer) -> Result<Report, String> {
    live(scenario, scene, observer)?;
    let world = &mut scene.world;
    let end = world.now() + AFTERMATH;
    while world.next_event().is_some_and(|time| time <= end) && world.step() {
        observer.watch(world)?;
    }
    for (number, talk) in scenario.talks.iter().enumerate() {
        rules::ended_as_it_should(scenario, talk, &conversations(scene, number))
            .map_err(|error| format!("connection {number}: {error}\n{}", scene.world))?;
    }
    memory_is_back(scene)?;
    let mut report = Report { scenarios: 1, trace: scene.world.trace(), ..Report::default() };
    for number in 0..scenario.talks.len() {
        let ends = conversations(scene, number);
        report.talks += 1;
        report.complete += u64::from(ends.iter().flatten().filter(|end| end.went_well()).count() == 2);
        report.bytes += ends.iter().flatten().map(|end| end.received).sum::<u64>();
    }
    for host in &scene.hosts {
        let counters = scene.world.stack(*host).map_err(|error| error.to_string())?.counters();
        report.retransmits += counters.tcp_retransmits;
    }
    report.segments = observer.segments();
    Ok(report)
}

/// Client and server of a talk, as far as they exist.
fn conversations(scene: &Scene, number: usize) -> [Option<&Conversation>; 2] {
    let ends = &scene.ends[number];
    [ends.client, ends.accepted(&scene.world)].map(|id| id.map(|id| scene.world.conversation(id)))
}

/// Until all applications are done.
fn live(scenario: &Scenario, scene: &mut Scene, observer: &mut Observer) -> Result<(), String> {
    let agenda = Scene::agenda(scenario);
    let mut agenda = agenda.iter().copied().peekable();
    let mut watchdog = Watchdog::new(scenario);
    for step in 0..MAX_STEPS {
        let due = agenda.peek().map(|(at, _)| *at);
        match (due, scene.world.next_event()) {
            (Some(at), next) if next.is_none_or(|next| at <= next) => {
                scene.world.run_until(at);
                let (_, item) = agenda.next().expect("it was peeked at");
                scene.act(scenario, item).map_err(|error| error.to_string())?;
            }
            (_, Some(_)) if scene.world.step() => {}
            _ if due.is_some() => {}
            _ if scene.world.is_stuck() => return Err(format!("the world is stuck: {}", scene.world)),
            _ if is_over(scene) => return Ok(()),
            _ => return Err(format!("nothing will ever happen again: {}", scene.world)),
        }
        observer.watch(&mut scene.world).map_err(|error| format!("{error}\n{}", scene.world))?;
        if step % STEPS == 0 {
            watchdog.look(scene)?;
            if due.is_none() && is_over(scene) {
                return Ok(());
            }
        }
    }
    Err(format!("more than {MAX_STEPS} steps: {}", scene.world))
}

/// All applications that there are by now.
fn everybody(scene: &Scene) -> impl Iterator<Item = &Conversation> {
    (0..scene.ends.len()).flat_map(|number| conversations(scene, number)).flatten()
}

/// Whether all applications are done, and no connection is on its way to a server that has not accepted it.
fn is_over(scene: &Scene) -> bool {
    let mut stacks = scene.hosts.iter().filter_map(|host| scene.world.stack(*host).ok());
    everybody(scene).all(Conversation::is_over)
        && stacks.all(|stack| stack.listeners().all(|it| (it.2, it.3) == (0, 0)))
}

/// Sees whether anything moves on.
struct Watchdog {
    patience: Duration,
    progress: u64,
    since: Instant,
}

impl Watchdog {
    fn new(scenario: &Scenario) -> Self {
        let patience = if scenario.may_time_out { PATIENCE } else { USUAL_PATIENCE };
        let waits = scenario.talks.iter().map(|talk| talk.waits().as_micros()).max().unwrap_or(0);
        Watchdog { patience: patience + Duration::from_micros(waits), progress: 0, since: Instant::ZERO }
    }

    fn look(&mut self, scene: &Scene) -> Result<(), String> {
        let world = &scene.world;
        let steps = |end: &Conversation| u64::from(end.is_over()) + u64::from(end.finished) + u64::from(end.connected);
        let progress = everybody(scene).map(|end| 1 + end.sent + end.received + steps(end)).sum();
        if progress != self.progress {
            (self.progress, self.since) = (progress, world.now());
        } else if world.now().since(self.since) > self.patience {
            return Err(format!("nothing has moved since {}: {world}", self.since));
        }
        Ok(())
    }
}

fn memory_is_back(scene: &Scene) -> Result<(), String> {
    for host in &scene.hosts {
        let stack = scene.world.stack(*host).map_err(|error| error.to_string())?;
        let left: Vec<_> = stack.connections().collect();
        if !left.is_empty() || stack.blocks_in_use() > 0 {
            let blocks = stack.blocks_in_use();
            return Err(format!("{blocks} blocks and these connections are left: {left:#?}\n{}", scene.world));
        }
    }
    match scene.world.network().pool().blocks_in_use() {
        0 => Ok(()),
        blocks => Err(format!("{blocks} blocks of the pool are not back")),
    }
}
