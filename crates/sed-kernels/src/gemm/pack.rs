//! Weights laid out for the tile kernel.

/// Columns of a panel: one AVX-512 register, two AVX2 registers.
pub(crate) const PANEL: usize = 16;

/// A matrix `[k, n]` cut into panels of [`PANEL`] columns; each panel holds its `k` rows one after
/// another, so that the tile kernel reads it front to back. The last panel is padded with zeros.
#[derive(Debug, Clone)]
pub(crate) struct PackedMatrix {
    pub(crate) k: usize,
    pub(crate) n: usize,
    data: Vec<f32>,
}

impl PackedMatrix {
    /// Packs the matrix whose element (row `k`, column `n`) is `element(k, n)`.
    pub(crate) fn from_fn(k: usize, n: usize, element: impl Fn(usize, usize) -> f32) -> Self {
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
        Self { k, n, data }
    }

    /// Packs a weight in torch's layout `[out, in]` (k = in, n = out).
    pub(crate) fn from_out_in(weight: &[f32], out: usize, inputs: usize) -> Self {
        assert_eq!(weight.len(), out * inputs, "weight must be out × in");
        Self::from_fn(inputs, out, |k, n| weight[n * inputs + k])
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
    pub(crate) fn panel(&self, index: usize, row: usize) -> &[f32] {
        let start = index * self.panel_stride();
        &self.data[start + row * PANEL..start + self.panel_stride()]
    }
}
