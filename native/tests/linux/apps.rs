//! What the stack's host runs: applications that are told when something happened at their connection.

use ethertab::time::Instant;
use ethertab::{CloseReason, ConnectionHandle, Pool, RecvError, SendError, Stack};
use ethertab_sim::apps::fill_pattern;
use sha2::{Digest as _, Sha256};

/// Bytes that an application moves at once.
const CHUNK: usize = 16 * 1024;

/// A stream that went by: its length, and its SHA-256.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    len: u64,
    sha256: Sha256,
}

impl Stream {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.sha256.update(bytes);
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// What streams are compared by.
    pub(crate) fn identity(&self) -> (u64, [u8; 32]) {
        (self.len, self.sha256.clone().finalize().into())
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Stream) -> bool {
        self.identity() == other.identity()
    }
}

/// The stream that [`fill_pattern`] makes.
pub(crate) fn pattern(key: u64, len: u64) -> Stream {
    let mut stream = Stream::default();
    let mut chunk = [0; CHUNK];
    while stream.len < len {
        let chunk = &mut chunk[..(len - stream.len).min(CHUNK as u64) as usize];
        fill_pattern(key, stream.len, chunk);
        stream.add(chunk);
    }
    stream
}

/// An application's connection for the time of a call.
pub(crate) struct Socket<'a> {
    pub(crate) stack: &'a mut Stack<'static>,
    pub(crate) pool: &'a mut Pool<'static>,
    pub(crate) now: Instant,
    pub(crate) handle: ConnectionHandle,
}

/// What came of reading.
pub(crate) enum Read {
    Bytes(usize),
    NothingYet,
    End,
}

impl Socket<'_> {
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<Read, CloseReason> {
        match self.stack.recv(self.pool, self.now, self.handle, buf) {
            Ok(0) => Ok(Read::End),
            Ok(len) => Ok(Read::Bytes(len)),
            Err(RecvError::Closed(reason)) => Err(reason),
            Err(_) => Ok(Read::NothingYet),
        }
    }

    /// Returns how much was taken.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, CloseReason> {
        match self.stack.send(self.pool, self.now, self.handle, bytes) {
            Ok(len) => Ok(len),
            Err(SendError::Closed(reason)) => Err(reason),
            Err(_) => Ok(0),
        }
    }

    /// Ends our side; that of a connection which is over is ended.
    pub(crate) fn shutdown(&mut self) {
        let _ = self.stack.shutdown(self.now, self.handle);
    }
}

/// An application.
pub(crate) trait App {
    /// Does what can be done now. Returns whether the application has finished with the connection.
    fn run(&mut self, socket: &mut Socket<'_>) -> Result<bool, CloseReason>;

    /// What it has received so far.
    fn received(&self) -> &Stream;
}

/// When a [`Sender`] sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// At once; then it waits for the peer's end.
    First,
    /// After the peer's end.
    Second,
}

/// Sends a pattern, ends its side, and hashes what it receives.
pub(crate) struct Sender {
    order: Order,
    key: u64,
    len: u64,
    sent: u64,
    received: Stream,
    peer_ended: bool,
}

impl Sender {
    /// Sends `len` bytes of the pattern `key`.
    pub(crate) fn new(order: Order, key: u64, len: u64) -> Self {
        Sender { order, key, len, sent: 0, received: Stream::default(), peer_ended: false }
    }
}

impl App for Sender {
    fn run(&mut self, socket: &mut Socket<'_>) -> Result<bool, CloseReason> {
        let mut chunk = [0; CHUNK];
        while !self.peer_ended {
            match socket.read(&mut chunk)? {
                Read::Bytes(len) => self.received.add(&chunk[..len]),
                Read::NothingYet => break,
                Read::End => self.peer_ended = true,
            }
        }
        if self.order == Order::Second && !self.peer_ended {
            return Ok(false);
        }
        while self.sent < self.len {
            let chunk = &mut chunk[..(self.len - self.sent).min(CHUNK as u64) as usize];
            fill_pattern(self.key, self.sent, chunk);
            let taken = socket.write(chunk)?;
            self.sent += taken as u64;
            if taken < chunk.len() {
                return Ok(false);
            }
        }
        socket.shutdown();
        Ok(self.peer_ended)
    }

    fn received(&self) -> &Stream {
        &self.received
    }
}

/// Sends back what it receives, and ends its side after the peer.
#[derive(Default)]
pub(crate) struct Echo {
    received: Stream,
    waiting: Vec<u8>,
}

impl App for Echo {
    fn run(&mut self, socket: &mut Socket<'_>) -> Result<bool, CloseReason> {
        let mut chunk = [0; CHUNK];
        loop {
            let taken = socket.write(&self.waiting)?;
            self.waiting.drain(..taken);
            if !self.waiting.is_empty() {
                return Ok(false);
            }
            match socket.read(&mut chunk)? {
                Read::Bytes(len) => {
                    self.received.add(&chunk[..len]);
                    self.waiting.extend_from_slice(&chunk[..len]);
                }
                Read::NothingYet => return Ok(false),
                Read::End => return Ok(true),
            }
        }
    }

    fn received(&self) -> &Stream {
        &self.received
    }
}
