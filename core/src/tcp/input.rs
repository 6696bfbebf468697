//! An arriving segment (RFC 9293 §3.10.7). Changes state and says what must happen; never sends.

use crate::checksum::Sum;
use crate::counters::DropReason;
use crate::event::Signals;
use crate::tcp::ack_step::{acknowledgment, measure_syn};
use crate::tcp::connection::{CloseReason, Connection, Outcome, PeerSyn, Reset, State};
use crate::tcp::ecn::EcnMode;
use crate::tcp::fast_open::{Cookie, Role};
use crate::tcp::manner::Manner;
use crate::tcp::rate::clock;
use crate::tcp::reassembly::Placement;
use crate::tcp::seq::Seq;
use crate::tcp::timers::Timer;
use crate::tcp::timestamps::is_older;
use crate::tcp::{Context, Segment};
use crate::time::Instant;
use crate::wire::{Ecn, SackBlocks, TcpFlags, TcpOptions, Timestamps};

/// A segment that is predicted: the timestamps that it has, and no other option.
pub(crate) struct Prediction(Option<Timestamps>);

/// Header prediction: what the segment has of options if it is the next of a connection that only receives, or only sends small answers.
///
/// For such a segment [`segment_arrives`] would do nothing more than [`predicted`] does; a test compares the two over
/// many seeds.
#[inline]
pub(crate) fn prediction(connection: &Connection, segment: &Segment<'_>) -> Option<Prediction> {
    let is_next = matches!(connection.state, State::Established | State::FinWait1 | State::FinWait2)
        && !connection.read_shut
        && segment.flags.difference(TcpFlags::PSH) == TcpFlags::ACK
        && segment.seq == connection.receive.next()
        && !segment.payload.is_empty()
        && !connection.receive.has_gap()
        && connection.peer_fin.is_none()
        && segment.seq + segment.payload.len() as u32 <= connection.rcv_edge
        && segment.ack >= connection.snd_una
        && segment.ack <= connection.snd_nxt;
    if is_next { known_layout(connection, segment) } else { None }
}

/// The options of a segment which has those that every segment of the connection has and no others, and is no old duplicate.
#[inline(always)] // One caller, behind so many conditions that the compiler takes it for cold.
fn known_layout(connection: &Connection, segment: &Segment<'_>) -> Option<Prediction> {
    if !connection.timestamps.agreed {
        return segment.options.is_empty().then_some(Prediction(None));
    }
    let timestamps = TcpOptions::timestamps_alone(segment.options)?;
    let is_newer = !is_older(timestamps.value, connection.timestamps.recent);
    is_newer.then_some(Prediction(Some(timestamps)))
}

/// What became of a predicted segment.
pub(crate) enum Predicted {
    /// Processed.
    Done,
    /// The checksum is wrong; nothing has changed.
    BadChecksum,
    /// Blocks are short: take the full path, which knows what to give up.
    NoMemory,
}

/// Processes a segment for which there is a [`prediction`]: the payload is copied to its place and summed in one pass.
/// `header_sum` covers the pseudo-header and the TCP header; `outcome` is that of nothing yet.
#[inline]
pub(crate) fn predicted(
    connection: &mut Connection,
    context: &mut Context<'_, '_>,
    segment: &Segment<'_>,
    &Prediction(timestamps): &Prediction,
    header_sum: Sum,
    outcome: &mut Outcome,
) -> Predicted {
    let len = segment.payload.len() as u32;
    if context.pool.is_under_pressure(context.account) {
        return Predicted::NoMemory;
    }
    let Some(payload_sum) = connection.receive.copy_next(context.pool, context.account, segment.payload) else {
        connection.receive.refuse(context.pool, context.account, len);
        return Predicted::NoMemory;
    };
    let mut sum = header_sum;
    sum.add(payload_sum);
    if !sum.is_valid() {
        connection.receive.refuse(context.pool, context.account, len);
        return Predicted::BadChecksum;
    }
    context.counters.tcp_predicted += 1;
    connection.figures.received(segment);
    heard_from_peer(connection, context, segment, timestamps);
    let echo = timestamps.map(|timestamps| timestamps.echo);
    acknowledgment(connection, context, segment, echo, const { &SackBlocks::new() }, outcome);
    connection.data_arrived(context.now, segment, echo);
    connection.receive.accept(len);
    ecn_field_arrives(connection, segment);
    received_in_order(connection, context, len, outcome);
    outcome.output |= connection.acks.now;
    Predicted::Done
}

/// Processes a segment in the order of RFC 9293 §3.10.7.
pub(crate) fn segment_arrives(
    connection: &mut Connection,
    context: &mut Context<'_, '_>,
    segment: &Segment<'_>,
) -> Outcome {
    connection.figures.received(segment);
    let outcome = match connection.state {
        State::Listen | State::Closed | State::TimeWait => Outcome::default(),
        State::SynSent => in_syn_sent(connection, context, segment),
        _ => in_other_states(connection, context, segment),
    };
    connection.check_invariants();
    outcome
}

/// RFC 9293 §3.10.7.3.
fn in_syn_sent(connection: &mut Connection, context: &mut Context<'_, '_>, segment: &Segment<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    // First, check the ACK bit.
    let acknowledged = segment.has(TcpFlags::ACK);
    if acknowledged && (segment.ack <= connection.iss || segment.ack > connection.snd_nxt_with_syn_data()) {
        context.counters.drop(DropReason::TcpBadAck);
        if !segment.has(TcpFlags::RST) {
            outcome.reset = Some(Reset::Answer(segment.ack));
        }
        return outcome;
    }
    // Second, check the RST bit. Without an acceptable ACK it may be blind (RFC 5961 §3).
    if segment.has(TcpFlags::RST) {
        if acknowledged {
            return connection.end(context, CloseReason::Refused);
        }
        context.counters.drop(DropReason::TcpChallenged);
        return outcome;
    }
    // Fourth, check the SYN bit.
    let is_refused = segment.has(TcpFlags::FIN) && !connection.config.manner.takes_syn_fin(false);
    if !segment.has(TcpFlags::SYN) || is_refused {
        context.counters.drop(DropReason::TcpBadFlags);
        return outcome;
    }
    let options = TcpOptions::parse(segment.options);
    if acknowledged && echoes_what_was_not_sent(connection, context.now, &options) {
        // As Linux does: an old SYN and ACK.
        context.counters.drop(DropReason::TcpOldTimestamp);
        outcome.reset = Some(Reset::Answer(segment.ack));
        return outcome;
    }
    connection.peer_syn(context.now, &PeerSyn::new(segment, &options, &connection.config));
    heard_from_peer(connection, context, segment, options.timestamps);
    if !acknowledged {
        // Simultaneous open: our SYN is sent again, now with an ACK.
        connection.state = State::SynReceived;
        connection.syn_due = true;
        connection.ecn.syn_arrives(segment);
        return outcome.output();
    }
    connection.ecn.syn_ack_arrives(segment);
    let is_data_missing = fast_open_answer(connection, context, segment);
    connection.snd_una = segment.ack;
    connection.snd_wl2 = segment.ack;
    measure_syn(connection, context.now, &options);
    if connection.timeouts > 0 {
        // RFC 5681 §3.1: after a lost SYN the initial window is one segment.
        connection.restart_congestion_control(1);
    }
    connection.timers.stop(Timer::Retransmit);
    connection.acks.last_data = context.now;
    outcome.signals |= connection.established(context.now);
    if is_data_missing {
        resend_syn_data(connection, context);
    } else if connection.has_unsent() {
        // The user was waiting to send: what goes now acknowledges the SYN, and ACKs can wait for more of it.
        connection.leave_interactive_mode();
    }
    connection.ack_now();
    // "If there are other controls or text in the segment, then continue processing at the sixth step."
    let rest = Segment { seq: segment.seq + 1, flags: segment.flags.difference(TcpFlags::SYN), ..*segment };
    let echo = options.timestamps.map(|timestamps| timestamps.echo);
    text_and_fin(connection, context, &rest, echo, &mut outcome);
    outcome.output()
}

/// What a SYN and ACK tells a Fast Open client (RFC 7413 §4.2.1): a cookie, and what of the data in the SYN has arrived. True if
/// some of that has not.
fn fast_open_answer(connection: &mut Connection, context: &mut Context<'_, '_>, segment: &Segment<'_>) -> bool {
    if connection.fast_open.role == Role::Client {
        let (remote, now) = (connection.flow.remote, context.now);
        // Whoever sends data without a cookie has not asked for one.
        let asks = !connection.config.fast_open.client_without_cookie;
        let cookie = Cookie::find(segment.options).filter(|_| asks);
        let mss = connection.peer_mss;
        let was_repeated = connection.timeouts > 0;
        let ignores_data = connection.fast_open.syn_data > 0 && segment.ack == connection.snd_nxt;
        let (is_useless, by_chance) = match connection.config.manner {
            Manner::Linux => (was_repeated && ignores_data, 1),
            Manner::FreeBsd(_) => (ignores_data || connection.fast_open.asked.is_some(), 0),
        };
        if cookie.is_none() && is_useless {
            context.fast_open.data_lost(remote, now, mss, by_chance);
        } else {
            let asked = connection.fast_open.asked.filter(|_| !was_repeated);
            context.fast_open.answered(remote, now, mss, cookie, asked);
        }
    }
    let is_data_missing = syn_data_acknowledged(connection, context, segment.ack);
    connection.send.acknowledge(context.pool, context.account, segment.ack);
    is_data_missing
}

/// Our SYN is acknowledged, and perhaps data that was in it. What is missing of that becomes outstanding, in segments of the
/// size that both sides know by now. True if there is any.
fn syn_data_acknowledged(connection: &mut Connection, context: &mut Context<'_, '_>, ack: Seq) -> bool {
    let sent = u32::from(core::mem::take(&mut connection.fast_open.syn_data));
    if sent == 0 {
        return false;
    }
    let end = connection.snd_nxt + sent;
    connection.fast_open.data_acknowledged = ack == end;
    connection.bytes_sent += u64::from(sent);
    connection.snd_nxt = ack;
    while connection.snd_nxt < end && connection.records.reserve(context.pool, context.account) {
        let len = end.since(connection.snd_nxt).min(connection.mss);
        connection.snd_nxt += len;
        let stamp = connection.rate.on_sent(context.now, connection.in_flight(), len);
        let is_last = connection.snd_nxt == end;
        connection.records.push(context.pool, connection.snd_nxt, len, is_last, clock(context.now), stamp);
    }
    connection.snd_nxt > ack
}

/// The data of our SYN that the peer did not take goes again, at once (RFC 7413 §4.2.2): it was not lost to congestion.
fn resend_syn_data(connection: &mut Connection, context: &mut Context<'_, '_>) {
    connection.resend_longer(context, 0);
    connection.restart_retransmit_timer(context.now);
}

/// The payload of a SYN that Fast Open lets in (RFC 7413 §4.2.2); as much of it as there is room for.
pub(crate) fn syn_data_arrives(connection: &mut Connection, context: &mut Context<'_, '_>, payload: &[u8]) -> Outcome {
    let mut outcome = Outcome::default();
    let seq = connection.rcv_nxt();
    let len = payload.len().min(connection.rcv_edge.since(seq) as usize);
    if len > 0 && insert(connection, context, seq, &payload[..len]) == Placement::InOrder {
        // The SYN and ACK acknowledges it.
        connection.bytes_received += len as u64;
        connection.fast_open.data_acknowledged = true;
        outcome.signals |= Signals::READABLE;
    }
    outcome.output()
}

/// RFC 9293 §3.10.7.4.
fn in_other_states(connection: &mut Connection, context: &mut Context<'_, '_>, segment: &Segment<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    if is_answer_to_simultaneous_open(connection, segment) {
        let rest = Segment { seq: segment.seq + 1, flags: segment.flags.difference(TcpFlags::SYN), ..*segment };
        // RFC 9293 §3.5, figure 7: ours does the same for the peer, and no ACK is needed.
        return in_other_states(connection, context, &rest);
    }
    let rcv_nxt = connection.rcv_nxt();
    let (window, len) = receive_window(connection, segment);
    let options;
    let (timestamps, sack) = match TcpOptions::timestamps_alone(segment.options) {
        Some(timestamps) => (Some(timestamps), const { &SackBlocks::new() }),
        None => {
            options = TcpOptions::parse(segment.options);
            (options.timestamps, &options.sack)
        }
    };
    let timestamps = timestamps.filter(|_| connection.timestamps.agreed);
    let echo = timestamps.map(|timestamps| timestamps.echo);

    // RFC 7323 §5.3 R1, before the other checks.
    if is_old_duplicate(connection, context.now, segment, timestamps) {
        context.counters.drop(DropReason::TcpOldTimestamp);
        return not_acceptable(connection, context, segment);
    }

    // First, check the sequence number.
    if !is_acceptable(segment.seq, len, rcv_nxt, window) {
        context.counters.drop(DropReason::TcpNotAcceptable);
        if segment.has(TcpFlags::RST) {
            return if is_reset_before_fin(connection, segment) { reset(connection, context) } else { outcome };
        }
        let is_known = segment.ack > connection.snd_una && segment.ack <= connection.snd_nxt;
        if is_known
            && connection.config.manner.ways().old_segments_acknowledge
            && segment.flags == TcpFlags::ACK
            && segment.seq < rcv_nxt
        {
            acknowledgment(connection, context, segment, echo, sack, &mut outcome);
            if connection.state == State::Closed {
                return outcome;
            }
        }
        return not_acceptable(connection, context, segment);
    }
    if !connection.config.trim_to_window && goes_too_far(connection, segment) {
        context.counters.drop(DropReason::TcpNotAcceptable);
        return not_acceptable(connection, context, segment);
    }

    // Second, check the RST bit (RFC 5961 §3.2). The third check, of security compartments, does not apply (RFC 9293 appendix A.1).
    if segment.has(TcpFlags::RST) {
        // As in Linux, the end of what came out of order is as good as RCV.NXT: a peer that resets after a loss is there.
        let after_gap = connection.receive.has_gap() && segment.seq == connection.receive.highest();
        let may_be_a_guess = connection.config.exact_resets && segment.seq != rcv_nxt;
        if may_be_a_guess && !after_gap && !is_reset_before_fin(connection, segment) {
            context.counters.drop(DropReason::TcpChallenged);
            connection.challenge(context);
            return outcome.output();
        }
        return reset(connection, context);
    }

    if segment.has(TcpFlags::SYN) && !connection.config.challenge_syns {
        return Outcome { reset: Some(Reset::Ours), ..connection.end(context, CloseReason::Reset) };
    }
    // Fourth, check the SYN bit (RFC 5961 §4.2: whatever its sequence number, it is challenged).
    if segment.has(TcpFlags::SYN) {
        context.counters.drop(DropReason::TcpChallenged);
        connection.challenge(context);
        return outcome.output();
    }

    // Fifth, check the ACK field.
    if !segment.has(TcpFlags::ACK) {
        context.counters.drop(DropReason::TcpBadFlags);
        return outcome;
    }
    if connection.state == State::SynReceived {
        if segment.ack <= connection.snd_una || segment.ack > connection.snd_nxt_with_syn_data() {
            context.counters.drop(DropReason::TcpBadAck);
            outcome.reset = Some(Reset::Answer(segment.ack));
            return outcome;
        }
        let is_data_missing = syn_data_acknowledged(connection, context, segment.ack);
        if connection.ecn.mode == EcnMode::Accurate {
            connection.ecn.accurate.handshake_ends(
                segment.flags,
                segment.options,
                !segment.payload.is_empty(),
                connection.config.ecn_fallback,
            );
        }
        let flight = (connection.snd_una, connection.snd_nxt);
        connection.rtt.syn_acknowledged(context.now, &connection.config, flight);
        outcome.signals |= connection.established(context.now);
        if is_data_missing {
            resend_syn_data(connection, context);
        }
        if !connection.has_unsent() {
            // What the user writes first has waited for nobody else.
            connection.rate.on_app_limited(0);
        }
    }
    if segment.ack > connection.snd_nxt || segment.ack < connection.snd_una - connection.oldest_ack() {
        // "If the ACK acks something not yet sent, then send an ACK, drop the segment"; RFC 5961 §5.2 treats
        // what is older than any window, or than the connection, the same.
        context.counters.drop(DropReason::TcpBadAck);
        if segment.ack > connection.snd_nxt && connection.state == State::Established {
            connection.challenge_soon(context);
            outcome.output = connection.acks.now;
            return outcome;
        }
        connection.challenge(context);
        return outcome.output();
    }
    heard_from_peer(connection, context, segment, timestamps);
    acknowledgment(connection, context, segment, echo, sack, &mut outcome);
    if connection.state == State::Closed {
        return outcome;
    }

    // Sixth, the URG bit: urgent data is delivered in line (RFC 6093 §6), so there is nothing to do.
    // Seventh and eighth, the segment text and the FIN bit.
    text_and_fin(connection, context, segment, echo, &mut outcome);
    outcome
}

/// Whether the segment is the SYN and ACK of a peer that opened at the same time (RFC 9293 §3.5, figure 8, line 6). Its SYN
/// has come before, so that the check of sequence numbers would refuse it.
fn is_answer_to_simultaneous_open(connection: &Connection, segment: &Segment<'_>) -> bool {
    connection.state == State::SynReceived
        && segment.has(TcpFlags::SYN | TcpFlags::ACK)
        && !segment.has(TcpFlags::RST)
        && segment.seq == connection.irs
        && segment.ack > connection.iss
        && segment.ack <= connection.snd_nxt_with_syn_data()
}

/// Whether the segment is the reset of a peer that has forgotten about its FIN, as after a kill: the place of the FIN is as good as
/// RCV.NXT.
fn is_reset_before_fin(connection: &Connection, segment: &Segment<'_>) -> bool {
    connection.config.manner.ways().resets_before_fin
        && matches!(connection.state, State::CloseWait | State::LastAck | State::Closing)
        && segment.seq + 1 == connection.rcv_nxt()
}

/// The peer has reset the connection.
fn reset(connection: &mut Connection, context: &mut Context<'_, '_>) -> Outcome {
    let refused = !connection.may_transmit();
    connection.end(context, if refused { CloseReason::Refused } else { CloseReason::Reset })
}

/// RCV.WND, and the length that a segment has in it.
fn receive_window(connection: &Connection, segment: &Segment<'_>) -> (u32, u32) {
    let announced = connection.rcv_edge.since(connection.rcv_nxt());
    if !connection.config.manner.ways().window_is_room {
        return (announced, segment.len());
    }
    // A reset is in the window only where a byte would be.
    let len = segment.len().max(u32::from(segment.has(TcpFlags::RST)));
    (announced.max(connection.receive.room()), len)
}

/// RFC 9293 §3.4, table 6; an empty segment at the right edge also counts, since a peer that has filled our
/// window sends its acknowledgments from there. A closed window takes what is in `rcv_nxt`'s place for its ACK and RST.
fn is_acceptable(seq: Seq, len: u32, rcv_nxt: Seq, window: u32) -> bool {
    // Distances, since comparisons mean nothing half the sequence space away.
    if len == 0 || window == 0 {
        return seq - rcv_nxt <= window;
    }
    seq - rcv_nxt < window || rcv_nxt - seq < len
}

/// Whether a segment is refused for its end beyond the window (see [`TcpConfig::trim_to_window`](crate::TcpConfig::trim_to_window)).
/// Its FIN alone may lie there.
#[cold]
fn goes_too_far(connection: &Connection, segment: &Segment<'_>) -> bool {
    let end = segment.seq + segment.payload.len() as u32;
    end > connection.rcv_edge && (connection.receive.readable() > 0 || end > connection.receive.farthest())
}

/// RFC 7323 §5.3 R1. Not for a reset, which is checked by its sequence number alone; and not for a pure ACK that says nothing new,
/// as segments which overtook each other make them: it may count as a duplicate, as in Linux.
fn is_old_duplicate(
    connection: &Connection,
    now: Instant,
    segment: &Segment<'_>,
    timestamps: Option<Timestamps>,
) -> bool {
    let Some(timestamps) = timestamps else { return false };
    if segment.has(TcpFlags::RST) || !connection.timestamps.is_old_duplicate(now, timestamps.value) {
        return false;
    }
    let says_nothing_new = segment.len() == 0
        && segment.seq == connection.rcv_nxt()
        && segment.ack == connection.snd_una
        && u32::from(segment.window) << connection.snd_scale == connection.snd_wnd;
    !says_nothing_new
}

/// Whether a SYN and ACK echoes a timestamp that none of our SYNs had.
fn echoes_what_was_not_sent(connection: &Connection, now: Instant, options: &TcpOptions) -> bool {
    let Some(timestamps) = options.timestamps.filter(|found| connection.timestamps.agreed && found.echo != 0) else {
        return false;
    };
    // Nothing was received yet: that is when the first SYN was made.
    let first = connection.timestamps.value(connection.last_received);
    is_older(timestamps.echo, first) || is_older(connection.timestamps.value(now), timestamps.echo)
}

/// An old or impossible segment is answered with an ACK and dropped (RFC 9293 §3.10.7.4, RFC 7323 §5.3 R1).
fn not_acceptable(connection: &mut Connection, context: &mut Context<'_, '_>, segment: &Segment<'_>) -> Outcome {
    if segment.has(TcpFlags::SYN) {
        // RFC 9768 §3.2.2.1: a SYN and ACK that comes again is answered as the first was.
        connection.ecn.accurate.reflect(segment.ecn);
    }
    if segment.has(TcpFlags::SYN) && connection.state == State::SynReceived {
        // Our SYN and ACK was lost: it is what the peer needs, not a bare ACK.
        connection.syn_due = true;
    } else if segment.has(TcpFlags::SYN) || segment.len() == 0 {
        // Two peers that disagree would answer each other's empty segments for ever.
        connection.challenge(context);
    } else {
        repeated_data(connection, segment);
    }
    Outcome::default().output()
}

/// All of the segment was received before (or is out of the window): an ACK of ours may have been lost. RFC 2883 §4.1: the ACK
/// tells the peer what has come twice.
fn repeated_data(connection: &mut Connection, segment: &Segment<'_>) {
    let rcv_nxt = connection.rcv_nxt();
    if segment.seq < rcv_nxt {
        connection.leave_interactive_mode();
        connection.ecn.accurate.data_again(segment.seq.0);
        if segment.seq + segment.len() == rcv_nxt {
            // As in Linux, it is counted: it may be what the peer has sent last.
            count_ecn_field(connection, segment);
        }
        connection.receive.came_again(segment.seq, (segment.seq + segment.len()).min(rcv_nxt));
    }
    connection.ack_now();
}

#[inline]
fn heard_from_peer(
    connection: &mut Connection,
    context: &Context<'_, '_>,
    segment: &Segment<'_>,
    timestamps: Option<Timestamps>,
) {
    if let Some(timestamps) = timestamps.filter(|_| connection.timestamps.agreed) {
        connection.ecn.is_newer = is_older(connection.timestamps.recent, timestamps.value);
        connection.timestamps.received(context.now, segment.seq, timestamps.value);
    }
    if connection.ecn.mode == EcnMode::Accurate && !segment.has(TcpFlags::SYN) {
        count_ecn_field(connection, segment);
    }
    connection.last_received = context.now;
    connection.unanswered_probes = 0;
    connection.soft_error = None;
}

/// RFC 9768 §3.2.1: what every segment adds to the counters of Accurate ECN.
fn count_ecn_field(connection: &mut Connection, segment: &Segment<'_>) {
    let payload = segment.payload.len() as u32;
    let segments = payload.div_ceil(segment.unit().max(1)).max(1);
    connection.ecn.seen |= segment.ecn != Ecn::NotEct;
    connection.acks.now |= connection.ecn.accurate.segment_arrives(segment.ecn, segments, payload);
}

pub(super) fn enter_time_wait(connection: &mut Connection, outcome: &mut Outcome) {
    connection.state = State::TimeWait;
    if !connection.config.manner.ways().answers_in_time_wait {
        connection.ecn.mode = EcnMode::Off;
    }
    connection.reason = Some(CloseReason::Finished);
    connection.timers.stop_all();
    outcome.signals |= Signals::CLOSED;
}

/// Steps seven and eight of RFC 9293 §3.10.7.4.
fn text_and_fin(
    connection: &mut Connection,
    context: &mut Context<'_, '_>,
    segment: &Segment<'_>,
    echo: Option<u32>,
    outcome: &mut Outcome,
) {
    let has_fin = segment.has(TcpFlags::FIN);
    if segment.payload.is_empty() && !has_fin {
        outcome.output |= connection.acks.now || connection.acks.duplicates > 0;
        return;
    }
    connection.acks.with_fin = connection.config.manner.ways().repeats_fin;
    // After the peer's FIN: "This should not occur [...] Ignore the segment text."
    if connection.fin_received || !connection.state.may_receive() {
        connection.ack_now();
        outcome.output = true;
        return;
    }
    let rcv_nxt = connection.rcv_nxt();
    let mut end = segment.seq + segment.payload.len() as u32;
    if connection.read_shut && end > rcv_nxt && matches!(connection.state, State::FinWait1 | State::FinWait2) {
        // RFC 2525 §2.17, RFC 1122 §4.2.2.13: nobody will read this, and the peer must learn it.
        context.counters.drop(DropReason::TcpDataAfterClose);
        outcome.reset = Some(Reset::Answer(segment.ack));
        let end = connection.end(context, CloseReason::Aborted);
        outcome.signals |= end.signals;
        return;
    }
    // What lies beyond the window or the peer's FIN is cut off; a FIN that was cut off has not come.
    let is_too_long = end > connection.rcv_edge && !connection.config.trim_to_window;
    if is_too_long {
        connection.rcv_edge = end;
    }
    let mut limit = connection.rcv_edge;
    if let Some(fin) = connection.peer_fin {
        limit = limit.min(fin);
    }
    let fin_fits = end <= limit || (end == rcv_nxt && segment.payload.is_empty());
    if end > limit {
        end = limit;
        connection.ack_now();
    }
    // A FIN beyond a gap is out of order as data is.
    let waits_for_gap = connection.peer_fin.is_some();
    if has_fin && fin_fits && !waits_for_gap {
        connection.peer_fin = Some(end);
    }
    let start = segment.seq.max(rcv_nxt);
    if end > start {
        let from = (start - segment.seq) as usize;
        let to = (end - segment.seq) as usize;
        if from > 0 {
            connection.receive.came_again(segment.seq, rcv_nxt);
        }
        connection.data_arrived(context.now, segment, echo);
        ecn_field_arrives(connection, segment);
        place(connection, context, start, &segment.payload[from..to], outcome);
        if is_too_long {
            connection.wait_for_reading(context.now);
        }
    } else if connection.peer_fin == Some(rcv_nxt) {
        // Nothing but its FIN is new.
    } else if segment.seq < rcv_nxt {
        repeated_data(connection, segment);
    } else if !segment.payload.is_empty() {
        connection.ack_now();
    } else if end > rcv_nxt {
        connection.owe_duplicate_ack(context.now);
    }
    connection.acks.now |= waits_for_gap && connection.peer_fin == Some(connection.receive.next());
    reach_fin(connection, context.now, outcome);
    outcome.output |= connection.acks.now || connection.acks.duplicates > 0;
}

/// Puts a trimmed payload into the receive buffer.
fn place(connection: &mut Connection, context: &mut Context<'_, '_>, seq: Seq, payload: &[u8], outcome: &mut Outcome) {
    let had_gap = connection.receive.has_gap();
    let before = connection.receive.next();
    match insert(connection, context, seq, payload) {
        Placement::InOrder => {
            let len = connection.receive.next() - before;
            if connection.peer_fin == Some(connection.receive.next()) {
                connection.expect_answer_to_fin();
            }
            if had_gap {
                // RFC 5681 §4.2: at once when the segment fills in all or part of a gap.
                connection.ack_now();
                if !connection.receive.has_gap() {
                    // What came out of order in the same batch is no sign of loss any more.
                    connection.acks.duplicates = 0;
                }
            }
            received_in_order(connection, context, len, outcome);
        }
        Placement::OutOfOrder | Placement::Duplicate => {
            connection.figures.out_of_order = connection.figures.out_of_order.wrapping_add(1);
            connection.owe_duplicate_ack(context.now);
        }
        Placement::TooManyRanges => {
            context.counters.drop(DropReason::TcpReassemblyFull);
            connection.owe_duplicate_ack(context.now);
        }
        Placement::NoMemory => {
            context.counters.drop(DropReason::TcpNoMemory);
            if seq == before { connection.ack_now() } else { connection.owe_duplicate_ack(context.now) }
        }
    }
}

/// Under pressure growth stops first, then what is out of order makes room (allowed, RFC 2018 §8: it will be sent
/// again), then data in the window is dropped.
fn insert(connection: &mut Connection, context: &mut Context<'_, '_>, seq: Seq, payload: &[u8]) -> Placement {
    let receive = &mut connection.receive;
    let in_order = seq == receive.next();
    if context.pool.is_under_pressure(context.account) {
        if !in_order {
            return Placement::NoMemory;
        }
        if receive.has_gap() {
            receive.forget_out_of_order(context.pool, context.account);
        }
        let is_fair = context.pool.has_fair_share(context.account, receive.held(), context.holders);
        if receive.readable() > 0 && !is_fair {
            return Placement::NoMemory;
        }
    }
    let placement = receive.insert(context.pool, context.account, seq, payload);
    if placement == Placement::NoMemory && in_order && receive.has_gap() {
        receive.forget_out_of_order(context.pool, context.account);
        return receive.insert(context.pool, context.account, seq, payload);
    }
    placement
}

/// What the ECN field of a segment with payload means for its acknowledgment (RFC 3168 §6.1.3).
#[inline]
fn ecn_field_arrives(connection: &mut Connection, segment: &Segment<'_>) {
    let verdict = connection.ecn.data_arrives(segment.ecn, segment.flags);
    connection.acks.now |= verdict.now;
    if verdict.quick {
        connection.ack_next_two();
    }
}

/// RCV.NXT has moved on by `len` bytes: decides when to acknowledge them (RFC 9293 §3.8.6.3, RFC 5681 §4.2).
#[inline]
fn received_in_order(connection: &mut Connection, context: &mut Context<'_, '_>, len: u32, outcome: &mut Outcome) {
    connection.bytes_received += u64::from(len);
    connection.acknowledge_in_order(context.now);
    if connection.has_enough_to_read() {
        outcome.signals |= Signals::READABLE;
    }
}

/// RFC 9293 §3.10.7.4, eighth step, once all data before the FIN has come.
fn reach_fin(connection: &mut Connection, now: Instant, outcome: &mut Outcome) {
    if connection.peer_fin != Some(connection.receive.next()) || connection.fin_received {
        return;
    }
    connection.fin_received = true;
    connection.rcv_edge = connection.rcv_edge.max(connection.rcv_nxt());
    outcome.signals |= Signals::PEER_CLOSED | Signals::READABLE;
    match connection.state {
        State::SynReceived | State::Established => connection.state = State::CloseWait,
        State::FinWait1 => connection.state = State::Closing,
        State::FinWait2 => {
            connection.timers.stop(Timer::FinWait2);
            enter_time_wait(connection, outcome);
        }
        _ => {}
    }
    match connection.state {
        State::CloseWait => connection.acknowledge_fin(now),
        _ => connection.ack_now(),
    }
}
