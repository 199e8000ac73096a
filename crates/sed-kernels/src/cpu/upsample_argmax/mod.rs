//! From score maps to the category of every output pixel, without ever holding categories × height ×
//! width: for each block of output pixels only the categories that can win in one of its cells (four
//! neighbouring map values) are interpolated.

mod block;

use candle_core::{Result, Tensor};

use crate::cpu::elementwise::counted_sigmoid;
use crate::cpu::memory::cpu_values;
use crate::parallel;
use crate::simd::Isa;
use crate::specs::{ArgmaxMap, ArgmaxSpec, ScoredMap, UNLABELLED};
use block::{Block, RowPairs, Rows, Won, run_best};

/// Output rows of one task; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 16;

/// As [`crate::score_and_upsample`], which has checked the arguments; the first columns and rows of `logits`,
/// `used` of each, count.
pub(crate) fn score_and_upsample(
    logits: &Tensor,
    spec: &ArgmaxSpec,
    used: (usize, usize),
) -> Result<ScoredMap> {
    let (scores, not_finite) = counted_sigmoid(logits)?;
    let map = upsample_argmax(&scores, spec, used)?;
    Ok(ScoredMap { scores, map, not_finite })
}

/// As [`crate::upsample_argmax`], likewise.
pub(crate) fn upsample_argmax(scores: &Tensor, spec: &ArgmaxSpec, used: (usize, usize)) -> Result<ArgmaxMap> {
    Ok(best_of(&cpu_values(scores)?, scores.dims3()?, used, spec, Isa::best()))
}

/// [`upsample_argmax`] of `maps [n, rows, columns]`, of which the first `wide` columns and `high` rows count.
fn best_of(
    maps: &[f32],
    (n, rows, columns): (usize, usize, usize),
    (wide, high): (usize, usize),
    spec: &ArgmaxSpec,
    isa: Isa,
) -> ArgmaxMap {
    let horizontal: Vec<Sample> = (0..spec.width).map(|x| Sample::new(x, spec.width, wide)).collect();
    let vertical: Vec<Sample> = (0..spec.height).map(|y| Sample::new(y, spec.height, high)).collect();
    let blocks = Block::cut(&horizontal, isa.width());
    let mut indices = vec![UNLABELLED; spec.height * spec.width];
    let band = |index: usize, out: &mut [u16]| {
        let vertical = &vertical[index * ROWS..][..out.len() / spec.width];
        let mut pairs = RowPairs::new(n, wide);
        let mut won = Won { pixels: vec![0; n], sums: vec![0.0; n] };
        let mut out = out;
        for vertical in vertical.chunk_by(|a, b| a.low == b.low) {
            let (here, below) = out.split_at_mut(vertical.len() * spec.width);
            pairs.load(maps, (rows, columns), vertical[0]);
            let rows = Rows { pairs: &pairs, vertical, threshold: spec.threshold };
            // SAFETY: the blocks are cut for this instruction set, which is there.
            unsafe { run_best(isa, rows, &blocks, here, &mut won) };
            out = below;
        }
        won
    };
    let parts: Vec<Won> = parallel::map_chunks(&mut indices, ROWS * spec.width, band);
    let mut pixels = vec![0u32; n];
    let mut sums = vec![0f64; n];
    for part in parts {
        pixels.iter_mut().zip(part.pixels).for_each(|(a, b)| *a += b);
        sums.iter_mut().zip(part.sums).for_each(|(a, b)| *a += b);
    }
    let mean =
        |(&sum, &pixels): (&f64, &u32)| if pixels > 0 { (sum / f64::from(pixels)) as f32 } else { 0.0 };
    let mean_scores = sums.iter().zip(&pixels).map(mean).collect();
    ArgmaxMap { indices, pixels, mean_scores }
}

/// The two inputs around an output coordinate, with their weights.
#[derive(Clone, Copy)]
struct Sample {
    low: usize,
    high: usize,
    low_weight: f32,
    high_weight: f32,
}

impl Sample {
    /// torch's `area_pixel_compute_source_index` with f32 coordinates.
    fn new(index: usize, outputs: usize, inputs: usize) -> Self {
        let scale = inputs as f32 / outputs as f32;
        let source = (scale * (index as f32 + 0.5) - 0.5).max(0.0);
        let low = (source as usize).min(inputs - 1);
        let high_weight = source - low as f32;
        Self { low, high: (low + 1).min(inputs - 1), low_weight: 1.0 - high_weight, high_weight }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::random;

    /// Every map interpolated at every pixel.
    fn naive(scores: &[f32], (n, rows, columns): (usize, usize, usize), spec: &ArgmaxSpec) -> ArgmaxMap {
        let (wide, high) = spec.crop.unwrap_or((columns, rows));
        let mut indices = Vec::new();
        let (mut pixels, mut sums) = (vec![0; n], vec![0.0; n]);
        for y in 0..spec.height {
            for x in 0..spec.width {
                let (v, h) = (Sample::new(y, spec.height, high), Sample::new(x, spec.width, wide));
                let mut best = (UNLABELLED, f32::NEG_INFINITY);
                for map in 0..n {
                    let p = |y: usize, x: usize| scores[(map * rows + y) * columns + x];
                    let upper = h.low_weight * p(v.low, h.low) + h.high_weight * p(v.low, h.high);
                    let lower = h.low_weight * p(v.high, h.low) + h.high_weight * p(v.high, h.high);
                    let score = v.low_weight * upper + v.high_weight * lower;
                    if score > best.1 {
                        best = (map as u16, score);
                    }
                }
                let keep = best.0 != UNLABELLED && best.1 >= spec.threshold;
                indices.push(if keep { best.0 } else { UNLABELLED });
                if keep {
                    pixels[usize::from(best.0)] += 1;
                    sums[usize::from(best.0)] += f64::from(best.1);
                }
            }
        }
        let mean_scores = sums
            .iter()
            .zip(&pixels)
            .map(|(s, &p)| if p > 0 { (s / f64::from(p)) as f32 } else { 0.0 })
            .collect();
        ArgmaxMap { indices, pixels, mean_scores }
    }

    proptest! {
        #[test]
        fn equals_interpolating_everything(
            seed in 0u64..1000,
            (n, rows, columns) in (0usize..20, 1usize..13, 1usize..40),
            (width, height) in (1usize..90, 1usize..60),
            crop in any::<bool>(),
            threshold in prop::sample::select(vec![0.0f32, 0.5, 0.97]),
        ) {
            // Smooth maps, as a decoder gives, with some exact zeros, as a sigmoid may underflow to.
            let scores: Vec<f32> =
                random(n * rows * columns, seed).iter().map(|v| (v * 0.6 + 0.5).clamp(0.0, 1.0)).collect();
            let crop = crop.then_some((columns.div_ceil(3), rows.div_ceil(2)));
            let spec = ArgmaxSpec { width, height, crop, threshold };
            let want = naive(&scores, (n, rows, columns), &spec);
            let used = crop.unwrap_or((columns, rows));
            for isa in Isa::available() {
                let got = best_of(&scores, (n, rows, columns), used, &spec, isa);
                prop_assert_eq!(&got.indices, &want.indices, "{:?}", isa);
                prop_assert_eq!(&got.pixels, &want.pixels);
                for (a, b) in got.mean_scores.iter().zip(&want.mean_scores) {
                    prop_assert!((a - b).abs() < 1e-6);
                }
            }
        }
    }
}
