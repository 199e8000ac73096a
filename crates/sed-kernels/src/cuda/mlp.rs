//! Small fully connected layers in one launch each, on tensor cores: two with an activation between, whose
//! hidden values never reach memory, and one behind a layer norm.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::launch::{Launch, WARP};
use super::layer_norm::LayerNorm;
use super::linear::vector;
use super::memory::Output;
use crate::specs::{Activation, linear_shape, linear_sizes};

/// Rows of a warp, `MLP_WARP_ROWS` of mlp.cu.
const WARP_ROWS: usize = 32;

/// Warps of a block, `mlp_warps` of mlp.cu.
fn warps(channels: usize) -> usize {
    if channels == 64 { 6 } else { 8 }
}

/// A launch for `rows` rows of C channels.
fn launch(kernel: &str, dtype: DType, rows: usize, channels: usize) -> Result<Launch> {
    let warps = warps(channels);
    Launch::new(kernel, dtype, [rows.div_ceil(warps * WARP_ROWS), 1, 1], warps * WARP)
}

/// The items of a tensor that count, for kernels: their number `[1]` in u32 on the device, and the rows of
/// each.
pub(super) type Live<'a> = Option<(&'a Tensor, usize)>;

/// Reports whether mlp.cu has kernels for C channels: in 16-bit formats for some C.
fn has_kernel(dtype: DType, channels: usize) -> bool {
    matches!(dtype, DType::BF16 | DType::F16) && matches!(channels, 16 | 32 | 64 | 128)
}

/// The same for `weight [.., C]`.
fn suits(weight: &Tensor) -> Result<bool> {
    Ok(has_kernel(weight.dtype(), weight.dims2()?.1))
}

/// As [`crate::widest_of_aggregation`] on a GPU: hidden values, or queries, keys and values.
pub(crate) fn widest_of_aggregation(dtype: DType, channels: usize) -> usize {
    if has_kernel(dtype, channels) { 3 * channels } else { 4 * channels }
}

/// `addends + contract · activation(expand · n + bias) + bias` for rows of C channels with 4C hidden ones; n
/// is the rows as they are, or their layer norm.
#[derive(Debug, Clone)]
pub(super) struct FusedMlp {
    kernel: String,
    norm: Option<LayerNorm>,
    /// `[4C, C]`, columns in pieces.
    expand: Tensor,
    expand_bias: Tensor,
    /// `[C, 4C]`, rows in pieces.
    contract: Tensor,
    contract_bias: Tensor,
}

impl FusedMlp {
    /// Creates the layer from `expand [4C, C]`, `expand_bias [4C]`, `contract [C, 4C]` and `contract_bias
    /// [C]`, the latter two with the layer scale folded in where there is one. `None` for formats and sizes
    /// that mlp.cu has no kernel for.
    pub(super) fn new(
        (expand, expand_bias): (&Tensor, &Tensor),
        (contract, contract_bias): (&Tensor, &Tensor),
        norm: Option<&LayerNorm>,
        activation: Activation,
    ) -> Result<Option<Self>> {
        let (hidden, channels) = linear_sizes(expand, Some(expand_bias))?;
        if linear_sizes(contract, Some(contract_bias))? != (channels, hidden) {
            bail!("mlp: {:?} does not lead back to {channels} channels", contract.shape());
        }
        if norm.is_some_and(|norm| norm.channels() != channels) {
            bail!("mlp: the norm is not one of {channels} channels");
        }
        let name = match activation {
            Activation::Gelu => "mlp_gelu",
            Activation::Relu => "mlp_relu",
            Activation::None => return Ok(None),
        };
        if !suits(expand)? || hidden != 4 * channels || contract.dtype() != expand.dtype() {
            return Ok(None);
        }
        Ok(Some(Self {
            kernel: format!("{name}{channels}"),
            norm: norm.cloned(),
            expand: in_pieces(expand, channels, Axis::Columns)?,
            expand_bias: vector(expand_bias)?,
            contract: in_pieces(contract, channels, Axis::Rows)?,
            contract_bias: vector(contract_bias)?,
        }))
    }

    /// `x [.., C]` and addends of the same shape, all contiguous and in the weights' format, to the same
    /// shape. Rows that do not count (`live`) stay unwritten.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        addends: [Option<&Tensor>; 2],
        live: Live<'_>,
    ) -> Result<Tensor> {
        let channels = self.expand.dim(1)?;
        linear_shape(x, channels, channels)?;
        for tensor in addends.into_iter().flatten().chain([x]) {
            if tensor.dtype() != self.expand.dtype() || tensor.elem_count() != x.elem_count() {
                bail!("mlp: a tensor {:?} of {:?} beside {:?}", tensor.shape(), tensor.dtype(), x.shape());
            }
        }
        let rows = x.elem_count() / channels;
        let mut y = Output::like(x)?;
        launch(&self.kernel, x.dtype(), rows, channels)?
            .input(x)?
            .optional(self.norm.as_ref().map(|norm| &norm.weight))?
            .optional(self.norm.as_ref().map(|norm| &norm.bias))?
            .input(&self.expand)?
            .input(&self.expand_bias)?
            .input(&self.contract)?
            .input(&self.contract_bias)?
            .optional(addends[0])?
            .optional(addends[1])?
            .output(&mut y)?
            .i32(rows)?
            .optional(live.map(|(live, _)| live))?
            .i32(live.map_or(0, |(_, rows)| rows))?
            .f32(self.norm.as_ref().map_or(0.0, |norm| norm.eps))
            .run(x.device())?;
        Ok(y.into_tensor())
    }
}

/// `weight · norm(x) + bias` for rows of C channels.
#[derive(Debug, Clone)]
pub(super) struct NormLinear {
    norm: LayerNorm,
    /// `[out, C]`, rows and columns in pieces.
    weight: Tensor,
    bias: Tensor,
}

impl NormLinear {
    /// Creates the layer from `weight [out, C]` and `bias [out]`. `None` for formats and sizes that mlp.cu
    /// has no kernel for.
    pub(super) fn new(norm: &LayerNorm, weight: &Tensor, bias: &Tensor) -> Result<Option<Self>> {
        let (outputs, channels) = linear_sizes(weight, Some(bias))?;
        if norm.channels() != channels {
            bail!("mlp: the norm is not one of {channels} channels");
        }
        if !suits(weight)? || outputs % group(channels) != 0 {
            return Ok(None);
        }
        let weight = in_pieces(&in_pieces(weight, channels, Axis::Columns)?, channels, Axis::Rows)?;
        Ok(Some(Self { norm: norm.clone(), weight, bias: vector(bias)? }))
    }

    /// `x [.., C]`, contiguous and in the weight's format, to `[.., out]`. Rows that do not count (`live`)
    /// stay unwritten.
    pub(super) fn forward(&self, x: &Tensor, live: Live<'_>) -> Result<Tensor> {
        let (outputs, channels) = self.weight.dims2()?;
        let shape = linear_shape(x, channels, outputs)?;
        if x.dtype() != self.weight.dtype() {
            bail!("mlp: rows of {:?} for weights of {:?}", x.dtype(), self.weight.dtype());
        }
        let rows = x.elem_count() / channels;
        let mut y = Output::new(x.device(), x.dtype(), shape)?;
        launch(&format!("norm_linear{channels}"), x.dtype(), rows, channels)?
            .input(x)?
            .input(&self.norm.weight)?
            .input(&self.norm.bias)?
            .input(&self.weight)?
            .input(&self.bias)?
            .output(&mut y)?
            .i32(rows)?
            .optional(live.map(|(live, _)| live))?
            .i32(live.map_or(0, |(_, rows)| rows))?
            .i32(outputs)?
            .f32(self.norm.eps)
            .run(x.device())?;
        Ok(y.into_tensor())
    }
}

/// The axis of a weight that is read or written in pieces.
#[derive(Clone, Copy, PartialEq)]
enum Axis {
    Rows,
    Columns,
}

/// Channels that pieces are made of together, `Pieces::GROUP` of mlp.cu.
fn group(channels: usize) -> usize {
    channels.min(32)
}

/// A weight for kernels whose rows have `channels` channels, with one axis in the order of fragments: of
/// every group, a fragment has two neighbours at a time of each of its four lanes, and a lane a quarter of
/// the group in memory.
fn in_pieces(weight: &Tensor, channels: usize, axis: Axis) -> Result<Tensor> {
    let (rows, columns) = weight.dims2()?;
    let group = group(channels);
    let on_host = weight.to_device(&Device::Cpu)?;
    let ordered = match axis {
        Axis::Columns => on_host.reshape((rows * columns / group, 4, group / 8, 2))?,
        Axis::Rows => on_host.reshape((rows / group, 4, group / 8, 2 * columns))?,
    };
    ordered.transpose(1, 2)?.contiguous()?.reshape((rows, columns))?.to_device(weight.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, OnDevice, assert_near, device, on_device};
    use crate::testing::{random, tensor};

    const FORMATS: [DType; 2] = [DType::BF16, DType::F16];

    /// Weights of C channels; small ones, as trained ones are.
    struct Case {
        norm: [OnDevice; 2],
        expand: [OnDevice; 2],
        contract: [OnDevice; 2],
    }

    impl Case {
        fn new(c: usize, dtype: DType) -> Self {
            let of = |seed, shape: &[usize], scale: f32, dtype| {
                let values: Vec<f32> =
                    random(shape.iter().product(), seed).iter().map(|v| v * scale).collect();
                on_device(&tensor(&values, shape), dtype)
            };
            let width = 1.0 / (c as f32).sqrt();
            Self {
                norm: [of(1, &[c], 1.0, DType::F32), of(2, &[c], 1.0, DType::F32)],
                expand: [of(3, &[4 * c, c], width, dtype), of(4, &[4 * c], 1.0, DType::F32)],
                contract: [of(5, &[c, 4 * c], width, dtype), of(6, &[c], 1.0, DType::F32)],
            }
        }

        fn norm(&self) -> LayerNorm {
            LayerNorm::new(&self.norm[0].tensor, &self.norm[1].tensor, 1e-5).unwrap()
        }

        fn mlp(&self, norm: bool, activation: Activation) -> Option<FusedMlp> {
            let pair = |of: &'static str| {
                let [weight, bias] = if of == "expand" { &self.expand } else { &self.contract };
                (weight.tensor.clone(), bias.tensor.clone())
            };
            let (expand, contract) = (pair("expand"), pair("contract"));
            let norm = norm.then(|| self.norm());
            FusedMlp::new((&expand.0, &expand.1), (&contract.0, &contract.1), norm.as_ref(), activation)
                .unwrap()
        }

        /// The rows' layer norm in f32 as a product reads it.
        fn normed(&self, x: &OnDevice) -> Tensor {
            let norm = crate::cpu::LayerNorm::new(&self.norm[0].rounded, &self.norm[1].rounded, 1e-5);
            rounded(&norm.unwrap().forward(&x.rounded).unwrap(), x.tensor.dtype())
        }
    }

    fn rounded(x: &Tensor, dtype: DType) -> Tensor {
        x.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap()
    }

    fn rows(count: usize, c: usize, seed: u64, dtype: DType) -> OnDevice {
        on_device(&tensor(&random(count * c, seed), &[count, c]), dtype)
    }

    fn bits(x: &Tensor, count: usize) -> Vec<u32> {
        let x = x.narrow(0, 0, count).unwrap().to_device(&Device::Cpu).unwrap();
        let x = x.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        x.to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn mlp_equals_the_cpu() {
        for (c, count) in [(16, 7), (32, 37), (64, 33), (64, 199), (128, 261)] {
            for dtype in FORMATS {
                let case = Case::new(c, dtype);
                let (x, other) = (rows(count, c, 7, dtype), rows(count, c, 8, dtype));
                for (norm, activation) in [(false, Activation::Gelu), (true, Activation::Relu)] {
                    let n = if norm { case.normed(&x) } else { x.rounded.clone() };
                    let expand =
                        crate::cpu::Linear::new(&case.expand[0].rounded, Some(&case.expand[1].rounded));
                    let contract =
                        crate::cpu::Linear::new(&case.contract[0].rounded, Some(&case.contract[1].rounded));
                    let hidden = rounded(&expand.unwrap().forward(&n, activation).unwrap(), dtype);
                    let want = contract.unwrap().forward(&hidden, Activation::None).unwrap();
                    let want = ((want + &x.rounded).unwrap() + &other.rounded).unwrap();
                    let layer = case.mlp(norm, activation).unwrap();
                    let addends = [Some(&x.tensor), Some(&other.tensor)];
                    let got = layer.forward(&x.tensor, addends, None).unwrap();
                    assert_near(&got, &want, dtype, &format!("{count}×{c} {activation:?}"));
                }
            }
        }
    }

    #[test]
    fn linear_equals_the_cpu() {
        for (c, outputs, count) in [(16, 48, 5), (32, 96, 270), (64, 192, 35), (128, 384, 31)] {
            for dtype in FORMATS {
                let case = Case::new(c, dtype);
                let x = rows(count, c, 7, dtype);
                let parts = |x: &Tensor| x.narrow(0, 0, outputs).unwrap();
                let (weight, bias) = (&case.expand[0], &case.expand[1]);
                let cpu = crate::cpu::Linear::new(&parts(&weight.rounded), Some(&parts(&bias.rounded)));
                let want = cpu.unwrap().forward(&case.normed(&x), Activation::None).unwrap();
                let layer = NormLinear::new(&case.norm(), &parts(&weight.tensor), &parts(&bias.tensor));
                let got = layer.unwrap().unwrap().forward(&x.tensor, None).unwrap();
                assert_near(&got, &want, dtype, &format!("{count}×{c}"));
            }
        }
    }

    #[test]
    fn rows_depend_on_nothing_else() {
        let (c, count, each) = (32, 290, 29);
        for dtype in FORMATS {
            let case = Case::new(c, dtype);
            let x = rows(count, c, 7, dtype).tensor;
            let mlp = case.mlp(true, Activation::Gelu).unwrap();
            let [weight, bias] = &case.expand;
            let linear = NormLinear::new(&case.norm(), &weight.tensor, &bias.tensor).unwrap().unwrap();
            let both = |x: &Tensor, live: Live<'_>, count: usize| {
                let y = mlp.forward(x, [Some(x), None], live).unwrap();
                (bits(&y, count), bits(&linear.forward(x, live).unwrap(), count))
            };
            let whole = both(&x, None, count);
            let live = Tensor::new(&[9u32], &device()).unwrap();
            let counted = both(&x, Some((&live, each)), 9 * each);
            assert_eq!(counted.0, whole.0[..9 * each * c], "{dtype:?}: live rows");
            assert_eq!(counted.1, whole.1[..9 * each * 4 * c], "{dtype:?}: live rows");
            let part = x.narrow(0, 41, 5).unwrap().contiguous().unwrap();
            let part = both(&part, None, 5);
            assert_eq!(part.0, whole.0[41 * c..46 * c], "{dtype:?}: some rows");
            assert_eq!(part.1, whole.1[41 * 4 * c..46 * 4 * c], "{dtype:?}: some rows");
        }
    }

    #[test]
    fn other_formats_and_sizes_are_left_to_others() {
        for (c, dtype) in [(32, DTYPES[0]), (40, DType::BF16)] {
            let case = Case::new(c, dtype);
            assert!(case.mlp(false, Activation::Gelu).is_none());
            let [weight, bias] = &case.expand;
            assert!(NormLinear::new(&case.norm(), &weight.tensor, &bias.tensor).unwrap().is_none());
        }
        assert!(Case::new(32, DType::BF16).mlp(false, Activation::None).is_none());
    }
}
