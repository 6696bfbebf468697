//! Interfaces, addresses and routes that change all the time under live traffic.

use crate::lab::{assert_all_blocks_come_back, assert_blocks_are_accounted, at, close, host, ip, nic, open};
use ethertab::time::Duration;
use ethertab::{ConnectOptions, Endpoint, InterfaceId, Limits, ListenOptions, Prefix, UdpMeta};
use ethertab_sim::apps::{ConversationId, Plan, ServerId};
use ethertab_sim::{HostId, Impairment, SwitchId, World};
use rand_core::Rng;
use rand_pcg::Pcg32;
use std::net::IpAddr;

fn lan() -> Impairment {
    Impairment::latency(Duration::from_micros(100))
}

fn below(random: &mut Pcg32, bound: usize) -> usize {
    random.next_u32() as usize % bound
}

/// Two conversations, one in each family, between interfaces that stay.
struct Bystanders {
    server: ServerId,
    clients: [ConversationId; 2],
    bytes: u64,
}

impl Bystanders {
    fn new(world: &mut World, from: HostId, to: HostId, remotes: [&str; 2], bytes: u64) -> Bystanders {
        let server = world.serve(to, 9, Plan { send: bytes, pattern: 2, ..Plan::receive() }).unwrap();
        let plan = Plan { expect: Some(2), ..Plan::send(bytes) };
        let clients = remotes.map(|remote| world.connect(from, remote, plan).unwrap());
        Bystanders { server, clients, bytes }
    }

    fn progress(&self, world: &World) -> u64 {
        self.clients.iter().map(|client| world.conversation(*client).received).sum()
    }

    fn check(&self, world: &mut World) {
        world.run_for(Duration::from_secs(600));
        let ends = self.clients.iter().chain(world.accepted(self.server));
        for end in ends {
            let end = world.conversation(*end);
            assert!(end.went_well() && end.received == self.bytes, "{world}");
        }
        assert_eq!(world.accepted(self.server).len(), 2);
    }
}

/// A host opens and closes its second interface 10,000 times, each time with connections, datagrams and echo requests in
/// both families somewhere between the first request for a neighbour and the last acknowledgment.
#[test]
fn an_interface_is_opened_and_closed_ten_thousand_times() {
    let mut world = World::new(1);
    let mut random = Pcg32::new(1, 1);
    let [home, away] = [world.switch("home"), world.switch("away")];
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 3)].map(|(name, seed)| host(&mut world, name, seed));
    open(&mut world, a, home, 1, &["10.0.0.1/24", "fd00::1/64"], lan());
    open(&mut world, b, home, 2, &["10.0.0.2/24", "fd00::2/64"], lan());
    open(&mut world, c, away, 3, &["10.1.0.3/24", "fd01::3/64"], lan());
    // Slow enough to go on all the while.
    let slow = Impairment { rate: Some(2_000_000), ..lan() };
    let b_port = world.network().host_ports(b).next().unwrap();
    let (b_cable, _) = world.network().cable_at(b_port).unwrap();
    world.network_mut().impair(b_cable, slow).unwrap();
    let bystanders = Bystanders::new(&mut world, a, b, ["10.0.0.2:9", "[fd00::2]:9"], 2_000_000);
    let (mut established, mut progress) = (0, 0);
    for round in 0..10_000u32 {
        let now = world.now();
        let (stack, _) = world.stack_mut(c).unwrap();
        stack.listen(Endpoint::any(80), ListenOptions::default()).unwrap();
        stack.bind_udp(Endpoint::any(7)).unwrap();
        let (interface, _) = open(&mut world, a, away, 4, &["10.1.0.1/24", "fd01::1/64"], lan());
        assert_eq!(interface, nic(1), "round {round}");
        let (stack, pool) = world.stack_mut(a).unwrap();
        stack.add_route("192.0.2.0/24".parse().unwrap(), ip("10.1.0.3")).unwrap();
        let socket = stack.bind_udp(Endpoint::any(0)).unwrap();
        let (mut connections, mut pings) = (Vec::new(), Vec::new());
        for (remote, address) in [("10.1.0.3:80", "10.1.0.3"), ("[fd01::3]:80", "fd01::3")] {
            let connection = stack.connect(now, at(remote), ConnectOptions::default()).unwrap();
            stack.send(pool, now, connection, &[7; 4_000]).unwrap();
            stack.udp_send(pool, now, socket, &UdpMeta::to((ip(address), 7).into()), &[8; 500]).unwrap();
            pings.push(stack.ping(pool, now, ip(address), 100, Duration::from_secs(1)).unwrap());
            connections.push(connection);
        }
        for _ in 0..below(&mut random, 24) {
            world.step();
        }
        let stack = world.stack(a).unwrap();
        established += connections.iter().filter(|handle| stack.unacknowledged_bytes(**handle) < 4_000).count();
        close(&mut world, a, interface);
        assert_blocks_are_accounted(&world, &[a, b, c]);
        progress = progress.max(bystanders.progress(&world));
        let now = world.now();
        let (stack, pool) = world.stack_mut(a).unwrap();
        connections.into_iter().for_each(|connection| stack.abort(pool, now, connection));
        pings.into_iter().for_each(|ping| stack.cancel_ping(ping));
        stack.udp_close(pool, socket);
        let (stack, pool) = world.stack_mut(c).unwrap();
        stack.close_all(pool, now);
    }
    assert!(established > 2_000, "{established} connections came to exchange data");
    assert!(progress > 0 && !world.is_stuck(), "{world}");
    bystanders.check(&mut world);
    assert_eq!(world.network().host_ports(a).count(), 1);
    assert_all_blocks_come_back(&mut world, &[a, b, c]);
}

/// Hosts whose interfaces, addresses and routes change at random.
struct Churn {
    world: World,
    random: Pcg32,
    switches: [SwitchId; 2],
    hosts: Vec<HostId>,
    stations: u16,
    conversations: Vec<ConversationId>,
}

impl Churn {
    /// Four hosts that serve; the first two also have an interface that stays.
    fn new(seed: u64) -> Churn {
        let mut world = World::new(seed);
        let backbone = world.switch("backbone");
        let switches = ["one", "two"].map(|name| world.switch(name));
        let hosts: Vec<_> = (0..4).map(|number| host(&mut world, &format!("host {number}"), number)).collect();
        open(&mut world, hosts[0], backbone, 1, &["10.0.0.1/24", "fd00::1/64"], lan());
        open(&mut world, hosts[1], backbone, 2, &["10.0.0.2/24", "fd00::2/64"], lan());
        for host in &hosts {
            world.serve(*host, 80, Plan::echo()).unwrap();
            world.stack_mut(*host).unwrap().0.bind_udp(Endpoint::any(7)).unwrap();
        }
        Churn { world, random: Pcg32::new(seed, 2), switches, hosts, stations: 10, conversations: Vec::new() }
    }

    fn below(&mut self, bound: usize) -> usize {
        below(&mut self.random, bound)
    }

    fn any<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let index = self.below(of.len().max(1));
        of.get(index).cloned()
    }

    /// An address with its prefix, in a network that is on a link of one of the switches.
    fn address(&mut self) -> String {
        let (network, station) = (self.below(3) + 1, self.below(12) + 1);
        if self.below(2) == 0 { format!("10.{network}.0.{station}/24") } else { format!("fd0{network}::{station}/64") }
    }

    /// An address that some host has just now, mostly; else one that perhaps nobody has.
    fn remote(&mut self) -> IpAddr {
        let number = self.below(self.hosts.len());
        let stack = self.world.stack(self.hosts[number]).unwrap();
        let addresses: Vec<_> = stack.addresses().map(|entry| entry.prefix.address).collect();
        match self.any(&addresses) {
            Some(address) if self.below(8) > 0 => address,
            _ => self.address().parse::<Prefix>().unwrap().address,
        }
    }

    /// The interfaces of a host that may go.
    fn passing(&self, number: usize) -> Vec<InterfaceId> {
        let interfaces = self.world.stack(self.hosts[number]).unwrap().interfaces().map(|(interface, _)| interface);
        interfaces.filter(|interface| number > 1 || *interface != nic(0)).collect()
    }

    /// Whether the host can have another interface, which brings an address along.
    fn has_room(&self, host: HostId) -> bool {
        let (stack, limits) = (self.world.stack(host).unwrap(), Limits::default());
        stack.interfaces().count() < limits.interfaces && stack.addresses().count() < limits.addresses
    }

    /// One change or one more thing under way; what the stack refuses is as good.
    fn act(&mut self) {
        let number = self.below(self.hosts.len());
        let (host, now) = (self.hosts[number], self.world.now());
        let passing = self.passing(number);
        let interface = self.any(&passing);
        let prefix: Prefix = self.address().parse().unwrap();
        let remote = self.remote();
        match self.below(10) {
            0 | 1 if self.has_room(host) => {
                self.stations += 1;
                let (switch, station) = (self.switches[self.below(2)], self.stations);
                let (interface, _) = open(&mut self.world, host, switch, station, &[], lan());
                let (stack, _) = self.world.stack_mut(host).unwrap();
                let _ = stack.add_address(now, interface, prefix);
            }
            2 => {
                if let Some(interface) = interface {
                    close(&mut self.world, host, interface);
                }
            }
            3 | 4 => {
                if let Some(interface) = interface {
                    let _ = self.world.stack_mut(host).unwrap().0.add_address(now, interface, prefix);
                }
            }
            5 => {
                let (stack, _) = self.world.stack_mut(host).unwrap();
                let own = stack.addresses().find(|entry| Some(entry.interface) == interface).copied();
                if let Some(own) = own {
                    stack.remove_address(own.interface, own.prefix.address).unwrap();
                }
            }
            6 => {
                let away: Prefix = self.address().parse().unwrap();
                let (stack, _) = self.world.stack_mut(host).unwrap();
                if stack.remove_route(away).is_err() {
                    let _ = stack.add_route(away, remote);
                }
            }
            7 => {
                let socket = Endpoint::any(0);
                let (stack, pool) = self.world.stack_mut(host).unwrap();
                if let Ok(socket) = stack.bind_udp(socket) {
                    let _ = stack.udp_send(pool, now, socket, &UdpMeta::to((remote, 7).into()), &[1; 1_000]);
                }
                let _ = stack.ping(pool, now, remote, 50, Duration::from_secs(1));
            }
            _ => {
                let remote = std::net::SocketAddr::new(remote, 80).to_string();
                let plan = Plan { expect: Some(1), ..Plan::send(20_000) };
                self.conversations.extend(self.world.connect(host, &remote, plan));
            }
        }
        for _ in 0..self.below(12) {
            self.world.step();
        }
    }
}

#[test]
fn whatever_comes_and_goes_bytes_arrive_as_they_were_sent_and_blocks_are_accounted_for() {
    let seeds = match std::env::var("ETHERTAB_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..=seed,
        None => 1..=6,
    };
    for seed in seeds {
        println!("ETHERTAB_SEED={seed} replays it");
        let mut churn = Churn::new(seed);
        let [a, b] = [churn.hosts[0], churn.hosts[1]];
        let bystanders = Bystanders::new(&mut churn.world, a, b, ["10.0.0.2:9", "[fd00::2]:9"], 5_000_000);
        for _ in 0..3_000 {
            churn.act();
            assert_blocks_are_accounted(&churn.world, &churn.hosts);
            assert!(!churn.world.is_stuck(), "{}", churn.world);
        }
        let mut completed = 0;
        let Churn { mut world, hosts, conversations, .. } = churn;
        for id in conversations {
            let conversation = world.conversation(id);
            assert_eq!(conversation.mismatch, None, "{world}");
            completed += u32::from(conversation.went_well());
        }
        assert!(completed > 20, "{completed} conversations came to an end");
        bystanders.check(&mut world);
        assert_all_blocks_come_back(&mut world, &hosts);
    }
}
