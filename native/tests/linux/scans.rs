//! Probes of tools that look for hosts that misbehave: nmap, hping3 and ping.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ethertab_sim::Impairment;
use ethertab_sim::packet::{ICMP, TCP, parse_ip};

use crate::Outcome;
use crate::apps::Echo;
use crate::host::{Host, OURS};
use crate::judge::Allowed;
use crate::namespace::{in_namespace, one_ping, output, run};

const LIMIT: Duration = Duration::from_secs(60);
/// A TCP port with a listener, a UDP port with a socket that never answers, and one of which neither has anything.
const TCP_OPEN: u16 = 80;
const UDP_OPEN: u16 = 5_000;
const CLOSED: u16 = 81;

/// What tshark tells of these tools' packets, and of our answers.
const SCANS: &[Allowed] = &[
    (
        "Warns",
        "TCP Connection reset (RST)",
        "the answer of a closed port, and Linux's to a SYN-ACK that it knows nothing of",
    ),
    (
        "Notes",
        "TCP The acknowledgment number field is nonzero while the ACK flag is not set",
        "hping3 fills it at random",
    ),
    ("Warns", "ACKed segment that wasn't captured", "nmap and hping3 acknowledge what nobody has sent"),
    ("Notes", "TCP keep-alive segment", "the next segment of hping3 has the same sequence number, or one less"),
    ("Notes", "This frame is a (suspected) retransmission", "the same"),
    ("Chats", "TCP Connection establish request (SYN)", "a SYN scan"),
    ("Chats", "TCP Connection establish acknowledge (SYN+ACK)", "the answer of an open port"),
    ("Chats", "TCP Connection finish (FIN)", "FIN, Xmas and Maimon scans"),
    ("Notes", "TCP This frame initiates the connection closing", "the same"),
    ("Notes", "TCP This frame undergoes the connection closing", "the same"),
    (
        "Notes",
        "TCP A new tcp session is started with the same ports",
        "each run of these tools begins with ports at random",
    ),
];

/// A host with those ports.
fn host(name: &'static str) -> Outcome<Host> {
    let mut host = Host::new(name, Impairment::PERFECT, LIMIT)?;
    host.serve(TCP_OPEN, || Box::new(Echo::default()))?;
    host.ignore_datagrams(UDP_OPEN)?;
    Ok(host)
}

/// The states of ports that nmap reports.
fn nmap(options: &str, address: IpAddr) -> Outcome<BTreeMap<u16, String>> {
    let family = if address.is_ipv6() { "-6" } else { "" };
    let report = run(&format!("nmap {family} -n -Pn --max-retries 2 --host-timeout 40s {options} -oG - {address}"))?;
    // "Host: 10.9.0.2 ()	Ports: 80/open/tcp//http///, 81/closed/tcp/////	Ignored State: ..."
    let ports = report.lines().find_map(|line| line.split("Ports: ").nth(1)).ok_or("nmap reports no ports")?;
    let ports = ports.split('\t').next().unwrap_or_default().split(", ");
    ports
        .map(|port| {
            let mut fields = port.split('/');
            let (Some(number), Some(state)) = (fields.next(), fields.next()) else { return Err(port.into()) };
            Ok((number.trim().parse()?, state.to_owned()))
        })
        .collect()
}

/// RFC 9293 §3.10.7.1 (CLOSED) and §3.10.7.2 (LISTEN) say what each kind of segment is answered with.
#[test]
fn nmap_sees_ports_as_rfc_9293_has_them() -> Outcome {
    in_namespace(|| {
        let mut host = host("nmap_sees_ports_as_rfc_9293_has_them")?;
        host.run_with(|| {
            for address in OURS {
                let scans = [
                    // Scan, and the states of a port with and without a listener.
                    ("-sS", "open", "closed"),
                    ("-sT", "open", "closed"),
                    // Neither SYN, ACK nor RST: ignored by a listener, reset by a closed port.
                    ("-sF", "open|filtered", "closed"),
                    ("-sN", "open|filtered", "closed"),
                    ("-sX", "open|filtered", "closed"),
                    // An ACK is reset by both.
                    ("-sA", "unfiltered", "unfiltered"),
                    ("-sM", "closed", "closed"),
                ];
                for (scan, open, closed) in scans {
                    let expected = BTreeMap::from([(TCP_OPEN, open.to_owned()), (CLOSED, closed.to_owned())]);
                    assert_eq!(nmap(&format!("{scan} -p {TCP_OPEN},{CLOSED}"), address)?, expected, "{scan} {address}");
                }
                let expected = BTreeMap::from([(UDP_OPEN, "open|filtered".to_owned()), (CLOSED, "closed".to_owned())]);
                assert_eq!(nmap(&format!("-sU -p {UDP_OPEN},{CLOSED}"), address)?, expected, "-sU {address}");
            }
            Ok(())
        })?;
        host.finish(SCANS)
    })
}

#[test]
fn nmap_finds_the_one_open_port_of_a_thousand() -> Outcome {
    in_namespace(|| {
        let mut host = host("nmap_finds_the_one_open_port_of_a_thousand")?;
        let found = host.run_with(|| nmap("-T4 -sS -p 1-1000 --open", OURS[0]))?;
        assert_eq!(found, BTreeMap::from([(TCP_OPEN, "open".to_owned())]));
        let resets = host.stack().counters().tcp_resets_sent;
        assert!((999..2 * 999).contains(&resets), "{resets} resets for 999 closed ports");
        host.finish(SCANS)
    })
}

/// Packets that hping3 has sent and had answered, and the lines about the answers.
fn hping3(options: &str) -> Outcome<(u64, u64, Vec<String>)> {
    let output = output(&format!("hping3 -n {options} {}", OURS[0]))?;
    let statistics = String::from_utf8(output.stderr)?;
    // "5 packets transmitted, 5 packets received, 0% packet loss"
    let line = statistics.lines().find(|line| line.contains("packets transmitted"));
    let numbers = line.map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u64>>());
    let Some([sent, received, ..]) = numbers.as_deref() else { return Err(statistics.into()) };
    let answers = String::from_utf8(output.stdout)?;
    let answers = answers.lines().filter(|line| !line.starts_with("HPING") && !line.is_empty());
    Ok((*sent, *received, answers.map(str::to_owned).collect()))
}

/// The port to which an answer of ours goes, or for which an error is; for an echo reply 0.
fn answered(frame: &[u8]) -> Option<u16> {
    const PORT_UNREACHABLE: [u8; 2] = [3, 3];
    const ECHO_REPLY: [u8; 2] = [0, 0];
    let (_, _, protocol, payload) = parse_ip(frame).filter(|(source, ..)| *source == OURS[0])?;
    let at = match (protocol, payload.get(..2)?) {
        (TCP, _) => 2,
        // Behind the header of the error, and of the packet that it quotes.
        (ICMP, kind) if kind == PORT_UNREACHABLE => 8 + 20,
        (ICMP, kind) if kind == ECHO_REPLY => return Some(0),
        _ => return None,
    };
    Some(u16::from_be_bytes(*payload.get(at..)?.first_chunk()?))
}

/// What is answered is counted where it is sent: hping3, whose one timer is for the next packet and for its own end, ends before it has read the last answer
/// if it takes longer to send than it waits until the next.
#[test]
fn hping3_gets_one_answer_or_none_for_each_segment() -> Outcome {
    const COUNT: u16 = 5;
    in_namespace(|| {
        let mut host = host("hping3_gets_one_answer_or_none_for_each_segment")?;
        let cases = [
            // Flags, port, what each of five segments is answered with.
            ("-S", CLOSED, Some("flags=RA")),
            ("-S", TCP_OPEN, Some("flags=SA")),
            ("-A", CLOSED, Some("flags=R ")),
            ("-A", TCP_OPEN, Some("flags=R ")),
            ("-F", CLOSED, Some("flags=RA")),
            ("-F", TCP_OPEN, None),
            ("-F -P -U", CLOSED, Some("flags=RA")),
            ("-F -P -U", TCP_OPEN, None),
            // No reset is ever answered, or two hosts would reset each other for ever.
            ("-R", CLOSED, None),
            ("-R", TCP_OPEN, None),
            ("-R -A", CLOSED, None),
            ("-R -A", TCP_OPEN, None),
            ("-R -S", CLOSED, None),
            ("-2", CLOSED, Some("ICMP Port Unreachable")),
            ("-2", UDP_OPEN, None),
            ("-1", 0, Some("icmp_seq=")),
        ];
        // Each packet comes from the next port.
        let from = |number: usize| 10_000 + 100 * number as u16;
        host.run_with(|| {
            for (number, (flags, port, answer)) in cases.into_iter().enumerate() {
                let line = format!("-c {COUNT} -i u2000 {flags} -s {} -p {port}", from(number));
                let (sent, received, lines) = hping3(&line)?;
                assert_eq!(sent, u64::from(COUNT), "{flags} to port {port}");
                // What an error is about is told in a line of its own.
                let is_right =
                    |line: &String| answer.is_some_and(|answer| line.contains(answer) || line.starts_with("status="));
                assert!(lines.iter().all(is_right) && received <= sent, "{flags} to port {port}: {lines:?}");
            }
            // Answered after all of them.
            run(&one_ping(&format!("-s 0 {}", OURS[0])))
        })?;
        let answers: Vec<u16> = host.sent().filter_map(answered).collect();
        for (number, (flags, port, answer)) in cases.into_iter().enumerate() {
            let (first, pings) = if flags == "-1" { (0, 1) } else { (from(number), 0) };
            let count = answers.iter().filter(|to| (first..first + COUNT).contains(to)).count();
            let expected = if answer.is_some() { usize::from(COUNT) + pings } else { 0 };
            assert_eq!(count, expected, "{flags} to port {port}");
        }
        host.finish(SCANS)
    })
}

/// A thousand SYNs in a tenth of a second: no reset too many.
#[test]
fn hping3_sets_off_no_storm_of_resets() -> Outcome {
    in_namespace(|| {
        let mut host = host("hping3_sets_off_no_storm_of_resets")?;
        let (sent, received, _) = host.run_with(|| {
            let figures = hping3(&format!("-q -c 1000 -i u100 -S -p {CLOSED}"))?;
            run(&one_ping(&OURS[0].to_string()))?;
            Ok(figures)
        })?;
        assert!(sent == 1_000 && received <= 1_000, "{received} answers to {sent} packets");
        assert_eq!(host.stack().counters().tcp_resets_sent, 1_000);
        host.finish(SCANS)
    })
}

#[test]
fn ping_is_answered() -> Outcome {
    in_namespace(|| {
        let mut host = host("ping_is_answered")?;
        host.run_with(|| {
            for address in OURS {
                for size in [0, 56, 1_400] {
                    run(&one_ping(&format!("-s {size} {address}")))?;
                }
            }
            Ok(())
        })?;
        host.finish(&[])
    })
}
