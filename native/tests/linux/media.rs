//! A TUN device: IP packets without a link header between Linux and the stack.

use std::net::SocketAddr;
use std::time::Duration;

use ethertab::InterfaceConfig;
use ethertab_sim::Impairment;

use crate::Outcome;
use crate::apps::{Order, Sender, pattern};
use crate::datagrams::ping_both_ways;
use crate::host::{Host, LINUX, OURS};
use crate::judge::{BUSY, DATA_PORTS, FLOW_CONTROL, NORMAL, PROBED};
use crate::namespace::in_namespace;
use crate::peer;

const LIMIT: Duration = Duration::from_secs(60);

/// Nothing, a usual ping, the longest in one packet of each family, in fragments, and the longest.
const SIZES: [usize; 6] = [0, 56, 1_452, 1_472, 9_000, 65_507];

const LEN: u64 = 8 << 20;
/// The patterns of the two directions.
const UP: u64 = 1;
const DOWN: u64 = 2;

#[test]
fn pings_cross_a_tun_device_both_ways() -> Outcome {
    in_namespace(|| {
        let name = "pings_cross_a_tun_device_both_ways";
        let mut host = Host::on(name, InterfaceConfig::ip(), Impairment::PERFECT, LIMIT)?;
        ping_both_ways(&mut host, &SIZES)?;
        assert_eq!(host.stack().neighbors().count(), 0, "there is nobody to resolve");
        host.finish(&[])
    })
}

/// Each end connects to the other over both families, and both send.
#[test]
fn connections_cross_a_tun_device_both_ways() -> Outcome {
    in_namespace(|| {
        let name = "connections_cross_a_tun_device_both_ways";
        let mut host = Host::on(name, InterfaceConfig::ip(), Impairment::PERFECT, LIMIT)?;
        host.serve(DATA_PORTS[0], || Box::new(Sender::new(Order::Second, DOWN, LEN)))?;
        for (number, (ours, linux)) in OURS.into_iter().zip(LINUX).enumerate() {
            let received = host.run_with(move || {
                let stream = peer::connect(SocketAddr::new(ours, DATA_PORTS[0]))?;
                peer::send(&stream, UP, LEN)?;
                peer::receive(&stream)
            })?;
            assert!(received == pattern(DOWN, LEN), "Linux received other bytes than we sent");
            let listener = peer::listen(SocketAddr::new(linux, DATA_PORTS[1]))?;
            host.connect(listener.local_addr()?, Box::new(Sender::new(Order::First, UP, LEN)))?;
            let received = host.run_with(move || {
                let stream = peer::accept(&listener)?;
                let received = peer::receive(&stream)?;
                peer::send(&stream, DOWN, LEN)?;
                Ok(received)
            })?;
            assert!(received == pattern(UP, LEN), "Linux received other bytes than we sent");
            host.run_until_finished(2 * (number + 1))?;
        }
        for (finished, key) in host.finished().iter().zip([UP, DOWN, UP, DOWN]) {
            assert_eq!(finished.error, None);
            assert!(finished.received == pattern(key, LEN), "we received other bytes than Linux sent");
        }
        host.nothing_was_lost();
        host.finish(&[NORMAL, BUSY, FLOW_CONTROL, PROBED].concat())
    })
}
