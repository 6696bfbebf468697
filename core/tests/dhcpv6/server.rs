//! What the server answers (RFC 9915 §18.3), and both together over a network that loses.

use super::*;
use proptest::prelude::*;

/// A message of client number `client`.
fn message(kind: v6::MessageType, client: u8, address: Option<&str>, to_us: bool) -> v6::Message {
    let mut message = v6::Message::new_with_id(kind, [1, 2, 3]);
    let options = message.opts_mut();
    options.insert(DhcpOption::ClientId(duid(client)));
    if to_us {
        options.insert(DhcpOption::ServerId(duid(1)));
    }
    let mut opts = v6::DhcpOptions::default();
    if let Some(address) = address {
        let address = v6::IAAddr { addr: ip(address), preferred_life: 0, valid_life: 0, opts: Default::default() };
        opts.insert(DhcpOption::IAAddr(address));
    }
    options.insert(DhcpOption::IANA(v6::IANA { id: 5, t1: 0, t2: 0, opts }));
    message
}

fn ask(server: &mut Dhcpv6Server<'_>, now: u64, message: &v6::Message) -> Option<v6::Message> {
    let mut out = [0; 1_232];
    let len = server.handle(Instant::from_secs(now), SERVERS, &message.to_vec().unwrap(), &mut out)?;
    let answer = decoded(&out[..len]);
    assert_eq!(answer.xid(), message.xid());
    assert_eq!(answer.opts().get(OptionCode::ServerId), Some(&DhcpOption::ServerId(duid(1))));
    Some(answer)
}

/// The address that an answer grants, or the status of the association.
fn granted(answer: &v6::Message) -> Result<Ipv6Addr, v6::Status> {
    let Some(DhcpOption::IANA(association)) = answer.opts().get(OptionCode::IANA) else { panic!("no IA_NA") };
    match (association.opts.get(OptionCode::IAAddr), association.opts.get(OptionCode::StatusCode)) {
        (Some(DhcpOption::IAAddr(address)), _) => Ok(address.addr),
        (_, Some(DhcpOption::StatusCode(code))) => Err(code.status),
        _ => panic!("{association:?}"),
    }
}

fn status(answer: &v6::Message) -> Option<v6::Status> {
    match answer.opts().get(OptionCode::StatusCode) {
        Some(DhcpOption::StatusCode(code)) => Some(code.status),
        _ => None,
    }
}

fn request(server: &mut Dhcpv6Server<'_>, now: u64, client: u8) -> Result<Ipv6Addr, v6::Status> {
    granted(&ask(server, now, &message(v6::MessageType::Request, client, None, true)).unwrap())
}

#[test]
fn s2_an_offer_reserves_nothing_and_a_full_pool_says_so() {
    let mut server = new_server();
    for client in 0..100 {
        let advertise = ask(&mut server, 0, &message(v6::MessageType::Solicit, client, None, false)).unwrap();
        assert_eq!(advertise.msg_type(), v6::MessageType::Advertise);
        assert!(granted(&advertise).is_ok());
    }
    let mut addresses: Vec<_> = (10..14).map(|client| request(&mut server, 0, client).unwrap()).collect();
    assert_eq!(request(&mut server, 1, 14), Err(v6::Status::NoAddrsAvail));
    assert_eq!(request(&mut server, 1, 12), Ok(addresses[2]), "it has one");
    addresses.sort();
    assert_eq!(addresses, ["fd00::1000", "fd00::1001", "fd00::1002", "fd00::1003"].map(ip));
    // When they have run out, there is room.
    assert!(request(&mut server, 2_001, 14).is_ok());
    assert_eq!(server.counters().pool_exhausted, 1);
}

#[test]
fn s2_leases_are_extended_released_and_declined_by_their_client_only() {
    let mut server = new_server();
    let address = request(&mut server, 0, 10).unwrap();
    let text = address.to_string();
    let renew = |client, to_us| {
        let kind = if to_us { v6::MessageType::Renew } else { v6::MessageType::Rebind };
        message(kind, client, Some(&text), to_us)
    };
    for to_us in [true, false] {
        assert_eq!(granted(&ask(&mut server, 100, &renew(10, to_us)).unwrap()), Ok(address));
        assert_eq!(granted(&ask(&mut server, 100, &renew(11, to_us)).unwrap()), Err(v6::Status::NoBinding));
    }
    assert_eq!(server.leases()[0].expires, Instant::from_secs(2_100));
    for kind in [v6::MessageType::Release, v6::MessageType::Decline] {
        let reply = ask(&mut server, 200, &message(kind, 11, Some(&text), true)).unwrap();
        assert_eq!((status(&reply), granted(&reply)), (Some(v6::Status::Success), Err(v6::Status::NoBinding)));
    }
    assert_eq!(server.leases()[0].state(Instant::from_secs(200)), Dhcpv6LeaseState::Bound, "not theirs");
    let reply = ask(&mut server, 200, &message(v6::MessageType::Release, 10, Some(&text), true)).unwrap();
    assert_eq!((status(&reply), reply.opts().get(OptionCode::IANA)), (Some(v6::Status::Success), None));
    assert_eq!(server.leases()[0].state(Instant::from_secs(200)), Dhcpv6LeaseState::Ended);
    assert_eq!(request(&mut server, 201, 10), Ok(address), "it finds its address again");
    ask(&mut server, 202, &message(v6::MessageType::Decline, 10, Some(&text), true));
    assert_ne!(request(&mut server, 203, 10), Ok(address));
    assert_eq!((server.counters().releases, server.counters().declines), (1, 1));
}

#[test]
fn addresses_of_other_links_are_not_confirmed() {
    let mut server = new_server();
    for (address, expected) in [("fd00::77", v6::Status::Success), ("fd01::77", v6::Status::NotOnLink)] {
        let reply = ask(&mut server, 0, &message(v6::MessageType::Confirm, 3, Some(address), false)).unwrap();
        assert_eq!(status(&reply), Some(expected));
    }
    // §18.3.3: without an address there is nothing to confirm, and "the server MUST NOT send a reply".
    assert_eq!(ask(&mut server, 0, &message(v6::MessageType::Confirm, 3, None, false)), None);
}

/// §18.3.2: an address of another link is told as that, and no other is given for it; §18.3.1: where it is only wished for, it is.
#[test]
fn addresses_of_other_links_are_not_given() {
    let mut server = new_server();
    let request = message(v6::MessageType::Request, 3, Some("fd01::1000"), true);
    assert_eq!(granted(&ask(&mut server, 0, &request).unwrap()), Err(v6::Status::NotOnLink));
    assert!(server.leases().is_empty());
    let solicit = message(v6::MessageType::Solicit, 3, Some("fd01::1000"), false);
    assert!(granted(&ask(&mut server, 0, &solicit).unwrap()).is_ok());
}

#[test]
fn who_asks_for_parameters_gets_what_it_asks_for() {
    let mut server = new_server();
    for (wanted, count) in
        [(vec![], 0), (vec![OptionCode::DomainNameServers], 1), (vec![OptionCode::DomainSearchList], 1)]
    {
        let mut request = v6::Message::new_with_id(v6::MessageType::InformationRequest, [1, 2, 3]);
        request.opts_mut().insert(DhcpOption::ORO(v6::ORO { opts: wanted.clone() }));
        let reply = ask(&mut server, 0, &request).unwrap();
        let found = [OptionCode::DomainNameServers, OptionCode::DomainSearchList];
        assert_eq!(found.iter().filter(|code| reply.opts().get(**code).is_some()).count(), count);
        assert!(wanted.iter().all(|code| reply.opts().get(*code).is_some()));
    }
}

/// RFC 9915 §16, and no server unicast.
#[test]
fn s2_messages_that_must_not_be_are_dropped() {
    let mut server = new_server();
    use v6::MessageType::*;
    for (kind, to_us) in
        [(Solicit, true), (Confirm, true), (Rebind, true), (Request, false), (Renew, false), (Release, false)]
    {
        assert!(ask(&mut server, 0, &message(kind, 3, Some("fd00::1000"), to_us)).is_none(), "{kind:?}");
    }
    assert!(ask(&mut server, 0, &message(InformationRequest, 3, None, false)).is_none());
    assert_eq!(server.counters().malformed, 7);
    for kind in [Advertise, Reply] {
        assert!(ask(&mut server, 0, &message(kind, 3, None, true)).is_none());
    }
    assert_eq!(server.counters().not_for_servers, 2);
    let mut other = message(Request, 3, None, false);
    other.opts_mut().insert(DhcpOption::ServerId(duid(2)));
    assert!(ask(&mut server, 0, &other).is_none());
    assert_eq!(server.counters().other_server, 1);
    let unicast = message(Request, 3, None, true).to_vec().unwrap();
    assert!(server.handle(Instant::ZERO, ip("fe80::1"), &unicast, &mut [0; 1_232]).is_none());
    assert_eq!(server.counters().unicast, 1);
    let mut nameless = message(Solicit, 3, None, false);
    nameless.opts_mut().remove(OptionCode::ClientId);
    assert!(ask(&mut server, 0, &nameless).is_none());
    assert!(server.leases().is_empty());
    assert!(
        server
            .handle(Instant::ZERO, SERVERS, &message(Solicit, 3, None, false).to_vec().unwrap(), &mut [0; 30])
            .is_none()
    );
    assert_eq!(server.counters().no_room, 1);
}

#[test]
fn s2_after_a_restart_each_client_gets_its_address_again() {
    let mut before = new_server();
    let addresses: Vec<_> = (10..13).map(|client| request(&mut before, 0, client).unwrap()).collect();
    let mut after = new_server();
    for lease in before.leases() {
        assert!(after.restore(*lease));
        assert!(!after.restore(*lease));
    }
    for (client, address) in (10..13).zip(addresses) {
        assert_eq!(request(&mut after, 1, client), Ok(address));
    }
}

/// xorshift64: the same numbers everywhere.
fn roll(dice: &mut u64, sides: u64) -> u64 {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    *dice % sides
}

#[test]
fn s1_lost_late_and_repeated_messages_only_delay_a_lease() {
    for seed in 1..=100 {
        let mut dice = seed * 0x9e37_79b9;
        let mut server = new_server();
        let mut client = Dhcpv6Client::new(Instant::ZERO, Dhcpv6ClientConfig { seed: [seed, 0], ..client_config(9) });
        let (mut now, mut bound_for) = (Instant::ZERO, 0);
        let mut under_way: Vec<(Instant, Vec<u8>)> = Vec::new();
        while now < Instant::from_secs(7_200) {
            if client.next_timeout().is_some_and(|due| due <= now) {
                client.handle_timeout(now);
            }
            let mut out = [0; 512];
            while let Some(len) = client.transmit(now, &mut out) {
                decoded(&out[..len]);
                for _ in 0..roll(&mut dice, 3) {
                    let mut reply = [0; 1_232];
                    if let Some(len) = server.handle(now, SERVERS, &out[..len], &mut reply)
                        && roll(&mut dice, 3) > 0
                    {
                        under_way.push((now + Duration::from_millis(roll(&mut dice, 3_000)), reply[..len].to_vec()));
                    }
                }
            }
            under_way.sort();
            while under_way.first().is_some_and(|(arrival, _)| *arrival <= now) {
                client.handle(now, &under_way.remove(0).1);
            }
            while client.poll_event().is_some() {}
            bound_for += u32::from(client.lease().is_some());
            now += secs(1);
        }
        assert!(bound_for > 6_900, "seed {seed}: a lease for {bound_for} of 7,200 seconds");
        assert_eq!(server.leases().len(), 1, "seed {seed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn s4_random_options_do_not_break_the_server(
        messages in proptest::collection::vec((0..14u8, proptest::collection::vec((0..30u16, proptest::collection::vec(any::<u8>(), 0..40)), 0..8)), 1..20),
    ) {
        let mut server = new_server();
        for (kind, options) in messages {
            let mut bytes = vec![kind, 1, 2, 3];
            for (code, value) in options {
                bytes.extend(code.to_be_bytes());
                bytes.extend((value.len() as u16).to_be_bytes());
                bytes.extend(value);
            }
            let mut out = [0; 1_232];
            if let Some(len) = server.handle(Instant::ZERO, SERVERS, &bytes, &mut out) {
                prop_assert!(ethertab::wire::dhcpv6::Message::parse(&out[..len]).is_some());
            }
            prop_assert!(server.leases().len() <= 4);
        }
    }
}
