//! The receive window: what is offered to the peer, and when it is told (RFC 9293 §3.8.6).

use crate::tcp::connection::Connection;
use crate::tcp::reassembly::ROUNDING_SLACK;

impl Connection {
    /// Bytes of the window that the peer was told of and has not used.
    #[inline]
    pub(crate) fn promised_window(&self) -> u32 {
        self.rcv_edge.since(self.rcv_nxt()).saturating_sub(self.shrunk_by)
    }
}

/// The window field, and the right edge that it promises (RFC 9293 §3.8.6.2.2: where the window is small, it moves by a segment or
/// half the buffer or not at all; and never left).
pub(crate) fn advertise(connection: &mut Connection) -> u16 {
    let receive = &connection.receive;
    let rcv_nxt = connection.rcv_nxt();
    let scale = u32::from(connection.rcv_scale);
    let room = receive.room().min(u32::from(u16::MAX) << scale);
    if connection.config.shrink_window {
        return announce_room(connection, room >> scale);
    }
    let step = (receive.limit() / 2).min(connection.acks.segment_size);
    // A window that is not small cannot become silly, however little is added, and kernels do not hold back there.
    let is_small = receive.room() < (receive.limit() / 4).max(connection.acks.segment_size);
    let holds_back = is_small && connection.config.manner.ways().holds_small_window_back;
    let (from, least) = if holds_back { (receive.next(), step) } else { (rcv_nxt, 1) };
    let edge = from + ((room >> scale) << scale);
    if edge.since(connection.rcv_edge) >= least {
        connection.rcv_edge = edge;
    }
    // Rounded in the peer's favour, as in Linux: the edge never seems to move left, and what is announced is accepted.
    // Each rounding gives away less than the scale's unit; should a storm of tiny segments add up to more than the
    // buffer spares for it, the edge is rounded down instead, which RFC 7323 §2.4 prepares the peer for.
    let window = connection.rcv_edge.since(rcv_nxt);
    let announced = rcv_nxt + (window.div_ceil(1 << scale) << scale);
    let fits = announced.since(receive.next() + receive.room()) <= ROUNDING_SLACK;
    if fits {
        connection.rcv_edge = announced;
        return window.div_ceil(1 << scale).min(u32::from(u16::MAX)) as u16;
    }
    (window >> scale).min(u32::from(u16::MAX)) as u16
}

/// The window as it is, in units of its scale: less than was promised, perhaps, which stays acceptable.
#[cold]
fn announce_room(connection: &mut Connection, units: u32) -> u16 {
    let edge = connection.rcv_nxt() + (units << connection.rcv_scale);
    connection.rcv_edge = connection.rcv_edge.max(edge);
    connection.shrunk_by = connection.rcv_edge - edge;
    units.min(u32::from(u16::MAX)) as u16
}

/// Whether reading has opened the window enough to tell the peer, who may be waiting for it.
pub(crate) fn window_update_due(connection: &Connection) -> bool {
    if connection.fin_received || !connection.state.may_receive() || !connection.state.is_synchronized() {
        return false;
    }
    let promised = connection.promised_window();
    // No more than the field can announce: without scaling, an update beyond that would say nothing new. Nor is it the user's
    // reading that lets the window exceed what only a SYN has offered yet.
    let only_syn = connection.rcv_edge - connection.irs <= u32::from(u16::MAX) + 1;
    let scale = if only_syn { 0 } else { connection.rcv_scale };
    let room = connection.receive.room().min(u32::from(u16::MAX) << scale);
    let least = (connection.receive.limit() / 2).min(connection.acks.segment_size);
    room >= promised.saturating_mul(2) && room.saturating_sub(promised) >= least
}
