//! How a stack forwards packets from one interface to another, as they are or with their addresses translated, for flows that take turns:
//! the scene.
//!
//! The packets are UDP's in the shortest Ethernet frames (without the check sequence): 60 bytes, over IPv6 62. Each is received in a batch of 32
//! and leaves with the next calls of `transmit`; making the frames is not part of it.

use std::net::IpAddr;

use ethertab::memory::{Bucket, Link, NatFlow, NatMapping, Slot};
use ethertab::time::Instant;
use ethertab::wire::MacAddr;
use ethertab::{
    Config, Forwarding, FrameMeta, InterfaceConfig, InterfaceId, Limits, NatConfig, Pool, Prefix, Stack, TableSizes,
};
use ethertab_sim::packet::{self, UDP};

const IN: InterfaceId = InterfaceId(0);
const OUT: InterfaceId = InterfaceId(1);
const OURS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);

/// Frames received before the stack is asked what it sends.
const BATCH: usize = 32;
/// The most flows.
pub(crate) const MOST: usize = 100_000;

/// What is done with the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// IPv4 as it is.
    Ipv4,
    /// IPv6 as it is.
    Ipv6,
    /// IPv4, translated.
    Nat,
}

/// A router with a neighbour on each link, and the frames that come to it.
#[derive(Debug)]
pub(crate) struct Scene {
    stack: Stack<'static>,
    pool: Pool<'static>,
    /// A frame for each flow, one after the other.
    frames: Vec<u8>,
    frame_len: usize,
    /// The flow that is next.
    next: usize,
    buf: Vec<u8>,
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.nat_flows = MOST;
    limits
}

fn address(is_ipv6: bool, net: u8, host: u8) -> IpAddr {
    match is_ipv6 {
        true => IpAddr::from([0xfd, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]),
        false => IpAddr::from([10, net, 0, host]),
    }
}

/// The frame of a flow.
fn frame(is_ipv6: bool, number: usize) -> Vec<u8> {
    let ports = ((1_024 + number % 50_000) as u16, (7 + number / 50_000) as u16);
    let data = if is_ipv6 { &[][..] } else { &[0; 18] };
    let payload = packet::udp(ports.0, ports.1, data);
    packet::ip_frame((THEIRS, OURS[0]), address(is_ipv6, 0, 2), address(is_ipv6, 1, 2), UDP, &payload)
}

impl Scene {
    /// A router and `flows` flows, each of which it has seen once; none if it could not be made.
    pub(crate) fn new(kind: Kind, flows: usize) -> Option<Self> {
        let now = Instant::from_secs(10);
        let (mut stack, mut pool) = (Stack::new(Config::new([1, 2]), limits()), Pool::new(1_024));
        for (id, mac) in [IN, OUT].into_iter().zip(OURS) {
            stack.add_interface(Instant::ZERO, InterfaceConfig::ethernet(mac)).ok()?;
            stack.set_forwarding(id, Forwarding::on()).ok()?;
            for (is_ipv6, length) in [(false, 24), (true, 64)] {
                let prefix = Prefix::new(address(is_ipv6, id.0, 1), length).ok()?;
                stack.add_address(Instant::ZERO, id, prefix).ok()?;
                stack.add_neighbor(&mut pool, id, address(is_ipv6, id.0, 2), THEIRS).ok()?;
            }
        }
        // What the addresses give rise to.
        let mut buf = vec![0; stack.frame_capacity(OUT)];
        loop {
            for id in [IN, OUT] {
                while stack.transmit(&mut pool, now, id, &mut buf).is_some() {}
            }
            if stack.next_timeout().is_none_or(|due| due > now) {
                break;
            }
            stack.handle_timeout(&mut pool, now);
        }
        if kind == Kind::Nat {
            let mut config = NatConfig::outside(OUT);
            config.flows_per_host = Some(u32::MAX);
            stack.set_nat(Some(config)).ok()?;
        }
        let frames: Vec<Vec<u8>> = (0..flows).map(|number| frame(kind == Kind::Ipv6, number)).collect();
        let frame_len = frames.first()?.len();
        let mut scene = Scene { stack, pool, frames: frames.concat(), frame_len, next: 0, buf };
        scene.forward(flows).then_some(scene)
    }

    /// Has so many packets forwarded; whether all were.
    pub(crate) fn forward(&mut self, packets: usize) -> bool {
        let now = Instant::from_secs(10);
        let (mut received, mut sent) = (0, 0);
        while received < packets {
            let batch = BATCH.min(packets - received);
            for _ in 0..batch {
                let frame = &self.frames[self.next * self.frame_len..][..self.frame_len];
                self.stack.receive(&mut self.pool, now, IN, frame, FrameMeta::received(frame.len()));
                self.next = (self.next + 1) % (self.frames.len() / self.frame_len);
            }
            received += batch;
            while self.stack.transmit(&mut self.pool, now, OUT, &mut self.buf).is_some() {
                sent += 1;
            }
        }
        sent == packets
    }
}

/// Bytes of memory for each flow in a full table of [`MOST`].
pub(crate) fn bytes_per_flow() -> usize {
    let sizes = TableSizes::of(&limits());
    let flow = size_of::<Slot<NatFlow>>() + size_of::<Slot<NatMapping>>() + size_of::<Link>();
    (MOST * flow + sizes.nat_buckets * size_of::<Bucket>()) / MOST
}
