//! A host with smoltcp.

use crate::host::{Host, PORT, Place, Role};
use anyhow::Context as _;
use ethertab::time::Instant;
use ethertab_bench_smoltcp_node::Node;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};

/// An ephemeral port (RFC 6335 §6).
const LOCAL_PORT: u16 = 49_152;

pub(crate) struct Theirs {
    node: Node,
    socket: SocketHandle,
    place: Place,
    connecting: bool,
    received: u64,
    chunk: Vec<u8>,
}

impl Theirs {
    /// A host whose connection has so many bytes of send and of receive buffer.
    pub(crate) fn new(place: Place, algorithm: CongestionControl, buffer: usize, seed: u64) -> anyhow::Result<Self> {
        let seed = seed << 16 | u64::from(place.flow) << 1 | u64::from(place.role == Role::Receiver);
        let node = Node::new(place.mac(), place.address(), 16, seed, 1);
        let mut node = node.context("smoltcp takes no address")?;
        let mut socket = Socket::new(SocketBuffer::new(vec![0; buffer]), SocketBuffer::new(vec![0; buffer]));
        socket.set_congestion_control(algorithm);
        if place.role == Role::Receiver {
            socket.listen(PORT).map_err(|error| anyhow::anyhow!("{error}")).context("smoltcp does not listen")?;
        }
        let socket = node.sockets.add(socket);
        let (connecting, received, chunk) = (false, 0, vec![0; 64 * 1024]);
        Ok(Theirs { node, socket, place, connecting, received, chunk })
    }
}

impl Host for Theirs {
    fn receive(&mut self, now: Instant, frame: &[u8]) {
        self.node.receive(now.as_micros(), frame);
    }

    fn turn(&mut self, now: Instant) {
        self.node.maintain(now.as_micros());
        let socket = self.node.sockets.get_mut::<Socket<'_>>(self.socket);
        match self.place.role {
            Role::Sender(starts) => {
                if starts <= now && !self.connecting {
                    let remote = (self.place.receiver(), PORT);
                    self.connecting = socket.connect(self.node.interface.context(), remote, LOCAL_PORT).is_ok();
                }
                while socket.can_send() && socket.send_slice(&self.chunk).is_ok_and(|taken| taken > 0) {}
            }
            Role::Receiver => {
                while let Ok(count @ 1..) = socket.recv_slice(&mut self.chunk) {
                    self.received += count as u64;
                }
            }
        }
    }

    fn transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        self.node.transmit(now.as_micros(), buf)
    }

    fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        let starts = match self.place.role {
            Role::Sender(starts) if !self.connecting => Some(starts),
            _ => None,
        };
        let due = self.node.next_timeout(now.as_micros()).map(Instant::from_micros);
        [due, starts].into_iter().flatten().min()
    }

    fn received(&self) -> u64 {
        self.received
    }
}
