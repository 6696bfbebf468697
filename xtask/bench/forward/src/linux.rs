//! Linux between two veths: hosts and a router in network namespaces of their own, as root.
//!
//! A host sends UDP datagrams of the same length as fast as it can. With veths one processor takes each of them through the router and out of the
//! other veth before the next is sent, so that the rate is that of sending and forwarding together. A router that drops what comes in,
//! before it looks at it, shows the rate of sending alone; what lies between the two is forwarding.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::{ROUND, fastest};

/// Ports of each address that the flows are for.
const PORTS: usize = 50_000;

/// What the router does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Router {
    Drops,
    Forwards,
    Translates,
}

/// Prints the table.
pub(crate) fn print() {
    if !nix::unistd::geteuid().is_root() {
        println!("\nLinux between two veths is measured as root only.");
        return;
    }
    println!(
        "\n| Linux between two veths | flows | sent and forwarded/s | sent and dropped/s | forwarding alone, packets/s |"
    );
    println!("|---|---|---|---|---|");
    for (name, is_ipv6, router, flows) in [
        ("IPv4", false, Router::Forwards, 1),
        ("IPv6", true, Router::Forwards, 1),
        ("IPv4, translated", false, Router::Translates, 1),
        ("IPv4, translated", false, Router::Translates, 1_000),
        ("IPv4, translated", false, Router::Translates, 100_000),
    ] {
        let rates = measure(is_ipv6, router, flows).and_then(|all| Ok((all, measure(is_ipv6, Router::Drops, flows)?)));
        match rates {
            Ok((all, sending)) => {
                let alone = 1.0 / (1.0 / all - 1.0 / sending);
                println!("| {name} | {flows} | {all:.0} | {sending:.0} | {alone:.0} |");
            }
            Err(error) => println!("| {name} | {flows} | {error} | | |"),
        }
    }
}

fn run(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap_or_default()).args(words).output();
    let output = output.map_err(|error| format!("{line}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Packets a second that are sent, and go through such a router. The sender is a thread, whose namespace ends with it.
fn measure(is_ipv6: bool, router: Router, flows: usize) -> Result<f64, String> {
    let sender = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
        let rate = build(router).and_then(|()| send(is_ipv6, router, flows));
        for name in [ROUTER, BEYOND] {
            run(&format!("ip netns delete {name}"))?;
        }
        rate
    });
    sender.join().unwrap_or_else(|_| Err("the sender panicked".to_owned()))
}

fn send(is_ipv6: bool, router: Router, flows: usize) -> Result<f64, String> {
    let host = if is_ipv6 { "[fd00:1::2]:9000" } else { "10.1.0.2:9000" };
    let socket = UdpSocket::bind(host).map_err(|error| error.to_string())?;
    let data = if is_ipv6 { &[][..] } else { &[0; 18] };
    let targets: Vec<SocketAddr> = (0..flows)
        .map(|flow| (2 + flow / PORTS, 1_024 + flow % PORTS))
        .map(|(host, port)| if is_ipv6 { format!("[fd00:2::{host}]:{port}") } else { format!("10.2.0.{host}:{port}") })
        .filter_map(|target| target.parse().ok())
        .collect();
    let mut next = 0;
    let mut send = |count: usize| {
        for _ in 0..count {
            // What is lost is seen at the other end.
            let _ = socket.send_to(data, targets[next]);
            next = (next + 1) % targets.len();
        }
    };
    // Each flow once before it counts.
    send(flows);
    let before = came_out();
    let mut sent = 0;
    let rate = fastest(|| {
        send(ROUND);
        sent += ROUND as u64;
    });
    let came = came_out() - before;
    let wanted = if router == Router::Drops { 0 } else { sent };
    // A few are still queued, or the kernel's own.
    match came.abs_diff(wanted) <= sent / 100 {
        true => Ok(rate),
        false => Err(format!("{came} of {sent} packets came out")),
    }
}

/// Packets that the host beyond the router has been sent.
fn came_out() -> u64 {
    let output = Command::new("ip").args(["netns", "exec", BEYOND, "cat", "/proc/net/dev"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("sink:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

// The sender's namespace is the thread's own.
const ROUTER: &str = "ethertab-bench-router";
const BEYOND: &str = "ethertab-bench-beyond";

/// The links' addresses at the sender, at the router's two ends, and of the host beyond: that is not the end's own, which drops what
/// comes there as the first thing.
const MACS: [&str; 4] = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03", "02:00:00:00:00:04"];

/// Host, router and what is beyond it. All neighbours are known.
fn build(router: Router) -> Result<(), String> {
    for name in [ROUTER, BEYOND] {
        // One that a run before has left.
        let _ = run(&format!("ip netns delete {name}"));
        run(&format!("ip netns add {name}"))?;
    }
    let [host, near, out, beyond] = MACS;
    let inside = |line: &str| run(&format!("ip netns exec {ROUTER} {line}"));
    run(&format!("ip link add host address {host} type veth peer name near address {near} netns {ROUTER}"))?;
    inside(&format!("ip link add out address {out} type veth peer name sink netns {BEYOND}"))?;
    run(&format!("ip netns exec {BEYOND} ip link set sink up"))?;
    for name in ["lo", "near", "out"] {
        inside(&format!("ip link set {name} up"))?;
    }
    for name in ["lo", "host"] {
        run(&format!("ip link set {name} up"))?;
    }
    for (family, length, flag) in [("10.%.0.", 24, ""), ("fd00:%::", 64, " nodad")] {
        let [one, two] = ["1", "2"].map(|net| family.replace('%', net));
        run(&format!("ip address add {one}2/{length} dev host{flag}"))?;
        inside(&format!("ip address add {one}1/{length} dev near{flag}"))?;
        inside(&format!("ip address add {two}1/{length} dev out{flag}"))?;
        run(&format!("ip route add default via {one}1 dev host"))?;
        run(&format!("ip neighbor replace {one}1 lladdr {near} nud permanent dev host"))?;
        for number in [2, 3] {
            inside(&format!("ip neighbor replace {two}{number} lladdr {beyond} nud permanent dev out"))?;
        }
    }
    inside("sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
    match router {
        Router::Forwards => {}
        Router::Drops => {
            inside("nft add table netdev drops")?;
            inside(
                "nft add chain netdev drops first { type filter hook ingress device near priority 0 ; policy drop ; }",
            )?;
        }
        Router::Translates => {
            inside("nft add table ip nat")?;
            inside("nft add chain ip nat out { type nat hook postrouting priority 100 ; }")?;
            inside("nft add rule ip nat out oifname out masquerade")?;
        }
    }
    Ok(())
}
