//! The answers of the DHCP server: which fields and options they have, how long they may be and where they go.

use core::net::{Ipv4Addr, SocketAddrV4};

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
        let mut writer =
            self.begin(kind, Header { ciaddr, yiaddr: lease.address, ..request.reply_header() }, request, out)?;
        let secs = self.lease_secs(request);
        writer.option(option::LEASE_TIME, &secs.to_be_bytes());
        if secs != INFINITE_SECS {
            // RFC 2131 §4.4.5: T1 is half of the lease, T2 seven eighths.
            writer.option(option::RENEWAL_TIME, &(secs / 2).to_be_bytes());
            writer.option(option::REBINDING_TIME, &(secs - secs / 8).to_be_bytes());
        }
        if kind == MessageType::Ack && message.kind() == MessageType::Discover {
            writer.option(option::RAPID_COMMIT, &[]);
        }
        let hostname: &[u8] = if lease.reserved_for.is_some() { lease.hostname.as_bytes() } else { &[] };
        self.write_options(request, hostname, &mut writer);

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
        Some(DhcpReply { destination, link_destination, len: finish(request, writer) })
    }

    /// ACK to an INFORM: no address and no times (RFC 2131 §4.3.5), to `ciaddr`.
    pub(super) fn write_parameters(&self, request: &Request<'_>, out: &mut [u8]) -> Option<DhcpReply> {
        let ciaddr = request.message.ciaddr();
        let mut writer = self.begin(MessageType::Ack, Header { ciaddr, ..request.reply_header() }, request, out)?;
        let reserved = self.leases.entries().iter().find(|lease| lease.reserved_for == Some(request.mac));
        self.write_options(request, reserved.map_or(&[], |lease| lease.hostname.as_bytes()), &mut writer);
        let destination = SocketAddrV4::new(ciaddr, CLIENT_PORT);
        Some(DhcpReply { destination, link_destination: None, len: finish(request, writer) })
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
        let mut writer = self.begin(MessageType::Nak, header, request, out)?;
        writer.option(option::MESSAGE, b"address not available");
        Some(DhcpReply { destination, link_destination: None, len: finish(request, writer) })
    }

    /// Begins an answer of as much of `out` as the client takes with what every answer says: from which server it is, and
    /// to which client.
    #[inline(never)] // Once, and not for each kind of answer.
    fn begin<'o>(
        &self,
        kind: MessageType,
        header: Header,
        request: &Request<'_>,
        out: &'o mut [u8],
    ) -> Option<Writer<'o>> {
        // Option 57 counts the IP and UDP headers and is at least 576.
        let wanted = request.message.u16_option(option::MAX_MESSAGE_SIZE).map_or(0, usize::from);
        let limit = wanted.saturating_sub(IP_UDP_LEN).max(DEFAULT_MESSAGE_LEN).min(out.len());
        let mut writer = Writer::new(&mut out[..limit], &header, kind)?;
        writer.option(option::SERVER_ID, &self.config.server.octets());
        // RFC 6842 §3: the server returns the identifier that the client sent.
        if let Some(identifier) = request.message.option(option::CLIENT_ID) {
            writer.option(option::CLIENT_ID, identifier);
        }
        Some(writer)
    }

    /// The network's parameters: those that the client lists, in its order, or all if it has no list. The mask goes first
    /// (RFC 2132 §3.3), and the MTU goes even if unlisted: a host that doesn't know it loses its large packets.
    fn write_options(&self, request: &Request<'_>, hostname: &[u8], writer: &mut Writer<'_>) {
        const ALL: [u8; 5] =
            [option::ROUTER, option::DNS_SERVERS, option::DOMAIN_NAME, option::HOST_NAME, option::BROADCAST_ADDRESS];
        // Each is written once however often it is listed.
        let mut written = [0u32; 8];
        let mut write = |codes: &[u8]| {
            for &code in codes {
                let (word, bit) = (usize::from(code / 32), 1 << (code % 32));
                if written[word] & bit == 0 {
                    written[word] |= bit;
                    self.write_option(code, hostname, writer);
                }
            }
        };
        write(&[option::SUBNET_MASK]);
        let mut listed = false;
        for (code, codes) in request.message.options() {
            if code == option::PARAMETER_LIST {
                write(codes);
                listed = true;
            }
        }
        if !listed {
            write(&ALL);
            self.config.options.iter().for_each(|custom| write(&[custom.code]));
        }
        write(&[option::INTERFACE_MTU]);
    }

    /// Writes an option if the configuration has a value for it and the answer has room.
    fn write_option(&self, code: u8, hostname: &[u8], writer: &mut Writer<'_>) {
        let config = &self.config;
        if let Some(custom) = config.options.iter().find(|custom| custom.code == code) {
            writer.option(code, custom.value());
            return;
        }
        let mut octets = [0; 4 * MAX_DNS_SERVERS];
        let mut len = 0;
        let mut put = |value: &[u8]| {
            octets[len..len + value.len()].copy_from_slice(value);
            len += value.len();
        };
        match code {
            option::SUBNET_MASK => put(&config.mask().octets()),
            option::BROADCAST_ADDRESS => put(&config.broadcast().octets()),
            option::ROUTER => config.router.iter().for_each(|router| put(&router.octets())),
            option::DNS_SERVERS => config.dns_servers.iter().flatten().for_each(|server| put(&server.octets())),
            option::INTERFACE_MTU => config.mtu.iter().for_each(|mtu| put(&mtu.to_be_bytes())),
            _ => {}
        }
        let value = match code {
            option::DOMAIN_NAME => config.domain.as_bytes(),
            option::HOST_NAME => hostname,
            _ => &octets[..len],
        };
        if !value.is_empty() {
            writer.option(code, value);
        }
    }
}

/// Ends an answer. RFC 3046 §2.2: what a relay has told of the client goes back to it, "exactly as received", and last.
fn finish(request: &Request<'_>, mut writer: Writer<'_>) -> usize {
    if let Some(relay) = request.message.option(option::RELAY_AGENT) {
        writer.option(option::RELAY_AGENT, relay);
    }
    writer.finish()
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
}
