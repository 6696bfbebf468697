//! Routers, neighbours and duplicate addresses: dnsmasq configures us, we configure Linux, and each finds out that the other has an address.

use std::fs;
use std::time::{Duration, Instant};

use ethertab::wire::{NdpOption, PrefixInformation, RouterAdvertisement};
use ethertab::{
    AddressOptions, AddressOrigin, AddressState, Autoconfiguration, Config, DuplicateDetection, InterfaceConfig,
    Limits, NeighborState, Pool, Prefix, RouteOrigin, RouterPreference, Stack,
};
use ethertab_native::{Driver, Tap, TapConfig};
use ethertab_sim::CaptureConfig;

use crate::Outcome;
use crate::dhcp::{LIMIT, MAC, Server, folder};
use crate::judge;
use crate::namespace::{in_namespace, one_ping, run};

/// A stack that configures itself on a TAP device, and the device's name.
fn driver(detection: DuplicateDetection) -> Outcome<(Driver<Tap>, String)> {
    let tap = Tap::open(&TapConfig::default())?;
    let device = tap.name()?;
    let limits = Limits::default();
    let mut interface = InterfaceConfig::ethernet(MAC);
    interface.detection = detection;
    interface.autoconfiguration = Some(Autoconfiguration::default());
    let stack = Stack::new(Config::new([1, 0]), limits);
    let mut driver = Driver::new(stack, Pool::new(limits.pool_blocks as usize), interface, tap)?;
    driver.start_capture(CaptureConfig::default());
    Ok((driver, device))
}

/// Turns until `done` holds.
fn run_until(driver: &mut Driver<Tap>, what: &str, done: impl Fn(&Driver<Tap>) -> bool) -> Outcome {
    let begun = Instant::now();
    while !done(driver) {
        if begun.elapsed() > LIMIT {
            return Err(format!("{what} took too long").into());
        }
        // What Linux says is looked at now and then.
        driver.turn(Some(Duration::from_millis(100)))?;
        while driver.stack_mut().poll_event().is_some() {}
    }
    Ok(())
}

fn has_address(driver: &Driver<Tap>, origin: AddressOrigin, state: AddressState) -> bool {
    driver.stack().addresses().any(|entry| entry.origin == origin && entry.state == state)
}

/// What `ip` says, or nothing if it says that something is wrong.
fn ip(line: &str) -> String {
    run(&format!("ip {line}")).unwrap_or_default()
}

#[test]
fn dnsmasq_configures_us() -> Outcome {
    in_namespace(|| {
        let name = "dnsmasq_configures_us";
        let (mut driver, device) = driver(DuplicateDetection::Full)?;
        run(&format!("ip link set {device} addrgenmode eui64"))?;
        run(&format!("ip address add fd00:9:8:9::1/64 dev {device} nodad"))?;
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
        let folder = folder(name)?;
        let server = Server::start(&format!(
            "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --port=0 --interface={device} --bind-interfaces \
             --enable-ra --dhcp-range=fd00:9:8:9::,ra-stateless,64,3600 --ra-param={device},mtu:1400,high,4,1800 \
             --dhcp-option=option6:dns-server,[fd00:9:8:9::53] --dhcp-option=option6:domain-search,lab.test,home.test \
             --dhcp-leasefile={} --pid-file={}",
            folder.join("leases").display(),
            folder.join("pid").display()
        ))?;
        run_until(&mut driver, "an address", |driver| {
            has_address(driver, AddressOrigin::Advertised, AddressState::Preferred)
        })?;
        let stack = driver.stack();
        let link = stack.advertised_link(driver.interface()).ok_or("no interface")?;
        assert_eq!((link.hop_limit, link.mtu, link.managed, link.other_config), (64, 1_400, false, true));
        let servers: Vec<_> = stack.advertised_dns_servers().map(|server| server.address.to_string()).collect();
        assert_eq!(servers, ["fd00:9:8:9::53"]);
        let domains: Vec<_> = stack.advertised_domains().map(|domain| domain.name().to_vec()).collect();
        assert_eq!(domains, [b"\x03lab\x04test\0".to_vec(), b"\x04home\x04test\0".to_vec()]);
        let mut routes: Vec<_> = stack
            .routes()
            .filter(|route| route.origin == RouteOrigin::Advertised)
            .map(|route| (route.destination.to_string(), route.gateway.is_some(), route.preference))
            .collect();
        routes.sort();
        let (medium, high) = (RouterPreference::Medium, RouterPreference::High);
        let expected = [("::/0", true, high), ("fd00:9:8:9::/64", false, medium)];
        assert_eq!(routes, expected.map(|(to, via, preference)| (to.to_string(), via, preference)));
        // Linux reaches it, and both know of each other.
        let addresses: Vec<Prefix> = stack
            .addresses()
            .filter(|entry| entry.origin == AddressOrigin::Advertised)
            .map(|entry| entry.prefix)
            .collect();
        let on_link =
            addresses.iter().find(|prefix| prefix.to_string().starts_with("fd00:9:8:9:")).ok_or("none")?.address;
        let pinger = std::thread::scope(|scope| {
            let pinger = scope.spawn(move || run(&one_ping(&on_link.to_string())).map_err(|error| error.to_string()));
            while !pinger.is_finished() {
                driver.turn(Some(Duration::from_millis(10))).map_err(|error| error.to_string())?;
            }
            pinger.join().map_err(|_| "the pinger panicked".to_string())?
        });
        pinger?;
        let line = ip(&format!("-6 neighbor show {on_link} dev {device}"));
        assert!(line.contains("02:00:00:00:00:02") && (line.contains("REACHABLE") || line.contains("DELAY")), "{line}");
        let known = driver.stack().neighbors().find(|(_, address, ..)| address.to_string() == "fd00:9:8:9::1");
        assert!(known.is_some_and(|(_, _, mac, state)| mac.is_some() && state != NeighborState::Failed), "{known:?}");
        drop(server);
        let capture = driver.take_capture().ok_or("no capture")?;
        judge::check(name, &capture, &[])
    })
}

/// radvd as the router: prefixes that are and are not for addresses, a route of its own with a preference, a way out of low preference, and names.
#[test]
fn radvd_configures_us() -> Outcome {
    in_namespace(|| {
        let name = "radvd_configures_us";
        let (mut driver, device) = driver(DuplicateDetection::Optimistic)?;
        run(&format!("ip link set {device} addrgenmode eui64 up"))?;
        run(&format!("ip address add fd00:9:8:9::1/64 dev {device} nodad"))?;
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
        let folder = folder(name)?;
        let config = folder.join("radvd.conf");
        let text = format!(
            "interface {device} {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultPreference low; AdvDefaultLifetime 1800; \
             AdvReachableTime 20000; AdvCurHopLimit 61; AdvLinkMTU 1400; AdvOtherConfigFlag on; \
             prefix fd00:9:8:9::/64 {{ AdvOnLink on; AdvAutonomous on; AdvValidLifetime 7200; AdvPreferredLifetime 3600; }}; \
             prefix fd00:9:8:a::/64 {{ AdvOnLink on; AdvAutonomous off; }}; \
             route fd00:b::/32 {{ AdvRoutePreference high; AdvRouteLifetime 900; }}; \
             RDNSS fd00:9:8:9::53 fd00:9:8:9::54 {{ AdvRDNSSLifetime 600; }}; DNSSL lab.test {{ AdvDNSSLLifetime 600; }}; }};\n"
        );
        fs::write(&config, text)?;
        let pid = folder.join("pid");
        let server =
            Server::start(&format!("radvd -n -u root -C {} -p {} -m stderr", config.display(), pid.display()))?;
        run_until(&mut driver, "an address", |driver| {
            has_address(driver, AddressOrigin::Advertised, AddressState::Preferred)
        })?;
        let stack = driver.stack();
        let link = stack.advertised_link(driver.interface()).ok_or("no interface")?;
        assert_eq!((link.hop_limit, link.mtu, link.managed, link.other_config), (61, 1_400, false, true));
        let made =
            stack.addresses().filter(|entry| entry.origin == AddressOrigin::Advertised).map(|entry| entry.prefix);
        let networks: Vec<_> = made.map(|prefix| prefix.network().to_string()).collect();
        assert_eq!(networks, ["fd00:9:8:9::/64"]);
        let servers: Vec<_> = stack.advertised_dns_servers().map(|server| server.address.to_string()).collect();
        assert_eq!(servers, ["fd00:9:8:9::53", "fd00:9:8:9::54"]);
        let domains: Vec<_> = stack.advertised_domains().map(|domain| domain.name().to_vec()).collect();
        assert_eq!(domains, [b"\x03lab\x04test\0".to_vec()]);
        let advertised = |driver: &Driver<Tap>| {
            let routes = driver.stack().routes().filter(|route| route.origin == RouteOrigin::Advertised);
            let mut routes: Vec<_> = routes
                .map(|route| (route.destination.to_string(), route.gateway.is_some(), route.preference))
                .collect();
            routes.sort();
            routes
        };
        let (low, medium, high) = (RouterPreference::Low, RouterPreference::Medium, RouterPreference::High);
        let expected = [
            ("::/0", true, low),
            ("fd00:9:8:9::/64", false, medium),
            ("fd00:9:8:a::/64", false, medium),
            ("fd00:b::/32", true, high),
        ];
        assert_eq!(advertised(&driver), expected.map(|(to, via, preference)| (to.to_string(), via, preference)));
        // A router that ends says so (RFC 4861 §6.2.5): its ways out and names go, the prefixes stay.
        run(&format!("kill -TERM {}", fs::read_to_string(&pid)?.trim()))?;
        run_until(&mut driver, "the router's end", |driver| advertised(driver).iter().all(|(_, via, _)| !via))?;
        drop(server);
        let capture = driver.take_capture().ok_or("no capture")?;
        judge::check(name, &capture, &[])
    })
}

#[test]
fn we_configure_linux() -> Outcome {
    in_namespace(|| {
        let name = "we_configure_linux";
        let (mut driver, device) = driver(DuplicateDetection::Optimistic)?;
        fs::write(format!("/proc/sys/net/ipv6/conf/{device}/accept_ra"), "2")?;
        fs::write(format!("/proc/sys/net/ipv6/conf/{device}/accept_ra_rt_info_max_plen"), "128")?;
        run(&format!("ip link set {device} up"))?;
        driver.add_address("fd00:9:8:9::2/64".parse()?)?;
        let prefix = PrefixInformation {
            prefix_len: 64,
            on_link: true,
            autonomous: true,
            valid_lifetime: 7_200,
            preferred_lifetime: 3_600,
            prefix: "fd00:9:8:9::".parse()?,
        };
        let advertisement = RouterAdvertisement {
            current_hop_limit: 63,
            router_lifetime: 1_800,
            preference: RouterPreference::High,
            ..RouterAdvertisement::default()
        };
        let server = "fd00:9:8:9::2".parse::<std::net::Ipv6Addr>()?.octets();
        let options = [
            NdpOption::PrefixInformation(prefix),
            NdpOption::Mtu(1_400),
            NdpOption::RecursiveDnsServers { lifetime: 600, servers: &[server] },
            NdpOption::DnsSearchList { lifetime: 600, domains: b"\x03lab\x04test\0\0\0\0\0\0\0" },
        ];
        let (now, interface) = (driver.now(), driver.interface());
        let (stack, pool) = driver.stack_and_pool();
        stack.advertise_router(
            pool,
            now,
            interface,
            &advertisement,
            &options,
            ethertab::time::Duration::from_secs(600),
        )?;
        let addresses = format!("-6 address show dev {device}");
        let is_made = |text: &str| {
            text.lines()
                .any(|line| line.contains("fd00:9:8:9:") && line.contains("dynamic") && !line.contains("tentative"))
        };
        run_until(&mut driver, "Linux's address", |_| is_made(&ip(&addresses)))?;
        let shown = format!("-6 route show dev {device}");
        run_until(&mut driver, "Linux's route", |_| ip(&shown).contains("default"))?;
        let routes = ip(&shown);
        assert!(routes.contains("default via fe80::ff:fe00:2 proto ra") && routes.contains("hoplimit 63"), "{routes}");
        assert!(routes.contains("pref high"), "{routes}");
        assert!(routes.contains("fd00:9:8:9::/64 proto kernel"), "{routes}");
        assert_eq!(fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{device}/mtu"))?.trim(), "1400");
        let line = ip(&format!("-6 neighbor show fe80::ff:fe00:2 dev {device}"));
        assert!(line.contains("02:00:00:00:00:02") && line.contains("router"), "{line}");
        let now = driver.now();
        let (stack, pool) = driver.stack_and_pool();
        stack.stop_advertising(pool, now, interface);
        run_until(&mut driver, "the end of Linux's route", |_| {
            !ip(&format!("-6 route show dev {device}")).contains("default")
        })?;
        let capture = driver.take_capture().ok_or("no capture")?;
        judge::check(name, &capture, &[])
    })
}

/// N1: whoever comes second learns that the address is taken, in both families where Linux asks.
#[test]
fn n1_duplicate_addresses_are_found_on_both_sides() -> Outcome {
    in_namespace(|| {
        let name = "n1_duplicate_addresses_are_found_on_both_sides";
        let (mut driver, device) = driver(DuplicateDetection::Optimistic)?;
        run(&format!("ip address add 10.9.0.1/24 dev {device}"))?;
        run(&format!("ip address add fd00:9:8:9::1/64 dev {device} nodad"))?;
        let (now, interface) = (driver.now(), driver.interface());
        let mut options = AddressOptions::default();
        options.detection = Some(DuplicateDetection::Full);
        for taken in ["10.9.0.1/24", "fd00:9:8:9::1/64"] {
            driver.stack_mut().add_address_with(now, interface, taken.parse()?, options)?;
        }
        run_until(&mut driver, "our own finding", |driver| {
            let duplicates = driver.stack().addresses().filter(|entry| entry.state == AddressState::Duplicate);
            duplicates.count() == 2
        })?;
        assert_eq!(driver.stack().counters().address_conflicts, 2);
        driver.add_address("fd00:9:8:9::2/64".parse()?)?;
        run_until(&mut driver, "an address of ours", |driver| {
            let mut addresses = driver.stack().addresses();
            addresses
                .any(|entry| entry.prefix.to_string() == "fd00:9:8:9::2/64" && entry.state == AddressState::Preferred)
        })?;
        run(&format!("ip address add fd00:9:8:9::2/64 dev {device}"))?;
        let addresses = format!("-6 address show dev {device}");
        run_until(&mut driver, "Linux's finding", |_| ip(&addresses).contains("dadfailed"))?;
        let capture = driver.take_capture().ok_or("no capture")?;
        judge::check(name, &capture, &[])
    })
}
