//! `Segment`: check, decode, compute, encode.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use prost::Message;
use sed_engine::{EngineError, OutputSpec, SegmentJob, SegmentOutcome, Vocabulary, metrics::RequestStage};
use sed_proto::v1;
use tokio::time::{sleep, timeout_at};
use tonic::{Request, Response, Status};
use tracing::{Instrument, Span};

use super::{
    Context, ambiguities,
    answer_size::check_response_size,
    intake::{self, Prepared},
    mask_encoding::{self, MaskJob},
    refusal::{Refusal, conclude},
    words::{self, FoundRequest},
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
    status,
    validate::{ValidatedRequest, request_id, thresholds, validate_segment},
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
    let deadline = deadline.into_std();
    let request = validated(context, message, memory.connection()).await?;
    let written = request.words.written_out();
    let request = words::find(context, request, &memory, deadline).await?;
    let field = |phrase| Field::Phrase(CategoryList::Inline, phrase);
    let warnings = convert::warnings(written.warnings(&request.vocabulary), field);
    let (answer, mut charge) = segment(context, request, memory, received, deadline).await?;
    let answer = v1::SegmentResponse { warnings, ..answer };
    let bytes = answer.encoded_len();
    check_response_size(bytes, &context.settings, Field::MaskEncodings)?;
    // The answer, its encoding, and as much again where that is packed.
    let needed = 3 * bytes as u64;
    charge.shrink_to(needed);
    charge.grow(needed - charge.bytes()).await?;
    Ok((answer, charge))
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

/// Answers a request whose words are found. The caller checks the size of the answer, and adds the warnings
/// of its words.
pub(crate) async fn segment(
    context: &Context,
    request: FoundRequest,
    memory: CallMemory,
    received: Instant,
    deadline: Instant,
) -> Result<(v1::SegmentResponse, Charge), Refusal> {
    let FoundRequest { image, vocabulary, options, mut request_id, charge: _words } = request;
    if request_id.is_empty() {
        request_id = new_request_id();
        Span::current().record("request_id", &request_id);
    }
    mask_encoding::check_encodings(&options, &vocabulary)?;
    let thresholds = thresholds(&options, &vocabulary)?;
    context.engine.check_ready()?;
    let model = context.engine.model();

    let words = (&options, &vocabulary);
    let (prepared, charge) = intake::prepare(context, image, words, &memory, (received, deadline)).await?;
    let Prepared { image, image_id, picture, image_size, output, decoding } = prepared;
    let job = SegmentJob {
        image,
        vocabulary: vocabulary.clone(),
        rejection: options.rejection.unwrap_or(context.settings.default_rejection()),
        output: OutputSpec { thresholds, ..output },
        waiting_since: decoding.as_ref().map_or(received, |times| times.ended),
        deadline: Some(deadline),
        priority: options.priority,
    };
    let caller = memory.payer.owner().caller.clone();
    let outcome = context.engine.segment_for(job, caller).await?;
    let SegmentOutcome { map, contrast_pixels, rejection, timings, caches, finished } = outcome;

    let contrast = convert::contrast_report(&vocabulary, contrast_pixels);
    let list_rejected = options.list_rejected;
    let limits = context.settings.clone();
    let job = MaskJob { map, vocabulary: vocabulary.clone(), options, picture, limits, charge };
    let load = Load { connection: memory.connection(), bytes: job.charge.bytes() };
    let errand = Errand { stage: RequestStage::MaskEncoding, load, since: finished, deadline };
    let encoded = context.pool.run(errand, move || mask_encoding::encode(job)).await?;
    let encode_times = encoded.times();
    let (mut of_map, charge) = encoded.result?;
    if !of_map.ambiguities.is_empty() {
        compare_texts(context, &vocabulary, &mut of_map.ambiguities, deadline).await;
    }
    let total = received.elapsed();
    let response = v1::SegmentResponse {
        request_id,
        image_size: Some(image_size),
        rejection: Some(convert::rejection_report(rejection, list_rejected)),
        latency: Some(convert::latency_report(total, decoding.as_ref(), timings, &encode_times, caches)),
        model_name: model.name.clone(),
        model_digest: model.digest.clone(),
        image_id,
        contrast,
        ..of_map
    };
    Ok((response, charge))
}

/// Fills in the similarity of the texts of ambiguous pairs. An answer does not fail for them: they stay absent
/// where the engine has no room or no time left, as the interface says.
async fn compare_texts(
    context: &Context,
    vocabulary: &Vocabulary,
    pairs: &mut [v1::Ambiguity],
    deadline: Instant,
) {
    match context.engine.directions(vocabulary, Some(deadline)).await {
        Ok(directions) => ambiguities::add_similarities(pairs, &directions),
        Err(error) => tracing::debug!(%error, "ambiguities without the similarity of their texts"),
    }
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
