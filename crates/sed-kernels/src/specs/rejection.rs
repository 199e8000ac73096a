//! The rule of a rejection on a device.

use candle_core::{DType, Result, Tensor, bail};

/// The rejection before a decoder level, image by image, as a device knows it. All tensors are u32.
#[derive(Debug, Clone)]
pub struct RejectionRule {
    /// `[images]`: the number of an image's groups, or of its pairs where there are no groups, that stay at one
    /// position; 0 keeps all pairs.
    pub top_k: Tensor,
    /// `[sum of the vocabularies]`: the group of each entry of the images' vocabularies; entries of a group follow
    /// each other. `None` where every pair competes by itself.
    pub groups: Option<Tensor>,
    /// `[images + 1]`: the index in `groups` at which the vocabulary of each image begins.
    pub starts: Tensor,
}

impl RejectionRule {
    /// Checks that the rule is one for a number of images.
    pub(crate) fn check(&self, images: usize) -> Result<()> {
        let of_u32 = |x: &Tensor| x.dtype() == DType::U32;
        if self.top_k.dims() != [images]
            || self.starts.dims() != [images + 1]
            || !(of_u32(&self.top_k) && of_u32(&self.starts) && self.groups.as_ref().is_none_or(of_u32))
        {
            bail!("rejection: top_k {:?} for {images} images", self.top_k.shape());
        }
        Ok(())
    }
}
