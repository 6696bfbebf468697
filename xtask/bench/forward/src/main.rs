//! `cargo xtask bench forward`: how many packets a second a stack forwards and translates, natively; and, as root, how many Linux does between
//! two veths. Each figure is the fastest round's, by the clock: the one that other work on the machine has disturbed least.

#[cfg(target_os = "linux")]
mod linux;
mod scene;

use std::time::{Duration, Instant};

use scene::{Kind, MOST, Scene, bytes_per_flow};

/// Packets between two looks at the clock.
const ROUND: usize = 2_000;
/// For how long rounds are measured.
const SPAN: Duration = Duration::from_secs(2);

fn main() {
    println!("| ours | flows | packets/s |");
    println!("|---|---|---|");
    for (name, kind, flows) in [
        ("IPv4", Kind::Ipv4, 1),
        ("IPv4", Kind::Ipv4, MOST),
        ("IPv6", Kind::Ipv6, 1),
        ("IPv6", Kind::Ipv6, MOST),
        ("IPv4, translated", Kind::Nat, 1),
        ("IPv4, translated", Kind::Nat, 1_000),
        ("IPv4, translated", Kind::Nat, MOST),
    ] {
        let mut scene = Scene::new(kind, flows).expect("a router");
        let rate = fastest(|| assert!(scene.forward(ROUND), "all are forwarded"));
        println!("| {name} | {flows} | {rate:.0} |");
    }
    println!("\nA table of {MOST} flows: {} bytes for each.", bytes_per_flow());
    #[cfg(target_os = "linux")]
    linux::print();
}

/// Packets a second in the fastest call of `round`, each of which is [`ROUND`] of them.
fn fastest(mut round: impl FnMut()) -> f64 {
    let (begun, mut least) = (Instant::now(), Duration::MAX);
    while begun.elapsed() < SPAN {
        let start = Instant::now();
        round();
        least = least.min(start.elapsed());
    }
    ROUND as f64 / least.as_secs_f64()
}
