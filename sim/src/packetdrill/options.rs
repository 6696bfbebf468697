//! TCP options: as written in scripts, and as on the wire.

use std::fmt;

/// One TCP option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpOption {
    /// End of the list.
    Eol,
    /// Padding.
    Nop,
    /// Maximum segment size.
    Mss(u16),
    /// Window scale.
    WindowScale(u8),
    /// Selective acknowledgments permitted.
    SackPermitted,
    /// Selective acknowledgments: left and right edges.
    Sack(Vec<(u32, u32)>),
    /// Timestamps.
    Timestamps {
        /// The sender's clock; None where any will do.
        value: Option<u32>,
        /// The echoed clock.
        echo: u32,
        /// The echo is as on the wire (`!`), not one that stands for a value seen before.
        absolute: bool,
    },
    /// A Fast Open cookie, or a request for one.
    FastOpen {
        /// The cookie.
        cookie: Vec<u8>,
        /// In the experimental option (RFC 6994) instead of option 34.
        experimental: bool,
    },
    /// A Fast Open cookie that a script gives a name (`FO TFO_COOKIE`): any, but the same each time.
    FastOpenNamed {
        /// The name.
        name: String,
        /// In the experimental option.
        experimental: bool,
    },
    /// An MD5 signature (RFC 2385).
    Md5(Vec<u8>),
    /// An MD5 signature that fits the segment, or does not (`md5 valid`, `md5 invalid`).
    Md5Computed {
        /// It fits.
        valid: bool,
    },
    /// AccECN counters (RFC 9768 §3.2.3): up to three, in the option's order.
    AccEcn {
        /// The order is that of option 174, ECT(1) first, instead of 172.
        ect1_first: bool,
        /// The counters' values.
        counters: Vec<u32>,
        /// In the experimental option.
        experimental: bool,
    },
    /// Any other: kind and data.
    Other(u8, Vec<u8>),
}

const FAST_OPEN_MAGIC: u16 = 0xf989;
const ACC_ECN_0_MAGIC: u16 = 0xacc0;
const ACC_ECN_1_MAGIC: u16 = 0xacc1;
const EXPERIMENT: u8 = 254;

impl TcpOption {
    /// The option's number.
    pub fn kind(&self) -> u8 {
        match self {
            TcpOption::Eol => 0,
            TcpOption::Nop => 1,
            TcpOption::Mss(_) => 2,
            TcpOption::WindowScale(_) => 3,
            TcpOption::SackPermitted => 4,
            TcpOption::Sack(_) => 5,
            TcpOption::Timestamps { .. } => 8,
            TcpOption::Md5(_) | TcpOption::Md5Computed { .. } => 19,
            TcpOption::FastOpen { experimental: false, .. } | TcpOption::FastOpenNamed { experimental: false, .. } => {
                34
            }
            TcpOption::AccEcn { experimental: false, ect1_first: false, .. } => 172,
            TcpOption::AccEcn { experimental: false, ect1_first: true, .. } => 174,
            TcpOption::FastOpen { .. } | TcpOption::FastOpenNamed { .. } | TcpOption::AccEcn { .. } => EXPERIMENT,
            TcpOption::Other(kind, _) => *kind,
        }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let mut data = Vec::new();
        match self {
            TcpOption::Eol | TcpOption::Nop => return out.push(self.kind()),
            TcpOption::SackPermitted | TcpOption::FastOpenNamed { .. } | TcpOption::Md5Computed { .. } => {}
            TcpOption::Mss(mss) => data.extend(mss.to_be_bytes()),
            TcpOption::WindowScale(shift) => data.push(*shift),
            TcpOption::Sack(blocks) => {
                for (left, right) in blocks {
                    data.extend(left.to_be_bytes());
                    data.extend(right.to_be_bytes());
                }
            }
            TcpOption::Timestamps { value, echo, .. } => {
                data.extend(value.unwrap_or(0).to_be_bytes());
                data.extend(echo.to_be_bytes());
            }
            TcpOption::FastOpen { cookie, experimental } => {
                if *experimental {
                    data.extend(FAST_OPEN_MAGIC.to_be_bytes());
                }
                data.extend(cookie);
            }
            TcpOption::AccEcn { ect1_first, counters, experimental } => {
                if *experimental {
                    let magic = if *ect1_first { ACC_ECN_1_MAGIC } else { ACC_ECN_0_MAGIC };
                    data.extend(magic.to_be_bytes());
                }
                for counter in counters {
                    data.extend(&counter.to_be_bytes()[1..]);
                }
            }
            TcpOption::Md5(bytes) | TcpOption::Other(_, bytes) => data.extend(bytes),
        }
        out.extend([self.kind(), data.len() as u8 + 2]);
        out.extend(data);
    }

    fn parse(kind: u8, data: &[u8]) -> TcpOption {
        let u32_at =
            |at: usize| data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
        let counters = |data: &[u8]| -> Vec<u32> {
            data.chunks_exact(3).map(|c| u32::from_be_bytes([0, c[0], c[1], c[2]])).collect()
        };
        match (kind, data) {
            (2, [high, low]) => TcpOption::Mss(u16::from_be_bytes([*high, *low])),
            (3, [shift]) => TcpOption::WindowScale(*shift),
            (4, []) => TcpOption::SackPermitted,
            (5, blocks) if !blocks.is_empty() && blocks.len() % 8 == 0 => {
                TcpOption::Sack((0..blocks.len()).step_by(8).map(|at| (u32_at(at), u32_at(at + 4))).collect())
            }
            (8, [_, _, _, _, _, _, _, _]) => {
                TcpOption::Timestamps { value: Some(u32_at(0)), echo: u32_at(4), absolute: false }
            }
            (19, digest) => TcpOption::Md5(digest.to_vec()),
            (34, cookie) => TcpOption::FastOpen { cookie: cookie.to_vec(), experimental: false },
            (172 | 174, rest) if rest.len() % 3 == 0 => {
                TcpOption::AccEcn { ect1_first: kind == 174, counters: counters(rest), experimental: false }
            }
            (EXPERIMENT, [0xf9, 0x89, cookie @ ..]) => {
                TcpOption::FastOpen { cookie: cookie.to_vec(), experimental: true }
            }
            (EXPERIMENT, [0xac, order @ (0xc0 | 0xc1), rest @ ..]) if rest.len() % 3 == 0 => {
                TcpOption::AccEcn { ect1_first: *order == 0xc1, counters: counters(rest), experimental: true }
            }
            _ => TcpOption::Other(kind, data.to_vec()),
        }
    }

    /// Whether the option only fills space.
    pub fn is_padding(&self) -> bool {
        matches!(self, TcpOption::Eol | TcpOption::Nop)
    }
}

/// Bytes of an option on the wire.
pub(super) fn len(option: &TcpOption) -> usize {
    let mut out = Vec::new();
    option.emit(&mut out);
    out.len()
}

/// The bytes of an option list, filled up with zeros to a multiple of four.
pub fn emit(options: &[TcpOption]) -> Vec<u8> {
    let mut out = Vec::new();
    for option in options {
        option.emit(&mut out);
    }
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Reads the option bytes of a header. Zeros after the first end-of-list mark are options of their own, as scripts write
/// them. None if an option is cut short or has an impossible length.
pub fn parse(mut bytes: &[u8]) -> Option<Vec<TcpOption>> {
    let mut out = Vec::new();
    while let [kind, rest @ ..] = bytes {
        match kind {
            0 => out.push(TcpOption::Eol),
            1 => out.push(TcpOption::Nop),
            _ => {
                let len = usize::from(*rest.first()?).checked_sub(2)?;
                out.push(TcpOption::parse(*kind, rest.get(1..1 + len)?));
                bytes = &rest[1 + len..];
                continue;
            }
        }
        bytes = rest;
    }
    Some(out)
}

impl fmt::Display for TcpOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"));
        match self {
            TcpOption::Eol => f.write_str("eol"),
            TcpOption::Nop => f.write_str("nop"),
            TcpOption::Mss(mss) => write!(f, "mss {mss}"),
            TcpOption::WindowScale(shift) => write!(f, "wscale {shift}"),
            TcpOption::SackPermitted => f.write_str("sackOK"),
            TcpOption::Sack(blocks) => {
                f.write_str("sack")?;
                blocks.iter().try_for_each(|(left, right)| write!(f, " {left}:{right}"))
            }
            TcpOption::Timestamps { value: Some(value), echo, .. } => write!(f, "TS val {value} ecr {echo}"),
            TcpOption::Timestamps { value: None, echo, .. } => write!(f, "TS val ... ecr {echo}"),
            TcpOption::FastOpen { cookie, experimental } => {
                f.write_str(if *experimental { "FOEXP " } else { "FO " })?;
                hex(f, cookie)
            }
            TcpOption::Md5Computed { valid } => f.write_str(if *valid { "md5 valid" } else { "md5 invalid" }),
            TcpOption::FastOpenNamed { name, experimental } => {
                write!(f, "{} {name}", if *experimental { "FOEXP" } else { "FO" })
            }
            TcpOption::Md5(digest) => {
                f.write_str("md5 ")?;
                hex(f, digest)
            }
            TcpOption::AccEcn { ect1_first, counters, .. } => {
                f.write_str("ECN")?;
                let names = if *ect1_first { ["e1b", "ceb", "e0b"] } else { ["e0b", "ceb", "e1b"] };
                names.iter().zip(counters).try_for_each(|(name, count)| write!(f, " {name} {count}"))
            }
            TcpOption::Other(kind, data) => {
                write!(f, "option {kind} ")?;
                hex(f, data)
            }
        }
    }
}

/// A list of options as scripts write it.
pub(super) fn text(options: &[TcpOption]) -> String {
    let names: Vec<String> = options.iter().map(ToString::to_string).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_the_wire() {
        let list = vec![
            TcpOption::Mss(1460),
            TcpOption::SackPermitted,
            TcpOption::Timestamps { value: Some(100), echo: 7, absolute: false },
            TcpOption::Nop,
            TcpOption::WindowScale(7),
            TcpOption::Sack(vec![(1, 2), (u32::MAX, 4)]),
            TcpOption::FastOpen { cookie: vec![1, 2, 3, 4], experimental: true },
            TcpOption::FastOpen { cookie: vec![], experimental: false },
            TcpOption::AccEcn { ect1_first: true, counters: vec![1, 0, 0xff_ffff], experimental: false },
            TcpOption::AccEcn { ect1_first: false, counters: vec![], experimental: true },
            TcpOption::Md5(vec![9; 16]),
            TcpOption::Other(99, vec![1]),
            TcpOption::Eol,
        ];
        let bytes = emit(&list);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(parse(&bytes).unwrap()[..list.len()], list);
    }

    #[test]
    fn options_that_are_cut_short_are_refused() {
        for bytes in [&[2][..], &[2, 4, 5], &[8, 1], &[5, 0]] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }
}
