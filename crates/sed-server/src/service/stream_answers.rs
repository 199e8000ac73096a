//! The answers of a stream on their way to the transport, with the charges that hold them.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use sed_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use crate::{calls::Ending, intake::AnswerCharges, memory::Charge};

/// An answer of a stream, and the charge that holds it.
#[derive(Debug)]
pub(super) struct Charged {
    pub(super) answer: v1::SegmentStreamResponse,
    /// None for an error, which is small.
    pub(super) charge: Option<Charge>,
}

/// The stream that the transport asks for answers.
#[derive(Debug)]
pub(crate) struct Answers {
    given: mpsc::Receiver<Result<Charged, Status>>,
    taken: AnswerCharges,
    ending: Ending,
}

impl Answers {
    /// The charges of answers that the transport has asked for go to `taken`, an error at their end to
    /// `ending`.
    pub(super) fn new(
        given: mpsc::Receiver<Result<Charged, Status>>,
        taken: AnswerCharges,
        ending: Ending,
    ) -> Self {
        Self { given, taken, ending }
    }
}

impl Stream for Answers {
    type Item = Result<v1::SegmentStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.given.poll_recv(context));
        Poll::Ready(next.map(|next| {
            let Charged { answer, charge } = next.inspect_err(|status| self.ending.note(status))?;
            charge.into_iter().for_each(|charge| self.taken.push(charge));
            Ok(answer)
        }))
    }
}
