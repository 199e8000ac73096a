//! Weights laid out for the tile kernel, as f32 or bf16; sums are f32 either way.

use candle_core::DType;
use half::bf16;

/// Columns of a panel: one AVX-512 register, two AVX2 registers.
pub(crate) const PANEL: usize = 16;

/// A matrix `[k, n]` cut into panels of [`PANEL`] columns; each panel holds its `k` rows one after
/// another, so that the tile kernel reads it front to back. The last panel is padded with zeros.
#[derive(Debug, Clone)]
pub(crate) struct PackedMatrix {
    pub(crate) k: usize,
    pub(crate) n: usize,
    data: Data,
}

#[derive(Debug, Clone)]
enum Data {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

/// A panel from one of its rows on.
#[derive(Clone, Copy)]
pub(crate) enum Panel<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl PackedMatrix {
    /// Packs the matrix whose element (row `k`, column `n`) is `element(k, n)`; `dtype` bf16 rounds it
    /// to that, any other is f32.
    pub(crate) fn from_fn(k: usize, n: usize, dtype: DType, element: impl Fn(usize, usize) -> f32) -> Self {
        let mut data = vec![0.0; n.div_ceil(PANEL) * k * PANEL];
        for (panel, rows) in data.chunks_exact_mut((k * PANEL).max(1)).enumerate() {
            for (row, lanes) in rows.chunks_exact_mut(PANEL).enumerate() {
                for (lane, value) in lanes.iter_mut().enumerate() {
                    let column = panel * PANEL + lane;
                    if column < n {
                        *value = element(row, column);
                    }
                }
            }
        }
        let data = match dtype {
            DType::BF16 => Data::Bf16(data.into_iter().map(bf16::from_f32).collect()),
            _ => Data::F32(data),
        };
        Self { k, n, data }
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
        self.k * PANEL
    }

    /// Panel `index`, from row `row` on.
    pub(crate) fn panel(&self, index: usize, row: usize) -> Panel<'_> {
        let range = index * self.panel_stride() + row * PANEL..(index + 1) * self.panel_stride();
        match &self.data {
            Data::F32(data) => Panel::F32(&data[range]),
            Data::Bf16(data) => Panel::Bf16(&data[range]),
        }
    }
}
