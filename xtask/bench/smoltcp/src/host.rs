//! A host made of one smoltcp interface, used as its documentation advises: every call that it
//! offers for bounded work, recycled sockets, no burst limit, its default algorithms.

use std::collections::VecDeque;

use ethertab_bench_common::{FRAME_BYTES, Failure, Host, Side};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

const SERVER_PORT: u16 = 80;

/// Ephemeral ports begin here (RFC 6335 §6).
const FIRST_PORT: u16 = 49_152;

/// Send and receive buffer of a connection that carries nothing: as little as works.
const IDLE_BUFFER_BYTES: usize = 64;

pub(crate) struct SmoltcpHost {
    interface: Interface,
    sockets: SocketSet<'static>,
    /// Answers that smoltcp gave while it took a frame, as a card's send ring would hold them.
    replies: VecDeque<Vec<u8>>,
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
        self.sockets.add(Socket::new(SocketBuffer::new(vec![0; bytes]), SocketBuffer::new(vec![0; bytes])))
    }

    fn listen(&mut self, idle: bool) {
        let handle = self.closed_socket(idle);
        self.listening = self.socket(handle).listen(SERVER_PORT).is_ok().then_some(handle);
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

impl Host for SmoltcpHost {
    type Socket = SocketHandle;

    fn new(side: Side, buffer_bytes: usize, idle: usize) -> Result<Self, Failure> {
        let hardware = EthernetAddress([2, 0, 0, 0, 0, side.number()]);
        let mut config = Config::new(hardware.into());
        config.random_seed = u64::from(side.number());
        let mut replies = VecDeque::new();
        let mut port = Port::new(&mut replies);
        let mut interface = Interface::new(config, &mut port, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // Two fit by default, and there are none yet.
            let _ = addresses.push(IpCidr::new(IpAddress::v4(10, 0, 0, side.number()), 24));
        });
        let mut host = Self {
            interface,
            sockets: SocketSet::new(Vec::with_capacity(idle + 8)),
            replies,
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
        let mut port = Port { arrived: Some(frame), ..Port::new(&mut self.replies) };
        self.interface.poll_ingress_single(instant(now), &mut port, &mut self.sockets);
    }

    fn transmit(&mut self, now: u64, frame: &mut [u8]) -> Option<usize> {
        if let Some(reply) = self.replies.pop_front() {
            frame[..reply.len()].copy_from_slice(&reply);
            return Some(reply.len());
        }
        let mut port = Port { leaving: Some(frame), ..Port::new(&mut self.replies) };
        self.interface.poll_egress(instant(now), &mut port, &mut self.sockets);
        port.written
    }

    fn handle_timeout(&mut self, now: u64) {
        // Sockets look at the clock when they send.
        self.interface.poll_maintenance(instant(now));
    }

    fn next_timeout(&mut self, now: u64) -> Option<u64> {
        let deadline = self.interface.poll_at(instant(now), &self.sockets)?;
        Some(deadline.total_micros().max(0) as u64)
    }

    fn connect(&mut self, _now: u64, idle: bool) -> Result<SocketHandle, Failure> {
        let handle = self.closed_socket(idle);
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(self.first_passing_port);
        self.sockets
            .get_mut::<Socket<'_>>(handle)
            .connect(self.interface.context(), (IpAddress::v4(10, 0, 0, Side::Server.number()), SERVER_PORT), port)
            .map_err(|_| Failure::Refused)?;
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

fn instant(micros: u64) -> Instant {
    Instant::from_micros(micros as i64)
}

/// The device for one call: at most one frame in and one out.
struct Port<'a> {
    arrived: Option<&'a [u8]>,
    leaving: Option<&'a mut [u8]>,
    /// Length of the frame in `leaving`.
    written: Option<usize>,
    replies: &'a mut VecDeque<Vec<u8>>,
}

impl<'a> Port<'a> {
    fn new(replies: &'a mut VecDeque<Vec<u8>>) -> Self {
        Self { arrived: None, leaving: None, written: None, replies }
    }
}

impl Device for Port<'_> {
    type RxToken<'a>
        = Arrived<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Slot<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Arrived<'_>, Slot<'_>)> {
        let arrived = self.arrived.take()?;
        Some((Arrived(arrived), Slot::Reply(self.replies)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Slot<'_>> {
        match (&mut self.leaving, self.written) {
            (Some(frame), None) => Some(Slot::Frame { frame, written: &mut self.written }),
            _ => None,
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        // Checksums are computed and verified by default, and bursts have no limit.
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }
}

struct Arrived<'a>(&'a [u8]);

impl RxToken for Arrived<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

enum Slot<'a> {
    Frame { frame: &'a mut [u8], written: &'a mut Option<usize> },
    Reply(&'a mut VecDeque<Vec<u8>>),
}

impl TxToken for Slot<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        match self {
            Slot::Frame { frame, written } => {
                *written = Some(length);
                write(&mut frame[..length])
            }
            Slot::Reply(replies) => {
                let mut reply = vec![0; length];
                let result = write(&mut reply);
                replies.push_back(reply);
                result
            }
        }
    }
}
