//! A model that is deterministic and instant, with the rejection and the reports of a real one: the double
//! for tests of this crate and of those above it.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    report::Stage,
    stages::{
        DecoderLevel, FinishedMap, ModelInfo, NetworkInput, OutputSpec, PairRequest, ScoreMaps, StageError,
        Stages, UNLABELLED,
    },
};

const INPUT_SIDE: usize = 32;
const MAP_SIDE: usize = 8;
const CELLS: usize = MAP_SIDE * MAP_SIDE;

/// What a test makes the fake do at its next call of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Panic.
    Panic,
    /// Fail so.
    Fail(StageError),
    /// Take this long, then work.
    Delay(Duration),
    /// Wait for [`FakeControl::release`], then work.
    Hold,
}

/// The test's hand on a fake that runs in an engine. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FakeControl {
    inner: Arc<ControlInner>,
}

#[derive(Debug, Default)]
struct ControlInner {
    faults: Mutex<Vec<(Stage, Fault)>>,
    calls: [AtomicUsize; 7],
    embedded: AtomicUsize,
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

    /// How often a stage was called, the warm-up included.
    pub fn calls(&self, stage: Stage) -> usize {
        self.inner.calls[stage as usize].load(Ordering::SeqCst)
    }

    /// How many phrases were embedded.
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
    fn enter(&self, stage: Stage) -> Result<(), StageError> {
        self.inner.calls[stage as usize].fetch_add(1, Ordering::SeqCst);
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

/// The fake model. The score of a category at a cell of the picture depends on nothing but the category's
/// words, the cell's brightness and place, and the level.
#[derive(Clone, Debug, Default)]
pub struct FakeStages {
    control: FakeControl,
}

impl FakeStages {
    /// A fake, and the hand on it.
    pub fn new() -> (Self, FakeControl) {
        let fake = Self::default();
        let control = fake.control.clone();
        (fake, control)
    }
}

/// The fake's pairs: for each image its cells, its categories and those that are left.
#[derive(Debug)]
pub struct FakePairs {
    images: Vec<FakeImage>,
}

#[derive(Debug)]
struct FakeImage {
    cells: Arc<[u8]>,
    words: Vec<u64>,
    top_k: Option<usize>,
    survivors: Vec<u32>,
}

impl Stages for FakeStages {
    type PhraseEmbedding = u64;
    type TextEmbedding = u64;
    type ImageFeatures = Arc<[u8]>;
    type Pairs = FakePairs;

    fn info(&self) -> ModelInfo {
        ModelInfo {
            name: "fake".into(),
            digest: format!("sha256:{}", "0".repeat(64)),
            dtype: "f32".into(),
            device: "cpu".into(),
            input_side: INPUT_SIDE,
            map_side: MAP_SIDE,
        }
    }

    fn phrase_bytes(&self, _: &u64) -> usize {
        8
    }

    fn embed_phrases(&self, phrases: &[&str]) -> Result<Vec<u64>, StageError> {
        self.control.enter(Stage::TextEmbedding)?;
        self.control.inner.embedded.fetch_add(phrases.len(), Ordering::SeqCst);
        Ok(phrases.iter().map(|phrase| hash_text(17, phrase)).collect())
    }

    fn combine(&self, phrases: &[u64]) -> Result<u64, StageError> {
        Ok(phrases.iter().fold(17, |sum, phrase| mix(sum ^ phrase)))
    }

    fn encode(&self, inputs: &[NetworkInput]) -> Result<Vec<Arc<[u8]>>, StageError> {
        self.control.enter(Stage::Encode)?;
        Ok(inputs.iter().map(|input| brightness(input).into()).collect())
    }

    fn cost_map(&self, requests: &[PairRequest<'_, Self>]) -> Result<FakePairs, StageError> {
        self.control.enter(Stage::CostMap)?;
        let images = requests.iter().map(|request| {
            let words = request.text.to_vec();
            let survivors = (0..words.len() as u32).collect();
            let cells = Arc::clone(request.features);
            let mut image = FakeImage { cells, words, top_k: request.top_k, survivors };
            image.reject(0);
            image
        });
        Ok(FakePairs { images: images.collect() })
    }

    fn decode(&self, level: DecoderLevel, mut pairs: FakePairs) -> Result<FakePairs, StageError> {
        let stage = match level {
            DecoderLevel::One => Stage::DecodeLevel1,
            DecoderLevel::Two => Stage::DecodeLevel2,
            DecoderLevel::Three => Stage::DecodeLevel3,
        };
        self.control.enter(stage)?;
        if level != DecoderLevel::Three {
            pairs.images.iter_mut().for_each(|image| image.reject(level.number()));
        }
        Ok(pairs)
    }

    fn survivors(&self, pairs: &FakePairs, image: usize) -> Vec<u32> {
        pairs.images[image].survivors.clone()
    }

    fn finish(&self, pairs: FakePairs, outputs: &[OutputSpec]) -> Result<Vec<FinishedMap>, StageError> {
        self.control.enter(Stage::Finish)?;
        Ok(pairs.images.iter().zip(outputs).map(|(image, output)| image.finish(output)).collect())
    }
}

impl FakeImage {
    /// The score of a category at a cell, in (0, 1).
    fn score(&self, level: u32, category: u32, cell: usize) -> f32 {
        let seed = self.words[category as usize] ^ (u64::from(self.cells[cell]) << 8) ^ cell as u64;
        let mixed = mix(seed ^ (u64::from(level) << 32));
        ((mixed >> 41) as f32 + 1.0) / ((1_u64 << 23) as f32 + 2.0)
    }

    /// Keeps the union of the `top_k` best of every cell.
    fn reject(&mut self, level: u32) {
        let Some(top_k) = self.top_k else { return };
        let mut keep = vec![false; self.words.len()];
        for cell in 0..CELLS {
            let mut ranked = self.survivors.clone();
            ranked.sort_by(|a, b| self.score(level, *b, cell).total_cmp(&self.score(level, *a, cell)));
            ranked.iter().take(top_k).for_each(|category| keep[*category as usize] = true);
        }
        self.survivors.retain(|category| keep[*category as usize]);
    }

    fn finish(&self, output: &OutputSpec) -> FinishedMap {
        let (crop_width, crop_height) = output.crop.unwrap_or((MAP_SIDE as u32, MAP_SIDE as u32));
        let best: Vec<(u32, f32)> = (0..CELLS)
            .map(|cell| {
                let scored =
                    self.survivors.iter().map(|category| (*category, self.score(3, *category, cell)));
                scored.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
            })
            .collect();
        let mut indices = Vec::with_capacity(output.width as usize * output.height as usize);
        let mut pixels = vec![0_u32; self.words.len()];
        let mut sums = vec![0_f64; self.words.len()];
        for y in 0..u64::from(output.height) {
            let row = y * u64::from(crop_height) / u64::from(output.height);
            for x in 0..u64::from(output.width) {
                let column = x * u64::from(crop_width) / u64::from(output.width);
                let (category, score) = best[row as usize * MAP_SIDE + column as usize];
                if score < output.score_threshold {
                    indices.push(UNLABELLED);
                    continue;
                }
                indices.push(category as u16);
                pixels[category as usize] += 1;
                sums[category as usize] += f64::from(score);
            }
        }
        let mean = |(sum, pixels): (&f64, &u32)| (sum / f64::from((*pixels).max(1))) as f32;
        FinishedMap {
            width: output.width,
            height: output.height,
            indices,
            mean_scores: sums.iter().zip(&pixels).map(mean).collect(),
            pixels,
            score_maps: output.score_maps.then(|| self.score_maps()),
        }
    }

    fn score_maps(&self) -> ScoreMaps {
        let scores =
            self.survivors.iter().flat_map(|category| (0..CELLS).map(|cell| self.score(3, *category, cell)));
        ScoreMaps {
            width: MAP_SIDE as u32,
            height: MAP_SIDE as u32,
            categories: self.survivors.clone(),
            scores: scores.collect(),
        }
    }
}

/// Mean brightness of every cell, in coarse steps.
fn brightness(input: &NetworkInput) -> Vec<u8> {
    let step = INPUT_SIDE / MAP_SIDE;
    let cell_mean = |cell: usize| {
        let (top, left) = (cell / MAP_SIDE * step, cell % MAP_SIDE * step);
        let rows = (top..top + step).flat_map(|y| {
            let start = (y * INPUT_SIDE + left) * 3;
            &input.data[start..start + step * 3]
        });
        rows.sum::<f32>() / (step * step * 3) as f32
    };
    (0..CELLS).map(|cell| (cell_mean(cell) * 2.0).round() as i32 as u8).collect()
}

fn hash_text(seed: u64, text: &str) -> u64 {
    text.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)))
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
