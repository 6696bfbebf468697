//! Hosts: stacks, their interfaces, addresses and routes.

use std::net::IpAddr;
use std::str::FromStr;

use ethertab::{
    AddressOptions, AddressOrigin, AddressState, Autoconfiguration, Config, ConfigError, Counters, InterfaceConfig,
    InterfaceId, NeighborState, Prefix, Stack,
};
use ethertab_wasm_shared::{Rows, instant, mac};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::enter;
use crate::failure::Failure;
use crate::options;
use crate::settings;
use crate::sockets::Socket;

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::LimitReached(_) => Failure::new("EMFILE", &error),
            _ => Failure::invalid(&error),
        }
    }
}

/// An address from its text.
#[inline(never)]
pub(crate) fn parse_address(text: &str) -> Result<IpAddr, Failure> {
    IpAddr::from_str(text).map_err(|_| Failure::invalid(&format_args!("\"{text}\" is not an IPv4 or IPv6 address")))
}

#[inline(never)]
pub(crate) fn parse_prefix(text: &str) -> Result<Prefix, Failure> {
    Prefix::from_str(text).map_err(|error| Failure::invalid(&format_args!("\"{text}\": {error}")))
}

/// Adds a stack and returns its number. [`limit_options`](options::limit_options) names the limits; those that are NaN are not
/// given. So are the [settings](settings) of TCP.
#[wasm_bindgen]
pub fn add_host(name: &str, seed_high: u32, seed_low: u32, limits: &[f64], settings: &[f64]) -> u32 {
    let seed = u64::from(seed_high) << 32 | u64::from(seed_low);
    let limits = options::limits(limits);
    let mut config = Config::new([seed, !seed]);
    config.tcp = settings::changed(&config.tcp, settings).unwrap_or(config.tcp);
    enter(|engine| {
        let host = engine.network.add_host(name, Stack::new(config, limits));
        engine.hosts.insert(host.to_bits())
    })
}

/// Ends all sockets of a host, forgets their numbers, and sends what that causes. The host goes once it holds no pool
/// block any more.
#[wasm_bindgen]
pub fn close_host(now: f64, host: u32) -> Result<(), Failure> {
    enter(|engine| {
        let host = engine.host(host);
        engine.sockets.remove_host(host);
        let (stack, pool) = engine.stack_mut(host)?;
        stack.close_all(pool, instant(now));
        engine.network.advance(instant(now));
        engine.closing.push(host);
        Ok(())
    })
}

/// Adds an interface and its port, which configures itself by router advertisements if `slaac`. `medium` is 0 for Ethernet, 1 for IP packets
/// without a header, 2 for the host itself, and for a VLAN its id times 1,024, the parent's number times 4, and 3. Tells the interface's
/// number within the host, the port's number, by which number events tell of it, and the MTU that it has.
#[wasm_bindgen]
pub fn add_interface(
    now: f64,
    host: u32,
    name: &str,
    mac_address: f64,
    mtu: u16,
    medium: u32,
    slaac: bool,
) -> Result<Rows, Failure> {
    enter(|engine| {
        let host = engine.host(host);
        let (stack, _) = engine.stack_mut(host)?;
        let mut config = match medium & 3 {
            0 => InterfaceConfig::ethernet(mac(mac_address)),
            1 => InterfaceConfig::ip(),
            2 => InterfaceConfig::loopback(),
            _ => InterfaceConfig::vlan(InterfaceId((medium >> 2) as u8), (medium >> 10) as u16),
        };
        config.mtu = mtu;
        config.autoconfiguration = slaac.then(Autoconfiguration::default);
        let interface = stack.add_interface(instant(now), config)?;
        let mtu = stack.interfaces().find(|(found, _)| *found == interface).map_or(mtu, |(_, config)| config.mtu);
        let port = engine.network.attach(host, interface)?;
        engine.network.rename_port(port, name);
        let port = engine.ports.insert(port.to_bits());
        // The next interface at a place has the number of the last: of either is told only that something has changed.
        let about = Socket::interface(host, interface);
        let events = engine.sockets.number(about).unwrap_or_else(|| engine.sockets.insert(about));
        Ok(Rows::of("interface port events mtu").numbers(&[interface.0.into(), port.into(), events.into(), mtu.into()]))
    })
}

/// Sends what waits, before something of the network goes.
#[wasm_bindgen]
pub fn send_waiting(now: f64) {
    enter(|engine| engine.network.advance(instant(now)));
}

/// Removes an interface with its port, its addresses and its routes; its cable is pulled.
#[wasm_bindgen]
pub fn remove_interface(host: u32, interface: u8) -> Result<(), Failure> {
    enter(|engine| Ok(engine.network.remove_interface(engine.host(host), InterfaceId(interface))?))
}

/// Addresses of a host with blanks between, in the order in which they are to be tried (RFC 6724 §6).
#[wasm_bindgen]
pub fn sort_destinations(host: u32, addresses: &str) -> Result<String, Failure> {
    let mut sorted = addresses.split_whitespace().map(parse_address).collect::<Result<Vec<_>, _>>()?;
    enter(|engine| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        stack.sort_destinations(&mut sorted);
        Ok(sorted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    })
}

/// An interface's addresses with their prefix lengths, in which state they are and where they are from.
#[wasm_bindgen]
pub fn addresses(host: u32, interface: u8) -> Result<Rows, Failure> {
    enter(|engine| {
        let rows = Rows::of("prefix state origin");
        for entry in engine.stack(engine.host(host))?.addresses() {
            if entry.interface.0 == interface {
                rows.shown(&entry.prefix);
                rows.text(match entry.state {
                    AddressState::Tentative => "tentative",
                    AddressState::Optimistic => "optimistic",
                    AddressState::Preferred => "preferred",
                    AddressState::Deprecated => "deprecated",
                    AddressState::Duplicate => "duplicate",
                    _ => "unknown",
                });
                rows.text(match entry.origin {
                    AddressOrigin::Static => "static",
                    AddressOrigin::LinkLocal => "linkLocal",
                    AddressOrigin::Advertised => "advertised",
                    AddressOrigin::Temporary => "temporary",
                    AddressOrigin::Dhcp => "dhcp",
                    _ => "unknown",
                });
            }
        }
        Ok(rows)
    })
}

/// The DNS servers that routers have advertised on an interface (RFC 8106), and the search domains: a row for each, with the other empty.
#[wasm_bindgen]
pub fn advertised_names(host: u32, interface: u8) -> Result<Rows, Failure> {
    enter(|engine| {
        let rows = Rows::of("server domain");
        let stack = engine.stack(engine.host(host))?;
        for server in stack.advertised_dns_servers().filter(|server| server.interface.0 == interface) {
            rows.shown(&server.address);
            rows.text("");
        }
        for domain in stack.advertised_domains().filter(|domain| domain.interface.0 == interface) {
            rows.text("");
            rows.text(&name_text(domain.name()));
        }
        Ok(rows)
    })
}

/// A name as people write it; what is not printable is left out.
fn name_text(mut name: &[u8]) -> String {
    let mut text = String::new();
    while let Some((&len, rest)) = name.split_first() {
        let (label, after) = rest.split_at(usize::from(len).min(rest.len()));
        if !text.is_empty() && !label.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)));
        name = after;
    }
    text
}

/// Adds an address with its prefix length to an interface; `dhcp` says that a DHCP server has granted it.
#[wasm_bindgen]
pub fn add_address(now: f64, host: u32, interface: u8, prefix: &str, dhcp: bool) -> Result<(), Failure> {
    let prefix = parse_prefix(prefix)?;
    let mut options = AddressOptions::default();
    if dhcp {
        options.origin = AddressOrigin::Dhcp;
    }
    enter(|engine| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        Ok(stack.add_address_with(instant(now), InterfaceId(interface), prefix, options)?)
    })
}

/// Changes when an address becomes deprecated and when it is removed, in microseconds; infinite for never.
#[wasm_bindgen]
pub fn set_address_lifetimes(
    now: f64,
    host: u32,
    interface: u8,
    address: &str,
    preferred: f64,
    valid: f64,
) -> Result<(), Failure> {
    let address = parse_address(address)?;
    let time = |until: f64| if until.is_finite() { instant(until) } else { ethertab::time::Instant::FAR_FUTURE };
    enter(|engine| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let interface = InterfaceId(interface);
        Ok(stack.set_address_lifetimes(instant(now), interface, address, time(preferred), time(valid))?)
    })
}

/// What routers say of DHCPv6 on an interface (RFC 4861 §4.2): 1 for addresses from it (M), 2 for other settings (O), 3 for both.
#[wasm_bindgen]
pub fn advertised_dhcp(host: u32, interface: u8) -> Result<u32, Failure> {
    enter(|engine| {
        let link = engine.stack(engine.host(host))?.advertised_link(InterfaceId(interface));
        Ok(link.map_or(0, |link| u32::from(link.managed) | u32::from(link.other_config) << 1))
    })
}

/// Removes an address, given without its prefix length.
#[wasm_bindgen]
pub fn remove_address(host: u32, interface: u8, address: &str) -> Result<(), Failure> {
    let address = parse_address(address)?;
    enter(|engine| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        Ok(stack.remove_address(InterfaceId(interface), address)?)
    })
}

/// Adds a neighbour that is never asked about.
#[wasm_bindgen]
pub fn add_neighbor(host: u32, interface: u8, address: &str, mac_address: f64) -> Result<(), Failure> {
    let address = parse_address(address)?;
    enter(|engine| {
        let (stack, pool) = engine.stack_mut(engine.host(host))?;
        Ok(stack.add_neighbor(pool, InterfaceId(interface), address, mac(mac_address))?)
    })
}

/// The neighbour table.
#[wasm_bindgen]
pub fn neighbors(host: u32) -> Result<Rows, Failure> {
    enter(|engine| {
        let rows = Rows::of("interface address mac state");
        for (interface, address, mac, state) in engine.stack(engine.host(host))?.neighbors() {
            rows.number(interface.0);
            rows.shown(&address);
            match mac {
                Some(mac) => rows.shown(&mac),
                None => rows.nothing(),
            }
            rows.text(match state {
                NeighborState::Incomplete => "incomplete",
                NeighborState::Reachable => "reachable",
                NeighborState::Stale => "stale",
                NeighborState::Delay => "delay",
                NeighborState::Probe => "probe",
                NeighborState::Unreachable => "unreachable",
                NeighborState::Failed => "failed",
                NeighborState::Permanent => "permanent",
                _ => "unknown",
            });
        }
        Ok(rows)
    })
}

/// Names of what a stack counts, separated by spaces.
#[wasm_bindgen]
pub fn counter_names() -> String {
    let mut names = String::new();
    for (name, _) in Counters::default().iter() {
        names.push_str(name);
        names.push(' ');
    }
    names.pop();
    names
}

/// Everything that a stack has counted, in the order of [`counter_names`].
#[wasm_bindgen]
pub fn counters(host: u32) -> Result<Vec<f64>, Failure> {
    enter(|engine| {
        let counters = engine.stack(engine.host(host))?.counters();
        Ok(counters.iter().map(|(_, count)| count as f64).collect())
    })
}

/// Pool blocks that a host holds.
#[wasm_bindgen]
pub fn host_blocks_in_use(host: u32) -> Result<u32, Failure> {
    enter(|engine| Ok(engine.stack(engine.host(host))?.blocks_in_use()))
}
