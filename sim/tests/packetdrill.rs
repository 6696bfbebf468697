//! Runs all of `sim/scripts`, over IPv4, IPv6 and IPv4-mapped sockets. A script that is about one family says so itself.

use ethertab_sim::packetdrill::{IpVersion, Report, Settings, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn scripts_below(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            scripts_below(&entry, out);
        } else if entry.extension().is_some_and(|extension| extension == "pkt") {
            out.push(entry);
        }
    }
}

fn all_scripts() -> Vec<PathBuf> {
    let mut scripts = Vec::new();
    scripts_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts"), &mut scripts);
    scripts
}

fn run_script(path: &Path, settings: &Settings) -> Report {
    let text = fs::read_to_string(path).unwrap();
    run(&text, settings, &mut |name| fs::read_to_string(path.parent().unwrap().join(name)))
}

fn all_pass(ip_version: IpVersion) {
    let settings = Settings { ip_version, ..Settings::default() };
    let mut failures = Vec::new();
    let mut passed = 0;
    for path in all_scripts() {
        match run_script(&path, &settings).failure {
            Some(failure) => failures.push(format!("{}: {failure:?}", path.display())),
            None => passed += 1,
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(passed >= 300, "only {passed} scripts were found");
}

#[test]
fn our_scripts_pass_over_ipv4() {
    all_pass(IpVersion::V4);
}

#[test]
fn our_scripts_pass_over_ipv6() {
    all_pass(IpVersion::V6);
}

#[test]
fn our_scripts_pass_with_mapped_addresses() {
    all_pass(IpVersion::V4Mapped);
}

#[test]
fn every_script_says_what_it_is_about() {
    for path in all_scripts() {
        let text = fs::read_to_string(&path).unwrap();
        let comment: String = text.lines().take_while(|line| line.starts_with("//")).collect();
        let is_about_calls = path.parent().is_some_and(|folder| folder.ends_with("calls"));
        let cites = ["RFC ", "T1:"].iter().any(|source| comment.contains(source));
        assert!(cites || (is_about_calls && !comment.is_empty()), "{}: no source in {comment:?}", path.display());
    }
}

/// The lines about TCP of the project's list of adversities, as far as packets can express them.
const ADVERSITIES: [&str; 28] = [
    "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T20", "T21", "T22", "T23", "T24", "T25",
    "T26", "T27", "T28", "T29", "T30", "T40", "T41", "T42", "T43", "T44", "T46",
];

#[test]
fn every_adversity_has_a_script() {
    let mut named = BTreeSet::new();
    for path in all_scripts() {
        let text = fs::read_to_string(&path).unwrap();
        let comment = text.lines().take_while(|line| line.starts_with("//"));
        named.extend(comment.flat_map(|line| line.split([' ', '(', ')', ',', ':', ';'])).map(str::to_string));
    }
    for line in ADVERSITIES {
        assert!(named.contains(line), "{line}");
    }
}

/// What `cargo xtask test mutations` breaks is there to be broken, once: whoever moves a rule of the stack learns it here,
/// without a build for each.
#[test]
fn every_mutation_finds_its_place() {
    let sim = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list: toml::Table = fs::read_to_string(sim.join("scripts/mutations.toml")).unwrap().parse().unwrap();
    let mut lines = BTreeSet::new();
    for mutation in list["mutation"].as_array().unwrap() {
        let text = |key: &str| mutation[key].as_str().unwrap();
        let source = fs::read_to_string(sim.join("../core/src").join(text("file"))).unwrap();
        let count = source.matches(text("before")).count();
        assert_eq!(count, 1, "{}: {:?} should be in {} once", text("rule"), text("before"), text("file"));
        for script in mutation["scripts"].as_array().unwrap() {
            let path = sim.join("scripts").join(format!("{}.pkt", script.as_str().unwrap()));
            assert!(path.exists(), "{}: {}", text("rule"), path.display());
        }
        lines.insert(text("line").to_string());
    }
    for line in ADVERSITIES {
        assert!(lines.contains(line), "{line}");
    }
}

/// A run is the same every time, and so is its capture.
#[test]
fn runs_repeat() {
    let script = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0...0.1 connect(3, ..., ...) = 0\n* > S 0:0(0) <...>\n";
    let capture = || run(script, &Settings::default(), &mut |_| unreachable!()).pcapng.unwrap();
    assert_eq!(capture(), capture());
}

/// Whatever a script says, the interpreter ends with an answer.
#[test]
fn damaged_scripts_do_no_harm() {
    let mut state: u64 = 1;
    let mut next = |bound: usize| {
        // Knuth's MMIX generator: any will do, as long as it is the same everywhere.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let replacements =
        ["", "0", "-1", "4294967295", "99999999999999999999", "...", "(", "<", ">", "[", "}", "+", "*", "`", "%{"];
    let (mut failed, mut runs) = (0, 0);
    for path in all_scripts() {
        let text = fs::read_to_string(&path).unwrap();
        let words: Vec<&str> = text.split_inclusive([' ', '\n', ',', '(', ':']).collect();
        for _ in 0..16 {
            let mut damaged: Vec<&str> = words.clone();
            for _ in 0..=next(2) {
                let (at, other) = (next(damaged.len()), next(words.len()));
                match next(4) {
                    0 => damaged[at] = replacements[next(replacements.len())],
                    1 => damaged[at] = words[other],
                    2 => damaged.insert(at, words[other]),
                    _ => drop(damaged.remove(at)),
                }
            }
            let settings = Settings { loose: next(2) == 0, ..Settings::default() };
            let report = run(&damaged.concat(), &settings, &mut |_| Err(std::io::ErrorKind::NotFound.into()));
            failed += usize::from(report.failure.is_some());
            runs += 1;
        }
    }
    assert!(failed > runs / 4, "only {failed} of {runs} were harmed by it");
}
