//! ethertab: a TCP/IP stack for a browser tab.
//!
//! The stack is *sans-io*: it has no sockets of the operating system, no clock, no randomness and no threads. A driver
//! hands it frames that have arrived, tells it the time, and takes frames to send:
//!
//! ```
//! use ethertab::time::Instant;
//! use ethertab::wire::MacAddr;
//! use ethertab::{Config, Endpoint, FrameMeta, InterfaceConfig, Limits, ListenOptions, Pool, Stack};
//!
//! let mut pool = Pool::new(1_024);
//! let mut stack = Stack::new(Config::new([1, 2]), Limits::small());
//! let now = Instant::from_millis(0);
//! let nic = stack.add_interface(now, InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 0, 1])))?;
//! stack.add_address(now, nic, "10.0.2.2/24".parse()?)?;
//! let listener = stack.listen(Endpoint::any(80), ListenOptions::default())?;
//!
//! # let arrived: Vec<Vec<u8>> = Vec::new();
//! for frame in &arrived {
//!     stack.receive(&mut pool, now, nic, frame, FrameMeta::received(frame.len()));
//! }
//! if stack.next_timeout().is_some_and(|due| due <= now) {
//!     stack.handle_timeout(&mut pool, now);
//! }
//! let mut buf = vec![0; stack.frame_capacity(nic)];
//! while let Some(meta) = stack.transmit(&mut pool, now, nic, &mut buf) {
//!     let frame = &buf[..meta.len]; // to the network
//! #   let _ = frame;
//! }
//! while let Some(event) = stack.poll_event() {
//!     println!("{event:?}"); // a listener has something to accept, a connection data to read, ...
//! }
//! # let _ = listener;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Memory is given at construction and never grows: [`Limits`] fix every table, and everything that grows with
//! traffic lives in blocks of a [`Pool`], which many stacks can share. Without the `alloc` feature the caller lends the
//! memory ([`StackMemory`]). `Stack` and `Pool` are plain data: a clone replays byte for byte.
//!
//! The parts: [`wire`] formats, the [`Stack`] with its interfaces and sockets, TCP in its own (private) module, and the
//! [`services`] that a network needs.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod address;
mod blocks;
pub mod checksum;
mod config;
mod copy;
mod counters;
mod deadlines;
mod error_text;
mod event;
mod hash_index;
mod links;
mod pool;
mod random;
mod record_queue;
pub mod services;
mod slab;
mod stack;
pub mod storage;
mod tcp;
pub mod time;
pub mod trace;
pub mod wire;

pub use address::{Endpoint, ParsePrefixError, Prefix};
pub use config::{Config, InterfaceConfig, KeepAlive, Limits, Medium, MtuProbing, TcpConfig};
pub use counters::{Counters, DropReason};
pub use error_text::{About, ErrorText};
pub use event::{
    ConnectionHandle, Event, FlowHandle, InterfaceId, ListenerHandle, PingHandle, RawHandle, Signals, UdpHandle,
};
pub use pool::{BLOCK_SIZE, Pool};
pub use stack::accept_any::{AnyAddress, FlowError, FlowProtocol, FlowUnreachable, PendingFlowInfo};
pub use stack::addresses::{AddressOptions, AddressOrigin, AddressState, DuplicateDetection, InterfaceAddress};
pub use stack::addressing::{ConfigError, ScopeError};
pub use stack::autoconfiguration::{
    AdvertisedDnsServer, AdvertisedDomain, AdvertisedLink, Autoconfiguration, InterfaceIdentifiers,
};
pub use stack::forward::{Forwarding, ReversePath};
pub use stack::info::ConnectionInfo;
pub use stack::memory::{MemoryTooSmall, StackMemory, TableSizes};
pub use stack::multicast::GroupError;
pub use stack::nat::{NatConfig, NatFiltering, NatFlowInfo, NatProtocol, PortForward, PortForwardError};
pub use stack::neighbor::NeighborState;
pub use stack::ping::{PingError, PingOutcome, PingTarget};
pub use stack::raw::{FramePattern, RawError, RawKind, RawMeta, RawOptions};
pub use stack::router_advertiser::AdvertiseError;
pub use stack::routes::{Route, RouteOrigin, RouterPreference};
pub use stack::source_filter::{MAX_SOURCES, SourceFilter};
pub use stack::udp::{BindError, UdpMeta, UdpSendError};
pub use stack::udp_options::UdpOptions;
pub use stack::{
    ChecksumState, ConnectError, ConnectOptions, ErrorReport, FrameMeta, ListenError, ListenOptions, RecvError,
    SendError, SendFlags, SocketError, Stack, UdpError,
};
pub use tcp::accecn::{AccEcnOption, EcnCounters};
pub use tcp::congestion::{Algorithm, SlowStartExit, UnusedWindow};
pub use tcp::connection::{CloseReason, State};
pub use tcp::cookies::SynCookies;
pub use tcp::ecn::EcnMode;
pub use tcp::fast_open::{FastOpen, FastOpenKeys};
pub use tcp::manner::{FreeBsdKnobs, Manner};
pub use tcp::recovery::CongestionState;

/// A stack's tables, for memory that the caller lends; see [`Tables`](memory::Tables) and [`StackMemory`].
pub mod memory {
    pub use crate::deadlines::Deadline;
    pub use crate::hash_index::Bucket;
    pub use crate::links::Link;
    pub use crate::slab::Slot;
    pub use crate::stack::accept_any::PendingFlow;
    pub use crate::stack::interface::Interface;
    pub use crate::stack::memory::{Tables, buckets, nodes};
    pub use crate::stack::multicast::{Group, Membership};
    pub use crate::stack::nat_table::{NatFlow, NatHost, NatMapping};
    pub use crate::stack::neighbor::Neighbor;
    pub use crate::stack::path_mtus::PathMtu;
    pub use crate::stack::ping::Ping;
    pub use crate::stack::prefix_trie::TrieNode;
    pub use crate::stack::raw::RawSocket;
    pub use crate::stack::reassembly::Reassembly;
    pub use crate::stack::routes::RouteEntry;
    pub use crate::stack::udp::UdpSocket;
    pub use crate::tcp::connection::Connection;
    pub use crate::tcp::listener::{HalfOpen, Listener};
    pub use crate::tcp::time_wait::TimeWait;
}
