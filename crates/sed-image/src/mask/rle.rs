//! COCO run-length encoding: one binary mask per category, column-major, as pycocotools reads and writes.
//!
//! Run lengths alternate between 0s and 1s and begin with 0s (possibly none). The compressed string holds
//! each length as groups of 5 bits, low first, one character a group; from the third length on, the
//! difference to the length two before is stored instead.

use rayon::prelude::*;

use super::stats::PixelBox;
use super::{IndexMap, UNLABELLED, check_map_size};
use crate::error::{ImageError, Result};

/// A binary mask as run lengths in column-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rle {
    width: u32,
    height: u32,
    counts: Vec<u32>,
}

/// The mask of one category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryRle {
    /// Index of the category.
    pub category: u16,
    /// Its pixels.
    pub rle: Rle,
}

/// Encodes every category that has pixels, in ascending order. Unlabelled pixels are in no mask.
pub fn encode(map: &IndexMap) -> Vec<CategoryRle> {
    let (width, height) = (map.width(), map.height());
    let categories = map.max_category().map_or(0, |most| usize::from(most) + 1);
    let mut masks: Vec<Growing> = Vec::new();
    masks.resize_with(categories, Growing::default);
    for run in column_major_runs(map) {
        if run.category != UNLABELLED {
            masks[usize::from(run.category)].push(run);
        }
    }
    let total = width * height;
    (0..)
        .zip(masks)
        .filter(|(_, mask)| !mask.counts.is_empty())
        .map(|(category, mask)| CategoryRle {
            category,
            rle: Rle { width, height, counts: mask.finish(total) },
        })
        .collect()
}

/// Puts the masks back into one index map; where they overlap the later one wins.
///
/// # Errors
/// [`ImageError::MalformedMask`] when a mask has another size; [`ImageError::ZeroSize`],
/// [`ImageError::TooManyPixels`] for more than `max_pixels`.
pub fn decode(width: u32, height: u32, masks: &[CategoryRle], max_pixels: u64) -> Result<IndexMap> {
    check_map_size(width, height, max_pixels)?;
    let mut map = IndexMap::unlabelled(width, height)?;
    for mask in masks {
        if (mask.rle.width, mask.rle.height) != (width, height) {
            let reason =
                format!("a mask is {}x{}, the map {width}x{height}", mask.rle.width, mask.rle.height);
            return Err(ImageError::MalformedMask { encoding: ENCODING, reason });
        }
        for (start, length) in mask.rle.ones() {
            for at in start..start + length {
                map.indices_mut()[((at % height) * width + at / height) as usize] = mask.category;
            }
        }
    }
    Ok(map)
}

const ENCODING: &str = "coco run-length";

impl Rle {
    /// Wraps run lengths: alternating runs of 0 and 1, beginning with 0, in column-major order.
    ///
    /// # Errors
    /// [`ImageError::MalformedMask`] when they do not sum to `width * height`; [`ImageError::ZeroSize`],
    /// [`ImageError::TooManyPixels`] above 2^32 - 1.
    pub fn new(width: u32, height: u32, counts: Vec<u32>) -> Result<Self> {
        let pixels = check_map_size(width, height, u64::from(u32::MAX))?;
        let sum: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        if sum != pixels {
            let reason = format!("the run lengths sum to {sum}, {width}x{height} has {pixels} pixels");
            return Err(ImageError::MalformedMask { encoding: ENCODING, reason });
        }
        Ok(Self { width, height, counts })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Lengths of alternating runs of 0 and 1, beginning with 0; they sum to `width * height`.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// The compressed string of pycocotools (`counts` of `mask.encode`), plain ASCII.
    pub fn to_compressed(&self) -> String {
        let mut text = String::with_capacity(self.counts.len() * 2);
        for (i, &count) in self.counts.iter().enumerate() {
            let before = if i > 2 { i64::from(self.counts[i - 2]) } else { 0 };
            let mut rest = i64::from(count) - before;
            loop {
                let group = (rest & 0x1f) as u8;
                rest >>= 5;
                // Done when what is left is only the sign that the group's top bit already tells.
                let done = if group & 0x10 == 0 { rest == 0 } else { rest == -1 };
                text.push(char::from(48 + (group | if done { 0 } else { 0x20 })));
                if done {
                    break;
                }
            }
        }
        text
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

    /// Pixels of the mask.
    pub fn area(&self) -> u64 {
        self.ones().map(|(_, length)| u64::from(length)).sum()
    }

    /// The smallest box around the mask; `None` when it is empty.
    pub fn bounds(&self) -> Option<PixelBox> {
        let (mut left, mut right, mut top, mut bottom) = (u32::MAX, 0, u32::MAX, 0);
        for (start, length) in self.ones().filter(|&(_, length)| length > 0) {
            let last = start + length - 1;
            left = left.min(start / self.height);
            right = right.max(last / self.height + 1);
            if start / self.height == last / self.height {
                top = top.min(start % self.height);
                bottom = bottom.max(last % self.height + 1);
            } else {
                // A run over a column's end touches the last row and the first.
                (top, bottom) = (0, self.height);
            }
        }
        (right > 0).then(|| PixelBox { x: left, y: top, width: right - left, height: bottom - top })
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

/// A maximal run of one index in column-major order.
#[derive(Clone, Copy)]
struct Run {
    category: u16,
    start: u32,
    length: u32,
}

/// The run lengths of one category while the map is read.
#[derive(Default)]
struct Growing {
    counts: Vec<u32>,
    end: u32,
}

impl Growing {
    fn push(&mut self, run: Run) {
        self.counts.push(run.start - self.end);
        self.counts.push(run.length);
        self.end = run.start + run.length;
    }

    fn finish(mut self, total: u32) -> Vec<u32> {
        if self.end < total {
            self.counts.push(total - self.end);
        }
        self.counts
    }
}

/// All runs of the map in column-major order. Strips of columns are read in parallel, row by row, so that
/// memory is walked along rows although the order goes down columns; rows equal to the one above, which
/// most are within a strip, cost one comparison.
fn column_major_runs(map: &IndexMap) -> Vec<Run> {
    const STRIP: usize = 32;
    let (width, height) = (map.width() as usize, map.height() as usize);
    let strips: Vec<Vec<(u16, u32)>> = (0..width.div_ceil(STRIP))
        .into_par_iter()
        .map(|strip| {
            let columns = strip * STRIP..width.min((strip + 1) * STRIP);
            let start = |column: usize, y: usize| ((columns.start + column) * height + y) as u32;
            // Index and start of each run, column by column.
            let top = &map.row(0)[columns.clone()];
            let mut runs: Vec<Vec<(u16, u32)>> =
                top.iter().enumerate().map(|(column, &index)| vec![(index, start(column, 0))]).collect();
            let mut above = top;
            for y in 1..height {
                let row = &map.row(y)[columns.clone()];
                if row != above {
                    for (column, &index) in
                        row.iter().enumerate().filter(|(column, index)| above[*column] != **index)
                    {
                        runs[column].push((index, start(column, y)));
                    }
                }
                above = row;
            }
            runs.concat()
        })
        .collect();
    // A run may go on from the foot of one column to the head of the next.
    let mut starts: Vec<(u16, u32)> = Vec::with_capacity(strips.iter().map(Vec::len).sum());
    for run in strips.into_iter().flatten() {
        if starts.last().is_none_or(|last| last.0 != run.0) {
            starts.push(run);
        }
    }
    let ends = starts.iter().skip(1).map(|run| run.1).chain([map.width() * map.height()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&(category, start), end)| Run { category, start, length: end - start })
        .collect()
}

#[cfg(test)]
#[path = "rle_tests.rs"]
mod tests;
