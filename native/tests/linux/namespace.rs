//! Network namespaces, and programs that run in them.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use crate::Outcome;

/// Runs `test` in a thread in a network namespace of its own. Threads and programs that it starts are in there too. The
/// namespace has no name: it ends with the last of them.
pub(crate) fn in_namespace(test: impl FnOnce() -> Outcome + Send) -> Outcome {
    in_thread(|| {
        begin_namespace()?;
        test()
    })
}

/// A network namespace besides that of the test's thread. It ends with this value, if no thread or program is in it any more.
#[derive(Debug)]
pub(crate) struct Namespace(File);

impl Namespace {
    pub(crate) fn new() -> Outcome<Self> {
        let here = move || {
            begin_namespace()?;
            Ok(Namespace(File::open("/proc/thread-self/ns/net")?))
        };
        in_thread(here)
    }

    /// Runs something in a thread that is in the namespace, as the programs are that it starts.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
        in_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            work()
        })
    }

    /// [`run`] in the namespace.
    pub(crate) fn run(&self, line: &str) -> Outcome<String> {
        self.enter(|| run(line))
    }

    /// What `ip link` knows it by.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Takes the present thread into a new namespace. Its own ports are none of traceroute's, which the judge would remark on.
fn begin_namespace() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNET)?;
    run("ip link set lo up")?;
    Ok(fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 60999")?)
}

fn in_thread<T: Send>(work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// Bounds the retransmission timeouts of Linux in the present namespace, where the kernel can (6.15 and later), without bounding how
/// long it tries: it would give up after 15 of the longest timeouts (`tcp_retries2`), counted from the first loss of an episode.
pub(crate) fn limit_timeouts(most: Duration) -> Outcome {
    let settings = Path::new("/proc/sys/net/ipv4");
    fs::write(settings.join("tcp_retries2"), "255")?;
    match fs::write(settings.join("tcp_rto_max_ms"), most.as_millis().to_string()) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Longer than any program here runs.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a program, with arguments separated by spaces, and returns what it printed; it is killed after [`LIMIT`].
pub(crate) fn output(line: &str) -> Outcome<Output> {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", &LIMIT.as_secs().to_string()]).args(line.split_whitespace());
    Ok(command.env("LC_ALL", "C").output()?)
}

/// The line of a ping that fails without an answer. One for each run: after several, iputils' `ping` waits for the last answer no longer than for the others
/// before, or than between two, whatever `-W` says, and a busy machine may not be that fast.
pub(crate) fn one_ping(options: &str) -> String {
    format!("ping -n -c 1 -W 10 {options}")
}

/// [`output`] of a program that must end well: what it printed to its standard output.
pub(crate) fn run(line: &str) -> Outcome<String> {
    let output = output(line)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = error.lines().chain(text.lines()).take(10).collect();
        return Err(format!("{line}: {}\n{}", output.status, lines.join("\n")).into());
    }
    Ok(text)
}
