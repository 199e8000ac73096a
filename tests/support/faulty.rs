//! A model that fails now and then, or is slow with words: the real one, with faults and waits before its
//! stages.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sed_engine::{
    Advanced, DecodeRequest, FinishedMap, InputSlots, JobInput, Level, MemoryNeeds, ModelInfo, NetworkInput,
    OutputSpec, Question, ReadPhrases, StageError, Stages, Submitted, metrics::DeviceErrorKind,
};
use sed_telemetry::Label;

/// Switches the faults and counts them, and sets how slow words are. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitch(Arc<Faults>);

#[derive(Debug, Default)]
struct Faults {
    on: AtomicBool,
    /// Milliseconds that each phrase takes longer.
    word_delay: AtomicU64,
    drawn: Mutex<BTreeMap<String, u64>>,
}

impl FaultSwitch {
    pub fn set(&self, on: bool) {
        self.0.on.store(on, Ordering::SeqCst);
    }

    /// Makes the text tower take so much longer for each phrase, in whole milliseconds, whether faults are on
    /// or off.
    pub fn slow_words(&self, each: Duration) {
        self.0.word_delay.store(each.as_millis() as u64, Ordering::SeqCst);
    }

    fn wait_for_words(&self, phrases: usize) {
        let each = Duration::from_millis(self.0.word_delay.load(Ordering::SeqCst));
        std::thread::sleep(each * phrases as u32);
    }

    /// Launches that failed, by the name that the metrics have for the kind of error.
    pub fn drawn(&self) -> BTreeMap<String, u64> {
        self.0.drawn.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, kind: DeviceErrorKind) {
        let mut drawn = self.0.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        *drawn.entry(kind.as_str().to_owned()).or_default() += 1;
    }
}

/// More pairs than this, or more than one image, can be too many for the memory.
const LARGE: usize = 16;

/// Any model with faults and slow words.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    switch: FaultSwitch,
    random: Mutex<fastrand::Rng>,
}

impl<S> Faulty<S> {
    /// Faults drawn from `seed`; none before the switch is on. Words take their own time at first.
    pub fn new(inner: S, seed: u64) -> (Self, FaultSwitch) {
        let switch = FaultSwitch::default();
        (Self { inner, switch: switch.clone(), random: Mutex::new(fastrand::Rng::with_seed(seed)) }, switch)
    }

    /// Of ten thousand calls some panic, fail or are slow, large ones run out of memory, and few lose the device.
    fn stumble(&self, size: usize) -> Result<(), StageError> {
        if !self.switch.0.on.load(Ordering::SeqCst) {
            return Ok(());
        }
        let drawn = self.random.lock().unwrap_or_else(PoisonError::into_inner).u32(0..10_000);
        let kind = match drawn {
            0..100 if size > LARGE => DeviceErrorKind::OutOfMemory,
            100..130 => DeviceErrorKind::Panic,
            130..160 => DeviceErrorKind::Failed,
            160..163 => DeviceErrorKind::Lost,
            163..220 => {
                std::thread::sleep(Duration::from_millis(20));
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.switch.count(kind);
        Err(match kind {
            DeviceErrorKind::OutOfMemory => StageError::OutOfMemory("drawn".into()),
            DeviceErrorKind::Lost => StageError::DeviceLost("drawn".into()),
            DeviceErrorKind::Panic => panic!("drawn"),
            DeviceErrorKind::Failed | DeviceErrorKind::NotFinite => StageError::Failed("drawn".into()),
        })
    }
}

impl<S: Stages> Stages for Faulty<S> {
    type PhraseEmbedding = S::PhraseEmbedding;
    type TextEmbedding = S::TextEmbedding;
    type ImageFeatures = S::ImageFeatures;
    type Pairs = S::Pairs;
    type Parts = S::Parts;

    fn info(&self) -> ModelInfo {
        self.inner.info()
    }

    fn phrase_reader(&self) -> Arc<dyn ReadPhrases> {
        self.inner.phrase_reader()
    }

    fn input_slots(&self) -> Option<Arc<dyn InputSlots>> {
        self.inner.input_slots()
    }

    fn can_recover(&self) -> bool {
        self.inner.can_recover()
    }

    fn memory(&self) -> MemoryNeeds {
        self.inner.memory()
    }

    fn phrase_bytes(&self, embedding: &S::PhraseEmbedding) -> usize {
        self.inner.phrase_bytes(embedding)
    }

    fn text_bytes(&self, embedding: &S::TextEmbedding) -> usize {
        self.inner.text_bytes(embedding)
    }

    fn feature_bytes(&self, features: &S::ImageFeatures) -> usize {
        self.inner.feature_bytes(features)
    }

    fn store_phrase(&self, embedding: &S::PhraseEmbedding) -> Result<Vec<u8>, StageError> {
        self.inner.store_phrase(embedding)
    }

    fn restore_phrase(&self, bytes: &[u8]) -> Result<S::PhraseEmbedding, StageError> {
        self.inner.restore_phrase(bytes)
    }

    fn embed_phrases(&self, phrases: &[&str]) -> Result<Vec<S::PhraseEmbedding>, StageError> {
        self.stumble(0)?;
        self.switch.wait_for_words(phrases.len());
        self.inner.embed_phrases(phrases)
    }

    fn combine(&self, phrases: &[S::PhraseEmbedding]) -> Result<S::TextEmbedding, StageError> {
        self.inner.combine(phrases)
    }

    fn direction(&self, embedding: &S::TextEmbedding) -> Result<Vec<f32>, StageError> {
        self.inner.direction(embedding)
    }

    fn encode(&self, inputs: &[&NetworkInput]) -> Result<Vec<S::ImageFeatures>, StageError> {
        self.stumble(inputs.len() * LARGE)?;
        self.inner.encode(inputs)
    }

    fn cost_map(
        &self,
        requests: &[DecodeRequest<'_, S::ImageFeatures, S::TextEmbedding>],
    ) -> Result<Vec<S::Pairs>, StageError> {
        self.stumble(requests.iter().map(|request| request.text.len()).sum())?;
        self.inner.cost_map(requests)
    }

    fn decode(&self, level: Level, batch: Vec<S::Pairs>) -> Result<Vec<S::Pairs>, StageError> {
        self.stumble(batch.iter().map(|pairs| self.inner.survivors(pairs).len()).sum())?;
        self.inner.decode(level, batch)
    }

    fn cost_map_parts(
        &self,
        request: &DecodeRequest<'_, S::ImageFeatures, S::TextEmbedding>,
    ) -> Result<S::Parts, StageError> {
        self.inner.cost_map_parts(request)
    }

    fn decode_parts(&self, level: Level, pairs: S::Pairs) -> Result<S::Parts, StageError> {
        self.inner.decode_parts(level, pairs)
    }

    fn advance(&self, parts: &mut S::Parts, most: usize) -> Result<Advanced<S::Pairs>, StageError> {
        self.stumble(most)?;
        self.inner.advance(parts, most)
    }

    fn survivors(&self, pairs: &S::Pairs) -> Vec<u32> {
        self.inner.survivors(pairs)
    }

    fn finish(&self, batch: Vec<S::Pairs>, outputs: &[OutputSpec]) -> Result<Vec<FinishedMap>, StageError> {
        self.stumble(0)?;
        self.inner.finish(batch, outputs)
    }

    fn submits(&self, output: &OutputSpec) -> bool {
        self.inner.submits(output)
    }

    fn submit(
        &self,
        inputs: &[&JobInput],
        keep: &[bool],
        questions: &[Question<'_, S::ImageFeatures, S::TextEmbedding>],
    ) -> Result<Submitted<S::ImageFeatures>, StageError> {
        self.stumble(questions.iter().map(|question| question.text.len()).sum())?;
        self.inner.submit(inputs, keep, questions)
    }
}
