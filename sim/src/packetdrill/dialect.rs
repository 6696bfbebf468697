//! Whose habits a script counts on where kernels differ, and how it tells.

use super::ast::{Action, Body, Direction, Event, Script};
use super::options::{self, TcpOption};
use super::wire::SYN;

/// Whose habits a script counts on where the two differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Linux's.
    #[default]
    Linux,
    /// FreeBSD's.
    FreeBsd,
}

impl Dialect {
    /// The dialect of a script that is not parsed yet: FreeBSD's sysctls show it.
    pub(super) fn of_text(text: &str) -> Dialect {
        let signs = ["net.inet.", "net.inet6.", "kern.ipc."];
        if signs.iter().any(|sign| text.contains(sign)) { Dialect::FreeBsd } else { Dialect::Linux }
    }

    /// The same for a script without any of them: FreeBSD's SYNs have the window scale before what Linux's have first.
    pub(super) fn of_script(script: &Script) -> Dialect {
        let syn_of_freebsd = |action: &Action| {
            let Action::Packet(packet) = action else { return false };
            let (Direction::Outbound, Body::Tcp(tcp)) = (packet.direction, &packet.body) else { return false };
            let mut kinds = tcp.options.iter().flatten().filter(|option| !option.is_padding()).map(TcpOption::kind);
            kinds.any(|kind| kind == WINDOW_SCALE) && kinds.any(|kind| [SACK_PERMITTED, TIMESTAMPS].contains(&kind))
        };
        let is_freebsd = script.events.iter().any(|event| syn_of_freebsd(&event.action));
        if is_freebsd { Dialect::FreeBsd } else { Dialect::Linux }
    }

    /// The shift of the window in the first SYN that a script of Linux's expects: of a window scale it can be told how large the
    /// receive buffers of the machine are that it was written on, unless it sets them.
    pub(super) fn window_scale(script: &Script) -> Option<u8> {
        let list = |event: &Event| {
            let Action::Packet(packet) = &event.action else { return None };
            let (Direction::Outbound, Body::Tcp(tcp)) = (packet.direction, &packet.body) else { return None };
            tcp.options.clone().filter(|_| tcp.flags.bits & SYN != 0)
        };
        script.events.iter().find_map(list)?.iter().find_map(|option| match option {
            TcpOption::WindowScale(shift) => Some(*shift),
            _ => None,
        })
    }

    /// A symbol that is defined in scripts of the dialect, unless another of its conditions is chosen.
    pub(super) fn symbol(self) -> Option<&'static str> {
        (self == Dialect::FreeBsd).then_some("FreeBSD")
    }

    /// A list of options of the stack as a kernel of the dialect lays them out. The order and the padding of options say nothing of
    /// TCP (RFC 9293 §3.1): a script is taken at its word about which there are, and what is in them.
    pub(super) fn layout(self, list: &[TcpOption]) -> Vec<TcpOption> {
        if self == Dialect::Linux {
            return list.to_vec();
        }
        let mut sorted: Vec<&TcpOption> = list.iter().filter(|option| !option.is_padding()).collect();
        let rank = |kind| FREEBSD_ORDER.iter().position(|known| *known == kind).unwrap_or(FREEBSD_ORDER.len());
        sorted.sort_by_key(|option| rank(option.kind()));
        let (mut out, mut len) = (Vec::new(), 0);
        for option in sorted {
            // So that the numbers in it begin where four bytes do.
            let (unit, offset) = match option.kind() {
                WINDOW_SCALE => (2, 1),
                SACK_PERMITTED => (2, 0),
                TIMESTAMPS | SACK | MD5 => (4, 2),
                _ => (1, 0),
            };
            while len % unit != offset {
                out.push(TcpOption::Nop);
                len += 1;
            }
            out.push(option.clone());
            len += options::len(option);
        }
        out.resize(out.len() + len.next_multiple_of(4) - len, TcpOption::Eol);
        out
    }
}

const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const MD5: u8 = 19;

/// The order of FreeBSD's options; all others come last.
const FREEBSD_ORDER: [u8; 6] = [MSS, WINDOW_SCALE, SACK_PERMITTED, TIMESTAMPS, MD5, SACK];

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamps() -> TcpOption {
        TcpOption::Timestamps { value: Some(1), echo: 2, absolute: false }
    }

    #[test]
    fn freebsd_pads_between_options_and_at_the_end() {
        use TcpOption::{Eol, Mss, Nop, SackPermitted, WindowScale};
        let layout = |list: &[TcpOption]| Dialect::FreeBsd.layout(list);
        let linux = [Mss(1460), SackPermitted, timestamps(), Nop, WindowScale(6)];
        assert_eq!(layout(&linux), [Mss(1460), Nop, WindowScale(6), SackPermitted, timestamps()]);
        assert_eq!(layout(&[Mss(1460), Nop, Nop, SackPermitted]), [Mss(1460), SackPermitted, Eol, Eol]);
        let without_sack = [Mss(1460), Nop, Nop, timestamps(), Nop, WindowScale(6)];
        assert_eq!(layout(&without_sack), [Mss(1460), Nop, WindowScale(6), Nop, Nop, timestamps()]);
        let sack = TcpOption::Sack(vec![(1, 2)]);
        let both = [Nop, Nop, timestamps(), Nop, Nop, sack];
        assert_eq!(layout(&both), both);
        assert_eq!(Dialect::Linux.layout(&linux), linux);
    }
}
