//! Runs packetdrill scripts against the stack in virtual time. Prints a line for each script: `ok PATH`, or
//! `FAIL PATH:LINE: expected ..., got ...`.

use clap::Parser;
use ethertab_sim::packetdrill::{IpVersion, Report, Settings, run};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs packetdrill scripts against the stack in virtual time
#[derive(Parser)]
#[command(name = "packetdrill", rename_all = "snake_case")]
struct Arguments {
    /// ipv4, ipv4-mapped-ipv6 or ipv6, for scripts that do not say themselves
    #[arg(long)]
    ip_version: Option<String>,
    /// Address of the stack
    #[arg(long)]
    local_ip: Option<String>,
    /// Address of the script
    #[arg(long)]
    remote_ip: Option<String>,
    /// Largest IP packet in bytes
    #[arg(long)]
    mtu: Option<String>,
    /// How much a time may be missed by, in microseconds
    #[arg(long)]
    tolerance_usecs: Option<String>,
    /// How much a time may be missed by, in percent of the wait before it
    #[arg(long)]
    tolerance_percent: Option<String>,
    /// SYMBOL or SYMBOL=VALUE, for #ifdef and in place of words
    #[arg(long, short = 'D')]
    define: Vec<String>,
    /// Ignore the order of options, padding, PSH and outbound windows; note what the stack cannot be set to
    #[arg(long)]
    loose: bool,
    /// Ignore what is sent after the last packet that a script expects, as the original does
    #[arg(long)]
    ignore_unexpected: bool,
    /// Microseconds of a tick of the stack's timestamp clock; 0 leaves timestamps unchecked
    #[arg(long)]
    tcp_ts_tick_usecs: Option<String>,
    /// Map timestamp echoes that were never seen by their distance to the first
    #[arg(long)]
    tcp_ts_ecr_scaled: bool,
    /// Let a script's segment match one segment only
    #[arg(long)]
    strict_segments: bool,
    /// Port that bind takes
    #[arg(long)]
    bind_port: Option<String>,
    /// Port that connect goes to
    #[arg(long)]
    connect_port: Option<String>,
    /// Folder for a capture of each script that fails
    #[arg(long, value_name = "DIR")]
    pcapng: Option<PathBuf>,
    /// Only parse
    #[arg(long, alias = "dry_run")]
    parse: bool,
    /// Size of the segments that a large packet of a script counts as
    #[arg(long)]
    mss: Option<String>,
    /// What may differ without failing a script: packet, syscall or both
    #[arg(long)]
    non_fatal: Option<String>,
    /// Print what scripts print and what a loose run lets pass
    #[arg(long, short)]
    verbose: bool,
    /// For packetdrill's sake: these name real devices and machines, of which there are none
    #[arg(long, hide = true)]
    send_omit_free: bool,
    #[arg(long, hide = true)]
    is_anyip: bool,
    #[arg(long, hide = true)]
    persistent_tun_dev: bool,
    #[arg(long, hide = true)]
    debug: bool,
    #[arg(long, hide = true)]
    so_filename: Option<String>,
    #[arg(long, hide = true)]
    so_flags: Option<String>,
    #[arg(long, hide = true)]
    gateway_ip: Option<String>,
    #[arg(long, hide = true)]
    netmask_ip: Option<String>,
    #[arg(long, hide = true)]
    speed: Option<String>,
    #[arg(long, hide = true)]
    init_scripts: Option<String>,
    #[arg(long, hide = true)]
    wire_client: bool,
    #[arg(long, hide = true)]
    wire_server: bool,
    #[arg(long, hide = true)]
    wire_server_ip: Option<String>,
    #[arg(long, hide = true)]
    wire_server_at: Option<String>,
    #[arg(long, hide = true)]
    wire_server_port: Option<String>,
    #[arg(long, hide = true)]
    wire_client_dev: Option<String>,
    #[arg(long, hide = true)]
    wire_server_dev: Option<String>,
    /// Scripts, and folders with scripts (*.pkt)
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,
}

impl Arguments {
    fn settings(&self) -> Result<Settings, String> {
        let mut settings =
            Settings { loose: self.loose, ignore_unexpected: self.ignore_unexpected, ..Settings::default() };
        let given = [
            ("ip_version", &self.ip_version),
            ("local_ip", &self.local_ip),
            ("remote_ip", &self.remote_ip),
            ("mtu", &self.mtu),
            ("mss", &self.mss),
            ("non_fatal", &self.non_fatal),
            ("tolerance_usecs", &self.tolerance_usecs),
            ("tolerance_percent", &self.tolerance_percent),
            ("tcp_ts_tick_usecs", &self.tcp_ts_tick_usecs),
            ("bind_port", &self.bind_port),
            ("connect_port", &self.connect_port),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                settings.set(name, Some(value))?;
            }
        }
        for definition in &self.define {
            settings.set("define", Some(definition))?;
        }
        settings.tcp_ts_ecr_scaled = self.tcp_ts_ecr_scaled;
        settings.strict_segments = self.strict_segments;
        Ok(settings)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run_all(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("packetdrill: {message}");
            ExitCode::from(2)
        }
    }
}

/// Runs what the arguments name; whether all of it passed.
fn run_all(arguments: &Arguments) -> Result<bool, String> {
    let settings = arguments.settings().map_err(|expected| format!("expected {expected}"))?;
    let mut scripts = Vec::new();
    for path in &arguments.paths {
        collect(path, &mut scripts).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if scripts.is_empty() {
        return Err("no scripts (*.pkt) there".into());
    }
    let (mut passed, mut failed, mut notes) = (0, 0, 0);
    for path in &scripts {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let settings = settings_for(path, &settings, arguments.ip_version.is_none());
        let report = if arguments.parse { parse_only(&text, &settings) } else { run_one(path, &text, &settings) };
        match &report.failure {
            None => {
                passed += 1;
                println!("ok {}", path.display());
            }
            Some(failure) => {
                failed += 1;
                println!(
                    "FAIL {}:{}: expected {}, got {}",
                    path.display(),
                    failure.line,
                    failure.expected,
                    failure.got
                );
            }
        }
        notes += report.notes.len();
        if arguments.verbose {
            report.printed.iter().for_each(|text| println!("    {text}"));
            report.notes.iter().for_each(|(line, text)| println!("    note on line {line}: {text}"));
        }
        if let (Some(folder), Some(capture)) = (&arguments.pcapng, &report.pcapng) {
            keep_capture(folder, path, capture).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
    }
    let notes = if arguments.loose { format!(", {notes} notes") } else { String::new() };
    println!("{passed} passed, {failed} failed{notes}");
    Ok(failed == 0)
}

/// The settings of one script. As where packetdrill runs suites, a name that ends in `v6` is that of a script about IPv6.
fn settings_for(path: &Path, settings: &Settings, version_is_free: bool) -> Settings {
    let is_about_v6 = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("v6"));
    match version_is_free && is_about_v6 {
        true => Settings { ip_version: IpVersion::V6, ..settings.clone() },
        false => settings.clone(),
    }
}

fn run_one(path: &Path, text: &str, settings: &Settings) -> Report {
    let folder = path.parent().unwrap_or(Path::new(""));
    run(text, settings, &mut |name| read_named(folder, name))
}

/// A file that a script in `folder` names. Suites share a folder `common`, which lies further up where they are not complete.
fn read_named(folder: &Path, name: &str) -> io::Result<String> {
    let file = Path::new(name).file_name().unwrap_or_default();
    let shared = folder.ancestors().map(|above| above.join("common").join(file));
    fs::read_to_string(folder.join(name)).or_else(|missing| {
        let found = shared.filter(|path| path.is_file()).find_map(|path| fs::read_to_string(path).ok());
        found.ok_or(missing)
    })
}

fn parse_only(text: &str, settings: &Settings) -> Report {
    let failure = ethertab_sim::packetdrill::parse(text, settings).err().map(Into::into);
    Report { failure, notes: Vec::new(), printed: Vec::new(), checks: 0, pcapng: None }
}

/// The script itself, or all scripts below a folder, sorted.
fn collect(path: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        out.push(path.to_path_buf());
        return Ok(());
    }
    let mut entries: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() || entry.extension().is_some_and(|extension| extension == "pkt") {
            collect(&entry, out)?;
        }
    }
    Ok(())
}

/// Writes a capture under a name that tells the script.
fn keep_capture(folder: &Path, script: &Path, capture: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let name: Vec<String> = script
        .components()
        .filter(|part| matches!(part, std::path::Component::Normal(_)))
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    fs::write(folder.join(format!("{}.pcapng", name.join("_"))), capture)
}
