//! What test programs say of themselves: counts and the reasons of skipped tests, read from the text that cargo's test
//! harness and Node's test runner print.

use std::ops::AddAssign;

/// The tests of a suite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// What was skipped and why, as far as the test program told.
    pub(crate) reasons: Vec<String>,
}

impl Counts {
    /// One test that either passed or failed.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed), ..Self::default() }
    }

    /// One test that was skipped.
    pub(crate) fn skipped(reason: String) -> Self {
        Self { skipped: 1, reasons: vec![reason], ..Self::default() }
    }

    /// Reads what `cargo test` printed: the sum over all its test programs.
    pub(crate) fn from_cargo(output: &str) -> Self {
        let mut counts = Self::default();
        for line in output.lines().map(str::trim) {
            if let Some(result) = line.strip_prefix("test result: ") {
                // "ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s"
                for (number, word) in result.split(['.', ';']).filter_map(|part| part.trim().split_once(' ')) {
                    let Ok(number) = number.parse::<u64>() else {
                        continue;
                    };
                    match word {
                        "passed" => counts.passed += number,
                        "failed" => counts.failed += number,
                        "ignored" => counts.skipped += number,
                        _ => (),
                    }
                }
            } else if let Some((test, reason)) = line.strip_prefix("test ").and_then(|t| t.split_once(" ... ignored")) {
                // "test name ... ignored, the reason given in the source"
                counts.reasons.push(format!("{test}: {}", reason.trim_start_matches([',', ' '])));
            }
        }
        counts
    }

    /// Reads what `node --test` printed, as TAP or as its `spec` reporter does it.
    pub(crate) fn from_node(output: &str) -> Self {
        let mut counts = Self::default();
        for line in output.lines().map(str::trim) {
            if let Some(summary) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) {
                let Some((word, number)) = summary.split_once(' ') else {
                    continue;
                };
                let Ok(number) = number.parse::<u64>() else {
                    continue;
                };
                match word {
                    "pass" => counts.passed += number,
                    "fail" | "cancelled" => counts.failed += number,
                    "skipped" | "todo" => counts.skipped += number,
                    _ => (),
                }
            } else if let Some(skipped) = skipped_in_node(line) {
                counts.reasons.push(skipped);
            }
        }
        counts
    }

    /// How many tests there were.
    pub(crate) fn total(&self) -> u64 {
        self.passed + self.failed + self.skipped
    }
}

/// The name and the reason of a test that `node --test` skipped: `ok 3 - name # SKIP reason` in TAP,
/// `﹣ name (0.1ms) # reason` with `spec`.
fn skipped_in_node(line: &str) -> Option<String> {
    let (name, reason) = if let Some(test) = line.strip_prefix("ok ") {
        let (name, reason) = test.split_once(" # SKIP")?;
        (name.split_once(" - ")?.1, reason)
    } else {
        let test = line.strip_prefix('﹣')?;
        let (name, reason) = test.rsplit_once(" # ").unwrap_or((test, ""));
        (name.rsplit_once(" (").map_or(name, |(name, _)| name), reason)
    };
    Some(format!("{}: {}", name.trim(), reason.trim()))
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_summaries_are_added_up() {
        let counts = Counts::from_cargo(
            "running 3 tests\n\
             test seq::wraps ... ok\n\
             test tap::reads ... ignored, needs /dev/net/tun\n\
             test seq::orders ... FAILED\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             Doc-tests ethertab\n\
             test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1.20s\n",
        );
        assert_eq!((counts.passed, counts.failed, counts.skipped), (13, 1, 1));
        assert_eq!(counts.reasons, ["tap::reads: needs /dev/net/tun"]);
    }

    #[test]
    fn both_of_nodes_reporters_are_read() {
        let tap = "TAP version 13\n# Subtest: opens\nok 1 - opens\nok 2 - lists # SKIP no chromium\n\
                   # tests 4\n# suites 0\n# pass 2\n# fail 1\n# cancelled 0\n# skipped 1\n# todo 0\n# duration_ms 51.2\n";
        let spec = "✔ opens (0.7ms)\n﹣ lists (all of them) (0.1ms) # no chromium\n\
                    ℹ tests 4\nℹ suites 0\nℹ pass 2\nℹ fail 1\nℹ cancelled 0\nℹ skipped 1\nℹ todo 0\n";
        for (output, name) in [(tap, "lists"), (spec, "lists (all of them)")] {
            let counts = Counts::from_node(output);
            assert_eq!((counts.passed, counts.failed, counts.skipped), (2, 1, 1));
            assert_eq!(counts.reasons, [format!("{name}: no chromium")]);
        }
    }

    #[test]
    fn a_program_that_ran_nothing_has_no_tests() {
        assert_eq!(Counts::from_cargo("error: could not compile").total(), 0);
        assert_eq!(Counts::from_node("SyntaxError: Unexpected token").total(), 0);
    }
}
