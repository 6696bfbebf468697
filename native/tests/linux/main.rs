//! The stack on a TAP device, judged by others: Linux's TCP at the other end, curl, nginx, nmap, hping3 and ping as its
//! peers, ping, traceroute, tracepath and iperf3 on the two sides of a router that it is, other people's clients and servers of DHCP, DNS and NTP, and tshark as the reader of every capture.
//!
//! Each test makes a network namespace of its own, which the kernel deletes with the test's last thread and program, whatever
//! happens. It needs root, `/dev/net/tun` and those programs; `cargo xtask test linux` runs it where they are there.
#![cfg(target_os = "linux")]

mod adversities;
mod apps;
mod connections;
mod datagrams;
mod dhcp;
mod dhcpv6;
mod host;
mod http;
mod judge;
mod mdns;
mod media;
mod multicast;
mod namespace;
mod neighbors;
mod peer;
mod router;
mod router_advertisements;
mod routing;
mod scans;
mod services;
mod transfers;
mod translation;

use std::error::Error;

/// What tests and their helpers return: an error is a failed test, and says what was wrong.
type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;
