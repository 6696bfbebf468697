//! Connection requests: SYNs for listeners, and the half-open connections that they make (RFC 9293 §3.10.7.2, and
//! §3.10.7.4 for SYN-RECEIVED).

use super::Stack;
use super::flow::Flow;
use super::interface::ControlKind;
use super::ip_input::Packet;
use super::nodes::Node;
use super::path::Path;
use super::transmit::{IpHead, advertised_mss};
use crate::address::Endpoint;
use crate::config::TcpConfig;
use crate::counters::DropReason;
use crate::event::{InterfaceId, Signals};
use crate::pool::Pool;
use crate::slab::Key;
use crate::tcp::challenge::ChallengeLimit;
use crate::tcp::connection::{PeerSyn, State, default_mss};
use crate::tcp::cookies::{self, Offer, SynCookies};
use crate::tcp::ecn::EcnMode;
use crate::tcp::fast_open::Cookie;
use crate::tcp::isn::Beginning;
use crate::tcp::listener::HalfOpen;
use crate::tcp::output::{self, Bare};
use crate::tcp::seq::Seq;
use crate::tcp::{Segment, accecn, input, timestamps};
use crate::wire::tcp::MAX_HEADER_LEN;
use crate::wire::{Ecn, TcpFlags, TcpOptions, protocol};

impl Stack<'_> {
    /// RFC 9293 §3.10.7.1 and §3.10.7.2: no connection; perhaps a listener. `used` is SND.NXT of one in TIME-WAIT whose place a new
    /// connection takes.
    pub(super) fn segment_without_connection(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        (flow, flow_hash): (&Flow, u32),
        segment: &Segment<'_>,
        used: Option<Seq>,
    ) {
        if segment.has(TcpFlags::RST) {
            self.counters.drop(DropReason::TcpNoSocket);
            return;
        }
        let is_request = segment.has(TcpFlags::SYN) && !segment.has(TcpFlags::ACK);
        match self.find_listener(flow) {
            Some(_) if is_request && segment.has(TcpFlags::FIN) && !self.config.tcp.manner.takes_syn_fin(true) => {
                self.counters.drop(DropReason::TcpBadFlags);
            }
            Some(listener) if is_request => {
                self.connection_request(pool, packet, (flow, flow_hash), listener, segment, used);
            }
            Some(_) if !segment.has(TcpFlags::ACK) => self.counters.drop(DropReason::TcpBadFlags),
            Some(listener)
                if !segment.has(TcpFlags::SYN)
                    && self.cookie_arrives(pool, packet, (flow, flow_hash), listener, segment) => {}
            _ => {
                self.counters.drop(DropReason::TcpNoSocket);
                self.send_bare(pool, &Bare::reset_for(*flow, segment));
            }
        }
    }

    fn find_listener(&self, flow: &Flow) -> Option<u32> {
        let hash = self.port_hash(protocol::TCP, Endpoint::any(flow.local_port));
        let mut on_any_address = None;
        let exact = self.ports.find(hash, |number| {
            let Some((index, local)) = self.listener_of(number) else { return false };
            // All of the family come before all of both.
            let is_any = local.port == flow.local_port && local.is_any_of(flow.local);
            if is_any && (on_any_address.is_none() || local.address.is_some()) {
                on_any_address = Some(index);
            }
            local == Endpoint { address: Some(flow.local), port: flow.local_port }
        });
        exact.and_then(|number| Some(self.listener_of(number)?.0)).or(on_any_address)
    }

    /// A listener's index and where it listens.
    #[inline]
    fn listener_of(&self, number: u32) -> Option<(u32, Endpoint)> {
        match self.nodes.node(number) {
            Node::Listener(index) => self.listeners.get(index).map(|found| (index, found.local)),
            _ => None,
        }
    }

    /// The listener on exactly this address and port.
    pub(super) fn find_listener_exact(&self, local: Endpoint) -> Option<u32> {
        let hash = self.port_hash(protocol::TCP, local);
        let is_it = |number| self.listener_of(number).is_some_and(|(_, found)| found == local);
        self.listener_of(self.ports.find(hash, is_it)?).map(|(index, _)| index)
    }

    /// A SYN for a listener.
    pub(super) fn connection_request(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        (flow, flow_hash): (&Flow, u32),
        listener_index: u32,
        segment: &Segment<'_>,
        used: Option<Seq>,
    ) {
        let Some(key) = self.listeners.key(listener_index) else { return };
        let Some(listener) = self.listeners.get(listener_index) else { return };
        if listener.queued >= listener.backlog {
            self.counters.drop(DropReason::TcpAcceptQueueFull);
            return;
        }
        let config = &listener.config;
        let is_full = self.half_open.is_full();
        let with_cookie = match config.syn_cookies {
            SynCookies::Off => false,
            SynCookies::UnderPressure => is_full || listener.half_open > listener.backlog,
            SynCookies::Always => true,
        };
        let peer = PeerSyn::new(segment, &TcpOptions::parse(segment.options), config);
        let mut half_open = self.new_half_open(packet.interface, (flow, flow_hash), (key, config), peer);
        if let Some(used) = used {
            // RFC 9293 §3.6.1: it begins above the sequence numbers that the old one has used.
            half_open.iss = half_open.iss.max(used + u32::from(u16::MAX));
        }
        if self.fast_open_request(pool, &mut half_open, segment) {
            return;
        }
        // A cookie cannot begin at a number of our choice.
        if with_cookie && used.is_none() {
            return self.send_cookie(pool, half_open);
        }
        let deadline = half_open.deadline;
        match self.half_open.insert_with(|| half_open) {
            Some((half_open, _)) => {
                if let Some(listener) = self.listeners.get_mut(listener_index) {
                    listener.half_open += 1;
                }
                let number = self.nodes.number(Node::HalfOpen(half_open.index));
                self.flows.insert(flow_hash, number);
                self.last_hits.set(flow, number);
                self.deadlines.set_no_later(number, deadline);
                self.schedule_half_open(half_open.index);
            }
            None => self.counters.drop(DropReason::TcpSynQueueFull),
        }
    }

    fn new_half_open(
        &self,
        interface: InterfaceId,
        (flow, flow_hash): (&Flow, u32),
        (listener, config): (Key, &TcpConfig),
        peer: PeerSyn,
    ) -> HalfOpen {
        let beginning = Beginning::of(flow, &self.sequence_secret, self.now);
        HalfOpen {
            flow: *flow,
            flow_hash,
            listener,
            path: Path::through(interface),
            parked: None,
            iss: beginning.sequence,
            peer,
            timestamp_offset: beginning.timestamp_offset,
            cookie: None,
            advertised_mss: advertised_mss(self.mtu(interface), &flow.remote, config),
            retransmits: 0,
            ecn_mangled: false,
            repeated: false,
            acknowledged: None,
            deadline: self.now + config.syn_ack_timeout(0),
            syn_ack_due: true,
            challenges: ChallengeLimit::new(),
        }
    }

    /// RFC 7413 §4.2.2: what a SYN asks of Fast Open. True if the connection began with it; else the SYN and ACK may grant a
    /// cookie, and data are left for the peer to send again.
    fn fast_open_request(&mut self, pool: &mut Pool<'_>, half_open: &mut HalfOpen, segment: &Segment<'_>) -> bool {
        let now = self.now;
        let Some(listener) = self.listeners.lookup_mut(half_open.listener) else { return false };
        let settings = listener.config.fast_open;
        if !settings.server || !listener.fast_open.allows(now) {
            return false;
        }
        let Flow { local, remote, .. } = half_open.flow;
        let keys = listener.fast_open.keys.unwrap_or(self.fast_open_keys);
        let found = Cookie::find(segment.options);
        let asks = found.is_some() || !segment.payload.is_empty();
        let is_valid = found.is_some_and(|cookie| keys.is_valid(&cookie, remote, local));
        if !asks {
            return false;
        }
        if !(is_valid || settings.server_without_cookie) || self.connections.is_full() {
            half_open.cookie = found.map(|found| keys.cookie(remote, local, found.experimental));
            return false;
        }
        let begun = half_open.begin(&mut self.connections, now, &listener.config);
        let Some((index, connection)) = begun else { return false };
        half_open.begin_with_data(connection);
        listener.fast_open.pending += 1;
        self.enqueue(index, half_open.listener.index, None);
        self.with_connection(pool, index, |connection, context| {
            input::syn_data_arrives(connection, context, segment.payload)
        });
        true
    }

    /// Answers a SYN without keeping anything of it (RFC 4987 §3.6).
    fn send_cookie(&mut self, pool: &mut Pool<'_>, mut half_open: HalfOpen) {
        let now = self.now;
        let Some(listener) = self.listeners.lookup_mut(half_open.listener) else { return };
        listener.cookies_until = now + cookies::LIFETIME;
        let (flow, peer) = (half_open.flow, &mut half_open.peer);
        let mss = peer.mss.unwrap_or(default_mss(&flow));
        half_open.iss = cookies::sequence(&self.cookie_secret, &flow, now, peer.seq, mss);
        if peer.tsval.is_some() {
            let offer = Offer {
                window_scale: peer.window_scale,
                sack_permitted: peer.sack_permitted,
                ecn: peer.ecn != EcnMode::Off,
            };
            let ticks = timestamps::clock(now, 0);
            let back = ticks.wrapping_sub(offer.hide_in(ticks));
            half_open.timestamp_offset = half_open.timestamp_offset.wrapping_sub(back);
        } else {
            (peer.window_scale, peer.sack_permitted, peer.ecn) = (None, false, EcnMode::Off);
        }
        self.counters.tcp_cookies_sent += 1;
        let mut bytes = [0; MAX_HEADER_LEN];
        let built = output::build_syn_ack(&half_open, now, &listener.config, &mut bytes);
        let segment = &mut bytes[..built.len];
        output::finish_checksum(&flow, built.sum, segment);
        let head = IpHead::new(flow.local, flow.remote, protocol::TCP);
        self.queue_packet(pool, flow.link, ControlKind::Tcp, &head, [segment, &[]]);
    }

    /// Whether an acknowledgment without connection answers one of our cookies, and so makes a connection.
    fn cookie_arrives(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        (flow, flow_hash): (&Flow, u32),
        listener_index: u32,
        segment: &Segment<'_>,
    ) -> bool {
        let now = self.now;
        let Some(key) = self.listeners.key(listener_index) else { return false };
        let Some(listener) = self.listeners.get(listener_index) else { return false };
        if now >= listener.cookies_until {
            return false;
        }
        let (irs, iss) = (segment.seq - 1, segment.ack - 1);
        let Some(mss) = cookies::mss(&self.cookie_secret, flow, now, irs, iss) else {
            self.counters.tcp_cookies_invalid += 1;
            return false;
        };
        let config = &listener.config;
        if listener.queued >= listener.backlog || self.connections.is_full() {
            self.counters.drop(DropReason::TcpAcceptQueueFull);
            return true;
        }
        let found = TcpOptions::timestamps_of(segment.options).filter(|_| config.timestamps);
        let Beginning { timestamp_offset: offset, .. } = Beginning::of(flow, &self.sequence_secret, now);
        let offer = found.map(|timestamps| Offer::found_in(timestamps.echo.wrapping_sub(offset)));
        let peer = PeerSyn {
            seq: irs,
            window: segment.window,
            mss: Some(mss),
            window_scale: offer.and_then(|offer| offer.window_scale).filter(|_| config.window_scaling),
            sack_permitted: offer.is_some_and(|offer| offer.sack_permitted) && config.sack,
            tsval: found.map(|timestamps| timestamps.value),
            ecn: match offer.filter(|offer| offer.ecn) {
                Some(_) => EcnMode::of_cookie(segment.flags, config.ecn_accept),
                None => EcnMode::Off,
            },
            ecn_field: Ecn::NotEct,
        };
        let mut half_open = self.new_half_open(packet.interface, (flow, flow_hash), (key, config), peer);
        // When the SYN and ACK was sent is not known.
        (half_open.iss, half_open.repeated) = (iss, true);
        self.counters.tcp_cookies_accepted += 1;
        if let Some((index, connection)) = half_open.begin(&mut self.connections, now, config) {
            half_open.promote(connection, now);
            self.enqueue(index, listener_index, None);
            self.deliver(pool, index, segment);
        }
        true
    }

    /// RFC 9293 §3.10.7.4 for SYN-RECEIVED, as far as a half-open connection can tell.
    pub(super) fn segment_for_half_open(&mut self, pool: &mut Pool<'_>, index: u32, segment: &Segment<'_>) {
        let Some(half_open) = self.half_open.get_mut(index) else { return };
        let expected = half_open.peer.seq + 1;
        if segment.has(TcpFlags::RST) {
            if segment.seq == expected {
                return self.remove_half_open(index);
            }
            let Some(listener) = self.listeners.lookup(half_open.listener) else { return };
            if segment.seq - expected >= half_open.receive_window(&listener.config) {
                self.counters.drop(DropReason::TcpNotAcceptable);
                return;
            }
            if !listener.config.exact_resets {
                return self.remove_half_open(index);
            }
            // RFC 5961 §3.2: a reset elsewhere in the window may be a guess.
            self.counters.drop(DropReason::TcpChallenged);
            return self.challenge_half_open(pool, index);
        }
        if segment.has(TcpFlags::SYN) {
            // The same SYN again, or one that needs a challenge: both get the SYN and ACK once more. What is then
            // acknowledged cannot be told (Karn).
            half_open.repeated = true;
            half_open.syn_ack_due = true;
            half_open.ecn_mangled |= !accecn::is_requested(segment.flags);
            half_open.peer.ecn_field = segment.ecn;
            self.schedule_half_open(index);
            return;
        }
        if !segment.has(TcpFlags::ACK) {
            self.counters.drop(DropReason::TcpBadFlags);
            return;
        }
        if segment.ack != half_open.iss + 1 {
            self.counters.drop(DropReason::TcpBadAck);
            let bare = Bare::reset_for(half_open.flow, segment);
            self.send_bare(pool, &bare);
            return;
        }
        if half_open.is_old_duplicate(segment) {
            self.counters.drop(DropReason::TcpOldTimestamp);
            return self.challenge_half_open(pool, index);
        }
        if let Some(listener) = self.listeners.lookup(half_open.listener)
            && half_open.defers(segment, &listener.config)
        {
            return;
        }
        self.complete_handshake(pool, index, segment);
    }

    fn challenge_half_open(&mut self, pool: &mut Pool<'_>, index: u32) {
        if let Some(half_open) = self.half_open.get_mut(index)
            && let Some(listener) = self.listeners.lookup(half_open.listener)
            && half_open.challenges.allows(self.now, listener.config.challenge_interval)
        {
            self.counters.tcp_challenge_acks += 1;
            let ack = half_open.challenge_ack(self.now, &listener.config);
            self.send_bare(pool, &ack);
        }
    }

    /// The peer has acknowledged our SYN: the half-open connection becomes a full one, which processes the segment.
    fn complete_handshake(&mut self, pool: &mut Pool<'_>, half_open_index: u32, segment: &Segment<'_>) {
        let Some(half_open) = self.half_open.get(half_open_index) else { return };
        let listener_index = half_open.listener.index;
        let Some(listener) = self.listeners.lookup(half_open.listener) else {
            self.remove_half_open(half_open_index);
            return;
        };
        if listener.queued >= listener.backlog || self.connections.is_full() {
            // The ACK is dropped, not the connection: the SYN and ACK will be sent again.
            self.counters.drop(DropReason::TcpAcceptQueueFull);
            return;
        }
        let begun = half_open.begin(&mut self.connections, self.now, &listener.config);
        let Some((index, connection)) = begun else { return };
        half_open.promote(connection, self.now);
        self.enqueue(index, listener_index, Some(half_open_index));
        self.deliver(pool, index, segment);
    }

    /// Lets the table of flows lead to a connection that has begun, instead of to the half-open one if there was any, and puts it into
    /// the queue of those that wait to be accepted.
    fn enqueue(&mut self, index: u32, listener_index: u32, half_open: Option<u32>) {
        let Some(connection) = self.connections.get(index) else { return };
        let (flow, flow_hash, interface) = (connection.flow, connection.flow_hash, connection.path.interface);
        let mtu = self.path_mtu(interface, flow.remote);
        if let Some(connection) = self.connections.get_mut(index) {
            connection.listener = Some(listener_index);
            connection.set_path_mtu(mtu);
        }
        let number = self.nodes.number(Node::Connection(index));
        if let Some(half_open) = half_open {
            self.flows.replace(flow_hash, self.nodes.number(Node::HalfOpen(half_open)), number);
            self.forget_half_open(half_open);
        } else {
            self.flows.insert(flow_hash, number);
        }
        self.last_hits.set(&flow, number);
        if let Some(listener) = self.listeners.get_mut(listener_index) {
            self.event_links.push_back(&mut listener.accept_queue, number);
            listener.queued += 1;
            listener.signals |= Signals::ACCEPTABLE;
        }
        self.notify(Node::Listener(listener_index));
        if self.trace.is_on() {
            self.trace_new(index, State::Listen);
        }
    }

    pub(super) fn half_open_timeout(&mut self, index: u32) {
        let now = self.now;
        let Some(half_open) = self.half_open.get_mut(index) else { return };
        let number = self.nodes.number(Node::HalfOpen(index));
        if half_open.deadline > now {
            self.deadlines.set_no_later(number, half_open.deadline);
            return;
        }
        let config = self.listeners.lookup(half_open.listener).map(|listener| &listener.config);
        let Some(config) = config.filter(|config| half_open.timed_out(config)) else {
            self.remove_half_open(index);
            return;
        };
        half_open.restart_timer(now, config);
        self.deadlines.set_no_later(number, half_open.deadline);
        self.schedule_half_open(index);
    }

    #[inline(never)] // Called from many places: one copy is enough.
    pub(super) fn remove_half_open(&mut self, index: u32) {
        let Some(half_open) = self.half_open.get(index) else { return };
        self.flows.remove(half_open.flow_hash, self.nodes.number(Node::HalfOpen(index)));
        self.forget_half_open(index);
    }

    /// Removes a half-open connection to which the table of flows does not lead any more.
    fn forget_half_open(&mut self, index: u32) {
        let Some(half_open) = self.half_open.get(index) else { return };
        let number = self.nodes.number(Node::HalfOpen(index));
        let (parked, interface) = (half_open.parked, half_open.path.interface);
        if let Some(listener) = self.listeners.lookup_mut(half_open.listener) {
            listener.half_open -= 1;
        }
        if self.links.is_linked(number) {
            self.unlink(number, parked, interface);
        }
        self.half_open.remove(index);
    }
}
