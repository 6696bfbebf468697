//! The DNS servers of core for JavaScript, which owns their sockets and carries the messages.

use std::net::IpAddr;

use ethertab::services::{AddNameError, Answer, DnsAction, DnsConfig, DnsServer, QueryId, UnknownNames};
use ethertab::storage::Storage;
use ethertab::wire::dns::{Name, RecordType};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::{enter, find, insert, instant, remove};
use crate::failure::Failure;
use crate::hosts::parse_address;
use crate::rows::Rows;

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
pub(crate) struct DnsService {
    server: DnsServer<'static>,
    /// Questions that wait, by the number that JavaScript knows them by.
    waiting: Vec<(u32, QueryId)>,
    next_number: u32,
}

/// Adds a server whose own answers may be kept for `ttl` seconds and returns its number.
#[wasm_bindgen]
pub fn add_dns(ttl: u32) -> u32 {
    let config = DnsConfig { ttl, unknown: UnknownNames::Ask, ..DnsConfig::default() };
    let server = DnsServer::new(config, Storage::with_capacity(MAX_NAMES), Storage::with_capacity(MAX_QUESTIONS));
    enter(|engine| insert(&mut engine.dns, DnsService { server, waiting: Vec::new(), next_number: 0 }))
}

/// Removes a server.
#[wasm_bindgen]
pub fn remove_dns(dns: u32) {
    enter(|engine| remove(&mut engine.dns, dns));
}

/// Adds an address of a name.
#[wasm_bindgen]
pub fn add_name(dns: u32, name: &str, address: &str) -> Result<(), Failure> {
    let address = parse_address(address)?;
    enter(|engine| match find(&mut engine.dns, dns)?.server.add(name, address) {
        Ok(()) => Ok(()),
        Err(AddNameError::Full) => Err(Failure::invalid(&"the table of names is full")),
        Err(_) => Err(no_name(name)),
    })
}

/// Removes a name with all its addresses.
#[wasm_bindgen]
pub fn remove_name(dns: u32, name: &str) -> Result<(), Failure> {
    enter(|engine| {
        find(&mut engine.dns, dns)?.server.remove(name);
        Ok(())
    })
}

/// The addresses of a name.
#[wasm_bindgen]
pub fn addresses_of(dns: u32, name: &str) -> Result<Rows, Failure> {
    let rows = Rows::of("address");
    let Ok(name) = Name::from_text(name) else { return Ok(rows) };
    enter(|engine| {
        for entry in find(&mut engine.dns, dns)?.server.entries() {
            if entry.name == name {
                rows.shown(&entry.address);
            }
        }
        Ok(rows)
    })
}

/// Takes a message that came to port 53, over TCP if `stream`. Tells the length of the answer, which is in the scratch
/// buffer, or a question to answer with [`answer_dns`]; undefined if there is nothing to do.
#[wasm_bindgen]
pub fn handle_dns(
    now: f64,
    dns: u32,
    address: &str,
    port: u16,
    message: &[u8],
    stream: bool,
) -> Result<Option<Rows>, Failure> {
    let from = (parse_address(address)?, port).into();
    enter(|engine| {
        let service = find(&mut engine.dns, dns)?;
        let action = if stream {
            service.server.handle_stream(instant(now), from, message, &mut engine.scratch[..MAX_STREAM_MESSAGE])
        } else {
            service.server.handle(instant(now), from, message, &mut engine.scratch[..MAX_DATAGRAM])
        };
        match action {
            DnsAction::Ignore => Ok(None),
            DnsAction::Reply(length) => Ok(Some(Rows::of("length").numbers(&[length as u64]))),
            DnsAction::Ask(id) => Ok(service.ask(id)),
        }
    })
}

/// Answers a question with addresses or, if it was for PTR, one name, each on a line of its own; with `"nxdomain"` or
/// `"servfail"` as `failure`; or, without any of these, with the fact that the name has no such record. Returns
/// the length of the message to send, which is in the scratch buffer, 0 if the question has waited too long.
///
/// When an address or the name is none, the question still waits.
#[wasm_bindgen]
pub fn answer_dns(dns: u32, question: u32, answers: &str, failure: &str, ttl: u32) -> Result<u32, Failure> {
    enter(|engine| {
        let service = find(&mut engine.dns, dns)?;
        let Some(index) = service.waiting.iter().position(|(number, _)| *number == question) else { return Ok(0) };
        let (_, id) = service.waiting[index];
        let is_pointer = service.server.question(id).is_some_and(|(_, kind)| kind == RecordType::PTR);
        let mut texts = answers.split_terminator('\n');
        let (name, addresses);
        let answer = match failure {
            "nxdomain" => Answer::NxDomain,
            "servfail" => Answer::ServFail,
            _ if is_pointer && let Some(text) = texts.next() => {
                name = Name::from_text(text).map_err(|_| no_name(text))?;
                Answer::Pointer { name: &name, ttl }
            }
            _ => {
                addresses = texts.map(parse_address).collect::<Result<Vec<IpAddr>, _>>()?;
                Answer::Addresses { addresses: &addresses, ttl }
            }
        };
        service.waiting.swap_remove(index);
        let answered = service.server.answer(id, answer, &mut engine.scratch[..MAX_STREAM_MESSAGE]);
        Ok(answered.map_or(0, |(_, length)| length as u32))
    })
}

/// Messages received, answered and dropped, each with its reason.
#[wasm_bindgen]
pub fn dns_counters(dns: u32) -> Result<Rows, Failure> {
    enter(|engine| {
        let counters = find(&mut engine.dns, dns)?.server.counters();
        Ok(Rows::of(
            "fromTable asked fromApplication truncated duplicates expired overloaded malformed responses \
             notImplemented refused noRoom",
        )
        .numbers(&[
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
        ]))
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
        match kind {
            RecordType::A => rows.text("A"),
            RecordType::AAAA => rows.text("AAAA"),
            RecordType::PTR => rows.text("PTR"),
            RecordType::ANY => rows.text("ANY"),
            // RFC 3597 §5
            RecordType(number) => rows.shown(&format_args!("TYPE{number}")),
        }
        Some(rows)
    }
}

fn no_name(text: &str) -> Failure {
    Failure::invalid(&format_args!("\"{text}\" is no domain name"))
}
