//! What a stack has to offer to take part.

use crate::Failure;

/// Which end of the cable a host is. Addresses follow from it: 10.0.0.1 and 10.0.0.2, /24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Opens connections; 10.0.0.1, 02:00:00:00:00:01.
    Client,
    /// Accepts them; 10.0.0.2, 02:00:00:00:00:02.
    Server,
}

impl Side {
    /// The last byte of the host's own IPv4 and hardware address.
    pub fn number(self) -> u8 {
        match self {
            Side::Client => 1,
            Side::Server => 2,
        }
    }
}

/// One stack with one Ethernet interface, MTU 1500, checksums computed and verified.
/// Times are in microseconds of the virtual clock.
pub trait Host: Sized {
    /// Names a connection.
    type Socket: Copy;

    /// A host whose connections have `buffer_bytes` each way, with room for `idle` more that need
    /// no payload buffers to speak of. A server listens.
    ///
    /// # Errors
    /// [`Failure::Refused`] when the stack does not take the configuration.
    fn new(side: Side, buffer_bytes: usize, idle: usize) -> Result<Self, Failure>;

    /// Takes a frame that has arrived.
    fn receive(&mut self, now: u64, frame: &[u8]);

    /// Writes the next frame to send and returns its length in bytes.
    fn transmit(&mut self, now: u64, frame: &mut [u8]) -> Option<usize>;

    /// Does what is due by the clock. Called once a round.
    fn handle_timeout(&mut self, now: u64);

    /// The next deadline. Asked for only when nothing else moves.
    fn next_timeout(&mut self, now: u64) -> Option<u64>;

    /// Starts a connection to the server. `idle` says that it will carry no payload.
    fn connect(&mut self, now: u64, idle: bool) -> Result<Self::Socket, Failure>;

    /// Takes an established connection from the listener. `next_idle` says that the one to come
    /// will carry no payload.
    fn accept(&mut self, next_idle: bool) -> Option<Self::Socket>;

    /// Whether both ends may send.
    fn is_established(&mut self, socket: Self::Socket) -> bool;

    /// Copies bytes into the send buffer and returns how many it took.
    fn send(&mut self, now: u64, socket: Self::Socket, bytes: &[u8]) -> usize;

    /// Copies received bytes out of the receive buffer and returns how many there were.
    fn recv(&mut self, now: u64, socket: Self::Socket, into: &mut [u8]) -> usize;

    /// Whether the peer has closed and everything before has been read.
    fn is_finished(&mut self, socket: Self::Socket) -> bool;

    /// Sends FIN after what is buffered.
    fn close(&mut self, now: u64, socket: Self::Socket);

    /// Whether the connection is over for the application: gone, or in TIME-WAIT. It is not
    /// named again after this has returned true.
    fn is_over(&mut self, socket: Self::Socket) -> bool;

    /// Bytes in use of memory that was set aside at the start, whose use does not show on the heap.
    fn pooled_bytes(&self) -> usize {
        0
    }
}
