//! COCO run-length encoding: one binary mask per category, column-major, as pycocotools reads and writes.
//!
//! Run lengths alternate between 0s and 1s and begin with 0s (possibly none). The compressed string holds
//! each length as groups of 5 bits, low first, one character a group; from the third length on, the
//! difference to the length two before is stored instead.

#[cfg(any(test, feature = "test-util"))]
mod read;

use rayon::prelude::*;

use super::{IndexMap, UNLABELLED};
#[cfg(any(test, feature = "test-util"))]
pub use read::decode;

/// A binary mask as run lengths in column-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rle {
    /// Alternating runs of 0 and 1, beginning with 0; they sum to the map's pixels.
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
    let categories = map.max_category().map_or(0, |most| usize::from(most) + 1);
    let mut masks: Vec<Growing> = Vec::new();
    masks.resize_with(categories, Growing::default);
    for run in column_major_runs(map) {
        if run.category != UNLABELLED {
            masks[usize::from(run.category)].push(run);
        }
    }
    let total = map.width() * map.height();
    (0..)
        .zip(masks)
        .filter(|(_, mask)| !mask.counts.is_empty())
        .map(|(category, mask)| CategoryRle { category, rle: Rle { counts: mask.finish(total) } })
        .collect()
}

impl Rle {
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
mod tests;
