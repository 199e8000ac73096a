//! The tally of a load: counts and times of its requests.

mod batches;
mod result;
mod spread;

use std::{collections::BTreeMap, time::Duration};

use sed_client::v1::Stage;
use serde::Serialize;
use tokio::time::Instant;

use crate::sample::{Answer, Failure, Outcome, Sample};
use batches::Batches;

pub use batches::BatchSizes;
pub use result::{ErrorCount, LoadResult, StageResult, TextCache};
pub use spread::{MeanAndP95, Percentiles, Spread};

/// Counts and times of the requests of one or more runs.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    window: Option<Window>,
    /// Length of all closed windows together.
    measured: Duration,
    /// Answers that came while a window was open, also to requests of the warm-up.
    completed: u64,
    /// Samples of the current run, of any kind.
    seen: u64,
    counts: Counts,
    latency: Spread,
    send_delay: Spread,
    server: Spread,
    overhead: Spread,
    errors: BTreeMap<Failure, u64>,
    stages: BTreeMap<Stage, StageTally>,
    text_hits: u64,
    text_misses: u64,
}

/// The time span in which requests and answers count.
#[derive(Clone, Copy, Debug)]
struct Window {
    begin: Instant,
    end: Option<Instant>,
    /// Time at which the last request that counts ended.
    last: Option<Instant>,
}

/// Numbers of requests by outcome; `attempted` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All that were due.
    pub attempted: u64,
    /// Those that were answered.
    pub succeeded: u64,
    /// Those that ended with an error.
    pub failed: u64,
    /// Those that were not sent, as too many were outstanding.
    pub dropped: u64,
    /// Those without an answer when the run ended early.
    pub abandoned: u64,
}

/// The progress of a run.
#[derive(Clone, Copy, Debug)]
pub struct SoFar {
    /// Requests without an answer.
    pub in_flight: u64,
    /// The figures until now; `None` in the warm-up.
    pub figures: Option<Interim>,
}

/// Figures of a run that goes on; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Interim {
    /// Answers a second.
    pub rate: f64,
    /// Numbers of requests by outcome.
    pub counts: Counts,
    /// Median latency.
    pub p50: f64,
    /// The latency that 99 % do not exceed.
    pub p99: f64,
}

#[derive(Clone, Debug, Default)]
struct StageTally {
    wait: Spread,
    duration: Spread,
    batches: Batches,
}

impl Tally {
    /// Begins a run whose requests count from `begin`, and whose answers count as throughput until `end`, or
    /// until the end of the last request if that is `None`.
    pub fn open(&mut self, begin: Instant, end: Option<Instant>) {
        self.window = Some(Window { begin, end, last: None });
        self.seen = 0;
    }

    /// Ends the run.
    pub fn close(&mut self, now: Instant) {
        if let Some(window) = self.window.take() {
            let end = window.end.or(window.last).map_or(now, |end| end.min(now));
            self.measured += end.saturating_duration_since(window.begin);
        }
    }

    /// Adds one request.
    pub fn add(&mut self, sample: Sample) {
        self.seen += 1;
        let answered = matches!(sample.outcome, Outcome::Answered(_));
        if let Some(window) = &mut self.window {
            let inside = sample.done >= window.begin && window.end.is_none_or(|end| sample.done <= end);
            self.completed += u64::from(answered && inside);
            if sample.counts {
                window.last = window.last.max(Some(sample.done));
            }
        }
        if sample.counts {
            self.count(sample);
        }
    }

    fn count(&mut self, sample: Sample) {
        let Sample { due, sent, done, outcome, .. } = sample;
        self.counts.attempted += 1;
        match outcome {
            Outcome::Answered(answer) => {
                self.counts.succeeded += 1;
                self.latency.record(done.saturating_duration_since(due));
                self.send_delay.record(sent.saturating_duration_since(due));
                self.server.record(answer.server);
                self.overhead.record(done.saturating_duration_since(sent).saturating_sub(answer.server));
                self.report(*answer);
            }
            Outcome::Failed(failure) => {
                self.counts.failed += 1;
                *self.errors.entry(failure).or_default() += 1;
            }
            Outcome::Dropped => self.counts.dropped += 1,
            Outcome::Abandoned => self.counts.abandoned += 1,
        }
    }

    fn report(&mut self, answer: Answer) {
        self.text_hits += answer.text_hits;
        self.text_misses += answer.text_misses;
        for stage in answer.stages {
            let tally = self.stages.entry(stage.stage).or_default();
            tally.wait.record(stage.wait);
            tally.duration.record(stage.duration);
            stage.batches.into_iter().for_each(|(images, pairs)| tally.batches.add(images, pairs));
        }
    }

    /// Numbers of requests by outcome.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The times from due to answered, of answered requests.
    pub fn latency(&self) -> &Spread {
        &self.latency
    }

    /// The times that the server reports, from a request's arrival to its finished answer.
    pub fn server(&self) -> &Spread {
        &self.server
    }

    /// Answers a second.
    pub fn throughput(&self) -> f64 {
        self.throughput_since((Duration::ZERO, 0))
    }

    /// Measured time and number of answers until now, for [`Tally::throughput_since`].
    pub fn measured(&self) -> (Duration, u64) {
        (self.measured, self.completed)
    }

    /// Answers a second since the call of [`Tally::measured`].
    pub fn throughput_since(&self, (measured, completed): (Duration, u64)) -> f64 {
        let time = self.measured.saturating_sub(measured).as_secs_f64();
        if time > 0.0 { (self.completed - completed) as f64 / time } else { 0.0 }
    }

    /// The progress of this run, in which `given` requests have begun; `None` between runs.
    pub fn so_far(&self, now: Instant, given: u64) -> Option<SoFar> {
        let window = self.window.as_ref()?;
        let in_flight = given.saturating_sub(self.seen);
        if now < window.begin {
            return Some(SoFar { in_flight, figures: None });
        }
        let measured = self.measured + now.min(window.end.unwrap_or(now)).duration_since(window.begin);
        let rate = self.completed as f64 / measured.as_secs_f64().max(1e-3);
        let [p50, p99] = [0.5, 0.99].map(|share| self.latency.quantile(share));
        Some(SoFar { in_flight, figures: Some(Interim { rate, counts: self.counts, p50, p99 }) })
    }
}
