//! What is in an instance: the scratch buffer, tables of what the package has numbers for, and the time.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use slab::Slab;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::authority::Authority;
use crate::config::Config;
use crate::connection::Connection;

/// Bytes that cross in one call: four of TLS's largest records.
const SCRATCH: usize = 64 * 1024;

/// All there is in an instance.
pub(crate) struct State {
    pub(crate) scratch: Box<[u8]>,
    pub(crate) configs: Slab<Config>,
    pub(crate) connections: Slab<Connection>,
    pub(crate) authorities: Slab<Authority>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State {
        scratch: vec![0; SCRATCH].into_boxed_slice(),
        configs: Slab::new(),
        connections: Slab::new(),
        authorities: Slab::new(),
    });
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// Does something with what is in the instance. No call into it makes another.
pub(crate) fn with<T>(operation: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(operation)
}

/// It is `now`, in milliseconds since 1970, until the next call that says so.
pub(crate) fn set_now(now: f64) {
    NOW.set(now as u64 / 1_000);
}

/// The time that the last call has brought.
#[derive(Debug)]
pub(crate) struct GivenTime;

impl TimeProvider for GivenTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW.get())))
    }
}

/// Where the scratch buffer is in memory: bytes go in and out through it.
#[wasm_bindgen]
pub fn scratch_address() -> u32 {
    with(|state| state.scratch.as_ptr() as usize as u32)
}

/// How many bytes it holds.
#[wasm_bindgen]
pub fn scratch_size() -> u32 {
    SCRATCH as u32
}
