//! A client's end of a stream.

use std::time::Duration;

use prost::Message;
use sed_proto::v1::{self, segment_stream_response::Outcome};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::harness::{Running, facts, with_options};

/// An open stream.
pub(crate) struct Talk {
    pub(crate) requests: mpsc::Sender<v1::SegmentStreamRequest>,
    pub(crate) answers: Streaming<v1::SegmentStreamResponse>,
}

impl Talk {
    pub(crate) async fn open(server: &Running) -> Self {
        Self::open_within(server, None).await
    }

    pub(crate) async fn open_within(server: &Running, time: Option<Duration>) -> Self {
        let (requests, sent) = mpsc::channel(100);
        let mut request = tonic::Request::new(ReceiverStream::new(sent));
        if let Some(time) = time {
            request.set_timeout(time);
        }
        let answers = server.client().segment_stream(request).await.unwrap().into_inner();
        Self { requests, answers }
    }

    pub(crate) async fn send(&self, request: v1::SegmentStreamRequest) {
        self.requests.send(request).await.unwrap();
    }

    /// The next answer: its id, and the response or the status that is written in its error.
    pub(crate) async fn next(&mut self) -> (String, Result<v1::SegmentResponse, Status>) {
        let answer = self.message().await.unwrap().unwrap();
        let outcome = match answer.outcome.unwrap() {
            Outcome::Response(response) => Ok(response),
            Outcome::Error(error) => Err(status_of(error)),
        };
        (answer.request_id, outcome)
    }

    /// The next answers' ids.
    pub(crate) async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.next().await.0);
        }
        ids
    }

    /// The next answer's id with code, reason and field of its error.
    pub(crate) async fn refusal(&mut self) -> (String, (Code, String, String)) {
        let (id, outcome) = self.next().await;
        (id, facts(&outcome.unwrap_err()))
    }

    /// The next message, or how the stream ends.
    pub(crate) async fn message(&mut self) -> Result<Option<v1::SegmentStreamResponse>, Status> {
        tokio::time::timeout(Duration::from_secs(10), self.answers.message()).await.unwrap()
    }

    /// Reports whether no answer comes for 200 ms.
    pub(crate) async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.answers.message()).await.is_err()
    }
}

/// The error in the form in which a `Segment` call would have it.
fn status_of(error: v1::StreamError) -> Status {
    let v1::StreamError { code, message, details } = error;
    let encoded = tonic_types::Status { code, message: message.clone(), details }.encode_to_vec();
    Status::with_details(Code::from(code), message, encoded.into())
}

pub(crate) fn of(id: &str, request: v1::SegmentRequest) -> v1::SegmentStreamRequest {
    let request = v1::SegmentRequest { request_id: id.into(), ..request };
    v1::SegmentStreamRequest { request: Some(request), timeout: None, any_order: false }
}

pub(crate) fn good(id: &str) -> v1::SegmentStreamRequest {
    of(id, crate::harness::request(3))
}

/// A request that is refused before any work.
pub(crate) fn bad(id: &str) -> v1::SegmentStreamRequest {
    of(id, with_options(3, v1::SegmentOptions { score_threshold: Some(7.0), ..Default::default() }))
}

pub(crate) fn invalid(reason: &str, field: &str) -> (Code, String, String) {
    (Code::InvalidArgument, reason.to_string(), field.to_string())
}

/// Makes the next encoder call wait; `until_held` then waits for it.
pub(crate) fn hold(server: &Running) {
    server.control.inject(sed_engine::Stage::Encode, sed_engine::fake::Fault::Hold);
}

pub(crate) async fn until_held(server: &Running) {
    let control = server.control.clone();
    assert!(tokio::task::spawn_blocking(move || control.wait_until_held()).await.unwrap());
}
