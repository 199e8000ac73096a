//! Images on their way into the engine: recalled by their ids, or decoded and resized on the CPU pool.

use std::{sync::Arc, time::Instant};

use sed_engine::{
    ImageFacts, ImageKey, InputSlots, JobImage, JobInput, OutputSpec, Thresholds, Vocabulary,
    metrics::RequestStage,
};
use sed_image::{ResizeMode, RgbImage};
use sed_proto::v1;

use super::{
    Context,
    answer_size::check_masks,
    costs,
    mask_encoding::{need_scores, need_sureness, picture_for_overlay},
    refusal::Refusal,
};
use crate::{
    config::Settings,
    cpu_pool::{Done, Errand, Load},
    field::Field,
    image_id,
    intake::CallMemory,
    memory::{Charge, ConnectionId},
    metrics::ServerMetrics,
    request_error::RequestError,
    validate::{ImageSource, OutputSize, SentImage, ValidatedOptions, check_output_size},
};

/// Image files up to this size are read for their header at once.
const READ_HERE: usize = 256 << 10;

/// An image that is ready for the engine.
pub(super) struct Prepared {
    pub(super) image: JobImage,
    /// Its id, if images are cached.
    pub(super) image_id: String,
    /// The upright picture, if it is needed later.
    pub(super) picture: Option<RgbImage>,
    pub(super) image_size: v1::Size,
    pub(super) output: OutputSpec,
    /// The times of its decoding; `None` for a recalled image.
    pub(super) decoding: Option<Done<()>>,
}

/// Prepares an image, and charges for it and for its masks.
pub(super) async fn prepare(
    context: &Context,
    image: ImageSource,
    (options, vocabulary): (&ValidatedOptions, &Vocabulary),
    memory: &CallMemory,
    (received, deadline): (Instant, Instant),
) -> Result<(Prepared, Charge), Refusal> {
    let model = context.engine.model();
    let message = memory.messages.next(); // pays for the words, and for the image until it is decoded
    let mut charge = memory.payer.empty();
    let image = match image {
        ImageSource::Sent(image) => image,
        ImageSource::Id(key) => {
            let recalled = recall(context, key, options)?;
            drop(message);
            let size = (recalled.output.width, recalled.output.height);
            check_masks(size, options, &context.settings)?;
            charge.grow(costs::of_masks(size, options, vocabulary, model.map_side)).await?;
            return Ok((recalled, charge));
        }
    };

    let connection = memory.connection();
    let cost = cost_of(context, &image, options, connection).await?;
    check_masks(cost.mask_size, options, &context.settings)?;
    let kept = cost.decoded + costs::of_masks(cost.mask_size, options, vocabulary, model.map_side);
    // Masks are paid for before the picture is decoded, so that nothing is done in vain.
    charge.grow(cost.decoding.max(kept)).await?;
    let load = Load { connection, bytes: charge.bytes() };
    let errand = Errand { stage: RequestStage::ImageDecode, load, since: received, deadline };
    let wanted = Wanted {
        limits: context.settings.clone(),
        options: options.clone(),
        input_side: model.input_side as u32,
        map_side: model.map_side as u32,
        keep: context.engine.keeps_images(),
        slots: context.engine.input_slots().filter(|_| !need_scores(options)),
        metrics: Arc::clone(&context.metrics),
    };
    // The charge goes along: the work may outlast its caller.
    let decoded = context.pool.run(errand, move || (decode(image, &wanted), charge)).await?;
    let decoding = Some(decoded.times());
    let (prepared, mut charge) = decoded.result;
    charge.shrink_to(kept);
    Ok((Prepared { decoding, ..prepared? }, charge))
}

/// Returns an image that was encoded for an earlier request.
fn recall(context: &Context, key: ImageKey, options: &ValidatedOptions) -> Result<Prepared, Refusal> {
    let image = context.engine.image(&key).ok_or(Refusal::UnknownImage(key))?;
    let ImageFacts { width, height, crop, .. } = image.facts();
    let map_side = context.engine.model().map_side as u32;
    let mask_size = mask_size(options, (width, height), map_side, &context.settings)?;
    Ok(Prepared {
        image: JobImage::Cached(image),
        image_id: image_id::text_of(&key),
        picture: None,
        image_size: v1::Size { width, height },
        output: output_spec(options, mask_size, crop),
        decoding: None,
    })
}

/// The cost of a picture. A long file is read on the pool's threads.
async fn cost_of(
    context: &Context,
    image: &SentImage,
    options: &ValidatedOptions,
    connection: ConnectionId,
) -> Result<costs::PictureCost, Refusal> {
    let sides = (context.engine.model().input_side, context.engine.model().map_side);
    let bytes = match image {
        SentImage::Encoded(bytes) if bytes.len() > READ_HERE => bytes.len() as u64,
        _ => return Ok(costs::of_picture(image, options, sides, &context.settings)?),
    };
    let (image, options, limits) = (image.clone(), options.clone(), context.settings.clone());
    let read = move || costs::of_picture(&image, &options, sides, &limits);
    Ok(context.pool.run_unseen(Load { connection, bytes }, read).await??)
}

/// The input of [`decode`] beside the image.
struct Wanted {
    limits: Arc<Settings>,
    options: ValidatedOptions,
    input_side: u32,
    map_side: u32,
    /// True if the features of the image are to be cached.
    keep: bool,
    /// Memory that the device reads inputs from by itself; `None` for stages one by one.
    slots: Option<Arc<dyn InputSlots>>,
    metrics: Arc<ServerMetrics>,
}

fn decode(image: SentImage, wanted: &Wanted) -> Result<Prepared, RequestError> {
    let Wanted { limits, options, input_side, map_side, keep, slots, metrics } = wanted;
    let field = image.field();
    let broken = |error| RequestError::image(field.clone(), &error);
    let picture = match image {
        SentImage::Encoded(bytes) => {
            sed_image::decode(&bytes, &limits.image_limits()).map(|decoded| decoded.image)
        }
        SentImage::Raw { pixels, width, height, row_stride } => {
            RgbImage::from_strided(width, height, u64::from(row_stride), &pixels)
        }
    };
    let picture = picture.map_err(broken)?;
    let (width, height) = (picture.width(), picture.height());
    metrics.image_pixels.record(f64::from(width) * f64::from(height));
    let mask_size = mask_size(options, (width, height), *map_side, limits)?;

    let mode = options.resize_mode;
    let input = sed_image::network_input(&picture, *input_side, mode).map_err(broken)?;
    // Only the official way ever cuts the map.
    let cuts = mode == ResizeMode::TwoStep;
    let crop = Some(input.output_crop(*map_side)).filter(|crop| cuts && *crop != (*map_side, *map_side));
    let facts = keep.then(|| ImageFacts { key: image_id::key_of(&picture, mode), width, height, crop });
    let for_overlay = options.overlay.map(|_| picture_for_overlay(picture));
    Ok(Prepared {
        image: JobImage::Pixels { input: JobInput::new(input, slots.as_deref()), facts },
        image_id: facts.map(|facts| image_id::text_of(&facts.key)).unwrap_or_default(),
        picture: for_overlay.transpose().map_err(broken)?,
        image_size: v1::Size { width, height },
        output: output_spec(options, mask_size, crop),
        decoding: None,
    })
}

/// Width and height of the masks of a picture, within the limits.
fn mask_size(
    options: &ValidatedOptions,
    picture: (u32, u32),
    map_side: u32,
    limits: &Settings,
) -> Result<(u32, u32), RequestError> {
    let (width, height) = options.output_size.of_masks(picture, map_side);
    check_output_size(width, height, Field::OutputSize, limits)?;
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
        thresholds: Thresholds::Same(options.score_threshold),
        score_maps: need_scores(options),
        sureness: need_sureness(options),
    }
}
