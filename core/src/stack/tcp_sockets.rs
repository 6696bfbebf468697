//! The user's calls about TCP (RFC 9293 §3.9.1): open, send, receive, close, abort, status.

use core::net::{IpAddr, SocketAddr};

use super::Stack;
use super::flow::Flow;
use super::nodes::Node;
use super::tcp_errors::{ConnectError, ListenError, RecvError, SendError, SocketError};
use super::tcp_input::queue_up;
use super::time_wait::Availability;
use super::transmit::advertised_mss;
use super::udp::EPHEMERAL_PORTS;
use crate::address::{Endpoint, is_unicast};
use crate::config::TcpConfig;
use crate::event::{ConnectionHandle, ListenerHandle, Signals};
use crate::pool::Pool;
use crate::slab::{Key, Slab};
use crate::tcp::connection::{CloseReason, Connection, Opening, Reset, State};
use crate::tcp::fast_open::{FastOpenKeys, ListenerFastOpen, Role};
use crate::tcp::isn::Beginning;
use crate::tcp::listener::Listener;
use crate::tcp::timers::Timer;
use crate::time::{Duration, Instant};
use crate::wire::protocol;

/// Options of [`Stack::connect`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectOptions {
    /// The local address and port; by default the routes and chance decide.
    pub local: Option<Endpoint>,
    /// The first and the last port that chance may choose, where they are not those of all others (RFC 6056 §3.2).
    pub ports: Option<(u16, u16)>,
    /// Chance may also choose the port of a connection that has been in TIME-WAIT for so long, if timestamps tell the segments of the
    /// two apart (RFC 6191 §2; Linux's `tcp_tw_reuse`). None, the default: ports are free again when TIME-WAIT ends.
    pub time_wait_reuse: Option<Duration>,
    /// The connection's settings instead of the stack's.
    pub tcp: Option<TcpConfig>,
    /// Give up if the connection is not established by then.
    pub timeout: Option<Duration>,
    /// Fast Open (RFC 7413): with a cookie of the server at hand, the SYN waits for the first [`send`](Stack::send) and carries
    /// what that queues; without one, it asks for a cookie. The server may get such data twice.
    pub fast_open: bool,
}

/// Options of [`Stack::listen`].
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Established connections that may wait to be accepted: 1 to 65,535.
    pub backlog: u16,
    /// Connections that may be accepted, and read from, before their handshake ends (Fast Open, RFC 7413 §4.2.2): how many at a
    /// time, 0 for none. Their data may arrive twice, which an application has to bear.
    pub fast_open: u16,
    /// The connections' settings instead of the stack's.
    pub tcp: Option<TcpConfig>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions { backlog: 128, fast_open: 0, tcp: None }
    }
}

/// What [`Stack::send_with_flags`] says about data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendFlags {
    /// More follows at once (Linux's `MSG_MORE`): a segment that is not full waits for it, or for an acknowledgment.
    pub more: bool,
    /// The data, once all of it is taken, ends a record (`MSG_EOR`): no segment has data of this record and of what follows.
    pub end_of_record: bool,
    /// The data is urgent (RFC 9293 §3.8.5, `MSG_OOB`). It is delivered in line (RFC 6093 §6).
    pub urgent: bool,
}

impl Stack<'_> {
    /// Begins a connection (RFC 9293 §3.9.1.1, active OPEN). The event `CONNECTED` tells that it is established, `CLOSED`
    /// that it failed. Data can be queued at once. On a host with several IPv6 interfaces, the scope id of a link-local
    /// address names one ([`ScopeError`](crate::ScopeError)).
    pub fn connect(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        options: ConnectOptions,
    ) -> Result<ConnectionHandle, ConnectError> {
        self.advance_clock(now);
        let address = remote.ip();
        if remote.port() == 0 || !self.is_peer(address) {
            return Err(ConnectError::BadAddress(remote));
        }
        let wanted = options.local.unwrap_or(Endpoint::any(0));
        let link = self.link_to(remote, wanted.address).map_err(ConnectError::Scope)?;
        let hop = self.hop_to(link, address).ok_or(ConnectError::NoRoute(address))?;
        let local = match wanted.address {
            Some(local) if !self.is_local_on(hop.interface, local) || local.is_ipv4() != address.is_ipv4() => {
                return Err(ConnectError::AddressNotAvailable(local));
            }
            Some(local) => local,
            None => hop.source,
        };
        if self.connections.is_full() {
            return Err(ConnectError::TooManyConnections);
        }
        let mut flow = Flow { local, remote: address, local_port: wanted.port, remote_port: remote.port(), link };
        let (flow_hash, availability) = match wanted.port {
            0 => self.choose_port(&mut flow, &options)?,
            _ => {
                let hash = self.flow_hash(&flow);
                // Whoever asks for a port by its number gets it from TIME-WAIT at once, as in Linux.
                (hash, self.availability(hash, &flow, Some(Duration::ZERO)))
            }
        };
        let former = match availability {
            Availability::Free => None,
            Availability::InTimeWait(index) => self.leave_time_wait(index),
            Availability::Taken => return Err(ConnectError::AddressInUse(flow.local_address())),
        };

        let Beginning { sequence: iss, timestamp_offset } = Beginning::of(&flow, &self.sequence_secret, self.now);
        let config = options.tcp.as_ref().unwrap_or(&self.config.tcp);
        let opening = Opening {
            flow,
            flow_hash,
            // RFC 9293 §3.6.1: above the sequence numbers that the former connection has used.
            iss: former.as_ref().map_or(iss, |former| iss.max(former.snd_nxt + u32::from(u16::MAX))),
            timestamp_offset,
            advertised_mss: advertised_mss(self.mtu(hop.interface), &address, config),
            now: self.now,
        };
        let opened = Connection::open(&mut self.connections, &opening, config);
        let Some((key, connection)) = opened else { return Err(ConnectError::TooManyConnections) };
        connection.restart_congestion_control(config.initial_window);
        connection.path.interface = hop.interface;
        if let Some(former) = former.filter(|_| wanted.port == 0) {
            // As in Linux, the SYN echoes what came last from the peer.
            connection.timestamps.recent = former.timestamps.recent;
        }
        if options.fast_open && connection.config.fast_open.client {
            connection.fast_open.role = Role::Client;
            let has_cookie = self.fast_open_cookies.advice(address, self.now).has_cookie();
            connection.syn_due = !has_cookie && !connection.config.fast_open.client_without_cookie;
        }
        let waits = connection.awaits_syn_data();
        if let Some(timeout) = options.timeout {
            connection.timers.set(Timer::Connect, self.now + timeout);
        }
        let number = self.nodes.number(Node::Connection(key.index));
        self.flows.insert(flow_hash, number);
        self.last_hits.set(&flow, number);
        self.watch_timers(key.index);
        if self.trace.is_on() {
            self.trace_new(key.index, State::Closed);
        }
        if waits {
            // Data is what it waits for.
            if let Some(connection) = self.connections.get_mut(key.index) {
                connection.signals |= Signals::WRITABLE;
            }
            self.notify(Node::Connection(key.index));
        } else {
            self.schedule_connection(key.index);
        }
        Ok(ConnectionHandle(key))
    }

    /// Whether a connection may go to this address.
    fn is_peer(&self, address: IpAddr) -> bool {
        if self.last_path.as_ref().is_some_and(|last| last.leads_to(self.generation, address)) {
            return true; // There is one already.
        }
        let is_broadcast = matches!(address, IpAddr::V4(v4) if self.is_directed_broadcast(v4));
        is_unicast(address) && !is_broadcast && !self.cannot_loop_to(address)
    }

    /// RFC 6056 §3.3.3 (simple hash-based selection): the search starts where a keyed function of the two hosts says,
    /// one further for each connection, so that ports neither repeat soon nor can be guessed. Sets the port and
    /// returns the flow's hash, and what is in its place.
    fn choose_port(&mut self, flow: &mut Flow, options: &ConnectOptions) -> Result<(u32, Availability), ConnectError> {
        let (first, last) = options.ports.unwrap_or((*EPHEMERAL_PORTS.start(), *EPHEMERAL_PORTS.end()));
        let count = u32::from(last.saturating_sub(first)) + 1;
        flow.local_port = 0;
        let start = flow.hash(&self.port_random);
        for _ in 0..count {
            // Also one further for each port that is taken: the next search begins behind it.
            self.port_offset = self.port_offset.wrapping_add(1);
            flow.local_port = first + (start.wrapping_add(self.port_offset) % count) as u16;
            if self.is_mapped(protocol::TCP, Some(flow.local), flow.local_port) {
                continue;
            }
            let hash = self.flow_hash(flow);
            let availability = self.availability(hash, flow, options.time_wait_reuse);
            if availability != Availability::Taken {
                return Ok((hash, availability));
            }
        }
        Err(ConnectError::PortsExhausted)
    }

    /// Opens a listener (RFC 9293 §3.9.1.1, passive OPEN) on a port of one address, of all of a family (whose unspecified one is given), or of all. Port 0 takes an
    /// ephemeral one. The event `ACCEPTABLE` tells that [`accept`](Self::accept) has something.
    pub fn listen(&mut self, local: Endpoint, options: ListenOptions) -> Result<ListenerHandle, ListenError> {
        if let Some(address) = local.address
            && !address.is_unspecified()
            && !self.is_local(address)
        {
            return Err(ListenError::AddressNotAvailable(address));
        }
        let local = match local.port {
            0 => {
                let count = EPHEMERAL_PORTS.len() as u32;
                let start = self.port_random.next_u32() % count;
                (0..count)
                    .map(|i| Endpoint { port: EPHEMERAL_PORTS.start() + ((start + i) % count) as u16, ..local })
                    .find(|&candidate| self.find_listener_exact(candidate).is_none())
                    .ok_or(ListenError::PortsExhausted)?
            }
            _ if self.find_listener_exact(local).is_some() => return Err(ListenError::AddressInUse(local)),
            _ => local,
        };
        let key = self.add_listener(local, &options)?;
        let hash = self.port_hash(protocol::TCP, local);
        self.ports.insert(hash, self.nodes.number(Node::Listener(key.index)));
        Ok(ListenerHandle(key))
    }

    /// Opens a listener without a port, for [`AnyAddress`](crate::AnyAddress): nothing comes to it but flows that are
    /// [accepted](Self::accept_flow).
    pub fn listen_for_flows(&mut self, options: ListenOptions) -> Result<ListenerHandle, ListenError> {
        Ok(ListenerHandle(self.add_listener(Endpoint::any(0), &options)?))
    }

    fn add_listener(&mut self, local: Endpoint, options: &ListenOptions) -> Result<Key, ListenError> {
        let config = options.tcp.unwrap_or(self.config.tcp);
        let backlog = options.backlog.max(1);
        let fast_open = match options.fast_open {
            0 if config.fast_open.all_listeners => backlog,
            limit => limit,
        };
        let listener = Listener {
            local,
            backlog,
            config,
            accept_queue: Default::default(),
            queued: 0,
            half_open: 0,
            cookies_until: Instant::ZERO,
            fast_open: ListenerFastOpen::new(fast_open),
            signals: Signals::NONE,
        };
        self.listeners.insert(listener).map_err(|_| ListenError::TooManyListeners)
    }

    /// How many connections may be accepted before their handshake ends ([`ListenOptions::fast_open`]); 0 for none.
    pub fn set_fast_open(&mut self, listener: ListenerHandle, limit: u16) -> Result<(), SocketError> {
        let listener = self.listeners.lookup_mut(listener.0).ok_or(SocketError::NotFound)?;
        listener.fast_open.limit = limit;
        Ok(())
    }

    /// Sets the keys of Fast Open's cookies, of one listener or of all that have none of their own. Random at first.
    pub fn set_fast_open_keys(
        &mut self,
        listener: Option<ListenerHandle>,
        keys: FastOpenKeys,
    ) -> Result<(), SocketError> {
        match listener {
            Some(listener) => {
                let listener = self.listeners.lookup_mut(listener.0).ok_or(SocketError::NotFound)?;
                listener.fast_open.keys = Some(keys);
            }
            None => self.fast_open_keys = keys,
        }
        Ok(())
    }

    /// Forgets the cookies of all servers, and which of them do not answer SYNs with data.
    pub fn forget_fast_open_cookies(&mut self) {
        self.fast_open_cookies.clear();
    }

    /// While the SYN of a connection with [`ConnectOptions::fast_open`] waits for data: how many bytes it has room for.
    pub fn fast_open_room(&self, handle: ConnectionHandle) -> Option<usize> {
        let connection = held(&self.connections, handle).filter(|connection| connection.awaits_syn_data())?;
        let advice = self.fast_open_cookies.advice(connection.flow.remote, self.now);
        Some(connection.syn_data_room(&advice) as usize)
    }

    /// The address and port of a listener.
    pub fn listener_address(&self, listener: ListenerHandle) -> Option<Endpoint> {
        self.listeners.lookup(listener.0).map(|listener| listener.local)
    }

    /// Takes the connection that has waited longest to be accepted.
    pub fn accept(&mut self, listener: ListenerHandle) -> Option<ConnectionHandle> {
        let found = self.listeners.lookup_mut(listener.0)?;
        let number = self.event_links.pop_front(&mut found.accept_queue)?;
        found.queued -= 1;
        let Node::Connection(index) = self.nodes.node(number) else { return None };
        let connection = self.connections.get_mut(index)?;
        connection.listener = None;
        if !connection.signals.is_empty() {
            self.event_links.push_back(&mut self.events, number);
        }
        self.connections.key(index).map(ConnectionHandle)
    }

    /// Closes a listener. Connections that nobody accepted are reset, half-open ones forgotten.
    pub fn close_listener(&mut self, pool: &mut Pool<'_>, now: Instant, listener: ListenerHandle) {
        self.advance_clock(now);
        while let Some(connection) = self.accept(listener) {
            self.abort(pool, now, connection);
        }
        let Some(found) = self.listeners.lookup(listener.0) else { return };
        let local = found.local;
        if found.half_open > 0 {
            // Bounded by `Limits::syn_queue`; their owner is what they have in common.
            for index in 0..self.half_open.capacity() as u32 {
                if self.half_open.get(index).is_some_and(|half_open| half_open.listener == listener.0) {
                    self.remove_half_open(index);
                }
            }
        }
        let number = self.nodes.number(Node::Listener(listener.0.index));
        self.event_links.remove(&mut self.events, number);
        let hash = self.port_hash(protocol::TCP, local);
        self.ports.remove(hash, number);
        self.listeners.remove(listener.0.index);
    }

    /// Queues data; returns how many bytes were taken. Fewer than offered means that the buffer is full, and the event
    /// `WRITABLE` tells when there is room again.
    pub fn send(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        handle: ConnectionHandle,
        data: &[u8],
    ) -> Result<usize, SendError> {
        self.send_with_flags(pool, now, handle, data, SendFlags::default())
    }

    /// The same, and says more about the data (RFC 9293 §3.9.1.2: the PUSH and URGENT flags of SEND).
    pub fn send_with_flags(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        handle: ConnectionHandle,
        data: &[u8],
        flags: SendFlags,
    ) -> Result<usize, SendError> {
        self.advance_clock(now);
        let holders = self.connections.len();
        let connection = sendable(held_mut(&mut self.connections, handle))?;
        let mut allowed = connection.allowed_to_send(pool, &self.account, holders, data.len());
        if flags.end_of_record && !connection.record_ends.reserve(pool, &mut self.account) {
            allowed = 0;
        }
        let taken = connection.send.write(pool, &mut self.account, &data[..allowed]);
        connection.written(now, flags);
        if flags.end_of_record && taken > 0 && taken == data.len() {
            connection.record_ends.push(pool, connection.send.end());
        }
        let number = self.nodes.number(Node::Connection(handle.0.index));
        // A SYN that waits for data leaves without any if there is none.
        if (taken > 0 || data.is_empty())
            && connection.may_transmit_written()
            && !queue_up(connection, number, &mut self.interfaces, &mut self.links)
        {
            self.schedule_elsewhere(handle.0.index);
        }
        if taken < data.len() {
            self.wait_for_room(handle.0.index);
        }
        Ok(taken)
    }

    /// Lends contiguous room of the send buffer to `fill`, which writes to it and returns how many bytes it wrote. Without
    /// room, `fill` is lent nothing, and the event `WRITABLE` tells when there is some.
    pub fn send_with(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        handle: ConnectionHandle,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<usize, SendError> {
        self.advance_clock(now);
        let holders = self.connections.len();
        let connection = sendable(held_mut(&mut self.connections, handle))?;
        if connection.allowed_to_send(pool, &self.account, holders, 1) == 0 {
            self.wait_for_room(handle.0.index);
            fill(&mut []);
            return Ok(0);
        }
        let taken = connection.send.write_with(pool, &mut self.account, fill);
        connection.written(now, SendFlags::default());
        if taken > 0 && connection.may_transmit_written() {
            self.schedule_connection(handle.0.index);
        }
        Ok(taken)
    }

    /// The user has more to send than they want to queue now: the event `WRITABLE` tells of acknowledgments as if
    /// [`send`](Self::send) had found the buffer full.
    pub fn ask_for_room(&mut self, handle: ConnectionHandle) {
        if let Some(connection) = held_mut(&mut self.connections, handle) {
            connection.wants_room = true;
        }
    }

    /// The user is told when there is room: by the acknowledgment of what is queued, or, if nothing is and the pool is
    /// short of blocks, after a while (as Linux does in `sk_stream_wait_memory`).
    fn wait_for_room(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.wants_room = true;
        if connection.send.room() > connection.send.limit() / 3 {
            connection.timers.set(Timer::Memory, self.now + MEMORY_RETRY);
            self.watch_timers(index);
        }
    }

    /// Takes received data into `out`; returns how many bytes. 0 means that the peer has closed its side and all was
    /// read (or that `out` is empty).
    pub fn recv(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        handle: ConnectionHandle,
        out: &mut [u8],
    ) -> Result<usize, RecvError> {
        self.advance_clock(now);
        let connection = held_mut(&mut self.connections, handle).ok_or(RecvError::NotFound)?;
        if connection.receive.readable() == 0 {
            return nothing_to_read(connection);
        }
        let count = connection.receive.read(pool, &mut self.account, out);
        if connection.has_read(self.now, pool, &self.account) {
            self.schedule_connection(handle.0.index);
        }
        Ok(count)
    }

    /// Copies received data into `out` without taking it; returns how many bytes, 0 where [`recv`](Self::recv) says 0.
    pub fn peek(&self, pool: &Pool<'_>, handle: ConnectionHandle, out: &mut [u8]) -> Result<usize, RecvError> {
        let connection = held(&self.connections, handle).ok_or(RecvError::NotFound)?;
        if connection.receive.readable() == 0 {
            return nothing_to_read(connection);
        }
        let mut copied = 0;
        while copied < out.len() {
            let slice = connection.receive.peek(pool, copied as u32);
            let count = slice.len().min(out.len() - copied);
            if count == 0 {
                break;
            }
            out[copied..copied + count].copy_from_slice(&slice[..count]);
            copied += count;
        }
        Ok(copied)
    }

    /// Lends received data, as far as it is contiguous, to `take`, which returns how many bytes it has used. The slice
    /// is empty at the end of the stream.
    pub fn recv_with(
        &mut self,
        pool: &mut Pool<'_>,
        now: Instant,
        handle: ConnectionHandle,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Result<usize, RecvError> {
        self.advance_clock(now);
        let connection = held_mut(&mut self.connections, handle).ok_or(RecvError::NotFound)?;
        if connection.receive.readable() == 0 {
            let end = nothing_to_read(connection)?;
            take(&[]);
            return Ok(end);
        }
        let slice = connection.receive.peek(pool, 0);
        let count = take(slice).min(slice.len());
        connection.receive.consume(pool, &mut self.account, count as u32);
        if connection.has_read(self.now, pool, &self.account) {
            self.schedule_connection(handle.0.index);
        }
        Ok(count)
    }

    /// Bytes that can be received now.
    #[inline]
    pub fn readable_bytes(&self, handle: ConnectionHandle) -> usize {
        held(&self.connections, handle).map_or(0, |connection| connection.receive.readable() as usize)
    }

    /// Bytes that the send buffer has room for; [`send`](Self::send) may take fewer when the pool is short of blocks.
    pub fn writable_bytes(&self, handle: ConnectionHandle) -> usize {
        match held(&self.connections, handle) {
            Some(connection) if connection.state.may_send() && !connection.fin_queued => connection.writable() as usize,
            _ => 0,
        }
    }

    /// Bytes queued and not yet acknowledged by the peer.
    pub fn unacknowledged_bytes(&self, handle: ConnectionHandle) -> usize {
        held(&self.connections, handle).map_or(0, |connection| connection.send.len() as usize)
    }

    /// Closes the sending side: a FIN follows the data that is queued. Receiving goes on.
    pub fn shutdown(&mut self, now: Instant, handle: ConnectionHandle) -> Result<(), SocketError> {
        self.advance_clock(now);
        self.trace_before(handle.0.index);
        let connection = held_mut(&mut self.connections, handle).ok_or(SocketError::NotFound)?;
        if let State::Closed = connection.state {
            return Err(SocketError::Closed(connection.reason.unwrap_or(CloseReason::Finished)));
        }
        if !connection.fin_queued {
            connection.syn_due |= connection.awaits_syn_data();
            connection.shutdown();
            self.schedule_connection(handle.0.index);
        }
        self.trace_changes(handle.0.index);
        Ok(())
    }

    /// Reads no more: what has come can still be read, then [`recv`](Self::recv) returns 0. The peer is not told; what it sends
    /// after [`shutdown`](Self::shutdown) too resets the connection (RFC 1122 §4.2.2.13).
    pub fn shutdown_read(&mut self, handle: ConnectionHandle) -> Result<(), SocketError> {
        held_mut(&mut self.connections, handle).ok_or(SocketError::NotFound)?.read_shut = true;
        Ok(())
    }

    /// Lets go of a connection: the handle is void. What is queued is still sent, then a FIN. If received data was not
    /// read, the peer gets a reset instead and so learns that it was lost (RFC 2525 §2.17).
    pub fn close(&mut self, pool: &mut Pool<'_>, now: Instant, handle: ConnectionHandle) {
        self.advance_clock(now);
        self.trace_before(handle.0.index);
        let Some(connection) = held_mut(&mut self.connections, handle) else { return };
        let index = handle.0.index;
        match connection.state {
            State::Closed | State::SynSent => return self.remove_connection(pool, index),
            // The table of those in TIME-WAIT has taken over.
            State::TimeWait if !connection.in_flows => return self.remove_connection(pool, index),
            State::TimeWait => {}
            _ if connection.config.linger == Some(Duration::ZERO) => return self.abort(pool, now, handle),
            _ if connection.receive.readable() > 0 && connection.config.manner.ways().resets_unread => {
                self.send_reset(pool, index, Reset::Ours);
                return self.remove_connection(pool, index);
            }
            _ => {}
        }
        connection.orphaned = true;
        connection.read_shut = true;
        connection.signals = Signals::NONE;
        if !connection.fin_queued {
            connection.shutdown();
        }
        if connection.state == State::FinWait2 {
            if connection.config.fin_wait_2 == Duration::ZERO {
                self.send_reset(pool, index, Reset::Ours);
                return self.remove_connection(pool, index);
            }
            connection.timers.set(Timer::FinWait2, self.now + connection.fin_wait_2());
            self.watch_timers(index);
        }
        self.trace_changes(index);
        let number = self.nodes.number(Node::Connection(index));
        if self.event_links.is_linked(number) {
            self.event_links.remove(&mut self.events, number);
        }
        self.schedule_connection(index);
    }

    /// Ends a connection at once (RFC 9293 §3.9.1.6): the handle is void, the peer gets a reset.
    pub fn abort(&mut self, pool: &mut Pool<'_>, now: Instant, handle: ConnectionHandle) {
        self.advance_clock(now);
        match held(&self.connections, handle) {
            // Both sides have closed: the last ACK still leaves, and TIME-WAIT begins.
            Some(connection) if connection.state == State::TimeWait => self.close(pool, now, handle),
            Some(_) => self.abort_connection(pool, handle.0.index),
            None => {}
        }
    }

    /// Removes a connection that is in no accept queue; RFC 9293 §3.10.5 says in which states the peer may still hold it
    /// open: not when both have closed, unless it waits for data that will not come.
    fn abort_connection(&mut self, pool: &mut Pool<'_>, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        let resets = match connection.state {
            State::SynReceived | State::Established | State::FinWait1 | State::FinWait2 | State::CloseWait => true,
            State::Closing | State::LastAck => connection.has_unsent(),
            State::Listen | State::SynSent | State::TimeWait | State::Closed => false,
        };
        if resets {
            self.send_reset(pool, index, Reset::Ours);
        }
        self.remove_connection(pool, index);
    }

    /// The connection of a handle, if the user still holds it.
    pub(super) fn held_connection(&self, handle: ConnectionHandle) -> Option<&Connection> {
        held(&self.connections, handle)
    }

    /// Why the connection is over; None while it is not.
    pub fn connection_error(&self, handle: ConnectionHandle) -> Option<CloseReason> {
        held(&self.connections, handle)?.reason
    }

    /// Drops all connections, listeners and sockets at once; peers get resets as far as the queues hold them.
    pub fn close_all(&mut self, pool: &mut Pool<'_>, now: Instant) {
        self.advance_clock(now);
        for index in 0..self.listeners.capacity() as u32 {
            if let Some(key) = self.listeners.key(index) {
                self.close_listener(pool, now, ListenerHandle(key));
            }
        }
        for index in 0..self.connections.capacity() as u32 {
            self.abort_connection(pool, index);
        }
        for index in 0..self.udp_sockets.capacity() as u32 {
            if let Some(key) = self.udp_sockets.key(index) {
                self.udp_close(pool, crate::event::UdpHandle(key));
            }
        }
        for index in 0..self.pings.capacity() as u32 {
            if let Some(key) = self.pings.key(index) {
                self.cancel_ping(crate::event::PingHandle(key));
            }
        }
    }
}

/// The connection of a handle, if the user still holds it: not one that waits to be accepted or was closed.
#[inline]
pub(super) fn held<'c>(connections: &'c Slab<'_, Connection>, handle: ConnectionHandle) -> Option<&'c Connection> {
    connections.lookup(handle.0).filter(|connection| !connection.orphaned && connection.listener.is_none())
}

#[inline]
pub(super) fn held_mut<'c>(
    connections: &'c mut Slab<'_, Connection>,
    handle: ConnectionHandle,
) -> Option<&'c mut Connection> {
    connections.lookup_mut(handle.0).filter(|connection| !connection.orphaned && connection.listener.is_none())
}

/// When a user who could not write for want of blocks tries again.
const MEMORY_RETRY: Duration = Duration::from_millis(20);

/// The connection, if data can be queued on it.
fn sendable(connection: Option<&mut Connection>) -> Result<&mut Connection, SendError> {
    let connection = connection.ok_or(SendError::NotFound)?;
    match connection.state {
        State::Closed => Err(SendError::Closed(connection.reason.unwrap_or(CloseReason::Finished))),
        state if connection.fin_queued || !state.may_send() => Err(SendError::Shutdown),
        _ => Ok(connection),
    }
}

/// What `recv` says when the buffer is empty.
fn nothing_to_read(connection: &Connection) -> Result<usize, RecvError> {
    match (connection.state, connection.reason) {
        _ if connection.fin_received || connection.read_shut => Ok(0),
        (State::Closed | State::TimeWait, Some(CloseReason::Finished)) => Ok(0),
        (State::Closed, reason) => Err(RecvError::Closed(reason.unwrap_or(CloseReason::Finished))),
        _ => Err(RecvError::WouldBlock),
    }
}
