//! Listeners, and the half-open connections (SYN-RECEIVED) that are too small to be full ones yet.
//!
//! SYN cookies (RFC 4987) will answer here when the table of half-open connections is full.

use crate::address::Endpoint;
use crate::config::TcpConfig;
use crate::event::Signals;
use crate::links::List;
use crate::stack::flow::Flow;
use crate::stack::path::Path;
use crate::tcp::challenge::ChallengeLimit;
use crate::tcp::connection::{Connection, Opening, State, window_scale_for};
use crate::tcp::output::Bare;
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};
use crate::wire::TcpFlags;

/// A listener: where connections are accepted.
#[derive(Clone, Debug)]
pub struct Listener {
    pub(crate) local: Endpoint,
    pub(crate) backlog: u16,
    pub(crate) config: TcpConfig,
    /// Established connections that wait to be accepted.
    pub(crate) accept_queue: List,
    pub(crate) queued: u16,
    /// Connections in SYN-RECEIVED.
    pub(crate) half_open: u16,
    pub(crate) signals: Signals,
}

/// A connection request that was answered and not yet acknowledged.
#[derive(Clone, Debug)]
pub struct HalfOpen {
    pub(crate) flow: Flow,
    /// The flow's hash in its stack's table.
    pub(crate) flow_hash: u32,
    /// The listener's index and generation.
    pub(crate) listener: crate::slab::Key,
    pub(crate) path: Path,
    /// The neighbour whose address the SYN and ACK waits for.
    pub(crate) parked: Option<u32>,
    pub(crate) irs: Seq,
    pub(crate) iss: Seq,
    /// The window of the peer's SYN.
    pub(crate) window: u16,
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) advertised_mss: u16,
    pub(crate) retransmits: u8,
    /// The SYN and ACK was sent more than once.
    pub(crate) repeated: bool,
    pub(crate) deadline: Instant,
    pub(crate) syn_ack_due: bool,
    pub(crate) challenges: ChallengeLimit,
}

impl HalfOpen {
    /// The SYN and ACK was sent: when to send it again.
    pub(crate) fn sent(&mut self, now: Instant, config: &TcpConfig) {
        self.syn_ack_due = false;
        self.restart_timer(now, config);
    }

    /// The timer runs from the beginning, also while the SYN and ACK waits for a neighbour.
    pub(crate) fn restart_timer(&mut self, now: Instant, config: &TcpConfig) {
        self.deadline = now + self.rto(config);
    }

    fn rto(&self, config: &TcpConfig) -> Duration {
        config.initial_rto.backed_off(u32::from(self.retransmits)).min(config.max_rto)
    }

    /// RCV.WND in bytes: what the SYN and ACK offers, which is never scaled (RFC 7323 §2.2).
    pub(crate) fn receive_window(&self, config: &TcpConfig) -> u32 {
        config.receive_buffer.min(u32::from(u16::MAX))
    }

    /// The ACK that tells the peer what we expect (RFC 5961 §3.2).
    pub(crate) fn challenge_ack(&self, config: &TcpConfig) -> Bare {
        let scale = self.window_scale.map_or(0, |_| window_scale_for(config.receive_buffer));
        let window = (self.receive_window(config) >> scale) as u16;
        Bare { flow: self.flow, seq: self.iss + 1, ack: self.irs + 1, flags: TcpFlags::ACK, window }
    }

    /// The full connection, in SYN-RECEIVED with the SYN and ACK sent, for the peer's acknowledgment to be processed by.
    pub(crate) fn promote(&self, now: Instant, config: TcpConfig) -> Connection {
        let opening = Opening {
            flow: self.flow,
            flow_hash: self.flow_hash,
            iss: self.iss,
            advertised_mss: self.advertised_mss,
            now,
        };
        let mut connection = Connection::connecting(&opening, config);
        connection.state = State::SynReceived;
        connection.syn_due = false;
        connection.snd_nxt = self.iss + 1;
        connection.path = self.path.clone();
        connection.peer_syn(self.irs, self.window, self.mss, self.window_scale);
        connection.timeouts = self.retransmits;
        if self.retransmits == 0 && !self.repeated {
            let sent = self.deadline - self.rto(&config);
            connection.rtt.measured(now.since(sent));
        }
        connection.restart_retransmit_timer(now);
        connection
    }
}
