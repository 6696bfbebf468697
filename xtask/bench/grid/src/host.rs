//! What an experiment needs of a stack: a sender that always has data, or a receiver that reads all that comes.

use ethertab::time::Instant;
use std::net::Ipv4Addr;

/// The port that receivers listen on.
pub(crate) const PORT: u16 = 80;
/// The longest Ethernet frame, in bytes.
pub(crate) const FRAME_BYTES: usize = 1_514;
/// The longest IP packet, in bytes.
pub(crate) const MTU: u16 = 1_500;

/// One of the two ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Connects at this time, and sends.
    Sender(Instant),
    /// Listens, and reads.
    Receiver,
}

/// Where a host is: the end, and the number of its flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) role: Role,
    pub(crate) flow: u8,
}

impl Place {
    fn side(self) -> u8 {
        match self.role {
            Role::Sender(_) => 1,
            Role::Receiver => 2,
        }
    }

    /// The hardware address.
    pub(crate) fn mac(self) -> [u8; 6] {
        [2, 0, 0, 0, self.side(), self.flow]
    }

    /// The address, in a network of 16 bits.
    pub(crate) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.side(), self.flow)
    }

    /// The address of the flow's receiver.
    pub(crate) fn receiver(self) -> Ipv4Addr {
        Place { role: Role::Receiver, ..self }.address()
    }
}

/// A stack with one application. A turn is: all frames that have arrived, [`turn`](Host::turn), then
/// [`transmit`](Host::transmit) until there is nothing.
pub(crate) trait Host {
    /// A frame has arrived.
    fn receive(&mut self, now: Instant, frame: &[u8]);
    /// Timers that are due, and the application.
    fn turn(&mut self, now: Instant);
    /// Writes the next frame and returns its length.
    fn transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize>;
    /// When the next turn is due, if nothing arrives before.
    fn next_timeout(&mut self, now: Instant) -> Option<Instant>;
    /// Bytes that the application has read.
    fn received(&self) -> u64;
}
