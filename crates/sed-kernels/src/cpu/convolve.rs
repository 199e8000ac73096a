//! The convolution tile: the sum of a few contiguous runs of input times packed weights.
//!
//! In channels-last layout the taps of one kernel row read `size · channels` neighbouring values, so a
//! convolution over a zero-padded image is one short product per kernel row: no patch is copied.

use candle_core::DType;

use super::epilogue::Epilogue;
use super::product::for_row_tiles;
use super::product::pack::{PANEL, PackedMatrix};
use super::product::tile::{Acc, Panels, Rows, accumulate, zeros};
use crate::simd::Element;
use crate::simd::Lanes;

/// A group of taps: `runs` runs of `run` values from one padded input, in the format of the weights.
#[derive(Clone, Copy)]
pub(crate) struct Taps<'a, E> {
    /// First value of the first run for the first output pixel.
    pub(crate) input: *const E,
    /// Values from one output pixel to the next.
    pub(crate) pixel_stride: usize,
    /// Values from one run to the next.
    pub(crate) run_stride: usize,
    /// Values of a run.
    pub(crate) run: usize,
    /// Number of runs; the weights are packed by runs of this length.
    pub(crate) runs: usize,
    pub(crate) weights: &'a PackedMatrix,
}

/// Output pixels that lie in one row, `stride` values apart.
#[derive(Clone, Copy)]
pub(crate) struct OutputRow<'a, O = f32> {
    pub(crate) pixels: usize,
    pub(crate) out: *mut O,
    pub(crate) stride: usize,
    pub(crate) epilogue: Epilogue<'a>,
}

#[inline(always)]
unsafe fn tile_taps<L: Lanes, E: Element, O: Element, const R: usize, const N: usize>(
    groups: &[Taps<'_, E>],
    to: &OutputRow<'_, O>,
    panel: usize,
    pixel: usize,
) {
    // SAFETY: the groups' inputs cover every pixel of the row (`convolve_row`'s contract).
    unsafe {
        let mut acc: Acc<L, R, N> = zeros::<L, R, N>();
        for taps in groups {
            let input = taps.input.add(pixel * taps.pixel_stride);
            let weights = taps.weights.panel::<E>(panel, 0).as_ptr();
            for run in 0..taps.runs {
                let rows = Rows { first: input.add(run * taps.run_stride), stride: taps.pixel_stride };
                let panels = Panels {
                    first: weights.add(run * taps.weights.run_stride()),
                    stride: taps.weights.panel_stride(),
                    ahead: None,
                };
                accumulate::<L, E, R, N>(&mut acc, rows, taps.run, panels);
            }
        }
        let columns = groups[0].weights.n;
        for (r, row) in acc.iter().enumerate() {
            for (j, v) in row.iter().enumerate() {
                let column = panel * PANEL + j * L::WIDTH;
                if column < columns {
                    let left = columns - column;
                    let v = to.epilogue.apply::<L>(*v, pixel + r, column, left);
                    O::store_lanes::<L>(to.out.add((pixel + r) * to.stride + column), v, left);
                }
            }
        }
    }
}

/// Computes the panels from `panel` on (two on AVX-512 where there are two, else one) for a row of
/// output pixels; returns how many panels that were.
///
/// # Safety
/// Every group's runs must be readable for every pixel of the row (a bf16 run of odd length one value
/// further, which counts for nothing but must be finite), the row writable.
#[inline(always)]
pub(crate) unsafe fn convolve_row<L: Lanes, E: Element, O: Element>(
    groups: &[Taps<'_, E>],
    to: &OutputRow<'_, O>,
    panel: usize,
) -> usize {
    let pair = L::WIDTH == 16 && panel + 1 < groups[0].weights.panels();
    // SAFETY: tiles stay inside the row.
    unsafe {
        if pair {
            for_row_tiles!(to.pixels, pixel, [8, 4, 2, 1], R => tile_taps::<L, E, O, R, 2>(groups, to, panel, pixel));
        } else if L::WIDTH == 16 {
            for_row_tiles!(to.pixels, pixel, [16, 8, 4, 2, 1], R => tile_taps::<L, E, O, R, 1>(groups, to, panel, pixel));
        } else {
            for_row_tiles!(to.pixels, pixel, [4, 2, 1], R => tile_taps::<L, E, O, R, 2>(groups, to, panel, pixel));
        }
    }
    if pair { 2 } else { 1 }
}

/// Packs a convolution weight `[out, in, size, size]` (torch) as the matrix `[(ky, kx, in), out]`,
/// using the input channels `channels` only.
pub(crate) fn pack_taps(
    weight: &[f32],
    (out, inputs, size): (usize, usize, usize),
    channels: std::ops::Range<usize>,
    dtype: DType,
) -> PackedMatrix {
    let width = channels.len();
    PackedMatrix::from_runs((size, size * width), out, dtype, |k, n| {
        let (tap, channel) = (k / width, channels.start + k % width);
        weight[(n * inputs + channel) * size * size + tap]
    })
}
