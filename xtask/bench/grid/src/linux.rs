//! Linux to Linux: two network namespaces, a TAP device in each, and the same cable between them, in real time.

use crate::host::PORT;
use crate::point::Point;
use anyhow::{Context as _, bail};
use ethertab::FrameMeta;
use ethertab::time::Instant;
use ethertab_native::{Port as _, Tap, TapConfig};
use ethertab_sim::{Cable, Side};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::sockopt::TcpCongestion;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, setsockopt, socket};
use nix::sys::time::TimeSpec;
use std::ffi::OsString;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant as Clock};
use std::{fs, thread};

/// The named points. All are on the grid too.
pub(crate) const POINTS: [(&str, Point); 12] = [
    ("city", Point { rtt: 10, loss: 0, buffer: 256, rate: 100 }),
    ("city, good radio", Point { rtt: 10, loss: 1, buffer: 256, rate: 100 }),
    ("city, fair radio", Point { rtt: 10, loss: 10, buffer: 256, rate: 100 }),
    ("city, poor radio", Point { rtt: 10, loss: 50, buffer: 256, rate: 100 }),
    ("city, bad radio", Point { rtt: 10, loss: 100, buffer: 256, rate: 10 }),
    ("continent", Point { rtt: 100, loss: 0, buffer: 4_096, rate: 100 }),
    ("continent, good radio", Point { rtt: 100, loss: 1, buffer: 4_096, rate: 100 }),
    ("continent, fair radio", Point { rtt: 100, loss: 10, buffer: 4_096, rate: 100 }),
    ("continent, poor radio", Point { rtt: 100, loss: 20, buffer: 4_096, rate: 100 }),
    ("continent, bad radio", Point { rtt: 100, loss: 100, buffer: 256, rate: 10 }),
    ("world", Point { rtt: 300, loss: 0, buffer: 4_096, rate: 10 }),
    ("world, fair radio", Point { rtt: 300, loss: 10, buffer: 256, rate: 10 }),
];

/// How long a run lasts; the first third does not count.
pub(crate) const SECONDS: u64 = 9;
const DURATION: Duration = Duration::from_secs(SECONDS);
/// Frames that the kernel queues for the cable, whose own queue is to be the only one that drops.
const TAP_QUEUE: u32 = 16_384;
/// Frames taken from one device before the other has its turn.
const BATCH: usize = 64;

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 8, 0, 1), Ipv4Addr::new(10, 8, 0, 2)];

/// Why nothing can be measured here, if so.
pub(crate) fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("making network namespaces and TAP devices takes root");
    }
    (!fs::exists("/dev/net/tun").unwrap_or(false)).then_some("there is no /dev/net/tun")
}

/// Goodput in bit/s of Linux's CUBIC at a point.
pub(crate) fn goodput(point: &Point, seed: u64) -> anyhow::Result<f64> {
    let (received, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (taps, tap) = mpsc::channel();
        let (go, ready) = mpsc::channel::<()>();
        let server = scope.spawn({
            let (taps, received, over) = (taps.clone(), &received, &over);
            move || end(1, point, &taps, || serve(received, over))
        });
        let client = scope.spawn({
            let over = &over;
            move || end(0, point, &taps, || send(&ready, over))
        });
        let forwarder = scope.spawn({
            let over = &over;
            move || forward(point, seed, &tap, &go, over)
        });
        thread::sleep(DURATION / 3);
        if server.is_finished() || client.is_finished() || forwarder.is_finished() {
            over.store(true, Ordering::Relaxed);
        }
        let (before, since) = (received.load(Ordering::Relaxed), Clock::now());
        thread::sleep(DURATION * 2 / 3);
        let (after, elapsed) = (received.load(Ordering::Relaxed), since.elapsed());
        over.store(true, Ordering::Relaxed);
        for thread in [server, client, forwarder] {
            thread.join().map_err(|_| anyhow::anyhow!("a thread of the experiment panicked"))??;
        }
        Ok((after - before) as f64 * 8.0 / elapsed.as_secs_f64())
    })
}

/// One end: a namespace, its device, which goes to the forwarder, and a program.
fn end(
    number: usize,
    point: &Point,
    taps: &Sender<(usize, Tap)>,
    program: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("no namespace")?;
    let mut config = TapConfig::default();
    config.queue = TAP_QUEUE;
    let tap = Tap::open(&config)?;
    let device = tap.name()?;
    run(&["address", "add", &format!("{}/24", ADDRESSES[number]), "dev", &device])?;
    let buffer = u64::from(point.buffer) * 1_024;
    // Linux counts a buffer's overhead as half of it.
    for (name, bytes) in [("tcp_rmem", 2 * buffer), ("tcp_wmem", 2 * buffer)] {
        fs::write(format!("/proc/sys/net/ipv4/{name}"), format!("4096 {bytes} {bytes}"))?;
    }
    // What one run has learnt of the path is not to help the next.
    fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")?;
    taps.send((number, tap)).context("the forwarder is gone")?;
    program()
}

fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn serve(received: &AtomicU64, over: &AtomicBool) -> anyhow::Result<()> {
    let listener = TcpListener::bind((ADDRESSES[1], PORT))?;
    listener.set_nonblocking(true)?;
    let mut stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if over.load(Ordering::Relaxed) => return Ok(()),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    };
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut chunk = vec![0; 256 * 1_024];
    while !over.load(Ordering::Relaxed) {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => received.fetch_add(count as u64, Ordering::Relaxed),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(())
}

/// A connection with CUBIC from its start, whatever the machine's default is.
fn connect() -> nix::Result<TcpStream> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
    setsockopt(&socket, TcpCongestion, &OsString::from("cubic"))?;
    let [a, b, c, d] = ADDRESSES[1].octets();
    nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, PORT))?;
    Ok(socket.into())
}

fn send(ready: &Receiver<()>, over: &AtomicBool) -> anyhow::Result<()> {
    ready.recv().context("the forwarder is gone")?;
    let mut stream = loop {
        match connect() {
            Ok(stream) => break stream,
            Err(_) if over.load(Ordering::Relaxed) => return Ok(()),
            Err(Errno::ECONNREFUSED) => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.into()),
        }
    };
    stream.set_write_timeout(Some(Duration::from_millis(100)))?;
    let chunk = vec![0; 64 * 1_024];
    while !over.load(Ordering::Relaxed) {
        match stream.write(&chunk) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Moves frames between the devices and the cable until all is over.
fn forward(
    point: &Point,
    seed: u64,
    taps: &Receiver<(usize, Tap)>,
    go: &Sender<()>,
    over: &AtomicBool,
) -> anyhow::Result<()> {
    let mut ends = [taps.recv()?, taps.recv()?];
    ends.sort_by_key(|(number, _)| *number);
    let [(_, mut a), (_, mut b)] = ends;
    a.set_nonblocking()?;
    b.set_nonblocking()?;
    let mut cable = Cable::new(seed, 0);
    for side in [Side::A, Side::B] {
        cable.impair(side, point.impairment())?;
    }
    go.send(()).context("the client is gone")?;
    let started = Clock::now();
    let mut buf = vec![0; 65_536];
    while !over.load(Ordering::Relaxed) {
        for (tap, side) in [(&mut a, Side::A), (&mut b, Side::B)] {
            for _ in 0..BATCH {
                let Some(len) = tap.receive(&mut buf)? else { break };
                let now = Instant::from_micros(started.elapsed().as_micros() as u64);
                cable.lane_mut(side).send(now, &buf[..len], FrameMeta::received(len));
            }
        }
        let now = Instant::from_micros(started.elapsed().as_micros() as u64);
        for (tap, side) in [(&mut b, Side::A), (&mut a, Side::B)] {
            let lane = cable.lane_mut(side);
            while let Some((frame, _)) = lane.arrived(now) {
                if !tap.send(frame)? {
                    break;
                }
                lane.pop();
            }
        }
        let next = [Side::A, Side::B].iter().filter_map(|side| cable.lane(*side).next_arrival()).min();
        let wait = next.map_or(10_000, |next| next.since(now).as_micros().min(10_000));
        let mut fds = [PollFd::new(a.as_fd(), PollFlags::POLLIN), PollFd::new(b.as_fd(), PollFlags::POLLIN)];
        let wait = TimeSpec::from_duration(Duration::from_micros(wait));
        match ppoll(&mut fds, Some(wait), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
