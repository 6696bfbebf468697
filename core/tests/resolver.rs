//! The stub resolver, answered by messages that an independent implementation (hickory-proto) builds.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;

use ethertab::services::List;
use ethertab::services::resolver::{
    CacheEntry, DnsTransmit, DnsTransport, Lookup, LookupFailure, LookupId, Outcome, ResolveError, Resolver,
    ResolverConfig, Wanted,
};
use ethertab::storage::Storage;
use ethertab::time::{Duration, Instant};
use ethertab::wire::dns::Name;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA};
use hickory_proto::rr::{Name as HickoryName, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinEncodable as _};
use proptest::prelude::*;

const SERVERS: [&str; 2] = ["10.0.2.2:53", "[fd00::2]:53"];

fn server(number: usize) -> SocketAddr {
    SERVERS[number].parse().unwrap()
}

fn config() -> ResolverConfig {
    let mut config = ResolverConfig::new([3, 4]);
    config.servers = SERVERS.iter().map(|server| server.parse().unwrap()).collect();
    config
}

/// A resolver under test and its clock.
struct Lab {
    resolver: Resolver<'static>,
    now: Instant,
}

/// A query as it was sent, and as hickory reads it.
struct Sent {
    transmit: DnsTransmit,
    message: Message,
}

impl Sent {
    fn kind(&self) -> RecordType {
        self.message.queries[0].query_type()
    }

    fn name(&self) -> String {
        self.message.queries[0].name().to_string()
    }

    /// An answer with these records.
    fn answer(&self, records: Vec<Record>) -> Message {
        let mut message = Message::new(self.message.metadata.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        message.add_query(self.message.queries[0].clone());
        message.answers = records;
        message
    }
}

impl Lab {
    fn new(config: ResolverConfig) -> Lab {
        let resolver =
            Resolver::new(config, Storage::<Lookup>::with_capacity(4), Storage::<CacheEntry>::with_capacity(8));
        Lab { resolver, now: Instant::ZERO }
    }

    fn resolve(&mut self, host: &str) -> LookupId {
        self.resolver.resolve(self.now, host, Wanted::Addresses).unwrap()
    }

    /// The queries that are to be sent now.
    fn sent(&mut self) -> Vec<Sent> {
        let mut out = [0; 512];
        let mut sent = Vec::new();
        while let Some(transmit) = self.resolver.transmit(self.now, &mut out) {
            let message = Message::from_bytes(&out[..transmit.len]).expect("hickory reads it");
            assert!(message.metadata.recursion_desired && message.queries.len() == 1);
            assert!(self.resolver.is_waiting(transmit.token));
            sent.push(Sent { transmit, message });
        }
        sent
    }

    fn wait(&mut self) -> Vec<Sent> {
        self.now = self.resolver.next_timeout().expect("something is due");
        self.resolver.handle_timeout(self.now);
        self.sent()
    }

    fn hear(&mut self, sent: &Sent, answer: &Message) {
        self.resolver.handle(self.now, sent.transmit.token, sent.transmit.server, &answer.to_bytes().unwrap());
    }

    /// Answers A and AAAA queries.
    fn hear_both(&mut self, sent: &[Sent], v4: Vec<Record>, v6: Vec<Record>) {
        for query in sent {
            let records = if query.kind() == RecordType::A { &v4 } else { &v6 };
            self.hear(query, &query.answer(records.clone()));
        }
    }

    fn addresses(&mut self, id: LookupId) -> Vec<String> {
        match self.resolver.outcome(id) {
            Some(Outcome::Addresses(addresses)) => addresses.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn failure(&mut self, id: LookupId) -> LookupFailure {
        match self.resolver.outcome(id) {
            Some(Outcome::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// Resolves by one exchange with these answers.
    fn resolved(&mut self, host: &str, v4: Vec<Record>, v6: Vec<Record>) -> Vec<String> {
        let id = self.resolve(host);
        let sent = self.sent();
        self.hear_both(&sent, v4, v6);
        self.addresses(id)
    }
}

fn name(text: &str) -> HickoryName {
    HickoryName::from_str(text).unwrap()
}

fn a(owner: &str, ttl: u32, address: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(address.parse().unwrap())))
}

fn aaaa(owner: &str, ttl: u32, address: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::AAAA(AAAA(address.parse().unwrap())))
}

fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

fn negative(sent: &Sent, code: ResponseCode, ttl: u32, minimum: u32) -> Message {
    let mut message = sent.answer(vec![]);
    message.metadata.response_code = code;
    let soa = SOA::new(name("ns.test."), name("root.test."), 1, 2, 3, 4, minimum);
    message.add_authority(Record::from_rdata(name("test."), ttl, RData::SOA(soa)));
    message
}

#[test]
fn both_families_are_asked_for_at_the_same_time() {
    let mut lab = Lab::new(config());
    let id = lab.resolve("shop.test");
    let sent = lab.sent();
    assert_eq!(sent.iter().map(Sent::kind).collect::<Vec<_>>(), [RecordType::A, RecordType::AAAA]);
    assert!(sent.iter().all(|query| query.name() == "shop.test." && query.transmit.server == server(0)));
    assert!(sent.iter().all(|query| query.message.edns.as_ref().is_some_and(|edns| edns.max_payload() == 1232)));
    assert_ne!(sent[0].message.metadata.id, sent[1].message.metadata.id);
    assert_ne!(sent[0].transmit.token, sent[1].transmit.token);
    lab.hear(&sent[1], &sent[1].answer(vec![aaaa("shop.test.", 60, "fd00::7")]));
    assert_eq!(lab.resolver.poll_event(), Some(id));
    let Some(Outcome::Pending { v4: None, v6: Some(first) }) = lab.resolver.outcome(id) else { panic!() };
    assert_eq!(first.len(), 1);
    lab.hear(&sent[0], &sent[0].answer(vec![a("shop.test.", 60, "10.0.0.7"), a("shop.test.", 60, "10.0.0.8")]));
    assert_eq!(lab.resolver.poll_event(), Some(id));
    assert_eq!(lab.addresses(id), ["fd00::7", "10.0.0.7", "10.0.0.8"]);
    assert_eq!(lab.resolver.outcome(id), None, "it is forgotten");
    assert!(!lab.resolver.is_waiting(sent[0].transmit.token));
    assert_eq!(lab.resolver.next_timeout(), None);
}

/// RFC 5452 §9.1.
#[test]
fn s3_answers_with_another_id_server_or_question_are_ignored() {
    let mut lab = Lab::new(config());
    let id = lab.resolve("shop.test");
    let sent = lab.sent();
    let query = &sent[0];
    let right = query.answer(vec![a("shop.test.", 60, "10.0.0.7")]);
    let bytes = right.to_bytes().unwrap();
    for from in ["10.0.2.3:53", "10.0.2.2:54", "[fd00::2]:53"] {
        lab.resolver.handle(lab.now, query.transmit.token, from.parse().unwrap(), &bytes);
    }
    let mut wrong = right.clone();
    wrong.metadata.id = wrong.metadata.id.wrapping_add(1);
    lab.hear(query, &wrong);
    for question in [("shop.test.", RecordType::TXT), ("evil.test.", RecordType::A)] {
        let mut wrong = right.clone();
        wrong.queries = vec![Query::query(name(question.0), question.1)];
        lab.hear(query, &wrong);
    }
    let mut wrong = right.clone();
    wrong.metadata.message_type = MessageType::Query;
    lab.hear(query, &wrong);
    let mut wrong = right.clone();
    wrong.queries.clear();
    lab.hear(query, &wrong);
    // The answer to one query on the socket of the other.
    lab.resolver.handle(lab.now, sent[1].transmit.token, server(0), &bytes);
    assert_eq!(lab.resolver.counters().not_ours, 9);
    assert!(matches!(lab.resolver.outcome(id), Some(Outcome::Pending { v4: None, v6: None })));
    lab.hear(query, &right);
    assert!(matches!(lab.resolver.outcome(id), Some(Outcome::Pending { v4: Some(_), v6: None })));
}

#[test]
fn s3_names_are_compared_without_case() {
    let mut lab = Lab::new(config());
    let id = lab.resolve("Shop.TEST");
    let sent = lab.sent();
    let mut answer =
        sent[0].answer(vec![cname("sHOP.test.", 60, "WWW.shop.test."), a("www.SHOP.test.", 60, "10.0.0.7")]);
    answer.queries = vec![Query::query(name("SHOP.test."), RecordType::A)];
    lab.hear(&sent[0], &answer);
    lab.hear(&sent[1], &sent[1].answer(vec![]));
    assert_eq!(lab.addresses(id), ["10.0.0.7"]);
}

/// RFC 7766 §5.
#[test]
fn s3_an_answer_that_was_cut_is_asked_for_again_by_tcp() {
    let mut lab = Lab::new(config());
    let id = lab.resolve("shop.test");
    let sent = lab.sent();
    let mut cut = sent[0].answer(vec![]);
    cut.metadata.truncation = true;
    lab.hear(&sent[0], &cut);
    lab.hear(&sent[1], &sent[1].answer(vec![]));
    let again = lab.sent();
    assert_eq!(again[0].transmit.transport, DnsTransport::Tcp);
    assert_eq!(again[0].transmit.server, server(0));
    assert!(!lab.resolver.is_waiting(sent[0].transmit.token));
    lab.hear(&again[0], &again[0].answer((0..20).map(|n| a("shop.test.", 60, &format!("10.0.0.{n}"))).collect()));
    assert_eq!(lab.addresses(id).len(), 8, "as many as there is room for");
    // A server that has no TCP: the next one.
    let id = lab.resolve("other.test");
    let sent = lab.sent();
    let mut cut = sent[0].answer(vec![]);
    cut.metadata.truncation = true;
    lab.hear(&sent[0], &cut);
    let again = lab.sent();
    lab.resolver.query_failed(lab.now, again[0].transmit.token);
    let again = lab.sent();
    assert_eq!((again[0].transmit.server, again[0].transmit.transport), (server(1), DnsTransport::Udp));
    lab.resolver.cancel(id);
    assert!(lab.resolver.next_timeout().is_none());
}

#[test]
fn s3_aliases_are_followed_and_loops_end() {
    let mut lab = Lab::new(config());
    let chain = |len: usize| {
        let mut records: Vec<_> =
            (0..len).map(|n| cname(&format!("n{n}.test."), 60, &format!("n{}.test.", n + 1))).collect();
        records.push(a(&format!("n{len}.test."), 60, "10.0.0.7"));
        records.reverse();
        records
    };
    assert_eq!(lab.resolved("n0.test", chain(8), vec![]), ["10.0.0.7"]);
    for records in [chain(9), vec![cname("x.test.", 60, "y.test."), cname("y.test.", 60, "x.test.")]] {
        let mut lab = Lab::new(config());
        let id = lab.resolve(if records.len() == 2 { "x.test" } else { "n0.test" });
        let mut rounds = 0;
        let failure = loop {
            for query in lab.sent() {
                rounds += 1;
                lab.hear(&query, &query.answer(records.clone()));
            }
            if let Some(Outcome::Failed(failure)) = lab.resolver.outcome(id) {
                break failure;
            }
        };
        assert_eq!((failure, rounds), (LookupFailure::ServersFailed, 12), "two questions, two servers, three times");
    }
}

/// Pointers that lead to themselves or forwards.
#[test]
fn s3_compression_loops_are_a_failure_of_the_server() {
    let mut lab = Lab::new(config());
    lab.resolve("shop.test");
    let sent = lab.sent();
    let mut bytes = sent[0].answer(vec![]).to_bytes().unwrap();
    bytes[7] = 1; // one answer
    let at = bytes.len() as u8;
    bytes.extend([0xc0, at, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 7]);
    lab.resolver.handle(lab.now, sent[0].transmit.token, server(0), &bytes);
    assert_eq!(lab.resolver.counters().server_failures, 1);
    assert_eq!(lab.sent()[0].transmit.server, server(1));
}

#[test]
fn s3_servers_that_fail_are_left_for_the_next() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotAuth] {
        let mut lab = Lab::new(config());
        let id = lab.resolve("shop.test");
        for query in lab.sent() {
            let mut answer = query.answer(vec![]);
            answer.metadata.response_code = code;
            lab.hear(&query, &answer);
        }
        let again = lab.sent();
        assert!(again.iter().all(|query| query.transmit.server == server(1)));
        lab.hear_both(&again, vec![a("shop.test.", 60, "10.0.0.7")], vec![]);
        assert_eq!(lab.addresses(id), ["10.0.0.7"]);
        // The one that answered goes first from now on.
        lab.resolve("other.test");
        assert!(lab.sent().iter().all(|query| query.transmit.server == server(1)), "{code}");
    }
}

#[test]
fn s3_silent_servers_are_asked_in_turn_ever_more_patiently() {
    let mut lab = Lab::new(config());
    let id = lab.resolve("shop.test");
    let mut asked: Vec<(u64, SocketAddr, u16)> =
        lab.sent().iter().map(|query| (0, query.transmit.server, query.message.metadata.id)).collect();
    while lab.resolver.next_timeout().is_some() {
        let sent = lab.wait();
        asked.extend(sent.iter().map(|query| (lab.now.as_secs(), query.transmit.server, query.message.metadata.id)));
    }
    assert_eq!(lab.failure(id), LookupFailure::TimedOut);
    let of_a: Vec<_> = asked.iter().step_by(2).map(|(at, server, _)| (*at, *server)).collect();
    let times = [0, 2, 4, 8, 12, 20].into_iter();
    assert_eq!(of_a, times.enumerate().map(|(n, at)| (at, server(n % 2))).collect::<Vec<_>>());
    let mut ids: Vec<u16> = asked.iter().map(|(_, _, id)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 12, "each query has an ID of its own");
}

/// RFC 6891 §7.
#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    for with_question in [true, false] {
        let mut lab = Lab::new(config());
        lab.resolve("shop.test");
        let sent = lab.sent();
        let mut answer = sent[0].answer(vec![]);
        answer.metadata.response_code = ResponseCode::FormErr;
        if !with_question {
            answer.queries.clear();
        }
        lab.hear(&sent[0], &answer);
        let again = lab.sent();
        assert!(again[0].message.edns.is_none() && again[0].transmit.server == server(0));
    }
}

#[test]
fn s3_answers_are_kept_as_long_as_they_may_be() {
    let mut lab = Lab::new(config());
    let records = vec![cname("shop.test.", 100, "www.test."), a("www.test.", 60, "10.0.0.7")];
    assert_eq!(lab.resolved("shop.test", records, vec![aaaa("shop.test.", 300, "fd00::7")]), ["fd00::7", "10.0.0.7"]);
    lab.now += Duration::from_secs(59);
    let id = lab.resolve("SHOP.test.");
    assert!(lab.sent().is_empty());
    assert_eq!(lab.addresses(id), ["fd00::7", "10.0.0.7"]);
    lab.now += Duration::from_secs(1);
    lab.resolve("shop.test");
    assert_eq!(lab.sent().iter().map(Sent::kind).collect::<Vec<_>>(), [RecordType::A], "AAAA is known for longer");

    // RFC 2181 §8: not for 68 years, but not at all.
    let mut lab = Lab::new(config());
    lab.resolved("shop.test", vec![a("shop.test.", 0x8000_0001, "10.0.0.7")], vec![]);
    lab.resolve("shop.test");
    assert_eq!(lab.sent().len(), 2);
}

/// RFC 2308 §5.
#[test]
fn s3_that_there_is_nothing_is_kept_too() {
    for (ttl, minimum, kept) in [(100, 30, 30), (20, 300, 20), (u32::MAX, u32::MAX, 0)] {
        let mut lab = Lab::new(config());
        let id = lab.resolve("no.test");
        let sent = lab.sent();
        lab.hear(&sent[0], &negative(&sent[0], ResponseCode::NXDomain, ttl, minimum));
        // RFC 8020: the other question needs no answer.
        assert_eq!(lab.failure(id), LookupFailure::NotFound);
        for (at, is_known) in [(0, kept > 0), (kept, false)] {
            lab.now = Instant::from_secs(at);
            let id = lab.resolve("no.test");
            assert_eq!(lab.sent().is_empty(), is_known, "{ttl} {minimum} at {at}");
            lab.resolver.cancel(id);
        }
    }
    // Without a SOA it is not kept.
    let mut lab = Lab::new(config());
    let id = lab.resolve("no.test");
    let sent = lab.sent();
    lab.hear_both(&sent, vec![], vec![]);
    assert_eq!(lab.failure(id), LookupFailure::NoData);
    lab.resolve("no.test");
    assert_eq!(lab.sent().len(), 2);
}

#[test]
fn short_names_are_completed() {
    let mut search = config();
    search.search = ["lab.test", "test"].iter().map(|domain| Name::from_text(domain).unwrap()).collect();
    let tried = |host: &str| {
        let mut lab = Lab::new(search);
        let id = lab.resolve(host);
        let mut tried = Vec::new();
        loop {
            let sent = lab.sent();
            let Some(query) = sent.first() else { break };
            tried.push(query.name());
            lab.hear(query, &negative(query, ResponseCode::NXDomain, 60, 60));
        }
        assert_eq!(lab.failure(id), LookupFailure::NotFound);
        tried
    };
    assert_eq!(tried("shop"), ["shop.lab.test.", "shop.test.", "shop."]);
    assert_eq!(tried("www.shop"), ["www.shop.", "www.shop.lab.test.", "www.shop.test."]);
    assert_eq!(tried("shop."), ["shop."]);
    let mut lab = Lab::new(search);
    let id = lab.resolve("shop");
    let sent = lab.sent();
    lab.hear_both(&sent, vec![], vec![aaaa("shop.lab.test.", 60, "fd00::7")]);
    assert_eq!(lab.addresses(id), ["fd00::7"]);
}

#[test]
fn some_names_are_nobodys_business() {
    let mut lab = Lab::new(config());
    for (host, expected) in [
        ("localhost", vec!["::1", "127.0.0.1"]),
        ("a.LocalHost.", vec!["::1", "127.0.0.1"]),
        ("10.0.0.7", vec!["10.0.0.7"]),
        ("fd00::7", vec!["fd00::7"]),
    ] {
        let id = lab.resolve(host);
        assert_eq!(lab.resolver.poll_event(), Some(id));
        assert_eq!(lab.addresses(id), expected);
    }
    for host in ["x.invalid", "x.onion"] {
        let id = lab.resolve(host);
        assert_eq!(lab.failure(id), LookupFailure::NotFound);
    }
    assert!(lab.sent().is_empty());
    assert!(matches!(lab.resolver.resolve(lab.now, "a..b", Wanted::V4), Err(ResolveError::Name(_))));
}

#[test]
fn addresses_have_names() {
    for (address, expected) in [
        ("10.0.203.7", "7.203.0.10.in-addr.arpa."),
        ("fd00::2", "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa."),
    ] {
        let mut lab = Lab::new(config());
        let address: IpAddr = address.parse().unwrap();
        let id = lab.resolver.reverse(lab.now, address).unwrap();
        let sent = lab.sent();
        assert_eq!((sent.len(), sent[0].kind(), sent[0].name().as_str()), (1, RecordType::PTR, expected));
        let record = Record::from_rdata(name(expected), 60, RData::PTR(PTR(name("shop.test."))));
        lab.hear(&sent[0], &sent[0].answer(vec![record]));
        assert_eq!(lab.resolver.outcome(id), Some(Outcome::Name(Name::from_text("shop.test").unwrap())));
        assert_eq!(Name::reverse(address).reverse_address(), Some(address));
    }
}

#[test]
fn without_servers_nothing_is_found() {
    let mut lab = Lab::new(ResolverConfig::new([1, 1]));
    let id = lab.resolve("shop.test");
    assert_eq!(lab.failure(id), LookupFailure::NoServers);
    lab.resolver.configure([server(0)].into_iter().collect(), List::EMPTY);
    lab.resolve("shop.test");
    assert_eq!(lab.sent().len(), 2);
}

#[test]
fn s4_lookups_and_cache_are_bounded() {
    let mut lab = Lab::new(config());
    for number in 0..4 {
        lab.resolve(&format!("n{number}.test"));
    }
    assert_eq!(lab.resolver.resolve(lab.now, "n4.test", Wanted::V4), Err(ResolveError::TooMany));
    let sent = lab.sent();
    assert_eq!(sent.len(), 8);
    let mut lab = Lab::new(config());
    for number in 0..100 {
        let owner = format!("n{number}.test.");
        lab.resolved(&owner, vec![a(&owner, 60 + number, "10.0.0.7")], vec![aaaa(&owner, 60, "fd00::7")]);
    }
    lab.resolve("n99.test.");
    assert!(lab.sent().len() < 2, "the last answers are still there");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// S3: real answers with octets changed and cut: nothing panics, and each lookup ends.
    #[test]
    fn s3_damaged_answers_end_a_lookup_one_way_or_another(
        damage in proptest::collection::vec((any::<u16>(), any::<u8>(), 0..4u8), 1..40),
    ) {
        let mut lab = Lab::new(config());
        let id = lab.resolve("n0.test");
        let mut damage = damage.into_iter().cycle();
        for _ in 0..200 {
            for query in lab.sent() {
                let mut records: Vec<_> = (0..3).map(|n| cname(&format!("n{n}.test."), 60, &format!("n{}.test.", n + 1))).collect();
                records.push(if query.kind() == RecordType::A { a("n3.test.", 60, "10.0.0.7") } else { aaaa("n3.test.", 60, "fd00::7") });
                let mut bytes = query.answer(records).to_bytes().unwrap();
                let (at, value, what) = damage.next().unwrap();
                let place = usize::from(at) % bytes.len();
                match what {
                    0 => bytes.truncate(place),
                    1 => continue,
                    _ => bytes[place] = value,
                }
                lab.resolver.handle(lab.now, query.transmit.token, query.transmit.server, &bytes);
            }
            match lab.resolver.outcome(id) {
                Some(Outcome::Pending { .. }) => {}
                _ => return Ok(()),
            }
            if let Some(due) = lab.resolver.next_timeout() {
                lab.now = due;
                lab.resolver.handle_timeout(due);
            }
        }
        prop_assert!(false, "it has not ended");
    }
}
