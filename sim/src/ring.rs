//! A queue of frames in one ring of bytes: each frame is contiguous, written in place and read in place. The ring grows by
//! doubling up to its limit and then stays, so that a busy cable allocates nothing.

use ethertab::FrameMeta;
use ethertab::time::Instant;
use std::collections::VecDeque;

/// What is known of a frame in the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    start: usize,
    len: usize,
    /// When the frame reaches the far end.
    pub(crate) due: Instant,
    /// What the sender said about it.
    pub(crate) meta: FrameMeta,
    /// How many switches it has passed.
    pub(crate) hops: u8,
}

/// The queue. Frames are never empty.
#[derive(Clone, Debug)]
pub(crate) struct FrameRing {
    bytes: Vec<u8>,
    records: VecDeque<Record>,
    /// Where the next frame goes, unless it must wrap.
    tail: usize,
    /// Bytes of all frames.
    used: usize,
    limit: usize,
}

const FIRST_SIZE: usize = 8 * 1024;

impl FrameRing {
    /// An empty ring that grows to `limit` bytes; it holds no memory until the first frame.
    pub(crate) const fn new(limit: usize) -> Self {
        FrameRing { bytes: Vec::new(), records: VecDeque::new(), tail: 0, used: 0, limit }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes of all frames.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes of memory held.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Offers `max` bytes to `write`, which returns what it knows of the frame that it wrote, or nothing if it had none.
    /// Returns the frame, or `Full` if there is no room for `max` bytes.
    #[inline]
    pub(crate) fn push_with(
        &mut self,
        max: usize,
        due: Instant,
        hops: u8,
        write: impl FnOnce(&mut [u8]) -> Option<FrameMeta>,
    ) -> Pushed {
        let Some(start) = self.reserve(max) else {
            return Pushed::Full;
        };
        let Some(meta) = write(&mut self.bytes[start..start + max]) else {
            return Pushed::Nothing;
        };
        let len = meta.len.min(max);
        if len == 0 {
            return Pushed::Nothing;
        }
        self.tail = start + len;
        self.used += len;
        self.records.push_back(Record { start, len, due, meta, hops });
        Pushed::Frame
    }

    /// Appends a copy of `frame`; false if there is no room.
    pub(crate) fn push(&mut self, frame: &[u8], due: Instant, meta: FrameMeta, hops: u8) -> bool {
        let meta = with_len(meta, frame.len());
        let pushed = self.push_with(frame.len(), due, hops, |room| {
            room.copy_from_slice(frame);
            Some(meta)
        });
        matches!(pushed, Pushed::Frame)
    }

    /// The oldest frame.
    #[inline]
    pub(crate) fn front(&self) -> Option<(&Record, &[u8])> {
        let record = self.records.front()?;
        Some((record, &self.bytes[record.start..record.start + record.len]))
    }

    /// The frame added last.
    pub(crate) fn back(&self) -> Option<(&Record, &[u8])> {
        let record = self.records.back()?;
        Some((record, &self.bytes[record.start..record.start + record.len]))
    }

    /// The bytes of the frame added last, to be changed.
    pub(crate) fn back_mut(&mut self) -> Option<&mut [u8]> {
        let record = self.records.back()?;
        Some(&mut self.bytes[record.start..record.start + record.len])
    }

    /// The frame at `index`, counted from the oldest.
    pub(crate) fn get(&self, index: usize) -> Option<(&Record, &[u8])> {
        let record = self.records.get(index)?;
        Some((record, &self.bytes[record.start..record.start + record.len]))
    }

    #[inline]
    pub(crate) fn pop(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.used -= record.len;
        }
        if self.records.is_empty() {
            // Start over at the front: a ring that is emptied again and again keeps to few cache lines.
            self.tail = 0;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        (self.tail, self.used) = (0, 0);
    }

    /// A place for `max` contiguous bytes. With frames in the ring, `tail > head` means that they lie in one piece and
    /// `tail <= head` that they wrap; frames are never empty, so that the two cannot be confused.
    #[inline]
    fn reserve(&mut self, max: usize) -> Option<usize> {
        let size = self.bytes.len();
        match self.records.front() {
            None if size >= max => return Some(0),
            Some(head) if self.tail > head.start => {
                if size - self.tail >= max {
                    return Some(self.tail);
                }
                if head.start >= max {
                    return Some(0);
                }
            }
            Some(head) if head.start - self.tail >= max => return Some(self.tail),
            _ => {}
        }
        self.grow(max)
    }

    /// Moves everything into a larger ring, in one piece.
    #[cold]
    fn grow(&mut self, max: usize) -> Option<usize> {
        let wanted = self.used.checked_add(max)?;
        if wanted > self.limit {
            return None;
        }
        let size = (self.bytes.len() * 2).max(FIRST_SIZE).max(wanted).min(self.limit);
        if size <= self.bytes.len() {
            return None;
        }
        let mut bytes = vec![0; size];
        let mut tail = 0;
        for record in &mut self.records {
            bytes[tail..tail + record.len].copy_from_slice(&self.bytes[record.start..record.start + record.len]);
            record.start = tail;
            tail += record.len;
        }
        self.bytes = bytes;
        self.tail = tail;
        Some(tail)
    }
}

fn with_len(mut meta: FrameMeta, len: usize) -> FrameMeta {
    meta.len = len;
    meta
}

/// What became of an attempt to add a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is in the ring.
    Frame,
    /// The writer had none.
    Nothing,
    /// There was no room, and the writer was not asked.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: usize) -> Vec<u8> {
        (0..60 + number * 7 % 900).map(|at| (at + number) as u8).collect()
    }

    #[test]
    fn frames_come_out_as_they_went_in_at_every_wrap() {
        let mut ring = FrameRing::new(4_000);
        let (mut written, mut read) = (0, 0);
        for round in 0..2_000 {
            for _ in 0..round % 5 {
                let bytes = frame(written);
                if !ring.push(&bytes, Instant::ZERO, FrameMeta::received(bytes.len()), 0) {
                    break;
                }
                written += 1;
            }
            for _ in 0..round % 3 + 1 {
                let Some((_, bytes)) = ring.front() else {
                    break;
                };
                assert_eq!(bytes, frame(read));
                ring.pop();
                read += 1;
            }
        }
        assert!(written > 1_500, "{written}");
        assert!(ring.capacity() <= 4_000);
    }

    #[test]
    fn a_full_ring_refuses_and_keeps_what_it_has() {
        let mut ring = FrameRing::new(1_000);
        let push = |ring: &mut FrameRing| ring.push(&[1; 300], Instant::ZERO, FrameMeta::received(300), 0);
        assert_eq!((0..5).filter(|_| push(&mut ring)).count(), 3);
        assert_eq!(ring.len(), 3);
        ring.pop();
        assert!(push(&mut ring));
        assert!(!push(&mut ring));
        ring.clear();
        assert!(ring.is_empty() && push(&mut ring));
    }

    #[test]
    fn a_frame_larger_than_the_limit_never_fits() {
        let mut ring = FrameRing::new(1_000);
        assert!(!ring.push(&[0; 1_001], Instant::ZERO, FrameMeta::received(1_001), 0));
        assert!(ring.push(&[0; 1_000], Instant::ZERO, FrameMeta::received(1_000), 0));
    }
}
