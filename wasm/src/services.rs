//! The DHCP and DNS servers of core for JavaScript, which owns their UDP sockets and carries the messages.
//!
//! A gateway sees a few of these messages for each host and name, so that clear calls matter more here than few. Times are
//! microseconds since the engine was made, as everywhere in the module.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ethertab::services::{
    Answer, DhcpConfig, DhcpServer, DnsAction, DnsConfig, DnsServer, Lease, LeaseEvent, LeaseState, QueryId, Text,
    UnknownNames,
};
use ethertab::storage::Storage;
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::wire::dns::{Name, RecordType};
use js_sys::{Object, RangeError, Reflect, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::options::{Options, wrong};

/// The longest DHCP answer that fits an Ethernet frame, and more than a DNS answer over UDP may have.
const MAX_DATAGRAM: usize = 1472;
/// Addresses that a gateway serves: a /22 of guests.
const MAX_LEASES: usize = 1024;
/// Names in a gateway's table, two for each guest and plenty for served origins.
const MAX_NAMES: usize = 4096;
/// Questions that wait for JavaScript at a time.
const MAX_QUESTIONS: usize = 256;
/// The longest DNS message over TCP.
const MAX_STREAM_MESSAGE: usize = 65_535;

/// A lease as JavaScript shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaseInfo {
    address: String,
    mac: String,
    hostname: String,
    state: &'static str,
    /// Microseconds; absent for a lease without end.
    expires: Option<f64>,
    reserved: bool,
}

/// A DHCP server.
#[derive(Debug)]
#[wasm_bindgen]
pub struct DhcpService {
    server: DhcpServer<'static>,
}

#[wasm_bindgen]
impl DhcpService {
    /// A server with an object's `server`, `prefixLength`, `first`, `last`, `domain`, `mtu` and `leaseTime` (seconds); see
    /// `DhcpConfig` in core.
    ///
    /// # Errors
    /// An `Error` that names what is wrong with `options`.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &JsValue) -> Result<Self, JsValue> {
        let options = Options(options);
        let pool = RangeInclusive::new(parse(&options.text("first")?)?, parse(&options.text("last")?)?);
        let prefix_len = options.integer("prefixLength")?.ok_or_else(|| wrong("prefixLength", "a number"))?;
        let mut config = DhcpConfig::new(parse(&options.text("server")?)?, prefix_len, pool);
        config.domain = text("domain", &options.text("domain")?)?;
        config.mtu = options.integer("mtu")?;
        config.lease_time =
            options.number("leaseTime")?.map_or(config.lease_time, |span| Duration::from_secs(span as u64));
        let leases = Storage::with_capacity(MAX_LEASES);
        let server = DhcpServer::new(config, leases).map_err(|error| range_error(&format!("dhcp: {error:?}")))?;
        Ok(Self { server })
    }

    /// Keeps an address for the network card `mac`.
    ///
    /// # Errors
    /// A `RangeError` that says why that cannot be.
    pub fn reserve(&mut self, now: f64, mac: &str, address: &str, hostname: &str) -> Result<(), JsValue> {
        let hostname = text("hostname", hostname)?;
        self.server
            .reserve(instant(now), parse::<MacAddr>(mac)?, parse(address)?, hostname)
            .map_err(|error| range_error(&format!("static lease {address} for {mac}: {error:?}")))
    }

    /// Takes a message that came to port 67. Returns `{ message, address, port, mac }`, `mac` absent where the address is
    /// resolved as usual, or `undefined` if there is nothing to answer.
    pub fn handle(&mut self, now: f64, message: &[u8]) -> Option<Object> {
        let mut out = [0; MAX_DATAGRAM];
        let reply = self.server.handle(instant(now), message, &mut out)?;
        let answer = datagram(&out[..reply.len], IpAddr::V4(*reply.destination.ip()), reply.destination.port());
        if let Some(mac) = reply.link_destination {
            set(&answer, "mac", &mac.to_string().into());
        }
        Some(answer)
    }

    /// The next change since the last call, as `[kind, address]`.
    pub fn poll_event(&mut self) -> Option<Vec<String>> {
        let (kind, address) = match self.server.poll_event()? {
            LeaseEvent::Granted(address) => ("granted", address),
            LeaseEvent::Released(address) => ("released", address),
            LeaseEvent::Declined(address) => ("declined", address),
        };
        Some(vec![kind.to_owned(), address.to_string()])
    }

    /// All addresses that the server remembers.
    ///
    /// # Errors
    /// None that is known.
    pub fn leases(&self, now: f64) -> Result<JsValue, JsValue> {
        let now = instant(now);
        let leases: Vec<_> = self.server.leases().iter().map(|lease| lease_info(lease, now)).collect();
        Ok(serde_wasm_bindgen::to_value(&leases)?)
    }

    /// Messages received, sent and dropped, each with its reason.
    pub fn counters(&self) -> Object {
        let counters = self.server.counters();
        numbers(&[
            ("offers", counters.offers),
            ("acks", counters.acks),
            ("naks", counters.naks),
            ("releases", counters.releases),
            ("declines", counters.declines),
            ("malformed", counters.malformed),
            ("notForServers", counters.not_for_servers),
            ("badHardware", counters.bad_hardware),
            ("otherSubnet", counters.other_subnet),
            ("otherServer", counters.other_server),
            ("unknownClient", counters.unknown_client),
            ("poolExhausted", counters.pool_exhausted),
            ("noRoom", counters.no_room),
        ])
    }
}

fn lease_info(lease: &Lease, now: Instant) -> LeaseInfo {
    let state = match lease.state(now) {
        LeaseState::Reserved => "reserved",
        LeaseState::Offered => "offered",
        LeaseState::Bound => "bound",
        LeaseState::Released => "released",
        LeaseState::Declined => "declined",
        LeaseState::Expired => "expired",
    };
    let ends = lease.expires != Instant::FAR_FUTURE;
    LeaseInfo {
        address: lease.address.to_string(),
        mac: lease.mac.to_string(),
        hostname: lease.hostname.as_str().to_owned(),
        state,
        expires: ends.then(|| lease.expires.as_micros() as f64),
        reserved: lease.reserved_for.is_some(),
    }
}

/// A DNS server. What its table does not have is asked for.
#[derive(Debug)]
#[wasm_bindgen]
pub struct DnsService {
    server: DnsServer<'static>,
    /// Questions that wait, by the number that JavaScript knows them by.
    waiting: Vec<(u32, QueryId)>,
    next_number: u32,
}

#[wasm_bindgen]
impl DnsService {
    /// A server whose own answers may be kept for `ttl` seconds.
    #[wasm_bindgen(constructor)]
    pub fn new(ttl: u32) -> Self {
        let config = DnsConfig { ttl, unknown: UnknownNames::Ask, ..DnsConfig::default() };
        let server = DnsServer::new(config, Storage::with_capacity(MAX_NAMES), Storage::with_capacity(MAX_QUESTIONS));
        Self { server, waiting: Vec::new(), next_number: 0 }
    }

    /// Adds an address of a name.
    ///
    /// # Errors
    /// A `RangeError` that names the value.
    pub fn add(&mut self, name: &str, address: &str) -> Result<(), JsValue> {
        self.server.add(name, parse(address)?).map_err(|error| range_error(&format!("name {name:?}: {error:?}")))
    }

    /// Removes a name with all its addresses.
    pub fn remove(&mut self, name: &str) {
        self.server.remove(name);
    }

    /// The addresses of a name.
    pub fn addresses(&self, name: &str) -> Vec<String> {
        let Ok(name) = Name::from_text(name) else {
            return Vec::new();
        };
        self.server.entries().iter().filter(|entry| entry.name == name).map(|entry| entry.address.to_string()).collect()
    }

    /// Takes a message that came to port 53, over TCP if `stream`. Returns `{ message }` to send back, or
    /// `{ question, name, type }` to answer with [`Self::answer`], or `undefined` if there is nothing to do.
    ///
    /// # Errors
    /// A `RangeError` if `address` is none.
    pub fn handle(
        &mut self,
        now: f64,
        address: &str,
        port: u16,
        message: &[u8],
        stream: bool,
    ) -> Result<Option<Object>, JsValue> {
        let from = (parse::<IpAddr>(address)?, port).into();
        let mut out = vec![0; if stream { MAX_STREAM_MESSAGE } else { MAX_DATAGRAM }];
        let action = if stream {
            self.server.handle_stream(instant(now), from, message, &mut out)
        } else {
            self.server.handle(instant(now), from, message, &mut out)
        };
        let result = Object::new();
        match action {
            DnsAction::Ignore => return Ok(None),
            DnsAction::Reply(len) => {
                set(&result, "message", &Uint8Array::from(&out[..len]).into());
            }
            DnsAction::Ask(id) => {
                let Some((name, kind)) = self.server.question(id) else {
                    return Ok(None);
                };
                set(&result, "name", &name.to_string().into());
                set(&result, "type", &type_name(kind).into());
                set(&result, "question", &self.wait(id).into());
            }
        }
        Ok(Some(result))
    }

    /// Answers a question with addresses (A, AAAA) or one name (PTR), with `"nxdomain"`, `"servfail"` or `"refused"` as
    /// `failure`, or, without any of these, with the fact that the name has no such record. Returns the message to send;
    /// `undefined` if the question has waited too long.
    ///
    /// # Errors
    /// A `RangeError` if an address or the name is none; the question still waits.
    pub fn answer(
        &mut self,
        question: u32,
        addresses: Vec<String>,
        pointer: Option<String>,
        failure: Option<String>,
        ttl: u32,
    ) -> Result<Option<Uint8Array>, JsValue> {
        let addresses = addresses.iter().map(|address| parse(address)).collect::<Result<Vec<IpAddr>, _>>()?;
        let name = pointer
            .map(|text| Name::from_text(&text).map_err(|_| range_error(&format!("{text:?} is no domain name"))))
            .transpose()?;
        let answer = match (failure.as_deref(), &name) {
            (Some("nxdomain"), _) => Answer::NxDomain,
            (Some("refused"), _) => Answer::Refused,
            (Some(_), _) => Answer::ServFail,
            (None, Some(name)) => Answer::Pointer { name, ttl },
            (None, None) => Answer::Addresses { addresses: &addresses, ttl },
        };
        let Some(index) = self.waiting.iter().position(|(number, _)| *number == question) else {
            return Ok(None);
        };
        let (_, id) = self.waiting.swap_remove(index);
        let mut out = vec![0; MAX_STREAM_MESSAGE];
        let answered = self.server.answer(id, answer, &mut out);
        Ok(answered.map(|(_, len)| Uint8Array::from(&out[..len])))
    }

    /// Messages received, answered and dropped, each with its reason.
    pub fn counters(&self) -> Object {
        let counters = self.server.counters();
        numbers(&[
            ("fromTable", counters.from_table),
            ("asked", counters.asked),
            ("fromApplication", counters.from_application),
            ("truncated", counters.truncated),
            ("duplicates", counters.duplicates),
            ("expired", counters.expired),
            ("overloaded", counters.overloaded),
            ("malformed", counters.malformed),
            ("responses", counters.responses),
            ("notImplemented", counters.not_implemented),
            ("refused", counters.refused),
            ("noRoom", counters.no_room),
        ])
    }

    /// Numbers a question. Those that have expired are forgotten, so that there are never more than wait in the server.
    fn wait(&mut self, id: QueryId) -> u32 {
        self.waiting.retain(|(_, waiting)| self.server.question(*waiting).is_some());
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        self.waiting.push((number, id));
        number
    }
}

/// The type's usual name, or that of RFC 3597 §5.
fn type_name(kind: RecordType) -> String {
    match kind {
        RecordType::A => "A".to_owned(),
        RecordType::AAAA => "AAAA".to_owned(),
        RecordType::PTR => "PTR".to_owned(),
        RecordType::ANY => "ANY".to_owned(),
        RecordType(number) => format!("TYPE{number}"),
    }
}

fn instant(micros: f64) -> Instant {
    Instant::from_micros(micros as u64)
}

fn parse<T: std::str::FromStr>(value: &str) -> Result<T, JsValue> {
    value.parse().map_err(|_| range_error(&format!("{value:?} is not valid")))
}

fn text<const N: usize>(what: &str, value: &str) -> Result<Text<N>, JsValue> {
    Text::new(value).ok_or_else(|| range_error(&format!("{what} {value:?} has more than {N} bytes")))
}

fn range_error(message: &str) -> JsValue {
    RangeError::new(message).into()
}

fn datagram(message: &[u8], address: IpAddr, port: u16) -> Object {
    let object = Object::new();
    set(&object, "message", &Uint8Array::from(message).into());
    set(&object, "address", &address.to_string().into());
    set(&object, "port", &port.into());
    object
}

fn numbers(values: &[(&str, u64)]) -> Object {
    let object = Object::new();
    for (name, value) in values {
        set(&object, name, &(*value as f64).into());
    }
    object
}

/// Sets a property of an object that was made here, which cannot fail.
fn set(object: &Object, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &name.into(), value);
}
