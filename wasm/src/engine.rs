//! The engine: its buffers, its numbers, and what drives it.

use std::cell::Cell;

use ethertab::time::Instant;
use ethertab::{Event, Pool, Stack};
use ethertab_sim::network::MAX_FRAME_LEN;
use ethertab_sim::{CableId, CaptureId, HostId, Network, PortId, SwitchId};
use ethertab_wasm_shared::instant;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::failure::Failure;
use crate::numbers::{GIVEN, Numbers, Told};
use crate::sockets::{Ids, Socket, Sockets};

/// Bytes of the scratch buffer: the most that one `send` or `recv` moves.
const SCRATCH_LEN: usize = 256 * 1024;
/// Bytes of the ingress buffer.
const BATCH_LEN: usize = 512 * 1024;
/// Most events that one call of `advance` reports.
const EVENTS: usize = 1_024;
/// Marks the event words that are about an external port.
const PORT_EVENT: u32 = 0x8000_0000;
/// Behind the signals of an interface, in the upper bits: one more than the number of a new flow.
const FLOW_SHIFT: u32 = 8;
/// How often `advance` goes on by itself when there is more to do at once.
const ROUNDS: usize = 4;
/// Bytes of the words in front of frames and batches.
const WORD: usize = 4;
/// Most bytes of a batch that leaves: with its port and its length in front, it fits the ingress buffer of another engine.
const EGRESS_LEN: usize = BATCH_LEN - 2 * WORD;

/// What an instance of the module has: an engine, and the numbers that cross.
struct Instance {
    engine: Engine,
    numbers: Numbers,
    /// What [`create`] tells.
    buffers: [u32; 8],
}

/// A network and what JavaScript needs to refer to its parts.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) network: Network,
    pub(crate) hosts: Ids,
    pub(crate) switches: Ids,
    pub(crate) ports: Ids,
    pub(crate) cables: Ids,
    pub(crate) captures: Ids,
    pub(crate) sockets: Sockets,
    /// Hosts that are to go once they hold no pool block.
    pub(crate) closing: Vec<HostId>,
    pub(crate) scratch: Box<[u8]>,
    ingress: Box<[u8]>,
    egress: Box<[u8]>,
    events: Box<[[u32; 2]]>,
}

thread_local! {
    /// What this instance has as long as it lives; absent while a call is in it.
    static INSTANCE: Cell<Option<&'static mut Instance>> = const { Cell::new(None) };
}

fn with_instance<T>(call: impl FnOnce(&mut Instance) -> T) -> T {
    let Some(instance) = INSTANCE.take() else { no_engine() };
    let result = call(instance);
    INSTANCE.set(Some(instance));
    result
}

/// Does something with the engine.
pub(crate) fn enter<T>(call: impl FnOnce(&mut Engine) -> T) -> T {
    with_instance(|instance| call(&mut instance.engine))
}

/// Does something that may fail. Returns its result, or [`FAILED`](crate::failure::FAILED) and tells why.
pub(crate) fn attempt(call: impl FnOnce(&mut Engine, &mut Numbers) -> Result<u32, Failure>) -> i32 {
    with_instance(|Instance { engine, numbers, .. }| match call(engine, numbers) {
        Ok(result) => result as i32,
        Err(failure) => failure.tell(&mut numbers.told),
    })
}

/// Does something that may fail and tells numbers. Returns how many there are, or [`FAILED`](crate::failure::FAILED) and tells why.
pub(crate) fn tell(call: impl FnOnce(&mut Engine, &mut Told) -> Result<(), Failure>) -> i32 {
    attempt(|engine, numbers| {
        numbers.told.0.clear();
        call(engine, &mut numbers.told)?;
        Ok(numbers.told.0.len() as u32)
    })
}

/// The package makes the engine before anything else, and calls none that has trapped.
#[cold]
#[inline(never)]
fn no_engine() -> ! {
    panic!("there is no engine, or a call into it has not returned")
}

/// A seed from its halves.
fn seed(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Makes the engine of this instance, an empty network whose stacks share a pool of `pool_bytes`. What its cables do at random
/// depends on the seed. Returns where eight words are: the scratch buffer's address and length, the ingress buffer's address and length, the
/// addresses of the egress buffer, of events and of the numbers that calls are given, and how many these are.
#[wasm_bindgen]
pub fn create(pool_bytes: u32, seed_high: u32, seed_low: u32) -> u32 {
    let engine = Engine {
        network: Network::new(seed(seed_high, seed_low), pool_bytes as usize / ethertab::BLOCK_SIZE),
        hosts: Ids::default(),
        switches: Ids::default(),
        ports: Ids::default(),
        cables: Ids::default(),
        captures: Ids::default(),
        sockets: Sockets::default(),
        closing: Vec::new(),
        scratch: vec![0; SCRATCH_LEN].into(),
        ingress: vec![0; BATCH_LEN].into(),
        egress: vec![0; EGRESS_LEN].into(),
        events: vec![[0; 2]; EVENTS].into(),
    };
    let instance = Box::leak(Box::new(Instance { engine, numbers: Numbers::new(), buffers: [0; 8] }));
    let Instance { engine, numbers, buffers } = &mut *instance;
    let address = |start: *const u8| start as usize as u32;
    *buffers = [
        address(engine.scratch.as_ptr()),
        SCRATCH_LEN as u32,
        address(engine.ingress.as_ptr()),
        BATCH_LEN as u32,
        address(engine.egress.as_ptr()),
        address(engine.events.as_ptr().cast()),
        address(numbers.given.as_ptr().cast()),
        GIVEN as u32,
    ];
    let buffers = address(buffers.as_ptr().cast());
    INSTANCE.set(Some(instance));
    buffers
}

/// Where the numbers are that the last call told.
#[wasm_bindgen]
pub fn told() -> u32 {
    with_instance(|instance| instance.numbers.told.0.as_ptr() as usize as u32)
}

/// Blocks of the pool that are in use.
#[wasm_bindgen]
pub fn blocks_in_use() -> u32 {
    enter(|engine| engine.network.pool().blocks_in_use() as u32)
}

/// Takes in the frames in the first `length` bytes of the ingress buffer.
#[wasm_bindgen]
pub fn receive_staged(now: f64, length: u32) {
    enter(|engine| engine.receive_staged(instant(now), length as usize));
}

/// Moves up to `most` frames that wait at an external port into the egress buffer, as many as fit; returns the bytes.
#[wasm_bindgen]
pub fn take_frames(now: f64, port: u32, most: u32) -> u32 {
    enter(|engine| engine.take_frames(instant(now), port, most) as u32)
}

/// Does what is due. Returns how many events are in the events buffer: each is two words, a socket's number and its
/// signals, an interface's with a new flow, or an external port's number with the top bit set and a zero. When the result is not zero, there may be
/// more: call again.
#[wasm_bindgen]
pub fn advance(now: f64) -> u32 {
    enter(|engine| engine.advance(instant(now)) as u32)
}

/// When to call `advance` next, if nothing else happens before; infinity for never.
#[wasm_bindgen]
pub fn next_timeout() -> f64 {
    enter(|engine| engine.network.next_timeout().map_or(f64::INFINITY, |deadline| deadline.as_micros() as f64))
}

fn read_word(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<WORD>()?;
    Some((u32::from_le_bytes(*word) as usize, rest))
}

impl Engine {
    fn receive_staged(&mut self, now: Instant, length: usize) {
        let Some(mut rest) = self.ingress.get(..length) else { return };
        while let Some((port, after)) = read_word(rest)
            && let Some((length, after)) = read_word(after)
            && let Some((mut frames, after)) = after.split_at_checked(length)
        {
            rest = after;
            // A port may have been unplugged since its frames were staged: then nothing is injected.
            let port = PortId::from_bits(self.ports.get(port as u32));
            while let Some((length, after)) = read_word(frames)
                && let Some(frame) = after.get(..length)
            {
                self.network.inject(port, now, frame);
                frames = after.get(length.next_multiple_of(WORD)..).unwrap_or_default();
            }
        }
    }

    fn take_frames(&mut self, now: Instant, port: u32, most: u32) -> usize {
        let port = PortId::from_bits(self.ports.get(port));
        let egress = &mut self.egress;
        let (mut used, mut left) = (0, most);
        self.network.drain(port, now, |frame, _meta| {
            let needed = WORD + frame.len().next_multiple_of(WORD);
            if left == 0 {
                return false;
            }
            let Some(place) = egress.get_mut(used..used + needed) else { return false };
            let (word, bytes) = place.split_at_mut(WORD);
            word.copy_from_slice(&(frame.len() as u32).to_le_bytes());
            bytes[..frame.len()].copy_from_slice(frame);
            left -= 1;
            used += needed;
            true
        });
        used
    }

    fn advance(&mut self, now: Instant) -> usize {
        for _ in 0..ROUNDS {
            if !self.network.advance(now) {
                break;
            }
        }
        self.remove_closed_hosts();
        // What the last call told of has been told by now.
        self.sockets.reuse_removed();
        let mut count = 0;
        while let Some(place) = self.events.get_mut(count)
            && let Some((host, event)) = self.network.poll_event()
        {
            if let Event::Flow(handle) = event {
                if let Some(found) = self.network.host(host).and_then(|stack| stack.pending_flow(handle))
                    && let Some(number) = self.sockets.number(Socket::interface(host, found.interface))
                {
                    *place = [number, (self.sockets.insert_flow(host, handle) + 1) << FLOW_SHIFT];
                    count += 1;
                }
                continue;
            }
            // A connection that nobody has accepted yet has no number; who accepts it looks at it then.
            if let Some((socket, signals)) = Socket::of_event(host, event)
                && let Some(number) = self.sockets.number(socket)
            {
                *place = [number, signals.into()];
                count += 1;
            }
        }
        while let Some(place) = self.events.get_mut(count)
            && let Some(port) = self.network.poll_port()
        {
            *place = [PORT_EVENT | port.to_bits() as u32, 0];
            count += 1;
        }
        count
    }

    fn remove_closed_hosts(&mut self) {
        let network = &mut self.network;
        self.closing.retain(|host| {
            let holds_blocks = network.host(*host).is_some_and(|stack| stack.blocks_in_use() > 0);
            if !holds_blocks {
                network.remove_host(*host);
            }
            holds_blocks
        });
    }

    pub(crate) fn host(&self, number: u32) -> HostId {
        HostId::from_bits(self.hosts.get(number))
    }

    pub(crate) fn switch(&self, number: u32) -> SwitchId {
        SwitchId::from_bits(self.switches.get(number))
    }

    pub(crate) fn port(&self, number: u32) -> PortId {
        PortId::from_bits(self.ports.get(number))
    }

    pub(crate) fn cable(&self, number: u32) -> CableId {
        CableId::from_bits(self.cables.get(number))
    }

    pub(crate) fn capture(&self, number: u32) -> CaptureId {
        CaptureId::from_bits(self.captures.get(number))
    }

    /// A host's stack, to look at.
    pub(crate) fn stack(&self, host: HostId) -> Result<&Stack<'static>, Failure> {
        self.network.host(host).ok_or_else(Failure::missing)
    }

    /// A host's stack and the pool, to change something.
    pub(crate) fn stack_mut(&mut self, host: HostId) -> Result<(&mut Stack<'static>, &mut Pool<'static>), Failure> {
        self.network.host_mut(host).ok_or_else(Failure::missing)
    }
}

const _: () = assert!(EGRESS_LEN >= WORD + MAX_FRAME_LEN.next_multiple_of(WORD));
