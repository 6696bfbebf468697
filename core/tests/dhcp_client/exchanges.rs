//! What a client and honest servers say to each other, state by state (RFC 2131 §4.4).

use super::*;

#[test]
fn a_lease_is_acquired_in_four_messages() {
    let mut lab = Lab::new(config());
    let (transmit, discover) = lab.sent().unwrap();
    assert_eq!((transmit.source, *transmit.destination.ip()), (NONE, Ipv4Addr::BROADCAST));
    assert_eq!(discover.opts().msg_type(), Some(v4::MessageType::Discover));
    assert!(discover.flags().broadcast(), "it cannot receive unicast yet");
    assert_eq!(requested(&discover), None);
    assert_eq!(discover.opts().get(OptionCode::Hostname), Some(&DhcpOption::Hostname("guest".into())));
    // RFC 4361 §6.1.
    let Some(DhcpOption::ClientIdentifier(id)) = discover.opts().get(OptionCode::ClientIdentifier) else { panic!() };
    assert_eq!((id[0], &id[5..9], &id[9..]), (255, &[0, 3, 0, 1][..], &MAC.0[..]));
    // RFC 3442: 121 before 3.
    let Some(DhcpOption::ParameterRequestList(list)) = discover.opts().get(OptionCode::ParameterRequestList) else {
        panic!()
    };
    let place = |code| list.iter().position(|listed| *listed == code);
    assert!(place(OptionCode::ClasslessStaticRoute) < place(OptionCode::Router));
    assert_eq!(place(OptionCode::Unknown(108)), None, "this host needs IPv4");

    lab.now += secs(2);
    lab.hear(&answer(&discover, v4::MessageType::Offer, SERVER, address(15)));
    let (transmit, request) = lab.sent().unwrap();
    assert_eq!((transmit.source, *transmit.destination.ip()), (NONE, Ipv4Addr::BROADCAST));
    assert_eq!(request.opts().msg_type(), Some(v4::MessageType::Request));
    assert_eq!((request.xid(), request.secs()), (discover.xid(), discover.secs()));
    assert_eq!((requested(&request), server_id(&request)), (Some(address(15)), Some(SERVER)));
    assert_eq!(request.ciaddr(), NONE);

    lab.hear(&answer(&request, v4::MessageType::Ack, SERVER, address(15)));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Bound(address(15))));
    let lease = lab.client.lease().unwrap();
    assert_eq!((lease.address, lease.prefix_len, lease.server), (address(15), 24, SERVER));
    assert_eq!(lease.routes.first().map(|route| (route.destination.length, route.router)), Some((0, SERVER)));
    assert_eq!(lease.dns_servers.first(), Some(SERVER));
    assert_eq!(lease.expires, lab.now + secs(LEASE.into()));
    assert!(lab.sent().is_none());
}

/// RFC 2131 §4.1: 4, 8, 16, 32, 64, 64... seconds, each randomised by one.
#[test]
fn s1_lost_messages_are_sent_again_with_random_back_off() {
    let mut all_delays = Vec::new();
    for seed in 0..20 {
        let mut lab = Lab::new(DhcpClientConfig { seed: [seed, 0], ..config() });
        let first = lab.expect(v4::MessageType::Discover);
        for expected in [4, 8, 16, 32, 64, 64, 64] {
            let before = lab.now;
            let (_, again) = lab.wait().unwrap();
            let delay = lab.now.since(before).as_micros();
            assert!(delay.abs_diff(expected * 1_000_000) <= 1_000_000, "seed {seed}: {delay} for {expected} s");
            assert_eq!(again.xid(), first.xid());
            assert_eq!(u64::from(again.secs()), lab.now.as_secs());
            all_delays.push(delay);
        }
    }
    all_delays.sort_unstable();
    all_delays.dedup();
    assert!(all_delays.len() > 130, "they are random");
}

#[test]
fn s1_a_request_without_an_answer_ends_and_another_server_goes_first() {
    let mut lab = Lab::new(config());
    let discover = lab.expect(v4::MessageType::Discover);
    lab.hear(&answer(&discover, v4::MessageType::Offer, SERVER, address(15)));
    lab.expect(v4::MessageType::Request);
    let mut again = 0;
    let discover = loop {
        let Some((_, message)) = lab.wait() else { continue };
        match message.opts().msg_type() {
            Some(v4::MessageType::Request) => again += 1,
            _ => break message,
        }
    };
    assert_eq!(again, 4, "RFC 2131 §3.1, step 5");
    assert!(lab.now.since(Instant::ZERO) > secs(110), "4 + 8 + 16 + 32 + 64 seconds, about");
    // Both offer; the silent one first.
    lab.hear(&answer(&discover, v4::MessageType::Offer, SERVER, address(15)));
    assert!(lab.sent().is_none(), "there may be another");
    lab.hear(&answer(&discover, v4::MessageType::Offer, OTHER_SERVER, address(16)));
    let request = lab.expect(v4::MessageType::Request);
    assert_eq!(server_id(&request), Some(OTHER_SERVER));
}

#[test]
fn s1_the_server_that_disappointed_is_taken_if_there_is_no_other() {
    let mut lab = Lab::new(config());
    let discover = lab.expect(v4::MessageType::Discover);
    lab.hear(&answer(&discover, v4::MessageType::Offer, SERVER, address(15)));
    let request = lab.expect(v4::MessageType::Request);
    lab.hear(&answer(&request, v4::MessageType::Nak, SERVER, NONE));
    let discover = lab.expect(v4::MessageType::Discover);
    lab.hear(&answer(&discover, v4::MessageType::Offer, SERVER, address(16)));
    assert!(lab.sent().is_none());
    let (_, request) = lab.wait().unwrap();
    assert_eq!((requested(&request), server_id(&request)), (Some(address(16)), Some(SERVER)));
}

#[test]
fn s1_of_two_servers_the_first_offer_is_taken_and_the_other_ack_is_ignored() {
    let mut lab = Lab::new(config());
    let discover = lab.expect(v4::MessageType::Discover);
    lab.hear(&answer(&discover, v4::MessageType::Offer, SERVER, address(15)));
    lab.hear(&answer(&discover, v4::MessageType::Offer, OTHER_SERVER, address(99)));
    let request = lab.expect(v4::MessageType::Request);
    assert_eq!(server_id(&request), Some(SERVER));
    lab.hear(&answer(&request, v4::MessageType::Ack, OTHER_SERVER, address(99)));
    lab.hear(&answer(&request, v4::MessageType::Nak, OTHER_SERVER, NONE));
    assert_eq!(lab.client.state(), DhcpClientState::Requesting);
    lab.hear(&answer(&request, v4::MessageType::Ack, SERVER, address(15)));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Bound(address(15))));
    assert_eq!(lab.client.counters().unexpected, 3);
}

/// RFC 2131 §4.4.5: unicast to the server at T1, broadcast at T2.
#[test]
fn s1_a_lease_is_renewed_and_then_rebound_and_then_lost() {
    let mut lab = Lab::bound();
    let expires = lab.client.lease().unwrap().expires;
    let (transmit, request) = lab.wait().unwrap();
    let t1 = lab.now.since(Instant::ZERO).as_secs();
    assert!((1_740..=1_800).contains(&t1), "{t1}");
    assert_eq!((transmit.source, *transmit.destination.ip()), (address(15), SERVER));
    assert_eq!((request.ciaddr(), requested(&request), server_id(&request)), (address(15), None, None));
    assert!(!request.flags().broadcast());
    assert_eq!(lab.client.state(), DhcpClientState::Renewing);

    // The answer extends it.
    lab.hear(&answer(&request, v4::MessageType::Ack, SERVER, address(15)));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Renewed(address(15))));
    assert!(lab.client.lease().unwrap().expires > expires);

    // Now nobody answers.
    let (granted, expires) = (lab.now, lab.client.lease().unwrap().expires);
    let (mut renewals, mut rebindings) = (Vec::new(), Vec::new());
    while lab.client.lease().is_some() {
        let Some((transmit, request)) = lab.wait() else { continue };
        if request.opts().msg_type() == Some(v4::MessageType::Discover) {
            break;
        }
        assert_eq!(request.ciaddr(), address(15));
        let list = if *transmit.destination.ip() == SERVER { &mut renewals } else { &mut rebindings };
        list.push(lab.now.since(granted).as_secs());
    }
    assert_eq!(lab.event(), Some(DhcpClientEvent::Lost(address(15))));
    assert_eq!(lab.now, expires);
    assert!(renewals.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{renewals:?}");
    assert!(rebindings.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{rebindings:?}");
    assert!(renewals.len() > 2 && rebindings.len() > 1 && rebindings[0] > *renewals.last().unwrap());
    assert!((3_090..=3_150).contains(&rebindings[0]), "{rebindings:?}");
}

#[test]
fn any_server_can_extend_a_lease_while_the_client_rebinds() {
    let mut lab = Lab::bound();
    while lab.client.state() != DhcpClientState::Rebinding {
        lab.wait();
    }
    lab.wait();
    let (_, request) = lab.wait().unwrap();
    lab.hear(&answer(&request, v4::MessageType::Ack, OTHER_SERVER, address(15)));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Renewed(address(15))));
    assert_eq!(lab.client.lease().unwrap().server, OTHER_SERVER);
}

#[test]
fn s1_a_nak_ends_the_lease_at_once() {
    let mut lab = Lab::bound();
    let (_, request) = lab.wait().unwrap();
    lab.hear(&answer(&request, v4::MessageType::Nak, OTHER_SERVER, NONE));
    assert!(lab.client.lease().is_some(), "not its server");
    lab.hear(&answer(&request, v4::MessageType::Nak, SERVER, NONE));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Lost(address(15))));
    let discover = lab.expect(v4::MessageType::Discover);
    assert_eq!(requested(&discover), None, "it was told not to have it");
}

/// P2: a paused machine wakes when the lease is long over, and hears an answer to what it asked before.
#[test]
fn s1_p2_a_late_answer_does_not_bring_an_expired_lease_back() {
    let mut lab = Lab::bound();
    let (_, request) = lab.wait().unwrap();
    lab.now += secs(48 * 3600);
    lab.hear(&answer(&request, v4::MessageType::Ack, SERVER, address(15)));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Lost(address(15))));
    assert!(lab.client.lease().is_none());
    let discover = lab.expect(v4::MessageType::Discover);
    assert_eq!(requested(&discover), Some(address(15)), "it may well be free");
}

#[test]
fn a_client_that_had_an_address_asks_for_it_first() {
    let mut lab = Lab::new(DhcpClientConfig { former: Some(address(15)), ..config() });
    let request = lab.expect(v4::MessageType::Request);
    assert_eq!((requested(&request), server_id(&request), request.ciaddr()), (Some(address(15)), None, NONE));
    assert_eq!(lab.client.state(), DhcpClientState::Rebooting);
    lab.hear(&answer(&request, v4::MessageType::Ack, SERVER, address(16)));
    assert_eq!(lab.event(), None, "that is not what it asked for");
    lab.hear(&answer(&request, v4::MessageType::Ack, SERVER, address(15)));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Bound(address(15))));
}

#[test]
fn a_client_that_had_an_address_elsewhere_gets_another() {
    for answered in [true, false] {
        let mut lab = Lab::new(DhcpClientConfig { former: Some(Ipv4Addr::new(192, 168, 1, 7)), ..config() });
        let request = lab.expect(v4::MessageType::Request);
        if answered {
            lab.hear(&answer(&request, v4::MessageType::Nak, SERVER, NONE));
        } else {
            while lab.client.state() != DhcpClientState::Selecting {
                lab.now = lab.client.next_timeout().unwrap();
                lab.client.handle_timeout(lab.now);
            }
            assert!(lab.now <= Instant::from_secs(15));
        }
        lab.bind();
    }
}

/// RFC 4039: DISCOVER, ACK.
#[test]
fn a_server_may_grant_an_address_at_once_if_both_say_so() {
    for (client, server) in [(true, true), (true, false), (false, true)] {
        let mut lab = Lab::new(DhcpClientConfig { rapid_commit: client, ..config() });
        let discover = lab.expect(v4::MessageType::Discover);
        assert_eq!(discover.opts().contains(OptionCode::RapidCommit), client);
        let mut ack = answer(&discover, v4::MessageType::Ack, SERVER, address(15));
        if server {
            ack.opts_mut().insert(DhcpOption::RapidCommit);
        }
        lab.hear(&ack);
        assert_eq!(lab.event().is_some(), client && server);
    }
}

/// RFC 8925 §3.1: option 108, which dhcproto has under another number.
fn ipv6_only(wait: u32) -> DhcpOption {
    DhcpOption::Unknown(v4::UnknownOption::new(OptionCode::Unknown(108), wait.to_be_bytes().to_vec()))
}

/// RFC 8925 §3.2.
#[test]
fn a_host_that_can_do_without_ipv4_does_where_the_network_prefers_it() {
    for (wait, expected) in [(1, 300), (1_800, 1_800)] {
        let mut lab = Lab::new(DhcpClientConfig { ipv6_only: true, ..config() });
        let discover = lab.expect(v4::MessageType::Discover);
        let mut offer = answer(&discover, v4::MessageType::Offer, SERVER, address(15));
        offer.opts_mut().insert(ipv6_only(wait));
        lab.hear(&offer);
        let until = Instant::from_secs(expected);
        assert_eq!(lab.event(), Some(DhcpClientEvent::Ipv6Only(until)));
        assert!(lab.sent().is_none());
        assert_eq!(lab.client.next_timeout(), Some(until));
        lab.now = until;
        lab.expect(v4::MessageType::Discover);
    }
    // Another host has not asked, and takes the offer.
    let mut lab = Lab::new(config());
    let discover = lab.expect(v4::MessageType::Discover);
    let mut offer = answer(&discover, v4::MessageType::Offer, SERVER, address(15));
    offer.opts_mut().insert(ipv6_only(1_800));
    lab.hear(&offer);
    lab.expect(v4::MessageType::Request);
}

#[test]
fn an_address_that_somebody_has_is_declined() {
    let mut lab = Lab::new(DhcpClientConfig { check: true, ..config() });
    let discover = lab.expect(v4::MessageType::Discover);
    lab.hear(&answer(&discover, v4::MessageType::Offer, SERVER, address(15)));
    let request = lab.expect(v4::MessageType::Request);
    lab.hear(&answer(&request, v4::MessageType::Ack, SERVER, address(15)));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Check(address(15))));
    assert!(lab.client.lease().is_none(), "not before it was checked");
    lab.client.address_is_taken(lab.now);
    let (transmit, decline) = lab.sent().unwrap();
    assert_eq!(decline.opts().msg_type(), Some(v4::MessageType::Decline));
    assert_eq!((transmit.source, *transmit.destination.ip()), (NONE, Ipv4Addr::BROADCAST));
    assert_eq!((requested(&decline), server_id(&decline)), (Some(address(15)), Some(SERVER)));
    assert_eq!(decline.ciaddr(), NONE);
    // RFC 2131 table 5: MUST NOT.
    assert!(!decline.opts().contains(OptionCode::ParameterRequestList));
    assert!(lab.client.next_timeout().unwrap() >= lab.now + secs(10));
    let (_, discover) = lab.wait().unwrap();
    lab.hear(&answer(&discover, v4::MessageType::Offer, SERVER, address(16)));
    let request = lab.expect(v4::MessageType::Request);
    lab.hear(&answer(&request, v4::MessageType::Ack, SERVER, address(16)));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Check(address(16))));
    lab.client.address_is_free(lab.now);
    assert_eq!(lab.event(), Some(DhcpClientEvent::Bound(address(16))));
}

/// RFC 5227 §2.4: a conflict may show later.
#[test]
fn an_address_that_somebody_takes_later_is_declined_too() {
    let mut lab = Lab::bound();
    lab.now += secs(100);
    lab.client.address_is_taken(lab.now);
    assert_eq!(lab.event(), Some(DhcpClientEvent::Lost(address(15))));
    lab.expect(v4::MessageType::Decline);
    assert_eq!(lab.client.counters().conflicts, 1);
}

#[test]
fn a_lease_is_given_back() {
    let mut lab = Lab::bound();
    lab.client.release(lab.now);
    let (transmit, release) = lab.sent().unwrap();
    assert_eq!(release.opts().msg_type(), Some(v4::MessageType::Release));
    assert_eq!((transmit.source, *transmit.destination.ip()), (address(15), SERVER));
    assert_eq!((release.ciaddr(), server_id(&release), requested(&release)), (address(15), Some(SERVER), None));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Lost(address(15))));
    assert_eq!((lab.client.state(), lab.client.next_timeout()), (DhcpClientState::Stopped, None));
    lab.client.restart(lab.now);
    let request = lab.expect(v4::MessageType::Request);
    assert_eq!(requested(&request), Some(address(15)));
}

#[test]
fn a_host_with_an_address_asks_for_the_other_parameters() {
    let mut lab = Lab::new(config());
    lab.client.inform(lab.now, address(9));
    let (transmit, inform) = lab.sent().unwrap();
    assert_eq!(inform.opts().msg_type(), Some(v4::MessageType::Inform));
    assert_eq!((transmit.source, *transmit.destination.ip()), (address(9), Ipv4Addr::BROADCAST));
    assert_eq!((inform.ciaddr(), requested(&inform)), (address(9), None));
    let (_, again) = lab.wait().unwrap();
    assert_eq!(again.xid(), inform.xid());
    lab.hear(&answer(&inform, v4::MessageType::Ack, SERVER, NONE));
    assert_eq!(lab.event(), Some(DhcpClientEvent::Informed));
    assert_eq!(lab.client.parameters().unwrap().dns_servers.first(), Some(SERVER));
    assert!(lab.client.lease().is_none() && lab.client.next_timeout().is_none());
}

/// RFC 3442: instead of the routers of option 3, also if split over two options (RFC 3396), with host bits cleared.
#[test]
fn classless_routes_take_the_place_of_the_routers() {
    let mut lab = Lab::new(config());
    let discover = lab.expect(v4::MessageType::Discover);
    lab.hear(&answer(&discover, v4::MessageType::Offer, SERVER, address(15)));
    let request = lab.expect(v4::MessageType::Request);
    let mut bytes = answer(&request, v4::MessageType::Ack, SERVER, address(15)).to_vec().unwrap();
    let end = bytes.iter().rposition(|octet| *octet == 255).unwrap();
    bytes.truncate(end);
    let first = [0, 10, 0, 2, 1, 20, 172, 16];
    let second = [0x1f, 10, 0, 2, 4, 33, 1, 2, 3, 4];
    for part in [&first[..], &second[..]] {
        bytes.extend([121, part.len() as u8]);
        bytes.extend(part);
    }
    bytes.push(255);
    lab.client.handle(lab.now, &bytes);
    let routes: Vec<_> = lab
        .client
        .lease()
        .unwrap()
        .routes
        .iter()
        .map(|route| (route.destination.to_string(), route.router.to_string()))
        .collect();
    let expected = [("0.0.0.0/0", "10.0.2.1"), ("172.16.16.0/20", "10.0.2.4")];
    assert_eq!(routes, expected.map(|(network, router)| (network.to_owned(), router.to_owned())));
}

#[test]
fn a_lease_for_ever_is_never_renewed() {
    let mut lab = Lab::new(config());
    let discover = lab.expect(v4::MessageType::Discover);
    let mut offer = answer(&discover, v4::MessageType::Offer, SERVER, address(15));
    offer.opts_mut().insert(DhcpOption::AddressLeaseTime(u32::MAX));
    lab.hear(&offer);
    let request = lab.expect(v4::MessageType::Request);
    let mut ack = answer(&request, v4::MessageType::Ack, SERVER, address(15));
    ack.opts_mut().insert(DhcpOption::AddressLeaseTime(u32::MAX));
    lab.hear(&ack);
    assert_eq!((lab.client.state(), lab.client.next_timeout()), (DhcpClientState::Bound, None));
}
