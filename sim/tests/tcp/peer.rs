//! The other side of a stack, played by the test: what it sends and what it must get are written in the notation of
//! packetdrill, with sequence numbers relative to those of the two SYNs.

use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    Config, ConnectOptions, ConnectionHandle, DropReason, DuplicateDetection, Endpoint, FrameMeta, InterfaceConfig,
    InterfaceId, Limits, ListenOptions, ListenerHandle, Pool, RecvError, Stack, State, TcpConfig,
};
use ethertab_sim::apps::{fill_pattern, first_difference};
use ethertab_sim::packet::{self, ACK, Notation, SYN, Segment, TCP, options_text};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// The stack listens here.
pub(crate) const HOST_PORT: u16 = 80;
/// The peer listens and connects from here.
pub(crate) const PEER_PORT: u16 = 4_000;
/// The stack connects from here.
const CLIENT_PORT: u16 = 5_000;
const NIC: InterfaceId = InterfaceId(0);

const HOST_PREFIXES: [&str; 2] = ["10.0.0.1/24", "fd00::1/64"];
const PEER_ADDRESSES: [&str; 2] = ["10.0.0.2", "fd00::2"];

/// Patterns of what the peer and the stack send.
const FROM_PEER: u64 = 1;
const FROM_HOST: u64 = 2;

/// How far before the wrap sequence numbers begin in the worlds that test it.
const BEFORE_WRAP: u32 = 300;

/// Where a scenario takes place.
#[derive(Clone, Copy, Debug)]
struct Place {
    ipv6: bool,
    /// Sequence numbers of both sides wrap soon.
    wraps: bool,
}

/// A stack and its peer.
pub(crate) struct Peer {
    place: Place,
    pub(crate) stack: Stack<'static>,
    pub(crate) pool: Pool<'static>,
    pub(crate) now: Instant,
    pub(crate) listener: Option<ListenerHandle>,
    /// The connection's port on the stack's side.
    host_port: u16,
    /// Initial sequence numbers.
    peer_iss: u32,
    host_iss: u32,
    sent: VecDeque<Vec<u8>>,
    /// Bytes of the pattern written to and read from the connection.
    written: u64,
    read: u64,
}

/// Plays a scenario over both families, and with sequence numbers that wrap in the middle of it (T28).
pub(crate) fn everywhere(scenario: impl Fn(&mut Peer)) {
    everywhere_with(|_| (), scenario);
}

/// [`everywhere`], with other settings of TCP than usual.
pub(crate) fn everywhere_with(configure: impl Fn(&mut TcpConfig), scenario: impl Fn(&mut Peer)) {
    for (ipv6, wraps) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut tcp = TcpConfig::default();
        // A window that fits its field without scaling, so that the numbers in the scenarios are those on the wire.
        tcp.receive_buffer = 60_000;
        configure(&mut tcp);
        let place = Place { ipv6, wraps };
        println!("{place:?}");
        scenario(&mut Peer::new(place, tcp));
    }
}

/// The addresses are known to be the host's: the scenarios begin after that.
fn interface_config() -> InterfaceConfig {
    let mut config = InterfaceConfig::ethernet(HOST_MAC);
    config.detection = DuplicateDetection::Off;
    config.reports_groups = false;
    config
}

impl Peer {
    fn new(place: Place, tcp: TcpConfig) -> Peer {
        let mut config = Config::new([1, 2]);
        config.tcp = tcp;
        let mut stack = Stack::new(config, Limits::small());
        stack.add_interface(Instant::ZERO, interface_config()).unwrap();
        for prefix in HOST_PREFIXES {
            stack.add_address(Instant::ZERO, NIC, prefix.parse().unwrap()).unwrap();
        }
        let mut peer = Peer {
            place,
            stack,
            pool: Pool::new(512),
            now: Instant::ZERO,
            listener: None,
            host_port: HOST_PORT,
            peer_iss: if place.wraps { BEFORE_WRAP.wrapping_neg() } else { 1_000_000 },
            host_iss: 0,
            sent: VecDeque::new(),
            written: 0,
            read: 0,
        };
        peer.remember_neighbor();
        // Announcements of the addresses.
        peer.ignore();
        peer
    }

    pub(crate) fn is_ipv6(&self) -> bool {
        self.place.ipv6
    }

    pub(crate) fn host_address(&self) -> IpAddr {
        if self.place.ipv6 { "fd00::1" } else { "10.0.0.1" }.parse().unwrap()
    }

    pub(crate) fn address(&self) -> IpAddr {
        if self.place.ipv6 { "fd00::2" } else { "10.0.0.2" }.parse().unwrap()
    }

    /// The MSS that the stack announces.
    pub(crate) fn host_mss(&self) -> u16 {
        if self.place.ipv6 { 1_440 } else { 1_460 }
    }

    // Opening

    /// Lets the stack listen.
    pub(crate) fn listen(&mut self) {
        self.listen_with_backlog(16);
    }

    pub(crate) fn listen_with_backlog(&mut self, backlog: u16) {
        let options = ListenOptions { backlog, ..ListenOptions::default() };
        self.listener = Some(self.stack.listen(Endpoint::any(HOST_PORT), options).unwrap());
        if self.place.wraps {
            self.wait_for_wrapping_iss(|peer| peer.send("S 0:0(0) win 60000"));
        }
    }

    /// Lets the stack connect to the peer.
    pub(crate) fn connect(&mut self) -> ConnectionHandle {
        self.host_port = CLIENT_PORT;
        if self.place.wraps {
            self.wait_for_wrapping_iss(|peer| {
                peer.start_connecting();
            });
        }
        self.start_connecting()
    }

    fn start_connecting(&mut self) -> ConnectionHandle {
        let options = ConnectOptions { local: Some(Endpoint::any(CLIENT_PORT)), ..ConnectOptions::default() };
        let remote = SocketAddr::new(self.address(), PEER_PORT);
        let handle = self.stack.connect(self.now, remote, options).unwrap();
        self.drain();
        handle
    }

    /// Initial sequence numbers follow the clock (RFC 9293 §3.4.1): lets time pass until the one that `open` causes is
    /// near the wrap.
    fn wait_for_wrapping_iss(&mut self, open: impl FnOnce(&mut Peer)) {
        let mut trial = Peer {
            stack: self.stack.clone(),
            pool: self.pool.clone(),
            sent: VecDeque::new(),
            ..Peer::new(self.place, TcpConfig::default())
        };
        (trial.now, trial.host_port) = (self.now, self.host_port);
        open(&mut trial);
        let syn = trial.take().expect("the stack answers or sends a SYN");
        let ahead = BEFORE_WRAP.wrapping_neg().wrapping_sub(syn.seq);
        self.pass(Duration::from_micros(u64::from(ahead) * 4));
    }

    /// The handshake of a connection to the stack with a segment size of 1,000 and a window of 60,000.
    pub(crate) fn establish(&mut self) -> ConnectionHandle {
        self.listen();
        self.send("S 0:0(0) win 60000 <mss 1000>");
        self.expect("S. 0:0(0) ack 1");
        self.send(". 1:1(0) ack 1 win 60000");
        self.expect_nothing();
        self.accept().expect("a connection to accept")
    }

    pub(crate) fn accept(&mut self) -> Option<ConnectionHandle> {
        self.stack.accept(self.listener?)
    }

    // Calls of the stack's user

    /// Writes so many bytes of the pattern and lets the stack send.
    pub(crate) fn write(&mut self, handle: ConnectionHandle, len: usize) -> usize {
        let mut bytes = vec![0; len];
        fill_pattern(FROM_HOST, self.written, &mut bytes);
        let taken = self.stack.send(&mut self.pool, self.now, handle, &bytes).unwrap();
        self.written += taken as u64;
        self.drain();
        taken
    }

    /// Reads up to so many bytes and checks them; returns how many.
    pub(crate) fn read(&mut self, handle: ConnectionHandle, len: usize) -> Result<usize, RecvError> {
        let mut bytes = vec![0; len];
        let count = self.stack.recv(&mut self.pool, self.now, handle, &mut bytes)?;
        assert_eq!(first_difference(FROM_PEER, self.read, &bytes[..count]), None, "wrong byte");
        self.read += count as u64;
        self.drain();
        Ok(count)
    }

    pub(crate) fn shutdown(&mut self, handle: ConnectionHandle) {
        self.stack.shutdown(self.now, handle).unwrap();
        self.drain();
    }

    pub(crate) fn close(&mut self, handle: ConnectionHandle) {
        self.stack.close(&mut self.pool, self.now, handle);
        self.drain();
    }

    pub(crate) fn state(&self, handle: ConnectionHandle) -> Option<State> {
        self.stack.connection_info(handle).map(|info| info.state)
    }

    /// The state of the only connection, whoever holds it.
    pub(crate) fn only_state(&self) -> Option<State> {
        let mut states = self.stack.connections().map(|info| info.state);
        let state = states.next();
        assert!(states.next().is_none(), "more than one connection");
        state
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.stack.counters().drops(reason)
    }

    // The wire

    /// Sends a segment; its payload is the pattern at its place in the stream.
    pub(crate) fn send(&mut self, text: &str) {
        let segment = self.segment(text);
        self.send_segment(&segment);
    }

    /// The segment that a text stands for.
    pub(crate) fn segment(&self, text: &str) -> Segment {
        let notation: Notation = text.parse().unwrap_or_else(|error| panic!("{error}"));
        let mut payload = vec![0; notation.len as usize];
        fill_pattern(FROM_PEER, u64::from(notation.seq.saturating_sub(1)), &mut payload);
        Segment {
            source_port: PEER_PORT,
            destination_port: self.host_port,
            seq: self.peer_iss.wrapping_add(notation.seq),
            ack: notation.ack.map_or(0, |ack| self.host_iss.wrapping_add(ack)),
            flags: notation.flags,
            window: notation.window.unwrap_or(60_000),
            options: notation.options.unwrap_or_default(),
            payload,
            urgent: 0,
        }
    }

    pub(crate) fn send_segment(&mut self, segment: &Segment) {
        self.send_ip(TCP, &segment.to_bytes());
    }

    /// Sends an IP packet from the peer's to the stack's address.
    pub(crate) fn send_ip(&mut self, protocol: u8, payload: &[u8]) {
        let (source, destination) = (self.address(), self.host_address());
        self.send_from(source, destination, protocol, payload);
    }

    pub(crate) fn send_from(&mut self, source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) {
        self.send_frame(&packet::ip_frame((PEER_MAC, HOST_MAC), source, destination, protocol, payload));
    }

    pub(crate) fn send_frame(&mut self, frame: &[u8]) {
        self.stack.receive(&mut self.pool, self.now, NIC, frame, FrameMeta::received(frame.len()));
        self.drain();
    }

    /// Delivers several segments before the stack gets to send, as a batch.
    pub(crate) fn send_batch(&mut self, texts: &[&str]) {
        for text in texts {
            self.deliver(text);
        }
        self.drain();
    }

    /// Delivers a segment before the stack gets to send.
    pub(crate) fn deliver(&mut self, text: &str) {
        let segment = self.segment(text);
        self.receive(&segment);
    }

    /// Has the stack receive a segment, and no more.
    pub(crate) fn receive(&mut self, segment: &Segment) {
        let macs = (PEER_MAC, HOST_MAC);
        let frame = packet::ip_frame(macs, self.address(), self.host_address(), TCP, &segment.to_bytes());
        self.stack.receive(&mut self.pool, self.now, NIC, &frame, FrameMeta::received(frame.len()));
    }

    /// From now on the stack does not know the peer's station, and nobody answers its questions.
    pub(crate) fn forget_neighbor(&mut self) {
        self.stack.remove_interface(&mut self.pool, self.now, NIC).unwrap();
        self.stack.add_interface(self.now, interface_config()).unwrap();
        for prefix in HOST_PREFIXES {
            self.stack.add_address(self.now, NIC, prefix.parse().unwrap()).unwrap();
        }
        self.drain();
        self.ignore();
    }

    /// The stack gets to know the peer's station.
    pub(crate) fn remember_neighbor(&mut self) {
        for address in PEER_ADDRESSES {
            self.stack.add_neighbor(&mut self.pool, NIC, address.parse().unwrap(), PEER_MAC).unwrap();
        }
        self.drain();
    }

    /// Lets the stack send what it has.
    pub(crate) fn drain(&mut self) {
        let mut buf = [0; 1_514];
        while let Some(meta) = self.stack.transmit(&mut self.pool, self.now, NIC, &mut buf) {
            self.sent.push_back(buf[..meta.len].to_vec());
        }
    }

    /// The next frame that the stack has sent.
    pub(crate) fn take_frame(&mut self) -> Option<Vec<u8>> {
        self.sent.pop_front()
    }

    /// The next segment that the stack has sent.
    pub(crate) fn take(&mut self) -> Option<Segment> {
        let frame = self.take_frame()?;
        let mut repaired = frame.clone();
        ethertab_sim::mutate::repair_checksums(&mut repaired);
        assert_eq!(repaired, frame, "a checksum is wrong");
        let (_, _, protocol, payload) = packet::parse_ip(&frame).expect("an IP packet");
        assert_eq!(protocol, TCP);
        Some(Segment::parse(payload).expect("a segment"))
    }

    /// The next thing that the stack has sent must be this.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        let Some(segment) = self.take() else { panic!("{text} was expected, nothing came") };
        self.check(text, &segment);
    }

    #[track_caller]
    fn check(&mut self, text: &str, segment: &Segment) {
        if segment.flags & SYN != 0 {
            self.host_iss = segment.seq;
        }
        let got = segment.relative_to(self.host_iss, self.peer_iss);
        let expected: Notation = text.parse().unwrap_or_else(|error| panic!("{error}"));
        let ack = (segment.flags & ACK != 0).then(|| segment.ack.wrapping_sub(self.peer_iss));
        let same = segment.flags == expected.flags
            && segment.seq.wrapping_sub(self.host_iss) == expected.seq
            && segment.payload.len() as u32 == expected.len
            && ack == expected.ack
            && expected.window.is_none_or(|window| window == segment.window)
            && expected.options.as_ref().is_none_or(|options| options_text(options) == options_text(&segment.options));
        assert!(same, "{text} was expected, {got} came");
        let offset = u64::from(expected.seq.saturating_sub(1));
        assert_eq!(first_difference(FROM_HOST, offset, &segment.payload), None, "wrong byte in {got}");
    }

    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        if let Some(segment) = self.take() {
            panic!("{} came, nothing was expected", segment.relative_to(self.host_iss, self.peer_iss));
        }
    }

    /// The stack's initial sequence number.
    pub(crate) fn host_zero(&self) -> u32 {
        self.host_iss
    }

    /// Whether nothing that the stack has sent is left to look at.
    pub(crate) fn is_silent(&self) -> bool {
        self.sent.is_empty()
    }

    /// Forgets what the stack has sent.
    pub(crate) fn ignore(&mut self) {
        self.sent.clear();
    }

    // Time

    /// Lets time pass; timers fire.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.stack.next_timeout().filter(|due| *due <= end) {
            self.fire(due);
        }
        self.now = end;
    }

    fn fire(&mut self, due: Instant) {
        self.now = self.now.max(due);
        self.stack.handle_timeout(&mut self.pool, self.now);
        self.drain();
    }

    pub(crate) fn pass_millis(&mut self, millis: u64) {
        self.pass(Duration::from_millis(millis));
    }

    /// Lets time pass until the stack sends something, which must be this. Returns how many milliseconds that took.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> u64 {
        let begin = self.now;
        while self.sent.is_empty() {
            let due = self.stack.next_timeout().unwrap_or(Instant::FAR_FUTURE);
            assert!(due.since(begin) < Duration::from_secs(7_200), "{text} was expected, nothing will come");
            self.fire(due);
        }
        self.expect(text);
        self.now.since(begin).as_millis()
    }

    /// Lets time pass until nothing is left to happen; returns what the connections did meanwhile is over.
    pub(crate) fn pass_until_quiet(&mut self) {
        for _ in 0..100_000 {
            let Some(due) = self.stack.next_timeout() else { return };
            self.fire(due);
        }
        panic!("the stack never comes to rest");
    }

    /// After everything: no connection is left and no block in use.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&mut self) {
        self.pass_until_quiet();
        assert_eq!(self.stack.connections().count(), 0, "connections left");
        assert_eq!(self.pool.blocks_in_use(), 0, "blocks in use");
    }
}
