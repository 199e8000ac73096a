//! The image encoder: a ConvNeXt trunk whose four stages are all kept, and CLIP's visual head at every
//! position of the last (SED, CVPR 2024, section 3.2: hierarchical encoder).

use candle_core::Tensor;
use sed_kernels::submission::arena::{Side, Turns};
use sed_kernels::{
    Activation, ConvNextBlock, ConvNextWeights, LayerNorm, Linear, PatchConv, PatchConvWeights,
};

use crate::checkpoint::Weights;
use crate::config::{SedConfig, VisualHead};
use crate::error::{ModelError, Result};

/// Epsilon of every layer norm of the trunk.
pub(crate) const EPS: f64 = 1e-6;

/// Trunk and visual head with packed weights.
#[derive(Debug)]
pub struct Encoder {
    image_size: usize,
    stages: Vec<Stage>,
    head: Head,
}

/// Output of the encoder for `n` images of side S.
#[derive(Debug)]
pub struct EncodedImages {
    /// The stages' outputs, `[n, S/4, S/4, C0]` to `[n, S/32, S/32, C3]`.
    pub levels: Vec<Tensor>,
    /// CLIP's embedding of every position, `[n, S/32, S/32, D]`, not normalised.
    pub dense: Tensor,
}

#[derive(Debug)]
struct Stage {
    /// The stem in the first stage, downsampling by 2 in the others.
    entry: PatchConv,
    blocks: Vec<ConvNextBlock>,
}

#[derive(Debug)]
struct Head {
    norm: LayerNorm,
    /// A layer with GELU between norm and projection (SED-L).
    hidden: Option<Linear>,
    projection: Linear,
}

impl Encoder {
    /// Loads the trunk and head under `clip_model.visual`.
    ///
    /// # Errors
    /// When a tensor is missing or mis-shaped.
    pub fn load(weights: &Weights<'_>, config: &SedConfig) -> Result<Self> {
        let visual = weights.at("clip_model.visual");
        let trunk = visual.at("trunk");
        let dims = config.vision.dims;
        let mut stages = Vec::with_capacity(dims.len());
        for (index, (&dim, &depth)) in dims.iter().zip(&config.vision.depths).enumerate() {
            let stage = trunk.at(&format!("stages.{index}"));
            let entry = if index == 0 {
                let stem = trunk.at("stem");
                patch_conv(&stem.at("0"), (3, dim, 4), None, Some(&stem.at("1")))?
            } else {
                let norm = stage.at("downsample.0");
                patch_conv(&stage.at("downsample.1"), (dims[index - 1], dim, 2), Some(&norm), None)?
            };
            let blocks = (0..depth)
                .map(|b| load_block(&stage.at(&format!("blocks.{b}")), dim))
                .collect::<Result<_>>()?;
            stages.push(Stage { entry, blocks });
        }
        let norm = norm_tensors(&trunk.at("head.norm"), dims[3])?;
        let norm = LayerNorm::new(&norm.0, &norm.1, EPS)?;
        let head = Head::load(&visual.at("head"), norm, config)?;
        Ok(Self { image_size: config.image_size, stages, head })
    }

    /// Encodes normalised pixels `[n, S, S, 3]`. In an arena the results lie on the low side.
    ///
    /// # Errors
    /// When the pixels are not of the model's size, or a tensor operation fails.
    pub fn forward(&self, pixels: &Tensor) -> Result<EncodedImages> {
        let side = self.image_size;
        if pixels.dims().get(1..) != Some(&[side, side, 3]) {
            return Err(ModelError::input(format!(
                "images of shape {:?}; expected [n, {side}, {side}, 3]",
                pixels.dims()
            )));
        }
        let mut levels: Vec<Tensor> = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let mut turns = Turns::ending_on(Side::Low, 1 + stage.blocks.len());
            turns.begin();
            let mut x = stage.entry.forward(levels.last().unwrap_or(pixels))?;
            for block in &stage.blocks {
                turns.begin();
                x = block.forward(&x)?;
            }
            turns.end();
            levels.push(x);
        }
        let dense = self.head.forward(levels.last().unwrap_or(pixels))?;
        Ok(EncodedImages { levels, dense })
    }
}

impl Head {
    fn load(weights: &Weights<'_>, norm: LayerNorm, config: &SedConfig) -> Result<Self> {
        let (channels, depth) = (config.vision.dims[3], config.embed_dim);
        let (hidden, projection) = match config.vision.head {
            VisualHead::Linear => (None, weights.matrix("proj.weight", &[depth, channels])?),
            VisualHead::Mlp { hidden } => {
                let weight = weights.matrix("mlp.fc1.weight", &[hidden, channels])?;
                let bias = weights.tensor("mlp.fc1.bias", &[hidden])?;
                let layer = Linear::new(&weight, Some(&bias))?;
                (Some(layer), weights.matrix("mlp.fc2.weight", &[depth, hidden])?)
            }
        };
        Ok(Self { norm, hidden, projection: Linear::new(&projection, None)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.norm.forward(x)?;
        if let Some(hidden) = &self.hidden {
            x = hidden.forward(&x, Activation::Gelu)?;
        }
        Ok(self.projection.forward(&x, Activation::None)?)
    }
}

fn norm_tensors(weights: &Weights<'_>, channels: usize) -> Result<(Tensor, Tensor)> {
    Ok((weights.tensor("weight", &[channels])?, weights.tensor("bias", &[channels])?))
}

fn patch_conv(
    weights: &Weights<'_>,
    (inputs, outputs, size): (usize, usize, usize),
    before: Option<&Weights<'_>>,
    after: Option<&Weights<'_>>,
) -> Result<PatchConv> {
    let before = before.map(|norm| norm_tensors(norm, inputs)).transpose()?;
    let after = after.map(|norm| norm_tensors(norm, outputs)).transpose()?;
    let weight = weights.matrix("weight", &[outputs, inputs, size, size])?;
    let bias = weights.tensor("bias", &[outputs])?;
    let tensors = PatchConvWeights {
        weight: &weight,
        bias: &bias,
        norm_before: before.as_ref().map(|(weight, bias)| (weight, bias)),
        norm_after: after.as_ref().map(|(weight, bias)| (weight, bias)),
    };
    Ok(PatchConv::new(&tensors, EPS)?)
}

fn load_block(weights: &Weights<'_>, dim: usize) -> Result<ConvNextBlock> {
    let weights = ConvNextWeights {
        depthwise_weight: &weights.tensor("conv_dw.weight", &[dim, 1, 7, 7])?,
        depthwise_bias: &weights.tensor("conv_dw.bias", &[dim])?,
        norm_weight: &weights.tensor("norm.weight", &[dim])?,
        norm_bias: &weights.tensor("norm.bias", &[dim])?,
        expand_weight: &weights.matrix("mlp.fc1.weight", &[4 * dim, dim])?,
        expand_bias: &weights.tensor("mlp.fc1.bias", &[4 * dim])?,
        contract_weight: &weights.matrix("mlp.fc2.weight", &[dim, 4 * dim])?,
        contract_bias: &weights.tensor("mlp.fc2.bias", &[dim])?,
        layer_scale: &weights.tensor("gamma", &[dim])?,
    };
    Ok(ConvNextBlock::new(&weights, EPS)?)
}
