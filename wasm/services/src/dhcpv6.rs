//! The DHCPv6 server.

use ethertab::Prefix;
use ethertab::services::dhcpv6_server::{Dhcpv6Config, Dhcpv6LeaseState, Dhcpv6Server, Dhcpv6ServerLease};
use ethertab::storage::Storage;
use ethertab::time::{Duration, Instant};
use ethertab::wire::dhcpv6::Duid;
use ethertab_wasm_shared::{Rows, instant, mac};
use js_sys::RangeError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::hex::{bytes_of, digits_of};
use crate::instance::Slot;
use crate::refused::{domains, parse_v6, refused};

/// Addresses that a gateway serves.
const MAX_LEASES: usize = 1024;

/// The longest answer: it fits the minimum MTU (RFC 8200 §5).
const MAX_MESSAGE: usize = 1232;

thread_local! {
    static SERVER: Slot<Dhcpv6Server<'static>> = const { Slot::empty() };
}

fn enter<T>(call: impl FnOnce(&mut Dhcpv6Server<'static>) -> T) -> T {
    SERVER.with(|slot| slot.enter(call))
}

/// Makes the server, which leases the addresses from `first` to `last`, or with both empty none. Texts of several have blanks between;
/// times are in seconds. See `Dhcpv6Config` in core.
#[wasm_bindgen]
#[expect(clippy::too_many_arguments, reason = "a flat interface for JavaScript")]
pub fn create_dhcpv6(
    mac_address: f64,
    seed_high: u32,
    seed_low: u32,
    prefix: &str,
    first: &str,
    last: &str,
    dns_servers: &str,
    search: &str,
    preferred: f64,
    valid: f64,
) -> Result<(), RangeError> {
    let prefix: Prefix = prefix.parse().map_err(|_| refused(&format_args!("\"{prefix}\" is no IPv6 network")))?;
    let seed = [u64::from(seed_high), u64::from(seed_low)];
    let mut config = Dhcpv6Config::new(mac(mac_address), seed, prefix);
    if !first.is_empty() {
        let (first, last) = (parse_v6(first)?, parse_v6(last)?);
        if first > last || ![first, last].into_iter().all(|end| prefix.contains(end.into())) {
            return Err(refused(&format_args!("dhcp6: {first} to {last} is no part of {prefix}")));
        }
        config.pool = Some((first, last));
    }
    config.dns_servers = dns_servers.split_whitespace().map(parse_v6).collect::<Result<_, _>>()?;
    config.search = domains(search)?.into_iter().collect();
    config.preferred = Duration::from_secs(preferred as u64);
    config.valid = Duration::from_secs(valid as u64);
    let server = Dhcpv6Server::new(config, Storage::with_capacity(MAX_LEASES));
    SERVER.with(|slot| slot.fill(server));
    Ok(())
}

/// Takes a message that came to port 547 of `to`. Gives the answer, which goes back to where the message came from; undefined if there
/// is none.
#[wasm_bindgen]
pub fn handle_dhcpv6(now: f64, to: &str, message: &[u8]) -> Result<Option<Box<[u8]>>, RangeError> {
    let to = parse_v6(to)?;
    let mut answer = [0; MAX_MESSAGE];
    let len = enter(|server| server.handle(instant(now), to, message, &mut answer));
    Ok(len.map(|len| Box::from(&answer[..len])))
}

/// All addresses that the server remembers: the client's DUID in hexadecimal digits, the end of the lease in microseconds.
#[wasm_bindgen]
pub fn leases_dhcpv6(now: f64) -> Rows {
    let rows = Rows::of("address client iaid state expires");
    enter(|server| {
        // An entry that was only offered is nobody's.
        for lease in server.leases().iter().filter(|lease| lease.client != Duid::EMPTY) {
            rows.shown(&lease.address);
            rows.text(&digits_of(lease.client.as_octets()));
            rows.number(lease.iaid);
            rows.text(match lease.state(instant(now)) {
                Dhcpv6LeaseState::Bound => "bound",
                Dhcpv6LeaseState::Ended => "ended",
                Dhcpv6LeaseState::Declined => "declined",
            });
            match lease.expires {
                Instant::FAR_FUTURE => rows.nothing(),
                expires => rows.number(expires.as_micros() as f64),
            }
        }
    });
    rows
}

/// Takes up a lease that was granted before a restart, as [`leases_dhcpv6`] told of it, for the microseconds that remain. False if it
/// cannot be taken up.
#[wasm_bindgen]
pub fn restore_dhcpv6(now: f64, address: &str, client: &str, iaid: u32, remaining: f64) -> Result<bool, RangeError> {
    let address = parse_v6(address)?;
    let Some(client) = Duid::new(&bytes_of(client)) else { return Ok(false) };
    let mut lease = Dhcpv6ServerLease::EMPTY;
    (lease.address, lease.client, lease.iaid) = (address, client, iaid);
    lease.expires = match remaining.is_finite() {
        true => instant(now) + Duration::from_micros(remaining.max(0.0) as u64),
        false => Instant::FAR_FUTURE,
    };
    Ok(enter(|server| server.restore(lease)))
}

/// Messages received, sent and dropped, each with its reason.
#[wasm_bindgen]
pub fn dhcpv6_counters() -> Rows {
    let names =
        "advertisements replies releases declines malformed notForServers otherServer unicast poolExhausted noRoom";
    enter(|server| {
        let counters = server.counters();
        Rows::of(names).numbers(&[
            counters.advertisements,
            counters.replies,
            counters.releases,
            counters.declines,
            counters.malformed,
            counters.not_for_servers,
            counters.other_server,
            counters.unicast,
            counters.pool_exhausted,
            counters.no_room,
        ])
    })
}
