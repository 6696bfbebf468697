//! A DHCPv6 client for one interface (RFC 9915): addresses, a delegated prefix, parameters, or parameters only.
//!
//! The contract is that of the [DHCPv4 client](super::dhcp_client): messages that came to UDP port 546 go to
//! [`Dhcpv6Client::handle`]; [`Dhcpv6Client::handle_timeout`] when something is due, then [`Dhcpv6Client::transmit`] and
//! [`Dhcpv6Client::poll_event`] until there is nothing. Everything is sent from port 546 of the interface's link-local address to port
//! 547 of [`SERVERS`](crate::wire::dhcpv6::SERVERS) on its link. Whether an address is free is for the stack to find out (RFC 4862 §5.4).

mod lease;

use core::net::Ipv6Addr;

pub use lease::{Dhcpv6Lease, Dhcpv6Parameters, Granted, MAX_DHCPV6_NAMES};
use lease::{Verdict, times, verdict};

use crate::random::{Generator, Use};
use crate::time::{Duration, Instant};
use crate::wire::dhcpv6::{Duid, Lifetimes, Message, MessageType, Writer, option, status};
use crate::wire::ethernet::MacAddr;

/// The server preference that needs no comparison (RFC 9915 §18.2.1).
const MAX_PREFERENCE: u8 = 255;
/// RFC 9915 §21.23: without a refresh time, parameters are asked for again after a day; never sooner than after ten minutes.
const DEFAULT_REFRESH: Duration = Duration::from_secs(86_400);
const MIN_REFRESH: Duration = Duration::from_secs(600);
/// RFC 9915 §21.24: the range of what a server may set SOL_MAX_RT and INF_MAX_RT to, in seconds.
const MAX_RT_RANGE: core::ops::RangeInclusive<u32> = 60..=86_400;

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct Dhcpv6ClientConfig {
    /// The interface's station, of which the DUID and the numbers of associations are made (RFC 9915 §11.4).
    pub mac: MacAddr,
    /// Seeds transaction numbers and delays.
    pub seed: [u64; 2],
    /// Whether an address is wanted.
    pub address: bool,
    /// Whether a prefix is wanted, for networks behind this host.
    pub prefix: bool,
    /// Whether a server may grant at once.
    pub rapid_commit: bool,
}

impl Dhcpv6ClientConfig {
    /// A client that wants an address, or with `address` and `prefix` both false parameters only, as a router advertisement's flags
    /// M and O say (RFC 4861 §4.2).
    pub fn new(mac: MacAddr, seed: [u64; 2]) -> Self {
        Dhcpv6ClientConfig { mac, seed, address: true, prefix: false, rapid_commit: true }
    }
}

/// What a client has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dhcpv6ClientEvent {
    /// [`Dhcpv6Client::lease`] has what was granted.
    Bound,
    /// Lifetimes were extended; parameters may have changed.
    Renewed,
    /// Nothing of the lease may be used any more: its address is this.
    Lost(Option<Ipv6Addr>),
    /// [`Dhcpv6Client::parameters`] has been told, without a lease.
    Informed,
}

/// What the client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dhcpv6ClientState {
    /// Looks for servers.
    Soliciting,
    /// Has taken an offer.
    Requesting,
    /// Asks whether its lease is still right on this link.
    Confirming,
    /// Has a lease.
    Bound,
    /// Asks its server to extend the lease.
    Renewing,
    /// Asks all servers to.
    Rebinding,
    /// Tells its server that an address is in use.
    Declining,
    /// Gives its lease back.
    Releasing,
    /// Asks for parameters only.
    Informing,
    /// Has been told them.
    Informed,
    /// Has given its lease back.
    Stopped,
}

/// Messages sent, received and dropped, each with its reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dhcpv6ClientCounters {
    /// Messages sent.
    pub sent: u64,
    /// Offers that could be taken.
    pub advertisements: u64,
    /// Answers that counted.
    pub replies: u64,
    /// Addresses that somebody else had.
    pub conflicts: u64,
    /// No DHCPv6 message of a server.
    pub malformed: u64,
    /// For another client, or for another transaction of ours.
    pub not_for_us: u64,
    /// Of a kind, or from a server, that the state does not wait for.
    pub unexpected: u64,
    /// Answers that grant nothing, or what no host can use.
    pub unusable: u64,
}

/// How a message is sent again (RFC 9915 §15): first and longest pause, how often and for how long.
struct Timing {
    first: Duration,
    longest: Duration,
    times: u32,
    span: Option<Duration>,
}

const FOR_EVER: u32 = u32::MAX;

/// The state, with what it needs.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The best offer so far, and its preference.
    Soliciting(Option<(Dhcpv6Lease, u8)>),
    Requesting(Dhcpv6Lease),
    Confirming(Dhcpv6Lease),
    Bound(Dhcpv6Lease),
    Renewing(Dhcpv6Lease),
    Rebinding(Dhcpv6Lease),
    Declining(Dhcpv6Lease),
    Releasing(Dhcpv6Lease),
    Informing,
    Informed,
    Stopped,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Dhcpv6Client {
    config: Dhcpv6ClientConfig,
    duid: Duid,
    random: Generator,
    phase: Phase,
    parameters: Dhcpv6Parameters,
    xid: u32,
    /// When the exchange began; its first message has left.
    begun: Option<Instant>,
    /// Messages of the exchange sent so far.
    attempts: u32,
    /// The pause after the last one.
    pause: Duration,
    due: Instant,
    to_send: bool,
    sol_max_rt: Duration,
    inf_max_rt: Duration,
    lost: Option<Option<Ipv6Addr>>,
    news: Option<Dhcpv6ClientEvent>,
    counters: Dhcpv6ClientCounters,
}

impl Dhcpv6Client {
    /// A client that begins after a random delay of up to a second (RFC 9915 §18.2.1 and §18.2.6).
    pub fn new(now: Instant, config: Dhcpv6ClientConfig) -> Self {
        let mut client = Dhcpv6Client {
            config,
            duid: Duid::of_station(config.mac),
            random: Generator::new(config.seed, Use::Dhcpv6Client),
            phase: Phase::Stopped,
            parameters: Dhcpv6Parameters::default(),
            xid: 0,
            begun: None,
            attempts: 0,
            pause: Duration::ZERO,
            due: Instant::FAR_FUTURE,
            to_send: false,
            sol_max_rt: Duration::from_secs(3_600),
            inf_max_rt: Duration::from_secs(3_600),
            lost: None,
            news: None,
            counters: Dhcpv6ClientCounters::default(),
        };
        client.start(now);
        client
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if nothing is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        (self.due < Instant::FAR_FUTURE).then_some(self.due)
    }

    /// What the client is doing.
    pub fn state(&self) -> Dhcpv6ClientState {
        match self.phase {
            Phase::Soliciting(_) => Dhcpv6ClientState::Soliciting,
            Phase::Requesting(_) => Dhcpv6ClientState::Requesting,
            Phase::Confirming(_) => Dhcpv6ClientState::Confirming,
            Phase::Bound(_) => Dhcpv6ClientState::Bound,
            Phase::Renewing(_) => Dhcpv6ClientState::Renewing,
            Phase::Rebinding(_) => Dhcpv6ClientState::Rebinding,
            Phase::Declining(_) => Dhcpv6ClientState::Declining,
            Phase::Releasing(_) => Dhcpv6ClientState::Releasing,
            Phase::Informing => Dhcpv6ClientState::Informing,
            Phase::Informed => Dhcpv6ClientState::Informed,
            Phase::Stopped => Dhcpv6ClientState::Stopped,
        }
    }

    /// What was granted, while it may be used.
    pub fn lease(&self) -> Option<&Dhcpv6Lease> {
        match &self.phase {
            Phase::Confirming(lease) | Phase::Bound(lease) | Phase::Renewing(lease) | Phase::Rebinding(lease) => {
                Some(lease)
            }
            _ => None,
        }
    }

    /// The network's parameters, as a server has told them last.
    pub fn parameters(&self) -> &Dhcpv6Parameters {
        &self.parameters
    }

    /// What the client has sent, received and dropped.
    pub fn counters(&self) -> &Dhcpv6ClientCounters {
        &self.counters
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Dhcpv6ClientEvent> {
        self.lost.take().map(Dhcpv6ClientEvent::Lost).or_else(|| self.news.take())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.due {
            return;
        }
        if let Some(lease) = self.lease().copied()
            && now >= lease.expires
        {
            self.lose(&lease);
            self.start(now);
            return;
        }
        match self.phase {
            Phase::Soliciting(Some((offer, _))) => self.exchange(now, Phase::Requesting(offer)),
            Phase::Bound(lease) | Phase::Renewing(lease) if now >= lease.rebind_at => {
                self.exchange(now, Phase::Rebinding(lease));
            }
            Phase::Bound(lease) => self.exchange(now, Phase::Renewing(lease)),
            Phase::Informed => self.exchange(now, Phase::Informing),
            Phase::Stopped => self.due = Instant::FAR_FUTURE,
            _ => self.send_again(now),
        }
    }

    /// RFC 9915 §15: the same message again after a random pause that doubles, or an end.
    fn send_again(&mut self, now: Instant) {
        let timing = self.timing();
        let elapsed = self.begun.map_or(Duration::ZERO, |begun| now.since(begun));
        if self.attempts >= timing.times || timing.span.is_some_and(|span| elapsed >= span) {
            match self.phase {
                // §18.2.3: no answer, no objection.
                Phase::Confirming(lease) => self.settle(lease),
                Phase::Releasing(_) => self.stop(),
                _ => self.start(now),
            }
            return;
        }
        let (base, doublings) = match self.pause {
            Duration::ZERO => (timing.first, 0),
            pause => (pause, 1),
        };
        let mut pause = base.backed_off(doublings);
        if pause > timing.longest {
            pause = timing.longest;
        }
        // RAND is between -0.1 and 0.1; §18.2.1: for the first SOLICIT it is above zero.
        let tenth = pause.as_micros() / 10;
        let random = self.random.next_u64() % (2 * tenth + 1);
        let is_first_solicit = matches!(self.phase, Phase::Soliciting(_)) && self.attempts == 0;
        let random = if is_first_solicit { tenth + random / 2 } else { random };
        self.pause = Duration::from_micros(pause.as_micros() - tenth + random);
        self.attempts += 1;
        self.due = now + self.pause;
        self.to_send = true;
        let end = match &self.phase {
            Phase::Renewing(lease) => lease.rebind_at,
            Phase::Rebinding(lease) => lease.expires,
            _ => return,
        };
        self.due = self.due.min(end);
    }

    /// RFC 9915 §7.6.
    fn timing(&self) -> Timing {
        let timing = |first, longest, times| Timing {
            first: Duration::from_secs(first),
            longest: Duration::from_secs(longest),
            times,
            span: None,
        };
        match self.phase {
            Phase::Soliciting(_) => Timing { longest: self.sol_max_rt, ..timing(1, 0, FOR_EVER) },
            Phase::Requesting(_) => timing(1, 30, 10),
            Phase::Confirming(_) => Timing { span: Some(Duration::from_secs(10)), ..timing(1, 4, FOR_EVER) },
            Phase::Renewing(_) | Phase::Rebinding(_) => timing(10, 600, FOR_EVER),
            Phase::Declining(_) | Phase::Releasing(_) => timing(1, 1 << 20, 4),
            _ => Timing { longest: self.inf_max_rt, ..timing(1, 0, FOR_EVER) },
        }
    }

    /// Writes the next message into `out`, which needs 512 octets, and returns its length, if there is one to send.
    pub fn transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        if !core::mem::take(&mut self.to_send) {
            return None;
        }
        let begun = *self.begun.get_or_insert(now);
        let (kind, lease) = match &self.phase {
            Phase::Soliciting(_) => (MessageType::Solicit, None),
            Phase::Requesting(lease) => (MessageType::Request, Some(lease)),
            Phase::Confirming(lease) => (MessageType::Confirm, Some(lease)),
            Phase::Renewing(lease) => (MessageType::Renew, Some(lease)),
            Phase::Rebinding(lease) => (MessageType::Rebind, Some(lease)),
            Phase::Declining(lease) => (MessageType::Decline, Some(lease)),
            Phase::Releasing(lease) => (MessageType::Release, Some(lease)),
            Phase::Informing => (MessageType::InformationRequest, None),
            Phase::Bound(_) | Phase::Informed | Phase::Stopped => return None,
        };
        let mut writer = Writer::new(out, kind, self.xid);
        writer.option(option::CLIENT_ID, &[self.duid.as_octets()]);
        // §16: in all that is for one server, and in nothing else.
        if let Some(lease) = lease
            && !matches!(kind, MessageType::Confirm | MessageType::Rebind)
        {
            writer.option(option::SERVER_ID, &[lease.server.as_octets()]);
        }
        let hundredths = now.since(begun).as_millis() / 10;
        let elapsed = u16::try_from(hundredths).unwrap_or(u16::MAX);
        writer.option(option::ELAPSED_TIME, &[&elapsed.to_be_bytes()]);
        if kind == MessageType::Solicit && self.config.rapid_commit {
            writer.option(option::RAPID_COMMIT, &[]);
        }
        if !matches!(kind, MessageType::Confirm | MessageType::Release | MessageType::Decline) {
            let wanted = [
                option::DNS_SERVERS,
                option::DOMAIN_LIST,
                option::SOL_MAX_RT,
                option::INF_MAX_RT,
                option::REFRESH_TIME,
            ];
            // §21.7: SOL_MAX_RT in every SOLICIT; the refresh time and INF_MAX_RT belong to INFORMATION-REQUEST.
            let count = if kind == MessageType::InformationRequest { 5 } else { 3 };
            let codes = wanted.map(u16::to_be_bytes);
            writer.option(option::OPTION_REQUEST, &[codes[..count].as_flattened()]);
        }
        if kind != MessageType::InformationRequest {
            let parts = [
                (option::IA_NA, self.config.address, lease.and_then(|lease| lease.address)),
                (
                    option::IA_PD,
                    self.config.prefix && kind != MessageType::Confirm,
                    lease.and_then(|lease| lease.prefix),
                ),
            ];
            for (code, wanted, granted) in parts {
                // §18.2.8: a DECLINE has the addresses that are declined.
                if !wanted || (kind == MessageType::Decline && code == option::IA_PD) {
                    continue;
                }
                let open = writer.begin_association(code, self.iaid(), 0, 0);
                if let Some(Granted { address, length, .. }) = granted {
                    writer.lifetimes(&Lifetimes { address, length, preferred: 0, valid: 0 });
                }
                writer.end(open);
            }
        }
        let len = writer.finish()?;
        self.counters.sent += 1;
        Some(len)
    }

    /// Takes a message that came to port 546.
    pub fn handle(&mut self, now: Instant, message: &[u8]) {
        if self.lease().is_some_and(|lease| now >= lease.expires) {
            self.due = now;
            self.handle_timeout(now);
        }
        let Some(message) = Message::parse(message)
            .filter(|message| matches!(message.kind(), MessageType::Advertise | MessageType::Reply))
        else {
            self.counters.malformed += 1;
            return;
        };
        // §16.3 and §16.10.
        let Some(server) = message.duid(option::SERVER_ID) else {
            self.counters.malformed += 1;
            return;
        };
        if message.xid() != self.xid || message.duid(option::CLIENT_ID) != Some(self.duid) {
            self.counters.not_for_us += 1;
            return;
        }
        let is_advertisement = message.kind() == MessageType::Advertise;
        match self.phase {
            Phase::Soliciting(best) if is_advertisement => self.offered(now, &message, server, best),
            // §18.2.10.1: a REPLY to a SOLICIT counts if both sides have said so.
            Phase::Soliciting(_)
                if !is_advertisement
                    && self.config.rapid_commit
                    && message.options().find(option::RAPID_COMMIT).is_some() =>
            {
                self.replied(now, &message, server);
            }
            Phase::Requesting(lease) | Phase::Renewing(lease) if !is_advertisement && lease.server == server => {
                self.replied(now, &message, server);
            }
            Phase::Rebinding(_) if !is_advertisement => self.replied(now, &message, server),
            Phase::Confirming(lease) if !is_advertisement => {
                self.counters.replies += 1;
                if message.options().status() == status::NOT_ON_LINK {
                    self.lose(&lease);
                    self.start(now);
                } else {
                    self.settle(lease);
                }
            }
            Phase::Releasing(lease) if !is_advertisement && lease.server == server => {
                self.counters.replies += 1;
                self.stop();
            }
            Phase::Declining(lease) if !is_advertisement && lease.server == server => {
                self.counters.replies += 1;
                self.start(now);
            }
            Phase::Informing if !is_advertisement => {
                self.counters.replies += 1;
                self.learn(&message);
                let told = message.options().find(option::REFRESH_TIME).and_then(|value| value.try_into().ok());
                let refresh =
                    told.map_or(DEFAULT_REFRESH, |octets| Duration::from_secs(u32::from_be_bytes(octets).into()));
                self.phase = Phase::Informed;
                self.rest(now + refresh.max(MIN_REFRESH));
                self.news = Some(Dhcpv6ClientEvent::Informed);
            }
            _ => self.counters.unexpected += 1,
        }
    }

    /// §18.2.9: an offer is kept until the first pause is over, unless its server insists.
    fn offered(&mut self, now: Instant, message: &Message<'_>, server: Duid, best: Option<(Dhcpv6Lease, u8)>) {
        self.learn_limits(message);
        let Some(lease) = self.read_lease(now, message, server) else {
            self.counters.unusable += 1;
            return;
        };
        self.counters.advertisements += 1;
        let preference = match message.options().find(option::PREFERENCE) {
            Some([preference]) => *preference,
            _ => 0,
        };
        if best.is_none_or(|(_, known)| preference > known) {
            self.phase = Phase::Soliciting(Some((lease, preference)));
        }
        // After the first pause the first offer is taken.
        if preference == MAX_PREFERENCE || self.attempts > 1 {
            self.exchange(now, Phase::Requesting(lease));
        }
    }

    /// §18.2.10.1.
    fn replied(&mut self, now: Instant, message: &Message<'_>, server: Duid) {
        self.learn_limits(message);
        let verdicts = self.verdicts(now, message);
        let had = self.lease().copied();
        match message.options().status() {
            status::SUCCESS => {}
            status::NOT_ON_LINK => {
                self.start_anew(now, had);
                return;
            }
            // "the client MAY continue": by its own pauses.
            _ => {
                self.counters.unusable += 1;
                return;
            }
        }
        if verdicts.contains(&Verdict::NotOnLink) {
            self.start_anew(now, had);
        } else if let Some(lease) = self.read_lease(now, message, server) {
            self.counters.replies += 1;
            self.learn(message);
            self.settle(lease);
            let moved = had.is_some_and(|old| {
                old.address.map(|granted| granted.address) != lease.address.map(|granted| granted.address)
            });
            if let Some(old) = had.filter(|_| moved) {
                self.lost = Some(old.address.map(|granted| granted.address));
            }
            self.news = Some(match had {
                Some(_) if !moved => Dhcpv6ClientEvent::Renewed,
                _ => Dhcpv6ClientEvent::Bound,
            });
        } else if verdicts.contains(&Verdict::NoBinding)
            && let Some(lease) = had
        {
            // The server has forgotten it: it is asked for again.
            self.lose(&lease);
            self.exchange(now, Phase::Requesting(Dhcpv6Lease { server, ..lease }));
        } else if had.is_some() {
            // The server grants no more time; what there is may be used to its end.
            self.counters.unusable += 1;
        } else {
            self.counters.unusable += 1;
            self.start(now);
        }
    }

    fn start_anew(&mut self, now: Instant, had: Option<Dhcpv6Lease>) {
        if let Some(lease) = had {
            self.lose(&lease);
        }
        self.start(now);
    }

    fn verdicts(&self, now: Instant, message: &Message<'_>) -> [Verdict; 2] {
        let of = |wanted, code| match wanted {
            true => verdict(message, code, self.iaid(), now),
            false => Verdict::Nothing,
        };
        [of(self.config.address, option::IA_NA), of(self.config.prefix, option::IA_PD)]
    }

    /// What a message grants; `None` if that is nothing.
    fn read_lease(&self, now: Instant, message: &Message<'_>, server: Duid) -> Option<Dhcpv6Lease> {
        let granted = self.verdicts(now, message).map(|verdict| match verdict {
            Verdict::Granted(granted, t1, t2) => Some((granted, t1, t2)),
            _ => None,
        });
        let [address, prefix] = granted.map(|part| part.map(|(granted, ..)| granted));
        let expires = [address, prefix].into_iter().flatten().map(|granted| granted.valid_until).max()?;
        let (renew_at, rebind_at) = times(granted, now);
        Some(Dhcpv6Lease {
            server,
            address,
            prefix,
            parameters: Dhcpv6Parameters::read(message.options()),
            renew_at: renew_at.min(expires),
            rebind_at: rebind_at.min(expires),
            expires,
        })
    }

    fn learn(&mut self, message: &Message<'_>) {
        self.learn_limits(message);
        self.parameters = Dhcpv6Parameters::read(message.options());
    }

    /// §21.24 and §21.25.
    fn learn_limits(&mut self, message: &Message<'_>) {
        let told = |code| {
            let octets: [u8; 4] = message.options().find(code)?.try_into().ok()?;
            let secs = Some(u32::from_be_bytes(octets)).filter(|secs| MAX_RT_RANGE.contains(secs))?;
            Some(Duration::from_secs(secs.into()))
        };
        self.sol_max_rt = told(option::SOL_MAX_RT).unwrap_or(self.sol_max_rt);
        self.inf_max_rt = told(option::INF_MAX_RT).unwrap_or(self.inf_max_rt);
    }

    /// Tells that somebody else has the address: the server is told (RFC 9915 §18.2.8), and the client begins anew.
    pub fn address_is_taken(&mut self, now: Instant) {
        if let Some(lease) = self.lease().copied()
            && lease.address.is_some()
        {
            self.counters.conflicts += 1;
            self.lose(&lease);
            self.exchange(now, Phase::Declining(lease));
        }
    }

    /// The link may be another one: asks whether the address is right there (RFC 9915 §18.2.3), or with a delegated prefix for both
    /// again (§18.2.12).
    pub fn link_changed(&mut self, now: Instant) {
        match self.lease().copied() {
            Some(lease) if lease.prefix.is_some() => self.exchange(now, Phase::Rebinding(lease)),
            Some(lease) => self.exchange(now, Phase::Confirming(lease)),
            None => self.start(now),
        }
    }

    /// Gives the lease back (RFC 9915 §18.2.7) and stops. Nothing of it may be used from now on.
    pub fn release(&mut self, now: Instant) {
        match self.lease().copied() {
            Some(lease) => {
                self.lose(&lease);
                self.exchange(now, Phase::Releasing(lease));
            }
            None => self.stop(),
        }
    }

    /// Begins from the beginning, after a random delay of up to a second.
    fn start(&mut self, now: Instant) {
        let stateful = self.config.address || self.config.prefix;
        self.exchange(now, if stateful { Phase::Soliciting(None) } else { Phase::Informing });
        self.to_send = false;
        self.attempts = 0;
        self.pause = Duration::ZERO;
        self.due = now + Duration::from_micros(self.random.next_u64() % 1_000_000);
    }

    fn stop(&mut self) {
        self.phase = Phase::Stopped;
        self.rest(Instant::FAR_FUTURE);
    }

    /// The lease holds until it is to be renewed.
    fn settle(&mut self, lease: Dhcpv6Lease) {
        self.phase = Phase::Bound(lease);
        self.rest(lease.renew_at);
    }

    fn rest(&mut self, due: Instant) {
        self.to_send = false;
        self.due = due;
    }

    /// Begins an exchange.
    fn exchange(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.xid = self.random.next_u32() >> 8;
        self.begun = None;
        self.attempts = 0;
        self.pause = Duration::ZERO;
        self.send_again(now);
    }

    fn lose(&mut self, lease: &Dhcpv6Lease) {
        let was_told = !matches!(self.news, Some(Dhcpv6ClientEvent::Bound));
        self.news = None;
        if was_told {
            self.lost = Some(lease.address.map(|granted| granted.address));
        }
    }

    fn iaid(&self) -> u32 {
        let MacAddr([_, _, c, d, e, f]) = self.config.mac;
        u32::from_be_bytes([c, d, e, f])
    }
}
