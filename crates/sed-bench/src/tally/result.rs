//! A tally in figures.

use serde::Serialize;

use super::{Counts, MeanAndP95, Percentiles, Tally, batches::BatchSizes};
use crate::sample::Failure;

/// The figures of a load; times in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct LoadResult {
    /// Length of the measurement, without warm-up.
    pub seconds: f64,
    /// True if the measurement was ended early.
    pub interrupted: bool,
    /// Numbers of requests by outcome.
    pub counts: Counts,
    /// Answers a second: the answers within the measured time divided by its length.
    pub throughput: f64,
    /// Time from a request's due time to its answer.
    pub latency_ms: Percentiles,
    /// Time from a request's due time to its sending.
    pub send_delay_ms: Percentiles,
    /// Time from a request's arrival at the server to the finished answer, by the server's clock.
    pub server_ms: Percentiles,
    /// Time from a request's sending to its answer, less the server's time: network, and both sides' gRPC.
    pub client_overhead_ms: Percentiles,
    /// Failures by code and reason.
    pub errors: Vec<ErrorCount>,
    /// The stages, in the order of the interface.
    pub stages: Vec<StageResult>,
    /// The words that had to be embedded.
    pub text_cache: TextCache,
}

/// Number of failures with one code and reason.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorCount {
    /// The gRPC code, such as `ResourceExhausted`.
    pub code: String,
    /// The server's reason, such as `QUEUE_FULL`; empty where it sent none.
    pub reason: String,
    /// Number of failures.
    pub count: u64,
}

/// One stage, as the answers report it.
#[derive(Clone, Debug, Serialize)]
pub struct StageResult {
    /// The name of the interface in lower case: `decode_level_1`.
    pub stage: String,
    /// Time in its queue.
    pub wait_ms: MeanAndP95,
    /// Time of its work.
    pub duration_ms: MeanAndP95,
    /// Sizes of the launches on the device; `None` for a stage without launches.
    pub batches: Option<BatchSizes>,
}

/// Numbers of phrases whose embeddings the server had cached, and had to compute.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TextCache {
    /// Phrases that were cached.
    pub hits: u64,
    /// Phrases that were computed.
    pub misses: u64,
}

impl Tally {
    /// All figures.
    pub fn result(&self, interrupted: bool) -> LoadResult {
        let error = |(failure, count): (&Failure, &u64)| ErrorCount {
            code: failure.code.clone(),
            reason: failure.reason.clone(),
            count: *count,
        };
        let stages = self.stages.iter().map(|(stage, tally)| StageResult {
            stage: stage.as_str_name().trim_start_matches("STAGE_").to_lowercase(),
            wait_ms: tally.wait.mean_and_p95(),
            duration_ms: tally.duration.mean_and_p95(),
            batches: tally.batches.sizes(),
        });
        LoadResult {
            seconds: self.measured.as_secs_f64(),
            interrupted,
            counts: self.counts,
            throughput: self.throughput(),
            latency_ms: self.latency.percentiles(),
            send_delay_ms: self.send_delay.percentiles(),
            server_ms: self.server.percentiles(),
            client_overhead_ms: self.overhead.percentiles(),
            errors: self.errors.iter().map(error).collect(),
            stages: stages.collect(),
            text_cache: TextCache { hits: self.text_hits, misses: self.text_misses },
        }
    }
}
