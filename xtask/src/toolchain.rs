//! A compiler with a standard library for `wasm32-unknown-unknown`, found in four steps:
//!
//! 1. the active toolchain has the target;
//! 2. rustup adds it;
//! 3. on Debian and Ubuntu as root: the distribution's compiler, which builds the standard library from its source;
//! 4. otherwise a sentence says what to install.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{Project, setup};

/// The target of the engine.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The distribution's compiler for this target, its linker, and the source of the standard library.
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld-19";

/// Options that begin with `-Z` are for nightly compilers unless this says otherwise.
const BOOTSTRAP: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");

/// Panics say what was wrong but not in which file and line, which were 3 KB after brotli: the trap's stack has the functions.
const SMALLER: &[&str] = &["-Zlocation-detail=none"];

/// `rustup target add` tries again for minutes when it cannot reach its server.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);

/// A compiler that can build for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The active toolchain.
    Active,
    /// Debian's compiler with `-Zbuild-std`.
    Debian,
}

impl Toolchain {
    /// The toolchain that is ready for use, if there is one.
    fn ready() -> Option<Self> {
        if active_has_target() {
            Some(Self::Active)
        } else if debian_is_ready() {
            Some(Self::Debian)
        } else {
            None
        }
    }

    /// The version of its compiler.
    pub(crate) fn version(self) -> Result<String> {
        let rustc = match self {
            Self::Active => "rustc",
            Self::Debian => DEBIAN_RUSTC,
        };
        rustc_version(rustc).with_context(|| format!("{rustc} --version failed"))
    }

    /// `cargo build` for [`TARGET`], to which the caller adds packages and a profile. The folder that receives the
    /// artifacts comes with it: the two compilers would rebuild each other's.
    pub(crate) fn cargo_build(self, root: &Path) -> (Command, PathBuf) {
        let (mut command, target_dir) = match self {
            Self::Active => {
                let own = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsString::from("target"));
                let mut command = Command::new(cargo());
                command.env(BOOTSTRAP.0, BOOTSTRAP.1);
                (command, root.join(own))
            }
            Self::Debian => {
                let mut command = Command::new(DEBIAN_CARGO);
                command
                    .env("RUSTC", DEBIAN_RUSTC)
                    .env(BOOTSTRAP.0, BOOTSTRAP.1)
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
                (command, root.join("target-wasm"))
            }
        };
        // What the cargo that runs this program has set is about its own toolchain.
        for variable in ["CARGO", "LD_LIBRARY_PATH", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
            command.env_remove(variable);
        }
        command.current_dir(root).arg("build").args(["--target", TARGET]);
        if self == Self::Debian {
            command.arg("-Zbuild-std=std,panic_abort");
            // Its formatting, searching and sorting, of which the paths of packets use nothing.
            command.arg("-Zbuild-std-features=optimize_for_size");
        }
        command.arg("--target-dir").arg(&target_dir);
        (command, target_dir)
    }

    /// What the compiler is told besides what all are, where it understands that.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        let understands = |rustc| {
            let mut probe = Command::new(rustc);
            probe
                .env_remove("LD_LIBRARY_PATH")
                .env(BOOTSTRAP.0, BOOTSTRAP.1)
                .args(SMALLER)
                .args(["--print", "sysroot"]);
            probe.output().is_ok_and(|output| output.status.success())
        };
        match self {
            Self::Active if understands("rustc") => SMALLER,
            Self::Debian if understands(DEBIAN_RUSTC) => SMALLER,
            _ => &[],
        }
    }

    /// The variables that tell the build scripts under `xtask/bench` of this toolchain.
    pub(crate) fn variables(self) -> Vec<(&'static str, OsString)> {
        match self {
            Self::Active => vec![("ETHERTAB_CARGO", cargo())],
            Self::Debian => vec![
                ("ETHERTAB_CARGO", DEBIAN_CARGO.into()),
                ("ETHERTAB_RUSTC", DEBIAN_RUSTC.into()),
                ("ETHERTAB_LINKER", DEBIAN_LINKER.into()),
                ("ETHERTAB_BUILD_STD", "1".into()),
            ],
        }
    }
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

/// Finds or installs a toolchain for [`TARGET`] and says which it is.
pub(crate) fn wasm(project: &Project) -> Result<Toolchain> {
    let name = "wasm-target";
    let steps = &project.steps;
    if let Some(toolchain) = Toolchain::ready() {
        let version = toolchain.version()?;
        steps.note(
            name,
            &match toolchain {
                Toolchain::Active => {
                    format!("the active toolchain has {TARGET} ({version})")
                }
                Toolchain::Debian => {
                    format!("Debian's {version} builds the standard library for {TARGET}")
                }
            },
        );
        return Ok(toolchain);
    }

    let rustup = steps.try_command(
        name,
        &format!("rustup target add {TARGET}"),
        RUSTUP_LIMIT,
        Command::new("rustup").args(["target", "add", TARGET]),
    );
    match rustup {
        Ok(finished) if finished.success() && active_has_target() => return Ok(Toolchain::Active),
        Ok(finished) => {
            let reason = finished.output.lines().rev().find(|line| !line.trim().is_empty());
            steps.note(name, &format!("rustup could not add it: {}", reason.unwrap_or("no reason given").trim()));
        }
        Err(error) => steps.note(name, &format!("rustup could not add it: {error:#}")),
    }

    // The engine cannot be built without it, so that root needs no --install here.
    if setup::is_debian() && setup::is_root() {
        steps.note(name, "Debian's compiler builds the standard library from its source");
        setup::apt_install(project, DEBIAN_PACKAGES)?;
        if debian_is_ready() {
            return Ok(Toolchain::Debian);
        }
        bail!(
            "the installed {DEBIAN_RUSTC} is older than Rust {}, or {DEBIAN_LINKER} is missing",
            env!("CARGO_PKG_RUST_VERSION")
        );
    }
    bail!(
        "no standard library for {TARGET}: install it with `rustup target add {TARGET}`, or on Debian or \
         Ubuntu with `{}`",
        setup::apt_line(DEBIAN_PACKAGES)
    )
}

/// Whether `rustc`'s folder of libraries for the target has something in it.
fn active_has_target() -> bool {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    output.is_ok_and(|output| {
        let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        output.status.success() && folder.read_dir().is_ok_and(|mut entries| entries.next().is_some())
    })
}

/// Whether Debian's compiler, its linker and the standard library's source are installed, and recent enough.
fn debian_is_ready() -> bool {
    let has_source = Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]).output().is_ok_and(|output| {
        Path::new(String::from_utf8_lossy(&output.stdout).trim())
            .join("lib/rustlib/src/rust/library/std/Cargo.toml")
            .exists()
    });
    has_source
        && Path::new(DEBIAN_CARGO).exists()
        && Path::new(DEBIAN_LINKER).exists()
        && rustc_version(DEBIAN_RUSTC).is_ok_and(|version| minor(&version) >= minor(env!("CARGO_PKG_RUST_VERSION")))
}

/// What `rustc --version` prints, as in `rustc 1.95.0 (abc 2026-01-01)`.
fn rustc_version(rustc: &str) -> Result<String> {
    let output = Command::new(rustc).arg("--version").env_remove("LD_LIBRARY_PATH").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The second number of the first version in `text`.
fn minor(text: &str) -> Option<u32> {
    text.split_whitespace().find(|word| word.starts_with("1."))?.split('.').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_found_in_what_rustc_prints() {
        assert_eq!(minor("rustc 1.96.0 (48a8a1d3b 2026-05-01) (built from a source tarball)"), Some(96));
        assert_eq!(minor("1.95"), Some(95));
        assert_eq!(minor(""), None);
        assert!(minor("rustc 1.85.0") < minor("1.95"));
    }
}
