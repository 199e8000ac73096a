//! Blocks of neighbouring output columns, and one band of output rows through them.

use super::{ROWS, Sample};
use crate::simd::{Lanes, kernel};
use crate::specs::UNLABELLED;

/// Lanes of the widest register.
pub(super) const LANES: usize = 16;

/// Neighbouring output columns: as many as a register has lanes, or as lie between as many input columns.
pub(super) struct Block {
    /// First output column.
    pub(super) first: usize,
    /// Output columns.
    pub(super) count: usize,
    /// First input column.
    pub(super) window: usize,
    /// By lane: where the output's two inputs lie in the window, and their weights.
    low: [u32; LANES],
    high: [u32; LANES],
    low_weight: [f32; LANES],
    high_weight: [f32; LANES],
    /// By input column of the window: -∞ where a cell starts in which one of the outputs lies, else ∞.
    outside: [f32; LANES],
}

impl Block {
    /// Cuts the output columns into blocks for registers of `width` lanes.
    pub(super) fn cut(columns: &[Sample], width: usize) -> Vec<Self> {
        let mut blocks = Vec::new();
        let mut first = 0;
        while let Some(start) = columns.get(first) {
            let fits = |sample: &&Sample| sample.high - start.low < width;
            let count = columns[first..].iter().take(width).take_while(fits).count();
            blocks.push(Self::new(first, &columns[first..first + count]));
            first += count;
        }
        blocks
    }

    fn new(first: usize, columns: &[Sample]) -> Self {
        let (start, end) = (columns[0], columns[columns.len() - 1]);
        let mut block = Self {
            first,
            count: columns.len(),
            window: start.low,
            low: [0; LANES],
            high: [0; LANES],
            low_weight: [0.0; LANES],
            high_weight: [0.0; LANES],
            outside: [f32::INFINITY; LANES],
        };
        for (lane, sample) in columns.iter().enumerate() {
            block.low[lane] = (sample.low - start.low) as u32;
            block.high[lane] = (sample.high - start.low) as u32;
            block.low_weight[lane] = sample.low_weight;
            block.high_weight[lane] = sample.high_weight;
        }
        block.outside[..=end.low - start.low].fill(f32::NEG_INFINITY);
        block
    }
}

/// The two rows of every map between which output rows lie.
///
/// Copies: the maps lie so far apart that reading them block by block would miss every cache. Behind each row
/// its last value is repeated for two registers, so that every window can be read, and the last column has a
/// right neighbour.
pub(super) struct RowPairs {
    /// `[map][2][stride]`: even rows, then odd ones.
    values: Vec<f32>,
    stride: usize,
    /// The even row and the odd row.
    rows: [Option<usize>; 2],
    /// Offsets of the upper and the lower row among a map's two.
    upper: usize,
    lower: usize,
}

impl RowPairs {
    pub(super) fn new(maps: usize, columns: usize) -> Self {
        let stride = columns + 2 * LANES;
        Self { values: vec![0.0; maps * 2 * stride], stride, rows: [None; 2], upper: 0, lower: 0 }
    }

    /// Copies the rows of `at` from `maps [n, rows, columns]`. Rows that are already loaded are not copied
    /// again.
    pub(super) fn load(&mut self, maps: &[f32], (rows, columns): (usize, usize), at: Sample) {
        self.upper = at.low % 2 * self.stride;
        self.lower = at.high % 2 * self.stride;
        let wide = self.stride - 2 * LANES;
        for row in [at.low, at.high] {
            if self.rows[row % 2] == Some(row) {
                continue;
            }
            self.rows[row % 2] = Some(row);
            let pairs = self.values.chunks_exact_mut(2 * self.stride);
            for (pair, map) in pairs.zip(maps.chunks_exact(rows * columns)) {
                let (to, behind) = pair[row % 2 * self.stride..][..self.stride].split_at_mut(wide);
                to.copy_from_slice(&map[row * columns..][..wide]);
                behind.fill(to[wide - 1]);
            }
        }
    }

    /// The two rows of each map.
    pub(super) fn maps(&self) -> impl ExactSizeIterator<Item = &[f32]> + Clone {
        self.values.chunks_exact(2 * self.stride)
    }
}

/// The corners of the cells that start in a window: upper left, upper right, lower left, lower right.
#[inline(always)]
pub(super) unsafe fn corners<L: Lanes>(pairs: &RowPairs, map: &[f32], window: usize) -> [L::V; 4] {
    // SAFETY: a window starts at a column, and behind the columns lie two registers.
    unsafe {
        let upper = map.as_ptr().add(pairs.upper + window);
        let lower = map.as_ptr().add(pairs.lower + window);
        [L::load(upper), L::load(upper.add(1)), L::load(lower), L::load(lower.add(1))]
    }
}

/// Interpolates a row of a window at the columns of its block.
#[inline(always)]
pub(super) unsafe fn along<L: Lanes>(block: &Block, inputs: L::V) -> L::V {
    // SAFETY: the block's tables have a value for every lane.
    unsafe {
        let low = L::mul(L::load(block.low_weight.as_ptr()), L::permute(inputs, &block.low));
        L::add(low, L::mul(L::load(block.high_weight.as_ptr()), L::permute(inputs, &block.high)))
    }
}

/// Interpolates between the upper and the lower inputs of an output row.
#[inline(always)]
pub(super) unsafe fn down<L: Lanes>(at: &Sample, upper: L::V, lower: L::V) -> L::V {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe {
        let here = L::mul(L::splat(at.low_weight), upper);
        L::add(here, L::mul(L::splat(at.high_weight), lower))
    }
}

/// The scores that a map must reach in some cell to be interpolated, if `lowest` scores are reached in every
/// one of them: a register of the cells that start in the block's window.
#[inline(always)]
pub(super) unsafe fn reachable<L: Lanes>(block: &Block, lowest: L::V) -> L::V {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe {
        // The weights sum to 1 only up to rounding.
        let slack = L::mul(L::max(lowest, L::sub(L::splat(0.0), lowest)), L::splat(1e-5));
        L::max(L::sub(lowest, slack), L::load(block.outside.as_ptr()))
    }
}

/// Output rows between one pair of input rows.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) pairs: &'a RowPairs,
    /// At most [`ROWS`].
    pub(super) vertical: &'a [Sample],
    /// By map.
    pub(super) thresholds: &'a [f32],
}

/// Pixels that each map has won in a band, and their scores.
pub(super) struct Won {
    /// By map: number of pixels.
    pub(super) pixels: Vec<u32>,
    /// By map: sum of the scores.
    pub(super) sums: Vec<f64>,
}

/// Writes the best map of every pixel to `out [vertical.len(), width]` where its score reaches the threshold,
/// and counts it in `won`.
#[inline(always)]
unsafe fn best<L: Lanes>(rows: Rows<'_>, blocks: &[Block], out: &mut [u16], won: &mut Won) {
    let width = out.len() / rows.vertical.len();
    let maps = rows.pairs.maps();
    for block in blocks {
        // SAFETY: lane arithmetic; the instruction set is the caller's duty.
        unsafe {
            // No winner can be below the largest of the cells' lowest corners.
            let mut lowest = L::splat(f32::NEG_INFINITY);
            for map in maps.clone() {
                let [a, b, c, d] = corners::<L>(rows.pairs, map, block.window);
                lowest = L::max(lowest, L::min(L::min(a, b), L::min(c, d)));
            }
            let floor = reachable::<L>(block, lowest);
            let mut scores = [L::splat(f32::NEG_INFINITY); ROWS];
            let mut winners = [L::splat(f32::from(UNLABELLED)); ROWS];
            for (index, map) in maps.clone().enumerate() {
                let [a, b, c, d] = corners::<L>(rows.pairs, map, block.window);
                if !L::any_at_least(L::max(L::max(a, b), L::max(c, d)), floor) {
                    continue;
                }
                let (upper, lower) = (along::<L>(block, a), along::<L>(block, c));
                let index = L::splat(index as f32);
                for ((at, score), winner) in rows.vertical.iter().zip(&mut scores).zip(&mut winners) {
                    let here = down::<L>(at, upper, lower);
                    *winner = L::where_greater(here, *score, index, *winner);
                    *score = L::where_greater(here, *score, here, *score);
                }
            }
            for ((score, winner), out) in scores.into_iter().zip(winners).zip(out.chunks_exact_mut(width)) {
                let out = &mut out[block.first..][..block.count];
                count::<L>(score, winner, rows.thresholds, out, won);
            }
        }
    }
}

/// Stores the winners of some pixels that reach their thresholds, and counts them; those of contrast words,
/// whose threshold is infinite, are only counted.
#[inline(always)]
pub(super) unsafe fn count<L: Lanes>(
    score: L::V,
    winner: L::V,
    thresholds: &[f32],
    out: &mut [u16],
    won: &mut Won,
) {
    let (mut scores, mut indices) = ([0.0; LANES], [0.0; LANES]);
    // SAFETY: a register has at most as many lanes.
    unsafe {
        L::store(scores.as_mut_ptr(), score);
        L::store(indices.as_mut_ptr(), winner);
    }
    let index = indices[0] as u16;
    // There is none of `UNLABELLED`.
    if let Some(&threshold) = thresholds.get(usize::from(index))
        && out.len() == L::WIDTH
    {
        let contrast = threshold == f32::INFINITY;
        let least = if contrast { f32::NEG_INFINITY } else { threshold };
        // SAFETY: lane arithmetic; the instruction set is the caller's duty.
        let alike = unsafe {
            let one = L::splat(1.0);
            let low = L::where_greater(L::splat(least), score, one, L::splat(0.0));
            let first = L::splat(indices[0]);
            let other = L::max(L::sub(winner, first), L::sub(first, winner));
            !L::any_at_least(L::max(low, other), one)
        };
        if alike {
            // The inside of a region: nearly all pixels of a large picture.
            if !contrast {
                out.fill(index);
            }
            won.pixels[usize::from(index)] += out.len() as u32;
            // SAFETY: lane arithmetic; the instruction set is the caller's duty.
            won.sums[usize::from(index)] += f64::from(unsafe { L::sum(score) });
            return;
        }
    }
    for ((out, score), index) in out.iter_mut().zip(scores).zip(indices) {
        let index = index as u16;
        let Some(&threshold) = thresholds.get(usize::from(index)) else { continue };
        let contrast = threshold == f32::INFINITY;
        if !contrast && score >= threshold {
            *out = index;
        }
        if contrast || score >= threshold {
            won.pixels[usize::from(index)] += 1;
            won.sums[usize::from(index)] += f64::from(score);
        }
    }
}

kernel! {
    /// Writes the best map of every pixel to `out [vertical.len(), width]` where its score reaches the
    /// threshold, and counts it in `won`. `out` must be [`UNLABELLED`] before. The blocks must be cut for the
    /// registers of the instruction set.
    pub(super) unsafe fn run_best(rows: Rows<'_>, blocks: &[Block], out: &mut [u16], won: &mut Won) = best
}
