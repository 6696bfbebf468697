//! What moving the bytes costs without a protocol: the bound that a stack with these copies and
//! checksums can approach.

use crate::{CHUNK_BYTES, Cable, FRAME_BYTES, Failure, Pattern, QUEUE_FRAMES, SEGMENT_BYTES};

/// Ethernet and IPv4 headers, which the TCP checksum does not cover.
const BEFORE_TCP: usize = 34;
/// Ethernet, IPv4 and TCP headers.
const HEADERS: usize = 54;

/// For every segment of 1,460 bytes: application to send buffer, send buffer to frame, checksum
/// of the TCP part of the frame (1,480 bytes), frame into the cable, out of the cable, checksum
/// again, frame to receive buffer, receive buffer to application, comparison. Six copies and two
/// checksums, in batches of the cable's queue, through buffers of the same size as the stacks'.
#[derive(Debug)]
pub struct Reference {
    cable: Cable,
    pattern: Pattern,
    send_buffer: Ring,
    receive_buffer: Ring,
    frame: Box<[u8; FRAME_BYTES]>,
    chunk: Vec<u8>,
    sent: u64,
    received: u64,
}

impl Reference {
    /// Buffers of `buffer_bytes` each.
    pub fn new(buffer_bytes: usize) -> Self {
        Self {
            cable: Cable::default(),
            pattern: Pattern::default(),
            send_buffer: Ring::new(buffer_bytes),
            receive_buffer: Ring::new(buffer_bytes),
            frame: Box::new([0; FRAME_BYTES]),
            chunk: vec![0; CHUNK_BYTES],
            sent: 0,
            received: 0,
        }
    }

    /// Moves `bytes`, rounded down to whole segments.
    ///
    /// # Errors
    /// [`Failure::WrongBytes`] when a checksum or a byte is not what it was.
    pub fn bulk(&mut self, bytes: u64) -> Result<(), Failure> {
        let segment = SEGMENT_BYTES as u64;
        let end = self.sent + bytes / segment * segment;
        while self.received < end {
            while self.sent < end {
                let wanted = (end - self.sent).min(CHUNK_BYTES as u64) as usize;
                let taken = self.send_buffer.write(self.pattern.at(self.sent, wanted));
                if taken == 0 {
                    break;
                }
                self.sent += taken as u64;
            }
            self.transmit();
            self.receive()?;
            loop {
                let count = self.receive_buffer.read(&mut self.chunk);
                if count == 0 {
                    break;
                }
                if !self.pattern.matches(self.received, &self.chunk[..count]) {
                    return Err(Failure::WrongBytes);
                }
                self.received += count as u64;
            }
        }
        Ok(())
    }

    fn transmit(&mut self) {
        for _ in 0..QUEUE_FRAMES {
            if self.send_buffer.held < SEGMENT_BYTES {
                return;
            }
            self.send_buffer.read(&mut self.frame[HEADERS..]);
            self.frame[BEFORE_TCP..HEADERS].fill(0);
            let sum = checksum(&self.frame[BEFORE_TCP..]);
            self.frame[BEFORE_TCP + 16..BEFORE_TCP + 18].copy_from_slice(&sum.to_ne_bytes());
            self.cable.push(&self.frame[..]);
        }
    }

    fn receive(&mut self) -> Result<(), Failure> {
        while let Some(length) = self.cable.pop(&mut self.frame) {
            if checksum(&self.frame[BEFORE_TCP..length]) != 0 {
                return Err(Failure::WrongBytes);
            }
            self.receive_buffer.write(&self.frame[HEADERS..length]);
        }
        Ok(())
    }
}

/// RFC 1071, in 32-bit words summed into 64 bits, which vectorises best on this target.
fn checksum(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = words.iter().map(|&word| u64::from(u32::from_ne_bytes(word))).sum();
    for pair in rest.chunks(2) {
        let low = pair.first().copied().unwrap_or(0);
        let high = pair.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_ne_bytes([low, high]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// A byte queue of fixed size.
#[derive(Debug)]
struct Ring {
    bytes: Vec<u8>,
    first: usize,
    held: usize,
}

impl Ring {
    fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity], first: 0, held: 0 }
    }

    fn write(&mut self, from: &[u8]) -> usize {
        let capacity = self.bytes.len();
        let count = from.len().min(capacity - self.held);
        let start = (self.first + self.held) % capacity;
        let until_end = count.min(capacity - start);
        self.bytes[start..start + until_end].copy_from_slice(&from[..until_end]);
        self.bytes[..count - until_end].copy_from_slice(&from[until_end..count]);
        self.held += count;
        count
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let capacity = self.bytes.len();
        let count = into.len().min(self.held);
        let until_end = count.min(capacity - self.first);
        into[..until_end].copy_from_slice(&self.bytes[self.first..self.first + until_end]);
        into[until_end..count].copy_from_slice(&self.bytes[..count - until_end]);
        self.first = (self.first + count) % capacity;
        self.held -= count;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_that_of_rfc_1071() {
        // RFC 1071 §3: the words 0001 f203 f4f5 f6f7 sum to ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(u16::from_be(checksum(&bytes)), !0xddf2);
        assert_eq!(u16::from_be(checksum(&[0x12, 0x34, 0x56])), !(0x1234 + 0x5600));
    }

    #[test]
    fn reference_moves_the_bytes_through_buffers_of_any_size() {
        for buffer_bytes in [SEGMENT_BYTES, 5_000, 256 * 1024] {
            assert_eq!(Reference::new(buffer_bytes).bulk(3_000_000), Ok(()));
        }
    }
}
