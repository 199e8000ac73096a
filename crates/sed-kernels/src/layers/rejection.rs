//! Category early rejection: which categories are among the `k` best at some pixel.

use candle_core::{Result, Tensor, bail};

use super::wing::{Wing, in_wing_of};
use crate::specs::{DevicePairs, RejectionRule};

/// For every image, the pairs that are among its `top_k` best at one of its pixels, rising.
///
/// `logits [pairs, ..]` holds one map per pair; `offsets` (one more than there are images) says which pairs
/// belong to which image. A `top_k` that is not smaller than the image's number of pairs keeps them all; it
/// is at least 1 where there are any. Pairs that tie with the k-th best are kept (the reference leaves ties
/// undefined), so the result does not depend on the order of the categories. A pair with a NaN is always
/// kept, so that the fault is seen at the end.
///
/// `groups` (a number for each pair, rising within an image) joins pairs that compete as one: at every pixel
/// a group has the value of its best pair, the lowest where several are equal, and only that pair can be
/// kept; `top_k` counts groups.
pub fn top_k_union(
    logits: &Tensor,
    offsets: &[usize],
    top_k: &[usize],
    groups: Option<&[u32]>,
) -> Result<Vec<Vec<usize>>> {
    let pairs = logits.dim(0)?;
    let ordered = offsets.windows(2).all(|w| w[0] <= w[1]);
    if offsets.len() != top_k.len() + 1
        || offsets.first() != Some(&0)
        || offsets.last() != Some(&pairs)
        || !ordered
    {
        bail!("top-k union: offsets {offsets:?} do not cut {pairs} pairs into {} images", top_k.len());
    }
    if let Some(image) =
        (0..top_k.len()).find(|&image| top_k[image] == 0 && offsets[image] < offsets[image + 1])
    {
        bail!("top-k union: image {image} would keep none of its pairs");
    }
    let Some(groups) = groups else {
        return in_wing_of!(logits.device(), top_k_union(logits, offsets, top_k, None));
    };
    if groups.len() != pairs {
        bail!("top-k union: {} group numbers for {pairs} pairs", groups.len());
    }
    let mut most = Vec::with_capacity(top_k.len());
    for (image, &top_k) in top_k.iter().enumerate() {
        let groups = &groups[offsets[image]..offsets[image + 1]];
        if !groups.is_sorted() {
            bail!("top-k union: the group numbers of image {image} do not rise; sort its pairs by group");
        }
        let count = groups.chunk_by(|a, b| a == b).count();
        most.push(if top_k < groups.len() { top_k.min(count) } else { top_k });
    }
    in_wing_of!(logits.device(), top_k_union(logits, offsets, &most, Some(groups)))
}

/// Rejects on a device, as [`top_k_union`] does, without waiting for it: of the pairs `before`, by their `logits
/// [before's capacity, h, w]`, those of each image that are among its best at one of the positions go on. Writes the
/// tables `after`, and returns the row of `before` for each pair that stays, `[after's capacity]` (u32); 0 in rows that
/// do not count. Pairs beyond the capacity are left out, and `after.wanted` is larger than it.
///
/// With groups, a group is the best of those of its pairs that are left; an image of no more groups than its `top_k`
/// keeps the pairs that are their group's best at some position.
///
/// # Errors
/// When the tensors are on the CPU, or the tables, the rule and the logits do not go together.
pub fn reject(
    logits: &Tensor,
    before: &DevicePairs,
    rule: &RejectionRule,
    after: &DevicePairs,
) -> Result<Tensor> {
    before.check(logits)?;
    rule.check(before.image_count())?;
    if after.image_count() != before.image_count() {
        bail!("reject: {} images before and {} after", before.image_count(), after.image_count());
    }
    match Wing::of(logits.device()) {
        Wing::Cuda(()) => crate::cuda::reject(logits, before, rule, after),
        Wing::Cpu(()) => bail!("reject: pairs on the device, but the tensors are on the CPU"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tensor;

    #[test]
    fn ties_are_kept_and_bad_offsets_refused() {
        let maps = tensor(&[1.0, 1.0, 0.5], &[3, 1]);
        assert_eq!(top_k_union(&maps, &[0, 3], &[1], None).unwrap(), [[0, 1]]);
        assert!(top_k_union(&maps, &[0, 2], &[2], None).is_err());
        assert!(top_k_union(&maps, &[0, 3], &[0], None).is_err());
        assert!(top_k_union(&maps, &[0, 3], &[], None).is_err());
    }

    #[test]
    fn of_a_group_only_the_best_is_kept() {
        let maps = tensor(&[1.0, 1.0, 0.5, 0.2], &[4, 1]);
        let kept = |groups: &[u32], k| top_k_union(&maps, &[0, 4], &[k], Some(groups));
        assert_eq!(kept(&[0, 0, 1, 1], 1).unwrap(), [[0]]);
        assert_eq!(kept(&[0, 0, 1, 1], 3).unwrap(), [[0, 2]]);
        assert_eq!(kept(&[0, 0, 1, 1], 4).unwrap(), [[0, 1, 2, 3]]);
        assert_eq!(kept(&[0, 1, 2, 3], 1).unwrap(), [[0, 1]]);
        assert!(kept(&[0, 0, 1], 1).is_err());
        assert!(kept(&[1, 1, 0, 0], 1).is_err());
    }
}
