//! The segment size that a path carries: reports of routers (RFC 1191, RFC 8201), and probing where there are none (RFC 4821).
//!
//! A report counts if it is about data in flight (RFC 5927 §7). Where routers drop large packets in silence, only timeouts tell:
//! segments get small then, and larger ones are tried again by halving the range that is left, as Linux does (`tcp_mtu_probing`).
//! A probe carries data that is due anyway. Its acknowledgment raises the segment size; its loss lowers the range and says
//! nothing about congestion (RFC 4821 §7.5).

use crate::config::MtuProbing;
use crate::tcp::Context;
use crate::tcp::connection::{CloseReason, Connection, MIN_MSS, Opening, Outcome, State};
use crate::tcp::recovery::CongestionState;
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};
use crate::wire::{icmpv4, ipv4, ipv6, tcp};

/// The least IPv4 MTU that is believed, as in Linux, so that a forged report cannot make every segment tiny. RFC 1191 §3 would
/// allow 68.
const LEAST_MTU_V4: u16 = 552;
/// RFC 8200 §5: every link carries so much.
const LEAST_MTU_V6: u16 = 1_280;

/// RFC 1191 §7, table 7-1: MTUs to try where a router does not name its own.
const PLATEAUS: [u16; 9] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296];

/// A range that is smaller than this is not worth a probe.
const THRESHOLD: u16 = 8;
/// When sizes that failed are tried again.
const ROUND: Duration = Duration::from_secs(600);
/// Segments that follow a probe at least, so that its loss is found by duplicates.
const FOLLOWERS: u32 = 4;
/// The least congestion window, in segments, in which a probe is sent.
const LEAST_WINDOW: u32 = 11;

/// What a connection knows of its path's MTU. All sizes are those of whole IP packets, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct PathMtu {
    /// What the interface and the reports of routers allow.
    mtu: u16,
    /// Packets of this size arrive, as far as is known.
    low: u16,
    /// Larger ones have no chance.
    high: u16,
    /// The size of the probe under way, 0 for none.
    probe: u16,
    /// Where its data begins.
    probe_start: Seq,
    /// Probing is on: segments are no larger than `low` has room for.
    searching: bool,
    /// When the present round of probing began.
    since: Instant,
}

/// Whether the next segment is a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextProbe {
    /// No.
    None,
    /// It would be, had cwnd room for it.
    Waits,
    /// With so much payload.
    Len(u32),
}

impl PathMtu {
    pub(crate) const UNKNOWN: PathMtu =
        PathMtu { mtu: 0, low: 0, high: 0, probe: 0, probe_start: Seq(0), searching: false, since: Instant::ZERO };

    /// The connection knows its interface only, until its path is found.
    pub(crate) fn begin(&mut self, opening: &Opening) {
        self.mtu = opening.advertised_mss.saturating_add(headers(opening.flow.is_ipv4()));
        self.since = opening.now;
    }

    /// The MTU in use, in bytes.
    pub(crate) fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Whether a probe is on its way.
    #[inline]
    pub(crate) fn is_probing(&self) -> bool {
        self.probe != 0
    }

    /// Whether probes may be sent.
    #[inline]
    pub(crate) fn is_searching(&self) -> bool {
        self.searching
    }
}

/// The MTU that a report means: one that names none is about a packet of `quoted_len` bytes (RFC 1191 §5).
pub(crate) fn reported_mtu(next_hop_mtu: u16, quoted_len: u16) -> u16 {
    match next_hop_mtu {
        0 => PLATEAUS.into_iter().find(|&plateau| plateau < quoted_len).unwrap_or(68),
        mtu => mtu,
    }
}

/// Bytes of the IP and TCP headers without options.
fn headers(is_ipv4: bool) -> u16 {
    let ip = if is_ipv4 { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
    (ip + tcp::HEADER_LEN) as u16
}

impl Connection {
    fn headers(&self) -> u16 {
        headers(self.flow.is_ipv4())
    }

    /// The most TCP options and payload that a packet of the path has room for.
    pub(crate) fn path_room(&self) -> u32 {
        u32::from(self.path_mtu.mtu - self.headers())
    }

    /// RFC 6691: the MSS without options.
    fn mss_of(&self, mtu: u16) -> u32 {
        let peer_mss = self.config.bound_mss(self.peer_mss).max(MIN_MSS);
        u32::from(peer_mss.min(mtu.saturating_sub(self.headers()).max(MIN_MSS)))
    }

    /// The segment size that follows from the peer's MSS, the path and what probes have found.
    pub(crate) fn set_mss(&mut self) {
        let path = &self.path_mtu;
        let mtu = if path.searching { path.mtu.min(path.low) } else { path.mtu };
        let before = self.mss;
        self.mss = self.mss_of(mtu) - self.option_len();
        if self.mss < before {
            // Linux's window is in segments: with smaller ones it holds less.
            self.congestion.segments_shrink(before, self.mss);
        }
    }

    /// The path was found anew, and packets of `mtu` bytes can be sent.
    pub(crate) fn set_path_mtu(&mut self, mtu: u16) {
        if mtu == self.path_mtu.mtu {
            return;
        }
        let grows = mtu > self.path_mtu.mtu;
        self.path_mtu.mtu = mtu;
        // With probing on, whether larger segments arrive is for probes to find out.
        if !(grows && self.path_mtu.searching) {
            self.set_mss();
        }
    }

    /// Probing starts with the smallest size, the peer's MSS being known.
    pub(crate) fn start_mtu_probing(&mut self, now: Instant) {
        let low = self.config.base_mss.saturating_add(self.headers());
        let least = if self.flow.is_ipv4() { 0 } else { LEAST_MTU_V6 };
        self.path_mtu.low = low.max(least);
        self.path_mtu.high = self.peer_mss.saturating_add(self.headers());
        self.path_mtu.searching = true;
        self.path_mtu.since = now;
    }

    /// A router could not forward a packet of ours that began at `sequence`, since the next link's MTU is `mtu`: segments get
    /// smaller, and what was too large goes out again (RFC 1191 §6.4, RFC 8201 §5.4). None if that cannot be believed.
    pub(crate) fn packet_too_big(&mut self, context: &mut Context<'_, '_>, sequence: Seq, mtu: u16) -> Option<Outcome> {
        // RFC 5927 §7: only about data in flight.
        let in_flight = sequence >= self.snd_una && sequence < self.snd_nxt;
        let may_be_smaller = self.state.is_synchronized() || self.state == State::SynSent;
        if !in_flight || !self.config.path_mtu_discovery || !may_be_smaller {
            return None;
        }
        if mtu < LEAST_MTU_V4 {
            self.soft_error = Some(CloseReason::Unreachable { code: icmpv4::code::FRAGMENTATION_NEEDED });
        }
        let mtu = mtu.max(LEAST_MTU_V4);
        if mtu >= self.path_mtu.mtu {
            return None;
        }
        self.path_mtu.mtu = mtu;
        self.path_mtu.high = self.path_mtu.high.min(mtu);
        if self.state == State::SynSent {
            return Some(self.syn_too_big());
        }
        self.set_mss();
        Some(self.resend_what_is_too_large(context))
    }

    /// The peer learns of the smaller MTU as well, as in Linux. Only what Fast Open put into the SYN can have been too much: the SYN
    /// goes again without it.
    fn syn_too_big(&mut self) -> Outcome {
        self.advertised_mss = self.advertised_mss.min(self.path_mtu.mtu - self.headers());
        self.syn_due = self.fast_open.syn_data > 0;
        Outcome { output: self.syn_due, ..Outcome::default() }
    }

    /// RFC 4821 §7.7, §4.3: timeouts without any progress may mean that large packets vanish.
    pub(crate) fn black_hole(&mut self, now: Instant) {
        if self.config.mtu_probing == MtuProbing::Off {
            return;
        }
        if self.path_mtu.searching {
            let half = (self.mss_of(self.path_mtu.low) / 2) as u16;
            let least = if self.flow.is_ipv4() { LEAST_MTU_V4 } else { LEAST_MTU_V6 };
            let low = (half.min(self.config.base_mss) + self.headers()).max(least);
            self.path_mtu.low = self.path_mtu.low.min(low);
        } else {
            self.start_mtu_probing(now);
        }
        self.path_mtu.probe = 0;
        self.set_mss();
    }

    /// Whether the next segment is to probe for a larger size, with `queued` bytes waiting to be sent for the first time.
    pub(crate) fn next_mtu_probe(&mut self, now: Instant, queued: u32) -> NextProbe {
        let path = &self.path_mtu;
        let cwnd = self.congestion.cwnd();
        // A receiver with a gap sends options of varying length, which would change the size of what is sent here.
        if path.probe != 0
            || self.recovery.state() != CongestionState::Open
            || cwnd < LEAST_WINDOW * self.mss
            || self.receive.has_gap()
        {
            return NextProbe::None;
        }
        let (low, high) = (path.low, path.high.min(path.mtu));
        let middle = low / 2 + high / 2 + (low & high & 1);
        let len = self.mss_of(middle) - self.option_len();
        if high < low.saturating_add(THRESHOLD) || len <= self.mss {
            self.probe_again(now);
            return NextProbe::None;
        }
        let needed = len + FOLLOWERS * self.mss;
        if queued < needed || self.usable_window() < needed {
            return NextProbe::None;
        }
        let in_flight = self.in_flight();
        if in_flight + len.max(2 * self.mss) > cwnd {
            return if in_flight == 0 { NextProbe::None } else { NextProbe::Waits };
        }
        NextProbe::Len(len)
    }

    /// RFC 4821 §7.3: what the path did not carry once it may carry later.
    fn probe_again(&mut self, now: Instant) {
        if now.since(self.path_mtu.since) >= ROUND {
            self.path_mtu.low = (self.mss + self.option_len()) as u16 + self.headers();
            self.path_mtu.high = self.peer_mss.saturating_add(self.headers());
            self.path_mtu.since = now;
        }
    }

    /// A probe with `len` bytes of payload leaves.
    pub(crate) fn mtu_probe_sent(&mut self, start: Seq, len: u32) {
        self.path_mtu.probe = (len + self.option_len()) as u16 + self.headers();
        self.path_mtu.probe_start = start;
    }

    /// SND.UNA has moved while a probe was under way: past its end, it has arrived.
    pub(crate) fn mtu_probe_acknowledged(&mut self) {
        let len = u32::from(self.path_mtu.probe - self.headers()) - self.option_len();
        if self.snd_una >= self.path_mtu.probe_start + len {
            self.path_mtu.low = self.path_mtu.probe;
            self.path_mtu.probe = 0;
            self.set_mss();
        }
    }

    /// Loss was found while a probe was under way. If the probe is what is missing, it was too large: it goes out again in
    /// pieces, and cwnd stays (RFC 4821 §7.6.2).
    pub(crate) fn mtu_probe_lost(&mut self, context: &mut Context<'_, '_>) -> bool {
        if self.snd_una != self.path_mtu.probe_start || self.recovery.is_reducing() {
            return false;
        }
        self.path_mtu.high = self.path_mtu.probe - 1;
        self.resend_what_is_too_large(context);
        true
    }

    /// Something is sent again: what becomes of the probe says nothing any more (RFC 4821 §7.6.4).
    pub(crate) fn mtu_probe_inconclusive(&mut self) {
        self.path_mtu.probe = 0;
    }
}
