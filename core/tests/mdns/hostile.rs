//! Messages from anybody, and tables that are full.

use super::*;
use proptest::prelude::*;

#[test]
fn responses_come_from_the_port_and_the_link() {
    let mut link = named("tab");
    let id = link.hosts[0].look_up(link.now, &name("other.local")).unwrap();
    let octets = response(vec![a("other.local.", 120, "10.0.0.9")]).to_bytes().unwrap();
    link.hear_octets("10.0.0.9:40000", GROUP_V4.into(), &octets);
    link.hear_octets("192.0.2.1:5353", address(1), &octets);
    assert_eq!((link.hosts[0].counters().not_local, link.hosts[0].addresses(id).len()), (2, 0));
    link.hear_octets("10.0.0.1:5353", GROUP_V4.into(), &octets);
    assert_eq!((link.hosts[0].counters().own, link.hosts[0].addresses(id).len()), (1, 0));
    link.hear_octets("192.0.2.1:5353", GROUP_V4.into(), &octets);
    assert_eq!(link.hosts[0].addresses(id).len(), 1, "RFC 6762 §11: what came to the group is from this link");
}

#[test]
fn the_cache_is_bounded_and_keeps_what_is_wanted() {
    let mut link = named("tab");
    let id = link.hosts[0].look_up(link.now, &name("other.local")).unwrap();
    link.hear("10.0.0.9:5353", &response(vec![a("other.local.", 10, "10.0.0.9")]));
    for number in 0..500 {
        let owner = format!("noise-{number}.local.");
        link.hear("10.0.0.9:5353", &response(vec![a(&owner, 4_500, "10.0.0.9")]));
    }
    assert_eq!(link.hosts[0].addresses(id).len(), 1);
    // 32 places: other.local, 31 of the noise, and the rest in the place of one another.
    assert_eq!(link.hosts[0].counters().evicted, 500 - 31);
}

#[test]
fn tables_say_when_they_are_full() {
    let mut link = named("tab");
    for number in 0..4 {
        register(&mut link, 0, &format!("number {number}"));
        link.hosts[0].browse(link.now, "_http._tcp").unwrap();
    }
    let service = ServiceConfig { instance: "five", service: "_http._tcp", subtypes: &[], port: 80, text: b"" };
    let full = Err(ethertab::services::mdns::MdnsError::Full);
    assert_eq!(link.hosts[0].register(link.now, &service), full);
    assert_eq!(link.hosts[0].browse(link.now, "_http._tcp").map(drop), full.map(drop));
    for wrong in ["http._tcp", "_http._sctp", "_http", "_http._tcp.local", "_name-of-16-chars._tcp", ""] {
        assert!(link.hosts[0].browse(link.now, wrong).is_err(), "{wrong}");
    }
}

/// Records as long as none is kept: the text is left out, the rest is not.
#[test]
fn data_that_is_too_long_is_not_kept() {
    let mut link = named("tab");
    let id = link.hosts[0].ask(link.now, &name("x.local"), RecordType::TXT).unwrap();
    let text = hickory_proto::rr::rdata::TXT::new(vec!["x".repeat(250); 5]);
    link.hear("10.0.0.9:5353", &response(vec![Record::from_rdata(hickory("x.local."), 120, RData::TXT(text))]));
    assert_eq!((link.hosts[0].counters().too_long, link.hosts[0].records(id).count()), (1, 0));
}

/// A host in full swing, and messages of hosts that it could hear.
fn busy() -> (Link, Vec<Vec<u8>>) {
    let mut link = Link::new(&["tab", "tab", "three"]);
    register(&mut link, 0, "files");
    register(&mut link, 1, "files");
    link.hosts[0].browse(link.now, "_http._tcp").unwrap();
    let _ = link.hosts[0].resolve(link.now, &name("files._http._tcp.local"));
    link.hosts[2].browse(link.now, "_http._tcp").unwrap();
    link.run(Duration::from_secs(4));
    let messages = link.take().into_iter().map(|sent| sent.octets).collect();
    (link, messages)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Damaged messages change nothing but tables: nothing panics, all calls end, and what is sent can be read.
    #[test]
    fn damaged_messages_are_harmless(
        choices in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut link, messages) = busy();
        for (which, place, value, legacy) in choices {
            let mut octets = which.get(&messages).clone();
            let at = place.index(octets.len());
            octets[at] = value;
            if value % 7 == 0 {
                octets.truncate(cut.index(octets.len()));
            }
            let from = if legacy { "10.0.0.9:4000" } else { "10.0.0.9:5353" };
            let mut out = [0; MTU];
            let len = link.hosts[0].handle(link.now, from.parse().unwrap(), GROUP_V4.into(), &octets, &mut out);
            prop_assert!(len.is_none_or(|len| len <= MTU));
            link.now += ms(50);
            let mut turns = 0;
            while link.hosts[0].transmit(link.now, &mut out).is_some() {
                turns += 1;
                prop_assert!(turns < 100);
            }
            while link.hosts[0].poll_event().is_some() {}
            prop_assert!(link.hosts[0].next_timeout().is_none_or(|due| due > link.now));
        }
    }
}
