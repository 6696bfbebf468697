//! What comes from outside: npm packages, Debian packages, other versions of Node. The WebAssembly target is found by
//! [`toolchain`], the C compiler by [`CCompiler`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::c_compiler::CCompiler;
use crate::step::Inputs;
use crate::{Project, toolchain};

/// A Debian package and the program for whose sake it is wanted.
struct Package {
    name: &'static str,
    program: &'static str,
    purpose: &'static str,
}

/// What the tests and the guest's build use.
const PACKAGES: &[Package] = &[
    Package { name: "chromium", program: "chromium", purpose: "tests in a browser" },
    Package { name: "firefox-esr", program: "firefox-esr", purpose: "tests in a browser" },
    Package { name: "tshark", program: "tshark", purpose: "tests that read captures" },
    Package { name: "iproute2", program: "ip", purpose: "tests against Linux" },
    Package { name: "iputils-ping", program: "ping", purpose: "tests against Linux" },
    Package { name: "iputils-tracepath", program: "tracepath", purpose: "tests against Linux" },
    Package { name: "traceroute", program: "traceroute", purpose: "tests against Linux" },
    Package { name: "iperf3", program: "iperf3", purpose: "tests against Linux" },
    Package { name: "curl", program: "curl", purpose: "tests against Linux" },
    Package { name: "nginx-light", program: "nginx", purpose: "tests against Linux" },
    Package { name: "nmap", program: "nmap", purpose: "tests against Linux" },
    Package { name: "hping3", program: "hping3", purpose: "tests against Linux" },
    Package { name: "python3-scapy", program: "scapy", purpose: "tests against Linux" },
    Package { name: "busybox", program: "busybox", purpose: "tests against Linux" },
    Package { name: "dnsmasq-base", program: "dnsmasq", purpose: "tests against Linux" },
    Package { name: "radvd", program: "radvd", purpose: "tests against Linux" },
    Package { name: "udhcpc", program: "udhcpc", purpose: "tests against Linux" },
    Package { name: "isc-dhcp-client", program: "dhclient", purpose: "tests against Linux" },
    Package { name: "dhcpcd-base", program: "dhcpcd", purpose: "tests against Linux" },
    Package { name: "bind9-dnsutils", program: "dig", purpose: "tests against Linux" },
    Package { name: "ntpsec-ntpdig", program: "ntpdig", purpose: "tests against Linux" },
    Package { name: "avahi-daemon", program: "avahi-daemon", purpose: "tests against Linux" },
    Package { name: "avahi-utils", program: "avahi-browse", purpose: "tests against Linux" },
    Package { name: "dbus", program: "dbus-daemon", purpose: "tests against Linux" },
    Package { name: "chrony", program: "chronyd", purpose: "tests against Linux" },
    Package { name: "nftables", program: "nft", purpose: "the benchmark of Linux's forwarding" },
    Package { name: "postgresql", program: "pg_createcluster", purpose: "tests of libraries over ethertab/node" },
    Package { name: "qemu-system-x86", program: "qemu-system-x86_64", purpose: "tests of ports" },
    Package { name: "passt", program: "passt", purpose: "tests of ports" },
    Package { name: "cpio", program: "cpio", purpose: "the Linux guest" },
    Package { name: "binutils", program: "readelf", purpose: "the Linux guest" },
];

/// `cargo xtask setup`.
pub(crate) fn everything(project: &Project) -> Result<()> {
    toolchain::wasm(project)?;
    CCompiler::find_or_install(project)?;
    npm(project)?;
    runtimes(project)?;
    bundlers(project)?;
    judges(project)?;
    debian_packages(project)
}

/// Installs the npm packages of the lock file.
pub(crate) fn npm(project: &Project) -> Result<()> {
    let inputs = Inputs { paths: &["package.json", "package-lock.json", ".npmrc"], facts: &[&node_version("node")?] };
    project.steps.when_changed("npm", &inputs, &["node_modules/.package-lock.json"], || {
        project.steps.command("npm", "npm ci", npm_command(project).arg("ci"))
    })
}

/// Installs what the JavaScript tests run on besides the installed Node: other versions of it, Deno and Bun. They have a folder of
/// their own, since a `node` in the workspace's `node_modules/.bin` would take the place of the installed one in every npm
/// script.
pub(crate) fn runtimes(project: &Project) -> Result<()> {
    let installed: Vec<String> = NODE_VERSIONS.iter().map(|major| node_folder(*major) + "/node").collect();
    let outputs: Vec<&str> = installed.iter().map(String::as_str).collect();
    npm_apart(project, "runtimes", "Node 20, 22 and 24, Deno and Bun for the tests", "xtask/node", &outputs)
}

/// Installs the bundlers that the package is tried with, which only their example needs.
pub(crate) fn bundlers(project: &Project) -> Result<()> {
    let folder = "examples/bundlers";
    npm_apart(project, "bundlers", "bundlers for the tests", folder, &["examples/bundlers/node_modules/vite"])
}

/// Installs what judges the packed package.
pub(crate) fn judges(project: &Project) -> Result<()> {
    npm_apart(project, "judges", "judges of the packed package", "xtask/judges", &["xtask/judges/node_modules/publint"])
}

/// Installs the npm packages of a folder that has a lock file of its own.
fn npm_apart(project: &Project, name: &str, what: &str, folder: &str, outputs: &[&str]) -> Result<()> {
    let files = ["package.json", "package-lock.json"].map(|file| format!("{folder}/{file}"));
    let paths: Vec<&str> = files.iter().map(String::as_str).collect();
    project.steps.when_changed(name, &Inputs { paths: &paths, facts: &[] }, outputs, || {
        let mut command = npm_command(project);
        let what = format!("npm ci ({what})");
        project.steps.command(name, &what, command.arg("ci").current_dir(project.root.join(folder)))
    })
}

/// The major versions of Node that the package supports.
pub(crate) const NODE_VERSIONS: &[u32] = &[20, 22, 24];

/// The folder with the program `node` of this major version, from the root.
pub(crate) fn node_folder(major: u32) -> String {
    format!("xtask/node/node_modules/node-{major}/bin")
}

/// The search path with `folder` before it.
pub(crate) fn path_with(folder: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}

/// What a program `node` says of its version, as in `v20.20.2`.
pub(crate) fn node_version(node: impl AsRef<Path>) -> Result<String> {
    let output = Command::new(node.as_ref())
        .arg("--version")
        .output()
        .with_context(|| format!("{} does not run: install Node 20 or later", node.as_ref().display()))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// `npm`, in the root.
pub(crate) fn npm_command(project: &Project) -> Command {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.current_dir(&project.root);
    command
}

/// Installs the Debian packages that are missing, or prints the line that does.
pub(crate) fn debian_packages(project: &Project) -> Result<()> {
    let name = "packages";
    let missing: Vec<&Package> = PACKAGES.iter().filter(|package| find_program(package.program).is_none()).collect();
    if missing.is_empty() {
        project.steps.note(name, "all installed, skipped");
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if is_debian() && is_root() && project.install {
        return apt_install(project, &names);
    }
    for package in &missing {
        project.steps.note(name, &format!("{} is missing, for {}", package.program, package.purpose));
    }
    let line = if is_debian() {
        format!("to install: {}", apt_line(&names))
    } else {
        format!("install what your system calls {}", names.join(", "))
    };
    project.steps.note(name, &line);
    Ok(())
}

/// Installs Debian packages, as root.
pub(crate) fn apt_install(project: &Project, packages: &[&str]) -> Result<()> {
    let apt_get = || {
        let mut command = Command::new("apt-get");
        // Another apt may be at work on the machine: wait for it.
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=600"]);
        command
    };
    let steps = &project.steps;
    steps.command("apt-update", "apt-get update", apt_get().arg("update"))?;
    steps.command(
        "apt-install",
        &format!("apt-get install {}", packages.join(" ")),
        apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages),
    )
}

/// The line that installs Debian packages, for people to type.
pub(crate) fn apt_line(packages: &[&str]) -> String {
    let sudo = if is_root() { "" } else { "sudo " };
    format!("{sudo}apt-get update && {sudo}apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Where the search path has a program of this name.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether this is Debian or a descendant.
pub(crate) fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists()
}

/// Whether this program may install packages.
pub(crate) fn is_root() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(not(unix))]
    return false;
}
