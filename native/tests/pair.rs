//! Two drivers joined by a pair of datagram sockets: everything about a driver that needs no privileges.
#![cfg(unix)]

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

use ethertab::time::Duration as Span;
use ethertab::wire::MacAddr;
use ethertab::{
    Config, ConnectOptions, ConnectionHandle, Endpoint, Event, Forwarding, InterfaceConfig, InterfaceId, Limits,
    ListenOptions, PingOutcome, Pool, RecvError, Route, Signals, Stack,
};
use ethertab_native::Driver;
use ethertab_sim::apps::{fill_pattern, first_difference};
use ethertab_sim::{Cable, CaptureConfig, Impairment, Side};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Longer than anything here takes, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const PATTERN: u64 = 7;

fn host(number: u8, port: UnixDatagram) -> Outcome<Driver<UnixDatagram>> {
    let stack = Stack::new(Config::new([u64::from(number), 0]), Limits::small());
    let mac = MacAddr([2, 0, 0, 0, 0, number]);
    let mut driver = Driver::new(stack, Pool::new(1_024), InterfaceConfig::ethernet(mac), port)?;
    driver.add_address(format!("10.0.0.{number}/24").parse()?)?;
    Ok(driver)
}

/// Two hosts, and a router where one is between them, on one thread, which takes their turns one after the other.
struct Pair {
    client: Driver<UnixDatagram>,
    server: Driver<UnixDatagram>,
    router: Option<Driver<UnixDatagram>>,
    begun: Instant,
}

impl Pair {
    fn new() -> Outcome<Self> {
        let (left, right) = UnixDatagram::pair()?;
        Ok(Pair { client: host(1, left)?, server: host(2, right)?, router: None, begun: Instant::now() })
    }

    fn turns(&mut self) -> Outcome {
        self.client.turn(Some(Duration::ZERO))?;
        if let Some(router) = &mut self.router {
            router.turn(Some(Duration::ZERO))?;
        }
        self.server.turn(Some(Duration::from_millis(1)))?;
        if self.begun.elapsed() > LIMIT {
            return Err("nothing happens any more".into());
        }
        Ok(())
    }

    /// Sends `len` bytes from the client to the server, which compares each, and closes both ends.
    fn transfer(&mut self, len: u64) -> Outcome {
        let listener = self.server.stack_mut().listen(Endpoint::any(80), ListenOptions::default())?;
        let now = self.client.now();
        let remote = SocketAddr::from(([10, 0, 0, 2], 80));
        let client = self.client.stack_mut().connect(now, remote, ConnectOptions::default())?;
        let server = loop {
            self.turns()?;
            if let Some(handle) = self.server.stack_mut().accept(listener) {
                break handle;
            }
        };
        let (mut sent, mut received, mut chunk) = (0, 0, [0; 4_096]);
        loop {
            let now = self.client.now();
            let (stack, pool) = self.client.stack_and_pool();
            let next = (len - sent).min(4_096) as usize;
            fill_pattern(PATTERN, sent, &mut chunk[..next]);
            sent += stack.send(pool, now, client, &chunk[..next])? as u64;
            if sent == len {
                break;
            }
            assert!(!self.receive(server, &mut received)?);
            self.turns()?;
        }
        let now = self.client.now();
        self.client.stack_mut().shutdown(now, client)?;
        while !self.receive(server, &mut received)? {
            self.turns()?;
        }
        assert_eq!(received, len);
        for (driver, handle) in [(&mut self.server, server), (&mut self.client, client)] {
            let now = driver.now();
            let (stack, pool) = driver.stack_and_pool();
            stack.close(pool, now, handle);
        }
        while self.client.stack().blocks_in_use() + self.server.stack().blocks_in_use() > 0 {
            self.turns()?;
        }
        Ok(())
    }

    /// Reads and compares what has come to the server; returns whether that was all.
    fn receive(&mut self, handle: ConnectionHandle, received: &mut u64) -> Outcome<bool> {
        let mut chunk = [0; 4_096];
        loop {
            let now = self.server.now();
            let (stack, pool) = self.server.stack_and_pool();
            match stack.recv(pool, now, handle, &mut chunk) {
                Ok(0) => return Ok(true),
                Ok(len) => {
                    assert_eq!(first_difference(PATTERN, *received, &chunk[..len]), None);
                    *received += len as u64;
                }
                Err(RecvError::WouldBlock) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A cable that does the same in both directions.
fn cable(impairment: Impairment) -> Outcome<Cable> {
    let mut cable = Cable::new(1, 0);
    for side in [Side::A, Side::B] {
        cable.impair(side, impairment)?;
    }
    Ok(cable)
}

#[test]
fn a_transfer_over_a_port_that_is_often_full_arrives() -> Outcome {
    let mut pair = Pair::new()?;
    pair.client.start_capture(CaptureConfig::default());
    // Linux lets ten datagrams wait on such a socket, a window is ten times as much.
    pair.transfer(4 << 20)?;
    let [out, back] = [Side::A, Side::B].map(|side| *pair.client.cable().lane(side).counters());
    assert_eq!((out.sent, out.overflowed), (out.delivered, 0));
    assert_eq!(pair.client.stack().counters().tcp_retransmits, 0, "nothing was lost");
    let capture = pair.client.take_capture().ok_or("no capture")?;
    assert_eq!(capture.seen(), out.sent + back.delivered, "every frame is captured once");
    Ok(())
}

/// The server is behind a router, which has a port on each side and reaches as much by either.
#[test]
fn a_driver_with_two_ports_routes_between_them() -> Outcome {
    let ((left, near), (far, right)) = (UnixDatagram::pair()?, UnixDatagram::pair()?);
    let (mut client, mut server, mut router) = (host(1, left)?, host(2, right)?, host(3, near)?);
    server.stack_mut().remove_address(InterfaceId(0), [10, 0, 0, 2].into())?;
    server.add_address("10.0.1.2/24".parse()?)?;
    let second = router.add_port(InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 0, 4])), far)?;
    let now = router.now();
    router.stack_mut().add_address(now, second, "10.0.1.3/24".parse()?)?;
    assert_eq!(router.interfaces().collect::<Vec<_>>(), [InterfaceId(0), second]);
    for interface in [InterfaceId(0), second] {
        router.stack_mut().set_forwarding(interface, Forwarding::on())?;
    }
    for (driver, gateway) in [(&mut client, [10, 0, 0, 3]), (&mut server, [10, 0, 1, 3])] {
        let interface = driver.interface();
        driver.stack_mut().set_route(Route::via(interface, "0.0.0.0/0".parse()?, gateway.into()))?;
    }
    router.start_capture(CaptureConfig::default());
    assert!(router.set_cable_of(second, cable(Impairment::latency(Span::from_millis(20)))?));
    assert!(!router.set_cable_of(InterfaceId(2), Cable::new(0, 0)));
    let now = client.now();
    let (stack, pool) = client.stack_and_pool();
    let ping = stack.ping(pool, now, IpAddr::from([10, 0, 1, 2]), 64, LIMIT.into())?;
    let mut pair = Pair { client, server, router: Some(router), begun: Instant::now() };
    let outcome = loop {
        pair.turns()?;
        if let Some(outcome) = pair.client.stack_mut().ping_result(ping) {
            break outcome;
        }
    };
    let PingOutcome::Reply { rtt, len: 64, .. } = outcome else { panic!("{outcome:?}") };
    assert!(rtt.as_millis() >= 40, "{rtt}");
    let mut router = pair.router.ok_or("there is one")?;
    assert_eq!(router.stack().counters().forwarded, 2);
    let capture = router.take_capture().ok_or("no capture")?;
    assert!(capture.seen() >= 8, "request and answer on both sides, and who has which address: {}", capture.seen());
    Ok(())
}

#[test]
fn the_cable_loses_and_duplicates_as_it_is_told_to_and_the_transfer_arrives() -> Outcome {
    let mut pair = Pair::new()?;
    pair.client.set_cable(cable(Impairment { loss: 0.01, duplicate: 0.01, ..Impairment::PERFECT })?);
    pair.transfer(1 << 20)?;
    let counters = pair.client.cable().lane(Side::A).counters();
    assert!(counters.lost > 0 && counters.duplicated > 0);
    assert_eq!(counters.sent + counters.duplicated - counters.lost, counters.delivered);
    Ok(())
}

#[test]
fn frames_on_the_cable_arrive_when_they_are_due() -> Outcome {
    let mut pair = Pair::new()?;
    pair.client.set_cable(cable(Impairment::latency(Span::from_millis(20)))?);
    let now = pair.client.now();
    let (stack, pool) = pair.client.stack_and_pool();
    let ping = stack.ping(pool, now, IpAddr::from([10, 0, 0, 2]), 64, LIMIT.into())?;
    let outcome = loop {
        pair.turns()?;
        if let Some(outcome) = pair.client.stack_mut().ping_result(ping) {
            break outcome;
        }
    };
    // 20 ms each way, and as much again if the address had to be asked for.
    let PingOutcome::Reply { rtt, len: 64, .. } = outcome else { panic!("{outcome:?}") };
    assert!(rtt.as_millis() >= 40, "{rtt}");
    Ok(())
}

#[test]
fn a_wait_ends_when_a_deadline_of_the_stack_is_due() -> Outcome {
    let (left, _silent) = UnixDatagram::pair()?;
    let mut client = host(1, left)?;
    // That it has addresses.
    while client.stack_mut().poll_event().is_some() {}
    let begun = Instant::now();
    let now = client.now();
    let (stack, pool) = client.stack_and_pool();
    let ping = stack.ping(pool, now, IpAddr::from([10, 0, 0, 2]), 0, Span::from_millis(30))?;
    let event = loop {
        client.turn(None)?;
        if let Some(event) = client.stack_mut().poll_event() {
            break event;
        }
    };
    assert_eq!(event, Event::Ping(ping, Signals::CLOSED));
    assert_eq!(client.stack_mut().ping_result(ping), Some(PingOutcome::TimedOut));
    assert!(begun.elapsed() >= Duration::from_millis(30));
    Ok(())
}

#[test]
fn a_waker_ends_a_wait_also_if_it_was_used_before() -> Outcome {
    let (left, _silent) = UnixDatagram::pair()?;
    let mut client = host(1, left)?;
    // A new address is announced.
    while client.stack().wants_transmit(client.interface()) {
        client.turn(Some(Duration::ZERO))?;
    }
    let begun = Instant::now();
    let waker = client.waker();
    for _ in 0..100_000 {
        waker.wake();
    }
    client.turn(Some(LIMIT))?;
    thread::scope(|scope| {
        scope.spawn(|| waker.wake());
        client.turn(Some(LIMIT))
    })?;
    assert!(begun.elapsed() < LIMIT);
    Ok(())
}
