//! One pair through the layer.

use rayon::prelude::*;

use super::SkipFusion;
use crate::conv::taps::{OutputRow, Taps, convolve_row};
use crate::conv::{copy_padded, run_scalar_rows};
use crate::gemm::pack::PackedMatrix;
use crate::gemm::{Activation, Epilogue};
use crate::group_norm::{ChannelStats, GroupNorm, run_scale_relu};
use crate::scratch::with_scratch;
use crate::simd::{Isa, Lanes, kernel};

/// Output rows of one task: enough to pay for the task, few enough to share a pair among threads.
const BAND: usize = 8;

/// The inputs of one pair and where its results go (an empty slice is not wanted).
pub(super) struct Pair<'a> {
    /// `[h, w, C]`
    pub(super) x: &'a [f32],
    /// `[h, w, P]`
    pub(super) cost: &'a [f32],
    /// `[2h, 2w, O]`
    pub(super) guide: &'a [f32],
    pub(super) height: usize,
    pub(super) width: usize,
    /// `[2h, 2w, O]`
    pub(super) features: &'a mut [f32],
    /// `[2h, 2w, G]`
    pub(super) cost_guidance: &'a mut [f32],
    /// `[2h, 2w]`
    pub(super) logits: &'a mut [f32],
}

impl Pair<'_> {
    pub(super) fn run(self, layer: &SkipFusion, isa: Isa) {
        let (height, width) = (self.height, self.width);
        let (high, wide) = (2 * height, 2 * width);
        let (channels, guidance, outputs) = (layer.phases[0].k / 4, layer.cost[0].n, layer.conv1.n);
        let padded = (high + 2) * (wide + 2);
        let low = (height + 2) * (width + 2) * channels;
        with_scratch(low + padded * (guidance + outputs) + high * wide * outputs, |scratch| {
            let (low, rest) = scratch.split_at_mut(low);
            let (cost, rest) = rest.split_at_mut(padded * guidance);
            let (normed, sums) = rest.split_at_mut(padded * outputs);
            copy_padded(self.x, (height, width, channels), 1, low);
            upsample_cost(layer, isa, self.cost, (height, width), cost);
            copy_inside(cost, (high, wide, guidance), self.cost_guidance);

            let maps = Conv0 { layer, low, cost, guide: self.guide, width };
            let stats = bands(sums, wide * outputs, outputs, isa, |first, out| {
                // SAFETY: the padded maps hold every row that the band reads.
                unsafe { run_conv0(isa, &maps, first, out) };
            });
            normalise(&layer.norm0, &stats, isa, sums, wide, normed);

            let stats = bands(sums, wide * outputs, outputs, isa, |first, out| {
                // SAFETY: as above.
                unsafe { run_conv1(isa, &layer.conv1, normed, wide, first, out) };
            });
            if self.logits.is_empty() {
                let (scale, shift) = layer.norm1.affine(&stats);
                let sums = &sums[..self.features.len()];
                // SAFETY: equally long slices of whole pixels (or none).
                unsafe { run_scale_relu(isa, sums, &scale, &shift, self.features) };
                return;
            }
            normalise(&layer.norm1, &stats, isa, sums, wide, normed);
            copy_inside(normed, (high, wide, outputs), self.features);
            self.logits.par_chunks_mut(BAND * wide).enumerate().for_each(|(band, out)| {
                // SAFETY: the padded map is the head's input.
                unsafe { run_scalar_rows(isa, &layer.head, normed, (high, wide), band * BAND, out) };
            });
        });
    }
}

/// Runs `convolve(first row, rows)` over bands of `sums` and joins their statistics in order.
fn bands(
    sums: &mut [f32],
    line: usize,
    channels: usize,
    isa: Isa,
    convolve: impl Fn(usize, &mut [f32]) + Sync,
) -> ChannelStats {
    let parts: Vec<ChannelStats> = sums
        .par_chunks_mut(BAND * line)
        .enumerate()
        .map(|(band, rows)| {
            convolve(band * BAND, rows);
            let mut stats = ChannelStats::new(channels);
            with_scratch(2 * channels, |work| {
                rows.chunks_exact(line).for_each(|row| stats.add_row(isa, row, work));
            });
            stats
        })
        .collect();
    let mut stats = ChannelStats::new(channels);
    parts.iter().for_each(|part| stats.merge(part));
    stats
}

/// Group norm and ReLU from `sums [rows, width, channels]` into a map with a border of one zero.
fn normalise(
    norm: &GroupNorm,
    stats: &ChannelStats,
    isa: Isa,
    sums: &[f32],
    width: usize,
    padded: &mut [f32],
) {
    let (scale, shift) = norm.affine(stats);
    let channels = scale.len();
    let (line, from_line) = ((width + 2) * channels, width * channels);
    let last = padded.len() / line - 1;
    padded.par_chunks_mut(line).enumerate().for_each(|(y, row)| {
        if y == 0 || y == last {
            row.fill(0.0);
            return;
        }
        row[..channels].fill(0.0);
        row[line - channels..].fill(0.0);
        let from = &sums[(y - 1) * from_line..][..from_line];
        // SAFETY: equally long rows of whole pixels.
        unsafe { run_scale_relu(isa, from, &scale, &shift, &mut row[channels..line - channels]) };
    });
}

/// Copies a map without its border of one into `to`, if `to` is wanted.
fn copy_inside(padded: &[f32], (height, width, channels): (usize, usize, usize), to: &mut [f32]) {
    if to.is_empty() {
        return;
    }
    let line = (width + 2) * channels;
    for (y, row) in to.chunks_exact_mut(width * channels).enumerate().take(height) {
        row.copy_from_slice(&padded[(y + 1) * line + channels..][..width * channels]);
    }
}

/// The cost-map guidance at twice the size, with a border of one zero.
fn upsample_cost(
    layer: &SkipFusion,
    isa: Isa,
    cost: &[f32],
    (height, width): (usize, usize),
    padded: &mut [f32],
) {
    let guidance = layer.cost[0].n;
    let line = (2 * width + 2) * guidance;
    let (top, rest) = padded.split_at_mut(line);
    let (rows, bottom) = rest.split_at_mut(2 * height * line);
    top.fill(0.0);
    bottom.fill(0.0);
    rows.par_chunks_mut(2 * line).enumerate().for_each(|(y, out)| {
        for row in out.chunks_exact_mut(line) {
            row[..guidance].fill(0.0);
            row[line - guidance..].fill(0.0);
        }
        let from = &cost[y * width * layer.cost[0].k..][..width * layer.cost[0].k];
        // SAFETY: `from` is a row of the low-resolution map, `out` the two padded rows it becomes.
        unsafe { run_cost_row(isa, layer, from, out) };
    });
}

#[inline(always)]
unsafe fn cost_row<L: Lanes>(layer: &SkipFusion, from: &[f32], out: &mut [f32]) {
    let (below, guidance) = (layer.cost[0].k, layer.cost[0].n);
    let line = out.len() / 2;
    let bias = Epilogue { bias: Some(&layer.cost_bias), activation: Activation::Relu, ..Epilogue::default() };
    for (phase, weights) in layer.cost.iter().enumerate() {
        let (py, px) = (phase / 2, phase % 2);
        // SAFETY: pixel x of the row becomes pixel 2x + px, behind the border.
        unsafe {
            let taps = Taps {
                input: from.as_ptr(),
                pixel_stride: below,
                run_stride: 0,
                run: below,
                runs: 1,
                weights,
            };
            let out = out.as_mut_ptr().add(py * line + (1 + px) * guidance);
            let to = OutputRow { pixels: from.len() / below, out, stride: 2 * guidance, epilogue: bias };
            let mut panel = 0;
            while panel < weights.panels() {
                panel += convolve_row::<L>(&[taps], &to, panel);
            }
        }
    }
}

kernel! {
    unsafe fn run_cost_row(layer: &SkipFusion, from: &[f32], out: &mut [f32]) = cost_row
}

/// The inputs of the first convolution: padded low-resolution features, padded cost-map guidance and
/// the image's guide.
struct Conv0<'a> {
    layer: &'a SkipFusion,
    low: &'a [f32],
    cost: &'a [f32],
    guide: &'a [f32],
    /// Of the low-resolution map.
    width: usize,
}

#[inline(always)]
unsafe fn conv0<L: Lanes>(maps: &Conv0<'_>, first: usize, out: &mut [f32]) {
    let Conv0 { layer, width, .. } = *maps;
    let (channels, guidance, outputs) = (layer.phases[0].k / 4, layer.cost[0].n, layer.conv1.n);
    let (low_line, cost_line) = ((width + 2) * channels, (2 * width + 2) * guidance);
    let line = 2 * width * outputs;
    let rows = out.len() / line;
    let mut panel = 0;
    while panel < layer.conv1.panels() {
        let mut done = 0;
        for row in 0..rows {
            let y = first + row;
            for (phase, weights) in layer.phases.iter().enumerate().filter(|(phase, _)| phase / 2 == y % 2) {
                let px = phase % 2;
                // SAFETY: the 2×2 window of phase (y % 2, px) starts at padded low-resolution row
                // y / 2 + y % 2, the 3×3 window of the guidance at padded row y.
                unsafe {
                    let taps = [
                        Taps {
                            input: maps.low.as_ptr().add((y / 2 + y % 2) * low_line + px * channels),
                            pixel_stride: channels,
                            run_stride: low_line,
                            run: 2 * channels,
                            runs: 2,
                            weights,
                        },
                        Taps {
                            input: maps.cost.as_ptr().add(y * cost_line + px * guidance),
                            pixel_stride: 2 * guidance,
                            run_stride: cost_line,
                            run: 3 * guidance,
                            runs: 3,
                            weights: &layer.conv0_cost,
                        },
                    ];
                    let guide = maps.guide.as_ptr().add(y * line + px * outputs);
                    let epilogue = Epilogue { residual: Some((guide, 2 * outputs)), ..Epilogue::default() };
                    let out = out.as_mut_ptr().add(row * line + px * outputs);
                    let to = OutputRow { pixels: width, out, stride: 2 * outputs, epilogue };
                    done = convolve_row::<L>(&taps, &to, panel);
                }
            }
        }
        panel += done;
    }
}

kernel! {
    unsafe fn run_conv0(maps: &Conv0<'_>, first: usize, out: &mut [f32]) = conv0
}

#[inline(always)]
unsafe fn conv1<L: Lanes>(
    weights: &PackedMatrix,
    padded: &[f32],
    width: usize,
    first: usize,
    out: &mut [f32],
) {
    let channels = weights.n;
    let (line, padded_line) = (width * channels, (width + 2) * channels);
    let mut panel = 0;
    while panel < weights.panels() {
        let mut done = 0;
        for row in 0..out.len() / line {
            // SAFETY: padded rows first + row .. + 3 exist.
            unsafe {
                let taps = Taps {
                    input: padded.as_ptr().add((first + row) * padded_line),
                    pixel_stride: channels,
                    run_stride: padded_line,
                    run: 3 * channels,
                    runs: 3,
                    weights,
                };
                let out = out.as_mut_ptr().add(row * line);
                let to = OutputRow { pixels: width, out, stride: channels, epilogue: Epilogue::default() };
                done = convolve_row::<L>(&[taps], &to, panel);
            }
        }
        panel += done;
    }
}

kernel! {
    unsafe fn run_conv1(weights: &PackedMatrix, padded: &[f32], width: usize, first: usize, out: &mut [f32]) = conv1
}
