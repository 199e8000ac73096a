//! The words' station. A phrase is computed once, however many requests wait for it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{Ran, Scheduler, aftermath::Completed, stations::enter};
use crate::{
    admission::{TEXT_SHARE, cost_model::text_units},
    requests::{error::EngineError, vocabulary::Vocabulary},
    scheduler::{
        lanes::Waits as _,
        launch::Phrases,
        task::{Arrival, Cut, Described, Gathering, MaskTask, Request, Task, Texts, WordTask},
    },
    similarity::Directions,
    stages::{StageError, Stages, phrases::TokenPhrase, stage::Stage},
};

/// The next phrases for the text tower.
pub(super) struct NextPhrases {
    pub(super) phrases: Vec<TokenPhrase>,
    /// No more fit into the launch.
    pub(super) full: bool,
}

impl<S: Stages> Scheduler<S> {
    /// Looks for a new request's words in the caches, and in the directory.
    pub(super) fn gather_words(&mut self, stages: &S, mut task: Arrival) {
        let vocabulary = task.ticket.vocabulary.clone();
        let ready = self.text_cache.vocabulary(&vocabulary.digest());
        let mut gathering = Gathering { known: HashMap::new(), missing: HashSet::new() };
        let caches = &mut task.ticket.caches;
        caches.vocabulary_hit = ready.is_some();
        if ready.is_some() {
            caches.text_hits = vocabulary.phrases().iter().collect::<HashSet<_>>().len() as u32;
        } else {
            gathering = self.recall(&vocabulary);
            caches.text_hits = gathering.known.len() as u32;
            caches.text_misses = gathering.missing.len() as u32;
            // The warm-up's pictures try the model, so their words are computed; the words to preload may be
            // read.
            if self.recording || matches!(task.request, Request::Embed(_)) {
                self.look_up(&gathering.missing);
            }
        }
        if self.recording {
            let caches = &task.ticket.caches;
            self.metrics.text_cache_hits.add(u64::from(caches.text_hits));
            self.metrics.text_cache_misses.add(u64::from(caches.text_misses));
            self.metrics.vocabulary_cache_hits.add(u64::from(caches.vocabulary_hit));
            self.metrics.vocabulary_cache_misses.add(u64::from(!caches.vocabulary_hit));
        }
        let now = self.now();
        match ready {
            Some(text) => {
                self.begin_stage(&mut task.ticket, Stage::TextEmbedding, now);
                self.has_words(stages, task.map(|()| text), now);
            }
            None if gathering.missing.is_empty() => self.assemble(stages, task.map(|()| gathering)),
            None => enter(&mut self.stations.words, task.map(|()| gathering), now),
        }
    }

    /// The embeddings of a vocabulary's phrases that the cache holds.
    pub(super) fn recall(&self, vocabulary: &Vocabulary) -> Gathering<S::PhraseEmbedding> {
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
        Gathering { known, missing }
    }

    /// Asks the directory for phrases, but not again for those that are awaited already or being read.
    pub(super) fn look_up(&mut self, phrases: &HashSet<TokenPhrase>) {
        let Some(store) = &self.store else { return };
        let is_new = |phrase: &&TokenPhrase| !self.reading.contains(*phrase) && !self.is_awaited(phrase);
        let wanted: Vec<_> = phrases.iter().filter(is_new).cloned().collect();
        for phrase in wanted {
            if store.read(phrase.clone()) {
                self.reading.insert(phrase);
            }
        }
    }

    /// Reports whether a request waits for a phrase already, or a preparation.
    pub(super) fn is_awaited(&self, phrase: &TokenPhrase) -> bool {
        self.is_asked_for(phrase) || self.background.awaits(phrase)
    }

    /// Reports whether a request waits for a phrase already.
    pub(super) fn is_asked_for(&self, phrase: &TokenPhrase) -> bool {
        self.stations.words.iter().any(|task| task.state.missing.contains(phrase))
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
        let station = &self.stations.words;
        let can_be_embedded =
            |task: &&WordTask<S>| task.state.missing.iter().any(|phrase| !self.reading.contains(phrase));
        let rank =
            |task: &WordTask<S>| station.rank_of(task.priority(), task.since().max(self.text_turn), now);
        station.iter().filter(can_be_embedded).map(rank).max_by(f64::total_cmp)
    }

    /// Moves the requests that wait for the phrases of a launch from their station into the launch.
    pub(super) fn attend(&mut self, words: &mut Phrases<S>) {
        let waits =
            |task: &WordTask<S>| words.phrases.iter().any(|phrase| task.state.missing.contains(phrase));
        words.tasks = self.stations.words.take(waits);
    }

    /// Notes a launch of the text tower for its requests, and puts them back to their station. One in the
    /// background has none.
    pub(super) fn words_had_launch(&mut self, words: &mut Phrases<S>, done: &Completed) {
        let Some(first) = words.tasks.iter().map(|task| task.ticket.turn).min() else { return };
        self.text_turn = turn_after(self.text_turn.max(first), done.ran);
        for mut task in words.tasks.drain(..) {
            task.ticket.end_launch(done.ran.ended, &done.batch);
            task.ticket.turn = turn_after(task.ticket.turn, done.ran);
            self.stations.words.push(task);
        }
    }

    /// The next phrases for the text tower, those of the first request first: at most a chunk, and no more
    /// than it probably embeds in [`TEXT_LAUNCH`](crate::admission::TEXT_LAUNCH).
    pub(super) fn next_phrases(&self) -> NextPhrases {
        let mut units_left = self.admission.text_launch_units();
        let mut phrases = Vec::new();
        let mut seen: HashSet<&TokenPhrase> = HashSet::new();
        for task in self.stations.words.in_order(self.now()) {
            // In the vocabulary's order, so that the same requests always give the same batches.
            for phrase in task.ticket.vocabulary.phrases() {
                let Some(phrase) = task.state.missing.get(phrase) else { continue };
                if self.reading.contains(phrase) || !seen.insert(phrase) {
                    continue;
                }
                units_left -= text_units(phrase);
                if units_left < 0.0 && !phrases.is_empty() {
                    return NextPhrases { phrases, full: true };
                }
                phrases.push(phrase.clone());
                if phrases.len() == self.policy.text_chunk {
                    return NextPhrases { phrases, full: true };
                }
            }
        }
        NextPhrases { phrases, full: false }
    }

    /// Hands embeddings to the requests and preparations that wait for them; those that have all of theirs go
    /// on.
    pub(super) fn deliver(&mut self, stages: &S, found: HashMap<TokenPhrase, S::PhraseEmbedding>) {
        for task in self.stations.words.iter_mut() {
            let units = task.state.receive(&found);
            if units > 0.0 {
                task.ticket.slot.deduct(Stage::TextEmbedding, units / task.ticket.demand.text);
            }
        }
        for task in self.stations.words.take(|task| task.state.missing.is_empty()) {
            self.assemble(stages, task);
        }
        self.deliver_prepared(stages, &found);
    }

    /// Assembles the vocabulary of a task, caches it, and sends the task on.
    fn assemble(&mut self, stages: &S, mut task: WordTask<S>) {
        let begun = self.now();
        self.begin_stage(&mut task.ticket, Stage::TextEmbedding, begun);
        match self.combine_all(stages, &task.ticket.vocabulary, &task.state.known) {
            Ok(text) => self.has_words(stages, task.map(|_| text), begun),
            Err(error) => task.fail(error),
        }
    }

    /// Combines the embeddings of a vocabulary's phrases to those of its categories, and caches these.
    pub(super) fn combine_all(
        &self,
        stages: &S,
        vocabulary: &Vocabulary,
        known: &HashMap<TokenPhrase, S::PhraseEmbedding>,
    ) -> Result<Texts<S>, EngineError> {
        let embeddings = combine(stages, vocabulary, known).map_err(|error| {
            let message = error.to_string();
            EngineError::StageFailed { stage: Stage::TextEmbedding, message }
        })?;
        let bytes = embeddings.iter().map(|embedding| stages.text_bytes(embedding)).sum();
        let text: Texts<S> = embeddings.into();
        self.text_cache.keep_vocabulary(vocabulary.digest(), Arc::clone(&text), bytes);
        Ok(text)
    }

    /// The words of a request are ready.
    fn has_words(&mut self, stages: &S, mut task: Task<Request, Texts<S>>, begun: Instant) {
        task.ticket.timeline.end(self.now().max(begun), None);
        task.ticket.slot.deduct_up_to(Stage::TextEmbedding);
        let Task { ticket, request, state } = task;
        match request {
            Request::Segment(request) => self.seek_features(Task { ticket, request, state }),
            Request::Embed(reply) => {
                ticket.slot.leave();
                self.background.note_answer();
                reply.send(Ok(()));
            }
            Request::Directions(reply) => {
                ticket.slot.leave();
                reply.send(directions(stages, &ticket.vocabulary, &state));
            }
        }
    }

    /// A task with words goes to the encoder, unless its image is known.
    pub(super) fn seek_features(&mut self, mut task: MaskTask<Texts<S>>) {
        let pinned = task.request.pinned.clone();
        let pinned = pinned.or_else(|| self.feature_cache.get(&task.request.image_key()?));
        let features = pinned.and_then(|image| image.features::<S::ImageFeatures>());
        task.ticket.caches.image_hit = features.is_some();
        let now = self.now();
        let Some(features) = features else { return enter(&mut self.stations.encode, task, now) };
        if self.recording {
            self.metrics.image_cache_hits.add(1);
        }
        task.request.pixels.discard();
        task.ticket.slot.deduct_up_to(Stage::Encode);
        let task = task.map(|text| Cut::Whole(Described { text, features }));
        enter(&mut self.stations.cost_map, task, now);
    }
}

/// The turn of words that had a launch. Where they compete, its time counts [`TEXT_SHARE`] times: they get
/// one part of so many, and go again at once where nothing else waits.
fn turn_after(turn: Instant, ran: Ran) -> Instant {
    (turn + ran.time() * TEXT_SHARE).min(ran.ended)
}

/// The embeddings of all pairs.
fn combine<S: Stages>(
    stages: &S,
    vocabulary: &Vocabulary,
    known: &HashMap<TokenPhrase, S::PhraseEmbedding>,
) -> Result<Vec<S::TextEmbedding>, StageError> {
    let pair = |phrases: &[TokenPhrase]| {
        let embeddings: Vec<_> = phrases.iter().filter_map(|phrase| known.get(phrase).cloned()).collect();
        stages.combine(&embeddings)
    };
    vocabulary.phrases_by_pair().map(pair).collect()
}

/// The direction of every category: of one with several pairs the mean of theirs.
fn directions<S: Stages>(
    stages: &S,
    vocabulary: &Vocabulary,
    text: &[S::TextEmbedding],
) -> Result<Arc<Directions>, EngineError> {
    let failed = |error: StageError| EngineError::StageFailed {
        stage: Stage::TextEmbedding,
        message: error.to_string(),
    };
    let mut sums: Vec<Vec<f32>> = Vec::with_capacity(vocabulary.all_categories().len());
    for (pair, embedding) in text.iter().enumerate() {
        let direction = stages.direction(embedding).map_err(failed)?;
        let category = vocabulary.groups().map_or(pair, |groups| groups[pair] as usize);
        match sums.get_mut(category) {
            Some(sum) => sum.iter_mut().zip(&direction).for_each(|(sum, value)| *sum += value),
            None => sums.push(direction),
        }
    }
    if vocabulary.groups().is_some() {
        sums.iter_mut().for_each(|sum| make_unit(sum));
    }
    Ok(Arc::new(Directions::new(&sums, vocabulary.size())))
}

fn make_unit(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
}
