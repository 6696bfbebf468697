//! What works on bytes alone and touches no network: the DHCP and DNS servers of core and the HTTP/1.1 head parser, for the npm
//! package's gateway, which owns the sockets and carries the messages; and what its captures are read with.
//!
//! This is a WebAssembly module of its own beside the engine's, since only a page with a gateway or a capture needs it. Each
//! gateway has an instance, with at most one server of a kind in it, so that functions are enough and nothing has to be freed.
//!
//! As in the engine, what is more than one value goes out as [`Rows`](ethertab_wasm_shared::Rows), times are microseconds
//! as floating-point numbers, and a failing call throws: a `RangeError` for a value that cannot be, a `SyntaxError` for
//! HTTP that is none.

pub mod dhcp;
pub mod dns;
pub mod http;
pub mod inspector;
mod instance;
mod refused;
