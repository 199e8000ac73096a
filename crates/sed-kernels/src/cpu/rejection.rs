//! Category early rejection: which categories are among the `k` best at some pixel.

use candle_core::{Result, Tensor};

use super::memory::cpu_values;
use crate::parallel;

/// Pixels that are looked at together.
const PIXELS: usize = 64;

/// As [`crate::top_k_union`], which has checked the arguments.
pub(crate) fn top_k_union(logits: &Tensor, offsets: &[usize], top_k: &[usize]) -> Result<Vec<Vec<usize>>> {
    let pixels = logits.elem_count() / logits.dim(0)?.max(1);
    let values = cpu_values(logits)?;
    let values: &[f32] = &values;
    let kept = |(range, &k): (&[usize], &usize)| {
        let (first, end) = (range[0], range[1]);
        if k >= end - first {
            return (first..end).collect();
        }
        let kept = union_of_image(&values[first * pixels..end * pixels], end - first, k);
        (first..end).filter(|pair| kept[pair - first]).collect()
    };
    Ok(offsets.windows(2).zip(top_k).map(kept).collect())
}

/// A flag for each of the maps `[pairs, pixels]`: true if it is among the `k` largest at some pixel.
fn union_of_image(maps: &[f32], pairs: usize, k: usize) -> Vec<bool> {
    let pixels = maps.len() / pairs;
    let (blocks, tasks) = (pixels.div_ceil(PIXELS), parallel::threads());
    let task = |task: usize| {
        let mut kept = vec![false; pairs];
        for block in (task..blocks).step_by(tasks) {
            let first = block * PIXELS;
            let count = PIXELS.min(pixels - first);
            let row = |pair: usize| &maps[pair * pixels + first..][..count];
            let kth = kth_largest((0..pairs).map(row), k);
            for (pair, kept) in kept.iter_mut().enumerate() {
                let stays = |(value, kth): (&f32, &f32)| value >= kth || value.is_nan();
                *kept = *kept || row(pair).iter().zip(&kth).any(stays);
            }
        }
        kept
    };
    let mut kept = vec![false; pairs];
    for part in parallel::map(tasks, task) {
        kept.iter_mut().zip(part).for_each(|(kept, part)| *kept |= part);
    }
    kept
}

/// The `k`-th largest number of every column (a NaN is none), by keeping each column's `k` best in order.
fn kth_largest<'a>(rows: impl Iterator<Item = &'a [f32]>, k: usize) -> [f32; PIXELS] {
    let mut best = vec![[f32::NEG_INFINITY; PIXELS]; k];
    for row in rows {
        let mut falling = [f32::NEG_INFINITY; PIXELS];
        for (falling, &value) in falling.iter_mut().zip(row) {
            // Not beside numbers: maximum and minimum would both return the number, and so double it.
            *falling = if value.is_nan() { f32::NEG_INFINITY } else { value };
        }
        for rank in &mut best {
            for (held, value) in rank.iter_mut().zip(&mut falling) {
                let (high, low) = (held.max(*value), held.min(*value));
                (*held, *value) = (high, low);
            }
        }
    }
    best.last().copied().unwrap_or([f32::INFINITY; PIXELS])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{random, tensor};

    fn naive(maps: &[f32], pairs: usize, k: usize) -> Vec<usize> {
        let pixels = maps.len() / pairs;
        let mut kept = vec![false; pairs];
        for pixel in 0..pixels {
            let mut order: Vec<usize> = (0..pairs).collect();
            order.sort_by(|&a, &b| maps[b * pixels + pixel].total_cmp(&maps[a * pixels + pixel]));
            order.iter().take(k).for_each(|&pair| kept[pair] = true);
        }
        (0..pairs).filter(|&pair| kept[pair]).collect()
    }

    proptest! {
        #[test]
        fn every_image_gets_its_own_union(
            seed in 0u64..1000,
            pixels in 1usize..150,
            images in prop::collection::vec((0usize..30, prop::option::of(1usize..12)), 1..5),
        ) {
            let mut offsets = vec![0];
            for (pairs, _) in &images {
                offsets.push(offsets[offsets.len() - 1] + pairs);
            }
            let pairs = offsets[offsets.len() - 1];
            let maps = random(pairs * pixels, seed);
            let top_k: Vec<_> = images.iter().map(|(pairs, k)| k.unwrap_or(*pairs)).collect();
            let got = top_k_union(&tensor(&maps, &[pairs, pixels]), &offsets, &top_k).unwrap();
            for (i, (count, k)) in images.into_iter().enumerate() {
                let maps = &maps[offsets[i] * pixels..offsets[i + 1] * pixels];
                let want = match k {
                    Some(k) if count > 0 => naive(maps, count, k),
                    _ => (0..count).collect(),
                };
                let want: Vec<_> = want.into_iter().map(|pair| pair + offsets[i]).collect();
                prop_assert_eq!(&got[i], &want);
            }
        }
    }

    #[test]
    fn what_is_no_number_is_kept() {
        let nan = f32::NAN;
        for values in [[3.0, 2.0, nan, 1.0], [3.0, 2.0, -nan, 1.0], [nan, 2.0, nan, nan]] {
            let kept = top_k_union(&tensor(&values, &[4, 1]), &[0, 4], &[1]).unwrap().remove(0);
            let wanted = |pair: &usize| values[*pair].is_nan();
            assert!((0..4).filter(wanted).all(|pair| kept.contains(&pair)), "{values:?}: {kept:?}");
        }
    }

    #[test]
    fn a_nan_takes_no_numbers_place() {
        let nan = f32::NAN;
        for (values, k, wanted) in [
            ([3.0, 2.0, nan, 1.0], 2, vec![0, 1, 2]),
            ([3.0, nan, 2.0, 1.0], 2, vec![0, 1, 2]),
            ([nan, 3.0, nan, 2.0], 2, vec![0, 1, 2, 3]),
            ([1.0, nan, 3.0, 2.0], 1, vec![1, 2]),
        ] {
            let kept = top_k_union(&tensor(&values, &[4, 1]), &[0, 4], &[k]).unwrap().remove(0);
            assert_eq!(kept, wanted, "{values:?}");
        }
    }
}
