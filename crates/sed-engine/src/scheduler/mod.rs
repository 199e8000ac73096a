//! The choice of the next launch. Every stage has a station where requests wait; a batch takes from it, in
//! order, the requests that fit its budget, whatever their vocabularies.
//!
//! Where the device takes whole requests ([`Stages::submits`]), a batch for the encoder, or for the cost map
//! of images that are known, goes through all stages in one launch, a submission, if all its pairs before the
//! first rejection fit a launch. Its stages have times, metrics and lessons for the predictions as if each
//! had been a launch. A request goes stage by stage if it is too large for a submission, if its output is
//! more than one returns, or if it was in one that ran out of memory.
//!
//! Work in flight goes first, the latest stage before the earlier ones, so that it gets out of the way; only
//! when none waits does the request that came first begin. So work in flight is bounded, and no request
//! starves: what is in flight is finite until something new begins. Words are never in flight: they are
//! embedded in short launches, between which the work of other requests has its turn. Words that are prepared
//! for later go in the background of all that.

mod aftermath;
mod answer;
mod background;
mod batch;
pub(crate) mod budget;
mod checks;
mod failure;
mod images;
pub(crate) mod lanes;
pub(crate) mod launch;
mod launch_error;
pub(crate) mod pixels;
mod ran;
mod stations;
mod steps;
mod submission;
pub(crate) mod task;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod ticket;
pub(crate) mod timeline;

use std::{
    cmp::Ordering,
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    admission::Admission,
    caches::{feature_cache::FeatureCache, text_cache::TextCache, text_store::TextStoreThread},
    metrics::{EngineMetrics, FlushReason},
    requests::error::EngineError,
    scheduler::{
        budget::Budget,
        launch::{Launch, Work},
        task::{Arrival, MaskTask, Request},
        ticket::{Progress, Ticket},
    },
    stages::{
        Stages,
        phrases::TokenPhrase,
        stage::{Stage, Unit},
    },
};

use background::Background;
use stations::Stations;
use text::NextPhrases;

pub(crate) use aftermath::Aftermath;
pub(crate) use answer::Unfinished;
pub(crate) use ran::Ran;

/// A clock: the system's, or a test's.
pub(crate) type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The settings by which batches are formed.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// While other work is ripe, a batch that is not full waits this long for more.
    pub(crate) delay: Duration,
    /// Waiting this long is worth one step of priority.
    pub(crate) ageing: Duration,
    /// Phrases of one launch of the text tower.
    pub(crate) text_chunk: usize,
}

/// A station that could go next.
struct Candidate {
    stage: Stage,
    /// Rank of its head.
    rank: f64,
    /// It has work in flight.
    in_flight: bool,
    /// Why its batch need not wait for more; `None` if it should.
    ripe: Option<FlushReason>,
}

/// All stations, and what the requests share.
pub(crate) struct Scheduler<S: Stages> {
    policy: Policy,
    clock: Clock,
    stations: Stations<S>,
    /// Launches that failed, in smaller pieces. They go before everything else.
    retries: VecDeque<Work<S>>,
    /// Phrases that are being looked for in the directory.
    reading: HashSet<TokenPhrase>,
    /// Start of the wait of words as against all other work: later the more launches they have had.
    text_turn: Instant,
    background: Background<S>,
    budget: Budget,
    text_cache: Arc<TextCache<S::PhraseEmbedding, S::TextEmbedding>>,
    feature_cache: Arc<FeatureCache>,
    store: Option<TextStoreThread>,
    admission: Arc<Admission>,
    pub(crate) metrics: Arc<EngineMetrics>,
    /// False while the engine warms up, so that metrics count the requests of callers alone.
    pub(crate) recording: bool,
}

/// The parts of a scheduler.
pub(crate) struct SchedulerParts<S: Stages> {
    pub(crate) policy: Policy,
    pub(crate) clock: Clock,
    pub(crate) budget: Budget,
    pub(crate) text_cache: Arc<TextCache<S::PhraseEmbedding, S::TextEmbedding>>,
    pub(crate) feature_cache: Arc<FeatureCache>,
    pub(crate) store: Option<TextStoreThread>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) metrics: Arc<EngineMetrics>,
}

impl<S: Stages> Scheduler<S> {
    pub(crate) fn new(parts: SchedulerParts<S>) -> Self {
        let SchedulerParts { policy, clock, budget, text_cache, feature_cache, store, admission, metrics } =
            parts;
        Self {
            stations: Stations::new(policy.ageing),
            retries: VecDeque::new(),
            reading: HashSet::new(),
            text_turn: clock(),
            background: Background::default(),
            policy,
            clock,
            budget,
            text_cache,
            feature_cache,
            store,
            admission,
            metrics,
            recording: true,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        (self.clock)()
    }

    /// Images of the largest encoder batch, pairs of the largest batch of any later stage.
    pub(crate) fn budget(&self) -> (usize, usize) {
        (self.budget.get(Unit::Images), self.budget.get(Unit::Pairs))
    }

    /// Adds a request that has arrived.
    pub(crate) fn arrive(&mut self, stages: &S, mut arrival: Arrival) {
        if let Request::Segment(masks) = &arrival.request {
            arrival.ticket.one_by_one = !stages.submits(&masks.output);
        }
        if self.recording && matches!(arrival.request, Request::Segment(_)) {
            self.metrics.categories_requested.record(arrival.ticket.vocabulary.size() as f64);
        }
        self.gather_words(stages, arrival);
    }

    /// The next launch, if there is any work that can be done now.
    pub(crate) fn next(&mut self) -> Option<Launch<S>> {
        let now = self.now();
        self.budget.recover(now);
        while let Some(work) = self.retries.pop_front() {
            match self.without_unwanted(work, now) {
                Some(work) if self.fits(&work) => return Some(self.begin(work, None, now)),
                // The budget has been lowered since: a new batch is formed.
                Some(work) => self.stations.put_back(work, now),
                None => {}
            }
        }
        loop {
            self.drop_unwanted(now);
            self.skip_encoder();
            if self.background.is_due()
                && let Some(work) = self.background_work(now)
            {
                return Some(self.begin(work, Some(FlushReason::Idle), now));
            }
            let phrases = self.next_phrases();
            let Some((stage, reason)) = self.choose(&phrases, now) else {
                let work = if self.background.is_quiet(now) { self.background_work(now) } else { None }?;
                return Some(self.begin(work, Some(FlushReason::Idle), now));
            };
            if let Some(work) = self.form(stage, phrases, now) {
                return Some(self.begin(work, Some(reason), now));
            }
        }
    }

    /// Reports whether no request waits, whatever is being prepared. Those of a launch that runs do not
    /// count.
    pub(crate) fn is_empty(&self) -> bool {
        self.retries.is_empty()
            && Stage::ALL.into_iter().all(|stage| self.stations.of(stage).tickets().next().is_none())
    }

    /// Fails all preparations, and all requests, or with `only_fresh` only those that have not begun.
    pub(crate) fn fail_all(&mut self, only_fresh: bool, error: &EngineError) {
        if !only_fresh {
            let now = self.now();
            self.retries.drain(..).for_each(|work| self.stations.put_back(work, now));
        }
        self.fail_all_prepared(error);
        for stage in Stage::ALL {
            let chosen = |ticket: &Ticket| !only_fresh || ticket.progress == Progress::Waiting;
            for request in self.stations.of_mut(stage).remove(&chosen) {
                request.fail(error.clone());
            }
        }
    }

    /// The station that goes next, and why now. Stations whose batch need not wait for more go before the
    /// others. Among these work in flight goes first, the latest stage before the earlier ones, and then the
    /// head that ranks highest.
    fn choose(&self, phrases: &NextPhrases, now: Instant) -> Option<(Stage, FlushReason)> {
        let mut best: Option<Candidate> = None;
        for stage in Stage::ALL.into_iter().rev() {
            let Some(candidate) = self.candidate(stage, phrases, now) else { continue };
            let is_better = best.as_ref().is_none_or(|best| match candidate.class().cmp(&best.class()) {
                Ordering::Equal => !candidate.in_flight && candidate.rank >= best.rank,
                order => order.is_gt(),
            });
            if is_better {
                best = Some(candidate);
            }
        }
        best.map(|best| (best.stage, best.ripe.unwrap_or(FlushReason::Idle)))
    }

    /// A station that has work.
    fn candidate(&self, stage: Stage, phrases: &NextPhrases, now: Instant) -> Option<Candidate> {
        let station = self.stations.of(stage);
        let rank = match stage {
            Stage::TextEmbedding => self.rank_of_words(now)?,
            _ => station.head_rank(now)?,
        };
        let in_flight = station.tickets().any(|ticket| ticket.progress == Progress::InFlight);
        Some(Candidate { stage, rank, in_flight, ripe: self.ripeness(stage, phrases, now) })
    }

    /// Why a station's batch need not wait for more; `None` if it should.
    fn ripeness(&self, stage: Stage, phrases: &NextPhrases, now: Instant) -> Option<FlushReason> {
        let station = self.stations.of(stage);
        let oldest = station.tickets().map(|ticket| ticket.entered).min()?;
        let is_full = match stage {
            Stage::TextEmbedding => phrases.full,
            Stage::Encode => {
                let whole = station.tickets().filter(|ticket| self.goes_whole(ticket));
                station.tickets().count() >= self.budget.get(Unit::Images)
                    || whole.map(|ticket| ticket.pairs).sum::<usize>() >= self.budget.whole()
            }
            _ => station.tickets().map(|ticket| ticket.pairs).sum::<usize>() >= self.budget.get(Unit::Pairs),
        };
        if is_full {
            return Some(FlushReason::Full);
        }
        if self.policy.delay.is_zero() {
            return Some(FlushReason::Idle);
        }
        (now.saturating_duration_since(oldest) >= self.policy.delay).then_some(FlushReason::Delay)
    }

    /// Reports whether work is within the budget as it is now.
    fn fits(&self, work: &Work<S>) -> bool {
        let size = work.size();
        if let Work::Whole(_) = work {
            return size.images <= self.budget.get(Unit::Images) && size.pairs <= self.budget.whole();
        }
        match size.stage {
            Stage::TextEmbedding => true,
            Stage::Encode => size.images <= self.budget.get(Unit::Images),
            Stage::Finish if size.images == 1 => true,
            _ => size.pairs <= self.budget.get(Unit::Pairs),
        }
    }

    /// Marks the requests of a launch as begun.
    fn begin(&mut self, mut work: Work<S>, reason: Option<FlushReason>, now: Instant) -> Launch<S> {
        if let Work::Phrases(words) = &mut work {
            self.attend(words);
        }
        let (stage, name) = (work.stage(), work.name());
        work.tickets_mut().into_iter().for_each(|ticket| self.begin_launch(ticket, (stage, name), now));
        if self.recording
            && let Some(reason) = reason
        {
            self.metrics.batch_flushes.add(stage, reason, 1);
        }
        Launch { work, reason }
    }

    fn begin_launch(&self, ticket: &mut Ticket, (stage, name): (Stage, &'static str), now: Instant) {
        let reached = if stage == Stage::TextEmbedding { Progress::Begun } else { Progress::InFlight };
        ticket.progress = ticket.progress.max(reached);
        let first = ticket.slot.begin(stage);
        if first && self.recording {
            let waited = now.saturating_duration_since(ticket.urgency.since);
            self.metrics.queue_wait.record(ticket.urgency.priority, waited.as_secs_f64());
        }
        self.begin_stage(ticket, stage, now);
        let span = tracing::info_span!(parent: &ticket.span, "stage", otel.name = name, stage = name);
        ticket.stage_span = Some(span);
    }

    /// Begins a stage of a request, or goes on with it.
    fn begin_stage(&self, ticket: &mut Ticket, stage: Stage, now: Instant) {
        let wait = ticket.timeline.begin(stage, now);
        if let Some(wait) = wait.filter(|_| self.recording) {
            self.metrics.stage_wait.record(stage.into(), wait.as_secs_f64());
        }
    }

    /// Drops requests whose caller has gone or whose deadline has passed.
    fn drop_unwanted(&mut self, now: Instant) {
        for stage in Stage::ALL {
            let unwanted = |ticket: &Ticket| ticket.still_wanted(now).is_err();
            for request in self.stations.of_mut(stage).remove(&unwanted) {
                request.abandon(stage, now, &self.metrics);
            }
        }
    }

    /// Drops unwanted requests, and phrases that no request waits for, from work that is tried again. Returns
    /// `None` if nothing is left of it.
    fn without_unwanted(&mut self, mut work: Work<S>, now: Instant) -> Option<Work<S>> {
        if let Work::Phrases(mut words) = work {
            words.phrases.retain(|phrase| self.is_awaited(phrase));
            return (!words.phrases.is_empty()).then_some(Work::Phrases(words));
        }
        let tickets = work.tickets_mut().into_iter();
        let unwanted: Vec<bool> = tickets.map(|ticket| ticket.still_wanted(now).is_err()).collect();
        let (left, gone) = work.divided(|index| unwanted[index]);
        if let Some(gone) = gone {
            self.stations.put_back(gone, now);
            self.drop_unwanted(now);
        }
        left
    }

    /// Requests whose image has been encoded for another one in the meantime go on without the encoder.
    fn skip_encoder(&mut self) {
        let cache = Arc::clone(&self.feature_cache);
        let known = |task: &MaskTask<_>| task.request.image_key().is_some_and(|key| cache.contains(&key));
        for task in self.stations.encode.take(known) {
            self.seek_features(task);
        }
    }
}

impl Candidate {
    /// The class of the candidate; a higher one goes first.
    fn class(&self) -> (bool, bool) {
        (self.ripe.is_some(), self.in_flight)
    }
}
