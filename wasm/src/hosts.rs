//! Hosts: stacks, their interfaces, addresses and routes.

use std::net::IpAddr;

use ethertab::wire::MacAddr;
use ethertab::{BLOCK_SIZE, Config, ConfigError, InterfaceConfig, InterfaceId, Limits, Prefix, Stack};
use serde::Serialize;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::describe::ToJs;
use crate::failure::Failure;
use crate::network::{Network, instant};
use crate::options::Options;

/// `NeighborInfo` of the package, with the interface's number.
#[derive(Debug, Serialize)]
struct NeighborInfo {
    address: String,
    mac: Option<String>,
    state: String,
    interface: u8,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::LimitReached(_) => Failure::new("EMFILE", error),
            _ => Failure::invalid(error),
        }
    }
}

pub(crate) fn parse_address(text: &str) -> Result<IpAddr, Failure> {
    text.parse().map_err(|_| Failure::invalid(format_args!("{text:?} is not an IPv4 or IPv6 address")))
}

pub(crate) fn parse_mac(octets: &[u8]) -> Result<MacAddr, Failure> {
    let octets = octets.try_into().map_err(|_| Failure::invalid("a MAC address has six octets"))?;
    Ok(MacAddr(octets))
}

fn parse_prefix(text: &str) -> Result<Prefix, Failure> {
    text.parse().map_err(|error| Failure::invalid(format_args!("{text:?}: {error}")))
}

/// `StackLimits` of the package.
fn limits_of(options: &Options<'_>) -> Result<Limits, Failure> {
    let mut limits = Limits::default();
    let fields = [
        ("interfaces", &mut limits.interfaces),
        ("addresses", &mut limits.addresses),
        ("routes", &mut limits.routes),
        ("neighbors", &mut limits.neighbors),
        ("connections", &mut limits.connections),
        ("listeners", &mut limits.listeners),
        ("synQueue", &mut limits.syn_queue),
        ("timeWait", &mut limits.time_wait),
        ("udpSockets", &mut limits.udp_sockets),
        ("pings", &mut limits.pings),
    ];
    for (field, limit) in fields {
        *limit = options.integer(field)?.unwrap_or(*limit);
    }
    if let Some(memory) = options.integer::<u32>("memory")? {
        limits.pool_blocks = memory / BLOCK_SIZE as u32;
    }
    Ok(limits)
}

/// `TcpOptions` of the package; spans in microseconds.
fn config_of(seed: [u64; 2], options: &Options<'_>) -> Result<Config, Failure> {
    let mut config = Config::new(seed);
    let tcp = &mut config.tcp;
    tcp.send_buffer = options.integer("sendBuffer")?.unwrap_or(tcp.send_buffer);
    tcp.receive_buffer = options.integer("receiveBuffer")?.unwrap_or(tcp.receive_buffer);
    tcp.nagle = options.flag("nagle")?.unwrap_or(tcp.nagle);
    tcp.delayed_ack = options.micros("delayedAck")?.unwrap_or(tcp.delayed_ack);
    tcp.syn_retries = options.integer("synRetries")?.unwrap_or(tcp.syn_retries);
    tcp.retries = options.integer("retries")?.unwrap_or(tcp.retries);
    tcp.time_wait = options.micros("timeWait")?.unwrap_or(tcp.time_wait);
    Ok(config)
}

#[wasm_bindgen]
impl Network {
    /// Adds a stack with `StackLimits` and `TcpOptions` and returns its number.
    pub fn add_host(
        &mut self,
        name: &str,
        seed_high: u32,
        seed_low: u32,
        limits: &JsValue,
        tcp: &JsValue,
    ) -> Result<u32, Failure> {
        let seed = u64::from(seed_high) << 32 | u64::from(seed_low);
        let config = config_of([seed, !seed], &Options(tcp))?;
        let host = self.inner.add_host(name, Stack::new(config, limits_of(&Options(limits))?));
        Ok(self.hosts.insert(host))
    }

    /// Ends all sockets of a host, forgets their numbers, and sends what that causes.
    pub fn close_host(&mut self, now: f64, host: u32) -> Result<(), Failure> {
        let id = self.hosts.get(host)?;
        let sockets: Vec<u32> =
            self.sockets.iter().filter(|(_, socket)| socket.host() == id).map(|(number, _)| number).collect();
        for number in sockets {
            self.sockets.remove(number);
        }
        let (stack, pool) = self.stack_mut(id)?;
        stack.close_all(pool, instant(now));
        self.inner.advance(instant(now));
        Ok(())
    }

    /// Takes a host off the network. Its stack goes once it holds no pool block any more.
    pub fn remove_host(&mut self, host: u32) -> Result<(), Failure> {
        let id = self.hosts.get(host)?;
        for (_, _, number) in self.interfaces.extract_if(.., |(owner, ..)| *owner == id) {
            if let Some(port) = self.ports.remove(number) {
                self.inner.unplug(port);
            }
        }
        self.hosts.remove(host);
        self.closing.push(id);
        Ok(())
    }

    /// Adds an interface and its port and returns the interface's number within the host.
    pub fn add_interface(&mut self, now: f64, host: u32, name: &str, mac: &[u8], mtu: u16) -> Result<u8, Failure> {
        let host = self.hosts.get(host)?;
        let mac = parse_mac(mac)?;
        let (stack, _) = self.stack_mut(host)?;
        let mut config = InterfaceConfig::ethernet(mac);
        config.mtu = mtu;
        let interface = stack.add_interface(instant(now), config)?;
        let port = self.inner.attach(host, interface)?;
        self.inner.rename_port(port, name);
        let port = self.ports.insert(port);
        self.interfaces.push((host, interface, port));
        Ok(interface.0)
    }

    /// The number of an interface's port.
    pub fn interface_port(&self, host: u32, interface: u8) -> Result<u32, Failure> {
        let host = self.hosts.get(host)?;
        let found = self.interfaces.iter().find(|(owner, id, _)| *owner == host && id.0 == interface);
        found.map(|(_, _, port)| *port).ok_or_else(|| no_interface(interface))
    }

    /// Takes an interface off the network: its cable is pulled, its addresses and routes are removed.
    pub fn remove_interface(&mut self, host: u32, interface: u8) -> Result<(), Failure> {
        let port = self.interface_port(host, interface)?;
        self.unplug(port)?;
        let (stack, _) = self.stack_mut(self.hosts.get(host)?)?;
        let addresses: Vec<IpAddr> = stack
            .addresses()
            .filter(|entry| entry.interface.0 == interface)
            .map(|entry| entry.prefix.address)
            .collect();
        for address in addresses {
            stack.remove_address(InterfaceId(interface), address)?;
        }
        let routes: Vec<_> =
            stack.routes().filter(|route| route.interface.0 == interface).map(|route| route.destination).collect();
        for destination in routes {
            stack.remove_route(destination)?;
        }
        Ok(())
    }

    /// An interface's addresses with their prefix lengths.
    pub fn addresses(&self, host: u32, interface: u8) -> Result<Vec<String>, Failure> {
        let stack = self.stack(self.hosts.get(host)?)?;
        let own = stack.addresses().filter(|entry| entry.interface.0 == interface);
        Ok(own.map(|entry| entry.prefix.to_string()).collect())
    }

    /// Adds an address with its prefix length to an interface.
    pub fn add_address(&mut self, now: f64, host: u32, interface: u8, prefix: &str) -> Result<(), Failure> {
        let (stack, _) = self.stack_mut(self.hosts.get(host)?)?;
        Ok(stack.add_address(instant(now), InterfaceId(interface), parse_prefix(prefix)?)?)
    }

    /// Removes an address, given with or without its prefix length.
    pub fn remove_address(&mut self, host: u32, interface: u8, prefix: &str) -> Result<(), Failure> {
        let address = parse_address(prefix.split('/').next().unwrap_or_default())?;
        let (stack, _) = self.stack_mut(self.hosts.get(host)?)?;
        Ok(stack.remove_address(InterfaceId(interface), address)?)
    }

    /// Adds a route through a gateway.
    pub fn add_route(&mut self, host: u32, destination: &str, gateway: &str) -> Result<(), Failure> {
        let (stack, _) = self.stack_mut(self.hosts.get(host)?)?;
        Ok(stack.add_route(parse_prefix(destination)?, parse_address(gateway)?)?)
    }

    /// Removes a route.
    pub fn remove_route(&mut self, host: u32, destination: &str) -> Result<(), Failure> {
        let (stack, _) = self.stack_mut(self.hosts.get(host)?)?;
        Ok(stack.remove_route(parse_prefix(destination)?)?)
    }

    /// Adds a neighbour that is never asked about.
    pub fn add_neighbor(&mut self, host: u32, interface: u8, address: &str, mac: &[u8]) -> Result<(), Failure> {
        let (stack, pool) = self.stack_mut(self.hosts.get(host)?)?;
        Ok(stack.add_neighbor(pool, InterfaceId(interface), parse_address(address)?, parse_mac(mac)?)?)
    }

    /// The neighbour table.
    pub fn neighbors(&self, host: u32) -> Result<JsValue, Failure> {
        let stack = self.stack(self.hosts.get(host)?)?;
        let found = stack.neighbors().map(|(interface, address, mac, state)| NeighborInfo {
            address: address.to_string(),
            mac: mac.map(|mac| mac.to_string()),
            state: format!("{state:?}").to_ascii_lowercase(),
            interface: interface.0,
        });
        found.collect::<Vec<_>>().to_js()
    }

    /// Everything that a stack has counted: an object of numbers.
    pub fn counters(&self, host: u32) -> Result<JsValue, Failure> {
        let stack = self.stack(self.hosts.get(host)?)?;
        let counters = js_sys::Object::new();
        for (name, value) in stack.counters().iter() {
            // Setting a property of a plain new object cannot fail.
            let _ = js_sys::Reflect::set(&counters, &name.into(), &JsValue::from_f64(value as f64));
        }
        Ok(counters.into())
    }

    /// Pool blocks that a host holds.
    pub fn host_blocks_in_use(&self, host: u32) -> Result<u32, Failure> {
        Ok(self.stack(self.hosts.get(host)?)?.blocks_in_use())
    }
}

fn no_interface(interface: u8) -> Failure {
    Failure::invalid(format_args!("there is no interface {interface}"))
}
