//! `cargo xtask lint`: formatting, clippy, Biome and the TypeScript types.

use std::path::Path;
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
    let root = &project.root;
    let mut checks: Vec<(&str, Command)> = Vec::new();
    let mut add = |name, program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(root).args(arguments);
        checks.push((name, command));
    };
    let cargo = cargo();
    add("fmt", cargo.as_ref(), &["fmt", "--all", "--check"]);
    add(
        "clippy",
        cargo.as_ref(),
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    );
    add(
        "biome",
        &root.join("node_modules/.bin/biome"),
        &["ci", "--error-on-warnings", "."],
    );
    // The types of the engine are generated: the TypeScript of the package is checked against them.
    build::package(project)?;
    for workspace in WORKSPACES {
        if let Some(command) = types(project, workspace)? {
            checks.push(("types", command));
        }
    }

    let mut failed = Vec::new();
    for (name, mut command) in checks {
        let what = std::iter::once(
            Path::new(command.get_program())
                .file_name()
                .unwrap_or_default(),
        )
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
        let finished = project
            .steps
            .try_command(name, &what, LIMIT, &mut command)?;
        if !finished.success() {
            project.steps.print_tail(name, &finished.output);
            failed.push(what);
        }
    }
    if failed.is_empty() {
        println!("lint: clean");
        return Ok(ExitCode::SUCCESS);
    }
    println!("lint: FAILED: {}", failed.join("; "));
    Ok(ExitCode::FAILURE)
}

/// The command that checks a workspace's types: its script `types`, else the compiler where there is a configuration.
pub(crate) fn types(project: &Project, workspace: &str) -> Result<Option<Command>> {
    let file = project.root.join(workspace).join("package.json");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
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
    command
        .current_dir(&project.root)
        .args(["--noEmit", "--project", workspace]);
    Ok(Some(command))
}
