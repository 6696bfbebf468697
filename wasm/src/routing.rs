//! What makes a host a router: routes, forwarding, translation, and advertisements.

use std::net::{IpAddr, SocketAddrV4};

use ethertab::time::{Duration, Instant};
use ethertab::wire::{NdpOptions, RouterAdvertisement};
use ethertab::{
    AdvertiseError, ConfigError, Forwarding, GroupError, InterfaceId, NatConfig, NatFiltering, NatProtocol,
    PortForward, PortForwardError, ReversePath, Route, RouteOrigin, RouterPreference, Stack,
};
use ethertab_wasm_shared::instant;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::{attempt, tell};
use crate::failure::Failure;
use crate::settings::{Slot, choose, exchange_all, place};

impl From<AdvertiseError> for Failure {
    fn from(error: AdvertiseError) -> Self {
        Failure::new("EINVAL", error.text())
    }
}

impl From<GroupError> for Failure {
    fn from(error: GroupError) -> Self {
        Failure::new("EINVAL", error.text())
    }
}

impl From<PortForwardError> for Failure {
    fn from(error: PortForwardError) -> Self {
        let code = match error {
            PortForwardError::PortInUse(_) => "EADDRINUSE",
            PortForwardError::LimitReached => "EMFILE",
            _ => "EINVAL",
        };
        Failure::new(code, error.text())
    }
}

/// The interface with this number; -1 is none.
fn optional_interface(number: i32) -> Option<InterfaceId> {
    u8::try_from(number).ok().map(InterfaceId)
}

/// Routes, `ROUTES` of the package's names: those that were added, and the networks of the addresses. The end is in microseconds.
#[wasm_bindgen]
pub fn routes(host: u32) -> i32 {
    tell(|engine, told| {
        for route in engine.stack(engine.host(host))?.routes() {
            told.prefix(route.destination);
            told.optional(route.gateway);
            told.number(route.interface.0);
            told.number(route.metric);
            told.number(place(&PREFERENCES, &route.preference));
            told.number(route.origin as u8);
            match route.expires {
                Instant::FAR_FUTURE => told.nothing(1),
                expires => told.long(expires.as_micros()),
            }
        }
        Ok(())
    })
}

/// Adds a route to the prefix that it is given, through a gateway if one is given, or else to hosts that are neighbours on the interface.
/// `interface` -1 is the one that the gateway is a neighbour on.
#[wasm_bindgen]
pub fn add_route(host: u32, interface: i32, metric: u32) -> i32 {
    attempt(|engine, numbers| {
        let mut given = numbers.given();
        let (destination, gateway) = (given.prefix()?, given.optional());
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
        if find_route(stack, &is_known).is_some() {
            return Err(ConfigError::Exists(route.destination).into());
        }
        stack.set_route(route)?;
        Ok(0)
    })
}

/// The first route that is the one.
#[inline(never)] // One copy of the walk.
fn find_route(stack: &Stack<'_>, is_it: &dyn Fn(&Route) -> bool) -> Option<Route> {
    stack.routes().find(|route| is_it(route)).copied()
}

/// Removes the routes to the prefix that it is given; if a gateway is given too, or an interface, only those that lead that way.
#[wasm_bindgen]
pub fn remove_route(host: u32, interface: i32) -> i32 {
    attempt(|engine, numbers| {
        let mut given = numbers.given();
        let (destination, gateway) = (given.prefix()?.network(), given.optional());
        let interface = optional_interface(interface);
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let goes = |route: &Route| {
            route.destination == destination
                && route.origin != RouteOrigin::Connected
                && gateway.is_none_or(|gateway| route.gateway == Some(gateway))
                && interface.is_none_or(|interface| route.interface == interface)
        };
        let mut result = Err(ConfigError::NotFound(destination));
        while let Some(route) = find_route(stack, &goes) {
            result = stack.unset_route(&route);
        }
        result?;
        Ok(0)
    })
}

const CHECKS: [ReversePath; 3] = [ReversePath::Off, ReversePath::Loose, ReversePath::Strict];

fn exchange_forwarding(forwarding: &mut Forwarding, values: &mut [f64]) {
    let mut check = place(&CHECKS, &forwarding.reverse_path);
    exchange_all(
        &mut [
            Slot::Flag(&mut forwarding.ipv4),
            Slot::Flag(&mut forwarding.ipv6),
            Slot::Byte(&mut check),
            Slot::Flag(&mut forwarding.redirects),
        ],
        values,
    );
    choose(&mut forwarding.reverse_path, &CHECKS, check);
}

/// Changes what an interface does with packets for others, as far as it is given, `count` numbers, and puts all of it there as it is then.
#[wasm_bindgen]
pub fn forwarding_settings(host: u32, interface: u8, count: u32) -> i32 {
    attempt(|engine, numbers| {
        let values = numbers.settings(0, count);
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let mut forwarding = stack.forwarding(InterfaceId(interface)).ok_or_else(Failure::missing)?;
        let is_told = values.iter().all(|value| value.is_nan());
        exchange_forwarding(&mut forwarding, values);
        if !is_told {
            stack.set_forwarding(InterfaceId(interface), forwarding)?;
        }
        Ok(count)
    })
}

const PROTOCOLS: [NatProtocol; 3] = [NatProtocol::Icmp, NatProtocol::Tcp, NatProtocol::Udp];
const FILTERS: [NatFiltering; 2] = [NatFiltering::AddressAndPortDependent, NatFiltering::EndpointIndependent];

fn exchange_nat(nat: &mut NatConfig, values: &mut [f64]) {
    let mut filtering = place(&FILTERS, &nat.filtering);
    let mut flows = nat.flows_per_host.unwrap_or(0);
    exchange_all(
        &mut [
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

/// Translates addresses to the one of an interface, -1 for not at all, with those of the `count` settings that are given.
#[wasm_bindgen]
pub fn set_nat(host: u32, outside: i32, count: u32) -> i32 {
    attempt(|engine, numbers| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let config = optional_interface(outside).map(|outside| {
            let mut config = NatConfig::outside(outside);
            exchange_nat(&mut config, numbers.settings(0, count));
            config
        });
        stack.set_nat(config)?;
        Ok(0)
    })
}

/// The flows that are translated, `NAT_FLOWS` of the package's names. How long they were idle is in milliseconds.
#[wasm_bindgen]
pub fn nat_flows(host: u32) -> i32 {
    tell(|engine, told| {
        for flow in engine.stack(engine.host(host))?.nat_flows() {
            told.number(place(&PROTOCOLS, &flow.protocol));
            for end in [flow.inside, flow.outside, flow.remote] {
                told.endpoint(end.into());
            }
            told.number(flow.is_established);
            told.millis(flow.idle);
        }
        Ok(())
    })
}

/// Lets a port outside, of UDP or else of TCP, lead to the address that it is given and a port inside; with port 0, no more.
#[wasm_bindgen]
pub fn forward_port(host: u32, udp: bool, outside_port: u16, port: u16) -> i32 {
    attempt(|engine, numbers| {
        let protocol = if udp { NatProtocol::Udp } else { NatProtocol::Tcp };
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        if port == 0 {
            stack.unforward_port(protocol, outside_port)?;
            return Ok(0);
        }
        let IpAddr::V4(inside) = numbers.given().address()? else {
            return Err(Failure::invalid("only IPv4 addresses are translated"));
        };
        stack.forward_port(PortForward { protocol, outside_port, inside: SocketAddrV4::new(inside, port) })?;
        Ok(0)
    })
}

/// The ports that are forwarded, `PORT_FORWARDS` of the package's names.
#[wasm_bindgen]
pub fn port_forwards(host: u32) -> i32 {
    tell(|engine, told| {
        for forward in engine.stack(engine.host(host))?.port_forwards() {
            told.number(place(&PROTOCOLS, &forward.protocol));
            told.number(forward.outside_port);
            told.endpoint(forward.inside.into());
        }
        Ok(())
    })
}

const PREFERENCES: [RouterPreference; 3] = [RouterPreference::Low, RouterPreference::Medium, RouterPreference::High];

fn exchange_advertisement(values: &mut [f64]) -> (RouterAdvertisement, Duration) {
    let mut advertisement = RouterAdvertisement::default();
    let mut preference = place(&PREFERENCES, &advertisement.preference);
    let mut interval = Duration::ZERO;
    exchange_all(
        &mut [
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

/// Advertises the host as a router on an interface as `count` numbers say, with options as the services' module makes them, the first
/// `options` bytes of the scratch buffer; without any number, no more. Lifetime in seconds, the two times of neighbours in
/// milliseconds, the longest interval in microseconds.
#[wasm_bindgen]
pub fn advertise(now: f64, host: u32, interface: u8, count: u32, options: u32) -> i32 {
    attempt(|engine, numbers| {
        let (stack, pool) = engine.network.host_mut(engine.host(host)).ok_or_else(Failure::missing)?;
        let interface = InterfaceId(interface);
        if count == 0 {
            stack.stop_advertising(pool, instant(now), interface);
            return Ok(0);
        }
        let (advertisement, interval) = exchange_advertisement(numbers.settings(0, count));
        let options = &engine.scratch[..(options as usize).min(engine.scratch.len())];
        let options: Vec<_> = NdpOptions::new(options).collect();
        stack.advertise_router(pool, instant(now), interface, &advertisement, &options, interval)?;
        Ok(0)
    })
}

/// Lets an interface listen to the group that it is given, or no more.
#[wasm_bindgen]
pub fn set_membership(now: f64, host: u32, interface: u8, joins: bool) -> i32 {
    attempt(|engine, numbers| {
        let group = numbers.given().address()?;
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let (now, interface) = (instant(now), InterfaceId(interface));
        match joins {
            true => stack.join_group(now, interface, group)?,
            false => stack.leave_group(now, interface, group)?,
        }
        Ok(0)
    })
}

/// Lets an interface ask its network which groups are listened to, or no more.
#[wasm_bindgen]
pub fn set_group_querier(now: f64, host: u32, interface: u8, is_on: bool) -> i32 {
    attempt(|engine, _| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        stack.set_group_querier(instant(now), InterfaceId(interface), is_on)?;
        Ok(0)
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
    fn words_stand_at_the_numbers_of_what_they_name() {
        let origins = [
            RouteOrigin::Connected,
            RouteOrigin::Static,
            RouteOrigin::Advertised,
            RouteOrigin::Redirected,
            RouteOrigin::Dhcp,
        ];
        for origin in origins {
            assert_eq!(word("=routeOrigins", origin as usize), format!("{origin:?}").to_lowercase());
        }
        for (number, protocol) in PROTOCOLS.iter().enumerate() {
            assert_eq!(word("=natProtocols", number), format!("{protocol:?}").to_lowercase());
        }
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
