//! Hosts: stacks, their interfaces, addresses and routes.

use ethertab::{
    AddressOptions, AddressOrigin, Autoconfiguration, Config, ConfigError, InterfaceConfig, InterfaceId, Stack,
};
use ethertab_wasm_shared::{instant, mac};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::{attempt, enter, tell};
use crate::failure::Failure;
use crate::numbers::ADDRESS;
use crate::options;
use crate::settings;
use crate::sockets::Socket;

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let code = match error {
            ConfigError::LimitReached(_) => "EMFILE",
            _ => "EINVAL",
        };
        Failure::new(code, error.text())
    }
}

/// Adds a stack and returns its number. It is given its limits, `limits` numbers of which those that are NaN are not given, and `settings` numbers,
/// those [of TCP](settings).
#[wasm_bindgen]
pub fn add_host(name: &str, seed_high: u32, seed_low: u32, limits: u32, settings: u32) -> i32 {
    attempt(|engine, numbers| {
        let seed = u64::from(seed_high) << 32 | u64::from(seed_low);
        let (first, limits) = (limits as usize, options::limits(numbers.given().rest(limits)));
        let mut config = Config::new([seed, !seed]);
        let tcp = settings::changed(&config.tcp, numbers.settings(first, settings));
        config.tcp = tcp.unwrap_or(config.tcp);
        let host = engine.network.add_host(name, Stack::new(config, limits));
        Ok(engine.hosts.insert(host.to_bits()))
    })
}

/// Ends all sockets of a host, forgets their numbers, and sends what that causes. The host goes once it holds no pool
/// block any more.
#[wasm_bindgen]
pub fn close_host(now: f64, host: u32) -> i32 {
    attempt(|engine, _| {
        let host = engine.host(host);
        engine.sockets.remove_host(host);
        let (stack, pool) = engine.stack_mut(host)?;
        stack.close_all(pool, instant(now));
        engine.network.advance(instant(now));
        engine.closing.push(host);
        Ok(0)
    })
}

/// Adds an interface and its port, which configures itself by router advertisements if `slaac`. `medium` is 0 for Ethernet, 1 for IP packets
/// without a header, 2 for the host itself, and for a VLAN its id times 1,024, the parent's number times 4, and 3. Tells `INTERFACE`
/// of the package's names: the interface's number within the host, the port's number, by which number events tell of it, and the MTU that it has.
#[wasm_bindgen]
pub fn add_interface(now: f64, host: u32, name: &str, mac_address: f64, mtu: u16, medium: u32, slaac: bool) -> i32 {
    tell(|engine, told| {
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
        for number in [interface.0.into(), port, events, mtu.into()] {
            told.number(number);
        }
        Ok(())
    })
}

/// Sends what waits, before something of the network goes.
#[wasm_bindgen]
pub fn send_waiting(now: f64) {
    enter(|engine| engine.network.advance(instant(now)));
}

/// Removes an interface with its port, its addresses and its routes; its cable is pulled.
#[wasm_bindgen]
pub fn remove_interface(host: u32, interface: u8) -> i32 {
    attempt(|engine, _| {
        engine.network.remove_interface(engine.host(host), InterfaceId(interface))?;
        Ok(0)
    })
}

/// Tells the `count` addresses that it is given in the order in which they are to be tried (RFC 6724 §6).
#[wasm_bindgen]
pub fn sort_destinations(host: u32, count: u32) -> i32 {
    attempt(|engine, numbers| {
        let mut sorted = numbers.given().addresses(count)?;
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        stack.sort_destinations(&mut sorted);
        numbers.told.0.clear();
        sorted.into_iter().for_each(|address| numbers.told.address(address));
        Ok(numbers.told.0.len() as u32)
    })
}

/// An interface's addresses, `ADDRESSES` of the package's names: with their prefix lengths, in which state they are and where they are from.
#[wasm_bindgen]
pub fn addresses(host: u32, interface: u8) -> i32 {
    tell(|engine, told| {
        for entry in engine.stack(engine.host(host))?.addresses() {
            if entry.interface.0 == interface {
                told.prefix(entry.prefix);
                told.number(entry.state as u8);
                told.number(entry.origin as u8);
            }
        }
        Ok(())
    })
}

/// The DNS servers that routers have advertised on an interface (RFC 8106), and the search domains, `ADVERTISED_NAMES` of the package's names: the
/// other is absent.
#[wasm_bindgen]
pub fn advertised_names(host: u32, interface: u8) -> i32 {
    tell(|engine, told| {
        let stack = engine.stack(engine.host(host))?;
        for server in stack.advertised_dns_servers().filter(|server| server.interface.0 == interface) {
            told.address(server.address.into());
            told.nothing(2);
        }
        for domain in stack.advertised_domains().filter(|domain| domain.interface.0 == interface) {
            told.nothing(ADDRESS);
            told.bytes(domain.name());
        }
        Ok(())
    })
}

/// Adds the address with a prefix length that it is given to an interface; `dhcp` says that a DHCP server has granted it.
#[wasm_bindgen]
pub fn add_address(now: f64, host: u32, interface: u8, dhcp: bool) -> i32 {
    attempt(|engine, numbers| {
        let prefix = numbers.given().prefix()?;
        let mut options = AddressOptions::default();
        if dhcp {
            options.origin = AddressOrigin::Dhcp;
        }
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        stack.add_address_with(instant(now), InterfaceId(interface), prefix, options)?;
        Ok(0)
    })
}

/// Changes when the address that it is given becomes deprecated and when it is removed, in microseconds; infinite for never.
#[wasm_bindgen]
pub fn set_address_lifetimes(now: f64, host: u32, interface: u8, preferred: f64, valid: f64) -> i32 {
    attempt(|engine, numbers| {
        let address = numbers.given().address()?;
        let time = |until: f64| if until.is_finite() { instant(until) } else { ethertab::time::Instant::FAR_FUTURE };
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let interface = InterfaceId(interface);
        stack.set_address_lifetimes(instant(now), interface, address, time(preferred), time(valid))?;
        Ok(0)
    })
}

/// What routers say of DHCPv6 on an interface (RFC 4861 §4.2): 1 for addresses from it (M), 2 for other settings (O), 3 for both.
#[wasm_bindgen]
pub fn advertised_dhcp(host: u32, interface: u8) -> i32 {
    attempt(|engine, _| {
        let link = engine.stack(engine.host(host))?.advertised_link(InterfaceId(interface));
        Ok(link.map_or(0, |link| u32::from(link.managed) | u32::from(link.other_config) << 1))
    })
}

/// Removes the address that it is given.
#[wasm_bindgen]
pub fn remove_address(host: u32, interface: u8) -> i32 {
    attempt(|engine, numbers| {
        let address = numbers.given().address()?;
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        stack.remove_address(InterfaceId(interface), address)?;
        Ok(0)
    })
}

/// Adds a neighbour that is never asked about, with the address that it is given.
#[wasm_bindgen]
pub fn add_neighbor(host: u32, interface: u8, mac_address: f64) -> i32 {
    attempt(|engine, numbers| {
        let address = numbers.given().address()?;
        let (stack, pool) = engine.stack_mut(engine.host(host))?;
        stack.add_neighbor(pool, InterfaceId(interface), address, mac(mac_address))?;
        Ok(0)
    })
}

/// The neighbour table, `NEIGHBORS` of the package's names.
#[wasm_bindgen]
pub fn neighbors(host: u32) -> i32 {
    tell(|engine, told| {
        for (interface, address, mac, state) in engine.stack(engine.host(host))?.neighbors() {
            told.number(interface.0);
            told.address(address);
            told.mac(mac);
            told.number(state as u8);
        }
        Ok(())
    })
}

/// Everything that a stack has counted, in the order of `COUNTERS` of the package's names.
#[wasm_bindgen]
pub fn counters(host: u32) -> i32 {
    tell(|engine, told| {
        engine.stack(engine.host(host))?.counters().values().for_each(|count| told.long(count));
        Ok(())
    })
}

/// Pool blocks that a host holds.
#[wasm_bindgen]
pub fn host_blocks_in_use(host: u32) -> i32 {
    attempt(|engine, _| Ok(engine.stack(engine.host(host))?.blocks_in_use()))
}

#[cfg(test)]
mod tests {
    use crate::names::{fields, word};
    use ethertab::{AddressOrigin, AddressState, Counters, NeighborState};

    #[test]
    fn each_counter_has_its_name() {
        let names: Vec<&str> = Counters::default().iter().map(|(name, _)| name).collect();
        assert_eq!(fields("COUNTERS"), names);
    }

    #[test]
    fn words_stand_at_the_numbers_of_what_they_name() {
        let camel = |name: String| name[..1].to_lowercase() + &name[1..];
        let of = |list: &str, number: usize| word(&format!("={list}"), number).to_owned();
        for state in [
            AddressState::Tentative,
            AddressState::Optimistic,
            AddressState::Preferred,
            AddressState::Deprecated,
            AddressState::Duplicate,
        ] {
            assert_eq!(of("addressStates", state as usize), camel(format!("{state:?}")));
        }
        for origin in [
            AddressOrigin::Static,
            AddressOrigin::LinkLocal,
            AddressOrigin::Advertised,
            AddressOrigin::Temporary,
            AddressOrigin::Dhcp,
        ] {
            assert_eq!(of("addressOrigins", origin as usize), camel(format!("{origin:?}")));
        }
        for state in [
            NeighborState::Incomplete,
            NeighborState::Reachable,
            NeighborState::Stale,
            NeighborState::Delay,
            NeighborState::Probe,
            NeighborState::Unreachable,
            NeighborState::Failed,
            NeighborState::Permanent,
        ] {
            assert_eq!(of("neighborStates", state as usize), camel(format!("{state:?}")));
        }
    }
}
