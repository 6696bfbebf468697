//! The scripts bite: each rule of the stack that `sim/scripts/mutations.toml` breaks makes a script fail.
//!
//! A mutation is a change of text in a copy of core, which is built with the interpreter of this crate. That takes some
//! seconds each, so the suite `mutations` runs it and `cargo test` does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A change that breaks a rule.
struct Mutation {
    line: String,
    rule: String,
    file: String,
    before: String,
    after: String,
    scripts: Vec<String>,
}

fn sim() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn mutations() -> Vec<Mutation> {
    let text = fs::read_to_string(sim().join("scripts/mutations.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let entries = table["mutation"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap().to_string();
            let scripts = entry["scripts"].as_array().unwrap();
            Mutation {
                line: text("line"),
                rule: text("rule"),
                file: text("file"),
                before: text("before"),
                after: text("after"),
                scripts: scripts.iter().map(|script| script.as_str().unwrap().to_string()).collect(),
            }
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// A workspace of core and sim alone, in which core can be changed.
struct Workshop {
    root: PathBuf,
}

impl Workshop {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations");
        let _ = fs::remove_dir_all(root.join("core"));
        let _ = fs::remove_dir_all(root.join("sim"));
        let repository = sim().parent().unwrap();
        for part in ["core/Cargo.toml", "core/src", "sim/Cargo.toml", "sim/src", "Cargo.lock"] {
            let to = root.join(part);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            copy(&repository.join(part), &to);
        }
        let mut manifest: toml::Table = fs::read_to_string(repository.join("Cargo.toml")).unwrap().parse().unwrap();
        let workspace = manifest["workspace"].as_table_mut().unwrap();
        workspace.insert("members".into(), toml::Value::Array(vec!["core".into(), "sim".into()]));
        fs::write(root.join("Cargo.toml"), manifest.to_string()).unwrap();
        Workshop { root }
    }

    fn build(&self) -> Output {
        Command::new(env!("CARGO"))
            .args(["build", "--offline", "--quiet", "-p", "ethertab-sim", "--bin", "packetdrill"])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", self.root.join("target"))
            .output()
            .unwrap()
    }

    /// Whether a script passes with the stack as it is built.
    fn passes(&self, script: &str) -> bool {
        let mut command = Command::new(self.root.join("target/debug/packetdrill"));
        command.arg(sim().join("scripts").join(format!("{script}.pkt"))).output().unwrap().status.success()
    }
}

#[test]
fn each_broken_rule_makes_a_script_fail() {
    let workshop = Workshop::new();
    let built = workshop.build();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut survivors = Vec::new();
    for mutation in mutations() {
        let name = format!("{} ({})", mutation.rule, mutation.line);
        let path = workshop.root.join("core/src").join(&mutation.file);
        let original = fs::read_to_string(&path).unwrap();
        if original.matches(&mutation.before).count() != 1 {
            survivors.push(format!("{name}: {:?} is not once in {}", mutation.before, mutation.file));
            continue;
        }
        fs::write(&path, original.replace(&mutation.before, &mutation.after)).unwrap();
        let built = workshop.build();
        for script in &mutation.scripts {
            if !built.status.success() {
                survivors.push(format!("{name}: does not build: {}", String::from_utf8_lossy(&built.stderr)));
                break;
            }
            if workshop.passes(script) {
                survivors.push(format!("{name}: {script} passes"));
            }
        }
        fs::write(&path, original).unwrap();
    }
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}
