//! smoltcp as all benchmarks use it, and as its documentation advises: every call that it offers for bounded work, no burst limit,
//! checksums computed and verified.
//!
//! A [`Node`] is one interface with its sockets, behind a card that carries one frame a call. Times are in microseconds.

use ethertab_bench_common::FRAME_BYTES;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use std::collections::VecDeque;
use std::net::Ipv4Addr;

/// See the [crate](self).
pub struct Node {
    /// The interface.
    pub interface: Interface,
    /// Its sockets.
    pub sockets: SocketSet<'static>,
    /// Answers that smoltcp gave while it took a frame, as a card's send ring would hold them.
    replies: VecDeque<Vec<u8>>,
}

impl Node {
    /// A node with an address in a network of `prefix` bits and room for so many sockets before their list grows. None if smoltcp
    /// does not take the address.
    pub fn new(mac: [u8; 6], address: Ipv4Addr, prefix: u8, seed: u64, sockets: usize) -> Option<Node> {
        let mut config = Config::new(EthernetAddress(mac).into());
        config.random_seed = seed;
        let mut replies = VecDeque::new();
        let mut interface = Interface::new(config, &mut Port::new(&mut replies), Instant::ZERO);
        let mut is_added = false;
        interface.update_ip_addrs(|addresses| {
            is_added = addresses.push(IpCidr::new(IpAddress::Ipv4(address), prefix)).is_ok();
        });
        is_added.then(|| Node { interface, sockets: SocketSet::new(Vec::with_capacity(sockets)), replies })
    }

    /// Takes a frame that has arrived.
    pub fn receive(&mut self, now: u64, frame: &[u8]) {
        let mut port = Port { arrived: Some(frame), ..Port::new(&mut self.replies) };
        self.interface.poll_ingress_single(instant(now), &mut port, &mut self.sockets);
    }

    /// Writes the next frame to send and returns its length in bytes.
    pub fn transmit(&mut self, now: u64, frame: &mut [u8]) -> Option<usize> {
        if let Some(reply) = self.replies.pop_front() {
            frame[..reply.len()].copy_from_slice(&reply);
            return Some(reply.len());
        }
        let mut port = Port { leaving: Some(frame), ..Port::new(&mut self.replies) };
        self.interface.poll_egress(instant(now), &mut port, &mut self.sockets);
        port.written
    }

    /// Does what is due by the clock; sockets look at it when they send.
    pub fn maintain(&mut self, now: u64) {
        self.interface.poll_maintenance(instant(now));
    }

    /// The next deadline.
    pub fn next_timeout(&mut self, now: u64) -> Option<u64> {
        let deadline = self.interface.poll_at(instant(now), &self.sockets)?;
        Some(deadline.total_micros().max(0) as u64)
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
