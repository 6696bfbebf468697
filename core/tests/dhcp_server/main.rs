//! The DHCP server, talked to by messages that an independent implementation (dhcproto) builds and reads (S2).

use core::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::v4::{self, DhcpOption, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use ethertab::services::{
    DhcpConfig, DhcpConfigError, DhcpReply, DhcpServer, Lease, LeaseEvent, LeaseState, StaticLeaseError, Text,
};
use ethertab::storage::Storage;
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;

mod hostile;
mod restart;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2, host)
}

fn mac(last: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 0, last])
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn config() -> DhcpConfig {
    let mut config = DhcpConfig::new(SERVER, 24, address(15)..=address(19));
    config.domain = Text::new("lab.test").unwrap();
    config.mtu = Some(1400);
    config.lease_time = Duration::from_secs(3600);
    config
}

fn server() -> DhcpServer<'static> {
    DhcpServer::new(config(), Storage::with_capacity(16)).unwrap()
}

/// A message as clients build it, before it is encoded.
#[derive(Clone)]
struct Client {
    mac: MacAddr,
    id: Option<Vec<u8>>,
    ciaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    broadcast: bool,
    options: Vec<DhcpOption>,
}

fn client(last: u8) -> Client {
    Client { mac: mac(last), id: None, ciaddr: NONE, giaddr: NONE, broadcast: false, options: vec![] }
}

impl Client {
    fn with(mut self, option: DhcpOption) -> Self {
        self.options.push(option);
        self
    }

    fn wanting(self, wanted: Ipv4Addr) -> Self {
        self.with(DhcpOption::RequestedIpAddress(wanted))
    }

    fn choosing(self, server: Ipv4Addr) -> Self {
        self.with(DhcpOption::ServerIdentifier(server))
    }

    fn having(mut self, ciaddr: Ipv4Addr) -> Self {
        self.ciaddr = ciaddr;
        self
    }

    fn message(&self, kind: v4::MessageType) -> Vec<u8> {
        let mut message = v4::Message::new_with_id(0xfeed_beef, self.ciaddr, NONE, NONE, self.giaddr, &self.mac.0);
        if self.broadcast {
            message.set_flags(v4::Flags::default().set_broadcast());
        }
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        if let Some(id) = &self.id {
            options.insert(DhcpOption::ClientIdentifier(id.clone()));
        }
        for option in &self.options {
            options.insert(option.clone());
        }
        message.to_vec().unwrap()
    }

    fn send(
        &self,
        server: &mut DhcpServer<'_>,
        now: Instant,
        kind: v4::MessageType,
    ) -> Option<(DhcpReply, v4::Message)> {
        exchange(server, now, &self.message(kind))
    }

    fn discover(&self, server: &mut DhcpServer<'_>, now: Instant) -> Option<Ipv4Addr> {
        let (_, offer) = self.send(server, now, v4::MessageType::Discover)?;
        assert_eq!(offer.opts().msg_type(), Some(v4::MessageType::Offer));
        Some(offer.yiaddr())
    }

    /// REQUEST; the address on ACK, an error on NAK.
    fn request(&self, server: &mut DhcpServer<'_>, now: Instant) -> Option<Result<Ipv4Addr, ()>> {
        let (_, answer) = self.send(server, now, v4::MessageType::Request)?;
        Some(match answer.opts().msg_type() {
            Some(v4::MessageType::Ack) => Ok(answer.yiaddr()),
            Some(v4::MessageType::Nak) => Err(()),
            other => panic!("{other:?} answers a request"),
        })
    }

    /// DISCOVER, OFFER, REQUEST, ACK.
    fn lease(&self, server: &mut DhcpServer<'_>, now: Instant) -> Ipv4Addr {
        let offered = self.discover(server, now).expect("an offer");
        let granted = self.clone().wanting(offered).choosing(SERVER).request(server, now);
        assert_eq!(granted, Some(Ok(offered)));
        offered
    }
}

fn exchange(server: &mut DhcpServer<'_>, now: Instant, message: &[u8]) -> Option<(DhcpReply, v4::Message)> {
    let mut out = [0xaa; 1472];
    let reply = server.handle(now, message, &mut out)?;
    let answer = v4::Message::decode(&mut Decoder::new(&out[..reply.len])).expect("a message that dhcproto reads");
    assert_eq!(answer.opcode(), v4::Opcode::BootReply);
    assert_eq!(answer.opts().get(OptionCode::ServerIdentifier), Some(&DhcpOption::ServerIdentifier(SERVER)));
    Some((reply, answer))
}

fn socket(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

/// A DISCOVER in the layout of busybox's udhcpc: 300 octets, client identifier, vendor class, parameter list, padding.
fn udhcpc_discover() -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0, 0x3b, 0x1f, 0x7e, 0x42, 0, 0, 0, 0];
    message.resize(28, 0);
    message.extend([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    message.resize(236, 0);
    message.extend([0x63, 0x82, 0x53, 0x63]);
    message.extend([53, 1, 1]);
    message.extend([61, 7, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    message.extend([57, 2, 0x02, 0x40]);
    message.extend([55, 7, 1, 3, 6, 12, 15, 28, 42]);
    message.extend([60, 12]);
    message.extend(b"udhcp 1.37.0");
    message.push(255);
    message.resize(300, 0);
    message
}

#[test]
fn a_client_gets_the_first_address_and_all_parameters() {
    let mut server = server();
    let (reply, offer) = exchange(&mut server, at(1), &udhcpc_discover()).unwrap();
    assert_eq!(offer.xid(), 0x3b1f_7e42);
    assert_eq!(offer.yiaddr(), address(15));
    assert_eq!(offer.chaddr(), [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    // RFC 2131 §4.1: no relay, no address yet, no broadcast bit: to the offered address at the client's card.
    assert_eq!(reply.destination, socket(address(15), 68));
    assert_eq!(reply.link_destination, Some(MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56])));
    assert!(reply.len >= 300 && reply.len <= 576 - 28);
    let option = |code| offer.opts().get(code).cloned();
    assert_eq!(option(OptionCode::MessageType), Some(DhcpOption::MessageType(v4::MessageType::Offer)));
    assert_eq!(option(OptionCode::SubnetMask), Some(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0))));
    assert_eq!(option(OptionCode::Router), Some(DhcpOption::Router(vec![SERVER])));
    assert_eq!(option(OptionCode::DomainNameServer), Some(DhcpOption::DomainNameServer(vec![SERVER])));
    assert_eq!(option(OptionCode::DomainName), Some(DhcpOption::DomainName("lab.test".into())));
    assert_eq!(option(OptionCode::BroadcastAddr), Some(DhcpOption::BroadcastAddr(address(255))));
    assert_eq!(option(OptionCode::AddressLeaseTime), Some(DhcpOption::AddressLeaseTime(3600)));
    assert_eq!(option(OptionCode::Renewal), Some(DhcpOption::Renewal(1800)));
    assert_eq!(option(OptionCode::Rebinding), Some(DhcpOption::Rebinding(3150)));
    assert_eq!(option(OptionCode::Hostname), None, "none is configured");
    // Not on the client's list, and sent all the same.
    assert_eq!(option(OptionCode::InterfaceMtu), Some(DhcpOption::InterfaceMtu(1400)));
    // RFC 6842.
    let id = vec![1, 0x52, 0x54, 0, 0x12, 0x34, 0x56];
    assert_eq!(option(OptionCode::ClientIdentifier), Some(DhcpOption::ClientIdentifier(id)));
    assert_eq!(server.leases()[0].state(at(1)), LeaseState::Offered);
}

#[test]
fn options_come_in_the_clients_order_and_only_those_it_lists() {
    let wanted = vec![OptionCode::BroadcastAddr, OptionCode::Router, OptionCode::Router, OptionCode::SubnetMask];
    let message = client(1).with(DhcpOption::ParameterRequestList(wanted)).message(v4::MessageType::Discover);
    let mut out = [0; 1472];
    let reply = server().handle(at(1), &message, &mut out).unwrap();
    let mut codes = vec![];
    let mut rest = &out[240..reply.len];
    while let [code, len, tail @ ..] = rest
        && *code != 255
    {
        codes.push(*code);
        rest = &tail[usize::from(*len)..];
    }
    assert_eq!(codes, [53, 54, 51, 58, 59, 1, 28, 3, 26]);
}

#[test]
fn a_lease_is_granted_renewed_and_runs_out() {
    let mut server = server();
    let guest = client(1).with(DhcpOption::Hostname("guest-1".into()));
    assert_eq!(guest.lease(&mut server, at(0)), address(15));
    assert_eq!(server.poll_event(), Some(LeaseEvent::Granted(address(15))));
    assert_eq!(server.poll_event(), None);
    let lease = server.leases()[0];
    assert_eq!((lease.mac, lease.hostname.as_str(), lease.expires), (mac(1), "guest-1", at(3600)));
    assert_eq!(lease.state(at(3599)), LeaseState::Bound);
    assert_eq!(lease.state(at(3600)), LeaseState::Expired);

    // RENEWING: to the address that the client has, found by ARP.
    let (reply, ack) = guest.clone().having(address(15)).send(&mut server, at(1800), v4::MessageType::Request).unwrap();
    assert_eq!(ack.opts().msg_type(), Some(v4::MessageType::Ack));
    assert_eq!((ack.ciaddr(), ack.yiaddr()), (address(15), address(15)));
    assert_eq!((reply.destination, reply.link_destination), (socket(address(15), 68), None));
    assert_eq!(server.leases()[0].expires, at(5400));
    assert_eq!(server.poll_event(), None, "a renewal is no news");
}

#[test]
fn a_client_finds_its_address_again_after_expiry_and_others_get_new_ones() {
    let mut server = server();
    assert_eq!(client(1).lease(&mut server, at(0)), address(15));
    assert_eq!(client(2).lease(&mut server, at(1)), address(16));
    assert_eq!(client(3).discover(&mut server, at(9000)), Some(address(17)), "unused addresses go first");
    assert_eq!(client(2).discover(&mut server, at(9000)), Some(address(16)));
}

#[test]
fn the_address_that_is_free_for_longest_goes_to_the_next_client() {
    let mut server = server();
    for (last, now) in [(1, 50), (2, 10), (3, 20), (4, 30), (5, 40)] {
        client(last).lease(&mut server, at(now));
    }
    assert_eq!(client(6).discover(&mut server, at(9000)), Some(address(16)));
    assert_eq!(client(7).discover(&mut server, at(9000)), Some(address(17)));
}

#[test]
fn a_client_that_asks_anew_keeps_its_lease() {
    let mut server = server();
    client(1).lease(&mut server, at(0));
    assert_eq!(client(1).discover(&mut server, at(10)), Some(address(15)));
    assert_eq!(server.leases()[0].state(at(100)), LeaseState::Bound);
}

#[test]
fn a_wish_for_a_free_address_is_granted_and_for_anothers_is_not() {
    let mut server = server();
    assert_eq!(client(1).wanting(address(18)).discover(&mut server, at(0)), Some(address(18)));
    assert_eq!(client(2).wanting(address(18)).discover(&mut server, at(1)), Some(address(15)));
    assert_eq!(client(3).wanting(address(99)).discover(&mut server, at(1)), Some(address(16)), "not in the pool");
    assert_eq!(client(4).wanting(SERVER).discover(&mut server, at(1)), Some(address(17)));
}

#[test]
fn clients_are_told_apart_by_identifier_before_hardware_address() {
    let mut server = server();
    let mut first = client(1);
    first.id = Some(vec![255, 0, 0, 0, 1, 0, 2]);
    let mut second = client(1);
    second.id = Some(vec![255, 0, 0, 0, 2, 0, 2]);
    assert_eq!(first.lease(&mut server, at(0)), address(15));
    assert_eq!(second.lease(&mut server, at(0)), address(16));
    first.mac = mac(9);
    assert_eq!(first.discover(&mut server, at(1)), Some(address(15)), "the card was changed");
}

#[test]
fn selecting_is_answered_by_ack_or_nak() {
    let mut server = server();
    let offered = client(1).discover(&mut server, at(0)).unwrap();
    assert_eq!(client(1).wanting(address(19)).choosing(SERVER).request(&mut server, at(1)), Some(Err(())));
    assert_eq!(client(2).wanting(offered).choosing(SERVER).request(&mut server, at(1)), Some(Err(())));
    assert_eq!(client(1).wanting(offered).choosing(SERVER).request(&mut server, at(1)), Some(Ok(offered)));
    // The ACK was lost.
    assert_eq!(client(1).wanting(offered).choosing(SERVER).request(&mut server, at(2)), Some(Ok(offered)));
    assert_eq!(server.counters().naks, 2);
}

#[test]
fn choosing_another_server_frees_the_offer() {
    let mut server = server();
    let offered = client(1).discover(&mut server, at(0)).unwrap();
    assert_eq!(client(1).wanting(address(77)).choosing(address(3)).request(&mut server, at(1)), None);
    assert_eq!(server.counters().other_server, 1);
    assert_eq!(client(2).wanting(offered).discover(&mut server, at(1)), Some(offered));
}

#[test]
fn init_reboot_confirms_a_known_lease_and_refuses_a_wrong_one() {
    let mut server = server();
    client(1).lease(&mut server, at(0));
    assert_eq!(client(1).wanting(address(15)).request(&mut server, at(5)), Some(Ok(address(15))));
    assert_eq!(client(1).wanting(address(16)).request(&mut server, at(5)), Some(Err(())));
    assert_eq!(client(2).wanting(address(15)).request(&mut server, at(5)), Some(Err(())), "another's lease");
    let (reply, nak) =
        client(1).wanting(Ipv4Addr::new(192, 168, 1, 5)).send(&mut server, at(5), v4::MessageType::Request).unwrap();
    assert_eq!(nak.opts().msg_type(), Some(v4::MessageType::Nak));
    assert_eq!((nak.yiaddr(), nak.ciaddr()), (NONE, NONE));
    assert_eq!(reply.destination, socket(Ipv4Addr::BROADCAST, 68));
}

#[test]
fn a_nak_to_a_renewing_client_is_broadcast() {
    let mut server = server();
    client(1).lease(&mut server, at(0));
    let (reply, nak) = client(2).having(address(15)).send(&mut server, at(5), v4::MessageType::Request).unwrap();
    assert_eq!(nak.opts().msg_type(), Some(v4::MessageType::Nak));
    assert_eq!((reply.destination, reply.link_destination), (socket(Ipv4Addr::BROADCAST, 68), None));
}

#[test]
fn leases_outlive_a_restart_of_the_only_server() {
    let mut restarted = server();
    assert_eq!(client(1).having(address(17)).request(&mut restarted, at(0)), Some(Ok(address(17))));
    assert_eq!(client(2).wanting(address(16)).request(&mut restarted, at(0)), Some(Ok(address(16))));
    assert_eq!(client(3).wanting(address(99)).request(&mut restarted, at(0)), Some(Err(())));
}

#[test]
fn one_server_of_several_is_silent_to_strangers() {
    let config = DhcpConfig { authoritative: false, ..config() };
    let mut server = DhcpServer::new(config, Storage::with_capacity(16)).unwrap();
    assert_eq!(client(1).wanting(address(17)).request(&mut server, at(0)), None);
    assert_eq!(client(1).having(address(17)).request(&mut server, at(0)), None);
    assert_eq!(server.counters().unknown_client, 2);
    // The wrong network is wrong for every server.
    assert_eq!(client(1).wanting(Ipv4Addr::new(192, 168, 1, 5)).request(&mut server, at(0)), Some(Err(())));
    client(2).lease(&mut server, at(1));
    assert_eq!(client(2).wanting(address(18)).request(&mut server, at(2)), Some(Err(())));
}

#[test]
fn a_released_address_stays_its_clients_until_it_is_needed() {
    let mut server = server();
    client(1).lease(&mut server, at(0));
    while server.poll_event().is_some() {}
    let release = client(1).having(address(15)).choosing(SERVER);
    assert!(client(2).having(address(15)).send(&mut server, at(1), v4::MessageType::Release).is_none());
    assert_eq!(server.leases()[0].state(at(1)), LeaseState::Bound, "only its client can give it back");
    assert!(release.send(&mut server, at(2), v4::MessageType::Release).is_none());
    assert_eq!(server.poll_event(), Some(LeaseEvent::Released(address(15))));
    assert_eq!(server.counters().releases, 1);
    assert_eq!(client(1).discover(&mut server, at(3)), Some(address(15)));
}

#[test]
fn a_declined_address_is_set_aside_for_a_while() {
    let mut server = server();
    client(1).lease(&mut server, at(0));
    assert_eq!(server.poll_event(), Some(LeaseEvent::Granted(address(15))));
    client(2).wanting(address(15)).choosing(SERVER).send(&mut server, at(1), v4::MessageType::Decline);
    assert_eq!(server.leases()[0].state(at(1)), LeaseState::Bound, "not by somebody else");
    client(1).wanting(address(15)).choosing(SERVER).send(&mut server, at(1), v4::MessageType::Decline);
    assert_eq!(server.poll_event(), Some(LeaseEvent::Declined(address(15))));
    assert_eq!(client(1).discover(&mut server, at(2)), Some(address(16)));
    assert_eq!(client(1).wanting(address(15)).request(&mut server, at(2)), Some(Err(())));
    assert_eq!(server.leases()[0].state(at(600)), LeaseState::Declined);
    assert_eq!(client(2).wanting(address(15)).discover(&mut server, at(700)), Some(address(15)));
}

#[test]
fn an_address_seen_in_use_is_not_offered() {
    let mut server = server();
    server.set_aside(at(0), address(15));
    assert_eq!(client(1).lease(&mut server, at(0)), address(16));
    server.set_aside(at(1), address(16));
    assert_eq!(client(1).having(address(16)).request(&mut server, at(2)), Some(Ok(address(16))), "it is the client's");
}

#[test]
fn inform_gets_parameters_and_no_lease() {
    let mut server = server();
    let (reply, ack) = client(1).having(address(200)).send(&mut server, at(0), v4::MessageType::Inform).unwrap();
    assert_eq!(ack.opts().msg_type(), Some(v4::MessageType::Ack));
    assert_eq!(ack.yiaddr(), NONE);
    assert_eq!(ack.opts().get(OptionCode::AddressLeaseTime), None);
    assert_eq!(ack.opts().get(OptionCode::Renewal), None);
    assert_eq!(ack.opts().get(OptionCode::Router), Some(&DhcpOption::Router(vec![SERVER])));
    assert_eq!(reply.destination, socket(address(200), 68));
    assert!(server.leases().is_empty());
    // An answer to an address elsewhere would be a reflection.
    assert!(client(1).having(Ipv4Addr::new(8, 8, 8, 8)).send(&mut server, at(0), v4::MessageType::Inform).is_none());
}

#[test]
fn a_static_lease_is_for_its_card_alone_and_carries_its_name() {
    let mut server = server();
    let name = Text::new("printer").unwrap();
    server.reserve(at(0), mac(7), address(50), name).unwrap();
    server.reserve(at(0), mac(8), address(15), Text::EMPTY).unwrap();
    assert_eq!(client(1).lease(&mut server, at(1)), address(16), "15 is reserved, though in the pool");
    let list = DhcpOption::ParameterRequestList(vec![OptionCode::Hostname]);
    let (_, offer) = client(7).with(list).send(&mut server, at(1), v4::MessageType::Discover).unwrap();
    assert_eq!(offer.yiaddr(), address(50));
    assert_eq!(offer.opts().get(OptionCode::Hostname), Some(&DhcpOption::Hostname("printer".into())));
    let mut other_system = client(7);
    other_system.id = Some(vec![0, b'x', b'y']);
    assert_eq!(other_system.lease(&mut server, at(2)), address(50), "whatever its identifier");
    assert_eq!(client(2).wanting(address(50)).request(&mut server, at(3)), Some(Err(())));
    assert_eq!(server.leases().iter().find(|lease| lease.address == address(50)).unwrap().hostname.as_str(), "printer");
    let reserve =
        |server: &mut DhcpServer<'_>, last, host| server.reserve(at(4), mac(last), address(host), Text::EMPTY);
    assert_eq!(reserve(&mut server, 9, 50), Err(StaticLeaseError::InUse(address(50))));
    assert_eq!(reserve(&mut server, 9, 16), Err(StaticLeaseError::InUse(address(16))));
    assert_eq!(reserve(&mut server, 9, 2), Err(StaticLeaseError::Address(SERVER)));
    assert_eq!(reserve(&mut server, 7, 51), Err(StaticLeaseError::Duplicate(address(50))));
}

#[test]
fn a_full_pool_is_silent_and_recovers_when_offers_lapse() {
    let mut server = server();
    client(100).lease(&mut server, at(0));
    for flood in 1..=200 {
        let offer = client(flood).discover(&mut server, at(1));
        assert_eq!(offer.is_some(), flood <= 4 || flood == 100, "{flood}");
    }
    assert_eq!(server.counters().pool_exhausted, 200 - 5);
    assert_eq!(client(100).having(address(15)).request(&mut server, at(2)), Some(Ok(address(15))));
    assert_eq!(client(250).lease(&mut server, at(12)), address(16));
}

#[test]
fn a_table_smaller_than_the_pool_gives_up_ended_leases_only() {
    let mut slice = [Lease::EMPTY; 2];
    let mut server = DhcpServer::new(config(), Storage::borrowed(&mut slice)).unwrap();
    assert_eq!(client(1).lease(&mut server, at(0)), address(15));
    assert_eq!(client(2).discover(&mut server, at(0)), Some(address(16)));
    assert_eq!(client(3).discover(&mut server, at(1)), None);
    assert_eq!(client(3).wanting(address(19)).discover(&mut server, at(11)), Some(address(19)));
    assert_eq!(server.leases().iter().map(|lease| lease.address).collect::<Vec<_>>(), [address(15), address(19)]);
    assert_eq!(client(1).having(address(15)).request(&mut server, at(12)), Some(Ok(address(15))));
}

#[test]
fn answers_go_to_the_relay_or_by_broadcast_when_asked() {
    let mut server = server();
    let mut relayed = client(1);
    relayed.giaddr = address(1);
    let (reply, offer) = relayed.send(&mut server, at(0), v4::MessageType::Discover).unwrap();
    assert_eq!((reply.destination, reply.link_destination), (socket(address(1), 67), None));
    assert_eq!(offer.giaddr(), address(1));
    let (reply, nak) = relayed.clone().wanting(address(19)).send(&mut server, at(0), v4::MessageType::Request).unwrap();
    assert_eq!(nak.opts().msg_type(), Some(v4::MessageType::Nak));
    assert!(nak.flags().broadcast(), "the relay is to broadcast");
    assert_eq!(reply.destination, socket(address(1), 67));
    relayed.giaddr = Ipv4Addr::new(172, 16, 0, 1);
    assert!(relayed.send(&mut server, at(0), v4::MessageType::Discover).is_none());
    assert_eq!(server.counters().other_subnet, 1);
    let mut deaf = client(2);
    deaf.broadcast = true;
    let (reply, offer) = deaf.send(&mut server, at(0), v4::MessageType::Discover).unwrap();
    assert!(offer.flags().broadcast());
    assert_eq!((reply.destination, reply.link_destination), (socket(Ipv4Addr::BROADCAST, 68), None));
}

#[test]
fn a_client_may_ask_for_a_shorter_lease_only() {
    let mut server = server();
    for (last, wanted, granted) in [(1, 600, 600), (2, 1, 60), (3, 1_000_000, 3600)] {
        let client = client(last).with(DhcpOption::AddressLeaseTime(wanted));
        let (_, offer) = client.send(&mut server, at(0), v4::MessageType::Discover).unwrap();
        let expected = DhcpOption::AddressLeaseTime(granted);
        assert_eq!(offer.opts().get(OptionCode::AddressLeaseTime), Some(&expected));
    }
}

#[test]
fn an_infinite_lease_never_ends_and_has_no_times() {
    let config = DhcpConfig { lease_time: Duration::from_secs(u32::MAX.into()), ..config() };
    let mut server = DhcpServer::new(config, Storage::with_capacity(4)).unwrap();
    client(1).lease(&mut server, at(0));
    assert_eq!(server.leases()[0].expires, Instant::FAR_FUTURE);
    let (_, ack) = client(1).having(address(15)).send(&mut server, at(1), v4::MessageType::Request).unwrap();
    assert_eq!(ack.opts().get(OptionCode::AddressLeaseTime), Some(&DhcpOption::AddressLeaseTime(u32::MAX)));
    assert_eq!(ack.opts().get(OptionCode::Renewal), None);
}

#[test]
fn an_answer_fits_what_the_client_takes() {
    let config = DhcpConfig { domain: Text::new(&"d".repeat(253)).unwrap(), ..config() };
    let mut server = DhcpServer::new(config, Storage::with_capacity(4)).unwrap();
    let mut guest = client(1);
    guest.id = Some(vec![7; 255]);
    let mut out = [0; 1472];
    let reply = server.handle(at(0), &guest.message(v4::MessageType::Discover), &mut out).unwrap();
    assert!(reply.len <= 548, "{} octets", reply.len);
    // What the options field has no room for is in `file`, which dhcproto doesn't read: the octets say it.
    let field = &out[240..reply.len];
    assert!(field.windows(3).any(|octets| octets == [52, 1, 1]), "`file` is overloaded");
    assert!(field.windows(6).any(|octets| octets == [3, 4, 10, 0, 2, 2]), "the router is in the options field");
    assert_eq!(out[108..119], [28, 4, 10, 0, 2, 255, 26, 2, 0x05, 0x78, 255]);
    let (reply, offer) =
        guest.with(DhcpOption::MaxMessageSize(1500)).send(&mut server, at(0), v4::MessageType::Discover).unwrap();
    assert!(reply.len > 548);
    assert!(offer.opts().get(OptionCode::DomainName).is_some());
    let mut short = [0; 299];
    assert_eq!(server.handle(at(0), &client(2).message(v4::MessageType::Discover), &mut short), None);
    assert_eq!(server.counters().no_room, 1);
}

#[test]
fn options_in_overloaded_fields_are_read() {
    let mut message = udhcpc_discover();
    message.truncate(240);
    message.extend([52, 1, 3, 255]);
    message[108..112].copy_from_slice(&[53, 1, 1, 255]);
    message[44..51].copy_from_slice(&[50, 4, 10, 0, 2, 18, 255]);
    let (_, offer) = exchange(&mut server(), at(0), &message).unwrap();
    assert_eq!(offer.yiaddr(), address(18));
}

#[test]
fn a_configuration_that_cannot_work_is_an_error() {
    let error = |change: &dyn Fn(&mut DhcpConfig)| {
        let mut config = config();
        change(&mut config);
        DhcpServer::new(config, Storage::with_capacity(1)).err()
    };
    assert_eq!(error(&|config| config.prefix_len = 31), Some(DhcpConfigError::PrefixLen(31)));
    assert_eq!(error(&|config| config.server = address(255)), Some(DhcpConfigError::Server(address(255))));
    assert_eq!(error(&|config| config.pool = address(9)..=address(8)), Some(DhcpConfigError::EmptyPool));
    let outside = Ipv4Addr::new(10, 0, 3, 1);
    assert_eq!(error(&|config| config.pool = address(9)..=outside), Some(DhcpConfigError::Pool(outside)));
    assert_eq!(error(&|config| config.mtu = Some(67)), Some(DhcpConfigError::Mtu(67)));
}
