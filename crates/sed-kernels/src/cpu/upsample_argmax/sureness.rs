//! The second best of every pixel beside the best: the same walk over the blocks as [`super::block`]'s, with
//! a floor under the runner-up instead of the winner.

use half::f16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;

use super::ROWS;
use super::block::{Block, LANES, RowPairs, Rows, Won, along, corners, count, down, reachable};
use crate::simd::{Lanes, kernel};
use crate::specs::{Sureness, UNLABELLED};

/// Planes of `pixels` pixels, to be written: their memory is not touched here.
pub(super) fn unwritten(pixels: usize) -> Sureness {
    Sureness {
        scores: vec![0u16; pixels].reinterpret_into(),
        runner_up: vec![0; pixels],
        margins: vec![0u16; pixels].reinterpret_into(),
    }
}

/// Some rows of [`Sureness`].
#[derive(Default)]
pub(super) struct Planes<'a> {
    pub(super) scores: &'a mut [f16],
    pub(super) runner_up: &'a mut [u16],
    pub(super) margins: &'a mut [f16],
}

impl<'a> Planes<'a> {
    /// All rows.
    pub(super) fn of(sureness: &'a mut Sureness) -> Self {
        Self {
            scores: &mut sureness.scores,
            runner_up: &mut sureness.runner_up,
            margins: &mut sureness.margins,
        }
    }

    /// Cuts off the first `pixels` pixels.
    pub(super) fn split_at(self, pixels: usize) -> (Self, Self) {
        let (scores, later_scores) = self.scores.split_at_mut(pixels);
        let (runner_up, later_runner_up) = self.runner_up.split_at_mut(pixels);
        let (margins, later_margins) = self.margins.split_at_mut(pixels);
        (
            Self { scores, runner_up, margins },
            Self { scores: later_scores, runner_up: later_runner_up, margins: later_margins },
        )
    }

    /// Stores the pixels `first .. first + count` of the planes.
    #[inline(always)]
    unsafe fn store<L: Lanes>(&mut self, first: usize, count: usize, ranks: &Ranks<L>) {
        let (mut scores, mut runner_up, mut margins) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        // SAFETY: a register has at most as many lanes.
        unsafe {
            // Minus infinity where there is no map.
            let score = L::max(L::splat(0.0), ranks.score);
            let none = L::splat(f32::from(UNLABELLED));
            let second = L::where_greater(none, ranks.runner_up, ranks.second, L::splat(0.0));
            L::store(scores.as_mut_ptr(), score);
            L::store(runner_up.as_mut_ptr(), ranks.runner_up);
            L::store(margins.as_mut_ptr(), L::sub(score, second));
        }
        self.scores[first..][..count].convert_from_f32_slice(&scores[..count]);
        self.margins[first..][..count].convert_from_f32_slice(&margins[..count]);
        let runner_up = runner_up.map(|index| index as i32 as u16);
        self.runner_up[first..][..count].copy_from_slice(&runner_up[..count]);
    }
}

/// The best and the second best of some pixels of a row, in lanes.
#[derive(Clone, Copy)]
struct Ranks<L: Lanes> {
    score: L::V,
    /// Index of the best map.
    winner: L::V,
    /// Its label.
    label: L::V,
    /// Its index as a runner-up: [`UNLABELLED`] for a contrast word.
    name: L::V,
    /// The best score of another label.
    second: L::V,
    /// Its map as a runner-up.
    runner_up: L::V,
}

/// A map that takes its rank, the same in every lane.
#[derive(Clone, Copy)]
struct Candidate<L: Lanes> {
    index: L::V,
    label: L::V,
    name: L::V,
}

impl<L: Lanes> Ranks<L> {
    #[inline(always)]
    unsafe fn none() -> Self {
        // SAFETY: lane arithmetic; the instruction set is the caller's duty.
        unsafe {
            let (nothing, unlabelled) = (L::splat(f32::NEG_INFINITY), L::splat(f32::from(UNLABELLED)));
            Self {
                score: nothing,
                winner: unlabelled,
                label: L::splat(-1.0),
                name: unlabelled,
                second: nothing,
                runner_up: unlabelled,
            }
        }
    }

    /// Ranks the next map, whose score is `here`. Labels rise, so one that is not the winner's is greater.
    #[inline(always)]
    unsafe fn add(&mut self, map: Candidate<L>, here: L::V) {
        // SAFETY: lane arithmetic; the instruction set is the caller's duty.
        unsafe {
            // A map of the winner's label is no rival, and leaves the second place as it is.
            let rival = L::where_greater(map.label, self.label, here, L::splat(f32::NEG_INFINITY));
            let loser = L::where_greater(map.label, self.label, self.score, self.second);
            let loser_name = L::where_greater(map.label, self.label, self.name, self.runner_up);
            let held = L::where_greater(rival, self.second, map.name, self.runner_up);
            self.runner_up = L::where_greater(here, self.score, loser_name, held);
            let held = L::where_greater(rival, self.second, rival, self.second);
            self.second = L::where_greater(here, self.score, loser, held);
            self.winner = L::where_greater(here, self.score, map.index, self.winner);
            self.label = L::where_greater(here, self.score, map.label, self.label);
            self.name = L::where_greater(here, self.score, map.name, self.name);
            self.score = L::where_greater(here, self.score, here, self.score);
        }
    }
}

/// The second largest of the labels' lowest corners, cell by cell. Two labels reach it everywhere in the
/// cell, one of them not the winner's: neither winner nor runner-up can be below it.
#[inline(always)]
unsafe fn second_lowest<L: Lanes>(pairs: &RowPairs, labels: &[u16], block: &Block) -> L::V {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe {
        let nothing = L::splat(f32::NEG_INFINITY);
        let (mut first, mut second, mut of_label) = (nothing, nothing, nothing);
        let mut previous = None;
        for (map, label) in pairs.maps().zip(labels) {
            if previous != Some(label) {
                second = L::max(second, L::min(first, of_label));
                first = L::max(first, of_label);
                (of_label, previous) = (nothing, Some(label));
            }
            let [a, b, c, d] = corners::<L>(pairs, map, block.window);
            of_label = L::max(of_label, L::min(L::min(a, b), L::min(c, d)));
        }
        L::max(second, L::min(first, of_label))
    }
}

/// Writes the best map of every pixel to `out`, as [`super::block::run_best`] does, and its score, the
/// runner-up and the margin to `planes`.
#[inline(always)]
unsafe fn rank<L: Lanes>(
    rows: Rows<'_>,
    labels: &[u16],
    blocks: &[Block],
    out: &mut [u16],
    mut planes: Planes<'_>,
    won: &mut Won,
) {
    let width = out.len() / rows.vertical.len();
    let maps = rows.pairs.maps().zip(labels).zip(rows.thresholds).enumerate();
    for block in blocks {
        // SAFETY: lane arithmetic; the instruction set is the caller's duty.
        unsafe {
            let floor = reachable::<L>(block, second_lowest::<L>(rows.pairs, labels, block));
            let mut ranks = [Ranks::<L>::none(); ROWS];
            for (index, ((map, &label), &threshold)) in maps.clone() {
                let [a, b, c, d] = corners::<L>(rows.pairs, map, block.window);
                if !L::any_at_least(L::max(L::max(a, b), L::max(c, d)), floor) {
                    continue;
                }
                let (upper, lower) = (along::<L>(block, a), along::<L>(block, c));
                let name = if threshold == f32::INFINITY { f32::from(UNLABELLED) } else { index as f32 };
                let map = Candidate {
                    index: L::splat(index as f32),
                    label: L::splat(f32::from(label)),
                    name: L::splat(name),
                };
                for (at, ranks) in rows.vertical.iter().zip(&mut ranks) {
                    ranks.add(map, down::<L>(at, upper, lower));
                }
            }
            for ((row, ranks), out) in ranks.iter().enumerate().zip(out.chunks_exact_mut(width)) {
                let out = &mut out[block.first..][..block.count];
                count::<L>(ranks.score, ranks.winner, rows.thresholds, out, won);
                planes.store(row * width + block.first, block.count, ranks);
            }
        }
    }
}

kernel! {
    /// Writes the best map of every pixel to `out [vertical.len(), width]` and counts it in `won`, as
    /// [`super::block::run_best`] does, and its score, the runner-up among the maps of other `labels` (by
    /// map, rising) and the margin to `planes`.
    pub(super) unsafe fn run_rank(
        rows: Rows<'_>,
        labels: &[u16],
        blocks: &[Block],
        out: &mut [u16],
        planes: Planes<'_>,
        won: &mut Won,
    ) = rank
}
