//! The engine: its buffers, its numbers, and what drives it.

use ethertab::time::Instant;
use ethertab::{ConnectionHandle, Event, InterfaceId, ListenerHandle, PingHandle, Pool, Stack, UdpHandle};
use ethertab_sim::network::MAX_FRAME_LEN;
use ethertab_sim::{CableId, CaptureId, HostId, PortId, SwitchId};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::failure::Failure;
use crate::registry::Registry;

/// Bytes of the scratch buffer: the most that one `send` or `recv` moves.
const SCRATCH_LEN: usize = 256 * 1024;
/// Bytes of the ingress and egress buffers.
const BATCH_LEN: usize = 512 * 1024;
/// Most events that one call of `advance` reports.
const EVENTS: usize = 1_024;
/// Marks the event words that are about an external port.
const PORT_EVENT: u32 = 0x8000_0000;
/// How often `advance` goes on by itself when there is more to do at once.
const ROUNDS: usize = 4;
/// Bytes of the words in front of frames and batches.
const WORD: usize = 4;

/// A socket of one of the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Socket {
    Connection(HostId, ConnectionHandle),
    Listener(HostId, ListenerHandle),
    Udp(HostId, UdpHandle),
    Ping(HostId, PingHandle),
}

impl Socket {
    pub(crate) fn host(self) -> HostId {
        match self {
            Socket::Connection(host, _) | Socket::Listener(host, _) | Socket::Udp(host, _) | Socket::Ping(host, _) => {
                host
            }
        }
    }
}

/// See the [crate's documentation](crate).
#[wasm_bindgen]
#[derive(Debug)]
pub struct Network {
    pub(crate) inner: ethertab_sim::Network,
    pub(crate) hosts: Registry<HostId>,
    pub(crate) switches: Registry<SwitchId>,
    pub(crate) ports: Registry<PortId>,
    pub(crate) cables: Registry<CableId>,
    pub(crate) captures: Registry<CaptureId>,
    pub(crate) sockets: Registry<Socket>,
    /// Hosts that are to go once they hold no pool block.
    pub(crate) closing: Vec<HostId>,
    /// Which interface each of a host's ports belongs to.
    pub(crate) interfaces: Vec<(HostId, InterfaceId, u32)>,
    pub(crate) scratch: Vec<u8>,
    ingress: Vec<u8>,
    egress: Vec<u8>,
    events: Vec<u32>,
}

/// Microseconds as the engine's clock has them.
pub(crate) fn instant(now: f64) -> Instant {
    Instant::from_micros(now as u64)
}

fn read_word(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<WORD>()?;
    Some((u32::from_le_bytes(*word) as usize, rest))
}

#[wasm_bindgen]
impl Network {
    /// An empty network whose stacks share a pool of `pool_bytes`. What its cables do at random depends on the seed.
    #[wasm_bindgen(constructor)]
    pub fn new(pool_bytes: u32, seed_high: u32, seed_low: u32) -> Network {
        let seed = u64::from(seed_high) << 32 | u64::from(seed_low);
        Network {
            inner: ethertab_sim::Network::new(seed, pool_bytes as usize / ethertab::BLOCK_SIZE),
            hosts: Registry::new("host"),
            switches: Registry::new("switch"),
            ports: Registry::new("port"),
            cables: Registry::new("cable"),
            captures: Registry::new("capture"),
            sockets: Registry::new("socket"),
            closing: Vec::new(),
            interfaces: Vec::new(),
            scratch: vec![0; SCRATCH_LEN],
            ingress: vec![0; BATCH_LEN],
            egress: Vec::with_capacity(BATCH_LEN),
            events: Vec::with_capacity(2 * EVENTS),
        }
    }

    /// Where the scratch buffer is.
    pub fn scratch_address(&self) -> u32 {
        self.scratch.as_ptr() as usize as u32
    }

    /// Bytes of the scratch buffer.
    pub fn scratch_capacity(&self) -> u32 {
        self.scratch.len() as u32
    }

    /// Where the ingress buffer is.
    pub fn ingress_address(&self) -> u32 {
        self.ingress.as_ptr() as usize as u32
    }

    /// Bytes of the ingress buffer.
    pub fn ingress_capacity(&self) -> u32 {
        self.ingress.len() as u32
    }

    /// Where the egress buffer is.
    pub fn egress_address(&self) -> u32 {
        self.egress.as_ptr() as usize as u32
    }

    /// Where the events are that `advance` has reported.
    pub fn events_address(&self) -> u32 {
        self.events.as_ptr() as usize as u32
    }

    /// Blocks of the pool that are in use.
    pub fn blocks_in_use(&self) -> u32 {
        self.inner.pool().blocks_in_use() as u32
    }

    /// Takes in the frames in the first `length` bytes of the ingress buffer.
    pub fn receive_staged(&mut self, now: f64, length: u32) {
        let now = instant(now);
        let Some(mut rest) = self.ingress.get(..length as usize) else { return };
        while let Some((port, after)) = read_word(rest)
            && let Some((length, after)) = read_word(after)
            && let Some((mut frames, after)) = after.split_at_checked(length)
        {
            rest = after;
            // A port may have been unplugged since its frames were staged.
            let Ok(port) = self.ports.get(port as u32) else { continue };
            while let Some((length, after)) = read_word(frames)
                && let Some(frame) = after.get(..length)
            {
                self.inner.inject(port, now, frame);
                frames = after.get(length.next_multiple_of(WORD)..).unwrap_or_default();
            }
        }
    }

    /// Moves up to `most` frames that wait at an external port into the egress buffer, as many as fit; returns the bytes.
    pub fn take_frames(&mut self, now: f64, port: u32, most: u32) -> Result<u32, Failure> {
        let port = self.ports.get(port)?;
        let egress = &mut self.egress;
        egress.clear();
        let mut left = most;
        self.inner.drain(port, instant(now), |frame, _meta| {
            let padded = frame.len().next_multiple_of(WORD);
            if left == 0 || egress.len() + WORD + padded > BATCH_LEN {
                return false;
            }
            left -= 1;
            egress.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            egress.extend_from_slice(frame);
            egress.resize(egress.len() + padded - frame.len(), 0);
            true
        });
        Ok(self.egress.len() as u32)
    }

    /// Does what is due. Returns how many events are at `events_address`: each is two words, a socket's number and its
    /// signals, or an external port's number with the top bit set and a zero. When the result is not zero, there may be
    /// more: call again.
    pub fn advance(&mut self, now: f64) -> u32 {
        let now = instant(now);
        for _ in 0..ROUNDS {
            if !self.inner.advance(now) {
                break;
            }
        }
        self.remove_closed_hosts();
        self.events.clear();
        while self.events.len() < 2 * EVENTS
            && let Some((host, event)) = self.inner.poll_event()
        {
            let (socket, signals) = match event {
                Event::Connection(handle, signals) => (Socket::Connection(host, handle), signals),
                Event::Listener(handle, signals) => (Socket::Listener(host, handle), signals),
                Event::Udp(handle, signals) => (Socket::Udp(host, handle), signals),
                Event::Ping(handle, signals) => (Socket::Ping(host, handle), signals),
                _ => continue,
            };
            // A connection that nobody has accepted yet has no number; who accepts it looks at it then.
            if let Some(number) = self.sockets.number(socket) {
                self.events.extend([number, u32::from(signals.bits())]);
            }
        }
        while self.events.len() < 2 * EVENTS
            && let Some(port) = self.inner.poll_port()
        {
            if let Some(number) = self.ports.number(port) {
                self.events.extend([PORT_EVENT | number, 0]);
            }
        }
        (self.events.len() / 2) as u32
    }

    /// When to call `advance` next, if nothing else happens before; infinity for never.
    pub fn next_timeout(&self) -> f64 {
        self.inner.next_timeout().map_or(f64::INFINITY, |deadline| deadline.as_micros() as f64)
    }
}

impl Network {
    fn remove_closed_hosts(&mut self) {
        let inner = &mut self.inner;
        self.closing.retain(|host| {
            let holds_blocks = inner.host(*host).is_some_and(|stack| stack.blocks_in_use() > 0);
            if !holds_blocks {
                inner.remove_host(*host);
            }
            holds_blocks
        });
    }

    /// A host's stack, to look at.
    pub(crate) fn stack(&self, host: HostId) -> Result<&Stack<'static>, Failure> {
        self.inner.host(host).ok_or_else(no_host)
    }

    /// A host's stack and the pool, to change something.
    pub(crate) fn stack_mut(&mut self, host: HostId) -> Result<(&mut Stack<'static>, &mut Pool<'static>), Failure> {
        self.inner.host_mut(host).ok_or_else(no_host)
    }
}

#[cold]
#[inline(never)]
fn no_host() -> Failure {
    Failure::invalid("there is no such host")
}

const _: () = assert!(BATCH_LEN >= MAX_FRAME_LEN + 3 * WORD);
