//! What makes a host a router: routes, forwarding, translation, and advertisements.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use ethertab::time::{Duration, Instant};
use ethertab::wire::{NdpOptions, RouterAdvertisement};
use ethertab::{
    AdvertiseError, ConfigError, Forwarding, GroupError, InterfaceId, NatConfig, NatFiltering, NatProtocol,
    PortForward, PortForwardError, ReversePath, Route, RouteOrigin, RouterPreference,
};
use ethertab_wasm_shared::{Rows, instant};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::enter;
use crate::failure::Failure;
use crate::hosts::{parse_address, parse_prefix};
use crate::settings::{Slot, choose, exchange_all, place};
use crate::tcp::optional;

impl From<AdvertiseError> for Failure {
    fn from(error: AdvertiseError) -> Self {
        Failure::invalid(&error)
    }
}

impl From<GroupError> for Failure {
    fn from(error: GroupError) -> Self {
        Failure::invalid(&error)
    }
}

impl From<PortForwardError> for Failure {
    fn from(error: PortForwardError) -> Self {
        let code = match error {
            PortForwardError::PortInUse(_) => "EADDRINUSE",
            PortForwardError::LimitReached => "EMFILE",
            _ => "EINVAL",
        };
        Failure::new(code, &error)
    }
}

/// The interface with this number; -1 is none.
fn optional_interface(number: i32) -> Option<InterfaceId> {
    u8::try_from(number).ok().map(InterfaceId)
}

/// Routes: those that were added, and the networks of the addresses. The end is in microseconds.
#[wasm_bindgen]
pub fn routes(host: u32) -> Result<Rows, Failure> {
    enter(|engine| {
        let rows = Rows::of("to via interface metric preference origin expires");
        for route in engine.stack(engine.host(host))?.routes() {
            rows.shown(&route.destination);
            match route.gateway {
                Some(gateway) => rows.shown(&gateway),
                None => rows.nothing(),
            }
            rows.number(route.interface.0);
            rows.number(route.metric);
            rows.text(match route.preference {
                RouterPreference::Low => "low",
                RouterPreference::Medium => "medium",
                RouterPreference::High => "high",
            });
            rows.text(match route.origin {
                RouteOrigin::Connected => "connected",
                RouteOrigin::Static => "static",
                RouteOrigin::Advertised => "advertised",
                RouteOrigin::Redirected => "redirected",
                RouteOrigin::Dhcp => "dhcp",
                _ => "unknown",
            });
            match route.expires {
                Instant::FAR_FUTURE => rows.nothing(),
                expires => rows.number(expires.as_micros() as f64),
            }
        }
        Ok(rows)
    })
}

/// Adds a route through a gateway, or without one to hosts that are neighbours on the interface. `interface` -1 is the one that the gateway is a
/// neighbour on.
#[wasm_bindgen]
pub fn add_route(host: u32, destination: &str, gateway: &str, interface: i32, metric: u32) -> Result<(), Failure> {
    let (destination, gateway) = (parse_prefix(destination)?, optional(gateway)?);
    enter(|engine| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let found = match (optional_interface(interface), gateway) {
            (Some(interface), _) => interface,
            (None, Some(gateway)) => stack.interface_of_gateway(gateway)?,
            (None, None) => return Err(Failure::missing()),
        };
        let mut route = Route::on_link(found, destination.network());
        (route.gateway, route.metric) = (gateway, metric);
        let is_known = |known: &Route| {
            (known.destination, known.gateway, known.interface) == (route.destination, route.gateway, route.interface)
        };
        if stack.routes().any(is_known) {
            return Err(ConfigError::Exists(route.destination).into());
        }
        Ok(stack.set_route(route)?)
    })
}

/// Removes the routes to a destination; if a gateway or an interface is given, only those that lead that way.
#[wasm_bindgen]
pub fn remove_route(host: u32, destination: &str, gateway: &str, interface: i32) -> Result<(), Failure> {
    let (destination, gateway) = (parse_prefix(destination)?.network(), optional(gateway)?);
    let interface = optional_interface(interface);
    enter(|engine| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let goes = |route: &&Route| {
            route.destination == destination
                && route.origin != RouteOrigin::Connected
                && gateway.is_none_or(|gateway| route.gateway == Some(gateway))
                && interface.is_none_or(|interface| route.interface == interface)
        };
        let mut result = Err(ConfigError::NotFound(destination));
        loop {
            let found = stack.routes().find(goes).copied();
            let Some(route) = found else { break };
            result = stack.unset_route(&route);
        }
        Ok(result?)
    })
}

const CHECKS: [ReversePath; 3] = [ReversePath::Off, ReversePath::Loose, ReversePath::Strict];

fn exchange_forwarding(forwarding: &mut Forwarding, values: &mut [f64]) {
    let mut check = place(&CHECKS, &forwarding.reverse_path);
    exchange_all(
        [
            Slot::Flag(&mut forwarding.ipv4),
            Slot::Flag(&mut forwarding.ipv6),
            Slot::Byte(&mut check),
            Slot::Flag(&mut forwarding.redirects),
        ],
        values,
    );
    choose(&mut forwarding.reverse_path, &CHECKS, check);
}

/// Changes what an interface does with packets for others, as far as it is given, and tells all of it as it is then.
#[wasm_bindgen]
pub fn forwarding_settings(host: u32, interface: u8, mut values: Vec<f64>) -> Result<Vec<f64>, Failure> {
    enter(|engine| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let mut forwarding = stack.forwarding(InterfaceId(interface)).ok_or_else(Failure::missing)?;
        let is_told = values.iter().all(|value| value.is_nan());
        exchange_forwarding(&mut forwarding, &mut values);
        if !is_told {
            stack.set_forwarding(InterfaceId(interface), forwarding)?;
        }
        Ok(values)
    })
}

const FILTERS: [NatFiltering; 2] = [NatFiltering::AddressAndPortDependent, NatFiltering::EndpointIndependent];

fn exchange_nat(nat: &mut NatConfig, values: &mut [f64]) {
    let mut filtering = place(&FILTERS, &nat.filtering);
    let mut flows = nat.flows_per_host.unwrap_or(0);
    exchange_all(
        [
            Slot::Byte(&mut filtering),
            Slot::Word(&mut flows),
            Slot::Span(&mut nat.udp_timeout),
            Slot::Span(&mut nat.icmp_timeout),
            Slot::Span(&mut nat.tcp_timeout),
            Slot::Span(&mut nat.tcp_transitory_timeout),
        ],
        values,
    );
    choose(&mut nat.filtering, &FILTERS, filtering);
    nat.flows_per_host = (flows != 0).then_some(flows);
}

/// Translates addresses to the one of an interface, -1 for not at all, with those settings that are given.
#[wasm_bindgen]
pub fn set_nat(host: u32, outside: i32, mut values: Vec<f64>) -> Result<(), Failure> {
    enter(|engine| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let config = optional_interface(outside).map(|outside| {
            let mut config = NatConfig::outside(outside);
            exchange_nat(&mut config, &mut values);
            config
        });
        Ok(stack.set_nat(config)?)
    })
}

fn protocol_name(protocol: NatProtocol) -> &'static str {
    match protocol {
        NatProtocol::Icmp => "icmp",
        NatProtocol::Tcp => "tcp",
        NatProtocol::Udp => "udp",
    }
}

/// The flows that are translated. How long they were idle is in milliseconds.
#[wasm_bindgen]
pub fn nat_flows(host: u32) -> Result<Rows, Failure> {
    enter(|engine| {
        let names = "protocol insideAddress insidePort outsideAddress outsidePort remoteAddress remotePort \
                     established idle";
        let rows = Rows::of(names);
        for flow in engine.stack(engine.host(host))?.nat_flows() {
            rows.text(protocol_name(flow.protocol));
            for end in [flow.inside, flow.outside, flow.remote] {
                rows.socket_address(end.into());
            }
            rows.number(u8::from(flow.is_established));
            rows.millis(flow.idle);
        }
        Ok(rows)
    })
}

/// Lets a port outside, of UDP or else of TCP, lead to an address and port inside; with port 0, no more.
#[wasm_bindgen]
pub fn forward_port(host: u32, udp: bool, outside_port: u16, address: &str, port: u16) -> Result<(), Failure> {
    let protocol = if udp { NatProtocol::Udp } else { NatProtocol::Tcp };
    let inside = match optional(address)? {
        Some(IpAddr::V4(inside)) => inside,
        None => Ipv4Addr::UNSPECIFIED,
        Some(IpAddr::V6(_)) => return Err(Failure::invalid(&"only IPv4 addresses are translated")),
    };
    enter(|engine| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        if port == 0 {
            return Ok(stack.unforward_port(protocol, outside_port)?);
        }
        Ok(stack.forward_port(PortForward { protocol, outside_port, inside: SocketAddrV4::new(inside, port) })?)
    })
}

/// The ports that are forwarded.
#[wasm_bindgen]
pub fn port_forwards(host: u32) -> Result<Rows, Failure> {
    enter(|engine| {
        let rows = Rows::of("protocol port address insidePort");
        for forward in engine.stack(engine.host(host))?.port_forwards() {
            rows.text(protocol_name(forward.protocol));
            rows.number(forward.outside_port);
            rows.socket_address(forward.inside.into());
        }
        Ok(rows)
    })
}

const PREFERENCES: [RouterPreference; 3] = [RouterPreference::Low, RouterPreference::Medium, RouterPreference::High];

fn exchange_advertisement(values: &mut [f64]) -> (RouterAdvertisement, Duration) {
    let mut advertisement = RouterAdvertisement::default();
    let mut preference = place(&PREFERENCES, &advertisement.preference);
    let mut interval = Duration::ZERO;
    exchange_all(
        [
            Slot::Byte(&mut advertisement.current_hop_limit),
            Slot::Flag(&mut advertisement.managed),
            Slot::Flag(&mut advertisement.other_config),
            Slot::Byte(&mut preference),
            Slot::Short(&mut advertisement.router_lifetime),
            Slot::Word(&mut advertisement.reachable_time),
            Slot::Word(&mut advertisement.retransmit_timer),
            Slot::Span(&mut interval),
        ],
        values,
    );
    choose(&mut advertisement.preference, &PREFERENCES, preference);
    (advertisement, interval)
}

/// Advertises the host as a router on an interface, with options as the services' module makes them; without any number, no more. Lifetime in
/// seconds, the two times of neighbours in milliseconds, the longest interval in microseconds.
#[wasm_bindgen]
pub fn advertise(now: f64, host: u32, interface: u8, mut values: Vec<f64>, options: &[u8]) -> Result<(), Failure> {
    enter(|engine| {
        let (stack, pool) = engine.stack_mut(engine.host(host))?;
        let interface = InterfaceId(interface);
        if values.is_empty() {
            stack.stop_advertising(pool, instant(now), interface);
            return Ok(());
        }
        let (advertisement, interval) = exchange_advertisement(&mut values);
        let options: Vec<_> = NdpOptions::new(options).collect();
        Ok(stack.advertise_router(pool, instant(now), interface, &advertisement, &options, interval)?)
    })
}

/// Lets an interface listen to a group, or no more.
#[wasm_bindgen]
pub fn set_membership(now: f64, host: u32, interface: u8, group: &str, joins: bool) -> Result<(), Failure> {
    let group = parse_address(group)?;
    enter(|engine| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let (now, interface) = (instant(now), InterfaceId(interface));
        let result = match joins {
            true => stack.join_group(now, interface, group),
            false => stack.leave_group(now, interface, group),
        };
        Ok(result?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{fields, word};

    /// Numbers in the order of a list: that of one field, none of the others.
    fn only(list: &str, name: &str, value: f64) -> Vec<f64> {
        let is_it = |field: &str| field.split(['?', '=']).next() == Some(name);
        assert!(fields(list).into_iter().any(is_it), "{name} is in {list}");
        fields(list).into_iter().map(|field| if is_it(field) { value } else { f64::NAN }).collect()
    }

    #[test]
    fn forwarding_is_as_its_names_say() {
        let with = |name: &str, value: f64| {
            let mut forwarding = Forwarding::default();
            exchange_forwarding(&mut forwarding, &mut only("FORWARDING", name, value));
            forwarding
        };
        assert!(with("ipv4", 1.0).ipv4);
        assert!(with("ipv6", 1.0).ipv6);
        assert!(with("redirects", 1.0).redirects);
        assert_eq!(with("reversePath", 0.0).reverse_path, ReversePath::Off);
        assert_eq!([0, 1, 2].map(|at| word("=reversePaths", at)), ["off", "loose", "strict"]);
    }

    #[test]
    fn translation_is_as_its_names_say() {
        let with = |name: &str, value: f64| {
            let mut config = NatConfig::outside(InterfaceId(0));
            exchange_nat(&mut config, &mut only("NAT", name, value));
            config
        };
        let span = Duration::from_micros(7);
        assert_eq!(with("filtering", 1.0).filtering, NatFiltering::EndpointIndependent);
        assert_eq!([0, 1].map(|at| word("=natFilters", at)), ["addressAndPort", "none"]);
        assert_eq!(with("flowsPerHost", 9.0).flows_per_host, Some(9));
        assert_eq!(with("udpTimeout", 7.0).udp_timeout, span);
        assert_eq!(with("icmpTimeout", 7.0).icmp_timeout, span);
        assert_eq!(with("tcpTimeout", 7.0).tcp_timeout, span);
        assert_eq!(with("tcpTransitoryTimeout", 7.0).tcp_transitory_timeout, span);
        assert_eq!(with("udpTimeout", 7.0).flows_per_host, None);
    }

    #[test]
    fn advertisements_are_as_their_names_say() {
        let with = |name: &str, value: f64| exchange_advertisement(&mut only("ADVERTISEMENT", name, value));
        assert_eq!(with("hopLimit", 64.0).0.current_hop_limit, 64);
        assert!(with("managed", 1.0).0.managed);
        assert!(with("otherConfig", 1.0).0.other_config);
        assert_eq!(with("preference", 2.0).0.preference, RouterPreference::High);
        assert_eq!([0, 1, 2].map(|at| word("=preferences", at)), ["low", "medium", "high"]);
        assert_eq!(with("routerLifetime", 1800.0).0.router_lifetime, 1800);
        assert_eq!(with("reachableTime", 30_000.0).0.reachable_time, 30_000);
        assert_eq!(with("retransmitTimer", 1_000.0).0.retransmit_timer, 1_000);
        assert_eq!(with("interval", 7.0).1, Duration::from_micros(7));
    }
}
