//! Two hosts that live in memory lent to them, in a program that has no allocator and could not link with one: each pings the
//! other and they exchange a checked stream over both families.
//!
//! Exits with 0 if all went well; otherwise a line on standard error says what did not.
#![no_std]
#![no_main]

mod libc;

use core::net::{IpAddr, SocketAddr};
use ethertab::memory::{Tables, buckets, nodes};
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    BLOCK_SIZE, Config, ConnectOptions, ConnectionHandle, Endpoint, Event, FrameMeta, InterfaceConfig, InterfaceId,
    ListenOptions, PingOutcome, Pool, Prefix, RecvError, Signals, Stack,
};

const CONNECTIONS: usize = 4;
const OTHERS: usize = 8;
const BLOCKS: usize = 200;
/// Bytes sent in each direction of a connection.
const BYTES: u32 = 1_000_000;

type HostTables = Tables<CONNECTIONS, OTHERS, { nodes(CONNECTIONS, OTHERS) }, { buckets(CONNECTIONS, OTHERS) }>;

/// All memory that the stacks have.
struct Memory {
    tables: [HostTables; 2],
    pool_bytes: [u8; BLOCKS * BLOCK_SIZE],
    pool_links: [u32; BLOCKS],
}

static mut MEMORY: Memory =
    Memory { tables: [const { HostTables::new() }; 2], pool_bytes: [0; BLOCKS * BLOCK_SIZE], pool_links: [0; BLOCKS] };

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let memory = &raw mut MEMORY;
    // SAFETY: `main` runs once and on one thread, and nothing else names the static.
    let mut network = Network::new(unsafe { &mut *memory });
    for (key, remote) in [(0x00, "10.0.0.2"), (0xa5, "fd00::2")] {
        let remote = ip(remote);
        network.ping(remote);
        network.exchange(SocketAddr::new(remote, 80), key);
    }
    assert_eq!(network.pool.blocks_in_use(), 0, "all blocks come back");
    0
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Two hosts and the wire between them.
struct Network {
    pool: Pool<'static>,
    hosts: [Stack<'static>; 2],
    now: Instant,
}

const NIC: InterfaceId = InterfaceId(0);

impl Network {
    fn new(memory: &'static mut Memory) -> Network {
        let Memory { tables, pool_bytes, pool_links } = memory;
        let mut number = 0;
        let hosts = tables.each_mut().map(|tables| {
            number += 1;
            let limits = tables.limits(BLOCKS as u32);
            let mut host =
                Stack::with_memory(Config::new([7, number]), limits, tables.lend()).expect("the tables fit the limits");
            let mac = MacAddr([2, 0, 0, 0, 0, number as u8]);
            host.add_interface(Instant::ZERO, InterfaceConfig::ethernet(mac)).expect("an interface");
            for (address, length) in [("10.0.0.0", 24), ("fd00::", 64)] {
                let address = match ip(address) {
                    IpAddr::V4(network) => IpAddr::from((network.to_bits() | number as u32).to_be_bytes()),
                    IpAddr::V6(network) => IpAddr::from((network.to_bits() | u128::from(number)).to_be_bytes()),
                };
                host.add_address(Instant::ZERO, NIC, Prefix { address, length }).expect("an address of its own");
            }
            host
        });
        Network { pool: Pool::borrowed(pool_bytes, pool_links), hosts, now: Instant::ZERO }
    }

    /// Carries frames and moves the clock until something happens at a socket. Returns whose it is, and what.
    fn next_event(&mut self) -> (usize, Event) {
        loop {
            for number in 0..2 {
                if let Some(event) = self.hosts[number].poll_event() {
                    return (number, event);
                }
            }
            if !self.carry_frames() {
                let [a, b] = self.hosts.each_ref().map(|host| host.next_timeout().unwrap_or(Instant::FAR_FUTURE));
                assert!(a.min(b) < Instant::from_secs(600), "the hosts wait for nothing, or take too long");
                self.now = self.now.max(a.min(b));
                for host in &mut self.hosts {
                    host.handle_timeout(&mut self.pool, self.now);
                }
            }
        }
    }

    /// Moves what the hosts have to send; returns whether that was anything.
    fn carry_frames(&mut self) -> bool {
        let mut any = false;
        let mut frame = [0; 1_514];
        for number in 0..2 {
            let (from, to) = (number, 1 - number);
            while let Some(meta) = self.hosts[from].transmit(&mut self.pool, self.now, NIC, &mut frame) {
                let received = FrameMeta::received(meta.len);
                self.hosts[to].receive(&mut self.pool, self.now, NIC, &frame[..meta.len], received);
                any = true;
            }
        }
        any
    }

    fn ping(&mut self, to: IpAddr) {
        let timeout = Duration::from_secs(5);
        let ping = self.hosts[0].ping(&mut self.pool, self.now, to, 1_000, timeout).expect("a route");
        while !matches!(self.next_event(), (0, Event::Ping(handle, _)) if handle == ping) {}
        let outcome = self.hosts[0].ping_result(ping);
        assert!(matches!(outcome, Some(PingOutcome::Reply { len: 1_000, .. })), "ping {to}: {outcome:?}");
    }

    /// One connection on which both ends send [`BYTES`], close and check what they get.
    fn exchange(&mut self, remote: SocketAddr, key: u8) {
        let listener = self.hosts[1].listen(Endpoint::any(80), ListenOptions::default()).expect("a free port");
        let client = self.hosts[0].connect(self.now, remote, ConnectOptions::default()).expect("a route");
        let mut ends = [Some(End::new(client, key)), None];
        let mut finished = 0;
        while finished < 2 {
            let (number, event) = self.next_event();
            match event {
                Event::Listener(..) => ends[1] = self.hosts[1].accept(listener).map(|handle| End::new(handle, key)),
                Event::Connection(_, signals) => assert!(!signals.contains(Signals::ERROR)),
                _ => {}
            }
            if let Some(end) = &mut ends[number]
                && end.work(&mut self.hosts[number], &mut self.pool, self.now)
            {
                ends[number] = None;
                finished += 1;
            }
        }
        self.hosts[1].close_listener(&mut self.pool, self.now, listener);
        // TIME-WAIT is all that is left, and holds no block.
        while self.carry_frames() {}
    }
}

/// One end of a connection.
struct End {
    handle: ConnectionHandle,
    key: u8,
    sent: u32,
    received: u32,
}

impl End {
    fn new(handle: ConnectionHandle, key: u8) -> End {
        End { handle, key, sent: 0, received: 0 }
    }

    /// The byte at an offset of the stream; its period is no power of two, so that a misplaced block shows.
    fn byte(&self, offset: u32) -> u8 {
        (offset % 251) as u8 ^ self.key
    }

    /// Sends and receives as far as it goes. Returns true once everything was sent, received and closed.
    fn work(&mut self, host: &mut Stack<'_>, pool: &mut Pool<'_>, now: Instant) -> bool {
        let mut buf = [0; 3_000];
        while self.sent < BYTES {
            let len = buf.len().min((BYTES - self.sent) as usize);
            for (byte, offset) in buf[..len].iter_mut().zip(self.sent..) {
                *byte = self.byte(offset);
            }
            let taken = host.send(pool, now, self.handle, &buf[..len]).expect("an open connection");
            self.sent += taken as u32;
            if taken < len {
                break;
            }
            if self.sent == BYTES {
                host.shutdown(now, self.handle).expect("an open connection");
            }
        }
        loop {
            match host.recv(pool, now, self.handle, &mut buf) {
                Ok(0) if self.sent == BYTES => {
                    assert_eq!(self.received, BYTES, "bytes received");
                    host.close(pool, now, self.handle);
                    return true;
                }
                Ok(0) | Err(RecvError::WouldBlock) => return false,
                Ok(count) => {
                    for (&byte, offset) in buf[..count].iter().zip(self.received..) {
                        assert_eq!(byte, self.byte(offset), "the byte at {offset}");
                    }
                    self.received += count as u32;
                }
                Err(error) => panic!("receiving failed: {error}"),
            }
        }
    }
}
