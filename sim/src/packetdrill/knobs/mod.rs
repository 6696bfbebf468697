//! What scripts may set and ask, and what of it the stack under test has: sysctls of Linux and FreeBSD, socket options,
//! fields of `TCP_INFO`. This is the place to extend when the stack learns something.
//!
//! A setting that asks for what the stack does anyway is taken silently. One that asks for something else is
//! [`Unsupported`], which names it.

use ethertab::time::Duration;
use ethertab::{Algorithm, EcnMode, FastOpenKeys, KeepAlive, MtuProbing, SlowStartExit, TcpConfig, UnusedWindow};
use std::fmt;

use super::fast_open::DEFAULT_KEYS;

mod counters;
mod socket;
mod sysctl;
mod tcp_info;

pub(super) use counters::counter;
pub(super) use socket::{Change, SocketKnobs};
pub(super) use tcp_info::{TCP_CLOSE, tcp_info};

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
    pub(super) fast_open_keys: FastOpenKeys,
    pub(super) dialect: Dialect,
    /// Whether packets are those of IPv6.
    pub(super) ipv6: bool,
}

impl Knobs {
    pub(super) fn new() -> Self {
        Knobs {
            tcp: linux_defaults(),
            keep_alive: KeepAlive::default(),
            connect_timeout: None,
            fast_open_keys: DEFAULT_KEYS,
            dialect: Dialect::Linux,
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
    tcp.mtu_probing = MtuProbing::Off;
    tcp.ecn_accept = EcnMode::Classic;
    tcp
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
