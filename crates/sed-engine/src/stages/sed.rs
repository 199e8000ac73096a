//! The real model as an implementation of [`Stages`].

use std::sync::{Arc, Once};

use sed_model::{
    DecodeRequest, Footprint, ImageFeatures, Input, ModelError, PairBatch, Parts, PinnedInput, PinnedInputs,
    Question, SedModel, Submitted, activation_dtype,
    config::PROMPTS,
    device::{Fault, diagnose, gpu_memory, upload},
    prompts, text_tower, tokenizer,
};

use candle_core::{DType, Device, Tensor};

use crate::stages::{
    Advanced, FinishedMap, Level, MemoryNeeds, ModelInfo, NetworkInput, OutputSpec, StageError, Stages,
    input::{InputSlot, InputSlots, JobInput},
    machine::Memory,
    phrases::{PhraseTokens, ReadPhrases},
};

/// A SED model, ready to be scheduled.
#[derive(Debug)]
pub struct SedStages {
    model: SedModel,
    /// The log has the first batch that has no graph.
    without_graph: Once,
}

impl SedStages {
    /// Wraps a model.
    pub fn new(model: SedModel) -> Self {
        Self { model, without_graph: Once::new() }
    }

    /// Reports sizes of batches that the driver would not record: their launches are queued one by one.
    fn report_spoiled_graphs(&self) {
        for reason in self.model.graphs_spoiled() {
            let effect = "batches of this size take longer, until a later try works";
            self.without_graph
                .call_once(|| tracing::warn!(reason, effect, "the encoder could not be recorded"));
            tracing::debug!(reason, "the encoder could not be recorded");
        }
    }

    /// The error of a stage. Where the device had too little memory, it has more behind this.
    fn failed(&self, error: ModelError) -> StageError {
        let error = match error {
            ModelError::Tensor(error) => error,
            ModelError::NotFinite { found, of } => return StageError::NotFinite { found, of },
            error => return StageError::Failed(error.to_string()),
        };
        let message = without_backtrace(&error);
        match diagnose(self.model.device(), &error) {
            Fault::OutOfMemory => StageError::OutOfMemory(message),
            Fault::Lost => StageError::DeviceLost(message),
            Fault::None => StageError::Failed(message),
        }
    }
}

impl ReadPhrases for tokenizer::PhraseReader {
    fn read(&self, phrase: &str) -> PhraseTokens {
        self.read(phrase)
    }
}

impl InputSlots for PinnedInputs {
    fn fill(&self, values: &[f32]) -> Option<InputSlot> {
        self.fill(values).map(|slot| Arc::new(slot) as InputSlot)
    }
}

/// On a CPU, more images than this make no encoder batch faster.
pub const USEFUL_IMAGES_CPU: usize = 4;
/// Most bytes of an encoder batch on a CPU. A larger one does not fit the caches: four images of SED-B (0.5
/// GiB of maps) take 6 % longer together than one after another, four of a small model 5 % less.
const CACHED_BYTES_CPU: u64 = 64 << 20;
/// Pairs are worked on one by one within a launch, so a larger batch does no harm.
pub const USEFUL_PAIRS_CPU: usize = 256;
/// A GPU needs this much work to be busy.
const USEFUL_IMAGES_GPU: usize = 16;
/// Slots for inputs: of a batch on the device, of the next one, and of pictures that are being decoded.
const INPUT_SLOTS: usize = 3 * USEFUL_IMAGES_GPU;
/// Pairs before the first rejection of a submission with as many images, of 150 categories each. Launches of more than
/// some 700 pairs gain nothing (a prediction from their sizes, not measured), and do no harm.
const USEFUL_PAIRS_GPU: usize = 150 * USEFUL_IMAGES_GPU;

impl Stages for SedStages {
    type PhraseEmbedding = Tensor;
    type TextEmbedding = text_tower::TextEmbedding;
    type ImageFeatures = ImageFeatures;
    type Pairs = PairBatch;
    type Parts = Parts;

    fn info(&self) -> ModelInfo {
        let config = self.model.config();
        ModelInfo {
            name: config.name.clone(),
            digest: self.model.digest().to_owned(),
            templates_digest: prompts::templates_digest(),
            text_arithmetic: text_tower::ARITHMETIC,
            dtype: self.model.dtype().as_str().to_owned(),
            device: device_name(self.model.device()),
            input_side: config.image_size,
            map_side: config.image_size / 4,
        }
    }

    fn phrase_reader(&self) -> Arc<dyn ReadPhrases> {
        Arc::new(self.model.text_tower().phrase_reader())
    }

    fn input_slots(&self) -> Option<Arc<dyn InputSlots>> {
        let (model, side) = (&self.model, self.model.config().image_size);
        if !model.submits() {
            return None;
        }
        let dtype = activation_dtype(model.device(), model.dtype());
        let slots = PinnedInputs::new(model.device(), dtype, side * side * 3, INPUT_SLOTS);
        Some(Arc::new(slots))
    }

    fn can_recover(&self) -> bool {
        self.model.device().is_cpu()
    }

    fn memory(&self) -> MemoryNeeds {
        let (config, device) = (self.model.config(), self.model.device());
        let cpu = device.is_cpu();
        let footprint = if cpu {
            Footprint::of(config)
        } else {
            Footprint::on_gpu(config, self.model.dtype().size_in_bytes())
        };
        MemoryNeeds {
            free: if cpu {
                Memory::now().map(|memory| memory.available)
            } else {
                // Vocabularies that submissions keep grow beside the batches.
                gpu_memory(device).map(|memory| memory.free.saturating_sub(self.model.vocabulary_bytes()))
            },
            per_image: footprint.image_bytes,
            per_pair: footprint.pair_bytes,
            useful_images: if cpu {
                let cached = (CACHED_BYTES_CPU / footprint.image_bytes.max(1)) as usize;
                cached.clamp(1, USEFUL_IMAGES_CPU)
            } else {
                USEFUL_IMAGES_GPU
            },
            useful_pairs: if cpu { USEFUL_PAIRS_CPU } else { USEFUL_PAIRS_GPU },
            most_pairs: self.model.most_pairs().unwrap_or(usize::MAX),
        }
    }

    fn phrase_bytes(&self, embedding: &Tensor) -> usize {
        embedding.elem_count() * embedding.dtype().size_in_bytes()
    }

    fn text_bytes(&self, embedding: &text_tower::TextEmbedding) -> usize {
        self.phrase_bytes(embedding.tensor())
    }

    fn feature_bytes(&self, features: &ImageFeatures) -> usize {
        features.bytes()
    }

    fn store_phrase(&self, embedding: &Tensor) -> Result<Vec<u8>, StageError> {
        let values = || embedding.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let values = values().map_err(|error| self.failed(error.into()))?;
        let found = values.iter().filter(|value| !value.is_finite()).count();
        if found > 0 {
            return Err(StageError::NotFinite { found, of: values.len() });
        }
        Ok(values.into_iter().flat_map(f32::to_le_bytes).collect())
    }

    fn restore_phrase(&self, bytes: &[u8]) -> Result<Tensor, StageError> {
        let (chunks, rest) = bytes.as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        let width = self.model.config().embed_dim;
        if !rest.is_empty()
            || values.len() != PROMPTS * width
            || values.iter().any(|value| !value.is_finite())
        {
            return Err(StageError::Failed(format!("{} bytes are no embedding of this model", bytes.len())));
        }
        let embedding = upload(values, &[PROMPTS, width], self.model.device(), DType::F32);
        embedding.map_err(|error| self.failed(error.into()))
    }

    fn embed_phrases(&self, phrases: &[&str]) -> Result<Vec<Tensor>, StageError> {
        self.model.text_tower().embed_phrases(phrases).map_err(|error| self.failed(error))
    }

    fn combine(&self, phrases: &[Tensor]) -> Result<text_tower::TextEmbedding, StageError> {
        let combined = text_tower::TextEmbedding::combine(phrases);
        combined
            .and_then(|embedding| embedding.to_dtype(self.model.dtype()))
            .map_err(|error| self.failed(error))
    }

    fn direction(&self, embedding: &text_tower::TextEmbedding) -> Result<Vec<f32>, StageError> {
        embedding.direction().map_err(|error| self.failed(error))
    }

    fn encode(&self, inputs: &[&NetworkInput]) -> Result<Vec<ImageFeatures>, StageError> {
        let images: Vec<&[f32]> = inputs.iter().map(|input| input.data.as_slice()).collect();
        self.model.encode_host(&images).map_err(|error| self.failed(error))
    }

    fn cost_map(&self, requests: &[DecodeRequest<'_>]) -> Result<Vec<PairBatch>, StageError> {
        self.model.cost_map(requests).and_then(PairBatch::split).map_err(|error| self.failed(error))
    }

    fn decode(&self, level: Level, batch: Vec<PairBatch>) -> Result<Vec<PairBatch>, StageError> {
        let joined = PairBatch::join(batch).map_err(|error| self.failed(error))?;
        let decoded = self.model.decode_level(level, joined);
        decoded.and_then(PairBatch::split).map_err(|error| self.failed(error))
    }

    fn cost_map_parts(&self, request: &DecodeRequest<'_>) -> Result<Parts, StageError> {
        self.model.cost_map_parts(request).map_err(|error| self.failed(error))
    }

    fn decode_parts(&self, level: Level, pairs: PairBatch) -> Result<Parts, StageError> {
        self.model.level_parts(level, pairs).map_err(|error| self.failed(error))
    }

    fn advance(&self, parts: &mut Parts, most: usize) -> Result<Advanced<PairBatch>, StageError> {
        self.model.advance(parts, most).map_err(|error| self.failed(error))
    }

    fn survivors(&self, pairs: &PairBatch) -> Vec<u32> {
        pairs.survivors(0).to_vec()
    }

    fn finish(&self, batch: Vec<PairBatch>, outputs: &[OutputSpec]) -> Result<Vec<FinishedMap>, StageError> {
        let finished = |(pairs, output): (PairBatch, &OutputSpec)| {
            let outputs = std::slice::from_ref(output);
            let mut maps = self.model.finish(&pairs, outputs).map_err(|error| self.failed(error))?;
            maps.pop().ok_or_else(|| StageError::Failed("gave no map".into()))
        };
        batch.into_iter().zip(outputs).map(finished).collect()
    }

    fn submits(&self, output: &OutputSpec) -> bool {
        self.model.submits() && !output.score_maps
    }

    fn submit(
        &self,
        inputs: &[&JobInput],
        keep: &[bool],
        questions: &[Question<'_>],
    ) -> Result<Submitted, StageError> {
        let inputs: Vec<Input<'_>> = inputs.iter().copied().map(placed).collect();
        let submitted = self.model.submit(&inputs, keep, questions);
        self.report_spoiled_graphs();
        submitted.map_err(|error| self.failed(error))
    }
}

/// An input where the device reads it best.
fn placed(input: &JobInput) -> Input<'_> {
    match input.slot::<PinnedInput>() {
        Some(slot) => Input::Pinned(slot),
        None => Input::Values(&input.values().data),
    }
}

/// The name of a device: `cpu`, `cuda:0`, ...
pub fn device_name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".to_owned(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

/// The message of an error. A backtrace, which `RUST_BACKTRACE` adds, would end in the answer to a caller.
fn without_backtrace(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(inner),
        error => error.to_string(),
    }
}
