//! A socket's cached way to its peer: interface, link and IP headers ready to copy, partial checksums.

use core::net::IpAddr;

use crate::checksum::{self, Part, Sum};
use crate::config::TcpConfig;
use crate::event::InterfaceId;
use crate::stack::flow::Flow;
use crate::wire::ethernet::ethertype;
use crate::wire::{Ecn, EthernetHeader, Ipv4Header, Ipv6Header, MacAddr, ethernet, ipv4, ipv6, protocol, tcp};

const MAX_HEADER: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN;

/// Everything below TCP that does not change from one segment of a connection to the next. Valid while the stack's
/// generation number is the one that it was made under.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    generation: u32,
    pub(crate) interface: InterfaceId,
    header: [u8; MAX_HEADER],
    /// Length of the Ethernet and IP headers.
    header_len: u8,
    /// Sum of the IPv4 header with a total length and checksum of zero.
    ip_sum: Part,
    /// Sum of the pseudo-header with a length of zero.
    pseudo_sum: Part,
}

/// What a path leads through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop {
    pub(crate) interface: InterfaceId,
    pub(crate) source_mac: MacAddr,
    pub(crate) destination_mac: MacAddr,
    pub(crate) marks: Marks,
}

/// What a socket's settings ask of IP headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Whether routers must not fragment IPv4 packets.
    pub(crate) dont_fragment: bool,
    pub(crate) hop_limit: u8,
    /// The DSCP in its place, the two ECN bits clear.
    pub(crate) traffic_class: u8,
}

impl Marks {
    /// With the stack's hop limit where the settings name none.
    pub(crate) fn new(config: &TcpConfig, hop_limit: u8) -> Self {
        Marks {
            dont_fragment: config.path_mtu_discovery,
            hop_limit: if config.hop_limit == 0 { hop_limit } else { config.hop_limit },
            // The two lowest bits are not the user's (RFC 3168 §5).
            traffic_class: config.traffic_class & !3,
        }
    }
}

/// The path that was made last: the next new connection often goes to the same host.
#[derive(Clone, Debug)]
pub(crate) struct LastPath {
    flow: Flow,
    marks: Marks,
    path: Path,
}

impl LastPath {
    pub(crate) fn new(flow: &Flow, marks: Marks, path: &Path) -> Self {
        LastPath { flow: *flow, marks, path: path.clone() }
    }

    /// Whether it is valid and leads to a host.
    pub(crate) fn leads_to(&self, generation: u32, host: IpAddr) -> bool {
        self.path.is_valid(generation) && self.flow.remote == host
    }

    /// The path, if it is one of this flow and valid.
    pub(crate) fn find(&self, generation: u32, flow: &Flow, marks: Marks) -> Option<&Path> {
        let ends = |flow: &Flow| (flow.remote, flow.local, flow.link);
        let is_same = self.path.is_valid(generation) && self.marks == marks && ends(&self.flow) == ends(flow);
        is_same.then_some(&self.path)
    }
}

impl Path {
    /// No path yet.
    pub(crate) const UNKNOWN: Path = Path {
        generation: 0,
        interface: InterfaceId(0),
        header: [0; MAX_HEADER],
        header_len: 0,
        ip_sum: Part::ZERO,
        pseudo_sum: Part::ZERO,
    };

    /// No path yet, but the interface is known.
    pub(crate) fn through(interface: InterfaceId) -> Self {
        Path { interface, ..Path::UNKNOWN }
    }

    /// The path is to be found anew.
    pub(crate) fn forget(&mut self) {
        self.generation = Path::UNKNOWN.generation;
    }

    #[inline]
    pub(crate) fn is_valid(&self, generation: u32) -> bool {
        self.generation == generation
    }

    /// The path of TCP segments from `local` to `remote`, which are of one family.
    pub(crate) fn new(generation: u32, hop: &Hop, local: IpAddr, remote: IpAddr) -> Self {
        let mut path = Path { generation, interface: hop.interface, ..Path::UNKNOWN };
        let ip = ethernet::HEADER_LEN;
        let ethertype = match (local, remote) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = Ipv4Header {
                    dscp_ecn: hop.marks.traffic_class,
                    total_len: 0,
                    // RFC 6864 §4.1: the ID of a datagram that is never fragmented means nothing. Others get one each.
                    identification: 0,
                    dont_fragment: hop.marks.dont_fragment,
                    more_fragments: false,
                    fragment_offset: 0,
                    ttl: hop.marks.hop_limit,
                    protocol: protocol::TCP,
                    source,
                    destination,
                    header_len: ipv4::HEADER_LEN,
                };
                header.emit(&mut path.header[ip..]);
                path.header[ip + 10..ip + 12].fill(0);
                path.header_len = (ip + ipv4::HEADER_LEN) as u8;
                path.ip_sum = checksum::sum(&path.header[ip..ip + ipv4::HEADER_LEN]).into();
                ethertype::IPV4
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    traffic_class: hop.marks.traffic_class,
                    flow_label: 0,
                    payload_len: 0,
                    next_header: protocol::TCP,
                    hop_limit: hop.marks.hop_limit,
                    source,
                    destination,
                };
                header.emit(&mut path.header[ip..]);
                path.header_len = (ip + ipv6::HEADER_LEN) as u8;
                ethertype::IPV6
            }
            _ => {
                debug_assert!(false, "a flow is of one family");
                return Path::UNKNOWN;
            }
        };
        let link = EthernetHeader { destination: hop.destination_mac, source: hop.source_mac, ethertype };
        link.emit(&mut path.header);
        path.pseudo_sum = checksum::pseudo_header(local, remote, protocol::TCP, 0).into();
        path
    }

    /// Names the flow in the headers of an IPv6 path: 20 bits (RFC 6437).
    pub(crate) fn set_flow_label(&mut self, label: u32) {
        let ip = ethernet::HEADER_LEN;
        let [_, high, middle, low] = label.to_be_bytes();
        self.header[ip + 1] = self.header[ip + 1] & 0xf0 | high & 0x0f;
        self.header[ip + 2..ip + 4].copy_from_slice(&[middle, low]);
    }

    /// Gives a finished IPv4 frame an identification of its own (RFC 6864 §4.3), if it may be fragmented.
    #[cold]
    pub(crate) fn identify(&self, frame: &mut [u8], identification: u16) {
        let ip = ethernet::HEADER_LEN;
        if self.header_len() == ip + ipv4::HEADER_LEN {
            frame[ip + 4..ip + 6].copy_from_slice(&identification.to_be_bytes());
            frame[ip + 10..ip + 12].fill(0);
            let sum = checksum::sum(&frame[ip..self.header_len()]).finish();
            frame[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
        }
    }

    /// The sum of the pseudo-header of a segment of `len` bytes, which is the same in both directions; none before the path is known.
    #[inline]
    pub(crate) fn pseudo_sum(&self, len: usize) -> Option<Sum> {
        let mut sum = Sum::from(self.pseudo_sum);
        sum.add_u16(len as u16);
        (self.header_len > 0).then_some(sum)
    }

    /// Length of the headers that [`finish`](Self::finish) writes before the segment.
    #[inline]
    pub(crate) fn header_len(&self) -> usize {
        usize::from(self.header_len)
    }

    /// Writes the headers around a segment of `len` bytes that lies at [`header_len`](Self::header_len) in `frame` and sums to `sum`,
    /// with `ecn` in the IP header; returns the length of the frame.
    #[inline]
    pub(crate) fn finish(&self, frame: &mut [u8], len: usize, mut sum: Sum, ecn: Ecn) -> usize {
        let ip = ethernet::HEADER_LEN;
        // Copies of constant length are a few moves, not a call.
        if self.header_len() == ip + ipv4::HEADER_LEN {
            const LEN: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN;
            frame[..LEN].copy_from_slice(&self.header[..LEN]);
            let total = (ipv4::HEADER_LEN + len) as u16;
            frame[ip + 2..ip + 4].copy_from_slice(&total.to_be_bytes());
            let mut ip_sum = Sum::from(self.ip_sum);
            ip_sum.add_u16(total);
            frame[ip + 1] = self.header[ip + 1] | ecn as u8;
            ip_sum.add_u16(ecn as u16);
            frame[ip + 10..ip + 12].copy_from_slice(&ip_sum.finish().to_be_bytes());
        } else {
            frame[..MAX_HEADER].copy_from_slice(&self.header);
            // The traffic class begins in the middle of the first byte.
            frame[ip + 1] = self.header[ip + 1] | (ecn as u8) << 4;
            frame[ip + 4..ip + 6].copy_from_slice(&(len as u16).to_be_bytes());
        }
        sum.add(self.pseudo_sum.into());
        sum.add_u16(len as u16);
        let at = self.header_len() + tcp::CHECKSUM_OFFSET;
        frame[at..at + 2].copy_from_slice(&sum.finish().to_be_bytes());
        self.header_len() + len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ecn_field_is_in_the_header_and_in_its_checksum() {
        let hop = Hop {
            interface: InterfaceId(0),
            source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            destination_mac: MacAddr([2, 0, 0, 0, 0, 2]),
            marks: Marks { dont_fragment: true, hop_limit: 64, traffic_class: 0 },
        };
        let ip = ethernet::HEADER_LEN;
        for ecn in [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce] {
            let mut frame = [0; 100];
            let path = Path::new(1, &hop, [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
            let len = path.finish(&mut frame, tcp::HEADER_LEN, Sum::new(), ecn);
            let (header, _) = Ipv4Header::parse(&frame[ip..len]).expect("a checksum that fits");
            assert_eq!(Ecn::of_traffic_class(header.dscp_ecn), ecn);
            let (a, b) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
            let mut path = Path::new(1, &hop, a, b);
            path.set_flow_label(0xa_bcde);
            let len = path.finish(&mut frame, tcp::HEADER_LEN, Sum::new(), ecn);
            let (header, _) = Ipv6Header::parse(&frame[ip..len]).unwrap();
            assert_eq!((Ecn::of_traffic_class(header.traffic_class), header.flow_label), (ecn, 0xa_bcde));
        }
    }
}
