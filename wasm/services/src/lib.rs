//! What works on bytes alone and touches no network: the DHCP and DNS servers of core and the HTTP/1.1 head parser, for the npm
//! package's gateway, which owns the sockets and carries the messages; DHCP clients, multicast DNS and the resolver of a stack; and what captures
//! are read with.
//!
//! This is a WebAssembly module of its own beside the engine's, since many pages need none of it. Each gateway, and each stack
//! that looks for names or addresses, has an instance, with at most one server of a kind in it, so that functions are enough.
//!
//! As in the engine, what is more than one value goes out as [`Rows`](ethertab_wasm_shared::Rows), times are microseconds
//! as floating-point numbers, and a failing call throws: a `RangeError` for a value that cannot be, a `SyntaxError` for
//! HTTP that is none.

pub mod dhcp;
pub mod dhcp_client;
pub mod dhcpv6;
pub mod dhcpv6_client;
pub mod dns;
pub mod eyeballs;
mod hex;
pub mod http;
pub mod inspector;
mod instance;
mod lists;
pub mod mdns;
pub mod records;
mod refused;
pub mod resolver;
pub mod router;
pub mod time;
