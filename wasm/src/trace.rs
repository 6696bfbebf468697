//! The trace of a host: `TraceEvent` of the package, whose `names.ts` has the names of the numbers here.

use ethertab::trace::{TraceEvent, TraceRecord};
use ethertab::wire::TcpFlags;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::{enter, tell};
use crate::info::{id, millis};

/// Numbers of each record: five that all events have, then those of its kind, then NaN.
const WIDTH: usize = 11;

/// The records that wait at a host, the oldest first and at most `most`: 11 numbers each. They wait no more.
#[wasm_bindgen]
pub fn take_trace(host: u32, most: u32) -> i32 {
    tell(|engine, told| {
        let host = engine.host(host);
        while told.0.len() < most as usize * WIDTH
            && let Some(record) = engine.network.poll_trace(host)
        {
            told.0.extend_from_slice(&flat(&record));
        }
        Ok(())
    })
}

/// Records of a host that made room for newer ones before they were taken.
#[wasm_bindgen]
pub fn trace_dropped(host: u32) -> f64 {
    enter(|engine| engine.network.host(engine.host(host)).map_or(0, |stack| stack.trace_lost()) as f64)
}

fn flat(record: &TraceRecord) -> [f64; WIDTH] {
    let [mut a, mut b, mut c, mut d, mut e, mut f] = [f64::NAN; 6];
    let kind = match record.event {
        TraceEvent::Sent { reason, seq, len, flags } => {
            (a, b, c, d) = (reason as u8 as f64, seq as f64, len as f64, bits(flags));
            0
        }
        TraceEvent::Received { seq, ack, len, flags, acknowledged, in_order } => {
            (a, b, c) = (seq as f64, ack as f64, len as f64);
            (d, e, f) = (bits(flags), acknowledged as f64, in_order as f64);
            1
        }
        TraceEvent::State { from, to } => {
            (a, b) = (from as u8 as f64, to as u8 as f64);
            2
        }
        TraceEvent::TimerSet { timer, at } => {
            (a, b) = (timer as u8 as f64, millis(at.since(record.time)));
            3
        }
        TraceEvent::TimerFired { timer } => {
            a = timer as u8 as f64;
            4
        }
        TraceEvent::Window { cwnd, ssthresh } => {
            (a, b) = (cwnd as f64, if ssthresh == u32::MAX { f64::INFINITY } else { ssthresh as f64 });
            5
        }
        TraceEvent::Recovery { from, to } => {
            (a, b) = (from as u8 as f64, to as u8 as f64);
            6
        }
        TraceEvent::Lost { segments } => {
            a = segments as f64;
            7
        }
        TraceEvent::Undone => 8,
        // The package leaves out what has no name there.
        _ => 9,
    };
    let connection = record.connection.map_or(f64::NAN, id);
    let time = record.time.as_micros() as f64;
    [kind as f64, time, connection, record.local_port as f64, record.remote_port as f64, a, b, c, d, e, f]
}

fn bits(flags: TcpFlags) -> f64 {
    flags.0 as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{fields, firsts, line, word};
    use ethertab::time::Instant;
    use ethertab::trace::{SendReason, Timer};
    use ethertab::{CongestionState, State};

    /// An event as the package would show it, with numbers that stand for no word behind their names.
    fn shown(event: TraceEvent) -> Vec<String> {
        let numbers = flat(&TraceRecord { event, ..TraceRecord::EMPTY });
        let kind = firsts("TRACE_EVENTS")[numbers[0] as usize];
        let mut shown = vec![kind.to_owned()];
        for (field, number) in line("TRACE_EVENTS", kind).into_iter().zip(&numbers[fields("TRACE_RECORD").len()..]) {
            shown.push(match field.split_once('&') {
                Some((name, _)) => format!("{name}={number}"),
                None if field.contains('=') => word(field, *number as usize).to_owned(),
                None => format!("{field}={number}"),
            });
        }
        shown
    }

    #[test]
    fn events_are_told_by_their_names() {
        let flags = TcpFlags::ACK | TcpFlags::PSH;
        let sent = TraceEvent::Sent { reason: SendReason::FastRetransmit, seq: 7, len: 100, flags };
        assert_eq!(shown(sent), ["sent", "fastRetransmit", "seq=7", "length=100", "flags=24"]);
        let received = TraceEvent::Received { seq: 1, ack: 2, len: 3, flags, acknowledged: 4, in_order: 5 };
        let numbers = ["received", "seq=1", "ack=2", "length=3", "flags=24", "acknowledged=4", "inOrder=5"];
        assert_eq!(shown(received), numbers);
        let state = TraceEvent::State { from: State::SynSent, to: State::Established };
        assert_eq!(shown(state), ["state", "SYN-SENT", "ESTABLISHED"]);
        let set = TraceEvent::TimerSet { timer: Timer::KeepAlive, at: Instant::from_micros(1_500) };
        assert_eq!(shown(set), ["timerSet", "keepAlive", "delay=1.5"]);
        assert_eq!(shown(TraceEvent::TimerFired { timer: Timer::Pacing }), ["timerFired", "pacing"]);
        let window = TraceEvent::Window { cwnd: 10, ssthresh: u32::MAX };
        assert_eq!(shown(window), ["window", "cwnd=10", "ssthresh=inf"]);
        let recovery = TraceEvent::Recovery { from: CongestionState::Open, to: CongestionState::Loss };
        assert_eq!(shown(recovery), ["recovery", "open", "loss"]);
        assert_eq!(shown(TraceEvent::Lost { segments: 3 }), ["lost", "segments=3"]);
        assert_eq!(shown(TraceEvent::Undone), ["undone"]);
    }

    #[test]
    fn the_last_words_stand_for_the_last_variants() {
        let reset = TraceEvent::Sent { reason: SendReason::Reset, seq: 0, len: 0, flags: TcpFlags::RST };
        assert_eq!(shown(reset)[1], "reset");
        for timer in Timer::ALL {
            assert_eq!(shown(TraceEvent::TimerFired { timer })[1].to_lowercase(), format!("{timer:?}").to_lowercase());
        }
        for (field, state) in [(1, State::Closed), (2, State::TimeWait)] {
            assert_eq!(shown(TraceEvent::State { from: state, to: state })[field], state.to_string());
        }
    }
}
