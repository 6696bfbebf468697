//! Linux's `TCP_INFO`.

use ethertab::{CongestionState, ConnectionInfo, EcnMode, State};

use crate::packetdrill::poll::peer_has_closed;

/// `tcpi_state` of a closed connection.
pub(in crate::packetdrill) const TCP_CLOSE: i64 = 7;

/// That of a listener.
pub(in crate::packetdrill) const TCP_LISTEN: i64 = 10;

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
        State::Listen => TCP_LISTEN,
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
        ("tcpi_bytes_acked", info.bytes_acknowledged as i64),
        // Where the peer's FIN has come, it counts.
        ("tcpi_bytes_received", info.bytes_received as i64 + i64::from(peer_has_closed(info.state))),
        ("tcpi_bytes_sent", (info.bytes_sent + info.bytes_retransmitted) as i64),
        ("tcpi_bytes_retrans", info.bytes_retransmitted as i64),
        ("tcpi_segs_in", i64::from(info.segments_received)),
        ("tcpi_segs_out", i64::from(info.segments_sent)),
        ("tcpi_data_segs_in", i64::from(info.data_segments_received)),
        ("tcpi_data_segs_out", i64::from(info.data_segments_sent)),
        ("tcpi_delivered", i64::from(info.delivered)),
        ("tcpi_rcv_ooopack", i64::from(info.out_of_order_segments)),
        ("tcpi_total_rto", i64::from(info.total_timeouts)),
        ("tcpi_total_rto_recoveries", i64::from(info.timeout_recoveries)),
        ("tcpi_total_rto_time", info.timeout_time.as_millis() as i64),
        ("tcpi_busy_time", info.busy_time.as_micros() as i64),
        ("tcpi_rwnd_limited", info.window_limited_time.as_micros() as i64),
        ("tcpi_sndbuf_limited", info.buffer_limited_time.as_micros() as i64),
        ("tcpi_min_rtt", info.min_rtt.map_or(i64::from(u32::MAX), |rtt| rtt.as_micros() as i64)),
        ("tcpi_probes", i64::from(info.unanswered_probes)),
        // What Linux does not remember, and what is not done here.
        ("tcpi_last_ack_sent", 0),
        ("tcpi_rehash", 0),
        ("tcpi_fastopen_client_fail", 0),
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
