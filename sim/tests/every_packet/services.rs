//! What the clients and servers of services say, each message in a datagram of a stack's.

use crate::{Host, ip, ours, theirs};
use ethertab::services::dhcpv6_client::{Dhcpv6Client, Dhcpv6ClientConfig};
use ethertab::services::dhcpv6_server::{Dhcpv6Config, Dhcpv6Server};
use ethertab::services::ntp::{NtpClient, NtpClientConfig, NtpServerConfig, ntp_answer};
use ethertab::services::resolver::Wanted;
use ethertab::services::{
    DhcpClient, DhcpClientConfig, DhcpConfig, DhcpServer, DnsAction, DnsConfig, DnsServer, Resolver, ResolverConfig,
};
use ethertab::storage::Storage;
use ethertab::time::{Duration, Instant};
use ethertab::{Endpoint, InterfaceConfig, UdpHandle, UdpMeta};
use ethertab_sim::Capture;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// What [`all`] makes the stack send.
pub(crate) const ALL: &[&str] = &[
    "dhcp 1",
    "dhcp 2",
    "dhcp 3",
    "dhcp 4",
    "dhcp 5",
    "dhcp 6",
    "dhcp 7",
    "dhcp 8",
    "dhcpv6 1",
    "dhcpv6 2",
    "dhcpv6 3",
    "dhcpv6 4",
    "dhcpv6 5",
    "dhcpv6 6",
    "dhcpv6 7",
    "dhcpv6 8",
    "dhcpv6 9",
    "dhcpv6 11",
    "dns response 0",
    "dns response 1",
    "ntp mode 3",
    "ntp mode 4",
];

/// A stack that sends each message from the port that it belongs to.
struct Sender<'c> {
    host: Host,
    sockets: HashMap<u16, UdpHandle>,
    capture: &'c mut Capture,
}

impl Sender<'_> {
    fn send(&mut self, port: u16, to: SocketAddr, message: &[u8]) {
        let host = &mut self.host;
        let socket = *self.sockets.entry(port).or_insert_with(|| host.stack.bind_udp(Endpoint::any(port)).unwrap());
        host.stack.udp_send(&mut host.pool, host.now, socket, &UdpMeta::to(to), message).unwrap();
        host.take(self.capture);
    }
}

/// The neighbour.
fn neighbor(is_ipv6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(ip(if is_ipv6 { "fd00::2" } else { "10.0.0.2" }), port)
}

/// Everybody, or the neighbour in the place of whoever is meant.
fn known(to: SocketAddrV4) -> SocketAddr {
    if to.ip().is_broadcast() { SocketAddr::V4(to) } else { neighbor(false, to.port()) }
}

pub(crate) fn all(capture: &mut Capture) {
    let mut host = Host::new();
    host.add_link(InterfaceConfig::ethernet(ours(0)));
    host.pass(capture, Duration::from_secs(10));
    let mut sender = Sender { host, sockets: HashMap::new(), capture };
    dhcp(&mut sender);
    dhcpv6(&mut sender);
    dns(&mut sender);
    ntp(&mut sender);
}

/// A DHCP client with its server; between steps they talk until both are silent.
struct Dhcp<'a, 'c> {
    client: DhcpClient,
    server: DhcpServer<'static>,
    now: Instant,
    sender: &'a mut Sender<'c>,
}

impl Dhcp<'_, '_> {
    fn talk(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let (mut message, mut answer) = ([0; 1_472], [0; 1_472]);
            while let Some(sent) = self.client.transmit(self.now, &mut message) {
                self.sender.send(68, known(sent.destination), &message[..sent.len]);
                if let Some(reply) = self.server.handle(self.now, &message[..sent.len], &mut answer) {
                    self.sender.send(67, known(reply.destination), &answer[..reply.len]);
                    self.client.handle(self.now, &answer[..reply.len]);
                }
            }
            let Some(due) = self.client.next_timeout().filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.client.handle_timeout(self.now);
        }
        self.now = end;
    }
}

fn dhcp(sender: &mut Sender<'_>) {
    let new_server = |subnet: u8| {
        let address = |last| Ipv4Addr::new(10, subnet, 0, last);
        let mut config = DhcpConfig::new(address(1), 24, address(15)..=address(20));
        config.lease_time = Duration::from_secs(600);
        DhcpServer::new(config, Storage::with_capacity(8)).unwrap()
    };
    let client = DhcpClient::new(Instant::ZERO, DhcpClientConfig::new(theirs(0), [1, 0]));
    let mut lab = Dhcp { client, server: new_server(0), now: Instant::ZERO, sender };
    let while_acquired = Duration::from_secs(20);
    lab.talk(while_acquired);
    // The address is somebody else's; then another one is free, and is renewed.
    lab.client.address_is_taken(lab.now);
    lab.talk(while_acquired);
    lab.client.address_is_free(lab.now);
    lab.talk(Duration::from_secs(500));
    // In another network the server refuses, and grants another address.
    lab.server = new_server(1);
    lab.client.restart(lab.now);
    lab.talk(while_acquired);
    lab.client.address_is_free(lab.now);
    lab.client.release(lab.now);
    lab.talk(while_acquired);
    lab.client.inform(lab.now, Ipv4Addr::new(10, 1, 0, 7));
    lab.talk(while_acquired);
}

fn dhcpv6(sender: &mut Sender<'_>) {
    let group: IpAddr = ethertab::wire::dhcpv6::SERVERS.into();
    for (address, rapid_commit) in [(true, false), (false, false)] {
        let mut config = Dhcpv6Config::new(ours(0), [7, 8], "fd00::/64".parse().unwrap());
        config.pool = Some(("fd00::1000".parse().unwrap(), "fd00::1fff".parse().unwrap()));
        (config.preferred, config.valid) = (Duration::from_secs(1_000), Duration::from_secs(2_000));
        config.dns_servers.push("fd00::1".parse().unwrap());
        let mut server = Dhcpv6Server::new(config, Storage::with_capacity(8));
        let mut config = Dhcpv6ClientConfig::new(theirs(0), [1, 3]);
        (config.address, config.rapid_commit) = (address, rapid_commit);
        let mut now = Instant::ZERO;
        let mut client = Dhcpv6Client::new(now, config);
        // What is done when, and whether the server answers from then on.
        type Act = fn(&mut Dhcpv6Client, Instant);
        let steps: [(u64, Act, bool); 6] = [
            (20, |_, _| {}, true),
            (30, Dhcpv6Client::link_changed, true),
            (1_700, |_, _| {}, true),
            (2_900, |_, _| {}, false),
            (5_000, Dhcpv6Client::address_is_taken, true),
            (5_100, Dhcpv6Client::release, true),
        ];
        for (until, act, answers) in steps {
            act(&mut client, now);
            let end = Instant::from_secs(until);
            loop {
                let (mut message, mut answer) = ([0; 1_232], [0; 1_232]);
                while let Some(len) = client.transmit(now, &mut message) {
                    sender.send(546, SocketAddr::new(group, 547), &message[..len]);
                    let to = ethertab::wire::dhcpv6::SERVERS;
                    let reply = server.handle(now, to, &message[..len], &mut answer);
                    if let Some(len) = reply.filter(|_| answers) {
                        sender.send(547, neighbor(true, 546), &answer[..len]);
                        client.handle(now, &answer[..len]);
                    }
                }
                let Some(due) = client.next_timeout().filter(|due| *due <= end) else { break };
                now = now.max(due);
                client.handle_timeout(now);
            }
            now = end;
        }
    }
}

fn dns(sender: &mut Sender<'_>) {
    let mut server = DnsServer::new(DnsConfig::default(), Storage::with_capacity(8), Storage::with_capacity(8));
    for address in ["10.0.0.1", "fd00::1"] {
        server.add("host.lab.test", ip(address)).unwrap();
    }
    let mut config = ResolverConfig::new([1, 2]);
    config.servers.push(neighbor(false, 53));
    let mut resolver = Resolver::new(config, Storage::with_capacity(8), Storage::with_capacity(8));
    let now = Instant::ZERO;
    resolver.resolve(now, "host.lab.test", Wanted::Addresses).unwrap();
    resolver.reverse(now, ip("10.0.0.1")).unwrap();
    let (mut message, mut answer) = ([0; 1_232], [0; 1_232]);
    while let Some(sent) = resolver.transmit(now, &mut message) {
        sender.send(6_353, sent.server, &message[..sent.len]);
        let from = neighbor(false, 6_353);
        if let DnsAction::Reply(len) = server.handle(now, from, &message[..sent.len], &mut answer) {
            sender.send(53, from, &answer[..len]);
            resolver.handle(now, sent.token, sent.server, &answer[..len]);
        }
    }
}

fn ntp(sender: &mut Sender<'_>) {
    let servers = [neighbor(false, 123), neighbor(true, 123)].into_iter().collect();
    let config = NtpClientConfig { seed: [1, 0], servers, interval: Duration::from_secs(64) };
    let mut client = NtpClient::new(Instant::ZERO, config);
    let mut now = Instant::ZERO;
    for _ in 0..4 {
        while let Some(sent) = client.transmit(now) {
            sender.send(6_123, sent.server, &sent.packet);
            let time = 1_700_000_000_000_000 + now.as_micros();
            if let Some(answer) = ntp_answer(&NtpServerConfig::default(), &sent.packet, time, time) {
                sender.send(123, SocketAddr::new(sent.server.ip(), 6_123), &answer);
            }
        }
        now = client.next_timeout().unwrap_or(now);
    }
}
