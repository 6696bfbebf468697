//! The test suites. [`SUITES`] is the one list of them: a new suite is a line there and a function below.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::counts::Counts;
use crate::toolchain::cargo;
use crate::{Project, build, lint, setup};

/// A suite of tests.
struct Suite {
    name: &'static str,
    /// What it proves, for `--list`.
    about: &'static str,
    /// Whether it belongs to `--quick`.
    quick: bool,
    needs: &'static [Need],
    run: fn(&Run<'_>) -> Result<Counts>,
}

/// What must be there before a suite runs. What can be made is made; a suite for which something is missing is
/// skipped, or fails with `CI=true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Need {
    /// The built npm package and page.
    Package,
    /// The Linux guest.
    Guest,
    /// A program in the search path.
    Program(&'static str),
    /// Root, and the kernel's TAP devices.
    Tap,
}

use Need::{Guest, Package, Program, Tap};

const SUITES: &[Suite] = &[
    Suite { name: "rust", about: "unit, scenario and doc tests of the crates", quick: true, needs: &[], run: rust },
    Suite { name: "xtask", about: "the build tool's own tests", quick: true, needs: &[], run: xtask },
    Suite {
        name: "noalloc",
        about: "core builds and runs where there is no allocator",
        quick: true,
        needs: &[],
        run: noalloc,
    },
    Suite {
        name: "scenarios",
        about: "random networks, weather and applications from 2,000 seeds (--seeds N, --seed n)",
        quick: true,
        needs: &[],
        run: scenarios,
    },
    Suite {
        name: "linux",
        about: "native: the stack on a TAP device against Linux's TCP, curl, nginx, nmap, hping3 and scapy, and clients and servers of DHCP, DNS, mDNS and NTP",
        quick: false,
        needs: &[
            Tap,
            Program("ip"),
            Program("ping"),
            Program("tracepath"),
            Program("traceroute"),
            Program("iperf3"),
            Program("curl"),
            Program("nginx"),
            Program("nmap"),
            Program("hping3"),
            Program("scapy"),
            Program("busybox"),
            Program("dnsmasq"),
            Program("radvd"),
            Program("udhcpc"),
            Program("dhclient"),
            Program("dhcpcd"),
            Program("dig"),
            Program("ntpdig"),
            Program("chronyd"),
            Program("avahi-daemon"),
            Program("avahi-browse"),
            Program("dbus-daemon"),
            Program("tshark"),
        ],
        run: linux,
    },
    Suite {
        name: "mutations",
        about: "each rule of TCP that is broken in a copy of the stack makes a packetdrill script fail",
        quick: false,
        needs: &[],
        run: mutations,
    },
    Suite {
        name: "doc",
        about: "the documentation builds without a warning, and no exported name is without",
        quick: false,
        needs: &[Package],
        run: doc,
    },
    Suite { name: "types", about: "TypeScript agrees with itself", quick: true, needs: &[Package], run: types },
    Suite {
        name: "js",
        about: "the npm package in Node 20, 22 and 24 (--quick: in the installed one)",
        quick: true,
        needs: &[Package, Program("tshark")],
        run: js,
    },
    Suite {
        name: "examples",
        about: "each example, run as its README says, beside the packed npm package",
        quick: true,
        needs: &[Package],
        run: examples,
    },
    Suite {
        name: "load",
        about: "50 runs of a world in virtual time, beside busy processors, are the same byte for byte",
        quick: false,
        needs: &[Package],
        run: load,
    },
    Suite {
        name: "browser",
        about: "the npm package in Chromium, page and worker",
        quick: false,
        needs: &[Package, Program("chromium")],
        run: browser,
    },
    Suite {
        name: "web",
        about: "what the page does, without its looks, in Node",
        quick: true,
        needs: &[Package],
        run: web,
    },
    Suite {
        name: "web-browser",
        about: "the page in Chromium, with and without a Linux guest",
        quick: false,
        needs: &[Package, Guest, Program("chromium"), Program("tshark")],
        run: web_browser,
    },
    Suite {
        name: "web-firefox",
        about: "the page in Firefox, without a Linux guest",
        quick: false,
        needs: &[Package, Program("firefox-esr")],
        run: web_firefox,
    },
    Suite {
        name: "guest",
        about: "a real Linux in v86, in Node",
        quick: false,
        needs: &[Package, Guest, Program("tshark")],
        run: guest,
    },
    Suite {
        name: "guest-browser",
        about: "a real Linux in v86, in Chromium",
        quick: false,
        needs: &[Package, Guest, Program("chromium")],
        run: guest_browser,
    },
    Suite {
        name: "bundlers",
        about: "the packed npm package with Vite, webpack, esbuild, Rollup and none in Chromium, and in Node, Deno and Bun",
        quick: false,
        needs: &[Package, Program("chromium")],
        run: bundlers,
    },
    Suite {
        name: "package",
        about: "the packed npm package is whole, by publint and attw too, and serves the page on a machine without Rust",
        quick: false,
        needs: &[Package],
        run: packed,
    },
];

/// Which seeds the scenarios run.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Seeds {
    /// Seeds that the suite `scenarios` runs
    #[arg(long)]
    seeds: Option<u64>,
    /// The one seed that it runs, and shows
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
}

/// A run of some suites.
struct Run<'a> {
    project: &'a Project,
    quick: bool,
    seeds: Seeds,
    /// The suite that runs.
    name: &'static str,
}

/// Longer than any suite takes; ends one that hangs before CI's own limit does.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Prints the names of all suites.
pub(crate) fn list() {
    for suite in SUITES {
        let quick = if suite.quick { "quick" } else { "" };
        println!("{:14} {quick:6} {}", suite.name, suite.about);
    }
}

/// `cargo xtask test`: runs the suites of these names, all without a name, and prints a line for each; the last line
/// adds them up.
pub(crate) fn run(project: &Project, names: &[String], quick: bool, seeds: Seeds) -> Result<ExitCode> {
    for name in names {
        if !SUITES.iter().any(|suite| suite.name == name) {
            let known: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
            bail!("there is no suite {name:?}; there are {}", known.join(", "));
        }
    }
    let chosen: Vec<&Suite> = SUITES
        .iter()
        .filter(|suite| names.is_empty() || names.iter().any(|name| name == suite.name))
        .filter(|suite| suite.quick || !quick)
        .collect();
    if chosen.is_empty() {
        bail!("none of these suites is quick");
    }

    let started = Instant::now();
    // Named before the suites, so that one line installs all that is missing.
    if chosen.iter().any(|suite| suite.needs.iter().any(|need| matches!(need, Program(_) | Guest))) {
        // The suites for which something is missing tell it again, and the others still run.
        if let Err(error) = setup::debian_packages(project) {
            project.steps.note("packages", &format!("error: {error:#}"));
        }
    }
    let mut summaries = Vec::new();
    let mut sum = Counts::default();
    let mut provided = Provided::new();
    for suite in chosen {
        let begun = Instant::now();
        let run = Run { project, quick, seeds, name: suite.name };
        let mut counts = run_suite(&run, suite, &mut provided);
        if project.ci && counts.skipped > 0 {
            for reason in &counts.reasons {
                project.steps.note(suite.name, &format!("skipped, which is a failure with CI=true: {reason}"));
            }
            counts.failed += std::mem::take(&mut counts.skipped);
        }
        summaries.push(summary(suite.name, &counts, begun.elapsed()));
        println!("{}", summaries[summaries.len() - 1]);
        for reason in counts.reasons.iter().take_while(|_| !project.ci) {
            println!("               skipped {reason}");
        }
        sum += counts;
    }

    println!("\nall suites in {:.0} s:", started.elapsed().as_secs_f64());
    for line in summaries {
        println!("{line}");
    }
    let skipped = if sum.skipped > 0 { format!(", {} skipped", sum.skipped) } else { String::new() };
    println!("{} passed, {} failed{skipped}", sum.passed, sum.failed);
    Ok(if sum.failed == 0 && sum.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(name: &str, counts: &Counts, took: Duration) -> String {
    let verdict = match counts {
        Counts { failed: 1.., .. } => "FAILED",
        Counts { passed: 0, .. } => "skipped",
        _ => "ok",
    };
    format!(
        "{name:14} {verdict:8} {:5} passed {:5} failed {:5} skipped {:8.1} s",
        counts.passed,
        counts.failed,
        counts.skipped,
        took.as_secs_f64()
    )
}

/// What the suites so far have needed: `Ok(None)` for what is there, else the reason to skip a suite or to fail it.
type Provided = HashMap<Need, Result<Option<String>, String>>;

/// Provides what a suite needs and runs it. An error is a failed test, so that the other suites still run.
fn run_suite(run: &Run<'_>, suite: &Suite, provided: &mut Provided) -> Counts {
    for need in suite.needs {
        let outcome =
            provided.entry(*need).or_insert_with(|| provide(run.project, *need).map_err(|error| format!("{error:#}")));
        match outcome {
            Ok(None) => (),
            Ok(Some(missing)) => {
                return Counts::skipped(format!("suite {}: {missing}", suite.name));
            }
            Err(error) => {
                run.project.steps.note(suite.name, &format!("error: {error}"));
                return Counts::one(false);
            }
        }
    }
    (suite.run)(run).unwrap_or_else(|error| {
        run.project.steps.note(suite.name, &format!("error: {error:#}"));
        Counts::one(false)
    })
}

/// Makes what is needed, or says what is missing.
fn provide(project: &Project, need: Need) -> Result<Option<String>> {
    match need {
        Package => build::package(project).map(|()| None),
        Guest => Ok((!build::guest_for_tests(project)?).then(|| "there is no Linux guest".to_owned())),
        Tap if !setup::is_root() => Ok(Some("making network namespaces and TAP devices takes root".to_owned())),
        Tap => Ok((!Path::new("/dev/net/tun").exists()).then(|| "there is no /dev/net/tun".to_owned())),
        Program(name) => Ok(setup::find_program(name).is_none().then(|| format!("{name} is not installed"))),
    }
}

impl Run<'_> {
    /// Runs a test program and reads its counts; what it printed is shown when it fails.
    fn tests(&self, what: &str, command: &mut Command, read: fn(&str) -> Counts) -> Result<Counts> {
        let steps = &self.project.steps;
        if self.quick {
            // Tests with an adjustable amount of work do less of it.
            command.env("ETHERTAB_QUICK", "1");
        }
        let finished = steps.try_command(self.name, what, LIMIT, command)?;
        let mut counts = read(&finished.output);
        if counts.total() == 0 || (!finished.success() && counts.failed == 0) {
            steps.note(self.name, &format!("{what}: {}, and says of no test that it failed", finished.verdict()));
            counts.failed += 1;
        }
        if counts.failed > 0 {
            steps.print_tail(self.name, &finished.output);
        }
        Ok(counts)
    }

    /// Runs a command that is one test as a whole.
    fn check(&self, what: &str, command: &mut Command) -> Result<Counts> {
        let finished = self.project.steps.try_command(self.name, what, LIMIT, command)?;
        if !finished.success() {
            self.project.steps.print_tail(self.name, &finished.output);
        }
        Ok(Counts::one(finished.success()))
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.project.root).args(arguments);
        command
    }

    fn npm_script(&self, workspace: &str, script: &str) -> Command {
        let mut command = setup::npm_command(self.project);
        command.args(["run", script, "-w", workspace]);
        command
    }

    fn guest_script(&self, script: &str) -> Result<Counts> {
        let what = format!("npm run {script}");
        self.tests(&what, &mut self.npm_script("examples/v86", script), Counts::from_node)
    }
}

fn rust(run: &Run<'_>) -> Result<Counts> {
    let mut command = run.cargo(&["test", "--workspace", "--exclude", "xtask", "--no-fail-fast"]);
    run.tests("cargo test", &mut command, Counts::from_cargo)
}

/// In the profile in which this program itself is built, so that its dependencies are not built again.
fn xtask(run: &Run<'_>) -> Result<Counts> {
    run.tests("cargo test", &mut run.cargo(&["test", "--profile", "xtask", "--package", "xtask"]), Counts::from_cargo)
}

fn doc(run: &Run<'_>) -> Result<Counts> {
    let mut command = run.cargo(&["doc", "--workspace", "--exclude", "xtask", "--no-deps"]);
    let mut counts = run.check("cargo doc", command.env("RUSTDOCFLAGS", "-D warnings"))?;
    let mut typedoc = run.npm_script("pkg", "docs");
    typedoc.args(["--", "--emit", "none", "--treatWarningsAsErrors", "--treatValidationWarningsAsErrors"]);
    counts += run.check("TypeDoc", &mut typedoc)?;
    Ok(counts)
}

fn noalloc(run: &Run<'_>) -> Result<Counts> {
    let mut build = run.cargo(&["build", "--package", "ethertab", "--no-default-features"]);
    let mut counts = run.check("cargo build --no-default-features", &mut build)?;
    let mut program = run.cargo(&["run", "--release", "--manifest-path", "core/tests/no_alloc/Cargo.toml"]);
    counts += run.check("a program without an allocator", &mut program)?;
    Ok(counts)
}

/// The tests with loss mostly wait for timeouts, and run side by side; the others need the processors for themselves.
fn linux(run: &Run<'_>) -> Result<Counts> {
    let mut counts = Counts::default();
    for (what, filter) in
        [("without loss", ["--test-threads=1", "--skip=percent"]), ("with loss", ["--test-threads=8", "percent"])]
    {
        let test = ["test", "--package", "ethertab-native", "--test", "linux", "--"];
        counts += run.tests(what, run.cargo(&test).args(filter), Counts::from_cargo)?;
    }
    Ok(counts)
}

fn scenarios(run: &Run<'_>) -> Result<Counts> {
    let mut command = run.cargo(&["test", "--package", "ethertab-sim", "--test", "scenarios", "--", "--nocapture"]);
    let Seeds { seeds, seed } = run.seeds;
    for (variable, number) in [("ETHERTAB_SEEDS", seeds), ("ETHERTAB_SEED", seed)] {
        if let Some(number) = number {
            command.env(variable, number.to_string());
        }
    }
    let what = match (seeds, seed) {
        (_, Some(seed)) => format!("seed {seed}"),
        (Some(seeds), _) => format!("{seeds} seeds"),
        _ => "seeds".to_owned(),
    };
    run.tests(&what, &mut command, Counts::from_cargo)
}

fn mutations(run: &Run<'_>) -> Result<Counts> {
    let test = ["test", "--package", "ethertab-sim", "--test", "packetdrill_mutations"];
    run.tests("broken rules", &mut run.cargo(&test), Counts::from_cargo)
}

fn types(run: &Run<'_>) -> Result<Counts> {
    let mut counts = Counts::default();
    for workspace in lint::WORKSPACES {
        if let Some(mut command) = lint::types(run.project, workspace)? {
            counts += run.check(&format!("types of {workspace}"), &mut command)?;
        }
    }
    Ok(counts)
}

fn js(run: &Run<'_>) -> Result<Counts> {
    if run.quick {
        return run.tests("npm test", &mut run.npm_script("pkg", "test"), Counts::from_node);
    }
    setup::runtimes(run.project)?;
    let mut counts = Counts::default();
    for major in setup::NODE_VERSIONS {
        let folder = run.project.root.join(setup::node_folder(*major));
        let version = setup::node_version(folder.join("node"))?;
        let mut command = run.npm_script("pkg", "test");
        command.env("PATH", setup::path_with(&folder)?);
        counts += run.tests(&format!("npm test in Node {version}"), &mut command, Counts::from_node)?;
    }
    Ok(counts)
}

/// The one in Rust here, those in JavaScript beside the packed package.
fn examples(run: &Run<'_>) -> Result<Counts> {
    let mut counts = run.check("world", &mut run.cargo(&["run", "--quiet", "--package", "ethertab-example-world"]))?;
    let mut command = Command::new("node");
    command.current_dir(&run.project.root).args(["--test", "pkg/test/examples.mjs"]);
    counts += run.tests("npm pack, npm install, each example", &mut command, Counts::from_node)?;
    Ok(counts)
}

fn load(run: &Run<'_>) -> Result<Counts> {
    run.tests("npm run test:load", &mut run.npm_script("pkg", "test:load"), Counts::from_node)
}

fn browser(run: &Run<'_>) -> Result<Counts> {
    run.tests("npm run test:browser", &mut run.npm_script("pkg", "test:browser"), Counts::from_node)
}

fn web(run: &Run<'_>) -> Result<Counts> {
    run.tests("npm test", &mut run.npm_script("web", "test"), Counts::from_node)
}

fn web_browser(run: &Run<'_>) -> Result<Counts> {
    run.tests("npm run test:browser", &mut run.npm_script("web", "test:browser"), Counts::from_node)
}

fn web_firefox(run: &Run<'_>) -> Result<Counts> {
    run.tests("npm run test:firefox", &mut run.npm_script("web", "test:firefox"), Counts::from_node)
}

fn guest(run: &Run<'_>) -> Result<Counts> {
    run.guest_script("test:guest")
}

fn guest_browser(run: &Run<'_>) -> Result<Counts> {
    run.guest_script("test:browser")
}

fn bundlers(run: &Run<'_>) -> Result<Counts> {
    setup::runtimes(run.project)?;
    setup::bundlers(run.project)?;
    let mut command = setup::npm_command(run.project);
    command.current_dir(run.project.root.join("examples/bundlers")).arg("test");
    run.tests("npm test", &mut command, Counts::from_node)
}

fn packed(run: &Run<'_>) -> Result<Counts> {
    setup::judges(run.project)?;
    let mut command = Command::new("node");
    command.current_dir(&run.project.root).args(["--test", "pkg/test/package.mjs"]);
    run.tests("npm pack, npm install, npx ethertab", &mut command, Counts::from_node)
}
