//! The error queue of a socket: what `recvmsg` with `MSG_ERRQUEUE` reads, and control messages of reads.
//!
//! The stack copies what it is given, as Linux does with `MSG_ZEROCOPY` where a packet is looked at on its way; so the
//! interpreter keeps count itself: a send is complete when its last byte was acknowledged.

use std::collections::VecDeque;

use super::ast::{Call, Expr, Field};
use super::kernel::{FileKind, Kernel, Outcome, Problem, done, failed, mismatch, unsupported};
use super::poll::peer_has_closed;
use super::symbols::evaluate;

const SOL_TCP: i64 = 6;
const TCP_CM_INQ: i64 = 36;
const ORIGIN_ZEROCOPY: i64 = 5;
const CODE_ZEROCOPY_COPIED: i64 = 1;

/// Sends with `MSG_ZEROCOPY`, numbered from 0 on each socket.
#[derive(Clone, Debug, Default)]
pub(super) struct ZeroCopy {
    next: u32,
    /// Sends under way: their number, and the place in the stream after their last byte.
    pending: VecDeque<(u32, u32)>,
    /// What the user has not been told yet: ranges of numbers.
    complete: VecDeque<(u32, u32)>,
    /// Times that something was added, each of which wakes who waits.
    pub(super) told: u32,
}

impl ZeroCopy {
    /// A send ends at this place of the stream.
    pub(super) fn sent(&mut self, end: u32) {
        self.pending.push_back((self.next, end));
        self.next += 1;
    }

    /// The peer has acknowledged the stream up to here, or the connection is over.
    fn acknowledged(&mut self, place: Option<u32>) {
        while let Some((number, end)) = self.pending.front().copied()
            && place.is_none_or(|place| (place.wrapping_sub(end) as i32) >= 0)
        {
            self.pending.pop_front();
            self.told += 1;
            match self.complete.back_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => self.complete.push_back((number, number)),
            }
        }
    }

    /// Whether the error queue has something.
    pub(super) fn is_ready(&self) -> bool {
        !self.complete.is_empty()
    }
}

/// A control message: level, type and data by name.
struct Control {
    level: i64,
    kind: i64,
    data: Vec<(&'static str, i64)>,
}

impl Kernel {
    /// Completes what the peer has acknowledged of a file's sends.
    pub(super) fn complete_sends(&mut self, number: i64) {
        let Some(file) = self.files.get_mut(&number) else { return };
        let Some(zero_copy) = &mut file.zero_copy else { return };
        let place = match file.kind {
            FileKind::Open(handle) if self.host.stack.connection_error(handle).is_none() => {
                Some(file.bytes_written.wrapping_sub(self.host.stack.unacknowledged_bytes(handle) as u32))
            }
            _ => None,
        };
        zero_copy.acknowledged(place);
    }

    /// `recvmsg` with `MSG_ERRQUEUE`.
    pub(super) fn read_error_queue(&mut self, call: &Call) -> Outcome {
        let number = self.number(call, 0)?;
        self.complete_sends(number);
        let v6 = self.settings.sockets_are_v6();
        let Some(file) = self.files.get_mut(&number) else { return failed("EBADF") };
        let Some((first, last)) = file.zero_copy.as_mut().and_then(|zero_copy| zero_copy.complete.pop_front()) else {
            return failed("EAGAIN");
        };
        // SOL_IPV6 and IPV6_RECVERR, or SOL_IP and IP_RECVERR.
        let (level, kind) = if v6 { (41, 25) } else { (0, 11) };
        let data = vec![
            ("ee_errno", 0),
            ("ee_origin", ORIGIN_ZEROCOPY),
            ("ee_type", 0),
            ("ee_code", CODE_ZEROCOPY_COPIED),
            ("ee_info", i64::from(first)),
            ("ee_data", i64::from(last)),
        ];
        expect_control(call, &[Control { level, kind, data }])?;
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
        expect_control(call, &got)
    }
}

/// Compares the control messages that a script expects with those that are there.
fn expect_control(call: &Call, got: &[Control]) -> Result<(), Problem> {
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
            Some(Expr::Struct(fields)) => expect_fields(fields, &got.data)?,
            Some(_) => number("cmsg_data", got.data.first().map_or(0, |(_, value)| *value))?,
            None => {}
        }
    }
    Ok(())
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
        let mut zero_copy = ZeroCopy::default();
        for end in [100, 200, 300] {
            zero_copy.sent(end);
        }
        zero_copy.acknowledged(Some(199));
        assert_eq!(zero_copy.complete, [(0, 0)]);
        zero_copy.acknowledged(Some(200));
        assert_eq!((zero_copy.complete.pop_front(), zero_copy.told), (Some((0, 1)), 2));
        zero_copy.acknowledged(None);
        assert_eq!(zero_copy.complete, [(2, 2)]);
    }
}
