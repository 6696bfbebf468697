//! Answers that lie (S1), and floods of them (S4).

use super::*;
use proptest::prelude::*;

#[test]
fn s1_answers_of_other_transactions_and_for_other_clients_are_ignored() {
    let mut lab = Lab::new(config());
    let discover = lab.expect(v4::MessageType::Discover);
    let offer = answer(&discover, v4::MessageType::Offer, SERVER, address(15));
    for change in 0..4 {
        let mut offer = offer.clone();
        match change {
            0 => _ = offer.set_xid(discover.xid().wrapping_add(1)),
            1 => _ = offer.set_chaddr(&[2, 2, 2, 2, 2, 2]),
            2 => _ = offer.set_opcode(v4::Opcode::BootRequest),
            _ => _ = offer.set_htype(v4::HType::Unknown(7)),
        }
        lab.hear(&offer);
        assert!(lab.sent().is_none(), "{change}");
    }
    assert_eq!(lab.client.counters().not_for_us, 4);
}

#[test]
fn s1_addresses_masks_and_leases_that_no_host_can_use_are_ignored() {
    let mut lab = Lab::new(config());
    let discover = lab.expect(v4::MessageType::Discover);
    let bad_addresses = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.1.2.3", "10.0.2.0", "10.0.2.255"];
    for text in bad_addresses {
        lab.hear(&answer(&discover, v4::MessageType::Offer, SERVER, text.parse().unwrap()));
    }
    for mask in ["0.0.0.0", "255.0.255.0", "0.255.255.255"] {
        let mut offer = answer(&discover, v4::MessageType::Offer, SERVER, address(15));
        offer.opts_mut().insert(DhcpOption::SubnetMask(mask.parse().unwrap()));
        lab.hear(&offer);
    }
    for code in [OptionCode::AddressLeaseTime, OptionCode::ServerIdentifier] {
        let mut offer = answer(&discover, v4::MessageType::Offer, SERVER, address(15));
        offer.opts_mut().remove(code);
        lab.hear(&offer);
    }
    assert!(lab.sent().is_none());
    assert_eq!(lab.client.counters().unusable, bad_addresses.len() as u64 + 3 + 2);
}

/// A server that grants leases of no time, and then refuses, again and again.
#[test]
fn s1_s4_a_hostile_server_cannot_make_a_client_send_without_pause() {
    for lease_time in [0, 1, 2] {
        let mut lab = Lab::new(config());
        let mut sent = 0;
        while lab.now < Instant::from_secs(3_600) {
            if let Some((_, message)) = lab.sent() {
                sent += 1;
                let kind = match message.opts().msg_type() {
                    Some(v4::MessageType::Discover) => v4::MessageType::Offer,
                    _ => v4::MessageType::Ack,
                };
                let mut reply = answer(&message, kind, SERVER, address(15));
                reply.opts_mut().insert(DhcpOption::AddressLeaseTime(lease_time));
                lab.hear(&reply);
            } else {
                lab.now = lab.client.next_timeout().unwrap();
            }
        }
        assert!(sent <= 2 * 3_600, "{sent} messages in an hour");
    }
    let mut lab = Lab::new(config());
    let mut sent = 0;
    while lab.now < Instant::from_secs(3_600) {
        match lab.sent() {
            Some((_, message)) => {
                sent += 1;
                let kind = match message.opts().msg_type() {
                    Some(v4::MessageType::Discover) => v4::MessageType::Offer,
                    _ => v4::MessageType::Nak,
                };
                lab.hear(&answer(&message, kind, SERVER, address(15)));
            }
            None => lab.now = lab.client.next_timeout().unwrap(),
        }
    }
    assert!(sent < 200, "{sent} messages in an hour");
}

#[test]
fn s4_a_flood_of_offers_costs_one_request() {
    let mut lab = Lab::new(config());
    let discover = lab.expect(v4::MessageType::Discover);
    for host in 1..=200 {
        lab.hear(&answer(&discover, v4::MessageType::Offer, address(host), address(201)));
    }
    lab.expect(v4::MessageType::Request);
    assert!(lab.sent().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Octets of a real answer changed, cut and repeated, in every state: nothing panics, the client always has something due or a
    /// reason to rest, and it never uses an address that no host can have.
    #[test]
    fn s1_damaged_answers_never_confuse_the_client(
        seed in any::<u64>(),
        steps in proptest::collection::vec((0..7u8, any::<u16>(), any::<u8>(), 0..4_000u64), 1..60),
    ) {
        let mut lab = Lab::new(DhcpClientConfig { seed: [seed, 0], check: seed % 2 == 0, ipv6_only: true, ..config() });
        let mut last = None;
        for (step, at, value, wait) in steps {
            if let Some((_, message)) = lab.sent() {
                last = Some(message);
            }
            let kind = match step {
                0 => v4::MessageType::Offer,
                1 | 2 => v4::MessageType::Ack,
                3 => v4::MessageType::Nak,
                4 => { lab.client.address_is_free(lab.now); continue }
                5 => { lab.client.address_is_taken(lab.now); continue }
                _ => { lab.now += secs(wait); continue }
            };
            let Some(question) = &last else { continue };
            let mut bytes = answer(question, kind, SERVER, address(15)).to_vec().unwrap();
            if at % 3 == 0 {
                let place = usize::from(at) % bytes.len();
                bytes[place] = value;
                if at % 2 == 0 {
                    bytes.truncate(place);
                }
            }
            lab.client.handle(lab.now, &bytes);
            while lab.client.poll_event().is_some() {}
            if let Some(lease) = lab.client.lease() {
                prop_assert!(!lease.address.is_multicast() && !lease.address.is_unspecified());
                prop_assert!(lease.renew_at <= lease.rebind_at && lease.rebind_at <= lease.expires);
            }
            let rests = matches!(lab.client.state(), DhcpClientState::Stopped | DhcpClientState::Informed)
                || lab.client.lease().is_some_and(|lease| lease.expires == Instant::FAR_FUTURE)
                || lab.client.state() == DhcpClientState::Checking;
            prop_assert!(rests || lab.client.next_timeout().is_some(), "{:?}", lab.client.state());
        }
    }

    #[test]
    fn random_octets_are_no_answers(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut lab = Lab::new(config());
        lab.expect(v4::MessageType::Discover);
        lab.client.handle(lab.now, &bytes);
        prop_assert_eq!(lab.client.state(), DhcpClientState::Selecting);
    }
}
