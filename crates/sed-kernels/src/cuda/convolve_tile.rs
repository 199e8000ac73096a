//! Convolutions on tensor cores (convolve_tensor.cu, convolve_phases.cu).

use candle_core::{DType, Result, Tensor, bail};

use super::convolve::Bias;
use super::launch::Launch;
use super::memory::Output;
use super::tile_taps::{TileTaps, pixel_bytes};

/// Threads of a block.
pub(super) const THREADS: usize = 128;
/// Warps of a block.
const WARPS: usize = 4;
/// Channels of a group whose moments are taken.
pub(super) const GROUP: usize = 16;

/// A launch of one of the kernels; the names and meanings are those of `convolve_tile.cuh`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TileConvolve<'a> {
    /// `[n, height, width, channels]`
    pub(super) x: &'a Tensor,
    pub(super) weight: &'a TileTaps,
    /// 1, or 2 for a result of twice the size.
    pub(super) step: usize,
    /// A second input of the result's size, with its 3×3 weights.
    pub(super) second: Option<(&'a Tensor, &'a TileTaps)>,
    pub(super) bias: Option<Bias<'a>>,
    /// `[n, 2, channels]`: scales and shifts of `x`, for kernels through a normalised input.
    pub(super) affine: Option<&'a Tensor>,
    /// Maps that are added, and which of them to each image.
    pub(super) guide: Option<(&'a Tensor, &'a Tensor)>,
    /// `[1]`: images that count.
    pub(super) live: Option<&'a Tensor>,
    pub(super) relu: bool,
}

impl<'a> TileConvolve<'a> {
    /// A convolution of `x` that keeps its size, with nothing added.
    pub(super) fn new(x: &'a Tensor, weight: &'a TileTaps) -> Self {
        Self {
            x,
            weight,
            step: 1,
            second: None,
            bias: None,
            affine: None,
            guide: None,
            live: None,
            relu: false,
        }
    }

    /// `[n, step · height, step · width, outputs]`; all tensors but the bias and the affine map (f32) have one dtype.
    pub(super) fn run(&self) -> Result<Tensor> {
        Ok(self.launch(false)?.0)
    }

    /// The same, and moments for [`super::group_norm::GroupNorm::join`].
    pub(super) fn run_with_moments(&self) -> Result<(Tensor, Tensor)> {
        match self.launch(true)? {
            (y, Some(moments)) => Ok((y, moments)),
            (_, None) => bail!("{}: no moments", self.weight.tile.kernel),
        }
    }

    fn launch(&self, with_moments: bool) -> Result<(Tensor, Option<Tensor>)> {
        let (n, height, width, channels) = self.x.dims4()?;
        let (tile, outputs) = (self.weight.tile, self.weight.outputs);
        let (high, wide) = (self.step * height, self.step * width);
        if high * wide * channels.max(outputs) > i32::MAX as usize {
            bail!("{}: maps of {high} × {wide} are too large", tile.kernel);
        }
        let grid = [tile.count(height, width), outputs.div_ceil(tile.columns), n];
        let device = self.x.device();
        let mut y = Output::new(device, self.x.dtype(), (n, high, wide, outputs))?;
        let parts = grid[0] * WARPS / tile.across;
        let mut moments = match with_moments {
            true => Some(Output::new(device, DType::F32, (n, outputs / GROUP, parts, 3))?),
            false => None,
        };
        let launch = Launch::new(tile.kernel, self.x.dtype(), grid, THREADS)?
            .shared(self.shared_bytes()?)
            .input(self.x)?
            .input(&self.weight.stream)?
            .optional(self.second.map(|second| second.0))?
            .optional(self.second.map(|second| &second.1.stream))?
            .optional(self.bias.map(|bias| bias.values))?
            .optional(self.affine)?
            .optional(self.guide.map(|guide| guide.0))?
            .optional(self.guide.map(|guide| guide.1))?
            .optional(self.live)?
            .output(&mut y)?;
        let launch = match &mut moments {
            Some(moments) => launch.output(moments)?,
            None => launch.optional(None)?,
        };
        launch
            .i32(height)?
            .i32(width)?
            .i32(channels)?
            .i32(self.weight.size)?
            .i32(outputs)?
            .i32(self.bias.map_or(1, |bias| bias.kinds))?
            .i32(self.relu.into())?
            .run(device)?;
        Ok((y.into_tensor(), moments.map(Output::into_tensor)))
    }

    /// Bytes of the inputs of a tile with their edges.
    fn shared_bytes(&self) -> Result<usize> {
        let tile = self.weight.tile;
        // A window of 2 reaches one pixel before or behind, by phase.
        let beyond = if self.weight.size == 2 { 2 } else { self.weight.size - 1 };
        let second = match self.second {
            Some((x, _)) => (2 * tile.pixels[0] + 2) * (2 * tile.pixels[1] + 2) * pixel_bytes(x.dim(3)?),
            None => 0,
        };
        Ok(tile.shared_bytes(beyond) + second)
    }
}
