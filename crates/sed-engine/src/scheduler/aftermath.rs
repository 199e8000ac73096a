//! Completed launches: their requests go on to the next stage or are answered, and predictions learn from
//! them.

use std::time::{Duration, Instant};

use super::Scheduler;
use crate::{
    cost_model::text_units,
    job::{JobImage, SegmentOutcome},
    launch::{Launch, LaunchError, Output, Work, first_of_its_image},
    metrics::{CategoryOutcome, DecoderLevel},
    report::{BatchTiming, LevelReport, RejectionReport, Stage},
    stages::{Advanced, FinishedMap, Stages},
    task::{Pairs, Task},
    ticket::Outcome,
};

/// The consequences of a failed launch for the device thread.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Aftermath {
    /// A stage panicked: the thread starts again.
    pub(crate) panicked: bool,
    /// The device does not answer any more.
    pub(crate) lost: Option<String>,
}

/// When a launch began and ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
}

impl Ran {
    /// The time that the device worked.
    pub(super) fn time(self) -> Duration {
        self.ended.saturating_duration_since(self.begun)
    }
}

impl<S: Stages> Scheduler<S> {
    /// Completes a launch: records its time, and hands its result to its requests.
    pub(crate) fn complete(
        &mut self,
        stages: &S,
        mut launch: Launch<S>,
        result: Result<Output<S>, LaunchError>,
        ran: Ran,
    ) -> Aftermath {
        let batch = self.note_launch(&mut launch, ran, &result);
        let output = match result {
            Ok(output) => output,
            Err(error) => return self.failed(launch, error),
        };
        let Launch { stage, work, .. } = launch;
        match (work, output) {
            (Work::Phrases(phrases), Output::Phrases(embeddings)) => {
                for (phrase, embedding) in phrases.iter().zip(&embeddings) {
                    let bytes = stages.phrase_bytes(embedding);
                    self.text_cache.keep_phrase(phrase.clone(), embedding.clone(), bytes);
                    if let (Some(store), Ok(bytes)) = (&self.store, stages.store_phrase(embedding)) {
                        store.write(phrase.clone(), bytes);
                    }
                }
                self.deliver(stages, phrases.into_iter().zip(embeddings).collect());
            }
            (Work::Tasks(tasks), Output::Features(features)) => {
                let firsts = first_of_its_image(&tasks);
                tasks
                    .into_iter()
                    .zip(features)
                    .zip(firsts)
                    .for_each(|((task, features), first)| self.encoded(stages, task, features, first));
            }
            (Work::Tasks(tasks), Output::Pairs(pairs)) => {
                tasks
                    .into_iter()
                    .zip(pairs)
                    .for_each(|(task, pairs)| self.has_pairs(stages, stage, task, pairs));
            }
            (Work::Tasks(tasks), Output::Maps(maps)) => {
                tasks.into_iter().zip(maps).for_each(|(task, map)| self.finished(task, map));
            }
            (Work::Part(task, most), Output::Part(advanced)) => {
                self.advanced(stages, stage, (*task, most), advanced, ran);
            }
            (work, _) => {
                // `Launch::run` gives the output that belongs to its work.
                let message = "a launch gave what was not asked for".to_owned();
                let launch = Launch { stage, work, reason: None };
                return self.failed(launch, LaunchError::Failed(message));
            }
        }
        tracing::trace!(stage = stage.name(), images = batch.images, pairs = batch.pairs, "launched");
        Aftermath::default()
    }

    /// Records what a launch took, for its requests, for the metrics and for predictions.
    fn note_launch(
        &mut self,
        launch: &mut Launch<S>,
        ran: Ran,
        result: &Result<Output<S>, LaunchError>,
    ) -> BatchTiming {
        let stage = launch.stage;
        let (images, pairs) = launch.worked_on(result);
        let device_time = ran.time();
        let batch = BatchTiming { images: images as u32, pairs: pairs as u32, device_time };
        let requests = if let Work::Phrases(_) = launch.work {
            self.words_had_launch(ran, &batch)
        } else {
            launch.tasks_mut().iter_mut().map(|task| end_task(task, ran.ended, &batch)).count()
        };
        if self.recording {
            self.metrics.device_busy.add(device_time);
        }
        if result.is_ok() {
            let units = match (&launch.work, stage) {
                (Work::Phrases(phrases), _) => Some(phrases.iter().map(text_units).sum()),
                (Work::Tasks(_), Stage::Encode) => Some(images as f64),
                (Work::Tasks(tasks), Stage::Finish) => Some(
                    tasks
                        .iter()
                        .map(|task| task.units(stage) as f64 * task.ticket.demand.enlargement.max(1.0))
                        .sum(),
                ),
                (Work::Tasks(_), _) => Some(pairs as f64),
                // A stage in parts is learned from once it is over.
                (Work::Part(..), _) => None,
            };
            if let Some(units) = units {
                self.admission.learn(|model| model.observe(stage, units, requests, device_time, ran.ended));
            }
            if self.recording {
                self.metrics.stage_duration.record(stage.into(), device_time.as_secs_f64());
                self.metrics.batch_images.record(stage, images as f64);
                self.metrics.batch_pairs.record(stage, pairs as f64);
            }
        }
        batch
    }

    /// A part of a stage is done. All pairs go through a stage in parts twice.
    fn advanced(
        &mut self,
        stages: &S,
        stage: Stage,
        (mut task, most): (Task<S>, usize),
        advanced: Advanced<S::Pairs>,
        ran: Ran,
    ) {
        let all = task.units(stage);
        task.part_time += ran.time();
        let Some(pairs) = advanced.finished else {
            task.ticket.place.pay(stage, advanced.pairs as f64 / (2 * all) as f64);
            return self.enqueue(stage, task);
        };
        let time = std::mem::take(&mut task.part_time);
        self.admission.learn(|model| model.observe_parts(stage, (all, most), time, ran.ended));
        self.has_pairs(stages, stage, task, pairs);
    }

    /// An image has features. It was encoded for the `first` of the batch's tasks that ask about it.
    fn encoded(&mut self, stages: &S, mut task: Task<S>, features: S::ImageFeatures, first: bool) {
        task.caches.image_hit = !first;
        if let Some(JobImage::Pixels { facts: Some(facts), .. }) = task.job().map(|job| &job.image)
            && !self.feature_cache.contains(&facts.key)
        {
            self.feature_cache.insert(*facts, features.clone(), stages.feature_bytes(&features));
        }
        if self.recording {
            self.metrics.image_cache_hits.add(u64::from(task.caches.image_hit));
            self.metrics.image_cache_misses.add(u64::from(!task.caches.image_hit));
        }
        task.features = Some(features);
        task.ticket.pixels.discard();
        self.pass(Stage::Encode, Stage::CostMap, task);
    }

    /// The cost map or a decoder level has ended; all but the last of them with a rejection.
    fn has_pairs(&mut self, stages: &S, stage: Stage, mut task: Task<S>, pairs: S::Pairs) {
        let survivors = stages.survivors(&pairs);
        let next = stage.next().unwrap_or(Stage::Finish);
        if let Stage::Decode(level) = next {
            let report = LevelReport::new(level, &task.survivors, &survivors);
            let (all, left) = (task.ticket.vocabulary().size(), survivors.len());
            let rejection = task.ticket.demand.rejection;
            self.admission.learn(|model| model.observe_survivors(level, rejection, all, left));
            if self.recording {
                self.metrics.categories_survived.record(DecoderLevel(level), survivors.len() as f64);
                self.metrics.category_levels.add(
                    DecoderLevel(level),
                    CategoryOutcome::Survived,
                    survivors.len() as u64,
                );
                self.metrics.category_levels.add(
                    DecoderLevel(level),
                    CategoryOutcome::Rejected,
                    report.rejected.len() as u64,
                );
            }
            task.levels.push(report);
        }
        task.survivors = survivors;
        task.pairs = Pairs::Whole(pairs);
        task.features = None; // the pairs hold what they need
        self.pass(stage, next, task);
    }

    fn finished(&mut self, task: Task<S>, map: FinishedMap) {
        task.ticket.place.pay_up_to(Stage::Finish);
        let Task { ticket, timeline, levels, caches, .. } = task;
        let rejection = RejectionReport { rejection: ticket.demand.rejection, levels };
        let (timings, finished) = timeline.into_parts();
        let outcome = SegmentOutcome { map, rejection, timings, caches, finished };
        ticket.answer(Ok(Outcome::Segmented(Box::new(outcome))));
    }

    fn pass(&mut self, done: Stage, next: Stage, task: Task<S>) {
        task.ticket.place.pay_up_to(done);
        self.enqueue(next, task);
    }
}

pub(super) fn end_task<S: Stages>(task: &mut Task<S>, ended: Instant, batch: &BatchTiming) {
    task.timeline.end(ended, Some(batch.clone()));
    task.stage_span = None;
    task.encoding = None;
}
