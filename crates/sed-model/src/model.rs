//! The whole network, cut into the stages that a server schedules.

use candle_core::{Device, Tensor};

use crate::checkpoint::{Checkpoint, Weights};
use crate::config::SedConfig;
use crate::cost_map::{CostMap, DecodeRequest};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::Result;
use crate::features::{GuidanceProjection, ImageFeatures};
use crate::pairs::PairBatch;
use crate::prompts::Category;
use crate::segmentation::{OutputSpec, SegmentationMap, finish};
use crate::text_tower::{TextEmbedding, TextTower};

/// A SED model with its weights on one device. Every stage is a pure function of its inputs.
#[derive(Debug)]
pub struct SedModel {
    config: SedConfig,
    digest: String,
    device: Device,
    text_tower: TextTower,
    encoder: Encoder,
    guidance: GuidanceProjection,
    cost_map: CostMap,
    decoder: Decoder,
}

impl SedModel {
    /// Loads a model whose sizes are in a `config.json` beside the checkpoint or recognised from its
    /// tensors.
    ///
    /// # Errors
    /// When the checkpoint cannot be read or does not fit its configuration; the error names every
    /// tensor that is missing, extra or mis-shaped.
    pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        Self::load_as(checkpoint, checkpoint.config()?, device)
    }

    /// Loads a model of the sizes of `config`.
    ///
    /// # Errors
    /// As [`SedModel::load`].
    pub fn load_as(checkpoint: &Checkpoint, config: SedConfig, device: &Device) -> Result<Self> {
        checkpoint.check(&config)?;
        let weights = Weights::new(checkpoint, device);
        Ok(Self {
            text_tower: TextTower::load(&weights, &config)?,
            encoder: Encoder::load(&weights, &config)?,
            guidance: GuidanceProjection::load(&weights, &config)?,
            cost_map: CostMap::load(&weights, &config)?,
            decoder: Decoder::load(&weights, &config)?,
            digest: checkpoint.digest().to_owned(),
            device: device.clone(),
            config,
        })
    }

    /// The model's sizes.
    pub fn config(&self) -> &SedConfig {
        &self.config
    }

    /// `sha256:` and the digest of the weights.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The text tower.
    pub fn text_tower(&self) -> &TextTower {
        &self.text_tower
    }

    /// The image encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The projections to skip guidance.
    pub fn guidance(&self) -> &GuidanceProjection {
        &self.guidance
    }

    /// The stage between encoder and decoder.
    pub fn cost_map_stage(&self) -> &CostMap {
        &self.cost_map
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Stage: text embeddings of categories, one for each.
    ///
    /// # Errors
    /// When a category has no phrase, or a tensor operation fails.
    pub fn embed_categories(&self, categories: &[Category]) -> Result<Vec<TextEmbedding>> {
        self.text_tower.embed(categories)
    }

    /// Stage: features of normalised pixels `[n, S, S, 3]`, one for each image.
    ///
    /// # Errors
    /// When the pixels are not of the model's size, or a tensor operation fails.
    pub fn encode(&self, pixels: &Tensor) -> Result<Vec<ImageFeatures>> {
        let encoded = self.encoder.forward(&pixels.to_device(&self.device)?)?;
        self.guidance.features(&encoded, &self.decoder)
    }

    /// Stage: all pairs of all requests, less those that are rejected before decoder level 1.
    ///
    /// # Errors
    /// When there is no request, a vocabulary is empty, or a tensor operation fails.
    pub fn cost_map(&self, requests: &[DecodeRequest<'_>]) -> Result<PairBatch> {
        self.cost_map.forward(requests)
    }

    /// Stage: decoder level 1, 2 or 3, and behind the first two the rejection before the next.
    ///
    /// # Errors
    /// When the levels are not run in order, or a tensor operation fails.
    pub fn decode_level(&self, level: usize, pairs: PairBatch) -> Result<PairBatch> {
        self.decoder.forward(level, pairs)
    }

    /// Stage: the best category of every pixel, one map for each image.
    ///
    /// # Errors
    /// When not all levels have run, the outputs do not match the images, or a crop is too large.
    pub fn finish(&self, pairs: &PairBatch, outputs: &[OutputSpec]) -> Result<Vec<SegmentationMap>> {
        finish(pairs, outputs)
    }
}
