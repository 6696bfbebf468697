//! The benchmark programs, written once and run over every stack.
//!
//! A stack takes part by implementing [`Host`]; [`Pair`] joins two of them by a cable and runs the
//! programs: a bulk transfer, round trips, and opening and closing connections. So both sides of a
//! comparison make the same calls in the same order, with the same application copies, and every
//! byte that arrives is compared with the byte that was sent.
//!
//! The programs run in one thread on a virtual clock. A round is 10 µs long: each host takes the
//! frames that have arrived, then its application runs, then it sends. When a round moves nothing,
//! the clock jumps to the next deadline of either host.

mod allocator;
mod cable;
mod host;
mod pair;
mod pattern;
mod reference;

pub use allocator::CountingAllocator;
pub use cable::{Cable, FRAME_BYTES, QUEUE_FRAMES};
pub use host::{Host, Side};
pub use pair::Pair;
pub use pattern::{CHUNK_BYTES, Pattern};
pub use reference::Reference;

/// TCP payload of a full segment: MTU 1500 less the IPv4 and TCP headers.
pub const SEGMENT_BYTES: usize = 1460;

/// Why a program gave up. The number is what the WebAssembly export returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Failure {
    /// A byte arrived that is not the byte that was sent.
    WrongBytes = 1,
    /// Nothing moves any more and neither host has a deadline.
    Stalled = 2,
    /// The stack refused a call: out of sockets, ports or memory.
    Refused = 3,
    /// A program was called before `setup`.
    NotSetUp = 4,
}

/// The exports' return value: 0 for success, else the number of the [`Failure`].
pub fn status(result: Result<(), Failure>) -> u32 {
    match result {
        Ok(()) => 0,
        Err(failure) => failure as u32,
    }
}
