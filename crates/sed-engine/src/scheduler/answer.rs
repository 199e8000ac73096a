//! Answers: a map and the reports of its way, and the work that is left of one behind a submission.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use sed_model::ModelError;

use crate::{
    metrics::EngineMetrics,
    requests::{
        job::SegmentOutcome,
        report::{BatchTiming, RejectionReport},
    },
    scheduler::{
        checks::check_map,
        launch_error::LaunchError,
        task::{MaskTask, Task},
    },
    stages::{FinishedMap, RawMap, StageError, stage::Stage},
};

/// A request whose submission has run. The rest is work of the host, which any thread can do.
#[derive(Debug)]
pub(crate) struct Unfinished {
    pub(super) task: MaskTask<RawMap>,
    /// The batch of the last stage, which ends with the answer.
    pub(super) batch: BatchTiming,
}

impl Unfinished {
    /// Makes the map and answers the request; an error is this request's alone.
    pub(crate) fn finish(self, now: impl FnOnce() -> Instant, metrics: &EngineMetrics) {
        let Self { task: Task { mut ticket, request, state: raw }, batch } = self;
        let categories = ticket.vocabulary.all_categories().len();
        let make = || {
            let map = raw.finish().map_err(|error| of_model(&error))?;
            check_map(&map, &request.output, categories)?;
            Ok(map)
        };
        let made = match catch_unwind(AssertUnwindSafe(make)) {
            Ok(made) => made.map_err(LaunchError::Stage),
            Err(payload) => Err(LaunchError::of_panic(&*payload)),
        };
        ticket.end_launch(now(), &batch);
        let task = Task { ticket, request, state: () };
        match made {
            Ok(map) => answer(task, map),
            Err(error) => {
                error.count(metrics);
                tracing::error!(kind = ?error.kind(), message = error.message(), "an answer failed");
                task.fail(error.of_request(Stage::Finish));
            }
        }
    }
}

fn of_model(error: &ModelError) -> StageError {
    match error {
        ModelError::NotFinite { found, of } => StageError::NotFinite { found: *found, of: *of },
        error => StageError::Failed(error.to_string()),
    }
}

/// Answers a request with its map.
pub(super) fn answer<T>(task: MaskTask<T>, mut map: FinishedMap) {
    let Task { ticket, request, .. } = task;
    ticket.slot.leave();
    let rejection = RejectionReport { rejection: request.rejection, levels: request.levels };
    let contrast_pixels = remove_contrast(&mut map, ticket.vocabulary.size());
    let (timings, finished) = ticket.timeline.into_parts();
    let caches = ticket.caches;
    let outcome = SegmentOutcome { map, contrast_pixels, rejection, timings, caches, finished };
    request.reply.send(Ok(outcome));
}

/// Removes what belongs to contrast words, whose indices are `size` and above, from a map. Returns their
/// pixels.
fn remove_contrast(map: &mut FinishedMap, size: usize) -> u64 {
    map.mean_scores.truncate(size);
    if let Some(scores) = &mut map.score_maps {
        let asked = scores.categories.partition_point(|category| (*category as usize) < size);
        scores.categories.truncate(asked);
        scores.scores.truncate(asked * scores.width as usize * scores.height as usize);
    }
    map.pixels.drain(size..).map(u64::from).sum()
}
