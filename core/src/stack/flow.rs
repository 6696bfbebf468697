//! Flows: who talks to whom.

use core::net::{IpAddr, SocketAddr};

use crate::address::bits;

/// A TCP connection's or UDP socket's two ends, as this host sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
}

impl Flow {
    pub(crate) fn is_ipv4(&self) -> bool {
        self.local.is_ipv4()
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        SocketAddr::new(self.local, self.local_port)
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        SocketAddr::new(self.remote, self.remote_port)
    }

    /// The flow as words for a keyed function.
    pub(crate) fn words(&self) -> [u64; 5] {
        let (local, remote) = (bits(self.local), bits(self.remote));
        [
            (local >> 64) as u64,
            local as u64,
            (remote >> 64) as u64,
            remote as u64,
            u64::from(self.local_port) << 16 | u64::from(self.remote_port),
        ]
    }
}
