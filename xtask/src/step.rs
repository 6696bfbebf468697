//! A step: one thing that setup, build or test does, with its progress, its duration and the stamp that lets it be
//! skipped while nothing has changed.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ignore::WalkBuilder;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::process::{self, Finished};

/// How often a step says that it is still running when the output is no terminal.
const PLAIN_TICK: Duration = Duration::from_secs(15);

/// How long a step may run when it sets no limit of its own: more than any needs, less than a CI run has.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Lines of a failed command's output that are printed; the log file has all of them.
const TAIL: usize = 100;

/// Lines of a failed test's own report that are printed where it lies before the tail, and how many such tests.
const REPORT: usize = 40;
const REPORTS: usize = 10;

/// Runs steps and reports on them. Logs and stamps are in `.build/`.
#[derive(Debug)]
pub(crate) struct Steps {
    logs: PathBuf,
    stamps: PathBuf,
    root: PathBuf,
    terminal: bool,
}

impl Steps {
    /// Steps of the repository at `root`.
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let logs = root.join(".build/logs");
        let stamps = root.join(".build/stamps");
        for folder in [&logs, &stamps] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(Self { logs, stamps, root: root.to_path_buf(), terminal: std::io::stderr().is_terminal() })
    }

    /// Prints one line about the step `name` that needs no time.
    pub(crate) fn note(&self, name: &str, text: &str) {
        println!("[{name}] {text}");
    }

    /// Runs `command` as the step `name` and returns how it ended, whatever its exit status.
    pub(crate) fn try_command(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        command: &mut Command,
    ) -> Result<Finished> {
        let progress = Progress::new(name, what, self.terminal);
        let finished = process::run(command, &self.log(name), limit, |line| progress.tick(line))?;
        progress.finish(if finished.success() { "done" } else { "FAILED" });
        Ok(finished)
    }

    /// Runs `command` as the step `name`; an exit status other than 0 is an error, with the end of its output printed.
    pub(crate) fn command(&self, name: &str, what: &str, command: &mut Command) -> Result<()> {
        let finished = self.try_command(name, what, LIMIT, command)?;
        if !finished.success() {
            self.print_tail(name, &finished.output);
            bail!("[{name}] {what}: the command {}", finished.verdict());
        }
        Ok(())
    }

    /// Prints the end of what a failed command said, and what it said of each failed test before that.
    pub(crate) fn print_tail(&self, name: &str, output: &str) {
        let lines: Vec<&str> = output.lines().collect();
        let skipped = lines.len().saturating_sub(TAIL);
        for line in reports(&lines[..skipped]) {
            println!("[{name}] | {line}");
        }
        if skipped > 0 {
            println!("[{name}] | ... {skipped} more lines in {}", self.log(name).display());
        }
        for line in &lines[skipped..] {
            println!("[{name}] | {line}");
        }
    }

    /// Runs `work` as the step `name` unless it has succeeded with these inputs before and its `outputs` (paths from
    /// the root) are still there.
    pub(crate) fn when_changed(
        &self,
        name: &str,
        inputs: &Inputs<'_>,
        outputs: &[&str],
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let fingerprint = inputs.fingerprint(&self.root)?;
        let stamp = self.stamps.join(name);
        let unchanged = fs::read_to_string(&stamp).is_ok_and(|stored| stored == fingerprint);
        if unchanged && outputs.iter().all(|output| self.root.join(output).exists()) {
            self.note(name, "unchanged, skipped");
            return Ok(());
        }
        // Half-made outputs of a step that fails must not pass for those of an earlier success.
        if stamp.exists() {
            fs::remove_file(&stamp).with_context(|| format!("cannot remove {}", stamp.display()))?;
        }
        work()?;
        fs::write(&stamp, fingerprint).with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// Runs `work`, which starts no command, as the step `name`.
    pub(crate) fn work<T>(&self, name: &str, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let progress = Progress::new(name, what, self.terminal);
        let result = work();
        progress.finish(if result.is_ok() { "done" } else { "FAILED" });
        result
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

/// The reports of failed tests among the lines of TAP (`node --test`), each from its `not ok` to the end of its YAML.
fn reports<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let starts = lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with("not ok "));
    starts.take(REPORTS).flat_map(|(start, _)| {
        let report = &lines[start..lines.len().min(start + REPORT)];
        let end = report.iter().position(|line| line.trim() == "...").map_or(report.len(), |end| end + 1);
        report[..end].iter().copied()
    })
}

/// What a step's result depends on.
#[derive(Debug, Default)]
pub(crate) struct Inputs<'a> {
    /// Files and folders, from the root. What `.gitignore` names is left out, and so is what does not exist.
    pub(crate) paths: &'a [&'a str],
    /// Anything else: versions, flags.
    pub(crate) facts: &'a [&'a str],
}

impl Inputs<'_> {
    /// A hash of the names and contents of all inputs.
    fn fingerprint(&self, root: &Path) -> Result<String> {
        let mut hash = Sha256::new();
        for fact in self.facts {
            hash.update((fact.len() as u64).to_le_bytes());
            hash.update(fact);
        }
        for path in self.paths.iter().map(|path| root.join(path)).filter(|path| path.exists()) {
            // Sorted, since folders are listed in any order. Ignore files apply also where there is no git checkout.
            let walk =
                WalkBuilder::new(&path).hidden(false).require_git(false).sort_by_file_path(|a, b| a.cmp(b)).build();
            for entry in walk {
                let entry = entry?;
                if entry.file_type().is_some_and(|kind| kind.is_file()) {
                    let content =
                        fs::read(entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))?;
                    let name = entry.path().strip_prefix(root).unwrap_or(entry.path());
                    hash.update(name.as_os_str().as_encoded_bytes());
                    hash.update((content.len() as u64).to_le_bytes());
                    hash.update(Sha256::digest(&content));
                }
            }
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The display of one running step: a spinner on a terminal, else a line now and then.
struct Progress<'a> {
    name: &'a str,
    what: &'a str,
    started: Instant,
    spinner: Option<ProgressBar>,
    printed: std::cell::Cell<Instant>,
}

impl<'a> Progress<'a> {
    fn new(name: &'a str, what: &'a str, terminal: bool) -> Self {
        let spinner = terminal.then(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let spinner = ProgressBar::new_spinner().with_style(style).with_prefix(format!("[{name}] {what}"));
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        if spinner.is_none() {
            println!("[{name}] {what}");
        }
        let now = Instant::now();
        Self { name, what, started: now, spinner, printed: std::cell::Cell::new(now) }
    }

    fn tick(&self, line: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(line.to_owned());
        } else if self.printed.get().elapsed() >= PLAIN_TICK {
            self.printed.set(Instant::now());
            let line: String = line.chars().take(100).collect();
            // Some programs, such as wasm-opt, say nothing while they work.
            let separator = if line.is_empty() { "" } else { ": " };
            println!("[{}] ... {:.0} s{separator}{line}", self.name, self.started.elapsed().as_secs_f64());
        }
    }

    fn finish(self, outcome: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(spinner) = self.spinner {
            spinner.finish_and_clear();
            println!("[{}] {}: {outcome} in {seconds:.1} s", self.name, self.what);
        } else {
            println!("[{}] {outcome} in {seconds:.1} s", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A folder of its own for a test, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-step-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("src")).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_step_runs_again_when_an_input_changes_or_an_output_is_gone() {
        let scratch = Scratch::new("changed");
        let steps = Steps::new(&scratch.0).unwrap();
        let runs = Cell::new(0);
        let run = |facts: &[&str]| {
            steps
                .when_changed("s", &Inputs { paths: &["src", "absent"], facts }, &["out"], || {
                    runs.set(runs.get() + 1);
                    Ok(fs::write(scratch.0.join("out"), "made")?)
                })
                .unwrap();
            runs.get()
        };
        fs::write(scratch.0.join("src/a"), "one").unwrap();
        assert_eq!(run(&["1.95"]), 1);
        assert_eq!(run(&["1.95"]), 1);
        fs::write(scratch.0.join("src/a"), "two").unwrap();
        assert_eq!(run(&["1.95"]), 2);
        assert_eq!(run(&["1.96"]), 3);
        fs::rename(scratch.0.join("src/a"), scratch.0.join("src/b")).unwrap();
        assert_eq!(run(&["1.96"]), 4);
        fs::remove_file(scratch.0.join("out")).unwrap();
        assert_eq!(run(&["1.96"]), 5);
    }

    #[test]
    fn ignored_files_are_no_inputs() {
        let scratch = Scratch::new("ignored");
        let inputs = Inputs { paths: &["src"], facts: &[] };
        fs::write(scratch.0.join("src/.gitignore"), "dist/\n").unwrap();
        let before = inputs.fingerprint(&scratch.0).unwrap();
        fs::create_dir(scratch.0.join("src/dist")).unwrap();
        fs::write(scratch.0.join("src/dist/built"), "x").unwrap();
        assert_eq!(inputs.fingerprint(&scratch.0).unwrap(), before);
    }

    #[test]
    fn a_failed_step_leaves_no_stamp() {
        let scratch = Scratch::new("failed");
        let steps = Steps::new(&scratch.0).unwrap();
        let inputs = Inputs { paths: &[], facts: &["same"] };
        let runs = Cell::new(0);
        for _ in 0..2 {
            let outcome = steps.when_changed("s", &inputs, &[], || {
                runs.set(runs.get() + 1);
                bail!("no")
            });
            assert!(outcome.is_err());
        }
        assert_eq!(runs.get(), 2);
    }

    #[test]
    fn a_failed_test_is_reported_to_the_end_of_its_yaml() {
        let lines =
            ["ok 1 - one", "not ok 2 - two", "  ---", "  error: 'no'", "  ...", "ok 3 - three", "not ok 4 - four"];
        assert_eq!(
            reports(&lines).collect::<Vec<_>>(),
            ["not ok 2 - two", "  ---", "  error: 'no'", "  ...", "not ok 4 - four"]
        );
    }
}
