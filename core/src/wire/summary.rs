//! One line of text for a frame, in the words that people know from tcpdump and Wireshark. For lists that people read,
//! never for decisions.
//!
//! The few forms that most lines are made of are functions, never inlined: a call is a fraction of the code of a `write!`.

use super::ethernet::ethertype;
use super::{
    ArpOperation, ArpPacket, EthernetHeader, Icmpv4Message, Icmpv6Message, Ipv4Header, Ipv6Header, TcpHeader,
    TcpOptions, UdpHeader, WireError, dhcp, dns, icmpv4, icmpv6, ipv6, protocol,
};
use core::fmt::{self, Write};
use core::net::{IpAddr, SocketAddr};

/// Writes one line, without a line end, about an Ethernet frame; any bytes give some line.
///
/// # Errors
/// Only those of `out`.
pub fn summarize(frame: &[u8], out: &mut dyn Write) -> fmt::Result {
    match EthernetHeader::parse(frame) {
        Ok((header, payload)) => link_payload(&header, header.ethertype, payload, out),
        Err(error) => broken(out, "Ethernet: ", error),
    }
}

/// Writes one line, without a line end, about an IPv4 or IPv6 packet; any bytes give some line.
///
/// # Errors
/// Only those of `out`.
pub fn summarize_packet(packet: &[u8], out: &mut dyn Write) -> fmt::Result {
    match packet.first().map(|first| first >> 4) {
        Some(6) => ipv6(packet, out),
        _ => ipv4(packet, out),
    }
}

fn link_payload(header: &EthernetHeader, kind: u16, payload: &[u8], out: &mut dyn Write) -> fmt::Result {
    match kind {
        ethertype::ARP => arp(payload, out),
        ethertype::IPV4 => ipv4(payload, out),
        ethertype::IPV6 => ipv6(payload, out),
        ethertype::VLAN if header.ethertype == ethertype::VLAN => {
            match payload.split_first_chunk::<4>() {
                Some((&[a, b, c, d], rest)) => {
                    field(out, "VLAN ", u16::from_be_bytes([a & 0x0f, b]).into())?;
                    out.write_str(" ")?;
                    // Only one tag is opened, whatever the frame holds.
                    match u16::from_be_bytes([c, d]) {
                        ethertype::VLAN => write!(out, "VLAN again, {} bytes", rest.len()),
                        inner => link_payload(header, inner, rest, out),
                    }
                }
                None => out.write_str("VLAN: the message is cut short"),
            }
        }
        kind => {
            let EthernetHeader { source, destination, .. } = header;
            write!(out, "{source} > {destination} ethertype 0x{kind:04x} len={}", payload.len())
        }
    }
}

fn arp(bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
    let packet = match ArpPacket::parse(bytes) {
        Ok(packet) => packet,
        Err(error) => return broken(out, "ARP: ", error),
    };
    let ArpPacket { sender_mac, sender_ip, target_ip, .. } = packet;
    if sender_ip == target_ip {
        return write!(out, "ARP announce {sender_ip} is-at {sender_mac}");
    }
    match packet.operation {
        ArpOperation::Request if sender_ip.is_unspecified() => {
            write!(out, "ARP probe who-has {target_ip}")
        }
        ArpOperation::Request => write!(out, "ARP who-has {target_ip} tell {sender_ip}"),
        ArpOperation::Reply => write!(out, "ARP reply {sender_ip} is-at {sender_mac}"),
    }
}

fn ipv4(bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
    let (header, payload) = match Ipv4Header::parse(bytes) {
        Ok(parsed) => parsed,
        Err(error) => return broken(out, "IPv4: ", error),
    };
    let Ipv4Header { source, destination, identification, fragment_offset, .. } = header;
    if header.is_fragment() {
        between(out, &source, &destination)?;
        field(out, "IPv4 fragment id=", identification.into())?;
        field(out, " offset=", fragment_offset.into())?;
        return field(out, " len=", payload.len() as u32);
    }
    match header.protocol {
        protocol::ICMP => {
            between(out, &source, &destination)?;
            match Icmpv4Message::parse(payload) {
                Ok(message) => icmpv4(&message, out),
                Err(error) => broken(out, "ICMP ", error),
            }
        }
        upper => transport(source.into(), destination.into(), upper, payload, out),
    }
}

fn ipv6(bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
    let (header, payload) = match Ipv6Header::parse(bytes) {
        Ok(parsed) => parsed,
        Err(error) => return broken(out, "IPv6: ", error),
    };
    let Ipv6Header { source, destination, .. } = header;
    match ipv6::skip_extension_headers(header.next_header, payload) {
        Ok(upper) => match upper.protocol {
            protocol::FRAGMENT => {
                between(out, &source, &destination)?;
                field(out, "IPv6 fragment len=", upper.payload.len() as u32)
            }
            protocol::ICMPV6 => {
                between(out, &source, &destination)?;
                match Icmpv6Message::parse(source, destination, upper.payload) {
                    Ok(message) => icmpv6(&message, out),
                    Err(error) => broken(out, "ICMPv6 ", error),
                }
            }
            number => transport(source.into(), destination.into(), number, upper.payload, out),
        },
        Err(error) => {
            between(out, &source, &destination)?;
            write!(out, "IPv6 {error}")
        }
    }
}

fn transport(source: IpAddr, destination: IpAddr, upper: u8, bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
    let mut between_ports =
        |[from, to]: [u16; 2]| between(out, &SocketAddr::new(source, from), &SocketAddr::new(destination, to));
    let error = match upper {
        protocol::TCP => match TcpHeader::parse(bytes) {
            Ok((header, options, payload)) => {
                between_ports([header.source_port, header.destination_port])?;
                return tcp(&header, &TcpOptions::parse(options), payload.len(), out);
            }
            Err(error) => Some(("TCP ", error)),
        },
        protocol::UDP => match UdpHeader::parse(bytes) {
            Ok((header, payload)) => {
                let ports = [header.source_port, header.destination_port];
                between_ports(ports)?;
                return udp(ports, payload, out);
            }
            Err(error) => Some(("UDP ", error)),
        },
        _ => None,
    };
    between(out, &source, &destination)?;
    match (error, upper) {
        (Some((name, error)), _) => broken(out, name, error),
        (None, protocol::NO_NEXT_HEADER) => out.write_str("nothing"),
        (None, other) => {
            field(out, "protocol ", other.into())?;
            field(out, " len=", bytes.len() as u32)
        }
    }
}

/// Who sent a packet, and to whom.
#[inline(never)]
fn between(out: &mut dyn Write, source: &dyn fmt::Display, destination: &dyn fmt::Display) -> fmt::Result {
    write!(out, "{source} > {destination} ")
}

/// What cannot be read, and why.
#[inline(never)]
fn broken(out: &mut dyn Write, what: &str, error: WireError) -> fmt::Result {
    write!(out, "{what}{error}")
}

/// A number and what stands before it.
#[inline(never)]
fn field(out: &mut dyn Write, name: &str, value: u32) -> fmt::Result {
    write!(out, "{name}{value}")
}

fn tcp(header: &TcpHeader, options: &TcpOptions, len: usize, out: &mut dyn Write) -> fmt::Result {
    write!(out, "TCP {} seq={}", header.flags, header.sequence)?;
    if header.flags.contains(super::TcpFlags::ACK) {
        write!(out, " ack={}", header.acknowledgment)?;
    }
    field(out, " win=", header.window.into())?;
    if len > 0 {
        field(out, " len=", len as u32)?;
    }
    if let Some(mss) = options.mss {
        field(out, " mss ", mss.into())?;
    }
    if let Some(shift) = options.window_scale {
        field(out, " wscale ", shift.into())?;
    }
    if options.sack_permitted {
        out.write_str(" sackOK")?;
    }
    for (left, right) in options.sack.as_slice() {
        write!(out, " sack {left}-{right}")?;
    }
    Ok(())
}

fn udp(ports: [u16; 2], payload: &[u8], out: &mut dyn Write) -> fmt::Result {
    if ports.contains(&dhcp::SERVER_PORT)
        && let Ok(message) = dhcp::Message::parse(payload)
    {
        return dhcp(&message, out);
    }
    if ports.contains(&dns::PORT)
        && let Ok(header) = dns::Header::read(payload)
    {
        return dns(&header, payload, out);
    }
    field(out, "UDP len=", payload.len() as u32)
}

fn dhcp(message: &dhcp::Message<'_>, out: &mut dyn Write) -> fmt::Result {
    let kind = match message.kind() {
        dhcp::MessageType::Discover => "discover",
        dhcp::MessageType::Offer => "offer",
        dhcp::MessageType::Request => "request",
        dhcp::MessageType::Decline => "decline",
        dhcp::MessageType::Ack => "ack",
        dhcp::MessageType::Nak => "nak",
        dhcp::MessageType::Release => "release",
        dhcp::MessageType::Inform => "inform",
    };
    out.write_str("DHCP ")?;
    out.write_str(kind)?;
    let address = [Some(message.yiaddr()), message.address_option(dhcp::option::REQUESTED_ADDRESS)]
        .into_iter()
        .chain([Some(message.ciaddr())])
        .flatten()
        .find(|address| !address.is_unspecified());
    match address {
        Some(address) => write!(out, " {address}"),
        None => Ok(()),
    }
}

fn dns(header: &dns::Header, message: &[u8], out: &mut dyn Write) -> fmt::Result {
    out.write_str(if header.response { "DNS answer" } else { "DNS query" })?;
    if let Ok((question, _)) = dns::Question::read(message, dns::HEADER_LEN) {
        match question.record_type {
            dns::RecordType::A => out.write_str(" A")?,
            dns::RecordType::NS => out.write_str(" NS")?,
            dns::RecordType::CNAME => out.write_str(" CNAME")?,
            dns::RecordType::SOA => out.write_str(" SOA")?,
            dns::RecordType::PTR => out.write_str(" PTR")?,
            dns::RecordType::AAAA => out.write_str(" AAAA")?,
            dns::RecordType::ANY => out.write_str(" ANY")?,
            dns::RecordType(other) => field(out, " TYPE", other.into())?,
        }
        write!(out, " {}", question.name)?;
    }
    if !header.response {
        return Ok(());
    }
    match header.rcode {
        0 => field(out, " records=", header.counts[1].into()),
        1 => out.write_str(" FORMERR"),
        2 => out.write_str(" SERVFAIL"),
        3 => out.write_str(" NXDOMAIN"),
        4 => out.write_str(" NOTIMP"),
        5 => out.write_str(" REFUSED"),
        other => field(out, " rcode=", other.into()),
    }
}

fn icmpv4(message: &Icmpv4Message<'_>, out: &mut dyn Write) -> fmt::Result {
    out.write_str("ICMP ")?;
    match *message {
        Icmpv4Message::EchoRequest { identifier, sequence, .. } => echo(out, "request", identifier, sequence),
        Icmpv4Message::EchoReply { identifier, sequence, .. } => echo(out, "reply", identifier, sequence),
        Icmpv4Message::DestinationUnreachable { code, next_hop_mtu, .. } => match code {
            icmpv4::code::NETWORK_UNREACHABLE => out.write_str("network unreachable"),
            icmpv4::code::HOST_UNREACHABLE => out.write_str("host unreachable"),
            icmpv4::code::PROTOCOL_UNREACHABLE => out.write_str("protocol unreachable"),
            icmpv4::code::PORT_UNREACHABLE => out.write_str("port unreachable"),
            icmpv4::code::FRAGMENTATION_NEEDED => field(out, "fragmentation needed mtu=", next_hop_mtu.into()),
            icmpv4::code::ADMINISTRATIVELY_PROHIBITED => out.write_str("administratively prohibited"),
            other => field(out, "unreachable code=", other.into()),
        },
        Icmpv4Message::TimeExceeded { code, .. } => field(out, "time exceeded code=", code.into()),
        Icmpv4Message::ParameterProblem { pointer, .. } => field(out, "parameter problem at byte ", pointer.into()),
        Icmpv4Message::Redirect { gateway, .. } => write!(out, "redirect to {gateway}"),
        Icmpv4Message::Other { kind, code } => other(out, kind, code),
    }
}

fn icmpv6(message: &Icmpv6Message<'_>, out: &mut dyn Write) -> fmt::Result {
    out.write_str("ICMPv6 ")?;
    match *message {
        Icmpv6Message::EchoRequest { identifier, sequence, .. } => echo(out, "request", identifier, sequence),
        Icmpv6Message::EchoReply { identifier, sequence, .. } => echo(out, "reply", identifier, sequence),
        Icmpv6Message::DestinationUnreachable { code, .. } => match code {
            icmpv6::code::NO_ROUTE => out.write_str("no route"),
            icmpv6::code::ADMINISTRATIVELY_PROHIBITED => out.write_str("administratively prohibited"),
            icmpv6::code::ADDRESS_UNREACHABLE => out.write_str("address unreachable"),
            icmpv6::code::PORT_UNREACHABLE => out.write_str("port unreachable"),
            other => field(out, "unreachable code=", other.into()),
        },
        Icmpv6Message::PacketTooBig { mtu, .. } => field(out, "packet too big mtu=", mtu),
        Icmpv6Message::TimeExceeded { code, .. } => field(out, "time exceeded code=", code.into()),
        Icmpv6Message::ParameterProblem { pointer, .. } => field(out, "parameter problem at byte ", pointer),
        Icmpv6Message::RouterSolicitation { .. } => out.write_str("router solicitation"),
        Icmpv6Message::RouterAdvertisement { advertisement, .. } => {
            field(out, "router advertisement lifetime=", advertisement.router_lifetime.into())
        }
        Icmpv6Message::NeighborSolicitation { target, .. } => {
            write!(out, "neighbor solicitation who-has {target}")
        }
        Icmpv6Message::NeighborAdvertisement { target, options, .. } => {
            write!(out, "neighbor advertisement {target}")?;
            match super::NdpOptions::new(options).target_link_layer_address() {
                Some(mac) => write!(out, " is-at {mac}"),
                None => Ok(()),
            }
        }
        Icmpv6Message::Redirect { .. } => out.write_str("redirect"),
        // RFC 2710 §3 and RFC 3810 §5.2: what every host sends or hears in its first minute.
        Icmpv6Message::Other { kind: 130, .. } => out.write_str("multicast listener query"),
        Icmpv6Message::Other { kind: 131 | 143, .. } => out.write_str("multicast listener report"),
        Icmpv6Message::Other { kind: 132, .. } => out.write_str("multicast listener done"),
        Icmpv6Message::Other { kind, code } => other(out, kind, code),
    }
}

#[inline(never)]
fn echo(out: &mut dyn Write, kind: &str, identifier: u16, sequence: u16) -> fmt::Result {
    write!(out, "echo {kind} id={identifier} seq={sequence}")
}

#[inline(never)]
fn other(out: &mut dyn Write, kind: u8, code: u8) -> fmt::Result {
    write!(out, "type={kind} code={code}")
}

#[cfg(test)]
mod tests {
    use super::super::{MacAddr, samples};
    use super::*;
    use core::net::Ipv4Addr;
    use std::string::String;
    use std::vec::Vec;

    fn line(frame: &[u8]) -> String {
        let mut text = String::new();
        summarize(frame, &mut text).unwrap();
        text
    }

    #[test]
    fn a_packet_without_a_frame_reads_the_same() {
        let frame = udp_frame(53, 53, &[]);
        let mut text = String::new();
        summarize_packet(&frame[14..], &mut text).unwrap();
        assert_eq!(text, line(&frame));
        let ipv6 = [&[0x60, 0, 0, 0, 0, 0, protocol::NO_NEXT_HEADER, 64][..], &[0; 32]].concat();
        for (packet, start) in [(&ipv6[..], ":: > ::"), (&ipv6[..20], "IPv6: "), (&[], "IPv4: ")] {
            text.clear();
            summarize_packet(packet, &mut text).unwrap();
            assert!(text.starts_with(start), "{text}");
        }
    }

    /// An IPv4 datagram from 10.0.2.15 to 10.0.2.2 in a frame.
    fn udp_frame(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = std::vec![0; 42 + payload.len()];
        EthernetHeader { destination: MacAddr::BROADCAST, source: MacAddr::default(), ethertype: ethertype::IPV4 }
            .emit(&mut frame);
        Ipv4Header {
            dscp_ecn: 0,
            total_len: 28 + payload.len() as u16,
            identification: 1,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: protocol::UDP,
            source: Ipv4Addr::new(10, 0, 2, 15),
            destination: Ipv4Addr::new(10, 0, 2, 2),
            header_len: 20,
        }
        .emit(&mut frame[14..]);
        let length = 8 + payload.len() as u16;
        UdpHeader { source_port, destination_port, length, checksum: 0 }.emit(&mut frame[34..]);
        frame[42..].copy_from_slice(payload);
        frame
    }

    #[test]
    fn recorded_frames_read_as_people_say_them() {
        for (frame, expected) in [
            (&samples::ARP_REQUEST[..], "ARP who-has 10.0.2.15 tell 10.0.2.2"),
            (&samples::ARP_REPLY, "ARP reply 10.0.2.15 is-at 02:00:00:00:00:0b"),
            (&samples::ECHO_REQUEST, "10.0.2.2 > 10.0.2.15 ICMP echo request id=7 seq=3"),
            (&samples::PORT_UNREACHABLE, "10.0.2.15 > 10.0.2.2 ICMP port unreachable"),
            (&samples::UDP, "10.0.2.2:57030 > 10.0.2.15:9 UDP len=4"),
            (&samples::UDP_V6, "[fd00::2]:56936 > [fd00::15]:9 UDP len=4"),
            (
                &samples::NEIGHBOR_SOLICITATION,
                "fd00::2 > ff02::1:ff00:15 ICMPv6 neighbor solicitation who-has fd00::15",
            ),
            (
                &samples::NEIGHBOR_ADVERTISEMENT,
                "fd00::15 > fd00::2 ICMPv6 neighbor advertisement fd00::15 is-at 02:00:00:00:00:0b",
            ),
            (
                &samples::TCP_SYN,
                "10.0.2.2:54954 > 10.0.2.15:8080 TCP SYN seq=2580501047 win=64240 mss 1460 wscale 10 sackOK",
            ),
            (
                &samples::TCP_DATA,
                "10.0.2.2:54954 > 10.0.2.15:8080 TCP PSH|ACK seq=2580501048 ack=3665111511 win=63 len=3",
            ),
            (&samples::MLD_REPORT, ":: > ff02::16 ICMPv6 multicast listener report"),
        ] {
            assert_eq!(line(frame), expected);
        }
    }

    #[test]
    fn dns_and_dhcp_are_named() {
        let mut query = Vec::from(*b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00");
        query.extend_from_slice(b"\x04shop\x04test\x00\x00\x01\x00\x01");
        assert_eq!(line(&udp_frame(40000, 53, &query)), "10.0.2.15:40000 > 10.0.2.2:53 DNS query A shop.test");
        query[2..4].copy_from_slice(&[0x81, 0x83]);
        assert_eq!(
            line(&udp_frame(53, 40000, &query)),
            "10.0.2.15:53 > 10.0.2.2:40000 DNS answer A shop.test NXDOMAIN"
        );

        let mut discover = std::vec![0; 236];
        discover[..3].copy_from_slice(&[1, 1, 6]);
        discover.extend_from_slice(&[0x63, 0x82, 0x53, 0x63, 53, 1, 1, 50, 4, 10, 0, 2, 15, 255]);
        assert_eq!(line(&udp_frame(68, 67, &discover)), "10.0.2.15:68 > 10.0.2.2:67 DHCP discover 10.0.2.15");
    }

    #[test]
    fn tags_are_opened_once_and_what_is_unknown_is_said_to_be() {
        let header = &samples::ARP_REQUEST[..12];
        let tagged = [header, &[0x81, 0, 0x20, 5], &samples::ARP_REQUEST[12..]].concat();
        assert_eq!(line(&tagged), "VLAN 5 ARP who-has 10.0.2.15 tell 10.0.2.2");
        let twice = [header, &[0x81, 0, 0, 5, 0x81, 0, 0, 6, 8, 0]].concat();
        assert_eq!(line(&twice), "VLAN 5 VLAN again, 4 bytes");
        let unknown = [header, &[0x88, 0xcc, 1, 2]].concat();
        assert_eq!(line(&unknown), "02:00:00:00:00:0a > ff:ff:ff:ff:ff:ff ethertype 0x88cc len=2");
    }

    #[test]
    fn any_bytes_give_a_line() {
        for frame in samples::ALL {
            for len in 0..=frame.len() {
                assert!(!line(&frame[..len]).is_empty());
            }
            let mut changed = frame.to_vec();
            for at in 0..frame.len() {
                for value in (0..=u8::MAX).step_by(5) {
                    changed[at] = value;
                    let text = line(&changed);
                    assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
                }
                changed[at] = frame[at];
            }
        }
    }
}
