//! The cost map: a batch of matrix products for each image.

use candle_core::{Result, Tensor, bail};

use super::elementwise::stack;
use super::memory::Output;
use super::product::products_into;

/// As [`crate::cost_map`], which has checked the arguments. Pairs of one image that follow each other go
/// together.
pub(crate) fn cost_map(images: &[&Tensor], texts: &[&Tensor], image_of_pair: &[usize]) -> Result<Tensor> {
    let (Some(image), Some(text)) = (images.first(), texts.first()) else { bail!("cost map: no pair") };
    let (_, height, width, depth) = image.dims4()?;
    let shape = (texts.len(), height, width, text.dim(0)?);
    let mut y = Output::new(image.device(), image.dtype(), shape)?;
    let mut first = 0;
    for run in image_of_pair.chunk_by(|a, b| a == b) {
        let image = images[run[0]].contiguous()?.reshape((height * width, depth))?;
        let text = stack(&texts[first..first + run.len()])?;
        products_into(&image, &text, &mut y, first * height * width * shape.3)?;
        first += run.len();
    }
    Ok(y.into_tensor())
}

/// As [`crate::cost_map_batch`], which has checked the arguments.
pub(crate) fn cost_map_batch(images: &Tensor, vocabularies: &[&Tensor]) -> Result<Tensor> {
    let Some(texts) = vocabularies.first() else { bail!("cost map: no image") };
    let ((_, height, width, depth), (_, prompts, _)) = (images.dims4()?, texts.dims3()?);
    let images = images.contiguous()?;
    let pairs = vocabularies.iter().map(|texts| texts.dims()[0]).sum::<usize>();
    let mut y = Output::new(images.device(), images.dtype(), (pairs, height, width, prompts))?;
    let mut first = 0;
    for (index, texts) in vocabularies.iter().enumerate() {
        let image = images.narrow(0, index, 1)?.reshape((height * width, depth))?;
        products_into(&image, &texts.contiguous()?, &mut y, first)?;
        first += texts.dims()[0] * height * width * prompts;
    }
    Ok(y.into_tensor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, OnDevice, assert_near, bits, on_device};
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

    #[test]
    fn a_batch_equals_image_by_image() {
        let (h, w, d, p) = (3, 4, 33, 10);
        for dtype in DTYPES {
            let images = on_device(&tensor(&random(3 * h * w * d, 1), &[3, h, w, d]), dtype).tensor;
            let texts: Vec<Tensor> = [2usize, 1, 4]
                .iter()
                .map(|&n| on_device(&tensor(&random(n * p * d, n as u64), &[n, p, d]), dtype).tensor)
                .collect();
            let batch = cost_map_batch(&images, &texts.iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(batch.dims(), [7, h, w, p]);
            let mut first = 0;
            for (index, texts) in texts.iter().enumerate() {
                let count = texts.dims()[0];
                let own: Vec<Tensor> = (0..count).map(|i| texts.get(i).unwrap()).collect();
                let image = images.narrow(0, index, 1).unwrap();
                let want = cost_map(&[&image], &own.iter().collect::<Vec<_>>(), &vec![0; count]).unwrap();
                let got = batch.narrow(0, first, count).unwrap();
                assert_eq!(bits(&got), bits(&want), "{dtype:?} image {index}");
                first += count;
            }
        }
    }
}
