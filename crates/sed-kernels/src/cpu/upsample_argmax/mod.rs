//! From score maps to the category of every output pixel, without ever holding categories × height ×
//! width: for each block of output pixels only the categories that can win in one of its cells (four
//! neighbouring map values), or come second where that is asked for, are interpolated.

mod block;
mod sureness;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor};

use crate::cpu::elementwise::counted_sigmoid;
use crate::cpu::memory::cpu_values;
use crate::parallel;
use crate::simd::Isa;
use crate::specs::{ArgmaxMap, ArgmaxSpec, ScoredMap, Sureness, UNLABELLED};
use block::{Block, RowPairs, Rows, Won, run_best};
use sureness::{Planes, run_rank, unwritten};

/// Output rows of one task; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 16;

/// As [`crate::score_and_upsample`], which has checked the arguments; the first columns and rows of `logits`,
/// `used` of each, count.
pub(crate) fn score_and_upsample(
    logits: &Tensor,
    spec: &ArgmaxSpec<'_>,
    used: (usize, usize),
) -> Result<ScoredMap> {
    let (scores, not_finite) = counted_sigmoid(logits)?;
    let map = upsample_argmax(&scores, spec, used)?;
    Ok(ScoredMap { scores, map, not_finite })
}

/// As [`crate::upsample_argmax`], likewise.
pub(crate) fn upsample_argmax(
    scores: &Tensor,
    spec: &ArgmaxSpec<'_>,
    used: (usize, usize),
) -> Result<ArgmaxMap> {
    Ok(best_of(&cpu_values(scores)?, scores.dims3()?, used, spec, Isa::best()))
}

/// [`upsample_argmax`] of `maps [n, rows, columns]`, of which the first `wide` columns and `high` rows count.
fn best_of(
    maps: &[f32],
    (n, rows, columns): (usize, usize, usize),
    (wide, high): (usize, usize),
    spec: &ArgmaxSpec<'_>,
    isa: Isa,
) -> ArgmaxMap {
    let horizontal: Vec<Sample> = (0..spec.width).map(|x| Sample::new(x, spec.width, wide)).collect();
    let vertical: Vec<Sample> = (0..spec.height).map(|y| Sample::new(y, spec.height, high)).collect();
    let blocks = Block::cut(&horizontal, isa.width());
    let mut indices = vec![UNLABELLED; spec.height * spec.width];
    let mut sureness = spec.sureness.then(|| unwritten(indices.len()));
    let mut bands = Band::cut(&mut indices, sureness.as_mut(), ROWS * spec.width);
    let work = |index: usize, bands: &mut [Band<'_>]| {
        let mut pairs = RowPairs::new(n, wide);
        let mut won = Won { pixels: vec![0; n], sums: vec![0.0; n] };
        for band in bands {
            let mut left = std::mem::take(band);
            let vertical = &vertical[index * ROWS..][..left.indices.len() / spec.width];
            for vertical in vertical.chunk_by(|a, b| a.low == b.low) {
                let (here, below) = left.split_at(vertical.len() * spec.width);
                pairs.load(maps, (rows, columns), vertical[0]);
                let rows = Rows { pairs: &pairs, vertical, thresholds: spec.thresholds };
                // SAFETY: the blocks are cut for this instruction set, which is there.
                unsafe {
                    match here.planes {
                        None => run_best(isa, rows, &blocks, here.indices, &mut won),
                        Some(planes) => {
                            run_rank(isa, rows, spec.labels, &blocks, here.indices, planes, &mut won);
                        }
                    }
                }
                left = below;
            }
        }
        won
    };
    let parts: Vec<Won> = parallel::map_chunks(&mut bands, 1, work);
    let mut pixels = vec![0u32; n];
    let mut sums = vec![0f64; n];
    for part in parts {
        pixels.iter_mut().zip(part.pixels).for_each(|(a, b)| *a += b);
        sums.iter_mut().zip(part.sums).for_each(|(a, b)| *a += b);
    }
    let mean =
        |(&sum, &pixels): (&f64, &u32)| if pixels > 0 { (sum / f64::from(pixels)) as f32 } else { 0.0 };
    let mean_scores = sums.iter().zip(&pixels).map(mean).collect();
    ArgmaxMap { indices, pixels, mean_scores, sureness }
}

/// Some output rows.
#[derive(Default)]
struct Band<'a> {
    indices: &'a mut [u16],
    planes: Option<Planes<'a>>,
}

impl<'a> Band<'a> {
    /// Cuts an output into bands of `pixels` pixels.
    fn cut(indices: &'a mut [u16], sureness: Option<&'a mut Sureness>, pixels: usize) -> Vec<Self> {
        let bands = indices.len().div_ceil(pixels.max(1));
        let mut left = Self { indices, planes: sureness.map(Planes::of) };
        let band = |_| {
            let pixels = pixels.min(left.indices.len());
            let (band, rest) = std::mem::take(&mut left).split_at(pixels);
            left = rest;
            band
        };
        (0..bands).map(band).collect()
    }

    /// Cuts off the first `pixels` pixels.
    fn split_at(self, pixels: usize) -> (Self, Self) {
        let (indices, later) = self.indices.split_at_mut(pixels);
        let (planes, later_planes) = self.planes.map(|planes| planes.split_at(pixels)).unzip();
        (Self { indices, planes }, Self { indices: later, planes: later_planes })
    }
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
