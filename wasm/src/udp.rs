//! UDP sockets and echo requests.

use std::net::SocketAddr;

use ethertab::time::Duration;
use ethertab::{
    BindError, CloseReason, InterfaceId, PingError, PingOutcome, SourceFilter, UdpMeta, UdpOptions, UdpSendError,
};
use ethertab_wasm_shared::{Rows, instant, mac};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::enter;
use crate::failure::Failure;
use crate::hosts::parse_address;
use crate::settings::{Slot, exchange_all};
use crate::sockets::Socket;
use crate::tcp::{endpoint, optional};

/// RFC 792: the code of a destination whose port nobody listens at.
const PORT_UNREACHABLE: u8 = 3;

/// Binds a UDP socket and returns its number. Without an address to all of them, on port 0 where the stack likes; without any of the
/// [settings](udp_settings) with the usual ones.
#[wasm_bindgen]
pub fn bind_udp(host: u32, address: &str, port: u16, mut settings: Vec<f64>) -> Result<u32, Failure> {
    let local = endpoint(address, port)?;
    let mut options = UdpOptions::default();
    exchange(&mut options, &mut settings);
    enter(|engine| {
        let host = engine.host(host);
        let (stack, _) = engine.stack_mut(host)?;
        let handle = stack.bind_udp_with(local, options)?;
        Ok(engine.sockets.insert(Socket::udp(host, handle)))
    })
}

/// Takes over the numbers that are given, and puts the others in their places, in the order of the package's names.
fn exchange(options: &mut UdpOptions, values: &mut [f64]) {
    exchange_all(
        [
            Slot::Byte(&mut options.hop_limit),
            Slot::Byte(&mut options.multicast_hop_limit),
            Slot::Byte(&mut options.traffic_class),
            Slot::Flag(&mut options.broadcast),
            Slot::Flag(&mut options.dont_fragment),
            Slot::Flag(&mut options.checksum),
            Slot::Flag(&mut options.share_port),
            Slot::Flag(&mut options.multicast_loop),
        ],
        values,
    );
}

/// Changes those settings of a UDP socket that are given, and tells all of them as they are then.
#[wasm_bindgen]
pub fn udp_settings(socket: u32, mut values: Vec<f64>) -> Result<Vec<f64>, Failure> {
    enter(|engine| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, _) = engine.stack_mut(host)?;
        let mut options = stack.udp_options(handle).ok_or_else(Failure::missing)?;
        exchange(&mut options, &mut values);
        stack.udp_set_options(handle, options);
        Ok(values)
    })
}

/// Connects a UDP socket to a peer; an empty address ends that.
#[wasm_bindgen]
pub fn udp_connect(socket: u32, address: &str, port: u16) -> Result<(), Failure> {
    let peer = optional(address)?.map(|address| SocketAddr::new(address, port));
    enter(|engine| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, _) = engine.stack_mut(host)?;
        Ok(stack.udp_connect(handle, peer)?)
    })
}

/// The port that a UDP socket has.
#[wasm_bindgen]
pub fn udp_port(socket: u32) -> Result<u16, Failure> {
    enter(|engine| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        Ok(engine.stack(host)?.udp_address(handle).map_or(0, |local| local.port))
    })
}

/// Sends the first `length` bytes of the scratch buffer as a datagram. `interface` -1, an empty `local` and a `mac_address` of -1
/// leave the choice to the stack.
#[wasm_bindgen]
#[expect(clippy::too_many_arguments, reason = "a flat interface for JavaScript")]
pub fn udp_send(
    now: f64,
    socket: u32,
    length: u32,
    address: &str,
    port: u16,
    local: &str,
    interface: i32,
    mac_address: f64,
) -> Result<(), Failure> {
    let mut meta = UdpMeta::to(SocketAddr::new(parse_address(address)?, port));
    meta.local = optional(local)?;
    meta.interface = u8::try_from(interface).ok().map(InterfaceId);
    meta.link = (mac_address >= 0.0).then(|| mac(mac_address));
    enter(|engine| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, pool) = engine.network.host_mut(host).ok_or_else(Failure::missing)?;
        let data = &engine.scratch[..(length as usize).min(engine.scratch.len())];
        Ok(stack.udp_send(pool, instant(now), handle, &meta, data)?)
    })
}

/// Lets a UDP socket listen to a group on an interface: to all sources but those given, or to those given only, texts with blanks between. To
/// none is to leave it.
#[wasm_bindgen]
pub fn udp_filter(
    now: f64,
    socket: u32,
    interface: u8,
    group: &str,
    excludes: bool,
    sources: &str,
) -> Result<(), Failure> {
    let group = parse_address(group)?;
    let sources = sources.split_whitespace().map(parse_address).collect::<Result<Vec<_>, _>>()?;
    let filter = if excludes { SourceFilter::all_but(&sources) } else { SourceFilter::only(&sources) }?;
    enter(|engine| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, _) = engine.stack_mut(host)?;
        Ok(stack.udp_set_filter(instant(now), handle, InterfaceId(interface), group, &filter)?)
    })
}

/// Moves the next datagram into the scratch buffer and tells about it; undefined if there is none.
#[wasm_bindgen]
pub fn udp_recv(socket: u32) -> Result<Option<Rows>, Failure> {
    enter(|engine| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, pool) = engine.network.host_mut(host).ok_or_else(Failure::missing)?;
        let Some((length, meta)) = stack.udp_recv(pool, handle, &mut engine.scratch) else { return Ok(None) };
        let rows = Rows::of("length remoteAddress remotePort localAddress interface mac ttl trafficClass");
        rows.number(length as f64);
        rows.socket_address(meta.remote);
        match meta.local {
            Some(local) => rows.shown(&local),
            None => rows.text(""),
        }
        match meta.interface {
            Some(interface) => rows.number(interface.0),
            None => rows.nothing(),
        }
        match meta.link {
            Some(mac) => rows.shown(&mac),
            None => rows.nothing(),
        }
        rows.number(meta.hop_limit);
        rows.number(meta.traffic_class);
        Ok(Some(rows))
    })
}

/// The next ICMP error about a datagram sent from this socket, with the package's `SocketErrorCode`; undefined if there is none.
#[wasm_bindgen]
pub fn udp_error(socket: u32) -> Result<Option<Rows>, Failure> {
    enter(|engine| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, pool) = engine.stack_mut(host)?;
        let Some((_, error)) = stack.udp_error(pool, handle, &mut []) else { return Ok(None) };
        let (code, text) = match error.report.reason {
            CloseReason::Refused => ("ECONNREFUSED", unreachable(PORT_UNREACHABLE)),
            _ if error.mtu.is_some() => ("EMSGSIZE", "too large for the path"),
            CloseReason::Unreachable { code } => ("EHOSTUNREACH", unreachable(code)),
            CloseReason::HopLimitExceeded => ("EHOSTUNREACH", "the hop limit was exceeded on the way"),
            _ => ("EHOSTUNREACH", "a header was not understood"),
        };
        let rows = Rows::of("address port code text");
        rows.socket_address(error.remote);
        rows.text(code);
        rows.text(text);
        Ok(Some(rows))
    })
}

/// Closes a UDP socket and forgets its number.
#[wasm_bindgen]
pub fn udp_close(socket: u32) {
    enter(|engine| {
        let Some((host, handle)) = engine.sockets.udp(socket) else { return };
        engine.sockets.remove(socket);
        if let Some((stack, pool)) = engine.network.host_mut(host) {
            stack.udp_close(pool, handle);
        }
    });
}

/// Sends an echo request and returns its number. `timeout` is in microseconds.
#[wasm_bindgen]
pub fn ping(now: f64, host: u32, address: &str, size: u32, timeout: f64) -> Result<u32, Failure> {
    let to = parse_address(address)?;
    enter(|engine| {
        let host = engine.host(host);
        let (stack, pool) = engine.stack_mut(host)?;
        let handle = stack.ping(pool, instant(now), to, size as usize, Duration::from_micros(timeout as u64))?;
        Ok(engine.sockets.insert(Socket::ping(host, handle)))
    })
}

/// Forgets an echo request and its number.
#[wasm_bindgen]
pub fn ping_cancel(socket: u32) {
    enter(|engine| {
        let Some((host, handle)) = engine.sockets.ping(socket) else { return };
        engine.sockets.remove(socket);
        if let Some((stack, _)) = engine.network.host_mut(host) {
            stack.cancel_ping(handle);
        }
    });
}

/// What has come of an echo request: the answer's round-trip time in milliseconds, its hop limit and its payload bytes, or a
/// text that tells why there will be none, or none of these when time is out. Undefined while it waits. The
/// number is forgotten with the outcome.
#[wasm_bindgen]
pub fn ping_result(socket: u32) -> Result<Option<Rows>, Failure> {
    enter(|engine| {
        let (host, handle) = engine.sockets.ping(socket).ok_or_else(Failure::missing)?;
        let (stack, _) = engine.stack_mut(host)?;
        let Some(outcome) = stack.ping_result(handle) else { return Ok(None) };
        engine.sockets.remove(socket);
        let rows = Rows::of("rtt ttl size unreachable");
        let (reply, text) = match outcome {
            PingOutcome::Reply { rtt, hop_limit, len } => (Some((rtt, hop_limit, len)), None),
            PingOutcome::Unreachable { code } => (None, Some(unreachable(code))),
            PingOutcome::TimeExceeded { .. } => (None, Some("the hop limit was exceeded on the way")),
            PingOutcome::ParameterProblem { .. } => (None, Some("a header was not understood")),
            PingOutcome::TooBig { .. } => (None, Some("too large for the path")),
            _ => (None, None),
        };
        match reply {
            Some((rtt, hop_limit, len)) => {
                rows.millis(rtt);
                rows.number(hop_limit);
                rows.number(len as f64);
            }
            None => (0..3).for_each(|_| rows.nothing()),
        }
        match text {
            Some(text) => rows.text(text),
            None => rows.nothing(),
        }
        Ok(Some(rows))
    })
}

/// What a code of RFC 792's destination unreachable means.
fn unreachable(code: u8) -> &'static str {
    match code {
        0 => "network unreachable",
        1 => "host unreachable",
        2 => "protocol unreachable",
        PORT_UNREACHABLE => "port unreachable",
        4 => "the packet is too big",
        9 | 10 | 13 => "prohibited by a filter",
        _ => "destination unreachable",
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        let code = match error {
            BindError::AddressInUse(_) | BindError::PortsExhausted => "EADDRINUSE",
            BindError::AddressNotAvailable(_) => "EADDRNOTAVAIL",
            _ => "EMFILE",
        };
        Failure::new(code, &error)
    }
}

impl From<UdpSendError> for Failure {
    fn from(error: UdpSendError) -> Self {
        let code = match error {
            UdpSendError::TooLong { .. } => "EMSGSIZE",
            UdpSendError::NoRoute(_) => "ENETUNREACH",
            UdpSendError::QueueFull => "ENOBUFS",
            UdpSendError::BroadcastProhibited => "EACCES",
            _ => "EINVAL",
        };
        Failure::new(code, &error)
    }
}

impl From<PingError> for Failure {
    fn from(error: PingError) -> Self {
        let code = match error {
            PingError::NoRoute(_) => "ENETUNREACH",
            PingError::TooLong { .. } => "EMSGSIZE",
            PingError::TooMany => "EMFILE",
            _ => "EINVAL",
        };
        Failure::new(code, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::fields;

    #[test]
    fn each_setting_goes_where_its_name_says() {
        let with = |name: &str, value: f64| {
            let is_it = |field: &str| field.trim_end_matches('?') == name;
            let mut values: Vec<f64> =
                fields("UDP_SETTINGS").into_iter().map(|field| if is_it(field) { value } else { f64::NAN }).collect();
            let mut options = UdpOptions::default();
            exchange(&mut options, &mut values);
            assert!(values.iter().all(|value| !value.is_nan()), "{name}: all are told");
            options
        };
        assert_eq!(with("ttl", 9.0).hop_limit, 9);
        assert_eq!(with("multicastTtl", 9.0).multicast_hop_limit, 9);
        assert_eq!(with("trafficClass", 9.0).traffic_class, 9);
        assert!(!with("broadcast", 0.0).broadcast);
        assert!(with("dontFragment", 1.0).dont_fragment);
        assert!(!with("checksum", 0.0).checksum);
        assert!(with("sharePort", 1.0).share_port);
        assert!(!with("multicastLoop", 0.0).multicast_loop);
    }
}
