//! What the stack knows of its connections: `ConnectionInfo` of the package, whose `names.ts` has the names of the numbers here.

use ethertab::time::Duration;
use ethertab::{ConnectionHandle, ConnectionInfo};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::tell;
use crate::failure::Failure;
use crate::numbers::Told;

/// Numbers of a connection between its addresses and its timers.
const FIGURES: usize = 70;

/// What the stack knows of a connection; nothing if it knows nothing any more.
#[wasm_bindgen]
pub fn connection_info(socket: u32) -> i32 {
    tell(|engine, told| {
        let (host, handle) = engine.sockets.connection(socket).ok_or_else(Failure::missing)?;
        tell_each(told, &mut engine.stack(host)?.connection_info(handle).into_iter());
        Ok(())
    })
}

/// All connections of a host, those that nobody has accepted or that are in TIME-WAIT included: a record for each.
#[wasm_bindgen]
pub fn connections(host: u32) -> i32 {
    tell(|engine, told| {
        tell_each(told, &mut engine.stack(engine.host(host))?.connections());
        Ok(())
    })
}

fn tell_each(told: &mut Told, connections: &mut dyn Iterator<Item = ConnectionInfo>) {
    for info in connections {
        told.number(info.handle.map_or(f64::NAN, id));
        told.number(info.state as u8);
        told.endpoint(info.local);
        told.endpoint(info.remote);
        told.0.extend_from_slice(&figures(&info));
        told.0.extend_from_slice(&info.timers.map(millis_of));
    }
}

fn figures(info: &ConnectionInfo) -> [f64; FIGURES] {
    let ecn = &info.ecn_counters;
    [
        info.congestion_control as u8 as f64,
        info.congestion_state as u8 as f64,
        info.cwnd as f64,
        if info.ssthresh == u32::MAX { f64::INFINITY } else { info.ssthresh as f64 },
        millis_of(info.srtt),
        info.srtt.map_or(f64::NAN, |_| millis(info.rttvar)),
        millis_of(info.min_rtt),
        millis(info.rto),
        info.backoff as f64,
        info.unanswered_probes as f64,
        info.total_timeouts as f64,
        info.timeout_recoveries as f64,
        millis(info.timeout_time),
        info.bytes_in_flight as f64,
        info.unacknowledged_segments as f64,
        info.sacked_segments as f64,
        info.lost_segments as f64,
        info.resent_segments as f64,
        info.retransmits as f64,
        info.reordering as f64,
        info.reordering_seen as f64,
        info.duplicates_reported as f64,
        info.out_of_order_segments as f64,
        info.delivered as f64,
        info.send_queue as f64,
        info.receive_queue as f64,
        info.send_buffer as f64,
        info.receive_buffer as f64,
        info.send_window as f64,
        info.receive_window as f64,
        millis_of(info.receive_rtt),
        info.receive_space as f64,
        info.mss as f64,
        info.receive_mss as f64,
        info.advertised_mss as f64,
        info.path_mtu as f64,
        info.timestamps as u8 as f64,
        info.sack as u8 as f64,
        info.window_scales.map_or(f64::NAN, |(send, _)| send as f64),
        info.window_scales.map_or(f64::NAN, |(_, receive)| receive as f64),
        info.ecn as u8 as f64,
        info.ecn_seen as u8 as f64,
        info.fast_open_data as u8 as f64,
        ecn.received as f64,
        ecn.received_bytes[0] as f64,
        ecn.received_bytes[1] as f64,
        ecn.received_bytes[2] as f64,
        ecn.delivered as f64,
        ecn.delivered_bytes[0] as f64,
        ecn.delivered_bytes[1] as f64,
        ecn.delivered_bytes[2] as f64,
        millis(info.delayed_ack),
        millis(info.since_data_sent),
        millis(info.since_data_received),
        millis(info.since_received),
        info.pacing_rate.map_or(f64::NAN, |rate| rate as f64),
        info.delivery_rate as f64,
        info.delivery_rate_is_app_limited as u8 as f64,
        info.bandwidth.map_or(f64::NAN, |rate| rate as f64),
        info.bytes_sent as f64,
        info.bytes_acknowledged as f64,
        info.bytes_retransmitted as f64,
        info.bytes_received as f64,
        info.segments_sent as f64,
        info.data_segments_sent as f64,
        info.segments_received as f64,
        info.data_segments_received as f64,
        millis(info.busy_time),
        millis(info.window_limited_time),
        millis(info.buffer_limited_time),
    ]
}

/// A number for a connection that no other of its host has had for two million connections in the same place: exact as
/// a floating-point number, which 64 bits would not be.
pub(crate) fn id(handle: ConnectionHandle) -> f64 {
    (handle.to_bits() & 0x1f_ffff_ffff_ffff) as f64
}

pub(crate) fn millis(span: Duration) -> f64 {
    span.as_micros() as f64 / 1_000.0
}

fn millis_of(span: Option<Duration>) -> f64 {
    span.map_or(f64::NAN, millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{fields, line, word};
    use ethertab::trace::Timer;
    use ethertab::{Algorithm, CongestionState, EcnMode, State};

    #[test]
    fn each_number_has_a_name() {
        let numbers = fields("CONNECTION").into_iter().map(|name| if name.ends_with('@') { 4 } else { 1 });
        assert_eq!(numbers.sum::<usize>(), 2 + 2 * 5 + FIGURES + Timer::ALL.len());
    }

    #[test]
    fn words_stand_at_the_numbers_of_what_they_name() {
        for state in
            [State::Listen, State::SynReceived, State::FinWait2, State::LastAck, State::TimeWait, State::Closed]
        {
            assert_eq!(word("state=states", state as usize), state.to_string());
        }
        for algorithm in [Algorithm::NewReno, Algorithm::Cubic, Algorithm::Bbr, Algorithm::Unlimited] {
            assert_eq!(word("congestionControl=algorithms", algorithm as usize), algorithm.name());
        }
        let recovery = [CongestionState::Open, CongestionState::Disorder, CongestionState::Reduction];
        assert_eq!(recovery.map(|state| word("=recovery", state as usize)), ["open", "disorder", "cwr"]);
        let recovery = [CongestionState::Recovery, CongestionState::Loss];
        assert_eq!(recovery.map(|state| word("=recovery", state as usize)), ["recovery", "loss"]);
        let ecn = [EcnMode::Off, EcnMode::Classic, EcnMode::Accurate];
        assert_eq!(ecn.map(|mode| word("=agreedEcn", mode as usize)), ["off", "on", "accurate"]);
    }

    #[test]
    fn each_timer_has_its_place() {
        let words = line("WORDS", "timers");
        let shown: Vec<&str> = fields("CONNECTION").iter().filter_map(|name| name.strip_prefix("timers.")).collect();
        assert_eq!(shown, words);
        assert_eq!(words.len(), Timer::ALL.len());
        for timer in Timer::ALL {
            assert_eq!(words[timer as usize].to_lowercase(), format!("{timer:?}").to_lowercase());
        }
    }
}
