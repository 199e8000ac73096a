//! The fake's submission: its own stages, one after the other.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{FakePairs, FakeStages};
use crate::stages::{
    Answered, DecodeRequest, Level, NetworkInput, OutputSpec, Question, RawMap, Source, StageError,
    StageTimes, Stages, Submitted,
    input::{InputSlot, InputSlots, JobInput},
};

use sed_model::ModelError;

/// Slots that hold the values as they are.
#[derive(Clone)]
pub struct FakeSlots {
    free: Arc<AtomicUsize>,
}

/// A slot that is taken.
pub(super) struct FakeSlot {
    values: Vec<f32>,
    free: Arc<AtomicUsize>,
}

impl FakeSlots {
    /// So many slots.
    pub fn new(count: usize) -> Self {
        Self { free: Arc::new(AtomicUsize::new(count)) }
    }
}

impl fmt::Debug for FakeSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeSlots")
    }
}

impl InputSlots for FakeSlots {
    fn fill(&self, values: &[f32]) -> Option<InputSlot> {
        self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1)).ok()?;
        Some(Arc::new(FakeSlot { values: values.to_vec(), free: Arc::clone(&self.free) }))
    }
}

impl Drop for FakeSlot {
    fn drop(&mut self) {
        self.free.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs all stages. Scores that a fault makes infinite are those of the first question.
pub(super) fn submit(
    stages: &FakeStages,
    inputs: &[&JobInput],
    keep: &[bool],
    questions: &[Question<'_, Arc<[u8]>, u64>],
) -> Result<Submitted<Arc<[u8]>>, StageError> {
    let mut clock = Laps(Instant::now());
    let mut times = StageTimes::default();
    let values = |input: &&JobInput| match input.slot::<FakeSlot>() {
        Some(slot) => NetworkInput::new(input.values().side, slot.values.clone()),
        None => input.values().clone(),
    };
    let inputs: Vec<NetworkInput> = inputs.iter().map(values).collect();
    let encoded =
        if inputs.is_empty() { Vec::new() } else { stages.encode(&inputs.iter().collect::<Vec<_>>())? };
    times.encode = clock.lap();

    let requests = questions.iter().map(|question| DecodeRequest {
        features: match question.image {
            Source::Input(place) => &encoded[place],
            Source::Features(features) => features,
        },
        text: question.text,
        groups: question.groups,
        rejection: question.rejection,
    });
    let requests: Vec<_> = requests.collect();
    let mut pairs = stages.cost_map(&requests)?;
    times.cost_map = clock.lap();
    let mut survivors: Vec<[Vec<u32>; Level::COUNT]> = vec![Default::default(); questions.len()];
    for level in Level::ALL {
        for (survivors, pairs) in survivors.iter_mut().zip(&pairs) {
            survivors[level.index()] = pairs.survivors().to_vec();
        }
        pairs = stages.decode(level, pairs)?;
        times.levels[level.index()] = clock.lap();
    }
    let mut answers = finish(stages, pairs, questions)?;
    times.finish = clock.lap();
    let answers = survivors.into_iter().map(|survivors| Answered { survivors, map: answers.remove(0) });
    let features = encoded.iter().zip(keep).map(|(features, keep)| keep.then(|| Arc::clone(features)));
    Ok(Submitted { answers: answers.collect(), features: features.collect(), times })
}

fn finish(
    stages: &FakeStages,
    pairs: Vec<FakePairs>,
    questions: &[Question<'_, Arc<[u8]>, u64>],
) -> Result<Vec<RawMap>, StageError> {
    let outputs: Vec<OutputSpec> = questions.iter().map(|question| question.output.clone()).collect();
    match stages.finish(pairs.clone(), &outputs) {
        Ok(maps) => Ok(maps.into_iter().map(|map| RawMap::new(move || Ok(map))).collect()),
        Err(StageError::NotFinite { found, of }) => {
            let maps = pairs.into_iter().zip(outputs).enumerate();
            let map = |(place, (pairs, output)): (usize, (FakePairs, OutputSpec))| {
                RawMap::new(move || match place {
                    0 => Err(ModelError::NotFinite { found, of }),
                    _ => Ok(pairs.finish(&output)),
                })
            };
            Ok(maps.map(map).collect())
        }
        Err(error) => Err(error),
    }
}

/// A watch that is read again and again.
struct Laps(Instant);

impl Laps {
    /// Time since the last reading.
    fn lap(&mut self) -> Duration {
        let last = std::mem::replace(&mut self.0, Instant::now());
        self.0 - last
    }
}
