//! Completed launches: their requests go on to the next stage or are answered, and predictions learn from
//! them.

use std::time::{Duration, Instant};

use super::{Scheduler, stations::enter};
use crate::{
    metrics::{CategoryOutcome, DecoderLevel},
    requests::{
        job::SegmentOutcome,
        report::{BatchTiming, LevelReport, RejectionReport},
    },
    scheduler::{
        launch::{Done, Ended, LaunchSize, Part, Phrases, Work, first_of_its_image},
        task::{Cut, Described, Encoding, MaskTask, Task},
    },
    stages::{Advanced, FinishedMap, Stages, stage::Stage},
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

/// A launch that has run, as its requests note it.
#[derive(Clone, Debug)]
pub(super) struct Completed {
    stage: Stage,
    pub(super) ran: Ran,
    pub(super) batch: BatchTiming,
}

impl<S: Stages> Scheduler<S> {
    /// Completes a launch: records its time, and hands its result to its requests.
    pub(crate) fn complete(&mut self, stages: &S, ended: Ended<S>, ran: Ran) -> Aftermath {
        let done = self.note_launch(&ended.size, ended.result.is_ok(), ran);
        match ended.result {
            Ok(Done::Phrases((words, embeddings))) => self.embedded(stages, &done, words, embeddings),
            Ok(Done::Encoded((tasks, features))) => {
                let firsts = first_of_its_image(&tasks);
                for ((task, features), first) in tasks.into_iter().zip(features).zip(firsts) {
                    self.encoded(stages, &done, task, features, first);
                }
            }
            Ok(Done::Paired(tasks)) => {
                tasks.into_iter().for_each(|task| self.has_pairs(stages, &done, task));
            }
            Ok(Done::Finished((tasks, maps))) => {
                tasks.into_iter().zip(maps).for_each(|(task, map)| self.finished(&done, task, map));
            }
            Ok(Done::Part((part, advanced))) => self.advanced(stages, &done, part, advanced),
            Err((mut launch, error)) => {
                match &mut launch.work {
                    Work::Phrases(words) => self.words_had_launch(words, &done),
                    work => {
                        let tickets = work.tickets_mut().into_iter();
                        tickets.for_each(|ticket| ticket.end_launch(ran.ended, &done.batch));
                    }
                }
                return self.failed(launch, error);
            }
        }
        let BatchTiming { images, pairs, .. } = done.batch;
        tracing::trace!(stage = done.stage.name(), images, pairs, "launched");
        Aftermath::default()
    }

    /// Records what a launch took, for the metrics and for predictions.
    fn note_launch(&mut self, size: &LaunchSize, succeeded: bool, ran: Ran) -> Completed {
        let &LaunchSize { stage, requests, images, pairs, units } = size;
        let device_time = ran.time();
        if self.recording {
            self.metrics.device_busy.add(device_time);
            match requests {
                0 => self.background.note_launch(units.unwrap_or(0.0), ran),
                _ => self.background.note_requests(ran),
            }
        }
        if succeeded {
            if let Some(units) = units {
                self.admission
                    .learn(|model| model.observe(stage, units, requests.max(1), device_time, ran.ended));
            }
            if self.recording {
                self.metrics.stage_duration.record(stage.into(), device_time.as_secs_f64());
                self.metrics.batch_images.record(stage, images as f64);
                self.metrics.batch_pairs.record(stage, pairs as f64);
            }
        }
        let batch = BatchTiming { images: images as u32, pairs: pairs as u32, device_time };
        Completed { stage, ran, batch }
    }

    /// Phrases have embeddings.
    fn embedded(
        &mut self,
        stages: &S,
        done: &Completed,
        mut words: Phrases<S>,
        embeddings: Vec<S::PhraseEmbedding>,
    ) {
        if words.tasks.is_empty() {
            self.metrics.prepared_phrases.add(words.phrases.len() as u64);
        }
        self.words_had_launch(&mut words, done);
        for (phrase, embedding) in words.phrases.iter().zip(&embeddings) {
            let bytes = stages.phrase_bytes(embedding);
            self.text_cache.keep_phrase(phrase.clone(), embedding.clone(), bytes);
            if let (Some(store), Ok(bytes)) = (&self.store, stages.store_phrase(embedding)) {
                store.write(phrase.clone(), bytes);
            }
        }
        self.deliver(stages, words.phrases.into_iter().zip(embeddings).collect());
    }

    /// A part of a stage is done. All pairs go through a stage in parts twice.
    fn advanced(&mut self, stages: &S, done: &Completed, mut part: Part<S>, advanced: Advanced<S::Pairs>) {
        let stage = done.stage;
        let ticket = &mut part.task.ticket;
        let all = ticket.pairs;
        ticket.part_time += done.ran.time();
        let Some(pairs) = advanced.finished else {
            ticket.end_launch(done.ran.ended, &done.batch);
            ticket.slot.deduct(stage, advanced.pairs as f64 / (2 * all) as f64);
            return self.stations.put_back(Work::Part(part), self.now());
        };
        let time = std::mem::take(&mut ticket.part_time);
        self.admission.learn(|model| model.observe_parts(stage, (all, part.most), time, done.ran.ended));
        self.has_pairs(stages, done, part.task.map(|_| pairs));
    }

    /// An image has features. It was encoded for the `first` of the batch's tasks that ask about it.
    fn encoded(
        &mut self,
        stages: &S,
        done: &Completed,
        mut task: MaskTask<Encoding<S>>,
        features: S::ImageFeatures,
        first: bool,
    ) {
        task.ticket.end_launch(done.ran.ended, &done.batch);
        task.ticket.caches.image_hit = !first;
        if let Some(facts) = task.request.facts
            && !self.feature_cache.contains(&facts.key)
        {
            self.feature_cache.insert(facts, features.clone(), stages.feature_bytes(&features));
        }
        if self.recording {
            self.metrics.image_cache_hits.add(u64::from(!first));
            self.metrics.image_cache_misses.add(u64::from(first));
        }
        task.request.pixels.discard();
        task.ticket.slot.deduct_up_to(Stage::Encode);
        let now = self.now();
        let task = task.map(|Encoding { text, .. }| Cut::Whole(Described { text, features }));
        enter(&mut self.stations.cost_map, task, now);
    }

    /// The cost map or a decoder level has ended; all but the last of them with a rejection.
    fn has_pairs(&mut self, stages: &S, done: &Completed, mut task: MaskTask<S::Pairs>) {
        let ticket = &mut task.ticket;
        ticket.end_launch(done.ran.ended, &done.batch);
        ticket.slot.deduct_up_to(done.stage);
        let survivors = stages.survivors(&task.state);
        let left = survivors.len();
        ticket.pairs = left;
        let now = self.now();
        let Some(Stage::Decode(level)) = done.stage.next() else {
            return enter(&mut self.stations.finish, task, now);
        };
        self.admission.learn(|model| model.observe_survivors(level, &ticket.demand, left));
        let report = LevelReport::new(level, &ticket.vocabulary, task.request.levels.last(), &survivors);
        if self.recording {
            let (level, categories) = (DecoderLevel(level), &self.metrics.category_levels);
            self.metrics.categories_survived.record(level, report.survivors.len() as f64);
            categories.add(level, CategoryOutcome::Survived, report.survivors.len() as u64);
            categories.add(level, CategoryOutcome::Rejected, report.rejected.len() as u64);
        }
        task.request.levels.push(report);
        enter(&mut self.stations.decode[level.index()], task.map(Cut::Whole), now);
    }

    fn finished(&mut self, done: &Completed, task: MaskTask<S::Pairs>, mut map: FinishedMap) {
        let Task { mut ticket, request, .. } = task;
        ticket.end_launch(done.ran.ended, &done.batch);
        ticket.slot.deduct_up_to(Stage::Finish);
        ticket.slot.leave();
        self.background.note_answer();
        let rejection = RejectionReport { rejection: request.rejection, levels: request.levels };
        let contrast_pixels = remove_contrast(&mut map, ticket.vocabulary.size());
        let (timings, finished) = ticket.timeline.into_parts();
        let caches = ticket.caches;
        let outcome = SegmentOutcome { map, contrast_pixels, rejection, timings, caches, finished };
        request.reply.send(Ok(outcome));
    }
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
