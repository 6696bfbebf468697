//! What a window that grows by a part of a segment a round trip and shrinks by a factor for a loss would reach at a point, were
//! there nothing else: no timeouts, no lost acknowledgments, each loss repaired in one round trip.
//!
//! The law of Mathis and others, and a path's rate, are bounds of which such a window stays below their minimum where they meet: it
//! oscillates, and what it has above the path's content waits in the queue and does not make good what it lacked below.

use crate::contender::Contender;
use crate::point::Point;

/// Round trips that are simulated.
const ROUNDS: u32 = 200_000;
/// Bytes of a full segment's frame, and its payload beside timestamps.
const FRAME: f64 = 1_514.0;
const PAYLOAD: f64 = 1_448.0;

/// Bit/s of such a window with the controller's factor and growth; none for one that works in another way.
pub(crate) fn goodput(point: &Point, contender: Contender) -> Option<f64> {
    let (factor, growth) = match contender.controller() {
        "reno" => (0.5, 1.0),
        // RFC 9438 §4.3: what makes CUBIC as fast as Reno where windows are small.
        "cubic" => (0.7, 8.0 / 15.0),
        _ => return None,
    };
    let rate = point.rate as f64 * 1e6;
    let segment_time = FRAME * 8.0 / rate;
    let round_trip = point.rtt as f64 / 1e3 + segment_time;
    let limit = f64::from(point.buffer) * 1_024.0 / PAYLOAD;
    let full = (rate / 8.0 * round_trip * 2.0).max(32.0 * FRAME + rate / 8.0 * round_trip) / FRAME;
    let (mut window, mut growing) = (10.0f64, true);
    let (mut time, mut segments) = (0.0, 0.0);
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..ROUNDS {
        let sent = window.min(limit).floor().max(1.0);
        time += round_trip.max(sent * segment_time);
        let mut lost = 0.0;
        for _ in 0..sent as u32 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            lost += f64::from((random >> 11) as f64 / (1u64 << 53) as f64 <= point.probability() && point.loss > 0);
        }
        segments += sent - lost;
        if lost > 0.0 || sent > full {
            // Whole segments, as in ours and in Linux.
            window = (window * factor).floor().max(2.0);
            growing = false;
        } else if growing {
            window += growth;
        } else {
            growing = true;
        }
    }
    Some(segments * PAYLOAD * 8.0 / time)
}
