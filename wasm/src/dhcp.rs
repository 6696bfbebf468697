//! The DHCP servers of core for JavaScript, which owns their UDP sockets and carries the messages.

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ethertab::services::{
    DhcpConfig, DhcpConfigError, DhcpServer, Lease, LeaseEvent, LeaseState, StaticLeaseError, Text,
};
use ethertab::storage::Storage;
use ethertab::time::{Duration, Instant};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::{enter, find, insert, instant, remove};
use crate::failure::Failure;
use crate::hosts::mac;
use crate::rows::Rows;

/// Addresses that a gateway serves: a /22 of guests.
const MAX_LEASES: usize = 1024;

/// Adds a server that leases the addresses from `first` to `last` and returns its number. `lease_time` is in seconds. See
/// `DhcpConfig` in core.
#[wasm_bindgen]
pub fn add_dhcp(
    server: &str,
    prefix_len: u8,
    first: &str,
    last: &str,
    domain: &str,
    mtu: u16,
    lease_time: f64,
) -> Result<u32, Failure> {
    let pool = RangeInclusive::new(parse_v4(first)?, parse_v4(last)?);
    let mut config = DhcpConfig::new(parse_v4(server)?, prefix_len, pool);
    config.domain = text(domain)?;
    config.mtu = Some(mtu);
    config.lease_time = Duration::from_secs(lease_time as u64);
    let server = DhcpServer::new(config, Storage::with_capacity(MAX_LEASES)).map_err(refused)?;
    Ok(enter(|engine| insert(&mut engine.dhcp, server)))
}

/// Removes a server.
#[wasm_bindgen]
pub fn remove_dhcp(dhcp: u32) {
    enter(|engine| remove(&mut engine.dhcp, dhcp));
}

/// Keeps an address for a network card.
#[wasm_bindgen]
pub fn reserve_lease(now: f64, dhcp: u32, mac_address: f64, address: &str, hostname: &str) -> Result<(), Failure> {
    let (ip, hostname) = (parse_v4(address)?, text(hostname)?);
    enter(|engine| {
        let reserved = find(&mut engine.dhcp, dhcp)?.reserve(instant(now), mac(mac_address), ip, hostname);
        reserved.map_err(|error| not_reserved(error, address))
    })
}

/// Takes a message that came to port 67. Tells the length of the answer, which is in the scratch buffer, and where it
/// goes, with a MAC address unless the address is to be resolved as usual; undefined if there is nothing to answer.
#[wasm_bindgen]
pub fn handle_dhcp(now: f64, dhcp: u32, message: &[u8]) -> Result<Option<Rows>, Failure> {
    enter(|engine| {
        let server = find(&mut engine.dhcp, dhcp)?;
        let Some(reply) = server.handle(instant(now), message, &mut engine.scratch) else { return Ok(None) };
        let rows = Rows::of("length address port mac");
        rows.number(reply.len as f64);
        rows.shown(reply.destination.ip());
        rows.number(reply.destination.port());
        match reply.link_destination {
            Some(mac) => rows.shown(&mac),
            None => rows.nothing(),
        }
        Ok(Some(rows))
    })
}

/// The next change since the last call; undefined if there is none.
#[wasm_bindgen]
pub fn poll_lease(dhcp: u32) -> Result<Option<Rows>, Failure> {
    enter(|engine| {
        let Some(event) = find(&mut engine.dhcp, dhcp)?.poll_event() else { return Ok(None) };
        let (kind, address) = match event {
            LeaseEvent::Granted(address) => ("granted", address),
            LeaseEvent::Released(address) => ("released", address),
            LeaseEvent::Declined(address) => ("declined", address),
        };
        let rows = Rows::of("kind address");
        rows.text(kind);
        rows.shown(&address);
        Ok(Some(rows))
    })
}

/// All addresses that a server remembers. A lease's end is in microseconds, absent if there is none.
#[wasm_bindgen]
pub fn leases(now: f64, dhcp: u32) -> Result<Rows, Failure> {
    enter(|engine| {
        let rows = Rows::of("address mac hostname state expires reserved");
        for lease in find(&mut engine.dhcp, dhcp)?.leases() {
            push_lease(&rows, lease, instant(now));
        }
        Ok(rows)
    })
}

fn push_lease(rows: &Rows, lease: &Lease, now: Instant) {
    rows.shown(&lease.address);
    rows.shown(&lease.mac);
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

/// Messages received, sent and dropped, each with its reason.
#[wasm_bindgen]
pub fn dhcp_counters(dhcp: u32) -> Result<Rows, Failure> {
    enter(|engine| {
        let counters = find(&mut engine.dhcp, dhcp)?.counters();
        Ok(Rows::of(
            "offers acks naks releases declines malformed notForServers badHardware otherSubnet otherServer \
             unknownClient poolExhausted noRoom",
        )
        .numbers(&[
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
        ]))
    })
}

fn parse_v4(text: &str) -> Result<Ipv4Addr, Failure> {
    Ipv4Addr::from_str(text).map_err(|_| Failure::invalid(&format_args!("\"{text}\" is not an IPv4 address")))
}

fn text<const N: usize>(value: &str) -> Result<Text<N>, Failure> {
    Text::new(value).ok_or_else(|| Failure::invalid(&format_args!("\"{value}\" has more than {N} bytes")))
}

/// What is wrong with a server's settings.
#[cold]
fn refused(error: DhcpConfigError) -> Failure {
    let (setting, value): (&str, &dyn Display) = match &error {
        DhcpConfigError::PrefixLen(bits) => ("the prefix length", bits),
        DhcpConfigError::Server(address) => ("the server's address", address),
        DhcpConfigError::Pool(address) => ("an end of the pool", address),
        DhcpConfigError::Mtu(mtu) => ("the MTU", mtu),
        DhcpConfigError::EmptyPool => ("the pool", &"empty"),
        _ => ("the lease time", &"too short"),
    };
    Failure::invalid(&format_args!("dhcp: {setting} cannot be {value}"))
}

/// Why an address was not reserved.
#[cold]
fn not_reserved(error: StaticLeaseError, address: &str) -> Failure {
    let reason = match error {
        StaticLeaseError::Address(_) => "the address is not one for a client of this network",
        StaticLeaseError::InUse(_) => "the address is another client's",
        StaticLeaseError::Duplicate(_) => "the client has another address already",
        StaticLeaseError::Mac(_) => "the MAC address is not that of one network card",
        _ => "the table of leases is full",
    };
    Failure::invalid(&format_args!("static lease {address}: {reason}"))
}
