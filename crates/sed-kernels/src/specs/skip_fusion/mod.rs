//! Weights, results and checks of skip-layer fusion.

mod fold;

use candle_core::{Result, Tensor, bail};

pub(crate) use fold::Folded;

/// The tensors of the layer in torch's layouts. C: channels in, U: upsampled, O: channels out, I: image
/// guidance, G: cost-map guidance, P: cost-map guidance one level below.
#[derive(Debug, Clone, Copy)]
pub struct SkipFusionWeights<'a> {
    /// Transposed convolution `[C, U, 2, 2]`, `[U]`.
    pub up: (&'a Tensor, &'a Tensor),
    /// Transposed convolution of the cost-map guidance `[P, G, 2, 2]`, `[G]`; a ReLU follows.
    pub cost: (&'a Tensor, &'a Tensor),
    /// `[O, U + I + G, 3, 3]`: upsampled, image guidance, cost-map guidance.
    pub conv0: &'a Tensor,
    /// `[O]`, `[O]`
    pub norm0: (&'a Tensor, &'a Tensor),
    /// `[O, O, 3, 3]`
    pub conv1: &'a Tensor,
    /// `[O]`, `[O]`
    pub norm1: (&'a Tensor, &'a Tensor),
    /// `[1, O, 3, 3]`, `[1]`
    pub head: (&'a Tensor, &'a Tensor),
}

/// The results that [`SkipFusion::forward`](crate::SkipFusion::forward) returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FusionOutputs {
    /// The level's features and cost-map guidance, which the next level needs.
    pub features: bool,
    /// The head's logits.
    pub logits: bool,
}

/// The result of a level for `n` pairs at twice the input's height and width.
#[derive(Debug, Clone)]
pub struct Fused {
    /// `[n, 2h, 2w, O]`
    pub features: Option<Tensor>,
    /// `[n, 2h, 2w, G]`
    pub cost_guidance: Option<Tensor>,
    /// `[n, 2h, 2w]`
    pub logits: Option<Tensor>,
}

/// Fails unless the inputs of [`SkipFusion::forward`](crate::SkipFusion::forward) fit each other and the
/// weights' C, P and O.
pub(crate) fn check_fusion(
    (x, cost): (&Tensor, &Tensor),
    guides: &[&Tensor],
    image_of_pair: &[usize],
    [channels, below, out]: [usize; 3],
) -> Result<()> {
    let (n, height, width, found) = x.dims4()?;
    let (high, wide) = (2 * height, 2 * width);
    if found != channels || cost.dims() != [n, height, width, below] {
        bail!("skip fusion: {:?} and {:?} do not fit the weights", x.shape(), cost.shape());
    }
    if image_of_pair.len() != n || image_of_pair.iter().any(|&image| image >= guides.len()) {
        bail!("skip fusion: every one of the {n} pairs needs an image");
    }
    if let Some(guide) = guides.iter().find(|g| g.elem_count() != high * wide * out) {
        bail!("skip fusion: guide {:?} is not [1, {high}, {wide}, {out}]", guide.shape());
    }
    Ok(())
}
