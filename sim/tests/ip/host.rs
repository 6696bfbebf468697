//! A host and its neighbour, played by the test frame by frame.

use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    Config, DropReason, DuplicateDetection, FrameMeta, InterfaceConfig, InterfaceId, Limits, NeighborState, Pool, Stack,
};
use ethertab_sim::packet::{self, ICMP, ICMPV6, parse_ip};
use std::net::IpAddr;

pub(crate) const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(crate) const NIC: InterfaceId = InterfaceId(0);

/// A host with the addresses 10.0.0.1/24 and fd00::1/64.
pub(crate) struct Host {
    pub(crate) stack: Stack<'static>,
    pub(crate) pool: Pool<'static>,
    pub(crate) now: Instant,
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The host's and the neighbour's address.
pub(crate) fn pair(ipv6: bool) -> (IpAddr, IpAddr) {
    if ipv6 { (ip("fd00::1"), ip("fd00::2")) } else { (ip("10.0.0.1"), ip("10.0.0.2")) }
}

impl Host {
    pub(crate) fn new() -> Host {
        Host::with_mtu(1_500)
    }

    pub(crate) fn with_mtu(mtu: u16) -> Host {
        Host::with(mtu, Limits::small())
    }

    pub(crate) fn with_limits(limits: Limits) -> Host {
        Host::with(1_500, limits)
    }

    pub(crate) fn with_addresses(prefixes: &[&str]) -> Host {
        Host::with_all(1_500, Limits::small(), prefixes)
    }

    fn with(mtu: u16, limits: Limits) -> Host {
        Host::with_all(mtu, limits, &["10.0.0.1/24", "fd00::1/64"])
    }

    fn with_all(mtu: u16, limits: Limits, prefixes: &[&str]) -> Host {
        let mut stack = Stack::new(Config::new([1, 2]), limits);
        let mut config = InterfaceConfig::ethernet(HOST_MAC);
        config.mtu = mtu;
        // The addresses are known to be the host's.
        config.detection = DuplicateDetection::Off;
        config.reports_groups = false;
        stack.add_interface(Instant::ZERO, config).unwrap();
        for prefix in prefixes {
            stack.add_address(Instant::ZERO, NIC, prefix.parse().unwrap()).unwrap();
        }
        let mut host = Host { stack, pool: Pool::new(256), now: Instant::ZERO };
        // The announcements of its addresses.
        host.take_all();
        host
    }

    /// A host that knows the neighbours 10.0.0.2 and fd00::2.
    pub(crate) fn with_neighbors() -> Host {
        let mut host = Host::new();
        for address in ["10.0.0.2", "fd00::2"] {
            host.stack.add_neighbor(&mut host.pool, NIC, ip(address), PEER_MAC).unwrap();
        }
        host
    }

    pub(crate) fn receive(&mut self, frame: &[u8]) {
        self.stack.receive(&mut self.pool, self.now, NIC, frame, FrameMeta::received(frame.len()));
    }

    /// A packet from the neighbour's station.
    pub(crate) fn receive_ip(&mut self, source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) {
        self.receive(&packet::ip_frame((PEER_MAC, HOST_MAC), source, destination, protocol, payload));
    }

    /// An echo request from the neighbour.
    pub(crate) fn receive_ping(&mut self, source: IpAddr, destination: IpAddr) {
        let (protocol, kind) = if source.is_ipv6() { (ICMPV6, 128) } else { (ICMP, 8) };
        self.receive_ip(source, destination, protocol, &packet::icmp(kind, 0, 1, b"are you there"));
    }

    /// What the host sends now.
    pub(crate) fn take_all(&mut self) -> Vec<Vec<u8>> {
        let mut buf = vec![0; self.stack.frame_capacity(NIC)];
        std::iter::from_fn(|| {
            let meta = self.stack.transmit(&mut self.pool, self.now, NIC, &mut buf)?;
            Some(buf[..meta.len].to_vec())
        })
        .collect()
    }

    /// Destination, protocol and payload of the IP packets among what the host sends now.
    pub(crate) fn take_packets(&mut self) -> Vec<(IpAddr, u8, Vec<u8>)> {
        let frames = self.take_all();
        let parsed = frames.iter().filter_map(|frame| parse_ip(frame));
        parsed.map(|(_, destination, protocol, payload)| (destination, protocol, payload.to_vec())).collect()
    }

    /// Lets time pass; returns what the host sends meanwhile, with when.
    pub(crate) fn pass(&mut self, span: Duration) -> Vec<(Instant, Vec<u8>)> {
        let end = self.now + span;
        let mut sent: Vec<_> = self.take_all().into_iter().map(|frame| (self.now, frame)).collect();
        while let Some(due) = self.stack.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.stack.handle_timeout(&mut self.pool, self.now);
            sent.extend(self.take_all().into_iter().map(|frame| (self.now, frame)));
        }
        self.now = end;
        sent
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.stack.counters().drops(reason)
    }

    pub(crate) fn neighbor(&self, address: IpAddr) -> Option<(Option<MacAddr>, NeighborState)> {
        let mut neighbors = self.stack.neighbors();
        neighbors.find(|(_, found, ..)| *found == address).map(|(_, _, mac, state)| (mac, state))
    }
}
