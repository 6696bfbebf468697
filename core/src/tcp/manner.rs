//! Where the RFCs leave freedom, or kernels take it, and the two large families of kernels differ.

use crate::stack::icmp::Problem;
use crate::time::Duration;
use crate::wire::icmpv4::code;

/// Whose way connections go where the RFCs allow more than one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// Linux's.
    #[default]
    Linux,
    /// FreeBSD's. Beside what the table of this module's `Ways` has: attempts to connect end with few ICMP errors, a listener takes the SYN
    /// of a segment that is SYN and FIN, and a server that neither gives a cookie for Fast Open nor takes the data is not asked again for a
    /// while; and it has its own times and numbers of retransmissions.
    FreeBsd(FreeBsdKnobs),
}

/// Knobs that FreeBSD has and Linux has not. The names are those of its sysctls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FreeBsdKnobs {
    /// Milliseconds that are added to each retransmission timeout but the first of a SYN: 200.
    pub rexmit_slop: u8,
    /// SYNs go without options from the third retransmission on; off by default.
    pub rexmit_drop_options: bool,
    /// Retransmissions of a SYN that still ask for ECN: 1.
    pub ecn_maxretries: u8,
    /// Attempts to connect end with ICMP errors that say the other end does not want them; on by default. Other errors never end
    /// one (RFC 1122 §4.2.3.9, RFC 5461 §2.2).
    pub icmp_may_rst: bool,
    /// Segments with SYN and FIN are dropped; off by default.
    pub drop_synfin: bool,
}

impl Default for FreeBsdKnobs {
    fn default() -> Self {
        FreeBsdKnobs {
            rexmit_slop: 200,
            rexmit_drop_options: false,
            ecn_maxretries: 1,
            icmp_may_rst: true,
            drop_synfin: false,
        }
    }
}

/// What one family does and the other does not: each field names a difference, and the two tables below say who does it.
#[derive(Debug)]
pub(crate) struct Ways {
    /// Receive buffers are rounded up to whole segments of the peer.
    pub(crate) rounds_receive_buffer: bool,
    /// What the receive buffer has room for is in the window, announced or not, and a reset at the window's right edge is outside of it.
    pub(crate) window_is_room: bool,
    /// A small window moves by a segment or half the buffer (RFC 9293 §3.8.6.2.2); else it is announced as it is.
    pub(crate) holds_small_window_back: bool,
    /// What an old segment acknowledges counts.
    pub(crate) old_segments_acknowledge: bool,
    /// A reset in the place of the peer's FIN counts, as of a peer that has forgotten about it.
    pub(crate) resets_before_fin: bool,
    /// A reset of ours tells the window.
    pub(crate) resets_tell_window: bool,
    /// `close` resets a connection whose user has not read all (RFC 2525 §2.17).
    pub(crate) resets_unread: bool,
    /// The peer's FIN is acknowledged as data is, since an answer may come with ours; else at once.
    pub(crate) fin_is_data: bool,
    /// While our FIN is outstanding, what acknowledges data or a FIN has it again.
    pub(crate) repeats_fin: bool,
    /// In TIME-WAIT an old SYN is answered (RFC 9293 §3.10.7.4), and segments still speak of ECN.
    pub(crate) answers_in_time_wait: bool,
    /// A reduction for ECN is told with what is sent again, too; and only new data is ECN-capable, with Accurate ECN as well.
    pub(crate) ecn_by_data: bool,
}

const LINUX: Ways = Ways {
    rounds_receive_buffer: false,
    window_is_room: false,
    holds_small_window_back: true,
    old_segments_acknowledge: false,
    resets_before_fin: true,
    resets_tell_window: true,
    resets_unread: true,
    fin_is_data: true,
    repeats_fin: false,
    answers_in_time_wait: true,
    ecn_by_data: false,
};

const FREEBSD: Ways = Ways {
    rounds_receive_buffer: true,
    window_is_room: true,
    holds_small_window_back: false,
    old_segments_acknowledge: true,
    resets_before_fin: false,
    resets_tell_window: false,
    resets_unread: false,
    fin_is_data: false,
    repeats_fin: true,
    answers_in_time_wait: false,
    ecn_by_data: true,
};

/// Retransmissions of a SYN that still have all options: some middleboxes drop those that have any.
const PLAIN_SYN_AFTER: u8 = 4;

impl Manner {
    #[inline]
    pub(crate) fn ways(&self) -> &'static Ways {
        match self {
            Manner::Linux => &LINUX,
            Manner::FreeBsd(_) => &FREEBSD,
        }
    }

    /// What is added to a retransmission timeout.
    #[inline]
    pub(crate) fn rexmit_slop(&self) -> Duration {
        match self {
            Manner::Linux => Duration::ZERO,
            Manner::FreeBsd(knobs) => Duration::from_millis(u64::from(knobs.rexmit_slop)),
        }
    }

    /// Retransmissions of a SYN that still have all options.
    pub(crate) fn plain_syn_after(&self) -> u8 {
        match self {
            Manner::Linux => PLAIN_SYN_AFTER,
            Manner::FreeBsd(knobs) if knobs.rexmit_drop_options => 2,
            Manner::FreeBsd(_) => u8::MAX,
        }
    }

    /// Retransmissions of a SYN that still ask for ECN, `accurate` or not.
    pub(crate) fn ecn_syn_retries(&self, accurate: bool) -> u8 {
        match self {
            Manner::Linux => u8::from(accurate),
            Manner::FreeBsd(knobs) => knobs.ecn_maxretries,
        }
    }

    /// Whether a listener, or an attempt to connect, takes a segment with SYN and FIN for a SYN.
    pub(crate) fn takes_syn_fin(&self, listens: bool) -> bool {
        match self {
            Manner::Linux => !listens,
            Manner::FreeBsd(knobs) => !knobs.drop_synfin,
        }
    }

    /// Whether an ICMP error ends an attempt to connect.
    pub(crate) fn ends_attempt(&self, problem: Problem) -> bool {
        match (self, problem) {
            (Manner::Linux, _) => true,
            (Manner::FreeBsd(knobs), Problem::Unreachable(code)) => {
                let is_refusal = matches!(
                    code,
                    code::PROTOCOL_UNREACHABLE
                        | code::PORT_UNREACHABLE
                        | code::NETWORK_PROHIBITED
                        | code::HOST_PROHIBITED
                        | code::ADMINISTRATIVELY_PROHIBITED
                );
                knobs.icmp_may_rst && is_refusal
            }
            (Manner::FreeBsd(knobs), Problem::TimeExceeded { in_transit }) => knobs.icmp_may_rst && in_transit,
            (Manner::FreeBsd(knobs), Problem::Parameter { next_header }) => knobs.icmp_may_rst && next_header,
            (Manner::FreeBsd(_), Problem::TooBig(_)) => false,
        }
    }
}
