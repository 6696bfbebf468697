//! The error queue of a socket: what `recvmsg` with `MSG_ERRQUEUE` reads, and control messages of reads.
//!
//! What ICMP reports comes from the stack. Of sends it has no such queue, and it copies what it is given, as Linux does with `MSG_ZEROCOPY` where a packet is looked at on
//! its way. So the interpreter keeps count itself: a send is scheduled and sent when its last byte is, and complete when that
//! was acknowledged.

use std::collections::VecDeque;

use ethertab::State;

use super::ast::{Call, Expr, Field};
use super::kernel::{FileKind, Kernel, Outcome, Problem, done, errno_of, failed, mismatch, unsupported};
use super::poll::peer_has_closed;
use super::stream::limited_memory;
use super::symbols::{evaluate, symbol};

const SOL_SOCKET: i64 = 1;
const SOL_TCP: i64 = 6;
const TCP_CM_INQ: i64 = 36;
const SCM_TIMESTAMPING: i64 = 37;
const ENOMSG: i64 = 42;
const ORIGIN_ICMP: i64 = 2;
const ORIGIN_ICMPV6: i64 = 3;
const ORIGIN_TIMESTAMPING: i64 = 4;
const ORIGIN_ZEROCOPY: i64 = 5;
const CODE_ZEROCOPY_COPIED: i64 = 1;

/// What a timestamp is of: the flag of `SO_TIMESTAMPING` that asks for it, and its number. In the order in which they come.
const STAGES: [(i64, i64); 3] = [(1 << 8, 1), (1 << 1, 0), (1 << 9, 2)];
/// The stage that acknowledgments complete; transmission completes those before it.
const ACKNOWLEDGED: usize = 2;

/// What is to be told about sends of one socket. Places are offsets in its stream.
#[derive(Clone, Debug, Default)]
pub(super) struct ErrorQueue {
    /// The number of the next send with `MSG_ZEROCOPY`.
    next: u32,
    /// Such sends under way: their number, and the place after their last byte.
    zero_copy: VecDeque<(u32, u32)>,
    /// `SO_TIMESTAMPING`.
    stamp_flags: i64,
    /// The place that timestamps count from.
    stamp_base: u32,
    /// Sends to be stamped: the place after their last byte, and the stages that are done.
    stamps: VecDeque<(u32, usize)>,
    entries: VecDeque<Entry>,
    /// Times that something was added, each of which wakes who waits.
    pub(super) told: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// The sends of these numbers are complete.
    ZeroCopy(u32, u32),
    /// The send that ends with this byte has come to a stage, at this time in microseconds.
    Stamp { stage: i64, at: u64, byte: u32 },
    /// An ICMP error has ended an attempt to connect, with this error.
    Reported { errno: i64, kind: u8, code: u8 },
}

impl ErrorQueue {
    /// `SO_TIMESTAMPING`, set when the peer had acknowledged the stream up to `place`.
    pub(super) fn set_timestamping(&mut self, flags: i64, place: u32) {
        (self.stamp_flags, self.stamp_base) = (flags, place);
    }

    /// A send ends at this place of the stream.
    pub(super) fn sent(&mut self, end: u32, zero_copy: bool) {
        if zero_copy {
            self.zero_copy.push_back((self.next, end));
            self.next += 1;
        }
        if STAGES.iter().any(|(flag, _)| self.stamp_flags & flag != 0) {
            self.stamps.push_back((end, 0));
        }
    }

    /// The stream was sent and acknowledged up to these places; both are everywhere once the connection is over.
    fn advance(&mut self, now: u64, sent: Option<u32>, acknowledged: Option<u32>) {
        let is_past = |place: Option<u32>, end: u32| place.is_none_or(|place| (place.wrapping_sub(end) as i32) >= 0);
        for (end, done) in &mut self.stamps {
            while let Some((flag, stage)) = STAGES.get(*done)
                && is_past(if *done == ACKNOWLEDGED { acknowledged } else { sent }, *end)
            {
                *done += 1;
                if self.stamp_flags & flag != 0 {
                    let byte = end.wrapping_sub(self.stamp_base).wrapping_sub(1);
                    self.entries.push_back(Entry::Stamp { stage: *stage, at: now, byte });
                    self.told += 1;
                }
            }
        }
        self.stamps.retain(|(_, done)| *done < STAGES.len());
        while let Some((number, end)) = self.zero_copy.front().copied()
            && is_past(acknowledged, end)
        {
            self.zero_copy.pop_front();
            self.told += 1;
            match self.entries.back_mut() {
                Some(Entry::ZeroCopy(_, last)) if *last + 1 == number => *last = number,
                _ => self.entries.push_back(Entry::ZeroCopy(number, number)),
            }
        }
    }

    /// Whether there is something to read.
    pub(super) fn is_ready(&self) -> bool {
        !self.entries.is_empty()
    }
}

/// A control message: level, type and data by name.
struct Control {
    level: i64,
    kind: i64,
    data: Vec<(&'static str, i64)>,
}

impl Kernel {
    /// Adds to error queues what has happened to sends until now.
    pub(super) fn advance_error_queues(&mut self) {
        let now = self.host.now();
        for file in self.files.values_mut() {
            if let (FileKind::Open(handle), Some(size)) = (&file.kind, limited_memory(&file.knobs))
                && let Some(info) = self.host.stack.connection_info(*handle)
            {
                file.send_queue.is_writable(size, file.bytes_written, &info);
            }
            if let FileKind::Open(handle) = file.kind {
                if let Some(state) = self.host.stack.connection_state(handle).filter(|state| *state != State::Closed) {
                    file.knobs.half_closed = state == State::CloseWait;
                }
                while let Some(report) = self.host.stack.take_error_report(handle) {
                    let errno = errno_of(report.reason, &file.knobs).filter(|_| file.knobs.receive_errors);
                    let Some(errno) = errno else { continue };
                    if self.host.stack.connection_error(handle).is_none() {
                        file.reported = Some(errno);
                        continue;
                    }
                    let queue = file.error_queue.get_or_insert_default();
                    let errno = symbol(errno).unwrap_or(0);
                    queue.entries.push_back(Entry::Reported { errno, kind: report.kind, code: report.code });
                    queue.told += 1;
                }
            }
            let Some(queue) = &mut file.error_queue else { continue };
            let info = match file.kind {
                FileKind::Open(handle) => self.host.stack.connection_info(handle),
                _ => None,
            };
            match info.filter(|info| info.state != State::Closed) {
                Some(info) => {
                    let acknowledged = file.bytes_written.wrapping_sub(info.send_queue);
                    let sent = acknowledged.wrapping_add(info.unacknowledged.min(info.send_queue));
                    queue.advance(now, Some(sent), Some(acknowledged));
                }
                None => queue.advance(now, None, None),
            }
        }
    }

    /// `recvmsg` with `MSG_ERRQUEUE`.
    pub(super) fn read_error_queue(&mut self, call: &Call) -> Outcome {
        let number = self.number(call, 0)?;
        self.advance_error_queues();
        // SOL_IPV6 and IPV6_RECVERR, or SOL_IP and IP_RECVERR.
        let (level, kind) = if self.settings.sockets_are_v6() { (41, 25) } else { (0, 11) };
        let Some(file) = self.files.get_mut(&number) else { return failed("EBADF") };
        let Some(entry) = file.error_queue.as_mut().and_then(|queue| queue.entries.pop_front()) else {
            return failed("EAGAIN");
        };
        let is_icmpv6 = self.host.local.is_ipv6();
        let error = |errno: i64, (origin, of_message): (i64, u8), code: i64, info: i64, data: u32| Control {
            level,
            kind,
            data: vec![
                ("ee_errno", errno),
                ("ee_origin", origin),
                ("ee_type", i64::from(of_message)),
                ("ee_code", code),
                ("ee_info", info),
                ("ee_data", i64::from(data)),
            ],
        };
        match entry {
            Entry::ZeroCopy(first, last) => {
                let told = error(0, (ORIGIN_ZEROCOPY, 0), CODE_ZEROCOPY_COPIED, i64::from(first), last);
                self.expect_control(call, &[told])?;
            }
            Entry::Stamp { stage, at, byte } => {
                let time = vec![("scm_sec", (at / 1_000_000) as i64), ("scm_nsec", (at % 1_000_000 * 1_000) as i64)];
                let time = Control { level: SOL_SOCKET, kind: SCM_TIMESTAMPING, data: time };
                self.expect_control(call, &[time, error(ENOMSG, (ORIGIN_TIMESTAMPING, 0), 0, stage, byte)])?;
            }
            Entry::Reported { errno, kind: message, code } => {
                let origin = if is_icmpv6 { ORIGIN_ICMPV6 } else { ORIGIN_ICMP };
                self.expect_control(call, &[error(errno, (origin, message), i64::from(code), 0, 0)])?;
            }
        }
        done(0)
    }

    /// Checks the control messages of a read that has succeeded.
    pub(super) fn expect_read_control(&self, call: &Call, number: i64) -> Result<(), Problem> {
        let Some(file) = self.files.get(&number) else { return Ok(()) };
        let mut got = Vec::new();
        if let (FileKind::Open(handle), true) = (&file.kind, file.knobs.inq) {
            let readable = self.host.stack.readable_bytes(*handle) as i64;
            // The peer's FIN counts, so that the user goes on to read the end.
            let ended = self.host.stack.connection_info(*handle).is_some_and(|info| peer_has_closed(info.state));
            got.push(Control { level: SOL_TCP, kind: TCP_CM_INQ, data: vec![("", readable + i64::from(ended))] });
        }
        self.expect_control(call, &got)
    }

    /// Compares the control messages that a script expects with those that are there.
    fn expect_control(&self, call: &Call, got: &[Control]) -> Result<(), Problem> {
        let message = call.arguments.get(1).and_then(|message| message.field("msg_control"));
        let Some(Expr::List(expected)) = message else { return Ok(()) };
        if expected.len() != got.len() {
            return mismatch(format!("{} control messages", expected.len()), got.len().to_string());
        }
        for (expected, got) in expected.iter().zip(got) {
            let number = |name: &str, got: i64| match expected.field(name).map(evaluate) {
                Some(Ok(wanted)) if wanted != got => mismatch(format!("{name} {wanted}"), got.to_string()),
                Some(Err(name)) if name != "..." => unsupported(name, "a constant of this name"),
                _ => Ok(()),
            };
            number("cmsg_level", got.level)?;
            number("cmsg_type", got.kind)?;
            match expected.field("cmsg_data") {
                Some(Expr::Struct(fields)) if got.kind == SCM_TIMESTAMPING => self.expect_time(fields, &got.data)?,
                Some(Expr::Struct(fields)) => expect_fields(fields, &got.data)?,
                Some(_) => number("cmsg_data", got.data.first().map_or(0, |(_, value)| *value))?,
                None => {}
            }
        }
        Ok(())
    }

    /// Times of events are as exact as those of packets.
    fn expect_time(&self, fields: &[Field], got: &[(&str, i64)]) -> Result<(), Problem> {
        let sum = |value: &dyn Fn(&str) -> i64| value("scm_sec") * 1_000_000 + value("scm_nsec") / 1_000;
        let wanted = sum(&|name| {
            let field = fields.iter().find(|field| field.name.as_deref() == Some(name));
            field.and_then(|field| evaluate(&field.value).ok()).unwrap_or(0)
        });
        let got = sum(&|name| got.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value));
        if wanted.abs_diff(got) <= self.settings.tolerance_usecs {
            return Ok(());
        }
        mismatch(format!("a timestamp of {wanted} microseconds"), got.to_string())
    }
}

fn expect_fields(fields: &[Field], got: &[(&str, i64)]) -> Result<(), Problem> {
    for field in fields {
        let Some(name) = field.name.as_deref() else { continue };
        let Some((_, value)) = got.iter().find(|(known, _)| *known == name) else {
            return unsupported(name, "control messages with this field");
        };
        super::kernel::expect_value(Some(&field.value), *value, name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_that_complete_in_a_row_are_told_as_one_range() {
        let mut queue = ErrorQueue::default();
        for end in [100, 200, 300] {
            queue.sent(end, true);
        }
        queue.advance(0, Some(300), Some(199));
        assert_eq!(queue.entries, [Entry::ZeroCopy(0, 0)]);
        queue.advance(0, Some(300), Some(200));
        assert_eq!((queue.entries.pop_front(), queue.told), (Some(Entry::ZeroCopy(0, 1)), 2));
        queue.advance(0, None, None);
        assert_eq!(queue.entries, [Entry::ZeroCopy(2, 2)]);
    }

    #[test]
    fn stamps_are_of_the_last_byte() {
        let mut queue = ErrorQueue::default();
        queue.set_timestamping(1 << 1 | 1 << 9, 50);
        queue.sent(150, false);
        queue.advance(1, Some(149), Some(50));
        assert!(!queue.is_ready());
        queue.advance(2, Some(150), Some(50));
        queue.advance(3, Some(150), Some(150));
        let stamp = |stage, at| Entry::Stamp { stage, at, byte: 99 };
        assert_eq!(queue.entries, [stamp(0, 2), stamp(2, 3)]);
        queue.advance(4, None, None);
        assert_eq!(queue.entries.len(), 2);
    }
}
