//! Zones and wildcards of the DNS server, and what it relays, asked and judged by hickory-proto.

use std::net::SocketAddr;
use std::str::FromStr as _;

use ethertab::services::resolver::{CacheEntry, Lookup};
use ethertab::services::{DnsAction, DnsConfig, DnsServer, Resolver, ResolverConfig, UnknownNames};
use ethertab::storage::Storage;
use ethertab::time::Instant;
use ethertab::wire::dns::Name as WireName;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinEncodable as _};

fn server(names: &[(&str, &str)], zones: &[&str]) -> DnsServer<'static> {
    let zones = zones.iter().map(|zone| WireName::from_text(zone).unwrap()).collect();
    let config = DnsConfig { zones, unknown: UnknownNames::Ask, ..DnsConfig::default() };
    let mut server = DnsServer::new(config, Storage::with_capacity(16), Storage::with_capacity(8));
    for (name, address) in names {
        server.add(name, address.parse().unwrap()).unwrap();
    }
    server
}

/// The answer; `None` if the application is asked.
fn ask(server: &mut DnsServer<'_>, name: &str, kind: RecordType) -> Option<Message> {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_str(name).unwrap(), kind));
    let from = SocketAddr::from(([10, 0, 2, 15], 4_000));
    let mut out = [0; 1_232];
    match server.handle(Instant::ZERO, from, &query.to_bytes().unwrap(), &mut out) {
        DnsAction::Reply(len) => Some(Message::from_bytes(&out[..len]).expect("hickory reads it")),
        _ => None,
    }
}

/// The addresses, or the response code and the owner of the SOA.
fn found(server: &mut DnsServer<'_>, name: &str) -> Result<Vec<String>, (ResponseCode, String)> {
    let answer = ask(server, name, RecordType::A).expect("an answer");
    assert!(answer.metadata.authoritative);
    if answer.answers.is_empty() {
        let soa = &answer.authorities[0];
        assert_eq!(soa.record_type(), RecordType::SOA);
        return Err((answer.metadata.response_code, soa.name.to_string()));
    }
    assert!(
        answer.answers.iter().all(|record| record.name == Name::from_str(name).unwrap()),
        "the owner is what was asked for"
    );
    Ok(answer.answers.iter().map(|record| record.data.to_string()).collect())
}

/// RFC 4592 §2.2.1, with its example as far as it is about addresses.
#[test]
fn a_wildcard_answers_below_its_closest_encloser_only() {
    let names = [
        ("*.example.", "10.0.0.1"),
        ("host1.example.", "10.0.0.2"),
        ("a.sub.example.", "10.0.0.3"),
        ("*.sub.example.", "10.0.0.4"),
    ];
    let mut server = server(&names, &["example."]);
    let nothing = |code| Err((code, "example.".to_owned()));
    for (name, expected) in [
        ("host3.example.", Ok(vec!["10.0.0.1".to_owned()])),
        ("HOST4.Example.", Ok(vec!["10.0.0.1".to_owned()])),
        ("foo.bar.example.", Ok(vec!["10.0.0.1".to_owned()])),
        ("host1.example.", Ok(vec!["10.0.0.2".to_owned()])),
        ("b.sub.example.", Ok(vec!["10.0.0.4".to_owned()])),
        ("*.example.", Ok(vec!["10.0.0.1".to_owned()])),
        // The encloser exists, and is no wildcard's.
        ("ghost.host1.example.", nothing(ResponseCode::NXDomain)),
        ("x.a.sub.example.", nothing(ResponseCode::NXDomain)),
        // It has names below it, and so exists.
        ("sub.example.", nothing(ResponseCode::NoError)),
        ("example.", nothing(ResponseCode::NoError)),
    ] {
        assert_eq!(found(&mut server, name), expected, "{name}");
    }
    // The wildcard has no such record: NODATA, not NXDOMAIN.
    let answer = ask(&mut server, "host3.example.", RecordType::AAAA).unwrap();
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
    // A wildcard is nobody's name.
    assert!(ask(&mut server, "1.0.0.10.in-addr.arpa.", RecordType::PTR).is_none());
    server.remove("*.example.");
    assert_eq!(found(&mut server, "host3.example."), nothing(ResponseCode::NXDomain));
}

#[test]
fn of_a_zone_there_is_what_the_table_has_and_the_longest_zone_counts() {
    let mut server = server(&[("www.lab.test", "10.0.0.1")], &["lab.test", "deep.lab.test"]);
    let none = |code, zone: &str| Err((code, zone.to_owned()));
    assert_eq!(found(&mut server, "www.lab.test."), Ok(vec!["10.0.0.1".to_owned()]));
    assert_eq!(found(&mut server, "no.LAB.test."), none(ResponseCode::NXDomain, "lab.test."));
    assert_eq!(found(&mut server, "a.b.deep.lab.test."), none(ResponseCode::NXDomain, "deep.lab.test."));
    assert_eq!(found(&mut server, "deep.lab.test."), none(ResponseCode::NoError, "deep.lab.test."));
    for other in ["test.", "notlab.test.", "shop.example."] {
        assert!(ask(&mut server, other, RecordType::A).is_none(), "{other} is for the application");
    }
}

/// S4: a name of as many labels as there can be, against a table of them.
#[test]
fn s4_the_deepest_names_are_looked_up_in_one_pass() {
    let deepest = vec!["a"; 127].join(".");
    let below = format!("*.{}", vec!["a"; 125].join("."));
    let mut server = server(&[(&deepest, "10.0.0.1"), (&below, "10.0.0.2")], &[]);
    assert_eq!(found(&mut server, &format!("{deepest}.")), Ok(vec!["10.0.0.1".to_owned()]));
    let sibling = format!("b.{}.", vec!["a"; 125].join("."));
    assert_eq!(found(&mut server, &sibling), Ok(vec!["10.0.0.2".to_owned()]));
}

/// A question of a client, through our server and resolver to another server, whose answer has `records` texts; and back.
fn relayed(client: Option<u16>, records: usize, damage: impl Fn(&mut Vec<u8>)) -> Option<Vec<u8>> {
    let mut server = server(&[], &[]);
    let mut config = ResolverConfig::new([1, 2]);
    config.servers.push("10.0.9.9:53".parse().unwrap());
    let mut resolver =
        Resolver::new(config, Storage::<Lookup>::with_capacity(2), Storage::<CacheEntry>::with_capacity(2));
    let (now, from) = (Instant::ZERO, SocketAddr::from(([10, 0, 2, 15], 4_000)));
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_str("Texts.Example.").unwrap(), RecordType::TXT));
    if let Some(size) = client {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        query.edns = Some(edns);
    }
    let mut out = [0; 1_472];
    let DnsAction::Ask(question) = server.handle(now, from, &query.to_bytes().unwrap(), &mut out) else { panic!() };
    let (name, kind) = server.question(question).unwrap();
    let lookup = resolver.relay(now, name, kind).unwrap();
    let sent = resolver.transmit(now, &mut out).unwrap();
    let upstream = Message::from_bytes(&out[..sent.len]).unwrap();
    assert_ne!(upstream.metadata.id, 7);
    let mut answer = Message::new(upstream.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.add_query(upstream.queries[0].clone());
    for number in 0..records {
        let text = TXT::new(vec![format!("text number {number}")]);
        answer.add_answer(Record::from_rdata(Name::from_str("texts.example.").unwrap(), 60, RData::TXT(text)));
    }
    answer.edns = Some(Edns::new());
    let mut bytes = answer.to_bytes().unwrap();
    assert_eq!(resolver.handle(now, sent.token, "10.0.9.8:53".parse().unwrap(), &bytes), None);
    assert_eq!(resolver.handle(now, sent.token, sent.server, &bytes), Some(lookup));
    assert!(!resolver.is_waiting(sent.token));
    damage(&mut bytes);
    let (to, len) = server.relay(question, &bytes, &mut out)?;
    assert_eq!(to, from);
    assert!(server.relay(question, &bytes, &mut out).is_none(), "once");
    assert!(len <= client.map_or(512, |size| usize::from(size.clamp(512, 1_232))));
    Some(out[..len].to_vec())
}

#[test]
fn what_another_server_says_is_given_on_as_far_as_the_client_takes_it() {
    for (client, records, whole) in [
        (None, 3, true),
        (Some(1_232), 3, true),
        (Some(1_232), 20, true),
        (None, 20, false),
        (Some(0), 20, false),
        (Some(4_096), 60, false),
    ] {
        let answer = relayed(client, records, |_| {}).unwrap();
        let answer = Message::from_bytes(&answer).expect("hickory reads it");
        assert_eq!((answer.metadata.id, answer.metadata.recursion_desired), (7, false));
        assert!(answer.metadata.recursion_available);
        assert_eq!(answer.edns.is_some(), client.is_some());
        assert_eq!(answer.metadata.truncation, !whole, "{client:?} {records}");
        assert_eq!(answer.answers.len(), if whole { records } else { 0 });
    }
}

#[test]
fn s3_what_is_no_answer_is_not_given_on() {
    for at in 0..200 {
        relayed(None, 3, |bytes| bytes.truncate(at % bytes.len()));
        relayed(Some(1_232), 3, |bytes| {
            let place = at % bytes.len();
            // The ID is not looked at any more; the rest may make it unreadable, or another answer.
            if place > 12 {
                bytes[place] = 0xff;
            }
        });
    }
    assert!(relayed(None, 3, |bytes| bytes[13] = b'x').is_none(), "another name");
    assert!(relayed(None, 3, |bytes| bytes[2] &= 0x7f).is_none(), "a question");
}
