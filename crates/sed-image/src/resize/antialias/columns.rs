//! The pass down the columns.

use rayon::prelude::*;

use super::{HALF, Taps, packed, round};
use crate::rgb::RgbImage;

/// Rows that one task of the pool works on.
const BAND: usize = 16;

/// Resizes every column to as many pixels as `taps` has positions.
pub(super) fn resize(image: &RgbImage, taps: &Taps) -> RgbImage {
    let height = taps.starts.len();
    let bytes = image.row_bytes();
    let mut out = vec![0u8; bytes * height];
    let arch = pulp::Arch::new();
    out.par_chunks_mut(bytes * BAND).enumerate().for_each(|(band, lines)| {
        arch.dispatch(Band { image, taps, first: band * BAND, lines });
    });
    packed(image.width() as usize, height, out)
}

/// The work on one band of output rows, compiled for each instruction set and chosen at run time.
struct Band<'a> {
    image: &'a RgbImage,
    taps: &'a Taps,
    /// The first output row.
    first: usize,
    lines: &'a mut [u8],
}

impl pulp::NullaryFnOnce for Band<'_> {
    type Output = ();

    // Inlined, or it would be compiled for the least instruction set.
    #[inline(always)]
    fn call(self) {
        let bytes = self.image.row_bytes();
        for (line, to) in self.lines.chunks_exact_mut(bytes).enumerate() {
            let (start, weights) = self.taps.of(self.first + line);
            resize_row(&self.image.pixels()[start * bytes..], bytes, weights, to);
        }
    }
}

/// One output row as the weighted sum of the rows (of `bytes` each) that `from` begins with.
#[inline(always)]
fn resize_row(from: &[u8], bytes: usize, weights: &[i32], to: &mut [u8]) {
    // So many sums stay in registers while the rows go by.
    const LANES: usize = 32;
    let mut done = 0;
    while done + LANES <= bytes {
        let mut sums = [HALF; LANES];
        for (row, &weight) in weights.iter().enumerate() {
            let source = &from[row * bytes + done..][..LANES];
            for lane in 0..LANES {
                sums[lane] += i32::from(source[lane]) * weight;
            }
        }
        for (to, sum) in to[done..done + LANES].iter_mut().zip(sums) {
            *to = round(sum);
        }
        done += LANES;
    }
    for x in done..bytes {
        let sum: i32 = weights.iter().enumerate().map(|(row, w)| i32::from(from[row * bytes + x]) * w).sum();
        to[x] = round(sum + HALF);
    }
}
