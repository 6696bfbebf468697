//! DHCP between the stack and other people's servers and clients.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ethertab::services::{
    DhcpClientConfig, DhcpClientState, DhcpConfig, DhcpCounters, DhcpServer, LeaseEvent, LeaseState, Text,
};
use ethertab::storage::Storage;
use ethertab::wire::MacAddr;
use ethertab::{Config, Endpoint, InterfaceConfig, Limits, Pool, Stack, UdpMeta};
use ethertab_native::{Driver, Tap, TapConfig};
use ethertab_sim::CaptureConfig;

use crate::Outcome;
use crate::judge;
use crate::namespace::{in_namespace, run};

pub(crate) const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// All that a test does is done by then.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A program that runs beside a test, and is killed with it.
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn start(line: &str) -> Outcome<Server> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().ok_or("no program")?);
        command.args(words).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Server(command.spawn()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An empty folder for a test's files.
pub(crate) fn folder(name: &str) -> Outcome<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A stack without addresses on a TAP device, and the device's name.
pub(crate) fn driver() -> Outcome<(Driver<Tap>, String)> {
    let tap = Tap::open(&TapConfig::default())?;
    let device = tap.name()?;
    let limits = Limits::default();
    let stack = Stack::new(Config::new([1, 0]), limits);
    let pool = Pool::new(limits.pool_blocks as usize);
    let mut driver = Driver::new(stack, pool, InterfaceConfig::ethernet(MAC), tap)?;
    driver.start_capture(CaptureConfig::default());
    Ok((driver, device))
}

/// Turns until `done` holds.
fn run_until(driver: &mut Driver<Tap>, what: &str, done: impl Fn(&Driver<Tap>) -> bool) -> Outcome {
    let begun = Instant::now();
    while !done(driver) {
        let left = LIMIT.checked_sub(begun.elapsed()).ok_or_else(|| format!("{what} took too long"))?;
        driver.turn(Some(left))?;
        while driver.stack_mut().poll_event().is_some() {}
    }
    Ok(())
}

fn state_is(wanted: DhcpClientState) -> impl Fn(&Driver<Tap>) -> bool {
    move |driver| driver.dhcp().is_some_and(|client| client.state() == wanted)
}

fn start_client(driver: &mut Driver<Tap>, seed: u64) -> Outcome {
    let mut config = DhcpClientConfig::new(MAC, [seed, 0]);
    config.hostname = Text::new("guest").ok_or("too long")?;
    Ok(driver.start_dhcp(config)?)
}

#[test]
fn dnsmasq_gives_us_an_address_with_routes_and_names() -> Outcome {
    in_namespace(|| {
        let name = "dnsmasq_gives_us_an_address_with_routes_and_names";
        let (mut driver, device) = driver()?;
        run(&format!("ip address add 10.9.0.1/24 dev {device}"))?;
        let folder = folder(name)?;
        let leases = folder.join("leases");
        let line = format!(
            "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --port=0 --interface={device} --bind-interfaces \
             --dhcp-range=10.9.0.50,10.9.0.60,255.255.255.0,2m --dhcp-rapid-commit --dhcp-authoritative \
             --dhcp-option=3,10.9.0.1 --dhcp-option=6,10.9.0.1 --dhcp-option=15,lab.test --dhcp-option=42,10.9.0.7 \
             --dhcp-option=121,0.0.0.0/0,10.9.0.1,172.16.0.0/12,10.9.0.4 --dhcp-leasefile={} --pid-file={}",
            leases.display(),
            folder.join("pid").display()
        );
        let server = Server::start(&line)?;
        start_client(&mut driver, 1)?;
        run_until(&mut driver, "a lease", state_is(DhcpClientState::Bound))?;
        let lease = *driver.dhcp().and_then(|client| client.lease()).ok_or("no lease")?;
        assert!((50..=60).contains(&lease.address.octets()[3]) && lease.prefix_len == 24, "{lease:?}");
        assert_eq!(lease.dns_servers.first(), Some("10.9.0.1".parse()?));
        assert_eq!(lease.ntp_servers.first(), Some("10.9.0.7".parse()?));
        assert_eq!(lease.domain.as_str(), "lab.test");
        assert_eq!(lease.hostname.as_str(), "guest");
        let via = driver.stack().routes().filter_map(|route| Some((route.destination, route.gateway?)));
        let mut routes: Vec<String> =
            via.map(|(destination, gateway)| format!("{destination} via {gateway}")).collect();
        routes.sort();
        assert_eq!(routes, ["0.0.0.0/0 via 10.9.0.1", "172.16.0.0/12 via 10.9.0.4"]);
        assert!(fs::read_to_string(&leases)?.contains(" guest ff:00:00:00:02:00:03:00:01:02:00:00:00:00:02"));

        driver.release_dhcp();
        run_until(&mut driver, "the release", |driver| {
            driver.stack().addresses().all(|address| address.prefix.address.is_ipv6())
        })?;
        let begun = Instant::now();
        while !fs::read_to_string(&leases)?.is_empty() {
            assert!(begun.elapsed() < LIMIT, "dnsmasq keeps the lease");
            driver.turn(Some(Duration::from_millis(1)))?;
        }
        assert_eq!(driver.stack().routes().filter(|route| route.destination.address.is_ipv4()).count(), 0);
        drop(server);
        let capture = driver.take_capture().ok_or("no capture")?;
        judge::check(name, &capture, &[])
    })
}

/// RFC 5227 §2.1.1 and RFC 2131 §3.1, step 5: Linux has the address that dnsmasq would give us.
#[test]
fn an_address_that_linux_has_is_declined() -> Outcome {
    in_namespace(|| {
        let name = "an_address_that_linux_has_is_declined";
        let (mut driver, device) = driver()?;
        run(&format!("ip address add 10.9.0.1/24 dev {device}"))?;
        run("ip address add 10.9.0.50/32 dev lo")?;
        let folder = folder(name)?;
        let _server = Server::start(&format!(
            "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --port=0 --interface={device} --bind-interfaces \
             --dhcp-range=10.9.0.50,10.9.0.60,255.255.255.0,2m --no-ping --dhcp-host={MAC},10.9.0.50 \
             --dhcp-leasefile={} --pid-file={}",
            folder.join("leases").display(),
            folder.join("pid").display()
        ))?;
        start_client(&mut driver, 2)?;
        run_until(&mut driver, "another address", state_is(DhcpClientState::Bound))?;
        let client = driver.dhcp().ok_or("no client")?;
        assert_eq!(client.counters().conflicts, 1);
        let address = client.lease().ok_or("no lease")?.address;
        assert_ne!(address.octets()[3], 50);
        let assigned = driver.stack().addresses().filter(|entry| entry.prefix.address.is_ipv4());
        assert!(assigned.map(|entry| entry.prefix.address).eq([address]));
        let capture = driver.take_capture().ok_or("no capture")?;
        judge::check(name, &capture, &[])
    })
}

/// Serves DHCP at 10.9.0.2 while `client` runs, which takes the name of the device and a folder for its files, and until so many
/// events are `expected`.
fn serve(
    name: &str,
    mut config: DhcpConfig,
    expected: usize,
    client: impl FnOnce(&str, &Path) -> Outcome + Send,
) -> Outcome<(Vec<LeaseEvent>, DhcpCounters)> {
    let (mut driver, device) = driver()?;
    let folder = folder(name)?;
    driver.add_address("10.9.0.2/24".parse()?)?;
    config.domain = Text::new("lab.test").ok_or("too long")?;
    let mut server = DhcpServer::new(config, Storage::with_capacity(16)).map_err(|error| format!("{error:?}"))?;
    let socket = driver.stack_mut().bind_udp(Endpoint::any(67))?;
    let waker = driver.waker();
    let mut events = Vec::new();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let outcome = client(&device, &folder);
            waker.wake();
            outcome
        });
        let (mut message, mut reply) = ([0; 1_472], [0; 1_472]);
        let begun = Instant::now();
        // What the client has sent last may still have to wait for ARP.
        while !client.is_finished() || events.len() < expected {
            if begun.elapsed() > LIMIT {
                return Err(format!("{name}: only {events:?}").into());
            }
            driver.turn(Some(Duration::from_millis(100)))?;
            let (now, interface) = (driver.now(), driver.interface());
            let (stack, pool) = driver.stack_and_pool();
            while stack.poll_event().is_some() {}
            while let Some((len, _)) = stack.udp_recv(pool, socket, &mut message) {
                let Some(answer) = server.handle(now, &message[..len], &mut reply) else { continue };
                let mut meta = UdpMeta::to(answer.destination.into());
                meta.interface = Some(interface);
                meta.link = answer.link_destination;
                stack.udp_send(pool, now, socket, &meta, &reply[..answer.len])?;
            }
            while let Some(event) = server.poll_event() {
                events.push(event);
            }
        }
        client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let bound = server.leases().iter().filter(|lease| lease.state(driver.now()) == LeaseState::Bound).count();
    assert!(bound <= 1, "one client has one address");
    let capture = driver.take_capture().ok_or("no capture")?;
    judge::check(name, &capture, &[])?;
    Ok((events, *server.counters()))
}

fn pool() -> Outcome<DhcpConfig> {
    Ok(DhcpConfig::new("10.9.0.2".parse()?, 24, "10.9.0.20".parse()?..="10.9.0.29".parse()?))
}

/// A program that a client calls when it has something to configure: writes its environment to a file, and gives the device the
/// address, from which a client releases it.
fn script(folder: &Path) -> Outcome<(PathBuf, PathBuf)> {
    let (script, environment) = (folder.join("script"), folder.join("environment"));
    let lines = [
        "#!/bin/sh".to_owned(),
        format!("set >> {}", environment.display()),
        "ip=${ip:-$new_ip_address}".to_owned(),
        "if [ -n \"$ip\" ]; then ip link set $interface up; ip address replace $ip/24 dev $interface; fi".to_owned(),
    ];
    fs::write(&script, lines.join("\n"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok((script, environment))
}

#[test]
fn busyboxs_udhcpc_takes_our_address() -> Outcome {
    in_namespace(|| {
        let (events, _) = serve("busyboxs_udhcpc_takes_our_address", pool()?, 1, |device, folder| {
            let (script, environment) = script(folder)?;
            run(&format!("udhcpc -f -n -q -i {device} -s {}", script.display()))?;
            let environment = fs::read_to_string(environment)?;
            for line in ["ip='10.9.0.20'", "router='10.9.0.2'", "dns='10.9.0.2'", "domain='lab.test'", "mask='24'"] {
                assert!(environment.contains(line), "{line} in {environment}");
            }
            Ok(())
        })?;
        assert_eq!(events, [LeaseEvent::Granted("10.9.0.20".parse()?)]);
        Ok(())
    })
}

#[test]
fn iscs_dhclient_takes_and_releases_our_address() -> Outcome {
    in_namespace(|| {
        let (events, counters) =
            serve("iscs_dhclient_takes_and_releases_our_address", pool()?, 2, |device, folder| {
                let (script, environment) = script(folder)?;
                let files = format!(
                    "-sf {} -lf {} -pf {} -cf /dev/null",
                    script.display(),
                    folder.join("leases").display(),
                    folder.join("pid").display()
                );
                run(&format!("dhclient -4 -1 {files} {device}"))?;
                let environment = fs::read_to_string(environment)?;
                for line in ["new_ip_address='10.9.0.20'", "new_routers='10.9.0.2'", "new_domain_name='lab.test'"] {
                    assert!(environment.contains(line), "{line} in {environment}");
                }
                run(&format!("dhclient -4 -r {files} {device}"))?;
                Ok(())
            })?;
        let address = "10.9.0.20".parse()?;
        assert_eq!(events, [LeaseEvent::Granted(address), LeaseEvent::Released(address)]);
        assert_eq!((counters.offers, counters.naks, counters.malformed), (1, 0, 0));
        Ok(())
    })
}

/// It probes the address by ARP before it takes it (RFC 5227). Without its script, which would write the machine's `resolv.conf`:
/// files are not in the namespace.
#[test]
fn dhcpcd_takes_our_address() -> Outcome {
    in_namespace(|| {
        let (events, _) = serve("dhcpcd_takes_our_address", pool()?, 1, |device, _| {
            run(&format!("dhcpcd -4 -1 -B -f /dev/null --script /bin/true --waitip=4 {device}"))?;
            let addresses = run(&format!("ip -4 address show dev {device}"))?;
            assert!(addresses.contains("inet 10.9.0.20/24 brd 10.9.0.255"), "{addresses}");
            assert!(run("ip route")?.contains("default via 10.9.0.2"));
            Ok(())
        })?;
        assert_eq!(events, [LeaseEvent::Granted("10.9.0.20".parse()?)]);
        Ok(())
    })
}
