//! Category early rejection.

use candle_core::{DType, Result, Tensor, bail};

use super::launch::{GRID_LIMIT, Launch, WARP};
use super::memory::Output;
use crate::specs::{DevicePairs, RejectionRule};

/// Warps of a block, one for each pixel.
const PIXELS: usize = 8;
/// Threads of the block that makes the tables, as in rejection.cu.
const COMPACT_THREADS: usize = 1024;
/// Most words of marks: what a block's shared memory holds beside its counts.
const MOST_WORDS: usize = 10_000;

/// As [`crate::reject`], which has checked the arguments: two launches.
pub(crate) fn reject(
    logits: &Tensor,
    before: &DevicePairs,
    rule: &RejectionRule,
    after: &DevicePairs,
) -> Result<Tensor> {
    let (device, images, capacity) = (logits.device(), before.image_count(), before.capacity());
    let pixels = logits.elem_count() / capacity.max(1);
    let blocks = pixels.div_ceil(PIXELS);
    // An image's marks begin in a word of their own.
    let words = capacity / 32 + images;
    if words > MOST_WORDS || images > GRID_LIMIT {
        bail!("reject: {capacity} pairs of {images} images are too many for one launch; cut the batch");
    }
    let logits = logits.contiguous()?;
    let mut marks = Output::new(device, DType::U32, (blocks, words))?;
    Launch::new("top_k_union", logits.dtype(), [blocks, images, 1], PIXELS * WARP)?
        .shared((capacity / 32 + 2) * size_of::<u32>())
        .input(&logits)?
        .input(&before.offsets)?
        .input(&before.survivors)?
        .input(&rule.top_k)?
        .optional(rule.groups.as_ref())?
        .input(&rule.starts)?
        .output(&mut marks)?
        .i32(pixels)?
        .i32(words)?
        .run(device)?;
    let mut rows = Output::new(device, DType::U32, after.capacity())?;
    Launch::new("compact_pairs", DType::F32, [1, 1, 1], COMPACT_THREADS)?
        .shared(words * size_of::<u32>())
        .input(&before.offsets)?
        .input(&before.images)?
        .input(&before.survivors)?
        .input(&rule.top_k)?
        .input(&marks.into_tensor())?
        .output(&mut rows)?
        .output(&mut Output::over(&after.offsets)?)?
        .output(&mut Output::over(&after.images)?)?
        .output(&mut Output::over(&after.survivors)?)?
        .output(&mut Output::over(&after.wanted)?)?
        .i32(images)?
        .i32(blocks)?
        .i32(words)?
        .i32(after.capacity())?
        .i32(usize::from(rule.groups.is_some()))?
        .run(device)?;
    Ok(rows.into_tensor())
}

/// As [`crate::top_k_union`], which has checked the arguments, and where there are groups has bounded `top_k`
/// by their number. The tables of the pairs that stay are copied to the host: what is launched next depends on how many
/// there are.
pub(crate) fn top_k_union(
    logits: &Tensor,
    offsets: &[usize],
    top_k: &[usize],
    groups: Option<&[u32]>,
) -> Result<Vec<Vec<usize>>> {
    let (images, pairs) = (top_k.len(), logits.dim(0)?);
    let ranges = || offsets.windows(2).map(|range| range[0]..range[1]);
    // 0 stands for an image that keeps all of its pairs.
    let rejects: Vec<usize> =
        ranges().zip(top_k).map(|(range, &k)| if k < range.len() { k } else { 0 }).collect();
    if rejects.iter().all(|&k| k == 0) {
        return Ok(ranges().map(Iterator::collect).collect());
    }
    let device = logits.device();
    let image_of_pair = ranges().enumerate().flat_map(|(image, range)| range.map(move |_| image));
    let entries = ranges().flat_map(|range| 0..range.len());
    let table = offsets.iter().copied().chain(image_of_pair).chain(entries).chain([pairs]).chain(rejects);
    let mut words: Vec<u32> = table.map(|word| word as u32).collect();
    words.extend(groups.unwrap_or_default());
    let given = Tensor::new(words, device)?;
    let length = DevicePairs::words(images, pairs);
    let before = DevicePairs::within(&given.narrow(0, 0, length)?, images, pairs)?;
    let after_groups = |_| given.narrow(0, length + images, pairs);
    let rule = RejectionRule {
        top_k: given.narrow(0, length, images)?,
        groups: groups.map(after_groups).transpose()?,
        starts: before.offsets.clone(),
    };
    let tables = Output::new(device, DType::U32, length)?.into_tensor(); // `reject` writes all of them
    let after = DevicePairs::within(&tables, images, pairs)?;
    reject(logits, &before, &rule, &after)?;
    let tables = tables.to_vec1::<u32>()?;
    let survivors = &tables[images + 1 + pairs..];
    let kept = |image: usize| {
        let kept = tables[image] as usize..tables[image + 1] as usize;
        survivors[kept].iter().map(|&entry| offsets[image] + entry as usize).collect()
    };
    Ok((0..images).map(kept).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, device, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn what_is_no_number_is_kept() {
        let mut maps = random(40 * 33, 5);
        (maps[2 * 33 + 7], maps[39 * 33]) = (f32::NAN, -f32::NAN);
        for dtype in DTYPES {
            let maps = on_device(&tensor(&maps, &[40, 33]), dtype);
            let fives: Vec<u32> = (0..40).map(|pair| pair / 5).collect();
            for groups in [None, Some(fives.as_slice())] {
                let kept = top_k_union(&maps.tensor, &[0, 40], &[1], groups).unwrap().remove(0);
                assert!(kept.contains(&2) && kept.contains(&39), "{dtype:?} {kept:?}");
            }
        }
    }

    /// `top_k` bounded by each image's groups, as [`crate::top_k_union`] does.
    fn bounded(offsets: &[usize], top_k: &[usize], groups: &[u32]) -> Vec<usize> {
        let of_image = |(range, &k): (&[usize], &usize)| {
            let groups = &groups[range[0]..range[1]];
            if k < groups.len() { k.min(groups.chunk_by(|a, b| a == b).count()) } else { k }
        };
        offsets.windows(2).zip(top_k).map(of_image).collect()
    }

    #[test]
    fn equals_the_cpu() {
        for (pixels, images) in [
            (1, vec![(3, 1)]),
            (150, vec![(30, 2), (0, 1), (7, 7), (12, 11), (5, 9)]),
            (33, vec![(40, 39), (2, 1)]),
            (5, vec![(300, 270), (257, 1), (32, 31)]), // more than lanes hold
        ] {
            let mut offsets = vec![0];
            images.iter().for_each(|image| offsets.push(offsets[offsets.len() - 1] + image.0));
            let pairs = offsets[offsets.len() - 1];
            let top_k: Vec<usize> = images.iter().map(|image| image.1).collect();
            // Few different values, some negative, so that there are ties.
            let maps: Vec<f32> = random(pairs * pixels, 3).iter().map(|v| (v * 6.0).round() / 4.0).collect();
            for maps in [maps, random(pairs * pixels, 4)] {
                for dtype in DTYPES {
                    let maps = on_device(&tensor(&maps, &[pairs, pixels]), dtype);
                    let want = crate::top_k_union(&maps.rounded, &offsets, &top_k, None).unwrap();
                    let got = top_k_union(&maps.tensor, &offsets, &top_k, None).unwrap();
                    assert_eq!(got, want, "{pixels} {images:?} {dtype:?}");
                    // The number of a group goes on over the end of an image, where the group does not.
                    for size in [1, 3, 40] {
                        let groups: Vec<u32> = (0..pairs as u32).map(|pair| pair / size).collect();
                        let want =
                            crate::top_k_union(&maps.rounded, &offsets, &top_k, Some(&groups)).unwrap();
                        let most = bounded(&offsets, &top_k, &groups);
                        let got = top_k_union(&maps.tensor, &offsets, &most, Some(&groups)).unwrap();
                        assert_eq!(got, want, "{pixels} {images:?} {dtype:?} groups of {size}");
                    }
                }
            }
        }
    }

    /// A rejection with random sizes, vocabularies of which some entries are left, and ties.
    struct Case {
        pixels: usize,
        /// Of each image, rising indices into its vocabulary.
        survivors: Vec<Vec<u32>>,
        /// `[sum of vocabularies]`
        groups: Option<Vec<u32>>,
        starts: Vec<u32>,
        top_k: Vec<u32>,
        offsets: Vec<usize>,
        /// Rows of the logits, some of which do not count.
        capacity: usize,
        logits: Tensor,
    }

    impl Case {
        fn random(seed: u64) -> Self {
            let mut numbers = random(64, seed).into_iter().map(|v| (v.abs() * 1e4) as usize);
            let mut below = |most: usize| numbers.next().unwrap() % most;
            let (images, pixels) = (1 + below(4), 1 + below(20));
            let (mut survivors, mut groups) = (Vec::new(), Vec::new());
            let (mut starts, mut offsets) = (vec![0], vec![0]);
            let (empty, grouped, size) = (below(9), below(2) == 1, 1 + below(5) as u32);
            for image in 0..images {
                let vocabulary = 1 + below(70) as u32;
                let stays = |&entry: &u32| image != empty && entry % 4 != seed as u32 % 5;
                survivors.push((0..vocabulary).filter(stays).collect::<Vec<u32>>());
                groups.extend((0..vocabulary).map(|entry| entry / size));
                starts.push(groups.len() as u32);
                offsets.push(offsets[image] + survivors[image].len());
            }
            let top_k = (0..images).map(|_| [0, 1, 2, 5, 200][below(5)]).collect();
            let capacity = offsets[images] + 1 + below(40);
            // Few different values.
            let maps: Vec<f32> =
                random(capacity * pixels, seed + 100).iter().map(|v| (v * 9.0).round() / 4.0).collect();
            let logits = tensor(&maps, &[capacity, pixels]);
            let groups = grouped.then_some(groups);
            Self { pixels, survivors, groups, starts, top_k, offsets, capacity, logits }
        }

        /// The rows that stay of an image, by the CPU.
        fn kept(&self, image: usize) -> Vec<usize> {
            let (first, end) = (self.offsets[image], self.offsets[image + 1]);
            let own: Vec<u32> = match &self.groups {
                None => self.survivors[image].clone(),
                Some(groups) => {
                    let groups = &groups[self.starts[image] as usize..];
                    self.survivors[image].iter().map(|&entry| groups[entry as usize]).collect()
                }
            };
            let left = own.chunk_by(|a, b| a == b).count();
            let top_k =
                if self.top_k[image] == 0 { end - first } else { left.min(self.top_k[image] as usize) };
            if first == end {
                return Vec::new();
            }
            let maps = self.logits.narrow(0, first, end - first).unwrap();
            let groups = self.groups.as_ref().map(|_| own.as_slice());
            let kept = crate::top_k_union(&maps, &[0, end - first], &[top_k], groups).unwrap().remove(0);
            kept.into_iter().map(|pair| first + pair).collect()
        }

        /// The words of the tables of `rows [images][rows]`, for a capacity.
        fn tables(&self, rows: &[Vec<usize>], capacity: usize) -> Vec<u32> {
            let total: usize = rows.iter().map(Vec::len).sum();
            let (mut words, mut images, mut survivors, mut end) = (vec![0], Vec::new(), Vec::new(), 0);
            for (image, rows) in rows.iter().enumerate() {
                end += rows.len();
                words.push(end.min(capacity) as u32);
                images.resize(end, image as u32);
                survivors.extend(rows.iter().map(|row| self.survivors[image][row - self.offsets[image]]));
            }
            images.resize(capacity, 0);
            survivors.resize(capacity, 0);
            [words, images, survivors, vec![total as u32]].concat()
        }
    }

    fn on_the_device(words: &[u32]) -> Tensor {
        Tensor::new(words, &device()).unwrap()
    }

    #[test]
    fn tables_on_the_device_equal_those_of_the_host() {
        for seed in 0..40 {
            let case = Case::random(seed);
            let images = case.top_k.len();
            let all: Vec<Vec<usize>> = case.offsets.windows(2).map(|w| (w[0]..w[1]).collect()).collect();
            let kept: Vec<Vec<usize>> = (0..images).map(|image| case.kept(image)).collect();
            let total: usize = kept.iter().map(Vec::len).sum();
            let given = on_the_device(&case.tables(&all, case.capacity));
            let before = DevicePairs::within(&given, images, case.capacity).unwrap();
            let rule = RejectionRule {
                top_k: on_the_device(&case.top_k),
                groups: case.groups.as_deref().map(on_the_device),
                starts: on_the_device(&case.starts),
            };
            let logits = case.logits.to_device(&device()).unwrap();
            for capacity in [total + 9, total.max(1), (total / 2).max(1)] {
                let block = on_the_device(&vec![7; DevicePairs::words(images, capacity)]);
                let after = DevicePairs::within(&block, images, capacity).unwrap();
                let rows = crate::cuda::reject(&logits, &before, &rule, &after).unwrap();
                let mut want: Vec<u32> = kept.iter().flatten().map(|&row| row as u32).collect();
                want.resize(capacity, 0);
                let what = format!("seed {seed}, {} pixels, capacity {capacity} of {total}", case.pixels);
                assert_eq!(rows.to_vec1::<u32>().unwrap(), want, "{what}: rows");
                assert_eq!(block.to_vec1::<u32>().unwrap(), case.tables(&kept, capacity), "{what}");
            }
        }
    }
}
