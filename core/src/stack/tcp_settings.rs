//! The settings of open connections and of listeners: read, changed as a whole, and in force from then on.

use super::Stack;
use super::nodes::Node;
use super::tcp_errors::SocketError;
use super::tcp_sockets::{held, held_mut};
use crate::config::TcpConfig;
use crate::event::{ConnectionHandle, ListenerHandle, Signals};
use crate::time::Instant;

impl Stack<'_> {
    /// A connection's settings.
    pub fn connection_config(&self, handle: ConnectionHandle) -> Option<TcpConfig> {
        held(&self.connections, handle).map(|connection| connection.config)
    }

    /// Changes a connection's settings, to begin with those of [`connection_config`](Self::connection_config). What a setting asks
    /// for is done at once: what Nagle's algorithm or `cork` held back is sent, timers begin, buffers get their sizes. What
    /// the SYNs have agreed on stays as it is.
    pub fn set_connection_config(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        config: &TcpConfig,
    ) -> Result<(), SocketError> {
        self.advance_clock(now);
        let connection = held_mut(&mut self.connections, handle).ok_or(SocketError::NotFound)?;
        let had_enough = connection.has_enough_to_read();
        connection.reconfigure(self.now, config);
        if connection.receive.readable() > 0 && connection.has_enough_to_read() && !had_enough {
            connection.signals |= Signals::READABLE;
            self.notify(Node::Connection(handle.0.index));
        }
        self.settings_changed(handle);
        Ok(())
    }

    /// Turns Nagle's algorithm off or on. Off, what is queued is sent, whatever holds it back.
    pub fn set_nodelay(&mut self, handle: ConnectionHandle, nodelay: bool) -> Result<(), SocketError> {
        let connection = held_mut(&mut self.connections, handle).ok_or(SocketError::NotFound)?;
        connection.config.nagle = !nodelay;
        if nodelay {
            connection.push();
            self.settings_changed(handle);
        }
        Ok(())
    }

    /// Linux's `TCP_QUICKACK`: whether ACKs are sent at once for a while, or wait for data that goes the other way. Not for good: what
    /// is sent and received decides anew.
    pub fn set_quick_ack(&mut self, handle: ConnectionHandle, quick: bool) -> Result<(), SocketError> {
        let connection = held_mut(&mut self.connections, handle).ok_or(SocketError::NotFound)?;
        connection.set_quick_ack(quick);
        self.settings_changed(handle);
        Ok(())
    }

    /// The settings of a listener, which its connections get.
    pub fn listener_config(&self, listener: ListenerHandle) -> Option<TcpConfig> {
        self.listeners.lookup(listener.0).map(|listener| listener.config)
    }

    /// Changes the settings of a listener: for connections that are accepted or requested from now on.
    pub fn set_listener_config(&mut self, listener: ListenerHandle, config: &TcpConfig) -> Result<(), SocketError> {
        self.listeners.lookup_mut(listener.0).ok_or(SocketError::NotFound)?.config = *config;
        Ok(())
    }

    /// A connection has new settings: it may have to send, and its deadline may be another.
    fn settings_changed(&mut self, handle: ConnectionHandle) {
        let Some(connection) = held(&self.connections, handle) else { return };
        if connection.state.is_synchronized() {
            self.watch_timers(handle.0.index);
            self.schedule_connection(handle.0.index);
        }
    }
}
