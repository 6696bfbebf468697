//! TCP (RFC 9293), one connection state machine split by concern.
//!
//! [`connection`] is the transmission control block, [`state`] has its states; [`input`] processes an arriving segment in the
//! order of RFC 9293 §3.10.7 and changes state but never sends; [`output`] is the only place that
//! decides what to send next, [`acks`] when to acknowledge; [`timers`] has a slot for each timer. The rest is what these stand on: [`seq`] arithmetic, the
//! [`send_buffer`] and [`reassembly`] over pool blocks, the [`receive_window`], segment [`records`] with the [`scoreboard`] over
//! them, [`rack`] and loss [`recovery`], [`rtt`] estimation, [`congestion`] control with delivery [`rate`] samples and [`pacing`], the [`listener`] with its half-open
//! connections, [`time_wait`], [`timestamps`], [`isn`] generation, the limit of [`challenge`] ACKs, what `icmp` errors mean, and
//! the [`manner`] of kernels where they differ.
//!
//! Nothing in here knows interfaces or IP headers: the stack finds the connection, hands over a checked
//! [`Segment`], and writes the headers around what [`output`] plans.

pub(crate) mod accecn;
mod ack_step;
pub(crate) mod acks;
pub(crate) mod challenge;
pub(crate) mod congestion;
pub(crate) mod connection;
mod control_output;
pub(crate) mod cookies;
pub(crate) mod ecn;
pub(crate) mod fast_open;
pub(crate) mod figures;
mod icmp;
pub(crate) mod input;
pub(crate) mod isn;
pub(crate) mod listener;
pub(crate) mod manner;
pub(crate) mod output;
pub(crate) mod pacing;
mod patience;
mod plain_output;
pub(crate) mod pmtu;
pub(crate) mod rack;
pub(crate) mod rate;
pub(crate) mod reassembly;
pub(crate) mod receive_window;
pub(crate) mod record_ends;
pub(crate) mod records;
pub(crate) mod recovery;
pub(crate) mod rtt;
pub(crate) mod scoreboard;
pub(crate) mod send_buffer;
pub(crate) mod seq;
mod settings;
pub(crate) mod state;
pub(crate) mod time_wait;
pub(crate) mod timers;
pub(crate) mod timestamps;
pub(crate) mod tuning;

use crate::counters::Counters;
use crate::pool::{Account, Pool};
use crate::tcp::fast_open::CookieCache;
use crate::time::Instant;
use crate::wire::{Ecn, TcpFlags, TcpHeader};
use seq::Seq;

/// What a connection needs of its stack while it works.
pub(crate) struct Context<'c, 'p> {
    pub(crate) now: Instant,
    pub(crate) pool: &'c mut Pool<'p>,
    pub(crate) account: &'c mut Account,
    pub(crate) counters: &'c mut Counters,
    pub(crate) fast_open: &'c mut CookieCache,
    /// Connections among which the stack's quota of blocks is shared.
    pub(crate) holders: usize,
}

/// A segment as it arrived, its checksum verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    pub(crate) flags: TcpFlags,
    /// The window field, not scaled.
    pub(crate) window: u16,
    /// The ECN field of the packet that it came in.
    pub(crate) ecn: Ecn,
    pub(crate) options: &'a [u8],
    pub(crate) payload: &'a [u8],
    /// Payload bytes of each of the segments that were joined to this one on the way (receive offload), 0 if it is one.
    pub(crate) joined: u16,
}

impl<'a> Segment<'a> {
    pub(crate) fn new(ecn: Ecn, header: &TcpHeader, options: &'a [u8], payload: &'a [u8], joined: u16) -> Self {
        Segment {
            seq: Seq(header.sequence),
            ack: Seq(header.acknowledgment),
            flags: header.flags,
            window: header.window,
            ecn,
            options,
            payload,
            joined,
        }
    }

    /// The payload of the segment as the peer sent it.
    #[inline]
    pub(crate) fn unit(&self) -> u32 {
        match self.joined {
            0 => self.payload.len() as u32,
            joined => u32::from(joined),
        }
    }

    /// Segments that were joined to this one on the way, 1 if it is one.
    #[inline]
    pub(crate) fn count(&self) -> u32 {
        match self.joined {
            0 => 1,
            joined => (self.payload.len() as u32).div_ceil(u32::from(joined)).max(1),
        }
    }

    /// SEG.LEN: the payload, and one for each of SYN and FIN (RFC 9293 §3.4).
    pub(crate) fn len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.has(TcpFlags::SYN)) + u32::from(self.has(TcpFlags::FIN))
    }

    #[inline]
    pub(crate) fn has(&self, flags: TcpFlags) -> bool {
        self.flags.contains(flags)
    }
}
