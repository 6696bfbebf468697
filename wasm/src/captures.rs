//! Captures.

use ethertab::time::Instant;
use ethertab_sim::{CaptureConfig, Direction, LinkType};
use ethertab_wasm_shared::packets;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::{Engine, attempt, enter, tell};

/// Adds a capture that keeps up to `max_bytes` of frames, `snap_len` bytes of each.
#[wasm_bindgen]
pub fn add_capture(max_bytes: u32, snap_len: u32) -> u32 {
    let config = CaptureConfig { max_bytes: max_bytes as usize, snap_len: snap_len as usize };
    enter(|engine| {
        let capture = engine.network.add_capture(config);
        engine.captures.insert(capture.to_bits())
    })
}

/// Lets a capture see what passes a port.
#[wasm_bindgen]
pub fn watch(capture: u32, port: u32) -> i32 {
    attempt(|engine, _| {
        engine.network.watch(engine.capture(capture), engine.port(port))?;
        Ok(0)
    })
}

/// Lets a capture see a port no more; nothing happens if either is gone.
#[wasm_bindgen]
pub fn unwatch(capture: u32, port: u32) {
    enter(|engine| engine.network.unwatch(engine.capture(capture), engine.port(port)));
}

/// Frames seen so far, kept or not.
#[wasm_bindgen]
pub fn capture_seen(capture: u32) -> f64 {
    enter(|engine| found(engine, capture).map_or(0, ethertab_sim::Capture::seen) as f64)
}

/// Frames that had to go.
#[wasm_bindgen]
pub fn capture_dropped(capture: u32) -> f64 {
    enter(|engine| found(engine, capture).map_or(0, ethertab_sim::Capture::dropped) as f64)
}

/// The first kept frame whose number is `from` or more, with its bytes in the scratch buffer: `CAPTURED` of the package's names. Tells nothing if
/// there is none.
#[wasm_bindgen]
pub fn capture_frame(capture: u32, from: f64) -> i32 {
    tell(|engine, told| {
        let Some(capture) = engine.network.capture(engine.capture(capture)) else { return Ok(()) };
        let Some(packet) = capture.since(from as u64).next() else { return Ok(()) };
        let kept = packet.bytes.len().min(engine.scratch.len());
        engine.scratch[..kept].copy_from_slice(&packet.bytes[..kept]);
        let port = capture.interfaces().get(packet.interface as usize);
        told.long(packet.number);
        told.long(packet.time.since(Instant::ZERO).as_micros());
        told.bytes(port.map_or(&[], |port| port.name.as_bytes()));
        told.number(packet.direction == Direction::Out);
        told.number(packet.original_len);
        told.long(kept as u64);
        told.number(port.is_some_and(|port| port.link == LinkType::Ip));
        Ok(())
    })
}

/// All kept frames, packed for the services to make a file of; nothing if the capture is gone.
#[wasm_bindgen]
pub fn capture_packets(capture: u32) -> Vec<u8> {
    enter(|engine| found(engine, capture).map(packets::pack).unwrap_or_default())
}

/// Ends a capture and frees what it kept.
#[wasm_bindgen]
pub fn remove_capture(capture: u32) {
    enter(|engine| {
        engine.network.remove_capture(engine.capture(capture));
    });
}

fn found(engine: &Engine, capture: u32) -> Option<&ethertab_sim::Capture> {
    engine.network.capture(engine.capture(capture))
}
