//! TCP's settings: `TcpOptions` of the package, for stacks, listeners and open connections alike. Its `names.ts` has the names of the
//! numbers here: times are in microseconds, infinity for none; other limits have 0 for none.

use std::num::NonZeroU32;

use ethertab::time::Duration;
use ethertab::{
    AccEcnOption, Algorithm, EcnMode, FreeBsdKnobs, Manner, MtuProbing, SlowStartExit, SynCookies, TcpConfig,
    UnusedWindow,
};
use ethertab_wasm_shared::instant;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::attempt;
use crate::failure::Failure;
use crate::numbers::GIVEN;

/// Changes those settings of a connection or of a listener's connections to come that are given, `count` numbers, and puts all of them
/// there as they are then.
#[wasm_bindgen]
pub fn tcp_settings(now: f64, socket: u32, count: u32) -> i32 {
    attempt(|engine, numbers| {
        let values = numbers.settings(0, count);
        let after = if let Some((host, handle)) = engine.sockets.connection(socket) {
            let (stack, _) = engine.stack_mut(host)?;
            let before = stack.connection_config(handle).ok_or_else(Failure::missing)?;
            if let Some(config) = changed(&before, values) {
                // It is there: its settings were just told.
                let _ = stack.set_connection_config(instant(now), handle, &config);
            }
            stack.connection_config(handle).unwrap_or(before)
        } else {
            let (host, handle) = engine.sockets.listener(socket).ok_or_else(Failure::missing)?;
            let (stack, _) = engine.stack_mut(host)?;
            let before = stack.listener_config(handle).ok_or_else(Failure::missing)?;
            let after = changed(&before, values).unwrap_or(before);
            let _ = stack.set_listener_config(handle, &after);
            after
        };
        Ok(told(after, &mut numbers.given))
    })
}

/// The same for the sockets that a host makes from now on.
#[wasm_bindgen]
pub fn host_tcp_settings(host: u32, count: u32) -> i32 {
    attempt(|engine, numbers| {
        let (stack, _) = engine.stack_mut(engine.host(host))?;
        let before = stack.config().tcp;
        let after = changed(&before, numbers.settings(0, count)).unwrap_or(before);
        stack.set_tcp_config(after);
        Ok(told(after, &mut numbers.given))
    })
}

/// Settings with those changed that are given; None if none is.
pub(crate) fn changed(before: &TcpConfig, values: &[f64]) -> Option<TcpConfig> {
    if values.iter().all(|value| value.is_nan()) {
        return None;
    }
    let mut copies = [f64::NAN; COUNT];
    for (copy, value) in copies.iter_mut().zip(values) {
        *copy = *value;
    }
    let mut config = *before;
    exchange(&mut config, &mut copies);
    Some(config)
}

/// Puts all settings into `values` and returns how many they are.
fn told(mut config: TcpConfig, values: &mut [f64; GIVEN]) -> u32 {
    let values = &mut values[..COUNT];
    values.fill(f64::NAN);
    exchange(&mut config, values);
    COUNT as u32
}

/// A setting that crosses as a number.
pub(crate) enum Slot<'a> {
    Flag(&'a mut bool),
    Byte(&'a mut u8),
    Short(&'a mut u16),
    Word(&'a mut u32),
    Span(&'a mut Duration),
    /// A time, or none.
    Limit(&'a mut Option<Duration>),
}

impl Slot<'_> {
    fn get(&self) -> f64 {
        match self {
            Slot::Flag(flag) => f64::from(u8::from(**flag)),
            Slot::Byte(number) => f64::from(**number),
            Slot::Short(number) => f64::from(**number),
            Slot::Word(number) => f64::from(**number),
            Slot::Span(span) => span.as_micros() as f64,
            Slot::Limit(limit) => limit.map_or(f64::INFINITY, |span| span.as_micros() as f64),
        }
    }

    fn set(&mut self, value: f64) {
        match self {
            Slot::Flag(flag) => **flag = value != 0.0,
            Slot::Byte(number) => **number = value as u8,
            Slot::Short(number) => **number = value as u16,
            Slot::Word(number) => **number = value as u32,
            Slot::Span(span) => **span = Duration::from_micros(value as u64),
            Slot::Limit(limit) => **limit = value.is_finite().then(|| Duration::from_micros(value as u64)),
        }
    }
}

/// Takes over the numbers that are given, and puts the others in their places.
#[inline(never)] // One copy for all that have settings.
pub(crate) fn exchange_all(slots: &mut [Slot<'_>], values: &mut [f64]) {
    for (slot, value) in slots.iter_mut().zip(values) {
        if value.is_nan() {
            *value = slot.get();
        } else {
            slot.set(*value);
        }
    }
}

/// How many settings there are.
const COUNT: usize = 61;
const ALGORITHMS: [Algorithm; 4] = [Algorithm::NewReno, Algorithm::Cubic, Algorithm::Bbr, Algorithm::Unlimited];
const EXITS: [SlowStartExit; 3] = [SlowStartExit::HyStartPlusPlus, SlowStartExit::HyStart, SlowStartExit::Loss];
const POLICIES: [UnusedWindow; 3] = [UnusedWindow::Validated, UnusedWindow::Decays, UnusedWindow::Kept];
/// What is asked for, and what is granted.
const ECN: [(EcnMode, EcnMode); 4] = [
    (EcnMode::Off, EcnMode::Off),
    (EcnMode::Off, EcnMode::Accurate),
    (EcnMode::Classic, EcnMode::Accurate),
    (EcnMode::Accurate, EcnMode::Accurate),
];
const ECN_OPTIONS: [AccEcnOption; 3] = [AccEcnOption::Off, AccEcnOption::Needed, AccEcnOption::Always];
const COOKIES: [SynCookies; 3] = [SynCookies::Off, SynCookies::UnderPressure, SynCookies::Always];
const PROBING: [MtuProbing; 3] = [MtuProbing::Off, MtuProbing::OnBlackHole, MtuProbing::Always];
/// FreeBSD's with its defaults.
fn manners() -> [Manner; 2] {
    [Manner::Linux, Manner::FreeBsd(FreeBsdKnobs::default())]
}

/// The place of a choice.
pub(crate) fn place<T: PartialEq>(choices: &[T], chosen: &T) -> u8 {
    choices.iter().position(|choice| choice == chosen).unwrap_or(0) as u8
}

/// The choice at a place, if there is one.
pub(crate) fn choose<T: Copy>(chosen: &mut T, choices: &[T], place: u8) {
    if let Some(choice) = choices.get(usize::from(place)) {
        *chosen = *choice;
    }
}

/// Takes over the numbers that are given, and puts the others in their places, in the order of the package's names.
fn exchange(tcp: &mut TcpConfig, values: &mut [f64]) {
    let mut ecn = (tcp.ecn_request, tcp.ecn_accept);
    let mut algorithm = place(&ALGORITHMS, &tcp.congestion);
    let mut exit = place(&EXITS, &tcp.slow_start_exit);
    let mut policy = place(&POLICIES, &tcp.unused_window);
    let mut ecn_place = place(&ECN, &ecn);
    let mut ecn_option = place(&ECN_OPTIONS, &tcp.accecn_option);
    let mut cookies = place(&COOKIES, &tcp.syn_cookies);
    let mut probing = place(&PROBING, &tcp.mtu_probing);
    let mut manner = place(&manners(), &tcp.manner);
    let mut defer_accept = tcp.defer_accept_time(tcp.defer_accept);
    let mut no_delay = !tcp.nagle;
    let mut probes_idle = tcp.keep_alive.is_some();
    let mut keep_alive = tcp.keep_alive.unwrap_or_default();
    let mut pacing_rate = tcp.max_pacing_rate.map_or(0, NonZeroU32::get);
    let mut slots: [Slot<'_>; COUNT] = [
        Slot::Byte(&mut algorithm),
        Slot::Byte(&mut exit),
        Slot::Byte(&mut policy),
        Slot::Byte(&mut ecn_place),
        Slot::Byte(&mut ecn_option),
        Slot::Byte(&mut cookies),
        Slot::Byte(&mut probing),
        Slot::Byte(&mut manner),
        Slot::Flag(&mut no_delay),
        Slot::Flag(&mut tcp.cork),
        Slot::Flag(&mut tcp.buffer_tuning),
        Slot::Flag(&mut tcp.path_mtu_discovery),
        Slot::Flag(&mut tcp.timestamps),
        Slot::Flag(&mut tcp.sack),
        Slot::Flag(&mut tcp.dsack),
        Slot::Flag(&mut tcp.window_scaling),
        Slot::Flag(&mut tcp.tail_loss_probe),
        Slot::Flag(&mut tcp.frto),
        Slot::Flag(&mut tcp.ecn_fallback),
        Slot::Flag(&mut tcp.alternative_backoff),
        Slot::Flag(&mut tcp.rfc1337),
        Slot::Flag(&mut tcp.exact_resets),
        Slot::Flag(&mut tcp.challenge_syns),
        Slot::Flag(&mut tcp.trim_to_window),
        Slot::Flag(&mut tcp.shrink_window),
        Slot::Flag(&mut tcp.thin_linear_timeouts),
        Slot::Flag(&mut probes_idle),
        Slot::Span(&mut keep_alive.idle),
        Slot::Span(&mut keep_alive.interval),
        Slot::Byte(&mut keep_alive.probes),
        Slot::Word(&mut tcp.send_buffer),
        Slot::Word(&mut tcp.initial_send_buffer),
        Slot::Word(&mut tcp.receive_buffer),
        Slot::Word(&mut tcp.initial_receive_buffer),
        Slot::Word(&mut tcp.window_clamp),
        Slot::Word(&mut tcp.unsent_limit),
        Slot::Word(&mut tcp.receive_low_water),
        Slot::Short(&mut tcp.max_segment),
        Slot::Byte(&mut tcp.hop_limit),
        Slot::Byte(&mut tcp.traffic_class),
        Slot::Span(&mut tcp.delayed_ack),
        Slot::Span(&mut tcp.initial_rto),
        Slot::Span(&mut tcp.min_rto),
        Slot::Span(&mut tcp.max_rto),
        Slot::Span(&mut tcp.time_wait),
        Slot::Span(&mut tcp.fin_wait_2),
        Slot::Limit(&mut tcp.user_timeout),
        Slot::Limit(&mut tcp.linger),
        Slot::Span(&mut tcp.challenge_interval),
        Slot::Span(&mut defer_accept),
        Slot::Byte(&mut tcp.syn_retries),
        Slot::Byte(&mut tcp.linear_syn_timeouts),
        Slot::Byte(&mut tcp.syn_ack_retries),
        Slot::Byte(&mut tcp.retries),
        Slot::Byte(&mut tcp.orphan_retries),
        Slot::Byte(&mut tcp.initial_window),
        Slot::Byte(&mut tcp.reordering),
        Slot::Short(&mut tcp.max_reordering),
        Slot::Byte(&mut tcp.growth_limit),
        Slot::Byte(&mut tcp.compressed_acks),
        Slot::Word(&mut pacing_rate),
    ];
    exchange_all(&mut slots, values);
    choose(&mut tcp.congestion, &ALGORITHMS, algorithm);
    choose(&mut tcp.slow_start_exit, &EXITS, exit);
    choose(&mut tcp.unused_window, &POLICIES, policy);
    choose(&mut ecn, &ECN, ecn_place);
    (tcp.ecn_request, tcp.ecn_accept) = ecn;
    choose(&mut tcp.accecn_option, &ECN_OPTIONS, ecn_option);
    choose(&mut tcp.syn_cookies, &COOKIES, cookies);
    choose(&mut tcp.mtu_probing, &PROBING, probing);
    choose(&mut tcp.manner, &manners(), manner);
    tcp.defer_accept = tcp.defer_accept_for(defer_accept);
    tcp.nagle = !no_delay;
    tcp.keep_alive = probes_idle.then_some(keep_alive);
    tcp.max_pacing_rate = NonZeroU32::new(pacing_rate);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{fields, line};
    use ethertab::KeepAlive;

    /// The default settings after one of them has been changed.
    fn with(name: &str, value: f64) -> TcpConfig {
        let given = |field: &str| if field.split(['?', '=']).next() == Some(name) { value } else { f64::NAN };
        let values: Vec<f64> = fields("SETTINGS").into_iter().map(given).collect();
        changed(&TcpConfig::default(), &values).expect("the setting is in the list")
    }

    /// The default settings as `change` leaves them.
    fn but(change: impl FnOnce(&mut TcpConfig)) -> TcpConfig {
        let mut config = TcpConfig::default();
        change(&mut config);
        config
    }

    #[test]
    fn each_number_goes_where_its_name_says() {
        let micros = Duration::from_micros;
        assert_eq!(with("noDelay", 1.0), but(|tcp| tcp.nagle = false));
        assert_eq!(with("cork", 1.0), but(|tcp| tcp.cork = true));
        assert_eq!(with("bufferTuning", 0.0), but(|tcp| tcp.buffer_tuning = false));
        assert_eq!(with("pathMtuDiscovery", 0.0), but(|tcp| tcp.path_mtu_discovery = false));
        assert_eq!(with("timestamps", 0.0), but(|tcp| tcp.timestamps = false));
        assert_eq!(with("sack", 0.0), but(|tcp| tcp.sack = false));
        assert_eq!(with("dsack", 0.0), but(|tcp| tcp.dsack = false));
        assert_eq!(with("windowScaling", 0.0), but(|tcp| tcp.window_scaling = false));
        assert_eq!(with("tailLossProbe", 0.0), but(|tcp| tcp.tail_loss_probe = false));
        assert_eq!(with("frto", 0.0), but(|tcp| tcp.frto = false));
        assert_eq!(with("ecnFallback", 0.0), but(|tcp| tcp.ecn_fallback = false));
        assert_eq!(with("alternativeBackoff", 1.0), but(|tcp| tcp.alternative_backoff = true));
        assert_eq!(with("rfc1337", 1.0), but(|tcp| tcp.rfc1337 = true));
        assert_eq!(with("exactResets", 0.0), but(|tcp| tcp.exact_resets = false));
        assert_eq!(with("challengeSyns", 0.0), but(|tcp| tcp.challenge_syns = false));
        assert_eq!(with("trimToWindow", 0.0), but(|tcp| tcp.trim_to_window = false));
        assert_eq!(with("shrinkWindow", 1.0), but(|tcp| tcp.shrink_window = true));
        assert_eq!(with("thinLinearTimeouts", 1.0), but(|tcp| tcp.thin_linear_timeouts = true));
        assert_eq!(with("keepAlive", 1.0), but(|tcp| tcp.keep_alive = Some(KeepAlive::default())));
        assert_eq!(with("sendBuffer", 5e3), but(|tcp| tcp.send_buffer = 5_000));
        assert_eq!(with("initialSendBuffer", 5e3), but(|tcp| tcp.initial_send_buffer = 5_000));
        assert_eq!(with("receiveBuffer", 5e3), but(|tcp| tcp.receive_buffer = 5_000));
        assert_eq!(with("initialReceiveBuffer", 5e3), but(|tcp| tcp.initial_receive_buffer = 5_000));
        assert_eq!(with("windowClamp", 5e3), but(|tcp| tcp.window_clamp = 5_000));
        assert_eq!(with("notSentLowat", 5e3), but(|tcp| tcp.unsent_limit = 5_000));
        assert_eq!(with("receiveLowat", 5e3), but(|tcp| tcp.receive_low_water = 5_000));
        assert_eq!(with("maxSegmentSize", 5e3), but(|tcp| tcp.max_segment = 5_000));
        assert_eq!(with("hopLimit", 5.0), but(|tcp| tcp.hop_limit = 5));
        assert_eq!(with("trafficClass", 8.0), but(|tcp| tcp.traffic_class = 8));
        assert_eq!(with("delayedAck", 7.0), but(|tcp| tcp.delayed_ack = micros(7)));
        assert_eq!(with("initialRto", 7.0), but(|tcp| tcp.initial_rto = micros(7)));
        assert_eq!(with("minRto", 7.0), but(|tcp| tcp.min_rto = micros(7)));
        assert_eq!(with("maxRto", 7.0), but(|tcp| tcp.max_rto = micros(7)));
        assert_eq!(with("timeWait", 7.0), but(|tcp| tcp.time_wait = micros(7)));
        assert_eq!(with("finWait2", 7.0), but(|tcp| tcp.fin_wait_2 = micros(7)));
        assert_eq!(with("userTimeout", 7.0), but(|tcp| tcp.user_timeout = Some(micros(7))));
        assert_eq!(with("linger", 0.0), but(|tcp| tcp.linger = Some(Duration::ZERO)));
        assert_eq!(with("linger", f64::INFINITY), TcpConfig::default());
        assert_eq!(with("challengeInterval", 7.0), but(|tcp| tcp.challenge_interval = micros(7)));
        // One second, and two more.
        assert_eq!(with("deferAccept", 2e6), but(|tcp| tcp.defer_accept = 2));
        assert_eq!(with("linearSynTimeouts", 4.0), but(|tcp| tcp.linear_syn_timeouts = 4));
        assert_eq!(with("synRetries", 9.0), but(|tcp| tcp.syn_retries = 9));
        assert_eq!(with("synAckRetries", 9.0), but(|tcp| tcp.syn_ack_retries = 9));
        assert_eq!(with("retries", 9.0), but(|tcp| tcp.retries = 9));
        assert_eq!(with("orphanRetries", 9.0), but(|tcp| tcp.orphan_retries = 9));
        assert_eq!(with("initialWindow", 9.0), but(|tcp| tcp.initial_window = 9));
        assert_eq!(with("reordering", 9.0), but(|tcp| tcp.reordering = 9));
        assert_eq!(with("maxReordering", 9.0), but(|tcp| tcp.max_reordering = 9));
        assert_eq!(with("growthLimit", 9.0), but(|tcp| tcp.growth_limit = 9));
        assert_eq!(with("compressedAcks", 9.0), but(|tcp| tcp.compressed_acks = 9));
        assert_eq!(with("maxPacingRate", 5e3), but(|tcp| tcp.max_pacing_rate = NonZeroU32::new(5_000)));
    }

    #[test]
    fn each_word_is_the_choice_that_it_says() {
        let place = |name: &str, word: &str| {
            let fields = fields("SETTINGS");
            let words =
                fields.iter().find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).expect("the setting");
            line("WORDS", words).iter().position(|choice| *choice == word).expect("the word") as f64
        };
        let with = |name: &str, word: &str| with(name, place(name, word));
        for algorithm in ALGORITHMS {
            assert_eq!(with("congestionControl", algorithm.name()), but(|tcp| tcp.congestion = algorithm));
        }
        assert_eq!(with("slowStartExit", "hystart").slow_start_exit, SlowStartExit::HyStart);
        assert_eq!(with("slowStartExit", "loss").slow_start_exit, SlowStartExit::Loss);
        assert_eq!(with("unusedWindow", "decays").unused_window, UnusedWindow::Decays);
        assert_eq!(with("unusedWindow", "kept").unused_window, UnusedWindow::Kept);
        assert_eq!(with("ecn", "off").ecn_accept, EcnMode::Off);
        assert_eq!(with("ecn", "passive"), TcpConfig::default());
        assert_eq!(with("ecn", "on").ecn_request, EcnMode::Classic);
        assert_eq!(with("ecn", "accurate").ecn_request, EcnMode::Accurate);
        assert_eq!(with("accEcnOption", "off").accecn_option, AccEcnOption::Off);
        assert_eq!(with("accEcnOption", "needed").accecn_option, AccEcnOption::Needed);
        assert_eq!(with("synCookies", "off").syn_cookies, SynCookies::Off);
        assert_eq!(with("synCookies", "always").syn_cookies, SynCookies::Always);
        assert_eq!(with("manner", "freebsd").manner, Manner::FreeBsd(FreeBsdKnobs::default()));
        assert_eq!(with("mtuProbing", "off").mtu_probing, MtuProbing::Off);
        assert_eq!(with("mtuProbing", "always").mtu_probing, MtuProbing::Always);
    }

    #[test]
    fn what_is_told_gives_the_same_settings() {
        let mut config = with("keepAlive", 1.0);
        config.user_timeout = Some(Duration::from_secs(3));
        config.congestion = Algorithm::Bbr;
        config.nagle = false;
        let mut values = [0.0; GIVEN];
        assert_eq!(told(config, &mut values) as usize, fields("SETTINGS").len());
        assert_eq!(changed(&TcpConfig::default(), &values[..COUNT]), Some(config));
    }

    #[test]
    fn nothing_given_changes_nothing() {
        assert_eq!(changed(&TcpConfig::default(), &[]), None);
        assert_eq!(changed(&TcpConfig::default(), &[f64::NAN; COUNT]), None);
    }
}
