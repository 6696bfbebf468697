//! The graph of hosts, switches, cables and outside ports, and the engine that moves frames through it.
//!
//! A `Network` knows no clock: whoever drives it calls [`advance`](Network::advance) with the time, be that virtual (a
//! [`World`](crate::World)) or real (a browser tab), and again at [`next_timeout`](Network::next_timeout), after
//! [`inject`](Network::inject) and after any call to a stack through [`host_mut`](Network::host_mut):
//!
//! 1. `advance(now)` until it returns false: frames arrive, timers expire, stacks send;
//! 2. [`poll_event`](Network::poll_event) until nothing is left, and the applications do what they do;
//! 3. [`poll_port`](Network::poll_port) and [`drain`](Network::drain) for the frames that leave the network;
//! 4. again from 1 if 2 or 3 called a stack or injected a frame; then wait for `next_timeout`.
//!
//! Everything is plain data: a clone of a running network goes on exactly as the original does.

mod engine;

use crate::cable::{Cable, Side};
use crate::capture::{Capture, CaptureConfig, Direction, LinkType};
use crate::impairment::{Impairment, ImpairmentError};
use crate::random::Random;
use crate::schedule::{Schedule, Wake};
use crate::slots::{Key, Slots};
use crate::switch::{Switch, SwitchConfig};
use ethertab::time::Instant;
use ethertab::trace::TraceRecord;
use ethertab::{ErrorText, InterfaceId, Medium, Pool, Stack};
use siphasher::sip::SipHasher13;
use std::collections::VecDeque;
use std::fmt;

/// The longest frame that a network carries, in bytes: an IP packet of 65,535 bytes behind a tagged Ethernet header.
pub const MAX_FRAME_LEN: usize = 65_535 + 18;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) Key);

        impl $name {
            /// The id as a number, for languages without this type.
            pub fn to_bits(self) -> u64 {
                self.0.to_bits()
            }

            /// The id that `to_bits` gave; any other number is an id that finds nothing, or something else.
            pub fn from_bits(bits: u64) -> Self {
                $name(Key::from_bits(bits))
            }
        }
    )*};
}

ids! {
    /// A stack in a network.
    HostId;
    /// A switch in a network.
    SwitchId;
    /// An end where frames go in and out.
    PortId;
    /// A cable between two ports.
    CableId;
    /// A capture of what passes some ports.
    CaptureId;
}

/// Where a cable can be plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Socket {
    /// The host's first port that is free.
    Host(HostId),
    /// A free port of the switch, which has as many as are needed.
    Switch(SwitchId),
    /// This port.
    Port(PortId),
}

impl From<HostId> for Socket {
    fn from(host: HostId) -> Self {
        Socket::Host(host)
    }
}

impl From<SwitchId> for Socket {
    fn from(switch: SwitchId) -> Self {
        Socket::Switch(switch)
    }
}

impl From<PortId> for Socket {
    fn from(port: PortId) -> Self {
        Socket::Port(port)
    }
}

/// Why a network cannot be changed as asked.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum NetworkError {
    /// There is no such host, switch, port, cable or capture (any more).
    NotFound,
    /// The port already has a cable.
    AlreadyPlugged(PortId),
    /// The host has no port without a cable, or the switch no number for another one.
    NoFreePort,
    /// A cable from a port to itself.
    SamePort(PortId),
    /// The impairment makes no sense.
    Impairment(ImpairmentError),
}

impl NetworkError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            Self::NotFound => ErrorText::plain("there is no such part of the network"),
            Self::AlreadyPlugged(port) => ErrorText::number("port {} already has a cable", port.0.index),
            Self::NoFreePort => ErrorText::plain("no port is free"),
            Self::SamePort(port) => ErrorText::number("port {} cannot be plugged into itself", port.0.index),
            Self::Impairment(error) => error.text(),
        }
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}

impl std::error::Error for NetworkError {}

impl From<ImpairmentError> for NetworkError {
    fn from(error: ImpairmentError) -> Self {
        NetworkError::Impairment(error)
    }
}

/// Frames and bytes that passed a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames into the host, switch or driver that owns the port.
    pub frames_in: u64,
    /// Bytes of them.
    pub bytes_in: u64,
    /// Frames out of it.
    pub frames_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// Frames out of it while no cable was plugged in.
    pub unplugged: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Host(HostId, InterfaceId),
    Switch(SwitchId, u16),
    External,
}

#[derive(Clone, Debug)]
struct Port {
    name: String,
    owner: Owner,
    plug: Option<(CableId, Side)>,
    /// Captures, and what they call this port.
    watchers: Vec<(CaptureId, u32)>,
    counters: PortCounters,
    /// Whether it waits to be polled for frames that have arrived (external ports).
    announced: bool,
}

#[derive(Clone, Debug)]
struct Host {
    name: String,
    stack: Stack<'static>,
    ports: Vec<(InterfaceId, PortId)>,
    /// Whether it waits for its turn.
    queued: bool,
    /// Whether it waits to be polled for events.
    announced: bool,
}

#[derive(Clone, Debug)]
struct SwitchNode {
    name: String,
    switch: Switch,
    ports: Vec<PortId>,
}

#[derive(Clone, Debug)]
struct CableNode {
    cable: Cable,
    ends: [PortId; 2],
    /// Whether the frames sent from each side wait to be delivered.
    queued: [bool; 2],
    /// Whether the host at each side waits for room.
    blocked: [bool; 2],
}

/// A running hash over every frame that passed any port, with the time, the port and the direction.
#[derive(Clone, Debug)]
struct Trace(u64);

impl Trace {
    fn add(&mut self, now: Instant, port: PortId, direction: Direction, frame: &[u8]) {
        let passed = u64::from(port.0.index) << 1 | u64::from(direction == Direction::In);
        self.0 = SipHasher13::new_with_keys(self.0 ^ passed, now.as_micros()).hash(frame);
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Network {
    seed: u64,
    /// Streams of randomness handed out so far.
    streams: u64,
    now: Instant,
    pool: Pool<'static>,
    hosts: Slots<Host>,
    switches: Slots<SwitchNode>,
    ports: Slots<Port>,
    cables: Slots<CableNode>,
    captures: Slots<Capture>,
    trace: Option<Trace>,
    schedule: Schedule,
    /// Directions of cables with frames that have arrived.
    ready_lanes: VecDeque<(u32, Side)>,
    /// Hosts that have something to do.
    ready_hosts: VecDeque<u32>,
    /// Hosts that may have events.
    event_hosts: VecDeque<u32>,
    /// External ports with frames that have arrived.
    ready_ports: VecDeque<u32>,
    /// One frame on its way through a switch or onto an impaired cable.
    scratch: Vec<u8>,
}

impl Network {
    /// An empty network. Its hosts share a pool of `pool_blocks` blocks; all that is random in it depends on `seed`.
    pub fn new(seed: u64, pool_blocks: usize) -> Self {
        Network {
            seed,
            streams: 0,
            now: Instant::ZERO,
            pool: Pool::new(pool_blocks),
            hosts: Slots::new(),
            switches: Slots::new(),
            ports: Slots::new(),
            cables: Slots::new(),
            captures: Slots::new(),
            trace: None,
            schedule: Schedule::default(),
            ready_lanes: VecDeque::new(),
            ready_hosts: VecDeque::new(),
            event_hosts: VecDeque::new(),
            ready_ports: VecDeque::new(),
            scratch: vec![0; MAX_FRAME_LEN],
        }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The latest time that it was told.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The pool that the hosts share.
    pub fn pool(&self) -> &Pool<'static> {
        &self.pool
    }

    fn next_stream(&mut self) -> u64 {
        self.streams += 1;
        self.streams
    }

    // Hosts

    /// Adds a stack. Its interfaces get ports by [`attach`](Self::attach).
    pub fn add_host(&mut self, name: &str, stack: Stack<'static>) -> HostId {
        let host = Host { name: name.into(), stack, ports: Vec::new(), queued: false, announced: false };
        let id = HostId(self.hosts.insert(host));
        self.wake_host(id);
        id
    }

    /// Gives an interface of a host its port.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn attach(&mut self, host: HostId, interface: InterfaceId) -> Result<PortId, NetworkError> {
        let node = self.hosts.get_mut(host.0).ok_or(NetworkError::NotFound)?;
        let name = match interface.0 {
            0 => node.name.clone(),
            number => format!("{}:{number}", node.name),
        };
        let port = PortId(self.ports.insert(Port::new(name, Owner::Host(host, interface))));
        node.ports.push((interface, port));
        self.wake_host(host);
        Ok(port)
    }

    /// Removes an interface from a host's stack, and its port if it has one: the cable is pulled at both ends, the frames on it
    /// are lost, and no capture watches the port any more. What becomes of the host's connections is told at
    /// [`Stack::remove_interface`]. The interface's number is given to the next one that is added.
    ///
    /// # Errors
    /// If there is no such host, or it has no such interface.
    pub fn remove_interface(&mut self, host: HostId, interface: InterfaceId) -> Result<(), NetworkError> {
        let now = self.now;
        let (stack, pool) = self.host_mut(host).ok_or(NetworkError::NotFound)?;
        stack.remove_interface(pool, now, interface).map_err(|_| NetworkError::NotFound)?;
        let Some(node) = self.hosts.get_mut(host.0) else {
            return Ok(());
        };
        if let Some(place) = node.ports.iter().position(|(owner, _)| *owner == interface) {
            let (_, port) = node.ports.remove(place);
            self.remove_port_of_anything(port);
        }
        Ok(())
    }

    /// Removes a host, its ports and the cables in them. Its connections are reset, and its memory goes back to the
    /// pool.
    pub fn remove_host(&mut self, host: HostId) {
        let now = self.now;
        let Some((stack, pool)) = self.host_mut(host) else {
            return;
        };
        stack.close_all(pool, now);
        self.say_farewell(host);
        self.schedule.set(Wake::Host(host.0.index), None);
        let Some(node) = self.hosts.remove(host.0) else {
            return;
        };
        for (_, port) in node.ports {
            self.remove_port_of_anything(port);
        }
    }

    /// A host's stack.
    pub fn host(&self, host: HostId) -> Option<&Stack<'static>> {
        self.hosts.get(host.0).map(|node| &node.stack)
    }

    /// A host's stack and the pool, for calls that change something; [`advance`](Self::advance) afterwards.
    pub fn host_mut(&mut self, host: HostId) -> Option<(&mut Stack<'static>, &mut Pool<'static>)> {
        self.wake_host(host);
        let node = self.hosts.get_mut(host.0)?;
        Some((&mut node.stack, &mut self.pool))
    }

    /// A call to a host's stack that seldom gives it work, such as reading: [`next_timeout`](Self::next_timeout) says whether to
    /// [`advance`](Self::advance) afterwards. Events wait until then, if there are any.
    pub fn visit_host<T>(
        &mut self,
        host: HostId,
        call: impl FnOnce(&mut Stack<'static>, &mut Pool<'static>) -> T,
    ) -> Option<T> {
        let node = self.hosts.get_mut(host.0)?;
        let result = call(&mut node.stack, &mut self.pool);
        self.wake_host_if_due(host);
        Some(result)
    }

    /// The next record of a host's trace, if it has one. It gives the host no work: whoever looks at the trace each time that something has happened would
    /// else never come to an end.
    pub fn poll_trace(&mut self, host: HostId) -> Option<TraceRecord> {
        self.hosts.get_mut(host.0)?.stack.poll_trace()
    }

    /// The hosts and their names.
    pub fn hosts(&self) -> impl Iterator<Item = (HostId, &str)> {
        self.hosts.iter().map(|(key, host)| (HostId(key), host.name.as_str()))
    }

    /// The ports of a host, in the order in which they were attached.
    pub fn host_ports(&self, host: HostId) -> impl Iterator<Item = PortId> {
        self.hosts.get(host.0).into_iter().flat_map(|node| node.ports.iter().map(|(_, port)| *port))
    }

    // Switches

    /// Adds a switch.
    pub fn add_switch(&mut self, name: &str, config: SwitchConfig) -> SwitchId {
        let mut random = Random::new(self.seed, self.next_stream());
        let switch = Switch::new(config, (random.next_u64(), random.next_u64()));
        SwitchId(self.switches.insert(SwitchNode { name: name.into(), switch, ports: Vec::new() }))
    }

    /// A switch, for its counters.
    pub fn switch(&self, switch: SwitchId) -> Option<&Switch> {
        self.switches.get(switch.0).map(|node| &node.switch)
    }

    /// Adds a port to a switch.
    ///
    /// # Errors
    /// If there is no such switch, or it has 65,536 ports.
    pub fn add_switch_port(&mut self, switch: SwitchId) -> Result<PortId, NetworkError> {
        let node = self.switches.get_mut(switch.0).ok_or(NetworkError::NotFound)?;
        let number = u16::try_from(node.ports.len()).map_err(|_| NetworkError::NoFreePort)?;
        let name = format!("{}:{number}", node.name);
        let port = PortId(self.ports.insert(Port::new(name, Owner::Switch(switch, number))));
        node.ports.push(port);
        node.switch.add_port();
        Ok(port)
    }

    /// Isolates a port of a switch, or ends that: no frame passes between two isolated ports. What is no port of a switch stays as it is.
    pub fn isolate(&mut self, port: PortId, isolated: bool) {
        if let Some(&Port { owner: Owner::Switch(switch, number), .. }) = self.ports.get(port.0)
            && let Some(node) = self.switches.get_mut(switch.0)
        {
            node.switch.isolate(number, isolated);
        }
    }

    /// Removes a switch, its ports and the cables in them.
    pub fn remove_switch(&mut self, switch: SwitchId) {
        let Some(node) = self.switches.remove(switch.0) else {
            return;
        };
        for port in node.ports {
            self.remove_port_of_anything(port);
        }
    }

    // Ports

    /// Adds a port whose frames the driver moves, by [`inject`](Self::inject) and [`drain`](Self::drain).
    pub fn add_port(&mut self, name: &str) -> PortId {
        PortId(self.ports.insert(Port::new(name.into(), Owner::External)))
    }

    /// Removes a port added by [`add_port`](Self::add_port) and the cable in it; other ports go with what they belong to.
    pub fn remove_port(&mut self, port: PortId) {
        if self.ports.get(port.0).is_some_and(|node| node.owner == Owner::External) {
            self.remove_port_of_anything(port);
        }
    }

    fn remove_port_of_anything(&mut self, port: PortId) {
        self.unplug(port);
        self.ports.remove(port.0);
    }

    /// Gives a port another name. Captures that watch it already go on under the old one.
    pub fn rename_port(&mut self, port: PortId, name: &str) {
        if let Some(node) = self.ports.get_mut(port.0) {
            node.name = name.into();
        }
    }

    /// A port's name.
    pub fn port_name(&self, port: PortId) -> Option<&str> {
        self.ports.get(port.0).map(|node| node.name.as_str())
    }

    /// What passed a port.
    pub fn port_counters(&self, port: PortId) -> Option<&PortCounters> {
        self.ports.get(port.0).map(|node| &node.counters)
    }

    // Cables

    /// Joins two ports by a perfect cable.
    ///
    /// # Errors
    /// If one of them does not exist, has a cable already or has no free port, or if they are the same.
    pub fn plug(&mut self, a: impl Into<Socket>, b: impl Into<Socket>) -> Result<CableId, NetworkError> {
        let a = self.free_port(a.into(), None)?;
        let b = self.free_port(b.into(), Some(a))?;
        let cable = Cable::new(self.seed, self.next_stream());
        let node = CableNode { cable, ends: [a, b], queued: [false; 2], blocked: [false; 2] };
        let id = CableId(self.cables.insert(node));
        for (port, side) in [(a, Side::A), (b, Side::B)] {
            if let Some(node) = self.ports.get_mut(port.0) {
                node.plug = Some((id, side));
            }
            self.wake_owner(port);
        }
        Ok(id)
    }

    /// The port that a socket means; never `taken`, in which the other end of the cable already is.
    fn free_port(&mut self, socket: Socket, taken: Option<PortId>) -> Result<PortId, NetworkError> {
        let is_free = |ports: &Slots<Port>, port: PortId| {
            Some(port) != taken && ports.get(port.0).is_some_and(|node| node.plug.is_none())
        };
        match socket {
            Socket::Port(port) if Some(port) == taken => Err(NetworkError::SamePort(port)),
            Socket::Port(port) => match self.ports.get(port.0) {
                None => Err(NetworkError::NotFound),
                Some(node) if node.plug.is_some() => Err(NetworkError::AlreadyPlugged(port)),
                Some(_) => Ok(port),
            },
            Socket::Host(host) => {
                let node = self.hosts.get(host.0).ok_or(NetworkError::NotFound)?;
                let mut ports = node.ports.iter().map(|(_, port)| *port);
                ports.find(|port| is_free(&self.ports, *port)).ok_or(NetworkError::NoFreePort)
            }
            Socket::Switch(switch) => {
                let node = self.switches.get(switch.0).ok_or(NetworkError::NotFound)?;
                match node.ports.iter().find(|port| is_free(&self.ports, **port)) {
                    Some(port) => Ok(*port),
                    None => self.add_switch_port(switch),
                }
            }
        }
    }

    /// Pulls the cable out of a port, at both ends; the frames on it are lost. Nothing happens if there is none.
    pub fn unplug(&mut self, port: PortId) {
        let Some((cable, _)) = self.ports.get(port.0).and_then(|node| node.plug) else {
            return;
        };
        self.schedule.set(Wake::Lane(cable.0.index, Side::A), None);
        self.schedule.set(Wake::Lane(cable.0.index, Side::B), None);
        let Some(node) = self.cables.remove(cable.0) else {
            return;
        };
        for end in node.ends {
            let Some(port) = self.ports.get_mut(end.0) else {
                continue;
            };
            port.plug = None;
            if let Owner::Switch(switch, number) = port.owner
                && let Some(node) = self.switches.get_mut(switch.0)
            {
                node.switch.forget_port(number);
            }
            self.wake_owner(end);
        }
    }

    /// A cable, for its impairments and counters.
    pub fn cable(&self, cable: CableId) -> Option<&Cable> {
        self.cables.get(cable.0).map(|node| &node.cable)
    }

    /// The cable in a port, and which end of it.
    pub fn cable_at(&self, port: PortId) -> Option<(CableId, Side)> {
        self.ports.get(port.0)?.plug
    }

    /// Changes what a cable does to frames in both directions. Frames under way are not touched.
    ///
    /// # Errors
    /// If there is no such cable, or the impairment makes no sense; the cable is as before then.
    pub fn impair(&mut self, cable: CableId, impairment: Impairment) -> Result<(), NetworkError> {
        self.impair_from(cable, Side::A, impairment)?;
        self.impair_from(cable, Side::B, impairment)
    }

    /// [`impair`](Self::impair) for the frames sent from one side only.
    ///
    /// # Errors
    /// As there.
    pub fn impair_from(&mut self, cable: CableId, side: Side, impairment: Impairment) -> Result<(), NetworkError> {
        let node = self.cables.get_mut(cable.0).ok_or(NetworkError::NotFound)?;
        node.cable.impair(side, impairment)?;
        let port = node.ends[side.index()];
        self.wake_owner(port);
        Ok(())
    }

    // Captures and the trace

    /// Adds a capture that watches nothing yet.
    pub fn add_capture(&mut self, config: CaptureConfig) -> CaptureId {
        CaptureId(self.captures.insert(Capture::new(config)))
    }

    /// Lets a capture see what passes a port from now on. A port with the name of one that it watched and that is gone (an
    /// interface that was closed and opened again) goes on as that one.
    ///
    /// # Errors
    /// If there is no such capture or port.
    pub fn watch(&mut self, capture: CaptureId, port: PortId) -> Result<(), NetworkError> {
        let node = self.ports.get(port.0).ok_or(NetworkError::NotFound)?;
        let link = self.link_type(node);
        let target = self.captures.get_mut(capture.0).ok_or(NetworkError::NotFound)?;
        if node.watchers.iter().any(|(watcher, _)| *watcher == capture) {
            return Ok(());
        }
        let is_watched = |number: u32| self.ports.iter().any(|(_, port)| port.watchers.contains(&(capture, number)));
        let known = target.interfaces().iter().zip(0..);
        let gone = known
            .filter(|(known, number)| known.name == node.name && known.link == link && !is_watched(*number))
            .map(|(_, number)| number)
            .next();
        let number = gone.unwrap_or_else(|| target.add_interface(&node.name, link));
        if let Some(node) = self.ports.get_mut(port.0) {
            node.watchers.push((capture, number));
        }
        Ok(())
    }

    /// What the frames begin with that pass a port. A port from outside carries what the interface at the other end of its
    /// cable does.
    fn link_type(&self, port: &Port) -> LinkType {
        let other = port.plug.and_then(|(cable, side)| {
            let ends = self.cables.get(cable.0)?.ends;
            self.ports.get(ends[side.other().index()].0)
        });
        let medium = [Some(port), other].into_iter().flatten().find_map(|port| match port.owner {
            Owner::Host(host, interface) => {
                let mut interfaces = self.hosts.get(host.0)?.stack.interfaces();
                interfaces.find(|(found, _)| *found == interface).map(|(_, config)| config.medium)
            }
            Owner::Switch(..) => Some(Medium::Ethernet),
            Owner::External => None,
        });
        match medium {
            Some(Medium::Ip | Medium::Loopback) => LinkType::Ip,
            _ => LinkType::Ethernet,
        }
    }

    /// Lets a capture see a port no more.
    pub fn unwatch(&mut self, capture: CaptureId, port: PortId) {
        if let Some(node) = self.ports.get_mut(port.0) {
            node.watchers.retain(|(watcher, _)| *watcher != capture);
        }
    }

    /// A capture.
    pub fn capture(&self, capture: CaptureId) -> Option<&Capture> {
        self.captures.get(capture.0)
    }

    /// A capture, to annotate or clear it.
    pub fn capture_mut(&mut self, capture: CaptureId) -> Option<&mut Capture> {
        self.captures.get_mut(capture.0)
    }

    /// Ends a capture and returns it.
    pub fn remove_capture(&mut self, capture: CaptureId) -> Option<Capture> {
        for port in self.ports.iter_mut() {
            port.watchers.retain(|(watcher, _)| *watcher != capture);
        }
        self.captures.remove(capture.0)
    }

    /// Starts a hash over all frames, their times, ports and directions, from nothing.
    pub fn start_trace(&mut self) {
        self.trace = Some(Trace(0));
    }

    /// The hash over all frames since [`start_trace`](Self::start_trace). Two runs that agree in it did the same.
    pub fn trace(&self) -> Option<u64> {
        self.trace.as_ref().map(|trace| trace.0)
    }
}

impl Port {
    fn new(name: String, owner: Owner) -> Self {
        Port { name, owner, plug: None, watchers: Vec::new(), counters: PortCounters::default(), announced: false }
    }
}
