//! Commands in backticks: not a shell, but the commands that scripts are known to use, by what they mean for a stack under
//! test.

use super::code::Environment;

/// What a command means here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Set a sysctl.
    Sysctl { name: String, value: String },
    /// Read a file of commands, relative to the script.
    Include(String),
    /// Let so many microseconds pass.
    Sleep(u64),
    /// Forget what is known of servers: `ip tcp_metrics flush`.
    ForgetServers,
    /// So many connections are in this state, or at least one if no number is asked for.
    Connections { state: String, count: Option<usize> },
    /// The connections in this state end: `tcpdrop -s`.
    Drop { state: String },
    /// A counter of the kernel, by its name in Linux, has this value since the last look, or any but 0.
    Counter { name: String, value: Option<u64> },
    /// From here on counters count.
    CountersReset,
    /// Properties of the route to the script's end.
    Route { mtu: Option<u16>, advertised_mss: Option<u16>, initial_window: Option<u8> },
    /// About what the simulated wire has not: queueing disciplines, offloads, modules.
    Nothing,
    /// Anything else.
    Unknown(String),
}

/// Splits a text into commands. Comments, and what a shell would do about them, are left out.
pub(super) fn commands(text: &str) -> Vec<Command> {
    let joined = text.replace("\\\n", " ");
    let mut out = Vec::new();
    for line in split(&joined) {
        let words = words(&line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Some(first) = words.first()
            && !first.starts_with('#')
        {
            command(&line, &words, &mut out);
        }
    }
    out
}

fn command(line: &str, words: &[&str], out: &mut Vec<Command>) {
    let comment = words.iter().position(|word| word.starts_with('#')).unwrap_or(words.len());
    let words = &words[..comment];
    // A redirection is about what people see.
    let end = words.iter().position(|word| word.starts_with('>') || word.starts_with("2>")).unwrap_or(words.len());
    match &words[..end] {
        ["sysctl", rest @ ..] => sysctl(rest, out),
        ["echo", value @ ..] if words.len() == end + 2 && words[end] == ">" => match proc_name(words[end + 1]) {
            Some(name) => out.push(Command::Sysctl { name, value: value.join(" ") }),
            None => out.push(Command::Unknown(line.into())),
        },
        // What set_sysctls.py writes to put everything back; the next script has a stack of its own.
        [script] if script.contains("sysctl_restore") => out.push(Command::Nothing),
        [script, rest @ ..] if script.ends_with("set_sysctls.py") => {
            for setting in rest {
                match setting.split_once('=').and_then(|(path, value)| Some((proc_name(path)?, value))) {
                    Some((name, value)) => out.push(Command::Sysctl { name, value: value.into() }),
                    None => out.push(Command::Unknown((*setting).into())),
                }
            }
        }
        ["." | "source" | "sh" | "bash", path] | [path] if path.ends_with(".sh") => {
            out.push(Command::Include((*path).into()));
        }
        ["sleep", time] => match time.parse::<f64>() {
            Ok(seconds) if (0.0..1e9).contains(&seconds) => out.push(Command::Sleep((seconds * 1e6) as u64)),
            _ => out.push(Command::Unknown(line.into())),
        },
        ["sockstat", ..] => out.push(connections(line)),
        ["tcpdrop", "-s", state] => out.push(Command::Drop { state: (*state).into() }),
        // A queueing discipline that lets nothing through.
        ["tc", .., "limit", "0"] => out.push(Command::Unknown(line.into())),
        ["grep", state, files @ ..] if files.contains(&"/proc/net/tcp") => out.push(proc_net_tcp(line, state)),
        ["nstat", ..] => out.push(counter(line)),
        // Files that a script makes for itself: those that it opens hold whatever it asks for.
        ["rm" | "/bin/rm" | "dd" | "/bin/dd" | "touch" | "truncate", ..] => out.push(Command::Nothing),
        ["ip", "tcp_metrics", "flush", ..] => out.push(Command::ForgetServers),
        ["ip", "route", "add" | "change" | "replace", rest @ ..]
        | ["ip", "-4" | "-6", "route", "add" | "change" | "replace", rest @ ..] => out.push(route(rest)),
        ["ip", "tcp_metrics" | "link" | "addr" | "route" | "-4" | "-6", ..]
        | ["tc" | "ethtool" | "ifconfig" | "kldload" | "kldstat" | "kldunload" | "set" | "true" | "sync", ..] => {
            out.push(Command::Nothing)
        }
        _ => out.push(Command::Unknown(line.into())),
    }
}

/// The end of `ip route add`: names with numbers, `mtu` perhaps with `lock` in between.
fn route(words: &[&str]) -> Command {
    fn after<T: std::str::FromStr>(words: &[&str], name: &str) -> Option<T> {
        let at = words.iter().position(|word| *word == name)? + 1;
        words.get(at..)?.iter().find(|word| **word != "lock")?.parse().ok()
    }
    Command::Route {
        mtu: after(words, "mtu"),
        advertised_mss: after(words, "advmss"),
        initial_window: after(words, "initcwnd"),
    }
}

fn sysctl(arguments: &[&str], out: &mut Vec<Command>) {
    for setting in arguments.iter().filter(|argument| !argument.starts_with('-')) {
        match setting.split_once('=') {
            Some((name, value)) => {
                let (name, value) = (name.trim().replace('/', "."), arithmetic(value.trim()));
                out.push(Command::Sysctl { name, value });
            }
            // A look at a value.
            None => out.push(Command::Nothing),
        }
    }
}

/// The knob behind a file: a sysctl, or a parameter of a kernel module.
fn proc_name(path: &str) -> Option<String> {
    if let Some(module) = path.strip_prefix("/sys/module/") {
        return Some(module.replace("/parameters/", "."));
    }
    path.strip_prefix("/proc/sys/").map(|name| name.replace('/', "."))
}

/// Replaces `$((...))` by its value.
fn arithmetic(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("$((") {
        let Some((inner, after)) = tail.split_once("))") else { break };
        out.push_str(before);
        match Environment::default().number(inner) {
            Ok(value) => out.push_str(&value.to_string()),
            Err(_) => out.push_str(inner),
        }
        rest = after;
    }
    out + rest
}

/// `sockstat ... | grep NAME | grep -c STATE | grep 1`
fn connections(line: &str) -> Command {
    const STATES: [&str; 11] = [
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RCVD",
        "FIN_WAIT_1",
        "FIN_WAIT_2",
        "CLOSE_WAIT",
        "LAST_ACK",
        "TIME_WAIT",
        "CLOSING",
        "LISTEN",
        "CLOSED",
    ];
    let (mut state, mut count) = (None, None);
    for stage in line.split('|').skip(1) {
        let words = words(stage);
        let Some(pattern) = words.last().filter(|_| words.first().is_some_and(|word| word == "grep")) else { continue };
        if let Some(found) = STATES.iter().find(|state| *state == pattern) {
            state = Some((*found).to_string());
        } else if let Ok(number) = pattern.parse() {
            count = Some(number);
        }
    }
    match state {
        Some(state) => Command::Connections { state, count },
        None => Command::Unknown(line.into()),
    }
}

/// `grep " 0A " /proc/net/tcp | grep ":1F90"`: states are numbers there.
fn proc_net_tcp(line: &str, state: &str) -> Command {
    const STATES: [&str; 11] = [
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RCVD",
        "FIN_WAIT_1",
        "FIN_WAIT_2",
        "TIME_WAIT",
        "CLOSED",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "CLOSING",
    ];
    let number = usize::from_str_radix(state.trim(), 16).ok();
    match number.and_then(|number| STATES.get(number.wrapping_sub(1))) {
        Some(state) => Command::Connections { state: (*state).into(), count: None },
        None => Command::Unknown(line.into()),
    }
}

/// `nstat -n`, or `nstat | grep NAME | grep -q " 3 "`
fn counter(line: &str) -> Command {
    let mut patterns = line.split('|').skip(1).map(|stage| {
        let words = words(stage);
        let end = words.iter().position(|word| word.starts_with('>')).unwrap_or(words.len());
        words[..end].last().cloned().unwrap_or_default()
    });
    match (patterns.next(), patterns.next()) {
        (None, _) => Command::CountersReset,
        (Some(name), None) => Command::Counter { name, value: None },
        (Some(name), Some(value)) => match value.trim().parse() {
            Ok(value) => Command::Counter { name, value: Some(value) },
            Err(_) => Command::Unknown(line.into()),
        },
    }
}

/// Splits at line ends, `;`, `&&` and `||` outside quotes.
fn split(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let last = out.len() - 1;
        match (character, quote) {
            ('\n' | ';', None) => out.push(String::new()),
            ('&' | '|', None) if characters.peek() == Some(&character) => {
                characters.next();
                out.push(String::new());
            }
            ('"' | '\'', None) => {
                quote = Some(character);
                out[last].push(character);
            }
            (_, Some(open)) if open == character => {
                quote = None;
                out[last].push(character);
            }
            _ => out[last].push(character),
        }
    }
    out
}

/// Splits at blanks outside quotes, and takes the quotes off.
fn words(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let (mut quote, mut open) = (None, false);
    for character in text.chars() {
        match (character, quote) {
            ('"' | '\'', None) => {
                quote = Some(character);
                if !open {
                    out.push(String::new());
                    open = true;
                }
            }
            (_, Some(mark)) if mark == character => quote = None,
            (_, None) if character.is_whitespace() => open = false,
            _ => {
                if !open {
                    out.push(String::new());
                    open = true;
                }
                if let Some(word) = out.last_mut() {
                    word.push(character);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Command {
        Command::Sysctl { name: name.into(), value: value.into() }
    }

    #[test]
    fn sysctls_in_all_their_forms() {
        assert_eq!(
            commands(
                "sysctl -q -w net.ipv4.tcp_rmem=\"4096 540000 $((15*1024*1024))\" net.ipv4.tcp_sack=1\n# comment\n"
            ),
            [set("net.ipv4.tcp_rmem", "4096 540000 15728640"), set("net.ipv4.tcp_sack", "1")]
        );
        assert_eq!(
            commands(
                "../common/set_sysctls.py \\\n\t/proc/sys/net/ipv4/tcp_ecn=0 # off\n echo 1 > /proc/sys/net/ipv4/tcp_frto"
            ),
            [set("net.ipv4.tcp_ecn", "0"), set("net.ipv4.tcp_frto", "1")]
        );
        assert_eq!(commands("sysctl -n net.ipv4.tcp_ecn"), [Command::Nothing]);
    }

    #[test]
    fn files_states_and_the_rest() {
        assert_eq!(
            commands("./defaults.sh\nsleep 0.5; ip tcp_metrics flush all > /dev/null 2>&1"),
            [Command::Include("./defaults.sh".into()), Command::Sleep(500_000), Command::ForgetServers]
        );
        assert_eq!(
            commands("sockstat -4 -P tcp -s | grep packetdril | grep -c TIME_WAIT | grep 1"),
            [Command::Connections { state: "TIME_WAIT".into(), count: Some(1) }]
        );
        assert!(matches!(
            commands("modprobe x; tc qdisc add dev tun0 root pfifo limit 0")[..],
            [Command::Unknown(_), Command::Unknown(_)]
        ));
        assert_eq!(
            commands("ip -6 route add 2001:db8::1 via fd3d::1 dev tun0 advmss 600 mtu lock 660 initcwnd 11"),
            [Command::Route { mtu: Some(660), advertised_mss: Some(600), initial_window: Some(11) }]
        );
    }

    #[test]
    fn states_and_counters_of_linux() {
        assert_eq!(
            commands("grep \" 0A \" /proc/net/tcp /proc/net/tcp6 | grep \":1F90\"; /bin/rm -f x"),
            [Command::Connections { state: "LISTEN".into(), count: None }, Command::Nothing]
        );
        let counter = |value| Command::Counter { name: "TcpExtBeyondWindow".into(), value };
        assert_eq!(
            commands(
                "nstat -n\nnstat | grep TcpExtBeyondWindow | grep -q \" 3 \"\nnstat | grep TcpExtBeyondWindow > /dev/null"
            ),
            [Command::CountersReset, counter(Some(3)), counter(None)]
        );
    }
}
