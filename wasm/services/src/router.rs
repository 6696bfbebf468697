//! What routers advertise: the options of router advertisements, for the engine, which sends them.

use std::net::Ipv6Addr;

use ethertab::Prefix;
use ethertab::wire::{NdpOption, PrefixInformation, RouteInformation, RouterPreference};
use js_sys::RangeError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::refused::{domains, parse_v6, refused};

/// The most that fits the minimum MTU (RFC 8200 §5) behind the headers and the source link-layer address option (RFC 4861 §4.2).
const MAX_OPTIONS: usize = 1280 - 40 - 16 - 8;

/// A network, with what stands after it and commas.
fn network<const N: usize>(text: &str) -> Result<(Prefix, Ipv6Addr, [&str; N]), RangeError> {
    let wrong = || refused(&format_args!("\"{text}\" is no IPv6 network"));
    let mut parts = text.split(',');
    let prefix: Prefix = parts.next().and_then(|prefix| prefix.parse().ok()).ok_or_else(wrong)?;
    let std::net::IpAddr::V6(address) = prefix.network().address else { return Err(wrong()) };
    let mut rest = [""; N];
    for place in &mut rest {
        *place = parts.next().ok_or_else(wrong)?;
    }
    Ok((prefix, address, rest))
}

/// Seconds; what is no number is for ever.
fn seconds(text: &str) -> u32 {
    text.parse().unwrap_or(u32::MAX)
}

/// The options of an advertisement. Each of `prefixes` is `NETWORK/LENGTH,VALID,PREFERRED,FLAGS`, times in seconds and the flags `L` (on
/// link) and `A` (autonomous), each of `routes` is `NETWORK/LENGTH,LIFETIME,PREFERENCE`; texts have blanks between. `lifetime` is that of what is
/// said about DNS, `mtu` 0 to say none.
#[wasm_bindgen]
pub fn router_options(
    prefixes: &str,
    routes: &str,
    mtu: u32,
    dns_servers: &str,
    search: &str,
    lifetime: u32,
) -> Result<Box<[u8]>, RangeError> {
    let mut options = Vec::new();
    for text in prefixes.split_whitespace() {
        let (prefix, address, [valid, preferred, flags]) = network(text)?;
        let option = NdpOption::PrefixInformation(PrefixInformation {
            prefix_len: prefix.length,
            on_link: flags.contains('L'),
            autonomous: flags.contains('A'),
            valid_lifetime: seconds(valid),
            preferred_lifetime: seconds(preferred),
            prefix: address,
        });
        // Two addresses of a host may be of one network.
        if !options.contains(&option) {
            options.push(option);
        }
    }
    for text in routes.split_whitespace() {
        let (prefix, address, [lifetime, preference]) = network(text)?;
        let preference = match preference {
            "low" => RouterPreference::Low,
            "high" => RouterPreference::High,
            _ => RouterPreference::Medium,
        };
        let (prefix_len, lifetime) = (prefix.length, seconds(lifetime));
        options.push(NdpOption::RouteInformation(RouteInformation {
            prefix_len,
            preference,
            lifetime,
            prefix: address,
        }));
    }
    if mtu != 0 {
        options.push(NdpOption::Mtu(mtu));
    }
    let servers: Vec<[u8; 16]> = dns_servers
        .split_whitespace()
        .map(|server| Ok(parse_v6(server)?.octets()))
        .collect::<Result<_, RangeError>>()?;
    if !servers.is_empty() {
        options.push(NdpOption::RecursiveDnsServers { lifetime, servers: &servers });
    }
    let names: Vec<u8> = domains(search)?.iter().flat_map(|name| name.as_octets().to_vec()).collect();
    if !names.is_empty() {
        options.push(NdpOption::DnsSearchList { lifetime, domains: &names });
    }
    let len = options.iter().map(NdpOption::wire_len).sum::<usize>();
    if len > MAX_OPTIONS {
        return Err(refused(&format_args!("a router advertisement with {len} bytes of options is too long")));
    }
    let mut bytes = vec![0; len];
    let mut at = 0;
    for option in options {
        at += option.emit(&mut bytes[at..]);
    }
    Ok(bytes.into())
}
