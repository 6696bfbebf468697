//! The sysctls of Linux and FreeBSD.

use ethertab::time::Duration;
use ethertab::{AccEcnOption, EcnMode, Manner, MtuProbing, SlowStartExit, SynCookies, UnusedWindow};

use crate::packetdrill::fast_open::keys_of_sysctl;
use crate::packetdrill::send_queue::BufferSize;

use super::{Knobs, Unsupported, congestion_control, number, positive, small, unsupported};

/// Settings that have one meaning here: the name after `net.ipv4.` or `net.inet.`, the values that ask for what the stack
/// does, and what any other value asks for. No values at all: any will do, since what it tunes has no effect here.
const FIXED: &[(&str, &[i64], &str)] = &[
    ("tcp_fastopen_blackhole_timeout_sec", &[], ""),
    ("hystart_detect", &[3], "a HyStart that looks for one sign only"),
    ("tcp_abort_on_overflow", &[0], "resets for a full accept queue"),
    ("tcp_stdurg", &[], ""),
    ("tcp_autocorking", &[0], "automatic corking"),
    ("tcp_fack", &[0], "FACK"),
    ("tcp_plb_enabled", &[0], "protective load balancing"),
    ("tcp_challenge_ack_limit", &[], ""),
    ("tcp_no_metrics_save", &[], ""),
    ("tcp_tso_win_divisor", &[], ""),
    ("tcp_tso_rtt_log", &[], ""),
    ("tcp_min_tso_segs", &[], ""),
    ("tcp_limit_output_bytes", &[], ""),
    ("tcp_pacing_ss_ratio", &[], ""),
    ("tcp_pacing_ca_ratio", &[], ""),
    ("tcp_comp_sack_delay_ns", &[], ""),
    ("tcp_adv_win_scale", &[], ""),
    ("tcp_app_win", &[], ""),
    ("tcp_mem", &[], ""),
    ("tcp_max_tw_buckets", &[], ""),
    ("tcp_max_syn_backlog", &[], ""),
    ("tcp.hostcache.purgenow", &[], ""),
    ("tcp.hostcache.purge", &[], ""),
    ("tcp.hostcache.enable", &[], ""),
    ("tcp.blackhole", &[0], "silence instead of resets"),
    ("tcp.log_in_vain", &[], ""),
    ("tcp.log_debug", &[], ""),
    ("tcp.recvbuf_max", &[], ""),
    ("tcp.sendbuf_max", &[], ""),
    ("tcp.delayed_ack", &[1], "acknowledgments that never wait"),
    ("tcp.rfc3042", &[0], "limited transmit"),
    ("tcp.rfc3390", &[], ""),
    ("tcp.rfc6675_pipe", &[], ""),
    ("tcp.newcwv", &[], ""),
    ("tcp.tso", &[], ""),
    ("tcp.lro", &[], ""),
    ("tcp.nolocaltimewait", &[], ""),
    ("tcp.maxtcptw", &[], ""),
    ("tcp.ecn.generalized", &[0], "ECN on control packets"),
    ("tcp.ecn.plusplus", &[0], "ECN on control packets"),
    ("tcp.fastopen.psk_enable", &[0], "a secret that servers and clients share"),
    ("tcp.always_keepalive", &[0], "keep-alive that nobody asks for"),
    ("tcp.rack.stats.clear", &[], ""),
    ("tcp.do_prr", &[0], "PRR"),
    ("tcp.tolerate_missing_ts", &[], ""),
    ("tcp.fast_finwait2_recycle", &[0], "a shorter FIN-WAIT-2"),
    ("tcp.functions_default", &[], ""),
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
    /// Applies a sysctl. Those that are not about TCP over IPv4 or IPv6 are unknown.
    pub(in crate::packetdrill) fn sysctl(&mut self, name: &str, value: &str) -> Result<(), Unsupported> {
        let setting = format!("{name}={value}");
        if name == "kern.ipc.maxsockbuf" {
            self.tcp.receive_buffer = number(value).map_or(self.tcp.receive_buffer, positive);
            return Ok(());
        }
        if ["kern.", "net.core.", "net.mptcp."].iter().any(|area| name.starts_with(area)) {
            // Upper limits, clocks and modules of the kernel, and a protocol that only sockets of its own speak.
            return Ok(());
        }
        let short = ["net.ipv4.", "net.ipv6.", "net.inet.", "net.inet6.", "tcp_cubic."]
            .iter()
            .find_map(|area| name.strip_prefix(area));
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
            self.tcp.congestion = congestion_control(&setting, value)?;
            return Ok(());
        }
        if short == "tcp_fastopen_key" {
            let keys = keys_of_sysctl(value);
            return keys.map_or_else(
                || unsupported(setting, "a key"),
                |keys| {
                    self.fast_open_keys = keys;
                    Ok(())
                },
            );
        }
        if let (Manner::FreeBsd(own), [value]) = (&mut self.tcp.manner, &numbers[..]) {
            let is_on = *value != 0;
            match short {
                "tcp.rexmit_slop" => own.rexmit_slop = small(*value),
                "tcp.rexmit_drop_options" => own.rexmit_drop_options = is_on,
                "tcp.ecn.maxretries" => own.ecn_maxretries = small(*value),
                "tcp.icmp_may_rst" => own.icmp_may_rst = is_on,
                "tcp.drop_synfin" => own.drop_synfin = is_on,
                _ => return self.shared_sysctl(short, &numbers, setting),
            }
            return Ok(());
        }
        self.shared_sysctl(short, &numbers, setting)
    }

    /// The sysctls that stand for a setting of every stack.
    fn shared_sysctl(&mut self, short: &str, numbers: &[i64], setting: String) -> Result<(), Unsupported> {
        match (short, numbers) {
            // What of ECN peers are granted, and what connections ask for.
            ("tcp_ecn", [0]) | ("tcp.ecn.enable", [0]) => self.ecn(EcnMode::Off, EcnMode::Off),
            ("tcp_ecn", [3]) | ("tcp.ecn.enable", [3]) => self.ecn(EcnMode::Accurate, EcnMode::Accurate),
            ("tcp_ecn", [4]) => self.ecn(EcnMode::Accurate, EcnMode::Classic),
            ("tcp_ecn", [5]) | ("tcp.ecn.enable", [4]) => self.ecn(EcnMode::Accurate, EcnMode::Off),
            ("tcp_ecn_option", [0]) => self.tcp.accecn_option = AccEcnOption::Off,
            ("tcp_ecn_option", [1]) => self.tcp.accecn_option = AccEcnOption::Needed,
            ("tcp_ecn_option", [_]) => self.tcp.accecn_option = AccEcnOption::Always,
            ("tcp_ecn_option_beacon", [count]) => self.tcp.accecn_beacons = small(*count),
            ("tcp_ecn", [1]) | ("tcp.ecn.enable", [1]) => self.ecn(EcnMode::Classic, EcnMode::Classic),
            ("tcp_ecn", [2]) | ("tcp.ecn.enable", [2]) => self.ecn(EcnMode::Classic, EcnMode::Off),
            ("tcp_ecn_fallback", [value]) => self.tcp.ecn_fallback = *value != 0,
            ("tcp_syncookies", [0]) | ("tcp.syncookies", [0]) => self.tcp.syn_cookies = SynCookies::Off,
            ("tcp_syncookies", [1]) | ("tcp.syncookies", [_]) => self.tcp.syn_cookies = SynCookies::UnderPressure,
            ("tcp_syncookies", [2]) | ("tcp.syncookies_only", [1]) => self.tcp.syn_cookies = SynCookies::Always,
            ("tcp.syncookies_only", [0]) => {}
            ("tcp_fastopen", [bits]) => {
                let fast_open = &mut self.tcp.fast_open;
                let has = |bit| bits & bit != 0;
                (fast_open.client, fast_open.server) = (has(1), has(2));
                (fast_open.client_without_cookie, fast_open.server_without_cookie) = (has(4), has(0x200));
                fast_open.all_listeners = has(0x400);
            }
            ("tcp.fastopen.server_enable", [value]) => self.tcp.fast_open.server = *value != 0,
            ("tcp.fastopen.client_enable", [value]) => self.tcp.fast_open.client = *value != 0,
            ("tcp_rmem", [_, default, most]) => {
                (self.tcp.initial_receive_buffer, self.tcp.receive_buffer) = (linux_window(*default), positive(*most));
                self.receive_memory = Some(BufferSize::Grows(positive(*default), positive(*most)));
                self.tcp.trim_to_window = false;
            }
            ("tcp_shrink_window", [value]) => self.tcp.shrink_window = *value != 0,
            ("tcp.cc.abe", [value]) => self.tcp.alternative_backoff = *value != 0,
            // FreeBSD's HyStart++ with the values of RFC 9406 §4.3.
            ("tcp.cc.hystartplusplus.css_rounds", [5]) => self.tcp.slow_start_exit = SlowStartExit::HyStartPlusPlus,
            ("hystart", [0]) => self.tcp.slow_start_exit = SlowStartExit::Loss,
            ("hystart", [_]) => self.tcp.slow_start_exit = SlowStartExit::HyStart,
            ("tcp_wmem", [_, default, most]) => {
                self.send_memory = Some(BufferSize::Grows(positive(*default), positive(*most)));
                (self.tcp.initial_send_buffer, self.tcp.send_buffer) = (positive(*default), positive(*most));
            }
            ("tcp.recvspace", [space]) => self.tcp.initial_receive_buffer = positive(*space),
            ("tcp.sendspace", [space]) => self.tcp.initial_send_buffer = positive(*space),
            ("tcp_moderate_rcvbuf" | "tcp.recvbuf_auto" | "tcp.sendbuf_auto", [value]) => {
                self.tcp.buffer_tuning = *value != 0;
            }
            ("tcp_notsent_lowat", [limit]) => self.tcp.unsent_limit = positive(*limit),
            // 2 is for loopback alone.
            ("tcp_tw_reuse", [on]) => self.time_wait_reuse = (*on == 1).then_some(Duration::from_secs(1)),
            ("tcp_tw_reuse_delay", [millis]) => {
                let delay = Duration::from_millis((*millis).max(0) as u64);
                self.time_wait_reuse = self.time_wait_reuse.map(|_| delay);
            }
            ("tcp_syn_retries", [count]) => self.tcp.syn_retries = small(*count),
            ("tcp_syn_linear_timeouts", [count]) => self.tcp.linear_syn_timeouts = small(*count),
            ("tcp_synack_retries" | "tcp.syncache.rexmtlimit", [count]) => self.tcp.syn_ack_retries = small(*count),
            ("tcp_timestamps", [value]) => self.tcp.timestamps = *value != 0,
            ("tcp_sack" | "tcp.sack.enable", [value]) => self.tcp.sack = *value != 0,
            ("tcp_comp_sack_nr", [count]) => self.tcp.compressed_acks = small(*count),
            ("tcp_dsack", [value]) => self.tcp.dsack = *value != 0,
            ("tcp_window_scaling", [value]) => self.tcp.window_scaling = *value != 0,
            // 1: both; 2: window scaling alone; 3: timestamps alone.
            ("tcp.rfc1323", [value]) => {
                (self.tcp.timestamps, self.tcp.window_scaling) = (matches!(value, 1 | 3), matches!(value, 1 | 2));
            }
            ("tcp_mtu_probing", [when]) => {
                self.tcp.mtu_probing = match *when {
                    0 => MtuProbing::Off,
                    1 => MtuProbing::OnBlackHole,
                    _ => MtuProbing::Always,
                };
            }
            ("tcp.pmtud_blackhole_detection", [when]) => {
                self.tcp.mtu_probing = if *when == 0 { MtuProbing::Off } else { MtuProbing::OnBlackHole };
            }
            ("tcp_base_mss", [mss]) => self.tcp.base_mss = positive(*mss).min(u32::from(u16::MAX)) as u16,
            ("ip_no_pmtu_disc", [off]) => self.tcp.path_mtu_discovery = *off == 0,
            ("tcp.path_mtu_discovery", [on]) => self.tcp.path_mtu_discovery = *on != 0,
            ("tcp_retries1", [count]) => self.tcp.retries1 = small(*count),
            ("tcp.insecure_syn", [on]) => self.tcp.challenge_syns = *on == 0,
            ("tcp.insecure_rst", [on]) => self.tcp.exact_resets = *on == 0,
            ("tcp_rfc1337", [on]) => self.tcp.rfc1337 = *on != 0,
            ("tcp_invalid_ratelimit", [millis]) => {
                self.tcp.challenge_interval = Duration::from_millis((*millis).max(0) as u64);
            }
            ("tcp_retries2", [count]) => self.tcp.retries = small(*count),
            ("tcp_orphan_retries", [count]) => self.tcp.orphan_retries = small(*count),
            ("tcp_keepalive_probes" | "tcp.keepcnt", [count]) => self.keep_alive.probes = small(*count),
            ("tcp_thin_linear_timeouts", [value]) => self.tcp.thin_linear_timeouts = *value != 0,
            ("tcp_frto", [value]) => self.tcp.frto = *value != 0,
            // 1: RACK; 2: its window never grows; 4: no losses by duplicates alone.
            ("tcp_recovery", [flags]) if flags & 1 != 0 && flags & 2 == 0 => self.tcp.rack_threshold = flags & 4 == 0,
            ("tcp_recovery", [_]) => {
                return unsupported(setting, "recovery without RACK, or with a window that never grows");
            }
            // 3 and 4 are tail loss probes; the rest of it, early retransmission, was for the time before RACK.
            ("tcp_early_retrans", [value]) => self.tcp.tail_loss_probe = matches!(value, 3 | 4),
            ("tcp_reordering", [segments]) => self.tcp.reordering = small(*segments),
            ("tcp_max_reordering", [segments]) => self.tcp.max_reordering = (*segments).clamp(0, 65_535) as u16,
            ("tcp_slow_start_after_idle", [0]) => self.tcp.unused_window = UnusedWindow::Kept,
            ("tcp_slow_start_after_idle", [_]) => self.tcp.unused_window = UnusedWindow::Decays,
            ("tcp.abc_l_var", [limit]) => self.tcp.growth_limit = small(*limit),
            ("tcp.initcwnd_segments", [count]) => self.tcp.initial_window = small(*count),
            (_, [value]) => return self.time(short, *value, setting),
            _ => return unsupported(setting, "a knob of this name"),
        }
        Ok(())
    }

    fn ecn(&mut self, accept: EcnMode, request: EcnMode) {
        (self.tcp.ecn_accept, self.tcp.ecn_request) = (accept, request);
    }

    fn time(&mut self, name: &str, value: i64, setting: String) -> Result<(), Unsupported> {
        let Some(time) = duration(name, value) else { return unsupported(setting, "a time that is not negative") };
        match name {
            "tcp_fin_timeout" | "tcp.finwait2_timeout" => self.tcp.fin_wait_2 = time.max(SHORTEST),
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

/// What stands for no time where zero means something else.
const SHORTEST: Duration = Duration::from_micros(1);

/// Linux counts the overhead of its packet buffers in: half of the memory is window (`tcp_adv_win_scale` 1).
fn linux_window(memory: i64) -> u32 {
    positive(memory / 2)
}

#[cfg(test)]
mod tests {
    use super::super::Dialect;
    use super::*;
    use ethertab::Algorithm;

    #[test]
    fn sysctls_that_match_are_applied_and_others_named() {
        let mut knobs = Knobs::new(Dialect::FreeBsd);
        for (name, value) in [
            ("net.ipv4.tcp_syn_retries", "3"),
            ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
            ("net.ipv4.tcp_sack", "0"),
            ("net.ipv4.tcp_congestion_control", "reno"),
            ("net.ipv4.tcp_no_metrics_save", "1"),
            ("net.inet.tcp.rexmit_initial", "3000"),
            ("net.inet.tcp.rexmit_slop", "100"),
            ("net.ipv4.tcp_fin_timeout", "5"),
            ("net.ipv4.tcp_slow_start_after_idle", "0"),
        ] {
            knobs.sysctl(name, value).unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!((knobs.tcp.syn_retries, knobs.tcp.initial_receive_buffer), (3, 65_536));
        assert_eq!(knobs.tcp.initial_rto, Duration::from_secs(3));
        assert_eq!(knobs.tcp.fin_wait_2, Duration::from_secs(5));
        assert_eq!(knobs.tcp.unused_window, UnusedWindow::Kept);
        assert!(matches!(knobs.tcp.manner, Manner::FreeBsd(own) if own.rexmit_slop == 100));
        assert_eq!(knobs.tcp.congestion, Algorithm::NewReno);
        for (name, value) in [
            ("net.ipv4.tcp_fack", "1"),
            ("net.ipv4.tcp_magic", "1"),
            ("vm.swappiness", "1"),
            ("net.ipv4.tcp_congestion_control", "vegas"),
        ] {
            assert!(knobs.sysctl(name, value).is_err(), "{name}");
        }
        assert!(!knobs.tcp.sack);
        assert_eq!(knobs.sysctl("net.ipv4.tcp_fack", "1").unwrap_err().needs, "FACK");
    }
}
