//! The DHCP server.

use std::fmt::Display;
use std::ops::RangeInclusive;

use ethertab::services::{
    ClientId, CustomOption, DhcpConfig, DhcpConfigError, DhcpServer, Lease, LeaseEvent, LeaseState, StaticLeaseError,
    Text,
};
use ethertab::storage::Storage;
use ethertab::time::{Duration, Instant};
use ethertab::wire::dhcp::option;
use ethertab_wasm_shared::{Rows, instant, mac};
use js_sys::RangeError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::hex::{bytes_of, digits_of};
use crate::instance::Slot;
use crate::refused::{parse_v4, refused};

/// Addresses that a gateway serves: a /22 of guests.
const MAX_LEASES: usize = 1024;

/// The longest answer: it fits an Ethernet frame.
const MAX_MESSAGE: usize = 1472;

thread_local! {
    static SERVER: Slot<DhcpServer<'static>> = const { Slot::empty() };
}

fn enter<T>(call: impl FnOnce(&mut DhcpServer<'static>) -> T) -> T {
    SERVER.with(|slot| slot.enter(call))
}

/// Makes the server, which leases the addresses from `first` to `last`. `lease_time` is in seconds. See `DhcpConfig` in core.
#[wasm_bindgen]
pub fn create_dhcp(
    server: &str,
    prefix_len: u8,
    first: &str,
    last: &str,
    domain: &str,
    mtu: u16,
    lease_time: f64,
) -> Result<(), RangeError> {
    let pool = RangeInclusive::new(parse_v4(first)?, parse_v4(last)?);
    let mut config = DhcpConfig::new(parse_v4(server)?, prefix_len, pool);
    config.domain = text(domain)?;
    config.mtu = Some(mtu);
    // The gateway tells the time too.
    config.options = CustomOption::new(option::NTP_SERVERS, &config.server.octets()).into_iter().collect();
    config.lease_time = Duration::from_secs(lease_time as u64);
    let server = DhcpServer::new(config, Storage::with_capacity(MAX_LEASES)).map_err(not_possible)?;
    SERVER.with(|slot| slot.fill(server));
    Ok(())
}

/// Keeps an address for a network card.
#[wasm_bindgen]
pub fn reserve_lease(now: f64, mac_address: f64, address: &str, hostname: &str) -> Result<(), RangeError> {
    let (ip, hostname) = (parse_v4(address)?, text(hostname)?);
    let reserved = enter(|server| server.reserve(instant(now), mac(mac_address), ip, hostname));
    reserved.map_err(|error| not_reserved(error, address))
}

/// Takes up a lease that was granted before a restart, as [`leases`] told of it: the client in hexadecimal digits, and the microseconds
/// that remain, infinite for a lease without end. False if it cannot be taken up.
#[wasm_bindgen]
pub fn restore_lease(
    now: f64,
    mac_address: f64,
    address: &str,
    client: &str,
    hostname: &str,
    remaining: f64,
) -> Result<bool, RangeError> {
    let (mac, address, hostname) = (mac(mac_address), parse_v4(address)?, text(hostname)?);
    let client = ClientId::from_identifier(&bytes_of(client)).unwrap_or(ClientId::from_hardware(mac));
    let remaining = remaining.is_finite().then(|| Duration::from_micros(remaining.max(0.0) as u64));
    Ok(enter(|server| server.restore(instant(now), address, mac, client, hostname, remaining)))
}

/// Takes a message that came to port 67. Tells the answer and where it goes, with a MAC address unless the address is to be
/// resolved as usual; undefined if there is nothing to answer.
#[wasm_bindgen]
pub fn handle_dhcp(now: f64, message: &[u8]) -> Option<Rows> {
    let mut answer = [0; MAX_MESSAGE];
    let reply = enter(|server| server.handle(instant(now), message, &mut answer))?;
    let rows = Rows::of("message address port mac");
    rows.bytes(&answer[..reply.len]);
    rows.shown(&reply.destination.ip());
    rows.number(reply.destination.port());
    match reply.link_destination {
        Some(mac) => rows.shown(&mac),
        None => rows.nothing(),
    }
    Some(rows)
}

/// The next change since the last call; undefined if there is none.
#[wasm_bindgen]
pub fn poll_lease() -> Option<Rows> {
    let (kind, address) = match enter(DhcpServer::poll_event)? {
        LeaseEvent::Granted(address) => ("granted", address),
        LeaseEvent::Released(address) => ("released", address),
        LeaseEvent::Declined(address) => ("declined", address),
    };
    let rows = Rows::of("kind address");
    rows.text(kind);
    rows.shown(&address);
    Some(rows)
}

/// Tells the server that somebody uses an address without a lease. Unless it is leased, nobody is offered it for a while.
#[wasm_bindgen]
pub fn set_aside_lease(now: f64, address: &str) -> Result<(), RangeError> {
    let address = parse_v4(address)?;
    enter(|server| server.set_aside(instant(now), address));
    Ok(())
}

/// All addresses that the server remembers. A lease's end is in microseconds, absent if there is none.
#[wasm_bindgen]
pub fn leases(now: f64) -> Rows {
    let rows = Rows::of("address mac client hostname state expires reserved");
    enter(|server| {
        for lease in server.leases() {
            push_lease(&rows, lease, instant(now));
        }
    });
    rows
}

/// Messages received, sent and dropped, each with its reason.
#[wasm_bindgen]
pub fn dhcp_counters() -> Rows {
    let names = "offers acks naks releases declines malformed notForServers badHardware otherSubnet otherServer \
                 unknownClient poolExhausted noRoom";
    enter(|server| {
        let counters = server.counters();
        Rows::of(names).numbers(&[
            counters.offers,
            counters.acks,
            counters.naks,
            counters.releases,
            counters.declines,
            counters.malformed,
            counters.not_for_servers,
            counters.bad_hardware,
            counters.other_subnet,
            counters.other_server,
            counters.unknown_client,
            counters.pool_exhausted,
            counters.no_room,
        ])
    })
}

fn push_lease(rows: &Rows, lease: &Lease, now: Instant) {
    rows.shown(&lease.address);
    rows.shown(&lease.mac);
    rows.text(&digits_of(lease.client.identifier().unwrap_or_default()));
    rows.text(lease.hostname.as_str());
    rows.text(match lease.state(now) {
        LeaseState::Reserved => "reserved",
        LeaseState::Offered => "offered",
        LeaseState::Bound => "bound",
        LeaseState::Released => "released",
        LeaseState::Declined => "declined",
        LeaseState::Expired => "expired",
    });
    match lease.expires {
        Instant::FAR_FUTURE => rows.nothing(),
        expires => rows.number(expires.as_micros() as f64),
    }
    rows.number(u8::from(lease.reserved_for.is_some()));
}

fn text<const N: usize>(value: &str) -> Result<Text<N>, RangeError> {
    Text::new(value).ok_or_else(|| refused(&format_args!("\"{value}\" has more than {N} bytes")))
}

/// What is wrong with a server's settings.
#[cold]
fn not_possible(error: DhcpConfigError) -> RangeError {
    let (setting, value): (&str, &dyn Display) = match &error {
        DhcpConfigError::PrefixLen(bits) => ("the prefix length", bits),
        DhcpConfigError::Server(address) => ("the server's address", address),
        DhcpConfigError::Pool(address) => ("an end of the pool", address),
        DhcpConfigError::Mtu(mtu) => ("the MTU", mtu),
        DhcpConfigError::EmptyPool => ("the pool", &"empty"),
        _ => ("the lease time", &"too short"),
    };
    refused(&format_args!("dhcp: {setting} cannot be {value}"))
}

/// Why an address was not reserved.
#[cold]
fn not_reserved(error: StaticLeaseError, address: &str) -> RangeError {
    let reason = match error {
        StaticLeaseError::Address(_) => "the address is not one for a client of this network",
        StaticLeaseError::InUse(_) => "the address is another client's",
        StaticLeaseError::Duplicate(_) => "the client has another address already",
        StaticLeaseError::Mac(_) => "the MAC address is not that of one network card",
        _ => "the table of leases is full",
    };
    refused(&format_args!("static lease {address}: {reason}"))
}
