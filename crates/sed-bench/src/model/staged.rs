//! A batch on the CPU: the stages, one after the other.

use std::time::{Duration, Instant};

use sed_model::{DecodeRequest, ImageFeatures, Level, OutputSpec, PairBatch, SedModel};

use super::{
    taken::{HostTimes, STAGES, Taken, work},
    work::Work,
};
use crate::error::Result;

/// Runs all stages on images `[S, S, 3]`.
pub(super) fn run(
    model: &SedModel,
    batch: &[Work<'_>],
    images: &[&[f32]],
    outputs: &[OutputSpec],
) -> Result<Taken> {
    let mut clock = Clock::default();
    let features: Vec<ImageFeatures> = clock.time(|| Ok(model.encode_host(images)?))?;
    let mut pairs: PairBatch = clock.time(|| {
        let request = |(&Work { text, rejection, .. }, features)| DecodeRequest {
            features,
            text,
            groups: None,
            rejection,
        };
        let requests: Vec<DecodeRequest<'_>> = batch.iter().zip(&features).map(request).collect();
        Ok(model.cost_map(&requests)?)
    })?;
    drop(features); // the pairs hold what they need
    let mut entered = vec![[0; Level::COUNT]; batch.len()];
    for level in Level::ALL {
        for (image, entered) in entered.iter_mut().enumerate() {
            entered[level.index()] = pairs.survivors(image).len();
        }
        pairs = clock.time(|| Ok(model.decode_level(level, pairs)?))?;
    }
    clock.time(|| Ok(model.finish(&pairs, outputs)?))?;
    Ok(Taken { host: HostTimes::Stages(clock.stages), on_device: None, work: work(batch, &entered, false) })
}

/// Times stages one after the other.
#[derive(Default)]
struct Clock {
    stages: [Duration; STAGES.len()],
    /// Stages that are done.
    done: usize,
}

impl Clock {
    fn time<T>(&mut self, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        let begin = Instant::now();
        let result = stage()?;
        self.stages[self.done] = begin.elapsed();
        self.done += 1;
        Ok(result)
    }
}
