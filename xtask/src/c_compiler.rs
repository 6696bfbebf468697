//! A C compiler for `wasm32-unknown-unknown`, for the cryptography of the TLS module: ring's is partly C. It is clang, which most
//! distributions build with that target (Apple's has it not), with the archiver that belongs to it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{Project, setup};

/// What Debian and Ubuntu call a recent one.
const DEBIAN_PACKAGES: &[&str] = &["clang-19", "llvm-19"];

/// The versions that are looked for by name, the newest first, after the one that is called just `clang`.
const VERSIONS: std::ops::RangeInclusive<u32> = 14..=30;

/// A clang and its archiver.
pub(crate) struct CCompiler {
    clang: PathBuf,
    archiver: PathBuf,
    /// The first line of what `clang --version` prints.
    pub(crate) version: String,
}

impl CCompiler {
    /// Finds the compiler, or installs it on Debian and Ubuntu as root, and says which it is.
    pub(crate) fn find_or_install(project: &Project) -> Result<Self> {
        let name = "c-compiler";
        if let Some(compiler) = Self::find() {
            project.steps.note(name, &format!("{} ({})", compiler.version, compiler.clang.display()));
            return Ok(compiler);
        }
        // As with the WebAssembly target, the modules cannot be built without it.
        if setup::is_debian() && setup::is_root() {
            setup::apt_install(project, DEBIAN_PACKAGES)?;
            if let Some(compiler) = Self::find() {
                return Ok(compiler);
            }
        }
        bail!(
            "no clang with the target wasm32 and its llvm-ar, which the TLS module needs: install them, on Debian or Ubuntu with \
             `{}`, on macOS with `brew install llvm` and its bin folder in PATH",
            setup::apt_line(DEBIAN_PACKAGES)
        )
    }

    fn find() -> Option<Self> {
        let suffixes = std::iter::once(String::new()).chain(VERSIONS.rev().map(|version| format!("-{version}")));
        suffixes.filter_map(|suffix| Self::with_suffix(&suffix)).next()
    }

    /// The compiler `clang` and the archiver `llvm-ar`, both with this at the end of their names.
    fn with_suffix(suffix: &str) -> Option<Self> {
        let clang = setup::find_program(&format!("clang{suffix}"))?;
        let targets = printed(&clang, "--print-targets")?;
        if !targets.split_whitespace().any(|word| word == "wasm32") {
            return None;
        }
        let version = printed(&clang, "--version")?.lines().next()?.trim().to_owned();
        // Beside the compiler, if that is not one of the system's.
        let archiver = clang.canonicalize().ok()?.with_file_name("llvm-ar");
        let archiver = if archiver.is_file() { archiver } else { setup::find_program(&format!("llvm-ar{suffix}"))? };
        Some(Self { clang, archiver, version })
    }

    /// The variables that tell build scripts of it.
    pub(crate) fn variables(&self) -> [(&'static str, &PathBuf); 2] {
        [("CC_wasm32_unknown_unknown", &self.clang), ("AR_wasm32_unknown_unknown", &self.archiver)]
    }
}

/// What a program prints when it is called with this argument.
fn printed(program: &PathBuf, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
