//! Time by SNTP (RFC 5905 §14, RFC 4330): a server, so that a guest that was restored can set its clock by its gateway, and a
//! client.
//!
//! The stack's own time has an arbitrary origin. The server is told the time of day with each packet; the client finds out which
//! time of day a point in the stack's time is.

use core::net::SocketAddr;

use super::List;
use crate::random::{Generator, Use};
use crate::time::{Duration, Instant};
use crate::wire::ntp::{Mode, NtpPacket, NtpTimestamp, PACKET_LEN, VERSION};

/// What a server says of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtpServerConfig {
    /// 1 for a clock of its own, up to 15; the stratum of who told the time, plus one, otherwise.
    pub stratum: u8,
    /// Four letters that say where the time is from.
    pub reference_id: [u8; 4],
    /// The precision of the clock in seconds, as the exponent of two.
    pub precision: i8,
    /// The most that the clock may be wrong.
    pub dispersion: Duration,
}

impl Default for NtpServerConfig {
    /// A computer's clock that itself was set by others, right to 10 ms, read in milliseconds as in browsers: stratum 3, `LOCL`.
    fn default() -> Self {
        NtpServerConfig { stratum: 3, reference_id: *b"LOCL", precision: -10, dispersion: Duration::from_millis(10) }
    }
}

/// Answers a client's packet, which arrived at `received` and whose answer leaves at `sent`, both in microseconds since 1970. `None` for
/// what is no client's packet. An answer is as long as a question, and depends on nothing else, so that a flood (S4) costs no memory
/// and is not amplified.
pub fn ntp_answer(config: &NtpServerConfig, request: &[u8], received: u64, sent: u64) -> Option<[u8; PACKET_LEN]> {
    let request = NtpPacket::parse(request).ok().filter(|packet| packet.mode == Mode::Client)?;
    let fixed_point = (config.dispersion.as_micros() << 16) / 1_000_000;
    // RFC 4330 §6.
    let answer = NtpPacket {
        leap: 0,
        version: request.version,
        mode: Mode::Server,
        stratum: config.stratum,
        poll: request.poll,
        precision: config.precision,
        root_delay: 0,
        root_dispersion: u32::try_from(fixed_point).unwrap_or(u32::MAX),
        reference_id: config.reference_id,
        reference: NtpTimestamp::from_unix_micros(received),
        origin: request.transmit,
        receive: NtpTimestamp::from_unix_micros(received),
        transmit: NtpTimestamp::from_unix_micros(sent),
    };
    let mut out = [0; PACKET_LEN];
    answer.emit(&mut out);
    Some(out)
}

/// The most servers that a client asks.
pub const MAX_NTP_SERVERS: usize = 4;
/// RFC 4330 §10, rule 1: "A client MUST NOT under any conditions use a poll interval less than 15 seconds."
const MIN_INTERVAL: Duration = Duration::from_secs(15);
/// How long an answer may take. One that took longer says little about the time.
const PATIENCE: Duration = Duration::from_secs(5);
/// RFC 4330 §5: a root distance of a second or more is not believed; fixed point.
const MAX_ROOT: u32 = 1 << 16;
/// Doublings of the interval while no server answers.
const MAX_DOUBLINGS: u32 = 6;

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct NtpClientConfig {
    /// Seeds what tells answers from forgeries.
    pub seed: [u64; 2],
    /// The servers; the next one is asked when one does not answer.
    pub servers: List<SocketAddr, MAX_NTP_SERVERS>,
    /// How often the time is asked for, at least 15 s.
    pub interval: Duration,
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    /// This point in the stack's time...
    pub at: Instant,
    /// ...was so many microseconds after 1970.
    pub unix_micros: u64,
    /// The round trip, half of which is the most that the network makes the time wrong.
    pub delay: Duration,
    /// Who says so.
    pub server: SocketAddr,
}

impl TimeOfDay {
    /// The time of day at another point in time, in microseconds since 1970.
    pub fn at(&self, now: Instant) -> u64 {
        match now >= self.at {
            true => self.unix_micros.saturating_add(now.since(self.at).as_micros()),
            false => self.unix_micros.saturating_sub(self.at.since(now).as_micros()),
        }
    }
}

/// A packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtpTransmit {
    /// The server.
    pub server: SocketAddr,
    /// The packet.
    pub packet: [u8; PACKET_LEN],
}

/// Packets sent, received and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NtpCounters {
    /// Questions sent.
    pub sent: u64,
    /// Answers taken.
    pub answers: u64,
    /// Questions that nobody answered in time.
    pub timeouts: u64,
    /// Kisses of death: servers that do not want to be asked (RFC 5905 §7.4).
    pub refusals: u64,
    /// No packet of a server.
    pub malformed: u64,
    /// From somebody else, or not the answer to the last question.
    pub not_ours: u64,
    /// From a server that does not know the time itself.
    pub unusable: u64,
}

/// A question under way.
#[derive(Clone, Copy, Debug)]
struct Question {
    server: SocketAddr,
    /// RFC 4330 §5 compares it with the answer's origin. It is random and not the time, which is nobody's business and which this
    /// host may not know.
    nonce: u64,
    sent_at: Instant,
}

/// An SNTP client. Packets that came to its UDP socket go to [`handle`](Self::handle); [`transmit`](Self::transmit) tells what to send when
/// [`next_timeout`](Self::next_timeout) has come.
#[derive(Clone, Debug)]
pub struct NtpClient {
    config: NtpClientConfig,
    random: Generator,
    question: Option<Question>,
    /// When the question is given up, or the next one asked.
    due: Instant,
    /// Servers passed over so far.
    skipped: usize,
    failures: u32,
    /// Servers that refuse to be asked, by their places.
    refused: u8,
    /// Servers that want to be asked less often: each gets the whole interval before its next question.
    limited: u8,
    time: Option<TimeOfDay>,
    is_new: bool,
    counters: NtpCounters,
}

impl NtpClient {
    /// A client that asks at once.
    pub fn new(now: Instant, config: NtpClientConfig) -> Self {
        NtpClient {
            config,
            random: Generator::new(config.seed, Use::Ntp),
            question: None,
            due: now,
            skipped: 0,
            failures: 0,
            refused: 0,
            limited: 0,
            time: None,
            is_new: false,
            counters: NtpCounters::default(),
        }
    }

    /// When something is due; `None` if no server may be asked.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.server().map(|_| self.due)
    }

    /// The question to send, if it is time for one. One that was not answered is given up.
    pub fn transmit(&mut self, now: Instant) -> Option<NtpTransmit> {
        if now < self.due {
            return None;
        }
        if self.question.take().is_some() {
            self.counters.timeouts += 1;
            self.fail(now);
            return None;
        }
        let server = self.server()?;
        let nonce = self.random.next_u64();
        self.question = Some(Question { server, nonce, sent_at: now });
        self.due = now + PATIENCE;
        self.counters.sent += 1;
        // RFC 4330 §5: all fields but the first octet and the transmit timestamp are zero.
        let packet = NtpPacket {
            leap: 0,
            version: VERSION,
            mode: Mode::Client,
            stratum: 0,
            poll: 0,
            precision: 0,
            root_delay: 0,
            root_dispersion: 0,
            reference_id: [0; 4],
            reference: NtpTimestamp::default(),
            origin: NtpTimestamp::default(),
            receive: NtpTimestamp::default(),
            transmit: NtpTimestamp(nonce),
        };
        let mut out = [0; PACKET_LEN];
        packet.emit(&mut out);
        Some(NtpTransmit { server, packet: out })
    }

    /// Takes a packet that came from `from`.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, packet: &[u8]) {
        let Some(packet) = NtpPacket::parse(packet).ok().filter(|packet| packet.mode == Mode::Server) else {
            self.counters.malformed += 1;
            return;
        };
        let asked = self.question.filter(|question| {
            question.server.ip().to_canonical() == from.ip().to_canonical()
                && question.server.port() == from.port()
                && packet.origin == NtpTimestamp(question.nonce)
                && now < self.due
        });
        let Some(question) = asked else {
            self.counters.not_ours += 1;
            return;
        };
        self.question = None;
        if packet.stratum == 0 {
            self.kissed(now, &packet);
            return;
        }
        // RFC 4330 §5, sanity checks: a clock that is set, at a sensible distance, and a server that took time to answer, if any.
        let usable = packet.leap != 3
            && packet.stratum < 16
            && packet.transmit != NtpTimestamp::default()
            && packet.root_delay < MAX_ROOT
            && packet.root_dispersion < MAX_ROOT;
        let round_trip = now.since(question.sent_at);
        let within = packet.transmit.since(packet.receive).filter(|within| usable && *within <= round_trip);
        let Some(within) = within else {
            self.counters.unusable += 1;
            self.fail(now);
            return;
        };
        self.counters.answers += 1;
        self.failures = 0;
        self.due = now + self.interval();
        let delay = Duration::from_micros(round_trip.as_micros() - within.as_micros());
        // RFC 5905 §8: the offset, with the way back taken for half of the round trip.
        let unix_micros = packet.transmit.to_unix_micros() + delay.as_micros() / 2;
        self.time = Some(TimeOfDay { at: now, unix_micros, delay, server: question.server });
        self.is_new = true;
    }

    /// The time of day, as a server has told it last.
    pub fn time(&self) -> Option<&TimeOfDay> {
        self.time.as_ref()
    }

    /// What a server has told since the last call.
    pub fn poll_event(&mut self) -> Option<TimeOfDay> {
        if core::mem::take(&mut self.is_new) { self.time } else { None }
    }

    /// What was sent and received.
    pub fn counters(&self) -> &NtpCounters {
        &self.counters
    }

    /// RFC 5905 §7.4: DENY and RSTR end the association, after RATE the client asks less often.
    fn kissed(&mut self, now: Instant, packet: &NtpPacket) {
        self.counters.refusals += 1;
        if matches!(&packet.reference_id, b"DENY" | b"RSTR") {
            self.refused |= 1 << self.place();
        } else {
            self.limited |= 1 << self.place();
            self.config.interval = self.interval().backed_off(1).min(Duration::from_secs(1 << 17));
        }
        self.fail(now);
    }

    /// RFC 4330 §10, rules 5 and 6: another server, and ever longer pauses.
    fn fail(&mut self, now: Instant) {
        let pause = MIN_INTERVAL.backed_off(self.failures.min(MAX_DOUBLINGS));
        // A random part keeps clients that have lost the same server from asking all at once.
        let random = self.random.next_u64() % (pause.as_micros() / 4);
        self.failures = self.failures.saturating_add(1);
        self.skipped = self.skipped.wrapping_add(1);
        self.due = now + pause + Duration::from_micros(random);
        if self.limited & (1 << self.place()) != 0 {
            self.due = self.due.max(now + self.interval());
        }
    }

    fn interval(&self) -> Duration {
        self.config.interval.max(MIN_INTERVAL)
    }

    fn place(&self) -> usize {
        let count = self.config.servers.len().max(1);
        let allowed = |place: &usize| self.refused & (1 << place) == 0;
        (0..count).map(|step| (self.skipped + step) % count).find(allowed).unwrap_or(MAX_NTP_SERVERS)
    }

    fn server(&self) -> Option<SocketAddr> {
        self.config.servers.iter().nth(self.place()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS: [&str; 2] = ["10.0.2.2:123", "[fd00::2]:123"];
    /// 2026-01-01, in microseconds since 1970.
    const MIDNIGHT: u64 = 1_767_225_600_000_000;

    fn client() -> NtpClient {
        let servers = SERVERS.iter().map(|server| server.parse().unwrap()).collect();
        NtpClient::new(Instant::ZERO, NtpClientConfig { seed: [5, 6], servers, interval: Duration::from_secs(64) })
    }

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn answered(sent: &NtpTransmit, received: u64) -> [u8; PACKET_LEN] {
        ntp_answer(&NtpServerConfig::default(), &sent.packet, received, received + 10_000).unwrap()
    }

    #[test]
    fn the_time_is_right_to_half_of_the_round_trip() {
        let mut client = client();
        let sent = client.transmit(ms(0)).unwrap();
        assert!(client.transmit(ms(1)).is_none());
        // 20 ms there, 10 ms in the server, 20 ms back.
        client.handle(ms(50), sent.server, &answered(&sent, MIDNIGHT + 20_000));
        let time = client.poll_event().unwrap();
        assert!(time.unix_micros.abs_diff(MIDNIGHT + 50_000) <= 2, "{time:?}");
        assert_eq!(time.delay.as_millis(), 40);
        assert!(time.at(ms(1_050)).abs_diff(MIDNIGHT + 1_050_000) <= 2);
        assert!(time.at(ms(0)).abs_diff(MIDNIGHT) <= 2);
        assert_eq!((client.poll_event(), client.next_timeout()), (None, Some(ms(64_050))));
    }

    #[test]
    fn forged_late_and_repeated_answers_are_ignored() {
        let mut client = client();
        let sent = client.transmit(ms(0)).unwrap();
        let answer = answered(&sent, MIDNIGHT);
        client.handle(ms(1), "10.0.2.3:123".parse().unwrap(), &answer);
        client.handle(ms(1), "10.0.2.2:124".parse().unwrap(), &answer);
        let mut forged = answer;
        forged[31] ^= 1;
        client.handle(ms(1), sent.server, &forged);
        client.handle(ms(6_000), sent.server, &answer);
        assert_eq!((client.counters().not_ours, client.time()), (4, None));
        client.handle(ms(20), sent.server, &answer);
        client.handle(ms(21), sent.server, &answer);
        assert_eq!((client.counters().answers, client.counters().not_ours), (1, 5));
        client.handle(ms(22), sent.server, &sent.packet);
        assert_eq!(client.counters().malformed, 1, "a question is no answer");
    }

    #[test]
    fn servers_that_do_not_know_the_time_are_not_believed() {
        type Damage = &'static dyn Fn(&mut [u8; PACKET_LEN]);
        let damage: [Damage; 6] = [
            &|packet| packet[0] |= 0xc0,
            &|packet| packet[1] = 16,
            &|packet| packet[40..].fill(0),
            &|packet| packet[4..8].copy_from_slice(&[0, 1, 0, 0]),
            &|packet| packet[8..12].copy_from_slice(&[0, 1, 0, 0]),
            // It says that it took ten seconds.
            &|packet| packet[43] += 10,
        ];
        for change in damage {
            let mut client = client();
            let sent = client.transmit(ms(0)).unwrap();
            let mut answer = answered(&sent, MIDNIGHT);
            change(&mut answer);
            client.handle(ms(50), sent.server, &answer);
            assert_eq!((client.counters().unusable, client.time()), (1, None));
            let next = client.next_timeout().unwrap();
            assert!(next >= ms(15_050));
            assert_eq!(client.transmit(next).unwrap().server, SERVERS[1].parse().unwrap());
        }
    }

    #[test]
    fn silent_servers_are_asked_in_turn_and_ever_more_seldom() {
        let mut client = client();
        let mut asked = Vec::new();
        let mut now = Instant::ZERO;
        while now < Instant::from_secs(7_200) {
            now = client.next_timeout().unwrap();
            if let Some(sent) = client.transmit(now) {
                asked.push((now, sent.server));
            }
        }
        assert!(asked.windows(2).all(|pair| pair[1].0.since(pair[0].0) >= MIN_INTERVAL));
        assert!(asked.windows(2).all(|pair| pair[0].1 != pair[1].1));
        assert!((8..16).contains(&asked.len()), "{}", asked.len());
    }

    #[test]
    fn a_server_that_refuses_is_not_asked_again() {
        let mut client = client();
        let mut now = Instant::ZERO;
        for _ in SERVERS {
            now = client.next_timeout().unwrap();
            let sent = client.transmit(now).unwrap();
            let mut kiss = answered(&sent, MIDNIGHT);
            kiss[1] = 0;
            kiss[12..16].copy_from_slice(b"DENY");
            client.handle(now, sent.server, &kiss);
        }
        assert_eq!((client.next_timeout(), client.transmit(now + Duration::from_secs(9_999))), (None, None));
    }

    /// RFC 5905 §7.4: "the client MUST immediately reduce its polling interval to that server and continue to reduce it each time".
    #[test]
    fn a_server_that_is_asked_too_often_is_asked_less_often() {
        for count in [1, 2] {
            let servers = SERVERS[..count].iter().map(|server| server.parse().unwrap()).collect();
            let config = NtpClientConfig { seed: [5, 6], servers, interval: Duration::from_secs(64) };
            let mut client = NtpClient::new(Instant::ZERO, config);
            let (mut asked, mut now) = ([Instant::ZERO; 2], Instant::ZERO);
            for round in 0..4 {
                for last in &mut asked[..count] {
                    let sent = client.transmit(now).unwrap();
                    assert!(round == 0 || now.since(*last) >= Duration::from_secs(64 << round), "{round} {now:?}");
                    *last = now;
                    let mut kiss = answered(&sent, MIDNIGHT);
                    kiss[1] = 0;
                    kiss[12..16].copy_from_slice(b"RATE");
                    client.handle(now, sent.server, &kiss);
                    now = client.next_timeout().unwrap();
                }
            }
        }
    }

    #[test]
    fn the_server_answers_clients_only() {
        let request = |first: u8| {
            let mut packet = [0; PACKET_LEN];
            packet[0] = first;
            packet[40..].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
            packet
        };
        let config = NtpServerConfig::default();
        for version in 1..=4 {
            let answer = ntp_answer(&config, &request(version << 3 | 3), MIDNIGHT, MIDNIGHT + 5).unwrap();
            let packet = NtpPacket::parse(&answer).unwrap();
            assert_eq!((packet.version, packet.mode, packet.stratum), (version, Mode::Server, 3));
            assert_eq!(packet.origin, NtpTimestamp(0x0102_0304_0506_0708));
            assert!(packet.transmit.to_unix_micros().abs_diff(MIDNIGHT + 5) <= 1);
        }
        for first in [0, 4 << 3, 4 << 3 | 4, 4 << 3 | 5, 2 << 3 | 6, 2 << 3 | 7, 5 << 3 | 3] {
            assert_eq!(ntp_answer(&config, &request(first), MIDNIGHT, MIDNIGHT), None, "{first}");
        }
        assert_eq!(ntp_answer(&config, &request(4 << 3 | 3)[..47], MIDNIGHT, MIDNIGHT), None);
    }
}
