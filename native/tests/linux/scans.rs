//! Probes of tools that look for hosts that misbehave: nmap, hping3 and ping.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ethertab_sim::Impairment;

use crate::Outcome;
use crate::apps::Echo;
use crate::host::{Host, OURS};
use crate::judge::Allowed;
use crate::namespace::{in_namespace, output, run};

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

#[test]
fn hping3_gets_one_answer_or_none_for_each_segment() -> Outcome {
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
        host.run_with(|| {
            for (flags, port, answer) in cases {
                let (sent, received, lines) = hping3(&format!("-c 5 -i u2000 {flags} -p {port}"))?;
                let expected = if answer.is_some() { 5 } else { 0 };
                assert_eq!((sent, received), (5, expected), "{flags} to port {port}: {lines:?}");
                let matching = lines.iter().filter(|line| answer.is_some_and(|answer| line.contains(answer)));
                assert_eq!(matching.count(), expected as usize, "{flags} to port {port}: {lines:?}");
            }
            Ok(())
        })?;
        host.finish(SCANS)
    })
}

/// A thousand SYNs in a tenth of a second: no reset too many.
#[test]
fn hping3_sets_off_no_storm_of_resets() -> Outcome {
    in_namespace(|| {
        let mut host = host("hping3_sets_off_no_storm_of_resets")?;
        let (sent, received, _) = host.run_with(|| hping3(&format!("-q -c 1000 -i u100 -S -p {CLOSED}")))?;
        assert_eq!((sent, received), (1_000, 1_000));
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
                    let report = run(&format!("ping -n -c 5 -i 0.01 -W 5 -s {size} {address}"))?;
                    assert!(report.contains("5 packets transmitted, 5 received, 0% packet loss"), "{report}");
                }
            }
            Ok(())
        })?;
        host.finish(&[])
    })
}
