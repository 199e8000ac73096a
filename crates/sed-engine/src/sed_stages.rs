//! The real model behind the border of stages.

use sed_model::{DecodeRequest, ImageFeatures, ModelError, PairBatch, SedModel, prompts, text_tower};

use candle_core::{DType, Device, Tensor};

use crate::{
    stages::{
        DecoderLevel, FinishedMap, ModelInfo, NetworkInput, OutputSpec, PairRequest, ScoreMaps, StageError,
        Stages,
    },
    vocabulary::{Category, Vocabulary},
    vocabulary_book::VocabularyBook,
};

/// A SED model, ready to be scheduled.
#[derive(Debug)]
pub struct SedStages {
    model: SedModel,
}

impl SedStages {
    /// Puts a model behind the border.
    pub fn new(model: SedModel) -> Self {
        Self { model }
    }
}

/// The vocabularies that come with the model's crate.
pub fn builtin_vocabularies() -> VocabularyBook {
    let owned = |category: prompts::Category| Category { name: category.name, synonyms: category.synonyms };
    let named = |name: &'static str| {
        let categories = prompts::builtin_vocabulary(name)?.into_iter().map(owned).collect();
        Some((name.to_owned(), Vocabulary::built_in(categories).ok()?))
    };
    prompts::builtin_vocabularies().filter_map(named).collect()
}

impl Stages for SedStages {
    type PhraseEmbedding = Tensor;
    type TextEmbedding = text_tower::TextEmbedding;
    type ImageFeatures = ImageFeatures;
    type Pairs = PairBatch;

    fn info(&self) -> ModelInfo {
        let config = self.model.config();
        ModelInfo {
            name: config.name.clone(),
            digest: self.model.digest().to_owned(),
            dtype: self.model.dtype().as_str().to_owned(),
            device: device_name(self.model.device()),
            input_side: config.image_size,
            map_side: config.image_size / 4,
        }
    }

    fn phrase_bytes(&self, embedding: &Tensor) -> usize {
        embedding.elem_count() * embedding.dtype().size_in_bytes()
    }

    fn embed_phrases(&self, phrases: &[&str]) -> Result<Vec<Tensor>, StageError> {
        self.model.text_tower().embed_phrases(phrases).map_err(stage_error)
    }

    fn combine(&self, phrases: &[Tensor]) -> Result<text_tower::TextEmbedding, StageError> {
        let combined = text_tower::TextEmbedding::combine(phrases);
        combined.and_then(|embedding| embedding.to_dtype(self.model.dtype())).map_err(stage_error)
    }

    fn encode(&self, inputs: &[NetworkInput]) -> Result<Vec<ImageFeatures>, StageError> {
        let side = self.model.config().image_size;
        let data: Vec<f32> = inputs.iter().flat_map(|input| input.data.iter().copied()).collect();
        let pixels = Tensor::from_vec(data, (inputs.len(), side, side, 3), &Device::Cpu);
        pixels.map_err(ModelError::from).and_then(|pixels| self.model.encode(&pixels)).map_err(stage_error)
    }

    fn cost_map(&self, requests: &[PairRequest<'_, Self>]) -> Result<PairBatch, StageError> {
        let mut decode_requests = Vec::with_capacity(requests.len());
        for &PairRequest { features, text, top_k } in requests {
            decode_requests.push(DecodeRequest { features, text, top_k });
        }
        self.model.cost_map(&decode_requests).map_err(stage_error)
    }

    fn decode(&self, level: DecoderLevel, pairs: PairBatch) -> Result<PairBatch, StageError> {
        self.model.decode_level(level.number() as usize, pairs).map_err(stage_error)
    }

    fn survivors(&self, pairs: &PairBatch, image: usize) -> Vec<u32> {
        pairs.survivors(image).to_vec()
    }

    fn finish(&self, pairs: PairBatch, outputs: &[OutputSpec]) -> Result<Vec<FinishedMap>, StageError> {
        let spec = |output: &OutputSpec| sed_model::OutputSpec {
            height: output.height as usize,
            width: output.width as usize,
            crop: output.crop.map(|(width, height)| (height as usize, width as usize)),
            score_threshold: output.score_threshold,
            score_maps: output.score_maps,
        };
        let specs: Vec<_> = outputs.iter().map(spec).collect();
        let maps = self.model.finish(&pairs, &specs).map_err(stage_error)?;
        let finished = |(image, map): (usize, sed_model::SegmentationMap)| {
            let scores =
                map.score_maps.map(|scores| score_maps(pairs.survivors(image), &scores)).transpose()?;
            Ok(FinishedMap {
                width: map.width as u32,
                height: map.height as u32,
                indices: map.indices,
                pixels: map.pixels,
                mean_scores: map.mean_scores,
                score_maps: scores,
            })
        };
        maps.into_iter().enumerate().map(finished).collect()
    }
}

/// Scores `[survivors, side, side]` off the device.
fn score_maps(survivors: &[u32], scores: &Tensor) -> Result<ScoreMaps, StageError> {
    let read = || {
        let (_, height, width) = scores.dims3()?;
        let scores = scores.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(ScoreMaps { width: width as u32, height: height as u32, categories: survivors.to_vec(), scores })
    };
    read().map_err(|error: candle_core::Error| stage_error(error.into()))
}

fn device_name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".to_owned(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

fn stage_error(error: ModelError) -> StageError {
    StageError::Failed(error.to_string())
}
