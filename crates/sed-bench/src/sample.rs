//! The outcome of one request.

use std::{future::Future, time::Duration};

use sed_client::v1;
use tokio::time::Instant;

/// One request, from when it was due to when it was answered.
#[derive(Debug)]
pub struct Sample {
    /// True for a measured request, false in the warm-up.
    pub counts: bool,
    /// Time at which it should have been sent.
    pub due: Instant,
    /// Time at which it was sent.
    pub sent: Instant,
    /// Time at which it ended.
    pub done: Instant,
    /// The end of the request.
    pub outcome: Outcome,
}

/// The end of a request.
#[derive(Debug)]
pub enum Outcome {
    /// With a result.
    Answered(Box<Answer>),
    /// With an error.
    Failed(Failure),
    /// It was never sent: too many were outstanding.
    Dropped,
    /// The run was ended before it was answered.
    Abandoned,
}

/// The times in a result's report, and the hits of its words in the text cache.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// From the arrival of the request to the finished answer, by the server's clock.
    pub server: Duration,
    /// The stages that the request went through.
    pub stages: Vec<StageTime>,
    /// Phrases whose embeddings the server had cached.
    pub text_hits: u64,
    /// Phrases that the server had to embed.
    pub text_misses: u64,
}

/// One stage of one request.
#[derive(Clone, Debug)]
pub struct StageTime {
    /// The stage.
    pub stage: v1::Stage,
    /// Time in its queue.
    pub wait: Duration,
    /// Time of its work.
    pub duration: Duration,
    /// Images and pairs of every launch that the request was part of.
    pub batches: Vec<(u32, u32)>,
}

/// The reason of a failed request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// The gRPC code, such as `ResourceExhausted`.
    pub code: String,
    /// The server's reason, such as `QUEUE_FULL`; empty where it sent none.
    pub reason: String,
}

/// Sends requests; cheap to clone.
pub trait Call: Clone + Send + Sync + 'static {
    /// Sends request number `number` and waits for its end.
    fn call(&self, number: u64) -> impl Future<Output = Result<Box<Answer>, Failure>> + Send;
}

impl From<Result<Box<Answer>, Failure>> for Outcome {
    fn from(ended: Result<Box<Answer>, Failure>) -> Self {
        match ended {
            Ok(answer) => Self::Answered(answer),
            Err(failure) => Self::Failed(failure),
        }
    }
}

impl Answer {
    /// Reads the report in an answer.
    pub fn of(response: &v1::SegmentResponse) -> Self {
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
    // A negative time is invalid; it counts as 0.
    duration.and_then(|duration| duration.try_into().ok()).unwrap_or_default()
}
