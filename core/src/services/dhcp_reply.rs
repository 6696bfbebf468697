//! The answers of the DHCP server: which fields and options they have, how long they may be and where they go.

use core::net::{Ipv4Addr, SocketAddrV4};

use super::Text;
use super::dhcp_config::{MAX_DNS_SERVERS, MIN_LEASE};
use super::dhcp_leases::Lease;
use super::dhcp_server::{DhcpServer, Request};
use crate::wire::dhcp::{CLIENT_PORT, FLAG_BROADCAST, Header, MessageType, Op, SERVER_PORT, Writer, option};
use crate::wire::ethernet::MacAddr;

/// A message that every client takes without saying so: 576 octets of IP datagram (RFC 2131 §2) less IP and UDP headers.
const DEFAULT_MESSAGE_LEN: usize = 576 - IP_UDP_LEN;
const IP_UDP_LEN: usize = 28;
/// The lease time that means for ever (RFC 2131 §3.3).
pub(super) const INFINITE_SECS: u32 = u32::MAX;

/// Where an answer goes. It is sent from port 67 of the server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhcpReply {
    /// Address and port: the client, a relay, or 255.255.255.255.
    pub destination: SocketAddrV4,
    /// The hardware address to send to without asking by ARP, since the client does not answer yet (RFC 2131 §4.1).
    /// `None`: find the next hop as for any datagram.
    pub link_destination: Option<MacAddr>,
    /// Octets of the message in the caller's buffer.
    pub len: usize,
}

impl DhcpServer<'_> {
    /// What the client asks for, within what the configuration allows, in seconds.
    pub(super) fn lease_secs(&self, request: &Request<'_>) -> u32 {
        let longest = u32::try_from(self.config.lease_time.as_secs()).unwrap_or(INFINITE_SECS);
        match request.message.u32_option(option::LEASE_TIME) {
            Some(wanted) => wanted.clamp(MIN_LEASE.as_secs() as u32, longest),
            None => longest,
        }
    }

    /// OFFER or ACK for a lease.
    pub(super) fn write_lease(
        &self,
        request: &Request<'_>,
        kind: MessageType,
        lease: &Lease,
        out: &mut [u8],
    ) -> Option<DhcpReply> {
        let message = &request.message;
        // RFC 2131 §4.3.1, table 3. A `ciaddr` that is not the leased address, in SELECTING, means nothing.
        let has_address = kind == MessageType::Ack && message.ciaddr() == lease.address;
        let ciaddr = if has_address { lease.address } else { Ipv4Addr::UNSPECIFIED };
        let header = Header { ciaddr, yiaddr: lease.address, ..request.reply_header() };
        let mut writer = Writer::new(request.room(out), &header, kind)?;
        let secs = self.lease_secs(request);
        writer.option(option::SERVER_ID, &self.config.server.octets());
        writer.option(option::LEASE_TIME, &secs.to_be_bytes());
        if secs != INFINITE_SECS {
            // RFC 2131 §4.4.5: T1 is half of the lease, T2 seven eighths.
            writer.option(option::RENEWAL_TIME, &(secs / 2).to_be_bytes());
            writer.option(option::REBINDING_TIME, &(secs - secs / 8).to_be_bytes());
        }
        request.echo_client_id(&mut writer);
        let hostname = if lease.reserved_for.is_some() { lease.hostname } else { Text::EMPTY };
        self.write_options(request, hostname.as_str(), &mut writer);
        let len = writer.finish();

        // RFC 2131 §4.1.
        let (destination, link_destination) = if !message.giaddr().is_unspecified() {
            (SocketAddrV4::new(message.giaddr(), SERVER_PORT), None)
        } else if has_address {
            (SocketAddrV4::new(lease.address, CLIENT_PORT), None)
        } else if message.broadcast() {
            (SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT), None)
        } else {
            (SocketAddrV4::new(lease.address, CLIENT_PORT), Some(request.mac))
        };
        Some(DhcpReply { destination, link_destination, len })
    }

    /// ACK to an INFORM: no address and no times (RFC 2131 §4.3.5), to `ciaddr`.
    pub(super) fn write_parameters(&self, request: &Request<'_>, out: &mut [u8]) -> Option<DhcpReply> {
        let ciaddr = request.message.ciaddr();
        let header = Header { ciaddr, ..request.reply_header() };
        let mut writer = Writer::new(request.room(out), &header, MessageType::Ack)?;
        writer.option(option::SERVER_ID, &self.config.server.octets());
        request.echo_client_id(&mut writer);
        let reserved = self.leases.entries().iter().find(|lease| lease.reserved_for == Some(request.mac));
        self.write_options(request, reserved.map_or("", |lease| lease.hostname.as_str()), &mut writer);
        let destination = SocketAddrV4::new(ciaddr, CLIENT_PORT);
        Some(DhcpReply { destination, link_destination: None, len: writer.finish() })
    }

    pub(super) fn write_nak(&self, request: &Request<'_>, out: &mut [u8]) -> Option<DhcpReply> {
        let giaddr = request.message.giaddr();
        let mut header = request.reply_header();
        let destination = if giaddr.is_unspecified() {
            // RFC 2131 §4.1: "In all cases, when 'giaddr' is zero, the server broadcasts any DHCPNAK messages".
            SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT)
        } else {
            // RFC 2131 §4.3.2: the broadcast bit makes the relay broadcast, since the client may have a wrong address.
            header.flags = FLAG_BROADCAST;
            SocketAddrV4::new(giaddr, SERVER_PORT)
        };
        let mut writer = Writer::new(request.room(out), &header, MessageType::Nak)?;
        writer.option(option::SERVER_ID, &self.config.server.octets());
        request.echo_client_id(&mut writer);
        writer.option(option::MESSAGE, b"address not available");
        Some(DhcpReply { destination, link_destination: None, len: writer.finish() })
    }

    /// The network's parameters: those that the client lists, in its order, or all if it has no list. The mask goes first
    /// (RFC 2132 §3.3), and the MTU goes even if unlisted: a host that doesn't know it loses its large packets.
    fn write_options(&self, request: &Request<'_>, hostname: &str, writer: &mut Writer<'_>) {
        const ALL: [u8; 6] = [
            option::ROUTER,
            option::DNS_SERVERS,
            option::DOMAIN_NAME,
            option::HOST_NAME,
            option::BROADCAST_ADDRESS,
            option::INTERFACE_MTU,
        ];
        let lists = request.message.options().filter(|(code, _)| *code == option::PARAMETER_LIST);
        let listed = lists.clone().flat_map(|(_, codes)| codes).copied();
        let rest: &[u8] = if lists.count() == 0 { &ALL } else { &[option::INTERFACE_MTU] };
        let mut written = 0u32;
        for code in core::iter::once(option::SUBNET_MASK).chain(listed).chain(rest.iter().copied()) {
            // Every code that the server knows is below 32; each is written once however often it is listed.
            let bit = 1u32.checked_shl(code.into()).unwrap_or(0);
            if written & bit == 0 {
                written |= bit;
                self.write_option(code, hostname, writer);
            }
        }
    }

    /// Writes an option if the configuration has a value for it and the answer has room.
    fn write_option(&self, code: u8, hostname: &str, writer: &mut Writer<'_>) {
        let config = &self.config;
        match code {
            option::SUBNET_MASK => _ = writer.option(code, &config.mask().octets()),
            option::BROADCAST_ADDRESS => _ = writer.option(code, &config.broadcast().octets()),
            option::ROUTER => _ = config.router.map(|router| writer.option(code, &router.octets())),
            option::INTERFACE_MTU => _ = config.mtu.map(|mtu| writer.option(code, &mtu.to_be_bytes())),
            option::DOMAIN_NAME if !config.domain.is_empty() => {
                writer.option(code, config.domain.as_str().as_bytes());
            }
            option::HOST_NAME if !hostname.is_empty() => _ = writer.option(code, hostname.as_bytes()),
            option::DNS_SERVERS => {
                let mut octets = [0; 4 * MAX_DNS_SERVERS];
                let mut len = 0;
                for server in config.dns_servers.iter().flatten() {
                    octets[len..len + 4].copy_from_slice(&server.octets());
                    len += 4;
                }
                if len > 0 {
                    writer.option(code, &octets[..len]);
                }
            }
            _ => {}
        }
    }
}

impl Request<'_> {
    /// The fixed part that every answer has (RFC 2131 §4.3.1, table 3).
    fn reply_header(&self) -> Header {
        let (htype, hardware) = self.message.hardware();
        Header {
            op: Op::Reply,
            htype,
            hlen: hardware.len() as u8,
            xid: self.message.xid(),
            secs: 0,
            flags: self.message.flags() & FLAG_BROADCAST,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: self.message.giaddr(),
            chaddr: self.message.chaddr(),
        }
    }

    /// As much of `out` as the client takes. Option 57 counts the IP and UDP headers and is at least 576.
    fn room<'o>(&self, out: &'o mut [u8]) -> &'o mut [u8] {
        let wanted = self.message.u16_option(option::MAX_MESSAGE_SIZE).map_or(0, usize::from);
        let limit = wanted.saturating_sub(IP_UDP_LEN).max(DEFAULT_MESSAGE_LEN).min(out.len());
        &mut out[..limit]
    }

    /// RFC 6842 §3: the server returns the identifier that the client sent.
    fn echo_client_id(&self, writer: &mut Writer<'_>) {
        if let Some(identifier) = self.message.option(option::CLIENT_ID) {
            writer.option(option::CLIENT_ID, identifier);
        }
    }
}
