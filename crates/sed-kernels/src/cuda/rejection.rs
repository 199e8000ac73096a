//! Category early rejection.

use candle_core::{DType, Result, Tensor};

use super::launch::{Launch, WARP};
use super::memory::Output;

/// Warps of a block, one for each pixel.
const PIXELS: usize = 8;

/// As [`crate::top_k_union`], which has checked the arguments. A flag for each pair is copied to the host:
/// what is launched next depends on how many there are.
pub(crate) fn top_k_union(logits: &Tensor, offsets: &[usize], top_k: &[usize]) -> Result<Vec<Vec<usize>>> {
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
        let logits = logits.contiguous()?;
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
            let kept = top_k_union(&maps.tensor, &[0, 40], &[1]).unwrap().remove(0);
            assert!(kept.contains(&2) && kept.contains(&39), "{dtype:?} {kept:?}");
        }
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
                    let want = crate::top_k_union(&maps.rounded, &offsets, &top_k).unwrap();
                    let got = top_k_union(&maps.tensor, &offsets, &top_k).unwrap();
                    assert_eq!(got, want, "{pixels} {images:?} {dtype:?}");
                }
            }
        }
    }
}
