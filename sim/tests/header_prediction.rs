//! Header prediction changes nothing but the time that a segment takes: a world in which every segment goes through the full
//! path of RFC 9293 §3.10.7 sends the same frames at the same times.
//!
//! A frame that is marked as verified is never predicted, since there is no sum to join with the copy; marking all of
//! them makes the reference.

use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    ChecksumState, Config, ConnectOptions, ConnectionHandle, Endpoint, Event, FrameMeta, InterfaceConfig, InterfaceId,
    KeepAlive, Limits, ListenOptions, ListenerHandle, Pool, RecvError, Stack, TcpConfig,
};
use ethertab_sim::apps::{fill_pattern, first_difference};
use ethertab_sim::{Cable, Impairment, Mutator, Queue, Side};
use std::fmt::Write;

/// A small generator for what a seed decides about a scene (SplitMix64).
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// What one end of a connection does.
#[derive(Clone)]
struct End {
    handle: ConnectionHandle,
    /// Bytes to send, and sent so far.
    to_send: u64,
    sent: u64,
    received: u64,
    /// Most bytes taken in one read, and time between two reads.
    read_size: usize,
    read_every: Duration,
    reads_at: Instant,
    /// Close without reading to the end once everything is sent.
    hasty: bool,
    /// Say that nothing more will be sent only after the peer has.
    patient: bool,
}

struct Host {
    stack: Stack<'static>,
    interface: InterfaceId,
    side: Side,
    listener: Option<ListenerHandle>,
    ends: Vec<End>,
    dice: Dice,
}

struct Scene {
    full_path: bool,
    pool: Pool<'static>,
    cable: Cable,
    hosts: [Host; 2],
    now: Instant,
    /// Damaged copies of some of the frames are delivered besides them.
    mutator: Option<Mutator>,
    mutator_dice: Dice,
    last_frame: Vec<u8>,
    damaged: Vec<u8>,
    /// A line for each frame sent and each end closed.
    trace: String,
    sends: u64,
}

impl Scene {
    fn new(seed: u64, full_path: bool) -> Scene {
        let mut dice = Dice(seed);
        let tcp = {
            let mut tcp = TcpConfig::default();
            tcp.send_buffer = dice.one_of(&[4_096, 20_000, 262_144]);
            tcp.receive_buffer = dice.one_of(&[2_000, 5_000, 30_000, 100_000, 262_144]);
            tcp.nagle = dice.below(2) == 0;
            tcp.keep_alive = (dice.below(4) == 0).then_some(KeepAlive {
                idle: Duration::from_millis(700),
                interval: Duration::from_millis(300),
                probes: 5,
            });
            tcp
        };
        let mtu = dice.one_of(&[1_280, 1_500, 1_500, 9_000]);
        let mut host = |number: u8, side| {
            let mut config = Config::new([seed, number.into()]);
            config.tcp = tcp;
            let mut stack = Stack::new(config, Limits::small());
            let mut interface = InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 0, number]));
            interface.mtu = mtu;
            let interface = stack.add_interface(Instant::ZERO, interface).unwrap();
            for prefix in [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")] {
                stack.add_address(Instant::ZERO, interface, prefix.parse().unwrap()).unwrap();
            }
            Host { stack, interface, side, listener: None, ends: Vec::new(), dice: Dice(dice.below(u64::MAX)) }
        };
        let hosts = [host(1, Side::A), host(2, Side::B)];
        let mut cable = Cable::new(seed, 0);
        for side in [Side::A, Side::B] {
            let some = |dice: &mut Dice, most: f64| if dice.below(2) == 0 { 0.0 } else { most };
            let impairment = Impairment {
                latency: Duration::from_micros(dice.one_of(&[0, 100, 10_000])),
                jitter: Duration::from_micros(dice.one_of(&[0, 0, 3_000])),
                loss: some(&mut dice, 0.05),
                duplicate: some(&mut dice, 0.05),
                corrupt: some(&mut dice, 0.05),
                reorder: some(&mut dice, 0.1),
                rate: dice.one_of(&[None, Some(20_000_000)]),
                queue: Queue::Frames(dice.one_of(&[8, 1_000])),
                ..Impairment::PERFECT
            };
            cable.impair(side, impairment).unwrap();
        }
        let pool = Pool::new(dice.one_of(&[60, 4_096, 4_096]));
        let mutator = (dice.below(3) == 0).then(|| Mutator::new(seed));
        Scene {
            full_path,
            pool,
            cable,
            hosts,
            now: Instant::ZERO,
            mutator,
            mutator_dice: Dice(!seed),
            last_frame: Vec::new(),
            damaged: Vec::new(),
            trace: String::new(),
            sends: 0,
        }
    }

    /// Runs the scene to its end and returns what was sent when.
    fn run(mut self) -> Self {
        let mut dice = Dice(self.mutator_dice.0.rotate_left(17));
        let server = &mut self.hosts[1];
        server.listener = Some(server.stack.listen(Endpoint::any(80), ListenOptions::default()).unwrap());
        for round in 0..1 + dice.below(3) {
            let remote = dice.one_of(&["10.0.0.2:80", "[fd00::2]:80"]).parse().unwrap();
            let client = &mut self.hosts[0];
            let handle = client.stack.connect(self.now, remote, ConnectOptions::default()).unwrap();
            client.adopt(handle, self.now);
            self.run_until(Instant::from_millis(400 * (round + 1)));
        }
        self.run_until(Instant::from_secs(200));
        self
    }

    fn run_until(&mut self, deadline: Instant) {
        loop {
            self.settle();
            let arrivals = [Side::A, Side::B].map(|side| self.cable.lane(side).next_arrival());
            let timeouts = [0, 1].map(|number| self.hosts[number].stack.next_timeout());
            let reads = self.hosts.iter().flat_map(|host| &host.ends).map(|end| Some(end.reads_at));
            let reads = reads.filter(|at| at.is_some_and(|at| at > self.now)).min().flatten();
            match arrivals.into_iter().chain(timeouts).chain([reads]).flatten().min() {
                Some(next) if next <= deadline => self.now = self.now.max(next),
                _ => break,
            }
        }
        self.now = deadline;
    }

    fn settle(&mut self) {
        for _ in 0..1_000_000 {
            let mut quiet = true;
            for number in 0..2 {
                quiet &= !self.deliver(number);
                quiet &= !self.work(number);
            }
            if quiet {
                return;
            }
        }
        panic!("the stacks do not come to rest at {}", self.now);
    }

    fn deliver(&mut self, number: usize) -> bool {
        let host = &mut self.hosts[number];
        let mut any = false;
        let incoming = self.cable.lane_mut(host.side.other());
        while let Some((frame, mut meta)) = incoming.arrived(self.now) {
            any = true;
            // What the cable has corrupted is dropped in both runs, since nobody verifies it in one of them.
            let is_intact = has_right_checksums(frame);
            if is_intact {
                if self.full_path {
                    meta.checksum = ChecksumState::Verified;
                }
                host.stack.receive(&mut self.pool, self.now, host.interface, frame, meta);
            }
            if let Some(mutator) = &mut self.mutator
                && self.mutator_dice.below(4) == 0
            {
                mutator.mutate(frame, &self.last_frame, &mut self.damaged);
                if has_right_checksums(&self.damaged) {
                    let mut meta = FrameMeta::received(self.damaged.len());
                    if self.full_path {
                        meta.checksum = ChecksumState::Verified;
                    }
                    host.stack.receive(&mut self.pool, self.now, host.interface, &self.damaged, meta);
                }
            }
            self.last_frame.clear();
            self.last_frame.extend_from_slice(frame);
            incoming.pop();
        }
        any
    }

    fn work(&mut self, number: usize) -> bool {
        let (now, pool) = (self.now, &mut self.pool);
        let host = &mut self.hosts[number];
        let mut any = false;
        if host.stack.next_timeout().is_some_and(|due| due <= now) {
            host.stack.handle_timeout(pool, now);
            any = true;
        }
        let mut buf = [0; 9_100];
        while let Some(meta) = host.stack.transmit(pool, now, host.interface, &mut buf) {
            let frame = &buf[..meta.len];
            writeln!(self.trace, "{now} {number} {}", describe(frame)).unwrap();
            self.sends += 1;
            self.cable.lane_mut(host.side).send(now, frame, FrameMeta::received(meta.len));
            any = true;
        }
        while let Some(event) = host.stack.poll_event() {
            writeln!(self.trace, "{now} {number} {event:?}").unwrap();
            any = true;
            if let (Event::Listener(..), Some(listener)) = (event, host.listener) {
                while let Some(handle) = host.stack.accept(listener) {
                    host.adopt(handle, now);
                }
            }
        }
        any | host.serve(pool, now, &mut self.trace)
    }
}

impl Host {
    fn adopt(&mut self, handle: ConnectionHandle, now: Instant) {
        let dice = &mut self.dice;
        self.ends.push(End {
            handle,
            to_send: dice.one_of(&[0, 1, 700, 30_000, 200_000]),
            sent: 0,
            received: 0,
            read_size: dice.one_of(&[10, 100, 5_000, 65_536]),
            read_every: Duration::from_micros(dice.one_of(&[0, 0, 500, 9_000])),
            reads_at: now,
            hasty: dice.below(6) == 0,
            patient: self.side == Side::B && dice.below(4) != 0,
        });
    }

    /// Sends, reads and closes as the ends' plans say. Returns whether anything was done.
    fn serve(&mut self, pool: &mut Pool<'static>, now: Instant, trace: &mut String) -> bool {
        let stack = &mut self.stack;
        let mut buf = [0; 65_536];
        let mut any = false;
        self.ends.retain_mut(|end| {
            let before = (end.sent, end.received);
            while end.sent < end.to_send {
                let len = (end.to_send - end.sent).min(2_000) as usize;
                fill_pattern(1, end.sent, &mut buf[..len]);
                let taken = stack.send(pool, now, end.handle, &buf[..len]).unwrap_or(0);
                end.sent += taken as u64;
                if taken < len {
                    break;
                }
            }
            if end.sent == end.to_send && !end.patient {
                // Again and again, which changes nothing after the first time.
                stack.shutdown(now, end.handle).ok();
            }
            if end.hasty && end.sent == end.to_send && end.received > 0 {
                stack.close(pool, now, end.handle);
                writeln!(trace, "{now} closed after {}", end.received).unwrap();
                return false;
            }
            if now >= end.reads_at {
                match stack.recv(pool, now, end.handle, &mut buf[..end.read_size]) {
                    Ok(0) if end.sent == end.to_send => {
                        stack.close(pool, now, end.handle);
                        writeln!(trace, "{now} finished with {}", end.received).unwrap();
                        return false;
                    }
                    Ok(count) => {
                        let wrong = first_difference(1, end.received, &buf[..count]);
                        end.received += count as u64;
                        end.reads_at = now + end.read_every;
                        if wrong.is_some() {
                            writeln!(trace, "{now} wrong byte at {wrong:?}").unwrap();
                        }
                    }
                    Err(RecvError::WouldBlock) => {}
                    Err(error) => {
                        writeln!(trace, "{now} {error} after {}", end.received).unwrap();
                        stack.close(pool, now, end.handle);
                        return false;
                    }
                }
            }
            any |= before != (end.sent, end.received);
            true
        });
        any
    }
}

/// Whether repairing the checksums changes nothing.
fn has_right_checksums(frame: &[u8]) -> bool {
    let mut repaired = frame.to_vec();
    ethertab_sim::mutate::repair_checksums(&mut repaired);
    repaired == frame
}

/// A frame's headers in hexadecimal and a hash of the rest (FNV-1a).
fn describe(frame: &[u8]) -> String {
    let head = frame.len().min(74);
    let hash = frame[head..]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut line = String::with_capacity(2 * head + 20);
    for byte in &frame[12..head] {
        write!(line, "{byte:02x}").unwrap();
    }
    write!(line, " {} {hash:016x}", frame.len()).unwrap();
    line
}

#[test]
fn the_predicted_path_does_what_the_full_path_does() {
    let (mut predicted, mut frames) = (0u64, 0u64);
    let seeds = if std::env::var_os("ETHERTAB_QUICK").is_some() { 0..60 } else { 0..300 };
    for seed in seeds {
        let fast = Scene::new(seed, false).run();
        let full = Scene::new(seed, true).run();
        if fast.trace != full.trace {
            let (line, (a, b)) = fast
                .trace
                .lines()
                .zip(full.trace.lines())
                .enumerate()
                .find(|(_, (a, b))| a != b)
                .unwrap_or((0, ("one is longer", "than the other")));
            panic!("seed {seed}, line {line}:\n predicted {a}\n full path {b}");
        }
        for (a, b) in fast.hosts.iter().zip(&full.hosts) {
            predicted += a.stack.counters().tcp_predicted;
            assert_eq!(b.stack.counters().tcp_predicted, 0, "seed {seed}");
            let drops = |host: &Host| host.stack.counters().drops_by_reason().collect::<Vec<_>>();
            assert_eq!(drops(a), drops(b), "seed {seed}");
            assert_eq!(a.ends.len(), b.ends.len(), "seed {seed}");
        }
        frames += fast.sends;
    }
    // The test would prove little if next to nothing were predicted.
    assert!(predicted * 8 > frames, "{predicted} of {frames} frames were predicted");
}
