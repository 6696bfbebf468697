//! TLS for the npm package: rustls over bytes, for both ends of a connection, and a certificate authority that makes certificates for
//! any name.
//!
//! This is a WebAssembly module of its own beside the engine's, several times its size, which is loaded when something
//! first speaks TLS. It touches no network: what came from the peer is put into a scratch buffer and handed in ([`connection::receive`]), what is to be
//! sent comes out there ([`connection::output`]), and the application's bytes go the same ways ([`connection::write`] and
//! [`connection::read`]). One instance serves all
//! connections of a realm.
//!
//! Times are milliseconds since 1970 as floating-point numbers, and an argument of each call that looks at them: whoever lives in virtual time
//! has certificates that expire in it. Randomness is the platform's. A failing call throws an `Error` with a `code`.

pub mod authority;
pub mod config;
pub mod connection;
mod der;
pub mod failure;
pub mod key_log;
pub mod state;
mod verifier;
