//! What a DHCPv6 server has granted: an address and a prefix with their lifetimes, and the parameters of the network.

use core::net::Ipv6Addr;

use crate::services::List;
use crate::time::{Duration, Instant};
use crate::wire::dhcpv6::{Association, Duid, Lifetimes, Message, Options, lifetime, option, status};
use crate::wire::dns::Name;

/// The most name servers, and the most domains, that are kept.
pub const MAX_DHCPV6_NAMES: usize = 4;

/// An address or prefix that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The address, or the prefix.
    pub address: Ipv6Addr,
    /// Length of the prefix; 128 for an address, which says nothing about the link (RFC 9915 §18.2.10.1).
    pub length: u8,
    /// Until when it should be used for new connections; [`Instant::FAR_FUTURE`] for ever.
    pub preferred_until: Instant,
    /// Until when it may be used.
    pub valid_until: Instant,
}

/// The network's parameters (RFC 3646).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dhcpv6Parameters {
    /// Name servers, most preferred first.
    pub dns_servers: List<Ipv6Addr, MAX_DHCPV6_NAMES>,
    /// Domains of short names.
    pub search: List<Name, MAX_DHCPV6_NAMES>,
}

impl Dhcpv6Parameters {
    pub(super) fn read(options: Options<'_>) -> Self {
        let mut parameters = Dhcpv6Parameters::default();
        for octets in options.find(option::DNS_SERVERS).unwrap_or_default().as_chunks::<16>().0 {
            let address = Ipv6Addr::from(*octets);
            if !address.is_multicast() && !address.is_unspecified() {
                parameters.dns_servers.push(address);
            }
        }
        // RFC 9915 §10: names one after the other, never compressed.
        let names = options.find(option::DOMAIN_LIST).unwrap_or_default();
        let mut at = 0;
        while let Ok((name, after)) = Name::read(names, at) {
            parameters.search.push(name);
            at = after;
        }
        parameters
    }
}

/// What a DHCPv6 server has granted: an address and a prefix with their lifetimes, and the parameters of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dhcpv6Lease {
    /// The server.
    pub server: Duid,
    /// The address, if one was asked for.
    pub address: Option<Granted>,
    /// The prefix, if one was asked for: for the networks behind this host.
    pub prefix: Option<Granted>,
    /// The network's parameters.
    pub parameters: Dhcpv6Parameters,
    /// T1: when the client asks its server to extend the lease.
    pub renew_at: Instant,
    /// T2: when it asks all servers.
    pub rebind_at: Instant,
    /// When nothing of it may be used any more.
    pub expires: Instant,
}

/// What an answer says of one association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Granted, with T1 and T2 in seconds.
    Granted(Granted, u32, u32),
    Nothing,
    NoBinding,
    NotOnLink,
}

/// What a message says of the association with this number.
pub(super) fn verdict(message: &Message<'_>, code: u16, iaid: u32, now: Instant) -> Verdict {
    let associations = message.options().filter(|(found, _)| *found == code);
    let Some(association) =
        associations.filter_map(|(_, value)| Association::parse(value)).find(|association| association.iaid == iaid)
    else {
        return Verdict::Nothing;
    };
    match association.options.status() {
        status::SUCCESS => {}
        status::NO_BINDING => return Verdict::NoBinding,
        status::NOT_ON_LINK => return Verdict::NotOnLink,
        _ => return Verdict::Nothing,
    }
    // RFC 9915 §21.4: "If a client receives an IA_NA with T1 greater than T2 and both T1 and T2 are greater than 0, the client
    // discards the IA_NA option".
    if association.t1 > association.t2 && association.t2 > 0 {
        return Verdict::Nothing;
    }
    let granted = association.options.filter_map(|(found, value)| match found {
        option::IA_ADDRESS if code == option::IA_NA => Lifetimes::parse_address(value),
        option::IA_PREFIX if code == option::IA_PD => Lifetimes::parse_prefix(value),
        _ => None,
    });
    match { granted }.find_map(|lifetimes| usable(&lifetimes, now)) {
        Some(granted) => Verdict::Granted(granted, association.t1, association.t2),
        None => Verdict::Nothing,
    }
}

/// RFC 9915 §21.6: one that is preferred for longer than it is valid is discarded, and so is what no host can have.
fn usable(lifetimes: &Lifetimes, now: Instant) -> Option<Granted> {
    let Lifetimes { address, length, preferred, valid } = *lifetimes;
    let impossible = address.is_multicast()
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local()
        || address.to_ipv4_mapped().is_some();
    let until = |secs| lifetime(secs).map_or(Instant::FAR_FUTURE, |span| now + span);
    (!impossible && preferred <= valid && valid > 0).then(|| Granted {
        address,
        length,
        preferred_until: until(preferred),
        valid_until: until(valid),
    })
}

/// T1 and T2 for what was granted. RFC 9915 §14.2: 0 leaves them to the client, which takes 0.5 and 0.8 of the shortest preferred
/// lifetime.
pub(super) fn times(parts: [Option<(Granted, u32, u32)>; 2], now: Instant) -> (Instant, Instant) {
    let mut times = (Instant::FAR_FUTURE, Instant::FAR_FUTURE);
    for (granted, t1, t2) in parts.into_iter().flatten() {
        let preferred = granted.preferred_until.since(now).as_micros();
        let is_endless = granted.preferred_until == Instant::FAR_FUTURE;
        let at = |told: u32, tenths: u64| match (told, lifetime(told)) {
            (0, _) if is_endless => Instant::FAR_FUTURE,
            (0, _) => now + Duration::from_micros(preferred / 10 * tenths),
            (_, Some(span)) => now + span,
            (_, None) => Instant::FAR_FUTURE,
        };
        times = (times.0.min(at(t1, 5)), times.1.min(at(t2, 8)));
    }
    // A server that grants seconds is not asked more often than once a second.
    let t1 = times.0.max(now + Duration::from_secs(1));
    (t1, times.1.max(t1))
}
