//! Neighbours as Linux sees them and as we do (N1): `ip monitor` tells of each state that an entry of Linux's goes through, ours are in the stack.
//! Nothing is waited for but what is told; our clock is moved.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ethertab::{Config, InterfaceConfig, Limits, NeighborState, Pool, Stack};
use ethertab_native::{Driver, Tap, TapConfig, Waker};
use ethertab_sim::CaptureConfig;

use crate::Outcome;
use crate::dhcp::{LIMIT, MAC, Server};
use crate::judge;
use crate::namespace::{in_namespace, output, run};

/// Linux's addresses and ours.
const PAIRS: [[&str; 2]; 2] = [["10.9.0.1", "10.9.0.2"], ["fd00:9::1", "fd00:9::2"]];
const OUR_STATION: &str = "lladdr 02:00:00:00:00:02";

/// A stack with these addresses on a TAP device, and the device's name.
fn driver() -> Outcome<(Driver<Tap>, String)> {
    let tap = Tap::open(&TapConfig::default())?;
    let device = tap.name()?;
    run(&format!("ip address add {}/24 dev {device}", PAIRS[0][0]))?;
    run(&format!("ip address add {}/64 dev {device} nodad", PAIRS[1][0]))?;
    for family in ["ipv4", "ipv6"] {
        // Linux asks three times, a second apart unless told otherwise, before it gives up.
        fs::write(format!("/proc/sys/net/{family}/neigh/{device}/retrans_time_ms"), "100")?;
    }
    let limits = Limits::default();
    let stack = Stack::new(Config::new([1, 0]), limits);
    let mut driver = Driver::new(stack, Pool::new(limits.pool_blocks as usize), InterfaceConfig::ethernet(MAC), tap)?;
    driver.start_capture(CaptureConfig::default());
    driver.add_address("10.9.0.2/24".parse()?)?;
    driver.add_address("fd00:9::2/64".parse()?)?;
    Ok((driver, device))
}

/// What the kernel tells of its neighbours, line by line.
struct Monitor {
    program: Child,
    lines: Receiver<String>,
}

impl Monitor {
    fn start(waker: Waker, device: &str) -> Outcome<Monitor> {
        let mut program =
            Command::new("ip").args(["monitor", "neigh"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = program.stdout.take().ok_or("no output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
                waker.wake();
            }
        });
        let monitor = Monitor { program, lines };
        // It listens once it tells of what is done for its sake.
        let begun = Instant::now();
        let entry = format!("10.9.0.250 lladdr 02:00:00:00:00:fa dev {device}");
        while begun.elapsed() < LIMIT {
            run(&format!("ip neighbor replace {entry} nud permanent"))?;
            run(&format!("ip neighbor del {entry}"))?;
            if monitor.lines.recv_timeout(Duration::from_millis(20)).is_ok() {
                return Ok(monitor);
            }
        }
        Err("ip monitor tells nothing".into())
    }

    /// Waits until Linux's entry of an address is told to be in a state, while the stack works or is silent.
    fn wait(&self, driver: &mut Driver<Tap>, address: &str, told: &str, is_working: bool) -> Outcome {
        let begun = Instant::now();
        let mut heard = Vec::new();
        loop {
            let left = LIMIT.checked_sub(begun.elapsed());
            let left = left.ok_or_else(|| format!("{address}: never {told}, but {heard:#?}"))?;
            match self.lines.recv_timeout(if is_working { Duration::ZERO } else { left }) {
                Ok(line) if line.starts_with(&format!("{address} ")) && line.contains(told) => return Ok(()),
                Ok(line) => heard.push(line),
                Err(RecvTimeoutError::Timeout) if is_working => work(driver, left)?,
                Err(error) => return Err(format!("{address}: never {told} ({error}), but {heard:#?}").into()),
            }
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn work(driver: &mut Driver<Tap>, limit: Duration) -> Outcome {
    driver.turn(Some(limit))?;
    while driver.stack_mut().poll_event().is_some() {}
    Ok(())
}

/// What a program that talks to the stack prints, and whether it ends well.
fn beside(driver: &mut Driver<Tap>, line: &str) -> Outcome<(bool, String)> {
    let waker = driver.waker();
    thread::scope(|scope| {
        let program = scope.spawn(move || {
            let output = output(line);
            waker.wake();
            output
        });
        while !program.is_finished() {
            work(driver, Duration::from_millis(100))?;
        }
        let output = program.join().map_err(|_| "the program's thread panicked")??;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    })
}

/// What we know of a neighbour.
fn state(driver: &Driver<Tap>, address: &str) -> Option<NeighborState> {
    let address: IpAddr = address.parse().ok()?;
    driver.stack().neighbors().find(|(_, found, ..)| *found == address).map(|(.., state)| state)
}

/// Turns, with the clock moved by `step` each time, until a neighbour is in a state.
fn until(driver: &mut Driver<Tap>, address: &str, wanted: Option<NeighborState>, step: Duration) -> Outcome {
    let begun = Instant::now();
    while state(driver, address) != wanted {
        if begun.elapsed() > LIMIT {
            return Err(format!("{address} is {:?}, not {wanted:?}", state(driver, address)).into());
        }
        driver.skip(step);
        work(driver, Duration::from_millis(10))?;
    }
    Ok(())
}

#[test]
fn n1_linux_sees_us_in_each_state() -> Outcome {
    in_namespace(|| {
        let name = "n1_linux_sees_us_in_each_state";
        let (mut driver, device) = driver()?;
        let monitor = Monitor::start(driver.waker(), &device)?;
        for [_, ours] in PAIRS {
            let change =
                |state: &str| run(&format!("ip neighbor change {ours} dev {device} {OUR_STATION} nud {state}"));
            let reachable = format!("{OUR_STATION} REACHABLE");
            let asks = Server::start(&format!("ping -n -c 1 -W 10 {ours}"))?;
            monitor.wait(&mut driver, ours, &reachable, true)?;
            change("stale")?;
            monitor.wait(&mut driver, ours, "STALE", true)?;
            // Asked at our station, we answer.
            change("probe")?;
            monitor.wait(&mut driver, ours, "PROBE", true)?;
            monitor.wait(&mut driver, ours, "REACHABLE", true)?;
            // Asked while we do nothing, we are gone; and back when we are asked for again.
            change("probe")?;
            monitor.wait(&mut driver, ours, "FAILED", false)?;
            drop(asks);
            let _asks = Server::start(&format!("ping -n -c 1 -W 10 {ours}"))?;
            monitor.wait(&mut driver, ours, &reachable, true)?;
        }
        judge::check(name, &driver.take_capture().ok_or("no capture")?, &[])
    })
}

#[test]
fn n1_we_see_linux_in_each_state() -> Outcome {
    in_namespace(|| {
        let name = "n1_we_see_linux_in_each_state";
        let (mut driver, device) = driver()?;
        for [linux, _] in PAIRS {
            let ask = |driver: &mut Driver<Tap>| -> Outcome {
                let now = driver.now();
                let (stack, pool) = driver.stack_and_pool();
                stack.ping(pool, now, linux.parse::<IpAddr>()?, 8, ethertab::time::Duration::from_secs(1))?;
                work(driver, Duration::ZERO)
            };
            let (none, a_second) = (Duration::ZERO, Duration::from_secs(1));
            ask(&mut driver)?;
            until(&mut driver, linux, Some(NeighborState::Reachable), none)?;
            // Not heard of for long, used again, asked, and there.
            until(&mut driver, linux, Some(NeighborState::Stale), a_second)?;
            ask(&mut driver)?;
            until(&mut driver, linux, Some(NeighborState::Delay), none)?;
            until(&mut driver, linux, Some(NeighborState::Reachable), a_second)?;
            // And not there any more.
            until(&mut driver, linux, Some(NeighborState::Stale), a_second)?;
            run(&format!("ip address del {linux}/{} dev {device}", if linux.contains(':') { 64 } else { 24 }))?;
            ask(&mut driver)?;
            until(&mut driver, linux, Some(NeighborState::Probe), a_second)?;
            until(&mut driver, linux, Some(NeighborState::Unreachable), a_second)?;
            until(&mut driver, linux, Some(NeighborState::Failed), a_second)?;
        }
        judge::check(name, &driver.take_capture().ok_or("no capture")?, &[])
    })
}

#[test]
fn n1_announcements_are_believed_and_our_addresses_defended() -> Outcome {
    in_namespace(|| {
        let (mut driver, device) = driver()?;
        let monitor = Monitor::start(driver.waker(), &device)?;
        // Linux takes somebody else for the owner of what becomes our address.
        for (address, len) in [("10.9.0.5", 24), ("fd00:9::5", 64)] {
            run(&format!("ip neighbor add {address} lladdr 02:00:00:00:00:99 dev {device} nud stale"))?;
            driver.add_address(format!("{address}/{len}").parse()?)?;
            monitor.wait(&mut driver, address, OUR_STATION, true)?;
        }
        // Somebody who wants an address asks before (RFC 5227 §2.1.1).
        for (address, is_free) in [("10.9.0.2", false), ("10.9.0.77", true)] {
            let (is_well, report) = beside(&mut driver, &format!("busybox arping -D -c 2 -w 2 -I {device} {address}"))?;
            assert_eq!(is_well, is_free, "{address}: {report}");
        }
        // And somebody who just takes it is told (RFC 5227 §2.4).
        let before = driver.stack().counters().address_conflicts;
        run(&format!("ip address add 10.9.0.2/24 dev {device}"))?;
        beside(&mut driver, "ping -n -c 1 -W 1 -I 10.9.0.2 10.9.0.78")?;
        assert_eq!(driver.stack().counters().address_conflicts, before + 1);
        Ok(())
    })
}

#[test]
fn traceroute_finds_us_one_hop_away() -> Outcome {
    in_namespace(|| {
        let (mut driver, _) = driver()?;
        for (program, [_, ours]) in ["traceroute", "traceroute6"].into_iter().zip(PAIRS) {
            let (is_well, report) = beside(&mut driver, &format!("busybox {program} -n -q 1 -w 5 {ours}"))?;
            let hops: Vec<_> = report.lines().skip(1).collect();
            assert!(is_well && hops.len() == 1 && hops[0].contains(ours), "{report}");
        }
        Ok(())
    })
}
