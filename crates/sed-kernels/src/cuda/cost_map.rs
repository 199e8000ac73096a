//! The cost map: a batch of matrix products for each image.

use candle_core::{Result, Tensor};

/// `[pairs, h, w, prompts]` of `images[image_of_pair[p]] [1, h, w, D]` with `texts[p] [prompts, D]`, for
/// arguments that `crate::cost_map` has checked. Pairs of one image that follow each other go together.
pub(crate) fn cost_map(images: &[&Tensor], texts: &[&Tensor], image_of_pair: &[usize]) -> Result<Tensor> {
    let mut parts = Vec::new();
    let mut first = 0;
    for run in image_of_pair.chunk_by(|a, b| a == b) {
        let (_, height, width, depth) = images[run[0]].dims4()?;
        let image = images[run[0]].contiguous()?.reshape((1, height * width, depth))?;
        let text = Tensor::stack(&texts[first..first + run.len()], 0)?;
        let (pairs, prompts, _) = text.dims3()?;
        let similarities = image.broadcast_as((pairs, height * width, depth))?.matmul(&text.t()?)?;
        parts.push(similarities.reshape((pairs, height, width, prompts))?);
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
                let run =
                    |f: fn(&OnDevice) -> Tensor,
                     map: fn(&[&Tensor], &[&Tensor], &[usize]) -> Result<Tensor>| {
                        let (images, texts) = (of(&images, f), of(&texts, f));
                        let (images, texts): (Vec<_>, Vec<_>) =
                            (images.iter().collect(), texts.iter().collect());
                        map(&images, &texts, &image_of_pair).unwrap()
                    };
                let want = run(|x| x.rounded.clone(), crate::cost_map);
                let got = run(|x| x.tensor.clone(), cost_map);
                assert_near(&got, &want, dtype, "cost map");
            }
        }
    }
}
