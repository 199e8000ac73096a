//! Weights of convolutions to one channel, as they are or composed with a convolution before them.

use candle_core::{Device, Result, Tensor, bail};

use super::host::{host_values, on_host};

/// The weights of a [`ScalarConv`](crate::ScalarConv) on the host, in f32.
///
/// Kernels may differ at the image's edges: composing two zero-padded convolutions gives one kernel for
/// the inside and others for the outermost rows and columns, where taps of the second fall outside.
#[derive(Debug, Clone)]
pub(crate) struct ScalarTaps {
    /// By edges (bit 0 top, 1 bottom, 2 left, 3 right): kernel `[(ky, kx, in)]` and bias. A plain
    /// convolution has only the first.
    pub(crate) kernels: Vec<(Vec<f32>, f32)>,
    /// Input channels.
    pub(crate) inputs: usize,
    /// Side of the kernels.
    pub(crate) size: usize,
    /// The device that the layer is for.
    pub(crate) device: Device,
}

impl ScalarTaps {
    /// Returns the taps of `weight [1, in, size, size]` (odd size) and `bias [1]`.
    pub(crate) fn plain(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let (out, inputs, size, width) = weight.dims4()?;
        if out != 1 || size != width || size % 2 == 0 {
            bail!("scalar convolution: weight {:?} is not [1, in, odd, odd]", weight.shape());
        }
        let taps = host_values(&on_host(weight)?.reshape((inputs, size * size))?.t()?)?;
        Ok(Self {
            kernels: vec![(taps, host_values(bias)?[0])],
            inputs,
            size,
            device: weight.device().clone(),
        })
    }

    /// Returns the taps of [`ScalarConv::composed`](crate::ScalarConv::composed).
    pub(crate) fn composed(inner: (&Tensor, &Tensor), head: (&Tensor, &Tensor)) -> Result<Self> {
        let (mid, inputs, a, _) = inner.0.dims4()?;
        let (out, head_mid, b, _) = head.0.dims4()?;
        if out != 1 || head_mid != mid || a % 2 == 0 || b != 3 {
            bail!("scalar convolution: {:?} after {:?} cannot be composed", head.0.shape(), inner.0.shape());
        }
        // Per head tap (hy, hx): the inner kernel and bias seen through it, [b², in · a²] and [b²].
        let head_taps = on_host(head.0)?.reshape((mid, b * b))?.t()?.contiguous()?;
        let through = host_values(&head_taps.matmul(&on_host(inner.0)?.reshape((mid, inputs * a * a))?)?)?;
        let bias_through = host_values(&head_taps.matmul(&on_host(inner.1)?.reshape((mid, 1))?)?)?;
        let head_bias = host_values(head.1)?[0];
        let size = a + b - 1;
        let kernels = (0..16usize)
            .map(|edges| {
                let mut kernel = vec![0.0; size * size * inputs];
                let mut bias = head_bias;
                for (hy, hx) in (0..b).flat_map(|y| (0..b).map(move |x| (y, x))) {
                    let outside = (edges & 1 != 0 && hy == 0)
                        || (edges & 2 != 0 && hy == b - 1)
                        || (edges & 4 != 0 && hx == 0)
                        || (edges & 8 != 0 && hx == b - 1);
                    if outside {
                        continue;
                    }
                    let tap = hy * b + hx;
                    bias += bias_through[tap];
                    let inner = &through[tap * inputs * a * a..][..inputs * a * a];
                    for i in 0..inputs {
                        for (ky, kx) in (0..a).flat_map(|y| (0..a).map(move |x| (y, x))) {
                            kernel[((ky + hy) * size + kx + hx) * inputs + i] += inner[(i * a + ky) * a + kx];
                        }
                    }
                }
                (kernel, bias)
            })
            .collect();
        Ok(Self { kernels, inputs, size, device: inner.0.device().clone() })
    }
}
