//! What scripts may set and ask, and what of it the stack under test has: sysctls of Linux and FreeBSD, socket options,
//! fields of `TCP_INFO`. This is the place to extend when the stack learns something.
//!
//! A setting that asks for what the stack does anyway is taken silently. One that asks for something else is
//! [`Unsupported`], which names it.

use ethertab::time::Duration;
use ethertab::{
    AccEcnOption, Algorithm, EcnMode, FastOpenKeys, FreeBsdKnobs, KeepAlive, Manner, MtuProbing, SlowStartExit,
    TcpConfig, UnusedWindow,
};
use std::fmt;

use super::dialect::Dialect;
use super::fast_open::DEFAULT_KEYS;
use super::send_queue::BufferSize;

mod counters;
mod socket;
mod sysctl;
mod tcp_info;

pub(super) use counters::counter;
pub(super) use socket::{Change, SocketKnobs};
pub(super) use tcp_info::{TCP_CLOSE, TCP_LISTEN, tcp_info};

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

/// The settings of the whole stack.
#[derive(Clone, Debug)]
pub(super) struct Knobs {
    pub(super) tcp: TcpConfig,
    pub(super) keep_alive: KeepAlive,
    /// How long `connect` may take, if that is bounded by time.
    pub(super) connect_timeout: Option<Duration>,
    /// How long after their connection has ended ports may serve another one, if before the end of TIME-WAIT.
    pub(super) time_wait_reuse: Option<Duration>,
    pub(super) fast_open_keys: FastOpenKeys,
    /// Send buffers, if a script has set how large they are.
    pub(super) send_memory: Option<BufferSize>,
    /// The same of receive buffers.
    pub(super) receive_memory: Option<BufferSize>,
    /// The MSS that the interface's MTU allows.
    pub(super) mss: u32,
    pub(super) dialect: Dialect,
    /// Whether packets are those of IPv6.
    pub(super) ipv6: bool,
}

impl Knobs {
    pub(super) fn new(dialect: Dialect) -> Self {
        let mut tcp = linux_defaults();
        let mut keep_alive = KeepAlive::default();
        if dialect == Dialect::FreeBsd {
            freebsd_defaults(&mut tcp);
            keep_alive.probes = 8;
        }
        Knobs {
            tcp,
            keep_alive,
            connect_timeout: None,
            time_wait_reuse: None,
            fast_open_keys: DEFAULT_KEYS,
            send_memory: None,
            receive_memory: None,
            mss: 1_460,
            dialect,
            ipv6: false,
        }
    }
}

/// What scripts count on unless they set it: Linux's choices where the stack's own defaults are those of younger RFCs.
fn linux_defaults() -> TcpConfig {
    let mut tcp = TcpConfig::default();
    tcp.slow_start_exit = SlowStartExit::HyStart;
    tcp.unused_window = UnusedWindow::Decays;
    tcp.growth_limit = 0;
    tcp.linear_syn_timeouts = 4;
    tcp.mtu_probing = MtuProbing::Off;
    tcp.ecn_accept = EcnMode::Classic;
    tcp
}

/// What FreeBSD's scripts count on unless they set it.
fn freebsd_defaults(tcp: &mut TcpConfig) {
    tcp.manner = Manner::FreeBsd(FreeBsdKnobs::default());
    (tcp.initial_receive_buffer, tcp.receive_buffer) = (65_536, 2 * 1024 * 1024);
    // Larger than the default, which suites that count on it set: others write more than that at once.
    tcp.initial_send_buffer = 65_536;
    // Its default stack has neither RACK nor probes of the tail.
    (tcp.tail_loss_probe, tcp.frto) = (false, false);
    (tcp.ecn_accept, tcp.ecn_request) = (EcnMode::Classic, EcnMode::Off);
    // FreeBSD counts challenges a second, of which scripts stay far below.
    tcp.challenge_interval = Duration::ZERO;
    tcp.rfc1337 = true;
    (tcp.syn_retries, tcp.linear_syn_timeouts) = (12, 0);
    tcp.accecn_option = AccEcnOption::Off;
    (tcp.min_rto, tcp.max_rto) = (Duration::from_millis(30), Duration::from_secs(64));
}

fn congestion_control(setting: &str, name: &str) -> Result<Algorithm, Unsupported> {
    let name = match name.trim_matches('"').trim() {
        "newreno" => "reno",
        name => name,
    };
    Algorithm::from_name(name).map_or_else(|| unsupported(setting, "a congestion control of this name"), Ok)
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
