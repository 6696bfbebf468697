//! Echo requests of our own: is a host there, and how far away?

use core::mem;
use core::net::{IpAddr, SocketAddr};

use super::Stack;
use super::addressing::ScopeError;
use super::flow::link_of;
use super::icmp::{Problem, Quoted, echo_header, icmp_protocol};
use super::interface::ControlKind;
use super::ip_input::Packet;
use super::nodes::Node;
use super::transmit::{IpHead, max_payload};
use crate::address::is_unicast;
use crate::counters::DropReason;
use crate::error_text::{ErrorText, errors_with_text};
use crate::event::{InterfaceId, PingHandle};
use crate::pool::Pool;
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::wire::{icmpv4, icmpv6};

/// An echo request under way, or its outcome until it is taken.
#[derive(Clone, Debug)]
pub struct Ping {
    destination: IpAddr,
    /// The link that a link-local destination is on.
    link: Option<InterfaceId>,
    identifier: u16,
    payload_len: usize,
    sent: Instant,
    deadline: Instant,
    outcome: Option<PingOutcome>,
}

/// How an echo request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PingOutcome {
    /// It was answered.
    Reply {
        /// The round trip.
        rtt: Duration,
        /// TTL or hop limit of the answer.
        hop_limit: u8,
        /// Bytes of payload that came back.
        len: usize,
    },
    /// The network said that the host cannot be reached; the code of RFC 792's destination unreachable.
    Unreachable {
        /// The code.
        code: u8,
        /// Who has said so.
        reporter: IpAddr,
    },
    /// It ran out of hops, or of time to be put together again.
    TimeExceeded {
        /// Who has said so.
        reporter: IpAddr,
    },
    /// Somebody did not understand its header.
    ParameterProblem {
        /// Who has said so.
        reporter: IpAddr,
    },
    /// It was too large for a link on its way, of which the next one will know.
    TooBig {
        /// The MTU of that link in bytes, as it was reported.
        mtu: u16,
    },
    /// No answer in time.
    TimedOut,
}

/// Why an echo request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PingError {
    /// There is no route to the address.
    NoRoute(IpAddr),
    /// The address is link-local, and which link is meant cannot be told.
    Scope(ScopeError),
    /// The address is a group, or one of ours and there is no loopback interface.
    BadAddress(IpAddr),
    /// The payload is longer than any can be.
    TooLong {
        /// The most that there can be, in bytes.
        max: usize,
    },
    /// As many requests are under way as `Limits::pings` allows.
    TooMany,
}

impl PingError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            PingError::NoRoute(address) => ErrorText::address("no route to {}", address),
            PingError::Scope(error) => error.text(),
            PingError::BadAddress(address) => {
                ErrorText::address("{} cannot be pinged: a group, or our own without a loopback interface", address)
            }
            PingError::TooLong { max } => ErrorText::number("the payload is too long: at most {} bytes", max as u32),
            PingError::TooMany => ErrorText::plain("too many echo requests are under way"),
        }
    }
}

errors_with_text!(PingError);

/// Whom to ping: an address, and for a link-local one on a host with several interfaces which of them it is meant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingTarget {
    /// The address.
    pub address: IpAddr,
    /// The interface to send by; none leaves it to the routes.
    pub interface: Option<InterfaceId>,
    /// TTL or hop limit; 0 for the stack's. Who is so many hops away answers that it was used up, which is how routes are traced.
    pub hop_limit: u8,
}

impl From<IpAddr> for PingTarget {
    fn from(address: IpAddr) -> Self {
        PingTarget { address, interface: None, hop_limit: 0 }
    }
}

/// The byte at an offset of an echo request's payload.
fn pattern(offset: usize) -> u8 {
    offset as u8
}

impl Stack<'_> {
    /// Sends one echo request with `payload_len` bytes. The outcome is told by an event and taken with
    /// [`ping_result`](Self::ping_result).
    pub fn ping(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        to: impl Into<PingTarget>,
        payload_len: usize,
        timeout: Duration,
    ) -> Result<PingHandle, PingError> {
        self.advance_clock(now);
        let PingTarget { address: to, interface, hop_limit } = to.into();
        if !is_unicast(to) || self.cannot_loop_to(to) {
            return Err(PingError::BadAddress(to));
        }
        let interface = match interface {
            Some(interface) => Some(interface),
            None => self.link_to(SocketAddr::new(to, 0), None).map_err(PingError::Scope)?,
        };
        let hop = self.hop_to(interface, to).ok_or(PingError::NoRoute(to))?;
        // The payload is made in the scratch.
        let max = (max_payload(to) - icmpv4::HEADER_LEN).min(self.longest_datagram());
        if payload_len > max {
            return Err(PingError::TooLong { max });
        }
        let ping = Ping {
            destination: to,
            link: link_of(to, hop.interface),
            identifier: self.identifier_random.next_u32() as u16,
            payload_len,
            sent: self.now,
            deadline: self.now + timeout,
            outcome: None,
        };
        let (identifier, deadline) = (ping.identifier, ping.deadline);
        let key = self.pings.insert(ping).map_err(|_| PingError::TooMany)?;
        self.deadlines.set_no_later(self.nodes.number(Node::Ping(key.index)), deadline);

        let mut payload = mem::replace(&mut self.scratch, Storage::borrowed(&mut []));
        payload.grow_to(payload_len, 0);
        for (offset, byte) in payload[..payload_len].iter_mut().enumerate() {
            *byte = pattern(offset);
        }
        let kind = if to.is_ipv4() { icmpv4::kind::ECHO_REQUEST } else { icmpv6::kind::ECHO_REQUEST };
        // The sequence number is the index, so that the reply is found without a search.
        let header = echo_header(hop.source, to, kind, identifier, key.index as u16, &payload[..payload_len]);
        let head = IpHead { hop_limit, ..IpHead::new(hop.source, to, icmp_protocol(to)) };
        self.queue_packet(pool, Some(hop.interface), ControlKind::Datagram, &head, [&header, &payload[..payload_len]]);
        payload.truncate(0);
        self.scratch = payload;
        Ok(PingHandle(key))
    }

    /// How the request ended; None while it is under way. The handle is void once an outcome was returned.
    pub fn ping_result(&mut self, ping: PingHandle) -> Option<PingOutcome> {
        let outcome = self.pings.lookup(ping.0)?.outcome?;
        self.remove_ping(ping);
        Some(outcome)
    }

    /// Forgets a request, answered or not.
    pub fn cancel_ping(&mut self, ping: PingHandle) {
        if self.pings.lookup(ping.0).is_some() {
            self.remove_ping(ping);
        }
    }

    fn remove_ping(&mut self, ping: PingHandle) {
        let number = self.nodes.number(Node::Ping(ping.0.index));
        self.deadlines.remove(number);
        self.event_links.remove(&mut self.events, number);
        self.pings.remove(ping.0.index);
    }

    /// RFC 1122 §3.2.2.6: an echo reply goes to the request that it answers.
    pub(super) fn echo_reply(&mut self, packet: &Packet<'_>, identifier: u16, sequence: u16, data: &[u8]) {
        let index = u32::from(sequence);
        let now = self.now;
        let answered = match self.pings.get_mut(index) {
            Some(ping)
                if ping.outcome.is_none()
                    && ping.identifier == identifier
                    && ping.destination == packet.source
                    && ping.link == link_of(packet.source, packet.interface)
                    && data.len() == ping.payload_len
                    && data.iter().enumerate().all(|(offset, &byte)| byte == pattern(offset)) =>
            {
                let rtt = now.since(ping.sent);
                Some(PingOutcome::Reply { rtt, hop_limit: packet.hop_limit, len: data.len() })
            }
            _ => None,
        };
        match answered {
            Some(outcome) => self.ping_ended(index, outcome),
            None => self.counters.drop(DropReason::IcmpIgnored),
        }
    }

    /// An ICMP error that quotes an echo request of ours with this identifier and sequence number.
    pub(super) fn ping_problem(
        &mut self,
        packet: &Packet<'_>,
        quoted: &Quoted<'_>,
        [a, b, c, d]: [u8; 4],
        problem: Problem,
    ) -> bool {
        let index = u32::from(u16::from_be_bytes([c, d]));
        let Some(ping) = self.pings.get(index).filter(|ping| {
            ping.outcome.is_none()
                && ping.destination == quoted.destination
                && ping.identifier == u16::from_be_bytes([a, b])
        }) else {
            return false;
        };
        let destination = ping.destination;
        let outcome = match problem {
            Problem::Unreachable(code) => PingOutcome::Unreachable { code, reporter: packet.source },
            Problem::TimeExceeded { .. } => PingOutcome::TimeExceeded { reporter: packet.source },
            Problem::Parameter { .. } => PingOutcome::ParameterProblem { reporter: packet.source },
            Problem::TooBig(mtu) => {
                // The next one will fit.
                self.learn_path_mtu(destination, mtu);
                PingOutcome::TooBig { mtu }
            }
        };
        self.ping_ended(index, outcome);
        true
    }

    pub(super) fn ping_timeout(&mut self, index: u32) {
        let now = self.now;
        if let Some(ping) = self.pings.get(index)
            && ping.outcome.is_none()
            && ping.deadline <= now
        {
            self.ping_ended(index, PingOutcome::TimedOut);
        }
    }

    fn ping_ended(&mut self, index: u32, outcome: PingOutcome) {
        if let Some(ping) = self.pings.get_mut(index) {
            ping.outcome = Some(outcome);
            self.notify(Node::Ping(index));
        }
    }
}
