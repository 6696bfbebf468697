//! A host made of one ethertab stack with a pool of its own, driven as the crate's documentation says.

use std::net::{IpAddr, SocketAddr};

use ethertab::time::Instant;
use ethertab::wire::MacAddr;
use ethertab::{
    BLOCK_SIZE, Config, ConnectOptions, ConnectionHandle, Endpoint, FrameMeta, InterfaceConfig, InterfaceId, Limits,
    ListenOptions, ListenerHandle, Pool, Stack, State,
};
use ethertab_bench_common::{Failure, Host, Side};

const SERVER_PORT: u16 = 80;

/// More than the 6,000 that the connections of `Pair::connections` leave behind in a minute.
const TIME_WAIT: usize = 8_192;

/// Connections besides the idle ones: the one that carries the programs, and those that come and go.
const PASSING_CONNECTIONS: usize = 16;

/// 8 MiB: far more than the buffers of one connection, so that nothing is ever short.
const POOL_BLOCKS: u32 = 2_048;

pub(crate) struct EthertabHost {
    stack: Stack<'static>,
    pool: Pool<'static>,
    nic: InterfaceId,
    listener: Option<ListenerHandle>,
    /// The connections are over IPv6.
    is_ipv6: bool,
}

impl Host for EthertabHost {
    type Socket = ConnectionHandle;

    fn new(side: Side, buffer_bytes: usize, idle: usize) -> Result<Self, Failure> {
        let mut limits = Limits::default();
        limits.connections = idle + PASSING_CONNECTIONS;
        limits.time_wait = TIME_WAIT;
        limits.pool_blocks = POOL_BLOCKS;
        let mut config = Config::new([u64::from(side.number()), 0]);
        config.tcp.send_buffer = buffer_bytes as u32;
        config.tcp.receive_buffer = buffer_bytes as u32;

        let mut stack = Stack::new(config, limits);
        let mac = MacAddr([2, 0, 0, 0, 0, side.number()]);
        let nic = stack.add_interface(Instant::ZERO, InterfaceConfig::ethernet(mac)).map_err(|_| Failure::Refused)?;
        for is_ipv6 in [false, true] {
            let network = ethertab::Prefix { address: address(side, is_ipv6), length: if is_ipv6 { 64 } else { 24 } };
            stack.add_address(Instant::ZERO, nic, network).map_err(|_| Failure::Refused)?;
        }
        let listener = match side {
            Side::Client => None,
            Side::Server => {
                Some(stack.listen(Endpoint::any(SERVER_PORT), ListenOptions::default()).map_err(|_| Failure::Refused)?)
            }
        };
        Ok(Self { stack, pool: Pool::new(POOL_BLOCKS as usize), nic, listener, is_ipv6: false })
    }

    fn receive(&mut self, now: u64, frame: &[u8]) {
        self.stack.receive(&mut self.pool, instant(now), self.nic, frame, FrameMeta::received(frame.len()));
    }

    fn transmit(&mut self, now: u64, frame: &mut [u8]) -> Option<usize> {
        self.stack.transmit(&mut self.pool, instant(now), self.nic, frame).map(|meta| meta.len)
    }

    fn handle_timeout(&mut self, now: u64) {
        if self.stack.next_timeout().is_some_and(|due| due <= instant(now)) {
            self.stack.handle_timeout(&mut self.pool, instant(now));
        }
        // The programs ask the sockets that they have; a driver takes the events all the same.
        while self.stack.poll_event().is_some() {}
    }

    fn next_timeout(&mut self, _now: u64) -> Option<u64> {
        self.stack.next_timeout().map(|due| due.as_micros())
    }

    fn connect(&mut self, now: u64, _idle: bool) -> Result<ConnectionHandle, Failure> {
        let server = SocketAddr::new(address(Side::Server, self.is_ipv6), SERVER_PORT);
        self.stack.connect(instant(now), server, ConnectOptions::default()).map_err(|_| Failure::Refused)
    }

    fn accept(&mut self, _next_idle: bool) -> Option<ConnectionHandle> {
        self.stack.accept(self.listener?)
    }

    fn is_established(&mut self, socket: ConnectionHandle) -> bool {
        self.state(socket) == Some(State::Established)
    }

    fn send(&mut self, now: u64, socket: ConnectionHandle, bytes: &[u8]) -> usize {
        self.stack.send(&mut self.pool, instant(now), socket, bytes).unwrap_or(0)
    }

    fn recv(&mut self, now: u64, socket: ConnectionHandle, into: &mut [u8]) -> usize {
        self.stack.recv(&mut self.pool, instant(now), socket, into).unwrap_or(0)
    }

    fn is_finished(&mut self, socket: ConnectionHandle) -> bool {
        self.stack.readable_bytes(socket) == 0
            && !matches!(self.state(socket), Some(State::SynReceived | State::Established))
    }

    fn close(&mut self, now: u64, socket: ConnectionHandle) {
        self.stack.close(&mut self.pool, instant(now), socket);
    }

    fn is_over(&mut self, socket: ConnectionHandle) -> bool {
        // TIME-WAIT needs no handle: the stack keeps it by itself.
        self.state(socket).is_none()
    }

    fn pooled_bytes(&self) -> usize {
        self.pool.blocks_in_use() * BLOCK_SIZE
    }
}

impl EthertabHost {
    /// The same host whose connections are over IPv6.
    pub(crate) fn over_ipv6(self) -> Self {
        Self { is_ipv6: true, ..self }
    }

    fn state(&self, socket: ConnectionHandle) -> Option<State> {
        self.stack.connection_state(socket)
    }
}

fn address(side: Side, is_ipv6: bool) -> IpAddr {
    match is_ipv6 {
        true => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(side.number())]),
        false => IpAddr::from([10, 0, 0, side.number()]),
    }
}

fn instant(micros: u64) -> Instant {
    Instant::from_micros(micros)
}
