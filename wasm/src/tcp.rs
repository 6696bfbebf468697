//! TCP sockets.

use std::net::SocketAddr;

use ethertab::time::Duration;
use ethertab::{CloseReason, ConnectError, ConnectOptions, Endpoint, ListenError, ListenOptions, RecvError, SendError};
use ethertab_wasm_shared::instant;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::{attempt, enter, tell};
use crate::failure::Failure;
use crate::numbers::TEXT;
use crate::settings;
use crate::sockets::Socket;

/// `recv`: nothing has arrived yet.
const WOULD_BLOCK: i32 = -1;
/// `send`: the sending side is shut down.
const SHUT_DOWN: i32 = -2;
/// The connection is over; `close_reason` tells why.
const OVER: i32 = -3;

/// Starts a connection and returns its number. It is given the remote address, a local one and `settings` numbers. Without a local address and
/// with port 0 the stack chooses. `timeout` is in microseconds, infinity for the stack's own. Without any of the
/// [settings](crate::settings) the stack's apply.
#[wasm_bindgen]
pub fn connect(now: f64, host: u32, port: u16, local_port: u16, timeout: f64, fast_open: bool, settings: u32) -> i32 {
    attempt(|engine, numbers| {
        let mut given = numbers.given();
        let remote = SocketAddr::new(given.address()?, port);
        let local = given.endpoint(local_port);
        let mut options = ConnectOptions::default();
        if local.address.is_some() || local.port != 0 {
            options.local = Some(local);
        }
        options.timeout = timeout.is_finite().then(|| Duration::from_micros(timeout as u64));
        options.fast_open = fast_open;
        let host = engine.host(host);
        let (stack, _) = engine.stack_mut(host)?;
        options.tcp = settings::changed(&stack.config().tcp, given.rest(settings));
        let handle = stack.connect(instant(now), remote, options)?;
        Ok(engine.sockets.insert(Socket::connection(host, handle)))
    })
}

/// Starts to listen and returns the listener's number. It is given an address and `settings` numbers. Without an address it listens on all of
/// them, with `0.0.0.0` on all of IPv4, with `::` on all of IPv6, on port 0 where the stack likes. The settings are those of the connections, as with [`connect`].
#[wasm_bindgen]
pub fn listen(host: u32, port: u16, backlog: u16, fast_open: u16, settings: u32) -> i32 {
    attempt(|engine, numbers| {
        let mut given = numbers.given();
        let local = Endpoint { address: given.optional(), port };
        let host = engine.host(host);
        let (stack, _) = engine.stack_mut(host)?;
        let tcp = settings::changed(&stack.config().tcp, given.rest(settings));
        let handle = stack.listen(local, ListenOptions { backlog, fast_open, tcp })?;
        Ok(engine.sockets.insert(Socket::listener(host, handle)))
    })
}

/// The port that a listener has.
#[wasm_bindgen]
pub fn listener_port(socket: u32) -> i32 {
    attempt(|engine, _| {
        let (host, handle) = engine.sockets.listener(socket).ok_or_else(Failure::missing)?;
        Ok(engine.stack(host)?.listener_address(handle).map_or(0, |local| local.port).into())
    })
}

/// The next connection that waits at a listener, `ACCEPTED` of the package's names; nothing if there is none.
#[wasm_bindgen]
pub fn accept(socket: u32) -> i32 {
    tell(|engine, told| {
        let (host, handle) = engine.sockets.listener(socket).ok_or_else(Failure::missing)?;
        let (stack, _) = engine.stack_mut(host)?;
        let Some(connection) = stack.accept(handle) else { return Ok(()) };
        let info = stack.connection_info(connection).ok_or_else(Failure::missing)?;
        told.number(engine.sockets.insert(Socket::connection(host, connection)));
        told.endpoint(info.remote);
        told.endpoint(info.local);
        Ok(())
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
        let length = (most as usize).min(engine.scratch.len());
        let out = &mut engine.scratch[..length];
        match engine.network.visit_host(host, |stack, pool| stack.recv(pool, instant(now), handle, out)) {
            Some(Ok(count)) => count as i32,
            Some(Err(RecvError::WouldBlock)) => WOULD_BLOCK,
            _ => OVER,
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

/// Why a connection is over, `CLOSE_REASON` of the package's names, both absent for a good end; nothing while it is not over.
#[wasm_bindgen]
pub fn close_reason(socket: u32) -> i32 {
    tell(|engine, told| {
        let (host, handle) = engine.sockets.connection(socket).ok_or_else(Failure::missing)?;
        let Some(reason) = engine.stack(host)?.connection_error(handle) else { return Ok(()) };
        let code = match reason {
            CloseReason::Finished => {
                told.nothing(TEXT);
                return Ok(());
            }
            CloseReason::Refused => "ECONNREFUSED",
            CloseReason::TimedOut => "ETIMEDOUT",
            CloseReason::Unreachable { .. } | CloseReason::HopLimitExceeded => "EHOSTUNREACH",
            CloseReason::Aborted => "ABORT_ERR",
            _ => "ECONNRESET",
        };
        told.text(code, reason.text());
        Ok(())
    })
}

/// The local end of a connection, `CONNECTION_END` of the package's names; nothing if the stack knows it no more.
#[wasm_bindgen]
pub fn connection_local(socket: u32) -> i32 {
    tell(|engine, told| {
        let (host, handle) = engine.sockets.connection(socket).ok_or_else(Failure::missing)?;
        if let Some(info) = engine.stack(host)?.connection_info(handle) {
            told.endpoint(info.local);
        }
        Ok(())
    })
}

/// The oldest ICMP error about a connection that was not told yet, `ICMP_REPORT` of the package's names; nothing if there is none.
#[wasm_bindgen]
pub fn connection_report(socket: u32) -> i32 {
    tell(|engine, told| {
        let (host, handle) = engine.sockets.connection(socket).ok_or_else(Failure::missing)?;
        if let Some(report) = engine.stack_mut(host)?.0.take_error_report(handle) {
            told.report(&report);
        }
        Ok(())
    })
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let code = match error {
            ConnectError::NoRoute(_) | ConnectError::BadAddress(_) => "ENETUNREACH",
            ConnectError::AddressNotAvailable(_) => "EADDRNOTAVAIL",
            ConnectError::AddressInUse(_) | ConnectError::PortsExhausted => "EADDRINUSE",
            ConnectError::TooManyConnections => "EMFILE",
            _ => "EINVAL",
        };
        Failure::new(code, error.text())
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let code = match error {
            ListenError::AddressInUse(_) | ListenError::PortsExhausted => "EADDRINUSE",
            ListenError::AddressNotAvailable(_) => "EADDRNOTAVAIL",
            _ => "EMFILE",
        };
        Failure::new(code, error.text())
    }
}
