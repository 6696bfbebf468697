//! Echo requests and UDP datagrams of every length, in fragments both ways, between Linux and the stack.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use ethertab::PingOutcome;
use ethertab_sim::Impairment;

use crate::Outcome;
use crate::host::{Host, LINUX, OURS};
use crate::namespace::{in_namespace, one_ping, run};

const LIMIT: Duration = Duration::from_secs(60);

/// From nothing to the longest, with the edges of one and of two fragments of a link of 1,500 bytes.
const SIZES: [usize; 12] = [0, 1, 56, 1_448, 1_452, 1_453, 1_472, 1_473, 2_953, 9_000, 65_000, 65_507];

/// Linux and the stack ping each other with these sizes, over both families.
pub(crate) fn ping_both_ways(host: &mut Host, sizes: &[usize]) -> Outcome {
    host.run_with(|| {
        for address in OURS {
            for size in sizes {
                run(&one_ping(&format!("-s {size} {address}")))?;
            }
        }
        Ok(())
    })?;
    for address in LINUX {
        for &size in sizes {
            let outcome = host.ping(address, size)?;
            let PingOutcome::Reply { len, .. } = outcome else { panic!("{size} bytes to {address}: {outcome:?}") };
            assert_eq!(len, size);
        }
    }
    Ok(())
}

#[test]
fn pings_of_all_lengths_are_answered_both_ways() -> Outcome {
    in_namespace(|| {
        let mut host = Host::new("pings_of_all_lengths_are_answered_both_ways", Impairment::PERFECT, LIMIT)?;
        ping_both_ways(&mut host, &SIZES)?;
        host.finish(&[])
    })
}

#[test]
fn datagrams_of_all_lengths_come_back() -> Outcome {
    in_namespace(|| {
        let mut host = Host::new("datagrams_of_all_lengths_come_back", Impairment::PERFECT, LIMIT)?;
        host.echo_datagrams(7)?;
        host.run_with(|| {
            for (ours, linux) in OURS.into_iter().zip(LINUX) {
                let socket = UdpSocket::bind(SocketAddr::new(linux, 0))?;
                socket.set_read_timeout(Some(Duration::from_secs(10)))?;
                socket.connect(SocketAddr::new(ours, 7))?;
                for size in SIZES {
                    let sent: Vec<u8> = (0..size).map(|place| (place * 7 / 3) as u8).collect();
                    socket.send(&sent)?;
                    let mut received = vec![0; 65_536];
                    let len = socket.recv(&mut received)?;
                    assert!(received[..len] == sent, "{size} bytes to {ours}");
                }
            }
            Ok(())
        })?;
        host.finish(&[])
    })
}
