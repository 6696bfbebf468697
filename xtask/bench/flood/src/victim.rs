//! A connection of ours, and the peer that attacks it.

use anyhow::{Context as _, bail};
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    Config, ConnectionHandle, Endpoint, Event, FrameMeta, InterfaceConfig, InterfaceId, Limits, ListenOptions, Pool,
    Stack,
};
use ethertab_sim::packet::{self, ACK, PSH, SYN, Segment, TCP};
use std::net::{IpAddr, Ipv4Addr};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PORT: u16 = 80;
/// The peer's window shift: its window can be any size that is a multiple of 128 bytes.
const SHIFT: u8 = 7;
/// Payload bytes of a full segment: small ones, so that as many as there can be fit into the window; without timestamps, so that four
/// SACK blocks fit into an ACK.
pub(crate) const MSS: u32 = 536;
/// The largest buffers that there are.
const BUFFER: u32 = 4 << 20;

/// See the [module](self).
pub(crate) struct Victim {
    stack: Stack<'static>,
    pool: Pool<'static>,
    interface: InterfaceId,
    connection: Option<ConnectionHandle>,
    now: Instant,
    /// The victim's sequence numbers: the first byte that is not acknowledged, and what it has sent up to.
    pub(crate) una: u32,
    pub(crate) nxt: u32,
    /// The peer's next sequence number.
    pub(crate) seq: u32,
    /// The peer's window, in segments.
    window: u32,
    /// The victim's last timestamp, if they are in use, and what the peer echoes of them.
    timestamp: Option<u32>,
    pub(crate) echo: Option<u32>,
    /// Segments of the attack so far.
    pub(crate) attacked: u64,
    outbox: Vec<u8>,
}

impl Victim {
    /// A host to which the peer has connected, whose window is of so many segments.
    pub(crate) fn new(window: u32, timestamps: bool) -> anyhow::Result<Victim> {
        let mut config = Config::new([1, 2]);
        config.tcp.initial_send_buffer = BUFFER;
        config.tcp.initial_receive_buffer = BUFFER;
        let mut limits = Limits::small();
        limits.pool_blocks = 4 * (BUFFER / ethertab::BLOCK_SIZE as u32);
        let mut stack = Stack::new(config, limits);
        let wrong = |error| anyhow::anyhow!("{error:?}");
        let interface = stack.add_interface(Instant::ZERO, InterfaceConfig::ethernet(HOST_MAC)).map_err(wrong)?;
        let prefix = "10.0.0.1/24".parse().map_err(|_| anyhow::anyhow!("no prefix"))?;
        stack.add_address(Instant::ZERO, interface, prefix).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        stack.listen(Endpoint::any(PORT), ListenOptions::default()).map_err(|error| anyhow::anyhow!("{error}"))?;
        let pool = Pool::new(limits.pool_blocks as usize);
        let mut victim = Victim {
            stack,
            pool,
            interface,
            connection: None,
            now: Instant::from_secs(1),
            una: 0,
            nxt: 0,
            seq: 1_000,
            window,
            timestamp: None,
            echo: timestamps.then_some(0),
            attacked: 0,
            outbox: vec![0; 1_514],
        };
        victim.connect()?;
        Ok(victim)
    }

    fn connect(&mut self) -> anyhow::Result<()> {
        let timestamps = self.timestamps();
        let [_, _, high, low] = (MSS + timestamps.len() as u32).to_be_bytes();
        // MSS, SACK permitted, window scale.
        let options = [&[2, 4, high, low, 4, 2, 3, 3, SHIFT], &timestamps[..]].concat();
        self.receive(&self.frame(Segment { flags: SYN, window: u16::MAX, options, ..self.segment() }));
        let syn_ack = self.drain()?.context("no answer to a SYN")?;
        self.echo = self.echo.and(self.timestamp);
        (self.una, self.nxt) = (syn_ack.seq.wrapping_add(1), syn_ack.seq.wrapping_add(1));
        self.seq += 1;
        self.receive(&self.ack(self.una, &[]));
        while let Some(event) = self.stack.poll_event() {
            if let Event::Listener(listener, _) = event {
                self.connection = self.stack.accept(listener).or(self.connection);
            }
        }
        self.connection.context("no connection")?;
        Ok(())
    }

    /// Lets the victim send, to a peer that acknowledges honestly, until its window is full of outstanding segments.
    pub(crate) fn fill(&mut self) -> anyhow::Result<()> {
        for _ in 0..64 {
            self.write();
            self.drain()?;
            let sent = self.nxt;
            if sent.wrapping_sub(self.una) >= self.window * MSS {
                return Ok(());
            }
            self.pass(Duration::from_millis(10));
            self.echo = self.timestamp;
            // By the segment, which lets the window grow fastest.
            while self.una != sent {
                self.una = self.una.wrapping_add(sent.wrapping_sub(self.una).min(MSS));
                self.receive(&self.ack(self.una, &[]));
            }
        }
        bail!("the window does not grow");
    }

    fn write(&mut self) {
        let Some(connection) = self.connection else { return };
        let data = [7; 65_536];
        while self.stack.send(&mut self.pool, self.now, connection, &data).is_ok_and(|taken| taken == data.len()) {}
    }

    /// The peer's frame reaches the victim, and is counted.
    pub(crate) fn attack(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        self.attacked += 1;
        self.now += Duration::from_micros(10);
        self.under_attack(frame);
        self.drain()?;
        Ok(())
    }

    /// The same, uncounted.
    pub(crate) fn quietly(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        self.now += Duration::from_micros(10);
        self.receive(frame);
        self.drain()?;
        Ok(())
    }

    /// What callgrind counts.
    #[inline(never)]
    fn under_attack(&mut self, frame: &[u8]) {
        if self.stack.next_timeout().is_some_and(|due| due <= self.now) {
            self.stack.handle_timeout(&mut self.pool, self.now);
        }
        self.receive(frame);
    }

    fn receive(&mut self, frame: &[u8]) {
        self.stack.receive(&mut self.pool, self.now, self.interface, frame, FrameMeta::received(frame.len()));
    }

    /// Time in which the peer is silent; what is due then happens with the next frame.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.now += span;
    }

    /// Takes what the victim sends; returns the last segment.
    fn drain(&mut self) -> anyhow::Result<Option<Segment>> {
        let mut last = None;
        while let Some(meta) = self.stack.transmit(&mut self.pool, self.now, self.interface, &mut self.outbox) {
            let frame = &self.outbox[..meta.len];
            if frame[12..14] == [0x08, 0x06] {
                let (target, sender) = ((HOST_MAC, [10, 0, 0, 1]), (PEER_MAC, [10, 0, 0, 2]));
                let answer = packet::ethernet(HOST_MAC, PEER_MAC, 0x0806, &packet::arp(2, sender, target));
                self.receive(&answer);
                continue;
            }
            // Beside TCP, the host says which groups it is in.
            let Some((_, _, TCP, payload)) = packet::parse_ip(frame) else { continue };
            let segment = Segment::parse(payload).context("a segment that is cut short")?;
            let end = segment.seq.wrapping_add(segment.payload.len() as u32);
            if end.wrapping_sub(self.nxt) < u32::MAX / 2 && !segment.payload.is_empty() {
                self.nxt = end;
            }
            // It comes first in what the victim sends.
            if let [8, 10, value @ ..] | [1, 1, 8, 10, value @ ..] = &segment.options[..] {
                self.timestamp = value.first_chunk().map(|value| u32::from_be_bytes(*value));
            }
            last = Some(segment);
        }
        Ok(last)
    }

    fn segment(&self) -> Segment {
        Segment { source_port: 4_000, destination_port: PORT, seq: self.seq, ..Segment::default() }
    }

    /// An ACK with SACK blocks, in bytes from SND.UNA as the peer knows it.
    pub(crate) fn sack(&self, blocks: &[(u32, u32)]) -> Vec<u8> {
        let blocks: Vec<_> =
            blocks.iter().map(|(left, right)| (self.una.wrapping_add(*left), self.una.wrapping_add(*right))).collect();
        self.ack(self.una, &blocks)
    }

    /// An ACK of `ack` with SACK blocks, in the victim's sequence numbers.
    pub(crate) fn ack(&self, ack: u32, blocks: &[(u32, u32)]) -> Vec<u8> {
        let mut options = self.timestamps();
        if !blocks.is_empty() {
            options.extend([1, 1, 5, 2 + 8 * blocks.len() as u8]);
            for (left, right) in blocks {
                options.extend(left.to_be_bytes());
                options.extend(right.to_be_bytes());
            }
        }
        let window = (self.window * MSS).div_ceil(1 << SHIFT) as u16;
        self.frame(Segment { ack, flags: ACK, window, options, ..self.segment() })
    }

    /// A segment with data, `offset` bytes beyond what is in order.
    pub(crate) fn data(&self, offset: u32, len: usize) -> Vec<u8> {
        let seq = self.seq.wrapping_add(offset);
        let (flags, window) = (ACK | PSH, u16::MAX);
        self.frame(Segment { seq, ack: self.una, flags, window, payload: vec![1; len], ..self.segment() })
    }

    /// The timestamps option, if it is in use: the peer's clock stands still.
    fn timestamps(&self) -> Vec<u8> {
        match self.echo {
            Some(echo) => [&[1, 1, 8, 10, 0, 0, 0, 1][..], &echo.to_be_bytes()].concat(),
            None => Vec::new(),
        }
    }

    fn frame(&self, segment: Segment) -> Vec<u8> {
        packet::ip_frame((PEER_MAC, HOST_MAC), PEER, HOST, TCP, &segment.to_bytes())
    }
}
