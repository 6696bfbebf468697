//! A capture opens in tshark, without a warning and with everything in it.

use ethertab::time::Instant;
use ethertab_sim::{Capture, CaptureConfig, Direction, LinkType};
use std::process::Command;
use std::time::Duration;

/// An ARP request from 10.0.0.1 for 10.0.0.2 (RFC 826), padded to the least length of a frame.
fn arp_request() -> Vec<u8> {
    let header = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06];
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];
    [&header[..], &arp, &[0; 18]].concat()
}

/// A SYN from 10.0.0.1 to 10.0.0.2 with MSS 1460.
fn syn() -> Vec<u8> {
    let mut frame = [
        &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..],
        &[0x45, 0, 0, 44, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
        &[0x04, 0xd2, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0x20, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4],
    ]
    .concat();
    ethertab_sim::mutate::repair_checksums(&mut frame);
    frame
}

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

#[test]
fn tshark_reads_a_capture_without_a_warning() {
    if !has_tshark() {
        return;
    }
    let mut capture = Capture::new(CaptureConfig::default());
    let (a, b) =
        (capture.add_interface("page", LinkType::Ethernet), capture.add_interface("guest:1", LinkType::Ethernet));
    capture.record(Instant::from_micros(1), a, Direction::Out, &arp_request());
    capture.record(Instant::from_micros(1_000_002), b, Direction::In, &arp_request());
    capture.record(Instant::from_micros(2_000_003), a, Direction::Out, &syn());
    let tunnel = capture.add_interface("tunnel", LinkType::Ip);
    capture.record(Instant::from_micros(3_000_004), tunnel, Direction::In, &syn()[14..]);
    capture.annotate(2, "the first SYN: grüß Gott");
    let file = capture.to_pcapng(Duration::from_secs(1_700_000_000)).unwrap();
    let path = std::env::temp_dir().join(format!("ethertab-capture-{}.pcapng", std::process::id()));
    std::fs::write(&path, file).unwrap();

    let fields = [
        "frame.time_epoch",
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.comment",
        "_ws.col.Protocol",
    ];
    let output = Command::new("tshark")
        .args(["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-T", "fields", "-r"])
        .arg(&path)
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .output()
        .unwrap();
    let expert = Command::new("tshark").args(["-q", "-z", "expert,warn", "-r"]).arg(&path).output().unwrap();
    std::fs::remove_file(&path).unwrap();

    let complaints = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = complaints.lines().filter(|line| !line.contains("Running as user \"root\"")).collect();
    assert!(output.status.success() && complaints.is_empty(), "{complaints:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(
        lines,
        [
            ["1700000000.000001000", "page", "0x00000002", "", "ARP"],
            ["1700000001.000002000", "guest:1", "0x00000001", "", "ARP"],
            ["1700000002.000003000", "page", "0x00000002", "the first SYN: grüß Gott", "TCP"],
            ["1700000003.000004000", "tunnel", "0x00000001", "", "TCP"],
        ]
    );
    let expert = String::from_utf8_lossy(&expert.stdout);
    assert!(!expert.contains("Warn") && !expert.contains("Error"), "{expert}");
}
