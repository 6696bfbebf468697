//! How much a write takes on Linux, where a script has set the size of the send buffer: the memory of packet buffers counts, and it
//! is looked at only when one begins, so that the last of them is always filled.

use ethertab::ConnectionInfo;
use std::collections::VecDeque;

/// What a packet buffer costs beside its payload, in bytes.
const OVERHEAD: u32 = 1_024;

/// The most payload of one.
const LARGEST: u32 = 65_216;

/// The least send buffer that may be set.
const LEAST: u32 = 4_608;

/// The packet buffers of one socket. Places are offsets in its stream.
#[derive(Clone, Debug, Default)]
pub(super) struct SendQueue {
    /// Where they end, oldest first.
    ends: VecDeque<u32>,
    /// Payload of the last.
    last: u32,
    /// Bytes that are not sent, and those that may be: as the write under way changes them, which sends as it goes on.
    unsent: u32,
    budget: u32,
    /// Bytes since PSH was set last.
    unpushed: u32,
    /// The largest window that the peer has offered.
    max_window: u32,
    /// The buffer, as far as it has grown.
    limit: u32,
    /// What was acknowledged when it was looked at last.
    acknowledged: u32,
    /// The user was told that there is no room.
    is_full: bool,
}

/// The size of a send or receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BufferSize {
    /// `SO_SNDBUF` or `SO_RCVBUF`, doubled.
    Fixed(u32),
    /// `tcp_wmem` or `tcp_rmem`: it grows from the second to the third.
    Grows(u32, u32),
}

impl BufferSize {
    /// What the stack's buffer has to hold, which ends where no packet buffer does.
    pub(super) fn most(self) -> u32 {
        let (Self::Fixed(size) | Self::Grows(_, size)) = self;
        size.max(LEAST).saturating_add(LARGEST)
    }

    /// The memory to begin with, and what it may grow to.
    pub(super) fn bounds(self) -> (u32, u32) {
        match self {
            Self::Fixed(size) => (size, size),
            Self::Grows(first, most) => (first, most),
        }
    }

    /// What it is to begin with.
    pub(super) fn first(self) -> u32 {
        let (Self::Fixed(size) | Self::Grows(size, _)) = self;
        size.max(LEAST)
    }
}

impl SendQueue {
    /// A write begins, or goes on, after `written` bytes.
    pub(super) fn begin(&mut self, size: BufferSize, written: u32, info: &ConnectionInfo) {
        self.update(size, written, info);
        self.unsent = info.send_queue.saturating_sub(info.unacknowledged);
        let window = info.send_window.saturating_sub(info.unacknowledged);
        self.budget = info.cwnd.saturating_sub(info.bytes_in_flight).min(window) / mss(info) * mss(info);
    }

    /// Takes over how the connection stands; returns the memory in use.
    fn update(&mut self, size: BufferSize, written: u32, info: &ConnectionInfo) -> u32 {
        let acknowledged = written.wrapping_sub(info.send_queue);
        while self.ends.front().is_some_and(|end| acknowledged.wrapping_sub(*end) as i32 >= 0) {
            self.ends.pop_front();
        }
        self.max_window = self.max_window.max(info.send_window);
        // Two congestion windows, each segment with its overhead in a block of a power of two.
        let segment = (info.mss + 640).next_power_of_two() + 256;
        let windows = |segments: u32| 2 * segments.max(info.reordering + 1) * segment;
        match size {
            BufferSize::Fixed(size) => self.limit = size.max(LEAST),
            BufferSize::Grows(first, most) if self.limit == 0 => self.limit = windows(10).max(first).min(most),
            // An acknowledgment has come while the user waits.
            BufferSize::Grows(_, most) if self.is_full && self.acknowledged != acknowledged => {
                self.limit = self.limit.max(windows(info.cwnd / mss(info))).min(most);
            }
            BufferSize::Grows(..) => {}
        }
        self.acknowledged = acknowledged;
        info.send_queue + OVERHEAD * self.ends.len() as u32
    }

    /// The payload of a full packet buffer: at most half of the window.
    fn goal(&self, info: &ConnectionInfo) -> u32 {
        LARGEST.min(self.half_window()).max(mss(info)) / mss(info) * mss(info)
    }

    fn half_window(&self) -> u32 {
        if self.max_window > 536 { self.max_window / 2 } else { self.max_window }
    }

    /// Bytes that a write puts into the next packet buffer; 0 if there is no memory for one.
    pub(super) fn room(&mut self, size: BufferSize, written: u32, low_water: u32, info: &ConnectionInfo) -> u32 {
        let memory = self.update(size, written, info);
        let goal = self.goal(info);
        // What is left of the last one, if it was sent in part.
        self.last = self.last.min(self.unsent);
        if self.last > 0 && self.last < goal {
            return goal - self.last;
        }
        self.is_full = memory >= self.limit || self.unsent >= low_water;
        if self.is_full {
            return 0;
        }
        self.last = 0;
        self.ends.push_back(written);
        goal
    }

    /// Whether PSH is set behind the next `count` bytes since so much has none.
    pub(super) fn forces_push(&self, count: u32, info: &ConnectionInfo) -> bool {
        self.last + count >= self.goal(info) && self.unpushed + count > self.max_window / 2
    }

    /// So many bytes were written behind `written`: what is full leaves as far as it may, the first buffer at most half a
    /// congestion window of it. True if that is due now.
    pub(super) fn wrote(&mut self, written: u32, count: u32, info: &ConnectionInfo) -> bool {
        let is_forced = self.forces_push(count, info);
        self.last += count;
        self.unsent += count;
        self.unpushed += count;
        if let Some(end) = self.ends.back_mut() {
            *end = written.wrapping_add(count);
        }
        let sent = if is_forced {
            self.unpushed = 0;
            self.unsent.min(self.budget)
        } else if self.last >= self.goal(info) && self.last == self.unsent {
            self.unsent.min(self.budget).min((info.cwnd / mss(info) / 2).max(1) * mss(info))
        } else {
            0
        };
        self.unsent -= sent;
        self.budget -= sent;
        is_forced
    }

    /// Whether a user who waits is told: a third of the memory is free.
    pub(super) fn is_writable(&mut self, size: BufferSize, written: u32, info: &ConnectionInfo) -> bool {
        let memory = self.update(size, written, info);
        let is_writable = self.limit.saturating_sub(memory) >= memory / 2;
        self.is_full &= !is_writable;
        is_writable
    }
}

fn mss(info: &ConnectionInfo) -> u32 {
    info.mss.max(1)
}
