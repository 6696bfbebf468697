//! Handles, and the events that tell which of them need attention.

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

use crate::slab::Key;

/// A number of an interface within its stack.
///
/// It has no generation: after [`remove_interface`](crate::Stack::remove_interface) the next interface that is added gets
/// the number again, so whoever removes an interface forgets its number, too. The stack itself does: addresses, routes,
/// neighbours and queued packets go with their interface and never reach its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub u8);

/// A TCP connection of this stack. Never finds another connection once its own is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionHandle(pub(crate) Key);

/// A TCP listener of this stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerHandle(pub(crate) Key);

/// A UDP socket of this stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpHandle(pub(crate) Key);

/// An echo request of this stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PingHandle(pub(crate) Key);

/// A raw socket of this stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawHandle(pub(crate) Key);

/// A flow to an address that is nobody's on this host, about which an application decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowHandle(pub(crate) Key);

fn key_to_bits(key: Key) -> u64 {
    u64::from(key.generation) << 32 | u64::from(key.index)
}

fn key_from_bits(bits: u64) -> Key {
    Key { index: bits as u32, generation: (bits >> 32) as u32 }
}

impl ConnectionHandle {
    /// The handle as a number, for languages without this type.
    pub fn to_bits(self) -> u64 {
        key_to_bits(self.0)
    }

    /// The handle that [`to_bits`](Self::to_bits) gave; any other number is a handle that finds nothing or another connection.
    pub fn from_bits(bits: u64) -> Self {
        ConnectionHandle(key_from_bits(bits))
    }
}

impl ListenerHandle {
    /// The handle as a number, for languages without this type.
    pub fn to_bits(self) -> u64 {
        key_to_bits(self.0)
    }

    /// The handle that [`to_bits`](Self::to_bits) gave.
    pub fn from_bits(bits: u64) -> Self {
        ListenerHandle(key_from_bits(bits))
    }
}

impl UdpHandle {
    /// The handle as a number, for languages without this type.
    pub fn to_bits(self) -> u64 {
        key_to_bits(self.0)
    }

    /// The handle that [`to_bits`](Self::to_bits) gave.
    pub fn from_bits(bits: u64) -> Self {
        UdpHandle(key_from_bits(bits))
    }
}

impl FlowHandle {
    /// The handle as a number, for languages without this type.
    pub fn to_bits(self) -> u64 {
        key_to_bits(self.0)
    }

    /// The handle that [`to_bits`](Self::to_bits) gave.
    pub fn from_bits(bits: u64) -> Self {
        FlowHandle(key_from_bits(bits))
    }
}

impl RawHandle {
    /// The handle as a number, for languages without this type.
    pub fn to_bits(self) -> u64 {
        key_to_bits(self.0)
    }

    /// The handle that [`to_bits`](Self::to_bits) gave.
    pub fn from_bits(bits: u64) -> Self {
        RawHandle(key_from_bits(bits))
    }
}

impl PingHandle {
    /// The handle as a number, for languages without this type.
    pub fn to_bits(self) -> u64 {
        key_to_bits(self.0)
    }

    /// The handle that [`to_bits`](Self::to_bits) gave.
    pub fn from_bits(bits: u64) -> Self {
        PingHandle(key_from_bits(bits))
    }
}

/// What happened at a socket since the last event about it; a set of bits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Signals(u8);

impl Signals {
    /// Nothing.
    pub const NONE: Signals = Signals(0);
    /// The connection is established.
    pub const CONNECTED: Signals = Signals(1);
    /// Data arrived.
    pub const READABLE: Signals = Signals(2);
    /// There is room again after a send took less than it was offered; also on connecting.
    pub const WRITABLE: Signals = Signals(4);
    /// The peer will send no more: read to the end.
    pub const PEER_CLOSED: Signals = Signals(8);
    /// The connection, or the echo request, is over.
    pub const CLOSED: Signals = Signals(16);
    /// A connection waits in the accept queue.
    pub const ACCEPTABLE: Signals = Signals(32);
    /// An error was reported (for UDP: by ICMP); the socket goes on.
    pub const ERROR: Signals = Signals(64);
    /// An interface's addresses have changed, or what routers say of its network.
    pub const CHANGED: Signals = Signals(128);

    const NAMES: [(Signals, &'static str); 8] = [
        (Signals::CONNECTED, "CONNECTED"),
        (Signals::READABLE, "READABLE"),
        (Signals::WRITABLE, "WRITABLE"),
        (Signals::PEER_CLOSED, "PEER_CLOSED"),
        (Signals::CLOSED, "CLOSED"),
        (Signals::ACCEPTABLE, "ACCEPTABLE"),
        (Signals::ERROR, "ERROR"),
        (Signals::CHANGED, "CHANGED"),
    ];

    /// The set as a number.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Signals) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Signals {
    type Output = Signals;
    fn bitor(self, other: Signals) -> Signals {
        Signals(self.0 | other.0)
    }
}

impl BitOrAssign for Signals {
    fn bitor_assign(&mut self, other: Signals) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (signal, name) in Signals::NAMES {
            if self.contains(signal) {
                if !first {
                    f.write_str("|")?;
                }
                f.write_str(name)?;
                first = false;
            }
        }
        if first { f.write_str("NONE") } else { Ok(()) }
    }
}

/// A socket needs attention. Events are edge-triggered; those of one socket merge until they are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A TCP connection.
    Connection(ConnectionHandle, Signals),
    /// A TCP listener.
    Listener(ListenerHandle, Signals),
    /// A UDP socket.
    Udp(UdpHandle, Signals),
    /// An echo request.
    Ping(PingHandle, Signals),
    /// A raw socket.
    Raw(RawHandle, Signals),
    /// A flow waits to be accepted or refused ([`Stack::set_any_address`](crate::Stack::set_any_address)).
    Flow(FlowHandle),
    /// An interface.
    Interface(InterfaceId, Signals),
}
