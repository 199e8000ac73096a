//! The features of an image that the decoder reads, independent of the words.

use candle_core::{DType, Tensor};
use sed_kernels::{Activation, Conv2d, normalise_rows};

use crate::checkpoint::Weights;
use crate::config::SedConfig;
use crate::error::Result;
use crate::level::Level;

/// The features of one image: cheap to clone, independent of any vocabulary.
#[derive(Debug, Clone)]
pub struct ImageFeatures {
    /// Unit-length embedding of every position, `[1, S/32, S/32, D]`.
    pub(crate) dense: Tensor,
    /// The image's part of each decoder level's first convolution: `[1, S/16, S/16, O0]`,
    /// `[1, S/8, S/8, O1]`, `[1, S/4, S/4, O2]`.
    pub(crate) guides: Vec<Tensor>,
}

impl ImageFeatures {
    /// The features of each encoded image, from the encoder's embeddings `[n, S/32, S/32, D]` and the guides of all
    /// images.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub(crate) fn of_images(dense: &Tensor, guides: &[Tensor]) -> Result<Vec<Self>> {
        let dense = normalise_rows(dense)?;
        let images = dense.dim(0)?;
        // Each image owns its features, so that keeping one does not keep the whole batch.
        let of_image = |x: &Tensor, image: usize| -> Result<Tensor> {
            Ok(if images == 1 { x.clone() } else { x.narrow(0, image, 1)?.force_contiguous()? })
        };
        (0..images)
            .map(|image| {
                let guides = guides.iter().map(|guide| of_image(guide, image)).collect::<Result<_>>()?;
                Ok(Self { dense: of_image(&dense, image)?, guides })
            })
            .collect()
    }

    /// The features kept in another number format.
    pub(crate) fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let guides = self.guides.iter().map(|guide| Ok(guide.to_dtype(dtype)?)).collect::<Result<_>>()?;
        Ok(Self { dense: self.dense.to_dtype(dtype)?, guides })
    }

    /// Unit-length embedding of every position, `[1, S/32, S/32, D]`.
    pub fn dense(&self) -> &Tensor {
        &self.dense
    }

    /// The image's part of the first convolution of a decoder level.
    pub fn guide(&self, level: Level) -> &Tensor {
        &self.guides[level.index()]
    }

    /// Memory that the features hold, in bytes.
    pub fn bytes(&self) -> usize {
        let tensors = std::iter::once(&self.dense).chain(&self.guides);
        tensors.map(|t| t.elem_count() * t.dtype().size_in_bytes()).sum()
    }
}

/// The projections of the encoder's first three levels to skip guidance.
#[derive(Debug)]
pub struct GuidanceProjection {
    /// For decoder levels 1, 2, 3, over encoder levels 3, 2, 1.
    projections: Vec<Conv2d>,
}

impl GuidanceProjection {
    /// Loads `transformer.decoder_guidance_projection`.
    ///
    /// # Errors
    /// When a tensor is missing or mis-shaped.
    pub fn load(weights: &Weights<'_>, config: &SedConfig) -> Result<Self> {
        let load = |level: usize| {
            let (inputs, outputs) = (config.vision.dims[2 - level], config.decoder.guidance_dims[level]);
            let weights = weights.at(&format!("transformer.decoder_guidance_projection.{level}.0"));
            let weight = weights.matrix("weight", &[outputs, inputs, 3, 3])?;
            Ok(Conv2d::new(&weight, Some(&weights.tensor("bias", &[outputs])?))?)
        };
        Ok(Self { projections: (0..3).map(load).collect::<Result<_>>()? })
    }

    /// Skip guidance for decoder levels 1, 2, 3 (after ReLU): `[n, S/16, S/16, G0]`, `[n, S/8, S/8, G1]`,
    /// `[n, S/4, S/4, G2]`.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn forward(&self, levels: &[Tensor]) -> Result<Vec<Tensor>> {
        let levels = levels.iter().take(3).rev();
        levels.zip(&self.projections).map(|(x, conv)| Ok(conv.forward(x, Activation::Relu)?)).collect()
    }
}
