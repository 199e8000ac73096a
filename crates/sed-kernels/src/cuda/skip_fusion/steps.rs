//! The launches of a fusion: with kernels on tensor cores for the shapes that those are made for, and with kernels for any
//! shape.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::super::convolve::{Bias, Convolve, Taps, taps};
use super::super::convolve_tile::{GROUP, THREADS, TileConvolve};
use super::super::group_norm::GroupNorm;
use super::super::launch::Launch;
use super::super::linear::vector;
use super::super::memory::Output;
use super::super::scalar_conv::ScalarConv;
use super::super::tile_taps::{Tile, TileTaps};
use crate::specs::{Activation, Folded, Fused, FusionOutputs, ScalarTaps, SkipFusionWeights, on_host};

/// Outputs of a head's product, of which one is needed.
const HEAD_OUTPUTS: usize = 8;

/// The inputs of a fusion, contiguous and in one dtype.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs<'a> {
    /// `[n, h, w, C]`
    pub(super) x: &'a Tensor,
    /// `[n, h, w, P]`
    pub(super) cost: &'a Tensor,
    /// `[images, 2h, 2w, O]`, and the image of every pair, `[n]`.
    pub(super) guide: (&'a Tensor, &'a Tensor),
    /// `[1]`: pairs that count.
    pub(super) live: Option<&'a Tensor>,
}

/// The convolutions with what follows them.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    cost_bias: Tensor,
    norm0: GroupNorm,
    norm1: GroupNorm,
    kernels: Kernels,
}

#[derive(Debug, Clone)]
enum Kernels {
    Any(Any),
    Tiles(Box<Tiles>),
}

/// Convolutions of any shape. `phases`: upsampling folded into conv0, by output phase, `[(2, 2, 2, 2, C), O]`; `cost`:
/// cost-map guidance, by output phase, `[(2, 2, P), G]`; `conv0_cost`: conv0's part that sees that guidance.
#[derive(Debug, Clone)]
struct Any {
    phases: Taps,
    cost: Taps,
    conv0_cost: Taps,
    conv1: Taps,
    head: ScalarConv,
}

/// The same on tensor cores.
#[derive(Debug, Clone)]
struct Tiles {
    phases: TileTaps,
    cost: TileTaps,
    conv0_cost: TileTaps,
    conv1: TileTaps,
    head: TileTaps,
    head_bias: Tensor,
}

/// The instances of the kernels on tensor cores.
#[derive(Debug, Clone, Copy)]
struct Instances {
    cost: Tile,
    phases: Tile,
    conv1: Tile,
    head: Tile,
}

impl Instances {
    /// Those for a layer, if there are all.
    fn of(folded: &Folded, dtype: DType, group: usize) -> Option<Self> {
        let Folded { channels, below, guidance, outputs, .. } = *folded;
        if group != GROUP {
            return None;
        }
        Some(Self {
            cost: Tile::transposed(dtype, below, guidance)?,
            phases: Tile::folded(dtype, channels, guidance, outputs)?,
            conv1: Tile::normed(dtype, outputs)?,
            head: Tile::head(dtype, outputs)?,
        })
    }
}

impl Steps {
    pub(super) fn new(
        weights: &SkipFusionWeights<'_>,
        folded: &Folded,
        groups: usize,
        eps: f64,
    ) -> Result<Self> {
        let &Folded { channels, below, guidance, outputs, .. } = folded;
        let (device, dtype) = (weights.conv0.device(), weights.conv0.dtype());
        let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(device);
        let phases = to(&Tensor::from_vec(folded.phases.concat(), (16 * channels, outputs), &Device::Cpu)?)?;
        let cost = on_host(weights.cost.0)?.permute((2, 3, 0, 1))?.contiguous()?;
        let cost = to(&cost.reshape((4 * below, guidance))?)?;
        let conv0_cost = to(&taps(&folded.conv0.narrow(1, folded.image.end, guidance)?)?)?;
        let conv1 = to(&taps(&on_host(weights.conv1)?)?)?;
        let norm0 = GroupNorm::new(weights.norm0.0, weights.norm0.1, groups, eps)?;
        let norm1 = GroupNorm::new(weights.norm1.0, weights.norm1.1, groups, eps)?;
        let kernels = match Instances::of(folded, dtype, norm0.group()) {
            Some(instances) => Kernels::Tiles(Box::new(Tiles {
                phases: TileTaps::new(&phases, (4, 2), instances.phases, channels)?,
                cost: TileTaps::new(&cost, (4, 1), instances.cost, below)?,
                conv0_cost: TileTaps::new(&conv0_cost, (1, 3), instances.phases, guidance)?,
                conv1: TileTaps::new(&conv1, (1, 3), instances.conv1, outputs)?,
                head: TileTaps::new(
                    &head_columns(weights.head.0, dtype, device)?,
                    (1, 3),
                    instances.head,
                    outputs,
                )?,
                head_bias: vector(weights.head.1)?,
            })),
            None => Kernels::Any(Any {
                phases: Taps::new(&phases)?,
                cost: Taps::new(&cost)?,
                conv0_cost: Taps::new(&conv0_cost)?,
                conv1: Taps::new(&conv1)?,
                head: ScalarConv::of(ScalarTaps::plain(weights.head.0, weights.head.1)?)?,
            }),
        };
        Ok(Self { cost_bias: vector(weights.cost.1)?, norm0, norm1, kernels })
    }

    pub(super) fn run(&self, inputs: &Inputs<'_>, outputs: FusionOutputs) -> Result<Fused> {
        match &self.kernels {
            Kernels::Any(kernels) => self.run_any(kernels, inputs, outputs),
            Kernels::Tiles(kernels) => self.run_tiles(kernels, inputs, outputs),
        }
    }

    fn run_any(&self, kernels: &Any, inputs: &Inputs<'_>, outputs: FusionOutputs) -> Result<Fused> {
        let &Inputs { x, cost, guide, live } = inputs;
        let cost_guidance = Convolve {
            step: 2,
            bias: Some(Bias::plain(&self.cost_bias)),
            live,
            activation: Activation::Relu,
            ..Convolve::new(cost, &kernels.cost, 1)
        };
        let cost_guidance = cost_guidance.run()?;
        let first = Convolve {
            step: 2,
            second: Some((&cost_guidance, &kernels.conv0_cost, 3)),
            guide: Some(guide),
            live,
            ..Convolve::new(x, &kernels.phases, 2)
        };
        let first = self.norm0.forward_relu(&first.run()?, live)?;
        let second = Convolve { live, ..Convolve::new(&first, &kernels.conv1, 3) }.run()?;
        let second = self.norm1.forward_relu(&second, live)?;
        let logits = outputs.logits.then(|| kernels.head.forward(&second)).transpose()?;
        Ok(Fused {
            features: outputs.features.then_some(second),
            cost_guidance: outputs.features.then_some(cost_guidance),
            logits,
        })
    }

    fn run_tiles(&self, kernels: &Tiles, inputs: &Inputs<'_>, outputs: FusionOutputs) -> Result<Fused> {
        let &Inputs { x, cost, guide, live } = inputs;
        let cost_guidance = TileConvolve {
            step: 2,
            bias: Some(Bias::plain(&self.cost_bias)),
            live,
            relu: true,
            ..TileConvolve::new(cost, &kernels.cost)
        };
        let cost_guidance = cost_guidance.run()?;
        let first = TileConvolve {
            step: 2,
            second: Some((&cost_guidance, &kernels.conv0_cost)),
            guide: Some(guide),
            live,
            ..TileConvolve::new(x, &kernels.phases)
        };
        let (first, moments) = first.run_with_moments()?;
        let affine = self.norm0.join(&moments, live)?;
        let second =
            TileConvolve { affine: Some(&affine), live, ..TileConvolve::new(&first, &kernels.conv1) };
        let (second, moments) = second.run_with_moments()?;
        drop(first);
        let affine = self.norm1.join(&moments, live)?;
        let (features, logits) = kernels.finish(&second, &affine, live, outputs)?;
        Ok(Fused { features, cost_guidance: outputs.features.then_some(cost_guidance), logits })
    }
}

impl Tiles {
    /// Features `max(norm(x), 0)` and the head's logits, those that are wanted.
    fn finish(
        &self,
        x: &Tensor,
        affine: &Tensor,
        live: Option<&Tensor>,
        outputs: FusionOutputs,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (n, height, width, _) = x.dims4()?;
        let (tile, device) = (self.head.tile, x.device());
        let mut features = outputs.features.then(|| Output::like(x)).transpose()?;
        let mut logits =
            outputs.logits.then(|| Output::new(device, DType::F32, (n, height, width))).transpose()?;
        if features.is_none() && logits.is_none() {
            bail!("skip fusion: neither features nor logits are wanted");
        }
        let launch = Launch::new(tile.kernel, x.dtype(), [tile.count(height, width), 1, n], THREADS)?
            .shared(tile.shared_bytes(2))
            .input(x)?
            .input(&self.head.stream)?
            .input(&self.head_bias)?
            .input(affine)?
            .optional(live)?;
        let launch = match &mut features {
            Some(features) => launch.output(features)?,
            None => launch.optional(None)?,
        };
        let launch = match &mut logits {
            Some(logits) => launch.output(logits)?,
            None => launch.optional(None)?,
        };
        launch.i32(height)?.i32(width)?.run(device)?;
        Ok((features.map(Output::into_tensor), logits.map(Output::into_tensor)))
    }
}

/// A head's `weight [1, O, 3, 3]` as `[(3, 3, O), 8]`: rounded, what the rounding left, and zeros. The product is as exact
/// as with weights of f32.
fn head_columns(weight: &Tensor, dtype: DType, device: &Device) -> Result<Tensor> {
    let weight = taps(&on_host(weight)?)?;
    let high = weight.to_dtype(dtype)?.to_dtype(DType::F32)?;
    let rest = (&weight - &high)?;
    let zeros = Tensor::zeros((weight.dim(0)?, HEAD_OUTPUTS - 2), DType::F32, &Device::Cpu)?;
    Tensor::cat(&[&high, &rest, &zeros], 1)?.to_dtype(dtype)?.to_device(device)
}
