//! What scripts may set and ask, and what of it the stack under test has: sysctls of Linux and FreeBSD, socket options,
//! fields of `TCP_INFO`. This is the place to extend when the stack learns something.
//!
//! A setting that asks for what the stack does anyway is taken silently. One that asks for something else is
//! [`Unsupported`], which names it.

use ethertab::time::Duration;
use ethertab::{CongestionState, ConnectionInfo, KeepAlive, State, TcpConfig};
use std::fmt;

/// A setting that the stack under test has no knob for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsupported {
    /// The setting, as the script has it.
    pub(super) setting: String,
    /// What the stack would need.
    pub(super) needs: &'static str,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.needs)
    }
}

fn unsupported<T>(setting: impl Into<String>, needs: &'static str) -> Result<T, Unsupported> {
    Err(Unsupported { setting: setting.into(), needs })
}

/// Whose habits a script counts on where the two differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Dialect {
    #[default]
    Linux,
    FreeBsd,
}

/// The settings of the whole stack.
#[derive(Clone, Debug)]
pub(super) struct Knobs {
    pub(super) tcp: TcpConfig,
    pub(super) keep_alive: KeepAlive,
    /// How long `connect` may take, if that is bounded by time.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) dialect: Dialect,
}

/// Settings that have one meaning here: the name after `net.ipv4.` or `net.inet.`, the values that ask for what the stack
/// does, and what any other value asks for. No values at all: any will do, since what it tunes has no effect here.
const FIXED: &[(&str, &[i64], &str)] = &[
    ("tcp_timestamps", &[0], "timestamps"),
    ("tcp_sack", &[0], "SACK"),
    ("tcp_dsack", &[0], "DSACK"),
    ("tcp_window_scaling", &[1], "window scaling that can be turned off"),
    ("tcp_ecn", &[0], "ECN"),
    ("tcp_ecn_option", &[0], "AccECN"),
    ("tcp_ecn_fallback", &[], ""),
    ("tcp_frto", &[0], "F-RTO"),
    ("tcp_recovery", &[0], "RACK"),
    ("tcp_early_retrans", &[0], "tail loss probes"),
    ("tcp_fastopen", &[0], "Fast Open"),
    ("tcp_fastopen_key", &[], ""),
    ("tcp_fastopen_blackhole_timeout_sec", &[], ""),
    ("tcp_slow_start_after_idle", &[1], "a congestion window that survives idleness"),
    ("tcp_syncookies", &[0], "SYN cookies"),
    ("tcp_reordering", &[3], "a threshold of duplicates that can be set"),
    ("tcp_max_reordering", &[], ""),
    ("tcp_moderate_rcvbuf", &[0], "receive buffers that grow by themselves"),
    ("tcp_mtu_probing", &[0], "packetization layer path MTU discovery"),
    ("tcp_base_mss", &[], ""),
    ("tcp_rfc1337", &[0], "the knob of RFC 1337"),
    ("tcp_abort_on_overflow", &[0], "resets for a full accept queue"),
    ("tcp_stdurg", &[], ""),
    ("tcp_shrink_window", &[0], "windows that shrink"),
    ("tcp_thin_linear_timeouts", &[0], "linear timeouts of thin streams"),
    ("tcp_autocorking", &[0], "automatic corking"),
    ("tcp_tw_reuse", &[], ""),
    ("tcp_fack", &[0], "FACK"),
    ("tcp_plb_enabled", &[0], "protective load balancing"),
    ("tcp_challenge_ack_limit", &[], ""),
    ("tcp_invalid_ratelimit", &[], ""),
    ("tcp_no_metrics_save", &[], ""),
    ("tcp_tso_win_divisor", &[], ""),
    ("tcp_tso_rtt_log", &[], ""),
    ("tcp_min_tso_segs", &[], ""),
    ("tcp_limit_output_bytes", &[], ""),
    ("tcp_pacing_ss_ratio", &[], ""),
    ("tcp_pacing_ca_ratio", &[], ""),
    ("tcp_notsent_lowat", &[0xffff_ffff], "a limit on unsent data"),
    ("tcp_comp_sack_nr", &[], ""),
    ("tcp_comp_sack_delay_ns", &[], ""),
    ("tcp_adv_win_scale", &[], ""),
    ("tcp_app_win", &[], ""),
    ("tcp_mem", &[], ""),
    ("tcp_max_tw_buckets", &[], ""),
    ("tcp_max_syn_backlog", &[], ""),
    ("ip_no_pmtu_disc", &[0], "path MTU discovery that can be turned off"),
    ("tcp.sack.enable", &[0], "SACK"),
    ("tcp.rfc1323", &[2], "timestamps"),
    ("tcp.ecn.enable", &[0], "ECN"),
    ("tcp.ecn.maxretries", &[], ""),
    ("tcp.hostcache.purgenow", &[], ""),
    ("tcp.hostcache.purge", &[], ""),
    ("tcp.hostcache.enable", &[], ""),
    ("tcp.path_mtu_discovery", &[1], "path MTU discovery that can be turned off"),
    ("tcp.pmtud_blackhole_detection", &[0], "packetization layer path MTU discovery"),
    ("tcp.fastopen.server_enable", &[0], "Fast Open"),
    ("tcp.fastopen.client_enable", &[0], "Fast Open"),
    ("tcp.syncookies", &[0], "SYN cookies"),
    ("tcp.syncookies_only", &[0], "SYN cookies"),
    ("tcp.blackhole", &[0], "silence instead of resets"),
    ("tcp.log_in_vain", &[], ""),
    ("tcp.log_debug", &[], ""),
    ("tcp.recvbuf_auto", &[0], "receive buffers that grow by themselves"),
    ("tcp.sendbuf_auto", &[0], "send buffers that grow by themselves"),
    ("tcp.recvbuf_max", &[], ""),
    ("tcp.sendbuf_max", &[], ""),
    ("tcp.delayed_ack", &[1], "acknowledgments that never wait"),
    ("tcp.drop_synfin", &[], ""),
    ("tcp.rfc3042", &[0], "limited transmit"),
    ("tcp.rfc3390", &[], ""),
    ("tcp.do_prr", &[0], "PRR"),
    ("tcp.abc_l_var", &[], ""),
    ("tcp.tolerate_missing_ts", &[], ""),
    ("tcp.fast_finwait2_recycle", &[0], "a shorter FIN-WAIT-2"),
    ("tcp.insecure_rst", &[0], "resets that need no challenge"),
    ("tcp.insecure_syn", &[0], "SYNs that need no challenge"),
    ("tcp.functions_default", &[], ""),
    ("tcp.icmp_may_rst", &[1], "errors that end no attempt to connect"),
    ("tcp.rexmit_drop_options", &[1], "SYNs that keep their options"),
    ("tcp.rexmit_slop", &[0], "a slop that is added to timeouts"),
    ("icmp.icmplim", &[], ""),
];

/// Times that FreeBSD and Linux have under names of their own, in the unit's microseconds.
fn duration(name: &str, value: i64) -> Option<Duration> {
    let unit =
        if name.starts_with("tcp_") && !name.ends_with("_us") && !name.ends_with("_ms") { 1_000_000 } else { 1_000 };
    let unit = if name.ends_with("_us") { 1 } else { unit };
    u32::try_from(value).ok().map(|value| Duration::from_micros(u64::from(value) * unit))
}

impl Knobs {
    pub(super) fn new() -> Self {
        Knobs {
            tcp: TcpConfig::default(),
            keep_alive: KeepAlive::default(),
            connect_timeout: None,
            dialect: Dialect::Linux,
        }
    }

    /// Applies a sysctl. Those that are not about TCP over IPv4 or IPv6 are unknown.
    pub(super) fn sysctl(&mut self, name: &str, value: &str) -> Result<(), Unsupported> {
        let setting = format!("{name}={value}");
        if name.starts_with("net.inet") || name.starts_with("kern.") {
            self.dialect = Dialect::FreeBsd;
        }
        if name.starts_with("kern.") || name.starts_with("net.core.") {
            // Upper limits, clocks and modules of the kernel.
            return Ok(());
        }
        let short =
            ["net.ipv4.", "net.ipv6.", "net.inet.", "net.inet6."].iter().find_map(|area| name.strip_prefix(area));
        let Some(short) = short else { return unsupported(setting, "a knob of this name") };
        let numbers: Vec<i64> = value.split_whitespace().filter_map(number).collect();
        if let Some((_, allowed, needs)) = FIXED.iter().find(|(known, ..)| *known == short) {
            return match numbers.first() {
                _ if allowed.is_empty() => Ok(()),
                Some(first) if allowed.contains(first) => Ok(()),
                _ => unsupported(setting, needs),
            };
        }
        if short.contains("congestion_control") || short == "tcp.cc.algorithm" {
            return congestion_control(&setting, value);
        }
        match (short, &numbers[..]) {
            ("tcp_rmem", [_, default, _]) => self.tcp.receive_buffer = linux_window(*default),
            ("tcp_wmem", [_, default, _]) => self.tcp.send_buffer = positive(*default),
            ("tcp.recvspace", [space]) => self.tcp.receive_buffer = positive(*space),
            ("tcp.sendspace", [space]) => self.tcp.send_buffer = positive(*space),
            ("tcp_syn_retries", [count]) => self.tcp.syn_retries = small(*count),
            ("tcp_synack_retries" | "tcp.syncache.rexmtlimit", [count]) => self.tcp.syn_ack_retries = small(*count),
            ("tcp_retries1", [_]) => {}
            ("tcp_retries2", [count]) => self.tcp.retries = small(*count),
            ("tcp_orphan_retries", [count]) => self.tcp.orphan_retries = small(*count),
            ("tcp_keepalive_probes" | "tcp.keepcnt", [count]) => self.keep_alive.probes = small(*count),
            ("tcp.initcwnd_segments", [count]) => self.tcp.initial_window = small(*count),
            (_, [value]) => return self.time(short, *value, setting),
            _ => return unsupported(setting, "a knob of this name"),
        }
        Ok(())
    }

    fn time(&mut self, name: &str, value: i64, setting: String) -> Result<(), Unsupported> {
        let Some(time) = duration(name, value) else { return unsupported(setting, "a time that is not negative") };
        match name {
            "tcp_fin_timeout" | "tcp.finwait2_timeout" => self.tcp.fin_wait_2 = time,
            "tcp_keepalive_time" | "tcp.keepidle" => self.keep_alive.idle = time,
            "tcp_keepalive_intvl" | "tcp.keepintvl" => self.keep_alive.interval = time,
            "tcp_rto_min_us" | "tcp.rexmit_min" => self.tcp.min_rto = time,
            "tcp_rto_max_ms" => self.tcp.max_rto = time,
            "tcp.keepinit" => self.connect_timeout = Some(time),
            "tcp.rexmit_initial" => self.tcp.initial_rto = time,
            "tcp.delacktime" => self.tcp.delayed_ack = time,
            "tcp.msl" => self.tcp.time_wait = Duration::from_micros(time.as_micros().saturating_mul(2)),
            _ => return unsupported(setting, "a knob of this name"),
        }
        Ok(())
    }
}

/// The stack has one algorithm today; what the names stand for is the same.
fn congestion_control(setting: &str, name: &str) -> Result<(), Unsupported> {
    match name.trim_matches('"').trim() {
        "reno" | "newreno" => Ok(()),
        _ => unsupported(setting, "another congestion control than NewReno"),
    }
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn positive(value: i64) -> u32 {
    value.clamp(1, i64::from(u32::MAX)) as u32
}

fn small(value: i64) -> u8 {
    value.clamp(0, 255) as u8
}

/// Linux counts the overhead of its packet buffers in: half of the memory is window (`tcp_adv_win_scale` 1).
fn linux_window(memory: i64) -> u32 {
    positive(memory / 2)
}

/// The settings of one socket.
#[derive(Clone, Debug)]
pub(super) struct SocketKnobs {
    pub(super) tcp: TcpConfig,
    /// Probes that begin when `SO_KEEPALIVE` is on.
    pub(super) keep_alive: KeepAlive,
    pub(super) keep_alive_on: bool,
    /// How long `connect` may take, if that is bounded by time.
    pub(super) connect_timeout: Option<Duration>,
    /// `SO_LINGER`: seconds that `close` waits.
    pub(super) linger: Option<i64>,
    pub(super) dialect: Dialect,
}

/// How long an attempt to connect lasts on FreeBSD by default.
const FREEBSD_KEEPINIT: Duration = Duration::from_secs(75);

/// A change of a socket option that an open connection has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    NoDelay(bool),
    KeepAlive,
    UserTimeout,
}

impl SocketKnobs {
    pub(super) fn new(knobs: &Knobs) -> Self {
        SocketKnobs {
            tcp: knobs.tcp,
            keep_alive: knobs.keep_alive,
            keep_alive_on: false,
            connect_timeout: knobs.connect_timeout,
            linger: None,
            dialect: knobs.dialect,
        }
    }

    /// `setsockopt` with a number.
    pub(super) fn set(&mut self, name: &str, value: i64) -> Result<Change, Unsupported> {
        let seconds = || Duration::from_secs(value.clamp(0, i64::from(u32::MAX)) as u64);
        match name {
            "SO_REUSEADDR" | "SO_REUSEPORT" | "SO_PRIORITY" | "SO_DONTROUTE" | "SO_RCVLOWAT" if value <= 1 => {}
            "SO_SNDBUF" | "SO_SNDBUFFORCE" => self.tcp.send_buffer = positive(value),
            // Linux doubles the value for its overhead, and half of that is window.
            "SO_RCVBUF" | "SO_RCVBUFFORCE" => self.tcp.receive_buffer = positive(value),
            "SO_KEEPALIVE" => {
                self.keep_alive_on = value != 0;
                return Ok(Change::KeepAlive);
            }
            "TCP_KEEPIDLE" | "TCP_KEEPALIVE" => {
                self.keep_alive.idle = seconds();
                return Ok(Change::KeepAlive);
            }
            "TCP_KEEPINTVL" => {
                self.keep_alive.interval = seconds();
                return Ok(Change::KeepAlive);
            }
            "TCP_KEEPCNT" => {
                self.keep_alive.probes = small(value);
                return Ok(Change::KeepAlive);
            }
            "TCP_NODELAY" => {
                self.tcp.nagle = value == 0;
                return Ok(Change::NoDelay(value != 0));
            }
            "TCP_USER_TIMEOUT" => {
                self.tcp.user_timeout =
                    (value > 0).then(|| Duration::from_millis(value.min(i64::from(u32::MAX)) as u64));
                return Ok(Change::UserTimeout);
            }
            "TCP_KEEPINIT" => self.connect_timeout = Some(seconds()),
            "TCP_SYNCNT" => self.tcp.syn_retries = small(value),
            "TCP_LINGER2" => self.tcp.fin_wait_2 = seconds(),
            _ => return unsupported(format!("{name}={value}"), absent_option(name)),
        }
        Ok(Change::None)
    }

    /// `setsockopt` with a name: `TCP_CONGESTION`.
    pub(super) fn set_text(&mut self, name: &str, value: &str) -> Result<(), Unsupported> {
        let setting = format!("{name}={value}");
        match name {
            "TCP_CONGESTION" => congestion_control(&setting, value),
            _ => unsupported(setting, absent_option(name)),
        }
    }

    /// What `getsockopt` says where the settings alone decide.
    pub(super) fn get(&self, name: &str) -> Result<i64, Unsupported> {
        let doubled = if self.dialect == Dialect::Linux { 2 } else { 1 };
        Ok(match name {
            "SO_SNDBUF" => doubled * i64::from(self.tcp.send_buffer),
            "SO_RCVBUF" => doubled * i64::from(self.tcp.receive_buffer),
            "SO_KEEPALIVE" => i64::from(self.keep_alive_on),
            "SO_REUSEADDR" => 1,
            "TCP_KEEPIDLE" => self.keep_alive.idle.as_secs() as i64,
            "TCP_KEEPINTVL" => self.keep_alive.interval.as_secs() as i64,
            "TCP_KEEPCNT" => i64::from(self.keep_alive.probes),
            "TCP_NODELAY" => i64::from(!self.tcp.nagle),
            "TCP_USER_TIMEOUT" => self.tcp.user_timeout.map_or(0, |time| time.as_millis() as i64),
            "TCP_KEEPINIT" => self.connect_timeout.unwrap_or(FREEBSD_KEEPINIT).as_secs() as i64,
            "TCP_SYNCNT" => i64::from(self.tcp.syn_retries),
            "TCP_LINGER2" => self.tcp.fin_wait_2.as_secs() as i64,
            _ => return unsupported(name, absent_option(name)),
        })
    }
}

/// What the stack would need for a socket option that it does not have.
fn absent_option(name: &str) -> &'static str {
    match name {
        "TCP_CORK" | "TCP_NOPUSH" => "corking",
        "TCP_MAXSEG" => "an MSS that the user sets",
        "TCP_QUICKACK" => "acknowledgments that the user hurries",
        "TCP_DEFER_ACCEPT" => "listeners that wait for data",
        "TCP_FASTOPEN" | "TCP_FASTOPEN_CONNECT" | "TCP_FASTOPEN_NO_COOKIE" | "TCP_FASTOPEN_KEY" => "Fast Open",
        "TCP_NOTSENT_LOWAT" => "a limit on unsent data",
        "TCP_TIMESTAMP" => "timestamps",
        "TCP_INQ" | "TCP_CM_INQ" => "control messages with reads",
        "TCP_MD5SIG" | "TCP_MD5SIG_EXT" => "MD5 signatures",
        "TCP_FUNCTION_BLK" => "stacks to choose from",
        "TCP_WINDOW_CLAMP" => "a window that the user bounds",
        "SO_MAX_PACING_RATE" => "pacing",
        "SO_ZEROCOPY" | "TCP_ZEROCOPY_RECEIVE" => "zero-copy sockets",
        "SO_TIMESTAMPING" | "SO_TIMESTAMP" => "timestamps of packets for the user",
        "IP_TOS" | "IPV6_TCLASS" => "a TOS that the user sets",
        "IP_TTL" | "IPV6_UNICAST_HOPS" | "IP_MINTTL" => "a TTL that the user sets",
        "IP_MTU_DISCOVER" | "IPV6_MTU_DISCOVER" => "path MTU discovery that the user sets",
        "IP_RECVERR" | "IPV6_RECVERR" => "an error queue",
        "IP_MTU" | "IPV6_MTU" => "a path MTU that the user may ask for",
        _ => "an option of this name",
    }
}

/// The fields of Linux's `TCP_INFO` that the stack can tell. Counts of packets are rounded up.
pub(super) fn tcp_info(info: &ConnectionInfo, keep: &SocketKnobs) -> Vec<(&'static str, i64)> {
    let mss = i64::from(info.mss).max(1);
    let packets = |bytes: u32| (i64::from(bytes) + mss - 1) / mss;
    let ssthresh = if info.ssthresh == u32::MAX { 0x7fff_ffff } else { i64::from(info.ssthresh) / mss };
    let state = match info.state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Listen => 10,
        State::Closing => 11,
    };
    let ca_state = match info.congestion_state {
        CongestionState::Open => 0,
        CongestionState::Disorder => 1,
        CongestionState::Recovery => 3,
        CongestionState::Loss => 4,
        _ => 2,
    };
    let not_sent = info.send_queue.saturating_sub(info.unacknowledged);
    vec![
        ("tcpi_state", state),
        ("tcpi_ca_state", ca_state),
        ("tcpi_retransmits", i64::from(info.backoff)),
        ("tcpi_backoff", i64::from(info.backoff)),
        ("tcpi_rto", info.rto.as_micros() as i64),
        ("tcpi_snd_mss", i64::from(info.mss)),
        ("tcpi_unacked", packets(info.unacknowledged)),
        ("tcpi_lost", packets(info.lost)),
        ("tcpi_sacked", 0),
        ("tcpi_fackets", 0),
        ("tcpi_rtt", info.srtt.map_or(0, |srtt| srtt.as_micros() as i64)),
        ("tcpi_rttvar", info.rttvar.as_micros() as i64),
        ("tcpi_snd_ssthresh", ssthresh),
        ("tcpi_snd_cwnd", (i64::from(info.cwnd) / mss).max(1)),
        ("tcpi_total_retrans", i64::from(info.retransmits)),
        ("tcpi_notsent_bytes", i64::from(not_sent)),
        ("tcpi_bytes_received", info.bytes_received as i64),
        ("tcpi_rcv_space", i64::from(keep.tcp.receive_buffer)),
        ("tcpi_snd_wnd", i64::from(info.send_window)),
        ("tcpi_rcv_wnd", i64::from(info.receive_window)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctls_that_match_are_applied_and_others_named() {
        let mut knobs = Knobs::new();
        for (name, value) in [
            ("net.ipv4.tcp_syn_retries", "3"),
            ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
            ("net.ipv4.tcp_sack", "0"),
            ("net.ipv4.tcp_congestion_control", "reno"),
            ("net.ipv4.tcp_no_metrics_save", "1"),
            ("net.inet.tcp.rexmit_initial", "3000"),
            ("net.ipv4.tcp_fin_timeout", "5"),
        ] {
            knobs.sysctl(name, value).unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!((knobs.tcp.syn_retries, knobs.tcp.receive_buffer), (3, 65_536));
        assert_eq!(knobs.tcp.initial_rto, Duration::from_secs(3));
        assert_eq!(knobs.tcp.fin_wait_2, Duration::from_secs(5));
        assert_eq!(knobs.dialect, Dialect::FreeBsd);
        for (name, value) in [
            ("net.ipv4.tcp_sack", "1"),
            ("net.ipv4.tcp_magic", "1"),
            ("vm.swappiness", "1"),
            ("net.ipv4.tcp_congestion_control", "bbr"),
        ] {
            assert!(knobs.sysctl(name, value).is_err(), "{name}");
        }
        assert_eq!(knobs.sysctl("net.ipv4.tcp_sack", "1").unwrap_err().to_string(), "net.ipv4.tcp_sack=1: SACK");
    }

    #[test]
    fn socket_options_are_kept_and_told() {
        let mut socket = SocketKnobs::new(&Knobs::new());
        assert_eq!(socket.set("TCP_NODELAY", 1), Ok(Change::NoDelay(true)));
        assert_eq!(socket.get("TCP_NODELAY"), Ok(1));
        assert_eq!(socket.set("SO_RCVBUF", 10_000), Ok(Change::None));
        assert_eq!(socket.get("SO_RCVBUF"), Ok(20_000), "Linux doubles");
        assert_eq!(socket.set("TCP_CORK", 1).unwrap_err().needs, "corking");
        assert!(socket.set_text("TCP_CONGESTION", "cubic").is_err());
    }
}
