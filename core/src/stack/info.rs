//! Listings: what `ss -ti` shows of a host's connections.

use core::net::SocketAddr;

use super::Stack;
use super::flow::Flow;
use crate::address::Endpoint;
use crate::event::{ConnectionHandle, ListenerHandle};
use crate::tcp::accecn::EcnCounters;
use crate::tcp::congestion::Algorithm;
use crate::tcp::connection::{CloseReason, Connection, State};
use crate::tcp::ecn::EcnMode;
use crate::tcp::pacing;
use crate::tcp::recovery::CongestionState;
use crate::tcp::timers::Timer;
use crate::time::{Duration, Instant};

/// One connection as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The handle, if the user holds the connection.
    pub handle: Option<ConnectionHandle>,
    /// Its state.
    pub state: State,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Congestion window in bytes.
    pub cwnd: u32,
    /// Slow start threshold in bytes; `u32::MAX` before the first loss.
    pub ssthresh: u32,
    /// Smoothed round-trip time, once measured.
    pub srtt: Option<Duration>,
    /// Variation of the round-trip time.
    pub rttvar: Duration,
    /// Retransmission timeout, with its back-off.
    pub rto: Duration,
    /// Bytes in the network as far as can be told.
    pub bytes_in_flight: u32,
    /// Bytes sent and not acknowledged.
    pub unacknowledged: u32,
    /// Segments sent and not acknowledged cumulatively.
    pub unacknowledged_segments: u32,
    /// Of these, those that the peer has, say SACK blocks or, without SACK, duplicate acknowledgments.
    pub sacked_segments: u32,
    /// Of these, those believed lost, sent again since or not.
    pub lost_segments: u32,
    /// Of these, those sent again whose last transmission is in flight.
    pub resent_segments: u32,
    /// Segments by which one may be overtaken without counting as lost.
    pub reordering: u32,
    /// How often segments were seen to arrive out of order.
    pub reordering_seen: u32,
    /// Segments that the peer reported as duplicates (RFC 2883).
    pub duplicates_reported: u32,
    /// Bytes in the send buffer.
    pub send_queue: u32,
    /// Bytes in order in the receive buffer.
    pub receive_queue: u32,
    /// The peer's window in bytes.
    pub send_window: u32,
    /// The window that we have offered, in bytes.
    pub receive_window: u32,
    /// Payload bytes of a full segment.
    pub mss: u32,
    /// Payload bytes of the peer's segments, as far as can be told.
    pub receive_mss: u32,
    /// The MSS that our SYN announced, options included (RFC 6691).
    pub advertised_mss: u16,
    /// Largest IP packet that the path is believed to carry, in bytes.
    pub path_mtu: u32,
    /// Both sides' SYNs offered timestamps (RFC 7323).
    pub timestamps: bool,
    /// Both sides' SYNs offered selective acknowledgment (RFC 2018).
    pub sack: bool,
    /// Shift counts of the peer's windows and of ours, if both sides' SYNs offered window scaling (RFC 7323).
    pub window_scales: Option<(u8, u8)>,
    /// How long an ACK waits for company.
    pub delayed_ack: Duration,
    /// How long ago data was sent last, the end of the handshake if none was.
    pub since_data_sent: Duration,
    /// How long ago data came last, our peer's half of the handshake if none has.
    pub since_data_received: Duration,
    /// How long ago an acceptable segment came last.
    pub since_received: Duration,
    /// Bytes that the receive buffer may hold now.
    pub receive_buffer: u32,
    /// Bytes that the send buffer may hold now.
    pub send_buffer: u32,
    /// The round trip by the echoes in what the peer sends, if they tell.
    pub receive_rtt: Option<Duration>,
    /// Bytes that the user reads in a round trip.
    pub receive_space: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// Timeouts since the last progress.
    pub backoff: u8,
    /// Why it is over, once it is.
    pub reason: Option<CloseReason>,
    /// What the network has said of it since the peer was heard last, and what will be the reason if it times out (RFC 5461 §2).
    pub soft_error: Option<CloseReason>,
    /// State of loss recovery.
    pub congestion_state: CongestionState,
    /// The congestion control algorithm.
    pub congestion_control: Algorithm,
    /// Bytes a second at which the congestion window leaves, or would if it were paced; none before a round trip is measured.
    pub pacing_rate: Option<u64>,
    /// Bytes a second that the network has delivered of late; 0 before that is measured.
    pub delivery_rate: u64,
    /// Whether the application, and not the network, was what limited it.
    pub delivery_rate_is_app_limited: bool,
    /// The bottleneck's bytes a second, if the congestion control estimates it (BBR).
    pub bandwidth: Option<u32>,
    /// Payload bytes sent, each once.
    pub bytes_sent: u64,
    /// Payload bytes received in order.
    pub bytes_received: u64,
    /// Bytes that the peer has acknowledged; as in Linux, our FIN counts, and our SYN if we have opened the connection.
    pub bytes_acknowledged: u64,
    /// Payload bytes sent again.
    pub bytes_retransmitted: u64,
    /// Segments received, merged ones as they were on the wire; on the passive side with the SYN. Modulo 2^32, as the next three.
    pub segments_received: u32,
    /// Segments sent, without the SYN and ACK of a listener.
    pub segments_sent: u32,
    /// Of those received, those with payload.
    pub data_segments_received: u32,
    /// Of those sent, those with payload.
    pub data_segments_sent: u32,
    /// Segments that the peer has received, our SYN included, as far as ACKs, SACK blocks and DSACKs tell.
    pub delivered: u32,
    /// Segments with data that arrived out of order.
    pub out_of_order_segments: u32,
    /// Retransmission timeouts, those of the handshake included.
    pub total_timeouts: u16,
    /// The same without those that followed another before there was progress.
    pub timeout_recoveries: u16,
    /// Time from each first timeout to progress, in milliseconds' precision as the next three.
    pub timeout_time: Duration,
    /// Time with data, or a FIN, not yet acknowledged.
    pub busy_time: Duration,
    /// Of this, time in which the peer's window was what held data back.
    pub window_limited_time: Duration,
    /// Of this, time in which the send buffer was, smaller than the congestion window.
    pub buffer_limited_time: Duration,
    /// The smallest round-trip time of the last five minutes, once measured.
    pub min_rtt: Option<Duration>,
    /// Zero-window or keep-alive probes that are not answered.
    pub unanswered_probes: u8,
    /// What of ECN was agreed (RFC 3168).
    pub ecn: EcnMode,
    /// The peer has sent ECN-capable packets.
    pub ecn_seen: bool,
    /// What Accurate ECN has counted (RFC 9768).
    pub ecn_counters: EcnCounters,
    /// All data in the SYN has arrived: ours, or on the server's side the peer's (RFC 7413).
    pub fast_open_data: bool,
    /// How long until each of the timers that run expires, at the place of the [`Timer`]'s number.
    pub timers: [Option<Duration>; Timer::ALL.len()],
}

impl ConnectionInfo {
    /// A connection of which only state and ends are known.
    fn bare(state: State, flow: &Flow) -> Self {
        ConnectionInfo {
            handle: None,
            state,
            local: flow.local_address(),
            remote: flow.remote_address(),
            cwnd: 0,
            ssthresh: u32::MAX,
            srtt: None,
            rttvar: Duration::ZERO,
            rto: Duration::ZERO,
            bytes_in_flight: 0,
            unacknowledged: 0,
            unacknowledged_segments: 0,
            sacked_segments: 0,
            lost_segments: 0,
            resent_segments: 0,
            reordering: 0,
            reordering_seen: 0,
            duplicates_reported: 0,
            send_queue: 0,
            receive_queue: 0,
            send_window: 0,
            receive_window: 0,
            mss: 0,
            receive_mss: 0,
            advertised_mss: 0,
            path_mtu: 0,
            timestamps: false,
            sack: false,
            window_scales: None,
            delayed_ack: Duration::ZERO,
            since_data_sent: Duration::ZERO,
            since_data_received: Duration::ZERO,
            since_received: Duration::ZERO,
            receive_buffer: 0,
            send_buffer: 0,
            receive_rtt: None,
            receive_space: 0,
            retransmits: 0,
            backoff: 0,
            reason: None,
            soft_error: None,
            congestion_state: CongestionState::Open,
            congestion_control: Algorithm::default(),
            pacing_rate: None,
            delivery_rate: 0,
            delivery_rate_is_app_limited: false,
            bandwidth: None,
            bytes_sent: 0,
            bytes_received: 0,
            bytes_acknowledged: 0,
            bytes_retransmitted: 0,
            segments_received: 0,
            segments_sent: 0,
            data_segments_received: 0,
            data_segments_sent: 0,
            delivered: 0,
            out_of_order_segments: 0,
            total_timeouts: 0,
            timeout_recoveries: 0,
            timeout_time: Duration::ZERO,
            busy_time: Duration::ZERO,
            window_limited_time: Duration::ZERO,
            buffer_limited_time: Duration::ZERO,
            min_rtt: None,
            unanswered_probes: 0,
            ecn: EcnMode::Off,
            ecn_seen: false,
            ecn_counters: EcnCounters::default(),
            fast_open_data: false,
            timers: [None; Timer::ALL.len()],
        }
    }

    fn of(connection: &Connection, now: Instant, handle: Option<ConnectionHandle>) -> Self {
        let [busy_time, window_limited_time, buffer_limited_time] = connection.figures.busy.totals(now);
        ConnectionInfo {
            handle,
            cwnd: connection.congestion.cwnd(),
            ssthresh: connection.congestion.ssthresh(),
            srtt: connection.rtt.srtt(),
            rttvar: connection.rtt.rttvar(),
            rto: connection.rtt.rto(&connection.config),
            bytes_in_flight: connection.in_flight().min(connection.outstanding()),
            unacknowledged: connection.outstanding(),
            unacknowledged_segments: connection.records.len(),
            sacked_segments: u32::from(connection.records.sacked),
            lost_segments: connection.records.lost(),
            resent_segments: connection.records.resent(),
            reordering: connection.recovery.reordering(),
            reordering_seen: connection.recovery.reordering_events(),
            duplicates_reported: connection.recovery.dsack_segments,
            send_queue: connection.send.len(),
            receive_queue: connection.receive.readable(),
            send_window: connection.snd_wnd,
            receive_window: connection.promised_window(),
            mss: connection.mss,
            receive_mss: connection.acks.segment_size,
            advertised_mss: connection.advertised_mss,
            path_mtu: u32::from(connection.path_mtu.mtu()),
            timestamps: connection.peer_known && connection.timestamps.agreed,
            sack: connection.peer_known && connection.sack,
            window_scales: (connection.peer_known && connection.scaling)
                .then_some((connection.snd_scale, connection.rcv_scale)),
            delayed_ack: connection.acks.wait(),
            since_data_sent: now.since(connection.last_sent),
            since_data_received: now.since(connection.acks.last_data),
            since_received: now.since(connection.last_received),
            receive_buffer: connection.receive.limit(),
            send_buffer: connection.send.limit(),
            receive_rtt: connection.receive_rtt(),
            receive_space: connection.receive_space(),
            retransmits: connection.retransmits,
            backoff: connection.timeouts,
            reason: connection.reason,
            soft_error: connection.soft_error,
            congestion_state: connection.recovery.state(),
            congestion_control: connection.congestion.algorithm(),
            pacing_rate: pacing_rate(connection),
            delivery_rate: connection.rate.last().rate(),
            delivery_rate_is_app_limited: connection.rate.last().is_app_limited,
            bandwidth: connection.congestion.bandwidth(),
            bytes_sent: connection.bytes_sent,
            bytes_received: connection.bytes_received,
            bytes_acknowledged: connection.bytes_acknowledged(),
            bytes_retransmitted: connection.figures.bytes_retransmitted,
            segments_received: connection.figures.segments_received,
            segments_sent: connection.figures.segments_sent,
            data_segments_received: connection.figures.data_segments_received,
            data_segments_sent: connection.figures.data_segments_sent,
            delivered: connection.figures.delivered,
            out_of_order_segments: connection.figures.out_of_order,
            total_timeouts: connection.figures.timeouts,
            timeout_recoveries: connection.figures.timeout_recoveries,
            timeout_time: connection.timeout_time(now),
            busy_time,
            window_limited_time,
            buffer_limited_time,
            min_rtt: (connection.rtt.min_rtt() != u32::MAX)
                .then(|| Duration::from_micros(u64::from(connection.rtt.min_rtt()))),
            unanswered_probes: connection.unanswered_probes,
            ecn: connection.ecn.mode,
            ecn_seen: connection.ecn.seen,
            ecn_counters: connection.ecn.accurate.counters(),
            fast_open_data: connection.fast_open.data_acknowledged,
            timers: Timer::ALL.map(|timer| connection.timers.deadline(timer).map(|at| at.since(now))),
            ..ConnectionInfo::bare(connection.state, &connection.flow)
        }
    }
}

fn pacing_rate(connection: &Connection) -> Option<u64> {
    let congestion = &connection.congestion;
    let usual = connection
        .rtt
        .srtt()
        .map(|srtt| pacing::usual_rate(congestion.cwnd(), congestion.ssthresh(), connection.outstanding(), srtt));
    match connection.pacing_rate().map(u64::from) {
        // The user's limit alone does not make a connection faster.
        Some(rate) if congestion.pacing_rate().is_none() => Some(usual.map_or(rate, |usual| usual.min(rate))),
        Some(rate) => Some(rate),
        None => usual,
    }
}

impl Stack<'_> {
    /// The state of a connection.
    pub fn connection_state(&self, handle: ConnectionHandle) -> Option<State> {
        self.held_connection(handle).map(|connection| connection.state)
    }

    /// One connection, as of the last call that told the time.
    pub fn connection_info(&self, handle: ConnectionHandle) -> Option<ConnectionInfo> {
        self.held_connection(handle).map(|connection| ConnectionInfo::of(connection, self.now, Some(handle)))
    }

    /// All connections: those that are over but still held by the user, half-open ones and those in TIME-WAIT too.
    /// For listings; it walks the tables.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionInfo> {
        let full = self
            .connections
            .iter()
            // Those in TIME-WAIT are listed once, most of them from their own table.
            .filter(|(_, connection)| connection.state != State::TimeWait || connection.in_flows)
            .map(|(index, connection)| {
                let held = !connection.orphaned && connection.listener.is_none();
                let handle = self.connections.key(index).filter(|_| held).map(ConnectionHandle);
                ConnectionInfo::of(connection, self.now, handle)
            });
        let half_open = self.half_open.iter().map(|(_, found)| ConnectionInfo::bare(State::SynReceived, &found.flow));
        let time_wait = self.time_wait.iter().map(|(_, found)| ConnectionInfo::bare(State::TimeWait, &found.flow));
        full.chain(half_open).chain(time_wait)
    }

    /// All listeners: handle, address, connections waiting to be accepted, half-open ones.
    pub fn listeners(&self) -> impl Iterator<Item = (ListenerHandle, Endpoint, usize, usize)> {
        self.listeners.iter().filter_map(|(index, listener)| {
            let handle = ListenerHandle(self.listeners.key(index)?);
            Some((handle, listener.local, usize::from(listener.queued), usize::from(listener.half_open)))
        })
    }
}
