//! The usual segment without data: an ACK, or a FIN once all data was sent, of a connection to which nothing out of the ordinary has
//! happened. What [`output`](crate::tcp::output) would come to, in one place, as with [`plain_output`](crate::tcp::plain_output).

use crate::checksum::Sum;
use crate::tcp::Context;
use crate::tcp::connection::{Connection, Probe};
use crate::tcp::ecn::EcnMode;
use crate::tcp::output::{Built, Kind, emit_header, lone_fin_sent};
use crate::wire::tcp::HEADER_LEN;
use crate::wire::tcp_options::TIMESTAMPS_LEN;
use crate::wire::{Ecn, TcpFlags};

/// Whether an ACK, or a FIN, is all that may be due, with no option but timestamps and a plain header.
#[inline]
fn is_plain(connection: &Connection) -> bool {
    connection.state.is_synchronized()
        && connection.send.end() <= connection.snd_nxt
        && connection.is_undisturbed()
        && connection.records.are_fresh()
        && !connection.recovery.probe_due
        && connection.probe == Probe::None
        && connection.acks.duplicates == 0
        && !connection.acks.with_fin
        && connection.ecn.mode == EcnMode::Off
        && connection.snd_up <= connection.snd_una
        && connection.pacing_rate().is_none()
        && !connection.receive.has_sack_blocks()
}

/// Builds the next segment if it is a usual one without data; None also where there is nothing to send.
#[inline(never)] // Out of the way of data.
pub(super) fn build(connection: &mut Connection, context: &mut Context<'_, '_>, out: &mut [u8]) -> Option<Built> {
    if !is_plain(connection) {
        return None;
    }
    let with_fin = connection.fin_queued && !connection.fin_sent();
    let (flags, kind) = if !with_fin {
        connection.rate.on_app_limited(connection.in_flight());
        (TcpFlags::ACK, Kind::Ack)
    } else {
        (TcpFlags::FIN | TcpFlags::ACK, Kind::New)
    };
    let is_due = match with_fin {
        false => connection.acks.now,
        // A FIN takes a place in the window, as a byte does.
        true => connection.usable_window() > 0 && connection.records.reserve(context.pool, context.account),
    };
    if !is_due {
        return None;
    }
    let (mut header_len, mut sum) = (HEADER_LEN, Sum::new());
    if let Some(timestamps) = connection.timestamps.option(context.now)
        && let Some(option) = out[HEADER_LEN..].first_chunk_mut()
    {
        timestamps.emit(option);
        header_len += TIMESTAMPS_LEN;
        sum = timestamps.sum();
    }
    let seq = connection.snd_nxt;
    sum.add(emit_header(connection, seq, flags, 0, &mut out[..header_len]));
    connection.figures.sent(0);
    if with_fin {
        lone_fin_sent(connection, context, seq + 1);
        connection.watch_tail(context);
    }
    connection.ack_sent();
    connection.check_invariants();
    connection.note_limits(context.now);
    Some(Built { len: header_len, sum, ecn: Ecn::NotEct, more: false, kind })
}
