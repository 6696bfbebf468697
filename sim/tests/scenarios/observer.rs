//! Watches all that hosts send and receive, and knows TCP well enough to see what they must not do. It has its own idea of
//! each connection, from the wire alone.

use ethertab::time::Instant;
use ethertab_sim::mutate::repair_checksums;
use ethertab_sim::packet::{ACK, FIN, RST, SYN, Segment, TCP, parse_ip};
use ethertab_sim::{CaptureId, Direction, World};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Sees every frame once.
#[derive(Debug)]
pub(crate) struct Observer {
    capture: CaptureId,
    next: u64,
    /// Whether the capture keeps what was seen.
    keeps: bool,
    segments: u64,
    /// The hardware address of each port.
    macs: Vec<Option<[u8; 6]>>,
    flows: BTreeMap<Flow, View>,
}

/// A connection at one host: the port, and the two ends, the host's first.
type Flow = (u32, IpAddr, u16, IpAddr, u16);

/// What is known of a connection at one of its ends.
#[derive(Clone, Debug, Default)]
struct View {
    /// The highest sequence number sent, and the highest that has certainly been acknowledged.
    sent: Option<u32>,
    acknowledged: Option<u32>,
    /// The highest right edge that the peer has offered.
    offered: Option<u32>,
    /// The highest sequence number that came in, and the highest right edge offered for it.
    received: Option<u32>,
    edge: Option<u32>,
    /// The window of a SYN whose answer has not come.
    syn_window: u16,
    /// The window scales of the SYNs: the host's own, the peer's.
    scales: [Option<u8>; 2],
    /// Whether both SYNs carried timestamps, and the latest of the peer's.
    timestamps: [bool; 2],
    latest: Option<u32>,
    peer_fin: bool,
}

/// Whether `a` is before `b`.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

fn raise(value: &mut Option<u32>, to: u32) {
    if value.is_none_or(|value| before(value, to)) {
        *value = Some(to);
    }
}

impl Observer {
    /// An observer of all that is captured, which it then keeps, or throws away.
    pub(crate) fn new(world: &World, capture: CaptureId, keeps: bool) -> Self {
        let ports = world.network().capture(capture).map_or(0, |capture| capture.interfaces().len());
        Observer { capture, next: 0, keeps, segments: 0, macs: vec![None; ports], flows: BTreeMap::new() }
    }

    /// TCP segments sent so far.
    pub(crate) fn segments(&self) -> u64 {
        self.segments
    }

    /// Looks at what has passed since the last time.
    pub(crate) fn watch(&mut self, world: &mut World) -> Result<(), String> {
        let Some(capture) = world.network_mut().capture_mut(self.capture) else { return Ok(()) };
        if capture.seen() == self.next {
            return Ok(());
        }
        assert!(capture.dropped() <= self.next, "the observer has missed something");
        for packet in capture.since(self.next) {
            self.look(packet.time, packet.interface, packet.direction, packet.bytes)?;
        }
        self.next = capture.seen();
        if !self.keeps {
            capture.clear();
        }
        Ok(())
    }

    fn look(&mut self, now: Instant, port: u32, direction: Direction, frame: &[u8]) -> Result<(), String> {
        let mac = &mut self.macs[port as usize];
        let outbound = direction == Direction::Out;
        if outbound {
            *mac = frame.get(6..).and_then(|bytes| bytes.first_chunk()).copied();
        } else if mac.is_none_or(|mac| !frame.starts_with(&mac)) {
            return Ok(());
        }
        let Some((source, destination, TCP, bytes)) = parse_ip(frame) else { return Ok(()) };
        let Some(segment) = Segment::parse(bytes) else { return Ok(()) };
        if !outbound && !is_intact(frame) {
            return Ok(());
        }
        let (near, far) = ((source, segment.source_port), (destination, segment.destination_port));
        let (near, far) = if outbound { (near, far) } else { (far, near) };
        let view = self.flows.entry((port, near.0, near.1, far.0, far.1)).or_default();
        if !outbound {
            view.arrives(&segment);
            return Ok(());
        }
        self.segments += 1;
        view.leaves(&segment).map_err(|error| {
            let text = segment.relative_to(0, 0);
            format!("at {now}, {}:{} to {}:{} sent {text}: {error}\n{view:?}", near.0, near.1, far.0, far.1)
        })
    }
}

/// Whether no host has a reason to refuse a frame with a segment: an address of a group as its source, another version of
/// IP than its type says, a wrong checksum.
fn is_intact(frame: &[u8]) -> bool {
    let version = if frame[12] == 0x08 { 4 } else { 6 };
    let mut repaired = frame.to_vec();
    repair_checksums(&mut repaired);
    frame[6] & 1 == 0 && frame[14] >> 4 == version && repaired == frame
}

/// What the options of a segment say that matters here.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    scale: Option<u8>,
    timestamp: Option<u32>,
}

impl Options {
    fn parse(mut bytes: &[u8]) -> Options {
        let mut options = Options::default();
        loop {
            bytes = match bytes {
                [1, rest @ ..] => rest,
                [0, ..] | [] | [_] => return options,
                [kind, len, ..] => {
                    let Some((option, rest)) = bytes.split_at_checked(usize::from(*len).max(2)) else { return options };
                    match (kind, option) {
                        (3, [_, _, scale]) => options.scale = Some((*scale).min(14)),
                        (8, [_, _, a, b, c, d, _, _, _, _]) => {
                            options.timestamp = Some(u32::from_be_bytes([*a, *b, *c, *d]));
                        }
                        _ => {}
                    }
                    rest
                }
            };
        }
    }
}

impl View {
    /// The shift of the windows that the host announces, or of those of its peer.
    fn shift(&self, of_peer: bool) -> u8 {
        match self.scales {
            [Some(own), Some(peer)] => {
                if of_peer {
                    peer
                } else {
                    own
                }
            }
            _ => 0,
        }
    }

    fn arrives(&mut self, segment: &Segment) {
        if segment.flags & RST != 0 {
            return;
        }
        let options = Options::parse(&segment.options);
        if segment.flags & SYN != 0 {
            self.peer_syn(segment, options);
            return;
        }
        if segment.flags & ACK == 0 {
            return;
        }
        // Stale segments do no harm: an edge never moves left.
        let offered = segment.ack.wrapping_add(u32::from(segment.window) << self.shift(true));
        raise(&mut self.offered, offered);
        let fin = segment.flags & FIN != 0;
        let end = segment.seq.wrapping_add(segment.payload.len() as u32 + u32::from(fin));
        if self.is_certainly_accepted(segment.seq, end, options) {
            let sent = self.sent.unwrap_or(segment.ack);
            if !before(sent, segment.ack) {
                raise(&mut self.acknowledged, segment.ack);
            }
        }
        self.peer_fin |= fin;
        raise(&mut self.received, end);
        if let Some(timestamp) = options.timestamp {
            raise(&mut self.latest, timestamp);
        }
    }

    fn peer_syn(&mut self, segment: &Segment, options: Options) {
        // What comes again may come without options.
        self.scales[1] = self.scales[1].or(options.scale);
        self.timestamps[1] |= options.timestamp.is_some();
        raise(&mut self.received, segment.seq.wrapping_add(1 + segment.payload.len() as u32));
        raise(&mut self.edge, segment.seq.wrapping_add(1).wrapping_add(u32::from(self.syn_window)));
        if let Some(timestamp) = options.timestamp {
            raise(&mut self.latest, timestamp);
        }
        if segment.flags & ACK != 0 {
            raise(&mut self.offered, segment.ack.wrapping_add(u32::from(segment.window)));
        }
    }

    /// Whether the host cannot but take the segment's acknowledgment: whatever of what came before it has taken, this is
    /// within the window (RFC 9293 §3.10.7.4), and not older than what came before (RFC 7323 §5).
    fn is_certainly_accepted(&self, seq: u32, end: u32, options: Options) -> bool {
        let (Some(received), Some(edge)) = (self.received, self.edge) else { return false };
        let is_new = !before(seq, received) || before(received, end);
        let fits = if seq == end { !before(edge, seq) } else { before(seq, edge) };
        let fresh = match (self.timestamps, options.timestamp, self.latest) {
            ([true, true], Some(timestamp), Some(latest)) => !before(timestamp, latest),
            ([true, true], ..) => false,
            _ => true,
        };
        is_new && fits && fresh
    }

    fn leaves(&mut self, segment: &Segment) -> Result<(), String> {
        if segment.flags & RST != 0 {
            return Ok(());
        }
        let options = Options::parse(&segment.options);
        let len = segment.payload.len() as u32;
        if segment.flags & SYN != 0 {
            // The last tries may go without options, and the peer may answer the first. What an answer says counts.
            let is_answer = segment.flags & ACK != 0;
            self.scales[0] = options.scale.or(self.scales[0].filter(|_| !is_answer));
            self.timestamps[0] = options.timestamp.is_some() || (self.timestamps[0] && !is_answer);
            self.syn_window = segment.window;
            raise(&mut self.sent, segment.seq.wrapping_add(1 + len));
            if segment.flags & ACK != 0 {
                raise(&mut self.edge, segment.ack.wrapping_add(u32::from(segment.window)));
            }
            return Ok(());
        }
        self.window(segment)?;
        let fin = u32::from(segment.flags & FIN != 0);
        let end = segment.seq.wrapping_add(len + fin);
        if len + fin > 0 {
            self.data(segment.seq, end, len)?;
            raise(&mut self.sent, end);
        }
        Ok(())
    }

    /// RFC 9293 §3.8.6: the right edge does not move left, except by what a unit of the scale rounds off (RFC 7323 §2.4).
    fn window(&mut self, segment: &Segment) -> Result<(), String> {
        if segment.flags & ACK == 0 {
            return Ok(());
        }
        let shift = self.shift(false);
        let edge = segment.ack.wrapping_add(u32::from(segment.window) << shift);
        if let Some(promised) = self.edge
            && before(edge.wrapping_add((1 << shift) - 1), promised)
            && !self.peer_fin
        {
            return Err(format!("the window shrinks by {}", promised.wrapping_sub(edge)));
        }
        raise(&mut self.edge, edge);
        Ok(())
    }

    fn data(&self, seq: u32, end: u32, len: u32) -> Result<(), String> {
        if let Some(acknowledged) = self.acknowledged
            && before(seq, acknowledged)
        {
            // RFC 9293 §3.8.4: a keep-alive may repeat the last byte.
            let is_probe = len <= 1 && seq == acknowledged.wrapping_sub(1);
            if !is_probe {
                return Err(format!("acknowledged up to {acknowledged}"));
            }
        }
        if let Some(offered) = self.offered
            && before(offered, end)
        {
            // RFC 9293 §3.8.6.1: one byte may look whether a window is still closed.
            let is_probe = len <= 1 && seq == offered;
            if !is_probe {
                return Err(format!("the window ends at {offered}"));
            }
        }
        Ok(())
    }
}
