//! The DNS server.

use std::net::IpAddr;

use ethertab::services::{AddNameError, Answer, DnsAction, DnsConfig, DnsServer, QueryId, UnknownNames};
use ethertab::storage::Storage;
use ethertab::wire::dns::{Name, RecordData, RecordType};
use ethertab_wasm_shared::{Rows, instant};
use js_sys::RangeError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::instance::Slot;
use crate::records::{data_of, kind_name};
use crate::refused::{parse_address, refused};

/// Names in a gateway's table, two for each guest and plenty for served origins.
const MAX_NAMES: usize = 4096;
/// Questions that wait for JavaScript at a time.
const MAX_QUESTIONS: usize = 256;
/// The longest answer over UDP: it fits an Ethernet frame.
const MAX_DATAGRAM: usize = 1472;
/// The longest message over TCP.
const MAX_STREAM_MESSAGE: usize = 65_535;

/// A DNS server. What its table does not have is asked for.
#[derive(Debug)]
struct DnsService {
    server: DnsServer<'static>,
    /// Questions that wait, by the number that JavaScript knows them by.
    waiting: Vec<(u32, QueryId)>,
    next_number: u32,
    /// The answer that is being written.
    answer: Box<[u8]>,
}

thread_local! {
    static SERVICE: Slot<DnsService> = const { Slot::empty() };
}

fn enter<T>(call: impl FnOnce(&mut DnsService) -> T) -> T {
    SERVICE.with(|slot| slot.enter(call))
}

/// Makes the server, whose own answers may be kept for `ttl` seconds, and those of names that are not there no longer.
#[wasm_bindgen]
pub fn create_dns(ttl: u32) {
    let defaults = DnsConfig::default();
    let negative_ttl = defaults.negative_ttl.min(ttl);
    let config = DnsConfig { ttl, negative_ttl, unknown: UnknownNames::Ask, ..defaults };
    let server = DnsServer::new(config, Storage::with_capacity(MAX_NAMES), Storage::with_capacity(MAX_QUESTIONS));
    let answer = vec![0; MAX_STREAM_MESSAGE].into();
    SERVICE.with(|slot| slot.fill(DnsService { server, waiting: Vec::new(), next_number: 0, answer }));
}

/// Adds an address of a name.
#[wasm_bindgen]
pub fn add_name(name: &str, address: &str) -> Result<(), RangeError> {
    let address = parse_address(address)?;
    enter(|service| service.server.add(name, address)).map_err(|error| match error {
        AddNameError::Full => refused(&"the table of names is full"),
        _ => no_name(name),
    })
}

/// Removes a name with all its addresses.
#[wasm_bindgen]
pub fn remove_name(name: &str) {
    enter(|service| service.server.remove(name));
}

/// The addresses of a name.
#[wasm_bindgen]
pub fn addresses_of(name: &str) -> Rows {
    let rows = Rows::of("address");
    let Ok(name) = Name::from_text(name) else { return rows };
    enter(|service| {
        for entry in service.server.entries() {
            if entry.name == name {
                rows.shown(&entry.address);
            }
        }
    });
    rows
}

/// Takes a message that came to port 53, over TCP if `stream`. Tells the answer, or a question to answer with
/// [`answer_dns`]; undefined if there is nothing to do.
#[wasm_bindgen]
pub fn handle_dns(
    now: f64,
    address: &str,
    port: u16,
    message: &[u8],
    stream: bool,
) -> Result<Option<Rows>, RangeError> {
    let from = (parse_address(address)?, port).into();
    Ok(enter(|service| {
        let DnsService { server, answer, .. } = service;
        let action = if stream {
            server.handle_stream(instant(now), from, message, answer)
        } else {
            server.handle(instant(now), from, message, &mut answer[..MAX_DATAGRAM])
        };
        match action {
            DnsAction::Ignore => None,
            DnsAction::Reply(length) => {
                let rows = Rows::of("message");
                rows.bytes(&answer[..length]);
                Some(rows)
            }
            DnsAction::Ask(id) => service.ask(id),
        }
    }))
}

/// Answers a question with addresses or, if it was for other types, the data of records, each on a line of its own; with `"nxdomain"` or
/// `"servfail"` as `failure`; or, without any of these, with the fact that the name has no such record. Returns
/// the message to send, undefined if the question has waited too long.
///
/// When an address or the name is none, the question still waits.
#[wasm_bindgen]
pub fn answer_dns(question: u32, answers: &str, failure: &str, ttl: u32) -> Result<Option<Box<[u8]>>, RangeError> {
    enter(|service| {
        let Some(index) = service.waiting.iter().position(|(number, _)| *number == question) else { return Ok(None) };
        let (_, id) = service.waiting[index];
        let kind = service.server.question(id).map_or(RecordType::ANY, |(_, kind)| kind);
        let texts = answers.split_terminator('\n');
        let (data, addresses);
        let answer = match failure {
            "nxdomain" => Answer::NxDomain,
            "servfail" => Answer::ServFail,
            _ if !matches!(kind, RecordType::A | RecordType::AAAA | RecordType::ANY) => {
                data = texts.map(|text| data_of(kind, text)).collect::<Result<Vec<RecordData>, _>>()?;
                Answer::Records { data: &data, ttl }
            }
            _ => {
                addresses = texts.map(parse_address).collect::<Result<Vec<IpAddr>, _>>()?;
                Answer::Addresses { addresses: &addresses, ttl }
            }
        };
        service.waiting.swap_remove(index);
        let answered = service.server.answer(id, answer, &mut service.answer);
        Ok(answered.map(|(_, length)| service.answer[..length].into()))
    })
}

/// Answers a question with the message of another server. Returns the message to send; undefined if the question has waited too long, or
/// that is no answer to it.
#[wasm_bindgen]
pub fn relay_dns(question: u32, message: &[u8]) -> Option<Box<[u8]>> {
    enter(|service| {
        let index = service.waiting.iter().position(|(number, _)| *number == question)?;
        let (_, id) = service.waiting[index];
        let (_, length) = service.server.relay(id, message, &mut service.answer)?;
        service.waiting.swap_remove(index);
        Some(service.answer[..length].into())
    })
}

/// Messages received, answered and dropped, each with its reason.
#[wasm_bindgen]
pub fn dns_counters() -> Rows {
    let names = "fromTable asked fromApplication truncated duplicates expired overloaded malformed responses \
                 notImplemented refused noRoom";
    enter(|service| {
        let counters = service.server.counters();
        Rows::of(names).numbers(&[
            counters.from_table,
            counters.asked,
            counters.from_application,
            counters.truncated,
            counters.duplicates,
            counters.expired,
            counters.overloaded,
            counters.malformed,
            counters.responses,
            counters.not_implemented,
            counters.refused,
            counters.no_room,
        ])
    })
}

impl DnsService {
    /// Numbers a question and tells it. Those that have expired are forgotten, so that there are never more than wait in
    /// the server.
    fn ask(&mut self, id: QueryId) -> Option<Rows> {
        self.waiting.retain(|(_, waiting)| self.server.question(*waiting).is_some());
        let (name, kind) = self.server.question(id)?;
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        self.waiting.push((number, id));
        let rows = Rows::of("question name type");
        rows.number(number);
        rows.shown(name);
        rows.text(&kind_name(kind));
        Some(rows)
    }
}

fn no_name(text: &str) -> RangeError {
    refused(&format_args!("\"{text}\" is no domain name"))
}
