//! Runs the launches of a stage, guarded, and writes down how long they took.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use crate::{
    error::EngineError,
    report::{BatchTiming, Stage, StageTiming},
    stages::StageError,
};

/// Fails once nobody wants the result any more.
pub(crate) type Wanted<'a> = &'a dyn Fn() -> Result<(), EngineError>;

/// The times of one request. Its waits and durations add up to the whole without a gap.
pub(crate) struct StageClock<'a> {
    wanted: Wanted<'a>,
    timings: Vec<StageTiming>,
    last_end: Instant,
}

/// How much goes into one launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchSize {
    pub(crate) images: u32,
    pub(crate) pairs: u32,
}

/// A stage that has begun.
pub(crate) struct RunningStage<'a> {
    wanted: Wanted<'a>,
    timing: StageTiming,
    began: Instant,
}

impl<'a> StageClock<'a> {
    /// A clock for a request that has been waiting since `since`.
    pub(crate) fn new(since: Instant, wanted: Wanted<'a>) -> Self {
        Self { wanted, timings: Vec::with_capacity(7), last_end: since }
    }

    /// Begins a stage, if the result is still wanted.
    pub(crate) fn begin(&self, stage: Stage) -> Result<RunningStage<'a>, EngineError> {
        (self.wanted)()?;
        let began = Instant::now();
        let queue_wait = began.saturating_duration_since(self.last_end);
        let timing = StageTiming { stage, queue_wait, duration: Duration::ZERO, batches: Vec::new() };
        Ok(RunningStage { wanted: self.wanted, timing, began })
    }

    /// Ends a stage.
    pub(crate) fn end(&mut self, running: RunningStage<'_>) {
        self.last_end = Instant::now();
        let duration = self.last_end.saturating_duration_since(running.began);
        self.timings.push(StageTiming { duration, ..running.timing });
    }

    /// A stage that is one launch.
    pub(crate) fn run<T>(
        &mut self,
        stage: Stage,
        pairs: u32,
        work: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<T, EngineError> {
        let mut running = self.begin(stage)?;
        let result = running.launch(BatchSize { images: 1, pairs }, work)?;
        self.end(running);
        Ok(result)
    }

    /// The times of all stages that have ended, and when the last of them did.
    pub(crate) fn into_parts(self) -> (Vec<StageTiming>, Instant) {
        (self.timings, self.last_end)
    }
}

impl RunningStage<'_> {
    /// One launch on the device, if the result is still wanted. A panic inside becomes an error.
    pub(crate) fn launch<T>(
        &mut self,
        size: BatchSize,
        work: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<T, EngineError> {
        (self.wanted)()?;
        let launched = Instant::now();
        let result = guarded(self.timing.stage, work)?;
        let BatchSize { images, pairs } = size;
        self.timing.batches.push(BatchTiming { images, pairs, device_time: launched.elapsed() });
        Ok(result)
    }

    /// A little work within the stage that is no launch. A panic inside becomes an error.
    pub(crate) fn guard<T>(&self, work: impl FnOnce() -> Result<T, StageError>) -> Result<T, EngineError> {
        guarded(self.timing.stage, work)
    }
}

fn guarded<T>(stage: Stage, work: impl FnOnce() -> Result<T, StageError>) -> Result<T, EngineError> {
    // The model is only read, and what a panic left half done is dropped here: nothing can be seen broken.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(StageError::OutOfMemory(message))) => {
            tracing::warn!(stage = stage.name(), message, "out of device memory");
            Err(EngineError::DeviceOutOfMemory { stage })
        }
        Ok(Err(StageError::DeviceLost(message))) => Err(EngineError::DeviceLost(message)),
        Ok(Err(StageError::Failed(message))) => Err(EngineError::StageFailed { stage, message }),
        Err(payload) => {
            let message = format!("panicked: {}", panic_message(&*payload));
            Err(EngineError::StageFailed { stage, message })
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_and_durations_add_up_to_the_whole() {
        let since = Instant::now();
        let mut clock = StageClock::new(since, &|| Ok(()));
        for stage in [Stage::Encode, Stage::CostMap] {
            clock
                .run(stage, 3, || {
                    std::thread::sleep(Duration::from_millis(5));
                    Ok(())
                })
                .unwrap();
        }
        let (timings, end) = clock.into_parts();
        let whole = end - since;
        assert_eq!(whole, timings.iter().map(|timing| timing.queue_wait + timing.duration).sum());
        assert!(timings.iter().all(|timing| timing.duration >= Duration::from_millis(5)));
        assert_eq!(timings[1].batches[0].pairs, 3);
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let panicking = || -> Result<(), StageError> { panic!("row {} is missing", 7) };
        let message = "panicked: row 7 is missing".to_string();
        assert_eq!(
            guarded(Stage::Finish, panicking),
            Err(EngineError::StageFailed { stage: Stage::Finish, message })
        );
    }

    #[test]
    fn nothing_runs_for_a_caller_who_has_gone() {
        let mut clock = StageClock::new(Instant::now(), &|| Err(EngineError::Cancelled));
        let mut ran = false;
        let result = clock.run(Stage::Encode, 1, || {
            ran = true;
            Ok(())
        });
        assert_eq!(result, Err(EngineError::Cancelled));
        assert!(!ran);
    }
}
