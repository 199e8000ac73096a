//! `Segment`: check, decode, compute, encode.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use prost::Message;
use sed_engine::{
    EngineError, NetworkInput, OutputSpec, SegmentJob, SegmentOutcome, Vocabulary,
    metrics::{IMAGE_PIXELS, Stage},
};
use sed_image::{ResizeMode, RgbImage};
use sed_proto::v1::{self, ErrorReason, MaskEncoding};
use tonic::{Request, Response, Status};
use tracing::Span;

use super::Context;
use crate::{
    convert,
    cpu_pool::{Done, Errand, Panicked},
    deadline::Deadline,
    limits::Limits,
    mask_encoding::{self, EncodedMasks, MaskJob, picture_for_overlay},
    request_error::RequestError,
    status::{self, Failure},
    validate::{
        ImageSource, OutputSize, ValidatedOptions, ValidatedRequest, VocabularySource, check_output_size,
        validate_segment,
    },
};

/// Why a request got no answer.
enum Refusal {
    Request(RequestError),
    Engine(EngineError),
    UnknownVocabulary(String),
    Panicked,
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<Panicked> for Refusal {
    fn from(_: Panicked) -> Self {
        Self::Panicked
    }
}

impl Refusal {
    fn into_status(self) -> Status {
        match self {
            Self::Request(error) => {
                if error.reason == ErrorReason::Internal {
                    tracing::error!(%error, "a request failed");
                    return status::internal("masks could not be made; the server's log says why")
                        .into_status();
                }
                status::from_request_error(&error)
            }
            Self::Engine(error) => status::from_engine_error(&error),
            Self::UnknownVocabulary(name) => {
                let message =
                    format!("the server has no vocabulary {name:?}; GetServerInfo lists those it has");
                let failure = Failure::new(ErrorReason::VocabularyNotFound, message);
                failure.resource("sed.v1.Vocabulary", &name).into_status()
            }
            Self::Panicked => {
                status::internal("work on pixels failed; the server's log says why").into_status()
            }
        }
    }
}

pub(crate) async fn answer(
    context: &Context,
    request: Request<v1::SegmentRequest>,
) -> Result<Response<v1::SegmentResponse>, Status> {
    // Without the front door, the server's own bound would be the deadline.
    let front_door = request.extensions().get::<Deadline>().copied();
    let Deadline(deadline) = front_door.unwrap_or_else(|| Deadline::after(context.limits.timeout));
    let deadline = deadline.into_std();
    let received = Instant::now(); // the headers came earlier, but only now is the whole message here
    let message = request.into_inner();
    let mut request = validate_segment(&message, &context.limits).map_err(|error| {
        tracing::info!(%error, "refused");
        status::from_request_error(&error)
    })?;
    drop(message);
    if request.request_id.is_empty() {
        request.request_id = new_request_id();
    }
    Span::current().record("request_id", &request.request_id);
    match segment(context, request, received, deadline).await {
        Ok(response) => {
            tracing::info!(milliseconds = received.elapsed().as_millis() as u64, "answered");
            Ok(Response::new(response))
        }
        Err(refusal) => {
            let status = refusal.into_status();
            tracing::info!(code = ?status.code(), message = status.message(), "refused");
            Err(status)
        }
    }
}

async fn segment(
    context: &Context,
    request: ValidatedRequest,
    received: Instant,
    deadline: Instant,
) -> Result<v1::SegmentResponse, Refusal> {
    let ValidatedRequest { image, vocabulary, options, request_id } = request;
    let vocabulary = find_vocabulary(context, vocabulary)?;
    mask_encoding::check_encodings(&options, &vocabulary)?;
    context.engine.check_ready()?;

    let errand = Errand { stage: Stage::ImageDecode, since: received, deadline };
    let decoded = decode(context, image, &options, errand).await?;
    let decode_times = decoded.times();
    let Prepared { input, picture, image_size, output } = decoded.result?;

    let top_k = options.top_k.unwrap_or(context.default_top_k);
    let job = SegmentJob {
        input,
        vocabulary: vocabulary.clone(),
        top_k: (top_k > 0).then_some(top_k as usize),
        output,
        waiting_since: decode_times.ended,
        deadline: Some(deadline),
        priority: options.priority,
    };
    let SegmentOutcome { map, rejection, timings, text_cache, finished } =
        context.engine.segment(job).await?;

    let mask_size = v1::Size { width: map.width, height: map.height };
    let job = MaskJob { map, vocabulary, options, picture, limits: context.limits.clone() };
    let errand = Errand { stage: Stage::MaskEncoding, since: finished, deadline };
    let encoded = context.pool.run(errand, move || mask_encoding::encode(job)).await?;
    let encode_times = encoded.times();
    let EncodedMasks { masks, categories, unlabelled_pixels, overlay_png } = encoded.result?;

    let model = context.engine.model();
    let total = received.elapsed();
    let response = v1::SegmentResponse {
        request_id,
        image_size: Some(image_size),
        mask_size: Some(mask_size),
        masks,
        categories,
        unlabelled_pixels,
        overlay_png: overlay_png.into(),
        rejection: Some(convert::rejection_report(rejection)),
        latency: Some(convert::latency_report(total, &decode_times, timings, &encode_times, text_cache)),
        model_name: model.name.clone(),
        model_digest: model.digest.clone(),
    };
    check_response_size(&response, &context.limits)?;
    Ok(response)
}

fn find_vocabulary(context: &Context, source: VocabularySource) -> Result<Vocabulary, Refusal> {
    match source {
        VocabularySource::Inline(vocabulary) => Ok(vocabulary),
        VocabularySource::Named(name) => {
            context.vocabularies.get(&name).cloned().ok_or(Refusal::UnknownVocabulary(name))
        }
    }
}

/// An image on its way into the engine.
struct Prepared {
    input: NetworkInput,
    /// The upright picture, if it is needed later.
    picture: Option<RgbImage>,
    image_size: v1::Size,
    output: OutputSpec,
}

/// What [`prepare`] needs beside the image.
struct Wanted {
    limits: Limits,
    options: ValidatedOptions,
    input_side: u32,
    map_side: u32,
}

async fn decode(
    context: &Context,
    image: ImageSource,
    options: &ValidatedOptions,
    errand: Errand,
) -> Result<Done<Result<Prepared, RequestError>>, Panicked> {
    let model = context.engine.model();
    let wanted = Wanted {
        limits: context.limits.clone(),
        options: options.clone(),
        input_side: model.input_side as u32,
        map_side: model.map_side as u32,
    };
    context.pool.run(errand, move || prepare(image, wanted)).await
}

fn prepare(image: ImageSource, wanted: Wanted) -> Result<Prepared, RequestError> {
    let Wanted { limits, options, input_side, map_side } = wanted;
    let (field, picture) = match image {
        ImageSource::Encoded(bytes) => {
            ("image.encoded", sed_image::decode(&bytes, &limits.image).map(|decoded| decoded.image))
        }
        ImageSource::Raw { pixels, width, height, row_stride } => {
            ("image.raw", RgbImage::from_strided(width, height, u64::from(row_stride), &pixels))
        }
    };
    let broken = |error| RequestError::image(field, &error);
    let picture = picture.map_err(broken)?;
    IMAGE_PIXELS.record(f64::from(picture.width()) * f64::from(picture.height()));
    let (width, height) = match options.output_size {
        OutputSize::Original => (picture.width(), picture.height()),
        OutputSize::Model => (map_side, map_side),
        OutputSize::Exact { width, height } => (width, height),
    };
    check_output_size(width, height, "options.output_size", &limits)?;

    let input = sed_image::network_input(&picture, input_side, options.resize_mode).map_err(broken)?;
    // Only the official way ever cuts the map, and the map as it is holds all of it.
    let cuts = options.resize_mode == ResizeMode::Official && options.output_size != OutputSize::Model;
    let crop = Some(input.output_crop(map_side)).filter(|crop| cuts && *crop != (map_side, map_side));
    let image_size = v1::Size { width: picture.width(), height: picture.height() };
    let for_overlay = options.overlay.map(|_| picture_for_overlay(picture));
    Ok(Prepared {
        image_size,
        picture: for_overlay.transpose().map_err(broken)?,
        input: NetworkInput { side: input.size as usize, data: input.data },
        output: OutputSpec {
            width,
            height,
            crop,
            score_threshold: options.score_threshold,
            score_maps: options.mask_encodings.contains(&MaskEncoding::ScoreMaps),
        },
    })
}

fn check_response_size(response: &v1::SegmentResponse, limits: &Limits) -> Result<(), RequestError> {
    let (bytes, limit) = (response.encoded_len(), limits.response_bytes);
    if bytes <= limit {
        return Ok(());
    }
    let advice = "ask for smaller masks or fewer encodings";
    let message = format!("the answer has {bytes} bytes, more than the limit of {limit}; {advice}");
    let error = RequestError::new(ErrorReason::OutputTooLarge, "options.mask_encodings", message);
    Err(error.with_limit(limit as u64))
}

/// A name for a request that came without: unlike any other of this process, and hardly like another's.
fn new_request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(NEXT.fetch_add(1, Ordering::Relaxed));
    format!("{:016x}", hasher.finish())
}
