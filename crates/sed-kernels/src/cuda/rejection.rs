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

    /// A random rejection on the device, and its equal by `top_k_union`.
    #[test]
    fn tables_on_the_device_equal_those_of_the_host() {
        for seed in 0..40 {
            let mut numbers = random(64, seed).into_iter().map(|v| (v.abs() * 1e4) as usize);
            let mut below = |most: usize| numbers.next().unwrap() % most;
            let (images, pixels) = (1 + below(4), 1 + below(20));
            let vocabularies: Vec<usize> = (0..images).map(|_| 1 + below(70)).collect();
            // Some entries of each vocabulary are left, of some images none.
            let mut survivors: Vec<Vec<u32>> = vocabularies
                .iter()
                .map(|&count| (0..count as u32).filter(|entry| entry % 4 != seed as u32 % 5).collect())
                .collect();
            if below(4) == 0 {
                survivors[images / 2].clear();
            }
            let grouped = below(2) == 1;
            let size = 1 + below(5);
            let groups: Vec<u32> = vocabularies
                .iter()
                .flat_map(|&count| (0..count).map(|entry| (entry / size) as u32))
                .collect();
            let top_k: Vec<u32> = (0..images).map(|_| [0, 1, 2, 5, 200][below(5)]).collect();
            let mut starts = vec![0u32];
            vocabularies.iter().for_each(|&count| starts.push(starts[starts.len() - 1] + count as u32));
            let mut offsets = vec![0usize];
            survivors.iter().for_each(|own| offsets.push(offsets[offsets.len() - 1] + own.len()));
            let live = offsets[images];
            let capacity = live + below(40).max(1);
            // Few different values, so that there are ties.
            let maps: Vec<f32> =
                random(capacity * pixels, seed + 100).iter().map(|v| (v * 9.0).round() / 4.0).collect();
            let logits = on_device(&tensor(&maps, &[capacity, pixels]), DType::F32);
            // By image; an image that keeps all and one without pairs are not asked about.
            let mut want: Vec<Vec<usize>> = Vec::new();
            for image in 0..images {
                let (first, end) = (offsets[image], offsets[image + 1]);
                let own = &survivors[image];
                let group = |&entry: &u32| groups[starts[image] as usize + entry as usize];
                let own: Vec<u32> = if grouped { own.iter().map(group).collect() } else { own.clone() };
                let count = own.chunk_by(|a, b| a == b).count();
                let k = if top_k[image] == 0 { end - first } else { count.min(top_k[image] as usize) };
                if k == end - first {
                    want.push((first..end).collect());
                    continue;
                }
                let maps = logits.rounded.narrow(0, first, end - first).unwrap();
                let kept = crate::top_k_union(&maps, &[0, end - first], &[k], grouped.then_some(&own));
                want.push(kept.unwrap()[0].iter().map(|pair| first + pair).collect());
            }
            let total: usize = want.iter().map(Vec::len).sum();
            for most in [total + below(9), total.max(1), (total / 2).max(1)] {
                let mut words: Vec<u32> = offsets.iter().map(|&offset| offset as u32).collect();
                let padded = |mut values: Vec<u32>| {
                    values.resize(capacity, 0);
                    values
                };
                let images_of = |(image, own): (usize, &Vec<u32>)| vec![image as u32; own.len()];
                words.extend(padded(survivors.iter().enumerate().flat_map(images_of).collect()));
                words.extend(padded(survivors.concat()));
                words.push(live as u32);
                let given = Tensor::new(words, &device()).unwrap();
                let before = DevicePairs::within(&given, images, capacity).unwrap();
                let on_device = |words: &[u32]| Tensor::new(words, &device()).unwrap();
                let rule = RejectionRule {
                    top_k: on_device(&top_k),
                    groups: grouped.then(|| on_device(&groups)),
                    starts: on_device(&starts),
                };
                let block = vec![7u32; DevicePairs::words(images, most)];
                let after = DevicePairs::within(&on_device(&block), images, most).unwrap();
                let rows = crate::cuda::reject(&logits.tensor, &before, &rule, &after).unwrap();
                let what =
                    format!("seed {seed}, {images} images, {pixels} pixels, capacity {most} of {total}");
                let values = |x: &Tensor| x.to_vec1::<u32>().unwrap();
                assert_eq!(values(&after.wanted), [total as u32], "{what}");
                let fitted = |mut values: Vec<u32>| {
                    values.resize(most, 0);
                    values
                };
                let kept: Vec<u32> = want.iter().flatten().map(|&row| row as u32).collect();
                assert_eq!(values(&rows), fitted(kept.clone()), "{what}: rows");
                let all = survivors.concat();
                let entries = kept.iter().map(|&row| all[row as usize]).collect();
                assert_eq!(values(&after.survivors), fitted(entries), "{what}: survivors");
                let of_images = want.iter().enumerate().flat_map(|(i, own)| vec![i as u32; own.len()]);
                assert_eq!(values(&after.images), fitted(of_images.collect()), "{what}: images");
                let mut end = 0;
                let ends: Vec<u32> = [0]
                    .into_iter()
                    .chain(want.iter().map(|own| {
                        end += own.len();
                        end.min(most) as u32
                    }))
                    .collect();
                assert_eq!(values(&after.offsets), ends, "{what}: offsets");
            }
        }
    }
}
