//! DHCPv6 between the stack and other people's servers and clients.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ethertab::services::dhcpv6_client::{Dhcpv6ClientConfig, Dhcpv6ClientState};
use ethertab::services::dhcpv6_server::{Dhcpv6Config, Dhcpv6Counters, Dhcpv6LeaseState, Dhcpv6Server};
use ethertab::storage::Storage;
use ethertab::wire::dhcpv6::{SERVER_PORT, SERVERS};
use ethertab::wire::dns::Name;
use ethertab::{
    AddressOrigin, AddressState, Autoconfiguration, Config, Endpoint, InterfaceConfig, Limits, Pool, Stack,
};
use ethertab_native::{Dhcpv6Start, Driver, Tap, TapConfig};
use ethertab_sim::CaptureConfig;

use crate::Outcome;
use crate::dhcp::{LIMIT, MAC, Server, folder};
use crate::judge;
use crate::namespace::{in_namespace, run};

/// A stack on a TAP device, which configures itself if it is to, and the device's name.
fn driver(configures_itself: bool) -> Outcome<(Driver<Tap>, String)> {
    let tap = Tap::open(&TapConfig::default())?;
    let device = tap.name()?;
    let limits = Limits::default();
    let mut interface = InterfaceConfig::ethernet(MAC);
    interface.autoconfiguration = configures_itself.then(Autoconfiguration::default);
    let stack = Stack::new(Config::new([1, 0]), limits);
    let mut driver = Driver::new(stack, Pool::new(limits.pool_blocks as usize), interface, tap)?;
    driver.start_capture(CaptureConfig::default());
    Ok((driver, device))
}

/// Turns until `done` holds.
fn run_until(driver: &mut Driver<Tap>, what: &str, done: impl Fn(&Driver<Tap>) -> bool) -> Outcome {
    let begun = Instant::now();
    while !done(driver) {
        let left = LIMIT.checked_sub(begun.elapsed()).ok_or_else(|| format!("{what} took too long"))?;
        driver.turn(Some(left.min(Duration::from_millis(100))))?;
        while driver.stack_mut().poll_event().is_some() {}
    }
    Ok(())
}

fn state_is(wanted: Dhcpv6ClientState) -> impl Fn(&Driver<Tap>) -> bool {
    move |driver| driver.dhcpv6().is_some_and(|client| client.state() == wanted)
}

/// The address that DHCPv6 has given the stack, once it is certain to be free.
fn granted(driver: &Driver<Tap>) -> Option<Ipv6Addr> {
    let own = driver.stack().addresses().find(|entry| entry.origin == AddressOrigin::Dhcp)?;
    match own.prefix.address {
        IpAddr::V6(address) if own.state == AddressState::Preferred => Some(address),
        _ => None,
    }
}

fn judged(name: &str, driver: &mut Driver<Tap>) -> Outcome {
    let capture = driver.take_capture().ok_or("no capture")?;
    judge::check(name, &capture, &[])
}

/// dnsmasq at fd00:9::1 with a range, and what else it is told.
fn dnsmasq(name: &str, device: &str, range: &str, more: &str) -> Outcome<Server> {
    let folder = folder(name)?;
    Server::start(&format!(
        "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --port=0 --interface={device} --bind-interfaces \
         --dhcp-range={range} --dhcp-option=option6:dns-server,[fd00:9::1] --dhcp-option=option6:domain-search,lab.test {more} \
         --dhcp-leasefile={} --pid-file={}",
        folder.join("leases").display(),
        folder.join("pid").display()
    ))
}

#[test]
fn dnsmasq_gives_us_an_ipv6_address() -> Outcome {
    in_namespace(|| {
        let name = "dnsmasq_gives_us_an_ipv6_address";
        let (mut driver, device) = driver(false)?;
        run(&format!("ip address add fd00:9::1/64 dev {device} nodad"))?;
        let _server = dnsmasq(name, &device, "fd00:9::100,fd00:9::1ff,64,2m", "")?;
        driver.start_dhcpv6(Dhcpv6ClientConfig::new(MAC, [1, 0]), Dhcpv6Start::Now)?;
        run_until(&mut driver, "an address", |driver| granted(driver).is_some())?;
        let address = granted(&driver).ok_or("no address")?;
        assert!("fd00:9::/64".parse::<ethertab::Prefix>()?.contains(address.into()), "{address}");
        let client = driver.dhcpv6().ok_or("no client")?;
        assert_eq!(client.state(), Dhcpv6ClientState::Bound);
        assert_eq!(client.parameters().dns_servers.first(), Some("fd00:9::1".parse()?));
        assert_eq!(client.parameters().search.first().map(|name| name.to_string()), Some("lab.test".into()));
        assert_eq!(client.counters().malformed, 0);
        driver.release_dhcpv6();
        run_until(&mut driver, "the release", state_is(Dhcpv6ClientState::Stopped))?;
        assert_eq!(granted(&driver), None);
        judged(name, &mut driver)
    })
}

/// RFC 9915 §18.2.8: Linux has the address that dnsmasq would give us.
#[test]
fn an_ipv6_address_that_linux_has_is_declined() -> Outcome {
    in_namespace(|| {
        let name = "an_ipv6_address_that_linux_has_is_declined";
        let (mut driver, device) = driver(false)?;
        run(&format!("ip address add fd00:9::1/64 dev {device} nodad"))?;
        run(&format!("ip address add fd00:9::50/64 dev {device} nodad"))?;
        // The DUID is made of the station (RFC 9915 §11.4).
        let host = "--dhcp-host=id:00:03:00:01:02:00:00:00:00:02,[fd00:9::50]";
        let _server = dnsmasq(name, &device, "fd00:9::100,fd00:9::1ff,64,2m", host)?;
        driver.start_dhcpv6(Dhcpv6ClientConfig::new(MAC, [2, 0]), Dhcpv6Start::Now)?;
        run_until(&mut driver, "another address", |driver| granted(driver).is_some())?;
        assert_ne!(granted(&driver), Some("fd00:9::50".parse()?));
        assert_eq!(driver.dhcpv6().ok_or("no client")?.counters().conflicts, 1);
        judged(name, &mut driver)
    })
}

/// RFC 4861 §4.2: dnsmasq's advertisements have M set, or O alone.
#[test]
fn routers_say_what_dhcpv6_is_for() -> Outcome {
    for (name, range, is_managed) in [
        ("routers_say_that_addresses_come_from_dhcpv6", "fd00:9::100,fd00:9::1ff,64,2m", true),
        ("routers_say_that_parameters_come_from_dhcpv6", "fd00:9::,ra-stateless,64,2m", false),
    ] {
        in_namespace(|| {
            let (mut driver, device) = driver(true)?;
            run(&format!("ip address add fd00:9::1/64 dev {device} nodad"))?;
            driver.start_dhcpv6(Dhcpv6ClientConfig::new(MAC, [3, 0]), Dhcpv6Start::AsAdvertised)?;
            assert!(driver.dhcpv6().is_none(), "no router has said anything");
            let _server = dnsmasq(name, &device, range, "--enable-ra")?;
            if is_managed {
                run_until(&mut driver, "an address", |driver| granted(driver).is_some())?;
            } else {
                run_until(&mut driver, "the parameters", state_is(Dhcpv6ClientState::Informed))?;
                assert_eq!(granted(&driver), None);
            }
            let client = driver.dhcpv6().ok_or("no client")?;
            assert_eq!(client.parameters().dns_servers.first(), Some("fd00:9::1".parse()?));
            assert_eq!(client.lease().is_some(), is_managed);
            judged(name, &mut driver)
        })?;
    }
    Ok(())
}

/// Serves DHCPv6 at fd00:9::2 while `client` runs, and until `done` holds for the server.
fn serve(
    name: &str,
    with_pool: bool,
    client: impl FnOnce(&str, &Path) -> Outcome + Send,
    done: impl Fn(&Dhcpv6Server<'static>, ethertab::time::Instant) -> bool,
) -> Outcome<Dhcpv6Counters> {
    let (mut driver, device) = driver(false)?;
    let folder = folder(name)?;
    driver.add_address("fd00:9::2/64".parse()?)?;
    let (now, interface) = (driver.now(), driver.interface());
    let mut config = Dhcpv6Config::new(MAC, [4, 0], "fd00:9::/64".parse()?);
    config.pool = if with_pool { Some(("fd00:9::100".parse()?, "fd00:9::1ff".parse()?)) } else { None };
    config.dns_servers.push("fd00:9::2".parse()?);
    config.search.push(Name::from_text("lab.test").map_err(|error| format!("{error:?}"))?);
    let mut server = Dhcpv6Server::new(config, Storage::with_capacity(16));
    // RFC 9915 §14: servers listen to this group on each link.
    driver.stack_mut().join_group(now, interface, SERVERS.into()).map_err(|error| format!("{error:?}"))?;
    let socket = driver.stack_mut().bind_udp(Endpoint::any(SERVER_PORT))?;
    let waker = driver.waker();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let outcome = client(&device, &folder);
            waker.wake();
            outcome
        });
        let (mut message, mut answer) = ([0; 1_452], [0; 1_232]);
        let begun = Instant::now();
        while !client.is_finished() || !done(&server, driver.now()) {
            if begun.elapsed() > LIMIT {
                return Err(format!("{name}: {:?}", server.counters()).into());
            }
            driver.turn(Some(Duration::from_millis(100)))?;
            let now = driver.now();
            let (stack, pool) = driver.stack_and_pool();
            while stack.poll_event().is_some() {}
            while let Some((len, mut meta)) = stack.udp_recv(pool, socket, &mut message) {
                let Some(IpAddr::V6(to)) = meta.local else { continue };
                let Some(len) = server.handle(now, to, &message[..len], &mut answer) else { continue };
                meta.local = None;
                stack.udp_send(pool, now, socket, &meta, &answer[..len])?;
            }
        }
        client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    judged(name, &mut driver)?;
    Ok(*server.counters())
}

fn has_bound(server: &Dhcpv6Server<'static>, now: ethertab::time::Instant) -> bool {
    server.leases().iter().filter(|lease| lease.state(now) == Dhcpv6LeaseState::Bound).count() == 1
}

/// Waits until Linux has made sure that its link-local address is free, from which clients ask.
fn wait_for_link_local(device: &str) -> Outcome {
    let begun = Instant::now();
    while run(&format!("ip -6 address show dev {device} tentative"))?.contains("fe80") {
        if begun.elapsed() > LIMIT {
            return Err("the link-local address stays tentative".into());
        }
    }
    Ok(())
}

/// A script that writes the environment to a file.
fn script(folder: &Path) -> Outcome<String> {
    let (script, environment) = (folder.join("script"), folder.join("environment"));
    fs::write(&script, format!("#!/bin/sh\nset >> {}\n", environment.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script.display().to_string())
}

fn told(folder: &Path, lines: &[&str]) -> Outcome {
    let environment = fs::read_to_string(folder.join("environment"))?;
    for line in lines {
        assert!(environment.contains(line), "{line} in {environment}");
    }
    Ok(())
}

#[test]
fn iscs_dhclient_takes_and_releases_our_ipv6_address() -> Outcome {
    in_namespace(|| {
        let name = "iscs_dhclient_takes_and_releases_our_ipv6_address";
        let client = |device: &str, folder: &Path| {
            wait_for_link_local(device)?;
            let files = format!(
                "-sf {} -lf {} -pf {} -cf /dev/null",
                script(folder)?,
                folder.join("leases").display(),
                folder.join("pid").display()
            );
            run(&format!("dhclient -6 -1 {files} {device}"))?;
            told(
                folder,
                &[
                    "new_ip6_address='fd00:9::1",
                    "new_dhcp6_name_servers='fd00:9::2'",
                    "new_dhcp6_domain_search='lab.test",
                ],
            )?;
            run(&format!("dhclient -6 -r {files} {device}"))?;
            Ok(())
        };
        let released = |server: &Dhcpv6Server<'static>, _| server.counters().releases == 1;
        let counters = serve(name, true, client, released)?;
        assert_eq!((counters.malformed, counters.pool_exhausted), (0, 0));
        Ok(())
    })
}

#[test]
fn iscs_dhclient_asks_us_for_parameters_only() -> Outcome {
    in_namespace(|| {
        let name = "iscs_dhclient_asks_us_for_parameters_only";
        let client = |device: &str, folder: &Path| {
            wait_for_link_local(device)?;
            let files = format!("-sf {} -pf {} -cf /dev/null", script(folder)?, folder.join("pid").display());
            run(&format!("dhclient -6 -S -1 {files} {device}"))?;
            told(folder, &["new_dhcp6_name_servers='fd00:9::2'", "new_dhcp6_domain_search='lab.test"])?;
            run(&format!("dhclient -6 -x {files} {device}"))?;
            Ok(())
        };
        let counters = serve(name, false, client, |server, _| server.counters().replies >= 1)?;
        assert_eq!((counters.malformed, counters.advertisements), (0, 0));
        Ok(())
    })
}

/// Without its script, which would write the machine's `resolv.conf`: files are not in the namespace.
#[test]
fn dhcpcd_takes_our_ipv6_address() -> Outcome {
    in_namespace(|| {
        let client = |device: &str, _: &Path| {
            wait_for_link_local(device)?;
            run(&format!("dhcpcd -6 -1 -B -f /dev/null --script /bin/true --noipv6rs --ia_na --waitip=6 {device}"))?;
            let addresses = run(&format!("ip -6 address show dev {device}"))?;
            assert!(addresses.contains("inet6 fd00:9::1"), "{addresses}");
            Ok(())
        };
        let counters = serve("dhcpcd_takes_our_ipv6_address", true, client, has_bound)?;
        assert_eq!(counters.malformed, 0);
        Ok(())
    })
}
