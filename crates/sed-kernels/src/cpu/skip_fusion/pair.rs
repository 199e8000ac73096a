//! One pair through the layer.

use half::bf16;

use super::SkipFusion;
use crate::cpu::border::{clear, run_pad_rows};
use crate::cpu::convolve::{OutputRow, Taps, convolve_row};
use crate::cpu::epilogue::Epilogue;
use crate::cpu::group_norm::{ChannelStats, GroupNorm, run_scale_relu};
use crate::cpu::product::pack::PackedMatrix;
use crate::cpu::scalar_conv::run_scalar_rows;
use crate::cpu::scratch::{Scratch, with_scratch};
use crate::parallel;
use crate::simd::{Element, Isa, Lanes, kernel};
use crate::specs::Activation;

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
        if layer.conv1.is_bf16() { self.run_in::<bf16>(layer, isa) } else { self.run_in::<f32>(layer, isa) }
    }

    /// [`Pair::run`] with the maps that the convolutions read in the format of their weights.
    fn run_in<E: Element>(self, layer: &SkipFusion, isa: Isa) {
        let (height, width) = (self.height, self.width);
        let (high, wide) = (2 * height, 2 * width);
        let (channels, guidance, outputs) = (layer.phases[0].k / 4, layer.cost[0].n, layer.conv1.n);
        let padded = (high + 2) * (wide + 2);
        // Behind each map a step of zeros, which a run of odd length may read.
        let low = (height + 2) * (width + 2) * channels + E::STEP;
        let (cost, normed) = (padded * guidance + E::STEP, padded * outputs + E::STEP);
        let rooms = [E::room(low), E::room(cost), E::room(normed)];
        with_scratch(rooms.iter().sum::<usize>() + high * wide * outputs, |scratch| {
            let (low_room, rest) = scratch.split_at_mut(rooms[0]);
            let (cost_room, rest) = rest.split_at_mut(rooms[1]);
            let (normed_room, sums) = rest.split_at_mut(rooms[2]);
            let low = with_tail(E::view(low_room, low));
            let cost = with_tail(E::view(cost_room, cost));
            let normed = with_tail(E::view(normed_room, normed));
            // SAFETY: `low` is the input with a border of one.
            unsafe { run_pad_rows(isa, self.x, (height, width, channels), 1, 0, low) };
            upsample_cost(layer, isa, self.cost, (height, width), cost);
            copy_inside(isa, cost, (high, wide, guidance), self.cost_guidance);

            let maps = Conv0 { layer, low, cost, guide: self.guide, width };
            let stats = bands(sums, wide * outputs, outputs, isa, |first, out| {
                // SAFETY: the padded maps hold every row that the band reads.
                unsafe { run_conv0::<E>(isa, &maps, first, out) };
            });
            normalise(&layer.norm0, &stats, isa, sums, wide, normed);

            let stats = bands(sums, wide * outputs, outputs, isa, |first, out| {
                // SAFETY: as above.
                unsafe { run_conv1::<E>(isa, &layer.conv1, normed, wide, first, out) };
            });
            if !self.features.is_empty() {
                let (scale, shift) = layer.norm1.affine(&stats);
                // SAFETY: equally long slices of whole pixels.
                unsafe { run_scale_relu::<f32>(isa, sums, &scale, &shift, self.features) };
            }
            if !self.logits.is_empty() {
                normalise(&layer.norm1, &stats, isa, sums, wide, normed);
                parallel::chunks(self.logits, BAND * wide, |band, out| {
                    // SAFETY: the padded map is the head's input.
                    unsafe { run_scalar_rows::<E>(isa, &layer.head, normed, (high, wide), band * BAND, out) };
                });
            }
        });
    }
}

/// A map without the step behind it, which is cleared.
fn with_tail<E: Element>(map: &mut [E]) -> &mut [E] {
    let end = map.len() - E::STEP;
    clear(&mut map[end..]);
    &mut map[..end]
}

/// Runs `convolve(first row, rows)` over bands of `sums` and joins their statistics in order.
fn bands(
    sums: &mut [f32],
    line: usize,
    channels: usize,
    isa: Isa,
    convolve: impl Fn(usize, &mut [f32]) + Sync,
) -> ChannelStats {
    let parts = parallel::map_chunks(sums, BAND * line, |band, rows| {
        convolve(band * BAND, rows);
        let mut stats = ChannelStats::new(channels);
        with_scratch(2 * channels, |work| {
            rows.chunks_exact(line).for_each(|row| stats.add_row(isa, row, work));
        });
        stats
    });
    let mut stats = ChannelStats::new(channels);
    parts.iter().for_each(|part| stats.merge(part));
    stats
}

/// Group norm and ReLU from `sums [rows, width, channels]` into a map with a border of one zero.
fn normalise<E: Element>(
    norm: &GroupNorm,
    stats: &ChannelStats,
    isa: Isa,
    sums: &[f32],
    width: usize,
    padded: &mut [E],
) {
    let (scale, shift) = norm.affine(stats);
    let channels = scale.len();
    let (line, from_line) = ((width + 2) * channels, width * channels);
    let last = padded.len() / line - 1;
    parallel::chunks(padded, line, |y, row| {
        if y == 0 || y == last {
            clear(row);
            return;
        }
        clear(&mut row[..channels]);
        clear(&mut row[line - channels..]);
        let from = &sums[(y - 1) * from_line..][..from_line];
        // SAFETY: equally long rows of whole pixels.
        unsafe { run_scale_relu(isa, from, &scale, &shift, &mut row[channels..line - channels]) };
    });
}

/// Copies a map without its border of one into `to`, if `to` is wanted.
fn copy_inside<E: Element>(
    isa: Isa,
    padded: &[E],
    (height, width, channels): (usize, usize, usize),
    to: &mut [f32],
) {
    if to.is_empty() {
        return;
    }
    let line = (width + 2) * channels;
    for (y, row) in to.chunks_exact_mut(width * channels).enumerate().take(height) {
        // SAFETY: the instruction set is there.
        unsafe { run_widen(isa, &padded[(y + 1) * line + channels..][..row.len()], row) };
    }
}

#[inline(always)]
unsafe fn widen<L: Lanes, E: Element>(from: &[E], to: &mut [f32]) {
    for (from, to) in from.chunks(L::WIDTH).zip(to.chunks_mut(L::WIDTH)) {
        // SAFETY: both chunks have the same length, at most `WIDTH`.
        unsafe { L::store_upto(to.as_mut_ptr(), E::load_lanes::<L>(from.as_ptr(), from.len()), to.len()) };
    }
}

kernel! {
    unsafe fn run_widen<E>(from: &[E], to: &mut [f32]) = widen
}

/// The cost-map guidance at twice the size, with a border of one zero.
fn upsample_cost<E: Element>(
    layer: &SkipFusion,
    isa: Isa,
    cost: &[f32],
    (height, width): (usize, usize),
    padded: &mut [E],
) {
    let guidance = layer.cost[0].n;
    let line = (2 * width + 2) * guidance;
    let (top, rest) = padded.split_at_mut(line);
    let (rows, bottom) = rest.split_at_mut(2 * height * line);
    clear(top);
    clear(bottom);
    parallel::chunks(rows, 2 * line, |y, out| {
        for row in out.chunks_exact_mut(line) {
            clear(&mut row[..guidance]);
            clear(&mut row[line - guidance..]);
        }
        let from = &cost[y * width * layer.cost[0].k..][..width * layer.cost[0].k];
        // SAFETY: `from` is a row of the low-resolution map, `out` the two padded rows it becomes.
        unsafe { run_cost_row(isa, layer, from, out) };
    });
}

#[inline(always)]
unsafe fn cost_row<L: Lanes, E: Element>(layer: &SkipFusion, from: &[f32], out: &mut [E]) {
    let (below, guidance) = (layer.cost[0].k, layer.cost[0].n);
    let line = out.len() / 2;
    let bias = Epilogue { bias: Some(&layer.cost_bias), activation: Activation::Relu, ..Epilogue::default() };
    let mut scratch = Scratch::lend(E::room(from.len() + E::STEP));
    let row = with_tail(E::view(&mut scratch, from.len() + E::STEP));
    // SAFETY: `row` is as long as `from`.
    unsafe { E::convert::<L>(from.as_ptr(), row.as_mut_ptr(), from.len()) };
    for (phase, weights) in layer.cost.iter().enumerate() {
        let (py, px) = (phase / 2, phase % 2);
        // SAFETY: pixel x of the row becomes pixel 2x + px, behind the border.
        unsafe {
            let taps = Taps {
                input: row.as_ptr(),
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
                panel += convolve_row::<L, E, E>(&[taps], &to, panel);
            }
        }
    }
}

kernel! {
    unsafe fn run_cost_row<E>(layer: &SkipFusion, from: &[f32], out: &mut [E]) = cost_row
}

/// The inputs of the first convolution: padded low-resolution features, padded cost-map guidance and
/// the image's guide.
struct Conv0<'a, E> {
    layer: &'a SkipFusion,
    low: &'a [E],
    cost: &'a [E],
    guide: &'a [f32],
    /// Width of the low-resolution map.
    width: usize,
}

#[inline(always)]
unsafe fn conv0<L: Lanes, E: Element>(maps: &Conv0<'_, E>, first: usize, out: &mut [f32]) {
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
                    done = convolve_row::<L, E, f32>(&taps, &to, panel);
                }
            }
        }
        panel += done;
    }
}

kernel! {
    unsafe fn run_conv0<E>(maps: &Conv0<'_, E>, first: usize, out: &mut [f32]) = conv0
}

#[inline(always)]
unsafe fn conv1<L: Lanes, E: Element>(
    weights: &PackedMatrix,
    padded: &[E],
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
                done = convolve_row::<L, E, f32>(&[taps], &to, panel);
            }
        }
        panel += done;
    }
}

kernel! {
    unsafe fn run_conv1<E>(weights: &PackedMatrix, padded: &[E], width: usize, first: usize, out: &mut [f32]) = conv1
}
