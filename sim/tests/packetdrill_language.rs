//! The interpreter fails where a script is not followed, and says on which line.

use ethertab_sim::packetdrill::{Report, Settings, run};

const LISTEN: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 65535 <mss 1000,nop,wscale 7>
+0 > S. 0:0(0) ack 1 <...>
+.1 < . 1:1(0) ack 1 win 512
+0 accept(3, ..., ...) = 4
";

fn no_files(_: &str) -> std::io::Result<String> {
    Err(std::io::ErrorKind::NotFound.into())
}

/// Runs what follows an established connection; lines of failures count from the first of these.
fn after_handshake(text: &str, settings: &Settings) -> Report {
    run(&format!("{LISTEN}{text}"), settings, &mut no_files)
}

fn fails(text: &str, line: usize, expected: &str, got: &str) {
    fails_with(&Settings::default(), text, line, expected, got);
}

fn fails_with(settings: &Settings, text: &str, line: usize, expected: &str, got: &str) {
    let failure = after_handshake(text, settings).failure.unwrap_or_else(|| panic!("passes: {text}"));
    assert_eq!(failure.line, LISTEN.lines().count() + line, "{failure:?}");
    assert!(failure.expected.contains(expected) && failure.got.contains(got), "{failure:?}");
}

fn passes(text: &str) {
    assert_eq!(after_handshake(text, &Settings::default()).failure, None, "{text}");
}

fn loose() -> Settings {
    Settings { loose: true, ..Settings::default() }
}

#[test]
fn a_packet_that_nobody_expects() {
    fails("+0 write(4, ..., 100) = 100\n+.1 read(4, ..., 10) = 0\n", 2, "nothing to be sent", "P. 1:101(100) ack 1");
    fails("+0 write(4, ..., 100) = 100\n", 1, "nothing more to be sent", "P. 1:101(100)");
    fails("+0 write(4, ..., 100) = 100\n+.2 < . 1:1(0) ack 1 win 512\n* > P. 1:101(100) ack 2\n", 3, "ack 2", "ack 1");
    passes("+0 write(4, ..., 100) = 100\n+0 ioctl(4, SIOCOUTQ, [100]) = 0\n+0 > P. 1:101(100) ack 1\n");
}

#[test]
fn packets_of_connections_that_the_script_has_done_with() {
    let another = "+0 close(3) = 0\n+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n\
                   +0 listen(3, 1) = 0\n+0 < S 0:0(0) win 65535 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n";
    passes("+0 close(4) = 0\n");
    passes(&format!("+0 close(4) = 0\n{another}+.5 < R 1:1(0) win 0\n"));
    passes(&format!(
        "+0 close(4) = 0\n{}",
        another.replace("+0 socket", "+.1 socket").replace("+0 close(3) = 0\n", "").replace(
            "+0 bind(3, ..., ...) = 0\n",
            "+0 bind(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=...}, ...) = 0\n"
        )
    ));
    // As long as it speaks of the connection, all that belongs to it counts.
    fails(
        "+0 close(4) = 0\n+.1 < F. 1:1(0) ack 1 win 512\n+0 > . 2:2(0) ack 2\n",
        2,
        "nothing to be sent",
        "F. 1:1(0)",
    );
    fails("+0 shutdown(4, SHUT_WR) = 0\n", 1, "nothing more to be sent", "F. 1:1(0)");
}

#[test]
fn a_packet_that_does_not_come() {
    fails("+.5 > . 1:1(0) ack 1\n", 1, "at 0.600000 s", "nothing");
    fails("+0 write(4, ..., 1000) = 1000\n+0 > P. 1:2001(2000) ack 1\n", 2, "2000", "1000 bytes of it");
}

#[test]
fn a_packet_at_another_time() {
    let timeout = "+0 write(4, ..., 100) = 100\n+0 > P. 1:101(100) ack 1\n";
    passes(&format!("{timeout}+.303 > P. 1:101(100) ack 1\n"));
    fails(&format!("{timeout}+.305 > P. 1:101(100) ack 1\n"), 3, "at 0.405000 s", "at 0.400000 s");
    fails(&format!("{timeout}+.295 > P. 1:101(100) ack 1\n"), 3, "at 0.395000 s", "nothing");
    passes(&format!("{timeout}+.31~+.32 > P. 1:101(100) ack 1\n").replace(".31~+.32", ".29~+.298"));
    fails(&format!("{timeout}+.31~+.32 > P. 1:101(100) ack 1\n"), 3, "from 0.410000 s to 0.420000 s", "0.400000 s");
    passes(&format!("{timeout}0.4 > P. 1:101(100) ack 1\n"));
    passes(&format!("{timeout}* > P. 1:101(100) ack 1\n"));
    let wide = Settings { tolerance_usecs: 20_000, ..Settings::default() };
    assert_eq!(after_handshake(&format!("{timeout}+.315 > P. 1:101(100) ack 1\n"), &wide).failure, None);
    let percent = Settings { tolerance_percent: 10, ..Settings::default() };
    assert_eq!(after_handshake(&format!("{timeout}+.32 > P. 1:101(100) ack 1\n"), &percent).failure, None);
}

#[test]
fn every_part_of_a_segment() {
    let write = "+0 write(4, ..., 100) = 100\n";
    for (packet, expected, got) in [
        ("> . 1:101(100) ack 1", "flags .", "flags P."),
        ("> P. 2:102(100) ack 1", "sequence number 2", "sequence number 1"),
        ("> P. 1:101(100) ack 2", "ack 2", "ack 1"),
        ("> P. 1:101(100) ack 1 win 1", "win 1", "win 2048"),
        ("> P. 1:101(100) ack 1 <nop,nop>", "<nop,nop>", "<>"),
        ("> P. 1:51(50) ack 1", "50 bytes", "100 bytes"),
        ("> [ce] P. 1:101(100) ack 1", "ECN ce", "ECN noecn"),
        ("> [ttl 63] P. 1:101(100) ack 1", "TTL 63", "TTL 64"),
        ("> 8080 > 7 P. 1:101(100) ack 1", "ports 8080 > 7", "8080 > 40000"),
        ("> udp (100)", "udp (100)", "P. 1:101(100)"),
    ] {
        fails(&format!("{write}+0 {packet}\n"), 2, expected, got);
    }
}

#[test]
fn segments_of_one_write_count_as_one_unless_strict() {
    let text = "+0 write(4, ..., 2500) = 2500\n+0 > P. 1:2501(2500) ack 1\n";
    passes(text);
    let strict = Settings { strict_segments: true, ..Settings::default() };
    fails_with(&strict, text, 2, "2500 bytes", "1000 bytes");
    // Segments in the middle are of one size.
    let uneven = "+0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0\n+0 write(4, ..., 500) = 500\n+0 write(4, ..., 1000) = 1000\n\
                  +0 write(4, ..., 500) = 500\n+0 > P. 1:2001(2000) ack 1\n";
    fails(uneven, 5, "500 bytes", "1000 bytes");
}

#[test]
fn results_and_errors_of_calls() {
    fails("+0 read(4, ..., 10) = 10\n", 1, "read() to return at once", "blocks");
    fails("+0 recv(4, ..., 10, MSG_DONTWAIT) = 10\n", 1, "recv() = 10", "-1 EAGAIN");
    fails("+0 recv(4, ..., 10, MSG_DONTWAIT) = -1 EPIPE (Broken pipe)\n", 1, "-1 EPIPE", "-1 EAGAIN");
    passes("+0 recv(4, ..., 10, MSG_DONTWAIT) = -1 EWOULDBLOCK (Operation would block)\n");
    fails("+0 ioctl(4, SIOCINQ, [5]) = 0\n", 1, "5", "0");
    fails("+0 close(9) = 0\n", 1, "close() = 0", "-1 EBADF");
    fails("+0 frobnicate(4) = 0\n", 1, "frobnicate()", "without a system call of this name");
    fails("+0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLIN}], 1, 0) = 1\n", 1, "revents 0x1", "0x4");
}

#[test]
fn calls_that_block_return_in_time() {
    let read =
        |end: &str| format!("+0...{end} read(4, ..., 10) = 10\n+.1 < P. 1:11(10) ack 1 win 512\n* > . 1:1(0) ack 11\n");
    passes(&read("0.1"));
    fails(&read("0.2"), 1, "read() to return at 0.300000 s", "0.200000 s");
    fails("+0...0.1 read(4, ..., 10) = 10\n+0 close(3) = 0\n", 1, "read() to return at 0.200000 s", "still blocks");
}

#[test]
fn reads_go_on_where_they_ended() {
    passes("+0 < P. 1:11(10) ack 1 win 512\n* > . 1:1(0) ack 11\n+0 read(4, ..., 4) = 4\n+0 read(4, ..., 9) = 6\n");
}

#[test]
fn buffers_that_are_null() {
    let data = "+0 < P. 1:11(10) ack 1 win 512\n* > . 1:1(0) ack 11\n";
    passes("+0 write(4, NULL, 10) = -1 EFAULT (Bad address)\n+0 send(4, NULL, 10, 0) = -1 EFAULT (Bad address)\n");
    passes(&format!("{data}+0 read(4, NULL, 10) = -1 EFAULT (Bad address)\n+0 read(4, ..., 10) = 10\n"));
}

#[test]
fn a_socket_that_is_disconnected_connects_again() {
    passes(
        "+0 connect(4, AF_UNSPEC, ...) = 0\n+0 > R. 1:1(0) ack 1\n+0 fcntl(4, F_SETFL, O_NONBLOCK) = 0\n\
         +0 connect(4, ..., ...) = -1 EINPROGRESS\n+0 > S 0:0(0) <...>\n",
    );
}

#[test]
fn splice_moves_bytes_between_sockets_and_pipes() {
    passes(
        "+0 pipe([5, 6]) = 0\n+0 < P. 1:11(10) ack 1 win 512\n* > . 1:1(0) ack 11\n\
         +0 splice(4, NULL, 6, NULL, 100, 0) = 10\n+0 splice(5, NULL, 4, NULL, 4, 0) = 4\n+0 > P. 1:5(4) ack 11\n",
    );
}

#[test]
fn completed_sends_are_read_from_the_error_queue() {
    let sends = "+0 setsockopt(4, SOL_SOCKET, SO_ZEROCOPY, [1], 4) = 0\n+0 send(4, ..., 100, MSG_ZEROCOPY) = 100\n\
                 +0 > P. 1:101(100) ack 1\n+0 poll([{fd=4, events=POLLERR, revents=0}], 1, 0) = 0\n\
                 +.1 < . 1:1(0) ack 101 win 512\n+0 poll([{fd=4, events=POLLERR, revents=POLLERR}], 1, 0) = 1\n";
    let read = |data: u32| {
        format!(
            "{sends}+0 recvmsg(4, {{msg_name(...)=..., msg_iov(1)=[{{..., 0}}], msg_flags=MSG_ERRQUEUE, \
             msg_control=[{{cmsg_level=SOL_IP, cmsg_type=IP_RECVERR, cmsg_data={{ee_errno=0, \
             ee_origin=SO_EE_ORIGIN_ZEROCOPY, ee_info=0, ee_data={data}}}}}]}}, MSG_ERRQUEUE) = 0\n"
        )
    };
    passes(&read(0));
    fails(&read(1), 7, "ee_data 1", "0");
    passes("+0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 0}], msg_flags=0}, MSG_ERRQUEUE) = -1 EAGAIN\n");
}

#[test]
fn a_sysctl_is_about_sockets_that_are_not_in_use_yet() {
    let text = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0\n\
                +0 `sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0 net.ipv4.tcp_window_scaling=0`\n\
                +0 fcntl(3, F_SETFL, O_NONBLOCK) = 0\n+0 connect(3, ..., ...) = -1 EINPROGRESS\n+0 > S 0:0(0) <mss 1460>\n\
                +0 getsockopt(3, SOL_TCP, TCP_NODELAY, [1], [4]) = 0\n";
    assert_eq!(run(text, &Settings::default(), &mut no_files).failure, None);
}

#[test]
fn freebsd_opens_with_a_send() {
    let text = "0 `sysctl net.inet.tcp.fastopen.client_enable=1`\n+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n\
                +0 setsockopt(3, IPPROTO_TCP, TCP_FASTOPEN, [1], 4) = 0\n+0 sendto(3, ..., 100, 0, ..., ...) = 100\n\
                +0 > S 0:0(0) <...>\n+.1 < S. 0:0(0) ack 1 win 65535 <mss 1460,FO 0102030405060708>\n\
                +0 > P. 1:101(100) ack 1\n";
    assert_eq!(run(text, &Settings::default(), &mut no_files).failure, None);
}

#[test]
fn a_file_number_that_is_used_again() {
    passes(
        "+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 4\n+0 fcntl(4, F_SETFL, O_NONBLOCK) = 0\n\
         +0 connect(4, ..., ...) = -1 EINPROGRESS\n+0 > S 0:0(0) <...>\n",
    );
}

#[test]
fn freebsd_rounds_buffers_up_to_segments() {
    let text = "0 `sysctl net.inet.tcp.recvspace=65536`\n+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n\
                +0 fcntl(3, F_SETFL, O_NONBLOCK) = 0\n+0 getsockopt(3, SOL_SOCKET, SO_RCVBUF, [65536], [4]) = 0\n\
                +0 connect(3, ..., ...) = -1 // EINPROGRESS\n+0 > S 0:0(0) <...>\n+.1 < S. 0:0(0) ack 1 win 32767 <mss 1460>\n\
                +0 > . 1:1(0) ack 1\n+0 getsockopt(3, SOL_SOCKET, SO_RCVBUF, [65700], [4]) = 0\n\
                +0 %{ assert tcpi_state == TCPI_ESTABLISHED }%\n";
    assert_eq!(run(text, &Settings::default(), &mut no_files).failure, None);
}

#[test]
fn sends_are_stamped() {
    let read = |stage: &str, nanoseconds: u32| {
        format!(
            "+0 recvmsg(4, {{msg_name(...)=..., msg_iov(1)=[{{..., 0}}], msg_flags=MSG_ERRQUEUE, \
             msg_control=[{{cmsg_level=SOL_SOCKET, cmsg_type=SCM_TIMESTAMPING, \
             cmsg_data={{scm_sec=0, scm_nsec={nanoseconds}}}}}, {{cmsg_level=CMSG_LEVEL_IP, \
             cmsg_type=CMSG_TYPE_RECVERR, cmsg_data={{ee_errno=ENOMSG, ee_origin=SO_EE_ORIGIN_TIMESTAMPING, \
             ee_info={stage}, ee_data=99}}}}]}}, MSG_ERRQUEUE) = 0\n"
        )
    };
    let write = "+0 setsockopt(4, SOL_SOCKET, SO_TIMESTAMPING, [SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_ACK | \
                 SOF_TIMESTAMPING_OPT_ID], 4) = 0\n+0 write(4, ..., 100) = 100\n+0 > P. 1:101(100) ack 1\n\
                 +.1 < . 1:1(0) ack 101 win 512\n";
    let (sent, acknowledged) = (read("SCM_TSTAMP_SND", 100_000_000), read("SCM_TSTAMP_ACK", 200_000_000));
    passes(&format!("{write}{sent}{acknowledged}"));
    fails(&format!("{write}{}", read("SCM_TSTAMP_SND", 110_000_000)), 5, "110000", "100000");
}

#[test]
fn a_plain_file_is_sent() {
    passes("+0 open(\"/tmp/file\", O_RDONLY) = 5\n+0 sendfile(4, 5, [0], 50) = 50\n+0 > P. 1:51(50) ack 1\n");
}

#[test]
fn counters_are_compared() {
    let text = "+0 `nstat -n`\n+0 < . 900001:900002(1) ack 1 win 512\n* > . 1:1(0) ack 1\n";
    passes(&format!("{text}+0 `nstat | grep TcpExtBeyondWindow | grep -q \" 1 \"`\n"));
    fails(&format!("{text}+0 `nstat | grep TcpExtBeyondWindow | grep -q \" 2 \"`\n"), 4, "TcpExtBeyondWindow 2", "1");
    fails("+0 `nstat | grep TcpExtMagic`\n", 1, "TcpExtMagic", "without a counter");
}

#[test]
fn numbers_count_from_the_initial_ones_except_with_syn() {
    let text = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n+0 listen(3, 1) = 0\n\
                +0 < S 999000:999000(0) win 65535 <mss 1000>\n+0 > S. 1234:1234(0) ack 999001 <...>\n\
                +.1 < . 1:1(0) ack 1 win 512\n+0 accept(3, ..., ...) = 4\n+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n";
    assert_eq!(run(text, &Settings::default(), &mut no_files).failure, None);
}

#[test]
fn the_end_is_no_business_of_a_script_that_says_so() {
    let settings = Settings { ignore_unexpected: true, ..Settings::default() };
    let text = "+0 write(4, ..., 100) = 100\n+.1 read(4, ..., 10) = -1 EAGAIN\n";
    assert_eq!(after_handshake(&format!("+0 fcntl(4, F_SETFL, O_NONBLOCK) = 0\n{text}"), &settings).failure, None);
}

#[test]
fn reads_tell_what_is_left() {
    let read = |left: u32| {
        format!(
            "+0 setsockopt(4, SOL_TCP, TCP_INQ, [1], 4) = 0\n+0 < P. 1:11(10) ack 1 win 512\n* > . 1:1(0) ack 11\n\
             +0 recvmsg(4, {{msg_name(...)=..., msg_iov(1)=[{{..., 4}}], msg_flags=0, \
             msg_control=[{{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data={left}}}]}}, 0) = 4\n"
        )
    };
    passes(&read(6));
    fails(&read(7), 4, "cmsg_data 7", "6");
}

#[test]
fn assertions() {
    passes("+0 %{ assert tcpi_snd_cwnd == 10 }%\n+0 %{ x = tcpi_snd_mss }%\n+0 %{\nassert x == 1000\n}%\n");
    fails("+0 %{ assert tcpi_snd_cwnd == 11, tcpi_snd_cwnd }%\n", 1, "tcpi_snd_cwnd == 11", "10");
    fails("+0 %{\nx = 1\nassert x == 2\n}%\n", 3, "x == 2", "x = 1");
    fails("+0 %{ assert tcpi_magic }%\n", 1, "tcpi_magic", "without a field");
}

#[test]
fn a_script_must_check_something() {
    let report = run("0 `sysctl -q net.ipv4.tcp_sack=0`\n", &Settings::default(), &mut no_files);
    assert!(report.failure.unwrap().expected.contains("checks something"));
}

#[test]
fn commands_are_applied_or_named() {
    let with = |command: &str, settings: &Settings| {
        let mut load = |path: &str| match path {
            "../common/defaults.sh" => Ok("sysctl -q net.ipv4.tcp_synack_retries=0\n".to_string()),
            _ => no_files(path),
        };
        run(&format!("`{command}`\n{LISTEN}"), settings, &mut load)
    };
    assert_eq!(with("sysctl -q net.ipv4.tcp_sack=0", &Settings::default()).failure, None);
    let failure = with("modprobe tcp_magic", &Settings::default()).failure.unwrap();
    assert_eq!((failure.line, failure.expected.as_str()), (1, "`modprobe tcp_magic`"));
    assert!(with("./missing.sh", &Settings::default()).failure.is_some());
    let report = with("modprobe tcp_magic", &loose());
    assert_eq!((report.failure, report.notes.len()), (None, 1));
    assert_eq!(with("../common/defaults.sh", &Settings::default()).failure, None);
}

#[test]
fn loose_lets_pass_what_the_stack_cannot_be_set_to() {
    let text = "+0 setsockopt(4, SOL_TCP, TCP_MAGIC, [1], 4) = 0\n+0 write(4, ..., 100) = 100\n+0 > . 1:101(100) ack 1 win 7\n";
    fails(text, 1, "TCP_MAGIC=1", "without an option of this name");
    let report = after_handshake(text, &loose());
    assert_eq!((report.failure, report.notes.len()), (None, 1));
    fails_with(&loose(), "+0 write(4, ..., 100) = 100\n+0 > . 1:101(100) ack 2\n", 2, "ack 2", "ack 1");
}

#[test]
fn conditions_and_symbols() {
    let text = "--define=SIZE=100\n#ifdef IPV6\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 4\n#else\n\
                0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n#endif\n+0 write(3, ..., SIZE) = -1 EPIPE (Broken pipe)\n";
    assert_eq!(run(text, &Settings::default(), &mut no_files).failure, None);
    let v6 = Settings { ip_version: ethertab_sim::packetdrill::IpVersion::V6, ..Settings::default() };
    assert_eq!(run(text, &v6, &mut no_files).failure.unwrap().line, 7);
}

#[test]
fn freebsd_scripts_have_their_symbol_options_and_buffers() {
    let text = "+0 `sysctl net.inet.tcp.ecn.enable=0`\n#ifdef FreeBSD\n\
                +0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n\
                +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)\n\
                +0 > S 0:0(0) win 65535 <mss 1460,nop,wscale 6,sackOK,TS val 100 ecr 0>\n\
                +0 < S. 0:0(0) ack 1 win 32767 <mss 1000>\n+0 > . 1:1(0) ack 1 win 65535\n\
                +0 getsockopt(3, SOL_SOCKET, SO_RCVBUF, [66000], [4]) = 0\n#endif\n";
    assert_eq!(run(text, &Settings::default(), &mut no_files).failure, None);
    let without_sysctl =
        text.replacen("net.inet.tcp.ecn.enable", "net.ipv4.tcp_ecn", 1).replace("#ifdef FreeBSD", "#ifndef X");
    assert_eq!(run(&without_sysctl, &Settings::default(), &mut no_files).failure, None, "its SYN shows it");
    let mut standard = Settings::default();
    standard.set("define", Some("STANDARD")).unwrap();
    let report = run(text, &standard, &mut no_files);
    assert_eq!(report.failure.map(|failure| failure.expected), Some("a script that checks something".into()));
}

#[test]
fn answers_of_closed_ports_have_numbers_as_on_the_wire() {
    let text = "0 < S 17:20(3) win 100\n+0 > R. 0:0(0) ack 21\n+0 < . 30:30(0) ack 40 win 100\n+0 > R 40:40(0)\n";
    assert_eq!(run(text, &Settings::default(), &mut no_files).failure, None);
}

#[test]
fn sockets_of_ipv6_tell_the_family() {
    let text = "0 socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP) = 3\n+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n\
                +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)\n+0 > S 0:0(0) <mss 1440,...>\n";
    let text = text.replace(",...>", ",sackOK,TS val 1 ecr 0,nop,wscale 7>");
    assert_eq!(run(&text, &Settings::default(), &mut no_files).failure, None);
}

#[test]
fn a_failed_run_has_a_capture() {
    let report = after_handshake("+0 write(4, ..., 100) = 100\n", &Settings::default());
    let capture = report.pcapng.unwrap();
    assert!(capture.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]), "a section header block");
}

#[test]
fn a_script_that_is_no_script() {
    let failure = run("0 bind(3\n", &Settings::default(), &mut no_files).failure.unwrap();
    assert_eq!((failure.line, failure.expected.as_str()), (1, ")"));
    let failure = run("--colour=red\n0 close(3) = 0\n", &Settings::default(), &mut no_files).failure.unwrap();
    assert!(failure.expected.contains("--colour"));
}
