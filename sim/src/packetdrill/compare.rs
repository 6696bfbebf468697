//! Whether a packet that the stack has sent is the one that the script expects.

use super::ast::{Body, IpSpec, PacketSpec, TcpSpec, Tos};
use super::options::{self, TcpOption};
use super::packet_parser::flags_text;
use super::settings::Settings;
use super::wire::{ACK, CWR, FIN, PSH, Packet, Payload, Segment};

/// A difference, by what was expected and what came.
pub(super) type Difference = (String, String);

fn check<T: PartialEq>(expected: T, got: T, what: impl Fn(&T) -> String) -> Result<(), Difference> {
    if expected == got { Ok(()) } else { Err((what(&expected), what(&got))) }
}

/// The IP header.
pub(super) fn ip(spec: &IpSpec, packet: &Packet) -> Result<(), Difference> {
    let tos = packet.tos;
    match spec.tos {
        Tos::Unspecified => {}
        Tos::Masked { mask: 3, value } => check(value, tos & 3, |ecn| format!("ECN {}", ecn_name(*ecn)))?,
        Tos::Masked { mask, value } => check(value, tos & mask, |tos| format!("TOS {tos:#04x}"))?,
        Tos::EitherEct(dscp) => {
            if !matches!(tos & 3, 1 | 2) {
                return Err(("ECN ect0 or ect1".into(), format!("ECN {}", ecn_name(tos & 3))));
            }
            if let Some(dscp) = dscp {
                check(dscp, tos & 0xfc, |tos| format!("DSCP {tos:#04x}"))?;
            }
        }
    }
    if let Some(limit) = spec.hop_limit {
        check(limit, packet.hop_limit, |limit| format!("TTL {limit}"))?;
    }
    Ok(())
}

fn ecn_name(bits: u8) -> &'static str {
    ["noecn", "ect1", "ect0", "ce"][usize::from(bits & 3)]
}

/// The header of a segment, already in the script's numbers. `is_last` is false for all but the last of several segments
/// that make up one of the script's.
pub(super) fn segment(
    spec: &TcpSpec,
    seq_offset: u32,
    is_last: bool,
    got: &Segment,
    settings: &Settings,
) -> Result<(), Difference> {
    let mut ignored = if settings.loose { PSH } else { 0 };
    let is_whole = seq_offset == 0 && is_last;
    if !is_whole {
        // What the script says of one large segment: Linux sets PSH on all that it leaves to segmentation offload, whatever the
        // user has pushed.
        ignored |= PSH;
    }
    if !is_last {
        // It belongs to the end of what is sent.
        ignored |= FIN;
    }
    if seq_offset > 0 {
        // RFC 3168 §6.1.2: only the first segment after a reduction has it.
        ignored |= CWR;
    }
    let ace = spec.flags.ace;
    let flags = |bits: &u16| format!("flags {}", flags_text(*bits, ace));
    check(spec.flags.bits & !ignored, got.flags & !ignored, flags)?;
    if !is_last && got.flags & FIN != 0 {
        return Err(("FIN at the end only".into(), "FIN".into()));
    }
    if let Some(seq) = spec.seq {
        check(seq.wrapping_add(seq_offset), got.seq, |seq| format!("sequence number {seq}"))?;
    }
    if let Some(ack) = spec.ack.filter(|_| spec.flags.bits & ACK != 0) {
        check(ack, got.ack, |ack| format!("ack {ack}"))?;
    }
    if let Some(window) = spec.window.filter(|_| !settings.loose) {
        check(window, got.window, |window| format!("win {window}"))?;
    }
    check(spec.urgent, got.urgent, |urgent| format!("urg {urgent}"))?;
    match &spec.options {
        Some(expected) => tcp_options(expected, &got.options, settings),
        None => Ok(()),
    }
}

fn tcp_options(expected: &[TcpOption], got: &[TcpOption], settings: &Settings) -> Result<(), Difference> {
    let relevant = |list: &[TcpOption]| -> Vec<TcpOption> {
        let mut list: Vec<TcpOption> = list.iter().filter(|o| !settings.loose || !o.is_padding()).cloned().collect();
        if settings.loose {
            list.sort_by_key(TcpOption::kind);
        }
        list
    };
    let (wanted, mut found) = (relevant(expected), relevant(&settings.dialect.layout(got)));
    // A header ends where a multiple of four bytes does, whether the script says with what or not.
    while found.len() > wanted.len() && found.last() == Some(&TcpOption::Eol) {
        found.pop();
    }
    let same = wanted.len() == found.len()
        && wanted.iter().zip(&found).all(|(wanted, found)| match (wanted, found) {
            (
                TcpOption::Timestamps { value, echo, .. },
                TcpOption::Timestamps { value: found_value, echo: found_echo, .. },
            ) => echo == found_echo && timestamp_fits(*value, *found_value, settings),
            // The scale is that of the windows, which a loose run leaves out.
            (TcpOption::WindowScale(_), TcpOption::WindowScale(_)) if settings.loose => true,
            _ => wanted == found,
        });
    if same { Ok(()) } else { Err((format!("<{}>", options::text(expected)), format!("<{}>", options::text(got)))) }
}

/// Timestamps are checked only if the script says how fast their clock ticks.
fn timestamp_fits(wanted: Option<u32>, found: Option<u32>, settings: &Settings) -> bool {
    let (Some(wanted), Some(found)) = (wanted, found) else { return true };
    let distance = u64::from((wanted.wrapping_sub(found) as i32).unsigned_abs());
    distance * u64::from(settings.tcp_ts_tick_usecs) <= settings.tolerance_usecs
}

/// An expected packet as scripts write it.
pub(super) fn spec_text(spec: &PacketSpec) -> String {
    match &spec.body {
        Body::Tcp(tcp) => {
            let options = match &tcp.options {
                Some(list) => list.clone(),
                None => Vec::new(),
            };
            let mut text = segment_text(
                (tcp.flags.bits, tcp.flags.ace),
                tcp.seq.unwrap_or(0),
                tcp.len,
                tcp.ack,
                tcp.window,
                &options,
            );
            if tcp.options.is_none() {
                text.push_str(" <...>");
            }
            text
        }
        Body::Udp(len) => format!("udp ({len})"),
        Body::Icmp(icmp) => format!("icmp {} {}", icmp.kind, icmp.code.as_deref().unwrap_or("")).trim_end().into(),
    }
}

/// A packet as scripts write it; a segment should be in the script's numbers.
pub(super) fn packet_text(packet: &Packet) -> String {
    match &packet.payload {
        Payload::Tcp(got) => {
            let ack = got.has(ACK).then_some(got.ack);
            segment_text((got.flags, false), got.seq, got.data.len() as u32, ack, Some(got.window), &got.options)
        }
        Payload::Udp(datagram) => format!("udp ({})", datagram.data.len()),
        Payload::Icmp(message) => format!("icmp type {} code {}", message.kind, message.code),
    }
}

fn segment_text(
    (bits, ace): (u16, bool),
    seq: u32,
    len: u32,
    ack: Option<u32>,
    window: Option<u16>,
    list: &[TcpOption],
) -> String {
    let mut out = format!("{} {seq}:{}({len})", flags_text(bits, ace), seq.wrapping_add(len));
    if let Some(ack) = ack {
        out.push_str(&format!(" ack {ack}"));
    }
    if let Some(window) = window {
        out.push_str(&format!(" win {window}"));
    }
    if !list.is_empty() {
        out.push_str(&format!(" <{}>", options::text(list)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::ast::Flags;
    use super::super::wire::SYN;
    use super::*;

    fn spec() -> TcpSpec {
        TcpSpec {
            flags: Flags { bits: ACK | PSH, ace: false },
            seq: Some(1),
            absolute: false,
            len: 2_000,
            ack: Some(1),
            window: Some(100),
            urgent: 0,
            options: Some(vec![TcpOption::Nop, TcpOption::Nop, TcpOption::SackPermitted]),
            udp_encapsulation: None,
        }
    }

    fn got() -> Segment {
        Segment {
            seq: 1,
            ack: 1,
            flags: ACK | PSH,
            window: 100,
            options: vec![TcpOption::Nop, TcpOption::Nop, TcpOption::SackPermitted],
            ..Segment::default()
        }
    }

    #[test]
    fn every_field_counts() {
        let settings = Settings::default();
        assert_eq!(segment(&spec(), 0, true, &got(), &settings), Ok(()));
        for wrong in [
            Segment { seq: 2, ..got() },
            Segment { ack: 0, ..got() },
            Segment { flags: ACK, ..got() },
            Segment { flags: ACK | PSH | SYN, ..got() },
            Segment { window: 101, ..got() },
            Segment { urgent: 1, ..got() },
            Segment { options: vec![], ..got() },
            Segment { options: vec![TcpOption::SackPermitted, TcpOption::Nop, TcpOption::Nop], ..got() },
        ] {
            assert!(segment(&spec(), 0, true, &wrong, &settings).is_err(), "{wrong:?}");
        }
        let unchecked = TcpSpec { window: None, options: None, ..spec() };
        assert_eq!(segment(&unchecked, 0, true, &Segment { window: 7, options: vec![], ..got() }, &settings), Ok(()));
    }

    #[test]
    fn loose_leaves_out_what_the_command_line_says() {
        let settings = Settings { loose: true, ..Settings::default() };
        let other = Segment { flags: ACK, window: 7, options: vec![TcpOption::SackPermitted], ..got() };
        assert_eq!(segment(&spec(), 0, true, &other, &settings), Ok(()));
        assert!(segment(&spec(), 0, true, &Segment { seq: 2, ..other }, &settings).is_err());
    }

    #[test]
    fn ecn_is_checked_where_it_is_said() {
        let address = "192.0.2.1".parse().unwrap();
        let mut packet = Packet::new(address, address, Payload::Tcp(got()));
        packet.tos = 0x12;
        let spec = |tos| IpSpec { tos, ..IpSpec::default() };
        assert_eq!(ip(&spec(Tos::Masked { mask: 3, value: 2 }), &packet), Ok(()));
        assert_eq!(ip(&spec(Tos::EitherEct(None)), &packet), Ok(()));
        assert_eq!(ip(&spec(Tos::Unspecified), &packet), Ok(()));
        assert!(ip(&spec(Tos::Masked { mask: 3, value: 0 }), &packet).is_err());
        assert!(ip(&spec(Tos::Masked { mask: 0xff, value: 2 }), &packet).is_err());
    }
}
