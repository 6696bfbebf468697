//! The grammar of packets.

use winnow::Parser;
use winnow::combinator::{alt, cut_err, delimited, opt, peek, preceded, repeat, separated, separated_pair};
use winnow::token::any;

use super::ast::{Body, Direction, Flags, IcmpSpec, IpSpec, PacketSpec, Quoted, TcpSpec, Tos};
use super::encapsulation::outer_headers;
use super::lexer::{Kind, Token};
use super::options::TcpOption;
use super::parser::{Parsed, Tokens, kind, mark, unsigned, word};

/// The letters of flags, with their bits in the header.
pub(super) const FLAG_LETTERS: [(char, u16); 9] = [
    ('F', 0x001),
    ('S', 0x002),
    ('R', 0x004),
    ('P', 0x008),
    ('.', 0x010),
    ('U', 0x020),
    ('E', 0x040),
    ('W', 0x080),
    ('A', 0x100),
];

const ACK: u16 = 0x010;
/// ECE's place; the ACE field begins there.
const ACE_SHIFT: u32 = 6;

/// A packet, with its direction.
pub(super) fn packet<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<PacketSpec> {
    let mut direction = alt((mark("<").value(Direction::Inbound), mark(">").value(Direction::Outbound)));
    let direction = direction.parse_next(input)?;
    cut_err(|input: &mut Tokens<'t, 's>| {
        let outer = outer_headers.parse_next(input)?;
        if let Some(quoted) = opt(quoted_before_icmp).parse_next(input)? {
            let (ports, mut body) = icmp.parse_next(input)?;
            if let Body::Icmp(message) = &mut body {
                message.quoted = quoted;
            }
            let ip = IpSpec::default();
            return Ok(PacketSpec { direction, outer, ip, ports, body, mutation: None });
        }
        let ip = opt(ip_info).parse_next(input)?.unwrap_or_default();
        let (ports, body) = alt((udp, icmp, tcp)).context("flags, udp or icmp").parse_next(input)?;
        let mutation = opt(mutation).parse_next(input)?;
        Ok(PacketSpec { direction, outer, ip, ports, body, mutation })
    })
    .parse_next(input)
}

fn ip_info<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<IpSpec> {
    let close = alt((mark("(").value(")"), mark("[").value("]"))).parse_next(input)?;
    let items: Vec<IpItem> = cut_err(separated(1.., ip_item, mark(","))).parse_next(input)?;
    cut_err(mark(close)).parse_next(input)?;
    let mut out = IpSpec::default();
    for item in items {
        match item {
            IpItem::HopLimit(limit) => out.hop_limit = Some(limit),
            IpItem::FlowLabel(label) => out.flow_label = Some(label),
            IpItem::Tos(tos) => out.tos = merge(out.tos, tos),
        }
    }
    Ok(out)
}

enum IpItem {
    Tos(Tos),
    HopLimit(u8),
    FlowLabel(u32),
}

/// DSCP and ECN may be given side by side.
fn merge(before: Tos, more: Tos) -> Tos {
    match (before, more) {
        (Tos::Masked { mask: a, value: x }, Tos::Masked { mask: b, value: y }) => {
            Tos::Masked { mask: a | b, value: x | y }
        }
        (Tos::Masked { value, .. }, Tos::EitherEct(None)) => Tos::EitherEct(Some(value)),
        (_, more) => more,
    }
}

fn ip_item<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<IpItem> {
    alt((
        preceded(alt((word("ttl"), word("hlim"))), cut_err(unsigned)).map(IpItem::HopLimit),
        preceded(word("flowlabel"), cut_err(unsigned)).map(IpItem::FlowLabel),
        preceded(alt((word("tos"), word("class"))), cut_err(unsigned))
            .map(|value| IpItem::Tos(Tos::Masked { mask: 0xff, value })),
        preceded(word("dscp"), cut_err(alt((unsigned::<u8>, kind(Kind::Word).verify_map(dscp)))))
            .map(|value| IpItem::Tos(Tos::Masked { mask: 0xfc, value: value << 2 })),
        preceded(opt(word("ecn")), kind(Kind::Word).verify_map(ecn)).map(IpItem::Tos),
    ))
    .context("what is known of an IP header: ect0, ce, noecn, tos, ttl, flowlabel")
    .parse_next(input)
}

fn ecn(name: &str) -> Option<Tos> {
    let value = match name {
        "noecn" => 0,
        "ect1" => 1,
        "ect0" => 2,
        "ce" => 3,
        "ect01" => return Some(Tos::EitherEct(None)),
        _ => return None,
    };
    Some(Tos::Masked { mask: 3, value })
}

/// The code points by name (RFC 2474, 2597, 3246, 5865, 8622).
fn dscp(name: &str) -> Option<u8> {
    let digit = |at: usize| name.as_bytes().get(at).map(|byte| byte.wrapping_sub(b'0'));
    match (name, name.len()) {
        ("ef", _) => Some(46),
        ("voice_admit", _) => Some(44),
        ("le", _) => Some(1),
        (_, 3) if name.starts_with("cs") => digit(2).filter(|class| *class < 8).map(|class| class * 8),
        (_, 4) if name.starts_with("af") => Some(digit(2)? * 8 + digit(3)? * 2).filter(|value| *value < 64),
        _ => None,
    }
}

fn ports<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<(u16, u16)> {
    separated_pair(unsigned, mark(">"), unsigned).parse_next(input)
}

fn udp<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<(Option<(u16, u16)>, Body)> {
    let (before, after, len) =
        (opt(ports), preceded(word("udp"), opt(ports)), delimited(mark("("), unsigned, mark(")"))).parse_next(input)?;
    Ok((before.or(after), Body::Udp(len)))
}

fn icmp<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<(Option<(u16, u16)>, Body)> {
    word("icmp").parse_next(input)?;
    let not_keyword = |text: &&str| !matches!(*text, "mtu" | "id");
    let (kind_name, code, mtu, id, quoted) = cut_err((
        kind(Kind::Word).context("an ICMP type"),
        opt(kind(Kind::Word).verify(not_keyword)),
        opt(preceded(word("mtu"), cut_err(unsigned))),
        opt(preceded(word("id"), cut_err(unsigned))),
        opt(delimited(mark("["), cut_err(quoted), mark("]"))),
    ))
    .parse_next(input)?;
    let quoted = quoted.unwrap_or(Quoted::Unspecified);
    Ok((None, Body::Icmp(IcmpSpec { kind: kind_name.into(), code: code.map(Into::into), mtu, id, quoted })))
}

/// `[1:1001(1000)] icmp ...`: what the message quotes, in its old place.
fn quoted_before_icmp<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Quoted> {
    let quoted = (delimited(mark("["), quoted, mark("]")), peek(word("icmp")));
    quoted.map(|(quoted, ())| quoted).parse_next(input)
}

fn quoted<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Quoted> {
    let len = || delimited(mark("("), unsigned, mark(")"));
    alt((
        preceded(word("udp"), len()).map(Quoted::Udp),
        preceded(word("raw"), len()).map(Quoted::Raw),
        seq.map(|(start, len)| Quoted::Tcp(start, len)),
    ))
    .context("what the message quotes: 1:1001(1000), udp (8), raw (8)")
    .parse_next(input)
}

fn tcp<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<(Option<(u16, u16)>, Body)> {
    let (ports, flags) = (opt(ports), flags).parse_next(input)?;
    let range = alt((
        preceded(kind(Kind::Ellipsis), delimited(mark("("), unsigned, mark(")"))).map(|len| (None, len)),
        seq.map(|(start, len)| (Some(start), len)),
    ));
    let ((seq, len), absolute) = cut_err((range, opt(mark("!")))).parse_next(input)?;
    let (ack, window, urgent, options, udp_encapsulation) = (
        opt(preceded(word("ack"), cut_err(unsigned))),
        opt(preceded(word("win"), cut_err(unsigned))),
        opt(preceded(word("urg"), cut_err(unsigned))),
        opt(delimited(mark("<"), option_list, cut_err(mark(">")))),
        opt(preceded((mark("/"), word("udp")), delimited(mark("("), ports_of, mark(")")))),
    )
        .parse_next(input)?;
    let spec = TcpSpec {
        flags,
        seq,
        absolute: absolute.is_some(),
        len,
        ack,
        window,
        urgent: urgent.unwrap_or(0),
        options: options.unwrap_or(Some(Vec::new())),
        udp_encapsulation,
    };
    Ok((ports, Body::Tcp(spec)))
}

fn ports_of<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<(u16, u16)> {
    ports.parse_next(input)
}

/// `{mut ip ttl; ...}`: what a fuzzer does to the packet, as text.
fn mutation<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<String> {
    let inner = repeat::<_, _, Vec<&Token<'s>>, _, _>(0.., any.verify(|token: &&Token<'_>| token.text != "}"));
    let words = delimited(mark("{"), inner, cut_err(mark("}"))).parse_next(input)?;
    let words: Vec<&str> = words.iter().map(|token| token.text).collect();
    Ok(words.join(" "))
}

fn seq<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<(u32, u32)> {
    let range =
        (unsigned::<u32>, preceded(mark(":"), unsigned::<u32>), delimited(mark("("), unsigned::<u32>, mark(")")));
    range
        .verify_map(|(start, end, len)| (start.wrapping_add(len) == end).then_some((start, len)))
        .context("a sequence range that agrees with its length")
        .parse_next(input)
}

/// `S`, `P.`, `SEWA`, `.`, `-`; with AccECN's count as `P5.`, `5.` or `P.5`.
fn flags<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Flags> {
    let letters = opt(alt((kind(Kind::Word), kind(Kind::Integer)))).parse_next(input)?.unwrap_or("");
    let tail =
        opt(alt((mark(".").value("."), kind(Kind::Float), mark("-").value("-")))).parse_next(input)?.unwrap_or("");
    let (all, is_none) = (format!("{letters}{tail}"), letters.is_empty() && tail == "-");
    match read_flags(&all) {
        _ if is_none => Ok(Flags::default()),
        Some(flags) if !all.is_empty() => Ok(flags),
        _ => winnow::combinator::fail.context("flags").parse_next(input),
    }
}

fn read_flags(text: &str) -> Option<Flags> {
    let mut flags = Flags::default();
    for letter in text.chars() {
        if let Some(count) = letter.to_digit(8) {
            if flags.ace {
                return None;
            }
            flags.bits |= (count as u16) << ACE_SHIFT;
            flags.ace = true;
        } else {
            let letter = if letter == 'C' { 'W' } else { letter };
            flags.bits |= FLAG_LETTERS.iter().find(|(known, _)| *known == letter)?.1;
        }
    }
    Some(flags)
}

fn option_list<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Option<Vec<TcpOption>>> {
    alt((kind(Kind::Ellipsis).value(None), separated(0.., tcp_option, mark(",")).map(Some))).parse_next(input)
}

fn tcp_option<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<TcpOption> {
    let name = peek(any).parse_next(input)?.text;
    any.parse_next(input)?;
    let rest = |input: &mut Tokens<'t, 's>| match name {
        "nop" => Ok(TcpOption::Nop),
        "eol" => Ok(TcpOption::Eol),
        "sackOK" => Ok(TcpOption::SackPermitted),
        "mss" => unsigned.map(TcpOption::Mss).parse_next(input),
        "wscale" => unsigned.map(TcpOption::WindowScale).parse_next(input),
        "sack" => repeat(1.., separated_pair(unsigned, mark(":"), unsigned)).map(TcpOption::Sack).parse_next(input),
        "TS" => timestamps.parse_next(input),
        "md5" => alt((
            word("valid").value(TcpOption::Md5Computed { valid: true }),
            word("invalid").value(TcpOption::Md5Computed { valid: false }),
            hex_bytes.map(TcpOption::Md5),
        ))
        .parse_next(input),
        "FO" | "FOEXP" | "exp-FO" => {
            if let Some(cookie) = opt(hex_bytes).parse_next(input)? {
                return Ok(TcpOption::FastOpen { cookie, experimental: name != "FO" });
            }
            let named = opt(kind(Kind::Word)).parse_next(input)?;
            Ok(match named {
                Some(cookie) => TcpOption::FastOpenNamed { name: cookie.into(), experimental: name != "FO" },
                None => TcpOption::FastOpen { cookie: Vec::new(), experimental: name != "FO" },
            })
        }
        "ECN" | "AccECN0" | "AccECN1" | "exp-AccECN0" | "exp-AccECN1" => acc_ecn(name, input),
        "exp-tarr" => {
            let rate: Option<u16> = opt(unsigned).parse_next(input)?;
            let rate = rate.map(|rate| (rate << 5).to_be_bytes().to_vec()).unwrap_or_default();
            Ok(TcpOption::Other(254, [vec![0x00, 0xac], rate].concat()))
        }
        _ => winnow::combinator::fail.context("a TCP option").parse_next(input),
    };
    cut_err(rest).parse_next(input)
}

fn timestamps<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<TcpOption> {
    let value = alt((kind(Kind::Ellipsis).value(None), unsigned.map(Some)));
    (preceded(word("val"), value), preceded(word("ecr"), unsigned), opt(mark("!")))
        .map(|(value, echo, absolute)| TcpOption::Timestamps { value, echo, absolute: absolute.is_some() })
        .parse_next(input)
}

/// Counters by name; which of the two options it is shows in the order unless the name says it.
fn acc_ecn<'t, 's: 't>(name: &str, input: &mut Tokens<'t, 's>) -> Parsed<TcpOption> {
    let counter = (kind(Kind::Word), unsigned::<u32>.verify(|count: &u32| *count < 1 << 24));
    let counters: Vec<(&str, u32)> = repeat(0..=3, counter).parse_next(input)?;
    let first_is_ect1 = counters.first().is_some_and(|(name, _)| name.trim_start_matches('e').starts_with("1b"));
    let ect1_first = match name {
        "ECN" => first_is_ect1,
        _ => name.ends_with('1'),
    };
    let counters = counters.into_iter().map(|(_, count)| count).collect();
    Ok(TcpOption::AccEcn { ect1_first, counters, experimental: name.starts_with("exp") })
}

/// An even number of hexadecimal digits.
fn hex_bytes<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Vec<u8>> {
    let digits = alt((kind(Kind::Word), kind(Kind::Integer)));
    digits
        .verify_map(|digits: &str| {
            let pairs = digits.as_bytes().chunks(2);
            pairs
                .map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2))
                .map(|pair| u8::from_str_radix(pair?, 16).ok())
                .collect()
        })
        .context("an even number of hexadecimal digits")
        .parse_next(input)
}

/// The flags as scripts write them.
pub(super) fn flags_text(bits: u16, ace: bool) -> String {
    let plain = if ace { bits & 0x3f } else { bits };
    let mut out: String = FLAG_LETTERS
        .iter()
        .filter(|(letter, bit)| plain & bit != 0 && *letter != '.')
        .map(|(letter, _)| *letter)
        .collect();
    if ace {
        out.push_str(&((bits >> ACE_SHIFT) & 7).to_string());
    }
    if bits & ACK != 0 {
        out.push('.');
    }
    if out.is_empty() { "-".into() } else { out }
}

#[cfg(test)]
mod tests {
    use super::super::ast::{Action, Script};
    use super::super::parser::parse;
    use super::super::settings::IpVersion;
    use super::*;
    use std::collections::BTreeMap;

    fn packets(text: &str) -> Vec<PacketSpec> {
        let script: Script =
            parse(text, &BTreeMap::new(), IpVersion::V4).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let packet = |action| match action {
            Action::Packet(packet) => *packet,
            other => panic!("{other:?}"),
        };
        script.events.into_iter().map(|event| packet(event.action)).collect()
    }

    fn segment(text: &str) -> TcpSpec {
        match packets(text).remove(0).body {
            Body::Tcp(spec) => spec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn segments_have_all_their_parts() {
        let spec =
            segment("0 < P.U 1:11(10) ack 1 win 100 urg 5 <nop,nop,TS val 1 ecr 2>".replace("P.U", "PU.").as_str());
        assert_eq!((spec.flags.bits, spec.seq, spec.len), (0x38, Some(1), 10));
        assert_eq!((spec.ack, spec.window, spec.urgent), (Some(1), Some(100), 5));
        assert_eq!(spec.options.unwrap().len(), 3);
        let spec = segment("0 > S. 4294967295:4(5) <...>");
        assert_eq!((spec.seq, spec.len, spec.window, spec.options), (Some(u32::MAX), 5, None, None));
        assert!(segment("0 < . 5:5(0)! ack 1").absolute);
        assert_eq!(segment("0 > . ...(7) ack 1").seq, None);
    }

    #[test]
    fn flags_are_letters_and_counts() {
        for (text, bits, ace) in [
            ("S", 0x002, false),
            ("SEWA", 0x1c2, false),
            (".", 0x010, false),
            ("-", 0, false),
            ("5.", 0x150, true),
            ("P5.", 0x158, true),
            ("P.5", 0x158, true),
            (".0", 0x010, true),
        ] {
            let spec = segment(&format!("0 > {text} 1:1(0)"));
            assert_eq!(spec.flags, Flags { bits, ace }, "{text}");
        }
        assert_eq!(flags_text(0x158, true), "P5.");
        assert_eq!((flags_text(0x012, false), flags_text(0, false)), ("S.".into(), "-".into()));
    }

    #[test]
    fn options_are_known_by_name() {
        let text = "0 > S 0:0(0) <mss 1460,sackOK,TS val ... ecr 0,nop,wscale 8,FO 00ff,FOEXP,sack 1:2 3:4,ECN e1b 1 ceb 0 e0b 1,md5 00ff,eol>";
        let options = segment(text).options.unwrap();
        assert_eq!(options.len(), 11);
        assert_eq!(options[2], TcpOption::Timestamps { value: None, echo: 0, absolute: false });
        assert_eq!(options[5], TcpOption::FastOpen { cookie: vec![0, 255], experimental: false });
        assert_eq!(options[7], TcpOption::Sack(vec![(1, 2), (3, 4)]));
        let acc_ecn = TcpOption::AccEcn { ect1_first: true, counters: vec![1, 0, 1], experimental: false };
        assert_eq!(options[8], acc_ecn);
    }

    #[test]
    fn ip_headers_ports_and_other_protocols() {
        let all = packets(
            "0 < [ce] 8080 > 50000 . 1:1(0) ack 1 win 5\n0 > (tos 0x10, flowlabel 0x2) . 1:1(0)\n0 > [ect01] udp (8)\n\
             0 < [ttl 5] icmp unreachable frag_needed mtu 1200 [1:1001(1000)]\n0 > udp 5 > 6 (1)\n\
             0 < ipv4 192.0.2.1 > 192.168.0.1: gre: . 1:1(0) ack 1 win 5\n0 > [dscp af21, ecn ce] . 1:1(0)\n\
             0 < icmp echo_request id 7 [raw (64)]\n0 < [1:1(0)] icmp unreachable packet_filtered\n",
        );
        assert_eq!((all[0].ports, all[0].ip.tos), (Some((8080, 50000)), Tos::Masked { mask: 3, value: 3 }));
        assert_eq!((all[1].ip.flow_label, all[1].ip.tos), (Some(2), Tos::Masked { mask: 0xff, value: 0x10 }));
        assert_eq!((all[2].ip.tos, &all[2].body), (Tos::EitherEct(None), &Body::Udp(8)));
        let Body::Icmp(icmp) = &all[3].body else { panic!() };
        assert_eq!((icmp.mtu, icmp.quoted, all[3].ip.hop_limit), (Some(1200), Quoted::Tcp(1, 1000), Some(5)));
        assert_eq!((all[4].ports, &all[4].body), (Some((5, 6)), &Body::Udp(1)));
        assert_eq!(all[5].outer.len(), 2);
        assert_eq!(all[6].ip.tos, Tos::Masked { mask: 0xff, value: 18 << 2 | 3 });
        assert!(matches!(&all[8].body, Body::Icmp(icmp) if icmp.quoted == Quoted::Tcp(1, 0)));
        assert!(matches!(&all[7].body, Body::Icmp(icmp) if icmp.id == Some(7) && icmp.quoted == Quoted::Raw(64)));
    }
}
