//! The options of the command line, which a script may also set for itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::dialect::Dialect;

/// Which addresses packets and sockets have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4 on the wire and in calls.
    #[default]
    V4,
    /// IPv4 on the wire, IPv6 sockets with mapped addresses (RFC 4291 §2.5.5.2).
    V4Mapped,
    /// IPv6 on the wire and in calls.
    V6,
}

impl IpVersion {
    /// The version of this name.
    pub(super) fn named(name: &str) -> Option<IpVersion> {
        match name {
            "ipv4" => Some(IpVersion::V4),
            "ipv4-mapped-ipv6" => Some(IpVersion::V4Mapped),
            "ipv6" => Some(IpVersion::V6),
            _ => None,
        }
    }

    /// Symbols that are defined where scripts run over it, unless they are given: the family, and what Linux's and
    /// packetdrill's own suites are run with.
    pub(super) fn symbols(self) -> [(&'static str, &'static str); 4] {
        let family = if self == IpVersion::V6 { "IPV6" } else { "IPV4" };
        let (level, kind) = if self == IpVersion::V4 { ("SOL_IP", "IP_RECVERR") } else { ("SOL_IPV6", "IPV6_RECVERR") };
        // Scripts about errors leave the code open.
        [(family, ""), ("CMSG_LEVEL_IP", level), ("CMSG_TYPE_RECVERR", kind), ("CODE", "host_unreachable")]
    }
}

/// How scripts are run. Defaults are packetdrill's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which addresses packets have.
    pub ip_version: IpVersion,
    /// The stack's address.
    pub local_ip: Option<IpAddr>,
    /// The script's address.
    pub remote_ip: Option<IpAddr>,
    /// The port that `bind` takes.
    pub bind_port: u16,
    /// The port that `connect` goes to.
    pub connect_port: u16,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Size of the segments that a large packet of the script counts as, in bytes; 0 if it is one segment.
    pub mss: u16,
    /// How much earlier or later than said a packet may leave and a call may return, in microseconds.
    pub tolerance_usecs: u64,
    /// The same as a percentage of the time since the event before; the larger of the two counts.
    pub tolerance_percent: u32,
    /// Microseconds per tick of the stack's timestamp clock, to check timestamps by; 0 leaves them unchecked.
    pub tcp_ts_tick_usecs: u32,
    /// A timestamp echo that stands for none seen is mapped by its distance to the first.
    pub tcp_ts_ecr_scaled: bool,
    /// A segment of the script is one segment on the wire.
    pub strict_segments: bool,
    /// Ignores the order of options and padding, PSH and windows of what the stack sends; what the stack does not know of
    /// sysctls and socket options becomes a note.
    pub loose: bool,
    /// What is sent after the last packet that the script expects is of no interest, as in the original.
    pub ignore_unexpected: bool,
    /// The script is only read.
    pub dry_run: bool,
    /// A call whose result is another is a note and no failure.
    pub calls_may_fail: bool,
    /// A packet that differs is a note and no failure.
    pub packets_may_differ: bool,
    /// Symbols: what `--define` gives.
    pub symbols: BTreeMap<String, String>,
    /// Whose habits the script counts on: it shows this itself.
    pub dialect: Dialect,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            ip_version: IpVersion::V4,
            local_ip: None,
            remote_ip: None,
            bind_port: 8080,
            connect_port: 8080,
            mtu: 1_500,
            mss: 0,
            tolerance_usecs: 4_000,
            tolerance_percent: 0,
            tcp_ts_tick_usecs: 0,
            tcp_ts_ecr_scaled: false,
            strict_segments: false,
            loose: false,
            ignore_unexpected: false,
            dry_run: false,
            calls_may_fail: false,
            packets_may_differ: false,
            symbols: BTreeMap::new(),
            dialect: Dialect::Linux,
        }
    }
}

/// Options about real devices, processes and machines, of which there are none here.
const WITHOUT_EFFECT: [&str; 24] = [
    "gateway_ip",
    "netmask_ip",
    "speed",
    "init_scripts",
    "wire_client",
    "wire_server",
    "wire_server_ip",
    "wire_server_at",
    "wire_server_port",
    "wire_client_dev",
    "wire_server_dev",
    "so_filename",
    "so_flags",
    "code_command",
    "code_format",
    "code_sockopt",
    "is_anyip",
    "send_omit_free",
    "debug",
    "verbose",
    "persistent_tun_dev",
    "udp_encapsulation",
    "psp_udp_port",
    "tcp_md5_secret",
];

impl Settings {
    /// Sets an option by its name without dashes.
    ///
    /// # Errors
    /// What is wrong with the option, for people.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        if WITHOUT_EFFECT.contains(&name) {
            return Ok(());
        }
        let text = value.unwrap_or("");
        let number = || text.parse::<u64>().map_err(|_| format!("a number for --{name}, not {text:?}"));
        let port = || text.parse::<u16>().map_err(|_| format!("a port for --{name}, not {text:?}"));
        match name {
            "ip_version" => {
                self.ip_version = IpVersion::named(text)
                    .ok_or_else(|| format!("--ip_version of ipv4, ipv4-mapped-ipv6 or ipv6, not {text:?}"))?;
            }
            "local_ip" | "remote_ip" => {
                let plain = text.split('/').next().unwrap_or("");
                let address = plain.parse().map_err(|_| format!("an address for --{name}, not {text:?}"))?;
                *(if name == "local_ip" { &mut self.local_ip } else { &mut self.remote_ip }) = Some(address);
            }
            "bind_port" => self.bind_port = port()?,
            "connect_port" => self.connect_port = port()?,
            "mtu" => self.mtu = number()?.try_into().map_err(|_| format!("an MTU of at most 65535, not {text}"))?,
            "mss" => self.mss = number()?.try_into().map_err(|_| format!("an MSS of at most 65535, not {text}"))?,
            "tolerance_usecs" => self.tolerance_usecs = number()?,
            "tolerance_percent" => self.tolerance_percent = number()?.min(100) as u32,
            "tcp_ts_tick_usecs" => self.tcp_ts_tick_usecs = number()?.min(u64::from(u32::MAX)) as u32,
            "tcp_ts_ecr_scaled" => self.tcp_ts_ecr_scaled = true,
            "strict_segments" => self.strict_segments = true,
            "non_fatal" => {
                self.calls_may_fail = text.contains("syscall");
                self.packets_may_differ = text.contains("packet");
            }
            "dry_run" => self.dry_run = true,
            "loose" => self.loose = true,
            "ignore_unexpected" => self.ignore_unexpected = true,
            "define" => {
                let (symbol, value) = text.split_once('=').unwrap_or((text, ""));
                self.symbols.insert(symbol.into(), value.into());
            }
            _ => return Err(format!("an option that packetdrill has, not --{name}")),
        }
        Ok(())
    }

    /// Whether sockets are of IPv6, be their packets of IPv4 or not.
    pub fn sockets_are_v6(&self) -> bool {
        self.ip_version != IpVersion::V4
    }

    /// The stack's address on the wire, and the script's: those given if they are of the right family, or packetdrill's.
    pub fn addresses(&self) -> (IpAddr, IpAddr) {
        let v6 = self.ip_version == IpVersion::V6;
        let (local, remote): (IpAddr, IpAddr) = if v6 {
            (
                Ipv6Addr::new(0xfd3d, 0xfa7b, 0xd17d, 0, 0, 0, 0, 1).into(),
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            )
        } else {
            (Ipv4Addr::new(192, 168, 0, 1).into(), Ipv4Addr::new(192, 0, 2, 1).into())
        };
        let fits = |address: &IpAddr| address.is_ipv6() == v6;
        (self.local_ip.filter(fits).unwrap_or(local), self.remote_ip.filter(fits).unwrap_or(remote))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let mut settings = Settings::default();
        for (name, value) in [("ip_version", "ipv6"), ("mtu", "1280"), ("define", "A=b"), ("local_ip", "fd00::9/64")] {
            settings.set(name, Some(value)).unwrap();
        }
        assert_eq!((settings.ip_version, settings.mtu), (IpVersion::V6, 1280));
        assert_eq!(settings.addresses().0, "fd00::9".parse::<IpAddr>().unwrap());
        assert_eq!(settings.symbols["A"], "b");
        for (name, value) in [("ip_version", "ipv5"), ("mtu", "70000"), ("colour", "red")] {
            assert!(settings.set(name, Some(value)).is_err(), "{name}");
        }
        settings.set("wire_client", None).unwrap();
    }
}
