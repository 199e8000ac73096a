//! The cost map: a batch of matrix products for each image.

use candle_core::{Result, Tensor};

use super::elementwise::stack;
use super::product::products;

/// As [`crate::cost_map`], which has checked the arguments. Pairs of one image that follow each other go
/// together.
pub(crate) fn cost_map(images: &[&Tensor], texts: &[&Tensor], image_of_pair: &[usize]) -> Result<Tensor> {
    let mut parts = Vec::new();
    let mut first = 0;
    for run in image_of_pair.chunk_by(|a, b| a == b) {
        let (_, height, width, depth) = images[run[0]].dims4()?;
        let image = images[run[0]].contiguous()?.reshape((height * width, depth))?;
        let text = stack(&texts[first..first + run.len()])?;
        let (pairs, prompts, _) = text.dims3()?;
        parts.push(products(&image, &text)?.reshape((pairs, height, width, prompts))?);
        first += run.len();
    }
    if parts.len() == 1 { Ok(parts.remove(0)) } else { Tensor::cat(&parts, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, OnDevice, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu() {
        let (h, w, d, p) = (5, 4, 33, 10);
        for image_of_pair in [vec![1, 0, 0, 1], vec![0, 0]] {
            for dtype in DTYPES {
                let make = |n: usize, seed: u64, shape: &[usize]| -> Vec<OnDevice> {
                    (0..n as u64)
                        .map(|i| on_device(&tensor(&random(shape.iter().product(), seed + i), shape), dtype))
                        .collect()
                };
                let images = make(2, 0, &[1, h, w, d]);
                let texts = make(image_of_pair.len(), 10, &[p, d]);
                let of = |x: &[OnDevice], f: fn(&OnDevice) -> Tensor| x.iter().map(f).collect::<Vec<_>>();
                let (i, t) = (of(&images, |x| x.rounded.clone()), of(&texts, |x| x.rounded.clone()));
                let (i, t): (Vec<_>, Vec<_>) = (i.iter().collect(), t.iter().collect());
                let want = crate::cost_map(&i, &t, &image_of_pair).unwrap();
                let (i, t) = (of(&images, |x| x.tensor.clone()), of(&texts, |x| x.tensor.clone()));
                let (i, t): (Vec<_>, Vec<_>) = (i.iter().collect(), t.iter().collect());
                let got = cost_map(&i, &t, &image_of_pair).unwrap();
                assert_near(&got, &want, dtype, "cost map");
            }
        }
    }
}
