//! How much of the congestion window is used: a window that was not used was not tested and does not grow
//! (RFC 5681 §3.1, RFC 7661 §4). What counts as used is as in Linux.

use super::Window;
use crate::tcp::seq::Seq;

/// The strongest sign within the last window of data of how fully cwnd was used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// The window was full.
    limited: bool,
    /// If it was not: the most bytes that were outstanding.
    most: u32,
    /// SND.NXT when that was noted; it holds until this is acknowledged.
    until: Seq,
}

impl Usage {
    pub(super) fn new(iss: Seq) -> Self {
        Usage { limited: false, most: 0, until: iss }
    }

    #[inline]
    pub(super) fn sent(&mut self, una: Seq, nxt: Seq, full: bool) {
        let outstanding = nxt - una;
        if full || una >= self.until || (!self.limited && outstanding > self.most) {
            *self = Usage { limited: full, most: outstanding, until: nxt };
        }
    }

    #[inline]
    pub(super) fn held_back(&mut self, nxt: Seq) {
        self.limited = true;
        self.until = nxt;
    }

    /// Whether the window may grow. Half of it used is enough in slow start: the application may have the rest
    /// ready next time.
    #[inline]
    pub(super) fn is_limited(&self, window: &Window) -> bool {
        self.limited || (window.in_slow_start() && window.cwnd < 2 * self.most)
    }
}
