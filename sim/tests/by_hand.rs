//! Two or more stacks whose frames the test carries by hand: what arrives when, and what never does, is exact.

use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    Config, ConfigError, ConnectOptions, ConnectionHandle, Endpoint, FrameMeta, InterfaceConfig, InterfaceId, Limits,
    ListenOptions, Pool, Prefix, Stack, State, TcpConfig,
};

const NIC: InterfaceId = InterfaceId(0);

/// A stack with interfaces, its pool and the time.
struct Host {
    stack: Stack<'static>,
    pool: Pool<'static>,
}

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn address(last: u8) -> String {
    format!("10.0.0.{last}")
}

impl Host {
    fn new(last: u8, tcp: TcpConfig) -> Host {
        Host::with_limits(last, tcp, Limits::small())
    }

    fn with_limits(last: u8, tcp: TcpConfig, limits: Limits) -> Host {
        let mut config = Config::new([u64::from(last), 1]);
        config.tcp = tcp;
        let mut host = Host { stack: Stack::new(config, limits), pool: Pool::new(4_096) };
        let nic = host.stack.add_interface(Instant::ZERO, InterfaceConfig::ethernet(mac(last))).unwrap();
        let prefix: Prefix = format!("{}/24", address(last)).parse().unwrap();
        host.stack.add_address(Instant::ZERO, nic, prefix).unwrap();
        host
    }

    /// Knows the other's station, so that no ARP is needed.
    fn knows(mut self, other: u8) -> Host {
        let ip = address(other).parse().unwrap();
        self.stack.add_neighbor(&mut self.pool, NIC, ip, mac(other)).unwrap();
        self
    }

    /// The IP frames that it sends now on one interface.
    fn sent_on(&mut self, now: Instant, nic: InterfaceId) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buf = vec![0; self.stack.frame_capacity(nic)];
        while let Some(meta) = self.stack.transmit(&mut self.pool, now, nic, &mut buf) {
            frames.push(buf[..meta.len].to_vec());
        }
        frames
    }

    fn sent(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.sent_on(now, NIC)
    }

    /// The TCP frames that it sends now.
    fn segments(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.sent(now).into_iter().filter(|frame| frame[12..14] == [8, 0] && frame[23] == 6).collect()
    }

    fn gets(&mut self, now: Instant, frames: &[Vec<u8>]) {
        for frame in frames {
            self.stack.receive(&mut self.pool, now, NIC, frame, FrameMeta::received(frame.len()));
        }
    }

    fn timeout(&mut self, now: Instant) {
        for _ in 0..10_000 {
            match self.stack.next_timeout() {
                Some(at) if at <= now => self.stack.handle_timeout(&mut self.pool, now),
                _ => return,
            }
        }
        panic!("time-outs without end");
    }

    fn state(&self, handle: ConnectionHandle) -> Option<State> {
        self.stack.connection_info(handle).map(|info| info.state)
    }

    fn connect(&mut self, now: Instant, to: u8, port: u16, local_port: u16) -> ConnectionHandle {
        let remote = format!("{}:{port}", address(to)).parse().unwrap();
        let options = ConnectOptions { local: Some(Endpoint::any(local_port)), ..ConnectOptions::default() };
        self.stack.connect(now, remote, options).unwrap()
    }
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Carries everything both ways at once until nothing is left.
fn exchange(now: Instant, a: &mut Host, b: &mut Host) -> usize {
    for round in 0..1_000 {
        let (from_a, from_b) = (a.sent(now), b.sent(now));
        if from_a.is_empty() && from_b.is_empty() {
            return round;
        }
        a.gets(now, &from_b);
        b.gets(now, &from_a);
    }
    panic!("the two talk for ever");
}

/// An established connection from a's port 1000 to b's port 80.
fn established(a: &mut Host, b: &mut Host) -> (ConnectionHandle, ConnectionHandle) {
    let listener = b.stack.listen(Endpoint::any(80), ListenOptions::default()).unwrap();
    let client = a.connect(ms(0), 2, 80, 1_000);
    exchange(ms(0), a, b);
    (client, b.stack.accept(listener).unwrap())
}

fn pair() -> (Host, Host) {
    (Host::new(1, TcpConfig::default()).knows(2), Host::new(2, TcpConfig::default()).knows(1))
}

/// RFC 9293 §3.5, figure 8.
#[test]
fn a_simultaneous_open_establishes_one_connection() {
    let (mut a, mut b) = pair();
    let from_a = a.connect(ms(0), 2, 2_000, 1_000);
    let from_b = b.connect(ms(0), 1, 1_000, 2_000);
    exchange(ms(0), &mut a, &mut b);
    assert_eq!((a.state(from_a), b.state(from_b)), (Some(State::Established), Some(State::Established)));
    a.stack.send(&mut a.pool, ms(1), from_a, b"hello").unwrap();
    exchange(ms(1), &mut a, &mut b);
    assert_eq!(b.stack.readable_bytes(from_b), 5);
}

/// RFC 9293 §3.8.3: the user timeout is about data; an idle connection is not touched by it.
#[test]
fn a_user_timeout_spares_an_idle_connection() {
    let mut tcp = TcpConfig::default();
    tcp.user_timeout = Some(Duration::from_secs(5));
    let mut a = Host::new(1, tcp).knows(2);
    let mut b = Host::new(2, TcpConfig::default()).knows(1);
    let (client, _) = established(&mut a, &mut b);
    a.timeout(ms(60_000));
    assert_eq!(a.state(client), Some(State::Established));
}

/// A SYN whose sender's station is never found, and one to which no route leads, hold a place for a limited time.
#[test]
fn a_half_open_connection_that_cannot_be_answered_ends() {
    let (mut a, mut b) = (Host::new(1, TcpConfig::default()).knows(2), Host::new(2, TcpConfig::default()));
    b.stack.listen(Endpoint::any(80), ListenOptions::default()).unwrap();
    a.connect(ms(0), 2, 80, 1_000);
    let syn = a.segments(ms(0));
    b.gets(ms(0), &syn);
    for second in 0..200 {
        b.timeout(ms(second * 1_000));
        b.sent(ms(second * 1_000));
    }
    assert_eq!(b.stack.connections().count(), 0);
}

/// A sender that fills the window of a reader who reads nothing loses nothing: no retransmission, only probes.
#[test]
fn a_window_is_never_promised_beyond_the_buffer() {
    let (mut a, mut b) = pair();
    let (client, _) = established(&mut a, &mut b);
    let data = vec![7; 300_000];
    let mut sent = 0;
    for step in 0..60_000 {
        let now = ms(1 + step * 10);
        a.timeout(now);
        b.timeout(now);
        // Odd sizes: the window's edge falls between the steps of its scale.
        let take = (data.len() - sent).min(1_001);
        sent += a.stack.send(&mut a.pool, now, client, &data[sent..sent + take]).unwrap();
        exchange(now, &mut a, &mut b);
    }
    let info = a.stack.connection_info(client).unwrap();
    assert_eq!((info.retransmits, info.state), (0, State::Established));
}

/// RFC 5681 §3.1: after a timeout slow start doubles the window, also when everything had been sent already.
#[test]
fn slow_start_after_a_timeout_without_new_data() {
    let (mut a, mut b) = pair();
    let (client, server) = established(&mut a, &mut b);
    // Opens cwnd.
    let mut buf = vec![0; 100_000];
    for step in 1..20 {
        a.stack.send(&mut a.pool, ms(step), client, &[1; 100_000]).unwrap();
        exchange(ms(step), &mut a, &mut b);
        b.stack.recv(&mut b.pool, ms(step), server, &mut buf).unwrap();
        exchange(ms(step), &mut a, &mut b);
    }
    a.stack.send(&mut a.pool, ms(50), client, &[1; 58_400]).unwrap();
    let lost = a.segments(ms(50));
    assert!(lost.len() >= 40, "{}", lost.len());
    a.timeout(ms(1_000));
    assert_eq!(a.segments(ms(1_000)).len(), 1, "the tail loss probe is lost too");
    a.timeout(ms(2_000));
    let mut rounds = 0;
    while a.stack.unacknowledged_bytes(client) > 0 {
        rounds += 1;
        assert!(rounds < 100);
        let segments = a.segments(ms(2_000));
        b.gets(ms(2_000), &segments);
        b.timeout(ms(2_100));
        let acks = b.segments(ms(2_100));
        a.gets(ms(2_000), &acks);
    }
    assert!(rounds <= 12, "{rounds} round trips");
}

/// Karn's algorithm (RFC 6298 §5.7 and §3): on a path longer than the initial timeout, the backed-off timeout stays
/// until a round trip is measured, and so one gets measured.
#[test]
fn a_round_trip_above_the_initial_timeout_is_learnt() {
    let (mut a, mut b) = pair();
    b.stack.listen(Endpoint::any(80), ListenOptions::default()).unwrap();
    let client = a.connect(ms(0), 2, 80, 1_000);
    let delay = 1_200; // one way
    let mut wire: Vec<(u64, bool, Vec<u8>)> = Vec::new();
    for now in (0..60_000).step_by(10) {
        let at = ms(now);
        let (due, later): (Vec<_>, Vec<_>) = wire.drain(..).partition(|(when, _, _)| *when <= now);
        wire = later;
        for (_, to_b, frame) in due {
            if to_b { b.gets(at, &[frame]) } else { a.gets(at, &[frame]) }
        }
        a.timeout(at);
        b.timeout(at);
        if a.state(client) == Some(State::Established) && now % 5_000 == 0 {
            a.stack.send(&mut a.pool, at, client, &[1; 100]).unwrap();
        }
        wire.extend(a.sent(at).into_iter().map(|frame| (now + delay, true, frame)));
        wire.extend(b.sent(at).into_iter().map(|frame| (now + delay, false, frame)));
    }
    let info = a.stack.connection_info(client).unwrap();
    assert!(info.srtt.is_some_and(|srtt| srtt >= Duration::from_millis(2_000)), "{info:?}");
    assert!(info.retransmits <= 4, "{info:?}");
}

/// More sockets than one call works off wait for a station that is never found, while the table of neighbours is full.
#[test]
fn a_neighbor_for_whom_sockets_wait_is_not_evicted() {
    let limits = || {
        let mut limits = Limits::small();
        limits.connections = 200;
        limits.neighbors = 2;
        limits
    };
    let mut a = Host::with_limits(1, TcpConfig::default(), limits());
    let first: Vec<_> = (0..200).map(|i| a.connect(ms(0), 77, 80, 1_000 + i)).collect();
    for now in 0..10 {
        a.sent(ms(now));
    }
    // Gives up the station, but not yet all who wait for it.
    for now in [1_000, 2_000, 3_000] {
        a.stack.handle_timeout(&mut a.pool, ms(now));
        a.sent(ms(now));
    }
    for handle in &first[..150] {
        a.stack.close(&mut a.pool, ms(3_000), *handle);
    }
    for to in 80..90 {
        a.connect(ms(3_000), to, 80, 1_000);
        a.sent(ms(3_000));
    }
    a.timeout(ms(60_000));
    while a.stack.poll_event().is_some() {}
    for now in 0..200 {
        a.timeout(ms(60_000 + now * 1_000));
        a.sent(ms(60_000 + now * 1_000));
    }
    assert!(first.iter().all(|handle| a.state(*handle).is_none_or(|state| state == State::Closed)));
}

/// A permanent neighbour does not keep the table from replacing the others.
#[test]
fn a_full_neighbor_table_replaces_failed_entries_behind_a_permanent_one() {
    let mut limits = Limits::small();
    limits.neighbors = 3;
    let mut a = Host::with_limits(1, TcpConfig::default(), limits).knows(2);
    for to in 80..90 {
        let now = u64::from(to) * 10_000;
        let handle = a.connect(ms(now), to, 80, 1_000);
        assert!(!a.sent(ms(now)).is_empty(), "nobody asked for host {to}");
        for second in 1..6 {
            a.timeout(ms(now + second * 1_000));
            a.sent(ms(now + second * 1_000));
        }
        a.stack.close(&mut a.pool, ms(now + 6_000), handle);
    }
}

/// A SYN that came in by one interface is answered by the one that leads back, in segments that fit there.
#[test]
fn an_answer_leaves_by_the_interface_of_its_route() {
    let mut b = Host::new(2, TcpConfig::default());
    let mut wide = InterfaceConfig::ethernet(mac(3));
    wide.mtu = 9_000;
    let wide = b.stack.add_interface(ms(0), wide).unwrap();
    b.stack.add_address(ms(0), wide, "10.1.0.2/24".parse().unwrap()).unwrap();
    let mut b = b.knows(1);
    let listener = b.stack.listen(Endpoint::any(80), ListenOptions::default()).unwrap();
    let mut a = Host::new(1, TcpConfig::default());
    let mut jumbo = InterfaceConfig::ethernet(mac(9));
    jumbo.mtu = 9_000;
    a = {
        let mut host = Host { stack: Stack::new(Config::new([1, 2]), Limits::small()), pool: a.pool };
        let nic = host.stack.add_interface(ms(0), jumbo).unwrap();
        host.stack.add_address(ms(0), nic, "10.0.0.1/24".parse().unwrap()).unwrap();
        host.stack.add_neighbor(&mut host.pool, nic, "10.0.0.2".parse().unwrap(), mac(3)).unwrap();
        host
    };
    a.connect(ms(0), 2, 80, 1_000);
    for _ in 0..10 {
        for frame in a.sent(ms(0)) {
            b.stack.receive(&mut b.pool, ms(0), wide, &frame, FrameMeta::received(frame.len()));
        }
        let by_wide = b.sent_on(ms(0), wide);
        assert!(by_wide.iter().all(|frame| frame[6..12] == mac(3).0), "another interface's station");
        let mut frames = b.sent(ms(0));
        for frame in &mut frames {
            frame[..6].copy_from_slice(&mac(9).0);
        }
        a.gets(ms(0), &frames);
    }
    let server = b.stack.accept(listener).unwrap();
    b.stack.send(&mut b.pool, ms(1), server, &[1; 20_000]).unwrap();
    assert!(b.sent(ms(1)).iter().all(|frame| frame.len() <= 1_514));
}

/// Segments out of order that arrive in one batch with what filled the gap are no sign of loss any more.
#[test]
fn a_gap_that_is_filled_within_a_batch_owes_one_acknowledgment() {
    let (mut a, mut b) = pair();
    let (client, _) = established(&mut a, &mut b);
    a.stack.send(&mut a.pool, ms(1), client, &[1; 14_600]).unwrap();
    let mut segments = a.segments(ms(1));
    segments.rotate_left(1);
    b.gets(ms(1), &segments);
    let acks = b.segments(ms(1));
    assert_eq!(acks.len(), 1);
}

/// RFC 9293 §3.8.6: a FIN takes a place in the window like a byte.
#[test]
fn a_fin_waits_for_a_closed_window_as_long_as_the_peer_answers() {
    let (mut a, mut b) = pair();
    let (client, server) = established(&mut a, &mut b);
    let mut now = 1;
    loop {
        let window = b.stack.connection_info(server).unwrap().receive_window as usize;
        if window == 0 {
            break;
        }
        a.stack.send(&mut a.pool, ms(now), client, &vec![1; window.min(1_000)]).unwrap();
        exchange(ms(now), &mut a, &mut b);
        now += 50;
        b.timeout(ms(now));
        exchange(ms(now), &mut a, &mut b);
    }
    a.stack.shutdown(ms(now), client).unwrap();
    for _ in 0..4_000 {
        now += 1_000;
        a.timeout(ms(now));
        b.timeout(ms(now));
        exchange(ms(now), &mut a, &mut b);
    }
    let info = a.stack.connection_info(client).unwrap();
    assert_eq!((info.state, info.retransmits), (State::FinWait1, 0));
    let mut buf = vec![0; 300_000];
    b.stack.recv(&mut b.pool, ms(now), server, &mut buf).unwrap();
    exchange(ms(now), &mut a, &mut b);
    for _ in 0..200 {
        now += 1_000;
        a.timeout(ms(now));
        b.timeout(ms(now));
        exchange(ms(now), &mut a, &mut b);
    }
    assert_eq!(a.state(client), Some(State::FinWait2));
}

/// `None` from `transmit` means that there is nothing to send, however many sockets are looked at in vain.
#[test]
fn sockets_with_nothing_to_send_do_not_hide_one_that_has() {
    let mut limits = Limits::small();
    (limits.connections, limits.syn_queue) = (200, 200);
    let mut a = Host::with_limits(1, TcpConfig::default(), limits).knows(2);
    let mut b = Host::with_limits(2, TcpConfig::default(), limits).knows(1);
    let backlog = ListenOptions { backlog: 200, ..ListenOptions::default() };
    b.stack.listen(Endpoint::any(80), backlog).unwrap();
    let clients: Vec<_> = (0..150).map(|i| a.connect(ms(0), 2, 80, 1_000 + i)).collect();
    exchange(ms(0), &mut a, &mut b);
    for client in &clients {
        a.stack.set_nodelay(*client, true).unwrap();
    }
    a.stack.send(&mut a.pool, ms(1), clients[149], b"x").unwrap();
    assert_eq!(a.sent(ms(1)).len(), 1);
}

/// An interface that could not be set up does not keep its place.
#[test]
fn an_interface_without_room_for_its_address_leaves_nothing_behind() {
    let (mut a, _) = pair();
    let (first, _) = a.stack.interfaces().next().unwrap();
    let mut more = (1..).map(|host| format!("10.9.0.{host}/24").parse().unwrap());
    while a.stack.add_address(ms(0), first, more.next().unwrap()).is_ok() {}
    let full = a.stack.add_interface(ms(0), InterfaceConfig::ethernet(mac(3)));
    assert_eq!(full, Err(ConfigError::LimitReached("addresses")));
    assert_eq!(a.stack.interfaces().count(), 1);
}
