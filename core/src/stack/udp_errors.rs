//! What ICMP has reported about the datagrams of a UDP socket, each socket's in a queue of its own (RFC 1122 §4.1.3.3; Linux's
//! `IP_RECVERR`).

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::Stack;
use super::error_reports::ErrorReport;
use super::flow::Flow;
use super::icmp::Problem;
use super::ip_input::Packet;
use super::nodes::Node;
use super::udp::{INTERFACE_KEY, decode_interface, encode_interface};
use crate::address::{Endpoint, bits, with_scope};
use crate::counters::DropReason;
use crate::event::{InterfaceId, Signals, UdpHandle};
use crate::pool::Pool;
use crate::wire::udp;

/// Bytes of reports that wait in a socket; later ones are dropped.
pub(super) const ERROR_BYTES: u32 = 4_096;
/// Bytes kept of the datagram that a report is about.
const QUOTED: usize = 512;

/// An ICMP error about a datagram that a UDP socket has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpError {
    /// Where the datagram was sent.
    pub remote: SocketAddr,
    /// What was reported, and by whom.
    pub report: ErrorReport,
    /// If the datagram was too large for a link on its way: that link's MTU in bytes (RFC 1191 §4, RFC 4443 §3.2).
    pub mtu: Option<u16>,
}

/// What precedes the beginning of the datagram in the queue.
#[derive(Clone, Copy)]
struct Record {
    remote: [u8; 16],
    port: u16,
    reporter: [u8; 16],
    kind: u8,
    code: u8,
    problem: Problem,
    interface: [u8; INTERFACE_KEY],
}

impl Record {
    const LEN: usize = 39 + INTERFACE_KEY;

    fn encode(&self) -> [u8; Record::LEN] {
        let (tag, value) = match self.problem {
            Problem::Unreachable(code) => (0, code.into()),
            Problem::TooBig(mtu) => (1, mtu),
            Problem::TimeExceeded { in_transit } => (2, in_transit.into()),
            Problem::Parameter { next_header } => (3, next_header.into()),
        };
        let mut out = [0; Record::LEN];
        out[..16].copy_from_slice(&self.remote);
        out[16..32].copy_from_slice(&self.reporter);
        out[32..34].copy_from_slice(&self.port.to_be_bytes());
        out[34..37].copy_from_slice(&[self.kind, self.code, tag]);
        out[37..39].copy_from_slice(&u16::to_be_bytes(value));
        out[39..].copy_from_slice(&self.interface);
        out
    }

    fn decode(bytes: &[u8; Record::LEN]) -> Record {
        let (&remote, rest) = bytes.split_first_chunk().unwrap_or((&[0; 16], &[]));
        let (&reporter, rest) = rest.split_first_chunk().unwrap_or((&[0; 16], &[]));
        let &[a, b, kind, code, tag, c, d, ..] = rest.first_chunk().unwrap_or(&[0; 7 + INTERFACE_KEY]);
        let value = u16::from_be_bytes([c, d]);
        let problem = match tag {
            0 => Problem::Unreachable(d),
            1 => Problem::TooBig(value),
            2 => Problem::TimeExceeded { in_transit: value != 0 },
            _ => Problem::Parameter { next_header: value != 0 },
        };
        let mut interface = [0; INTERFACE_KEY];
        interface.copy_from_slice(&bytes[39..]);
        Record { remote, port: u16::from_be_bytes([a, b]), reporter, kind, code, problem, interface }
    }
}

impl Stack<'_> {
    /// Takes the oldest error that ICMP has reported about a datagram of the socket's. As much of that datagram as the report quotes, 512
    /// bytes at most, goes into `quoted` as far as it fits; its length is returned, too. [`Signals::ERROR`] tells that there is one.
    pub fn udp_error(
        &mut self,
        pool: &mut Pool<'_>,
        socket: UdpHandle,
        quoted: &mut [u8],
    ) -> Option<(usize, UdpError)> {
        let found = self.udp_sockets.lookup_mut(socket.0)?;
        found.errors.front_len()?;
        let mut record = [0; Record::LEN];
        found.errors.peek(pool, 0, &mut record);
        let len = found.errors.peek(pool, Record::LEN, quoted);
        found.errors.pop(pool, &mut self.account);
        let Record { remote, port, reporter, kind, code, problem, interface } = Record::decode(&record);
        let key = decode_interface(interface);
        let link = self.interfaces.lookup(key).map(|_| InterfaceId(key.index as u8));
        let address = |octets| Ipv6Addr::from_octets(octets).to_canonical();
        let remote = with_scope(address(remote), port, link);
        let report = ErrorReport { reason: problem.reason(), kind, code, reporter: address(reporter) };
        let mtu = match problem {
            Problem::TooBig(mtu) => Some(mtu),
            _ => None,
        };
        Some((len, UdpError { remote, report, mtu }))
    }

    /// An ICMP error, in `packet`, about a datagram of ours, which it quotes from its UDP header on.
    pub(super) fn udp_problem(
        &mut self,
        pool: &mut Pool<'_>,
        flow: &Flow,
        problem: Problem,
        packet: &Packet<'_>,
        quoted: &[u8],
    ) -> bool {
        let local = Endpoint { address: Some(flow.local), port: flow.local_port };
        let found = match self.is_local(flow.local) {
            true => self.find_udp(local, flow.remote_address()),
            false => self.find_udp_flow(self.flow_hash(flow), flow),
        };
        let Some(index) = found else { return false };
        if let Problem::TooBig(mtu) = problem {
            self.learn_path_mtu(flow.remote, mtu);
        }
        let Some(interface) = self.interfaces.key(u32::from(packet.interface.0)) else { return true };
        let (Some(socket), &[kind, code, ..]) = (self.udp_sockets.get_mut(index), packet.payload) else { return true };
        let octets = |address: IpAddr| bits(address).to_be_bytes();
        let record = Record {
            remote: octets(flow.remote),
            port: flow.remote_port,
            reporter: octets(packet.source),
            kind,
            code,
            problem,
            interface: encode_interface(interface),
        };
        let data = quoted.get(udp::HEADER_LEN..).unwrap_or(&[]);
        let data = &data[..data.len().min(QUOTED)];
        if !socket.errors.push(pool, &mut self.account, 0, &[&record.encode(), data]) {
            self.counters.drop(DropReason::UdpQueueFull);
        }
        socket.signals |= Signals::ERROR;
        self.notify(Node::Udp(index));
        true
    }
}
