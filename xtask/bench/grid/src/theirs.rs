//! A host with smoltcp, used as its documentation advises: calls for bounded work, no burst limit.

use crate::host::{FRAME_BYTES, Host, PORT, Place, Role};
use anyhow::Context as _;
use ethertab::time::Instant;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};
use smoltcp::time::Instant as Time;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use std::collections::VecDeque;

/// An ephemeral port (RFC 6335 §6).
const LOCAL_PORT: u16 = 49_152;

pub(crate) struct Theirs {
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    /// Answers given while a frame was taken, as a card's send ring would hold them.
    replies: VecDeque<Vec<u8>>,
    place: Place,
    connecting: bool,
    received: u64,
    chunk: Vec<u8>,
}

impl Theirs {
    /// A host whose connection has so many bytes of send and of receive buffer.
    pub(crate) fn new(place: Place, algorithm: CongestionControl, buffer: usize, seed: u64) -> anyhow::Result<Self> {
        let mut config = Config::new(EthernetAddress(place.mac()).into());
        config.random_seed = seed << 16 | u64::from(place.flow) << 1 | u64::from(place.role == Role::Receiver);
        let mut replies = VecDeque::new();
        let mut interface = Interface::new(config, &mut Port::new(&mut replies), Time::ZERO);
        let address = IpCidr::new(IpAddress::Ipv4(place.address()), 16);
        let mut added = false;
        interface.update_ip_addrs(|addresses| added = addresses.push(address).is_ok());
        anyhow::ensure!(added, "smoltcp takes no address");
        let mut socket = Socket::new(SocketBuffer::new(vec![0; buffer]), SocketBuffer::new(vec![0; buffer]));
        socket.set_congestion_control(algorithm);
        if place.role == Role::Receiver {
            socket.listen(PORT).map_err(|error| anyhow::anyhow!("{error}")).context("smoltcp does not listen")?;
        }
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(socket);
        let (connecting, received, chunk) = (false, 0, vec![0; 64 * 1024]);
        Ok(Theirs { interface, sockets, socket, replies, place, connecting, received, chunk })
    }
}

fn time(now: Instant) -> Time {
    Time::from_micros(now.as_micros() as i64)
}

impl Host for Theirs {
    fn receive(&mut self, now: Instant, frame: &[u8]) {
        let mut port = Port { arrived: Some(frame), ..Port::new(&mut self.replies) };
        self.interface.poll_ingress_single(time(now), &mut port, &mut self.sockets);
    }

    fn turn(&mut self, now: Instant) {
        self.interface.poll_maintenance(time(now));
        let socket = self.sockets.get_mut::<Socket<'_>>(self.socket);
        match self.place.role {
            Role::Sender(starts) => {
                if starts <= now && !self.connecting {
                    let remote = (IpAddress::Ipv4(self.place.receiver()), PORT);
                    self.connecting = socket.connect(self.interface.context(), remote, LOCAL_PORT).is_ok();
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
        if let Some(reply) = self.replies.pop_front() {
            buf[..reply.len()].copy_from_slice(&reply);
            return Some(reply.len());
        }
        let mut port = Port { leaving: Some(buf), ..Port::new(&mut self.replies) };
        self.interface.poll_egress(time(now), &mut port, &mut self.sockets);
        port.written
    }

    fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        let starts = match self.place.role {
            Role::Sender(starts) if !self.connecting => Some(starts),
            _ => None,
        };
        let due = self.interface.poll_at(time(now), &self.sockets);
        let due = due.map(|due| Instant::from_micros(due.total_micros().max(0) as u64));
        [due, starts].into_iter().flatten().min()
    }

    fn received(&self) -> u64 {
        self.received
    }
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
        Port { arrived: None, leaving: None, written: None, replies }
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

    fn receive(&mut self, _now: Time) -> Option<(Arrived<'_>, Slot<'_>)> {
        let arrived = self.arrived.take()?;
        Some((Arrived(arrived), Slot::Reply(self.replies)))
    }

    fn transmit(&mut self, _now: Time) -> Option<Slot<'_>> {
        match (&mut self.leaving, self.written) {
            (Some(frame), None) => Some(Slot::Frame { frame, written: &mut self.written }),
            _ => None,
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
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
