//! Messages about multicast groups: IGMP (RFC 1112, RFC 2236, RFC 3376) and multicast listener discovery (RFC 2710, RFC 3810).
//!
//! Both protocols say the same in two formats: routers query, hosts report. Sums of MLD are those of ICMPv6.

use super::{WireError, array_at, u16_at};
use crate::checksum;
use crate::time::Duration;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Types of messages; those of MLD are types of ICMPv6.
pub mod kind {
    /// IGMP: query, of all versions.
    pub const IGMP_QUERY: u8 = 0x11;
    /// IGMP version 1: report.
    pub const IGMP_REPORT_V1: u8 = 0x12;
    /// IGMP version 2: report.
    pub const IGMP_REPORT_V2: u8 = 0x16;
    /// IGMP version 2: leave.
    pub const IGMP_LEAVE: u8 = 0x17;
    /// IGMP version 3: report.
    pub const IGMP_REPORT_V3: u8 = 0x22;
    /// MLD: query, of both versions.
    pub const MLD_QUERY: u8 = 130;
    /// MLD version 1: report.
    pub const MLD_REPORT_V1: u8 = 131;
    /// MLD version 1: done.
    pub const MLD_DONE: u8 = 132;
    /// MLD version 2: report.
    pub const MLD_REPORT_V2: u8 = 143;
}

/// Types of the records of a report (RFC 3376 §4.2.12, RFC 3810 §5.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// What is so: the group is listened to, whatever the source.
    IsExclude = 2,
    /// What has changed: it is not listened to any more.
    ToInclude = 3,
    /// What has changed: it is listened to, whatever the source.
    ToExclude = 4,
}

/// Bytes of a message about one group, without those of a report of the newest version.
pub const IGMP_LEN: usize = 8;
/// The same of MLD.
pub const MLD_LEN: usize = 24;
/// Bytes of a report of the newest version before its records.
pub const REPORT_LEN: usize = 8;

/// Bytes of a record without sources.
pub const fn record_len(is_ipv4: bool) -> usize {
    if is_ipv4 { 8 } else { 20 }
}

/// A router's question who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupQuery {
    /// 1 to 3 of IGMP, 1 to 2 of MLD.
    pub version: u8,
    /// The group; None for all.
    pub group: Option<IpAddr>,
    /// Answers come within this time.
    pub max_response: Duration,
    /// How often hosts tell of a change, by the newest versions; 0 if it is left open.
    pub robustness: u8,
}

impl GroupQuery {
    /// Reads an IGMP message, if it is a query: all that follows the IP header.
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::BadChecksum`], and [`WireError::BadFormat`] for other messages.
    pub fn parse_igmp(bytes: &[u8]) -> Result<Self, WireError> {
        let header = bytes.first_chunk::<IGMP_LEN>().ok_or(WireError::Truncated)?;
        if !checksum::sum(bytes).is_valid() {
            return Err(WireError::BadChecksum);
        }
        if header[0] != kind::IGMP_QUERY {
            return Err(WireError::BadFormat);
        }
        let group = Ipv4Addr::from(array_at::<4, _>(header, 4..8));
        let tenths = |tenths: u64| Duration::from_millis(tenths * 100);
        // RFC 3376 §7.1: the version is told by the length, and version 1 by a response time of zero.
        let (version, max_response, robustness) = match bytes.get(8..12) {
            Some(rest) => (3, tenths(u64::from(floating(u16::from(header[1]), 8))), rest[0] & 7),
            None if header[1] == 0 => (1, tenths(100), 0),
            None => (2, tenths(u64::from(header[1])), 0),
        };
        let group = (!group.is_unspecified()).then_some(IpAddr::V4(group));
        Ok(GroupQuery { version, group, max_response, robustness })
    }

    /// Reads an MLD query, from the ICMPv6 header on, whose sum is right.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn parse_mld(bytes: &[u8]) -> Result<Self, WireError> {
        let header = bytes.first_chunk::<MLD_LEN>().ok_or(WireError::Truncated)?;
        let group = Ipv6Addr::from(array_at::<16, _>(header, 8..24));
        let code = u16_at(header, 4..6);
        // RFC 3810 §8.1.
        let (version, millis, robustness) = match bytes.get(24..28) {
            Some(rest) => (2, floating(code, 16), rest[0] & 7),
            None => (1, u32::from(code), 0),
        };
        let group = (!group.is_unspecified()).then_some(IpAddr::V6(group));
        Ok(GroupQuery { version, group, max_response: Duration::from_millis(u64::from(millis)), robustness })
    }
}

/// RFC 3376 §4.1.1 and RFC 3810 §5.1.3: a code with its upper bit set has an exponent of three bits and a mantissa.
fn floating(code: u16, bits: u32) -> u32 {
    let mantissa_bits = bits - 4;
    if code >> (bits - 1) == 0 {
        return u32::from(code);
    }
    let mantissa = u32::from(code) & ((1 << mantissa_bits) - 1);
    let exponent = u32::from(code) >> mantissa_bits & 7;
    (mantissa | 1 << mantissa_bits) << (exponent + 3)
}

/// The group that a report of an older version is about, if it is one: IGMP from its header on, or ICMPv6.
pub fn reported_group(bytes: &[u8], is_ipv4: bool) -> Option<IpAddr> {
    match (bytes.first()?, is_ipv4) {
        (&(kind::IGMP_REPORT_V1 | kind::IGMP_REPORT_V2), true) => {
            let header = bytes.first_chunk::<IGMP_LEN>()?;
            Some(IpAddr::V4(Ipv4Addr::from(array_at::<4, _>(header, 4..8))))
        }
        (&kind::MLD_REPORT_V1, false) => {
            let header = bytes.first_chunk::<MLD_LEN>()?;
            Some(IpAddr::V6(Ipv6Addr::from(array_at::<16, _>(header, 8..24))))
        }
        _ => None,
    }
}

/// Writes a message of an older version about one group, without its checksum, and returns its length. `out` must hold [`MLD_LEN`] bytes.
pub fn emit_simple(out: &mut [u8], kind: u8, group: IpAddr) -> usize {
    match group {
        IpAddr::V4(group) => {
            out[..IGMP_LEN].copy_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
            out[4..8].copy_from_slice(&group.octets());
            IGMP_LEN
        }
        IpAddr::V6(group) => {
            out[..MLD_LEN].fill(0);
            out[0] = kind;
            out[8..24].copy_from_slice(&group.octets());
            MLD_LEN
        }
    }
}

/// Writes the record of a group without sources, and returns its length.
pub fn emit_record(out: &mut [u8], kind: RecordKind, group: IpAddr) -> usize {
    out[..4].copy_from_slice(&[kind as u8, 0, 0, 0]);
    match group {
        IpAddr::V4(group) => out[4..8].copy_from_slice(&group.octets()),
        IpAddr::V6(group) => out[4..20].copy_from_slice(&group.octets()),
    }
    record_len(group.is_ipv4())
}

/// Writes the header of a report of the newest version with so many records, without its checksum.
pub fn emit_report_header(out: &mut [u8], is_ipv4: bool, records: u16) {
    let kind = if is_ipv4 { kind::IGMP_REPORT_V3 } else { kind::MLD_REPORT_V2 };
    let [high, low] = records.to_be_bytes();
    out[..REPORT_LEN].copy_from_slice(&[kind, 0, 0, 0, 0, 0, high, low]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_all_versions_are_told_apart() {
        let sealed = |mut bytes: Vec<u8>| {
            let sum = checksum::sum(&bytes).finish().to_be_bytes();
            bytes[2..4].copy_from_slice(&sum);
            GroupQuery::parse_igmp(&bytes)
        };
        let query = |version, group: Option<&str>, millis, robustness| {
            let group = group.map(|text| text.parse().unwrap());
            Ok(GroupQuery { version, group, max_response: Duration::from_millis(millis), robustness })
        };
        assert_eq!(sealed(vec![0x11, 0, 0, 0, 0, 0, 0, 0]), query(1, None, 10_000, 0));
        assert_eq!(sealed(vec![0x11, 100, 0, 0, 239, 1, 2, 3]), query(2, Some("239.1.2.3"), 10_000, 0));
        assert_eq!(sealed(vec![0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), query(3, None, 10_000, 2));
        // 0x8f: (15 | 16) << 3 tenths.
        assert_eq!(sealed(vec![0x11, 0x8f, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), query(3, None, 24_800, 2));
        assert_eq!(sealed(vec![0x16, 0, 0, 0, 239, 1, 2, 3]), Err(WireError::BadFormat));
        assert_eq!(GroupQuery::parse_igmp(&[0x11, 0, 0, 0, 0, 0, 0, 0]), Err(WireError::BadChecksum));
        assert_eq!(GroupQuery::parse_igmp(&[0x11; 7]), Err(WireError::Truncated));
        let mut mld = vec![0; 28];
        (mld[0], mld[4], mld[5], mld[24]) = (130, 0x27, 0x10, 7);
        assert_eq!(GroupQuery::parse_mld(&mld), query(2, None, 10_000, 7));
        assert_eq!(GroupQuery::parse_mld(&mld[..24]), query(1, None, 10_000, 0));
        mld[4..6].copy_from_slice(&[0x80, 0]);
        assert_eq!(GroupQuery::parse_mld(&mld), query(2, None, 32_768, 7));
        assert_eq!(GroupQuery::parse_mld(&mld[..23]), Err(WireError::Truncated));
    }
}
