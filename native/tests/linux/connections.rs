//! A thousand connections at once.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use ethertab_sim::Impairment;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Outcome;
use crate::apps::{Echo, Order, Sender, pattern};
use crate::host::{Host, LINUX, OURS};
use crate::judge::{BUSY, DATA_PORTS, NORMAL, PROBED};
use crate::namespace::in_namespace;
use crate::peer;

const CONNECTIONS: u64 = 1_000;
/// Bytes each way on each connection.
const LEN: u64 = 4_000;
const LIMIT: Duration = Duration::from_secs(60);
const PORT: u16 = DATA_PORTS[0];

/// Lets this process hold as many sockets as it takes, whatever the shell's default is.
fn allow_open_files() -> Outcome {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

#[test]
fn linux_opens_a_thousand_connections() -> Outcome {
    allow_open_files()?;
    in_namespace(|| {
        let mut host = Host::new("linux_opens_a_thousand_connections", Impairment::PERFECT, LIMIT)?;
        host.serve(PORT, || Box::new(Echo::default()))?;
        // Odd ones over IPv6.
        let address = |key| SocketAddr::new(OURS[(key % 2) as usize], PORT);
        host.run_with(|| {
            let streams = (0..CONNECTIONS).map(|key| peer::connect(address(key))).collect::<Outcome<Vec<_>>>()?;
            for (key, stream) in (0..).zip(&streams) {
                peer::send(stream, key, LEN)?;
            }
            for (key, stream) in (0..).zip(&streams) {
                assert!(peer::receive(stream)? == pattern(key, LEN), "connection {key} brought other bytes");
            }
            Ok(())
        })?;
        host.run_until_finished(CONNECTIONS as usize)?;
        assert!(host.finished().iter().all(|finished| finished.error.is_none()));
        host.nothing_was_lost();
        host.finish(&[NORMAL, BUSY, PROBED].concat())
    })
}

#[test]
fn linux_accepts_a_thousand_connections() -> Outcome {
    allow_open_files()?;
    in_namespace(|| {
        let mut host = Host::new("linux_accepts_a_thousand_connections", Impairment::PERFECT, LIMIT)?;
        let listeners = [peer::listen((LINUX[0], PORT).into())?, peer::listen((LINUX[1], PORT).into())?];
        for key in 0..CONNECTIONS {
            let remote = SocketAddr::new(LINUX[(key % 2) as usize], PORT);
            host.connect(remote, Box::new(Sender::new(Order::First, key, LEN)))?;
        }
        let received = host.run_with(move || {
            // None is served before all are there.
            let accept = |key| peer::accept(&listeners[(key % 2) as usize]);
            let streams = (0..CONNECTIONS).map(accept).collect::<Outcome<Vec<_>>>()?;
            let mut received = HashSet::new();
            for (key, stream) in (CONNECTIONS..).zip(&streams) {
                received.insert(peer::receive(stream)?.identity());
                peer::send(stream, key, LEN)?;
            }
            Ok(received)
        })?;
        host.run_until_finished(CONNECTIONS as usize)?;
        let identities = |keys: std::ops::Range<u64>| keys.map(|key| pattern(key, LEN).identity()).collect();
        assert!(received == identities(0..CONNECTIONS), "Linux received other bytes than we sent");
        assert!(host.finished().iter().all(|finished| finished.error.is_none()));
        let received: HashSet<_> = host.finished().iter().map(|finished| finished.received.identity()).collect();
        assert!(received == identities(CONNECTIONS..2 * CONNECTIONS), "we received other bytes than Linux sent");
        host.nothing_was_lost();
        host.finish(&[NORMAL, BUSY, PROBED].concat())
    })
}
