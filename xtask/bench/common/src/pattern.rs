//! The bytes that the applications send, known at every offset of the stream.

/// Bytes that an application hands over or takes in one call.
pub const CHUNK_BYTES: usize = 16 * 1024;

/// The stream repeats after this many bytes. It is a prime, so that segments or blocks that change
/// places, whatever their size, do not look right.
const PERIOD: usize = 4093;

/// A stream of pseudo-random bytes without end.
#[derive(Debug)]
pub struct Pattern {
    bytes: Vec<u8>,
}

impl Default for Pattern {
    fn default() -> Self {
        // xorshift32 (Marsaglia 2003): any bytes without structure will do.
        let mut state = 0x9e37_79b9_u32;
        let mut bytes = Vec::with_capacity(PERIOD + CHUNK_BYTES);
        bytes.extend((0..PERIOD).map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        }));
        bytes.extend_from_within(..);
        while bytes.len() < PERIOD + CHUNK_BYTES {
            bytes.extend_from_within(..PERIOD);
        }
        bytes.truncate(PERIOD + CHUNK_BYTES);
        Self { bytes }
    }
}

impl Pattern {
    /// `length` bytes (at most [`CHUNK_BYTES`]) of the stream from `offset`.
    #[inline]
    pub fn at(&self, offset: u64, length: usize) -> &[u8] {
        let start = (offset % PERIOD as u64) as usize;
        &self.bytes[start..start + length.min(CHUNK_BYTES)]
    }

    /// Compares every byte with the stream from `offset`.
    #[inline]
    pub fn matches(&self, offset: u64, received: &[u8]) -> bool {
        let expected = self.at(offset, received.len());
        if expected.len() != received.len() {
            return false;
        }
        // Differences gathered over wide blocks, so that the check is a small part of the time;
        // `==` on slices is a byte loop on this target.
        let (expected_blocks, expected_rest) = expected.as_chunks::<BLOCK>();
        let (received_blocks, received_rest) = received.as_chunks::<BLOCK>();
        let mut difference = [0; BLOCK / 8];
        for (e, r) in expected_blocks.iter().zip(received_blocks) {
            for (d, (e, r)) in difference.iter_mut().zip(words(e).zip(words(r))) {
                *d |= e ^ r;
            }
        }
        difference.iter().all(|&d| d == 0) && expected_rest == received_rest
    }
}

/// Bytes compared in one step.
const BLOCK: usize = 64;

fn words(block: &[u8; BLOCK]) -> impl Iterator<Item = u64> {
    block.as_chunks().0.iter().map(|&word| u64::from_ne_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_wrong_or_displaced_byte_is_noticed() {
        let pattern = Pattern::default();
        for offset in [0, 1, 4092, 1 << 33] {
            let mut chunk = pattern.at(offset, CHUNK_BYTES).to_vec();
            assert!(pattern.matches(offset, &chunk));
            assert!(!pattern.matches(offset + 1, &chunk));
            assert!(!pattern.matches(offset + 1460, &chunk));
            for position in [0, 63, 64, 5000, CHUNK_BYTES - 1] {
                chunk[position] ^= 0x10;
                assert!(!pattern.matches(offset, &chunk));
                chunk[position] ^= 0x10;
            }
        }
    }
}
