//! Completed launches: their requests go on to the next stage or are answered, and predictions learn from
//! them.

use super::{Scheduler, stations::enter};
use crate::{
    metrics::{CategoryOutcome, DecoderLevel, SubmissionOutcome},
    requests::report::{BatchTiming, LevelReport},
    scheduler::{
        answer::{Unfinished, answer},
        images::first_of_its_image,
        launch::{Done, Ended, LaunchSize, Part, Phrases, Work},
        ran::Ran,
        steps::steps,
        task::{Cut, Described, Encoding, Given, MaskTask},
    },
    stages::{Advanced, Answered, FinishedMap, Level, Stages, Submitted, stage::Stage},
};

/// The consequences of a launch for the device thread.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    /// A stage panicked: the thread starts again.
    pub(crate) panicked: bool,
    /// The device does not answer any more.
    pub(crate) lost: Option<String>,
    /// Answers that still have work of another thread.
    pub(crate) unfinished: Vec<Unfinished>,
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
        let result = match ended.result {
            Ok(Done::Whole((tasks, submitted))) => return self.submitted(stages, tasks, submitted, ran),
            result => result,
        };
        let done = self.note_launch(&ended.size, result.is_ok(), ran);
        match result {
            Ok(Done::Whole(_)) => {}
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
        self.was_encoded(stages, &mut task, Some(&features), first);
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
        self.note_survivors(&mut task, level, &survivors);
        enter(&mut self.stations.decode[level.index()], task.map(Cut::Whole), now);
    }

    /// Reports the pairs of a request that enter a level, and learns from their number.
    fn note_survivors<T>(&self, task: &mut MaskTask<T>, level: Level, survivors: &[u32]) {
        let ticket = &task.ticket;
        self.admission.learn(|model| model.observe_survivors(level, &ticket.demand, survivors.len()));
        let report = LevelReport::new(level, &ticket.vocabulary, task.request.levels.last(), survivors);
        if self.recording {
            let (level, categories) = (DecoderLevel(level), &self.metrics.category_levels);
            self.metrics.categories_survived.record(level, report.survivors.len() as f64);
            categories.add(level, CategoryOutcome::Survived, report.survivors.len() as u64);
            categories.add(level, CategoryOutcome::Rejected, report.rejected.len() as u64);
        }
        task.request.levels.push(report);
    }

    fn finished(&mut self, done: &Completed, mut task: MaskTask<S::Pairs>, map: FinishedMap) {
        task.ticket.end_launch(done.ran.ended, &done.batch);
        task.ticket.slot.deduct_up_to(Stage::Finish);
        self.background.note_answer();
        answer(task, map);
    }

    /// A submission has ended, and with it every stage of its requests.
    fn submitted(
        &mut self,
        stages: &S,
        tasks: Vec<MaskTask<Given<S>>>,
        submitted: Submitted<S::ImageFeatures>,
        ran: Ran,
    ) -> Aftermath {
        let steps = steps(&tasks, &submitted, ran);
        let done: Vec<_> = steps.iter().map(|(size, ran)| self.note_launch(size, true, *ran)).collect();
        if self.recording {
            self.metrics.submissions.add(SubmissionOutcome::Answered, 1);
        }
        tracing::trace!(requests = tasks.len(), images = submitted.features.len(), "submitted");
        let firsts = first_of_its_image(&tasks);
        let mut features = submitted.features.into_iter();
        let mut unfinished = Vec::new();
        for ((mut task, answered), first) in tasks.into_iter().zip(submitted.answers).zip(firsts) {
            if matches!(task.state, Given::Pixels(_)) {
                let features = if first { features.next().flatten() } else { None };
                self.was_encoded(stages, &mut task, features.as_ref(), first);
            }
            unfinished.extend(self.answered(&done, task, answered));
        }
        Aftermath { unfinished, ..Aftermath::default() }
    }

    /// A request has gone through all stages. Returns it unless its answer is not wanted any more.
    fn answered(
        &mut self,
        done: &[Completed],
        mut task: MaskTask<Given<S>>,
        answered: Answered,
    ) -> Option<Unfinished> {
        for (level, survivors) in Level::ALL.into_iter().zip(&answered.survivors) {
            self.note_survivors(&mut task, level, survivors);
        }
        let (last, before) = done.split_last()?;
        let ticket = &mut task.ticket;
        for (step, next) in before.iter().zip(&done[1..]) {
            ticket.timeline.end(step.ran.ended, Some(step.batch.clone()));
            self.begin_stage(ticket, next.stage, next.ran.begun);
        }
        ticket.slot.deduct_up_to(Stage::Finish);
        let now = self.now();
        if ticket.still_wanted(now).is_err() {
            task.abandon(Stage::Finish, now, &self.metrics);
            return None;
        }
        self.background.note_answer();
        Some(Unfinished { task: task.map(|_| answered.map), batch: last.batch.clone() })
    }

    /// The image of a request was encoded, for the `first` of the batch's tasks that ask about it. The
    /// features are those that can be cached.
    fn was_encoded<T>(
        &self,
        stages: &S,
        task: &mut MaskTask<T>,
        features: Option<&S::ImageFeatures>,
        first: bool,
    ) {
        task.ticket.caches.image_hit = !first;
        if let (Some(facts), Some(features)) = (task.request.facts, features)
            && !self.feature_cache.contains(&facts.key)
        {
            self.feature_cache.insert(facts, features.clone(), stages.feature_bytes(features));
        }
        if self.recording {
            self.metrics.image_cache_hits.add(u64::from(!first));
            self.metrics.image_cache_misses.add(u64::from(first));
        }
        task.request.pixels.discard();
    }
}
