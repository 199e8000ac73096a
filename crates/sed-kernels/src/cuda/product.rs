//! Matrix products with the weights of a layer: cuBLASLt's on a GPU, candle's where a test emulates one.

use candle_core::{Device, Result, Tensor, bail};

use super::memory::Output;

/// `x [rows, k]` times the transpose of `weight [n, k]`, `[rows, n]`. Both are contiguous and of one dtype.
///
/// On a GPU a row of the result depends on that row of `x` alone, bit for bit, however many rows there are.
pub(super) fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let ((rows, k), (n, inner)) = (x.dims2()?, weight.dims2()?);
    if k != inner || x.dtype() != weight.dtype() {
        bail!("product: {:?} does not fit the weight {:?}", x.shape(), weight.shape());
    }
    match x.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            let size = super::cublaslt::Size { rows, k, n, batch: None };
            super::cublaslt::multiply(device, x, weight, size)?.reshape((rows, n))
        }
        Device::Cpu => x.matmul(&weight.t()?)?.reshape((rows, n)),
        other => bail!("product: no kernels for {:?}", other.location()),
    }
}

/// `x [rows, k]` times the transpose of each of `weights [batch, n, k]`, `[batch, rows, n]`, to the values of `y` from
/// `first` on; otherwise as [`product`].
pub(super) fn products_into(x: &Tensor, weights: &Tensor, y: &mut Output, first: usize) -> Result<()> {
    let ((rows, k), (batch, n, inner)) = (x.dims2()?, weights.dims3()?);
    if k != inner || x.dtype() != weights.dtype() || x.dtype() != y.dtype() {
        bail!("products: {:?} does not fit the weights {:?}", x.shape(), weights.shape());
    }
    match x.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            let size = super::cublaslt::Size { rows, k, n, batch: Some(batch) };
            super::cublaslt::multiply_into(device, x, weights, size, (y, first))
        }
        Device::Cpu => {
            let x = x.unsqueeze(0)?.broadcast_as((batch, rows, k))?;
            y.put(first, &x.matmul(&weights.t()?)?.reshape((batch, rows, n))?)
        }
        other => bail!("products: no kernels for {:?}", other.location()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, bits, device, on_device};
    use crate::testing::{random, tensor};

    /// The rows of a product are those of any part of its rows; the CPU's product, which stands in without a
    /// GPU, does not promise that.
    #[test]
    fn a_row_does_not_depend_on_the_others() {
        if device().is_cpu() {
            return;
        }
        let (rows, k, n) = (1200, 256, 96);
        for dtype in DTYPES {
            let x = on_device(&tensor(&random(rows * k, 1), &[rows, k]), dtype).tensor;
            let weight = on_device(&tensor(&random(n * k, 2), &[n, k]), dtype).tensor;
            let all = bits(&product(&x, &weight).unwrap());
            for (first, count) in [(0, 1), (3, 2), (100, 64), (7, 576), (1, 1199)] {
                let part = x.narrow(0, first, count).unwrap().contiguous().unwrap();
                let part = bits(&product(&part, &weight).unwrap());
                assert_eq!(part, all[first * n..][..count * n], "{dtype:?}, rows {first} + {count}");
            }
        }
        assert_eq!(crate::products_off_plan(), Vec::<String>::new());
    }

    /// A product of a batch is the one that it is in any other batch.
    #[test]
    fn a_product_does_not_depend_on_its_batch() {
        if device().is_cpu() {
            return;
        }
        let (rows, k, n, batch) = (36, 64, 80, 7);
        for dtype in DTYPES {
            let x = on_device(&tensor(&random(rows * k, 1), &[rows, k]), dtype).tensor;
            let weights = on_device(&tensor(&random(batch * n * k, 2), &[batch, n, k]), dtype).tensor;
            let products = |weights: &Tensor| {
                let shape = (weights.dim(0).unwrap(), rows, n);
                let mut y = Output::new(&device(), dtype, shape).unwrap();
                products_into(&x, weights, &mut y, 0).unwrap();
                y.into_tensor()
            };
            let all = bits(&products(&weights));
            for (first, count) in [(0, 1), (2, 5), (6, 1)] {
                let part = weights.narrow(0, first, count).unwrap().contiguous().unwrap();
                let part = bits(&products(&part));
                assert_eq!(part, all[first * rows * n..][..count * rows * n], "{dtype:?} {first} + {count}");
            }
        }
    }
}
