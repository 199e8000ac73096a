//! Bodies that count the bytes that pass through them. The end of an answer is the end of its call.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use super::{call::Call, ending::Ending, rest};

/// The result of polling a body.
type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// The body of a request. If it is dropped before its end, the rest is discarded as it comes.
#[derive(Debug)]
pub(super) struct RequestBody {
    inner: Body,
    received: Arc<AtomicU64>,
    ended: bool,
}

impl RequestBody {
    pub(super) fn new(inner: Body, received: Arc<AtomicU64>) -> Self {
        Self { inner, received, ended: false }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.received.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        self.ended = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended && !http_body::Body::is_end_stream(&self.inner) {
            rest::discard(std::mem::take(&mut self.inner));
        }
    }
}

/// The body of an answer. If it is dropped before its end, the caller has gone.
#[derive(Debug)]
pub(super) struct AnswerBody {
    inner: Body,
    call: Call,
    ending: Ending,
}

impl AnswerBody {
    pub(super) fn new(inner: Body, call: Call, ending: Ending) -> Self {
        Self { inner, call, ending }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.call.sent(data.len());
                } else if let Some(status) =
                    frame.trailers_ref().and_then(|trailers| self.ending.status(trailers))
                {
                    self.call.end(&status);
                }
            }
            // An answer that breaks off: its client has gone.
            Some(Err(_)) => {
                self.call.end(&Status::cancelled("the client has gone before the end of its answer"))
            }
            None => self.call.end(&Status::unknown("the answer ended without a status")),
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
