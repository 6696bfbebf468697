//! What the WebAssembly modules of the npm package have in common: the allocator, what happens at a panic, and how values
//! cross between JavaScript and Rust.
//!
//! Each module is linked with a copy of its own, so this is about source only.

pub mod packets;
mod rows;

use ethertab::time::Instant;
use ethertab::wire::MacAddr;
pub use rows::Rows;
use wasm_bindgen::prelude::wasm_bindgen;

/// The modules allocate when something is added to them, hardly ever while frames move: small code counts.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn error(text: &str);
}

/// Runs once when a module is instantiated: a panic is printed before it becomes a trap, whose error has the stack.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
}

/// A time from its microseconds.
pub fn instant(micros: f64) -> Instant {
    Instant::from_micros(micros as u64)
}

/// A MAC address from its number of 48 bits.
pub fn mac(number: f64) -> MacAddr {
    let [_, _, octets @ ..] = (number as u64).to_be_bytes();
    MacAddr(octets)
}
