//! A job on its way through the engine, with the way back to its caller.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::{
    error::EngineError,
    job::{SegmentJob, SegmentOutcome},
};

/// The answer to one job.
pub(crate) type Reply = Result<SegmentOutcome, EngineError>;

/// A job and where its answer goes.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) job: SegmentJob,
    reply: oneshot::Sender<Reply>,
}

impl Ticket {
    pub(crate) fn new(job: SegmentJob) -> (Self, oneshot::Receiver<Reply>) {
        let (reply, answer) = oneshot::channel();
        (Self { job, reply }, answer)
    }

    /// Fails once nobody waits for the answer any more: the caller has gone, or the deadline has passed.
    pub(crate) fn still_wanted(&self) -> Result<(), EngineError> {
        if self.reply.is_closed() {
            return Err(EngineError::Cancelled);
        }
        match self.job.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(EngineError::DeadlineExceeded),
            _ => Ok(()),
        }
    }

    /// Sends the answer; a caller that has gone is no error.
    pub(crate) fn answer(self, reply: Reply) {
        if self.reply.send(reply).is_err() {
            tracing::debug!("nobody waited for the answer");
        }
    }
}
