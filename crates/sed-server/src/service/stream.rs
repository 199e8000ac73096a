//! `SegmentStream`: many requests over one stream, each handled as `Segment` would.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use prost::Message;
use sed_proto::v1::{self, segment_stream_response::Outcome};
use sed_telemetry::GaugeShare;
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

use super::{
    Context, segment,
    stream_answers::{Answers, Charged},
    unanswered::{Numbered, Unanswered},
};
use crate::{
    calls::{Ending, log_refusal},
    connections::Peer,
    deadline::StreamDeadline,
    field::Field,
    intake::{AnswerCharges, CallMemory},
    memory::Charge,
    metrics::{Code, ServerMetrics},
    request_error::RequestError,
    status,
};

type Answer = Result<Charged, Status>;

/// Begins to answer a stream.
pub(crate) fn answer(
    context: Arc<Context>,
    request: Request<Streaming<v1::SegmentStreamRequest>>,
) -> Response<Answers> {
    // Without the intake, only the server's own bound holds.
    let deadline = request.extensions().get::<StreamDeadline>().copied().unwrap_or(StreamDeadline(None));
    // One answer waits for the transport; the others are counted as unanswered and bound what is read.
    let (answers, given) = mpsc::channel(1);
    let conversation = Conversation {
        memory: CallMemory::of(&request, &context.account),
        aged: request.extensions().get::<Peer>().map(|peer| peer.aged.clone()),
        context,
        deadline,
        reading: Reading::On,
        unanswered: Unanswered::default(),
        tasks: JoinSet::new(),
        numbered: HashMap::new(),
    };
    tokio::spawn(conversation.run(request.into_inner(), answers).in_current_span());
    let (taken, ending) = (AnswerCharges::default(), Ending::default());
    let mut response = Response::new(Answers::new(given, taken.clone(), ending.clone()));
    response.extensions_mut().insert(taken);
    response.extensions_mut().insert(ending);
    response
}

/// The outcome of a request, with the charge of its answer.
type Worked = Result<(v1::SegmentResponse, Charge), Status>;

/// The state of reading requests.
#[derive(Debug)]
enum Reading {
    On,
    /// No more requests are read; once all are answered, the stream ends with this result.
    Ended(Result<(), Status>),
}

/// A stream that is being answered. Dropping it ends all its work.
struct Conversation {
    context: Arc<Context>,
    memory: CallMemory,
    /// Turns true when the connection takes no new calls any more.
    aged: Option<watch::Receiver<bool>>,
    deadline: StreamDeadline,
    reading: Reading,
    unanswered: Unanswered,
    tasks: JoinSet<Worked>,
    numbered: HashMap<Id, Numbered>,
}

impl Conversation {
    async fn run(mut self, mut requests: Streaming<v1::SegmentStreamRequest>, answers: mpsc::Sender<Answer>) {
        let mut closing = self.context.closing.clone();
        let mut closed = false;
        let most = self.context.settings.max_stream_requests;
        let expired = self.deadline.expired();
        tokio::pin!(expired);
        let aged = Peer::has_aged(self.aged.take());
        tokio::pin!(aged);
        loop {
            let on = matches!(self.reading, Reading::On);
            if self.unanswered.len() == 0 && (closed || !on) {
                return self.end(&answers).await;
            }
            tokio::select! {
                // The client has gone: all unanswered work is dropped.
                () = answers.closed() => return,
                permit = answers.reserve(), if self.unanswered.has_next() => {
                    let Ok(permit) = permit else { return };
                    if let Some(answer) = self.unanswered.next() {
                        permit.send(Ok(answer));
                    }
                }
                Some(done) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.done(done),
                message = requests.message(), if on && self.unanswered.len() < most => self.read(message),
                () = &mut expired, if on => {
                    self.reading = Reading::Ended(Err(status::deadline_exceeded()));
                }
                () = &mut aged, if on => {
                    self.reading = Reading::Ended(Err(status::reconnect_of_old()));
                }
                // An error: the server is gone altogether.
                _ = closing.wait_for(|closing| *closing), if !closed => closed = true,
            }
        }
    }

    /// Ends the stream. If it still reads requests, the server is shutting down.
    async fn end(self, answers: &mpsc::Sender<Answer>) {
        let status = match self.reading {
            Reading::On => status::shutting_down(),
            Reading::Ended(Err(status)) => status,
            Reading::Ended(Ok(())) => return,
        };
        // A client that has gone needs no reason.
        let _ = answers.send(Err(status)).await;
    }

    /// Handles a message, an error or the end of the requests.
    fn read(&mut self, message: Result<Option<v1::SegmentStreamRequest>, Status>) {
        match message {
            Ok(Some(message)) => {
                let charge = self.memory.messages.next();
                self.begin(message, charge);
            }
            Ok(None) => self.reading = Reading::Ended(Ok(())),
            Err(failed) => {
                let explained = status::of_transport(failed.code(), self.context.settings.max_message_bytes);
                self.reading = Reading::Ended(Err(explained.unwrap_or_else(|| status::from_body(failed))));
            }
        }
    }

    /// Begins to work on a request, or refuses it.
    fn begin(&mut self, message: v1::SegmentStreamRequest, charge: Option<Charge>) {
        let received = Instant::now();
        let mut counted = StreamRequest::begin(Arc::clone(&self.context.metrics));
        let v1::SegmentStreamRequest { request, timeout, any_order } = message;
        if any_order && self.unanswered.is_new() {
            self.unanswered.allow_any_order();
        }
        // An id that is too long is refused; the answer repeats only its start.
        let id = request.as_ref().map_or("", |request| request.request_id.as_str());
        let id = &id[..id.floor_char_boundary(self.context.settings.max_request_id_bytes)];
        let (numbered, entered) = self.unanswered.enter(id);
        let request = request.ok_or_else(|| RequestError::missing(Field::Request, "give what to segment"));
        let checked = request.and_then(|request| {
            entered?;
            Ok((request, self.time_of(timeout)?))
        });
        let begun = checked.map_err(|error| status::from_request_error(&error)).and_then(|checked| {
            if *self.context.closing.borrow() { Err(status::shutting_down()) } else { Ok(checked) }
        });
        match begun {
            Err(refused) => {
                let span = tracing::info_span!("request", request_id = tracing::field::Empty);
                span.in_scope(|| {
                    segment::name_request(numbered.id(), &self.context.settings);
                    log_refusal(&refused);
                });
                counted.end(Some(&refused));
                self.unanswered.done(numbered, Outcome::Error(stream_error(&refused)), None);
            }
            Ok((request, time)) => {
                let context = Arc::clone(&self.context);
                let deadline = self.deadline.of_request(received.into(), time);
                let memory = CallMemory::of_message(self.memory.payer.clone(), charge);
                let work = async move {
                    let answer = work_on(&context, request, memory, received, deadline).await;
                    counted.end(answer.as_ref().err());
                    answer
                };
                let task = self.tasks.spawn(work.in_current_span());
                self.numbered.insert(task.id(), numbered);
            }
        }
    }

    /// Time limit of a request: its own, at most the server's.
    fn time_of(&self, timeout: Option<prost_types::Duration>) -> Result<Duration, RequestError> {
        let longest = self.context.settings.max_timeout();
        let Some(timeout) = timeout else { return Ok(longest) };
        let time = Duration::try_from(timeout);
        let message = "must be a span of time that is not negative";
        time.map(|time| time.min(longest)).map_err(|_| RequestError::option(Field::Timeout, message))
    }

    /// Passes on the outcome of a request whose work has ended.
    fn done(&mut self, done: Result<(Id, Worked), JoinError>) {
        let (id, result) = match done {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "work on a request of a stream broke down");
                let message = "work on the request broke down; the server's log says why";
                (error.id(), Err(status::internal(message).into_status()))
            }
        };
        let Some(numbered) = self.numbered.remove(&id) else { return };
        let (outcome, charge) = match result {
            Ok((response, charge)) => (Outcome::Response(response), Some(charge)),
            Err(status) => (Outcome::Error(stream_error(&status)), None),
        };
        self.unanswered.done(numbered, outcome, charge);
    }
}

/// Waits for a place, and works on a request of a stream.
async fn work_on(
    context: &Context,
    request: v1::SegmentRequest,
    memory: CallMemory,
    received: Instant,
    deadline: tokio::time::Instant,
) -> Worked {
    let connection = memory.payer.owner().connection;
    let _place = context.places.wait(deadline, connection).await?;
    segment::answer_in_time(context, request, memory, received, deadline).await
}

/// A request on a stream, as the metrics show it. It is counted exactly once: by [`StreamRequest::end`], or
/// as cancelled when it is dropped.
#[derive(Debug)]
struct StreamRequest {
    code: tonic::Code,
    in_flight: GaugeShare,
    metrics: Arc<ServerMetrics>,
}

impl StreamRequest {
    fn begin(metrics: Arc<ServerMetrics>) -> Self {
        let in_flight = metrics.stream_requests_in_flight.share(1.0);
        Self { code: tonic::Code::Cancelled, in_flight, metrics }
    }

    /// Records the outcome of the request: an answer, or this error.
    fn end(&mut self, error: Option<&Status>) {
        self.code = error.map_or(tonic::Code::Ok, Status::code);
        if let Some(status) = error {
            self.metrics.count_refusal(status);
        }
    }
}

impl Drop for StreamRequest {
    fn drop(&mut self) {
        self.in_flight.set(0.0);
        let broken = std::thread::panicking(); // then its answer says so
        let code = if broken { tonic::Code::Internal } else { self.code };
        self.metrics.stream_requests.add(Code(code), 1);
    }
}

/// Converts a status to the error of one request.
fn stream_error(status: &Status) -> v1::StreamError {
    // The details of our own statuses can be decoded; a status without details has none.
    let details = tonic_types::Status::decode(status.details()).map(|status| status.details);
    v1::StreamError {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: details.unwrap_or_default(),
    }
}
