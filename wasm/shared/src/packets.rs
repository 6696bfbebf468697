//! The packets of a capture on their way from the engine's memory to that of the services, which make a file of them.
//!
//! All numbers are little-endian: `snap_len` u32, packets dropped u64, the number of ports u32; for each port the length of its
//! name twice and one more if its frames are IP packets u32, and the name; then for each packet the time in microseconds u64, the port twice and one more if the frame came
//! out of it u32, the frame's length u32, the length kept u32 and what was kept.

use ethertab::time::Instant;
use ethertab_sim::pcapng::Source;
use ethertab_sim::{Capture, CaptureInterface, Direction, LinkType, Packet};

/// The packets that a capture has kept.
pub fn pack(capture: &Capture) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut put = |bytes: &[u8]| packed.extend_from_slice(bytes);
    put(&(capture.snap_len() as u32).to_le_bytes());
    put(&capture.dropped().to_le_bytes());
    put(&(capture.interfaces().len() as u32).to_le_bytes());
    for CaptureInterface { name, link } in capture.interfaces() {
        put(&((name.len() as u32) << 1 | u32::from(*link == LinkType::Ip)).to_le_bytes());
        put(name.as_bytes());
    }
    for packet in capture.packets() {
        put(&packet.time.as_micros().to_le_bytes());
        put(&(packet.interface << 1 | u32::from(packet.direction == Direction::Out)).to_le_bytes());
        put(&packet.original_len.to_le_bytes());
        put(&(packet.bytes.len() as u32).to_le_bytes());
        put(packet.bytes);
    }
    packed
}

/// What [`pack`] has packed; None if `packed` is nothing of that kind. Packets end where one is not whole.
pub fn unpack(
    packed: &[u8],
) -> Option<Source<impl Iterator<Item = (&str, LinkType)>, impl Iterator<Item = Packet<'_>>>> {
    let mut rest = packed;
    let snap_len = word(&mut rest)? as usize;
    let dropped = long(&mut rest)?;
    let mut interfaces = Vec::new();
    for _ in 0..word(&mut rest)? {
        let port = word(&mut rest)?;
        let link = if port & 1 == 0 { LinkType::Ethernet } else { LinkType::Ip };
        interfaces.push((str::from_utf8(take(&mut rest, (port >> 1) as usize)?).ok()?, link));
    }
    let packets = (dropped..).map_while(move |number| packet(&mut rest, number));
    Some(Source { interfaces: interfaces.into_iter(), snap_len, packets, dropped })
}

fn packet<'a>(rest: &mut &'a [u8], number: u64) -> Option<Packet<'a>> {
    let time = Instant::from_micros(long(rest)?);
    let port = word(rest)?;
    let original_len = word(rest)?;
    let kept = word(rest)? as usize;
    Some(Packet {
        number,
        time,
        interface: port >> 1,
        direction: if port & 1 == 0 { Direction::In } else { Direction::Out },
        original_len,
        bytes: take(rest, kept)?,
        comment: None,
    })
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    rest.split_off(..4)?.try_into().ok().map(u32::from_le_bytes)
}

fn long(rest: &mut &[u8]) -> Option<u64> {
    rest.split_off(..8)?.try_into().ok().map(u64::from_le_bytes)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    rest.split_off(..len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ethertab_sim::{CaptureConfig, pcapng};
    use std::time::Duration;

    #[test]
    fn what_was_packed_makes_the_same_file() {
        let mut capture = Capture::new(CaptureConfig { max_bytes: 300, snap_len: 60 });
        for (name, link, direction) in [("a", LinkType::Ethernet, Direction::In), ("bee", LinkType::Ip, Direction::Out)]
        {
            let interface = capture.add_interface(name, link);
            for i in 0..4 {
                capture.record(Instant::from_micros(1_000_000 + i), interface, direction, &[i as u8; 100]);
            }
        }
        assert!(capture.dropped() > 0);
        let packed = pack(&capture);
        let epoch = Duration::from_secs(1_700_000_000);
        let file = pcapng::write(epoch, unpack(&packed).unwrap()).unwrap();
        assert_eq!(file, capture.to_pcapng(epoch).unwrap());
        for end in 0..packed.len() {
            if let Some(source) = unpack(&packed[..end]) {
                assert!(source.packets.count() < capture.packets().count());
            }
        }
    }
}
