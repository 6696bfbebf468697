//! Calls that open connections and move data, for TCP and UDP.

use ethertab::{
    ConnectError, ConnectOptions, ConnectionHandle, ConnectionInfo, Endpoint, ListenOptions, RecvError, SendError,
    SendFlags, State, TcpConfig, UdpMeta,
};
use std::net::SocketAddr;

use super::ast::{Call, Expr};
use super::dialect::Dialect;
use super::flow::{Stream, stream_bytes};
use super::kernel::{
    CallState, File, FileKind, Kernel, Outcome, Problem, Progress, Subject, done, errno_of, failed, mismatch,
};
use super::knobs::SocketKnobs;
use super::receive_queue::first_window;
use super::send_queue::BufferSize;
use super::symbols::evaluate;

const MSG_OOB: i64 = 1;
const MSG_PEEK: i64 = 2;
const MSG_DONTWAIT: i64 = 0x40;
const MSG_EOR: i64 = 0x80;
const MSG_WAITALL: i64 = 0x100;
const MSG_ERRQUEUE: i64 = 0x2000;
const MSG_MORE: i64 = 0x8000;
const MSG_ZEROCOPY: i64 = 0x400_0000;
const MSG_FASTOPEN: i64 = 0x2000_0000;

/// The most that is read or written in one go.
const CHUNK: u32 = 64 * 1024;

impl Kernel {
    pub(super) fn listen(&mut self, call: &Call) -> Outcome {
        let backlog = self.number(call, 1)?;
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        if !matches!(file.kind, FileKind::Fresh) {
            return if matches!(file.kind, FileKind::Listening(_)) { done(0) } else { failed("EINVAL") };
        }
        let local = file.local.unwrap_or(Endpoint::any(0));
        // Linux accepts one connection more than the backlog says.
        let backlog = backlog.clamp(0, 65_534) as u16 + 1;
        let options =
            ListenOptions { backlog, fast_open: file.knobs.fast_open_queue, tcp: Some(config_of(&file.knobs)) };
        let keys = file.knobs.fast_open_keys;
        let Ok(listener) = self.host.stack.listen(local, options) else { return failed("EADDRINUSE") };
        if let Some(keys) = keys {
            let _ = self.host.stack.set_fast_open_keys(Some(listener), keys);
        }
        let port = self.host.stack.listener_address(listener).map_or(local.port, |address| address.port);
        if let Ok(file) = self.file(call) {
            file.kind = FileKind::Listening(listener);
        }
        self.subject = Some(Subject::Port(port));
        done(0)
    }

    pub(super) fn accept(&mut self, call: &Call) -> Outcome {
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        let FileKind::Listening(listener) = file.kind else { return failed("EINVAL") };
        let (nonblocking, knobs) = (file.nonblocking, SocketKnobs { accepted: true, ..file.knobs.clone() });
        let Some(handle) = self.host.stack.accept(listener) else {
            return if nonblocking { failed("EAGAIN") } else { Ok(Progress::Blocked) };
        };
        let info = self.host.stack.connection_info(handle);
        let mut accepted = File::new(FileKind::Open(handle), knobs);
        accepted.connect_told = true;
        accepted.ports = info.map(|info| (info.local.port(), info.remote.port()));
        if call.name == "accept4" {
            accepted.nonblocking = self.number(call, 3)? & 0o4000 != 0;
        }
        self.open(call, accepted)
    }

    pub(super) fn connect(&mut self, call: &Call, state: &mut CallState) -> Outcome {
        if names_no_family(call.arguments.get(1)) {
            return self.disconnect(call);
        }
        let default = SocketAddr::new(self.host.remote, self.settings.connect_port);
        let remote = self.address(call.arguments.get(1), default)?;
        let number = self.number(call, 0)?;
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        match file.kind {
            FileKind::Fresh => {}
            FileKind::Open(handle) => return self.connecting(call, handle, state),
            FileKind::Udp(_) => {
                file.peer = Some(remote);
                return self.udp_socket(call).and_then(|_| done(0));
            }
            FileKind::Listening(_) => return failed("EISCONN"),
            FileKind::Epoll(_) | FileKind::Pipe(_) | FileKind::Plain => return failed("ENOTSOCK"),
        }
        let (nonblocking, fast_open) = (file.nonblocking, file.knobs.fast_open_connect);
        let handle = match self.open_connection(number, remote, fast_open)? {
            Ok(handle) => handle,
            Err(errno) => return failed(errno),
        };
        if self.host.stack.fast_open_room(handle).is_some() {
            return done(0);
        }
        if nonblocking { failed("EINPROGRESS") } else { Ok(Progress::Blocked) }
    }

    /// Makes a fresh socket a connection, or tells why not.
    pub(super) fn open_connection(
        &mut self,
        number: i64,
        remote: SocketAddr,
        fast_open: bool,
    ) -> Result<Result<ConnectionHandle, &'static str>, Problem> {
        let now = self.host.instant();
        let Some(file) = self.files.get_mut(&number) else { return Ok(Err("EBADF")) };
        let options = ConnectOptions {
            local: file.local,
            ports: file.knobs.ports,
            time_wait_reuse: self.knobs.time_wait_reuse,
            tcp: Some(config_of(&file.knobs)),
            timeout: file.knobs.connect_timeout,
            fast_open,
        };
        let handle = match self.host.stack.connect(now, remote, options) {
            Ok(handle) => handle,
            Err(ConnectError::NoRoute(_)) => return Ok(Err("ENETUNREACH")),
            Err(ConnectError::AddressInUse(_)) if file.knobs.dialect == Dialect::FreeBsd => {
                return Ok(Err("EADDRINUSE"));
            }
            Err(ConnectError::AddressInUse(_)) => return Ok(Err("EADDRNOTAVAIL")),
            Err(ConnectError::PortsExhausted | ConnectError::AddressNotAvailable(_)) => {
                return Ok(Err("EADDRNOTAVAIL"));
            }
            Err(ConnectError::TooManyConnections) => return Ok(Err("ENOBUFS")),
            Err(_) => return Ok(Err("EINVAL")),
        };
        let local_port = self.host.stack.connection_info(handle).map_or(0, |info| info.local.port());
        self.subject = Some(Subject::NewConnection(local_port, remote.port()));
        file.kind = FileKind::Open(handle);
        file.ports = Some((local_port, remote.port()));
        Ok(Ok(handle))
    }

    /// `connect` to `AF_UNSPEC`: the connection is reset, and the socket as it was when it was made.
    fn disconnect(&mut self, call: &Call) -> Outcome {
        let now = self.host.instant();
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        if let FileKind::Open(handle) = file.kind {
            let mut fresh = File::new(FileKind::Fresh, file.knobs.clone());
            fresh.nonblocking = file.nonblocking;
            *file = fresh;
            self.host.stack.abort(&mut self.host.pool, now, handle);
        }
        done(0)
    }

    /// A second `connect`, or the first while it waits.
    fn connecting(&mut self, call: &Call, handle: ConnectionHandle, state: &CallState) -> Outcome {
        let connection_state = self.host.stack.connection_state(handle);
        let reason = self.host.stack.connection_error(handle);
        let waits_for_data = self.host.stack.fast_open_room(handle).is_some();
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        match connection_state {
            Some(State::SynSent | State::SynReceived) if state.resumed => Ok(Progress::Blocked),
            // The SYN waits for data, and the user was told that all is well.
            Some(State::SynSent) if waits_for_data => failed("EISCONN"),
            Some(State::SynSent | State::SynReceived) => failed("EALREADY"),
            Some(State::Closed) | None => {
                file.error_told = true;
                failed(reason.and_then(|reason| errno_of(reason, &file.knobs)).unwrap_or("ECONNABORTED"))
            }
            Some(_) if file.connect_told => failed("EISCONN"),
            Some(_) => {
                file.connect_told = true;
                done(0)
            }
        }
    }

    pub(super) fn shutdown(&mut self, call: &Call) -> Outcome {
        let how = self.number(call, 1)?;
        let now = self.host.instant();
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        let FileKind::Open(handle) = file.kind else { return failed("ENOTCONN") };
        file.read_shut |= how != 1;
        let stack = &mut self.host.stack;
        if how != 1 {
            // Fails where the other half does.
            let _ = stack.shutdown_read(handle);
        }
        if how == 0 {
            return done(0);
        }
        stack.shutdown(now, handle).map_or_else(|_| failed("ENOTCONN"), |()| done(0))
    }

    pub(super) fn read(&mut self, call: &Call, state: &mut CallState) -> Outcome {
        let (len, flags) = match call.name.as_str() {
            "read" => (self.number(call, 2)?, 0),
            "readv" => (vector_len(call.arguments.get(1)), 0),
            "recvmsg" => {
                let message = call.arguments.get(1);
                (vector_len(message.and_then(|message| message.field("msg_iov"))), self.number(call, 2)?)
            }
            _ => (self.number(call, 2)?, self.number(call, 3)?),
        };
        if flags & MSG_ERRQUEUE != 0 {
            return self.read_error_queue(call);
        }
        if flags & MSG_OOB != 0 {
            return failed("EINVAL");
        }
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        let waits = !file.nonblocking && flags & MSG_DONTWAIT == 0;
        match file.kind {
            FileKind::Open(handle) => {
                let number = self.number(call, 0)?;
                if is_null(call) && self.host.stack.readable_bytes(handle) > 0 {
                    return failed("EFAULT");
                }
                let result = self.read_enough(number, handle, len.max(0) as usize, flags, waits, state)?;
                if matches!(result, Progress::Done(Ok(_))) {
                    self.expect_read_control(call, number)?;
                }
                Ok(result)
            }
            FileKind::Udp(_) => self.read_datagram(call, len.max(0) as usize, waits),
            FileKind::Fresh | FileKind::Listening(_) => failed("ENOTCONN"),
            FileKind::Epoll(_) | FileKind::Pipe(_) | FileKind::Plain => failed("EINVAL"),
        }
    }

    /// Reads what there is, and waits for more as long as that is less than `SO_RCVLOWAT` or `MSG_WAITALL` wants.
    fn read_enough(
        &mut self,
        number: i64,
        handle: ConnectionHandle,
        len: usize,
        flags: i64,
        waits: bool,
        state: &mut CallState,
    ) -> Outcome {
        let low_water = self.files.get(&number).map_or(1, |file| file.knobs.tcp.receive_low_water as usize);
        let least = if flags & MSG_WAITALL != 0 { len } else { low_water.min(len) };
        loop {
            let rest = len - state.bytes as usize;
            match self.read_stream(number, handle, rest, flags, waits)? {
                Progress::Done(Ok(count @ 1..)) => {
                    state.bytes += count as u32;
                    if flags & MSG_PEEK != 0 || !waits || state.bytes as usize >= least {
                        return done(i64::from(state.bytes));
                    }
                }
                Progress::Done(_) if state.bytes > 0 => return done(i64::from(state.bytes)),
                other => return Ok(other),
            }
        }
    }

    pub(super) fn read_stream(
        &mut self,
        number: i64,
        handle: ConnectionHandle,
        len: usize,
        flags: i64,
        waits: bool,
    ) -> Outcome {
        let now = self.host.instant();
        let Some(file) = self.files.get(&number) else { return failed("EBADF") };
        let (offset, error_told, read_shut) = (file.bytes_read, file.error_told, file.read_shut);
        let reported = file.reported;
        let mut bytes = vec![0; len.min(self.host.stack.readable_bytes(handle))];
        if flags & MSG_PEEK == 0 {
            self.expect_reading(number, handle, bytes.len() as u32);
        }
        let host = &mut self.host;
        let result = if flags & MSG_PEEK != 0 {
            host.stack.peek(&host.pool, handle, &mut bytes)
        } else {
            host.stack.recv(&mut host.pool, now, handle, &mut bytes)
        };
        match result {
            Ok(0) if len > 0 && host.stack.readable_bytes(handle) == 0 => done(0),
            Ok(count) => {
                let wrong = bytes.iter().zip(stream_bytes(Stream::FromScript, offset, bytes.len() as u32));
                if let Some(at) = wrong.into_iter().position(|(got, sent)| *got != sent) {
                    let place = u64::from(offset) + at as u64;
                    return mismatch(
                        "the bytes that were sent",
                        format!("another one at offset {place} of the stream"),
                    );
                }
                if flags & MSG_PEEK == 0
                    && let Some(file) = self.files.get_mut(&number)
                {
                    file.bytes_read = offset.wrapping_add(count as u32);
                }
                done(count as i64)
            }
            Err(RecvError::Closed(reason)) => {
                let Some(file) = self.files.get_mut(&number) else { return failed("EBADF") };
                file.error_told = true;
                match errno_of(reason, &file.knobs).filter(|_| !error_told) {
                    Some(errno) => failed(errno),
                    None => done(0),
                }
            }
            Err(RecvError::WouldBlock) if reported.is_some() => {
                if let Some(file) = self.files.get_mut(&number) {
                    file.reported = None;
                }
                failed(reported.unwrap_or_default())
            }
            Err(_) if read_shut => done(0),
            Err(RecvError::WouldBlock) if waits => Ok(Progress::Blocked),
            Err(_) => failed("EAGAIN"),
        }
    }

    fn read_datagram(&mut self, call: &Call, len: usize, waits: bool) -> Outcome {
        let handle = self.udp_socket(call)?;
        let mut bytes = vec![0; len.min(CHUNK as usize)];
        match self.host.stack.udp_recv(&mut self.host.pool, handle, &mut bytes) {
            Some((count, _)) => done(count as i64),
            None if waits => Ok(Progress::Blocked),
            None => failed("EAGAIN"),
        }
    }

    pub(super) fn write(&mut self, call: &Call, state: &mut CallState) -> Outcome {
        let (len, flags, address) = match call.name.as_str() {
            "write" => (self.number(call, 2)?, 0, None),
            "writev" => (vector_len(call.arguments.get(1)), 0, None),
            "sendmsg" => {
                let message = call.arguments.get(1);
                (vector_len(message.and_then(|message| message.field("msg_iov"))), self.number(call, 2)?, None)
            }
            "send" => (self.number(call, 2)?, self.number(call, 3)?, None),
            _ => (self.number(call, 2)?, self.number(call, 3)?, call.arguments.get(4)),
        };
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        let waits = !file.nonblocking && flags & MSG_DONTWAIT == 0;
        let zero_copy = flags & MSG_ZEROCOPY != 0 && file.knobs.zero_copy;
        let is_stream = matches!(file.kind, FileKind::Open(_) | FileKind::Fresh);
        if is_stream && is_null(call) && len > 0 {
            return failed("EFAULT");
        }
        if flags & MSG_FASTOPEN != 0 && is_stream {
            let result = self.send_and_connect(call, len.clamp(0, i64::from(u32::MAX)) as u32, waits, state)?;
            return self.sent(call, flags, result);
        }
        let implied = file.knobs.dialect == Dialect::FreeBsd && file.knobs.fast_open_queue > 0;
        match file.kind {
            FileKind::Fresh if implied && address.is_some() => {
                self.send_to_open(call, len.clamp(0, i64::from(u32::MAX)) as u32)
            }
            FileKind::Open(handle) => {
                let number = self.number(call, 0)?;
                let len = len.clamp(0, i64::from(u32::MAX)) as u32;
                state.flags = SendFlags {
                    more: flags & MSG_MORE != 0,
                    end_of_record: flags & MSG_EOR != 0,
                    urgent: flags & MSG_OOB != 0,
                };
                let mut result = Progress::Done(Ok(0));
                for end in record_ends(call, len, zero_copy) {
                    state.flags.end_of_record = end < len || flags & MSG_EOR != 0;
                    result = self.write_stream(number, handle, end, waits, state)?;
                    if result != Progress::Done(Ok(i64::from(end))) {
                        break;
                    }
                }
                self.sent(call, flags, result)
            }
            FileKind::Udp(_) => self.write_datagram(call, len.max(0) as usize, address),
            FileKind::Fresh | FileKind::Listening(_) => failed("EPIPE"),
            FileKind::Epoll(_) | FileKind::Pipe(_) | FileKind::Plain => failed("EINVAL"),
        }
    }

    /// Notes what a send that took something has to tell about later.
    fn sent(&mut self, call: &Call, flags: i64, result: Progress) -> Outcome {
        if let (Progress::Done(Ok(1..)), Ok(file)) = (result, self.file(call)) {
            let zero_copy = flags & MSG_ZEROCOPY != 0 && file.knobs.zero_copy;
            if zero_copy || file.error_queue.is_some() {
                file.error_queue.get_or_insert_default().sent(file.bytes_written, zero_copy);
            }
        }
        Ok(result)
    }

    pub(super) fn write_stream(
        &mut self,
        number: i64,
        handle: ConnectionHandle,
        len: u32,
        waits: bool,
        state: &mut CallState,
    ) -> Outcome {
        let now = self.host.instant();
        let host = &mut self.host;
        let Some(file) = self.files.get_mut(&number) else { return failed("EBADF") };
        if let Some(errno) = file.reported.take() {
            return if state.bytes > 0 { done(i64::from(state.bytes)) } else { failed(errno) };
        }
        if let Some(room) = host.stack.fast_open_room(handle) {
            let part = (len - state.bytes).min(room as u32);
            let data = stream_bytes(Stream::FromStack, file.bytes_written, part);
            let taken = host.stack.send(&mut host.pool, now, handle, &data).unwrap_or(0) as u32;
            file.bytes_written = file.bytes_written.wrapping_add(taken);
            state.bytes += taken;
            if !waits {
                // Without data there is nothing but the handshake to tell of.
                return if taken == 0 { failed("EINPROGRESS") } else { done(i64::from(taken)) };
            }
            // The SYN takes no more than that along.
            host.transmit();
        }
        let is_connecting = matches!(host.stack.connection_state(handle), Some(State::SynSent));
        if is_connecting && !waits {
            // Linux waits for the handshake, or refuses to.
            return failed("EAGAIN");
        }
        if std::mem::replace(&mut state.connecting, is_connecting) && !is_connecting {
            file.connect_told = true;
            if let Some(reason) = host.stack.connection_error(handle) {
                file.error_told = true;
                return failed(errno_of(reason, &file.knobs).unwrap_or("ECONNABORTED"));
            }
        }
        let memory = limited_memory(&file.knobs);
        let open = |info: &ConnectionInfo| matches!(info.state, State::Established | State::CloseWait);
        if let (Some(size), Some(info)) = (memory, host.stack.connection_info(handle)) {
            file.send_queue.begin(size, file.bytes_written, &info);
        }
        while state.bytes < len {
            let mut part = (len - state.bytes).min(CHUNK);
            let info = host.stack.connection_info(handle).filter(|info| memory.is_some() && open(info));
            if let (Some(size), Some(info)) = (memory, &info) {
                let (queue, written) = (&mut file.send_queue, file.bytes_written);
                let is_told = !state.waits_for_room || queue.is_writable(size, written, info);
                let room = if is_told { queue.room(size, written, file.knobs.tcp.unsent_limit, info) } else { 0 };
                state.waits_for_room = room == 0;
                if room == 0 {
                    host.stack.ask_for_room(handle);
                }
                part = part.min(room);
            }
            let chunk = stream_bytes(Stream::FromStack, file.bytes_written, part);
            let is_last = state.bytes + part == len;
            let goes_on =
                info.as_ref().is_some_and(|info| part > 0 && !is_last && !file.send_queue.forces_push(part, info));
            let more = state.flags.more || goes_on;
            let end_of_record = state.flags.end_of_record && is_last;
            let flags = SendFlags { more, end_of_record, ..state.flags };
            match host.stack.send_with_flags(&mut host.pool, now, handle, &chunk, flags) {
                Ok(0) if waits => return Ok(Progress::Blocked),
                Ok(0) if state.bytes > 0 => break,
                Ok(0) => {
                    self.ran_out_of_room(number);
                    return failed("EAGAIN");
                }
                Ok(taken) => {
                    let queue = &mut file.send_queue;
                    if info.is_some_and(|info| queue.wrote(file.bytes_written, taken as u32, &info)) {
                        host.transmit();
                    }
                    file.bytes_written = file.bytes_written.wrapping_add(taken as u32);
                    state.bytes += taken as u32;
                }
                Err(_) if state.bytes > 0 => break,
                Err(SendError::Closed(reason)) if !file.error_told => {
                    file.error_told = true;
                    return failed(errno_of(reason, &file.knobs).unwrap_or("EPIPE"));
                }
                Err(_) => return failed("EPIPE"),
            }
        }
        if state.bytes < len {
            self.ran_out_of_room(number);
        }
        if is_connecting { Ok(Progress::Blocked) } else { done(i64::from(state.bytes)) }
    }

    fn write_datagram(&mut self, call: &Call, len: usize, address: Option<&Expr>) -> Outcome {
        let default = SocketAddr::new(self.host.remote, self.settings.connect_port);
        let file = match self.file(call) {
            Ok(file) => file,
            Err(errno) => return failed(errno),
        };
        let remote = match (file.peer, address) {
            (Some(peer), None | Some(Expr::Ellipsis)) => peer,
            (None, None) => return failed("EDESTADDRREQ"),
            (_, address) => self.address(address, default)?,
        };
        let handle = self.udp_socket(call)?;
        let port = self.host.stack.udp_address(handle).map_or(0, |address| address.port);
        self.subject = Some(Subject::Connection(port, remote.port()));
        let (now, host) = (self.host.instant(), &mut self.host);
        if len > usize::from(u16::MAX) {
            return failed("EMSGSIZE");
        }
        let data = stream_bytes(Stream::FromStack, 0, len as u32);
        match host.stack.udp_send(&mut host.pool, now, handle, &UdpMeta::to(remote), &data) {
            Ok(()) => done(len as i64),
            Err(ethertab::UdpSendError::TooLong { .. }) => failed("EMSGSIZE"),
            Err(ethertab::UdpSendError::NoRoute(_)) => failed("ENETUNREACH"),
            Err(ethertab::UdpSendError::QueueFull) => failed("EAGAIN"),
            Err(_) => failed("EINVAL"),
        }
    }

    /// The stack's socket of a UDP file, which is bound now if it was not.
    fn udp_socket(&mut self, call: &Call) -> Result<ethertab::UdpHandle, Problem> {
        let peer = match self.file(call) {
            Ok(File { kind: FileKind::Udp(Some(handle)), .. }) => return Ok(*handle),
            Ok(file) => file.peer,
            Err(errno) => return mismatch("an open UDP socket", errno),
        };
        let Ok(handle) = self.host.stack.bind_udp(Endpoint::any(0)) else { return mismatch("a free UDP port", "none") };
        if let Ok(file) = self.file(call) {
            file.kind = FileKind::Udp(Some(handle));
        }
        let port = self.host.stack.udp_address(handle).map_or(0, |address| address.port);
        self.subject = Some(Subject::Connection(port, peer.map_or(self.settings.connect_port, |peer| peer.port())));
        Ok(handle)
    }
}

/// The configuration that a connection begins with.
pub(super) fn config_of(knobs: &SocketKnobs) -> TcpConfig {
    let mut config = knobs.tcp;
    if knobs.dialect == Dialect::FreeBsd {
        // Send buffers grow by themselves there (net.inet.tcp.sendbuf_auto).
        config.send_buffer = config.send_buffer.max(FREEBSD_SEND_BUFFER);
    }
    if let Some(size) = limited_memory(knobs) {
        (config.initial_send_buffer, config.send_buffer) = (size.most(), size.most());
    }
    if let Some(size) = knobs.receive_memory.filter(|_| knobs.dialect == Dialect::Linux) {
        let limit = knobs.receive_limit.unwrap_or(first_window(size, knobs.mss));
        config.initial_receive_buffer = limit;
        config.receive_buffer = config.receive_buffer.max(limit);
        config.buffer_tuning = false;
    }
    config.keep_alive = knobs.keep_alive_on.then_some(knobs.keep_alive);
    config
}

/// The size of a send buffer that is counted as in Linux.
pub(super) fn limited_memory(knobs: &SocketKnobs) -> Option<BufferSize> {
    knobs.send_memory.filter(|_| knobs.dialect == Dialect::Linux)
}

/// What a send buffer of FreeBSD's may grow to in a script, in bytes.
const FREEBSD_SEND_BUFFER: u32 = 1 << 20;

/// Whether an address is of the family `AF_UNSPEC`.
pub(super) fn names_no_family(address: Option<&Expr>) -> bool {
    let family = address.and_then(|address| address.field("sa_family").or(Some(address)));
    matches!(family, Some(Expr::Word(name)) if name == "AF_UNSPEC")
}

/// Whether the buffer of a call is a null pointer.
fn is_null(call: &Call) -> bool {
    matches!(call.arguments.get(1), Some(Expr::Word(name)) if name == "NULL")
}

/// The bytes that a list of `{..., LEN}` speaks of.
fn vector_len(vector: Option<&Expr>) -> i64 {
    vector_lens(vector).sum()
}

fn vector_lens(vector: Option<&Expr>) -> impl Iterator<Item = i64> {
    let items = match vector {
        Some(Expr::List(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter().map(|item| match item {
        Expr::Struct(fields) => fields.last().and_then(|field| evaluate(&field.value).ok()).unwrap_or(0),
        _ => 0,
    })
}

/// Separate pieces of memory that a packet of Linux's holds.
const MOST_FRAGMENTS: usize = 17;

/// Where the packets end at the latest that a send of `len` bytes makes. What is not copied stays in the pieces that the user has handed
/// over.
fn record_ends(call: &Call, len: u32, zero_copy: bool) -> Vec<u32> {
    let vector = call.arguments.get(1).and_then(|message| message.field("msg_iov")).filter(|_| zero_copy);
    let pieces: Vec<i64> = vector_lens(vector).filter(|len| *len > 0).collect();
    let mut ends = Vec::new();
    for packet in pieces.chunks(MOST_FRAGMENTS) {
        ends.push(ends.last().copied().unwrap_or(0) + packet.iter().sum::<i64>() as u32);
    }
    match ends.last() {
        Some(last) if *last == len => ends,
        _ => vec![len],
    }
}
