//! A stack between two networks of Linux's, as their router, with and without translation.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ethertab::wire::MacAddr;
use ethertab::{Config, Counters, DropReason, Forwarding, InterfaceConfig, InterfaceId, Limits, Pool, Stack};
use ethertab_native::{Driver, Tap, TapConfig};
use ethertab_sim::CaptureConfig;

use crate::Outcome;
use crate::host::beside;
use crate::judge::{self, Allowed};
use crate::namespace::Namespace;

/// The networks' sides: inside and outside where addresses are translated.
pub(crate) const INSIDE: usize = 0;
pub(crate) const OUTSIDE: usize = 1;

/// The stack's addresses on either side, and Linux's there.
pub(crate) const OURS: [[&str; 2]; 2] = [["10.1.0.1", "fd00:1::1"], ["10.2.0.1", "fd00:2::1"]];
pub(crate) const LINUX: [[&str; 2]; 2] = [["10.1.0.2", "fd00:1::2"], ["10.2.0.2", "fd00:2::2"]];

/// All that a test does is done by then.
const LIMIT: Duration = Duration::from_secs(120);
/// Bytes of frames that a capture holds: more than any test moves.
const CAPTURE_BYTES: usize = 512 * 1024 * 1024;

/// The options of `ping` and the like for a family.
pub(crate) const FAMILIES: [&str; 2] = ["-4", "-6"];

/// What bulk data brings, besides what there is on every connection.
pub(crate) const BULK: &[Allowed] = &[(
    "Warns",
    "Connection reset (RST)",
    "a second ACK of Linux's FIN finds the connection gone (RFC 9293 §3.10.7.1)",
)];

/// What who looks at a path sends.
pub(crate) const TRACES: &[Allowed] = &[
    ("Notes", "\"Time To Live\" only", "each router on the way is made to answer"),
    ("Notes", "\"Hop Limit\" only", "the same"),
    ("Chats", "Possible traceroute", "it is one"),
    ("Errors", "Malformed DNS", "traceroute's datagrams to port 53 are no questions"),
    ("Warns", "No response seen to ICMP", "the answer is an error"),
    ("Warns", "Connection reset (RST)", "nobody has the port"),
];

/// See the [module](self).
pub(crate) struct Router {
    name: &'static str,
    driver: Driver<Tap>,
    /// Where Linux's hosts are.
    pub(crate) sides: [Namespace; 2],
    /// What Linux calls its interfaces there.
    pub(crate) devices: [String; 2],
    begun: Instant,
}

/// Lifts the limits of the namespace's ICMP errors. Linux would answer a host six at once, then one a second, and all hosts
/// together 50 at once, IPv4 and IPv6 counted as one, which four traceroutes in a row are over.
pub(crate) fn answer_every_traceroute() -> Outcome {
    fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0")?;
    fs::write("/proc/sys/net/ipv6/icmp/ratelimit", "0")?;
    for (limit, errors) in [("icmp_msgs_per_sec", "1000000"), ("icmp_msgs_burst", "10000")] {
        let path = format!("/proc/sys/net/ipv4/{limit}");
        // An older kernel has one limit for all namespaces, which none of them sees.
        if Path::new(&path).exists() {
            fs::write(path, errors)?;
        }
    }
    Ok(())
}

impl Router {
    /// A router between two Linux hosts, each of which has it as its default router, with links of so many bytes. It forwards.
    pub(crate) fn new(name: &'static str, mtus: [u16; 2]) -> Outcome<Self> {
        let sides = [Namespace::new()?, Namespace::new()?];
        let limits = Limits::default();
        let stack = Stack::new(Config::new([1, 0]), limits);
        let (mut taps, mut devices) = (Vec::new(), Vec::new());
        for (side, mtu) in mtus.into_iter().enumerate() {
            let tap = sides[side].enter(|| {
                let mut config = TapConfig::default();
                config.mtu = mtu;
                // Whatever Linux sends at once waits here, and is not lost.
                config.queue = 16 * 1024;
                Ok(Tap::open(&config)?)
            })?;
            let device = tap.name()?;
            sides[side].enter(answer_every_traceroute)?;
            for (family, length) in [(0, 24), (1, 64)] {
                let (option, linux) = (FAMILIES[family], LINUX[side][family]);
                // IPv6 addresses can be used at once without duplicate address detection.
                let flag = if family == 1 { "nodad" } else { "" };
                sides[side].run(&format!("ip {option} address add {linux}/{length} dev {device} {flag}"))?;
                sides[side].run(&format!("ip {option} route add default via {}", OURS[side][family]))?;
            }
            taps.push(tap);
            devices.push(device);
        }
        let interface = |number: usize| {
            let mut config = InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 0, 0x10 + number as u8]));
            config.mtu = mtus[number];
            config
        };
        let (Some(outside), Some(inside), Ok(devices)) = (taps.pop(), taps.pop(), devices.try_into()) else {
            return Err("there are two".into());
        };
        let mut driver = Driver::new(stack, Pool::new(limits.pool_blocks as usize), interface(INSIDE), inside)?;
        driver.add_port(interface(OUTSIDE), outside)?;
        let interfaces: Vec<InterfaceId> = driver.interfaces().collect();
        let now = driver.now();
        for (side, interface) in interfaces.into_iter().enumerate() {
            let [v4, v6] = OURS[side];
            driver.stack_mut().add_address(now, interface, format!("{v4}/24").parse()?)?;
            driver.stack_mut().add_address(now, interface, format!("{v6}/64").parse()?)?;
            driver.stack_mut().set_forwarding(interface, Forwarding::on())?;
        }
        driver.start_capture(CaptureConfig { max_bytes: CAPTURE_BYTES, ..CaptureConfig::default() });
        Ok(Router { name, driver, sides, devices, begun: Instant::now() })
    }

    pub(crate) fn stack(&mut self) -> &mut Stack<'static> {
        self.driver.stack_mut()
    }

    /// The stack's interface on a side.
    pub(crate) fn interface(&self, side: usize) -> Outcome<InterfaceId> {
        Ok(self.driver.interfaces().nth(side).ok_or("no such side")?)
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.driver.stack().counters()
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.counters().drops(reason)
    }

    /// Runs until `peers` have finished, which run in a thread of their own and are told where the hosts are.
    pub(crate) fn run_with<T: Send>(&mut self, peers: impl FnOnce(&[Namespace; 2]) -> Outcome<T> + Send) -> Outcome<T> {
        let Router { driver, sides, begun, name, .. } = self;
        beside(
            driver.waker(),
            || peers(sides),
            || {
                let left =
                    LIMIT.checked_sub(begun.elapsed()).ok_or_else(|| format!("{name} took longer than {LIMIT:?}"))?;
                driver.turn(Some(left))?;
                while driver.stack_mut().poll_event().is_some() {}
                Ok(())
            },
        )
    }

    /// Checks that all that Linux has sent has arrived at the stack, and that it has sent on all of it.
    pub(crate) fn check_that_nothing_is_lost(&self) -> Outcome {
        for (side, device) in self.sides.iter().zip(&self.devices) {
            assert_eq!(side.enter(|| dropped(device))?, 0, "at {device}");
        }
        for reason in [DropReason::ForwardQueueFull, DropReason::NeighborQueueFull, DropReason::NatTableFull] {
            assert_eq!(self.drops(reason), 0, "{reason:?}");
        }
        Ok(())
    }

    /// Checks that tshark finds nothing in the capture but what is allowed.
    pub(crate) fn finish(mut self, allowed: &[Allowed]) -> Outcome {
        println!("{}", self.figures());
        let interfaces = self.driver.interfaces().count();
        let capture = self.driver.take_capture().ok_or("the capture has ended before")?;
        judge::check_router(self.name, &capture, interfaces, allowed)
    }

    fn figures(&self) -> String {
        let counted = self.counters().iter().filter(|(_, value)| *value > 0);
        let counted: Vec<String> = counted.map(|(name, value)| format!("{name} {value}")).collect();
        format!("{} after {:.2} s: {}", self.name, self.begun.elapsed().as_secs_f64(), counted.join(", "))
    }
}

/// A test that fails before it is judged leaves its capture.
impl Drop for Router {
    fn drop(&mut self) {
        if let Some(capture) = self.driver.take_capture() {
            println!("{}", self.figures());
            match judge::save(self.name, &capture) {
                Ok(file) => println!("{}: captured in {}", self.name, file.display()),
                Err(error) => println!("{}: the capture could not be saved: {error}", self.name),
            }
        }
    }
}

/// A program in the present namespace that serves others, and is killed with this value.
pub(crate) struct Server(Child);

impl Server {
    /// Returns once it has printed a line that contains `ready`.
    pub(crate) fn start(line: &str, ready: &str) -> Outcome<Self> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().ok_or("no program")?);
        command.args(words).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut server = Server(command.spawn()?);
        let mut printed = BufReader::new(server.0.stdout.take().ok_or("no output")?);
        let mut text = String::new();
        while printed.read_line(&mut text)? > 0 {
            if text.contains(ready) {
                // What it prints later has to go somewhere.
                std::thread::spawn(move || std::io::copy(&mut printed, &mut std::io::sink()));
                return Ok(server);
            }
        }
        Err(format!("{line} ended: {text}").into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An iperf3 server at an address and port, for one client.
pub(crate) fn iperf_server(address: &str, port: u16) -> Outcome<Server> {
    Server::start(&format!("iperf3 --server --one-off --forceflush --bind {address} --port {port}"), "Server listening")
}

/// Frames that the present namespace had to send by a device, and dropped.
fn dropped(device: &str) -> Outcome<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{device}:"))).ok_or("no such device")?;
    // Eight numbers of what was received, then bytes, packets, errors and drops of what was sent.
    Ok(line.split_whitespace().nth(11).ok_or("no such number")?.parse()?)
}

/// An address as the stack has it.
pub(crate) fn address(text: &str) -> Outcome<IpAddr> {
    Ok(text.parse()?)
}
