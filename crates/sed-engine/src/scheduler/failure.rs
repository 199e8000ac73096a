//! Launches that fail. A request that is to blame is found by halving the batch; its neighbours are not
//! harmed.

use super::{Scheduler, aftermath::Aftermath};
use crate::{
    budget::Unit,
    error::EngineError,
    launch::{Launch, LaunchError, Work},
    metrics::{DeviceErrorKind, RetryCause},
    report::Stage,
    stages::Stages,
    task::Task,
};

/// A request that runs out of memory so often although it cannot be smaller is given up.
const MOST_MEMORY_FAILURES: u32 = 2;

impl<S: Stages> Scheduler<S> {
    /// A launch gave an error.
    pub(super) fn failed(&mut self, launch: Launch<S>, error: LaunchError) -> Aftermath {
        let stage = launch.stage;
        let not_finite;
        let (kind, message) = match &error {
            LaunchError::OutOfMemory(message) => (DeviceErrorKind::OutOfMemory, message),
            LaunchError::Lost(message) => (DeviceErrorKind::Lost, message),
            LaunchError::NotFinite { found, of } => {
                not_finite = format!("{found} of {of} scores of an image are not finite");
                (DeviceErrorKind::NotFinite, &not_finite)
            }
            LaunchError::Failed(message) => (DeviceErrorKind::Failed, message),
            LaunchError::Panicked(message) => (DeviceErrorKind::Panic, message),
        };
        self.metrics.device_errors.add(kind, 1);
        let (images, pairs) = launch.size();
        tracing::error!(stage = stage.name(), images, pairs, ?kind, message, "a launch failed");
        match error {
            LaunchError::Lost(reason) => {
                // All requests fail, but only once the engine's state says that the device is lost.
                launch.work.into_tasks().into_iter().for_each(|task| self.enqueue(stage, task));
                Aftermath { lost: Some(reason), panicked: false }
            }
            LaunchError::OutOfMemory(_) => {
                self.ran_out_of_memory(launch);
                Aftermath::default()
            }
            LaunchError::NotFinite { found, of } => {
                self.bisect(launch, &EngineError::ResultNotFinite { found, of });
                Aftermath::default()
            }
            LaunchError::Failed(message) => {
                self.bisect(launch, &EngineError::StageFailed { stage, message });
                Aftermath::default()
            }
            LaunchError::Panicked(message) => {
                self.metrics.panics.add(1);
                let message = format!("panicked: {message}");
                self.bisect(launch, &EngineError::StageFailed { stage, message });
                Aftermath { panicked: true, lost: None }
            }
        }
    }

    /// Tries each half by itself; what fails alone is to blame.
    fn bisect(&mut self, launch: Launch<S>, error: &EngineError) {
        if let Some(alone) = self.retry_in_halves(launch, RetryCause::Bisect) {
            self.give_up(alone, error);
        }
    }

    /// Lowers the budget and tries smaller batches, or smaller parts. What cannot be smaller has one more
    /// try.
    fn ran_out_of_memory(&mut self, launch: Launch<S>) {
        let stage = launch.stage;
        let (images, pairs) = launch.size();
        if let Work::Phrases(_) = launch.work {
            // A launch of the scheduler's own, and not one of halves, has not been tried before.
            let first_try = launch.reason.is_some();
            match self.retry_in_halves(launch, RetryCause::OutOfMemory) {
                Some(alone) if first_try => {
                    self.metrics.batch_retries.add(stage, RetryCause::OutOfMemory, 1);
                    self.retries.push_front(Launch { reason: None, ..alone });
                }
                Some(alone) => self.give_up(alone, &EngineError::DeviceOutOfMemory { stage }),
                None => {}
            }
            return;
        }
        let mut tasks = launch.work.into_tasks();
        let can_be_smaller = match stage {
            // However many requests ask about it, one image is one image.
            Stage::Encode => images > 1,
            Stage::TextEmbedding | Stage::Finish => tasks.len() > 1,
            Stage::CostMap | Stage::Decode(_) => tasks.len() > 1 || pairs > 1,
        };
        match stage {
            Stage::Encode => self.budget.lower(Unit::Images, images, self.now()),
            _ => self.budget.lower(Unit::Pairs, pairs, self.now()),
        }
        self.metrics.batch_retries.add(stage, RetryCause::OutOfMemory, 1);
        if !can_be_smaller {
            tasks.iter_mut().for_each(|task| task.memory_failures += 1);
        }
        // The next batch is formed by the lowered budget.
        for task in tasks {
            if task.memory_failures < MOST_MEMORY_FAILURES {
                self.enqueue(stage, task);
            } else {
                task.fail(EngineError::DeviceOutOfMemory { stage });
            }
        }
    }

    /// Puts both halves before everything else. Returns a launch of one, which has no halves.
    fn retry_in_halves(&mut self, launch: Launch<S>, cause: RetryCause) -> Option<Launch<S>> {
        let Launch { stage, work, reason } = launch;
        let halves = match work {
            Work::Phrases(mut phrases) if phrases.len() > 1 => {
                let second = phrases.split_off(phrases.len() / 2);
                [Work::Phrases(phrases), Work::Phrases(second)]
            }
            Work::Tasks(mut tasks) if tasks.len() > 1 => {
                let second = tasks.split_off(tasks.len() / 2);
                [Work::Tasks(tasks), Work::Tasks(second)]
            }
            work => return Some(Launch { stage, work, reason }),
        };
        self.metrics.batch_retries.add(stage, cause, 1);
        for work in halves.into_iter().rev() {
            self.retries.push_front(Launch { stage, work, reason: None });
        }
        None
    }

    /// Fails all requests that depend on a launch.
    fn give_up(&mut self, launch: Launch<S>, error: &EngineError) {
        match launch.work {
            Work::Phrases(phrases) => {
                let waits = |task: &Task<S>| {
                    task.missing()
                        .is_some_and(|missing| phrases.iter().any(|phrase| missing.contains(phrase)))
                };
                self.station(Stage::TextEmbedding)
                    .take(waits)
                    .into_iter()
                    .for_each(|task| task.fail(error.clone()));
            }
            work => work.into_tasks().into_iter().for_each(|task| task.fail(error.clone())),
        }
    }
}
