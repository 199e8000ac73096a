//! The tally of a load: counts and times of its requests.

mod batches;
mod result;
mod spread;

use std::{collections::BTreeMap, time::Duration};

use sed_proto::v1::Stage;
use tokio::time::Instant;

use super::run::{Answer, Failure, Outcome, Sample};
use crate::print;
use batches::Batches;

pub(crate) use result::LoadResult;
pub(crate) use spread::{MeanAndP95, Percentiles, Spread};

/// Counts and times of the requests of one or more runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Counts {
    pub(crate) attempted: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
    pub(crate) abandoned: u64,
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
    pub(crate) fn open(&mut self, begin: Instant, end: Option<Instant>) {
        self.window = Some(Window { begin, end, last: None });
        self.seen = 0;
    }

    /// Ends the run.
    pub(crate) fn close(&mut self, now: Instant) {
        if let Some(window) = self.window.take() {
            let end = window.end.or(window.last).map_or(now, |end| end.min(now));
            self.measured += end.saturating_duration_since(window.begin);
        }
    }

    /// Adds one request.
    pub(crate) fn add(&mut self, sample: Sample) {
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
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The times from due to answered, of answered requests.
    pub(crate) fn latency(&self) -> &Spread {
        &self.latency
    }

    /// The times that the server reports, from a request's arrival to its finished answer.
    pub(crate) fn server(&self) -> &Spread {
        &self.server
    }

    /// Answers a second.
    pub(crate) fn throughput(&self) -> f64 {
        self.throughput_since((Duration::ZERO, 0))
    }

    /// Measured time and number of answers until now, for [`Tally::throughput_since`].
    pub(crate) fn measured(&self) -> (Duration, u64) {
        (self.measured, self.completed)
    }

    /// Answers a second since the call of [`Tally::measured`].
    pub(crate) fn throughput_since(&self, (measured, completed): (Duration, u64)) -> f64 {
        let time = self.measured.saturating_sub(measured).as_secs_f64();
        if time > 0.0 { (self.completed - completed) as f64 / time } else { 0.0 }
    }

    /// A line on the progress of this run, in which `given` requests have begun.
    pub(crate) fn so_far(&self, now: Instant, given: u64) -> String {
        let Some(window) = &self.window else { return String::new() };
        let in_flight = given.saturating_sub(self.seen);
        if now < window.begin {
            return format!("warming up · {in_flight} in flight");
        }
        let measured = self.measured + now.min(window.end.unwrap_or(now)).duration_since(window.begin);
        let rate = self.completed as f64 / measured.as_secs_f64().max(1e-3);
        let [p50, p99] = [0.5, 0.99].map(|share| print::time(self.latency.quantile(share)));
        let Counts { failed, dropped, .. } = self.counts;
        format!(
            "{rate:.1}/s · {in_flight} in flight · {failed} failed, {dropped} dropped · p50 {p50} · p99 {p99}"
        )
    }
}
