//! `cargo xtask lint`: formatting, clippy, Biome and the TypeScript types.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::toolchain::cargo;
use crate::{Project, build, setup};

/// npm workspaces, by their folders.
pub(crate) const WORKSPACES: &[&str] = &["pkg", "web", "examples/v86"];

const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs all checks, and says at the end which failed.
pub(crate) fn run(project: &Project) -> Result<ExitCode> {
    setup::npm(project)?;
    let cargo = cargo();
    let biome = project.root.join("node_modules/.bin/biome");
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    // `--all-targets` leaves out the tests that only their suites run.
    let clippy_linux = ["clippy", "--package", "ethertab-native", "--test", "linux", "--", "-D", "warnings"];
    let clippy_mutations =
        ["clippy", "--package", "ethertab-sim", "--test", "packetdrill_mutations", "--", "-D", "warnings"];
    let mut failed = Vec::new();
    for (name, program, arguments) in [
        ("fmt", cargo.as_os_str(), &["fmt", "--all", "--check"][..]),
        ("clippy", cargo.as_os_str(), &clippy[..]),
        ("clippy", cargo.as_os_str(), &clippy_linux[..]),
        ("clippy", cargo.as_os_str(), &clippy_mutations[..]),
        ("biome", biome.as_os_str(), &["ci", "--error-on-warnings", "."][..]),
    ] {
        let mut command = Command::new(program);
        command.current_dir(&project.root).args(arguments);
        check(project, name, &format!("{name}: {}", arguments.join(" ")), &mut command, &mut failed)?;
    }

    // The types of the engine are generated: the package's are checked against them, and the page's against both.
    match build::package(project) {
        Ok(()) => {
            for workspace in WORKSPACES {
                if let Some(mut command) = types(project, workspace)? {
                    check(project, "types", &format!("types of {workspace}"), &mut command, &mut failed)?;
                }
            }
        }
        Err(error) => {
            println!("error: {error:#}");
            failed.push("the build".to_owned());
        }
    }

    if failed.is_empty() {
        println!("lint: clean");
        return Ok(ExitCode::SUCCESS);
    }
    println!("lint: FAILED: {}", failed.join("; "));
    Ok(ExitCode::FAILURE)
}

/// Runs one check, and adds it to `failed` when it finds something.
fn check(project: &Project, name: &str, what: &str, command: &mut Command, failed: &mut Vec<String>) -> Result<()> {
    let finished = project.steps.try_command(name, what, LIMIT, command)?;
    if !finished.success() {
        project.steps.print_tail(name, &finished.output);
        failed.push(what.to_owned());
    }
    Ok(())
}

/// The command that checks a workspace's types: its script `types`, else the compiler where there is a configuration.
pub(crate) fn types(project: &Project, workspace: &str) -> Result<Option<Command>> {
    let file = project.root.join(workspace).join("package.json");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let package: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
    if package.pointer("/scripts/types").is_some() {
        let mut command = setup::npm_command(project);
        command.args(["run", "types", "-w", workspace]);
        return Ok(Some(command));
    }
    if !project.root.join(workspace).join("tsconfig.json").exists() {
        return Ok(None);
    }
    let mut command = Command::new(project.root.join("node_modules/.bin/tsc"));
    command.current_dir(&project.root).args(["--noEmit", "--project", workspace]);
    Ok(Some(command))
}
