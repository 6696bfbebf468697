//! What a server's message answers: the addresses at the end of a chain of aliases, a name, or that there is none.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::MAX_ADDRESSES;
use crate::services::List;
use crate::wire::dns::{
    CLASS_IN, DnsError, Edns, HEADER_LEN, Header, Name, Question, Rcode, Record, RecordType, Section,
};

/// How many aliases are followed. Servers on the Internet give up after as many, or fewer.
const MAX_ALIASES: usize = 8;

/// What is known of a name and a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Addresses(List<IpAddr, MAX_ADDRESSES>),
    Pointer(Name),
    /// The name exists, but has no such record (RFC 2308 §2.2).
    NoData,
    NxDomain,
}

/// What a message comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time is read, and there is no heap to put a name on")]
pub(super) enum Reading {
    /// The answer, and for how many seconds it may be kept.
    Answer(Known, u32),
    /// Ask again by TCP.
    Truncated,
    /// Ask again without EDNS, which this server does not know (RFC 6891 §7).
    WithoutEdns,
    /// This server cannot answer; another may.
    ServerFailed,
    /// Not an answer to this question: whoever sent it, the right one may still come (RFC 5452 §9.1).
    NotOurs,
    /// The message contradicts itself.
    Malformed,
}

/// Reads a message as the answer to `question`, asked with this ID. `with_edns` if the query had an OPT record.
pub(super) fn read(message: &[u8], id: u16, question: &Question, with_edns: bool) -> Reading {
    let Ok(header) = Header::read(message) else { return Reading::Malformed };
    if !header.response || header.opcode != 0 || header.id != id {
        return Reading::NotOurs;
    }
    let failed = matches!(header.rcode, code if code == Rcode::FormErr as u8 || code == Rcode::NotImp as u8);
    let after = match Question::read(message, HEADER_LEN) {
        Ok((asked, after)) if header.counts[0] == 1 && asked == *question => after,
        // Some servers that cannot read a query leave the question out of their answer.
        _ if header.counts[0] == 0 && failed && with_edns => return Reading::WithoutEdns,
        _ => return Reading::NotOurs,
    };
    let Ok(edns) = Edns::find(message, &header, after) else {
        // A message that was cut need not be whole (RFC 2181 §9).
        return if header.truncated { Reading::Truncated } else { Reading::Malformed };
    };
    let extended = edns.map_or(0, |edns| edns.extended_rcode);
    match header.rcode {
        _ if extended != 0 => Reading::ServerFailed,
        _ if failed && with_edns => Reading::WithoutEdns,
        code if code == Rcode::NoError as u8 || code == Rcode::NxDomain as u8 => {
            if header.truncated {
                return Reading::Truncated;
            }
            read_records(message, &header, after, question).unwrap_or(Reading::Malformed)
        }
        _ => Reading::ServerFailed,
    }
}

/// Calls `visit` for the records of a section that are of class IN.
fn for_each<'a>(
    message: &'a [u8],
    header: &Header,
    mut at: usize,
    wanted: Section,
    mut visit: impl FnMut(Record<'a>) -> Result<(), DnsError>,
) -> Result<(), DnsError> {
    for section in 1..=wanted as usize {
        for _ in 0..header.counts[section] {
            let (record, next) = Record::read(message, at)?;
            at = next;
            if section == wanted as usize && record.class == CLASS_IN {
                visit(record)?;
            }
        }
    }
    Ok(())
}

fn read_records(message: &[u8], header: &Header, after: usize, question: &Question) -> Result<Reading, DnsError> {
    let kind = question.record_type;
    let mut name = question.name;
    let mut ttl = u32::MAX;
    // RFC 1034 §3.6.2: the name may be an alias of an alias. Each round costs a pass over the section, and there are few.
    for _ in 0..=MAX_ALIASES {
        let (mut addresses, mut pointer, mut alias) = (List::EMPTY, None, None);
        for_each(message, header, after, Section::Answer, |record| {
            if record.name != name {
                return Ok(());
            }
            let kept = seconds(record.ttl);
            match record.record_type {
                found if found == kind && kind == RecordType::PTR => {
                    pointer = pointer.or(Some((Name::read(message, record.data_offset)?.0, kept)));
                }
                // The answer to a question that is relayed is not looked into.
                found if found == kind && !matches!(kind, RecordType::A | RecordType::AAAA) => {}
                found if found == kind => {
                    let address = address_in(kind, record.data)?;
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                    ttl = ttl.min(kept);
                }
                RecordType::CNAME => {
                    alias = alias.or(Some((Name::read(message, record.data_offset)?.0, kept)));
                }
                _ => {}
            }
            Ok(())
        })?;
        if let Some((target, kept)) = pointer {
            return Ok(Reading::Answer(Known::Pointer(target), ttl.min(kept)));
        }
        if !addresses.is_empty() {
            return Ok(Reading::Answer(Known::Addresses(addresses), ttl));
        }
        match alias {
            Some((target, kept)) => {
                name = target;
                ttl = ttl.min(kept);
            }
            None => {
                let known = match header.rcode == Rcode::NxDomain as u8 {
                    true => Known::NxDomain,
                    false => Known::NoData,
                };
                return Ok(Reading::Answer(known, ttl.min(negative_ttl(message, header, after)?)));
            }
        }
    }
    // A chain without end.
    Ok(Reading::ServerFailed)
}

/// RFC 2308 §5: the lesser of the SOA's TTL and its MINIMUM field; without a SOA, nothing is kept.
fn negative_ttl(message: &[u8], header: &Header, after: usize) -> Result<u32, DnsError> {
    let mut ttl = 0;
    for_each(message, header, after, Section::Authority, |record| {
        if record.record_type == RecordType::SOA {
            let (_, at) = Name::read(message, record.data_offset)?;
            let (_, at) = Name::read(message, at)?;
            let minimum: [u8; 4] =
                message.get(at + 16..at + 20).and_then(|octets| octets.try_into().ok()).ok_or(DnsError::Truncated)?;
            ttl = seconds(record.ttl).min(seconds(u32::from_be_bytes(minimum)));
        }
        Ok(())
    })?;
    Ok(ttl)
}

/// RFC 2181 §8: a TTL with the most significant bit set is zero.
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

fn address_in(kind: RecordType, data: &[u8]) -> Result<IpAddr, DnsError> {
    if kind == RecordType::A {
        let octets: [u8; 4] = data.try_into().map_err(|_| DnsError::Truncated)?;
        return Ok(Ipv4Addr::from(octets).into());
    }
    let octets: [u8; 16] = data.try_into().map_err(|_| DnsError::Truncated)?;
    Ok(Ipv6Addr::from(octets).into())
}
