//! Linux's counters, as `nstat` shows them.

use ethertab::{Counters, DropReason};

/// What the stack has counted of what Linux has under this name.
pub(in crate::packetdrill) fn counter(counters: &Counters, name: &str) -> Option<u64> {
    Some(match name {
        "TcpExtBeyondWindow" => counters.drops(DropReason::TcpNotAcceptable),
        "TcpExtOutOfWindowIcmps" | "IcmpInErrors" => counters.drops(DropReason::IcmpIgnored),
        "TcpRetransSegs" => counters.tcp_retransmits,
        "TcpExtTCPTimeouts" => counters.tcp_timeouts,
        "TcpExtTCPLossProbes" => counters.tcp_loss_probes,
        "TcpExtTCPLossProbeRecovery" => counters.tcp_loss_probe_recoveries,
        "TcpOutRsts" => counters.tcp_resets_sent,
        "TcpExtTCPChallengeACK" => counters.tcp_challenge_acks,
        _ => return None,
    })
}
