//! From score maps to the category of every output pixel.

use candle_core::{Result, Tensor};

use super::wing::in_wing_of;
use crate::specs::{ArgmaxMap, ArgmaxSpec, ScoredMap};

/// Returns the scores of `logits [n, h, w]`, the best of them at every pixel as by [`upsample_argmax`], and a
/// count of the logits that are not finite. On a GPU the count comes with the results, without a wait of its
/// own.
pub fn score_and_upsample(logits: &Tensor, spec: &ArgmaxSpec<'_>) -> Result<ScoredMap> {
    let used = spec.used(logits)?;
    in_wing_of!(logits.device(), score_and_upsample(logits, spec, used))
}

/// Interpolates `scores [n, h, w]` (0 to 1) bilinearly to the output size (torch's
/// `align_corners=False`, no antialiasing) and takes the best of the `n` at every pixel, and the second best
/// of another label where [`ArgmaxSpec::sureness`] asks for it.
pub fn upsample_argmax(scores: &Tensor, spec: &ArgmaxSpec<'_>) -> Result<ArgmaxMap> {
    let used = spec.used(scores)?;
    in_wing_of!(scores.device(), upsample_argmax(scores, spec, used))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tensor;

    #[test]
    fn specs_that_do_not_fit_the_maps_are_refused() {
        let scores = tensor(&[0.5; 32], &[2, 4, 4]);
        let spec = ArgmaxSpec {
            width: 2,
            height: 2,
            crop: None,
            labels: &[0, 0],
            thresholds: &[0.0, 0.0],
            sureness: true,
        };
        assert!(upsample_argmax(&scores, &spec).is_ok());
        for spec in [
            ArgmaxSpec { crop: Some((4, 5)), ..spec },
            ArgmaxSpec { crop: Some((0, 4)), ..spec },
            ArgmaxSpec { labels: &[0], ..spec },
            ArgmaxSpec { labels: &[1, 0], ..spec },
            ArgmaxSpec { thresholds: &[0.0; 3], ..spec },
        ] {
            assert!(upsample_argmax(&scores, &spec).is_err(), "{spec:?}");
        }
    }
}
