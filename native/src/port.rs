//! Where frames go in and out of the process.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

/// One end where Ethernet frames, without their frame check sequence, go in and out, or IP packets if the interface is for those. Its file descriptor becomes readable
/// when a frame has arrived, and writable when one can be sent.
pub trait Port: AsFd {
    /// Prepares the port for [`Driver`](crate::Driver), which waits for it with `poll` only: neither of the two calls below may block.
    ///
    /// # Errors
    /// What the operating system reports.
    fn set_nonblocking(&mut self) -> io::Result<()>;

    /// Takes the next frame that has arrived into `buf` and returns its length in bytes, or `None` if there is none. A
    /// frame longer than `buf` is cut.
    ///
    /// # Errors
    /// What the operating system reports: the port is of no more use.
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>>;

    /// Sends a frame. Returns false, and has not sent it, if the port takes none until it is writable.
    ///
    /// # Errors
    /// What the operating system reports: the port is of no more use.
    fn send(&mut self, frame: &[u8]) -> io::Result<bool>;
}

/// A frame is a datagram.
impl Port for UnixDatagram {
    fn set_nonblocking(&mut self) -> io::Result<()> {
        UnixDatagram::set_nonblocking(self, true)
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        unless_it_would_block(self.recv(buf))
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<bool> {
        Ok(unless_it_would_block(UnixDatagram::send(self, frame))?.is_some())
    }
}

/// What a call on a non-blocking descriptor did, `None` for nothing.
pub(crate) fn unless_it_would_block(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(len) => Ok(Some(len)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
