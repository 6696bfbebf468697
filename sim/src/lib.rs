//! Simulated networks for [`ethertab`]: cables that lose, delay and reorder, learning switches, captures in pcapng, and a
//! [`World`] of hosts under one virtual clock and one seed.
//!
//! Start at [`World`] to test network code in virtual time, and at [`Network`] to move frames in real time; a world is a
//! network with a clock. Nothing in this crate asks the operating system for time, randomness or anything else, so that
//! every run replays from its seed, on every machine, in a browser too.
#![forbid(unsafe_code)]

pub mod apps;
pub mod cable;
pub mod capture;
pub mod impairment;
pub mod middlebox;
pub mod mutate;
pub mod network;
pub mod packet;
#[cfg(not(target_family = "wasm"))]
pub mod packetdrill;
pub mod pcapng;
mod random;
mod ring;
mod schedule;
mod slots;
pub mod switch;
pub mod world;

pub use cable::{Cable, Lane, LaneCounters, Side};
pub use capture::{Capture, CaptureConfig, CaptureInterface, Direction, LinkType, Packet};
pub use impairment::{BurstLoss, Impairment, ImpairmentError, Queue};
pub use middlebox::{Middlebox, MiddleboxConfig};
pub use mutate::Mutator;
pub use network::{CableId, CaptureId, HostId, Network, NetworkError, PortId, Socket, SwitchId};
pub use switch::{Switch, SwitchConfig};
pub use world::World;
