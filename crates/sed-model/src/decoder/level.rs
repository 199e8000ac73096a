//! One decoder level.

use candle_core::Tensor;
use sed_kernels::{
    ClassAttention, ClassAttentionWeights, ConvNextBlock, ConvNextWeights, DevicePairs, Fused, FusionOutputs,
    SkipFusion, SkipFusionWeights,
};

use crate::checkpoint::Weights;
use crate::config::{PROMPTS, SedConfig};
use crate::error::Result;
use crate::level::Level;

/// Epsilon of the class attention's layer norms.
const ATTENTION_EPS: f64 = 1e-5;
/// Epsilon of the group norms.
const GROUP_EPS: f64 = 1e-5;
/// Channels of a group of the group norms.
const GROUP_CHANNELS: usize = 16;
/// The heads behind the three levels: two that reject, one that gives the result.
const HEADS: [&str; Level::COUNT] = ["head1", "head2", "head"];

/// Feature aggregation (a large-kernel ConvNeXt block over positions, attention over categories) and
/// skip-layer fusion.
#[derive(Debug)]
pub struct DecoderLevel {
    spatial: ConvNextBlock,
    categories: ClassAttention,
    fusion: SkipFusion,
}

impl DecoderLevel {
    /// Loads a level.
    pub(super) fn load(weights: &Weights<'_>, config: &SedConfig, level: Level) -> Result<Self> {
        let root = weights.at("transformer");
        let own = root.at(&format!("decoder{level}"));
        let channels = config.decoder.level_inputs()[level.index()];
        Ok(Self {
            spatial: load_spatial(&own.at("cnext"), channels, config.decoder.kernel_size)?,
            categories: load_attention(&own.at("attention"), channels, config.decoder.attention_heads)?,
            fusion: load_fusion(&root, &own, config, level)?,
        })
    }

    pub(crate) fn fusion(&self) -> &SkipFusion {
        &self.fusion
    }

    pub(crate) fn attention(&self) -> &ClassAttention {
        &self.categories
    }

    /// Aggregation over positions: `x [pairs, h, w, C]` to the same shape.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn aggregate_positions(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.spatial.forward(x)?)
    }

    /// Aggregation over the categories of each image: `x [pairs, h, w, C]` to the same shape; `offsets`
    /// says which pairs belong to which image.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn aggregate_categories(&self, x: &Tensor, offsets: &[usize]) -> Result<Tensor> {
        Ok(self.categories.forward(x, offsets)?)
    }

    /// Skip-layer fusion to twice the size: see [`SkipFusion::forward`].
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn fuse(
        &self,
        x: &Tensor,
        cost: &Tensor,
        guides: &[&Tensor],
        image_of_pair: &[usize],
        outputs: FusionOutputs,
    ) -> Result<Fused> {
        Ok(self.fusion.forward(x, cost, guides, image_of_pair, outputs)?)
    }

    /// The whole level for pairs that the device counts: `x [capacity, h, w, C]`, `cost [capacity, h, w, P]` and the
    /// images' `guide [images, 2h, 2w, O]`.
    pub(crate) fn forward_pairs(
        &self,
        x: &Tensor,
        cost: &Tensor,
        guide: &Tensor,
        pairs: &DevicePairs,
        outputs: FusionOutputs,
    ) -> Result<Fused> {
        let spatial = self.spatial.forward_pairs(x, pairs)?;
        let aggregated = self.categories.forward_pairs(&spatial, pairs)?;
        Ok(self.fusion.forward_pairs(&aggregated, cost, guide, pairs, outputs)?)
    }

    /// The whole level. `x` is given away, so that its memory is free as soon as it has been read.
    pub(super) fn forward(
        &self,
        x: Tensor,
        cost: &Tensor,
        guides: &[&Tensor],
        (offsets, image_of_pair): (&[usize], &[usize]),
        outputs: FusionOutputs,
    ) -> Result<Fused> {
        let spatial = self.aggregate_positions(&x)?;
        drop(x);
        let aggregated = self.aggregate_categories(&spatial, offsets)?;
        drop(spatial);
        self.fuse(&aggregated, cost, guides, image_of_pair, outputs)
    }
}

fn load_spatial(weights: &Weights<'_>, channels: usize, kernel: usize) -> Result<ConvNextBlock> {
    let tensors = ConvNextWeights {
        depthwise_weight: &weights.tensor("dwconv.weight", &[channels, 1, kernel, kernel])?,
        depthwise_bias: &weights.tensor("dwconv.bias", &[channels])?,
        norm_weight: &weights.tensor("norm.weight", &[channels])?,
        norm_bias: &weights.tensor("norm.bias", &[channels])?,
        expand_weight: &weights.matrix("pwconv1.weight", &[4 * channels, channels])?,
        expand_bias: &weights.tensor("pwconv1.bias", &[4 * channels])?,
        contract_weight: &weights.matrix("pwconv2.weight", &[channels, 4 * channels])?,
        contract_bias: &weights.tensor("pwconv2.bias", &[channels])?,
        layer_scale: &weights.tensor("gamma", &[channels])?,
    };
    Ok(ConvNextBlock::new(&tensors, crate::encoder::EPS)?)
}

fn load_attention(weights: &Weights<'_>, channels: usize, heads: usize) -> Result<ClassAttention> {
    let pair = |name: &str, inputs: Option<usize>, outputs: usize| -> Result<(Tensor, Tensor)> {
        let weights = weights.at(name);
        let shape: Vec<usize> = std::iter::once(outputs).chain(inputs).collect();
        let weight = if inputs.is_some() {
            weights.matrix("weight", &shape)
        } else {
            weights.tensor("weight", &shape)
        };
        Ok((weight?, weights.tensor("bias", &[outputs])?))
    };
    let norm1 = pair("norm1", None, channels)?;
    let query = pair("attention.q", Some(channels), channels)?;
    let key = pair("attention.k", Some(channels), channels)?;
    let value = pair("attention.v", Some(channels), channels)?;
    let norm2 = pair("norm2", None, channels)?;
    let expand = pair("MLP.0", Some(channels), 4 * channels)?;
    let contract = pair("MLP.2", Some(4 * channels), channels)?;
    let tensors = ClassAttentionWeights {
        norm1: (&norm1.0, &norm1.1),
        query: (&query.0, &query.1),
        key: (&key.0, &key.1),
        value: (&value.0, &value.1),
        norm2: (&norm2.0, &norm2.1),
        expand: (&expand.0, &expand.1),
        contract: (&contract.0, &contract.1),
    };
    Ok(ClassAttention::new(&tensors, heads, ATTENTION_EPS)?)
}

fn load_fusion(
    root: &Weights<'_>,
    own: &Weights<'_>,
    config: &SedConfig,
    level: Level,
) -> Result<SkipFusion> {
    let (decoder, index) = (&config.decoder, level.index());
    let (channels, outputs) = (decoder.level_inputs()[index], decoder.dims[index]);
    let (guidance, cost) = (decoder.guidance_dims[index], decoder.corr_guidance_dims[index]);
    let below = if index == 0 { PROMPTS } else { decoder.corr_guidance_dims[index - 1] };
    let up = channels - guidance;
    let cost_weights = root.at(&format!("decoder_corr_guidance_projection.{index}.0"));
    let conv = own.at("conv.double_conv");
    let head = root.at(HEADS[index]);
    let tensors = SkipFusionWeights {
        up: (&own.tensor("up.weight", &[channels, up, 2, 2])?, &own.tensor("up.bias", &[up])?),
        cost: (&cost_weights.tensor("weight", &[below, cost, 2, 2])?, &cost_weights.tensor("bias", &[cost])?),
        conv0: &conv.matrix("0.weight", &[outputs, channels + cost, 3, 3])?,
        norm0: (&conv.tensor("1.weight", &[outputs])?, &conv.tensor("1.bias", &[outputs])?),
        conv1: &conv.tensor("3.weight", &[outputs, outputs, 3, 3])?,
        norm1: (&conv.tensor("4.weight", &[outputs])?, &conv.tensor("4.bias", &[outputs])?),
        head: (&head.tensor("weight", &[1, outputs, 3, 3])?, &head.tensor("bias", &[1])?),
    };
    Ok(SkipFusion::new(&tensors, outputs / GROUP_CHANNELS, GROUP_EPS)?)
}
