//! `Segment`: check, decode, compute, encode.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use prost::Message;
use sed_engine::{EngineError, Phrase, SegmentJob, SegmentOutcome, Vocabulary, metrics::RequestStage};
use sed_proto::v1::{self, ErrorReason};
use tokio::time::{sleep, timeout_at};
use tonic::{Request, Response, Status};
use tracing::{Instrument, Span};

use super::{
    Context,
    intake::{self, Prepared},
    mask_encoding::{self, MaskJob},
    refusal::{Refusal, conclude},
};
use crate::{
    calls::log_refusal,
    config::Settings,
    convert,
    cpu_pool::{Errand, Load},
    deadline::{Deadline, Received},
    field::{CategoryList, Field},
    intake::{CallMemory, charged},
    memory::{Charge, ConnectionId},
    request_error::RequestError,
    status,
    validate::{ValidatedRequest, VocabularySource, request_id, validate_segment},
};

pub(crate) async fn answer(
    context: &Context,
    request: Request<v1::SegmentRequest>,
) -> Result<Response<v1::SegmentResponse>, Status> {
    let Deadline(deadline) = Deadline::of_call(&request, context.settings.max_timeout());
    let received = Received::of(&request);
    let memory = CallMemory::of(&request, &context.account);
    let outcome = attempt(context, request.into_inner(), memory, received, deadline).await;
    let (answer, charge) = conclude(outcome, received)?;
    let compress = is_worth_compressing(&answer);
    Ok(charged(answer, charge, compress))
}

/// Reports whether compressing an answer saves bytes. Most clients accept compressed answers, but most
/// answers are PNG files, whose compression only costs time.
fn is_worth_compressing(answer: &v1::SegmentResponse) -> bool {
    const SMALL: usize = 4096;
    let masks = answer.masks.iter().filter(|mask| mask_encoding::is_compressed(mask));
    let compressed = masks.map(Message::encoded_len).sum::<usize>() + answer.overlay_png.len();
    let rest = answer.encoded_len().saturating_sub(compressed);
    rest >= SMALL && rest >= compressed
}

/// Answers a message that came over a stream, on which nothing else watches its deadline. It waits for room
/// in the engine's queue, because a stream's client sends no faster than it is answered.
pub(crate) async fn answer_in_time(
    context: &Context,
    message: v1::SegmentRequest,
    memory: CallMemory,
    received: Instant,
    deadline: tokio::time::Instant,
) -> Result<(v1::SegmentResponse, Charge), Status> {
    // The call's span is that of the whole stream; each request on it has one of its own.
    let span = tracing::info_span!("request", request_id = tracing::field::Empty);
    let answer = answer_when_there_is_room(context, message, memory, received, deadline);
    let answer = timeout_at(deadline, answer.instrument(span.clone())).await;
    let answer = answer.unwrap_or_else(|_| Err(status::deadline_exceeded()));
    if let Err(refused) = &answer {
        span.in_scope(|| log_refusal(refused));
    }
    answer
}

async fn answer_when_there_is_room(
    context: &Context,
    message: v1::SegmentRequest,
    memory: CallMemory,
    received: Instant,
    deadline: tokio::time::Instant,
) -> Result<(v1::SegmentResponse, Charge), Status> {
    let _message = memory.messages.next(); // pays for all attempts
    loop {
        let once = CallMemory::of_message(memory.payer.clone(), None);
        match attempt(context, message.clone(), once, received, deadline).await {
            Err(Refusal::Engine(EngineError::QueueFull { retry_after, .. })) => sleep(retry_after).await,
            outcome => return conclude(outcome, received),
        }
    }
}

async fn attempt(
    context: &Context,
    message: v1::SegmentRequest,
    memory: CallMemory,
    received: Instant,
    deadline: tokio::time::Instant,
) -> Result<(v1::SegmentResponse, Charge), Refusal> {
    name_request(&message.request_id, &context.settings);
    let request = validated(context, message, memory.connection()).await?;
    let warnings = warnings(&request, |phrase| Field::Phrase(CategoryList::Inline, phrase));
    let (answer, mut charge) = segment(context, request, memory, received, deadline.into_std()).await?;
    let answer = v1::SegmentResponse { warnings, ..answer };
    let bytes = answer.encoded_len();
    check_response_size(bytes, &context.settings, Field::MaskEncodings)?;
    // The answer, its encoding, and as much again where that is packed.
    let needed = 3 * bytes as u64;
    charge.shrink_to(needed);
    charge.grow(needed - charge.bytes()).await?;
    Ok((answer, charge))
}

/// The warnings of the words that a request has written out; `field` returns the place of a phrase in it.
pub(crate) fn warnings(request: &ValidatedRequest, field: impl Fn(Phrase) -> Field) -> Vec<v1::Warning> {
    match &request.vocabulary {
        VocabularySource::Inline(vocabulary) => convert::warnings(vocabulary, field),
        VocabularySource::Named(_) => Vec::new(),
    }
}

/// Checks a request. Words that are written out are read on the pool's threads.
async fn validated(
    context: &Context,
    message: v1::SegmentRequest,
    connection: ConnectionId,
) -> Result<ValidatedRequest, Refusal> {
    let reader = context.engine.phrase_reader();
    let words = message.vocabulary.as_ref().and_then(|vocabulary| vocabulary.source.as_ref());
    let Some(v1::vocabulary::Source::Categories(words)) = words else {
        return Ok(validate_segment(&message, &context.settings, &*reader)?);
    };
    let load = Load { connection, bytes: words.encoded_len() as u64 };
    let limits = context.settings.clone();
    Ok(context.pool.run_unseen(load, move || validate_segment(&message, &limits, &*reader)).await??)
}

/// Answers a valid request. The caller checks the size of the answer, and adds the warnings of its words.
pub(crate) async fn segment(
    context: &Context,
    request: ValidatedRequest,
    memory: CallMemory,
    received: Instant,
    deadline: Instant,
) -> Result<(v1::SegmentResponse, Charge), Refusal> {
    let ValidatedRequest { image, vocabulary, options, mut request_id } = request;
    if request_id.is_empty() {
        request_id = new_request_id();
        Span::current().record("request_id", &request_id);
    }
    let vocabulary = find_vocabulary(context, vocabulary)?;
    mask_encoding::check_encodings(&options, &vocabulary)?;
    context.engine.check_ready()?;
    let model = context.engine.model();

    let words = (&options, &vocabulary);
    let (prepared, charge) = intake::prepare(context, image, words, &memory, (received, deadline)).await?;
    let Prepared { image, image_id, picture, image_size, output, decoding } = prepared;
    let job = SegmentJob {
        image,
        vocabulary: vocabulary.clone(),
        rejection: options.rejection.unwrap_or(context.settings.default_rejection()),
        output,
        waiting_since: decoding.as_ref().map_or(received, |times| times.ended),
        deadline: Some(deadline),
        priority: options.priority,
    };
    let caller = memory.payer.owner().caller.clone();
    let SegmentOutcome { map, rejection, timings, caches, finished } =
        context.engine.segment_for(job, caller).await?;

    let list_rejected = options.list_rejected;
    let job = MaskJob { map, vocabulary, options, picture, limits: context.settings.clone(), charge };
    let load = Load { connection: memory.connection(), bytes: job.charge.bytes() };
    let errand = Errand { stage: RequestStage::MaskEncoding, load, since: finished, deadline };
    let encoded = context.pool.run(errand, move || mask_encoding::encode(job)).await?;
    let encode_times = encoded.times();
    let (of_map, charge) = encoded.result?;
    let total = received.elapsed();
    let response = v1::SegmentResponse {
        request_id,
        image_size: Some(image_size),
        rejection: Some(convert::rejection_report(rejection, list_rejected)),
        latency: Some(convert::latency_report(total, decoding.as_ref(), timings, &encode_times, caches)),
        model_name: model.name.clone(),
        model_digest: model.digest.clone(),
        image_id,
        ..of_map
    };
    Ok((response, charge))
}

/// Returns the words of a request: those written out, or those of a name that the server knows.
pub(crate) fn find_vocabulary(context: &Context, source: VocabularySource) -> Result<Vocabulary, Refusal> {
    match source {
        VocabularySource::Inline(vocabulary) => Ok(vocabulary),
        VocabularySource::Named(name) => {
            let found = context.vocabularies.get(&name).map(|(vocabulary, _)| vocabulary);
            found.ok_or(Refusal::UnknownVocabulary(name))
        }
    }
}

/// Refuses an answer that is too large for a message. `field` is the option at fault.
pub(crate) fn check_response_size(bytes: usize, limits: &Settings, field: Field) -> Result<(), RequestError> {
    let limit = limits.max_response_bytes;
    if bytes <= limit {
        return Ok(());
    }
    let message = format!(
        "the answer has {bytes} bytes, more than the limit of {limit}; ask for less, or smaller masks"
    );
    Err(RequestError::new(ErrorReason::OutputTooLarge, field, message).with_limit(limit as u64))
}

/// Puts a request's id into the log lines of its span, unless the id is one that will be refused.
pub(crate) fn name_request(id: &str, limits: &Settings) {
    if !id.is_empty() && request_id(id, limits).is_ok() {
        Span::current().record("request_id", id);
    }
}

/// Generates an id for a request without one: unique in this process, and unlikely to collide with another
/// process's.
fn new_request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(NEXT.fetch_add(1, Ordering::Relaxed));
    format!("{:016x}", hasher.finish())
}
