//! The DHCP client, answered by messages that an independent implementation (dhcproto) builds and reads.

use core::net::Ipv4Addr;

use dhcproto::v4::{self, DhcpOption, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use ethertab::services::{DhcpClient, DhcpClientConfig, DhcpClientEvent, DhcpClientState, DhcpTransmit, Text};
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;

mod exchanges;
mod hostile;
mod with_our_server;

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 7]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LEASE: u32 = 3600;

fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2, host)
}

fn config() -> DhcpClientConfig {
    let mut config = DhcpClientConfig::new(MAC, [1, 2]);
    config.hostname = Text::new("guest").unwrap();
    config.check = false;
    config
}

/// A client under test, its clock, and what it has sent last.
struct Lab {
    client: DhcpClient,
    now: Instant,
}

impl Lab {
    fn new(config: DhcpClientConfig) -> Lab {
        Lab { client: DhcpClient::new(Instant::ZERO, config), now: Instant::ZERO }
    }

    /// The message that is to be sent now, as dhcproto reads it.
    fn sent(&mut self) -> Option<(DhcpTransmit, v4::Message)> {
        if self.client.next_timeout().is_some_and(|due| due <= self.now) {
            self.client.handle_timeout(self.now);
        }
        let mut out = [0xaa; 548];
        let transmit = self.client.transmit(self.now, &mut out)?;
        let message = v4::Message::decode(&mut Decoder::new(&out[..transmit.len])).expect("dhcproto reads it");
        assert_eq!(message.opcode(), v4::Opcode::BootRequest);
        assert_eq!(message.chaddr(), MAC.0);
        assert_eq!(transmit.destination.port(), 67);
        assert!(self.client.transmit(self.now, &mut out).is_none(), "one message at a time");
        Some((transmit, message))
    }

    /// Waits until something is due, and takes the message that this brings.
    fn wait(&mut self) -> Option<(DhcpTransmit, v4::Message)> {
        self.now = self.client.next_timeout().expect("something is due").max(self.now);
        self.sent()
    }

    fn expect(&mut self, kind: v4::MessageType) -> v4::Message {
        let (_, message) = self.sent().unwrap_or_else(|| panic!("{kind:?} is to be sent"));
        assert_eq!(message.opts().msg_type(), Some(kind));
        message
    }

    fn hear(&mut self, answer: &v4::Message) {
        self.client.handle(self.now, &answer.to_vec().unwrap());
    }

    fn event(&mut self) -> Option<DhcpClientEvent> {
        self.client.poll_event()
    }

    /// DISCOVER, OFFER, REQUEST, ACK.
    fn bind(&mut self) {
        let discover = self.expect(v4::MessageType::Discover);
        self.hear(&answer(&discover, v4::MessageType::Offer, SERVER, address(15)));
        let request = self.expect(v4::MessageType::Request);
        self.hear(&answer(&request, v4::MessageType::Ack, SERVER, address(15)));
        assert_eq!(self.event(), Some(DhcpClientEvent::Bound(address(15))));
        assert_eq!(self.client.state(), DhcpClientState::Bound);
    }

    fn bound() -> Lab {
        let mut lab = Lab::new(config());
        lab.bind();
        lab
    }
}

/// What `server` answers to `question`.
fn answer(question: &v4::Message, kind: v4::MessageType, server: Ipv4Addr, yiaddr: Ipv4Addr) -> v4::Message {
    let mut message = v4::Message::new_with_id(question.xid(), NONE, yiaddr, NONE, NONE, question.chaddr());
    message.set_opcode(v4::Opcode::BootReply);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(server));
    if kind != v4::MessageType::Nak {
        options.insert(DhcpOption::AddressLeaseTime(LEASE));
        options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
        options.insert(DhcpOption::Router(vec![SERVER]));
        options.insert(DhcpOption::DomainNameServer(vec![SERVER]));
    }
    message
}

fn requested(message: &v4::Message) -> Option<Ipv4Addr> {
    match message.opts().get(OptionCode::RequestedIpAddress) {
        Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
        _ => None,
    }
}

fn server_id(message: &v4::Message) -> Option<Ipv4Addr> {
    match message.opts().get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(address)) => Some(*address),
        _ => None,
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
