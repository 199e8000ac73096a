//! Words that are prepared in the background of all requests, in launches so small that a request hardly
//! waits for one. They have no place in the queue, no deadline and no priority.

mod turn;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use self::turn::Turn;
use super::{Ran, Scheduler};
use crate::{
    admission::cost_model::text_units,
    preparing::{Assignment, Share},
    requests::{error::EngineError, vocabulary::Vocabulary},
    scheduler::{launch::Work, task::Gathering},
    stages::{Stages, phrases::TokenPhrase},
};

/// Weight of the pace so far, when the next launch is added to it.
const PACE_MEMORY: f64 = 0.8;

/// The vocabularies that the device prepares.
pub(super) struct Background<S: Stages> {
    /// The first has the next launch.
    efforts: VecDeque<Effort<S>>,
    turn: Turn,
    /// Seconds that pass for each unit, other work included; `None` before the first launch.
    pace: Option<f64>,
    /// Start of the wait for the next launch.
    waiting_since: Option<Instant>,
}

/// A vocabulary that the device prepares. It holds the embeddings until it is assembled.
struct Effort<S: Stages> {
    share: Share,
    vocabulary: Vocabulary,
    gathering: Gathering<S::PhraseEmbedding>,
    /// Units of the phrases that are missing.
    units: f64,
}

impl<S: Stages> Default for Background<S> {
    fn default() -> Self {
        Self { efforts: VecDeque::new(), turn: Turn::default(), pace: None, waiting_since: None }
    }
}

impl<S: Stages> Background<S> {
    /// Notes a launch for requests.
    pub(super) fn note_requests(&mut self, ran: Ran) {
        self.turn.note_requests(ran);
    }

    /// Notes an answer to a request.
    pub(super) fn note_answer(&mut self) {
        self.turn.note_answer();
    }

    /// Notes a launch for no request, with its units.
    pub(super) fn note_launch(&mut self, units: f64, ran: Ran) {
        self.turn.note_background(ran);
        let since = self.waiting_since.unwrap_or(ran.begun);
        let now = ran.ended.saturating_duration_since(since).as_secs_f64() / units.max(1.0);
        self.pace = Some(self.pace.map_or(now, |old| PACE_MEMORY * old + (1.0 - PACE_MEMORY) * now));
        self.waiting_since = Some(ran.ended);
    }

    /// Reports whether a phrase is to be prepared.
    pub(super) fn awaits(&self, phrase: &TokenPhrase) -> bool {
        self.efforts.iter().any(|effort| effort.gathering.missing.contains(phrase))
    }

    /// Reports whether background work goes before the requests that wait.
    pub(super) fn is_due(&self) -> bool {
        !self.efforts.is_empty() && self.turn.is_due()
    }

    /// Reports whether the device has been without requests for some time.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        self.turn.quiet_in(now).is_zero()
    }

    /// Drops efforts that have ended for another reason than this device.
    fn drop_ended(&mut self) {
        self.efforts.retain(|effort| !effort.share.is_over());
    }

    /// Predicted time until an effort has all, of those that take turns.
    fn remaining(&self, effort: &Effort<S>, pace: Option<f64>) -> Option<Duration> {
        let all: f64 = self.efforts.iter().map(|other| other.units).sum();
        let before = (effort.units * self.efforts.len() as f64).min(all);
        Duration::try_from_secs_f64(before * self.pace.or(pace)?).ok()
    }

    /// Reports the progress of the efforts at these places.
    fn report(&self, places: &[usize], pace: Option<f64>) {
        for effort in places.iter().filter_map(|place| self.efforts.get(*place)) {
            effort.share.report(effort.gathering.known.len(), self.remaining(effort, pace));
        }
    }
}

impl<S: Stages> Scheduler<S> {
    /// Begins to prepare a vocabulary.
    pub(crate) fn prepare(&mut self, stages: &S, assignment: Assignment) {
        let Assignment { vocabulary, share } = assignment;
        if self.text_cache.vocabulary(&vocabulary.digest()).is_some() {
            return share.done();
        }
        let gathering = self.recall(&vocabulary);
        self.look_up(&gathering.missing);
        let units = gathering.missing.iter().map(text_units).sum();
        if self.background.efforts.is_empty() {
            self.background.waiting_since = Some(self.now());
        }
        self.background.efforts.push_back(Effort { share, vocabulary, gathering, units });
        self.background.report(&[self.background.efforts.len() - 1], self.admission.background_pace());
        self.finish_prepared(stages);
    }

    /// The next background launch: phrases that no request waits for, which has them embedded itself.
    pub(super) fn background_work(&mut self, now: Instant) -> Option<Work<S>> {
        self.background.drop_ended();
        // The first alone is asked, since each is the first in its turn.
        while self.background.efforts.front().is_some_and(|first| !first.share.is_wanted(now)) {
            self.background.efforts.pop_front();
        }
        let mut units_left = self.admission.background_launch_units();
        let mut phrases: Vec<TokenPhrase> = Vec::new();
        for phrase in self.background_phrases() {
            units_left -= text_units(phrase);
            let is_full = units_left < 0.0 || phrases.len() == self.policy.text_chunk;
            if is_full && !phrases.is_empty() {
                break;
            }
            phrases.push(phrase.clone());
        }
        if let Some(first) = self.background.efforts.pop_front() {
            self.background.efforts.push_back(first);
        }
        (!phrases.is_empty()).then(|| Work::phrases(phrases))
    }

    /// Returns the time until the device may work in the background if no request comes; `None` if there is
    /// nothing to do.
    pub(crate) fn background_in(&self) -> Option<Duration> {
        let has_phrases = self.background_phrases().next().is_some();
        has_phrases.then(|| self.background.turn.quiet_in(self.now()))
    }

    /// The phrases that can be embedded in the background, those of the effort whose turn it is first.
    fn background_phrases(&self) -> impl Iterator<Item = &TokenPhrase> {
        let mut seen = HashSet::new();
        let efforts = self.background.efforts.iter().filter(|effort| !effort.share.is_over());
        // In the vocabulary's order, so that the same words always give the same launches.
        let missing = efforts.flat_map(|effort| {
            let phrases = effort.vocabulary.phrases().iter();
            phrases.filter(move |phrase| effort.gathering.missing.contains(*phrase))
        });
        missing.filter(move |phrase| {
            seen.insert(*phrase) && !self.reading.contains(*phrase) && !self.is_asked_for(phrase)
        })
    }

    /// Hands embeddings to the efforts that miss them.
    pub(super) fn deliver_prepared(&mut self, stages: &S, found: &HashMap<TokenPhrase, S::PhraseEmbedding>) {
        let mut changed = Vec::new();
        for (place, effort) in self.background.efforts.iter_mut().enumerate() {
            let received = effort.gathering.receive(found);
            if received > 0.0 {
                effort.units -= received;
                changed.push(place);
            }
        }
        if changed.is_empty() {
            return;
        }
        self.background.report(&changed, self.admission.background_pace());
        self.finish_prepared(stages);
    }

    /// Assembles the vocabularies whose words are complete.
    fn finish_prepared(&mut self, stages: &S) {
        let is_complete = |effort: &Effort<S>| effort.gathering.missing.is_empty();
        while let Some(place) = self.background.efforts.iter().position(is_complete) {
            let Some(effort) = self.background.efforts.remove(place) else { return };
            match self.combine_all(stages, &effort.vocabulary, &effort.gathering.known) {
                Ok(_) => effort.share.done(),
                Err(error) => effort.share.fail(&error),
            }
        }
    }

    /// Ends the efforts that miss one of these phrases with an error.
    pub(super) fn fail_prepared(&mut self, phrases: &[TokenPhrase], error: &EngineError) {
        let misses =
            |effort: &Effort<S>| phrases.iter().any(|phrase| effort.gathering.missing.contains(phrase));
        while let Some(place) = self.background.efforts.iter().position(misses) {
            let Some(effort) = self.background.efforts.remove(place) else { return };
            effort.share.fail(error);
        }
    }

    /// Ends all efforts with an error.
    pub(super) fn fail_all_prepared(&mut self, error: &EngineError) {
        self.background.efforts.drain(..).for_each(|effort| effort.share.fail(error));
    }
}
