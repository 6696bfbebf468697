//! RFC 6762 §8 and §9: probing, announcing, conflicts, goodbyes.

use super::*;

#[test]
fn a_name_is_probed_three_times_and_announced_twice() {
    let mut link = Link::new(&["tab"]);
    link.run(Duration::from_secs(5));
    let sent = link.take();
    let probes: Vec<&Sent> = sent.iter().filter(|sent| !sent.is_response()).collect();
    assert_eq!(probes.len(), 3);
    assert!(probes[0].at <= Instant::from_millis(250));
    assert!(probes.windows(2).all(|pair| pair[1].at.since(pair[0].at) == ms(250)));
    for probe in &probes {
        let question = &probe.message.queries[0];
        assert_eq!(
            (question.name().to_string().as_str(), question.query_type().to_string().as_str()),
            ("tab.local.", "ANY")
        );
        assert_eq!(question.query_class(), IN_WITH_BIT, "answers may be unicast");
        assert_eq!(shown(&probe.message.authorities), ["tab.local. A 120", "tab.local. AAAA 120"]);
    }
    let announced: Vec<&Sent> = sent.iter().filter(|sent| sent.is_response()).collect();
    assert_eq!(announced.len(), 2);
    assert_eq!(announced[0].at.since(probes[2].at), ms(250));
    assert_eq!(announced[1].at.since(announced[0].at), ms(1_000));
    for message in announced {
        assert!(message.message.metadata.authoritative && message.message.queries.is_empty());
        assert_eq!(message.message.answers.len(), 5, "A, AAAA, NSEC and two reverse names");
        assert!(message.message.answers.iter().all(|record| record.dns_class == IN_WITH_BIT));
    }
    assert_eq!(link.events(0), [MdnsEvent::Named]);
    assert_eq!(link.hosts[0].next_timeout(), None);
}

#[test]
fn a_service_is_announced_with_its_host_and_says_goodbye() {
    let mut link = named("tab");
    let id = register(&mut link, 0, "Tom's. files");
    link.run(Duration::from_secs(5));
    let sent = link.take();
    let answers = sent.last().unwrap().answers();
    let expected = [
        "Tom's\\.\\032files._http._tcp.local. NSEC 4500",
        "Tom's\\.\\032files._http._tcp.local. SRV 120",
        "Tom's\\.\\032files._http._tcp.local. TXT 4500",
        "_http._tcp.local. PTR 4500",
        "_services._dns-sd._udp.local. PTR 4500",
    ];
    assert_eq!(answers.len(), 5);
    for (answer, expected) in answers.iter().zip(expected) {
        assert_eq!(answer.split(' ').next_back(), expected.split(' ').next_back(), "{answer}");
    }
    assert_eq!(link.events(0), [MdnsEvent::Named, MdnsEvent::Registered(id)]);
    link.hosts[0].unregister(link.now, id);
    link.run(Duration::from_secs(5));
    let [goodbye] = &link.take()[..] else { panic!("one message") };
    assert_eq!(goodbye.message.answers.len(), 5);
    assert!(goodbye.message.answers.iter().all(|record| record.ttl == 0));
    assert_eq!(link.hosts[0].instance(id), None);
}

#[test]
fn of_two_services_of_a_type_the_type_is_told_once() {
    let mut link = named("tab");
    let first = register(&mut link, 0, "one");
    register(&mut link, 0, "two");
    link.run(Duration::from_secs(5));
    let types = |sent: &[Sent]| -> Vec<usize> {
        let count = |sent: &Sent| sent.answers().iter().filter(|answer| answer.starts_with("_services.")).count();
        sent.iter().filter(|sent| sent.is_response()).map(count).collect()
    };
    assert!(types(&link.take()).iter().all(|count| *count <= 1));
    link.hosts[0].unregister(link.now, first);
    link.run(Duration::from_secs(1));
    assert_eq!(types(&link.take()), [0], "there is still one of the type");
}

#[test]
fn who_comes_second_takes_another_name() {
    let mut link = named("tab");
    link.add("tab");
    link.run(Duration::from_secs(10));
    assert_eq!((link.hosts[0].hostname(), link.hosts[1].hostname()), (name("tab.local"), name("tab-2.local")));
    assert_eq!(link.hosts[0].counters().conflicts, 0);
    link.add("TAB");
    link.run(Duration::from_secs(10));
    assert_eq!(link.hosts[2].hostname(), name("TAB-3.local"));
}

#[test]
fn of_two_that_probe_at_once_the_later_data_wins() {
    let mut link = Link::new(&["tab", "tab"]);
    link.run(Duration::from_secs(10));
    // 10.0.0.2 is later than 10.0.0.1 (RFC 6762 §8.2.1).
    assert_eq!((link.hosts[1].hostname(), link.hosts[0].hostname()), (name("tab.local"), name("tab-2.local")));
}

#[test]
fn instances_that_conflict_are_numbered_for_people() {
    let mut link = Link::new(&["one", "two"]);
    link.run(Duration::from_secs(5));
    let ids = [0, 1].map(|host| {
        let id = register(&mut link, host, "files");
        link.run(Duration::from_secs(5));
        id
    });
    assert_eq!(link.hosts[0].instance(ids[0]), Some(name("files._http._tcp.local")));
    assert_eq!(link.hosts[1].instance(ids[1]), Name::child(b"files (2)", &name("_http._tcp.local")).ok());
}

/// RFC 6762 §9: who had the name probes again; who answers keeps it.
#[test]
fn a_conflict_over_an_established_name_is_settled_by_probing() {
    let mut link = named("tab");
    link.hear("10.0.0.9:5353", &response(vec![a("tab.local.", 120, "10.0.0.9")]));
    link.run(Duration::from_secs(5));
    let sent = link.take();
    assert_eq!(sent.iter().filter(|sent| !sent.is_response()).count(), 3);
    assert_eq!(link.hosts[0].hostname(), name("tab.local"), "nobody has answered");
    link.hear("10.0.0.9:5353", &response(vec![a("tab.local.", 120, "10.0.0.9")]));
    link.hear("10.0.0.9:5353", &response(vec![a("tab.local.", 120, "10.0.0.9")]));
    link.run(Duration::from_secs(5));
    assert_eq!(link.hosts[0].hostname(), name("tab-2.local"));
}

#[test]
fn what_is_the_same_is_no_conflict() {
    let mut link = named("tab");
    let [v4] = [a("tab.local.", 120, "10.0.0.1")];
    link.hear("10.0.0.9:5353", &response(vec![v4, a("tab.local.", 0, "10.0.0.7")]));
    link.run(Duration::from_secs(5));
    assert_eq!((link.take().len(), link.hosts[0].counters().conflicts), (0, 0));
    // RFC 6762 §6.6: half of our TTL at least, or we say that it is longer.
    link.hear("10.0.0.9:5353", &response(vec![a("tab.local.", 30, "10.0.0.1")]));
    link.run(Duration::from_secs(5));
    assert_eq!(link.take()[0].answers()[0], "tab.local. A 120");
}

/// RFC 6762 §8.1: somebody objects to every name.
#[test]
fn endless_conflicts_slow_the_claims_down() {
    let mut link = Link::new(&["tab"]);
    let mut probes = 0;
    while link.now < Instant::from_secs(60) {
        link.run(ms(10));
        for sent in link.take() {
            let owner = sent.message.queries[0].name().to_string();
            link.hear("10.0.0.9:5353", &response(vec![a(&owner, 120, "10.0.0.9")]));
            probes += 1;
        }
    }
    assert!((20..40).contains(&probes), "{probes}");
}

#[test]
fn a_change_of_addresses_is_told() {
    let mut link = named("tab");
    let new: List<Prefix, 8> = ["10.0.0.77/24", "fe80::1/64"].iter().map(|text| text.parse().unwrap()).collect();
    link.hosts[0].set_addresses(link.now, new);
    link.run(Duration::from_secs(5));
    let sent = link.take();
    assert_eq!(sent.len(), 2);
    let of_name = |ttl: u32| {
        let is_it = |record: &&Record| record.name == hickory("tab.local.") && record.ttl == ttl;
        sent[0].message.answers.iter().filter(is_it).map(|record| record.data.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of_name(0), ["10.0.0.1"]);
    assert!(of_name(120).contains(&"10.0.0.77".to_string()));
    link.hosts[0].set_addresses(link.now, List::EMPTY);
    link.run(Duration::from_secs(5));
    assert_eq!((link.take().len(), link.hosts[0].next_timeout()), (0, None));
    link.hosts[0].set_addresses(link.now, addresses(1));
    link.run(Duration::from_secs(5));
    assert_eq!(link.take().len(), 5, "the name is claimed again");
}

#[test]
fn who_leaves_says_so() {
    let mut link = named("tab");
    register(&mut link, 0, "files");
    link.run(Duration::from_secs(5));
    link.take();
    link.hosts[0].shut_down(link.now);
    link.run(Duration::from_secs(5));
    let [goodbye] = &link.take()[..] else { panic!("one message") };
    assert_eq!(goodbye.message.answers.len(), 10);
    assert!(goodbye.message.answers.iter().all(|record| record.ttl == 0));
    assert!(link.hear("10.0.0.9:5353", &query(&[("tab.local.", RecordType::A, IN_WITH_BIT)])).is_none());
}
