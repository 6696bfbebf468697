//! UDP sockets and echo requests.

use std::net::SocketAddr;

use ethertab::time::Duration;
use ethertab::{
    BindError, CloseReason, ErrorText, InterfaceId, PingError, PingOutcome, PingTarget, SourceFilter, UdpMeta,
    UdpOptions, UdpSendError,
};
use ethertab_wasm_shared::{instant, mac};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::{attempt, enter, tell};
use crate::failure::Failure;
use crate::numbers::{ADDRESS, TEXT};
use crate::settings::{Slot, exchange_all};
use crate::sockets::Socket;

/// RFC 792: the code of a destination whose port nobody listens at.
const PORT_UNREACHABLE: u8 = 3;

/// Binds a UDP socket and returns its number. It is given an address and `settings` numbers. Without an address it is bound to all of
/// them, on port 0 where the stack likes; without any of the [settings](udp_settings) it has the usual ones.
#[wasm_bindgen]
pub fn bind_udp(host: u32, port: u16, settings: u32) -> i32 {
    attempt(|engine, numbers| {
        let local = numbers.given().endpoint(port);
        let mut options = UdpOptions::default();
        exchange(&mut options, numbers.settings(ADDRESS, settings));
        let host = engine.host(host);
        let (stack, _) = engine.stack_mut(host)?;
        let handle = stack.bind_udp_with(local, options)?;
        Ok(engine.sockets.insert(Socket::udp(host, handle)))
    })
}

/// Takes over the numbers that are given, and puts the others in their places, in the order of the package's names.
fn exchange(options: &mut UdpOptions, values: &mut [f64]) {
    exchange_all(
        &mut [
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

/// Changes those settings of a UDP socket that are given, `count` numbers, and puts all of them there as they are then.
#[wasm_bindgen]
pub fn udp_settings(socket: u32, count: u32) -> i32 {
    attempt(|engine, numbers| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, _) = engine.stack_mut(host)?;
        let mut options = stack.udp_options(handle).ok_or_else(Failure::missing)?;
        exchange(&mut options, numbers.settings(0, count));
        stack.udp_set_options(handle, options);
        Ok(count)
    })
}

/// Connects a UDP socket to the peer whose address it is given; none ends that.
#[wasm_bindgen]
pub fn udp_connect(socket: u32, port: u16) -> i32 {
    attempt(|engine, numbers| {
        let peer = numbers.given().optional().map(|address| SocketAddr::new(address, port));
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, _) = engine.stack_mut(host)?;
        stack.udp_connect(handle, peer)?;
        Ok(0)
    })
}

/// The port that a UDP socket has.
#[wasm_bindgen]
pub fn udp_port(socket: u32) -> i32 {
    attempt(|engine, _| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        Ok(engine.stack(host)?.udp_address(handle).map_or(0, |local| local.port).into())
    })
}

/// Sends the first `length` bytes of the scratch buffer as a datagram. It is given the remote address and a local one. `interface` -1, no
/// local address and a `mac_address` of -1 leave the choice to the stack.
#[wasm_bindgen]
pub fn udp_send(now: f64, socket: u32, length: u32, port: u16, interface: i32, mac_address: f64) -> i32 {
    attempt(|engine, numbers| {
        let mut given = numbers.given();
        let mut meta = UdpMeta::to(SocketAddr::new(given.address()?, port));
        meta.local = given.optional();
        meta.interface = u8::try_from(interface).ok().map(InterfaceId);
        meta.link = (mac_address >= 0.0).then(|| mac(mac_address));
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, pool) = engine.network.host_mut(host).ok_or_else(Failure::missing)?;
        let data = &engine.scratch[..(length as usize).min(engine.scratch.len())];
        stack.udp_send(pool, instant(now), handle, &meta, data)?;
        Ok(0)
    })
}

/// Lets a UDP socket listen to a group on an interface: to all sources but those given, or to those given only, `count` addresses behind that of the
/// group. To none is to leave it.
#[wasm_bindgen]
pub fn udp_filter(now: f64, socket: u32, interface: u8, excludes: bool, count: u32) -> i32 {
    attempt(|engine, numbers| {
        let mut given = numbers.given();
        let group = given.address()?;
        let sources = given.addresses(count)?;
        let filter = if excludes { SourceFilter::all_but(&sources) } else { SourceFilter::only(&sources) }?;
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, _) = engine.stack_mut(host)?;
        stack.udp_set_filter(instant(now), handle, InterfaceId(interface), group, &filter)?;
        Ok(0)
    })
}

/// Moves the next datagram into the scratch buffer and tells about it, `DATAGRAM` of the package's names; nothing if there is none.
#[wasm_bindgen]
pub fn udp_recv(socket: u32) -> i32 {
    tell(|engine, told| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, pool) = engine.network.host_mut(host).ok_or_else(Failure::missing)?;
        let Some((length, meta)) = stack.udp_recv(pool, handle, &mut engine.scratch) else { return Ok(()) };
        told.long(length as u64);
        told.endpoint(meta.remote);
        told.optional(meta.local);
        told.number(meta.interface.map_or(f64::NAN, |interface| interface.0.into()));
        told.mac(meta.link);
        told.number(meta.hop_limit);
        told.number(meta.traffic_class);
        Ok(())
    })
}

/// The next ICMP error about a datagram sent from this socket, `UDP_ERROR` of the package's names; nothing if there is none.
#[wasm_bindgen]
pub fn udp_error(socket: u32) -> i32 {
    tell(|engine, told| {
        let (host, handle) = engine.sockets.udp(socket).ok_or_else(Failure::missing)?;
        let (stack, pool) = engine.stack_mut(host)?;
        let Some((_, error)) = stack.udp_error(pool, handle, &mut []) else { return Ok(()) };
        let (code, text) = match error.report.reason {
            CloseReason::Refused => ("ECONNREFUSED", unreachable(PORT_UNREACHABLE)),
            _ if error.mtu.is_some() => ("EMSGSIZE", "too large for the path"),
            CloseReason::Unreachable { code } => ("EHOSTUNREACH", unreachable(code)),
            CloseReason::HopLimitExceeded => ("EHOSTUNREACH", HOP_LIMIT_EXCEEDED),
            _ => ("EHOSTUNREACH", NOT_UNDERSTOOD),
        };
        told.endpoint(error.remote);
        told.report(&error.report);
        told.text(code, ErrorText::plain(text));
        Ok(())
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

/// Sends an echo request to the address that it is given, and returns its number. `timeout` is in microseconds; a hop limit of 0 is the
/// stack's.
#[wasm_bindgen]
pub fn ping(now: f64, host: u32, size: u32, timeout: f64, hop_limit: u8) -> i32 {
    attempt(|engine, numbers| {
        let address = numbers.given().address()?;
        let to = PingTarget { hop_limit, ..address.into() };
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

/// What has come of an echo request, `PING_RESULT` of the package's names: the answer's round-trip time in milliseconds, its hop limit and its payload
/// bytes, or why there will be none and which router says so, or none of these when time is out. Nothing while it waits. The number is forgotten with the
/// outcome.
#[wasm_bindgen]
pub fn ping_result(socket: u32) -> i32 {
    tell(|engine, told| {
        let (host, handle) = engine.sockets.ping(socket).ok_or_else(Failure::missing)?;
        let (stack, _) = engine.stack_mut(host)?;
        let Some(outcome) = stack.ping_result(handle) else { return Ok(()) };
        engine.sockets.remove(socket);
        let (text, reporter) = match outcome {
            PingOutcome::Reply { rtt, hop_limit, len } => {
                told.millis(rtt);
                told.number(hop_limit);
                told.long(len as u64);
                told.nothing(ADDRESS + 1 + TEXT);
                return Ok(());
            }
            PingOutcome::Unreachable { code, reporter } => (unreachable(code), Some(reporter)),
            PingOutcome::TimeExceeded { reporter } => (HOP_LIMIT_EXCEEDED, Some(reporter)),
            PingOutcome::ParameterProblem { reporter } => (NOT_UNDERSTOOD, Some(reporter)),
            PingOutcome::TooBig { .. } => ("too large for the path", None),
            _ => {
                told.nothing(3 + ADDRESS + 1 + TEXT);
                return Ok(());
            }
        };
        told.nothing(3);
        told.optional(reporter);
        told.number(matches!(outcome, PingOutcome::TimeExceeded { .. }));
        told.text("EHOSTUNREACH", ErrorText::plain(text));
        Ok(())
    })
}

const HOP_LIMIT_EXCEEDED: &str = "the hop limit was exceeded on the way";
const NOT_UNDERSTOOD: &str = "a header was not understood";

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
        Failure::new(code, error.text())
    }
}

impl From<UdpSendError> for Failure {
    fn from(error: UdpSendError) -> Self {
        let code = match error {
            UdpSendError::TooLong { .. } => "EMSGSIZE",
            UdpSendError::NoRoute(_) | UdpSendError::BadAddress(_) => "ENETUNREACH",
            UdpSendError::QueueFull => "ENOBUFS",
            UdpSendError::BroadcastProhibited => "EACCES",
            _ => "EINVAL",
        };
        Failure::new(code, error.text())
    }
}

impl From<PingError> for Failure {
    fn from(error: PingError) -> Self {
        let code = match error {
            PingError::NoRoute(_) | PingError::BadAddress(_) => "ENETUNREACH",
            PingError::TooLong { .. } => "EMSGSIZE",
            PingError::TooMany => "EMFILE",
            _ => "EINVAL",
        };
        Failure::new(code, error.text())
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
