//! Matrix products with the weights of a layer: cuBLASLt's on a GPU, candle's where a test emulates
//! one.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::memory::Output;
use super::tail::Tail;

/// `x [rows, k]` times the transpose of `weight [n, k]`, with its tail: `[rows, n]`. Both are contiguous and of
/// one dtype. Sums are f32, rounded once.
///
/// On a GPU a row of the result depends on that row of `x` and of the addend alone, bit for bit, however many
/// rows there are.
pub(super) fn product(x: &Tensor, weight: &Tensor, tail: Tail<'_>) -> Result<Tensor> {
    let ((rows, k), (n, inner)) = (x.dims2()?, weight.dims2()?);
    if k != inner || x.dtype() != weight.dtype() {
        bail!("product: {:?} does not fit the weight {:?}", x.shape(), weight.shape());
    }
    tail.check(rows, n, x.dtype())?;
    match x.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            let size = super::cublaslt::Size { rows, k, n, batch: None };
            super::cublaslt::multiply(device, x, weight, size, tail)?.reshape((rows, n))
        }
        Device::Cpu => {
            let sums = x.to_dtype(DType::F32)?.matmul(&weight.to_dtype(DType::F32)?.t()?)?;
            tail.finish(sums.reshape((rows, n))?)?.to_dtype(x.dtype())
        }
        other => bail!("product: no kernels for {:?}", other.location()),
    }
}

/// `x [rows, k]` times the transpose of each of `weights [batch, n, k]`, `[batch, rows, n]`, to the values of `y` from
/// `first` on; otherwise as [`product`], without a tail.
pub(super) fn products_into(x: &Tensor, weights: &Tensor, y: &mut Output, first: usize) -> Result<()> {
    let ((rows, k), (batch, n, inner)) = (x.dims2()?, weights.dims3()?);
    if k != inner || x.dtype() != weights.dtype() || x.dtype() != y.dtype() {
        bail!("products: {:?} does not fit {batch} weights of [{n}, {inner}]", x.shape());
    }
    match x.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            let size = super::cublaslt::Size { rows, k, n, batch: Some(batch) };
            super::cublaslt::multiply_into(device, (x, weights), size, Tail::default(), (y, first))
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
    use crate::cuda::testing::{DTYPES, assert_near, bits, device, on_device};
    use crate::testing::{random, tensor};

    /// Every tail against sums in f32, with rows that suit a library's wide accesses and with others. The addend
    /// is not the result's memory, and stays as it was.
    #[test]
    fn tails_are_added_before_rounding() {
        for (rows, k, n) in [(5, 24, 16), (3, 7, 5), (70, 40, 48)] {
            for dtype in DTYPES {
                let random = |shape: &[usize], seed| {
                    on_device(&tensor(&random(shape.iter().product(), seed), shape), dtype)
                };
                let (x, weight) = (random(&[rows, k], 1), random(&[n, k], 2));
                let (bias, addend) = (random(&[n], 3), random(&[rows, n], 4));
                let plain = x.rounded.matmul(&weight.rounded.t().unwrap()).unwrap();
                for case in 0..4 {
                    let [biased, added] = [case & 1 > 0, case & 2 > 0];
                    let tail =
                        |bias, addend| Tail { bias: biased.then_some(bias), addend: added.then_some(addend) };
                    let want = tail(&bias.rounded, &addend.rounded).finish(plain.clone()).unwrap();
                    let got = product(&x.tensor, &weight.tensor, tail(&bias.tensor, &addend.tensor)).unwrap();
                    assert_near(&got, &want, dtype, &format!("{rows}×{k}×{n}, tail {case}"));
                }
                assert_eq!(bits(&addend.tensor), bits(&addend.rounded));
            }
        }
    }

    #[test]
    fn tails_of_another_size_or_format_are_refused() {
        let zeros = |shape: &[usize]| tensor(&vec![0.0; shape.iter().product()], shape);
        let (x, weight) = (zeros(&[3, 2]), zeros(&[4, 2]));
        let with = |tail: Tail<'_>| product(&x, &weight, tail).is_ok();
        assert!(with(Tail { bias: Some(&zeros(&[4])), addend: Some(&zeros(&[3, 4])) }));
        assert!(!with(Tail { bias: Some(&zeros(&[3])), ..Tail::default() }));
        assert!(!with(Tail { bias: Some(&zeros(&[4]).to_dtype(DType::BF16).unwrap()), ..Tail::default() }));
        assert!(!with(Tail { addend: Some(&zeros(&[4, 4])), ..Tail::default() }));
        assert!(!with(Tail { addend: Some(&zeros(&[4, 3]).t().unwrap()), ..Tail::default() }));
    }

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
            let bias = on_device(&tensor(&random(n, 3), &[n]), dtype).tensor;
            let addend = on_device(&tensor(&random(rows * n, 4), &[rows, n]), dtype).tensor;
            for tailed in [false, true] {
                let of_rows = |first: usize, count: usize| {
                    let part = |x: &Tensor| x.narrow(0, first, count).unwrap().contiguous().unwrap();
                    let addend = part(&addend);
                    let tail = Tail { bias: Some(&bias), addend: Some(&addend) };
                    let tail = if tailed { tail } else { Tail::default() };
                    bits(&product(&part(&x), &weight, tail).unwrap())
                };
                let all = of_rows(0, rows);
                for (first, count) in [(0, 1), (3, 2), (100, 64), (7, 576), (1, 1199)] {
                    let part = of_rows(first, count);
                    assert_eq!(part, all[first * n..][..count * n], "{dtype:?}, rows {first} + {count}");
                }
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
