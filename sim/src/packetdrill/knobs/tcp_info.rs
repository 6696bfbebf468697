//! Linux's `TCP_INFO`.

use ethertab::{CongestionState, ConnectionInfo, EcnMode, State};

/// `tcpi_state` of a closed connection.
pub(in crate::packetdrill) const TCP_CLOSE: i64 = 7;

/// The fields of Linux's `TCP_INFO` that the stack can tell. Counts of packets are rounded up.
pub(in crate::packetdrill) fn tcp_info(info: &ConnectionInfo) -> Vec<(&'static str, i64)> {
    let mss = i64::from(info.mss).max(1);
    let ssthresh = if info.ssthresh == u32::MAX { 0x7fff_ffff } else { i64::from(info.ssthresh) / mss };
    let state = match info.state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => TCP_CLOSE,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Listen => 10,
        State::Closing => 11,
    };
    let ca_state = match info.congestion_state {
        CongestionState::Open => 0,
        CongestionState::Disorder => 1,
        CongestionState::Recovery => 3,
        CongestionState::Loss => 4,
        _ => 2,
    };
    let options = [
        (info.timestamps, 1),
        (info.sack, 2),
        (info.window_scales.is_some(), 4),
        (info.ecn != EcnMode::Off, 8),
        (info.ecn_seen, 16),
        (info.fast_open_data, 32),
    ];
    let options = options.iter().filter(|(agreed, _)| *agreed).map(|(_, bit)| bit).sum();
    let not_sent = info.send_queue.saturating_sub(info.unacknowledged);
    vec![
        ("tcpi_state", state),
        ("tcpi_ca_state", ca_state),
        ("tcpi_options", options),
        ("tcpi_delivered_ce", i64::from(info.ecn_counters.delivered)),
        ("tcpi_delivered_e1_bytes", i64::from(info.ecn_counters.delivered_bytes[0])),
        ("tcpi_delivered_e0_bytes", i64::from(info.ecn_counters.delivered_bytes[1])),
        ("tcpi_delivered_ce_bytes", i64::from(info.ecn_counters.delivered_bytes[2])),
        ("tcpi_received_ce", i64::from(info.ecn_counters.received)),
        ("tcpi_received_e1_bytes", i64::from(info.ecn_counters.received_bytes[0])),
        ("tcpi_received_e0_bytes", i64::from(info.ecn_counters.received_bytes[1])),
        ("tcpi_received_ce_bytes", i64::from(info.ecn_counters.received_bytes[2])),
        ("tcpi_retransmits", i64::from(info.backoff)),
        ("tcpi_backoff", i64::from(info.backoff)),
        ("tcpi_rto", info.rto.as_micros() as i64),
        ("tcpi_snd_mss", i64::from(info.mss)),
        ("tcpi_unacked", i64::from(info.unacknowledged_segments)),
        ("tcpi_lost", i64::from(info.lost_segments)),
        ("tcpi_sacked", i64::from(info.sacked_segments)),
        ("tcpi_retrans", i64::from(info.resent_segments)),
        ("tcpi_reordering", i64::from(info.reordering)),
        ("tcpi_reord_seen", i64::from(info.reordering_seen)),
        ("tcpi_dsack_dups", i64::from(info.duplicates_reported)),
        ("tcpi_fackets", 0),
        ("tcpi_rtt", info.srtt.map_or(0, |srtt| srtt.as_micros() as i64)),
        ("tcpi_rttvar", info.rttvar.as_micros() as i64),
        ("tcpi_snd_ssthresh", ssthresh),
        ("tcpi_snd_cwnd", (i64::from(info.cwnd) / mss).max(1)),
        // All bits set where nothing is known yet.
        ("tcpi_pacing_rate", info.pacing_rate.map_or(-1, |rate| rate as i64)),
        ("tcpi_delivery_rate", info.delivery_rate as i64),
        ("tcpi_delivery_rate_app_limited", i64::from(info.delivery_rate_is_app_limited)),
        ("tcpi_total_retrans", i64::from(info.retransmits)),
        ("tcpi_notsent_bytes", i64::from(not_sent)),
        ("tcpi_bytes_received", info.bytes_received as i64),
        ("tcpi_rcv_mss", i64::from(info.receive_mss)),
        ("tcpi_advmss", i64::from(info.advertised_mss)),
        ("tcpi_pmtu", i64::from(info.path_mtu)),
        ("tcpi_snd_wscale", i64::from(info.window_scales.map_or(0, |(theirs, _)| theirs))),
        ("tcpi_rcv_wscale", i64::from(info.window_scales.map_or(0, |(_, ours)| ours))),
        ("tcpi_ato", info.delayed_ack.as_micros() as i64),
        ("tcpi_last_data_sent", info.since_data_sent.as_millis() as i64),
        ("tcpi_last_data_recv", info.since_data_received.as_millis() as i64),
        ("tcpi_last_ack_recv", info.since_received.as_millis() as i64),
        ("tcpi_rcv_ssthresh", i64::from(info.receive_buffer)),
        ("tcpi_rcv_rtt", info.receive_rtt.map_or(0, |rtt| rtt.as_micros() as i64)),
        ("tcpi_rcv_space", i64::from(info.receive_space)),
        ("tcpi_snd_wnd", i64::from(info.send_window)),
        ("tcpi_rcv_wnd", i64::from(info.receive_window)),
    ]
}
