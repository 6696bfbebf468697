//! Numbers of sockets and of parts of the network.

use ethertab::{ConnectionHandle, Event, FlowHandle, InterfaceId, ListenerHandle, PingHandle, UdpHandle};
use ethertab_sim::HostId;

/// No number.
const NONE: u32 = u32::MAX;
/// No id; it finds nothing.
const NO_ID: u64 = u64::MAX;

/// Ids of the network, by the half of them that is a small number. The network itself knows which of them are over.
#[derive(Debug, Default)]
pub(crate) struct Ids(Vec<u64>);

impl Ids {
    /// Takes in an id and returns its number.
    pub(crate) fn insert(&mut self, id: u64) -> u32 {
        let number = id as u32;
        put(&mut self.0, number, id, NO_ID);
        number
    }

    /// The newest id with this number.
    pub(crate) fn get(&self, number: u32) -> u64 {
        self.0.get(number as usize).copied().unwrap_or(NO_ID)
    }
}

/// Writes into a table, which grows as needed.
fn put<T: Copy>(table: &mut Vec<T>, index: u32, value: T, nothing: T) {
    let index = index as usize;
    while table.len() <= index {
        table.push(nothing);
    }
    table[index] = value;
}

/// The kinds of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connection,
    Listener,
    Udp,
    Ping,
    Interface,
    Flow,
}

/// A socket of a host, with its handle as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    host: HostId,
    kind: Kind,
    handle: u64,
}

/// Numbers of the sockets of each kind of one host, by the half of their handles that is a small number.
type Numbers = [Vec<u32>; 6];

/// Gives sockets numbers and finds them both ways, without a search.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    sockets: Vec<Option<Socket>>,
    free: Vec<u32>,
    /// Numbers that were taken back, which events that have been told may still mean.
    removed: Vec<u32>,
    hosts: Vec<Numbers>,
}

impl Sockets {
    /// Gives a socket a number.
    pub(crate) fn insert(&mut self, socket: Socket) -> u32 {
        let number = self.free.pop().unwrap_or(self.sockets.len() as u32);
        put(&mut self.sockets, number, Some(socket), None);
        let host = socket.host.to_bits() as u32 as usize;
        while self.hosts.len() <= host {
            self.hosts.push(Numbers::default());
        }
        put(&mut self.hosts[host][socket.kind as usize], socket.handle as u32, number, NONE);
        number
    }

    /// The number of a socket, if it has one.
    pub(crate) fn number(&self, socket: Socket) -> Option<u32> {
        let numbers = &self.hosts.get(socket.host.to_bits() as u32 as usize)?[socket.kind as usize];
        let number = *numbers.get(socket.handle as u32 as usize)?;
        // The place may be that of an earlier socket, whose number has not been taken back.
        (self.get(number) == Some(socket)).then_some(number)
    }

    /// Takes a number back. It is given again only after [`reuse_removed`](Self::reuse_removed).
    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(socket) = self.sockets.get_mut(number as usize)
            && socket.take().is_some()
        {
            self.removed.push(number);
        }
    }

    /// Lets the numbers that were taken back be given again. Nobody may still have to be told of an event by such a number, or
    /// its next owner would get it.
    pub(crate) fn reuse_removed(&mut self) {
        self.free.append(&mut self.removed);
    }

    /// Takes back the numbers of all sockets of a host.
    pub(crate) fn remove_host(&mut self, host: HostId) {
        for number in 0..self.sockets.len() as u32 {
            if self.get(number).is_some_and(|socket| socket.host == host) {
                self.remove(number);
            }
        }
    }

    /// The connection with this number.
    pub(crate) fn connection(&self, number: u32) -> Option<(HostId, ConnectionHandle)> {
        let (host, handle) = self.find(number, Kind::Connection)?;
        Some((host, ConnectionHandle::from_bits(handle)))
    }

    /// The listener with this number.
    pub(crate) fn listener(&self, number: u32) -> Option<(HostId, ListenerHandle)> {
        let (host, handle) = self.find(number, Kind::Listener)?;
        Some((host, ListenerHandle::from_bits(handle)))
    }

    /// The UDP socket with this number.
    pub(crate) fn udp(&self, number: u32) -> Option<(HostId, UdpHandle)> {
        let (host, handle) = self.find(number, Kind::Udp)?;
        Some((host, UdpHandle::from_bits(handle)))
    }

    /// The echo request with this number.
    pub(crate) fn ping(&self, number: u32) -> Option<(HostId, PingHandle)> {
        let (host, handle) = self.find(number, Kind::Ping)?;
        Some((host, PingHandle::from_bits(handle)))
    }

    /// The flow with this number.
    pub(crate) fn flow(&self, number: u32) -> Option<(HostId, FlowHandle)> {
        let (host, handle) = self.find(number, Kind::Flow)?;
        Some((host, FlowHandle::from_bits(handle)))
    }

    /// Gives a flow a number, and takes back that of the one which was in its place before: so there are no more than a host can have at once,
    /// whatever becomes of them.
    pub(crate) fn insert_flow(&mut self, host: HostId, handle: FlowHandle) -> u32 {
        let flow = Socket { host, kind: Kind::Flow, handle: handle.to_bits() };
        let numbers = self.hosts.get(host.to_bits() as u32 as usize).map(|numbers| &numbers[Kind::Flow as usize]);
        let before = numbers.and_then(|numbers| numbers.get(flow.handle as u32 as usize)).copied();
        if let Some(before) = before
            && let Some(found) = self.get(before)
            && found.kind == Kind::Flow
            && (found.host, found.handle as u32) == (host, flow.handle as u32)
        {
            self.remove(before);
        }
        self.insert(flow)
    }

    fn find(&self, number: u32, kind: Kind) -> Option<(HostId, u64)> {
        let socket = self.get(number).filter(|socket| socket.kind == kind)?;
        Some((socket.host, socket.handle))
    }

    fn get(&self, number: u32) -> Option<Socket> {
        self.sockets.get(number as usize).copied().flatten()
    }
}

impl Socket {
    pub(crate) fn connection(host: HostId, handle: ConnectionHandle) -> Socket {
        Socket { host, kind: Kind::Connection, handle: handle.to_bits() }
    }

    pub(crate) fn listener(host: HostId, handle: ListenerHandle) -> Socket {
        Socket { host, kind: Kind::Listener, handle: handle.to_bits() }
    }

    pub(crate) fn udp(host: HostId, handle: UdpHandle) -> Socket {
        Socket { host, kind: Kind::Udp, handle: handle.to_bits() }
    }

    pub(crate) fn ping(host: HostId, handle: PingHandle) -> Socket {
        Socket { host, kind: Kind::Ping, handle: handle.to_bits() }
    }

    /// An interface, of which is told like of a socket.
    pub(crate) fn interface(host: HostId, interface: InterfaceId) -> Socket {
        Socket { host, kind: Kind::Interface, handle: interface.0.into() }
    }

    /// The socket that an event is about, and its signals.
    pub(crate) fn of_event(host: HostId, event: Event) -> Option<(Socket, u8)> {
        Some(match event {
            Event::Connection(handle, signals) => (Socket::connection(host, handle), signals.bits()),
            Event::Listener(handle, signals) => (Socket::listener(host, handle), signals.bits()),
            Event::Udp(handle, signals) => (Socket::udp(host, handle), signals.bits()),
            Event::Ping(handle, signals) => (Socket::ping(host, handle), signals.bits()),
            Event::Interface(interface, signals) => (Socket::interface(host, interface), signals.bits()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number in the lower half, and how often it was used in the upper one.
    fn bits(index: u64, generation: u64) -> u64 {
        generation << 32 | index
    }

    fn connection(host: u64, index: u64, generation: u64) -> Socket {
        Socket::connection(HostId::from_bits(host), ConnectionHandle::from_bits(bits(index, generation)))
    }

    #[test]
    fn numbers_are_reused_and_found_both_ways() {
        let mut sockets = Sockets::default();
        let (a, b, c) = (connection(0, 5, 0), connection(3, 5, 0), connection(0, 900, 0));
        assert_eq!((sockets.insert(a), sockets.insert(b)), (0, 1));
        assert_eq!((sockets.number(a), sockets.number(b), sockets.number(c)), (Some(0), Some(1), None));
        sockets.remove(0);
        sockets.remove(0);
        sockets.remove(7);
        assert_eq!((sockets.number(a), sockets.connection(0)), (None, None));
        sockets.reuse_removed();
        assert_eq!((sockets.insert(c), sockets.insert(a)), (0, 2));
        assert_eq!(sockets.connection(0), Some((HostId::from_bits(0), ConnectionHandle::from_bits(900))));
        sockets.remove_host(HostId::from_bits(0));
        assert_eq!((sockets.number(a), sockets.number(b), sockets.number(c)), (None, Some(1), None));
    }

    #[test]
    fn a_number_that_was_taken_back_rests_until_events_by_it_were_told() {
        let mut sockets = Sockets::default();
        let number = sockets.insert(connection(0, 5, 0));
        sockets.remove(number);
        let next = sockets.insert(connection(0, 6, 0));
        assert_ne!(next, number);
        sockets.reuse_removed();
        assert_eq!(sockets.insert(connection(0, 7, 0)), number);
    }

    #[test]
    fn the_next_socket_at_a_place_does_not_have_the_number_of_the_last() {
        let mut sockets = Sockets::default();
        let number = sockets.insert(connection(0, 5, 0));
        assert_eq!(sockets.number(connection(0, 5, 1)), None);
        assert_eq!(sockets.number(connection(bits(0, 1), 5, 0)), None);
        let next = sockets.insert(connection(0, 5, 1));
        assert_eq!((sockets.number(connection(0, 5, 0)), sockets.number(connection(0, 5, 1))), (None, Some(next)));
        sockets.remove(number);
        assert_eq!(sockets.number(connection(0, 5, 1)), Some(next));
    }

    #[test]
    fn a_number_finds_only_its_own_kind() {
        let mut sockets = Sockets::default();
        let host = HostId::from_bits(1);
        let number = sockets.insert(Socket::udp(host, UdpHandle::from_bits(4)));
        assert_eq!(sockets.udp(number), Some((host, UdpHandle::from_bits(4))));
        assert_eq!((sockets.connection(number), sockets.listener(number), sockets.ping(number)), (None, None, None));
        assert_eq!(sockets.number(Socket::ping(host, PingHandle::from_bits(4))), None);
    }

    #[test]
    fn an_id_is_found_until_its_place_is_used_again() {
        let mut ids = Ids::default();
        assert_eq!(ids.insert(bits(3, 0)), 3);
        assert_eq!((ids.get(3), ids.get(2), ids.get(4)), (bits(3, 0), NO_ID, NO_ID));
        assert_eq!(ids.insert(bits(3, 1)), 3);
        assert_eq!(ids.get(3), bits(3, 1));
    }
}
