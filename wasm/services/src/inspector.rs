//! What captures are read with.

use std::time::Duration;

use ethertab::wire::summary::{summarize, summarize_packet};
use ethertab_sim::Packet;
use ethertab_sim::pcapng::{self, Source};
use ethertab_wasm_shared::packets;
use wasm_bindgen::prelude::wasm_bindgen;

/// One line about an Ethernet frame, or an IP packet that has none around it, also about one that was cut.
#[wasm_bindgen]
pub fn frame_summary(frame: &[u8], is_packet: bool) -> String {
    let mut summary = String::new();
    // Writing to a String cannot fail.
    let _ = if is_packet { summarize_packet(frame, &mut summary) } else { summarize(frame, &mut summary) };
    summary
}

/// A pcapng file of the packets that the engine has packed; undefined if they are none. `origin` is the engine's time 0 in
/// microseconds since 1970. `comments` has a line for each packet that has a comment, in their order: its number, a space, the comment.
#[wasm_bindgen]
pub fn pcapng_file(packed: &[u8], origin: f64, comments: &str) -> Option<Vec<u8>> {
    let epoch = Duration::from_micros(origin as u64);
    let Source { interfaces, snap_len, packets, dropped } = packets::unpack(packed)?;
    let mut comments = comments
        .lines()
        .filter_map(|line| {
            let (number, comment) = line.split_once(' ')?;
            Some((number.parse::<u64>().ok()?, comment))
        })
        .peekable();
    let packets = packets.map(|packet| {
        let comment = comments.next_if(|(number, _)| *number == packet.number).map(|(_, comment)| comment);
        Packet { comment, ..packet }
    });
    pcapng::write(epoch, Source { interfaces, snap_len, packets, dropped }).ok()
}
