//! A host made of one smoltcp interface, with recycled sockets and its default algorithms.

use std::net::Ipv4Addr;

use ethertab_bench_common::{Failure, Host, Side};
use ethertab_bench_smoltcp_node::Node;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};

const SERVER_PORT: u16 = 80;

/// Ephemeral ports begin here (RFC 6335 §6).
const FIRST_PORT: u16 = 49_152;

/// Send and receive buffer of a connection that carries nothing: as little as works.
const IDLE_BUFFER_BYTES: usize = 64;

pub(crate) struct SmoltcpHost {
    node: Node,
    buffer_bytes: usize,
    /// Closed sockets with buffers of `buffer_bytes`, to be opened again.
    spare: Vec<SocketHandle>,
    listening: Option<SocketHandle>,
    next_port: u16,
    /// Where the ports of connections that come and go begin, above those that stay.
    first_passing_port: u16,
}

impl SmoltcpHost {
    fn closed_socket(&mut self, idle: bool) -> SocketHandle {
        if !idle && let Some(handle) = self.spare.pop() {
            return handle;
        }
        let bytes = if idle { IDLE_BUFFER_BYTES } else { self.buffer_bytes };
        self.node.sockets.add(Socket::new(SocketBuffer::new(vec![0; bytes]), SocketBuffer::new(vec![0; bytes])))
    }

    fn listen(&mut self, idle: bool) {
        let handle = self.closed_socket(idle);
        self.listening = self.socket(handle).listen(SERVER_PORT).is_ok().then_some(handle);
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.node.sockets.get_mut(handle)
    }
}

impl Host for SmoltcpHost {
    type Socket = SocketHandle;

    fn new(side: Side, buffer_bytes: usize, idle: usize) -> Result<Self, Failure> {
        let number = side.number();
        let node = Node::new([2, 0, 0, 0, 0, number], address(side), 24, u64::from(number), idle + 8);
        let mut host = Self {
            node: node.ok_or(Failure::Refused)?,
            buffer_bytes,
            spare: Vec::new(),
            listening: None,
            next_port: FIRST_PORT,
            first_passing_port: FIRST_PORT.saturating_add(idle as u16 + 1),
        };
        if side == Side::Server {
            host.listen(idle > 0);
        }
        Ok(host)
    }

    fn receive(&mut self, now: u64, frame: &[u8]) {
        self.node.receive(now, frame);
    }

    fn transmit(&mut self, now: u64, frame: &mut [u8]) -> Option<usize> {
        self.node.transmit(now, frame)
    }

    fn handle_timeout(&mut self, now: u64) {
        self.node.maintain(now);
    }

    fn next_timeout(&mut self, now: u64) -> Option<u64> {
        self.node.next_timeout(now)
    }

    fn connect(&mut self, _now: u64, idle: bool) -> Result<SocketHandle, Failure> {
        let handle = self.closed_socket(idle);
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(self.first_passing_port);
        let socket = self.node.sockets.get_mut::<Socket<'_>>(handle);
        let connected = socket.connect(self.node.interface.context(), (address(Side::Server), SERVER_PORT), port);
        connected.map_err(|_| Failure::Refused)?;
        Ok(handle)
    }

    fn accept(&mut self, next_idle: bool) -> Option<SocketHandle> {
        let handle = self.listening?;
        if self.socket(handle).state() != State::Established {
            return None;
        }
        self.listen(next_idle);
        Some(handle)
    }

    fn is_established(&mut self, socket: SocketHandle) -> bool {
        self.socket(socket).state() == State::Established
    }

    fn send(&mut self, _now: u64, socket: SocketHandle, bytes: &[u8]) -> usize {
        self.socket(socket).send_slice(bytes).unwrap_or(0)
    }

    fn recv(&mut self, _now: u64, socket: SocketHandle, into: &mut [u8]) -> usize {
        self.socket(socket).recv_slice(into).unwrap_or(0)
    }

    fn is_finished(&mut self, socket: SocketHandle) -> bool {
        !self.socket(socket).may_recv()
    }

    fn close(&mut self, _now: u64, socket: SocketHandle) {
        self.socket(socket).close();
    }

    fn is_over(&mut self, socket: SocketHandle) -> bool {
        // smoltcp allows a socket in TIME-WAIT to be opened again at once, which spares it the
        // wait and a growing set to scan.
        let over = !self.socket(socket).is_open();
        if over {
            self.spare.push(socket);
        }
        over
    }
}

fn address(side: Side) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, side.number())
}
