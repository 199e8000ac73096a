//! From score maps to the category of every output pixel.

use candle_core::{DType, Device, Result, Tensor};
use half::vec::HalfBitsVecExt;

use super::elementwise::counted_sigmoid;
use super::launch::Launch;
use super::memory::Output;
use crate::device::download;
use crate::specs::{ArgmaxMap, ArgmaxSpec, ScoredMap, Sureness, Tiles, mean_score};

/// Most maps whose pixels a block counts in shared memory.
const SHARED_MAPS: usize = 512;
/// Bytes of a map's counts there.
pub(super) const COUNT_BYTES: usize = 12;

/// The maps that blocks have shared memory for if an image has at most so many.
pub(super) fn counted(maps: usize) -> usize {
    maps.min(SHARED_MAPS)
}

/// As [`crate::upsample_argmax`], which has checked the arguments; the first columns and rows of `scores`,
/// `used` of each, count. Indices, counts and planes are copied to the host.
pub(crate) fn upsample_argmax(
    scores: &Tensor,
    spec: &ArgmaxSpec<'_>,
    used: (usize, usize),
) -> Result<ArgmaxMap> {
    let counts = Output::zeros(scores.device(), DType::U32, scores.dim(0)? + 1)?;
    Ok(best_of(scores, spec, used, counts)?.0)
}

/// As [`crate::score_and_upsample`], which has checked the arguments.
pub(crate) fn score_and_upsample(
    logits: &Tensor,
    spec: &ArgmaxSpec<'_>,
    used: (usize, usize),
) -> Result<ScoredMap> {
    let n = logits.dim(0)?;
    let mut counts = Output::zeros(logits.device(), DType::U32, n + 1)?;
    let scores = counted_sigmoid(logits, &mut counts, n)?;
    let (map, not_finite) = best_of(&scores, spec, used, counts)?;
    Ok(ScoredMap { scores, map, not_finite })
}

/// The best map of every pixel, and the last of the `counts`; the others, one for each map, are zeros before.
fn best_of(
    scores: &Tensor,
    spec: &ArgmaxSpec<'_>,
    (wide, high): (usize, usize),
    mut counts: Output,
) -> Result<(ArgmaxMap, usize)> {
    let (n, rows, columns) = scores.dims3()?;
    let device = scores.device();
    let scores = scores.contiguous()?;
    let values = spec.height * spec.width;
    let mut indices = Output::new(device, DType::I16, values)?;
    let mut sums = Output::zeros(device, DType::I64, n.max(1))?;
    let tiles = Tiles::of((spec.width, spec.height), high);
    let room = if n <= SHARED_MAPS { n } else { 0 };
    let kernel = if spec.sureness { "upsample_argmax_ranked" } else { "upsample_argmax" };
    // The maps' one threshold, or each map's; not read where there is no map.
    let threshold = spec.thresholds.first().copied().unwrap_or(0.0);
    let alike = spec.thresholds.iter().all(|other| *other == threshold);
    let thresholds = (!alike).then(|| Tensor::new(spec.thresholds, device)).transpose()?;
    let launch = Launch::new(kernel, scores.dtype(), [tiles.count, 1, 1], Tiles::COLUMNS)?
        .shared(COUNT_BYTES * room)
        .input(&scores)?
        .output(&mut indices)?
        .output(&mut counts)?
        .output(&mut sums)?
        .i32(n)?
        .i32(rows)?
        .i32(columns)?
        .i32(high)?
        .i32(wide)?
        .i32(spec.height)?
        .i32(spec.width)?
        .i32(tiles.shift)?
        .i32(room)?
        .f32(threshold)
        .optional(thresholds.as_ref())?;
    let mut planes = spec.sureness.then(|| Planes::new(device, values)).transpose()?;
    if let Some(planes) = &mut planes {
        let labels = spec.labels.iter().map(|label| u32::from(*label));
        let labels = (n > 0).then(|| Tensor::from_iter(labels, device)).transpose()?;
        planes.outputs(launch.optional(labels.as_ref())?)?.run(device)?;
    } else {
        launch.run(device)?;
    }
    let indices = downloaded(indices)?;
    let sureness = planes.map(Planes::download).transpose()?;
    let mut pixels = counts.into_tensor().to_vec1::<u32>()?;
    let sums = sums.into_tensor().to_vec1::<i64>()?;
    let last = pixels.pop().unwrap_or(0) as usize;
    let mean_scores = sums.iter().zip(&pixels).map(|(&sum, &pixels)| mean_score(sum, pixels)).collect();
    Ok((ArgmaxMap { indices, pixels, mean_scores, sureness }, last))
}

/// [`Sureness`] on the device. Values of f16 lie in integers of their bits, which are copied to the host as
/// the indices are.
struct Planes {
    scores: Output,
    runner_up: Output,
    margins: Output,
}

impl Planes {
    fn new(device: &Device, values: usize) -> Result<Self> {
        let plane = || Output::new(device, DType::I16, values);
        Ok(Self { scores: plane()?, runner_up: plane()?, margins: plane()? })
    }

    /// Adds the planes to a launch.
    fn outputs(&mut self, launch: Launch) -> Result<Launch> {
        launch.output(&mut self.scores)?.output(&mut self.runner_up)?.output(&mut self.margins)
    }

    fn download(self) -> Result<Sureness> {
        Ok(Sureness {
            scores: downloaded(self.scores)?.reinterpret_into(),
            runner_up: downloaded(self.runner_up)?,
            margins: downloaded(self.margins)?.reinterpret_into(),
        })
    }
}

/// A plane of indices or of bits, on the host.
fn downloaded(plane: Output) -> Result<Vec<u16>> {
    Ok(download(&plane.into_tensor())?.into_iter().map(i16::cast_unsigned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, on_device};
    use crate::testing::{assert_close, random, tensor};

    /// Labels of which some are shared, and thresholds of which some are those of contrast words.
    fn mixed(n: usize) -> (Vec<u16>, Vec<f32>) {
        let thresholds = [0.8, 0.0, f32::INFINITY, 0.5, 0.9];
        ((0..n).map(|map| (map * 2 / 3) as u16).collect(), (0..n).map(|map| thresholds[map % 5]).collect())
    }

    #[test]
    fn equals_the_cpu() {
        for (n, rows, columns, width, height, crop) in [
            (5, 6, 7, 31, 23, None),
            (20, 12, 12, 17, 30, Some((11, 9))),
            (1, 1, 1, 3, 2, None),
            (3, 5, 6, 130, 20, None),
            (7, 9, 5, 4, 3, None),
            (1100, 2, 2, 9, 9, None),
            (0, 3, 3, 4, 4, None),
        ] {
            let scores: Vec<f32> = random(n * rows * columns, 1).iter().map(|v| v.abs()).collect();
            let (own, (labels, thresholds)) = ((0..n as u16).collect::<Vec<_>>(), mixed(n));
            for (labels, thresholds) in [
                (&own, vec![0.0; n]),
                (&own, vec![0.8; n]),
                (&own, vec![f32::INFINITY; n]),
                (&labels, thresholds),
            ] {
                for (dtype, sureness) in DTYPES.into_iter().flat_map(|dtype| [(dtype, false), (dtype, true)])
                {
                    let spec = ArgmaxSpec { width, height, crop, labels, thresholds: &thresholds, sureness };
                    let scores = on_device(&tensor(&scores, &[n, rows, columns]), dtype);
                    let want = crate::upsample_argmax(&scores.rounded, &spec).unwrap();
                    let got =
                        upsample_argmax(&scores.tensor, &spec, crop.unwrap_or((columns, rows))).unwrap();
                    assert_eq!(got.indices, want.indices, "{n} {spec:?} {dtype:?}");
                    assert_eq!(got.pixels, want.pixels);
                    assert_close(&got.mean_scores, &want.mean_scores, 1e-6, "mean scores");
                    assert_eq!(got.sureness.is_some(), sureness);
                    assert!(got.sureness == want.sureness, "{n} {width}×{height} {dtype:?}: planes differ");
                }
            }
        }
    }

    #[test]
    fn logits_that_are_not_finite_are_counted() {
        let spec = ArgmaxSpec {
            width: 5,
            height: 9,
            crop: Some((2, 3)),
            labels: &[0, 1, 2, 3],
            thresholds: &[0.0; 4],
            sureness: true,
        };
        let mut logits = random(4 * 12, 1);
        for faults in [0, 3] {
            if faults > 0 {
                (logits[0], logits[17], logits[47]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
            }
            for dtype in DTYPES {
                let logits = on_device(&tensor(&logits, &[4, 4, 3]), dtype);
                let got = score_and_upsample(&logits.tensor, &spec, (2, 3)).unwrap();
                let want = crate::score_and_upsample(&logits.rounded, &spec).unwrap();
                assert_eq!((got.not_finite, want.not_finite), (faults, faults), "{dtype:?}");
                if faults == 0 {
                    // Rounded scores decide here, and both must decide alike.
                    let scores = got.scores.to_dtype(DType::F32).unwrap();
                    let scores = scores.to_device(&candle_core::Device::Cpu).unwrap();
                    let want = crate::upsample_argmax(&scores, &spec).unwrap();
                    assert_eq!((got.map.indices, got.map.sureness), (want.indices, want.sureness));
                }
            }
        }
    }
}
