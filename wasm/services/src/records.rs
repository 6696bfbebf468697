//! DNS records as texts, in the form of master files (RFC 1035 §5.1): what applications give a server and are told of answers.

use std::net::{Ipv4Addr, Ipv6Addr};

use ethertab::wire::dns::{CLASS_IN, HEADER_LEN, Header, Name, Question, Record, RecordData, RecordType, Section};
use ethertab_wasm_shared::Rows;
use js_sys::RangeError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::hex::{bytes_of, digits_of};
use crate::refused::refused;

/// The types that have a name here.
const KINDS: [(&str, RecordType); 11] = [
    ("A", RecordType::A),
    ("AAAA", RecordType::AAAA),
    ("ANY", RecordType::ANY),
    ("CNAME", RecordType::CNAME),
    ("MX", RecordType::MX),
    ("NS", RecordType::NS),
    ("PTR", RecordType::PTR),
    ("SOA", RecordType::SOA),
    ("SRV", RecordType::SRV),
    ("TXT", RecordType::TXT),
    ("NSEC", RecordType::NSEC),
];

/// The type of a name such as `MX` or `TYPE15` (RFC 3597 §5).
pub(crate) fn kind_of(text: &str) -> Result<RecordType, RangeError> {
    let upper = text.to_ascii_uppercase();
    let named = KINDS.iter().find(|(name, _)| *name == upper).map(|(_, kind)| *kind);
    let numbered = || upper.strip_prefix("TYPE")?.parse().ok().map(RecordType);
    named.or_else(numbered).ok_or_else(|| refused(&format_args!("\"{text}\" is no type of DNS records")))
}

/// The name of a type.
pub(crate) fn kind_name(kind: RecordType) -> String {
    match KINDS.iter().find(|(_, known)| *known == kind) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("TYPE{}", kind.0),
    }
}

/// The data that a text says: `10 mail.test` for MX, `0 5 80 host.test` for SRV, a name for CNAME, NS and PTR, any text for TXT, and for other
/// types `\\# 2 0a0b` (RFC 3597 §5).
pub(crate) fn data_of(kind: RecordType, text: &str) -> Result<RecordData, RangeError> {
    let no_data = || refused(&format_args!("\"{text}\" is no data of {} records", kind_name(kind)));
    let words: Vec<&str> = text.split_whitespace().collect();
    if let ["\\#", length, digits @ ..] = &words[..] {
        let bytes = bytes_of(&digits.concat());
        let is_whole = length.parse() == Ok(bytes.len());
        return RecordData::new(&[&bytes]).ok().filter(|_| is_whole).ok_or_else(no_data);
    }
    let name = |text: &&str| Name::from_text(text).map_err(|_| no_data());
    let short = |text: &&str| text.parse::<u16>().map(u16::to_be_bytes).map_err(|_| no_data());
    let long = |text: &&str| text.parse::<u32>().map(u32::to_be_bytes).map_err(|_| no_data());
    let parts: Vec<Vec<u8>> = match (kind, &words[..]) {
        // Character strings of 255 octets at most, which readers put together.
        (RecordType::TXT, _) => match text.as_bytes() {
            [] => vec![vec![0]],
            bytes => bytes.chunks(255).map(|chunk| [&[chunk.len() as u8], chunk].concat()).collect(),
        },
        (RecordType::A, [address]) => vec![address.parse::<Ipv4Addr>().map_err(|_| no_data())?.octets().to_vec()],
        (RecordType::AAAA, [address]) => vec![address.parse::<Ipv6Addr>().map_err(|_| no_data())?.octets().to_vec()],
        (RecordType::CNAME | RecordType::NS | RecordType::PTR, [target]) => vec![name(target)?.as_octets().to_vec()],
        (RecordType::MX, [preference, host]) => vec![short(preference)?.to_vec(), name(host)?.as_octets().to_vec()],
        (RecordType::SRV, [priority, weight, port, host]) => {
            let numbers = [short(priority)?, short(weight)?, short(port)?];
            vec![numbers.concat(), name(host)?.as_octets().to_vec()]
        }
        (RecordType::SOA, [server, mailbox, numbers @ ..]) if numbers.len() == 5 => {
            let numbers = numbers.iter().map(long).collect::<Result<Vec<_>, _>>()?;
            vec![name(server)?.as_octets().to_vec(), name(mailbox)?.as_octets().to_vec(), numbers.concat()]
        }
        _ => return Err(no_data()),
    };
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    RecordData::new(&parts).map_err(|_| no_data())
}

/// The same the other way round; what is not of its type's form is shown as that of an unknown type.
pub(crate) fn text_of(kind: RecordType, data: &RecordData) -> String {
    known_text(kind, data.as_octets())
        .unwrap_or_else(|| format!("\\# {} {}", data.as_octets().len(), digits_of(data.as_octets())))
}

fn known_text(kind: RecordType, octets: &[u8]) -> Option<String> {
    let name = |at: usize| Name::read(octets, at).ok();
    let last_name = |at: usize| name(at).filter(|(_, end)| *end == octets.len()).map(|(name, _)| name);
    let short = |at: usize| octets.get(at..at + 2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]));
    match kind {
        RecordType::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string()),
        RecordType::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string()),
        RecordType::CNAME | RecordType::NS | RecordType::PTR => Some(last_name(0)?.to_string()),
        RecordType::MX => Some(format!("{} {}", short(0)?, last_name(2)?)),
        RecordType::SRV => Some(format!("{} {} {} {}", short(0)?, short(2)?, short(4)?, last_name(6)?)),
        RecordType::SOA => {
            let (server, at) = name(0)?;
            let (mailbox, at) = name(at)?;
            let (numbers, rest) = octets.get(at..)?.as_chunks::<4>();
            let numbers: Vec<String> = numbers.iter().map(|number| u32::from_be_bytes(*number).to_string()).collect();
            (numbers.len() == 5 && rest.is_empty()).then(|| format!("{server} {mailbox} {}", numbers.join(" ")))
        }
        RecordType::TXT => {
            let (mut rest, mut text) = (octets, Vec::new());
            while let [len, tail @ ..] = rest {
                let (string, after) = tail.split_at_checked(usize::from(*len))?;
                text.extend_from_slice(string);
                rest = after;
            }
            Some(String::from_utf8_lossy(&text).into_owned())
        }
        _ => None,
    }
}

/// The response code of a message.
#[wasm_bindgen]
pub fn response_code(message: &[u8]) -> u8 {
    Header::read(message).map_or(u8::MAX, |header| header.rcode)
}

/// The records of a type in the answer section of a message, whatever aliases led to them.
#[wasm_bindgen]
pub fn answers_in(message: &[u8], kind: &str) -> Result<Rows, RangeError> {
    let wanted = kind_of(kind)?;
    let rows = Rows::of("name type ttl data");
    let Ok(header) = Header::read(message) else { return Ok(rows) };
    let mut at = HEADER_LEN;
    for _ in 0..header.counts[0] {
        let Ok((_, next)) = Question::read(message, at) else { return Ok(rows) };
        at = next;
    }
    for _ in 0..header.counts[Section::Answer as usize] {
        let Ok((record, next)) = Record::read(message, at) else { break };
        at = next;
        let is_wanted = record.class == CLASS_IN && (record.record_type == wanted || wanted == RecordType::ANY);
        if let Some(data) = RecordData::read(message, &record).ok().filter(|_| is_wanted) {
            rows.shown(&record.name);
            rows.text(&kind_name(record.record_type));
            rows.number(record.ttl);
            rows.text(&text_of(record.record_type, &data));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_data_and_back() {
        for (kind, text) in [
            ("A", "10.0.0.1"),
            ("AAAA", "fd00::1"),
            ("CNAME", "shop.test"),
            ("MX", "10 mail.test"),
            ("SRV", "0 5 80 host.test"),
            ("SOA", "ns.test root.test 1 2 3 4 5"),
            ("TXT", "v=spf1 -all; and more"),
            ("TYPE65", "\\# 3 0001ff"),
        ] {
            let kind = kind_of(kind).unwrap();
            assert_eq!(text_of(kind, &data_of(kind, text).unwrap()), text);
        }
        let long = "x".repeat(700);
        assert_eq!(text_of(RecordType::TXT, &data_of(RecordType::TXT, &long).unwrap()), long);
    }

    #[test]
    fn data_of_another_form_is_shown_as_unknown() {
        let data = RecordData::new(&[&[1, 2, 3]]).unwrap();
        assert_eq!(text_of(RecordType::A, &data), "\\# 3 010203");
        assert_eq!(text_of(RecordType::TXT, &RecordData::new(&[&[9, b'x']]).unwrap()), "\\# 2 0978");
    }
}
