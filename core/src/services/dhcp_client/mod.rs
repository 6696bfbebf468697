//! A DHCP client for one interface (RFC 2131), with rapid commit (RFC 4039), classless routes (RFC 3442), identifiers of RFC 4361
//! and the IPv6-only option (RFC 8925).
//!
//! The contract is that of the stack. Messages that came to UDP port 68 go to [`DhcpClient::handle`]; when
//! [`DhcpClient::next_timeout`] is due, [`DhcpClient::handle_timeout`] is called; then [`DhcpClient::transmit`] until there is
//! nothing, and [`DhcpClient::poll_event`] until there is none. Events tell what to do with the interface; the one that has to be
//! answered is [`DhcpClientEvent::Check`]: whether somebody has the address is for the stack to find out (RFC 5227).

mod lease;
mod message;

use core::net::{Ipv4Addr, SocketAddrV4};

pub use lease::{DhcpLease, DhcpRoute, MAX_ROUTES, MAX_SERVERS};
use message::Outgoing;

use super::Text;
use crate::random::{Generator, Use};
use crate::time::{Duration, Instant};
use crate::wire::dhcp::{Message, MessageType, Op, option};
use crate::wire::ethernet::MacAddr;

/// RFC 2131 §4.1: "the delay before the first retransmission SHOULD be 4 seconds randomized by the value of a uniform random
/// number chosen from the range -1 to +1", doubled each time up to 64 seconds.
const FIRST_DELAY: Duration = Duration::from_secs(4);
const MAX_DOUBLINGS: u32 = 4;
/// How often a REQUEST is sent before the client begins anew (RFC 2131 §3.1, step 5: four retransmissions, 60 s in all).
const MAX_REQUESTS: u32 = 4;
/// The same for the REQUEST of a client that had a lease: a host that has moved should not wait for long.
const MAX_REBOOTS: u32 = 2;
/// RFC 2131 §4.4.5: while it renews or rebinds, a client waits half of what is left, "down to a minimum of 60 seconds".
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// RFC 2131 §3.1, step 5: after a DECLINE, "the client SHOULD wait a minimum of ten seconds before restarting".
const DECLINE_PAUSE: Duration = Duration::from_secs(10);
/// RFC 8925 §3.4, MIN_V6ONLY_WAIT.
const MIN_IPV6_ONLY: Duration = Duration::from_secs(300);

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct DhcpClientConfig {
    /// The interface's station.
    pub mac: MacAddr,
    /// Seeds transaction numbers and delays.
    pub seed: [u64; 2],
    /// The name that the client calls itself (option 12), empty for none.
    pub hostname: Text<63>,
    /// The address that this host had before a restart: the client begins in INIT-REBOOT and asks for it.
    pub former: Option<Ipv4Addr>,
    /// Whether a server may grant an address at once (RFC 4039).
    pub rapid_commit: bool,
    /// Whether this host does without IPv4 where the network prefers that (RFC 8925).
    pub ipv6_only: bool,
    /// Whether an address is checked before it is used: see [`DhcpClientEvent::Check`].
    pub check: bool,
    /// The longest random delay before the first message (RFC 2131 §4.4.1 has 1 to 10 s, for hosts that are all switched on at once).
    pub start_delay: Duration,
}

impl DhcpClientConfig {
    /// A client that checks addresses, takes rapid commits, needs IPv4 and begins at once.
    pub fn new(mac: MacAddr, seed: [u64; 2]) -> Self {
        DhcpClientConfig {
            mac,
            seed,
            hostname: Text::EMPTY,
            former: None,
            rapid_commit: true,
            ipv6_only: false,
            check: true,
            start_delay: Duration::ZERO,
        }
    }
}

/// What a client has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DhcpClientEvent {
    /// A server has granted this address. Find out whether somebody has it, and call [`DhcpClient::address_is_free`] or
    /// [`DhcpClient::address_is_taken`].
    Check(Ipv4Addr),
    /// The address can be used: [`DhcpClient::lease`] has it, with the network's parameters.
    Bound(Ipv4Addr),
    /// The lease was extended; parameters may have changed.
    Renewed(Ipv4Addr),
    /// This address must be used no longer. The client looks for another.
    Lost(Ipv4Addr),
    /// The network prefers hosts without IPv4, and the client rests until then (RFC 8925).
    Ipv6Only(Instant),
    /// A server has answered [`DhcpClient::inform`]: [`DhcpClient::parameters`] has what it says.
    Informed,
}

/// The states of RFC 2131 figure 5, and what lies beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DhcpClientState {
    /// Waits to begin.
    Init,
    /// Has asked for offers.
    Selecting,
    /// Has taken an offer.
    Requesting,
    /// Has asked for its former address.
    Rebooting,
    /// Has been granted an address, which is being checked.
    Checking,
    /// Has a lease.
    Bound,
    /// Has asked its server to extend the lease.
    Renewing,
    /// Has asked all servers to extend the lease.
    Rebinding,
    /// Has an address from elsewhere and asks for the other parameters.
    Informing,
    /// Has been told them.
    Informed,
    /// Rests, since the network prefers hosts without IPv4.
    Ipv6Only,
    /// Has given its lease back, until [`DhcpClient::restart`].
    Stopped,
}

/// Messages sent, received and dropped, each with its reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DhcpClientCounters {
    /// Messages sent.
    pub sent: u64,
    /// Offers taken.
    pub offers: u64,
    /// Leases granted or extended, and INFORM answered.
    pub acks: u64,
    /// Refusals that counted.
    pub naks: u64,
    /// Addresses that somebody else had.
    pub conflicts: u64,
    /// No DHCP message.
    pub malformed: u64,
    /// For another client, or for another transaction of ours: late answers are among these.
    pub not_for_us: u64,
    /// Of a kind, or from a server, that the state does not wait for.
    pub unexpected: u64,
    /// With an address, mask or lease that no host can use.
    pub unusable: u64,
}

/// A message to send from port 68.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhcpTransmit {
    /// The source address: unspecified while there is none.
    pub source: Ipv4Addr,
    /// A server, or 255.255.255.255.
    pub destination: SocketAddrV4,
    /// Octets of the message in the caller's buffer.
    pub len: usize,
}

/// How far a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Checking,
    Bound,
    Renewing,
    Rebinding,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Init,
    /// With the offer of a server that has disappointed before, for want of a better one.
    Selecting(Option<DhcpLease>),
    Requesting(DhcpLease),
    Rebooting(Ipv4Addr),
    Leased(Stage, DhcpLease),
    Informing(Ipv4Addr),
    Informed(DhcpLease),
    Ipv6Only,
    Stopped,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct DhcpClient {
    config: DhcpClientConfig,
    random: Generator,
    phase: Phase,
    /// When the phase's timer is due.
    due: Instant,
    xid: u32,
    /// When the client began to acquire or to extend a lease.
    begun: Instant,
    /// When the last DISCOVER was sent.
    discovered: Instant,
    /// Messages of the phase sent so far.
    attempts: u32,
    /// Leases lost in a row, without one that was extended.
    failures: u32,
    /// The address to ask for in DISCOVER: the last one that this host had.
    former: Option<Ipv4Addr>,
    /// The server that has refused or not answered last: others go first.
    avoided: Option<Ipv4Addr>,
    outgoing: Option<Outgoing>,
    lost: Option<Ipv4Addr>,
    news: Option<DhcpClientEvent>,
    counters: DhcpClientCounters,
}

impl DhcpClient {
    /// A client that begins now.
    pub fn new(now: Instant, config: DhcpClientConfig) -> Self {
        let mut client = DhcpClient {
            config,
            random: Generator::new(config.seed, Use::DhcpClient),
            phase: Phase::Init,
            due: now,
            xid: 0,
            begun: now,
            discovered: now,
            attempts: 0,
            failures: 0,
            former: config.former,
            avoided: None,
            outgoing: None,
            lost: None,
            news: None,
            counters: DhcpClientCounters::default(),
        };
        let longest = config.start_delay.as_micros();
        client.due = now + Duration::from_micros(client.random.next_u64() % longest.saturating_add(1).max(1));
        client
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if nothing is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        (self.due < Instant::FAR_FUTURE).then_some(self.due)
    }

    /// Where the client is in RFC 2131's figure 5.
    pub fn state(&self) -> DhcpClientState {
        match self.phase {
            Phase::Init => DhcpClientState::Init,
            Phase::Selecting(_) => DhcpClientState::Selecting,
            Phase::Requesting(_) => DhcpClientState::Requesting,
            Phase::Rebooting(_) => DhcpClientState::Rebooting,
            Phase::Leased(Stage::Checking, _) => DhcpClientState::Checking,
            Phase::Leased(Stage::Bound, _) => DhcpClientState::Bound,
            Phase::Leased(Stage::Renewing, _) => DhcpClientState::Renewing,
            Phase::Leased(Stage::Rebinding, _) => DhcpClientState::Rebinding,
            Phase::Informing(_) => DhcpClientState::Informing,
            Phase::Informed(_) => DhcpClientState::Informed,
            Phase::Ipv6Only => DhcpClientState::Ipv6Only,
            Phase::Stopped => DhcpClientState::Stopped,
        }
    }

    /// The lease, while its address may be used.
    pub fn lease(&self) -> Option<&DhcpLease> {
        match &self.phase {
            Phase::Leased(Stage::Bound | Stage::Renewing | Stage::Rebinding, lease) => Some(lease),
            _ => None,
        }
    }

    /// What was granted but is still being checked: see [`DhcpClientEvent::Check`].
    pub fn unchecked(&self) -> Option<&DhcpLease> {
        match &self.phase {
            Phase::Leased(Stage::Checking, lease) => Some(lease),
            _ => None,
        }
    }

    /// What the network's parameters are: of the lease, or of the answer to INFORM.
    pub fn parameters(&self) -> Option<&DhcpLease> {
        match &self.phase {
            Phase::Informed(parameters) => Some(parameters),
            _ => self.lease(),
        }
    }

    /// What the client has sent, received and dropped.
    pub fn counters(&self) -> &DhcpClientCounters {
        &self.counters
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<DhcpClientEvent> {
        self.lost.take().map(DhcpClientEvent::Lost).or_else(|| self.news.take())
    }

    /// Writes the next message into `out`, which needs 548 octets, if there is one to send.
    pub fn transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<DhcpTransmit> {
        let message = self.outgoing.take()?;
        if message == Outgoing::Discover {
            self.discovered = now;
        }
        let transmit = self.write(now, message, out)?;
        self.counters.sent += 1;
        Some(transmit)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.due {
            return;
        }
        match self.phase {
            Phase::Init => match self.config.former.take() {
                Some(address) => self.begin(now, Phase::Rebooting(address), Outgoing::Request),
                None => self.begin(now, Phase::Selecting(None), Outgoing::Discover),
            },
            Phase::Ipv6Only => self.begin(now, Phase::Selecting(None), Outgoing::Discover),
            Phase::Selecting(Some(offer)) => self.take_offer(now, offer),
            Phase::Selecting(None) => self.send(now, Outgoing::Discover),
            Phase::Requesting(offer) if self.attempts > MAX_REQUESTS => {
                self.avoided = Some(offer.server);
                self.fail(now);
            }
            // RFC 2131 §4.4.2: it begins anew if nobody answers.
            Phase::Rebooting(_) if self.attempts >= MAX_REBOOTS => {
                self.begin(now, Phase::Selecting(None), Outgoing::Discover);
            }
            Phase::Requesting(_) | Phase::Rebooting(_) => self.send(now, Outgoing::Request),
            Phase::Informing(_) => self.send(now, Outgoing::Inform),
            Phase::Leased(_, lease) if now >= lease.expires => {
                // RFC 2131 §4.4.5: "the client moves to INIT state, MUST immediately stop any other network processing".
                self.lose(lease);
                self.fail(now);
            }
            Phase::Leased(stage, lease) => self.extend(now, stage, lease),
            Phase::Informed(_) | Phase::Stopped => self.due = Instant::FAR_FUTURE,
        }
    }

    /// Takes a message that came to port 68.
    pub fn handle(&mut self, now: Instant, message: &[u8]) {
        // A lease that has run out while nobody looked is not extended any more.
        if matches!(self.phase, Phase::Leased(_, lease) if now >= lease.expires) {
            self.due = now;
            self.handle_timeout(now);
        }
        let Ok(message) = Message::parse(message) else {
            self.counters.malformed += 1;
            return;
        };
        let is_ours =
            message.op() == Op::Reply && message.xid() == self.xid && message.hardware() == (1, &self.config.mac.0[..]);
        if !is_ours {
            self.counters.not_for_us += 1;
            return;
        }
        if !self.expects(&message) {
            self.counters.unexpected += 1;
            return;
        }
        match (message.kind(), self.phase) {
            (MessageType::Nak, _) => self.refused(now, &message),
            (MessageType::Ack, Phase::Informing(address)) => match DhcpLease::read_parameters(&message, address) {
                Some(parameters) => {
                    self.counters.acks += 1;
                    self.phase = Phase::Informed(parameters);
                    self.rest(Instant::FAR_FUTURE);
                    self.news = Some(DhcpClientEvent::Informed);
                }
                None => self.counters.unusable += 1,
            },
            (_, phase) => self.offered_or_granted(now, &message, phase),
        }
    }

    /// Whether the state waits for such a message, and from this server.
    fn expects(&self, message: &Message<'_>) -> bool {
        let server = message.address_option(option::SERVER_ID);
        match (message.kind(), &self.phase) {
            (MessageType::Offer, Phase::Selecting(_)) => true,
            // RFC 4039 §3.1.
            (MessageType::Ack, Phase::Selecting(_)) => {
                self.config.rapid_commit && message.option(option::RAPID_COMMIT).is_some()
            }
            (MessageType::Ack, Phase::Informing(_)) => true,
            (MessageType::Ack | MessageType::Nak, phase) => match phase {
                Phase::Requesting(lease) | Phase::Leased(Stage::Renewing, lease) => server == Some(lease.server),
                Phase::Rebooting(_) | Phase::Leased(Stage::Rebinding, _) => true,
                _ => false,
            },
            _ => false,
        }
    }

    fn offered_or_granted(&mut self, now: Instant, message: &Message<'_>, phase: Phase) {
        if let Some(wait) = self.ipv6_only_wait(message) {
            // RFC 8925 §3.2: "the client SHOULD NOT request the IPv4 address", and one that has it stops using it.
            if let Phase::Leased(_, lease) = phase {
                self.lose(lease);
            }
            self.phase = Phase::Ipv6Only;
            self.rest(now + wait);
            self.news = Some(DhcpClientEvent::Ipv6Only(self.due));
            return;
        }
        let kept = match phase {
            Phase::Requesting(DhcpLease { address, .. }) | Phase::Leased(_, DhcpLease { address, .. }) => Some(address),
            Phase::Rebooting(address) => Some(address),
            _ => None,
        };
        // An ACK is for the address that was asked for.
        let granted = DhcpLease::read(message, now, &mut self.random);
        let Some(lease) = granted.filter(|lease| kept.is_none_or(|address| address == lease.address)) else {
            self.counters.unusable += 1;
            return;
        };
        match (message.kind(), phase) {
            (MessageType::Offer, Phase::Selecting(other)) => {
                self.counters.offers += 1;
                if self.avoided == Some(lease.server) {
                    self.phase = Phase::Selecting(Some(other.unwrap_or(lease)));
                } else {
                    self.take_offer(now, lease);
                }
            }
            (_, Phase::Leased(_, _)) => {
                self.counters.acks += 1;
                self.failures = 0;
                self.phase = Phase::Leased(Stage::Bound, lease);
                self.rest(lease.renew_at);
                self.news = Some(DhcpClientEvent::Renewed(lease.address));
            }
            _ => self.granted(now, lease),
        }
    }

    /// How long the network wants this host to do without IPv4, if this host can.
    fn ipv6_only_wait(&self, message: &Message<'_>) -> Option<Duration> {
        let secs = message.u32_option(option::IPV6_ONLY_PREFERRED).filter(|_| self.config.ipv6_only)?;
        Some(Duration::from_secs(secs.into()).max(MIN_IPV6_ONLY))
    }

    /// Tells that nobody answered for the address of [`DhcpClientEvent::Check`].
    pub fn address_is_free(&mut self, now: Instant) {
        if let Phase::Leased(Stage::Checking, lease) = self.phase {
            self.bind(now, lease);
        }
    }

    /// Tells that somebody else has the address that was granted, whenever that shows: the server is told (RFC 2131 §3.1,
    /// step 5, and §4.4.4; RFC 5227 §2.4), and the client begins anew after a pause.
    pub fn address_is_taken(&mut self, now: Instant) {
        let Phase::Leased(_, lease) = self.phase else { return };
        self.counters.conflicts += 1;
        self.lose(lease);
        self.former = None;
        self.new_transaction(now);
        self.fail(now);
        self.due = self.due.max(now + DECLINE_PAUSE);
        self.outgoing = Some(Outgoing::Decline { address: lease.address, server: lease.server });
    }

    /// Gives the lease back (RFC 2131 §4.4.6) and stops. The message has to leave before the address is taken from the interface.
    pub fn release(&mut self, now: Instant) {
        if let Phase::Leased(_, lease) = self.phase {
            self.lose(lease);
            self.new_transaction(now);
            self.phase = Phase::Stopped;
            self.rest(Instant::FAR_FUTURE);
            self.outgoing = Some(Outgoing::Release { address: lease.address, server: lease.server });
        } else {
            self.phase = Phase::Stopped;
            self.rest(Instant::FAR_FUTURE);
        }
    }

    /// Begins anew, since the host may be on another network: the address is given up, and asked for again (RFC 2131 §3.7).
    pub fn restart(&mut self, now: Instant) {
        self.failures = 0;
        self.config.former = match self.phase {
            Phase::Leased(_, lease) => {
                self.lose(lease);
                Some(lease.address)
            }
            _ => self.former,
        };
        self.phase = Phase::Init;
        self.rest(now);
    }

    /// Asks for the network's parameters only, for a host that has `address` from elsewhere (RFC 2131 §4.4.3).
    pub fn inform(&mut self, now: Instant, address: Ipv4Addr) {
        if let Phase::Leased(_, lease) = self.phase {
            self.lose(lease);
        }
        self.begin(now, Phase::Informing(address), Outgoing::Inform);
    }

    fn take_offer(&mut self, now: Instant, offer: DhcpLease) {
        self.phase = Phase::Requesting(offer);
        self.attempts = 0;
        // RFC 2131 §4.4.1: "the DHCPREQUEST message contains the same 'xid' as the DHCPOFFER message".
        self.send(now, Outgoing::Request);
    }

    fn granted(&mut self, now: Instant, lease: DhcpLease) {
        self.counters.acks += 1;
        if self.config.check {
            // RFC 2131 §4.4.1: "The client SHOULD perform a check on the suggested address to ensure that the address is not
            // already in use."
            self.phase = Phase::Leased(Stage::Checking, lease);
            self.rest(lease.expires);
            self.news = Some(DhcpClientEvent::Check(lease.address));
        } else {
            self.bind(now, lease);
        }
    }

    fn bind(&mut self, now: Instant, lease: DhcpLease) {
        self.avoided = None;
        self.former = Some(lease.address);
        self.phase = Phase::Leased(Stage::Bound, lease);
        self.rest(lease.renew_at.max(now));
        self.news = Some(DhcpClientEvent::Bound(lease.address));
    }

    /// RFC 2131 §4.4.5: asks for more time, more seldom the longer it goes unanswered.
    fn extend(&mut self, now: Instant, stage: Stage, lease: DhcpLease) {
        let next = if now >= lease.rebind_at { Stage::Rebinding } else { Stage::Renewing };
        if next != stage {
            self.new_transaction(now);
        }
        self.phase = Phase::Leased(next, lease);
        self.outgoing = Some(Outgoing::Request);
        let end = if next == Stage::Renewing { lease.rebind_at } else { lease.expires };
        let half = Duration::from_micros(end.since(now).as_micros() / 2);
        self.due = (now + half.max(MIN_RENEWAL_INTERVAL)).min(end);
    }

    fn refused(&mut self, now: Instant, message: &Message<'_>) {
        self.counters.naks += 1;
        if let Phase::Leased(_, lease) = self.phase {
            self.lose(lease);
        }
        if let Phase::Requesting(offer) = self.phase {
            self.avoided = Some(offer.server);
        } else {
            self.avoided = message.address_option(option::SERVER_ID).filter(|_| self.failures > 0);
        }
        self.former = None;
        self.fail(now);
    }

    /// The address is used no longer.
    fn lose(&mut self, lease: DhcpLease) {
        let told = !matches!(self.news, Some(DhcpClientEvent::Bound(_)))
            && !matches!(self.phase, Phase::Leased(Stage::Checking, _));
        self.news = None;
        if told {
            self.lost = Some(lease.address);
        }
    }

    /// Goes back to INIT: at once the first time, after a random back-off if that goes on.
    fn fail(&mut self, now: Instant) {
        let delay = match self.failures {
            0 => Duration::ZERO,
            failures => self.back_off(failures - 1),
        };
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Init;
        self.rest(now + delay);
    }

    /// Nothing is sent until `due`.
    fn rest(&mut self, due: Instant) {
        self.outgoing = None;
        self.due = due;
    }

    fn begin(&mut self, now: Instant, phase: Phase, message: Outgoing) {
        self.new_transaction(now);
        self.phase = phase;
        self.send(now, message);
    }

    fn new_transaction(&mut self, now: Instant) {
        self.xid = self.random.next_u32();
        self.begun = now;
        self.attempts = 0;
    }

    fn send(&mut self, now: Instant, message: Outgoing) {
        self.outgoing = Some(message);
        self.due = now + self.back_off(self.attempts);
        self.attempts = self.attempts.saturating_add(1);
    }

    fn back_off(&mut self, doublings: u32) -> Duration {
        let delay = FIRST_DELAY.backed_off(doublings.min(MAX_DOUBLINGS)).as_micros() - 1_000_000;
        Duration::from_micros(delay + self.random.next_u64() % 2_000_001)
    }
}
