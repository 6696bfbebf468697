//! SYN cookies (RFC 4987 §3.6): when there is no room for half-open connections, what such a one would hold goes out in the
//! sequence number of the SYN and ACK, and comes back in the peer's acknowledgment. Nothing is stored for a flood to fill.
//!
//! The sequence number holds the time in steps of 64 seconds and which of four MSS is used, both under a keyed function of the
//! flow and the time. What else the SYN offered is in the low bits of TSval (as in Linux), or given up if the peer has no timestamps.

use crate::random::Generator;
use crate::stack::flow::Flow;
use crate::tcp::seq::Seq;
use crate::time::{Duration, Instant};

/// When a listener answers with SYN cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SynCookies {
    /// Never: what finds no room is dropped.
    Off,
    /// When more connections are half-open than the listener's backlog, or than the stack has room for.
    #[default]
    UnderPressure,
    /// Always, for tests: no half-open connection is stored.
    Always,
}

/// The step of the clock in a cookie.
const STEP: Duration = Duration::from_secs(64);

/// Steps in which a cookie is believed: its own and the next one, so for one to two minutes.
const STEPS_VALID: u32 = 2;

/// For how long an acknowledgment may hold a cookie after the last one was sent.
pub(crate) const LIFETIME: Duration = Duration::from_secs(128);

/// The MSS that a cookie can tell, the largest that is not above the peer's: what common links have, and the minimum.
const MSS_IPV4: [u16; 4] = [536, 1_300, 1_440, 1_460];
const MSS_IPV6: [u16; 4] = [1_220, 1_420, 1_440, 8_940];

/// Bits of a cookie below its time.
const DATA_BITS: u32 = 24;
const DATA_MASK: u32 = (1 << DATA_BITS) - 1;

fn mss_table(flow: &Flow) -> &'static [u16; 4] {
    if flow.is_ipv4() { &MSS_IPV4 } else { &MSS_IPV6 }
}

fn step(now: Instant) -> u32 {
    (now.as_micros() / STEP.as_micros()) as u32
}

/// What the data of a cookie are hidden under: differs for each flow, SYN and step.
fn mask(secret: &Generator, of_flow: u64, irs: Seq, step: u32) -> u32 {
    secret.prf(&[of_flow, u64::from(step) << 32 | u64::from(irs.0)]) as u32
}

/// The initial sequence number that answers a SYN with sequence number `irs` and this MSS. It goes up with the peer's and with
/// time, as RFC 9293 §3.4.1 wants it.
pub(crate) fn sequence(secret: &Generator, flow: &Flow, now: Instant, irs: Seq, mss: u16) -> Seq {
    let of_flow = flow.prf(secret);
    let step = step(now);
    let index = mss_table(flow).iter().rposition(|&entry| entry <= mss).unwrap_or(0) as u32;
    let data = mask(secret, of_flow, irs, step).wrapping_add(index) & DATA_MASK;
    irs + ((of_flow >> 32) as u32).wrapping_add(step << DATA_BITS).wrapping_add(data)
}

/// The MSS in a cookie, if `iss` is one that was sent to this flow in answer to `irs` within the last two minutes.
pub(crate) fn mss(secret: &Generator, flow: &Flow, now: Instant, irs: Seq, iss: Seq) -> Option<u16> {
    let of_flow = flow.prf(secret);
    let cookie = (iss - irs).wrapping_sub((of_flow >> 32) as u32);
    let now = step(now);
    let age = now.wrapping_sub(cookie >> DATA_BITS) & (u32::MAX >> DATA_BITS);
    if age >= STEPS_VALID {
        return None;
    }
    let index = cookie.wrapping_sub(mask(secret, of_flow, irs, now.wrapping_sub(age))) & DATA_MASK;
    mss_table(flow).get(index as usize).copied()
}

/// What a SYN offers beside its MSS, as far as the low bits of TSval tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    /// ECN was asked for, and is granted (RFC 3168 §6.1.1).
    pub(crate) ecn: bool,
}

/// Low bits of TSval that hold an [`Offer`]: a window scale or [`NO_SCALE`], then a bit each for SACK and ECN.
const OFFER_BITS: u32 = 6;
const NO_SCALE: u8 = 15;
const SACK: u8 = 1 << 4;
const ECN: u8 = 1 << 5;

impl Offer {
    /// A clock's time with the offer in its low bits, at most 64 ticks before `ticks`: TSval never runs ahead.
    pub(crate) fn hide_in(self, ticks: u32) -> u32 {
        let mut bits = self.window_scale.unwrap_or(NO_SCALE);
        bits |= if self.sack_permitted { SACK } else { 0 };
        bits |= if self.ecn { ECN } else { 0 };
        let hidden = ticks >> OFFER_BITS << OFFER_BITS | u32::from(bits);
        if hidden > ticks { hidden.wrapping_sub(1 << OFFER_BITS) } else { hidden }
    }

    /// The offer in the low bits of the time that an acknowledgment echoes.
    pub(crate) fn found_in(ticks: u32) -> Self {
        let bits = ticks as u8;
        let scale = bits & NO_SCALE;
        Offer {
            window_scale: (scale != NO_SCALE).then_some(scale),
            sack_permitted: bits & SACK != 0,
            ecn: bits & ECN != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Use;
    use core::net::IpAddr;

    fn flow(local: &str, remote: &str) -> Flow {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        Flow { local: address(local), remote: address(remote), local_port: 80, remote_port: 50_000, link: None }
    }

    fn secret() -> Generator {
        Generator::new([1, 2], Use::SynCookies)
    }

    #[test]
    fn a_cookie_tells_the_mss_for_one_to_two_minutes() {
        let secret = secret();
        let irs = Seq(u32::MAX - 5);
        for (flow, sizes) in [
            (flow("10.0.0.1", "10.0.0.2"), [(100, 536), (536, 536), (1_380, 1_300), (1_460, 1_460), (9_000, 1_460)]),
            (flow("fd00::1", "fd00::2"), [(0, 1_220), (1_425, 1_420), (1_440, 1_440), (8_939, 1_440), (8_940, 8_940)]),
        ] {
            for second in [0, 63, 64, 255 * 64, 256 * 64 + 63] {
                let sent = Instant::from_secs(second);
                for (offered, told) in sizes {
                    let iss = sequence(&secret, &flow, sent, irs, offered);
                    let found = |after| mss(&secret, &flow, sent + Duration::from_secs(after), irs, iss);
                    assert_eq!(found(0), Some(told));
                    assert_eq!(found(64), Some(told));
                    assert_eq!(found(128), None, "too old");
                }
            }
        }
    }

    #[test]
    fn what_was_not_sent_is_no_cookie() {
        let secret = secret();
        let (now, irs) = (Instant::from_secs(1_000), Seq(7));
        let ours = flow("10.0.0.1", "10.0.0.2");
        let iss = sequence(&secret, &ours, now, irs, 1_460);
        let other = Flow { remote_port: 50_001, ..ours };
        assert_eq!(mss(&secret, &other, now, irs, iss), None, "of another flow");
        assert_eq!(mss(&secret, &ours, now, irs + 1, iss), None, "for another SYN");
        let guessed = (0..1_000_000).filter(|&n| mss(&secret, &ours, now, irs, iss + 4 + n).is_some()).count();
        assert_eq!(guessed, 0);
    }

    #[test]
    fn an_offer_comes_back_from_the_clock() {
        for ticks in [0, 63, 64, 1_000_000, u32::MAX] {
            for window_scale in [None, Some(0), Some(14)] {
                for (sack_permitted, ecn) in [(false, false), (false, true), (true, false), (true, true)] {
                    let offer = Offer { window_scale, sack_permitted, ecn };
                    let hidden = offer.hide_in(ticks);
                    assert_eq!(Offer::found_in(hidden), offer);
                    assert!(ticks.wrapping_sub(hidden) < 64);
                }
            }
        }
    }
}
