//! Two hosts, the cable between them, and the programs.

use crate::{CHUNK_BYTES, Cable, FRAME_BYTES, Failure, Host, Pattern, Side};

/// Length of a round of the virtual clock.
const ROUND_MICROS: u64 = 10;

/// Time between two connections of [`Pair::connections`]. A host that keeps TIME-WAIT for a minute
/// holds 6,000 of them, and their end is part of what is measured.
const BETWEEN_CONNECTIONS_MICROS: u64 = 10_000;

/// Rounds one after the other in which nothing moves before a program gives up. A deadline that
/// has passed already makes the clock move by one round only.
const PATIENCE: u32 = 10_000;

/// A client and a server with one connection open between them, and perhaps idle ones.
#[derive(Debug)]
pub struct Pair<H: Host> {
    client: H,
    server: H,
    to_server: Cable,
    to_client: Cable,
    now: u64,
    frame: Box<[u8; FRAME_BYTES]>,
    pattern: Pattern,
    chunk: Vec<u8>,
    active: Option<(H::Socket, H::Socket)>,
    sent: u64,
    received: u64,
    frames: u64,
}

impl<H: Host> Pair<H> {
    /// Two hosts, `idle` established connections, and then the one that the programs use.
    ///
    /// # Errors
    /// [`Failure::Refused`] or [`Failure::Stalled`] when the connections do not come about.
    pub fn new(buffer_bytes: usize, idle: usize) -> Result<Self, Failure> {
        let [client, server] = [Side::Client, Side::Server].map(|side| H::new(side, buffer_bytes, idle));
        Self::of_hosts(client?, server?, idle)
    }

    /// The same with hosts that were made before.
    ///
    /// # Errors
    /// As [`new`](Self::new) has them.
    pub fn of_hosts(client: H, server: H, idle: usize) -> Result<Self, Failure> {
        let mut pair = Self {
            client,
            server,
            to_server: Cable::default(),
            to_client: Cable::default(),
            now: 1_000_000,
            frame: Box::new([0; FRAME_BYTES]),
            pattern: Pattern::default(),
            chunk: vec![0; CHUNK_BYTES],
            active: None,
            sent: 0,
            received: 0,
            frames: 0,
        };
        for remaining in (0..=idle).rev() {
            // The listener made while accepting this connection serves the one after it.
            let opened = pair.open(remaining > 0, remaining > 1)?;
            if remaining == 0 {
                pair.active = Some(opened);
            }
        }
        Ok(pair)
    }

    /// What both hosts use of memory that was set aside at the start, in bytes.
    pub fn pooled_bytes(&self) -> usize {
        self.client.pooled_bytes() + self.server.pooled_bytes()
    }

    /// Moves `bytes` from the client's application to the server's and compares each of them.
    ///
    /// # Errors
    /// [`Failure::WrongBytes`] or [`Failure::Stalled`].
    pub fn bulk(&mut self, bytes: u64) -> Result<(), Failure> {
        let (client, server) = self.active.ok_or(Failure::NotSetUp)?;
        let end = self.sent + bytes;
        self.run(|pair| {
            pair.send_upto(client, end);
            pair.round_client();
            pair.receive_server();
            pair.recv_all(server)?;
            pair.transmit_server();
            Ok(pair.received == end)
        })
    }

    /// Sends `rounds` messages of `size` bytes to and fro, one at a time, and compares each byte.
    ///
    /// # Errors
    /// [`Failure::WrongBytes`], [`Failure::Stalled`], or [`Failure::Refused`] when the send buffer
    /// is smaller than a message.
    pub fn ping_pong(&mut self, rounds: u32, size: usize) -> Result<(), Failure> {
        let (client, server) = self.active.ok_or(Failure::NotSetUp)?;
        let size = size.min(CHUNK_BYTES);
        for _ in 0..rounds {
            let end = self.sent + size as u64;
            let mut echoed = 0;
            let mut returned = 0;
            self.run(|pair| {
                pair.send_upto(client, end);
                pair.round_client();
                pair.receive_server();
                // The echo sends back what has arrived, from the buffer it arrived in.
                let room = size - echoed;
                let count = pair.server.recv(pair.now, server, &mut pair.chunk[..room]);
                if count > 0 {
                    if !pair.pattern.matches(pair.received, &pair.chunk[..count]) {
                        return Err(Failure::WrongBytes);
                    }
                    pair.received += count as u64;
                    if pair.server.send(pair.now, server, &pair.chunk[..count]) < count {
                        return Err(Failure::Refused);
                    }
                    echoed += count;
                }
                pair.transmit_server();
                pair.receive_client();
                let count = pair.client.recv(pair.now, client, &mut pair.chunk[..size]);
                if count > 0 {
                    let offset = end - size as u64 + returned;
                    if !pair.pattern.matches(offset, &pair.chunk[..count]) {
                        return Err(Failure::WrongBytes);
                    }
                    returned += count as u64;
                }
                Ok(returned == size as u64)
            })?;
        }
        Ok(())
    }

    /// Opens and closes `count` connections, one after the other, the client closing first. Each
    /// has a port of its own.
    ///
    /// # Errors
    /// [`Failure::Refused`] or [`Failure::Stalled`].
    pub fn connections(&mut self, count: u32) -> Result<(), Failure> {
        for _ in 0..count {
            let (client, server) = self.open(false, false)?;
            self.client.close(self.now, client);
            let mut server_closed = false;
            let mut client_over = false;
            let mut server_over = false;
            self.run(|pair| {
                pair.round_client();
                pair.receive_server();
                if !server_closed && pair.server.is_finished(server) {
                    pair.server.close(pair.now, server);
                    server_closed = true;
                }
                pair.transmit_server();
                client_over = client_over || pair.client.is_over(client);
                server_over = server_over || (server_closed && pair.server.is_over(server));
                Ok(client_over && server_over)
            })?;
            self.now += BETWEEN_CONNECTIONS_MICROS;
        }
        Ok(())
    }

    fn open(&mut self, idle: bool, next_idle: bool) -> Result<(H::Socket, H::Socket), Failure> {
        let client = self.client.connect(self.now, idle)?;
        let mut accepted = None;
        self.run(|pair| {
            pair.round_client();
            pair.receive_server();
            if accepted.is_none() {
                accepted = pair.server.accept(next_idle);
            }
            pair.transmit_server();
            let done = accepted.is_some() && pair.client.is_established(client);
            Ok(done)
        })?;
        accepted.map(|server| (client, server)).ok_or(Failure::Stalled)
    }

    /// Calls `round` until it says that it is done. After a round without a frame, lets the clock
    /// jump to the next deadline.
    fn run(&mut self, mut round: impl FnMut(&mut Self) -> Result<bool, Failure>) -> Result<(), Failure> {
        let mut quiet_rounds = 0;
        loop {
            self.now += ROUND_MICROS;
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            let frames = self.frames;
            if round(self)? {
                return Ok(());
            }
            if self.frames != frames {
                quiet_rounds = 0;
                continue;
            }
            quiet_rounds += 1;
            let next = [self.client.next_timeout(self.now), self.server.next_timeout(self.now)];
            match next.into_iter().flatten().min() {
                Some(deadline) if quiet_rounds <= PATIENCE => self.now = self.now.max(deadline),
                _ => return Err(Failure::Stalled),
            }
        }
    }

    fn send_upto(&mut self, socket: H::Socket, end: u64) {
        while self.sent < end {
            let wanted = (end - self.sent).min(CHUNK_BYTES as u64) as usize;
            let bytes = self.pattern.at(self.sent, wanted);
            let taken = self.client.send(self.now, socket, bytes);
            if taken == 0 {
                break;
            }
            self.sent += taken as u64;
        }
    }

    fn recv_all(&mut self, socket: H::Socket) -> Result<(), Failure> {
        loop {
            let count = self.server.recv(self.now, socket, &mut self.chunk);
            if count == 0 {
                return Ok(());
            }
            if !self.pattern.matches(self.received, &self.chunk[..count]) {
                return Err(Failure::WrongBytes);
            }
            self.received += count as u64;
        }
    }

    fn round_client(&mut self) {
        self.receive_client();
        drain(&mut self.client, self.now, &mut self.frame, &mut self.to_server);
    }

    fn receive_client(&mut self) {
        self.frames += deliver(&mut self.client, self.now, &mut self.frame, &mut self.to_client);
    }

    fn receive_server(&mut self) {
        self.frames += deliver(&mut self.server, self.now, &mut self.frame, &mut self.to_server);
    }

    fn transmit_server(&mut self) {
        drain(&mut self.server, self.now, &mut self.frame, &mut self.to_client);
    }
}

/// Returns how many frames there were.
#[inline]
fn deliver<H: Host>(host: &mut H, now: u64, frame: &mut [u8; FRAME_BYTES], from: &mut Cable) -> u64 {
    let mut frames = 0;
    while let Some(length) = from.pop(frame) {
        host.receive(now, &frame[..length]);
        frames += 1;
    }
    frames
}

#[inline]
fn drain<H: Host>(host: &mut H, now: u64, frame: &mut [u8; FRAME_BYTES], to: &mut Cable) {
    while to.has_room() {
        match host.transmit(now, frame) {
            Some(length) => to.push(&frame[..length]),
            None => return,
        }
    }
}
