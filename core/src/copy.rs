//! Copies of few bytes.
//!
//! In WebAssembly a copy whose length is not known to the compiler is `memory.copy`, for which engines call a function outside of the
//! module: more work than the copy of a small segment itself.

/// Copies `src` to `dst`. Up to 128 bytes are copied from both ends, in two pieces of constant size that may overlap.
///
/// # Panics
/// When the lengths differ.
#[inline(never)] // Called from several places; small, so that it costs no more room than the call of a copy.
pub(crate) fn copy(dst: &mut [u8], src: &[u8]) {
    assert!(dst.len() == src.len(), "source and destination differ in length");
    match src.len() {
        0 => {}
        len @ 1..4 => {
            for at in [0, len / 2, len - 1] {
                dst[at] = src[at];
            }
        }
        4..=8 => copy_ends::<4>(dst, src),
        9..=16 => copy_ends::<8>(dst, src),
        17..=32 => copy_ends::<16>(dst, src),
        33..=64 => copy_ends::<32>(dst, src),
        65..=128 => copy_ends::<64>(dst, src),
        _ => dst.copy_from_slice(src),
    }
}

/// Copies the first `N` bytes and the last.
#[inline(always)]
fn copy_ends<const N: usize>(dst: &mut [u8], src: &[u8]) {
    let (Some(first), Some(last)) = (src.first_chunk::<N>(), src.last_chunk::<N>()) else { return };
    if let Some(to) = dst.first_chunk_mut() {
        *to = *first;
    }
    if let Some(to) = dst.last_chunk_mut() {
        *to = *last;
    }
}

#[cfg(test)]
mod tests {
    use super::copy;

    #[test]
    fn every_length_is_copied_whole_and_nothing_beside_it() {
        let src: [u8; 300] = core::array::from_fn(|n| n as u8 ^ 0x5a);
        for len in 0..200 {
            let mut dst = [0xee; 300];
            copy(&mut dst[7..7 + len], &src[3..3 + len]);
            assert_eq!(dst[7..7 + len], src[3..3 + len]);
            assert!(dst[..7].iter().chain(&dst[7 + len..]).all(|&byte| byte == 0xee), "{len} bytes");
        }
    }
}
