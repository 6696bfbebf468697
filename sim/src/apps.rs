//! Small applications for tests: each is one end of a TCP connection that follows a [`Plan`] (send so much, echo, read
//! slowly, half-close, ...), checks every byte that it receives, and remembers how the connection went.
//!
//! Streams carry a pattern that depends on a key and the offset, so that a lost, repeated or misplaced byte is noticed
//! wherever it is.

use crate::network::{HostId, Network};
use ethertab::time::{Duration, Instant};
use ethertab::{
    CloseReason, ConnectError, ConnectOptions, ConnectionHandle, Endpoint, Event, ListenError, ListenOptions,
    ListenerHandle, Pool, RecvError, SendError, Stack,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

/// Bytes read or written in one call.
const CHUNK: usize = 16 * 1024;

/// What one end of a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Bytes of the pattern to send.
    pub send: u64,
    /// The key of the pattern that is sent.
    pub pattern: u64,
    /// The key of the pattern that is to be received; `None` takes anything.
    pub expect: Option<u64>,
    /// Send back what is received (after `send` bytes of one's own).
    pub echo: bool,
    /// How it reads.
    pub reading: Reading,
    /// How it writes.
    pub writing: Writing,
    /// What it does when everything is sent.
    pub finish: Finish,
}

/// How an application reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Whatever there is, as soon as it is there.
    AtOnce,
    /// So many bytes at a time, and again after a while.
    Paced {
        /// Bytes, at least 1.
        bytes: usize,
        /// Time between two reads.
        every: Duration,
    },
    /// Not before this time.
    From(Instant),
    /// Never.
    Never,
}

/// How an application writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// As much as the stack takes, as soon as it does.
    AtOnce,
    /// So many bytes at a time, and again after a while.
    Paced {
        /// Bytes, at least 1.
        bytes: usize,
        /// Time between two writes.
        every: Duration,
    },
}

/// What an application does once it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Says that it will send no more, reads to the end, closes.
    Shutdown,
    /// The same, but not before the peer has said that it will send no more.
    AfterPeer,
    /// Closes at once.
    Close,
    /// Resets the connection.
    Abort,
    /// Nothing: the connection stays open.
    Stay,
}

impl Plan {
    /// Sends `bytes` bytes, says so, reads to the end.
    pub const fn send(bytes: u64) -> Plan {
        Plan {
            send: bytes,
            pattern: 1,
            expect: None,
            echo: false,
            reading: Reading::AtOnce,
            writing: Writing::AtOnce,
            finish: Finish::Shutdown,
        }
    }

    /// Reads to the end and then closes; everything must be the pattern of [`Plan::send`].
    pub const fn receive() -> Plan {
        Plan { expect: Some(1), finish: Finish::AfterPeer, ..Plan::send(0) }
    }

    /// Sends back what it receives.
    pub const fn echo() -> Plan {
        Plan { echo: true, finish: Finish::AfterPeer, ..Plan::send(0) }
    }
}

/// One end of a connection, and how it went.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The host that it runs on.
    pub host: HostId,
    /// What it does.
    pub plan: Plan,
    /// The connection, until the application lets go of it.
    pub handle: Option<ConnectionHandle>,
    /// Bytes that the stack took, echoed ones included.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Offset of the first byte received that was not the pattern.
    pub mismatch: Option<u64>,
    /// Whether the connection was established.
    pub connected: bool,
    /// Whether all that the peer sent has been read.
    pub peer_finished: bool,
    /// Whether this end has said that it will send no more.
    pub finished: bool,
    /// Why the connection ended, if it ended before the application let go of it.
    pub reason: Option<CloseReason>,
    echo: Vec<u8>,
    /// When it reads next, if it must wait.
    reads_at: Option<Instant>,
    /// When it writes next, if it must wait.
    writes_at: Option<Instant>,
}

impl Conversation {
    fn new(host: HostId, handle: ConnectionHandle, plan: Plan) -> Self {
        let reads_at = match plan.reading {
            Reading::From(time) => Some(time),
            _ => None,
        };
        Conversation {
            host,
            plan,
            handle: Some(handle),
            sent: 0,
            received: 0,
            mismatch: None,
            connected: false,
            peer_finished: false,
            finished: false,
            reason: None,
            echo: Vec::new(),
            reads_at,
            writes_at: None,
        }
    }

    /// Whether the application has let go of the connection.
    pub fn is_over(&self) -> bool {
        self.handle.is_none()
    }

    /// Whether it is over, everything was sent, the peer's end was reached, and every byte was right.
    pub fn went_well(&self) -> bool {
        let no_error = matches!(self.reason, None | Some(CloseReason::Finished));
        let complete = self.sent >= self.plan.send && self.peer_finished && self.finished;
        self.is_over() && no_error && complete && self.mismatch.is_none()
    }

    /// Reads, writes and closes as far as the plan and the stack allow.
    fn run(&mut self, stack: &mut Stack<'static>, pool: &mut Pool<'static>, now: Instant) {
        let Some(handle) = self.handle else { return };
        // Echoing makes room for reading, and reading gives something to echo.
        loop {
            let before = (self.sent, self.received, self.peer_finished);
            self.read(stack, pool, now, handle);
            self.write(stack, pool, now, handle);
            if before == (self.sent, self.received, self.peer_finished) || !self.plan.echo {
                break;
            }
        }
        if self.reason.is_none() {
            self.reason = stack.connection_error(handle);
        }
        self.finish(stack, pool, now, handle);
    }

    fn read(&mut self, stack: &mut Stack<'static>, pool: &mut Pool<'static>, now: Instant, handle: ConnectionHandle) {
        let (mut allowed, again) = match self.plan.reading {
            Reading::Never => return,
            Reading::AtOnce | Reading::From(_) => (usize::MAX, None),
            Reading::Paced { bytes, every } => (bytes.max(1), Some(now + every)),
        };
        if self.reads_at.is_some_and(|time| time > now) {
            return;
        }
        let mut buf = [0; CHUNK];
        while allowed > 0 && !self.peer_finished && self.echo.is_empty() {
            let len = allowed.min(CHUNK);
            match stack.recv(pool, now, handle, &mut buf[..len]) {
                Ok(0) => self.peer_finished = true,
                Ok(count) => {
                    self.check(&buf[..count]);
                    self.received += count as u64;
                    allowed -= count;
                    if self.plan.echo {
                        self.echo.extend_from_slice(&buf[..count]);
                    }
                    self.reads_at = again;
                }
                Err(RecvError::Closed(reason)) => {
                    self.reason = Some(reason);
                    return;
                }
                Err(_) => return,
            }
        }
    }

    fn check(&mut self, bytes: &[u8]) {
        if let Some(key) = self.plan.expect
            && self.mismatch.is_none()
        {
            self.mismatch = first_difference(key, self.received, bytes);
        }
    }

    fn write(&mut self, stack: &mut Stack<'static>, pool: &mut Pool<'static>, now: Instant, handle: ConnectionHandle) {
        if self.finished {
            return;
        }
        let (mut allowed, again) = match self.plan.writing {
            Writing::AtOnce => (u64::MAX, None),
            Writing::Paced { .. } if self.writes_at.is_some_and(|time| time > now) => (0, self.writes_at),
            Writing::Paced { bytes, every } => (bytes.max(1) as u64, Some(now + every)),
        };
        let mut buf = [0; CHUNK];
        while self.sent < self.plan.send && allowed > 0 {
            let len = (self.plan.send - self.sent).min(CHUNK as u64).min(allowed) as usize;
            fill_pattern(self.plan.pattern, self.sent, &mut buf[..len]);
            let taken = self.offer(stack.send(pool, now, handle, &buf[..len]));
            allowed -= taken as u64;
            if taken > 0 {
                self.writes_at = again;
            }
            if taken < len {
                return;
            }
        }
        if self.sent < self.plan.send {
            return;
        }
        if !self.echo.is_empty() {
            let taken = self.offer(stack.send(pool, now, handle, &self.echo));
            self.echo.drain(..taken);
        }
    }

    fn offer(&mut self, result: Result<usize, SendError>) -> usize {
        match result {
            Ok(taken) => {
                self.sent += taken as u64;
                taken
            }
            Err(SendError::Closed(reason)) => {
                self.reason = Some(reason);
                0
            }
            Err(_) => 0,
        }
    }

    fn finish(&mut self, stack: &mut Stack<'static>, pool: &mut Pool<'static>, now: Instant, handle: ConnectionHandle) {
        let ended = self.reason.is_some() && (self.peer_finished || self.plan.reading == Reading::Never);
        let failed = self.reason.is_some_and(|reason| reason != CloseReason::Finished);
        if ended || failed {
            stack.close(pool, now, handle);
            self.handle = None;
            return;
        }
        let echoed = !self.plan.echo || (self.peer_finished && self.echo.is_empty());
        if self.sent < self.plan.send || !echoed {
            return;
        }
        match self.plan.finish {
            Finish::Stay => {}
            Finish::AfterPeer if !self.peer_finished => {}
            Finish::Shutdown | Finish::AfterPeer => {
                if !self.finished {
                    self.finished = stack.shutdown(now, handle).is_ok();
                }
                if self.finished && self.peer_finished {
                    stack.close(pool, now, handle);
                    self.handle = None;
                }
            }
            Finish::Close => {
                stack.close(pool, now, handle);
                (self.finished, self.handle) = (true, None);
            }
            Finish::Abort => {
                stack.abort(pool, now, handle);
                (self.finished, self.handle) = (true, None);
            }
        }
    }

    /// When it wants to run although nothing happened.
    fn wake(&self, now: Instant) -> Option<Instant> {
        let reads_at = self.reads_at.filter(|_| !self.peer_finished);
        let writes_at = self.writes_at.filter(|_| self.sent < self.plan.send);
        [reads_at, writes_at].into_iter().flatten().filter(|time| *time > now && self.handle.is_some()).min()
    }
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |finished| if finished { "finished" } else { "open" };
        write!(f, "sent {} of {} ({})", self.sent, self.plan.send, end(self.finished))?;
        write!(f, ", received {} ({})", self.received, end(self.peer_finished))?;
        if !self.connected {
            f.write_str(", not connected")?;
        }
        if let Some(offset) = self.mismatch {
            write!(f, ", wrong byte at {offset}")?;
        }
        match (self.reason, self.handle) {
            (Some(reason), _) => write!(f, ", ended: {reason:?}"),
            (None, None) => f.write_str(", closed"),
            (None, Some(_)) => Ok(()),
        }
    }
}

/// A listener whose connections all follow one plan.
#[derive(Clone, Debug)]
struct Server {
    host: HostId,
    listener: ListenerHandle,
    plan: Plan,
    accepted: Vec<ConversationId>,
}

/// A conversation of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId(usize);

/// A server of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(usize);

/// All applications of a world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Apps {
    conversations: Vec<Conversation>,
    servers: Vec<Server>,
    by_connection: BTreeMap<(HostId, u64), ConversationId>,
    by_listener: BTreeMap<(HostId, u64), ServerId>,
    wakes: BTreeSet<(Instant, ConversationId)>,
}

impl Apps {
    pub(crate) fn conversation(&self, id: ConversationId) -> &Conversation {
        &self.conversations[id.0]
    }

    pub(crate) fn accepted(&self, id: ServerId) -> &[ConversationId] {
        &self.servers[id.0].accepted
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Conversation> {
        self.conversations.iter()
    }

    pub(crate) fn serve(
        &mut self,
        network: &mut Network,
        host: HostId,
        local: Endpoint,
        plan: Plan,
    ) -> Option<Result<ServerId, ListenError>> {
        let (stack, _) = network.host_mut(host)?;
        let listener = match stack.listen(local, ListenOptions::default()) {
            Ok(listener) => listener,
            Err(error) => return Some(Err(error)),
        };
        let id = ServerId(self.servers.len());
        self.servers.push(Server { host, listener, plan, accepted: Vec::new() });
        self.by_listener.insert((host, listener.to_bits()), id);
        Some(Ok(id))
    }

    pub(crate) fn connect(
        &mut self,
        network: &mut Network,
        now: Instant,
        host: HostId,
        remote: SocketAddr,
        plan: Plan,
    ) -> Option<Result<ConversationId, ConnectError>> {
        let (stack, _) = network.host_mut(host)?;
        Some(stack.connect(now, remote, ConnectOptions::default()).map(|handle| self.add(host, handle, plan)))
    }

    pub(crate) fn abort(&mut self, network: &mut Network, now: Instant, id: ConversationId) {
        let conversation = &mut self.conversations[id.0];
        let Some(handle) = conversation.handle.take() else { return };
        conversation.reason = Some(CloseReason::Aborted);
        self.by_connection.remove(&(conversation.host, handle.to_bits()));
        if let Some((stack, pool)) = network.host_mut(conversation.host) {
            stack.abort(pool, now, handle);
        }
    }

    fn add(&mut self, host: HostId, handle: ConnectionHandle, plan: Plan) -> ConversationId {
        let id = ConversationId(self.conversations.len());
        let conversation = Conversation::new(host, handle, plan);
        if let Some(time) = conversation.wake(Instant::ZERO) {
            self.wakes.insert((time, id));
        }
        self.conversations.push(conversation);
        self.by_connection.insert((host, handle.to_bits()), id);
        id
    }

    /// When an application wants to run although nothing happens.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.wakes.first().map(|(time, _)| *time)
    }

    /// Lets the applications run whose time has come. Returns whether there was one.
    pub(crate) fn wake(&mut self, network: &mut Network, now: Instant) -> bool {
        let mut any = false;
        while let Some(&(time, id)) = self.wakes.first()
            && time <= now
        {
            self.wakes.pop_first();
            self.run(network, now, id);
            any = true;
        }
        any
    }

    /// Hands an event to the application that it is for, if there is one.
    pub(crate) fn handle(&mut self, network: &mut Network, now: Instant, host: HostId, event: Event) {
        match event {
            Event::Connection(handle, signals) => {
                let Some(&id) = self.by_connection.get(&(host, handle.to_bits())) else {
                    return;
                };
                self.conversations[id.0].connected |= signals.contains(ethertab::Signals::CONNECTED);
                self.run(network, now, id);
            }
            Event::Listener(handle, _) => {
                let Some(&id) = self.by_listener.get(&(host, handle.to_bits())) else {
                    return;
                };
                self.accept(network, now, id);
            }
            _ => {}
        }
    }

    fn accept(&mut self, network: &mut Network, now: Instant, id: ServerId) {
        let Server { host, listener, plan, .. } = self.servers[id.0];
        while let Some(handle) = network.host_mut(host).and_then(|(stack, _)| stack.accept(listener)) {
            let conversation = self.add(host, handle, plan);
            self.conversations[conversation.0].connected = true;
            self.servers[id.0].accepted.push(conversation);
            self.run(network, now, conversation);
        }
    }

    fn run(&mut self, network: &mut Network, now: Instant, id: ConversationId) {
        let conversation = &mut self.conversations[id.0];
        let Some(handle) = conversation.handle else {
            return;
        };
        let Some((stack, pool)) = network.host_mut(conversation.host) else {
            return;
        };
        conversation.run(stack, pool, now);
        if let Some(time) = conversation.wake(now) {
            self.wakes.insert((time, id));
        }
        if conversation.is_over() {
            self.by_connection.remove(&(conversation.host, handle.to_bits()));
        }
    }
}

fn pattern_word(key: u64, index: u64) -> u64 {
    // SplitMix64's output function: neighbouring offsets and keys share nothing.
    let mut word = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The byte of pattern `key` at `offset`.
pub fn pattern_byte(key: u64, offset: u64) -> u8 {
    (pattern_word(key, offset / 8) >> (offset % 8 * 8)) as u8
}

/// Fills `buf` with pattern `key` from `offset` on.
pub fn fill_pattern(key: u64, offset: u64, buf: &mut [u8]) {
    let lead = ((8 - offset % 8) % 8).min(buf.len() as u64) as usize;
    let (head, rest) = buf.split_at_mut(lead);
    for (byte, at) in head.iter_mut().zip(offset..) {
        *byte = pattern_byte(key, at);
    }
    for (chunk, index) in rest.chunks_mut(8).zip((offset + lead as u64) / 8..) {
        chunk.copy_from_slice(&pattern_word(key, index).to_le_bytes()[..chunk.len()]);
    }
}

/// The offset of the first byte that is not pattern `key`, where `bytes` begin at `offset`.
pub fn first_difference(key: u64, offset: u64, bytes: &[u8]) -> Option<u64> {
    let mut expected = [0; 1_024];
    for (chunk, at) in bytes.chunks(expected.len()).zip((offset..).step_by(expected.len())) {
        fill_pattern(key, at, &mut expected[..chunk.len()]);
        if chunk != &expected[..chunk.len()] {
            return chunk.iter().zip(&expected).zip(at..).find(|((a, b), _)| a != b).map(|(_, at)| at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_the_same_however_it_is_cut() {
        let whole: Vec<u8> = (0..5_000).map(|offset| pattern_byte(9, offset)).collect();
        for (start, len) in [(0, 5_000), (1, 7), (3, 2), (8, 8), (1_023, 2_050), (4_999, 1), (17, 0)] {
            let mut cut = vec![0; len];
            fill_pattern(9, start as u64, &mut cut);
            assert_eq!(cut, whole[start..start + len], "{start} {len}");
            assert_eq!(first_difference(9, start as u64, &cut), None);
        }
    }

    #[test]
    fn a_wrong_byte_is_found_where_it_is() {
        let mut bytes: Vec<u8> = (100..4_000).map(|offset| pattern_byte(9, offset)).collect();
        bytes[3_001] ^= 1;
        assert_eq!(first_difference(9, 100, &bytes), Some(3_101));
        assert!(first_difference(10, 100, &bytes).is_some_and(|at| at < 104));
    }
}
