//! TCP Fast Open (RFC 7413): data in the SYN, for clients that prove with a cookie of ours that they have the address they say.

use core::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::random::Generator;
use crate::time::{Duration, Instant};
use crate::wire::tcp_options;

/// What of Fast Open a host uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FastOpen {
    /// Connections that ask for it send data in their SYN (RFC 7413 §4.2.2).
    pub client: bool,
    /// Listeners that allow it take such data (RFC 7413 §4.2.2). They have to, since a SYN that the network duplicates delivers
    /// its data twice (RFC 7413 §2.1).
    pub server: bool,
    /// Send data without a cookie, to servers that need none. Off.
    pub client_without_cookie: bool,
    /// Take data without a cookie, from clients that cannot lie about their address. Off.
    pub server_without_cookie: bool,
    /// Every listener allows it, with its backlog as the limit. Off.
    pub all_listeners: bool,
}

impl FastOpen {
    pub(crate) const DEFAULT: FastOpen = FastOpen {
        client: true,
        server: true,
        client_without_cookie: false,
        server_without_cookie: false,
        all_listeners: false,
    };
}

impl Default for FastOpen {
    fn default() -> Self {
        FastOpen::DEFAULT
    }
}

/// The longest cookie (RFC 7413 §4.1.1), and the length of those that we make.
const MAX_COOKIE: usize = 16;
const OUR_COOKIE: usize = 8;

/// A Fast Open option: the one of RFC 7413 §4.1.1, or its experimental precursor. Without bytes it asks for a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    bytes: [u8; MAX_COOKIE],
    len: u8,
    /// In the option of RFC 6994 with the experiment's identifier 0xF989.
    pub(crate) experimental: bool,
}

mod kind {
    pub(super) const FAST_OPEN: u8 = 34;
    pub(super) const EXPERIMENTAL: u8 = 254;
}
const IDENTIFIER: [u8; 2] = [0xf9, 0x89];

impl Cookie {
    /// The option that asks for a cookie.
    pub(crate) fn request(experimental: bool) -> Self {
        Cookie { bytes: [0; MAX_COOKIE], len: 0, experimental }
    }

    fn new(bytes: &[u8], experimental: bool) -> Option<Self> {
        let mut cookie = Cookie::request(experimental);
        // RFC 7413 §4.1.1: 4 to 16 bytes and an even number of them, or none; others are ignored.
        if !matches!(bytes.len(), 0 | 4..=MAX_COOKIE) || !bytes.len().is_multiple_of(2) {
            return None;
        }
        cookie.bytes[..bytes.len()].copy_from_slice(bytes);
        cookie.len = bytes.len() as u8;
        Some(cookie)
    }

    /// The option among those of a segment, the last one if there are several valid ones.
    pub(crate) fn find(options: &[u8]) -> Option<Self> {
        let valid = |(kind, body): (u8, &[u8])| match (kind, body) {
            (kind::FAST_OPEN, body) => Cookie::new(body, false),
            (kind::EXPERIMENTAL, [0xf9, 0x89, body @ ..]) => Cookie::new(body, true),
            _ => None,
        };
        tcp_options::iter(options).filter_map(valid).last()
    }

    pub(crate) fn is_request(&self) -> bool {
        self.len == 0
    }

    /// Bytes of payload that a SYN with this option has room for: the segment size less all options that there can be, as in Linux.
    pub(crate) fn room_beside(mss: u16) -> u32 {
        u32::from(mss).saturating_sub(tcp_options::MAX_LEN as u32)
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Bytes of the option with its padding.
    pub(crate) fn option_len(&self) -> usize {
        (usize::from(self.len) + if self.experimental { 4 } else { 2 }).next_multiple_of(4)
    }

    /// Writes the option, padded to a multiple of 4 bytes; returns its length.
    pub(crate) fn emit(&self, out: &mut [u8]) -> usize {
        let len = usize::from(self.len);
        let header: &[u8] = match self.experimental {
            true => &[kind::EXPERIMENTAL, 4 + self.len, IDENTIFIER[0], IDENTIFIER[1]],
            false => &[kind::FAST_OPEN, 2 + self.len],
        };
        let end = header.len() + len;
        let padded = end.next_multiple_of(4);
        out[..header.len()].copy_from_slice(header);
        out[header.len()..end].copy_from_slice(self.as_slice());
        out[end..padded].fill(tcp_options::NOP);
        padded
    }
}

/// Fast Open as one connection sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FastOpenState {
    pub(crate) role: Role,
    /// Bytes of payload in our first SYN, until it is acknowledged: what the SYN and ACK leaves out of them is outstanding
    /// from then on.
    pub(crate) syn_data: u16,
    /// Our SYN asked for a cookie, and whether with the experimental option.
    pub(crate) asked: Option<bool>,
    /// All payload of the SYN has arrived.
    pub(crate) data_acknowledged: bool,
    /// The listener that counts the connection as pending.
    pub(crate) pending: Option<u32>,
}

impl FastOpenState {
    pub(crate) const NEW: FastOpenState =
        FastOpenState { role: Role::None, syn_data: 0, asked: None, data_acknowledged: false, pending: None };
}

/// What a connection is in Fast Open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing: its handshake carries no data of ours.
    #[default]
    None,
    /// Its SYN may carry data.
    Client,
    /// It was accepted before the end of the handshake, and may send already.
    Server,
}

/// The secrets of a server's cookies: what one of the two has made is valid, and the first makes new ones, so that the keys can be
/// changed without invalidating the cookies of all clients (RFC 7413 §4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastOpenKeys {
    /// Makes cookies.
    pub primary: [u8; 16],
    /// Made them before.
    pub backup: Option<[u8; 16]>,
}

impl FastOpenKeys {
    /// A random key.
    pub(crate) fn new(random: &mut Generator) -> Self {
        let mut primary = [0; 16];
        for half in primary.chunks_exact_mut(8) {
            half.copy_from_slice(&random.next_u64().to_le_bytes());
        }
        FastOpenKeys { primary, backup: None }
    }

    /// The cookie of a client: SipHash-2-4 of both addresses, as Linux has it, so that servers which share keys agree.
    pub(crate) fn cookie(&self, client: IpAddr, server: IpAddr, experimental: bool) -> Cookie {
        let mut cookie = Cookie::request(experimental);
        cookie.bytes[..OUR_COOKIE].copy_from_slice(&mac(&self.primary, client, server));
        cookie.len = OUR_COOKIE as u8;
        cookie
    }

    pub(crate) fn is_valid(&self, cookie: &Cookie, client: IpAddr, server: IpAddr) -> bool {
        let made_by = |key: &[u8; 16]| cookie.as_slice() == mac(key, client, server);
        made_by(&self.primary) || self.backup.as_ref().is_some_and(made_by)
    }
}

fn mac(key: &[u8; 16], client: IpAddr, server: IpAddr) -> [u8; OUR_COOKIE] {
    let hasher = SipHasher24::new_with_key(key);
    let hash = match (client, server) {
        (IpAddr::V4(client), IpAddr::V4(server)) => hasher.hash([client.octets(), server.octets()].as_flattened()),
        (IpAddr::V6(client), IpAddr::V6(server)) => hasher.hash([client.octets(), server.octets()].as_flattened()),
        _ => 0,
    };
    hash.to_le_bytes()
}

/// A listener's side of Fast Open.
#[derive(Clone, Debug)]
pub(crate) struct ListenerFastOpen {
    /// Connections with data from the SYN that may be in SYN-RECEIVED at a time; 0 if the listener does not allow Fast Open.
    pub(crate) limit: u16,
    /// Those that are.
    pub(crate) pending: u16,
    /// Of `pending`, those that a reset has ended. They count for a while, or whoever sends SYNs from addresses of others
    /// would be let on by the resets of these (RFC 7413 §5.1).
    resets: u16,
    resets_until: Instant,
    /// The listener's own keys instead of the stack's.
    pub(crate) keys: Option<FastOpenKeys>,
}

/// For how long a reset connection counts.
const RESET_COUNTS: Duration = Duration::from_secs(60);

impl ListenerFastOpen {
    pub(crate) fn new(limit: u16) -> Self {
        ListenerFastOpen { limit, pending: 0, resets: 0, resets_until: Instant::ZERO, keys: None }
    }

    /// Whether one more connection may begin with data.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        if self.resets > 0 && now >= self.resets_until {
            self.pending = self.pending.saturating_sub(self.resets);
            self.resets = 0;
        }
        self.pending < self.limit
    }

    /// A pending connection is established, or over.
    pub(crate) fn ended(&mut self, now: Instant, by_reset: bool) {
        if by_reset {
            self.resets += 1;
            self.resets_until = now + RESET_COUNTS;
        } else {
            self.pending = self.pending.saturating_sub(1);
        }
    }
}

/// What a client knows of the servers that it has asked for cookies: a small table, in which the server that was not heard of for
/// longest makes room (RFC 7413 §4.1.3).
#[derive(Clone, Debug)]
pub(crate) struct CookieCache {
    servers: [Server; SERVERS],
}

const SERVERS: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Server {
    address: Option<IpAddr>,
    heard: Instant,
    /// What the last SYN and ACK announced.
    mss: u16,
    cookie: Option<Cookie>,
    /// Which option asks for a cookie.
    asked: Asked,
    /// SYNs with data in a row that got no answer, and until when no more are sent.
    lost: u8,
    silent_until: Instant,
}

impl Server {
    #[inline(never)] // The loop that asks is unrolled.
    fn is_at(&self, address: IpAddr) -> bool {
        self.address == Some(address)
    }

    const UNKNOWN: Server = Server {
        address: None,
        heard: Instant::ZERO,
        mss: 0,
        cookie: None,
        asked: Asked::NotYet,
        lost: 0,
        silent_until: Instant::ZERO,
    };
}

/// A server that ignores the option of RFC 7413 is asked once with the experimental one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    NotYet,
    TryExperimental,
    InVain,
}

/// What a SYN to a server may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// The option: a cookie, or the request for one.
    pub(crate) option: Option<Cookie>,
    /// The server's MSS, if it is known.
    pub(crate) mss: Option<u16>,
}

impl Advice {
    /// Whether the server will take data.
    pub(crate) fn has_cookie(&self) -> bool {
        self.option.is_some_and(|cookie| !cookie.is_request())
    }
}

/// How long SYNs go without data after two with data were lost in a row; doubled for each further one. A middlebox may drop them
/// (RFC 7413 §7.1, RFC 7413 §4.1.3).
const SILENCE: Duration = Duration::from_secs(60);

impl CookieCache {
    pub(crate) fn new() -> Self {
        CookieCache { servers: [Server::UNKNOWN; SERVERS] }
    }

    /// What a SYN to this server may carry now.
    pub(crate) fn advice(&self, address: IpAddr, now: Instant) -> Advice {
        let Some(server) = self.place_of(address).map(|place| &self.servers[place]) else {
            return Advice { option: Some(Cookie::request(false)), mss: None };
        };
        let mss = Some(server.mss);
        if now < server.silent_until {
            return Advice { option: None, mss };
        }
        let request = Cookie::request(server.asked == Asked::TryExperimental);
        Advice { option: Some(server.cookie.unwrap_or(request)), mss }
    }

    /// A server has answered a SYN with an option: with this MSS, and with a cookie or without. `asked` says whether the SYN asked for
    /// one, and if so, whether with the experimental option.
    pub(crate) fn answered(
        &mut self,
        address: IpAddr,
        now: Instant,
        mss: u16,
        cookie: Option<Cookie>,
        asked: Option<bool>,
    ) {
        let server = self.entry(address, now);
        server.mss = mss;
        server.lost = 0;
        match (cookie.filter(|cookie| !cookie.is_request()), asked) {
            (Some(cookie), _) => server.cookie = Some(cookie),
            (None, Some(experimental)) if server.cookie.is_none() => {
                let first = server.asked == Asked::NotYet && !experimental;
                server.asked = if first { Asked::TryExperimental } else { Asked::InVain };
            }
            _ => {}
        }
    }

    /// A SYN with data got no answer, one without did. So many in a row may have been lost by chance.
    pub(crate) fn data_lost(&mut self, address: IpAddr, now: Instant, mss: u16, by_chance: u32) {
        let server = self.entry(address, now);
        server.mss = mss;
        server.lost = server.lost.saturating_add(1);
        if let Some(repeated) = u32::from(server.lost).checked_sub(by_chance + 1) {
            server.silent_until = now + SILENCE.backed_off(repeated);
        }
    }

    #[inline(never)] // Called from many places: one copy is enough.
    fn place_of(&self, address: IpAddr) -> Option<usize> {
        self.servers.iter().position(|server| server.is_at(address))
    }

    fn entry(&mut self, address: IpAddr, now: Instant) -> &mut Server {
        let index = self.place_of(address).unwrap_or_else(|| {
            // Unused ones were never heard of.
            let oldest =
                self.servers.iter().enumerate().min_by_key(|(_, server)| (server.address.is_some(), server.heard));
            let index = oldest.map_or(0, |(index, _)| index);
            self.servers[index] = Server { address: Some(address), ..Server::UNKNOWN };
            index
        });
        let server = &mut self.servers[index];
        server.heard = now;
        server
    }

    /// Forgets all servers.
    pub(crate) fn clear(&mut self) {
        *self = CookieCache::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn cookie(bytes: &[u8]) -> Cookie {
        Cookie::new(bytes, false).unwrap()
    }

    #[test]
    fn cookies_are_those_that_linux_makes_with_the_same_key() {
        let mut primary = [0; 16];
        for (index, byte) in primary.iter_mut().enumerate() {
            *byte = [0xa1, 0xb2, 0xc3, 0xd4][index / 4];
        }
        let keys = FastOpenKeys { primary, backup: None };
        for (client, server, expected) in [
            ("192.0.2.1", "192.168.0.1", 0x3021_b9d8_8901_7eeb_u64),
            ("fd3d:fa7b:d17d::1", "fd3d:a0b:17d6::1", 0xc1d1_e974_2a47_a9bc),
        ] {
            let (client, server) = (address(client), address(server));
            let made = keys.cookie(client, server, false);
            assert_eq!(made.as_slice(), expected.to_be_bytes());
            assert!(keys.is_valid(&made, client, server));
            assert!(!keys.is_valid(&made, server, client));
            let changed = FastOpenKeys { primary: [0; 16], backup: Some(primary) };
            assert!(changed.is_valid(&made, client, server));
            assert!(!changed.is_valid(&cookie(&[0; 4]), client, server));
        }
    }

    #[test]
    fn both_options_are_read_and_written() {
        for (bytes, experimental, option) in [
            (&[][..], false, &[34, 2, 1, 1][..]),
            (&[1, 2, 3, 4], false, &[34, 6, 1, 2, 3, 4, 1, 1]),
            (&[1, 2, 3, 4, 5, 6], true, &[254, 10, 0xf9, 0x89, 1, 2, 3, 4, 5, 6, 1, 1]),
            (&[], true, &[254, 4, 0xf9, 0x89]),
            (&[7; 16], false, &[34, 18, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 1, 1]),
        ] {
            let cookie = Cookie::new(bytes, experimental).unwrap();
            let mut out = [0xee; 20];
            let len = cookie.emit(&mut out);
            assert_eq!(&out[..len], option);
            assert_eq!(Cookie::find(&out[..len]), Some(cookie));
        }
        for wrong in [&[34, 4, 1, 2][..], &[34, 7, 1, 2, 3, 4, 5], &[254, 4, 1, 2], &[34, 20, 0], &[254, 3, 0xf9]] {
            assert_eq!(Cookie::find(wrong), None);
        }
    }

    #[test]
    fn the_server_heard_of_longest_ago_makes_room() {
        let mut cache = CookieCache::new();
        let server = |n: u8| IpAddr::from([10, 0, 0, n]);
        for n in 0..17 {
            cache.answered(server(n), Instant::from_secs(u64::from(n)), 1_400, Some(cookie(&[n; 4])), None);
        }
        let now = Instant::from_secs(20);
        assert!(cache.advice(server(0), now).option.unwrap().is_request());
        assert_eq!(cache.advice(server(1), now), Advice { option: Some(cookie(&[1; 4])), mss: Some(1_400) });
        assert!(cache.advice(server(16), now).has_cookie());
    }

    #[test]
    fn a_server_that_ignores_the_option_is_asked_once_with_the_old_one() {
        let (mut cache, server, now) = (CookieCache::new(), address("10.0.0.1"), Instant::ZERO);
        let experimental: [bool; 5] = core::array::from_fn(|_| {
            let asked = cache.advice(server, now).option.unwrap().experimental;
            cache.answered(server, now, 1_460, None, Some(asked));
            asked
        });
        assert_eq!(experimental, [false, true, false, false, false]);
    }

    #[test]
    fn lost_data_is_followed_by_silence_that_doubles() {
        let (mut cache, server) = (CookieCache::new(), address("10.0.0.1"));
        let at = Instant::from_secs;
        cache.answered(server, at(0), 1_460, Some(cookie(&[1; 8])), None);
        cache.data_lost(server, at(0), 1_460, 1);
        assert!(cache.advice(server, at(0)).has_cookie(), "one may be lost by chance");
        cache.data_lost(server, at(0), 1_460, 1);
        assert_eq!(cache.advice(server, at(59)).option, None);
        assert!(cache.advice(server, at(60)).has_cookie());
        cache.data_lost(server, at(60), 1_460, 1);
        assert_eq!(cache.advice(server, at(179)).option, None);
        cache.answered(server, at(180), 1_460, None, None);
        cache.data_lost(server, at(181), 1_460, 1);
        assert!(cache.advice(server, at(182)).has_cookie(), "an answer ends the row");
    }

    #[test]
    fn resets_count_for_a_minute() {
        let mut listener = ListenerFastOpen::new(1);
        assert!(listener.allows(Instant::ZERO));
        listener.pending += 1;
        listener.ended(Instant::ZERO, true);
        assert!(!listener.allows(Instant::from_secs(59)));
        assert!(listener.allows(Instant::from_secs(60)));
        listener.pending += 1;
        listener.ended(Instant::from_secs(60), false);
        assert!(listener.allows(Instant::from_secs(60)));
    }
}
