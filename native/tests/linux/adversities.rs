//! What the network does to a stack (N1 to N7), sent by scapy: `adversities/` is a program of cases, each named after the line it is of, that plays
//! all other hosts on the link, packet by packet, and judges the answers. Only the clock is moved from here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use ethertab::{Autoconfiguration, Config, Endpoint, Event, InterfaceConfig, Limits, ListenOptions, Pool, Stack};
use ethertab_native::{Driver, Tap, TapConfig};
use ethertab_sim::CaptureConfig;

use crate::Outcome;
use crate::dhcp::MAC;
use crate::judge;
use crate::namespace::in_namespace;

/// All cases are done by then.
const LIMIT: Duration = Duration::from_secs(300);
/// Run by the Python that Debian's scapy is installed for. What gets no answer is not waited for, so that a case takes milliseconds.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/linux/adversities");

/// A stack with addresses of both families and a default router, which Linux does not talk to.
fn driver() -> Outcome<(Driver<Tap>, String)> {
    let tap = Tap::open(&TapConfig::default())?;
    let device = tap.name()?;
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"), "1")?;
    let limits = Limits::default();
    let mut interface = InterfaceConfig::ethernet(MAC);
    interface.autoconfiguration = Some(Autoconfiguration::default());
    let stack = Stack::new(Config::new([1, 0]), limits);
    let mut driver = Driver::new(stack, Pool::new(limits.pool_blocks as usize), interface, tap)?;
    driver.add_address("10.9.0.2/24".parse()?)?;
    driver.add_address("fd00:9::2/64".parse()?)?;
    let stack = driver.stack_mut();
    stack.add_route("0.0.0.0/0".parse()?, "10.9.0.8".parse()?)?;
    stack.listen(Endpoint::any(80), ListenOptions::default())?;
    driver.start_capture(CaptureConfig::default());
    Ok((driver, device))
}

#[test]
fn n_lines_as_scapy_sends_them() -> Outcome {
    in_namespace(|| {
        let (mut driver, device) = driver()?;
        let echo = driver.stack_mut().bind_udp(Endpoint::any(7))?;
        let mut scapy = Command::new("/usr/bin/python3")
            .args([PROGRAM, &device])
            .args(std::env::var("ETHERTAB_CASE"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (output, mut input) = (scapy.stdout.take().ok_or("no output")?, scapy.stdin.take().ok_or("no input")?);
        let (sender, lines) = mpsc::channel();
        let waker = driver.waker();
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The receiver is gone only when the test has failed already.
                let _ = sender.send(line);
                waker.wake();
            }
            drop(sender);
            waker.wake();
        });
        let begun = Instant::now();
        let mut datagram = vec![0; 65_536];
        let mut passed = 0;
        loop {
            match lines.try_recv() {
                Ok(line) => match line.strip_prefix("skip ") {
                    Some(seconds) => {
                        driver.skip(Duration::from_secs(seconds.parse()?));
                        // What is due by then is done before the next frame can arrive.
                        driver.turn(Some(Duration::ZERO))?;
                        writeln!(input, "skipped")?;
                    }
                    None => {
                        passed += usize::from(line.starts_with("ok "));
                        println!("{line}");
                    }
                },
                Err(TryRecvError::Empty) => {
                    let left = LIMIT.checked_sub(begun.elapsed()).ok_or("the cases took too long")?;
                    driver.turn(Some(left))?;
                }
                Err(TryRecvError::Disconnected) => break,
            }
            let now = driver.now();
            let (stack, pool) = driver.stack_and_pool();
            while let Some(event) = stack.poll_event() {
                if let Event::Listener(listener, _) = event {
                    while stack.accept(listener).is_some() {}
                }
            }
            while let Some((len, meta)) = stack.udp_recv(pool, echo, &mut datagram) {
                stack.udp_send(pool, now, echo, &meta, &datagram[..len])?;
            }
        }
        reader.join().map_err(|_| "the reader panicked")?;
        if !scapy.wait()?.success() {
            let capture = driver.take_capture().ok_or("no capture")?;
            let file = judge::save("n_lines_as_scapy_sends_them", &capture)?;
            return Err(format!("cases failed; the frames are in {}", file.display()).into());
        }
        assert!(passed > 0 || std::env::var("ETHERTAB_CASE").is_ok(), "no case has run");
        Ok(())
    })
}
