//! A tally in figures.

use serde::Serialize;

use super::{Counts, MeanAndP95, Percentiles, Tally, batches::BatchSizes};

/// What was measured; times in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadResult {
    /// Length of what was measured, without warm-up.
    pub(crate) seconds: f64,
    /// Whether it was ended early.
    pub(crate) interrupted: bool,
    pub(crate) counts: Counts,
    /// Answers a second: those that came within the measured time, by its length.
    pub(crate) throughput: f64,
    /// From when a request was due to its answer.
    pub(crate) latency_ms: Percentiles,
    /// From when it was due to when it was sent.
    pub(crate) send_delay_ms: Percentiles,
    /// From the arrival of the request at the server to the finished answer, by the server's clock.
    pub(crate) server_ms: Percentiles,
    /// From when it was sent to its answer, less the server's time: network, and both sides' gRPC.
    pub(crate) client_overhead_ms: Percentiles,
    pub(crate) errors: Vec<ErrorCount>,
    pub(crate) stages: Vec<StageResult>,
    pub(crate) text_cache: TextCache,
}

/// How often something went wrong.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ErrorCount {
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) count: u64,
}

/// One stage, as the answers tell of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StageResult {
    /// As in the interface, in small letters: `decode_level_1`.
    pub(crate) stage: String,
    pub(crate) wait_ms: MeanAndP95,
    pub(crate) duration_ms: MeanAndP95,
    /// The launches on the device; none for a stage that has none.
    pub(crate) batches: Option<BatchSizes>,
}

/// How often the server had what it needed of a phrase.
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
