//! TCP sockets.

use std::net::SocketAddr;

use ethertab::time::Duration;
use ethertab::{
    CloseReason, ConnectError, ConnectOptions, ConnectionHandle, Endpoint, ListenError, ListenOptions, ListenerHandle,
    RecvError, SendError, SocketError,
};
use ethertab_sim::HostId;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::describe::{self, ToJs};
use crate::failure::Failure;
use crate::hosts::parse_address;
use crate::network::{Network, Socket, instant};

/// `recv`: nothing has arrived yet.
const WOULD_BLOCK: i32 = -1;
/// `send`: the sending side is shut down.
const SHUT_DOWN: i32 = -2;
/// The connection is over; `close_reason` tells why.
const OVER: i32 = -3;
/// `accept`: no connection waits.
const NOBODY: i32 = -1;

#[wasm_bindgen]
impl Network {
    /// Starts a connection and returns its number. Without a local address or with port 0 the stack chooses. `timeout` is in
    /// microseconds, infinity for the stack's own.
    #[expect(clippy::too_many_arguments, reason = "a flat interface for JavaScript")]
    pub fn connect(
        &mut self,
        now: f64,
        host: u32,
        address: &str,
        port: u16,
        local_address: Option<String>,
        local_port: u16,
        no_delay: bool,
        timeout: f64,
    ) -> Result<u32, Failure> {
        let attempt = || format!("connect to {}", describe::endpoint(address, port));
        let host = self.hosts.get(host)?;
        let remote = SocketAddr::new(parse_address(address)?, port);
        let local = endpoint(local_address.as_deref(), local_port)?;
        let (stack, _) = self.stack_mut(host)?;
        let mut options = ConnectOptions::default();
        if local.address.is_some() || local.port != 0 {
            options.local = Some(local);
        }
        options.timeout = timeout.is_finite().then(|| Duration::from_micros(timeout as u64));
        let handle =
            stack.connect(instant(now), remote, options).map_err(|error| Failure::from(error).context(attempt()))?;
        if no_delay {
            stack.set_nodelay(handle, true).map_err(over)?;
        }
        Ok(self.sockets.insert(Socket::Connection(host, handle)))
    }

    /// Starts to listen and returns the listener's number. Without an address on all of them, on port 0 where the stack
    /// likes.
    pub fn listen(&mut self, host: u32, address: Option<String>, port: u16, backlog: u16) -> Result<u32, Failure> {
        let attempt = || format!("listen on {}", describe::endpoint(address.as_deref().unwrap_or("::"), port));
        let host = self.hosts.get(host)?;
        let local = endpoint(address.as_deref(), port)?;
        let (stack, _) = self.stack_mut(host)?;
        let options = ListenOptions { backlog, ..ListenOptions::default() };
        let handle = stack.listen(local, options).map_err(|error| Failure::from(error).context(attempt()))?;
        Ok(self.sockets.insert(Socket::Listener(host, handle)))
    }

    /// The port that a listener has.
    pub fn listener_port(&self, socket: u32) -> Result<u16, Failure> {
        let (host, handle) = self.listener(socket)?;
        Ok(self.stack(host)?.listener_address(handle).map_or(0, |local| local.port))
    }

    /// The number of the next connection that waits at a listener, or -1.
    pub fn accept(&mut self, socket: u32) -> Result<i32, Failure> {
        let (host, handle) = self.listener(socket)?;
        let (stack, _) = self.stack_mut(host)?;
        let Some(connection) = stack.accept(handle) else { return Ok(NOBODY) };
        Ok(self.sockets.insert(Socket::Connection(host, connection)) as i32)
    }

    /// Stops listening.
    pub fn close_listener(&mut self, now: f64, socket: u32) {
        let Ok((host, handle)) = self.listener(socket) else { return };
        self.sockets.remove(socket);
        if let Ok((stack, pool)) = self.stack_mut(host) {
            stack.close_listener(pool, instant(now), handle);
        }
    }

    /// Hands the first `length` bytes of the scratch buffer to a connection. Returns how many it took, -2 or -3 (see the
    /// constants of this module).
    pub fn send(&mut self, now: f64, socket: u32, length: u32) -> Result<i32, Failure> {
        let (host, handle) = self.connection(socket)?;
        let Some((stack, pool)) = self.inner.host_mut(host) else { return Ok(OVER) };
        let data = &self.scratch[..(length as usize).min(self.scratch.len())];
        Ok(match stack.send(pool, instant(now), handle, data) {
            Ok(count) => count as i32,
            Err(SendError::Shutdown) => SHUT_DOWN,
            Err(_) => OVER,
        })
    }

    /// Moves up to `most` bytes that have arrived into the scratch buffer. Returns how many, 0 at the end of the stream,
    /// -1 or -3.
    pub fn recv(&mut self, now: f64, socket: u32, most: u32) -> Result<i32, Failure> {
        let (host, handle) = self.connection(socket)?;
        let Some((stack, pool)) = self.inner.host_mut(host) else { return Ok(OVER) };
        let length = (most as usize).min(self.scratch.len());
        Ok(match stack.recv(pool, instant(now), handle, &mut self.scratch[..length]) {
            Ok(count) => count as i32,
            Err(RecvError::WouldBlock) => WOULD_BLOCK,
            Err(_) => OVER,
        })
    }

    /// How many bytes have arrived.
    pub fn readable_bytes(&self, socket: u32) -> Result<u32, Failure> {
        let (host, handle) = self.connection(socket)?;
        Ok(self.stack(host)?.readable_bytes(handle) as u32)
    }

    /// How many bytes the send buffer would take.
    pub fn writable_bytes(&self, socket: u32) -> Result<u32, Failure> {
        let (host, handle) = self.connection(socket)?;
        Ok(self.stack(host)?.writable_bytes(handle) as u32)
    }

    /// Sends FIN after what was sent.
    pub fn shutdown(&mut self, now: f64, socket: u32) -> Result<(), Failure> {
        let (host, handle) = self.connection(socket)?;
        let (stack, _) = self.stack_mut(host)?;
        // A connection that is over has nothing to shut down.
        let _ = stack.shutdown(instant(now), handle);
        Ok(())
    }

    /// Closes a connection and forgets its number; the stack sends what is left to send.
    pub fn close(&mut self, now: f64, socket: u32) {
        let Ok((host, handle)) = self.connection(socket) else { return };
        self.sockets.remove(socket);
        if let Ok((stack, pool)) = self.stack_mut(host) {
            stack.close(pool, instant(now), handle);
        }
    }

    /// Resets a connection and forgets its number.
    pub fn abort(&mut self, now: f64, socket: u32) {
        let Ok((host, handle)) = self.connection(socket) else { return };
        self.sockets.remove(socket);
        if let Ok((stack, pool)) = self.stack_mut(host) {
            stack.abort(pool, instant(now), handle);
        }
    }

    /// Turns Nagle's algorithm off or on.
    pub fn set_no_delay(&mut self, socket: u32, no_delay: bool) -> Result<(), Failure> {
        let (host, handle) = self.connection(socket)?;
        let (stack, _) = self.stack_mut(host)?;
        stack.set_nodelay(handle, no_delay).map_err(over)
    }

    /// Why a connection is over: undefined while it is not, else an object with a `code` (null for a good end) and a `text`.
    pub fn close_reason(&self, socket: u32) -> Result<JsValue, Failure> {
        let (host, handle) = self.connection(socket)?;
        let Some(reason) = self.stack(host)?.connection_error(handle) else { return Ok(JsValue::UNDEFINED) };
        let ending = describe::Ending { code: code_of(reason), text: reason.to_string() };
        ending.to_js()
    }

    /// The peer of a connection: an object with `address` and `port`.
    pub fn connection_remote(&self, socket: u32) -> Result<JsValue, Failure> {
        let (host, handle) = self.connection(socket)?;
        let info =
            self.stack(host)?.connection_info(handle).ok_or_else(|| Failure::invalid("the connection is over"))?;
        describe::SocketAddress::from(info.remote).to_js()
    }

    /// What the stack knows of a connection: `ConnectionInfo` of the package, or undefined.
    pub fn connection_info(&self, socket: u32) -> Result<JsValue, Failure> {
        let (host, handle) = self.connection(socket)?;
        let info = self.stack(host)?.connection_info(handle);
        info.map_or(Ok(JsValue::UNDEFINED), |info| describe::connection(&info).to_js())
    }

    /// All connections of a host, those that nobody has accepted or that are in TIME-WAIT included.
    pub fn connections(&self, host: u32) -> Result<JsValue, Failure> {
        let stack = self.stack(self.hosts.get(host)?)?;
        let list: Vec<_> = stack.connections().map(|info| describe::connection(&info)).collect();
        list.to_js()
    }
}

impl Network {
    fn connection(&self, socket: u32) -> Result<(HostId, ConnectionHandle), Failure> {
        match self.sockets.get(socket)? {
            Socket::Connection(host, handle) => Ok((host, handle)),
            _ => Err(Failure::invalid(format_args!("socket {socket} is no connection"))),
        }
    }

    fn listener(&self, socket: u32) -> Result<(HostId, ListenerHandle), Failure> {
        match self.sockets.get(socket)? {
            Socket::Listener(host, handle) => Ok((host, handle)),
            _ => Err(Failure::invalid(format_args!("socket {socket} is no listener"))),
        }
    }
}

/// A local endpoint; no address, or an unspecified one, is every address.
pub(crate) fn endpoint(address: Option<&str>, port: u16) -> Result<Endpoint, Failure> {
    let address = address.map(parse_address).transpose()?.filter(|address| !address.is_unspecified());
    Ok(Endpoint { address, port })
}

fn over(error: SocketError) -> Failure {
    Failure::new("EPIPE", error)
}

fn code_of(reason: CloseReason) -> Option<&'static str> {
    match reason {
        CloseReason::Finished => None,
        CloseReason::Refused => Some("ECONNREFUSED"),
        CloseReason::TimedOut => Some("ETIMEDOUT"),
        CloseReason::Unreachable { .. } => Some("EHOSTUNREACH"),
        CloseReason::Aborted => Some("ABORT_ERR"),
        _ => Some("ECONNRESET"),
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let code = match error {
            ConnectError::NoRoute(_) => "ENETUNREACH",
            ConnectError::AddressNotAvailable(_) => "EADDRNOTAVAIL",
            ConnectError::AddressInUse(_) | ConnectError::PortsExhausted => "EADDRINUSE",
            ConnectError::TooManyConnections => "EMFILE",
            _ => "EINVAL",
        };
        Failure::new(code, error)
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let code = match error {
            ListenError::AddressInUse(_) | ListenError::PortsExhausted => "EADDRINUSE",
            ListenError::AddressNotAvailable(_) => "EADDRNOTAVAIL",
            _ => "EMFILE",
        };
        Failure::new(code, error)
    }
}
