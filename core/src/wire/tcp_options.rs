//! TCP options: maximum segment size (RFC 9293 §3.7.1), window scale and timestamps (RFC 7323), selective
//! acknowledgment (RFC 2018).

use crate::checksum::Sum;

/// Bytes of options that a header can hold.
pub const MAX_LEN: usize = 40;

/// Bytes of a timestamps option with its padding, the one option that nearly every segment has (RFC 7323 appendix A).
pub const TIMESTAMPS_LEN: usize = 12;

/// Bytes of the options of a SYN that asks for all of them: maximum segment size, SACK, timestamps and window scale, with padding.
const SYN_LEN: usize = 20;

/// The largest shift count that counts (RFC 7323 §2.3).
pub const MAX_WINDOW_SCALE: u8 = 14;

/// The option of one byte that pads others (RFC 9293 §3.1).
pub(crate) const NOP: u8 = 1;

mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = super::NOP;
    pub(super) const MSS: u8 = 2;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const SACK: u8 = 5;
    pub(super) const TIMESTAMPS: u8 = 8;
}

/// Bytes of one SACK block.
const BLOCK_LEN: usize = 8;

/// The timestamps option (RFC 7323 §3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: a value received from the other side, when ACK is set.
    pub echo: u32,
}

impl Timestamps {
    /// Writes the option as [`TcpOptions::emit`] does where it is the only one.
    #[inline]
    pub fn emit(&self, out: &mut [u8; TIMESTAMPS_LEN]) {
        let [a, b, c, d] = self.value.to_be_bytes();
        let [e, f, g, h] = self.echo.to_be_bytes();
        *out = [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10, a, b, c, d, e, f, g, h];
    }

    /// The sum of what [`emit`](Self::emit) writes.
    #[inline]
    pub(crate) fn sum(&self) -> Sum {
        let mut sum = Sum::new();
        sum.add_u32(u32::from_be_bytes([kind::NOP, kind::NOP, kind::TIMESTAMPS, 10]));
        sum.add_u32(self.value);
        sum.add_u32(self.echo);
        sum
    }
}

/// Up to four blocks of a SACK option, each the sequence numbers of its first byte and of the byte after its last.
#[derive(Clone, Copy, Debug, Default)]
pub struct SackBlocks {
    blocks: [(u32, u32); Self::MAX],
    len: u8,
}

impl SackBlocks {
    /// Blocks that fit a header without other options (RFC 2018 §3).
    pub const MAX: usize = 4;

    /// No blocks.
    #[inline]
    pub const fn new() -> Self {
        Self { blocks: [(0, 0); Self::MAX], len: 0 }
    }

    /// Adds a block after the others; false when there is no room.
    #[inline]
    pub fn push(&mut self, left: u32, right: u32) -> bool {
        match self.blocks.get_mut(usize::from(self.len)) {
            Some(block) => {
                *block = (left, right);
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// The blocks in the order of the option.
    #[inline]
    pub fn as_slice(&self) -> &[(u32, u32)] {
        &self.blocks[..self.len()]
    }

    /// Number of blocks, at most [`Self::MAX`].
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len).min(Self::MAX)
    }

    /// Whether there are no blocks.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl PartialEq for SackBlocks {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for SackBlocks {}

/// The options of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Maximum segment size in bytes; SYN only.
    pub mss: Option<u16>,
    /// Shift count for the sender's windows, 0 to 14; SYN only.
    pub window_scale: Option<u8>,
    /// The sender takes SACK options; SYN only.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// Selective acknowledgment.
    pub sack: SackBlocks,
}

impl TcpOptions {
    /// Reads the options of a segment. Unknown options and known ones of a wrong length are stepped over (RFC 9293
    /// §3.1, MUST-6 and MUST-7); a length that cannot be ends the reading. A window scale above 14 counts as 14
    /// (RFC 7323 §2.3).
    #[inline(never)] // Called from many places: one copy is enough.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut options = Self { timestamps: Self::timestamps_alone(bytes), ..Self::default() };
        if options.timestamps.is_none() && !options.parse_request(bytes) {
            for (kind, body) in iter(bytes) {
                options.take(kind, body);
            }
        }
        options
    }

    /// The timestamps among the options of a segment, by themselves.
    #[inline]
    pub(crate) fn timestamps_of(bytes: &[u8]) -> Option<Timestamps> {
        Self::timestamps_alone(bytes).or_else(|| Self::parse(bytes).timestamps)
    }

    /// Reads the options of nearly every SYN at once: those that [`emit`](Self::emit) writes. False if there are others.
    #[inline]
    fn parse_request(&mut self, bytes: &[u8]) -> bool {
        let Ok(&[kind::MSS, 4, high, low, kind::SACK_PERMITTED, 2, kind::TIMESTAMPS, 10, ref rest @ ..]) =
            <&[u8; SYN_LEN]>::try_from(bytes)
        else {
            return false;
        };
        let [timestamps @ .., kind::NOP, kind::WINDOW_SCALE, 3, shift] = rest else { return false };
        self.mss = Some(u16::from_be_bytes([high, low]));
        self.sack_permitted = true;
        self.timestamps = Some(parse_timestamps(timestamps));
        self.window_scale = Some((*shift).min(MAX_WINDOW_SCALE));
        true
    }

    /// The timestamps of a segment with no other option, in the layout of RFC 7323 appendix A, which nearly every segment of
    /// a connection with timestamps has.
    #[inline(always)] // Behind so many conditions that the compiler takes it for cold.
    pub fn timestamps_alone(bytes: &[u8]) -> Option<Timestamps> {
        match <&[u8; TIMESTAMPS_LEN]>::try_from(bytes) {
            Ok([kind::NOP, kind::NOP, kind::TIMESTAMPS, 10, body @ ..]) => Some(parse_timestamps(body)),
            _ => None,
        }
    }

    fn take(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (kind::MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (kind::WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift.min(MAX_WINDOW_SCALE)),
            (kind::SACK_PERMITTED, &[]) => self.sack_permitted = true,
            (kind::TIMESTAMPS, body) => {
                if let Ok(body) = body.try_into() {
                    self.timestamps = Some(parse_timestamps(body));
                }
            }
            (kind::SACK, body) => {
                let (blocks, []) = body.as_chunks::<BLOCK_LEN>() else {
                    return;
                };
                self.sack = SackBlocks::new();
                for &[a, b, c, d, e, f, g, h] in blocks {
                    self.sack.push(u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
                }
            }
            _ => {}
        }
    }

    /// Bytes that [`emit`](Self::emit) writes: a multiple of 4, at most [`MAX_LEN`].
    #[inline]
    pub fn emitted_len(&self) -> usize {
        let before = self.len_before_sack();
        match self.sack_that_fits() {
            0 => before,
            count => before + 4 + count * BLOCK_LEN,
        }
    }

    /// Writes the options in the order and with the padding that Linux uses (maximum segment size, SACK permitted,
    /// timestamps, window scale, SACK), and returns their length. SACK blocks that do not fit in 40 bytes are left out.
    /// `out` must hold [`emitted_len`](Self::emitted_len) bytes.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> usize {
        debug_assert!(out.len() >= self.emitted_len());
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            put(&[kind::MSS, 4, high, low]);
        }
        match self.timestamps {
            Some(Timestamps { value, echo }) => {
                put(match self.sack_permitted {
                    true => &[kind::SACK_PERMITTED, 2, kind::TIMESTAMPS, 10],
                    false => &[kind::NOP, kind::NOP, kind::TIMESTAMPS, 10],
                });
                put(&value.to_be_bytes());
                put(&echo.to_be_bytes());
            }
            None if self.sack_permitted => put(&[kind::NOP, kind::NOP, kind::SACK_PERMITTED, 2]),
            None => {}
        }
        if let Some(shift) = self.window_scale {
            put(&[kind::NOP, kind::WINDOW_SCALE, 3, shift]);
        }
        if self.sack.is_empty() {
            return at;
        }
        let sack = &self.sack.as_slice()[..self.sack_that_fits()];
        if !sack.is_empty() {
            put(&[kind::NOP, kind::NOP, kind::SACK, (2 + sack.len() * BLOCK_LEN) as u8]);
            for (left, right) in sack {
                put(&left.to_be_bytes());
                put(&right.to_be_bytes());
            }
        }
        at
    }

    fn len_before_sack(&self) -> usize {
        let mut len = 0;
        if self.mss.is_some() {
            len += 4;
        }
        if self.timestamps.is_some() {
            len += 12;
        } else if self.sack_permitted {
            len += 4;
        }
        if self.window_scale.is_some() {
            len += 4;
        }
        len
    }

    fn sack_that_fits(&self) -> usize {
        self.sack.len().min((MAX_LEN - 4 - self.len_before_sack()) / BLOCK_LEN)
    }
}

/// Kind and length of a SACK option with so many blocks.
pub(crate) fn sack_header(blocks: usize) -> [u8; 2] {
    [kind::SACK, (2 + blocks * BLOCK_LEN) as u8]
}

/// The options of a segment, each with its kind and what follows its length, up to the end or to a length that cannot be.
pub(crate) fn iter(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    core::iter::from_fn(move || {
        while let [NOP, rest @ ..] = bytes {
            bytes = rest;
        }
        let [kind, len, ..] = *bytes else { return None };
        let (option, after) = bytes.split_at_checked(usize::from(len))?;
        let [_, _, body @ ..] = option else { return None };
        bytes = after;
        (kind != kind::END).then_some((kind, body))
    })
}

#[inline]
fn parse_timestamps(body: &[u8; 8]) -> Timestamps {
    let [a, b, c, d, e, f, g, h] = *body;
    Timestamps { value: u32::from_be_bytes([a, b, c, d]), echo: u32::from_be_bytes([e, f, g, h]) }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn sack(blocks: &[(u32, u32)]) -> SackBlocks {
        let mut sack = SackBlocks::new();
        for &(left, right) in blocks {
            assert!(sack.push(left, right));
        }
        sack
    }

    fn assert_emits(options: &TcpOptions, expected: &[u8]) {
        let mut out = [0xee; MAX_LEN];
        let len = options.emit(&mut out);
        assert_eq!(out[..len], *expected);
        assert_eq!(len, options.emitted_len());
    }

    #[test]
    fn the_options_of_a_recorded_syn_parse_and_are_emitted_the_same() {
        let bytes = &samples::TCP_SYN[54..];
        let options = TcpOptions::parse(bytes);
        let expected = TcpOptions {
            mss: Some(1460),
            window_scale: Some(10),
            sack_permitted: true,
            timestamps: Some(Timestamps { value: 2_453_115_847, echo: 0 }),
            sack: SackBlocks::new(),
        };
        assert_eq!(options, expected);
        assert_emits(&options, bytes);
    }

    #[test]
    fn the_options_of_a_recorded_data_segment_parse_and_are_emitted_the_same() {
        let bytes = &samples::TCP_DATA[54..66];
        let options = TcpOptions::parse(bytes);
        let timestamps = Some(Timestamps { value: 2_453_115_848, echo: 229_191_059 });
        assert_eq!(options, TcpOptions { timestamps, ..TcpOptions::default() });
        assert_emits(&options, bytes);
    }

    #[test]
    fn every_combination_round_trips() {
        for bits in 0..16u8 {
            for count in 0..=4 {
                let blocks = [(1, 2), (3, 4), (u32::MAX, 0), (7, 9)];
                let options = TcpOptions {
                    mss: (bits & 1 != 0).then_some(536),
                    window_scale: (bits & 2 != 0).then_some(14),
                    sack_permitted: bits & 4 != 0,
                    timestamps: (bits & 8 != 0).then_some(Timestamps { value: 5, echo: 6 }),
                    sack: sack(&blocks[..count]),
                };
                let mut out = [0xee; MAX_LEN];
                let len = options.emit(&mut out);
                assert_eq!(len, options.emitted_len());
                assert!(len.is_multiple_of(4) && len <= MAX_LEN);
                let room = (MAX_LEN - 4 - TcpOptions { sack: SackBlocks::new(), ..options }.emitted_len()) / 8;
                let fits = sack(&blocks[..count.min(room)]);
                assert_eq!(TcpOptions::parse(&out[..len]), TcpOptions { sack: fits, ..options });
            }
        }
    }

    #[test]
    fn with_timestamps_three_sack_blocks_fit() {
        let options = TcpOptions {
            timestamps: Some(Timestamps::default()),
            sack: sack(&[(1, 2), (3, 4), (5, 6), (7, 8)]),
            ..TcpOptions::default()
        };
        assert_eq!(options.emitted_len(), 40);
        let mut out = [0; MAX_LEN];
        options.emit(&mut out);
        assert_eq!(TcpOptions::parse(&out).sack.as_slice(), [(1, 2), (3, 4), (5, 6)]);
    }

    #[test]
    fn a_fifth_sack_block_has_no_room() {
        let mut full = sack(&[(1, 2); 4]);
        assert!(!full.push(3, 4));
        assert_eq!(full.len(), 4);
    }

    #[test]
    fn unknown_options_and_wrong_lengths_are_stepped_over() {
        let mss = [2, 4, 0x05, 0xb4];
        let expected = TcpOptions { mss: Some(1460), ..TcpOptions::default() };
        for before in [
            &[254, 4, 1, 2][..],
            &[99, 2],
            &[2, 3, 9],
            &[3, 4, 7, 7],
            &[4, 3, 0],
            &[5, 2 + 7, 0, 0, 0, 0, 0, 0, 0],
            &[8, 9, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(TcpOptions::parse(&[before, &mss].concat()), expected, "{before:?}");
        }
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_options() {
        let mss = [2, 4, 0x05, 0xb4];
        for bad in [&[3, 0, 1][..], &[3, 1, 1], &[3, 200, 1], &[3], &[0]] {
            let bytes = [&mss, bad, &[4, 2]].concat();
            let options = TcpOptions::parse(&bytes[..4 + bad.len()]);
            assert_eq!(options, TcpOptions { mss: Some(1460), ..TcpOptions::default() }, "{bad:?}");
        }
        assert!(!TcpOptions::parse(&[3, 1, 4, 2]).sack_permitted);
        assert!(!TcpOptions::parse(&[0, 4, 2]).sack_permitted);
    }

    #[test]
    fn a_window_scale_above_14_counts_as_14() {
        assert_eq!(TcpOptions::parse(&[3, 3, 15]).window_scale, Some(14));
        assert_eq!(TcpOptions::parse(&[3, 3, 255]).window_scale, Some(14));
    }
}
