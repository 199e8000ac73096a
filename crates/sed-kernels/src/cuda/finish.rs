//! The last step of a submission, for all of its images.

use candle_core::{DType, Result, Tensor, bail};

use super::launch::Launch;
use super::memory::Output;
use super::upsample_argmax::{COUNT_BYTES, counted};
use crate::specs::{DevicePairs, FinishPlan, SCORES_OF_BLOCK, Tiles};

/// Threads of a block that makes scores, each of 16 logits.
const THREADS: usize = SCORES_OF_BLOCK / 16;
/// Bytes of a word.
const WORD: usize = 4;

/// As [`crate::finish_batch`], which has checked the arguments.
pub(crate) fn finish_batch(
    logits: &Tensor,
    pairs: &DevicePairs,
    plan: &FinishPlan,
    parameters: &Tensor,
    block: &Tensor,
) -> Result<()> {
    let device = logits.device();
    let (rows, columns) = plan.maps();
    let (mut scores, mut block) = (Output::over(logits)?, Output::over(block)?);
    let (address, bytes) = block.address()?;
    if address % 8 != 0 {
        bail!("finish: results at {address:#x}, which is no multiple of 8");
    }
    // Bytes of the parts of the block.
    let not_finite = (0, plan.pixels() * WORD);
    let pixels = (plan.pixels() * WORD, plan.capacity() * WORD);
    let sums = (plan.sums() * WORD, 2 * plan.capacity() * WORD);
    let planes = (plan.planes() * WORD, bytes - plan.planes() * WORD);
    Launch::new("finish_scores", DType::F32, [plan.parts(), plan.capacity(), 1], THREADS)?
        .output(&mut scores)?
        .input(&pairs.live()?)?
        .output_part(&mut block, not_finite, 4)?
        .output_part(&mut block, pixels, 4)?
        .output_part(&mut block, sums, 8)?
        .i32(rows * columns)?
        .run(device)?;
    let kernel = if plan.any_sureness() { "finish_ranked" } else { "finish" };
    let counted = counted(plan.most_maps());
    Launch::new(kernel, DType::F32, [plan.most_tiles(), plan.images(), 1], Tiles::COLUMNS)?
        .shared(COUNT_BYTES * counted)
        .input(&scores.into_tensor())?
        .input(&pairs.offsets)?
        .input(&pairs.survivors)?
        .input(parameters)?
        .output_part(&mut block, planes, 2)?
        .output_part(&mut block, pixels, 4)?
        .output_part(&mut block, sums, 8)?
        .i32(rows)?
        .i32(columns)?
        .i32(counted)?
        .run(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::device;
    use crate::specs::{ArgmaxMap, ArgmaxSpec, EntryThresholds, FinishSpec, UNLABELLED};
    use crate::testing::{random, tensor};

    /// Rows and columns of a map, and rows of pairs: one more than the images below have.
    const MAPS: (usize, usize) = (6, 8);
    const CAPACITY: usize = 12;

    /// A result that is wanted, and the entries whose maps are left.
    type Image<'a> = (FinishSpec<'a>, &'a [u32]);

    fn images(sureness: bool) -> [Image<'static>; 5] {
        let plain = FinishSpec {
            width: 32,
            height: 24,
            crop: None,
            vocabulary: 7,
            labels: None,
            thresholds: EntryThresholds::Same(0.5),
            sureness: false,
        };
        let grouped = FinishSpec {
            width: 150,
            height: 11,
            crop: Some((5, 4)),
            vocabulary: 6,
            labels: Some(&[0, 0, 1, 1, 1, 2]),
            thresholds: EntryThresholds::Each(&[0.1, 0.1, 0.55, 0.55, 0.55, f32::INFINITY]),
            sureness,
        };
        let each = EntryThresholds::Each(&[0.6, f32::INFINITY, 0.0, 0.4, 0.0, 0.0, 0.7]);
        [
            (plain, &[0, 2, 3, 6]),
            (grouped, &[0, 1, 3, 5]),
            (FinishSpec { width: 3, height: 5, ..plain }, &[]),
            (FinishSpec { width: 3, height: 2, sureness, ..plain }, &[5]),
            (FinishSpec { width: 7, height: 13, thresholds: each, sureness, ..plain }, &[1, 4]),
        ]
    }

    /// Logits `[CAPACITY, MAPS]`, NaN in the row that does not count.
    fn logits() -> Vec<f32> {
        let area = MAPS.0 * MAPS.1;
        let mut logits: Vec<f32> = random(CAPACITY * area, 1).iter().map(|v| v * 3.0).collect();
        logits[(CAPACITY - 1) * area..].fill(f32::NAN);
        logits
    }

    fn words(words: &[u32]) -> Tensor {
        Tensor::new(words, &device()).unwrap()
    }

    /// The result of every image, finished as one batch with memory that held something else.
    fn together(images: &[Image<'_>], logits: &Tensor) -> Vec<(ArgmaxMap, usize)> {
        let specs: Vec<FinishSpec<'_>> = images.iter().map(|(spec, _)| *spec).collect();
        let plan = FinishPlan::new(&specs, CAPACITY, MAPS).unwrap();
        let mut offsets = vec![0];
        let (mut of_pair, mut survivors) = (Vec::new(), Vec::new());
        for (image, (_, left)) in images.iter().enumerate() {
            survivors.extend_from_slice(left);
            of_pair.resize(survivors.len(), image as u32);
            offsets.push(survivors.len() as u32);
        }
        of_pair.resize(CAPACITY, 0);
        survivors.resize(CAPACITY, 0);
        let pairs = DevicePairs {
            offsets: words(&offsets),
            images: words(&of_pair),
            survivors: words(&survivors),
            wanted: words(&offsets[images.len()..]),
        };
        let block = words(&vec![0xdead_beef; plan.words()]);
        finish_batch(logits, &pairs, &plan, &words(plan.parameters()), &block).unwrap();
        let block = block.to_vec1::<u32>().unwrap();
        let unpacked = |image: usize| {
            let found =
                plan.unpack(image, &block, offsets[image] as usize..offsets[image + 1] as usize).unwrap();
            (found.map, found.not_finite)
        };
        (0..images.len()).map(unpacked).collect()
    }

    /// The same from the function for one image, with the names of its maps.
    fn alone((spec, left): &Image<'_>, logits: &Tensor) -> (ArgmaxMap, usize) {
        let label = |entry: &u32| spec.labels.map_or(*entry, |labels| labels[*entry as usize]) as u16;
        let labels: Vec<u16> = left.iter().map(label).collect();
        let threshold = |entry: &u32| match spec.thresholds {
            EntryThresholds::Same(threshold) => threshold,
            EntryThresholds::Each(each) => each[*entry as usize],
        };
        let thresholds: Vec<f32> = left.iter().map(threshold).collect();
        let of_one = ArgmaxSpec {
            width: spec.width,
            height: spec.height,
            crop: spec.crop,
            labels: &labels,
            thresholds: &thresholds,
            sureness: spec.sureness,
        };
        let used = spec.crop.unwrap_or((MAPS.1, MAPS.0));
        let mut found = crate::cuda::score_and_upsample(logits, &of_one, used).unwrap();
        let name = |index: &mut u16| {
            if *index != UNLABELLED {
                *index = labels[usize::from(*index)];
            }
        };
        found.map.indices.iter_mut().for_each(name);
        if let Some(sureness) = &mut found.map.sureness {
            sureness.runner_up.iter_mut().for_each(name);
        }
        (found.map, found.not_finite)
    }

    #[test]
    fn a_batch_equals_its_images_alone() {
        let area = MAPS.0 * MAPS.1;
        let mut values = logits();
        for (sureness, faults) in [(false, 0), (true, 0), (true, 2)] {
            if faults > 0 {
                (values[5 * area], values[8 * area - 1]) = (f32::NAN, f32::NEG_INFINITY);
            }
            let images = images(sureness);
            let on_device = || tensor(&values, &[CAPACITY, MAPS.0, MAPS.1]).to_device(&device()).unwrap();
            let (whole, parts) = (on_device(), on_device());
            let got = together(&images, &whole);
            let mut first = 0;
            for (image, (got, each)) in got.iter().zip(&images).enumerate() {
                let want = alone(each, &parts.narrow(0, first, each.1.len()).unwrap());
                first += each.1.len();
                assert_eq!(got.1, if image == 1 { faults } else { 0 });
                assert_eq!((got.1, &got.0.pixels), (want.1, &want.0.pixels), "image {image}");
                assert!(*got == want || faults > 0 && image == 1, "image {image} differs: {:?}", each.0);
            }
            // Alone in its batch an image has the same result.
            let last = on_device().narrow(0, first - 2, 3).unwrap();
            let padding = Tensor::zeros((CAPACITY - 3, MAPS.0, MAPS.1), DType::F32, &device()).unwrap();
            let last = Tensor::cat(&[last, padding], 0).unwrap();
            assert!(together(&images[4..], &last)[0] == got[4]);
        }
    }

    #[test]
    fn many_maps_are_counted_without_shared_memory() {
        let most = 600;
        let spec = FinishSpec {
            width: 20,
            height: 9,
            crop: None,
            vocabulary: most,
            labels: None,
            thresholds: EntryThresholds::Same(0.0),
            sureness: false,
        };
        let plan = FinishPlan::new(&[spec], most, (2, 3)).unwrap();
        let all: Vec<u32> = (0..most as u32).collect();
        let pairs = DevicePairs {
            offsets: words(&[0, most as u32]),
            images: words(&vec![0; most]),
            survivors: words(&all),
            wanted: words(&[most as u32]),
        };
        let logits = || tensor(&random(most * 6, 2), &[most, 2, 3]).to_device(&device()).unwrap();
        let block = words(&vec![0; plan.words()]);
        finish_batch(&logits(), &pairs, &plan, &words(plan.parameters()), &block).unwrap();
        let got = plan.unpack(0, &block.to_vec1::<u32>().unwrap(), 0..most).unwrap();
        let labels: Vec<u16> = (0..most as u16).collect();
        let thresholds = vec![0.0; most];
        let of_one = ArgmaxSpec {
            width: 20,
            height: 9,
            crop: None,
            labels: &labels,
            thresholds: &thresholds,
            sureness: false,
        };
        let want = crate::cuda::score_and_upsample(&logits(), &of_one, (3, 2)).unwrap();
        assert!((got.map, got.not_finite) == (want.map, 0));
    }

    #[test]
    fn plans_that_do_not_fit_are_refused() {
        let (spec, _) = images(true)[1];
        let plan = |spec| FinishPlan::new(&[spec], CAPACITY, MAPS);
        assert!(plan(spec).is_ok());
        for spec in [
            FinishSpec { width: 0, ..spec },
            FinishSpec { crop: Some((9, 1)), ..spec },
            FinishSpec { crop: Some((1, 0)), ..spec },
            FinishSpec { vocabulary: 5, ..spec },
            FinishSpec { labels: Some(&[1, 0, 1, 1, 1, 2]), ..spec },
            FinishSpec { thresholds: EntryThresholds::Each(&[0.5]), ..spec },
            FinishSpec { labels: None, vocabulary: 65_536, thresholds: EntryThresholds::Same(0.0), ..spec },
            FinishSpec { width: 1 << 20, height: 1 << 20, ..spec },
        ] {
            assert!(plan(spec).is_err(), "{spec:?}");
        }
        let plan = plan(spec).unwrap();
        let block = vec![0; plan.words()];
        assert!(plan.unpack(0, &block, 0..CAPACITY).is_ok());
        assert!(plan.unpack(1, &block, 0..1).is_err());
        assert!(plan.unpack(0, &block[1..], 0..1).is_err());
        assert!(plan.unpack(0, &block, 3..CAPACITY + 1).is_err());
    }
}
