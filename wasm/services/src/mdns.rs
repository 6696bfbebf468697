//! Multicast DNS and service discovery, one state for each interface that speaks it.

use std::cell::RefCell;
use std::net::SocketAddr;

use ethertab::Prefix;
use ethertab::services::mdns::{MdnsError, MdnsEvent, QuestionId, ServiceConfig, ServiceId};
use ethertab::services::{Mdns, MdnsConfig, MdnsMemory, Text};
use ethertab::wire::dns::{Name, RecordType};
use ethertab_wasm_shared::{Rows, instant};
use js_sys::RangeError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::lists::joined;
use crate::refused::{parse_address, refused};

/// Services told of, questions asked and records of others that are remembered at a time.
const MAX_SERVICES: usize = 32;
const MAX_QUESTIONS: usize = 64;
const MAX_CACHED: usize = 256;
/// Octets of the longest message that is sent on Ethernet without fragments.
const MAX_SENT: usize = 1_452;

/// One interface's, and what JavaScript knows by numbers: its services and questions, in the order in which they began.
#[derive(Debug)]
struct Link {
    mdns: Mdns<'static>,
    services: Vec<Option<ServiceId>>,
    questions: Vec<Option<QuestionId>>,
}

impl Link {
    fn service(&self, number: u32) -> Option<ServiceId> {
        self.services.get(number as usize).copied().flatten()
    }

    fn question(&self, number: u32) -> Option<QuestionId> {
        self.questions.get(number as usize).copied().flatten()
    }
}

thread_local! {
    static LINKS: RefCell<Vec<Option<Link>>> = const { RefCell::new(Vec::new()) };
}

fn enter<T>(link: u32, call: impl FnOnce(&mut Link) -> T) -> Option<T> {
    LINKS.with_borrow_mut(|links| links.get_mut(link as usize)?.as_mut().map(call))
}

/// Puts an entry where there is none any more, and returns its number.
fn number<T>(table: &mut Vec<Option<T>>, entry: T) -> u32 {
    let place = table.iter().position(Option::is_none).unwrap_or(table.len());
    if place == table.len() {
        table.push(None);
    }
    table[place] = Some(entry);
    place as u32
}

fn no_name(text: &str) -> RangeError {
    refused(&format_args!("\"{text}\" is no name"))
}

fn refusal(error: MdnsError) -> RangeError {
    match error {
        MdnsError::ServiceType => refused(&"a type of service is of the form _name._tcp or _name._udp"),
        MdnsError::Full => refused(&"there are as many services, subtypes or questions as there may be"),
        MdnsError::Name(_) => refused(&"a name or text is empty or too long"),
        _ => refused(&"it cannot be told"),
    }
}

/// Begins on a link, with the name that the host wants, and returns the link's number.
#[wasm_bindgen]
pub fn create_mdns(seed_high: u32, seed_low: u32, link: u32, hostname: &str) -> Result<u32, RangeError> {
    let hostname = Text::new(hostname).ok_or_else(|| refused(&"a host name has 63 octets at most"))?;
    let seed = [u64::from(seed_high) << 32 | u64::from(seed_low), u64::from(link)];
    let memory = MdnsMemory::with_capacity(MAX_SERVICES, MAX_QUESTIONS, MAX_CACHED);
    let mdns = Mdns::new(MdnsConfig { seed, hostname }, memory);
    let link = Link { mdns, services: Vec::new(), questions: Vec::new() };
    Ok(LINKS.with_borrow_mut(|links| number(links, link)))
}

/// Tells which addresses are certain to be the host's, with the lengths of their prefixes: a text with blanks between.
#[wasm_bindgen]
pub fn set_mdns_addresses(now: f64, link: u32, addresses: &str) {
    let prefixes = addresses.split_whitespace().filter_map(|prefix| prefix.parse::<Prefix>().ok());
    enter(link, |link| link.mdns.set_addresses(instant(now), prefixes.collect()));
}

/// Takes a message that came to port 5353. Returns what is to be sent back to its sender alone, if anything.
#[wasm_bindgen]
pub fn handle_mdns(
    now: f64,
    link: u32,
    from: &str,
    port: u16,
    to: &str,
    message: &[u8],
) -> Result<Option<Rows>, RangeError> {
    let (from, to) = (SocketAddr::new(parse_address(from)?, port), parse_address(to)?);
    let mut out = [0; MAX_SENT];
    let len = enter(link, |link| link.mdns.handle(instant(now), from, to, message, &mut out)).flatten();
    Ok(len.map(|len| message_row(&out[..len])))
}

/// The next message to send to the groups; undefined if there is none.
#[wasm_bindgen]
pub fn transmit_mdns(now: f64, link: u32) -> Option<Rows> {
    let mut out = [0; MAX_SENT];
    let len = enter(link, |link| link.mdns.transmit(instant(now), &mut out)).flatten()?;
    Some(message_row(&out[..len]))
}

fn message_row(message: &[u8]) -> Rows {
    let rows = Rows::of("message");
    rows.bytes(message);
    rows
}

/// When there is something to do, in microseconds; infinite for never.
#[wasm_bindgen]
pub fn mdns_due(link: u32) -> f64 {
    let due = enter(link, |link| link.mdns.next_timeout()).flatten();
    due.map_or(f64::INFINITY, |due| due.as_micros() as f64)
}

/// The next thing that has happened: to the host's name, to a service or to a question, with its number. Undefined if there is none.
#[wasm_bindgen]
pub fn poll_mdns(link: u32) -> Option<Rows> {
    enter(link, |link| {
        loop {
            let (kind, number) = match link.mdns.poll_event()? {
                MdnsEvent::Named => ("named", Some(0)),
                MdnsEvent::Registered(id) => ("registered", link.services.iter().position(|found| *found == Some(id))),
                MdnsEvent::Answers(id) => ("answers", link.questions.iter().position(|found| *found == Some(id))),
                _ => continue,
            };
            // What has ended meanwhile is nobody's business.
            let Some(number) = number else { continue };
            let rows = Rows::of("kind number");
            rows.text(kind);
            rows.number(number as u32);
            return Some(rows);
        }
    })?
}

/// The host's name as it is claimed at present.
#[wasm_bindgen]
pub fn mdns_hostname(link: u32) -> String {
    enter(link, |link| link.mdns.hostname().to_string()).unwrap_or_default()
}

/// Tells of a service from now on, and returns its number. `subtypes` are lines of a text, `text` is the data of a TXT record.
#[wasm_bindgen]
pub fn publish_service(
    now: f64,
    link: u32,
    instance: &str,
    service: &str,
    subtypes: &str,
    port: u16,
    text: &[u8],
) -> Result<u32, RangeError> {
    enter(link, |link| {
        let subtypes: Vec<&str> = subtypes.lines().collect();
        let service = ServiceConfig { instance, service, subtypes: &subtypes, port, text };
        let id = link.mdns.register(instant(now), &service).map_err(refusal)?;
        Ok(number(&mut link.services, id))
    })
    .unwrap_or(Err(refused(&"there is no such link")))
}

/// The name of a service's instance as it is claimed at present.
#[wasm_bindgen]
pub fn published_name(link: u32, service: u32) -> Option<String> {
    enter(link, |link| label_of(&link.mdns.instance(link.service(service)?)?))?
}

/// Changes the data of a service's TXT record.
#[wasm_bindgen]
pub fn set_service_text(now: f64, link: u32, service: u32, text: &[u8]) -> Result<(), RangeError> {
    enter(link, |link| match link.service(service) {
        Some(id) => link.mdns.set_text(instant(now), id, text).map_err(refusal),
        None => Ok(()),
    })
    .unwrap_or(Ok(()))
}

/// Tells that a service is gone, and forgets its number.
#[wasm_bindgen]
pub fn withdraw_service(now: f64, link: u32, service: u32) {
    enter(link, |link| {
        if let Some(id) = link.service(service) {
            link.mdns.unregister(instant(now), id);
            link.services[service as usize] = None;
        }
    });
}

/// Asks which instances there are of a type of service, if `instance` is empty, or else where that one is; returns the question's number.
#[wasm_bindgen]
pub fn ask_for_service(now: f64, link: u32, service: &str, instance: &str) -> Result<u32, RangeError> {
    enter(link, |link| {
        let now = instant(now);
        let id = if instance.is_empty() {
            link.mdns.browse(now, service)
        } else {
            let name = Name::from_text(&format!("{service}.local"));
            let name = name.and_then(|kind| Name::child(instance.as_bytes(), &kind)).map_err(|_| no_name(instance))?;
            link.mdns.resolve(now, &name)
        };
        Ok(number(&mut link.questions, id.map_err(refusal)?))
    })
    .unwrap_or(Err(refused(&"there is no such link")))
}

/// Asks for the addresses of a host, and returns the question's number.
#[wasm_bindgen]
pub fn ask_for_host(now: f64, link: u32, hostname: &str) -> Result<u32, RangeError> {
    let name = Name::from_text(hostname).map_err(|_| no_name(hostname))?;
    enter(link, |link| {
        let id = link.mdns.look_up(instant(now), &name).map_err(refusal)?;
        Ok(number(&mut link.questions, id))
    })
    .unwrap_or(Err(refused(&"there is no such link")))
}

/// Asks no more, and forgets the question's number.
#[wasm_bindgen]
pub fn cancel_mdns_question(link: u32, question: u32) {
    enter(link, |link| {
        if let Some(id) = link.question(question) {
            link.mdns.cancel(id);
            link.questions[question as usize] = None;
        }
    });
}

/// The names of the instances that are known.
#[wasm_bindgen]
pub fn found_instances(link: u32, question: u32) -> Rows {
    let rows = Rows::of("name");
    enter(link, |link| {
        let Some(id) = link.question(question) else { return };
        let targets = link.mdns.records(id).filter_map(|record| record.data().name(RecordType::PTR));
        targets.filter_map(|name| label_of(&name)).for_each(|name| rows.text(&name));
    });
    rows
}

/// Where the instance is that was asked for, as far as it is known: `text` is the data of its TXT record, `addresses` a text with blanks between.
#[wasm_bindgen]
pub fn found_service(link: u32, question: u32) -> Option<Rows> {
    let found = enter(link, |link| link.mdns.service(link.question(question)?))??;
    let rows = Rows::of("hostname port text addresses");
    rows.shown(&found.host);
    rows.number(found.port);
    match found.text {
        Some(text) => rows.bytes(text.as_octets()),
        None => rows.nothing(),
    }
    rows.text(&joined(found.addresses.iter()));
    Some(rows)
}

/// The addresses of the host that was asked for, with blanks between.
#[wasm_bindgen]
pub fn found_addresses(link: u32, question: u32) -> String {
    let found = enter(link, |link| Some(joined(link.mdns.addresses(link.question(question)?).iter()))).flatten();
    found.unwrap_or_default()
}

/// Tells that the host and its services are gone, as soon as what is due is sent.
#[wasm_bindgen]
pub fn shut_down_mdns(now: f64, link: u32) {
    enter(link, |link| link.mdns.shut_down(instant(now)));
}

/// Forgets a link and its number.
#[wasm_bindgen]
pub fn forget_mdns(link: u32) {
    LINKS.with_borrow_mut(|links| {
        if let Some(place) = links.get_mut(link as usize) {
            *place = None;
        }
    });
}

/// The first label of a name: what people call an instance (RFC 6763 §4.1.1).
fn label_of(name: &Name) -> Option<String> {
    name.labels().next().map(|label| String::from_utf8_lossy(label).into_owned())
}
