//! The DNS server, asked and judged by messages that an independent implementation (hickory-proto) builds and reads.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::str::FromStr;

use ethertab::services::{
    AddNameError, Answer, DnsAction, DnsConfig, DnsEntry, DnsServer, PendingQuestion, QueryId, UnknownNames,
};
use ethertab::storage::Storage;
use ethertab::time::{Duration, Instant};
use ethertab::wire::dns::{DnsError, Name as WireName, RecordType as WireType};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use proptest::prelude::*;

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn from(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 2, 15], port))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn server_that(unknown: UnknownNames) -> DnsServer<'static> {
    let config = DnsConfig { unknown, ttl: 300, negative_ttl: 7, ..DnsConfig::default() };
    let mut server = DnsServer::new(config, Storage::with_capacity(64), Storage::with_capacity(4));
    server.add("shop.test", ip("10.0.2.2")).unwrap();
    server.add("shop.test", ip("fd00::2")).unwrap();
    server.add("Gateway.Lab.Test.", ip("10.0.2.2")).unwrap();
    server.add("v4.test", ip("10.0.2.3")).unwrap();
    server
}

fn server() -> DnsServer<'static> {
    server_that(UnknownNames::NxDomain)
}

fn query(id: u16, name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn reply(server: &mut DnsServer<'_>, message: &Message) -> Message {
    let mut out = [0xaa; 4096];
    match server.handle(at(0), from(4000), &message.to_vec().unwrap(), &mut out) {
        DnsAction::Reply(len) => judge(&out[..len], message),
        other => panic!("{other:?}"),
    }
}

/// Reads an answer and checks what every answer must have.
fn judge(octets: &[u8], query: &Message) -> Message {
    let answer = Message::from_vec(octets).expect("a message that hickory reads");
    assert_eq!(answer.metadata.id, query.metadata.id);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert_eq!(answer.metadata.op_code, query.metadata.op_code);
    assert_eq!(answer.metadata.recursion_desired, query.metadata.recursion_desired);
    assert_eq!(answer.edns.is_some(), query.edns.is_some());
    answer
}

fn ask(server: &mut DnsServer<'_>, name: &str, kind: RecordType) -> Message {
    reply(server, &query(0x1234, name, kind))
}

fn addresses(answer: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| data.ip_addr().expect("an address");
    answer.answers.iter().map(|record| address(&record.data)).collect()
}

fn pending(server: &mut DnsServer<'_>, now: Instant, port: u16, message: &Message) -> Option<QueryId> {
    match server.handle(now, from(port), &message.to_vec().unwrap(), &mut [0; 512]) {
        DnsAction::Ask(id) => Some(id),
        _ => None,
    }
}

#[test]
fn addresses_come_from_the_table_by_type() {
    let mut server = server();
    let answer = ask(&mut server, "shop.test.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available && !answer.metadata.truncation);
    assert_eq!(addresses(&answer), [ip("10.0.2.2")]);
    assert_eq!((answer.answers[0].ttl, answer.answers[0].dns_class), (300, DNSClass::IN));
    assert_eq!(answer.answers[0].name, Name::from_str("shop.test.").unwrap());
    assert_eq!(addresses(&ask(&mut server, "shop.test.", RecordType::AAAA)), [ip("fd00::2")]);
    assert_eq!(addresses(&ask(&mut server, "shop.test.", RecordType::ANY)), [ip("10.0.2.2"), ip("fd00::2")]);
    assert_eq!(server.counters().from_table, 3);
}

#[test]
fn a_recorded_query_of_a_stub_resolver_is_answered_to_the_octet() {
    // As musl's resolver sends it: ID, RD, one question "gateway.lab.test" A IN, here in mixed case (0x20 encoding).
    let mut message = vec![0x8b, 0x1e, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(b"\x07gAteWay\x03LAB\x04test\x00\x00\x01\x00\x01");
    let mut out = [0; 512];
    let action = server().handle(at(0), from(4000), &message, &mut out);
    let mut expected = message.clone();
    expected[2..8].copy_from_slice(&[0x85, 0x80, 0, 1, 0, 1]);
    expected.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 10, 0, 2, 2]);
    assert_eq!(action, DnsAction::Reply(expected.len()));
    assert_eq!(out[..expected.len()], expected);
}

#[test]
fn a_name_without_the_type_is_no_data_and_a_name_that_is_not_there_nxdomain() {
    let mut server = server();
    for (name, kind, code, zone) in [
        ("v4.test.", RecordType::AAAA, ResponseCode::NoError, "v4.test."),
        ("v4.test.", RecordType::MX, ResponseCode::NoError, "v4.test."),
        // RFC 8020: there are names below it.
        ("lab.test.", RecordType::A, ResponseCode::NoError, "lab.test."),
        ("nothing.test.", RecordType::A, ResponseCode::NXDomain, "test."),
        ("below.v4.test.", RecordType::A, ResponseCode::NXDomain, "v4.test."),
        ("single.", RecordType::A, ResponseCode::NXDomain, "."),
    ] {
        let answer = ask(&mut server, name, kind);
        assert_eq!(answer.metadata.response_code, code, "{name} {kind}");
        assert!(answer.answers.is_empty());
        assert_eq!(answer.authorities.len(), 1);
        let record = &answer.authorities[0];
        assert_eq!(record.name, Name::from_str(zone).unwrap());
        let RData::SOA(soa) = &record.data else { panic!("{record}") };
        // RFC 2308 §5: the lesser of TTL and MINIMUM counts.
        assert_eq!((record.ttl, soa.minimum), (7, 7));
    }
}

#[test]
fn reverse_lookups_find_the_first_name() {
    let mut server = server();
    let answer = ask(&mut server, "2.2.0.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(answer.answers.len(), 1);
    let RData::PTR(target) = &answer.answers[0].data else { panic!() };
    assert_eq!(target.0, Name::from_str("shop.test.").unwrap());
    let nibbles = format!("2.{}0.0.d.f.ip6.arpa.", "0.".repeat(27));
    let answer = ask(&mut server, &nibbles, RecordType::PTR);
    let RData::PTR(target) = &answer.answers[0].data else { panic!() };
    assert_eq!(target.0, Name::from_str("shop.test.").unwrap());
    let answer = ask(&mut server, "9.2.0.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    let answer = ask(&mut server, "2.2.0.10.in-addr.arpa.", RecordType::A);
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
}

#[test]
fn names_are_added_once_and_removed_whole() {
    let mut server = server();
    assert_eq!(server.add("SHOP.test", ip("10.0.2.2")), Ok(()));
    assert_eq!(addresses(&ask(&mut server, "shop.test.", RecordType::A)).len(), 1);
    assert_eq!(server.remove("Shop.Test"), 2);
    assert_eq!(server.remove("shop.test"), 0);
    assert_eq!(ask(&mut server, "shop.test.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
    let answer = ask(&mut server, "2.2.0.10.in-addr.arpa.", RecordType::PTR);
    let RData::PTR(target) = &answer.answers[0].data else { panic!() };
    assert_eq!(target.0, Name::from_str("gateway.lab.test.").unwrap(), "the next name takes over");
    assert_eq!(server.add("a..b", ip("10.0.2.2")), Err(AddNameError::Name(DnsError::Label(0))));
    let mut slice = [DnsEntry::EMPTY; 1];
    let mut small = DnsServer::new(DnsConfig::default(), Storage::borrowed(&mut slice), Storage::with_capacity(1));
    assert_eq!(small.add("a.test", ip("10.0.2.2")), Ok(()));
    assert_eq!(small.add("b.test", ip("10.0.2.2")), Err(AddNameError::Full));
}

#[test]
fn the_application_answers_unknown_names() {
    let mut server = server_that(UnknownNames::Ask);
    let message = query(77, "Example.ORG.", RecordType::A);
    let id = pending(&mut server, at(0), 4001, &message).unwrap();
    let (name, kind) = server.question(id).unwrap();
    assert_eq!((name.to_string().as_str(), kind), ("Example.ORG", WireType::A));
    let found = [ip("192.0.2.7"), ip("2001:db8::7"), ip("192.0.2.8")];
    let mut out = [0; 512];
    let (to, len) = server.answer(id, Answer::Addresses { addresses: &found, ttl: 99 }, &mut out).unwrap();
    assert_eq!(to, from(4001));
    let answer = judge(&out[..len], &message);
    assert_eq!(addresses(&answer), [ip("192.0.2.7"), ip("192.0.2.8")]);
    assert_eq!(answer.answers[0].ttl, 99);
    assert!(!answer.metadata.authoritative);
    assert_eq!(answer.queries[0].name().to_string(), "Example.ORG.", "in the case it was asked");
    assert!(server.question(id).is_none());
    assert!(server.answer(id, Answer::NxDomain, &mut out).is_none(), "one answer for one question");
}

#[test]
fn the_application_can_answer_in_every_way() {
    let target = WireName::from_text("host.example").unwrap();
    for (kind, answer, code, answers) in [
        (RecordType::AAAA, Answer::Addresses { addresses: &[ip("192.0.2.7")], ttl: 1 }, ResponseCode::NoError, 0),
        (RecordType::MX, Answer::Addresses { addresses: &[ip("192.0.2.7")], ttl: 1 }, ResponseCode::NoError, 0),
        (RecordType::PTR, Answer::Pointer { name: &target, ttl: 1 }, ResponseCode::NoError, 1),
        (RecordType::A, Answer::NxDomain, ResponseCode::NXDomain, 0),
        (RecordType::A, Answer::ServFail, ResponseCode::ServFail, 0),
        (RecordType::A, Answer::Refused, ResponseCode::Refused, 0),
    ] {
        let mut server = server_that(UnknownNames::Ask);
        let message = query(1, "7.2.0.192.in-addr.arpa.", kind);
        let id = pending(&mut server, at(0), 4001, &message).unwrap();
        let mut out = [0; 512];
        let (_, len) = server.answer(id, answer, &mut out).unwrap();
        let answer = judge(&out[..len], &message);
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (code, answers));
    }
}

#[test]
fn a_repeated_question_is_asked_once() {
    let mut server = server_that(UnknownNames::Ask);
    let message = query(5, "example.org.", RecordType::A);
    assert!(pending(&mut server, at(0), 4001, &message).is_some());
    assert_eq!(server.handle(at(1), from(4001), &message.to_vec().unwrap(), &mut [0; 512]), DnsAction::Ignore);
    assert_eq!(server.counters().duplicates, 1);
    assert!(pending(&mut server, at(1), 4002, &message).is_some(), "another socket");
    assert_eq!(server.counters().asked, 2);
}

#[test]
fn questions_wait_for_a_limited_time_and_no_client_takes_every_place() {
    let mut server = server_that(UnknownNames::Ask);
    let message = |id| query(id, "example.org.", RecordType::A);
    let first = pending(&mut server, at(0), 4001, &message(1)).unwrap();
    pending(&mut server, at(0), 4001, &message(2)).unwrap();
    let refused = reply(&mut server, &message(3));
    assert_eq!(refused.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(server.counters().overloaded, 1);
    let other = SocketAddr::from(([10, 0, 2, 16], 4001));
    let action = server.handle(at(1), other, &message(1).to_vec().unwrap(), &mut [0; 512]);
    assert!(matches!(action, DnsAction::Ask(_)), "a place is left for another client");
    let again = pending(&mut server, at(10), 4001, &message(3)).expect("the first two have expired");
    assert_eq!(server.counters().expired, 2);
    assert_ne!(first, again);
    assert!(server.question(first).is_none());
    assert!(server.answer(first, Answer::NxDomain, &mut [0; 512]).is_none());
    assert!(server.question(again).is_some());
}

#[test]
fn a_server_without_places_fails_at_once() {
    let mut none: [PendingQuestion; 0] = [];
    let mut server = DnsServer::new(DnsConfig::default(), Storage::with_capacity(1), Storage::borrowed(&mut none));
    let answer = ask(&mut server, "example.org.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn what_does_not_fit_is_truncated_and_comes_whole_over_tcp() {
    let mut server = server();
    for last in 0..50 {
        server.add("many.test", Ipv4Addr::new(10, 1, 0, last).into()).unwrap();
    }
    let mut message = query(9, "many.test.", RecordType::A);
    let mut out = [0; 4096];
    let DnsAction::Reply(len) = server.handle(at(0), from(1), &message.to_vec().unwrap(), &mut out) else { panic!() };
    let answer = judge(&out[..len], &message);
    assert!(len <= 512 && answer.metadata.truncation && answer.answers.len() == 30);
    assert_eq!(server.counters().truncated, 1);

    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns.clone());
    let DnsAction::Reply(len) = server.handle(at(0), from(1), &message.to_vec().unwrap(), &mut out) else { panic!() };
    let answer = judge(&out[..len], &message);
    assert!(len <= 1232 && !answer.metadata.truncation && answer.answers.len() == 50);

    // RFC 6891 §6.2.3: less than 512 means 512; and the OPT record has its room when answers are left out.
    edns.set_max_payload(100);
    message.set_edns(edns);
    let DnsAction::Reply(len) = server.handle(at(0), from(1), &message.to_vec().unwrap(), &mut out) else { panic!() };
    let answer = judge(&out[..len], &message);
    assert!(len > 490 && len <= 512 && answer.metadata.truncation);

    message.edns = None;
    let action = server.handle_stream(at(0), from(1), &message.to_vec().unwrap(), &mut out);
    let DnsAction::Reply(len) = action else { panic!() };
    assert_eq!(judge(&out[..len], &message).answers.len(), 50);
}

#[test]
fn edns_is_answered_with_the_servers_size_and_version() {
    let mut server = server();
    let mut message = query(3, "shop.test.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    message.set_edns(edns.clone());
    let answer = reply(&mut server, &message);
    let ours = answer.edns.unwrap();
    assert_eq!((ours.max_payload(), ours.version(), ours.flags().dnssec_ok), (1232, 0, true));
    edns.set_version(1);
    message.set_edns(edns);
    let answer = reply(&mut server, &message);
    // BADVERS; hickory calls 16 by the name that it has in TSIG.
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert!(answer.answers.is_empty());
    assert_eq!(answer.edns.unwrap().version(), 0);
}

#[test]
fn a_query_has_exactly_one_question() {
    let mut server = server();
    let mut message = query(3, "shop.test.", RecordType::A);
    message.add_query(Query::query(Name::from_str("v4.test.").unwrap(), RecordType::A));
    assert_eq!(reply(&mut server, &message).metadata.response_code, ResponseCode::FormErr);
    message.queries.clear();
    assert_eq!(reply(&mut server, &message).metadata.response_code, ResponseCode::FormErr);
    assert_eq!(server.counters().malformed, 2);
}

#[test]
fn other_operations_types_and_classes_are_declined() {
    let mut server = server();
    let mut update = query(3, "shop.test.", RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(reply(&mut server, &update).metadata.response_code, ResponseCode::NotImp);
    assert_eq!(ask(&mut server, "shop.test.", RecordType::AXFR).metadata.response_code, ResponseCode::Refused);
    let mut chaos = query(3, "version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(reply(&mut server, &chaos).metadata.response_code, ResponseCode::Refused);
    let mut refusing = server_that(UnknownNames::Refuse);
    assert_eq!(ask(&mut refusing, "example.org.", RecordType::A).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn responses_and_fragments_of_messages_get_no_answer() {
    let mut server = server();
    let mut message = query(3, "shop.test.", RecordType::A);
    let octets = message.to_vec().unwrap();
    assert_eq!(server.handle(at(0), from(0), &octets, &mut [0; 512]), DnsAction::Ignore);
    assert_eq!(server.handle(at(0), from(1), &octets[..11], &mut [0; 512]), DnsAction::Ignore);
    assert_eq!(server.handle(at(0), from(1), &octets, &mut [0; 20]), DnsAction::Ignore);
    message.metadata.message_type = MessageType::Response;
    assert_eq!(server.handle(at(0), from(1), &message.to_vec().unwrap(), &mut [0; 512]), DnsAction::Ignore);
    let counters = server.counters();
    assert_eq!((counters.responses, counters.malformed, counters.no_room), (2, 1, 1));
}

#[test]
fn compression_in_the_question_is_followed_without_loops() {
    let mut server = server();
    let header = [0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let ends = [0, 1, 0, 1];
    let mut code = |name: &[u8]| {
        let message = [&header[..], name, &ends].concat();
        let mut out = [0; 512];
        match server.handle(at(0), from(1), &message, &mut out) {
            DnsAction::Reply(_) => out[3] & 0xf,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code(&[0xc0, 12]), 1, "to itself");
    assert_eq!(code(&[1, b'a', 0xc0, 12]), 1, "to its own start");
    assert_eq!(code(&[0xc0, 14]), 1, "forwards");
    assert_eq!(code(&[0x80, 0]), 1, "a label type that does not exist");
    // Into the header, to a zero octet: legal, if odd. The root exists, and has no address.
    assert_eq!(code(&[0xc0, 4]), 0);
}

proptest! {
    #[test]
    fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..600), room in 0usize..600) {
        server_that(UnknownNames::Ask).handle(at(0), from(1), &octets, &mut vec![0; room]);
    }

    #[test]
    fn mutated_queries_get_answers_that_can_be_read(
        name in "[a-z]{1,9}(\\.[a-zA-Z0-9]{1,20}){0,5}\\.",
        kind in 0u16..300,
        cut in 0usize..300,
        changes in proptest::collection::vec((0usize..300, any::<u8>()), 0..6),
        size in any::<u16>(),
    ) {
        let mut message = query(3, &name, RecordType::from(kind));
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
        let mut octets = message.to_vec().unwrap();
        for (place, value) in changes {
            let place = place % octets.len();
            octets[place] = value;
        }
        let mut out = [0; 1500];
        for cut in [octets.len(), cut.min(octets.len())] {
            let mut server = server();
            if let DnsAction::Reply(len) = server.handle(at(0), from(1), &octets[..cut], &mut out) {
                prop_assert!(len <= 1232);
                let header = ethertab::wire::dns::Header::read(&out[..len]).unwrap();
                prop_assert!(header.response);
                prop_assert_eq!(&out[..2], &octets[..2]);
                // hickory reads fewer label octets and opcodes than DNS allows, not fewer layouts.
                if octets[2..].is_ascii() && octets[2] & 0x78 == 0 {
                    prop_assert!(Message::from_vec(&out[..len]).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_flood_of_questions_leaves_the_table_served(count in 1u16..200, wait in 0u64..3) {
        let mut server = server_that(UnknownNames::Ask);
        for id in 0..count {
            let message = query(id, &format!("n{id}.example."), RecordType::A);
            let now = Instant::ZERO + Duration::from_secs(wait * u64::from(id));
            let client = SocketAddr::from(([10, 0, 2, (id % 250) as u8], 4000));
            server.handle(now, client, &message.to_vec().unwrap(), &mut [0; 512]);
        }
        prop_assert_eq!(addresses(&ask(&mut server, "shop.test.", RecordType::A)), [ip("10.0.2.2")]);
    }
}
