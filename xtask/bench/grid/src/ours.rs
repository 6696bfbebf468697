//! A host with our stack.

use crate::host::{Host, MTU, PORT, Place, Role};
use ethertab::time::Instant;
use ethertab::wire::MacAddr;
use ethertab::{
    Algorithm, Config, ConnectOptions, ConnectionHandle, Endpoint, Event, FrameMeta, InterfaceConfig, InterfaceId,
    Limits, ListenOptions, Pool, Prefix, Stack,
};
use std::net::{IpAddr, SocketAddr};

/// Bytes written or read in one call.
const CHUNK: usize = 64 * 1024;

pub(crate) struct Ours {
    stack: Stack<'static>,
    pool: Pool<'static>,
    interface: InterfaceId,
    place: Place,
    connection: Option<ConnectionHandle>,
    received: u64,
    chunk: Vec<u8>,
}

impl Ours {
    /// A host whose connections have so many bytes of send and of receive buffer.
    pub(crate) fn new(place: Place, algorithm: Algorithm, buffer: u32, seed: u64) -> anyhow::Result<Self> {
        let mut config = Config::new([seed, u64::from(place.flow) << 1 | u64::from(place.role == Role::Receiver)]);
        config.tcp.congestion = algorithm;
        config.tcp.send_buffer = buffer;
        config.tcp.receive_buffer = buffer;
        let mut limits = Limits::small();
        // Enough for a full buffer, what is out of order, and the tables that go with it, without pressure.
        limits.pool_blocks = 4 * (buffer / ethertab::BLOCK_SIZE as u32) + 256;
        let mut stack = Stack::new(config, limits);
        let mut interface = InterfaceConfig::ethernet(MacAddr(place.mac()));
        interface.mtu = MTU;
        let interface = stack.add_interface(Instant::ZERO, interface).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let prefix: Prefix = format!("{}/16", place.address())
            .parse()
            .map_err(|_| anyhow::anyhow!("{} is no address", place.address()))?;
        stack.add_address(Instant::ZERO, interface, prefix).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        if place.role == Role::Receiver {
            let listener = stack.listen(Endpoint::any(PORT), ListenOptions::default());
            listener.map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        let pool = Pool::new(limits.pool_blocks as usize);
        Ok(Ours { stack, pool, interface, place, connection: None, received: 0, chunk: vec![0; CHUNK] })
    }

    fn events(&mut self) {
        while let Some(event) = self.stack.poll_event() {
            if let Event::Listener(listener, _) = event
                && let Some(handle) = self.stack.accept(listener)
            {
                self.connection = Some(handle);
            }
        }
    }
}

impl Host for Ours {
    fn receive(&mut self, now: Instant, frame: &[u8]) {
        self.stack.receive(&mut self.pool, now, self.interface, frame, FrameMeta::received(frame.len()));
    }

    fn turn(&mut self, now: Instant) {
        if self.stack.next_timeout().is_some_and(|due| due <= now) {
            self.stack.handle_timeout(&mut self.pool, now);
        }
        if let Role::Sender(starts) = self.place.role
            && starts <= now
            && self.connection.is_none()
        {
            let remote = SocketAddr::new(IpAddr::V4(self.place.receiver()), PORT);
            self.connection = self.stack.connect(now, remote, ConnectOptions::default()).ok();
        }
        self.events();
        let Some(handle) = self.connection else { return };
        match self.place.role {
            Role::Sender(_) => {
                let (stack, pool) = (&mut self.stack, &mut self.pool);
                // Whatever there is room for, each turn, as for smoltcp: an application that never lets its socket wait.
                while stack.send(pool, now, handle, &self.chunk).is_ok_and(|taken| taken == CHUNK) {}
            }
            Role::Receiver => {
                while let Ok(count @ 1..) = self.stack.recv(&mut self.pool, now, handle, &mut self.chunk) {
                    self.received += count as u64;
                }
            }
        }
    }

    fn transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        self.stack.transmit(&mut self.pool, now, self.interface, buf).map(|meta| meta.len)
    }

    fn next_timeout(&mut self, _now: Instant) -> Option<Instant> {
        let starts = match self.place.role {
            Role::Sender(starts) if self.connection.is_none() => Some(starts),
            _ => None,
        };
        [self.stack.next_timeout(), starts].into_iter().flatten().min()
    }

    fn received(&self) -> u64 {
        self.received
    }
}
