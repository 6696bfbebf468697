//! Multicast DNS and service discovery between the stack and Avahi. Its daemon speaks over a bus of its own, in the test's namespaces.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ethertab::services::mdns::{MdnsEvent, QuestionId, ServiceConfig, items_of};
use ethertab::services::{MdnsConfig, MdnsMemory, Text};
use ethertab::wire::dns::{Name, RecordType};
use ethertab_native::{Driver, Tap};

use crate::Outcome;
use crate::dhcp::{LIMIT, Server, driver, folder};
use crate::judge;
use crate::namespace::{in_namespace, run};

const REPEATED: &[judge::Allowed] = &[
    (
        "Warns",
        "DNS query retransmission",
        "all messages have the ID 0 (RFC 6762 §18.1), and questions are repeated (§5.2)",
    ),
    ("Warns", "DNS response retransmission", "announcements are repeated (RFC 6762 §8.3)"),
];

/// A bus and a daemon in the present namespace, whose host name is `avahi`.
struct Avahi {
    _bus: Server,
    _daemon: Server,
    address: String,
}

impl Avahi {
    fn start(folder: &Path, device: &str) -> Outcome<Avahi> {
        // Sockets and daemons' own files are where these are told or compiled to look: in a file system of the test.
        let bus = folder.join("bus");
        let bus_config = folder.join("bus.conf");
        fs::write(
            &bus_config,
            format!(
                "<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
                 <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
                bus.display()
            ),
        )?;
        let config = folder.join("avahi.conf");
        fs::write(
            &config,
            format!(
                "[server]\nhost-name=avahi\nallow-interfaces={device}\nuse-ipv4=yes\nuse-ipv6=yes\n\
                 ratelimit-interval-usec=0\n[publish]\npublish-hinfo=no\npublish-workstation=no\n\
                 publish-aaaa-on-ipv4=yes\npublish-a-on-ipv6=yes\n"
            ),
        )?;
        let _bus = Server::start(&format!("dbus-daemon --nofork --nopidfile --config-file={}", bus_config.display()))?;
        wait_for(&bus)?;
        let address = format!("unix:path={}", bus.display());
        let script = folder.join("daemon");
        // The daemon keeps a process ID and a socket in /run, of which this test has its own.
        fs::write(
            &script,
            format!(
                "#!/bin/sh\nmount -t tmpfs run /run && mkdir -p /run/avahi-daemon && \
                 export DBUS_SYSTEM_BUS_ADDRESS={address} && \
                 exec avahi-daemon --no-drop-root --no-rlimits --no-chroot -f {}\n",
                config.display()
            ),
        )?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let _daemon = Server::start(&format!("unshare --mount {}", script.display()))?;
        Ok(Avahi { _bus, _daemon, address })
    }

    fn run(&self, line: &str) -> Outcome<String> {
        run(&format!("env DBUS_SYSTEM_BUS_ADDRESS={} {line}", self.address))
    }

    /// Repeats a question until the daemon is there to answer it.
    fn wait(&self) -> Outcome {
        let begun = Instant::now();
        while self.run("avahi-resolve-host-name -4 avahi.local").is_err() {
            if begun.elapsed() > LIMIT {
                return Err("avahi-daemon did not come".into());
            }
        }
        Ok(())
    }
}

fn wait_for(file: &Path) -> Outcome {
    let begun = Instant::now();
    while !file.exists() {
        if begun.elapsed() > LIMIT {
            return Err(format!("no {}", file.display()).into());
        }
        thread::yield_now();
    }
    Ok(())
}

/// A stack at 10.9.0.2 and fd00:9::2 that wants a name, and Avahi at .1 and ::1, which has its own already.
fn prepare(name: &str, hostname: &str) -> Outcome<(Driver<Tap>, Avahi)> {
    let (mut driver, device) = driver()?;
    run(&format!("ip address add 10.9.0.1/24 dev {device}"))?;
    run(&format!("ip address add fd00:9::1/64 dev {device} nodad"))?;
    driver.add_address("10.9.0.2/24".parse()?)?;
    driver.add_address("fd00:9::2/64".parse()?)?;
    let avahi = Avahi::start(&folder(name)?, &device)?;
    serve(&mut driver, || avahi.wait())?;
    let hostname = Text::new(hostname).ok_or("too long")?;
    driver.start_mdns(MdnsConfig { seed: [1, 2], hostname }, MdnsMemory::with_capacity(4, 4, 64))?;
    Ok((driver, avahi))
}

/// Turns until `step` says that it is done.
fn drive(driver: &mut Driver<Tap>, what: &str, mut step: impl FnMut(&mut Driver<Tap>) -> Outcome<bool>) -> Outcome {
    let begun = Instant::now();
    while !step(driver)? {
        if begun.elapsed() > LIMIT {
            return Err(format!("{what} took too long").into());
        }
        driver.turn(Some(Duration::from_millis(10)))?;
        while driver.stack_mut().poll_event().is_some() {}
    }
    Ok(())
}

/// Turns while `client` runs.
fn serve<T: Send>(driver: &mut Driver<Tap>, client: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    thread::scope(|scope| {
        let client = scope.spawn(client);
        drive(driver, "the client", |_| Ok(client.is_finished()))?;
        client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn judged(name: &str, driver: &mut Driver<Tap>) -> Outcome {
    let capture = driver.take_capture().ok_or("no capture")?;
    judge::check(name, &capture, REPEATED)
}

#[test]
fn avahi_finds_our_host_and_service() -> Outcome {
    in_namespace(|| {
        let name = "avahi_finds_our_host_and_service";
        let (mut driver, avahi) = prepare(name, "tab")?;
        let now = driver.now();
        let service = ServiceConfig {
            instance: "Tab's files",
            service: "_http._tcp",
            subtypes: &[],
            port: 8080,
            text: b"\x06path=/\x04flag",
        };
        let mdns = driver.mdns().ok_or("no mDNS")?;
        let id = mdns.register(now, &service).map_err(|error| format!("{error:?}"))?;
        serve(&mut driver, || {
            for (question, expected) in [
                ("avahi-resolve-host-name -4 tab.local", "tab.local\t10.9.0.2\n"),
                ("avahi-resolve-host-name -6 tab.local", "tab.local\tfd00:9::2\n"),
                ("avahi-resolve-address 10.9.0.2", "10.9.0.2\ttab.local\n"),
                ("avahi-resolve-address fd00:9::2", "fd00:9::2\ttab.local\n"),
            ] {
                assert_eq!(avahi.run(question)?, expected, "{question}");
            }
            // Event, interface, protocol, name, type, domain, host, address, port, text.
            let found = avahi.run("avahi-browse --parsable --no-db-lookup --resolve --terminate _http._tcp")?;
            let resolved: Vec<&str> = found.lines().filter(|line| line.starts_with('=')).collect();
            assert!(!resolved.is_empty(), "{found}");
            for line in resolved {
                let fields: Vec<&str> = line.split(';').collect();
                assert_eq!(fields[3..7], ["Tab\\039s\\032files", "_http._tcp", "local", "tab.local"], "{line}");
                assert_eq!(fields[8], "8080");
                assert!(fields[9].contains("\"path=/\"") && fields[9].contains("\"flag\""), "{line}");
            }
            let types = avahi.run("avahi-browse --parsable --no-db-lookup --all --terminate")?;
            assert!(types.contains(";_http._tcp;local"), "{types}");
            Ok(())
        })?;
        let now = driver.now();
        driver.mdns().ok_or("no mDNS")?.unregister(now, id);
        serve(&mut driver, || {
            // Gone a second after the goodbye (RFC 6762 §10.1).
            let begun = Instant::now();
            while avahi.run("avahi-browse --parsable --terminate _http._tcp")?.contains("Tab") {
                assert!(begun.elapsed() < LIMIT, "Avahi keeps the service");
            }
            Ok(())
        })?;
        judged(name, &mut driver)
    })
}

#[test]
fn we_find_avahis_host_and_service() -> Outcome {
    in_namespace(|| {
        let name = "we_find_avahis_host_and_service";
        let (mut driver, avahi) = prepare(name, "tab")?;
        let publisher = Server::start(&format!(
            "env DBUS_SYSTEM_BUS_ADDRESS={} avahi-publish-service shop _ipp._tcp 631 rp=queue color",
            avahi.address
        ))?;
        let now = driver.now();
        let mdns = driver.mdns().ok_or("no mDNS")?;
        let error = |error| format!("{error:?}");
        let browsed = mdns.browse(now, "_ipp._tcp").map_err(error)?;
        let shop = Name::from_text("shop._ipp._tcp.local").map_err(|error| format!("{error:?}"))?;
        let host = Name::from_text("avahi.local").map_err(|error| format!("{error:?}"))?;
        let resolved = mdns.resolve(now, &shop).map_err(error)?;
        let looked_up = mdns.look_up(now, &host).map_err(error)?;
        let reverse = mdns.ask(now, &Name::reverse("10.9.0.1".parse()?), RecordType::PTR).map_err(error)?;
        let instances = |driver: &mut Driver<Tap>, id: QuestionId| -> Vec<String> {
            let names = driver.mdns().into_iter().flat_map(|mdns| {
                let names = mdns.records(id).filter_map(|record| record.data().name(RecordType::PTR));
                names.map(|name| name.to_string()).collect::<Vec<_>>()
            });
            names.collect()
        };
        drive(&mut driver, "finding", |driver| {
            let found = instances(driver, browsed) == ["shop._ipp._tcp.local"];
            let named = instances(driver, reverse) == ["avahi.local"];
            let mdns = driver.mdns().ok_or("no mDNS")?;
            while mdns.poll_event().is_some() {}
            let service = mdns.service(resolved).filter(|service| service.text.is_some());
            let addresses = mdns.addresses(looked_up);
            let both = addresses.contains(&"10.9.0.1".parse()?) && addresses.contains(&"fd00:9::1".parse()?);
            Ok(found && named && both && service.is_some_and(|service| service.addresses.len() >= 2))
        })?;
        let service = driver.mdns().and_then(|mdns| mdns.service(resolved)).ok_or("no service")?;
        assert_eq!((service.host, service.port), (host, 631));
        let text = service.text.ok_or("no text")?;
        let mut items: Vec<&[u8]> = items_of(text.as_octets()).collect();
        items.sort();
        assert_eq!(items, [&b"color"[..], b"rp=queue"]);
        drop(publisher);
        drive(&mut driver, "the goodbye", |driver| Ok(instances(driver, browsed).is_empty()))?;
        let mdns = driver.mdns().ok_or("no mDNS")?;
        assert_eq!((mdns.counters().malformed, mdns.counters().conflicts), (0, 0));
        judged(name, &mut driver)
    })
}

/// RFC 6762 §8: the name is Avahi's already.
#[test]
fn who_comes_after_avahi_takes_another_name() -> Outcome {
    in_namespace(|| {
        let name = "who_comes_after_avahi_takes_another_name";
        let (mut driver, avahi) = prepare(name, "avahi")?;
        let mut is_named = false;
        drive(&mut driver, "the name", |driver| {
            let mdns = driver.mdns().ok_or("no mDNS")?;
            is_named |= std::iter::from_fn(|| mdns.poll_event()).any(|event| event == MdnsEvent::Named);
            Ok(is_named)
        })?;
        let mdns = driver.mdns().ok_or("no mDNS")?;
        assert_eq!(mdns.hostname().to_string(), "avahi-2.local");
        let resolved = serve(&mut driver, || {
            avahi.run("avahi-resolve-host-name -4 avahi.local")?;
            avahi.run("avahi-resolve-host-name -4 avahi-2.local")
        })?;
        assert_eq!(resolved, "avahi-2.local\t10.9.0.2\n");
        judged(name, &mut driver)
    })
}
