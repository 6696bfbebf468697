//! A middlebox: a box between two cables that does to TCP what those of the Internet do, and should not. It shifts sequence
//! numbers, strips options, clears ECN, cuts and merges segments, acknowledges in the receiver's name, and drops what is too
//! long, with or without telling.
//!
//! It has no address of its own and answers in the name of the host that the packet was for. Frames that carry no TCP, and
//! segments whose checksum is wrong, pass as they are. Like a stack it does no input or output of its own: hand it frames by
//! [`pass`](Middlebox::pass), then take what comes of them by [`next_frame`](Middlebox::next_frame), and call
//! [`handle_timeout`](Middlebox::handle_timeout) at [`next_timeout`](Middlebox::next_timeout). A
//! [`World`](crate::World::middlebox) does all that.

mod merge;
mod segment;

use crate::cable::Side;
use crate::packet::{ACK, FIN, ICMP, ICMPV6, RST, SYN, Segment, icmp, ip_frame};
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use merge::Merger;
use segment::{Parsed, option};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// What a middlebox does. The default does nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MiddleboxConfig {
    /// Added to the sequence numbers of segments from side A and from side B, and taken off the acknowledgments that
    /// come back.
    pub shift: [u32; 2],
    /// Whether SACK blocks are shifted as acknowledgments are; some firewalls forget them.
    pub shift_sack: bool,
    /// Kinds of options that are overwritten with no-operations on segments with SYN.
    pub strip_from_syn: Vec<u8>,
    /// The same on all other segments.
    pub strip_from_others: Vec<u8>,
    /// Clears the ECN field of IP headers.
    pub clear_ecn: bool,
    /// Marks one in so many segments that allow it as having met congestion (RFC 3168 §5); 0 for none.
    pub mark_one_in: u32,
    /// Cuts segments into parts of at most this many bytes of payload.
    pub split: Option<u16>,
    /// Merges segments that follow each other.
    pub merge: Option<Merge>,
    /// Acknowledges data in the receiver's name as it passes. What lies behind the box must not lose anything then: the
    /// sender will not send it again.
    pub acknowledge: bool,
    /// Drops IP packets that are too long.
    pub mtu: Option<Mtu>,
}

/// How segments are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The largest payload made so, in bytes.
    pub max: u16,
    /// How long a segment waits for the next one.
    pub hold: Duration,
}

/// How long IP packets may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtu {
    /// The longest packet that passes.
    pub bytes: u16,
    /// Whether the sender is told (RFC 792, RFC 4443); else the box is a black hole (RFC 2923).
    pub tell: bool,
}

/// The two ends of a connection as the sender of a segment names them: its own first.
type Flow = (IpAddr, u16, IpAddr, u16);

/// What an acknowledging box remembers of the segments that flow in one direction.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The next sequence number, once a SYN has passed.
    next: Option<u32>,
    /// The shift that its windows will have, if the other end offers one too.
    scale: Option<u8>,
    /// The last segment with an acknowledgment, without its payload, and the right edge that it offered.
    last: Option<(Segment, u32)>,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Middlebox {
    config: MiddleboxConfig,
    merger: Merger,
    seen: BTreeMap<Flow, Seen>,
    /// Segments that could have been marked.
    markable: u32,
    out: VecDeque<(Side, Vec<u8>)>,
}

impl Middlebox {
    /// A middlebox that does what `config` says.
    pub fn new(config: MiddleboxConfig) -> Self {
        Middlebox { config, merger: Merger::default(), seen: BTreeMap::new(), markable: 0, out: VecDeque::new() }
    }

    /// What it does.
    pub fn config(&self) -> &MiddleboxConfig {
        &self.config
    }

    /// Changes what it does; the connections that pass it may not survive that.
    pub fn configure(&mut self, config: MiddleboxConfig) {
        self.config = config;
    }

    /// A frame has arrived from this side. Drain [`next_frame`](Self::next_frame) next.
    pub fn pass(&mut self, now: Instant, from: Side, frame: &[u8]) {
        let is_too_long = |mtu: Mtu| segment::packet_len(frame).is_some_and(|len| len > usize::from(mtu.bytes));
        if let Some(mtu) = self.config.mtu.filter(|mtu| is_too_long(*mtu)) {
            if mtu.tell {
                self.out.extend(too_big(frame, mtu.bytes).map(|answer| (from, answer)));
            }
            return;
        }
        let Some(parsed) = Parsed::new(frame) else {
            self.out.push_back((from.other(), frame.to_vec()));
            return;
        };
        self.pass_segment(now, from, parsed);
    }

    /// The next frame that leaves the box, and the side on which it does.
    pub fn next_frame(&mut self) -> Option<(Side, Vec<u8>)> {
        self.out.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing is passed before.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.merger.next_timeout()
    }

    /// Lets go of what has waited long enough. Drain [`next_frame`](Self::next_frame) next.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((from, parsed)) = self.merger.expired(now) {
            self.send(from, parsed);
        }
    }

    fn pass_segment(&mut self, now: Instant, from: Side, mut parsed: Parsed) {
        let Parsed { segment, .. } = &mut parsed;
        let kinds = if segment.flags & SYN != 0 { &self.config.strip_from_syn } else { &self.config.strip_from_others };
        segment::strip(&mut segment.options, kinds);
        let (ahead, back) = (self.config.shift[from.index()], self.config.shift[from.other().index()]);
        segment.seq = segment.seq.wrapping_add(ahead);
        if segment.flags & ACK != 0 {
            segment.ack = segment.ack.wrapping_sub(back);
            if self.config.shift_sack {
                segment::shift_sack(&mut segment.options, back);
            }
        }
        if self.config.clear_ecn {
            parsed.set_ecn(segment::NOT_ECT);
        }
        if self.config.mark_one_in > 0 && parsed.ecn() != segment::NOT_ECT {
            self.markable = self.markable.wrapping_add(1);
            if self.markable.is_multiple_of(self.config.mark_one_in) {
                parsed.set_ecn(segment::CE);
            }
        }
        if self.config.acknowledge {
            self.acknowledge(from, &parsed);
        }
        match self.config.merge {
            Some(merge) => {
                for ready in self.merger.offer(now, from, parsed, merge) {
                    self.send(from, ready);
                }
            }
            None => self.send(from, parsed),
        }
    }

    fn send(&mut self, from: Side, parsed: Parsed) {
        let most = self.config.split.map_or(usize::MAX, |most| usize::from(most.max(1)));
        let Segment { flags, seq, .. } = parsed.segment;
        let len = parsed.segment.payload.len();
        if len <= most || flags & (SYN | RST) != 0 {
            self.out.push_back((from.other(), parsed.into_frame()));
            return;
        }
        for at in (0..len).step_by(most) {
            let end = len.min(at + most);
            let mut part = parsed.clone();
            part.segment.payload = parsed.segment.payload[at..end].to_vec();
            part.segment.seq = seq.wrapping_add(at as u32);
            if end < len {
                part.segment.flags &= !FIN;
            }
            self.out.push_back((from.other(), part.into_frame()));
        }
    }

    /// Answers data that is next in order with an acknowledgment made of the receiver's last segment.
    fn acknowledge(&mut self, from: Side, parsed: &Parsed) {
        let segment = &parsed.segment;
        let flow = (parsed.source, segment.source_port, parsed.destination, segment.destination_port);
        let back = (flow.2, flow.3, flow.0, flow.1);
        let peer_scale = self.seen.get(&back).and_then(|seen| seen.scale);
        let seen = self.seen.entry(flow).or_default();
        if segment.flags & SYN != 0 {
            *seen =
                Seen { next: Some(segment.seq.wrapping_add(1)), scale: option::scale(&segment.options), last: None };
            return;
        }
        if segment.flags & ACK != 0 {
            let shift = seen.scale.filter(|_| peer_scale.is_some()).unwrap_or(0);
            let edge = segment.ack.wrapping_add(u32::from(segment.window) << shift);
            seen.last = Some((Segment { payload: Vec::new(), ..segment.clone() }, edge));
        }
        let len = segment.payload.len() as u32;
        if seen.next != Some(segment.seq) || len == 0 {
            return;
        }
        let next = segment.seq.wrapping_add(len);
        seen.next = Some(next);
        let Some(answer) = self.answer(&back, segment, next) else { return };
        if let Some(answer) = parsed.answer(answer) {
            self.out.push_back((from, answer));
        }
    }

    /// The acknowledgment of everything below `ack`, as the receiver, whose segments flow along `flow`, would send it.
    fn answer(&self, flow: &Flow, data: &Segment, ack: u32) -> Option<Segment> {
        let seen = self.seen.get(flow)?;
        let (last, edge) = seen.last.as_ref()?;
        let sender = (flow.2, flow.3, flow.0, flow.1);
        let shift = seen.scale.filter(|_| self.seen.get(&sender).is_some_and(|sender| sender.scale.is_some()));
        let window = edge.wrapping_sub(ack);
        if window > i32::MAX as u32 {
            return None;
        }
        let mut answer = Segment { ack, flags: ACK, urgent: 0, ..last.clone() };
        answer.seq = data.ack;
        answer.window = (window >> shift.unwrap_or(0)).min(u32::from(u16::MAX)) as u16;
        segment::strip(&mut answer.options, &[option::SACK]);
        if let Some((value, _)) = option::timestamps(&data.options) {
            option::echo(&mut answer.options, value);
        }
        Some(answer)
    }
}

/// The ICMP message that a packet is too big, in the name of the host that it was for.
fn too_big(frame: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let (source, destination) = segment::addresses(frame)?;
    let mac = |at: usize| Some(MacAddr(*frame.get(at..)?.first_chunk::<6>()?));
    let (to, from) = (mac(6)?, mac(0)?);
    let packet = &frame[segment::ETHERNET..];
    let (protocol, message) = match source {
        // RFC 792, RFC 1191 §4: the header and the first eight bytes behind it.
        IpAddr::V4(_) => (ICMP, icmp(3, 4, u32::from(mtu), packet.get(..28)?)),
        // RFC 4443 §3.2: as much as fits into 1,280 bytes.
        IpAddr::V6(_) => (ICMPV6, icmp(2, 0, u32::from(mtu), &packet[..packet.len().min(1_280 - 48)])),
    };
    Some(ip_frame((from, to), destination, source, protocol, &message))
}

#[cfg(test)]
mod tests;
