//! The driver: a stack, its pool, and for each of its interfaces a cable and a port, moved forward turn by turn by whoever owns them.
//!
//! There is no thread and no callback here. A program calls [`Driver::turn`] in a loop, between the turns takes the stack's events and
//! makes its calls, and from other threads ends a wait with a [`Waker`].

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use ethertab::services::dhcpv6_client::{Dhcpv6Client, Dhcpv6ClientConfig};
use ethertab::services::{DhcpClient, DhcpClientConfig, Mdns, MdnsConfig, MdnsMemory};
use ethertab::time::Instant;
use ethertab::{BindError, ConfigError, FrameMeta, InterfaceConfig, InterfaceId, Medium, Pool, Prefix, Stack};
use ethertab_sim::{Cable, Capture, CaptureConfig, Direction, LinkType, Side};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::dhcp::Dhcp;
use crate::dhcpv6::{Dhcpv6, Dhcpv6Start};
use crate::mdns::{MdnsStartError, MulticastDns};
use crate::port::Port;

/// Frames that a turn takes from each port, and as many that it takes from the stack for it, so that none starves another
/// nor the program's own work between turns.
const FRAMES_PER_TURN: usize = 64;

/// Turns in a row that may leave frames waiting at a port before timeouts are handled nevertheless: as many frames as a TAP
/// device queues by default. Otherwise an acknowledgment that has come would be found after the timeout that it prevents,
/// and a flood would put off timeouts for ever.
const MAX_TURNS_BEHIND: usize = 16;

/// Why a driver could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriverError {
    /// The stack refused the interface.
    Config(ConfigError),
    /// The operating system refused to prepare the port or the waker.
    Io(io::Error),
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriverError::Config(error) => error.fmt(f),
            DriverError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DriverError {}

impl From<ConfigError> for DriverError {
    fn from(error: ConfigError) -> Self {
        DriverError::Config(error)
    }
}

impl From<io::Error> for DriverError {
    fn from(error: io::Error) -> Self {
        DriverError::Io(error)
    }
}

/// Ends the wait of a [`Driver::turn`] from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<UnixStream>);

impl Waker {
    /// Makes the present turn, or if there is none the next one, return without waiting any longer.
    pub fn wake(&self) {
        // A full pipe wakes as well as one byte more would, and a driver that is gone needs no waking.
        let _ = (&*self.0).write(&[1]);
    }
}

/// A port, the interface that the stack has on it, and what lies between them.
#[derive(Debug)]
struct Plug<P> {
    interface: InterfaceId,
    /// [`Side::A`] is the stack's end, [`Side::B`] the port's.
    cable: Cable,
    port: P,
    /// The port took no frame when it was last offered one.
    is_full: bool,
    /// What its frames begin with.
    link: LinkType,
    /// What a capture calls it.
    captured_as: u32,
}

impl<P: Port> Plug<P> {
    fn new(interface: InterfaceId, link: LinkType, mut port: P) -> io::Result<Self> {
        port.set_nonblocking()?;
        Ok(Plug { interface, cable: Cable::new(0, 0), port, is_full: false, link, captured_as: 0 })
    }

    /// When the next frame arrives at an end of the cable. What has arrived at a full port waits for the port, not for the clock.
    fn next_arrival(&self) -> Option<Instant> {
        let to_port = self.cable.lane(Side::A).next_arrival().filter(|_| !self.is_full);
        to_port.into_iter().chain(self.cable.lane(Side::B).next_arrival()).min()
    }

    /// Returns whether no frame is left waiting.
    fn take_from_port(&mut self, now: Instant, buf: &mut [u8]) -> io::Result<bool> {
        for _ in 0..FRAMES_PER_TURN {
            let Some(len) = self.port.receive(buf)? else { return Ok(true) };
            self.cable.lane_mut(Side::B).send(now, &buf[..len], FrameMeta::received(len));
        }
        Ok(false)
    }

    fn deliver_to_port(&mut self, now: Instant) -> io::Result<()> {
        let lane = self.cable.lane_mut(Side::A);
        while !self.is_full
            && let Some((frame, _)) = lane.arrived(now)
        {
            if self.port.send(frame)? {
                lane.pop();
            } else {
                self.is_full = true;
            }
        }
        Ok(())
    }
}

/// What a capture calls the interface on the port of this number.
fn captured_name(number: usize) -> String {
    if number == 0 { "stack".to_owned() } else { format!("stack.{number}") }
}

/// A stack on one or several ports; see the [crate's documentation](crate).
#[derive(Debug)]
pub struct Driver<P> {
    stack: Stack<'static>,
    pool: Pool<'static>,
    /// In the order in which they were added; the first one was there from the beginning.
    plugs: Vec<Plug<P>>,
    /// Turns in a row that have left frames waiting at a port.
    turns_behind: usize,
    dhcp: Option<Dhcp>,
    dhcpv6: Option<Dhcpv6>,
    mdns: Option<MulticastDns>,
    capture: Option<Capture>,
    buf: Vec<u8>,
    /// The origin of the stack's time.
    started: Clock,
    skipped: Duration,
    woken: UnixStream,
    waker: Waker,
}

impl<P: Port> Driver<P> {
    /// Gives `stack` an interface on `port`. The stack's clock begins now.
    ///
    /// # Errors
    /// If the stack refuses the interface, or the operating system the port.
    pub fn new(
        stack: Stack<'static>,
        pool: Pool<'static>,
        interface: InterfaceConfig,
        port: P,
    ) -> Result<Self, DriverError> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let mut driver = Driver {
            stack,
            pool,
            plugs: Vec::new(),
            turns_behind: 0,
            dhcp: None,
            dhcpv6: None,
            mdns: None,
            capture: None,
            buf: Vec::new(),
            started: Clock::now(),
            skipped: Duration::ZERO,
            woken,
            waker: Waker(Arc::new(waker)),
        };
        driver.add_port(interface, port)?;
        Ok(driver)
    }

    /// Gives the stack one more interface, on a port of its own: a router has two or more.
    ///
    /// # Errors
    /// As [`new`](Self::new) has them.
    pub fn add_port(&mut self, interface: InterfaceConfig, port: P) -> Result<InterfaceId, DriverError> {
        let link = if interface.medium == Medium::Ip { LinkType::Ip } else { LinkType::Ethernet };
        let interface = self.stack.add_interface(self.now(), interface)?;
        let mut plug = Plug::new(interface, link, port)?;
        if let Some(capture) = &mut self.capture {
            plug.captured_as = capture.add_interface(&captured_name(self.plugs.len()), link);
        }
        self.plugs.push(plug);
        Ok(interface)
    }

    /// Adds an address to the first interface.
    ///
    /// # Errors
    /// As [`Stack::add_address`] has them.
    pub fn add_address(&mut self, prefix: Prefix) -> Result<(), ConfigError> {
        self.stack.add_address(self.now(), self.interface(), prefix)
    }

    /// Lets a DHCP client give the first interface its address and routes, and take them away again when its lease ends. The client's UDP
    /// socket is one of the stack's: events about it need no attention.
    ///
    /// # Errors
    /// If UDP port 68 is taken.
    pub fn start_dhcp(&mut self, config: DhcpClientConfig) -> Result<(), BindError> {
        let (now, interface) = (self.now(), self.interface());
        self.dhcp = Some(Dhcp::new(&mut self.stack, now, interface, config)?);
        Ok(())
    }

    /// The DHCP client, which knows the lease and the network's parameters.
    pub fn dhcp(&self) -> Option<&DhcpClient> {
        self.dhcp.as_ref().map(Dhcp::client)
    }

    /// Gives the lease back. The next two turns tell the server and then take the address away.
    pub fn release_dhcp(&mut self) {
        let now = self.now();
        if let Some(dhcp) = &mut self.dhcp {
            dhcp.release(now);
        }
    }

    /// Lets a DHCPv6 client give the first interface an address, and take it away again when its lease ends, or find out parameters only.
    /// The client's UDP socket is one of the stack's: events about it need no attention.
    ///
    /// # Errors
    /// If UDP port 546 is taken.
    pub fn start_dhcpv6(&mut self, config: Dhcpv6ClientConfig, start: Dhcpv6Start) -> Result<(), BindError> {
        let (now, interface) = (self.now(), self.interface());
        self.dhcpv6 = Some(Dhcpv6::new(&mut self.stack, now, interface, config, start)?);
        Ok(())
    }

    /// The DHCPv6 client, which knows the lease and the network's parameters; none while no router has said that there is DHCPv6.
    pub fn dhcpv6(&self) -> Option<&Dhcpv6Client> {
        self.dhcpv6.as_ref().and_then(Dhcpv6::client)
    }

    /// Gives the lease back. The next turn tells the server; the address is not used any more (RFC 9915 §18.2.7).
    pub fn release_dhcpv6(&mut self) {
        let now = self.now();
        if let Some(dhcpv6) = &mut self.dhcpv6 {
            dhcpv6.release(now);
        }
    }

    /// Lets the first interface speak multicast DNS, with the addresses that it has at each time. The UDP socket is one of the stack's:
    /// events about it need no attention.
    ///
    /// # Errors
    /// If UDP port 5353 is taken, or the interface listens to as many groups as it may.
    pub fn start_mdns(&mut self, config: MdnsConfig, memory: MdnsMemory<'static>) -> Result<(), MdnsStartError> {
        let (now, interface) = (self.now(), self.interface());
        self.mdns = Some(MulticastDns::new(&mut self.stack, now, interface, config, memory)?);
        Ok(())
    }

    /// Multicast DNS, for its calls. What they give to send goes out in the next [`turn`](Self::turn).
    pub fn mdns(&mut self) -> Option<&mut Mdns<'static>> {
        self.mdns.as_mut().map(|mdns| &mut mdns.mdns)
    }

    /// The time now, for the stack's calls: microseconds since the driver was made, and what was [skipped](Self::skip).
    pub fn now(&self) -> Instant {
        let elapsed = self.started.elapsed().saturating_add(self.skipped);
        Instant::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    /// Moves the stack's clock ahead, as if so much time had passed without a turn: tests need not wait for timers.
    pub fn skip(&mut self, time: Duration) {
        self.skipped = self.skipped.saturating_add(time);
    }

    /// The stack.
    pub fn stack(&self) -> &Stack<'static> {
        &self.stack
    }

    /// The stack, for its calls. What they give to send goes out in the next [`turn`](Self::turn).
    pub fn stack_mut(&mut self) -> &mut Stack<'static> {
        &mut self.stack
    }

    /// The stack with its pool, for the calls that need both.
    pub fn stack_and_pool(&mut self) -> (&mut Stack<'static>, &mut Pool<'static>) {
        (&mut self.stack, &mut self.pool)
    }

    /// The stack's interface on the first port.
    pub fn interface(&self) -> InterfaceId {
        self.plugs[0].interface
    }

    /// The stack's interfaces, in the order of their ports.
    pub fn interfaces(&self) -> impl Iterator<Item = InterfaceId> {
        self.plugs.iter().map(|plug| plug.interface)
    }

    /// The first port.
    pub fn port(&self) -> &P {
        &self.plugs[0].port
    }

    /// The cable between stack ([`Side::A`]) and first port ([`Side::B`]).
    pub fn cable(&self) -> &Cable {
        &self.plugs[0].cable
    }

    /// Lays another cable to the first port: its impairments, and the seed that they draw from. Frames under way on the old one are lost.
    pub fn set_cable(&mut self, cable: Cable) {
        self.plugs[0].cable = cable;
    }

    /// Lays another cable to the port of an interface, as [`set_cable`](Self::set_cable) does to the first. Returns whether there is one.
    pub fn set_cable_of(&mut self, interface: InterfaceId, cable: Cable) -> bool {
        let found = self.plugs.iter_mut().find(|plug| plug.interface == interface);
        found.map(|plug| plug.cable = cable).is_some()
    }

    /// Captures from now on what the stack sends and receives by each interface: before the cable impairs the one, after it has
    /// impaired the other.
    pub fn start_capture(&mut self, config: CaptureConfig) {
        let mut capture = Capture::new(config);
        for (number, plug) in self.plugs.iter_mut().enumerate() {
            plug.captured_as = capture.add_interface(&captured_name(number), plug.link);
        }
        self.capture = Some(capture);
    }

    /// What was captured so far; None without a capture.
    pub fn capture(&self) -> Option<&Capture> {
        self.capture.as_ref()
    }

    /// Ends the capture and returns it. Its times are those of [`now`](Self::now).
    pub fn take_capture(&mut self) -> Option<Capture> {
        self.capture.take()
    }

    /// What ends a wait from another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits until a frame has arrived, something is due, the [`Waker`] was used or `limit` is over (`None`: for as long
    /// as it takes), then moves frames both ways. Returns soon, with work left for the next turn if there is much; after
    /// each turn it is time for [`Stack::poll_event`].
    ///
    /// # Errors
    /// What the operating system reports about a port; the driver is of no more use then.
    pub fn turn(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let all_taken = self.wait_and_take(limit)?;
        let now = self.now();
        self.deliver_to_stack(now);
        self.turns_behind = if all_taken || self.turns_behind == MAX_TURNS_BEHIND { 0 } else { self.turns_behind + 1 };
        if self.turns_behind == 0 && self.stack.next_timeout().is_some_and(|due| due <= now) {
            self.stack.handle_timeout(&mut self.pool, now);
        }
        if let Some(dhcp) = &mut self.dhcp {
            dhcp.run(&mut self.stack, &mut self.pool, now);
        }
        if let Some(dhcpv6) = &mut self.dhcpv6 {
            dhcpv6.run(&mut self.stack, &mut self.pool, now);
        }
        if let Some(mdns) = &mut self.mdns {
            mdns.run(&mut self.stack, &mut self.pool, now);
        }
        for plug in &mut self.plugs {
            plug.deliver_to_port(now)?;
            // VLANs that were added since make frames longer.
            let capacity = self.stack.frame_capacity(plug.interface).max(self.buf.len());
            self.buf.resize(capacity, 0);
            for _ in 0..FRAMES_PER_TURN {
                if plug.is_full {
                    break;
                }
                let sent = self.stack.transmit(&mut self.pool, now, plug.interface, &mut self.buf);
                let Some(meta) = sent else { break };
                let frame = &self.buf[..meta.len];
                if let Some(capture) = &mut self.capture {
                    capture.record(now, plug.captured_as, Direction::Out, frame);
                }
                plug.cable.lane_mut(Side::A).send(now, frame, meta);
                plug.deliver_to_port(now)?;
            }
        }
        Ok(())
    }

    /// Waits as [`turn`](Self::turn) says, and takes frames from the ports. Returns whether none is left waiting there.
    fn wait_and_take(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        let timeout = self.time_to_wait(limit).and_then(|wait| Timespec::try_from(wait).ok());
        let wanted = |plug: &Plug<P>| if plug.is_full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let ports = self.plugs.iter().map(|plug| PollFd::new(&plug.port, wanted(plug)));
        let mut ends: Vec<PollFd<'_>> = ports.chain([PollFd::new(&self.woken, PollFlags::IN)]).collect();
        match poll(&mut ends, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<PollFlags> = ends.iter().map(PollFd::revents).collect();
        if ready.last().is_some_and(|woken| woken.contains(PollFlags::IN)) {
            self.forget_wakes()?;
        }
        let now = self.now();
        let mut all_taken = true;
        for (plug, flags) in self.plugs.iter_mut().zip(ready) {
            plug.is_full &= !flags.contains(PollFlags::OUT);
            // An error or a hang-up counts as readable: reading tells what it is.
            if flags.intersects(PollFlags::IN | PollFlags::ERR | PollFlags::HUP) {
                all_taken &= plug.take_from_port(now, &mut self.buf)?;
            }
        }
        Ok(all_taken)
    }

    /// The shorter of `limit` and the time until something is due here.
    fn time_to_wait(&self, limit: Option<Duration>) -> Option<Duration> {
        if self.plugs.iter().any(|plug| !plug.is_full && self.stack.wants_transmit(plug.interface)) {
            return Some(Duration::ZERO);
        }
        let arrivals = self.plugs.iter().filter_map(Plug::next_arrival).min();
        let due = [
            self.stack.next_timeout(),
            self.dhcp.as_ref().and_then(Dhcp::next_timeout),
            self.dhcpv6.as_ref().and_then(Dhcpv6::next_timeout),
            self.mdns.as_ref().and_then(MulticastDns::next_timeout),
            arrivals,
        ];
        let now = self.now();
        let wait = due.into_iter().flatten().min().map(|due| Duration::from_micros(due.since(now).as_micros()));
        wait.into_iter().chain(limit).min()
    }

    fn forget_wakes(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64];
        loop {
            match self.woken.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn deliver_to_stack(&mut self, now: Instant) {
        for plug in &mut self.plugs {
            let lane = plug.cable.lane_mut(Side::B);
            while let Some((frame, meta)) = lane.arrived(now) {
                if let Some(capture) = &mut self.capture {
                    capture.record(now, plug.captured_as, Direction::In, frame);
                }
                self.stack.receive(&mut self.pool, now, plug.interface, frame, meta);
                lane.pop();
            }
        }
    }
}
