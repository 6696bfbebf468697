//! The options of one socket.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use ethertab::time::Duration;
use ethertab::{FastOpenKeys, KeepAlive, TcpConfig};

use crate::packetdrill::fast_open::keys_of_option;
use crate::packetdrill::send_queue::BufferSize;

use super::{Dialect, Knobs, Unsupported, congestion_control, positive, small, unsupported};

/// The settings of one socket.
#[derive(Clone, Debug)]
pub(in crate::packetdrill) struct SocketKnobs {
    pub(in crate::packetdrill) tcp: TcpConfig,
    /// Probes that begin when `SO_KEEPALIVE` is on.
    pub(in crate::packetdrill) keep_alive: KeepAlive,
    pub(in crate::packetdrill) keep_alive_on: bool,
    /// How long `connect` may take, if that is bounded by time.
    pub(in crate::packetdrill) connect_timeout: Option<Duration>,
    /// The send buffer, if its size was set.
    pub(in crate::packetdrill) send_memory: Option<BufferSize>,
    /// The receive buffer, if a script has said how large they are, and the bytes that it holds now.
    pub(in crate::packetdrill) receive_memory: Option<BufferSize>,
    pub(in crate::packetdrill) receive_limit: Option<u32>,
    /// The MSS that the interface's MTU allows.
    pub(in crate::packetdrill) mss: u32,
    /// `SO_LINGER`: seconds that `close` waits.
    pub(in crate::packetdrill) linger: Option<i64>,
    /// `SO_ZEROCOPY`: sends with `MSG_ZEROCOPY` are reported.
    pub(in crate::packetdrill) zero_copy: bool,
    /// `IP_RECVERR`: what the network reports is told at once.
    pub(in crate::packetdrill) receive_errors: bool,
    /// `TCP_NOTSENT_LOWAT` and `IP_MTU_DISCOVER`, as they were set.
    pub(in crate::packetdrill) unsent_limit: i64,
    pub(in crate::packetdrill) discovery: i64,
    /// `TCP_QUICKACK`, as it was set.
    pub(in crate::packetdrill) quick_ack: bool,
    /// `TCP_INQ`: reads tell how much is left.
    pub(in crate::packetdrill) inq: bool,
    /// `IP_LOCAL_PORT_RANGE`: the first and the last port that `connect` may choose.
    pub(in crate::packetdrill) ports: Option<(u16, u16)>,
    /// What holds while `TCP_NOTSENT_LOWAT` is 0.
    pub(in crate::packetdrill) unsent_limit_by_default: u32,
    /// `TCP_FASTOPEN`: connections that a listener lets begin with data.
    pub(in crate::packetdrill) fast_open_queue: u16,
    pub(in crate::packetdrill) fast_open_keys: Option<FastOpenKeys>,
    /// `TCP_FASTOPEN_CONNECT`: the SYN waits for data.
    pub(in crate::packetdrill) fast_open_connect: bool,
    /// Options without effect, as they were set.
    pub(in crate::packetdrill) kept: BTreeMap<&'static str, i64>,
    pub(in crate::packetdrill) dialect: Dialect,
    /// The socket was accepted.
    pub(in crate::packetdrill) accepted: bool,
    /// The peer had closed its side when the connection was seen last, and ours was open.
    pub(in crate::packetdrill) half_closed: bool,
    /// Whether the errors are those of IPv6, of which a few differ.
    pub(in crate::packetdrill) ipv6: bool,
}

/// Options that change nothing here, or nothing that a script can see, with their first value and the largest: about devices, queues and
/// processors, sharing of ports, what is done anyway.
const KEPT: &[(&str, i64, i64)] = &[
    ("SO_REUSEADDR", 1, i64::MAX),
    ("SO_REUSEPORT", 0, i64::MAX),
    ("SO_DEBUG", 0, i64::MAX),
    ("SO_DONTROUTE", 0, i64::MAX),
    ("SO_BROADCAST", 0, i64::MAX),
    ("SO_OOBINLINE", 0, i64::MAX),
    ("SO_NO_CHECK", 0, i64::MAX),
    ("SO_PRIORITY", 0, i64::MAX),
    ("SO_MARK", 0, i64::MAX),
    ("SO_BUSY_POLL", 0, i64::MAX),
    ("SO_PREFER_BUSY_POLL", 0, 1),
    ("SO_BUSY_POLL_BUDGET", 8, 65_535),
    ("SO_INCOMING_CPU", 0, i64::MAX),
    ("SO_TXREHASH", 1, 1),
    ("SO_RXQ_OVFL", 0, i64::MAX),
    ("SO_RCVMARK", 0, i64::MAX),
    ("SO_SNDLOWAT", 1, i64::MAX),
    ("IP_FREEBIND", 0, i64::MAX),
    ("IP_TRANSPARENT", 0, i64::MAX),
    ("IP_BIND_ADDRESS_NO_PORT", 0, 1),
    ("IP_RECVTOS", 0, i64::MAX),
    ("IP_RECVTTL", 0, i64::MAX),
    ("IPV6_RECVTCLASS", 0, 1),
    ("IPV6_RECVHOPLIMIT", 0, 1),
    ("IPV6_AUTOFLOWLABEL", 1, 1),
    ("IPV6_V6ONLY", 0, 1),
    ("TCP_SAVE_SYN", 0, 2),
    ("TCP_THIN_DUPACK", 0, 1),
];

/// How long an attempt to connect lasts on FreeBSD by default.
const FREEBSD_KEEPINIT: Duration = Duration::from_secs(75);

/// The longest that FIN-WAIT-2 may be made to last, as in Linux.
const LONGEST_FIN_WAIT_2: Duration = Duration::from_secs(120);

/// The TTL of packets unless a socket has its own.
const HOP_LIMIT: i64 = 64;

/// A change of a socket option that an open connection has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::packetdrill) enum Change {
    /// Its settings are others.
    Config,
    /// `TCP_NODELAY` was set, again perhaps: what is queued is sent.
    NoDelay,
    /// `TCP_QUICKACK`.
    QuickAck(bool),
    /// `TCP_FASTOPEN`.
    FastOpen,
    /// `TCP_FASTOPEN_KEY`.
    FastOpenKeys(FastOpenKeys),
    /// It cannot be set, or not to this value: the error.
    Refused(&'static str),
}

impl SocketKnobs {
    pub(in crate::packetdrill) fn new(knobs: &Knobs) -> Self {
        SocketKnobs {
            tcp: knobs.tcp,
            keep_alive: knobs.keep_alive,
            keep_alive_on: false,
            connect_timeout: knobs.connect_timeout,
            send_memory: knobs.send_memory,
            receive_memory: knobs.receive_memory,
            receive_limit: None,
            mss: knobs.mss,
            linger: None,
            zero_copy: false,
            receive_errors: false,
            unsent_limit: 0,
            discovery: i64::from(knobs.tcp.path_mtu_discovery),
            quick_ack: true,
            inq: false,
            ports: None,
            unsent_limit_by_default: knobs.tcp.unsent_limit,
            fast_open_queue: 0,
            fast_open_keys: None,
            fast_open_connect: false,
            kept: BTreeMap::new(),
            dialect: knobs.dialect,
            accepted: false,
            half_closed: false,
            ipv6: knobs.ipv6,
        }
    }

    /// Applies a sysctl to a socket that is not in use yet. `stack` are the settings of all others.
    pub(in crate::packetdrill) fn sysctl(&mut self, stack: &Knobs, name: &str, value: &str) {
        let (tcp, keep_alive, connect_timeout) = (self.tcp, self.keep_alive, self.connect_timeout);
        let (send_memory, receive_memory) = (self.send_memory, self.receive_memory);
        let mut knobs = Knobs { tcp, keep_alive, connect_timeout, send_memory, receive_memory, ..stack.clone() };
        // What is unknown is told once, for the stack.
        let _ = knobs.sysctl(name, value);
        (self.send_memory, self.receive_memory) = (knobs.send_memory, knobs.receive_memory);
        (self.tcp, self.keep_alive, self.connect_timeout) = (knobs.tcp, knobs.keep_alive, knobs.connect_timeout);
    }

    /// `setsockopt` with a number.
    pub(in crate::packetdrill) fn set(&mut self, name: &str, value: i64) -> Result<Change, Unsupported> {
        let seconds = || Duration::from_secs(value.clamp(0, i64::from(u32::MAX)) as u64);
        if let Some((kept, _, most)) = KEPT.iter().find(|(kept, ..)| *kept == name) {
            if !(0..=*most).contains(&value) {
                return Ok(Change::Refused("EINVAL"));
            }
            self.kept.insert(kept, value);
            return Ok(Change::Config);
        }
        let is_valid = |range: std::ops::RangeInclusive<i64>| range.contains(&value);
        let valid = match name {
            "TCP_KEEPIDLE" | "TCP_KEEPALIVE" | "TCP_KEEPINTVL" => is_valid(1..=32_767),
            "TCP_KEEPCNT" | "TCP_SYNCNT" => is_valid(1..=127),
            "TCP_MAXSEG" if self.dialect == Dialect::Linux => value == 0 || is_valid(88..=32_767),
            "TCP_USER_TIMEOUT" => value >= 0,
            "TCP_THIN_LINEAR_TIMEOUTS" | "SO_ZEROCOPY" | "TCP_INQ" | "TCP_FASTOPEN_CONNECT" => is_valid(0..=1),
            "IP_TTL" => value == -1 || is_valid(1..=255),
            "IPV6_UNICAST_HOPS" => is_valid(-1..=255),
            "IP_MTU_DISCOVER" | "IPV6_MTU_DISCOVER" => is_valid(0..=5),
            _ => true,
        };
        if !valid {
            return Ok(Change::Refused("EINVAL"));
        }
        match name {
            // Linux takes a negative one for the largest, and 0 for 1.
            "SO_RCVLOWAT" if value < 0 => self.tcp.receive_low_water = i32::MAX as u32,
            "SO_RCVLOWAT" => self.tcp.receive_low_water = positive(value),
            "TCP_DEFER_ACCEPT" => self.tcp.defer_accept = self.tcp.defer_accept_for(seconds()),
            "TCP_THIN_LINEAR_TIMEOUTS" => self.tcp.thin_linear_timeouts = value != 0,
            "IP_RECVERR" | "IPV6_RECVERR" => self.receive_errors = value != 0,
            "SO_SNDBUF" | "SO_SNDBUFFORCE" => {
                self.send_memory = Some(BufferSize::Fixed(positive(value).saturating_mul(2)));
                (self.tcp.initial_send_buffer, self.tcp.send_buffer) = (positive(value), positive(value));
            }
            // Linux doubles the value for its overhead, and half of that is window.
            "SO_RCVBUF" | "SO_RCVBUFFORCE" => {
                let size = BufferSize::Fixed(positive(value).saturating_mul(2));
                self.receive_memory = self.receive_memory.map(|_| size);
                (self.tcp.initial_receive_buffer, self.tcp.receive_buffer) = (positive(value), positive(value));
            }
            "SO_KEEPALIVE" => {
                self.keep_alive_on = value != 0;
            }
            "TCP_KEEPIDLE" | "TCP_KEEPALIVE" => {
                self.keep_alive.idle = seconds();
            }
            "TCP_KEEPINTVL" => {
                self.keep_alive.interval = seconds();
            }
            "TCP_KEEPCNT" => {
                self.keep_alive.probes = small(value);
            }
            "TCP_NODELAY" => {
                self.tcp.nagle = value == 0;
                return Ok(if value != 0 { Change::NoDelay } else { Change::Config });
            }
            "TCP_USER_TIMEOUT" => {
                self.tcp.user_timeout =
                    (value > 0).then(|| Duration::from_millis(value.min(i64::from(u32::MAX)) as u64));
            }
            // IP_PMTUDISC_DONT, or one of those that set DF.
            "IP_MTU_DISCOVER" | "IPV6_MTU_DISCOVER" => {
                self.discovery = value;
                self.tcp.path_mtu_discovery = value != 0;
            }
            "SO_ZEROCOPY" => self.zero_copy = value != 0,
            "TCP_INQ" | "TCP_CM_INQ" => self.inq = value != 0,
            // The last port in the upper half, the first in the lower.
            "IP_LOCAL_PORT_RANGE" => {
                let (first, last) = (value as u16, (value >> 16) as u16);
                self.ports = (first > 0 && first <= last).then_some((first, last));
            }
            "SO_MAX_PACING_RATE" => {
                // Linux takes all bits set for no limit.
                self.tcp.max_pacing_rate =
                    u32::try_from(value).ok().filter(|rate| *rate != u32::MAX).and_then(NonZeroU32::new);
            }
            "TCP_CORK" | "TCP_NOPUSH" => self.tcp.cork = value != 0,
            "TCP_QUICKACK" => {
                self.quick_ack = value != 0;
                return Ok(Change::QuickAck(value != 0));
            }
            "TCP_MAXSEG" => self.tcp.max_segment = value.clamp(0, 65_535) as u16,
            "TCP_WINDOW_CLAMP" => self.tcp.window_clamp = value.clamp(0, i64::from(u32::MAX)) as u32,
            // Linux takes 0 for what the sysctl says.
            "TCP_NOTSENT_LOWAT" => {
                self.unsent_limit = value;
                self.tcp.unsent_limit = if value == 0 { self.unsent_limit_by_default } else { positive(value) };
            }
            "IP_TOS" | "IPV6_TCLASS" => self.tcp.traffic_class = small(value),
            // -1 is the stack's.
            "IP_TTL" | "IPV6_UNICAST_HOPS" => self.tcp.hop_limit = small(value),
            "TCP_KEEPINIT" => self.connect_timeout = Some(seconds()),
            // Scripts that count SYNs themselves are older than Linux 6.5, where linear timeouts came on top of the count.
            "TCP_SYNCNT" => (self.tcp.syn_retries, self.tcp.linear_syn_timeouts) = (small(value), 0),
            "TCP_LINGER2" if value == 0 => {}
            "TCP_LINGER2" => self.tcp.fin_wait_2 = seconds().min(LONGEST_FIN_WAIT_2),
            "TCP_FASTOPEN" => {
                self.fast_open_queue = value.clamp(0, i64::from(u16::MAX)) as u16;
                return Ok(Change::FastOpen);
            }
            "TCP_FASTOPEN_CONNECT" if !self.tcp.fast_open.client => return Ok(Change::Refused("EOPNOTSUPP")),
            "TCP_FASTOPEN_CONNECT" => self.fast_open_connect = value != 0,
            "TCP_FASTOPEN_NO_COOKIE" => {
                self.tcp.fast_open.client_without_cookie = value != 0;
                self.tcp.fast_open.server_without_cookie = value != 0;
            }
            _ => return unsupported(format!("{name}={value}"), absent_option(name)),
        }
        Ok(Change::Config)
    }

    /// `setsockopt` with a name: `TCP_CONGESTION`.
    pub(in crate::packetdrill) fn set_text(&mut self, name: &str, value: &str) -> Result<Change, Unsupported> {
        let setting = format!("{name}={value}");
        match name {
            "TCP_CONGESTION" => {
                self.tcp.congestion = congestion_control(&setting, value)?;
                Ok(Change::Config)
            }
            "TCP_FASTOPEN_KEY" => Ok(match keys_of_option(value) {
                Some(keys) => {
                    self.fast_open_keys = Some(keys);
                    Change::FastOpenKeys(keys)
                }
                None => Change::Refused("EINVAL"),
            }),
            _ => unsupported(setting, absent_option(name)),
        }
    }

    /// What `getsockopt` says where the settings alone decide.
    pub(in crate::packetdrill) fn get(&self, name: &str) -> Result<i64, Unsupported> {
        let doubled = if self.dialect == Dialect::Linux { 2 } else { 1 };
        Ok(match name {
            "SO_SNDBUF" if self.dialect == Dialect::Linux && self.send_memory.is_some() => {
                self.send_memory.map_or(0, |size| i64::from(size.first()))
            }
            "SO_SNDBUF" => doubled * i64::from(self.tcp.initial_send_buffer),
            "SO_RCVBUF" => doubled * i64::from(self.tcp.initial_receive_buffer),
            "SO_KEEPALIVE" => i64::from(self.keep_alive_on),
            "SO_RCVLOWAT" => i64::from(self.tcp.receive_low_water),
            "TCP_DEFER_ACCEPT" => self.tcp.defer_accept_time(self.tcp.defer_accept).as_secs() as i64,
            "TCP_THIN_LINEAR_TIMEOUTS" => i64::from(self.tcp.thin_linear_timeouts),
            "IP_RECVERR" | "IPV6_RECVERR" => i64::from(self.receive_errors),
            "TCP_KEEPIDLE" => self.keep_alive.idle.as_secs() as i64,
            "TCP_KEEPINTVL" => self.keep_alive.interval.as_secs() as i64,
            "TCP_KEEPCNT" => i64::from(self.keep_alive.probes),
            "TCP_NODELAY" => i64::from(!self.tcp.nagle),
            "TCP_USER_TIMEOUT" => self.tcp.user_timeout.map_or(0, |time| time.as_millis() as i64),
            "IP_MTU_DISCOVER" | "IPV6_MTU_DISCOVER" => self.discovery,
            "TCP_CORK" | "TCP_NOPUSH" => i64::from(self.tcp.cork),
            "TCP_QUICKACK" => i64::from(self.quick_ack),
            // RFC 9293 §3.7.1: as long as nothing is known.
            "TCP_MAXSEG" if self.tcp.max_segment == 0 => 536,
            "TCP_MAXSEG" => i64::from(self.tcp.max_segment),
            "TCP_WINDOW_CLAMP" => i64::from(self.tcp.window_clamp),
            "TCP_NOTSENT_LOWAT" => self.unsent_limit,
            "IP_TOS" | "IPV6_TCLASS" => i64::from(self.tcp.traffic_class),
            "IP_TTL" | "IPV6_UNICAST_HOPS" if self.tcp.hop_limit == 0 => HOP_LIMIT,
            "IP_TTL" | "IPV6_UNICAST_HOPS" => i64::from(self.tcp.hop_limit),
            "SO_ZEROCOPY" => i64::from(self.zero_copy),
            "TCP_INQ" => i64::from(self.inq),
            "TCP_FASTOPEN" => i64::from(self.fast_open_queue),
            "TCP_FASTOPEN_CONNECT" => i64::from(self.fast_open_connect),
            "TCP_FASTOPEN_NO_COOKIE" => i64::from(self.tcp.fast_open.client_without_cookie),
            "TCP_KEEPINIT" => self.connect_timeout.unwrap_or(FREEBSD_KEEPINIT).as_secs() as i64,
            "TCP_SYNCNT" => i64::from(self.tcp.syn_retries),
            "TCP_LINGER2" if self.tcp.fin_wait_2 == Duration::ZERO => -1,
            "TCP_LINGER2" => self.tcp.fin_wait_2.as_secs() as i64,
            "IP_LOCAL_PORT_RANGE" => self.ports.map_or(0, |(first, last)| i64::from(last) << 16 | i64::from(first)),
            "SO_MAX_PACING_RATE" => i64::from(self.tcp.max_pacing_rate.map_or(u32::MAX, NonZeroU32::get)),
            _ => match KEPT.iter().find(|(kept, ..)| *kept == name) {
                Some((kept, first, _)) => self.kept.get(kept).copied().unwrap_or(*first),
                None => return unsupported(name, absent_option(name)),
            },
        })
    }
}

/// What the stack would need for a socket option that it does not have.
fn absent_option(name: &str) -> &'static str {
    match name {
        "TCP_TIMESTAMP" => "timestamps",
        "TCP_MD5SIG" | "TCP_MD5SIG_EXT" => "MD5 signatures",
        "TCP_FUNCTION_BLK" => "stacks to choose from",
        "TCP_ZEROCOPY_RECEIVE" => "zero-copy sockets",
        "SO_TIMESTAMP" => "timestamps of packets for the user",
        "IP_MINTTL" | "IPV6_MINHOPCOUNT" => "a least TTL of what arrives",
        "IP_OPTIONS" | "IPV6_RTHDR" | "IPV6_HOPOPTS" => "options of IP",
        "TCP_ULP" => "protocols above TCP",
        "TCP_REPAIR" | "TCP_QUEUE_SEQ" => "connections that are taken apart",
        "TCP_TX_DELAY" => "delays that the user asks for",
        "TCP_AO_ADD_KEY" => "authentication",
        _ => "an option of this name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_options_are_kept_and_told() {
        let mut socket = SocketKnobs::new(&Knobs::new(Dialect::Linux));
        assert_eq!(socket.set("TCP_NODELAY", 1), Ok(Change::NoDelay));
        assert_eq!(socket.get("TCP_NODELAY"), Ok(1));
        assert_eq!(socket.set("SO_RCVBUF", 10_000), Ok(Change::Config));
        assert_eq!(socket.get("SO_RCVBUF"), Ok(20_000), "Linux doubles");
        assert_eq!(socket.set("TCP_MD5SIG", 1).unwrap_err().needs, "MD5 signatures");
        assert_eq!(socket.set_text("TCP_CONGESTION", "reno"), Ok(Change::Config));
        assert!(socket.set_text("TCP_CONGESTION", "vegas").is_err());
    }
}
