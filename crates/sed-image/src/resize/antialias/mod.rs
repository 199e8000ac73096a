//! Antialiased bilinear resize on 8-bit pixels, bit for bit as Pillow's `Image.resize(BILINEAR)`.
//!
//! A triangle filter, widened by the scale when shrinking, applied in two passes: rows first, rounded to 8
//! bits, then columns ([`rows`], [`columns`]). Weights are fixed point with 22 fraction bits; 255 times their
//! sum stays below 2^31.

mod columns;
mod rows;

use std::borrow::Cow;

use crate::error::{ImageError, Result};
use crate::rgb::RgbImage;

/// Fraction bits of a weight: 32 less 8 of the pixel and 2 of head room.
const FRACTION_BITS: u32 = 32 - 8 - 2;

/// One half, added before the fraction is cut off: rounding to nearest.
const HALF: i32 = 1 << (FRACTION_BITS - 1);

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
        Cow::Owned(rows::resize(image, &Taps::new(image.width(), width)))
    };
    if height == image.height() {
        return Ok(narrowed.into_owned());
    }
    Ok(columns::resize(&narrowed, &Taps::new(image.height(), height)))
}

/// For each output position the input positions that it takes in, with fixed-point weights.
struct Taps {
    /// First input position, one per output position.
    starts: Vec<usize>,
    /// Weights of all output positions, one after the other.
    weights: Vec<i32>,
    /// Start in `weights` of each output position; one more entry ends the last.
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
