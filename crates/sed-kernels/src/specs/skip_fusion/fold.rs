//! Folding the transposed convolution into the 3×3 convolution behind it.

use std::ops::Range;

use candle_core::{Result, Tensor, bail};

use super::SkipFusionWeights;
use crate::specs::host::{host_values, on_host};

/// Channel counts of the two weights.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Input channels of the transposed convolution.
    channels: usize,
    /// Its output channels, the first input channels of the 3×3 convolution.
    up: usize,
    /// All input channels of the 3×3 convolution.
    inputs: usize,
    /// Its output channels.
    outputs: usize,
}

/// The first convolution with the transposed one folded into it, on the host in f32, and the layer's channels
/// by the letters of [`SkipFusionWeights`].
#[derive(Debug)]
pub(crate) struct Folded {
    /// C.
    pub(crate) channels: usize,
    /// P.
    pub(crate) below: usize,
    /// G.
    pub(crate) guidance: usize,
    /// O.
    pub(crate) outputs: usize,
    /// The input channels of `conv0` that are image guidance, behind which the cost-map guidance follows.
    pub(crate) image: Range<usize>,
    /// `[O, U + I + G, 3, 3]`
    pub(crate) conv0: Tensor,
    /// By output phase (0,0), (0,1), (1,0), (1,1): `[(2, 2, C), O]`.
    pub(crate) phases: [Vec<f32>; 4],
    /// conv0 seen through the bias of the transposed convolution, by tap: `[9][O]`.
    pub(crate) bias_taps: Vec<f32>,
}

impl Folded {
    /// Checks and folds the weights.
    pub(crate) fn new(weights: &SkipFusionWeights<'_>) -> Result<Self> {
        let (channels, up, _, _) = weights.up.0.dims4()?;
        let (below, guidance, _, _) = weights.cost.0.dims4()?;
        let (outputs, inputs, size, _) = weights.conv0.dims4()?;
        if size != 3 || inputs <= up + guidance {
            bail!(
                "skip fusion: conv0 {:?} does not fit {up} upsampled channels and {guidance} of guidance",
                weights.conv0.shape()
            );
        }
        if weights.conv1.dims4()? != (outputs, outputs, 3, 3) {
            bail!("skip fusion: conv1 {:?} does not fit {outputs} channels", weights.conv1.shape());
        }
        let shape = Shape { channels, up, inputs, outputs };
        let conv0 = on_host(weights.conv0)?;
        let (values, up_weight) = (host_values(&conv0)?, host_values(weights.up.0)?);
        Ok(Self {
            channels,
            below,
            guidance,
            outputs,
            image: up..inputs - guidance,
            phases: std::array::from_fn(|p| phase(&values, &up_weight, shape, (p / 2, p % 2))),
            bias_taps: bias_taps(&values, &host_values(weights.up.1)?, shape),
            conv0,
        })
    }
}

/// The 2×2 convolution of the low-resolution map that gives output pixels `(2y + py, 2x + px)`.
///
/// Tap `t` of the 3×3 kernel (0, 1, 2 for offsets -1, 0, 1) reads upsampled row `2y + py + t - 1`: the
/// low-resolution row `y + (py + t - 1).div_euclid(2)`, which is row `(py + t - 1).div_euclid(2) + 1 - py`
/// of the 2×2 window that starts at `y - 1 + py`, through row `(py + t - 1).rem_euclid(2)` of the
/// transposed kernel. Gives `[(2, 2, channels), outputs]`.
fn phase(conv0: &[f32], up: &[f32], shape: Shape, (py, px): (usize, usize)) -> Vec<f32> {
    let Shape { channels, outputs, .. } = shape;
    let mut folded = vec![0.0f64; 4 * channels * outputs];
    for (ty, tx) in (0..3).flat_map(|y| (0..3).map(move |x| (y, x))) {
        let (wy, ky) = window(py, ty);
        let (wx, kx) = window(px, tx);
        for c in 0..channels {
            let target = &mut folded[((wy * 2 + wx) * channels + c) * outputs..][..outputs];
            for (o, value) in target.iter_mut().enumerate() {
                for u in 0..shape.up {
                    let first = up[(c * shape.up + u) * 4 + ky * 2 + kx];
                    let second = conv0[(o * shape.inputs + u) * 9 + ty * 3 + tx];
                    *value += f64::from(first) * f64::from(second);
                }
            }
        }
    }
    folded.into_iter().map(|value| value as f32).collect()
}

/// Row of the 2×2 window and row of the transposed kernel that tap `t` of phase `p` reads.
fn window(p: usize, t: usize) -> (usize, usize) {
    // p + t + 1 is the upsampled row counted from row -2, which starts low-resolution row -1.
    let row = p + t + 1;
    (row / 2 - p, row % 2)
}

/// Contribution of the transposed convolution's bias through each tap of conv0: `[9][outputs]`.
fn bias_taps(conv0: &[f32], up_bias: &[f32], shape: Shape) -> Vec<f32> {
    let mut taps = vec![0.0; 9 * shape.outputs];
    for (tap, values) in taps.chunks_exact_mut(shape.outputs).enumerate() {
        for (o, value) in values.iter_mut().enumerate() {
            let sum: f64 = (0..shape.up)
                .map(|u| f64::from(up_bias[u]) * f64::from(conv0[(o * shape.inputs + u) * 9 + tap]))
                .sum();
            *value = sum as f32;
        }
    }
    taps
}
