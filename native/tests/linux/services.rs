//! DNS and NTP between the stack and other people's servers and clients.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ethertab::services::ntp::{NtpClient, NtpClientConfig, NtpServerConfig, ntp_answer};
use ethertab::services::resolver::{CacheEntry, DnsTransport, Lookup, LookupFailure, LookupId, QueryToken, Wanted};
use ethertab::services::{
    DnsAction, DnsConfig, DnsServer, Outcome as Lookedup, Resolver, ResolverConfig, UnknownNames,
};
use ethertab::storage::Storage;
use ethertab::wire::ntp;
use ethertab::{Endpoint, Pool, Stack, UdpHandle, UdpMeta};
use ethertab_native::{Driver, Tap};

use crate::Outcome;
use crate::dhcp::{LIMIT, Server, driver, folder};
use crate::judge;
use crate::namespace::{in_namespace, run};

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

/// Answers datagrams at 10.9.0.2 while `client` runs, which says what it has seen.
fn serve<T: Send>(
    driver: &mut Driver<Tap>,
    port: u16,
    mut answer: impl FnMut(ethertab::time::Instant, SocketAddr, &[u8]) -> Option<Vec<u8>>,
    client: impl FnOnce() -> Outcome<T> + Send,
) -> Outcome<T> {
    driver.add_address("10.9.0.2/24".parse()?)?;
    let socket = driver.stack_mut().bind_udp(Endpoint::any(port))?;
    thread::scope(|scope| {
        let client = scope.spawn(client);
        drive(driver, "the client", |driver| {
            let now = driver.now();
            let (stack, pool) = driver.stack_and_pool();
            let mut message = [0; 1_472];
            while let Some((len, meta)) = stack.udp_recv(pool, socket, &mut message) {
                if let Some(answer) = answer(now, meta.remote, &message[..len]) {
                    stack.udp_send(pool, now, socket, &meta, &answer)?;
                }
            }
            Ok(client.is_finished())
        })?;
        client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn judged(name: &str, driver: &mut Driver<Tap>) -> Outcome {
    let capture = driver.take_capture().ok_or("no capture")?;
    judge::check(name, &capture, &[])
}

/// Waits until a program of this namespace listens at a UDP port.
fn wait_for_port(port: u16) -> Outcome {
    let begun = Instant::now();
    while !std::fs::read_to_string("/proc/thread-self/net/udp")?.contains(&format!(":{port:04X} ")) {
        if begun.elapsed() > LIMIT {
            return Err(format!("nobody listens at port {port}").into());
        }
        thread::yield_now();
    }
    Ok(())
}

/// Sends the resolver's queries, each from a socket of its own, and gives it what comes. Returns the answers that are to be relayed.
fn exchange(
    resolver: &mut Resolver<'static>,
    sockets: &mut Vec<(QueryToken, UdpHandle)>,
    stack: &mut Stack<'static>,
    pool: &mut Pool<'static>,
    now: ethertab::time::Instant,
) -> Outcome<Vec<(LookupId, Vec<u8>)>> {
    let mut message = [0; 1_472];
    let mut answers = Vec::new();
    for (token, socket) in sockets.iter() {
        while let Some((len, meta)) = stack.udp_recv(pool, *socket, &mut message) {
            if let Some(lookup) = resolver.handle(now, *token, meta.remote, &message[..len]) {
                answers.push((lookup, message[..len].to_vec()));
            }
        }
        if stack.udp_error(pool, *socket, &mut []).is_some() {
            resolver.query_failed(now, *token);
        }
    }
    if resolver.next_timeout().is_some_and(|due| due <= now) {
        resolver.handle_timeout(now);
    }
    while let Some(query) = resolver.transmit(now, &mut message) {
        assert_eq!(query.transport, DnsTransport::Udp);
        let socket = stack.bind_udp(Endpoint::any(0))?;
        stack.udp_send(pool, now, socket, &UdpMeta::to(query.server), &message[..query.len])?;
        sockets.push((query.token, socket));
    }
    sockets.retain(|(token, socket)| {
        let is_waiting = resolver.is_waiting(*token);
        if !is_waiting {
            stack.udp_close(pool, *socket);
        }
        is_waiting
    });
    Ok(answers)
}

#[test]
fn dnsmasq_tells_us_names() -> Outcome {
    in_namespace(|| {
        let name = "dnsmasq_tells_us_names";
        let (mut driver, device) = driver()?;
        run(&format!("ip address add 10.9.0.1/24 dev {device}"))?;
        driver.add_address("10.9.0.2/24".parse()?)?;
        let _server = Server::start(&format!(
            "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --no-resolv --no-hosts --port=53 \
             --interface={device} --bind-interfaces --host-record=shop.test,10.9.0.7,fd00:9::7 --cname=www.test,shop.test \
             --local=/test/ --ptr-record=9.0.9.10.in-addr.arpa,nine.test --pid-file={}",
            folder(name)?.join("pid").display()
        ))?;
        wait_for_port(53)?;
        let mut config = ResolverConfig::new([1, 0]);
        config.servers.push("10.9.0.1:53".parse()?);
        let mut resolver =
            Resolver::new(config, Storage::<Lookup>::with_capacity(8), Storage::<CacheEntry>::with_capacity(8));
        let mut sockets = Vec::new();
        let mut look_up = |driver: &mut Driver<Tap>, host: &str| -> Outcome<Lookedup> {
            let now = driver.now();
            let id = match host.strip_prefix("name of ") {
                Some(address) => resolver.reverse(now, address.parse()?),
                None => resolver.resolve(now, host, Wanted::Addresses),
            };
            let id = id.map_err(|error| format!("{error:?}"))?;
            let mut found = None;
            drive(driver, host, |driver| {
                let now = driver.now();
                let (stack, pool) = driver.stack_and_pool();
                exchange(&mut resolver, &mut sockets, stack, pool, now)?;
                found = resolver.outcome(id).filter(|outcome| !matches!(outcome, Lookedup::Pending { .. }));
                Ok(found.is_some())
            })?;
            found.ok_or_else(|| "nothing".into())
        };
        for host in ["shop.test", "www.test"] {
            let Lookedup::Addresses(addresses) = look_up(&mut driver, host)? else { return Err(host.into()) };
            let expected: [IpAddr; 2] = ["fd00:9::7".parse()?, "10.9.0.7".parse()?];
            assert!(addresses.iter().eq(&expected), "{addresses:?}");
        }
        assert_eq!(look_up(&mut driver, "none.test")?, Lookedup::Failed(LookupFailure::NotFound));
        let Lookedup::Name(nine) = look_up(&mut driver, "name of 10.9.0.9")? else { return Err("no name".into()) };
        assert_eq!(nine.to_string(), "nine.test");
        judged(name, &mut driver)
    })
}

#[test]
fn dig_asks_our_server() -> Outcome {
    in_namespace(|| {
        let (mut driver, device) = driver()?;
        run(&format!("ip address add 10.9.0.1/24 dev {device}"))?;
        let config = DnsConfig { unknown: UnknownNames::NxDomain, ..DnsConfig::default() };
        let mut server = DnsServer::new(config, Storage::with_capacity(8), Storage::with_capacity(8));
        for address in ["10.9.0.7", "fd00:9::7"] {
            server.add("shop.test", address.parse()?).map_err(|error| format!("{error:?}"))?;
        }
        let answer = |now, from, message: &[u8]| {
            let mut out = [0; 1_472];
            match server.handle(now, from, message, &mut out) {
                DnsAction::Reply(len) => Some(out[..len].to_vec()),
                _ => None,
            }
        };
        serve(&mut driver, 53, answer, || {
            for (question, expected) in [
                ("shop.test A", "10.9.0.7\n"),
                ("SHOP.test AAAA", "fd00:9::7\n"),
                ("-x 10.9.0.7", "shop.test.\n"),
                ("shop.test MX", ""),
            ] {
                assert_eq!(run(&format!("dig @10.9.0.2 +short +nocookie {question}"))?, expected, "{question}");
            }
            for (question, status) in [("none.test A", "NXDOMAIN"), ("shop.test +edns=1", "BADVERS")] {
                let answer = run(&format!("dig @10.9.0.2 +noednsnegotiation {question}"))?;
                assert!(answer.contains(&format!("status: {status}")), "{answer}");
                assert!(!answer.contains("WARNING: Message"), "{answer}");
            }
            Ok(())
        })?;
        judged("dig_asks_our_server", &mut driver)
    })
}

/// dig asks us, we ask dnsmasq, and give on what it says.
#[test]
fn dig_gets_the_answers_of_dnsmasq_through_us() -> Outcome {
    in_namespace(|| {
        let name = "dig_gets_the_answers_of_dnsmasq_through_us";
        let (mut driver, device) = driver()?;
        run(&format!("ip address add 10.9.0.1/24 dev {device}"))?;
        driver.add_address("10.9.0.2/24".parse()?)?;
        let _server = Server::start(&format!(
            "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --no-resolv --no-hosts --port=53 \
             --interface={device} --bind-interfaces --mx-host=shop.test,mail.test,10 --txt-record=shop.test,hello \
             --local=/test/ --pid-file={}",
            folder(name)?.join("pid").display()
        ))?;
        wait_for_port(53)?;
        let mut config = ResolverConfig::new([1, 0]);
        config.servers.push("10.9.0.1:53".parse()?);
        let mut resolver =
            Resolver::new(config, Storage::<Lookup>::with_capacity(8), Storage::<CacheEntry>::with_capacity(8));
        let mut server = DnsServer::new(DnsConfig::default(), Storage::with_capacity(8), Storage::with_capacity(8));
        let socket = driver.stack_mut().bind_udp(Endpoint::any(53))?;
        let (mut sockets, mut asked) = (Vec::new(), Vec::new());
        thread::scope(|scope| {
            let dig = scope.spawn(|| -> Outcome<[String; 3]> {
                let ask = |question: &str| run(&format!("dig @10.9.0.2 +nocookie {question}"));
                Ok([ask("shop.test MX +short")?, ask("shop.test TXT +short +noedns")?, ask("none.test A")?])
            });
            drive(&mut driver, "dig", |driver| {
                let now = driver.now();
                let (stack, pool) = driver.stack_and_pool();
                let (mut message, mut out) = ([0; 1_472], [0; 1_472]);
                while let Some((len, meta)) = stack.udp_recv(pool, socket, &mut message) {
                    let DnsAction::Ask(question) = server.handle(now, meta.remote, &message[..len], &mut out) else {
                        return Err("it was to be asked".into());
                    };
                    let (name, kind) = server.question(question).ok_or("no question")?;
                    let lookup = resolver.relay(now, name, kind).map_err(|error| format!("{error:?}"))?;
                    asked.push((lookup, question));
                }
                for (lookup, answer) in exchange(&mut resolver, &mut sockets, stack, pool, now)? {
                    let place = asked.iter().position(|(asked, _)| *asked == lookup).ok_or("not asked")?;
                    let (_, question) = asked.swap_remove(place);
                    let (to, len) = server.relay(question, &answer, &mut out).ok_or("no answer")?;
                    stack.udp_send(pool, now, socket, &UdpMeta::to(to), &out[..len])?;
                }
                Ok(dig.is_finished())
            })?;
            let [mail, text, none] = dig.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            assert_eq!((mail.as_str(), text.as_str()), ("10 mail.test.\n", "\"hello\"\n"));
            assert!(none.contains("status: NXDOMAIN") && !none.contains("WARNING: Message"), "{none}");
            Outcome::Ok(())
        })?;
        judged(name, &mut driver)
    })
}

fn unix_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[test]
fn ntpdig_asks_us_for_the_time() -> Outcome {
    in_namespace(|| {
        let (mut driver, device) = driver()?;
        run(&format!("ip address add 10.9.0.1/24 dev {device}"))?;
        let hour = 3_600_000_000;
        let answer = |_, _, message: &[u8]| {
            let time = unix_micros() + hour;
            ntp_answer(&NtpServerConfig::default(), message, time, time).map(Vec::from)
        };
        let told = serve(&mut driver, ntp::PORT, answer, || run("ntpdig --json 10.9.0.2"))?;
        assert!(told.contains("\"stratum\":3"), "{told}");
        let (_, offset) = told.split_once("\"offset\":").ok_or("no offset")?;
        let offset: f64 = offset.split(',').next().unwrap_or("").trim().parse()?;
        assert!((offset - 3_600.0).abs() < 1.0, "our clock is an hour ahead: {told}");
        judged("ntpdig_asks_us_for_the_time", &mut driver)
    })
}

#[test]
fn chrony_tells_us_the_time() -> Outcome {
    in_namespace(|| {
        let name = "chrony_tells_us_the_time";
        let (mut driver, device) = driver()?;
        run(&format!("ip address add 10.9.0.1/24 dev {device}"))?;
        driver.add_address("10.9.0.2/24".parse()?)?;
        let folder = folder(name)?;
        let conf = folder.join("chrony.conf");
        std::fs::write(
            &conf,
            format!(
                "local stratum 5\nallow 10.9.0.0/24\ncmdport 0\nbindcmdaddress /\npidfile {}\n",
                folder.join("pid").display()
            ),
        )?;
        // -x: the machine's clock is left alone.
        let _server = Server::start(&format!("chronyd -d -x -u root -f {}", conf.display()))?;
        let servers = [SocketAddr::new("10.9.0.1".parse()?, ntp::PORT)].into_iter().collect();
        let config = NtpClientConfig { seed: [1, 0], servers, interval: ethertab::time::Duration::from_secs(64) };
        let mut client = NtpClient::new(driver.now(), config);
        let socket = driver.stack_mut().bind_udp(Endpoint::any(0))?;
        drive(&mut driver, "the time", |driver| {
            let now = driver.now();
            let (stack, pool) = driver.stack_and_pool();
            let mut message = [0; 1_472];
            while let Some((len, meta)) = stack.udp_recv(pool, socket, &mut message) {
                client.handle(now, meta.remote, &message[..len]);
            }
            if let Some(sent) = client.transmit(now) {
                stack.udp_send(pool, now, socket, &UdpMeta::to(sent.server), &sent.packet)?;
            }
            Ok(client.time().is_some())
        })?;
        let time = client.time().ok_or("no time")?;
        let difference = time.at(driver.now()).abs_diff(unix_micros());
        assert!(difference < 1_000_000, "{difference} microseconds from this machine's clock");
        judged(name, &mut driver)
    })
}
