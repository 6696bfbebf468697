//! Linux's end: its own sockets, which give up rather than hang.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ethertab_sim::apps::fill_pattern;
use nix::sys::socket::{Backlog, setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::Outcome;
use crate::apps::Stream;

/// How long a call may wait: longer than the longest silence here, some timeouts in a row that double each time.
const LIMIT: Duration = Duration::from_secs(120);
const CHUNK: usize = 64 * 1024;

/// Connects.
pub(crate) fn connect(remote: SocketAddr) -> Outcome<TcpStream> {
    limited(TcpStream::connect_timeout(&remote, LIMIT)?)
}

/// Listens, with room for all the connections that come before the first is accepted: with the 128 of the standard library
/// Linux answers a burst of SYNs with cookies, and resets who follows the lost ACK of one with more than one segment.
pub(crate) fn listen(local: SocketAddr) -> Outcome<TcpListener> {
    let listener = TcpListener::bind(local)?;
    nix::sys::socket::listen(&listener, Backlog::new(4_096)?)?;
    Ok(listener)
}

/// Takes the next connection.
pub(crate) fn accept(listener: &TcpListener) -> Outcome<TcpStream> {
    // Linux lets the time for receiving bound the wait for a connection too (socket(7)).
    setsockopt(listener, ReceiveTimeout, &TimeVal::seconds(LIMIT.as_secs() as i64))?;
    limited(listener.accept()?.0)
}

fn limited(stream: TcpStream) -> Outcome<TcpStream> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// Sends `len` bytes of a pattern and ends this side.
pub(crate) fn send(mut stream: &TcpStream, key: u64, len: u64) -> Outcome {
    let (mut sent, mut chunk) = (0, vec![0; CHUNK]);
    while sent < len {
        let chunk = &mut chunk[..(len - sent).min(CHUNK as u64) as usize];
        fill_pattern(key, sent, chunk);
        stream.write_all(chunk)?;
        sent += chunk.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(())
}

/// Receives until the end.
pub(crate) fn receive(mut stream: &TcpStream) -> Outcome<Stream> {
    let (mut received, mut chunk) = (Stream::default(), vec![0; CHUNK]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(received),
            Ok(len) => received.add(&chunk[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("after {} bytes: {error}", received.len()).into()),
        }
    }
}
