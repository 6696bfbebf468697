//! Congestion control: variants of one enum behind one interface.
//!
//! A controller owns `cwnd` and `ssthresh`, both in bytes. Loss detection and what may be sent in recovery are
//! [`recovery`](crate::tcp::recovery)'s; a new controller (CUBIC, BBR) is a file of its own and a variant here.

mod newreno;

pub(crate) use newreno::NewReno;

use crate::time::Instant;

/// What new acknowledgments tell a controller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    /// When they arrived.
    #[expect(dead_code, reason = "part of the interface: controllers that measure time need it")]
    pub(crate) now: Instant,
    /// Bytes newly acknowledged.
    pub(crate) bytes: u32,
    /// Whether cwnd, rather than the application or the peer's window, held the sender back.
    pub(crate) cwnd_limited: bool,
}

/// A congestion controller.
#[derive(Clone, Debug)]
pub(crate) enum Controller {
    /// RFC 5681 and RFC 6582.
    NewReno(NewReno),
}

impl Controller {
    /// The initial state (RFC 6928 §2: `initial_window` segments, at most 14,600 bytes or two segments).
    pub(crate) fn new(mss: u32, initial_window: u8) -> Self {
        Controller::NewReno(NewReno::new(mss, initial_window))
    }

    /// The congestion window in bytes.
    #[inline]
    pub(crate) fn cwnd(&self) -> u32 {
        match self {
            Controller::NewReno(newreno) => newreno.cwnd(),
        }
    }

    /// The slow start threshold in bytes.
    pub(crate) fn ssthresh(&self) -> u32 {
        match self {
            Controller::NewReno(newreno) => newreno.ssthresh(),
        }
    }

    /// New data was acknowledged outside recovery.
    #[inline]
    pub(crate) fn acknowledged(&mut self, mss: u32, acknowledged: Acknowledged) {
        match self {
            Controller::NewReno(newreno) => newreno.acknowledged(mss, acknowledged),
        }
    }

    /// Loss was found by duplicate acknowledgments with `flight` bytes outstanding.
    pub(crate) fn loss(&mut self, mss: u32, flight: u32) {
        match self {
            Controller::NewReno(newreno) => newreno.loss(mss, flight),
        }
    }

    /// Recovery is over with `flight` bytes outstanding.
    pub(crate) fn recovered(&mut self, mss: u32, flight: u32) {
        match self {
            Controller::NewReno(newreno) => newreno.recovered(mss, flight),
        }
    }

    /// The retransmission timer expired with `flight` bytes outstanding; `again` if nothing was acknowledged since
    /// it expired last.
    pub(crate) fn timeout(&mut self, mss: u32, flight: u32, again: bool) {
        match self {
            Controller::NewReno(newreno) => newreno.timeout(mss, flight, again),
        }
    }

    /// The connection was idle for longer than the retransmission timeout (RFC 5681 §4.1).
    pub(crate) fn idle(&mut self, mss: u32, initial_window: u8) {
        match self {
            Controller::NewReno(newreno) => newreno.idle(mss, initial_window),
        }
    }
}

/// RFC 6928 §2, equation 1.
fn initial_cwnd(mss: u32, initial_window: u8) -> u32 {
    let segments = u32::from(initial_window.max(1));
    (segments * mss).min((segments * 1_460).max(2 * mss))
}
