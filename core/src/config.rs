//! What is fixed at construction: limits, seeds and the defaults of sockets.

use core::num::NonZeroU32;

use crate::event::InterfaceId;
use crate::stack::addresses::DuplicateDetection;
use crate::stack::autoconfiguration::Autoconfiguration;
use crate::tcp::accecn::AccEcnOption;
use crate::tcp::congestion::{Algorithm, SlowStartExit, UnusedWindow};
use crate::tcp::cookies::SynCookies;
use crate::tcp::ecn::EcnMode;
use crate::tcp::fast_open::FastOpen;
use crate::tcp::manner::Manner;
use crate::tcp::recovery::DUPLICATE_THRESHOLD;
use crate::time::Duration;
use crate::wire::{MacAddr, ipv6};

/// How much of everything a stack can hold. Nothing grows beyond it; what happens at each limit is
/// defined: a frame is dropped and counted, or the caller gets an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Interfaces.
    pub interfaces: usize,
    /// Addresses, over all interfaces.
    pub addresses: usize,
    /// Routes, those of the addresses' own networks not counted.
    pub routes: usize,
    /// DNS servers that routers have advertised (RFC 8106), over all interfaces.
    pub dns_servers: usize,
    /// Search domains that routers have advertised, over all interfaces.
    pub search_domains: usize,
    /// Multicast groups that are joined, over all interfaces; those of the host's own IPv6 addresses are not counted, the one of an interface that
    /// forwards IPv6 is.
    pub groups: usize,
    /// Groups that UDP sockets have joined, each counted once for a socket and an interface.
    pub memberships: usize,
    /// Neighbour table entries, over all interfaces.
    pub neighbors: usize,
    /// TCP connections (without those in SYN-RECEIVED on a listener or in TIME-WAIT).
    pub connections: usize,
    /// TCP listeners.
    pub listeners: usize,
    /// Half-open connections of listeners (SYN-RECEIVED).
    pub syn_queue: usize,
    /// Connections in TIME-WAIT.
    pub time_wait: usize,
    /// UDP sockets.
    pub udp_sockets: usize,
    /// Echo requests under way.
    pub pings: usize,
    /// Raw sockets, of IP packets and of frames. Each is shown each packet, so that few are better.
    pub raw_sockets: usize,
    /// Destinations to which the path's MTU is remembered (RFC 8201 §5.2). Without any, a connection knows of its own reports only
    /// until it finds its path anew.
    pub path_mtus: usize,
    /// Datagrams that are put together from fragments at a time.
    pub reassemblies: usize,
    /// Bytes of pool blocks that they hold. A sender may use half of it, and the longest datagram takes 74 KB.
    pub reassembly_bytes: usize,
    /// The longest datagram that is put together, in bytes with its headers: 65,575 at most, which is IPv6's; longer ones are
    /// dropped. The stack needs so much memory once.
    pub reassembly_size: usize,
    /// Flows to addresses that are nobody's here, about which an application has not decided yet.
    pub pending_flows: usize,
    /// Flows whose addresses are translated at once (NAT); fixed port mappings count too.
    pub nat_flows: usize,
    /// Records of the trace that wait to be [polled](crate::Stack::poll_trace); 0 for none.
    pub trace: usize,
    /// Pool blocks that the stack may hold ([`BLOCK_SIZE`](crate::BLOCK_SIZE) bytes each).
    pub pool_blocks: u32,
}

/// An IPv6 header and the longest payload that it can have, in bytes.
const MAX_DATAGRAM: usize = ipv6::HEADER_LEN + u16::MAX as usize;

impl Limits {
    /// A host in a simulated world: hundreds of them fit in one tab.
    pub const fn small() -> Self {
        Limits {
            interfaces: 4,
            addresses: 12,
            routes: 8,
            dns_servers: 4,
            search_domains: 2,
            groups: 16,
            memberships: 16,
            neighbors: 32,
            connections: 64,
            listeners: 16,
            syn_queue: 32,
            time_wait: 64,
            udp_sockets: 16,
            pings: 8,
            raw_sockets: 4,
            path_mtus: 16,
            reassemblies: 16,
            reassembly_bytes: 256 * 1_024,
            reassembly_size: MAX_DATAGRAM,
            pending_flows: 32,
            nat_flows: 64,
            trace: 0,
            pool_blocks: 2_048,
        }
    }

    /// A page or a gateway.
    pub const fn default() -> Self {
        Limits {
            interfaces: 8,
            addresses: 32,
            routes: 32,
            dns_servers: 8,
            search_domains: 4,
            groups: 32,
            memberships: 64,
            neighbors: 256,
            connections: 1_024,
            listeners: 64,
            syn_queue: 256,
            time_wait: 1_024,
            udp_sockets: 128,
            pings: 32,
            raw_sockets: 8,
            path_mtus: 64,
            reassemblies: 64,
            reassembly_bytes: 1_024 * 1_024,
            reassembly_size: MAX_DATAGRAM,
            pending_flows: 256,
            nat_flows: 4_096,
            trace: 0,
            pool_blocks: 8_192,
        }
    }

    /// A server with 100,000 connections.
    pub const fn server() -> Self {
        Limits {
            interfaces: 16,
            addresses: 64,
            routes: 256,
            dns_servers: 16,
            search_domains: 16,
            groups: 256,
            memberships: 1_024,
            neighbors: 4_096,
            connections: 100_000,
            listeners: 256,
            syn_queue: 4_096,
            time_wait: 32_768,
            udp_sockets: 1_024,
            pings: 64,
            raw_sockets: 16,
            path_mtus: 1_024,
            reassemblies: 1_024,
            reassembly_bytes: 4 * 1_024 * 1_024,
            reassembly_size: MAX_DATAGRAM,
            pending_flows: 4_096,
            nat_flows: 131_072,
            trace: 0,
            pool_blocks: 65_536,
        }
    }
}

impl Limits {
    /// Groups with those of the host's own addresses.
    pub(crate) const fn all_groups(&self) -> usize {
        self.groups + self.addresses
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::default()
    }
}

/// A stack's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Seeds all randomness of the stack: initial sequence numbers, ports, identifiers, hash keys. Must be
    /// unpredictable where the network is not trusted; the same seed replays the same behaviour.
    pub seed: [u64; 2],
    /// Defaults of TCP connections.
    pub tcp: TcpConfig,
    /// TTL or hop limit of what the stack sends (RFC 1700: 64).
    pub hop_limit: u8,
}

impl Config {
    /// Defaults, with a seed.
    pub fn new(seed: [u64; 2]) -> Self {
        Config { seed, tcp: TcpConfig::default(), hop_limit: 64 }
    }
}

/// Keep-alive probing (RFC 9293 §3.8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Idle time before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes until the connection is given up.
    pub probes: u8,
}

impl Default for KeepAlive {
    fn default() -> Self {
        KeepAlive { idle: Duration::from_secs(7_200), interval: Duration::from_secs(75), probes: 9 }
    }
}

/// When segments probe for a larger size (packetization layer path MTU discovery, RFC 4821; Linux's `tcp_mtu_probing`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MtuProbing {
    /// Never.
    Off,
    /// Once repeated timeouts suggest that large packets vanish without a report.
    #[default]
    OnBlackHole,
    /// From the beginning.
    Always,
}

/// Options of TCP connections; a connection takes a copy when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpConfig {
    /// The largest send buffer in bytes: 4 MiB, which is the most there can be.
    pub send_buffer: u32,
    /// The send buffer to begin with, if that is less: 256 KiB. It grows to hold two congestion windows.
    pub initial_send_buffer: u32,
    /// The largest receive buffer in bytes: 4 MiB, which is the most there can be. The window scale is made for it
    /// (RFC 7323 §2.3).
    pub receive_buffer: u32,
    /// The receive buffer to begin with, if that is less: 256 KiB. It grows to hold twice what the user reads in a round trip.
    pub initial_receive_buffer: u32,
    /// Whether the buffers grow; on by default. Off, they stay as they begin.
    pub buffer_tuning: bool,
    /// The largest window that is offered, in bytes (Linux's `TCP_WINDOW_CLAMP`); 0, the default, for what the buffer holds.
    pub window_clamp: u32,
    /// What becomes of a segment that begins in the window and ends beyond it, which only a peer in error sends. On, the default: what
    /// lies beyond is cut off (RFC 9293 §3.10.7.4), so that the rest is of use whatever the user has read. Off, as in Linux since
    /// 6.17: it is taken whole if nothing waits to be read, and dropped otherwise.
    pub trim_to_window: bool,
    /// The window may shrink when the buffer does (Linux's `tcp_shrink_window`), which RFC 9293 §3.8.6 discourages; off by default. What
    /// was promised is still accepted, since the peer may have sent it already (RFC 7323 §2.4).
    pub shrink_window: bool,
    /// Bytes that the user wants to be told of at once (`SO_RCVLOWAT`): fewer are reported only with the end of the stream, or when the
    /// window is about to close. 1 by default; more than the receive buffer holds counts as that.
    pub receive_low_water: u32,
    /// The user can write while less than this many bytes are not sent (Linux's `TCP_NOTSENT_LOWAT`); no limit by default.
    pub unsent_limit: u32,
    /// Nagle's algorithm (RFC 1122 §4.2.3.4), on by default.
    pub nagle: bool,
    /// Sends full segments only, for as long as it is on (Linux's `TCP_CORK`); a smaller one after a retransmission timeout
    /// without any. Off by default.
    pub cork: bool,
    /// The largest MSS that is announced and believed, options included (RFC 9293 §3.7.1, `TCP_MAXSEG`); 0, the default, for what
    /// the path carries.
    pub max_segment: u16,
    /// What `close` does with data that is not acknowledged (`SO_LINGER`): with zero it is dropped and the peer gets a reset. Any
    /// other time, and none, the default, have it sent in the background.
    pub linger: Option<Duration>,
    /// TTL or hop limit (`IP_TTL`); 0, the default, for the stack's.
    pub hop_limit: u8,
    /// The DSCP, in the upper six bits of the TOS or traffic class (RFC 2474 §3, `IP_TOS`); 0 by default. The two lower bits are
    /// ECN's and do not count.
    pub traffic_class: u8,
    /// How long an ACK may wait for company (RFC 1122 §4.2.3.2: below 500 ms); 40 ms as in Linux.
    pub delayed_ack: Duration,
    /// Retransmission timeout before the first round trip is measured (RFC 6298 §2: 1 s).
    pub initial_rto: Duration,
    /// Lower bound of RTTVAR's share of the retransmission timeout: 200 ms as in Linux, RFC 6298 says 1 s.
    pub min_rto: Duration,
    /// Upper bound of the retransmission timeout (RFC 6298 §2.4: at least 60 s).
    pub max_rto: Duration,
    /// Retransmissions of a SYN until `connect` fails with a time-out: 6, about 127 s.
    pub syn_retries: u8,
    /// Timeouts of a SYN that leave the retransmission timeout as it is, before it doubles; `syn_retries` counts those after them
    /// (Linux's `tcp_syn_linear_timeouts`). None by default (RFC 6298 §5.5).
    pub linear_syn_timeouts: u8,
    /// Retransmissions of a SYN-ACK until the half-open connection is dropped: 5, about 63 s.
    pub syn_ack_retries: u8,
    /// A listener's half-open connections wait for data for so many timeouts of the SYN and ACK, and are accepted with the next ACK
    /// after that (Linux's `TCP_DEFER_ACCEPT`, see [`defer_accept_for`](TcpConfig::defer_accept_for)); 0, the default, does not
    /// wait.
    pub defer_accept: u8,
    /// Retransmissions until the path is doubted (R1 of RFC 9293 §3.8.3, counted as `retries` are): 3, as in Linux.
    pub retries1: u8,
    /// Unanswered zero-window probes until a connection fails, and for how long data is retransmitted (R2 of RFC 9293 §3.8.3):
    /// for the time that so many retransmissions take from the first one on, had they begun with a timeout of 200 ms. 15 as
    /// in Linux, 924.6 s.
    pub retries: u8,
    /// The same after `close`, when nobody waits for the connection any more: 8 as in Linux, 102 s.
    pub orphan_retries: u8,
    /// Least time between two ACKs that answer empty segments which are not acceptable, or that challenge (RFC 5961 §7): 500 ms
    /// as in Linux. Zero for no limit.
    pub challenge_interval: Duration,
    /// Whether resets end TIME-WAIT, as RFC 9293 §3.10.7.4 says, or are ignored, as RFC 1337 §3 proposes: off.
    pub rfc1337: bool,
    /// A reset ends a connection only at RCV.NXT, and is challenged elsewhere in the window (RFC 5961 §3.2); on by default. Off,
    /// any in the window does, as RFC 793 had it.
    pub exact_resets: bool,
    /// A SYN for an open connection is challenged (RFC 5961 §4.2); on by default. Off, one in the window resets the connection, as
    /// RFC 793 had it.
    pub challenge_syns: bool,
    /// Path MTU discovery by reports of routers (RFC 1191, RFC 8201), on by default. Off (Linux's `IP_PMTUDISC_DONT`): IPv4 packets
    /// may be fragmented on the way, and reports are ignored.
    pub path_mtu_discovery: bool,
    /// When segments probe for a larger size (RFC 4821).
    pub mtu_probing: MtuProbing,
    /// The MSS in bytes that probing begins with (RFC 4821 §7.2): 1,024; over IPv6 at least what the least MTU allows.
    pub base_mss: u16,
    /// The MSS in bytes that our SYNs announce at most; none for what the interface's MTU allows.
    pub advertised_mss: Option<u16>,
    /// Time in TIME-WAIT (twice the maximum segment lifetime): 60 s as in Linux.
    pub time_wait: Duration,
    /// Time in FIN-WAIT-2 after `close`, when the peer does not close its side: 60 s as in Linux, but at least 3.5
    /// retransmission timeouts. Zero does not wait at all: the peer gets a reset, as with Linux's negative `TCP_LINGER2`.
    pub fin_wait_2: Duration,
    /// Time that data may stay unacknowledged (RFC 5482), and a window closed, counted as in Linux from the first
    /// retransmission or probe; with keep-alive, the time that the peer may be silent. None for `retries`.
    pub user_timeout: Option<Duration>,
    /// Keep-alive, off unless given.
    pub keep_alive: Option<KeepAlive>,
    /// Initial window in segments (RFC 6928: 10).
    pub initial_window: u8,
    /// Segments by which one may be overtaken before it counts as lost, while no more reordering was seen (RFC 5681 §3.2: 3).
    pub reordering: u8,
    /// The most segments that this grows to when reordering is seen: 300 as in Linux.
    pub max_reordering: u16,
    /// Segments are also lost when `reordering` others have overtaken them, and not by time alone (RFC 8985 §6.2 step 4); on by
    /// default.
    pub rack_threshold: bool,
    /// Tail loss probes (RFC 8985 §7); on by default, without effect if SACK is not agreed on.
    pub tail_loss_probe: bool,
    /// Detection of spurious retransmission timeouts (F-RTO, RFC 5682); on by default.
    pub frto: bool,
    /// The first six retransmission timeouts in a row do not double while fewer than four segments are outstanding (Linux's
    /// `TCP_THIN_LINEAR_TIMEOUTS`); off by default, as RFC 6298 §5.5 wants it.
    pub thin_linear_timeouts: bool,
    /// What of ECN connections ask for (RFC 3168 §6.1.1); nothing by default, as in Linux.
    pub ecn_request: EcnMode,
    /// What of ECN is granted to peers that ask for it (RFC 3168 §6.1.1); [`EcnMode::Accurate`] by default.
    pub ecn_accept: EcnMode,
    /// When listeners answer with SYN cookies (RFC 4987 §3.6); under pressure by default.
    pub syn_cookies: SynCookies,
    /// What of Fast Open is used (RFC 7413).
    pub fast_open: FastOpen,
    /// When segments have the option of Accurate ECN (RFC 9768 §3.2.3.3): on all of them, if the peer has sent one.
    pub accecn_option: AccEcnOption,
    /// How often in a round trip they have it at least (RFC 9768 §3.2.3.3): 3.
    pub accecn_beacons: u8,
    /// Retransmitted SYNs ask for no ECN, since some middleboxes drop those that do (RFC 3168 §6.1.1.1), with Accurate ECN from the
    /// second on (RFC 9768 §3.1.4.1); on by default.
    pub ecn_fallback: bool,
    /// Congestion control: CUBIC (RFC 9438).
    pub congestion: Algorithm,
    /// The most bytes a second that a connection sends, as with Linux's `SO_MAX_PACING_RATE`; none by default.
    pub max_pacing_rate: Option<NonZeroU32>,
    /// Congestion marks reduce the window less than losses do (RFC 8511, ABE); off by default.
    pub alternative_backoff: bool,
    /// How CUBIC's slow start ends: HyStart++ (RFC 9406).
    pub slow_start_exit: SlowStartExit,
    /// What becomes of a congestion window that is not used: RFC 7661.
    pub unused_window: UnusedWindow,
    /// Segments by which one acknowledgment may let the congestion window grow: 8 (RFC 3465 §2.2, RFC 9406 §4.3); 0 for no limit,
    /// as in Linux. A connection with a `max_pacing_rate` has none.
    pub growth_limit: u8,
    /// Offers timestamps, and takes the peer's offer (RFC 7323 §3); on by default.
    pub timestamps: bool,
    /// Offers and takes selective acknowledgments (RFC 2018); on by default.
    pub sack: bool,
    /// Out-of-order segments that may share an ACK once three had one each, with SACK: 44 as in Linux, 0 for an ACK each.
    pub compressed_acks: u8,
    /// Reports data that came twice in SACK options (RFC 2883); on by default, without effect if SACK is not agreed on.
    pub dsack: bool,
    /// Offers and takes window scaling (RFC 7323 §2); on by default.
    pub window_scaling: bool,
    /// Whose way it goes where the RFCs leave freedom: Linux's.
    pub manner: Manner,
}

impl TcpConfig {
    pub(crate) const DEFAULT: TcpConfig = TcpConfig {
        send_buffer: 4 * 1024 * 1024,
        initial_send_buffer: 256 * 1024,
        receive_buffer: 4 * 1024 * 1024,
        initial_receive_buffer: 256 * 1024,
        buffer_tuning: true,
        window_clamp: 0,
        trim_to_window: true,
        shrink_window: false,
        receive_low_water: 1,
        unsent_limit: u32::MAX,
        nagle: true,
        cork: false,
        max_segment: 0,
        linger: None,
        hop_limit: 0,
        traffic_class: 0,
        delayed_ack: Duration::from_millis(40),
        initial_rto: Duration::from_secs(1),
        min_rto: Duration::from_millis(200),
        max_rto: Duration::from_secs(120),
        syn_retries: 6,
        linear_syn_timeouts: 0,
        syn_ack_retries: 5,
        defer_accept: 0,
        retries1: 3,
        retries: 15,
        orphan_retries: 8,
        path_mtu_discovery: true,
        mtu_probing: MtuProbing::OnBlackHole,
        base_mss: 1_024,
        advertised_mss: None,
        challenge_interval: Duration::from_millis(500),
        rfc1337: false,
        exact_resets: true,
        challenge_syns: true,
        time_wait: Duration::from_secs(60),
        fin_wait_2: Duration::from_secs(60),
        user_timeout: None,
        keep_alive: None,
        initial_window: 10,
        reordering: DUPLICATE_THRESHOLD as u8,
        max_reordering: 300,
        rack_threshold: true,
        tail_loss_probe: true,
        frto: true,
        thin_linear_timeouts: false,
        ecn_request: EcnMode::Off,
        ecn_accept: EcnMode::Accurate,
        accecn_option: AccEcnOption::Always,
        accecn_beacons: 3,
        ecn_fallback: true,
        syn_cookies: SynCookies::UnderPressure,
        fast_open: FastOpen::DEFAULT,
        congestion: Algorithm::Cubic,
        max_pacing_rate: None,
        alternative_backoff: false,
        slow_start_exit: SlowStartExit::HyStartPlusPlus,
        unused_window: UnusedWindow::Validated,
        growth_limit: 8,
        timestamps: true,
        sack: true,
        dsack: true,
        compressed_acks: 44,
        window_scaling: true,
        manner: Manner::Linux,
    };

    /// The shift to offer: it lets a 16-bit window field reach the largest receive buffer (RFC 7323 §2.2, at most 14).
    pub(crate) fn window_scale(&self) -> u8 {
        let shift = (32 - self.receive_limit().leading_zeros()).saturating_sub(16);
        shift.min(14) as u8
    }

    /// The [`defer_accept`](TcpConfig::defer_accept) that waits for data for at least so long.
    pub fn defer_accept_for(&self, time: Duration) -> u8 {
        let covers = |count: u8| self.defer_accept_time(count) >= time;
        (0..u8::MAX).find(|&count| covers(count)).unwrap_or(u8::MAX)
    }

    /// How long a [`defer_accept`](TcpConfig::defer_accept) of `count` waits for data.
    pub fn defer_accept_time(&self, count: u8) -> Duration {
        (0..count).fold(Duration::ZERO, |time, count| time + self.syn_ack_timeout(count))
    }

    /// The timeout of a SYN and ACK that was sent again so often.
    pub(crate) fn syn_ack_timeout(&self, retransmits: u8) -> Duration {
        self.initial_rto.backed_off(u32::from(retransmits)).min(self.max_rto)
    }

    /// The send buffer to begin with, in bytes.
    pub(crate) fn first_send_buffer(&self) -> u32 {
        self.initial_send_buffer.min(self.send_buffer)
    }

    /// The receive buffer to begin with, in bytes.
    pub(crate) fn first_receive_buffer(&self) -> u32 {
        self.initial_receive_buffer.min(self.receive_limit())
    }

    /// The largest receive buffer, in bytes.
    pub(crate) fn receive_limit(&self) -> u32 {
        if self.window_clamp == 0 { self.receive_buffer } else { self.receive_buffer.min(self.window_clamp) }
    }

    /// What `max_segment` leaves of an MSS.
    pub(crate) fn bound_mss(&self, mss: u16) -> u16 {
        if self.max_segment == 0 { mss } else { mss.min(self.max_segment) }
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        TcpConfig::DEFAULT
    }
}

/// How a frame mover addresses its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Medium {
    /// Ethernet II frames; neighbours are found by ARP and neighbour discovery.
    #[default]
    Ethernet,
    /// IP packets without a header around them, as TUN devices carry them. There are no stations: nobody is asked for a neighbour, nor
    /// for an address of ours.
    Ip,
    /// An IEEE 802.1Q VLAN on an Ethernet interface. Its frames have a tag, and come in and go out with those of the parent: only
    /// that one is given to [`receive`](crate::Stack::receive) and [`transmit`](crate::Stack::transmit).
    Vlan {
        /// The interface that carries the tagged frames.
        parent: InterfaceId,
        /// The VLAN's id: 1 to 4,094.
        id: u16,
    },
    /// This host itself, `127.0.0.0/8` and `::1` (RFC 1122 §3.2.1.3 (g), RFC 4291 §2.5.3). A stack has one at most, and with it packets
    /// to all of its addresses; they never leave it, but pass within [`handle_timeout`](crate::Stack::handle_timeout).
    Loopback,
}

/// An interface: the stack's port to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterfaceConfig {
    /// What the frames look like.
    pub medium: Medium,
    /// The interface's own address on [`Medium::Ethernet`]; must be unicast. A VLAN has its parent's.
    pub mac: MacAddr,
    /// Largest IP packet in bytes, 576 to 65,535; IPv6 needs 1,280 (RFC 8200 §5), and is off below. A VLAN's is its parent's at most, and
    /// that of the loopback interface [`Limits::reassembly_size`].
    pub mtu: u16,
    /// How others are asked for the interface's addresses, where nothing else is said of one.
    pub detection: DuplicateDetection,
    /// Whether and how IPv6 configures itself by what routers advertise (RFC 4861 §6.3, RFC 4862); off by default.
    pub autoconfiguration: Option<Autoconfiguration>,
    /// Whether routers are told which groups the interface listens to (RFC 3376, RFC 3810); on by default.
    pub reports_groups: bool,
}

impl InterfaceConfig {
    /// An Ethernet interface with an MTU of 1,500 bytes.
    pub const fn ethernet(mac: MacAddr) -> Self {
        InterfaceConfig {
            medium: Medium::Ethernet,
            mac,
            mtu: 1_500,
            detection: DuplicateDetection::Optimistic,
            autoconfiguration: None,
            reports_groups: true,
        }
    }

    /// An interface for IP packets without a link header, with an MTU of 1,500 bytes.
    pub const fn ip() -> Self {
        InterfaceConfig { medium: Medium::Ip, ..InterfaceConfig::ethernet(MacAddr([0; 6])) }
    }

    /// The VLAN with this id on `parent`, with its MTU.
    pub const fn vlan(parent: InterfaceId, id: u16) -> Self {
        InterfaceConfig { medium: Medium::Vlan { parent, id }, mtu: u16::MAX, ..InterfaceConfig::ip() }
    }

    /// The loopback interface, with an MTU of 65,535 bytes.
    pub const fn loopback() -> Self {
        InterfaceConfig { medium: Medium::Loopback, mtu: u16::MAX, reports_groups: false, ..InterfaceConfig::ip() }
    }
}
