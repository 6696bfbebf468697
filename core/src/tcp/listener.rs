//! Listeners, and the half-open connections (SYN-RECEIVED) that are too small to be full ones yet: the SYN cache of RFC 4987 §3.4. When
//! it is full nobody is evicted, since [cookies](super::cookies) answer.

use crate::address::Endpoint;
use crate::config::TcpConfig;
use crate::event::Signals;
use crate::links::List;
use crate::slab::Slab;
use crate::stack::flow::Flow;
use crate::stack::path::Path;
use crate::tcp::Segment;
use crate::tcp::accecn::AccEcnOption;
use crate::tcp::challenge::ChallengeLimit;
use crate::tcp::connection::{Connection, Opening, PeerSyn, State};
use crate::tcp::ecn::{EcnMode, EcnState};
use crate::tcp::fast_open::{Cookie, ListenerFastOpen, Role};
use crate::tcp::output::Bare;
use crate::tcp::seq::Seq;
use crate::tcp::timestamps;
use crate::time::{Duration, Instant};
use crate::wire::{TcpFlags, TcpOptions, Timestamps};

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
    /// Until when an acknowledgment may hold a SYN cookie.
    pub(crate) cookies_until: Instant,
    pub(crate) fast_open: ListenerFastOpen,
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
    pub(crate) iss: Seq,
    pub(crate) peer: PeerSyn,
    pub(crate) timestamp_offset: u32,
    /// The Fast Open cookie that the SYN and ACK grants.
    pub(crate) cookie: Option<Cookie>,
    pub(crate) advertised_mss: u16,
    /// Timeouts of the SYN and ACK.
    pub(crate) retransmits: u8,
    /// The peer's SYN came without the flags of Accurate ECN as well (RFC 9768 §3.1.5).
    pub(crate) ecn_mangled: bool,
    /// The SYN and ACK was sent more than once, or its acknowledgment came without the data that is waited for.
    pub(crate) repeated: bool,
    /// After how many timeouts such an acknowledgment came first.
    pub(crate) acknowledged: Option<u8>,
    pub(crate) deadline: Instant,
    pub(crate) syn_ack_due: bool,
    pub(crate) challenges: ChallengeLimit,
}

/// Retransmissions of the SYN and ACK that still have the flags of Accurate ECN.
const PLAIN_SYN_ACK_AFTER: u8 = 2;

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
        config.syn_ack_timeout(self.retransmits)
    }

    /// An acceptable segment has come: whether it has to wait, as in Linux, since it has no data (`TcpConfig::defer_accept`).
    pub(crate) fn defers(&mut self, segment: &Segment<'_>, config: &TcpConfig) -> bool {
        let waits = self.retransmits < config.defer_accept && segment.len() == 0;
        if waits {
            self.repeated = true;
            self.acknowledged.get_or_insert(self.retransmits);
        }
        waits
    }

    /// The timer has expired: counts it. The SYN and ACK is sent again, but not to a peer who has acknowledged it and is still given
    /// time for data; the last of that time, so that the peer acknowledges once more. False if it is given up.
    pub(crate) fn timed_out(&mut self, config: &TcpConfig) -> bool {
        let waits = self.acknowledged.is_some() && self.retransmits < config.defer_accept;
        if self.retransmits >= config.syn_ack_retries && !waits {
            return false;
        }
        self.retransmits += 1;
        self.syn_ack_due |= !waits || self.retransmits >= config.defer_accept;
        true
    }

    /// The timestamps of what is sent now.
    pub(crate) fn timestamps(&self, now: Instant) -> Option<Timestamps> {
        self.peer.tsval.map(|echo| Timestamps { value: timestamps::clock(now, self.timestamp_offset), echo })
    }

    /// RFC 7323 §5.3 R1.
    pub(crate) fn is_old_duplicate(&self, segment: &Segment<'_>) -> bool {
        let timestamps = TcpOptions::timestamps_of(segment.options);
        // Some hosts have 0 in their SYN and a clock afterwards.
        let recent = self.peer.tsval.filter(|&recent| recent != 0);
        timestamps.zip(recent).is_some_and(|(found, recent)| timestamps::is_older(found.value, recent))
    }

    /// What the SYN and ACK says of ECN with its flags, and whether it has the AccECN option: it may be lost because of either
    /// (RFC 9768 §3.1.4.2 and §3.2.3.2.1).
    pub(crate) fn ecn_offer(&self, config: &TcpConfig) -> (TcpFlags, bool) {
        let is_accurate = self.peer.ecn == EcnMode::Accurate;
        if is_accurate && self.retransmits >= PLAIN_SYN_ACK_AFTER {
            return (TcpFlags::NONE, false);
        }
        let is_first = self.retransmits == 0 && !self.repeated;
        let has_option = is_accurate && is_first && config.accecn_option != AccEcnOption::Off;
        (self.peer.ecn.syn_ack_flags(self.peer.ecn_field), has_option)
    }

    /// RCV.WND in bytes: what the SYN and ACK offers, which is never scaled (RFC 7323 §2.2).
    pub(crate) fn receive_window(&self, config: &TcpConfig) -> u32 {
        config.first_receive_buffer().min(u32::from(u16::MAX))
    }

    /// The ACK that tells the peer what we expect (RFC 5961 §3.2).
    pub(crate) fn challenge_ack(&self, now: Instant, config: &TcpConfig) -> Bare {
        let scale = self.peer.window_scale.map_or(0, |_| config.window_scale());
        let window = (self.receive_window(config) >> scale) as u16;
        let (seq, ack) = (self.iss + 1, self.peer.seq + 1);
        Bare { flow: self.flow, seq, ack, flags: TcpFlags::ACK, window, timestamps: self.timestamps(now) }
    }

    /// Makes a connection in the table, which `promote` or `begin_with_data` then brings to where it is; its index and itself, unless
    /// the table is full.
    pub(crate) fn begin<'c>(
        &self,
        connections: &'c mut Slab<'_, Connection>,
        now: Instant,
        config: &TcpConfig,
    ) -> Option<(u32, &'c mut Connection)> {
        let opening = Opening {
            flow: self.flow,
            flow_hash: self.flow_hash,
            iss: self.iss,
            timestamp_offset: self.timestamp_offset,
            advertised_mss: self.advertised_mss,
            now,
        };
        let (key, connection) = Connection::open(connections, &opening, config)?;
        connection.state = State::SynReceived;
        connection.figures.is_passive = true;
        // The peer's SYN.
        connection.figures.segments_received = 1;
        connection.path = self.path.clone();
        connection.peer_syn(now, &self.peer);
        let mangled = self.ecn_mangled || self.retransmits >= PLAIN_SYN_ACK_AFTER;
        connection.ecn = EcnState::accepted(self.peer.ecn, self.peer.ecn_field, mangled);
        Some((key.index, connection))
    }

    /// In SYN-RECEIVED with the SYN and ACK due, to be accepted before the handshake ends (RFC 7413 §4.2.2).
    pub(crate) fn begin_with_data(&self, connection: &mut Connection) {
        connection.syn_due = true;
        // The window of a SYN without ACK is for what follows our own SYN.
        connection.snd_wnd += 1;
        connection.fast_open.role = Role::Server;
        connection.fast_open.pending = Some(self.listener.index);
    }

    /// In SYN-RECEIVED with the SYN and ACK sent, for the peer's acknowledgment to be processed by.
    pub(crate) fn promote(&self, connection: &mut Connection, now: Instant) {
        connection.syn_due = false;
        connection.snd_nxt = self.iss + 1;
        connection.timeouts = self.acknowledged.unwrap_or(self.retransmits);
        if self.retransmits == 0 && !self.repeated {
            connection.rtt.syn_sent(self.deadline - self.rto(&connection.config));
        }
        connection.retransmits = u32::from(connection.timeouts);
        for count in 0..self.retransmits {
            connection.figures.timed_out(count > 0);
        }
        connection.unanswered_since = self.first_sent(&connection.config);
        connection.restart_retransmit_timer(now);
    }

    /// When the SYN and ACK was sent first.
    fn first_sent(&self, config: &TcpConfig) -> Instant {
        (0..=self.retransmits).fold(self.deadline, |at, retransmits| at - config.syn_ack_timeout(retransmits))
    }
}
