//! What a UDP socket may be told: settings, the one peer that it talks to, a port that it shares.

use core::net::{IpAddr, SocketAddr};

use super::Stack;
use super::flow::link_of;
use super::nodes::Node;
use super::udp::{BindError, UdpSendError, UdpSocket};
use crate::address::{Endpoint, is_unicast, with_scope, words};
use crate::event::{InterfaceId, UdpHandle};
use crate::wire::protocol;

/// Sockets that may share an address and port.
const MAX_SHARING: usize = 16;

/// Settings of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpOptions {
    /// TTL or hop limit of datagrams to one host; 0, the default, for the stack's.
    pub hop_limit: u8,
    /// TTL or hop limit of datagrams to groups: 1, so that they stay on the link (RFC 1112 §6.1). 0 for the stack's.
    pub multicast_hop_limit: u8,
    /// Whether what is sent to groups is also received by this host's own sockets that listen to them (RFC 1112 §6.1, `IP_MULTICAST_LOOP`); on by
    /// default.
    pub multicast_loop: bool,
    /// DSCP and ECN of what is sent: IPv4's TOS, IPv6's traffic class.
    pub traffic_class: u8,
    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`); allowed by default.
    pub broadcast: bool,
    /// Whether datagrams must leave in one piece (`IP_PMTUDISC_DO`): what is longer than the path takes, as far as that is known, is
    /// then an error to the sender. Otherwise it is fragmented, which is the default.
    pub dont_fragment: bool,
    /// The same, but what is known of the path does not count, only the interface's MTU (`IP_PMTUDISC_PROBE`): for who finds out the path's MTU by
    /// datagrams ([`Dplpmtud`](crate::services::Dplpmtud), RFC 8899). Off by default.
    pub probe: bool,
    /// Whether datagrams over IPv4 have a checksum, as they have by default; over IPv6 all have one (RFC 8200 §8.1).
    pub checksum: bool,
    /// Whether up to 16 sockets that all want it may have the same address and port (`SO_REUSEPORT`). Each peer's datagrams go to one of
    /// them, those to groups and broadcasts to all. Counts when the socket is bound.
    pub share_port: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        UdpOptions {
            hop_limit: 0,
            multicast_hop_limit: 1,
            multicast_loop: true,
            traffic_class: 0,
            broadcast: true,
            dont_fragment: false,
            probe: false,
            checksum: true,
            share_port: false,
        }
    }
}

impl UdpSocket {
    /// How well the socket suits a datagram to one of its ports: by address, and by peer. None if it is not for it.
    fn suits(&self, local: Endpoint, remote: SocketAddr) -> Option<u8> {
        let by_address = match self.local.address {
            Some(_) if self.local != local => return None,
            Some(_) => 2,
            None if self.local.port != local.port => return None,
            None => 0,
        };
        match self.peer {
            Some(peer) if peer != remote => None,
            Some(_) => Some(by_address + 1),
            None => Some(by_address),
        }
    }
}

impl Stack<'_> {
    /// The settings of a socket.
    pub fn udp_options(&self, socket: UdpHandle) -> Option<UdpOptions> {
        self.udp_sockets.lookup(socket.0).map(|found| found.options)
    }

    /// Changes the settings of a socket; they count for what is sent from now on.
    pub fn udp_set_options(&mut self, socket: UdpHandle, options: UdpOptions) {
        if let Some(found) = self.udp_sockets.lookup_mut(socket.0) {
            found.options = options;
        }
    }

    /// Connects a socket (RFC 1122 §4.1.4): from now on it receives only what `peer` sends to the address that the route to it
    /// names, and errors about what was sent there. None receives from all again.
    ///
    /// # Errors
    /// [`UdpSendError::NotFound`], [`UdpSendError::NoRoute`], [`UdpSendError::Scope`], and [`UdpSendError::BadAddress`] for what is not
    /// one host, or of another family than the socket's own address.
    pub fn udp_connect(&mut self, socket: UdpHandle, peer: Option<SocketAddr>) -> Result<(), UdpSendError> {
        let found = self.udp_sockets.lookup(socket.0).ok_or(UdpSendError::NotFound)?;
        let bound = found.bound;
        let connected = match peer {
            None => None,
            Some(remote) => {
                let address = remote.ip();
                if remote.port() == 0
                    || !is_unicast(address)
                    || bound.is_some_and(|bound| bound.is_ipv4() != address.is_ipv4())
                {
                    return Err(UdpSendError::BadAddress(remote));
                }
                let link = self.link_to(remote, bound).map_err(UdpSendError::Scope)?;
                let hop = self.hop_to(link, address).ok_or(UdpSendError::NoRoute(address))?;
                let peer = with_scope(address, remote.port(), link_of(address, hop.interface));
                Some((peer, bound.unwrap_or(hop.source)))
            }
        };
        if let Some(found) = self.udp_sockets.lookup_mut(socket.0) {
            found.peer = connected.map(|(peer, _)| peer);
            // The port alone says where in the table the socket is.
            found.local.address = connected.map(|(_, local)| local).or(bound);
        }
        Ok(())
    }

    /// The peer that a socket is connected to.
    pub fn udp_peer(&self, socket: UdpHandle) -> Option<SocketAddr> {
        self.udp_sockets.lookup(socket.0)?.peer
    }

    /// Whether a socket with these settings may have an address and port.
    pub(super) fn check_udp_port(&self, local: Endpoint, options: &UdpOptions) -> Result<(), BindError> {
        let (mut count, mut all_share) = (0, options.share_port);
        self.visit_udp(local.port, |_, found| {
            if found.bound == local.address {
                count += 1;
                all_share &= found.options.share_port;
            }
        });
        if count == 0 || all_share && count < MAX_SHARING { Ok(()) } else { Err(BindError::AddressInUse(local)) }
    }

    /// Calls `visit` with each socket on a port. Those are few: one for each of the host's addresses, and what they share.
    fn visit_udp(&self, port: u16, mut visit: impl FnMut(u32, &UdpSocket)) {
        let hash = self.port_hash(protocol::UDP, Endpoint::any(port));
        self.ports.find(hash, |number| {
            if let Node::Udp(index) = self.nodes.node(number)
                && let Some(socket) = self.udp_sockets.get(index)
                && socket.local.port == port
            {
                visit(index, socket);
            }
            false
        });
    }

    /// The socket for datagrams from `remote` to an address and port: the one that is connected to it goes before those that are not,
    /// and one of this address before those of all. Among sockets that share, the peer decides.
    pub(super) fn find_udp(&self, local: Endpoint, remote: SocketAddr) -> Option<u32> {
        let mut best: Option<(u8, u32)> = None;
        let mut rivals = false;
        self.visit_udp(local.port, |index, socket| {
            let Some(score) = socket.suits(local, remote) else { return };
            rivals |= best.is_some_and(|(most, _)| most == score);
            if best.is_none_or(|(most, _)| most < score) {
                (best, rivals) = (Some((score, index)), false);
            }
        });
        let (most, first) = best?;
        if !rivals {
            return Some(first);
        }
        // Rendezvous: as sockets come and go, only what was theirs goes elsewhere.
        let [a, b] = words(remote.ip());
        let flow = self.hash_secret.hash(&[a, b, u64::from(remote.port())]);
        let mut chosen = (0, first);
        self.visit_udp(local.port, |index, socket| {
            if socket.suits(local, remote) == Some(most) {
                let weight = (flow ^ index.wrapping_mul(0x9e37_79b1)).wrapping_mul(0x85eb_ca6b);
                chosen = chosen.max((weight ^ weight >> 13, index));
            }
        });
        Some(chosen.1)
    }

    /// The sockets for a datagram to a group or a broadcast address, and how many they are.
    pub(super) fn find_all_udp(
        &self,
        local: Endpoint,
        remote: SocketAddr,
        interface: InterfaceId,
    ) -> ([u32; MAX_SHARING], usize) {
        let (mut found, mut count) = ([0; MAX_SHARING], 0);
        let group = local.address.filter(|address| address.is_multicast());
        self.visit_udp(local.port, |index, socket| {
            let listens = group.is_none_or(|group| self.listens_to(index, interface, group, remote.ip()));
            if let (true, Some(_), Some(place)) = (listens, socket.suits(local, remote), found.get_mut(count)) {
                *place = index;
                count += 1;
            }
        });
        (found, count)
    }

    /// Whether `address` is a broadcast address.
    pub(super) fn is_broadcast(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || self.is_directed_broadcast(v4))
    }

    /// The remote end of what came in by `interface`.
    pub(super) fn udp_remote(&self, interface: InterfaceId, source: IpAddr, port: u16) -> SocketAddr {
        with_scope(source, port, link_of(source, interface))
    }
}
