//! What the package's types show of the stack, as objects for JavaScript.

use std::net::{IpAddr, SocketAddr};

use ethertab::{ConnectionInfo, PingOutcome, UdpMeta};
use serde::Serialize;
use wasm_bindgen::JsValue;

use crate::failure::Failure;

/// An address and a port as people write them.
pub(crate) fn endpoint(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// What can be handed to JavaScript as an object; absent fields become null.
pub(crate) trait ToJs: Serialize {
    fn to_js(&self) -> Result<JsValue, Failure> {
        let serializer = serde_wasm_bindgen::Serializer::new().serialize_missing_as_null(true);
        Ok(self.serialize(&serializer)?)
    }
}

impl<T: Serialize> ToJs for T {}

/// `SocketAddress` of the package.
#[derive(Debug, Serialize)]
pub(crate) struct SocketAddress {
    address: String,
    port: u16,
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        SocketAddress { address: address.ip().to_string(), port: address.port() }
    }
}

/// Why a connection is over.
#[derive(Debug, Serialize)]
pub(crate) struct Ending {
    /// A code of `SocketErrorCode`, or nothing for a good end.
    pub(crate) code: Option<&'static str>,
    pub(crate) text: String,
}

/// `ConnectionInfo` of the package.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Connection {
    state: String,
    local: SocketAddress,
    remote: SocketAddress,
    cwnd: u32,
    ssthresh: f64,
    srtt: Option<f64>,
    rttvar: Option<f64>,
    rto: f64,
    bytes_in_flight: u32,
    send_queue: u32,
    receive_queue: u32,
    send_window: u32,
    receive_window: u32,
    mss: u32,
    retransmits: u32,
    bytes_sent: f64,
    bytes_received: f64,
    congestion_state: String,
}

fn millis(span: ethertab::time::Duration) -> f64 {
    span.as_micros() as f64 / 1_000.0
}

pub(crate) fn connection(info: &ConnectionInfo) -> Connection {
    Connection {
        state: info.state.to_string(),
        local: info.local.into(),
        remote: info.remote.into(),
        cwnd: info.cwnd,
        ssthresh: if info.ssthresh == u32::MAX { f64::INFINITY } else { f64::from(info.ssthresh) },
        srtt: info.srtt.map(millis),
        rttvar: info.srtt.map(|_| millis(info.rttvar)),
        rto: millis(info.rto),
        bytes_in_flight: info.bytes_in_flight,
        send_queue: info.send_queue,
        receive_queue: info.receive_queue,
        send_window: info.send_window,
        receive_window: info.receive_window,
        mss: info.mss,
        retransmits: info.retransmits,
        bytes_sent: info.bytes_sent as f64,
        bytes_received: info.bytes_received as f64,
        congestion_state: format!("{:?}", info.congestion_state).to_ascii_lowercase(),
    }
}

/// What `udp_recv` tells besides the bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Datagram {
    length: u32,
    remote_address: String,
    remote_port: u16,
    local_address: String,
    interface: Option<u8>,
    mac: Option<String>,
}

pub(crate) fn datagram(length: usize, meta: &UdpMeta) -> Datagram {
    Datagram {
        length: length as u32,
        remote_address: meta.remote.ip().to_string(),
        remote_port: meta.remote.port(),
        local_address: meta.local.map(|address| address.to_string()).unwrap_or_default(),
        interface: meta.interface.map(|interface| interface.0),
        mac: meta.link.map(|mac| mac.to_string()),
    }
}

/// What `udp_error` tells.
#[derive(Debug, Serialize)]
pub(crate) struct DatagramError {
    address: IpAddr,
    port: u16,
    refused: bool,
    text: String,
}

/// `code` is that of RFC 792's destination unreachable.
pub(crate) fn udp_error(remote: SocketAddr, code: u8) -> DatagramError {
    DatagramError {
        address: remote.ip(),
        port: remote.port(),
        refused: code == PORT_UNREACHABLE,
        text: unreachable(code).into(),
    }
}

const PORT_UNREACHABLE: u8 = 3;

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

/// What `ping_result` tells.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Ping {
    Reply { rtt: f64, ttl: u8, size: u32 },
    Unreachable { text: &'static str },
    Timeout,
}

pub(crate) fn ping(outcome: &PingOutcome) -> Ping {
    match *outcome {
        PingOutcome::Reply { rtt, hop_limit, len } => {
            Ping::Reply { rtt: millis(rtt), ttl: hop_limit, size: len as u32 }
        }
        PingOutcome::Unreachable { code } => Ping::Unreachable { text: unreachable(code) },
        _ => Ping::Timeout,
    }
}
