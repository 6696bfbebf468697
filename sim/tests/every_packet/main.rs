//! Every kind of packet that a stack can send, in virtual time, and tshark finds nothing wrong with any: no malformed field, no bad checksum, no
//! remark that is a warning or worse. What was seen is listed, so that a kind which is not sent any more is missed, and a new one is noticed.

mod ip;
mod routing;
mod services;
mod tcp;

use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use ethertab::{Config, FrameMeta, InterfaceConfig, InterfaceId, Limits, Pool, Stack};
use ethertab_sim::{Capture, CaptureConfig, Direction, LinkType};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;

/// A stack whose neighbours the test plays; all that it sends is captured.
struct Host {
    stack: Stack<'static>,
    pool: Pool<'static>,
    now: Instant,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn nic(number: u8) -> InterfaceId {
    InterfaceId(number)
}

/// The stack's station on a link.
fn ours(link: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, link])
}

/// The station of the neighbour on a link.
fn theirs(link: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 2, link])
}

impl Host {
    /// A stack without interfaces.
    fn new() -> Host {
        Host { stack: Stack::new(Config::new([1, 2]), Limits::default()), pool: Pool::new(1_024), now: Instant::ZERO }
    }

    /// Adds a link on which the stack has the addresses 10.LINK.0.1/24 and fd0LINK::1/64, and knows the neighbour 2.
    fn add_link(&mut self, config: InterfaceConfig) -> u8 {
        let interface = self.stack.add_interface(self.now, config).unwrap();
        let link = interface.0;
        for prefix in [format!("10.{link}.0.1/24"), format!("fd0{link}::1/64")] {
            self.stack.add_address(self.now, interface, prefix.parse().unwrap()).unwrap();
        }
        for address in [format!("10.{link}.0.2"), format!("fd0{link}::2"), "fe80::2".into()] {
            self.stack.add_neighbor(&mut self.pool, interface, ip(&address), theirs(link)).unwrap();
        }
        link
    }

    /// Captures what the stack sends now.
    fn take(&mut self, capture: &mut Capture) {
        let interfaces: Vec<InterfaceId> = self.stack.interfaces().map(|(interface, _)| interface).collect();
        for interface in interfaces {
            let mut buf = vec![0; self.stack.frame_capacity(interface)];
            while let Some(meta) = self.stack.transmit(&mut self.pool, self.now, interface, &mut buf) {
                capture.record(self.now, 0, Direction::Out, &buf[..meta.len]);
            }
        }
    }

    /// A frame arrives on a link.
    fn receive(&mut self, capture: &mut Capture, link: u8, frame: &[u8]) {
        self.stack.receive(&mut self.pool, self.now, nic(link), frame, FrameMeta::received(frame.len()));
        self.take(capture);
    }

    /// Lets time pass.
    fn pass(&mut self, capture: &mut Capture, span: Duration) {
        let end = self.now + span;
        self.take(capture);
        while let Some(due) = self.stack.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.stack.handle_timeout(&mut self.pool, self.now);
            self.take(capture);
        }
        self.now = end;
    }
}

/// What makes a stack send packets, and the kinds of them that it is there for.
type Scene = (fn(&mut Capture), &'static [&'static str]);

/// Whether tshark is there. In CI it must be.
fn has_tshark() -> bool {
    let found = Command::new("tshark").arg("--version").output().is_ok_and(|output| output.status.success());
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(found || !ci, "tshark is not installed, and CI=true lets no test be skipped");
    if !found {
        println!("skipped: tshark is not installed");
    }
    found
}

/// Severity from which on a remark counts: warnings (`PI_WARN`).
const WARNING: u32 = 0x0060_0000;

/// What is remarked of packets that are as they should be.
const ALLOWED: &[(&str, &str)] = &[
    ("Connection reset (RST)", "a closed port answers so"),
    ("D-SACK Sequence", "what has arrived twice is told (RFC 2883)"),
    ("Record Route (with too-short option length = 1 byte)", "quoted in an error about just that"),
];

/// The fields that tell what a packet is: each is listed under its name with its values.
const FIELDS: [(&str, &str); 21] = [
    ("arp", "arp.opcode"),
    ("icmp", "icmp.type"),
    ("icmp code", "icmp.code"),
    ("icmpv6", "icmpv6.type"),
    ("icmpv6 code", "icmpv6.code"),
    ("igmp", "igmp.type"),
    ("tcp option", "tcp.option_kind"),
    ("dhcp", "dhcp.option.dhcp"),
    ("dhcpv6", "dhcpv6.msgtype"),
    ("dns response", "dns.flags.response"),
    ("ntp mode", "ntp.flags.mode"),
    ("vlan", "vlan.id"),
    ("ipv4 offset", "ip.frag_offset"),
    ("ipv6 offset", "ipv6.fraghdr.offset"),
    ("udp checksum", "udp.checksum"),
    ("nd option", "icmpv6.opt.type"),
    ("router alert", "ip.opt.ra"),
    ("ipv4 version", "ip.version"),
    ("ipv6 version", "ipv6.version"),
    ("severity", "_ws.expert.severity"),
    ("remark", "_ws.expert.message"),
];

/// What is in a capture, and what tshark does not like about it.
fn judge(scene: usize, capture: &Capture) -> (BTreeSet<String>, Vec<String>) {
    let path = std::env::temp_dir().join(format!("ethertab-every-packet-{}-{scene}.pcapng", std::process::id()));
    let file = capture.to_pcapng(std::time::Duration::from_secs(1_700_000_000)).unwrap();
    std::fs::write(&path, file).unwrap();
    let mut command = Command::new("tshark");
    // What is lost and repeated in a capture of one side is no fault of a packet's.
    command.args(["-n", "-o", "tcp.analyze_sequence_numbers:FALSE", "-d", "tcp.port==9000,data"]);
    for protocol in ["ip", "tcp", "udp"] {
        command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    command.args(["-T", "fields", "-E", "aggregator=|", "-r"]).arg(&path);
    let output = command.args(FIELDS.iter().flat_map(|(_, field)| ["-e", field])).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut seen, mut surprises) = (BTreeSet::new(), Vec::new());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count() as u64, capture.seen(), "the capture holds all");
    for (number, line) in text.lines().enumerate() {
        let values: Vec<Vec<&str>> =
            line.split('\t').map(|value| value.split('|').filter(|value| !value.is_empty()).collect()).collect();
        let value = |name: &str| FIELDS.iter().position(|(found, _)| *found == name).map(|place| &values[place]);
        let first = |name: &str| value(name).and_then(|values| values.first().copied());
        // An error quotes a packet whose fields come after its own.
        for (name, code) in [("icmp", "icmp code"), ("icmpv6", "icmpv6 code")] {
            if let (Some(kind), Some(code)) = (first(name), first(code)) {
                seen.insert(format!("{name} {kind}/{code}"));
            }
        }
        let is_error = first("icmp").is_some_and(|kind| !matches!(kind, "0" | "8"))
            || first("icmpv6").and_then(|kind| kind.parse().ok()).is_some_and(|kind: u8| kind < 128 || kind == 137);
        for name in ["arp", "igmp", "dhcp", "dhcpv6", "dns response", "ntp mode", "vlan", "router alert"] {
            seen.extend(first(name).filter(|_| !is_error).map(|value| format!("{name} {value}")));
        }
        for name in ["tcp option", "nd option"] {
            // A redirect has options of its own.
            let is_quoted = is_error && (name, first("icmpv6")) != ("nd option", Some("137"));
            seen.extend(
                value(name).into_iter().flatten().filter(|_| !is_quoted).map(|value| format!("{name} {value}")),
            );
        }
        for name in ["ipv4 offset", "ipv6 offset"] {
            seen.extend(first(name).filter(|value| *value != "0").map(|_| format!("{name} above 0")));
        }
        seen.extend(first("udp checksum").filter(|sum| *sum == "0x0000").map(|_| "udp without a checksum".into()));
        let severities = value("severity").into_iter().flatten();
        for (severity, remark) in severities.zip(value("remark").into_iter().flatten()) {
            let is_grave = severity.parse().is_ok_and(|severity: u32| severity >= WARNING);
            if is_grave && !ALLOWED.iter().any(|(allowed, _)| remark.starts_with(allowed)) {
                surprises.push(format!("packet {}: {remark}", number + 1));
            }
        }
    }
    if surprises.is_empty() {
        std::fs::remove_file(&path).unwrap();
    } else {
        surprises.push(format!("in {}", path.display()));
    }
    (seen, surprises)
}

#[test]
fn tshark_finds_nothing_wrong_with_any_packet() {
    if !has_tshark() {
        return;
    }
    let scenes: [Scene; 6] = [
        (ip::host, ip::HOST),
        (ip::groups, ip::GROUPS),
        (routing::router, routing::ROUTER),
        (routing::translator, routing::TRANSLATOR),
        (tcp::connections, tcp::CONNECTIONS),
        (services::all, services::ALL),
    ];
    let (mut expected, mut seen, mut surprises) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    // Each scene has stacks of its own with addresses that others have, too.
    for (number, (scene, kinds)) in scenes.into_iter().enumerate() {
        let mut capture = Capture::new(CaptureConfig::default());
        capture.add_interface("stack", LinkType::Ethernet);
        scene(&mut capture);
        let (found, remarks) = judge(number, &capture);
        let missing: Vec<_> = kinds.iter().filter(|kind| !found.contains(**kind)).collect();
        assert!(missing.is_empty(), "missing in scene {number}: {missing:#?}");
        seen.extend(found);
        surprises.extend(remarks);
        expected.extend(kinds.iter().map(|kind| String::from(*kind)));
    }
    assert!(surprises.is_empty(), "tshark: {surprises:#?}");
    let new: Vec<_> = seen.difference(&expected).collect();
    assert!(new.is_empty(), "not listed: {new:#?}");
}
