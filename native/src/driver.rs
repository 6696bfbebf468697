//! The driver: a stack, its pool, a cable and a port, moved forward turn by turn by whoever owns them.
//!
//! There is no thread and no callback here. A program calls [`Driver::turn`] in a loop, between the turns takes the stack's events and
//! makes its calls, and from other threads ends a wait with a [`Waker`].

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use ethertab::services::{DhcpClient, DhcpClientConfig};
use ethertab::time::Instant;
use ethertab::{BindError, ConfigError, FrameMeta, InterfaceConfig, InterfaceId, Pool, Prefix, Stack};
use ethertab_sim::{Cable, Capture, CaptureConfig, Direction, Side};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::dhcp::Dhcp;
use crate::port::Port;

/// Frames that a turn takes from the port, and as many that it takes from the stack, so that neither starves the other
/// nor the program's own work between turns.
const FRAMES_PER_TURN: usize = 64;

/// Turns in a row that may leave frames waiting at the port before timeouts are handled nevertheless: as many frames as a TAP
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

/// A stack on a port; see the [crate's documentation](crate).
#[derive(Debug)]
pub struct Driver<P> {
    stack: Stack<'static>,
    pool: Pool<'static>,
    interface: InterfaceId,
    /// [`Side::A`] is the stack's end, [`Side::B`] the port's.
    cable: Cable,
    port: P,
    /// The port took no frame when it was last offered one.
    port_is_full: bool,
    /// Turns in a row that have left frames waiting at the port.
    turns_behind: usize,
    dhcp: Option<Dhcp>,
    capture: Option<Capture>,
    buf: Vec<u8>,
    /// The origin of the stack's time.
    started: Clock,
    woken: UnixStream,
    waker: Waker,
}

impl<P: Port> Driver<P> {
    /// Gives `stack` an interface on `port`. The stack's clock begins now.
    ///
    /// # Errors
    /// If the stack refuses the interface, or the operating system the port.
    pub fn new(
        mut stack: Stack<'static>,
        pool: Pool<'static>,
        interface: InterfaceConfig,
        mut port: P,
    ) -> Result<Self, DriverError> {
        let interface = stack.add_interface(Instant::ZERO, interface)?;
        port.set_nonblocking()?;
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        Ok(Driver {
            buf: vec![0; stack.frame_capacity(interface)],
            stack,
            pool,
            interface,
            cable: Cable::new(0, 0),
            port,
            port_is_full: false,
            turns_behind: 0,
            dhcp: None,
            capture: None,
            started: Clock::now(),
            woken,
            waker: Waker(Arc::new(waker)),
        })
    }

    /// Adds an address to the interface.
    ///
    /// # Errors
    /// As [`Stack::add_address`] has them.
    pub fn add_address(&mut self, prefix: Prefix) -> Result<(), ConfigError> {
        self.stack.add_address(self.now(), self.interface, prefix)
    }

    /// Lets a DHCP client give the interface its address and routes, and take them away again when its lease ends. The client's UDP
    /// socket is one of the stack's: events about it need no attention.
    ///
    /// # Errors
    /// If UDP port 68 is taken.
    pub fn start_dhcp(&mut self, config: DhcpClientConfig) -> Result<(), BindError> {
        let now = self.now();
        self.dhcp = Some(Dhcp::new(&mut self.stack, now, self.interface, config)?);
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

    /// The time now, for the stack's calls: microseconds since the driver was made.
    pub fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
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

    /// The stack's interface on the port.
    pub fn interface(&self) -> InterfaceId {
        self.interface
    }

    /// The port.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// The cable between stack ([`Side::A`]) and port ([`Side::B`]).
    pub fn cable(&self) -> &Cable {
        &self.cable
    }

    /// Lays another cable: its impairments, and the seed that they draw from. Frames under way on the old one are lost.
    pub fn set_cable(&mut self, cable: Cable) {
        self.cable = cable;
    }

    /// Captures from now on what the stack sends and receives: before the cable impairs the one, after it has impaired the
    /// other.
    pub fn start_capture(&mut self, config: CaptureConfig) {
        let mut capture = Capture::new(config);
        capture.add_interface("stack");
        self.capture = Some(capture);
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
    /// What the operating system reports about the port; the driver is of no more use then.
    pub fn turn(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let readable = self.wait(limit)?;
        let now = self.now();
        let all_taken = !readable || self.take_from_port(now)?;
        self.deliver_to_stack(now);
        self.turns_behind = if all_taken || self.turns_behind == MAX_TURNS_BEHIND { 0 } else { self.turns_behind + 1 };
        if self.turns_behind == 0 && self.stack.next_timeout().is_some_and(|due| due <= now) {
            self.stack.handle_timeout(&mut self.pool, now);
        }
        if let Some(dhcp) = &mut self.dhcp {
            dhcp.run(&mut self.stack, &mut self.pool, now);
        }
        self.deliver_to_port(now)?;
        for _ in 0..FRAMES_PER_TURN {
            if self.port_is_full {
                break;
            }
            let Some(meta) = self.stack.transmit(&mut self.pool, now, self.interface, &mut self.buf) else { break };
            let frame = &self.buf[..meta.len];
            if let Some(capture) = &mut self.capture {
                capture.record(now, 0, Direction::Out, frame);
            }
            self.cable.lane_mut(Side::A).send(now, frame, meta);
            self.deliver_to_port(now)?;
        }
        Ok(())
    }

    /// Waits as [`turn`](Self::turn) says. Returns whether the port has a frame.
    fn wait(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        let timeout = self.time_to_wait(limit).and_then(|wait| Timespec::try_from(wait).ok());
        let wanted = if self.port_is_full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut ends = [PollFd::new(&self.port, wanted), PollFd::new(&self.woken, PollFlags::IN)];
        match poll(&mut ends, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let (port, woken) = (ends[0].revents(), ends[1].revents());
        if port.contains(PollFlags::OUT) {
            self.port_is_full = false;
        }
        if woken.contains(PollFlags::IN) {
            self.forget_wakes()?;
        }
        // An error or a hang-up counts as readable: reading tells what it is.
        Ok(port.intersects(PollFlags::IN | PollFlags::ERR | PollFlags::HUP))
    }

    /// The shorter of `limit` and the time until something is due here.
    fn time_to_wait(&self, limit: Option<Duration>) -> Option<Duration> {
        let waits_for_port = self.port_is_full;
        if !waits_for_port && self.stack.wants_transmit(self.interface) {
            return Some(Duration::ZERO);
        }
        // What has arrived at a full port waits for the port, not for the clock.
        let to_port = self.cable.lane(Side::A).next_arrival().filter(|_| !waits_for_port);
        let dhcp = self.dhcp.as_ref().and_then(Dhcp::next_timeout);
        let due = [self.stack.next_timeout(), dhcp, to_port, self.cable.lane(Side::B).next_arrival()];
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

    /// Returns whether no frame is left waiting.
    fn take_from_port(&mut self, now: Instant) -> io::Result<bool> {
        for _ in 0..FRAMES_PER_TURN {
            let Some(len) = self.port.receive(&mut self.buf)? else { return Ok(true) };
            self.cable.lane_mut(Side::B).send(now, &self.buf[..len], FrameMeta::received(len));
        }
        Ok(false)
    }

    fn deliver_to_stack(&mut self, now: Instant) {
        let lane = self.cable.lane_mut(Side::B);
        while let Some((frame, meta)) = lane.arrived(now) {
            if let Some(capture) = &mut self.capture {
                capture.record(now, 0, Direction::In, frame);
            }
            self.stack.receive(&mut self.pool, now, self.interface, frame, meta);
            lane.pop();
        }
    }

    fn deliver_to_port(&mut self, now: Instant) -> io::Result<()> {
        let lane = self.cable.lane_mut(Side::A);
        while !self.port_is_full
            && let Some((frame, _)) = lane.arrived(now)
        {
            if self.port.send(frame)? {
                lane.pop();
            } else {
                self.port_is_full = true;
            }
        }
        Ok(())
    }
}
