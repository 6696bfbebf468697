//! The time of day for guests.

use ethertab::services::ntp::{NtpServerConfig, ntp_answer};
use wasm_bindgen::prelude::wasm_bindgen;

/// Answers a message that came to port 123 at this many milliseconds since 1970; undefined if it is no client's question.
#[wasm_bindgen]
pub fn answer_time(message: &[u8], unix_millis: f64) -> Option<Box<[u8]>> {
    let micros = (unix_millis.max(0.0) * 1_000.0) as u64;
    ntp_answer(&NtpServerConfig::default(), message, micros, micros).map(Box::from)
}
