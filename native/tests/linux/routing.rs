//! The stack as a router between two Linux hosts: what people do to look at a path, bulk data, and what must not pass.

use std::error::Error;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use ethertab::{DropReason, Forwarding, Route};

use crate::Outcome;
use crate::apps::{Stream, pattern};
use crate::judge::{BUSY, DATA_PORTS, FLOW_CONTROL, NORMAL};
use crate::namespace::{Namespace, one_ping, output};
use crate::peer;
use crate::router::{BULK, FAMILIES, INSIDE, LINUX, OURS, OUTSIDE, Router, TRACES, iperf_server};

/// From nothing to the longest, with the edges of one and of two fragments of a link of 1,500 bytes.
const SIZES: [usize; 12] = [0, 1, 56, 1_448, 1_452, 1_453, 1_472, 1_473, 2_953, 9_000, 65_000, 65_507];

/// A side and the other one.
const WAYS: [[usize; 2]; 2] = [[INSIDE, OUTSIDE], [OUTSIDE, INSIDE]];

#[test]
fn pings_of_all_lengths_cross_a_router_both_ways() -> Outcome {
    let mut router = Router::new("pings_of_all_lengths_cross_a_router_both_ways", [1_500, 1_500])?;
    router.run_with(|sides| {
        for [from, to] in WAYS {
            for target in LINUX[to] {
                for size in SIZES {
                    let report = sides[from].run(&one_ping(&format!("-s {size} {target}")))?;
                    assert!(report.contains("ttl=63"), "{report}");
                }
            }
        }
        Ok(())
    })?;
    router.check_that_nothing_is_lost()?;
    router.finish(&[])
}

/// The hops of a path as traceroute prints them: the addresses that answered, in their order.
fn hops(report: &str) -> Vec<String> {
    let lines = report.lines().skip(1);
    lines.filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
}

#[test]
fn traceroute_sees_the_router_and_then_the_host_both_ways() -> Outcome {
    let mut router = Router::new("traceroute_sees_the_router_and_then_the_host_both_ways", [1_500, 1_500])?;
    router.run_with(|sides| {
        for [from, to] in WAYS {
            for family in [0, 1] {
                for mode in ["", "-U", "-I", "-T"] {
                    let (option, target) = (FAMILIES[family], LINUX[to][family]);
                    let report = sides[from].run(&format!("traceroute {option} -n -q 1 -w 5 {mode} {target}"))?;
                    assert_eq!(hops(&report), [OURS[from][family], target], "{report}");
                }
            }
        }
        Ok(())
    })?;
    router.finish(&[NORMAL, TRACES].concat())
}

/// RFC 1191 and RFC 8201: who looks finds the MTU of the narrower link, and how far the host is.
#[test]
fn tracepath_finds_the_narrower_link() -> Outcome {
    let mut router = Router::new("tracepath_finds_the_narrower_link", [1_500, 1_300])?;
    router.run_with(|sides| {
        for (option, target) in FAMILIES.into_iter().zip(LINUX[OUTSIDE]) {
            let report = sides[INSIDE].run(&format!("tracepath {option} -n {target}"))?;
            assert!(report.contains("pmtu 1500") && report.contains("pmtu 1300"), "{report}");
            assert!(report.contains("reached") && report.contains("Resume: pmtu 1300 hops 2 back 2"), "{report}");
            // What may be fragmented on the way is, and what is put together again is the same.
            sides[INSIDE].run(&one_ping(&format!("-M dont -s 4000 {target}")))?;
        }
        Ok(())
    })?;
    assert!(router.drops(DropReason::PacketTooBig) >= 2, "one of each family");
    router.finish(TRACES)
}

/// Bytes of a pattern each way.
const LEN: u64 = 8 << 20;

/// Sends a pattern, and receives until the other end does not send any more.
fn talk(stream: &TcpStream, key: u64) -> Outcome<Stream> {
    thread::scope(|scope| {
        let sender = scope.spawn(|| peer::send(stream, key, LEN));
        let received = peer::receive(stream);
        sender.join().map_err(|_| "the sender panicked")??;
        received
    })
}

/// Sends patterns both ways at once between a client and a server that listens at `at`, and compares what comes.
pub(crate) fn exchange(sides: &[Namespace; 2], client: usize, server: SocketAddr, at: SocketAddr) -> Outcome {
    let listener = sides[1 - client].enter(|| peer::listen(at))?;
    let (received, answer) = thread::scope(|scope| {
        let serving = scope.spawn(|| talk(&peer::accept(&listener)?, 2));
        let answer = sides[client].enter(|| talk(&peer::connect(server)?, 1))?;
        Ok::<_, Box<dyn Error + Send + Sync>>((serving.join().map_err(|_| "the server panicked")??, answer))
    })?;
    assert!(received == pattern(1, LEN), "{} bytes came to the server", received.len());
    assert!(answer == pattern(2, LEN), "{} bytes came to the client", answer.len());
    Ok(())
}

#[test]
fn every_byte_crosses_a_router_both_ways() -> Outcome {
    let mut router = Router::new("every_byte_crosses_a_router_both_ways", [1_500, 1_500])?;
    router.run_with(|sides| {
        for address in LINUX[OUTSIDE] {
            let server = SocketAddr::new(address.parse()?, DATA_PORTS[0]);
            exchange(sides, INSIDE, server, server)?;
        }
        Ok(())
    })?;
    router.finish(&[NORMAL, BUSY, FLOW_CONTROL, BULK].concat())
}

/// How many bytes iperf3's report in JSON says for the first of the sums of this name.
fn bytes_of(report: &str, sum: &str) -> Outcome<u64> {
    let found = report.split_once(&format!("\"{sum}\":")).ok_or("no such sum")?.1;
    let value = found.split_once("\"bytes\":").ok_or("no bytes")?.1;
    Ok(value.trim_start().split(|c: char| !c.is_ascii_digit()).next().ok_or("no number")?.parse()?)
}

/// iperf3 from one side to a server on the other, both directions, TCP and then UDP. Whether all datagrams have crossed is told by
/// [`Router::check_that_nothing_is_lost`]: the server of a busy machine may find no room in its socket's buffer.
pub(crate) fn iperf(sides: &[Namespace; 2], client: usize, target: &str) -> Outcome {
    const BYTES: u64 = 8_000_000;
    let [tcp_port, udp_port] = DATA_PORTS;
    for direction in ["", "--reverse"] {
        let _server = sides[1 - client].enter(|| iperf_server(target, tcp_port))?;
        let report = sides[client]
            .run(&format!("iperf3 --json --client {target} --port {tcp_port} --bytes {BYTES} {direction}"))?;
        let (sent, received) = (bytes_of(&report, "sum_sent")?, bytes_of(&report, "sum_received")?);
        // When all is sent the client ends the test, whatever is still under way.
        assert!(sent >= BYTES && received > BYTES / 2 && received <= sent, "{sent} and {received} bytes\n{report}");

        let _server = sides[1 - client].enter(|| iperf_server(target, udp_port))?;
        let udp = "--udp --length 1200 --bitrate 50M --bytes 1200000";
        let report =
            sides[client].run(&format!("iperf3 --json --client {target} --port {udp_port} {udp} {direction}"))?;
        assert!(bytes_of(&report, "sum")? >= 1_200_000, "{report}");
    }
    Ok(())
}

#[test]
fn iperf3_through_a_router() -> Outcome {
    let mut router = Router::new("iperf3_through_a_router", [1_500, 1_500])?;
    router.run_with(|sides| {
        for address in LINUX[OUTSIDE] {
            iperf(sides, INSIDE, address)?;
        }
        Ok(())
    })?;
    router.check_that_nothing_is_lost()?;
    router.finish(&[NORMAL, BUSY, FLOW_CONTROL, BULK].concat())
}

/// RFC 3704: what claims to come from elsewhere does not pass.
#[test]
fn packets_with_sources_that_are_elsewhere_do_not_pass() -> Outcome {
    let mut router = Router::new("packets_with_sources_that_are_elsewhere_do_not_pass", [1_500, 1_500])?;
    router.run_with(|sides| {
        for (option, spoofed, target) in
            [("-4", "10.99.0.1", LINUX[OUTSIDE][0]), ("-6", "fd00:99::1", LINUX[OUTSIDE][1])]
        {
            let length = if option == "-4" { 32 } else { 128 };
            sides[INSIDE].run(&format!("ip {option} address add {spoofed}/{length} dev lo"))?;
            let report = sides[INSIDE].enter(|| output(&format!("ping -n -c 3 -i 0.01 -W 1 -I {spoofed} {target}")))?;
            let report = String::from_utf8_lossy(&report.stdout).into_owned();
            assert!(report.contains("3 packets transmitted, 0 received"), "{report}");
        }
        Ok(())
    })?;
    assert_eq!(router.drops(DropReason::ReversePath), 6);
    router.finish(&[("Warns", "No response seen to ICMP", "they are dropped")])
}

/// RFC 1812 §5.2.7.2, RFC 4861 §8.2: Linux believes where the nearer router is, and goes there itself from then on.
#[test]
fn linux_learns_of_a_nearer_router_by_redirects() -> Outcome {
    let mut router = Router::new("linux_learns_of_a_nearer_router_by_redirects", [1_500, 1_500])?;
    // One more host on the inside link, which is a bridge now, and networks behind it.
    let nearer = Namespace::new()?;
    let (inside, device) = (&router.sides[INSIDE], &router.devices[INSIDE]);
    inside.run("ip link add bridge0 type bridge")?;
    inside.run("ip link add port0 type veth peer name near0")?;
    inside.run(&format!("ip link set near0 netns {}", nearer.path()))?;
    inside.run(&format!("ip address flush dev {device}"))?;
    inside.run(&format!("ip -6 route flush dev {device}"))?;
    for port in [device.as_str(), "port0"] {
        inside.run(&format!("ip link set {port} master bridge0 up"))?;
    }
    inside.run(&format!("ip address add {}/24 dev bridge0", LINUX[INSIDE][0]))?;
    inside.run(&format!("ip -6 address add {}/64 dev bridge0 nodad", LINUX[INSIDE][1]))?;
    inside.run("ip link set bridge0 up")?;
    inside.run(&format!("ip route add default via {}", OURS[INSIDE][0]))?;
    // RFC 4861 §8.1: who is believed is the router that is used, by its link-local address.
    inside.run("ip -6 route add default via fe80::ff:fe00:10 dev bridge0")?;
    nearer.run("ip address add 10.1.0.3/24 dev near0")?;
    nearer.run("ip -6 address add fd00:1::3/64 dev near0 nodad")?;
    nearer.run("ip -6 address add fe80::3/64 dev near0 nodad")?;
    nearer.run("ip address add 10.7.0.9/32 dev lo")?;
    nearer.run("ip -6 address add fd00:7::9/128 dev lo")?;
    nearer.run("ip link set near0 up")?;
    let interface = router.interface(INSIDE)?;
    router.stack().set_route(Route::via(interface, "10.7.0.0/16".parse()?, "10.1.0.3".parse()?))?;
    router.stack().set_route(Route::via(interface, "fd00:7::/64".parse()?, "fe80::3".parse()?))?;
    router.run_with(|sides| {
        for (option, target, gateway) in [("-4", "10.7.0.9", "10.1.0.3"), ("-6", "fd00:7::9", "fe80::3")] {
            let inside = &sides[INSIDE];
            let before = inside.run(&format!("ip {option} route get {target}"))?;
            assert!(!before.contains(gateway), "{before}");
            // Linux follows a redirect to a neighbour that it knows.
            inside.run(&format!("ping -n -c 1 -W 5 -I bridge0 {gateway}"))?;
            // And we tell of one that we know ourselves.
            inside.run(&format!("ping -n -c 1 -W 5 {target}"))?;
            inside.run(&format!("ping -n -c 3 -i 0.2 -W 5 {target}"))?;
            let after = inside.run(&format!("ip {option} route get {target}"))?;
            assert!(after.contains(&format!("via {gateway}")), "{after}");
        }
        Ok(())
    })?;
    router.finish(&[])
}

/// RFC 4291 §2.6.1: each network's prefix is an address of its routers, near and far, for as long as they are routers.
#[test]
fn linux_reaches_the_anycast_addresses_of_a_router() -> Outcome {
    let mut router = Router::new("linux_reaches_the_anycast_addresses_of_a_router", [1_500, 1_500])?;
    let networks = ["fd00:1::", "fd00:2::"];
    router.run_with(|sides| {
        for [from, to] in WAYS {
            for network in networks {
                for size in [56, 5_000] {
                    let report = sides[from].run(&one_ping(&format!("-6 -s {size} {network}")))?;
                    assert!(report.contains(&format!("from {}", OURS[from][1])), "{report}");
                }
                let report = sides[from].run(&format!("traceroute -6 -n -q 1 -w 5 {network}"))?;
                assert_eq!(hops(&report), [OURS[from][1]], "{report}");
            }
            let neighbors = sides[from].run("ip -6 neighbor show")?;
            let station = |address: &str| {
                let line = neighbors.lines().find(|line| line.starts_with(&format!("{address} ")));
                line.and_then(|line| line.split_once("lladdr ")).map(|(_, station)| station[..17].to_owned())
            };
            // The other network's is reached through the router, as any address there.
            assert!(station(networks[from]).is_some() && station(networks[to]).is_none(), "{neighbors}");
            assert_eq!(station(networks[from]), station(OURS[from][1]), "{neighbors}");
        }
        Ok(())
    })?;
    for side in [INSIDE, OUTSIDE] {
        let interface = router.interface(side)?;
        router.stack().set_forwarding(interface, Forwarding::default())?;
    }
    router.run_with(|sides| {
        let report = String::from_utf8(sides[INSIDE].enter(|| output("ping -6 -n -c 1 -W 1 fd00:1::"))?.stdout)?;
        assert!(report.contains("0 received"), "{report}");
        Ok(())
    })?;
    router.finish(TRACES)
}
