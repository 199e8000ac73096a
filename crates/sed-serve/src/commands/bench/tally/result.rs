//! A tally in figures.

use serde::Serialize;

use super::{Counts, MeanAndP95, Percentiles, Tally, batches::BatchSizes};

/// The figures of a load; times in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadResult {
    /// Length of the measurement, without warm-up.
    pub(crate) seconds: f64,
    /// True if the measurement was ended early.
    pub(crate) interrupted: bool,
    pub(crate) counts: Counts,
    /// Answers a second: the answers within the measured time divided by its length.
    pub(crate) throughput: f64,
    /// Time from a request's due time to its answer.
    pub(crate) latency_ms: Percentiles,
    /// Time from a request's due time to its sending.
    pub(crate) send_delay_ms: Percentiles,
    /// Time from a request's arrival at the server to the finished answer, by the server's clock.
    pub(crate) server_ms: Percentiles,
    /// Time from a request's sending to its answer, less the server's time: network, and both sides' gRPC.
    pub(crate) client_overhead_ms: Percentiles,
    pub(crate) errors: Vec<ErrorCount>,
    pub(crate) stages: Vec<StageResult>,
    pub(crate) text_cache: TextCache,
}

/// Number of failures with one code and reason.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ErrorCount {
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) count: u64,
}

/// One stage, as the answers report it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StageResult {
    /// The name of the interface in lower case: `decode_level_1`.
    pub(crate) stage: String,
    pub(crate) wait_ms: MeanAndP95,
    pub(crate) duration_ms: MeanAndP95,
    /// Sizes of the launches on the device; `None` for a stage without launches.
    pub(crate) batches: Option<BatchSizes>,
}

/// Numbers of phrases whose embeddings the server had cached, and had to compute.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct TextCache {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl Tally {
    /// All figures.
    pub(crate) fn result(&self, interrupted: bool) -> LoadResult {
        let error = |(failure, count): (&super::Failure, &u64)| ErrorCount {
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
