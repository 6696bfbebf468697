//! The names of ICMP messages, and the messages themselves. A name of IPv4's stands for the message with the same meaning
//! where the script runs over IPv6, and the other way round.

use super::ast::{IcmpSpec, Quoted};
use super::wire::{Datagram, Message, Packet, Payload, Segment};

/// Names of IPv4 codes of "destination unreachable" (RFC 792, RFC 1812), with the code of ICMPv6 (RFC 4443).
const UNREACHABLE: [(&str, u8, u8); 16] = [
    ("net_unreachable", 0, 0),
    ("host_unreachable", 1, 3),
    ("protocol_unreachable", 2, 4),
    ("port_unreachable", 3, 4),
    ("frag_needed", 4, 0),
    ("source_route_failed", 5, 0),
    ("net_unknown", 6, 0),
    ("host_unknown", 7, 3),
    ("source_host_isolated", 8, 3),
    ("net_prohibited", 9, 1),
    ("host_prohibited", 10, 1),
    ("net_unreachable_for_tos", 11, 0),
    ("host_unreachable_for_tos", 12, 3),
    ("packet_filtered", 13, 1),
    ("precedence_violation", 14, 1),
    ("precedence_cutoff", 15, 1),
];

/// Names of ICMPv6 codes, with IPv4's.
const UNREACHABLE_V6: [(&str, u8, u8); 8] = [
    ("no_route", 0, 0),
    ("admin_prohibited", 13, 1),
    ("beyond_scope", 0, 2),
    ("not_neighbour", 1, 2),
    ("address_unreachable", 1, 3),
    ("addr_unreachable", 1, 3),
    ("policy_fail", 13, 5),
    ("reject_route", 13, 6),
];

/// Type and code of a message.
///
/// # Errors
/// The name that is not known.
pub(super) fn kind_and_code(spec: &IcmpSpec, v4: bool) -> Result<(u8, u8), String> {
    let name = spec.code.as_deref();
    let pick = |pair: (u8, u8)| if v4 { pair.0 } else { pair.1 };
    let numeric = |name: &str| name.trim_start_matches("code_").parse().map_err(|_| name.to_string());
    Ok(match spec.kind.as_str() {
        "echo_request" => (pick((8, 128)), 0),
        "echo_reply" => (pick((0, 129)), 0),
        "packet_too_big" => {
            if v4 {
                (3, 4)
            } else {
                (2, 0)
            }
        }
        "unreachable" if name == Some("frag_needed") => {
            if v4 {
                (3, 4)
            } else {
                (2, 0)
            }
        }
        "unreachable" => {
            let code = match name {
                None => 0,
                Some(name) => match UNREACHABLE.iter().chain(&UNREACHABLE_V6).find(|(known, ..)| *known == name) {
                    Some((_, old, new)) => pick((*old, *new)),
                    None => numeric(name)?,
                },
            };
            (pick((3, 1)), code)
        }
        "source_quench" if v4 => (4, 0),
        "redirect" if v4 => (5, name.map_or(Ok(1), numeric)?),
        "time_exceeded" => {
            let code = match name {
                None => 0,
                Some(name) if ["hop", "ttl"].iter().any(|what| name.contains(what)) => 0,
                Some(name) if ["frag", "reassembly"].iter().any(|what| name.contains(what)) => 1,
                Some(other) => numeric(other)?,
            };
            (pick((11, 3)), code)
        }
        "parameter_problem" => {
            let code = match name {
                None | Some("header_field") => 0,
                Some("next_header_type" | "unknown_next_header") => 1,
                Some("ip_option" | "unknown_option") => 2,
                Some(other) => numeric(other)?,
            };
            (pick((12, 4)), code)
        }
        "timestamp_request" => (13, 0),
        "timestamp_reply" => (14, 0),
        "information_request" => (15, 0),
        "information_reply" => (16, 0),
        "address_mask_request" => (17, 0),
        "address_mask_reply" => (18, 0),
        other => {
            let kind = other.trim_start_matches("type_").parse().map_err(|_| other.to_string())?;
            (kind, name.map_or(Ok(0), numeric)?)
        }
    })
}

/// The message that a script sends. `ports` and `seq` are those of the quoted packet, on the wire.
pub(super) fn message(spec: &IcmpSpec, quoting: &Packet, ports: (u16, u16), seq: u32) -> Result<Message, String> {
    let v4 = quoting.source.is_ipv4();
    let (kind, code) = kind_and_code(spec, v4)?;
    let echo = matches!(spec.kind.as_str(), "echo_request" | "echo_reply");
    let mtu = spec.mtu.unwrap_or(0);
    let rest = match echo {
        true => u32::from(spec.id.unwrap_or(0)) << 16,
        false if v4 => mtu & 0xffff,
        false => mtu,
    };
    let (source_port, destination_port) = ports;
    let payload = match spec.quoted {
        Quoted::Udp(len) => Payload::Udp(Datagram { source_port, destination_port, data: vec![0; len as usize] }),
        Quoted::Raw(len) => return Ok(Message { kind, code, rest, data: vec![0; len as usize] }),
        Quoted::Unspecified if echo => return Ok(Message { kind, code, rest, data: Vec::new() }),
        Quoted::Tcp(_, len) => Payload::Tcp(Segment {
            source_port,
            destination_port,
            seq,
            data: vec![0; len as usize],
            ..Segment::default()
        }),
        Quoted::Unspecified => Payload::Tcp(Segment { source_port, destination_port, seq, ..Segment::default() }),
    };
    // RFC 792: the header and eight bytes; ICMPv6 quotes more, and these are enough for both.
    let header = if v4 { 20 } else { 40 };
    let mut data = Packet { payload, ..quoting.clone() }.to_bytes();
    data.truncate(header + 8);
    Ok(Message { kind, code, rest, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_the_same_in_both_families() {
        let spec = |kind: &str, code: Option<&str>| IcmpSpec {
            kind: kind.into(),
            code: code.map(Into::into),
            mtu: None,
            id: None,
            quoted: Quoted::Unspecified,
        };
        for (kind, code, v4, v6) in [
            ("unreachable", Some("frag_needed"), (3, 4), (2, 0)),
            ("packet_too_big", None, (3, 4), (2, 0)),
            ("unreachable", Some("host_unreachable"), (3, 1), (1, 3)),
            ("unreachable", Some("no_route"), (3, 0), (1, 0)),
            ("time_exceeded", None, (11, 0), (3, 0)),
            ("echo_request", None, (8, 0), (128, 0)),
            ("type_255", Some("code_7"), (255, 7), (255, 7)),
        ] {
            let spec = spec(kind, code);
            assert_eq!((kind_and_code(&spec, true), kind_and_code(&spec, false)), (Ok(v4), Ok(v6)), "{kind}");
        }
        assert!(kind_and_code(&spec("unreachable", Some("magic")), true).is_err());
    }
}
