//! The pass along rows.
//!
//! It works on [`LANES`] rows at a time, turned so that their bytes lie side by side: each weight then
//! multiplies whole vectors, where one row alone offers only three channels.

use std::ops::Range;

use rayon::prelude::*;

use super::{HALF, Taps, packed, round};
use crate::rgb::RgbImage;

/// Rows filtered together.
const LANES: usize = 16;

/// Output pixels filtered between two turns: what they read and write stays in the first-level cache.
const TILE: usize = 64;

/// Resizes every row to as many pixels as `taps` has positions.
pub(super) fn resize(image: &RgbImage, taps: &Taps) -> RgbImage {
    let width = taps.starts.len();
    let height = image.height() as usize;
    let mut out = vec![0u8; width * 3 * height];
    let arch = pulp::Arch::new();
    out.par_chunks_mut(width * 3 * LANES).enumerate().for_each_init(
        Scratch::default,
        |scratch, (band, lines)| {
            // The last band repeats its last row to fill the lanes.
            let rows = std::array::from_fn(|lane| image.row((band * LANES + lane).min(height - 1)));
            arch.dispatch(Band { rows, taps, lines, scratch });
        },
    );
    packed(width, height, out)
}

/// The work on one band of rows, compiled for each instruction set and chosen at run time.
struct Band<'a> {
    rows: [&'a [u8]; LANES],
    taps: &'a Taps,
    lines: &'a mut [u8],
    scratch: &'a mut Scratch,
}

impl pulp::NullaryFnOnce for Band<'_> {
    type Output = ();

    // Inlined, or it would be compiled for the least instruction set.
    #[inline(always)]
    fn call(self) {
        let width = self.taps.starts.len();
        for first in (0..width).step_by(TILE) {
            let tile = first..width.min(first + TILE);
            resize_tile(&self.rows, self.taps, tile, self.lines, self.scratch);
        }
    }
}

/// Bytes of [`LANES`] rows side by side, before and after the filter.
#[derive(Default)]
struct Scratch {
    from: Vec<[u8; LANES]>,
    to: Vec<[u8; LANES]>,
}

#[inline(always)]
fn resize_tile(
    rows: &[&[u8]; LANES],
    taps: &Taps,
    tile: Range<usize>,
    lines: &mut [u8],
    scratch: &mut Scratch,
) {
    let begin = taps.starts[tile.start];
    let (last, weights) = taps.of(tile.end - 1);
    side_by_side(rows, begin * 3..(last + weights.len()) * 3, &mut scratch.from);
    scratch.to.clear();
    for x in tile.clone() {
        let (start, weights) = taps.of(x);
        let window = &scratch.from[(start - begin) * 3..][..weights.len() * 3];
        let mut sums = [[HALF; LANES]; 3];
        for (pixel, &weight) in window.chunks_exact(3).zip(weights) {
            for channel in 0..3 {
                for lane in 0..LANES {
                    sums[channel][lane] += i32::from(pixel[channel][lane]) * weight;
                }
            }
        }
        for sums in sums {
            scratch.to.push(sums.map(round));
        }
    }
    let row_bytes = taps.starts.len() * 3;
    for (lane, line) in lines.chunks_exact_mut(row_bytes).enumerate() {
        for (to, from) in line[tile.start * 3..tile.end * 3].iter_mut().zip(&scratch.to) {
            *to = from[lane];
        }
    }
}

/// Gathers byte `i` of all rows into `to[i - span.start]`.
#[inline(always)]
fn side_by_side(rows: &[&[u8]; LANES], span: Range<usize>, to: &mut Vec<[u8; LANES]>) {
    to.clear();
    to.resize(span.len(), [0; LANES]);
    let rows: [&[u8]; LANES] = std::array::from_fn(|lane| &rows[lane][span.clone()]);
    let whole = span.len() / 8 * 8;
    for at in (0..whole).step_by(8) {
        for half in 0..LANES / 8 {
            let block = std::array::from_fn(|lane| {
                let mut bytes = [0u8; 8];
                bytes.copy_from_slice(&rows[half * 8 + lane][at..at + 8]);
                u64::from_le_bytes(bytes)
            });
            for (to, column) in to[at..at + 8].iter_mut().zip(turn(block)) {
                to[half * 8..][..8].copy_from_slice(&column.to_le_bytes());
            }
        }
    }
    for at in whole..span.len() {
        to[at] = std::array::from_fn(|lane| rows[lane][at]);
    }
}

/// Transposes 8 × 8 bytes by exchanging blocks of 4, 2 and 1.
#[inline(always)]
fn turn(mut rows: [u64; 8]) -> [u64; 8] {
    for (step, mask) in
        [(4, 0x0000_0000_FFFF_FFFFu64), (2, 0x0000_FFFF_0000_FFFF), (1, 0x00FF_00FF_00FF_00FF)]
    {
        for row in (0..8).filter(|row| row & step == 0) {
            let differ = ((rows[row] >> (8 * step)) ^ rows[row + step]) & mask;
            rows[row + step] ^= differ;
            rows[row] ^= differ << (8 * step);
        }
    }
    rows
}
