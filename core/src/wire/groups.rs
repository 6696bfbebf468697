//! Messages about multicast groups: IGMP (RFC 1112, RFC 2236, RFC 3376) and multicast listener discovery (RFC 2710, RFC 3810).
//!
//! Both protocols say the same in two formats: routers query, hosts report. Sums of MLD are those of ICMPv6.

use super::{WireError, array_at, u16_at};
use crate::address::bits;
use crate::checksum;
use crate::stack::source_filter::MAX_SOURCES;
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
    /// What is so: some sources are listened to.
    IsInclude = 1,
    /// What is so: all sources but some are listened to.
    IsExclude = 2,
    /// What has changed: only some sources are listened to from now on, or none.
    ToInclude = 3,
    /// What has changed: all sources but some are listened to from now on.
    ToExclude = 4,
    /// What has changed: these sources are listened to as well.
    Allow = 5,
    /// What has changed: these sources are not listened to any more.
    Block = 6,
}

/// Bytes of a message about one group, without those of a report of the newest version.
pub const IGMP_LEN: usize = 8;
/// The same of MLD.
pub const MLD_LEN: usize = 24;
/// Bytes of a query of the newest version without sources, at most.
pub(crate) const QUERY_LEN: usize = MLD_LEN + 4;
/// Bytes of a report of the newest version before its records.
pub const REPORT_LEN: usize = 8;

/// Bytes of what is said of one group at most: three records, with the changes of sources and all sources.
pub(crate) const MAX_RECORDS_V4: usize = 3 * 8 + 2 * 4 * MAX_SOURCES;
/// The same of MLD.
pub(crate) const MAX_RECORDS_V6: usize = 3 * 20 + 2 * 16 * MAX_SOURCES;

/// A router's question who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupQuery<'a> {
    /// 1 to 3 of IGMP, 1 to 2 of MLD.
    pub version: u8,
    /// The group; None for all.
    pub group: Option<IpAddr>,
    /// Answers come within this time.
    pub max_response: Duration,
    /// How often hosts tell of a change, by the newest versions; 0 if it is left open.
    pub robustness: u8,
    /// The addresses of the sources that are asked for, by the newest versions.
    sources: &'a [u8],
}

impl<'a> GroupQuery<'a> {
    /// Reads an IGMP message, if it is a query: all that follows the IP header.
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::BadChecksum`], and [`WireError::BadFormat`] for other messages.
    pub fn parse_igmp(bytes: &'a [u8]) -> Result<Self, WireError> {
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
        Ok(GroupQuery { version, group, max_response, robustness, sources: listed(bytes, IGMP_LEN, 4)? })
    }

    /// Reads an MLD query, from the ICMPv6 header on, whose sum is right.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn parse_mld(bytes: &'a [u8]) -> Result<Self, WireError> {
        let header = bytes.first_chunk::<MLD_LEN>().ok_or(WireError::Truncated)?;
        let group = Ipv6Addr::from(array_at::<16, _>(header, 8..24));
        let code = u16_at(header, 4..6);
        // RFC 3810 §8.1.
        let (version, millis, robustness) = match bytes.get(24..28) {
            Some(rest) => (2, floating(code, 16), rest[0] & 7),
            None => (1, u32::from(code), 0),
        };
        let group = (!group.is_unspecified()).then_some(IpAddr::V6(group));
        let max_response = Duration::from_millis(u64::from(millis));
        Ok(GroupQuery { version, group, max_response, robustness, sources: listed(bytes, MLD_LEN, 16)? })
    }

    /// The sources that are asked for: the numbers of their addresses, of IPv4 as mapped to IPv6.
    pub(crate) fn sources(&self) -> impl Iterator<Item = u128> {
        let len = if self.group.is_some_and(|group| group.is_ipv4()) { 4 } else { 16 };
        self.sources.chunks_exact(len).map(|source| match *source {
            [a, b, c, d] => bits(IpAddr::from([a, b, c, d])),
            _ => source.iter().fold(0, |number, &octet| number << 8 | u128::from(octet)),
        })
    }
}

/// The sources of a query, which begin with their number four bytes after `at` if it is of the newest version (RFC 3376 §4.1.8, RFC 3810
/// §5.1.10).
fn listed(bytes: &[u8], at: usize, each: usize) -> Result<&[u8], WireError> {
    match bytes.get(at..at + 4) {
        Some(&[_, _, high, low]) => {
            let len = usize::from(u16::from_be_bytes([high, low])) * each;
            bytes.get(at + 4..at + 4 + len).ok_or(WireError::Truncated)
        }
        _ => Ok(&[]),
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

/// Who listens to a group, by a report of any version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The group.
    pub group: IpAddr,
    /// Whether it is listened to, by all or some sources; otherwise something was left.
    pub is_joined: bool,
}

/// What a message says of groups, if it is a report or a leave: IGMP from its header on, or ICMPv6. It ends where the message is cut short.
pub fn reports(bytes: &[u8], is_ipv4: bool) -> impl Iterator<Item = Report> {
    let each = if is_ipv4 { 4 } else { 16 };
    let address = move |bytes: &[u8]| match is_ipv4 {
        true => bytes.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        false => bytes.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
    };
    let kind = bytes.first().copied().unwrap_or(0);
    let is_newest = kind == if is_ipv4 { kind::IGMP_REPORT_V3 } else { kind::MLD_REPORT_V2 };
    let left = (kind, is_ipv4) == (kind::IGMP_LEAVE, true) || (kind, is_ipv4) == (kind::MLD_DONE, false);
    let one = match is_newest {
        true => None,
        false if left => bytes.get(if is_ipv4 { 4 } else { 8 }..).and_then(address),
        false => reported_group(bytes, is_ipv4),
    };
    let mut rest = if is_newest { bytes.get(REPORT_LEN..).unwrap_or(&[]) } else { &[] };
    let records = core::iter::from_fn(move || {
        let &[record, words, high, low, ..] = rest else { return None };
        let sources = usize::from(u16::from_be_bytes([high, low]));
        let group = address(&rest[4..])?;
        rest = rest.get(4 + each * (1 + sources) + 4 * usize::from(words)..)?;
        let is_exclude = record == RecordKind::IsExclude as u8 || record == RecordKind::ToExclude as u8;
        let is_joined = is_exclude || (sources > 0 && record != RecordKind::Block as u8);
        Some(Report { group, is_joined })
    });
    one.map(|group| Report { group, is_joined: !left }).into_iter().chain(records)
}

/// Writes a query of the newest version without sources, and without its checksum; the group is unspecified for all. The interval at which queries come, in seconds, is
/// less than 128. Returns the length, [`QUERY_LEN`] at most.
pub(crate) fn emit_query(
    out: &mut [u8; QUERY_LEN],
    group: IpAddr,
    max_response: Duration,
    robustness: u8,
    interval: u8,
) -> usize {
    out.fill(0);
    // Less than what has an exponent.
    let millis = max_response.as_millis();
    let at = match group {
        IpAddr::V4(group) => {
            (out[0], out[1]) = (kind::IGMP_QUERY, (millis / 100) as u8);
            out[4..8].copy_from_slice(&group.octets());
            IGMP_LEN
        }
        IpAddr::V6(group) => {
            out[0] = kind::MLD_QUERY;
            out[4..6].copy_from_slice(&(millis as u16).to_be_bytes());
            out[8..24].copy_from_slice(&group.octets());
            MLD_LEN
        }
    };
    out[at..at + 2].copy_from_slice(&[robustness, interval]);
    at + 4
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

/// Writes the record of a group, with sources as in [`GroupQuery::sources`], and returns its length.
pub(crate) fn emit_record(out: &mut [u8], kind: RecordKind, group: IpAddr, sources: &[u128]) -> usize {
    // One after the other, the group first: IPv4's are the last four bytes.
    let each = if group.is_ipv4() { 4 } else { 16 };
    out[..4].copy_from_slice(&[kind as u8, 0, 0, sources.len() as u8]);
    let mut len = 4;
    for address in core::iter::once(bits(group)).chain(sources.iter().copied()) {
        out[len..len + each].copy_from_slice(&address.to_be_bytes()[16 - each..]);
        len += each;
    }
    len
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
            bytes
        };
        let parsed = |bytes: Vec<u8>| {
            let query = GroupQuery::parse_igmp(&bytes)?;
            Ok((query.version, query.group, query.max_response, query.robustness))
        };
        let sealed = |bytes: Vec<u8>| parsed(sealed(bytes));
        let query = |version, group: Option<&str>, millis, robustness| {
            let group: Option<IpAddr> = group.map(|text| text.parse().unwrap());
            Ok((version, group, Duration::from_millis(millis), robustness))
        };
        assert_eq!(sealed(vec![0x11, 0, 0, 0, 0, 0, 0, 0]), query(1, None, 10_000, 0));
        assert_eq!(sealed(vec![0x11, 100, 0, 0, 239, 1, 2, 3]), query(2, Some("239.1.2.3"), 10_000, 0));
        assert_eq!(sealed(vec![0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), query(3, None, 10_000, 2));
        // 0x8f: (15 | 16) << 3 tenths.
        assert_eq!(sealed(vec![0x11, 0x8f, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), query(3, None, 24_800, 2));
        assert_eq!(sealed(vec![0x16, 0, 0, 0, 239, 1, 2, 3]), Err(WireError::BadFormat));
        assert_eq!(GroupQuery::parse_igmp(&[0x11, 0, 0, 0, 0, 0, 0, 0]), Err(WireError::BadChecksum));
        assert_eq!(GroupQuery::parse_igmp(&[0x11; 7]), Err(WireError::Truncated));
        assert_eq!(sealed(vec![0x11, 100, 0, 0, 239, 1, 2, 3, 2, 125, 0, 1, 10, 0, 0]), Err(WireError::Truncated));
        let mld = |bytes: &[u8]| {
            let query = GroupQuery::parse_mld(bytes)?;
            Ok((query.version, query.group, query.max_response, query.robustness))
        };
        let mut bytes = vec![0; 28];
        (bytes[0], bytes[4], bytes[5], bytes[24]) = (130, 0x27, 0x10, 7);
        assert_eq!(mld(&bytes), query(2, None, 10_000, 7));
        assert_eq!(mld(&bytes[..24]), query(1, None, 10_000, 0));
        bytes[4..6].copy_from_slice(&[0x80, 0]);
        assert_eq!(mld(&bytes), query(2, None, 32_768, 7));
        assert_eq!(mld(&bytes[..23]), Err(WireError::Truncated));
    }

    #[test]
    fn sources_are_read_and_written() {
        let mut record = [0; 12];
        let (group, source) = (IpAddr::from([239, 1, 2, 3]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!(emit_record(&mut record, RecordKind::Allow, group, &[bits(source)]), 12);
        assert_eq!(record, [5, 0, 0, 1, 239, 1, 2, 3, 10, 0, 0, 2]);
        let mut query = vec![0x11, 100, 0, 0, 239, 1, 2, 3, 2, 125, 0, 1, 10, 0, 0, 2];
        let sum = checksum::sum(&query).finish().to_be_bytes();
        query[2..4].copy_from_slice(&sum);
        assert_eq!(GroupQuery::parse_igmp(&query).unwrap().sources().collect::<Vec<_>>(), [bits(source)]);
        let (group, source) = ("ff05::1".parse().unwrap(), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 2]));
        let mut record = [0; 36];
        assert_eq!(emit_record(&mut record, RecordKind::Block, group, &[bits(source)]), 36);
        let query = [&[130, 0, 0, 0, 0, 1, 0, 0][..], &record[4..20], &[2, 125, 0, 1], &record[20..]].concat();
        let query = GroupQuery::parse_mld(&query).unwrap();
        assert_eq!((query.group, query.sources().collect::<Vec<_>>()), (Some(group), vec![bits(source)]));
    }
}
