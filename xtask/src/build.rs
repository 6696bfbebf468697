//! The pipeline from Rust to what is published and served:
//!
//! ```text
//! core, sim, wasm --cargo--> .wasm --wasm-bindgen--> pkg/dist/wasm --wasm-opt--> pkg/dist/wasm
//! pkg/src --tsc--> pkg/dist       web/src --vite--> web/dist --copy--> pkg/dist/web
//! pkg/src --TypeDoc--> pkg/dist/web/api
//! Debian packages --build.sh--> .build/guest (kernel, initrd, states)
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use wasm_bindgen_cli_support::Bindgen;

use crate::c_compiler::CCompiler;
use crate::step::Inputs;
use crate::toolchain::{self, Toolchain};
use crate::{Project, licenses, setup};

/// A WebAssembly module of the package.
struct Module {
    /// The name of its files in [`MODULES_FOLDER`]: `NAME.js`, `NAME.d.ts`, `NAME_bg.wasm`, `NAME_bg.wasm.d.ts`.
    name: &'static str,
    /// The crate that it is built from.
    package: &'static str,
}

/// The engine, what only a gateway needs and loads, and what only those need who speak TLS.
const MODULES: &[Module] = &[
    Module { name: "ethertab", package: "ethertab-wasm" },
    Module { name: "services", package: "ethertab-services" },
    Module { name: "tls", package: "ethertab-tls" },
];

/// Where the modules go.
const MODULES_FOLDER: &str = "pkg/dist/wasm";

/// The licences of what the modules contain, which npm packs.
const LICENSES: &str = "pkg/THIRD-PARTY-LICENSES.txt";

/// Where the guest goes.
pub(crate) const GUEST_FOLDER: &str = ".build/guest";
/// The same with programs for tests.
const PROGRAMS_FOLDER: &str = ".build/guest-programs";
/// The program of redis-server is in redis-tools.
const PROGRAMS: [&str; 7] =
    ["openssh-server", "openssl", "curl", "ca-certificates", "redis-server", "redis-tools", "mosquitto"];

/// Features of WebAssembly that the compiler uses besides its defaults.
const TARGET_FEATURES: &str = "-Ctarget-feature=+simd128";

/// A function is inlined where that costs next to nothing, or where the source says `#[inline]`, as it does on the path of
/// packets. LLVM's own threshold at `-O3` is 250: with less than a third of that the module is smaller and, since an instruction cache holds
/// more of it, small segments are faster. With half of this they are slower again.
const INLINING: &str = "-Cllvm-args=-inline-threshold=75";

/// A loop is compiled once, not once for each answer to a question that stays the same within: the engine is 0.8 KB smaller after brotli.
const UNSWITCHING: &str = "-Cllvm-args=-unswitch-threshold=0";

/// What wasm-opt does, without the sections that only tools read, and what it may use: what today's rustc emits by
/// default, and SIMD.
const OPTIMIZER_FLAGS: &[&str] = &[
    "-O3",
    // Again until nothing gets smaller.
    "--converge",
    // Functions of one crate and module are alike, and compress better beside each other: 0.6 KB.
    "--reorder-functions-by-name",
    // What the compiler has left out of line because it is rare stays there, unless it is tiny.
    "--one-caller-inline-max-function-size=50",
    // No table is in the first kilobyte, where the stack ends: small constants can be offsets of loads and stores.
    "--low-memory-unused",
    "--strip-producers",
    "--strip-target-features",
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// A part of the build, for those who work on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The WebAssembly modules with their bindings: pkg/dist/wasm
    Engine,
    /// The npm package with the page: pkg/dist
    Package,
    /// The Linux guest: .build/guest
    Guest,
}

/// `cargo xtask build`: these parts with what they depend on, all when none is named.
pub(crate) fn parts(project: &Project, parts: &[Part]) -> Result<()> {
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    if wanted(Part::Package) {
        package(project)?;
    } else if wanted(Part::Engine) {
        setup::npm(project)?;
        engine(project)?;
    }
    if wanted(Part::Guest) {
        guest(project)?;
    }
    Ok(())
}

/// `cargo xtask demo`: serves the page until Ctrl-C.
pub(crate) fn demo(project: &Project, port: u16) -> Result<ExitCode> {
    setup::debian_packages(project)?;
    parts(project, &[])?;
    project.steps.note("demo", "serves the page until Ctrl-C, at");
    let mut server = Command::new("node");
    server.current_dir(&project.root).args([
        "pkg/bin/ethertab.mjs",
        "--port",
        &port.to_string(),
        "--guest",
        GUEST_FOLDER,
    ]);
    // It takes over the terminal: it prints the address, and Ctrl-C is for it.
    let status = server.status().context("cannot start node")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `cargo xtask bench`: the programs under `xtask/bench` measure, print and write the figures.
pub(crate) fn bench(project: &Project, prefix: Option<&str>, json: Option<PathBuf>) -> Result<ExitCode> {
    parts(project, &[])?;
    programs(project, prefix, json)
}

/// The same without what the figures of JavaScript and of sizes need.
pub(crate) fn programs(project: &Project, prefix: Option<&str>, json: Option<PathBuf>) -> Result<ExitCode> {
    // The suites are imported together, and what they import is installed there.
    setup::npm(project)?;
    let toolchain = toolchain::wasm(project)?;
    // A relative path is meant from where the command was typed, which is where this program runs.
    let json = std::path::absolute(json.unwrap_or_else(|| PathBuf::from(".build/bench.json")))?;
    let mut programs = Command::new("node");
    programs
        .current_dir(&project.root)
        .envs(toolchain.variables())
        .arg("xtask/bench/run.mjs")
        .args(prefix)
        .arg("--json")
        .arg(json);
    let status = programs.status().context("cannot start node")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the npm package: engine, TypeScript, page.
pub(crate) fn package(project: &Project) -> Result<()> {
    setup::npm(project)?;
    engine(project)?;
    let common = ["package-lock.json", "tsconfig.base.json", "wasm", "core", "sim", "Cargo.lock"];

    let inputs = [&common[..], &["pkg"]].concat();
    let inputs = Inputs { paths: &inputs, facts: &[] };
    project.steps.when_changed(
        "pkg",
        &inputs,
        &[
            "pkg/dist/index.js",
            "pkg/dist/index.d.ts",
            "pkg/dist/wasm/ethertab_bindings.js",
            "pkg/dist/wasm/services_bindings.js",
            "pkg/dist/wasm/tls_bindings.js",
        ],
        || {
            let mut npm = setup::npm_command(project);
            project.steps.command(
                "pkg",
                "npm run build (TypeScript to pkg/dist)",
                npm.args(["run", "build", "-w", "pkg"]),
            )
        },
    )?;

    let inputs = Inputs { paths: &["Cargo.lock", "wasm", "core", "sim"], facts: &[] };
    project.steps.when_changed("licenses", &inputs, &[LICENSES], || {
        let packages: Vec<&str> = MODULES.iter().map(|module| module.package).collect();
        project.steps.work("licenses", &format!("licences of the modules' crates to {LICENSES}"), || {
            fs::write(project.root.join(LICENSES), licenses::of_modules(&project.root, &packages)?)?;
            Ok(())
        })
    })?;

    let inputs = [&common[..], &["pkg", "web"]].concat();
    let inputs = Inputs { paths: &inputs, facts: &[] };
    project.steps.when_changed("web", &inputs, &["web/dist/index.html", "pkg/dist/web/index.html"], || {
        let mut npm = setup::npm_command(project);
        project.steps.command(
            "web",
            "npm run build (the page to web/dist)",
            npm.args(["run", "build", "-w", "web"]),
        )?;
        let target = project.root.join("pkg/dist/web");
        if target.exists() {
            fs::remove_dir_all(&target).with_context(|| format!("cannot remove {}", target.display()))?;
        }
        copy_folder(&project.root.join("web/dist"), &target)
    })?;

    // Into the page's folder, which the step before has made anew.
    let inputs = [&common[..], &["pkg"]].concat();
    let inputs = Inputs { paths: &inputs, facts: &[] };
    project.steps.when_changed("api", &inputs, &["pkg/dist/web/api/index.html"], || {
        let mut npm = setup::npm_command(project);
        let what = "npm run docs (the documentation of the API to pkg/dist/web/api)";
        project.steps.command("api", what, npm.args(["run", "docs", "-w", "pkg"]))
    })
}

/// Builds the WebAssembly modules with their bindings, optimised.
fn engine(project: &Project) -> Result<()> {
    let toolchain = toolchain::wasm(project)?;
    let version = toolchain.version()?;
    let c = CCompiler::find_or_install(project)?;
    let inputs = Inputs {
        paths: &["Cargo.toml", "Cargo.lock", "core", "sim", "wasm", "package-lock.json"],
        facts: &[
            &version,
            &c.version,
            TARGET_FEATURES,
            INLINING,
            UNSWITCHING,
            &toolchain.flags().concat(),
            &OPTIMIZER_FLAGS.concat(),
        ],
    };
    let outputs: Vec<String> = MODULES
        .iter()
        .flat_map(|Module { name, .. }| {
            [".js", ".d.ts", "_bg.wasm"].map(|ending| format!("{MODULES_FOLDER}/{name}{ending}"))
        })
        .collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    project.steps.when_changed("engine", &inputs, &outputs, || {
        let compiled = compile(project, toolchain, &c)?;
        let folder = project.root.join(MODULES_FOLDER);
        let bound = project.root.join(".build/wasm-bindgen");
        for folder in [&bound, &folder] {
            if folder.exists() {
                fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            }
            fs::create_dir_all(folder)?;
        }
        for module in MODULES {
            let compiled = compiled.join(module.package.replace('-', "_")).with_extension("wasm");
            finish(project, module, &compiled, &bound, &folder)?;
        }
        Ok(())
    })
}

/// Compiles the crates of the modules; returns the folder with what came of it.
fn compile(project: &Project, toolchain: Toolchain, c: &CCompiler) -> Result<PathBuf> {
    let (mut cargo, target_dir) = toolchain.cargo_build(&project.root);
    // Names of files in panic messages are the same on every machine.
    let root = project.root.display();
    let mut flags = format!("{TARGET_FEATURES} {INLINING} {UNSWITCHING} --remap-path-prefix={root}=/ethertab");
    for flag in toolchain.flags() {
        flags += &format!(" {flag}");
    }
    if let Some(home) = std::env::home_dir() {
        let home = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
        flags += &format!(" --remap-path-prefix={}=/cargo", home.display());
    }
    cargo.env("RUSTFLAGS", flags).envs(c.variables()).args(["--profile", "wasm"]);
    for module in MODULES {
        cargo.args(["--package", module.package]);
    }
    project.steps.command("wasm", "cargo build (the WebAssembly modules, profile wasm)", &mut cargo)?;
    Ok(target_dir.join(toolchain::TARGET).join("wasm"))
}

/// Makes of a compiled module what is published: its bindings, and the module optimised, in `folder`.
fn finish(project: &Project, module: &Module, compiled: &Path, bound: &Path, folder: &Path) -> Result<()> {
    let name = module.name;
    let file = format!("{name}_bg.wasm");
    project.steps.work("wasm-bindgen", &format!("bindings of {name} to {MODULES_FOLDER}"), || {
        bind(compiled, name, bound, folder)
    })?;
    let target = folder.join(&file);
    let mut optimizer = Command::new("node");
    optimizer
        .current_dir(&project.root)
        .arg("node_modules/binaryen/bin/wasm-opt")
        .args(OPTIMIZER_FLAGS)
        // A trap's stack has numbers of functions, "wasm-function[12]": their names, as "12:NAME".
        .arg(format!("--symbolmap={}", bound.join(name).with_extension("symbols").display()))
        .arg(bound.join(&file))
        .arg("-o")
        .arg(&target);
    project.steps.command("wasm-opt", &format!("wasm-opt -O3 {file}"), &mut optimizer)?;
    let size = |path: &Path| fs::metadata(path).map(|file| file.len() / 1024);
    let (before, after) = (size(compiled)?, size(&target)?);
    project.steps.note(name, &format!("{before} KiB from rustc, {after} KiB in {MODULES_FOLDER}/{file}"));
    Ok(())
}

/// Generates the bindings in `bound`, for the target whose state is in a function
/// (`pkg/scripts/bindings.mjs` says why), and copies all but the module, which wasm-opt will
/// write, to `folder`.
fn bind(compiled: &Path, name: &str, bound: &Path, folder: &Path) -> Result<()> {
    Bindgen::new().input_path(compiled).no_modules(true)?.typescript(true).out_name(name).generate(bound)?;
    for file in [format!("{name}.js"), format!("{name}.d.ts"), format!("{name}_bg.wasm.d.ts")] {
        fs::copy(bound.join(&file), folder.join(&file)).with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(())
}

/// Builds the Linux guest and its saved states, and returns whether it is there. Where it cannot be built that is said,
/// and an error only with `CI=true`.
pub(crate) fn guest(project: &Project) -> Result<bool> {
    is_there(project, build_guest(project))
}

/// The same with the programs that tests give to it.
pub(crate) fn guest_for_tests(project: &Project) -> Result<bool> {
    is_there(project, build_guest(project).and_then(|()| build_programs(project)))
}

fn is_there(project: &Project, built: Result<()>) -> Result<bool> {
    match built {
        Err(error) if !project.ci => {
            project.steps.note("guest", &format!("no Linux guest, going on without: {error:#}"));
            Ok(false)
        }
        other => other.map(|()| true),
    }
}

fn build_guest(project: &Project) -> Result<()> {
    setup::npm(project)?;
    let inputs = Inputs { paths: &["examples/v86/guest", "examples/v86/package.json"], facts: &[] };
    let image = format!("{GUEST_FOLDER}/bzImage");
    project.steps.when_changed("guest", &inputs, &[&image], || {
        if !setup::is_debian() {
            bail!("it is made of Debian packages, by a script that needs Debian");
        }
        let mut script = Command::new("sh");
        script.current_dir(&project.root).args(["examples/v86/guest/build.sh", GUEST_FOLDER]);
        project.steps.command("guest", "build.sh (Linux from Debian packages)", &mut script)?;
        let mut snapshot = Command::new("node");
        snapshot.current_dir(&project.root).args(["--liftoff-only", "examples/v86/guest/snapshot.mjs", GUEST_FOLDER]);
        project.steps.command("guest-state", "booting the guest to save its state", &mut snapshot)
    })
}

/// An image with sshd, OpenSSL, curl, Redis and Mosquitto, whose programs a test gives to the guest: in the guest's own image they would make all pages that load it larger.
fn build_programs(project: &Project) -> Result<()> {
    let inputs = Inputs { paths: &["examples/v86/guest"], facts: &PROGRAMS };
    let image = format!("{PROGRAMS_FOLDER}/initrd.gz");
    project.steps.when_changed("guest-programs", &inputs, &[&image], || {
        let cache = project.root.join(GUEST_FOLDER).join(".cache/archives");
        if cache.is_dir() {
            // Most packages are the same.
            copy_folder(&cache, &project.root.join(PROGRAMS_FOLDER).join(".cache/archives"))?;
        }
        let mut script = Command::new("sh");
        script.current_dir(&project.root).args(["examples/v86/guest/build.sh", PROGRAMS_FOLDER]).args(PROGRAMS);
        project.steps.command("guest-programs", "build.sh (sshd, OpenSSL, curl, Redis, Mosquitto)", &mut script)
    })
}

/// Copies a folder with all that is in it.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
