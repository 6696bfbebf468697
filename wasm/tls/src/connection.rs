//! Connections: bytes of the network on one side, bytes of the application on the other.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use ethertab_wasm_shared::Rows;
use rustls::pki_types::ServerName;
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use rustls::{
    AlertDescription, ClientConnection, ContentType, Error, HandshakeKind, ProtocolVersion, ServerConnection,
};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::config::Config;
use crate::failure::Failure;
use crate::state::{self, State};

/// What the application has written may wait so long, in bytes.
const WRITE_LIMIT: usize = 64 * 1024;

/// Bits of what [`receive`] and others return.
const HANDSHAKING: u32 = 1;
/// There is something to send.
const WANTS_OUTPUT: u32 = 2;
/// The peer has said that nothing follows.
const PEER_FINISHED: u32 = 4;
/// A server knows what the client wants and waits for [`accept_with`] or [`refuse`].
const HELLO: u32 = 8;
/// [`read`] has something to give.
const PLAINTEXT: u32 = 16;
/// Something that was received waits until the application has read what came before.
const WAITING: u32 = 32;

/// What [`read`] returns instead of a count.
const WOULD_BLOCK: i32 = -1;

/// One end of a connection.
pub(crate) struct Connection {
    phase: Phase,
    /// What was received and waits until the application has read what came before.
    waiting: Vec<u8>,
}

enum Phase {
    /// A server before the client's first message is whole.
    Hello(Box<Acceptor>),
    Choosing(Box<Accepted>),
    Open(Box<rustls::Connection>),
    /// There is no connection, only an alert that says so.
    Refused(Vec<u8>),
}

/// Begins a client's connection to `server_name`, a host name or an IP address. The configuration is one of clients.
///
/// # Errors
/// If it is neither.
#[wasm_bindgen]
pub fn client(config: u32, server_name: &str, now: f64) -> Result<u32, Failure> {
    state::set_now(now);
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|_| Failure::invalid(format!("\"{server_name}\" is no host name and no IP address")))?;
    state::with(|state| {
        let Config::Client(config) = &state.configs[config as usize] else { panic!("no configuration of clients") };
        let mut connection = ClientConnection::new(Arc::clone(config), name)?;
        connection.set_buffer_limit(Some(WRITE_LIMIT));
        Ok(state.add(Phase::Open(Box::new(connection.into()))))
    })
}

/// Begins a server's connection, which waits for the client's first message.
#[wasm_bindgen]
pub fn server() -> u32 {
    state::with(|state| state.add(Phase::Hello(Box::default())))
}

/// Takes the first `count` bytes of the scratch buffer as what came from the peer. More than fits waits, and the next call, with
/// or without more, goes on with it: call it after [`read`] too. Returns the bits of the connection's state.
///
/// # Errors
/// The connection has failed. There may be an alert to send.
#[wasm_bindgen]
pub fn receive(connection: u32, count: u32, now: f64) -> Result<u32, Failure> {
    state::set_now(now);
    state::with(|State { scratch, connections, .. }| {
        let connection = &mut connections[connection as usize];
        connection.receive(&scratch[..count as usize])?;
        connection.bits()
    })
}

/// What the client's first message asks for: a row of its server name (null if it has none) and one for each protocol of its ALPN.
#[wasm_bindgen]
pub fn client_hello(connection: u32) -> Rows {
    let rows = Rows::of("name");
    state::with(|state| {
        let Phase::Choosing(accepted) = &state.connections[connection as usize].phase else { return };
        let hello = accepted.client_hello();
        match hello.server_name() {
            Some(name) => rows.text(name),
            None => rows.nothing(),
        }
        for protocol in hello.alpn().into_iter().flatten() {
            rows.text(&String::from_utf8_lossy(protocol));
        }
    });
    rows
}

/// A server goes on with this configuration. Returns the bits of the connection's state.
///
/// # Errors
/// As [`receive`].
#[wasm_bindgen]
pub fn accept_with(connection: u32, config: u32, now: f64) -> Result<u32, Failure> {
    state::set_now(now);
    state::with(|State { configs, connections, .. }| {
        let Config::Server(config) = &configs[config as usize] else { panic!("no configuration of servers") };
        let connection = &mut connections[connection as usize];
        let Phase::Choosing(accepted) = std::mem::replace(&mut connection.phase, Phase::Refused(Vec::new())) else {
            panic!("no client has asked")
        };
        match accepted.into_connection(Arc::clone(config)) {
            Ok(mut open) => {
                open.set_buffer_limit(Some(WRITE_LIMIT));
                connection.phase = Phase::Open(Box::new(ServerConnection::into(open)));
            }
            Err((error, alert)) => {
                connection.phase = Phase::Refused(queued_alert(&error, alert));
                return Err(error.into());
            }
        }
        connection.receive(&[])?;
        connection.bits()
    })
}

/// A server refuses what the client asks for: there is an alert to send, that the name is not known here.
#[wasm_bindgen]
pub fn refuse(connection: u32) {
    let alert = fatal_alert(AlertDescription::UnrecognisedName);
    state::with(|state| state.connections[connection as usize].phase = Phase::Refused(alert));
}

/// Puts what is to be sent into the scratch buffer, at most `most` bytes, and returns how many it is: call it until that is 0.
#[wasm_bindgen]
pub fn output(connection: u32, most: u32) -> u32 {
    state::with(|State { scratch, connections, .. }| {
        let room = scratch.len().min(most as usize);
        connections[connection as usize].output(&mut scratch[..room]) as u32
    })
}

/// Puts what the peer's application has sent into the scratch buffer, at most `most` bytes, and returns how many it is: 0 at the end,
/// which the peer has told, -1 if there is nothing yet.
#[wasm_bindgen]
pub fn read(connection: u32, most: u32) -> i32 {
    state::with(|State { scratch, connections, .. }| {
        let room = scratch.len().min(most as usize);
        connections[connection as usize].read(&mut scratch[..room])
    })
}

/// How many bytes [`read`] would give at least.
#[wasm_bindgen]
pub fn readable_bytes(connection: u32) -> u32 {
    state::with(|state| {
        let Phase::Open(open) = &mut state.connections[connection as usize].phase else { return 0 };
        open.process_new_packets().map_or(0, |state| state.plaintext_bytes_to_read() as u32)
    })
}

/// Encrypts the first `count` bytes of the scratch buffer, or as many as there is room for, and returns how many it took. Before the
/// handshake has ended they wait.
#[wasm_bindgen]
pub fn write(connection: u32, count: u32) -> u32 {
    state::with(|State { scratch, connections, .. }| {
        let Phase::Open(open) = &mut connections[connection as usize].phase else { return 0 };
        // It fails with nothing but "not all".
        open.writer().write(&scratch[..count as usize]).unwrap_or(0) as u32
    })
}

/// Tells the peer that nothing follows what was written.
#[wasm_bindgen]
pub fn finish(connection: u32) {
    state::with(|state| {
        if let Phase::Open(open) = &mut state.connections[connection as usize].phase {
            open.send_close_notify();
        }
    });
}

/// What a connection has agreed on: a row with the version, the cipher suite, the protocol of the ALPN, the name that the client asked for, whether
/// it is a resumed session, and how many certificates of the peer follow, each a row of its own with the certificate in the first field.
#[wasm_bindgen]
pub fn session(connection: u32) -> Rows {
    let rows = Rows::of("protocol cipher alpn servername resumed certificates");
    state::with(|state| {
        let Phase::Open(open) = &state.connections[connection as usize].phase else { return };
        let text = |text: Option<&str>| match text {
            Some(text) => rows.text(text),
            None => rows.nothing(),
        };
        text(open.protocol_version().map(|version| match version {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => "TLSv1.3",
        }));
        text(open.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()));
        text(open.alpn_protocol().and_then(|protocol| str::from_utf8(protocol).ok()));
        text(match &**open {
            rustls::Connection::Server(server) => server.server_name(),
            rustls::Connection::Client(_) => None,
        });
        rows.number(u8::from(open.handshake_kind() == Some(HandshakeKind::Resumed)));
        let certificates = open.peer_certificates().unwrap_or_default();
        rows.number(certificates.len() as u32);
        for certificate in certificates {
            rows.bytes(certificate);
            for _ in 0..5 {
                rows.nothing();
            }
        }
    });
    rows
}

/// What a client whose first message is not accepted is told.
fn queued_alert(error: &Error, mut alert: AcceptedAlert) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a vector does not fail.
    let _ = alert.write_all(&mut bytes);
    if !bytes.is_empty() {
        return bytes;
    }
    // rustls has none for each error. RFC 8446 §6.2: "Whenever an implementation encounters a fatal error condition, it SHOULD send an
    // appropriate fatal alert and MUST close the connection without sending or receiving any additional data."
    fatal_alert(match error {
        // An alert is not answered: "both parties MUST immediately close the connection".
        Error::InappropriateMessage { got_type: ContentType::Alert, .. } => return bytes,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        Error::PeerIncompatible(_) => AlertDescription::HandshakeFailure,
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        _ => AlertDescription::InternalError,
    })
}

/// A fatal alert, as a record of its own that is not encrypted (RFC 8446 §5.1 and §6).
fn fatal_alert(description: AlertDescription) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description.into()]
}

/// Forgets a connection.
#[wasm_bindgen]
pub fn free_connection(connection: u32) {
    state::with(|state| state.connections.try_remove(connection as usize));
}

impl State {
    fn add(&mut self, phase: Phase) -> u32 {
        self.connections.insert(Connection { phase, waiting: Vec::new() }) as u32
    }
}

impl Connection {
    fn receive(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.waiting.is_empty() {
            let taken = self.take(bytes)?;
            self.waiting.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend_from_slice(bytes);
        let taken = self.take(&waiting)?;
        waiting.drain(..taken);
        self.waiting = waiting;
        Ok(())
    }

    /// Takes bytes as far as there is room for what is in them, and returns how many it took.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match &mut self.phase {
                Phase::Hello(acceptor) => {
                    // A slice does not fail, and a whole message is taken out before there is more than fits.
                    if acceptor.read_tls(&mut rest).is_err() {
                        break;
                    }
                    match acceptor.accept() {
                        Ok(None) => {}
                        Ok(Some(accepted)) => {
                            self.phase = Phase::Choosing(Box::new(accepted));
                            break;
                        }
                        Err((error, alert)) => {
                            self.phase = Phase::Refused(queued_alert(&error, alert));
                            return Err(error.into());
                        }
                    }
                }
                Phase::Open(open) => {
                    match open.read_tls(&mut rest) {
                        // What follows the peer's last message is nobody's.
                        Ok(0) => rest = &[],
                        Ok(_) => {}
                        // What it has decrypted is to be read first.
                        Err(_) => break,
                    }
                    open.process_new_packets()?;
                }
                Phase::Choosing(_) => break,
                Phase::Refused(_) => rest = &[],
            }
        }
        Ok(bytes.len() - rest.len())
    }

    fn output(&mut self, mut room: &mut [u8]) -> usize {
        let before = room.len();
        match &mut self.phase {
            Phase::Open(open) => while open.wants_write() && matches!(open.write_tls(&mut room), Ok(1..)) {},
            Phase::Refused(alert) => {
                let count = alert.len().min(room.len());
                room[..count].copy_from_slice(&alert[..count]);
                alert.drain(..count);
                return count;
            }
            Phase::Hello(_) | Phase::Choosing(_) => {}
        }
        before - room.len()
    }

    fn read(&mut self, room: &mut [u8]) -> i32 {
        let Phase::Open(open) = &mut self.phase else { return WOULD_BLOCK };
        // It fails where it would wait.
        open.reader().read(room).map_or(WOULD_BLOCK, |count| count as i32)
    }

    /// What is to be done next. What came behind a client's first message is looked at here, when the connection has its
    /// configuration: it may be what the connection fails of.
    fn bits(&mut self) -> Result<u32, Failure> {
        let bit = |condition, bit| if condition { bit } else { 0 };
        let waiting = bit(!self.waiting.is_empty(), WAITING);
        Ok(match &mut self.phase {
            Phase::Hello(_) => waiting | HANDSHAKING,
            Phase::Choosing(_) => waiting | HANDSHAKING | HELLO,
            Phase::Refused(_) => WANTS_OUTPUT,
            Phase::Open(open) => {
                let state = open.process_new_packets()?;
                waiting
                    | bit(open.is_handshaking(), HANDSHAKING)
                    | bit(open.wants_write(), WANTS_OUTPUT)
                    | bit(state.peer_has_closed(), PEER_FINISHED)
                    | bit(state.plaintext_bytes_to_read() > 0, PLAINTEXT)
            }
        })
    }
}
