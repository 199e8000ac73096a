//! Weights laid out for the tile kernel, as f32 or bf16; sums are f32 either way.

use candle_core::DType;
use half::bf16;

use crate::simd::Lanes;

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

/// A packed weight as it lies in memory.
pub(crate) trait Weight: Copy {
    /// The panels of a matrix that is packed this way; empty for another.
    fn panels_of(matrix: &PackedMatrix) -> &[Self];

    /// Loads a vector of weights as f32.
    ///
    /// # Safety
    /// `WIDTH` weights must be readable.
    unsafe fn load<L: Lanes>(p: *const Self) -> L::V;
}

impl Weight for f32 {
    fn panels_of(matrix: &PackedMatrix) -> &[Self] {
        if let Data::F32(data) = &matrix.data { data } else { &[] }
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const f32) -> L::V {
        // SAFETY: the caller's.
        unsafe { L::load(p) }
    }
}

impl Weight for bf16 {
    fn panels_of(matrix: &PackedMatrix) -> &[Self] {
        if let Data::Bf16(data) = &matrix.data { data } else { &[] }
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const bf16) -> L::V {
        // SAFETY: the caller's; a bf16 is its 16 bits.
        unsafe { L::load_bf16(p.cast()) }
    }
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

    /// Whether the weights are bf16 (else f32).
    pub(crate) fn is_bf16(&self) -> bool {
        matches!(self.data, Data::Bf16(_))
    }

    /// Panel `index`, from row `row` on, of a matrix that is packed as `W`.
    pub(crate) fn panel<W: Weight>(&self, index: usize, row: usize) -> &[W] {
        &W::panels_of(self)[index * self.panel_stride() + row * PANEL..(index + 1) * self.panel_stride()]
    }
}
