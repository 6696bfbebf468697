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
    /// FreeBSD's:
    /// - receive buffers are rounded up to whole segments of the peer, and what they have room for is in the window, announced or
    ///   not; a reset at the window's right edge is outside of it, and so is one in the place of the peer's FIN;
    /// - what an old segment acknowledges counts; the window is announced as it is, in small steps too;
    /// - a reset tells no window, and the peer's FIN is acknowledged at once;
    /// - `close` sends a FIN, whether the user has read all or not;
    /// - while our FIN is outstanding, what acknowledges data or a FIN has it again;
    /// - a reduction for ECN is told with what is sent again, too; only new data is ECN-capable, with Accurate ECN as well;
    /// - a listener takes the SYN of a segment that is SYN and FIN;
    /// - in TIME-WAIT an old SYN is not answered, and nothing says more of ECN;
    /// - a server that does not give a cookie for Fast Open, nor take the data, is not asked again for a while;
    /// - its own times and numbers of retransmissions, and attempts to connect end with few ICMP errors.
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

/// Retransmissions of a SYN that still have all options: some middleboxes drop those that have any.
const PLAIN_SYN_AFTER: u8 = 4;

impl Manner {
    pub(crate) fn is_linux(&self) -> bool {
        matches!(self, Manner::Linux)
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
