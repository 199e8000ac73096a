//! From image features and text embeddings to the embedding of every (image, category) pair, with the
//! first rejection between the two (SED section 3.3).

use candle_core::Tensor;
use sed_kernels::{Activation, Conv2d, DevicePairs, ScalarConv, gather_rows};

use crate::checkpoint::Weights;
use crate::config::{PROMPTS, SedConfig};
use crate::error::{ModelError, Result};
use crate::pairs::{DecodeRequest, PairBatch};
use crate::text_tower::TextEmbedding;

/// The first convolution over the cost map, and the head that rejects before decoder level 1.
#[derive(Debug)]
pub struct CostMap {
    embedding: Conv2d,
    /// `head0(conv1(x))` as one 9×9 convolution: a category that is rejected costs a tenth this way.
    rejection: ScalarConv,
}

impl CostMap {
    /// Loads `transformer.conv1` and `transformer.head0`.
    ///
    /// # Errors
    /// When a tensor is missing or mis-shaped.
    pub fn load(weights: &Weights<'_>, config: &SedConfig) -> Result<Self> {
        let decoder = weights.at("transformer");
        let hidden = config.decoder.hidden_dim;
        let shape = &[hidden, PROMPTS, 7, 7];
        let weight = decoder.tensor("conv1.weight", shape)?;
        let bias = decoder.tensor("conv1.bias", &[hidden])?;
        let head = decoder.tensor("head0.weight", &[1, hidden, 3, 3])?;
        let head_bias = decoder.tensor("head0.bias", &[1])?;
        Ok(Self {
            embedding: Conv2d::new(&decoder.matrix("conv1.weight", shape)?, Some(&bias))?,
            rejection: ScalarConv::composed(&weight, &bias, &head, &head_bias)?,
        })
    }

    /// Cosine similarities `[pairs, h, w, 80]` of all pairs of all requests, one request after another.
    ///
    /// # Errors
    /// When there is no request, a vocabulary is empty, groups do not fit it, or embeddings are of another
    /// model.
    pub fn similarities(&self, requests: &[DecodeRequest<'_>]) -> Result<Tensor> {
        if requests.is_empty() {
            return Err(ModelError::input("there is no image to compare with words"));
        }
        requests.iter().try_for_each(DecodeRequest::check)?;
        let images: Vec<&Tensor> = requests.iter().map(|request| request.features.dense()).collect();
        let texts: Vec<&Tensor> =
            requests.iter().flat_map(|request| request.text).map(TextEmbedding::tensor).collect();
        let image_of_pair: Vec<usize> = requests
            .iter()
            .enumerate()
            .flat_map(|(image, request)| std::iter::repeat_n(image, request.text.len()))
            .collect();
        Ok(sed_kernels::cost_map(&images, &texts, &image_of_pair)?)
    }

    /// The logits `[pairs, h, w]` by which categories are rejected before level 1.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn rejection_logits(&self, similarities: &Tensor) -> Result<Tensor> {
        Ok(self.rejection.forward(similarities)?)
    }

    /// The pairs' embeddings `[pairs, h, w, hidden]`.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn embed(&self, similarities: &Tensor) -> Result<Tensor> {
        Ok(self.embedding.forward(similarities, Activation::None)?)
    }

    /// As [`CostMap::embed`], of the pairs that a device counts.
    pub(crate) fn embed_pairs(&self, similarities: &Tensor, pairs: &DevicePairs) -> Result<Tensor> {
        Ok(self.embedding.forward_pairs(similarities, Activation::None, pairs)?)
    }

    /// The whole stage: similarities, rejection, and the embedding of the survivors only.
    ///
    /// # Errors
    /// As [`CostMap::similarities`].
    pub fn forward(&self, requests: &[DecodeRequest<'_>]) -> Result<PairBatch> {
        let mut similarities = self.similarities(requests)?;
        let mut batch = PairBatch::new(requests);
        if batch.rejects() {
            let logits = self.rejection_logits(&similarities)?;
            if let Some(kept) = batch.reject(&logits)? {
                similarities = gather_rows(&similarities, &kept)?;
            }
        }
        batch.features = Some(self.embed(&similarities)?);
        batch.cost_guidance = Some(similarities);
        Ok(batch)
    }
}
