//! A model that is deterministic and instant, with the rejection and the reports of a real one: the double
//! for tests of this crate and of those above it.

mod pairs;
mod reader;
mod submission;

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::stages::{
    Advanced, DecodeRequest, FinishedMap, Level, MemoryNeeds, ModelInfo, NetworkInput, OutputSpec, Question,
    StageError, Stages, Submitted,
    input::{InputSlots, JobInput},
    phrases::ReadPhrases,
    stage::Stage,
};

pub use pairs::FakePairs;
use pairs::{brightness, hash_text, mix};
pub use reader::{FakeReader, ROOM};
pub use submission::FakeSlots;

const INPUT_SIDE: usize = 32;
const MAP_SIDE: usize = 8;
/// Channels of a direction.
const CHANNELS: u64 = 256;
/// A phrase that holds this makes the text tower panic.
pub const POISON: &str = "poison";
/// An image whose first value is this makes the encoder panic.
pub const POISONED_PIXEL: f32 = -99.0;

/// A fault that a test injects into the fake's next call of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Panic.
    Panic,
    /// Fail with this error.
    Fail(StageError),
    /// Take this long, then work.
    Delay(Duration),
    /// Wait for [`FakeControl::release`], then work.
    Hold,
}

/// A test's control of a fake that runs in an engine. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FakeControl {
    inner: Arc<ControlInner>,
}

#[derive(Debug, Default)]
struct ControlInner {
    faults: Mutex<Vec<(Stage, Fault)>>,
    calls: [AtomicUsize; 7],
    embedded: AtomicUsize,
    /// Microseconds that the text tower takes for a phrase.
    phrase_time: AtomicU64,
    memory: AtomicUsize,
    beyond_recovery: AtomicBool,
    submits: AtomicBool,
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    waiting: usize,
    released: usize,
}

impl FakeControl {
    /// Makes the next call of a stage misbehave. Several faults of one stage happen one after the other.
    pub fn inject(&self, stage: Stage, fault: Fault) {
        self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner).push((stage, fault));
    }

    /// From now on, no more than so many pairs fit into a launch; 0 is no bound.
    pub fn set_memory(&self, pairs: usize) {
        self.inner.memory.store(pairs, Ordering::SeqCst);
    }

    /// From now on, the text tower takes so long for each phrase.
    pub fn slow_words(&self, each: Duration) {
        self.inner.phrase_time.store(each.as_micros() as u64, Ordering::SeqCst);
    }

    /// From now on, requests that arrive go through all stages in one submission where they can.
    pub fn submit_whole(&self) {
        self.inner.submits.store(true, Ordering::SeqCst);
    }

    /// Makes a lost device unable to recover in this process, from now on.
    pub fn forbid_recovery(&self) {
        self.inner.beyond_recovery.store(true, Ordering::SeqCst);
    }

    #[allow(clippy::panic)] // a panic on request is what this test double is for
    fn poisoned(&self, stage: Stage, poisoned: bool) {
        if poisoned {
            panic!("poison in {}", stage.name());
        }
    }

    /// Number of calls of a stage, the warm-up's included.
    pub fn calls(&self, stage: Stage) -> usize {
        self.inner.calls[stage.index()].load(Ordering::SeqCst)
    }

    /// Number of phrases that were embedded.
    pub fn embedded(&self) -> usize {
        self.inner.embedded.load(Ordering::SeqCst)
    }

    /// Waits until a call is held by [`Fault::Hold`]. Blocks the thread, for at most 10 seconds.
    pub fn wait_until_held(&self) -> bool {
        let held = self.inner.held.lock().unwrap_or_else(PoisonError::into_inner);
        let wait =
            self.inner.changed.wait_timeout_while(held, Duration::from_secs(10), |held| held.waiting == 0);
        wait.unwrap_or_else(PoisonError::into_inner).0.waiting > 0
    }

    /// Lets one held call go on, now or when it comes.
    pub fn release(&self) {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner).released += 1;
        self.inner.changed.notify_all();
    }

    #[allow(clippy::panic)] // a panic on request is what this test double is for
    fn enter(&self, stage: Stage, pairs: usize) -> Result<(), StageError> {
        self.inner.calls[stage.index()].fetch_add(1, Ordering::SeqCst);
        let memory = self.inner.memory.load(Ordering::SeqCst);
        if memory > 0 && pairs > memory {
            return Err(StageError::OutOfMemory(format!("{pairs} pairs do not fit into {memory}")));
        }
        let fault = {
            let mut faults = self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner);
            let next = faults.iter().position(|(of, _)| *of == stage);
            next.map(|index| faults.remove(index).1)
        };
        match fault {
            None => Ok(()),
            Some(Fault::Panic) => panic!("a fault was injected"),
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::Delay(time)) => {
                std::thread::sleep(time);
                Ok(())
            }
            Some(Fault::Hold) => {
                self.hold();
                Ok(())
            }
        }
    }

    fn hold(&self) {
        let mut held = self.inner.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.waiting += 1;
        self.inner.changed.notify_all();
        held = self
            .inner
            .changed
            .wait_while(held, |held| held.released == 0)
            .unwrap_or_else(PoisonError::into_inner);
        held.released -= 1;
        held.waiting -= 1;
    }
}

/// The fake model. The score of a pair at a cell of the picture depends on nothing but the pair's words, the
/// cell's brightness and place, and the level.
#[derive(Clone, Debug, Default)]
pub struct FakeStages {
    control: FakeControl,
}

impl FakeStages {
    /// A fake and its control.
    pub fn new() -> (Self, FakeControl) {
        let fake = Self::default();
        let control = fake.control.clone();
        (fake, control)
    }

    /// A fake that submits, from its warm-up on, and its control.
    pub fn that_submits() -> (Self, FakeControl) {
        let (fake, control) = Self::new();
        control.submit_whole();
        (fake, control)
    }
}

/// A stage of the fake in parts, which are counted twice as the real model's are.
#[derive(Debug)]
pub struct FakeParts {
    stage: Stage,
    /// The result that the stage ends with.
    result: FakePairs,
    /// Pairs of the first half, and of the second.
    halves: [usize; 2],
    done: usize,
}

/// The description of the fake model.
pub(crate) fn model_info() -> ModelInfo {
    ModelInfo {
        name: "fake".into(),
        digest: format!("sha256:{}", "0".repeat(64)),
        templates_digest: format!("sha256:{}", "1".repeat(64)),
        text_arithmetic: 1,
        dtype: "f32".into(),
        device: "cpu".into(),
        input_side: INPUT_SIDE,
        map_side: MAP_SIDE,
    }
}

impl Stages for FakeStages {
    type PhraseEmbedding = u64;
    type TextEmbedding = u64;
    type ImageFeatures = Arc<[u8]>;
    type Pairs = FakePairs;
    type Parts = FakeParts;

    fn info(&self) -> ModelInfo {
        model_info()
    }

    fn phrase_reader(&self) -> Arc<dyn ReadPhrases> {
        Arc::new(FakeReader)
    }

    fn input_slots(&self) -> Option<Arc<dyn InputSlots>> {
        self.control.inner.submits.load(Ordering::SeqCst).then(|| Arc::new(FakeSlots::new(2)) as _)
    }

    fn can_recover(&self) -> bool {
        !self.control.inner.beyond_recovery.load(Ordering::SeqCst)
    }

    fn memory(&self) -> MemoryNeeds {
        MemoryNeeds {
            free: None,
            per_image: 1,
            per_pair: 1,
            useful_images: 8,
            useful_pairs: 256,
            most_pairs: usize::MAX,
        }
    }

    fn phrase_bytes(&self, _: &u64) -> usize {
        8
    }

    fn text_bytes(&self, _: &u64) -> usize {
        8
    }

    fn feature_bytes(&self, features: &Arc<[u8]>) -> usize {
        features.len()
    }

    fn store_phrase(&self, embedding: &u64) -> Result<Vec<u8>, StageError> {
        Ok(embedding.to_le_bytes().to_vec())
    }

    fn restore_phrase(&self, bytes: &[u8]) -> Result<u64, StageError> {
        let bytes = bytes.try_into().map_err(|_| StageError::Failed("8 bytes expected".into()))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn embed_phrases(&self, phrases: &[&str]) -> Result<Vec<u64>, StageError> {
        self.control.enter(Stage::TextEmbedding, 0)?;
        let each = self.control.inner.phrase_time.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_micros(each * phrases.len() as u64));
        self.control.inner.embedded.fetch_add(phrases.len(), Ordering::SeqCst);
        let poisoned = phrases.iter().any(|phrase| phrase.contains(POISON));
        self.control.poisoned(Stage::TextEmbedding, poisoned);
        Ok(phrases.iter().map(|phrase| hash_text(17, &FakeReader::folded(phrase))).collect())
    }

    fn combine(&self, phrases: &[u64]) -> Result<u64, StageError> {
        Ok(phrases.iter().fold(17, |sum, phrase| mix(sum ^ phrase)))
    }

    fn direction(&self, embedding: &u64) -> Result<Vec<f32>, StageError> {
        // Each channel is one or the other, so that all directions have the same length.
        let length = (CHANNELS as f32).sqrt();
        let sign = |channel: u64| if mix(embedding ^ channel) & 1 == 0 { 1.0 } else { -1.0 };
        Ok((0..CHANNELS).map(|channel| sign(channel) / length).collect())
    }

    fn encode(&self, inputs: &[&NetworkInput]) -> Result<Vec<Arc<[u8]>>, StageError> {
        self.control.enter(Stage::Encode, 0)?;
        let poisoned =
            inputs.iter().any(|input| input.data.first().is_some_and(|value| *value == POISONED_PIXEL));
        self.control.poisoned(Stage::Encode, poisoned);
        Ok(inputs.iter().map(|input| brightness(input).into()).collect())
    }

    fn cost_map(&self, requests: &[DecodeRequest<'_, Arc<[u8]>, u64>]) -> Result<Vec<FakePairs>, StageError> {
        self.control.enter(Stage::CostMap, requests.iter().map(|request| request.text.len()).sum())?;
        Ok(requests.iter().map(FakePairs::of).collect())
    }

    fn decode(&self, level: Level, batch: Vec<FakePairs>) -> Result<Vec<FakePairs>, StageError> {
        self.control.enter(Stage::Decode(level), batch.iter().map(|image| image.survivors().len()).sum())?;
        Ok(batch.into_iter().map(|image| image.decoded(level)).collect())
    }

    fn cost_map_parts(&self, request: &DecodeRequest<'_, Arc<[u8]>, u64>) -> Result<FakeParts, StageError> {
        let result = FakePairs::of(request);
        let halves = [request.text.len(), result.survivors().len()];
        Ok(FakeParts { stage: Stage::CostMap, result, halves, done: 0 })
    }

    fn decode_parts(&self, level: Level, pairs: FakePairs) -> Result<FakeParts, StageError> {
        let halves = [pairs.survivors().len(); 2];
        Ok(FakeParts { stage: Stage::Decode(level), result: pairs.decoded(level), halves, done: 0 })
    }

    fn advance(&self, parts: &mut FakeParts, most: usize) -> Result<Advanced<FakePairs>, StageError> {
        let [first, second] = parts.halves;
        let left = if parts.done < first { first - parts.done } else { first + second - parts.done };
        let pairs = left.min(most);
        self.control.enter(parts.stage, pairs)?;
        parts.done += pairs;
        let finished = (parts.done == first + second).then(|| parts.result.clone());
        Ok(Advanced { pairs, finished })
    }

    fn survivors(&self, pairs: &FakePairs) -> Vec<u32> {
        pairs.survivors().to_vec()
    }

    fn finish(&self, batch: Vec<FakePairs>, outputs: &[OutputSpec]) -> Result<Vec<FinishedMap>, StageError> {
        self.control.enter(Stage::Finish, 0)?;
        Ok(batch.iter().zip(outputs).map(|(image, output)| image.finish(output)).collect())
    }

    fn submits(&self, output: &OutputSpec) -> bool {
        self.control.inner.submits.load(Ordering::SeqCst) && !output.score_maps
    }

    fn submit(
        &self,
        inputs: &[&JobInput],
        keep: &[bool],
        questions: &[Question<'_, Arc<[u8]>, u64>],
    ) -> Result<Submitted<Arc<[u8]>>, StageError> {
        submission::submit(self, inputs, keep, questions)
    }
}
