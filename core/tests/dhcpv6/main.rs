//! The DHCPv6 client and server, alone with messages that an independent implementation (dhcproto) builds and reads, and together.

use std::net::Ipv6Addr;

use dhcproto::v6::{self, DhcpOption, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use ethertab::services::dhcpv6_client::{Dhcpv6Client, Dhcpv6ClientConfig, Dhcpv6ClientEvent, Dhcpv6ClientState};
use ethertab::services::dhcpv6_server::{Dhcpv6Config, Dhcpv6LeaseState, Dhcpv6Server};
use ethertab::storage::Storage;
use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::wire::dhcpv6::SERVERS;
use ethertab::wire::dns::Name;

mod client;
mod server;

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn duid(last: u8) -> Vec<u8> {
    vec![0, 3, 0, 1, 2, 0, 0, 0, 0, last]
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn server_config() -> Dhcpv6Config {
    let mut config = Dhcpv6Config::new(mac(1), [7, 8], "fd00::/64".parse().unwrap());
    config.pool = Some((ip("fd00::1000"), ip("fd00::1003")));
    config.preferred = secs(1_000);
    config.valid = secs(2_000);
    config.dns_servers.push(ip("fd00::1"));
    config.search.push(Name::from_text("lab.test").unwrap());
    config
}

fn new_server() -> Dhcpv6Server<'static> {
    Dhcpv6Server::new(server_config(), Storage::with_capacity(4))
}

fn client_config(last: u8) -> Dhcpv6ClientConfig {
    Dhcpv6ClientConfig::new(mac(last), [last.into(), 3])
}

/// Reads a message as dhcproto does.
fn decoded(bytes: &[u8]) -> v6::Message {
    v6::Message::decode(&mut Decoder::new(bytes)).expect("dhcproto reads it")
}
