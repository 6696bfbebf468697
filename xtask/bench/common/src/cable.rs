//! One direction of the in-memory cable.

/// Longest Ethernet frame at MTU 1500, without the frame check sequence.
pub const FRAME_BYTES: usize = 1514;

/// Frames that one direction holds before the sender has to wait, like a network card's ring.
pub const QUEUE_FRAMES: usize = 64;

/// A ring of frames. Both ends copy: what leaves a host is copied into the cable and what arrives
/// is copied out of it, as between a stack and any real port.
#[derive(Debug)]
pub struct Cable {
    slots: Vec<[u8; FRAME_BYTES]>,
    lengths: [usize; QUEUE_FRAMES],
    first: usize,
    held: usize,
}

impl Default for Cable {
    fn default() -> Self {
        Self { slots: vec![[0; FRAME_BYTES]; QUEUE_FRAMES], lengths: [0; QUEUE_FRAMES], first: 0, held: 0 }
    }
}

impl Cable {
    /// Whether another frame may be put in.
    pub fn has_room(&self) -> bool {
        self.held < QUEUE_FRAMES
    }

    /// Whether no frame is under way.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Copies a frame in. The caller has asked [`Cable::has_room`]; a frame too long or one too
    /// many is lost, as on a wire.
    #[inline]
    pub fn push(&mut self, frame: &[u8]) {
        if !self.has_room() || frame.len() > FRAME_BYTES {
            return;
        }
        let slot = (self.first + self.held) % QUEUE_FRAMES;
        self.slots[slot][..frame.len()].copy_from_slice(frame);
        self.lengths[slot] = frame.len();
        self.held += 1;
    }

    /// Copies the oldest frame out and returns its length in bytes.
    #[inline]
    pub fn pop(&mut self, frame: &mut [u8; FRAME_BYTES]) -> Option<usize> {
        if self.held == 0 {
            return None;
        }
        let length = self.lengths[self.first];
        frame[..length].copy_from_slice(&self.slots[self.first][..length]);
        self.first = (self.first + 1) % QUEUE_FRAMES;
        self.held -= 1;
        Some(length)
    }
}
