//! The usual segment: new data of a connection to which nothing out of the ordinary has happened.
//!
//! For such a connection [`output`](crate::tcp::output) would come to the same segment by looking for all that is not the case. Together these
//! questions are more code than an instruction cache holds beside the rest of a small round trip; here they are asked in one place.

use crate::checksum::Sum;
use crate::tcp::Context;
use crate::tcp::connection::{Connection, Probe, State};
use crate::tcp::ecn::EcnMode;
use crate::tcp::output::{Built, Kind, Plan, Push, may_send, new_data_sent, watch_tail};
use crate::tcp::receive_window::advertise;
use crate::wire::tcp::HEADER_LEN;
use crate::wire::tcp_options::TIMESTAMPS_LEN;
use crate::wire::{Ecn, TcpFlags, TcpHeader};

/// Whether new data, if it may leave, is what leaves next, with no option but timestamps and a plain header.
#[inline]
fn is_plain(connection: &Connection) -> bool {
    connection.state == State::Established
        && connection.is_undisturbed()
        && connection.records.are_fresh()
        && !connection.recovery.probe_due
        && connection.probe == Probe::None
        && connection.acks.duplicates == 0
        && connection.ecn.mode == EcnMode::Off
        && !connection.fin_queued
        && connection.record_ends.is_empty()
        && connection.snd_up <= connection.snd_una
        && !connection.path_mtu.is_searching()
        && connection.pacing_rate().is_none()
        && !connection.receive.has_sack_blocks()
}

/// Builds the next segment if it is a usual one; None also where there is nothing to send.
#[inline]
pub(super) fn build(connection: &mut Connection, context: &mut Context<'_, '_>, out: &mut [u8]) -> Option<Built> {
    if !is_plain(connection) {
        return None;
    }
    let mss = connection.mss;
    let queued = connection.send.end().since(connection.snd_nxt);
    let len = queued.min(mss).min(connection.usable_window());
    let is_all = len == queued;
    let in_flight = connection.records.len(); // All are fresh.
    let is_full = in_flight > 0 && (in_flight + 1) * mss > connection.congestion.cwnd();
    if is_full
        || !may_send(connection, len, mss, is_all, Push::Usual)
        || !connection.records.reserve(context.pool, context.account)
    {
        return None;
    }
    // RFC 9293 §3.9.1.2: "the last buffered segment" carries PSH.
    let is_pushed = is_all && !connection.unfinished;
    let flags = if is_pushed { TcpFlags::ACK | TcpFlags::PSH } else { TcpFlags::ACK };
    let plan = Plan { seq: connection.snd_nxt, len, small: len < mss, flags, kind: Kind::New };

    let mut header_len = HEADER_LEN;
    let mut sum = Sum::new();
    if let Some(timestamps) = connection.timestamps.option(context.now)
        && let Some(option) = out[HEADER_LEN..].first_chunk_mut()
    {
        timestamps.emit(option);
        sum = timestamps.sum();
        header_len += TIMESTAMPS_LEN;
    }
    let header = TcpHeader {
        source_port: connection.flow.local_port,
        destination_port: connection.flow.remote_port,
        sequence: plan.seq.0,
        acknowledgment: connection.rcv_nxt().0,
        flags,
        window: advertise(connection),
        urgent: 0,
        header_len,
    };
    header.emit(out);
    sum.add(header.sum());
    let end = header_len + len as usize;
    sum.add(connection.send.read_and_sum(context.pool, plan.seq, &mut out[header_len..end]));

    connection.figures.sent(len);
    new_data_sent(connection, context, &plan, plan.seq + len);
    connection.recovery.tail_unwatched = true;
    connection.ack_sent();
    connection.check_invariants();
    let more = connection.send.end() > connection.snd_nxt;
    if !more {
        watch_tail(connection, context);
        connection.note_limits(context.now);
    }
    Some(Built { len: end, sum, ecn: Ecn::NotEct, more, kind: Kind::New })
}
