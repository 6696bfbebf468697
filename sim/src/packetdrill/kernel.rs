//! The system calls of a script, on top of the stack's own calls. File numbers are those that the script expects.

use ethertab::time::Duration;
use ethertab::{CloseReason, ConnectionHandle, ConnectionInfo, Endpoint, ListenerHandle, SendFlags, State, UdpHandle};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::ast::{Call, Expr};
use super::dialect::Dialect;
use super::error_queue::ErrorQueue;
use super::host::Host;
use super::knobs::{Change, Knobs, SocketKnobs, Unsupported};
use super::poll::Watch;
use super::receive_queue::ReceiveQueue;
use super::send_queue::SendQueue;
use super::settings::Settings;
use super::stream::config_of;
use super::symbols::{evaluate, symbol};

/// What a call has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has returned a number, or -1 and the name of an error.
    Done(Result<i64, &'static str>),
    /// It waits.
    Blocked,
}

pub(super) fn done(value: i64) -> Outcome {
    Ok(Progress::Done(Ok(value)))
}

pub(super) fn failed(errno: &'static str) -> Outcome {
    Ok(Progress::Done(Err(errno)))
}

/// Why a call could not be made, or showed something wrong beside its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The stack has nothing to do it with.
    Unsupported(Unsupported),
    /// Something else than the script says.
    Mismatch { expected: String, got: String },
}

impl From<Unsupported> for Problem {
    fn from(unsupported: Unsupported) -> Self {
        Problem::Unsupported(unsupported)
    }
}

pub(super) type Outcome = Result<Progress, Problem>;

pub(super) fn unsupported<T>(setting: impl Into<String>, needs: &'static str) -> Result<T, Problem> {
    Err(Problem::Unsupported(Unsupported { setting: setting.into(), needs }))
}

pub(super) fn mismatch<T>(expected: impl Into<String>, got: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Mismatch { expected: expected.into(), got: got.into() })
}

/// What an open file is.
#[derive(Debug)]
pub(super) enum FileKind {
    /// A TCP socket that is neither connected nor listening.
    Fresh,
    Listening(ListenerHandle),
    Open(ConnectionHandle),
    /// A UDP socket, bound once it has to be.
    Udp(Option<UdpHandle>),
    Epoll(Vec<Watch>),
    /// An end of a pipe.
    Pipe(usize),
    /// A file on a disk.
    Plain,
}

/// An open file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) kind: FileKind,
    pub(super) knobs: SocketKnobs,
    pub(super) nonblocking: bool,
    pub(super) local: Option<Endpoint>,
    pub(super) peer: Option<SocketAddr>,
    /// The ports of a connection: ours and the peer's.
    pub(super) ports: Option<(u16, u16)>,
    /// Bytes read and written so far.
    pub(super) bytes_read: u32,
    pub(super) bytes_written: u32,
    /// Why the connection ended has been told.
    pub(super) error_told: bool,
    /// What the network has reported of an open connection, until it is told (`IP_RECVERR`).
    pub(super) reported: Option<&'static str>,
    /// `connect` has said that it is done.
    pub(super) connect_told: bool,
    /// `shutdown(SHUT_RD)`.
    pub(super) read_shut: bool,
    /// What is to be told about sends, if anything was asked for.
    pub(super) error_queue: Option<ErrorQueue>,
    pub(super) send_queue: SendQueue,
    /// What the peer has sent, if its memory counts.
    pub(super) receive_queue: Option<ReceiveQueue>,
}

impl File {
    pub(super) fn new(kind: FileKind, knobs: SocketKnobs) -> Self {
        File {
            kind,
            knobs,
            nonblocking: false,
            local: None,
            peer: None,
            ports: None,
            bytes_read: 0,
            bytes_written: 0,
            error_told: false,
            reported: None,
            connect_told: false,
            read_shut: false,
            error_queue: None,
            send_queue: SendQueue::default(),
            receive_queue: None,
        }
    }
}

/// Something that a script's later packets are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A local port on which connections may come in.
    Port(u16),
    /// A connection, by our port and the peer's.
    Connection(u16, u16),
    /// The same, and it begins now: an earlier one may have had the ports.
    NewConnection(u16, u16),
}

/// The state of a call while it blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CallState {
    /// It was begun before.
    pub(super) resumed: bool,
    /// Bytes moved so far.
    pub(super) bytes: u32,
    /// What it says of the data.
    pub(super) flags: SendFlags,
    /// It waits for room in the send buffer.
    pub(super) waits_for_room: bool,
    /// It waits for the end of the handshake.
    pub(super) connecting: bool,
    /// When it gives up, in microseconds since the script began.
    pub(super) deadline: Option<u64>,
}

pub(super) struct Kernel {
    pub(super) host: Host,
    pub(super) knobs: Knobs,
    pub(super) settings: Settings,
    pub(super) files: BTreeMap<i64, File>,
    /// Bytes that each pipe holds.
    pub(super) pipes: Vec<u32>,
    /// Connections whose files the script has closed, by our port and the peer's.
    pub(super) closed: Vec<(u16, u16)>,
    /// What the last call has made the subject of the packets that follow.
    pub(super) subject: Option<Subject>,
}

impl Kernel {
    /// Makes a call, or goes on with one that blocked.
    pub(super) fn call(&mut self, call: &Call, state: &mut CallState) -> Outcome {
        let outcome = self.dispatch(call, state);
        state.resumed = true;
        self.host.transmit();
        self.advance_error_queues();
        outcome
    }

    fn dispatch(&mut self, call: &Call, state: &mut CallState) -> Outcome {
        match call.name.as_str() {
            "socket" => self.socket(call),
            "bind" => self.bind(call),
            "listen" => self.listen(call),
            "accept" | "accept4" => self.accept(call),
            "connect" => self.connect(call, state),
            "read" | "recv" | "recvfrom" | "recvmsg" | "readv" => self.read(call, state),
            "write" | "send" | "sendto" | "sendmsg" | "writev" => self.write(call, state),
            "close" => self.close(call),
            "shutdown" => self.shutdown(call),
            "fcntl" => self.fcntl(call),
            "ioctl" => self.ioctl(call),
            "getsockopt" => self.getsockopt(call),
            "setsockopt" => self.setsockopt(call),
            "poll" => self.poll(call, state),
            "epoll_create" | "epoll_create1" => {
                let knobs = SocketKnobs::new(&self.knobs);
                self.open(call, File::new(FileKind::Epoll(Vec::new()), knobs))
            }
            "pipe" | "pipe2" => self.pipe(call),
            "open" => self.open_file(call),
            "sendfile" => self.send_file(call, state),
            "splice" => self.splice(call, state),
            "epoll_ctl" => self.epoll_ctl(call),
            "epoll_wait" | "epoll_pwait" => self.epoll_wait(call, state),
            name => unsupported(format!("{name}()"), "a system call of this name"),
        }
    }

    /// Applies a sysctl to the stack, to the sockets that are not in use yet, and to open connections if it is one that kernels look
    /// at again and again.
    pub(super) fn sysctl(&mut self, name: &str, value: &str) -> Result<(), Unsupported> {
        let now = self.host.instant();
        for file in self.files.values_mut() {
            match file.kind {
                FileKind::Fresh => file.knobs.sysctl(&self.knobs, name, value),
                FileKind::Open(handle) if is_live(name) => {
                    file.knobs.sysctl(&self.knobs, name, value);
                    // One that is over needs no settings.
                    let _ = self.host.stack.set_connection_config(now, handle, &config_of(&file.knobs));
                }
                _ => {}
            }
        }
        let set = self.knobs.sysctl(name, value);
        if name.ends_with("icmp_may_rst") {
            // This one is about connections that there are.
            let now = self.host.instant();
            for file in self.files.values_mut() {
                file.knobs.tcp.manner = self.knobs.tcp.manner;
                if let FileKind::Open(handle) = file.kind {
                    let _ = self.host.stack.set_connection_config(now, handle, &config_of(&file.knobs));
                }
            }
        }
        set
    }

    /// `tcpdrop`: ends the connections in a state.
    pub(super) fn drop_connections(&mut self, state: State) {
        let now = self.host.instant();
        let Host { stack, pool, .. } = &mut self.host;
        for file in self.files.values() {
            if let FileKind::Open(handle) = file.kind
                && stack.connection_state(handle) == Some(state)
            {
                stack.abort(pool, now, handle);
            }
        }
    }

    /// Adds a file under the number that the script expects, or the next free one.
    pub(super) fn open(&mut self, call: &Call, file: File) -> Outcome {
        let wanted = evaluate(&call.result).ok().filter(|number| *number >= 0);
        let number = wanted.unwrap_or_else(|| self.files.keys().next_back().map_or(3, |last| last + 1));
        if let Some(hidden) = self.files.remove(&number) {
            // The script's numbers are its own: it may use one twice, and no longer reaches what had it before.
            let free = self.files.keys().next().map_or(-2, |first| *first.min(&-1) - 1);
            self.files.insert(free, hidden);
        }
        self.files.insert(number, file);
        done(number)
    }

    /// The file that the call's first argument names.
    pub(super) fn file(&mut self, call: &Call) -> Result<&mut File, &'static str> {
        let number = call.arguments.first().and_then(|argument| evaluate(argument).ok());
        number.and_then(|number| self.files.get_mut(&number)).ok_or("EBADF")
    }

    /// The number of an argument.
    pub(super) fn number(&self, call: &Call, at: usize) -> Result<i64, Problem> {
        match call.arguments.get(at) {
            Some(expr) => evaluate(expr).or_else(|name| unsupported(name, "a constant of this name")),
            None => mismatch(format!("{} arguments of {}", at + 1, call.name), format!("{}", call.arguments.len())),
        }
    }

    fn socket(&mut self, call: &Call) -> Outcome {
        let kind = self.number(call, 1)?;
        let knobs = SocketKnobs::new(&self.knobs);
        let mut file = match kind & 0xf {
            1 => File::new(FileKind::Fresh, knobs),
            2 => File::new(FileKind::Udp(None), knobs),
            _ => return unsupported("socket()", "raw sockets"),
        };
        file.nonblocking = kind & 0o4000 != 0;
        self.open(call, file)
    }

    /// The address that an argument means: `...` is the script's default.
    pub(super) fn address(&self, argument: Option<&Expr>, default: SocketAddr) -> Result<SocketAddr, Problem> {
        let Some(structure @ Expr::Struct(_)) = argument else { return Ok(default) };
        let port = structure.field("sin_port").or_else(|| structure.field("sin6_port"));
        let port = port.and_then(|port| evaluate(port).ok()).map_or(default.port(), |port| port as u16);
        let ip = match structure.field("sin_addr").or_else(|| structure.field("sin6_addr")) {
            Some(Expr::Apply(_, arguments)) => match &arguments[..] {
                [Expr::Str(text)] => match text.parse::<IpAddr>() {
                    // A mapped address is IPv4 on the wire.
                    Ok(address) => address.to_canonical(),
                    Err(_) => return mismatch("an IP address", text.clone()),
                },
                _ => default.ip(),
            },
            // INADDR_ANY
            Some(Expr::Word(_)) => Ipv6Addr::UNSPECIFIED.into(),
            _ => default.ip(),
        };
        Ok(SocketAddr::new(ip, port))
    }

    fn bind(&mut self, call: &Call) -> Outcome {
        let default = SocketAddr::new(self.host.local, self.settings.bind_port);
        let address = self.address(call.arguments.get(1), default)?;
        let endpoint =
            Endpoint { address: (!address.ip().is_unspecified()).then_some(address.ip()), port: address.port() };
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        file.local = Some(endpoint);
        if let FileKind::Udp(None) = file.kind {
            let Ok(bound) = self.host.stack.bind_udp(endpoint) else { return failed("EADDRINUSE") };
            if let Ok(file) = self.file(call) {
                file.kind = FileKind::Udp(Some(bound));
            }
        }
        self.subject = Some(Subject::Port(endpoint.port));
        done(0)
    }

    fn close(&mut self, call: &Call) -> Outcome {
        let number = self.number(call, 0)?;
        let Some(file) = self.files.remove(&number) else { return failed("EBADF") };
        self.closed.extend(file.ports);
        let now = self.host.instant();
        let Host { stack, pool, .. } = &mut self.host;
        match file.kind {
            FileKind::Fresh | FileKind::Epoll(_) | FileKind::Pipe(_) | FileKind::Plain => {}
            FileKind::Listening(listener) => stack.close_listener(pool, now, listener),
            FileKind::Open(connection) if file.knobs.linger == Some(0) => stack.abort(pool, now, connection),
            FileKind::Open(connection) => stack.close(pool, now, connection),
            FileKind::Udp(handle) => {
                if let Some(handle) = handle {
                    stack.udp_close(pool, handle);
                }
            }
        }
        done(0)
    }

    fn fcntl(&mut self, call: &Call) -> Outcome {
        let command = self.number(call, 1)?;
        let argument = if call.arguments.len() > 2 { self.number(call, 2)? } else { 0 };
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        match command {
            // F_GETFL, F_SETFL, F_GETFD, F_SETFD
            3 => done(2 | if file.nonblocking { 0o4000 } else { 0 }),
            4 => {
                file.nonblocking = argument & 0o4000 != 0;
                done(0)
            }
            1 | 2 => done(0),
            _ => unsupported("fcntl()", "another command"),
        }
    }

    fn ioctl(&mut self, call: &Call) -> Outcome {
        let request = self.number(call, 1)?;
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        let FileKind::Open(handle) = file.kind else { return failed("EINVAL") };
        let stack = &self.host.stack;
        let info = stack.connection_info(handle);
        let value = match request {
            0x541b => stack.readable_bytes(handle) as i64,
            0x5411 => stack.unacknowledged_bytes(handle) as i64,
            0x894b => info.map_or(0, |info| i64::from(info.send_queue.saturating_sub(info.unacknowledged))),
            0x894c => stack.writable_bytes(handle) as i64,
            _ => return unsupported("ioctl()", "another request"),
        };
        expect_value(call.arguments.get(2), value, "ioctl")?;
        done(0)
    }

    fn setsockopt(&mut self, call: &Call) -> Outcome {
        let name = option_name(call)?;
        let now = self.host.instant();
        let Some(number) = call.arguments.first().and_then(|argument| evaluate(argument).ok()) else {
            return failed("EBADF");
        };
        let Some(file) = self.files.get_mut(&number) else { return failed("EBADF") };
        let value = call.arguments.get(3).unwrap_or(&Expr::Ellipsis);
        let text = match value {
            Expr::Str(text) => Some(text),
            Expr::List(items) => match &items[..] {
                [Expr::Str(text)] => Some(text),
                _ => None,
            },
            _ => None,
        };
        if name == "SO_LINGER" {
            let field = |field: &str| value.field(field).and_then(|value| evaluate(value).ok()).unwrap_or(0);
            file.knobs.linger = (field("onoff") != 0).then(|| field("linger"));
            return done(0);
        }
        if name == "SO_TIMESTAMPING" {
            let queued = match file.kind {
                FileKind::Open(handle) => self.host.stack.unacknowledged_bytes(handle) as u32,
                _ => 0,
            };
            let place = file.bytes_written.wrapping_sub(queued);
            let Ok(flags) = evaluate(value) else { return unsupported(name, "another flag") };
            file.error_queue.get_or_insert_default().set_timestamping(flags, place);
            return done(0);
        }
        let change = match text {
            Some(text) => file.knobs.set_text(&name, text)?,
            None => match evaluate(value) {
                Ok(value) => file.knobs.set(&name, value)?,
                Err(_) => return unsupported(name, "an option with a structure"),
            },
        };
        if let Change::Refused(errno) = change {
            return failed(errno);
        }
        let handle = match file.kind {
            FileKind::Open(handle) => handle,
            FileKind::Listening(listener) => {
                let stack = &mut self.host.stack;
                let told = match change {
                    Change::FastOpen => stack.set_fast_open(listener, file.knobs.fast_open_queue),
                    Change::FastOpenKeys(keys) => stack.set_fast_open_keys(Some(listener), keys),
                    _ => stack.set_listener_config(listener, &config_of(&file.knobs)),
                };
                return told.map_or_else(|_| failed("EINVAL"), |()| done(0));
            }
            _ => return done(0),
        };
        let told = match change {
            Change::FastOpen | Change::FastOpenKeys(_) | Change::Refused(_) => return failed("EINVAL"),
            Change::Config if name.starts_with("SO_RCVBUF") && file.receive_queue.is_some() => {
                if let (Some(queue), Some(size)) = (&mut file.receive_queue, file.knobs.receive_memory) {
                    queue.resize(size);
                }
                self.expect_reading(number, handle, 0);
                Ok(())
            }
            Change::Config => self.host.stack.set_connection_config(now, handle, &config_of(&file.knobs)),
            Change::NoDelay => self.host.stack.set_nodelay(handle, true),
            Change::QuickAck(quick) => self.host.stack.set_quick_ack(handle, quick),
        };
        told.map_or_else(|_| failed("EINVAL"), |()| done(0))
    }

    fn getsockopt(&mut self, call: &Call) -> Outcome {
        let name = option_name(call)?;
        let Some(number) = call.arguments.first().and_then(|argument| evaluate(argument).ok()) else {
            return failed("EBADF");
        };
        let Some(file) = self.files.get_mut(&number) else { return failed("EBADF") };
        let wanted = call.arguments.get(3);
        let handle = match file.kind {
            FileKind::Open(handle) => Some(handle),
            _ => None,
        };
        let value = match name.as_str() {
            "SO_ERROR" => {
                if let Some(errno) = file.reported.take() {
                    return expect_errno(wanted, Some(errno)).and_then(|()| done(0));
                }
                let reason = handle.and_then(|handle| self.host.stack.connection_error(handle));
                let errno = reason.filter(|_| !std::mem::replace(&mut file.error_told, true));
                let errno = errno.and_then(|reason| errno_of(reason, &file.knobs));
                file.error_told &= reason.is_some();
                return expect_errno(wanted, errno).and_then(|()| done(0));
            }
            "SO_LINGER" => {
                let onoff = i64::from(file.knobs.linger.is_some());
                let wanted = |field| wanted.and_then(|wanted| wanted.field(field));
                expect_value(wanted("onoff"), onoff, "onoff")?;
                expect_value(wanted("linger"), file.knobs.linger.unwrap_or(0), "linger")?;
                return done(0);
            }
            // FreeBSD rounds buffers up to whole segments as soon as it knows their size.
            "SO_RCVBUF" | "SO_SNDBUF" if file.knobs.dialect == Dialect::FreeBsd => {
                let info = handle.and_then(|handle| self.host.stack.connection_info(handle));
                let mss = info.filter(|info| info.state != State::SynSent).map_or(1, |info| i64::from(info.mss).max(1));
                let size = file.knobs.get(&name)?;
                if size > mss { (size + mss - 1) / mss * mss } else { size }
            }
            "TCP_INFO" => return self.expect_tcp_info(number, wanted),
            "TCP_CONGESTION" => {
                let info = handle.and_then(|handle| self.host.stack.connection_info(handle));
                let algorithm = info.map_or(file.knobs.tcp.congestion, |info| info.congestion_control);
                return match wanted {
                    Some(Expr::Str(text)) if text.trim_matches('"') != algorithm.name() => {
                        mismatch(format!("congestion control {text}"), algorithm.name())
                    }
                    _ => done(0),
                };
            }
            "SO_TYPE" => i64::from(matches!(file.kind, FileKind::Udp(_))) + 1,
            "SO_PROTOCOL" if matches!(file.kind, FileKind::Udp(_)) => 17,
            "SO_PROTOCOL" => 6,
            "SO_DOMAIN" if self.settings.sockets_are_v6() => 10,
            "SO_DOMAIN" => 2,
            "SO_ACCEPTCONN" => i64::from(matches!(file.kind, FileKind::Listening(_))),
            "IP_MTU" | "IPV6_MTU" => {
                let info = handle.and_then(|handle| self.host.stack.connection_info(handle));
                let Some(info) = info else { return failed("ENOTCONN") };
                i64::from(info.path_mtu)
            }
            // A structure without members for most algorithms; what BBR's would say is not told.
            "TCP_CC_INFO" => return done(0),
            "TCP_MAXSEG" if handle.is_some() => {
                let info = handle.and_then(|handle| self.host.stack.connection_info(handle));
                info.map_or(0, |info| i64::from(info.mss))
            }
            _ => file.knobs.get(&name)?,
        };
        expect_value(wanted, value, &name)?;
        done(0)
    }

    fn expect_tcp_info(&mut self, number: i64, wanted: Option<&Expr>) -> Outcome {
        let Some(info) = self.connection_info(number) else { return failed("EINVAL") };
        let Some(Expr::Struct(fields)) = wanted else { return done(0) };
        let known = super::knobs::tcp_info(&info);
        for field in fields {
            let Some(name) = field.name.as_deref().filter(|_| field.value != Expr::Ellipsis) else { continue };
            match known.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => expect_value(Some(&field.value), *value, name)?,
                None => return unsupported(name, "a field of TCP_INFO of this name"),
            }
        }
        done(0)
    }

    /// How the connection of a file stands.
    pub(super) fn connection_info(&self, number: i64) -> Option<ConnectionInfo> {
        match self.files.get(&number)?.kind {
            FileKind::Open(handle) => self.host.stack.connection_info(handle),
            _ => None,
        }
    }

    /// The deadline of a call that waits so many milliseconds; none for those that wait for ever.
    pub(super) fn deadline(&self, state: &mut CallState, millis: i64) -> Option<u64> {
        if !state.resumed && millis >= 0 {
            state.deadline = Some(self.host.now() + Duration::from_millis(millis.min(LONGEST_WAIT) as u64).as_micros());
        }
        state.deadline
    }
}

/// Whether a sysctl changes connections that are open.
fn is_live(name: &str) -> bool {
    const LIVE: [&str; 13] = [
        "tcp_ecn_option",
        "tcp_ecn_option_beacon",
        "tcp_slow_start_after_idle",
        "tcp_recovery",
        "tcp_early_retrans",
        "tcp_frto",
        "tcp_dsack",
        "tcp_max_reordering",
        "tcp_retries1",
        "tcp_retries2",
        "tcp_orphan_retries",
        "tcp_moderate_rcvbuf",
        "tcp_invalid_ratelimit",
    ];
    name.strip_prefix("net.ipv4.").is_some_and(|name| LIVE.contains(&name))
}

/// The longest time that a call waits, in milliseconds: more is for ever.
const LONGEST_WAIT: i64 = 1_000_000_000;

/// The name of the option in a call of `getsockopt` or `setsockopt`.
fn option_name(call: &Call) -> Result<String, Problem> {
    match call.arguments.get(2) {
        Some(Expr::Word(name)) => Ok(name.clone()),
        other => mismatch("the name of a socket option", format!("{other:?}")),
    }
}

/// Compares what a call has written into memory with what the script says.
pub(super) fn expect_value(wanted: Option<&Expr>, value: i64, what: &str) -> Result<(), Problem> {
    let wanted = match wanted {
        None | Some(Expr::Ellipsis) => return Ok(()),
        Some(Expr::List(items)) if items.is_empty() || items[..] == [Expr::Ellipsis] => return Ok(()),
        Some(wanted) => wanted,
    };
    match evaluate(wanted) {
        Ok(expected) if expected == value => Ok(()),
        Ok(expected) => mismatch(format!("{what} {expected}"), format!("{value}")),
        Err(name) => unsupported(name, "a constant of this name"),
    }
}

fn expect_errno(wanted: Option<&Expr>, errno: Option<&'static str>) -> Result<(), Problem> {
    let wanted = match wanted {
        Some(Expr::List(items)) => items.first(),
        other => other,
    };
    let got = errno.unwrap_or("no error");
    let matches = match wanted {
        None | Some(Expr::Ellipsis) => true,
        Some(Expr::Word(name)) => errno == Some(name.as_str()),
        Some(other) => evaluate(other).ok() == Some(errno.and_then(symbol).unwrap_or(0)),
    };
    if matches { Ok(()) } else { mismatch(format!("SO_ERROR {wanted:?}"), got) }
}

/// The error that tells the user why a connection is over.
pub(super) fn errno_of(reason: CloseReason, knobs: &SocketKnobs) -> Option<&'static str> {
    match reason {
        // What FreeBSD calls hard errors.
        CloseReason::Unreachable { code: 2 | 9 | 10 | 13 } if knobs.dialect == Dialect::FreeBsd => Some("ECONNREFUSED"),
        // Nobody has asked for the connection: a Fast Open child of a listener.
        CloseReason::Refused if knobs.accepted && knobs.dialect == Dialect::Linux => Some("ECONNRESET"),
        CloseReason::Refused => Some("ECONNREFUSED"),
        CloseReason::Reset if knobs.half_closed && knobs.dialect == Dialect::Linux => Some("EPIPE"),
        CloseReason::Reset => Some("ECONNRESET"),
        CloseReason::TimedOut => Some("ETIMEDOUT"),
        // RFC 1122 §4.2.3.9's codes, as Linux turns them into errors.
        CloseReason::Unreachable { code: 13 } if knobs.ipv6 => Some("EACCES"),
        CloseReason::Unreachable { code: 0 | 6 | 9 | 11 } => Some("ENETUNREACH"),
        CloseReason::Unreachable { code: 2 } => Some("ENOPROTOOPT"),
        CloseReason::Unreachable { code: 4 } => Some("EMSGSIZE"),
        CloseReason::Unreachable { code: 5 } => Some("EOPNOTSUPP"),
        CloseReason::Unreachable { code: 7 } => Some("EHOSTDOWN"),
        CloseReason::Unreachable { code: 8 } => Some("ENONET"),
        CloseReason::Unreachable { .. } | CloseReason::HopLimitExceeded => Some("EHOSTUNREACH"),
        CloseReason::ParameterProblem if knobs.dialect == Dialect::FreeBsd => Some("ECONNREFUSED"),
        CloseReason::ParameterProblem => Some("EPROTO"),
        CloseReason::Aborted => Some("ECONNABORTED"),
        _ => None,
    }
}
