//! Category early rejection.

use candle_core::{DType, Result, Tensor};

use super::launch::{GRID_LIMIT, Launch, WARP};
use super::memory::Output;

/// Warps of a block, one for each pixel.
const PIXELS: usize = 8;
/// Threads of a block, one for each pixel of a group.
const THREADS: usize = 256;

/// As [`crate::top_k_union`], which has checked the arguments, and where there are groups has bounded `top_k`
/// by their number. A flag for each pair is copied to the host: what is launched next depends on how many
/// there are.
pub(crate) fn top_k_union(
    logits: &Tensor,
    offsets: &[usize],
    top_k: &[usize],
    groups: Option<&[u32]>,
) -> Result<Vec<Vec<usize>>> {
    let pairs = logits.dim(0)?;
    let pixels = logits.elem_count() / pairs.max(1);
    // 0 stands for an image that keeps all of its pairs.
    let rejects: Vec<u32> = offsets
        .windows(2)
        .zip(top_k)
        .map(|(range, &k)| if k < range[1] - range[0] { k as u32 } else { 0 })
        .collect();
    let mut kept = vec![0; pairs];
    if rejects.iter().any(|&k| k > 0) {
        let device = logits.device();
        let logits = match groups {
            None => logits.contiguous()?,
            Some(groups) => best_of_groups(&logits.contiguous()?, &starts(offsets, groups), pixels)?,
        };
        let mut flags = Output::zeros(device, DType::U32, pairs)?;
        let all: Vec<u32> = offsets.iter().map(|&offset| offset as u32).collect();
        let grid = [pixels.div_ceil(PIXELS), top_k.len(), 1];
        Launch::new("top_k_union", logits.dtype(), grid, PIXELS * WARP)?
            .input(&logits)?
            .input(&Tensor::new(all, device)?)?
            .input(&Tensor::new(rejects.as_slice(), device)?)?
            .output(&mut flags)?
            .i32(pixels)?
            .run(device)?;
        kept = flags.into_tensor().to_vec1::<u32>()?;
    }
    Ok((0..top_k.len())
        .map(|image| {
            let range = offsets[image]..offsets[image + 1];
            range.filter(|&pair| rejects[image] == 0 || kept[pair] != 0).collect()
        })
        .collect())
}

/// The first pair of each group of each image, and the number of pairs.
fn starts(offsets: &[usize], groups: &[u32]) -> Vec<u32> {
    let begins = |pair: &usize| {
        let joined = *pair > 0 && groups[pair - 1] == groups[*pair];
        !joined || offsets.binary_search(pair).is_ok()
    };
    (0..groups.len()).filter(begins).chain([groups.len()]).map(|pair| pair as u32).collect()
}

/// `logits [pairs, pixels]` of which at every pixel only the best of each group is left, the others are minus
/// infinity.
fn best_of_groups(logits: &Tensor, starts: &[u32], pixels: usize) -> Result<Tensor> {
    let (device, groups) = (logits.device(), starts.len() - 1);
    let mut masked = Output::new(device, DType::F32, logits.shape())?;
    let grid = [pixels.div_ceil(THREADS), groups.min(GRID_LIMIT), 1];
    Launch::new("best_of_groups", logits.dtype(), grid, THREADS)?
        .input(logits)?
        .input(&Tensor::new(starts, device)?)?
        .output(&mut masked)?
        .i32(groups)?
        .i32(pixels)?
        .run(device)?;
    Ok(masked.into_tensor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, on_device};
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
}
