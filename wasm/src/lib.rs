//! The engine of the npm package: a [`Network`](ethertab_sim::Network) of stacks, switches and cables behind functions of
//! numbers; only the names of hosts and ports are texts.
//!
//! Nothing here knows a protocol. There is one engine in each WebAssembly instance, made by [`create`](engine::create), so that
//! functions are enough and nothing has to be freed. What JavaScript refers to (hosts, ports, sockets, ...) has a number of
//! 32 bits, since handles of 64 bits would be `BigInt`s there. Payload and frames cross in three buffers that live as
//! long as the engine, at addresses that `create` tells:
//!
//! - **scratch**: the bytes of one call: what `send` takes, what `recv` gives;
//! - **ingress**: frames that external ports bring in, a batch after the other: port, length of the batch, frames;
//! - **egress**: frames that leave by an external port. In both, a frame is its length in 32 bits, then its bytes, then
//!   padding to a multiple of four.
//!
//! What is more than a few numbers is given and told as numbers in memory ([`numbers`]). Times are microseconds as floating-point numbers,
//! exact for 285 years. A call that fails returns a number that says so, and tells a code and a sentence ([`failure`]; `EINVAL` for an
//! argument that makes no sense).
//!
//! What only a gateway needs is a module of its own, the crate `ethertab-services`.

pub mod captures;
pub mod engine;
pub mod failure;
pub mod flows;
pub mod hosts;
pub mod info;
#[cfg(test)]
mod names;
pub mod numbers;
pub mod options;
pub mod routing;
pub mod settings;
mod sockets;
pub mod tcp;
pub mod topology;
pub mod trace;
pub mod udp;
