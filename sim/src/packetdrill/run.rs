//! Runs a script: one event after the other, in virtual time.

use ethertab::{Config, Counters, State};
use std::collections::BTreeMap;

use super::ast::{Action, Call, Direction, Event, Expr, Script, Time};
use super::code::{CodeError, Environment};
use super::dialect::Dialect;
use super::host::Host;
use super::kernel::{CallState, FileKind, Kernel, Problem, Progress, Subject};
use super::knobs::{self, Knobs, Unsupported};
use super::settings::Settings;
use super::shell::{self, Command};
use super::symbols::{TCP_INFO_SYMBOLS, evaluate};
use super::traffic::Traffic;
use super::{Failure, Report};

/// How far a `*` looks ahead, in microseconds: two days, longer than any timer.
const PATIENCE: u64 = 2 * 86_400 * 1_000_000;

/// Commands in files may name files in turn.
const MAX_INCLUDES: usize = 8;

/// A call that waits for the stack.
struct Pending {
    line: usize,
    call: Call,
    state: CallState,
    /// When it should return, in microseconds since the script began.
    end: u64,
}

pub(super) struct Run<'a> {
    settings: Settings,
    /// Reads a file that a command names.
    load: &'a mut dyn FnMut(&str) -> std::io::Result<String>,
    includes: usize,
    kernel: Kernel,
    traffic: Traffic,
    environment: Environment,
    pending: Option<Pending>,
    notes: Vec<(usize, String)>,
    checks: usize,
    /// Counters as they were at the last look.
    counted: Counters,
    /// The line of the event under way, and its place in the script.
    line: usize,
}

type Result<T = (), E = Failure> = std::result::Result<T, E>;

impl<'a> Run<'a> {
    /// Sets up a host for a script.
    pub(super) fn new(
        settings: Settings,
        script: &Script,
        load: &'a mut dyn FnMut(&str) -> std::io::Result<String>,
    ) -> Result<Self> {
        let has_ports = |event: &Event| matches!(&event.action, Action::Packet(packet) if packet.ports.is_some());
        let names_ports = script.events.iter().any(has_ports);
        let ipv6 = settings.addresses().0.is_ipv6();
        let mss = u32::from(settings.mtu.saturating_sub(if ipv6 { 60 } else { 40 }));
        let mut knobs = Knobs { ipv6, mss, ..Knobs::new(settings.dialect) };
        if let (Dialect::Linux, Some(shift @ 1..=14)) = (settings.dialect, Dialect::window_scale(script)) {
            knobs.tcp.receive_buffer = 1 << (15 + shift);
        }
        // A seed of its own makes every run the same.
        let mut config = Config::new([0x7061_636b, 0x6574_6472]);
        config.tcp = knobs.tcp;
        let mut host = Host::new(&settings, config)
            .map_err(|error| Failure::new(1, "addresses and an MTU for the stack", error.to_string()))?;
        let _ = host.stack.set_fast_open_keys(None, knobs.fast_open_keys);
        let mut environment = Environment::default();
        for (name, value) in TCP_INFO_SYMBOLS {
            environment.define(name, *value);
        }
        let kernel = Kernel {
            host,
            knobs,
            settings: settings.clone(),
            files: BTreeMap::new(),
            pipes: Vec::new(),
            closed: Vec::new(),
            subject: None,
        };
        Ok(Run {
            traffic: Traffic::new(&settings, names_ports),
            settings,
            load,
            includes: 0,
            kernel,
            environment,
            pending: None,
            notes: Vec::new(),
            checks: 0,
            counted: Counters::default(),
            line: 1,
        })
    }

    /// Runs the script to its end or first failure.
    pub(super) fn run(mut self, script: &Script) -> Report {
        let failure = self.events(script).err();
        let pcapng = if failure.is_some() { self.kernel.host.pcapng().ok() } else { None };
        Report {
            failure,
            notes: self.notes,
            printed: std::mem::take(&mut self.environment.printed),
            checks: self.checks + self.environment.assertions,
            pcapng,
        }
    }

    fn events(&mut self, script: &Script) -> Result {
        for (index, event) in script.events.iter().enumerate() {
            self.line = event.line;
            if let Err(failure) = self.event(event, &script.events[index..]) {
                self.forgive(event, failure)?;
            }
        }
        self.finish_pending()?;
        // What leaves at the last instant belongs to the script too.
        let now = self.now();
        self.advance(now)?;
        self.drop_leftovers(false);
        if let Some(sent) = self.kernel.host.sent.pop_front().filter(|_| !self.settings.ignore_unexpected) {
            let got = self.traffic.describe(&sent);
            return self.fail("nothing more to be sent", got);
        }
        if self.checks + self.environment.assertions == 0 {
            return self.fail("a script that checks something", "no outbound packet, result or assertion");
        }
        Ok(())
    }

    /// Lets a failure pass that the settings call not fatal.
    fn forgive(&mut self, event: &Event, failure: Failure) -> Result {
        let forgiven = match event.action {
            Action::Call(_) => self.settings.calls_may_fail,
            Action::Packet(_) => self.settings.packets_may_differ,
            Action::Command(_) | Action::Code(_) => false,
        };
        if !forgiven {
            return Err(failure);
        }
        let Failure { line, expected, got } = failure;
        self.notes.push((line, format!("expected {expected}, got {got}")));
        Ok(())
    }

    fn now(&self) -> u64 {
        self.kernel.host.now()
    }

    fn fail<T>(&self, expected: impl Into<String>, got: impl Into<String>) -> Result<T> {
        Err(Failure::new(self.line, expected, got))
    }

    fn event(&mut self, event: &Event, rest: &[Event]) -> Result {
        if let Action::Packet(packet) = &event.action
            && packet.direction == Direction::Outbound
        {
            return self.expect(event, packet);
        }
        let begun = self.now();
        let due = match event.time {
            Time::Absolute(time) => time,
            Time::Relative(delta) => begun + delta,
            Time::Any | Time::AbsoluteRange(..) | Time::RelativeRange(..) => begun,
        };
        if due + self.settings.tolerance_usecs < begun {
            let expected = format!("the event at {}", seconds(due));
            return self.fail(expected, format!("the time being {} already", seconds(begun)));
        }
        self.advance(due)?;
        if matches!(&event.action, Action::Call(call) if call.name == "socket") {
            self.traffic.new_socket();
        }
        self.refuse_unexpected(due, rest)?;
        match &event.action {
            Action::Packet(packet) => {
                let injected = self.traffic.inject(&mut self.kernel, packet);
                injected.map_err(|(expected, got)| Failure::new(self.line, expected, got))?;
                self.progress()
            }
            // A time at which a call returns is on the scale of the one at which it begins.
            Action::Call(call) => match event.time {
                Time::Absolute(_) => self.call(call, 0),
                _ => self.call(call, begun),
            },
            Action::Command(text) => self.commands(text),
            Action::Code(text) => self.code(text),
        }
    }

    /// A packet fails the script as soon as no later expectation can be about it.
    fn refuse_unexpected(&mut self, now: u64, rest: &[Event]) -> Result {
        let next = rest
            .iter()
            .find(|event| matches!(&event.action, Action::Packet(packet) if packet.direction == Direction::Outbound));
        // A new socket is what the next expectation is about.
        let speaks_of_another = rest
            .iter()
            .take_while(
                |event| !matches!(&event.action, Action::Packet(packet) if packet.direction == Direction::Outbound),
            )
            .any(|event| matches!(&event.action, Action::Call(call) if call.name == "socket"));
        self.drop_leftovers(next.is_some() && !speaks_of_another);
        let Some(sent) = self.kernel.host.sent.front() else { return Ok(()) };
        let hopeless = match next.map(|event| event.time) {
            None => !self.settings.ignore_unexpected,
            Some(_) if self.traffic.may_be_left_behind(sent) => false,
            Some(Time::Relative(_)) => sent.at + self.tolerance(now.saturating_sub(sent.at)) < now,
            Some(_) => false,
        };
        if hopeless {
            let got = self.traffic.describe(sent);
            return self.fail("nothing to be sent before this", got);
        }
        Ok(())
    }

    /// Lets packets go that are none of the script's business any more: those of connections that it has closed, once it
    /// speaks of another one, or expects nothing more; and those of connections that came before the one it speaks of, unless it names
    /// ports.
    fn drop_leftovers(&mut self, expects_more: bool) {
        let current = self.traffic.current_ports().filter(|_| expects_more);
        let (closed, traffic) = (&self.kernel.closed, &self.traffic);
        self.kernel.host.sent.retain(|sent| match sent.ports() {
            Some(ports) => (!closed.contains(&ports) && !traffic.has_moved_on(ports)) || current == Some(ports),
            None => true,
        });
    }

    /// How much a time may be missed by, after a wait of this long.
    fn tolerance(&self, wait: u64) -> u64 {
        self.settings.tolerance_usecs.max(wait * u64::from(self.settings.tolerance_percent) / 100)
    }

    /// Lets time pass until `time`.
    fn advance(&mut self, time: u64) -> Result {
        while let Some(due) = self.next_wake().filter(|due| *due <= time) {
            self.wake(due)?;
            if due == time && self.next_wake().is_none_or(|next| next > time) {
                break;
            }
        }
        self.kernel.host.set_time(time);
        self.progress()
    }

    /// When something happens next: a timer of the stack, or a call that gives up.
    fn next_wake(&self) -> Option<u64> {
        let deadline = self.pending.as_ref().and_then(|pending| pending.state.deadline);
        let deadline = deadline.filter(|deadline| *deadline > self.now());
        self.kernel.host.next_timeout().into_iter().chain(deadline).min()
    }

    fn wake(&mut self, time: u64) -> Result {
        if !self.kernel.host.wake(time) {
            return self.fail("timers that come to rest", "timers that fire for ever");
        }
        self.progress()
    }

    fn expect(&mut self, event: &Event, packet: &super::ast::PacketSpec) -> Result {
        let begun = self.now();
        let (from, to) = match event.time {
            Time::Absolute(time) => (time, time),
            Time::Relative(delta) => (begun + delta, begun + delta),
            Time::AbsoluteRange(from, to) => (from, to),
            Time::RelativeRange(from, to) => (begun + from, begun + to),
            Time::Any => (0, begun + PATIENCE),
        };
        let tolerance = self.tolerance(to.saturating_sub(begun));
        let limit = to + tolerance;
        let mut expectation = self.traffic.expect(packet);
        loop {
            self.drop_leftovers(true);
            while self.kernel.host.sent.is_empty() {
                match self.next_wake().filter(|due| *due <= limit) {
                    Some(due) => {
                        self.wake(due)?;
                        self.drop_leftovers(true);
                    }
                    None => {
                        let expected = format!("{} {}", super::compare::spec_text(packet), when(event.time, from, to));
                        return self.fail(expected, expectation.so_far());
                    }
                }
            }
            let Some(sent) = self.kernel.host.sent.pop_front() else { continue };
            let at = sent.at;
            let complete = expectation.take(&mut self.traffic, &self.settings, &sent);
            let complete = complete.map_err(|(expected, got)| Failure::new(self.line, expected, got))?;
            if event.time != Time::Any && (at + tolerance < from || at > limit) {
                let expected = format!("{} {}", super::compare::spec_text(packet), when(event.time, from, to));
                return self.fail(expected, format!("it at {}", seconds(at)));
            }
            if complete {
                self.checks += 1;
                return Ok(());
            }
        }
    }

    /// Makes a call; `origin` is what its time of return counts from.
    fn call(&mut self, call: &Call, origin: u64) -> Result {
        self.finish_pending()?;
        let mut state = CallState::default();
        match self.kernel.call(call, &mut state) {
            Ok(Progress::Blocked) => match call.end {
                Some(end) => {
                    let end = origin + end;
                    self.pending = Some(Pending { line: self.line, call: call.clone(), state, end });
                    self.subject_changed();
                    Ok(())
                }
                None => self.fail(format!("{}() to return at once", call.name), "it blocks"),
            },
            Ok(Progress::Done(result)) => {
                self.subject_changed();
                self.returned(self.line, call, result)
            }
            Err(problem) => self.problem(problem, self.line),
        }
    }

    /// What a call leaves behind beside its result.
    fn subject_changed(&mut self) {
        if let Some(subject) = self.kernel.subject.take() {
            self.traffic.set_subject(subject);
        }
    }

    fn problem(&mut self, problem: Problem, line: usize) -> Result {
        match problem {
            Problem::Unsupported(unsupported) => self.unsupported(unsupported, line),
            Problem::Mismatch { expected, got } => Err(Failure::new(line, expected, got)),
        }
    }

    fn unsupported(&mut self, unsupported: Unsupported, line: usize) -> Result {
        if self.settings.loose {
            self.notes.push((line, unsupported.to_string()));
            return Ok(());
        }
        let Unsupported { setting, needs } = unsupported;
        Err(Failure::new(line, setting, format!("a stack without {needs}")))
    }

    /// Goes on with a call that blocks.
    fn progress(&mut self) -> Result {
        self.kernel.advance_error_queues();
        let Some(mut pending) = self.pending.take() else { return Ok(()) };
        match self.kernel.call(&pending.call, &mut pending.state) {
            Ok(Progress::Blocked) => {
                self.pending = Some(pending);
                Ok(())
            }
            Ok(Progress::Done(result)) => {
                self.subject_changed();
                let now = self.now();
                if now.abs_diff(pending.end) > self.settings.tolerance_usecs {
                    let expected = format!("{}() to return at {}", pending.call.name, seconds(pending.end));
                    return Err(Failure::new(pending.line, expected, format!("its return at {}", seconds(now))));
                }
                self.returned(pending.line, &pending.call, result)
            }
            Err(problem) => self.problem(problem, pending.line),
        }
    }

    /// Waits for a call that blocks.
    fn finish_pending(&mut self) -> Result {
        while let Some(pending) = &self.pending {
            let (line, limit) = (pending.line, pending.end + self.settings.tolerance_usecs);
            match self.next_wake().filter(|due| *due <= limit) {
                Some(due) => self.wake(due)?,
                None => {
                    let expected = format!("{}() to return at {}", pending.call.name, seconds(pending.end));
                    return Err(Failure::new(line, expected, "it still blocks"));
                }
            }
        }
        Ok(())
    }

    fn returned(&mut self, line: usize, call: &Call, result: std::result::Result<i64, &'static str>) -> Result {
        let got = match result {
            Ok(value) => value.to_string(),
            Err(errno) => format!("-1 {errno}"),
        };
        let value = result.unwrap_or(-1);
        match evaluate(&call.result) {
            _ if call.result == Expr::Ellipsis => {}
            Ok(expected) if expected == value => {}
            Ok(expected) => {
                let errno = call.errno.as_deref().unwrap_or("");
                let expected = format!("{}() = {expected} {errno}", call.name);
                return Err(Failure::new(line, expected.trim_end(), got));
            }
            Err(name) => {
                return self.unsupported(Unsupported { setting: name, needs: "a constant of this name" }, line);
            }
        }
        if let (Some(expected), Err(errno)) = (call.errno.as_deref(), result)
            && !same_error(expected, errno)
        {
            return Err(Failure::new(line, format!("{}() = -1 {expected}", call.name), got));
        }
        self.checks += 1;
        Ok(())
    }

    fn commands(&mut self, text: &str) -> Result {
        for command in shell::commands(text) {
            match command {
                Command::Nothing => {}
                Command::ForgetServers => self.kernel.host.stack.forget_fast_open_cookies(),
                Command::Sysctl { name, value } => {
                    let set = self.kernel.sysctl(&name, &value);
                    let keys = self.kernel.knobs.fast_open_keys;
                    let _ = self.kernel.host.stack.set_fast_open_keys(None, keys);
                    if let Err(unsupported) = set {
                        self.unsupported(unsupported, self.line)?;
                    }
                    self.kernel.host.stack.set_tcp_config(self.kernel.knobs.tcp);
                }
                Command::Route { mtu, advertised_mss, initial_window } => {
                    let Kernel { host, knobs, .. } = &mut self.kernel;
                    if let Some(mtu) = mtu {
                        host.stack.set_path_mtu(host.instant(), host.remote, mtu);
                    }
                    knobs.tcp.advertised_mss = advertised_mss.or(knobs.tcp.advertised_mss);
                    knobs.tcp.initial_window = initial_window.unwrap_or(knobs.tcp.initial_window);
                    host.stack.set_tcp_config(knobs.tcp);
                }
                Command::Include(path) => self.include(&path)?,
                Command::Sleep(micros) => {
                    let until = self.now() + micros;
                    self.advance(until)?;
                }
                Command::CountersReset => self.counted = self.kernel.host.stack.counters().clone(),
                Command::Counter { name, value } => self.expect_counter(&name, value)?,
                Command::Connections { state, count } => self.expect_state(&state, count)?,
                Command::Drop { state } => self.kernel.drop_connections(state_named(&state)),
                Command::Unknown(text) => {
                    self.unsupported(Unsupported { setting: format!("`{text}`"), needs: "this command" }, self.line)?;
                }
            }
        }
        Ok(())
    }

    fn include(&mut self, path: &str) -> Result {
        if self.includes == MAX_INCLUDES {
            return self.fail("files that name no more than 8 others", path);
        }
        match (self.load)(path) {
            Ok(text) => {
                self.includes += 1;
                let done = self.commands(&text);
                self.includes -= 1;
                done
            }
            Err(error) => {
                let setting = format!("`{path}`");
                if self.settings.loose {
                    self.notes.push((self.line, format!("{setting}: {error}")));
                    return Ok(());
                }
                self.fail(setting, error.to_string())
            }
        }
    }

    fn expect_counter(&mut self, name: &str, wanted: Option<u64>) -> Result {
        let counter = |counters| knobs::counter(counters, name);
        let (Some(now), Some(before)) = (counter(self.kernel.host.stack.counters()), counter(&self.counted)) else {
            let unsupported = Unsupported { setting: name.into(), needs: "a counter of this name" };
            return self.unsupported(unsupported, self.line);
        };
        self.counted = self.kernel.host.stack.counters().clone();
        self.checks += 1;
        let got = now - before;
        if wanted.map_or(got > 0, |wanted| got == wanted) {
            return Ok(());
        }
        let wanted = wanted.map_or("at least 1".to_string(), |wanted| wanted.to_string());
        self.fail(format!("{name} {wanted}"), got.to_string())
    }

    fn expect_state(&mut self, name: &str, count: Option<usize>) -> Result {
        let state = state_named(name);
        let stack = &self.kernel.host.stack;
        let found = match state {
            State::Listen => stack.listeners().count(),
            State::Closed => self.kernel.files.values().filter(|file| matches!(file.kind, FileKind::Fresh)).count(),
            _ => stack.connections().filter(|info| info.state == state).count(),
        };
        self.checks += 1;
        if count.map_or(found > 0, |count| found == count) {
            return Ok(());
        }
        let states: Vec<String> = stack.connections().map(|info| info.state.to_string()).collect();
        let count = count.map_or("a connection".into(), |count| format!("{count} connections"));
        self.fail(format!("{count} in {name}"), format!("[{}]", states.join(", ")))
    }

    fn code(&mut self, text: &str) -> Result {
        if let Some(number) = self.file_under_test()
            && let Some(info) = self.kernel.connection_info(number)
        {
            for (name, value) in knobs::tcp_info(&info) {
                self.environment.define(name, value);
            }
            let memory = self.kernel.receive_memory(number);
            self.environment.define("SK_MEMINFO_RCVBUF", i64::from(memory.unwrap_or(2 * info.receive_buffer)));
        } else if let Some(state) = self.kernel.files.values().rev().find_map(|file| match file.kind {
            FileKind::Fresh => Some(knobs::TCP_CLOSE),
            FileKind::Listening(_) => Some(knobs::TCP_LISTEN),
            _ => None,
        }) {
            // The newest socket, without a connection.
            self.environment.define("tcpi_state", state);
        }
        match self.environment.run(text) {
            Ok(()) => Ok(()),
            Err(CodeError::Assertion { line, text, got }) => Err(Failure::new(self.line + line, text, got)),
            Err(CodeError::Unknown { line, name }) if name.starts_with("tcpi_") => {
                let unsupported = Unsupported { setting: name, needs: "a field of TCP_INFO of this name" };
                self.unsupported(unsupported, self.line + line)
            }
            Err(CodeError::Unknown { line, name }) => {
                Err(Failure::new(self.line + line, "a name that is defined", name))
            }
            Err(CodeError::Syntax { line, found }) => {
                Err(Failure::new(self.line + line, "an assertion in Python", found))
            }
        }
    }

    /// The file that assertions are about: that of the connection under test, or the newest.
    fn file_under_test(&self) -> Option<i64> {
        let ports = self.traffic.current_ports();
        let mut open = self.kernel.files.iter().filter(|(_, file)| matches!(file.kind, FileKind::Open(_)));
        let of_flow = open.clone().find(|(_, file)| ports.is_some() && file.ports == ports);
        of_flow.or(open.next_back()).map(|(number, _)| *number)
    }
}

/// The state that FreeBSD's tools call so.
fn state_named(name: &str) -> State {
    match name {
        "ESTABLISHED" => State::Established,
        "SYN_SENT" => State::SynSent,
        "SYN_RCVD" => State::SynReceived,
        "FIN_WAIT_1" => State::FinWait1,
        "FIN_WAIT_2" => State::FinWait2,
        "CLOSE_WAIT" => State::CloseWait,
        "LAST_ACK" => State::LastAck,
        "TIME_WAIT" => State::TimeWait,
        "CLOSING" => State::Closing,
        "LISTEN" => State::Listen,
        _ => State::Closed,
    }
}

/// Two names of one error count as the same.
fn same_error(a: &str, b: &str) -> bool {
    let canonical = |name: &str| match name {
        "EWOULDBLOCK" => "EAGAIN".to_string(),
        other => other.to_string(),
    };
    canonical(a) == canonical(b)
}

/// A time for people.
fn seconds(micros: u64) -> String {
    format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}

fn when(time: Time, from: u64, to: u64) -> String {
    match time {
        Time::Any => "at any time".into(),
        Time::Absolute(_) | Time::Relative(_) => format!("at {}", seconds(from)),
        Time::AbsoluteRange(..) | Time::RelativeRange(..) => format!("from {} to {}", seconds(from), seconds(to)),
    }
}

impl Subject {
    /// The stack's port that it is about.
    pub(super) fn local_port(self) -> u16 {
        match self {
            Subject::Port(port) | Subject::Connection(port, _) | Subject::NewConnection(port, _) => port,
        }
    }
}
