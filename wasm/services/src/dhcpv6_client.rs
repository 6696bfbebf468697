//! DHCPv6 clients, one for each interface that wants one.

use std::cell::RefCell;

use ethertab::services::dhcpv6_client::{Dhcpv6Client, Dhcpv6ClientConfig};
use ethertab::time::Instant;
use ethertab_wasm_shared::{Rows, instant, mac};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::lists::joined;

/// The longest message that a client sends.
const MAX_MESSAGE: usize = 548;

thread_local! {
    static CLIENTS: RefCell<Vec<Dhcpv6Client>> = const { RefCell::new(Vec::new()) };
}

fn enter<T>(client: u32, call: impl FnOnce(&mut Dhcpv6Client) -> T) -> Option<T> {
    CLIENTS.with_borrow_mut(|clients| clients.get_mut(client as usize).map(call))
}

/// Makes a client, which begins at once, for an address or for parameters only, and returns its number.
#[wasm_bindgen]
pub fn create_dhcpv6_client(now: f64, mac_address: f64, seed_high: u32, seed_low: u32, address: bool) -> u32 {
    let seed = [u64::from(seed_high) << 32 | u64::from(seed_low), mac_address as u64];
    let mut config = Dhcpv6ClientConfig::new(mac(mac_address), seed);
    config.address = address;
    CLIENTS.with_borrow_mut(|clients| {
        clients.push(Dhcpv6Client::new(instant(now), config));
        clients.len() as u32 - 1
    })
}

/// Takes a message that came to port 546, unless it is empty, and does what is due.
#[wasm_bindgen]
pub fn step_dhcpv6_client(now: f64, client: u32, message: &[u8]) {
    enter(client, |client| {
        if !message.is_empty() {
            client.handle(instant(now), message);
        }
        client.handle_timeout(instant(now));
    });
}

/// The next message to send to all servers; undefined if there is none.
#[wasm_bindgen]
pub fn transmit_dhcpv6_client(now: f64, client: u32) -> Option<Box<[u8]>> {
    let mut message = [0; MAX_MESSAGE];
    let length = enter(client, |client| client.transmit(instant(now), &mut message))??;
    Some(message[..length].into())
}

/// Whether something has changed since the last call.
#[wasm_bindgen]
pub fn dhcpv6_client_has_news(client: u32) -> bool {
    enter(client, |client| {
        let mut has_news = false;
        while client.poll_event().is_some() {
            has_news = true;
        }
        has_news
    })
    .unwrap_or(false)
}

/// What servers have told: the address that was granted, if any, until when it is preferred and valid, and the network's parameters. Lists
/// are texts with blanks between, times are microseconds.
#[wasm_bindgen]
pub fn dhcpv6_client_lease(client: u32) -> Option<Rows> {
    enter(client, |client| {
        let rows = Rows::of("address preferredUntil validUntil dnsServers search");
        let time = |until: Instant| match until {
            Instant::FAR_FUTURE => rows.nothing(),
            until => rows.number(until.as_micros() as f64),
        };
        match client.lease().and_then(|lease| lease.address) {
            Some(granted) => {
                rows.shown(&granted.address);
                time(granted.preferred_until);
                time(granted.valid_until);
            }
            None => {
                rows.nothing();
                rows.nothing();
                rows.nothing();
            }
        }
        rows.text(&joined(client.parameters().dns_servers.iter()));
        rows.text(&joined(client.parameters().search.iter()));
        rows
    })
}

/// When the client has something to do, in microseconds; infinite for never.
#[wasm_bindgen]
pub fn dhcpv6_client_due(client: u32) -> f64 {
    let due = enter(client, |client| client.next_timeout()).flatten();
    due.map_or(f64::INFINITY, |due| due.as_micros() as f64)
}

/// Tells that another host has the address that was granted.
#[wasm_bindgen]
pub fn decline_dhcpv6_client(now: f64, client: u32) {
    enter(client, |client| client.address_is_taken(instant(now)));
}

/// Gives the lease back; the message that says so is to be sent before the interface goes.
#[wasm_bindgen]
pub fn release_dhcpv6_client(now: f64, client: u32) {
    enter(client, |client| client.release(instant(now)));
}
