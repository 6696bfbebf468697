//! The fifth step of RFC 9293 §3.10.7.4: what the ACK field of an acceptable segment changes.

use crate::event::Signals;
use crate::tcp::connection::{CloseReason, Connection, Outcome, Reset, State};
use crate::tcp::figures::Busy;
use crate::tcp::input::enter_time_wait;
use crate::tcp::seq::Seq;
use crate::tcp::timers::Timer;
use crate::tcp::{Context, Segment};
use crate::time::{Duration, Instant};
use crate::wire::{SackBlocks, TcpOptions};

/// The ACK field of an acceptable segment with SND.UNA - MAX.SND.WND ≤ SEG.ACK ≤ SND.NXT; `echo` is its TSecr.
pub(super) fn acknowledgment(
    connection: &mut Connection,
    context: &mut Context<'_, '_>,
    segment: &Segment<'_>,
    echo: Option<u32>,
    sack: &SackBlocks,
    outcome: &mut Outcome,
) {
    // What waited for more of its kind waits no longer.
    connection.more_follows = false;
    let window = u32::from(segment.window) << connection.snd_scale;
    let advances = segment.ack > connection.snd_una;
    // RFC 5681 §2: what is no duplicate acknowledgment. Nor is one that has been overtaken by data of the peer, as in Linux.
    let says_more = advances || segment.len() > 0 || segment.seq > connection.snd_wl1 || window != connection.snd_wnd;
    let is_echo = connection.ecn.is_echo(segment.flags);
    let is_plain = says_more && sack.is_empty() && !is_echo && connection.is_undisturbed();
    if is_plain && !advances {
        update_window(connection, segment, window, false);
    } else if is_plain && connection.all_is_fresh() {
        advance(connection, context, segment.ack, outcome);
        update_window(connection, segment, window, true);
        connection.usual_ack(context);
    } else {
        disturbed_acknowledgment(connection, context, segment, (echo, sack), (window, says_more, is_echo), outcome);
    }
    outcome.output |= connection.has_unsent();
    our_fin_acknowledged(connection, context, outcome);
}

/// The same for what may tell of losses, reordering or marks.
#[inline(never)] // Out of the way of the usual ACK.
fn disturbed_acknowledgment(
    connection: &mut Connection,
    context: &mut Context<'_, '_>,
    segment: &Segment<'_>,
    (echo, sack): (Option<u32>, &SackBlocks),
    (window, says_more, is_echo): (u32, bool, bool),
    outcome: &mut Outcome,
) {
    let mut news = connection.ack_news(context, says_more, echo);
    news.marked = u32::from(is_echo);
    let advances = segment.ack > connection.snd_una;
    if advances {
        advance(connection, context, segment.ack, outcome);
    }
    update_window(connection, segment, window, advances);
    connection.ack_arrived(context, segment, sack, &mut news);
    connection.figures.delivered = connection.figures.delivered.wrapping_add(news.delivered);
    if is_echo {
        connection.ecn.accurate.echoed(news.delivered);
    }
}

/// RFC 9293 §3.10.7.4: only a segment that is not older may change the window. What acknowledges more is not older, also
/// where it fills a gap and SND.WL1 lies behind that: the old window, counted from the new SND.UNA, would promise more
/// than the peer ever did.
#[inline(always)] // Behind so many conditions that the compiler takes it for cold.
fn update_window(connection: &mut Connection, segment: &Segment<'_>, window: u32, advances: bool) {
    let is_newer =
        connection.snd_wl1 < segment.seq || (connection.snd_wl1 == segment.seq && connection.snd_wl2 <= segment.ack);
    if !advances && (segment.ack != connection.snd_una || !is_newer) {
        return;
    }
    connection.snd_wl1 = segment.seq;
    connection.snd_wl2 = segment.ack;
    if window != connection.snd_wnd {
        connection.snd_wnd = window;
        connection.max_snd_wnd = connection.max_snd_wnd.max(window);
        if window > 0 {
            connection.persist_shift = 0;
            connection.timers.stop(Timer::Persist);
        }
    }
}

/// SND.UNA moves on.
fn advance(connection: &mut Connection, context: &mut Context<'_, '_>, ack: Seq, outcome: &mut Outcome) {
    connection.send.acknowledge(context.pool, context.account, ack);
    connection.snd_una = ack;
    connection.snd_up = connection.snd_up.max(ack);
    connection.persist_shift = 0;
    if connection.timeouts > 0 {
        connection.note_recovered(context.now);
    }
    connection.timeouts = 0;
    connection.loss_timeout = false;
    if connection.path_mtu.is_probing() {
        connection.mtu_probe_acknowledged();
    }
    if connection.send.len() == 0 && connection.outstanding() == 0 {
        connection.figures.busy.idle(context.now);
    }
    if connection.wants_room {
        connection.tune_send_buffer();
    }
    if connection.wants_room && connection.has_room_to_tell() {
        connection.wants_room = false;
        connection.figures.busy.stop(context.now, Busy::SendBuffer);
        outcome.signals |= Signals::WRITABLE;
    }
}

/// The round trip of our SYN, if its acknowledgment tells one (RFC 6298 §3, RFC 7323 §4.1).
pub(super) fn measure_syn(connection: &mut Connection, now: Instant, options: &TcpOptions) {
    let flight = (connection.snd_una, connection.snd_nxt);
    if !connection.rtt.syn_acknowledged(now, &connection.config, flight)
        && let Some(timestamps) = options.timestamps.filter(|_| connection.timestamps.agreed)
        && let Some(round_trip) = connection.timestamps.round_trip(now, timestamps.echo)
    {
        connection.rtt.measured(now, &connection.config, flight, (round_trip, round_trip));
    }
}

/// The state changes of the ACK step once our FIN is acknowledged.
fn our_fin_acknowledged(connection: &mut Connection, context: &mut Context<'_, '_>, outcome: &mut Outcome) {
    let Some(fin) = connection.fin_seq() else { return };
    if connection.snd_una <= fin {
        return;
    }
    match connection.state {
        State::FinWait1 => {
            connection.state = State::FinWait2;
            if connection.orphaned && connection.config.fin_wait_2 == Duration::ZERO {
                let end = connection.end(context, CloseReason::Aborted);
                outcome.signals |= end.signals;
                outcome.reset = Some(Reset::Answer(connection.snd_una));
            } else if connection.orphaned {
                connection.timers.set(Timer::FinWait2, context.now + connection.fin_wait_2());
            }
        }
        State::Closing => enter_time_wait(connection, outcome),
        State::LastAck => {
            let end = connection.end(context, CloseReason::Finished);
            outcome.signals |= end.signals;
        }
        _ => {}
    }
}
