//! The cost map: how similar every image position is to every prompt of every category.

use candle_core::{Result, Tensor, bail};

use super::wing::{Wing, in_wing_of};

/// Cosine similarities `[pairs, h, w, prompts]` of `images[image_of_pair[p]] [1, h, w, D]` with
/// `texts[p] [prompts, D]`, all rows of unit length. Tensors of bf16 are multiplied as bf16.
pub fn cost_map(images: &[&Tensor], texts: &[&Tensor], image_of_pair: &[usize]) -> Result<Tensor> {
    let Some(image) = images.first() else { bail!("cost map: no image") };
    let (_, _, _, depth) = image.dims4()?;
    let prompts = texts.first().map_or(Ok(0), |text| text.dim(0))?;
    if texts.len() != image_of_pair.len() || image_of_pair.iter().any(|&image| image >= images.len()) {
        bail!("cost map: every one of the {} pairs needs an image", texts.len());
    }
    if images.iter().any(|i| i.dims() != image.dims()) || texts.iter().any(|t| t.dims() != [prompts, depth]) {
        bail!("cost map: images of {:?} and texts of [{prompts}, {depth}] do not go together", image.shape());
    }
    in_wing_of!(image.device(), cost_map(images, texts, image_of_pair))
}

/// Cosine similarities `[pairs, h, w, prompts]` of every image of `images [images, h, w, D]` with all categories of its
/// vocabulary `[categories, prompts, D]`, image by image; all rows are of unit length. One product for each image.
///
/// # Errors
/// When the tensors are on the CPU, or there is not a vocabulary of the images' depth for each of them.
pub fn cost_map_batch(images: &Tensor, vocabularies: &[&Tensor]) -> Result<Tensor> {
    let (count, _, _, depth) = images.dims4()?;
    let prompts = vocabularies.first().map_or(Ok(0), |texts| texts.dim(1))?;
    let fits = |texts: &&Tensor| {
        matches!(texts.dims(), [_, p, d] if (*p, *d) == (prompts, depth)) && texts.dtype() == images.dtype()
    };
    if vocabularies.len() != count || !vocabularies.iter().all(fits) {
        bail!("cost map: {} vocabularies of [.., {prompts}, {depth}] for {count} images", vocabularies.len());
    }
    match Wing::of(images.device()) {
        Wing::Cuda(()) => crate::cuda::cost_map_batch(images, vocabularies),
        Wing::Cpu(()) => bail!("cost map of a batch: the tensors are on the CPU"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{random, tensor};

    #[test]
    fn a_pair_without_an_image_is_refused() {
        let (image, text) = (tensor(&random(6, 1), &[1, 2, 1, 3]), tensor(&random(12, 2), &[4, 3]));
        assert!(cost_map(&[&image], &[&text, &text], &[0, 0]).is_ok());
        assert!(cost_map(&[&image], &[&text, &text], &[0, 1]).is_err());
    }
}
