//! Translation of addresses between Linux hosts: from inside and back, in by forwarded ports, from inside to inside, and errors on the way.

use std::fs;
use std::net::SocketAddr;

use ethertab::{NatConfig, NatProtocol, PortForward, Route};
use ethertab_sim::apps::fill_pattern;

use crate::Outcome;
use crate::dhcp::folder;
use crate::http::Nginx;
use crate::judge::{Allowed, BUSY, DATA_PORTS, FLOW_CONTROL, NORMAL};
use crate::namespace::{Namespace, output};
use crate::router::{
    BULK, INSIDE, LINUX, OURS, OUTSIDE, Router, TRACES, address, answer_every_traceroute, iperf_server,
};
use crate::routing::{exchange, iperf};

/// A router that translates. The host outside has no route to those inside.
fn router(name: &'static str) -> Outcome<Router> {
    let mut router = Router::new(name, [1_500, 1_500])?;
    router.sides[OUTSIDE].run("ip -4 route delete default")?;
    let outside = router.interface(OUTSIDE)?;
    router.stack().set_nat(Some(NatConfig::outside(outside)))?;
    Ok(router)
}

#[test]
fn every_byte_crosses_the_translation_both_ways() -> Outcome {
    let mut router = router("every_byte_crosses_the_translation_both_ways")?;
    router.run_with(|sides| {
        let server = SocketAddr::new(address(LINUX[OUTSIDE][0])?, DATA_PORTS[0]);
        exchange(sides, INSIDE, server, server)
    })?;
    let flows: Vec<_> = router.stack().nat_flows().collect();
    assert_eq!(flows.len(), 1, "{flows:?}");
    assert_eq!(flows[0].inside.ip().to_string(), LINUX[INSIDE][0]);
    assert_eq!(flows[0].outside.ip().to_string(), OURS[OUTSIDE][0]);
    router.finish(&[NORMAL, BUSY, FLOW_CONTROL, BULK].concat())
}

#[test]
fn iperf3_through_translation() -> Outcome {
    let mut router = router("iperf3_through_translation")?;
    router.run_with(|sides| iperf(sides, INSIDE, LINUX[OUTSIDE][0]))?;
    router.check_that_nothing_is_lost()?;
    router.finish(&[NORMAL, BUSY, FLOW_CONTROL, BULK].concat())
}

/// curl and iperf3 come in by forwarded ports, and one inside host reaches another by the address that both have outside (RFC 4787 REQ-9).
#[test]
fn forwarded_ports_lead_inside_from_both_sides() -> Outcome {
    let name = "forwarded_ports_lead_inside_from_both_sides";
    let mut router = router(name)?;
    let port = DATA_PORTS[0];
    for (protocol, outside_port, inside_port) in
        [(NatProtocol::Tcp, 8_080, 80), (NatProtocol::Tcp, port, port), (NatProtocol::Udp, port, port)]
    {
        let inside = format!("{}:{inside_port}", LINUX[INSIDE][0]).parse()?;
        router.stack().forward_port(PortForward { protocol, outside_port, inside })?;
    }
    let folder = folder(name)?;
    let mut content = vec![0; 2 << 20];
    fill_pattern(3, 0, &mut content);
    fs::write(folder.join("file"), &content)?;
    let other = format!("ip address add 10.1.0.3/24 dev {}", router.devices[INSIDE]);
    router.sides[INSIDE].run(&other)?;
    router.run_with(|sides| {
        let inside = address(LINUX[INSIDE][0])?;
        let nginx = sides[INSIDE].enter(|| Nginx::start(&folder, &[inside]))?;
        let url = format!("http://{}:8080/file", OURS[OUTSIDE][0]);
        for (side, options) in [(OUTSIDE, ""), (INSIDE, "--interface 10.1.0.3")] {
            let fetched = folder.join("fetched");
            sides[side]
                .run(&format!("curl --silent --show-error --fail {options} --output {} {url}", fetched.display()))?;
            assert!(fs::read(&fetched)? == content, "the same file");
            fs::remove_file(fetched)?;
        }
        drop(nginx);
        for (udp, direction) in [("", ""), ("", "--reverse"), ("--udp", ""), ("--udp", "--reverse")] {
            let _server = sides[INSIDE].enter(|| iperf_server(LINUX[INSIDE][0], port))?;
            let target = OURS[OUTSIDE][0];
            sides[OUTSIDE].run(&format!("iperf3 --client {target} --port {port} --bytes 1M {udp} {direction}"))?;
        }
        Ok(())
    })?;
    fs::remove_dir_all(folder)?;
    router.finish(&[NORMAL, BUSY, FLOW_CONTROL, BULK, HTTP].concat())
}

/// What tshark tells of HTTP.
const HTTP: &[Allowed] = &[("Chats", "GET /file HTTP/1.1", "curl"), ("Chats", "HTTP/1.1 200 OK", "nginx")];

/// RFC 5508 §4: errors of routers outside reach the inside host that they concern, with what it has sent in them.
#[test]
fn errors_come_in_through_the_translation() -> Outcome {
    let mut router = router("errors_come_in_through_the_translation")?;
    // One more network, behind the host outside and a narrower link.
    let far = Namespace::new()?;
    let outside = &router.sides[OUTSIDE];
    outside.run("ip link add far0 type veth peer name near0")?;
    outside.run(&format!("ip link set near0 netns {}", far.path()))?;
    outside.run("ip address add 10.3.0.1/24 dev far0")?;
    outside.run("ip link set far0 mtu 1300 up")?;
    outside.enter(|| Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))?;
    far.run("ip address add 10.3.0.2/24 dev near0")?;
    far.run("ip link set near0 mtu 1300 up")?;
    far.run("ip route add default via 10.3.0.1")?;
    far.enter(answer_every_traceroute)?;
    let interface = router.interface(OUTSIDE)?;
    let gateway = address(LINUX[OUTSIDE][0])?;
    router.stack().set_route(Route::via(interface, "0.0.0.0/0".parse()?, gateway))?;
    router.run_with(|sides| {
        let inside = &sides[INSIDE];
        // Fragmentation needed, from the router before the narrower link.
        let report = inside.run("tracepath -4 -n 10.3.0.2")?;
        assert!(report.contains("pmtu 1300") && report.contains("Resume: pmtu 1300 hops 3 back 3"), "{report}");
        // Time exceeded on the way, port unreachable and the like at its end.
        for mode in ["-U", "-I", "-T"] {
            let report = inside.run(&format!("traceroute -4 -n -q 1 -w 5 {mode} 10.3.0.2"))?;
            let hops: Vec<_> = report.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
            assert_eq!(hops, ["10.1.0.1", "10.2.0.2", "10.3.0.2"], "{report}");
        }
        // Host unreachable, from the router that has asked for it in vain.
        let report = inside.enter(|| output("ping -n -c 1 -W 10 10.3.0.99"))?;
        let report = String::from_utf8_lossy(&report.stdout).into_owned();
        assert!(report.contains("From 10.2.0.2 icmp_seq=1 Destination Host Unreachable"), "{report}");
        Ok(())
    })?;
    router.finish(&[NORMAL, TRACES].concat())
}
