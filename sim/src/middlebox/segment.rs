//! A frame with a TCP segment, taken apart to be changed and put together again.

use crate::mutate::{repair_checksums, repair_lengths};
use crate::packet::{Segment, TCP, parse_ip};
use std::net::IpAddr;

pub(super) const ETHERNET: usize = 14;

/// Values of the ECN field (RFC 3168 §5): the transport knows nothing of ECN, and congestion was met.
pub(super) const NOT_ECT: u8 = 0;
pub(super) const CE: u8 = 3;

/// Options: kinds, and what they say.
pub(super) mod option {
    const END: u8 = 0;
    pub(in crate::middlebox) const NOP: u8 = 1;
    const WINDOW_SCALE: u8 = 3;
    pub(in crate::middlebox) const SACK: u8 = 5;
    const TIMESTAMPS: u8 = 8;

    /// The options that can be read: where each begins, its kind, and how many bytes it has.
    pub(in crate::middlebox) fn each(options: &[u8]) -> impl Iterator<Item = (usize, u8, usize)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = at;
            let kind = *options.get(start)?;
            let len = match kind {
                END => return None,
                NOP => 1,
                _ => usize::from(*options.get(start + 1)?).max(2),
            };
            at = start + len;
            (at <= options.len()).then_some((start, kind, len))
        })
    }

    fn find(options: &[u8], kind: u8, len: usize) -> Option<usize> {
        each(options).find(|option| (option.1, option.2) == (kind, len)).map(|(start, ..)| start)
    }

    /// The window scale (RFC 7323 §2.2).
    pub(in crate::middlebox) fn scale(options: &[u8]) -> Option<u8> {
        find(options, WINDOW_SCALE, 3).map(|at| options[at + 2].min(14))
    }

    /// TSval and TSecr (RFC 7323 §3.2).
    pub(in crate::middlebox) fn timestamps(options: &[u8]) -> Option<(u32, u32)> {
        let at = find(options, TIMESTAMPS, 10)?;
        let field = |at: usize| options[at..].first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
        Some((field(at + 2)?, field(at + 6)?))
    }

    /// Writes TSecr.
    pub(in crate::middlebox) fn echo(options: &mut [u8], value: u32) {
        if let Some(at) = find(options, TIMESTAMPS, 10) {
            options[at + 6..at + 10].copy_from_slice(&value.to_be_bytes());
        }
    }
}

/// Overwrites options of these kinds with no-operations.
pub(super) fn strip(options: &mut [u8], kinds: &[u8]) {
    let found: Vec<_> = option::each(options).filter(|(_, kind, _)| kinds.contains(kind)).collect();
    for (start, _, len) in found {
        options[start..start + len].fill(option::NOP);
    }
}

/// Takes `shift` off the edges of SACK blocks (RFC 2018 §3).
pub(super) fn shift_sack(options: &mut [u8], shift: u32) {
    let found: Vec<_> = option::each(options).filter(|(_, kind, _)| *kind == option::SACK).collect();
    for (start, _, len) in found {
        for edge in options[start + 2..start + len].chunks_exact_mut(4) {
            let value = edge.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
            edge.copy_from_slice(&value.wrapping_sub(shift).to_be_bytes());
        }
    }
}

/// The length of the IP packet in a frame.
pub(super) fn packet_len(frame: &[u8]) -> Option<usize> {
    addresses(frame).map(|_| frame.len() - ETHERNET)
}

/// The addresses of the IP packet in a frame.
pub(super) fn addresses(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    parse_ip(frame).map(|(source, destination, ..)| (source, destination))
}

/// A segment, and the headers in front of it.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    headers: Vec<u8>,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) segment: Segment,
}

impl Parsed {
    /// Takes a frame apart. None if it carries no segment, or its checksums are wrong, which a box that writes new ones
    /// would hide.
    pub(super) fn new(frame: &[u8]) -> Option<Parsed> {
        let (source, destination, protocol, payload) = parse_ip(frame)?;
        if protocol != TCP {
            return None;
        }
        let mut repaired = frame.to_vec();
        repair_checksums(&mut repaired);
        if repaired != frame {
            return None;
        }
        let segment = Segment::parse(payload)?;
        let headers = match frame.get(12)? {
            0x08 => ETHERNET + usize::from(frame[ETHERNET] & 15) * 4,
            _ => ETHERNET + 40,
        };
        Some(Parsed { headers: frame[..headers].to_vec(), source, destination, segment })
    }

    /// The ECN field (RFC 3168 §5): the last two bits of the type of service or traffic class.
    pub(super) fn ecn(&self) -> u8 {
        self.headers[ETHERNET + 1] >> self.ecn_shift() & 3
    }

    /// Writes the ECN field.
    pub(super) fn set_ecn(&mut self, ecn: u8) {
        let shift = self.ecn_shift();
        let field = &mut self.headers[ETHERNET + 1];
        *field = *field & !(3 << shift) | ecn << shift;
    }

    fn ecn_shift(&self) -> u8 {
        if self.source.is_ipv4() { 0 } else { 4 }
    }

    /// A frame with `answer`, back to where this one came from.
    pub(super) fn answer(&self, answer: Segment) -> Option<Vec<u8>> {
        let mut headers = self.headers.clone();
        headers[..12].rotate_left(6);
        match self.source {
            IpAddr::V4(_) => headers.get_mut(ETHERNET + 12..ETHERNET + 20)?.rotate_left(4),
            IpAddr::V6(_) => headers.get_mut(ETHERNET + 8..ETHERNET + 40)?.rotate_left(16),
        }
        let (source, destination) = (self.destination, self.source);
        Some(Parsed { headers, source, destination, segment: answer }.into_frame())
    }

    /// The frame, with lengths and checksums that fit.
    pub(super) fn into_frame(self) -> Vec<u8> {
        let mut frame = self.headers;
        frame.extend(self.segment.to_bytes());
        repair_lengths(&mut frame);
        repair_checksums(&mut frame);
        frame
    }
}
