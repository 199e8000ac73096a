//! Run lengths back to an index map, for tests of this crate and of those above it.

use super::{CategoryRle, Rle};
use crate::error::{ImageError, Result};
use crate::mask::{IndexMap, check_map_size};

const ENCODING: &str = "coco run-length";

/// Puts the masks back into one index map; where they overlap the later one wins.
///
/// # Errors
/// [`ImageError::MalformedMask`] when a mask's lengths do not sum to `width * height`;
/// [`ImageError::ZeroSize`], [`ImageError::TooManyPixels`] for more than `max_pixels`.
pub fn decode(width: u32, height: u32, masks: &[CategoryRle], max_pixels: u64) -> Result<IndexMap> {
    check_map_size(width, height, max_pixels)?;
    let mut map = IndexMap::unlabelled(width, height)?;
    for mask in masks {
        check_lengths(width, height, &mask.rle.counts)?;
        for (start, length) in mask.rle.ones() {
            for at in start..start + length {
                map.indices_mut()[((at % height) * width + at / height) as usize] = mask.category;
            }
        }
    }
    Ok(map)
}

impl Rle {
    /// Wraps run lengths: alternating runs of 0 and 1, beginning with 0, in column-major order.
    ///
    /// # Errors
    /// [`ImageError::MalformedMask`] when they do not sum to `width * height`; [`ImageError::ZeroSize`],
    /// [`ImageError::TooManyPixels`] above 2^32 - 1.
    pub fn new(width: u32, height: u32, counts: Vec<u32>) -> Result<Self> {
        check_lengths(width, height, &counts)?;
        Ok(Self { counts })
    }

    /// Reads a compressed string of pycocotools.
    ///
    /// # Errors
    /// [`ImageError::MalformedMask`] for characters outside the alphabet, a string that ends within a
    /// number, negative lengths, or lengths that do not sum to `width * height`.
    pub fn from_compressed(width: u32, height: u32, text: &str) -> Result<Self> {
        let malformed = |reason: String| ImageError::MalformedMask { encoding: ENCODING, reason };
        let mut counts: Vec<u32> = Vec::new();
        let mut bytes = text.bytes();
        while let Some(first) = bytes.next() {
            let (mut value, mut shift, mut byte) = (0i64, 0, first);
            loop {
                let group = byte.wrapping_sub(48);
                if group > 0x3f {
                    return Err(malformed(format!("byte {byte:#04x} is not in the alphabet")));
                }
                // Seven groups hold any difference of two 32-bit lengths.
                if shift > 30 {
                    return Err(malformed("a number has more than 7 groups".to_owned()));
                }
                value |= i64::from(group & 0x1f) << shift;
                shift += 5;
                if group & 0x20 == 0 {
                    if group & 0x10 != 0 {
                        value |= -1 << shift;
                    }
                    break;
                }
                byte = bytes.next().ok_or_else(|| malformed("the text ends within a number".to_owned()))?;
            }
            if counts.len() > 2 {
                value += i64::from(counts[counts.len() - 2]);
            }
            let count =
                u32::try_from(value).map_err(|_| malformed(format!("run length {value} is out of range")))?;
            counts.push(count);
        }
        Self::new(width, height, counts)
    }

    /// Start and length of each run of 1s, in column-major positions.
    fn ones(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut at = 0u32;
        self.counts.chunks(2).filter_map(move |pair| {
            let start = at + pair[0];
            let length = pair.get(1).copied()?;
            at = start + length;
            Some((start, length))
        })
    }
}

/// Checks that run lengths cover a map.
fn check_lengths(width: u32, height: u32, counts: &[u32]) -> Result<()> {
    let pixels = check_map_size(width, height, u64::from(u32::MAX))?;
    let sum: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    if sum == pixels {
        return Ok(());
    }
    let reason = format!("the run lengths sum to {sum}, {width}x{height} has {pixels} pixels");
    Err(ImageError::MalformedMask { encoding: ENCODING, reason })
}
