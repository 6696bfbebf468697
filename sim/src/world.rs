//! A world: a network under a virtual clock, in which nothing takes longer than the work it is.
//!
//! ```
//! use ethertab_sim::apps::Plan;
//! use ethertab_sim::{Impairment, World};
//! use ethertab::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut world = World::new(1);
//! let a = world.host("a", &["10.0.0.1/24"])?;
//! let b = world.host("b", &["10.0.0.2/24"])?;
//! world.cable(a, b, Impairment { loss: 0.01, ..Impairment::latency(Duration::from_millis(40)) })?;
//!
//! let server = world.serve(b, 80, Plan::receive())?;
//! world.connect(a, "10.0.0.2:80", Plan::send(1_000_000))?;
//! world.run_for(Duration::from_secs(60));
//! assert!(world.accepted(server).iter().all(|end| world.conversation(*end).went_well()), "{world}");
//! # Ok(())
//! # }
//! ```
//!
//! The same seed and the same calls give the same frames at the same times, byte for byte: [`World::trace`] is a hash over
//! all of them. A clone goes on as the original does.

use crate::apps::{Apps, Conversation, ConversationId, Plan, ServerId};
use crate::cable::Side;
use crate::capture::CaptureConfig;
use crate::impairment::Impairment;
use crate::middlebox::{Middlebox, MiddleboxConfig};
use crate::network::{CableId, CaptureId, HostId, Network, NetworkError, PortId, Socket, SwitchId};
use crate::random::Random;
use crate::switch::SwitchConfig;
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    Config, ConfigError, ConnectError, Endpoint, InterfaceConfig, InterfaceId, Limits, ListenError, Medium, Pool,
    Prefix, Stack, TcpConfig,
};
use std::fmt;
use std::net::SocketAddr;

/// Blocks of the pool that the hosts of a world share, if not said otherwise: 64 MiB, of which only what is used is touched.
const POOL_BLOCKS: usize = 16 * 1024;

/// Rounds without the clock moving after which a world is stuck: something in it asks to be woken at once, for ever.
const MAX_ROUNDS_AT_ONCE: u32 = 100_000;

/// How a host of a world is made.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Its tables.
    pub limits: Limits,
    /// Its TCP.
    pub tcp: TcpConfig,
    /// The MTU of its interface, in bytes.
    pub mtu: u16,
}

impl Default for HostOptions {
    fn default() -> Self {
        HostOptions { limits: Limits::small(), tcp: TcpConfig::default(), mtu: 1_500 }
    }
}

/// Why a world cannot be made as asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WorldError {
    /// This is not an address with a prefix length, as in `10.0.0.1/24`.
    Prefix(String),
    /// This is not an address with a port, as in `10.0.0.1:80` or `[fd00::1]:80`.
    Address(String),
    /// The stack refused its configuration.
    Config(ConfigError),
    /// The network cannot be changed so.
    Network(NetworkError),
    /// The stack cannot connect.
    Connect(ConnectError),
    /// The stack cannot listen.
    Listen(ListenError),
}

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(text) => write!(f, "{text:?} is not an address with a prefix length"),
            Self::Address(text) => write!(f, "{text:?} is not an address with a port"),
            Self::Config(error) => write!(f, "configuration: {error:?}"),
            Self::Network(error) => error.fmt(f),
            Self::Connect(error) => write!(f, "connect: {error:?}"),
            Self::Listen(error) => write!(f, "listen: {error:?}"),
        }
    }
}

impl std::error::Error for WorldError {}

impl From<NetworkError> for WorldError {
    fn from(error: NetworkError) -> Self {
        WorldError::Network(error)
    }
}

impl From<ConfigError> for WorldError {
    fn from(error: ConfigError) -> Self {
        WorldError::Config(error)
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct World {
    network: Network,
    now: Instant,
    random: Random,
    hosts: u32,
    apps: Apps,
    /// Middleboxes and their ports on side A and B.
    middleboxes: Vec<(Middlebox, [PortId; 2])>,
    stuck: bool,
}

impl World {
    /// An empty world. All that is random in it depends on `seed`.
    pub fn new(seed: u64) -> Self {
        World::with_pool(seed, POOL_BLOCKS)
    }

    /// An empty world whose hosts share `blocks` blocks.
    pub fn with_pool(seed: u64, blocks: usize) -> Self {
        let mut network = Network::new(seed, blocks);
        network.start_trace();
        World {
            network,
            now: Instant::ZERO,
            random: Random::new(seed, u64::MAX),
            hosts: 0,
            apps: Apps::default(),
            middleboxes: Vec::new(),
            stuck: false,
        }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.network.seed()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The hash over all frames so far, with their times, ports and directions.
    pub fn trace(&self) -> u64 {
        self.network.trace().unwrap_or(0)
    }

    /// Whether something in the world asks to be woken at once, for ever; the clock does not move then.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// The network, for all that has no short form here.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network, for all that has no short form here.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    // Making it

    /// Adds a host with one interface and these addresses (`10.0.0.1/24`, `fd00::1/64`).
    ///
    /// # Errors
    /// If an address is none, or one too many for the host.
    pub fn host(&mut self, name: &str, addresses: &[&str]) -> Result<HostId, WorldError> {
        self.host_with(name, addresses, HostOptions::default())
    }

    /// [`host`](Self::host) with other tables, TCP or MTU than usual.
    ///
    /// # Errors
    /// As there, and if the MTU is out of range.
    pub fn host_with(&mut self, name: &str, addresses: &[&str], options: HostOptions) -> Result<HostId, WorldError> {
        let mut config = Config::new([self.random.next_u64(), self.random.next_u64()]);
        config.tcp = options.tcp;
        let mut stack = Stack::new(config, options.limits);
        self.hosts += 1;
        let [a, b, c, d] = self.hosts.to_be_bytes();
        let mut interface = InterfaceConfig::ethernet(MacAddr([0x02, 0x00, a, b, c, d]));
        interface.mtu = options.mtu;
        let interface = stack.add_interface(self.now, interface)?;
        for text in addresses {
            let prefix: Prefix = text.parse().map_err(|_| WorldError::Prefix((*text).into()))?;
            stack.add_address(self.now, interface, prefix)?;
        }
        let host = self.network.add_host(name, stack);
        self.network.attach(host, interface)?;
        Ok(host)
    }

    /// Adds an interface with these addresses to a host, and a port if it has one of its own: those of VLANs and the loopback
    /// interface have not.
    ///
    /// # Errors
    /// If there is no such host, or its stack refuses.
    pub fn interface(
        &mut self,
        host: HostId,
        config: InterfaceConfig,
        addresses: &[&str],
    ) -> Result<InterfaceId, WorldError> {
        let now = self.now;
        let (stack, _) = self.stack_mut(host)?;
        let interface = stack.add_interface(now, config)?;
        for text in addresses {
            let prefix: Prefix = text.parse().map_err(|_| WorldError::Prefix((*text).into()))?;
            stack.add_address(now, interface, prefix)?;
        }
        if matches!(config.medium, Medium::Ethernet | Medium::Ip) {
            self.network.attach(host, interface)?;
        }
        Ok(interface)
    }

    /// Adds a switch.
    pub fn switch(&mut self, name: &str) -> SwitchId {
        self.network.add_switch(name, SwitchConfig::default())
    }

    /// Adds a middlebox; returns its ports on side A and side B, each of which takes a cable.
    pub fn middlebox(&mut self, name: &str, config: MiddleboxConfig) -> [PortId; 2] {
        let ports = ["a", "b"].map(|side| self.network.add_port(&format!("{name}:{side}")));
        self.middleboxes.push((Middlebox::new(config), ports));
        ports
    }

    /// The middlebox with this port, to change what it does.
    pub fn middlebox_mut(&mut self, port: PortId) -> Option<&mut Middlebox> {
        self.middleboxes.iter_mut().find(|(_, ports)| ports.contains(&port)).map(|(middlebox, _)| middlebox)
    }

    /// Joins two hosts, switches or ports by a cable with the same impairment in both directions.
    ///
    /// # Errors
    /// If one of them has no free port, or the impairment makes no sense.
    pub fn cable(
        &mut self,
        a: impl Into<Socket>,
        b: impl Into<Socket>,
        impairment: Impairment,
    ) -> Result<CableId, WorldError> {
        let cable = self.network.plug(a, b)?;
        self.network.impair(cable, impairment)?;
        Ok(cable)
    }

    /// Captures all that passes the ports of these hosts from now on.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn capture(&mut self, hosts: &[HostId]) -> Result<CaptureId, WorldError> {
        let capture = self.network.add_capture(CaptureConfig::default());
        for host in hosts {
            self.network.host(*host).ok_or(NetworkError::NotFound)?;
            let ports: Vec<_> = self.network.host_ports(*host).collect();
            for port in ports {
                self.network.watch(capture, port)?;
            }
        }
        Ok(capture)
    }

    // Hosts and their applications

    /// A host's stack.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn stack(&self, host: HostId) -> Result<&Stack<'static>, WorldError> {
        Ok(self.network.host(host).ok_or(NetworkError::NotFound)?)
    }

    /// A host's stack and the pool, for calls at the world's present time.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn stack_mut(&mut self, host: HostId) -> Result<(&mut Stack<'static>, &mut Pool<'static>), WorldError> {
        Ok(self.network.host_mut(host).ok_or(NetworkError::NotFound)?)
    }

    /// Listens on a port; each connection follows the plan.
    ///
    /// # Errors
    /// If the host does not exist or refuses.
    pub fn serve(&mut self, host: HostId, port: u16, plan: Plan) -> Result<ServerId, WorldError> {
        let served = self.apps.serve(&mut self.network, host, Endpoint::any(port), plan);
        served.ok_or(NetworkError::NotFound)?.map_err(WorldError::Listen)
    }

    /// Connects to `remote` (`10.0.0.2:80`, `[fd00::2]:80`) and follows the plan.
    ///
    /// # Errors
    /// If the address is none, or the host does not exist or refuses.
    pub fn connect(&mut self, host: HostId, remote: &str, plan: Plan) -> Result<ConversationId, WorldError> {
        let address: SocketAddr = remote.parse().map_err(|_| WorldError::Address(remote.into()))?;
        let connected = self.apps.connect(&mut self.network, self.now, host, address, plan);
        connected.ok_or(NetworkError::NotFound)?.map_err(WorldError::Connect)
    }

    /// Resets a connection, whatever its plan says. Nothing happens if its application has let go of it.
    pub fn abort(&mut self, id: ConversationId) {
        self.apps.abort(&mut self.network, self.now, id);
    }

    /// One end of a connection. Ids belong to the world that gave them, and to its clones.
    pub fn conversation(&self, id: ConversationId) -> &Conversation {
        self.apps.conversation(id)
    }

    /// The connections that a server has accepted, the oldest first.
    pub fn accepted(&self, server: ServerId) -> &[ConversationId] {
        self.apps.accepted(server)
    }

    // Letting time pass

    /// When something happens next, if nothing is done before.
    pub fn next_event(&self) -> Option<Instant> {
        let middleboxes = self.middleboxes.iter().filter_map(|(middlebox, _)| middlebox.next_timeout());
        [self.network.next_timeout(), self.apps.next_wake()].into_iter().flatten().chain(middleboxes).min()
    }

    /// Takes the frames that have arrived at middleboxes through them. Returns whether there were any.
    fn run_middleboxes(&mut self) -> bool {
        let mut any = false;
        let (network, now) = (&mut self.network, self.now);
        for (middlebox, ports) in &mut self.middleboxes {
            if middlebox.next_timeout().is_some_and(|due| due <= now) {
                middlebox.handle_timeout(now);
            }
            for side in [Side::A, Side::B] {
                network.drain(ports[side.index()], now, |frame, _| {
                    middlebox.pass(now, side, frame);
                    true
                });
            }
            while let Some((side, frame)) = middlebox.next_frame() {
                network.inject(ports[side.index()], now, &frame);
                any = true;
            }
        }
        any
    }

    /// Does everything that is due now, without moving the clock.
    pub fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS_AT_ONCE {
            let more = self.network.advance(self.now) | self.run_middleboxes();
            let mut any = self.apps.wake(&mut self.network, self.now);
            while let Some((host, event)) = self.network.poll_event() {
                self.apps.handle(&mut self.network, self.now, host, event);
                any = true;
            }
            if !more && !any && self.next_event().is_none_or(|time| time > self.now) {
                self.stuck = false;
                return;
            }
        }
        self.stuck = true;
    }

    /// Does what is due now, then moves the clock to when something happens next and does that. Returns false if nothing
    /// will ever happen by itself again.
    pub fn step(&mut self) -> bool {
        self.settle();
        match self.next_event() {
            Some(time) if !self.stuck => {
                self.now = self.now.max(time);
                self.settle();
                true
            }
            _ => false,
        }
    }

    /// Lets time pass until `deadline`.
    pub fn run_until(&mut self, deadline: Instant) {
        self.settle();
        while !self.stuck
            && let Some(time) = self.next_event()
            && time <= deadline
        {
            self.now = self.now.max(time);
            self.settle();
        }
        self.now = self.now.max(deadline);
    }

    /// Lets `span` pass.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Lets time pass until `done` holds, for at most `limit`, looking after everything that happens. Returns whether it
    /// holds; the clock stands where it began to.
    pub fn run_until_true(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        let deadline = self.now + limit;
        self.settle();
        while !done(self) {
            match self.next_event() {
                Some(time) if time <= deadline && !self.stuck => self.now = self.now.max(time),
                _ => {
                    self.now = self.now.max(deadline);
                    return false;
                }
            }
            self.settle();
        }
        true
    }
}

/// What a failing test prints: the seed, the time and the conversations that have not gone well (yet).
impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        let stuck = if self.stuck { ", stuck" } else { "" };
        let (seed, now, trace) = (self.seed(), self.now, self.trace());
        writeln!(f, "world with seed {seed} at {now}, trace {trace:016x}{stuck}")?;
        let open = || self.apps.iter().filter(|conversation| !conversation.went_well());
        for conversation in open().take(SHOWN) {
            let mut hosts = self.network.hosts();
            let name = hosts.find(|(host, _)| *host == conversation.host).map_or("?", |host| host.1);
            writeln!(f, "  {name}: {conversation}")?;
        }
        match open().count() {
            more if more > SHOWN => writeln!(f, "  and {} more", more - SHOWN),
            _ => Ok(()),
        }
    }
}
