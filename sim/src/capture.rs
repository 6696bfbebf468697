//! A capture watches ports and keeps what passes, for pcapng and for observers.
//!
//! It holds the newest frames up to a bound in bytes and counts those that had to go. Observers poll: each keeps the number
//! of the next packet that it wants, and sees from the numbers what it was too slow for.

use ethertab::FrameMeta;
use ethertab::time::Instant;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::pcapng;
use crate::ring::FrameRing;

/// The longest frame that a capture keeps whole, in bytes.
pub const SNAP_LEN: usize = 65_535 + 18;

/// The longest comment, in bytes: a pcapng option's length is 16 bits.
const MAX_COMMENT: usize = 4_096;

/// How much a capture keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Bytes of frames kept; the oldest go first.
    pub max_bytes: usize,
    /// Bytes kept of each frame, at most [`SNAP_LEN`]; 0 counts as 1.
    pub snap_len: usize,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        CaptureConfig { max_bytes: 16 * 1024 * 1024, snap_len: SNAP_LEN }
    }
}

/// Which way a frame went through the port, as seen by what owns the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Into the host, switch or driver.
    In,
    /// Out of it.
    Out,
}

/// What the frames of a source begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// An IPv4 or IPv6 header: LINKTYPE_RAW in the registry of link types.
    Ip,
}

/// A source of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureInterface {
    /// What it is called.
    pub name: String,
    /// What its frames begin with.
    pub link: LinkType,
}

/// One captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Counts all packets that the capture has seen, from 0.
    pub number: u64,
    /// When it passed.
    pub time: Instant,
    /// Index of the port among [`Capture::interfaces`].
    pub interface: u32,
    /// Which way it went.
    pub direction: Direction,
    /// Length of the frame in bytes, also where less was kept.
    pub original_len: u32,
    /// What was kept.
    pub bytes: &'a [u8],
    /// What has been said about it.
    pub comment: Option<&'a str>,
}

#[derive(Clone, Debug)]
struct Entry {
    interface: u32,
    direction: Direction,
    original_len: u32,
    /// Empty if nothing has been said.
    comment: String,
}

/// Frames that passed the watched ports.
#[derive(Clone, Debug)]
pub struct Capture {
    config: CaptureConfig,
    interfaces: Vec<CaptureInterface>,
    frames: FrameRing,
    entries: VecDeque<Entry>,
    /// The number of the oldest packet kept.
    first: u64,
    /// Bytes of all comments.
    comment_bytes: usize,
}

impl Capture {
    /// An empty capture that watches nothing yet.
    pub fn new(config: CaptureConfig) -> Self {
        let snap_len = config.snap_len.clamp(1, SNAP_LEN);
        let max_bytes = config.max_bytes.max(snap_len);
        Capture {
            config: CaptureConfig { max_bytes, snap_len },
            interfaces: Vec::new(),
            frames: FrameRing::new(max_bytes),
            entries: VecDeque::new(),
            first: 0,
            comment_bytes: 0,
        }
    }

    /// Names one more source of frames; the result goes into [`record`](Self::record).
    pub fn add_interface(&mut self, name: &str, link: LinkType) -> u32 {
        self.interfaces.push(CaptureInterface { name: name.into(), link });
        (self.interfaces.len() - 1) as u32
    }

    /// The sources.
    pub fn interfaces(&self) -> &[CaptureInterface] {
        &self.interfaces
    }

    /// Bytes kept of each frame at most.
    pub fn snap_len(&self) -> usize {
        self.config.snap_len
    }

    /// Keeps a frame. Frames of length 0 are ignored.
    pub fn record(&mut self, time: Instant, interface: u32, direction: Direction, frame: &[u8]) {
        if frame.is_empty() {
            return;
        }
        let kept = &frame[..frame.len().min(self.config.snap_len)];
        while !self.frames.push(kept, time, FrameMeta::received(kept.len()), 0) {
            self.forget_oldest();
        }
        let original_len = frame.len() as u32;
        self.entries.push_back(Entry { interface, direction, original_len, comment: String::new() });
    }

    fn forget_oldest(&mut self) {
        self.frames.pop();
        if let Some(entry) = self.entries.pop_front() {
            self.comment_bytes -= entry.comment.len();
        }
        self.first += 1;
    }

    /// Packets seen so far; the next one has this number.
    pub fn seen(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Packets seen that are no longer kept.
    pub fn dropped(&self) -> u64 {
        self.first
    }

    /// The packets still kept from the one with this number on. An observer that has seen packets up to `n` asks for
    /// `since(n + 1)`, and has missed some if the first number that it gets is higher.
    pub fn since(&self, number: u64) -> impl Iterator<Item = Packet<'_>> {
        let skip = number.saturating_sub(self.first);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.entries.len());
        (skip..self.entries.len()).filter_map(|index| {
            let entry = &self.entries[index];
            let (record, bytes) = self.frames.get(index)?;
            let number = self.first + index as u64;
            Some(Packet {
                number,
                time: record.due,
                interface: entry.interface,
                direction: entry.direction,
                original_len: entry.original_len,
                bytes,
                comment: Some(entry.comment.as_str()).filter(|comment| !comment.is_empty()),
            })
        })
    }

    /// All packets kept.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        self.since(self.first)
    }

    /// Adds a line to what is said about a packet. Returns false if the packet is no longer kept, or not yet seen, or if
    /// its comment (4 KiB) or all comments together (a quarter of the capture's bytes) would grow too long.
    pub fn annotate(&mut self, number: u64, text: &str) -> bool {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) else { return false };
        let comment = &mut entry.comment;
        let added = text.len() + usize::from(!comment.is_empty());
        let fits = comment.len() + added <= MAX_COMMENT && self.comment_bytes + added <= self.config.max_bytes / 4;
        if fits {
            if !comment.is_empty() {
                comment.push('\n');
            }
            comment.push_str(text);
            self.comment_bytes += added;
        }
        fits
    }

    /// Forgets all packets; their numbers are not used again.
    pub fn clear(&mut self) {
        self.first = self.seen();
        self.frames.clear();
        self.entries.clear();
        self.comment_bytes = 0;
    }

    /// The packets kept as a pcapng file; see [`pcapng::write`]. Timestamps are counted from `epoch` (since 1970).
    ///
    /// # Errors
    /// Only what the writer of the format reports; writing to memory does not fail otherwise.
    pub fn to_pcapng(&self, epoch: Duration) -> io::Result<Vec<u8>> {
        let source = pcapng::Source {
            interfaces: self.interfaces.iter().map(|CaptureInterface { name, link }| (name.as_str(), *link)),
            snap_len: self.config.snap_len,
            packets: self.packets(),
            dropped: self.dropped(),
        };
        pcapng::write(epoch, source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
    use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;
    use pcap_file::pcapng::{Block, PcapNgReader};

    fn frame(number: u8) -> Vec<u8> {
        vec![number; 100]
    }

    fn capture(max_bytes: usize, packets: u8) -> Capture {
        let mut capture = Capture::new(CaptureConfig { max_bytes, snap_len: 100 });
        let interface = capture.add_interface("a", LinkType::Ethernet);
        for number in 0..packets {
            let time = Instant::from_micros(1_000_000 + u64::from(number));
            capture.record(time, interface, Direction::Out, &frame(number));
        }
        capture
    }

    #[test]
    fn the_newest_packets_are_kept_and_the_others_counted() {
        let capture = capture(1_000, 25);
        assert_eq!(capture.seen(), 25);
        assert_eq!(capture.dropped(), 15);
        let numbers: Vec<u64> = capture.packets().map(|packet| packet.number).collect();
        assert_eq!(numbers, (15..25).collect::<Vec<_>>());
        assert!(capture.packets().all(|packet| packet.bytes == frame(packet.number as u8)));
    }

    #[test]
    fn observers_poll_from_where_they_were() {
        let mut capture = capture(1_000, 5);
        assert_eq!(capture.since(3).count(), 2);
        assert_eq!(capture.since(5).count(), 0);
        assert_eq!(capture.since(u64::MAX).count(), 0);
        capture.clear();
        capture.record(Instant::ZERO, 0, Direction::In, &frame(1));
        assert_eq!(capture.since(0).next().map(|packet| packet.number), Some(5));
    }

    #[test]
    fn long_frames_are_cut_and_say_so() {
        let mut capture = Capture::new(CaptureConfig { max_bytes: 1_000, snap_len: 60 });
        capture.record(Instant::ZERO, 0, Direction::In, &[7; 1_514]);
        capture.record(Instant::ZERO, 0, Direction::In, &[]);
        let packet = capture.packets().next().unwrap();
        assert_eq!((packet.bytes.len(), packet.original_len), (60, 1_514));
        assert_eq!(capture.seen(), 1);
    }

    #[test]
    fn comments_are_bounded_and_go_with_their_packet() {
        let mut capture = capture(1_000, 10);
        assert!(capture.annotate(0, "the first"));
        assert!(capture.annotate(0, "twice"));
        assert!(!capture.annotate(10, "not yet seen"));
        assert!(!capture.annotate(1, &"x".repeat(300)));
        assert_eq!(capture.packets().next().unwrap().comment, Some("the first\ntwice"));
        assert_eq!(capture.packets().nth(1).unwrap().comment, None);
        capture.record(Instant::ZERO, 0, Direction::In, &frame(10));
        assert_eq!(capture.comment_bytes, 0);
    }

    #[test]
    fn the_file_says_what_was_captured() {
        let mut capture = capture(1_000, 12);
        capture.annotate(5, "retransmission");
        let file = capture.to_pcapng(Duration::from_secs(1_700_000_000)).unwrap();
        let mut reader = PcapNgReader::new(&file[..]).unwrap();
        let (mut packets, mut dropped) = (Vec::new(), 0);
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::EnhancedPacket(packet) => packets.push(packet.into_owned()),
                Block::InterfaceStatistics(statistics) => {
                    assert_eq!(statistics.options, [InterfaceStatisticsOption::IsbOsDrop(2)]);
                    dropped += 1;
                }
                _ => {}
            }
        }
        assert_eq!((packets.len(), dropped), (10, 1));
        assert_eq!(packets[0].timestamp, Duration::from_micros(1_700_000_001_000_002));
        assert_eq!(packets[0].data, frame(2));
        let comment = EnhancedPacketOption::Comment("retransmission".into());
        assert_eq!(packets[3].options, [comment, EnhancedPacketOption::Flags(2)]);
    }
}
