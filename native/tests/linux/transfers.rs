//! Bulk data each way, at several rates of loss.

use std::net::SocketAddr;
use std::time::Duration;

use ethertab::time::Duration as Span;
use ethertab_sim::Impairment;

use crate::Outcome;
use crate::apps::{Order, Sender, pattern};
use crate::host::{Host, LINUX, OURS};
use crate::judge::{Allowed, BUSY, DATA_PORTS, FLOW_CONTROL, NORMAL, PROBED};
use crate::namespace::in_namespace;
use crate::peer;

/// Which end connects. It is also the one that sends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Linux,
    Ours,
}

/// KiB each way without loss and at 1, 5 and 20 %. At 20 % both ends mostly wait for timeouts.
const LOSSLESS: u64 = 100 << 10;
const AT_1_PERCENT: u64 = 50 << 10;
const AT_5_PERCENT: u64 = 20 << 10;
const AT_20_PERCENT: u64 = 2 << 10;

/// Indexes of the addresses.
const IPV4: usize = 0;
const IPV6: usize = 1;

const PORT: u16 = DATA_PORTS[0];

/// The patterns of the two directions.
const UP: u64 = 1;
const DOWN: u64 = 2;

/// What a network brings that loses, duplicates and reorders. The capture is the stack's view: what is lost on the way to Linux
/// is in it, what is lost on the way from Linux is not.
const LOSSY: &[Allowed] = &[
    ("Warns", "Previous segment(s) not captured", "a segment of Linux's was lost or overtaken"),
    ("Warns", "This frame is a (suspected) out-of-order segment", "a segment of Linux's was overtaken, or sent again"),
    ("Notes", "Duplicate ACK", "a segment behind a lost one has arrived"),
    ("Notes", "This frame is a (suspected) retransmission", "a segment was lost, or its ACK, or it was duplicated"),
    ("Notes", "This frame is a (suspected) fast retransmission", "a segment was lost"),
    ("Notes", "This frame is a (suspected) spurious retransmission", "the segment's ACK was lost"),
    (
        "Warns",
        "D-SACK Sequence",
        "a segment arrived twice: duplicated, or sent again though only late, or its ACK lost (RFC 2883)",
    ),
    ("Warns", "Connection reset (RST)", "a second ACK of our FIN finds the connection gone (RFC 9293 §3.10.7.1)"),
];

/// The client sends `kib` KiB and ends its side, then the server does the same: one direction after the other on the
/// same connection, half-closed in between. Each frame is lost with probability `loss`; if any are, some others are
/// duplicated or overtaken.
fn transfer(name: &'static str, client: Client, family: usize, kib: u64, loss: f64, limit: Duration) -> Outcome {
    in_namespace(|| {
        let lossless = loss == 0.0;
        let impairment = match lossless {
            true => Impairment::PERFECT,
            false => Impairment {
                loss,
                duplicate: 0.005,
                reorder: 0.005,
                reorder_by: Span::from_micros(300),
                ..Impairment::PERFECT
            },
        };
        let len = kib << 10;
        let mut host = Host::new(name, impairment, limit)?;
        // Linux gives up a closed socket after its longest timeout: each end is held open until the other has all.
        let (received, linux) = match client {
            Client::Linux => {
                host.serve(PORT, move || Box::new(Sender::new(Order::Second, DOWN, len)))?;
                host.run_with(move || {
                    let stream = peer::connect(SocketAddr::new(OURS[family], PORT))?;
                    peer::send(&stream, UP, len)?;
                    Ok((peer::receive(&stream)?, stream))
                })?
            }
            Client::Ours => {
                let listener = peer::listen(SocketAddr::new(LINUX[family], PORT))?;
                host.connect(listener.local_addr()?, Box::new(Sender::new(Order::First, UP, len)))?;
                host.run_with(move || {
                    let stream = peer::accept(&listener)?;
                    let received = peer::receive(&stream)?;
                    peer::send(&stream, DOWN, len)?;
                    Ok((received, stream))
                })?
            }
        };
        host.run_until_finished(1)?;
        drop(linux);
        let (to_linux, to_us) = if client == Client::Linux { (DOWN, UP) } else { (UP, DOWN) };
        assert!(received == pattern(to_linux, len), "Linux received other bytes than we sent");
        let finished = &host.finished()[0];
        assert_eq!(finished.error, None);
        assert!(finished.received == pattern(to_us, len), "we received other bytes than Linux sent");
        if lossless {
            host.nothing_was_lost();
        }
        host.finish(&[NORMAL, BUSY, FLOW_CONTROL, if lossless { PROBED } else { LOSSY }].concat())
    })
}

#[test]
fn linux_client_ipv4_without_loss() -> Outcome {
    transfer("linux_client_ipv4_without_loss", Client::Linux, IPV4, LOSSLESS, 0.0, Duration::from_secs(60))
}

#[test]
fn linux_client_ipv4_at_1_percent() -> Outcome {
    transfer("linux_client_ipv4_at_1_percent", Client::Linux, IPV4, AT_1_PERCENT, 0.01, Duration::from_secs(120))
}

#[test]
fn linux_client_ipv4_at_5_percent() -> Outcome {
    transfer("linux_client_ipv4_at_5_percent", Client::Linux, IPV4, AT_5_PERCENT, 0.05, Duration::from_secs(180))
}

#[test]
fn linux_client_ipv4_at_20_percent() -> Outcome {
    transfer("linux_client_ipv4_at_20_percent", Client::Linux, IPV4, AT_20_PERCENT, 0.2, Duration::from_secs(300))
}

#[test]
fn linux_client_ipv6_without_loss() -> Outcome {
    transfer("linux_client_ipv6_without_loss", Client::Linux, IPV6, LOSSLESS, 0.0, Duration::from_secs(60))
}

#[test]
fn linux_client_ipv6_at_1_percent() -> Outcome {
    transfer("linux_client_ipv6_at_1_percent", Client::Linux, IPV6, AT_1_PERCENT, 0.01, Duration::from_secs(120))
}

#[test]
fn linux_client_ipv6_at_5_percent() -> Outcome {
    transfer("linux_client_ipv6_at_5_percent", Client::Linux, IPV6, AT_5_PERCENT, 0.05, Duration::from_secs(180))
}

#[test]
fn linux_client_ipv6_at_20_percent() -> Outcome {
    transfer("linux_client_ipv6_at_20_percent", Client::Linux, IPV6, AT_20_PERCENT, 0.2, Duration::from_secs(300))
}

#[test]
fn linux_server_ipv4_without_loss() -> Outcome {
    transfer("linux_server_ipv4_without_loss", Client::Ours, IPV4, LOSSLESS, 0.0, Duration::from_secs(60))
}

#[test]
fn linux_server_ipv4_at_1_percent() -> Outcome {
    transfer("linux_server_ipv4_at_1_percent", Client::Ours, IPV4, AT_1_PERCENT, 0.01, Duration::from_secs(120))
}

#[test]
fn linux_server_ipv4_at_5_percent() -> Outcome {
    transfer("linux_server_ipv4_at_5_percent", Client::Ours, IPV4, AT_5_PERCENT, 0.05, Duration::from_secs(180))
}

#[test]
fn linux_server_ipv4_at_20_percent() -> Outcome {
    transfer("linux_server_ipv4_at_20_percent", Client::Ours, IPV4, AT_20_PERCENT, 0.2, Duration::from_secs(300))
}

#[test]
fn linux_server_ipv6_without_loss() -> Outcome {
    transfer("linux_server_ipv6_without_loss", Client::Ours, IPV6, LOSSLESS, 0.0, Duration::from_secs(60))
}

#[test]
fn linux_server_ipv6_at_1_percent() -> Outcome {
    transfer("linux_server_ipv6_at_1_percent", Client::Ours, IPV6, AT_1_PERCENT, 0.01, Duration::from_secs(120))
}

#[test]
fn linux_server_ipv6_at_5_percent() -> Outcome {
    transfer("linux_server_ipv6_at_5_percent", Client::Ours, IPV6, AT_5_PERCENT, 0.05, Duration::from_secs(180))
}

#[test]
fn linux_server_ipv6_at_20_percent() -> Outcome {
    transfer("linux_server_ipv6_at_20_percent", Client::Ours, IPV6, AT_20_PERCENT, 0.2, Duration::from_secs(300))
}
