//! Why calls about TCP fail.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::addressing::ScopeError;
use crate::address::Endpoint;
use crate::error_text::{ErrorText, errors_with_text};
use crate::tcp::connection::CloseReason;

/// Why a connection could not be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no route to the address.
    NoRoute(IpAddr),
    /// The remote address is link-local, and which link is meant cannot be told.
    Scope(ScopeError),
    /// The remote address or port cannot be connected to: a group, port 0, or our own address without a loopback interface.
    BadAddress(SocketAddr),
    /// The local address is not one of ours.
    AddressNotAvailable(IpAddr),
    /// A connection between the same two ends exists.
    AddressInUse(SocketAddr),
    /// All ephemeral ports to this remote end are taken.
    PortsExhausted,
    /// As many connections exist as the limit allows.
    TooManyConnections,
}

impl ConnectError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            ConnectError::NoRoute(address) => ErrorText::address("no route to {}", address),
            ConnectError::Scope(error) => error.text(),
            ConnectError::BadAddress(address) => {
                ErrorText::endpoint("cannot connect to {}: a group, or our own without a loopback interface", address)
            }
            ConnectError::AddressNotAvailable(address) => {
                ErrorText::address("{} is not an address of this host", address)
            }
            ConnectError::AddressInUse(address) => ErrorText::endpoint("{} is in use towards the same peer", address),
            ConnectError::PortsExhausted => ErrorText::plain("all ephemeral ports are in use"),
            ConnectError::TooManyConnections => ErrorText::plain("the limit on connections is reached"),
        }
    }
}

errors_with_text!(ConnectError);

/// Why a listener could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenError {
    /// Another listener has the address and port.
    AddressInUse(Endpoint),
    /// The address is not one of ours.
    AddressNotAvailable(IpAddr),
    /// All ephemeral ports are taken.
    PortsExhausted,
    /// As many listeners exist as the limit allows.
    TooManyListeners,
}

impl ListenError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            ListenError::AddressInUse(endpoint) => endpoint.in_use(),
            ListenError::AddressNotAvailable(address) => {
                ErrorText::address("{} is not an address of this host", address)
            }
            ListenError::PortsExhausted => ErrorText::plain("all ephemeral ports are in use"),
            ListenError::TooManyListeners => ErrorText::plain("the limit on listeners is reached"),
        }
    }
}

errors_with_text!(ListenError);

/// Why data could not be queued for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The handle's connection was closed by its user.
    NotFound,
    /// The sending side was shut down.
    Shutdown,
    /// The connection is over.
    Closed(CloseReason),
}

/// Why nothing was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The handle's connection was closed by its user.
    NotFound,
    /// Nothing has come yet.
    WouldBlock,
    /// The connection is over, and all that had come was read.
    Closed(CloseReason),
}

/// Why a call about a socket failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketError {
    /// The handle's socket was closed by its user.
    NotFound,
    /// The connection is over.
    Closed(CloseReason),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::NotFound => f.write_str("the connection was closed"),
            SendError::Shutdown => f.write_str("the sending side was shut down"),
            SendError::Closed(reason) => reason.fmt(f),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::NotFound => f.write_str("the connection was closed"),
            RecvError::WouldBlock => f.write_str("nothing has been received yet"),
            RecvError::Closed(reason) => reason.fmt(f),
        }
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketError::NotFound => f.write_str("the socket was closed"),
            SocketError::Closed(reason) => reason.fmt(f),
        }
    }
}

impl core::error::Error for SendError {}
impl core::error::Error for RecvError {}
impl core::error::Error for SocketError {}
