//! NTP packets (RFC 5905 §7.3), without extension fields, which SNTP does without (RFC 5905 §14).

use super::{WireError, u32_at};
use crate::time::Duration;

/// Octets of a packet.
pub const PACKET_LEN: usize = 48;
/// UDP port of servers.
pub const PORT: u16 = 123;
/// The version that is spoken.
pub const VERSION: u8 = 4;
/// Seconds from 1900, where era 0 begins, to 1970.
const UNIX_EPOCH: u64 = 2_208_988_800;

/// A point in time: seconds since the beginning of an era of 2³² seconds, with a fraction of 32 bits. Zero means unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NtpTimestamp(pub u64);

impl NtpTimestamp {
    /// The timestamp of so many microseconds after 1970.
    pub fn from_unix_micros(micros: u64) -> Self {
        let seconds = (micros / 1_000_000 + UNIX_EPOCH) as u32;
        let fraction = ((micros % 1_000_000) << 32) / 1_000_000;
        NtpTimestamp(u64::from(seconds) << 32 | fraction)
    }

    /// Microseconds since 1970. RFC 4330 §3: with the first bit set the time is between 1968 and 2036, else between 2036 and 2104.
    pub fn to_unix_micros(self) -> u64 {
        let seconds = self.0 >> 32;
        let era = if seconds & 0x8000_0000 == 0 { 1 << 32 } else { 0 };
        let micros = ((self.0 & 0xffff_ffff) * 1_000_000 + (1 << 31)) >> 32;
        (seconds + era).saturating_sub(UNIX_EPOCH) * 1_000_000 + micros
    }

    /// The time from `earlier` to `self`; `None` if it is the later one of the two.
    pub fn since(self, earlier: NtpTimestamp) -> Option<Duration> {
        let difference = self.0.wrapping_sub(earlier.0);
        let micros = (difference >> 32) * 1_000_000 + (((difference & 0xffff_ffff) * 1_000_000) >> 32);
        (difference < 1 << 63).then_some(Duration::from_micros(micros))
    }
}

/// Who sends a packet (RFC 5905 figure 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Asks.
    Client = 3,
    /// Answers.
    Server = 4,
}

/// A packet of a client or a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtpPacket {
    /// 0, or 1 and 2 for a minute with a second more or less at its end, or 3 for a clock that is not set.
    pub leap: u8,
    /// 1 to 4.
    pub version: u8,
    /// Who sends it.
    pub mode: Mode,
    /// 1 for a server with a clock of its own, one more for each server between; 0 for a kiss-o'-death.
    pub stratum: u8,
    /// Seconds between packets, as the exponent of two.
    pub poll: i8,
    /// Precision of the clock in seconds, as the exponent of two.
    pub precision: i8,
    /// Round-trip time to the clock of stratum 1, in seconds with a fraction of 16 bits.
    pub root_delay: u32,
    /// The most that the clock may be wrong, likewise.
    pub root_dispersion: u32,
    /// Where the time is from: four letters in stratum 0 and 1.
    pub reference_id: [u8; 4],
    /// When the clock was set last.
    pub reference: NtpTimestamp,
    /// What the client's packet had as `transmit`.
    pub origin: NtpTimestamp,
    /// When the client's packet arrived.
    pub receive: NtpTimestamp,
    /// When this packet left.
    pub transmit: NtpTimestamp,
}

impl NtpPacket {
    /// Reads a packet; extension fields and a MAC after it are left alone.
    ///
    /// # Errors
    /// If it is too short, of another version, or from neither client nor server.
    pub fn parse(bytes: &[u8]) -> Result<NtpPacket, WireError> {
        let bytes: &[u8; PACKET_LEN] = bytes.first_chunk().ok_or(WireError::Truncated)?;
        let version = bytes[0] >> 3 & 7;
        if !(1..=VERSION).contains(&version) {
            return Err(WireError::BadVersion);
        }
        let mode = match bytes[0] & 7 {
            3 => Mode::Client,
            4 => Mode::Server,
            _ => return Err(WireError::BadFormat),
        };
        let timestamp = |at: usize| {
            NtpTimestamp(u64::from(u32_at(bytes, at..at + 4)) << 32 | u64::from(u32_at(bytes, at + 4..at + 8)))
        };
        Ok(NtpPacket {
            leap: bytes[0] >> 6,
            version,
            mode,
            stratum: bytes[1],
            poll: bytes[2] as i8,
            precision: bytes[3] as i8,
            root_delay: u32_at(bytes, 4..8),
            root_dispersion: u32_at(bytes, 8..12),
            reference_id: u32_at(bytes, 12..16).to_be_bytes(),
            reference: timestamp(16),
            origin: timestamp(24),
            receive: timestamp(32),
            transmit: timestamp(40),
        })
    }

    /// Writes the packet.
    pub fn emit(&self, out: &mut [u8; PACKET_LEN]) {
        out[0] = self.leap << 6 | (self.version & 7) << 3 | self.mode as u8;
        out[1..4].copy_from_slice(&[self.stratum, self.poll as u8, self.precision as u8]);
        out[4..8].copy_from_slice(&self.root_delay.to_be_bytes());
        out[8..12].copy_from_slice(&self.root_dispersion.to_be_bytes());
        out[12..16].copy_from_slice(&self.reference_id);
        for (at, timestamp) in [(16, self.reference), (24, self.origin), (32, self.receive), (40, self.transmit)] {
            out[at..at + 8].copy_from_slice(&timestamp.0.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_reads_back_in_both_eras() {
        // 1970, 2026, the last second of era 0 and the first of era 1.
        for micros in [0, 1_767_225_600_123_456, 2_085_978_495_999_999, 2_085_978_496_000_000, 4_000_000_000_000_001] {
            let read = NtpTimestamp::from_unix_micros(micros).to_unix_micros();
            assert!(read.abs_diff(micros) <= 1, "{micros} {read}");
        }
        let before = NtpTimestamp::from_unix_micros(2_085_978_495_500_000);
        let after = NtpTimestamp::from_unix_micros(2_085_978_496_500_000);
        assert_eq!(after.since(before).map(Duration::as_millis), Some(1_000));
        assert_eq!(before.since(after), None);
    }

    #[test]
    fn a_packet_reads_back() {
        let mut bytes = [0; PACKET_LEN];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = place as u8;
        }
        bytes[0] = 0b11_100_100;
        let packet = NtpPacket::parse(&bytes).unwrap();
        let mut out = [0; PACKET_LEN];
        packet.emit(&mut out);
        assert_eq!(out, bytes);
        assert_eq!(NtpPacket::parse(&bytes[..47]), Err(WireError::Truncated));
        bytes[0] = 0b00_101_011;
        assert_eq!(NtpPacket::parse(&bytes), Err(WireError::BadVersion));
        // Mode 6, by which servers were made to amplify.
        bytes[0] = 0b00_010_110;
        assert_eq!(NtpPacket::parse(&bytes), Err(WireError::BadFormat));
    }
}
