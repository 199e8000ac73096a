//! Additions to a product.

use candle_core::{DType, Result, Tensor, bail};

/// Additions to the sums of a product before they are rounded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tail<'a> {
    /// `[n]`, of the product's dtype.
    pub(super) bias: Option<&'a Tensor>,
    /// Of the product's shape and dtype, contiguous.
    pub(super) addend: Option<&'a Tensor>,
}

impl Tail<'_> {
    /// Checks that the tail fits a product of `[rows, n]`.
    pub(super) fn check(&self, rows: usize, n: usize, dtype: DType) -> Result<()> {
        for (values, x) in [(n, self.bias), (rows * n, self.addend)] {
            if let Some(x) = x
                && (x.elem_count() != values || x.dtype() != dtype || !x.is_contiguous())
            {
                bail!("product: {:?} of {:?} is no tail for {rows} × {n} of {dtype:?}", x.shape(), x.dtype());
            }
        }
        Ok(())
    }

    /// Adds the tail to `sums [rows, n]`, f32.
    pub(super) fn finish(&self, mut sums: Tensor) -> Result<Tensor> {
        for x in [self.addend, self.bias].into_iter().flatten() {
            let columns = sums.dims()[1];
            sums = sums.broadcast_add(&x.to_dtype(DType::F32)?.reshape(((), columns))?)?;
        }
        Ok(sums)
    }
}
