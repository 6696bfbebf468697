//! Connections to hosts with several addresses: which to try when.

use std::cell::RefCell;

use ethertab::services::List;
use ethertab::services::resolver::happy_eyeballs::{Attempt, HappyEyeballs};
use ethertab_wasm_shared::{Rows, instant};
use js_sys::RangeError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::refused::parse_address;

thread_local! {
    /// By number; free places are used again.
    static HOSTS: RefCell<Vec<Option<HappyEyeballs>>> = const { RefCell::new(Vec::new()) };
}

fn enter<T>(number: u32, call: impl FnOnce(&mut HappyEyeballs) -> T) -> Option<T> {
    HOSTS.with_borrow_mut(|hosts| hosts.get_mut(number as usize)?.as_mut().map(call))
}

/// Begins a connection of which no address is known yet, and returns its number.
#[wasm_bindgen]
pub fn begin_connecting(now: f64) -> u32 {
    HOSTS.with_borrow_mut(|hosts| {
        let number = hosts.iter().position(Option::is_none).unwrap_or(hosts.len());
        if number == hosts.len() {
            hosts.push(None);
        }
        hosts[number] = Some(HappyEyeballs::new(instant(now)));
        number as u32
    })
}

/// Forgets a connection: it is made, or given up.
#[wasm_bindgen]
pub fn end_connecting(number: u32) {
    HOSTS.with_borrow_mut(|hosts| {
        if let Some(place) = hosts.get_mut(number as usize) {
            *place = None;
        }
    });
}

/// The host's addresses of a family, 4 or 6, are known: texts with blanks between.
#[wasm_bindgen]
pub fn addresses_known(now: f64, number: u32, family: u32, addresses: &str) -> Result<(), RangeError> {
    let addresses = addresses.split_whitespace().map(parse_address).collect::<Result<List<_, _>, RangeError>>()?;
    enter(number, |host| match family {
        4 => host.v4_resolved(instant(now), addresses),
        _ => host.v6_resolved(addresses),
    });
    Ok(())
}

/// An attempt has failed.
#[wasm_bindgen]
pub fn attempt_failed(now: f64, number: u32) {
    enter(number, |host| host.failed(instant(now)));
}

/// What to do now: begin to connect to `address` and ask again; or, without one, wait until `due`, in microseconds, or until
/// something is told; or, if `exhausted`, give up.
#[wasm_bindgen]
pub fn next_attempt(now: f64, number: u32) -> Option<Rows> {
    let attempt = enter(number, |host| host.poll(instant(now)))?;
    let rows = Rows::of("address due exhausted");
    match attempt {
        Attempt::Begin(address) => rows.shown(&address),
        _ => rows.nothing(),
    }
    match attempt {
        Attempt::Wait(Some(due)) => rows.number(due.as_micros() as f64),
        _ => rows.nothing(),
    }
    rows.number(u8::from(attempt == Attempt::Exhausted));
    Some(rows)
}
