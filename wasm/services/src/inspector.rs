//! What captures are read with.

use std::time::Duration;

use ethertab::wire::summary::{summarize, summarize_packet};
use ethertab_sim::pcapng;
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
/// microseconds since 1970.
#[wasm_bindgen]
pub fn pcapng_file(packed: &[u8], origin: f64) -> Option<Vec<u8>> {
    let epoch = Duration::from_micros(origin as u64);
    pcapng::write(epoch, packets::unpack(packed)?).ok()
}
