//! Accurate ECN (RFC 9768): the receiver counts congestion marks and tells the count, in three flags of every segment (the ACE field)
//! and, in bytes by codepoint, in an option.

use crate::time::{Duration, Instant};
use crate::wire::{Ecn, TcpFlags, tcp_options};

/// When segments carry the AccECN option, to a peer that has sent one (RFC 9768 §3.2.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccEcnOption {
    /// Never.
    Off,
    /// When a counter tells something new, and a few times in each round trip.
    Needed,
    /// On every segment that has room.
    #[default]
    Always,
}

/// The first values of the counters that are sent, so that a middlebox which zeroes them is noticed (RFC 9768 §3.2.1).
const FIRST_ACE: u32 = 5;
const FIRST_BYTES: [u32; 3] = [1, 1, 0];

/// The ACE field's place among the flags.
const ACE_SHIFT: u32 = 6;
const ACE_MASK: u32 = 7;

/// Marks after which the peer is told at once (RFC 9768 §3.2.2.5.1).
const MOST_PENDING: u8 = 6;

/// Order 1 of the option: ECT(1), CE, ECT(0) (RFC 9768 §3.2.3); order 0 has the outer two exchanged.
const KIND_0: u8 = 172;
const KIND_1: u8 = 174;
const ORDER_1: [Ecn; 3] = [Ecn::Ect1, Ecn::Ce, Ecn::Ect0];

/// Segments acknowledged at a time on average, in 64ths, above which ACKs are taken to be thinned on the way.
const THINNED: u32 = 4 << 6;

/// The ACE field of a segment.
fn ace(flags: TcpFlags) -> u32 {
    u32::from(flags.0) >> ACE_SHIFT & ACE_MASK
}

fn ace_flags(value: u32) -> TcpFlags {
    TcpFlags(((value & ACE_MASK) << ACE_SHIFT) as u16)
}

/// What no SYN and ACK has that reflects an ECN field: an agreement all the same (RFC 9768 §3.1.3).
const UNUSED: u32 = 0b101;

/// How the handshake tells which ECN field a SYN, or SYN and ACK, arrived with (RFC 9768 table 2).
pub(crate) fn reflected(field: Ecn) -> TcpFlags {
    ace_flags(match field {
        Ecn::NotEct => 0b010,
        Ecn::Ect1 => 0b011,
        Ecn::Ect0 => 0b100,
        Ecn::Ce => 0b110,
    })
}

/// Whether a SYN asks for Accurate ECN: any combination but those of a host without ECN and of RFC 3168 (RFC 9768 §3.1.2).
pub(crate) fn is_requested(flags: TcpFlags) -> bool {
    !matches!(ace(flags), 0 | 0b011)
}

/// What is known of the peer's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    None,
    Valid,
    /// One that a middlebox has zeroed: none is believed any more (RFC 9768 §3.2.3.2.4).
    Zeroed,
}

/// The counters of one connection.
#[derive(Clone, Debug)]
pub(crate) struct AccEcn {
    /// Segments received with a mark, and bytes received by codepoint: ECT(1), ECT(0), CE.
    received: u32,
    received_bytes: [u32; 3],
    /// What the peer has told of ours.
    delivered: u32,
    delivered_bytes: [u32; 3],
    /// The ECN field of the peer's SYN, or SYN and ACK.
    syn_field: Ecn,
    /// That of the last segment received.
    last_field: Ecn,
    /// The codepoint whose counter moved last, if only one did: bytes that are acknowledged without an option are taken for its.
    estimate: Option<Ecn>,
    seen: Seen,
    /// Marks that no segment has told of yet.
    pending: u8,
    /// Segments that are to carry the option, and the counters of it that must not be left out.
    demand: u8,
    least: u8,
    /// Segments acknowledged at a time on average, in 64ths.
    acked_at_a_time: u16,
    /// The path changes ECN fields or flags: what is sent is not ECN-capable (RFC 9768 §3.2.2.3).
    mangled: bool,
    /// Segments with the option are dropped on the way.
    option_dropped: bool,
    /// The next ACK tells the ECN field of the SYN and ACK (RFC 9768 §3.2.2.1).
    reflects: bool,
    /// The codepoint has changed: the next data are acknowledged at once.
    changed: bool,
    /// When the option was sent last, and with a DSACK of which sequence number.
    option_at: Option<Instant>,
    option_with_dsack: Option<u32>,
}

/// What a connection has counted of ECN fields (RFC 9768 §3.2.1). Bytes of payload are counted by codepoint: ECT(1), ECT(0), CE. All
/// counters wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EcnCounters {
    /// Segments that we have received with a congestion mark.
    pub received: u32,
    /// Bytes that we have received.
    pub received_bytes: [u32; 3],
    /// Segments of ours that the peer has received with a congestion mark.
    pub delivered: u32,
    /// Bytes of ours that the peer has received.
    pub delivered_bytes: [u32; 3],
}

/// The place of a codepoint's counter.
fn index(field: Ecn) -> Option<usize> {
    (field as usize).checked_sub(1)
}

impl AccEcn {
    pub(crate) const NEW: AccEcn = AccEcn {
        received: 0,
        received_bytes: [0; 3],
        delivered: 0,
        delivered_bytes: [0; 3],
        syn_field: Ecn::NotEct,
        last_field: Ecn::NotEct,
        estimate: None,
        seen: Seen::None,
        pending: 0,
        demand: 0,
        least: 0,
        acked_at_a_time: 0,
        mangled: false,
        option_dropped: false,
        reflects: false,
        changed: false,
        option_at: None,
        option_with_dsack: None,
    };

    pub(crate) fn counters(&self) -> EcnCounters {
        let AccEcn { received, received_bytes, delivered, delivered_bytes, .. } = *self;
        EcnCounters { received, received_bytes, delivered, delivered_bytes }
    }

    /// A server's, whose client's SYN came with `field`.
    pub(crate) fn accepted(field: Ecn, mangled: bool) -> Self {
        AccEcn { syn_field: field, last_field: field, mangled, demand: 1, ..AccEcn::NEW }
    }

    pub(crate) fn syn_field(&self) -> Ecn {
        self.syn_field
    }

    /// The SYN and ACK that agrees has come (RFC 9768 §3.1.2 and §3.2.2.3). Our SYN was not ECN-capable.
    pub(crate) fn syn_ack_arrives(&mut self, flags: TcpFlags, field: Ecn, options: &[u8]) {
        self.syn_field = field;
        self.reflects = true;
        if !matches!(ace(flags), UNUSED) && ace(flags) != ace(reflected(Ecn::NotEct)) {
            self.mangled = true;
        } else if field == Ecn::Ce {
            self.received += 1;
            self.pending += 1;
        }
        if self.find_option(options).is_some() {
            self.demand = 2;
        }
    }

    /// The acknowledgment that ends a server's handshake (RFC 9768 §3.2.2.1 and §3.2.2.4).
    ///
    /// `validates` is false where the path is to be taken for one that mangles nothing: then a mark that is told counts.
    pub(crate) fn handshake_ends(&mut self, flags: TcpFlags, options: &[u8], has_payload: bool, validates: bool) {
        self.find_option(options);
        self.mangled |= match ace(flags) {
            0 => true,
            0b001 | UNUSED | 0b111 => false,
            value if validates => !has_payload && value != ace(reflected(Ecn::NotEct)),
            value => {
                self.delivered += u32::from(!has_payload && value == ace(reflected(Ecn::Ce)));
                false
            }
        };
    }

    /// The peer's SYN and ACK has come again, with this ECN field: the ACK tells it.
    pub(crate) fn reflect(&mut self, field: Ecn) {
        (self.syn_field, self.reflects) = (field, true);
    }

    /// An acceptable segment has arrived, with so much payload. True if an ACK is due with the data that it has.
    #[inline]
    pub(crate) fn segment_arrives(&mut self, field: Ecn, segments: u32, payload: u32) -> bool {
        if let Some(index) = index(field) {
            if field == Ecn::Ce {
                self.received = self.received.wrapping_add(segments);
                self.pending = self.pending.saturating_add(segments.min(15) as u8);
            }
            if payload > 0 {
                let before = self.received_bytes[index];
                self.received_bytes[index] = before.wrapping_add(payload);
                let place = ORDER_1.iter().position(|&at| at == field).unwrap_or(0);
                self.least = self.least.max(place as u8 + 1);
                if (before ^ self.received_bytes[index]) >> 22 != 0 {
                    // RFC 9768 §3.2.3.3: before the 24 bits of the field wrap.
                    self.demand = self.demand.max(1);
                }
            }
        }
        let edge = field != self.last_field;
        if edge || field == Ecn::Ce {
            // Two, so that the second tells the new codepoint unambiguously.
            self.demand = 2;
            self.last_field = field;
        }
        self.changed |= edge;
        payload > 0 && (core::mem::take(&mut self.changed) || self.pending >= MOST_PENDING)
    }

    /// The flags and ECN field of a segment that goes out.
    #[inline]
    pub(crate) fn sending(&mut self, is_bare_ack: bool) -> (TcpFlags, Ecn) {
        let reflects = core::mem::take(&mut self.reflects) && is_bare_ack;
        let flags = if reflects { reflected(self.syn_field) } else { ace_flags(self.received.wrapping_add(FIRST_ACE)) };
        if !reflects {
            self.pending = 0;
        }
        self.changed = false;
        (flags, if self.mangled { Ecn::NotEct } else { Ecn::Ect0 })
    }

    /// Whether a segment that goes out now is to have the option: `beacons` times in each round trip at least.
    #[inline]
    pub(crate) fn wants_option(&self, option: AccEcnOption, beacons: u8, now: Instant, srtt: Duration) -> bool {
        if option == AccEcnOption::Off || self.seen == Seen::None || self.option_dropped {
            return false;
        }
        let is_late = |at| now.since(at).as_micros() * u64::from(beacons) >= srtt.as_micros();
        option == AccEcnOption::Always || self.demand > 0 || (beacons > 0 && self.option_at.is_none_or(is_late))
    }

    /// How many counters of the option fit into `room` bytes beside `blocks` SACK blocks, and how many of these remain: one may make
    /// room for counters that are needed.
    pub(crate) fn fit(&self, room: usize, blocks: usize) -> Option<(usize, usize)> {
        let least = usize::from(self.least);
        let fits = |blocks| (least..=3).rev().find(|&fields| padded_len(fields, blocks > 0) + 8 * blocks <= room);
        let alone = fits(blocks).map(|fields| (fields, blocks));
        alone.or_else(|| {
            (blocks > 2 && least > 0).then(|| fits(blocks - 1)).flatten().map(|fields| (fields, blocks - 1))
        })
    }

    /// Writes the option with so many counters; returns its length.
    pub(crate) fn emit_option(&mut self, fields: usize, now: Instant, dsack: Option<u32>, out: &mut [u8]) -> usize {
        self.least = 0;
        self.demand = self.demand.saturating_sub(1);
        self.option_at = Some(now);
        self.option_with_dsack = dsack;
        write_option(&self.received_bytes, fields, out)
    }

    /// A segment came again that was reported as a duplicate along with the option: the report may have been dropped for it
    /// (RFC 9768 §3.2.3.2.2).
    pub(crate) fn data_again(&mut self, seq: u32) {
        self.option_dropped |= self.option_with_dsack == Some(seq);
    }

    /// The peer's option, if there is one and the first was not zeroed.
    fn find_option<'o>(&mut self, options: &'o [u8]) -> Option<(u8, &'o [u8])> {
        let (kind, body) = tcp_options::iter(options).find(|(kind, _)| matches!(*kind, KIND_0 | KIND_1))?;
        if self.seen == Seen::None {
            let zeroed = [0, 6].iter().any(|&at| body.get(at..at + 3) == Some(&[0, 0, 0]));
            self.seen = if zeroed { Seen::Zeroed } else { Seen::Valid };
        }
        (self.seen == Seen::Valid).then_some((kind, body))
    }

    /// Without Accurate ECN: an acknowledgment with ECE has delivered so many segments, all of which count as marked, as in Linux.
    pub(crate) fn echoed(&mut self, segments: u32) {
        self.delivered = self.delivered.wrapping_add(segments);
    }

    /// The marks that an acknowledgment tells of (RFC 9768 §3.2.2.5, appendix A.2), which has newly delivered so many segments and bytes.
    pub(crate) fn acknowledged(&mut self, flags: TcpFlags, options: &[u8], segments: u32, bytes: u32, mss: u32) -> u32 {
        let marked_before = self.delivered_bytes[2];
        let bytes_known = self.count_bytes(options, bytes);
        if segments > 0 {
            let average = u32::from(self.acked_at_a_time);
            let average = if average == 0 { segments << 6 } else { (average * 63 + (segments << 6)) >> 6 };
            self.acked_at_a_time = average.min(u32::from(u16::MAX)) as u16;
        }
        let delta = ace(flags).wrapping_sub(FIRST_ACE).wrapping_sub(self.delivered) & ACE_MASK;
        // The field may have wrapped: the most that it can mean.
        let most = segments - (segments.wrapping_sub(delta) & ACE_MASK).min(segments);
        let marks = if segments <= ACE_MASK {
            delta
        } else if bytes_known {
            let marked = self.delivered_bytes[2].wrapping_sub(marked_before);
            if marked > delta * mss && marked >= most * mss / 2 { most } else { delta }
        } else if u32::from(self.acked_at_a_time) > THINNED {
            delta
        } else {
            most
        };
        self.delivered = self.delivered.wrapping_add(marks);
        marks
    }

    /// Brings the peer's counters of bytes up to date (RFC 9768 §3.2.3.1); false if they say nothing sure.
    fn count_bytes(&mut self, options: &[u8], bytes: u32) -> bool {
        let Some((kind, body)) = self.find_option(options) else {
            let estimate = self.estimate.filter(|_| self.seen == Seen::Valid).and_then(index);
            if let Some(index) = estimate {
                self.delivered_bytes[index] = self.delivered_bytes[index].wrapping_add(bytes);
            }
            return estimate.is_some();
        };
        let (mut changed, mut is_sure) = (None, true);
        for (place, field) in body.chunks_exact(3).take(3).enumerate() {
            let codepoint = ORDER_1[if kind == KIND_1 { place } else { 2 - place }];
            let Some(index) = index(codepoint) else { continue };
            let value = u32::from_be_bytes([0, field[0], field[1], field[2]]);
            let counter = &mut self.delivered_bytes[index];
            // 24 bits, with sign: an older segment may tell less.
            let delta = (value.wrapping_sub(FIRST_BYTES[index]).wrapping_sub(*counter) << 8) as i32 >> 8;
            *counter = counter.wrapping_add_signed(delta);
            if delta != 0 {
                is_sure &= delta > 0 && changed.is_none();
                changed = Some(codepoint);
            }
        }
        if changed.is_some() {
            self.estimate = changed.filter(|_| is_sure);
        }
        self.estimate.is_some()
    }
}

/// The option of a SYN and ACK: nothing was received yet (RFC 9768 §3.2.3.3).
pub(crate) fn emit_first_option(out: &mut [u8]) -> usize {
    write_option(&[0; 3], 3, out)
}

/// Bytes of an option with so many counters, padded; before a SACK option it takes the place of padding there.
pub(crate) fn padded_len(fields: usize, before_sack: bool) -> usize {
    (2 + 3 * fields + if before_sack { 2 } else { 0 }).next_multiple_of(4)
}

fn write_option(bytes: &[u32; 3], fields: usize, out: &mut [u8]) -> usize {
    let len = 2 + 3 * fields;
    out[..2].copy_from_slice(&[KIND_1, len as u8]);
    for (field, codepoint) in out[2..len].chunks_exact_mut(3).zip(ORDER_1) {
        let value = index(codepoint).map_or(0, |index| bytes[index].wrapping_add(FIRST_BYTES[index]));
        field.copy_from_slice(&value.to_be_bytes()[1..]);
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(e0b: u32, ceb: u32, e1b: u32) -> [u8; 11] {
        let mut option = [KIND_0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (field, value) in option[2..].chunks_exact_mut(3).zip([e0b, ceb, e1b]) {
            field.copy_from_slice(&value.to_be_bytes()[1..]);
        }
        option
    }

    #[test]
    fn marks_are_counted_in_the_flags_and_wrap() {
        let mut ecn = AccEcn::accepted(Ecn::NotEct, false);
        assert_eq!(ecn.sending(false), (ace_flags(5), Ecn::Ect0));
        for value in [6, 7, 0, 1] {
            ecn.segment_arrives(Ecn::Ce, 1, 100);
            assert_eq!(ecn.sending(false).0, ace_flags(value));
        }
        assert_eq!(ecn.received_bytes, [0, 0, 400]);
    }

    #[test]
    fn the_peers_count_is_followed_across_the_wrap() {
        let mut ecn = AccEcn::NEW;
        let mut marks = |value, segments| ecn.acknowledged(ace_flags(value), &[], segments, 0, 1_000);
        assert_eq!(marks(5, 1), 0);
        assert_eq!(marks(7, 2), 2);
        assert_eq!(marks(1, 2), 2);
        assert_eq!(marks(1, 9), 8, "it may have wrapped");
        assert_eq!(ecn.delivered, 12);
    }

    #[test]
    fn bytes_in_the_option_rule_out_a_wrap() {
        let mut ecn = AccEcn::NEW;
        ecn.acknowledged(ace_flags(5), &told(1_001, 0, 1), 1, 1_000, 1_000);
        assert_eq!(ecn.acknowledged(ace_flags(5), &told(10_001, 0, 1), 9, 9_000, 1_000), 0);
        assert_eq!(ecn.delivered_bytes, [0, 10_000, 0]);
        assert_eq!(ecn.acknowledged(ace_flags(6), &told(10_001, 9_000, 1), 9, 9_000, 1_000), 9);
        assert_eq!(ecn.delivered_bytes, [0, 10_000, 9_000]);
        ecn.acknowledged(ace_flags(6), &[], 1, 500, 1_000);
        assert_eq!(ecn.delivered_bytes[2], 9_500, "without the option the last codepoint is assumed");
    }

    #[test]
    fn a_zeroed_option_is_not_believed() {
        let mut ecn = AccEcn::NEW;
        ecn.acknowledged(ace_flags(5), &told(0, 0, 0), 1, 1_000, 1_000);
        ecn.acknowledged(ace_flags(5), &told(1_001, 0, 1), 1, 1_000, 1_000);
        assert_eq!(ecn.delivered_bytes, [0; 3]);
    }

    #[test]
    fn a_handshake_that_was_bleached_ends_ecn_capable_sending() {
        for (flags, has_payload, field) in [
            (ace_flags(0), false, Ecn::NotEct),
            (reflected(Ecn::NotEct), false, Ecn::Ect0),
            (reflected(Ecn::Ect0), false, Ecn::NotEct),
            (ace_flags(5), true, Ecn::Ect0),
            (ace_flags(6), true, Ecn::Ect0),
        ] {
            let mut ecn = AccEcn::accepted(Ecn::NotEct, false);
            ecn.handshake_ends(flags, &[], has_payload, true);
            assert_eq!(ecn.sending(false).1, field);
        }
        let mut ecn = AccEcn::accepted(Ecn::NotEct, false);
        ecn.handshake_ends(reflected(Ecn::Ce), &[], false, false);
        assert_eq!((ecn.sending(false).1, ecn.delivered), (Ecn::Ect0, 1));
    }

    #[test]
    fn counters_make_room_for_sack_blocks_unless_they_are_needed() {
        let mut ecn = AccEcn::NEW;
        assert_eq!(ecn.fit(28, 0), Some((3, 0)));
        assert_eq!(ecn.fit(28, 1), Some((3, 1)));
        assert_eq!(ecn.fit(28, 2), Some((2, 2)));
        assert_eq!(ecn.fit(28, 3), Some((0, 3)));
        ecn.least = 1;
        assert_eq!(ecn.fit(28, 3), Some((2, 2)));
        ecn.least = 3;
        assert_eq!(ecn.fit(28, 3), None);
    }
}
