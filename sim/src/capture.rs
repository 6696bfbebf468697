//! A capture watches ports and keeps what passes, for pcapng and for observers.
//!
//! It holds the newest frames up to a bound in bytes and counts those that had to go. Observers poll: each keeps the number
//! of the next packet that it wants, and sees from the numbers what it was too slow for. The file format is written by
//! `pcap-file`, the crate that writes pcapng with interface blocks, directions and comments from plain structs.

use byteorder::LittleEndian;
use ethertab::FrameMeta;
use ethertab::time::Instant;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::blocks::{
    ENHANCED_PACKET_BLOCK, INTERFACE_DESCRIPTION_BLOCK, INTERFACE_STATISTIC_BLOCK, SECTION_HEADER_BLOCK,
};
use pcap_file::pcapng::{PcapNgBlock, RawBlock};
use pcap_file::{DataLink, Endianness};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::ring::FrameRing;

/// The longest frame that a capture keeps whole, in bytes.
pub const SNAP_LEN: usize = 65_535 + 18;

/// The longest comment, in bytes: a pcapng option's length is 16 bits.
const MAX_COMMENT: usize = 4_096;

/// Bytes of a block around its body: its type, and its length twice.
const BLOCK_OVERHEAD: u32 = 12;

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

/// One captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Counts all packets that the capture has seen, from 0.
    pub number: u64,
    /// When it passed.
    pub time: Instant,
    /// Index of the port's name among [`Capture::interfaces`].
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
    interfaces: Vec<String>,
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
    pub fn add_interface(&mut self, name: &str) -> u32 {
        self.interfaces.push(name.into());
        (self.interfaces.len() - 1) as u32
    }

    /// The names of the sources.
    pub fn interfaces(&self) -> &[String] {
        &self.interfaces
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

    /// The packets kept as a pcapng file: one interface block a port, timestamps counted from `epoch` (since 1970), the
    /// direction and the comments as options, and at the end how many packets are missing.
    ///
    /// # Errors
    /// Only what the writer of the format reports; writing to memory does not fail otherwise.
    pub fn to_pcapng(&self, epoch: Duration) -> io::Result<Vec<u8>> {
        let application = Cow::Borrowed(concat!("ethertab ", env!("CARGO_PKG_VERSION")));
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication(application)],
            ..SectionHeaderBlock::default()
        };
        let mut file = Buffer(Vec::new());
        write_block(&mut file, SECTION_HEADER_BLOCK, &section)?;
        for name in &self.interfaces {
            let description = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: self.config.snap_len as u32,
                // The crate writes timestamps in nanoseconds, so the interface must say so: 10^-9 s.
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                    InterfaceDescriptionOption::IfTsResol(9),
                ],
            };
            write_block(&mut file, INTERFACE_DESCRIPTION_BLOCK, &description)?;
        }
        for packet in self.packets() {
            // The two lowest bits of the flags word are the direction.
            let flags = match packet.direction {
                Direction::In => 1,
                Direction::Out => 2,
            };
            let comment = packet.comment.map(|comment| EnhancedPacketOption::Comment(Cow::Borrowed(comment)));
            let packet = EnhancedPacketBlock {
                interface_id: packet.interface,
                timestamp: epoch + Duration::from_micros(packet.time.as_micros()),
                original_len: packet.original_len,
                data: Cow::Borrowed(packet.bytes),
                options: comment.into_iter().chain([EnhancedPacketOption::Flags(flags)]).collect(),
            };
            write_block(&mut file, ENHANCED_PACKET_BLOCK, &packet)?;
        }
        if self.dropped() > 0 && !self.interfaces.is_empty() {
            let statistics = InterfaceStatisticsBlock {
                interface_id: 0,
                timestamp: 0,
                options: vec![InterfaceStatisticsOption::IsbOsDrop(self.dropped())],
            };
            write_block(&mut file, INTERFACE_STATISTIC_BLOCK, &statistics)?;
        }
        Ok(file.0)
    }
}

/// Appends a block. The crate's `PcapNgWriter` would do the same, and bring the code of every type of block in both byte
/// orders into the engine.
fn write_block<'a>(file: &mut Buffer, type_: u32, block: &impl PcapNgBlock<'a>) -> io::Result<()> {
    let mut body = Buffer(Vec::new());
    block.write_to::<LittleEndian, _>(&mut body)?;
    append(file, type_, body.0)
}

/// Appends a block with this body.
fn append(file: &mut Buffer, type_: u32, mut body: Vec<u8>) -> io::Result<()> {
    body.resize(body.len().next_multiple_of(4), 0);
    let len = BLOCK_OVERHEAD + body.len() as u32;
    RawBlock { type_, initial_len: len, body: Cow::Owned(body), trailer_len: len }.write_to::<LittleEndian, _>(file)?;
    Ok(())
}

/// What the crate writes to. It writes field by field, and each field is a call instead of a vector that grows.
struct Buffer(Vec<u8>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline(never)]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcapng::{Block, PcapNgReader};

    fn frame(number: u8) -> Vec<u8> {
        vec![number; 100]
    }

    fn capture(max_bytes: usize, packets: u8) -> Capture {
        let mut capture = Capture::new(CaptureConfig { max_bytes, snap_len: 100 });
        let interface = capture.add_interface("a");
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
