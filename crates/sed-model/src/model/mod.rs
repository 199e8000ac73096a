//! The whole network, cut into the stages that a server schedules.

mod submission;

use std::sync::Mutex;

use candle_core::{DType, Device, Tensor};
use sed_kernels::device::{synchronize, upload};
use sed_kernels::{activation_dtype, has_cuda_kernels};

use crate::checkpoint::{Checkpoint, Weights};
use crate::config::SedConfig;
use crate::cost_map::CostMap;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{ModelError, Result};
use crate::features::{GuidanceProjection, ImageFeatures};
use crate::launch_limits::LaunchLimits;
use crate::level::Level;
use crate::pairs::{DecodeRequest, PairBatch};
use crate::parts::{Advanced, Parts};
use crate::prompts::Category;
use crate::segmentation::{FinishedMap, OutputSpec, finish};
use crate::text_tower::{TextEmbedding, TextTower};
use submission::State;
pub use submission::{Answered, Input, Question, RawMap, Source, StageTimes, Submitted};

/// A SED model with its weights on one device. Every stage is a pure function of its inputs.
#[derive(Debug)]
pub struct SedModel {
    config: SedConfig,
    digest: String,
    device: Device,
    dtype: DType,
    text_tower: TextTower,
    encoder: Encoder,
    guidance: GuidanceProjection,
    cost_map: CostMap,
    decoder: Decoder,
    /// On a GPU.
    limits: Option<LaunchLimits>,
    /// On a GPU.
    submissions: Option<Mutex<State>>,
}

impl SedModel {
    /// Loads a model whose sizes are in a `config.json` beside the checkpoint or recognised from its
    /// tensors.
    ///
    /// # Errors
    /// When the checkpoint cannot be read or does not fit its configuration; the error names every
    /// tensor that is missing, extra or mis-shaped, or holds a value that is not finite.
    pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        Self::load_as(checkpoint, checkpoint.config()?, device, DType::F32)
    }

    /// Loads a model of the sizes of `config`, in the number format `dtype`: f32, or bf16 for weights,
    /// image features and text embeddings in half the memory (sums stay f32). On a GPU the format holds for all
    /// that is between, too, and can also be f16.
    ///
    /// # Errors
    /// As [`SedModel::load`], and when the format is another one or does not reach a weight.
    pub fn load_as(
        checkpoint: &Checkpoint,
        config: SedConfig,
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        let on_gpu = has_cuda_kernels(device);
        let known = matches!(dtype, DType::F32 | DType::BF16) || (on_gpu && dtype == DType::F16);
        if !known {
            let choice = if on_gpu { "f32, bf16 or f16" } else { "f32 or bf16 (f16 is for GPUs)" };
            let reason = format!("number format {} is not supported here; choose {choice}", dtype.as_str());
            return Err(ModelError::input(reason));
        }
        checkpoint.check(&config)?;
        checkpoint.check_finite()?;
        let weights = Weights::new(checkpoint, device).with_matrices(dtype);
        let pixels = config.image_size.pow(2) * 3;
        let state = || State::new(device, activation_dtype(device, dtype), pixels);
        Ok(Self {
            text_tower: TextTower::load(&weights, &config)?,
            encoder: Encoder::load(&weights, &config)?,
            guidance: GuidanceProjection::load(&weights, &config)?,
            cost_map: CostMap::load(&weights, &config)?,
            decoder: Decoder::load(&weights, &config)?,
            digest: checkpoint.digest(&config)?,
            device: device.clone(),
            dtype,
            limits: on_gpu.then(|| LaunchLimits::of(&config, dtype)),
            submissions: on_gpu.then(|| Mutex::new(state())),
            config,
        })
    }

    /// The model's sizes.
    pub fn config(&self) -> &SedConfig {
        &self.config
    }

    /// `sha256:` and the digest of weights and configuration, as [`Checkpoint::digest`] returns it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The device that holds the weights.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The number format of weights, image features and text embeddings: f32, bf16 or f16.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The most (image, category) pairs that one launch of any stage may have, whatever the memory; `None` on a CPU,
    /// which has no such limit.
    pub fn most_pairs(&self) -> Option<usize> {
        self.limits.map(LaunchLimits::least)
    }

    /// The limits of launches on a GPU.
    pub(crate) fn limits(&self) -> Option<LaunchLimits> {
        self.limits
    }

    /// Memory and experience of submissions, on a GPU.
    pub(crate) fn submissions(&self) -> Option<&Mutex<State>> {
        self.submissions.as_ref()
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
        let embeddings = self.text_tower.embed(categories)?;
        self.whole(embeddings.into_iter().map(|embedding| embedding.to_dtype(self.dtype)).collect())
    }

    /// Stage: features of normalised pixels `[n, S, S, 3]`, one for each image.
    ///
    /// # Errors
    /// When the pixels are not of the model's size, or a tensor operation fails.
    pub fn encode(&self, pixels: &Tensor) -> Result<Vec<ImageFeatures>> {
        let pixels = pixels.to_device(&self.device)?.to_dtype(activation_dtype(&self.device, self.dtype))?;
        let encoded = self.encoder.forward(&pixels)?;
        let guides = self.decoder.guides(&self.guidance.forward(&encoded.levels)?)?;
        let features = ImageFeatures::of_images(&encoded.dense, &guides)?;
        self.whole(features.into_iter().map(|features| features.to_dtype(self.dtype)).collect())
    }

    /// Stage: as [`SedModel::encode`], of images in the host's memory, each the `S·S·3` values of normalised pixels. A
    /// GPU reads them from pinned memory.
    ///
    /// # Errors
    /// As [`SedModel::encode`].
    pub fn encode_host(&self, images: &[&[f32]]) -> Result<Vec<ImageFeatures>> {
        let side = self.config.image_size;
        let pixels = upload(images.concat(), &[images.len(), side, side, 3], &self.device, DType::F32)?;
        self.encode(&pixels)
    }

    /// Waits for the device, which may still be at work: a stage that fails or takes long does so itself, and not
    /// the one behind it.
    fn whole<T>(&self, result: Result<T>) -> Result<T> {
        let whole = result.and_then(|result| Ok(synchronize(&self.device).map(|()| result)?));
        if let Err(error) = &whole {
            self.relieve(error);
        }
        whole
    }

    /// Stage: all pairs of all requests, less those that are rejected before decoder level 1.
    ///
    /// # Errors
    /// When there is no request, a vocabulary is empty, there are more pairs than one launch may have, or a tensor
    /// operation fails.
    pub fn cost_map(&self, requests: &[DecodeRequest<'_>]) -> Result<PairBatch> {
        let pairs = requests.iter().map(|request| request.text.len()).sum();
        check_pairs(pairs, self.limits.map(|limits| limits.cost_map))?;
        self.whole(self.cost_map.forward(requests))
    }

    /// Stage: a decoder level, and behind the first two the rejection before the next.
    ///
    /// # Errors
    /// When the levels are not run in order, there are more pairs than one launch may have, or a tensor operation
    /// fails.
    pub fn decode_level(&self, level: Level, pairs: PairBatch) -> Result<PairBatch> {
        pairs.check_level(level)?;
        check_pairs(pairs.pairs(), self.limits.map(|limits| limits.levels[level.index()]))?;
        self.whole(self.decoder.forward(level, pairs))
    }

    /// The cost map of one image in parts, for [`SedModel::advance`].
    ///
    /// # Errors
    /// When the vocabulary is empty, or groups do not fit it.
    pub fn cost_map_parts(&self, request: &DecodeRequest<'_>) -> Result<Parts> {
        Parts::cost_map(request)
    }

    /// A decoder level of a batch of one image in parts, for [`SedModel::advance`].
    ///
    /// # Errors
    /// When there are several images, or the levels are not run in order.
    pub fn level_parts(&self, level: Level, pairs: PairBatch) -> Result<Parts> {
        Parts::level(level, pairs)
    }

    /// Works on the next part of at most `most` pairs, or [`SedModel::most_pairs`] if they are fewer. All parts
    /// together give bit for bit what the stage gives in one go. After an error nothing has changed: the part can be
    /// tried again, or a smaller one.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn advance(&self, parts: &mut Parts, most: usize) -> Result<Advanced> {
        let most = most.min(self.most_pairs().unwrap_or(usize::MAX));
        // What fails only while it is waited for is the device itself, and then nothing is tried again.
        self.whole(parts.advance(&self.cost_map, &self.decoder, most))
    }

    /// Stage: the best category of every pixel, one map for each image.
    ///
    /// # Errors
    /// When not all levels have run, the outputs do not match the images, a crop is too large, or logits are not finite.
    pub fn finish(&self, pairs: &PairBatch, outputs: &[OutputSpec]) -> Result<Vec<FinishedMap>> {
        finish(pairs, outputs)
    }
}

/// Refuses a batch whose tensors a GPU could not index.
pub(crate) fn check_pairs(pairs: usize, limit: Option<usize>) -> Result<()> {
    match limit {
        Some(limit) if pairs > limit => Err(ModelError::input(format!(
            "{pairs} (image, category) pairs are more than the {limit} of one launch on a GPU; give fewer at a time"
        ))),
        _ => Ok(()),
    }
}
