//! `Segment`: check, decode, compute, encode.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use prost::Message;
use sed_engine::{
    EngineError, ImageFacts, ImageKey, JobImage, OutputSpec, SegmentJob, SegmentOutcome, Vocabulary,
    metrics::{IMAGE_PIXELS, RequestStage},
};
use sed_image::{ResizeMode, RgbImage};
use sed_proto::v1::{self, ErrorReason, MaskEncoding};
use tokio::time::{sleep, timeout_at};
use tonic::{Request, Response, Status};
use tracing::{Instrument, Span};

use super::{
    Context, costs,
    refusal::{Refusal, conclude},
};
use crate::{
    calls::log_refusal,
    convert,
    cpu_pool::{Done, Errand, Load, Panicked},
    deadline::{Deadline, Received},
    image_id,
    intake::{CallMemory, charged},
    limits::Limits,
    mask_encoding::{self, EncodedMasks, MaskJob, picture_for_overlay},
    memory::{Charge, ConnectionId},
    request_error::RequestError,
    status,
    validate::{
        CATEGORIES, ImageSource, OutputSize, ValidatedOptions, ValidatedRequest, VocabularySource,
        check_output_size, request_id, validate_segment,
    },
};

/// Image files up to this size are read for their header at once.
const READ_HERE: usize = 256 << 10;

pub(crate) async fn answer(
    context: &Context,
    request: Request<v1::SegmentRequest>,
) -> Result<Response<v1::SegmentResponse>, Status> {
    let deadline = Deadline::of_call(&request, context.limits.timeout);
    let received = Received::of(&request);
    let memory = CallMemory::of(&request, &context.account);
    let (answer, charge) = answer_message(context, request.into_inner(), memory, received, deadline).await?;
    let compress = is_worth_compressing(&answer);
    Ok(charged(answer, charge, compress))
}

/// Reports whether compressing an answer saves bytes. Most clients accept compressed answers, but most
/// answers are PNG files, whose compression only costs time.
fn is_worth_compressing(answer: &v1::SegmentResponse) -> bool {
    const SMALL: usize = 4096;
    let png = |mask: &v1::Mask| match &mask.content {
        Some(v1::mask::Content::IndexPng(png)) => png.len(),
        _ => 0,
    };
    let compressed = answer.masks.iter().map(png).sum::<usize>() + answer.overlay_png.len();
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

async fn answer_message(
    context: &Context,
    message: v1::SegmentRequest,
    memory: CallMemory,
    received: Instant,
    Deadline(deadline): Deadline,
) -> Result<(v1::SegmentResponse, Charge), Status> {
    conclude(attempt(context, message, memory, received, deadline).await, received)
}

async fn attempt(
    context: &Context,
    message: v1::SegmentRequest,
    memory: CallMemory,
    received: Instant,
    deadline: tokio::time::Instant,
) -> Result<(v1::SegmentResponse, Charge), Refusal> {
    name_request(&message.request_id, &context.limits);
    let request = validated(context, message, memory.connection()).await?;
    bounded(context, segment(context, request, memory, received, deadline.into_std()).await?).await
}

/// Checks the size of an answer, and charges for it, for its encoding, and for as much again where that is
/// packed.
async fn bounded(
    context: &Context,
    (response, mut charge): (v1::SegmentResponse, Charge),
) -> Result<(v1::SegmentResponse, Charge), Refusal> {
    let bytes = response.encoded_len();
    check_response_size(bytes, &context.limits, "options.mask_encodings")?;
    let needed = 3 * bytes as u64;
    charge.shrink_to(needed);
    charge.grow(needed - charge.bytes()).await?;
    Ok((response, charge))
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
        return Ok(validate_segment(&message, &context.limits, &*reader)?);
    };
    let load = Load { connection, bytes: words.encoded_len() as u64 };
    let limits = context.limits.clone();
    Ok(context.pool.run_unseen(load, move || validate_segment(&message, &limits, &*reader)).await??)
}

/// The cost of a picture. A long file is read on the pool's threads.
async fn picture_cost(
    context: &Context,
    image: &ImageSource,
    options: &ValidatedOptions,
    connection: ConnectionId,
) -> Result<costs::PictureCost, Refusal> {
    let (side, map_side) = (context.engine.model().input_side, context.engine.model().map_side);
    let bytes = match image {
        ImageSource::Encoded(bytes) if bytes.len() > READ_HERE => bytes.len() as u64,
        _ => return Ok(costs::of_picture(image, options, (side, map_side), &context.limits)?),
    };
    let (image, options, limits) = (image.clone(), options.clone(), context.limits.clone());
    let read = move || costs::of_picture(&image, &options, (side, map_side), &limits);
    Ok(context.pool.run_unseen(Load { connection, bytes }, read).await??)
}

/// Answers a valid request. The caller checks the size of the answer.
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
    let warnings = match &vocabulary {
        VocabularySource::Inline(vocabulary) => convert::warnings(CATEGORIES, vocabulary),
        VocabularySource::Named(_) => Vec::new(),
    };
    let vocabulary = find_vocabulary(context, vocabulary)?;
    mask_encoding::check_encodings(&options, &vocabulary)?;
    context.engine.check_ready()?;
    let model = context.engine.model();

    let connection = memory.connection();
    let message = memory.messages.next(); // pays for the words, and for the image until it is decoded
    let mut charge = memory.payer.empty();
    let (prepared, decode_times) = match image {
        ImageSource::Id(key) => (recall(context, key, &options)?, None),
        image => {
            let cost = picture_cost(context, &image, &options, connection).await?;
            let known = costs::of_result(cost.mask_size, &options, &vocabulary, model.map_side)
                + costs::of_forms(cost.mask_size, &options, &vocabulary);
            // Masks are paid for before the picture is decoded, so that nothing is done in vain.
            charge.grow(cost.decoding.max(cost.decoded + known)).await?;
            let load = Load { connection, bytes: charge.bytes() };
            let errand = Errand { stage: RequestStage::ImageDecode, load, since: received, deadline };
            let decoded = decode(context, image, &options, charge, errand).await?;
            let times = decoded.times();
            let (prepared, paid) = decoded.result;
            charge = paid;
            charge.shrink_to(cost.decoded + known);
            (prepared?, Some(times))
        }
    };
    drop(message);
    let Prepared { image, image_id, picture, image_size, output } = prepared;

    if decode_times.is_none() {
        let size = (output.width, output.height);
        let result = costs::of_result(size, &options, &vocabulary, model.map_side);
        charge.grow(result + costs::of_forms(size, &options, &vocabulary)).await?;
    }
    let job = SegmentJob {
        image,
        vocabulary: vocabulary.clone(),
        rejection: options.rejection.unwrap_or(context.default_rejection),
        output,
        waiting_since: decode_times.as_ref().map_or(received, |times| times.ended),
        deadline: Some(deadline),
        priority: options.priority,
    };
    let SegmentOutcome { map, rejection, timings, caches, finished } = context.engine.segment(job).await?;

    let list_rejected = options.list_rejected;
    let mask_size = v1::Size { width: map.width, height: map.height };
    let job = MaskJob { map, vocabulary, options, picture, limits: context.limits.clone(), charge };
    let load = Load { connection, bytes: job.charge.bytes() };
    let errand = Errand { stage: RequestStage::MaskEncoding, load, since: finished, deadline };
    let encoded = context.pool.run(errand, move || mask_encoding::encode(job)).await?;
    let encode_times = encoded.times();
    let EncodedMasks { charge, masks, categories, unlabelled_pixels, overlay_png } = encoded.result?;
    let total = received.elapsed();
    let response = v1::SegmentResponse {
        request_id,
        image_size: Some(image_size),
        mask_size: Some(mask_size),
        masks,
        categories,
        unlabelled_pixels,
        overlay_png: overlay_png.into(),
        rejection: Some(convert::rejection_report(rejection, list_rejected)),
        latency: Some(convert::latency_report(total, decode_times.as_ref(), timings, &encode_times, caches)),
        model_name: model.name.clone(),
        model_digest: model.digest.clone(),
        image_id,
        warnings,
    };
    Ok((response, charge))
}

fn find_vocabulary(context: &Context, source: VocabularySource) -> Result<Vocabulary, Refusal> {
    match source {
        VocabularySource::Inline(vocabulary) => Ok(vocabulary),
        VocabularySource::Named(name) => {
            let found = context.vocabularies.get(&name).map(|(vocabulary, _)| vocabulary);
            found.ok_or(Refusal::UnknownVocabulary(name))
        }
    }
}

/// An image on its way into the engine.
struct Prepared {
    image: JobImage,
    /// Its id, if images are cached.
    image_id: String,
    /// The upright picture, if it is needed later.
    picture: Option<RgbImage>,
    image_size: v1::Size,
    output: OutputSpec,
}

/// The input of [`prepare`] beside the image.
struct Wanted {
    limits: Limits,
    options: ValidatedOptions,
    input_side: u32,
    map_side: u32,
    /// True if the features of the image are to be cached.
    keep: bool,
}

/// Returns an image that was encoded for an earlier request.
fn recall(context: &Context, key: ImageKey, options: &ValidatedOptions) -> Result<Prepared, Refusal> {
    let image = context.engine.image(&key).ok_or(Refusal::UnknownImage(key))?;
    let ImageFacts { width, height, crop, .. } = image.facts();
    let image_size = v1::Size { width, height };
    let mask_size = mask_size(options, &image_size, context.engine.model().map_side as u32, &context.limits)?;
    Ok(Prepared {
        image: JobImage::Cached(image),
        image_id: image_id::text_of(&key),
        picture: None,
        image_size,
        output: output_spec(options, mask_size, crop),
    })
}

async fn decode(
    context: &Context,
    image: ImageSource,
    options: &ValidatedOptions,
    charge: Charge,
    errand: Errand,
) -> Result<Done<(Result<Prepared, RequestError>, Charge)>, Panicked> {
    let model = context.engine.model();
    let wanted = Wanted {
        limits: context.limits.clone(),
        options: options.clone(),
        input_side: model.input_side as u32,
        map_side: model.map_side as u32,
        keep: context.engine.keeps_images(),
    };
    // The charge goes along: the work may outlast its caller.
    context.pool.run(errand, move || (prepare(image, wanted), charge)).await
}

fn prepare(image: ImageSource, wanted: Wanted) -> Result<Prepared, RequestError> {
    let Wanted { limits, options, input_side, map_side, keep } = wanted;
    let (field, picture) = match image {
        ImageSource::Encoded(bytes) => {
            ("image.encoded", sed_image::decode(&bytes, &limits.image).map(|decoded| decoded.image))
        }
        ImageSource::Raw { pixels, width, height, row_stride } => {
            ("image.raw", RgbImage::from_strided(width, height, u64::from(row_stride), &pixels))
        }
        // `segment` decodes nothing that has no pixels.
        ImageSource::Id(_) => return Err(RequestError::option("image.id", "has no pixels")),
    };
    let broken = |error| RequestError::image(field, &error);
    let picture = picture.map_err(broken)?;
    IMAGE_PIXELS.record(f64::from(picture.width()) * f64::from(picture.height()));
    let image_size = v1::Size { width: picture.width(), height: picture.height() };
    let mask_size = mask_size(&options, &image_size, map_side, &limits)?;

    let mode = options.resize_mode;
    let input = sed_image::network_input(&picture, input_side, mode).map_err(broken)?;
    // Only the official way ever cuts the map.
    let cuts = mode == ResizeMode::TwoStep;
    let crop = Some(input.output_crop(map_side)).filter(|crop| cuts && *crop != (map_side, map_side));
    let facts = keep.then(|| ImageFacts {
        key: image_id::key_of(&picture, mode),
        width: picture.width(),
        height: picture.height(),
        crop,
    });
    let for_overlay = options.overlay.map(|_| picture_for_overlay(picture));
    Ok(Prepared {
        image: JobImage::Pixels { input, facts },
        image_id: facts.map(|facts| image_id::text_of(&facts.key)).unwrap_or_default(),
        picture: for_overlay.transpose().map_err(broken)?,
        image_size,
        output: output_spec(&options, mask_size, crop),
    })
}

/// Width and height of the masks of a picture.
fn mask_size(
    options: &ValidatedOptions,
    picture: &v1::Size,
    map_side: u32,
    limits: &Limits,
) -> Result<(u32, u32), RequestError> {
    let (width, height) = match options.output_size {
        OutputSize::Original => (picture.width, picture.height),
        OutputSize::Model => (map_side, map_side),
        OutputSize::Exact { width, height } => (width, height),
    };
    check_output_size(width, height, "options.output_size", limits)?;
    Ok((width, height))
}

fn output_spec(
    options: &ValidatedOptions,
    (width, height): (u32, u32),
    crop: Option<(u32, u32)>,
) -> OutputSpec {
    OutputSpec {
        width,
        height,
        // The map as it is holds all of it.
        crop: crop.filter(|_| options.output_size != OutputSize::Model),
        score_threshold: options.score_threshold,
        score_maps: options.mask_encodings.contains(&MaskEncoding::ScoreMaps),
    }
}

/// Refuses an answer that is too large for a message. `field` is the path of the option at fault.
pub(crate) fn check_response_size(bytes: usize, limits: &Limits, field: &str) -> Result<(), RequestError> {
    let limit = limits.response_bytes;
    if bytes <= limit {
        return Ok(());
    }
    let message = format!(
        "the answer has {bytes} bytes, more than the limit of {limit}; ask for less, or smaller masks"
    );
    Err(RequestError::new(ErrorReason::OutputTooLarge, field, message).with_limit(limit as u64))
}

/// Puts a request's id into the log lines of its span, unless the id is one that will be refused.
pub(crate) fn name_request(id: &str, limits: &Limits) {
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
