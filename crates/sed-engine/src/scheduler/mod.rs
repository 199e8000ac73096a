//! The choice of the next launch. Every stage has a station where requests wait; a batch takes from it, in
//! order, the requests that fit its budget, whatever their vocabularies.
//!
//! Work in flight goes first, the latest stage before the earlier ones, so that it gets out of the way; only
//! when none waits does the request that came first begin. So work in flight is bounded, and no request
//! starves: what is in flight is finite until something new begins. Words are never in flight: they are
//! embedded in short launches, between which the work of other requests has its turn.

mod aftermath;
mod failure;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::Span;

use crate::{
    admission::Admission,
    budget::{Budget, Unit},
    error::EngineError,
    feature_cache::FeatureCache,
    lanes::Lanes,
    launch::{Launch, Work, image_key},
    metrics::{EngineMetrics, FlushReason},
    phrases::TokenPhrase,
    report::Stage,
    stages::Stages,
    task::{Pairs, Task},
    text_cache::TextCache,
    text_store::TextStoreThread,
    ticket::Ticket,
};

pub(crate) use aftermath::{Aftermath, Ran};

/// The most maps, each counted as often as its output is larger than it, of one launch of the last stage with
/// several requests: with outputs of 640 x 480 pixels some hundreds, but one of 60 megapixels is alone, so
/// that small ones do not wait for large ones.
const MOST_ENLARGED: f64 = 8192.0;

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
#[derive(Clone, Copy, Debug)]
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
    /// By [`Stage`].
    stations: [Lanes<Task<S>>; Stage::COUNT],
    /// Launches that failed, in smaller pieces. They go before everything else.
    retries: VecDeque<Launch<S>>,
    /// Phrases that are being looked for in the directory.
    reading: HashSet<TokenPhrase>,
    /// Start of the wait of words as against all other work: later the more launches they have had.
    text_turn: Instant,
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
            stations: std::array::from_fn(|_| Lanes::new(policy.ageing)),
            retries: VecDeque::new(),
            reading: HashSet::new(),
            text_turn: clock(),
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
    pub(crate) fn arrive(&mut self, stages: &S, ticket: Ticket) {
        if self.recording && ticket.demand.categories > 0 {
            self.metrics.categories_requested.record(ticket.demand.categories as f64);
        }
        self.gather_words(stages, Task::new(ticket, self.now()));
    }

    /// The next launch, if there is any work that can be done now.
    pub(crate) fn next(&mut self) -> Option<Launch<S>> {
        let now = self.now();
        self.budget.recover(now);
        while let Some(launch) = self.retries.pop_front() {
            let Some(launch) = self.without_unwanted(launch, now) else { continue };
            if !self.fits(&launch) {
                // The budget has been lowered since: a new batch is formed.
                let Launch { stage, work, .. } = launch;
                work.into_tasks().into_iter().for_each(|task| self.enqueue(stage, task));
            } else if let Some(launch) = self.begin(launch, now) {
                return Some(launch);
            }
        }
        loop {
            self.drop_unwanted(now);
            self.skip_encoder();
            let (stage, reason) = self.choose(now)?;
            let work = self.form(stage, now)?;
            if let Some(launch) = self.begin(Launch { stage, work, reason: Some(reason) }, now) {
                return Some(launch);
            }
        }
    }

    /// The spans of the requests that a launch works for.
    pub(crate) fn callers<'a>(&'a self, launch: &'a Launch<S>) -> impl Iterator<Item = &'a Span> {
        // The requests that wait for its phrases are those whose stage is open.
        let words = matches!(launch.work, Work::Phrases(_));
        let waiting = self.stations[Stage::TextEmbedding.index()].iter();
        let waiting = waiting.filter(move |task| words && task.stage_span.is_some());
        launch.tasks().iter().chain(waiting).map(|task| &task.ticket.span)
    }

    /// Reports whether no request waits. Those of a launch that runs do not count.
    pub(crate) fn is_empty(&self) -> bool {
        self.retries.is_empty() && self.stations.iter().all(Lanes::is_empty)
    }

    /// Fails all requests, or with `only_fresh` only those that have not begun.
    pub(crate) fn fail_all(&mut self, only_fresh: bool, error: &EngineError) {
        for station in &mut self.stations {
            for task in station.take(|task| !(only_fresh && task.begun)) {
                task.fail(error.clone());
            }
        }
        if !only_fresh {
            for launch in self.retries.drain(..) {
                launch.work.into_tasks().into_iter().for_each(|task| task.fail(error.clone()));
            }
        }
    }

    fn station(&mut self, stage: Stage) -> &mut Lanes<Task<S>> {
        &mut self.stations[stage.index()]
    }

    /// Puts a task where it waits for a stage.
    fn enqueue(&mut self, stage: Stage, mut task: Task<S>) {
        task.entered = self.now();
        self.station(stage).push(task);
    }

    /// The station that goes next, and why now.
    fn choose(&self, now: Instant) -> Option<(Stage, FlushReason)> {
        let latest_first = Stage::ALL.into_iter().rev();
        let all: Vec<Candidate> = latest_first.filter_map(|stage| self.candidate(stage, now)).collect();
        let ripe: Vec<Candidate> = all.iter().filter(|candidate| candidate.ripe.is_some()).copied().collect();
        let chosen = next_of(&ripe).or_else(|| next_of(&all))?;
        Some((chosen.stage, chosen.ripe.unwrap_or(FlushReason::Idle)))
    }

    /// A station that has work.
    fn candidate(&self, stage: Stage, now: Instant) -> Option<Candidate> {
        let station = &self.stations[stage.index()];
        let (rank, in_flight) = if stage == Stage::TextEmbedding {
            (self.rank_of_words(now)?, false)
        } else {
            (station.rank(station.head(now)?, now), station.iter().any(|task| task.in_flight))
        };
        Some(Candidate { stage, rank, in_flight, ripe: self.ripeness(stage, now) })
    }

    /// Why a station's batch need not wait for more; `None` if it should.
    fn ripeness(&self, stage: Stage, now: Instant) -> Option<FlushReason> {
        let station = &self.stations[stage.index()];
        let oldest = station.iter().map(|task| task.entered).min()?;
        let is_full = match stage {
            Stage::TextEmbedding => {
                let (chosen, more) = self.phrases_to_embed(self.policy.text_chunk);
                more || chosen.len() >= self.policy.text_chunk
            }
            Stage::Encode => station.len() >= self.budget.get(Unit::Images),
            _ => station.iter().map(|task| task.units(stage)).sum::<usize>() >= self.budget.get(Unit::Pairs),
        };
        if is_full {
            return Some(FlushReason::Full);
        }
        if self.policy.delay.is_zero() {
            return Some(FlushReason::Idle);
        }
        (now.saturating_duration_since(oldest) >= self.policy.delay).then_some(FlushReason::Delay)
    }

    /// Reports whether a launch is within the budget as it is now.
    fn fits(&self, launch: &Launch<S>) -> bool {
        let (images, pairs) = launch.size();
        match launch.stage {
            Stage::TextEmbedding => true,
            Stage::Encode => images <= self.budget.get(Unit::Images),
            Stage::Finish if images == 1 => true,
            _ => pairs <= self.budget.get(Unit::Pairs),
        }
    }

    /// A batch of what waits at a station, in order, as far as it fits the budget.
    fn form(&mut self, stage: Stage, now: Instant) -> Option<Work<S>> {
        if stage == Stage::TextEmbedding {
            return Some(Work::Phrases(self.phrases_to_embed(self.policy.text_chunk).0));
        }
        let unit = if stage == Stage::Encode { Unit::Images } else { Unit::Pairs };
        let budget = self.budget.get(unit);
        let station = self.station(stage);
        let first = station.pop(now)?;
        let in_parts = matches!(first.pairs, Pairs::Parts(_));
        // The last stage makes nothing that grows with the pairs: it is never cut.
        if in_parts || (unit == Unit::Pairs && stage != Stage::Finish && first.units(stage) > budget) {
            return Some(Work::Part(Box::new(first), budget));
        }
        let mut units = first.units(stage);
        let mut enlarged = first.enlarged(stage);
        let mut batch = vec![first];
        while let Some(head) = station.head(now) {
            let same_image = unit == Unit::Images
                && image_key(head).is_some_and(|key| batch.iter().any(|task| image_key(task) == Some(key)));
            // A request without survivors counts as a pair, so that a batch can always be made smaller.
            let more = if same_image { 0 } else { head.units(stage).max(1) };
            let larger = enlarged + head.enlarged(stage);
            if units + more > budget || larger > MOST_ENLARGED || matches!(head.pairs, Pairs::Parts(_)) {
                break;
            }
            (units, enlarged) = (units + more, larger);
            batch.extend(station.pop(now));
        }
        Some(Work::Tasks(batch))
    }

    /// Marks the requests of a launch as begun. Returns `None` if the callers of all of them have gone in the
    /// meantime.
    fn begin(&mut self, launch: Launch<S>, now: Instant) -> Option<Launch<S>> {
        let mut launch =
            if launch.stage == Stage::Encode { hold_pixels(launch, now, &self.metrics)? } else { launch };
        let stage = launch.stage;
        if let Work::Phrases(phrases) = &launch.work {
            let concerned = |task: &Task<S>| {
                task.missing().is_some_and(|missing| phrases.iter().any(|phrase| missing.contains(phrase)))
            };
            for mut task in self.station(stage).take(concerned) {
                self.begin_task(&mut task, stage, now);
                self.station(stage).push(task);
            }
        }
        launch.tasks_mut().iter_mut().for_each(|task| self.begin_task(task, stage, now));
        if self.recording
            && let Some(reason) = launch.reason
        {
            self.metrics.batch_flushes.add(stage, reason, 1);
        }
        Some(launch)
    }

    fn begin_task(&self, task: &mut Task<S>, stage: Stage, now: Instant) {
        task.begun = true;
        task.in_flight |= stage != Stage::TextEmbedding;
        let first = task.ticket.place.begin(stage);
        if first && self.recording {
            let waited = now.saturating_duration_since(task.ticket.since);
            self.metrics.queue_wait.record(task.ticket.priority, waited.as_secs_f64());
        }
        self.begin_stage(task, stage, now);
        let span = tracing::info_span!(
            parent: &task.ticket.span, "stage", otel.name = stage.name(), stage = stage.name()
        );
        task.stage_span = Some(span);
    }

    /// Begins a stage of a task, or goes on with it.
    fn begin_stage(&self, task: &mut Task<S>, stage: Stage, now: Instant) {
        let wait = task.timeline.begin(stage, now);
        if let Some(wait) = wait.filter(|_| self.recording) {
            self.metrics.stage_wait.record(stage.into(), wait.as_secs_f64());
        }
    }

    /// Drops requests whose caller has gone or whose deadline has passed.
    fn drop_unwanted(&mut self, now: Instant) {
        for stage in Stage::ALL {
            for task in self.station(stage).take(|task| task.ticket.still_wanted(now).is_err()) {
                task.ticket.abandon(stage, now, &self.metrics);
            }
        }
    }

    /// Drops unwanted requests, and phrases that no request waits for, from a launch that is tried again.
    /// Returns `None` if nothing is left of it.
    fn without_unwanted(&self, launch: Launch<S>, now: Instant) -> Option<Launch<S>> {
        let Launch { stage, work, reason } = launch;
        let work = match work {
            Work::Tasks(tasks) => {
                let (wanted, unwanted): (Vec<_>, Vec<_>) =
                    tasks.into_iter().partition(|task| task.ticket.still_wanted(now).is_ok());
                unwanted.into_iter().for_each(|task| task.ticket.abandon(stage, now, &self.metrics));
                if wanted.is_empty() {
                    return None;
                }
                Work::Tasks(wanted)
            }
            Work::Phrases(phrases) => {
                let wanted = |phrase: &TokenPhrase| {
                    let waits =
                        |task: &Task<S>| task.missing().is_some_and(|missing| missing.contains(phrase));
                    self.stations[Stage::TextEmbedding.index()].iter().any(waits)
                };
                let phrases: Vec<_> = phrases.into_iter().filter(wanted).collect();
                if phrases.is_empty() {
                    return None;
                }
                Work::Phrases(phrases)
            }
            part @ Work::Part(..) => part,
        };
        Some(Launch { stage, work, reason })
    }

    /// Requests whose image has been encoded for another one in the meantime go on without the encoder.
    fn skip_encoder(&mut self) {
        let cache = Arc::clone(&self.feature_cache);
        let known = |task: &Task<S>| image_key(task).is_some_and(|key| cache.contains(&key));
        for task in self.station(Stage::Encode).take(known) {
            self.seek_features(task);
        }
    }
}

/// Makes an encoder launch hold the pixels of its images. Requests whose callers have dropped theirs are left
/// out.
fn hold_pixels<S: Stages>(launch: Launch<S>, now: Instant, metrics: &EngineMetrics) -> Option<Launch<S>> {
    let Launch { stage, work, reason } = launch;
    let mut held = Vec::new();
    for mut task in work.into_tasks() {
        task.encoding = task.ticket.pixels.get();
        if task.encoding.is_none() && task.ticket.still_wanted(now).is_err() {
            task.ticket.abandon(stage, now, metrics);
        } else {
            held.push(task);
        }
    }
    (!held.is_empty()).then_some(Launch { stage, work: Work::Tasks(held), reason })
}

/// Returns the candidate that goes next: work in flight, the latest stage first, and else the head that ranks
/// highest.
fn next_of(candidates: &[Candidate]) -> Option<Candidate> {
    let in_flight = candidates.iter().find(|candidate| candidate.in_flight);
    in_flight.or_else(|| candidates.iter().max_by(|a, b| a.rank.total_cmp(&b.rank))).copied()
}
