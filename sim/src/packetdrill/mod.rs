//! An interpreter of packetdrill's language: scripts of packets, system calls and assertions, in virtual time.
//!
//! A script drives one [`Stack`](ethertab::Stack): its `<` packets go to the stack, its `>` packets are expected from it, its
//! calls become calls of the stack's socket functions, and time passes only between events, so that a run takes
//! milliseconds and is the same every time. The grammar is that of packetdrill, with what the suites of Linux and FreeBSD
//! have added.
//!
//! ```
//! use ethertab_sim::packetdrill::{Settings, run};
//!
//! let script = "
//!     0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
//!    +0 bind(3, ..., ...) = 0
//!    +0 listen(3, 1) = 0
//!    +0 < S 0:0(0) win 65535 <mss 1000>
//!    +0 > S. 0:0(0) ack 1 <...>
//!   +.1 < . 1:1(0) ack 1 win 65535
//!    +0 accept(3, ..., ...) = 4
//!    +0 write(4, ..., 1500) = 1500
//!    +0 > P. 1:1501(1500) ack 1
//! ";
//! let report = run(script, &Settings::default(), &mut |_| Err(std::io::ErrorKind::NotFound.into()));
//! assert_eq!(report.failure, None);
//! ```
//!
//! The way through the modules: `lexer` and `parser` make an [`ast::Script`]; `run` takes its events one by one; `traffic`
//! and `flow` turn the script's numbers into those on the wire, `compare` says whether a packet is the expected one; `kernel`
//! makes the calls; `host` holds the stack, its wire and its clock; `knobs` knows what of sysctls, socket options and
//! `TCP_INFO` the stack has.

pub mod ast;
mod code;
mod compare;
mod dialect;
mod encapsulation;
mod error_queue;
mod fast_open;
mod flow;
mod host;
mod icmp;
mod kernel;
mod knobs;
mod lexer;
pub mod options;
mod packet_parser;
mod parser;
mod pipe;
mod poll;
mod receive_queue;
mod run;
mod send_queue;
mod settings;
mod shell;
mod stream;
mod symbols;
mod traffic;
mod wire;

pub use dialect::Dialect;
pub use settings::{IpVersion, Settings};

/// A script that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What should have been there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl ScriptError {
    fn new(line: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        ScriptError { line, expected: expected.into(), found: found.into() }
    }
}

/// Why a script has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The line of the event, from 1.
    pub line: usize,
    /// What the script expects.
    pub expected: String,
    /// What happened.
    pub got: String,
}

impl Failure {
    fn new(line: usize, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Failure { line, expected: expected.into(), got: got.into() }
    }
}

impl From<ScriptError> for Failure {
    fn from(ScriptError { line, expected, found }: ScriptError) -> Self {
        Failure { line, expected, got: found }
    }
}

/// How a script went.
#[derive(Clone, Debug)]
pub struct Report {
    /// The first thing that was not as the script says; none if it passed.
    pub failure: Option<Failure>,
    /// What a loose run has let pass: line and reason.
    pub notes: Vec<(usize, String)>,
    /// What the script's code has printed.
    pub printed: Vec<String>,
    /// Outbound packets, results and assertions that were checked.
    pub checks: usize,
    /// What passed the wire, as a pcapng file, if the script has failed.
    pub pcapng: Option<Vec<u8>>,
}

/// Parses a script. Beside the settings' symbols, `IPV4` or `IPV6` is defined, by the family of the packets, `FreeBSD` in scripts
/// for it (unless `STANDARD` is asked for), and the names that suites have for the error queue's level and type.
///
/// # Errors
/// The first thing that is not of the language.
pub fn parse(text: &str, settings: &Settings) -> Result<ast::Script, ScriptError> {
    let mut symbols = settings.symbols.clone();
    if let Some(symbol) = Dialect::of_text(text).symbol().filter(|_| !symbols.contains_key("STANDARD")) {
        symbols.entry(symbol.into()).or_default();
    }
    parser::parse(text, &symbols, settings.ip_version)
}

/// Runs a script. `load` reads the files that its commands name, relative to the script.
///
/// The settings are those of the command line; they win over what the script sets for itself, except for the IP version,
/// since a script that names one is about that one.
pub fn run(text: &str, settings: &Settings, load: &mut dyn FnMut(&str) -> std::io::Result<String>) -> Report {
    let unrun = |failure| Report { failure, notes: Vec::new(), printed: Vec::new(), checks: 0, pcapng: None };
    let (script, settings) = match prepare(text, settings) {
        Ok((_, settings)) if settings.dry_run => return unrun(None),
        Ok(prepared) => prepared,
        Err(failure) => return unrun(Some(failure)),
    };
    match run::Run::new(settings, &script, load) {
        Ok(run) => run.run(&script),
        Err(failure) => unrun(Some(failure)),
    }
}

fn prepare(text: &str, given: &Settings) -> Result<(ast::Script, Settings), Failure> {
    let mut given = given.clone();
    if given.ip_version == IpVersion::V4 && text.contains("AF_INET6") && !text.contains("AF_INET,") {
        given.ip_version = IpVersion::V6;
    }
    let script = parse(text, &given)?;
    let mut settings =
        Settings { loose: given.loose, ignore_unexpected: given.ignore_unexpected, ..Settings::default() };
    for (name, value) in &script.options {
        settings.set(name, value.as_deref()).map_err(|expected| Failure::new(1, expected, "it"))?;
    }
    let (defaults, own_version) = (Settings::default(), script.options.iter().any(|(name, _)| name == "ip_version"));
    // What differs from the default was given.
    macro_rules! given_wins {
        ($($field:ident),*) => {
            $(if given.$field != defaults.$field { settings.$field = given.$field.clone(); })*
        };
    }
    given_wins!(local_ip, remote_ip, bind_port, connect_port, mtu, mss, tolerance_usecs, tolerance_percent);
    given_wins!(tcp_ts_tick_usecs, tcp_ts_ecr_scaled, strict_segments, calls_may_fail, packets_may_differ);
    if !own_version {
        settings.ip_version = given.ip_version;
    }
    settings.symbols.extend(given.symbols);
    settings.dialect = match Dialect::of_text(text) {
        Dialect::Linux => Dialect::of_script(&script),
        dialect => dialect,
    };
    Ok((script, settings))
}
