//! `PrepareVocabulary`: the words are embedded in the background of all requests, and the caller sees how far
//! it is.
//!
//! A call holds no place of those for requests. It lasts as long as its client waits, whatever the longest
//! time of a request is, until its connection is old or the server ends.

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
    time::{Duration, Instant},
};

use prost::Message;
use sed_engine::{EngineError, Preparation, PreparationState, Progress, Vocabulary};
use sed_proto::v1;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::{Context, advice, refusal::Refusal, vocabularies::caller, words::find_words};
use crate::{
    caller::Caller,
    calls::Ending,
    connections::Peer,
    convert,
    cpu_pool::Load,
    deadline::StreamDeadline,
    field::{CategoryList, Field},
    intake::CallMemory,
    memory::ConnectionId,
    status,
    validate::{ContrastSource, ValidatedWords, VocabularySource, WrittenOut, validate_prepare_vocabulary},
};

/// Time between two messages, but for the last one, which goes at once.
const INTERVAL: Duration = Duration::from_millis(500);

/// Begins to prepare, and to report.
pub(super) async fn answer(
    context: Arc<Context>,
    request: Request<v1::PrepareVocabularyRequest>,
) -> Result<Response<Messages>, Status> {
    let extensions = request.extensions();
    // Without the intake, there is no bound.
    let deadline = extensions.get::<StreamDeadline>().copied().unwrap_or(StreamDeadline(None));
    let aged = extensions.get::<Peer>().map(|peer| peer.aged.clone());
    let caller = caller(&request);
    let connection = CallMemory::of(&request, &context.account).connection();
    let words = validated(&context, request.into_inner(), connection).await.map_err(Refusal::into_status)?;
    let written = words.written_out();
    let is_named = matches!(words.source, VocabularySource::Named(_));
    let end = end_of_call(deadline, aged, context.closing.clone());
    let call = Call { context, caller, written, is_named, connection };

    let (messages, given) = mpsc::channel(1);
    if words.contrast == ContrastSource::Auto {
        tokio::spawn(call.choose_and_report(words, messages, end).in_current_span());
    } else {
        let vocabulary = call.find(words).await.map_err(Refusal::into_status)?;
        let (report, preparation) = call.begin(vocabulary)?;
        tokio::spawn(report.run(preparation, messages, end).in_current_span());
    }
    let ending = Ending::default();
    let mut response = Response::new(Messages { given, ending: ending.clone() });
    response.extensions_mut().insert(ending);
    Ok(response)
}

/// Checks a request. Words that are written out are read on the pool's threads.
async fn validated(
    context: &Context,
    request: v1::PrepareVocabularyRequest,
    connection: ConnectionId,
) -> Result<ValidatedWords, Refusal> {
    let (limits, reader) = (context.settings.clone(), context.engine.phrase_reader());
    let load = Load { connection, bytes: request.encoded_len() as u64 };
    let check = move || validate_prepare_vocabulary(&request, &limits, &*reader);
    Ok(context.pool.run_unseen(load, check).await??)
}

/// Resolves with the reason when a call must end before its preparation.
async fn end_of_call(
    deadline: StreamDeadline,
    aged: Option<watch::Receiver<bool>>,
    mut closing: watch::Receiver<bool>,
) -> Status {
    tokio::select! {
        () = deadline.expired() => status::deadline_exceeded(),
        () = Peer::has_aged(aged) => status::reconnect_of_old(),
        // An error: the server is gone altogether.
        _ = closing.wait_for(|closing| *closing) => status::shutting_down(),
    }
}

/// A call whose words are checked.
struct Call {
    context: Arc<Context>,
    caller: Option<Caller>,
    /// The words that the request writes out itself.
    written: WrittenOut,
    /// True if its categories come from a vocabulary that the server knows by name.
    is_named: bool,
    connection: ConnectionId,
}

impl Call {
    /// Finds the words, as fast as those of a request.
    async fn find(&self, words: ValidatedWords) -> Result<Vocabulary, Refusal> {
        let found_by = Instant::now() + self.context.settings.max_timeout();
        find_words(&self.context, (CategoryList::Inline, words), self.connection, found_by).await
    }

    /// Begins the preparation.
    fn begin(self, vocabulary: Vocabulary) -> Result<(Report, Preparation), Status> {
        let preparation = self.context.engine.prepare(&vocabulary, self.caller.clone());
        let preparation = preparation.map_err(|error| status::from_engine_error(&error))?;
        Ok((Report { known: preparation.known(), vocabulary, call: self }, preparation))
    }

    /// Prepares words some of which the server has yet to choose. The choice needs the embeddings of the words
    /// asked for, so it may take as long as the preparation; until then there are no messages.
    async fn choose_and_report(
        self,
        words: ValidatedWords,
        messages: mpsc::Sender<Result<v1::PrepareVocabularyResponse, Status>>,
        end: impl Future<Output = Status>,
    ) {
        tokio::pin!(end);
        let chosen = tokio::select! {
            chosen = self.choose(words) => chosen,
            () = messages.closed() => return,
            status = &mut end => Err(status),
        };
        match chosen.and_then(|vocabulary| self.begin(vocabulary)) {
            Ok((report, preparation)) => report.run(preparation, messages, end).await,
            Err(status) => drop(messages.send(Err(status)).await),
        }
    }

    /// Finds words that the server is to choose, as often as it takes: what is embedded stays, and the engine
    /// prepares the rest.
    async fn choose(&self, words: ValidatedWords) -> Result<Vocabulary, Status> {
        loop {
            match self.find(words.clone()).await {
                Err(Refusal::Engine(EngineError::DeadlineExceeded)) => {}
                Err(Refusal::Engine(
                    EngineError::VocabularyNotReady { retry_after: Some(delay), .. }
                    | EngineError::QueueFull { retry_after: delay, .. }
                    | EngineError::DeadlineUnreachable { retry_after: delay, .. },
                )) => sleep(delay).await,
                outcome => return outcome.map_err(Refusal::into_status),
            }
        }
    }
}

/// The report on one preparation for one call.
struct Report {
    call: Call,
    /// Phrases whose embeddings were ready when the preparation began.
    known: usize,
    vocabulary: Vocabulary,
}

impl Report {
    /// Sends messages until the preparation or the call ends. A client that goes leaves the preparation.
    async fn run(
        self,
        preparation: Preparation,
        messages: mpsc::Sender<Result<v1::PrepareVocabularyResponse, Status>>,
        end: impl Future<Output = Status>,
    ) {
        tokio::pin!(end);
        let mut progress = preparation.progress();
        loop {
            let now = progress.borrow().clone();
            let is_last = now.state != PreparationState::Running;
            tokio::select! {
                sent = self.send(&messages, &now) => if is_last || sent.is_err() { return },
                // A client that reads nothing; what it has not read says nothing of the end.
                status = &mut end => return drop(messages.send(Err(status)).await),
            }
            tokio::select! {
                () = messages.closed() => return,
                () = news(&mut progress, &now) => {}
                status = &mut end => return drop(messages.send(Err(status)).await),
            }
        }
    }

    /// Sends a message once the client has read the one before.
    async fn send(
        &self,
        messages: &mpsc::Sender<Result<v1::PrepareVocabularyResponse, Status>>,
        now: &Progress,
    ) -> Result<(), ()> {
        let message = match self.message(now) {
            Ok(message) if message.ready => {
                self.advice().await.map(|warnings| v1::PrepareVocabularyResponse { warnings, ..message })
            }
            message => message,
        };
        messages.send(message).await.map_err(|_| ())
    }

    /// Advice on the words, once they are embedded.
    async fn advice(&self) -> Result<Vec<v1::Warning>, Status> {
        let deadline = Instant::now() + self.call.context.settings.max_timeout();
        let alike = advice::of_embedded(&self.call.context, &self.vocabulary, self.call.connection, deadline);
        let alike = alike.await.map_err(Refusal::into_status)?;
        let field = |phrase| match self.call.is_named {
            true => Field::VocabularyName,
            false => Field::Phrase(CategoryList::Inline, phrase),
        };
        Ok(convert::warnings(self.call.written.warnings(&self.vocabulary).chain(&alike), field))
    }

    fn message(&self, now: &Progress) -> Result<v1::PrepareVocabularyResponse, Status> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let ready = match &now.state {
            PreparationState::Failed(error) => return Err(status::from_engine_error(error)),
            PreparationState::Running => false,
            PreparationState::Ready => true,
        };
        let device = |(device, embedded): &(String, usize)| v1::DevicePreparation {
            device: device.clone(),
            embedded: count(*embedded),
        };
        Ok(v1::PrepareVocabularyResponse {
            phrases: count(now.phrases),
            known: count(self.known),
            embedded: count(now.embedded),
            remaining: now.remaining.map(convert::duration),
            ready,
            replica: self.call.context.replica.clone(),
            devices: now.devices.iter().map(device).collect(),
            warnings: Vec::new(),
        })
    }
}

/// Waits for the end, or for a change of the last progress after [`INTERVAL`].
async fn news(progress: &mut watch::Receiver<Progress>, last: &Progress) {
    let ended = progress.wait_for(|now| now.state != PreparationState::Running);
    if timeout(INTERVAL, ended).await.is_err() {
        // An error: it has ended, and the last state stays.
        let _ = progress.wait_for(|now| now != last).await;
    }
}

/// The messages that the transport asks for.
#[derive(Debug)]
pub(crate) struct Messages {
    given: mpsc::Receiver<Result<v1::PrepareVocabularyResponse, Status>>,
    /// An error at their end.
    ending: Ending,
}

impl Stream for Messages {
    type Item = Result<v1::PrepareVocabularyResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.given.poll_recv(context));
        Poll::Ready(next.map(|next| next.inspect_err(|status| self.ending.note(status))))
    }
}
