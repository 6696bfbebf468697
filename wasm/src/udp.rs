//! UDP sockets and echo requests.

use std::net::SocketAddr;

use ethertab::time::Duration;
use ethertab::{BindError, InterfaceId, PingError, UdpHandle, UdpMeta, UdpSendError};
use ethertab_sim::HostId;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::describe::{self, ToJs};
use crate::failure::Failure;
use crate::hosts::{parse_address, parse_mac};
use crate::network::{Network, Socket, instant};
use crate::tcp::endpoint;

#[wasm_bindgen]
impl Network {
    /// Binds a UDP socket and returns its number. Without an address to all of them, on port 0 where the stack likes.
    pub fn bind_udp(&mut self, host: u32, address: Option<String>, port: u16) -> Result<u32, Failure> {
        let attempt = || format!("bind UDP {}", describe::endpoint(address.as_deref().unwrap_or("::"), port));
        let host = self.hosts.get(host)?;
        let local = endpoint(address.as_deref(), port)?;
        let (stack, _) = self.stack_mut(host)?;
        let handle = stack.bind_udp(local).map_err(|error| Failure::from(error).context(attempt()))?;
        Ok(self.sockets.insert(Socket::Udp(host, handle)))
    }

    /// The port that a UDP socket has.
    pub fn udp_port(&self, socket: u32) -> Result<u16, Failure> {
        let (host, handle) = self.udp(socket)?;
        Ok(self.stack(host)?.udp_address(handle).map_or(0, |local| local.port))
    }

    /// Sends the first `length` bytes of the scratch buffer as a datagram. `interface` -1 and no `local` or `mac` leave the
    /// choice to the stack.
    #[expect(clippy::too_many_arguments, reason = "a flat interface for JavaScript")]
    pub fn udp_send(
        &mut self,
        now: f64,
        socket: u32,
        length: u32,
        address: &str,
        port: u16,
        local: Option<String>,
        interface: i32,
        mac: Option<Vec<u8>>,
    ) -> Result<(), Failure> {
        let (host, handle) = self.udp(socket)?;
        let mut meta = UdpMeta::to(SocketAddr::new(parse_address(address)?, port));
        meta.local = local.as_deref().map(parse_address).transpose()?;
        meta.interface = u8::try_from(interface).ok().map(InterfaceId);
        meta.link = mac.as_deref().map(parse_mac).transpose()?;
        let Some((stack, pool)) = self.inner.host_mut(host) else {
            return Err(Failure::invalid("there is no such host"));
        };
        let data = &self.scratch[..(length as usize).min(self.scratch.len())];
        stack.udp_send(pool, instant(now), handle, &meta, data).map_err(|error| {
            Failure::from(error).context(format_args!("datagram to {}", describe::endpoint(address, port)))
        })
    }

    /// Moves the next datagram into the scratch buffer and tells about it: an object, or undefined if there is none.
    pub fn udp_recv(&mut self, socket: u32) -> Result<JsValue, Failure> {
        let (host, handle) = self.udp(socket)?;
        let Some((stack, pool)) = self.inner.host_mut(host) else { return Ok(JsValue::UNDEFINED) };
        let Some((length, meta)) = stack.udp_recv(pool, handle, &mut self.scratch) else {
            return Ok(JsValue::UNDEFINED);
        };
        describe::datagram(length, &meta).to_js()
    }

    /// The next ICMP error about a datagram sent from this socket: an object, or undefined if there is none.
    pub fn udp_error(&mut self, socket: u32) -> Result<JsValue, Failure> {
        let (host, handle) = self.udp(socket)?;
        let (stack, _) = self.stack_mut(host)?;
        let Some((remote, code)) = stack.udp_error(handle) else { return Ok(JsValue::UNDEFINED) };
        describe::udp_error(remote, code).to_js()
    }

    /// Closes a UDP socket and forgets its number.
    pub fn udp_close(&mut self, socket: u32) {
        let Ok((host, handle)) = self.udp(socket) else { return };
        self.sockets.remove(socket);
        if let Ok((stack, pool)) = self.stack_mut(host) {
            stack.udp_close(pool, handle);
        }
    }

    /// Sends an echo request and returns its number. `timeout` is in microseconds.
    pub fn ping(&mut self, now: f64, host: u32, address: &str, size: u32, timeout: f64) -> Result<u32, Failure> {
        let host = self.hosts.get(host)?;
        let to = parse_address(address)?;
        let (stack, pool) = self.stack_mut(host)?;
        let timeout = Duration::from_micros(timeout as u64);
        let handle = stack
            .ping(pool, instant(now), to, size as usize, timeout)
            .map_err(|error| Failure::from(error).context(format_args!("ping {address}")))?;
        Ok(self.sockets.insert(Socket::Ping(host, handle)))
    }

    /// Forgets an echo request and its number.
    pub fn ping_cancel(&mut self, socket: u32) {
        let Ok(Socket::Ping(host, handle)) = self.sockets.get(socket) else { return };
        self.sockets.remove(socket);
        if let Ok((stack, _)) = self.stack_mut(host) {
            stack.cancel_ping(handle);
        }
    }

    /// What has come of an echo request: an object, or undefined while it waits. The number is forgotten with the outcome.
    pub fn ping_result(&mut self, socket: u32) -> Result<JsValue, Failure> {
        let Socket::Ping(host, handle) = self.sockets.get(socket)? else {
            return Err(Failure::invalid(format_args!("socket {socket} is no echo request")));
        };
        let (stack, _) = self.stack_mut(host)?;
        let Some(outcome) = stack.ping_result(handle) else { return Ok(JsValue::UNDEFINED) };
        self.sockets.remove(socket);
        describe::ping(&outcome).to_js()
    }
}

impl Network {
    fn udp(&self, socket: u32) -> Result<(HostId, UdpHandle), Failure> {
        match self.sockets.get(socket)? {
            Socket::Udp(host, handle) => Ok((host, handle)),
            _ => Err(Failure::invalid(format_args!("socket {socket} is no UDP socket"))),
        }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        let code = match error {
            BindError::AddressInUse(_) | BindError::PortsExhausted => "EADDRINUSE",
            BindError::AddressNotAvailable(_) => "EADDRNOTAVAIL",
            _ => "EMFILE",
        };
        Failure::new(code, error)
    }
}

impl From<UdpSendError> for Failure {
    fn from(error: UdpSendError) -> Self {
        let code = match error {
            UdpSendError::TooLong { .. } => "EMSGSIZE",
            UdpSendError::NoRoute(_) => "ENETUNREACH",
            UdpSendError::QueueFull => "ENOBUFS",
            _ => "EINVAL",
        };
        Failure::new(code, error)
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
        Failure::new(code, error)
    }
}
