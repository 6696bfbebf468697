//! DHCP clients, one for each interface that wants one.

use std::cell::RefCell;

use ethertab::services::{DhcpClient, DhcpClientConfig, DhcpClientEvent, Text};
use ethertab_wasm_shared::{Rows, instant, mac};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::lists::joined;

/// The longest message that a client sends.
const MAX_MESSAGE: usize = 548;

thread_local! {
    static CLIENTS: RefCell<Vec<DhcpClient>> = const { RefCell::new(Vec::new()) };
}

fn enter<T>(client: u32, call: impl FnOnce(&mut DhcpClient) -> T) -> Option<T> {
    CLIENTS.with_borrow_mut(|clients| clients.get_mut(client as usize).map(call))
}

/// Makes a client, which begins at once, and returns its number. A host name that is too long is not told to servers.
#[wasm_bindgen]
pub fn create_dhcp_client(now: f64, mac_address: f64, seed_high: u32, seed_low: u32, hostname: &str) -> u32 {
    let seed = [u64::from(seed_high) << 32 | u64::from(seed_low), mac_address as u64];
    let mut config = DhcpClientConfig::new(mac(mac_address), seed);
    config.hostname = Text::new(hostname).unwrap_or(Text::EMPTY);
    config.check = false;
    CLIENTS.with_borrow_mut(|clients| {
        clients.push(DhcpClient::new(instant(now), config));
        clients.len() as u32 - 1
    })
}

/// Takes a message that came to port 68, unless it is empty, and does what is due.
#[wasm_bindgen]
pub fn step_dhcp_client(now: f64, client: u32, message: &[u8]) {
    enter(client, |client| {
        let now = instant(now);
        if !message.is_empty() {
            client.handle(now, message);
        }
        if client.next_timeout().is_some_and(|due| due <= now) {
            client.handle_timeout(now);
        }
    });
}

/// The next message to send and where it goes; undefined if there is none.
#[wasm_bindgen]
pub fn transmit_dhcp_client(now: f64, client: u32) -> Option<Rows> {
    let mut message = [0; MAX_MESSAGE];
    let sent = enter(client, |client| client.transmit(instant(now), &mut message))??;
    let rows = Rows::of("message source address port");
    rows.bytes(&message[..sent.len]);
    rows.shown(&sent.source);
    rows.shown(sent.destination.ip());
    rows.number(sent.destination.port());
    Some(rows)
}

/// The next thing that the client has to tell; undefined if there is none.
#[wasm_bindgen]
pub fn poll_dhcp_client(client: u32) -> Option<Rows> {
    let event = enter(client, DhcpClient::poll_event)??;
    let rows = Rows::of("kind address");
    let (kind, address) = match event {
        DhcpClientEvent::Bound(address) | DhcpClientEvent::Renewed(address) => ("bound", address),
        DhcpClientEvent::Lost(address) => ("lost", address),
        _ => return None,
    };
    rows.text(kind);
    rows.shown(&address);
    Some(rows)
}

/// The lease, if there is one: lists are texts with blanks between, a route is `NETWORK/LENGTH,ROUTER`, times are microseconds.
#[wasm_bindgen]
pub fn dhcp_client_lease(client: u32) -> Option<Rows> {
    enter(client, |client| {
        let lease = client.lease()?;
        let rows = Rows::of("address prefixLength server routes dnsServers ntpServers domain expires");
        rows.shown(&lease.address);
        rows.number(lease.prefix_len);
        rows.shown(&lease.server);
        let routes = lease.routes.iter().map(|route| format!("{},{}", route.destination, route.router));
        rows.text(&joined(routes));
        rows.text(&joined(lease.dns_servers.iter()));
        rows.text(&joined(lease.ntp_servers.iter()));
        rows.text(lease.domain.as_str());
        match lease.expires {
            ethertab::time::Instant::FAR_FUTURE => rows.nothing(),
            expires => rows.number(expires.as_micros() as f64),
        }
        Some(rows)
    })?
}

/// When the client has something to do, in microseconds; infinite for never.
#[wasm_bindgen]
pub fn dhcp_client_due(client: u32) -> f64 {
    let due = enter(client, |client| client.next_timeout()).flatten();
    due.map_or(f64::INFINITY, |due| due.as_micros() as f64)
}

/// Gives the lease back; the message that says so is to be sent before the address goes.
#[wasm_bindgen]
pub fn release_dhcp_client(now: f64, client: u32) {
    enter(client, |client| client.release(instant(now)));
}
