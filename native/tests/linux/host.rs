//! The stack's host: a driver on a TAP device, its applications, and a limit in time for everything.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use ethertab::wire::MacAddr;
use ethertab::{
    CloseReason, Config, ConnectOptions, ConnectionHandle, Endpoint, Event, InterfaceConfig, Limits, ListenOptions,
    ListenerHandle, Medium, PingOutcome, Pool, Stack, State, UdpHandle,
};
use ethertab_native::{Driver, Tap, TapConfig, Waker};
use ethertab_sim::{Cable, Capture, CaptureConfig, Direction, Impairment, Side};

use crate::Outcome;
use crate::apps::{App, Socket, Stream};
use crate::judge::{self, Allowed};
use crate::namespace::{limit_timeouts, run};

/// Linux's addresses on the TAP device.
pub(crate) const LINUX: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1))];
/// The stack's.
pub(crate) const OURS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2)), IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 2))];

/// Bytes of frames that a capture holds: more than any test moves.
const CAPTURE_BYTES: usize = 512 * 1024 * 1024;

/// A bound for both ends' timeouts, the least that Linux takes: they double with each segment that is lost again
/// (RFC 6298 §5.5), and at heavy loss an end would be silent for minutes.
const MAX_RTO: Duration = Duration::from_secs(1);

/// A listener, and what makes the application of each of its connections.
type Server = (ListenerHandle, Box<dyn Fn() -> Box<dyn App>>);

/// How an application's connection ended.
pub(crate) struct Finished {
    /// What the application has received.
    pub(crate) received: Stream,
    /// Why the connection failed, if it did.
    pub(crate) error: Option<CloseReason>,
}

/// See the [module](self).
pub(crate) struct Host {
    /// The test's name, also that of its capture.
    name: &'static str,
    driver: Driver<Tap>,
    apps: HashMap<ConnectionHandle, Box<dyn App>>,
    servers: Vec<Server>,
    udp_sockets: Vec<UdpHandle>,
    /// Sockets that send back what they get.
    udp_echoes: Vec<UdpHandle>,
    finished: Vec<Finished>,
    begun: Instant,
    limit: Duration,
}

impl Host {
    /// A host whose stack is plugged into a new TAP device of the present namespace by a cable with this impairment in both
    /// directions. All that the test `name` does must be done when `limit` is over.
    pub(crate) fn new(name: &'static str, impairment: Impairment, limit: Duration) -> Outcome<Self> {
        Host::on(name, InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 0, 2])), impairment, limit)
    }

    /// The same with this interface of the stack's: on a TUN device if it is one for IP packets.
    pub(crate) fn on(
        name: &'static str,
        interface: InterfaceConfig,
        impairment: Impairment,
        limit: Duration,
    ) -> Outcome<Self> {
        let seed = match std::env::var("ETHERTAB_SEED") {
            Ok(seed) => seed.parse()?,
            Err(_) => 1,
        };
        println!("{name}: seed {seed} (ETHERTAB_SEED sets another one)");
        limit_timeouts(MAX_RTO)?;
        let mut config = TapConfig::default();
        // A thousand connections that Linux serves at once do not overflow this, so that what is lost is lost on the cable.
        config.queue = 16 * 1024;
        config.packets = interface.medium == Medium::Ip;
        let tap = Tap::open(&config)?;
        let device = tap.name()?;
        run(&format!("ip address add {}/24 dev {device}", LINUX[0]))?;
        // Addresses can be used at once without duplicate address detection.
        run(&format!("ip address add {}/64 dev {device} nodad", LINUX[1]))?;

        let mut limits = Limits::default();
        limits.connections = 2_048;
        limits.syn_queue = 1_024;
        let mut config = Config::new([seed, 0]);
        config.tcp.max_rto = MAX_RTO.into();
        let stack = Stack::new(config, limits);
        let mut driver = Driver::new(stack, Pool::new(limits.pool_blocks as usize), interface, tap)?;
        driver.add_address(format!("{}/24", OURS[0]).parse()?)?;
        driver.add_address(format!("{}/64", OURS[1]).parse()?)?;
        let mut cable = Cable::new(seed, 0);
        for side in [Side::A, Side::B] {
            cable.impair(side, impairment)?;
        }
        driver.set_cable(cable);
        driver.start_capture(CaptureConfig { max_bytes: CAPTURE_BYTES, ..CaptureConfig::default() });
        Ok(Host {
            name,
            driver,
            apps: HashMap::new(),
            servers: Vec::new(),
            udp_sockets: Vec::new(),
            udp_echoes: Vec::new(),
            finished: Vec::new(),
            begun: Instant::now(),
            limit,
        })
    }

    pub(crate) fn stack(&mut self) -> &mut Stack<'static> {
        self.driver.stack_mut()
    }

    /// The frames that the stack has sent so far.
    pub(crate) fn sent(&self) -> impl Iterator<Item = &[u8]> {
        let captured = self.driver.capture().into_iter().flat_map(Capture::packets);
        captured.filter(|packet| packet.direction == Direction::Out).map(|packet| packet.bytes)
    }

    /// Binds a UDP socket that never reads.
    pub(crate) fn ignore_datagrams(&mut self, port: u16) -> Outcome {
        self.udp_sockets.push(self.driver.stack_mut().bind_udp(Endpoint::any(port))?);
        Ok(())
    }

    /// Binds a UDP socket that sends each datagram back to where it came from.
    pub(crate) fn echo_datagrams(&mut self, port: u16) -> Outcome {
        self.ignore_datagrams(port)?;
        self.udp_echoes.extend(self.udp_sockets.last());
        Ok(())
    }

    /// Sends an echo request with so many bytes of payload, and waits for how it ends.
    pub(crate) fn ping(&mut self, to: IpAddr, len: usize) -> Outcome<PingOutcome> {
        let now = self.driver.now();
        let (stack, pool) = self.driver.stack_and_pool();
        let ping = stack.ping(pool, now, to, len, Duration::from_secs(5).into())?;
        loop {
            if let Some(outcome) = self.driver.stack_mut().ping_result(ping) {
                return Ok(outcome);
            }
            self.turn("a ping")?;
        }
    }

    /// Gives each connection to `port` an application of its own.
    pub(crate) fn serve(&mut self, port: u16, make: impl Fn() -> Box<dyn App> + 'static) -> Outcome {
        let options = ListenOptions { backlog: 1_024, ..ListenOptions::default() };
        let listener = self.driver.stack_mut().listen(Endpoint::any(port), options)?;
        self.servers.push((listener, Box::new(make)));
        Ok(())
    }

    /// Begins a connection for an application.
    pub(crate) fn connect(&mut self, remote: SocketAddr, app: Box<dyn App>) -> Outcome {
        let now = self.driver.now();
        let handle = self.driver.stack_mut().connect(now, remote, ConnectOptions::default())?;
        self.apps.insert(handle, app);
        Ok(())
    }

    /// Connections that have ended so far, in the order of their ends.
    pub(crate) fn finished(&self) -> &[Finished] {
        &self.finished
    }

    /// Runs until `peer`, which runs in a thread of its own, has finished.
    pub(crate) fn run_with<T: Send>(&mut self, peer: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
        let waker = self.driver.waker();
        beside(waker, peer, || self.turn("the peer"))
    }

    /// Runs until as many connections have ended.
    pub(crate) fn run_until_finished(&mut self, count: usize) -> Outcome {
        while self.finished.len() < count {
            self.turn("the applications")?;
        }
        Ok(())
    }

    /// Fails if anything was sent again but as a probe. Where Linux is slow, since there is much to do or little time for it, acknowledgments come later than
    /// two round trips, the first of which took microseconds: then the last segment of a flight is sent again, once (RFC 8985 §7), as Linux does here with its
    /// FINs. No timeout may expire for that.
    pub(crate) fn nothing_was_lost(&self) {
        let counters = self.driver.stack().counters();
        assert_eq!(counters.tcp_timeouts, 0, "nothing was lost");
        assert!(
            counters.tcp_retransmits <= counters.tcp_loss_probes,
            "{} segments were sent again, {} of them as probes",
            counters.tcp_retransmits,
            counters.tcp_loss_probes
        );
    }

    /// Runs until nothing is left but TIME-WAIT, then checks that no memory is held, and that tshark finds nothing in
    /// the capture but what is allowed.
    pub(crate) fn finish(mut self, allowed: &[Allowed]) -> Outcome {
        while self.driver.stack().connections().any(|connection| connection.state != State::TimeWait) {
            self.turn("closing")?;
        }
        let (stack, pool) = self.driver.stack_and_pool();
        for socket in self.udp_sockets.drain(..) {
            stack.udp_close(pool, socket);
        }
        let blocks = self.driver.stack().blocks_in_use();
        if blocks > 0 {
            return Err(format!("{blocks} blocks are still in use\n{self}").into());
        }
        println!("{self}");
        let capture = self.driver.take_capture().ok_or("the capture has ended before")?;
        judge::check(self.name, &capture, allowed)
    }

    /// One turn of the driver, and of the applications for which something happened.
    fn turn(&mut self, waiting_for: &str) -> Outcome {
        let Some(left) = self.limit.checked_sub(self.begun.elapsed()) else {
            return Err(format!("{waiting_for} took longer than {:?}\n{self}", self.limit).into());
        };
        self.driver.turn(Some(left))?;
        while let Some(event) = self.driver.stack_mut().poll_event() {
            match event {
                Event::Connection(handle, _) => self.run_app(handle),
                Event::Listener(listener, _) => self.accept(listener),
                Event::Udp(socket, _) if self.udp_echoes.contains(&socket) => self.echo(socket)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn echo(&mut self, socket: UdpHandle) -> Outcome {
        let now = self.driver.now();
        let (stack, pool) = self.driver.stack_and_pool();
        let mut datagram = vec![0; 65_536];
        while let Some((len, meta)) = stack.udp_recv(pool, socket, &mut datagram) {
            stack.udp_send(pool, now, socket, &meta, &datagram[..len])?;
        }
        Ok(())
    }

    fn accept(&mut self, listener: ListenerHandle) {
        while let Some(handle) = self.driver.stack_mut().accept(listener) {
            let server = self.servers.iter().find(|(known, _)| *known == listener);
            if let Some((_, make)) = server {
                self.apps.insert(handle, make());
                self.run_app(handle);
            }
        }
    }

    fn run_app(&mut self, handle: ConnectionHandle) {
        let Some(app) = self.apps.get_mut(&handle) else { return };
        let now = self.driver.now();
        let (stack, pool) = self.driver.stack_and_pool();
        let result = app.run(&mut Socket { stack, pool, now, handle });
        if result == Ok(false) {
            return;
        }
        stack.close(pool, now, handle);
        if let Some(app) = self.apps.remove(&handle) {
            self.finished.push(Finished { received: app.received().clone(), error: result.err() });
        }
    }
}

/// Runs `peer` in a thread of its own, and takes a turn after the other of a driver, which `waker` wakes, until it has finished.
pub(crate) fn beside<T: Send>(
    waker: Waker,
    peer: impl FnOnce() -> Outcome<T> + Send,
    mut turn: impl FnMut() -> Outcome,
) -> Outcome<T> {
    let (sender, result) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            // The receiver is gone only when the host has failed already.
            let _ = sender.send(peer());
            waker.wake();
        });
        loop {
            match result.try_recv() {
                Ok(result) => return result,
                Err(TryRecvError::Empty) => turn()?,
                Err(TryRecvError::Disconnected) => return Err("the peer panicked".into()),
            }
        }
    })
}

/// A test that fails before it is judged leaves its capture.
impl Drop for Host {
    fn drop(&mut self) {
        if let Some(capture) = self.driver.take_capture() {
            match judge::save(self.name, &capture) {
                Ok(file) => println!("{}: captured in {}", self.name, file.display()),
                Err(error) => println!("{}: the capture could not be saved: {error}", self.name),
            }
        }
    }
}

/// How things stand, for the log and for failures.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stack = self.driver.stack();
        writeln!(f, "{} after {:.2} s", self.name, self.begun.elapsed().as_secs_f64())?;
        let live = stack.connections().filter(|connection| connection.state != State::TimeWait);
        for connection in live.take(8) {
            writeln!(f, "  {connection:?}")?;
        }
        for (side, from) in [(Side::A, "stack"), (Side::B, "Linux")] {
            writeln!(f, "  frames of {from}: {:?}", self.driver.cable().lane(side).counters())?;
        }
        for (name, value) in stack.counters().iter().filter(|(_, value)| *value > 0) {
            write!(f, "  {name} {value}")?;
        }
        Ok(())
    }
}
