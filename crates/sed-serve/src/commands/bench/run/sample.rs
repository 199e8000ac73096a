//! What became of one request.

use std::{future::Future, time::Duration};

use sed_proto::v1;
use tokio::time::Instant;

/// One request, from when it was due to when it was answered.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Whether it belongs to what is measured; the warm-up does not.
    pub(crate) counts: bool,
    /// When it should have been sent.
    pub(crate) due: Instant,
    /// When it was sent.
    pub(crate) sent: Instant,
    /// When it was over.
    pub(crate) done: Instant,
    /// How it ended.
    pub(crate) outcome: Outcome,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With a result.
    Answered(Box<Answer>),
    /// With an error.
    Failed(Failure),
    /// It was never sent: too many were outstanding.
    Dropped,
    /// The run was ended before it was answered.
    Abandoned,
}

/// What a result says about how it came about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// From the arrival of the request to the finished answer, by the server's clock.
    pub(crate) server: Duration,
    /// The stages that it went through.
    pub(crate) stages: Vec<StageTime>,
    /// Phrases whose embeddings the server had.
    pub(crate) text_hits: u64,
    /// Phrases that it had to embed.
    pub(crate) text_misses: u64,
}

/// One stage of one request.
#[derive(Clone, Debug)]
pub(crate) struct StageTime {
    pub(crate) stage: v1::Stage,
    pub(crate) wait: Duration,
    pub(crate) duration: Duration,
    /// Images and pairs of every launch that the request was part of.
    pub(crate) batches: Vec<(u32, u32)>,
}

/// Why there was no result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failure {
    /// The gRPC code, such as `ResourceExhausted`.
    pub(crate) code: String,
    /// The server's reason, such as `QUEUE_FULL`; empty where it gave none.
    pub(crate) reason: String,
}

/// Sends requests; cheap to clone.
pub(crate) trait Call: Clone + Send + Sync + 'static {
    /// Sends request number `number` and waits for its end.
    fn call(&self, number: u64) -> impl Future<Output = Result<Box<Answer>, Failure>> + Send;
}

impl Answer {
    /// Reads the report in an answer.
    pub(crate) fn of(response: &v1::SegmentResponse) -> Self {
        let Some(latency) = &response.latency else { return Self::default() };
        let stage = |stage: &v1::StageLatency| StageTime {
            stage: stage.stage(),
            wait: span(stage.queue_wait),
            duration: span(stage.duration),
            batches: stage.batches.iter().map(|batch| (batch.images, batch.pairs)).collect(),
        };
        Self {
            server: span(latency.total),
            stages: latency.stages.iter().map(stage).collect(),
            text_hits: latency.text_cache_hits.into(),
            text_misses: latency.text_cache_misses.into(),
        }
    }
}

fn span(duration: Option<prost_types::Duration>) -> Duration {
    // A negative time would be nonsense; it counts as none.
    duration.and_then(|duration| duration.try_into().ok()).unwrap_or_default()
}
