//! The engine of the npm package: a [`Network`](ethertab_sim::Network) of stacks, switches and cables behind a flat interface of numbers.
//!
//! Nothing here knows a protocol. What JavaScript refers to (hosts, ports, sockets, ...) has a number of 32 bits, since handles
//! of 64 bits would be `BigInt`s there. Payload and frames cross in three buffers that live as long as the engine, at
//! addresses that JavaScript asks for once:
//!
//! - **scratch**: the bytes of one call: what `send` takes, what `recv` gives;
//! - **ingress**: frames that external ports bring in, a batch after the other: port, length of the batch, frames;
//! - **egress**: frames that leave by an external port. In both, a frame is its length in 32 bits, then its bytes, then
//!   padding to a multiple of four.
//!
//! Times are microseconds as floating-point numbers, exact for 285 years. A failing call throws an `Error` whose `code` says
//! why (`EINVAL` for an argument that makes no sense).

mod captures;
mod describe;
mod failure;
mod hosts;
mod http;
mod network;
mod options;
mod registry;
mod services;
mod tcp;
mod topology;
mod udp;

pub use http::{parse_chunk_size, parse_request_head, parse_response_head};
pub use network::Network;
pub use services::{DhcpService, DnsService};

use wasm_bindgen::prelude::wasm_bindgen;

/// Runs once when the module is instantiated: a panic is printed before it becomes a trap.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}
