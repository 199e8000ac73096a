//! Antialiased bilinear resize on 8-bit pixels, bit for bit as Pillow's `Image.resize(BILINEAR)`.
//!
//! A triangle filter, widened by the scale when shrinking, applied in two passes: rows first, rounded to
//! 8 bits, then columns. Weights are fixed point with 22 fraction bits; 255 times their sum stays below
//! 2^31.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use crate::error::{ImageError, Result};
use crate::rgb::RgbImage;

/// Fraction bits of a weight: 32 less 8 of the pixel and 2 of head room.
const FRACTION_BITS: u32 = 32 - 8 - 2;

/// One half, added before the fraction is cut off: rounding to nearest.
const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// Rows that one task of the pool works on in the pass down the columns.
const BAND: usize = 16;

/// Rows that the pass along the rows filters together.
const LANES: usize = 16;

/// Output pixels filtered between two turns: what they read and write stays in the first-level cache.
const TILE: usize = 64;

/// Resizes `image` to `width` × `height` pixels.
///
/// # Errors
/// [`ImageError::ZeroSize`] when `width` or `height` is 0.
pub fn resize_antialiased(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    if width == 0 || height == 0 {
        return Err(ImageError::ZeroSize { width, height });
    }
    // A pass that changes nothing is left out, as in the original (it would be exact anyway).
    let narrowed = if width == image.width() {
        Cow::Borrowed(image)
    } else {
        Cow::Owned(resize_rows(image, &Taps::new(image.width(), width)))
    };
    if height == image.height() {
        return Ok(narrowed.into_owned());
    }
    Ok(resize_columns(&narrowed, &Taps::new(image.height(), height)))
}

/// For each output position the input positions that it takes in, with fixed-point weights.
struct Taps {
    /// First input position, one per output position.
    starts: Vec<usize>,
    /// Weights of all output positions, one after the other.
    weights: Vec<i32>,
    /// Where in `weights` each output position begins; one more entry ends the last.
    offsets: Vec<usize>,
}

impl Taps {
    fn new(from: u32, to: u32) -> Self {
        let scale = f64::from(from) / f64::from(to);
        // Enlarging keeps the triangle one input pixel wide; shrinking widens it.
        let reach = scale.max(1.0);
        let mut taps = Self { starts: Vec::new(), weights: Vec::new(), offsets: vec![0] };
        let mut raw = Vec::new();
        for position in 0..to {
            let centre = (f64::from(position) + 0.5) * scale;
            let start = (centre - reach + 0.5).max(0.0) as usize;
            let end = ((centre + reach + 0.5) as usize).min(from as usize);
            raw.clear();
            raw.extend((start..end).map(|input| {
                let distance = ((input as f64 - centre + 0.5) * (1.0 / reach)).abs();
                (1.0 - distance).max(0.0)
            }));
            let sum: f64 = raw.iter().sum();
            let unit = f64::from(1 << FRACTION_BITS);
            taps.weights.extend(raw.iter().map(|weight| (weight / sum * unit + 0.5) as i32));
            taps.starts.push(start);
            taps.offsets.push(taps.weights.len());
        }
        taps
    }

    fn of(&self, position: usize) -> (usize, &[i32]) {
        (self.starts[position], &self.weights[self.offsets[position]..self.offsets[position + 1]])
    }
}

/// The pass along rows works on [`LANES`] rows at a time, turned so that their bytes lie side by side:
/// each weight then multiplies whole vectors, where one row alone offers only three channels.
fn resize_rows(image: &RgbImage, taps: &Taps) -> RgbImage {
    let width = taps.starts.len();
    let height = image.height() as usize;
    let mut out = vec![0u8; width * 3 * height];
    let arch = pulp::Arch::new();
    out.par_chunks_mut(width * 3 * LANES).enumerate().for_each_init(Scratch::default, |scratch, (band, lines)| {
        // The last band repeats its last row to fill the lanes.
        let rows = std::array::from_fn(|lane| image.row((band * LANES + lane).min(height - 1)));
        arch.dispatch(|| {
            for first in (0..width).step_by(TILE) {
                resize_tile(&rows, taps, first..width.min(first + TILE), lines, scratch);
            }
        });
    });
    packed(width, height, out)
}

/// Bytes of [`LANES`] rows side by side, before and after the filter.
#[derive(Default)]
struct Scratch {
    from: Vec<[u8; LANES]>,
    to: Vec<[u8; LANES]>,
}

#[inline(always)]
fn resize_tile(rows: &[&[u8]; LANES], taps: &Taps, tile: Range<usize>, lines: &mut [u8], scratch: &mut Scratch) {
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
    for (step, mask) in [(4, 0x0000_0000_FFFF_FFFFu64), (2, 0x0000_FFFF_0000_FFFF), (1, 0x00FF_00FF_00FF_00FF)] {
        for row in (0..8).filter(|row| row & step == 0) {
            let differ = ((rows[row] >> (8 * step)) ^ rows[row + step]) & mask;
            rows[row + step] ^= differ;
            rows[row] ^= differ << (8 * step);
        }
    }
    rows
}

fn resize_columns(image: &RgbImage, taps: &Taps) -> RgbImage {
    let height = taps.starts.len();
    let bytes = image.row_bytes();
    let mut out = vec![0u8; bytes * height];
    let arch = pulp::Arch::new();
    out.par_chunks_mut(bytes * BAND).enumerate().for_each(|(band, lines)| {
        arch.dispatch(|| {
            for (line, to) in lines.chunks_exact_mut(bytes).enumerate() {
                let (start, weights) = taps.of(band * BAND + line);
                resize_column_row(&image.pixels()[start * bytes..], bytes, weights, to);
            }
        });
    });
    packed(image.width() as usize, height, out)
}

/// One output row as the weighted sum of the rows (of `bytes` each) that `from` begins with.
#[inline(always)]
fn resize_column_row(from: &[u8], bytes: usize, weights: &[i32], to: &mut [u8]) {
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

/// Cuts the fraction off. The minimum matters for very wide filters, whose rounded weights may sum to
/// more than one; weights and so sums are never negative.
#[inline(always)]
fn round(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).min(255) as u8
}

fn packed(width: usize, height: usize, pixels: Vec<u8>) -> RgbImage {
    #[expect(clippy::expect_used, reason = "the buffer was made for exactly this size")]
    RgbImage::new(width as u32, height as u32, pixels).expect("a resized image fills its buffer")
}
