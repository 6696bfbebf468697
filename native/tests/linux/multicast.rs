//! Groups: a Linux bridge that snoops and queries keeps what our sockets listen to, tshark reads our reports, and datagrams to groups go both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ethertab::{
    Config, DuplicateDetection, Endpoint, InterfaceConfig, Limits, Pool, SourceFilter, Stack, UdpHandle, UdpMeta,
};
use ethertab_native::{Driver, Tap, TapConfig};
use ethertab_sim::CaptureConfig;

use crate::Outcome;
use crate::dhcp::{LIMIT, MAC};
use crate::judge;
use crate::namespace::{in_namespace, run};

const GROUPS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(239, 1, 1, 1)), IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x11, 0x11))];
/// Addresses that are listened to, and one that is not.
const SOURCES: [[&str; 3]; 2] = [["10.9.0.1", "10.9.0.7", "10.9.0.8"], ["fd00:9::1", "fd00:9::7", "fd00:9::8"]];
const PORT: u16 = 5_000;

/// A stack on a port of a bridge that queries every second, and snoops what its ports listen to.
fn on_bridge() -> Outcome<(Driver<Tap>, String)> {
    let tap = Tap::open(&TapConfig::default())?;
    let device = tap.name()?;
    run("ip link add br0 type bridge mcast_snooping 1 mcast_querier 1 mcast_igmp_version 3 mcast_mld_version 2 \
         mcast_query_interval 100 mcast_query_response_interval 50 mcast_startup_query_interval 100")?;
    run(&format!("ip link set {device} master br0 up"))?;
    for address in ["10.9.0.1/24", "10.9.0.8/24", "fd00:9::1/64", "fd00:9::8/64"] {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        run(&format!("ip address add {address} dev br0{nodad}"))?;
    }
    run("ip link set br0 up")?;
    let limits = Limits::default();
    let mut interface = InterfaceConfig::ethernet(MAC);
    interface.detection = DuplicateDetection::Off;
    let stack = Stack::new(Config::new([1, 0]), limits);
    let mut driver = Driver::new(stack, Pool::new(limits.pool_blocks as usize), interface, tap)?;
    driver.add_address("10.9.0.2/24".parse()?)?;
    driver.add_address("fd00:9::2/64".parse()?)?;
    driver.start_capture(CaptureConfig::default());
    Ok((driver, device))
}

/// Turns until `done` says what is looked for.
fn run_until<T>(
    driver: &mut Driver<Tap>,
    what: &str,
    mut done: impl FnMut(&mut Driver<Tap>) -> Outcome<Option<T>>,
) -> Outcome<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = done(driver)? {
            return Ok(found);
        }
        if begun.elapsed() > LIMIT {
            return Err(format!("{what} took too long: {}", run("bridge -d mdb show dev br0")?).into());
        }
        driver.turn(Some(Duration::from_millis(50)))?;
        while driver.stack_mut().poll_event().is_some() {}
    }
}

fn listen(driver: &mut Driver<Tap>, socket: UdpHandle, group: IpAddr, filter: &SourceFilter) -> Outcome {
    let (now, interface) = (driver.now(), driver.interface());
    Ok(driver.stack_mut().udp_set_filter(now, socket, interface, group, filter)?)
}

/// What the bridge knows of a group on our port: the line without the sources' own entries.
fn known(device: &str, group: IpAddr) -> Outcome<Option<String>> {
    let table = run("bridge -d mdb show dev br0")?;
    let is_it =
        |line: &&str| line.contains(device) && line.contains(&format!("grp {group} ")) && !line.contains(" src ");
    Ok(table.lines().find(is_it).map(str::to_owned))
}

/// N8: the bridge keeps the sources that our sockets listen to, and forgets them when the last is closed.
#[test]
fn n8_a_bridge_learns_which_sources_we_listen_to() -> Outcome {
    in_namespace(|| {
        let name = "n8_a_bridge_learns_which_sources_we_listen_to";
        let (mut driver, device) = on_bridge()?;
        for (group, sources) in GROUPS.into_iter().zip(SOURCES) {
            let [first, second, third] = sources;
            let of =
                |sources: &[&str]| -> Outcome<Vec<IpAddr>> { sources.iter().map(|text| Ok(text.parse()?)).collect() };
            let socket = driver.stack_mut().bind_udp(Endpoint::any(PORT))?;
            let expect = |driver: &mut Driver<Tap>, filter: SourceFilter, mode: &str, listed: &[&str]| {
                listen(driver, socket, group, &filter)?;
                run_until(driver, &format!("{mode} {listed:?}"), |_| {
                    let line = known(&device, group)?.unwrap_or_default();
                    let lists =
                        sources.iter().all(|source| line.contains(&format!("{source}/")) == listed.contains(source));
                    Ok((line.contains(&format!("filter_mode {mode}")) && lists).then_some(()))
                })
            };
            expect(&mut driver, SourceFilter::only(&of(&[first, second])?)?, "include", &[first, second])?;
            expect(&mut driver, SourceFilter::all_but(&of(&[third])?)?, "exclude", &[third])?;
            expect(&mut driver, SourceFilter::ALL, "exclude", &[])?;
            let (stack, pool) = driver.stack_and_pool();
            stack.udp_close(pool, socket);
            run_until(&mut driver, "the end", |_| Ok(known(&device, group)?.is_none().then_some(())))?;
        }
        let capture = driver.take_capture().ok_or("no capture")?;
        let file = judge::save(name, &capture)?;
        for (filter, fields) in [
            ("igmp.type == 0x22 && eth.src == 02:00:00:00:00:02", "-e igmp.record_type -e igmp.maddr -e igmp.saddr"),
            (
                "icmpv6.type == 143 && eth.src == 02:00:00:00:00:02",
                "-e icmpv6.mldr.mar.record_type -e icmpv6.mldr.mar.multicast_address -e icmpv6.mldr.mar.source_address",
            ),
        ] {
            let file = file.display();
            let filter = filter.replace(' ', "");
            let told = run(&format!("tshark -r {file} -Y {filter} -T fields {fields}"))?;
            // ALLOW, TO_EX, and TO_IN, as often as it takes.
            for kind in ["5\t", "4\t", "3\t"] {
                assert!(told.lines().any(|line| line.starts_with(kind)), "{kind} in {told}");
            }
        }
        judge::check(name, &capture, &[])
    })
}

/// What Linux sends to a group reaches the sockets that listen to its address, and what we send reaches Linux's members.
#[test]
fn datagrams_to_groups_go_both_ways() -> Outcome {
    in_namespace(|| {
        let name = "datagrams_to_groups_go_both_ways";
        let (mut driver, _) = on_bridge()?;
        let shown = run("ip -o link show br0")?;
        let index = shown.split(':').next().ok_or("no index")?.parse()?;
        for (group, sources) in GROUPS.into_iter().zip(SOURCES) {
            let [wanted, _, unwanted] = sources;
            let socket = driver.stack_mut().bind_udp(Endpoint::any(PORT))?;
            listen(&mut driver, socket, group, &SourceFilter::only(&[wanted.parse()?])?)?;
            let any: IpAddr = if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let member = UdpSocket::bind(SocketAddr::new(any, PORT))?;
            match group {
                IpAddr::V4(group) => member.join_multicast_v4(&group, &Ipv4Addr::new(10, 9, 0, 1))?,
                IpAddr::V6(group) => member.join_multicast_v6(&group, index)?,
            }
            member.set_nonblocking(true)?;
            // The bridge sends to our port once it knows that we listen; until then datagrams are lost.
            let [unwanted, wanted] = [unwanted, wanted]
                .map(|source| -> Outcome<UdpSocket> { Ok(UdpSocket::bind(SocketAddr::new(source.parse()?, 0))?) });
            let (unwanted, wanted) = (unwanted?, wanted?);
            let mut out = [0; 100];
            let from = run_until(&mut driver, "a datagram of Linux's", |driver| {
                for sender in [&unwanted, &wanted] {
                    match group {
                        IpAddr::V4(_) => sender.send_to(b"to all", SocketAddr::new(group, PORT))?,
                        IpAddr::V6(group) => {
                            let to = std::net::SocketAddrV6::new(group, PORT, 0, index);
                            sender.send_to(b"to all", to)?
                        }
                    };
                }
                let (stack, pool) = driver.stack_and_pool();
                Ok(stack.udp_recv(pool, socket, &mut out).map(|(_, meta)| meta.remote))
            })?;
            assert_eq!(from, wanted.local_addr()?, "only from whom we listen to");
            let mut meta = UdpMeta::to(SocketAddr::new(group, PORT));
            meta.interface = Some(driver.interface());
            let now = driver.now();
            let (stack, pool) = driver.stack_and_pool();
            stack.udp_send(pool, now, socket, &meta, b"from us")?;
            // RFC 6724 §5, rule 2: a group of the link is spoken to from the link-local address.
            let ours: IpAddr = if group.is_ipv4() { "10.9.0.2".parse()? } else { "fe80::ff:fe00:2".parse()? };
            run_until(&mut driver, "a datagram of ours", |_| match member.recv_from(&mut out) {
                Ok((len, from)) => Ok((from.ip() == ours && &out[..len] == b"from us").then_some(())),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error.into()),
            })?;
            let (stack, pool) = driver.stack_and_pool();
            stack.udp_close(pool, socket);
        }
        let capture = driver.take_capture().ok_or("no capture")?;
        judge::check(name, &capture, &[])
    })
}

/// N8: our querier learns what Linux listens to, in the version that Linux speaks, and that it has left.
#[test]
fn n8_our_querier_learns_what_linux_listens_to() -> Outcome {
    in_namespace(|| {
        let name = "n8_our_querier_learns_what_linux_listens_to";
        let tap = Tap::open(&TapConfig::default())?;
        let device = tap.name()?;
        run(&format!("ip address add 10.9.0.1/24 dev {device}"))?;
        run(&format!("ip address add fd00:9::1/64 dev {device} nodad"))?;
        run(&format!("ip link set {device} up"))?;
        let shown = run(&format!("ip -o link show {device}"))?;
        let index = shown.split(':').next().ok_or("no index")?.parse()?;
        let limits = Limits::default();
        let mut interface = InterfaceConfig::ethernet(MAC);
        interface.detection = DuplicateDetection::Off;
        let stack = Stack::new(Config::new([1, 0]), limits);
        let mut driver = Driver::new(stack, Pool::new(limits.pool_blocks as usize), interface, tap)?;
        driver.add_address("10.9.0.2/24".parse()?)?;
        driver.add_address("fd00:9::2/64".parse()?)?;
        driver.start_capture(CaptureConfig::default());
        let (now, nic) = (driver.now(), driver.interface());
        driver.stack_mut().set_group_querier(now, nic, true)?;
        for version in [[2, 1], [3, 2]] {
            for (family, version) in ["ipv4", "ipv6"].into_iter().zip(version) {
                let setting = if family == "ipv4" { "force_igmp_version" } else { "force_mld_version" };
                let file = format!("/proc/sys/net/{family}/conf/{device}/{setting}");
                std::fs::write(file, version.to_string())?;
            }
            let member = UdpSocket::bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT))?;
            let member_v4 = UdpSocket::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT + 1))?;
            for group in GROUPS {
                match group {
                    IpAddr::V4(group) => member_v4.join_multicast_v4(&group, &Ipv4Addr::new(10, 9, 0, 1))?,
                    IpAddr::V6(group) => member.join_multicast_v6(&group, index)?,
                }
            }
            let heard = |driver: &Driver<Tap>| {
                let heard = driver.stack().group_listeners();
                heard.filter(|(_, group)| GROUPS.contains(group)).count()
            };
            run_until(&mut driver, "Linux's reports", |driver| Ok((heard(driver) == 2).then_some(())))?;
            drop((member, member_v4));
            run_until(&mut driver, "Linux's leaving", |driver| Ok((heard(driver) == 0).then_some(())))?;
        }
        let capture = driver.take_capture().ok_or("no capture")?;
        judge::check(name, &capture, &[])
    })
}
