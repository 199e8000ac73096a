//! A request on its way through the engine, with the way back to its caller.

use std::{sync::Arc, time::Instant};

use tokio::sync::oneshot;
use tracing::Span;

use crate::{
    cost_model::Demand,
    error::EngineError,
    job::{Priority, SegmentJob, SegmentOutcome},
    metrics::{AbandonCause, EngineMetrics},
    pixels::Pixels,
    place::Place,
    report::Stage,
    vocabulary::Vocabulary,
};

/// The work that a caller asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// The categories of an image.
    Segment(Box<SegmentJob>),
    /// The text embeddings of a vocabulary, for later.
    Embed(Vocabulary),
}

/// The result of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Segmented(Box<SegmentOutcome>),
    Embedded,
}

/// The answer to one request.
pub(crate) type Reply = Result<Outcome, EngineError>;

/// When and how urgently a request is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Urgency {
    pub(crate) priority: Priority,
    /// Start of the time of its first wait.
    pub(crate) since: Instant,
    pub(crate) deadline: Option<Instant>,
}

/// A request and where its answer goes.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// The request without its pixels.
    pub(crate) request: Request,
    /// The pixels, dropped when they are encoded, or at once when the caller goes.
    pub(crate) pixels: Arc<Pixels>,
    /// The demand by which it was admitted.
    pub(crate) demand: Demand,
    pub(crate) priority: Priority,
    /// Start of the time of its first wait.
    pub(crate) since: Instant,
    pub(crate) deadline: Option<Instant>,
    /// Held until the request is over or its caller goes.
    pub(crate) place: Arc<Place>,
    /// The caller's span: the parent of those of the stages.
    pub(crate) span: Span,
    pub(crate) reply: oneshot::Sender<Reply>,
}

impl Ticket {
    /// A request that was admitted, and the end at which its answer arrives.
    pub(crate) fn new(
        mut request: Request,
        demand: Demand,
        urgency: Urgency,
        place: Arc<Place>,
        span: Span,
    ) -> (Self, oneshot::Receiver<Reply>) {
        let pixels = match &mut request {
            Request::Segment(job) => Pixels::taken_from(job),
            Request::Embed(_) => Pixels::default(),
        };
        let Urgency { priority, since, deadline } = urgency;
        let (pixels, (reply, answer)) = (Arc::new(pixels), oneshot::channel());
        (Self { request, pixels, demand, priority, since, deadline, place, span, reply }, answer)
    }

    /// The words.
    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        match &self.request {
            Request::Segment(job) => &job.vocabulary,
            Request::Embed(vocabulary) => vocabulary,
        }
    }

    /// Checks that the answer is still wanted.
    ///
    /// # Errors
    /// The deadline has passed, or else the caller has gone: callers go at their deadline too.
    pub(crate) fn still_wanted(&self, now: Instant) -> Result<(), EngineError> {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(EngineError::DeadlineExceeded);
        }
        if self.reply.is_closed() || self.place.is_gone() {
            return Err(EngineError::Cancelled);
        }
        Ok(())
    }

    /// Drops work before a stage that its caller does not want any more, and counts it.
    pub(crate) fn abandon(self, stage: Stage, now: Instant, metrics: &EngineMetrics) {
        let error = self.still_wanted(now).err().unwrap_or(EngineError::Cancelled);
        let cause = match error {
            EngineError::DeadlineExceeded => AbandonCause::Deadline,
            _ => AbandonCause::Cancelled,
        };
        metrics.requests_abandoned.add(stage.into(), cause, 1);
        self.answer(Err(error));
    }

    /// Sends the answer; a caller that has gone is no error.
    pub(crate) fn answer(self, reply: Reply) {
        self.place.leave();
        if self.reply.send(reply).is_err() {
            tracing::debug!("the caller has gone before the answer");
        }
    }
}
