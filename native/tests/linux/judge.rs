//! The judge: tshark, whose expert information tells everything that it finds remarkable in a capture.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ethertab::time::Instant;
use ethertab_sim::{Capture, CaptureConfig, Direction, LinkType};

use crate::Outcome;
use crate::namespace::run;

/// A remark that is no surprise: its severity, the beginning of its text, and why it may be there.
pub(crate) type Allowed = (&'static str, &'static str, &'static str);

/// What happens on every TCP connection.
pub(crate) const NORMAL: &[Allowed] = &[
    ("Chats", "Connection establish request (SYN)", "a connection begins"),
    ("Chats", "Connection establish acknowledge (SYN+ACK)", "a connection begins"),
    ("Chats", "Connection finish (FIN)", "a connection ends"),
    ("Notes", "This frame initiates the connection closing", "a connection ends"),
    ("Notes", "This frame undergoes the connection closing", "a connection ends"),
    (
        "Warns",
        "TCP Checksum 0xffff instead of 0x0000",
        "one of Linux's sums in 65,536; ours never are, `checksum.rs` tests that",
    ),
];

/// What a reader brings that is slower than the network for a while.
pub(crate) const FLOW_CONTROL: &[Allowed] = &[
    ("Warns", "TCP window specified by the receiver is now completely full", "the sender is faster than the reader"),
    ("Warns", "TCP Zero Window segment", "the same, from the reader's side"),
    ("Chats", "TCP window update", "the reader has caught up"),
    ("Notes", "TCP Zero Window Probe", "the reader has not caught up, or its update was lost"),
    ("Notes", "ACK to a TCP Zero Window Probe", "the answer"),
    ("Notes", "TCP keep-alive segment", "Linux's probe of a window, one byte back: no test is idle for two hours"),
    ("Notes", "ACK to a TCP keep-alive segment", "the answer"),
];

/// What happens where this program has to share the machine's processors: Linux waits for an acknowledgment only so long, and
/// sends again what had arrived. Our own retransmissions are not excused by this: tests without loss count them.
pub(crate) const BUSY: &[Allowed] = &[
    ("Notes", "This frame is a (suspected) retransmission", "Linux did not wait longer"),
    ("Notes", "This frame is a (suspected) spurious retransmission", "the same"),
    ("Notes", "Duplicate ACK", "our answer to it"),
    ("Warns", "D-SACK Sequence", "the same, which says what has arrived twice (RFC 2883)"),
];

/// What comes of our own tail loss probes where nothing is lost: see `Host::nothing_was_lost`.
pub(crate) const PROBED: &[Allowed] = &[
    ("Notes", "This frame is a (suspected) retransmission", "a probe"),
    ("Notes", "This frame is a (suspected) spurious retransmission", "the same"),
    ("Warns", "D-SACK Sequence", "Linux's answer: the segment had arrived"),
    (
        "Warns",
        "Connection reset (RST)",
        "the answer to a probe with our FIN finds the connection gone (RFC 9293 §3.10.7.1)",
    ),
];

/// When the frames of the captures were captured, in their files: a day like any other, so that runs compare.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// Writes a capture into the folder for tests' files.
pub(crate) fn save(name: &str, capture: &Capture) -> Outcome<PathBuf> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcapng"));
    std::fs::write(&file, capture.to_pcapng(EPOCH)?)?;
    Ok(file)
}

/// Fails if tshark remarks anything in the capture that is not allowed; the file is kept then.
pub(crate) fn check(name: &str, capture: &Capture, allowed: &[Allowed]) -> Outcome {
    if capture.dropped() > 0 {
        return Err(format!("{name}: the capture has lost {} frames", capture.dropped()).into());
    }
    let file = save(name, capture)?;
    check_file(name, &file, allowed)?;
    std::fs::remove_file(file)?;
    Ok(())
}

fn check_file(name: &str, file: &Path, allowed: &[Allowed]) -> Outcome {
    let mut surprises = String::new();
    for remark in remarks(file)? {
        let Remark { severity, frequency, text } = &remark;
        let is_allowed = allowed.iter().any(|(of, beginning, _)| of == severity && text.contains(beginning));
        if !is_allowed {
            writeln!(surprises, "  {severity}: {frequency} times {text}")?;
        }
    }
    if !surprises.is_empty() {
        return Err(format!("{name}: tshark finds in {}\n{surprises}", file.display()).into());
    }
    Ok(())
}

/// [`check`] of a router's capture: of what was seen at each of its interfaces, since tshark would take for sent again what is seen at both.
pub(crate) fn check_router(name: &str, capture: &Capture, interfaces: usize, allowed: &[Allowed]) -> Outcome {
    if capture.dropped() > 0 {
        return Err(format!("{name}: the capture has lost {} frames", capture.dropped()).into());
    }
    let file = save(name, capture)?;
    for interface in 0..interfaces {
        let half = file.with_file_name(format!("{name}-{interface}.pcapng"));
        let filter = format!("frame.interface_id=={interface}");
        run(&format!("tshark -n -Y {filter} -r {} -w {}", file.display(), half.display()))?;
        check_file(name, &half, allowed)?;
        std::fs::remove_file(half)?;
    }
    std::fs::remove_file(file)?;
    Ok(())
}

/// Ports with data that is no protocol's: tshark would take it for one of hundreds at times.
pub(crate) const DATA_PORTS: [u16; 2] = [9_000, 9_001];

/// One line of tshark's table.
struct Remark {
    severity: String,
    frequency: u64,
    /// Group, protocol and summary.
    text: String,
}

fn remarks(file: &Path) -> Outcome<Vec<Remark>> {
    let checks = ["ip", "tcp", "udp"].map(|protocol| format!("-o {protocol}.check_checksum:TRUE")).join(" ");
    let data = DATA_PORTS.map(|port| format!("-d tcp.port=={port},data -d udp.port=={port},data")).join(" ");
    let table = run(&format!("tshark -n -q -z expert {data} {checks} -r {}", file.display()))?;
    let mut severity = String::new();
    let mut remarks = Vec::new();
    for line in table.lines() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if let Ok(frequency) = first.parse() {
            remarks.push(Remark { severity: severity.clone(), frequency, text: words.collect::<Vec<_>>().join(" ") });
        } else if line.ends_with(')') {
            // "Warns (12)"
            severity = first.to_owned();
        }
    }
    Ok(remarks)
}

#[test]
fn a_bad_checksum_is_a_surprise() -> Outcome {
    let ethernet = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    // The right header checksum is 0x26bd.
    let ipv4 = [0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0x26, 0xbc, 10, 9, 0, 1, 10, 9, 0, 2];
    let udp_without_checksum = [0x30, 0x39, 0, 9, 0, 8, 0, 0];
    let frame = [&ethernet[..], &ipv4, &udp_without_checksum].concat();
    let mut capture = Capture::new(CaptureConfig::default());
    let interface = capture.add_interface("stack", LinkType::Ethernet);
    capture.record(Instant::ZERO, interface, Direction::Out, &frame);
    let error = check("a_bad_checksum_is_a_surprise", &capture, NORMAL).err().map(|error| error.to_string());
    assert!(error.as_ref().is_some_and(|error| error.contains("Bad checksum [should be 0x26bd]")), "{error:?}");
    Ok(())
}
