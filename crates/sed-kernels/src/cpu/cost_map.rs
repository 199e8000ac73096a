//! The cost map: how similar every image position is to every prompt of every category.

use candle_core::{Result, Tensor};

use super::memory::{from_values, to_vec};
use super::product::pack::PackedMatrix;
use super::product::{Product, run_product};
use super::scratch::with_scratch;
use crate::parallel;
use crate::simd::Isa;

/// As [`crate::cost_map`], which has checked the arguments.
pub(crate) fn cost_map(images: &[&Tensor], texts: &[&Tensor], image_of_pair: &[usize]) -> Result<Tensor> {
    let (_, height, width, depth) = images[0].dims4()?;
    let prompts = texts.first().map_or(Ok(0), |text| text.dim(0))?;
    let images = images.iter().map(|image| to_vec(image)).collect::<Result<Vec<_>>>()?;
    let positions = height * width;
    let mut out = vec![0.0; texts.len() * positions * prompts];
    let isa = Isa::best();
    let outcomes = parallel::map_chunks(&mut out, positions * prompts, |pair, out| {
        let text = PackedMatrix::from_out_in(&to_vec(texts[pair])?, prompts, depth, texts[pair].dtype());
        similarities(isa, &images[image_of_pair[pair]], &text, out);
        Ok(())
    });
    outcomes.into_iter().collect::<Result<()>>()?;
    from_values(out, (texts.len(), height, width, prompts))
}

/// `out [positions, prompts] = image [positions, depth] · text [depth, prompts]`
fn similarities(isa: Isa, image: &[f32], text: &PackedMatrix, out: &mut [f32]) {
    let (depth, prompts) = (text.k, text.n);
    // A padded row stride keeps the rows of a tile out of each other's cache sets.
    const ROWS: usize = 96;
    let stride = depth + 16;
    with_scratch(ROWS * stride, |rows| {
        for (out, image) in out.chunks_mut(ROWS * prompts).zip(image.chunks(ROWS * depth)) {
            for (to, from) in rows.chunks_mut(stride).zip(image.chunks_exact(depth)) {
                to[..depth].copy_from_slice(from);
            }
            let (a, c) = ((rows.as_ptr(), stride), (out.as_mut_ptr(), prompts));
            // SAFETY: `rows` holds the block's padded rows, `out` has room for their products.
            unsafe { run_product(isa, &Product::whole(a, image.len() / depth, text, c, None)) };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    #[test]
    fn equals_the_definition() {
        let (h, w, d, p) = (5, 4, 33, 80);
        let images: Vec<_> = (0..2).map(|i| random(h * w * d, i)).collect();
        let texts: Vec<_> = (0..3).map(|i| random(p * d, 10 + i)).collect();
        let image_of_pair = [1, 0, 1];
        let mut want = Vec::new();
        for (text, image) in texts.iter().zip(image_of_pair) {
            for position in images[image].chunks_exact(d) {
                for prompt in text.chunks_exact(d) {
                    want.push(position.iter().zip(prompt).map(|(a, b)| a * b).sum::<f32>());
                }
            }
        }
        let images: Vec<_> = images.iter().map(|v| tensor(v, &[1, h, w, d])).collect();
        let texts: Vec<_> = texts.iter().map(|v| tensor(v, &[p, d])).collect();
        let (images, texts): (Vec<_>, Vec<_>) = (images.iter().collect(), texts.iter().collect());
        let got = cost_map(&images, &texts, &image_of_pair).unwrap();
        assert_eq!(got.dims(), [3, h, w, p]);
        assert_close(&to_vec(&got).unwrap(), &want, 1e-5, "cost map");
    }
}
