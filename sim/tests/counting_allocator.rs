//! The stack allocates nothing after construction: an allocator that counts what happens within calls to it sees nothing,
//! whatever the network does.
//!
//! The two stacks are driven by hand here, since the rest of a world (cables that grow, applications) may allocate.

use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    Config, ConnectOptions, ConnectionHandle, Endpoint, Event, FrameMeta, InterfaceConfig, InterfaceId, Limits,
    ListenOptions, ListenerHandle, Pool, RecvError, Stack,
};
use ethertab_sim::apps::{fill_pattern, first_difference};
use ethertab_sim::{Cable, Impairment, Side};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator; the counters are thread-local and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if WATCHING.get() {
            ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if WATCHING.get() {
            ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        }
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs a call into the stack and counts what it allocates and frees.
fn watched<T>(call: impl FnOnce() -> T) -> T {
    WATCHING.set(true);
    let result = call();
    WATCHING.set(false);
    result
}

struct Host {
    stack: Stack<'static>,
    interface: InterfaceId,
    side: Side,
    listener: Option<ListenerHandle>,
    /// Connections with the bytes sent and received.
    connections: Vec<(ConnectionHandle, u64, u64)>,
}

struct Scene {
    pool: Pool<'static>,
    cable: Cable,
    hosts: [Host; 2],
    now: Instant,
    complete: usize,
}

/// Bytes that each end of a connection sends.
const BYTES: u64 = 60_000;

impl Scene {
    fn new(seed: u64, impairment: Impairment, blocks: usize) -> Scene {
        let host = |number: u8, side| {
            let mut stack = Stack::new(Config::new([seed, number.into()]), Limits::small());
            let mac = MacAddr([2, 0, 0, 0, 0, number]);
            let interface = stack.add_interface(Instant::ZERO, InterfaceConfig::ethernet(mac)).unwrap();
            for prefix in [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")] {
                stack.add_address(Instant::ZERO, interface, prefix.parse().unwrap()).unwrap();
            }
            Host { stack, interface, side, listener: None, connections: Vec::new() }
        };
        let mut cable = Cable::new(seed, 0);
        for side in [Side::A, Side::B] {
            cable.impair(side, impairment).unwrap();
        }
        let mut hosts = [host(1, Side::A), host(2, Side::B)];
        let mut pool = Pool::new(blocks);
        // A damaged ARP answer, which has no checksum and which no Ethernet would let pass, leads astray for minutes.
        for (host, peer) in hosts.iter_mut().zip([2, 1]) {
            for address in [format!("10.0.0.{peer}"), format!("fd00::{peer}")] {
                let mac = MacAddr([2, 0, 0, 0, 0, peer]);
                host.stack.add_neighbor(&mut pool, host.interface, address.parse().unwrap(), mac).unwrap();
            }
        }
        Scene { pool, cable, hosts, now: Instant::ZERO, complete: 0 }
    }

    fn listen(&mut self) {
        let server = &mut self.hosts[1];
        server.listener = Some(watched(|| server.stack.listen(Endpoint::any(80), ListenOptions::default())).unwrap());
    }

    fn connect(&mut self, remote: &str) {
        let remote = remote.parse().unwrap();
        let (client, now) = (&mut self.hosts[0], self.now);
        let connection = watched(|| client.stack.connect(now, remote, ConnectOptions::default()));
        client.connections.push((connection.unwrap(), 0, 0));
    }

    fn run_until(&mut self, deadline: Instant) {
        loop {
            self.settle();
            let arrivals = [Side::A, Side::B].map(|side| self.cable.lane(side).next_arrival());
            let timeouts = [0, 1].map(|number| self.hosts[number].stack.next_timeout());
            match arrivals.into_iter().chain(timeouts).flatten().min() {
                Some(next) if next <= deadline => self.now = self.now.max(next),
                _ => break,
            }
        }
        self.now = deadline;
    }

    fn settle(&mut self) {
        let now = self.now;
        for _ in 0..1_000 {
            let mut quiet = true;
            for host in &mut self.hosts {
                let (pool, interface) = (&mut self.pool, host.interface);
                let incoming = self.cable.lane_mut(host.side.other());
                while let Some((frame, meta)) = incoming.arrived(now) {
                    watched(|| host.stack.receive(pool, now, interface, frame, meta));
                    incoming.pop();
                    quiet = false;
                }
                if host.stack.next_timeout().is_some_and(|due| due <= now) {
                    watched(|| host.stack.handle_timeout(pool, now));
                    quiet = false;
                }
                let mut buf = [0; 1_514];
                while let Some(meta) = watched(|| host.stack.transmit(pool, now, interface, &mut buf)) {
                    self.cable.lane_mut(host.side).send(now, &buf[..meta.len], FrameMeta::received(meta.len));
                    quiet = false;
                }
                while let Some(event) = watched(|| host.stack.poll_event()) {
                    quiet = false;
                    if let (Event::Listener(..), Some(listener)) = (event, host.listener) {
                        while let Some(connection) = watched(|| host.stack.accept(listener)) {
                            host.connections.push((connection, 0, 0));
                        }
                    }
                }
                self.complete += host.serve_connections(pool, now);
            }
            if quiet {
                return;
            }
        }
        panic!("the stacks do not come to rest at {now}");
    }
}

impl Host {
    /// Sends, receives and closes as far as it goes. Returns how many connections ended with everything received.
    fn serve_connections(&mut self, pool: &mut Pool<'static>, now: Instant) -> usize {
        let mut complete = 0;
        let stack = &mut self.stack;
        let mut buf = [0; 4_096];
        self.connections.retain_mut(|(handle, sent, received)| {
            let handle = *handle;
            while *sent < BYTES {
                let len = (BYTES - *sent).min(4_096) as usize;
                fill_pattern(1, *sent, &mut buf[..len]);
                let taken = watched(|| stack.send(pool, now, handle, &buf[..len])).unwrap_or(0);
                *sent += taken as u64;
                if taken < len {
                    break;
                }
                if *sent == BYTES {
                    watched(|| stack.shutdown(now, handle)).unwrap();
                }
            }
            loop {
                match watched(|| stack.recv(pool, now, handle, &mut buf)) {
                    Ok(0) if *sent == BYTES => {
                        assert_eq!(*received, BYTES);
                        watched(|| stack.close(pool, now, handle));
                        complete += 1;
                        return false;
                    }
                    Ok(0) | Err(RecvError::WouldBlock) => return true,
                    Ok(count) => {
                        assert_eq!(first_difference(1, *received, &buf[..count]), None);
                        *received += count as u64;
                    }
                    Err(_) => {
                        watched(|| stack.close(pool, now, handle));
                        return false;
                    }
                }
            }
        });
        complete
    }
}

fn bad() -> Impairment {
    Impairment {
        jitter: Duration::from_millis(2),
        loss: 0.03,
        duplicate: 0.03,
        corrupt: 0.03,
        reorder: 0.1,
        rate: Some(10_000_000),
        ..Impairment::latency(Duration::from_millis(5))
    }
}

#[test]
fn the_allocator_would_see_an_allocation() {
    let before = ALLOCATIONS.get();
    drop(watched(|| std::hint::black_box(vec![1_u8; 100])));
    assert!(ALLOCATIONS.get() > before);
}

#[test]
fn no_seeded_run_allocates() {
    for seed in 0..20 {
        let before = ALLOCATIONS.get();
        let impairment = if seed == 0 { Impairment::PERFECT } else { bad() };
        let mut scene = Scene::new(seed, impairment, 4_096);
        scene.listen();
        for round in 0..6 {
            let remote = ["10.0.0.2:80", "[fd00::2]:80", "10.0.0.2:81", "10.0.0.99:80"][round % 4];
            scene.connect(remote);
            scene.connect("10.0.0.2:80");
            scene.run_until(Instant::from_secs(round as u64 * 30 + 30));
        }
        scene.run_until(Instant::from_secs(1_000));
        assert_eq!(ALLOCATIONS.get(), before, "seed {seed}");
        // Both ends of the ten connections that had somebody to talk to.
        assert_eq!(scene.complete, 20, "seed {seed}");
    }
}

/// Scarcity slows transfers down and stops none of them: growth stops first, then what can be sent again is given up.
#[test]
fn no_run_with_a_pool_that_is_too_small_allocates_or_stalls() {
    for blocks in [24, 100, 200] {
        for seed in 0..5 {
            let before = ALLOCATIONS.get();
            let mut scene = Scene::new(seed, bad(), blocks);
            scene.listen();
            for number in 0..10 {
                scene.connect(["10.0.0.2:80", "[fd00::2]:80"][number % 2]);
            }
            scene.run_until(Instant::from_secs(5_000));
            assert_eq!(ALLOCATIONS.get(), before, "seed {seed}");
            assert_eq!(scene.complete, 20, "seed {seed}, {blocks} blocks: both ends of ten connections");
            assert!(scene.pool.peak_blocks() > blocks * 3 / 4, "seed {seed}: {blocks} blocks were more than enough");
            assert_eq!(scene.pool.blocks_in_use(), 0, "seed {seed}, {blocks} blocks");
        }
    }
}
