//! The words' station. A phrase is computed once, however many requests wait for it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{Ran, Scheduler, aftermath::end_task};
use crate::{
    admission::TEXT_SHARE,
    cost_model::text_units,
    error::EngineError,
    job::JobImage,
    lanes::Waits,
    phrases::TokenPhrase,
    report::{BatchTiming, Stage},
    stages::{StageError, Stages},
    task::{Task, Words},
    ticket::{Outcome, Request},
    vocabulary::Vocabulary,
};

impl<S: Stages> Scheduler<S> {
    /// Looks for a new task's words in the caches, and in the directory.
    pub(super) fn gather_words(&mut self, stages: &S, mut task: Task<S>) {
        let vocabulary = task.ticket.vocabulary().clone();
        let ready = self.text_cache.vocabulary(&vocabulary.digest());
        task.caches.vocabulary_hit = ready.is_some();
        if let Some(ready) = ready {
            let phrases: HashSet<&TokenPhrase> = vocabulary.phrases().iter().collect();
            task.caches.text_hits = phrases.len() as u32;
            task.words = Words::Ready(ready);
        } else {
            let (mut known, mut missing) = (HashMap::new(), HashSet::new());
            for phrase in vocabulary.phrases() {
                if known.contains_key(phrase) || missing.contains(phrase) {
                    continue;
                }
                match self.text_cache.phrase(phrase) {
                    Some(embedding) => drop(known.insert(phrase.clone(), embedding)),
                    None => drop(missing.insert(phrase.clone())),
                }
            }
            task.caches.text_hits = known.len() as u32;
            task.caches.text_misses = missing.len() as u32;
            // The warm-up's pictures try the model, so their words are computed; the words to preload may be
            // read.
            if self.recording || matches!(task.ticket.request, Request::Embed(_)) {
                self.look_up(&missing);
            }
            task.words = Words::Gathering { known, missing };
        }
        if self.recording {
            self.metrics.text_cache_hits.add(u64::from(task.caches.text_hits));
            self.metrics.text_cache_misses.add(u64::from(task.caches.text_misses));
            self.metrics.vocabulary_cache_hits.add(u64::from(task.caches.vocabulary_hit));
            self.metrics.vocabulary_cache_misses.add(u64::from(!task.caches.vocabulary_hit));
        }
        if task.missing().is_some_and(|missing| !missing.is_empty()) {
            self.enqueue(Stage::TextEmbedding, task);
        } else {
            let now = self.now();
            self.begin_stage(&mut task, Stage::TextEmbedding, now);
            self.assemble(stages, task, now);
        }
    }

    /// Asks the directory for phrases, but not again for those that a request waits for or that are being
    /// read.
    fn look_up(&mut self, phrases: &HashSet<TokenPhrase>) {
        let Some(store) = &self.store else { return };
        let is_new = |phrase: &&TokenPhrase| !self.reading.contains(*phrase) && !self.is_awaited(phrase);
        let wanted: Vec<_> = phrases.iter().filter(is_new).cloned().collect();
        for phrase in wanted {
            if store.read(phrase.clone()) {
                self.reading.insert(phrase);
            }
        }
    }

    /// Reports whether a request waits for a phrase already.
    fn is_awaited(&self, phrase: &TokenPhrase) -> bool {
        self.stations[Stage::TextEmbedding.index()]
            .iter()
            .any(|task| task.missing().is_some_and(|missing| missing.contains(phrase)))
    }

    /// The directory has answered.
    pub(crate) fn was_read(&mut self, stages: &S, phrase: &TokenPhrase, found: Option<&[u8]>) {
        self.reading.remove(phrase);
        let Some(bytes) = found else { return };
        match stages.restore_phrase(bytes) {
            Ok(embedding) => {
                let bytes = stages.phrase_bytes(&embedding);
                self.text_cache.keep_phrase(phrase.clone(), embedding.clone(), bytes);
                self.deliver(stages, [(phrase.clone(), embedding)].into());
            }
            Err(error) => {
                self.metrics.text_store_damaged.add(1);
                tracing::warn!(%error, "a stored text embedding does not fit the model; computing it again");
            }
        }
    }

    /// The rank of the words against the work at other stations; `None` if none can be embedded now. Words
    /// have no memory of the device between two launches, so that they need not go first once they have
    /// begun; and they have waited only since their turn, whatever they have had before.
    pub(super) fn rank_of_words(&self, now: Instant) -> Option<f64> {
        let station = &self.stations[Stage::TextEmbedding.index()];
        let can_be_embedded = |task: &&Task<S>| {
            task.missing().is_some_and(|missing| missing.iter().any(|phrase| !self.reading.contains(phrase)))
        };
        let rank = |task: &Task<S>| station.rank_of(task.priority(), task.turn.max(self.text_turn), now);
        station.iter().filter(can_be_embedded).map(rank).max_by(f64::total_cmp)
    }

    /// Notes a launch of the text tower for the requests that wait for its phrases: those whose stage is
    /// open. Returns how many they are.
    pub(super) fn words_had_launch(&mut self, ran: Ran, batch: &BatchTiming) -> usize {
        let station = self.station(Stage::TextEmbedding);
        let mut served = station.take(|task| task.stage_span.is_some());
        let (requests, first) = (served.len(), served.iter().map(|task| task.turn).min());
        self.text_turn = turn_after(self.text_turn.max(first.unwrap_or(ran.begun)), ran);
        for task in &mut served {
            end_task(task, ran.ended, batch);
            task.turn = turn_after(task.turn, ran);
        }
        served.into_iter().for_each(|task| self.station(Stage::TextEmbedding).push(task));
        requests
    }

    /// The next phrases for the text tower, those of the first request first: at most `most`, and no more
    /// than it probably embeds in [`TEXT_LAUNCH`](crate::admission::TEXT_LAUNCH). Also returns whether there
    /// are more.
    pub(super) fn phrases_to_embed(&self, most: usize) -> (Vec<TokenPhrase>, bool) {
        let mut units_left = self.admission.text_launch_units();
        let mut chosen = Vec::new();
        let mut seen: HashSet<TokenPhrase> = HashSet::new();
        for task in self.stations[Stage::TextEmbedding.index()].in_order(self.now()) {
            let Some(missing) = task.missing() else { continue };
            // In the vocabulary's order, so that the same requests always give the same batches.
            for phrase in task.ticket.vocabulary().phrases() {
                let Some(phrase) = missing.get(phrase) else { continue };
                if self.reading.contains(phrase) || !seen.insert(phrase.clone()) {
                    continue;
                }
                units_left -= text_units(phrase);
                if chosen.len() == most || (units_left < 0.0 && !chosen.is_empty()) {
                    return (chosen, true);
                }
                chosen.push(phrase.clone());
            }
        }
        (chosen, false)
    }

    /// Hands embeddings to the requests that wait for them; requests that have all of theirs go on.
    pub(super) fn deliver(&mut self, stages: &S, found: HashMap<TokenPhrase, S::PhraseEmbedding>) {
        for task in self.station(Stage::TextEmbedding).iter_mut() {
            let Words::Gathering { known, missing } = &mut task.words else { continue };
            let mut units = 0.0;
            for (phrase, embedding) in &found {
                if missing.remove(phrase) {
                    units += text_units(phrase);
                    known.insert(phrase.clone(), embedding.clone());
                }
            }
            if units > 0.0 {
                task.ticket.place.pay(Stage::TextEmbedding, units / task.ticket.demand.text);
            }
        }
        let complete = |task: &Task<S>| task.missing().is_some_and(HashSet::is_empty);
        for mut task in self.station(Stage::TextEmbedding).take(complete) {
            let now = self.now();
            self.begin_stage(&mut task, Stage::TextEmbedding, now);
            self.assemble(stages, task, now);
        }
    }

    /// Assembles the vocabulary of a task, caches it, and sends the task on.
    fn assemble(&mut self, stages: &S, mut task: Task<S>, begun: Instant) {
        if let Words::Gathering { known, .. } = &task.words {
            let vocabulary = task.ticket.vocabulary();
            match combine(stages, vocabulary, known) {
                Ok(embeddings) => {
                    let bytes = embeddings.iter().map(|embedding| stages.text_bytes(embedding)).sum();
                    let embeddings: Arc<[S::TextEmbedding]> = embeddings.into();
                    self.text_cache.keep_vocabulary(vocabulary.digest(), Arc::clone(&embeddings), bytes);
                    task.words = Words::Ready(embeddings);
                }
                Err(error) => {
                    let message = error.to_string();
                    return task.fail(EngineError::StageFailed { stage: Stage::TextEmbedding, message });
                }
            }
        }
        let now = self.now();
        task.timeline.end(now.max(begun), None);
        task.ticket.place.pay_up_to(Stage::TextEmbedding);
        task.stage_span = None;
        match task.ticket.request {
            Request::Embed(_) => task.answer(Ok(Outcome::Embedded)),
            Request::Segment(_) => self.seek_features(task),
        }
    }

    /// A task with words goes to the encoder, unless its image is known.
    pub(super) fn seek_features(&mut self, mut task: Task<S>) {
        let pinned = match task.job().map(|job| &job.image) {
            Some(JobImage::Cached(image)) => Some(image.clone()),
            Some(JobImage::Pixels { facts: Some(facts), .. }) => self.feature_cache.get(&facts.key),
            Some(JobImage::Pixels { facts: None, .. }) | None => None,
        };
        let features = pinned.and_then(|image| image.features::<S::ImageFeatures>());
        task.caches.image_hit = features.is_some();
        if self.recording && features.is_some() {
            self.metrics.image_cache_hits.add(1);
        }
        let next = if features.is_some() { Stage::CostMap } else { Stage::Encode };
        if features.is_some() {
            task.ticket.pixels.discard();
            task.ticket.place.pay_up_to(Stage::Encode);
        }
        task.features = features;
        self.enqueue(next, task);
    }
}

/// The turn of words that had a launch. Where they compete, its time counts [`TEXT_SHARE`] times: they get
/// one part of so many, and go again at once where nothing else waits.
fn turn_after(turn: Instant, ran: Ran) -> Instant {
    (turn + ran.time() * TEXT_SHARE).min(ran.ended)
}

/// The embeddings of all categories.
fn combine<S: Stages>(
    stages: &S,
    vocabulary: &Vocabulary,
    known: &HashMap<TokenPhrase, S::PhraseEmbedding>,
) -> Result<Vec<S::TextEmbedding>, StageError> {
    let category = |phrases: &[TokenPhrase]| {
        let embeddings: Vec<_> = phrases.iter().filter_map(|phrase| known.get(phrase).cloned()).collect();
        stages.combine(&embeddings)
    };
    vocabulary.phrases_by_category().map(category).collect()
}
