//! RFC 6762 §5.2, §7 and §10, RFC 6763 §4: asking, and what is remembered.

use super::*;
use ethertab::services::mdns::QuestionId;
use hickory_proto::rr::rdata::PTR;

fn instances(link: &Link, id: QuestionId) -> Vec<String> {
    let names = link.hosts[0].records(id).filter_map(|record| record.data().name(RecordType::PTR));
    let mut names: Vec<String> = names.map(|name| name.to_string()).collect();
    names.sort();
    names
}

/// A link of three, of which the second and third have a service.
fn with_services() -> Link {
    let mut link = Link::new(&["one", "two", "three"]);
    register(&mut link, 1, "files");
    register(&mut link, 2, "shop");
    link.run(Duration::from_secs(5));
    link.take();
    link
}

#[test]
fn services_are_found_resolved_and_lost() {
    let mut link = with_services();
    // What was announced was heard; this host has come later.
    let late = link.add("late");
    link.hosts.swap(0, late);
    link.run(Duration::from_secs(5));
    link.events(0);
    let id = link.hosts[0].browse(link.now, "_http._tcp").unwrap();
    link.run(ms(400));
    assert_eq!(instances(&link, id), ["files._http._tcp.local", "shop._http._tcp.local"]);
    assert_eq!(link.events(0), [MdnsEvent::Answers(id)]);
    let found = link.hosts[0].resolve(link.now, &name("files._http._tcp.local")).unwrap();
    link.run(ms(400));
    let service = link.hosts[0].service(found).unwrap();
    assert_eq!((service.host, service.port), (name("two.local"), 80));
    assert_eq!(service.text.unwrap().as_octets(), b"\x06path=/");
    assert!(service.addresses.contains(&address(2)) && service.addresses.len() == 2);
    link.hosts[1].shut_down(link.now);
    link.run(Duration::from_secs(3));
    assert_eq!(instances(&link, id), ["shop._http._tcp.local"]);
    assert!(link.events(0).contains(&MdnsEvent::Answers(id)));
    assert!(link.hosts[0].service(found).is_none());
    link.hosts[0].cancel(id);
    assert_eq!(link.hosts[0].records(id).count(), 0);
}

/// RFC 6763 §7.1: who wants printers only asks for them, and who wants all finds these too.
#[test]
fn services_are_found_by_their_subtypes() {
    let mut link = Link::new(&["asker", "printer", "files"]);
    link.run(Duration::from_secs(5));
    let mut service = ServiceConfig {
        instance: "Laser",
        service: "_http._tcp",
        subtypes: &["_printer", "_scanner"],
        port: 80,
        text: b"",
    };
    let printer = link.hosts[1].register(link.now, &service).unwrap();
    (service.instance, service.subtypes) = ("Files", &[]);
    link.hosts[2].register(link.now, &service).unwrap();
    let browse = |link: &mut Link, service: &str| link.hosts[0].browse(link.now, service).unwrap();
    let printers = browse(&mut link, "_printer._sub._http._tcp");
    let scanners = browse(&mut link, "_SCANNER._sub._http._tcp");
    let faxes = browse(&mut link, "_fax._sub._http._tcp");
    let all = browse(&mut link, "_http._tcp");
    link.run(Duration::from_secs(5));
    let laser = ["Laser._http._tcp.local"];
    assert_eq!(instances(&link, printers), laser);
    assert_eq!(instances(&link, scanners), laser);
    assert!(instances(&link, faxes).is_empty());
    assert_eq!(instances(&link, all).len(), 2);
    link.hosts[1].unregister(link.now, printer);
    link.run(Duration::from_secs(5));
    assert!(instances(&link, printers).is_empty(), "it says good-bye by all its names");
    for subtypes in [&[""][..], &["a", "b", "c", "d", "e"]] {
        service.subtypes = subtypes;
        assert!(link.hosts[2].register(link.now, &service).is_err(), "{subtypes:?}");
    }
    assert!(link.hosts[0].browse(link.now, "_sub._http._tcp").is_err());
}

#[test]
fn a_host_is_looked_up_once_its_addresses_are_known() {
    let mut link = Link::new(&["one", "two"]);
    link.run(Duration::from_secs(5));
    link.hosts[0].restart(link.now);
    link.run(Duration::from_secs(5));
    link.take();
    let id = link.hosts[0].look_up(link.now, &name("TWO.local")).unwrap();
    link.run(Duration::from_secs(20));
    let asked = link.take().into_iter().filter(|sent| !sent.is_response()).collect::<Vec<_>>();
    assert_eq!(asked.len(), 1, "once");
    assert_eq!(asked[0].message.queries.len(), 2);
    assert!(asked[0].message.queries.iter().all(|query| query.query_class() == IN_WITH_BIT));
    assert_eq!(link.hosts[0].addresses(id).len(), 2);
}

#[test]
fn questions_are_repeated_ever_more_seldom() {
    let mut link = named("tab");
    let begun = link.now;
    link.hosts[0].browse(link.now, "_http._tcp").unwrap();
    link.run(Duration::from_secs(4 * 3_600));
    let sent = link.take();
    let first = sent[0].at.since(begun);
    assert!((ms(20)..=ms(120)).contains(&first), "{first:?}");
    let gaps: Vec<u64> = sent.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs()).collect();
    assert_eq!(gaps[..6], [1, 2, 4, 8, 16, 32]);
    assert!(gaps.iter().all(|gap| *gap <= 3_600) && gaps.last() == Some(&3_600), "{gaps:?}");
    let unicast: Vec<bool> = sent.iter().map(|sent| sent.message.queries[0].query_class() == IN_WITH_BIT).collect();
    assert!(unicast[0] && unicast[1..].iter().all(|unicast| !unicast), "only the first time");
}

fn pointer(ttl: u32, instance: &str) -> Record {
    Record::from_rdata(hickory("_http._tcp.local."), ttl, RData::PTR(PTR(hickory(instance))))
}

#[test]
fn what_is_known_is_told_with_the_question() {
    let mut link = named("tab");
    link.hosts[0].browse(link.now, "_http._tcp").unwrap();
    link.run(ms(500));
    link.take();
    link.hear("10.0.0.9:5353", &response(vec![pointer(100, "a._http._tcp.local."), pointer(3, "b._http._tcp.local.")]));
    link.run(Duration::from_secs(3));
    let sent = link.take();
    assert_eq!(sent[1].answers(), ["_http._tcp.local. PTR 97"], "b has less than half of its time left");
}

/// RFC 6762 §7.2
#[test]
fn many_known_answers_take_several_messages() {
    let mut link = Link::new(&["tab"]);
    link.hosts[0] = Mdns::new(
        MdnsConfig { seed: [1, 2], hostname: Text::new("tab").unwrap() },
        MdnsMemory::with_capacity(1, 2, 128),
    );
    link.hosts[0].set_addresses(link.now, addresses(1));
    link.hosts[0].browse(link.now, "_http._tcp").unwrap();
    link.run(ms(500));
    let all = (0..100).map(|number| pointer(4_500, &format!("{number}-{}._http._tcp.local.", "x".repeat(40))));
    for some in all.collect::<Vec<_>>().chunks(20) {
        link.hear("10.0.0.9:5353", &response(some.to_vec()));
    }
    link.take();
    link.run(ms(700));
    let sent: Vec<Sent> = link.take().into_iter().filter(|sent| sent.message.authorities.is_empty()).collect();
    let sent: Vec<&Sent> = sent.iter().filter(|sent| !sent.is_response()).collect();
    assert!(sent.len() > 2);
    let (last, rest) = sent.split_last().unwrap();
    assert!(rest.iter().all(|sent| sent.message.metadata.truncation) && !last.message.metadata.truncation);
    assert_eq!(sent.iter().map(|sent| sent.message.queries.len()).sum::<usize>(), 1);
    assert_eq!(sent.iter().map(|sent| sent.message.answers.len()).sum::<usize>(), 100);
}

/// RFC 6762 §5.2: at 80, 85, 90 and 95 percent of its time.
#[test]
fn what_is_wanted_is_asked_for_before_it_ends() {
    let mut link = named("tab");
    let id = link.hosts[0].look_up(link.now, &name("other.local")).unwrap();
    link.run(ms(150));
    let nsec = [&hickory("other.local.").to_bytes().unwrap()[..], &[0, 1, 0x40]].concat();
    let mut denies = Record::from_rdata(
        hickory("other.local."),
        1_000,
        RData::Unknown { code: hickory_proto::rr::RecordType::NSEC, rdata: hickory_proto::rr::rdata::NULL::with(nsec) },
    );
    denies.dns_class = IN_WITH_BIT;
    let heard = link.now;
    link.hear("10.0.0.9:5353", &response(vec![a("other.local.", 1_000, "10.0.0.9"), denies]));
    link.take();
    link.run(Duration::from_secs(999));
    let asked = link
        .take()
        .into_iter()
        .filter(|sent| sent.message.queries.iter().any(|query| query.query_type() == hickory_proto::rr::RecordType::A));
    let times: Vec<u64> = asked.map(|sent| sent.at.since(heard).as_millis() / 1_000).collect();
    assert_eq!(times.len(), 4, "{times:?}");
    for (time, percent) in times.iter().zip([80, 85, 90, 95]) {
        assert!((percent * 10..=percent * 10 + 20).contains(time), "{times:?}");
    }
    link.events(0);
    assert_eq!(link.hosts[0].addresses(id).len(), 1);
    link.run(Duration::from_secs(2));
    assert_eq!((link.hosts[0].addresses(id).len(), link.events(0)), (0, vec![MdnsEvent::Answers(id)]));
    assert!(!link.take().is_empty(), "it is asked for anew");
}

/// RFC 6762 §10.2
#[test]
fn what_is_replaced_is_forgotten_after_a_second() {
    let mut link = named("tab");
    let id = link.hosts[0].look_up(link.now, &name("other.local")).unwrap();
    link.hear("10.0.0.9:5353", &response(vec![a("other.local.", 120, "10.0.0.8"), a("other.local.", 120, "10.0.0.9")]));
    link.run(Duration::from_secs(5));
    assert_eq!(link.hosts[0].addresses(id).len(), 2, "both came at once");
    link.hear("10.0.0.9:5353", &response(vec![a("other.local.", 120, "10.0.0.9")]));
    link.run(ms(900));
    assert_eq!(link.hosts[0].addresses(id).len(), 2);
    link.run(ms(200));
    assert_eq!(link.hosts[0].addresses(id).first(), Some(address(9)));
    assert_eq!(link.hosts[0].addresses(id).len(), 1);
}

/// RFC 6762 §10.1
#[test]
fn what_says_goodbye_is_forgotten_after_a_second() {
    let mut link = named("tab");
    let id = link.hosts[0].browse(link.now, "_http._tcp").unwrap();
    link.hear("10.0.0.9:5353", &response(vec![pointer(4_500, "a._http._tcp.local.")]));
    link.run(Duration::from_secs(5));
    link.events(0);
    link.hear("10.0.0.9:5353", &response(vec![pointer(0, "a._http._tcp.local.")]));
    assert_eq!(instances(&link, id).len(), 1);
    link.run(Duration::from_secs(1));
    assert_eq!((instances(&link, id).len(), link.events(0)), (0, vec![MdnsEvent::Answers(id)]));
}

/// RFC 6762 §7.3
#[test]
fn what_another_has_just_asked_is_not_asked() {
    let mut link = named("tab");
    link.hosts[0].browse(link.now, "_http._tcp").unwrap();
    let question = query(&[("_http._tcp.local.", RecordType::PTR, DNSClass::IN)]);
    link.hear("10.0.0.9:5353", &question);
    link.run(ms(900));
    assert_eq!(link.take().len(), 0);
    let mut knows_more = question;
    knows_more.answers.push(pointer(4_500, "a._http._tcp.local."));
    link.hear("10.0.0.9:5353", &knows_more);
    link.run(ms(300));
    assert_eq!(link.take().len(), 1, "we do not know its answers");
}
