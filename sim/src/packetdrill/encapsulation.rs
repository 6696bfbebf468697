//! Headers around a script's packet: IP in IP (RFC 2003, RFC 2473), GRE (RFC 2784, RFC 2890) and MPLS (RFC 4023), as in
//! `ipv4 2.2.2.2 > 1.1.1.1: gre: mpls (label 1, tc 0, [S], ttl 255): . 1:1(0) ack 1`. The stack has none of them: such packets are sent to
//! see that they do no harm. PSP's headers are read, not made.

use std::net::IpAddr;

use winnow::Parser;
use winnow::combinator::{alt, cut_err, delimited, opt, preceded, repeat, separated, separated_pair};

use super::ast::{Gre, MplsLabel, OuterHeader};
use super::lexer::Kind;
use super::parser::{Parsed, Tokens, kind, mark, unsigned, word};
use super::wire::ip_header;

const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const MPLS_IN_IP: u8 = 137;

/// What a header says of the one behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    V4,
    V6,
    Gre,
    Mpls,
}

impl Inner {
    fn protocol(self) -> u8 {
        match self {
            Inner::V4 => IPV4_IN_IP,
            Inner::V6 => IPV6_IN_IP,
            Inner::Gre => GRE,
            Inner::Mpls => MPLS_IN_IP,
        }
    }

    fn ethertype(self) -> u16 {
        match self {
            Inner::V4 => 0x0800,
            Inner::V6 => 0x86dd,
            Inner::Mpls => 0x8847,
            // Nothing carries GRE but IP.
            Inner::Gre => 0,
        }
    }
}

/// All headers before the packet's own.
pub(super) fn outer_headers<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Vec<OuterHeader>> {
    if let Some(psp) = opt(preceded(word("encap"), cut_err(psp))).parse_next(input)? {
        return Ok(vec![psp]);
    }
    let header = alt((ip, preceded(alt((word("gre"), word("GREv0"))), cut_err(gre)), mpls, psp));
    repeat(0.., (header, cut_err(mark(":"))).map(|(header, ())| header)).parse_next(input)
}

fn ip<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<OuterHeader> {
    alt((word("ipv4"), word("ipv6"))).parse_next(input)?;
    let address = || alt((kind(Kind::Ipv4), kind(Kind::Ipv6))).verify_map(|text: &str| text.parse::<IpAddr>().ok());
    let pair = separated_pair(address(), mark(">"), address()).context("two addresses");
    let same_family = pair.verify(|(source, destination)| source.is_ipv4() == destination.is_ipv4());
    cut_err(same_family.map(|(source, destination)| OuterHeader::Ip { source, destination })).parse_next(input)
}

/// `flags 0xb000, sum 511, off 1023, key 1, seq 2`: the flags say which of the others are there.
fn gre<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<OuterHeader> {
    let field = (
        alt((
            word("flags").value(0),
            word("sum").value(1),
            word("off").value(2),
            word("key").value(3),
            word("seq").value(4),
        )),
        cut_err(unsigned::<u32>),
    );
    let fields: Vec<(usize, u32)> = separated(0.., field, mark(",")).parse_next(input)?;
    let mut values = [0; 5];
    for (at, value) in fields {
        values[at] = value;
    }
    let [flags, checksum, offset, key, sequence] = values;
    Ok(OuterHeader::Gre(Gre { flags: flags as u16, checksum: checksum as u16, offset: offset as u16, key, sequence }))
}

fn mpls<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<OuterHeader> {
    let entry = delimited(
        mark("("),
        (
            preceded(word("label"), unsigned::<u32>),
            preceded((mark(","), word("tc")), unsigned::<u8>),
            opt((mark(","), mark("["), word("S"), mark("]"))),
            preceded((mark(","), word("ttl")), unsigned::<u8>),
        ),
        mark(")"),
    );
    let entry = entry.map(|(label, class, bottom, ttl)| MplsLabel { label, class, bottom: bottom.is_some(), ttl });
    preceded(word("mpls"), cut_err(repeat(1.., entry))).map(OuterHeader::Mpls).parse_next(input)
}

fn psp<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<OuterHeader> {
    let cookie = opt(preceded((mark(","), word("vc")), kind(Kind::Hex)));
    let fields = preceded(word("spi"), (unsigned::<u32>, cookie));
    preceded(word("psp"), cut_err(fields)).map(|(spi, _)| OuterHeader::Psp { spi }).parse_next(input)
}

/// The bytes of an IP packet with its outer headers around it, and whether the outermost is IPv4's. None if there is one that cannot be
/// made.
pub(super) fn encapsulate(outer: &[OuterHeader], packet: Vec<u8>, is_ipv4: bool) -> Option<(Vec<u8>, bool)> {
    let (mut bytes, mut inner) = (packet, if is_ipv4 { Inner::V4 } else { Inner::V6 });
    for header in outer.iter().rev() {
        let (front, kind) = match header {
            OuterHeader::Ip { source, destination } => {
                let kind = if source.is_ipv4() { Inner::V4 } else { Inner::V6 };
                (ip_header((*source, *destination), inner.protocol(), bytes.len()), kind)
            }
            OuterHeader::Gre(gre) => (gre.to_bytes(inner.ethertype()), Inner::Gre),
            OuterHeader::Mpls(labels) => (labels.iter().flat_map(MplsLabel::to_bytes).collect(), Inner::Mpls),
            OuterHeader::Psp { .. } => return None,
        };
        bytes = [front, bytes].concat();
        inner = kind;
    }
    match inner {
        Inner::V4 | Inner::V6 => Some((bytes, inner == Inner::V4)),
        // Labels and GRE stand behind an IP header.
        Inner::Gre | Inner::Mpls => None,
    }
}

impl Gre {
    fn to_bytes(self, protocol: u16) -> Vec<u8> {
        let has = |bit| self.flags & bit != 0;
        let mut out = [self.flags.to_be_bytes(), protocol.to_be_bytes()].concat();
        if has(0x8000) {
            out.extend([self.checksum.to_be_bytes(), self.offset.to_be_bytes()].concat());
        }
        if has(0x2000) {
            out.extend(self.key.to_be_bytes());
        }
        if has(0x1000) {
            out.extend(self.sequence.to_be_bytes());
        }
        out
    }
}

impl MplsLabel {
    fn to_bytes(&self) -> [u8; 4] {
        let word = self.label << 12 | u32::from(self.class) << 9 | u32::from(self.bottom) << 8 | u32::from(self.ttl);
        word.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_stand_in_the_order_of_the_script() {
        let outer = [
            OuterHeader::Ip { source: "2.2.2.2".parse().unwrap(), destination: "1.1.1.1".parse().unwrap() },
            OuterHeader::Gre(Gre { flags: 0x2000, key: 7, ..Gre::default() }),
            OuterHeader::Mpls(vec![MplsLabel { label: 1, class: 2, bottom: true, ttl: 255 }]),
        ];
        let (bytes, is_ipv4) = encapsulate(&outer, vec![0x60, 9], false).unwrap();
        assert!(is_ipv4);
        assert_eq!((bytes[0], bytes[9], bytes.len()), (0x45, GRE, 20 + 8 + 4 + 2));
        assert_eq!(bytes[20..], [0x20, 0, 0x88, 0x47, 0, 0, 0, 7, 0, 0, 0x15, 255, 0x60, 9]);
        assert_eq!(encapsulate(&outer[1..], vec![0x60], false), None);
        assert_eq!(encapsulate(&[OuterHeader::Psp { spi: 1 }], vec![0x60], false), None);
    }
}
