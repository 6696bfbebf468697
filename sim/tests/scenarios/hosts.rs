//! How hosts differ: buffers, timers, algorithms.

use crate::dice::Dice;
use ethertab::time::Duration;
use ethertab::{Algorithm, EcnMode, KeepAlive, Limits, MtuProbing, SlowStartExit, TcpConfig, UnusedWindow};
use ethertab_sim::world::HostOptions;
use std::num::NonZeroU32;

/// Keep-alive that finds out within minutes what a lost reset did not tell.
const KEEP_ALIVE: KeepAlive =
    KeepAlive { idle: Duration::from_secs(120), interval: Duration::from_secs(20), probes: 9 };

pub(crate) fn options(dice: &mut Dice, hosts: usize) -> Vec<HostOptions> {
    (0..hosts)
        .map(|_| HostOptions {
            limits: Limits::small(),
            tcp: tcp(dice),
            mtu: if dice.percent(85) { 1_500 } else { dice.within(1_280..=9_000) as u16 },
        })
        .collect()
}

fn tcp(dice: &mut Dice) -> TcpConfig {
    let mut tcp = TcpConfig::default();
    tcp.keep_alive = Some(KEEP_ALIVE);
    tcp.nagle = dice.percent(70);
    if dice.percent(50) {
        tcp.send_buffer = dice.magnitude(2_000..=1_000_000) as u32;
        tcp.receive_buffer = dice.magnitude(2_000..=1_000_000) as u32;
    }
    if dice.percent(30) {
        tcp.delayed_ack = dice.micros(1_000..=400_000);
        tcp.initial_window = dice.within(1..=20) as u8;
        tcp.min_rto = dice.micros(100_000..=1_000_000);
    }
    tcp.timestamps = dice.percent(80);
    tcp.sack = dice.percent(80);
    tcp.dsack = dice.percent(80);
    tcp.window_scaling = dice.percent(90);
    tcp.congestion = dice.one_of(&[Algorithm::Cubic, Algorithm::Cubic, Algorithm::NewReno, Algorithm::Bbr]);
    tcp.slow_start_exit = dice.one_of(&[SlowStartExit::HyStartPlusPlus, SlowStartExit::HyStart, SlowStartExit::Loss]);
    tcp.alternative_backoff = dice.percent(20);
    tcp.growth_limit = dice.one_of(&[8, 8, 2, 0]);
    tcp.compressed_acks = dice.one_of(&[0, 44]);
    tcp.max_pacing_rate = NonZeroU32::new(if dice.percent(10) { dice.magnitude(50_000..=5_000_000) as u32 } else { 0 });
    tcp.mtu_probing = if dice.percent(70) { MtuProbing::OnBlackHole } else { MtuProbing::Always };
    tcp.advertised_mss = dice.percent(10).then(|| dice.within(200..=1_460) as u16);
    tcp.ecn_request = dice.one_of(&[EcnMode::Off, EcnMode::Classic, EcnMode::Accurate]);
    tcp.ecn_accept = dice.one_of(&[EcnMode::Off, EcnMode::Classic, EcnMode::Accurate]);
    tcp.ecn_fallback = dice.percent(80);
    tcp.tail_loss_probe = dice.percent(85);
    tcp.frto = dice.percent(85);
    tcp.rack_threshold = dice.percent(85);
    tcp.exact_resets = dice.percent(90);
    tcp.rfc1337 = dice.percent(10);
    if dice.percent(20) {
        tcp.initial_receive_buffer = dice.magnitude(10_000..=400_000) as u32;
    }
    tcp.unused_window = dice.one_of(&[UnusedWindow::Validated, UnusedWindow::Decays, UnusedWindow::Kept]);
    tcp
}
