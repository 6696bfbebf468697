//! What a client says to servers, state by state (RFC 9915 §18.2).

use super::*;
use proptest::prelude::*;

struct Lab {
    client: Dhcpv6Client,
    now: Instant,
}

impl Lab {
    fn new(config: Dhcpv6ClientConfig) -> Lab {
        Lab { client: Dhcpv6Client::new(Instant::ZERO, config), now: Instant::ZERO }
    }

    fn sent(&mut self) -> Option<v6::Message> {
        let mut out = [0; 512];
        let len = self.client.transmit(self.now, &mut out)?;
        let message = decoded(&out[..len]);
        assert_eq!(message.opts().get(OptionCode::ClientId), Some(&DhcpOption::ClientId(duid(9))));
        assert!(message.opts().get(OptionCode::ElapsedTime).is_some());
        Some(message)
    }

    /// Waits until there is something to send.
    fn wait(&mut self) -> v6::Message {
        for _ in 0..10 {
            self.now = self.client.next_timeout().expect("something is due").max(self.now);
            self.client.handle_timeout(self.now);
            if let Some(message) = self.sent() {
                return message;
            }
        }
        panic!("nothing is sent in {:?}", self.client.state());
    }

    fn expect(&mut self, kind: v6::MessageType) -> v6::Message {
        let message = match self.sent() {
            Some(message) => message,
            None => self.wait(),
        };
        assert_eq!(message.msg_type(), kind);
        message
    }

    fn hear(&mut self, answer: &v6::Message) {
        self.client.handle(self.now, &answer.to_vec().unwrap());
    }

    fn bound() -> Lab {
        let mut lab = Lab::new(client_config(9));
        let solicit = lab.expect(v6::MessageType::Solicit);
        let mut advertise = answer(&solicit, v6::MessageType::Advertise, 1, "fd00::7");
        advertise.opts_mut().insert(DhcpOption::Preference(255));
        lab.hear(&advertise);
        let request = lab.expect(v6::MessageType::Request);
        lab.hear(&answer(&request, v6::MessageType::Reply, 1, "fd00::7"));
        assert_eq!(lab.client.poll_event(), Some(Dhcpv6ClientEvent::Bound));
        lab
    }

    fn address(&self) -> Option<Ipv6Addr> {
        self.client.lease()?.address.map(|granted| granted.address)
    }
}

fn association(address: &str, preferred: u32, valid: u32) -> DhcpOption {
    let address =
        v6::IAAddr { addr: ip(address), preferred_life: preferred, valid_life: valid, opts: Default::default() };
    let mut opts = v6::DhcpOptions::default();
    opts.insert(DhcpOption::IAAddr(address));
    DhcpOption::IANA(v6::IANA { id: 9, t1: 500, t2: 800, opts })
}

fn failed(status: v6::Status) -> DhcpOption {
    let mut opts = v6::DhcpOptions::default();
    opts.insert(DhcpOption::StatusCode(v6::StatusCode { status, msg: String::new() }));
    DhcpOption::IANA(v6::IANA { id: 9, t1: 0, t2: 0, opts })
}

/// What server number `server` answers.
fn answer(question: &v6::Message, kind: v6::MessageType, server: u8, address: &str) -> v6::Message {
    let mut message = without_lease(question, kind, server);
    message.opts_mut().insert(association(address, 1_000, 2_000));
    message
}

fn without_lease(question: &v6::Message, kind: v6::MessageType, server: u8) -> v6::Message {
    let mut message = v6::Message::new_with_id(kind, question.xid());
    message.opts_mut().insert(DhcpOption::ClientId(duid(9)));
    message.opts_mut().insert(DhcpOption::ServerId(duid(server)));
    message.opts_mut().insert(DhcpOption::DomainNameServers(vec![ip("fd00::1")]));
    message
}

#[test]
fn an_address_is_acquired_in_four_messages() {
    let mut lab = Lab::new(client_config(9));
    assert!(lab.client.next_timeout().unwrap() < Instant::from_secs(1));
    let solicit = lab.expect(v6::MessageType::Solicit);
    assert!(solicit.opts().get(OptionCode::RapidCommit).is_some());
    assert!(solicit.opts().get(OptionCode::ServerId).is_none());
    // §18.2.1: the best offer is taken after the first pause, which is above a second.
    let begun = lab.now;
    lab.hear(&answer(&solicit, v6::MessageType::Advertise, 1, "fd00::7"));
    let mut better = answer(&solicit, v6::MessageType::Advertise, 2, "fd00::8");
    better.opts_mut().insert(DhcpOption::Preference(10));
    lab.hear(&better);
    assert!(lab.sent().is_none());
    let request = lab.expect(v6::MessageType::Request);
    assert!((1_000..=1_100).contains(&lab.now.since(begun).as_millis()));
    assert_eq!(request.opts().get(OptionCode::ServerId), Some(&DhcpOption::ServerId(duid(2))));
    assert_ne!(request.xid(), solicit.xid());
    lab.hear(&answer(&request, v6::MessageType::Reply, 2, "fd00::8"));
    assert_eq!(lab.client.poll_event(), Some(Dhcpv6ClientEvent::Bound));
    let lease = *lab.client.lease().unwrap();
    assert_eq!((lab.address(), lease.expires), (Some(ip("fd00::8")), lab.now + secs(2_000)));
    assert_eq!((lease.renew_at, lease.rebind_at), (lab.now + secs(500), lab.now + secs(800)));
    assert_eq!(lab.client.parameters().dns_servers.first(), Some(ip("fd00::1")));
}

/// §15, with the parameters of §7.6.
#[test]
fn s1_lost_messages_are_sent_again_with_random_back_off() {
    for seed in 0..20 {
        let mut lab = Lab::new(Dhcpv6ClientConfig { seed: [seed, 0], ..client_config(9) });
        let first = lab.expect(v6::MessageType::Solicit);
        let mut previous = 1_000_000;
        for attempt in 0..15 {
            let before = lab.now;
            let again = lab.wait();
            assert_eq!(again.xid(), first.xid());
            let pause = lab.now.since(before).as_micros();
            let base = if attempt == 0 { 1_000_000 } else { (2 * previous).min(3_600_000_000) };
            assert!(pause.abs_diff(base) <= base / 10, "seed {seed}, attempt {attempt}: {pause} for {base}");
            assert!(attempt > 0 || pause >= 1_000_000);
            previous = pause;
        }
    }
    // A REQUEST ten times, then from the beginning.
    let mut lab = Lab::new(client_config(9));
    let solicit = lab.expect(v6::MessageType::Solicit);
    lab.hear(&answer(&solicit, v6::MessageType::Advertise, 1, "fd00::7"));
    for _ in 0..10 {
        lab.expect(v6::MessageType::Request);
    }
    lab.expect(v6::MessageType::Solicit);
}

#[test]
fn s1_a_lease_is_renewed_and_then_rebound_and_then_lost() {
    let mut lab = Lab::bound();
    let renew = lab.expect(v6::MessageType::Renew);
    assert_eq!(lab.now, lab.client.lease().unwrap().renew_at);
    assert!(renew.opts().get(OptionCode::ServerId).is_some());
    lab.hear(&answer(&renew, v6::MessageType::Reply, 2, "fd00::7"));
    assert_eq!(lab.client.state(), Dhcpv6ClientState::Renewing, "not its server");
    lab.hear(&answer(&renew, v6::MessageType::Reply, 1, "fd00::7"));
    assert_eq!(lab.client.poll_event(), Some(Dhcpv6ClientEvent::Renewed));
    let expires = lab.client.lease().unwrap().expires;
    assert_eq!(expires, lab.now + secs(2_000));
    let (mut renewals, mut rebindings) = (0, 0);
    loop {
        let message = lab.wait();
        match message.msg_type() {
            v6::MessageType::Renew => renewals += 1,
            v6::MessageType::Rebind => {
                assert!(message.opts().get(OptionCode::ServerId).is_none());
                rebindings += 1;
            }
            other => {
                assert_eq!(other, v6::MessageType::Solicit);
                break;
            }
        }
    }
    assert_eq!(lab.client.poll_event(), Some(Dhcpv6ClientEvent::Lost(Some(ip("fd00::7")))));
    assert!((3..8).contains(&renewals) && (4..10).contains(&rebindings), "{renewals} {rebindings}");
    assert!(lab.now >= expires);
}

#[test]
fn s1_a_server_that_has_forgotten_is_asked_again() {
    let mut lab = Lab::bound();
    let renew = lab.expect(v6::MessageType::Renew);
    let mut reply = without_lease(&renew, v6::MessageType::Reply, 1);
    reply.opts_mut().insert(failed(v6::Status::NoBinding));
    lab.hear(&reply);
    assert_eq!(lab.client.poll_event(), Some(Dhcpv6ClientEvent::Lost(Some(ip("fd00::7")))));
    let request = lab.expect(v6::MessageType::Request);
    lab.hear(&answer(&request, v6::MessageType::Reply, 1, "fd00::9"));
    assert_eq!(lab.client.poll_event(), Some(Dhcpv6ClientEvent::Bound));
    assert_eq!(lab.address(), Some(ip("fd00::9")));
}

/// §18.2.3.
#[test]
fn on_a_link_that_may_be_another_the_address_is_confirmed() {
    for (status, holds) in [(Some(v6::Status::Success), true), (Some(v6::Status::NotOnLink), false), (None, true)] {
        let mut lab = Lab::bound();
        lab.now += secs(10);
        lab.client.link_changed(lab.now);
        let confirm = lab.expect(v6::MessageType::Confirm);
        assert!(confirm.opts().get(OptionCode::ServerId).is_none());
        match status {
            Some(status) => {
                let mut reply = without_lease(&confirm, v6::MessageType::Reply, 3);
                let code = v6::StatusCode { status, msg: String::new() };
                reply.opts_mut().insert(DhcpOption::StatusCode(code));
                lab.hear(&reply);
            }
            None => {
                while lab.client.state() == Dhcpv6ClientState::Confirming {
                    lab.now = lab.client.next_timeout().unwrap();
                    lab.client.handle_timeout(lab.now);
                }
            }
        }
        assert_eq!(lab.client.state() == Dhcpv6ClientState::Bound, holds, "{status:?}");
        assert_eq!(lab.client.poll_event().is_some(), !holds);
    }
}

#[test]
fn an_address_in_use_is_declined_and_a_lease_given_back() {
    let mut lab = Lab::bound();
    lab.client.address_is_taken(lab.now);
    assert_eq!(lab.client.poll_event(), Some(Dhcpv6ClientEvent::Lost(Some(ip("fd00::7")))));
    let decline = lab.expect(v6::MessageType::Decline);
    assert!(decline.opts().get(OptionCode::IANA).is_some());
    lab.hear(&without_lease(&decline, v6::MessageType::Reply, 1));
    lab.expect(v6::MessageType::Solicit);

    for answered in [true, false] {
        let mut lab = Lab::bound();
        lab.client.release(lab.now);
        assert!(lab.client.lease().is_none());
        let release = lab.expect(v6::MessageType::Release);
        if answered {
            lab.hear(&without_lease(&release, v6::MessageType::Reply, 1));
        } else {
            for _ in 0..3 {
                lab.expect(v6::MessageType::Release);
            }
            lab.now = lab.client.next_timeout().unwrap();
            lab.client.handle_timeout(lab.now);
        }
        assert_eq!((lab.client.state(), lab.client.next_timeout()), (Dhcpv6ClientState::Stopped, None));
    }
}

#[test]
fn parameters_alone_are_asked_for_and_again_after_a_day() {
    let mut lab = Lab::new(Dhcpv6ClientConfig { address: false, ..client_config(9) });
    let request = lab.expect(v6::MessageType::InformationRequest);
    assert!(request.opts().get(OptionCode::IANA).is_none());
    lab.hear(&without_lease(&request, v6::MessageType::Reply, 1));
    assert_eq!(lab.client.poll_event(), Some(Dhcpv6ClientEvent::Informed));
    assert_eq!(lab.client.parameters().dns_servers.first(), Some(ip("fd00::1")));
    let before = lab.now;
    lab.expect(v6::MessageType::InformationRequest);
    assert_eq!(lab.now.since(before), secs(86_400));
}

#[test]
fn s1_answers_that_lie_are_ignored() {
    let mut lab = Lab::new(client_config(9));
    let solicit = lab.expect(v6::MessageType::Solicit);
    let right = answer(&solicit, v6::MessageType::Advertise, 1, "fd00::7");
    let mut wrong = right.clone();
    wrong.set_xid([9, 9, 9]);
    lab.hear(&wrong);
    let mut wrong = right.clone();
    wrong.opts_mut().remove(OptionCode::ClientId);
    wrong.opts_mut().insert(DhcpOption::ClientId(duid(8)));
    lab.hear(&wrong);
    assert_eq!(lab.client.counters().not_for_us, 2);
    let mut wrong = right.clone();
    wrong.opts_mut().remove(OptionCode::ServerId);
    lab.hear(&wrong);
    assert_eq!(lab.client.counters().malformed, 1);
    for address in ["ff02::1", "::", "::1", "fe80::1", "::ffff:10.0.0.1"] {
        lab.hear(&answer(&solicit, v6::MessageType::Advertise, 1, address));
    }
    for (preferred, valid) in [(2, 1), (0, 0)] {
        let mut wrong = without_lease(&solicit, v6::MessageType::Advertise, 1);
        wrong.opts_mut().insert(association("fd00::7", preferred, valid));
        lab.hear(&wrong);
    }
    let mut wrong = without_lease(&solicit, v6::MessageType::Advertise, 1);
    wrong.opts_mut().insert(failed(v6::Status::NoAddrsAvail));
    lab.hear(&wrong);
    assert_eq!(lab.client.counters().unusable, 8);
    // Without being asked, a server cannot grant at once.
    lab.hear(&answer(&solicit, v6::MessageType::Reply, 1, "fd00::7"));
    assert_eq!((lab.client.counters().unexpected, lab.client.poll_event()), (1, None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn s1_s4_damaged_answers_never_confuse_the_client(
        seed in any::<u64>(),
        steps in proptest::collection::vec((0..6u8, any::<u16>(), any::<u8>(), 0..4_000u64), 1..60),
    ) {
        let mut lab = Lab::new(Dhcpv6ClientConfig { seed: [seed, 0], prefix: seed % 2 == 0, ..client_config(9) });
        let mut last = None;
        for (step, at, value, wait) in steps {
            if let Some(message) = lab.sent() {
                last = Some(message);
            }
            let kind = match step {
                0 => v6::MessageType::Advertise,
                1 | 2 => v6::MessageType::Reply,
                3 => { lab.client.address_is_taken(lab.now); continue }
                4 => { lab.client.link_changed(lab.now); continue }
                _ => {
                    lab.now += secs(wait);
                    if lab.client.next_timeout().is_some_and(|due| due <= lab.now) {
                        lab.client.handle_timeout(lab.now);
                    }
                    continue
                }
            };
            let Some(question) = &last else { continue };
            let mut bytes = answer(question, kind, 1, "fd00::7").to_vec().unwrap();
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
                prop_assert!(lease.expires > lab.now && lease.renew_at <= lease.rebind_at && lease.rebind_at <= lease.expires);
            }
            let endless = lab.client.lease().is_some_and(|lease| lease.expires == Instant::FAR_FUTURE);
            prop_assert!(endless || lab.client.next_timeout().is_some(), "{:?}", lab.client.state());
        }
    }
}
