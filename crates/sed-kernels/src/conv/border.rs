//! Copies with a border of zeros, so that a kernel can read beyond an image's edge.

/// Copies the image `[height, width, channels]` into the middle of `to`, which has `radius` more rows
/// and columns on every side, and clears that border.
pub(crate) fn copy_padded(
    from: &[f32],
    (height, width, channels): (usize, usize, usize),
    radius: usize,
    to: &mut [f32],
) {
    pad_rows(from, (height, width, channels), radius, 0, to);
}

/// Copies a strip of the padded image: `to` holds whole padded rows, the first of which is padded row
/// `first` (padded row `radius` is the image's row 0).
pub(crate) fn pad_rows(
    from: &[f32],
    (height, width, channels): (usize, usize, usize),
    radius: usize,
    first: usize,
    to: &mut [f32],
) {
    let side = radius * channels;
    let line = width * channels;
    for (index, row) in to.chunks_exact_mut(line + 2 * side).enumerate() {
        match (first + index).checked_sub(radius).filter(|&y| y < height) {
            None => row.fill(0.0),
            Some(y) => {
                row[..side].fill(0.0);
                row[side..side + line].copy_from_slice(&from[y * line..][..line]);
                row[side + line..].fill(0.0);
            }
        }
    }
}
