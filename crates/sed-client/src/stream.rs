//! Many requests on one stream.

use bytes::Bytes;
use prost::Message;
use sed_proto::v1::{self, segment_stream_response::Outcome};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Status, Streaming};
use tonic_types::pb;

use crate::{answer::Answer, client::Client, error::Result};

/// The order of a stream's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// That of the requests.
    Requests,
    /// Every answer comes as soon as it is ready.
    Any,
}

/// The answers of a stream.
#[derive(Debug)]
pub struct SegmentStream(Streaming<v1::SegmentStreamResponse>);

/// The end of one request of a stream.
#[derive(Debug)]
pub struct StreamAnswer {
    /// The request's id.
    pub request_id: String,
    /// The answer, or the refusal of this request alone.
    pub outcome: Result<Answer>,
}

impl Client {
    /// Sends requests as they come from `requests`, and returns their answers. The client's timeout becomes
    /// that of every request. A request without an id gets its number on the stream, counted from 1.
    ///
    /// Nothing is repeated: when the stream ends early, for example at the connection's maximum age, the
    /// requests without an answer can be sent on a new one.
    ///
    /// # Errors
    /// The stream cannot be opened.
    pub async fn segment_stream<R>(&self, requests: R, order: Order) -> Result<SegmentStream>
    where
        R: Stream<Item: Into<v1::SegmentRequest>> + Send + 'static,
    {
        // A time that cannot be written is longer than the server's bound, which holds without any.
        let timeout = self.timeout().and_then(|time| time.try_into().ok());
        let any_order = order == Order::Any;
        let mut number = 0_u64;
        let requests = requests.map(move |request| {
            let mut request = request.into();
            number += 1;
            if request.request_id.is_empty() {
                request.request_id = number.to_string();
            }
            v1::SegmentStreamRequest { request: Some(request), timeout, any_order }
        });
        Ok(SegmentStream(self.service().segment_stream(requests).await?.into_inner()))
    }
}

impl SegmentStream {
    /// Waits for the next answer; `None` when all requests are answered.
    ///
    /// # Errors
    /// The stream itself failed, and with it all requests without an answer.
    pub async fn next(&mut self) -> Result<Option<StreamAnswer>> {
        let Some(v1::SegmentStreamResponse { request_id, outcome }) = self.0.message().await? else {
            return Ok(None);
        };
        let outcome = match outcome {
            Some(Outcome::Response(answer)) => Ok(answer.into()),
            Some(Outcome::Error(error)) => Err(status(error).into()),
            None => Err(Status::internal("the server sent an answer without content").into()),
        };
        Ok(Some(StreamAnswer { request_id, outcome }))
    }
}

/// The refusal of one request of a stream, as a call of its own would have it.
fn status(error: v1::StreamError) -> Status {
    let v1::StreamError { code, message, details } = error;
    let all = pb::Status { code, message: message.clone(), details };
    Status::with_details(Code::from(code), message, Bytes::from(all.encode_to_vec()))
}
