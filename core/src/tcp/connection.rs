//! The transmission control block (RFC 9293 §3.3.1).

use core::num::NonZeroU32;

use crate::config::{MtuProbing, TcpConfig};
use crate::event::Signals;
use crate::pool::{Account, BLOCK_SIZE, Pool};
use crate::slab::{Key, Slab};
use crate::stack::flow::Flow;
use crate::stack::path::Path;
use crate::stack::tcp_sockets::SendFlags;
use crate::tcp::accecn;
use crate::tcp::acks::OwedAcks;
use crate::tcp::challenge::ChallengeLimit;
use crate::tcp::congestion::Controller;
use crate::tcp::ecn::{EcnMode, EcnState};
use crate::tcp::fast_open::{Advice, Cookie, FastOpenState, Role};
use crate::tcp::figures::{Busy, Figures};
use crate::tcp::pacing::Pacing;
use crate::tcp::pmtu::PathMtu;
use crate::tcp::rate::Rate;
use crate::tcp::reassembly::ReceiveBuffer;
use crate::tcp::receive_window::window_update_due;
use crate::tcp::record_ends::RecordEnds;
use crate::tcp::records::Records;
use crate::tcp::recovery::{DUPLICATE_THRESHOLD, Recovery, Resend};
use crate::tcp::rtt::RttEstimator;
use crate::tcp::send_buffer::SendBuffer;
use crate::tcp::seq::Seq;
use crate::tcp::timers::{Timer, Timers};
use crate::tcp::timestamps::TimestampState;
use crate::tcp::tuning::ReceiveTuning;
use crate::tcp::{Context, Segment};
use crate::time::{Duration, Instant};
use crate::wire::tcp_options::{MAX_LEN, TIMESTAMPS_LEN};
use crate::wire::{Ecn, TcpOptions};

pub use crate::tcp::state::{CloseReason, State};

/// What happened while a connection worked, for its stack to act on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// What to tell the user.
    pub(crate) signals: Signals,
    /// There may be something to send.
    pub(crate) output: bool,
    /// A reset is to be sent.
    pub(crate) reset: Option<Reset>,
}

/// A reset of a connection, as RFC 9293 §3.5.2 builds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    /// `<SEQ=SEG.ACK><CTL=RST>`, in answer to a segment with this SEG.ACK.
    Answer(Seq),
    /// `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>`: we end it.
    Ours,
}

impl Outcome {
    pub(crate) fn output(mut self) -> Self {
        self.output = true;
        self
    }
}

/// A TCP connection: the transmission control block.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(crate) flow: Flow,
    /// The flow's hash in its stack's table.
    pub(crate) flow_hash: u32,
    /// Whether the table leads to the connection.
    pub(crate) in_flows: bool,
    pub(crate) state: State,
    pub(crate) config: TcpConfig,
    /// The user has let go of the connection; it ends by itself.
    pub(crate) orphaned: bool,
    /// The user reads no more.
    pub(crate) read_shut: bool,
    /// Why it is over, once it is.
    pub(crate) reason: Option<CloseReason>,
    /// What the network has said since the peer was heard last (RFC 5461 §2: a soft error). It does not end the connection,
    /// but says why when a timer does.
    pub(crate) soft_error: Option<CloseReason>,
    /// Route, neighbour and header template, cached.
    pub(crate) path: Path,
    /// The neighbour whose address the connection waits for.
    pub(crate) parked: Option<u32>,
    /// Waiting to be reported.
    pub(crate) signals: Signals,
    /// The listener in whose accept queue the connection is.
    pub(crate) listener: Option<u32>,

    // Sending.
    pub(crate) iss: Seq,
    pub(crate) snd_una: Seq,
    pub(crate) snd_nxt: Seq,
    /// The peer's window in bytes, scaled.
    pub(crate) snd_wnd: u32,
    pub(crate) snd_wl1: Seq,
    pub(crate) snd_wl2: Seq,
    /// The largest window the peer ever offered.
    pub(crate) max_snd_wnd: u32,
    pub(crate) snd_scale: u8,
    /// Payload bytes of a full segment: the peer's MSS, bounded by the path, less the options that each segment has.
    pub(crate) mss: u32,
    /// The MSS option of the peer's SYN (RFC 9293 §3.7.1).
    pub(crate) peer_mss: u16,
    pub(crate) path_mtu: PathMtu,
    pub(crate) send: SendBuffer,
    pub(crate) record_ends: RecordEnds,
    /// The user has said that more data follows at once, and nothing has been acknowledged since.
    pub(crate) more_follows: bool,
    /// The user has said so of the last data that was written.
    pub(crate) unfinished: bool,
    /// The end of what the user has asked to be sent without waiting for more.
    pub(crate) pushed_to: Seq,
    /// SND.UP: the end of urgent data (RFC 9293 §3.8.5, RFC 6093), if it is beyond SND.UNA.
    pub(crate) snd_up: Seq,
    /// The user has closed the sending side: a FIN follows the data.
    pub(crate) fin_queued: bool,
    /// The end of the last segment sent that was not full (Minshall's refinement of Nagle's algorithm).
    pub(crate) small_sent: Seq,
    /// The send buffer was full when the user offered more.
    pub(crate) wants_room: bool,
    pub(crate) last_sent: Instant,

    // Receiving.
    pub(crate) irs: Seq,
    /// The peer's SYN has come: its sequence numbers are known.
    pub(crate) peer_known: bool,
    pub(crate) receive: ReceiveBuffer,
    pub(crate) tuning: ReceiveTuning,
    /// The right edge of the window as advertised; it never moves left.
    pub(crate) rcv_edge: Seq,
    /// Bytes by which a window that may shrink (`shrink_window`) ends before that.
    pub(crate) shrunk_by: u32,
    pub(crate) rcv_scale: u8,
    /// The sequence number of the peer's FIN, which may have come before the data.
    pub(crate) peer_fin: Option<Seq>,
    /// The peer's FIN has been reached.
    pub(crate) fin_received: bool,
    /// What our SYN announced.
    pub(crate) advertised_mss: u16,
    /// Whether our SYN offers window scaling (and the peer's did, once it has come).
    pub(crate) scaling: bool,
    /// The same of selective acknowledgments (RFC 2018 §2).
    pub(crate) sack: bool,
    pub(crate) timestamps: TimestampState,
    pub(crate) acks: OwedAcks,
    pub(crate) last_received: Instant,

    // Control.
    pub(crate) timers: Timers,
    pub(crate) rtt: RttEstimator,
    pub(crate) congestion: Controller,
    pub(crate) pacing: Pacing,
    pub(crate) records: Records,
    pub(crate) recovery: Recovery,
    pub(crate) rate: Rate,
    pub(crate) ecn: EcnState,
    pub(crate) fast_open: FastOpenState,
    /// Consecutive timeouts of the retransmission timer without progress.
    pub(crate) timeouts: u8,
    /// Whether one of them was taken for a loss in the network.
    pub(crate) loss_timeout: bool,
    /// Zero-window or keep-alive probes since the peer was heard last.
    pub(crate) unanswered_probes: u8,
    /// Zero-window probes since the window was open last.
    pub(crate) persist_shift: u8,
    /// When the first of the retransmissions or zero-window probes that are not answered yet was due.
    pub(crate) unanswered_since: Instant,
    /// What the timers ask `output` to send.
    pub(crate) probe: Probe,
    /// A SYN, or SYN and ACK, is to be sent.
    pub(crate) syn_due: bool,
    pub(crate) challenges: ChallengeLimit,
    /// The next hop was found not to answer, and nothing could be sent since.
    pub(crate) next_hop_failed: bool,

    // Figures for listings.
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) retransmits: u32,
    pub(crate) figures: Figures,
}

/// A probe that a timer has ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Probe {
    #[default]
    None,
    /// An empty segment below the window, which the peer must answer.
    Empty,
    /// Data, however little fits into the peer's window (RFC 9293 §3.8.6.2.1 (4)).
    Data,
}

/// What a connection starts from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) flow: Flow,
    pub(crate) flow_hash: u32,
    pub(crate) iss: Seq,
    /// How far timestamps are ahead of our clock, in milliseconds.
    pub(crate) timestamp_offset: u32,
    /// The MSS that our SYN announces: the interface's MTU less the headers.
    pub(crate) advertised_mss: u16,
    pub(crate) now: Instant,
}

/// What the peer's SYN says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerSyn {
    /// IRS.
    pub(crate) seq: Seq,
    /// The window field, which is never scaled in a SYN (RFC 7323 §2.2).
    pub(crate) window: u16,
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    /// TSval, if it has timestamps.
    pub(crate) tsval: Option<u32>,
    /// What of ECN it asks for, and the ECN field that it came with.
    pub(crate) ecn: EcnMode,
    pub(crate) ecn_field: Ecn,
}

impl PeerSyn {
    /// What the segment offers, as far as we want it.
    pub(crate) fn new(segment: &Segment<'_>, options: &TcpOptions, config: &TcpConfig) -> Self {
        PeerSyn {
            seq: segment.seq,
            window: segment.window,
            mss: options.mss,
            window_scale: options.window_scale.filter(|_| config.window_scaling),
            sack_permitted: options.sack_permitted && config.sack,
            tsval: options.timestamps.filter(|_| config.timestamps).map(|timestamps| timestamps.value),
            ecn: EcnMode::of_syn(segment.flags, segment.ecn, config.ecn_accept),
            ecn_field: segment.ecn,
        }
    }
}

/// RFC 9293 §3.7.1: the MSS to assume when the peer names none.
pub(crate) fn default_mss(flow: &Flow) -> u16 {
    if flow.is_ipv4() { 536 } else { 1_220 }
}

/// The smallest segment size that is believed; a peer that announces less cannot cause a storm of tiny segments.
pub(crate) const MIN_MSS: u16 = 88;

impl Connection {
    /// A connection before anything is known of it. A new one is a copy of this as a whole, which is less work, and much less code,
    /// than to set each field.
    const NEW: Connection = Connection {
        flow: Flow::NONE,
        flow_hash: 0,
        in_flows: true,
        state: State::SynSent,
        config: TcpConfig::DEFAULT,
        orphaned: false,
        read_shut: false,
        reason: None,
        soft_error: None,
        path: Path::UNKNOWN,
        parked: None,
        signals: Signals::NONE,
        listener: None,
        iss: Seq(0),
        snd_una: Seq(0),
        snd_nxt: Seq(0),
        snd_wnd: 0,
        snd_wl1: Seq(0),
        snd_wl2: Seq(0),
        max_snd_wnd: 0,
        snd_scale: 0,
        mss: 0,
        peer_mss: 0,
        path_mtu: PathMtu::UNKNOWN,
        send: SendBuffer::EMPTY,
        record_ends: RecordEnds::NONE,
        more_follows: false,
        unfinished: false,
        pushed_to: Seq(0),
        snd_up: Seq(0),
        fin_queued: false,
        small_sent: Seq(0),
        wants_room: false,
        last_sent: Instant::ZERO,
        irs: Seq(0),
        peer_known: false,
        receive: ReceiveBuffer::EMPTY,
        tuning: ReceiveTuning::NEW,
        rcv_edge: Seq(0),
        shrunk_by: 0,
        rcv_scale: 0,
        peer_fin: None,
        fin_received: false,
        advertised_mss: 0,
        scaling: false,
        sack: false,
        timestamps: TimestampState::new(false, 0, Instant::ZERO),
        acks: OwedAcks::NONE,
        last_received: Instant::ZERO,
        timers: Timers::NONE,
        rtt: RttEstimator::NEW,
        congestion: Controller::NEW,
        pacing: Pacing::NEW,
        records: Records::EMPTY,
        recovery: Recovery::NEW,
        rate: Rate::NEW,
        ecn: EcnState::NEW,
        fast_open: FastOpenState::NEW,
        timeouts: 0,
        loss_timeout: false,
        unanswered_probes: 0,
        persist_shift: 0,
        unanswered_since: Instant::ZERO,
        probe: Probe::None,
        syn_due: true,
        challenges: ChallengeLimit::new(),
        next_hop_failed: false,
        bytes_sent: 0,
        bytes_received: 0,
        retransmits: 0,
        figures: Figures::NEW,
    };

    /// Puts a connection in SYN-SENT whose SYN is due into the table. Its congestion control is still to begin.
    #[inline(never)] // Two ways lead here.
    pub(crate) fn open<'c>(
        connections: &'c mut Slab<'_, Connection>,
        opening: &Opening,
        config: &TcpConfig,
    ) -> Option<(Key, &'c mut Self)> {
        let (key, connection) = connections.insert_with(|| Connection::NEW)?;
        let Opening { flow, flow_hash, iss, timestamp_offset, advertised_mss, now } = *opening;
        (connection.flow, connection.flow_hash) = (flow, flow_hash);
        (connection.iss, connection.snd_una, connection.snd_nxt, connection.small_sent) = (iss, iss, iss, iss);
        let first = iss + 1;
        (connection.pushed_to, connection.snd_up) = (first, first);
        connection.peer_mss = default_mss(&flow);
        connection.mss = u32::from(advertised_mss.min(connection.peer_mss));
        connection.advertised_mss = advertised_mss;
        connection.path_mtu.begin(opening);
        connection.send.begin(first, config.first_send_buffer());
        connection.receive.set_limit(config.first_receive_buffer());
        connection.rcv_scale = config.window_scale();
        (connection.scaling, connection.sack) = (config.window_scaling, config.sack);
        connection.timestamps = TimestampState::new(config.timestamps, timestamp_offset, now);
        connection.recovery.begin(iss, config.reordering);
        connection.ecn.mode = config.ecn_request;
        (connection.last_sent, connection.last_received, connection.unanswered_since) = (now, now, now);
        connection.acks.last_data = now;
        connection.config = *config;
        Some((key, connection))
    }

    /// SND.UNA and RCV.NXT: while one of them moves, packets reach the peer and are answered.
    pub(crate) fn progress(&self) -> (Seq, Seq) {
        (self.snd_una, self.rcv_nxt())
    }

    /// RCV.NXT: the next sequence number expected, a FIN included.
    #[inline]
    pub(crate) fn rcv_nxt(&self) -> Seq {
        self.receive.next() + u32::from(self.fin_received)
    }

    /// The sequence number of our FIN, once there is one.
    #[inline]
    pub(crate) fn fin_seq(&self) -> Option<Seq> {
        self.fin_queued.then_some(self.send.end())
    }

    /// Whether our FIN has been sent.
    #[inline]
    pub(crate) fn fin_sent(&self) -> bool {
        self.fin_queued && self.snd_nxt > self.send.end()
    }

    /// Whether there is data or a FIN to send, for the first time or again.
    #[inline]
    pub(crate) fn has_unsent(&self) -> bool {
        // The FIN takes the sequence number after the data.
        self.send.end() + u32::from(self.fin_queued) > self.snd_nxt
            || (self.recovery.resend != Resend::Nothing && self.records.next_waiting().is_some())
    }

    /// Bytes outstanding, SYN and FIN included.
    #[inline]
    pub(crate) fn outstanding(&self) -> u32 {
        self.snd_nxt - self.snd_una
    }

    /// Bytes in the network as far as can be told (RFC 6675 §4's pipe). A segment counts as a full one, as it does in the
    /// congestion window.
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        self.records.in_flight() * self.mss
    }

    /// Takes over what the peer's SYN says (RFC 9293 §3.7.1, RFC 7323 §2.2 and §3.2, RFC 2018 §2) and readies the receive
    /// side.
    #[inline]
    pub(crate) fn peer_syn(&mut self, now: Instant, syn: &PeerSyn) {
        let irs = syn.seq;
        self.irs = irs;
        self.peer_known = true;
        let window = self.config.first_receive_buffer();
        self.receive.begin(irs + 1, window);
        // RFC 6928: ten segments.
        self.tuning = ReceiveTuning::new(now, irs + 1, window.min(10 * u32::from(self.advertised_mss)));
        // What our own SYN has offered or offers; never scaled (RFC 7323 §2.2).
        self.rcv_edge = irs + 1 + window.min(u32::from(u16::MAX));
        self.scaling &= syn.window_scale.is_some();
        self.sack &= syn.sack_permitted;
        self.timestamps.peer_syn(now, irs, syn.tsval);
        match syn.window_scale {
            Some(scale) if self.scaling => self.snd_scale = scale.min(14),
            _ => (self.snd_scale, self.rcv_scale) = (0, 0),
        }
        self.peer_mss = syn.mss.unwrap_or(default_mss(&self.flow)).max(MIN_MSS);
        self.set_mss();
        if self.config.manner.ways().rounds_receive_buffer {
            self.receive.set_limit(window.next_multiple_of(u32::from(self.peer_mss.min(self.advertised_mss))));
        }
        self.acks.segment_size = self.acks.segment_size.min(u32::from(self.advertised_mss));
        self.restart_congestion_control(self.config.initial_window);
        self.snd_wnd = u32::from(syn.window);
        self.max_snd_wnd = self.snd_wnd;
        self.snd_wl1 = irs;
    }

    /// How fast to send, in bytes a second, if at all limited: what the controller asks for, what the user allows.
    #[inline]
    pub(crate) fn pacing_rate(&self) -> Option<u32> {
        let most = self.config.max_pacing_rate.map(NonZeroU32::get);
        match (self.congestion.pacing_rate(), most) {
            (Some(rate), Some(most)) => Some(rate.min(most)),
            (rate, most) => rate.or(most),
        }
    }

    /// Begins with the path unknown and an initial window of `initial_window` segments.
    pub(crate) fn restart_congestion_control(&mut self, initial_window: u8) {
        self.congestion.begin(&self.config, self.mss, initial_window, self.iss);
    }

    /// Bytes of the options that every segment has (RFC 6691).
    #[inline]
    pub(crate) fn option_len(&self) -> u32 {
        if self.timestamps.agreed && self.peer_known { TIMESTAMPS_LEN as u32 } else { 0 }
    }

    /// SACK blocks that fit into a segment with `payload` bytes of data (RFC 2018 §3).
    pub(crate) fn sack_room(&self, payload: u32) -> usize {
        self.option_room(payload).saturating_sub(4) / 8
    }

    /// Payload bytes of a full segment that is sent now: less than [`mss`](Self::mss) when it has a SACK option.
    #[inline]
    pub(crate) fn segment_size(&self, now: Instant) -> u32 {
        let may_have_more = self.receive.has_sack_blocks() || self.ecn.mode == EcnMode::Accurate;
        if may_have_more { self.size_beside_options(now) } else { self.mss }
    }

    #[inline(never)] // Few segments have options that others have not.
    fn size_beside_options(&self, now: Instant) -> u32 {
        let has_blocks = self.sack && self.receive.has_sack_blocks();
        let with_counters = self.wants_accecn_option(now);
        if !has_blocks && !with_counters {
            return self.mss;
        }
        let blocks = match has_blocks {
            true => self.receive.sack_block_count(self.config.dsack).min(self.sack_room(0)),
            false => 0,
        };
        let counters = if with_counters { self.ecn.accurate.fit(self.option_room(0), blocks) } else { None };
        self.mss
            - match counters {
                Some((fields, blocks)) => accecn::padded_len(fields, blocks > 0) + 8 * blocks,
                None if blocks > 0 => 4 + 8 * blocks,
                None => 0,
            } as u32
    }

    /// Whether a segment that is sent now is to have the AccECN option.
    #[inline]
    pub(crate) fn wants_accecn_option(&self, now: Instant) -> bool {
        self.ecn.mode == EcnMode::Accurate && {
            let srtt = self.rtt.srtt().unwrap_or(Duration::ZERO);
            self.ecn.accurate.wants_option(self.config.accecn_option, self.config.accecn_beacons, now, srtt)
        }
    }

    /// Bytes of options, beside timestamps, that fit into a segment with `payload` bytes of data.
    pub(crate) fn option_room(&self, payload: u32) -> usize {
        let timestamps = if self.timestamps.agreed { TIMESTAMPS_LEN } else { 0 };
        let room = self.path_room().saturating_sub(payload).min(MAX_LEN as u32) as usize;
        room.saturating_sub(timestamps)
    }

    /// What was dropped for its size goes out again in smaller segments, at once and without a change of cwnd (RFC 1191 §6.4).
    pub(crate) fn resend_what_is_too_large(&mut self, context: &mut Context<'_, '_>) -> Outcome {
        self.mtu_probe_inconclusive();
        if self.outstanding() == 0 {
            return Outcome::default();
        }
        self.resend_longer(context, self.mss);
        self.restart_retransmit_timer(context.now);
        Outcome::default().output()
    }

    /// Bytes that may be written as far as the buffer and the limit on unsent data go.
    pub(crate) fn writable(&self) -> u32 {
        let unsent = self.send.end().since(self.snd_nxt);
        if unsent < self.config.unsent_limit { self.send.room() } else { 0 }
    }

    /// The user has written.
    pub(crate) fn written(&mut self, now: Instant, flags: SendFlags) {
        if self.send.len() > 0 {
            self.figures.busy.start(now, Busy::Network);
        }
        (self.more_follows, self.unfinished) = (flags.more, flags.more);
        if flags.urgent {
            self.snd_up = self.send.end();
        }
    }

    /// The user has written something, or has nothing to write: whether there may be something to send now.
    #[inline]
    pub(crate) fn may_transmit_written(&mut self) -> bool {
        let awaited = self.awaits_syn_data();
        self.syn_due |= awaited;
        awaited || self.may_transmit()
    }

    /// The user has read: whether the peer is to be told now, of what has come or of the window.
    #[inline(never)] // Two ways of reading lead here.
    pub(crate) fn has_read(&mut self, now: Instant, pool: &Pool<'_>, account: &Account) -> bool {
        self.acknowledge_reading();
        self.tune_receive_buffer(now, pool, account);
        self.acks.now |= window_update_due(self);
        self.acks.now
    }

    /// How many of `offered` bytes may be queued: what the buffer has room for and the shortage of blocks allows.
    pub(crate) fn allowed_to_send(&self, pool: &Pool<'_>, account: &Account, holders: usize, offered: usize) -> usize {
        let wanted = offered.min(self.writable() as usize);
        if !pool.is_under_pressure(account) && wanted <= BLOCK_SIZE {
            return wanted;
        }
        let blocks = pool.send_allowance(account, self.send.held(), holders) as usize;
        wanted.min(blocks * BLOCK_SIZE + self.send.room_in_last_block())
    }

    /// Whether data and a FIN may leave, as far as the state goes: after the handshake, or with Fast Open on its second half
    /// (RFC 7413 §4.2.2).
    #[inline]
    pub(crate) fn may_transmit(&self) -> bool {
        self.state.is_synchronized() || (self.state == State::SynReceived && self.fast_open.role == Role::Server)
    }

    /// Whether the SYN waits for the user's first data.
    pub(crate) fn awaits_syn_data(&self) -> bool {
        self.state == State::SynSent && self.snd_nxt == self.iss && !self.syn_due
    }

    /// Bytes of payload that our SYN may carry to a server of which so much is known.
    pub(crate) fn syn_data_room(&self, advice: &Advice) -> u32 {
        let mss = advice.mss.map_or(self.advertised_mss, |mss| mss.min(self.advertised_mss));
        Cookie::room_beside(mss)
    }

    /// The last SND.NXT that the peer can know of: with Fast Open, also the end of the data in our SYN.
    pub(crate) fn snd_nxt_with_syn_data(&self) -> Seq {
        self.snd_nxt + u32::from(self.fast_open.syn_data)
    }

    /// Waits for the address of a neighbour: nothing can be sent.
    #[inline]
    pub(crate) fn park(&mut self, neighbor: u32) {
        self.parked = Some(neighbor);
        self.acks.duplicates = self.acks.duplicates.min(DUPLICATE_THRESHOLD);
    }

    /// RFC 5961 §7: challenge ACKs are limited for each connection.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(crate) fn challenge(&mut self, context: &mut Context<'_, '_>) {
        if self.challenges.allows(context.now, self.config.challenge_interval) {
            context.counters.tcp_challenge_acks += 1;
            self.ack_now();
        }
    }

    /// Ends the connection: nothing is sent or received any more. Data in order can still be read.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(crate) fn end(&mut self, context: &mut Context<'_, '_>, reason: CloseReason) -> Outcome {
        self.state = State::Closed;
        self.reason = Some(reason);
        self.timers.stop_all();
        self.send.clear(context.pool, context.account);
        self.records.clear(context.pool, context.account);
        self.record_ends.clear(context.pool, context.account);
        self.receive.forget_out_of_order(context.pool, context.account);
        self.acks.forget();
        self.probe = Probe::None;
        self.syn_due = false;
        Outcome { signals: Signals::CLOSED | Signals::READABLE | Signals::WRITABLE, ..Outcome::default() }
    }

    /// Drops all data that the connection holds.
    pub(crate) fn release(&mut self, context: &mut Context<'_, '_>) {
        self.send.clear(context.pool, context.account);
        self.records.clear(context.pool, context.account);
        self.record_ends.clear(context.pool, context.account);
        self.receive.clear(context.pool, context.account);
    }

    /// The user has closed the sending side (RFC 9293 §3.10.4).
    pub(crate) fn shutdown(&mut self) {
        self.fin_queued = true;
        match self.state {
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            // In SYN-SENT and SYN-RECEIVED the FIN waits for the connection; see `established`.
            _ => {}
        }
    }

    /// Enters ESTABLISHED, or FIN-WAIT-1 if the user has closed in the meantime.
    pub(crate) fn established(&mut self, now: Instant) -> Signals {
        self.state = if self.fin_queued { State::FinWait1 } else { State::Established };
        self.timers.stop(Timer::Connect);
        if self.config.mtu_probing == MtuProbing::Always && !self.path_mtu.is_searching() {
            // As in Linux: the side that accepts goes on with the size that the SYNs led to.
            self.start_mtu_probing(now);
        }
        self.syn_due = false;
        self.rtt.established(self.timeouts > 0);
        self.figures.delivered += 1;
        self.last_sent = now;
        if self.timeouts > 0 {
            self.note_recovered(now);
        }
        self.timeouts = 0;
        self.loss_timeout = false;
        if let Some(keep_alive) = self.config.keep_alive {
            self.timers.set(Timer::KeepAlive, now + keep_alive.idle);
        }
        Signals::CONNECTED | Signals::WRITABLE
    }

    /// A timer has expired.
    pub(crate) fn timer_expired(&mut self, context: &mut Context<'_, '_>, timer: Timer) -> Outcome {
        match timer {
            Timer::Reordering => {
                self.reordering_timeout(context);
                Outcome::default().output()
            }
            Timer::TailLoss => {
                self.probe_timeout(context);
                Outcome::default().output()
            }
            Timer::Retransmit => self.retransmission_timeout(context),
            Timer::Persist => self.persist_timeout(context),
            Timer::DelayedAck => {
                self.delayed_ack_timeout();
                Outcome::default().output()
            }
            Timer::KeepAlive => self.keep_alive_timeout(context),
            Timer::Connect => self.end(context, CloseReason::TimedOut),
            Timer::FinWait2 => self.end(context, CloseReason::TimedOut),
            Timer::Pacing => Outcome::default().output(),
            Timer::Memory => {
                self.wants_room = false;
                Outcome { signals: Signals::WRITABLE, ..Outcome::default() }
            }
        }
    }

    fn retransmission_timeout(&mut self, context: &mut Context<'_, '_>) -> Outcome {
        if self.outstanding() == 0 && !self.path_failed() {
            return Outcome::default();
        }
        if self.is_out_of_patience(context.now) {
            return self.timed_out(context);
        }
        if self.timeouts == 0 {
            self.unanswered_since = context.now;
        }
        self.figures.timed_out(self.timeouts > 0);
        context.counters.tcp_timeouts += 1;
        if matches!(self.state, State::SynSent | State::SynReceived) {
            self.syn_due = true;
        } else if self.parked.is_some() || self.next_hop_failed {
            // The network has lost nothing, but it was not tested for a while either (RFC 5681 §4.1).
            self.congestion.restart(self.mss);
            self.resend_longer(context, 0);
        } else {
            if self.doubts_path(context.now) {
                self.black_hole(context.now);
            }
            self.enter_loss(context);
        }
        self.timeouts = self.timeouts.saturating_add(1);
        let is_linear = match self.state {
            State::SynSent => self.timeouts <= self.config.linear_syn_timeouts,
            State::Established => self.config.thin_linear_timeouts && self.records.len() < 4 && self.timeouts <= 6,
            _ => false,
        };
        if !is_linear {
            self.rtt.back_off();
        }
        self.restart_retransmit_timer(context.now);
        Outcome::default().output()
    }

    /// Nothing could be sent because the next hop does not answer.
    fn path_failed(&self) -> bool {
        self.syn_due || self.has_unsent()
    }

    /// The next hop did not answer. A connection attempt fails (RFC 1122 §4.2.3.9 leaves the choice, Linux does so);
    /// an open connection goes on trying until its retries are used up.
    pub(crate) fn next_hop_unreachable(&mut self, context: &mut Context<'_, '_>) -> Outcome {
        const HOST_UNREACHABLE: u8 = 1;
        if self.state == State::SynSent {
            return self.end(context, CloseReason::Unreachable { code: HOST_UNREACHABLE });
        }
        self.next_hop_failed = true;
        if self.state == State::TimeWait {
            // Its last ACK is not worth waiting for: the peer's FIN comes again.
            self.acks.forget();
        } else if !self.timers.is_set(Timer::Retransmit) {
            self.restart_retransmit_timer(context.now);
        }
        Outcome::default()
    }

    /// How long FIN-WAIT-2 lasts when nobody waits for it: long enough for the peer's FIN to be sent again.
    pub(crate) fn fin_wait_2(&self) -> Duration {
        self.config.fin_wait_2.max(Duration::from_micros(self.rtt.rto(&self.config).as_micros() * 7 / 2))
    }

    /// RFC 6298 §5: the timer runs whenever something is outstanding.
    #[inline(never)] // Called from many places: one copy is enough.
    pub(crate) fn restart_retransmit_timer(&mut self, now: Instant) {
        let rto = self.rtt.rto(&self.config);
        self.timers.set(Timer::Retransmit, self.within_patience(now, now + rto));
    }

    /// How far below SND.UNA an acknowledgment may be (RFC 5961 §5.2): MAX.SND.WND, and not before there was anything.
    pub(crate) fn oldest_ack(&self) -> u32 {
        // The SYN counts.
        let acked = (self.bytes_sent + 1).saturating_sub(u64::from(self.outstanding()));
        u64::from(self.max_snd_wnd.min(i32::MAX as u32)).min(acked) as u32
    }

    /// Bytes that the peer's window still takes.
    #[inline]
    pub(crate) fn usable_window(&self) -> u32 {
        (self.snd_una + self.snd_wnd).since(self.snd_nxt)
    }

    /// Asserts what must always hold (debug builds).
    pub(crate) fn check_invariants(&self) {
        debug_assert!(self.snd_una <= self.snd_nxt, "SND.UNA ≤ SND.NXT");
        debug_assert!(
            self.outstanding() == 0 || self.state == State::Closed || self.timers.is_set(Timer::Retransmit),
            "data outstanding means that the retransmission timer runs ({})",
            self.state
        );
        debug_assert!(self.state != State::Closed || self.reason.is_some());
        debug_assert!(
            self.records.is_empty() || self.outstanding() > 0,
            "segments are recorded as long as they are outstanding"
        );
    }
}
