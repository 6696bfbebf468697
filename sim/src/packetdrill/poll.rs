//! Waiting for several files at once: `poll` and `epoll`.

use ethertab::{RecvError, State};

use super::ast::{Call, Expr};
use super::error_queue::ErrorQueue;
use super::kernel::{CallState, FileKind, Kernel, Outcome, Progress, done, failed, mismatch};
use super::stream::limited_memory;
use super::symbols::evaluate;

const IN: i64 = 0x1;
const OUT: i64 = 0x4;
const ERR: i64 = 0x8;
const HUP: i64 = 0x10;
const NVAL: i64 = 0x20;
const RDNORM: i64 = 0x40;
const WRNORM: i64 = 0x100;
const RDHUP: i64 = 0x2000;
/// What says how to watch, and not what for.
const EPOLL_MODES: i64 = 0xf << 28;
const EPOLLONESHOT: i64 = 1 << 30;
const EPOLLET: i64 = 1 << 31;

/// A file that an epoll instance watches.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    file: i64,
    events: i64,
    /// What identifies it for the user: `fd=4`, `u32=7`.
    tag: Option<(String, Expr)>,
    /// What was ready when it was reported last: only what is new counts at an edge.
    reported: i64,
    /// Bytes that had come when it was reported last, the connection's state, and how often its error queue grew: news there
    /// are an edge too.
    seen: Option<(u64, State, u32)>,
}

/// Whether the peer's FIN has come.
pub(super) fn peer_has_closed(state: State) -> bool {
    matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait)
}

impl Kernel {
    /// What is ready on a file.
    fn ready(&mut self, number: i64) -> i64 {
        let now = self.host.instant();
        let Some(file) = self.files.get(&number) else { return NVAL };
        let stack = &mut self.host.stack;
        match file.kind {
            FileKind::Fresh => OUT | HUP | WRNORM,
            FileKind::Epoll(_) | FileKind::Pipe(_) | FileKind::Plain => 0,
            FileKind::Udp(_) => OUT | WRNORM,
            FileKind::Listening(listener) => {
                let queued = stack.listeners().find(|(handle, ..)| *handle == listener).map_or(0, |found| found.2);
                if queued > 0 { IN | RDNORM } else { 0 }
            }
            FileKind::Open(handle) => {
                let Some(info) = stack.connection_info(handle) else { return ERR | HUP };
                if info.state == State::SynSent {
                    // One that waits for data wants to be written to.
                    let waits = stack.fast_open_room(handle).is_some();
                    return if waits { OUT | WRNORM } else { 0 };
                }
                let mut ready = 0;
                if file.reported.is_some() || file.error_queue.as_ref().is_some_and(ErrorQueue::is_ready) {
                    ready |= ERR;
                }
                let at_end = stack.readable_bytes(handle) == 0
                    && !matches!(stack.recv(&mut self.host.pool, now, handle, &mut []), Err(RecvError::WouldBlock));
                let half_closed = at_end || file.read_shut;
                let config = stack.connection_config(handle).unwrap_or_default();
                let readable = stack.readable_bytes(handle);
                // Or as much as the window lets come.
                let enough = readable >= config.receive_low_water as usize || info.receive_window <= info.receive_mss;
                if (readable > 0 && enough) || half_closed {
                    ready |= IN | RDNORM;
                }
                if half_closed || peer_has_closed(info.state) {
                    ready |= RDHUP;
                }
                let may_send = matches!(info.state, State::Established | State::CloseWait);
                let limit = info.send_queue as usize + stack.writable_bytes(handle);
                let unsent = info.send_queue.saturating_sub(info.unacknowledged);
                let is_low = unsent.saturating_mul(2) < config.unsent_limit;
                let has_room = match limited_memory(&file.knobs) {
                    Some(size) => file.send_queue.clone().is_writable(size, file.bytes_written, &info),
                    None => stack.writable_bytes(handle) * 3 >= limit,
                };
                if !may_send || (is_low && has_room) {
                    ready |= OUT | WRNORM;
                }
                if matches!(info.state, State::Closed | State::TimeWait) {
                    ready |= HUP | RDHUP;
                    let failed = stack.connection_error(handle);
                    let failed = failed.and_then(|reason| super::kernel::errno_of(reason, &file.knobs));
                    if failed.is_some() && !file.error_told {
                        ready |= ERR;
                    }
                }
                ready
            }
        }
    }

    pub(super) fn poll(&mut self, call: &Call, state: &mut CallState) -> Outcome {
        let timeout = self.number(call, 2)?;
        let deadline = self.deadline(state, timeout);
        let Some(Expr::List(entries)) = call.arguments.first() else {
            return mismatch("a list of {fd=, events=, revents=}", format!("{:?}", call.arguments.first()));
        };
        let field = |entry: &Expr, name: &str| entry.field(name).and_then(|value| evaluate(value).ok()).unwrap_or(0);
        let mut answers = Vec::new();
        for entry in entries {
            let wanted = field(entry, "events") | ERR | HUP | NVAL;
            answers.push(self.ready(field(entry, "fd")) & wanted);
        }
        let count = answers.iter().filter(|ready| **ready != 0).count() as i64;
        if count == 0 && timeout != 0 && deadline.is_none_or(|deadline| self.host.now() < deadline) {
            return Ok(Progress::Blocked);
        }
        for (entry, got) in entries.iter().zip(answers) {
            if entry.field("revents").is_some_and(|revents| evaluate(revents).is_ok_and(|wanted| wanted != got)) {
                return mismatch(format!("revents {:#x}", field(entry, "revents")), format!("{got:#x}"));
            }
        }
        done(count)
    }

    pub(super) fn epoll_ctl(&mut self, call: &Call) -> Outcome {
        let (operation, file) = (self.number(call, 1)?, self.number(call, 2)?);
        let settings = call.arguments.get(3);
        let field = |name: &str| settings.and_then(|settings| settings.field(name));
        let events = match field("events").map(evaluate) {
            Some(Ok(events)) => events,
            Some(Err(name)) => return mismatch("a constant that is known", name),
            None => 0,
        };
        let tag = ["fd", "ptr", "u32", "u64"]
            .iter()
            .find_map(|name| field(name).map(|value| ((*name).to_string(), value.clone())));
        if !self.files.contains_key(&file) {
            return failed("EBADF");
        }
        let Ok(epoll) = self.file(call) else { return failed("EBADF") };
        let FileKind::Epoll(watches) = &mut epoll.kind else { return failed("EINVAL") };
        let place = watches.iter().position(|watch| watch.file == file);
        let watch = Watch { file, events, tag, reported: 0, seen: None };
        match (operation, place) {
            (1, None) => watches.push(watch),
            (1, Some(_)) => return failed("EEXIST"),
            (2, Some(place)) => {
                watches.remove(place);
            }
            (3, Some(place)) => watches[place] = watch,
            _ => return failed("ENOENT"),
        }
        done(0)
    }

    /// A write has found a file full: when there is room again, that is news to whoever watches it.
    pub(super) fn ran_out_of_room(&mut self, number: i64) {
        for file in self.files.values_mut() {
            if let FileKind::Epoll(watches) = &mut file.kind {
                let of_file = watches.iter_mut().filter(|watch| watch.file == number);
                of_file.for_each(|watch| watch.reported &= !(OUT | WRNORM));
            }
        }
    }

    pub(super) fn epoll_wait(&mut self, call: &Call, state: &mut CallState) -> Outcome {
        let (most, timeout) = (self.number(call, 2)?, self.number(call, 3)?);
        let deadline = self.deadline(state, timeout);
        let watches = match self.file(call) {
            Ok(super::kernel::File { kind: FileKind::Epoll(watches), .. }) => watches.clone(),
            Ok(_) => return failed("EINVAL"),
            Err(errno) => return failed(errno),
        };
        let mut reports = Vec::new();
        let mut after = Vec::new();
        for mut watch in watches {
            let ready = self.ready(watch.file);
            let told =
                self.files.get(&watch.file).and_then(|file| file.error_queue.as_ref()).map_or(0, |queue| queue.told);
            let seen = self.connection_info(watch.file).map(|info| (info.bytes_received, info.state, told));
            // Once it has reported, a watch for one event is off until it is armed again.
            let is_off = watch.events & EPOLLONESHOT != 0 && watch.events & !EPOLL_MODES == 0;
            let mut news = if is_off { 0 } else { ready & (watch.events | ERR | HUP) };
            if watch.events & EPOLLET != 0 && watch.seen == seen {
                news &= !watch.reported;
            }
            watch.reported &= ready;
            if news != 0 && (reports.len() as i64) < most {
                watch.reported = ready;
                watch.seen = seen;
                // The whole state is told at an edge.
                reports.push((ready & (watch.events | ERR | HUP), watch.tag.clone()));
                if watch.events & EPOLLONESHOT != 0 {
                    watch.events &= EPOLL_MODES;
                }
            }
            after.push(watch);
        }
        if reports.is_empty() && timeout != 0 && deadline.is_none_or(|deadline| self.host.now() < deadline) {
            return Ok(Progress::Blocked);
        }
        if let Ok(file) = self.file(call) {
            file.kind = FileKind::Epoll(after);
        }
        let wanted = match call.arguments.get(1) {
            Some(Expr::List(items)) => items.as_slice(),
            Some(single @ Expr::Struct(_)) => std::slice::from_ref(single),
            _ => &[],
        };
        for (wanted, (got, tag)) in wanted.iter().zip(&reports) {
            let events = wanted.field("events").map(evaluate);
            if events.as_ref().is_some_and(|events| events.as_ref().is_ok_and(|events| events != got)) {
                return mismatch(format!("events {events:?}"), format!("{got:#x}"));
            }
            if let Some((name, value)) = tag
                && wanted.field(name).is_some_and(|wanted| *wanted != Expr::Ellipsis && wanted != value)
            {
                return mismatch(format!("{name} {:?}", wanted.field(name)), format!("{value:?}"));
            }
        }
        done(reports.len() as i64)
    }
}
