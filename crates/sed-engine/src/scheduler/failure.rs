//! Launches that fail. A request that is to blame is found by halving the batch; its neighbours are not
//! harmed.

use std::sync::Arc;

use super::{Scheduler, aftermath::Aftermath};
use crate::{
    metrics::{DeviceErrorKind, RetryCause, SubmissionOutcome},
    requests::error::EngineError,
    scheduler::{
        launch::{Launch, LaunchSize, Work},
        launch_error::LaunchError,
        ticket::Ticket,
    },
    stages::{
        StageError, Stages,
        stage::{Stage, Unit},
    },
};

/// A request that runs out of memory so often although it cannot be smaller is given up.
const MOST_MEMORY_FAILURES: u32 = 2;

impl<S: Stages> Scheduler<S> {
    /// A launch gave an error.
    pub(super) fn failed(&mut self, launch: Launch<S>, error: LaunchError) -> Aftermath {
        let Launch { work, reason } = launch;
        let size = work.size();
        let stage = size.stage;
        error.count(&self.metrics);
        let (images, pairs) = (size.images, size.pairs);
        let (kind, message) = (error.kind(), error.message());
        tracing::error!(stage = work.name(), images, pairs, ?kind, message, "a launch failed");
        if self.recording && matches!(work, Work::Whole(_)) {
            let outcome = match kind {
                DeviceErrorKind::OutOfMemory => SubmissionOutcome::OutOfMemory,
                _ => SubmissionOutcome::Failed,
            };
            self.metrics.submissions.add(outcome, 1);
        }
        match error {
            LaunchError::Stage(StageError::DeviceLost(reason)) => {
                // All requests fail, but only once the engine's state says that the device is lost.
                self.stations.put_back(work, self.now());
                Aftermath { lost: Some(reason), ..Aftermath::default() }
            }
            LaunchError::Stage(StageError::OutOfMemory(_)) => {
                match work {
                    // Work of the scheduler's own, and not one of halves, has not been tried before.
                    Work::Phrases(_) => self.phrases_ran_out_of_memory(work, reason.is_some()),
                    Work::Whole(_) => self.submission_ran_out_of_memory(work, &size),
                    _ => self.ran_out_of_memory(work, &size),
                }
                Aftermath::default()
            }
            error => {
                self.bisect(work, &error.of_request(stage));
                Aftermath { panicked: matches!(error, LaunchError::Panicked(_)), ..Aftermath::default() }
            }
        }
    }

    /// Tries each half by itself; what fails alone is to blame.
    fn bisect(&mut self, work: Work<S>, error: &EngineError) {
        if let Some(alone) = self.retry_in_halves(work, RetryCause::Bisect) {
            self.give_up(alone, error);
        }
    }

    /// Tries fewer phrases at a time. One that is alone has one more try.
    fn phrases_ran_out_of_memory(&mut self, work: Work<S>, first_try: bool) {
        let stage = Stage::TextEmbedding;
        match self.retry_in_halves(work, RetryCause::OutOfMemory) {
            Some(alone) if first_try => {
                self.metrics.batch_retries.add(stage, RetryCause::OutOfMemory, 1);
                self.retries.push_front(alone);
            }
            Some(alone) => self.give_up(alone, &EngineError::DeviceOutOfMemory { stage }),
            None => {}
        }
    }

    /// Sends the requests of a submission through the stages one by one, by the rules of their budgets, and
    /// makes the next submissions smaller.
    fn submission_ran_out_of_memory(&mut self, mut work: Work<S>, size: &LaunchSize) {
        let now = self.now();
        self.budget.lower_whole(size.pairs, now);
        self.metrics.batch_retries.add(size.stage, RetryCause::OutOfMemory, 1);
        work.tickets_mut().into_iter().for_each(|ticket| ticket.one_by_one = true);
        self.stations.put_back(work, now);
    }

    /// Lowers the budget and tries smaller batches, or smaller parts. What cannot be smaller has one more
    /// try.
    fn ran_out_of_memory(&mut self, mut work: Work<S>, size: &LaunchSize) {
        let &LaunchSize { stage, requests, images, pairs, .. } = size;
        let can_be_smaller = match stage {
            // However many requests ask about it, one image is one image.
            Stage::Encode => images > 1,
            Stage::Finish => requests > 1,
            _ => requests > 1 || pairs > 1,
        };
        match stage {
            Stage::Encode => self.budget.lower(Unit::Images, images, self.now()),
            _ => self.budget.lower(Unit::Pairs, pairs, self.now()),
        }
        self.metrics.batch_retries.add(stage, RetryCause::OutOfMemory, 1);
        if !can_be_smaller {
            work.tickets_mut().into_iter().for_each(|ticket| ticket.memory_failures += 1);
        }
        // The next batch is formed by the lowered budget.
        self.stations.put_back(work, self.now());
        let too_often = |ticket: &Ticket| ticket.memory_failures >= MOST_MEMORY_FAILURES;
        for request in self.stations.of_mut(stage).remove(&too_often) {
            request.fail(EngineError::DeviceOutOfMemory { stage });
        }
    }

    /// Puts both halves before everything else. Returns work of one item, which has no halves.
    fn retry_in_halves(&mut self, work: Work<S>, cause: RetryCause) -> Option<Work<S>> {
        let size = work.size();
        let items = if size.stage == Stage::TextEmbedding { size.pairs } else { size.requests };
        match work.divided(|index| index >= items / 2) {
            (Some(first), Some(second)) => {
                self.metrics.batch_retries.add(size.stage, cause, 1);
                self.retries.push_front(second);
                self.retries.push_front(first);
                None
            }
            (first, second) => first.or(second),
        }
    }

    /// Fails all requests that depend on work.
    fn give_up(&mut self, mut work: Work<S>, error: &EngineError) {
        let stage = work.stage();
        if let Work::Phrases(words) = &mut work {
            self.attend(words);
            self.fail_prepared(&words.phrases, error);
        }
        let failed: Vec<_> = work.tickets_mut().into_iter().map(|ticket| Arc::clone(&ticket.slot)).collect();
        self.stations.put_back(work, self.now());
        let has_failed = |ticket: &Ticket| failed.iter().any(|slot| Arc::ptr_eq(slot, &ticket.slot));
        for request in self.stations.of_mut(stage).remove(&has_failed) {
            request.fail(error.clone());
        }
    }
}
