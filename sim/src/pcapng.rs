//! The file format pcapng, written by `pcap-file`, the crate that writes interface blocks, directions and comments from plain
//! structs.

use byteorder::LittleEndian;
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
use std::io;
use std::time::Duration;

use crate::capture::{Direction, LinkType, Packet};

/// Bytes of a block around its body: its type, and its length twice.
const BLOCK_OVERHEAD: u32 = 12;

/// What a file is made of.
#[derive(Clone, Debug)]
pub struct Source<I, P> {
    /// The names of the ports and what their frames begin with, which [`Packet::interface`] counts.
    pub interfaces: I,
    /// Bytes kept of each frame at most.
    pub snap_len: usize,
    /// The packets.
    pub packets: P,
    /// Packets that are missing.
    pub dropped: u64,
}

/// Makes a file: one interface block a port, timestamps counted from `epoch` (since 1970), the
/// direction and the comments as options, and at the end how many packets are missing.
///
/// # Errors
/// Only what the writer of the format reports; writing to memory does not fail otherwise.
pub fn write<'a>(
    epoch: Duration,
    source: Source<impl Iterator<Item = (&'a str, LinkType)>, impl Iterator<Item = Packet<'a>>>,
) -> io::Result<Vec<u8>> {
    let application = Cow::Borrowed(concat!("ethertab ", env!("CARGO_PKG_VERSION")));
    let section = SectionHeaderBlock {
        endianness: Endianness::Little,
        options: vec![SectionHeaderOption::UserApplication(application)],
        ..SectionHeaderBlock::default()
    };
    let mut file = Buffer(Vec::new());
    write_block(&mut file, SECTION_HEADER_BLOCK, &section)?;
    let mut interfaces = 0;
    for (name, link) in source.interfaces {
        interfaces += 1;
        let description = InterfaceDescriptionBlock {
            linktype: match link {
                LinkType::Ethernet => DataLink::ETHERNET,
                LinkType::Ip => DataLink::RAW,
            },
            snaplen: source.snap_len as u32,
            // The crate writes timestamps in nanoseconds, so the interface must say so: 10^-9 s.
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        };
        write_block(&mut file, INTERFACE_DESCRIPTION_BLOCK, &description)?;
    }
    for packet in source.packets {
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
    if source.dropped > 0 && interfaces > 0 {
        let statistics = InterfaceStatisticsBlock {
            interface_id: 0,
            timestamp: 0,
            options: vec![InterfaceStatisticsOption::IsbOsDrop(source.dropped)],
        };
        write_block(&mut file, INTERFACE_STATISTIC_BLOCK, &statistics)?;
    }
    Ok(file.0)
}

/// Appends a block. The crate's `PcapNgWriter` would do the same, and bring the code of every type of block in both byte
/// orders into a WebAssembly module.
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
