//! The messages of the DHCP client: which fields and options each has, and where it goes (RFC 2131 §4.4.1, table 5).

use core::net::{Ipv4Addr, SocketAddrV4};

use super::{DhcpClient, DhcpLease, DhcpTransmit, Phase, Stage};
use crate::time::Instant;
use crate::wire::dhcp::{FLAG_BROADCAST, Header, MessageType, Op, SERVER_PORT, Writer, option};
use crate::wire::ethernet::MacAddr;

/// The longest message that a client takes, IP and UDP headers counted (option 57): what fits every Ethernet.
const MAX_MESSAGE_SIZE: u16 = 1500;
/// Octets of a client identifier of RFC 4361: type, IAID and a DUID of the link-layer address.
const CLIENT_ID_LEN: usize = 15;
/// Hardware type of Ethernet, in BOOTP and in DUIDs.
const ETHERNET: u8 = 1;

/// A message that waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    Discover,
    /// What kind of REQUEST it is, the phase tells.
    Request,
    Decline {
        address: Ipv4Addr,
        server: Ipv4Addr,
    },
    Release {
        address: Ipv4Addr,
        server: Ipv4Addr,
    },
    Inform,
}

/// What every message asks for. RFC 3442: "the Classless Static Routes option code MUST appear in the parameter request list
/// prior to both the Router option code and the Static Routes option code."
const WANTED: [u8; 9] = [
    option::SUBNET_MASK,
    option::CLASSLESS_ROUTES,
    option::ROUTER,
    option::DNS_SERVERS,
    option::HOST_NAME,
    option::DOMAIN_NAME,
    option::INTERFACE_MTU,
    option::NTP_SERVERS,
    option::IPV6_ONLY_PREFERRED,
];

/// RFC 4361 §6.1: type 255, an IAID, a DUID: here that of RFC 8415 §11.4, made of the link-layer address, so that the same card
/// is the same client after a restart. The DHCPv6 client's DUID is the same.
fn client_id(mac: MacAddr) -> [u8; CLIENT_ID_LEN] {
    let MacAddr([a, b, c, d, e, f]) = mac;
    [255, c, d, e, f, 0, 3, 0, ETHERNET, a, b, c, d, e, f]
}

impl DhcpClient {
    pub(super) fn write(&self, now: Instant, message: Outgoing, out: &mut [u8]) -> Option<DhcpTransmit> {
        let mut header = Header {
            op: Op::Request,
            htype: ETHERNET,
            hlen: 6,
            xid: self.xid,
            secs: self.secs(now),
            flags: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: [0; 16],
        };
        header.chaddr[..6].copy_from_slice(&self.config.mac.0);
        // RFC 2131 §4.4.1, table 5: `ciaddr` is the address that this host has and answers ARP for.
        let mut server = Ipv4Addr::BROADCAST;
        let kind = match message {
            Outgoing::Discover => MessageType::Discover,
            Outgoing::Request => {
                if let Phase::Leased(Stage::Renewing | Stage::Rebinding, lease) = &self.phase {
                    header.ciaddr = lease.address;
                    if matches!(self.phase, Phase::Leased(Stage::Renewing, _)) {
                        server = lease.server;
                    }
                }
                MessageType::Request
            }
            Outgoing::Decline { .. } => MessageType::Decline,
            Outgoing::Release { address, server: granter } => {
                header.ciaddr = address;
                server = granter;
                MessageType::Release
            }
            Outgoing::Inform => {
                if let Phase::Informing(address) = self.phase {
                    header.ciaddr = address;
                }
                MessageType::Inform
            }
        };
        // RFC 2131 §4.1: "A client that cannot receive unicast IP datagrams until its protocol software has been configured with
        // an IP address SHOULD set the BROADCAST bit".
        if header.ciaddr.is_unspecified() && matches!(message, Outgoing::Discover | Outgoing::Request) {
            header.flags = FLAG_BROADCAST;
        }
        let mut writer = Writer::new(out, &header, kind)?;
        writer.option(option::CLIENT_ID, &client_id(self.config.mac));
        self.write_addresses(message, &mut writer);
        // Table 5: DECLINE and RELEASE MUST NOT have what the others ask for.
        if !matches!(message, Outgoing::Decline { .. } | Outgoing::Release { .. }) {
            self.write_wishes(message, &mut writer);
        }
        let source = header.ciaddr;
        Some(DhcpTransmit { source, destination: SocketAddrV4::new(server, SERVER_PORT), len: writer.finish() })
    }

    /// The address asked for (option 50) and the server meant (option 54): RFC 2131 §4.3.2 and table 5.
    fn write_addresses(&self, message: Outgoing, writer: &mut Writer<'_>) {
        let (requested, server) = match (message, &self.phase) {
            (Outgoing::Discover, _) => (self.former, None),
            (Outgoing::Request, Phase::Requesting(DhcpLease { address, server, .. })) => {
                (Some(*address), Some(*server))
            }
            (Outgoing::Request, Phase::Rebooting(address)) => (Some(*address), None),
            (Outgoing::Decline { address, server }, _) => (Some(address), Some(server)),
            (Outgoing::Release { server, .. }, _) => (None, Some(server)),
            _ => (None, None),
        };
        if let Some(address) = requested {
            writer.option(option::REQUESTED_ADDRESS, &address.octets());
        }
        if let Some(server) = server {
            writer.option(option::SERVER_ID, &server.octets());
        }
    }

    fn write_wishes(&self, message: Outgoing, writer: &mut Writer<'_>) {
        // RFC 4039 §3.1: in DISCOVER only.
        if self.config.rapid_commit && message == Outgoing::Discover {
            writer.option(option::RAPID_COMMIT, &[]);
        }
        writer.option(option::MAX_MESSAGE_SIZE, &MAX_MESSAGE_SIZE.to_be_bytes());
        if !self.config.hostname.is_empty() {
            writer.option(option::HOST_NAME, self.config.hostname.as_bytes());
        }
        let wanted = if self.config.ipv6_only { &WANTED[..] } else { &WANTED[..WANTED.len() - 1] };
        writer.option(option::PARAMETER_LIST, wanted);
    }

    /// Seconds since the client began to acquire a lease, or to renew it.
    fn secs(&self, now: Instant) -> u16 {
        // RFC 2131 §4.4.1: a REQUEST for an offer "MUST use the same value in the DHCP message header's 'secs' field" as the
        // DISCOVER had, so that relays treat it alike.
        let until = if matches!(self.phase, Phase::Requesting(_)) { self.discovered } else { now };
        u16::try_from(until.since(self.begun).as_secs()).unwrap_or(u16::MAX)
    }
}
