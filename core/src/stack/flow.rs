//! Flows: who talks to whom.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::address::{is_link_local, scope_id, with_scope, words};
use crate::event::InterfaceId;
use crate::random::Generator;

/// A TCP connection's or UDP socket's two ends, as this host sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    /// The link that a link-local remote address is on (RFC 4007 §6): the same address on another one is another host.
    pub(crate) link: Option<InterfaceId>,
}

/// The link that tells who a link-local address is, if it is one.
#[inline]
pub(crate) fn link_of(address: IpAddr, interface: InterfaceId) -> Option<InterfaceId> {
    is_link_local(address).then_some(interface)
}

/// The nodes that segments were for lately, by the ports: what the next segment of as many flows is for is known without hashing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastHits([u32; LastHits::COUNT]);

impl LastHits {
    const COUNT: usize = 8;

    /// Ports that chance has chosen differ in the low bits, those of connections one after the other too.
    #[inline]
    fn place(local_port: u16, remote_port: u16) -> usize {
        usize::from(local_port ^ remote_port) % Self::COUNT
    }

    /// The node that a flow with these ports may have: to be compared.
    #[inline]
    pub(crate) fn get(&self, local_port: u16, remote_port: u16) -> u32 {
        self.0[Self::place(local_port, remote_port)]
    }

    #[inline]
    pub(crate) fn set(&mut self, flow: &Flow, node: u32) {
        self.0[Self::place(flow.local_port, flow.remote_port)] = node;
    }
}

impl Flow {
    /// Nobody's, in the place of one that is not known yet.
    pub(crate) const NONE: Flow = Flow {
        local: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        remote: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        local_port: 0,
        remote_port: 0,
        link: None,
    };

    pub(crate) fn is_ipv4(&self) -> bool {
        self.local.is_ipv4()
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        with_scope(self.local, self.local_port, self.link)
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        with_scope(self.remote, self.remote_port, self.link)
    }

    /// A keyed hash of the flow, for tables.
    pub(crate) fn hash(&self, secret: &Generator) -> u32 {
        match self.words_of_v4() {
            Some(words) => secret.hash(&words),
            None => secret.hash(&self.words()),
        }
    }

    /// A keyed function of the flow, for values that must not be guessed.
    pub(crate) fn prf(&self, secret: &Generator) -> u64 {
        match self.words_of_v4() {
            Some(words) => secret.prf(&words),
            None => secret.prf(&self.words()),
        }
    }

    /// An IPv4 flow in fewer words. SipHash covers their number too, so that no IPv6 flow has the same ones.
    #[inline]
    fn words_of_v4(&self) -> Option<[u64; 2]> {
        let (IpAddr::V4(local), IpAddr::V4(remote)) = (self.local, self.remote) else { return None };
        let ports = u64::from(self.local_port) << 16 | u64::from(self.remote_port);
        Some([u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits()), ports])
    }

    /// The flow as words for a keyed function.
    #[inline]
    fn words(&self) -> [u64; 5] {
        let ([a, b], [c, d]) = (words(self.local), words(self.remote));
        let link = u64::from(scope_id(self.link));
        [a, b, c, d, link << 32 | u64::from(self.local_port) << 16 | u64::from(self.remote_port)]
    }
}
