//! A request on its way through the engine, with the way back to its caller.

use std::{sync::Arc, time::Instant};

use tokio::sync::oneshot;
use tracing::Span;

use crate::{
    admission::Place,
    cost_model::Demand,
    error::EngineError,
    job::{Priority, SegmentJob, SegmentOutcome},
    vocabulary::Vocabulary,
};

/// What is wanted.
#[derive(Debug)]
pub(crate) enum Request {
    /// The categories of an image.
    Segment(Box<SegmentJob>),
    /// The text embeddings of a vocabulary, for later.
    Embed(Vocabulary),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Segmented(Box<SegmentOutcome>),
    Embedded,
}

/// The answer to one request.
pub(crate) type Reply = Result<Outcome, EngineError>;

/// A request and where its answer goes.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) request: Request,
    /// What it was expected to cost.
    pub(crate) demand: Demand,
    pub(crate) priority: Priority,
    /// Where the time of its first wait begins.
    pub(crate) since: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) place: Arc<Place>,
    /// The caller's span: the parent of those of the stages.
    pub(crate) span: Span,
    pub(crate) reply: oneshot::Sender<Reply>,
}

impl Ticket {
    /// The words.
    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        match &self.request {
            Request::Segment(job) => &job.vocabulary,
            Request::Embed(vocabulary) => vocabulary,
        }
    }

    /// Fails once nobody waits for the answer any more: the caller has gone, or the deadline has passed.
    pub(crate) fn still_wanted(&self, now: Instant) -> Result<(), EngineError> {
        if self.reply.is_closed() {
            return Err(EngineError::Cancelled);
        }
        match self.deadline {
            Some(deadline) if now >= deadline => Err(EngineError::DeadlineExceeded),
            _ => Ok(()),
        }
    }

    /// Sends the answer; a caller that has gone is no error.
    pub(crate) fn answer(self, reply: Reply) {
        self.place.leave();
        if self.reply.send(reply).is_err() {
            tracing::debug!("nobody waited for the answer");
        }
    }
}
