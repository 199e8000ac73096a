//! Copies with a border of zeros, so that a kernel can read beyond an image's edge.

use crate::simd::{Element, Lanes, kernel};

/// Copies rows of the image `[height, width, channels]`, which gets `radius` more rows and columns of
/// zeros on every side: `to` holds whole padded rows, the first of which is padded row `first` (padded
/// row `radius` is the image's row 0).
///
/// # Safety
/// The instruction set of `L` must be present.
#[inline(always)]
pub(crate) unsafe fn pad_rows<L: Lanes, E: Element>(
    from: &[f32],
    (height, width, channels): (usize, usize, usize),
    radius: usize,
    first: usize,
    to: &mut [E],
) {
    let side = radius * channels;
    let line = width * channels;
    for (index, row) in to.chunks_exact_mut(line + 2 * side).enumerate() {
        match (first + index).checked_sub(radius).filter(|&y| y < height) {
            None => clear(row),
            Some(y) => {
                clear(&mut row[..side]);
                let from = &from[y * line..][..line];
                // SAFETY: both are `line` values.
                unsafe { E::convert::<L>(from.as_ptr(), row[side..].as_mut_ptr(), line) };
                clear(&mut row[side + line..]);
            }
        }
    }
}

/// Sets values to zero.
pub(crate) fn clear<E: Element>(values: &mut [E]) {
    // SAFETY: all bits zero is zero in every number format.
    unsafe { values.as_mut_ptr().write_bytes(0, values.len()) };
}

kernel! {
    /// [`pad_rows`] on a chosen instruction set.
    pub(crate) unsafe fn run_pad_rows<E>(
        from: &[f32],
        size: (usize, usize, usize),
        radius: usize,
        first: usize,
        to: &mut [E],
    ) = pad_rows
}
