//! The stack under test on a wire of its own, in virtual time.

use ethertab::time::Instant;
use ethertab::wire::MacAddr;
use ethertab::{
    Config, ConfigError, DuplicateDetection, FrameMeta, InterfaceConfig, InterfaceId, Limits, Pool, Prefix, Stack,
};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::ast::OuterHeader;
use super::encapsulation::encapsulate;
use super::settings::Settings;
use super::wire::{Packet, Payload, ethernet_frame};
use crate::capture::{Capture, CaptureConfig, Direction, LinkType};

/// What the stack's clock shows when a script begins, in microseconds: later than 0, so that nothing passes by being 0.
const EPOCH: u64 = 10_000_000;

const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// Calls of `handle_timeout` for one instant, after which a timer that never comes to rest is a failure.
const TIMEOUT_CALLS: usize = 10_000;

/// A packet that the stack has sent, and when, in microseconds since the script began.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) at: u64,
    /// What is wrong with it, if it cannot be read.
    pub(super) packet: Result<Packet, &'static str>,
}

impl Sent {
    /// The ports of a segment: ours and the peer's.
    pub(super) fn ports(&self) -> Option<(u16, u16)> {
        match &self.packet.as_ref().ok()?.payload {
            Payload::Tcp(segment) => Some((segment.source_port, segment.destination_port)),
            Payload::Udp(_) | Payload::Icmp(_) => None,
        }
    }
}

/// The stack, its wire and its clock.
pub(super) struct Host {
    pub(super) stack: Stack<'static>,
    pub(super) pool: Pool<'static>,
    interface: InterfaceId,
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    /// Microseconds since the script began.
    now: u64,
    /// Sent, and not yet looked at by the script.
    pub(super) sent: VecDeque<Sent>,
    capture: Capture,
    capture_interface: u32,
    buf: Vec<u8>,
    /// Size of the segments that a large packet of the script counts as.
    segment_size: u16,
}

impl Host {
    /// A host with the settings' addresses whose only neighbour is the way to everywhere.
    pub(super) fn new(settings: &Settings, config: Config) -> Result<Host, ConfigError> {
        let (local, remote) = settings.addresses();
        let mut pool = Pool::new(Limits::default().pool_blocks as usize);
        let mut stack = Stack::new(config, Limits::default());
        let start = Instant::from_micros(EPOCH);
        let mut interface_config = InterfaceConfig::ethernet(OUR_MAC);
        interface_config.mtu = settings.mtu;
        // Scripts begin when the addresses are known to be theirs.
        interface_config.detection = DuplicateDetection::Off;
        interface_config.reports_groups = false;
        let interface = stack.add_interface(start, interface_config)?;
        let (prefix_len, gateway, everywhere): (u8, IpAddr, IpAddr) = match local {
            IpAddr::V4(_) => (32, Ipv4Addr::new(169, 254, 1, 1).into(), Ipv4Addr::UNSPECIFIED.into()),
            IpAddr::V6(_) => (128, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::UNSPECIFIED.into()),
        };
        // The script's address is reached through a gateway, whatever the two addresses are.
        if local.is_ipv4() {
            stack.add_address(
                start,
                interface,
                Prefix { address: Ipv4Addr::new(169, 254, 1, 2).into(), length: 30 },
            )?;
        }
        stack.add_address(start, interface, Prefix { address: local, length: prefix_len })?;
        stack.add_route(Prefix { address: everywhere, length: 0 }, gateway)?;
        stack.add_neighbor(&mut pool, interface, gateway, GATEWAY_MAC)?;
        let mut capture = Capture::new(CaptureConfig::default());
        let capture_interface = capture.add_interface("stack under test", LinkType::Ethernet);
        let buf = vec![0; stack.frame_capacity(interface)];
        let sent = VecDeque::new();
        let segment_size = settings.mss;
        let mut host =
            Host { stack, pool, interface, local, remote, now: 0, sent, capture, capture_interface, buf, segment_size };
        host.transmit();
        Ok(host)
    }

    /// Microseconds since the script began.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// The same on the stack's clock.
    pub(super) fn instant(&self) -> Instant {
        Instant::from_micros(EPOCH + self.now)
    }

    /// Delivers a packet to the stack, with other headers around it perhaps.
    ///
    /// # Errors
    /// Names what cannot be put around a packet.
    pub(super) fn deliver(&mut self, packet: &Packet, outer: &[OuterHeader]) -> Result<(), String> {
        let is_ipv4 = packet.source.is_ipv4();
        let Some((bytes, is_ipv4)) = encapsulate(outer, packet.to_bytes(), is_ipv4) else {
            return Err(format!("encapsulation in {outer:?}"));
        };
        let frame = ethernet_frame(OUR_MAC, GATEWAY_MAC, is_ipv4, &bytes);
        let mut meta = FrameMeta::received(frame.len());
        if packet.payload_len() > usize::from(self.segment_size) {
            meta.segment_size = self.segment_size;
        }
        let now = self.instant();
        self.capture.record(now, self.capture_interface, Direction::In, &frame);
        self.stack.receive(&mut self.pool, now, self.interface, &frame, meta);
        Ok(())
    }

    /// Takes what the stack has to send now.
    pub(super) fn transmit(&mut self) {
        let now = self.instant();
        while let Some(meta) = self.stack.transmit(&mut self.pool, now, self.interface, &mut self.buf) {
            let frame = &self.buf[..meta.len];
            self.capture.record(now, self.capture_interface, Direction::Out, frame);
            match Packet::from_frame(frame) {
                Ok(None) => {}
                Ok(Some(packet)) => self.sent.push_back(Sent { at: self.now, packet: Ok(packet) }),
                Err(problem) => self.sent.push_back(Sent { at: self.now, packet: Err(problem) }),
            }
        }
    }

    /// When the stack wants to be woken next, in microseconds since the script began.
    pub(super) fn next_timeout(&self) -> Option<u64> {
        let due = self.stack.next_timeout()?.as_micros().saturating_sub(EPOCH);
        Some(due.max(self.now))
    }

    /// Lets time pass until `time`, and does what is due then. False if that does not end.
    pub(super) fn wake(&mut self, time: u64) -> bool {
        self.now = self.now.max(time);
        for _ in 0..TIMEOUT_CALLS {
            if self.stack.next_timeout().is_none_or(|due| due > self.instant()) {
                return true;
            }
            let now = self.instant();
            self.stack.handle_timeout(&mut self.pool, now);
            self.transmit();
        }
        false
    }

    /// Lets time pass without a look at the timers: for a time before the next of them.
    pub(super) fn set_time(&mut self, time: u64) {
        self.now = self.now.max(time);
        // The stack's clock goes on when it is called.
        self.transmit();
    }

    /// All that passed the wire, as a pcapng file.
    pub(super) fn pcapng(&self) -> std::io::Result<Vec<u8>> {
        self.capture.to_pcapng(Duration::ZERO)
    }
}
