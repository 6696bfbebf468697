//! The stub resolver of a stack.

use std::net::SocketAddr;

use ethertab::services::List;
use ethertab::services::resolver::{
    DnsTransport, LookupFailure, LookupId, Outcome, QueryToken, ResolveError, Resolver, ResolverConfig, Wanted,
};
use ethertab::storage::Storage;
use ethertab::wire::dns::{Name, PORT};
use ethertab_wasm_shared::{Rows, instant};
use js_sys::RangeError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::instance::Slot;
use crate::lists::joined;
use crate::records::kind_of;
use crate::refused::{domains, parse_address, refused};

/// Lookups under way at a time; more wait in JavaScript's promises no better, so they are refused.
const MAX_LOOKUPS: usize = 64;
/// Answers that are kept.
const MAX_CACHED: usize = 256;
/// The longest query.
const MAX_QUERY: usize = 512;

thread_local! {
    static RESOLVER: Slot<Service> = const { Slot::empty() };
}

/// The resolver, and its lookups by the numbers that JavaScript knows them by.
#[derive(Debug)]
struct Service {
    resolver: Resolver<'static>,
    lookups: Vec<(u32, LookupId)>,
    /// Messages of servers that were asked for by [`ask`] and have come.
    answers: Vec<(u32, Box<[u8]>)>,
    next_number: u32,
}

impl Service {
    /// Numbers a lookup.
    fn number(&mut self, id: LookupId) -> u32 {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        self.lookups.push((number, id));
        number
    }
}

fn enter<T>(call: impl FnOnce(&mut Service) -> T) -> T {
    RESOLVER.with(|slot| slot.enter(call))
}

/// Makes the resolver.
#[wasm_bindgen]
pub fn create_resolver(seed_high: u32, seed_low: u32) {
    let config = ResolverConfig::new([u64::from(seed_high), u64::from(seed_low)]);
    let (lookups, cache) = (Storage::with_capacity(MAX_LOOKUPS), Storage::with_capacity(MAX_CACHED));
    let resolver = Resolver::new(config, lookups, cache);
    RESOLVER.with(|slot| slot.fill(Service { resolver, lookups: Vec::new(), answers: Vec::new(), next_number: 0 }));
}

/// Says which servers are asked, on port 53, and with which domains short names are completed; texts with blanks between.
#[wasm_bindgen]
pub fn configure_resolver(servers: &str, search: &str) -> Result<(), RangeError> {
    let server = |text| Ok(SocketAddr::new(parse_address(text)?, PORT));
    let servers = servers.split_whitespace().map(server).collect::<Result<List<_, _>, RangeError>>()?;
    let search = domains(search)?.into_iter().collect();
    enter(|service| service.resolver.configure(servers, search));
    Ok(())
}

/// Begins a lookup of the addresses of a family, 4 or 6, or of both (0), and returns its number.
#[wasm_bindgen]
pub fn resolve(now: f64, host: &str, family: u32) -> Result<u32, RangeError> {
    let wanted = match family {
        4 => Wanted::V4,
        6 => Wanted::V6,
        _ => Wanted::Addresses,
    };
    enter(|service| {
        let id = service.resolver.resolve(instant(now), host, wanted).map_err(|error| match error {
            ResolveError::TooMany => refused(&"too many lookups are under way"),
            _ => refused(&format_args!("\"{host}\" is no domain name")),
        })?;
        Ok(service.number(id))
    })
}

/// Begins to ask for records of any type, whose answer is wanted as a message, and returns the lookup's number. The name is not completed.
#[wasm_bindgen]
pub fn ask(now: f64, name: &str, kind: &str) -> Result<u32, RangeError> {
    let kind = kind_of(kind)?;
    let no_name = || refused(&format_args!("\"{name}\" is no domain name"));
    let owner = Name::from_text(name).map_err(|_| no_name())?;
    enter(|service| {
        let id = service
            .resolver
            .relay(instant(now), &owner, kind)
            .map_err(|_| refused(&"too many lookups are under way"))?;
        Ok(service.number(id))
    })
}

/// The message that [`ask`] wanted, once it has come; undefined before, and if there is no such lookup.
#[wasm_bindgen]
pub fn answer_to(lookup: u32) -> Option<Box<[u8]>> {
    enter(|service| {
        let place = service.answers.iter().position(|(number, _)| *number == lookup)?;
        Some(service.answers.swap_remove(place).1)
    })
}

/// How a lookup stands: `known` has the families that are known so far, `addresses` their addresses, IPv6 first, with blanks
/// between; with both, or with a `failure`, it is over and forgotten. Undefined if there is no such lookup.
#[wasm_bindgen]
pub fn lookup_outcome(lookup: u32) -> Option<Rows> {
    enter(|service| {
        let place = service.lookups.iter().position(|(number, _)| *number == lookup)?;
        let outcome = service.resolver.outcome(service.lookups[place].1)?;
        let rows = Rows::of("known addresses failure");
        match outcome {
            Outcome::Pending { v4, v6 } => {
                let known = match (&v4, &v6) {
                    (Some(_), _) => 4,
                    (_, Some(_)) => 6,
                    _ => 0,
                };
                rows.number(known);
                rows.text(&joined([v6, v4].into_iter().flatten().flatten()));
                rows.nothing();
                return Some(rows);
            }
            Outcome::Addresses(addresses) => {
                rows.number(46);
                rows.text(&joined(addresses.iter()));
                rows.nothing();
            }
            Outcome::Name(_) => return None,
            Outcome::Failed(failure) => {
                rows.number(46);
                rows.text("");
                rows.text(match failure {
                    LookupFailure::NotFound => "there is no such name",
                    LookupFailure::NoData => "the name has no such address",
                    LookupFailure::ServersFailed => "no server could tell",
                    LookupFailure::TimedOut => "no server has answered",
                    _ => "no name server is known",
                });
            }
        }
        service.lookups.swap_remove(place);
        Some(rows)
    })
}

/// Forgets a lookup.
#[wasm_bindgen]
pub fn cancel_lookup(lookup: u32) {
    enter(|service| {
        if let Some(place) = service.lookups.iter().position(|(number, _)| *number == lookup) {
            service.resolver.cancel(service.lookups.swap_remove(place).1);
        }
    });
}

/// The next query to send, by a socket of its own; undefined if there is none.
#[wasm_bindgen]
pub fn transmit_query(now: f64) -> Option<Rows> {
    let mut message = [0; MAX_QUERY];
    let sent = enter(|service| service.resolver.transmit(instant(now), &mut message))?;
    let rows = Rows::of("query message address port stream");
    rows.shown(&sent.token.to_bits());
    rows.bytes(&message[..sent.len]);
    rows.socket_address(sent.server);
    rows.number(u8::from(sent.transport == DnsTransport::Tcp));
    Some(rows)
}

/// Takes what came to the socket of a query; an empty message says that nothing will come.
#[wasm_bindgen]
pub fn handle_query(now: f64, query: &str, address: &str, port: u16, message: &[u8]) -> Result<(), RangeError> {
    let (token, from) = (token(query), SocketAddr::new(parse_address(address)?, port));
    enter(|service| match message {
        [] => service.resolver.query_failed(instant(now), token),
        message => {
            let answered = service.resolver.handle(instant(now), token, from, message);
            let place = service.lookups.iter().position(|(_, id)| Some(*id) == answered);
            if let Some(place) = place {
                service.answers.push((service.lookups.swap_remove(place).0, message.into()));
            }
        }
    });
    Ok(())
}

/// Whether a query still waits; if not, its socket is of no more use.
#[wasm_bindgen]
pub fn query_is_waiting(query: &str) -> bool {
    enter(|service| service.resolver.is_waiting(token(query)))
}

/// Turns to other servers where one has not answered in time, and tells when the next is due, in microseconds; infinite for never.
#[wasm_bindgen]
pub fn resolver_due(now: f64) -> f64 {
    enter(|service| {
        let now = instant(now);
        if service.resolver.next_timeout().is_some_and(|due| due <= now) {
            service.resolver.handle_timeout(now);
        }
        service.resolver.next_timeout().map_or(f64::INFINITY, |due| due.as_micros() as f64)
    })
}

/// A token crosses as a text, since it has more bits than JavaScript's numbers.
fn token(text: &str) -> QueryToken {
    QueryToken::from_bits(text.parse().unwrap_or(0))
}
