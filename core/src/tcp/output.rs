//! What to send next (RFC 9293 §3.8), and the only place that builds segments of a connection.

use crate::checksum::{self, Sum};
use crate::config::TcpConfig;
use crate::stack::flow::Flow;
use crate::tcp::accecn::{self, AccEcnOption};
use crate::tcp::congestion::Sent;
use crate::tcp::connection::{Connection, Probe, State};
use crate::tcp::control_output;
use crate::tcp::ecn::EcnMode;
use crate::tcp::fast_open::{Cookie, Role};
use crate::tcp::figures::Busy;
use crate::tcp::listener::HalfOpen;
use crate::tcp::plain_output;
use crate::tcp::pmtu::NextProbe;
use crate::tcp::rate::clock;
use crate::tcp::receive_window::advertise;
use crate::tcp::records::Record;
use crate::tcp::recovery::Resend;
use crate::tcp::seq::Seq;
use crate::tcp::timers::Timer;
use crate::tcp::{Context, Segment};
use crate::time::Instant;
use crate::wire::tcp::{CHECKSUM_OFFSET, HEADER_LEN, MAX_HEADER_LEN};
use crate::wire::tcp_options::{self, TIMESTAMPS_LEN};
use crate::wire::{Ecn, SackBlocks, TcpFlags, TcpHeader, TcpOptions, Timestamps, protocol};

/// A segment in the caller's buffer: its length, and the sum of its bytes with a checksum field of zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Built {
    pub(crate) len: usize,
    pub(crate) sum: Sum,
    /// What the IP header says of it.
    pub(crate) ecn: Ecn,
    /// There may be another one to send now.
    pub(crate) more: bool,
    pub(crate) kind: Kind,
}

/// What a segment carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) seq: Seq,
    pub(super) len: u32,
    /// It is new data, and less than a segment now has room for.
    pub(super) small: bool,
    pub(super) flags: TcpFlags,
    pub(super) kind: Kind,
}

/// Why a segment is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Syn,
    New,
    Retransmission,
    TailProbe,
    Probe,
    Ack,
    DuplicateAck,
}

/// Builds the next segment of the connection into `out` (room for a full segment), or returns None when there
/// is nothing to send now. To be called again until it does.
#[inline]
pub(crate) fn build(connection: &mut Connection, context: &mut Context<'_, '_>, out: &mut [u8]) -> Option<Built> {
    plain_output::build(connection, context, out)
        .or_else(|| control_output::build(connection, context, out))
        .or_else(|| build_any(connection, context, out))
}

/// The same, whatever it is.
#[inline(never)]
fn build_any(connection: &mut Connection, context: &mut Context<'_, '_>, out: &mut [u8]) -> Option<Built> {
    if connection.syn_due && matches!(connection.state, State::SynSent | State::SynReceived) {
        return Some(build_syn(connection, context, out));
    }
    let Some(plan) = plan(connection, context) else {
        watch_tail(connection, context);
        watch_closed_window(connection, context);
        connection.note_limits(context.now);
        return None;
    };
    let (urgent, urgent_flag) = urgent_pointer(connection, plan.seq);
    let header_len = HEADER_LEN + emit_options(connection, context, plan.len, &mut out[HEADER_LEN..]);
    let is_bare_ack = matches!(plan.kind, Kind::Ack | Kind::DuplicateAck);
    let is_new_data = plan.kind == Kind::New && plan.len > 0;
    let (ecn_flags, ecn) = connection.ecn.sending(is_new_data, is_bare_ack, connection.config.manner);
    let flags = plan.flags | urgent_flag | ecn_flags;
    let mut sum = checksum::sum_header(&out[HEADER_LEN..header_len]);
    sum.add(emit_header(connection, plan.seq, flags, urgent, &mut out[..header_len]));
    let len = header_len + plan.len as usize;
    if plan.len > 0 {
        sum.add(connection.send.read_and_sum(context.pool, plan.seq, &mut out[header_len..len]));
    }
    sent(connection, context, &plan);
    connection.check_invariants();
    let more = has_more(connection);
    if !more {
        watch_tail(connection, context);
        connection.note_limits(context.now);
    }
    Some(Built { len, sum, ecn, more, kind: plan.kind })
}

/// Writes the header of a segment around the options that are in its place already; returns its sum without theirs.
#[inline(never)] // Two ways lead here.
pub(super) fn emit_header(connection: &mut Connection, seq: Seq, flags: TcpFlags, urgent: u16, out: &mut [u8]) -> Sum {
    let header = TcpHeader {
        source_port: connection.flow.local_port,
        destination_port: connection.flow.remote_port,
        sequence: seq.0,
        acknowledgment: connection.rcv_nxt().0,
        flags,
        window: advertise(connection),
        urgent,
        header_len: out.len(),
    };
    header.emit(out);
    header.sum()
}

/// The urgent pointer of a segment that begins at `seq`, and its flag: as everywhere, it points behind the urgent data (RFC 6093
/// §3.1), as far as 16 bits reach.
#[inline]
fn urgent_pointer(connection: &Connection, seq: Seq) -> (u16, TcpFlags) {
    if connection.snd_up <= connection.snd_una || connection.snd_up <= seq {
        return (0, TcpFlags::default());
    }
    ((connection.snd_up - seq).min(u32::from(u16::MAX)) as u16, TcpFlags::URG)
}

/// Writes the options of a segment that is no SYN; returns their length.
#[inline]
fn emit_options(connection: &mut Connection, context: &Context<'_, '_>, payload: u32, out: &mut [u8]) -> usize {
    let timestamps = connection.timestamps.option(context.now);
    if connection.wants_accecn_option(context.now) {
        return emit_accecn(connection, context, timestamps, payload, out);
    }
    if connection.sack && connection.receive.has_sack_blocks() {
        return emit_sack(connection, context, timestamps, payload, out);
    }
    match (timestamps, out.first_chunk_mut()) {
        (Some(timestamps), Some(option)) => {
            timestamps.emit(option);
            TIMESTAMPS_LEN
        }
        _ => 0,
    }
}

/// The same with the AccECN option, as far as SACK blocks leave room for it.
#[inline(never)]
fn emit_accecn(
    connection: &mut Connection,
    context: &Context<'_, '_>,
    timestamps: Option<Timestamps>,
    payload: u32,
    out: &mut [u8],
) -> usize {
    let mut sack = SackBlocks::new();
    if connection.sack && connection.receive.has_sack_blocks() {
        let room = connection.sack_room(payload);
        sack = connection.receive.sack_blocks(context.pool, room, connection.config.dsack, connection.peer_fin);
    }
    let Some((fields, blocks)) = connection.ecn.accurate.fit(connection.option_room(payload), sack.len()) else {
        return TcpOptions { timestamps, sack, ..TcpOptions::default() }.emit(out);
    };
    let mut len = TcpOptions { timestamps, ..TcpOptions::default() }.emit(out);
    let sack = &sack.as_slice()[..blocks];
    let reported = sack.first().map(|&(left, _)| left).filter(|&left| Seq(left) < connection.rcv_nxt());
    let padded = accecn::padded_len(fields, blocks > 0);
    out[len..len + padded].fill(tcp_options::NOP);
    connection.ecn.accurate.emit_option(fields, context.now, reported, &mut out[len..]);
    len += padded;
    if blocks > 0 {
        out[len - 2..len].copy_from_slice(&tcp_options::sack_header(blocks));
        for (block, (left, right)) in out[len..].chunks_exact_mut(8).zip(sack) {
            block[..4].copy_from_slice(&left.to_be_bytes());
            block[4..].copy_from_slice(&right.to_be_bytes());
        }
    }
    len + 8 * blocks
}

#[cold]
fn emit_sack(
    connection: &mut Connection,
    context: &Context<'_, '_>,
    timestamps: Option<Timestamps>,
    payload: u32,
    out: &mut [u8],
) -> usize {
    let room = connection.sack_room(payload);
    let sack = connection.receive.sack_blocks(context.pool, room, connection.config.dsack, connection.peer_fin);
    TcpOptions { timestamps, sack, ..TcpOptions::default() }.emit(out)
}

/// A SYN, or SYN and ACK, with the payload that Fast Open lets it have (RFC 7413 §4.2.1).
fn build_syn(connection: &mut Connection, context: &mut Context<'_, '_>, out: &mut [u8]) -> Built {
    let acknowledges = connection.state == State::SynReceived;
    let (cookie, payload) = if acknowledges { (None, 0) } else { fast_open(connection, context) };
    let ecn = &connection.ecn;
    let syn = Syn {
        flow: &connection.flow,
        seq: connection.iss,
        ack: acknowledges.then(|| connection.rcv_nxt()),
        ecn: match acknowledges {
            true => ecn.mode.syn_ack_flags(ecn.accurate.syn_field()),
            // RFC 3168 §6.1.1.1, RFC 9768 §3.1.4.1: the SYN may have been dropped for asking.
            false => {
                let retries = connection.config.manner.ecn_syn_retries(ecn.mode == EcnMode::Accurate);
                let is_plain = connection.timeouts > retries && connection.config.ecn_fallback;
                if is_plain { TcpFlags::NONE } else { ecn.mode.syn_flags() }
            }
        },
        window: connection.receive.limit(),
        accecn: acknowledges
            && ecn.mode == EcnMode::Accurate
            && connection.timeouts == 0
            && connection.config.accecn_option != AccEcnOption::Off,
        options: syn_options(connection, context.now),
        cookie,
    };
    let mut built = syn.emit(out);
    if payload > 0 {
        let end = built.len + payload as usize;
        built.sum.add(connection.send.read_and_sum(context.pool, connection.iss + 1, &mut out[built.len..end]));
        built.len = end;
    }
    syn_sent(connection, context);
    if acknowledges {
        connection.ack_sent();
    }
    connection.check_invariants();
    // Nothing follows a SYN, what follows a SYN and ACK with data in the SYN does at once.
    built.more = acknowledges && has_more(connection);
    if !built.more {
        connection.note_limits(context.now);
    }
    built
}

/// Accounts for a SYN, or SYN and ACK, that goes out now.
fn syn_sent(connection: &mut Connection, context: &mut Context<'_, '_>) {
    connection.figures.sent(0);
    connection.syn_due = false;
    if connection.snd_nxt == connection.iss {
        connection.snd_nxt += 1;
        connection.rtt.syn_sent(context.now);
    } else {
        resent(connection, context, 0);
    }
    arm_retransmit_timer(connection, context);
}

/// The Fast Open option and the bytes of payload of our SYN. Only the first one has them (RFC 7413 §4.2.1): they may be why it is lost.
fn fast_open(connection: &mut Connection, context: &Context<'_, '_>) -> (Option<Cookie>, u32) {
    if connection.fast_open.role != Role::Client || connection.snd_nxt != connection.iss {
        return (None, 0);
    }
    let config = connection.config.fast_open;
    let advice = context.fast_open.advice(connection.flow.remote, context.now);
    let without_cookie = config.client_without_cookie;
    if !advice.has_cookie() && !without_cookie {
        connection.fast_open.asked = advice.option.map(|cookie| cookie.experimental);
        return (advice.option, 0);
    }
    let queued = connection.send.end().since(connection.iss + 1);
    let payload = queued.min(connection.syn_data_room(&advice));
    connection.fast_open.syn_data = payload as u16;
    (advice.option.filter(|_| !without_cookie), payload)
}

/// Once the last of several segments has left, the probe timer starts for them.
#[inline]
pub(super) fn watch_tail(connection: &mut Connection, context: &Context<'_, '_>) {
    if connection.recovery.tail_unwatched {
        connection.recovery.tail_unwatched = false;
        connection.watch_tail(context);
    }
}

/// Whether [`build`] may have another segment at once.
fn has_more(connection: &Connection) -> bool {
    connection.has_unsent()
        || connection.acks.duplicates > 0
        || connection.acks.now
        || connection.probe != Probe::None
        || connection.recovery.probe_due
}

fn plan(connection: &mut Connection, context: &mut Context<'_, '_>) -> Option<Plan> {
    match connection.state {
        State::Listen | State::Closed | State::SynSent => return None,
        // Before our SYN is acknowledged, nothing but what RFC 9293 §3.10.7.4 has answered with an ACK in all states.
        State::SynReceived if !connection.may_transmit() => {
            return connection.acks.now.then(|| empty(connection.snd_nxt, Kind::Ack));
        }
        _ => {}
    }
    if connection.acks.duplicates > 0 {
        return Some(empty(connection.snd_nxt, Kind::DuplicateAck));
    }
    let data = plan_data(connection, context);
    if data.is_some() && may_leave_now(connection, context) {
        return data;
    }
    if connection.probe == Probe::Empty {
        // Below the window, so that the peer must answer (RFC 9293 §3.10.7.4, first check), as Linux does it.
        return Some(empty(connection.snd_una - 1, Kind::Probe));
    }
    connection.acks.now.then(|| match connection.fin_seq() {
        Some(fin) if connection.acks.with_fin && connection.fin_sent() && fin >= connection.snd_una => {
            Plan { flags: TcpFlags::FIN | TcpFlags::ACK, ..empty(fin, Kind::Ack) }
        }
        _ => empty(connection.snd_nxt, Kind::Ack),
    })
}

fn empty(seq: Seq, kind: Kind) -> Plan {
    Plan { seq, len: 0, small: false, flags: TcpFlags::ACK, kind }
}

/// Whether pacing lets the next segment leave; if not, a timer will.
#[inline]
fn may_leave_now(connection: &mut Connection, context: &Context<'_, '_>) -> bool {
    let Some(rate) = connection.pacing_rate() else { return true };
    match connection.pacing.delayed_until(context.now, rate, connection.mss) {
        None => true,
        Some(at) => {
            connection.timers.set(Timer::Pacing, at);
            false
        }
    }
}

/// Data, or a FIN: what is lost goes before what is new, unless recovery says otherwise.
fn plan_data(connection: &mut Connection, context: &mut Context<'_, '_>) -> Option<Plan> {
    if connection.recovery.probe_due {
        let plan = plan_tail_probe(connection, context);
        connection.recovery.probe_due = plan.is_some();
        return plan;
    }
    if connection.recovery.resend == Resend::NewFirst {
        let plan = plan_new(connection, context, Push::Unfilled);
        if plan.is_some() {
            return plan;
        }
        connection.no_new_data();
    }
    match connection.records.next_waiting() {
        Some(number) if connection.recovery.resend == Resend::Lost => plan_retransmission(connection, context, number),
        _ => plan_new(connection, context, Push::Usual),
    }
}

/// The first part of what is lost, if cwnd and the peer's window allow it. What is longer than a segment may be by now goes in
/// pieces.
fn plan_retransmission(connection: &mut Connection, context: &Context<'_, '_>, number: u32) -> Option<Plan> {
    let record = connection.records.get(context.pool, number);
    let from = unsent_of(connection, &record);
    // The first pieces of a record are in flight, which it is not yet.
    let pieces = u32::from(from > record.start() && from > connection.snd_una);
    let in_flight = connection.records.in_flight() + pieces;
    if in_flight > 0 && (in_flight + 1) * connection.mss > connection.congestion.cwnd() {
        connection.congestion.held_back(connection.snd_nxt, connection.records.len() * connection.mss);
        return None;
    }
    plan_again(connection, from, &record, Kind::Retransmission)
}

/// Where the rest of a record begins that goes out again in pieces.
fn unsent_of(connection: &Connection, record: &Record) -> Seq {
    let start = record.start().max(connection.snd_una);
    let resent_to = connection.recovery.resent_to;
    if start < resent_to && resent_to < record.end { resent_to } else { start }
}

/// What is outstanding of a record from `from` on, once more.
fn plan_again(connection: &Connection, from: Seq, record: &Record, kind: Kind) -> Option<Plan> {
    let to = record.end;
    // What begins at SND.UNA goes out even if the peer has shrunk its window (RFC 9293 §3.8.6).
    if from != connection.snd_una && from >= connection.snd_una + connection.snd_wnd {
        return None;
    }
    let data_end = connection.send.end();
    let len = to.min(data_end).since(from).min(connection.mss);
    let mut flags = TcpFlags::ACK;
    if from + len == data_end && to > data_end {
        flags |= TcpFlags::FIN;
    }
    if len > 0 && record.is_pushed() && from + len == to.min(data_end) {
        flags |= TcpFlags::PSH;
    }
    Some(Plan { seq: from, len, small: false, flags, kind })
}

/// RFC 8985 §7.3: new data if there is some, else the last segment again, whatever the congestion window says.
fn plan_tail_probe(connection: &mut Connection, context: &mut Context<'_, '_>) -> Option<Plan> {
    if let Some(plan) = plan_new(connection, context, Push::Probe) {
        return Some(plan);
    }
    let record = connection.records.get(context.pool, connection.records.last()?);
    plan_again(connection, unsent_of(connection, &record), &record, Kind::TailProbe)
}

/// What holds new data back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    /// The congestion window, the peer's window and Nagle's algorithm.
    Usual,
    /// The windows.
    Unfilled,
    /// The peer's window.
    Probe,
}

fn plan_new(connection: &mut Connection, context: &mut Context<'_, '_>, push: Push) -> Option<Plan> {
    let from = connection.snd_nxt;
    let all = connection.send.end().since(from);
    let queued = connection.record_ends.first().map_or(all, |end| all.min(end.since(from)));
    let fin_due = connection.fin_queued && !connection.fin_sent();
    if queued == 0 && !fin_due {
        connection.rate.on_app_limited(connection.in_flight());
        return None;
    }
    let usable = connection.usable_window();
    let full = connection.segment_size(context.now);
    let len = queued.min(full).min(usable);
    if connection.path_mtu.is_searching() && len == full {
        match connection.next_mtu_probe(context.now, queued) {
            NextProbe::Len(len) if connection.records.reserve(context.pool, context.account) => {
                return Some(Plan { seq: from, len, small: false, flags: TcpFlags::ACK, kind: Kind::New });
            }
            NextProbe::Waits => return None,
            _ => {}
        }
    }
    let is_all = len == all;
    let ends_record = len == queued && !is_all;
    // A FIN takes a place in the window, as a byte does.
    let with_fin = fin_due && is_all && len < usable;
    // RFC 5681 §3.1: never more in flight than cwnd; something may always be, and the last segment, as in Linux.
    let in_flight = connection.records.in_flight();
    let is_full = (in_flight + 1) * connection.mss > connection.congestion.cwnd();
    if is_full && in_flight > 0 && !with_fin && push != Push::Probe {
        connection.congestion.held_back(connection.snd_nxt, connection.records.len() * connection.mss);
        return None;
    }
    if !with_fin && !ends_record && !may_send(connection, len, full, is_all, push) {
        return None;
    }
    if (len == 0 && !with_fin) || !connection.records.reserve(context.pool, context.account) {
        return None;
    }
    let mut flags = TcpFlags::ACK;
    if with_fin {
        flags |= TcpFlags::FIN;
    }
    let is_pushed = is_all && (!connection.unfinished || connection.probe == Probe::Data);
    if len > 0 && (ends_record || is_pushed) {
        // RFC 9293 §3.9.1.2: "the last buffered segment" carries PSH.
        flags |= TcpFlags::PSH;
    }
    Some(Plan { seq: from, len, small: len > 0 && len < full, flags, kind: Kind::New })
}

/// Sender's silly-window avoidance (RFC 9293 §3.8.6.2.1) with Nagle's algorithm (§3.7.4).
pub(super) fn may_send(connection: &Connection, len: u32, full: u32, is_all: bool, push: Push) -> bool {
    if len == 0 {
        return false;
    }
    if len >= full || connection.probe == Probe::Data {
        return true;
    }
    if is_all {
        // What the user wants sent, and what is urgent, waits for nothing.
        let end = connection.send.end();
        if connection.pushed_to == end || connection.snd_up > connection.snd_una {
            return true;
        }
        if connection.config.cork || connection.more_follows {
            return false;
        }
        // Minshall: only an outstanding segment that was small itself holds back another.
        return !connection.config.nagle || push != Push::Usual || connection.small_sent <= connection.snd_una;
    }
    // The window cuts the segment short.
    connection.max_snd_wnd > 0 && len >= connection.max_snd_wnd / 2
}

/// Accounts for a segment that goes out now.
fn sent(connection: &mut Connection, context: &mut Context<'_, '_>, plan: &Plan) {
    let end = plan.seq + plan.len + u32::from(plan.flags.contains(TcpFlags::FIN));
    connection.figures.sent(plan.len);
    if plan.len > 0
        && let Some(rate) = connection.pacing_rate()
    {
        connection.pacing.sent(context.now, rate, connection.mss, plan.len);
    }
    match plan.kind {
        Kind::New => {
            if plan.len > connection.mss {
                connection.mtu_probe_sent(plan.seq, plan.len);
            }
            new_data_sent(connection, context, plan, end);
            if connection.recovery.probe_due {
                context.counters.tcp_loss_probes += 1;
                connection.recovery.probed(end, false);
                connection.restart_retransmit_timer(context.now);
            } else {
                connection.recovery.tail_unwatched = true;
            }
        }
        Kind::Retransmission => {
            connection.mtu_probe_inconclusive();
            resent(connection, context, plan.len);
            lost_segment_sent(connection, context, end);
        }
        Kind::TailProbe => {
            resent(connection, context, plan.len);
            context.counters.tcp_loss_probes += 1;
            connection.recovery.resent_to = end;
            if let Some(number) = connection.records.last().filter(|_| end == connection.snd_nxt) {
                let stamp = connection.rate.on_sent(context.now, connection.in_flight(), plan.len);
                connection.records.mark_probed(context.pool, number, clock(context.now), stamp);
                connection.recovery.probed(end, true);
            }
            connection.restart_retransmit_timer(context.now);
        }
        Kind::Probe => connection.probe = Probe::None,
        Kind::DuplicateAck => connection.acks.duplicates -= 1,
        Kind::Syn | Kind::Ack => {}
    }
    if plan.flags.contains(TcpFlags::ACK) {
        connection.ack_sent();
    }
}

/// New data has left, or a FIN: what takes sequence numbers up to `end`.
#[inline(never)] // Two ways lead here.
pub(super) fn new_data_sent(connection: &mut Connection, context: &mut Context<'_, '_>, plan: &Plan, end: Seq) {
    if connection.outstanding() == 0 && connection.bytes_sent > 0 {
        let idle = context.now.since(connection.last_sent);
        connection.congestion.resumes(connection.mss, context.now, idle, || connection.rtt.rto(&connection.config));
    }
    connection.bytes_sent += u64::from(plan.len);
    if connection.records.is_empty() {
        connection.recovery.rack.restart();
    }
    let stamp = connection.rate.on_sent(context.now, connection.in_flight(), plan.len);
    let is_pushed = plan.flags.contains(TcpFlags::PSH);
    connection.records.push(context.pool, end, end - plan.seq, is_pushed, clock(context.now), stamp);
    connection.snd_nxt = end;
    connection.record_ends.sent(context.pool, context.account, end);
    connection.recovery.sent();
    if plan.small {
        connection.small_sent = end;
    } else if connection.small_sent < connection.snd_una {
        connection.small_sent = connection.snd_una;
    }
    if plan.len > 0 {
        connection.data_sent(context.now);
    }
    connection.probe = Probe::None;
    connection.timers.stop(Timer::Persist);
    connection.last_sent = context.now;
    connection.figures.busy.start(context.now, Busy::Network);
    let new = Sent {
        now: context.now,
        mss: connection.mss,
        una: connection.snd_una,
        nxt: end,
        outstanding: connection.records.len() * connection.mss,
        flight: connection.in_flight(),
    };
    connection.congestion.sent(new, || connection.rtt.rto(&connection.config));
    arm_retransmit_timer(connection, context);
}

/// A FIN without data has left, which takes the sequence number before `end`. What windows and rates of delivery are about is over.
pub(super) fn lone_fin_sent(connection: &mut Connection, context: &mut Context<'_, '_>, end: Seq) {
    if connection.records.is_empty() {
        connection.recovery.rack.restart();
    }
    let stamp = connection.rate.on_sent(context.now, connection.in_flight(), 0);
    connection.records.push(context.pool, end, 1, false, clock(context.now), stamp);
    connection.snd_nxt = end;
    connection.last_sent = context.now;
    connection.timers.stop(Timer::Persist);
    connection.figures.busy.start(context.now, Busy::Network);
    arm_retransmit_timer(connection, context);
}

/// The first of the lost segments, or a piece of it, was sent again up to `end`.
fn lost_segment_sent(connection: &mut Connection, context: &mut Context<'_, '_>, end: Seq) {
    connection.recovery.resent_to = end;
    connection.recovery.resent_piece(connection.timestamps.value(context.now));
    arm_retransmit_timer(connection, context);
    let Some(number) = connection.records.next_waiting() else { return };
    let record = connection.records.get(context.pool, number);
    if end < record.end {
        return;
    }
    let stamp = connection.rate.on_sent(context.now, connection.in_flight(), u32::from(record.len));
    connection.records.mark_resent(context.pool, number, clock(context.now), stamp);
    connection.recovery.resent();
    if connection.records.first() == Some(number) && !connection.timers.is_set(Timer::Reordering) {
        connection.restart_retransmit_timer(context.now);
    }
}

fn resent(connection: &mut Connection, context: &mut Context<'_, '_>, len: u32) {
    connection.figures.bytes_retransmitted += u64::from(len);
    connection.last_sent = context.now;
    connection.retransmits = connection.retransmits.saturating_add(1);
    context.counters.tcp_retransmits += 1;
}

/// RFC 6298 §5.1.
#[inline]
fn arm_retransmit_timer(connection: &mut Connection, context: &Context<'_, '_>) {
    if !connection.timers.is_set(Timer::Retransmit) {
        connection.restart_retransmit_timer(context.now);
    }
}

/// With data to send, nothing outstanding and a window too small, only the persist timer gets things going again
/// (RFC 9293 §3.8.6.1).
fn watch_closed_window(connection: &mut Connection, context: &Context<'_, '_>) {
    if !connection.state.is_synchronized() {
        return;
    }
    if connection.has_unsent() && connection.outstanding() == 0 && !connection.timers.is_set(Timer::Persist) {
        connection.arm_persist(context.now);
    }
}

/// What our SYN, or SYN and ACK, offers.
fn syn_options(connection: &Connection, now: Instant) -> TcpOptions {
    let mss = Some(connection.advertised_mss);
    if connection.state == State::SynSent && connection.timeouts > connection.config.manner.plain_syn_after() {
        // Some middleboxes drop a SYN for its options: the last tries go out without any that can be left out.
        return TcpOptions { mss, ..TcpOptions::default() };
    }
    TcpOptions {
        mss,
        window_scale: connection.scaling.then_some(connection.rcv_scale),
        sack_permitted: connection.sack,
        timestamps: connection.timestamps.option(now),
        ..TcpOptions::default()
    }
}

/// A SYN, or SYN and ACK.
struct Syn<'a> {
    flow: &'a Flow,
    seq: Seq,
    ack: Option<Seq>,
    /// What its flags say of ECN.
    ecn: TcpFlags,
    window: u32,
    /// It has the AccECN option.
    accecn: bool,
    options: TcpOptions,
    cookie: Option<Cookie>,
}

impl Syn<'_> {
    fn emit(&self, out: &mut [u8]) -> Built {
        let mut header_len = HEADER_LEN;
        header_len += match self.accecn {
            true => self.emit_options_with_accecn(&mut out[header_len..]),
            false => self.options.emit(&mut out[header_len..]),
        };
        if let Some(cookie) = self.cookie.filter(|cookie| header_len + cookie.option_len() <= MAX_HEADER_LEN) {
            header_len += cookie.emit(&mut out[header_len..]);
        }
        let ack = if self.ack.is_some() { TcpFlags::ACK } else { TcpFlags::NONE };
        let header = TcpHeader {
            source_port: self.flow.local_port,
            destination_port: self.flow.remote_port,
            sequence: self.seq.0,
            acknowledgment: self.ack.map_or(0, |ack| ack.0),
            flags: TcpFlags::SYN | ack | self.ecn,
            // Never scaled (RFC 7323 §2.2).
            window: self.window.min(u32::from(u16::MAX)) as u16,
            urgent: 0,
            header_len,
        };
        header.emit(out);
        let mut sum = checksum::sum_header(&out[HEADER_LEN..header_len]);
        sum.add(header.sum());
        Built { len: header_len, sum, ecn: Ecn::NotEct, more: false, kind: Kind::Syn }
    }

    /// Writes the options with the AccECN option where Linux has it: before what says so of SACK and of scales. Returns their length.
    #[cold]
    fn emit_options_with_accecn(&self, out: &mut [u8]) -> usize {
        let mut options = self.options;
        let sack_permitted = options.sack_permitted && options.timestamps.is_some();
        let mut at = TcpOptions { window_scale: None, sack_permitted, ..options }.emit(out);
        let len = accecn::emit_first_option(&mut out[at..]);
        let padded = accecn::padded_len(3, false);
        out[at + len..at + padded].fill(tcp_options::NOP);
        at += padded;
        options.sack_permitted &= options.timestamps.is_none();
        (options.mss, options.timestamps) = (None, None);
        at + options.emit(&mut out[at..])
    }
}

/// Builds the SYN and ACK of a half-open connection.
pub(crate) fn build_syn_ack(half_open: &HalfOpen, now: Instant, config: &TcpConfig, out: &mut [u8]) -> Built {
    let (ecn, accecn) = half_open.ecn_offer(config);
    let syn = Syn {
        flow: &half_open.flow,
        seq: half_open.iss,
        ack: Some(half_open.peer.seq + 1),
        ecn,
        accecn,
        window: half_open.receive_window(config),
        options: TcpOptions {
            mss: Some(half_open.advertised_mss),
            window_scale: half_open.peer.window_scale.map(|_| config.window_scale()),
            sack_permitted: half_open.peer.sack_permitted,
            timestamps: half_open.timestamps(now),
            ..TcpOptions::default()
        },
        cookie: half_open.cookie,
    };
    syn.emit(out)
}

/// Completes the checksum of a segment whose bytes sum to `sum`.
pub(crate) fn finish_checksum(flow: &Flow, sum: Sum, segment: &mut [u8]) {
    let mut total = checksum::pseudo_header(flow.local, flow.remote, protocol::TCP, segment.len() as u32);
    total.add(sum);
    segment[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&total.finish().to_be_bytes());
}

/// A segment without data that belongs to no connection block: a reset, or an ACK from TIME-WAIT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bare {
    pub(crate) flow: Flow,
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    pub(crate) flags: TcpFlags,
    pub(crate) window: u16,
    /// RFC 7323 §3.2: on every segment once agreed; a reset need not have them.
    pub(crate) timestamps: Option<Timestamps>,
}

impl Bare {
    /// Bytes of the longest.
    pub(crate) const MAX_LEN: usize = HEADER_LEN + TIMESTAMPS_LEN;

    /// The reset that answers a segment without connection (RFC 9293 §3.10.7.1).
    pub(crate) fn reset_for(flow: Flow, segment: &Segment<'_>) -> Self {
        if segment.has(TcpFlags::ACK) {
            Bare { flow, seq: segment.ack, ack: Seq(0), flags: TcpFlags::RST, window: 0, timestamps: None }
        } else {
            let (ack, flags) = (segment.seq + segment.len(), TcpFlags::RST | TcpFlags::ACK);
            Bare { flow, seq: Seq(0), ack, flags, window: 0, timestamps: None }
        }
    }

    /// Writes the segment, whose checksum covers the pseudo-header too; returns its length.
    pub(crate) fn build(&self, bytes: &mut [u8; Self::MAX_LEN]) -> usize {
        let options = TcpOptions { timestamps: self.timestamps, ..TcpOptions::default() };
        let header_len = HEADER_LEN + options.emit(&mut bytes[HEADER_LEN..]);
        let header = TcpHeader {
            source_port: self.flow.local_port,
            destination_port: self.flow.remote_port,
            sequence: self.seq.0,
            acknowledgment: self.ack.0,
            flags: self.flags,
            window: self.window,
            urgent: 0,
            header_len,
        };
        header.emit(bytes);
        finish_checksum(&self.flow, checksum::sum(&bytes[..header_len]), &mut bytes[..header_len]);
        header_len
    }
}
