//! The licences of what is compiled into the WebAssembly modules, for those who publish the package.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::toolchain::{TARGET, cargo};

/// Above the list.
const HEAD: &str = "\
The WebAssembly modules of this package contain the following crates, besides ethertab itself and Rust's standard library
(https://www.rust-lang.org, MIT OR Apache-2.0). The scripts of the page in dist/web have theirs in dist/web/licenses.md.
";

/// Names, versions and licences of all foreign crates in the modules of these packages, and the texts that they come with.
pub(crate) fn of_modules(root: &Path, packages: &[&str]) -> Result<String> {
    let output = Command::new(cargo())
        .current_dir(root)
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", TARGET])
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    let mut text = HEAD.to_owned();
    // Many crates have the same text: each is written once.
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in compiled(&metadata, packages)? {
        let title = format!("{} {}", string(package, "name")?, string(package, "version")?);
        let licence = string(package, "license").unwrap_or("see its text");
        let home = string(package, "repository").unwrap_or_default();
        writeln!(text, "\n{title}: {licence} {home}")?;
        let files = license_files(package)?;
        if files.is_empty() {
            writeln!(text, "  (comes without a text)")?;
        }
        for file in files {
            let file = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            texts.entry(file.trim().replace("\r\n", "\n")).or_default().push(title.clone());
        }
    }
    for (file, titles) in texts {
        let line = "-".repeat(80);
        write!(text, "\n{line}\n{}:\n\n{file}\n", titles.join(", "))?;
    }
    Ok(text)
}

/// The foreign packages that these depend on, but for what only runs in the compiler.
fn compiled<'a>(metadata: &'a Value, packages: &[&str]) -> Result<Vec<&'a Value>> {
    let all = array(metadata, "/packages")?;
    let nodes = array(metadata, "/resolve/nodes")?;
    let by_id = |list: &'a [Value], id: &str| list.iter().find(|entry| entry["id"] == id).context("an unknown package");
    let mut waiting: Vec<&str> = all
        .iter()
        .filter(|package| packages.iter().any(|name| package["name"] == *name))
        .filter_map(|package| package["id"].as_str())
        .collect();
    if waiting.len() != packages.len() {
        bail!("not all of {packages:?} are in the workspace");
    }
    let mut seen: BTreeSet<&str> = waiting.iter().copied().collect();
    let mut foreign = Vec::new();
    while let Some(id) = waiting.pop() {
        let package = by_id(all, id)?;
        let targets = array(package, "/targets")?;
        let is_macro = |target: &Value| {
            target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "proc-macro"))
        };
        if targets.iter().any(is_macro) {
            continue;
        }
        // The workspace's own have no source.
        if !package["source"].is_null() {
            foreign.push(package);
        }
        for dependency in array(by_id(nodes, id)?, "/deps")? {
            let is_linked = array(dependency, "/dep_kinds")?.iter().any(|kind| kind["kind"].is_null());
            let id = string(dependency, "pkg")?;
            if is_linked && seen.insert(id) {
                waiting.push(id);
            }
        }
    }
    foreign.sort_by_key(|package| (package["name"].as_str(), package["version"].as_str()));
    Ok(foreign)
}

/// The files in a package's folder that are named as licences are.
fn license_files(package: &Value) -> Result<Vec<std::path::PathBuf>> {
    let manifest = Path::new(string(package, "manifest_path")?);
    let folder = manifest.parent().context("a manifest without a folder")?;
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_ascii_uppercase();
        let is_license =
            ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"].iter().any(|word| name.starts_with(word));
        if is_license && entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn string<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field].as_str().with_context(|| format!("cargo metadata tells no {field}"))
}

fn array<'a>(value: &'a Value, pointer: &str) -> Result<&'a [Value]> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.map(Vec::as_slice).with_context(|| format!("cargo metadata tells no {pointer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed_and_what_only_the_compiler_runs_is_not() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = of_modules(root, &["ethertab-wasm", "ethertab-services"]).unwrap();
        for name in ["siphasher", "httparse", "talc", "pcap-file", "wasm-bindgen"] {
            assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name} is missing");
        }
        for name in ["syn", "proc-macro2", "ethertab", "clap"] {
            assert!(!text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name} is listed");
        }
        assert!(text.contains("Permission is hereby granted"));
    }
}
