//! The benchmark programs over ethertab, with its default features.

mod host;

use std::cell::RefCell;

use ethertab_bench_common::{CountingAllocator, Failure, Host as _, Pair, Side, status};

use crate::host::EthertabHost;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

thread_local! {
    static PAIR: RefCell<Option<Pair<EthertabHost>>> = const { RefCell::new(None) };
}

fn with_pair(program: impl FnOnce(&mut Pair<EthertabHost>) -> Result<(), Failure>) -> u32 {
    status(PAIR.with_borrow_mut(|pair| program(pair.as_mut().ok_or(Failure::NotSetUp)?)))
}

/// Two hosts with `idle` established connections and one more for the programs, which has
/// `buffer_bytes` each way.
#[unsafe(no_mangle)]
pub extern "C" fn setup(buffer_bytes: u32, idle: u32) -> u32 {
    PAIR.set(None);
    status(Pair::new(buffer_bytes as usize, idle as usize).map(|pair| PAIR.set(Some(pair))))
}

/// The same over IPv6, without idle connections.
#[unsafe(no_mangle)]
pub extern "C" fn setup_ipv6(buffer_bytes: u32) -> u32 {
    PAIR.set(None);
    let [client, server] = [Side::Client, Side::Server]
        .map(|side| EthertabHost::new(side, buffer_bytes as usize, 0).map(EthertabHost::over_ipv6));
    let pair = client.and_then(|client| Pair::of_hosts(client, server?, 0));
    status(pair.map(|pair| PAIR.set(Some(pair))))
}

/// Moves `bytes` from the client to the server.
#[unsafe(no_mangle)]
pub extern "C" fn bulk(bytes: u32) -> u32 {
    with_pair(|pair| pair.bulk(u64::from(bytes)))
}

/// Sends `rounds` messages of `size` bytes to and fro.
#[unsafe(no_mangle)]
pub extern "C" fn ping_pong(rounds: u32, size: u32) -> u32 {
    with_pair(|pair| pair.ping_pong(rounds, size as usize))
}

/// Opens and closes `count` connections.
#[unsafe(no_mangle)]
pub extern "C" fn connections(count: u32) -> u32 {
    with_pair(|pair| pair.connections(count))
}

/// Bytes on the heap and in use in the pools.
#[unsafe(no_mangle)]
pub extern "C" fn live_bytes() -> u32 {
    let pooled = PAIR.with_borrow(|pair| pair.as_ref().map_or(0, Pair::pooled_bytes));
    (ALLOCATOR.live_bytes() + pooled) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_runs_to_its_end() {
        for idle in [0, 10] {
            assert_eq!(setup(64 * 1024, idle), 0);
            assert_eq!(bulk(1_000_003), 0);
            assert_eq!(ping_pong(100, 64), 0);
            // More than there are ephemeral ports.
            assert_eq!(connections(20_000), 0);
            assert_eq!(bulk(1_000_003), 0);
        }
        assert_eq!(setup_ipv6(64 * 1024), 0);
        assert_eq!(bulk(1_000_003), 0);
    }
}
