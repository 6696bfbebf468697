//! Captures.

use ethertab::time::Instant;
use ethertab_sim::{CaptureConfig, Direction, NetworkError};
use serde::Serialize;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::describe::ToJs;
use crate::failure::Failure;
use crate::network::Network;

/// A frame that a capture saw; its bytes are in the scratch buffer.
#[derive(Debug, Serialize)]
struct Seen<'a> {
    index: f64,
    time: f64,
    port: &'a str,
    direction: &'static str,
    length: u32,
    kept: u32,
    summary: String,
}

#[wasm_bindgen]
impl Network {
    /// Adds a capture that keeps up to `max_bytes` of frames, `snap_len` bytes of each.
    pub fn add_capture(&mut self, max_bytes: u32, snap_len: u32) -> u32 {
        let config = CaptureConfig { max_bytes: max_bytes as usize, snap_len: snap_len as usize };
        let capture = self.inner.add_capture(config);
        self.captures.insert(capture)
    }

    /// Lets a capture see what passes a port.
    pub fn watch(&mut self, capture: u32, port: u32) -> Result<(), Failure> {
        Ok(self.inner.watch(self.captures.get(capture)?, self.ports.get(port)?)?)
    }

    /// Lets a capture see a port no more; nothing happens if either is gone.
    pub fn unwatch(&mut self, capture: u32, port: u32) {
        if let (Ok(capture), Ok(port)) = (self.captures.get(capture), self.ports.get(port)) {
            self.inner.unwatch(capture, port);
        }
    }

    /// Frames seen so far, kept or not.
    pub fn capture_seen(&self, capture: u32) -> Result<f64, Failure> {
        Ok(self.capture(capture)?.seen() as f64)
    }

    /// Frames that had to go.
    pub fn capture_dropped(&self, capture: u32) -> Result<f64, Failure> {
        Ok(self.capture(capture)?.dropped() as f64)
    }

    /// The first kept frame whose number is `from` or more: an object, with the bytes in the scratch buffer.
    pub fn capture_frame(&mut self, capture: u32, from: f64) -> Result<JsValue, Failure> {
        let id = self.captures.get(capture)?;
        let found = self.inner.capture(id).ok_or(NetworkError::NotFound)?;
        let Some(packet) = found.since(from as u64).next() else { return Ok(JsValue::UNDEFINED) };
        let kept = packet.bytes.len().min(self.scratch.len());
        self.scratch[..kept].copy_from_slice(&packet.bytes[..kept]);
        let mut summary = String::new();
        // Writing to a String cannot fail.
        let _ = ethertab::wire::summary::summarize(packet.bytes, &mut summary);
        let seen = Seen {
            index: packet.number as f64,
            time: packet.time.since(Instant::ZERO).as_micros() as f64,
            port: found.interfaces().get(packet.interface as usize).map_or("", String::as_str),
            direction: match packet.direction {
                Direction::In => "in",
                Direction::Out => "out",
            },
            length: packet.original_len,
            kept: kept as u32,
            summary,
        };
        seen.to_js()
    }

    /// All kept frames as a pcapng file. `origin` is the engine's time 0 in microseconds since 1970.
    pub fn capture_file(&self, capture: u32, origin: f64) -> Result<Vec<u8>, Failure> {
        let epoch = std::time::Duration::from_micros(origin as u64);
        self.capture(capture)?.to_pcapng(epoch).map_err(Failure::invalid)
    }

    /// Ends a capture and frees what it kept.
    pub fn remove_capture(&mut self, capture: u32) {
        if let Some(capture) = self.captures.remove(capture) {
            self.inner.remove_capture(capture);
        }
    }
}

impl Network {
    fn capture(&self, capture: u32) -> Result<&ethertab_sim::Capture, Failure> {
        let id = self.captures.get(capture)?;
        Ok(self.inner.capture(id).ok_or(NetworkError::NotFound)?)
    }
}
