//! Pipes and plain files, and `splice` and `sendfile` between them and sockets.

use super::ast::{Call, Expr};
use super::kernel::{CallState, File, FileKind, Kernel, Outcome, Progress, done, failed, mismatch};
use super::knobs::SocketKnobs;
use super::symbols::evaluate;

const SPLICE_F_NONBLOCK: i64 = 2;

/// What a pipe holds by default, in bytes.
const CAPACITY: u32 = 65_536;

impl Kernel {
    /// `pipe([5, 6])`: a file to read from and one to write to.
    pub(super) fn pipe(&mut self, call: &Call) -> Outcome {
        let ends = match call.arguments.first() {
            Some(Expr::List(ends)) => ends.iter().filter_map(|end| evaluate(end).ok()).collect(),
            _ => Vec::new(),
        };
        let [read_end, write_end] = ends[..] else { return mismatch("two file numbers", format!("{ends:?}")) };
        let pipe = self.pipes.len();
        self.pipes.push(0);
        for number in [read_end, write_end] {
            let knobs = SocketKnobs::new(&self.knobs);
            self.files.insert(number, File::new(FileKind::Pipe(pipe), knobs));
        }
        done(0)
    }

    /// `open`: a file of any name, as long as is asked for. What it holds is what the connection is expected to carry.
    pub(super) fn open_file(&mut self, call: &Call) -> Outcome {
        let knobs = SocketKnobs::new(&self.knobs);
        self.open(call, File::new(FileKind::Plain, knobs))
    }

    /// `sendfile` from a plain file to a socket.
    pub(super) fn send_file(&mut self, call: &Call, state: &mut CallState) -> Outcome {
        let (to, from, len) = (self.number(call, 0)?, self.number(call, 1)?, self.number(call, 3)?);
        match (self.files.get(&to), self.files.get(&from)) {
            (
                Some(File { kind: FileKind::Open(handle), nonblocking, .. }),
                Some(File { kind: FileKind::Plain, .. }),
            ) => {
                let (handle, waits) = (*handle, !nonblocking);
                self.write_stream(to, handle, len.clamp(0, i64::from(u32::MAX)) as u32, waits, state)
            }
            (None, _) | (_, None) => failed("EBADF"),
            _ => failed("EINVAL"),
        }
    }

    /// `splice` from a socket into a pipe, or the other way.
    pub(super) fn splice(&mut self, call: &Call, state: &mut CallState) -> Outcome {
        let (from, to, len, flags) =
            (self.number(call, 0)?, self.number(call, 2)?, self.number(call, 4)?, self.number(call, 5)?);
        let kind = |number: i64| self.files.get(&number).map(|file| (&file.kind, file.nonblocking));
        let len = len.clamp(0, i64::from(CAPACITY)) as u32;
        let waits = flags & SPLICE_F_NONBLOCK == 0;
        match (kind(from), kind(to)) {
            (Some((FileKind::Open(handle), nonblocking)), Some((FileKind::Pipe(pipe), _))) => {
                let (handle, pipe, waits) = (*handle, *pipe, waits && !nonblocking);
                let room = CAPACITY - self.pipes[pipe];
                let result = self.read_stream(from, handle, len.min(room) as usize, 0, waits)?;
                if let Progress::Done(Ok(count)) = result {
                    self.pipes[pipe] += count as u32;
                }
                Ok(result)
            }
            (Some((FileKind::Pipe(pipe), _)), Some((FileKind::Open(handle), nonblocking))) => {
                let (handle, pipe, waits) = (*handle, *pipe, waits && !nonblocking);
                let held = len.min(self.pipes[pipe]);
                let result = self.write_stream(to, handle, held, waits, state)?;
                if let Progress::Done(Ok(count)) = result {
                    self.pipes[pipe] -= count as u32;
                }
                Ok(result)
            }
            (None, _) | (_, None) => failed("EBADF"),
            _ => failed("EINVAL"),
        }
    }
}
