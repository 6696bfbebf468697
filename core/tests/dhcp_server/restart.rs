//! Leases that survive a restart, relays, options by number, rapid commit.

use super::*;
use ethertab::services::{ClientId, CustomOption};

/// A server with the leases of another, as they were at `now`; the new one's time begins at 0.
fn restarted(server: &DhcpServer<'_>, now: Instant) -> DhcpServer<'static> {
    let mut next = self::server();
    for lease in server.leases() {
        let remaining = match lease.expires {
            Instant::FAR_FUTURE => None,
            expires => Some(expires.since(now)),
        };
        assert!(next.restore(at(0), lease.address, lease.mac, lease.client, lease.hostname, remaining));
    }
    next
}

#[test]
fn s2_after_a_restart_each_client_gets_its_address_again() {
    let mut before = server();
    let with_id = Client { id: Some(vec![255, 1, 2, 3]), ..client(2) };
    let first = client(1).with(DhcpOption::Hostname("one".into())).lease(&mut before, at(0));
    let second = with_id.lease(&mut before, at(1_000));
    assert_eq!((first, second), (address(15), address(16)));
    let mut after = restarted(&before, at(2_000));
    let states: Vec<_> =
        after.leases().iter().map(|lease| (lease.address, lease.state(at(0)), lease.expires)).collect();
    assert_eq!(states, [(first, LeaseState::Bound, at(1_600)), (second, LeaseState::Bound, at(2_600))]);
    assert_eq!(after.leases()[0].hostname.as_str(), "one");
    assert_eq!(after.poll_event(), None, "nothing has happened");
    // They renew, and nobody else gets the addresses meanwhile.
    assert_eq!(client(3).lease(&mut after, at(1)), address(17));
    assert_eq!(client(1).having(first).request(&mut after, at(2)), Some(Ok(first)));
    assert_eq!(with_id.having(second).request(&mut after, at(2)), Some(Ok(second)));
}

#[test]
fn s2_leases_that_cannot_be_are_not_taken_up() {
    let mut server = server();
    client(1).lease(&mut server, at(0));
    let mut restore = |host: u8, from: MacAddr| {
        server.restore(
            at(1),
            address(host),
            from,
            ClientId::from_hardware(from),
            Text::EMPTY,
            Some(Duration::from_secs(60)),
        )
    };
    assert!(!restore(14, mac(9)), "outside the pool");
    assert!(!restore(15, mac(9)), "another client's");
    assert!(!restore(16, MacAddr([1, 0, 0, 0, 0, 1])), "no station");
    assert!(restore(16, mac(9)));
    let remembered =
        server.restore(at(1), address(17), mac(8), ClientId::from_hardware(mac(8)), Text::EMPTY, Some(Duration::ZERO));
    assert!(remembered);
    assert_eq!(server.leases()[2].state(at(1)), LeaseState::Expired);
    assert_eq!(client(8).discover(&mut server, at(2)), Some(address(17)));
}

/// RFC 3046 §2.2.
#[test]
fn what_a_relay_tells_comes_back_as_it_was() {
    let told = [1, 4, 0xde, 0xad, 0xbe, 0xef, 2, 2, 7, 8];
    let relay = DhcpOption::Unknown(v4::UnknownOption::new(OptionCode::RelayAgentInformation, told.to_vec()));
    for (kind, client) in [
        (v4::MessageType::Discover, client(1)),
        (v4::MessageType::Request, client(1).wanting(Ipv4Addr::new(10, 9, 9, 9))),
        (v4::MessageType::Inform, client(1).having(address(200))),
    ] {
        let mut server = server();
        let client = Client { giaddr: address(250), ..client }.with(relay.clone());
        let mut out = [0; 1472];
        let reply = server.handle(at(0), &client.message(kind), &mut out).unwrap();
        if kind != v4::MessageType::Inform {
            assert_eq!(reply.destination, socket(address(250), 67));
        }
        let message = &out[..reply.len];
        let place = message.windows(told.len()).position(|window| window == told).expect("it comes back");
        assert_eq!(message[place - 2..place], [82, told.len() as u8]);
        assert_eq!(message[place + told.len()], 255, "last");
    }
    let mut server = server();
    assert!(
        client(2)
            .send(&mut server, at(0), v4::MessageType::Discover)
            .is_some_and(|(_, offer)| { !offer.opts().contains(OptionCode::RelayAgentInformation) })
    );
}

#[test]
fn options_by_number_are_given_to_those_who_ask() {
    let mut config = config();
    for (code, value) in [(42, &[10, 0, 2, 7][..]), (252, b"http://wpad/"), (6, &[9, 9, 9, 9])] {
        assert!(config.options.push(CustomOption::new(code, value).unwrap()));
    }
    let mut server = DhcpServer::new(config, Storage::with_capacity(16)).unwrap();
    let wanted = vec![OptionCode::from(252), OptionCode::DomainNameServer, OptionCode::NtpServers];
    let (_, offer) = client(1)
        .with(DhcpOption::ParameterRequestList(wanted))
        .send(&mut server, at(0), v4::MessageType::Discover)
        .unwrap();
    let options = offer.opts();
    assert_eq!(options.get(OptionCode::NtpServers), Some(&DhcpOption::NtpServers(vec![address(7)])));
    assert_eq!(
        options.get(OptionCode::DomainNameServer),
        Some(&DhcpOption::DomainNameServer(vec![Ipv4Addr::new(9, 9, 9, 9)])),
        "instead of the server itself"
    );
    assert!(options.contains(OptionCode::from(252)) && !options.contains(OptionCode::Router));
    let (_, offer) = client(2).send(&mut server, at(0), v4::MessageType::Discover).unwrap();
    assert!(offer.opts().contains(OptionCode::from(252)), "who has no list gets all");
    for code in [0, 50, 51, 53, 54, 55, 58, 61, 82, 255] {
        assert_eq!(CustomOption::new(code, b"x"), None, "{code}");
    }
    assert_eq!((CustomOption::new(42, b""), CustomOption::new(42, &[0; 256])), (None, None));
}

/// RFC 4039.
#[test]
fn an_address_is_granted_at_once_where_that_is_wanted() {
    for (wanted, allowed) in [(true, true), (true, false), (false, true)] {
        let mut server =
            DhcpServer::new(DhcpConfig { rapid_commit: allowed, ..config() }, Storage::with_capacity(16)).unwrap();
        let mut client = client(1);
        if wanted {
            client = client.with(DhcpOption::RapidCommit);
        }
        let (_, answer) = client.send(&mut server, at(0), v4::MessageType::Discover).unwrap();
        let at_once = wanted && allowed;
        let expected = if at_once { v4::MessageType::Ack } else { v4::MessageType::Offer };
        assert_eq!(answer.opts().msg_type(), Some(expected));
        assert_eq!(answer.opts().contains(OptionCode::RapidCommit), at_once);
        assert_eq!(server.poll_event().is_some(), at_once);
    }
}
