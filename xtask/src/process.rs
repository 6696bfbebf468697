//! Running a command to its end, with its output in a log file and its latest line at hand for a progress display.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How often a running command is looked after.
const TICK: Duration = Duration::from_millis(100);

/// The process group of the command that runs now, for Ctrl-C.
static RUNNING: Mutex<Option<u32>> = Mutex::new(None);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Everything it printed, standard output and standard error in the order in which they came.
    pub(crate) output: String,
    /// Its exit status; `None` when it was ended for exceeding its time limit.
    pub(crate) status: Option<ExitStatus>,
}

impl Finished {
    /// Whether it ended by itself with status 0.
    pub(crate) fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// How it ended, to follow its name in a message.
    pub(crate) fn verdict(&self) -> String {
        match self.status {
            Some(status) => format!("ended with {status}"),
            None => "was ended: it exceeded its time limit".to_owned(),
        }
    }
}

/// Runs `command` without standard input, writes its output to `log` and calls `tick` with its latest line ten times a
/// second. The command leads a process group of its own, so that all its descendants end with it at the time limit
/// and at Ctrl-C.
pub(crate) fn run(command: &mut Command, log: &Path, limit: Duration, mut tick: impl FnMut(&str)) -> Result<Finished> {
    end_group_at_interrupt();
    let (reader, writer) = std::io::pipe().context("no pipe for the output of a command")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut log_file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    // The command holds the writing ends of the pipe: while it does, the reader sees no end of file.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(child.id());

    let (lines, received) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });

    let started = Instant::now();
    let mut output = String::new();
    let mut latest = String::new();
    let mut exited = None;
    let mut ticked = started;
    loop {
        match received.recv_timeout(TICK) {
            Ok(line) => {
                log_file.write_all(line.as_bytes())?;
                if !line.trim().is_empty() {
                    latest.clear();
                    latest.push_str(line.trim());
                }
                output.push_str(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            // A descendant may keep the pipe open after the command itself has ended.
            Err(RecvTimeoutError::Timeout) if exited.is_some() => break,
            Err(RecvTimeoutError::Timeout) => exited = child.try_wait()?,
        }
        if started.elapsed() > limit {
            end_group(child.id());
            child.wait()?;
            return Ok(finish(output, None));
        }
        if ticked.elapsed() >= TICK {
            tick(&latest);
            ticked = Instant::now();
        }
    }
    let status = wait(child, limit.saturating_sub(started.elapsed()))?;
    Ok(finish(output, status))
}

/// Waits for a command that has closed its output, for `limit` at most.
fn wait(mut child: Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            end_group(child.id());
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(TICK);
    }
}

fn finish(output: String, status: Option<ExitStatus>) -> Finished {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    Finished { output, status }
}

/// Has Ctrl-C (and SIGTERM) end the running command's group before this program.
fn end_group_at_interrupt() {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        let installed = ctrlc::set_handler(|| {
            if let Some(group) = *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) {
                end_group(group);
            }
            std::process::exit(130);
        });
        if let Err(error) = installed {
            eprintln!("warning: Ctrl-C will not reach the commands that run: {error}");
        }
    });
}

#[cfg(unix)]
fn end_group(leader: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // An error means that the group has ended already.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(not(unix))]
fn end_group(_leader: u32) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Finished {
        let log = std::env::temp_dir().join(format!("xtask-process-{}-{}", std::process::id(), script.len()));
        let finished = run(Command::new("sh").args(["-c", script]), &log, limit, |_| ()).unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), finished.output);
        std::fs::remove_file(&log).unwrap();
        finished
    }

    #[test]
    fn both_outputs_are_collected_with_the_status() {
        let finished = shell("echo one; echo two >&2; exit 3", Duration::from_secs(60));
        assert_eq!(finished.output, "one\ntwo\n");
        assert_eq!(finished.status.unwrap().code(), Some(3));
        assert!(!finished.success());
    }

    #[test]
    fn a_command_is_ended_at_its_time_limit_with_its_descendants() {
        let started = Instant::now();
        let finished = shell("sleep 600 & echo begun; sleep 601", Duration::from_millis(500));
        assert_eq!(finished.output, "begun\n");
        assert!(finished.status.is_none());
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_descendant_that_keeps_the_output_open_does_not_hold_up_the_end() {
        let finished = shell("sleep 20 & echo done", Duration::from_secs(60));
        assert!(finished.success());
        assert_eq!(finished.output, "done\n");
    }
}
