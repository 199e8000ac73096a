//! From score maps to the category of every output pixel.

use candle_core::{Result, Tensor, bail};

use super::wing::in_wing_of;
use crate::specs::{ArgmaxMap, ArgmaxSpec, ScoredMap, UNLABELLED};

/// Returns the scores of `logits [n, h, w]`, the best of them at every pixel as by [`upsample_argmax`], and a
/// count of the logits that are not finite. On a GPU the count comes with the results, without a wait of its
/// own.
pub fn score_and_upsample(logits: &Tensor, spec: &ArgmaxSpec) -> Result<ScoredMap> {
    let used = checked_crop(logits, spec)?;
    in_wing_of!(logits.device(), score_and_upsample(logits, spec, used))
}

/// Interpolates `scores [n, h, w]` (0 to 1) bilinearly to the output size (torch's
/// `align_corners=False`, no antialiasing) and takes the best of the `n` at every pixel.
pub fn upsample_argmax(scores: &Tensor, spec: &ArgmaxSpec) -> Result<ArgmaxMap> {
    let used = checked_crop(scores, spec)?;
    in_wing_of!(scores.device(), upsample_argmax(scores, spec, used))
}

/// Returns the columns and rows of the maps `[n, h, w]` that count, `(width, height)`.
fn checked_crop(maps: &Tensor, spec: &ArgmaxSpec) -> Result<(usize, usize)> {
    let (n, rows, columns) = maps.dims3()?;
    let (wide, high) = spec.crop.unwrap_or((columns, rows));
    if n >= usize::from(UNLABELLED) || high == 0 || wide == 0 || high > rows || wide > columns {
        bail!("upsample argmax: cannot crop {:?} to width {wide} and height {high}", maps.shape());
    }
    Ok((wide, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tensor;

    #[test]
    fn a_crop_beyond_the_maps_is_refused() {
        let scores = tensor(&[0.5; 16], &[1, 4, 4]);
        let spec = ArgmaxSpec { width: 2, height: 2, crop: Some((4, 5)), threshold: 0.0 };
        assert!(upsample_argmax(&scores, &spec).is_err());
    }
}
