//! Hosts of a world whose interfaces come and go.

use ethertab::wire::MacAddr;
use ethertab::{Config, InterfaceConfig, InterfaceId, Limits, Prefix, Stack};
use ethertab_sim::{HostId, Impairment, PortId, SwitchId, World};
use std::net::{IpAddr, SocketAddr};

pub(crate) fn nic(number: u8) -> InterfaceId {
    InterfaceId(number)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Adds a host without interfaces.
pub(crate) fn host(world: &mut World, name: &str, seed: u64) -> HostId {
    world.network_mut().add_host(name, Stack::new(Config::new([seed, 1]), Limits::default()))
}

/// Adds an interface with these addresses whose port is plugged into a switch.
pub(crate) fn open(
    world: &mut World,
    host: HostId,
    switch: SwitchId,
    station: u16,
    addresses: &[&str],
    impairment: Impairment,
) -> (InterfaceId, PortId) {
    let now = world.now();
    let [high, low] = station.to_be_bytes();
    let config = InterfaceConfig::ethernet(MacAddr([2, 0, 0, 1, high, low]));
    let (stack, _) = world.stack_mut(host).unwrap();
    let interface = stack.add_interface(now, config).unwrap();
    for address in addresses {
        stack.add_address(now, interface, address.parse::<Prefix>().unwrap()).unwrap();
    }
    let port = world.network_mut().attach(host, interface).unwrap();
    world.cable(port, switch, impairment).unwrap();
    (interface, port)
}

/// Removes an interface at the world's present time.
pub(crate) fn close(world: &mut World, host: HostId, interface: InterfaceId) {
    let now = world.now();
    world.network_mut().advance(now);
    world.network_mut().remove_interface(host, interface).unwrap();
}

/// The pool's blocks are those that the hosts hold.
pub(crate) fn assert_blocks_are_accounted(world: &World, hosts: &[HostId]) {
    let held: u32 = hosts.iter().map(|host| world.stack(*host).unwrap().blocks_in_use()).sum();
    assert_eq!(world.network().pool().blocks_in_use(), held as usize, "{world}");
}

/// Without connections and sockets no host holds a block, once what they still send is sent.
pub(crate) fn assert_all_blocks_come_back(world: &mut World, hosts: &[HostId]) {
    let now = world.now();
    for host in hosts {
        let (stack, pool) = world.stack_mut(*host).unwrap();
        stack.close_all(pool, now);
    }
    world.run_for(ethertab::time::Duration::from_secs(300));
    assert!(!world.is_stuck(), "{world}");
    assert_eq!(world.network().pool().blocks_in_use(), 0, "{world}");
}
