//! Weights laid out for the tile kernel, as f32 or bf16; sums are f32 either way.

use candle_core::DType;
use half::bf16;

use crate::simd::{Element, Elements};

/// Columns of a panel: one AVX-512 register, two AVX2 registers.
pub(crate) const PANEL: usize = 16;

/// A matrix `[k, n]` cut into panels of [`PANEL`] columns; each panel holds its `k` rows one after
/// another, so that the tile kernel reads it front to back. The last panel is padded with zeros.
///
/// bf16 rows lie in pairs, the two values of a column side by side. The k of a convolution comes in runs
/// (one for each kernel row); a run of odd length gets a row of zeros, so that no pair spans two runs.
#[derive(Debug, Clone)]
pub(crate) struct PackedMatrix {
    pub(crate) k: usize,
    pub(crate) n: usize,
    /// Rows of a run as packed.
    packed_run: usize,
    runs: usize,
    data: Elements,
}

impl PackedMatrix {
    /// Packs the matrix whose element (row `k`, column `n`) is `element(k, n)`; `dtype` bf16 rounds it
    /// to that, any other is f32.
    pub(crate) fn from_fn(k: usize, n: usize, dtype: DType, element: impl Fn(usize, usize) -> f32) -> Self {
        Self::from_runs((1, k), n, dtype, element)
    }

    /// [`PackedMatrix::from_fn`] for k = `runs · run`.
    pub(crate) fn from_runs(
        (runs, run): (usize, usize),
        n: usize,
        dtype: DType,
        element: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let step = if dtype == DType::BF16 { bf16::STEP } else { f32::STEP };
        let packed_run = run.next_multiple_of(step);
        let rows = runs * packed_run;
        let mut data = vec![0.0; n.div_ceil(PANEL) * rows * PANEL];
        for (panel, values) in data.chunks_exact_mut((rows * PANEL).max(1)).enumerate() {
            let columns = panel * PANEL..n.min((panel + 1) * PANEL);
            for (k, row) in (0..runs).flat_map(|i| (0..run).map(move |j| (i * run + j, i * packed_run + j))) {
                let to = &mut values[row / step * step * PANEL + row % step..];
                for (value, column) in to.iter_mut().step_by(step).zip(columns.clone()) {
                    *value = element(k, column);
                }
            }
        }
        let data = match dtype {
            DType::BF16 => Elements::Bf16(data.into_iter().map(bf16::from_f32).collect()),
            _ => Elements::F32(data),
        };
        Self { k: runs * run, n, packed_run, runs, data }
    }

    /// Packs a weight in torch's layout `[out, in]` (k = in, n = out).
    pub(crate) fn from_out_in(weight: &[f32], out: usize, inputs: usize, dtype: DType) -> Self {
        assert_eq!(weight.len(), out * inputs, "weight must be out × in");
        Self::from_fn(inputs, out, dtype, |k, n| weight[n * inputs + k])
    }

    /// Number of panels.
    pub(crate) fn panels(&self) -> usize {
        self.n.div_ceil(PANEL)
    }

    /// Elements from one panel to the next.
    pub(crate) fn panel_stride(&self) -> usize {
        self.runs * self.packed_run * PANEL
    }

    /// Elements from one run of a panel to the next.
    pub(crate) fn run_stride(&self) -> usize {
        self.packed_run * PANEL
    }

    /// Reports whether the weights are bf16; otherwise they are f32.
    pub(crate) fn is_bf16(&self) -> bool {
        matches!(self.data, Elements::Bf16(_))
    }

    /// Panel `index`, from row `row` on (a whole number of steps), of a matrix that is packed as `E`.
    pub(crate) fn panel<E: Element>(&self, index: usize, row: usize) -> &[E] {
        &E::of(&self.data)[index * self.panel_stride() + row * PANEL..(index + 1) * self.panel_stride()]
    }
}
