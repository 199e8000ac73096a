//! Category early rejection: which categories are among the `k` best at some pixel.

use candle_core::{Result, Tensor};

use super::memory::cpu_values;
use crate::parallel;

/// Pixels that are looked at together.
const PIXELS: usize = 64;

/// As [`crate::top_k_union`], which has checked the arguments, and where there are groups has bounded `top_k`
/// by their number.
pub(crate) fn top_k_union(
    logits: &Tensor,
    offsets: &[usize],
    top_k: &[usize],
    groups: Option<&[u32]>,
) -> Result<Vec<Vec<usize>>> {
    let pixels = logits.elem_count() / logits.dim(0)?.max(1);
    let values = cpu_values(logits)?;
    let values: &[f32] = &values;
    let kept = |(range, &k): (&[usize], &usize)| {
        let (first, end) = (range[0], range[1]);
        if k >= end - first {
            return (first..end).collect();
        }
        let maps = Maps { values: &values[first * pixels..end * pixels], pairs: end - first, pixels };
        let kept = union_of_image(maps, groups.map(|groups| &groups[first..end]), k);
        (first..end).filter(|pair| kept[pair - first]).collect()
    };
    Ok(offsets.windows(2).zip(top_k).map(kept).collect())
}

/// An image's maps `[pairs, pixels]`.
#[derive(Clone, Copy)]
struct Maps<'a> {
    values: &'a [f32],
    pairs: usize,
    pixels: usize,
}

impl<'a> Maps<'a> {
    /// A block of pixels of each pair's map.
    fn rows(self, first: usize) -> impl Iterator<Item = &'a [f32]> + Clone {
        let count = PIXELS.min(self.pixels - first);
        (0..self.pairs).map(move |pair| &self.values[pair * self.pixels + first..][..count])
    }
}

/// A flag for each map: true if it is among the `k` largest at some pixel.
fn union_of_image(maps: Maps<'_>, groups: Option<&[u32]>, k: usize) -> Vec<bool> {
    let (blocks, tasks) = (maps.pixels.div_ceil(PIXELS), parallel::threads());
    let task = |task: usize| {
        let mut kept = vec![false; maps.pairs];
        for block in (task..blocks).step_by(tasks) {
            let rows = maps.rows(block * PIXELS);
            match groups {
                None => keep_pairs(rows, k, &mut kept),
                Some(groups) => keep_best_of_groups(rows, groups, k, &mut kept),
            }
        }
        kept
    };
    let mut kept = vec![false; maps.pairs];
    for part in parallel::map(tasks, task) {
        kept.iter_mut().zip(part).for_each(|(kept, part)| *kept |= part);
    }
    kept
}

/// Flags the pairs that are among the `k` largest in a block of pixels, of which each pair has a row.
fn keep_pairs<'a>(rows: impl Iterator<Item = &'a [f32]> + Clone, k: usize, kept: &mut [bool]) {
    let kth = kth_largest(rows.clone(), k);
    for (row, kept) in rows.zip(kept) {
        let stays = |(value, kth): (&f32, &f32)| value >= kth || value.is_nan();
        *kept = *kept || row.iter().zip(&kth).any(stays);
    }
}

/// As [`keep_pairs`], of pairs that compete as groups: the best of each group that is among the `k` largest.
fn keep_best_of_groups<'a>(
    rows: impl Iterator<Item = &'a [f32]>,
    groups: &[u32],
    k: usize,
    kept: &mut [bool],
) {
    let mut best: Vec<([f32; PIXELS], [Option<u32>; PIXELS])> = Vec::new();
    let mut last = None;
    for (pair, (row, group)) in rows.zip(groups).enumerate() {
        if last != Some(group) {
            best.push(([f32::NEG_INFINITY; PIXELS], [None; PIXELS]));
            last = Some(group);
        }
        let Some((values, pairs)) = best.last_mut() else { continue };
        for ((&value, held), of) in row.iter().zip(values).zip(pairs) {
            if value.is_nan() {
                kept[pair] = true;
            } else if of.is_none() || value > *held {
                (*held, *of) = (value, Some(pair as u32));
            }
        }
    }
    let kth = kth_largest(best.iter().map(|(values, _)| values.as_slice()), k);
    for (values, pairs) in &best {
        for ((value, pair), kth) in values.iter().zip(pairs).zip(&kth) {
            if let Some(pair) = pair
                && value >= kth
            {
                kept[*pair as usize] = true;
            }
        }
    }
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

    /// Pairs `[pairs, pixels]` that are the best of their group at some pixel where fewer than `k` groups are
    /// better.
    fn naive(maps: &[f32], groups: &[u32], k: usize) -> Vec<usize> {
        let pixels = maps.len() / groups.len();
        let mut kept = vec![false; groups.len()];
        for pixel in 0..pixels {
            let value = |pair: usize| maps[pair * pixels + pixel];
            let mut best: Vec<usize> = Vec::new();
            for group in groups.chunk_by(|a, b| a == b) {
                let mut members: Vec<usize> =
                    (0..groups.len()).filter(|&pair| groups[pair] == group[0]).collect();
                // Stable: of equal values the lowest pair comes first.
                members.sort_by(|&a, &b| value(b).partial_cmp(&value(a)).unwrap());
                best.push(members[0]);
            }
            for &pair in &best {
                kept[pair] |= best.iter().filter(|&&other| value(other) > value(pair)).count() < k;
            }
        }
        (0..groups.len()).filter(|&pair| kept[pair]).collect()
    }

    proptest! {
        #[test]
        fn every_image_gets_its_own_union(
            seed in 0u64..1000,
            pixels in 1usize..150,
            images in prop::collection::vec((0usize..30, prop::option::of(1usize..12)), 1..5),
            joined in prop::option::of(prop::collection::vec(any::<bool>(), 30)),
            steps in prop::sample::select(vec![1e6f32, 4.0]),
        ) {
            let mut offsets = vec![0];
            for (pairs, _) in &images {
                offsets.push(offsets[offsets.len() - 1] + pairs);
            }
            let pairs = offsets[offsets.len() - 1];
            // Or few different values, so that there are ties.
            let value = |value: &f32| (value * steps).round() / steps;
            let maps: Vec<f32> = random(pairs * pixels, seed).iter().map(value).collect();
            let top_k: Vec<_> = images.iter().map(|(pairs, k)| k.unwrap_or(*pairs)).collect();
            // A pair is in the group of the one before where it is joined.
            let begins = |pair: usize| joined.as_ref().is_none_or(|joined| !joined[pair]);
            let next = |group: &mut u32, pair| {
                *group += u32::from(begins(pair));
                Some(*group)
            };
            let of_image = |pairs: usize| (0..pairs).scan(0, next);
            let groups: Vec<u32> = images.iter().flat_map(|(pairs, _)| of_image(*pairs)).collect();
            let logits = tensor(&maps, &[pairs, pixels]);
            let asked = joined.as_ref().map(|_| groups.as_slice());
            let got = crate::top_k_union(&logits, &offsets, &top_k, asked).unwrap();
            for (i, (count, k)) in images.into_iter().enumerate() {
                let maps = &maps[offsets[i] * pixels..offsets[i + 1] * pixels];
                let want = match k {
                    Some(k) if k < count => naive(maps, &groups[offsets[i]..offsets[i + 1]], k),
                    _ => (0..count).collect(),
                };
                let want: Vec<_> = want.into_iter().map(|pair| pair + offsets[i]).collect();
                prop_assert_eq!(&got[i], &want);
            }
            if joined.is_none() {
                let alone = crate::top_k_union(&logits, &offsets, &top_k, Some(&groups)).unwrap();
                prop_assert_eq!(got, alone, "groups of one pair each");
            }
        }
    }

    fn kept_of(values: [f32; 4], k: usize) -> Vec<usize> {
        top_k_union(&tensor(&values, &[4, 1]), &[0, 4], &[k], None).unwrap().remove(0)
    }

    #[test]
    fn what_is_no_number_is_kept() {
        let nan = f32::NAN;
        for values in [[3.0, 2.0, nan, 1.0], [3.0, 2.0, -nan, 1.0], [nan, 2.0, nan, nan]] {
            let kept = kept_of(values, 1);
            let wanted = |pair: &usize| values[*pair].is_nan();
            assert!((0..4).filter(wanted).all(|pair| kept.contains(&pair)), "{values:?}: {kept:?}");
            let maps = tensor(&values, &[4, 1]);
            let kept = top_k_union(&maps, &[0, 4], &[1], Some(&[0, 0, 1, 1])).unwrap().remove(0);
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
            assert_eq!(kept_of(values, k), wanted, "{values:?}");
        }
        // Nor the place of its group.
        let maps = tensor(&[3.0, nan, 1.0, 2.0], &[4, 1]);
        let kept = top_k_union(&maps, &[0, 4], &[2], Some(&[0, 0, 1, 1])).unwrap();
        assert_eq!(kept, [[0, 1, 3]]);
    }
}
