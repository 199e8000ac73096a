//! Category early rejection: which categories are among the `k` best at some pixel.

use candle_core::{Result, Tensor, bail};

use super::wing::in_wing_of;

/// For every image, the pairs that are among its `top_k` best at one of its pixels, rising.
///
/// `logits [pairs, ..]` holds one map per pair; `offsets` (one more than there are images) says which pairs
/// belong to which image. A `top_k` that is not smaller than the image's number of pairs keeps them all; it
/// is at least 1 where there are any. Pairs that tie with the k-th best are kept (the reference leaves ties
/// undefined), so the result does not depend on the order of the categories. A pair with a NaN is always
/// kept, so that the fault is seen at the end.
pub fn top_k_union(logits: &Tensor, offsets: &[usize], top_k: &[usize]) -> Result<Vec<Vec<usize>>> {
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
    in_wing_of!(logits.device(), top_k_union(logits, offsets, top_k))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tensor;

    #[test]
    fn ties_are_kept_and_bad_offsets_refused() {
        let maps = tensor(&[1.0, 1.0, 0.5], &[3, 1]);
        assert_eq!(top_k_union(&maps, &[0, 3], &[1]).unwrap(), [[0, 1]]);
        assert!(top_k_union(&maps, &[0, 2], &[2]).is_err());
        assert!(top_k_union(&maps, &[0, 3], &[0]).is_err());
        assert!(top_k_union(&maps, &[0, 3], &[]).is_err());
    }
}
