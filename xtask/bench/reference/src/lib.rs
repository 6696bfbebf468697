//! Exports of the memcpy-plus-checksum reference. See [`Reference`] for what it counts.

use std::cell::RefCell;

use ethertab_bench_common::{Failure, Reference, status};

thread_local! {
    static REFERENCE: RefCell<Option<Reference>> = const { RefCell::new(None) };
}

/// Makes the buffers, `buffer_bytes` each way.
#[unsafe(no_mangle)]
pub extern "C" fn setup(buffer_bytes: u32, _idle: u32) -> u32 {
    REFERENCE.set(Some(Reference::new(buffer_bytes as usize)));
    0
}

/// Moves `bytes`.
#[unsafe(no_mangle)]
pub extern "C" fn bulk(bytes: u32) -> u32 {
    status(REFERENCE.with_borrow_mut(|reference| reference.as_mut().ok_or(Failure::NotSetUp)?.bulk(u64::from(bytes))))
}
