//! The names of constants, with Linux's values. Only what a script compares or combines needs a value.

use super::ast::Expr;

const SYMBOLS: &[(&str, i64)] = &[
    ("AF_UNSPEC", 0),
    ("AF_INET", 2),
    ("AF_INET6", 10),
    ("PF_INET", 2),
    ("PF_INET6", 10),
    ("SOCK_STREAM", 1),
    ("SOCK_DGRAM", 2),
    ("SOCK_RAW", 3),
    ("SOCK_NONBLOCK", 0o4000),
    ("SOCK_CLOEXEC", 0o2_000_000),
    ("IPPROTO_IP", 0),
    ("IPPROTO_ICMP", 1),
    ("IPPROTO_TCP", 6),
    ("IPPROTO_UDP", 17),
    ("IPPROTO_IPV6", 41),
    ("IPPROTO_ICMPV6", 58),
    ("O_RDONLY", 0),
    ("O_WRONLY", 1),
    ("O_RDWR", 2),
    ("O_NONBLOCK", 0o4000),
    ("O_CLOEXEC", 0o2_000_000),
    ("F_GETFL", 3),
    ("F_SETFL", 4),
    ("F_GETFD", 1),
    ("F_SETFD", 2),
    ("FD_CLOEXEC", 1),
    ("SIOCINQ", 0x541b),
    ("FIONREAD", 0x541b),
    ("SIOCOUTQ", 0x5411),
    ("TIOCOUTQ", 0x5411),
    ("FIONWRITE", 0x5411),
    ("SIOCOUTQNSD", 0x894b),
    ("FIONSPACE", 0x894c),
    ("SHUT_RD", 0),
    ("SHUT_WR", 1),
    ("SHUT_RDWR", 2),
    ("POLLIN", 1),
    ("POLLPRI", 2),
    ("POLLOUT", 4),
    ("POLLERR", 8),
    ("POLLHUP", 0x10),
    ("POLLNVAL", 0x20),
    ("POLLRDNORM", 0x40),
    ("POLLRDBAND", 0x80),
    ("POLLWRNORM", 0x100),
    ("POLLWRBAND", 0x200),
    ("POLLRDHUP", 0x2000),
    ("EPOLLIN", 1),
    ("EPOLLPRI", 2),
    ("EPOLLOUT", 4),
    ("EPOLLERR", 8),
    ("EPOLLHUP", 0x10),
    ("EPOLLRDNORM", 0x40),
    ("EPOLLWRNORM", 0x100),
    ("EPOLLRDHUP", 0x2000),
    ("EPOLLONESHOT", 1 << 30),
    ("EPOLLET", 1 << 31),
    ("EPOLL_CTL_ADD", 1),
    ("EPOLL_CTL_DEL", 2),
    ("EPOLL_CTL_MOD", 3),
    ("MSG_OOB", 1),
    ("MSG_PEEK", 2),
    ("MSG_DONTROUTE", 4),
    ("MSG_CTRUNC", 8),
    ("MSG_TRUNC", 0x20),
    ("MSG_DONTWAIT", 0x40),
    ("MSG_EOR", 0x80),
    ("MSG_WAITALL", 0x100),
    ("MSG_CONFIRM", 0x800),
    ("MSG_ERRQUEUE", 0x2000),
    ("MSG_NOSIGNAL", 0x4000),
    ("MSG_MORE", 0x8000),
    ("MSG_ZEROCOPY", 0x400_0000),
    ("MSG_FASTOPEN", 0x2000_0000),
    ("SPLICE_F_MOVE", 1),
    ("SPLICE_F_NONBLOCK", 2),
    ("SPLICE_F_MORE", 4),
    ("SOL_IP", 0),
    ("SOL_SOCKET", 1),
    ("SOL_TCP", 6),
    ("SOL_UDP", 17),
    ("SOL_IPV6", 41),
    ("IP_RECVERR", 11),
    ("IPV6_RECVERR", 25),
    ("TCP_CM_INQ", 36),
    ("TCP_INQ", 36),
    ("SO_EE_ORIGIN_NONE", 0),
    ("SO_EE_ORIGIN_LOCAL", 1),
    ("SO_EE_ORIGIN_ICMP", 2),
    ("SO_EE_ORIGIN_ICMP6", 3),
    ("SO_EE_ORIGIN_TXSTATUS", 4),
    ("SO_EE_ORIGIN_ZEROCOPY", 5),
    ("SO_EE_CODE_ZEROCOPY_COPIED", 1),
    ("INADDR_ANY", 0),
    ("NULL", 0),
    ("IPTOS_LOWDELAY", 0x10),
    ("IPTOS_THROUGHPUT", 8),
    ("IPTOS_RELIABILITY", 4),
    ("IPTOS_MINCOST", 2),
    ("IP_PMTUDISC_DONT", 0),
    ("IP_PMTUDISC_WANT", 1),
    ("IP_PMTUDISC_DO", 2),
    ("IP_PMTUDISC_PROBE", 3),
];

/// What assertions may name: states, congestion states and option bits of Linux's `TCP_INFO`.
pub(super) const TCP_INFO_SYMBOLS: &[(&str, i64)] = &[
    ("TCP_ESTABLISHED", 1),
    ("TCP_SYN_SENT", 2),
    ("TCP_SYN_RECV", 3),
    ("TCP_FIN_WAIT1", 4),
    ("TCP_FIN_WAIT2", 5),
    ("TCP_TIME_WAIT", 6),
    ("TCP_CLOSE", 7),
    ("TCP_CLOSE_WAIT", 8),
    ("TCP_LAST_ACK", 9),
    ("TCP_LISTEN", 10),
    ("TCP_CLOSING", 11),
    ("TCP_CA_Open", 0),
    ("TCP_CA_Disorder", 1),
    ("TCP_CA_CWR", 2),
    ("TCP_CA_Recovery", 3),
    ("TCP_CA_Loss", 4),
    ("TCPI_OPT_TIMESTAMPS", 1),
    ("TCPI_OPT_SACK", 2),
    ("TCPI_OPT_WSCALE", 4),
    ("TCPI_OPT_ECN", 8),
    ("TCPI_OPT_ECN_SEEN", 16),
    ("TCPI_OPT_SYN_DATA", 32),
    ("TCPI_OPT_USEC_TS", 64),
    ("TCPI_OPT_TFO_CHILD", 128),
];

fn symbol(name: &str) -> Option<i64> {
    SYMBOLS.iter().chain(TCP_INFO_SYMBOLS).find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// The number that an expression stands for.
///
/// # Errors
/// What has no number, as text.
pub(super) fn evaluate(expr: &Expr) -> Result<i64, String> {
    match expr {
        Expr::Int(value) => Ok(*value),
        Expr::Word(name) => symbol(name).ok_or_else(|| name.clone()),
        Expr::Or(left, right) => Ok(evaluate(left)? | evaluate(right)?),
        Expr::Apply(name, arguments) if matches!(name.as_str(), "htons" | "htonl") => match &arguments[..] {
            [only] => evaluate(only),
            _ => Err(name.clone()),
        },
        Expr::List(items) => match &items[..] {
            [only] => evaluate(only),
            _ => Err("a list".into()),
        },
        Expr::Ellipsis => Err("...".into()),
        Expr::Str(text) => Err(text.clone()),
        Expr::Struct(_) | Expr::Apply(..) => Err("a structure".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_combine_and_unknown_names_are_told() {
        let word = |name: &str| Box::new(Expr::Word(name.into()));
        assert_eq!(evaluate(&Expr::Or(word("O_RDWR"), word("O_NONBLOCK"))), Ok(0o4002));
        assert_eq!(evaluate(&Expr::Or(word("O_RDWR"), word("O_MAGIC"))), Err("O_MAGIC".into()));
        assert_eq!(evaluate(&Expr::List(vec![Expr::Int(7)])), Ok(7));
    }
}
