//! Floods and scarcity: the reasons to drop something that single damaged frames do not reach.

use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{
    AnyAddress, Config, ConnectOptions, DropReason, Endpoint, Forwarding, FrameMeta, InterfaceConfig, InterfaceId,
    Limits, ListenOptions, NatConfig, Pool, RawKind, RawOptions, SourceFilter, Stack, SynCookies, UdpMeta,
};
use ethertab_sim::packet::{self, ACK, ICMP, SYN, Segment, TCP, UDP};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const NIC: InterfaceId = InterfaceId(0);

/// What it is, the reason that it is about, and how it comes to be.
type Overload = (&'static str, DropReason, fn(&mut Host));

/// What the overloads drop, by reason.
pub(crate) fn drops(seed: u64) -> BTreeMap<&'static str, u64> {
    let scenes: [Overload; 31] = [
        ("a listener with a full accept queue", DropReason::TcpAcceptQueueFull, full_accept_queue),
        ("more SYNs than there is room for", DropReason::TcpSynQueueFull, syn_flood),
        ("one-byte segments with gaps", DropReason::TcpReassemblyFull, shredded_stream),
        ("data beyond a gap in a full pool", DropReason::TcpNoMemory, full_pool),
        ("a datagram socket that nobody reads", DropReason::UdpQueueFull, unread_datagrams),
        ("pings to more neighbours than the table holds", DropReason::NeighborTableFull, many_neighbors),
        ("datagrams to a neighbour that does not answer", DropReason::NeighborQueueFull, silent_neighbor),
        ("packets that waited in vain", DropReason::NeighborUnreachable, silent_neighbor),
        ("more pings at once than the queue of answers takes", DropReason::ControlQueueFull, ping_flood),
        ("datagrams to a closed port", DropReason::IcmpRateLimited, closed_port),
        ("a datagram that the path does not take any more", DropReason::PacketTooBig, narrowed_path),
        ("a ping from where no route leads", DropReason::NoRoute, stranger),
        ("fragments that overlap", DropReason::IpFragmentOverlap, fragment_storm),
        ("fragments that come twice", DropReason::IpFragmentDuplicate, fragment_storm),
        ("fragments of more datagrams than there is room for", DropReason::IpReassemblyFull, fragment_storm),
        ("fragments whose others never come", DropReason::IpReassemblyTimeout, fragment_storm),
        ("frames for an interface that was removed", DropReason::NoInterface, removed_interface),
        ("frames to look at that nobody reads", DropReason::RawQueueFull, unread_frames),
        ("a frame of a VLAN that the host is not in", DropReason::VlanUnknown, strange_vlan),
        ("a packet for another host on its last hop", DropReason::HopLimitExceeded, packets_to_forward),
        ("a packet to forward from a link-local address", DropReason::ForwardScope, packets_to_forward),
        ("a packet to forward from where no route leads", DropReason::ReversePath, packets_to_forward),
        ("more packets to forward than wait", DropReason::ForwardQueueFull, packets_to_forward),
        ("a packet to an interface that does not forward", DropReason::ForwardProhibited, packets_to_forward),
        ("a datagram for an inside host that has not asked", DropReason::NatFiltered, translated_packets),
        ("more flows than one inside host may have", DropReason::NatTableFull, translated_packets),
        ("a packet without ports to translate", DropReason::NatUntranslatable, translated_packets),
        ("a second SYN of a flow that waits for a decision", DropReason::FlowPending, undecided_flows),
        ("more flows than may wait for a decision", DropReason::FlowTableFull, undecided_flows),
        ("a query of a multicast router that is cut short", DropReason::GroupMessageInvalid, cut_query),
        ("a group that a socket has not joined", DropReason::UdpSourceFiltered, unwanted_group),
    ];
    let mut drops = BTreeMap::new();
    for (name, reason, scene) in scenes {
        let mut host = Host::new(seed);
        scene(&mut host);
        let counters = host.stack.counters();
        assert!(counters.drops(reason) > 0, "{name}: {:?}", counters.drops_by_reason().collect::<Vec<_>>());
        for (reason, count) in counters.drops_by_reason() {
            *drops.entry(reason).or_insert(0) += count;
        }
        host.ends_clean(name);
    }
    drops
}

/// A host with small tables and a small pool.
struct Host {
    stack: Stack<'static>,
    pool: Pool<'static>,
    now: Instant,
}

impl Host {
    fn new(seed: u64) -> Host {
        let mut stack = Stack::new(Config::new([seed, 0]), Limits::small());
        let mut pool = Pool::new(100);
        set_up(&mut stack, &mut pool, Instant::ZERO);
        let mut host = Host { stack, pool, now: Instant::ZERO };
        host.drain();
        host
    }

    fn receive(&mut self, source: IpAddr, protocol: u8, payload: &[u8]) {
        let frame = packet::ip_frame((PEER_MAC, HOST_MAC), source, HOST, protocol, payload);
        self.stack.receive(&mut self.pool, self.now, NIC, &frame, FrameMeta::received(frame.len()));
    }

    /// A segment from the peer's `port` to port 80.
    fn segment(&mut self, port: u16, seq: u32, ack: u32, flags: u16, payload: &[u8]) {
        let segment = Segment {
            source_port: port,
            destination_port: 80,
            seq,
            ack,
            flags,
            window: 60_000,
            payload: payload.to_vec(),
            ..Segment::default()
        };
        self.receive(PEER, TCP, &segment.to_bytes());
    }

    /// Takes what the host sends; returns the last segment of it.
    fn drain(&mut self) -> Option<Segment> {
        let mut last = None;
        let mut buf = [0; 1_514];
        while let Some(meta) = self.stack.transmit(&mut self.pool, self.now, NIC, &mut buf) {
            if let Some((_, _, TCP, payload)) = packet::parse_ip(&buf[..meta.len]) {
                last = Segment::parse(payload);
            }
        }
        // What a second interface says of its addresses.
        while self.stack.transmit(&mut self.pool, self.now, InterfaceId(NIC.0 + 1), &mut buf).is_some() {}
        last
    }

    /// Opens a connection from the peer's port whose first byte has sequence number 1; returns the host's next one.
    fn open(&mut self, port: u16) -> u32 {
        self.segment(port, 0, 0, SYN, &[]);
        let next = self.drain().expect("a SYN and ACK").seq.wrapping_add(1);
        self.segment(port, 1, next, ACK, &[]);
        self.drain();
        next
    }

    fn listen(&mut self, backlog: u16) {
        self.stack.listen(Endpoint::any(80), ListenOptions { backlog, ..ListenOptions::default() }).unwrap();
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        self.drain();
        while let Some(due) = self.stack.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.stack.handle_timeout(&mut self.pool, self.now);
            self.drain();
        }
        self.now = end;
    }

    /// After the overload the memory is back, and the host answers as before.
    fn ends_clean(&mut self, name: &str) {
        self.stack.close_all(&mut self.pool, self.now);
        self.pass(Duration::from_secs(600));
        assert_eq!(self.pool.blocks_in_use(), 0, "{name}");
        let before = self.stack.counters().frames_sent;
        self.receive(PEER, ICMP, &packet::icmp(8, 0, 1, b"are you there"));
        self.drain();
        assert_eq!(self.stack.counters().frames_sent, before + 1, "{name}");
    }
}

/// The interface, its address and its neighbour.
fn set_up(stack: &mut Stack<'static>, pool: &mut Pool<'static>, now: Instant) {
    assert_eq!(stack.add_interface(now, InterfaceConfig::ethernet(HOST_MAC)), Ok(NIC));
    stack.add_address(now, NIC, "10.0.0.1/16".parse().unwrap()).unwrap();
    stack.add_neighbor(pool, NIC, PEER, PEER_MAC).unwrap();
}

/// With a frame before that leaves an answer in the queue, and one after.
fn unread_frames(host: &mut Host) {
    let socket = host.stack.open_raw(RawOptions::new(RawKind::Ipv4(ICMP))).unwrap();
    for _ in 0..300 {
        host.receive(PEER, ICMP, &packet::icmp(8, 0, 1, &[0; 1_000]));
        host.drain();
    }
    host.stack.close_raw(&mut host.pool, socket);
}

fn strange_vlan(host: &mut Host) {
    let ping = packet::icmp(8, 0, 1, b"are you there");
    let frame = packet::ip_frame((PEER_MAC, HOST_MAC), PEER, HOST, ICMP, &ping);
    let tagged = [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat();
    host.stack.receive(&mut host.pool, host.now, NIC, &tagged, FrameMeta::received(tagged.len()));
}

fn removed_interface(host: &mut Host) {
    let ping = packet::icmp(8, 0, 1, b"are you there");
    host.receive(PEER, ICMP, &ping);
    host.stack.remove_interface(&mut host.pool, host.now, NIC).unwrap();
    host.receive(PEER, ICMP, &ping);
    assert_eq!(host.stack.counters().drops(DropReason::NoInterface), 2);
    assert_eq!((host.drain(), host.pool.blocks_in_use()), (None, 0));
    set_up(&mut host.stack, &mut host.pool, host.now);
}

fn full_accept_queue(host: &mut Host) {
    host.listen(2);
    for port in 1_000..1_002 {
        host.open(port);
    }
    host.segment(1_002, 0, 0, SYN, &[]);
}

fn syn_flood(host: &mut Host) {
    let mut tcp = host.stack.config().tcp;
    // Cookies would answer.
    tcp.syn_cookies = SynCookies::Off;
    let options = ListenOptions { backlog: 128, tcp: Some(tcp), ..ListenOptions::default() };
    host.stack.listen(Endpoint::any(80), options).unwrap();
    for port in 1_000..3_000 {
        host.segment(port, 7, 0, SYN, &[]);
        host.drain();
    }
    assert_eq!(host.pool.blocks_in_use(), 0, "half-open connections hold no block");
}

fn shredded_stream(host: &mut Host) {
    host.listen(1);
    let ack = host.open(1_000);
    for number in 0..2_000 {
        host.segment(1_000, 3 + number * 2, ack, ACK, &[1]);
        host.drain();
    }
}

fn full_pool(host: &mut Host) {
    host.listen(60);
    for port in 1_000..1_050 {
        let ack = host.open(port);
        for number in 0..20 {
            host.segment(port, 1_001 + number * 1_000, ack, ACK, &[1; 1_000]);
            host.drain();
        }
    }
    assert!(host.pool.peak_blocks() > 70, "{} blocks", host.pool.peak_blocks());
}

fn unread_datagrams(host: &mut Host) {
    host.stack.bind_udp(Endpoint::any(7)).unwrap();
    for _ in 0..1_000 {
        host.receive(PEER, UDP, &packet::udp(7, 7, &[1; 1_400]));
    }
}

fn many_neighbors(host: &mut Host) {
    let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
    for number in 0..200 {
        let meta = UdpMeta::to(SocketAddr::from(([10, 0, 1, number], 7)));
        host.stack.udp_send(&mut host.pool, host.now, socket, &meta, b"hello").unwrap();
        host.drain();
    }
    let connected = host.stack.connect(host.now, SocketAddr::from(([10, 0, 1, 250], 7)), ConnectOptions::default());
    connected.unwrap();
    host.drain();
}

fn silent_neighbor(host: &mut Host) {
    let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
    let meta = UdpMeta::to(SocketAddr::from(([10, 0, 1, 1], 7)));
    for _ in 0..100 {
        host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &[1; 1_000]).unwrap();
        host.drain();
    }
    assert!(host.pool.blocks_in_use() <= 4, "{} blocks wait for one neighbour", host.pool.blocks_in_use());
    host.pass(Duration::from_secs(10));
}

fn ping_flood(host: &mut Host) {
    for number in 0..1_000 {
        host.receive(PEER, ICMP, &packet::icmp(8, 0, number, &[1; 100]));
    }
}

fn closed_port(host: &mut Host) {
    for _ in 0..1_000 {
        host.receive(PEER, UDP, &packet::udp(7, 9_999, b"nobody"));
        host.drain();
    }
    assert!(host.stack.counters().frames_sent < 100);
}

fn narrowed_path(host: &mut Host) {
    let socket = host.stack.bind_udp(Endpoint::any(7)).unwrap();
    let meta = UdpMeta::to(SocketAddr::new(PEER, 7));
    host.stack.udp_send(&mut host.pool, host.now, socket, &meta, &[1; 1_400]).unwrap();
    host.stack.set_path_mtu(host.now, PEER, 1_000);
    host.drain();
}

fn stranger(host: &mut Host) {
    host.receive(IpAddr::from([192, 0, 2, 1]), ICMP, &packet::icmp(8, 0, 1, b"far away"));
    host.drain();
}

/// Of each datagram two fragments come twice, of every third a third that overlaps them.
fn fragment_storm(host: &mut Host) {
    let whole = packet::ip_frame((PEER_MAC, HOST_MAC), PEER, HOST, UDP, &packet::udp(7, 7, &[1; 5_000]));
    let mut receive = |id, place, len| {
        let frame = packet::fragment(&whole, id, (place, len), true);
        host.stack.receive(&mut host.pool, host.now, NIC, &frame, FrameMeta::received(frame.len()));
    };
    for id in 0..300 {
        for place in [0, 2_000, 0] {
            receive(id, place, 1_000);
        }
        if id % 3 == 0 {
            receive(id, 504, 1_000);
        }
    }
    assert!(host.pool.peak_blocks() < 70, "{} blocks", host.pool.peak_blocks());
    host.pass(Duration::from_secs(60));
}

/// A router that sends packets back to the link that they came from, and in the end does not.
fn packets_to_forward(host: &mut Host) {
    host.stack.set_forwarding(NIC, Forwarding::on()).unwrap();
    let frame = |source: [u8; 4], hops| {
        let there = IpAddr::from([10, 0, 0, 3]);
        let mut frame = packet::ip_frame((PEER_MAC, HOST_MAC), source.into(), there, UDP, &[7; 1_000]);
        frame[22] = hops;
        ethertab_sim::mutate::repair_checksums(&mut frame);
        frame
    };
    let now = host.now;
    host.stack.add_neighbor(&mut host.pool, NIC, IpAddr::from([10, 0, 0, 3]), PEER_MAC).unwrap();
    for (source, hops) in [([10, 0, 0, 2], 1), ([169, 254, 1, 1], 64), ([192, 0, 2, 1], 64)] {
        let frame = frame(source, hops);
        host.stack.receive(&mut host.pool, now, NIC, &frame, FrameMeta::received(frame.len()));
    }
    let frame = frame([10, 0, 0, 2], 64);
    for _ in 0..2_000 {
        host.stack.receive(&mut host.pool, now, NIC, &frame, FrameMeta::received(frame.len()));
    }
    let other = host.stack.add_interface(now, InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 0, 9]))).unwrap();
    host.stack.add_address(now, other, "10.0.0.9/29".parse().unwrap()).unwrap();
    let there = IpAddr::from([10, 0, 0, 10]);
    let frame = packet::ip_frame((PEER_MAC, HOST_MAC), PEER, there, UDP, &[7; 1_000]);
    host.stack.receive(&mut host.pool, now, NIC, &frame, FrameMeta::received(frame.len()));
    host.drain();
    host.stack.remove_interface(&mut host.pool, now, other).unwrap();
}

/// Half of an IGMP query.
fn unwanted_group(host: &mut Host) {
    let [_, other] = [7, 8].map(|port| host.stack.bind_udp(Endpoint::any(port)).unwrap());
    let group = IpAddr::from([239, 1, 1, 1]);
    host.stack.udp_set_filter(host.now, other, NIC, group, &SourceFilter::ALL).unwrap();
    let frame =
        packet::ip_frame((PEER_MAC, MacAddr::for_multicast(group)), PEER, group, UDP, &packet::udp(7, 7, b"data"));
    host.stack.receive(&mut host.pool, host.now, NIC, &frame, FrameMeta::received(frame.len()));
}

fn cut_query(host: &mut Host) {
    const IGMP: u8 = 2;
    let frame = packet::ip_frame((PEER_MAC, HOST_MAC), PEER, HOST, IGMP, &[0x11, 0, 0xee, 0xff]);
    host.stack.receive(&mut host.pool, host.now, NIC, &frame, FrameMeta::received(frame.len()));
}

/// An inside host that wants more flows than it may have, and a stranger outside.
fn translated_packets(host: &mut Host) {
    let outside = host.stack.add_interface(host.now, InterfaceConfig::ethernet(MacAddr([2, 0, 0, 0, 0, 9]))).unwrap();
    host.stack.add_address(host.now, outside, "10.9.0.1/24".parse().unwrap()).unwrap();
    for interface in [NIC, outside] {
        host.stack.set_forwarding(interface, Forwarding::on()).unwrap();
    }
    host.stack.set_nat(Some(NatConfig::outside(outside))).unwrap();
    let there = IpAddr::from([10, 9, 0, 2]);
    for port in 0..100 {
        let frame = packet::ip_frame((PEER_MAC, HOST_MAC), PEER, there, UDP, &packet::udp(port, 7, b"data"));
        host.stack.receive(&mut host.pool, host.now, NIC, &frame, FrameMeta::received(frame.len()));
    }
    let frame = packet::ip_frame((PEER_MAC, HOST_MAC), PEER, there, 47, &[0; 40]);
    host.stack.receive(&mut host.pool, host.now, NIC, &frame, FrameMeta::received(frame.len()));
    let stranger = (PEER_MAC, MacAddr([2, 0, 0, 0, 0, 9]));
    let frame = packet::ip_frame(stranger, there, PEER, UDP, &packet::udp(7, 7, b"data"));
    host.stack.receive(&mut host.pool, host.now, outside, &frame, FrameMeta::received(frame.len()));
    host.pass(Duration::from_secs(400));
    assert_eq!(host.stack.nat_flows().count(), 0);
    host.stack.remove_interface(&mut host.pool, host.now, outside).unwrap();
}

/// SYNs to an address that is nobody's, about which nobody decides.
fn undecided_flows(host: &mut Host) {
    let listener = host.stack.listen(Endpoint::any(80), ListenOptions::default()).unwrap();
    host.stack.set_any_address(NIC, Some(AnyAddress::through(listener))).unwrap();
    for port in 0..200 {
        let syn = Segment { source_port: port / 2, destination_port: 80, flags: SYN, ..Segment::default() };
        let far = IpAddr::from([192, 0, 2, 1]);
        let frame = packet::ip_frame((PEER_MAC, HOST_MAC), PEER, far, TCP, &syn.to_bytes());
        host.stack.receive(&mut host.pool, host.now, NIC, &frame, FrameMeta::received(frame.len()));
    }
    host.pass(Duration::from_secs(60));
}
