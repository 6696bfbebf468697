//! RFC 6762 §5.4, §6 and §7: who is told what, and when.

use super::*;

const ASKER: &str = "10.0.0.9:5353";

fn asked(link: &mut Link, questions: &[(&str, RecordType, DNSClass)]) -> Vec<Sent> {
    assert!(link.hear(ASKER, &query(questions)).is_none());
    link.run(Duration::from_secs(3));
    link.take()
}

#[test]
fn what_only_we_have_is_told_at_once_with_what_belongs_to_it() {
    let mut link = named("tab");
    let begun = link.now;
    let sent = asked(&mut link, &[("TAB.local.", RecordType::A, DNSClass::IN)]);
    let [answer] = &sent[..] else { panic!("one answer") };
    assert_eq!(answer.at, begun);
    assert_eq!(answer.message.metadata.id, 0);
    assert_eq!(answer.answers(), ["tab.local. A 120"]);
    assert_eq!(shown(&answer.message.additionals), ["tab.local. AAAA 120", "tab.local. NSEC 120"]);
}

#[test]
fn what_others_may_have_too_waits_a_little() {
    let mut link = named("tab");
    register(&mut link, 0, "files");
    link.run(Duration::from_secs(5));
    link.take();
    let begun = link.now;
    let sent = asked(&mut link, &[("_http._tcp.local.", RecordType::PTR, DNSClass::IN)]);
    let [answer] = &sent[..] else { panic!("one answer") };
    let delay = answer.at.since(begun);
    assert!((ms(20)..=ms(120)).contains(&delay), "{delay:?}");
    assert_eq!(answer.answers(), ["_http._tcp.local. PTR 4500"]);
    // RFC 6763 §12.1
    let along = shown(&answer.message.additionals);
    let kinds: Vec<&str> = along.iter().filter_map(|record| record.split(' ').nth(1)).collect();
    assert_eq!(kinds.iter().filter(|kind| ["SRV", "TXT", "A", "AAAA"].contains(kind)).count(), 4);
    assert_eq!(answer.message.answers[0].dns_class, DNSClass::IN, "others are not flushed");
}

#[test]
fn a_record_is_told_to_all_once_a_second_at_most() {
    let mut link = named("tab");
    let mut times = Vec::new();
    for _ in 0..30 {
        link.hear(ASKER, &query(&[("tab.local.", RecordType::A, DNSClass::IN)]));
        link.run(ms(100));
    }
    times.extend(link.take().iter().map(|sent| sent.at));
    assert_eq!(times.len(), 4);
    assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= Duration::from_secs(1)));
}

/// RFC 6762 §6: a probe is answered within 250 ms even if all were just told.
#[test]
fn a_name_is_defended_at_once() {
    let mut link = named("tab");
    asked(&mut link, &[("tab.local.", RecordType::ANY, DNSClass::IN)]);
    let begun = link.now;
    let mut probe = query(&[("tab.local.", RecordType::ANY, DNSClass::IN)]);
    probe.authorities.push(a("tab.local.", 120, "10.0.0.9"));
    for _ in 0..3 {
        link.hear(ASKER, &probe);
        link.run(ms(250));
    }
    assert!(link.take().iter().filter(|sent| sent.at.since(begun) <= ms(750)).count() >= 3);
    assert_eq!(link.hosts[0].hostname(), name("tab.local"));
}

#[test]
fn who_wants_it_alone_is_told_alone_if_all_know() {
    let mut link = named("tab");
    let question = query(&[("tab.local.", RecordType::AAAA, IN_WITH_BIT)]);
    let answer = link.hear(ASKER, &question).expect("told alone");
    assert_eq!(shown(&answer.answers), ["tab.local. AAAA 120"]);
    // RFC 6762 §5.4: a quarter of the TTL has passed since all were told.
    link.run(Duration::from_secs(31));
    assert_eq!(link.take().len(), 0);
    assert!(link.hear(ASKER, &question).is_none());
    link.run(ms(1));
    assert_eq!(link.take()[0].answers(), ["tab.local. AAAA 120"]);
    // RFC 6762 §5.5
    let octets = query(&[("tab.local.", RecordType::AAAA, DNSClass::IN)]).to_bytes().unwrap();
    assert!(link.hear_octets(ASKER, address(1), &octets).is_some());
    assert!(link.hear_octets("192.0.2.1:5353", address(1), &octets).is_none(), "not from this link");
    assert_eq!(link.hosts[0].counters().not_local, 1);
}

#[test]
fn resolvers_of_ordinary_dns_are_answered_as_by_a_server() {
    let mut link = named("tab");
    let mut question = query(&[("tab.local.", RecordType::A, DNSClass::IN)]);
    question.metadata.id = 4_711;
    let answer = link.hear("10.0.0.9:40000", &question).expect("an answer");
    assert_eq!((answer.metadata.id, answer.queries.len()), (4_711, 1));
    assert_eq!(answer.queries[0], question.queries[0]);
    assert_eq!(shown(&answer.answers), ["tab.local. A 10"]);
    assert_eq!(answer.answers[0].dns_class, DNSClass::IN);
    assert!(link.hear("192.0.2.1:40000", &question).is_none(), "not from this link");
    assert!(link.hear("[fe80::9]:40000", &question).is_some());
}

#[test]
fn what_the_asker_knows_is_not_told() {
    let mut link = named("tab");
    let mut question = query(&[("tab.local.", RecordType::A, DNSClass::IN)]);
    question.answers.push(a("tab.local.", 60, "10.0.0.1"));
    link.hear(ASKER, &question);
    link.run(Duration::from_secs(3));
    assert_eq!((link.take().len(), link.hosts[0].counters().suppressed), (0, 1));
    // RFC 6762 §7.1: what ends sooner is told again, and so is what has other data.
    for known in [a("tab.local.", 59, "10.0.0.1"), a("tab.local.", 120, "10.0.0.3")] {
        question.answers = vec![known];
        link.hear(ASKER, &question);
        link.run(Duration::from_secs(3));
        assert_eq!(link.take().len(), 1);
    }
}

/// RFC 6762 §7.2: the known answers come in further messages.
#[test]
fn an_answer_waits_for_the_known_answers_to_come() {
    let mut link = named("tab");
    register(&mut link, 0, "files");
    link.run(Duration::from_secs(5));
    link.take();
    let mut question = query(&[("_http._tcp.local.", RecordType::PTR, DNSClass::IN)]);
    question.metadata.truncation = true;
    let begun = link.now;
    link.hear(ASKER, &question);
    link.run(Duration::from_secs(2));
    let delay = link.take()[0].at.since(begun);
    assert!((ms(400)..=ms(500)).contains(&delay), "{delay:?}");

    link.hear(ASKER, &question);
    link.run(ms(300));
    let pointer = hickory_proto::rr::rdata::PTR(hickory("files._http._tcp.local."));
    let known = Record::from_rdata(hickory("_http._tcp.local."), 4_500, RData::PTR(pointer));
    let mut rest = query(&[]);
    rest.answers.push(known);
    link.hear("10.0.0.8:5353", &rest);
    link.hear(ASKER, &rest);
    link.run(Duration::from_secs(2));
    assert_eq!(link.take().len(), 0);

    // Two have asked: what one of them knows is told to the other.
    link.hear(ASKER, &question);
    link.hear("10.0.0.8:5353", &question);
    link.hear(ASKER, &rest);
    link.run(Duration::from_secs(2));
    assert_eq!(link.take().len(), 1);
}

/// RFC 6762 §6.1
#[test]
fn a_name_that_is_ours_denies_types_that_it_has_not() {
    let mut link = named("tab");
    let sent = asked(&mut link, &[("tab.local.", RecordType::SRV, DNSClass::IN)]);
    assert_eq!(sent[0].answers(), ["tab.local. NSEC 120"]);
    let octets = &sent[0].octets;
    // The window 0 with four octets: A is bit 1, AAAA bit 28.
    assert_eq!(octets[octets.len() - 6..], [0, 4, 0x40, 0, 0, 0x08]);
    assert_eq!(asked(&mut link, &[("nobody.local.", RecordType::A, DNSClass::IN)]).len(), 0);
    assert_eq!(asked(&mut link, &[("tab.local.", RecordType::A, DNSClass::CH)]).len(), 0);
}

#[test]
fn addresses_have_names() {
    let mut link = named("tab");
    let reverse = Name::reverse(address(1)).to_string() + ".";
    let sent = asked(&mut link, &[(&reverse, RecordType::PTR, DNSClass::IN)]);
    assert_eq!(sent[0].message.answers[0].data.to_string(), "tab.local.");
}

/// RFC 6762 §7.4: another host has told it already.
#[test]
fn what_another_has_told_is_not_told_again() {
    let mut link = named("tab");
    register(&mut link, 0, "files");
    link.run(Duration::from_secs(5));
    link.take();
    link.hear(ASKER, &query(&[("_services._dns-sd._udp.local.", RecordType::PTR, DNSClass::IN)]));
    let pointer = hickory_proto::rr::rdata::PTR(hickory("_http._tcp.local."));
    let told = Record::from_rdata(hickory("_services._dns-sd._udp.local."), 4_500, RData::PTR(pointer));
    link.hear("10.0.0.8:5353", &response(vec![told]));
    link.run(Duration::from_secs(2));
    assert_eq!(link.take().len(), 0);
}

#[test]
fn a_text_that_changes_is_told() {
    let mut link = named("tab");
    let id = register(&mut link, 0, "files");
    link.run(Duration::from_secs(5));
    link.take();
    let text = ethertab::services::mdns::text_of([&b"path=/new"[..], b"flag"]).unwrap();
    link.hosts[0].set_text(link.now, id, text.as_octets()).unwrap();
    link.run(Duration::from_secs(5));
    let sent = link.take();
    let told = sent[0].message.answers.iter().find(|record| record.record_type() == hickory_proto::rr::RecordType::TXT);
    assert_eq!(told.unwrap().data.to_string(), "path=/newflag");
    let items: Vec<&[u8]> = ethertab::services::mdns::items_of(text.as_octets()).collect();
    assert_eq!(items, [&b"path=/new"[..], b"flag"]);
}
