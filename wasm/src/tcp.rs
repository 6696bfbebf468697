//! TCP sockets.

use std::net::{IpAddr, SocketAddr};

use ethertab::time::Duration;
use ethertab::{CloseReason, ConnectError, ConnectOptions, Endpoint, ListenError, ListenOptions, RecvError, SendError};
use ethertab_wasm_shared::{Rows, instant};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::enter;
use crate::failure::Failure;
use crate::hosts::parse_address;
use crate::settings;
use crate::sockets::Socket;

/// `recv`: nothing has arrived yet.
const WOULD_BLOCK: i32 = -1;
/// `send`: the sending side is shut down.
const SHUT_DOWN: i32 = -2;
/// The connection is over; `close_reason` tells why.
const OVER: i32 = -3;

/// Starts a connection and returns its number. With an empty local address or port 0 the stack chooses. `timeout` is in
/// microseconds, infinity for the stack's own. Without any of the [settings](crate::settings) the stack's apply.
#[wasm_bindgen]
#[expect(clippy::too_many_arguments, reason = "a flat interface for JavaScript")]
pub fn connect(
    now: f64,
    host: u32,
    address: &str,
    port: u16,
    local_address: &str,
    local_port: u16,
    timeout: f64,
    fast_open: bool,
    settings: &[f64],
) -> Result<u32, Failure> {
    let remote = SocketAddr::new(parse_address(address)?, port);
    let local = endpoint(local_address, local_port)?;
    let mut options = ConnectOptions::default();
    if local.address.is_some() || local.port != 0 {
        options.local = Some(local);
    }
    options.timeout = timeout.is_finite().then(|| Duration::from_micros(timeout as u64));
    options.fast_open = fast_open;
    enter(|engine| {
        let host = engine.host(host);
        let (stack, _) = engine.stack_mut(host)?;
        options.tcp = settings::changed(&stack.config().tcp, settings);
        let handle = stack.connect(instant(now), remote, options)?;
        Ok(engine.sockets.insert(Socket::connection(host, handle)))
    })
}

/// Starts to listen and returns the listener's number. Without an address on all of them, on port 0 where the stack likes. The
/// settings are those of the connections, as with [`connect`].
#[wasm_bindgen]
pub fn listen(
    host: u32,
    address: &str,
    port: u16,
    backlog: u16,
    fast_open: u16,
    settings: &[f64],
) -> Result<u32, Failure> {
    let local = endpoint(address, port)?;
    enter(|engine| {
        let host = engine.host(host);
        let (stack, _) = engine.stack_mut(host)?;
        let tcp = settings::changed(&stack.config().tcp, settings);
        let handle = stack.listen(local, ListenOptions { backlog, fast_open, tcp })?;
        Ok(engine.sockets.insert(Socket::listener(host, handle)))
    })
}

/// The port that a listener has.
#[wasm_bindgen]
pub fn listener_port(socket: u32) -> Result<u16, Failure> {
    enter(|engine| {
        let (host, handle) = engine.sockets.listener(socket).ok_or_else(Failure::missing)?;
        Ok(engine.stack(host)?.listener_address(handle).map_or(0, |local| local.port))
    })
}

/// The next connection that waits at a listener: its number and its ends.
#[wasm_bindgen]
pub fn accept(socket: u32) -> Result<Option<Rows>, Failure> {
    enter(|engine| {
        let (host, handle) = engine.sockets.listener(socket).ok_or_else(Failure::missing)?;
        let (stack, _) = engine.stack_mut(host)?;
        let Some(connection) = stack.accept(handle) else { return Ok(None) };
        let info = stack.connection_info(connection).ok_or_else(Failure::missing)?;
        let rows = Rows::of("socket remoteAddress remotePort localAddress localPort");
        rows.number(engine.sockets.insert(Socket::connection(host, connection)));
        rows.socket_address(info.remote);
        rows.socket_address(info.local);
        Ok(Some(rows))
    })
}

/// Stops listening.
#[wasm_bindgen]
pub fn close_listener(now: f64, socket: u32) {
    enter(|engine| {
        let Some((host, handle)) = engine.sockets.listener(socket) else { return };
        engine.sockets.remove(socket);
        if let Some((stack, pool)) = engine.network.host_mut(host) {
            stack.close_listener(pool, instant(now), handle);
        }
    });
}

/// Hands the first `length` bytes of the scratch buffer to a connection. Returns how many it took, -2 when the sending
/// side is shut down, -3 when the connection is over.
#[wasm_bindgen]
pub fn send(now: f64, socket: u32, length: u32) -> i32 {
    enter(|engine| {
        let Some((host, handle)) = engine.sockets.connection(socket) else { return OVER };
        let Some((stack, pool)) = engine.network.host_mut(host) else { return OVER };
        let data = &engine.scratch[..(length as usize).min(engine.scratch.len())];
        match stack.send(pool, instant(now), handle, data) {
            Ok(count) => count as i32,
            Err(SendError::Shutdown) => SHUT_DOWN,
            Err(_) => OVER,
        }
    })
}

/// Moves up to `most` bytes that have arrived into the scratch buffer. Returns how many, 0 at the end of the stream, -1
/// when nothing has arrived yet, -3 when the connection is over.
#[wasm_bindgen]
pub fn recv(now: f64, socket: u32, most: u32) -> i32 {
    enter(|engine| {
        let Some((host, handle)) = engine.sockets.connection(socket) else { return OVER };
        let Some((stack, pool)) = engine.network.host_mut(host) else { return OVER };
        let length = (most as usize).min(engine.scratch.len());
        match stack.recv(pool, instant(now), handle, &mut engine.scratch[..length]) {
            Ok(count) => count as i32,
            Err(RecvError::WouldBlock) => WOULD_BLOCK,
            Err(_) => OVER,
        }
    })
}

/// How many bytes have arrived.
#[wasm_bindgen]
pub fn readable_bytes(socket: u32) -> u32 {
    enter(|engine| {
        let Some((host, handle)) = engine.sockets.connection(socket) else { return 0 };
        engine.network.host(host).map_or(0, |stack| stack.readable_bytes(handle) as u32)
    })
}

/// How many bytes the send buffer would take.
#[wasm_bindgen]
pub fn writable_bytes(socket: u32) -> u32 {
    enter(|engine| {
        let Some((host, handle)) = engine.sockets.connection(socket) else { return 0 };
        engine.network.host(host).map_or(0, |stack| stack.writable_bytes(handle) as u32)
    })
}

/// Sends FIN after what was sent.
#[wasm_bindgen]
pub fn shutdown(now: f64, socket: u32) {
    enter(|engine| {
        let Some((host, handle)) = engine.sockets.connection(socket) else { return };
        if let Some((stack, _)) = engine.network.host_mut(host) {
            // A connection that is over has nothing to shut down.
            let _ = stack.shutdown(instant(now), handle);
        }
    });
}

/// Forgets a connection's number and closes it: the stack sends what is left to send, or with `reset` ends it at once.
#[wasm_bindgen]
pub fn close(now: f64, socket: u32, reset: bool) {
    enter(|engine| {
        let Some((host, handle)) = engine.sockets.connection(socket) else { return };
        engine.sockets.remove(socket);
        let Some((stack, pool)) = engine.network.host_mut(host) else { return };
        if reset {
            stack.abort(pool, instant(now), handle);
        } else {
            stack.close(pool, instant(now), handle);
        }
    });
}

/// Why a connection is over, with one of the package's `SocketErrorCode`s and a text, both absent for a good end; undefined
/// while it is not over.
#[wasm_bindgen]
pub fn close_reason(socket: u32) -> Result<Option<Rows>, Failure> {
    enter(|engine| {
        let (host, handle) = engine.sockets.connection(socket).ok_or_else(Failure::missing)?;
        let Some(reason) = engine.stack(host)?.connection_error(handle) else { return Ok(None) };
        let rows = Rows::of("code text");
        let code = match reason {
            CloseReason::Finished => {
                rows.nothing();
                rows.nothing();
                return Ok(Some(rows));
            }
            CloseReason::Refused => "ECONNREFUSED",
            CloseReason::TimedOut => "ETIMEDOUT",
            CloseReason::Unreachable { .. } | CloseReason::HopLimitExceeded => "EHOSTUNREACH",
            CloseReason::Aborted => "ABORT_ERR",
            _ => "ECONNRESET",
        };
        rows.text(code);
        rows.shown(&reason);
        Ok(Some(rows))
    })
}

/// The local end of a connection; no row if the stack knows it no more.
#[wasm_bindgen]
pub fn connection_local(socket: u32) -> Result<Rows, Failure> {
    enter(|engine| {
        let (host, handle) = engine.sockets.connection(socket).ok_or_else(Failure::missing)?;
        let rows = Rows::of("address port");
        if let Some(info) = engine.stack(host)?.connection_info(handle) {
            rows.socket_address(info.local);
        }
        Ok(rows)
    })
}

/// A local endpoint; no address, or an unspecified one, is every address.
pub(crate) fn endpoint(address: &str, port: u16) -> Result<Endpoint, Failure> {
    Ok(Endpoint { address: optional(address)?.filter(|address| !address.is_unspecified()), port })
}

/// An address, or none if the text is empty.
pub(crate) fn optional(address: &str) -> Result<Option<IpAddr>, Failure> {
    if address.is_empty() { Ok(None) } else { parse_address(address).map(Some) }
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
        Failure::new(code, &error)
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let code = match error {
            ListenError::AddressInUse(_) | ListenError::PortsExhausted => "EADDRINUSE",
            ListenError::AddressNotAvailable(_) => "EADDRNOTAVAIL",
            _ => "EMFILE",
        };
        Failure::new(code, &error)
    }
}
